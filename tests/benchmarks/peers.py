"""A balance kept with the `eventsourcing` library: no lots, no expiry, no recharge."""

from __future__ import annotations

from datetime import datetime  # the library resolves the annotations of events
from typing import TYPE_CHECKING, Any, ClassVar

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

if TYPE_CHECKING:
    from uuid import UUID


class Balance(Aggregate):
    """An integer that goes down."""

    @event("Opened")
    def __init__(self, balance: int) -> None:
        self.balance = balance

    @event("Consumed")
    def consume(self, amount: int, at: datetime, key: str) -> None:
        """Take an amount off, if there is as much; the event keeps the arguments."""
        if not 0 < amount <= self.balance:
            raise ValueError(amount)
        self.balance -= amount


class Balances(Application):  # type: ignore[type-arg]  # its ids are UUIDs unless told otherwise
    """Balances, by default in the library's in-memory recorder, each loaded from all its events."""

    def open(self, balance: int, history: list[tuple[int, datetime, str]]) -> UUID:
        """A balance from which all of `history` was consumed."""
        opened = Balance(balance)
        for usage in history:
            opened.consume(*usage)
        self.save(opened)
        return opened.id

    def consume(self, balance_id: UUID, amount: int, at: datetime, key: str) -> None:
        """Load, decide, append."""
        balance: Any = self.repository.get(balance_id)
        balance.consume(amount, at, key)
        self.save(balance)


class SnapshotBalances(Balances):
    """The same, with a snapshot at every hundredth event."""

    snapshotting_intervals: ClassVar[dict[Any, int]] = {Balance: 100}
