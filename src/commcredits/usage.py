"""The commands of usage: consume at once, or hold first, then capture or release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits import recharge, schedule
from commcredits.command import Commands, check_events, check_name, check_text
from commcredits.errors import (
    HoldEndedError,
    HoldExistsError,
    InsufficientFundsError,
    InvalidValueError,
    LedgerClosedError,
    UnknownHoldError,
    WrongTypeError,
)
from commcredits.events import FundsConsumed, FundsHeld, HoldExtended, HoldReleased
from commcredits.lots import Draw, burn_key, take
from commcredits.money import Money, _of
from commcredits.policy import check_money
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from commcredits.books import Books
    from commcredits.events import Event
    from commcredits.lots import HoldAccount, LotAccount


class UsageCommands(Commands):
    """Consume, hold, extend, capture, release."""

    __slots__ = ()

    def consume(
        self,
        amount: Money,
        *,
        at: datetime,
        occurred_at: datetime | None = None,
        kind: str = "",
        description: str = "",
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Take the cost of usage off the ledger: FundsConsumed.

        Zero is accepted and recorded. Usage that happened before a lot's expiry (`occurred_at`; default: `at`) burns
        lapsed funds first, then free ones in burn order, then the overdraft allowed.

        Raises: InsufficientFundsError, with the shortfall and the recharge decision; LedgerClosedError for usage not
            from before the closing; InvalidValueError for an amount below zero or an `occurred_at` later than `at`;
            CurrencyMismatchError, WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        request = ("consume", amount, occurred_at, kind, description)
        books = self._begin(at, idempotency_key, request, closed=True)
        if amount.__class__ is not Money or amount._currency is not books.currency or amount._billionths < 0:
            _check_cost(books, amount)
        occurred = books.given_at if occurred_at is None else _occurred(books, occurred_at)
        if kind.__class__ is not str or description.__class__ is not str:
            check_text("kind", kind)
            check_text("description", description)
        if books.closed_at is not None:
            _check_before_closing(books, occurred)
        need = amount._billionths
        lots = books.burn.lots
        if lots and 0 < need <= lots[0].free and not books.lapsed:
            # The usual case, spelled out because everything that is consumed passes here.
            draws: tuple[tuple[int, Money], ...] = ((lots[0].lot_id, amount),)
            overdrawn = books.zero
        else:
            draws, overdrawn = _pay(books, need, occurred)
        books.record(FundsConsumed, amount, draws, overdrawn, occurred, kind, description, None)
        return self._end(books)

    def hold(
        self, hold_id: str, amount: Money, *, at: datetime, expires_at: datetime, idempotency_key: str | None = None
    ) -> tuple[Event, ...]:
        """Set free funds aside until `expires_at`, at most `Terms.hold_valid_for` away: FundsHeld.

        Raises: HoldExistsError; InsufficientFundsError beyond `available` (no overdraft pays for a hold);
            InvalidValueError for an expiry not after `at` or too far; and as `consume`. The ledger is as it was.
        """
        request = ("hold", hold_id, amount, expires_at)
        books = self._begin(at, idempotency_key, request)
        check_name("hold_id", hold_id)
        if hold_id in books.holds or hold_id in books.ended_holds:
            raise HoldExistsError(books.ledger_id, hold_id)
        need = self._above_zero("amount", amount)
        ends = _hold_end(books, expires_at, placed_at=books.at)
        books.record(FundsHeld, hold_id, amount, _set_aside(books, need), ends)
        return self._end(books)

    def extend_hold(
        self,
        hold_id: str,
        *,
        at: datetime,
        add: Money | None = None,
        expires_at: datetime | None = None,
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Hold `add` more, or longer, or both: HoldExtended.

        Raises: UnknownHoldError, HoldEndedError; InvalidValueError when neither is given, or for an expiry before the
            present one; and as `hold`. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("extend_hold", hold_id, add, expires_at), closed=True)
        hold = _open_hold(books, hold_id, earlier)
        if add is None and expires_at is None:
            raise InvalidValueError("add", None, "give what to add, or a new expires_at, or both")
        need = 0 if add is None else self._above_zero("add", add)
        ends = hold.expires_at
        if expires_at is not None:
            ends = _hold_end(books, expires_at, placed_at=hold.placed_at)
            if ends < hold.expires_at:
                raise InvalidValueError("expires_at", expires_at, f"before the present {hold.expires_at.isoformat()}")
        draws = () if add is None else _set_aside(books, need)
        books.record(HoldExtended, hold_id, books.zero if add is None else add, draws, ends)
        return self._end(books)

    def capture(
        self,
        hold_id: str,
        amount: Money | None = None,
        *,
        at: datetime,
        final: bool = True,
        occurred_at: datetime | None = None,
        kind: str = "",
        description: str = "",
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Consume what a hold set aside: FundsConsumed and, if `final`, HoldReleased for the rest (maybe zero).

        No amount means all that is held. The held funds go first, in burn order; what exceeds them is drawn as
        `consume` draws it, never from other holds. `final=False` keeps the hold and its rest.

        Raises: UnknownHoldError, HoldEndedError; InsufficientFundsError for an excess that `consume` would refuse,
            the hold staying open; and as `consume`. The ledger is as it was.
        """
        request = ("capture", hold_id, amount, final, occurred_at, kind, description)
        books = self._begin(at, idempotency_key, request, closed=True)
        hold = _open_hold(books, hold_id, earlier)
        held = hold.shown(self.currency)
        cost = held.amount if amount is None else amount
        _check_cost(books, cost)
        if not isinstance(final, bool):
            raise WrongTypeError("final", final, "a bool")
        occurred = books.given_at if occurred_at is None else _occurred(books, occurred_at)
        check_text("kind", kind)
        check_text("description", description)
        draws = _of_held(held.draws, cost._billionths)
        excess = max(0, cost._billionths - held.amount._billionths)
        more, overdrawn = _pay(books, excess, occurred)
        books.record(FundsConsumed, cost, (*draws, *more), overdrawn, occurred, kind, description, hold_id)
        if final:
            _release(books, hold, "captured")
        return self._end(books)

    def release(
        self, hold_id: str, *, at: datetime, earlier: Iterable[Event] = (), idempotency_key: str | None = None
    ) -> tuple[Event, ...]:
        """Give a hold's funds back to the very lots they came from: HoldReleased.

        What belongs to a lot that expired meanwhile lapses while its grace runs, else expires at once.

        Raises: UnknownHoldError, HoldEndedError; and as `consume`. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("release", hold_id), closed=True)
        _release(books, _open_hold(books, hold_id, earlier), "released")
        return self._end(books)


def _check_cost(books: Books, amount: object) -> None:
    if check_money("amount", amount, books.terms.currency)._billionths < 0:
        raise InvalidValueError("amount", amount, "must not be below zero")


def _occurred(books: Books, occurred_at: datetime) -> datetime:
    occurred = utc(occurred_at, "occurred_at")
    if occurred > books.given_at:
        raise InvalidValueError("occurred_at", occurred_at, f"later than at, {books.given_at.isoformat()}")
    return occurred


def _check_before_closing(books: Books, occurred: datetime) -> None:
    if occurred >= books.closed_at:  # type: ignore[operator]  # the caller knows that it is closed
        raise LedgerClosedError(books.ledger_id, books.closed_at)  # type: ignore[arg-type]


def _pay(books: Books, need: int, occurred: datetime) -> tuple[tuple[Draw, ...], Money]:
    """Draws that cover `need` billionths, lapsed funds first, and what is overdrawn beyond them."""
    currency = books.terms.currency
    open_lots = _open_to_late_usage(books, occurred) if books.lapsed else []
    limit = books.terms.overdraft_limit
    if limit is not None and need:
        at_most = books.available + limit._billionths + sum(lot.lapsed for lot in open_lots)
        if need > at_most:
            raise _insufficient(books, need, need - at_most)
    late = take(open_lots, "lapsed", need, currency)
    rest = need - sum(draw.amount._billionths for draw in late)
    free = take(books.burn.lots, "free", rest, currency)
    overdrawn = rest - sum(draw.amount._billionths for draw in free)
    return (*late, *free), _of(overdrawn, currency) if overdrawn else books.zero


def _open_to_late_usage(books: Books, occurred: datetime) -> list[LotAccount]:
    """The lots whose lapsed funds usage may burn that happened before their expiry, in burn order."""
    lots = [lot for lot in books.lots.values() if lot.lapsed and lot.expires_at and occurred < lot.expires_at]
    return sorted(lots, key=burn_key)


def _insufficient(books: Books, need: int, shortfall: int) -> InsufficientFundsError:
    decision = recharge_if_refused(books, need)
    currency = books.terms.currency
    return InsufficientFundsError(books.ledger_id, _of(need, currency), _of(shortfall, currency), decision)


def recharge_if_refused(books: Books, need: int) -> recharge.RechargeDecision:
    """The recharge decision, for a policy with `recharge_when_refused` as if what was refused had been consumed."""
    hypothetical = books.policy is not None and books.policy.recharge_when_refused
    return recharge.decide(books, books.at, refused=need if hypothetical else 0)


def _set_aside(books: Books, need: int) -> tuple[Draw, ...]:
    if need > books.available:
        raise _insufficient(books, need, need - books.available)
    return tuple(take(books.burn.lots, "free", need, books.terms.currency))


def _hold_end(books: Books, expires_at: datetime, *, placed_at: datetime) -> datetime:
    ends = utc(expires_at, "expires_at")
    longest = books.terms.hold_valid_for
    if ends <= books.at:
        raise InvalidValueError("expires_at", expires_at, f"not after at, {books.at.isoformat()}")
    if longest is not None and ends > placed_at + longest:
        raise InvalidValueError(
            "expires_at", expires_at, f"a hold lasts at most {longest} from {placed_at.isoformat()}"
        )
    return ends


def _open_hold(books: Books, hold_id: str, earlier: Iterable[Event]) -> HoldAccount:
    check_name("hold_id", hold_id)
    events = check_events(earlier)
    if hold_id in books.holds:
        return books.holds[hold_id]
    if hold_id in books.ended_holds:
        raise HoldEndedError(books.ledger_id, hold_id, *books.ended_holds[hold_id])
    for event in events:
        if isinstance(event, HoldReleased) and event.hold_id == hold_id:
            raise HoldEndedError(books.ledger_id, hold_id, event.reason, event.at)
    raise UnknownHoldError(books.ledger_id, hold_id)


def _of_held(held: Sequence[Draw], need: int) -> list[Draw]:
    draws = []
    for lot_id, money in held:
        taken = min(need, money._billionths)
        if taken:
            draws.append(Draw(lot_id, _of(taken, money.currency)))
            need -= taken
    return draws


def _release(books: Books, hold: HoldAccount, reason: str) -> None:
    rest = hold.shown(books.terms.currency)
    books.record(HoldReleased, hold.hold_id, rest.amount, rest.draws, reason)
    schedule.settle_returned(books)
