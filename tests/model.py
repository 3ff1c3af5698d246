"""A second ledger for the tests, as naive as can be: integers of billionths, lists, and plain datetimes in UTC.

It shares nothing with the library, keeps nothing that it can work out by scanning its lists, and forgets nothing. A
lot, a charge or a usage is named by its place in the list of all of them. A command either raises `Refused`, with the
names of all the errors that would be right, and changes nothing; or it returns what happened, as plain tuples.
"""

from __future__ import annotations

import calendar
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple
from zoneinfo import ZoneInfo

CENT = 10_000_000
NEVER = datetime.max.replace(tzinfo=UTC)
PENDING = ("requested", "tried", "processing")
MINUTE = timedelta(minutes=1)
Draws = list[tuple[int, int]]


class Refused(Exception):
    def __init__(self, errors: set[str]) -> None:
        super().__init__(", ".join(sorted(errors)))
        self.errors = errors


@dataclass(frozen=True)
class ModelTerms:
    valid_for: tuple[int, int] | None = (12, 0)  # months and days
    minimum_purchase: int | None = None
    purchase_step: int | None = None
    overdraft_limit: int | None = 0
    grace: timedelta = timedelta(0)
    hold_valid_for: timedelta | None = timedelta(hours=24)
    time_zone: str = "UTC"
    alerts: tuple[tuple[int, bool], ...] = ()  # amount, and whether inclusive
    notices: tuple[timedelta, ...] = ()
    clock_skew: timedelta = timedelta(minutes=5)
    unknown_delay: timedelta = timedelta(minutes=5)
    key_valid_for: timedelta | None = timedelta(hours=24)
    processing_for: timedelta | None = timedelta(hours=72)


@dataclass(frozen=True)
class ModelPolicy:
    threshold: int
    inclusive: bool = False
    amount: int | None = None
    recharge_to: int | None = None
    in_multiples: bool = False
    limits: tuple[tuple[int | None, int | None, str], ...] = ()  # amount, count, per
    delays: tuple[timedelta, ...] = ()
    when_refused: bool = False


@dataclass(eq=False)
class ModelLot:
    place: int
    amount: int
    starts_at: datetime
    expires_at: datetime
    priority: int
    purchased: bool
    not_started: int = 0
    free: int = 0
    lapsed: int = 0
    drawn: int = 0
    repaid: int = 0
    expired: int = 0
    refunded: int = 0
    clawed_back: int = 0
    shortfall: int = 0

    def move(self, source: str, target: str, amount: int) -> None:
        setattr(self, source, getattr(self, source) - amount)
        setattr(self, target, getattr(self, target) + amount)


@dataclass(eq=False)
class ModelHold:
    placed_at: datetime
    expires_at: datetime
    held: dict[int, int]
    ended: bool = False


@dataclass(eq=False)
class ModelUsage:
    amount: int
    draws: Draws
    overdrawn: int
    reversed: int = 0


@dataclass(eq=False)
class ModelCharge:
    amount: int
    payment_method: str
    purpose: str
    attempt: int
    requested_at: datetime
    refused: int = 0
    status: str = "requested"
    tried_at: datetime | None = None
    last_tried_at: datetime | None = None
    processing_at: datetime | None = None
    reference: str = ""


@dataclass(eq=False)
class ModelFailures:
    count: int = 0
    retry_at: datetime | None = None
    given_up: bool = False


class ModelDecision(NamedTuple):
    due: bool
    reason: str | None = None
    amount: int | None = None
    until: datetime | None = None
    why: str | None = None
    payment_method: str | None = None
    attempt: int | None = None


def refuse_if(**conditions: bool) -> None:
    errors = {name for name, holds in conditions.items() if holds}
    if errors:
        raise Refused(errors)


def calendar_later(start: datetime, months: int, days: int, zone: str) -> datetime:
    """Months and days by the wall clock of `zone`; for a day that the month lacks, the next local midnight."""
    local = shown(start, ZoneInfo(zone))
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    month += 1
    if local.day > calendar.monthrange(year, month)[1]:
        month_end = datetime(year, month, calendar.monthrange(year, month)[1])  # noqa: DTZ001
        later = month_end + timedelta(days=1)
    else:
        later = local.replace(year=year, month=month)
    return first_shown(later + timedelta(days=days), ZoneInfo(zone))


def shown(at: datetime, place: ZoneInfo) -> datetime:
    """The wall clock's time; while an hour is repeated, the time at which the clock was set back."""
    if not at.astimezone(place).fold:
        return at.astimezone(place).replace(tzinfo=None)
    set_back = at.replace(second=0, microsecond=0)
    while (set_back - MINUTE).astimezone(place).fold:
        set_back -= MINUTE
    return (set_back - MINUTE).astimezone(place).replace(tzinfo=None) + MINUTE


def first_shown(wall: datetime, place: ZoneInfo) -> datetime:
    """When the wall clock first shows a time; if it is skipped, when the clock is set forward past it."""
    first, last = sorted(wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(place).replace(tzinfo=None) == wall:
        return first
    minutes = (first.replace(second=0, microsecond=0) + passed * MINUTE for passed in count())
    return next(at for at in minutes if at.astimezone(place).utcoffset() == last.astimezone(place).utcoffset())


def window(at: datetime, per: str, zone: str) -> tuple[datetime, datetime]:
    """The first instant of the calendar day, week or month around `at`, and of the next one."""
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        start, end = midnight, midnight + timedelta(days=1)
    elif per == "week":
        start = midnight - timedelta(days=local.weekday())
        end = start + timedelta(days=7)
    else:
        start = midnight.replace(day=1)
        end = start + timedelta(days=calendar.monthrange(start.year, start.month)[1])
    return start.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC), end.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@dataclass
class Model:
    terms: ModelTerms
    methods: tuple[str, ...]
    as_of: datetime
    lots: list[ModelLot] = field(default_factory=list)
    holds: dict[str, ModelHold] = field(default_factory=dict)
    usages: list[ModelUsage] = field(default_factory=list)
    charges: list[ModelCharge] = field(default_factory=list)
    repayments: Draws = field(default_factory=list)
    policy: ModelPolicy | None = None
    suspended: str | None = None
    failures: dict[str, ModelFailures] = field(default_factory=dict)
    limits_told: list[object] = field(default_factory=list)
    depleted: bool = False
    closed_at: datetime | None = None
    happened: list[tuple[object, ...]] = field(default_factory=list)

    # What there is.

    def burn_order(self) -> list[ModelLot]:
        return sorted(self.lots, key=lambda lot: (lot.priority, lot.expires_at, lot.place))

    def open_holds(self) -> dict[str, ModelHold]:
        return {name: hold for name, hold in self.holds.items() if not hold.ended}

    def held_of(self, lot: ModelLot) -> int:
        return sum(hold.held.get(lot.place, 0) for hold in self.open_holds().values())

    def total(self, part: str) -> int:
        return sum(getattr(lot, part) for lot in self.lots)

    def held(self) -> int:
        return sum(self.held_of(lot) for lot in self.lots)

    def overdrawn(self) -> int:
        return sum(usage.overdrawn for usage in self.usages)

    def overdraft(self) -> int:
        return self.overdrawn() + self.total("shortfall") - self.total("repaid")

    def available(self) -> int:
        return self.total("free") - self.overdraft()

    def balance(self) -> int:
        return self.available() + self.held()

    def pending(self) -> list[tuple[int, ModelCharge]]:
        return [(place, c) for place, c in enumerate(self.charges) if c.status in (*PENDING, "unresolved")]

    def check(self) -> None:
        """Nothing appears or vanishes; nothing is negative."""
        parts = ("not_started", "free", "lapsed", "drawn", "repaid", "expired", "refunded", "clawed_back")
        for lot in self.lots:
            assert lot.amount == sum(getattr(lot, part) for part in parts) + self.held_of(lot), lot
            assert all(getattr(lot, part) >= 0 for part in (*parts, "shortfall")), lot
        assert self.overdraft() >= 0
        assert not (self.overdraft() and self.total("free"))
        assert all(usage.overdrawn >= 0 and 0 <= usage.reversed <= usage.amount for usage in self.usages)
        consumed = sum(usage.amount - usage.reversed for usage in self.usages)
        assert consumed == self.total("drawn") + self.overdrawn()
        for lot in self.lots:
            returned = sum(amount for place, amount in self.repayments if place == lot.place)
            assert returned == lot.repaid

    # A command, from beginning to end.

    def perform(self, command: str, given_at: datetime, **arguments: object) -> list[tuple[object, ...]]:
        trial = deepcopy(self)
        trial.happened = []
        now = trial.start(given_at)
        balance, available, alerts = trial.balance(), trial.available(), trial.terms.alerts
        trial.fall_due(now)
        getattr(trial, command)(now, **arguments)
        trial.sweep(now)
        trial.repay(now)
        trial.warn(now, balance, available, alerts)
        trial.recharge(now)
        self.__dict__ = trial.__dict__
        return self.happened

    def start(self, given_at: datetime) -> datetime:
        refuse_if(TimeRunsBackError=given_at < self.as_of - self.terms.clock_skew)
        return max(given_at, self.as_of)

    def at(self, when: datetime) -> Model:
        """What a read at `when` sees: what fell due is applied, nothing is asked for."""
        seen = deepcopy(self)
        seen.fall_due(when)
        return seen

    def note(self, at: datetime, kind: str, *facts: object) -> None:
        self.happened.append((kind, at, *facts))
        self.as_of = at

    # What falls due by itself.

    def due_instants(self) -> list[datetime]:
        instants = [hold.expires_at for hold in self.open_holds().values()]
        instants += [self.unresolved_at(c) for c in self.charges if c.status in ("tried", "processing")]
        instants += [lot.starts_at for lot in self.lots if lot.not_started]
        instants += [lot.expires_at for lot in self.lots if lot.free]
        instants += [lot.expires_at + self.terms.grace for lot in self.lots if lot.lapsed]
        instants += [instant for lot in self.lots if lot.free for instant in self.notices_of(lot)]
        return instants

    def notices_of(self, lot: ModelLot) -> list[datetime]:
        if lot.expires_at == NEVER:
            return []
        instants = [lot.expires_at - notice for notice in self.terms.notices]
        return [instant for instant in instants if instant > self.as_of and instant > lot.starts_at]

    def unresolved_at(self, charge: ModelCharge) -> datetime:
        if charge.status == "processing":
            since, bound = charge.processing_at, self.terms.processing_for
        else:
            since, bound = charge.tried_at, self.terms.key_valid_for
        return NEVER if bound is None or since is None else since + bound

    def fall_due(self, now: datetime) -> None:
        for rounds in count():
            instants = [instant for instant in self.due_instants() if instant <= now]
            if not instants:
                return
            assert rounds < 1000
            # New terms may make what should have been done before now; time does not run back for it.
            self.fall_due_at(max(min(instants), self.as_of))

    def fall_due_at(self, at: datetime) -> None:
        notices = [lot for lot in self.lots if at in self.notices_of(lot)]
        for name, hold in self.open_holds().items():
            if hold.expires_at <= at:
                self.end_hold(at, name, hold, "timed_out")
        for place, charge in enumerate(self.charges):
            if charge.status in ("tried", "processing") and self.unresolved_at(charge) <= at:
                charge.status = "unresolved"
                self.note(at, "ChargeUnresolved", place)
        self.sweep(at)
        for lot in self.lots:
            if lot.not_started and lot.starts_at <= at:
                self.note(at, "FundsStarted", lot.place, lot.not_started)
                lot.move("not_started", "free", lot.not_started)
        for lot in notices:
            if lot.free:
                self.note(at, "FundsExpiring", lot.place, lot.free, lot.expires_at)
        self.repay(at)

    def sweep(self, at: datetime) -> None:
        """Free funds of lots that are over lapse while the grace runs; after it, free and lapsed ones expire."""
        for lot in self.lots:
            if lot.expires_at > at:
                continue
            if at < lot.expires_at + self.terms.grace:
                if lot.free:
                    self.note(at, "FundsLapsed", lot.place, lot.free)
                    lot.move("free", "lapsed", lot.free)
            elif lot.free + lot.lapsed:
                self.note(at, "FundsExpired", lot.place, lot.free + lot.lapsed)
                lot.move("free", "expired", lot.free)
                lot.move("lapsed", "expired", lot.lapsed)

    def repay(self, at: datetime) -> None:
        for lot in self.burn_order():
            amount = min(lot.free, self.overdraft())
            if amount > 0:
                self.note(at, "OverdraftRepaid", lot.place, amount)
                lot.move("free", "repaid", amount)
                self.repayments.append((lot.place, amount))

    # What is told, and what is charged, once at the end.

    def warn(self, now: datetime, balance: int, available: int, alerts: tuple[tuple[int, bool], ...]) -> None:
        if balance > 0 >= self.balance():
            self.note(now, "BalanceDepleted", self.balance())
            self.depleted = True
        elif self.depleted and self.balance() > 0:
            self.note(now, "BalanceRestored", self.balance())
            self.depleted = False
        for alert in self.terms.alerts:
            was_below = below(available, *alert) and alert in alerts
            if below(self.available(), *alert) and not was_below:
                self.note(now, "AlertRaised", alert, self.available())

    def trigger_balance(self) -> int:
        return self.available() + sum(charge.amount for charge in self.charges if charge.status in PENDING)

    def in_zone(self, balance: int) -> bool:
        return self.policy is not None and below(balance, self.policy.threshold, self.policy.inclusive)

    def size(self, balance: int) -> int:
        policy = self.policy
        assert policy is not None
        if policy.amount is not None and not policy.in_multiples:
            return policy.amount
        if policy.amount is not None:
            amount = next(n * policy.amount for n in count(1) if not self.in_zone(balance + n * policy.amount))
        else:
            amount = policy.recharge_to - balance
        amount = max(amount, self.terms.minimum_purchase or 0)
        step = self.terms.purchase_step or CENT
        return amount + -amount % step

    def limits_reached(self, now: datetime, amount: int) -> list[tuple[tuple[int | None, int | None, str], datetime]]:
        reached = []
        for limit in self.policy.limits:
            most, times, per = limit
            start, end = window(now, per, self.terms.time_zone)
            counted = [
                charge.amount
                for charge in self.charges
                if charge.purpose == "recharge"
                and charge.status in (*PENDING, "unresolved", "paid")
                and start <= charge.requested_at < end
            ]
            if (most is not None and sum(counted) + amount > most) or (times is not None and len(counted) + 1 > times):
                reached.append((limit, end))
        return reached

    def has_had_its_attempts(self, name: str) -> bool:
        """A method given up stays so; one to be retried is judged by the policy of now, which may allow fewer."""
        failures = self.failures.get(name, ModelFailures())
        return failures.given_up or (self.policy is not None and failures.count > len(self.policy.delays))

    def decide(self, now: datetime, refused: int = 0) -> ModelDecision:
        balance = self.trigger_balance() - refused
        automatic = [charge.status for charge in self.charges if charge.purpose == "recharge"]
        usable = [name for name in self.methods if not self.has_had_its_attempts(name)]
        if self.closed_at is not None:
            return ModelDecision(due=False, reason="closed")
        if self.policy is None:
            return ModelDecision(due=False, reason="off")
        if not self.in_zone(balance):
            return ModelDecision(due=False, reason="above_threshold")
        if "unresolved" in automatic:
            return ModelDecision(due=False, reason="charge_unresolved")
        if any(status in PENDING for status in automatic):
            return ModelDecision(due=False, reason="in_flight")
        if self.suspended is not None:
            return ModelDecision(due=False, reason="suspended", why=self.suspended)
        if not usable:
            why = "declined" if self.methods else "no_payment_method"
            return ModelDecision(due=False, reason="suspended", why=why)
        failures = self.failures.get(usable[0], ModelFailures())
        if failures.retry_at is not None and now < failures.retry_at:
            return ModelDecision(due=False, reason="backing_off", until=failures.retry_at)
        amount = self.size(balance)
        reached = self.limits_reached(now, amount)
        if reached:
            return ModelDecision(due=False, reason="limit_reached", until=max(end for _, end in reached))
        return ModelDecision(due=True, amount=amount, payment_method=usable[0], attempt=failures.count + 1)

    def unwanted(self, charge: ModelCharge) -> str | None:
        if charge.purpose != "recharge" or charge.status != "requested":
            return None
        if not self.in_zone(self.trigger_balance() - charge.amount - charge.refused):
            return "no_longer_due"
        return None if self.suspended is None else "suspended"

    def recharge(self, now: datetime) -> None:
        for charge in self.charges:
            reason = self.unwanted(charge)
            if reason is not None:
                self.withdraw(now, charge, reason)
        self.follow(now, 0)

    def follow(self, now: datetime, refused: int) -> None:
        decision = self.decide(now, refused)
        if decision.due:
            self.request(now, decision.amount, decision.payment_method, "recharge", decision.attempt, refused)
        elif decision.reason == "suspended" and self.suspended is None:
            self.suspend(now, decision.why)
        elif decision.reason == "limit_reached":
            balance = self.trigger_balance() - refused
            # Of several, the one that lasts longest speaks for all; of those, the one that has lasted longest.
            length = {"day": 1, "week": 7, "month": 28}
            reached = self.limits_reached(now, self.size(balance))
            told = max(reached, key=lambda pair: (pair[1], length[pair[0][2]]))
            if told not in self.limits_told:
                self.limits_told.append(told)
                self.note(now, "RechargeLimitReached", *told)

    def request(self, now: datetime, amount: int, name: str, purpose: str, attempt: int, refused: int = 0) -> None:
        self.charges.append(ModelCharge(amount, name, purpose, attempt, now, refused))
        self.note(now, "ChargeRequested", amount, name, purpose, attempt, refused)

    def withdraw(self, now: datetime, charge: ModelCharge, reason: str) -> None:
        charge.status = "withdrawn"
        self.note(now, "ChargeWithdrawn", self.charges.index(charge), reason)

    def withdraw_automatic(self, now: datetime, reason: str) -> None:
        for charge in self.charges:
            if charge.purpose == "recharge" and charge.status == "requested":
                self.withdraw(now, charge, reason)

    def suspend(self, now: datetime, reason: str) -> None:
        if self.policy is not None and self.suspended is None:
            self.suspended = reason
            self.note(now, "AutoRechargeSuspended", reason)

    def unsuspend(self, now: datetime, reason: str) -> None:
        if self.suspended is not None and self.closed_at is None:
            self.suspended = None
            self.note(now, "AutoRechargeResumed", reason)

    def status(self) -> str:
        if self.closed_at is not None:
            return "closed"
        if self.policy is None:
            return "off"
        return "on" if self.suspended is None else "suspended"

    # The commands: funds.

    def expiry(self, start: datetime) -> datetime:
        if self.terms.valid_for is None:
            return NEVER
        return calendar_later(start, *self.terms.valid_for, self.terms.time_zone)

    def new_lot(
        self, amount: int, starts_at: datetime, expires_at: datetime, priority: int, purchased: bool
    ) -> ModelLot:
        lot = ModelLot(len(self.lots), amount, starts_at, expires_at, priority, purchased, not_started=amount)
        self.lots.append(lot)
        return lot

    def bring(self, now: datetime, amount: int, charge: int | None) -> None:
        lot = self.new_lot(amount, now, self.expiry(now), 0, purchased=True)
        lot.move("not_started", "free", amount)
        self.note(now, "FundsAdded", lot.place, amount, lot.starts_at, lot.expires_at, charge)

    def add_funds(self, now: datetime, amount: int) -> None:
        refuse_if(LedgerClosedError=self.closed_at is not None, InvalidValueError=amount <= 0)
        self.bring(now, amount, None)

    def grant(
        self, now: datetime, amount: int, starts_at: datetime | None, expires_at: datetime | None, priority: int
    ) -> None:
        start, end = starts_at or now, expires_at or NEVER
        refuse_if(
            LedgerClosedError=self.closed_at is not None,
            InvalidValueError=amount <= 0 or start < now or end <= start,
        )
        lot = self.new_lot(amount, start, end, priority, purchased=False)
        if start == now:
            lot.move("not_started", "free", amount)
        self.note(now, "FundsGranted", lot.place, amount, start, end, priority)

    def refund(self, now: datetime, place: int, amount: int) -> None:
        refuse_if(UnknownLotError=place >= len(self.lots))
        lot = self.lots[place]
        room = lot.amount - lot.refunded - lot.clawed_back - lot.shortfall
        refuse_if(
            InvalidValueError=not lot.purchased or amount % CENT != 0 or amount <= 0,
            ExceedsLotError=amount > min(lot.free, room),
        )
        lot.move("free", "refunded", amount)
        self.note(now, "FundsRefunded", place, amount)
        self.suspend(now, "refund")

    def claw_back(self, now: datetime, place: int, amount: int) -> None:
        refuse_if(UnknownLotError=place >= len(self.lots))
        lot = self.lots[place]
        room = lot.amount - lot.refunded - lot.clawed_back - lot.shortfall
        refuse_if(InvalidValueError=not lot.purchased or amount <= 0, ExceedsLotError=amount > room)
        taken = min(lot.free, amount)
        lot.move("free", "clawed_back", taken)
        lot.shortfall += amount - taken
        self.note(now, "FundsClawedBack", place, amount, amount - taken)
        self.suspend(now, "claw_back")

    def reinstate(self, now: datetime, place: int, amount: int) -> None:
        refuse_if(UnknownLotError=place >= len(self.lots))
        lot = self.lots[place]
        refuse_if(
            InvalidValueError=not lot.purchased or amount <= 0, ExceedsLotError=amount > lot.clawed_back + lot.shortfall
        )
        short = min(amount, lot.shortfall)
        unrepaid = self.unrepay(short)
        lot.shortfall -= short
        lot.move("clawed_back", "free", amount - short)
        self.note(now, "FundsReinstated", place, amount, short, self.unless_over(now, unrepaid))

    def unrepay(self, less: int) -> Draws:
        """What is to be lowered beyond the overdraft was repaid, and goes back: the latest repayment first."""
        rest = max(0, less - self.overdraft())
        undone: Draws = []
        while rest:
            place, amount = self.repayments.pop()
            back = min(rest, amount)
            if amount > back:
                self.repayments.append((place, amount - back))
            self.lots[place].move("repaid", "free", back)
            undone.append((place, back))
            rest -= back
        return undone

    def over(self, lot: ModelLot, at: datetime) -> bool:
        return lot.expires_at != NEVER and lot.expires_at + self.terms.grace <= at

    def unless_over(self, at: datetime, draws: Draws) -> tuple[tuple[int, int], ...]:
        """The sums by lot; lots that are long over are one, -1, since a ledger may have forgotten which they were."""
        return summed(
            [(-1 if place < 0 or self.over(self.lots[place], at) else place, amount) for place, amount in draws]
        )

    # The commands: usage and holds.

    def late_funds(self, occurred_at: datetime) -> int:
        return sum(lot.lapsed for lot in self.lots if occurred_at < lot.expires_at)

    def affords(self, amount: int, occurred_at: datetime) -> bool:
        limit = self.terms.overdraft_limit
        return amount == 0 or limit is None or amount <= self.available() + limit + self.late_funds(occurred_at)

    def draw(self, amount: int, occurred_at: datetime) -> tuple[Draws, int]:
        draws: Draws = []
        for part in ("lapsed", "free"):
            for lot in self.burn_order():
                taken = min(amount, getattr(lot, part))
                if taken and (part == "free" or occurred_at < lot.expires_at):
                    lot.move(part, "drawn", taken)
                    draws.append((lot.place, taken))
                    amount -= taken
        return draws, amount

    def use(
        self, now: datetime, amount: int, draws: Draws, overdrawn: int, occurred_at: datetime, hold: str | None
    ) -> None:
        self.usages.append(ModelUsage(amount, draws, overdrawn))
        self.note(now, "FundsConsumed", amount, summed(draws), overdrawn, occurred_at, hold)

    def consume(self, now: datetime, amount: int, occurred_at: datetime) -> None:
        refuse_if(
            InvalidValueError=occurred_at > now,
            LedgerClosedError=self.closed_at is not None and occurred_at >= self.closed_at,
            InsufficientFundsError=not self.affords(amount, occurred_at),
        )
        draws, overdrawn = self.draw(amount, occurred_at)
        self.use(now, amount, draws, overdrawn, occurred_at, None)

    def hold(self, now: datetime, name: str, amount: int, expires_at: datetime) -> None:
        refuse_if(
            LedgerClosedError=self.closed_at is not None,
            HoldExistsError=name in self.holds,
            InvalidValueError=amount <= 0 or expires_at <= now or expires_at > self.hold_end(now),
            InsufficientFundsError=amount > self.available(),
        )
        self.holds[name] = ModelHold(now, expires_at, {})
        self.set_aside(self.holds[name], amount)
        self.note(now, "FundsHeld", name, amount, expires_at)

    def hold_end(self, placed_at: datetime) -> datetime:
        return NEVER if self.terms.hold_valid_for is None else placed_at + self.terms.hold_valid_for

    def set_aside(self, hold: ModelHold, amount: int) -> None:
        for lot in self.burn_order():
            taken = min(amount, lot.free)
            lot.free -= taken
            hold.held[lot.place] = hold.held.get(lot.place, 0) + taken
            amount -= taken

    def open_hold(self, name: str) -> ModelHold:
        refuse_if(UnknownHoldError=name not in self.holds)
        refuse_if(HoldEndedError=self.holds[name].ended)
        return self.holds[name]

    def end_hold(self, at: datetime, name: str, hold: ModelHold, reason: str) -> None:
        rest = sum(hold.held.values())
        for place, amount in hold.held.items():
            self.lots[place].free += amount
        hold.held = {}
        hold.ended = True
        self.note(at, "HoldReleased", name, rest, reason)

    def extend_hold(self, now: datetime, name: str, add: int | None, expires_at: datetime | None) -> None:
        hold = self.open_hold(name)
        end = expires_at or hold.expires_at
        refuse_if(
            InvalidValueError=(add is None and expires_at is None)
            or (add is not None and add <= 0)
            or end <= now
            or end < hold.expires_at
            or (expires_at is not None and end > self.hold_end(hold.placed_at)),
            InsufficientFundsError=add is not None and add > self.available(),
        )
        self.set_aside(hold, add or 0)
        hold.expires_at = end
        self.note(now, "HoldExtended", name, add or 0, end)

    def release(self, now: datetime, name: str) -> None:
        self.end_hold(now, name, self.open_hold(name), "released")

    def capture(self, now: datetime, name: str, amount: int | None, final: bool, occurred_at: datetime) -> None:
        hold = self.open_hold(name)
        held = sum(hold.held.values())
        amount = held if amount is None else amount
        excess = max(0, amount - held)
        refuse_if(
            InvalidValueError=occurred_at > now,
            InsufficientFundsError=not self.affords(excess, occurred_at),
        )
        draws: Draws = []
        wanted = amount - excess
        for lot in self.burn_order():
            taken = min(wanted, hold.held.get(lot.place, 0))
            if taken:
                hold.held[lot.place] -= taken
                lot.drawn += taken
                draws.append((lot.place, taken))
                wanted -= taken
        more, overdrawn = self.draw(excess, occurred_at)
        self.use(now, amount, draws + more, overdrawn, occurred_at, name)
        if final:
            self.end_hold(now, name, hold, "captured")

    def reverse_consumption(self, now: datetime, place: int, amount: int | None) -> None:
        usage = self.usages[place]
        left = usage.amount - usage.reversed
        amount = left if amount is None else amount
        refuse_if(ReversalExceedsUsageError=amount > left, InvalidValueError=amount <= 0)
        short = min(amount, usage.overdrawn)
        unrepaid = self.unrepay(short)
        usage.overdrawn -= short
        usage.reversed += amount
        back: Draws = []
        rest = amount - short
        while rest:
            lot, drawn = usage.draws.pop()
            taken = min(rest, drawn)
            if drawn > taken:
                usage.draws.append((lot, drawn - taken))
            self.lots[lot].move("drawn", "free", taken)
            back.append((lot, taken))
            rest -= taken
        self.note(now, "ConsumptionReversed", place, amount, summed(back), short, self.unless_over(now, unrepaid))

    # The commands: charges and automatic recharge.

    def purchase(self, now: datetime, amount: int, name: str | None) -> None:
        step = self.terms.purchase_step or CENT
        refuse_if(
            LedgerClosedError=self.closed_at is not None,
            InvalidValueError=amount <= 0 or amount % step != 0 or amount < (self.terms.minimum_purchase or 0),
            UnknownPaymentMethodError=not self.methods if name is None else name not in self.methods,
        )
        self.request(now, amount, name or self.methods[0], "purchase", 1)

    def try_charge(self, now: datetime, place: int) -> None:
        refuse_if(UnknownChargeError=place >= len(self.charges))
        charge = self.charges[place]
        again = (
            charge.status == "tried"
            and now >= charge.last_tried_at + self.terms.unknown_delay
            and now < self.unresolved_at(charge)
        )
        refuse_if(ChargeNotDueError=charge.status != "requested" and not again)
        if self.unwanted(charge) is None:
            charge.status = "tried"
            charge.tried_at = charge.tried_at or now
            charge.last_tried_at = now
            self.note(now, "ChargeTried", place)

    def record_outcome(self, now: datetime, place: int, outcome: str, detail: str | bool) -> None:
        refuse_if(UnknownChargeError=place >= len(self.charges))
        charge = self.charges[place]
        if charge.status == "paid":
            two_references = outcome == "paid" and "" not in (detail, charge.reference) and detail != charge.reference
            refuse_if(OutcomeConflictError=outcome == "declined" or two_references)
        elif outcome == "paid":
            late = charge.status in ("declined", "withdrawn")
            charge.status, charge.reference = "paid", str(detail)
            self.note(now, "ChargePaid", place)
            self.bring(now, charge.amount, place)
            self.failures.pop(charge.payment_method, None)
            self.unsuspend(now, "paid")
            if late and charge.purpose == "recharge":
                self.withdraw_automatic(now, "paid_late")
        elif outcome == "declined" and charge.status in (*PENDING, "unresolved"):
            charge.status = "declined"
            retry_at, given_up = None, False
            if charge.purpose == "recharge" and self.policy is not None and self.closed_at is None:
                failures = self.failures.setdefault(charge.payment_method, ModelFailures())
                failures.count = charge.attempt
                delays = self.policy.delays
                given_up = not detail or failures.count > len(delays)
                retry_at = None if given_up else now + delays[failures.count - 1]
                failures.given_up, failures.retry_at = given_up, retry_at
            self.note(now, "ChargeDeclined", place, retry_at, given_up)
        elif outcome == "processing" and charge.status in ("requested", "tried"):
            charge.status, charge.processing_at = "processing", now
            self.note(now, "ChargeProcessing", place)

    def configure_auto_recharge(self, now: datetime, policy: ModelPolicy) -> None:
        refuse_if(
            LedgerClosedError=self.closed_at is not None, InvalidValueError=not can_be_charged(policy, self.terms)
        )
        if policy != self.policy:
            self.policy = policy
            self.note(now, "AutoRechargeConfigured")
            self.withdraw_automatic(now, "edited")

    def disable_auto_recharge(self, now: datetime) -> None:
        if self.policy is not None and self.closed_at is None:
            self.policy = None
            self.note(now, "AutoRechargeDisabled")
            self.withdraw_automatic(now, "disabled")

    def resume_auto_recharge(self, now: datetime) -> None:
        refuse_if(LedgerClosedError=self.closed_at is not None)
        if self.suspended is not None or self.failures:
            self.suspended = None
            self.failures = {}
            self.note(now, "AutoRechargeResumed", "resumed")

    def request_recharge(self, now: datetime, refused: int) -> None:
        refuse_if(LedgerClosedError=self.closed_at is not None, InvalidValueError=refused <= 0)
        if self.policy is not None and self.policy.when_refused and refused > self.available():
            self.follow(now, refused)

    def change_payment_methods(self, now: datetime, methods: tuple[str, ...]) -> None:
        refuse_if(LedgerClosedError=self.closed_at is not None)
        if methods != self.methods:
            self.methods = methods
            self.failures = {}
            self.note(now, "PaymentMethodsChanged")
            for charge in self.charges:
                if charge.status == "requested" and charge.payment_method not in methods:
                    self.withdraw(now, charge, "method_removed")
            self.unsuspend(now, "payment_methods_changed")

    def change_terms(self, now: datetime, terms: ModelTerms) -> None:
        fits = self.policy is None or can_be_charged(self.policy, terms)
        refuse_if(LedgerClosedError=self.closed_at is not None, InvalidValueError=not fits)
        if terms != self.terms:
            self.terms = terms
            self.note(now, "TermsChanged")
            self.withdraw_automatic(now, "edited")
            self.fall_due(now)

    def advance(self, now: datetime) -> None:
        pass

    def close(self, now: datetime) -> None:
        refuse_if(LedgerClosedError=self.closed_at is not None, OpenHoldsError=bool(self.open_holds()))
        self.note(now, "LedgerClosed")
        for charge in self.charges:
            if charge.status == "requested":
                self.withdraw(now, charge, "closed")
        self.suspend(now, "closed")
        self.closed_at = now


def below(balance: int, amount: int, inclusive: bool) -> bool:
    return balance <= amount if inclusive else balance < amount


def can_be_charged(policy: ModelPolicy, terms: ModelTerms) -> bool:
    """A fixed amount is charged as it is, so it has to be one that can be; others are raised to one."""
    if policy.amount is None:
        return True
    whole = policy.amount % (terms.purchase_step or CENT) == 0
    return whole and (policy.in_multiples or policy.amount >= (terms.minimum_purchase or 0))


def summed(draws: Draws) -> tuple[tuple[int, int], ...]:
    """How much of each lot, whatever the order."""
    return tuple(
        sorted((lot, sum(amount for place, amount in draws if place == lot)) for lot in {lot for lot, _ in draws})
    )
