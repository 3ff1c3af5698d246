"""Lots and holds: fundings burnt down in order, and funds set aside for usage in progress.

A lot's funds are at any moment not started, free, lapsed, held by a hold, or gone (drawn, repaid, expired, refunded,
clawed back); the ten always add up to its amount. `LotAccount` and `HoldAccount` are the ledger's own mutable records,
in integers of billionths; `Lot`, `Draw` and `Hold` are what is shown of them.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from commcredits.money import _of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from commcredits.money import Money


_NEVER = datetime.max.replace(tzinfo=UTC)


class Draw(NamedTuple):
    """What one lot gave or got back: `lot_id` (0: lots long over, no longer told apart), `amount`."""

    lot_id: int
    amount: Money


@attrs.frozen(order=False)
class Lot:
    """One funding, as it stands.

    Attributes:
        lot_id: the version of the event that made the lot.
        amount: what was funded.
        remaining: what is free, lapsed or not yet started; never what is held.
        held: set aside by holds.
        added_at: when the funds came.
        starts_at: from when they can be spent; later than `added_at` only for grants.
        expires_at: from when they no longer can; None: never.
        priority: lower burns first.
        purchased: whether somebody paid for it; false for grants.
    """

    lot_id: int
    amount: Money
    remaining: Money
    held: Money
    added_at: datetime
    starts_at: datetime
    expires_at: datetime | None
    priority: int
    purchased: bool


@attrs.frozen(order=False)
class Hold:
    """Funds set aside for usage in progress.

    Attributes:
        hold_id: the caller's name for it, unique for ever on its ledger.
        amount: what is held now.
        draws: out of which lots, in burn order.
        placed_at: when it was placed; its longest life is counted from here.
        expires_at: when it times out and the funds go back.
    """

    hold_id: str
    amount: Money
    draws: tuple[Draw, ...]
    placed_at: datetime
    expires_at: datetime


class LotAccount:
    """The ledger's record of one lot; all amounts are integers of billionths."""

    __slots__ = (
        "added_at",
        "amount",
        "clawed_back",
        "drawn",
        "expired",
        "expires_at",
        "free",
        "held",
        "lapsed",
        "lot_id",
        "not_started",
        "order",
        "priority",
        "purchased",
        "refunded",
        "repaid",
        "shortfall",
        "starts_at",
    )

    PARTS = ("not_started", "free", "held", "lapsed", "drawn", "repaid", "expired", "refunded", "clawed_back")

    def __init__(
        self,
        lot_id: int,
        amount: int,
        added_at: datetime,
        starts_at: datetime,
        expires_at: datetime | None,
        priority: int,
        *,
        purchased: bool,
    ) -> None:
        self.lot_id = lot_id
        self.amount = amount
        self.added_at = added_at
        self.starts_at = starts_at
        self.expires_at = expires_at
        self.priority = priority
        self.purchased = purchased
        self.order = (priority, expires_at or _NEVER, lot_id)
        self.not_started = self.free = self.held = self.lapsed = 0
        self.drawn = self.repaid = self.expired = self.refunded = self.clawed_back = 0
        self.shortfall = 0  # of claw-backs; what the lot could not give, so not one of its parts

    def values(self) -> dict[str, Any]:
        """All that the record holds, by name."""
        return {name: getattr(self, name) for name in LotAccount.__slots__}

    def copy(self) -> LotAccount:
        """An independent record of the same lot."""
        twin = object.__new__(LotAccount)
        for name in LotAccount.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left that could still be spent, expire or come free."""
        return not (self.free or self.held or self.lapsed or self.not_started)

    def shown(self, currency: str) -> Lot:
        """The lot as the public sees it."""
        return Lot(
            self.lot_id,
            _of(self.amount, currency),
            _of(self.free + self.lapsed + self.not_started, currency),
            _of(self.held, currency),
            self.added_at,
            self.starts_at,
            self.expires_at,
            self.priority,
            self.purchased,
        )


class HoldAccount:
    """The ledger's record of one open hold; `draws` maps lot ids to billionths, in burn order of the lots."""

    __slots__ = ("draws", "expires_at", "hold_id", "placed_at")

    def __init__(self, hold_id: str, draws: dict[int, int], placed_at: datetime, expires_at: datetime) -> None:
        self.hold_id = hold_id
        self.draws = draws
        self.placed_at = placed_at
        self.expires_at = expires_at

    def values(self) -> tuple[str, dict[int, int], datetime, datetime]:
        """All that the record holds."""
        return self.hold_id, self.draws, self.placed_at, self.expires_at

    def copy(self) -> HoldAccount:
        """An independent record of the same hold."""
        return HoldAccount(self.hold_id, dict(self.draws), self.placed_at, self.expires_at)

    @property
    def amount(self) -> int:
        """What is held now, in billionths."""
        return sum(self.draws.values())

    def shown(self, currency: str) -> Hold:
        """The hold as the public sees it."""
        draws = tuple(Draw(lot_id, _of(amount, currency)) for lot_id, amount in self.draws.items())
        return Hold(self.hold_id, _of(self.amount, currency), draws, self.placed_at, self.expires_at)


class BurnOrder:
    """The lots that have free funds, kept in the order in which usage burns them: priority, expiry, lot id."""

    __slots__ = ("_keys", "lots")

    def __init__(self, lots: Iterable[LotAccount] = ()) -> None:
        self.lots = sorted(lots, key=burn_key)
        self._keys = [lot.order for lot in self.lots]

    def add(self, lot: LotAccount) -> None:
        """Put a lot that has come to have free funds in its place."""
        place = bisect_left(self._keys, lot.order)
        self._keys.insert(place, lot.order)
        self.lots.insert(place, lot)

    def remove(self, lot: LotAccount) -> None:
        """Take out a lot whose free funds are gone."""
        place = bisect_left(self._keys, lot.order)
        del self._keys[place], self.lots[place]


def burn_key(lot: LotAccount) -> tuple[int, datetime, int]:
    """What sorts lots into burn order."""
    return lot.order


def take(lots: Iterable[LotAccount], part: str, amount: int, currency: str) -> list[Draw]:
    """Draws on `part` ("free", "lapsed") of `lots` in their order, `amount` in all or as much as there is."""
    draws = []
    for lot in lots:
        if amount <= 0:
            break
        taken = min(getattr(lot, part), amount)
        if taken:
            draws.append(Draw(lot.lot_id, _of(taken, currency)))
            amount -= taken
    return draws
