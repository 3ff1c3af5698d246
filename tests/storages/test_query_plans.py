"""Plans: how the databases find the rows that a statement asks for."""

from __future__ import annotations

import pytest
from databases import Database, usd

from commcredits import Usage
from commcredits.storages import postgres, sqlite

# What the plan of each statement names: the index, and the conditions that it answers.
SQLITE: dict[str, tuple[str, ...]] = {
    "_HEAD": ("PRIMARY KEY (ledger_id=?)",),
    "_MOVE": ("PRIMARY KEY (ledger_id=?)",),
    "_MOVE_WITH_DUE": ("PRIMARY KEY (ledger_id=?)",),
    "_AFTER": ("commcredits_version (ledger_id=? AND version>?)",),
    "_WITH_KEYS": ("commcredits_key (ledger_id=? AND idempotency_key=?)",),
    "_WITH_HOLDS": ("commcredits_hold (ledger_id=? AND hold_id=?)",),
    "_ABOUT": ("commcredits_subject (ledger_id=? AND subject=?)", "commcredits_version (ledger_id=? AND version=?)"),
    "_DUE": ("commcredits_due (next_due<?)",),
    "_FEED": ("PRIMARY KEY (rowid>?)",),
}
POSTGRES: dict[str, tuple[str, ...]] = {
    "_HEAD": ("commcredits_ledgers_pkey", "commcredits_snapshots_pkey"),
    "_AFTER": ("commcredits_events_pkey", "(version > $2)"),
    "_WITH_KEYS": ("commcredits_key", "(idempotency_key = ANY ("),
    "_WITH_HOLDS": ("commcredits_hold",),
    "_ABOUT": ("commcredits_subject", "(subject = $2)", "commcredits_events_pkey", "(version = $3)"),
    "_DUE": ("commcredits_due", "(next_due <= $1)"),
    "_FEED": ("commcredits_feed", "ROW(feed_number, ledger_id, version) > ROW($1, $2, $3)", "(feed_number < "),
}
KEPT_IN_ORDER = ("_AFTER", "_DUE", "_FEED")


@pytest.mark.parametrize("name", sorted(SQLITE.keys() | POSTGRES.keys()))
def test_an_index_answers_each_statement_of_its_own_order(database: Database, name: str) -> None:
    expected = SQLITE if database.kind == "sqlite" else POSTGRES
    if name in expected:
        service = database.opened()
        service.consume_many("acme", [Usage(usd("0.01"), idempotency_key=f"call-{n}") for n in range(1000)])
        plan = plan_of(database, name)
        assert [part for part in expected[name] if part not in plan] == []
        assert "SCAN commcredits" not in plan
        assert "Seq Scan" not in plan
        if name in KEPT_IN_ORDER:
            assert "Sort" not in plan
            assert "TEMP B-TREE" not in plan


def plan_of(database: Database, name: str) -> str:
    if database.kind == "sqlite":
        sql = getattr(sqlite, name)
        return "\n".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", *[None] * sql.count("?")))
    database.execute("ANALYZE commcredits_events")
    database.execute("SET enable_seqscan = off")  # for tables so small it would do
    database.execute("SET plan_cache_mode = force_generic_plan")
    return explained(database, getattr(postgres, name))


def explained(database: Database, sql: str, *values: str) -> str:
    """The plan of a statement of PostgreSQL, with literals for its values, or none."""
    parts = sql.split("%s")
    database.execute(
        "PREPARE statement AS " + "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)) + parts[-1]
    )
    chosen = ", ".join(values or ["NULL"] * (len(parts) - 1))
    plan = "\n".join(row[0] for row in database.execute(f"EXPLAIN EXECUTE statement ({chosen})"))
    database.execute("DEALLOCATE statement")
    return plan
