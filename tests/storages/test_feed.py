"""The feed of PostgreSQL: however transactions overlap, whoever follows it sees every event once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from databases import Database, postgres_database, usd
from hypothesis import HealthCheck, example, given, settings

from commcredits import Terms
from commcredits.storages.rows import Position

LEDGERS = "abc"
WRITERS = range(3)


@pytest.fixture
def database(postgres_dsn: str) -> Iterator[Database]:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables()
        yield database


class Follower:
    """Reads on from where it was, a few events at a time."""

    def __init__(self, database: Database, connection: Any = None) -> None:
        self.storage = database.storage_on(connection or database.connect())
        self.position: Position | None = None
        self.seen: list[tuple[str, int]] = []

    def read(self, limit: int) -> int:
        page = self.storage.feed(self.position, limit)
        for position, event in page:
            self.seen.append((position.ledger_id, event.version))
            self.position = Position.parse(str(position))
        return len(page)


steps = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(WRITERS), st.sampled_from(LEDGERS)),
    st.tuples(st.sampled_from(["begin", "commit", "rollback"]), st.sampled_from(WRITERS), st.just("")),
    st.tuples(st.just("read"), st.sampled_from([1, 2, 5]), st.just("")),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@example(schedule=[("begin", 0, ""), ("write", 1, "a"), ("commit", 1, ""), ("write", 0, "a"), ("write", 0, "b")])
@given(schedule=st.lists(steps, min_size=5, max_size=40))
def test_every_event_that_is_committed_is_seen_once_and_in_its_ledgers_order(
    database: Database, postgres_dsn: str, schedule: list[tuple[str, int, str]]
) -> None:
    for table in ("ledgers", "events", "snapshots"):
        database.execute(f"DELETE FROM commcredits_{table}")
    for ledger_id in LEDGERS:
        database.service().open(ledger_id, Terms("USD", overdraft_limit=None))
    *connections, reading = (psycopg.connect(postgres_dsn, autocommit=True) for _ in range(len(WRITERS) + 1))
    with ExitStack() as closing:
        for connection in (*connections, reading):
            closing.enter_context(connection)
        follower = Follower(database, reading)
        carry_out(schedule, database, connections, follower)
    stored = database.execute("SELECT ledger_id, version FROM commcredits_events ORDER BY 1, 2")
    assert sorted(follower.seen) == stored
    for ledger_id in LEDGERS:
        own = [version for name, version in follower.seen if name == ledger_id]
        assert own == sorted(own)


def carry_out(
    schedule: list[tuple[str, int, str]], database: Database, connections: list[Any], follower: Follower
) -> None:
    services = [database.service(database.storage_on(connection)) for connection in connections]
    locked: dict[str, int] = {}  # who writes to a ledger, and would be waited for
    for what, number, ledger_id in schedule:
        if what == "read":
            follower.read(number)
        elif what == "write":
            if locked.setdefault(ledger_id, number) == number:
                begin(connections[number])
                services[number].consume(ledger_id, usd(1))
        elif what == "begin":
            begin(connections[number])
        else:
            connections[number].execute(what)
            locked = {ledger_id: writer for ledger_id, writer in locked.items() if writer != number}
    for connection in connections:
        connection.execute("COMMIT")
    while follower.read(3):
        pass


def begin(connection: Any) -> None:
    """Begin a transaction that has a number already, and so is older than those that begin after it."""
    if connection.info.transaction_status == 0:
        connection.execute("BEGIN")
        connection.execute("SELECT pg_current_xact_id()")


def test_a_transaction_that_writes_elsewhere_is_waited_for_and_one_that_only_reads_is_not(database: Database) -> None:
    database.execute("CREATE TABLE elsewhere (number int)")
    reading, writing = database.connect(), database.connect()
    reading.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    reading.execute("SELECT * FROM elsewhere").fetchall()
    database.opened("a")
    follower = Follower(database)
    assert follower.read(9) == 3
    writing.execute("BEGIN")
    writing.execute("INSERT INTO elsewhere VALUES (1)")
    database.opened("b")
    assert follower.read(9) == 0  # whether it is to write here too, nobody knows
    writing.execute("ROLLBACK")
    assert follower.read(9) == 3
    reading.execute("COMMIT")


def test_who_writes_and_reads_in_one_transaction_sees_its_own_events_when_it_has_ended(database: Database) -> None:
    database.opened("a")
    follower = Follower(database)
    service = database.service(follower.storage)
    follower.storage._source.execute("BEGIN")  # noqa: SLF001
    service.consume("a", usd(1))
    assert follower.read(9) == 3
    follower.storage._source.execute("COMMIT")  # noqa: SLF001
    assert follower.read(9) == 1
    assert follower.read(9) == 0
