"""How events change the books: replayed anywhere they make the same ones, and nothing grows with history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from build import T0, Step, all_terms, cents, day, histories, hour, kinds, ledger, lot, only, play, usd
from commcredits import FundsConsumed, Ledger, RechargePolicy
from commcredits.books import Books
from commcredits.changes import apply
from commcredits.events import LedgerOpened


@given(history=histories(40), terms=all_terms(), cut=st.integers(0, 60))
def test_history_replays_into_equal_books_from_any_point_on(
    history: list[Step], terms: dict[str, Any], cut: int
) -> None:
    account, events, _ = play(ledger(**terms), history)
    replayed = Ledger.replay(events)
    assert replayed == account
    part = Ledger.replay(events[: cut + 1])
    assert Ledger.restore(part.state(), events[cut + 1 :]) == account


def test_replaying_checks_no_rule() -> None:
    books = Books.opened(only([ledger().opened], LedgerOpened))
    usage = FundsConsumed(version=2, at=T0, amount=usd(9), draws=(), overdrawn=usd(9), occurred_at=T0)
    apply(books, usage)  # beyond the overdraft limit of today
    assert books.available == -9 * 10**9


def test_a_drained_lot_is_kept_until_its_time_is_over() -> None:
    account = ledger(late_usage_grace=timedelta(days=1))
    drained = lot(account, 10, at=T0, expires_at=day(1))
    account.consume(usd(10), at=T0)
    assert account.lots == ()
    account.consume(usd(0), at=day(2) - timedelta(microseconds=1))
    assert drained in account._books.lots
    account.consume(usd(0), at=day(2))
    assert drained not in account._books.lots
    account.check()


def test_the_books_do_not_grow_with_usage_holds_and_expired_lots() -> None:
    account = ledger(funds_valid_for=timedelta(hours=1), overdraft_limit=None)
    account.configure_auto_recharge(RechargePolicy(cents(1), usd(50)), at=T0)
    account.consume(usd(5), at=T0)
    for number in range(300):
        at = hour(number)
        account.add_funds(usd(10), at=at)
        account.hold(f"call {number}", usd(1), at=at, expires_at=at + timedelta(minutes=5))
        account.capture(f"call {number}", usd(1), at=at)
        account.consume(usd(9), at=at)
    books = account._books
    assert len(books.lots) <= 2
    assert len(books.ended_holds) == 100
    assert len(books.holds) == 0
    assert len(books.repayments) <= 2
    account.check()


def test_reversals_are_remembered_for_400_days() -> None:
    account = ledger(funds_valid_for=None)
    lot(account, 10, at=T0)
    first, second, third = (only(account.consume(usd(1), at=T0), FundsConsumed) for _ in range(3))
    account.reverse_consumption(first, at=T0)
    account.reverse_consumption(second, at=day(400) - timedelta(microseconds=1))
    assert set(account._books.reversed) == {first.version, second.version}
    account.reverse_consumption(third, at=day(400))
    assert set(account._books.reversed) == {second.version, third.version}


@given(history=histories(25), later=histories(10), terms=all_terms(), alerts=st.sets(st.integers(0, 60), max_size=2))
def test_a_ledger_replayed_or_restored_goes_on_exactly_as_the_live_one(
    history: list[Step], later: list[Step], terms: dict[str, Any], alerts: set[int]
) -> None:
    live = ledger(**terms, alert_thresholds=tuple(usd(level) for level in alerts))
    _, events, at = play(live, history)
    half = len(events) // 2 + 1
    middle = Ledger.replay(events[:half]).state()
    again = [Ledger.replay(events), Ledger.restore(live.state()), Ledger.restore(middle, events[half:])]
    told = play(live, later, at).events[1:]
    for account in again:
        assert play(account, later, at).events[1:] == told


def test_an_alert_is_told_once_whether_or_not_the_ledger_was_loaded_between() -> None:
    account = ledger(alert_thresholds=(usd(50),))
    events = [account.opened, *account.add_funds(usd(100), at=T0)]
    loaded = Ledger.replay(events)
    spent = loaded.consume(usd(60), at=T0)
    assert kinds(spent) == ["FundsConsumed", "AlertRaised"]
    assert kinds(Ledger.replay([*events, *spent]).consume(usd(1), at=T0)) == ["FundsConsumed"]
