"""Events and states to and from plain JSON types: nothing lost, nothing read that was not written so, and for ever."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given

from commcredits import (
    AlertRaised,
    AutoRechargeConfigured,
    AutoRechargeDisabled,
    AutoRechargeResumed,
    AutoRechargeSuspended,
    BalanceDepleted,
    BalanceRestored,
    ChargeDeclined,
    ChargePaid,
    ChargeProcessing,
    ChargeRequested,
    ChargeTried,
    ChargeUnresolved,
    ChargeWithdrawn,
    CommCreditsError,
    ConsumptionReversed,
    Declined,
    Draw,
    Event,
    FundsAdded,
    FundsClawedBack,
    FundsConsumed,
    FundsExpired,
    FundsExpiring,
    FundsGranted,
    FundsHeld,
    FundsLapsed,
    FundsRefunded,
    FundsReinstated,
    FundsStarted,
    HoldExtended,
    HoldReleased,
    Ledger,
    LedgerClosed,
    LedgerOpened,
    LedgerState,
    Money,
    OverdraftRepaid,
    PaymentMethodsChanged,
    Processing,
    RechargeLimit,
    RechargeLimitReached,
    RechargePolicy,
    RetryPolicy,
    Terms,
    TermsChanged,
    Threshold,
    UnreadableRecordError,
)
from commcredits.codec import (
    STATE_FORMAT,
    event_from_json,
    event_to_json,
    event_to_text,
    state_from_json,
    state_to_json,
)
from commcredits.testing.strategies import histories
from desk import DAY, HOUR, MINUTE, OPENED, Desk, topping_up, usd

GOLDEN = Path(__file__).parent / "data" / "events_v1.json"

TERMS = Terms(
    "USD",
    funds_valid_for=relativedelta(months=18, days=2, hours=3),
    minimum_purchase=usd(50),
    purchase_step=usd(5),
    overdraft_limit=usd("0.000000001"),
    late_usage_grace=2 * DAY,
    hold_valid_for=12 * HOUR,
    time_zone="Europe/Berlin",
    alert_thresholds=[usd(20), Threshold(usd(5), inclusive=True)],
    expiry_notices=[30 * DAY, timedelta(microseconds=1)],
    clock_skew=MINUTE,
    unknown_delay=10 * MINUTE,
    key_valid_for=23 * HOUR,
    processing_for=71 * HOUR,
)
BARE = Terms(
    "JPY",
    funds_valid_for=None,
    overdraft_limit=None,
    hold_valid_for=None,
    key_valid_for=None,
    processing_for=None,
    expiry_notices=(),
)
POLICY = RechargePolicy(
    Threshold(usd(10), inclusive=True),
    usd(25),
    in_multiples=True,
    limits=[
        RechargeLimit(amount=usd(500)),
        RechargeLimit(count=2, per="day"),
        RechargeLimit(amount=usd(300), count=9, per="week"),
    ],
    retry=RetryPolicy((HOUR, DAY)),
    recharge_when_refused=True,
)
DRAWS = (Draw(2, usd("1.234567891")), Draw(7, usd(3)))
CHARGE = "acme:9:20240301T120000000001Z"
TAKEN = {"amount": usd(50), "payment_method": "card"}


def every_kind() -> list[Event]:
    """One event of every kind at least, with every field different from its default at least once."""
    at = datetime(2024, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
    keyed = {"idempotency_key": "order 7 – été", "digest": "0123456789abcdef0123456789abcdef"}
    facts: list[tuple[type[Event], dict[str, Any]]] = [
        (LedgerOpened, {"ledger_id": "acme", "terms": TERMS, "payment_methods": ("card", "bank")}),
        (LedgerOpened, {"ledger_id": "a" * 200, "terms": BARE, "payment_methods": ()}),
        (TermsChanged, {"terms": Terms.microsoft_teams("EUR"), **keyed}),
        (TermsChanged, {"terms": Terms("USD", funds_valid_for=timedelta(days=90))}),
        (PaymentMethodsChanged, {"payment_methods": ("bank",)}),
        (LedgerClosed, keyed),
        (FundsAdded, {"lot_id": 8, "amount": usd(50), "starts_at": at, "expires_at": at + DAY, **keyed}),
        (
            FundsAdded,
            {
                "lot_id": 9,
                "amount": usd("0.000000001"),
                "starts_at": at,
                "expires_at": None,
                "charge_id": CHARGE,
                "reference": "r",
            },
        ),
        (
            FundsGranted,
            {"lot_id": 10, "amount": usd(5), "starts_at": at + DAY, "expires_at": at + 9 * DAY, "priority": -3},
        ),
        (FundsGranted, {"lot_id": 11, "amount": usd(5), "starts_at": at, "expires_at": None}),
        (FundsStarted, {"lot_id": 10, "amount": usd(5)}),
        (FundsLapsed, {"lot_id": 10, "amount": usd("4.5")}),
        (FundsExpiring, {"lot_id": 10, "amount": usd(5), "expires_at": at + 30 * DAY}),
        (FundsExpired, {"lot_id": 10, "amount": usd("4.5")}),
        (OverdraftRepaid, {"lot_id": 8, "amount": usd("0.01")}),
        (
            FundsConsumed,
            {
                "amount": usd("6.234567891"),
                "draws": DRAWS,
                "overdrawn": usd(2),
                "occurred_at": at - HOUR,
                "kind": "call",
                "description": 'to "Berlin"\n',
                "hold_id": "call 1",
                **keyed,
            },
        ),
        (FundsConsumed, {"amount": usd(0), "draws": (), "overdrawn": usd(0), "occurred_at": at}),
        (
            ConsumptionReversed,
            {
                "consumption": 16,
                "amount": usd(3),
                "draws": DRAWS[1:],
                "overdrawn": usd(2),
                "unrepaid": (Draw(0, usd(1)),),
            },
        ),
        (FundsRefunded, {"lot_id": 8, "amount": usd(1)}),
        (FundsClawedBack, {"lot_id": 8, "amount": usd(40), "shortfall": usd("10.5")}),
        (FundsReinstated, {"lot_id": 8, "amount": usd(40), "shortfall": usd("10.5"), "unrepaid": DRAWS}),
        (FundsHeld, {"hold_id": "call 2", "amount": usd("4.234567891"), "draws": DRAWS, "expires_at": at + HOUR}),
        (HoldExtended, {"hold_id": "call 2", "amount": usd(0), "draws": (), "expires_at": at + 2 * HOUR}),
        (HoldReleased, {"hold_id": "call 2", "amount": usd(3), "draws": DRAWS[1:], "reason": "timed_out"}),
        (
            ChargeRequested,
            {
                "charge_id": CHARGE,
                "amount": usd(50),
                "payment_method": "card",
                "purpose": "purchase",
                "attempt": 1,
                "reference": "r",
            },
        ),
        (
            ChargeRequested,
            {
                "charge_id": CHARGE,
                "amount": usd(50),
                "payment_method": "card",
                "purpose": "recharge",
                "attempt": 4,
                "refused": usd(7),
            },
        ),
        (ChargeTried, {"charge_id": CHARGE}),
        (ChargeProcessing, {"charge_id": CHARGE, "reference": "p"}),
        (ChargePaid, {"charge_id": CHARGE, **TAKEN, "reference": "stripe 1"}),
        (
            ChargeDeclined,
            {"charge_id": CHARGE, **TAKEN, "reason": "no funds", "retryable": True, "retry_at": at + HOUR},
        ),
        (ChargeDeclined, {"charge_id": CHARGE, **TAKEN, "reason": "", "retryable": False, "given_up": True}),
        (ChargeWithdrawn, {"charge_id": CHARGE, "reason": "no_longer_due"}),
        (ChargeUnresolved, {"charge_id": CHARGE, **TAKEN}),
        (AutoRechargeConfigured, {"policy": POLICY}),
        (AutoRechargeConfigured, {"policy": RechargePolicy(usd(10), recharge_to=usd("99.999999999"))}),
        (AutoRechargeDisabled, {}),
        (AutoRechargeSuspended, {"reason": "declined"}),
        (AutoRechargeResumed, {"reason": "paid"}),
        (RechargeLimitReached, {"limit": RechargeLimit(amount=usd(500)), "amount": usd(25), "until": at + 30 * DAY}),
        (BalanceDepleted, {"balance": usd(0)}),
        (BalanceRestored, {"balance": usd("0.000000001")}),
        (AlertRaised, {"threshold": Threshold(usd(5), inclusive=True), "available": usd("-3.5")}),
    ]
    return [
        kind(**{"version": version, "at": at + version * MINUTE, **values})
        for version, (kind, values) in enumerate(facts, start=1)
    ]


class Falsy(str):
    """A text that says of itself that it is false."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


EVENTS = every_kind()
RECORDS: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))


def a_rich_ledger() -> Ledger:
    """A ledger with something in every field that a state keeps."""
    desk = Desk(
        funds=100, overdraft_limit=None, late_usage_grace=2 * DAY, funds_valid_for=30 * DAY, alert_thresholds=[usd(9)]
    )
    desk.do("grant", usd(10), starts_at=desk.now + 20 * DAY, expires_at=desk.now + 90 * DAY, priority=2)
    (usage, *_) = desk.spend(20)
    desk.do("reverse_consumption", usage, usd(1))
    desk.do("hold", "call 0", usd(5), expires_at=desk.now + HOUR)
    desk.do("release", "call 0")
    desk.do("hold", "call 1", usd(5), expires_at=desk.now + 20 * HOUR)
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=[RechargeLimit(count=2, per="month")]))
    for outcome in ("Declined", "Processing"):
        desk.do("purchase", usd(20), reference=outcome)
        desk.do("try_charge", desk.last("purchase"))
    desk.outcome(desk.last("purchase"), Processing("p"))
    desk.spend(120)
    desk.do("try_charge", desk.last())
    desk.outcome(desk.last(), Declined("no"))
    desk.do("add_funds", usd(5))
    desk.do("claw_back", 2, usd(30))
    desk.spend(5, after=2 * HOUR)
    return desk.ledger


# What was written stays readable.


def test_every_kind_of_event_is_in_the_golden_file() -> None:
    assert {record["type"] for record in RECORDS} == {kind.__name__ for kind in Event.__subclasses__()}


@pytest.mark.parametrize(
    ("event", "record"), [*zip(EVENTS, RECORDS, strict=True)], ids=[type(event).__name__ for event in EVENTS]
)
def test_the_stored_form_of_an_event_is_what_it_always_was(event: Event, record: dict[str, Any]) -> None:
    assert event_to_json(event) == record
    assert list(event_to_json(event)) == list(record)
    assert event_from_json(record) == event


def test_every_field_of_every_event_is_in_the_golden_file_with_a_value_of_its_own() -> None:
    for kind in Event.__subclasses__():
        records = [record for record in RECORDS if record["type"] == kind.__name__]
        for name in kind.fields[4:]:
            assert any(record[name] != kind.defaults.get(name, "no default") for record in records), (kind, name)


# Round trips.


def there_and_back(record: Any) -> Any:
    return json.loads(json.dumps(record))


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, bool)


@given(events=histories())
def test_every_event_of_a_history_comes_back_through_json(events: tuple[Event, ...]) -> None:
    for event in events:
        record = event_to_json(event)
        assert is_plain(record)
        back = event_from_json(there_and_back(record))
        assert back == event
        assert type(back) is type(event)
        assert event_to_json(back) == record
    assert Ledger.replay(map(event_from_json, map(event_to_json, events))) == Ledger.replay(events)


@given(events=histories(), data=st.data())
def test_every_state_of_a_history_comes_back_through_json_and_goes_on_as_before(
    events: tuple[Event, ...], data: st.DataObject
) -> None:
    place = data.draw(st.integers(1, len(events)))
    state = Ledger.replay(events[:place]).state()
    record = state_to_json(state)
    assert is_plain(record)
    back = state_from_json(there_and_back(record))
    assert back == state
    assert state_to_json(back) == record
    assert Ledger.restore(back, events[place:]).state() == Ledger.replay(events).state()
    everything_that_can_be_read_is_the_same(back, state)


def test_a_state_in_the_middle_of_a_reversal_comes_back() -> None:
    terms = Terms("USD", funds_valid_for=timedelta(days=1), expiry_notices=())
    opened_at = datetime(2026, 1, 1, tzinfo=UTC)
    ledger = Ledger.open("acme", terms, at=opened_at)
    events = [ledger.opened, *ledger.add_funds(Money(5, "USD"), at=opened_at)]
    usage = ledger.consume(Money(5, "USD"), at=opened_at)
    events += usage + ledger.add_funds(Money(5, "USD"), at=opened_at + 9 * DAY)  # the first lot is forgotten
    events += ledger.reverse_consumption(usage[0], at=opened_at + 9 * DAY)
    assert [type(event).__name__ for event in events[-2:]] == ["ConsumptionReversed", "FundsExpired"]
    state = Ledger.replay(events[:-1]).state()
    assert state_from_json(there_and_back(state_to_json(state))) == state


def everything_that_can_be_read_is_the_same(one: LedgerState, two: LedgerState) -> None:
    names = "ledger_id currency terms version as_of closed_at balance available held overdraft lapsed lots holds"
    names += " recharge_policy payment_methods pending_charges auto_recharge_status next_due totals opened"
    for name in names.split():
        assert getattr(one, name) == getattr(two, name), name
    later = two.as_of + 3 * DAY
    assert one.recharge_decision(later) == two.recharge_decision(later)
    assert one.available_at(later) == two.available_at(later)


def test_a_state_with_something_in_every_field_comes_back() -> None:
    state = a_rich_ledger().state()
    record = state_to_json(state)
    empty = {"closed_at", "suspended", "limits_reached"}
    assert {name for name, value in record.items() if value in (None, [], {})} <= empty
    assert state_from_json(there_and_back(record)) == state


def test_the_type_or_the_format_comes_first() -> None:
    assert next(iter(event_to_json(EVENTS[0]))) == "type"
    assert next(iter(state_to_json(a_rich_ledger().state()))) == "format"


def test_a_closed_and_suspended_state_comes_back() -> None:
    desk = Desk(funds=5)
    desk.do("configure_auto_recharge", topping_up(10, 20, limits=[RechargeLimit(amount=usd(5))]))
    desk.do("close")
    state = desk.ledger.state()
    assert state_from_json(there_and_back(state_to_json(state))) == state
    assert {"closed_at", "suspended", "limits_reached"} <= {
        name for name, value in state_to_json(state).items() if value not in (None, [], {})
    }


@given(at=st.datetimes(datetime(1901, 1, 2), datetime(7997, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001 - as Hypothesis wants them
def test_every_instant_that_a_ledger_takes_can_be_stored(at: datetime) -> None:
    ledger = Ledger.open("acme", Terms("USD"), at=at)
    for event in (ledger.opened, *ledger.add_funds(usd(5), at=at)):
        assert event_from_json(there_and_back(event_to_json(event))) == event
    assert state_from_json(there_and_back(state_to_json(ledger.state()))) == ledger.state()


@pytest.mark.parametrize("years", [1, 100, 900, 999])
def test_every_expiry_that_the_terms_allow_can_be_stored(years: int) -> None:
    ledger = Ledger.open("acme", Terms("USD", funds_valid_for=relativedelta(years=years)), at=OPENED.replace(year=7500))
    (event, *_) = ledger.add_funds(usd(5), at=OPENED.replace(year=7500))
    assert event_from_json(event_to_json(event)) == event


class Word(str):
    __slots__ = ()


class Number(int):
    pass


def test_words_and_numbers_of_classes_of_their_own_are_written_plainly() -> None:
    desk = Desk()
    events = desk.do("consume", usd(1), kind=Word("call"), description=Word("x"))
    events += desk.do("grant", usd(1), priority=Number(3))
    events += desk.do("purchase", usd(1), reference=Word("order"))
    for event in events:
        record = event_to_json(event)
        assert is_plain(record)
        assert event_from_json(record) == event


def test_any_text_that_is_accepted_can_be_stored() -> None:
    for text in ("\ud800", "\x00", "é" * 100, '"\\', "\u2028"):
        (event,) = Desk().do("consume", usd(1), description=text)
        assert event_from_json(there_and_back(event_to_json(event))) == event


def test_any_priority_that_is_accepted_can_be_stored() -> None:
    desk = Desk()
    for priority in (-(10**30), 10**30, 10**5000):
        try:
            (event,) = desk.do("grant", usd(1), priority=priority, idempotency_key=f"key {len(desk.events)}")
        except CommCreditsError:
            continue
        assert event_from_json(there_and_back(event_to_json(event))) == event


# What was not written so is not read.

STATE = there_and_back(state_to_json(a_rich_ledger().state()))
JUNK = [None, True, False, 0, -1, 1, 1.5, "", "junk", "1", [], {}, [None], [[]], ["a", "b"], {"a": 1}, {"": None}]


def paths(record: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is a value in a record, from the outside in."""
    items = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in items:
        yield (*so_far, key)
        yield from paths(value, (*so_far, key))


def changed(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    twin = copy.deepcopy(record)
    part = twin
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return twin


def at_path(record: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        record = record[key]
    return record


def refusal(read: Any, record: Any) -> UnreadableRecordError | None:
    """How a record is refused; None: it is read."""
    try:
        read(record)
    except UnreadableRecordError as error:
        return error
    return None


def means(record: Any, written: Any) -> bool:
    """Whether a record says what was written, types included; what it leaves out was written as the default."""
    if isinstance(record, dict) and isinstance(written, dict):
        # Of a length of time, the parts that are zero are not written.
        return all(means(value, written.get(name, 0)) for name, value in record.items())
    if isinstance(record, list) and isinstance(written, list):
        in_order = len(record) == len(written) and all(map(means, record, written))
        return in_order or (all(type(item) is int for item in record) and sorted(set(record), reverse=True) == written)
    return type(record) is type(written) and bool(record == written)


def reads_only_what_it_would_write(record: dict[str, Any], read: Any, write: Any) -> None:
    """Either the named error, or a value that is written just so."""
    if refusal(read, record) is None:
        assert means(record, there_and_back(write(read(record))))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["type"])
def test_a_field_with_another_value_is_refused_or_means_just_that_value(record: dict[str, Any]) -> None:
    for path in paths(record):
        for value in JUNK:
            reads_only_what_it_would_write(changed(record, path, value), event_from_json, event_to_json)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["type"])
def test_a_field_of_the_wrong_type_is_refused(record: dict[str, Any]) -> None:
    for path in paths(record):
        value = at_path(record, path)
        texts = () if isinstance(value, str) else ("junk",)
        wrong = [1.5, {"a": 1}, [None], *texts, *(() if isinstance(value, int | type(None)) else (7, True))]
        if isinstance(value, str) or value is None:
            wrong.append([])
        for junk in wrong:
            if value is None and junk == "junk" and path[-1] in ("idempotency_key", "digest", "charge_id", "hold_id"):
                continue
            if path[-1] == "funds_valid_for" and junk == 7:
                continue
            with pytest.raises(UnreadableRecordError):
                event_from_json(changed(record, path, junk))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["type"])
def test_a_field_nobody_knows_is_refused_wherever_it_stands(record: dict[str, Any]) -> None:
    places = [(), *(path for path in paths(record) if isinstance(at_path(record, path), dict))]
    for path in places:
        with pytest.raises(UnreadableRecordError) as caught:
            event_from_json(changed(record, (*path, "colour"), 1))
        assert "colour" in str(caught.value)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["type"])
def test_a_missing_field_takes_its_default_or_is_refused(record: dict[str, Any]) -> None:
    kind = next(kind for kind in Event.__subclasses__() if kind.__name__ == record["type"])
    event = event_from_json(record)
    for name in record:
        shorter = {key: value for key, value in record.items() if key != name}
        if name in kind.defaults:
            assert getattr(event_from_json(shorter), name) == kind.defaults[name]
            rest = {field: getattr(event, field) for field in kind.fields if field != name}
            assert event_from_json(shorter) == kind(**rest)
        else:
            with pytest.raises(UnreadableRecordError):
                event_from_json(shorter)


def test_rules_that_an_older_version_wrote_take_the_defaults_of_what_it_did_not_know() -> None:
    opened = changed(RECORDS[0], ("terms",), {"currency": "EUR"})
    assert event_from_json(opened).terms == Terms("EUR")
    configured = next(record for record in RECORDS if record["type"] == "AutoRechargeConfigured")
    bare = changed(configured, ("policy",), {"threshold": {"amount": "1.00 USD"}, "amount": "5.00 USD"})
    assert event_from_json(bare).policy == RechargePolicy(usd(1), usd(5))


@pytest.mark.parametrize(
    "kind", ["", "Gone", "Event", "ledgeropened", "LedgerOpened ", "__class__", None, 5, True, [], {}, ["LedgerClosed"]]
)
def test_an_unknown_type_is_refused(kind: Any) -> None:
    with pytest.raises(UnreadableRecordError):
        event_from_json({**RECORDS[0], "type": kind})


@pytest.mark.parametrize("record", [None, 5, True, 1.5, "LedgerClosed", [], [{"type": "LedgerClosed"}], {}, (), b"{}"])
def test_what_is_no_record_is_refused(record: Any) -> None:
    for read in (event_from_json, state_from_json):
        with pytest.raises(UnreadableRecordError) as caught:
            read(record)
        assert caught.value.record == record


def deep(levels: int) -> Any:
    nest: Any = None
    for level in range(levels):
        nest = [nest] if level % 2 else {"a": nest}
    return nest


HUGE = {
    "a number of 5,000 digits": 10**5000,
    "a number below zero": -(10**5000),
    "a number of 400 digits": 10**400,
    "a long text": "x" * 10**5,
    "a long text of digits": "9" * 10**5 + ".00 USD",
    "a long list": [0] * 10**4,
    "deep nesting": deep(20_000),
}


@pytest.mark.parametrize("junk", HUGE)
def test_huge_numbers_texts_and_nesting_in_an_event_make_no_other_error(junk: str) -> None:
    for record in RECORDS:
        for path in paths(record):
            refusal(event_from_json, with_value(record, path, HUGE[junk]))


@pytest.mark.parametrize("junk", HUGE)
def test_huge_numbers_texts_and_nesting_in_a_state_make_no_other_error(junk: str) -> None:
    for path in paths(STATE):
        refusal(state_from_json, with_value(STATE, path, HUGE[junk]))


@pytest.mark.parametrize("junk", ["a long text", "a long text of digits", "a long list"])
def test_a_huge_value_does_not_make_a_huge_message(junk: str) -> None:
    for read, record in [(state_from_json, STATE), *((event_from_json, record) for record in RECORDS)]:
        for path in paths(record):
            assert len(str(refusal(read, with_value(record, path, HUGE[junk])))) < 1000


def with_value(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    """As `changed`, sharing what is not on the path: what is nested deep cannot be copied."""
    twin = dict(record) if isinstance(record, dict) else list(record)
    twin[path[0]] = value if len(path) == 1 else with_value(record[path[0]], path[1:], value)
    return twin


def test_names_that_are_no_text_are_refused() -> None:
    for extra in ({5: 1}, {None: 1}, {5: 1, "x": 2}, {("a",): 1}):
        with pytest.raises(UnreadableRecordError):
            event_from_json({**RECORDS[0], **extra})
        with pytest.raises(UnreadableRecordError):
            state_from_json({**state_to_json(a_rich_ledger().state()), **extra})


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ChargeRequested", ("purpose",), "gift"),
        ("HoldReleased", ("reason",), "lost"),
        ("LedgerOpened", ("at",), "2024-03-01T12:00:00"),
        ("LedgerOpened", ("at",), "2024-03-01"),
        ("LedgerOpened", ("at",), "1700-03-01T12:00:00+00:00"),
        ("LedgerOpened", ("terms", "currency"), "XXX"),
        ("LedgerOpened", ("terms", "overdraft_limit"), "-1.00 USD"),
        ("LedgerOpened", ("terms", "overdraft_limit"), "1.00 EUR"),
        ("LedgerOpened", ("terms", "time_zone"), "Europe/Nowhere"),
        ("LedgerOpened", ("terms", "funds_valid_for"), {"months": -1}),
        ("LedgerOpened", ("terms", "funds_valid_for"), {"weeks": 1}),
        ("LedgerOpened", ("terms", "funds_valid_for"), {"year": 2030}),
        ("LedgerOpened", ("terms", "funds_valid_for"), {"months": 1.5}),
        ("LedgerOpened", ("terms", "hold_valid_for"), 0),
        ("LedgerOpened", ("terms", "hold_valid_for"), 10**30),
        ("FundsAdded", ("amount",), "5"),
        ("FundsAdded", ("amount",), "5 usd"),
        ("FundsAdded", ("amount",), "1e3 USD"),
        ("FundsAdded", ("amount",), "5.0000000001 USD"),
        ("FundsAdded", ("amount",), "NaN USD"),
        ("FundsAdded", ("amount",), " 5.00 USD"),
        ("FundsConsumed", ("draws", 0), [2]),
        ("FundsConsumed", ("draws", 0), [2, "1.00 USD", 3]),
        ("FundsConsumed", ("draws", 0), ["2", "1.00 USD"]),
        ("AutoRechargeConfigured", ("policy", "amount"), "0.00 USD"),
        ("AutoRechargeConfigured", ("policy", "amount"), None),
        ("AutoRechargeConfigured", ("policy", "limits", 0, "per"), "year"),
        ("AutoRechargeConfigured", ("policy", "retry", "delays"), [0]),
    ],
)
def test_a_value_that_no_ledger_writes_is_refused(kind: str, path: tuple[Any, ...], value: Any) -> None:
    record = next(record for record in RECORDS if record["type"] == kind)
    at_path(record, path)
    with pytest.raises(UnreadableRecordError):
        event_from_json(changed(record, path, value))


def test_a_state_of_another_format_is_refused() -> None:
    for found in (0, STATE_FORMAT + 1, "1", None, True, 1.0, [1], 10**5000, deep(20_000)):
        with pytest.raises(UnreadableRecordError):
            state_from_json({**STATE, "format": found})


def test_a_state_without_a_format_is_refused() -> None:
    record = state_to_json(a_rich_ledger().state())
    del record["format"]
    with pytest.raises(UnreadableRecordError):
        state_from_json(record)


def test_no_field_of_a_state_may_be_missing_or_unknown() -> None:
    record = state_to_json(a_rich_ledger().state())
    for name in record:
        with pytest.raises(UnreadableRecordError):
            state_from_json({key: value for key, value in record.items() if key != name})
    for path in ((), *(path for path in paths(record) if isinstance(at_path(record, path), dict))):
        with pytest.raises(UnreadableRecordError):
            state_from_json(changed(record, (*path, "colour"), 1))


@given(path=st.sampled_from(list(paths(STATE))), value=st.sampled_from(JUNK))
def test_a_tampered_state_is_refused_or_means_just_that(path: tuple[Any, ...], value: Any) -> None:
    reads_only_what_it_would_write(changed(STATE, path, value), state_from_json, state_to_json)


def test_a_field_too_many_in_a_list_of_a_state_is_refused() -> None:
    for path in paths(STATE):
        value = at_path(STATE, path)
        if isinstance(value, list) and path[-1] not in STATE and path[-1] not in ("draws", "limits", "delays"):
            if isinstance(path[-1], str):
                continue
            with pytest.raises(UnreadableRecordError):
                state_from_json(changed(STATE, path, [*value, "one more"]))


def test_reading_changes_nothing_of_the_record() -> None:
    before = copy.deepcopy(STATE)
    state_from_json(STATE)
    assert before == STATE
    for record in RECORDS:
        again = copy.deepcopy(record)
        event_from_json(record)
        assert again == record


def test_a_state_read_twice_gives_two_independent_ledgers() -> None:
    state = state_from_json(STATE)
    one, two = Ledger.restore(state), Ledger.restore(state)
    one.consume(usd(1), at=one.as_of)
    assert two.state() == state != one.state()


def test_amounts_keep_all_their_decimals_and_their_currency() -> None:
    for amount in (Money("0.000000001", "USD"), Money(-(10**24), "JPY"), Money("0.001", "KWD")):
        record = event_to_json(BalanceDepleted(version=1, at=OPENED, balance=amount))
        assert record["balance"] == str(amount)
        assert event_from_json(record).balance == amount


def test_a_text_is_written_whatever_it_says_of_itself() -> None:
    ledger = Desk(funds=100).ledger
    for key in (None, Falsy("k")):
        (event,) = ledger.consume(usd(1), at=ledger.as_of, kind=Falsy("call"), idempotency_key=key)
        assert json.loads(event_to_text(event)) == event_to_json(event)
        assert event_from_json(json.loads(event_to_text(event))) == event
