"""Rate: what calls to the numbers of one prefix cost."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.policy import check_money
from commcredits.telephony.numbers import NUMBER_DIGITS_MAX
from commcredits.telephony.timebands import TimeBand
from commcredits.times import FAR_FUTURE, LONG_AGO, utc

if TYPE_CHECKING:
    from datetime import datetime

Direction = Literal["outbound", "inbound"]
DIRECTIONS: tuple[str, ...] = get_args(Direction)

SECONDS_MAX = 2**31 - 1


# The rates of a card share it: a call should not have to fetch a zero of its own from memory that is far away.
_zero = cache(Money.zero)


def _no_money(rate: Rate) -> Money:
    return _zero(check_money("price_per_minute", rate.price_per_minute).currency)


@attrs.frozen
class Rate:
    """What calls to the numbers that begin with `prefix` cost.

    A call of no length costs nothing. Of any other, `free_seconds` are taken off; what is left, if anything, is billed
    as one initial increment and then whole increments, at the price per minute. The connection fee is added, and the
    call comes to at least `minimum_cost`.

    - `prefix`: digits from the country code on, at most 15; a plus before them is dropped. Empty: every number that no
      longer prefix is for.
    - `price_per_minute`, `connection_fee`, `minimum_cost`: Money of one currency, zero or more.
    - `initial_increment_seconds`, `increment_seconds`: one or more; 60 and 60 bill minutes begun, 1 and 1 seconds.
    - `free_seconds`: zero or more.
    - `direction`: `outbound`, or `inbound` for calls that came in, such as those to a toll-free number of one's own.
    - `effective_from`, `effective_until`: a call is rated so if it began in `[effective_from, effective_until)`. None:
      no such bound. Kept in UTC.
    - `name`: of the destination.
    - `time_bands`: the times with another price per minute, on the card's clock. Where several hold the first counts;
      where none does, `price_per_minute`.

    Raises: WrongTypeError, InvalidValueError, CurrencyMismatchError. Nothing was made.
    """

    prefix: str
    price_per_minute: Money
    connection_fee: Money = attrs.field(default=attrs.Factory(_no_money, takes_self=True), kw_only=True)
    initial_increment_seconds: int = attrs.field(default=60, kw_only=True)
    increment_seconds: int = attrs.field(default=60, kw_only=True)
    free_seconds: int = attrs.field(default=0, kw_only=True)
    minimum_cost: Money = attrs.field(default=attrs.Factory(_no_money, takes_self=True), kw_only=True)
    direction: Direction = attrs.field(default="outbound", kw_only=True)
    effective_from: datetime | None = attrs.field(default=None, kw_only=True)
    effective_until: datetime | None = attrs.field(default=None, kw_only=True)
    name: str = attrs.field(default="", kw_only=True)
    time_bands: tuple[TimeBand, ...] = attrs.field(default=(), kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.prefix, str):
            raise WrongTypeError("prefix", self.prefix, "text")
        prefix = self.prefix.removeprefix("+")
        if prefix and not (prefix.isascii() and prefix.isdigit()):
            raise InvalidValueError("prefix", self.prefix, "not digits alone")
        if len(prefix) > NUMBER_DIGITS_MAX:
            raise InvalidValueError("prefix", self.prefix, f"longer than {NUMBER_DIGITS_MAX} digits")
        currency = check_money("price_per_minute", self.price_per_minute).currency
        for parameter in ("price_per_minute", "connection_fee", "minimum_cost"):
            if check_money(parameter, getattr(self, parameter), currency).is_negative:
                raise InvalidValueError(parameter, getattr(self, parameter), "below zero")
        check_seconds("initial_increment_seconds", self.initial_increment_seconds, least=1)
        check_seconds("increment_seconds", self.increment_seconds, least=1)
        check_seconds("free_seconds", self.free_seconds)
        check_direction(self.direction)
        starts = None if self.effective_from is None else utc(self.effective_from, "effective_from")
        ends = None if self.effective_until is None else utc(self.effective_until, "effective_until")
        if starts is not None and ends is not None and ends <= starts:
            raise InvalidValueError("effective_until", ends, f"not after {starts.isoformat()}, when the rate begins")
        if not isinstance(self.name, str):
            raise WrongTypeError("name", self.name, "text")
        object.__setattr__(self, "prefix", prefix)
        object.__setattr__(self, "effective_from", starts)
        object.__setattr__(self, "effective_until", ends)
        object.__setattr__(self, "time_bands", _bands(self.time_bands, currency))

    @property
    def always(self) -> bool:
        """Whether it is in force at all times."""
        return self.effective_from is None and self.effective_until is None

    def in_force(self, at: datetime) -> bool:
        """Whether a call that begins at `at` is rated so."""
        starts, ends = self.effective_from, self.effective_until
        return (starts is None or starts <= at) and (ends is None or at < ends)

    def overlaps(self, other: Rate) -> bool:
        """Whether there is a time at which both are in force."""
        starts = max(self.effective_from or LONG_AGO, other.effective_from or LONG_AGO)
        return starts < min(self.effective_until or FAR_FUTURE, other.effective_until or FAR_FUTURE)

    def costs_as(self, other: Rate) -> bool:
        """Whether every call costs the same by both, at a time at which both are in force."""
        return all(getattr(self, name) == getattr(other, name) for name in _TERMS)

    def lasts_as(self, other: Rate) -> bool:
        """Whether both are in force at the same times."""
        return (self.effective_from, self.effective_until) == (other.effective_from, other.effective_until)


# What makes the cost of a call; the rest says which calls, and when.
_TERMS = (
    "price_per_minute",
    "connection_fee",
    "initial_increment_seconds",
    "increment_seconds",
    "free_seconds",
    "minimum_cost",
    "time_bands",
)


def _bands(bands: object, currency: str) -> tuple[TimeBand, ...]:
    if isinstance(bands, str) or not isinstance(bands, Iterable):
        raise WrongTypeError("time_bands", bands, "TimeBands")
    kept = tuple(bands)
    for band in kept:
        if not isinstance(band, TimeBand):
            raise WrongTypeError("time_bands", band, "TimeBands, each of them")
        check_money("time_bands", band.price_per_minute, currency)
    return kept


def check_seconds(parameter: str, value: object, *, least: int = 0) -> None:
    """Refuse what is no whole number of seconds, fewer than `least`, or more than `SECONDS_MAX`.

    Raises: WrongTypeError, InvalidValueError.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongTypeError(parameter, value, "a whole number of seconds")
    if value < least:
        raise InvalidValueError(parameter, value, f"fewer than {least}" if least else "below zero")
    if value > SECONDS_MAX:
        raise InvalidValueError(parameter, value, f"more than {SECONDS_MAX}, the most that a report can hold")


def check_direction(value: object) -> None:
    """Refuse what is not the direction of a call.

    Raises: InvalidValueError.
    """
    if value not in DIRECTIONS:
        raise InvalidValueError("direction", value, f"neither {' nor '.join(DIRECTIONS)}")
