from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from build import T0, usd
from commcredits import CurrencyMismatchError, Money
from commcredits.simulation.usage_days import UsageDays

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BILLION = 10**9


def usage(days: int) -> list[tuple[datetime, Money]]:
    """Two usages a day from Thursday 1 January 2026: a dollar at 9:15, and the number of the day at 23:59."""
    return [
        pair
        for number in range(days)
        for pair in (
            (T0 + number * DAY + timedelta(hours=9, minutes=15), usd(1)),
            (T0 + number * DAY + timedelta(hours=23, minutes=59), usd(number)),
        )
    ]


def test_days_are_those_of_the_time_zone() -> None:
    days = UsageDays.of(usage(30), "UTC", HOUR)
    assert (len(days), days.first, days.last) == (30, date(2026, 1, 1), date(2026, 1, 30))
    assert UsageDays.of(usage(30), "Asia/Tokyo", HOUR).last == date(2026, 1, 31)


@pytest.mark.parametrize(("days", "held_out"), [(21, 7), (30, 7), (41, 7), (42, 14), (90, 28)])
def test_the_last_third_is_held_out_in_whole_weeks_and_at_least_one(days: int, held_out: int) -> None:
    seen, unseen = UsageDays.of(usage(days), "UTC", HOUR).split()
    assert (len(seen), len(unseen)) == (days - held_out, held_out)
    assert [*seen.pairs, *unseen.pairs] == usage(days)
    assert len(unseen.pairs) == 2 * held_out


def test_paths_are_made_of_whole_days_working_days_and_weekends_apart() -> None:
    costs = UsageDays.of(usage(30), "UTC", HOUR).resampled(3, 4, 14, 7).reshape(12, 14, 24)
    assert (costs[:, :, 9] == BILLION).all()
    numbers = costs[:, :, 23] // BILLION
    assert not costs[:, :, 10:23].any()
    for place in range(14):  # the first is a Monday, and day 0 of the usage a Thursday
        drawn = {(int(number) + 3) % 7 >= 5 for number in numbers[:, place]}
        assert drawn == {place % 7 >= 5}
    assert len(np.unique(numbers)) > 15


def test_each_pool_draws_from_days_of_its_own() -> None:
    numbers = UsageDays.of(usage(30), "UTC", HOUR).resampled(2, 500, 7, 7).reshape(2, -1, 24)[:, :, 23]
    # Of thirty days drawn with replacement about a third is missing in each pool.
    one, other = (set(np.unique(pool).tolist()) for pool in numbers)
    assert one != other
    assert 12 <= len(one) <= 26


def test_the_same_seed_draws_the_same() -> None:
    days = UsageDays.of(usage(30), "UTC", HOUR)
    assert (days.resampled(2, 2, 7, -1) == days.resampled(2, 2, 7, -1)).all()
    assert (days.resampled(2, 2, 7, 1) != days.resampled(2, 2, 7, 2)).any()


def test_an_hour_that_the_clock_repeats_counts_once_more() -> None:
    # On 25 October 2026 it was 2 o'clock twice in Berlin.
    monday = (datetime(2026, 10, 19, tzinfo=UTC), usd(0))
    pairs = [(datetime(2026, 10, 25, hour, 30, tzinfo=UTC), usd(1)) for hour in (0, 1)]
    costs = (
        UsageDays.of([monday, (monday[0] + 5 * DAY, usd(0)), *pairs], "Europe/Berlin", HOUR)
        .resampled(1, 1, 7, 0)
        .reshape(7, 24)
    )
    assert set(costs[costs > 0].tolist()) <= {2 * BILLION}
    assert costs[:5].sum() == 0
    assert costs[5:].nonzero()[1].tolist() in ([], [2], [2, 2])


def test_two_currencies_are_refused() -> None:
    with pytest.raises(CurrencyMismatchError):
        UsageDays.of([*usage(1), (T0 + DAY, Money(1, "EUR"))], "UTC", HOUR)
