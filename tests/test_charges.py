"""The life of one charge: every step it may take, every step it may not, and the instants at which it takes them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given

from commcredits import (
    Charge,
    ChargeDeclined,
    ChargeNotDueError,
    ChargePaid,
    ChargeProcessing,
    ChargeRequested,
    ChargeTried,
    ChargeUnresolved,
    ChargeWithdrawn,
    Declined,
    Event,
    FundsAdded,
    InvalidValueError,
    LedgerOpened,
    Money,
    OutcomeConflictError,
    Paid,
    Processing,
    UnknownChargeError,
    WrongTypeError,
)
from commcredits.charges import charge_id, rebuilt
from commcredits.testing.histories import CHARGE_COMMANDS
from commcredits.testing.strategies import histories
from desk import DAY, HOUR, MINUTE, MOMENT, NOTHING, OPENED, Desk, names, topping_up, usd

PURPOSES = ["purchase", "recharge"]
STATUSES = ["requested", "tried", "processing", "unresolved", "paid", "declined", "withdrawn"]


def at_status(status: str, purpose: str, **terms: Any) -> tuple[Desk, str]:
    """A desk, and a charge of 20.00 on it that has come so far."""
    desk = Desk(funds=5, **terms)
    if purpose == "purchase":
        desk.do("purchase", usd(20), reference="order 7")
    else:
        desk.do("configure_auto_recharge", topping_up())
    wanted = desk.last(purpose)
    if status == "withdrawn":
        desk.do("change_payment_methods", "bank")
    elif status != "requested":
        desk.do("try_charge", wanted)
        if status == "unresolved":
            desk.do("advance", after=DAY)
        elif status != "tried":
            desk.outcome(
                wanted, {"processing": Processing("p"), "paid": Paid("one"), "declined": Declined("no")}[status]
            )
    assert desk.status(wanted) == status
    return desk, wanted


# From each state, by each outcome: where it comes to, whether recorded at once, ten days later, or by another desk.
STEPS = {
    "requested": {"Paid": "paid", "Declined": "declined", "Processing": "processing"},
    "tried": {"Paid": "paid", "Declined": "declined", "Processing": "processing"},
    "processing": {"Paid": "paid", "Declined": "declined", "Processing": "processing"},
    "unresolved": {"Paid": "paid", "Declined": "declined", "Processing": "unresolved"},
    "paid": {"Paid": "paid", "Declined": OutcomeConflictError, "Processing": "paid"},
    "declined": {"Paid": "paid", "Declined": "declined", "Processing": "declined"},
    "withdrawn": {"Paid": "paid", "Declined": "withdrawn", "Processing": "withdrawn"},
}
OUTCOMES = {"Paid": Paid("one"), "Declined": Declined("no"), "Processing": Processing("p")}
EVENTS = {"Paid": ChargePaid, "Declined": ChargeDeclined, "Processing": ChargeProcessing}
ALL_STEPS = [(status, outcome, to) for status, steps in STEPS.items() for outcome, to in steps.items()]


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(("status", "outcome", "to"), ALL_STEPS)
def test_an_outcome_takes_a_charge_where_the_table_says(status: str, outcome: str, to: Any, purpose: str) -> None:
    desk, charge = at_status(status, purpose)
    before = desk.ledger.state()
    if not isinstance(to, str):
        with pytest.raises(to):
            desk.outcome(charge, OUTCOMES[outcome])
        assert desk.ledger.state() == before
        return
    events = desk.outcome(charge, OUTCOMES[outcome])
    assert desk.status(charge) == to
    told = [event for event in events if getattr(event, "charge_id", None) == charge]
    if to == status:
        assert told == []
        assert desk.ledger.state() == before
    else:
        assert isinstance(told[0], EVENTS[outcome])
        assert desk.paid_in(charge) == ([usd(20)] if to == "paid" else [])


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(("status", "outcome", "to"), [step for step in ALL_STEPS if isinstance(step[2], str)])
def test_the_same_outcome_again_records_nothing(status: str, outcome: str, to: str, purpose: str) -> None:
    desk, charge = at_status(status, purpose)
    desk.outcome(charge, OUTCOMES[outcome])
    state = desk.ledger.state()
    assert desk.outcome(charge, OUTCOMES[outcome]) == ()
    assert desk.ledger.state() == state


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("status", STATUSES)
def test_only_a_charge_never_tried_or_of_unknown_outcome_may_be_tried(status: str, purpose: str) -> None:
    desk, charge = at_status(status, purpose)
    desk.do("disable_auto_recharge") if status == "declined" else None
    desk.now += 5 * MINUTE if status == "tried" else NOTHING
    before = desk.ledger.state()
    if status in ("requested", "tried"):
        assert names(desk.do("try_charge", charge)) == ["ChargeTried"]
        assert desk.status(charge) == "tried"
        return
    with pytest.raises(ChargeNotDueError) as caught:
        desk.do("try_charge", charge)
    assert (caught.value.charge_id, caught.value.status, caught.value.due_at) == (charge, status, None)
    assert desk.ledger.state() == before


WITHDRAWALS: dict[str, tuple[str, tuple[Any, ...], bool]] = {
    # What withdraws it: the reason, the command, and whether it withdraws a purchase too.
    "its method is removed": ("method_removed", ("change_payment_methods", "bank"), True),
    "every method is removed": ("method_removed", ("change_payment_methods",), True),
    "the ledger is closed": ("closed", ("close",), True),
    "recharging is switched off": ("disabled", ("disable_auto_recharge",), False),
    "the policy is edited": ("edited", ("configure_auto_recharge", topping_up(10, 30)), False),
    "it is suspended by a refund": ("suspended", ("refund", 2, usd(1)), False),
    "it is suspended by a claw-back": ("suspended", ("claw_back", 2, usd(1)), False),
    "it is no longer due": ("no_longer_due", ("add_funds", usd(50)), False),
}


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("why", WITHDRAWALS)
def test_a_charge_never_tried_is_withdrawn_when_it_is_no_longer_wanted(why: str, purpose: str) -> None:
    reason, command, purchases_too = WITHDRAWALS[why]
    desk, charge = at_status("requested", purpose)
    events = desk.do(*command)
    withdrawn = [event for event in events if isinstance(event, ChargeWithdrawn)]
    if purpose == "purchase" and not purchases_too:
        assert withdrawn == []
        assert desk.status(charge) == "requested"
    else:
        assert [(event.charge_id, event.reason) for event in withdrawn] == [(charge, reason)]
        assert charge not in [pending.charge_id for pending in desk.ledger.pending_charges]


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("status", ["tried", "processing", "unresolved"])
@pytest.mark.parametrize("why", WITHDRAWALS)
def test_a_charge_that_was_tried_keeps_its_method_amount_and_key_whatever_changes(
    why: str, status: str, purpose: str
) -> None:
    desk, charge = at_status(status, purpose)
    (before,) = [pending for pending in desk.ledger.pending_charges if pending.charge_id == charge]
    desk.do(*WITHDRAWALS[why][1])
    (after,) = [pending for pending in desk.ledger.pending_charges if pending.charge_id == charge]
    assert after == before
    assert (after.amount, after.payment_method, after.status) == (usd(20), "card", status)


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("status", ["tried", "processing", "unresolved"])
@pytest.mark.parametrize("why", WITHDRAWALS)
def test_a_charge_that_was_tried_still_adds_its_funds_whatever_changed(why: str, status: str, purpose: str) -> None:
    desk, charge = at_status(status, purpose)
    desk.do(*WITHDRAWALS[why][1])
    available = desk.ledger.available
    desk.outcome(charge, Paid("late"))
    assert desk.paid_in(charge) == [usd(20)]
    assert desk.ledger.available == available + usd(20)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_charge_never_tried_waits_for_ever(purpose: str) -> None:
    desk, charge = at_status("requested", purpose, funds_valid_for=None)
    desk.do("advance", after=4000 * DAY)
    assert desk.status(charge) == "requested"


def test_the_method_of_a_charge_may_change_its_place_without_withdrawing_it() -> None:
    desk, charge = at_status("requested", "recharge")
    desk.do("change_payment_methods", "bank", "card")
    assert desk.status(charge) == "requested"


# The intent comes first, and is one of a kind.


def test_a_purchase_asks_for_a_charge_and_adds_nothing() -> None:
    desk = Desk(funds=0)
    (event,) = desk.do("purchase", usd(20), reference="order 7")
    assert isinstance(event, ChargeRequested)
    assert (event.amount, event.payment_method, event.purpose, event.attempt, event.reference, event.refused) == (
        usd(20),
        "card",
        "purchase",
        1,
        "order 7",
        None,
    )
    assert desk.ledger.balance == desk.ledger.available == usd(0)
    (charge,) = desk.ledger.pending_charges
    assert charge == Charge(event.charge_id, "desk", usd(20), "card", "purchase", 1, OPENED, "order 7")


def test_the_id_of_a_charge_is_its_ledger_its_version_and_when_it_was_asked_for_in_utc() -> None:
    desk = Desk(funds=0)
    (event,) = desk.do("purchase", usd(20), after=timedelta(days=1, microseconds=7))
    assert event.charge_id == "desk:2:20240302T120000000007Z"
    assert charge_id("desk", 2, event.at) == event.charge_id


def test_an_id_has_all_digits_of_the_time_even_in_the_first_second_of_a_year() -> None:
    desk = Desk(funds=0, at=OPENED.replace(year=1999, month=1, day=2, hour=3))
    assert desk.do("purchase", usd(20))[0].charge_id == "desk:2:19990102T030000000000Z"


def test_two_purchases_at_one_instant_have_two_ids() -> None:
    desk = Desk(funds=0)
    desk.do("purchase", usd(20))
    desk.do("purchase", usd(20))
    assert len({event.charge_id for event in desk.requests("purchase")}) == 2


def test_any_number_of_purchases_may_be_pending() -> None:
    desk = Desk(funds=0)
    for number in range(30):
        desk.do("purchase", usd(number + 1), payment_method=("card", "bank")[number % 2])
    assert [charge.amount for charge in desk.ledger.pending_charges] == [usd(number + 1) for number in range(30)]


def test_paying_records_the_payment_and_then_the_funds() -> None:
    desk, charge = at_status("tried", "purchase")
    paid, added = desk.outcome(charge, Paid("stripe 1"))
    assert isinstance(paid, ChargePaid)
    assert (paid.charge_id, paid.reference) == (charge, "stripe 1")
    assert isinstance(added, FundsAdded)
    assert (added.lot_id, added.amount, added.charge_id) == (added.version, usd(20), charge)
    assert next(lot for lot in desk.ledger.lots if lot.lot_id == added.lot_id).purchased


# Times: the instant itself, and the moment before.


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_charge_of_unknown_outcome_may_be_tried_again_after_the_delay_under_the_same_key(purpose: str) -> None:
    desk, charge = at_status("tried", purpose)
    for _ in range(3):
        tried_at = desk.now
        with pytest.raises(ChargeNotDueError) as caught:
            desk.do("try_charge", charge, after=5 * MINUTE - MOMENT)
        assert (caught.value.status, caught.value.due_at) == ("tried", tried_at + 5 * MINUTE)
        (again,) = desk.do("try_charge", charge, after=MOMENT)
        assert (type(again), again.charge_id) == (ChargeTried, charge)
    assert len(desk.requests(purpose)) == 1
    (pending,) = desk.ledger.pending_charges
    assert (pending.tried_at, pending.last_tried_at) == (OPENED, OPENED + 15 * MINUTE)


def test_the_delay_is_constant_and_counts_from_the_latest_try() -> None:
    desk, charge = at_status("tried", "purchase", unknown_delay=HOUR)
    desk.do("try_charge", charge, after=3 * HOUR)
    with pytest.raises(ChargeNotDueError):
        desk.do("try_charge", charge, after=HOUR - MOMENT)
    assert names(desk.do("try_charge", charge, after=MOMENT)) == ["ChargeTried"]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_key_lasts_from_the_first_try_on_and_then_the_charge_is_unresolved(purpose: str) -> None:
    desk, charge = at_status("tried", purpose, key_valid_for=2 * HOUR)
    desk.do("try_charge", charge, after=HOUR)
    desk.do("try_charge", charge, after=HOUR - MOMENT)
    assert desk.status(charge) == "tried"
    (event,) = desk.do("advance", after=10 * DAY)
    assert (type(event), event.charge_id, event.at) == (ChargeUnresolved, charge, OPENED + 2 * HOUR)


def test_at_the_very_end_of_its_key_a_charge_is_no_longer_tried() -> None:
    desk, charge = at_status("tried", "purchase", key_valid_for=HOUR, unknown_delay=HOUR)
    before = desk.ledger.state()
    with pytest.raises(ChargeNotDueError) as caught:
        desk.do("try_charge", charge, after=HOUR)
    assert (caught.value.status, caught.value.due_at) == ("unresolved", None)
    assert desk.ledger.state() == before


@pytest.mark.parametrize("later", [NOTHING, MOMENT])
def test_a_key_that_ends_before_the_next_try_leaves_nothing_to_wait_for_but_its_end(later: timedelta) -> None:
    desk, charge = at_status("tried", "purchase", key_valid_for=HOUR, unknown_delay=HOUR + later)
    with pytest.raises(ChargeNotDueError) as caught:
        desk.do("try_charge", charge, after=HOUR - MOMENT)
    assert caught.value.due_at is None
    assert desk.ledger.next_due == OPENED + HOUR


def test_a_key_without_an_end_is_tried_for_ever() -> None:
    desk, charge = at_status("tried", "purchase", key_valid_for=None)
    desk.do("advance", after=400 * DAY)
    assert desk.status(charge) == "tried"
    assert "ChargeTried" in names(desk.do("try_charge", charge))


@pytest.mark.parametrize("purpose", PURPOSES)
def test_what_is_processing_is_waited_for_and_then_unresolved(purpose: str) -> None:
    desk, charge = at_status("tried", purpose)
    desk.outcome(charge, Processing("p"), after=HOUR)
    desk.do("advance", after=72 * HOUR - MOMENT)
    assert desk.status(charge) == "processing"
    (event,) = desk.do("advance", after=DAY)
    assert (type(event), event.charge_id, event.at) == (ChargeUnresolved, charge, OPENED + 73 * HOUR)


def test_processing_again_does_not_start_the_waiting_anew() -> None:
    desk, charge = at_status("processing", "purchase")
    desk.outcome(charge, Processing("another"), after=71 * HOUR)
    desk.do("advance", after=HOUR)
    assert desk.status(charge) == "unresolved"


def test_processing_without_an_end_stays_processing() -> None:
    desk, charge = at_status("processing", "purchase", processing_for=None)
    desk.do("advance", after=4000 * DAY)
    assert desk.status(charge) == "processing"


def test_a_charge_becomes_unresolved_before_a_command_of_that_very_instant() -> None:
    desk, charge = at_status("tried", "purchase")
    assert names(desk.outcome(charge, Paid(), after=DAY)) == ["ChargeUnresolved", "ChargePaid", "FundsAdded"]


def test_an_unresolved_charge_is_pending_but_not_due() -> None:
    desk, charge = at_status("unresolved", "purchase")
    assert [pending.status for pending in desk.ledger.pending_charges] == ["unresolved"]
    assert desk.ledger.due_charge(desk.now + 10 * DAY, first=charge) is None
    desk.do("advance", after=400 * DAY)
    assert desk.status(charge) == "unresolved"


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("outcome", [Paid("x"), Declined("no")])
def test_an_unresolved_charge_is_ended_by_its_outcome_however_late(outcome: Any, purpose: str) -> None:
    desk, charge = at_status("unresolved", purpose, funds_valid_for=None)
    desk.outcome(charge, outcome, after=500 * DAY)
    assert desk.status(charge) == type(outcome).__name__.lower()
    assert desk.paid_in(charge) == ([usd(20)] if outcome == Paid("x") else [])


# Recording is compare-and-set.


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [("", "", True), ("", "a", True), ("a", "", True), ("a", "a", True), ("a", "b", False), ("a", "A", False)],
)
def test_a_second_payment_is_the_same_one_unless_both_references_are_given_and_differ(
    first: str, second: str, same: bool, purpose: str
) -> None:
    desk, charge = at_status("tried", purpose)
    desk.outcome(charge, Paid(first))
    state = desk.ledger.state()
    if same:
        assert desk.outcome(charge, Paid(second), after=NOTHING) == ()
    else:
        with pytest.raises(OutcomeConflictError) as caught:
            desk.outcome(charge, Paid(second))
        error = caught.value
        assert (error.charge_id, error.recorded, error.outcome) == (charge, Paid(first), Paid(second))
        assert repr(first) in str(error)
        assert repr(second) in str(error)
        assert "claw_back" in str(error)
    assert desk.ledger.state() == state
    assert desk.paid_in(charge) == [usd(20)]


def test_declined_after_paid_names_both_and_the_claw_back() -> None:
    desk, charge = at_status("paid", "purchase")
    with pytest.raises(OutcomeConflictError, match="claw_back") as caught:
        desk.outcome(charge, Declined("reversed"))
    assert (caught.value.recorded, caught.value.outcome) == (Paid("one"), Declined("reversed"))


@pytest.mark.parametrize(
    "second", [Declined("no"), Declined("other words"), Declined("no", retryable=False), Processing()]
)
def test_a_second_decline_is_no_news_whatever_its_reason(second: Any) -> None:
    for purpose in PURPOSES:
        desk, charge = at_status("declined", purpose)
        state = desk.ledger.state()
        assert desk.outcome(charge, second) == ()
        assert desk.ledger.state() == state


@pytest.mark.parametrize("first", ["declined", "withdrawn"])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_late_payment_adds_the_funds_once(first: str, purpose: str) -> None:
    desk, charge = at_status(first, purpose)
    events = desk.outcome(charge, Paid("late"), after=HOUR)
    assert {"ChargePaid", "FundsAdded"} <= set(names(events))
    assert desk.outcome(charge, Paid("late"), after=HOUR) == () or desk.paid_in(charge) == [usd(20)]
    assert desk.paid_in(charge) == [usd(20)]
    with pytest.raises(OutcomeConflictError):
        desk.outcome(charge, Paid("later still"))


@pytest.mark.parametrize("status", ["paid", "declined", "withdrawn"])
def test_what_became_of_a_charge_is_known_long_after_the_ledger_has_forgotten_it(status: str) -> None:
    desk, charge = at_status(status, "purchase", funds_valid_for=None)
    desk.do("purchase", usd(7), after=40 * DAY, payment_method="bank")
    with pytest.raises(UnknownChargeError):
        desk.do("record_outcome", charge, Paid("one"))
    if status == "paid":
        assert desk.outcome(charge, Paid("one")) == ()
        with pytest.raises(OutcomeConflictError):
            desk.outcome(charge, Paid("two"))
    else:
        assert desk.outcome(charge, Declined("no")) == ()
        assert names(desk.outcome(charge, Paid("one"))) == ["ChargePaid", "FundsAdded"]
        assert desk.outcome(charge, Paid("one")) == ()
    assert desk.paid_in(charge) == [usd(20)]


@pytest.mark.parametrize("wrong", ["desk:9:20240301T120000000000Z", "other:2:20240301T120000000000Z", "x"])
def test_a_charge_nobody_asked_for_is_unknown(wrong: str) -> None:
    desk, _ = at_status("tried", "purchase")
    state = desk.ledger.state()
    for command in (("try_charge", wrong), ("record_outcome", wrong, Paid())):
        with pytest.raises(UnknownChargeError) as caught:
            desk.do(*command)
        assert caught.value.charge_id == wrong
        assert wrong in str(caught.value)
    assert desk.ledger.state() == state


@pytest.mark.parametrize("outcome", ["paid", None, True, Paid, usd(20), {"reference": "x"}])
def test_an_outcome_is_one_of_the_three(outcome: Any) -> None:
    desk, charge = at_status("tried", "purchase")
    state = desk.ledger.state()
    with pytest.raises(WrongTypeError, match="outcome"):
        desk.outcome(charge, outcome)
    assert desk.ledger.state() == state


@pytest.mark.parametrize("charge_id", [None, 5, b"x", ["x"]])
def test_the_id_of_a_charge_is_text(charge_id: Any) -> None:
    desk, _ = at_status("tried", "purchase")
    for command in (("try_charge", charge_id), ("record_outcome", charge_id, Paid())):
        with pytest.raises(WrongTypeError, match="charge_id"):
            desk.do(*command)
    with pytest.raises(InvalidValueError, match="charge_id"):
        desk.do("try_charge", "")


# After the ledger was closed.


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("status", ["tried", "processing", "unresolved"])
def test_a_charge_tried_before_the_closing_still_adds_its_funds(status: str, purpose: str) -> None:
    desk, charge = at_status(status, purpose)
    desk.do("close")
    desk.outcome(charge, Paid("late"), after=HOUR)
    assert desk.ledger.available == usd(25)


def test_closing_withdraws_and_what_is_paid_all_the_same_still_adds_its_funds() -> None:
    desk, charge = at_status("requested", "purchase")
    desk.do("close")
    assert desk.status(charge) == "withdrawn"
    desk.outcome(charge, Paid("late"))
    assert desk.ledger.available == usd(25)


def test_a_charge_of_unknown_outcome_is_tried_again_after_the_closing() -> None:
    desk, charge = at_status("tried", "purchase")
    desk.do("close")
    assert names(desk.do("try_charge", charge, after=5 * MINUTE)) == ["ChargeTried"]


# Over random histories.


def charge_histories() -> Any:
    commands = ("consume", "consume", "add_funds", "refund", "claw_back", "reinstate", "advance", *CHARGE_COMMANDS)
    return histories(currency="USD", commands=commands)


@given(events=charge_histories())
def test_a_charge_id_is_never_used_twice_and_names_its_version_and_instant(events: tuple[Event, ...]) -> None:
    requests = [event for event in events if isinstance(event, ChargeRequested)]
    assert len({event.charge_id for event in requests}) == len(requests)
    for event in requests:
        ledger_id, version, instant = event.charge_id.rsplit(":", 2)
        digits = event.at.isoformat(timespec="microseconds").removesuffix("+00:00")
        assert (ledger_id, int(version)) == ("history", event.version)
        assert instant == digits.replace("-", "").replace(":", "").replace(".", "") + "Z"


ALLOWED = {
    None: {"requested"},
    "requested": {"tried", "withdrawn", "paid", "declined", "processing"},
    "tried": {"tried", "paid", "declined", "processing", "unresolved"},
    "processing": {"paid", "declined", "unresolved"},
    "unresolved": {"paid", "declined"},
    "declined": {"paid"},
    "withdrawn": {"paid"},
    "paid": set(),
}
NAMES = {
    "ChargeRequested": "requested",
    "ChargeTried": "tried",
    "ChargeProcessing": "processing",
    "ChargePaid": "paid",
    "ChargeDeclined": "declined",
    "ChargeUnresolved": "unresolved",
    "ChargeWithdrawn": "withdrawn",
}


@given(events=histories(currency="USD") | charge_histories())
def test_no_history_takes_a_step_that_the_table_does_not_have(events: tuple[Event, ...]) -> None:
    status: dict[str, str] = {}
    for event in events:
        to = NAMES.get(type(event).__name__)
        if to is not None:
            assert to in ALLOWED[status.get(event.charge_id)], (status.get(event.charge_id), to)
            status[event.charge_id] = to


@given(events=histories(currency="USD") | charge_histories())
def test_every_payment_adds_its_own_funds_right_after_it_and_no_other_funds_name_a_charge(
    events: tuple[Event, ...],
) -> None:
    amounts = {event.charge_id: event.amount for event in events if isinstance(event, ChargeRequested)}
    paid = Counter(event.charge_id for event in events if isinstance(event, ChargePaid))
    assert all(times == 1 for times in paid.values())
    for event, following in zip(events, [*events[1:], None], strict=True):
        if isinstance(event, ChargePaid):
            assert isinstance(following, FundsAdded)
            assert (following.charge_id, following.amount) == (event.charge_id, amounts[event.charge_id])
    added = [event.charge_id for event in events if isinstance(event, FundsAdded) and event.charge_id is not None]
    assert Counter(added) == paid


@given(events=histories(currency="USD") | charge_histories())
def test_tries_of_one_charge_keep_their_distance_and_stay_within_the_life_of_the_key(events: tuple[Event, ...]) -> None:
    terms = events[0].terms
    tries: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        if isinstance(event, ChargeTried):
            tries[event.charge_id].append(event.at)
    for at in tries.values():
        assert all(two - one >= terms.unknown_delay for one, two in pairwise(at))
        assert terms.key_valid_for is None or all(again - at[0] < terms.key_valid_for for again in at[1:])


@given(events=charge_histories())
def test_a_charge_is_told_by_its_own_events_alone(events: tuple[Event, ...]) -> None:
    opened = events[0]
    assert isinstance(opened, LedgerOpened)
    for wanted in [event.charge_id for event in events if isinstance(event, ChargeRequested)]:
        its_own = [event for event in events if getattr(event, "charge_id", None) == wanted]
        told = [NAMES[type(event).__name__] for event in its_own if type(event).__name__ in NAMES]
        charge = rebuilt(opened.ledger_id, wanted, events)
        assert charge == rebuilt(opened.ledger_id, wanted, its_own)
        assert charge is not None
        assert charge.status == told[-1]
    assert rebuilt(opened.ledger_id, "none", events) is None


@given(events=charge_histories())
def test_what_is_charged_is_whole_minor_units_above_zero(events: tuple[Event, ...]) -> None:
    for event in events:
        if isinstance(event, ChargeRequested):
            assert event.amount.is_positive
            assert Money.from_minor(event.amount.minor_units, "USD") == event.amount
