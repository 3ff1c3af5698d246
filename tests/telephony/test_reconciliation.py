"""Rules of reconciliation: a report against our own rating."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import ROUND_DOWN
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import InvalidValueError, Money, WrongTypeError
from commcredits.telephony import BilledCall, CallRecord, Discrepancy, Rate, RateCard, RatedCall, reconcile

CARD = RateCard(
    [
        Rate("49", Money("0.015", "USD")),
        Rate("44", Money("0.264", "USD"), connection_fee=Money("0.054", "USD")),
    ],
    currency="USD",
)


def usd(amount: str | int) -> Money:
    return Money(amount, "USD")


def call(record_id: str = "a", seconds: int = 60, **changes: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "record_id": record_id,
        "started_at": datetime(2024, 1, 16, tzinfo=UTC),
        "duration_seconds": seconds,
        "charge": usd("0.02"),
        "call_type": "user_out",
        "callee_number": "+493023125042",
    }
    return CallRecord(**fields | changes)


def rated(record: CallRecord) -> RatedCall:
    return CARD.rate_call(record)


def found(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
    return [(one.kind, one.record_id) for one in reconcile(*arguments, **options).discrepancies]


def test_costs_agree_if_they_are_the_same_in_the_digits_of_the_report() -> None:
    one = call()
    result = reconcile([one], [rated(one)])
    assert (result.agreeing, result.discrepancies) == (1, ())
    assert (result.reported, result.rated) == ({"USD": usd("0.02")}, {"USD": usd("0.015")})


def test_a_cost_that_differs_is_told_with_both_sides_and_the_difference() -> None:
    one = call(charge=usd("0.05"))
    ours = rated(one)
    result = reconcile([one], [ours])
    (told,) = result.discrepancies
    assert told == Discrepancy(
        kind="differs",
        record_id="a",
        reported=one,
        rated=ours,
        reported_cost=usd("0.05"),
        rated_cost=usd("0.02"),
    )
    assert (told.difference, result.agreeing) == (usd("0.03"), 0)


def test_the_fee_and_the_rest_are_rounded_each_for_itself() -> None:
    # 0.264 and 0.054: together 0.318, so 0.32; in two columns 0.26 and 0.05.
    one = call(callee_number="+442079460101", charge=usd("0.26"), connection_fee=usd("0.05"))
    assert rated(one).cost == usd("0.318")
    assert found([one], [rated(one)]) == []
    assert found([call(callee_number="+442079460101", charge=usd("0.32"))], [rated(one)]) == [("differs", "a")]


@pytest.mark.parametrize(
    ("charge", "tolerance", "agrees"),
    [("0.03", 0, False), ("0.03", 1, True), ("0.01", 1, True), ("0.04", 1, False), ("0.04", 2, True)],
)
def test_costs_may_differ_by_the_tolerance(charge: str, tolerance: int, agrees: bool) -> None:
    one = call(charge=usd(charge))
    assert (found([one], [rated(one)], tolerance_units=tolerance) == []) == agrees


def test_digits_and_rounding_are_those_asked_for() -> None:
    down, exact = call(charge=usd("0.01")), call(charge=usd("0.015"))
    assert found([down], [rated(down)], rounding=ROUND_DOWN) == []
    assert found([exact], [rated(exact)], digits=3) == []
    assert found([exact], [rated(exact)], digits=9) == [] != found([exact], [rated(exact)])
    assert found([call(charge=usd(0))], [rated(exact)], digits=0) == []


def test_a_currency_with_fewer_digits_than_the_report_is_rounded_to_its_own() -> None:
    card = RateCard([Rate("81", Money("9.2", "JPY"))], currency="JPY")
    one = call(seconds=200, callee_number="+81355550123", charge=Money(37, "JPY"))
    ours = card.rate_call(one)
    assert ours.cost == Money("36.8", "JPY")
    assert found([one], [ours]) == []
    near = call(seconds=200, callee_number="+81355550123", charge=Money(38, "JPY"))
    assert found([near], [ours]) == [("differs", "a")]
    assert found([near], [ours], tolerance_units=1) == []


def test_a_currency_with_more_digits_than_the_report_is_rounded_to_the_reports() -> None:
    card = RateCard([Rate("965", Money("0.0125", "KWD"))], currency="KWD")
    one = call(callee_number="+96512345678", charge=Money("0.01", "KWD"))
    assert found([one], [card.rate_call(one)]) == []
    assert found([one], [card.rate_call(one)], digits=3) == [("differs", "a")]


def test_another_currency_differs_whatever_the_amounts() -> None:
    one = call(charge=Money("0.02", "EUR"))
    result = reconcile([one], [rated(call())], tolerance_units=100)
    (told,) = result.discrepancies
    assert (told.kind, told.difference) == ("differs", None)
    assert (result.reported, result.rated) == ({"EUR": Money("0.02", "EUR")}, {"USD": usd("0.015")})


def test_calls_that_are_missing_on_one_side_are_told_with_what_there_is() -> None:
    ours = rated(call("b"))
    result = reconcile([call("a")], [ours])
    assert [(one.kind, one.record_id) for one in result.discrepancies] == [("not_reported", "b"), ("not_rated", "a")]
    first, second = result.discrepancies
    assert (first.reported, first.reported_cost, first.rated, first.rated_cost) == (None, None, ours, usd("0.02"))
    assert (second.rated, second.rated_cost, second.reported_cost) == (None, None, usd("0.02"))
    assert first.difference is second.difference is None


def test_calls_that_are_twice_are_told_and_counted_once() -> None:
    reported = [call("a"), call("b"), call("a", charge=usd(9))]
    ours = [rated(call("a")), rated(call("b")), rated(call("b")), rated(call("c")), rated(call("c"))]
    result = reconcile(iter(reported), iter(ours))
    assert [(one.kind, one.record_id) for one in result.discrepancies] == [
        ("twice_reported", "a"),
        ("twice_rated", "b"),
        ("not_reported", "c"),
        ("twice_rated", "c"),
    ]
    assert result.agreeing == 2
    assert (result.reported, result.rated) == ({"USD": usd("0.04")}, {"USD": usd("0.045")})


def test_billed_calls_are_compared_by_what_credits_pay() -> None:
    covered = BilledCall(call("a", charge=usd(0)), 60, None, usd(0), "not_recorded")
    paid = BilledCall(call("b"), 0, rated(call("b")), usd("0.015"), "recorded")
    assert found([covered.call, paid.call], [covered, paid]) == []
    assert found([call("a"), call("b", charge=usd("0.01"))], [covered, paid]) == [("differs", "a"), ("differs", "b")]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=6),
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 3)), max_size=6),
)
def test_every_row_and_every_rating_is_told_of_or_agrees(
    ours: list[tuple[str, int]], theirs: list[tuple[str, int]]
) -> None:
    # A minute costs 0.015, which two digits show as 0.02, 0.03 and 0.05.
    cents = {0: 0, 1: 2, 2: 3, 3: 5}
    reported = [call(name, 60 * minutes, charge=Money.from_minor(cents[minutes], "USD")) for name, minutes in theirs]
    result = reconcile(reported, [rated(call(name, 60 * minutes)) for name, minutes in ours])
    first_ours: dict[str, int] = {}
    first_theirs: dict[str, int] = {}
    for pairs, first in ((ours, first_ours), (theirs, first_theirs)):
        for name, minutes in pairs:
            first.setdefault(name, minutes)
    both = first_ours.keys() & first_theirs.keys()
    kinds = Counter(one.kind for one in result.discrepancies)
    assert result.agreeing == sum(first_ours[name] == first_theirs[name] for name in both)
    assert kinds == +Counter(
        {
            "differs": len(both) - result.agreeing,
            "not_rated": len(first_theirs) - len(both),
            "not_reported": len(first_ours) - len(both),
            "twice_reported": len(theirs) - len(first_theirs),
            "twice_rated": len(ours) - len(first_ours),
        }
    )


@pytest.mark.parametrize(
    ("parameter", "value", "kind"),
    [
        ("reported", 7, WrongTypeError),
        ("reported", [7], WrongTypeError),
        ("rated", None, WrongTypeError),
        ("rated", [call()], WrongTypeError),
        ("rated", [CARD.rate("+4930", 60, at=datetime(2024, 1, 2, tzinfo=UTC))], InvalidValueError),
        ("digits", "2", WrongTypeError),
        ("digits", True, WrongTypeError),
        ("digits", 10, InvalidValueError),
        ("digits", -1, InvalidValueError),
        ("rounding", "UP", InvalidValueError),
        ("tolerance_units", 0.5, WrongTypeError),
        ("tolerance_units", True, WrongTypeError),
        ("tolerance_units", -1, InvalidValueError),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(parameter: str, value: object, kind: type[Exception]) -> None:
    arguments: dict[str, Any] = {"reported": [], "rated": []}
    with pytest.raises(kind) as caught:
        reconcile(**arguments | {parameter: value})
    assert type(caught.value) is kind
    assert caught.value.parameter == parameter  # type: ignore[attr-defined]
