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


def table_of(rates: list[Rate]) -> PrefixTable:
    table = PrefixTable()
    for each in rates:
        table.add(each)
    return table


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
    assert table_of(rates).longest("+" + digits, day(number)) is longest
    assert table_of(rates[::-1]).longest("+" + digits, day(number)) is longest
    exact = next((each for each in rates if each.prefix == digits and each.in_force(day(number))), None)
    assert table_of(rates).exact(digits, day(number)) is exact


@given(decks)
def test_a_rate_that_gets_into_the_way_of_another_is_refused_and_the_same_one_ignored(deck: list[Rate]) -> None:
    table = PrefixTable()
    chosen: list[Rate] = []
    for each in deck:
        fits = kept([*chosen, each])[-1:] == [each] and each not in chosen
        if fits:
            assert table.add(each)
            chosen.append(each)
        elif each in chosen:
            assert not table.add(each)
        else:
            with pytest.raises(RateConflictError) as caught:
                table.add(each)
            assert caught.value.second is each
            assert caught.value.first in chosen
    for each in chosen:
        at = each.effective_from or (each.effective_until or START) - timedelta(days=1)
        assert table.exact(each.prefix, at) is each


def test_a_refused_rate_leaves_the_table_as_it_was() -> None:
    table = table_of([rate("12")])
    with pytest.raises(RateConflictError, match="prefix '12' has two outbound rates"):
        table.add(Rate("12", Money("0.02", "USD")))
    assert table.longest("+1234567", START) == rate("12")


def test_hidden_digits_decide_by_the_longer_prefixes_of_another_price() -> None:
    dear = Rate("4477", Money("9", "USD"))
    britain = rate("44")
    table = table_of([britain, dear])
    assert table.hidden_decide("44", 10, britain, START)
    assert table.hidden_decide("447", 10, britain, START)
    assert not table.hidden_decide("447", 3, britain, START)
    assert not table.hidden_decide("4477", 10, dear, START)
    assert not table.hidden_decide("448", 10, britain, START)
    assert table_of([dear]).hidden_decide("44", 10, None, START)
