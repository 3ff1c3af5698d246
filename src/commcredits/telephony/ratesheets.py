"""Rate sheets: the rows of a carrier's or Microsoft's published prices, read into Rates.

Rows come in as mappings; one that cannot be read exactly is reported with its number, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Any

import attrs

from commcredits.currencies import known_currency
from commcredits.errors import CommCreditsError, InvalidValueError, WrongTypeError, shown
from commcredits.money import Money
from commcredits.telephony.pstn import RowError
from commcredits.telephony.rates import Rate
from commcredits.times import zone

# What sheets call the fields of a Rate, in letters and digits alone; of two columns for one field the earlier counts.
# `increments` is both increments in one cell, such as 60/1.
_NAMES: dict[str, tuple[str, ...]] = {
    "prefix": ("prefix", "numberprefix", "dialprefix", "dialcode", "dialingcode", "destinationcode", "code"),
    "price_per_minute": ("priceperminute", "pricepermin", "pricemin", "rateperminute", "ratepermin", "rate", "price"),
    "connection_fee": ("connectionfee", "connectfee", "connectioncharge", "connectcharge", "setupfee"),
    "initial_increment_seconds": ("initialincrementseconds", "initialincrement", "firstincrement"),
    "increment_seconds": ("incrementseconds", "increment", "subsequentincrement", "recurringincrement"),
    "increments": ("increments", "billingincrements", "billingincrement"),
    "free_seconds": ("freeseconds", "includedseconds"),
    "minimum_cost": ("minimumcost", "mincost"),
    "direction": ("direction",),
    "effective_from": ("effectivefrom", "effectivedate", "validfrom", "startdate"),
    "effective_until": ("effectiveuntil", "validuntil", "expirationdate", "enddate"),
    "name": ("destinationname", "destination", "name", "description", "country"),
    "currency": ("currency",),
}
_MONEY = ("price_per_minute", "connection_fee", "minimum_cost")
_INCREMENT_FIELDS = ("initial_increment_seconds", "increment_seconds")
_SECONDS = (*_INCREMENT_FIELDS, "free_seconds")
_TIMES = ("effective_from", "effective_until")
_VALUES = (*_MONEY, *_SECONDS, *_TIMES, "direction", "name")
_DEFAULTS = frozenset({*_VALUES, "time_bands"}) - {"price_per_minute"}

_BOM = "\ufeff"
_BRACKETS = re.compile(r"\(([^()]*)\)")
_NOT_WORD = re.compile(r"[\W_]+")
_CODE = re.compile(r"\b[A-Z]{3}\b")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_WHOLE = re.compile(r"[0-9]{1,9}")
_INCREMENTS = re.compile(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*")
_PREFIX = re.compile(r"\+?[0-9]{1,15}")
_PREFIX_END = 10**15


def read_rate_rows(
    rows: Iterable[Mapping[str, object]],
    *,
    currency: str | None,
    columns: Mapping[str, str] | None,
    defaults: Mapping[str, object] | None,
    time_zone: str,
    on_error: Callable[[RowError], object] | None,
) -> tuple[str, list[Rate]]:
    """The currency of a rate sheet, and its rates: see `RateCard.read_rows`.

    Raises: WrongTypeError, InvalidValueError, UnknownCurrencyError, RowError. Nothing was read.
    """
    if isinstance(rows, str | bytes | bytearray | Mapping) or not isinstance(rows, Iterable):
        raise WrongTypeError("rows", rows, "an iterable of mappings, such as csv.DictReader(file)")
    if on_error is not None and not callable(on_error):
        raise WrongTypeError("on_error", on_error, "a callable or None")
    wanted = _named("columns", columns, frozenset(_NAMES))
    for name in wanted.values():
        if not isinstance(name, str):
            raise WrongTypeError("columns", name, "the name of a column, each of them")
    sheet = _Sheet(
        currency=None if currency is None else known_currency(currency),
        wanted=wanted,
        defaults=_named("defaults", defaults, _DEFAULTS),
        time_zone=time_zone,
    )
    rates = list(sheet.rates(rows, on_error))
    if sheet.currency is None:
        raise InvalidValueError("currency", None, "neither given nor told by the rows")
    return sheet.currency, rates


def _named(parameter: str, values: Mapping[str, Any] | None, fields: frozenset[str]) -> Mapping[str, Any]:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise WrongTypeError(parameter, values, "a mapping of fields of a Rate, or None")
    for field in values:
        if field not in fields:
            raise InvalidValueError(parameter, field, f"none of {', '.join(sorted(fields))}")
    return values


@attrs.frozen
class _Columns:
    """Where the fields stand in rows that have the same column names."""

    keys: Mapping[str, str]
    currency: str | None
    """The one that the name of the price's column tells."""
    fault: tuple[object, str] | None
    """What makes all such rows unreadable: the key at fault, and why."""


@attrs.define
class _Sheet:
    """A sheet while it is read."""

    currency: str | None
    wanted: Mapping[str, str]
    defaults: Mapping[str, object]
    time_zone: str
    _known: dict[tuple[object, ...], _Columns] = attrs.field(factory=dict, init=False)
    _seen: dict[tuple[str, str], list[tuple[int, Rate]]] = attrs.field(factory=dict, init=False)

    def rates(
        self, rows: Iterable[Mapping[str, object]], on_error: Callable[[RowError], object] | None
    ) -> Iterator[Rate]:
        """The rates of the rows, those that come twice once."""
        for number, row in enumerate(rows, start=1):
            try:
                rate = self._new_rate(number, row)
            except RowError as error:
                if on_error is None:
                    raise
                on_error(error)
            else:
                if rate is not None:
                    yield rate

    def _new_rate(self, number: int, row: Mapping[Any, object]) -> Rate | None:
        if not isinstance(row, Mapping):
            raise RowError(number, None, row, "is not a mapping of column names to values")
        names = tuple(row)
        columns = self._known.get(names)
        if columns is None:
            columns = self._known[names] = self._columns(names)
        if columns.fault is not None:
            key, why = columns.fault
            raise RowError(number, None, row[key], why)
        cells = self._cells(number, row, columns)
        rate = self._rate(cells)
        others = self._seen.setdefault((rate.direction, rate.prefix), [])
        for other_number, other in others:
            if other.overlaps(rate):
                if other.costs_as(rate) and other.lasts_as(rate):
                    return None
                raise cells.refusal("prefix", f"has another rate for the same time in row {other_number}")
        others.append((number, rate))
        return rate

    def _columns(self, names: tuple[object, ...]) -> _Columns:
        """Which column is which field."""
        cleaned: dict[str, str] = {}
        for name in names:
            if not isinstance(name, str):
                why = (
                    "are more cells than there are columns" if name is None else f"has no column name but {shown(name)}"
                )
                return _Columns({}, None, (name, why))
            cleaned[name] = _cleaned(name)
        keys: dict[str, str] = {}
        for field, aliases in _NAMES.items():
            if field in self.wanted:
                found = [name for name, text in cleaned.items() if text.lower() == self.wanted[field].strip().lower()]
                # A column that is named and not there is missing in every row.
                keys[field] = found[0] if found else self.wanted[field]
                continue
            candidates = [name for name, text in cleaned.items() if _plain(text) in aliases]
            if field == "price_per_minute" and self.currency is not None:
                candidates = [name for name in candidates if _told_currency(cleaned[name]) in (None, self.currency)]
            if candidates:
                # Prices of several dates stand side by side: the latest counts.
                latest = max(_told_date(cleaned[name]) for name in candidates)
                candidates = [name for name in candidates if _told_date(cleaned[name]) == latest]
                keys[field] = min(candidates, key=lambda name: aliases.index(_plain(cleaned[name])))
        price = keys.get("price_per_minute")
        return _Columns(keys, None if price is None else _told_currency(cleaned.get(price, "")), None)

    def _rate(self, cells: _Cells) -> Rate:
        prefix = cells.text("prefix")
        if not _PREFIX.fullmatch(prefix):
            raise cells.refusal("prefix", "is not the digits of a prefix" if prefix else "is missing")
        told = {field: value for field in _VALUES if (value := cells.value(field)) is not None}
        if "price_per_minute" not in told:
            raise cells.refusal("price_per_minute", "is missing")
        given: dict[str, Any] = {**self.defaults, **told, **cells.increments()}
        try:
            return Rate(prefix, **given)
        except CommCreditsError as error:
            field = getattr(error, "parameter", "price_per_minute")
            if field in _INCREMENT_FIELDS and field not in cells.keys:
                field = "increments"
            raise cells.refusal(field, f"is refused: {error}") from error

    def _cells(self, number: int, row: Mapping[str, object], columns: _Columns) -> _Cells:
        values = {field: row[key] for field, key in columns.keys.items() if key in row}
        cells = _Cells(number, values, columns.keys, self.currency or "", self.time_zone)
        told = cells.text("currency") or columns.currency
        if told is not None and self.currency is None:
            try:
                self.currency = known_currency(told)
            except CommCreditsError as error:
                raise cells.refusal("currency", "is not an ISO 4217 currency code") from error
        if self.currency is None:
            raise InvalidValueError("currency", None, "neither given nor told by the rows")
        if told is not None and told != self.currency:
            raise cells.refusal("currency", f"is not {self.currency}, the currency of the card")
        return attrs.evolve(cells, currency=self.currency)


@attrs.frozen
class _Cells:
    """The cells of one row by field, and errors that say where they stand."""

    number: int
    values: Mapping[str, object]
    keys: Mapping[str, str]
    currency: str
    time_zone: str

    def refusal(self, field: str, why: str) -> RowError:
        column = _cleaned(self.keys.get(field, field.replace("_", " ").capitalize()))
        return RowError(self.number, column, self.values.get(field), why)

    def value(self, field: str) -> object:
        """What the row says of a field of a Rate; None: nothing."""
        if field in _MONEY:
            return self.money(field)
        if field in _SECONDS:
            return self.seconds(field)
        if field in _TIMES:
            return self.instant(field)
        text = self.text(field)
        return (text.lower() if field == "direction" else text) or None

    def text(self, field: str) -> str:
        value = self.values.get(field)
        if isinstance(value, str):
            return value.strip()
        if value is None:
            return ""
        if field == "prefix" and isinstance(value, int) and not isinstance(value, bool):
            if not 0 <= value < _PREFIX_END:  # some integers are too long to be written out
                raise self.refusal(field, "is not the digits of a prefix")
            return str(value)
        raise self.refusal(field, f"is {type(value).__name__}, not text")

    def money(self, field: str) -> Money | None:
        value = self.values.get(field)
        if isinstance(value, str):
            value = value.strip() or None
        if value is None:
            return None
        try:
            if isinstance(value, str):
                return _money_of(value, self.currency)
            # float's own repr: that of a subclass (numpy's) may not be a number's text.
            exact = Decimal(float.__repr__(value)) if isinstance(value, float) else value
            return Money(exact, self.currency)  # type: ignore[arg-type]  # Money says what it does not take
        except CommCreditsError as error:
            raise self.refusal(field, f"is not an exact amount of money: {error}") from error

    def seconds(self, field: str) -> int | None:
        value = self.values.get(field)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        text = self.text(field)
        if text and not _WHOLE.fullmatch(text):
            raise self.refusal(field, "is not a whole number of seconds")
        return int(text) if text else None

    def instant(self, field: str) -> datetime | None:
        value = self.values.get(field)
        if not isinstance(value, date):
            text = self.text(field)
            if not text:
                return None
            try:
                value = datetime.fromisoformat(text)
            except ValueError as error:
                raise self.refusal(field, "is not a date, or a date and time, in ISO 8601") from error
        if not isinstance(value, datetime):
            value = datetime.combine(value, time(0))
        return value.replace(tzinfo=zone(self.time_zone)) if value.tzinfo is None else value

    def increments(self) -> dict[str, int]:
        text = self.text("increments")
        if not text:
            return {}
        both = _INCREMENTS.fullmatch(text)
        if both is None:
            raise self.refusal("increments", "is not an initial and a further increment in seconds, such as 60/1")
        return dict(zip(_INCREMENT_FIELDS, map(int, both.groups()), strict=True))


# A sheet has the same few prices again and again; rates that share them need less memory.
_money_of = lru_cache(maxsize=1024)(Money)


def _cleaned(name: str) -> str:
    # The mark also keeps a CSV reader from seeing that the first name is quoted.
    return name.strip().removeprefix(_BOM).strip().strip('"').strip()


def _plain(name: str) -> str:
    """A column's name without case, signs, spaces, and what stands in brackets."""
    return _NOT_WORD.sub("", _BRACKETS.sub("", name)).lower()


def _told_currency(name: str) -> str | None:
    """The currency that the brackets in a column's name tell."""
    code = _CODE.search(" ".join(_BRACKETS.findall(name)))
    return code[0] if code else None


def _told_date(name: str) -> str:
    """The date that the brackets in a column's name tell."""
    found = _DATE.search(" ".join(_BRACKETS.findall(name)))
    return found[0] if found else ""
