"""What falls due with time alone: time-outs, lapses, expiries, starts and notices, each at its own instant.

A ledger records what fell due before it carries out a command; reads see it without recording it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits import charges
from commcredits.events import (
    ChargeUnresolved,
    FundsExpired,
    FundsExpiring,
    FundsLapsed,
    FundsStarted,
    HoldReleased,
    OverdraftRepaid,
)
from commcredits.lots import burn_key
from commcredits.money import _of
from commcredits.times import FAR_FUTURE, LONG_AGO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from commcredits.books import Books
    from commcredits.lots import LotAccount


def next_instant(books: Books) -> datetime:
    """The earliest instant at which something falls due; `FAR_FUTURE` if nothing ever does."""
    if books.falls_due_at == LONG_AGO or not books.falls_due_is_known:
        books.falls_due_at = min([FAR_FUTURE, *_instants(books)])
        books.falls_due_is_known = True
    return books.falls_due_at


def _instants(books: Books) -> Iterator[datetime]:
    for hold in books.holds.values():
        yield hold.expires_at
    for charge in books.charges.values():
        unresolved_at = charges.unresolved_at(charge, books.terms)
        if unresolved_at is not None:
            yield unresolved_at
    for lot in books.lots.values():
        if lot.not_started:
            yield lot.starts_at
        if lot.lapsed:
            yield books.over_at(lot)
        if lot.free and lot.expires_at is not None:
            yield lot.expires_at
            yield from (at for at in _notices(books, lot) if at > max(books.as_of, lot.starts_at))


def _notices(books: Books, lot: LotAccount) -> list[datetime]:
    """When the lot's expiry is to be announced."""
    return [] if lot.expires_at is None else [lot.expires_at - notice for notice in books.terms.expiry_notices]


def advanced(books: Books, at: datetime) -> Books:
    """Independent books on which all that falls due up to and including `at` is recorded."""
    books = books.copy()
    books.key = books.request = None
    record_due(books, at)
    return books


def record_due(books: Books, until: datetime) -> None:
    """Record all that falls due up to and including `until`, in time order; then `until` is the command's time."""
    while (instant := next_instant(books)) <= until:
        books.at = max(instant, books.as_of)
        _record_at(books, instant)
        books.falls_due_at = LONG_AGO
    books.at = until


def _record_at(books: Books, instant: datetime) -> None:
    currency = books.terms.currency
    is_new = instant > books.as_of  # else it was lived through before, and only what came back is still to be judged
    for hold in [hold for hold in books.holds.values() if hold.expires_at <= instant]:
        shown = hold.shown(currency)
        books.record(HoldReleased, hold.hold_id, shown.amount, shown.draws, "timed_out")
    for charge in list(books.charges.values()):
        unresolved_at = charges.unresolved_at(charge, books.terms)
        if unresolved_at is not None and unresolved_at <= instant:
            books.record(ChargeUnresolved, charge.charge_id, charge.amount, charge.payment_method)
    lots = sorted(books.lots.values(), key=burn_key)
    for lot in lots:
        if lot.free and lot.expires_at is not None and lot.expires_at <= instant and books.at < books.over_at(lot):
            books.record(FundsLapsed, lot.lot_id, _of(lot.free, currency))
    for lot in lots:
        if (lot.lapsed or lot.free) and books.over_at(lot) <= books.at:
            books.record(FundsExpired, lot.lot_id, _of(lot.lapsed + lot.free, currency))
    for lot in lots:
        if lot.not_started and lot.starts_at <= instant:
            books.record(FundsStarted, lot.lot_id, _of(lot.not_started, currency))
    for lot in lots:
        if is_new and lot.free and lot.starts_at < instant and instant in _notices(books, lot):
            books.record(FundsExpiring, lot.lot_id, _of(lot.free, currency), lot.expires_at)
    repay_overdraft(books)


def repay_overdraft(books: Books) -> None:
    """Let free funds repay the overdraft, in burn order; the one place where they do."""
    while books.overdraft and books.free:
        lot = books.burn.lots[0]
        books.record(OverdraftRepaid, lot.lot_id, _of(min(lot.free, books.overdraft), books.terms.currency))


def settle_returned(books: Books) -> None:
    """After funds came (back) to lots: those of lots that are over lapse or expire, the rest repay the overdraft."""
    record_due(books, books.at)
    repay_overdraft(books)
