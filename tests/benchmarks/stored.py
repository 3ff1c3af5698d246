"""What is measured of storages that last: beside floors of bare SQL on the same file or server, in the same run.

Times are those on the wall: what a disk or a server does is no CPU time of this process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psycopg
from eventsourcing.sqlite import SQLiteConnection, SQLiteConnectionPool
from floor_sql import PostgresFloor, SQLiteFloor
from measuring import Ratios, paired
from peers import Balances
from samples import COST, FEW_EVENTS, MANY_EVENTS, MANY_LOTS, OPENED_AT, PLENTY, POLICY, PaysAtOnce

from commcredits import AsyncLedgerService, Ledger, LedgerService, Outcome, Paid, Terms, Usage
from commcredits.codec import event_to_text
from commcredits.gathering import Member
from commcredits.storages.postgres import AsyncPostgresStorage, PostgresStorage
from commcredits.storages.sqlite import SQLiteStorage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from measuring import Sample

    from postgres_server import PostgresServer

MANY = 1000
CALLERS = 64
TURNS = 20
"""How often each caller calls: a server is slow to answer the first calls of a connection."""
SPAN = 1000
"""How many consumptions are repeated at a time: so that each sample has its share of snapshots and checkpoints."""
BATCHES = 10
"""The same of thousands at once."""
SPAN_OF_MANY_LOTS = 1600
"""The same where snapshots are larger, and rarer."""


class Clock:
    """A clock that goes on by a millisecond whenever it is read."""

    def __init__(self) -> None:
        self.now = OPENED_AT

    def __call__(self) -> Any:
        """The time."""
        self.now += timedelta(milliseconds=1)
        return self.now


# --- connections


@contextmanager
def sqlite_files(synchronous: str) -> Iterator[Callable[[], sqlite3.Connection]]:
    """A function that opens a database in a new file, with a write-ahead log."""
    with tempfile.TemporaryDirectory() as folder:
        opened: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(Path(folder) / f"{len(opened)}.db", isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")
            opened.append(connection)
            return connection

        yield connect
        for connection in opened:
            connection.close()


@contextmanager
def postgres_schemas(dsn: str, synchronous_commit: str) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """A function that opens a connection to a new schema of its own."""
    opened: list[tuple[psycopg.Connection[Any], str]] = []

    def connect() -> psycopg.Connection[Any]:
        connection = psycopg.connect(dsn, autocommit=True)
        schema = f"benchmark_{os.getpid()}_{len(opened)}"
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"SET search_path = {schema}")
        connection.execute(f"SET synchronous_commit = {synchronous_commit}")
        opened.append((connection, schema))
        return connection

    yield connect
    for connection, schema in opened:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.close()


# --- the service


def service_on(storage: Any, lots: int = 1) -> LedgerService:
    """A service with an open ledger that has funds for ever."""
    storage.create_tables()
    service = LedgerService(storage, PaysAtOnce(), clock=Clock())
    service.open("benchmark", Terms("USD"))
    for number in range(lots):
        service.add_funds("benchmark", PLENTY, reference=f"payment {number}")
    service.configure_auto_recharge("benchmark", POLICY)
    return service


def one_by_one(service: LedgerService, span: int = SPAN) -> Sample:
    """`service.consume`, each with a key."""
    made = 0

    def run(times: int) -> int:
        nonlocal made
        keys = [f"call-{number}" for number in range(made, made + times * span)]
        made += times * span
        start = perf_counter_ns()
        for key in keys:
            service.consume("benchmark", COST, idempotency_key=key)
        return perf_counter_ns() - start

    return run


def floor(kind: type[SQLiteFloor | PostgresFloor], connection: Any) -> Sample:
    """The floor's append, of the same payload."""
    bare: Any = kind(connection)
    bare.create("benchmark")
    payload, state = usual_texts()
    version = 0

    def run(times: int) -> int:
        nonlocal version
        keys = [f"call-{number}" for number in range(version, version + times * SPAN)]
        start = perf_counter_ns()
        for key in keys:
            bare.append("benchmark", version, key, payload, state)
            version += 1
        return perf_counter_ns() - start

    return run


def usual_texts() -> tuple[str, str]:
    """What is stored for one consumption: the event, and where the ledger stands."""
    ledger = Ledger.open("benchmark", Terms("USD"), at=OPENED_AT)
    ledger.add_funds(PLENTY, at=OPENED_AT)
    (event,) = ledger.consume(COST, at=OPENED_AT, idempotency_key="call-0")
    head = {"as_of": str(OPENED_AT), "balance": str(ledger.balance), "available": str(ledger.available)}
    return event_to_text(event), json.dumps(head)


def many_at_once(service: LedgerService) -> Sample:
    """`consume_many` of a thousand, each with a key."""
    made = 0

    def run(times: int) -> int:
        nonlocal made
        batches = []
        for _ in range(times * BATCHES):
            batches.append([Usage(COST, idempotency_key=f"call-{made + number}") for number in range(MANY)])
            made += MANY
        start = perf_counter_ns()
        for usages in batches:
            service.consume_many("benchmark", usages)
        return perf_counter_ns() - start

    return run


# --- the same rows, by the fastest way of each database


def rows_of(connection: Any, mark: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns of the events, and the rows of the last thousand consumptions."""
    payload = "payload" if mark == "?" else "payload::text"
    names = [name for name in column_names(connection, mark) if name != "position"]
    chosen = ", ".join(payload if name == "payload" else name for name in names)
    query = f"SELECT {chosen} FROM commcredits_events WHERE type = 'FundsConsumed' ORDER BY version DESC LIMIT {MANY}"
    return names, connection.execute(query).fetchall()


def column_names(connection: Any, mark: str) -> list[str]:
    """The columns of the events in their order."""
    if mark == "?":
        return [row[1] for row in connection.execute("PRAGMA table_info(commcredits_events)")]
    found = connection.execute("SELECT * FROM commcredits_events LIMIT 0").description
    return [column.name for column in found]


def by_executemany(connection: sqlite3.Connection) -> Sample:
    """Insert a thousand such rows in one transaction."""
    storage = SQLiteStorage(connection)
    many_at_once(service_on(storage))(1)
    names, rows = rows_of(connection, "?")
    key, version = names.index("idempotency_key"), names.index("version")
    sql = f"INSERT INTO commcredits_events ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    made = 10**6

    def run(times: int) -> int:
        nonlocal made
        batches = []
        for _ in range(times * BATCHES):
            batches.append([renumbered(row, version, key, made + number) for number, row in enumerate(rows)])
            made += MANY
        start = perf_counter_ns()
        for batch in batches:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, batch)
            connection.execute("COMMIT")
        return perf_counter_ns() - start

    return run


def by_copy(connection: psycopg.Connection[Any]) -> Sample:
    """Copy a thousand such rows into the table."""
    storage = PostgresStorage(connection)
    many_at_once(service_on(storage))(1)
    names, rows = rows_of(connection, "%s")
    key, version = names.index("idempotency_key"), names.index("version")
    sql = f"COPY commcredits_events ({', '.join(names)}) FROM STDIN"
    made = 10**6

    def run(times: int) -> int:
        nonlocal made
        batches = []
        for _ in range(times * BATCHES):
            batches.append([renumbered(row, version, key, made + number) for number, row in enumerate(rows)])
            made += MANY
        start = perf_counter_ns()
        for batch in batches:
            with connection.cursor() as cursor, cursor.copy(sql) as copy:
                for row in batch:
                    copy.write_row(row)
        return perf_counter_ns() - start

    return run


def renumbered(row: tuple[Any, ...], version: int, key: int, number: int) -> tuple[Any, ...]:
    """The row as that of another event."""
    values = list(row)
    values[version], values[key] = number, f"copy-{number}"
    return tuple(values)


# --- one hot ledger


class AsyncPaysAtOnce:
    """`PaysAtOnce` for coroutines."""

    async def charge(self, charge: Any) -> Outcome:
        """See `AsyncPaymentMethod`."""
        return Paid()


class OneByOneGate:
    """A gate that lets one caller through at a time, and gathers nobody."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def pass_through(
        self, ledger_id: str, member: Member, commit: Callable[[str, list[Member]], Awaitable[None]]
    ) -> None:
        """Store one member."""
        async with self._lock:
            await commit(ledger_id, [member])

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class WithoutGathering(AsyncLedgerService):
    """The same service, each call an append of its own."""

    _gate = OneByOneGate


def hot_ledger(kind: type[AsyncLedgerService], connect: Callable[[], psycopg.Connection[Any]], dsn: str) -> Sample:
    """As many usages of one ledger as there are callers at once, on a new connection."""
    service_on(PostgresStorage(blocking := connect()))
    (schema,) = blocking.execute("SELECT current_schema()").fetchone() or ("",)
    made = 0

    async def call(times: int) -> int:
        nonlocal made
        made += 1
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(f"SET search_path = {schema}")
            clock = Clock()
            clock.now += timedelta(days=made)
            service = kind(AsyncPostgresStorage(connection), AsyncPaysAtOnce(), clock=clock)
            await service.consume("benchmark", COST)

            async def caller(number: int) -> None:
                for turn in range(times * TURNS):
                    await service.consume("benchmark", COST, idempotency_key=f"{made}-{number}-{turn}")

            start = perf_counter_ns()
            await asyncio.gather(*map(caller, range(CALLERS)))
            return perf_counter_ns() - start

    return lambda times: asyncio.run(call(times))


# --- history and lots


def loading(storage: Any, events: int) -> Sample:
    """Load a ledger after so many events."""
    service = service_on(storage)
    for first in range(0, events, MANY):
        service.consume_many("benchmark", [Usage(COST)] * min(MANY, events - first))
    while service.get("benchmark").version % 100:
        service.consume("benchmark", COST)
    for _ in range(50):  # so that there are as many events after the snapshot, however many before
        service.consume("benchmark", COST)

    def run(times: int) -> int:
        start = perf_counter_ns()
        for _ in range(times):
            storage.load("benchmark")
        return perf_counter_ns() - start

    return run


def appending(storage: Any, lots: int) -> Sample:
    """Consume with so many live lots."""
    return one_by_one(service_on(storage, lots), SPAN_OF_MANY_LOTS)


# --- the eventsourcing library


def by_recorder(**settings: str) -> Sample:
    """One consumption each through an application of that library on its own recorder."""
    application = Balances(env={"IS_SNAPSHOTTING_ENABLED": "n", "AGGREGATE_CACHE_MAXSIZE": "1000", **settings})
    consume = partial(application.consume, application.open(PLENTY._billionths, []))
    made = 0

    def run(times: int) -> int:
        nonlocal made
        keys = [f"call-{number}" for number in range(made, made + times * SPAN)]
        made += times * SPAN
        start = perf_counter_ns()
        for key in keys:
            consume(COST._billionths, OPENED_AT, key)
        return perf_counter_ns() - start

    return run


# --- the comparisons


def beside_floor_on_sqlite(synchronous: str) -> Ratios:
    """One by one, against the floor on another file."""
    with sqlite_files(synchronous) as connect:
        ours, other = one_by_one(service_on(SQLiteStorage(connect()))), floor(SQLiteFloor, connect())
        return paired(ours, other, same_work=True)


def beside_floor_on_postgres(dsn: str, synchronous_commit: str) -> Ratios:
    """One by one, against the floor on the same server."""
    with postgres_schemas(dsn, synchronous_commit) as connect:
        ours, other = one_by_one(service_on(PostgresStorage(connect()))), floor(PostgresFloor, connect())
        return paired(ours, other, same_work=True)


def many_on_sqlite() -> Ratios:
    """A thousand in one append, against the same rows."""
    with sqlite_files("NORMAL") as connect:
        return paired(many_at_once(service_on(SQLiteStorage(connect()))), by_executemany(connect()), pairs=15)


def many_on_postgres(dsn: str) -> Ratios:
    """A thousand in one append, against the same rows."""
    with postgres_schemas(dsn, "on") as connect:
        return paired(many_at_once(service_on(PostgresStorage(connect()))), by_copy(connect()), pairs=15)


def gathering(dsn: str) -> Ratios:
    """All callers at once, against as many with no gathering."""
    with postgres_schemas(dsn, "on") as connect:
        ours, other = hot_ledger(AsyncLedgerService, connect, dsn), hot_ledger(WithoutGathering, connect, dsn)
        return paired(ours, other, pairs=15)


def load_after_many() -> Ratios:
    """Load, after many events and after few."""
    with sqlite_files("NORMAL") as connect:
        many, few = loading(SQLiteStorage(connect()), MANY_EVENTS), loading(SQLiteStorage(connect()), FEW_EVENTS)
        return paired(many, few, same_work=True)


def append_with_many_lots() -> Ratios:
    """Consume, with many live lots and with one."""
    with sqlite_files("NORMAL") as connect:
        many, one = appending(SQLiteStorage(connect()), MANY_LOTS), appending(SQLiteStorage(connect()), 1)
        return paired(many, one, pairs=15)


# Where the disk is waited for at each commit, both would do little else: so neither waits.


def beside_recorder_on_sqlite() -> Ratios:
    """One by one, against that library on a file of the same durability."""
    with sqlite_files("NORMAL") as connect, tempfile.TemporaryDirectory() as folder:
        ours = one_by_one(service_on(SQLiteStorage(connect())))
        recorder = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{folder}/recorder.db"}
        with patch.object(SQLiteConnectionPool, "_create_connection", connected_as_ours):
            return paired(ours, by_recorder(**recorder), pairs=15)


def connected_as_ours(pool: SQLiteConnectionPool) -> SQLiteConnection:
    """That library's connection, which it leaves at `synchronous=FULL`."""
    connection = connect_as_it_does(pool)
    connection.cursor().execute("PRAGMA synchronous=NORMAL")
    return connection


connect_as_it_does = SQLiteConnectionPool._create_connection  # noqa: SLF001  # nothing public says how to connect


def beside_recorder_on_postgres(server: PostgresServer) -> Ratios:
    """One by one, against that library on the same server."""
    dsn = server.create_database("recorder")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER DATABASE recorder SET synchronous_commit = off")
    with postgres_schemas(dsn, "off") as connect:
        ours = one_by_one(service_on(PostgresStorage(connect())))
        return paired(ours, by_recorder(PERSISTENCE_MODULE="eventsourcing.postgres", **recorder_on(dsn)), pairs=15)


def recorder_on(dsn: str) -> dict[str, str]:
    """Where that library finds the database."""
    told = psycopg.conninfo.conninfo_to_dict(dsn)
    return {
        "POSTGRES_DBNAME": str(told["dbname"]),
        "POSTGRES_HOST": str(told["host"]),
        "POSTGRES_PORT": str(told["port"]),
        "POSTGRES_USER": str(told["user"]),
        "POSTGRES_PASSWORD": "none is asked for",
    }
