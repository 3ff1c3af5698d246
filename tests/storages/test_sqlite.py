"""SQLite: whose transaction it is, in every mode of the driver, and upgrades of old tables."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from databases import T0, Card, Database, sqlite_database, usd

from commcredits import AsyncLedgerService, Head, Ledger, Outcome, Paid, RechargePolicy, Terms, VersionConflictError
from commcredits.storages.sqlite import AsyncSQLiteStorage, SQLiteStorage

OLD = Path(__file__).parents[1] / "data" / "sqlite_v1.sql"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as database:
        database.storage.create_tables()
        yield database


def test_tables_of_the_first_version_are_upgraded_in_place(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        database.connection.executescript(OLD.read_text(encoding="utf-8"))
        before = database.execute("SELECT ledger_id, version, payload FROM commcredits_events ORDER BY 1, 2")
        database.storage.create_tables()
        assert database.execute("SELECT version FROM commcredits_schema") == [(2,)]
        assert database.execute("SELECT ledger_id, version, payload FROM commcredits_events ORDER BY 1, 2") == before
        assert set(database.execute("SELECT balance_after FROM commcredits_events")) == {(None,)}
        service = database.service()
        state = service.get("acme")
        assert len(list(service.history("acme"))) == state.version
        database.now = state.as_of
        assert service.add_funds("acme", usd(1), reference="new").balance == state.balance + usd(1)
        assert len(database.storage.feed(None, 1000)) == len(before) + 1


def test_every_index_but_one_begins_with_the_ledger(database: Database) -> None:
    found = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    assert {name for name, definition in found if "(ledger_id" not in definition} == {"commcredits_due"}
    assert len(found) == 5


def test_a_connection_in_the_drivers_default_mode_commits_each_append(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        connection = sqlite3.connect(tmp_path / "ledgers.db")
        storage = SQLiteStorage(connection)
        storage.create_tables()
        service = database.service(storage)
        service.open("acme", Terms("USD"))
        service.add_funds("acme", usd(10), reference="")
        assert not storage.in_caller_transaction
        assert database.service().get("acme").balance == usd(10)
        connection.execute("CREATE TABLE calls (call_id TEXT)")
        connection.execute("INSERT INTO calls VALUES ('call-1')")  # this driver begins a transaction here
        assert storage.in_caller_transaction
        service.consume("acme", usd(1))
        assert database.service().get("acme").balance == usd(10)
        connection.rollback()
        assert service.get("acme").balance == usd(10)
        connection.close()


def test_a_write_does_not_fail_because_another_connection_wrote_since_the_last_read(database: Database) -> None:
    service = database.opened()
    other = database.service(database.storage_on(database.connect()))
    for _ in range(5):
        service.get("acme")
        other.consume("acme", usd(1))
        service.consume("acme", usd(1))
    assert service.get("acme").balance == usd(90)


def test_a_database_that_is_locked_says_so_itself(tmp_path: Path) -> None:
    with sqlite_database(tmp_path) as database:
        database.storage.create_tables()
        database.opened()
        ledger = Ledger.replay(list(database.storage.history("acme")))
        events = ledger.consume(usd(1), at=T0)
        impatient = sqlite3.connect(tmp_path / "ledgers.db", timeout=0)
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            SQLiteStorage(impatient).append(
                "acme", events, expected_version=3, head=Head.of(ledger), state=ledger.state
            )
        assert not impatient.in_transaction
        impatient.close()


def test_threads_share_one_connection(database: Database) -> None:
    service = database.opened(funds=1000)
    seen: list[bool] = []

    def consume() -> None:
        for _ in range(20):
            service.consume("acme", usd(1))
            seen.append(database.storage.in_caller_transaction)

    threads = [threading.Thread(target=consume) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert service.get("acme").balance == usd(920)
    assert not any(seen)


# For coroutines


class AsyncCard(Card):
    async def charge(self, charge: Any) -> Outcome:  # type: ignore[override]
        self.charged.append(charge.charge_id)
        return Paid()


async def opened(connection: aiosqlite.Connection, card: AsyncCard) -> AsyncLedgerService:
    storage = AsyncSQLiteStorage(connection)
    await storage.create_tables()
    service = AsyncLedgerService(storage, card, clock=lambda: T0)
    await service.open("acme", Terms("USD"))
    await service.add_funds("acme", usd(100), reference="")
    await service.configure_auto_recharge("acme", RechargePolicy(usd(10), usd(50)))
    return service


def test_coroutines_share_one_connection(tmp_path: Path) -> None:
    async def all_at_once() -> None:
        async with aiosqlite.connect(tmp_path / "ledgers.db", isolation_level=None) as connection:
            card = AsyncCard()
            service = await opened(connection, card)
            await service.open("other", Terms("USD"))
            calls = [service.consume("acme", usd(5)) for _ in range(19)]
            await asyncio.gather(*calls, *[service.add_funds("other", usd(1), reference="") for _ in range(9)])
            assert (await service.get("acme")).balance == usd(55)
            assert (await service.get("other")).balance == usd(9)
            assert len(card.charged) == 1

    asyncio.run(all_at_once())


def test_coroutines_in_the_callers_transaction_are_part_of_it(tmp_path: Path) -> None:
    async def undone() -> None:
        async with aiosqlite.connect(tmp_path / "ledgers.db", isolation_level=None) as connection:
            card = AsyncCard()
            service = await opened(connection, card)
            await connection.execute("BEGIN")
            receipt = await service.consume("acme", usd(95), idempotency_key="k")
            assert receipt.pending_charges
            assert (await service.consume("acme", usd(95), idempotency_key="k")).replayed
            await connection.rollback()
            assert (await service.get("acme")).balance == usd(100)
            assert card.charged == []

    asyncio.run(undone())


def test_a_caller_that_is_cancelled_leaves_no_transaction_open(tmp_path: Path) -> None:
    async def cancelled() -> None:
        async with aiosqlite.connect(tmp_path / "ledgers.db", isolation_level=None) as connection:
            service = await opened(connection, AsyncCard())
            storage = AsyncSQLiteStorage(connection)
            ledger = Ledger.replay([event async for event in service.history("acme")])
            for steps in range(12):
                version = ledger.version
                events = ledger.consume(usd(1), at=T0)
                appending = asyncio.ensure_future(
                    storage.append("acme", events, expected_version=version, head=Head.of(ledger), state=ledger.state)
                )
                for _ in range(steps):
                    await asyncio.sleep(0)
                appending.cancel()
                await asyncio.gather(appending, return_exceptions=True)
                stored = await storage.load("acme")
                assert stored is not None
                ledger = Ledger.replay([event async for event in storage.history("acme")])
                assert not storage.in_caller_transaction
                with pytest.raises(VersionConflictError):
                    await storage.append(
                        "acme", events, expected_version=ledger.version + 1, head=Head.of(ledger), state=ledger.state
                    )
            await service.consume("acme", usd(1))
            assert not connection.in_transaction

    asyncio.run(cancelled())
