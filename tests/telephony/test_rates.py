"""Rules of Rate."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import CurrencyMismatchError, InvalidValueError, Money, WrongTypeError
from commcredits.telephony import Rate, TimeBand

NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def usd(amount: str) -> Money:
    return Money(amount, "USD")


def rate(**changes: object) -> Rate:
    fields: dict[str, Any] = {"prefix": "1425", "price_per_minute": usd("0.013")}
    return Rate(**fields | changes)


def test_a_rate_needs_only_a_prefix_and_a_price() -> None:
    plain = Rate("1425", usd("0.013"))
    assert plain == rate(
        connection_fee=usd("0"),
        initial_increment_seconds=60,
        increment_seconds=60,
        free_seconds=0,
        minimum_cost=usd("0"),
        direction="outbound",
        effective_from=None,
        effective_until=None,
        name="",
        time_bands=(),
    )
    assert plain.always


def test_a_plus_before_the_prefix_is_dropped() -> None:
    assert rate(prefix="+1425") == rate()
    assert rate(prefix="").prefix == rate(prefix="+").prefix == ""


def test_times_are_kept_in_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    dated = rate(effective_from=NEW_YEAR.astimezone(tokyo), effective_until=NEW_YEAR + timedelta(days=1))
    assert dated.effective_from == NEW_YEAR
    assert dated.effective_from.tzinfo is UTC
    assert not dated.always


def test_it_can_be_copied_and_compared_but_not_changed() -> None:
    assert pickle.loads(pickle.dumps(rate())) == rate()  # noqa: S301
    assert hash(rate()) == hash(rate())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        rate().prefix = "1"  # type: ignore[misc]


@pytest.mark.parametrize("prefix", ["1-425", "1 425", "x", "14*", "\uff11", "1" * 16, " 1", "1\n"])
def test_a_prefix_is_at_most_fifteen_digits(prefix: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        rate(prefix=prefix)
    assert (caught.value.parameter, caught.value.value) == ("prefix", prefix)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("prefix", 1425),
        ("price_per_minute", "0.013"),
        ("price_per_minute", 0.013),
        ("connection_fee", 0),
        ("minimum_cost", None),
        ("initial_increment_seconds", 1.0),
        ("increment_seconds", True),
        ("free_seconds", "5"),
        ("effective_from", "2025-01-01"),
        ("name", None),
        ("time_bands", None),
        ("time_bands", "peak"),
        ("time_bands", [usd("1")]),
    ],
)
def test_what_is_of_the_wrong_type_is_refused(parameter: str, value: object) -> None:
    with pytest.raises(WrongTypeError) as caught:
        rate(**{parameter: value})
    assert caught.value.parameter == parameter


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("price_per_minute", usd("-0.01")),
        ("connection_fee", usd("-0.000000001")),
        ("minimum_cost", usd("-1")),
        ("initial_increment_seconds", 0),
        ("increment_seconds", 0),
        ("increment_seconds", -60),
        ("free_seconds", -1),
        ("direction", "Outbound"),
        ("direction", None),
        ("direction", []),
        ("effective_from", datetime(2025, 1, 1)),  # noqa: DTZ001
        ("effective_until", datetime(8000, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_value_that_no_rate_has_is_refused_by_its_name(parameter: str, value: object) -> None:
    with pytest.raises(InvalidValueError) as caught:
        rate(**{parameter: value})
    assert (caught.value.parameter, caught.value.value) == (parameter, value)


@pytest.mark.parametrize("hours", [0, -1])
def test_a_rate_that_is_never_in_force_is_refused(hours: int) -> None:
    with pytest.raises(InvalidValueError) as caught:
        rate(effective_from=NEW_YEAR, effective_until=NEW_YEAR + timedelta(hours=hours))
    assert caught.value.parameter == "effective_until"


@pytest.mark.parametrize("other", [{"connection_fee": Money("1", "EUR")}, {"minimum_cost": Money("0", "EUR")}])
def test_a_rate_has_one_currency(other: dict[str, Money]) -> None:
    with pytest.raises(CurrencyMismatchError):
        rate(**other)
    with pytest.raises(CurrencyMismatchError):
        rate(time_bands=[TimeBand(Money("1", "EUR"))])


def test_it_is_in_force_from_its_start_until_just_before_its_end() -> None:
    dated = rate(effective_from=NEW_YEAR, effective_until=NEW_YEAR + timedelta(days=1))
    instant = timedelta(microseconds=1)
    assert [
        dated.in_force(at)
        for at in (NEW_YEAR - instant, NEW_YEAR, NEW_YEAR + timedelta(days=1) - instant, NEW_YEAR + timedelta(days=1))
    ] == [False, True, True, False]
    assert rate(effective_from=NEW_YEAR).in_force(NEW_YEAR + timedelta(days=10_000))
    assert rate(effective_until=NEW_YEAR).in_force(NEW_YEAR - timedelta(days=10_000))


days = st.integers(0, 6)
spans = st.tuples(st.none() | days, st.none() | days).filter(
    lambda span: None in span or span[0] < span[1]  # type: ignore[operator]
)


def over(span: tuple[int | None, int | None]) -> Rate:
    start, end = (None if day is None else NEW_YEAR + timedelta(days=day) for day in span)
    return rate(effective_from=start, effective_until=end)


@given(spans, spans)
def test_two_rates_overlap_if_both_are_in_force_on_some_day(
    one: tuple[int | None, int | None], other: tuple[int | None, int | None]
) -> None:
    def covered(span: tuple[int | None, int | None]) -> set[int]:
        return set(range(-1 if span[0] is None else span[0], 8 if span[1] is None else span[1]))

    assert over(one).overlaps(over(other)) == bool(covered(one) & covered(other))
    assert over(one).lasts_as(over(other)) == (one == other)


def test_the_name_and_the_times_have_no_part_in_what_a_call_costs() -> None:
    assert rate(name="Redmond", effective_from=NEW_YEAR, prefix="1").costs_as(rate())


@pytest.mark.parametrize(
    "change",
    [
        {"price_per_minute": usd("0.014")},
        {"connection_fee": usd("0.01")},
        {"initial_increment_seconds": 1},
        {"increment_seconds": 1},
        {"free_seconds": 1},
        {"minimum_cost": usd("0.01")},
        {"time_bands": [TimeBand(usd("0.02"), start=time(8), end=time(18))]},
    ],
)
def test_all_else_has_a_part(change: dict[str, object]) -> None:
    assert not rate(**change).costs_as(rate())
