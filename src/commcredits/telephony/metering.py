"""Meter: what the seconds of a call come to by a rate, under the conventions of a card.

All is counted in sixtieths of a billionth, so that nothing is divided before the cost is rounded, once.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import _UNITS, Money, _divided
from commcredits.telephony.rates import check_seconds
from commcredits.telephony.timebands import TimeBand, band_at, stretches
from commcredits.times import zone

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.telephony.rates import Rate

MINUTE = 60

SecondsByBand = tuple[tuple[TimeBand | None, int], ...]
"""How many seconds are billed at the price of each band; None: at the rate's own."""

_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = 10**6

# From which microsecond after the free seconds on a band holds.
_Changes = tuple[tuple[int, TimeBand | None], ...]


@attrs.frozen
class Meter:
    """Turns seconds into a cost; its arguments are those of RateCard.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """

    time_zone: str
    rounding_digits: int
    rounding: str
    increments: str
    bands: str
    _unit: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        zone(self.time_zone)
        if self.rounding_digits is None:
            raise WrongTypeError("rounding_digits", None, "an int from 0 to 9")
        Money.zero("USD").rounded(self.rounding_digits, self.rounding)
        check_choice("increments", self.increments, "offset", "absolute")
        check_choice("bands", self.bands, "split", "start")
        object.__setattr__(self, "_unit", _UNITS[self.rounding_digits])

    def metered(self, rate: Rate, at: datetime, seconds: int) -> tuple[int, SecondsByBand, int]:
        """The seconds billed, by band too, and the cost in billionths."""
        if rate.time_bands:
            check_seconds("seconds", seconds)
            by_band = self._by_band(rate, seconds, self._changes(rate, at, seconds))
            billed = sum(part for _, part in by_band)
            cost = self._cost(rate, _worth(rate, by_band)) if seconds else 0
        else:
            # The usual case, in few steps: a report has many calls.
            billed = self._billed(rate, seconds - rate.free_seconds)
            by_band = ((None, billed),)
            cost = self._cost(rate, rate.price_per_minute._billionths * billed) if seconds else 0
        return billed, by_band, cost

    def longest(self, rate: Rate, at: datetime, available: int, at_most_seconds: int) -> int:
        """The most seconds, up to `at_most_seconds`, that cost no more than so many billionths."""
        # A longer call never costs less, so the last that can be paid is found by halving.
        seconds = range(1, at_most_seconds + 1)
        if not rate.time_bands:
            return bisect_right(seconds, available, key=lambda each: self.metered(rate, at, each)[2])
        changes = self._changes(rate, at, at_most_seconds)
        return bisect_right(
            seconds, available, key=lambda each: self._cost(rate, _worth(rate, self._by_band(rate, each, changes)))
        )

    def _billed(self, rate: Rate, length: int, scale: int = 1) -> int:
        """How many seconds are billed of a length, free seconds taken off, that is in parts of a second: `scale`."""
        initial, increment = rate.initial_increment_seconds, rate.increment_seconds
        if length <= initial * scale:
            return initial if length > 0 else 0
        start = 0 if self.increments == "absolute" else initial
        return start - (start * scale - length) // (increment * scale) * increment

    def _changes(self, rate: Rate, at: datetime, seconds: int) -> _Changes:
        """The bands that hold during a call, and from when on."""
        if self.bands == "start":
            return ((0, band_at(rate.time_bands, at, self.time_zone)),)
        start = at + timedelta(seconds=rate.free_seconds)
        found = stretches(rate.time_bands, start, at + timedelta(seconds=seconds), self.time_zone)
        return tuple(((moment - start) // _MICROSECOND, band) for moment, band in found)

    def _by_band(self, rate: Rate, seconds: int, changes: _Changes) -> SecondsByBand:
        """How many seconds are billed at the price of each band, in the order of the call.

        An increment costs what holds when it begins.
        """
        whole = (seconds - rate.free_seconds) * _MICROSECONDS
        ends = [*(microsecond for microsecond, _ in changes[1:]), whole]
        found = []
        before = 0
        for (_, band), end in zip(changes, ends, strict=False):
            # All the increments that have begun by then.
            billed = self._billed(rate, min(end, whole), _MICROSECONDS)
            if billed > before:
                found.append((band, billed - before))
                before = billed
        return tuple(found) or ((None, 0),)

    def _cost(self, rate: Rate, worth: int) -> int:
        """The cost of a call that has begun, in billionths, rounded."""
        total = rate.connection_fee._billionths * MINUTE + worth
        minimum = rate.minimum_cost._billionths
        if minimum:
            total = max(total, minimum * MINUTE)
        unit = self._unit
        cost, finer = divmod(total, MINUTE * unit)
        return (_divided(total, MINUTE * unit, self.rounding) if finer else cost) * unit


def _worth(rate: Rate, by_band: SecondsByBand) -> int:
    """What billed seconds come to."""
    return sum((band or rate).price_per_minute._billionths * billed for band, billed in by_band)


def check_choice(parameter: str, value: object, *choices: str) -> None:
    """Refuse what is none of the choices.

    Raises: InvalidValueError.
    """
    if value not in choices:
        raise InvalidValueError(parameter, value, f"neither {' nor '.join(choices)}")
