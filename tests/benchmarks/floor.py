"""The floor: the least code that keeps the rules of `consume`, and its record, on bare integers.

Kept are: a positive amount, enough funds, time that does not run back, lots not expired, soonest expiry first, a strict
threshold, and one record for each consumption. Left out is all the rest: currencies, overdraft, late usage, holds,
checks of types, expiry as an event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

_LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)


class FloorLot(NamedTuple):
    """One funding."""

    lot_id: int
    expires_at: datetime
    remaining: int


class FloorLedger:
    """One method on bare integers; each record is a tuple in a list: version, at, amount, draws, balance, key."""

    __slots__ = (
        "balance",
        "expires_at",
        "last",
        "lot_id",
        "pending",
        "records",
        "remaining",
        "rest",
        "threshold",
        "version",
    )

    def __init__(self, lots: list[FloorLot], threshold: int) -> None:
        self.rest = sorted(lots, key=lambda lot: lot.expires_at, reverse=True)
        self.balance = sum(lot.remaining for lot in lots)
        self.lot_id, self.expires_at, self.remaining = self.rest.pop()
        self.threshold = threshold
        self.pending = False
        self.version = 0
        self.last = _LONG_AGO
        self.records: list[tuple[int, datetime, int, tuple[tuple[int, int], ...], int, str | None]] = []

    def consume(self, amount: int, at: datetime, key: str | None = None) -> None:
        """Draw on the lots in their order, record it, and note when the balance falls below the threshold."""
        balance = self.balance
        if amount <= 0 or amount > balance or at < self.last or at >= self.expires_at:
            raise ValueError(amount)
        remaining = self.remaining
        if amount <= remaining:
            self.remaining = remaining - amount
            draws: tuple[tuple[int, int], ...] = ((self.lot_id, amount),)
        else:
            draws = self._drawn_across(amount)
        self.balance = balance = balance - amount
        self.version = version = self.version + 1
        self.last = at
        self.records.append((version, at, amount, draws, balance, key))
        if balance < self.threshold and not self.pending:
            self.pending = True

    def _drawn_across(self, amount: int) -> tuple[tuple[int, int], ...]:
        draws = [(self.lot_id, self.remaining)] if self.remaining else []
        need = amount - self.remaining
        while True:
            self.lot_id, self.expires_at, remaining = self.rest.pop()
            if need <= remaining:
                self.remaining = remaining - need
                draws.append((self.lot_id, need))
                return tuple(draws)
            need -= remaining
            draws.append((self.lot_id, remaining))
