"""Rules of the meter: which seconds are billed, and at which price. Its laws are in the tests of rating."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import ROUND_HALF_UP
from typing import Any

import pytest

from commcredits import InvalidValueError, Money
from commcredits.telephony import Rate, TimeBand
from commcredits.telephony.metering import Meter

EVENING = datetime(2025, 1, 6, 17, 59, 40, 500_000, tzinfo=UTC)
BILLION = 10**9


def usd(amount: str) -> Money:
    return Money(amount, "USD")


def meter(**changes: Any) -> Meter:
    conventions: dict[str, Any] = {
        "time_zone": "UTC",
        "rounding_digits": 4,
        "rounding": ROUND_HALF_UP,
        "increments": "offset",
        "bands": "split",
    }
    return Meter(**conventions | changes)


DAY = TimeBand(usd("0.6"), start=time(8), end=time(18), name="day")
NIGHT = TimeBand(usd("0.1"), start=time(18), end=time(8), name="night")


def test_an_increment_belongs_to_the_band_in_which_it_begins_even_within_a_second() -> None:
    rate = Rate("1", usd("9"), initial_increment_seconds=10, increment_seconds=5, time_bands=[DAY, NIGHT])
    # Increments begin 0, 10, 15 and 20 seconds after 17:59:40.5; the last of them after 18:00.
    assert meter().metered(rate, EVENING, 21) == (25, ((DAY, 20), (NIGHT, 5)), 208_300_000)
    assert meter(bands="start").metered(rate, EVENING, 21) == (25, ((DAY, 25),), BILLION // 4)


def test_without_bands_all_seconds_are_at_the_rates_own_price() -> None:
    rate = Rate("1", usd("0.6"), initial_increment_seconds=10, increment_seconds=6)
    assert meter().metered(rate, EVENING, 11) == (16, ((None, 16),), 160_000_000)
    assert meter(increments="absolute").metered(rate, EVENING, 11) == (12, ((None, 12),), 120_000_000)
    assert meter().metered(rate, EVENING, 0) == (0, ((None, 0),), 0)


def test_the_longest_call_is_found_across_bands() -> None:
    rate = Rate("1", usd("9"), initial_increment_seconds=1, increment_seconds=1, time_bands=[DAY, NIGHT])
    # Twenty seconds by day come to 0.20; from then on six seconds are a cent.
    assert meter().longest(rate, EVENING, BILLION // 10, 1000) == 10
    assert meter().longest(rate, EVENING, BILLION // 5, 1000) == 20
    assert meter().longest(rate, EVENING, BILLION // 5 + BILLION // 100, 1000) == 26
    assert meter(bands="start").longest(rate, EVENING, BILLION // 5 + BILLION // 100, 1000) == 21


def test_a_call_longer_than_any_report_tells_is_refused_where_bands_would_be_looked_for() -> None:
    with pytest.raises(InvalidValueError) as caught:
        meter().metered(Rate("1", usd("1"), time_bands=[DAY]), EVENING, 2**31)
    assert caught.value.parameter == "seconds"
