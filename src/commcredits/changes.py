"""How each event changes the books of its ledger.

`apply` is the only writer of a ledger's state and checks no rule, so history replays under any rules.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from commcredits import charges
from commcredits import events as e
from commcredits.lots import Draw, HoldAccount, LotAccount
from commcredits.money import Money, _of
from commcredits.times import FAR_FUTURE, LONG_AGO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from commcredits.books import Books

_ENDED_HOLDS_KEPT = 100
_REVERSALS_KEPT_FOR = timedelta(days=400)
_ENDED_CHARGES_KEPT_FOR = timedelta(days=32)
"""Longer than every window of a RechargeLimit, so that a late payment still counts in the window of its request."""


def apply(books: Books, event: e.Event) -> None:
    """Change the books by one event."""
    books.version = event._version
    as_of = books.as_of = event._at
    _APPLY[event.__class__](books, event)
    if as_of >= books.empty_until:
        _drop_lots_over(books)


def _move(books: Books, lot: LotAccount, source: str, target: str, amount: int) -> None:
    """Move some of a lot's funds from one of its parts to another, in the lot and in the ledger's sums."""
    for holder in (lot, books):
        setattr(holder, source, getattr(holder, source) - amount)
        setattr(holder, target, getattr(holder, target) + amount)
    if source == "free" and not lot.free:
        books.burn.remove(lot)
    elif target == "free" and lot.free == amount:
        books.burn.add(lot)
    if lot.is_empty:
        books.empty_until = min(books.empty_until, books.over_at(lot))
    if target in ("free", "lapsed"):
        books.falls_due_at = LONG_AGO
    else:  # what is gone no longer falls due: nothing comes nearer
        books.falls_due_is_known = False


def _drop_lots_over(books: Books) -> None:
    for lot in [lot for lot in books.lots.values() if lot.is_empty and books.over_at(lot) <= books.as_of]:
        del books.lots[lot.lot_id]
    books.empty_until = min((books.over_at(lot) for lot in books.lots.values() if lot.is_empty), default=FAR_FUTURE)
    repayments, books.repayments = books.repayments, []
    for lot_id, amount in repayments:
        _note_repayment(books, lot_id if lot_id in books.lots else 0, amount)


def _note_repayment(books: Books, lot_id: int, amount: int) -> None:
    """Put a repayment on top of the earlier ones, or to the top one if that is of the same lot."""
    if books.repayments and books.repayments[-1][0] == lot_id:
        amount += books.repayments.pop()[1]
    books.repayments.append((lot_id, amount))


def _fund(books: Books, event: e.FundsAdded | e.FundsGranted, priority: int, *, purchased: bool) -> None:
    amount = event.amount._billionths
    lot = LotAccount(event.lot_id, amount, event.at, event.starts_at, event.expires_at, priority, purchased=purchased)
    books.lots[lot.lot_id] = lot
    books.funded += amount
    if lot.starts_at > event.at:
        lot.not_started = amount
        books.not_started += amount
    else:
        lot.free = amount
        books.free += amount
        books.burn.add(lot)
    books.falls_due_at = LONG_AGO


def _added(books: Books, event: e.FundsAdded) -> None:
    _fund(books, event, 0, purchased=True)


def _granted(books: Books, event: e.FundsGranted) -> None:
    _fund(books, event, event.priority, purchased=False)


def _moves(source: str, target: str) -> Callable[[Books, Any], None]:
    def move(books: Books, event: e.FundsStarted | e.FundsLapsed | e.FundsRefunded) -> None:
        _move(books, books.lot(event.lot_id), source, target, event.amount._billionths)

    return move


def _expired(books: Books, event: e.FundsExpired) -> None:
    lot = books.lot(event.lot_id)
    lapsed = min(lot.lapsed, event.amount._billionths)
    for part, amount in (("lapsed", lapsed), ("free", event.amount._billionths - lapsed)):
        if amount:
            _move(books, lot, part, "expired", amount)


def _repaid(books: Books, event: e.OverdraftRepaid) -> None:
    amount = event.amount._billionths
    _move(books, books.lot(event.lot_id), "free", "repaid", amount)
    books.overdraft -= amount
    _note_repayment(books, event.lot_id, amount)


def _consumed(books: Books, event: e.FundsConsumed) -> None:
    values = event._values
    draws, overdrawn, hold_id = values[1], values[2], values[6]
    if hold_id is not None:
        draws = _take_held(books, books.holds[hold_id], draws)
    for lot_id, money in draws:
        lot = books.lots[lot_id]
        amount = money._billionths
        if lot.lapsed or lot.free == amount:
            _move(books, lot, "lapsed" if lot.lapsed else "free", "drawn", amount)
        else:  # the usual case, spelled out because it is the hottest line of the library
            lot.free -= amount
            lot.drawn += amount
            books.free -= amount
            books.drawn += amount
    if overdrawn._billionths:
        books.overdrawn += overdrawn._billionths
        books.overdraft += overdrawn._billionths


def _take_held(books: Books, hold: HoldAccount, draws: Iterable[Draw]) -> list[Draw]:
    """Take from the hold what it holds of each draw; the draws on free funds that are left."""
    left = []
    for lot_id, money in draws:
        held = min(hold.draws.get(lot_id, 0), money._billionths)
        if held:
            _move(books, books.lots[lot_id], "held", "drawn", held)
            _shrink(hold, lot_id, held)
        if money._billionths > held:
            left.append(Draw(lot_id, _of(money._billionths - held, money.currency)))
    return left


def _shrink(hold: HoldAccount, lot_id: int, amount: int) -> None:
    hold.draws[lot_id] -= amount
    if not hold.draws[lot_id]:
        del hold.draws[lot_id]


def _reversed(books: Books, event: e.ConsumptionReversed) -> None:
    _lower_overdraft(books, "overdrawn", event.overdrawn, event.unrepaid)
    for draw in event.draws:
        _move(books, books.lot(draw.lot_id), "drawn", "free", draw.amount._billionths)
    # The latest stands last, so that the oldest are dropped from the front.
    before, _ = books.reversed.pop(event.consumption, (0, event.at))
    books.reversed[event.consumption] = (before + event.amount._billionths, event.at)
    until = event.at - _REVERSALS_KEPT_FOR
    for usage, _ in list(takewhile(lambda item: item[1][1] <= until, books.reversed.items())):
        del books.reversed[usage]


def _lower_overdraft(books: Books, cause: str, money: Money, unrepaid: tuple[Draw, ...]) -> None:
    """Undo what overdrew ("overdrawn" or "shortfall"); what had been repaid of it goes back to its lots."""
    setattr(books, cause, getattr(books, cause) - money._billionths)
    books.overdraft -= money._billionths
    for draw in unrepaid:
        amount = draw.amount._billionths
        books.overdraft += amount
        _move(books, books.lot(draw.lot_id), "repaid", "free", amount)
        lot_id, repaid = books.repayments.pop()
        if repaid > amount:
            books.repayments.append((lot_id, repaid - amount))


def _clawed_back(books: Books, event: e.FundsClawedBack) -> None:
    shortfall = event.shortfall._billionths
    taken = event.amount._billionths - shortfall
    if taken:
        _move(books, books.lot(event.lot_id), "free", "clawed_back", taken)
    if event.lot_id in books.lots:
        books.lots[event.lot_id].shortfall += shortfall
    books.shortfall += shortfall
    books.overdraft += shortfall


def _reinstated(books: Books, event: e.FundsReinstated) -> None:
    returned = event.amount._billionths - event.shortfall._billionths
    _lower_overdraft(books, "shortfall", event.shortfall, event.unrepaid)
    if event.lot_id in books.lots:
        books.lots[event.lot_id].shortfall -= event.shortfall._billionths
    if returned:
        _move(books, books.lot(event.lot_id), "clawed_back", "free", returned)


def _held(books: Books, event: e.FundsHeld) -> None:
    books.holds[event.hold_id] = HoldAccount(event.hold_id, {}, event.at, event.expires_at)
    _hold_more(books, event)


def _hold_more(books: Books, event: e.FundsHeld | e.HoldExtended) -> None:
    hold = books.holds[event.hold_id]
    hold.expires_at = event.expires_at
    for draw in event.draws:
        _move(books, books.lots[draw.lot_id], "free", "held", draw.amount._billionths)
        hold.draws[draw.lot_id] = hold.draws.get(draw.lot_id, 0) + draw.amount._billionths
    hold.draws = dict(sorted(hold.draws.items(), key=lambda item: books.lots[item[0]].order))
    books.falls_due_at = LONG_AGO


def _released(books: Books, event: e.HoldReleased) -> None:
    for draw in event.draws:
        _move(books, books.lots[draw.lot_id], "held", "free", draw.amount._billionths)
    del books.holds[event.hold_id]
    books.falls_due_is_known = False
    books.ended_holds[event.hold_id] = (event.reason, event.at)
    if len(books.ended_holds) > _ENDED_HOLDS_KEPT:
        del books.ended_holds[next(iter(books.ended_holds))]


def _charged(books: Books, event: Any) -> None:
    if isinstance(event, e.ChargeRequested):
        charge = charges.requested(books.ledger_id, event)
        _forget_ended_charges(books, books.as_of - _ENDED_CHARGES_KEPT_FOR)
    else:
        known = books.charge(event.charge_id)
        if known is None:
            return  # ended long ago, and paid late
        charge = charges.moved(known, event)
    if charge.is_pending:
        books.charges[charge.charge_id] = charge
    else:
        books.charges.pop(charge.charge_id, None)
        books.ended_charges[charge.charge_id] = charge
    books.recount_charges()
    books.falls_due_at = LONG_AGO


def _forget_ended_charges(books: Books, until: datetime) -> None:
    """Drop those requested not after `until`, from the front: they stand in the order in which they ended."""
    over = takewhile(lambda charge: charge.requested_at <= until, books.ended_charges.values())
    for charge in list(over):
        del books.ended_charges[charge.charge_id]


def _declined(books: Books, event: e.ChargeDeclined) -> None:
    _charged(books, event)
    charge = books.ended_charges.get(event.charge_id)
    if charge is not None and (event.retry_at is not None or event.given_up):
        books.failures[event.payment_method] = (charge.attempt, event.retry_at)


def _paid(books: Books, event: e.ChargePaid) -> None:
    _charged(books, event)
    books.failures.pop(event.payment_method, None)


def _configured(books: Books, event: e.AutoRechargeConfigured) -> None:
    books.policy = event.policy
    books.watch()


def _disabled(books: Books, _: e.AutoRechargeDisabled) -> None:
    books.policy = None
    books.watch()


def _suspended(books: Books, event: e.AutoRechargeSuspended) -> None:
    books.suspended = event.reason


def _resumed(books: Books, event: e.AutoRechargeResumed) -> None:
    books.suspended = None
    if event.reason != "paid":
        books.failures = {}


def _methods_changed(books: Books, event: e.PaymentMethodsChanged) -> None:
    books.payment_methods = event.payment_methods
    books.failures = {}


def _limit_reached(books: Books, event: e.RechargeLimitReached) -> None:
    still = tuple((limit, until) for limit, until in books.limits_reached if until > event.at)
    books.limits_reached = (*still, (event.limit, event.until))


def _terms_changed(books: Books, event: e.TermsChanged) -> None:
    books.terms = event.terms
    books.falls_due_at = books.empty_until = LONG_AGO
    books.watch()


def _closed(books: Books, event: e.LedgerClosed) -> None:
    books.closed_at = event.at


def _depleted(books: Books, event: e.BalanceDepleted | e.BalanceRestored) -> None:
    books.depleted = isinstance(event, e.BalanceDepleted)


def _nothing(books: Books, event: e.Event) -> None:
    pass


_APPLY: dict[type[e.Event], Callable[[Books, Any], None]] = {
    e.TermsChanged: _terms_changed,
    e.PaymentMethodsChanged: _methods_changed,
    e.LedgerClosed: _closed,
    e.FundsAdded: _added,
    e.FundsGranted: _granted,
    e.FundsStarted: _moves("not_started", "free"),
    e.FundsLapsed: _moves("free", "lapsed"),
    e.FundsExpiring: _nothing,
    e.FundsExpired: _expired,
    e.OverdraftRepaid: _repaid,
    e.FundsConsumed: _consumed,
    e.ConsumptionReversed: _reversed,
    e.FundsRefunded: _moves("free", "refunded"),
    e.FundsClawedBack: _clawed_back,
    e.FundsReinstated: _reinstated,
    e.FundsHeld: _held,
    e.HoldExtended: _hold_more,
    e.HoldReleased: _released,
    e.ChargeRequested: _charged,
    e.ChargeTried: _charged,
    e.ChargeProcessing: _charged,
    e.ChargePaid: _paid,
    e.ChargeDeclined: _declined,
    e.ChargeWithdrawn: _charged,
    e.ChargeUnresolved: _charged,
    e.AutoRechargeConfigured: _configured,
    e.AutoRechargeDisabled: _disabled,
    e.AutoRechargeSuspended: _suspended,
    e.AutoRechargeResumed: _resumed,
    e.RechargeLimitReached: _limit_reached,
    e.BalanceDepleted: _depleted,
    e.BalanceRestored: _depleted,
    e.AlertRaised: _nothing,
}
