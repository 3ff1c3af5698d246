"""Trajectory: what became of a balance under one policy, simulated on the real ledger."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain
from operator import length_hint
from typing import TYPE_CHECKING

import attrs

from commcredits.errors import InsufficientFundsError, InvalidValueError
from commcredits.events import ChargePaid, FundsExpired
from commcredits.money import Money, _of
from commcredits.payment import Declined, Paid, Processing
from commcredits.simulation.chance import chance
from commcredits.simulation.circumstances import CHARGES_AT_ONCE_MAX, Circumstances
from commcredits.simulation.progress import counted, reporting
from commcredits.tables import Table
from commcredits.times import FAR_FUTURE, utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime
    from decimal import Decimal

    from commcredits.events import Event
    from commcredits.payment import Outcome
    from commcredits.policy import RechargePolicy, Terms
    from commcredits.simulation.progress import Report

_YEAR = timedelta(days=365, hours=6)


@attrs.frozen(order=False)
class Trajectory:
    """A balance over time, from `start` to `end`, and what happened on the way.

    Attributes:
        policy: that it was recharged by; None: it was not.
        times: when the balance changed, in order; several changes may share a time.
        levels: the balance right after each, in billionths.
        events: what the ledger recorded beside usage: recharges, declines, expiries, alerts and so on.
        refused: the usage that the funds did not cover: when, and its cost.
    """

    policy: RechargePolicy | None
    currency: str
    start: datetime
    end: datetime
    times: Sequence[datetime]
    levels: Sequence[int]
    events: tuple[Event, ...]
    refused: tuple[tuple[datetime, Money], ...]

    @property
    def balances(self) -> tuple[tuple[datetime, Money], ...]:
        """When the balance changed, and what it was then."""
        return tuple((at, self._money(level)) for at, level in zip(self.times, self.levels, strict=True))

    @property
    def recharges(self) -> tuple[ChargePaid, ...]:
        """The charges that were paid."""
        return tuple(event for event in self.events if isinstance(event, ChargePaid))

    @property
    def lowest_balance(self) -> Money:
        """The least that the balance ever was."""
        return self._money(min(self.levels))

    @property
    def time_without_credit(self) -> timedelta:
        """How long the balance was zero or below, so that no new usage would have been admitted."""
        return sum((length for level, length in self._lengths() if level <= 0), timedelta(0))

    @property
    def usage_refused(self) -> Money:
        """What the refused usage would have cost."""
        return Money.total([cost for _, cost in self.refused], self.currency)

    @property
    def forfeited(self) -> Money:
        """What expired."""
        return Money.total([e.amount for e in self.events if isinstance(e, FundsExpired)], self.currency)

    @property
    def idle_average(self) -> Money:
        """What lay on the ledger on average over time; an overdraft counts as nothing."""
        whole = self.end - self.start
        if not whole:
            return self._money(max(self.levels[-1], 0))
        moment = timedelta(microseconds=1)
        idle = sum(level * (length // moment) for level, length in self._lengths() if level > 0)
        return self._money(round(Fraction(idle, whole // moment)))

    def idle_cost(self, rate_per_year: Decimal | Fraction | int, rounding: str) -> Money:
        """What the idle funds cost at an interest of `rate_per_year` (0.05 is five percent), to the minor unit.

        Raises: WrongTypeError, InvalidValueError for what is no such factor or rounding.
        """
        moment = timedelta(microseconds=1)
        years = Fraction((self.end - self.start) // moment, _YEAR // moment)
        return self.idle_average.scaled(Fraction(rate_per_year) * years, rounding).rounded(rounding=rounding)

    def table(self) -> Table:
        """What it came to, a row for each figure."""
        return Table(
            ("", "figure"),
            (
                ("From", self.start),
                ("To", self.end),
                ("Recharges", len(self.recharges)),
                ("Lowest balance", self.lowest_balance),
                ("Time without credit", self.time_without_credit),
                ("Usage refused", len(self.refused)),
                ("Its cost", self.usage_refused),
                ("Idle funds on average", self.idle_average.rounded()),
                ("Forfeited", self.forfeited),
            ),
            f"Recharge below {self.policy.threshold.amount}" if self.policy else "No recharge",
        )

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _lengths(self) -> Iterator[tuple[int, timedelta]]:
        """Each level, and for how long it lasted."""
        ends = [*self.times[1:], self.end]
        return ((level, end - at) for level, at, end in zip(self.levels, self.times, ends, strict=True))

    def _money(self, billionths: int) -> Money:
        return _of(billionths, self.currency)


def simulate(
    usage: Iterable[tuple[datetime, Money]],
    policy: RechargePolicy | None,
    *,
    terms: Terms,
    opening: Money,
    charge_delay: timedelta = timedelta(0),
    decline_probability: Fraction | Decimal | float = 0,
    seed: int = 0,
    progress: bool | Report = False,
) -> Trajectory:
    """The trajectory of a ledger that begins with `opening` at the first usage and ends with the last.

    `usage` is pairs of a time and a cost, in time order. A charge is made as soon as it is due; whether it is paid is
    known `charge_delay` later, and `seed` decides it. What falls due at the time of a usage comes before it, charges
    that the usage causes after it. Usage that the funds do not cover is left out. `progress`: a bar (True), or what
    takes (done, total).

    Raises: InvalidValueError for no usage, a delay below zero, a probability outside of 0 to 1, or a policy that would
        charge over a hundred times at once; what `Ledger.open`, `configure_auto_recharge` and `consume` raise.
    """
    pairs = iter(usage)
    first = next(pairs, None)
    if first is None:
        raise InvalidValueError("usage", (), "there is none")
    given = Circumstances(terms, opening, charge_delay, decline_probability, seed)
    run = _Run(given, policy, utc(first[0], "usage"))
    if progress is False:
        run.consume([first])
        run.consume(pairs)
    else:
        with reporting(progress, "simulate") as report:
            run.consume(counted(chain([first], pairs), report, length_hint(usage)))
    return run.trajectory()


class _Run:
    """A simulation under way."""

    def __init__(self, given: Circumstances, policy: RechargePolicy | None, start: datetime) -> None:
        self._ledger = given.ledger(start)
        self._policy = policy
        self._start = self._end = start
        self._delay = given.charge_delay
        self._declines = given.decline_probability
        self._seed = given.seed
        self._charges = 0
        self._charged_at = start
        self._charges_at_once = 0
        self._outcomes: list[tuple[datetime, int, str, Outcome]] = []  # still to come, the soonest first
        self._wakes_at = start  # not after the next time at which something is to be done
        self._times: list[datetime] = []
        self._levels: list[int] = []
        self._events: list[Event] = []
        self._refused: list[tuple[datetime, Money]] = []
        if policy is not None:
            self._note(start, self._ledger.configure_auto_recharge(policy, at=start))
        self._note(start, ())
        self._settle(start)

    def consume(self, usage: Iterable[tuple[datetime, Money]]) -> None:
        """Let usage happen, and what falls due before it and because of it."""
        ledger, times, levels = self._ledger, self._times, self._levels
        for given_at, cost in usage:
            at = utc(given_at, "usage")
            if at >= self._wakes_at:
                self._settle(at)
            try:
                events = ledger.consume(cost, at=at)
            except InsufficientFundsError as error:
                self._refuse(at, cost, error)
                continue
            books = ledger._books
            times.append(books.as_of)
            levels.append(books.free - books.overdraft + books.held)
            # Only what crosses a threshold, or happens below it, can change what is to be done next.
            if len(events) > 1 or books.told is not None:
                self._events += events[1:]
                self._settle(books.as_of)
        self._end = max(self._end, ledger.as_of)

    def trajectory(self) -> Trajectory:
        """What came of it."""
        return Trajectory(
            self._policy,
            self._ledger.currency,
            self._start,
            self._end,
            tuple(self._times),
            tuple(self._levels),
            tuple(self._events),
            tuple(self._refused),
        )

    def _refuse(self, at: datetime, cost: Money, error: InsufficientFundsError) -> None:
        self._refused.append((at, cost))
        if self._policy is not None and self._policy.recharge_when_refused and error.decision.due:
            self._note(at, self._ledger.request_recharge(cost, at=at))
        self._settle(at)

    def _settle(self, until: datetime) -> None:
        """Do what is to be done until a time, in time order: outcomes that arrive, then what falls due."""
        while True:
            arrives_at = self._outcomes[0][0] if self._outcomes else FAR_FUTURE
            due = self._ledger.next_due or FAR_FUTURE
            self._wakes_at = min(arrives_at, due)
            if self._wakes_at > until:
                return
            at = max(self._wakes_at, self._ledger.as_of)
            if arrives_at <= due:
                _, _, charge_id, outcome = heappop(self._outcomes)
                self._note(at, self._ledger.record_outcome(charge_id, outcome, at=at))
            else:
                self._note(at, self._ledger.advance(at=at))
                self._make_due_charge(at)

    def _make_due_charge(self, at: datetime) -> None:
        charge = self._ledger.due_charge(at)
        if charge is None:
            return
        self._note(at, self._ledger.try_charge(charge.charge_id, at=at))
        declined = chance(self._seed, self._charges) < self._declines
        outcome = Declined("by chance") if declined else Paid()
        self._charges += 1
        self._charges_at_once = self._charges_at_once + 1 if at == self._charged_at else 1
        self._charged_at = at
        if self._charges_at_once > CHARGES_AT_ONCE_MAX:
            raise InvalidValueError("policy", self._policy, f"asks for over {CHARGES_AT_ONCE_MAX} charges at once")
        if self._delay:
            self._note(at, self._ledger.record_outcome(charge.charge_id, Processing(), at=at))
        heappush(self._outcomes, (at + self._delay, self._charges, charge.charge_id, outcome))

    def _note(self, at: datetime, events: tuple[Event, ...]) -> None:
        self._events += events
        books = self._ledger._books
        self._times.append(at)
        self._levels.append(books.free - books.overdraft + books.held)
