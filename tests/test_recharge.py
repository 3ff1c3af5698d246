"""Whether, how much and when to charge automatically: the trigger, the size, the limits, and the reason why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from commcredits import (
    ChargeRequested,
    ChargeUnresolved,
    Declined,
    Event,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    Money,
    Paid,
    Processing,
    RechargeDecision,
    RechargeLimit,
    RechargeLimitReached,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
)
from desk import DAY, HOUR, MINUTE, MOMENT, OPENED, Desk, names, only, topping_up, usd
from strategies import all_terms, histories, monies, recharge_policies

MONTH = timedelta(days=31)
NO_RETRY = RetryPolicy(())
CENTS = 10**7  # billionths


def units(amount: Money) -> int:
    return int(amount.amount.scaleb(9))


def decided(desk: Desk, **later: Any) -> RechargeDecision:
    return desk.ledger.recharge_decision(desk.now + timedelta(**later))


# The trigger.


@pytest.mark.parametrize(
    ("left", "strictly", "inclusively"),
    [
        ("10.01", False, False),
        ("10.000000001", False, False),
        ("10", False, True),
        ("9.999999999", True, True),
        ("0", True, True),
    ],
)
def test_a_recharge_falls_due_below_the_threshold_or_at_it_if_inclusive(
    left: str, strictly: bool, inclusively: bool
) -> None:
    for inclusive, due in ((False, strictly), (True, inclusively)):
        desk = Desk(funds=100)
        desk.do("configure_auto_recharge", RechargePolicy(Threshold(usd(10), inclusive=inclusive), usd(20)))
        desk.do("consume", usd(100) - usd(left))
        assert bool(desk.requests()) is due


@given(policy=recharge_policies(), balance=monies("USD", usd(0), usd(130)))
@example(policy=topping_up(10), balance=usd(10))
@example(policy=RechargePolicy(Threshold(usd(10), inclusive=True), usd(20)), balance=usd(10))
def test_the_trigger_compares_the_balance_with_the_threshold(policy: RechargePolicy, balance: Money) -> None:
    desk = Desk(funds=200)
    desk.do("configure_auto_recharge", attrs.evolve(policy, limits=()))
    desk.do("consume", usd(200) - balance)
    mark, left = units(policy.threshold.amount), units(balance)
    assert bool(desk.requests()) == (left <= mark if policy.threshold.inclusive else left < mark)


def test_a_threshold_of_zero_is_crossed_only_by_an_overdraft() -> None:
    desk = Desk(funds=20, overdraft_limit=None)
    desk.do("configure_auto_recharge", topping_up(0, 20))
    desk.spend(20)
    assert desk.requests() == []
    desk.spend("0.000000001")
    assert [event.amount for event in desk.requests()] == [usd(20)]


def test_enabling_a_policy_while_already_below_charges_at_once() -> None:
    desk = Desk(funds=5)
    assert names(desk.do("configure_auto_recharge", topping_up())) == ["AutoRechargeConfigured", "ChargeRequested"]


def test_enabling_a_policy_while_above_charges_nothing() -> None:
    desk = Desk(funds=10)
    assert names(desk.do("configure_auto_recharge", topping_up(10))) == ["AutoRechargeConfigured"]


@pytest.mark.parametrize("status", ["requested", "tried", "processing"])
@pytest.mark.parametrize("purpose", ["purchase", "recharge"])
def test_pending_funds_count_for_the_trigger_and_never_for_spending(purpose: str, status: str) -> None:
    desk = Desk(funds=30)
    if purpose == "purchase":
        desk.do("purchase", usd(50))
        desk.do("configure_auto_recharge", topping_up(10, 50))
    else:
        desk.do("configure_auto_recharge", topping_up(40, 50))
        desk.do("configure_auto_recharge", topping_up(10, 50)) if status == "requested" else None
    wanted = desk.requests(purpose)[-1].charge_id
    if status != "requested":
        desk.do("try_charge", wanted)
        if status == "processing":
            desk.outcome(wanted, Processing())
        desk.do("configure_auto_recharge", topping_up(10, 50)) if purpose == "recharge" else None
    elif purpose == "recharge":
        return  # an edited policy withdraws what was never tried
    before = len(desk.requests())
    desk.spend(30)
    assert len(desk.requests()) == before
    assert desk.ledger.available == usd(0)
    with pytest.raises(InsufficientFundsError) as caught:
        desk.spend("0.01")
    assert caught.value.shortfall == usd("0.01")
    assert caught.value.decision.reason == "above_threshold"


def test_a_purchase_that_does_not_lift_the_balance_out_of_the_zone_does_not_stop_a_recharge() -> None:
    desk = Desk(funds=30)
    desk.do("configure_auto_recharge", topping_up(20, 50))
    desk.do("purchase", usd(5))
    desk.spend(20)
    assert [event.amount for event in desk.requests()] == [usd(50)]


def test_what_is_unresolved_no_longer_counts_for_the_trigger() -> None:
    desk = Desk(funds=30)
    desk.do("purchase", usd(50))
    desk.do("try_charge", desk.last("purchase"))
    desk.do("configure_auto_recharge", topping_up(10, 50))
    desk.spend(25)
    assert desk.requests() == []
    assert names(desk.do("advance", after=DAY)) == ["ChargeUnresolved", "ChargeRequested"]


def test_a_declined_purchase_no_longer_counts_for_the_trigger() -> None:
    desk = Desk(funds=30)
    desk.do("configure_auto_recharge", topping_up(10, 50))
    desk.do("purchase", usd(50))
    desk.spend(25)
    assert desk.requests() == []
    events = desk.outcome(desk.last("purchase"), Declined("no"))
    assert names(events) == ["ChargeDeclined", "ChargeRequested"]
    assert (events[0].retry_at, events[0].given_up) == (None, False)
    assert events[1].attempt == 1


def test_held_funds_do_not_count_for_the_trigger() -> None:
    desk = Desk(funds=30)
    desk.do("configure_auto_recharge", topping_up(10))
    assert "ChargeRequested" in names(desk.do("hold", "call", usd(25), expires_at=desk.now + HOUR))


def test_an_unchanged_balance_evaluated_again_charges_once() -> None:
    desk = Desk(funds=5)
    desk.do("configure_auto_recharge", topping_up())
    for _ in range(20):
        assert desk.do("advance", after=MINUTE) == ()
    desk.do("try_charge", desk.last())
    for _ in range(20):
        assert desk.do("advance", after=MINUTE) == ()
    desk.outcome(desk.last(), Paid())
    for _ in range(20):
        assert desk.do("advance", after=MINUTE) == ()
    assert len(desk.requests()) == 1


def test_while_one_charge_is_in_flight_no_usage_asks_for_another() -> None:
    desk = Desk(funds=100, overdraft_limit=None)
    desk.do("configure_auto_recharge", topping_up(50, 20))
    for _ in range(30):
        desk.spend(10, after=MINUTE)
    assert len(desk.requests()) == 1
    assert decided(desk).reason == "in_flight"


def test_a_fixed_amount_that_is_too_little_is_charged_once_more_when_it_was_paid() -> None:
    desk = Desk(funds=0)
    desk.do("configure_auto_recharge", topping_up(50, 20))
    amounts = []
    while desk.ledger.pending_charges:
        desk.settle(Paid())
        amounts.append(desk.ledger.available)
    assert amounts == [usd(20), usd(40), usd(60)]


def test_an_expiry_in_the_middle_of_the_night_makes_a_recharge_due_at_the_next_command() -> None:
    desk = Desk(funds=100, funds_valid_for=timedelta(days=10), expiry_notices=())
    desk.do("configure_auto_recharge", topping_up())
    assert desk.ledger.next_due == OPENED + 10 * DAY
    assert names(desk.do("advance", after=10 * DAY - MOMENT)) == []
    assert names(desk.do("advance", after=MOMENT)) == ["FundsExpired", "BalanceDepleted", "ChargeRequested"]


def test_no_recharge_is_asked_for_while_reading() -> None:
    desk = Desk(funds=5, funds_valid_for=timedelta(days=10))
    desk.do("configure_auto_recharge", topping_up(1))
    before = desk.ledger.state()
    assert decided(desk, days=10).due
    assert desk.ledger.state() == before


# The size.


def asked(policy: RechargePolicy, available: Money, **terms: Any) -> Money | None:
    """What is asked for when a policy meets a balance, which an overdraft may have taken below zero."""
    desk = Desk(funds=1000, **{"overdraft_limit": None, **terms})
    desk.do("consume", usd(1000) - available)
    desk.do("configure_auto_recharge", policy)
    return desk.requests()[0].amount if desk.requests() else None


def test_a_fixed_amount_is_charged_as_it_is_however_deep_the_balance() -> None:
    assert asked(topping_up(10, 20), usd(9)) == asked(topping_up(10, 20), usd(-500)) == usd(20)


@pytest.mark.parametrize(
    ("available", "amount"),
    [("9", "91"), ("0", "100"), ("-440", "540"), ("9.999", "90.01"), ("9.991", "90.01"), ("9.99", "90.01")],
)
def test_recharge_to_brings_the_balance_to_what_was_asked_for_in_whole_minor_units(available: str, amount: str) -> None:
    assert asked(RechargePolicy(usd(10), recharge_to=usd(100)), usd(available)) == usd(amount)


@pytest.mark.parametrize(
    ("available", "strictly", "inclusively"),
    [
        ("-440", "450", "500"),  # 450 is 9 amounts: short by 440, nine charges of fifty would have been made
        ("9.999999999", "50", "50"),
        ("-40", "50", "100"),
        ("-40.000000001", "100", "100"),
        ("10", None, "50"),
    ],
)
def test_multiples_leave_the_zone_with_one_charge(available: str, strictly: str | None, inclusively: str) -> None:
    for inclusive, amount in ((False, strictly), (True, inclusively)):
        policy = RechargePolicy(Threshold(usd(10), inclusive=inclusive), usd(50), in_multiples=True)
        assert asked(policy, usd(available)) == (None if amount is None else usd(amount))


@given(policy=recharge_policies(), available=monies("USD", usd(-900), usd(60)))
def test_the_size_in_integers(policy: RechargePolicy, available: Money) -> None:
    amount = asked(attrs.evolve(policy, limits=()), available)
    left, mark = units(available), units(policy.threshold.amount)
    if not (left <= mark if policy.threshold.inclusive else left < mark):
        assert amount is None
    elif policy.recharge_to is not None:
        cents = 0
        while left + cents * CENTS < units(policy.recharge_to):
            cents += max(1, (units(policy.recharge_to) - left - cents * CENTS) // CENTS)
        assert units(amount) == cents * CENTS
    elif policy.in_multiples:
        times, each = 1, units(policy.amount)
        while left + times * each < mark or (policy.threshold.inclusive and left + times * each == mark):
            times += 1
        assert units(amount) == times * each
    else:
        assert amount == policy.amount


@given(policy=recharge_policies(), available=monies("USD", usd(-900), usd(60)))
def test_one_computed_charge_leaves_the_zone(policy: RechargePolicy, available: Money) -> None:
    assume(policy.in_multiples or policy.recharge_to is not None)
    amount = asked(attrs.evolve(policy, limits=()), available)
    if amount is not None:
        after = units(available + amount)
        mark = units(policy.threshold.amount)
        assert after > mark if policy.threshold.inclusive else after >= mark


@pytest.mark.parametrize(
    ("available", "minimum", "step", "amount"),
    [
        ("90", None, None, "10"),
        ("90", "25", None, "25"),
        ("90", "10", None, "10"),
        ("89.5", "10", None, "10.50"),
        ("89.5", None, "1", "11"),
        ("89", None, "1", "11"),
        ("89.5", None, "5", "15"),
        ("89.5", "50", "5", "50"),
        ("49.5", "50", "5", "55"),
        ("49.999999999", "50", "0.05", "50.05"),
    ],
)
def test_a_computed_amount_is_raised_to_the_minimum_and_the_whole_step(
    available: str, minimum: str | None, step: str | None, amount: str
) -> None:
    terms = {
        "minimum_purchase": None if minimum is None else usd(minimum),
        "purchase_step": None if step is None else usd(step),
    }
    assert asked(RechargePolicy(usd(95), recharge_to=usd(100)), usd(available), **terms) == usd(amount)


def test_multiples_below_the_minimum_are_raised_to_it() -> None:
    policy = RechargePolicy(usd(10), usd(20), in_multiples=True)
    assert asked(policy, usd(5), minimum_purchase=usd(50)) == usd(50)
    assert asked(policy, usd(-45), minimum_purchase=usd(50)) == usd(60)


@given(
    available=monies("USD", usd(-200), usd(99)), minimum=st.integers(1, 80), step=st.sampled_from([1, 5, 25, 100, 500])
)
def test_a_computed_amount_is_the_least_of_whole_steps_that_suffices(available: Money, minimum: int, step: int) -> None:
    least = -(-minimum * 100 // step) * step  # in cents; a minimum is a whole number of steps itself
    terms = {"minimum_purchase": Money.from_minor(least, "USD"), "purchase_step": Money.from_minor(step, "USD")}
    amount = asked(RechargePolicy(usd(100), recharge_to=usd(100)), available, **terms)
    choices = range(step, 10**6, step)
    wanted = next(c for c in choices if c >= least and units(available) + c * CENTS >= 100 * 100 * CENTS)
    assert amount == Money.from_minor(wanted, "USD")


def test_a_computed_amount_is_whole_in_currencies_without_minor_units() -> None:
    ledger = Ledger.open("desk", Terms("JPY"), at=OPENED)
    ledger.add_funds(Money("100.5", "JPY"), at=OPENED)
    events = ledger.configure_auto_recharge(
        RechargePolicy(Money(200, "JPY"), recharge_to=Money(1000, "JPY")), at=OPENED
    )
    assert only(events, ChargeRequested).amount == Money(900, "JPY")


@pytest.mark.parametrize(
    ("amount", "terms"),
    [
        (usd(20), {"minimum_purchase": usd(50)}),
        (usd("49.99"), {"minimum_purchase": usd(50)}),
        (usd(75), {"purchase_step": usd(50)}),
    ],
)
def test_a_fixed_amount_that_the_terms_do_not_allow_is_refused_when_configured(
    amount: Money, terms: dict[str, Any]
) -> None:
    desk = Desk(**terms)
    before = desk.ledger.state()
    with pytest.raises(InvalidValueError, match=str(amount.amount)) as caught:
        desk.do("configure_auto_recharge", RechargePolicy(usd(10), amount))
    assert caught.value.parameter == "amount"
    assert desk.ledger.state() == before
    assert Desk(**terms).do("configure_auto_recharge", RechargePolicy(usd(10), usd(100)))


# Decisions: every reason, and which comes first.


def backing_off() -> Desk:
    desk = Desk(funds=5)
    desk.do("configure_auto_recharge", topping_up(limits=[RechargeLimit(count=2)]))
    desk.settle(Declined("no"))
    return desk


def limited() -> Desk:
    desk = Desk(funds=5)
    desk.do("configure_auto_recharge", topping_up(30, 20, limits=[RechargeLimit(count=1, per="day")]))
    desk.settle(Paid())
    return desk


def in_flight() -> Desk:
    desk = Desk(funds=5)
    desk.do("configure_auto_recharge", topping_up())
    return desk


def unresolved() -> Desk:
    desk = in_flight()
    desk.do("try_charge", desk.last())
    desk.do("advance", after=DAY)
    return desk


def suspended() -> Desk:
    desk = in_flight()
    desk.do("refund", 2, usd(1))
    return desk


def test_a_decision_that_is_due_says_what_with_which_and_for_the_how_manieth_time() -> None:
    desk = Desk(funds=5, funds_valid_for=timedelta(days=1))
    desk.do("configure_auto_recharge", topping_up(3))
    decision = decided(desk, days=1)
    assert decision == RechargeDecision(due=True, amount=usd(20), payment_method="card", attempt=1)
    assert (decision.reason, decision.until, decision.why, decision.limit) == (None, None, None, None)
    assert str(decision) == "due: 20.00 USD from card, attempt 1"


def test_the_decision_of_a_ledger_without_a_policy_is_off() -> None:
    assert decided(Desk(funds=0)) == RechargeDecision(due=False, reason="off")


def test_the_decision_above_the_threshold_says_so() -> None:
    desk = Desk()
    desk.do("configure_auto_recharge", topping_up())
    assert decided(desk) == RechargeDecision(due=False, reason="above_threshold")


def test_the_decision_while_a_charge_is_pending_is_in_flight() -> None:
    desk = Desk(funds=5)
    desk.do("configure_auto_recharge", topping_up(100, 20))
    assert decided(desk).reason == "in_flight"


def test_the_decision_while_an_automatic_charge_is_unresolved_says_so() -> None:
    assert decided(unresolved()).reason == "charge_unresolved"


def test_the_decision_of_a_suspended_ledger_says_why() -> None:
    decision = decided(suspended())
    assert (decision.due, decision.reason, decision.why, decision.amount) == (False, "suspended", "refund", usd(20))
    assert str(decision) == "not due: suspended (refund)"


def test_the_decision_after_a_soft_decline_says_until_when_it_backs_off() -> None:
    desk = backing_off()
    decision = decided(desk)
    assert (decision.reason, decision.until) == ("backing_off", desk.now + HOUR)
    assert (decision.payment_method, decision.attempt, decision.amount) == ("card", 2, usd(20))
    assert decided(desk, hours=1, microseconds=-1).reason == "backing_off"
    assert decided(desk, hours=1).due


def test_the_decision_beyond_a_limit_says_which_and_until_when() -> None:
    decision = decided(limited())
    assert (decision.reason, decision.limit) == ("limit_reached", RechargeLimit(count=1, per="day"))
    assert decision.until == datetime(2024, 3, 2, tzinfo=UTC)
    assert str(decision) == "not due: limit reached until 2024-03-02T00:00:00+00:00"


def test_the_decision_of_a_closed_ledger_says_so() -> None:
    desk = Desk(funds=5)
    desk.do("close")
    assert decided(desk) == RechargeDecision(due=False, reason="closed")


def closed(desk: Desk) -> None:
    desk.do("close")


def off(desk: Desk) -> None:
    desk.do("disable_auto_recharge")


def above_threshold(desk: Desk) -> None:
    desk.do("add_funds", usd(100))


@pytest.mark.parametrize("situation", [unresolved, in_flight, suspended, backing_off, limited])
@pytest.mark.parametrize(("first", "reason"), [(closed, "closed"), (off, "off"), (above_threshold, "above_threshold")])
def test_closed_off_and_above_threshold_come_before_every_other_reason(first: Any, reason: str, situation: Any) -> None:
    desk = situation()
    first(desk)
    assert decided(desk).reason == reason


def test_closed_comes_before_off_and_off_before_above_the_threshold() -> None:
    desk = Desk()
    assert decided(desk).reason == "off"
    desk.do("close")
    assert decided(desk).reason == "closed"


def test_charge_unresolved_comes_before_suspended() -> None:
    desk = unresolved()
    desk.do("refund", 2, usd(1))
    assert desk.ledger.auto_recharge_status == "suspended"
    assert decided(desk).reason == "charge_unresolved"


def test_in_flight_comes_before_suspended() -> None:
    desk = in_flight()
    desk.do("try_charge", desk.last())
    desk.do("refund", 2, usd(1))
    desk.do("configure_auto_recharge", topping_up(100))
    assert decided(desk).reason == "in_flight"


def test_suspended_comes_before_backing_off() -> None:
    desk = backing_off()
    desk.do("refund", 2, usd(1))
    assert decided(desk).reason == "suspended"
    assert decided(desk, hours=1).reason == "suspended"


def test_backing_off_comes_before_limit_reached() -> None:
    desk = Desk(funds=5)
    limit = RechargeLimit(count=1, per="month")
    desk.do("configure_auto_recharge", topping_up(30, 20, retry=RetryPolicy((HOUR,))))
    desk.settle(Paid())
    desk.settle(Declined("no"))
    desk.do("configure_auto_recharge", topping_up(30, 20, retry=RetryPolicy((HOUR,)), limits=[limit]))
    assert decided(desk).reason == "backing_off"
    assert decided(desk, hours=1).reason == "limit_reached"


def test_a_balance_clear_of_the_threshold_only_by_pending_funds_is_above_it() -> None:
    desk = in_flight()
    assert desk.ledger.available == usd(5)
    assert decided(desk).reason == "above_threshold"


@given(events=histories())
def test_every_decision_has_either_a_reason_or_a_charge(events: tuple[Event, ...]) -> None:
    ledger = Ledger.replay(events)
    for later in (timedelta(0), HOUR, DAY, 40 * DAY):
        decision = ledger.recharge_decision(ledger.as_of + later)
        assert decision.due is (decision.reason is None)
        assert decision.due <= (decision.amount is not None and decision.payment_method is not None)
        assert (decision.until is not None) is (decision.reason in ("backing_off", "limit_reached"))
        assert (decision.why is not None) is (decision.reason == "suspended")
        assert decision.until is None or decision.until > ledger.as_of + later
        assert not decision.due or decision.payment_method in ledger.payment_methods
        assert str(decision)


@given(events=histories())
def test_after_every_command_what_is_due_has_been_asked_for(events: tuple[Event, ...]) -> None:
    ledger = Ledger.replay(events)
    ledger.advance(at=ledger.as_of)
    assert not ledger.recharge_decision(ledger.as_of).due
    assert ledger.advance(at=ledger.as_of) == ()


# Limits.


def limited_desk(*limits: RechargeLimit, at: datetime = OPENED, zone: str = "UTC", **policy: Any) -> Desk:
    desk = Desk(funds=0, at=at, time_zone=zone, overdraft_limit=None, funds_valid_for=None)
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=limits, **policy))
    return desk


def use_up(desk: Desk, times: int) -> int:
    """Pay for every charge and consume what it brought, `times` times at most; how many were made."""
    made = 0
    while made < times and desk.ledger.pending_charges:
        desk.settle(Paid())
        made += 1
        desk.do("consume", desk.ledger.available)
    return made


def test_a_count_refuses_the_charge_beyond_it() -> None:
    assert use_up(limited_desk(RechargeLimit(count=3, per="day")), 10) == 3


@pytest.mark.parametrize(("most", "made"), [("59.99", 2), ("60", 3), ("60.01", 3), ("79.99", 3), ("80", 4)])
def test_an_amount_refuses_what_would_exceed_it_and_never_clips(most: str, made: int) -> None:
    desk = limited_desk(RechargeLimit(amount=usd(most)))
    assert use_up(desk, 10) == made
    assert {event.amount for event in desk.requests()} == {usd(20)}
    assert decided(desk).reason == "limit_reached"
    assert decided(desk).amount == usd(20)


def test_a_limit_smaller_than_one_charge_refuses_it() -> None:
    desk = limited_desk(RechargeLimit(amount=usd("19.99")))
    assert desk.requests() == []
    assert decided(desk).reason == "limit_reached"


def test_of_several_limits_each_refuses_and_the_last_to_end_tells_when() -> None:
    day, month = RechargeLimit(count=1, per="day"), RechargeLimit(count=1, per="month")
    desk = limited_desk(day, month)
    use_up(desk, 5)
    assert (decided(desk).limit, decided(desk).until) == (month, datetime(2024, 4, 1, tzinfo=UTC))
    desk = limited_desk(RechargeLimit(count=5, per="day"), RechargeLimit(amount=usd(40), per="month"))
    assert use_up(desk, 5) == 2


# The zone, an instant, and the first instants of the next day, week and month there.
WINDOWS = [
    row.split()
    for row in """
    UTC               2024-03-06T12:00Z  2024-03-07T00:00Z  2024-03-11T00:00Z  2024-04-01T00:00Z
    UTC               2024-03-11T00:00Z  2024-03-12T00:00Z  2024-03-18T00:00Z  2024-04-01T00:00Z
    UTC               2024-12-31T23:59Z  2025-01-01T00:00Z  2025-01-06T00:00Z  2025-01-01T00:00Z
    America/New_York  2024-03-10T04:59Z  2024-03-10T05:00Z  2024-03-11T04:00Z  2024-04-01T04:00Z
    America/New_York  2024-03-10T05:00Z  2024-03-11T04:00Z  2024-03-11T04:00Z  2024-04-01T04:00Z
    America/New_York  2024-11-03T04:00Z  2024-11-04T05:00Z  2024-11-04T05:00Z  2024-12-01T05:00Z
    Europe/Berlin     2024-01-31T23:00Z  2024-02-01T23:00Z  2024-02-04T23:00Z  2024-02-29T23:00Z
    Pacific/Apia      2024-02-29T11:00Z  2024-03-01T11:00Z  2024-03-03T11:00Z  2024-03-31T11:00Z
    Asia/Beirut       2024-03-30T12:00Z  2024-03-30T22:00Z  2024-03-31T21:00Z  2024-03-31T21:00Z
    """.strip().splitlines()
]


@pytest.mark.parametrize("per", ["day", "week", "month"])
@pytest.mark.parametrize(("zone", "at", "day", "week", "month"), WINDOWS)
def test_a_window_ends_at_local_midnight_with_the_week_on_monday(
    zone: str, at: str, day: str, week: str, month: str, per: str
) -> None:
    desk = limited_desk(RechargeLimit(count=1, per=per), at=datetime.fromisoformat(at), zone=zone)
    assert use_up(desk, 5) == 1
    until = datetime.fromisoformat({"day": day, "week": week, "month": month}[per])
    assert decided(desk).until == until
    assert desk.ledger.next_due == until
    assert desk.do("advance", after=until - desk.now - MOMENT) == ()
    assert names(desk.do("advance", after=MOMENT)) == ["ChargeRequested"]


@given(
    zone=st.sampled_from(
        ["UTC", "America/New_York", "Europe/Berlin", "Pacific/Apia", "Asia/Beirut", "Australia/Lord_Howe"]
    ),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2037, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001 - as Hypothesis wants them
    per=st.sampled_from(["day", "week", "month"]),
)
def test_a_window_ends_at_the_first_instant_whose_local_date_is_of_another(zone: str, at: datetime, per: str) -> None:
    place = ZoneInfo(zone)

    def name(instant: datetime) -> Any:
        local = instant.astimezone(place)
        week = local.isocalendar()[:2]
        return {"day": local.date(), "week": week, "month": (local.year, local.month)}[per]

    desk = limited_desk(RechargeLimit(count=1, per=per), at=at, zone=zone)
    use_up(desk, 1)
    until = decided(desk).until
    assert at < until <= at + timedelta(days=32)
    assert name(until) != name(at)
    assert name(until - MOMENT) == name(at)


def test_a_decline_frees_what_it_had_taken_up() -> None:
    desk = limited_desk(RechargeLimit(amount=usd(20)), retry=RetryPolicy((HOUR, HOUR, HOUR)))
    for _ in range(3):
        desk.settle(Declined("no"))
        desk.now += HOUR
    desk.settle(Paid())
    desk.spend(20)
    assert decided(desk).reason == "limit_reached"


def test_a_withdrawal_frees_what_it_had_taken_up() -> None:
    desk = limited_desk(RechargeLimit(count=1))
    for amount in (30, 40, 50):
        desk.do("configure_auto_recharge", topping_up(10, amount, limits=[RechargeLimit(count=1)]))
    assert [desk.status(event.charge_id) for event in desk.requests()] == ["withdrawn"] * 3 + ["requested"]


@pytest.mark.parametrize("state", ["requested", "tried", "processing", "unresolved", "paid"])
def test_what_is_pending_unresolved_or_paid_counts(state: str) -> None:
    desk = limited_desk(RechargeLimit(count=1, per="month"))
    wanted = desk.last()
    if state != "requested":
        desk.do("try_charge", wanted)
    if state in ("processing", "paid"):
        desk.outcome(wanted, Processing() if state == "processing" else Paid())
    if state == "unresolved":
        desk.do("advance", after=DAY)
        desk.outcome(wanted, Paid(), after=DAY)
    desk.spend(300)
    if state in ("paid", "unresolved"):
        assert decided(desk).reason == "limit_reached"
    else:
        assert decided(desk).reason == "in_flight"
    assert len(desk.requests()) == 1


def test_purchases_never_count() -> None:
    desk = limited_desk(RechargeLimit(amount=usd(20), count=1))
    desk.do("purchase", usd(500))
    desk.outcome(desk.last("purchase"), Paid())
    desk.do("consume", desk.ledger.available)
    assert use_up(desk, 3) == 1
    assert [desk.status(event.charge_id) for event in desk.requests()] == ["withdrawn", "paid"]


def test_counts_survive_edits_of_the_policy_and_switching_it_off_and_on() -> None:
    desk = limited_desk(RechargeLimit(count=2))
    use_up(desk, 1)
    desk.do("disable_auto_recharge")
    desk.do("configure_auto_recharge", topping_up(10, 30, limits=[RechargeLimit(count=2)]))
    assert use_up(desk, 5) == 1
    desk.do("configure_auto_recharge", topping_up(10, 40, limits=[RechargeLimit(count=2)]))
    assert decided(desk).reason == "limit_reached"


def test_a_charge_counts_to_the_very_end_of_a_long_month() -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    desk = limited_desk(RechargeLimit(count=2, per="month"), at=start)
    use_up(desk, 1)
    desk.do("disable_auto_recharge")
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=[RechargeLimit(count=2, per="month")]), after=30 * DAY)
    assert use_up(desk, 5) == 1
    desk.do("advance", after=start + MONTH - MOMENT - desk.now)
    assert decided(desk).reason == "limit_reached"


def test_counts_survive_snapshots() -> None:
    desk = limited_desk(RechargeLimit(count=2))
    use_up(desk, 2)
    desk.ledger = Ledger.restore(desk.ledger.state())
    desk.spend(5)
    assert decided(desk).reason == "limit_reached"


def test_a_charge_counts_in_the_window_of_its_request_not_of_its_payment() -> None:
    desk = limited_desk(RechargeLimit(count=1, per="day"), at=datetime(2024, 3, 6, 23, 59, tzinfo=UTC))
    wanted = desk.last()
    desk.do("try_charge", wanted)
    desk.outcome(wanted, Paid(), after=5 * MINUTE)
    desk.spend(20)
    assert len(desk.requests()) == 2
    assert desk.status(desk.last()) == "requested"


def test_a_charge_paid_late_counts_in_the_window_of_its_request() -> None:
    desk = limited_desk(RechargeLimit(count=1, per="month"), retry=NO_RETRY)
    first = desk.settle(Declined("no"))
    desk.do("disable_auto_recharge")
    desk.outcome(first, Paid("late"), after=3 * DAY)
    desk.spend(20)
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=[RechargeLimit(count=1, per="month")]))
    assert (decided(desk).reason, decided(desk).until) == ("limit_reached", datetime(2024, 4, 1, tzinfo=UTC))
    assert decided(desk, days=28).due


def test_the_same_windows_are_counted_anew_under_another_time_zone() -> None:
    desk = limited_desk(RechargeLimit(count=1, per="day"), at=datetime(2024, 3, 6, 1, tzinfo=UTC))
    use_up(desk, 1)
    assert decided(desk).until == datetime(2024, 3, 7, tzinfo=UTC)
    desk.do("change_terms", attrs.evolve(desk.ledger.terms, time_zone="America/New_York"))
    assert decided(desk).until == datetime(2024, 3, 6, 5, tzinfo=UTC)


def test_a_limit_reached_is_recorded_once_a_window() -> None:
    desk = limited_desk(RechargeLimit(count=1, per="day"), at=datetime(2024, 3, 6, 12, tzinfo=UTC))
    use_up(desk, 1)
    for _ in range(5):
        desk.spend(1, after=HOUR)
    reached = [event for event in desk.events if isinstance(event, RechargeLimitReached)]
    assert [(event.limit, event.amount, event.until) for event in reached] == [
        (RechargeLimit(count=1, per="day"), usd(20), datetime(2024, 3, 7, tzinfo=UTC))
    ]
    desk.do("advance", after=DAY)
    use_up(desk, 1)
    desk.spend(1)
    assert desk.kinds().count("RechargeLimitReached") == 2


def test_a_limit_reached_again_in_the_same_window_is_not_told_again() -> None:
    desk = limited_desk(RechargeLimit(amount=usd(30), per="day"), at=datetime(2024, 3, 6, 12, tzinfo=UTC))
    use_up(desk, 1)
    desk.do("add_funds", usd(100), after=HOUR)
    desk.spend(100, after=HOUR)
    desk.do("disable_auto_recharge")
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=[RechargeLimit(amount=usd(30), per="day")]))
    assert desk.kinds().count("RechargeLimitReached") == 1


def test_of_windows_that_end_together_the_one_told_of_goes_on_to_speak() -> None:
    """On its last day a week's limit is not told anew as the day's."""
    limits = [RechargeLimit(amount=usd(10), per="day"), RechargeLimit(count=1, per="week")]
    saturday = datetime(2024, 3, 2, 12, tzinfo=UTC)
    desk = limited_desk(RechargeLimit(count=1, per="week"), at=saturday)
    use_up(desk, 1)
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=limits))
    assert desk.ledger.next_due == datetime(2024, 3, 4, tzinfo=UTC)
    desk.do("advance", after=DAY)
    assert desk.kinds().count("RechargeLimitReached") == 1


def test_a_limit_that_comes_to_outlast_the_one_told_of_is_due() -> None:
    """The week's was told of; within that week the next month begins, which is reached too and ends later."""
    per_month, per_week = RechargeLimit(amount=usd(10), per="month"), RechargeLimit(amount=usd(10), per="week")
    desk = limited_desk(per_month, per_week, at=datetime(2024, 1, 29, 12, tzinfo=UTC))
    assert (decided(desk).limit, decided(desk).until) == (per_week, datetime(2024, 2, 5, tzinfo=UTC))
    february = datetime(2024, 2, 1, tzinfo=UTC)
    assert desk.ledger.next_due == february
    assert desk.do("advance", after=february - desk.now - MOMENT) == ()
    told = only(desk.do("advance", after=MOMENT), RechargeLimitReached)
    assert (told.limit, told.until) == (per_month, datetime(2024, 3, 1, tzinfo=UTC))


def test_a_method_backing_off_for_long_is_due_at_its_retry_whatever_the_limits() -> None:
    """No window is looked at until then: of this wait every single day would take a minute."""
    limits = [RechargeLimit(count=1, per="day"), RechargeLimit(count=1, per="month")]
    desk = limited_desk(*limits, retry=RetryPolicy((300_000 * DAY,)))
    desk.settle(Declined("no"))
    assert desk.ledger.next_due == desk.now + 300_000 * DAY


# What a history may come to.


def counted(events: tuple[Event, ...]) -> list[tuple[datetime, int, str]]:
    """The automatic charges that were never declined nor withdrawn, or were paid after all."""
    freed = {}
    for event in events:
        kind = type(event).__name__
        if kind in ("ChargeDeclined", "ChargeWithdrawn", "ChargePaid"):
            freed[event.charge_id] = kind != "ChargePaid"
    return [
        (event.at, units(event.amount), event.charge_id)
        for event in events
        if isinstance(event, ChargeRequested) and event.purpose == "recharge" and not freed.get(event.charge_id, False)
    ]


@st.composite
def limited_histories(draw: st.DrawFn) -> tuple[RechargeLimit, tuple[Event, ...]]:
    """A limit, and the history of one policy that never changes and keeps it."""
    per = st.sampled_from(["day", "week", "month"])
    limit = draw(
        st.builds(RechargeLimit, amount=st.integers(20, 150).map(usd), per=per)
        | st.builds(RechargeLimit, count=st.integers(1, 4), per=per)
    )
    sizes = [{"amount": usd(20)}, {"recharge_to": usd(60)}, {"amount": usd(10), "in_multiples": True}]
    policy = RechargePolicy(usd(50), **draw(st.sampled_from(sizes)), limits=[limit])
    terms = attrs.evolve(draw(all_terms()), overdraft_limit=None)
    commands = ("consume", "consume", "consume", "settle", "settle", "settle", "record_outcome", "resume", "advance")
    return limit, draw(histories(commands=commands, terms=st.just(terms), policies=st.just(policy)))


@given(drawn=limited_histories())
def test_a_limit_is_never_exceeded_in_any_window(drawn: tuple[RechargeLimit, tuple[Event, ...]]) -> None:
    limit, events = drawn
    late = late_payments(events)
    place = ZoneInfo(events[0].terms.time_zone)
    windows: dict[Any, list[int]] = {}
    for at, amount, charge_id in counted(events):
        local = at.astimezone(place)
        monday = local.date() - timedelta(days=local.weekday())
        name = {"day": local.date(), "week": monday, "month": (local.year, local.month)}[limit.per]
        if charge_id not in late:
            windows.setdefault(name, []).append(amount)
    for amounts in windows.values():
        assert limit.count is None or len(amounts) <= limit.count
        assert limit.amount is None or sum(amounts) <= units(limit.amount)


def late_payments(events: tuple[Event, ...]) -> set[str]:
    """The charges that turned out paid after a decline had freed what they took up."""
    declined = set()
    late = set()
    for event in events:
        kind = type(event).__name__
        if kind in ("ChargeDeclined", "ChargeWithdrawn"):
            declined.add(event.charge_id)
        elif kind == "ChargePaid" and event.charge_id in declined:
            late.add(event.charge_id)
    return late


@given(events=histories())
def test_a_limit_is_told_once_for_each_window_it_ends(events: tuple[Event, ...]) -> None:
    told = [(event.limit, event.until) for event in events if isinstance(event, RechargeLimitReached)]
    assert len(told) == len(set(told))


@given(events=histories())
def test_at_most_one_automatic_charge_is_pending_at_any_time(events: tuple[Event, ...]) -> None:
    pending: set[str] = set()
    for event in events:
        kind = type(event).__name__
        if isinstance(event, ChargeRequested) and event.purpose == "recharge":
            pending.add(event.charge_id)
            assert len(pending) == 1
        elif kind in ("ChargePaid", "ChargeDeclined", "ChargeWithdrawn"):
            pending.discard(event.charge_id)


@given(events=histories())
def test_no_automatic_charge_is_asked_for_while_one_is_unresolved(events: tuple[Event, ...]) -> None:
    recharges: set[str] = set()
    unresolved: set[str] = set()
    for event in events:
        if isinstance(event, ChargeRequested) and event.purpose == "recharge":
            assert not unresolved
            recharges.add(event.charge_id)
        elif isinstance(event, ChargeUnresolved) and event.charge_id in recharges:
            unresolved.add(event.charge_id)
        elif type(event).__name__ in ("ChargePaid", "ChargeDeclined"):
            unresolved.discard(event.charge_id)
