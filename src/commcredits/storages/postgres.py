"""PostgreSQL: ledgers in a database, on a connection or a pool of the caller's own.

An append is one statement, and so one round trip: the head moves where the version is the expected one and no key is
taken, and the events are inserted from the head that moved. Neither connection nor pool is opened, configured or closed
here.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from commcredits.codec import STATE_FORMAT, quoted, to_text
from commcredits.errors import DuplicateKeyError, VersionConflictError
from commcredits.storage import Stored, names_of
from commcredits.storages import rows
from commcredits.storages.postgres_tables import create_tables
from commcredits.storages.rows import EventRow, Position
from commcredits.storages.steps import Fetched
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import psycopg
    import psycopg_pool

    from commcredits.events import Event
    from commcredits.state import LedgerState
    from commcredits.storage import Head
    from commcredits.storages.steps import Steps

__all__ = ["AsyncPostgresStorage", "Position", "PostgresStorage"]

_T = TypeVar("_T")

_COLUMN_TYPES = ("bigint", "text", "timestamptz", "numeric", "numeric", "text", "text", "text", "json", "text")
# As text, because what a connection makes of other types its owner may have changed.
_UTC = """to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
_READ = f"""version, type, {_UTC}, amount::text, balance_after::text, idempotency_key, hold_id, subject, payload::text,
    checksum"""
_HEAD = """SELECT l.version, s.version, s.format, s.state, s.checksum
    FROM commcredits_ledgers l LEFT JOIN commcredits_snapshots s ON s.ledger_id = l.ledger_id
    WHERE l.ledger_id = %s"""
_AFTER = f"SELECT {_READ} FROM commcredits_events WHERE ledger_id = %s AND version > %s ORDER BY version LIMIT %s"
# Many at once come as JSON, because to write it takes a third of the time of an array.
_AMONG = "= ANY(ARRAY(SELECT json_array_elements_text(%s::json)))"
_WITH_KEYS = f"SELECT {_READ} FROM commcredits_events WHERE ledger_id = %s AND idempotency_key {_AMONG}"
_WITH_HOLDS = f"SELECT hold_id FROM commcredits_events WHERE ledger_id = %s AND hold_id {_AMONG}"
_ABOUT = f"""SELECT {_READ} FROM commcredits_events WHERE ledger_id = %s AND (subject = %s OR version = %s)
    ORDER BY version"""
_DUE = (
    "SELECT ledger_id FROM commcredits_ledgers WHERE next_due <= %s::timestamptz ORDER BY next_due, ledger_id LIMIT %s"
)
_FEED = f"""SELECT feed_number, ledger_id, {_READ} FROM commcredits_events
    WHERE (feed_number, ledger_id, version) > (%s, %s, %s) AND feed_number < commcredits_horizon()
    ORDER BY feed_number, ledger_id, version LIMIT %s"""


@cache
def _append_sql(*, opens: bool, single: bool, keys: int, holds: int, keeps: bool) -> str:
    """The statement of an append, with no more in it than this one needs; of keys, none, one or more are to be free."""
    head = "version, as_of, currency, balance, available, next_due"
    values = "%s::bigint, %s::timestamptz, %s::text, %s::numeric, %s::numeric, %s::timestamptz"
    if opens:
        moved = f"""INSERT INTO commcredits_ledgers ({head}, ledger_id, feed_number)
            VALUES ({values}, %s, commcredits_transaction()) ON CONFLICT DO NOTHING"""
    else:
        moved = f"""UPDATE commcredits_ledgers
            SET ({head}, feed_number) = ROW({values}, greatest(feed_number, commcredits_transaction()))
            WHERE ledger_id = %s AND version = %s"""
        for name, count in (("idempotency_key", keys), ("hold_id", holds)):
            if count:
                among = "= %s" if count == 1 else _AMONG
                moved += f" AND NOT EXISTS (SELECT FROM commcredits_events WHERE ledger_id = %s AND {name} {among})"
    kept = """, kept AS (
        INSERT INTO commcredits_snapshots (ledger_id, version, format, state, checksum)
        SELECT ledger_id, %s::bigint, %s::integer, %s::text, %s::text FROM moved
        ON CONFLICT (ledger_id) DO UPDATE SET version = excluded.version, format = excluded.format,
            state = excluded.state, checksum = excluded.checksum)"""
    columns = ", ".join(EventRow._fields)
    if single:
        added = f"SELECT ledger_id, feed_number, {', '.join(f'%s::{kind}' for kind in _COLUMN_TYPES)} FROM moved"
    else:
        # The payloads come apart, a line each, because to quote them takes longer than to insert them.
        kinds = dict(zip(EventRow._fields, _COLUMN_TYPES, strict=True))
        del kinds["payload"]
        chosen = columns.replace("payload", "payload::json")
        added = f"""SELECT ledger_id, feed_number, {chosen} FROM moved CROSS JOIN ROWS FROM (
            json_to_recordset(%s::json) AS ({", ".join(f"{name} {kind}" for name, kind in kinds.items())}),
            unnest(string_to_array(%s::text, E'\n'))) AS added({", ".join(kinds)}, payload)"""
    return f"""WITH moved AS ({moved} RETURNING ledger_id, feed_number){kept if keeps else ""}
        INSERT INTO commcredits_events (ledger_id, feed_number, {columns}) {added}"""


# --- what is done, as steps


def _append(
    ledger_id: str,
    events: Sequence[Event],
    names: tuple[Iterable[str], Iterable[str]],
    expected_version: int,
    head: Head,
    snapshot: LedgerState | None,
) -> Steps[None]:
    keys, holds = map(list, names)
    if not events:
        yield from _refusal(ledger_id, expected_version, keys, holds)
        return
    moved, added = rows.rows_of(ledger_id, events, head)
    values: list[Any] = [expected_version + len(events), *moved, ledger_id]
    if expected_version:
        values.append(expected_version)
        for taken in filter(None, (keys, holds)):
            values += [ledger_id, taken[0] if len(taken) == 1 else to_text(taken)]
    if snapshot is not None:
        values += [snapshot.version, *rows.state_row(ledger_id, snapshot)]
    if len(added) == 1:
        values += added[0]
    else:
        payload = EventRow._fields.index("payload")
        values += [f"[{','.join(map(_record, added))}]", "\n".join([row[payload] for row in added])]
    sql = _append_sql(
        opens=not expected_version,
        single=len(added) == 1,
        keys=min(len(keys), 2),
        holds=min(len(holds), 2),
        keeps=snapshot is not None,
    )
    if (yield sql, tuple(values)).rowcount != len(events):
        yield from _refusal(ledger_id, expected_version, keys, holds)
        raise VersionConflictError(ledger_id, expected_version)


def _record(row: tuple[Any, ...]) -> str:
    """The row, without its payload, as an object of JSON."""
    version, kind, at, amount, balance_after, key, hold_id, subject, _, checksum = row
    return (
        f'{{"version":{version},"type":"{kind}","at":"{at}","amount":{quoted(amount)},'
        f'"balance_after":{quoted(balance_after)},"idempotency_key":{quoted(key)},"hold_id":{quoted(hold_id)},'
        f'"subject":{quoted(subject)},"checksum":"{checksum}"}}'
    )


def _refusal(ledger_id: str, expected_version: int, keys: list[str], holds: list[str]) -> Steps[None]:
    """Raise what refused an append."""
    found = (yield ("SELECT version FROM commcredits_ledgers WHERE ledger_id = %s", (ledger_id,))).fetchall()
    if (found[0][0] if found else 0) != expected_version:
        raise VersionConflictError(ledger_id, expected_version)
    taken = yield from _find(ledger_id, keys)
    for key in taken:
        raise DuplicateKeyError(ledger_id, key)
    held = (yield (_WITH_HOLDS, (ledger_id, to_text(holds)))).fetchall()
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
    events = (yield (_AFTER, (ledger_id, after, None))).fetchall()
    read = rows.read_events(ledger_id, map(EventRow._make, events), after=after)
    rows.check_whole(ledger_id, after + len(read), head_version)
    return Stored(state, tuple(read)), state_format not in {None, STATE_FORMAT}


def _page(ledger_id: str, after_version: int) -> Steps[list[Event]]:
    events = (yield (_AFTER, (ledger_id, after_version, rows.PAGE))).fetchall()
    return rows.read_events(ledger_id, map(EventRow._make, events), after=after_version)


def _find(ledger_id: str, idempotency_keys: Iterable[str]) -> Steps[dict[str, Event]]:
    keys = list(dict.fromkeys(idempotency_keys))
    found = (yield (_WITH_KEYS, (ledger_id, to_text(keys)))).fetchall()
    events = {row[5]: rows.read_event(ledger_id, EventRow._make(row)) for row in found}
    return {key: events[key] for key in keys if key in events}


def _about(ledger_id: str, subject: int | str) -> Steps[list[Event]]:
    own = subject if isinstance(subject, int) else None
    found = (yield (_ABOUT, (ledger_id, rows.subject_text(subject), own))).fetchall()
    return rows.events_about((rows.read_event(ledger_id, EventRow._make(row)) for row in found), subject)


def _due(before: datetime, limit: int) -> Steps[list[str]]:
    rows.check_count("limit", limit)
    found = (yield (_DUE, (rows.stored_time(utc(before, "before")), limit))).fetchall()
    return [ledger_id for (ledger_id,) in found]


def _feed(after: Position | None, limit: int) -> Steps[list[tuple[Position, Event]]]:
    rows.check_count("limit", limit)
    place = (-1, "", 0) if after is None else (after.number, after.ledger_id, after.version)
    found = (yield (_FEED, (*place, limit))).fetchall()
    return [
        (Position(number, ledger_id, row[0]), rows.read_event(ledger_id, EventRow._make(row)))
        for number, ledger_id, *row in found
    ]


# --- how it is done: blocking, and for coroutines


def _is_pool(connection_or_pool: Any) -> bool:
    return hasattr(connection_or_pool, "getconn")


def _connection_of(connection_or_pool: Any) -> Any:
    """A context, for `with` or `async with`, that has a connection."""
    return connection_or_pool.connection() if _is_pool(connection_or_pool) else nullcontext(connection_or_pool)


class _Transactions:
    """Whether the caller's connection is in a transaction of the caller's; a pool hands out one that is not."""

    def __init__(self, connection_or_pool: Any) -> None:
        self._connection = None if _is_pool(connection_or_pool) else connection_or_pool
        self._before = False

    def note(self) -> None:
        """Note how things are before a statement of ours: while it runs, the connection does not tell."""
        if self._connection is not None:
            status = self._connection.pgconn.transaction_status
            if status != TransactionStatus.ACTIVE:
                self._before = status != TransactionStatus.IDLE

    @property
    def is_under_way(self) -> bool:
        if self._connection is None:
            return False
        self.note()
        return self._before or not self._connection.autocommit


class PostgresStorage:
    """Ledgers in PostgreSQL, on a `psycopg.Connection` or a `psycopg_pool.ConnectionPool` of the caller's.

    On a connection that is in a transaction appends are part of it. One without `autocommit` always is, because psycopg
    begins a transaction with its first statement: nothing is durable before the caller's commit. For commits of their
    own, open the connection, or the pool's connections, with `autocommit=True`.

    `snapshot_every`: a snapshot is kept whenever about that many events came since the last one.
    """

    def __init__(
        self,
        connection_or_pool: psycopg.Connection[Any] | psycopg_pool.ConnectionPool[Any],
        *,
        snapshot_every: int = 100,
    ) -> None:
        self._source: Any = connection_or_pool
        self._transactions = _Transactions(connection_or_pool)
        self._snapshots = rows.Snapshots(snapshot_every)

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._transactions.is_under_way

    def create_tables(self, *, partitions: int = 0) -> None:
        """Make the tables, or bring those of an older version up to date; what is up to date is left alone.

        `partitions`: into how many parts, by a hash of the ledger's id, new tables are divided; 0: not at all. After a
        dump was restored into another server, call it before anything is appended there: the feed goes by numbers that
        start anew, and a follower would miss what gets one lower than the last that it read.

        Raises: UnreadableRecordError when a newer version of this library made the tables.
        """
        with _connection_of(self._source) as connection, connection.transaction():
            self._carry_out(connection, create_tables(partitions))

    def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`.

        Raises: UnreadableRecordError.
        """
        loaded = self._do(_load(ledger_id))
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
        names = names_of(ledger_id, events)
        snapshot = self._snapshots.due(ledger_id, expected_version, head.version, state)
        self._do(_append(ledger_id, events, names, expected_version, head, snapshot))

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """See `Storage.history`.

        Raises: UnreadableRecordError.
        """
        while page := self._do(_page(ledger_id, after_version)):
            yield from page
            after_version = page[-1].version

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`.

        Raises: UnreadableRecordError.
        """
        return self._do(_find(ledger_id, idempotency_keys))

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`.

        Raises: UnreadableRecordError.
        """
        return self._do(_about(ledger_id, subject))

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        return self._do(_due(before, limit))

    def feed(self, after: Position | None, limit: int) -> Sequence[tuple[Position, Event]]:
        """At most `limit` events of all ledgers after a position (None: from the first); none is ever skipped.

        Events of one ledger come in the order of their versions. Those of a transaction under way, and of any that
        began to write after it, come when it has ended.

        Raises: UnreadableRecordError.
        """
        return self._do(_feed(after, limit))

    def _do(self, steps: Steps[_T]) -> _T:
        with _connection_of(self._source) as connection:
            return self._carry_out(connection, steps)

    def _carry_out(self, connection: Any, steps: Steps[_T]) -> _T:
        try:
            cursor = connection.cursor(row_factory=tuple_row)
            sql, values = next(steps)
            while True:
                self._transactions.note()
                cursor.execute(sql, values)
                sql, values = steps.send(cursor)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


class AsyncPostgresStorage:
    """`PostgresStorage` for coroutines, on a `psycopg.AsyncConnection` or a `psycopg_pool.AsyncConnectionPool`."""

    def __init__(
        self,
        connection_or_pool: psycopg.AsyncConnection[Any] | psycopg_pool.AsyncConnectionPool[Any],
        *,
        snapshot_every: int = 100,
    ) -> None:
        self._source: Any = connection_or_pool
        self._transactions = _Transactions(connection_or_pool)
        self._snapshots = rows.Snapshots(snapshot_every)

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._transactions.is_under_way

    async def create_tables(self, *, partitions: int = 0) -> None:
        """See `PostgresStorage.create_tables`."""
        async with _connection_of(self._source) as connection, connection.transaction():
            await self._carry_out(connection, create_tables(partitions))

    async def load(self, ledger_id: str) -> Stored | None:
        """See `PostgresStorage.load`."""
        loaded = await self._do(_load(ledger_id))
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
        """See `PostgresStorage.append`."""
        names = names_of(ledger_id, events)
        snapshot = self._snapshots.due(ledger_id, expected_version, head.version, state)
        await self._do(_append(ledger_id, events, names, expected_version, head, snapshot))

    async def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        """See `PostgresStorage.history`."""
        while page := await self._do(_page(ledger_id, after_version)):
            for event in page:
                yield event
            after_version = page[-1].version

    async def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `PostgresStorage.find`."""
        return await self._do(_find(ledger_id, idempotency_keys))

    async def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `PostgresStorage.about`."""
        return await self._do(_about(ledger_id, subject))

    async def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `PostgresStorage.due`."""
        return await self._do(_due(before, limit))

    async def feed(self, after: Position | None, limit: int) -> Sequence[tuple[Position, Event]]:
        """See `PostgresStorage.feed`."""
        return await self._do(_feed(after, limit))

    async def _do(self, steps: Steps[_T]) -> _T:
        async with _connection_of(self._source) as connection:
            return await self._carry_out(connection, steps)

    async def _carry_out(self, connection: Any, steps: Steps[_T]) -> _T:
        try:
            cursor = connection.cursor(row_factory=tuple_row)
            sql, values = next(steps)
            while True:
                self._transactions.note()
                await cursor.execute(sql, values)
                found = await cursor.fetchall() if cursor.description else ()
                sql, values = steps.send(Fetched(found, cursor.rowcount))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
