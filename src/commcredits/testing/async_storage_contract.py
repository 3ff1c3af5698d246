"""The rules of `AsyncStorage`: those of `Storage`, awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from commcredits.errors import VersionConflictError
from commcredits.ledger import Ledger
from commcredits.money import Money
from commcredits.storage import Head
from commcredits.testing.accounts import Account
from commcredits.testing.storage_contract import StorageContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from commcredits.events import Event
    from commcredits.storage import AsyncStorage, Storage, Stored


class BlockingStorage:
    """A storage of coroutines as one that blocks: each is run to its end on one loop."""

    def __init__(self, storage: AsyncStorage, runner: asyncio.Runner) -> None:
        self._storage = storage
        self._run = runner.run

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._storage.in_caller_transaction

    def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`."""
        return self._run(self._storage.load(ledger_id))

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        """See `Storage.append`."""
        self._run(self._storage.append(ledger_id, events, **named))

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """See `Storage.history`."""

        async def collected() -> list[Event]:
            return [event async for event in self._storage.history(ledger_id, after_version=after_version)]

        return iter(self._run(collected()))

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`."""
        return self._run(self._storage.find(ledger_id, idempotency_keys))

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`."""
        return self._run(self._storage.about(ledger_id, subject))

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        return self._run(self._storage.due(before, limit=limit))


class AsyncStorageContract(StorageContract):
    """What every storage of coroutines must do. Derive from it, and override the fixture `storage`.

    Everything runs on the loop of the fixture `runner`, which is there to make the storage on, too; no other plugin of
    pytest is needed.

    ```python
    class TestMyStorage(AsyncStorageContract):
        @pytest.fixture
        def storage(self, runner):
            storage = runner.run(MyStorage.connect())
            yield storage
            runner.run(storage.close())
    ```
    """

    @pytest.fixture
    def runner(self) -> Iterator[asyncio.Runner]:
        """The loop of a test."""
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture
    def tested(self, storage: Any, runner: asyncio.Runner) -> Storage:
        """The storage as the tests call it."""
        return BlockingStorage(storage, runner)

    def test_of_coroutines_that_decided_on_the_same_version_one_wins(
        self, storage: Any, tested: Storage, runner: asyncio.Runner
    ) -> None:
        account = Account(tested)
        decided = [
            account.decide("add_funds", Money(number, "USD"), idempotency_key=str(number)) for number in range(1, 9)
        ]

        async def append(events: Sequence[Event]) -> None:
            after = Ledger.restore(account.ledger.state(), events)
            await storage.append("acme", events, expected_version=1, head=Head.of(after), state=after.state)

        async def all_at_once() -> list[BaseException | None]:
            return await asyncio.gather(*map(append, decided), return_exceptions=True)

        outcomes = runner.run(all_at_once())
        (won,) = [events for events, outcome in zip(decided, outcomes, strict=True) if outcome is None]
        assert sum(isinstance(outcome, VersionConflictError) for outcome in outcomes) == len(decided) - 1
        assert list(tested.history("acme")) == [*account.events, *won]
        assert len(tested.find("acme", [str(number) for number in range(1, 9)])) == 1
