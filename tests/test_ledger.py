"""Opening, replaying, restoring; funds and grants; terms; closing; and that what is refused changes nothing."""

from __future__ import annotations

from copy import copy, deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from build import MOMENT, T0, Step, all_terms, day, drawn, histories, hour, kinds, ledger, left, lot, only, play, usd
from commcredits import (
    ChargeRequested,
    ChargeWithdrawn,
    CommCreditsError,
    CurrencyMismatchError,
    Declined,
    FundsAdded,
    FundsConsumed,
    FundsExpired,
    FundsGranted,
    HoldEndedError,
    HoldExistsError,
    InvalidValueError,
    Ledger,
    LedgerClosed,
    LedgerClosedError,
    LedgerOpened,
    Money,
    OpenHoldsError,
    Paid,
    RechargePolicy,
    Terms,
    TermsChanged,
    TimeRunsBackError,
    UnknownChargeError,
    UnknownHoldError,
    UnknownLotError,
    UnknownPaymentMethodError,
    UnreadableRecordError,
    WrongTypeError,
)

NOTHING = usd(0)

# Opening, replaying, restoring


def test_a_new_ledger_has_one_event_and_nothing_in_it() -> None:
    terms = Terms("EUR")
    account = Ledger.open("customer 7", terms, at=hour(1), payment_methods=["card", "bank"])
    assert account.opened == LedgerOpened(
        version=1, at=hour(1), ledger_id="customer 7", terms=terms, payment_methods=("card", "bank")
    )
    assert (account.ledger_id, account.currency, account.terms) == ("customer 7", "EUR", terms)
    assert (account.version, account.as_of, account.payment_methods) == (1, hour(1), ("card", "bank"))
    assert (
        account.balance == account.available == account.held == account.overdraft == account.lapsed == Money(0, "EUR")
    )
    assert (account.lots, account.holds, account.pending_charges, account.next_due) == ((), (), (), None)
    assert ledger().payment_methods == ("default",)


@pytest.mark.parametrize("ledger_id", ["", "x" * 201])
def test_an_id_has_1_to_200_characters(ledger_id: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Ledger.open(ledger_id, Terms("USD"), at=T0)
    assert caught.value.value == ledger_id
    Ledger.open("x" * 200, Terms("USD"), at=T0)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"ledger_id": 5}, WrongTypeError),
        ({"ledger_id": None}, WrongTypeError),
        ({"terms": "USD"}, WrongTypeError),
        ({"terms": None}, WrongTypeError),
        ({"at": datetime(2026, 1, 1)}, InvalidValueError),  # noqa: DTZ001
        ({"at": None}, WrongTypeError),
        ({"payment_methods": "card"}, WrongTypeError),
        ({"payment_methods": None}, WrongTypeError),
        ({"payment_methods": 5}, WrongTypeError),
        ({"payment_methods": [5]}, WrongTypeError),
        ({"payment_methods": [""]}, InvalidValueError),
        ({"payment_methods": ["card", "card"]}, InvalidValueError),
    ],
)
def test_a_ledger_is_not_opened_on_bad_arguments(changed: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Ledger.open(**({"ledger_id": "ledger", "terms": Terms("USD"), "at": T0} | changed))


@given(history=histories(), terms=all_terms(), wait=st.integers(0, 80))
def test_a_replay_until_a_time_is_the_ledger_of_then(history: list[Step], terms: dict[str, Any], wait: int) -> None:
    account, events, _ = play(ledger(**terms), history)
    then = Ledger.replay(events, until=hour(wait))
    assert then == Ledger.replay([event for event in events if event.at <= hour(wait)])
    assert then.as_of <= hour(wait)
    assert Ledger.replay(events, until=account.as_of) == account


def test_a_replay_includes_the_very_instant() -> None:
    account = ledger()
    events = [account.opened, *account.add_funds(usd(1), at=day(1))]
    assert Ledger.replay(events, until=day(1)).available == usd(1)
    assert Ledger.replay(events, until=day(1) - MOMENT).available == NOTHING
    with pytest.raises(InvalidValueError):
        Ledger.replay(events, until=datetime(2026, 1, 2))  # noqa: DTZ001


def test_a_history_with_gaps_or_without_a_beginning_is_unreadable() -> None:
    account = ledger()
    events = [account.opened, *account.add_funds(usd(1), at=T0), *account.add_funds(usd(2), at=T0)]
    renumbered = LedgerOpened(version=2, at=T0, ledger_id="ledger", terms=Terms("USD"), payment_methods=())
    state = account.state()
    broken: list[Any] = [
        lambda: Ledger.replay([]),
        lambda: Ledger.replay(events[1:]),
        lambda: Ledger.replay([events[0], events[2]]),
        lambda: Ledger.replay([*events, events[2]]),
        lambda: Ledger.replay(events, until=T0 - MOMENT),
        lambda: Ledger.replay([renumbered]),
        lambda: Ledger.replay([events[0], renumbered]),
        lambda: Ledger.replay([events[0], "an event"]),  # type: ignore[list-item]
        lambda: Ledger.replay(["an event"], until=T0),  # type: ignore[list-item]
        lambda: Ledger.restore(state, [events[2]]),
    ]
    for read in broken:
        with pytest.raises(UnreadableRecordError):
            read()


def test_a_ledger_is_restored_from_a_state_only() -> None:
    account = ledger()
    state = account.state()
    added = account.add_funds(usd(1), at=T0)
    assert Ledger.restore(state, added) == account
    assert Ledger.restore(account.state()) == account
    with pytest.raises(WrongTypeError):
        Ledger.restore(account)  # type: ignore[arg-type]


def test_a_restored_ledger_does_not_share_with_its_state() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    state = account.state()
    Ledger.restore(state).consume(usd(4), at=T0)
    assert state.available == usd(10)


def test_ledgers_are_equal_in_the_same_state_and_not_hashable() -> None:
    one, other = ledger(), ledger()
    assert one == other
    one.add_funds(usd(1), at=T0)
    assert one != other
    other.add_funds(usd(1), at=T0)
    assert one == other
    assert one != "a ledger"
    with pytest.raises(TypeError):
        hash(one)
    assert "'ledger'" in repr(one)
    assert "1.00 USD" in repr(one)


@pytest.mark.parametrize("copier", [copy, deepcopy])
def test_a_copy_goes_its_own_way(copier: Any) -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(1), at=T0, expires_at=hour(1))
    twin = copier(account)
    assert twin == account
    twin.capture("call", at=T0)
    assert (account.available, account.held) == (usd(9), usd(1))


# Funds and grants


def test_funds_that_were_received_are_there_at_once() -> None:
    account = ledger()
    (added,) = account.add_funds(usd(10), at=hour(1), reference="wire 1")
    assert added == FundsAdded(
        version=2,
        at=hour(1),
        lot_id=2,
        amount=usd(10),
        starts_at=hour(1),
        expires_at=datetime(2027, 1, 1, 1, tzinfo=UTC),
        charge_id=None,
        reference="wire 1",
    )
    (bought,) = account.lots
    assert (bought.purchased, bought.priority, bought.added_at) == (True, 0, hour(1))


def test_bought_funds_last_as_long_as_the_terms_say() -> None:
    for valid, expires in (
        (relativedelta(months=1), datetime(2026, 2, 1, tzinfo=UTC)),
        (timedelta(days=30), day(30)),
        (None, None),
    ):
        assert only(ledger(funds_valid_for=valid).add_funds(usd(1), at=T0), FundsAdded).expires_at == expires


def test_a_grant_is_spendable_from_its_start_and_for_ever_unless_it_says_otherwise() -> None:
    account = ledger()
    (granted,) = account.grant(usd(10), at=hour(1))
    assert granted == FundsGranted(
        version=2, at=hour(1), lot_id=2, amount=usd(10), starts_at=hour(1), expires_at=None, priority=0
    )
    (granted,) = account.grant(usd(10), at=hour(1), starts_at=hour(2), expires_at=hour(3), priority=-4)
    assert (granted.starts_at, granted.expires_at, granted.priority) == (hour(2), hour(3), -4)
    assert account.available == usd(10)
    assert not account.lots[0].purchased
    assert left(account) == {3: usd(10), 2: usd(10)}


def test_a_grant_starts_not_before_it_is_given_and_expires_after_its_start() -> None:
    account = ledger()
    lot(account, 1, at=hour(1))
    before = copy(account)
    for wrong in (
        {"starts_at": hour(1) - MOMENT},
        {"expires_at": hour(1)},
        {"expires_at": T0},
        {"starts_at": hour(2), "expires_at": hour(2)},
    ):
        with pytest.raises(InvalidValueError):
            account.grant(usd(1), at=hour(1), **wrong)
        assert account == before
    forgiven = hour(1) - timedelta(minutes=4)
    granted = only(account.grant(usd(1), at=forgiven, starts_at=forgiven), FundsGranted)
    assert (granted.at, granted.starts_at) == (hour(1), hour(1))


@given(
    bought=st.lists(st.datetimes(datetime(2023, 9, 1), datetime(2026, 4, 1), timezones=st.just(UTC)), min_size=2),  # noqa: DTZ001
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    months=st.integers(1, 24),
)
def test_a_later_purchase_never_expires_earlier(bought: list[datetime], zone: str, months: int) -> None:
    account = ledger(at=datetime(2023, 9, 1, tzinfo=UTC), funds_valid_for=relativedelta(months=months), time_zone=zone)
    added = [event for at in sorted(bought) for event in account.add_funds(usd(1), at=at) if type(event) is FundsAdded]
    ends = [event.expires_at for event in added]
    assert ends == sorted(ends)
    assert len(ends) == len(bought)
    account.check()


# Terms


def test_new_terms_leave_expiries_already_given() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    terms = Terms("USD", funds_valid_for=timedelta(days=1), overdraft_limit=usd(5), expiry_notices=())
    assert account.change_terms(terms, at=T0) == (TermsChanged(version=3, at=T0, terms=terms),)
    lot(account, 10, at=T0)
    assert [one.expires_at for one in account.lots] == [day(1), datetime(2027, 1, 1, tzinfo=UTC)]
    account.consume(usd(25), at=T0)
    assert account.overdraft == usd(5)


def test_the_same_terms_record_nothing() -> None:
    account = ledger()
    assert account.change_terms(Terms("USD", expiry_notices=()), at=day(1)) == ()
    assert account == ledger()


def test_the_currency_never_changes() -> None:
    account = ledger()
    with pytest.raises(CurrencyMismatchError) as caught:
        account.change_terms(Terms("EUR"), at=T0)
    assert (caught.value.expected, caught.value.actual) == ("USD", "EUR")


def test_terms_that_the_recharge_policy_does_not_fit_are_refused() -> None:
    account = ledger()
    lot(account, 100, at=T0)
    account.configure_auto_recharge(RechargePolicy(usd(20), usd(30)), at=T0)
    before = copy(account)
    with pytest.raises(InvalidValueError) as caught:
        account.change_terms(Terms("USD", minimum_purchase=usd(50)), at=T0)
    assert caught.value.value == usd(30)
    assert account == before


# Closing


def test_a_ledger_with_open_holds_is_not_closed() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(1), at=T0, expires_at=hour(1))
    before = copy(account)
    with pytest.raises(OpenHoldsError) as caught:
        account.close(at=hour(1) - MOMENT)
    assert caught.value.hold_ids == ("call",)
    assert account == before
    assert kinds(account.close(at=hour(1)))[:2] == ["HoldReleased", "LedgerClosed"]


def test_closing_suspends_automatic_recharge_and_withdraws_what_was_not_tried() -> None:
    account = ledger()
    account.configure_auto_recharge(RechargePolicy(usd(20), usd(50)), at=T0)
    account.purchase(usd(60), at=T0)
    events = account.close(at=hour(1))
    assert kinds(events)[0] == "LedgerClosed"
    assert {event.reason for event in events if isinstance(event, ChargeWithdrawn)} == {"closed"}
    assert "AutoRechargeSuspended" in kinds(events)
    assert account.pending_charges == ()
    assert account.recharge_decision(hour(1)).reason == "closed"


def test_a_closed_ledger_takes_no_funds_and_expiry_goes_on() -> None:
    account = ledger(late_usage_grace=timedelta(hours=1))
    old = lot(account, 10, at=T0, expires_at=day(1))
    tried = only(account.purchase(usd(50), at=T0), ChargeRequested).charge_id
    account.try_charge(tried, at=T0)
    assert account.close(at=hour(1)) == (LedgerClosed(version=5, at=hour(1)),)
    policy = RechargePolicy(usd(20), usd(50))
    refused = [
        lambda: account.add_funds(usd(1), at=hour(2)),
        lambda: account.grant(usd(1), at=hour(2)),
        lambda: account.purchase(usd(50), at=hour(2)),
        lambda: account.hold("call", usd(1), at=hour(2), expires_at=hour(3)),
        lambda: account.configure_auto_recharge(policy, at=hour(2)),
        lambda: account.resume_auto_recharge(at=hour(2)),
        lambda: account.change_payment_methods("other", at=hour(2)),
        lambda: account.change_terms(Terms("USD"), at=hour(2)),
        lambda: account.request_recharge(usd(1), at=hour(2)),
        lambda: account.close(at=hour(2)),
    ]
    before = copy(account)
    for command in refused:
        with pytest.raises(LedgerClosedError) as caught:
            command()
        assert caught.value.closed_at == hour(1)
        assert account == before
    assert account.disable_auto_recharge(at=hour(2)) == ()
    # A charge that turns out paid still adds its funds.
    paid = account.record_outcome(tried, Paid(), at=hour(2))
    assert only(paid, FundsAdded).amount == usd(50)
    assert account.available == usd(60)
    usage = only(account.consume(usd(4), at=hour(3), occurred_at=hour(0.5)), FundsConsumed)
    assert drawn(usage) == [(old, usd(4))]
    assert only(account.advance(at=day(2)), FundsExpired).amount == usd(6)


# What is refused changes nothing

NOTHING_AT_ALL = (None, 1.5, 7, "7", b"7", Decimal(7), [], object)


def wrong(*but: type) -> st.SearchStrategy[tuple[object, type[Exception]]]:
    """Values that are of none of these types."""
    others = [value for value in NOTHING_AT_ALL if not isinstance(value, but)]
    floats = st.floats() if float not in but else st.nothing()
    return st.one_of(st.sampled_from(others), floats).map(lambda value: (value, WrongTypeError))


def bad(error: type[Exception], *values: object) -> st.SearchStrategy[tuple[object, type[Exception]]]:
    return st.sampled_from([(value, error) for value in values])


NONE = type(None)
EUROS = bad(CurrencyMismatchError, Money(1, "EUR"), Money("0.001", "EUR"), Money(-1, "EUR"))
NEGATIVE = st.integers(-(10**20), -1).map(lambda amount: (Money.from_minor(amount, "USD"), InvalidValueError))
ZERO = bad(InvalidValueError, NOTHING)
TOO_FINE = bad(InvalidValueError, usd("0.001"), usd("1.000000001"))
NAIVE = bad(InvalidValueError, datetime(2026, 1, 1, 1), datetime.max, datetime(8000, 1, 1, tzinfo=UTC))  # noqa: DTZ001, DTZ901
NO_TEXT = wrong(str)
NO_NAME = wrong(str) | bad(InvalidValueError, "", "x" * 201, "a\0b", "\ud800")
NO_LOT = wrong(int) | bad(WrongTypeError, True) | bad(UnknownLotError, 0, 1, -1, 10**30)
NO_TIME = wrong(datetime, NONE) | NAIVE
EUROS_USED = FundsConsumed(
    version=4, at=T0, amount=Money(1, "EUR"), draws=(), overdrawn=Money(0, "EUR"), occurred_at=T0
)

BAD: dict[str, dict[str, st.SearchStrategy[tuple[object, type[Exception]]]]] = {
    "add_funds": {"amount": wrong() | EUROS | NEGATIVE | ZERO, "reference": NO_TEXT},
    "purchase": {
        "amount": wrong() | EUROS | NEGATIVE | ZERO | TOO_FINE,
        "payment_method": bad(UnknownPaymentMethodError, "other", "") | bad(CommCreditsError, 5, []),
        "reference": NO_TEXT,
    },
    "grant": {
        "amount": wrong() | EUROS | NEGATIVE | ZERO,
        "starts_at": NO_TIME | bad(InvalidValueError, T0),
        "expires_at": NO_TIME | bad(InvalidValueError, T0, hour(1)),
        "priority": wrong(int) | bad(WrongTypeError, True),
    },
    "consume": {
        "amount": wrong() | EUROS | NEGATIVE,
        "occurred_at": NO_TIME | bad(InvalidValueError, hour(3) + MOMENT, day(9)),
        "kind": NO_TEXT,
        "description": NO_TEXT,
    },
    "hold": {
        "hold_id": NO_NAME | bad(HoldExistsError, "open", "ended"),
        "amount": wrong() | EUROS | NEGATIVE | ZERO,
        "expires_at": wrong(datetime) | NAIVE | bad(InvalidValueError, T0, hour(1), day(9)),
    },
    "extend_hold": {
        "hold_id": NO_NAME | bad(UnknownHoldError, "other") | bad(HoldEndedError, "ended"),
        "add": wrong(NONE) | EUROS | NEGATIVE | ZERO,
        "expires_at": NO_TIME | bad(InvalidValueError, T0, hour(1), hour(20) - MOMENT, hour(24) + MOMENT),
    },
    "capture": {
        "hold_id": NO_NAME | bad(UnknownHoldError, "other") | bad(HoldEndedError, "ended"),
        "amount": wrong(NONE) | EUROS | NEGATIVE,
        "final": wrong(bool),
        "occurred_at": NO_TIME | bad(InvalidValueError, hour(3) + MOMENT),
        "kind": NO_TEXT,
        "description": NO_TEXT,
    },
    "release": {"hold_id": NO_NAME | bad(UnknownHoldError, "other") | bad(HoldEndedError, "ended")},
    "configure_auto_recharge": {
        "policy": wrong() | bad(CurrencyMismatchError, RechargePolicy(Money(1, "EUR"), Money(1, "EUR")))
    },
    "disable_auto_recharge": {},
    "resume_auto_recharge": {},
    "try_charge": {"charge_id": NO_NAME | bad(UnknownChargeError, "other")},
    "record_outcome": {
        "charge_id": NO_NAME | bad(UnknownChargeError, "other"),
        "outcome": wrong() | bad(WrongTypeError, Paid, Declined),
    },
    "request_recharge": {"refused": wrong() | EUROS | NEGATIVE | ZERO},
    "reverse_consumption": {
        "consumption": wrong() | bad(CurrencyMismatchError, EUROS_USED),
        "amount": wrong(NONE) | EUROS | NEGATIVE | ZERO,
    },
    "refund": {
        "lot_id": NO_LOT | bad(InvalidValueError, 3),
        "amount": wrong() | EUROS | NEGATIVE | ZERO | TOO_FINE,
    },
    "claw_back": {"lot_id": NO_LOT | bad(InvalidValueError, 3), "amount": wrong() | EUROS | NEGATIVE | ZERO},
    "reinstate": {"lot_id": NO_LOT | bad(InvalidValueError, 3), "amount": wrong() | EUROS | NEGATIVE | ZERO},
    "change_terms": {"terms": wrong() | bad(CurrencyMismatchError, Terms("EUR"))},
    "advance": {},
    "close": {},
}
EVERYWHERE = {
    "at": wrong(datetime) | NAIVE | bad(TimeRunsBackError, hour(1) - timedelta(minutes=5) - MOMENT, day(-400)),
    "idempotency_key": wrong(str, NONE) | bad(InvalidValueError, "", "x" * 201, "a\0b", "\ud800"),
}


def subject(*, due: bool) -> tuple[Ledger, dict[str, dict[str, Any]]]:
    """A ledger, and for each of its commands arguments that it takes; `due`: at a time when something fell due."""
    account = ledger()
    bought = lot(account, 100, at=T0)
    lot(account, 10, at=T0, expires_at=hour(2))
    usage = only(account.consume(usd(20), at=T0), FundsConsumed)
    account.claw_back(bought, usd(5), at=T0)
    account.hold("open", usd(5), at=T0, expires_at=hour(20))
    account.hold("ended", usd(5), at=T0, expires_at=hour(20))
    account.release("ended", at=T0)
    charge_id = only(account.purchase(usd(50), at=hour(1)), ChargeRequested).charge_id
    at = hour(3) if due else hour(1)
    of_charge, of_lot = {"charge_id": charge_id}, {"lot_id": bought, "amount": usd(1)}
    given_first: dict[str, dict[str, Any]] = {
        "add_funds": {"amount": usd(1)},
        "purchase": {"amount": usd(1)},
        "grant": {"amount": usd(1)},
        "consume": {"amount": usd(1)},
        "hold": {"hold_id": "new", "amount": usd(1), "expires_at": at + timedelta(hours=1)},
        "extend_hold": {"hold_id": "open", "add": usd(1)},
        "capture": {"hold_id": "open", "amount": usd(1)},
        "release": {"hold_id": "open"},
        "configure_auto_recharge": {"policy": RechargePolicy(usd(20), usd(50))},
        "try_charge": of_charge,
        "record_outcome": of_charge | {"outcome": Paid("p 1")},
        "request_recharge": {"refused": usd(1)},
        "reverse_consumption": {"consumption": usage},
        "refund": of_lot,
        "claw_back": of_lot,
        "reinstate": of_lot,
        "change_terms": {"terms": Terms("USD")},
    }
    return account, {command: {"at": at} | given_first.get(command, {}) for command in BAD}


def says(error: Exception, value: object) -> bool:
    """Whether the message names the value, or of Money of another currency at least that."""
    if isinstance(error, CurrencyMismatchError):
        return "EUR" in str(error)
    if isinstance(error, TimeRunsBackError):
        return str(value).replace(" ", "T") in str(error)
    return repr(value)[:70] in str(error)


@pytest.mark.parametrize("due", [False, True], ids=["nothing due", "after something fell due"])
@pytest.mark.parametrize("command", BAD)
@settings(max_examples=30)
@given(data=st.data())
def test_a_bad_argument_raises_its_error_and_leaves_the_ledger_as_it_was(
    command: str, due: bool, data: st.DataObject
) -> None:
    account, commands = subject(due=due)
    before = copy(account)
    due_before = account.next_due
    for parameter, values in (BAD[command] | EVERYWHERE).items():
        value, error = data.draw(values, label=parameter)
        with pytest.raises(error) as caught:
            getattr(account, command)(**(commands[command] | {parameter: value}))
        assert isinstance(caught.value, CommCreditsError)
        assert says(caught.value, value)
        assert account == before
        assert account.state() == before.state()
        assert (account.next_due, account.available) == (due_before, before.available)
    if command != "close":  # which the open hold forbids
        assert getattr(account, command)(**commands[command]) == getattr(before, command)(**commands[command])
        assert account == before


@given(
    case=st.one_of(
        wrong(str),
        bad(InvalidValueError, "", "x" * 201),
        bad(InvalidValueError, "card"),  # twice
    )
)
def test_payment_methods_are_distinct_names(case: tuple[object, type[Exception]]) -> None:
    value, error = case
    account = ledger()
    with pytest.raises(error):
        account.change_payment_methods("card", value, at=T0)  # type: ignore[arg-type]
    assert account == ledger()


EARLIER = "record_outcome reverse_consumption refund claw_back reinstate capture release extend_hold".split()


@pytest.mark.parametrize("command", EARLIER)
@pytest.mark.parametrize("known", [False, True])
def test_what_is_told_of_earlier_events_is_events_needed_or_not(command: str, known: bool) -> None:
    account, commands = subject(due=True)
    before = copy(account)
    unknown = {"charge_id": "other", "lot_id": 77, "hold_id": "other"}
    given_first = commands[command]
    if not known:
        given_first |= {name: value for name, value in unknown.items() if name in given_first}
    for earlier in (None, 5, "events", [account.opened, 5]):
        with pytest.raises(WrongTypeError, match="earlier"):
            getattr(account, command)(**given_first, earlier=earlier)
        assert account == before


def test_usage_of_another_ledger_cannot_take_more_back_than_was_drawn_here() -> None:
    other = ledger()
    lot(other, 10, at=T0)
    usage = only(other.consume(usd(5), at=T0), FundsConsumed)
    account = ledger()
    lot(account, 10, at=T0)
    lot(account, 10, at=T0)
    with pytest.raises(CommCreditsError):
        account.reverse_consumption(usage, at=T0)
    account.check()
