"""Prefixes: the rates of one direction, found by the longest prefix of a number. A plain dict is the fastest way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits.errors import CommCreditsError

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.telephony.rates import Rate

# Which lengths a number's prefix may have is known from its first three digits.
_HEAD = len("+123")


class RateConflictError(CommCreditsError, ValueError):
    """Two rates say different things about the same prefix, direction and time.

    Attributes: `first`, `second`. Nothing was recorded.
    """

    def __init__(self, first: Rate, second: Rate) -> None:
        super().__init__(
            f"prefix {first.prefix!r} has two {first.direction} rates at one time: {first.price_per_minute} a minute"
            f" ({first.name or 'no name'}) and {second.price_per_minute} a minute ({second.name or 'no name'})"
        )
        self.first = first
        self.second = second


class PrefixTable:
    """The rates of one direction by prefix; several of one prefix are in force at different times."""

    __slots__ = ("_lengths", "_rates", "_short_lengths", "_stems")

    def __init__(self) -> None:
        # By the prefix with a plus, as numbers are written. A rate without bounds, the usual case, stands there alone.
        self._rates: dict[str, Rate | tuple[Rate, ...]] = {}
        self._lengths: dict[str, tuple[int, ...]] = {}
        self._short_lengths: tuple[int, ...] = ()
        self._stems: frozenset[str] | None = None

    def add(self, rate: Rate) -> bool:
        """Take in a rate, unless it is there; whether it was not.

        Raises: RateConflictError; nothing was added.
        """
        key = "+" + rate.prefix
        others = self._of(key)
        for other in others:
            if other.overlaps(rate):
                if other.costs_as(rate) and other.lasts_as(rate):
                    return False
                raise RateConflictError(other, rate)
        self._rates[key] = rate if rate.always else (*others, rate)
        if not others:
            self._note_length(key)
        return True

    def _of(self, key: str) -> tuple[Rate, ...]:
        rates = self._rates.get(key, ())
        return rates if isinstance(rates, tuple) else (rates,)

    def _note_length(self, key: str) -> None:
        if len(key) >= _HEAD:
            head = key[:_HEAD]
            lengths = self._lengths.get(head, self._short_lengths)
            self._lengths[head] = _with(lengths, len(key))
        else:
            self._short_lengths = _with(self._short_lengths, len(key))
            self._lengths = {head: _with(lengths, len(key)) for head, lengths in self._lengths.items()}

    def exact(self, digits: str, at: datetime) -> Rate | None:
        """The rate of just these digits that is in force at `at`."""
        return next((rate for rate in self._of("+" + digits) if rate.in_force(at)), None)

    def longest(self, number: str, at: datetime) -> Rate | None:
        """The rate of the longest prefix of a number with a plus that is in force at `at`."""
        found = self._rates.get
        for length in self._lengths.get(number[:_HEAD], self._short_lengths):
            rates = found(number[:length])
            if rates is not None:
                if rates.__class__ is not tuple:
                    return rates  # type: ignore[return-value]
                for rate in rates:
                    if rate.in_force(at):
                        return rate
        return None

    def hidden_decide(self, seen: str, length: int, found: Rate | None, at: datetime) -> bool:
        """Whether a number of `length` digits that begins with those `seen` may have another rate than `found`."""
        if self._stems is None:
            self._stems = frozenset(key[:end] for key in self._rates for end in range(1, len(key)))
        key = "+" + seen
        if key not in self._stems:
            return False
        return any(
            rate.in_force(at) and (found is None or not found.costs_as(rate))
            for prefix in self._rates
            if prefix.startswith(key) and len(key) < len(prefix) <= length + 1
            for rate in self._of(prefix)
        )


def _with(lengths: tuple[int, ...], length: int) -> tuple[int, ...]:
    return tuple(sorted({*lengths, length}, reverse=True))
