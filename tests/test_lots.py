"""Lots and holds, and the order in which they burn."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from build import T0, day, drawn, ledger, left, lot, only, usd
from commcredits import Draw, FundsConsumed, Hold, Lot
from commcredits.lots import BurnOrder, HoldAccount, LotAccount, burn_key, take
from commcredits.money import Money

BILLIONTH = Money("0.000000001", "USD")


def account(lot_id: int, free: int, expires_at: datetime | None = None, priority: int = 0) -> LotAccount:
    one = LotAccount(lot_id, free, T0, T0, expires_at, priority, purchased=True)
    one.free = free
    return one


@st.composite
def accounts(draw: st.DrawFn) -> list[LotAccount]:
    expiries = st.sampled_from([None, day(1), day(2)])
    made = draw(st.lists(st.tuples(st.integers(0, 5), expiries, st.integers(-1, 1)), max_size=8))
    return [account(lot_id, *values) for lot_id, values in enumerate(made, start=2)]


def by_the_rule(one: LotAccount) -> tuple[int, float, int]:
    """Lowest priority number, soonest expiry (never-expiring last), lowest lot id."""
    until = float("inf") if one.expires_at is None else one.expires_at.timestamp()
    return one.priority, until, one.lot_id


def test_the_lowest_priority_number_burns_first() -> None:
    prepaid = ledger()
    bought = lot(prepaid, 10, at=T0)
    last = lot(prepaid, 10, at=T0, priority=1, expires_at=day(1))
    first = lot(prepaid, 10, at=T0, priority=-1)
    usage = only(prepaid.consume(usd(25), at=T0), FundsConsumed)
    assert drawn(usage) == [(first, usd(10)), (bought, usd(10)), (last, usd(5))]


def test_then_the_soonest_expiry_burns_first_and_never_expiring_funds_last() -> None:
    prepaid = ledger()
    never = lot(prepaid, 10, at=T0, priority=0)
    later = lot(prepaid, 10, at=T0, expires_at=day(2))
    sooner = lot(prepaid, 10, at=T0, expires_at=day(1))
    usage = only(prepaid.consume(usd(25), at=T0), FundsConsumed)
    assert drawn(usage) == [(sooner, usd(10)), (later, usd(10)), (never, usd(5))]
    assert [one.lot_id for one in prepaid.lots] == [never]


def test_then_the_lowest_lot_id_burns_first() -> None:
    prepaid = ledger()
    ids = [lot(prepaid, 10, at=T0, expires_at=day(1)) for _ in range(3)]
    assert ids == [2, 3, 4]
    usage = only(prepaid.consume(usd(11), at=T0), FundsConsumed)
    assert drawn(usage) == [(2, usd(10)), (3, usd(1))]


def test_usage_of_exactly_a_lot_leaves_the_next_alone() -> None:
    prepaid = ledger()
    first, second = (lot(prepaid, 10, at=T0, expires_at=day(1)) for _ in range(2))
    assert drawn(only(prepaid.consume(usd(10), at=T0), FundsConsumed)) == [(first, usd(10))]
    assert drawn(only(prepaid.consume(BILLIONTH, at=T0), FundsConsumed)) == [(second, BILLIONTH)]
    assert left(prepaid) == {second: usd(10) - BILLIONTH}


@given(lots=accounts(), amount=st.integers(0, 40))
@example([account(2, 5), account(3, 5)], 5)
def test_usage_drains_lots_in_burn_order_and_never_more_than_it_needs(lots: list[LotAccount], amount: int) -> None:
    draws = take(sorted(lots, key=burn_key), "free", amount, "USD")
    taken = {draw.lot_id: draw.amount._billionths for draw in draws}
    assert sum(taken.values()) == min(amount, sum(one.free for one in lots))
    assert all(taken.values())
    rest = amount
    for one in sorted(lots, key=by_the_rule):
        assert taken.get(one.lot_id, 0) == min(one.free, rest)
        rest -= min(one.free, rest)


@given(lots=accounts(), data=st.data())
def test_the_burn_order_stays_sorted_whatever_comes_and_goes(lots: list[LotAccount], data: st.DataObject) -> None:
    order, inside = BurnOrder(lots), list(lots)
    for one in data.draw(st.permutations(lots)):
        order.remove(one)
        inside.remove(one)
        if data.draw(st.booleans()):
            order.add(one)
            inside.append(one)
        assert order.lots == sorted(inside, key=by_the_rule)


def test_a_lot_shows_what_can_still_come_free_and_what_is_held_apart() -> None:
    one = account(7, 0, day(5), priority=3)
    one.amount, one.free, one.lapsed, one.not_started, one.held, one.drawn = 100, 1, 2, 4, 8, 85
    assert one.shown("USD") == Lot(
        7, BILLIONTH * 100, BILLIONTH * 7, BILLIONTH * 8, T0, T0, day(5), priority=3, purchased=True
    )


def test_a_lot_is_empty_when_nothing_of_it_can_come_free() -> None:
    for part in LotAccount.PARTS:
        one = account(2, 0)
        assert one.is_empty
        setattr(one, part, 1)
        assert one.is_empty == (part not in ("not_started", "free", "held", "lapsed"))


def test_a_hold_shows_its_draws_and_their_sum() -> None:
    held = HoldAccount("call", {3: 5, 2: 10}, T0, day(1))
    assert held.amount == 15
    draws = (Draw(3, BILLIONTH * 5), Draw(2, BILLIONTH * 10))
    assert held.shown("USD") == Hold("call", BILLIONTH * 15, draws, T0, day(1))


def test_copies_of_accounts_are_independent() -> None:
    one, held = account(2, 10), HoldAccount("call", {2: 5}, T0, T0 + timedelta(hours=1))
    twins = one.copy(), held.copy()
    assert twins[0].values() == one.values()
    assert twins[1].values() == held.values()
    one.free = 9
    held.draws[2] = 4
    assert twins[0].free == 10
    assert twins[1].draws == {2: 5}
