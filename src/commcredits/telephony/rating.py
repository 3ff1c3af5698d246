"""RateCard: what a call costs, by the longest prefix of the number that was called."""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import attrs

from commcredits.errors import CommCreditsError, InvalidValueError, WrongTypeError, shown
from commcredits.money import Money, _divided, _of
from commcredits.policy import check_money
from commcredits.telephony.calls import CallRecord
from commcredits.telephony.codes import call_type_of
from commcredits.telephony.metering import MINUTE, Meter, SecondsByBand, check_choice
from commcredits.telephony.numbers import EMERGENCY_NUMBERS, NUMBER_DIGITS_MAX, read_number
from commcredits.telephony.prefixes import PrefixTable
from commcredits.telephony.rates import DIRECTIONS, Direction, Rate, check_seconds
from commcredits.telephony.ratesheets import read_rate_rows
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from commcredits.telephony.pstn import RowError
    from commcredits.telephony.timebands import TimeBand


class NoRateError(CommCreditsError, LookupError):
    """The card has no rate for the number.

    Attributes: `number`, `at`, `direction`, `reason`: `no_rate` (no prefix of it has a rate in force), `masked` (what
    is hidden of it decides which rate it is) or `anonymous`. Nothing was recorded.
    """

    def __init__(self, number: str, at: datetime, direction: str, reason: str) -> None:
        super().__init__(f"{shown(number)}, {direction} at {at.isoformat()}: {reason}")
        self.number = number
        self.at = at
        self.direction = direction
        self.reason = reason


@attrs.frozen
class CostPart:
    """One line of what a call came to.

    - `kind`: `connection_fee`, `included` (the rate's free seconds, which cost nothing) or `per_minute`.
    - `seconds`: how many it is for; zero for the fee.
    - `cost`: the parts of a call add up to its cost; the last one bears the rounding and the minimum.
    - `time_band`: the one whose price counted; None: the rate's own price.
    """

    kind: str
    seconds: int
    cost: Money
    time_band: TimeBand | None = None


# Without a slot for weak references, so that a draft can become one.
@attrs.frozen(weakref_slot=False)
class RatedCall:
    """What one call came to.

    - `number`, `seconds`, `at`, `direction`: the call as it was rated: the number called, its length, its start (UTC).
    - `rate`: the rate that counted. For emergency numbers and free short codes it has no prefix and no price.
    - `billed_seconds`: what of it was billed, in whole increments; free seconds are not in it.
    - `cost`: rounded once.
    - `call`: the record that was rated, where there was one.
    """

    number: str
    seconds: int
    at: datetime
    direction: Direction
    rate: Rate
    billed_seconds: int
    cost: Money
    call: CallRecord | None
    _by_band: SecondsByBand

    @property
    def breakdown(self) -> tuple[CostPart, ...]:
        """The connection fee, the included seconds, the billed seconds by their time band: they add up to `cost`."""
        zero = Money.zero(self.cost.currency)
        fee = self.rate.connection_fee if self.seconds else zero
        parts = [
            CostPart("connection_fee", 0, fee),
            CostPart("included", min(self.seconds, self.rate.free_seconds), zero),
        ]
        rest = self.cost - fee
        *others, (last_band, last_seconds) = self._by_band
        for band, seconds in others:
            price = (band or self.rate).price_per_minute
            cost = _of(_divided(price._billionths * seconds, MINUTE, decimal.ROUND_HALF_EVEN), price.currency)
            parts.append(CostPart("per_minute", seconds, cost, band))
            rest -= cost
        parts.append(CostPart("per_minute", last_seconds, rest, last_band))
        return tuple(parts)


class _Draft:
    """A RatedCall that is still being filled in; it has the same slots, so that it can become one."""

    __slots__ = tuple(field.name for field in attrs.fields(RatedCall))


def _rates(rates: object) -> tuple[Rate, ...]:
    if isinstance(rates, str) or not isinstance(rates, Iterable):
        raise WrongTypeError("rates", rates, "an iterable of Rates")
    kept = tuple(rates)
    for rate in kept:
        if not isinstance(rate, Rate):
            raise WrongTypeError("rates", rate, "Rates, each of them")
    return kept


def _numbers(numbers: Iterable[str]) -> frozenset[str]:
    if isinstance(numbers, str) or not isinstance(numbers, Iterable):
        raise WrongTypeError("emergency_numbers", numbers, "an iterable of text")
    kept = frozenset(numbers)
    for number in kept:
        if not isinstance(number, str):
            raise WrongTypeError("emergency_numbers", number, "text, each of them")
    return kept


@attrs.frozen(eq=False, repr=False)
class RateCard:
    """Rates by prefix, of one currency; what it makes of a call depends on nothing but the call.

    The longest prefix of the number that has a rate in force when the call begins counts. The same rate twice is one;
    two different ones for a prefix, a direction and a time are refused.

    - `currency`: of all the rates.
    - `time_zone`: on whose clock time bands are.
    - `rounding_digits`, `rounding`: how the cost of a call is rounded, once: 0 to 9 decimals, a rounding of `decimal`.
    - `increments`: `offset` counts the increments after the initial one from its end, `absolute` from the start of the
      call. They differ where the initial increment is no multiple of the others: of 10/6, 11 seconds are billed as 16
      or as 12.
    - `bands`: `split` has each increment cost what holds when it begins; `start` has the whole call cost what
      holds when the call begins.
    - `short_codes`: numbers of up to six digits, dialled without a plus, that the card has no rate for by just those
      digits, are `free` or `refused`.
    - `emergency_numbers`: free, whatever the rates.

    Raises: WrongTypeError, InvalidValueError, UnknownCurrencyError, CurrencyMismatchError, RateConflictError. Nothing
    was made.
    """

    rates: tuple[Rate, ...] = attrs.field(converter=_rates)
    currency: str = attrs.field(kw_only=True)
    name: str = attrs.field(default="", kw_only=True)
    time_zone: str = attrs.field(default="UTC", kw_only=True)
    rounding_digits: int = attrs.field(default=4, kw_only=True)
    rounding: str = attrs.field(default=decimal.ROUND_HALF_UP, kw_only=True)
    increments: Literal["offset", "absolute"] = attrs.field(default="offset", kw_only=True)
    bands: Literal["split", "start"] = attrs.field(default="split", kw_only=True)
    short_codes: Literal["free", "refused"] = attrs.field(default="free", kw_only=True)
    emergency_numbers: frozenset[str] = attrs.field(default=EMERGENCY_NUMBERS, converter=_numbers, kw_only=True)
    _tables: dict[str, PrefixTable] = attrs.field(init=False)
    _emergency: Rate = attrs.field(init=False)
    _short_code: Rate = attrs.field(init=False)
    _meter: Meter = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        zero = Money.zero(self.currency)
        if not isinstance(self.name, str):
            raise WrongTypeError("name", self.name, "text")
        meter = Meter(self.time_zone, self.rounding_digits, self.rounding, self.increments, self.bands)
        check_choice("short_codes", self.short_codes, "free", "refused")
        for rate in self.rates:
            check_money("rates", rate.price_per_minute, self.currency)
        tables = {
            direction: PrefixTable(rate for rate in self.rates if rate.direction == direction)
            for direction in DIRECTIONS
        }
        object.__setattr__(self, "rates", tuple(rate for table in tables.values() for rate in table))
        object.__setattr__(self, "_tables", tables)
        object.__setattr__(self, "_emergency", Rate("", zero, name="Emergency"))
        object.__setattr__(self, "_meter", meter)
        object.__setattr__(self, "_short_code", Rate("", zero, name="Short code"))

    @classmethod
    def read_rows(
        cls,
        rows: Iterable[Mapping[str, object]],
        *,
        currency: str | None = None,
        columns: Mapping[str, str] | None = None,
        defaults: Mapping[str, object] | None = None,
        on_error: Callable[[RowError], object] | None = None,
        time_zone: str = "UTC",
        **card: Any,
    ) -> RateCard:
        """The card of a published rate sheet, whose rows `csv.DictReader` or `json.load` gives.

        Columns are found by the names that sheets commonly give them, in any order, ignoring letter case, signs, what
        stands in brackets, and a byte order mark; or by those in `columns`, such as
        `{"prefix": "Area", "price_per_minute": "Peak"}`. What is not found is the default of Rate, or stands in
        `defaults`, such as `{"direction": "inbound", "increment_seconds": 1}`. A prefix and a price must be there.

        - Prices: text, Decimal and int are exact; a float (JSON) is taken as its shortest text. The currency is
          `currency`, or told by a column, or in brackets by the name of the price's: `Price / min (USD)`. Of prices
          with dates in brackets, the latest counts.
        - Increments: two columns, or one such as `60/1`.
        - Dates: ISO 8601; a date without a time is its midnight, a time without an offset is meant, in `time_zone`.
        - The same rate twice is one; another rate for the same prefix, direction and time is an error.

        A row that cannot be read raises RowError, or is handed to `on_error` and left out. The other arguments are
        those of RateCard.

        Raises: WrongTypeError, InvalidValueError, UnknownCurrencyError, RowError. Nothing was made.
        """
        told, rates = read_rate_rows(
            rows, currency=currency, columns=columns, defaults=defaults, time_zone=time_zone, on_error=on_error
        )
        return cls(rates, currency=told, time_zone=time_zone, **card)

    def __repr__(self) -> str:
        return f"<RateCard {self.name!r}: {len(self.rates):,} rates in {self.currency}>"

    def rate_for(self, number: str, *, at: datetime, direction: Direction = "outbound") -> Rate:
        """The rate in force at `at` with the longest prefix of the number.

        Emergency numbers, and short codes that the card has no rate for, have a rate without prefix and price. Where
        digits are masked, those before the first `*` decide.

        Raises: WrongTypeError, InvalidValueError. NoRateError: there is none, or the masked digits would decide, or
        the number is withheld. Nothing was recorded.
        """
        return self._found(number, utc(at, "at"), direction)

    def _found(self, number: str, at: datetime, direction: Direction) -> Rate:
        try:
            table = self._tables[direction]
        except (KeyError, TypeError):
            raise InvalidValueError("direction", direction, f"neither {' nor '.join(DIRECTIONS)}") from None
        # The usual case, told by the fewest steps: a plus, a digit from 1 to 9, digits.
        if number.__class__ is str and "+1" <= number < "+:" and number[1:].isdecimal() and number.isascii():
            rate = table.longest(number, at)
            if rate is not None and len(number) <= NUMBER_DIGITS_MAX + 1:
                return rate
        return self._rate_for_any(table, number, at, direction)

    def _rate_for_any(self, table: PrefixTable, number: str, at: datetime, direction: Direction) -> Rate:
        read = read_number(number, self.emergency_numbers)
        rate: Rate | None
        match read.kind:
            case "emergency":
                rate = self._emergency
            case "anonymous":
                raise NoRateError(number, at, direction, "anonymous")
            case "short_code":
                if read.masked:
                    raise NoRateError(number, at, direction, "masked")
                rate = table.exact(read.digits, at)
                if rate is None and self.short_codes == "free":
                    rate = self._short_code
            case "international":
                rate = table.longest("+" + read.digits, at)
                if read.masked and table.hidden_decide(read.digits, read.length, rate, at):
                    raise NoRateError(number, at, direction, "masked")
        if rate is None:
            raise NoRateError(number, at, direction, "no_rate")
        return rate

    def rate(self, number: str, seconds: int, *, at: datetime, direction: Direction = "outbound") -> RatedCall:
        """What a call of so many seconds to (or, inbound, at) a number costs that begins at `at`.

        Raises: as `rate_for`. Nothing was recorded.
        """
        check_seconds("seconds", seconds)
        at = utc(at, "at")
        return self._rated(number, seconds, at, direction, self._found(number, at, direction), None)

    def rate_call(self, call_record: CallRecord) -> RatedCall:
        """What a reported call costs: by the number that was called, whatever the direction.

        So a call that came in to a toll-free number is rated by that number. Calls to and from emergency numbers, by
        their call type, are free whatever the number. A record without call type and direction is outbound.

        Raises: as `rate_for`; WrongTypeError; InvalidValueError for a call type that does not tell the direction.
            Nothing was recorded.
        """
        if not isinstance(call_record, CallRecord):
            raise WrongTypeError("call_record", call_record, "a CallRecord")
        number, at = call_record.callee_number, call_record.started_at
        kind = call_type_of(call_record.call_type)
        direction: Any = call_record.direction if kind is None else kind.direction
        if not direction:
            if call_record.call_type:
                raise InvalidValueError("call_type", call_record.call_type, "neither inbound nor outbound")
            direction = "outbound"
        is_emergency = kind is not None and kind.is_emergency
        rate = self._emergency if is_emergency else self._found(number, at, direction)
        return self._rated(number, call_record.duration_seconds, at, direction, rate, call_record)

    def longest_affordable(
        self,
        number: str,
        available: Money,
        *,
        at: datetime,
        direction: Direction = "outbound",
        at_most_seconds: int = 86_400,
    ) -> int:
        """The largest whole number of seconds, up to `at_most_seconds`, that cost no more than what is available.

        Zero: not even one second can be paid for.

        Raises: as `rate_for`; CurrencyMismatchError. Nothing was recorded.
        """
        check_money("available", available, self.currency)
        check_seconds("at_most_seconds", at_most_seconds)
        at = utc(at, "at")
        rate = self._found(number, at, direction)
        return self._meter.longest(rate, at, available._billionths, at_most_seconds)

    def _rated(
        self, number: str, seconds: int, at: datetime, direction: Direction, rate: Rate, call: CallRecord | None
    ) -> RatedCall:
        billed, by_band, cost = self._meter.metered(rate, at, seconds)
        # Filled in past the constructor, which would take three times as long; a report makes one a row.
        draft: Any = _Draft()
        draft.number = number
        draft.seconds = seconds
        draft.at = at
        draft.direction = direction
        draft.rate = rate
        draft.billed_seconds = billed
        draft.cost = _of(cost, self.currency)
        draft.call = call
        draft._by_band = by_band  # noqa: SLF001  # its own
        draft.__class__ = RatedCall
        return draft  # type: ignore[no-any-return]
