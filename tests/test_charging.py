"""The commands of automatic recharge: declines and their retries, suspension and the ways out of it, refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given

from commcredits import (
    AutoRechargeConfigured,
    AutoRechargeResumed,
    AutoRechargeSuspended,
    ChargeDeclined,
    ChargePaid,
    ChargeRequested,
    ChargeWithdrawn,
    CurrencyMismatchError,
    Declined,
    Event,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    LedgerClosedError,
    Money,
    Paid,
    PaymentMethodsChanged,
    Processing,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
    TimeRunsBackError,
    UnknownPaymentMethodError,
    WrongTypeError,
)
from commcredits.testing.histories import CHARGE_COMMANDS
from commcredits.testing.strategies import histories
from desk import DAY, HOUR, MINUTE, MOMENT, NOTHING, OPENED, Desk, names, only, topping_up, usd

SOFT, HARD = Declined("no funds"), Declined("stolen", retryable=False)


def recharging(*methods: str, **policy: Any) -> Desk:
    """A desk of 5.00 USD with an automatic charge of 20.00 on the first of the methods just asked for."""
    desk = Desk(funds=5, methods=methods or ("card", "bank"), overdraft_limit=None)
    desk.do("configure_auto_recharge", topping_up(**policy))
    return desk


def exhausted(*methods: str, **policy: Any) -> Desk:
    """A desk suspended because every method was declined hard."""
    desk = recharging(*methods, **policy)
    while desk.ledger.pending_charges:
        desk.settle(HARD)
    assert desk.ledger.auto_recharge_status == "suspended"
    return desk


def decline(desk: Desk, outcome: Declined, after: timedelta = NOTHING) -> ChargeDeclined:
    """Try the automatic charge that is asked for, and decline it."""
    desk.do("try_charge", desk.last(), after=after)
    return only(desk.outcome(desk.last(), outcome), ChargeDeclined)


# Declines.


def test_each_soft_decline_is_followed_by_the_next_delay_and_the_last_by_the_next_method() -> None:
    desk = recharging()
    for attempt, delay in enumerate((HOUR, 6 * HOUR, 24 * HOUR), start=1):
        declined = decline(desk, SOFT)
        assert (declined.retry_at, declined.given_up) == (desk.now + delay, False)
        assert (declined.reason, declined.retryable) == ("no funds", True)
        assert desk.requests()[-1].attempt == attempt
        assert desk.ledger.next_due == desk.now + delay
        assert desk.do("advance", after=delay - MOMENT) == ()
        assert names(desk.do("advance", after=MOMENT)) == ["ChargeRequested"]
    declined = decline(desk, SOFT)
    assert (declined.retry_at, declined.given_up) == (None, True)
    assert [(event.payment_method, event.attempt) for event in desk.requests()] == [
        *(("card", attempt) for attempt in (1, 2, 3, 4)),
        ("bank", 1),
    ]
    assert len({event.charge_id for event in desk.requests()}) == 5


def test_the_next_method_is_asked_in_the_same_append_and_tried_by_a_later_call() -> None:
    desk = recharging()
    desk.do("try_charge", desk.last())
    events = desk.outcome(desk.last(), HARD)
    assert names(events) == ["ChargeDeclined", "ChargeRequested"]
    assert (events[0].retry_at, events[0].given_up, events[0].retryable) == (None, True, False)
    assert (events[1].payment_method, events[1].attempt, events[1].amount) == ("bank", 1, usd(20))
    assert desk.status(desk.last()) == "requested"


def test_a_hard_decline_in_the_middle_of_the_retries_ends_them() -> None:
    desk = recharging()
    decline(desk, SOFT)
    desk.do("advance", after=HOUR)
    assert decline(desk, HARD).given_up
    assert desk.requests()[-1].payment_method == "bank"


def test_back_off_counts_from_the_decline_not_from_the_try() -> None:
    desk = recharging()
    desk.do("try_charge", desk.last())
    declined = only(desk.outcome(desk.last(), SOFT, after=3 * HOUR), ChargeDeclined)
    assert declined.retry_at == OPENED + 4 * HOUR


def test_without_delays_a_method_gets_one_attempt() -> None:
    desk = recharging(retry=RetryPolicy(()))
    assert decline(desk, SOFT).given_up
    assert decline(desk, SOFT).given_up
    assert [event.payment_method for event in desk.requests()] == ["card", "bank"]
    assert desk.ledger.auto_recharge_status == "suspended"


def test_every_method_gets_its_own_attempts_and_then_recharging_is_suspended() -> None:
    desk = recharging("card", "bank", "cash", retry=RetryPolicy((HOUR, HOUR)))
    while desk.ledger.auto_recharge_status == "on":
        desk.do("advance", after=HOUR)
        decline(desk, SOFT)
    assert [(event.payment_method, event.attempt) for event in desk.requests()] == [
        (method, attempt) for method in ("card", "bank", "cash") for attempt in (1, 2, 3)
    ]
    assert only(desk.events, AutoRechargeSuspended).reason == "declined"
    desk.do("advance", after=400 * DAY)
    assert len(desk.requests()) == 9


def test_the_last_decline_suspends_in_the_same_append() -> None:
    desk = recharging("card", retry=RetryPolicy(()))
    desk.do("try_charge", desk.last())
    assert names(desk.outcome(desk.last(), SOFT)) == ["ChargeDeclined", "AutoRechargeSuspended"]


def test_frequent_usage_does_not_make_frequent_attempts() -> None:
    desk = recharging()
    decline(desk, SOFT)
    for _ in range(59):
        desk.spend("0.01", after=MINUTE)
    assert len(desk.requests()) == 1
    desk.spend("0.01", after=MINUTE)
    assert len(desk.requests()) == 2


def test_a_dead_card_is_charged_no_more_than_four_times_in_a_year() -> None:
    desk = recharging("card")
    for _ in range(365):
        for charge in desk.ledger.pending_charges:
            desk.do("try_charge", charge.charge_id)
            desk.outcome(charge.charge_id, SOFT)
        desk.spend("0.01", after=DAY)
    assert len(desk.requests()) == 4
    assert desk.kinds().count("AutoRechargeSuspended") == 1


def test_an_outage_is_no_decline_and_uses_up_no_attempt() -> None:
    desk = recharging("card")
    for _ in range(100):
        desk.do("try_charge", desk.last(), after=10 * MINUTE)
    assert len(desk.requests()) == 1
    assert "ChargeDeclined" not in desk.kinds()
    assert decline(desk, SOFT, after=10 * MINUTE).retry_at == desk.now + HOUR


def test_the_first_decline_is_an_event_of_its_own_and_alerts_go_on_while_recharging_fails() -> None:
    desk = Desk(funds=50, alert_thresholds=[usd(10), usd(3)])
    desk.do("configure_auto_recharge", topping_up(20))
    desk.spend(35)
    decline(desk, SOFT)
    assert "AlertRaised" in names(desk.spend(6))
    assert "AlertRaised" in names(desk.spend(7))
    assert "BalanceDepleted" in names(desk.spend(2))


def test_the_retry_is_decided_afresh_no_longer_due() -> None:
    desk = recharging()
    decline(desk, SOFT)
    desk.do("add_funds", usd(100))
    assert desk.do("advance", after=2 * HOUR) == ()
    desk.spend(100)
    assert desk.requests()[-1].attempt == 2


def test_the_retry_is_decided_afresh_another_amount() -> None:
    desk = Desk(funds=5, overdraft_limit=None)
    desk.do("configure_auto_recharge", RechargePolicy(usd(10), recharge_to=usd(50)))
    decline(desk, SOFT)
    desk.spend(7)
    desk.do("advance", after=HOUR)
    assert [event.amount for event in desk.requests()] == [usd(45), usd(52)]


def test_the_retry_is_decided_afresh_within_the_limits() -> None:
    desk = recharging(limits=[RechargeLimit(count=1, per="day")])
    decline(desk, SOFT)
    desk.do("advance", after=HOUR)
    desk.settle(Paid())
    desk.spend(20)
    assert "RechargeLimitReached" in desk.kinds()
    assert desk.ledger.recharge_decision(desk.now).until == datetime(2024, 3, 2, tzinfo=UTC)


def test_a_retry_is_under_a_new_key() -> None:
    desk = recharging()
    decline(desk, SOFT)
    desk.do("advance", after=HOUR)
    first, second = (event.charge_id for event in desk.requests())
    assert first != second
    assert second.endswith(":20240301T130000000000Z")


def test_the_primary_is_waited_for_before_a_backup_is_asked() -> None:
    desk = recharging()
    decline(desk, SOFT)
    assert desk.do("advance", after=HOUR - MOMENT) == ()
    desk.do("advance", after=MOMENT)
    assert desk.requests()[-1].payment_method == "card"


def test_a_method_given_up_is_skipped_even_after_a_backup_was_paid_with() -> None:
    desk = recharging()
    decline(desk, HARD)
    desk.settle(Paid())
    desk.spend(20)
    assert [event.payment_method for event in desk.requests()] == ["card", "bank", "bank"]


@pytest.mark.parametrize(
    "way_back",
    [
        ("resume_auto_recharge",),
        ("change_payment_methods", "card", "bank", "cash"),
    ],
)
def test_a_method_given_up_is_asked_again_once_resumed_or_changed(way_back: tuple[Any, ...]) -> None:
    desk = recharging()
    decline(desk, HARD)
    desk.settle(Paid())
    desk.do(*way_back)
    desk.spend(20)
    assert (desk.requests()[-1].payment_method, desk.requests()[-1].attempt) == ("card", 1)


def test_a_method_given_up_is_asked_again_once_paid_with() -> None:
    desk = recharging()
    decline(desk, HARD)
    desk.settle(Paid())
    desk.do("purchase", usd(30), payment_method="card")
    desk.outcome(desk.last("purchase"), Paid())
    desk.spend(50)
    assert (desk.requests()[-1].payment_method, desk.requests()[-1].attempt) == ("card", 1)


def test_a_payment_clears_the_attempts_of_its_method() -> None:
    desk = recharging("card")
    decline(desk, SOFT)
    desk.do("advance", after=HOUR)
    desk.settle(Paid())
    desk.spend(20)
    assert desk.requests()[-1].attempt == 1
    assert decline(desk, SOFT).retry_at == desk.now + HOUR


def test_a_payment_ends_the_back_off_of_its_method_at_once() -> None:
    desk = recharging("card")
    decline(desk, SOFT)
    desk.do("purchase", usd(1))
    events = desk.outcome(desk.last("purchase"), Paid(), after=MINUTE)
    assert only(events, ChargeRequested).attempt == 1


def test_switching_off_and_on_does_not_reset_the_attempts_or_the_back_off() -> None:
    desk = recharging("card")
    decline(desk, SOFT)
    until = desk.ledger.recharge_decision(desk.now).until
    for _ in range(3):
        desk.do("disable_auto_recharge", after=MINUTE)
        desk.do("configure_auto_recharge", topping_up())
    assert len(desk.requests()) == 1
    assert desk.ledger.recharge_decision(desk.now).until == until
    assert desk.ledger.recharge_decision(until).attempt == 2


def test_editing_the_policy_does_not_reset_the_attempts() -> None:
    desk = recharging("card")
    decline(desk, SOFT)
    desk.do("configure_auto_recharge", topping_up(10, 30))
    desk.do("advance", after=HOUR)
    assert (desk.requests()[-1].attempt, desk.requests()[-1].amount) == (2, usd(30))


def test_a_decline_while_the_policy_is_off_starts_nothing() -> None:
    desk = recharging("card")
    desk.do("try_charge", desk.last())
    desk.do("disable_auto_recharge")
    (declined,) = desk.outcome(desk.last(), HARD)
    assert (declined.retry_at, declined.given_up) == (None, False)
    desk.do("configure_auto_recharge", topping_up())
    assert desk.requests()[-1].attempt == 1


def test_a_declined_purchase_marks_no_method_counts_as_no_retry_and_blocks_nothing() -> None:
    desk = recharging("card")
    for outcome in (SOFT, HARD):
        desk.do("purchase", usd(1))
        declined = only(desk.outcome(desk.last("purchase"), outcome), ChargeDeclined)
        assert (declined.retry_at, declined.given_up) == (None, False)
    assert desk.ledger.auto_recharge_status == "on"
    assert decline(desk, SOFT).retry_at == desk.now + HOUR


def test_an_unresolved_purchase_blocks_nothing() -> None:
    desk = Desk(funds=50)
    desk.do("configure_auto_recharge", topping_up())
    desk.do("purchase", usd(1))
    desk.do("try_charge", desk.last("purchase"))
    desk.do("advance", after=DAY)
    desk.spend(45)
    assert len(desk.requests()) == 1


def test_an_unresolved_recharge_blocks_until_its_outcome_is_known() -> None:
    desk = recharging()
    desk.do("try_charge", desk.last())
    desk.do("advance", after=DAY)
    desk.spend(20, after=100 * DAY)
    desk.do("resume_auto_recharge")
    desk.do("change_payment_methods", "bank")
    desk.do("configure_auto_recharge", topping_up(50, 50))
    assert len(desk.requests()) == 1
    assert desk.ledger.recharge_decision(desk.now).reason == "charge_unresolved"
    assert names(desk.outcome(desk.last(), SOFT)) == ["ChargeDeclined", "ChargeRequested"]


def test_an_unresolved_recharge_that_was_paid_adds_its_funds_and_recharging_goes_on() -> None:
    desk = recharging()
    desk.do("try_charge", desk.last())
    desk.do("advance", after=DAY)
    desk.spend(20)
    events = desk.outcome(desk.last(), Paid())
    assert names(events)[:2] == ["ChargePaid", "FundsAdded"]
    assert names(events)[-1] == "ChargeRequested"


# Late payments.


def test_a_late_payment_withdraws_the_successor_that_was_never_tried() -> None:
    desk = recharging()
    first = desk.settle(HARD)
    second = desk.last()
    events = desk.outcome(first, Paid("after all"), after=HOUR)
    assert names(events) == ["ChargePaid", "FundsAdded", "ChargeWithdrawn"]
    assert (events[2].charge_id, events[2].reason) == (second, "paid_late")
    assert desk.ledger.available == usd(25)


def test_a_late_payment_leaves_a_successor_that_was_tried() -> None:
    desk = recharging()
    first = desk.settle(HARD)
    desk.do("try_charge", desk.last())
    assert names(desk.outcome(first, Paid("after all"))) == ["ChargePaid", "FundsAdded"]
    desk.outcome(desk.last(), Paid())
    assert desk.ledger.available == usd(45)


def test_a_late_payment_withdraws_no_purchase() -> None:
    desk = recharging()
    first = desk.settle(HARD)
    desk.do("purchase", usd(70))
    desk.outcome(first, Paid("after all"))
    assert [charge.purpose for charge in desk.ledger.pending_charges] == ["purchase"]


def test_a_late_payment_makes_its_method_usable_again() -> None:
    desk = recharging()
    first = desk.settle(HARD)
    desk.outcome(first, Paid("after all"))
    desk.spend(20)
    assert desk.requests()[-1].payment_method == "card"


def test_a_late_payment_of_long_ago_makes_its_method_usable_again() -> None:
    desk = exhausted("card")
    first = desk.last()
    for _ in range(2):
        desk.do("purchase", usd(1), after=20 * DAY)
        desk.do("try_charge", desk.last("purchase"))
        desk.outcome(desk.last("purchase"), SOFT)
    assert desk.ledger.auto_recharge_status == "suspended"
    events = desk.outcome(first, Paid("after all"))
    assert only(events, AutoRechargeResumed).reason == "paid"
    desk.spend(20)
    assert desk.ledger.auto_recharge_status == "on"
    assert desk.requests()[-1].payment_method == "card"


# Suspension and the ways out of it.


def test_without_a_payment_method_recharging_is_suspended_when_it_falls_due() -> None:
    desk = Desk(funds=50, methods=())
    assert names(desk.do("configure_auto_recharge", topping_up())) == ["AutoRechargeConfigured"]
    suspended = only(desk.spend(45), AutoRechargeSuspended)
    assert suspended.reason == "no_payment_method"
    assert desk.ledger.recharge_decision(desk.now).why == "no_payment_method"


@pytest.mark.parametrize("command", ["refund", "claw_back"])
def test_giving_money_back_suspends_in_the_same_append_and_does_not_charge(command: str) -> None:
    desk = Desk(funds=100)
    desk.do("configure_auto_recharge", topping_up())
    events = desk.do(command, 2, usd(95))
    assert names(events)[-1] == "AutoRechargeSuspended"
    assert events[-1].reason == command
    assert desk.requests() == []


@pytest.mark.parametrize("command", ["refund", "claw_back"])
def test_giving_money_back_withdraws_the_charge_that_was_asked_for(command: str) -> None:
    desk = recharging()
    assert names(desk.do(command, 2, usd(1)))[-2:] == ["AutoRechargeSuspended", "ChargeWithdrawn"]
    assert desk.ledger.pending_charges == ()


def test_a_suspension_is_recorded_once() -> None:
    desk = exhausted()
    before = desk.ledger.version
    desk.do("refund", 2, usd(1))
    desk.do("claw_back", 2, usd(1))
    for _ in range(5):
        desk.spend(1, after=DAY)
    assert desk.kinds().count("AutoRechargeSuspended") == 1
    assert desk.ledger.version > before
    assert desk.ledger.recharge_decision(desk.now).why == "declined"


def test_with_the_policy_off_nothing_is_suspended() -> None:
    desk = Desk(funds=100)
    assert names(desk.do("refund", 2, usd(1))) == ["FundsRefunded"]
    assert desk.ledger.auto_recharge_status == "off"


WAYS_OUT = {
    "resumed": ("resume_auto_recharge",),
    "payment_methods_changed": ("change_payment_methods", "cash"),
}


@pytest.mark.parametrize("reason", WAYS_OUT)
@pytest.mark.parametrize("suspension", ["declined", "refund", "claw_back"])
def test_resuming_and_changing_the_methods_lead_out_of_suspension_and_charge_at_once(
    reason: str, suspension: str
) -> None:
    desk = exhausted() if suspension == "declined" else recharging()
    if suspension != "declined":
        desk.do(suspension, 2, usd(1))
    asked = len(desk.requests())
    events = desk.do(*WAYS_OUT[reason])
    assert only(events, AutoRechargeResumed).reason == reason
    assert only(events, ChargeRequested).attempt == 1
    assert desk.ledger.auto_recharge_status == "on"
    assert len(desk.requests()) == asked + 1


@pytest.mark.parametrize("suspension", ["declined", "refund", "claw_back"])
@pytest.mark.parametrize("purpose", ["purchase", "recharge"])
def test_any_charge_that_is_paid_leads_out_of_suspension(purpose: str, suspension: str) -> None:
    desk = recharging("card", retry=RetryPolicy(()))
    first = desk.last()
    desk.do("try_charge", first)
    if suspension == "declined":
        desk.outcome(first, SOFT)
    else:
        desk.do(suspension, 2, usd(1))
    assert desk.ledger.auto_recharge_status == "suspended"
    if purpose == "purchase":
        desk.do("purchase", usd(30))
        events = desk.outcome(desk.last("purchase"), Paid())
    else:
        events = desk.outcome(first, Paid())
    assert only(events, AutoRechargeResumed).reason == "paid"
    assert desk.ledger.auto_recharge_status == "on"


@pytest.mark.parametrize(
    "command",
    [
        ("grant", usd(100)),
        ("add_funds", usd(100)),
        ("configure_auto_recharge", topping_up()),
        ("configure_auto_recharge", topping_up(50, 50)),
        ("change_payment_methods", "card", "bank"),
        ("advance",),
        ("purchase", usd(1)),
        ("consume", usd(1)),
    ],
    ids=lambda command: command[0],
)
def test_nothing_else_leads_out_of_suspension(command: tuple[Any, ...]) -> None:
    desk = exhausted()
    asked = len(desk.requests())
    desk.do(*command)
    assert desk.ledger.auto_recharge_status == "suspended"
    desk.spend(200, after=DAY)
    assert len(desk.requests()) == asked
    assert desk.kinds().count("AutoRechargeResumed") == 0


def test_switching_off_and_on_does_not_lead_out_of_suspension() -> None:
    desk = exhausted()
    desk.do("disable_auto_recharge")
    assert desk.ledger.auto_recharge_status == "off"
    desk.do("configure_auto_recharge", topping_up(50, 50))
    assert desk.ledger.auto_recharge_status == "suspended"


def test_resuming_what_is_not_suspended_and_never_failed_records_nothing() -> None:
    desk = recharging()
    assert desk.do("resume_auto_recharge") == ()
    assert Desk().do("resume_auto_recharge") == ()


def test_resuming_forgets_the_back_off_and_charges_at_once() -> None:
    desk = recharging()
    decline(desk, SOFT)
    assert names(desk.do("resume_auto_recharge")) == ["AutoRechargeResumed", "ChargeRequested"]
    assert desk.requests()[-1].attempt == 1


def test_changing_the_methods_forgets_the_back_off_and_charges_at_once() -> None:
    desk = recharging()
    decline(desk, SOFT)
    assert names(desk.do("change_payment_methods", "bank", "card")) == ["PaymentMethodsChanged", "ChargeRequested"]
    assert (desk.requests()[-1].payment_method, desk.requests()[-1].attempt) == ("bank", 1)


def test_out_of_suspension_into_another_when_there_is_still_no_method() -> None:
    desk = exhausted()
    events = desk.do("change_payment_methods")
    assert names(events) == ["PaymentMethodsChanged", "AutoRechargeResumed", "AutoRechargeSuspended"]
    assert events[-1].reason == "no_payment_method"


# Settings.


def test_configuring_what_is_already_configured_records_nothing() -> None:
    desk = recharging(limits=[RechargeLimit(count=3)])
    before = desk.ledger.state()
    same = RechargePolicy(Threshold(usd("10.00")), usd("20.0"), limits=(RechargeLimit(count=3, per="month"),))
    assert desk.do("configure_auto_recharge", same) == ()
    assert desk.ledger.state() == before


def test_an_edited_policy_withdraws_what_was_never_tried_and_decides_anew() -> None:
    desk = recharging()
    first = desk.last()
    events = desk.do("configure_auto_recharge", topping_up(10, 30))
    assert names(events) == ["AutoRechargeConfigured", "ChargeWithdrawn", "ChargeRequested"]
    assert (events[1].charge_id, events[1].reason) == (first, "edited")
    assert (events[2].amount, events[2].attempt) == (usd(30), 1)


def test_an_edited_policy_under_which_nothing_is_due_only_withdraws() -> None:
    desk = recharging()
    assert names(desk.do("configure_auto_recharge", topping_up(1))) == ["AutoRechargeConfigured", "ChargeWithdrawn"]


def test_disabling_what_is_off_records_nothing() -> None:
    assert Desk().do("disable_auto_recharge") == ()
    desk = recharging()
    assert names(desk.do("disable_auto_recharge")) == ["AutoRechargeDisabled", "ChargeWithdrawn"]
    assert desk.do("disable_auto_recharge") == ()
    assert (desk.ledger.recharge_policy, desk.ledger.auto_recharge_status) == (None, "off")


def test_the_same_methods_again_record_nothing_and_a_new_order_is_a_change() -> None:
    desk = Desk()
    assert desk.do("change_payment_methods", "card", "bank") == ()
    (event,) = desk.do("change_payment_methods", "bank", "card")
    assert isinstance(event, PaymentMethodsChanged)
    assert event.payment_methods == desk.ledger.payment_methods == ("bank", "card")


def test_the_primary_is_charged_unless_another_is_named() -> None:
    desk = Desk()
    desk.do("purchase", usd(20))
    desk.do("purchase", usd(20), payment_method="bank")
    assert [event.payment_method for event in desk.requests("purchase")] == ["card", "bank"]


@pytest.mark.parametrize("known", [(), ("card",)])
def test_a_purchase_needs_a_method_that_is_known(known: tuple[str, ...]) -> None:
    desk = Desk(methods=known)
    before = desk.ledger.state()
    with pytest.raises(UnknownPaymentMethodError) as caught:
        desk.do("purchase", usd(20), payment_method="cash" if known else None)
    assert caught.value.known == known
    assert desk.ledger.state() == before


@pytest.mark.parametrize(
    ("amount", "terms"),
    [
        ("0", {}),
        ("-20", {}),
        ("20.001", {}),
        ("49.99", {"minimum_purchase": usd(50)}),
        ("50.5", {"purchase_step": usd(1)}),
    ],
)
def test_a_purchase_that_no_payment_method_or_no_terms_take_is_refused(amount: str, terms: dict[str, Any]) -> None:
    desk = Desk(**terms)
    before = desk.ledger.state()
    with pytest.raises(InvalidValueError) as caught:
        desk.do("purchase", usd(amount))
    assert (caught.value.parameter, caught.value.value) == ("amount", usd(amount))
    assert desk.ledger.state() == before


def test_a_purchase_at_the_very_minimum_and_of_whole_steps_is_taken() -> None:
    desk = Desk(minimum_purchase=usd(50), purchase_step=usd(25))
    for amount in (50, 75, 1000):
        assert names(desk.do("purchase", usd(amount))) == ["ChargeRequested"]


@pytest.mark.parametrize(
    ("methods", "error"),
    [
        (("card", "card"), InvalidValueError),
        (("",), InvalidValueError),
        (("x" * 201,), InvalidValueError),
        ((5,), WrongTypeError),
        ((None,), WrongTypeError),
        ((["card"],), WrongTypeError),
    ],
)
def test_payment_methods_are_distinct_names(methods: tuple[Any, ...], error: type[Exception]) -> None:
    desk = Desk()
    before = desk.ledger.state()
    with pytest.raises(error):
        desk.do("change_payment_methods", *methods)
    with pytest.raises(error):
        Desk(methods=methods)
    assert desk.ledger.state() == before


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception]]] = [
    ("purchase", (20,), {}, WrongTypeError),
    ("purchase", (20.0,), {}, WrongTypeError),
    ("purchase", (Money(20, "EUR"),), {}, CurrencyMismatchError),
    ("purchase", (usd(20),), {"reference": None}, WrongTypeError),
    ("purchase", (usd(20),), {"payment_method": 5}, WrongTypeError),
    ("purchase", (usd(20),), {"idempotency_key": ""}, InvalidValueError),
    ("purchase", (usd(20),), {"idempotency_key": 5}, WrongTypeError),
    ("configure_auto_recharge", (None,), {}, WrongTypeError),
    ("configure_auto_recharge", (usd(10),), {}, WrongTypeError),
    ("configure_auto_recharge", (RechargePolicy(Money(10, "EUR"), Money(20, "EUR")),), {}, CurrencyMismatchError),
    ("request_recharge", (usd(0),), {}, InvalidValueError),
    ("request_recharge", (usd(-1),), {}, InvalidValueError),
    ("request_recharge", (50,), {}, WrongTypeError),
    ("request_recharge", (Money(50, "EUR"),), {}, CurrencyMismatchError),
]


@pytest.mark.parametrize(("command", "arguments", "named", "error"), WRONG)
def test_what_is_wrong_raises_the_named_error_and_changes_nothing(
    command: str, arguments: tuple[Any, ...], named: dict[str, Any], error: type[Exception]
) -> None:
    desk = recharging()
    before = desk.ledger.state()
    with pytest.raises(error):
        desk.do(command, *arguments, **named)
    assert desk.ledger.state() == before


TIMED = [
    ("purchase", usd(20)),
    ("configure_auto_recharge", topping_up(1)),
    ("disable_auto_recharge",),
    ("resume_auto_recharge",),
    ("change_payment_methods", "cash"),
    ("request_recharge", usd(20)),
]


@pytest.mark.parametrize("command", TIMED, ids=lambda command: command[0])
def test_every_command_refuses_a_time_that_runs_back_or_is_none(command: tuple[Any, ...]) -> None:
    desk = recharging()
    before = desk.ledger.state()
    name, *arguments = command
    for at, error in (
        (OPENED - 5 * MINUTE - MOMENT, TimeRunsBackError),
        (OPENED.replace(tzinfo=None), InvalidValueError),
        ("2024-03-01", WrongTypeError),
        (None, WrongTypeError),
    ):
        with pytest.raises(error):
            getattr(desk.ledger, name)(*arguments, at=at)
    assert desk.ledger.state() == before


@pytest.mark.parametrize("command", TIMED, ids=lambda command: command[0])
def test_a_closed_ledger_takes_no_setting_and_no_purchase(command: tuple[Any, ...]) -> None:
    desk = recharging()
    desk.do("close")
    before = desk.ledger.state()
    if command[0] == "disable_auto_recharge":
        assert desk.do(*command) == ()
    else:
        with pytest.raises(LedgerClosedError) as caught:
            desk.do(*command)
        assert caught.value.closed_at == OPENED
    assert desk.ledger.state() == before


def test_closing_withdraws_what_was_never_tried_and_suspends() -> None:
    desk = recharging()
    desk.do("purchase", usd(1))
    events = desk.do("close")
    assert sorted(names(events)) == ["AutoRechargeSuspended", "ChargeWithdrawn", "ChargeWithdrawn", "LedgerClosed"]
    assert {event.reason for event in events if isinstance(event, ChargeWithdrawn | AutoRechargeSuspended)} == {
        "closed"
    }
    assert desk.ledger.auto_recharge_status == "closed"
    assert desk.ledger.pending_charges == ()
    desk.do("advance", after=400 * DAY)
    assert len(desk.requests()) == 1


def test_after_the_closing_a_payment_adds_its_funds_and_a_decline_starts_nothing() -> None:
    for outcome, available in ((Paid(), usd(25)), (SOFT, usd(5))):
        desk = recharging()
        desk.do("try_charge", desk.last())
        desk.do("close")
        events = desk.outcome(desk.last(), outcome)
        assert desk.ledger.available == available
        assert not {"ChargeRequested", "AutoRechargeResumed"} & set(names(events))
        assert desk.ledger.auto_recharge_status == "closed"


def test_a_charge_that_is_no_longer_due_is_withdrawn_instead_of_tried() -> None:
    desk = recharging()
    desk.ledger = Ledger.restore(desk.ledger.state())
    desk.do("grant", usd(100), starts_at=desk.now + HOUR)
    assert desk.status(desk.last()) == "requested"
    events = desk.do("try_charge", desk.last(), after=HOUR)
    assert names(events) == ["FundsStarted", "ChargeWithdrawn"]
    assert events[1].reason == "no_longer_due"


def test_a_hold_that_times_out_makes_its_recharge_no_longer_due() -> None:
    desk = Desk(funds=50)
    desk.do("configure_auto_recharge", topping_up())
    desk.do("hold", "call", usd(45), expires_at=desk.now + HOUR)
    assert len(desk.requests()) == 1
    events = desk.do("try_charge", desk.last(), after=HOUR)
    assert names(events) == ["HoldReleased", "ChargeWithdrawn"]


def test_a_purchase_is_not_withdrawn_because_the_balance_is_good() -> None:
    desk = Desk(funds=1000)
    desk.do("configure_auto_recharge", topping_up())
    desk.do("purchase", usd(20))
    assert names(desk.do("try_charge", desk.last("purchase"))) == ["ChargeTried"]


# Recharge when refused.


def refusing(funds: int = 30, **policy: Any) -> Desk:
    desk = Desk(funds=funds)
    desk.do("configure_auto_recharge", topping_up(10, 50, **{"recharge_when_refused": True, **policy}))
    return desk


def test_usage_refused_requests_the_recharge_that_it_would_have_caused() -> None:
    desk = refusing()
    before = desk.ledger.state()
    with pytest.raises(InsufficientFundsError) as caught:
        desk.spend(50)
    assert (caught.value.shortfall, caught.value.decision.due, caught.value.decision.amount) == (usd(20), True, usd(50))
    assert desk.ledger.state() == before
    (event,) = desk.do("request_recharge", usd(50))
    assert isinstance(event, ChargeRequested)
    assert (event.purpose, event.amount, event.refused, event.attempt) == ("recharge", usd(50), usd(50), 1)


def test_without_the_option_refused_usage_requests_nothing() -> None:
    desk = refusing(recharge_when_refused=False)
    with pytest.raises(InsufficientFundsError) as caught:
        desk.spend(50)
    assert (caught.value.decision.due, caught.value.decision.reason) == (False, "above_threshold")
    assert desk.do("request_recharge", usd(50)) == ()


def test_a_hold_that_is_refused_tells_the_same_decision() -> None:
    with pytest.raises(InsufficientFundsError) as caught:
        refusing().do("hold", "call", usd(50), expires_at=OPENED + HOUR)
    assert caught.value.decision.due


@pytest.mark.parametrize(("left", "due"), [(10, False), ("9.999999999", True)])
def test_the_recharge_is_the_one_that_the_usage_would_have_caused_at_the_threshold(left: Any, due: bool) -> None:
    """With a pending purchase of 20.00 to come, usage of more than is available may leave the trigger balance clear."""
    desk = refusing(funds=30)
    desk.do("purchase", usd(20))
    refused = usd(50) - usd(left)
    with pytest.raises(InsufficientFundsError) as caught:
        desk.do("consume", refused)
    assert caught.value.decision.due is due
    assert bool(desk.do("request_recharge", refused)) is due


def test_at_most_one_recharge_for_refused_usage_is_in_flight() -> None:
    desk = refusing()
    for _ in range(5):
        desk.do("request_recharge", usd(50))
        desk.do("advance", after=MINUTE)
    assert len(desk.requests()) == 1
    assert desk.status(desk.last()) == "requested"


def test_a_recharge_for_refused_usage_stays_wanted_while_that_usage_would_still_cause_it() -> None:
    desk = refusing()
    desk.do("request_recharge", usd(50))
    desk.do("add_funds", usd("29.99"))
    assert desk.status(desk.last()) == "requested"
    desk.do("add_funds", usd("0.01"))
    assert desk.status(desk.last()) == "withdrawn"


def test_a_recharge_for_refused_usage_is_sized_with_it() -> None:
    desk = Desk(funds=30)
    desk.do("configure_auto_recharge", RechargePolicy(usd(10), recharge_to=usd(40), recharge_when_refused=True))
    desk.do("request_recharge", usd(50))
    assert desk.requests()[0].amount == usd(60)
    desk.settle(Paid())
    assert names(desk.spend(50)) == ["FundsConsumed"]
    assert desk.ledger.available == usd(40)


def test_nothing_is_requested_for_usage_that_the_funds_cover_by_now() -> None:
    desk = refusing(funds=30)
    desk.do("add_funds", usd(20))
    assert desk.do("request_recharge", usd(50)) == ()


def test_refused_usage_does_not_get_around_limits_or_suspension() -> None:
    limit = RechargeLimit(amount=usd(40))
    desk = refusing(limits=[limit])
    assert names(desk.do("request_recharge", usd(50))) == ["RechargeLimitReached"]
    assert desk.do("request_recharge", usd(50)) == ()
    desk = refusing()
    desk.do("refund", 2, usd(1))
    assert desk.do("request_recharge", usd(50)) == ()


def test_a_refused_recharge_of_a_method_that_is_declined_is_not_retried_on_its_own() -> None:
    desk = refusing()
    desk.do("request_recharge", usd(50))
    declined = decline(desk, SOFT)
    assert declined.retry_at == desk.now + HOUR
    assert desk.do("advance", after=2 * HOUR) == ()


# What is due, and when.


def test_a_charge_asked_for_is_due_at_once() -> None:
    desk = recharging()
    assert desk.ledger.next_due == OPENED
    desk.do("advance", after=DAY)
    assert desk.ledger.next_due == OPENED


def test_a_charge_tried_is_due_after_the_delay() -> None:
    desk = recharging()
    desk.do("try_charge", desk.last())
    assert desk.ledger.next_due == OPENED + 5 * MINUTE
    desk.do("advance", after=HOUR)
    assert desk.ledger.next_due == OPENED + 5 * MINUTE


def test_a_charge_processing_is_due_when_it_becomes_unresolved_and_then_no_more() -> None:
    desk = recharging()
    desk.do("try_charge", desk.last())
    desk.outcome(desk.last(), Processing())
    assert desk.ledger.next_due == OPENED + 72 * HOUR
    desk.do("advance", after=72 * HOUR)
    assert desk.ledger.next_due is None or desk.ledger.next_due > desk.now + 200 * DAY


def test_the_oldest_due_charge_is_made_first_unless_one_is_preferred() -> None:
    desk = Desk()
    for amount in (10, 20, 30):
        desk.do("purchase", usd(amount), after=MINUTE)
    first, second, third = (event.charge_id for event in desk.requests("purchase"))
    assert desk.ledger.due_charge(desk.now).charge_id == first
    assert desk.ledger.due_charge(desk.now, first=third).charge_id == third
    assert desk.ledger.due_charge(desk.now, first="none").charge_id == first
    desk.do("try_charge", first)
    assert desk.ledger.due_charge(desk.now).charge_id == second
    assert desk.ledger.due_charge(desk.now, first=first).charge_id == second
    assert desk.ledger.due_charge(desk.now + 5 * MINUTE).charge_id == first


def test_a_ledger_that_recharges_by_itself_has_nothing_due_when_all_is_well() -> None:
    desk = Desk(funds_valid_for=None)
    desk.do("configure_auto_recharge", topping_up())
    assert desk.ledger.next_due is None
    assert desk.ledger.due_charge(desk.now) is None


# Over random histories.


def charging_histories() -> Any:
    commands = ("consume", "consume", "advance", "refund", "claw_back", "reinstate", *CHARGE_COMMANDS)
    return histories(currency="USD", commands=commands)


@given(events=histories(currency="USD") | charging_histories())
def test_no_method_gets_more_attempts_than_the_policy_allows_without_a_reset(events: tuple[Event, ...]) -> None:
    """Declines that reset nothing: between a payment, a resumption and a change of methods, 1 + len(delays) at most."""
    attempts: dict[str, int] = {}
    asked: dict[str, str] = {}
    most = 0
    for event in events:
        if isinstance(event, AutoRechargeConfigured):
            # An edit may raise the number of attempts, but takes back none that were made.
            most = max(most, 1 + len(event.policy.retry.delays))
        elif isinstance(event, ChargeRequested):
            asked[event.charge_id] = event.payment_method
        elif isinstance(event, ChargeDeclined) and (event.retry_at is not None or event.given_up):
            method = asked[event.charge_id]
            attempts[method] = attempts.get(method, 0) + 1
            assert attempts[method] <= most
        elif isinstance(event, ChargePaid):
            attempts.pop(asked[event.charge_id], None)
        elif isinstance(event, PaymentMethodsChanged) or (
            isinstance(event, AutoRechargeResumed) and event.reason == "resumed"
        ):
            attempts = {}


@given(events=histories(currency="USD") | charging_histories())
def test_nothing_is_asked_of_a_method_before_its_retry(events: tuple[Event, ...]) -> None:
    retry: dict[str, Any] = {}
    asked: dict[str, str] = {}
    for event in events:
        if isinstance(event, ChargeRequested):
            asked[event.charge_id] = event.payment_method
            if event.purpose == "recharge" and event.payment_method in retry:
                retry_at = retry[event.payment_method]
                assert retry_at is not None
                assert event.at >= retry_at
        elif isinstance(event, ChargeDeclined) and (event.retry_at is not None or event.given_up):
            retry[asked[event.charge_id]] = event.retry_at
        elif isinstance(event, ChargePaid):
            retry.pop(asked[event.charge_id], None)
        elif isinstance(event, PaymentMethodsChanged) or (
            isinstance(event, AutoRechargeResumed) and event.reason == "resumed"
        ):
            retry = {}


@given(events=histories(currency="USD") | charging_histories())
def test_while_off_suspended_or_closed_no_automatic_charge_is_asked_for(events: tuple[Event, ...]) -> None:
    on, suspended = False, False
    for event in events:
        kind = type(event).__name__
        if kind in ("AutoRechargeConfigured", "AutoRechargeDisabled", "LedgerClosed"):
            on = kind == "AutoRechargeConfigured"
        elif kind == "AutoRechargeSuspended":
            assert not suspended
            suspended = True
        elif kind == "AutoRechargeResumed":
            suspended = False
        elif kind == "ChargeRequested" and event.purpose == "recharge":
            assert on
            assert not suspended


@given(events=histories(currency="USD") | charging_histories())
def test_charges_are_asked_only_of_methods_that_the_ledger_has(events: tuple[Event, ...]) -> None:
    methods: tuple[str, ...] = ()
    untried: dict[str, str] = {}
    for event in events:
        kind = type(event).__name__
        if kind in ("LedgerOpened", "PaymentMethodsChanged"):
            methods = event.payment_methods
        elif kind == "ChargeRequested":
            assert event.payment_method in methods
            untried[event.charge_id] = event.payment_method
        elif kind == "ChargeTried":
            assert untried.pop(event.charge_id, methods[0] if methods else "") in (*methods, "")
        elif kind == "ChargeWithdrawn":
            assert event.charge_id in untried


@given(events=charging_histories())
def test_the_policy_in_force_is_the_last_one_configured(events: tuple[Event, ...]) -> None:
    policy = None
    for event in events:
        if isinstance(event, AutoRechargeConfigured):
            assert event.policy != policy
            policy = event.policy
        elif type(event).__name__ == "AutoRechargeDisabled":
            assert policy is not None
            policy = None
    assert Ledger.replay(events).recharge_policy == policy


def test_a_change_of_terms_that_the_policy_does_not_fit_is_refused() -> None:
    desk = recharging()
    before = desk.ledger.state()
    with pytest.raises(InvalidValueError):
        desk.do("change_terms", attrs.evolve(desk.ledger.terms, minimum_purchase=usd(50)))
    assert desk.ledger.state() == before


def refused_usage(usage: str) -> tuple[Desk, InsufficientFundsError]:
    """A desk of 5.00 free and, for a capture, 40.00 held; and how it refuses usage of 50.00."""
    desk = Desk(funds=5 if usage != "capture" else 45)
    policy = RechargePolicy(usd(1), recharge_to=usd(40), recharge_when_refused=True)
    arguments: dict[str, tuple[Any, ...]] = {
        "consume": (usd(50),),
        "hold": ("call", usd(50)),
        "capture": ("call", usd(50)),
    }
    named = {"expires_at": desk.now + HOUR} if usage == "hold" else {}
    if usage == "capture":
        desk.do("hold", "call", usd(40), expires_at=desk.now + HOUR)
    desk.do("configure_auto_recharge", policy)
    with pytest.raises(InsufficientFundsError) as caught:
        desk.do(usage, *arguments[usage], **named)
    return desk, caught.value


@pytest.mark.parametrize(("usage", "amount"), [("consume", "85"), ("hold", "85"), ("capture", "45")])
def test_the_recharge_asked_for_is_the_one_that_the_refusal_told(usage: str, amount: str) -> None:
    desk, error = refused_usage(usage)
    assert error.decision.amount == usd(amount)
    desk.do("request_recharge", error.amount)
    assert desk.requests()[-1].amount == usd(amount)


def test_a_payment_out_of_suspension_leaves_the_other_methods_given_up() -> None:
    desk = exhausted("card", "bank")
    desk.do("purchase", usd(30), payment_method="bank")
    desk.outcome(desk.last("purchase"), Paid())
    desk.spend(30)
    assert (desk.requests()[-1].payment_method, desk.requests()[-1].attempt) == ("bank", 1)


def test_a_withdrawn_charge_that_was_paid_all_the_same_withdraws_its_successor() -> None:
    desk = recharging()
    first = desk.last()
    desk.do("configure_auto_recharge", topping_up(10, 30))
    second = desk.last()
    withdrawn = only(desk.outcome(first, Paid("after all")), ChargeWithdrawn)
    assert (withdrawn.charge_id, withdrawn.reason) == (second, "paid_late")


def test_an_untried_recharge_is_decided_anew_when_the_terms_change() -> None:
    desk = Desk(funds=50)
    desk.do("configure_auto_recharge", RechargePolicy(usd(60), recharge_to=usd(63)))
    assert desk.requests()[-1].amount == usd(13)
    desk.do("change_terms", Terms("USD", purchase_step=usd(5)))
    (charge,) = desk.ledger.pending_charges
    assert charge.amount == usd(15)
    desk.do("try_charge", charge.charge_id)
    desk.do("change_terms", Terms("USD", purchase_step=usd(4)))
    assert [charge.amount for charge in desk.ledger.pending_charges] == [usd(15)]
