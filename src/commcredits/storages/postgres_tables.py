"""The tables of PostgreSQL, from their first version to this one.

Every key and every index begins with the ledger's id, so that the tables can be divided by it; those of the due list
and of the feed, which look at all ledgers, are the exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits.storages import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commcredits.storages.steps import Steps

_SCHEMA_VERSION = 2
_LOCK = 0x636F6D6D63726564
"""Whoever makes or upgrades tables holds this advisory lock; the number has no meaning."""
_PARTITIONED = ("commcredits_ledgers", "commcredits_events", "commcredits_snapshots")
_TABLES = (
    """CREATE TABLE commcredits_ledgers (
        ledger_id text COLLATE "C" PRIMARY KEY,
        version bigint NOT NULL,
        as_of timestamptz NOT NULL,
        currency text NOT NULL,
        balance numeric NOT NULL,
        available numeric NOT NULL,
        next_due timestamptz,
        feed_number bigint NOT NULL
    ) {partitioned}""",
    # ASC goes without saying but in YugabyteDB, where the first column of an index is hashed unless it is said.
    "CREATE INDEX commcredits_due ON commcredits_ledgers (next_due ASC, ledger_id) WHERE next_due IS NOT NULL",
    # The payload is json, not jsonb, so that its text stays as it was written: the checksum is over it.
    """CREATE TABLE commcredits_events (
        ledger_id text COLLATE "C" NOT NULL,
        version bigint NOT NULL,
        type text NOT NULL,
        at timestamptz NOT NULL,
        amount numeric,
        idempotency_key text COLLATE "C",
        hold_id text COLLATE "C",
        subject text COLLATE "C",
        payload json NOT NULL,
        checksum text NOT NULL,
        feed_number bigint NOT NULL,
        PRIMARY KEY (ledger_id, version)
    ) {partitioned}""",
    """CREATE UNIQUE INDEX commcredits_key ON commcredits_events (ledger_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL""",
    "CREATE UNIQUE INDEX commcredits_hold ON commcredits_events (ledger_id, hold_id) WHERE hold_id IS NOT NULL",
    "CREATE INDEX commcredits_subject ON commcredits_events (ledger_id, subject, version) WHERE subject IS NOT NULL",
    "CREATE INDEX commcredits_feed ON commcredits_events (feed_number ASC, ledger_id, version)",
    """CREATE TABLE commcredits_snapshots (
        ledger_id text COLLATE "C" PRIMARY KEY,
        version bigint NOT NULL,
        format integer NOT NULL,
        state text NOT NULL,
        checksum text NOT NULL
    ) {partitioned}""",
)
_UPGRADES = {1: ("ALTER TABLE commcredits_events ADD COLUMN balance_after numeric",)}
"""What leads from each version of the tables to the next."""

# A feed number is that of the transaction, or of the ledger's last event if that is higher: events of one ledger stand
# in the order of their versions. Below the horizon no transaction is under way, so there nothing is still to come.
_FUNCTIONS = (
    """CREATE OR REPLACE FUNCTION commcredits_transaction() RETURNS bigint LANGUAGE sql STABLE
        AS 'SELECT pg_current_xact_id()::text::bigint + {offset}'""",
    """CREATE OR REPLACE FUNCTION commcredits_horizon() RETURNS bigint LANGUAGE sql STABLE
        AS 'SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {offset}'""",
)


def create_tables(partitions: int) -> Steps[None]:
    """Make the tables, or bring those of an older version up to date."""
    if partitions != 0:
        rows.check_count("partitions", partitions)
    yield ("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    # Looked for first, because IF NOT EXISTS asks for the right to create even where nothing is created.
    found = (
        yield "SELECT 1 FROM pg_tables WHERE schemaname = current_schema AND tablename = 'commcredits_schema'", ()
    ).fetchall()
    if not found:
        yield "CREATE TABLE commcredits_schema (version integer NOT NULL, feed_offset bigint NOT NULL)", ()
    found = (yield "SELECT version, feed_offset FROM commcredits_schema", ()).fetchall()
    version = rows.check_schema([row[0] for row in found], _SCHEMA_VERSION)
    if version == 0:
        for statement in _new_tables(partitions):
            yield statement, ()
        version = 1
    for older in range(version, _SCHEMA_VERSION):
        for statement in _UPGRADES[older]:
            yield statement, ()
    offset = yield from _feed_offset(max((row[1] for row in found), default=0))
    if (_SCHEMA_VERSION, offset) in found:
        return
    for statement in _FUNCTIONS:
        yield statement.format(offset=offset), ()
    yield "DELETE FROM commcredits_schema", ()
    yield ("INSERT INTO commcredits_schema VALUES (%s, %s)", (_SCHEMA_VERSION, offset))


def _new_tables(partitions: int) -> Iterator[str]:
    for statement in _TABLES:
        yield statement.format(partitioned="PARTITION BY HASH (ledger_id)" if partitions else "")
    for table in _PARTITIONED:
        for number in range(partitions):
            yield (
                f"CREATE TABLE {table}_{number} PARTITION OF {table}"
                f" FOR VALUES WITH (MODULUS {partitions}, REMAINDER {number})"
            )


def _feed_offset(offset: int) -> Steps[int]:
    """What to add to transaction numbers; more than before where a dump was restored into a younger server."""
    found = (
        yield (
            """SELECT coalesce((SELECT max(feed_number) FROM commcredits_events), 0),
                pg_current_xact_id()::text::bigint""",
            (),
        )
    ).fetchall()
    latest, transaction = found[0]
    return max(offset, latest - transaction + 1) if latest > transaction + offset else offset
