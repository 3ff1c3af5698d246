"""What falls due with time alone, and that nothing depends on when it is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import (
    MOMENT,
    T0,
    Step,
    all_terms,
    cents,
    day,
    histories,
    hour,
    in_cents,
    kinds,
    ledger,
    left,
    lot,
    only,
    play,
    usd,
)
from commcredits import (
    AlertRaised,
    ChargeRequested,
    ChargeUnresolved,
    Event,
    FundsConsumed,
    FundsExpired,
    FundsExpiring,
    FundsLapsed,
    FundsStarted,
    HoldReleased,
    Ledger,
    Money,
    OverdraftRepaid,
    Terms,
)

NOTHING = usd(0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def told(events: tuple[Event, ...]) -> list[tuple[str, int | None]]:
    return [(type(event).__name__, getattr(event, "lot_id", None)) for event in events]


def test_a_lot_can_be_spent_from_its_start_and_until_before_its_expiry() -> None:
    account = ledger()
    lot(account, 10, at=T0, starts_at=day(1), expires_at=day(2))
    expected = {day(1) - MOMENT: NOTHING, day(1): usd(10), day(2) - MOMENT: usd(10), day(2): NOTHING}
    for moment, amount in expected.items():
        assert account.available_at(moment) == amount
    # None of these reads left a trace, and commands see the same.
    for moment, amount in expected.items():
        account.advance(at=moment)
        assert account.available == amount


def test_usage_at_the_very_expiry_does_not_get_the_lot() -> None:
    for late, kind in ((-MOMENT, "FundsConsumed"), (timedelta(0), "FundsExpired")):
        account = ledger(overdraft_limit=None)
        lot(account, 10, at=T0, expires_at=day(1))
        assert kinds(account.consume(usd(1), at=day(1) + late))[0] == kind


@given(
    lots=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4), st.integers(1, 4)), max_size=6),
    moments=st.lists(st.integers(0, 10), min_size=1, max_size=4).map(sorted),
    sweep=st.booleans(),
)
def test_what_can_be_spent_is_decided_from_dates_alone(
    lots: list[tuple[int, int, int]], moments: list[int], sweep: bool
) -> None:
    account = ledger()
    for amount, starts, lasts in lots:
        account.grant(cents(amount), at=T0, starts_at=hour(starts), expires_at=hour(starts + lasts))
    for moment in moments:
        expected = sum(amount for amount, starts, lasts in lots if starts <= moment < starts + lasts)
        assert account.available_at(hour(moment)) == cents(expected)
        assert account.state().at(hour(moment)).available == cents(expected)
        if sweep:
            account.advance(at=hour(moment))
            assert account.available == cents(expected)


def test_what_fell_due_is_recorded_first_each_at_its_own_instant() -> None:
    account = ledger(expiry_notices=(DAY,))
    first = lot(account, 1, at=T0, expires_at=day(3))
    second = lot(account, 2, at=T0, starts_at=day(1), expires_at=day(3))
    third = lot(account, 4, at=T0, expires_at=day(9))
    account.hold("call", usd(1), at=T0, expires_at=hour(5))
    events = account.consume(usd(4), at=day(5), idempotency_key="key")
    assert [(type(event), event.at, getattr(event, "lot_id", None)) for event in events[:6]] == [
        (HoldReleased, hour(5), None),
        (FundsStarted, day(1), second),
        (FundsExpiring, day(2), first),
        (FundsExpiring, day(2), second),
        (FundsExpired, day(3), first),
        (FundsExpired, day(3), second),
    ]
    usage = events[6]
    assert (type(usage), usage.at, usage.draws) == (FundsConsumed, day(5), ((third, usd(4)),))
    assert [event.idempotency_key for event in events] == [None] * 6 + ["key"] + [None] * (len(events) - 7)


def test_at_equal_instants_things_are_recorded_in_a_fixed_order() -> None:
    account = ledger(late_usage_grace=DAY, expiry_notices=(30 * DAY,), funds_valid_for=None)
    same = day(10)
    announced = lot(account, 1, at=T0, expires_at=same + 30 * DAY)
    started = lot(account, 2, at=T0, starts_at=same)
    lapsed = lot(account, 4, at=T0, expires_at=same, priority=2)
    expired = lot(account, 8, at=T0, expires_at=same - DAY, priority=3)
    requested = only(account.purchase(usd(50), at=same - DAY - HOUR), ChargeRequested)
    account.try_charge(requested.charge_id, at=same - DAY)
    account.hold("call", usd(1), at=same - HOUR, expires_at=same)
    events = account.advance(at=same + HOUR)
    assert told(events) == [
        ("HoldReleased", None),
        ("ChargeUnresolved", None),
        ("FundsLapsed", lapsed),
        ("FundsExpired", expired),
        ("FundsStarted", started),
        ("FundsExpiring", announced),
    ]
    assert {event.at for event in events} == {same}


def test_what_a_hold_gives_back_at_the_very_expiry_of_its_lot_lapses_with_the_rest() -> None:
    account = ledger(late_usage_grace=DAY)
    old = lot(account, 10, at=T0, expires_at=hour(2))
    account.hold("call", usd(4), at=T0, expires_at=hour(2))
    events = account.advance(at=hour(2))
    assert told(events)[:2] == [("HoldReleased", None), ("FundsLapsed", old)]
    assert events[1].amount == usd(10)


def test_what_a_hold_gives_back_at_the_very_end_of_the_grace_expires_with_the_rest() -> None:
    account = ledger(late_usage_grace=HOUR)
    lot(account, 10, at=T0, expires_at=hour(2))
    account.hold("call", usd(4), at=T0, expires_at=hour(3))
    events = account.advance(at=hour(3))
    assert sum(in_cents(event.amount) for event in events if isinstance(event, FundsExpired)) == 1000
    account.check()
    assert (account.available, account.lapsed, account.held) == (NOTHING, NOTHING, NOTHING)


def test_a_hold_that_times_out_after_the_grace_expires_what_it_gives_back() -> None:
    account = ledger(late_usage_grace=HOUR)
    old = lot(account, 10, at=T0, expires_at=hour(2))
    account.hold("call", usd(4), at=T0, expires_at=hour(4))
    events = account.advance(at=day(1))
    expired = [(event.at, event.lot_id, event.amount) for event in events if isinstance(event, FundsExpired)]
    assert expired == [(hour(3), old, usd(6)), (hour(4), old, usd(4))]
    assert only(events, FundsLapsed).amount == usd(6)


def test_an_expiry_takes_only_from_its_own_lot() -> None:
    account = ledger()
    old = lot(account, 10, at=T0, expires_at=day(1), priority=5)
    kept = [lot(account, 10, at=T0, expires_at=day(2), priority=number) for number in range(2)]
    account.consume(usd(15), at=T0)
    expired = only(account.advance(at=day(1)), FundsExpired)
    assert (expired.lot_id, expired.amount) == (old, usd(10))
    assert left(account) == {kept[1]: usd(5)}


@given(history=histories(), terms=all_terms())
def test_an_expiry_takes_what_is_left_of_its_own_lot_and_nothing_else(
    history: list[Step], terms: dict[str, Any]
) -> None:
    account, _, at = play(ledger(**terms), history)
    while account.next_due is not None:
        before = account.state()
        due = account.next_due
        events = account.advance(at=max(due, at))
        lots = {one.lot_id: one for one in before.lots}
        for event in events:
            if isinstance(event, FundsExpired):
                one = lots[event.lot_id]
                assert one.expires_at is not None
                assert one.expires_at <= event.at
                assert event.amount <= one.remaining + one.held
        assert account.next_due is None or account.next_due > due
    assert all(one.expires_at is None for one in account.lots)


def test_an_expiry_is_announced_in_time_for_what_is_free_then() -> None:
    account = ledger(expiry_notices=(7 * DAY, 30 * DAY))
    soon = lot(account, 10, at=T0, expires_at=day(40))
    account.consume(usd(4), at=T0)
    events = account.advance(at=day(39))
    assert [(event.at, event.lot_id, event.amount, event.expires_at) for event in events] == [  # type: ignore[attr-defined]
        (day(10), soon, usd(6), day(40)),
        (day(33), soon, usd(6), day(40)),
    ]
    assert account.advance(at=day(39)) == ()


def test_nothing_is_announced_of_lots_that_are_drained_never_expire_or_have_not_started() -> None:
    account = ledger(expiry_notices=(30 * DAY,))
    lot(account, 10, at=T0, expires_at=day(31))
    account.consume(usd(10), at=T0)
    lot(account, 10, at=T0, priority=0)
    lot(account, 10, at=T0, starts_at=day(20), expires_at=day(40))
    lot(account, 10, at=T0, starts_at=day(11), expires_at=day(41))  # its start is the instant of the notice
    assert "FundsExpiring" not in kinds(account.advance(at=day(30)))


def test_a_notice_is_given_once() -> None:
    account = ledger(expiry_notices=(30 * DAY,))
    lot(account, 10, at=T0, expires_at=day(40))
    announced = lot(account, 10, at=T0, expires_at=day(70), priority=1)
    account.hold("call", usd(4), at=day(39.5), expires_at=day(40.25))
    first = account.advance(at=day(40))
    assert only(first, FundsExpiring).lot_id == announced
    later = account.release("call", at=day(40.125))  # gives funds back to the lot that expired at that instant
    assert kinds(later) == ["HoldReleased", "FundsExpired"]


def test_shorter_or_longer_grace_holds_for_lapsed_funds_too() -> None:
    account = ledger(late_usage_grace=DAY)
    lot(account, 10, at=T0, expires_at=hour(1))
    account.advance(at=hour(1))
    account.change_terms(Terms("USD", late_usage_grace=2 * DAY, expiry_notices=()), at=hour(2))
    assert account.next_due == day(2) + HOUR
    events = account.change_terms(Terms("USD", late_usage_grace=HOUR, expiry_notices=()), at=hour(3))
    assert kinds(events) == ["TermsChanged", "FundsExpired"]
    assert events[1].at == hour(3)
    account.check()


def test_several_lots_that_start_at_once_repay_an_overdraft_in_burn_order() -> None:
    account = ledger(overdraft_limit=None)
    account.consume(usd(7), at=T0)
    ids = [lot(account, 3, at=T0, starts_at=day(1), priority=priority) for priority in (2, 1, 3)]
    events = account.advance(at=day(1))
    assert told(events[:6]) == [
        ("FundsStarted", ids[1]),
        ("FundsStarted", ids[0]),
        ("FundsStarted", ids[2]),
        ("OverdraftRepaid", ids[1]),
        ("OverdraftRepaid", ids[0]),
        ("OverdraftRepaid", ids[2]),
    ]
    assert [event.amount for event in events if isinstance(event, OverdraftRepaid)] == [usd(3), usd(3), usd(1)]


def test_alerts_are_raised_once_at_the_end_and_at_the_commands_time() -> None:
    account = ledger(alert_thresholds=(usd(10),))
    lot(account, 8, at=T0, expires_at=day(1))
    lot(account, 8, at=T0, expires_at=day(2))
    events = account.advance(at=day(3))
    alert = only(events, AlertRaised)
    assert (alert.at, alert.available) == (day(3), NOTHING)
    assert kinds(events)[-2:] == ["BalanceDepleted", "AlertRaised"]


def test_a_charge_is_unresolved_at_the_end_of_its_keys_time() -> None:
    account = ledger()
    charge_id = only(account.purchase(usd(50), at=T0), ChargeRequested).charge_id
    account.try_charge(charge_id, at=hour(1))
    assert account.advance(at=hour(25) - MOMENT) == ()
    (event,) = account.advance(at=day(9))
    assert event == ChargeUnresolved(
        version=event.version, at=hour(25), charge_id=charge_id, amount=usd(50), payment_method="default"
    )


def shape(account: Ledger, moment: datetime) -> list[object]:
    """All that is left at a moment, the numbers of events left out: sweeping numbers them differently."""
    state = account.state().at(moment)
    lots = [(one.amount, one.remaining, one.held, one.starts_at, one.expires_at) for one in state.lots]
    holds = [(hold.hold_id, hold.amount, hold.expires_at) for hold in state.holds]
    return [state.available, state.balance, state.overdraft, state.lapsed, state.totals, lots, holds]


@given(history=histories(), terms=all_terms(), sweeps=st.sets(st.integers(0, 29)))
def test_when_a_sweep_ran_makes_no_difference(history: list[Step], terms: dict[str, Any], sweeps: set[int]) -> None:
    swept_history = []
    for place, step in enumerate(history):
        if place in sweeps:
            swept_history.append(Step(step.wait, "advance", step.amount, 0, step.length))
            swept_history.append(step._replace(wait=timedelta(0)))
        else:
            swept_history.append(step)
    lazy, lazy_events, at = play(ledger(**terms), history)
    swept, swept_events, _ = play(ledger(**terms), swept_history)
    for moment in (at, at + HOUR, at + 2 * DAY):
        assert shape(lazy, moment) == shape(swept, moment)
    # What fell due has the same times and amounts, whenever it was recorded.
    due = (HoldReleased, FundsLapsed, FundsExpired, FundsStarted, FundsExpiring, OverdraftRepaid)
    lazy_events += lazy.advance(at=at)
    swept_events += swept.advance(at=at)
    facts = [
        [(type(event), event.at, event.amount) for event in events if isinstance(event, due)]
        for events in (lazy_events, swept_events)
    ]
    assert facts[0] == facts[1]


@given(history=histories(), terms=all_terms())
def test_events_are_numbered_and_never_run_back(history: list[Step], terms: dict[str, Any]) -> None:
    account, events, at = play(ledger(**terms), history)
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert account.version == len(events)
    assert all(one.at <= next_one.at for one, next_one in pairwise(events))
    assert account.as_of == events[-1].at <= at


@given(history=histories(), terms=all_terms())
def test_next_due_is_when_advancing_first_records_something(history: list[Step], terms: dict[str, Any]) -> None:
    account, _, at = play(ledger(**terms), history)
    account.advance(at=at)
    due = account.next_due
    if due is None:
        assert account.advance(at=at + 5000 * DAY) == ()
    else:
        assert due > at
        assert account.advance(at=due - MOMENT) == ()
        assert account.advance(at=due) != ()


def test_a_purchase_can_pass_for_an_expiry_of_long_ago() -> None:
    """Funds bought for a moment are over before the next command."""
    account = ledger(funds_valid_for=MOMENT)
    lot(account, 10, at=T0)
    assert account.available == usd(10)
    assert only(account.advance(at=day(1)), FundsExpired).at == T0 + MOMENT


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_bought_funds_expire_a_calendar_year_later_in_the_terms_time_zone(zone: str) -> None:
    account = Ledger.open("ledger", Terms("USD", time_zone=zone), at=T0)
    bought = datetime(2028, 2, 29, 12, tzinfo=ZoneInfo(zone))
    (added, *_) = account.add_funds(Money(1, "USD"), at=bought)
    assert added.expires_at == datetime(2029, 3, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
