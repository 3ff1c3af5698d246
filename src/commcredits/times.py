"""Instants and calendar periods: what is taken as a time, and how months, weeks and days are counted in a time zone.

Instants are kept in UTC. Calendar arithmetic happens on the wall clock of a named zone and comes back as an instant;
it never lets a later start end earlier, whatever daylight-saving changes lie between.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from dateutil.relativedelta import relativedelta

from commcredits.errors import InvalidValueError, WrongTypeError

if TYPE_CHECKING:
    from datetime import tzinfo

FIRST_YEAR, LAST_YEAR = 1901, 7998
"""Instants outside these years are refused, so that every period of the terms can be added to one."""

LONG_AGO = datetime(FIRST_YEAR - 1, 1, 1, tzinfo=UTC)
"""Before every instant that is accepted; as a due time: not known, look."""

FAR_FUTURE = datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC)
"""Later than every instant that is accepted."""

_PERIODS_END = datetime(9000, 1, 1, tzinfo=UTC)


def utc(value: datetime, parameter: str) -> datetime:
    """`value` as a plain datetime in UTC.

    Raises: WrongTypeError for anything but a datetime; InvalidValueError when it is naive, or outside the
    years `FIRST_YEAR` to `LAST_YEAR`.
    """
    if value.__class__ is datetime and value.tzinfo is UTC and FIRST_YEAR <= value.year <= LAST_YEAR and not value.fold:
        return value  # the usual case
    if not isinstance(value, datetime):
        raise WrongTypeError(parameter, value, "a timezone-aware datetime")
    if value.tzinfo is None or value.utcoffset() is None:
        raise InvalidValueError(parameter, value, "naive; pass a timezone-aware datetime")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise InvalidValueError(parameter, value, f"outside the years {FIRST_YEAR} to {LAST_YEAR}")
    instant = value.astimezone(UTC)
    return datetime(
        instant.year,
        instant.month,
        instant.day,
        instant.hour,
        instant.minute,
        instant.second,
        instant.microsecond,
        tzinfo=UTC,
    )


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name such as "Europe/Berlin".

    Raises: WrongTypeError; InvalidValueError when there is none of that name.
    """
    if not isinstance(name, str):
        raise WrongTypeError("time_zone", name, "the name of a time zone")
    return _zone(name)


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    # Most ledgers count in UTC, so the time zone database is loaded only when it is wanted.
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidValueError("time_zone", name, "not the name of a time zone") from error


def check_period(parameter: str, period: relativedelta | timedelta) -> None:
    """Refuse a period that is not a positive, plain length of time.

    Raises: WrongTypeError, InvalidValueError.
    """
    if isinstance(period, timedelta):
        forward = period > timedelta(0)
    elif isinstance(period, relativedelta):
        parts = [getattr(period, name) for name in PERIOD_PARTS]
        absolute = (period.year, period.month, period.day, period.hour, period.minute, period.second)
        plain = all(isinstance(part, int) for part in parts) and period.microsecond is None and not period.leapdays
        if not plain or period.weekday is not None or any(part is not None for part in absolute):
            raise InvalidValueError(
                parameter, period, "only whole relative parts (months=, days=, ...) are lengths of time"
            )
        forward = all(part >= 0 for part in parts) and any(parts)
    else:
        raise WrongTypeError(parameter, period, "a relativedelta or a timedelta")
    if not forward:
        raise InvalidValueError(parameter, period, "must be longer than nothing")
    try:
        too_long = FAR_FUTURE + period > _PERIODS_END
    except (OverflowError, ValueError):
        too_long = True
    if too_long:
        raise InvalidValueError(parameter, period, "longer than 1,000 years")


PERIOD_PARTS = ("years", "months", "days", "hours", "minutes", "seconds", "microseconds")
"""The parts of a relativedelta that make a length of time."""


def after(start: datetime, period: relativedelta | timedelta, time_zone: str) -> datetime:
    """The instant that lies `period` after `start`, months and days counted on the wall clock of `time_zone`.

    Where the month is too short for the day (29 February, the 31st), it is the local midnight that follows, so that a
    later start never ends earlier; for the same reason a wall-clock time that is skipped or repeated by a
    daylight-saving change counts as the moment of that change.
    """
    if isinstance(period, timedelta):
        return start + period
    place = zone(time_zone)
    wall = _wall(start, place)
    months = relativedelta(years=period.years, months=period.months)
    moved = wall + months
    if moved.day != wall.day:
        moved = moved.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    moved += timedelta(days=period.days)
    ends = _instant(moved, place)
    return ends + timedelta(
        hours=period.hours, minutes=period.minutes, seconds=period.seconds, microseconds=period.microseconds
    )


def window(at: datetime, per: str, time_zone: str) -> tuple[datetime, datetime]:
    """The calendar day, week (from Monday) or month of `time_zone` that holds `at`: its start, and the next one's."""
    place = zone(time_zone)
    wall = at.astimezone(place)
    midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0, tzinfo=None)
    if per == "day":
        start, end = midnight, midnight + timedelta(days=1)
    elif per == "week":
        start = midnight - timedelta(days=wall.weekday())
        end = start + timedelta(days=7)
    else:
        start = midnight.replace(day=1)
        end = start + relativedelta(months=1)
    starts, ends = _instant(start, place), _instant(end, place)
    if ends <= at:
        # The clock was set back to before midnight: what had begun goes on.
        return window(ends, per, time_zone)
    return starts, ends


def _wall(instant: datetime, place: tzinfo) -> datetime:
    local = instant.astimezone(place)
    if local.fold:
        # The second pass through a repeated hour: its wall-clock times came before, so it all counts as the end of
        # the first pass.
        first = local.replace(fold=0)
        offset = first.utcoffset() or timedelta(0)
        change = _change(first.astimezone(UTC), instant, place)
        return (change + offset).replace(tzinfo=None)
    return local.replace(tzinfo=None)


def _instant(wall: datetime, place: tzinfo) -> datetime:
    local = wall.replace(tzinfo=place)
    instant = local.astimezone(UTC)
    if instant.astimezone(place).replace(tzinfo=None) != wall:
        # A wall-clock time that a daylight-saving change skipped.
        return _change(local.replace(fold=1).astimezone(UTC), instant, place)
    return instant


def _change(low: datetime, high: datetime, place: tzinfo) -> datetime:
    """The moment in (low, high] at which the zone's offset changes."""
    before = low.astimezone(place).utcoffset()
    step = timedelta(microseconds=1)
    while high - low > step:
        middle = low + (high - low) // 2
        if middle.astimezone(place).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
