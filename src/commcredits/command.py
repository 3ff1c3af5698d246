"""What every command of a ledger does: it begins, decides, records what follows, and ends.

A command works on `Books` and the ledger takes them over only at its end, so one that raises has changed nothing: where
something fell due first, the books are a copy; otherwise they are the ledger's own, and nothing is recorded on them
before all rules have been checked. At the end what is to be told and whether to recharge are evaluated, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from commcredits import recharge, schedule
from commcredits.charges import charge_id
from commcredits.errors import InvalidValueError, LedgerClosedError, TimeRunsBackError, WrongTypeError
from commcredits.events import (
    AlertRaised,
    AutoRechargeSuspended,
    BalanceDepleted,
    BalanceRestored,
    ChargeRequested,
    ChargeWithdrawn,
    Event,
    RechargeLimitReached,
)
from commcredits.money import Money, _of
from commcredits.policy import check_money
from commcredits.state import LedgerReads
from commcredits.times import utc

if TYPE_CHECKING:
    from commcredits.books import Books
    from commcredits.policy import Threshold
    from commcredits.recharge import RechargeDecision


NAME_LENGTH_MAX = 200
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def check_name(parameter: str, value: object) -> str:
    """`value`, if it is a string of 1 to 200 characters, none of them NUL or half of a surrogate pair.

    Raises: WrongTypeError, InvalidValueError.
    """
    if not isinstance(value, str):
        raise WrongTypeError(parameter, value, "a string")
    if not 1 <= len(value) <= NAME_LENGTH_MAX:
        raise InvalidValueError(parameter, value, f"must have 1 to {NAME_LENGTH_MAX} characters")
    if not value.isprintable() and _NO_TEXT.search(value):
        raise InvalidValueError(parameter, value, "has a character that databases cannot keep")
    return value


def check_text(parameter: str, value: object) -> str:
    """`value`, if it is a string.

    Raises: WrongTypeError.
    """
    if not isinstance(value, str):
        raise WrongTypeError(parameter, value, "a string")
    return value


def check_events(earlier: Iterable[Event]) -> tuple[Event, ...]:
    """The earlier events handed in, if they are events.

    Raises: WrongTypeError.
    """
    if not isinstance(earlier, Iterable):
        raise WrongTypeError("earlier", earlier, "an iterable of events")
    events = tuple(earlier)
    for event in events:
        if not isinstance(event, Event):
            raise WrongTypeError("earlier", event, "an event")
    return events


class Commands(LedgerReads):
    """The common ground of all commands."""

    __slots__ = ()

    def _begin(self, at: datetime, key: str | None, request: tuple[Any, ...], *, closed: bool = False) -> Books:
        """The books to work on, what fell due until `at` recorded; `closed`: closed ledgers take the command too."""
        books = self._books
        given_at = at
        if at.__class__ is not datetime or at.tzinfo is not UTC or not books.as_of <= at < books.falls_due_at:
            books, at, given_at = self._prepared(at)
        if key is not None and (
            key.__class__ is not str or not 0 < len(key) <= NAME_LENGTH_MAX or not key.isprintable()
        ):
            check_name("idempotency_key", key)
        if books.closed_at is not None and not closed:
            raise LedgerClosedError(books.ledger_id, books.closed_at)
        books.at = at
        books.given_at = given_at
        books.key = key
        books.request = None if key is None else request
        return books

    def _prepared(self, at: datetime) -> tuple[Books, datetime, datetime]:
        """The books with what fell due until `at` recorded, the time of the command, and that time as given, in UTC."""
        books = self._books
        given_at = at = utc(at, "at")
        if at < books.as_of:
            if books.as_of - at > books.terms.clock_skew:
                raise TimeRunsBackError(at, books.as_of)
            at = books.as_of
        if at >= schedule.next_instant(books):
            books = schedule.advanced(books, at)
        return books, at, given_at

    def _end(self, books: Books, *, new_alerts: Iterable[Threshold] = ()) -> tuple[Event, ...]:
        """Evaluate what follows from the command, take its books over, and return what it recorded."""
        if books.free - books.overdraft < books.watch_level or books.automatic is not None or books.depleted:
            _tell(books, new_alerts)
            _evaluate_recharge(books)
            books.told = (books.available, books.available + books.held)
        else:
            books.told = None
        self._books = books
        recorded, books.recorded = books.recorded, ()
        return recorded

    def _above_zero(self, parameter: str, amount: Money) -> int:
        """The billionths of a command's amount."""
        if check_money(parameter, amount, self.currency)._billionths <= 0:
            raise InvalidValueError(parameter, amount, "must be above zero")
        return amount._billionths


def _tell(books: Books, new_alerts: Iterable[Threshold]) -> None:
    """Record what the customer is to be told of the balance, judged from before the command to now."""
    available = _of(books.available, books.terms.currency)
    balance = _of(books.available + books.held, books.terms.currency)
    available_before, balance_before = books.told or (books.watch_level, books.watch_level)
    if balance._billionths <= 0 < balance_before:
        books.record(BalanceDepleted, balance)
    elif books.depleted and balance._billionths > 0:
        books.record(BalanceRestored, balance)
    for threshold in books.terms.alert_thresholds:
        was_clear = threshold in new_alerts or available_before >= threshold.clear_from
        if was_clear and threshold.is_crossed_by(available):
            books.record(AlertRaised, threshold, available)


def _evaluate_recharge(books: Books) -> None:
    """Withdraw an untried charge that is no longer wanted; request, suspend or note a limit as the decision says."""
    charge = books.automatic
    if charge is not None:
        unwanted = recharge.unwanted_reason(books, charge, books.at)
        if unwanted is not None:
            books.record(ChargeWithdrawn, charge.charge_id, unwanted)
    request_if_due(books, recharge.decide(books, books.at))


def request_if_due(books: Books, decision: RechargeDecision, refused: Money | None = None) -> None:
    """Record what follows from a decision: a charge, a suspension, a limit reached, or nothing."""
    if decision.due:
        request_charge(books, decision.amount, decision.payment_method, "recharge", decision.attempt, "", refused)
    elif decision.reason == "suspended" and books.suspended is None:
        books.record(AutoRechargeSuspended, decision.why)
    elif decision.limit is not None and (decision.limit, decision.until) not in books.limits_reached:
        books.record(RechargeLimitReached, decision.limit, decision.amount, decision.until)


def request_charge(books: Books, *values: Any) -> None:
    """Record the intent of a charge: its amount, payment method, purpose, attempt, reference and refused usage."""
    books.record(ChargeRequested, charge_id(books.ledger_id, books.version + 1, books.at), *values)


def suspend(books: Books, reason: str) -> None:
    """Suspend automatic recharge, if it is on and not suspended; `_end` withdraws a charge not yet tried."""
    if books.policy is not None and books.suspended is None:
        books.record(AutoRechargeSuspended, reason)
