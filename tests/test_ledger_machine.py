"""The ledger against the naive model of `model.py`: whatever is asked of both, they agree on all that can be read.

Amounts, times and rules come from small sets, so that equal amounts and instants, where the rules bite, are common.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from commcredits import (
    CommCreditsError,
    Declined,
    InsufficientFundsError,
    Ledger,
    Money,
    Paid,
    Processing,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
)
from model import CENT, NEVER, Model, ModelDecision, ModelPolicy, ModelTerms, Refused, calendar_later

OPENED = datetime(2024, 1, 31, 11, 55, tzinfo=UTC)  # a month later there is no such day
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MOMENT = timedelta(microseconds=1)

SMALL = [5 * CENT, 10 * CENT, 20 * CENT, CENT, 50 * CENT, 2 * CENT, CENT // 2]
amounts = st.sampled_from(SMALL)
some_amounts = st.sampled_from([*SMALL, *SMALL, 0, -CENT])  # not all of them right
fundings = st.sampled_from(
    [20 * CENT, 50 * CENT, 100 * CENT, 100 * CENT, 5 * CENT, 10 * CENT, 20 * CENT + CENT // 2, 0]
)
LENGTHS = [timedelta(seconds=1), 5 * MINUTE, 5 * MINUTE, HOUR, HOUR, 6 * HOUR, DAY, 30 * DAY, 365 * DAY]
steps = st.sampled_from([*[timedelta(0)] * 8, *LENGTHS, *["due"] * 4, "just before due", "back a little"])
places = st.integers(0, 40)
hold_lengths = st.sampled_from([6 * HOUR, HOUR, DAY, DAY, DAY + MOMENT])
all_terms = st.builds(
    ModelTerms,
    valid_for=st.sampled_from([(12, 0), (1, 0), (0, 1), (0, 1), None]),
    minimum_purchase=st.sampled_from([None, None, 10 * CENT]),
    purchase_step=st.sampled_from([None, None, 5 * CENT]),
    overdraft_limit=st.sampled_from([0, 0, 10 * CENT, 50 * CENT, None]),
    grace=st.sampled_from([timedelta(0), timedelta(0), 6 * HOUR, 2 * DAY]),
    hold_valid_for=st.sampled_from([DAY, DAY, 6 * HOUR, None]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin"]),
    alerts=st.sampled_from([(), ((10 * CENT, False),), ((5 * CENT, True), (20 * CENT, False))]),
    notices=st.sampled_from([(), (6 * HOUR,), (30 * DAY, 7 * DAY), (DAY, HOUR)]),
    key_valid_for=st.sampled_from([DAY, DAY, HOUR, None]),
    processing_for=st.sampled_from([3 * DAY, 3 * DAY, None]),
)
limits = st.sampled_from(
    [
        *[(40 * CENT, None, "day"), (20 * CENT, None, "day"), (None, 1, "day"), (None, 2, "week")],
        *[(100 * CENT, None, "month"), (100 * CENT, 2, "week")],
    ]
)
SIZES = [
    {"amount": 20 * CENT},
    {"amount": 10 * CENT, "in_multiples": True},
    {"amount": 50 * CENT},
    {"amount": 5 * CENT, "in_multiples": True},
    {"recharge_to": 50 * CENT},
    {"recharge_to": 25 * CENT + CENT // 2},
    {"amount": 7 * CENT},
]
outcomes = st.sampled_from(
    [
        *[("paid", ""), ("paid", ""), ("paid", "one"), ("paid", "two")],
        *[("declined", True), ("declined", True), ("declined", False), ("processing", "")],
    ]
)
quick_outcomes = st.sampled_from([("paid", ""), ("paid", ""), ("paid", ""), ("declined", False), ("declined", True)])


@st.composite
def policies(draw: st.DrawFn) -> ModelPolicy:
    return ModelPolicy(
        threshold=draw(st.sampled_from([0, 5, 10, 10, 20, 20])) * CENT,
        inclusive=draw(st.booleans()),
        limits=tuple(draw(st.lists(limits, max_size=2, unique=True))),
        delays=draw(st.sampled_from([(HOUR, 6 * HOUR, DAY), (HOUR,), ()])),
        when_refused=draw(st.booleans()),
        **draw(st.sampled_from(SIZES)),
    )


def money(billionths: int) -> Money:
    return Money(Decimal(billionths).scaleb(-9), "USD")


def maybe_money(billionths: int | None) -> Money | None:
    return None if billionths is None else money(billionths)


def units(amount: Money) -> int:
    return int(amount.amount.scaleb(9))


def terms_of(terms: ModelTerms) -> Terms:
    months, days = terms.valid_for or (0, 0)
    return Terms(
        "USD",
        funds_valid_for=None if terms.valid_for is None else relativedelta(months=months, days=days),
        minimum_purchase=maybe_money(terms.minimum_purchase),
        purchase_step=maybe_money(terms.purchase_step),
        overdraft_limit=maybe_money(terms.overdraft_limit),
        late_usage_grace=terms.grace,
        hold_valid_for=terms.hold_valid_for,
        time_zone=terms.time_zone,
        alert_thresholds=tuple(Threshold(money(amount), inclusive=inclusive) for amount, inclusive in terms.alerts),
        expiry_notices=terms.notices,
        clock_skew=terms.clock_skew,
        unknown_delay=terms.unknown_delay,
        key_valid_for=terms.key_valid_for,
        processing_for=terms.processing_for,
    )


def policy_of(policy: ModelPolicy) -> RechargePolicy:
    return RechargePolicy(
        Threshold(money(policy.threshold), inclusive=policy.inclusive),
        maybe_money(policy.amount),
        recharge_to=maybe_money(policy.recharge_to),
        in_multiples=policy.in_multiples,
        limits=[RechargeLimit(amount=maybe_money(most), count=times, per=per) for most, times, per in policy.limits],
        retry=RetryPolicy(policy.delays),
        recharge_when_refused=policy.when_refused,
    )


def outcome_of(kind: str, detail: Any) -> Paid | Declined | Processing:
    if kind == "paid":
        return Paid(detail)
    return Declined("no", retryable=detail) if kind == "declined" else Processing(detail)


class LedgerMachine(RuleBasedStateMachine):
    """A rule gives one command to both; the invariants are what they agree on after it."""

    @initialize(
        terms=all_terms,
        methods=st.sampled_from([("card",), ("card", "bank")]),
        policy=policies() | policies() | st.none(),
        first=st.sampled_from([100 * CENT, 20 * CENT]),
    )
    def open(self, terms: ModelTerms, methods: tuple[str, ...], policy: ModelPolicy | None, first: int) -> None:
        self.ledger = Ledger.open("L", terms_of(terms), at=OPENED, payment_methods=methods)
        self.model = Model(terms, methods, OPENED)
        self.events = [self.ledger.opened]
        self.now = OPENED
        self.lots: list[int] = []
        self.charges: list[str] = []
        self.usages: list[Any] = []
        self.both("add_funds", timedelta(0), {"amount": first}, money(first))
        if policy is not None:
            self.both("configure_auto_recharge", timedelta(0), {"policy": policy}, policy_of(policy))

    # One command to both.

    def time(self, step: timedelta | str) -> datetime:
        if step == "back a little":
            return self.model.as_of - 5 * MINUTE
        if isinstance(step, timedelta):
            return self.now + step
        due = self.ledger.next_due
        if due is None or due <= self.now:
            return self.now
        return due if step == "due" else due - MOMENT

    def both(self, command: str, step: timedelta | str, model: dict[str, Any], *values: Any, **named: Any) -> bool:
        """Give `command` to both; whether it was not refused."""
        return self.both_at(command, self.time(step), model, *values, **named)

    def both_at(self, command: str, at: datetime, model: dict[str, Any], *values: Any, **named: Any) -> bool:
        before = self.ledger.state()
        try:
            happened, right_errors = self.model.perform(command, at, **model), set()
        except Refused as refusal:
            happened, right_errors = [], refusal.errors
        refusal: CommCreditsError | None = None
        events: tuple[Any, ...] = ()
        try:
            events = getattr(self.ledger, command)(*values, at=at, **named)
        except CommCreditsError as error:
            refusal = error
        if refusal is not None:
            assert type(refusal).__name__ in right_errors, (refusal, right_errors or happened)
            assert self.ledger.state() == before
            if isinstance(refusal, InsufficientFundsError):
                self.refusal_tells_the_decision(refusal, at)
            return False
        assert not right_errors, (right_errors, events)
        self.now = max(at, before.as_of)
        self.learn(events)
        assert isinstance(events, tuple)
        assert self.told(events) == counted(happened), (self.told(events), counted(happened))
        return True

    def refusal_tells_the_decision(self, error: InsufficientFundsError, at: datetime) -> None:
        now = max(at, self.model.as_of)
        seen = self.model.at(now)
        asked = seen.policy is not None and seen.policy.when_refused
        decision = seen.decide(now, units(error.amount) if asked else 0)
        assert self.facts(error.decision) == decision

    def learn(self, events: tuple[Any, ...]) -> None:
        for event in events:
            self.events.append(event)
            kind = type(event).__name__
            if kind in ("FundsAdded", "FundsGranted"):
                assert event.lot_id == event.version
                self.lots.append(event.lot_id)
            elif kind == "ChargeRequested":
                assert event.charge_id == f"L:{event.version}:{event.at:%Y%m%dT%H%M%S%fZ}"
                self.charges.append(event.charge_id)
            elif kind == "FundsConsumed":
                self.usages.append(event)

    def lot_id(self, place: int) -> int:
        return self.lots[place] if place < len(self.lots) else 1_000_000

    def charge_id(self, place: int) -> str:
        return self.charges[place] if place < len(self.charges) else "L:1000000:20240131T120000000000Z"

    def about(self, **subject: Any) -> tuple[Any, ...]:
        ((name, value),) = subject.items()
        return tuple(event for event in self.events if getattr(event, name, None) == value)

    # The same words for what both say.

    def told(self, events: tuple[Any, ...]) -> Counter[Any]:
        return counted([(type(event).__name__, event.at, *self.facts_of_event(event)) for event in events])

    def facts_of_event(self, event: Any) -> tuple[Any, ...]:
        kind = type(event).__name__
        if kind in ("FundsStarted", "FundsLapsed", "OverdraftRepaid"):
            return self.lots.index(event.lot_id), units(event.amount)
        if kind == "FundsExpired":
            return (0, units(event.amount))
        if kind == "FundsExpiring":
            return self.lots.index(event.lot_id), units(event.amount), event.expires_at
        if kind == "FundsAdded":
            charge = None if event.charge_id is None else self.charges.index(event.charge_id)
            return (
                self.lots.index(event.lot_id),
                units(event.amount),
                event.starts_at,
                event.expires_at or NEVER,
                charge,
            )
        if kind == "FundsGranted":
            expires_at = event.expires_at or NEVER
            return self.lots.index(event.lot_id), units(event.amount), event.starts_at, expires_at, event.priority
        if kind == "FundsConsumed":
            draws = self.by_lot(event.draws)
            return units(event.amount), draws, units(event.overdrawn), event.occurred_at, event.hold_id
        if kind == "ConsumptionReversed":
            usage = [usage.version for usage in self.usages].index(event.consumption)
            draws, unrepaid = self.by_lot(event.draws), self.by_lot_unless_over(event.at, event.unrepaid)
            return usage, units(event.amount), draws, units(event.overdrawn), unrepaid
        if kind == "FundsRefunded":
            return self.lots.index(event.lot_id), units(event.amount)
        if kind == "FundsClawedBack":
            return self.lots.index(event.lot_id), units(event.amount), units(event.shortfall)
        if kind == "FundsReinstated":
            unrepaid = self.by_lot_unless_over(event.at, event.unrepaid)
            return self.lots.index(event.lot_id), units(event.amount), units(event.shortfall), unrepaid
        if kind in ("FundsHeld", "HoldExtended"):
            assert sum(units(draw.amount) for draw in event.draws) == units(event.amount)
            return event.hold_id, units(event.amount), event.expires_at
        if kind == "HoldReleased":
            assert sum(units(draw.amount) for draw in event.draws) == units(event.amount)
            return event.hold_id, units(event.amount), event.reason
        if kind == "ChargeRequested":
            refused = 0 if event.refused is None else units(event.refused)
            return units(event.amount), event.payment_method, event.purpose, event.attempt, refused
        if kind in ("ChargeTried", "ChargeProcessing", "ChargePaid", "ChargeUnresolved"):
            return (self.charges.index(event.charge_id),)
        if kind == "ChargeDeclined":
            return self.charges.index(event.charge_id), event.retry_at, event.given_up
        if kind == "ChargeWithdrawn":
            return self.charges.index(event.charge_id), event.reason
        if kind in ("AutoRechargeSuspended", "AutoRechargeResumed"):
            return (event.reason,)
        if kind == "RechargeLimitReached":
            limit = event.limit
            return (None if limit.amount is None else units(limit.amount), limit.count, limit.per), event.until
        if kind in ("BalanceDepleted", "BalanceRestored"):
            return (units(event.balance),)
        if kind == "AlertRaised":
            return (units(event.threshold.amount), event.threshold.inclusive), units(event.available)
        return ()

    def by_lot(self, draws: tuple[Any, ...]) -> tuple[tuple[int, int], ...]:
        sums: Counter[int] = Counter()
        for draw in draws:
            sums[self.lots.index(draw.lot_id)] += units(draw.amount)
        return tuple(sorted(sums.items()))

    def by_lot_unless_over(self, at: datetime, draws: tuple[Any, ...]) -> tuple[tuple[int, int], ...]:
        places = [(self.lots.index(draw.lot_id) if draw.lot_id else -1, units(draw.amount)) for draw in draws]
        return self.model.unless_over(at, places)

    def facts(self, decision: Any) -> ModelDecision:
        if decision.due:
            amount = units(decision.amount)
            return ModelDecision(True, None, amount, None, None, decision.payment_method, decision.attempt)
        return ModelDecision(False, decision.reason, None, decision.until, decision.why)

    # What can be asked of any ledger.

    @rule(amount=fundings, step=steps)
    def add_funds(self, amount: int, step: Any) -> None:
        self.both("add_funds", step, {"amount": amount}, money(amount))

    @rule(
        amount=amounts | st.just(0), step=steps, ago=st.sampled_from([None, None, None, timedelta(0), HOUR, DAY, -HOUR])
    )
    def consume(self, amount: int, step: Any, ago: timedelta | None) -> None:
        at, occurred_at = self.usage_times(step, ago)
        named = {} if ago is None else {"occurred_at": occurred_at}
        self.both_at("consume", at, {"amount": amount, "occurred_at": occurred_at}, money(amount), **named)

    @rule(step=steps, ago=st.sampled_from([None, HOUR]), beyond=st.sampled_from([0, 0, 1, CENT]))
    def consume_all_there_is(self, step: Any, ago: timedelta | None, beyond: int) -> None:
        at, occurred_at = self.usage_times(step, ago)
        seen = self.model.at(max(at, self.model.as_of))
        amount = seen.available() + (seen.terms.overdraft_limit or 0) + seen.late_funds(occurred_at) + beyond
        if amount > 0:
            named = {} if ago is None else {"occurred_at": occurred_at}
            self.both_at("consume", at, {"amount": amount, "occurred_at": occurred_at}, money(amount), **named)

    def usage_times(self, step: Any, ago: timedelta | None) -> tuple[datetime, datetime]:
        at = self.time(step)
        if ago is None:
            return at, at
        return at, (max(at, self.model.as_of) if ago < timedelta(0) else at) - ago

    @rule(
        step=steps,
        changes=st.fixed_dictionaries(
            {},
            optional={
                "overdraft_limit": st.sampled_from([0, 10 * CENT, None]),
                "alerts": st.sampled_from([(), ((10 * CENT, False),), ((50 * CENT, False), (10 * CENT, False))]),
                "valid_for": st.sampled_from([None, (1, 0), (0, 1)]),
                "hold_valid_for": st.sampled_from([None, DAY, HOUR]),
                "notices": st.sampled_from([(), (6 * HOUR,), (30 * DAY, HOUR)]),
                "minimum_purchase": st.sampled_from([None, 10 * CENT]),
                "purchase_step": st.sampled_from([None, 5 * CENT]),
                "time_zone": st.sampled_from(["UTC", "Europe/Berlin"]),
                "grace": st.sampled_from([timedelta(0), 6 * HOUR]),
                "key_valid_for": st.sampled_from([DAY, HOUR, None]),
                "processing_for": st.sampled_from([3 * DAY, HOUR, None]),
                "unknown_delay": st.sampled_from([5 * MINUTE, HOUR]),
                "clock_skew": st.sampled_from([5 * MINUTE, HOUR]),
            },
        ),
    )
    def change_terms(self, step: Any, changes: dict[str, Any]) -> None:
        # A longer grace brings no lot back whose grace was over, which a ledger may have forgotten.
        changes["grace"] = min(self.model.terms.grace, changes.get("grace", 2 * DAY))
        terms = ModelTerms(**{**vars(self.model.terms), **changes})
        self.both("change_terms", step, {"terms": terms}, terms_of(terms))

    @rule(step=steps)
    def advance(self, step: Any) -> None:
        self.both("advance", step, {})

    @rule(step=steps)
    def advance_again(self, step: Any) -> None:
        """What fell due is recorded once."""
        if self.both("advance", step, {}):
            assert self.ledger.advance(at=self.now) == ()

    @precondition(lambda self: len(self.events) > 30 and self.model.closed_at is None)
    @rule(step=steps)
    def close(self, step: Any) -> None:
        self.both("close", step, {})

    @precondition(lambda self: len(self.events) % 5 == 0)
    @rule()
    def go_back_in_time(self) -> None:
        too_early = self.model.as_of - self.model.terms.clock_skew - MOMENT
        self.both_at("advance", too_early, {})
        self.both_at("add_funds", too_early, {"amount": CENT}, money(CENT))

    # What must be so after each of them.

    @invariant()
    def agree(self) -> None:
        self.both_agree()
        self.both_have_the_same_lots()
        self.both_have_the_same_holds()
        self.both_have_the_same_pending_charges()
        self.both_see_the_same_future()
        self.nothing_appears_or_vanishes()
        self.the_events_tell_everything()
        self.a_snapshot_goes_on_as_the_ledger_does()
        self.next_due_is_when_something_is_to_be_done()

    def both_agree(self) -> None:
        ledger, model = self.ledger, self.model
        state = ledger.state()
        assert units(ledger.available) == units(state.available) == model.available()
        assert units(ledger.balance) == units(state.balance) == model.balance()
        assert units(ledger.held) == units(state.held) == model.held()
        assert units(ledger.overdraft) == units(state.overdraft) == model.overdraft()
        assert units(ledger.lapsed) == units(state.lapsed) == model.total("lapsed")
        assert ledger.as_of == state.as_of == model.as_of
        assert ledger.version == state.version == len(self.events)
        assert ledger.payment_methods == model.methods
        assert ledger.auto_recharge_status == model.status()
        assert ledger.recharge_policy == (None if model.policy is None else policy_of(model.policy))

    def both_have_the_same_lots(self) -> None:
        shown = [
            (self.lots.index(lot.lot_id), units(lot.remaining), units(lot.held), lot.expires_at or NEVER, lot.purchased)
            for lot in self.ledger.lots
        ]
        model = self.model
        assert [lot for lot in shown if lot[1] or lot[2]] == [
            (lot.place, remaining, model.held_of(lot), lot.expires_at, lot.purchased)
            for lot in model.burn_order()
            if (remaining := lot.free + lot.lapsed + lot.not_started) or model.held_of(lot)
        ]

    def both_have_the_same_holds(self) -> None:
        shown = {hold.hold_id: (units(hold.amount), hold.placed_at, hold.expires_at) for hold in self.ledger.holds}
        assert shown == {
            name: (sum(hold.held.values()), hold.placed_at, hold.expires_at)
            for name, hold in self.model.open_holds().items()
        }
        for hold in self.ledger.holds:
            held = self.model.holds[hold.hold_id].held
            assert self.by_lot(hold.draws) == tuple(sorted((lot, amount) for lot, amount in held.items() if amount))

    def both_have_the_same_pending_charges(self) -> None:
        def facts(c: Any, place: int, amount: int) -> tuple[Any, ...]:
            tries = (c.status, c.tried_at, c.last_tried_at)
            return (place, amount, c.payment_method, c.purpose, c.attempt, c.requested_at, *tries)

        shown = [facts(c, self.charges.index(c.charge_id), units(c.amount)) for c in self.ledger.pending_charges]
        assert sorted(shown) == [facts(c, place, c.amount) for place, c in self.model.pending()]

    def both_see_the_same_future(self) -> None:
        for later in (timedelta(0), HOUR, DAY, 40 * DAY):
            at = max(self.now, self.model.as_of) + later
            seen = self.model.at(at)
            assert units(self.ledger.available_at(at)) == seen.available()
            assert units(self.ledger.balance_at(at)) == seen.balance()
            assert self.facts(self.ledger.recharge_decision(at)) == seen.decide(at)
            if seen.closed_at is None:
                assert self.ledger.admits_new_usage(at) == (seen.available() > 0)
                for amount in (CENT, 20 * CENT):
                    assert self.ledger.can_afford(money(amount), at) == seen.affords(amount, at)

    def nothing_appears_or_vanishes(self) -> None:
        self.model.check()
        totals = self.ledger.totals
        totals.check()
        t = {
            name: units(getattr(totals, name))
            for name in (
                *("funded", "drawn", "overdrawn", "consumed", "repaid", "expired", "refunded", "clawed_back"),
                *("shortfall", "free", "held", "lapsed", "not_started", "overdraft"),
            )
        }
        assert all(amount >= 0 for amount in t.values())
        assert t["funded"] == sum(lot.amount for lot in self.model.lots)
        assert t["held"] == self.model.held()
        for part in (
            "drawn",
            "repaid",
            "expired",
            "refunded",
            "clawed_back",
            "shortfall",
            "free",
            "lapsed",
            "not_started",
        ):
            assert t[part] == self.model.total(part), part
        assert t["overdrawn"] == self.model.overdrawn()
        assert t["consumed"] == t["drawn"] + t["overdrawn"]
        assert t["overdraft"] == t["overdrawn"] + t["shortfall"] - t["repaid"]
        spent = t["consumed"] + t["expired"] + t["refunded"] + t["clawed_back"] + t["shortfall"]
        assert t["funded"] == spent + t["free"] + t["lapsed"] + t["not_started"] + t["held"] - t["overdraft"]
        assert t["free"] == 0 or t["overdraft"] == 0

    def the_events_tell_everything(self) -> None:
        state = self.ledger.state()
        assert [event.version for event in self.events] == list(range(1, len(self.events) + 1))
        assert all(one.at <= two.at for one, two in zip(self.events, self.events[1:], strict=False))
        for again in (Ledger.replay(self.events), Ledger.restore(state)):
            assert again.state() == state
            assert again.next_due == self.ledger.next_due

    def a_snapshot_goes_on_as_the_ledger_does(self) -> None:
        half = len(self.events) // 2
        snapshot = Ledger.replay(self.events[:half] or self.events).state()
        assert Ledger.restore(snapshot, self.events[half:] if half else ()).state() == self.ledger.state()

    def next_due_is_when_something_is_to_be_done(self) -> None:
        due, now = self.ledger.next_due, max(self.now, self.model.as_of)
        charges_due = [when for when in map(self.charge_due_at, self.ledger.pending_charges) if when is not None]
        later = Ledger.restore(self.ledger.state())
        if due is None:
            assert not charges_due
            assert later.advance(at=now + 4000 * DAY) == ()
            return
        assert all(when >= due for when in charges_due)
        if due > now:
            assert later.advance(at=due - MOMENT) == ()
            assert due in charges_due or later.advance(at=due)
        else:
            assert due in charges_due

    def charge_due_at(self, charge: Any) -> datetime | None:
        """When its payment method is to be asked (again)."""
        terms = self.model.terms
        if charge.status == "requested":
            return charge.requested_at
        if charge.status != "tried":
            return None
        again = charge.last_tried_at + terms.unknown_delay
        return again if terms.key_valid_for is None or again < charge.tried_at + terms.key_valid_for else None


class FundsRules:
    """Grants, holds, and what undoes usage and payments."""

    @rule(
        amount=fundings,
        step=steps,
        starts=st.sampled_from([None, None, None, timedelta(0), HOUR, HOUR, DAY, -HOUR]),
        lasts=st.sampled_from([None, DAY, DAY, HOUR, 6 * HOUR, 30 * DAY, timedelta(0)]),
        priority=st.integers(-1, 1),
    )
    def grant(self, amount: int, step: Any, starts: timedelta | None, lasts: timedelta | None, priority: int) -> None:
        at = self.time(step)
        now = max(at, self.model.as_of)
        starts_at = None if starts is None else now + starts
        expires_at = None if lasts is None else (starts_at or now) + lasts
        arguments = {"starts_at": starts_at, "expires_at": expires_at, "priority": priority}
        self.both_at("grant", at, {"amount": amount, **arguments}, money(amount), **arguments)

    @rule(amount=some_amounts, step=steps, lasts=hold_lengths)
    def hold(self, amount: int, step: Any, lasts: timedelta) -> None:
        self.place(amount, step, lasts)

    @rule(
        amount=st.sampled_from(SMALL[:3]),
        step=steps,
        lasts=hold_lengths,
        later=steps,
        captured=st.none() | amounts,
        final=st.booleans(),
    )
    def hold_and_capture(
        self, amount: int, step: Any, lasts: timedelta, later: Any, captured: int | None, final: bool
    ) -> None:
        if self.place(amount, step, lasts):
            self.capture(later, list(self.model.holds)[-1], captured, final, None)

    def place(self, amount: int, step: Any, lasts: timedelta) -> bool:
        at, name = self.time(step), f"hold {len(self.model.holds)}"
        model = {"name": name, "amount": amount, "expires_at": max(at, self.model.as_of) + lasts}
        return self.both_at("hold", at, model, name, money(amount), expires_at=model["expires_at"])

    @precondition(lambda self: self.model.open_holds())
    @rule(place=places)
    def hold_again(self, place: int) -> None:
        name, now = pick(list(self.model.open_holds()), place), max(self.now, self.model.as_of)
        if name in self.model.at(now).open_holds():
            model = {"name": name, "amount": 1, "expires_at": now + HOUR}
            self.both_at("hold", now, model, name, money(1), expires_at=now + HOUR)

    @precondition(lambda self: self.model.holds)
    @rule(
        step=steps,
        place=places,
        add=st.none() | some_amounts,
        lasts=st.sampled_from([None, HOUR, 6 * HOUR, DAY, timedelta(0)]),
    )
    def extend_hold(self, step: Any, place: int, add: int | None, lasts: timedelta | None) -> None:
        at, name = self.time(step), self.some_hold(place)
        expires_at = None if lasts is None else max(at, self.model.as_of) + lasts
        model = {"name": name, "add": add, "expires_at": expires_at}
        named = {"add": maybe_money(add), "expires_at": expires_at, "earlier": self.about(hold_id=name)}
        self.both_at("extend_hold", at, model, name, **named)

    @precondition(lambda self: self.model.holds)
    @rule(
        step=steps,
        place=places,
        amount=st.none() | amounts | st.just(0),
        final=st.booleans(),
        ago=st.sampled_from([None, None, HOUR, DAY, -HOUR]),
    )
    def capture_hold(self, step: Any, place: int, amount: int | None, final: bool, ago: timedelta | None) -> None:
        self.capture(step, self.some_hold(place), amount, final, ago)

    def capture(self, step: Any, name: str, amount: int | None, final: bool, ago: timedelta | None) -> None:
        at, occurred_at = self.usage_times(step, ago)
        model = {"name": name, "amount": amount, "final": final, "occurred_at": occurred_at}
        named = {} if ago is None else {"occurred_at": occurred_at}
        earlier = self.about(hold_id=name)
        self.both_at("capture", at, model, name, maybe_money(amount), final=final, earlier=earlier, **named)

    @precondition(lambda self: self.model.holds)
    @rule(step=steps, place=places)
    def release(self, step: Any, place: int) -> None:
        name = self.some_hold(place)
        self.both("release", step, {"name": name}, name, earlier=self.about(hold_id=name))

    def some_hold(self, place: int) -> str:
        """An open hold, if there is one, in most cases."""
        names = [*list(self.model.open_holds()) * 4, *self.model.holds, "never placed"]
        return pick(names, place)

    @precondition(lambda self: any(usage.amount > usage.reversed for usage in self.model.usages))
    @rule(step=steps, place=places, amount=st.none() | some_amounts)
    def reverse_consumption(self, step: Any, place: int, amount: int | None) -> None:
        place = pick([place for place, usage in enumerate(self.model.usages) if usage.amount > usage.reversed], place)
        usage = self.usages[place]
        named = {"earlier": self.about(consumption=usage.version)}
        self.both("reverse_consumption", step, {"place": place, "amount": amount}, usage, maybe_money(amount), **named)

    @rule(step=steps, place=places, amount=some_amounts, command=st.sampled_from(["refund", "claw_back", "reinstate"]))
    def give_back(self, step: Any, place: int, amount: int, command: str) -> None:
        if command == "reinstate":
            places = [lot.place for lot in self.model.lots if lot.clawed_back + lot.shortfall] * 5
        else:
            places = [lot.place for lot in self.model.lots if lot.purchased] * 5
        place = pick([*places, *range(len(self.lots) + 1)], place)
        lot_id = self.lot_id(place)
        earlier = self.about(lot_id=lot_id)
        self.both(command, step, {"place": place, "amount": amount}, lot_id, money(amount), earlier=earlier)


class ChargeRules:
    """Purchases and automatic recharge."""

    @rule(amount=fundings, step=steps, name=st.sampled_from([None, None, None, "card", "bank", "cheque"]))
    def purchase(self, amount: int, step: Any, name: str | None) -> None:
        self.both("purchase", step, {"amount": amount, "name": name}, money(amount), payment_method=name)

    @rule(step=steps, policy=policies())
    def configure_auto_recharge(self, step: Any, policy: ModelPolicy) -> None:
        self.both("configure_auto_recharge", step, {"policy": policy}, policy_of(policy))

    @precondition(lambda self: self.model.policy is not None)
    @rule(step=steps)
    def configure_the_same(self, step: Any) -> None:
        policy = self.model.policy
        self.both("configure_auto_recharge", step, {"policy": policy}, policy_of(policy))

    @rule(
        step=steps, command=st.sampled_from(["resume_auto_recharge", "resume_auto_recharge", "disable_auto_recharge"])
    )
    def switch_auto_recharge(self, step: Any, command: str) -> None:
        self.both(command, step, {})

    @rule(
        step=steps,
        methods=st.sampled_from([("card", "bank"), ("bank", "card"), ("card",), ("card", "bank", "cash"), ()]),
    )
    def change_payment_methods(self, step: Any, methods: tuple[str, ...]) -> None:
        self.both("change_payment_methods", step, {"methods": methods}, *methods)

    @precondition(lambda self: self.model.pending())
    @rule(step=steps, place=places)
    def try_charge(self, step: Any, place: int) -> None:
        place = pick([place for place, _ in self.model.pending()], place)
        self.both("try_charge", step, {"place": place}, self.charge_id(place))

    @precondition(lambda self: self.model.pending())
    @rule(step=steps, place=places, outcome=outcomes)
    def settle(self, step: Any, place: int, outcome: tuple[str, Any]) -> None:
        place = pick([place for place, _ in self.model.pending()], place)
        self.both("try_charge", step, {"place": place}, self.charge_id(place))
        self.tell_outcome(timedelta(0), place, outcome)

    @rule(step=steps, place=places, outcome=outcomes)
    def record_outcome(self, step: Any, place: int, outcome: tuple[str, Any]) -> None:
        pending = [place for place, _ in self.model.pending()]
        self.tell_outcome(step, pick([*pending * 4, *range(len(self.charges) + 1)], place), outcome)

    def tell_outcome(self, step: Any, place: int, outcome: tuple[str, Any]) -> None:
        charge_id = self.charge_id(place)
        model = {"place": place, "outcome": outcome[0], "detail": outcome[1]}
        earlier = self.about(charge_id=charge_id)
        self.both("record_outcome", step, model, charge_id, outcome_of(*outcome), earlier=earlier)

    @precondition(lambda self: self.model.policy is not None)
    @rule(step=steps, refused=some_amounts)
    def request_recharge(self, step: Any, refused: int) -> None:
        self.both("request_recharge", step, {"refused": refused}, money(refused))

    @rule(margin=st.sampled_from([0, 0, 1, -1, CENT, 10 * CENT]), step=steps)
    def consume_down_to_the_threshold(self, margin: int, step: Any) -> None:
        at = self.time(step)
        seen = self.model.at(max(at, self.model.as_of))
        amount = seen.trigger_balance() - (seen.policy.threshold if seen.policy else 0) + margin
        if amount > 0:
            self.both_at("consume", at, {"amount": amount, "occurred_at": at}, money(amount))

    @precondition(lambda self: self.model.policy is not None)
    @rule(answers=st.lists(quick_outcomes, min_size=2, max_size=5), step=steps)
    def consume_and_recharge(self, answers: list[tuple[str, Any]], step: Any) -> None:
        """Until a limit or a lack of payment methods stops it."""
        for answer in answers:
            self.consume_down_to_the_threshold(1, step)
            self.work_off(answer)
            step = timedelta(0)

    @precondition(lambda self: self.model.pending() or self.ledger.next_due is not None)
    @rule(answers=st.lists(outcomes, min_size=1, max_size=6))
    def let_time_run(self, answers: list[tuple[str, Any]]) -> None:
        """As a worker does: at each time that something is due, make the charge that is."""
        for answer in answers:
            self.both("advance", "due", {})
            self.work_off(answer)

    def work_off(self, answer: tuple[str, Any]) -> None:
        for charge in [place for place, charge in self.model.pending() if charge.status == "requested"]:
            self.both("try_charge", timedelta(0), {"place": charge}, self.charge_id(charge))
            self.tell_outcome(timedelta(0), charge, answer)


def pick(choices: list[Any], place: int) -> Any:
    return choices[place % len(choices)]


def counted(happened: list[tuple[Any, ...]]) -> Counter[Any]:
    """What happened, in any order; what became of one lot's funds at one instant is one sum."""
    found: Counter[Any] = Counter()
    for fact in happened:
        if fact[0] in ("FundsLapsed", "OverdraftRepaid"):
            found[fact[:3]] += fact[3]
        elif fact[0] == "FundsExpired":
            # A lot that is over may be forgotten, so it goes unnamed.
            found[fact[:2]] += fact[3]
        else:
            found[fact] += 1
    return found


class FundsMachine(FundsRules, LedgerMachine): ...


class ChargesMachine(ChargeRules, LedgerMachine): ...


class WholeMachine(FundsRules, ChargeRules, LedgerMachine): ...


# A profile that asks for more than Hypothesis' own number of examples gets them.
EXAMPLES = settings.default.max_examples
FEW, MANY = (EXAMPLES, EXAMPLES) if EXAMPLES != 100 else (40, 120)

TestFunds = FundsMachine.TestCase
TestFunds.settings = settings(max_examples=FEW, stateful_step_count=40)
TestCharges = ChargesMachine.TestCase
TestCharges.settings = settings(max_examples=MANY, stateful_step_count=40)
TestWhole = WholeMachine.TestCase
TestWhole.settings = settings(max_examples=FEW, stateful_step_count=40)


def test_the_model_would_notice_a_cent_that_vanished() -> None:
    model = Model(ModelTerms(), ("card",), OPENED)
    model.perform("add_funds", OPENED, amount=CENT)
    model.check()
    model.lots[0].free -= 1
    with pytest.raises(AssertionError):
        model.check()


@pytest.mark.parametrize(
    ("start", "later"),
    [
        # 02:30 is skipped: when the clock is set forward. 02:30 comes twice: the first.
        (datetime(2025, 2, 28, 1, 30, tzinfo=UTC), datetime(2025, 3, 30, 1, tzinfo=UTC)),
        (datetime(2025, 9, 24, 0, 30, tzinfo=UTC), datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        # Begun when 02:30 came the second time: later than all that began when it came first.
        (datetime(2025, 10, 26, 1, 30, tzinfo=UTC), datetime(2025, 11, 28, 2, tzinfo=UTC)),
    ],
)
def test_the_model_knows_what_to_do_when_the_clocks_change(start: datetime, later: datetime) -> None:
    assert calendar_later(start, 1, 2, "Europe/Berlin") == later
