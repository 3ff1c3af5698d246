"""SQLite: whose transaction it is, in every mode of the driver, and upgrades of old tables."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from databases import T0, AsyncCard, Database, sqlite_database, usd

from commcredits import AsyncLedgerService, DuplicateKeyError, Head, Ledger, RechargePolicy, Terms, VersionConflictError
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


def test_a_transaction_of_the_callers_that_read_first_and_cannot_write_is_left_to_the_caller(
    database: Database,
) -> None:
    service = database.opened()
    database.execute("BEGIN")  # deferred: what it reads first fixes what it sees
    assert service.get("acme").balance == usd(100)
    other = database.service(database.storage_on(database.connect()))
    other.consume("acme", usd(1))
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        service.consume("acme", usd(2), idempotency_key="k")
    assert database.connection.in_transaction
    assert service.get("acme").balance == usd(100)
    database.execute("ROLLBACK")
    assert service.consume("acme", usd(2), idempotency_key="k").balance == usd(97)


class InterruptedConnection(sqlite3.Connection):
    """Is interrupted when a statement is done, as is one that waited for a lock."""

    at = "nothing"

    def cursor(self, *arguments: Any) -> Any:  # type: ignore[override]
        return super().cursor(*arguments or (InterruptedCursor,))


class InterruptedCursor(sqlite3.Cursor):
    connection: InterruptedConnection

    def execute(self, sql: str, *values: Any) -> Any:
        super().execute(sql, *values)
        if sql.startswith(self.connection.at):
            raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("begin", ["", "BEGIN"])
@pytest.mark.parametrize("at", ["BEGIN IMMEDIATE", "SAVEPOINT", "UPDATE", "RELEASE", "COMMIT"])
def test_an_interrupt_leaves_no_transaction_open_but_the_callers(database: Database, at: str, begin: str) -> None:
    database.opened()
    name = database.execute("PRAGMA database_list")[0][2]
    connection = sqlite3.connect(name, isolation_level=None, factory=InterruptedConnection)
    service = database.service(database.storage_on(connection))
    connection.execute(begin)
    connection.at = at
    is_reached = at == "UPDATE" or (at in ("SAVEPOINT", "RELEASE")) == bool(begin)
    with pytest.raises(KeyboardInterrupt) if is_reached else nullcontext():
        service.consume("acme", usd(1), idempotency_key="k")
    connection.at = "nothing"
    assert connection.in_transaction == bool(begin)
    if begin:
        connection.rollback()
    was_stored = not begin and (at == "COMMIT" or not is_reached)
    assert service.consume("acme", usd(1), idempotency_key="k").replayed == was_stored
    assert database.service().get("acme").balance == usd(99)
    connection.close()


# Since Python 3.12 the driver has modes without and with autocommit, beside the one of old.
MODES: list[dict[str, Any]] = [{}, {"isolation_level": None}]
MODES += [{"autocommit": False}, {"autocommit": True}] if sys.version_info >= (3, 12) else []


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_only_a_connection_without_autocommit_leaves_the_commit_to_the_caller(
    database: Database, mode: dict[str, Any]
) -> None:
    service = database.opened()
    connection = sqlite3.connect(database.execute("PRAGMA database_list")[0][2], **mode)
    storage = database.storage_on(connection)
    commits_itself = mode.get("autocommit", True)
    assert storage.in_caller_transaction is not commits_itself
    receipt = database.service(storage).consume("acme", usd(95))
    assert (len(database.card.charged), len(receipt.pending_charges)) == ((1, 0) if commits_itself else (0, 1))
    assert service.get("acme").balance == usd(55 if commits_itself else 100)
    connection.commit()
    assert service.get("acme").balance == usd(55 if commits_itself else 5)
    connection.close()


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


@pytest.mark.parametrize("isolation_level", [None, ""])
def test_coroutines_are_told_what_refused_them_and_go_on_in_the_callers_transaction(
    tmp_path: Path, isolation_level: Any
) -> None:
    async def refused() -> None:
        name = tmp_path / "ledgers.db"
        async with aiosqlite.connect(name, isolation_level=isolation_level) as connection:
            service = await opened(connection, AsyncCard())
            storage = AsyncSQLiteStorage(connection)
            await service.consume("acme", usd(1), idempotency_key="k")
            ledger = Ledger.replay([event async for event in service.history("acme")])
            held = ledger.hold("h", usd(1), at=T0, expires_at=T0.replace(hour=1), idempotency_key="k")
            for taken, begin in ((4, ""), (5, "BEGIN")):
                await connection.execute(begin)
                for version, error in ((9, VersionConflictError), (taken, DuplicateKeyError)):
                    with pytest.raises(error):
                        await storage.append(
                            "acme", held, expected_version=version, head=Head.of(ledger), state=ledger.state
                        )
                assert connection.in_transaction == bool(begin)
                assert (await service.consume("acme", usd(1), idempotency_key="k")).replayed
                await service.consume("acme", usd(1))
                await connection.commit()
            assert (await service.get("acme")).balance == usd(97)
            assert [event.version for _, event in await storage.feed(None, 99)] == list(range(1, 7))
            assert await storage.due(T0, limit=9) == []

    asyncio.run(refused())


def test_what_else_refuses_an_append_of_a_coroutine_passes_through_as_it_is(tmp_path: Path) -> None:
    async def refused() -> None:
        async with aiosqlite.connect(tmp_path / "ledgers.db", isolation_level=None) as connection:
            service = await opened(connection, AsyncCard())
            on_update = "CREATE TRIGGER keep BEFORE UPDATE ON commcredits_ledgers BEGIN SELECT RAISE({}); END"
            await connection.execute(on_update.format("ABORT, 'no such luck'"))
            with pytest.raises(sqlite3.IntegrityError, match="no such luck"):
                await service.consume("acme", usd(1))
            await connection.execute("DROP TRIGGER keep")
            await connection.execute(on_update.format("IGNORE"))
            with pytest.raises(VersionConflictError):
                await service.consume("acme", usd(1))
            assert (await service.get("acme")).version == 3
            assert not connection.in_transaction

    asyncio.run(refused())


def test_a_caller_that_is_cancelled_and_rolls_back_at_once_leaves_nothing(tmp_path: Path) -> None:
    async def cancelled() -> None:
        async with aiosqlite.connect(tmp_path / "ledgers.db", isolation_level=None) as connection:
            service = await opened(connection, AsyncCard())
            storage = AsyncSQLiteStorage(connection)
            ledger = Ledger.replay([event async for event in service.history("acme")])
            events = ledger.consume(usd(1), at=T0)
            for steps in range(20):
                await connection.execute("BEGIN")
                appending = asyncio.ensure_future(
                    storage.append("acme", events, expected_version=3, head=Head.of(ledger), state=ledger.state)
                )
                for _ in range(steps):
                    await asyncio.sleep(0)
                appending.cancel()
                for _ in range(3):
                    await asyncio.sleep(0)
                    appending.cancel()  # again, while it waits for what is under way
                await asyncio.gather(appending, return_exceptions=True)
                await connection.rollback()
                assert len([event async for event in storage.history("acme")]) == 3
                assert not connection.in_transaction
            await storage.append("acme", events, expected_version=3, head=Head.of(ledger), state=ledger.state)

    asyncio.run(cancelled())


def test_an_append_that_fails_after_its_caller_was_cancelled_fails_in_silence(tmp_path: Path) -> None:
    async def cancelled() -> None:
        async with aiosqlite.connect(tmp_path / "ledgers.db", isolation_level=None) as connection:
            service = await opened(connection, AsyncCard())
            ledger = Ledger.replay([event async for event in service.history("acme")])
            events = ledger.consume(usd(1), at=T0)
            appending = asyncio.ensure_future(
                AsyncSQLiteStorage(connection).append(
                    "acme", events, expected_version=9, head=Head.of(ledger), state=ledger.state
                )
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            appending.cancel()
            [answer] = await asyncio.gather(appending, return_exceptions=True)
            assert isinstance(answer, asyncio.CancelledError)
            assert (await service.consume("acme", usd(1))).balance == usd(99)

    asyncio.run(cancelled())
