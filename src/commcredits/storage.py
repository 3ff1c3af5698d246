"""Where events live: the protocol that storages keep, and the one that keeps them in memory.

An append is all or nothing, and only ever onto the version that the caller decided on: that, and the uniqueness of
idempotency keys and hold ids, is all that keeps many writers from undoing each other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import attrs

from commcredits.errors import DuplicateKeyError, InvalidValueError, VersionConflictError, WrongTypeError
from commcredits.events import FundsConsumed, FundsHeld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from commcredits.events import Event
    from commcredits.money import Money
    from commcredits.state import LedgerReads, LedgerState


@attrs.frozen(order=False)
class Stored:
    """What a storage has of a ledger.

    Attributes:
        state: the latest snapshot kept; None: there is none.
        events: those after the snapshot, or all of them.
    """

    state: LedgerState | None
    events: Sequence[Event]


@attrs.frozen(order=False)
class Head:
    """Where a ledger stands after an append, for a storage to index without knowing any rule.

    Attributes:
        version: the number of events.
        as_of: the time of the last.
        balance, available: at that time.
        next_due: the earliest time at which something falls due or a charge is to be made; None: never.
    """

    version: int
    as_of: datetime
    balance: Money
    available: Money
    next_due: datetime | None

    @classmethod
    def of(cls, ledger: LedgerReads) -> Head:
        """The head of a ledger or its state."""
        books = ledger._books
        balance = ledger.balance
        available = ledger.available if books.held else balance
        return cls(books.version, books.as_of, balance, available, ledger.next_due)


class Storage(Protocol):
    """Where a `LedgerService` keeps its ledgers."""

    @property
    def in_caller_transaction(self) -> bool:
        """Whether appends become durable only with a commit of the caller's."""
        ...

    def load(self, ledger_id: str) -> Stored | None:
        """The latest snapshot kept and the events after it; None: no such ledger."""
        ...

    def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """Add events, all or none, to a ledger of `expected_version` events (0: a new one).

        `state` makes the state after them; it is called at most once, and only when a snapshot may be kept.

        Raises: VersionConflictError when somebody appended first; DuplicateKeyError when an idempotency key or the id
            of a FundsHeld is taken. Nothing was added.
        """
        ...

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """The events after a version, in order."""
        ...

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """The events that have one of these keys, by key."""
        ...

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """All events of one lot, usage, charge or hold, by its id, in order; see `subjects`."""
        ...

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """The ids of at most `limit` ledgers whose `next_due` is not after `before`, the most overdue first."""
        ...


class AsyncStorage(Protocol):
    """`Storage` for coroutines."""

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        ...

    async def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`."""
        ...

    async def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `Storage.append`."""
        ...

    def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        """See `Storage.history`."""
        ...

    async def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`."""
        ...

    async def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`."""
        ...

    async def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        ...


def subjects(event: Event) -> tuple[int | str, ...]:
    """What an event is about: the ids of its lot, usage, charge and hold."""
    if event.__class__ is FundsConsumed and event.hold_id is None:  # the usual case
        return (event.version,)
    names = ("lot_id", "consumption", "charge_id", "hold_id")
    found = [subject for name in names if (subject := getattr(event, name, None)) is not None]
    if isinstance(event, FundsConsumed):
        found.append(event.version)
    return tuple(found)


class _Record:
    """One ledger in memory."""

    __slots__ = ("about", "events", "head", "held", "keys", "state")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.keys: dict[str, Event] = {}
        self.held: set[str] = set()
        self.about: dict[int | str, list[Event]] = {}
        self.state: LedgerState | None = None
        self.head: Head | None = None


class InMemoryStorage:
    """Ledgers in this process only, safe among threads: for tests, notebooks, and as the measure of other storages.

    `snapshot_every`: a snapshot is kept whenever that many events came since the last one.
    """

    in_caller_transaction = False

    def __init__(self, *, snapshot_every: int = 100) -> None:
        if not isinstance(snapshot_every, int) or isinstance(snapshot_every, bool):
            raise WrongTypeError("snapshot_every", snapshot_every, "a whole number")
        if snapshot_every < 1:
            raise InvalidValueError("snapshot_every", snapshot_every, "must be one or more")
        self._snapshot_every = snapshot_every
        self._records: dict[str, _Record] = {}
        self._lock = threading.Lock()

    def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`."""
        with self._lock:
            record = self._records.get(ledger_id)
            if record is None:
                return None
            kept = 0 if record.state is None else record.state.version
            return Stored(record.state, tuple(record.events[kept:]))

    def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `Storage.append`."""
        with self._lock:
            record = self._records.get(ledger_id) or _Record()
            if len(record.events) != expected_version:
                raise VersionConflictError(ledger_id, expected_version)
            if not events:
                return  # lest a ledger of no events be there
            keys, holds = names_of(ledger_id, events)
            for taken, names, namespace in ((record.keys, keys, "idempotency_key"), (record.held, holds, "hold_id")):
                for name in names:
                    if name in taken:
                        raise DuplicateKeyError(ledger_id, name, namespace)
            kept = 0 if record.state is None else record.state.version
            snapshot = state() if head.version - kept >= self._snapshot_every else record.state
            # From here on nothing can fail, so that an append is all or nothing.
            record.state, record.head = snapshot, head
            record.keys.update(keys)
            record.held.update(holds)
            record.events.extend(events)
            for event in events:
                for subject in subjects(event):
                    record.about.setdefault(subject, []).append(event)
            self._records[ledger_id] = record

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """See `Storage.history`."""
        with self._lock:
            record = self._records.get(ledger_id)
            events = () if record is None else tuple(record.events[after_version:])
        yield from events

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`."""
        with self._lock:
            record = self._records.get(ledger_id)
            keys = {} if record is None else record.keys
            return {key: keys[key] for key in idempotency_keys if key in keys}

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`."""
        with self._lock:
            record = self._records.get(ledger_id)
            return () if record is None else tuple(record.about.get(subject, ()))

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        with self._lock:
            heads = [(ledger_id, record.head) for ledger_id, record in self._records.items()]
        dues = sorted((head.next_due, ledger_id) for ledger_id, head in heads if head and head.next_due)
        return [ledger_id for due, ledger_id in dues if due <= before][:limit]


def names_of(ledger_id: str, events: Sequence[Event]) -> tuple[dict[str, Event], set[str]]:
    """The idempotency keys, with their events, and the hold ids that an append takes; each once.

    Raises: DuplicateKeyError.
    """
    keys: dict[str, Event] = {}
    holds: set[str] = set()
    for event in events:
        key = event._key
        if key is not None:
            if key in keys:
                raise DuplicateKeyError(ledger_id, key)
            keys[key] = event
        if isinstance(event, FundsHeld):
            if event.hold_id in holds:
                raise DuplicateKeyError(ledger_id, event.hold_id, "hold_id")
            holds.add(event.hold_id)
    return keys, holds


class SteppedStorage:
    """A blocking storage whose methods can be awaited; they never wait."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._storage.in_caller_transaction

    async def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`."""
        return self._storage.load(ledger_id)

    async def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `Storage.append`."""
        self._storage.append(ledger_id, events, expected_version=expected_version, head=head, state=state)

    async def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        """See `Storage.history`."""
        for event in self._storage.history(ledger_id, after_version=after_version):
            yield event

    async def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`."""
        return self._storage.find(ledger_id, idempotency_keys)

    async def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`."""
        return self._storage.about(ledger_id, subject)

    async def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        return self._storage.due(before, limit=limit)


class AsyncInMemoryStorage(SteppedStorage):
    """`InMemoryStorage` for coroutines."""

    def __init__(self, *, snapshot_every: int = 100) -> None:
        super().__init__(InMemoryStorage(snapshot_every=snapshot_every))
