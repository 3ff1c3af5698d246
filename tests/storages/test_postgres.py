"""PostgreSQL: one round trip, whose transaction it is, and a feed that skips nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import psycopg
import pytest
from databases import T0, AsyncCard, Database, postgres_database, usd

from commcredits import AsyncLedgerService, Head, Ledger, Money, RechargePolicy, Terms
from commcredits.storages.postgres import AsyncPostgresStorage, PostgresStorage


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[Database]:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables()
        yield database


class CountingCursor(psycopg.Cursor[Any]):
    executed: ClassVar[list[str]] = []

    def execute(self, query: Any, *arguments: Any, **named: Any) -> Any:
        self.executed.append(str(query))
        return super().execute(query, *arguments, **named)


# Round trips and conflicts


@pytest.mark.parametrize("snapshot_every", [1, 1000])
def test_an_append_is_one_statement(database: Database, snapshot_every: int) -> None:
    service = database.opened()
    ledger = Ledger.replay(list(service.history("acme")))
    database.connection.cursor_factory = CountingCursor
    storage = database.storage_on(database.connection, snapshot_every=snapshot_every)
    for usages in (1, 3):
        before = ledger.version
        events = [
            event
            for number in range(usages)
            for event in ledger.consume(usd(1), at=T0, idempotency_key=f"{usages}-{number}")
        ]
        CountingCursor.executed.clear()
        storage.append("acme", events, expected_version=before, head=Head.of(ledger), state=ledger.state)
        assert len(CountingCursor.executed) == 1


def test_the_loser_under_serializable_is_told_by_the_database_itself(database: Database) -> None:
    service = database.opened()
    ledger = Ledger.replay(list(service.history("acme")))
    events = ledger.consume(usd(1), at=T0)
    database.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    database.execute("SELECT 1")
    database.service(database.storage_on(database.connect())).consume("acme", usd(2))
    with pytest.raises(psycopg.errors.SerializationFailure):
        database.storage.append("acme", events, expected_version=3, head=Head.of(ledger), state=ledger.state)
    database.execute("ROLLBACK")
    assert service.get("acme").balance == usd(98)


def test_two_transactions_wait_for_each_other_and_the_second_is_refused(database: Database) -> None:
    service = database.opened()
    database.execute("BEGIN")
    service.consume("acme", usd(1))
    other = database.service(database.storage_on(database.connect()))
    receipts: list[Any] = []
    waiting = threading.Thread(target=lambda: receipts.append(other.consume("acme", usd(2))))
    waiting.start()
    watching = database.connect()
    while not watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
        pass
    database.execute("COMMIT")
    waiting.join(30)
    assert [receipt.balance for receipt in receipts] == [usd(97)]


# Whose transaction it is


def test_without_autocommit_nothing_is_durable_before_the_callers_commit(database: Database, postgres_dsn: str) -> None:
    database.opened()
    with psycopg.connect(postgres_dsn) as connection:
        storage = PostgresStorage(connection)
        assert storage.in_caller_transaction
        receipt = database.service(storage).consume("acme", usd(95))
        assert receipt.pending_charges
        assert database.card.charged == []
        assert database.service().get("acme").balance == usd(100)
    assert database.service().get("acme").balance == usd(5)


def test_coroutines_share_one_connection(database: Database, postgres_dsn: str) -> None:
    database.opened()

    async def all_at_once() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
            storage = AsyncPostgresStorage(connection)
            await storage.create_tables()
            service = AsyncLedgerService(storage, AsyncCard(), clock=lambda: T0)
            await service.open("other", Terms("USD"))
            await service.add_funds("other", usd(50), reference="")
            ids = ["acme", "other"] * 20
            await asyncio.gather(*[service.consume(ledger_id, usd(1)) for ledger_id in ids])
            assert not storage.in_caller_transaction

    asyncio.run(all_at_once())
    assert database.service().get("acme").balance == usd(80)
    assert database.service().get("other").balance == usd(30)


def test_coroutines_in_the_callers_transaction_are_part_of_it(database: Database, postgres_dsn: str) -> None:
    database.opened()
    card = AsyncCard()

    async def undone() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as connection:
            service = AsyncLedgerService(AsyncPostgresStorage(connection), card, clock=lambda: T0)
            async with connection.transaction(force_rollback=True):
                await service.open("other", Terms("USD"))
                usages = [service.consume("acme", usd(95)), service.add_funds("other", usd(1), reference="")]
                receipts = await asyncio.gather(*usages)
                assert receipts[0].pending_charges
            assert (await service.get("acme")).balance == usd(100)

    asyncio.run(undone())
    assert card.charged == []


# The feed


def appended_in(connection: Any, database: Database, ledger_id: str) -> None:
    database.service(database.storage_on(connection)).consume(ledger_id, usd(1))


def test_a_transaction_that_commits_late_is_not_skipped(database: Database) -> None:
    for ledger_id in ("a", "b"):
        database.opened(ledger_id)
    late, reader = database.connect(), database.storage_on(database.connect())
    late.execute("BEGIN")
    appended_in(late, database, "a")
    appended_in(database.connection, database, "b")
    before = reader.feed(None, 100)
    assert len(before) == 6  # what the later transaction wrote waits for the earlier one
    late.execute("COMMIT")
    rest = reader.feed(before[-1][0], 100)
    assert [(position.ledger_id, event.version) for position, event in rest] == [("a", 4), ("b", 4)]


def test_events_of_a_ledger_keep_their_order_though_the_older_transaction_writes_the_newer(database: Database) -> None:
    database.opened("a")
    database.opened("z")
    older, reader = database.connect(), database.storage_on(database.connect())
    older.execute("BEGIN")
    older.execute("SELECT pg_current_xact_id()")  # the older transaction has the lower number
    appended_in(database.connection, database, "a")
    appended_in(older, database, "a")
    seen = reader.feed(None, 100)
    assert len(seen) == 6
    older.execute("COMMIT")
    rest = reader.feed(seen[-1][0], 100)
    assert [(position.ledger_id, event.version) for position, event in rest] == [("a", 4), ("a", 5)]


def test_after_a_dump_was_restored_into_a_younger_server_the_feed_goes_on(database: Database) -> None:
    service = database.opened()
    database.execute("UPDATE commcredits_events SET feed_number = feed_number + 1000000")
    database.execute("UPDATE commcredits_ledgers SET feed_number = feed_number + 1000000")
    assert database.storage.feed(None, 9) == []
    database.storage.create_tables()
    seen = database.storage.feed(None, 9)
    assert len(seen) == 3
    service.consume("acme", usd(1))
    assert [event.version for _, event in database.storage.feed(seen[-1][0], 9)] == [4]
    offset = database.execute("SELECT feed_offset FROM commcredits_schema")
    database.storage.create_tables()
    assert database.execute("SELECT feed_offset FROM commcredits_schema") == offset
    assert offset[0][0] > 900_000


def test_names_that_sql_could_misread_are_just_names(database: Database) -> None:
    name = 'O\'Brien -- %s \\ "größe" ; DROP TABLE commcredits_events'
    service = database.opened(name)
    service.consume(name, usd(1), idempotency_key=name, description="NUL \0, half a pair \ud800")
    assert service.consume(name, usd(1), idempotency_key=name, description="NUL \0, half a pair \ud800").replayed
    assert service.hold(name, name, usd(1), expires_at=T0.replace(hour=1)).balance == usd(99)
    assert [position.ledger_id for position, _ in database.storage.feed(None, 9)] == [name] * 5


def test_a_policy_and_an_unusual_balance_survive(database: Database) -> None:
    service = database.service()
    service.open("acme", Terms("USD", overdraft_limit=None))
    service.consume("acme", Money("0.000000001", "USD"))
    service.configure_auto_recharge("acme", RechargePolicy(usd(10), usd(50)))
    found = database.execute("SELECT balance::text, available::text FROM commcredits_ledgers")
    assert found == [("49.999999999", "49.999999999")]
