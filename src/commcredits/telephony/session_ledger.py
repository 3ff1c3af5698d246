"""What a call's session needs of a ledger, be it a bare `Ledger` or kept by a service of either kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from commcredits.errors import IdempotencyConflictError
from commcredits.events import FundsConsumed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from commcredits.appending import Receipt
    from commcredits.events import Event
    from commcredits.ledger import Ledger
    from commcredits.money import Money
    from commcredits.service import AsyncLedgerService
    from commcredits.state import LedgerState


class SessionLedger(Protocol):
    """A ledger as a session sees it: it knows the time, and a known key is answered and not obeyed again."""

    ledger_id: str

    events: list[Event]
    """What was recorded since it was last emptied."""

    remembers: bool
    """Whether what this session recorded before is known by its keys."""

    async def state(self) -> LedgerState:
        """The ledger as of now."""
        ...

    async def find(self, key: str) -> Event | None:
        """The event that has an idempotency key."""
        ...

    async def do(self, command: str, *arguments: Any, key: str | None = None, **named: Any) -> Money:
        """Give a command; what is available after it."""
        ...


class OnService:
    """A ledger that a service keeps; that of a blocking one is stepped."""

    remembers = True

    def __init__(self, service: AsyncLedgerService, ledger_id: str) -> None:
        self._service = service
        self.ledger_id = ledger_id
        self.events: list[Event] = []

    async def state(self) -> LedgerState:
        """See `SessionLedger.state`."""
        return await self._service.get(self.ledger_id)

    async def find(self, key: str) -> Event | None:
        """See `SessionLedger.find`."""
        return (await self._service._storage.find(self.ledger_id, [key])).get(key)

    async def do(self, command: str, *arguments: Any, key: str | None = None, **named: Any) -> Money:
        """See `SessionLedger.do`."""
        receipt: Receipt = await getattr(self._service, command)(
            self.ledger_id, *arguments, **named, idempotency_key=key
        )
        if not receipt.replayed:
            self.events += receipt.events
        return receipt.available


class OnLedger:
    """A bare ledger, which is told the time. It does not know keys by itself: `earlier` has what they stand for."""

    def __init__(self, ledger: Ledger, at: datetime, earlier: Iterable[Event]) -> None:
        self._ledger = ledger
        self.ledger_id = ledger.ledger_id
        known = tuple(earlier)
        self._known = {event.idempotency_key: event for event in known if isinstance(event, FundsConsumed)}
        self.at = at
        self.events: list[Event] = []
        self.remembers = bool(known)

    async def state(self) -> LedgerState:
        """See `SessionLedger.state`."""
        return self._ledger.state().at(max(self.at, self._ledger.as_of))

    async def find(self, key: str) -> Event | None:
        """See `SessionLedger.find`."""
        return self._known.get(key)

    async def do(self, command: str, *arguments: Any, key: str | None = None, **named: Any) -> Money:
        """See `SessionLedger.do`."""
        if key is not None and key in self._known:
            raise IdempotencyConflictError(self._ledger.ledger_id, key, self._known[key].version)
        events = getattr(self._ledger, command)(*arguments, **named, at=self.at, idempotency_key=key)
        self._known |= {event.idempotency_key: event for event in events if event.idempotency_key is not None}
        self.events += events
        return self._ledger.available
