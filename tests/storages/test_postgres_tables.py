"""The tables of PostgreSQL: made, divided, upgraded, by many at once."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from databases import T0, postgres_database, usd
from test_query_plans import explained

from commcredits import Head, InvalidValueError, Ledger, WrongTypeError
from commcredits.storages import postgres
from commcredits.storages.postgres import PostgresStorage

OLD = Path(__file__).parents[1] / "data" / "postgres_v1.sql"


def test_tables_of_the_first_version_are_upgraded_in_place(postgres_dsn: str) -> None:
    with postgres_database(postgres_dsn) as database:
        for statement in OLD.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                database.connection.execute(statement)
        before = database.execute("SELECT ledger_id, version, payload::text FROM commcredits_events ORDER BY 1, 2")
        database.storage.create_tables()
        assert database.execute("SELECT version FROM commcredits_schema") == [(2,)]
        after = database.execute("SELECT ledger_id, version, payload::text FROM commcredits_events ORDER BY 1, 2")
        assert after == before
        assert set(database.execute("SELECT balance_after FROM commcredits_events")) == {(None,)}
        service = database.service()
        state = service.get("acme")
        assert len(list(service.history("acme"))) == state.version
        database.now = state.as_of
        assert service.add_funds("acme", usd(1), reference="new").balance == state.balance + usd(1)
        assert len(database.storage.feed(None, 1000)) == len(before) + 1


def test_divided_tables_hold_each_ledger_in_one_part(postgres_dsn: str) -> None:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables(partitions=3)
        database.storage.create_tables(partitions=3)
        for number in range(12):
            database.opened(f"ledger-{number}").consume(f"ledger-{number}", usd(1), idempotency_key="k")
        parts = database.execute("SELECT ledger_id, tableoid::regclass::text FROM commcredits_events")
        assert {part for _, part in parts} == {f"commcredits_events_{number}" for number in range(3)}
        assert len(set(parts)) == 12
        assert len(database.storage.feed(None, 100)) == 48
        assert database.service().consume("ledger-1", usd(1), idempotency_key="k").replayed


@pytest.mark.parametrize(
    ("partitions", "error"), [(-1, InvalidValueError), ("3", WrongTypeError), (2.0, WrongTypeError)]
)
def test_no_number_of_parts_is_refused(postgres_dsn: str, partitions: Any, error: type[Exception]) -> None:
    with postgres_database(postgres_dsn) as database:
        with pytest.raises(error, match="partitions"):
            database.storage.create_tables(partitions=partitions)
        assert database.execute("SELECT 1 FROM pg_tables WHERE tablename = 'commcredits_schema'") == []


def test_many_who_make_the_tables_at_once_do_not_get_in_each_others_way(postgres_dsn: str) -> None:
    failures: list[Exception] = []

    def make() -> None:
        try:
            with psycopg.connect(postgres_dsn, autocommit=True) as connection:
                PostgresStorage(connection).create_tables()
        except Exception as error:  # noqa: BLE001  # shown by the test itself
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_tables_are_made_within_the_callers_transaction_or_not_at_all(postgres_dsn: str) -> None:
    with postgres_database(postgres_dsn) as database:
        database.execute("BEGIN")
        database.storage.create_tables()
        database.execute("ROLLBACK")
        assert database.execute("SELECT 1 FROM pg_tables WHERE tablename LIKE 'commcredits%'") == []


def parts_in(plan: str) -> set[str]:
    """The parts that a plan looks into; names after theirs are aliases."""
    return set(re.findall(r" on commcredits_(?:ledgers|events|snapshots)_(\d)\b", plan))


def test_no_statement_but_the_feed_and_the_due_list_looks_into_more_than_one_part(postgres_dsn: str) -> None:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables(partitions=7)
        database.opened("acme").consume("acme", usd(1), idempotency_key="k")
        database.connection.execute("SET plan_cache_mode = force_custom_plan")
        acme = "'acme'"
        parts = {}
        for name, values in {
            "_HEAD": (acme,),
            "_AFTER": (acme, "0", "NULL"),
            "_WITH_KEYS": (acme, """'["k"]'"""),
            "_WITH_HOLDS": (acme, """'["h"]'"""),
            "_ABOUT": (acme, "'2'", "2"),
            "_DUE": ("'2030-01-01'", "9"),
            "_FEED": ("-1", "''", "0", "9"),
        }.items():
            plan = explained(database, getattr(postgres, name), *values)
            parts[name] = parts_in(plan)
        assert {name for name, touched in parts.items() if len(touched) > 1} == {"_DUE", "_FEED"}
        assert {len(parts[name]) for name in ("_DUE", "_FEED")} == {7}
        assert len(set.union(*(touched for touched in parts.values() if len(touched) == 1))) == 1


@pytest.mark.parametrize("events", [1, 3])
def test_an_append_writes_to_one_part(postgres_dsn: str, events: int) -> None:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables(partitions=7)
        service = database.opened("acme")
        plans: list[str] = []

        class Explaining(psycopg.ClientCursor[Any]):
            def execute(self, query: Any, values: Any = None, **named: Any) -> Any:
                if values:
                    told = psycopg.ClientCursor(self.connection).execute(f"EXPLAIN {query}", values)
                    plans.append("\n".join(line for (line,) in told))
                return super().execute(query, values, **named)

        ledger = Ledger.replay(list(service.history("acme")))
        usages = [event for n in range(events) for event in ledger.consume(usd(1), at=T0, idempotency_key=f"k{n}")]
        database.connection.cursor_factory = Explaining
        storage = PostgresStorage(database.connection, snapshot_every=1)
        storage.append("acme", usages, expected_version=3, head=Head.of(ledger), state=ledger.state)
        [plan] = plans
        assert len(parts_in(plan)) == 1


def test_a_role_that_may_only_read_and_write_rows_is_enough_once_the_tables_are_there(postgres_dsn: str) -> None:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables()
        [(schema,)] = database.execute("SELECT current_schema()")
        role = f"{schema}_application"
        database.execute(f"CREATE ROLE {role}")
        try:
            database.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
            database.execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA {schema} TO {role}")
            database.execute(f"SET ROLE {role}")
            database.storage.create_tables()
            assert database.opened().consume("acme", usd(95)).balance == usd(55)
            assert len(database.storage.feed(None, 99)) == 8
        finally:
            database.execute("RESET ROLE")
            database.execute(f"DROP OWNED BY {role}")
            database.execute(f"DROP ROLE {role}")


def test_every_key_and_index_but_two_begins_with_the_ledger(postgres_dsn: str) -> None:
    with postgres_database(postgres_dsn) as database:
        database.storage.create_tables()
        found = database.execute(
            "SELECT indexname, indexdef FROM pg_indexes"
            " WHERE tablename LIKE 'commcredits%' AND schemaname = current_schema"
        )
        others = {name for name, definition in found if "(ledger_id" not in definition}
        assert others == {"commcredits_due", "commcredits_feed"}
        assert len(found) == 8
