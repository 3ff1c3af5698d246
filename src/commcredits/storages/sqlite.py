"""SQLite: ledgers in a file, on a connection of the caller's own.

The connection is neither opened, configured nor closed here; what suits it is said in `SQLiteStorage`. The statements
are written once, as generators of steps, which the blocking storage and the one for coroutines each carry out.
"""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from sqlite3 import IntegrityError, OperationalError
from typing import TYPE_CHECKING, Any, TypeVar

from commcredits.codec import STATE_FORMAT
from commcredits.errors import DuplicateKeyError, VersionConflictError
from commcredits.storage import Stored, names_of
from commcredits.storages import rows
from commcredits.storages.rows import EventRow, Position
from commcredits.storages.steps import Fetched
from commcredits.times import utc

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import aiosqlite

    from commcredits.events import Event
    from commcredits.state import LedgerState
    from commcredits.storage import Head
    from commcredits.storages.steps import Steps

__all__ = ["AsyncSQLiteStorage", "Position", "SQLiteStorage"]

_T = TypeVar("_T")

_SCHEMA_VERSION = 2
_TABLES = (
    """CREATE TABLE commcredits_ledgers (
        ledger_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        as_of TEXT NOT NULL,
        currency TEXT NOT NULL,
        balance TEXT NOT NULL,
        available TEXT NOT NULL,
        next_due TEXT
    ) WITHOUT ROWID""",
    "CREATE INDEX commcredits_due ON commcredits_ledgers (next_due, ledger_id) WHERE next_due IS NOT NULL",
    # Writers take turns, so the position, which SQLite counts up, is the order in which events were committed.
    """CREATE TABLE commcredits_events (
        position INTEGER PRIMARY KEY,
        ledger_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        type TEXT NOT NULL,
        at TEXT NOT NULL,
        amount TEXT,
        idempotency_key TEXT,
        hold_id TEXT,
        subject TEXT,
        payload TEXT NOT NULL,
        checksum TEXT NOT NULL
    )""",
    "CREATE UNIQUE INDEX commcredits_version ON commcredits_events (ledger_id, version)",
    """CREATE UNIQUE INDEX commcredits_key ON commcredits_events (ledger_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL""",
    "CREATE UNIQUE INDEX commcredits_hold ON commcredits_events (ledger_id, hold_id) WHERE hold_id IS NOT NULL",
    "CREATE INDEX commcredits_subject ON commcredits_events (ledger_id, subject, version) WHERE subject IS NOT NULL",
    """CREATE TABLE commcredits_snapshots (
        ledger_id TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        format INTEGER NOT NULL,
        state TEXT NOT NULL,
        checksum TEXT NOT NULL
    )""",
)
_UPGRADES = {1: ("ALTER TABLE commcredits_events ADD COLUMN balance_after TEXT",)}
"""What leads from each version of the tables to the next."""

_OPEN = """INSERT INTO commcredits_ledgers (version, as_of, currency, balance, available, next_due, ledger_id)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
# Where next_due stays as it is, as it mostly does, it is not set: SQLite writes the entry of an index anew wherever a
# statement sets its column, changed or not.
_MOVE = """UPDATE commcredits_ledgers SET version = ?, as_of = ?, currency = ?, balance = ?, available = ?
    WHERE next_due IS ? AND ledger_id = ? AND version = ?"""
_MOVE_WITH_DUE = """UPDATE commcredits_ledgers
    SET version = ?, as_of = ?, currency = ?, balance = ?, available = ?, next_due = ?
    WHERE ledger_id = ? AND version = ?"""
_COLUMNS = ", ".join(EventRow._fields)
_ADD = f"INSERT INTO commcredits_events (ledger_id, {_COLUMNS}) VALUES (?{', ?' * len(EventRow._fields)})"
_KEEP = """INSERT INTO commcredits_snapshots (ledger_id, version, format, state, checksum) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (ledger_id) DO UPDATE SET version = excluded.version, format = excluded.format,
        state = excluded.state, checksum = excluded.checksum"""
_HEAD = """SELECT l.version, s.version, s.format, s.state, s.checksum
    FROM commcredits_ledgers l LEFT JOIN commcredits_snapshots s ON s.ledger_id = l.ledger_id
    WHERE l.ledger_id = ?"""
_AFTER = f"""SELECT {_COLUMNS} FROM commcredits_events
    WHERE ledger_id = ? AND version > ? ORDER BY version LIMIT ?"""
_WITH_KEYS = f"""SELECT {_COLUMNS} FROM commcredits_events
    WHERE ledger_id = ? AND idempotency_key IN (SELECT value FROM json_each(?))"""
_WITH_HOLDS = """SELECT hold_id FROM commcredits_events
    WHERE ledger_id = ? AND hold_id IN (SELECT value FROM json_each(?))"""
# What an event is about beside itself is never itself, so no event is in both parts.
_ABOUT = f"""SELECT {_COLUMNS} FROM commcredits_events WHERE ledger_id = ? AND subject = ?
    UNION ALL SELECT {_COLUMNS} FROM commcredits_events WHERE ledger_id = ? AND version = ?
    ORDER BY version"""
_DUE = "SELECT ledger_id FROM commcredits_ledgers WHERE next_due <= ? ORDER BY next_due, ledger_id LIMIT ?"
_FEED = f"""SELECT position, ledger_id, {_COLUMNS} FROM commcredits_events
    WHERE position > ? ORDER BY position LIMIT ?"""


class _RefusedError(Exception):
    """No head moved: another version is there."""


# --- what is done, as steps


def _create_tables() -> Steps[None]:
    yield "CREATE TABLE IF NOT EXISTS commcredits_schema (version INTEGER NOT NULL)", ()
    found = (yield "SELECT version FROM commcredits_schema", ()).fetchall()
    version = rows.check_schema([row[0] for row in found], _SCHEMA_VERSION)
    if version == _SCHEMA_VERSION:
        return
    if version == 0:
        for statement in _TABLES:
            yield statement, ()
        version = 1
    for older in range(version, _SCHEMA_VERSION):
        for statement in _UPGRADES[older]:
            yield statement, ()
    yield "DELETE FROM commcredits_schema", ()
    yield ("INSERT INTO commcredits_schema VALUES (?)", (_SCHEMA_VERSION,))


def _append(
    ledger_id: str, events: Sequence[Event], expected_version: int, head: Head, snapshot: LedgerState | None
) -> Steps[None]:
    """The steps of an append; the rows are made at once, so that other writers do not wait for that too."""
    if not events:
        return _refusal(ledger_id, expected_version, (), ())
    stands, added = rows.rows_of(ledger_id, events, head)
    values = (expected_version + len(events), *stands, ledger_id, expected_version)
    kept = None if snapshot is None else (ledger_id, snapshot.version, *rows.state_row(ledger_id, snapshot))
    return _insert(values, [(ledger_id, *row) for row in added], kept)


def _insert(values: tuple[Any, ...], added: list[tuple[Any, ...]], kept: tuple[Any, ...] | None) -> Steps[None]:
    """Move the head, whose ledger's id and expected version come last in `values`, then insert the rest."""
    if values[-1] == 0:
        moved = (yield _OPEN, values[:-1]).rowcount
    else:
        moved = (yield _MOVE, values).rowcount or (yield _MOVE_WITH_DUE, values).rowcount
    if not moved:
        raise _RefusedError
    yield _ADD, added[0] if len(added) == 1 else added
    if kept is not None:
        yield _KEEP, kept


def _refusal(ledger_id: str, expected_version: int, keys: Iterable[str], holds: Iterable[str]) -> Steps[None]:
    """Raise what refused an append; nothing, if it was neither the version nor a key."""
    found = (yield ("SELECT version FROM commcredits_ledgers WHERE ledger_id = ?", (ledger_id,))).fetchall()
    if (found[0][0] if found else 0) != expected_version:
        raise VersionConflictError(ledger_id, expected_version)
    taken = yield from _find(ledger_id, keys)
    for key in taken:
        raise DuplicateKeyError(ledger_id, key)
    held = (yield (_WITH_HOLDS, (ledger_id, json.dumps(list(holds))))).fetchall()
    for (hold_id,) in held:
        raise DuplicateKeyError(ledger_id, hold_id, "hold_id")


def _load(ledger_id: str) -> Steps[tuple[Stored, bool] | None]:
    """What is stored, and whether there is a snapshot that this version of the library does not read."""
    found = (yield (_HEAD, (ledger_id,))).fetchall()
    if not found:
        return None
    head_version, version, state_format, text, checksum = found[0]
    state = None
    if state_format == STATE_FORMAT:
        state = rows.read_state(ledger_id, version, text, checksum)
    after = 0 if state is None else version
    events = (yield (_AFTER, (ledger_id, after, -1))).fetchall()
    read = rows.read_events(ledger_id, map(EventRow._make, events), after=after)
    rows.check_whole(ledger_id, after + len(read), head_version)
    return Stored(state, tuple(read)), state_format not in (None, STATE_FORMAT)


def _page(ledger_id: str, after_version: int) -> Steps[list[Event]]:
    events = (yield (_AFTER, (ledger_id, after_version, rows.PAGE))).fetchall()
    return rows.read_events(ledger_id, map(EventRow._make, events), after=after_version)


def _find(ledger_id: str, idempotency_keys: Iterable[str]) -> Steps[dict[str, Event]]:
    keys = list(dict.fromkeys(idempotency_keys))
    found = (yield (_WITH_KEYS, (ledger_id, json.dumps(keys)))).fetchall()
    events = {row[5]: rows.read_event(ledger_id, EventRow._make(row)) for row in found}
    return {key: events[key] for key in keys if key in events}


def _about(ledger_id: str, subject: int | str) -> Steps[list[Event]]:
    own = subject if isinstance(subject, int) else -1
    found = (yield (_ABOUT, (ledger_id, rows.subject_text(subject), ledger_id, own))).fetchall()
    return rows.events_about((rows.read_event(ledger_id, EventRow._make(row)) for row in found), subject)


def _due(before: datetime, limit: int) -> Steps[list[str]]:
    rows.check_count("limit", limit)
    found = (yield (_DUE, (rows.stored_time(utc(before, "before")), limit))).fetchall()
    return [ledger_id for (ledger_id,) in found]


def _feed(after: Position | None, limit: int) -> Steps[list[tuple[Position, Event]]]:
    rows.check_count("limit", limit)
    found = (yield (_FEED, (0 if after is None else after.number, limit))).fetchall()
    return [
        (Position(position, ledger_id, row[0]), rows.read_event(ledger_id, EventRow._make(row)))
        for position, ledger_id, *row in found
    ]


# --- how it is done: blocking, and for coroutines

_ALONE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
"""Not a plain BEGIN: a transaction that reads before it writes fails at once when somebody else has written."""
_WITHIN = (
    "SAVEPOINT commcredits",
    "RELEASE commcredits",
    ("ROLLBACK TO commcredits", "RELEASE commcredits"),
)


class SQLiteStorage:
    """Ledgers in SQLite, on an open `sqlite3.Connection` of the caller's; safe among threads.

    While the connection is in a transaction that the caller began, appends are part of it; else each is a transaction
    of its own. A connection in use by several threads is opened with `check_same_thread=False`. What suits a file is
    `PRAGMA journal_mode=WAL` and a `timeout` or `PRAGMA busy_timeout` for other writers.

    `snapshot_every`: a snapshot is kept whenever about that many events came since the last one.
    """

    def __init__(self, connection: sqlite3.Connection, *, snapshot_every: int = 100) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._cursor.row_factory = None  # the connection's own is for the caller's rows
        self._snapshots = rows.Snapshots(snapshot_every)
        self._lock = threading.RLock()

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`; our own transactions are over whenever the lock is free."""
        with self._lock:
            return self._connection.in_transaction

    def create_tables(self) -> None:
        """Make the tables, or bring those of an older version up to date; what is up to date is left alone.

        Raises: UnreadableRecordError when a newer version of this library made them.
        """
        self._write(_create_tables())

    def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`.

        Raises: UnreadableRecordError.
        """
        loaded = self._read(_load(ledger_id))
        return None if loaded is None else self._snapshots.loaded(ledger_id, *loaded)

    def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `Storage.append`; other errors of the database pass through."""
        snapshot = self._snapshots.due(ledger_id, expected_version, head.version, state)
        try:
            self._write(_append(ledger_id, events, expected_version, head, snapshot))
        except (_RefusedError, IntegrityError) as error:
            self._read(_refusal(ledger_id, expected_version, *names_of(ledger_id, events)))
            if isinstance(error, _RefusedError):
                raise VersionConflictError(ledger_id, expected_version) from None
            raise

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """See `Storage.history`.

        Raises: UnreadableRecordError.
        """
        while page := self._read(_page(ledger_id, after_version)):
            yield from page
            after_version = page[-1].version

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`.

        Raises: UnreadableRecordError.
        """
        return self._read(_find(ledger_id, idempotency_keys))

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`.

        Raises: UnreadableRecordError.
        """
        return self._read(_about(ledger_id, subject))

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        return self._read(_due(before, limit))

    def feed(self, after: Position | None, limit: int) -> Sequence[tuple[Position, Event]]:
        """At most `limit` events of all ledgers after a position (None: from the first), in the order of their commits.

        Raises: UnreadableRecordError.
        """
        return self._read(_feed(after, limit))

    def _read(self, steps: Steps[_T]) -> _T:
        with self._lock:
            return self._carry_out(steps)

    def _write(self, steps: Steps[_T]) -> _T:
        """Carry out steps in a transaction of their own, or within the caller's so that all or none of them count."""
        execute = self._cursor.execute
        with self._lock:
            begin, commit, undo = _WITHIN if self._connection.in_transaction else _ALONE
            try:
                execute(begin)  # in here, because an interrupt that came while it waited is raised when it has begun
                result = self._carry_out(steps)
                execute(commit)
            except BaseException:
                # Some errors of the database have already ended it; a savepoint there may never have been.
                if self._connection.in_transaction:
                    with suppress(OperationalError):
                        for statement in undo:
                            execute(statement)
                raise
            return result

    def _carry_out(self, steps: Steps[_T]) -> _T:
        cursor = self._cursor
        try:
            sql, values = next(steps)
            while True:
                (cursor.executemany if values.__class__ is list else cursor.execute)(sql, values)
                sql, values = steps.send(cursor)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class AsyncSQLiteStorage:
    """`SQLiteStorage` for coroutines, on an open `aiosqlite.Connection` of the caller's."""

    def __init__(self, connection: aiosqlite.Connection, *, snapshot_every: int = 100) -> None:
        self._connection = connection
        self._snapshots = rows.Snapshots(snapshot_every)
        self._lock = asyncio.Lock()
        self._writes_alone = False

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._connection.in_transaction and not self._writes_alone

    async def create_tables(self) -> None:
        """See `SQLiteStorage.create_tables`."""
        await self._write(_create_tables())

    async def load(self, ledger_id: str) -> Stored | None:
        """See `SQLiteStorage.load`."""
        loaded = await self._read(_load(ledger_id))
        return None if loaded is None else self._snapshots.loaded(ledger_id, *loaded)

    async def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `SQLiteStorage.append`."""
        snapshot = self._snapshots.due(ledger_id, expected_version, head.version, state)
        try:
            await self._write(_append(ledger_id, events, expected_version, head, snapshot))
        except (_RefusedError, IntegrityError) as error:
            await self._read(_refusal(ledger_id, expected_version, *names_of(ledger_id, events)))
            if isinstance(error, _RefusedError):
                raise VersionConflictError(ledger_id, expected_version) from None
            raise

    async def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        """See `SQLiteStorage.history`."""
        while page := await self._read(_page(ledger_id, after_version)):
            for event in page:
                yield event
            after_version = page[-1].version

    async def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `SQLiteStorage.find`."""
        return await self._read(_find(ledger_id, idempotency_keys))

    async def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `SQLiteStorage.about`."""
        return await self._read(_about(ledger_id, subject))

    async def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `SQLiteStorage.due`."""
        return await self._read(_due(before, limit))

    async def feed(self, after: Position | None, limit: int) -> Sequence[tuple[Position, Event]]:
        """See `SQLiteStorage.feed`."""
        return await self._read(_feed(after, limit))

    async def _read(self, steps: Steps[_T]) -> _T:
        async with self._lock:
            return await self._carry_out(steps)

    async def _write(self, steps: Steps[_T]) -> _T:
        # In a task of its own, because a caller cancelled in the middle would leave the transaction open. It is waited
        # for even then, because one who ended its own transaction at once would leave the rest to one of nobody's.
        writing = asyncio.ensure_future(self._write_alone(steps))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            while not writing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([writing])
            raise

    async def _write_alone(self, steps: Steps[_T]) -> _T:
        async with self._lock:
            within = self._connection.in_transaction
            begin, commit, undo = _WITHIN if within else _ALONE
            self._writes_alone = not within
            try:
                await self._connection.execute(begin)
                result = await self._carry_out(steps)
                await self._connection.execute(commit)
            except BaseException:
                if self._connection.in_transaction:
                    with suppress(OperationalError):
                        for statement in undo:
                            await self._connection.execute(statement)
                raise
            finally:
                self._writes_alone = False
            return result

    async def _carry_out(self, steps: Steps[_T]) -> _T:
        cursor = await self._connection.cursor()
        cursor.row_factory = None
        try:
            sql, values = next(steps)
            while True:
                await (cursor.executemany if values.__class__ is list else cursor.execute)(sql, values)
                sql, values = steps.send(Fetched(list(await cursor.fetchall()), cursor.rowcount))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
