"""Rules of RateCard: what a call costs, and how long one may last."""

from __future__ import annotations

import copy
import decimal
import pickle
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from commcredits import CommCreditsError, CurrencyMismatchError, InvalidValueError, Money, WrongTypeError
from commcredits.telephony import (
    EMERGENCY_NUMBERS,
    EVERY_DAY,
    WORKDAYS,
    CallRecord,
    NoRateError,
    Rate,
    RateCard,
    RateConflictError,
    RatedCall,
    TimeBand,
)

AT = datetime(2025, 1, 6, 12, tzinfo=UTC)  # a Monday
REDMOND = "+14255550123"


def usd(amount: str) -> Money:
    return Money(amount, "USD")


def card(*rates: Rate, **options: Any) -> RateCard:
    return RateCard(rates, currency="USD", **options)


def only(price: str, *, options: dict[str, Any] | None = None, **terms: Any) -> RateCard:
    """A card with one rate."""
    return card(Rate("1", usd(price), **terms), **options or {})


def cost(of: RateCard, seconds: int, at: datetime = AT) -> Money:
    return of.rate(REDMOND, seconds, at=at).cost


def no_rate(of: RateCard, number: str, **options: Any) -> NoRateError:
    with pytest.raises(NoRateError) as caught:
        of.rate_for(number, **{"at": AT} | options)
    return caught.value


# --- which rate


def test_the_longest_prefix_wins() -> None:
    america, washington, toll_free = Rate("1", usd("0.02")), Rate("1425", usd("0.013")), Rate("1800", usd("0"))
    deck = card(america, washington, toll_free)
    assert deck.rate_for(REDMOND, at=AT) is washington
    assert deck.rate_for("+14165550123", at=AT) is america
    assert deck.rate_for("+18005550123", at=AT) is toll_free
    assert no_rate(deck, "+442079460123").reason == "no_rate"


def test_a_number_is_found_without_a_plus_and_with_what_people_write_between_digits() -> None:
    deck = only("0.02")
    for number in ("14255550123", "+1 (425) 555-0123", "1.425.555.0123", " +1425 5550123 "):
        assert deck.rate_for(number, at=AT).prefix == "1"


def test_an_empty_prefix_is_for_all_other_numbers() -> None:
    rest, germany = Rate("", usd("1")), Rate("49", usd("0.1"))
    deck = card(rest, germany)
    assert deck.rate_for("+4930123456", at=AT) is germany
    assert deck.rate_for(REDMOND, at=AT) is rest
    assert deck.rate_for("+40211234567", at=AT) is rest


def test_the_two_directions_are_apart() -> None:
    out, into = Rate("1800", usd("0.01")), Rate("1800", usd("0.022"), direction="inbound")
    deck = card(out, into)
    assert deck.rate_for("+18005550123", at=AT) is out
    assert deck.rate_for("+18005550123", at=AT, direction="inbound") is into
    assert no_rate(card(out), "+18005550123", direction="inbound").direction == "inbound"


def test_a_rate_counts_from_its_start_until_just_before_its_end() -> None:
    change = datetime(2025, 2, 1, tzinfo=UTC)
    old = Rate("1", usd("0.01"), effective_until=change)
    new = Rate("1", usd("0.02"), effective_from=change)
    for deck in (card(old, new), card(new, old)):
        assert deck.rate_for(REDMOND, at=change - timedelta(microseconds=1)) is old
        assert deck.rate_for(REDMOND, at=change) is new
        assert deck.rate_for(REDMOND, at=change.astimezone(ZoneInfo("Asia/Tokyo"))) is new


def test_a_longer_prefix_that_is_not_in_force_gives_way_to_a_shorter_one() -> None:
    america = Rate("1", usd("0.02"))
    washington = Rate("1425", usd("0.01"), effective_from=AT + timedelta(days=1))
    deck = card(america, washington)
    assert deck.rate_for(REDMOND, at=AT) is america
    assert deck.rate_for(REDMOND, at=AT + timedelta(days=1)) is washington
    assert no_rate(card(washington), REDMOND).reason == "no_rate"


prefixes = st.text("123", min_size=1, max_size=4)


@given(st.sets(prefixes, max_size=12), st.text("123", min_size=7, max_size=9), st.sampled_from(["+", ""]))
def test_the_rate_is_that_of_the_longest_prefix_that_the_number_begins_with(
    some: set[str], digits: str, plus: str
) -> None:
    deck = card(*(Rate(prefix, usd("0.01")) for prefix in some))
    fitting = sorted((prefix for prefix in some if digits.startswith(prefix)), key=len)
    if fitting:
        assert deck.rate_for(plus + digits, at=AT).prefix == fitting[-1]
    else:
        assert no_rate(deck, plus + digits).number == plus + digits


def test_a_missing_rate_tells_what_was_asked_for() -> None:
    error = no_rate(only("0.02"), "+4930123456", at=AT.astimezone(ZoneInfo("Europe/Berlin")), direction="outbound")
    assert (error.number, error.at, error.direction, error.reason) == ("+4930123456", AT, "outbound", "no_rate")
    assert isinstance(error, CommCreditsError)
    assert isinstance(error, LookupError)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.reason) == (str(error), "no_rate")


# --- numbers that are no plain ones


def test_masked_digits_do_no_harm_where_the_digits_before_tell() -> None:
    britain, mobile, mostly = Rate("44", usd("0.015")), Rate("447", usd("0.32")), Rate("447510", usd("0.029"))
    deck = card(britain, mobile, mostly)
    assert deck.rate_for("+4420794601**", at=AT) is britain
    assert deck.rate_for("+447700900***", at=AT) is mobile
    assert deck.rate_for("+4475101234**", at=AT) is mostly
    assert deck.rate_for("4420794601**", at=AT) is britain


def test_a_number_whose_masked_digits_would_decide_is_refused_by_name() -> None:
    deck = card(Rate("44", usd("0.015")), Rate("447", usd("0.32")), Rate("447510", usd("0.029")))
    assert no_rate(deck, "+4475********").reason == "masked"
    assert no_rate(deck, "+44**********").reason == "masked"
    assert no_rate(card(Rate("1425", usd("0.01"))), "+14*********").reason == "masked"
    assert no_rate(deck, "+4930123***").reason == "no_rate"


def test_masked_digits_decide_nothing_if_either_rate_costs_the_same() -> None:
    britain, london = Rate("44", usd("0.015"), name="UK"), Rate("4420", usd("0.015"), name="London")
    assert card(britain, london).rate_for("+442*********", at=AT) is britain


def test_masked_digits_decide_nothing_by_rates_that_are_not_in_force_or_too_long() -> None:
    britain = Rate("44", usd("0.015"))
    later = Rate("4420", usd("0.02"), effective_from=AT + timedelta(days=1))
    long = Rate("44123456789", usd("0.5"))
    assert card(britain, later, long).rate_for("+441*******", at=AT) is britain
    assert card(britain, later).rate_for("+442*********", at=AT) is britain
    assert no_rate(card(britain, later), "+442*********", at=AT + timedelta(days=1)).reason == "masked"
    assert no_rate(card(britain, long), "+441*********").reason == "masked"


@given(
    st.dictionaries(prefixes, st.sampled_from(["0.01", "0.02"]), max_size=8),
    st.text("123", min_size=1, max_size=4),
    st.integers(1, 4),
)
def test_a_masked_number_has_a_rate_if_all_that_it_may_be_cost_the_same(
    deck: dict[str, str], seen: str, hidden: int
) -> None:
    def price(number: str) -> str | None:
        return next((deck[number[:end]] for end in range(len(number), 0, -1) if number[:end] in deck), None)

    numbers = [seen]
    for _ in range(hidden):
        numbers = [number + digit for number in numbers for digit in "0123456789"]
    possible = {price(number) for number in numbers}
    rates = card(*(Rate(prefix, usd(amount)) for prefix, amount in deck.items()))
    masked = "+" + seen + "*" * hidden
    if possible == {None}:
        assert no_rate(rates, masked).reason == "no_rate"
    elif len(possible) == 1:
        assert rates.rate_for(masked, at=AT).price_per_minute == usd(str(*possible))
    else:
        # Where every number that is left has a longer prefix of the same price, the card may still refuse.
        assert no_rate(rates, masked).reason == "masked"


@pytest.mark.parametrize("number", ["anonymous", "Anonymous", "", "  ", "restricted", "Unknown"])
def test_a_number_that_is_withheld_is_refused_by_name(number: str) -> None:
    assert no_rate(only("0.02"), number).reason == "anonymous"


@pytest.mark.parametrize("number", sorted(EMERGENCY_NUMBERS))
def test_emergency_numbers_are_free_and_never_taken_for_a_prefix(number: str) -> None:
    deck = card(*(Rate(digit, usd("1")) for digit in "123456789"), Rate(number, usd("1")), short_codes="refused")
    call = deck.rate(number, 100, at=AT)
    assert call.cost == usd("0")
    assert (call.rate.prefix, call.rate.name) == ("", "Emergency")
    assert deck.longest_affordable(number, usd("0"), at=AT) == 86_400


def test_a_card_may_have_other_emergency_numbers() -> None:
    deck = card(emergency_numbers=["144"], short_codes="refused")
    assert deck.rate("144", 100, at=AT).cost == usd("0")
    assert no_rate(deck, "112").reason == "no_rate"


def test_short_codes_are_free_unless_the_card_has_a_rate_of_just_those_digits() -> None:
    switzerland, directory = Rate("41", usd("0.02")), Rate("118500", usd("3"))
    deck = card(switzerland, directory)
    assert deck.rate("411", 100, at=AT).cost == usd("0")
    assert deck.rate_for("411", at=AT).name == "Short code"
    assert deck.rate_for("118500", at=AT) is directory
    assert deck.rate("118501", 100, at=AT).cost == usd("0")
    assert deck.rate_for("+411", at=AT) is switzerland
    assert deck.rate_for("4112345", at=AT) is switzerland


def test_a_short_code_with_masked_digits_may_be_any_and_is_refused_by_name() -> None:
    assert no_rate(card(Rate("118500", usd("3"))), "118***").reason == "masked"


def test_a_card_may_refuse_short_codes() -> None:
    deck = card(Rate("118500", usd("3")), short_codes="refused")
    assert no_rate(deck, "411").reason == "no_rate"
    assert deck.rate_for("118500", at=AT).prefix == "118500"


@pytest.mark.parametrize(
    "number",
    [
        "sip:tom@contoso.com",
        "+",
        "*",
        "+***",
        "++1425",
        "1+425",
        "+0123456789",
        "004930123456",
        "+1" + "4" * 15,
        "+1425\u0663\u0663\u0663\u0663",
    ],
)
def test_what_is_no_number_is_refused_even_if_a_rate_is_for_all(number: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        card(Rate("", usd("1")), Rate("1", usd("1"))).rate_for(number, at=AT)
    assert (caught.value.parameter, caught.value.value) == ("number", number)


@pytest.mark.parametrize("number", [None, 14255550123, b"+14255550123", ["+1"]])
def test_a_number_is_text(number: Any) -> None:
    with pytest.raises(WrongTypeError) as caught:
        only("1").rate_for(number, at=AT)
    assert caught.value.parameter == "number"


@pytest.mark.parametrize("direction", ["Outbound", "", None, "in"])
def test_a_direction_is_one_of_two(direction: Any) -> None:
    with pytest.raises(InvalidValueError) as caught:
        only("1").rate_for(REDMOND, at=AT, direction=direction)
    assert caught.value.parameter == "direction"


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(InvalidValueError):
        only("1").rate_for(REDMOND, at=datetime(2025, 1, 6))  # noqa: DTZ001
    with pytest.raises(InvalidValueError):
        only("1").rate(REDMOND, 1, at=datetime(2025, 1, 6))  # noqa: DTZ001


# --- what it costs


@pytest.mark.parametrize(
    ("seconds", "billed", "amount"),
    [(0, 0, "0"), (1, 60, "0.013"), (60, 60, "0.013"), (61, 120, "0.026"), (3600, 3600, "0.78")],
)
def test_without_other_terms_minutes_begun_are_billed(seconds: int, billed: int, amount: str) -> None:
    call = only("0.013").rate(REDMOND, seconds, at=AT)
    assert (call.billed_seconds, call.cost) == (billed, usd(amount))


def test_a_call_of_no_length_costs_nothing_at_all() -> None:
    call = only("0.1", connection_fee=usd("1"), minimum_cost=usd("2")).rate(REDMOND, 0, at=AT)
    assert call.cost == usd("0")
    assert [part.cost for part in call.breakdown] == [usd("0")] * 3


def test_free_seconds_come_off_before_the_increments() -> None:
    deck = only("0.6", free_seconds=30)
    assert [deck.rate(REDMOND, seconds, at=AT).billed_seconds for seconds in (1, 30, 31, 90, 91)] == [0, 0, 60, 60, 120]


def test_a_call_within_its_free_seconds_still_pays_the_fee_and_the_minimum() -> None:
    assert cost(only("0.6", free_seconds=30, connection_fee=usd("0.1")), 10) == usd("0.1")
    assert cost(only("0.6", free_seconds=30, minimum_cost=usd("0.2")), 10) == usd("0.2")


def test_the_minimum_is_of_the_fee_and_the_minutes_together() -> None:
    deck = only("0.1", connection_fee=usd("0.15"), minimum_cost=usd("0.3"))
    assert [cost(deck, seconds) for seconds in (1, 61, 121)] == [usd("0.3"), usd("0.35"), usd("0.45")]


def test_three_minutes_at_a_tenth_a_minute_cost_three_tenths() -> None:
    assert cost(only("0.1", initial_increment_seconds=1, increment_seconds=1), 180) == usd("0.3")


def test_the_total_is_rounded_once() -> None:
    terms: dict[str, Any] = {"connection_fee": usd("0.004"), "initial_increment_seconds": 1, "increment_seconds": 1}
    cents = {"rounding_digits": 2}
    # 0.004 + 0.004: each part alone would be rounded to nothing.
    assert cost(only("0.24", options=cents, **terms), 1) == usd("0.01")
    assert cost(only("0.05", options=cents | {"rounding": decimal.ROUND_UP}, connection_fee=usd("0.001")), 1) == usd(
        "0.06"
    )
    assert cost(only("0.01", initial_increment_seconds=1, increment_seconds=1), 1) == usd("0.0002")


@pytest.mark.parametrize(("rounding", "amount"), [(decimal.ROUND_HALF_UP, "0.01"), (decimal.ROUND_HALF_EVEN, "0")])
def test_half_a_cent_is_rounded_as_the_card_says(rounding: str, amount: str) -> None:
    assert cost(only("0.005", options={"rounding_digits": 2, "rounding": rounding}), 1) == usd(amount)


@pytest.mark.parametrize(
    ("increments", "seconds", "billed"),
    [
        ("offset", 10, 10),
        ("offset", 11, 16),
        ("offset", 16, 16),
        ("offset", 17, 22),
        ("absolute", 10, 10),
        ("absolute", 11, 12),
        ("absolute", 12, 12),
        ("absolute", 13, 18),
    ],
)
def test_increments_are_counted_from_the_end_of_the_initial_one_or_from_the_start(
    increments: str, seconds: int, billed: int
) -> None:
    deck = only("0.6", options={"increments": increments}, initial_increment_seconds=10, increment_seconds=6)
    assert deck.rate(REDMOND, seconds, at=AT).billed_seconds == billed


PEAK = TimeBand(usd("0.6"), start=time(8), end=time(18), weekdays=WORKDAYS, name="peak")


def test_a_call_is_split_where_another_price_begins_and_an_increment_costs_what_holds_when_it_begins() -> None:
    deck = only("0.3", time_bands=[PEAK])
    call = deck.rate(REDMOND, 150, at=AT.replace(hour=17, minute=59, second=30))
    # The first minute begins in the band; the second and the third begin after it.
    assert call.cost == usd("1.2")
    assert [(part.kind, part.seconds, part.cost, part.time_band) for part in call.breakdown] == [
        ("connection_fee", 0, usd("0"), None),
        ("included", 0, usd("0"), None),
        ("per_minute", 60, usd("0.6"), PEAK),
        ("per_minute", 120, usd("0.6"), None),
    ]


def test_a_call_may_be_rated_by_its_start_alone() -> None:
    deck = only("0.3", options={"bands": "start"}, time_bands=[PEAK])
    assert cost(deck, 150, AT.replace(hour=17, minute=59, second=30)) == usd("1.8")
    assert cost(deck, 150, AT.replace(hour=7, minute=59, second=30)) == usd("0.9")


def test_bands_are_on_the_clock_of_the_card() -> None:
    deck = only("0.3", options={"time_zone": "America/New_York"}, time_bands=[PEAK])
    assert cost(deck, 60, AT) == usd("0.3")
    assert cost(deck, 60, AT + timedelta(hours=1)) == usd("0.6")


def test_a_call_through_a_daylight_saving_change_is_split_by_the_clock_on_the_wall() -> None:
    night = TimeBand(usd("0.1"), start=time(0), end=time(2), name="night")
    deck = only("0.6", options={"time_zone": "Europe/Berlin"}, time_bands=[night], increment_seconds=1)
    # The clocks go from 2:00 to 3:00 at 1:00 UTC, and from 3:00 back to 2:00 at 1:00 UTC.
    assert cost(deck, 3600, datetime(2025, 3, 30, 0, 30, tzinfo=UTC)) == usd("21")
    assert cost(deck, 7200, datetime(2025, 10, 25, 23, 30, tzinfo=UTC)) == usd("57")


def test_free_seconds_are_no_increment_of_a_band() -> None:
    deck = only("0.3", time_bands=[PEAK], free_seconds=30)
    start = AT.replace(hour=17, minute=59, second=30)
    assert [cost(deck, seconds, start) for seconds in (30, 31, 90)] == [usd("0"), usd("0.3"), usd("0.3")]


def test_the_breakdown_adds_up_though_the_cost_is_rounded() -> None:
    deck = only(
        "0.0001",
        options={"rounding_digits": 2, "rounding": decimal.ROUND_UP},
        connection_fee=usd("0.125"),
        free_seconds=5,
    )
    call = deck.rate(REDMOND, 66, at=AT)
    assert call.cost == usd("0.13")
    assert [(part.kind, part.seconds, part.cost) for part in call.breakdown] == [
        ("connection_fee", 0, usd("0.125")),
        ("included", 5, usd("0")),
        ("per_minute", 120, usd("0.005")),
    ]


def test_a_rated_call_says_what_was_rated() -> None:
    deck = only("0.02")
    berlin = AT.astimezone(ZoneInfo("Europe/Berlin"))
    call = deck.rate(REDMOND, 61, at=berlin)
    assert (call.number, call.seconds, call.at, call.direction, call.call) == (REDMOND, 61, AT, "outbound", None)
    assert call.rate is deck.rates[0]
    assert call == deck.rate(REDMOND, 61, at=AT)
    assert pickle.loads(pickle.dumps(call)) == copy.deepcopy(call) == call  # noqa: S301
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        call.cost = usd("0")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(-1, InvalidValueError), (1.0, WrongTypeError), (True, WrongTypeError), (2**31, InvalidValueError)],
)
def test_a_length_is_a_whole_number_of_seconds(seconds: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        only("1").rate(REDMOND, seconds, at=AT)
    assert caught.value.parameter == "seconds"  # type: ignore[attr-defined]


# --- reported calls


def record(**changes: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "record_id": "call-1",
        "started_at": AT,
        "duration_seconds": 61,
        "charge": usd("0"),
        "caller_number": "+442079460123",
        "callee_number": REDMOND,
        "call_type": "user_out",
    }
    return CallRecord(**fields | changes)


def test_a_reported_call_is_rated_by_the_number_that_was_called() -> None:
    call = record()
    rated = card(Rate("44", usd("9")), Rate("1", usd("0.02"))).rate_call(call)
    assert (rated.cost, rated.seconds, rated.direction, rated.call) == (usd("0.04"), 61, "outbound", call)


def test_a_call_to_a_toll_free_number_of_ones_own_is_rated_by_that_number() -> None:
    deck = card(
        Rate("1800", usd("0.022"), direction="inbound"), Rate("44", usd("9")), Rate("44", usd("9"), direction="inbound")
    )
    for caller in ("+442079460123", "anonymous", ""):
        rated = deck.rate_call(record(call_type="conf_in", callee_number="+18005550123", caller_number=caller))
        assert (rated.cost, rated.direction) == (usd("0.044"), "inbound")


@pytest.mark.parametrize("call_type", ["emergency_out", "emergency_in", "EMERGENCY_OUT"])
def test_emergency_calls_are_free_whatever_the_number(call_type: str) -> None:
    assert only("1").rate_call(record(call_type=call_type, callee_number="+14255550911")).cost == usd("0")


def test_a_call_that_does_not_tell_its_direction_is_outbound_unless_its_type_is_unknown() -> None:
    deck = card(Rate("1", usd("0.02")), Rate("1", usd("0.03"), direction="inbound"))
    assert deck.rate_call(record(call_type="")).direction == "outbound"
    assert deck.rate_call(record(call_type="", call_direction="Inbound")).direction == "inbound"
    assert deck.rate_call(record(call_type="fax_in", call_direction="Inbound")).direction == "inbound"
    with pytest.raises(InvalidValueError) as caught:
        deck.rate_call(record(call_type="fax"))
    assert caught.value.parameter == "call_type"


# --- how long a call may last


@pytest.mark.parametrize(
    ("available", "seconds"),
    [("0", 0), ("0.0599", 0), ("0.06", 60), ("0.0799", 60), ("0.08", 120), ("-1", 0), ("1000", 86_400)],
)
def test_a_call_may_last_until_the_next_increment_would_cost_too_much(available: str, seconds: int) -> None:
    deck = only("0.02", connection_fee=usd("0.04"))
    assert deck.longest_affordable(REDMOND, usd(available), at=AT) == seconds


def test_what_costs_nothing_lasts_as_long_as_is_allowed() -> None:
    assert only("0").longest_affordable(REDMOND, usd("0"), at=AT) == 86_400
    assert only("0").longest_affordable(REDMOND, usd("0"), at=AT, at_most_seconds=0) == 0
    assert only("0", connection_fee=usd("1")).longest_affordable(REDMOND, usd("0.99"), at=AT) == 0
    assert only("1", free_seconds=90).longest_affordable(REDMOND, usd("0.99"), at=AT) == 90


def test_funds_are_of_the_currency_of_the_card() -> None:
    with pytest.raises(CurrencyMismatchError):
        only("1").longest_affordable(REDMOND, Money("1", "EUR"), at=AT)
    with pytest.raises(WrongTypeError):
        only("1").longest_affordable(REDMOND, 1, at=AT)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError):
        only("1").longest_affordable(REDMOND, usd("1"), at=AT, at_most_seconds=-1)
    with pytest.raises(NoRateError):
        only("1").longest_affordable("+4930123456", usd("1"), at=AT)


# --- the laws: the rule in other words, one increment after the other, in fractions

amounts = st.integers(0, 10**7).map(lambda millionths: Decimal(millionths).scaleb(-6))
clocks = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))
time_bands = st.builds(
    lambda price, start, end, weekdays: TimeBand(Money(price, "USD"), start=start, end=end, weekdays=weekdays),
    amounts,
    clocks,
    clocks,
    st.sets(st.sampled_from(EVERY_DAY), min_size=4),
)
rates = st.builds(
    lambda price, fee, minimum, **terms: Rate(
        "1", Money(price, "USD"), connection_fee=Money(fee, "USD"), minimum_cost=Money(minimum, "USD"), **terms
    ),
    st.just(Decimal(0)) | amounts,
    st.just(Decimal(0)) | amounts,
    st.just(Decimal(0)) | amounts,
    initial_increment_seconds=st.integers(1, 90),
    increment_seconds=st.integers(1, 90),
    free_seconds=st.just(0) | st.integers(0, 100),
    time_bands=st.just(()) | st.lists(time_bands, max_size=3),
)
cards = st.builds(
    card,
    rates,
    rounding_digits=st.integers(0, 9),
    rounding=st.sampled_from([name for name in vars(decimal).values() if str(name).startswith("ROUND_")]),
    increments=st.sampled_from(["offset", "absolute"]),
    bands=st.sampled_from(["split", "start"]),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
)
# Around the hours, at which bands change, and around a change of the clocks.
starts = st.builds(
    lambda day, hours, seconds, microsecond: day + timedelta(hours=hours, seconds=seconds, microseconds=microsecond),
    st.sampled_from([datetime(2025, 3, 29, 20, tzinfo=UTC), datetime(2025, 10, 25, 20, tzinfo=UTC), AT]),
    st.integers(0, 10),
    st.integers(-300, 60),
    st.sampled_from([0, 0, 500_000]),
)


def exact(money: Money) -> Fraction:
    return Fraction(money.amount)


def increments_of(deck: RateCard, seconds: int) -> list[tuple[int, int]]:
    """Where each increment begins, after the free seconds, and how long it is."""
    (rate,) = deck.rates
    found: list[tuple[int, int]] = []
    end = 0
    while end < seconds - rate.free_seconds:
        length = rate.increment_seconds if found else rate.initial_increment_seconds
        if found and deck.increments == "absolute":
            length -= end % rate.increment_seconds
        found.append((end, length))
        end += length
    return found


def price_at(deck: RateCard, moment: datetime) -> Money:
    """What a minute costs by the clock on the wall."""
    (rate,) = deck.rates
    local = moment.astimezone(ZoneInfo(deck.time_zone))
    for band in rate.time_bands:
        start = timedelta(hours=band.start.hour, minutes=band.start.minute)
        length = (timedelta(hours=band.end.hour, minutes=band.end.minute) - start) % timedelta(days=1)
        since_midnight = local.replace(tzinfo=None) - datetime.combine(local, time(0))
        for days_ago in (0, 1):
            into = since_midnight + timedelta(days=days_ago) - start
            if (
                timedelta(0) <= into < (length or timedelta(days=1))
                and (local.weekday() - days_ago) % 7 in band.weekdays
            ):
                return band.price_per_minute
    return rate.price_per_minute


def expected(deck: RateCard, seconds: int, at: datetime) -> Fraction:
    """What a call costs, before it is rounded."""
    (rate,) = deck.rates
    if not seconds:
        return Fraction(0)
    begins = at + timedelta(seconds=rate.free_seconds)
    total = exact(rate.connection_fee)
    for start, length in increments_of(deck, seconds):
        moment = begins + timedelta(seconds=start) if deck.bands == "split" else at
        total += exact(price_at(deck, moment)) * Fraction(length, 60)
    return max(total, exact(rate.minimum_cost))


def rounded(amount: Fraction, deck: RateCard) -> Decimal:
    # Sixty places tell every sixtieth of a billionth from a half.
    with decimal.localcontext(prec=60):
        quotient = Decimal(amount.numerator) / Decimal(amount.denominator)
        return quotient.quantize(Decimal(1).scaleb(-deck.rounding_digits), rounding=deck.rounding)


@given(cards, st.integers(0, 600), starts)
def test_a_call_costs_the_sum_of_its_increments_rounded_once(deck: RateCard, seconds: int, at: datetime) -> None:
    call = deck.rate(REDMOND, seconds, at=at)
    assert call.cost.amount == rounded(expected(deck, seconds, at), deck)
    assert call.billed_seconds == sum(length for _, length in increments_of(deck, seconds))


@given(cards, st.integers(0, 600), starts)
def test_the_parts_of_a_call_add_up_to_its_cost_and_its_seconds(deck: RateCard, seconds: int, at: datetime) -> None:
    call = deck.rate(REDMOND, seconds, at=at)
    fee, included, *minutes = call.breakdown
    assert Money.total((part.cost for part in call.breakdown), "USD") == call.cost
    assert (fee.kind, fee.cost) == ("connection_fee", call.rate.connection_fee if seconds else usd("0"))
    assert (included.kind, included.seconds) == ("included", min(seconds, call.rate.free_seconds))
    assert {part.kind for part in minutes} == {"per_minute"}
    assert sum(part.seconds for part in minutes) == call.billed_seconds
    # All but the last cost what they cost, to half a billionth.
    for part in minutes[:-1]:
        price = exact((part.time_band or call.rate).price_per_minute)
        assert abs(exact(part.cost) - price * Fraction(part.seconds, 60)) <= Fraction(1, 2 * 10**9)


@given(cards, st.integers(0, 400), starts, st.integers(-10, 110), st.integers(0, 400))
@example(card(Rate("1", usd("0"))), 400, AT, 0, 400)
def test_the_longest_affordable_call_is_the_last_second_that_can_be_paid(
    deck: RateCard, at_most: int, at: datetime, percent: int, of_seconds: int
) -> None:
    worth = expected(deck, of_seconds, at) * percent / 100
    available = Money(int(worth * 10**6), "USD").scaled(Fraction(1, 10**6), decimal.ROUND_DOWN)
    longest = 0
    for seconds in range(at_most + 1):
        if rounded(expected(deck, seconds, at), deck) <= available.amount:
            longest = seconds
    assert deck.longest_affordable(REDMOND, available, at=at, at_most_seconds=at_most) == longest


@given(cards, starts, st.integers(0, 10**9))
def test_one_second_more_than_the_longest_affordable_call_costs_more(
    deck: RateCard, at: datetime, millionths: int
) -> None:
    available = Money(Decimal(millionths).scaleb(-6), "USD")
    longest = deck.longest_affordable(REDMOND, available, at=at)
    assert 0 <= longest <= 86_400
    assert deck.rate(REDMOND, longest, at=at).cost <= available
    assert longest == 86_400 or deck.rate(REDMOND, longest + 1, at=at).cost > available


# --- the card


def test_the_same_rate_twice_is_one() -> None:
    deck = card(Rate("972", usd("0.02"), name="Israel"), Rate("972", usd("0.02"), name="Israel (again)"))
    assert [rate.name for rate in deck.rates] == ["Israel"]
    assert repr(deck) == "<RateCard '': 1 rates in USD>"


@pytest.mark.parametrize(
    "other",
    [
        Rate("972", usd("0.03")),
        Rate("972", usd("0.02"), connection_fee=usd("0.01")),
        Rate("972", usd("0.02"), effective_from=AT),
        Rate("972", usd("0.03"), effective_until=AT),
    ],
)
def test_two_rates_for_one_prefix_at_one_time_are_refused(other: Rate) -> None:
    one = Rate("972", usd("0.02"))
    for first, second in ((one, other), (other, one)):
        with pytest.raises(RateConflictError) as caught:
            card(first, second)
        assert (caught.value.first, caught.value.second) == (first, second)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert (again.first, again.second) == (other, one)


def test_a_card_has_one_currency() -> None:
    with pytest.raises(CurrencyMismatchError):
        card(Rate("1", usd("1")), Rate("44", Money("1", "GBP")))


@pytest.mark.parametrize(
    ("options", "error", "parameter"),
    [
        ({"rates": None}, WrongTypeError, "rates"),
        ({"rates": "rates"}, WrongTypeError, "rates"),
        ({"rates": ["1425"]}, WrongTypeError, "rates"),
        ({"currency": "XXY"}, InvalidValueError, "currency"),
        ({"name": None}, WrongTypeError, "name"),
        ({"time_zone": "Mars/Olympus"}, InvalidValueError, "time_zone"),
        ({"rounding_digits": 10}, InvalidValueError, "digits"),
        ({"rounding_digits": None}, WrongTypeError, "rounding_digits"),
        ({"rounding": "ROUND_ABOUT"}, InvalidValueError, "rounding"),
        ({"increments": "relative"}, InvalidValueError, "increments"),
        ({"bands": "end"}, InvalidValueError, "bands"),
        ({"short_codes": "paid"}, InvalidValueError, "short_codes"),
        ({"emergency_numbers": "112"}, WrongTypeError, "emergency_numbers"),
        ({"emergency_numbers": None}, WrongTypeError, "emergency_numbers"),
        ({"emergency_numbers": [112]}, WrongTypeError, "emergency_numbers"),
    ],
)
def test_what_is_no_card_is_refused(options: dict[str, Any], error: type[Exception], parameter: str) -> None:
    with pytest.raises(error) as caught:
        RateCard(**{"rates": (), "currency": "USD"} | options)
    assert caught.value.parameter == parameter  # type: ignore[attr-defined]


def test_a_card_can_be_copied_and_pickled() -> None:
    deck = only("0.02", time_bands=[PEAK], effective_from=AT)
    for again in (copy.deepcopy(deck), pickle.loads(pickle.dumps(deck))):  # noqa: S301
        assert again.rate(REDMOND, 61, at=AT) == deck.rate(REDMOND, 61, at=AT)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        deck.currency = "EUR"  # type: ignore[misc]


def test_nothing_depends_on_the_context_of_decimal() -> None:
    with decimal.localcontext(prec=1, rounding=decimal.ROUND_UP):
        call: RatedCall = only("0.013").rate(REDMOND, 6_000, at=AT)
        assert str(call.cost) == "1.30 USD"
        assert only("0.013").longest_affordable(REDMOND, usd("1.3"), at=AT) == 6_000
