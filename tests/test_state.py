"""What can be read of a ledger, that reading changes nothing, and that its books add up."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import (
    MOMENT,
    T0,
    Step,
    all_terms,
    day,
    histories,
    hour,
    in_cents,
    ledger,
    lot,
    only,
    play,
    usd,
)
from commcredits import (
    ChargeRequested,
    ConservationError,
    ConsumptionReversed,
    CurrencyMismatchError,
    FundsAdded,
    FundsClawedBack,
    FundsConsumed,
    FundsExpired,
    FundsGranted,
    FundsRefunded,
    FundsReinstated,
    InvalidValueError,
    Ledger,
    LedgerState,
    Money,
    RechargePolicy,
    TimeRunsBackError,
    Totals,
    WrongTypeError,
)

BILLIONTH = Money("0.000000001", "USD")
NOTHING = usd(0)


def busy_ledger() -> Ledger:
    """Something of everything: free, held, lapsed, not started, drawn and expired funds."""
    account = ledger(late_usage_grace=timedelta(days=2))
    lot(account, 10, at=T0, expires_at=hour(1))
    lot(account, 20, at=T0, expires_at=day(5))
    lot(account, 40, at=T0, starts_at=day(3), expires_at=day(9))
    account.hold("call", usd(5), at=T0, expires_at=hour(20))
    account.consume(usd(3), at=T0)
    account.advance(at=hour(2))
    return account


# Reads


def test_balance_is_what_is_available_and_held() -> None:
    account = busy_ledger()
    assert account.available == usd(20)
    assert account.held == usd(5)
    assert account.balance == usd(25)
    assert account.lapsed == usd(2)
    assert account.overdraft == NOTHING


def test_reads_at_a_time_see_what_falls_due_until_then_and_record_nothing() -> None:
    account = busy_ledger()
    before = copy(account)
    # The hold's funds go back to a lot that lapsed.
    expected = [(hour(20) - MOMENT, 20, 25), (hour(20), 20, 20), (day(3), 60, 60), (day(5), 40, 40), (day(9), 0, 0)]
    for moment, available, balance in expected:
        assert account.available_at(moment) == usd(available)
        assert account.balance_at(moment) == usd(balance)
        state = account.state().at(moment)
        assert (state.available, state.balance) == (usd(available), usd(balance))
        assert (state.as_of, state.version) == (moment, account.version)
    assert account == before


def test_nothing_can_be_read_of_the_time_before_the_last_event() -> None:
    account = busy_ledger()
    early = account.as_of - MOMENT
    reads = [
        account.available_at,
        account.balance_at,
        account.state().at,
        account.admits_new_usage,
        account.recharge_decision,
        account.due_charge,
        lambda at: account.can_afford(usd(1), at),
    ]
    for read in reads:
        with pytest.raises(TimeRunsBackError) as caught:
            read(early)
        assert (caught.value.at, caught.value.as_of) == (early, account.as_of)
        with pytest.raises(InvalidValueError):
            read(datetime(2026, 1, 5))  # noqa: DTZ001
        with pytest.raises(WrongTypeError):
            read("2026-01-05")  # type: ignore[arg-type]
        read(account.as_of)


def test_expiring_are_the_lots_that_expire_not_after_a_time() -> None:
    account = ledger()
    sooner = lot(account, 1, at=T0, expires_at=day(1))
    later = lot(account, 1, at=T0, expires_at=day(2), priority=-1)
    lot(account, 1, at=T0, priority=0)
    assert [one.lot_id for one in account.expiring(day(1) - MOMENT)] == []
    assert [one.lot_id for one in account.expiring(day(1))] == [sooner]
    assert [one.lot_id for one in account.expiring(day(2))] == [later, sooner]
    with pytest.raises(InvalidValueError):
        account.expiring(datetime(2026, 1, 5))  # noqa: DTZ001


def test_lots_are_those_with_anything_left_in_burn_order() -> None:
    account = ledger()
    second = lot(account, 1, at=T0, expires_at=day(2))
    first = lot(account, 1, at=T0, expires_at=day(1))
    third = lot(account, 1, at=T0, starts_at=hour(1))
    assert [one.lot_id for one in account.lots] == [first, second, third]
    account.hold("call", usd(1), at=T0, expires_at=hour(1))
    assert (account.lots[0].lot_id, account.lots[0].remaining, account.lots[0].held) == (first, NOTHING, usd(1))
    account.capture("call", at=T0)
    assert [one.lot_id for one in account.lots] == [second, third]


def test_what_can_be_afforded_is_what_is_available_and_the_overdraft_allowed() -> None:
    for limit, most in ((usd(0), usd(10)), (usd(5), usd(15))):
        account = ledger(overdraft_limit=limit)
        lot(account, 10, at=T0, expires_at=day(1))
        assert account.can_afford(most, T0)
        assert not account.can_afford(most + BILLIONTH, T0)
        assert account.can_afford(limit, day(1))
        assert not account.can_afford(limit + BILLIONTH, day(1))
    unlimited = ledger(overdraft_limit=None)
    assert unlimited.can_afford(usd(10**9), T0)


def test_what_can_be_afforded_is_asked_as_usage_is() -> None:
    account = ledger()
    with pytest.raises(CurrencyMismatchError):
        account.can_afford(Money(1, "EUR"), T0)
    with pytest.raises(WrongTypeError):
        account.can_afford(1, T0)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError):
        account.can_afford(usd(-1), T0)


@given(history=histories(), terms=all_terms(), amount=st.sampled_from([0, 1, 10, 50, 100]).map(usd))
def test_usage_is_affordable_exactly_when_it_is_accepted(
    history: list[Step], terms: dict[str, Any], amount: Money
) -> None:
    account, _, at = play(ledger(**terms), history)
    affordable = account.can_afford(amount, at)
    try:
        copy(account).consume(amount, at=at)
    except Exception:  # noqa: BLE001  # whatever the refusal is
        assert not affordable
    else:
        assert affordable


def test_new_usage_is_admitted_on_a_positive_balance_only_whatever_the_overdraft() -> None:
    account = ledger(overdraft_limit=None)
    assert not account.admits_new_usage(T0)
    lot(account, 10, at=T0, expires_at=day(1))
    assert account.admits_new_usage(day(1) - MOMENT)
    assert not account.admits_new_usage(day(1))
    account.consume(usd(10) - BILLIONTH, at=T0)
    assert account.admits_new_usage(T0)
    account.consume(BILLIONTH, at=T0)
    assert not account.admits_new_usage(T0)


def test_a_closed_ledger_affords_and_admits_nothing() -> None:
    account = ledger(overdraft_limit=None)
    lot(account, 10, at=T0)
    account.close(at=hour(1))
    assert not account.can_afford(usd(1), hour(1))
    assert not account.admits_new_usage(hour(1))
    assert account.closed_at == hour(1)
    assert account.auto_recharge_status == "closed"


def test_next_due_is_the_earliest_of_what_time_brings() -> None:
    account = ledger(expiry_notices=(timedelta(days=7),))
    assert account.next_due is None
    lot(account, 10, at=T0, priority=0)
    assert account.next_due is None
    lot(account, 10, at=T0, expires_at=day(30))
    assert account.next_due == day(23)
    lot(account, 10, at=T0, starts_at=day(20))
    assert account.next_due == day(20)
    account.hold("call", usd(1), at=T0, expires_at=hour(5))
    assert account.next_due == hour(5)
    charge = only(account.purchase(usd(50), at=hour(1)), ChargeRequested)
    assert account.next_due == hour(1)
    account.try_charge(charge.charge_id, at=hour(1))
    assert account.next_due == hour(1) + timedelta(minutes=5)


def test_automatic_recharge_is_off_on_or_suspended() -> None:
    account = ledger()
    bought = lot(account, 100, at=T0)
    assert (account.auto_recharge_status, account.recharge_policy) == ("off", None)
    policy = RechargePolicy(usd(20), usd(50))
    account.configure_auto_recharge(policy, at=T0)
    assert (account.auto_recharge_status, account.recharge_policy) == ("on", policy)
    account.refund(bought, usd(1), at=T0)
    assert account.auto_recharge_status == "suspended"
    account.disable_auto_recharge(at=T0)
    assert account.auto_recharge_status == "off"


# The state


def test_a_state_is_what_the_ledger_was_and_stays_so() -> None:
    account = busy_ledger()
    state = account.state()
    available, version = account.available, account.version
    account.consume(usd(1), at=hour(3))
    assert (state.available, state.version) == (available, version)
    assert state.at(hour(3)).available == available


def test_a_state_is_frozen() -> None:
    state = busy_ledger().state()
    with pytest.raises(AttributeError):
        state.version = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        state._books = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        del state._books


def test_states_are_compared_by_all_that_is_kept() -> None:
    account = busy_ledger()
    state = account.state()
    assert state == busy_ledger().state() == account.state()
    assert hash(state) == hash(busy_ledger().state())
    assert len({state, busy_ledger().state()}) == 1
    account.consume(usd(1), at=hour(2))
    assert state != account.state()
    other = busy_ledger()
    other.consume(usd(2), at=hour(2))
    assert (other.version, other.as_of) == (account.version, account.as_of)
    assert other.state() != account.state()
    assert state != "a state"
    assert state != account


def test_a_state_can_be_pickled_and_copied() -> None:
    state = busy_ledger().state()
    for twin in (pickle.loads(pickle.dumps(state)), copy(state), deepcopy(state)):  # noqa: S301  # our own
        assert isinstance(twin, LedgerState)
        assert twin == state
        assert hash(twin) == hash(state)
        assert twin.at(day(9)).available == state.at(day(9)).available


def test_a_state_shows_itself_in_a_line() -> None:
    shown = repr(busy_ledger().state())
    assert "'ledger'" in shown
    assert "25.00 USD" in shown
    assert "\n" not in shown


@given(history=histories(), terms=all_terms())
def test_reading_changes_nothing(history: list[Step], terms: dict[str, Any]) -> None:
    account, _, at = play(ledger(**terms), history)
    before, state = copy(account), account.state()
    for moment in (at, at + timedelta(hours=6), at + timedelta(days=3)):
        for reads in (account, state):
            reads.available_at(moment)
            reads.balance_at(moment)
            reads.can_afford(usd(1), moment)
            reads.recharge_decision(moment)
            reads.expiring(moment)
        state.at(moment).at(moment + timedelta(days=1))
    _ = account.next_due, account.lots, account.totals
    assert account == before
    assert state == before.state()


# Totals and their proof


@given(history=histories(40), terms=all_terms())
def test_all_funds_are_somewhere_to_the_last_unit(history: list[Step], terms: dict[str, Any]) -> None:
    account, events, _ = play(ledger(**terms), history)
    came = gone = 0
    for event in events:
        match event:
            case FundsAdded() | FundsGranted():
                came += in_cents(event.amount)
            case FundsConsumed() | FundsExpired() | FundsRefunded() | FundsClawedBack():
                gone += in_cents(event.amount)
            case ConsumptionReversed() | FundsReinstated():
                gone -= in_cents(event.amount)
    not_started = sum(in_cents(one.remaining) for one in account.lots if one.starts_at > account.as_of)
    assert came - gone == in_cents(account.balance) + in_cents(account.lapsed) + not_started
    free = in_cents(account.available) + in_cents(account.overdraft)
    assert sum(in_cents(one.remaining) for one in account.lots) == free + in_cents(account.lapsed) + not_started
    account.check()
    totals = account.totals
    assert in_cents(totals.funded) == came
    assert in_cents(totals.free) == free
    assert in_cents(totals.not_started) == not_started
    assert totals.consumed == totals.drawn + totals.overdrawn


def test_totals_tell_where_everything_is() -> None:
    account = busy_ledger()
    account.totals.check()
    expected = {"funded": 70, "drawn": 3, "consumed": 3, "free": 20, "held": 5, "lapsed": 2, "not_started": 40}
    names = [field for field in Totals.__slots__ if field != "__weakref__"]
    assert {name: getattr(account.totals, name) for name in names} == {
        name: usd(expected.get(name, 0)) for name in names
    }


@pytest.mark.parametrize(
    "field",
    ["funded", "drawn", "overdrawn", "repaid", "expired", "refunded", "clawed_back", "shortfall", "overdraft"],
)
@pytest.mark.parametrize("by", [1, -1])
def test_a_sum_that_is_wrong_by_a_billionth_is_found(field: str, by: int) -> None:
    account = busy_ledger()
    setattr(account._books, field, getattr(account._books, field) + by)
    with pytest.raises(ConservationError) as caught:
        account.totals.check()
    assert field in caught.value.terms
    assert field in str(caught.value)
    with pytest.raises(ConservationError):
        account.check()


@pytest.mark.parametrize(
    "part", ["amount", "not_started", "free", "held", "lapsed", "drawn", "repaid", "expired", "refunded", "clawed_back"]
)
@pytest.mark.parametrize("by", [1, -1])
def test_a_lot_that_is_wrong_by_a_billionth_is_found(part: str, by: int) -> None:
    account = busy_ledger()
    one = account._books.lots[3]
    setattr(one, part, getattr(one, part) + by)
    with pytest.raises(ConservationError):
        account.check()


def test_two_lots_whose_faults_cancel_out_are_found() -> None:
    account = busy_ledger()
    lots = account._books.lots
    lots[2].free += 1
    lots[3].free -= 1
    account.totals.check()
    with pytest.raises(ConservationError) as caught:
        account.check()
    assert "lot 2" in str(caught.value)


def test_funds_moved_between_parts_of_a_lot_are_found_where_a_hold_knows_better() -> None:
    account = busy_ledger()
    one = account._books.lots[2]
    one.held, one.drawn = one.held - 1, one.drawn + 1
    account._books.held, account._books.drawn = account._books.held - 1, account._books.drawn + 1
    account.totals.check()
    with pytest.raises(ConservationError) as caught:
        account.check()
    assert "held by holds" in caught.value.terms


@pytest.mark.parametrize("kept", ["free", "held", "lapsed", "not_started"])
def test_a_sum_kept_beside_the_lots_that_is_wrong_is_found(kept: str) -> None:
    account = busy_ledger()
    setattr(account._books, kept, getattr(account._books, kept) + 1)
    with pytest.raises(ConservationError):
        account.check()


def test_an_overdraft_beside_free_funds_is_found() -> None:
    account = ledger(overdraft_limit=None)
    lot(account, 10, at=T0)
    for name in ("overdraft", "overdrawn"):
        setattr(account._books, name, 5)
    with pytest.raises(ConservationError) as caught:
        account.totals.check()
    assert set(caught.value.terms) == {"free", "overdraft"}


@given(history=histories(), terms=all_terms(), data=st.data())
def test_any_fault_of_a_billionth_is_found(history: list[Step], terms: dict[str, Any], data: st.DataObject) -> None:
    account, _, _ = play(ledger(**terms), history)
    account.check()
    books = account._books
    faults = [
        (books, name)
        for name in ("funded", "drawn", "overdrawn", "repaid", "expired", "refunded", "clawed_back", "overdraft")
    ]
    faults += [(one, part) for one in books.lots.values() for part in ("free", "held", "lapsed", "drawn", "amount")]
    holder, name = data.draw(st.sampled_from(faults))
    setattr(holder, name, getattr(holder, name) + data.draw(st.sampled_from([1, -1])))
    with pytest.raises(ConservationError):
        account.check()
