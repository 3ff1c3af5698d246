"""Trajectories: what became of many balances under several policies, simulated in numpy."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import Money, _of
from commcredits.policy import check_money
from commcredits.simulation.circumstances import Circumstances
from commcredits.simulation.demand import START, Demand
from commcredits.simulation.extras import numpy
from commcredits.simulation.progress import reporting
from commcredits.simulation.spreading import spread
from commcredits.tables import Table
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor
    from decimal import Decimal
    from fractions import Fraction

    import numpy as np
    from numpy.typing import NDArray

    from commcredits.policy import RechargePolicy, Terms
    from commcredits.simulation.progress import Report

_CELLS_AT_ONCE = 2**23
"""So many steps of paths are worked out together: 64 MB of usage."""

_TASKS = 16
"""An executor gets about so many tasks at least, if there are enough paths."""

_QUANTILES = (0.05, 0.5, 0.95)


@attrs.frozen(order=False, eq=False)
class Trajectories:
    """Many balances over time, from `start` to `end`, under each of the `policies`.

    All but `balances` are arrays of numpy of whole numbers, a row for each policy and a column for each path: amounts
    in billionths, times in microseconds.

    Attributes:
        lowest_balance: the least that the balance ever was.
        time_without_credit: how long it was zero or below.
        recharges: how many charges were paid.
        refused, usage_refused: how many usages the funds did not cover, and what they would have cost.
        forfeited: what expired.
        idle_average: what lay there on average over time; an overdraft counts as nothing.
        balances: of the first paths, by policy, path and step: the balance right after the step's usage and what that
            caused at once.
    """

    policies: tuple[RechargePolicy | None, ...]
    currency: str
    start: datetime
    end: datetime
    lowest_balance: NDArray[np.int64]
    time_without_credit: NDArray[np.int64]
    recharges: NDArray[np.int64]
    refused: NDArray[np.int64]
    usage_refused: NDArray[np.int64]
    forfeited: NDArray[np.int64]
    idle_average: NDArray[np.int64]
    balances: NDArray[np.int64]

    def table(self) -> Table:
        """For each policy and figure its mean, and the values that 5, 50 and 95 of 100 paths do not exceed."""
        days = (self.end - self.start) / timedelta(days=1)
        return Table(
            ("policy", "figure", "mean", *(f"{share:.0%}" for share in _QUANTILES)),
            tuple(
                (_name(policy), figure, *values)
                for number, policy in enumerate(self.policies)
                for figure, values in self._rows(number)
            ),
            f"{self.recharges.shape[1]:,} paths of {days:g} days",
        )

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _rows(self, policy: int) -> Iterator[tuple[str, list[object]]]:
        def money(billionths: float) -> Money:
            return _of(round(billionths), self.currency).rounded()

        def time(microseconds: float) -> timedelta:
            return timedelta(seconds=round(microseconds / 1_000_000))

        for name, values, shown in (
            ("Lowest balance", self.lowest_balance, money),
            ("Time without credit", self.time_without_credit, time),
            ("Recharges", self.recharges, lambda number: round(float(number), 1)),
            ("Usages refused", self.refused, lambda number: round(float(number), 1)),
            ("Idle funds on average", self.idle_average, money),
            ("Forfeited", self.forfeited, money),
        ):
            ordered = sorted(values[policy].tolist())
            at = [ordered[ceil(share * len(ordered)) - 1] for share in _QUANTILES]
            yield name, [shown(number) for number in (sum(ordered) / len(ordered), *at)]


def _name(policy: RechargePolicy | None) -> str:
    if policy is None:
        return "No recharge"
    if policy.recharge_to is not None:
        return f"To {policy.recharge_to}, {policy.threshold}"
    return f"{policy.amount}, {policy.threshold}"


def simulate_many(
    demand: Any,
    policies: Iterable[RechargePolicy | None],
    paths: int,
    days: int,
    *,
    terms: Terms,
    opening: Money,
    charge_delay: timedelta = timedelta(0),
    decline_probability: Fraction | Decimal | float = 0,
    seed: int = 0,
    start: datetime = START,
    step: timedelta = timedelta(days=1),
    keep_balances: int = 0,
    executor: Executor | None = None,
    progress: bool | Report = False,
) -> Trajectories:
    """The trajectories of many ledgers, each `days` long from `start`, under each policy.

    `demand` is what the usage of each step costs, which comes at the step's beginning: a row for each path, of whole
    billionths or of Money, a column for each step; or a `Demand`, which samples them. Path number i is what `simulate`
    makes, with `seed` + i, of its usage and a usage of nothing at the end; only `idle_average` may differ from it, in
    the last billionth. An `executor` shares the paths out among its workers; the result is the same. `keep_balances`:
    of how many paths. `progress`: a bar (True), or what takes (done, total).

    Raises: WrongTypeError, CurrencyMismatchError; InvalidValueError for a demand of another shape or below zero, for
        amounts of which 64 bits of billionths cannot hold the sum, days that are no whole number of steps, and what
        `simulate` refuses; ImportError without numpy.
    """
    numpy()
    from commcredits.simulation.paths import MOST, Block, run  # noqa: PLC0415  # needs numpy

    given = Circumstances(terms, opening, charge_delay, decline_probability, seed)
    chosen, start = _checked(policies, given, utc(start, "start"), MOST)
    if not isinstance(step, timedelta):
        raise WrongTypeError("step", step, "a timedelta")
    for name, number, least in (("paths", paths, 1), ("days", days, 1), ("keep_balances", keep_balances, 0)):
        if not isinstance(number, int) or isinstance(number, bool):
            raise WrongTypeError(name, number, "a whole number")
        if number < least:
            raise InvalidValueError(name, number, f"must be {least} or more")
    if step <= timedelta(0) or timedelta(days) % step:
        raise InvalidValueError("step", step, f"{days} days are no whole number of such steps")
    steps = timedelta(days) // step
    usage = demand if isinstance(demand, Demand) else _billionths(demand, (paths, steps), terms.currency)
    if isinstance(demand, Demand) and demand.currency != terms.currency:
        check_money("demand", Money.zero(demand.currency), terms.currency)
    size = max(_CELLS_AT_ONCE // steps, 1)
    if executor is not None:
        size = min(size, -(-paths // _TASKS))
    blocks = [
        Block(
            demand=usage if isinstance(usage, Demand) else usage[first : first + size],
            policies=chosen,
            first=first,
            paths=min(size, paths - first),
            days=days,
            start=start,
            step=step,
            given=given,
            keep=max(keep_balances - first, 0),
        )
        for first in range(0, paths, size)
    ]
    with reporting(progress, "simulate_many") as report:
        done = spread(run, blocks, executor, report, sizes=[block.paths * steps for block in blocks])
    return _together(chosen, terms.currency, start, start + timedelta(days), done)


def _together(
    policies: tuple[RechargePolicy | None, ...], currency: str, start: datetime, end: datetime, done: list[Any]
) -> Trajectories:
    """The results of all blocks side by side."""
    np = numpy()
    by_name = {
        name: np.stack(
            [np.concatenate([getattr(block[policy], name) for block in done]) for policy in range(len(policies))]
        )
        for name in done[0][0]._fields
    }
    return Trajectories(policies, currency, start, end, **by_name)


def _checked(
    policies: Iterable[RechargePolicy | None], given: Circumstances, start: datetime, most: int
) -> tuple[tuple[RechargePolicy | None, ...], datetime]:
    """The policies, after a ledger took them; what it refuses is refused."""
    try:
        chosen = tuple(policies)
    except TypeError:
        raise WrongTypeError("policies", policies, "an iterable of RechargePolicy or None") from None
    if not chosen:
        raise InvalidValueError("policies", chosen, "there is none")
    for policy in chosen:
        ledger = given.ledger(start)
        amounts: list[Money | None] = [given.opening, given.terms.minimum_purchase, given.terms.purchase_step]
        if policy is not None:
            ledger.configure_auto_recharge(policy, at=start)
            amounts += [policy.threshold.amount, policy.amount, policy.recharge_to]
        for amount in amounts:
            if amount is not None and amount._billionths > most:
                raise InvalidValueError("policies", amount, "more than 64 bits of billionths can sum up")
    return chosen, start


def _billionths(demand: Any, shape: tuple[int, int], currency: str) -> Any:
    """The demand as an array of whole billionths."""
    np = numpy()
    costs = np.asarray(demand)
    if costs.shape != shape:
        raise InvalidValueError("demand", costs.shape, f"its shape must be {shape}, paths and steps")
    if costs.dtype == object:
        flat = [check_money("demand", cost, currency)._billionths for cost in costs.ravel()]
        most = max(map(abs, flat))
        if most >= 2**63:
            raise InvalidValueError("demand", _of(most, currency), "does not fit into 64 bits of billionths")
        costs = np.array(flat, dtype=np.int64).reshape(shape)
    if costs.dtype.kind not in "iu":
        raise WrongTypeError("demand", costs.dtype, "whole numbers of billionths, Money, or a Demand")
    if costs.dtype == np.uint64 and costs.max() >= 2**63:
        raise InvalidValueError("demand", int(costs.max()), "does not fit into 64 bits")
    return costs.astype(np.int64, copy=False)
