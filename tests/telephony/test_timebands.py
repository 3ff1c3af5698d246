"""Rules of TimeBand, and of the stretches of a call in which one holds."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import InvalidValueError, Money, WrongTypeError
from commcredits.telephony import EVERY_DAY, WEEKEND, WORKDAYS, TimeBand
from commcredits.telephony.timebands import band_at, stretches

PRICE = Money("0.01", "USD")
MONDAY = date(2025, 1, 6)
OFFICE = TimeBand(PRICE, start=time(8), end=time(18), weekdays=WORKDAYS, name="office")
NIGHT = TimeBand(PRICE, start=time(22), end=time(6), weekdays=[4], name="Friday night")
ALL_WEEKEND = TimeBand(PRICE, weekdays=WEEKEND, name="weekend")


def wall(day: int, hour: int, minute: int = 0) -> datetime:
    """A time of the week that begins on that Monday; day 0 is Monday."""
    return datetime.combine(MONDAY + timedelta(days=day), time(hour, minute))


def test_a_band_without_times_holds_always() -> None:
    always = TimeBand(PRICE)
    assert always.weekdays == frozenset(EVERY_DAY)
    assert all(always.holds(wall(day, hour)) for day in range(7) for hour in range(24))


@pytest.mark.parametrize(
    ("band", "moment", "holds"),
    [
        (OFFICE, wall(0, 7, 59), False),
        (OFFICE, wall(0, 8), True),
        (OFFICE, wall(4, 17, 59), True),
        (OFFICE, wall(4, 18), False),
        (OFFICE, wall(5, 12), False),
        (NIGHT, wall(4, 21, 59), False),
        (NIGHT, wall(4, 22), True),
        (NIGHT, wall(5, 0), True),
        (NIGHT, wall(5, 5, 59), True),
        (NIGHT, wall(5, 6), False),
        (NIGHT, wall(5, 22), False),
        (NIGHT, wall(4, 3), False),
        (ALL_WEEKEND, wall(4, 23, 59), False),
        (ALL_WEEKEND, wall(5, 0), True),
        (ALL_WEEKEND, wall(6, 23, 59), True),
        (ALL_WEEKEND, wall(7, 0), False),
    ],
)
def test_a_band_holds_from_its_start_until_just_before_its_end_on_its_days(
    band: TimeBand, moment: datetime, *, holds: bool
) -> None:
    assert band.holds(moment) == holds


def test_a_night_from_sunday_goes_on_into_monday() -> None:
    sunday = TimeBand(PRICE, start=time(22), end=time(6), weekdays=[6])
    assert sunday.holds(wall(7, 5))
    assert not sunday.holds(wall(6, 5))


def test_a_band_that_ends_when_it_starts_lasts_for_a_day() -> None:
    band = TimeBand(PRICE, start=time(12), end=time(12), weekdays=[0])
    assert [band.holds(wall(0, 11)), band.holds(wall(0, 12)), band.holds(wall(1, 11)), band.holds(wall(1, 12))] == [
        False,
        True,
        True,
        False,
    ]


def test_of_several_bands_the_first_that_holds_counts() -> None:
    at = datetime(2025, 1, 11, 10, tzinfo=UTC)
    always = TimeBand(PRICE, name="always")
    assert band_at([ALL_WEEKEND, always], at, "UTC") is ALL_WEEKEND
    assert band_at([always, ALL_WEEKEND], at, "UTC") is always
    assert band_at([OFFICE], at, "UTC") is None


def test_a_band_is_on_the_clock_of_the_time_zone() -> None:
    at = datetime(2025, 1, 6, 7, 30, tzinfo=UTC)
    assert band_at([OFFICE], at, "UTC") is None
    assert band_at([OFFICE], at, "Europe/Berlin") is OFFICE


@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("price_per_minute", "0.01", WrongTypeError),
        ("price_per_minute", -PRICE, InvalidValueError),
        ("start", 8, WrongTypeError),
        ("end", "18:00", WrongTypeError),
        ("start", time(8, tzinfo=UTC), InvalidValueError),
        ("weekdays", None, WrongTypeError),
        ("weekdays", "Monday", WrongTypeError),
        ("weekdays", [True], WrongTypeError),
        ("weekdays", [7], InvalidValueError),
        ("weekdays", [-1], InvalidValueError),
        ("weekdays", [], InvalidValueError),
        ("name", None, WrongTypeError),
    ],
)
def test_what_is_no_band_is_refused(parameter: str, value: object, error: type[Exception]) -> None:
    fields: dict[str, Any] = {"price_per_minute": PRICE, parameter: value}
    with pytest.raises(error) as caught:
        TimeBand(**fields)
    assert caught.value.parameter == parameter  # type: ignore[attr-defined]


def names(found: list[tuple[datetime, TimeBand | None]]) -> list[tuple[str, str]]:
    return [(moment.strftime("%d %H:%M"), band.name if band else "") for moment, band in found]


def test_a_stretch_ends_where_another_band_begins_to_hold() -> None:
    start = datetime(2025, 1, 10, 17, 59, tzinfo=UTC)
    assert names(stretches((ALL_WEEKEND, NIGHT, OFFICE), start, start + timedelta(days=2), "UTC")) == [
        ("10 17:59", "office"),
        ("10 18:00", ""),
        ("10 22:00", "Friday night"),
        ("11 00:00", "weekend"),
    ]


def test_an_hour_that_a_daylight_saving_change_skips_is_in_no_stretch() -> None:
    skipped = TimeBand(PRICE, start=time(2), end=time(3), name="skipped")
    half = TimeBand(PRICE, start=time(2, 30), end=time(4), name="half skipped")
    start = datetime(2025, 3, 30, 0, 30, tzinfo=UTC)  # in Berlin the clocks go from 2:00 to 3:00 at 1:00 UTC
    end = start + timedelta(hours=3)
    assert names(stretches((skipped,), start, end, "Europe/Berlin")) == [("30 00:30", "")]
    assert names(stretches((half,), start, end, "Europe/Berlin")) == [
        ("30 00:30", ""),
        ("30 01:00", "half skipped"),
        ("30 02:00", ""),
    ]


def test_an_hour_that_comes_twice_is_in_its_band_twice() -> None:
    band = TimeBand(PRICE, start=time(2, 30), end=time(3), name="twice")
    start = datetime(2025, 10, 25, 23, 0, tzinfo=UTC)  # in Berlin the clocks go from 3:00 back to 2:00 at 1:00 UTC
    assert names(stretches((band,), start, start + timedelta(hours=4), "Europe/Berlin")) == [
        ("25 23:00", ""),
        ("26 00:30", "twice"),
        ("26 01:00", ""),
        ("26 01:30", "twice"),
        ("26 02:00", ""),
    ]


clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
bands = st.builds(
    lambda start, end, weekdays: TimeBand(PRICE, start=start, end=end, weekdays=weekdays),
    clocks,
    clocks,
    st.sets(st.sampled_from(EVERY_DAY), min_size=1),
)
# The days before and on which clocks change, in places where they change at odd hours or by half an hour.
changes = st.sampled_from(
    [
        ("Europe/Berlin", datetime(2025, 3, 29, tzinfo=UTC)),
        ("Europe/Berlin", datetime(2025, 10, 25, tzinfo=UTC)),
        ("America/New_York", datetime(2025, 11, 1, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2025, 4, 5, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2025, 4, 24, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2025, 6, 1, tzinfo=UTC)),
        ("UTC", datetime(2025, 6, 1, tzinfo=UTC)),
    ]
)


@given(st.lists(bands, min_size=1, max_size=3), changes, st.integers(0, 2 * 24 * 60), st.integers(1, 40 * 60))
def test_at_each_minute_the_stretch_says_what_the_clock_says(
    some: list[TimeBand], where: tuple[str, datetime], offset: int, minutes: int
) -> None:
    time_zone, around = where
    start = around + timedelta(minutes=offset)
    found = stretches(tuple(some), start, start + timedelta(minutes=minutes), time_zone)
    assert found[0][0] == start
    assert all(one[1] is not other[1] and one[0] < other[0] for one, other in pairwise(found))
    rest = list(found)
    holding: TimeBand | None = None
    for minute in range(minutes):
        moment = start + timedelta(minutes=minute)
        while rest and rest[0][0] <= moment:
            holding = rest.pop(0)[1]
        local = moment.astimezone(ZoneInfo(time_zone))
        expected = next((band for band in some if says(band, local)), None)
        assert holding is expected
    assert not rest


def says(band: TimeBand, local: datetime) -> bool:
    """Whether a band holds, in minutes since the midnight of the day on which it starts."""
    start = band.start.hour * 60 + band.start.minute
    length = (band.end.hour * 60 + band.end.minute - start) % 1440 or 1440
    now = local.hour * 60 + local.minute
    return any(
        start <= now + 1440 * ago < start + length and (local.weekday() - ago) % 7 in band.weekdays for ago in (0, 1)
    )
