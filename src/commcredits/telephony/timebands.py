"""TimeBand: the hours and weekdays at which a call costs something else, on the clock of a time zone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.policy import check_money
from commcredits.times import offset_change, zone

if TYPE_CHECKING:
    from commcredits.money import Money

EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
WORKDAYS = (0, 1, 2, 3, 4)
WEEKEND = (5, 6)

_MIDNIGHT = time(0)
_DAY = timedelta(days=1)


def _weekdays(values: Iterable[int]) -> frozenset[int]:
    wanted = "numbers from 0 (Monday) to 6 (Sunday)"
    if not isinstance(values, Iterable):
        raise WrongTypeError("weekdays", values, wanted)
    kept = tuple(values)
    for weekday in kept:
        if isinstance(weekday, bool) or not isinstance(weekday, int):
            raise WrongTypeError("weekdays", weekday, wanted)
        if weekday not in EVERY_DAY:
            raise InvalidValueError("weekdays", weekday, "not from 0 (Monday) to 6 (Sunday)")
    if not kept:
        raise InvalidValueError("weekdays", kept, "none at all")
    return frozenset(kept)


@attrs.frozen
class TimeBand:
    """Hours of some weekdays, and the price per minute in them.

    A band holds in `[start, end)` as the clock on the wall shows it, whatever daylight-saving changes do: an hour that
    is skipped is in no band, and one that comes twice is in its band twice. A band whose end is not after its start
    goes on into the next day, and counts as the day on which it started; where both are the same it lasts for the
    whole day that they begin.

    - `price_per_minute`: zero or more.
    - `start`, `end`: a `datetime.time` without a time zone.
    - `weekdays`: 0 for Monday to 6 for Sunday, as `datetime.weekday` counts.
    - `name`: what an invoice may call it.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """

    price_per_minute: Money
    start: time = attrs.field(default=_MIDNIGHT, kw_only=True)
    end: time = attrs.field(default=_MIDNIGHT, kw_only=True)
    weekdays: frozenset[int] = attrs.field(default=EVERY_DAY, converter=_weekdays, kw_only=True)
    name: str = attrs.field(default="", kw_only=True)

    def __attrs_post_init__(self) -> None:
        if check_money("price_per_minute", self.price_per_minute).is_negative:
            raise InvalidValueError("price_per_minute", self.price_per_minute, "below zero")
        for parameter in ("start", "end"):
            clock = getattr(self, parameter)
            if not isinstance(clock, time):
                raise WrongTypeError(parameter, clock, "a datetime.time")
            if clock.tzinfo is not None:
                raise InvalidValueError(parameter, clock, "has a time zone; the card's is meant")
        if not isinstance(self.name, str):
            raise WrongTypeError("name", self.name, "text")

    def holds(self, wall: datetime) -> bool:
        """Whether the band holds when the clock on the wall shows `wall`."""
        clock, today = wall.time(), wall.weekday()
        if self.start < self.end:
            return self.start <= clock < self.end and today in self.weekdays
        if clock >= self.start:
            return today in self.weekdays
        return clock < self.end and (today - 1) % 7 in self.weekdays


def band_at(bands: Iterable[TimeBand], at: datetime, time_zone: str) -> TimeBand | None:
    """The first of the bands that holds at an instant; None: none of them does."""
    wall = at.astimezone(zone(time_zone)).replace(tzinfo=None)
    return next((band for band in bands if band.holds(wall)), None)


def stretches(
    bands: tuple[TimeBand, ...], start: datetime, end: datetime, time_zone: str
) -> list[tuple[datetime, TimeBand | None]]:
    """What holds from `start` up to `end`: each instant from which another band holds, and that band.

    The first is `start` itself.
    """
    found: list[tuple[datetime, TimeBand | None]] = []
    for moment in _moments(bands, start, end, time_zone):
        band = band_at(bands, moment, time_zone)
        if not found or band is not found[-1][1]:
            found.append((moment, band))
    return found


def _moments(bands: tuple[TimeBand, ...], start: datetime, end: datetime, time_zone: str) -> list[datetime]:
    """The instants in `[start, end)` at which another band may begin to hold, in order; `start` is one."""
    place = zone(time_zone)
    clocks = {clock for band in bands for clock in (band.start, band.end)}
    moments = {start}
    day, last_day = start.astimezone(place).date(), end.astimezone(place).date()
    while day <= last_day:
        for clock in clocks:
            # A time that comes twice is two instants; those of a time that is skipped do no harm.
            for fold in (0, 1):
                moment = datetime.combine(day, clock.replace(fold=fold), place).astimezone(UTC)
                if start < moment < end:
                    moments.add(moment)
        day += _DAY
    ordered = [*sorted(moments), end]
    for before, after in pairwise(ordered):
        if before.astimezone(place).utcoffset() != after.astimezone(place).utcoffset():
            moments.add(offset_change(before, after, place))
    return sorted(moment for moment in moments if moment < end)
