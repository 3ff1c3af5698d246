"""The working state of one ledger, in integers of billionths.

`commcredits.changes.apply` is its only writer. What can be derived from the rest (`free`, `burn`, `pending`, ...) is
kept beside it only because every command reads it; `reindex` makes it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commcredits.changes import apply
from commcredits.events import Draft, note_balance
from commcredits.lots import BurnOrder, HoldAccount, LotAccount
from commcredits.money import Money
from commcredits.times import FAR_FUTURE, LONG_AGO

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.events import Event, LedgerOpened
    from commcredits.payment import Charge
    from commcredits.policy import RechargeLimit, RechargePolicy, Terms


class Books:
    """All that a ledger knows, mutable; see the module."""

    KEPT = (
        "opened_by",  # the first event
        "terms",
        "version",
        "as_of",
        "closed_at",
        "lots",  # by id, the drained ones until their time is over
        "funded",
        "drawn",
        "overdrawn",
        "repaid",
        "expired",
        "refunded",
        "clawed_back",
        "shortfall",
        "overdraft",
        "repayments",  # (lot id, amount) of what repaid an overdraft, latest last; lot id 0: a lot not in `lots`
        "reversed",  # usage version: (how much of it was reversed, when last); for 400 days
        "holds",
        "ended_holds",  # hold id: (reason, at), the latest 100
        "charges",  # the pending ones, by id
        "ended_charges",  # by id, for 32 days
        "payment_methods",
        "failures",  # payment method: (attempts, retry at; None: given up)
        "policy",
        "suspended",  # why, or None
        "limits_reached",  # (limit, until), each recorded
        "depleted",  # whether BalanceDepleted was recorded, and no BalanceRestored since
    )
    _DERIVED = (
        "not_started",
        "free",
        "held",
        "lapsed",
        "burn",
        "pending",  # what pending charges come to, the unresolved left out
        "automatic",  # the pending automatic charge, if any
        "unresolved_recharge",  # whether an automatic charge is unresolved
        "watch_level",  # nothing is to be told or charged while `available` is at least this
        "falls_due_at",  # not after the next instant at which something falls due
        "falls_due_is_known",  # whether it is that instant
        "empty_until",  # not after the earliest end of a drained lot
        "currency",
        "zero",
    )
    _OF_THE_COMMAND = (
        "at",
        "given_at",  # `at` before the clock's skew was forgiven
        "key",
        "request",
        "recorded",  # empty between commands
        "told",  # (available, balance) at the end of the last command; None: both at the watch level or above
    )

    __slots__ = (*KEPT, *_DERIVED, *_OF_THE_COMMAND)

    opened_by: LedgerOpened
    terms: Terms
    version: int
    as_of: datetime
    closed_at: datetime | None
    lots: dict[int, LotAccount]
    funded: int
    drawn: int
    overdrawn: int
    repaid: int
    expired: int
    refunded: int
    clawed_back: int
    shortfall: int
    overdraft: int
    repayments: list[tuple[int, int]]
    reversed: dict[int, tuple[int, datetime]]
    holds: dict[str, HoldAccount]
    ended_holds: dict[str, tuple[str, datetime]]
    charges: dict[str, Charge]
    ended_charges: dict[str, Charge]
    payment_methods: tuple[str, ...]
    failures: dict[str, tuple[int, datetime | None]]
    policy: RechargePolicy | None
    suspended: str | None
    limits_reached: tuple[tuple[RechargeLimit, datetime], ...]
    depleted: bool
    not_started: int
    free: int
    held: int
    lapsed: int
    burn: BurnOrder
    pending: int
    automatic: Charge | None
    unresolved_recharge: bool
    watch_level: int
    falls_due_at: datetime
    falls_due_is_known: bool
    empty_until: datetime
    currency: str
    zero: Money
    at: datetime
    given_at: datetime
    key: str | None
    request: tuple[Any, ...] | None
    recorded: tuple[Event, ...]
    told: tuple[int, int] | None

    @classmethod
    def opened(cls, event: LedgerOpened) -> Books:
        """The books of a ledger that has just been opened."""
        books = cls()
        books.opened_by = event
        books.terms = event.terms
        books.version = event.version
        books.as_of = event.at
        books.closed_at = None
        books.funded = books.drawn = books.overdrawn = books.repaid = books.expired = 0
        books.refunded = books.clawed_back = books.shortfall = books.overdraft = 0
        books.lots, books.holds, books.ended_holds, books.charges, books.ended_charges = {}, {}, {}, {}, {}
        books.repayments, books.reversed, books.failures, books.limits_reached = [], {}, {}, ()
        books.payment_methods = event.payment_methods
        books.policy = books.suspended = None
        books.depleted = False
        books.reindex()
        return books

    @property
    def ledger_id(self) -> str:
        """Whose books these are."""
        return self.opened_by.ledger_id

    @property
    def available(self) -> int:
        """What can be spent, less what is overdrawn."""
        return self.free - self.overdraft

    def kept(self) -> dict[str, Any]:
        """All that is kept, in values that can be compared."""
        kept = {name: getattr(self, name) for name in self.KEPT}
        kept["lots"] = {lot_id: lot.values() for lot_id, lot in self.lots.items()}
        kept["holds"] = {hold_id: hold.values() for hold_id, hold in self.holds.items()}
        return kept

    def reindex(self) -> None:
        """Derive from what is kept all that is derived."""
        lots = self.lots.values()
        self.not_started = sum(lot.not_started for lot in lots)
        self.free = sum(lot.free for lot in lots)
        self.held = sum(lot.held for lot in lots)
        self.lapsed = sum(lot.lapsed for lot in lots)
        self.burn = BurnOrder(lot for lot in lots if lot.free)
        self.falls_due_at = LONG_AGO
        self.falls_due_is_known = False
        self.empty_until = min((self.over_at(lot) for lot in lots if lot.is_empty), default=FAR_FUTURE)
        self.zero = Money.zero(self.terms.currency)
        self.currency = self.zero.currency
        self.recount_charges()
        self.watch()
        self.recorded = ()
        self.told = (self.available, self.available + self.held)

    def recount_charges(self) -> None:
        """Derive what depends on the charges."""
        going = [c for c in self.charges.values() if c.status in ("requested", "tried", "processing")]
        self.pending = sum(c.amount._billionths for c in going)
        self.automatic = next((c for c in going if c.purpose == "recharge"), None)
        self.unresolved_recharge = any(
            c.status == "unresolved" and c.purpose == "recharge" for c in self.charges.values()
        )

    def watch(self) -> None:
        """Derive what depends on the policy and the terms."""
        levels = [threshold.clear_from for threshold in self.terms.alert_thresholds]
        if self.policy is not None:
            levels.append(self.policy.threshold.clear_from)
        self.watch_level = max(1, *levels) if levels else 1

    def copy(self) -> Books:
        """Independent books of the same ledger."""
        twin = Books()
        for name in self.KEPT:
            setattr(twin, name, getattr(self, name))
        twin.lots = {lot_id: lot.copy() for lot_id, lot in self.lots.items()}
        twin.holds = {hold_id: hold.copy() for hold_id, hold in self.holds.items()}
        twin.repayments = list(self.repayments)
        for name in ("reversed", "ended_holds", "charges", "ended_charges", "failures"):
            setattr(twin, name, dict(getattr(self, name)))
        twin.reindex()
        return twin

    def charge(self, charge_id: str) -> Charge | None:
        """The charge of that id, if it is pending or ended not long ago."""
        return self.charges.get(charge_id) or self.ended_charges.get(charge_id)

    def over_at(self, lot: LotAccount) -> datetime:
        """When a lot's time is over, late usage included."""
        return FAR_FUTURE if lot.expires_at is None else lot.expires_at + self.terms.late_usage_grace

    def lot(self, lot_id: int) -> LotAccount:
        """The lot of that id; one whose time was over is taken up again, so that what returns to it can expire."""
        lot = self.lots.get(lot_id)
        if lot is None:
            lot = LotAccount(lot_id, 0, LONG_AGO, LONG_AGO, LONG_AGO, 0, purchased=True)
            self.lots[lot_id] = lot
        return lot

    def record(self, kind: type[Event], *values: Any) -> None:
        """Make the next event of the command in progress, and apply it."""
        if self.recorded:
            note_balance(self.recorded[-1], self.free + self.held - self.overdraft)
        # As for Money: to fill in a draft and turn it into an event is the fastest way past its immutability.
        event: Any = Draft()
        event._version = self.version + 1
        event._at = self.at
        event._key = self.key
        event._request = self.request
        event._values = values
        event.__class__ = kind
        self.key = self.request = None
        apply(self, event)
        self.recorded += (event,)
