"""LedgerState: what a ledger is at one moment, frozen, with everything that can be read of it.

`LedgerReads` is the reading half that `Ledger` shares. Reads take `at` and see what fell due until then; they record
nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from commcredits import charges, recharge, schedule
from commcredits.errors import ConservationError, InvalidValueError, TimeRunsBackError
from commcredits.lots import LotAccount, burn_key
from commcredits.money import Money, _of
from commcredits.policy import check_money
from commcredits.times import FAR_FUTURE, utc

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.books import Books
    from commcredits.events import LedgerOpened
    from commcredits.lots import Hold, Lot
    from commcredits.payment import Charge
    from commcredits.policy import RechargePolicy, Terms
    from commcredits.recharge import RechargeDecision

AutoRechargeStatus = Literal["closed", "off", "suspended", "on"]


@attrs.frozen(order=False, kw_only=True)
class Totals:
    """Where every billionth of a ledger's funds is, or went, since it was opened.

    Attributes:
        funded: all lots, granted ones included.
        drawn: usage paid for by lots, reversals taken off; overdrawn: usage beyond all lots, likewise;
            consumed: the two together.
        repaid: what lots put against the overdraft.
        expired, refunded: forfeited; given back to the payer.
        clawed_back: what the bank took back out of lots; shortfall: what it took back beyond them.
        free, held, lapsed, not_started: what is left.
        overdraft: what is overdrawn now.
    """

    funded: Money
    drawn: Money
    overdrawn: Money
    consumed: Money
    repaid: Money
    expired: Money
    refunded: Money
    clawed_back: Money
    shortfall: Money
    free: Money
    held: Money
    lapsed: Money
    not_started: Money
    overdraft: Money

    def check(self) -> None:
        """Do nothing if all adds up, to the last billionth.

        Raises: ConservationError naming the terms of the equation that does not hold.
        """
        for name in attrs.fields_dict(Totals):
            if getattr(self, name)._billionths < 0:
                raise ConservationError(f"{name} >= 0", {name: getattr(self, name)})
        self._check_sum("funded", *LotAccount.PARTS)
        self._check_sum("consumed", "drawn", "overdrawn")
        if self.overdrawn + self.shortfall - self.repaid != self.overdraft:
            names = ("overdraft", "overdrawn", "shortfall", "repaid")
            raise ConservationError("overdraft = overdrawn + shortfall - repaid", self._terms(*names))
        if self.free._billionths and self.overdraft._billionths:
            raise ConservationError("never free funds and an overdraft", self._terms("free", "overdraft"))

    def _check_sum(self, whole: str, *parts: str) -> None:
        terms = self._terms(whole, *parts)
        if terms[whole] != Money.total([terms[part] for part in parts], self.funded.currency):
            raise ConservationError(f"{whole} = {' + '.join(parts)}", terms)

    def _terms(self, *names: str) -> dict[str, Money]:
        return {name: getattr(self, name) for name in names}


class LedgerReads:
    """All that can be read of a ledger, or of its state at a moment."""

    __slots__ = ("_books",)

    _books: Books

    @property
    def opened(self) -> LedgerOpened:
        """The ledger's first event."""
        return self._books.opened_by

    @property
    def ledger_id(self) -> str:
        """Whose balance it is."""
        return self._books.ledger_id

    @property
    def currency(self) -> str:
        """The one currency of all its amounts."""
        return self._books.terms.currency

    @property
    def terms(self) -> Terms:
        """The rules it is kept under."""
        return self._books.terms

    @property
    def version(self) -> int:
        """The number of events so far."""
        return self._books.version

    @property
    def as_of(self) -> datetime:
        """The time of the last event."""
        return self._books.as_of

    @property
    def closed_at(self) -> datetime | None:
        """When it was closed; None: it is open."""
        return self._books.closed_at

    @property
    def balance(self) -> Money:
        """`available` plus `held`, as of `as_of`."""
        books = self._books
        return _of(books.free - books.overdraft + books.held, books.currency)

    @property
    def available(self) -> Money:
        """Free funds less the overdraft, as of `as_of`."""
        books = self._books
        return _of(books.free - books.overdraft, books.currency)

    @property
    def held(self) -> Money:
        """What holds set aside."""
        return self._money(self._books.held)

    @property
    def overdraft(self) -> Money:
        """What was consumed or clawed back beyond all lots, and not yet repaid."""
        return self._money(self._books.overdraft)

    @property
    def lapsed(self) -> Money:
        """Funds past their expiry that still pay for late usage; in neither `balance` nor `available`."""
        return self._money(self._books.lapsed)

    @property
    def lots(self) -> tuple[Lot, ...]:
        """The lots with anything left in them, in burn order."""
        lots = sorted(self._books.lots.values(), key=burn_key)
        return tuple(lot.shown(self.currency) for lot in lots if not lot.is_empty)

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The open holds, oldest first."""
        return tuple(hold.shown(self.currency) for hold in self._books.holds.values())

    @property
    def recharge_policy(self) -> RechargePolicy | None:
        """How it recharges itself; None: it does not."""
        return self._books.policy

    @property
    def payment_methods(self) -> tuple[str, ...]:
        """The primary, then the backups."""
        return self._books.payment_methods

    @property
    def pending_charges(self) -> tuple[Charge, ...]:
        """The charges not yet known to be paid or declined, the unresolved among them, oldest first."""
        return tuple(self._books.charges.values())

    @property
    def auto_recharge_status(self) -> AutoRechargeStatus:
        """Whether automatic recharge is "on", "off", "suspended" or, with the ledger, "closed"."""
        if self._books.closed_at is not None:
            return "closed"
        if self._books.policy is None:
            return "off"
        return "on" if self._books.suspended is None else "suspended"

    @property
    def next_due(self) -> datetime | None:
        """The earliest time at which `advance` would record something or `settle` make a charge; None: never."""
        books = self._books
        earliest = schedule.next_instant(books)
        for charge in books.charges.values():
            earliest = min(earliest, charges.due_at(charge, books.terms) or FAR_FUTURE)
        if books.available + books.pending < books.watch_level:
            earliest = min(earliest, recharge.next_change(books) or FAR_FUTURE)
        return None if earliest == FAR_FUTURE else earliest

    @property
    def totals(self) -> Totals:
        """Where all funds are or went; `check()` proves that nothing is lost."""
        books = self._books
        lots = books.lots.values()
        left = {part: sum(getattr(lot, part) for lot in lots) for part in ("free", "held", "lapsed", "not_started")}
        names = (
            "funded",
            "drawn",
            "overdrawn",
            "repaid",
            "expired",
            "refunded",
            "clawed_back",
            "shortfall",
            "overdraft",
        )
        amounts = {name: getattr(books, name) for name in names} | left
        amounts["consumed"] = books.drawn + books.overdrawn
        return Totals(**{name: self._money(amount) for name, amount in amounts.items()})

    def check(self) -> None:
        """Do nothing if the totals, each lot and the holds add up, to the last billionth.

        Raises: ConservationError naming the terms; it is a bug, or a tampered record.
        """
        self.totals.check()
        for part in ("free", "held", "lapsed", "not_started"):
            kept, summed = getattr(self._books, part), getattr(self.totals, part)
            if kept != summed._billionths:
                raise ConservationError(
                    f"{part} = {part} in lots", {part: self._money(kept), f"{part} in lots": summed}
                )
        for lot in self._books.lots.values():
            parts = {part: getattr(lot, part) for part in LotAccount.PARTS}
            held = sum(hold.draws.get(lot.lot_id, 0) for hold in self._books.holds.values())
            if sum(parts.values()) != lot.amount or min(parts.values()) < 0 or held != lot.held:
                terms = {"amount": lot.amount, **parts, "held by holds": held}
                raise ConservationError(
                    f"lot {lot.lot_id}: amount = {' + '.join(parts)}",
                    {name: self._money(amount) for name, amount in terms.items()},
                )

    def available_at(self, at: datetime) -> Money:
        """What will be available at `at` if nothing happens until then.

        Raises: TimeRunsBackError before `as_of`; WrongTypeError, InvalidValueError for what is no aware datetime.
        """
        return self._money(self._books_at(at).available)

    def balance_at(self, at: datetime) -> Money:
        """What the balance will be at `at` if nothing happens until then; raises as `available_at`."""
        books = self._books_at(at)
        return self._money(books.available + books.held)

    def expiring(self, before: datetime) -> tuple[Lot, ...]:
        """The lots with anything left in them that expire not after `before`, in burn order."""
        before = utc(before, "before")
        return tuple(lot for lot in self.lots if lot.expires_at is not None and lot.expires_at <= before)

    def can_afford(self, amount: Money, at: datetime) -> bool:
        """Whether usage of `amount` at `at` would be accepted, by the funds and the overdraft allowed.

        Raises: as `available_at`.
        """
        books = self._books_at(at)
        need = check_money("amount", amount, self.currency)._billionths
        if need < 0:
            raise InvalidValueError("amount", amount, "must not be below zero")
        limit = books.terms.overdraft_limit
        return books.closed_at is None and (not need or limit is None or need <= books.available + limit._billionths)

    def admits_new_usage(self, at: datetime) -> bool:
        """Whether new usage may begin at `at`: only on a positive `available`, whatever the overdraft allowed.

        Raises: as `available_at`.
        """
        books = self._books_at(at)
        return books.closed_at is None and books.available > 0

    def recharge_decision(self, at: datetime) -> RechargeDecision:
        """Whether a recharge is due at `at`, and if not, why not; raises as `available_at`."""
        books = self._books_at(at)
        return recharge.decide(books, utc(at, "at"))

    def due_charge(self, at: datetime, *, first: str | None = None) -> Charge | None:
        """The pending charge to be made at `at`: the one of id `first` if it is due, else the oldest due, or None.

        Raises: as `available_at`.
        """
        books = self._books_at(at)
        if not books.charges:
            return None
        at = utc(at, "at")
        due = [c for c in books.charges.values() if (when := charges.due_at(c, books.terms)) is not None and when <= at]
        due.sort(key=lambda charge: charge.charge_id != first)
        return due[0] if due else None

    def _money(self, billionths: int) -> Money:
        return _of(billionths, self._books.terms.currency)

    def _books_at(self, at: datetime) -> Books:
        at = utc(at, "at")
        if at < self._books.as_of:
            raise TimeRunsBackError(at, self._books.as_of)
        return self._books if at < schedule.next_instant(self._books) else schedule.advanced(self._books, at)


class LedgerState(LedgerReads):
    """A ledger at one moment: immutable, comparable, and with `commcredits.codec` to and from JSON."""

    __slots__ = ()

    def __init__(self, books: Books) -> None:
        object.__setattr__(self, "_books", books)

    def at(self, at: datetime) -> LedgerState:
        """The state at a later time if nothing happens until then, what falls due applied; raises as `available_at`.

        Its `as_of` is `at`; its `version` stays that of the last event recorded.
        """
        books = self._books_at(at).copy()
        books.version, books.as_of = self._books.version, utc(at, "at")
        return LedgerState(books)

    def __reduce__(self) -> tuple[type[LedgerState], tuple[Books]]:
        return LedgerState, (self._books,)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"LedgerState is immutable: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"LedgerState is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LedgerState):
            return NotImplemented
        return self._books.kept() == other._books.kept()

    def __hash__(self) -> int:
        return hash((self.ledger_id, self.version))

    def __repr__(self) -> str:
        return f"<LedgerState {self.ledger_id!r} version {self.version} as of {self.as_of.isoformat()}: {self.balance}>"
