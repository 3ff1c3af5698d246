"""Instants, calendar periods and calendar windows."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import assume, example, given
from hypothesis import strategies as st

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.times import after, check_period, utc, window, zone

HOUR = timedelta(hours=1)
# Ordinary changes, one of half an hour, one at midnight in each direction, and one that skipped a whole day (2011).
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "America/Havana",
    "Africa/Cairo",
    "Pacific/Apia",
)


def local(name: str, *parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(name), fold=fold)  # type: ignore[arg-type]


def changes(name: str) -> list[datetime]:
    """The hours from 2011 to 2016, and from 2023 to 2026, in which the zone's offset changed."""
    place = ZoneInfo(name)
    found = []
    for first, last in ((2011, 2016), (2023, 2026)):
        instant = datetime(first, 1, 1, tzinfo=UTC)
        while instant.year < last:
            if instant.astimezone(place).utcoffset() != (instant + HOUR).astimezone(place).utcoffset():
                found.append(instant + HOUR)
            instant += HOUR
    return found or [datetime(2024, 2, 29, 12, tzinfo=UTC)]


CHANGES = {name: changes(name) for name in ZONES}
PERIODS = [
    relativedelta(months=12),
    relativedelta(months=1),
    relativedelta(years=1, days=1),
    relativedelta(days=30),
    relativedelta(months=1, hours=2),
    timedelta(days=365),
]


@st.composite
def zones_and_starts(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant that lies, itself or a period later, close to a change of that zone's offset."""
    name = draw(st.sampled_from(ZONES))
    back = draw(st.sampled_from([0, 365, 366, 28, 29, 30, 31]))
    minutes = draw(st.integers(-36 * 60, 36 * 60))
    return name, draw(st.sampled_from(CHANGES[name])) - timedelta(days=back) + timedelta(minutes=minutes)


def is_plain(wall: datetime, place: ZoneInfo) -> bool:
    """Whether the clocks show this time once, no more and no less."""
    first, second = (wall.replace(tzinfo=place, fold=fold) for fold in (0, 1))
    return first.utcoffset() == second.utcoffset()


@given(instant=st.datetimes(datetime(1902, 1, 1), datetime(7997, 1, 1)), minutes=st.integers(-900, 900))  # noqa: DTZ001
def test_an_instant_is_kept_in_utc_whatever_its_zone(instant: datetime, minutes: int) -> None:
    given_instant = instant.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    kept = utc(given_instant, "at")
    assert kept == given_instant
    assert kept.tzinfo is UTC
    assert type(kept) is datetime


def test_a_subclass_of_datetime_is_kept_as_a_plain_one() -> None:
    class Stamp(datetime):
        pass

    assert type(utc(Stamp(2026, 1, 1, tzinfo=UTC), "at")) is datetime


@pytest.mark.parametrize("value", [None, 1.5, "2026-01-01T00:00:00Z", date(2026, 1, 1)])
def test_what_is_no_datetime_is_no_instant(value: object) -> None:
    with pytest.raises(WrongTypeError) as caught:
        utc(value, "at")  # type: ignore[arg-type]
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 1), datetime(1900, 12, 31, tzinfo=UTC), datetime(7999, 1, 1, tzinfo=UTC), datetime.max],  # noqa: DTZ001, DTZ901
)
def test_naive_or_absurdly_far_times_are_refused(value: datetime) -> None:
    with pytest.raises(InvalidValueError) as caught:
        utc(value, "occurred_at")
    assert caught.value.parameter == "occurred_at"
    assert caught.value.value is value


@pytest.mark.parametrize("name", ["", "Berlin", "../passwd", "Europe/Nowhere", "\0"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        zone(name)
    assert caught.value.value == name


@pytest.mark.parametrize("name", [None, 1, ["Europe/Berlin"]])
def test_a_zone_is_given_by_name(name: object) -> None:
    with pytest.raises(WrongTypeError):
        zone(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "period",
    [
        timedelta(0),
        timedelta(days=-1),
        relativedelta(),
        relativedelta(months=-1),
        relativedelta(months=1, days=-1),
        relativedelta(month=2),
        relativedelta(months=1, hour=3),
        relativedelta(months=1, microsecond=3),
        relativedelta(days=1, weekday=0),
        relativedelta(days=1, leapdays=1),
        relativedelta(days=1.5),
        relativedelta(years=2000),
        timedelta(days=400_000),
        timedelta.max,
    ],
)
def test_a_period_that_is_no_plain_length_of_time_is_refused(period: relativedelta | timedelta) -> None:
    with pytest.raises(InvalidValueError):
        check_period("funds_valid_for", period)


@pytest.mark.parametrize("period", [None, 12, "P1Y"])
def test_a_period_is_a_relativedelta_or_a_timedelta(period: object) -> None:
    with pytest.raises(WrongTypeError):
        check_period("funds_valid_for", period)  # type: ignore[arg-type]


@pytest.mark.parametrize("period", [timedelta.resolution, relativedelta(microseconds=1), *PERIODS])
def test_every_positive_length_of_time_is_a_period(period: relativedelta | timedelta) -> None:
    check_period("funds_valid_for", period)


@pytest.mark.parametrize(
    ("start", "period", "ends"),
    [
        # Bought on a leap day: the following local midnight.
        (local("UTC", 2024, 2, 29, 12), relativedelta(months=12), local("UTC", 2025, 3, 1)),
        (local("UTC", 2024, 2, 29), relativedelta(months=12), local("UTC", 2025, 3, 1)),
        (local("Europe/Berlin", 2024, 2, 29, 12), relativedelta(months=12), local("Europe/Berlin", 2025, 3, 1)),
        # 28 February 23:30 in UTC, and a leap day already in Berlin.
        (datetime(2024, 2, 28, 23, 30, tzinfo=UTC), relativedelta(years=1), local("UTC", 2025, 2, 28, 23, 30)),
        (local("Europe/Berlin", 2024, 2, 29, 0, 30), relativedelta(years=1), local("Europe/Berlin", 2025, 3, 1)),
        (local("UTC", 2024, 2, 29, 12), relativedelta(years=4), local("UTC", 2028, 2, 29, 12)),
        (local("UTC", 2025, 1, 31, 8), relativedelta(months=1), local("UTC", 2025, 3, 1)),
        (local("UTC", 2025, 2, 28, 8), relativedelta(months=1), local("UTC", 2025, 3, 28, 8)),
        # The clamp comes before the days are counted.
        (local("UTC", 2025, 1, 31, 8), relativedelta(months=1, days=1), local("UTC", 2025, 3, 2)),
        # The same time on the wall clock, an hour more or less between.
        (local("Europe/Berlin", 2025, 3, 1, 10), relativedelta(months=1), local("Europe/Berlin", 2025, 4, 1, 10)),
        (local("Europe/Berlin", 2025, 3, 29, 12), relativedelta(days=1), local("Europe/Berlin", 2025, 3, 30, 12)),
        # Hours and timedeltas are lengths, not wall clocks.
        (local("Europe/Berlin", 2025, 3, 29, 12), relativedelta(hours=23), local("Europe/Berlin", 2025, 3, 30, 12)),
        (local("Europe/Berlin", 2025, 3, 29, 12), timedelta(days=1), local("Europe/Berlin", 2025, 3, 30, 13)),
        # 02:30 is skipped: the moment of the change. 02:30 comes twice: the first.
        (local("Europe/Berlin", 2025, 1, 30, 2, 30), relativedelta(months=2), local("Europe/Berlin", 2025, 3, 30, 3)),
        (
            local("Europe/Berlin", 2025, 9, 26, 2, 30),
            relativedelta(months=1),
            local("Europe/Berlin", 2025, 10, 26, 2, 30),
        ),
        # Begun in the second pass of the repeated hour: later than everything begun in the first.
        (
            local("Europe/Berlin", 2025, 10, 26, 2, 30, fold=1),
            relativedelta(months=1),
            local("Europe/Berlin", 2025, 11, 26, 3),
        ),
        # Half an hour is skipped on Lord Howe Island.
        (
            local("Australia/Lord_Howe", 2025, 9, 5, 2, 15),
            relativedelta(months=1),
            local("Australia/Lord_Howe", 2025, 10, 5, 2, 30),
        ),
    ],
)
def test_calendar_months_are_counted_on_the_wall_clock(
    start: datetime, period: relativedelta | timedelta, ends: datetime
) -> None:
    name = str(start.tzinfo)
    assert after(start.astimezone(UTC), period, name) == ends.astimezone(UTC)


@given(case=zones_and_starts(), later=st.integers(0, 3 * 24 * 60), period=st.sampled_from(PERIODS))
@example(("UTC", datetime(2024, 2, 28, 23, 59, tzinfo=UTC)), 24 * 60, relativedelta(months=12))
@example(("Europe/Berlin", datetime(2025, 10, 26, 0, 45, tzinfo=UTC)), 30, relativedelta(months=1))
@example(("Europe/Berlin", datetime(2025, 2, 28, 1, 15, tzinfo=UTC)), 15, relativedelta(days=30))
def test_a_later_start_never_ends_earlier(
    case: tuple[str, datetime], later: int, period: relativedelta | timedelta
) -> None:
    name, start = case
    ends = after(start, period, name)
    assert start < ends <= after(start + timedelta(minutes=later), period, name)


@given(case=zones_and_starts(), months=st.integers(1, 30))
def test_where_the_clocks_are_plain_only_the_month_changes(case: tuple[str, datetime], months: int) -> None:
    name, start = case
    place = ZoneInfo(name)
    wall = start.astimezone(place).replace(tzinfo=None)
    month = wall.year * 12 + wall.month - 1 + months
    assume(wall.day <= monthrange(month // 12, month % 12 + 1)[1])
    expected = wall.replace(year=month // 12, month=month % 12 + 1)
    assume(is_plain(wall, place) and is_plain(expected, place))
    ends = after(start, relativedelta(months=months), name).astimezone(place)
    assert ends.replace(tzinfo=None) == expected


@given(name=st.sampled_from(ZONES), year=st.integers(1990, 2035), clock=st.times(), months=st.integers(1, 30))
def test_a_month_too_short_ends_at_the_following_local_midnight(
    name: str, year: int, clock: object, months: int
) -> None:
    place = ZoneInfo(name)
    wall = datetime.combine(date(year, 8, 31), clock)  # type: ignore[arg-type]
    month = year * 12 + 7 + months
    assume(monthrange(month // 12, month % 12 + 1)[1] < 31)
    following = datetime((month + 1) // 12, (month + 1) % 12 + 1, 1)  # noqa: DTZ001
    assume(is_plain(wall, place) and is_plain(following, place))
    ends = after(wall.replace(tzinfo=place).astimezone(UTC), relativedelta(months=months), name)
    assert ends.astimezone(place).replace(tzinfo=None) == following


@given(case=zones_and_starts(), per=st.sampled_from(["day", "week", "month"]))
def test_every_instant_lies_in_one_calendar_window(case: tuple[str, datetime], per: str) -> None:
    name, instant = case
    start, end = window(instant, per, name)
    assert start <= instant < end
    assert window(start, per, name) == window(end - timedelta.resolution, per, name) == (start, end)
    assert window(end, per, name)[0] == end
    first = start.astimezone(ZoneInfo(name))
    before = (start - timedelta.resolution).astimezone(ZoneInfo(name))
    assert before.date() < first.date()
    if name != "Pacific/Apia":  # which never had a 30 December 2011
        assert {"day": True, "week": first.weekday() == 0, "month": first.day == 1}[per]


@pytest.mark.parametrize(
    ("at", "per", "name", "start", "end"),
    [
        ((2026, 1, 1, 0, 0), "day", "UTC", (2026, 1, 1), (2026, 1, 2)),
        ((2026, 1, 4, 23, 59), "week", "UTC", (2025, 12, 29), (2026, 1, 5)),
        ((2026, 1, 5, 0, 0), "week", "UTC", (2026, 1, 5), (2026, 1, 12)),
        ((2024, 2, 29, 12, 0), "month", "UTC", (2024, 2, 1), (2024, 3, 1)),
        # 23 hours, and 25.
        ((2025, 3, 30, 12, 0), "day", "Europe/Berlin", (2025, 3, 30), (2025, 3, 31)),
        ((2025, 10, 26, 12, 0), "day", "Europe/Berlin", (2025, 10, 26), (2025, 10, 27)),
        ((2025, 12, 31, 23, 59), "month", "America/New_York", (2025, 12, 1), (2026, 1, 1)),
    ],
)
def test_a_window_begins_at_local_midnight(
    at: tuple[int, ...], per: str, name: str, start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    assert window(local(name, *at).astimezone(UTC), per, name) == (local(name, *start), local(name, *end))


@pytest.mark.parametrize("per", ["day", "month"])
def test_what_has_begun_goes_on_when_the_clock_is_set_back_to_the_day_before(per: str) -> None:
    """A minute after midnight St John's set it back by an hour; the last minutes of October 2009 came twice."""
    name = "America/St_Johns"
    november = local(name, 2009, 11, 1).astimezone(UTC)
    _, end = window(november, per, name)
    for minutes in (0, 1, 30, 60, 90):
        assert window(november + timedelta(minutes=minutes), per, name) == (november, end)
    assert window(november - timedelta.resolution, per, name)[1] == november
