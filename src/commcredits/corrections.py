"""The commands that undo: reverse usage, refund, claw back, reinstate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits import schedule
from commcredits.command import Commands, check_events, suspend
from commcredits.errors import (
    ExceedsLotError,
    InvalidValueError,
    ReversalExceedsUsageError,
    UnknownLotError,
    WrongTypeError,
)
from commcredits.events import (
    ConsumptionReversed,
    FundsAdded,
    FundsClawedBack,
    FundsConsumed,
    FundsGranted,
    FundsRefunded,
    FundsReinstated,
)
from commcredits.lots import Draw, LotAccount
from commcredits.money import _of
from commcredits.policy import check_chargeable, check_money

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from commcredits.books import Books
    from commcredits.events import Event
    from commcredits.money import Money


class CorrectionCommands(Commands):
    """Reverse usage; refund; claw back and reinstate."""

    __slots__ = ()

    def reverse_consumption(
        self,
        consumption: FundsConsumed,
        amount: Money | None = None,
        *,
        at: datetime,
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Undo usage of this ledger, all that is left of it or `amount`: ConsumptionReversed.

        What was overdrawn comes first: it lowers the overdraft, and what was repaid of it since goes back to the lots
        that repaid it, the latest first. Then the draws in reverse order, each to its lot with its expiry. What belongs
        to an expired lot lapses while its grace runs, else expires at once. `earlier` are the later events of that
        usage; a ledger itself remembers reversals for 400 days.

        Raises: ReversalExceedsUsageError; InvalidValueError for an amount not above zero, or usage that cannot be of
            this ledger; CurrencyMismatchError, WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        if not isinstance(consumption, FundsConsumed):
            raise WrongTypeError("consumption", consumption, "a FundsConsumed event")
        request = ("reverse_consumption", consumption.version, amount)
        books = self._begin(at, idempotency_key, request, closed=True)
        check_money("consumption", consumption.amount, self.currency)
        told = sum(
            event.amount._billionths
            for event in check_events(earlier)
            if isinstance(event, ConsumptionReversed) and event.consumption == consumption.version
        )
        undone = max(told, books.reversed.get(consumption.version, (0, at))[0])
        left = consumption.amount._billionths - undone
        need = left if amount is None else self._above_zero("amount", amount)
        if need > left or consumption.version > books.version or not need:
            asked = consumption.amount if amount is None else amount
            raise ReversalExceedsUsageError(books.ledger_id, consumption.version, asked, _of(left, self.currency))
        overdrawn, draws = _parts(consumption, undone, need)
        if not _can_be_undone(books, overdrawn, draws):
            raise InvalidValueError("consumption", consumption.version, "no usage of this ledger")
        money = [_of(billionths, self.currency) for billionths in (need, overdrawn)]
        unrepaid = _unrepaid(books, overdrawn)
        books.record(ConsumptionReversed, consumption.version, money[0], draws, money[1], unrepaid)
        schedule.settle_returned(books)
        return self._end(books)

    def refund(
        self,
        lot_id: int,
        amount: Money,
        *,
        at: datetime,
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Take money out of a bought lot's free funds to give it back to the payer: FundsRefunded.

        Suspends automatic recharge. `earlier` are the events of a lot that the ledger no longer keeps.

        Raises: UnknownLotError; ExceedsLotError for more than is free in the lot; InvalidValueError for a grant, an
            amount not above zero or finer than the minor unit; CurrencyMismatchError, WrongTypeError,
            TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("refund", lot_id, amount), closed=True)
        lot = _bought_lot(books, lot_id, earlier)
        check_chargeable("amount", check_money("amount", amount, self.currency))
        _check_at_most(books, lot_id, amount, min(lot.free, _not_given_back(lot)))
        books.record(FundsRefunded, lot_id, amount)
        suspend(books, "refund")
        return self._end(books)

    def claw_back(
        self,
        lot_id: int,
        amount: Money,
        *,
        at: datetime,
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Record that the bank took a payment, or part of it, back: FundsClawedBack.

        The lot's free funds go; the shortfall becomes overdraft whatever the limit, which other lots repay at once.
        Suspends automatic recharge. `earlier` are the events of a lot that the ledger no longer keeps.

        Raises: UnknownLotError; ExceedsLotError when refunds and claw-backs would exceed the lot; InvalidValueError for
            a grant or an amount not above zero; CurrencyMismatchError, WrongTypeError, TimeRunsBackError. The ledger
            is as it was.
        """
        books = self._begin(at, idempotency_key, ("claw_back", lot_id, amount), closed=True)
        lot = _bought_lot(books, lot_id, earlier)
        need = self._above_zero("amount", amount)
        _check_at_most(books, lot_id, amount, _not_given_back(lot))
        shortfall = need - min(need, lot.free)
        books.record(FundsClawedBack, lot_id, amount, _of(shortfall, self.currency))
        schedule.repay_overdraft(books)
        suspend(books, "claw_back")
        return self._end(books)

    def reinstate(
        self,
        lot_id: int,
        amount: Money,
        *,
        at: datetime,
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Undo a claw-back, or part of it, its shortfall first: FundsReinstated.

        What other lots repaid of the shortfall goes back to them, the latest first; the rest goes back to the lot.
        `earlier` are the events of a lot that the ledger no longer keeps.

        Raises: UnknownLotError; ExceedsLotError for more than was clawed back; InvalidValueError for a grant or an
            amount not above zero; CurrencyMismatchError, WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("reinstate", lot_id, amount), closed=True)
        lot = _bought_lot(books, lot_id, earlier)
        need = self._above_zero("amount", amount)
        _check_at_most(books, lot_id, amount, lot.clawed_back + lot.shortfall)
        shortfall = min(need, lot.shortfall)
        unrepaid = _unrepaid(books, shortfall)
        books.record(FundsReinstated, lot_id, amount, _of(shortfall, self.currency), unrepaid)
        schedule.settle_returned(books)
        return self._end(books)


def _parts(consumption: FundsConsumed, undone: int, need: int) -> tuple[int, tuple[Draw, ...]]:
    """What of the overdrawn part and of the draws, the last first, makes `need`, beyond what is `undone` already."""
    overdrawn = max(0, min(consumption.overdrawn._billionths - undone, need))
    undone = max(0, undone - consumption.overdrawn._billionths)
    need -= overdrawn
    draws = []
    for lot_id, money in reversed(consumption.draws):
        part = max(0, min(money._billionths - undone, need))
        undone = max(0, undone - money._billionths)
        need -= part
        if part:
            draws.append(Draw(lot_id, _of(part, money.currency)))
    return overdrawn, tuple(draws)


def _can_be_undone(books: Books, overdrawn: int, draws: tuple[Draw, ...]) -> bool:
    """Whether these can be parts of a usage of this ledger, as far as its totals and the lots it keeps tell."""
    drawn: dict[int, int] = {}
    for lot_id, money in draws:
        drawn[lot_id] = drawn.get(lot_id, 0) + money._billionths
    given = all(amount <= books.lots[lot_id].drawn for lot_id, amount in drawn.items() if lot_id in books.lots)
    return given and sum(drawn.values()) <= books.drawn and overdrawn <= books.overdrawn


def _unrepaid(books: Books, lowered: int) -> tuple[Draw, ...]:
    """What goes back to the lots that repaid, when what overdrew is lowered by more than the overdraft there is."""
    excess = max(0, lowered - books.overdraft)
    draws = []
    for lot_id, repaid in reversed(books.repayments):
        part = min(repaid, excess)
        if part:
            draws.append(Draw(lot_id, _of(part, books.terms.currency)))
            excess -= part
    return tuple(draws)


def _bought_lot(books: Books, lot_id: int, earlier: Iterable[Event]) -> LotAccount:
    if not isinstance(lot_id, int) or isinstance(lot_id, bool):
        raise WrongTypeError("lot_id", lot_id, "the version of the event that made the lot")
    events = check_events(earlier)
    lot = books.lots.get(lot_id) or _rebuilt(lot_id, events)
    if lot is None:
        raise UnknownLotError(books.ledger_id, lot_id)
    if not lot.purchased:
        raise InvalidValueError("lot_id", lot_id, "a grant; only bought funds go back to a payer")
    return lot


def _rebuilt(lot_id: int, events: Iterable[Event]) -> LotAccount | None:
    """As much of a lot whose time is over as corrections ask about, from its events."""
    lot = None
    for event in events:
        if getattr(event, "lot_id", None) != lot_id:
            continue
        if isinstance(event, FundsAdded | FundsGranted):
            purchased = isinstance(event, FundsAdded)
            lot = LotAccount(
                lot_id, event.amount._billionths, event.at, event.starts_at, event.expires_at, 0, purchased=purchased
            )
        elif lot is not None and isinstance(event, FundsRefunded):
            lot.refunded += event.amount._billionths
        elif lot is not None and isinstance(event, FundsClawedBack | FundsReinstated):
            sign = 1 if isinstance(event, FundsClawedBack) else -1
            lot.shortfall += sign * event.shortfall._billionths
            lot.clawed_back += sign * (event.amount._billionths - event.shortfall._billionths)
    return lot


def _not_given_back(lot: LotAccount) -> int:
    return lot.amount - lot.refunded - lot.clawed_back - lot.shortfall


def _check_at_most(books: Books, lot_id: int, amount: Money, at_most: int) -> None:
    if amount._billionths > at_most:
        raise ExceedsLotError(books.ledger_id, lot_id, amount, _of(at_most, books.terms.currency))
