"""PostgreSQL: what a connection is set to, pools, round trips, and connections that are lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import psycopg_pool
import pytest
from databases import T0, AsyncCard, Database, postgres_database, usd
from lines import line_to
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import StrDumper

from commcredits import AsyncLedgerService, Head, Terms, Usage
from commcredits.storages.postgres import AsyncPostgresStorage, PostgresStorage


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[Database]:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables()
        yield database


# Whatever a connection is set to


class NaiveLoader(TimestamptzLoader):
    """What Django has its connections do when USE_TZ is false."""

    def load(self, data: Any) -> datetime:
        return super().load(data).replace(tzinfo=None)


SETTINGS = {
    "another time zone": "SET TimeZone = 'Asia/Tokyo'",
    "another order of day and month": "SET DateStyle = 'German'",
    "another encoding": "SET client_encoding = 'LATIN1'",
    "another isolation": "SET default_transaction_isolation = 'serializable'",
    "no settings but a loader": "",
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("cursor", [psycopg.Cursor, psycopg.ClientCursor])
@pytest.mark.parametrize("prepare_threshold", [None, 0])
def test_rows_are_read_whatever_the_connection_is_set_to(
    database: Database, postgres_dsn: str, setting: str, cursor: Any, prepare_threshold: int | None
) -> None:
    options: dict[str, Any] = {"cursor_factory": cursor, "prepare_threshold": prepare_threshold}
    with psycopg.connect(postgres_dsn, autocommit=True, **options) as connection:
        connection.execute(SETTINGS[setting])
        connection.adapters.register_loader("timestamptz", NaiveLoader)
        connection.adapters.register_dumper(str, StrDumper)  # as text, where it is of no type by default
        storage = PostgresStorage(connection, snapshot_every=3)
        service = database.service(storage)
        service.open("größe", Terms("USD"))
        service.add_funds("größe", usd(10), reference="")
        service.consume_many("größe", [Usage(usd(1), kind="\0\ud8004711", idempotency_key=f"k{n}") for n in range(3)])
        assert service.consume("größe", usd(1), kind="\0\ud8004711", idempotency_key="k1").replayed
        service.hold("größe", "session", usd(1), expires_at=T0.replace(hour=1))
        events = list(service.history("größe"))
        assert [event for _, event in storage.feed(None, 9)] == events
        assert list(storage.about("größe", "session")) == events[-1:]
        database.pass_time(hours=1)
        assert list(storage.due(database.now, limit=9)) == ["größe"]
        assert service.get("größe").available == usd(7)


# Round trips


@pytest.mark.parametrize("pooled", [False, True])
def test_a_consumption_is_one_round_trip(database: Database, postgres_dsn: str, pooled: bool) -> None:
    database.opened(funds=1000)
    with line_to(postgres_dsn) as line:
        source: Any
        if pooled:
            source = psycopg_pool.ConnectionPool(line.dsn, min_size=1, kwargs={"autocommit": True}, open=True)
        else:
            source = psycopg.connect(line.dsn, autocommit=True)
        with source:
            service = database.service(PostgresStorage(source))
            for number in range(12):  # until the driver has prepared what it prepares
                service.consume("acme", usd(1), idempotency_key=f"before-{number}")
            line.round_trips = 0
            for number in range(10):
                service.consume("acme", usd(1), idempotency_key=f"k{number}")
            assert line.round_trips == 10
            line.round_trips = 0
            service.consume_many("acme", [Usage(usd(1), idempotency_key=f"m{number}") for number in range(100)])
            assert line.round_trips == 1


# Errors of the database itself


def test_what_else_the_database_refuses_passes_through_as_it_is(database: Database, postgres_dsn: str) -> None:
    service = database.opened()
    database.execute("BEGIN")
    service.consume("acme", usd(1))
    with psycopg.connect(postgres_dsn, autocommit=True) as impatient:
        impatient.execute("SET lock_timeout = 1")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            database.service(PostgresStorage(impatient)).consume("acme", usd(2), idempotency_key="k")
    database.execute("COMMIT")
    assert not service.consume("acme", usd(2), idempotency_key="k").replayed


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_the_loser_of_a_race_under_stricter_isolation_is_told_by_the_database_itself(
    database: Database, postgres_dsn: str, isolation: str
) -> None:
    service = database.opened()
    raised: list[Exception] = []

    def lose() -> None:
        with psycopg.connect(postgres_dsn, autocommit=True) as strict:
            strict.execute(f"SET default_transaction_isolation = '{isolation}'")
            try:
                database.service(PostgresStorage(strict)).consume("acme", usd(2), idempotency_key="k")
            except psycopg.Error as error:
                raised.append(error)

    database.execute("BEGIN")
    service.consume("acme", usd(1))
    losing = threading.Thread(target=lose)
    losing.start()
    wait_for_a_lock(database)
    database.execute("COMMIT")
    losing.join(30)
    assert [type(error) for error in raised] == [psycopg.errors.SerializationFailure]
    assert not service.consume("acme", usd(2), idempotency_key="k").replayed


def wait_for_a_lock(database: Database) -> None:
    """Until somebody waits for a lock."""
    watching = database.connect()
    while not watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():
        pass


# Connections that are lost


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_after_a_lost_connection_of_a_pool_the_key_tells(database: Database, postgres_dsn: str, lost: str) -> None:
    service = database.opened()
    with (
        line_to(postgres_dsn) as line,
        psycopg_pool.ConnectionPool(line.dsn, min_size=1, max_size=2, kwargs={"autocommit": True}) as pool,
    ):
        pool.wait()  # or it opens another connection meanwhile, which may be the one that is lost
        pooled = database.service(PostgresStorage(pool))
        pooled.consume("acme", usd(1))
        line.loses = lost
        if lost == "request":
            with pytest.raises(psycopg.OperationalError):
                pooled.consume("acme", usd(2), idempotency_key="k")
        else:
            assert pooled.consume("acme", usd(2), idempotency_key="k").replayed  # it was stored, and the key told so
        assert pooled.consume("acme", usd(2), idempotency_key="k").replayed == (lost == "answer")
    assert service.get("acme").balance == usd(97)


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_after_a_lost_connection_the_key_tells_on_the_next(database: Database, postgres_dsn: str, lost: str) -> None:
    service = database.opened()
    with line_to(postgres_dsn) as line:
        connection = psycopg.connect(line.dsn, autocommit=True)
        alone = database.service(PostgresStorage(connection))
        alone.consume("acme", usd(1))
        line.loses = lost
        with pytest.raises(psycopg.OperationalError):
            alone.consume("acme", usd(2), idempotency_key="k")
        assert connection.closed
    assert service.consume("acme", usd(2), idempotency_key="k").replayed == (lost == "answer")
    assert service.get("acme").balance == usd(97)


def test_a_connection_lost_in_the_callers_transaction_loses_all_of_it(database: Database, postgres_dsn: str) -> None:
    service = database.opened()
    with line_to(postgres_dsn) as line:
        connection = psycopg.connect(line.dsn)
        joining = database.service(PostgresStorage(connection))
        joining.consume("acme", usd(2), idempotency_key="k")
        line.loses = "request"
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert not service.consume("acme", usd(2), idempotency_key="k").replayed


# Pools


@pytest.mark.parametrize("kind", [psycopg_pool.ConnectionPool, psycopg_pool.NullConnectionPool])
@pytest.mark.parametrize("autocommit", [True, False])
def test_a_pool_commits_by_itself(database: Database, postgres_dsn: str, kind: Any, autocommit: bool) -> None:
    database.opened()
    size = {"min_size": 0, "max_size": 3}
    with kind(postgres_dsn, **size, kwargs={"autocommit": autocommit}, open=True) as pool:
        storage = PostgresStorage(pool)
        storage.create_tables()
        assert not storage.in_caller_transaction
        service = database.service(storage)
        assert service.consume("acme", usd(95), idempotency_key="k").balance == usd(55)
        assert service.consume("acme", usd(95), idempotency_key="k").replayed
        assert len(service.consume_many("acme", [])) == 0
    assert len(database.card.charged) == 1
    assert database.service().get("acme").balance == usd(55)


def test_threads_share_a_pool(database: Database, postgres_dsn: str) -> None:
    database.opened("a", funds=1000)
    database.opened("b", funds=1000)
    with psycopg_pool.ConnectionPool(postgres_dsn, min_size=1, max_size=4, kwargs={"autocommit": True}) as pool:
        services = [database.service(PostgresStorage(pool)) for _ in range(2)]  # two that are not gathered

        def consume(number: int) -> None:
            for _ in range(10):
                services[number % 2].consume("ab"[number // 2 % 2], usd(1))

        threads = [threading.Thread(target=consume, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [database.service().get(ledger_id).balance for ledger_id in "ab"] == [usd(960)] * 2


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


@pytest.mark.parametrize("kind", [psycopg_pool.AsyncConnectionPool, psycopg_pool.AsyncNullConnectionPool])
@pytest.mark.parametrize("autocommit", [True, False])
def test_coroutines_share_a_pool(database: Database, postgres_dsn: str, kind: Any, autocommit: bool) -> None:
    database.opened()

    async def all_at_once() -> None:
        size = {"min_size": 0, "max_size": 3}
        async with kind(postgres_dsn, **size, kwargs={"autocommit": autocommit}, open=False) as pool:
            storage = AsyncPostgresStorage(pool)
            await storage.create_tables()
            assert not storage.in_caller_transaction
            card = AsyncCard()
            service = AsyncLedgerService(storage, card, clock=lambda: T0)
            await service.open("other", Terms("USD"))
            await service.add_funds("other", usd(50), reference="")
            await asyncio.gather(*[service.consume(ledger_id, usd(1)) for ledger_id in ["acme", "other"] * 20])
            again = [service.consume("acme", usd(1), idempotency_key="k") for _ in range(3)]
            assert sorted(receipt.replayed for receipt in await asyncio.gather(*again)) == [False, True, True]
            assert len(await storage.feed(None, 99)) == 3 + 20 + 1 + 2 + 20

    asyncio.run(all_at_once())
    assert database.service().get("acme").balance == usd(79)
    assert database.service().get("other").balance == usd(30)


@pytest.mark.parametrize("pooled", [False, True])
def test_an_append_cancelled_while_it_waits_leaves_the_connection_free(
    database: Database, postgres_dsn: str, pooled: bool
) -> None:
    blocking = database.opened()

    async def cancelled() -> None:
        source: Any
        if pooled:
            source = psycopg_pool.AsyncConnectionPool(
                postgres_dsn, min_size=1, max_size=1, kwargs={"autocommit": True}, open=False
            )
        else:
            source = await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True)
        async with source:
            storage = AsyncPostgresStorage(source)
            service = AsyncLedgerService(storage, AsyncCard(), clock=lambda: T0)
            ledger = await service._appender.load("acme")  # noqa: SLF001
            events = ledger.consume(usd(2), at=T0, idempotency_key="k")
            database.execute("BEGIN")
            blocking.consume("acme", usd(1))
            appending = asyncio.ensure_future(
                storage.append("acme", events, expected_version=3, head=Head.of(ledger), state=ledger.state)
            )
            await asyncio.to_thread(wait_for_a_lock, database)
            appending.cancel()
            await asyncio.gather(appending, return_exceptions=True)
            assert appending.cancelled()
            database.execute("ROLLBACK")
            assert not storage.in_caller_transaction
            assert not (await service.consume("acme", usd(2), idempotency_key="k")).replayed
            assert (await service.get("acme")).balance == usd(98)

    asyncio.run(cancelled())
