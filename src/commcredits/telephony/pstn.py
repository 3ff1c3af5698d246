"""Rows of Teams PSTN usage reports, read into CallRecords: the CSV exports and Microsoft Graph's `pstnCallLogRow`.

Rows come in as mappings and go out one by one; a row that cannot be read exactly is reported, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import attrs

from commcredits.errors import CommCreditsError, InvalidValueError, UnknownCurrencyError, WrongTypeError, shown
from commcredits.money import Money
from commcredits.telephony.calls import CallRecord

# What each field of a CallRecord is called in a report: first by the 25-column export, then by Microsoft Graph (which
# does not tell the direction), then by older exports and the admin center's tables. Letter case is ignored.
_NAMES: dict[str, tuple[str, ...]] = {
    "record_id": ("UsageId", "id"),
    "call_id": ("Call ID", "callId"),
    "conference_id": ("Conference ID", "conferenceId", "ConfID"),
    "usage_country": ("User Location", "usageCountryCode"),
    "user_id": ("Microsoft Entra ObjectId", "userId", "AAD ObjectId"),
    "user_principal_name": ("UPN", "userPrincipalName", "User ID", "Username"),
    "user_display_name": ("User Display Name", "userDisplayName", "Display name"),
    "caller_number": ("Caller ID", "callerNumber", "Called from"),
    "call_type": ("Call Type", "callType"),
    "call_direction": ("Call Direction",),
    "number_type": ("Number Type", "inventoryType"),
    "destination_context": ("Domestic/International", "destinationContext"),
    "destination_name": ("Destination Dialed", "destinationName", "To country or region"),
    "callee_number": ("Destination Number", "calleeNumber", "Called to", "Phone number"),
    "started_at": ("Start Time", "startDateTime", "Start Time (UTC)", "Time stamp (UTC)"),
    "ended_at": ("End Time", "endDateTime"),
    "duration_seconds": ("Duration Seconds", "duration"),
    "connection_fee": ("Connection Fee", "connectionCharge"),
    "charge": ("Charge", "charge"),
    "currency": ("Currency", "currency"),
    "capability": ("Capability", "licenseCapability"),
    "operator": ("Operator", "operator"),
}
_PARSED = ("record_id", "started_at", "ended_at", "duration_seconds", "charge", "connection_fee", "currency")
_KNOWN_NAMES = frozenset(name.lower() for names in _NAMES.values() for name in names)
_TEXTS = tuple(field for field in _NAMES if field not in _PARSED)

_NO_DATA = "no data"
_MISSING = "is missing"
_BOM = "\ufeff"
_SECONDS = re.compile(r"[0-9]{1,10}")
_CLOCK = re.compile(r"([0-9]{1,6}):([0-5][0-9]):([0-5][0-9])")
_MOST_SECONDS = 2**31 - 1


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
    rows: Iterable[Mapping[str, object]], *, on_error: Callable[[RowError], object] | None = None
) -> Iterator[CallRecord]:
    """Yield a CallRecord for each row of a PSTN usage report, in the order of the rows, one at a time.

    Each row, as `csv.DictReader` or `json.load` gives it, may be of the 25-column export, of the older 20-column
    export, or a `pstnCallLogRow` of Microsoft Graph (v1.0 or beta). Columns are found by name in any order, ignoring
    letter case, a byte order mark and surrounding spaces; the columns that no field of CallRecord is for are kept in
    its `extra`. Id, start, duration, charge and currency must be there. Empty text, null and `no data` mean missing.

    - Money: text, Decimal and int are exact; a float (JSON) is taken as its shortest text, so 0.03 is 0.03. At
      most 9 decimals. A missing connection fee is zero.
    - Times: ISO 8601 text, made UTC. One without an offset is in UTC, as the report defines its times. A seventh
      digit of the seconds' fraction is cut off. A missing end stays None.
    - Duration: whole seconds, or `HH:MM:SS`.
    - Numbers: Microsoft describes the caller's number in two ways, as the number that was called (the export, Graph
      v1.0) and as the one that made the call (Graph beta, the older Skype report). The second is taken for all.
    - A row that comes twice (overlapping downloads) is yielded twice: its `record_id` lets it be billed once.
    - Surplus cells (`csv.DictReader` puts them under None) are refused: a stray comma may have moved the charge.

    A row that cannot be read raises RowError, or is handed to `on_error`, and reading goes on with the next row;
    what `on_error` itself raises passes through.

    Raises: WrongTypeError, at once, for rows that are a text or one mapping, or an `on_error` that cannot be called.
    RowError, while iterating: the reading is over, the records before it were yielded.
    """
    if isinstance(rows, str | bytes | bytearray | Mapping) or not isinstance(rows, Iterable):
        raise WrongTypeError("rows", rows, "an iterable of mappings, such as csv.DictReader(file) or page['value']")
    if on_error is not None and not callable(on_error):
        raise WrongTypeError("on_error", on_error, "a callable or None")
    return _records(rows, on_error)


def _records(
    rows: Iterable[Mapping[str, object]], on_error: Callable[[RowError], object] | None
) -> Iterator[CallRecord]:
    for row_number, row in enumerate(rows, start=1):
        try:
            record = _Row(row_number, row).record()
        except RowError as error:
            if on_error is None:
                raise
            on_error(error)
        else:
            yield record


@attrs.frozen
class _Columns:
    """Where the fields stand in rows that have the same column names."""

    keys: Mapping[str, str]
    """The key of each field that the rows have."""
    names: Mapping[str, str]
    """What an error calls each field's column."""
    texts: tuple[str, ...]
    """The fields that are kept as text."""
    extra: tuple[tuple[str, str], ...]
    """Name and key of the columns that no field is for."""
    fault: tuple[object, str | None, str] | None
    """What makes all such rows unreadable: the key at fault, its name for the error, and why."""


# A file has the same names in all its rows, so they are looked at once.
@lru_cache(maxsize=32)
def _columns(row_keys: tuple[object, ...]) -> _Columns:
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
    keys, names = {}, {}
    for field, wanted in _NAMES.items():
        # Where a row has two names of one field, the first in the table is meant, and the others are extra.
        found = next((name.lower() for name in wanted if name.lower() in by_name), None)
        if found is None:
            names[field] = wanted[:2][-1] if is_graph else wanted[0]
        else:
            keys[field] = by_name.pop(found)
            names[field] = _cleaned(keys[field])
    return _Columns(
        keys=keys,
        names=names,
        texts=tuple(field for field in _TEXTS if field in keys),
        extra=tuple((_cleaned(key), key) for key in by_name.values()),
        fault=fault,
    )


def _cleaned(key: str) -> str:
    name = key.strip()
    if name.startswith(_BOM):
        # The mark also keeps a CSV reader from seeing that the first name is quoted.
        name = name[1:].strip().strip('"').strip()
    return name


class _Row:
    """One row while it is read: its cells by field, and errors that say where they stand."""

    __slots__ = ("cells", "columns", "extra", "number")

    def __init__(self, number: int, row: object) -> None:
        if not isinstance(row, Mapping):
            raise RowError(number, None, row, "is not a mapping of column names to values")
        self.number = number
        self.columns = _columns(tuple(row))
        if self.columns.fault is not None:
            key, column, why = self.columns.fault
            raise RowError(number, column, row[key], why)
        self.cells: dict[str, object] = {field: row[key] for field, key in self.columns.keys.items()}
        self.extra: dict[str, object] = {name: row[key] for name, key in self.columns.extra}

    def record(self) -> CallRecord:
        currency = self._required("currency")
        try:
            no_fee = Money.zero(currency)
        except UnknownCurrencyError as error:
            raise self._refusal("currency", "is not an ISO 4217 currency code") from error
        texts: dict[str, Any] = {field: self._text(field) for field in self.columns.texts}
        try:
            return CallRecord(
                record_id=self._required("record_id"),
                started_at=self._time("started_at", self._required("started_at")),
                ended_at=self._time("ended_at", ended) if (ended := self._text("ended_at")) else None,
                duration_seconds=self._seconds(),
                charge=self._money("charge", currency, None),
                connection_fee=self._money("connection_fee", currency, no_fee),
                extra=self.extra,
                **texts,
            )
        except InvalidValueError as error:
            # The record itself refuses what no call has, such as a duration below zero.
            raise self._refusal(error.parameter, f"is refused: {error}") from error

    def _refusal(self, field: str, why: str) -> RowError:
        return RowError(self.number, self.columns.names[field], self.cells.get(field), why)

    def _text(self, field: str) -> str:
        value = self.cells.get(field)
        if isinstance(value, str):
            text = value.strip()
            return "" if text.lower() == _NO_DATA else text
        if value is None:
            return ""
        raise self._refusal(field, f"is {type(value).__name__}, not text")

    def _required(self, field: str) -> str:
        text = self._text(field)
        if not text:
            raise self._refusal(field, _MISSING)
        return text

    def _time(self, field: str, text: str) -> datetime:
        # A date alone would be read as its midnight, which no call's start is known to be.
        if text[10:11] not in ("T", "t", " "):
            raise self._refusal(field, "is not a date and time in ISO 8601")
        try:
            # Python cuts off what goes beyond microseconds; the report's seventh digit is a tenth of one.
            time = datetime.fromisoformat(text)
        except ValueError as error:
            raise self._refusal(field, "is not a date and time in ISO 8601") from error
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time

    def _seconds(self) -> int:
        value = self.cells.get("duration_seconds")
        if isinstance(value, int) and not isinstance(value, bool):
            seconds = value
        else:
            text = self._required("duration_seconds")
            if _SECONDS.fullmatch(text):
                seconds = int(text)
            elif clock := _CLOCK.fullmatch(text):
                hours, minutes, rest = map(int, clock.groups())
                seconds = hours * 3600 + minutes * 60 + rest
            else:
                raise self._refusal("duration_seconds", "is neither whole seconds nor HH:MM:SS")
        if seconds > _MOST_SECONDS:
            raise self._refusal("duration_seconds", f"is more than {_MOST_SECONDS} seconds, the most a report can hold")
        return seconds

    def _money(self, field: str, currency: str, missing: Money | None) -> Money:
        value = self.cells.get(field)
        if isinstance(value, str):
            value = self._text(field) or None
        if value is None:
            if missing is None:
                raise self._refusal(field, _MISSING)
            return missing
        try:
            # float's own repr: that of a subclass (numpy's) may not be a number's text.
            exact = Decimal(float.__repr__(value)) if isinstance(value, float) else value
            return Money(exact, currency)  # type: ignore[arg-type]  # Money says what it does not take
        except CommCreditsError as error:
            raise self._refusal(field, f"is not an exact amount of money: {error}") from error
