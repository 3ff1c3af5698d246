"""Events and states to and from plain JSON types: dict, list, str, int, bool and None.

The stored form is explicit: amounts as text ("10.50 USD"), times in UTC (ISO 8601), lengths of time in microseconds.
Fields that a newer version of this library may add to an event are refused, never ignored; fields that an older version
did not know take their defaults.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from json.encoder import JSONEncoder, encode_basestring_ascii
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, get_args

import attrs
from dateutil.relativedelta import relativedelta

from commcredits.books import Books
from commcredits.errors import CommCreditsError, UnreadableRecordError, shown
from commcredits.events import Event, FundsConsumed, HoldEnd
from commcredits.lots import Draw, HoldAccount, LotAccount
from commcredits.money import _from_text
from commcredits.payment import Charge, ChargeStatus, Declined, Paid, Processing, Purpose
from commcredits.policy import RechargeLimit, RechargePolicy, RetryPolicy, Terms, Threshold
from commcredits.state import LedgerState
from commcredits.times import LONG_AGO, PERIOD_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

to_text = JSONEncoder(separators=(",", ":")).encode

STATE_FORMAT = 1
"""The format of a stored state; one of another format is made anew from the events."""

_T = TypeVar("_T")


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as a dict of plain JSON types, its `type` first."""
    kind, encoders = _EVENT_ENCODERS[event.__class__]
    record = {
        "type": kind,
        "version": event._version,
        "at": event._at.isoformat(),
        "idempotency_key": event._key,
        "digest": event.digest,
    }
    for (name, encode), value in zip(encoders, event._values, strict=True):
        record[name] = encode(value)
    return record


def event_to_text(event: Event, at: str | None = None) -> str:
    """`event_to_json` as the text that a database keeps; `at`: what `isoformat` gives of its time, if it is at hand."""
    if event.__class__ is FundsConsumed:
        return _consumed_to_text(event, at or event._at.isoformat())
    return to_text(event_to_json(event))


def _consumed_to_text(event: Event, at: str) -> str:
    """The usual event, spelled out, because encoding it takes longer than all the rest of recording it."""
    amount, draws, overdrawn, occurred_at, kind, description, hold_id = event._values
    cost = str(amount)
    occurred = at if occurred_at is event._at else occurred_at.isoformat()
    if len(draws) == 1 and draws[0][1] is amount:
        drawn = f'[{draws[0][0]},"{cost}"]'
    else:
        drawn = ",".join([f'[{lot_id},"{money!s}"]' for lot_id, money in draws])
    return (
        f'{{"type":"FundsConsumed","version":{event._version},"at":"{at}",'
        f'"idempotency_key":{quoted(event._key)},"digest":{quoted(event.digest)},"amount":"{cost}",'
        f'"draws":[{drawn}],"overdrawn":"{overdrawn!s}","occurred_at":"{occurred}",'
        f'"kind":{quoted(kind)},"description":{quoted(description)},"hold_id":{quoted(hold_id)}}}'
    )


def quoted(text: str | None) -> str:
    """The text, or None, as `to_text` writes it."""
    if text is None:
        return "null"
    return encode_basestring_ascii(text if text.__class__ is str else str.__str__(text))


def event_from_json(record: Mapping[str, Any]) -> Event:
    """The event that `event_to_json` wrote.

    Raises: UnreadableRecordError for anything else.
    """
    kind = _readable(record, lambda: _EVENTS[record["type"]])
    values = {name: value for name, value in record.items() if name != "type"}
    return kind(**_decoded(record, values, _EVENT_CODERS[kind.__name__], kind.defaults))


def state_to_json(state: LedgerState) -> dict[str, Any]:
    """The state as a dict of plain JSON types."""
    kept = {name: getattr(state._books, name) for name in Books.KEPT}
    return {"format": STATE_FORMAT} | {name: _STATE_CODERS[name].encode(value) for name, value in kept.items()}


def state_from_json(record: Mapping[str, Any]) -> LedgerState:
    """The state that `state_to_json` wrote.

    Raises: UnreadableRecordError for anything else, another `STATE_FORMAT` included.
    """
    found = _readable(record, lambda: record["format"])
    if type(found) is not int or found != STATE_FORMAT:
        raise UnreadableRecordError(record, f"state of format {shown(found)}, not {STATE_FORMAT}")
    values = {name: value for name, value in record.items() if name != "format"}
    books = Books()
    for name, value in _decoded(record, values, _STATE_CODERS, {}).items():
        setattr(books, name, value)
    _readable(record, books.reindex)
    return LedgerState(books)


class _Coder(NamedTuple):
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def _decoded(
    record: object, values: Mapping[str, Any], coders: Mapping[str, _Coder], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    unknown, missing = values.keys() - coders.keys(), coders.keys() - values.keys() - defaults.keys()
    if unknown or missing:
        raise UnreadableRecordError(record, f"unknown {sorted(map(shown, unknown))}, missing {sorted(missing)}")
    return {**defaults, **{name: _readable(record, partial(coders[name].decode, values[name])) for name in values}}


def _readable(record: object, read: Callable[[], _T]) -> _T:
    """What `read` gives; whatever it raises on a record not written by this module is one named error."""
    try:
        return read()
    except UnreadableRecordError:
        raise
    except (
        CommCreditsError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise UnreadableRecordError(record, _told(error)) from error


def _told(error: Exception) -> str:
    """What an error says, cut short: its arguments may be as large as the record that it is about."""
    try:
        return f"{type(error).__name__}: {str(error)[:200]}"
    except (RecursionError, ValueError):
        return type(error).__name__


def _plain(kind: type) -> _Coder:
    def decode(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{shown(value)} is not {kind.__name__}")
        return value

    # A value of a class of its own, such as a member of an enumeration, is written as the plain value that it is.
    encode = {str: str.__str__, int: int.__int__}.get(kind, lambda value: value)
    return _Coder(encode, decode)


def _one_of(words: Any) -> _Coder:
    """A text out of a Literal."""

    def decode(value: Any) -> Any:
        if value not in get_args(words):
            raise ValueError(f"{shown(value)} is not one of {get_args(words)}")
        return value

    return _Coder(str.__str__, decode)


def _optional(coder: _Coder) -> _Coder:
    return _Coder(
        lambda value: None if value is None else coder.encode(value),
        lambda value: None if value is None else coder.decode(value),
    )


def _sequence(coder: _Coder, made: Callable[[Any], Any] = tuple) -> _Coder:
    return _Coder(
        lambda values: [coder.encode(value) for value in values],
        lambda values: made([coder.decode(value) for value in _LIST.decode(values)]),
    )


def _pair(first: _Coder, second: _Coder) -> _Coder:
    def decode(values: Any) -> tuple[Any, Any]:
        one, two = _LIST.decode(values)
        return first.decode(one), second.decode(two)

    return _Coder(lambda pair: [first.encode(pair[0]), second.encode(pair[1])], decode)


def _mapping(key: _Coder, value: _Coder) -> _Coder:
    pairs = _sequence(_pair(key, value))
    return _Coder(lambda mapping: pairs.encode(mapping.items()), lambda record: dict(pairs.decode(record)))


def _value(kind: type, **coders: _Coder) -> _Coder:
    """An attrs class, field by field; the fields at their default are written too."""
    defaults = {field.name for field in attrs.fields(kind) if field.default is not attrs.NOTHING}

    def decode(record: Any) -> Any:
        # What is missing is left to the class, whose defaults may depend on other fields.
        present = _decoded(record, _DICT.decode(record), coders, dict.fromkeys(defaults, _MISSING))
        return kind(**{name: value for name, value in present.items() if value is not _MISSING})

    return _Coder(lambda value: {name: coder.encode(getattr(value, name)) for name, coder in coders.items()}, decode)


def _decode_time(text: Any) -> datetime:
    # Not `times.utc`: an expiry may lie beyond the years in which a command may happen, and a lot whose time was over
    # is taken up again as of LONG_AGO.
    time = datetime.fromisoformat(text)
    if time.utcoffset() is None or time < LONG_AGO:
        raise ValueError(f"{text} is naive, or before {LONG_AGO.year}")
    return time.astimezone(UTC)


def _encode_period(period: relativedelta | timedelta) -> Any:
    if isinstance(period, timedelta):
        return _LENGTH.encode(period)
    return {part: getattr(period, part) for part in PERIOD_PARTS if getattr(period, part)}


def _decode_period(record: Any) -> relativedelta | timedelta:
    if isinstance(record, int):
        return _LENGTH.decode(record)  # type: ignore[no-any-return]
    parts = _DICT.decode(record)
    unknown = parts.keys() - set(PERIOD_PARTS)
    if unknown:
        raise ValueError(f"no parts of a period: {sorted(map(shown, unknown))}")
    return relativedelta(**{part: _INT.decode(number) for part, number in parts.items()})


def _encode_outcome(outcome: Paid | Declined | Processing) -> list[Any]:
    return [type(outcome).__name__, *attrs.astuple(outcome)]


def _decode_outcome(record: Any) -> Any:
    name, *values = _LIST.decode(record)
    return _OUTCOMES[name](*values)


def _decode_lot(record: Any) -> LotAccount:
    values = _decoded(record, _DICT.decode(record), _LOT_CODERS, {})
    made = ("lot_id", "amount", "added_at", "starts_at", "expires_at", "priority", "purchased")
    lot = LotAccount(**{name: values[name] for name in made})
    for name in (*LotAccount.PARTS, "shortfall"):
        setattr(lot, name, values[name])
    return lot


def _decode_hold(record: Any) -> HoldAccount:
    hold_id, draws, placed_at, expires_at = _LIST.decode(record)
    return HoldAccount(_TEXT.decode(hold_id), _DRAWN.decode(draws), _decode_time(placed_at), _decode_time(expires_at))


_MISSING = object()
_INT, _TEXT, _FLAG, _LIST, _DICT = (_plain(kind) for kind in (int, str, bool, list, dict))
_TIME = _Coder(lambda time: time.isoformat(), _decode_time)
_LENGTH = _Coder(lambda length: length // timedelta(microseconds=1), lambda n: timedelta(microseconds=_INT.decode(n)))
_PERIOD = _Coder(_encode_period, _decode_period)
_MONEY = _Coder(str, lambda text: _from_text(_TEXT.decode(text)))
_DRAW = _Coder(
    lambda draw: [draw[0], str(draw[1])],
    lambda record: Draw(*_pair(_INT, _MONEY).decode(record)),
)
_DRAWN = _mapping(_INT, _INT)
_THRESHOLD = _value(Threshold, amount=_MONEY, inclusive=_FLAG)
_LIMIT = _value(RechargeLimit, amount=_optional(_MONEY), count=_optional(_INT), per=_TEXT)
_POLICY = _value(
    RechargePolicy,
    threshold=_THRESHOLD,
    amount=_optional(_MONEY),
    recharge_to=_optional(_MONEY),
    in_multiples=_FLAG,
    limits=_sequence(_LIMIT),
    retry=_value(RetryPolicy, delays=_sequence(_LENGTH)),
    recharge_when_refused=_FLAG,
)
_TERMS = _value(
    Terms,
    currency=_TEXT,
    funds_valid_for=_optional(_PERIOD),
    minimum_purchase=_optional(_MONEY),
    purchase_step=_optional(_MONEY),
    overdraft_limit=_optional(_MONEY),
    late_usage_grace=_LENGTH,
    hold_valid_for=_optional(_LENGTH),
    time_zone=_TEXT,
    alert_thresholds=_sequence(_THRESHOLD),
    expiry_notices=_sequence(_LENGTH),
    clock_skew=_LENGTH,
    unknown_delay=_LENGTH,
    key_valid_for=_optional(_LENGTH),
    processing_for=_optional(_LENGTH),
)
_OUTCOMES: dict[str, type] = {kind.__name__: kind for kind in (Paid, Declined, Processing)}
_CHARGE = _value(
    Charge,
    charge_id=_TEXT,
    ledger_id=_TEXT,
    amount=_MONEY,
    payment_method=_TEXT,
    purpose=_one_of(Purpose),
    attempt=_INT,
    requested_at=_TIME,
    reference=_TEXT,
    status=_one_of(ChargeStatus),
    tried_at=_optional(_TIME),
    last_tried_at=_optional(_TIME),
    processing_at=_optional(_TIME),
    refused=_optional(_MONEY),
    outcome=_optional(_Coder(_encode_outcome, _decode_outcome)),
)

# How each type that an event's field is annotated with is written.
_FIELD_CODERS = {
    "int": _INT,
    "str": _TEXT,
    "bool": _FLAG,
    "str | None": _optional(_TEXT),
    "datetime": _TIME,
    "datetime | None": _optional(_TIME),
    "Money": _MONEY,
    "Money | None": _optional(_MONEY),
    "Purpose": _one_of(Purpose),
    "HoldEnd": _one_of(HoldEnd),
    "Terms": _TERMS,
    "Threshold": _THRESHOLD,
    "RechargePolicy": _POLICY,
    "RechargeLimit": _LIMIT,
    "tuple[str, ...]": _sequence(_TEXT),
    "tuple[Draw, ...]": _sequence(_DRAW),
}
_EVENTS: dict[str, type[Event]] = {kind.__name__: kind for kind in Event.__subclasses__()}
_EVENT_CODERS = {
    name: {field: _FIELD_CODERS[{**Event.__annotations__, **kind.__annotations__}[field]] for field in kind.fields}
    for name, kind in _EVENTS.items()
}

_EVENT_ENCODERS = {
    kind: (name, [(field, _EVENT_CODERS[name][field].encode) for field in kind.fields[len(Event.fields) :]])
    for name, kind in _EVENTS.items()
}

_LOT_CODERS = {
    **dict.fromkeys(("lot_id", "amount", "priority", "shortfall", *LotAccount.PARTS), _INT),
    "added_at": _TIME,
    "starts_at": _TIME,
    "expires_at": _optional(_TIME),
    "purchased": _FLAG,
}
_LOT = _Coder(lambda lot: {name: coder.encode(getattr(lot, name)) for name, coder in _LOT_CODERS.items()}, _decode_lot)
_HOLD = _Coder(
    lambda hold: [hold.hold_id, _DRAWN.encode(hold.draws), hold.placed_at.isoformat(), hold.expires_at.isoformat()],
    _decode_hold,
)
_CHARGES = _Coder(
    lambda charges: [_CHARGE.encode(charge) for charge in charges.values()],
    lambda record: {charge.charge_id: charge for charge in map(_CHARGE.decode, _LIST.decode(record))},
)
_STATE_CODERS = {
    **dict.fromkeys(
        (
            "version",
            "funded",
            "drawn",
            "overdrawn",
            "repaid",
            "expired",
            "refunded",
            "clawed_back",
            "shortfall",
            "overdraft",
        ),
        _INT,
    ),
    "opened_by": _Coder(event_to_json, event_from_json),
    "terms": _TERMS,
    "as_of": _TIME,
    "closed_at": _optional(_TIME),
    "lots": _Coder(
        lambda lots: [_LOT.encode(lot) for lot in lots.values()],
        lambda record: {lot.lot_id: lot for lot in map(_decode_lot, _LIST.decode(record))},
    ),
    "repayments": _sequence(_pair(_INT, _INT), list),
    "reversed": _mapping(_INT, _pair(_INT, _TIME)),
    "holds": _Coder(
        lambda holds: [_HOLD.encode(hold) for hold in holds.values()],
        lambda record: {hold.hold_id: hold for hold in map(_HOLD.decode, _LIST.decode(record))},
    ),
    "ended_holds": _mapping(_TEXT, _pair(_TEXT, _TIME)),
    "charges": _CHARGES,
    "ended_charges": _CHARGES,
    "payment_methods": _sequence(_TEXT),
    "failures": _mapping(_TEXT, _pair(_INT, _optional(_TIME))),
    "policy": _optional(_POLICY),
    "suspended": _optional(_TEXT),
    "limits_reached": _sequence(_pair(_LIMIT, _TIME)),
    "depleted": _FLAG,
}
