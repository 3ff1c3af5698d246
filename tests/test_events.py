"""Events: facts that cannot be changed, compared by all they say, and survive copying, pickling and printing."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given

import commcredits
from commcredits import (
    AlertRaised,
    ChargeDeclined,
    ChargePaid,
    ChargeTried,
    Draw,
    Event,
    FundsAdded,
    FundsConsumed,
    Ledger,
    LedgerClosed,
    LedgerOpened,
    Money,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
    WrongTypeError,
)
from commcredits.events import values_of
from commcredits.testing.strategies import histories
from desk import HOUR, MOMENT, OPENED, Desk, topping_up, usd

KINDS = sorted(Event.__subclasses__(), key=lambda kind: kind.__name__)
COMMON = ("version", "at", "idempotency_key", "digest")
NAMES = {
    **{kind.__name__: kind for kind in KINDS},
    **{kind.__name__: kind for kind in (Draw, Money, RechargeLimit, RechargePolicy, RetryPolicy, Terms, Threshold)},
    "datetime": dt,
    "relativedelta": relativedelta,
}

# The facts that each kind of event carries beyond those that all of them do.
FIELDS = {
    "LedgerOpened": "ledger_id terms payment_methods",
    "TermsChanged": "terms",
    "PaymentMethodsChanged": "payment_methods",
    "LedgerClosed": "",
    "FundsAdded": "lot_id amount starts_at expires_at charge_id reference",
    "FundsGranted": "lot_id amount starts_at expires_at priority",
    "FundsStarted": "lot_id amount",
    "FundsLapsed": "lot_id amount",
    "FundsExpiring": "lot_id amount expires_at",
    "FundsExpired": "lot_id amount",
    "OverdraftRepaid": "lot_id amount",
    "FundsConsumed": "amount draws overdrawn occurred_at kind description hold_id",
    "ConsumptionReversed": "consumption amount draws overdrawn unrepaid",
    "FundsRefunded": "lot_id amount",
    "FundsClawedBack": "lot_id amount shortfall",
    "FundsReinstated": "lot_id amount shortfall unrepaid",
    "FundsHeld": "hold_id amount draws expires_at",
    "HoldExtended": "hold_id amount draws expires_at",
    "HoldReleased": "hold_id amount draws reason",
    "ChargeRequested": "charge_id amount payment_method purpose attempt reference refused",
    "ChargeTried": "charge_id",
    "ChargeProcessing": "charge_id reference",
    "ChargePaid": "charge_id amount payment_method reference",
    "ChargeDeclined": "charge_id amount payment_method reason retryable retry_at given_up",
    "ChargeWithdrawn": "charge_id reason",
    "ChargeUnresolved": "charge_id amount payment_method",
    "AutoRechargeConfigured": "policy",
    "AutoRechargeDisabled": "",
    "AutoRechargeSuspended": "reason",
    "AutoRechargeResumed": "reason",
    "RechargeLimitReached": "limit amount until",
    "BalanceDepleted": "balance",
    "BalanceRestored": "balance",
    "AlertRaised": "threshold available",
}


TAKEN: dict[str, Any] = {"amount": Money("50", "USD"), "payment_method": "card"}


def paid(**changes: Any) -> ChargePaid:
    values = {"version": 7, "at": OPENED, "charge_id": "desk:2:x", "reference": "stripe 1", **TAKEN, **changes}
    return ChargePaid(**values)


def test_the_kinds_of_events_and_their_facts_are_these() -> None:
    assert {kind.__name__: " ".join(kind.fields[4:]) for kind in KINDS} == FIELDS
    assert {kind.fields[:4] for kind in KINDS} == {COMMON}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_importable_and_says_what_happened(kind: type[Event]) -> None:
    assert getattr(commcredits, kind.__name__) is kind
    assert kind.__name__ in commcredits.__all__
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_event_is_built_from_keywords_and_gives_them_back(kind: type[Event]) -> None:
    values = {name: f"value of {name}" for name in kind.fields}
    event = kind(**values)
    assert {name: getattr(event, name) for name in kind.fields} == values_of(event) == values


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_value_that_is_missing_or_unknown_is_refused_by_name(kind: type[Event]) -> None:
    values = dict.fromkeys(kind.fields)
    with pytest.raises(WrongTypeError, match="colour"):
        kind(**values, colour="red")
    for name in set(kind.fields) - set(kind.defaults):
        with pytest.raises(WrongTypeError, match=kind.__name__):
            kind(**{field: value for field, value in values.items() if field != name})


def test_an_event_takes_nothing_by_place() -> None:
    with pytest.raises(TypeError):
        ChargeTried(1, OPENED)


def test_key_and_digest_are_none_unless_given_and_other_defaults_are_empty() -> None:
    event = ChargePaid(version=1, at=OPENED, charge_id="x", **TAKEN)
    assert (event.idempotency_key, event.digest, event.reference) == (None, None, "")
    declined = ChargeDeclined(version=1, at=OPENED, charge_id="x", reason="no", retryable=True, **TAKEN)
    assert (declined.retry_at, declined.given_up) == (None, False)


def test_an_event_is_immutable() -> None:
    event = paid()
    for name in (*ChargePaid.fields, "_values", "colour"):
        with pytest.raises(AttributeError, match=name):
            setattr(event, name, None)
    for name in ChargePaid.fields:
        with pytest.raises(AttributeError, match=name):
            delattr(event, name)
    assert event == paid()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 8},
        {"at": OPENED + MOMENT},
        {"idempotency_key": "k"},
        {"digest": "d"},
        {"charge_id": "desk:3:x"},
        {"reference": ""},
    ],
)
def test_events_are_equal_when_all_they_say_is(changes: dict[str, Any]) -> None:
    assert paid() == paid()
    assert hash(paid()) == hash(paid())
    assert paid(**changes) != paid()
    assert {paid(), paid(**changes), paid()} == {paid(), paid(**changes)}


def test_events_of_two_kinds_are_never_equal_and_nothing_else_is_equal_to_an_event() -> None:
    common = {"version": 1, "at": OPENED}
    assert LedgerClosed(**common) != commcredits.AutoRechargeDisabled(**common)
    assert LedgerClosed(**common) != tuple(common.values())
    assert LedgerClosed(**common) != common


def test_an_event_shows_itself_as_code() -> None:
    assert repr(LedgerClosed(version=3, at=datetime(2024, 1, 1, tzinfo=UTC))) == (
        "LedgerClosed(version=3, at=datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc),"
        " idempotency_key=None, digest=None)"
    )


def test_a_digest_is_made_when_it_is_asked_for_and_is_text_from_then_on() -> None:
    (event,) = Desk().do("consume", usd(1), idempotency_key="k")
    assert isinstance(event.digest, str)
    assert len(event.digest) == 32
    assert event == FundsConsumed(**values_of(event))
    assert event != FundsConsumed(**{**values_of(event), "digest": None})


def test_the_key_and_the_digest_are_on_the_first_event_of_the_command_only() -> None:
    desk = Desk(funds=50)
    desk.do("configure_auto_recharge", topping_up())
    events = desk.do("consume", usd(45), idempotency_key="call 1")
    assert len(events) == 2
    assert [event.idempotency_key for event in events] == ["call 1", None]
    assert [event.digest is None for event in events] == [False, True]


def test_what_fell_due_before_the_command_does_not_bear_its_key() -> None:
    desk = Desk(funds=50, funds_valid_for=timedelta(days=1), expiry_notices=[HOUR])
    events = desk.do("grant", usd(5), after=timedelta(days=2), idempotency_key="gift")
    assert [(type(event).__name__, event.idempotency_key) for event in events][:3] == [
        ("FundsExpiring", None),
        ("FundsExpired", None),
        ("FundsGranted", "gift"),
    ]


def test_without_a_key_there_is_no_digest() -> None:
    assert Desk().do("consume", usd(1))[0].digest is None


def test_the_time_of_an_event_is_in_utc_whatever_it_was_given_in() -> None:
    berlin = dt.timezone(timedelta(hours=2))
    ledger = Ledger.open("desk", Terms("USD"), at=OPENED.astimezone(berlin))
    (event,) = ledger.add_funds(usd(5), at=OPENED.astimezone(berlin))
    assert event.at == OPENED
    assert event.at.tzinfo is UTC
    assert ledger.opened.at.tzinfo is UTC


def test_values_within_an_event_cannot_be_changed_either() -> None:
    event = Desk().do("consume", usd(30))[0]
    assert isinstance(event, FundsConsumed)
    assert isinstance(event.draws, tuple)
    assert event.draws == (Draw(2, usd(30)),)
    hash((event.draws, event.amount, AlertRaised(version=1, at=OPENED, threshold=Threshold(usd(1)), available=usd(0))))


@given(events=histories())
def test_every_event_of_a_history_survives_pickling_copying_and_printing(events: tuple[Event, ...]) -> None:
    for event in events:
        assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - written one call before
        assert copy.copy(event) == copy.deepcopy(event) == event
        assert hash(copy.copy(event)) == hash(event)
        assert eval(repr(event), dict(NAMES)) == event  # noqa: S307 - the repr is code


@given(events=histories())
def test_events_are_numbered_without_a_gap_and_time_never_runs_back(events: tuple[Event, ...]) -> None:
    assert isinstance(events[0], LedgerOpened)
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert all(one.at <= two.at for one, two in pairwise(events))


@given(events=histories())
def test_a_key_is_on_one_event_only_and_never_without_its_digest(events: tuple[Event, ...]) -> None:
    keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
    assert len(keys) == len(set(keys))
    assert all((event.idempotency_key is None) is (event.digest is None) for event in events)


@given(events=histories())
def test_a_lot_is_named_by_the_version_of_the_event_that_made_it(events: tuple[Event, ...]) -> None:
    for event in events:
        if type(event).__name__ in ("FundsAdded", "FundsGranted"):
            assert event.lot_id == event.version
    made = {event.version for event in events if type(event).__name__ in ("FundsAdded", "FundsGranted")}
    named = {draw.lot_id for event in events for draw in getattr(event, "draws", ())}
    assert named <= made
    assert isinstance(events[1], FundsAdded)
