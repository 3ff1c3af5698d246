"""Rows of Teams PSTN usage reports, read into CallRecords and written from them.

Read are the CSV exports, the tables of the admin centers (Teams and the older Skype for Business), and Microsoft
Graph's `pstnCallLogRow`. Rows come in as mappings and go out one by one; a row that cannot be read exactly is reported,
never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import product
from operator import itemgetter
from typing import Any, Final, Literal

import attrs

from commcredits.errors import CommCreditsError, InvalidValueError, UnknownCurrencyError, WrongTypeError, shown
from commcredits.money import Money
from commcredits.telephony.calls import TEXT_FIELDS, CallRecord, checked_record
from commcredits.times import utc

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
_MISSING = "is missing"
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
            # A file has the same names in all its rows, so they are looked at once.
            if (row_keys := tuple(row)) != columns.row_keys:
                columns = _columns(row_keys, caller_number)
            record = _record(row_number, row, columns)
        except RowError as error:
            if on_error is None:
                raise
            on_error(error)
        else:
            yield record


@attrs.frozen
class _Columns:
    """Where the fields stand in rows that have the same column names."""

    row_keys: tuple[object, ...]
    """What the rows call all their columns."""
    cells: Callable[[tuple[object, ...]], tuple[object, ...]]
    """The cells of the fields, in the order of `_NAMES`, out of a row's values and a None for those it lacks."""
    names: Mapping[str, str]
    """What an error calls each field's column."""
    extra: tuple[tuple[str, int], ...]
    """Name and place of the columns that no field is for."""
    lacks_ids: bool
    """Whether they are of a report whose rows have no id."""
    fault: tuple[object, str | None, str] | None
    """What makes all such rows unreadable: the key at fault, its name for the error, and why."""


@lru_cache(maxsize=32)
def _columns(row_keys: tuple[object, ...], caller_number: str) -> _Columns:
    by_name: dict[str, str] = {}
    fault: tuple[object, str | None, str] | None = None
    for key in row_keys:
        if not isinstance(key, str):
            why = "are more cells than there are columns" if key is None else f"has no column name but {shown(key)}"
            fault = key, None, why
            continue
        name = _cleaned(key)
        if name.lower() in _KNOWN_NAMES:
            name = name.lower()
        if name in by_name:
            fault = key, _cleaned(key), "is in one of two columns of the same name"
        by_name[name] = key
    is_graph = "id" in by_name or "startdatetime" in by_name
    lacks_ids = by_name.keys().isdisjoint({"usageid", "id"}) and not by_name.keys().isdisjoint(_STARTS_WITHOUT_ID)
    places = {key: place for place, key in enumerate(row_keys)}
    chosen = []
    names = {}
    for field, wanted in _names(caller_number).items():
        # Where a row has two names of one field, the first in the table is meant, and the others are extra.
        found = next((name.lower() for name in wanted if name.lower() in by_name), None)
        if found is None:
            chosen.append(-1)
            names[field] = _NAMES[field][:2][-1] if is_graph else _NAMES[field][0]
        else:
            key = by_name.pop(found)
            chosen.append(places[key])
            names[field] = _cleaned(key)
    extra = tuple((_cleaned(key), places[key]) for key in by_name.values())
    return _Columns(row_keys, itemgetter(*chosen), names, extra, lacks_ids, fault)


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


def _record(row_number: int, row: Mapping[str, object], columns: _Columns) -> CallRecord:
    """The record of one row.

    Raises: RowError.
    """
    if columns.fault is not None:
        key, column, why = columns.fault
        raise RowError(row_number, column, row[key], why)  # type: ignore[index]  # a row may have any keys
    values = (*row.values(), None)
    cells = columns.cells(values)
    try:
        record_id, start, seconds, charge, fee, end, currency, *texts = _cleaned_cells(cells)
        started_at = _time("started_at", start)
        no_fee = _no_money(currency)
        return checked_record(
            _id_of(started_at, texts) if columns.lacks_ids else _present("record_id", record_id),
            started_at,
            _seconds(seconds),
            _money("charge", _present("charge", charge), currency),
            _money("connection_fee", fee, currency) if fee != "" else no_fee,
            _time("ended_at", end) if end else None,
            texts,
            {name: cell for name, place in columns.extra if (cell := values[place]) is not None},
        )
    except _UnreadableError as error:
        field, why = error.args
        raise RowError(row_number, columns.names[field], cells[_PLACES[field]], why) from error.__cause__


_PLACES = {field: place for place, field in enumerate(_NAMES)}


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


def _present(field: str, value: Any) -> Any:
    if value == "":
        raise _UnreadableError(field, _MISSING)
    return value


def _id_of(started_at: datetime, texts: list[str]) -> str:
    """A name for a row without an id: the legs of one call share its id, and differ in their start or a number."""
    told = dict(zip(TEXT_FIELDS, texts, strict=True))
    if not told["call_id"]:
        raise _UnreadableError("call_id", _MISSING)
    return f"{told['call_id']}/{started_at:{_TIME_FORMAT}}/{told['caller_number']}/{told['callee_number']}"


def _time(field: str, text: str) -> datetime:
    # A date alone would be read as its midnight, which no call's start is known to be.
    if text[10:11] not in _BEFORE_TIME:
        raise _UnreadableError(field, _NO_TIME if text else _MISSING)
    try:
        # Python cuts off what goes beyond microseconds; the report's seventh digit is a tenth of one.
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise _UnreadableError(field, _NO_TIME) from error
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
        raise _UnreadableError("duration_seconds", "is neither whole seconds nor HH:MM:SS" if value != "" else _MISSING)
    if seconds < 0:
        raise _UnreadableError("duration_seconds", "is below zero")
    if seconds > _MOST_SECONDS:
        raise _UnreadableError("duration_seconds", f"is more than {_MOST_SECONDS} seconds, the most a report can hold")
    return seconds


def _money(field: str, value: Any, currency: str) -> Money:
    try:
        if isinstance(value, str):
            return _money_of(value, currency)
        # float's own repr: that of a subclass (numpy's) may not be a number's text.
        return Money(Decimal(float.__repr__(value)) if isinstance(value, float) else value, currency)
    except CommCreditsError as error:
        raise _UnreadableError(field, f"is not an exact amount of money: {error}") from error


# A report has few currencies, and the same amounts again and again.
_money_of = lru_cache(maxsize=4096)(Money)


@lru_cache(maxsize=256)
def _no_money(currency: str) -> Money:
    try:
        return Money.zero(_present("currency", currency))
    except UnknownCurrencyError as error:
        raise _UnreadableError("currency", "is not an ISO 4217 currency code") from error


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
    row |= {_NAMES[field][0]: getattr(record, field) for field in ("record_id", *TEXT_FIELDS)}
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
