"""Rules of bills: how calls add up."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import Money
from commcredits.telephony import AllowanceState, Bill, BilledCall, CallRecord
from commcredits.telephony.bills import Tally

PARTS = ("kind", "country", "user_id", "payer")
ALLOWANCES = AllowanceState()


def billed(kind: str, country: str, user_id: str, covered: int, left: int, billionths: int) -> BilledCall:
    call = CallRecord(
        record_id="a",
        started_at=datetime(2024, 1, 2, tzinfo=UTC),
        duration_seconds=covered + left,
        charge=Money(0, "USD"),
        call_type=kind,
        destination_name=country,
        user_id=user_id,
    )
    cost = Money("0.000000001", "USD") * billionths
    return BilledCall(call, covered, None, cost, "recorded" if billionths else "not_recorded")


calls = st.builds(
    billed,
    st.sampled_from(["user_out", "conf_out"]),
    st.sampled_from(["Germany", "Japan"]),
    st.sampled_from(["amy", "raj", ""]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 3),
)


def added_up(some: list[BilledCall]) -> Bill:
    tally = Tally("USD")
    for one in some:
        tally.add(one)
    return tally.bill("acme", ALLOWANCES)


@pytest.mark.parametrize(
    ("covered", "left", "cost", "shares"),
    [
        (0, 0, 0, [("nobody", 0, 0)]),
        (0, 5, 0, [("nobody", 5, 0)]),
        (0, 5, 7, [("credits", 5, 7)]),
        (5, 0, 0, [("allowance", 5, 0)]),
        (5, 2, 7, [("allowance", 5, 0), ("credits", 2, 7)]),
        (5, 2, 0, [("allowance", 5, 0), ("nobody", 2, 0)]),
    ],
)
def test_the_shares_of_a_call_are_what_each_payer_has_of_it(
    covered: int, left: int, cost: int, shares: list[tuple[str, int, int]]
) -> None:
    told = billed("user_out", "Japan", "amy", covered, left, cost).shares
    assert [(payer, seconds, int(money.amount * 10**9)) for payer, seconds, money in told] == shares


@given(st.lists(calls, max_size=8), st.lists(st.sampled_from(PARTS), unique=True))
def test_the_totals_by_any_parts_add_up_to_the_calls(some: list[BilledCall], parts: list[str]) -> None:
    bill = added_up(some)
    seconds: Counter[tuple[str, ...]] = Counter()
    billionths: Counter[tuple[str, ...]] = Counter()
    for one in some:
        for payer, share, cost in one.shares:
            values = dict(
                zip(PARTS, (one.call.call_type, one.call.destination_name, one.call.user_id, payer), strict=True)
            )
            key = tuple(values[part] for part in parts)
            seconds[key] += share
            billionths[key] += int(cost.amount * 10**9)
    found = bill.by(*parts)  # type: ignore[arg-type]
    assert list(found) == sorted(found)
    assert {key: total.seconds for key, total in found.items()} == dict(seconds)
    assert {key: int(total.cost.amount * 10**9) for key, total in found.items()} == dict(billionths)
    assert int(bill.cost.amount * 10**9) == billionths.total()
    assert sum(total.seconds for total in bill.lines.values()) == sum(one.call.duration_seconds for one in some)
    assert bill.calls == len(some)


def test_the_lines_cannot_be_changed() -> None:
    bill = added_up([billed("user_out", "Japan", "amy", 1, 2, 3)])
    assert not hasattr(bill.lines, "clear")
    with pytest.raises(AttributeError):
        bill.calls = 2  # type: ignore[misc]
