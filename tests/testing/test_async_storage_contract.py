"""The contract of storages for coroutines: the same rules, on one loop, and one more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from broken_storages import AwaitsBeforeItWrites, Whole

from build import usd
from commcredits.storage import SteppedStorage
from commcredits.testing import AsyncStorageContract, StorageContract
from commcredits.testing.accounts import Account, everything_in
from commcredits.testing.async_storage_contract import BlockingStorage

ONE_WINS = "test_of_coroutines_that_decided_on_the_same_version_one_wins"


class TestWholeStepped(AsyncStorageContract):
    @pytest.fixture
    def storage(self) -> SteppedStorage:
        return SteppedStorage(Whole())


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def test_it_has_all_rules_of_the_blocking_contract_and_one_of_its_own() -> None:
    assert issubclass(AsyncStorageContract, StorageContract)
    rules = {name for name in dir(AsyncStorageContract) if name.startswith("test_")}
    assert rules - set(dir(StorageContract)) == {ONE_WINS}


def test_a_storage_that_awaits_between_its_check_and_its_writing_is_caught(runner: asyncio.Runner) -> None:
    storage = AwaitsBeforeItWrites()
    tested = BlockingStorage(storage, runner)
    with pytest.raises((AssertionError, ValueError)):
        getattr(AsyncStorageContract(), ONE_WINS)(storage, tested, runner)


def test_all_calls_run_on_one_loop_and_answer_what_the_storage_answers(runner: asyncio.Runner) -> None:
    loops: set[Any] = set()

    class Noting(SteppedStorage):
        async def load(self, ledger_id: str) -> Any:
            loops.add(asyncio.get_running_loop())
            return await super().load(ledger_id)

    whole = Whole()
    tested = BlockingStorage(Noting(whole), runner)
    account = Account(tested)
    account.do("add_funds", usd(1), idempotency_key="k")
    assert everything_in(tested) == everything_in(whole)
    assert loops == {runner.get_loop()}
    assert tested.in_caller_transaction is False
