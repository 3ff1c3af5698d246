"""Rules of MeteredCall: what a call comes to that is paid as it goes, and what is refused."""

from __future__ import annotations

from datetime import time
from typing import Any

import pytest

from build import T0, usd
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony import MeteredCall, NoRateError, Rate, RateCard, TimeBand

CARD = RateCard([Rate("49", usd("0.02")), Rate("1800", usd("0.01"), direction="inbound")], currency="USD")
GOOD: dict[str, Any] = {"session_id": "s", "number": "+493023125042", "card": CARD, "started_at": T0}


def test_a_call_costs_what_the_card_says() -> None:
    call = MeteredCall(**GOOD)
    assert [call.rated(seconds).cost for seconds in (0, 1, 61)] == [usd(0), usd("0.02"), usd("0.04")]
    assert [call.longest(usd(money), 100) for money in ("0", "0.02", "0.04")] == [0, 60, 100]
    assert MeteredCall(**GOOD | {"number": "+18005550199", "direction": "inbound"}).rated(60).cost == usd("0.01")


def test_what_an_allowance_covers_costs_nothing_and_the_rest_is_rated_from_when_it_begins() -> None:
    dear_at_two_past = TimeBand(usd("1.00"), start=time(0, 2), end=time(12))
    card = RateCard([Rate("49", usd("0.02"), time_bands=(dear_at_two_past,))], currency="USD")
    call = MeteredCall(**GOOD | {"card": card, "covered_seconds": 120})
    assert [call.rated(seconds).cost for seconds in (120, 121, 181)] == [usd(0), usd("1.00"), usd("2.00")]
    assert [call.longest(usd(money), 1_000) for money in ("0", "0.99", "2.00")] == [120, 120, 240]
    assert call.longest(usd(0), 100) == 100


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("session_id", "", InvalidValueError),
        ("session_id", "s" * 181, InvalidValueError),
        ("session_id", 7, WrongTypeError),
        ("number", "call me", InvalidValueError),
        ("card", "a card", WrongTypeError),
        ("started_at", T0.replace(tzinfo=None), InvalidValueError),
        ("direction", "sideways", InvalidValueError),
        ("covered_seconds", -1, InvalidValueError),
        ("covered_seconds", 86_401, InvalidValueError),
        ("slice_seconds", 0, InvalidValueError),
        ("slice_seconds", 86_401, InvalidValueError),
        ("slice_seconds", 1.5, WrongTypeError),
        ("grace_seconds", -1, InvalidValueError),
        ("grace_seconds", 86_401, InvalidValueError),
        ("final_unit_action", "hang up", InvalidValueError),
        ("redirect_to", None, WrongTypeError),
        ("kind", None, WrongTypeError),
        ("description", 7, WrongTypeError),
    ],
)
def test_what_no_call_has_is_refused_by_name(field: str, value: object, error: type[Any]) -> None:
    with pytest.raises(error) as caught:
        MeteredCall(**GOOD | {field: value})
    assert (caught.value.parameter, caught.value.value) == (field, value)


def test_a_number_without_a_rate_is_refused_at_once() -> None:
    with pytest.raises(NoRateError):
        MeteredCall(**GOOD | {"number": "+33142685300"})
