"""The storages in memory keep the rules of every storage, and some of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from commcredits import (
    AsyncInMemoryStorage,
    Event,
    Head,
    InMemoryStorage,
    InvalidValueError,
    Ledger,
    Stored,
    VersionConflictError,
    WrongTypeError,
)
from commcredits.testing import AsyncStorageContract, StorageContract
from commcredits.testing.accounts import Account
from desk import HOUR, OPENED, Desk, usd


class TestInMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> InMemoryStorage:
        return InMemoryStorage()


class TestInMemoryStorageWithASnapshotAtEveryAppend(StorageContract):
    @pytest.fixture
    def storage(self) -> InMemoryStorage:
        return InMemoryStorage(snapshot_every=1)


class TestAsyncInMemoryStorage(AsyncStorageContract):
    @pytest.fixture
    def storage(self) -> AsyncInMemoryStorage:
        return AsyncInMemoryStorage(snapshot_every=7)


@pytest.mark.parametrize("make", [InMemoryStorage, AsyncInMemoryStorage])
def test_in_memory_an_append_is_never_part_of_the_callers_transaction(make: Callable[[], Any]) -> None:
    assert make().in_caller_transaction is False


def test_in_memory_an_append_of_nothing_opens_no_ledger() -> None:
    account = Account(InMemoryStorage())
    head, state = Head.of(account.ledger), account.ledger.state
    account.storage.append("nobody", (), expected_version=0, head=head, state=state)
    assert account.storage.load("nobody") is None
    with pytest.raises(VersionConflictError):
        account.storage.append("nobody", (), expected_version=1, head=head, state=state)


@pytest.mark.parametrize("every", [1, 2, 10, 100])
def test_in_memory_a_snapshot_is_kept_whenever_so_many_events_came(every: int) -> None:
    account = Account(InMemoryStorage(snapshot_every=every))
    for _ in range(205):
        account.do("add_funds", usd(1))
        stored = account.storage.load("acme")
        assert stored is not None
        assert len(stored.events) < every
        kept = 0 if stored.state is None else stored.state.version
        assert kept == len(account.events) // every * every


def test_in_memory_a_snapshot_is_kept_every_hundred_events_unless_said_otherwise() -> None:
    account = Account(InMemoryStorage())
    for _ in range(98):
        account.do("add_funds", usd(1))
    stored = account.storage.load("acme")
    assert stored is not None
    assert stored.state is None
    account.do("add_funds", usd(1))
    stored = account.storage.load("acme")
    assert stored is not None
    assert (stored.state, list(stored.events)) == (account.ledger.state(), [])


def test_in_memory_only_one_of_many_threads_wins_a_version() -> None:
    account = Account(InMemoryStorage())
    decided = [account.decide("add_funds", usd(number + 1), idempotency_key=f"k{number}") for number in range(16)]
    barrier = threading.Barrier(16)
    won: list[tuple[Event, ...]] = []
    lost: list[VersionConflictError] = []

    def race(events: tuple[Event, ...]) -> None:
        ledger = Ledger.restore(account.ledger.state(), events)
        barrier.wait()
        try:
            account.storage.append("acme", events, expected_version=1, head=Head.of(ledger), state=ledger.state)
            won.append(events)
        except VersionConflictError as error:
            lost.append(error)

    threads = [threading.Thread(target=race, args=(events,)) for events in decided]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 15)
    assert list(account.storage.history("acme")) == [account.ledger.opened, *won[0]]
    assert len(account.storage.find("acme", [f"k{number}" for number in range(16)])) == 1


def test_a_history_being_read_is_not_disturbed_by_appends() -> None:
    account = Account(InMemoryStorage())
    account.do("add_funds", usd(1))
    history = account.storage.history("acme")
    first = next(history)
    account.do("add_funds", usd(2))
    assert [first, *history] == account.events[:2]


def test_the_head_of_a_ledger_says_where_it_stands() -> None:
    desk = Desk(funds=50)
    desk.do("hold", "call", usd(20), expires_at=desk.now + HOUR)
    head = Head.of(desk.ledger)
    assert head == Head(3, OPENED, usd(50), usd(30), OPENED + HOUR)
    assert head == Head.of(desk.ledger.state())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        head.version = 4


def test_a_stored_ledger_is_a_plain_value() -> None:
    opened = Desk(funds=0).ledger.opened
    assert Stored(None, (opened,)) == Stored(state=None, events=(opened,))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Stored(None, ()).events = (opened,)


@pytest.mark.parametrize(("every", "error"), [(0, InvalidValueError), (-1, InvalidValueError), ("1", WrongTypeError)])
def test_in_memory_a_snapshot_every_nothing_is_refused(every: Any, error: type[Exception]) -> None:
    for make in (InMemoryStorage, AsyncInMemoryStorage):
        with pytest.raises(error, match="snapshot_every"):
            make(snapshot_every=every)
