"""The ledger: one customer's prepaid balance, and the commands that decide about it.

No clock, no randomness, no I/O: time is handed in, and a command returns the events it recorded, for the caller to
store. A command that raises has changed nothing. Commands decide; `commcredits.changes` alone writes state and checks
no rule, so a history replays whatever the rules have become.

Automatic recharge is off, on or suspended; see `commcredits.recharge` for when it charges, and `commcredits.charges`
for the life of a charge.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from commcredits import recharge, schedule
from commcredits.books import Books
from commcredits.changes import apply
from commcredits.charging import (
    ChargeCommands,
    check_payment_methods,
    record_funds,
    withdraw_edited,
    withdraw_untried,
)
from commcredits.command import check_name, check_text, suspend
from commcredits.corrections import CorrectionCommands
from commcredits.errors import (
    CurrencyMismatchError,
    InvalidValueError,
    OpenHoldsError,
    UnreadableRecordError,
    WrongTypeError,
)
from commcredits.events import Event, FundsGranted, LedgerClosed, LedgerOpened, TermsChanged, note_balance
from commcredits.policy import Terms
from commcredits.state import LedgerState
from commcredits.times import utc
from commcredits.usage import UsageCommands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from commcredits.money import Money


_PRIORITY_MAX = 1_000_000


class Ledger(UsageCommands, ChargeCommands, CorrectionCommands):
    """One customer's prepaid balance in one currency.

    Made by `open`, `replay` or `restore`. Every command takes `at`, when it happens, and `idempotency_key`, which the
    ledger only writes on the event: doing a command once is the service's part. Equal to a ledger in the same state.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]  # it changes

    def __init__(self, books: Books) -> None:
        self._books = books

    @classmethod
    def open(
        cls, ledger_id: str, terms: Terms, *, at: datetime, payment_methods: Iterable[str] = ("default",)
    ) -> Ledger:
        """A new ledger; its first event is `opened`.

        Raises: WrongTypeError, InvalidValueError for an id that does not have 1 to 200 characters, payment methods
            that are not distinct names, or a time that is naive.
        """
        check_name("ledger_id", ledger_id)
        if not isinstance(terms, Terms):
            raise WrongTypeError("terms", terms, "Terms")
        if isinstance(payment_methods, str) or not isinstance(payment_methods, Iterable):
            raise WrongTypeError("payment_methods", payment_methods, "an iterable of names")
        methods = tuple(payment_methods)
        check_payment_methods(methods)
        opened = LedgerOpened(version=1, at=utc(at, "at"), ledger_id=ledger_id, terms=terms, payment_methods=methods)
        note_balance(opened, 0)
        return cls(Books.opened(opened))

    @classmethod
    def replay(cls, events: Iterable[Event], until: datetime | None = None) -> Ledger:
        """The ledger that these events made, from the first on; with `until`, as it was then.

        Raises: UnreadableRecordError when the first is no LedgerOpened or a version is missing.
        """
        moment = None if until is None else utc(until, "until")
        history = takewhile(lambda event: moment is None or event.at <= moment, in_order(events))
        return cls(_applied(books_of(next(history, None)), history))

    @classmethod
    def restore(cls, state: LedgerState, events: Iterable[Event] = ()) -> Ledger:
        """The ledger of a state, and of the events that came after it.

        Raises: UnreadableRecordError when a version is missing.
        """
        if not isinstance(state, LedgerState):
            raise WrongTypeError("state", state, "a LedgerState")
        return cls(_applied(state._books.copy(), in_order(events, after_version=state.version)))

    def state(self) -> LedgerState:
        """What it is now, frozen."""
        return LedgerState(self._books.copy())

    def add_funds(
        self, amount: Money, *, at: datetime, reference: str = "", idempotency_key: str | None = None
    ) -> tuple[Event, ...]:
        """Put money on the ledger that was already received: FundsAdded; it is there at once and repays an overdraft.

        Raises: InvalidValueError for an amount not above zero; LedgerClosedError, CurrencyMismatchError,
            WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("add_funds", amount, reference))
        self._above_zero("amount", amount)
        record_funds(books, amount, charge_id=None, reference=check_text("reference", reference))
        schedule.settle_returned(books)
        return self._end(books)

    def grant(
        self,
        amount: Money,
        *,
        at: datetime,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Give funds nobody paid for: FundsGranted; spendable from `starts_at` (default: now), for ever by default.

        Lower priorities burn first; bought funds have priority 0.

        Raises: InvalidValueError for an amount not above zero, a start before `at` or an expiry not after the start;
            LedgerClosedError, CurrencyMismatchError, WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("grant", amount, starts_at, expires_at, priority))
        self._above_zero("amount", amount)
        starts = books.at
        if starts_at is not None:
            starts = utc(starts_at, "starts_at")
            if starts < books.given_at:
                raise InvalidValueError("starts_at", starts_at, f"before at, {books.given_at.isoformat()}")
            starts = max(starts, books.at)
        expires = None if expires_at is None else utc(expires_at, "expires_at")
        if expires is not None and expires <= starts:
            raise InvalidValueError("expires_at", expires_at, f"not after the start, {starts.isoformat()}")
        if not isinstance(priority, int) or isinstance(priority, bool):
            raise WrongTypeError("priority", priority, "a whole number")
        if abs(priority) > _PRIORITY_MAX:
            raise InvalidValueError("priority", priority, f"beyond {_PRIORITY_MAX}")
        books.record(FundsGranted, books.version + 1, amount, starts, expires, priority)
        schedule.settle_returned(books)
        return self._end(books)

    def change_terms(self, terms: Terms, *, at: datetime, idempotency_key: str | None = None) -> tuple[Event, ...]:
        """Keep the ledger under other terms from now on: TermsChanged; expiries already given stay.

        The same terms again record nothing. An automatic charge not yet tried is withdrawn and decided anew.

        Raises: CurrencyMismatchError for another currency; InvalidValueError when the recharge policy does not fit
            them; WrongTypeError, LedgerClosedError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("change_terms", terms))
        if not isinstance(terms, Terms):
            raise WrongTypeError("terms", terms, "Terms")
        if terms.currency != self.currency:
            raise CurrencyMismatchError(self.currency, terms.currency)
        if books.policy is not None:
            recharge.check_fits(books.policy, terms)
        new_alerts = [
            threshold for threshold in terms.alert_thresholds if threshold not in books.terms.alert_thresholds
        ]
        if terms != books.terms:
            books.record(TermsChanged, terms)
            withdraw_edited(books)
            schedule.settle_returned(books)
        return self._end(books, new_alerts=new_alerts)

    def advance(self, *, at: datetime, idempotency_key: str | None = None) -> tuple[Event, ...]:
        """Record what fell due until `at`, tell what is to be told, and request a recharge if one is due.

        Raises: TimeRunsBackError; WrongTypeError, InvalidValueError for what is no aware datetime. The ledger is as it
            was.
        """
        return self._end(self._begin(at, idempotency_key, ("advance",), closed=True))

    def close(self, *, at: datetime, idempotency_key: str | None = None) -> tuple[Event, ...]:
        """Take no new funds and no new usage from now on: LedgerClosed.

        Charges not yet tried are withdrawn, automatic recharge is suspended. Late usage from before, outcomes of
        charges, reversals, refunds and claw-backs remain, and expiry goes on.

        Raises: OpenHoldsError; LedgerClosedError when it is closed; TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("close",))
        if books.holds:
            raise OpenHoldsError(books.ledger_id, tuple(books.holds))
        books.record(LedgerClosed)
        withdraw_untried(books, "closed")
        suspend(books, "closed")
        return self._end(books)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ledger):
            return NotImplemented
        return self._books.kept() == other._books.kept()

    def __copy__(self) -> Ledger:
        return Ledger(self._books.copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> Ledger:
        return self.__copy__()

    def __repr__(self) -> str:
        return f"<Ledger {self.ledger_id!r} version {self.version} as of {self.as_of.isoformat()}: {self.balance}>"


def in_order(events: Iterable[Event], *, after_version: int = 0) -> Iterator[Event]:
    """The events, each checked when it is asked for to be the one that comes next.

    Raises: WrongTypeError; UnreadableRecordError for what is no event, or another version than the next.
    """
    if not isinstance(events, Iterable):
        raise WrongTypeError("events", events, "an iterable of events")
    version = after_version
    for event in events:
        if not isinstance(event, Event):
            raise UnreadableRecordError(event, "no event")
        version += 1
        if event._version != version or (event.__class__ is LedgerOpened and version > 1):
            raise UnreadableRecordError(event, f"version {version} comes next, not {event.version}")
        yield event


def books_of(opened: Event | None) -> Books:
    """The books that the first event of a history opens.

    Raises: UnreadableRecordError when it is no LedgerOpened.
    """
    if not isinstance(opened, LedgerOpened):
        raise UnreadableRecordError(opened, "a history begins with LedgerOpened")
    return Books.opened(opened)


def _applied(books: Books, events: Iterable[Event]) -> Books:
    for event in events:
        apply(books, event)
    books.told = (books.available, books.available + books.held)
    return books
