"""What all commands have in common: time, keys, what fell due, what is told, and refusals that leave no trace."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

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
    lot,
    only,
    play,
    usd,
)
from commcredits import (
    AlertRaised,
    BalanceDepleted,
    BalanceRestored,
    CommCreditsError,
    FundsConsumed,
    HoldReleased,
    InvalidValueError,
    Ledger,
    Money,
    RechargePolicy,
    Terms,
    Threshold,
    TimeRunsBackError,
    WrongTypeError,
)
from commcredits.command import check_name, check_text

BILLIONTH = Money("0.000000001", "USD")
NOTHING = usd(0)
FIVE_MINUTES = timedelta(minutes=5)


# Time


def test_a_time_a_little_before_the_last_event_is_taken_as_that_events() -> None:
    account = ledger()
    lot(account, 10, at=hour(1))
    for early in (FIVE_MINUTES, MOMENT):
        assert account.consume(usd(1), at=hour(1) - early)[0].at == hour(1)
    before = copy(account)
    with pytest.raises(TimeRunsBackError) as caught:
        account.consume(usd(1), at=hour(1) - FIVE_MINUTES - MOMENT)
    assert (caught.value.at, caught.value.as_of) == (hour(1) - FIVE_MINUTES - MOMENT, hour(1))
    assert account == before


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(hours=2)])
def test_how_much_is_forgiven_is_in_the_terms(skew: timedelta) -> None:
    account = ledger(clock_skew=skew)
    lot(account, 10, at=hour(5))
    assert account.consume(usd(1), at=hour(5) - skew)[0].at == hour(5)
    with pytest.raises(TimeRunsBackError):
        account.consume(usd(1), at=hour(5) - skew - MOMENT)


def test_what_is_recorded_is_in_utc() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    east = timezone(timedelta(hours=3))
    usage = only(account.consume(usd(1), at=hour(1).astimezone(east), occurred_at=T0.astimezone(east)), FundsConsumed)
    assert (usage.at, usage.at.tzinfo) == (hour(1), UTC)
    assert (usage.occurred_at, usage.occurred_at.tzinfo) == (T0, UTC)


@given(waits=st.lists(st.integers(-400, 400), max_size=20))
def test_a_ledgers_time_never_runs_back(waits: list[int]) -> None:
    account = ledger()
    last = given_at = T0
    for seconds in waits:
        given_at += timedelta(seconds=seconds)
        if last - given_at > FIVE_MINUTES:
            with pytest.raises(TimeRunsBackError):
                account.consume(NOTHING, at=given_at)
            given_at = last
        else:
            (usage,) = account.consume(NOTHING, at=given_at)
            last = max(last, given_at)
            assert usage.at == account.as_of == last
            assert usage.occurred_at == given_at


# Keys


def test_the_key_and_the_digest_are_on_the_first_event_that_the_command_made() -> None:
    account = ledger(overdraft_limit=None)
    lot(account, 10, at=T0, expires_at=day(1))
    account.consume(usd(20), at=T0)
    events = account.add_funds(usd(50), at=day(2), idempotency_key="wire 7")
    assert kinds(events)[0] == "FundsAdded"
    assert [event.idempotency_key for event in events] == ["wire 7"] + [None] * (len(events) - 1)
    assert [event.digest is None for event in events] == [False] + [True] * (len(events) - 1)


def test_what_fell_due_bears_no_key() -> None:
    account = ledger()
    lot(account, 10, at=T0, expires_at=day(1))
    lot(account, 10, at=T0)
    events = account.consume(usd(1), at=day(2), idempotency_key="call 7")
    assert [(type(event).__name__, event.idempotency_key) for event in events] == [
        ("FundsExpired", None),
        ("FundsConsumed", "call 7"),
    ]


def test_a_key_of_a_refused_command_is_on_no_event() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    with pytest.raises(CommCreditsError):
        account.consume(usd(11), at=T0, idempotency_key="call 7")
    assert [event.idempotency_key for event in account.consume(usd(1), at=T0)] == [None]


def test_the_digest_tells_commands_apart_but_not_their_time_or_spelling() -> None:
    def digest(**changed: Any) -> str | None:
        account = ledger()
        lot(account, 10, at=T0)
        arguments = {"amount": usd("1.5"), "at": hour(1), "occurred_at": T0, "kind": "pstn"} | changed
        return account.consume(**arguments, idempotency_key="key")[0].digest

    same = digest()
    assert same is not None
    east = timezone(timedelta(hours=3))
    for changed in ({"at": hour(2)}, {"amount": usd("1.500")}, {"occurred_at": T0.astimezone(east)}):
        assert digest(**changed) == same
    others = [{"amount": usd("1.51")}, {"occurred_at": None}, {"kind": "sms"}, {"description": "pstn", "kind": ""}]
    assert len({same, *(digest(**changed) for changed in others)}) == 5


@given(history=histories(), terms=all_terms())
def test_a_command_puts_its_key_on_one_event_at_most(history: list[Step], terms: dict[str, Any]) -> None:
    account, _, at = play(ledger(**terms), history)
    events = account.consume(NOTHING, at=at + timedelta(days=1), idempotency_key="key")
    assert [type(event) for event in events if event.idempotency_key == "key"] == [FundsConsumed]
    assert [event for event in events if event.digest is not None and event.idempotency_key is None] == []


@pytest.mark.parametrize("value", [None, 5, b"name", ["name"]])
def test_a_name_is_text(value: object) -> None:
    for check in (check_name, check_text):
        with pytest.raises(WrongTypeError) as caught:
            check("hold_id", value)
        assert caught.value.value is value
        assert "hold_id" in str(caught.value)


def test_a_name_has_1_to_200_characters_and_a_text_any_number() -> None:
    for name in ("x", "x" * 200):
        assert check_name("hold_id", name) == name
    for name in ("", "x" * 201):
        with pytest.raises(InvalidValueError):
            check_name("hold_id", name)
        assert check_text("kind", name) == name


# What the customer is told


def test_the_balance_is_depleted_when_it_comes_to_zero_and_restored_above_it() -> None:
    account = ledger(overdraft_limit=None)
    lot(account, 10, at=T0)
    assert kinds(account.consume(usd(10) - BILLIONTH, at=T0)) == ["FundsConsumed"]
    assert only(account.consume(BILLIONTH, at=T0), BalanceDepleted).balance == NOTHING
    assert kinds(account.consume(usd(5), at=T0)) == ["FundsConsumed"]  # told before
    assert kinds(account.add_funds(usd(5), at=T0)) == ["FundsAdded", "OverdraftRepaid"]
    assert only(account.add_funds(BILLIONTH, at=T0), BalanceRestored).balance == BILLIONTH
    assert only(account.consume(usd(1), at=T0), BalanceDepleted).balance == BILLIONTH - usd(1)


def test_held_funds_are_part_of_the_balance() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    assert kinds(account.hold("call", usd(10), at=T0, expires_at=hour(1))) == ["FundsHeld"]
    assert kinds(account.capture("call", usd(10), at=T0))[-1] == "BalanceDepleted"


def test_a_new_ledger_is_not_depleted_and_so_not_restored() -> None:
    assert kinds(ledger().add_funds(usd(5), at=T0)) == ["FundsAdded"]


def test_an_expiry_depletes_and_a_start_restores() -> None:
    account = ledger()
    lot(account, 10, at=T0, expires_at=day(1))
    lot(account, 10, at=T0, starts_at=day(2))
    assert kinds(account.advance(at=day(1))) == ["FundsExpired", "BalanceDepleted"]
    assert kinds(account.advance(at=day(2))) == ["FundsStarted", "BalanceRestored"]


def test_what_passed_between_two_commands_is_judged_as_one() -> None:
    account = ledger()
    lot(account, 10, at=T0, expires_at=day(1))
    lot(account, 10, at=T0, starts_at=day(2))
    assert kinds(account.advance(at=day(3))) == ["FundsExpired", "FundsStarted"]


def test_an_alert_is_raised_when_what_is_available_falls_below_its_threshold() -> None:
    account = ledger(alert_thresholds=(usd(5), Threshold(usd(3), inclusive=True)))
    lot(account, 10, at=T0)
    assert kinds(account.consume(usd(5), at=T0)) == ["FundsConsumed"]  # exactly 5: not below
    alert = only(account.consume(BILLIONTH, at=T0), AlertRaised)
    assert (alert.threshold, alert.available) == (Threshold(usd(5)), usd(5) - BILLIONTH)
    assert kinds(account.consume(usd(1), at=T0)) == ["FundsConsumed"]  # told before
    alert = only(account.consume(usd(1) - BILLIONTH, at=T0), AlertRaised)  # exactly 3: at or below
    assert (alert.threshold, alert.available) == (Threshold(usd(3), inclusive=True), usd(3))


def test_held_funds_are_not_available_so_a_hold_raises_an_alert() -> None:
    account = ledger(alert_thresholds=(usd(5),))
    lot(account, 10, at=T0)
    assert kinds(account.hold("call", usd(6), at=T0, expires_at=hour(1))) == ["FundsHeld", "AlertRaised"]
    assert kinds(account.release("call", at=T0)) == ["HoldReleased"]
    assert kinds(account.hold("more", usd(6), at=T0, expires_at=hour(1))) == ["FundsHeld", "AlertRaised"]


def test_an_alert_that_the_same_command_makes_good_is_not_raised() -> None:
    account = ledger(alert_thresholds=(usd(5),))
    lot(account, 10, at=T0, expires_at=day(1))
    assert kinds(account.add_funds(usd(5), at=day(2))) == ["FundsExpired", "FundsAdded"]


def test_a_new_alert_threshold_that_is_undercut_already_is_told() -> None:
    account = ledger(alert_thresholds=(usd(2),))
    lot(account, 1, at=T0)
    terms = Terms("USD", alert_thresholds=(usd(2), usd(3)), expiry_notices=())
    events = account.change_terms(terms, at=T0)
    assert [event.threshold for event in events if isinstance(event, AlertRaised)] == [Threshold(usd(3))]


def test_equal_alert_thresholds_are_told_once() -> None:
    account = ledger(alert_thresholds=(usd(5), usd(5)))
    lot(account, 10, at=T0)
    assert kinds(account.consume(usd(6), at=T0)) == ["FundsConsumed", "AlertRaised"]


def test_alerts_come_before_the_recharge() -> None:
    account = ledger(alert_thresholds=(usd(5),))
    lot(account, 10, at=T0)
    account.configure_auto_recharge(RechargePolicy(usd(5), usd(50)), at=T0)
    events = account.consume(usd(10), at=T0)
    assert kinds(events) == ["FundsConsumed", "BalanceDepleted", "AlertRaised", "ChargeRequested"]


@given(
    amounts=st.lists(st.integers(-9, 9).filter(bool), max_size=20),
    levels=st.sets(st.tuples(st.integers(0, 9), st.booleans()), max_size=3),
)
def test_alerts_follow_the_crossings_of_their_thresholds(amounts: list[int], levels: set[tuple[int, bool]]) -> None:
    thresholds = tuple(
        Threshold(cents(amount), inclusive=inclusive) for amount, inclusive in sorted(levels, reverse=True)
    )
    account = ledger(overdraft_limit=None, alert_thresholds=thresholds)
    balance, depleted = 0, False
    for amount in amounts:
        before, balance = balance, balance + amount
        command = account.add_funds if amount > 0 else account.consume
        events = command(cents(abs(amount)), at=T0)
        crossed = [
            threshold
            for threshold, (level, inclusive) in zip(thresholds, sorted(levels, reverse=True), strict=True)
            if not (before < level or (inclusive and before == level))
            and (balance < level or (inclusive and balance == level))
        ]
        assert [event.threshold for event in events if isinstance(event, AlertRaised)] == crossed
        assert ("BalanceDepleted" in kinds(events)) == (before > 0 >= balance)
        assert ("BalanceRestored" in kinds(events)) == (depleted and balance > 0)
        depleted = (depleted or before > 0 >= balance) and balance <= 0
        assert in_cents(account.available) == balance


# Refusals


def refused_commands(account: Ledger, at: datetime) -> list[Any]:
    """Commands that are right in form, and refused by a rule at `at`."""
    usage = FundsConsumed(version=3, at=T0, amount=usd(4), draws=((2, usd(4)),), overdrawn=NOTHING, occurred_at=T0)
    return [
        lambda: account.consume(usd(7), at=at),
        lambda: account.hold("new", usd(7), at=at, expires_at=at + timedelta(hours=1)),
        lambda: account.extend_hold("call", at=at, add=usd(7)),
        lambda: account.extend_hold("short", at=at, add=usd(1)),
        lambda: account.capture("call", usd(99), at=at),
        lambda: account.release("short", at=at),
        lambda: account.reverse_consumption(usage, usd(5), at=at),
        lambda: account.refund(2, usd(7), at=at),
        lambda: account.claw_back(2, usd(11), at=at),
        lambda: account.reinstate(2, usd(1), at=at),
        lambda: account.close(at=at),
        lambda: account.purchase(usd(1), at=at, payment_method="other"),
        lambda: account.grant(usd(1), at=at, expires_at=at),
        lambda: account.record_outcome("other", None, at=at),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize("place", range(14))
def test_a_command_refused_after_something_fell_due_leaves_nothing_recorded(place: int) -> None:
    account = ledger(alert_thresholds=(usd(9),))
    lot(account, 10, at=T0)
    account.consume(usd(4), at=T0)
    lot(account, 5, at=T0, expires_at=hour(2))
    account.hold("call", usd(1), at=T0, expires_at=hour(20))
    account.hold("short", usd(1), at=T0, expires_at=hour(2))
    before, version = copy(account), account.version
    command = refused_commands(account, hour(3))[place]
    for _ in range(2):
        with pytest.raises(CommCreditsError):
            command()
        assert account == before
        assert (account.version, account.next_due, account.held) == (version, hour(2), usd(2))
    # What fell due is still recorded by the next command that is accepted.
    events = account.advance(at=hour(3))
    assert (kinds(events)[0], events[0].at) == ("HoldReleased", hour(2))
    assert only(events, HoldReleased).version == version + 1
    assert events == before.advance(at=hour(3))


def test_a_command_that_finds_nothing_to_do_records_nothing() -> None:
    account = ledger()
    for command in (account.advance, account.disable_auto_recharge, account.resume_auto_recharge):
        assert command(at=day(1)) == ()
    assert account.change_payment_methods("default", at=day(1)) == ()
    assert account == ledger()


def test_events_recorded_are_returned_once() -> None:
    account = ledger()
    first = account.add_funds(usd(5), at=T0)
    second = account.add_funds(usd(5), at=T0)
    assert (len(first), len(second)) == (1, 1)
    assert account.advance(at=T0) == ()
    assert [event.version for event in (*first, *second)] == [2, 3]
