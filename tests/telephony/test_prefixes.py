"""Rules of the table of prefixes: what is found does not depend on how it is looked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import Money
from commcredits.telephony import Rate, RateConflictError
from commcredits.telephony.prefixes import PrefixTable

START = datetime(2025, 1, 1, tzinfo=UTC)
PRICE = Money("0.01", "USD")


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def rate(prefix: str, start: int | None = None, end: int | None = None) -> Rate:
    return Rate(
        prefix,
        PRICE,
        effective_from=None if start is None else day(start),
        effective_until=None if end is None else day(end),
        name=f"{prefix} {start} {end}",
    )


spans = st.sampled_from([(None, None), (None, 2), (2, None), (2, 4), (4, None), (0, 1)])
decks = st.lists(st.builds(lambda prefix, span: rate(prefix, *span), st.text("12", max_size=6), spans), max_size=10)


def kept(rates: list[Rate]) -> list[Rate]:
    """The rates that do not get into each other's way, the earlier ones first."""
    chosen: list[Rate] = []
    for each in rates:
        days = {number for number in range(-1, 6) if each.in_force(day(number))}
        others = [other for other in chosen if other.prefix == each.prefix]
        if not any(other.in_force(day(number)) for other in others for number in days):
            chosen.append(each)
    return chosen


@given(decks, st.text("12", min_size=1, max_size=8), st.integers(-1, 5))
def test_the_longest_prefix_in_force_is_found_in_whatever_order_the_rates_came(
    deck: list[Rate], digits: str, number: int
) -> None:
    rates = kept(deck)
    fitting = [each for each in rates if digits.startswith(each.prefix) and each.in_force(day(number))]
    longest = max(fitting, key=lambda each: len(each.prefix), default=None)
    assert PrefixTable(rates).longest("+" + digits, day(number)) is longest
    assert PrefixTable(rates[::-1]).longest("+" + digits, day(number)) is longest
    exact = next((each for each in rates if each.prefix == digits and each.in_force(day(number))), None)
    assert PrefixTable(rates).exact(digits, day(number)) is exact


@given(decks)
def test_rates_that_get_into_each_others_way_are_refused_and_the_same_one_twice_is_one(deck: list[Rate]) -> None:
    chosen = kept(deck)
    assert set(PrefixTable([*chosen, *chosen])) == set(chosen)
    assert len(list(PrefixTable([*chosen, *chosen]))) == len(chosen)
    if set(chosen) == set(deck):
        assert set(PrefixTable(deck)) == set(deck)
    else:
        with pytest.raises(RateConflictError, match="at one time") as caught:
            PrefixTable(deck)
        first, second = caught.value.first, caught.value.second
        assert first.prefix == second.prefix
        assert any(first.in_force(day(number)) and second.in_force(day(number)) for number in range(-1, 6))


def test_hidden_digits_decide_by_the_longer_prefixes_of_another_price() -> None:
    dear = Rate("4477", Money("9", "USD"))
    britain = rate("44")
    table = PrefixTable([britain, dear])
    assert table.hidden_decide("44", 10, britain, START)
    assert table.hidden_decide("447", 10, britain, START)
    assert not table.hidden_decide("447", 3, britain, START)
    assert not table.hidden_decide("4477", 10, dear, START)
    assert not table.hidden_decide("448", 10, britain, START)
    assert PrefixTable([dear]).hidden_decide("44", 10, None, START)
