"""Rows of Teams PSTN usage reports, read into CallRecords and written from them.

Read are the CSV exports, the tables of the admin centers (Teams and the older Skype for Business), and Microsoft
Graph's `pstnCallLogRow`. Rows come in as mappings and go out one by one; a row that cannot be read exactly is reported,
never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import product
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn

import attrs

from commcredits.errors import CommCreditsError, InvalidValueError, UnknownCurrencyError, WrongTypeError, shown
from commcredits.money import Money
from commcredits.telephony.calls import CallRecord, Draft
from commcredits.times import FIRST_YEAR, LAST_YEAR, utc

PSTN_COLUMNS: Final = (
    "UsageId",
    "Call ID",
    "Conference ID",
    "User Location",
    "Microsoft Entra ObjectId",
    "UPN",
    "User Display Name",
    "Caller ID",
    "Call Type",
    "Call Direction",
    "Number Type",
    "Domestic/International",
    "Destination Dialed",
    "Destination Number",
    "External Country",
    "Start Time",
    "End Time",
    "Duration Seconds",
    "Connection Fee",
    "Charge",
    "Currency",
    "Capability",
    "Operator",
    "Source of Call Duration",
    "Administrative Units",
)
"""The columns of the export, in its order."""

# What each field of a CallRecord is called in a report: first by the 25-column export, then by Microsoft Graph (which
# does not tell the direction), then by older exports, the admin centers' tables, and Skype's cmdlet
# Get-CsPSTNUsageDetailReport. Letter case is ignored.
_NAMES: dict[str, tuple[str, ...]] = {
    "record_id": ("UsageId", "id"),
    "started_at": ("Start Time", "startDateTime", "Start Time (UTC)", "Time stamp (UTC)", "DateTimeOfCall"),
    "duration_seconds": ("Duration Seconds", "duration", "CallDuration"),
    "charge": ("Charge", "charge", "CallCharge"),
    "connection_fee": ("Connection Fee", "connectionCharge"),
    "ended_at": ("End Time", "endDateTime"),
    "currency": ("Currency", "currency"),
    "call_id": ("Call ID", "callId"),
    "call_type": ("Call Type", "callType"),
    "capability": ("Capability", "licenseCapability"),
    "user_id": ("Microsoft Entra ObjectId", "userId", "AAD ObjectId"),
    "user_principal_name": ("UPN", "userPrincipalName", "User ID", "Username", "SipUri"),
    "user_display_name": ("User Display Name", "userDisplayName", "Display name"),
    "caller_number": ("Caller ID", "callerNumber", "Called from"),
    "callee_number": ("Destination Number", "calleeNumber", "Called to", "Phone number", "TelephoneNumber"),
    "destination_name": ("Destination Dialed", "destinationName", "To country or region"),
    "destination_context": ("Domestic/International", "destinationContext"),
    "number_type": ("Number Type", "inventoryType"),
    "usage_country": ("User Location", "usageCountryCode"),
    "operator": ("Operator", "operator"),
    "conference_id": ("Conference ID", "conferenceId", "ConfID"),
    "call_direction": ("Call Direction",),
}
_KNOWN_NAMES = frozenset(name.lower() for names in _NAMES.values() for name in names)
# Reports whose start is called so have no id of their own for a row.
_STARTS_WITHOUT_ID = frozenset({"start time (utc)", "time stamp (utc)", "datetimeofcall"})

_NUMBERS = ("duration_seconds", "charge", "connection_fee")
_NO_DATA = "no data"
_NO_DATA_FORMS = frozenset(map("".join, product(*zip(_NO_DATA, _NO_DATA.upper(), strict=True))))
_NO_TIME = "is not a date and time in ISO 8601"
_BEFORE_TIME = ("T", "t", " ")
_BOM = "\ufeff"
_CLOCK = re.compile(r"([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])")
_MOST_SECONDS = 2**31 - 1
_DIGITS_OF_SECONDS = len(str(_MOST_SECONDS))
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%f0Z"


class RowError(CommCreditsError, ValueError):
    """A row of a report cannot be read.

    Attributes: `row_number` (data rows from 1; the header is none), `column` (its name in the row, or where the row
    lacks it, the name the report would use; None: the row as a whole), `value` (as the row has it; None: missing),
    `why`. Nothing was made of this row; the rows before it were read. Raised, it ends the reading.
    """

    def __init__(self, row_number: int, column: str | None, value: object, why: str = "cannot be read") -> None:
        where = f"row {row_number}" if column is None else f"row {row_number}, column {shown(column)}"
        super().__init__(f"{where}: {shown(value)} {why}")
        self.row_number = row_number
        self.column = column
        self.value = value
        self.why = why


def read_pstn_rows(
    rows: Iterable[Mapping[str, object]],
    *,
    caller_number: Literal["caller", "callee"] = "caller",
    on_error: Callable[[RowError], object] | None = None,
) -> Iterator[CallRecord]:
    """Yield a CallRecord for each row of a PSTN usage report, in the order of the rows, one at a time.

    Each row, as `csv.DictReader` or `json.load` gives it, may be of the 25-column export, of the older 20-column
    export, of an admin center's table (Teams', or Skype's with its 15 columns), or a `pstnCallLogRow` of Microsoft
    Graph (v1.0 or beta). Columns are found by name in any order, ignoring letter case, a byte order mark and
    surrounding spaces; the columns that no field of CallRecord is for are kept in its `extra`, null ones left out.
    Id, start, duration, charge and currency must be there. Empty text, null and `no data` mean missing. Call types
    and capabilities are kept as they are, known (`CALL_TYPES`, `CAPABILITIES`) or not.

    - Ids: a table's rows, and Skype's, have none of their own. They are named by their call id, which several rows
      may share, their start, and the numbers that called and were called.
    - Money: text, Decimal and int are exact; a float (JSON) is taken as its shortest text, so 0.03 is 0.03. At
      most 9 decimals. A missing connection fee is zero.
    - Times: ISO 8601 text, made UTC. One without an offset is in UTC, as the report defines its times. A seventh
      digit of the seconds' fraction is cut off. A missing end stays None.
    - Duration: whole seconds, or `HH:MM:SS`.
    - Numbers: Microsoft describes the caller's number in two ways: as the one that made the call (Graph beta, the older
      Skype report), and as the one that was called (the export, Graph v1.0). The first is taken for all; with
      `caller_number="callee"` the second, so that who called is not told.
    - A row that comes twice (overlapping downloads) is yielded twice: its `record_id` lets it be billed once.
    - Surplus cells (`csv.DictReader` puts them under None) are refused: a stray comma may have moved the charge.

    A row that cannot be read raises RowError, or is handed to `on_error`, and reading goes on with the next row;
    what `on_error` itself raises passes through.

    Raises: WrongTypeError, at once, for rows that are a text or one mapping, or an `on_error` that cannot be called;
    InvalidValueError for another `caller_number`. RowError, while iterating: the reading is over, the records before
    it were yielded.
    """
    if isinstance(rows, str | bytes | bytearray | Mapping) or not isinstance(rows, Iterable):
        raise WrongTypeError("rows", rows, "an iterable of mappings, such as csv.DictReader(file) or page['value']")
    if caller_number not in ("caller", "callee"):
        raise InvalidValueError("caller_number", caller_number, 'must be "caller" or "callee"')
    if on_error is not None and not callable(on_error):
        raise WrongTypeError("on_error", on_error, "a callable or None")
    return _records(rows, caller_number, on_error)


def _records(
    rows: Iterable[Mapping[str, object]], caller_number: str, on_error: Callable[[RowError], object] | None
) -> Iterator[CallRecord]:
    columns = _columns((), caller_number)
    for row_number, row in enumerate(rows, start=1):
        try:
            if row.__class__ is not dict and not isinstance(row, Mapping):
                raise RowError(row_number, None, row, "is not a mapping of column names to values")
            # A file has the same names in all its rows, so they are looked at once: as many names, and each of them
            # there, are the same names.
            try:
                values = columns.values(row) if len(row) == columns.count else ()
            except KeyError:
                values = ()
            if not values:
                columns = _columns(tuple(row), caller_number)
                values = columns.values(row)
            record = _record(row_number, values, columns)
        except RowError as error:
            if on_error is None:
                raise
            on_error(error)
        else:
            yield record


@attrs.frozen
class _Columns:
    """Where the fields stand in rows that have the same column names."""

    count: int
    """How many columns the rows have."""
    values: Callable[[Mapping[Any, object]], tuple[object, ...]]
    """The cells of a row: those of the fields it has, in the order of `_NAMES`, then the others."""
    spread: Callable[[tuple[object, ...]], tuple[object, ...]] | None
    """The cells of all fields, then the others, out of these cells and a None for what is missing; None: nothing is."""
    names: Mapping[str, str]
    """What an error calls each field's column."""
    extra: tuple[str, ...]
    """The names of the columns that no field is for."""
    lacks_ids: bool
    """Whether they are of a report whose rows have no id."""
    fault: tuple[int, str | None, str] | None
    """What makes all such rows unreadable: the place of the cell at fault, its name for the error, and why."""


@lru_cache(maxsize=32)
def _columns(row_keys: tuple[object, ...], caller_number: str) -> _Columns:
    by_name: dict[str, str] = {}
    others: list[object] = []
    at_fault: tuple[object, str | None, str] | None = None
    for key in row_keys:
        name = _cleaned(key) if isinstance(key, str) else None
        known = name.lower() if name is not None and name.lower() in _KNOWN_NAMES else name
        if not isinstance(key, str):
            why = "are more cells than there are columns" if key is None else f"has no column name but {shown(key)}"
            at_fault = key, None, why
        elif known in by_name:
            at_fault = key, name, "is in one of two columns of the same name"
        else:
            by_name[str(known)] = key
            continue
        others.append(key)
    is_graph = "id" in by_name or "startdatetime" in by_name
    lacks_ids = by_name.keys().isdisjoint({"usageid", "id"}) and not by_name.keys().isdisjoint(_STARTS_WITHOUT_ID)
    keys: list[object] = []
    places: list[int] = []
    names = {}
    for field, wanted in _names(caller_number).items():
        # Where a row has two names of one field, the first in the table is meant, and the others are extra.
        found = next((name.lower() for name in wanted if name.lower() in by_name), None)
        if found is None:
            places.append(-1)
            names[field] = _NAMES[field][:2][-1] if is_graph else _NAMES[field][0]
        else:
            key = by_name.pop(found)
            places.append(len(keys))
            keys.append(key)
            names[field] = _cleaned(key)
    others = [*by_name.values(), *others]
    places += range(len(keys), len(keys) + len(others))
    keys += others
    return _Columns(
        count=len(keys),
        values=_getter(keys),
        spread=_getter(places) if -1 in places else None,
        names=names,
        extra=tuple(map(_cleaned, by_name.values())),
        lacks_ids=lacks_ids,
        fault=None if at_fault is None else (keys.index(at_fault[0]), *at_fault[1:]),
    )


def _getter(keys: Sequence[object]) -> Callable[[Any], tuple[object, ...]]:
    """What gets several items at once, also if there are fewer than two."""
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda items: tuple(items[key] for key in keys)


def _names(caller_number: str) -> Mapping[str, tuple[str, ...]]:
    """What each field is called, where the caller's column has the number of the one called, as it is asked to be."""
    if caller_number == "caller":
        return _NAMES
    return _NAMES | {"caller_number": (), "callee_number": _NAMES["callee_number"] + _NAMES["caller_number"]}


def _cleaned(name: str) -> str:
    """A column's name without a byte order mark, spaces around it, and the quotes that a mark keeps csv from removing.

    A file opened as plain UTF-8 rather than utf-8-sig has the mark in its first name.
    """
    name = name.strip()
    if name.startswith(_BOM):
        name = name.lstrip(_BOM).strip()
        if name.startswith('"') and name.endswith('"'):
            name = name.strip('"').strip()
    return name


class _UnreadableError(Exception):
    """A cell cannot be read: the field that it is for, and why."""


def _record(row_number: int, values: tuple[object, ...], columns: _Columns) -> CallRecord:
    """The record of one row.

    Raises: RowError.
    """
    if columns.fault is not None:
        place, column, why = columns.fault
        raise RowError(row_number, column, values[place], why)
    cells = values if columns.spread is None else columns.spread((*values, None))
    record: Any = Draft()
    try:
        (
            record_id,
            start,
            seconds,
            charge,
            fee,
            end,
            currency,
            record.call_id,
            record.call_type,
            record.capability,
            record.user_id,
            record.user_principal_name,
            record.user_display_name,
            record.caller_number,
            record.callee_number,
            record.destination_name,
            record.destination_context,
            record.number_type,
            record.usage_country,
            record.operator,
            record.conference_id,
            record.call_direction,
        ) = _cleaned_cells(cells[:_FIELD_COUNT])
        record.started_at = _time("started_at", start)
        record.ended_at = _time("ended_at", end) if end else None
        if charge.__class__ is fee.__class__ is seconds.__class__ is str:
            record.duration_seconds = _seconds_of_text(seconds)
            record.charge, record.connection_fee = _amounts_of_text(charge, fee, currency)
        else:
            record.duration_seconds = _seconds(seconds)
            record.charge, record.connection_fee = _amounts(charge, fee, currency)
        record.record_id = _id_of(record) if columns.lacks_ids else record_id or _missing("record_id")
    except _UnreadableError as error:
        field, why = error.args
        raise RowError(row_number, columns.names[field], cells[_PLACES[field]], why) from error.__cause__
    try:
        record.extra = _same_extra(columns.extra, *cells[_FIELD_COUNT:])
    except TypeError:  # a list, as Graph has it, has no hash
        record.extra = _extra(columns.extra, *cells[_FIELD_COUNT:])
    record.__class__ = CallRecord
    return record  # type: ignore[no-any-return]


_PLACES = {field: place for place, field in enumerate(_NAMES)}
_FIELD_COUNT = len(_NAMES)


def _cleaned_cells(cells: tuple[object, ...]) -> list[Any]:
    """The cells of the fields, text without spaces around it, and empty text for what is missing."""
    try:
        # Those of a CSV file are all text.
        texts: list[Any] = list(map(str.strip, cells))  # type: ignore[arg-type]
        if _NO_DATA_FORMS.isdisjoint(texts):
            return texts
    except TypeError:
        texts = [cell.strip() if isinstance(cell, str) else cell for cell in cells]
    for place, field in enumerate(_NAMES):
        cell = texts[place]
        if cell is None or (isinstance(cell, str) and cell.lower() == _NO_DATA):
            texts[place] = ""
        elif not isinstance(cell, str) and field not in _NUMBERS:
            raise _UnreadableError(field, f"is {type(cell).__name__}, not text")
    return texts


def _missing(field: str) -> NoReturn:
    raise _UnreadableError(field, "is missing")


def _id_of(record: CallRecord) -> str:
    """A name for a row without an id: the legs of one call share its id, and differ in their start or a number."""
    if not record.call_id:
        _missing("call_id")
    return f"{record.call_id}/{_written(record.started_at)}/{record.caller_number}/{record.callee_number}"


def _time(field: str, text: str) -> datetime:
    try:
        # Python cuts off what goes beyond microseconds; the report's seventh digit is a tenth of one.
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise _UnreadableError(field, _NO_TIME if text else "is missing") from error
    # A date alone would be read as its midnight, which no call's start is known to be.
    if text[10:11] not in _BEFORE_TIME:
        raise _UnreadableError(field, _NO_TIME)
    if time.tzinfo is UTC and FIRST_YEAR <= time.year <= LAST_YEAR:
        return time  # the usual case
    try:
        return utc(time.replace(tzinfo=UTC) if time.tzinfo is None else time, field)
    except InvalidValueError as error:
        raise _UnreadableError(field, f"is refused: {error}") from error


def _seconds(value: object) -> int:
    if isinstance(value, str) and value.isdigit() and value.isascii() and len(value) <= _DIGITS_OF_SECONDS:
        seconds = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif isinstance(value, str) and (clock := _CLOCK.fullmatch(value)):
        hours, minutes, rest = map(int, clock.groups())
        seconds = hours * 3600 + minutes * 60 + rest
    else:
        raise _UnreadableError(
            "duration_seconds", "is missing" if value == "" else "is neither whole seconds nor HH:MM:SS"
        )
    if seconds < 0:
        raise _UnreadableError("duration_seconds", "is below zero")
    if seconds > _MOST_SECONDS:
        raise _UnreadableError("duration_seconds", f"is more than {_MOST_SECONDS} seconds, the most a report can hold")
    return seconds


def _amounts(charge: Any, fee: Any, currency: str) -> tuple[Money, Money]:
    """The charge and the connection fee."""
    try:
        no_fee = Money.zero(currency or _missing("currency"))
    except UnknownCurrencyError as error:
        raise _UnreadableError("currency", "is not an ISO 4217 currency code") from error
    return _money("charge", charge, currency), no_fee if fee == "" else _money("connection_fee", fee, currency)


def _money(field: str, value: Any, currency: str) -> Money:
    try:
        # float's own repr: that of a subclass (numpy's) may not be a number's text.
        return Money(Decimal(float.__repr__(value)) if isinstance(value, float) else value, currency)
    except CommCreditsError as error:
        why = "is missing" if value == "" else f"is not an exact amount of money: {error}"
        raise _UnreadableError(field, why) from error


def _extra(names: tuple[str, ...], *cells: object) -> Mapping[str, object]:
    return MappingProxyType({name: cell for name, cell in zip(names, cells, strict=True) if cell is not None})


# A report has the same amounts, lengths and other cells again and again.
_seconds_of_text = lru_cache(maxsize=8192)(_seconds)
_amounts_of_text = lru_cache(maxsize=8192)(_amounts)
_same_extra = lru_cache(maxsize=1024, typed=True)(_extra)


def write_pstn_rows(records: Iterable[CallRecord]) -> Iterator[dict[str, object]]:
    """Yield a row of the 25-column export for each record, one at a time: `read_pstn_rows` of it gives the record back.

    The keys are `PSTN_COLUMNS`, in their order, then the record's `extra` columns that are none of them:
    `csv.DictWriter(file, PSTN_COLUMNS, extrasaction="ignore")` takes such rows. Values are text, but for those of
    `extra`, which are put back untouched, and None for what the record does not tell. Times have seven digits of
    fraction, as the export's have; amounts at least two decimals, and more where they are finer.

    Raises: WrongTypeError, at once for what cannot be iterated, and while iterating for what is no CallRecord.
    InvalidValueError, while iterating, for an `extra` column that would stand in the place of a field's own. The rows
    before it were written.
    """
    if not isinstance(records, Iterable):
        raise WrongTypeError("records", records, "an iterable of CallRecords")
    return map(_row, records)


def _row(record: CallRecord) -> dict[str, object]:
    if not isinstance(record, CallRecord):
        raise WrongTypeError("records", record, "CallRecords")
    row: dict[str, object] = dict.fromkeys(PSTN_COLUMNS)
    row |= {names[0]: getattr(record, field) for field, names in _NAMES.items() if field != "currency"}
    row["Start Time"] = _written(record.started_at)
    row["End Time"] = "" if record.ended_at is None else _written(record.ended_at)
    row["Duration Seconds"] = str(record.duration_seconds)
    row["Charge"] = _amount(record.charge)
    row["Connection Fee"] = _amount(record.connection_fee)
    row["Currency"] = record.charge.currency
    for name, value in record.extra.items():
        if not isinstance(name, str):
            raise InvalidValueError("extra", name, "not the name of a column")
        column = _FIRST_NAMES.get(name.lower(), name)
        # The column of a field that is empty is free: the caller's, where it was read as the callee's.
        if row.get(column):
            raise InvalidValueError("extra", name, f"the column of a field, which is {shown(row[column])}")
        row[column] = value
    return row


_FIRST_NAMES = {column.lower(): column for column, *_ in _NAMES.values()}


def _written(time: datetime) -> str:
    return f"{time:{_TIME_FORMAT}}"


def _amount(money: Money) -> str:
    whole, _, fraction = f"{money:f}".partition(".")
    return f"{whole}.{fraction:0<2}"
