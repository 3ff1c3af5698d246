"""Suggestion: the threshold and the amount that keep a promise, found in simulations and checked on other usage.

This is the inventory problem (s, Q) under continuous review: the threshold is the reorder point s, the amount the order
quantity Q, the time that a charge takes the lead time, and the share of time with credit the ready rate. See Silver,
Pyke and Thomas, "Inventory and Production Management in Supply Chains" (4th ed., 2017), ch. 6, and Zipkin,
"Foundations of Inventory Management" (2000), ch. 6.
"""

from __future__ import annotations

from datetime import timedelta
from math import ceil, lcm, log10
from statistics import stdev
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import BILLION, Money, _of
from commcredits.policy import RechargePolicy, Terms, check_money
from commcredits.simulation.circumstances import Circumstances
from commcredits.simulation.demand import START, Demand, demand_of_days
from commcredits.simulation.extras import numpy
from commcredits.simulation.progress import nobody, reporting
from commcredits.simulation.trajectories import simulate_many
from commcredits.simulation.usage_days import UsageDays
from commcredits.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from decimal import Decimal
    from fractions import Fraction

    from commcredits.simulation.progress import Report

DAYS_LEAST = 21
"""Two weeks to fit, and one to check."""

RESAMPLINGS = 100
_PATHS_OF_EACH = 10
_MONTH = timedelta(days=365.25 / 12)
_HOUR = timedelta(hours=1)
_STEPS_EXPECTED = 30  # simulations that a search takes, give or take; for the progress bar
_THRESHOLDS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_AMOUNTS = (0.5, 0.75, 1.0, 1.5, 2.0)
_AMOUNTS_MOST = 1000  # times the guess
_ONE_SIDED_95 = 1.645  # standard errors
_GOLDEN = (5**0.5 - 1) / 2  # multiples of it are spread evenly between whole numbers, however many are taken


@attrs.frozen(order=False)
class PolicyFigures:
    """What a threshold and an amount come to.

    Attributes:
        out_of_credit: the share of time at zero or below, from 0 to 1, no usage being refused.
        recharges_per_month: on average, of months of 365.25 / 12 days.
        idle_average: what lay on the ledger on average.
    """

    threshold: Money
    amount: Money
    out_of_credit: float
    recharges_per_month: float
    idle_average: Money


@attrs.frozen(order=False, kw_only=True)
class Suggestion:
    """The smallest amount that keeps recharges as few as promised, and the smallest threshold that then keeps credit.

    Attributes:
        policy: to recharge by.
        charge_delay, out_of_credit_at_most, recharges_per_month_at_most: as asked.
        in_sample: on paths of the demand that was fitted, on which the policy was chosen.
        out_of_sample: on paths made of the days that were held out.
        out_of_credit_bound: 95 percent sure not to be exceeded, by how much the resamplings of those days differ. None:
            credit ran out in none of them, and what was never seen cannot be bounded so.
        confidence: the share of resamplings of the days held out in which both promises were kept.
        days, held_out: of how many days the usage was, and how many of them the fit did not see.
        curve: the figures of other thresholds with this amount, the smallest first.
        amount_curve: the figures of other amounts with this threshold.
    """

    policy: RechargePolicy
    charge_delay: timedelta
    out_of_credit_at_most: float
    recharges_per_month_at_most: float
    in_sample: PolicyFigures
    out_of_sample: PolicyFigures
    out_of_credit_bound: float | None
    confidence: float
    days: int
    held_out: int
    curve: tuple[PolicyFigures, ...] = attrs.field(repr=False)
    amount_curve: tuple[PolicyFigures, ...] = attrs.field(repr=False)

    @property
    def threshold(self) -> Money:
        """Recharge below this."""
        return self.in_sample.threshold

    @property
    def amount(self) -> Money:
        """Recharge this much."""
        return self.in_sample.amount

    @property
    def is_kept(self) -> bool:
        """Whether both promises are kept on the days held out."""
        return _keeps(self.out_of_sample, self.out_of_credit_at_most, self.recharges_per_month_at_most)

    def table(self) -> Table:
        """What was promised, and what came of it on the fitted demand and on the days held out."""
        seen, unseen = self.in_sample, self.out_of_sample
        return Table(
            ("", "promised", "fitted", "held out"),
            (
                (
                    "Out of credit",
                    f"≤ {_percent(self.out_of_credit_at_most)}",
                    _percent(seen.out_of_credit),
                    _percent(unseen.out_of_credit),
                ),
                (
                    "  at most, 95 % sure",
                    None,
                    None,
                    "never seen" if self.out_of_credit_bound is None else _percent(self.out_of_credit_bound),
                ),
                (
                    "Recharges a month",
                    f"≤ {self.recharges_per_month_at_most:g}",
                    f"{seen.recharges_per_month:.2f}",
                    f"{unseen.recharges_per_month:.2f}",
                ),
                ("Idle funds on average", None, str(seen.idle_average.rounded()), str(unseen.idle_average.rounded())),
                ("Days of usage", None, self.days - self.held_out, self.held_out),
            ),
            f"Recharge {self.amount} below {self.threshold}",
        )

    def __str__(self) -> str:
        return f"{self.table()}\n\n{self._confidence()}"

    def _repr_html_(self) -> str:
        return f"{self.table()._repr_html_()}<p>{self._confidence()}</p>"

    def _confidence(self) -> str:
        kept = "Both promises are" if self.is_kept else "The promises are not"
        times = round(self.confidence * RESAMPLINGS)
        return (
            f"{kept} kept on the days held out, and both in {times} of {RESAMPLINGS} resamplings of them. "
            f"What is rarer than once in {self.held_out} days cannot be seen in them."
        )


def suggest_policy(
    usage: Iterable[tuple[datetime, Money]],
    *,
    charge_delay: timedelta,
    out_of_credit_at_most: float = 0.001,
    recharges_per_month_at_most: float = 4,
    terms: Terms | None = None,
    time_zone: str | None = None,
    decline_probability: Fraction | Decimal | float = 0,
    seed: int = 0,
    step: timedelta = _HOUR,
    paths: int = 500,
    days: int = 56,
    progress: bool | Report = False,
) -> Suggestion:
    """The smallest amount and threshold that keep a promise to customers whose usage goes on as it was.

    The promise: no credit for at most such a share of time, and on average at most so many recharges a month. It is
    sought on `paths` of `days` each of the demand fitted to the first two thirds of the usage, and checked on the last
    third: whole days of it are drawn over and over. Usage of a step comes at its beginning, and none is refused.
    Threshold and amount are whole currency units, of more than a thousand three digits; amounts are multiples of
    `Terms.purchase_step` and no less than `Terms.minimum_purchase`. `terms` are the currency's defaults and `time_zone`
    theirs, if not given. The same for the same usage, seed and version of numpy. `progress`: a bar (True), or what
    takes (done, total).

    Raises: InvalidValueError for usage of less than three weeks, or usage that costs nothing; for a share that is not
        between 0 and 1, recharges of zero or less, and a promise that no threshold keeps; and what `fit_demand` and
        `simulate_many` raise.
    """
    if not 0 < out_of_credit_at_most < 1:
        raise InvalidValueError("out_of_credit_at_most", out_of_credit_at_most, "must be between 0 and 1")
    if not recharges_per_month_at_most > 0:
        raise InvalidValueError("recharges_per_month_at_most", recharges_per_month_at_most, "must be above zero")
    pairs = sorted(usage, key=lambda pair: pair[0])
    if not pairs:
        raise InvalidValueError("usage", (), "there is none")
    given = Terms(check_money("usage", pairs[0][1]).currency) if terms is None else terms
    if not isinstance(given, Terms):
        raise WrongTypeError("terms", terms, "Terms")
    check_money("usage", pairs[0][1], given.currency)
    given = attrs.evolve(given, overdraft_limit=None)
    Circumstances(given, Money.zero(given.currency), charge_delay, decline_probability, seed)
    if not isinstance(step, timedelta):
        raise WrongTypeError("step", step, "a timedelta")
    if step <= timedelta(0) or timedelta(days=1) % step:
        raise InvalidValueError("step", step, "a day is no whole number of such steps")
    known = UsageDays.of(pairs, given.time_zone if time_zone is None else time_zone, step)
    if len(known) < DAYS_LEAST:
        raise InvalidValueError(
            "usage", f"{len(known)} days", f"at least {DAYS_LEAST} are needed, to fit on and to check on"
        )
    seen, unseen = known.split()
    search = _Search(
        demand_of_days(seen.pairs, seen.time_zone, (seen.first, seen.last)),
        (out_of_credit_at_most, recharges_per_month_at_most),
        {
            "terms": given,
            "charge_delay": charge_delay,
            "decline_probability": decline_probability,
            "seed": seed,
            "step": step,
        },
        (paths, days),
    )
    with reporting(progress, "suggest_policy") as report:
        search.tells(report)
        amount, threshold = search.found()
        (chosen,) = search.figures([threshold], [amount])
        curve = search.figures(sorted({ceil(share * threshold) for share in _THRESHOLDS}), [amount])
        amounts = sorted({max(ceil(share * amount), search.amount_least) for share in _AMOUNTS})
        amount_curve = search.figures([threshold], amounts)
        pools = unseen.resampled(RESAMPLINGS, _PATHS_OF_EACH, days, seed)
        out_of_sample, shares, kept = search.checked(threshold, amount, pools)
    return Suggestion(
        policy=search.policy(threshold, amount),
        charge_delay=charge_delay,
        out_of_credit_at_most=out_of_credit_at_most,
        recharges_per_month_at_most=recharges_per_month_at_most,
        in_sample=chosen,
        out_of_sample=out_of_sample,
        out_of_credit_bound=out_of_sample.out_of_credit + _ONE_SIDED_95 * stdev(shares) if any(shares) else None,
        confidence=kept / RESAMPLINGS,
        days=len(known),
        held_out=len(unseen),
        curve=tuple(curve),
        amount_curve=tuple(amount_curve),
    )


class _Search:
    """Looks for the policy. Thresholds and amounts are numbers of whole units here, sized for what is looked for."""

    def __init__(
        self, demand: Demand, promise: tuple[float, float], given: dict[str, Any], size: tuple[int, int]
    ) -> None:
        self._promise = promise
        self._given = given
        self._size = size
        self._costs = demand.sample(*size, given["seed"], step=given["step"])
        self._done = 0
        terms: Terms = given["terms"]
        self._currency = terms.currency
        whole = float(self._costs.sum(axis=1, dtype=float).mean())
        self._half = whole / 2
        per_month = whole / (timedelta(size[1]) / _MONTH)
        if not per_month:
            raise InvalidValueError("usage", demand.cost_per_day, "costs nothing, so any policy will do")
        self._amount_guess = per_month / promise[1]
        self._threshold_guess = self._threshold_by_formula()
        step = BILLION if terms.purchase_step is None else lcm(BILLION, terms.purchase_step._billionths)
        self._amount_unit = step * _coarseness(self._amount_guess / step)
        self._threshold_unit = BILLION * _coarseness(self._threshold_guess / BILLION)
        least = terms.minimum_purchase
        self.amount_least = 1 if least is None else -(-least._billionths // self._amount_unit)
        self._report: Report = nobody

    def tells(self, report: Report) -> None:
        """Tell that of each simulation from now on."""
        self._report = report

    def policy(self, threshold: int, amount: int) -> RechargePolicy:
        return RechargePolicy(
            _of(threshold * self._threshold_unit, self._currency), _of(amount * self._amount_unit, self._currency)
        )

    def found(self) -> tuple[int, int]:
        """The smallest amount that keeps its promise, and then the smallest threshold."""
        credit, recharges = self._promise
        threshold = max(round(self._threshold_guess / self._threshold_unit), 1)

        def few_enough(amount: int) -> bool:
            (figures,) = self.figures([threshold], [amount])
            return figures.recharges_per_month <= recharges

        guess = max(ceil(self._amount_guess / self._amount_unit), self.amount_least)
        amount = _smallest(few_enough, guess, self.amount_least, _AMOUNTS_MOST * guess)
        if amount is None:
            raise InvalidValueError("recharges_per_month_at_most", recharges, "no amount keeps this promise")

        def credit_enough(threshold: int) -> bool:
            (figures,) = self.figures([threshold], [amount])
            return figures.out_of_credit <= credit

        # A threshold that lasts for nearly all of the simulation would hide what comes after it.
        found = _smallest(credit_enough, threshold, 1, max(ceil(self._half / self._threshold_unit), 1))
        if found is None:
            why = f"no threshold keeps this promise that lasts less than half of the {self._size[1]} days simulated"
            raise InvalidValueError("out_of_credit_at_most", credit, why)
        return amount, found

    def figures(self, thresholds: Iterable[int], amounts: Iterable[int]) -> list[PolicyFigures]:
        """What each combination comes to on the paths of the fitted demand."""
        _, days = self._size
        found = []
        for threshold in thresholds:
            for amount in amounts:
                many = self._simulated(threshold, amount, self._costs, days)
                found.append(self._figures(threshold, amount, many))
        return found

    def checked(self, threshold: int, amount: int, pools: Any) -> tuple[PolicyFigures, list[float], int]:
        """The figures on days held out, the share without credit in each resampling, and how many keep the promise."""
        days = timedelta(days=1)
        many = self._simulated(threshold, amount, pools, round(pools.shape[1] * self._given["step"] / days))
        figures = [
            self._figures(threshold, amount, many, slice(first, first + _PATHS_OF_EACH))
            for first in range(0, len(pools), _PATHS_OF_EACH)
        ]
        kept = sum(_keeps(one, *self._promise) for one in figures)
        return self._figures(threshold, amount, many), [one.out_of_credit for one in figures], kept

    def _simulated(self, threshold: int, amount: int, costs: Any, days: int) -> Any:
        """The trajectories of the costs, which begin anywhere between the threshold and a recharge above it."""
        np = numpy()
        policy = self.policy(threshold, amount)
        recharge = amount * self._amount_unit
        costs = costs.copy()
        costs[:, 0] += (np.arange(len(costs)) * _GOLDEN % 1 * recharge).astype(np.int64)
        opening = policy.threshold.amount + _of(recharge, self._currency)
        many = simulate_many(costs, [policy], len(costs), days, opening=opening, start=START, **self._given)
        self._done += 1
        self._report(self._done, max(_STEPS_EXPECTED, self._done))
        return many

    def _figures(self, threshold: int, amount: int, many: Any, paths: slice = slice(None)) -> PolicyFigures:
        length = many.end - many.start
        without = float(many.time_without_credit[0, paths].mean()) / (length / timedelta(microseconds=1))
        return PolicyFigures(
            _of(threshold * self._threshold_unit, self._currency),
            _of(amount * self._amount_unit, self._currency),
            without,
            float(many.recharges[0, paths].mean()) / (length / _MONTH),
            _of(round(float(many.idle_average[0, paths].mean())), self._currency),
        )

    def _threshold_by_formula(self) -> float:
        """Where the formula of the textbooks puts the threshold; the search begins there.

        With what is on the ledger and on its way evenly spread between s and s + Q, the share of time without credit is
        the mean of (D - s)+ - (D - s - Q)+, over Q, where D is the demand of a lead time.
        """
        np = numpy()
        lead = max(ceil(self._given["charge_delay"] / self._given["step"]), 1)
        sums = np.cumsum(self._costs, axis=1, dtype=float)
        demands = sums[:, lead::lead] - sums[:, :-lead:lead] if lead < sums.shape[1] else sums[:, -1:]
        low, high = 0.0, float(demands.max())
        for _ in range(30):
            middle = (low + high) / 2
            short = np.maximum(demands - middle, 0) - np.maximum(demands - middle - self._amount_guess, 0)
            if float(short.mean()) / self._amount_guess > self._promise[0]:
                low = middle
            else:
                high = middle
        return high


def _keeps(figures: PolicyFigures, credit: float, recharges: float) -> bool:
    return figures.out_of_credit <= credit and figures.recharges_per_month <= recharges


def _smallest(fits: Callable[[int], bool], guess: int, least: int, most: int) -> int | None:
    """The smallest number from `least` to `most` that fits, looked for from a guess on; all above it fit too."""
    low, high, stride = least, min(guess, most), max(guess // 16, 1)
    if fits(high):
        while high > least and fits(max(high - stride, least)):
            high, stride = max(high - stride, least), 2 * stride
        low = max(high - stride, least)
    else:
        while True:
            if high == most:
                return None
            low, high, stride = high + 1, min(high + stride, most), 2 * stride
            if fits(high):
                break
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return high


def _coarseness(number: float) -> int:
    """The power of ten of which a number has about three digits."""
    digits = int(log10(max(number, 1))) + 1
    return int("1".ljust(digits - 2, "0"))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
