"""Prefixes: the rates of one direction, found by the longest prefix of a number. A plain dict is the fastest way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits.errors import CommCreditsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from commcredits.telephony.rates import Rate

# Which lengths a number's prefix may have is known from its first digits.
_HEAD = len("+1234")


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
    """The rates of one direction by prefix; several of one prefix are in force at different times.

    The same rate twice is one. Two that say different things at one time are refused.

    Raises: RateConflictError. Nothing was made.
    """

    __slots__ = ("_lengths", "_rates", "_short_lengths", "_stems")

    def __init__(self, rates: Iterable[Rate]) -> None:
        # By the prefix with a plus, as numbers are written. A rate without bounds, the usual case, stands there alone.
        self._rates: dict[str, Rate | tuple[Rate, ...]] = {}
        for rate in rates:
            self._add(rate)
        # The lengths that a prefix may have, longest first: by the first digits of the number, and for all others.
        self._short_lengths = _longest_first(len(key) for key in self._rates if len(key) < _HEAD)
        longer: dict[str, set[int]] = {}
        for key in self._rates:
            if len(key) >= _HEAD:
                longer.setdefault(key[:_HEAD], set()).add(len(key))
        self._lengths = {
            head: _longest_first([*lengths, *(end for end in self._short_lengths if head[:end] in self._rates)])
            for head, lengths in longer.items()
        }
        self._stems: frozenset[str] | None = None

    def _add(self, rate: Rate) -> None:
        key = "+" + rate.prefix
        others = self._of(key)
        for other in others:
            if other.overlaps(rate):
                if other.costs_as(rate) and other.lasts_as(rate):
                    return
                raise RateConflictError(other, rate)
        self._rates[key] = rate if rate.always else (*others, rate)

    def __iter__(self) -> Iterator[Rate]:
        for key in self._rates:
            yield from self._of(key)

    def _of(self, key: str) -> tuple[Rate, ...]:
        rates = self._rates.get(key, ())
        return rates if isinstance(rates, tuple) else (rates,)

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


def _longest_first(lengths: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(lengths), reverse=True))
