"""Account: a ledger in a storage, and all that the contracts of storages need to know of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from commcredits.ledger import Ledger
from commcredits.policy import Terms
from commcredits.storage import Head

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from commcredits.events import Event
    from commcredits.state import LedgerState
    from commcredits.storage import Storage

OPENED = datetime(2024, 3, 1, 12, tzinfo=UTC)


class Account:
    """One ledger whose every command is appended to a storage; it remembers the events that are in there."""

    def __init__(self, storage: Storage, ledger_id: str = "acme", at: datetime = OPENED, **terms: Any) -> None:
        self.storage = storage
        self.ledger_id = ledger_id
        self.ledger = Ledger.open(ledger_id, Terms("USD", **terms), at=at)
        self.now = at
        self.events: list[Event] = []
        self._append([self.ledger.opened])

    def do(self, command: str, *arguments: Any, **named: Any) -> tuple[Event, ...]:
        """Give a command and append what it recorded."""
        events: tuple[Event, ...] = getattr(self.ledger, command)(*arguments, at=self.now, **named)
        self._append(events)
        return events

    def decide(self, command: str, *arguments: Any, **named: Any) -> tuple[Event, ...]:
        """What a command would record."""
        events: tuple[Event, ...] = getattr(self.copy(), command)(*arguments, at=self.now, **named)
        return events

    def copy(self) -> Ledger:
        """The ledger as it is stored, to decide on."""
        return Ledger.restore(self.ledger.state())

    def append(self, events: Sequence[Event]) -> None:
        """Append what was decided."""
        after = Ledger.restore(self.ledger.state(), events)
        self.try_append(events, after=after)
        self.ledger = after
        self.events += events

    def try_append(
        self,
        events: Sequence[Event],
        *,
        expected_version: int | None = None,
        after: Ledger | None = None,
        state: Callable[[], LedgerState] | None = None,
    ) -> None:
        """Append without remembering it, for what may be refused."""
        ledger = self.ledger if after is None else after
        self.storage.append(
            self.ledger_id,
            events,
            expected_version=len(self.events) if expected_version is None else expected_version,
            head=Head.of(ledger),
            state=ledger.state if state is None else state,
        )

    def _append(self, events: Sequence[Event]) -> None:
        self.try_append(events)
        self.events += events


def restored(storage: Storage, ledger_id: str = "acme") -> Ledger | None:
    """The ledger that is made of what a storage loads; None: there is none."""
    stored = storage.load(ledger_id)
    if stored is None:
        return None
    return Ledger.replay(stored.events) if stored.state is None else Ledger.restore(stored.state, stored.events)


def everything_in(storage: Storage, ledger_id: str = "acme") -> tuple[Any, ...]:
    """All that can be seen of a ledger in a storage."""
    stored = storage.load(ledger_id)
    events = tuple(storage.history(ledger_id))
    keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
    return (
        None if stored is None else (stored.state, tuple(stored.events)),
        events,
        dict(storage.find(ledger_id, keys)),
        {version: tuple(storage.about(ledger_id, version)) for version in range(len(events) + 3)},
        tuple(storage.due(OPENED + timedelta(days=9999), limit=99)),
    )
