"""Accounting: each event as balanced postings of double-entry book-keeping, and their text for plain-text accounting.

Funds bought are a liability (deferred revenue) until usage or forfeiture makes them revenue, as IFRS 15
(B44 to B47) and ASC 606-10-55-46 to 49 have it for prepayments and breakage. Breakage is revenue when the funds are
forfeited here, never estimated before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import attrs
from dateutil.relativedelta import relativedelta

from commcredits import events as e
from commcredits.changes import apply
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.ledger import books_of, in_order
from commcredits.money import Money, _of
from commcredits.tables import Table, decimals
from commcredits.times import zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    from commcredits.books import Books
    from commcredits.events import Event

__all__ = [
    "Account",
    "ChartOfAccounts",
    "Entry",
    "Posting",
    "RevenueMonth",
    "RevenueTable",
    "journal",
    "to_beancount",
    "to_ledger",
    "trial_balance",
]

Account = Literal[
    "payment_provider",
    "bank",
    "refunds",
    "charge_backs",
    "overdraft",
    "prepaid",
    "lapsed",
    "not_started",
    "usage",
    "breakage",
    "promotions",
]


class Posting(NamedTuple):
    """One side of an entry: `amount` above zero is a debit, below zero a credit."""

    account: Account
    amount: Money


@attrs.frozen(order=False)
class Entry:
    """One event of a ledger, and its postings, which add up to zero."""

    ledger_id: str
    event: Event
    postings: tuple[Posting, ...]


@attrs.frozen(order=False, kw_only=True)
class ChartOfAccounts:
    """What the accounts are called, from the kind of account down to it, with colons between; two may share a name.

    Attributes:
        payment_provider: cash at the payment provider: what charges brought.
        bank: cash received otherwise: what was put on ledgers by `add_funds`.
        refunds: what went back to payers; a part of cash, below zero.
        charge_backs: what banks took back, until they reinstate it; likewise.
        overdraft: what customers owe: consumed or clawed back beyond all funds.
        prepaid: what is owed to customers: funds that can be spent or are held. Less `overdraft` it is the balance.
        lapsed: prepaid, past its expiry, and still open to late usage.
        not_started: granted, and not yet spendable.
        usage: revenue of what was consumed.
        breakage: revenue of bought funds that were forfeited.
        promotions: the cost of grants, less those that were forfeited.

    Raises: WrongTypeError, InvalidValueError for what is no name of an account.
    """

    payment_provider: str = "Assets:PaymentProvider"
    bank: str = "Assets:Bank"
    refunds: str = "Assets:PaymentProvider:Refunds"
    charge_backs: str = "Assets:PaymentProvider:ChargeBacks"
    overdraft: str = "Assets:Overdraft"
    prepaid: str = "Liabilities:Prepaid"
    lapsed: str = "Liabilities:Prepaid:Lapsed"
    not_started: str = "Liabilities:Prepaid:NotStarted"
    usage: str = "Income:Usage"
    breakage: str = "Income:Breakage"
    promotions: str = "Expenses:Promotions"

    def __attrs_post_init__(self) -> None:
        for account in get_args(Account):
            name = getattr(self, account)
            if not isinstance(name, str):
                raise WrongTypeError(account, name, "the name of an account")
            if not _NAME.fullmatch(name) or not name.isprintable():
                raise InvalidValueError(account, name, "not words with colons or single spaces between")

    def __getitem__(self, account: Account) -> str:
        name: str = getattr(self, account)
        return name


_NAME = re.compile(r"\w[^\s:;()\[\]]*(?:[: ]\w[^\s:;()\[\]]*)*")
_BEANCOUNT_ROOTS = ("Assets", "Liabilities", "Equity", "Income", "Expenses")


def journal(events: Iterable[Event]) -> Iterator[Entry]:
    """The entries of a ledger's history from its first event on, one for each event that moves money.

    What a grant forfeits lowers the cost of promotions; so only bought funds make breakage.

    Raises: UnreadableRecordError, while iterating, when the history does not begin with LedgerOpened or a version is
        missing.
    """
    history = in_order(events)
    books = books_of(next(history, None))
    granted: set[int] = set()
    for event in history:
        if isinstance(event, e.FundsGranted):
            granted.add(event.lot_id)
        before = _sums(books)
        apply(books, event)
        sides = zip(_accounts(event, granted), before, _sums(books), strict=True)
        postings = [Posting(account, _of(now - then, books.currency)) for account, then, now in sides if now != then]
        if postings:
            yield Entry(books.ledger_id, event, tuple(postings))


def _accounts(event: Event, granted: set[int]) -> tuple[Account, ...]:
    """The account of each of `_sums`, of which the event decides the first and the third."""
    if isinstance(event, e.FundsGranted):
        source: Account = "promotions"
    else:
        source = "bank" if getattr(event, "charge_id", None) is None else "payment_provider"
    forfeited: Account = "promotions" if getattr(event, "lot_id", None) in granted else "breakage"
    return source, "usage", forfeited, "refunds", "charge_backs", "prepaid", "lapsed", "not_started", "overdraft"


def _sums(books: Books) -> tuple[int, ...]:
    """Where all funds came from and went, debits above zero; by the conservation of funds they add up to zero."""
    return (
        books.funded,
        -(books.drawn + books.overdrawn),
        -books.expired,
        -books.refunded,
        -(books.clawed_back + books.shortfall),
        -(books.free + books.held),
        -books.lapsed,
        -books.not_started,
        books.overdraft,
    )


def trial_balance(entries: Iterable[Entry]) -> Mapping[Account, Money]:
    """What the postings of each account come to, in the order of the chart; those never posted to are left out.

    Raises: CurrencyMismatchError for entries in more than one currency.
    """
    sums: dict[Account, Money] = {}
    for entry in entries:
        for account, amount in entry.postings:
            sums[account] = sums[account] + amount if account in sums else amount
    return {account: sums[account] for account in get_args(Account) if account in sums}


# --- text


def to_beancount(
    entries: Iterable[Entry], *, accounts: ChartOfAccounts | None = None, time_zone: str = "UTC"
) -> Iterator[str]:
    """The lines of a Beancount file, each with its end: accounts opened at the first entry that posts to them.

    The day of an entry is that of `time_zone`. The ledger's id and the event's version are metadata.

    Raises: InvalidValueError, while iterating, for an account whose name Beancount does not take (a root such as
        Assets, then words that begin with a capital letter or a digit), or no time zone.
    """
    accounts = accounts or ChartOfAccounts()
    opened: set[str] = set()
    for entry in entries:
        day = _day(entry, time_zone)
        for account in dict.fromkeys(accounts[posting.account] for posting in entry.postings):
            if account not in opened:
                opened.add(account)
                yield f"{day} open {_for_beancount(account)}\n"
        quoted = _printable(entry.ledger_id).replace("\\", "\\\\").replace('"', '\\"')
        yield f'{day} * "{_title(entry)}"\n  ledger: "{quoted}"\n  version: {entry.event.version}\n'
        yield from _posted(entry, accounts)


def to_ledger(
    entries: Iterable[Entry], *, accounts: ChartOfAccounts | None = None, time_zone: str = "UTC"
) -> Iterator[str]:
    """The lines of a journal that both Ledger and hledger read, each with its end.

    The day of an entry is that of `time_zone`. The ledger's id and the event's version are tags.

    Raises: InvalidValueError, while iterating, for no time zone.
    """
    accounts = accounts or ChartOfAccounts()
    currencies: set[str] = set()
    for entry in entries:
        currency = entry.postings[0].amount.currency
        if currency not in currencies:
            currencies.add(currency)
            yield f"commodity {currency}\n    format 1000.{'0' * 9} {currency}\n\n"
        yield f"{_day(entry, time_zone)} * {_title(entry)}\n"
        yield f"    ; ledger: {_printable(entry.ledger_id)}\n    ; version: {entry.event.version}\n"
        yield from _posted(entry, accounts)


def _posted(entry: Entry, accounts: ChartOfAccounts) -> Iterator[str]:
    # With equally many decimals everywhere, since Beancount forgives half of the last place of the coarsest amount.
    digits = max(decimals(amount) for _, amount in entry.postings)
    for account, amount in entry.postings:
        yield f"    {accounts[account]}  {amount:.{digits}f} {amount.currency}\n"
    yield "\n"


def _day(entry: Entry, time_zone: str) -> date:
    return entry.event.at.astimezone(zone(time_zone)).date()


def _title(entry: Entry) -> str:
    """The kind of event in words, with nothing in it that a caller chose."""
    return re.sub("(?<!^)(?=[A-Z])", " ", type(entry.event).__name__).capitalize()


def _printable(text: str) -> str:
    """The text on one line: an id may hold what would begin another one."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _for_beancount(account: str) -> str:
    root, *words = account.split(":")
    named = all((word[0].isupper() or word[0].isdecimal()) and word.replace("-", "").isalnum() for word in words)
    if root not in _BEANCOUNT_ROOTS or not words or not named:
        raise InvalidValueError("accounts", account, "no name of an account for Beancount, such as Assets:Bank")
    return account


# --- revenue


@attrs.frozen(order=False, kw_only=True)
class RevenueMonth:
    """What was deferred and what was recognised as revenue in one calendar month.

    Attributes:
        month: its first day.
        opening: deferred revenue at its start: all that is owed to customers, less what they owe.
        funded: bought, and put on ledgers by hand; granted: given, less what grants forfeited.
        usage, breakage: recognised as revenue: consumed, reversals taken off; forfeited.
        refunded: given back; charged_back: taken back by banks, reinstatements taken off.
        closing: what is deferred at its end; opening + funded + granted - usage - breakage - refunded - charged_back.
    """

    month: date
    opening: Money
    funded: Money
    granted: Money
    usage: Money
    breakage: Money
    refunded: Money
    charged_back: Money
    closing: Money


@attrs.frozen(order=False)
class RevenueTable:
    """Revenue recognised month by month, from the first month with an entry to the last, none left out."""

    months: tuple[RevenueMonth, ...]

    @classmethod
    def of(cls, entries: Iterable[Entry], *, time_zone: str = "UTC") -> RevenueTable:
        """The table of entries of one or of many ledgers, in any order; months are those of `time_zone`.

        Raises: CurrencyMismatchError for entries in more than one currency; InvalidValueError for no time zone.
        """
        by_month: dict[date, list[Entry]] = {}
        for entry in entries:
            by_month.setdefault(_day(entry, time_zone).replace(day=1), []).append(entry)
        if not by_month:
            return cls(())
        first, last = min(by_month), max(by_month)
        closing = Money.zero(by_month[first][0].postings[0].amount.currency)
        months = []
        for number in range((last.year - first.year) * 12 + last.month - first.month + 1):
            month = first + relativedelta(months=number)
            months.append(_month(month, closing, trial_balance(by_month.get(month, ()))))
            closing = months[-1].closing
        return cls(tuple(months))

    def table(self) -> Table:
        """A row for each month."""
        names = tuple(field.name for field in attrs.fields(RevenueMonth))
        rows = ((f"{month.month:%Y-%m}", *attrs.astuple(month, recurse=False)[1:]) for month in self.months)
        return Table(names, tuple(rows))

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def _month(month: date, opening: Money, moved: Mapping[Account, Money]) -> RevenueMonth:
    zero = Money.zero(opening.currency)

    def net(*accounts: Account) -> Money:
        return Money.total([moved.get(account, zero) for account in accounts], opening.currency)

    return RevenueMonth(
        month=month,
        opening=opening,
        funded=net("payment_provider", "bank"),
        granted=net("promotions"),
        usage=-net("usage"),
        breakage=-net("breakage"),
        refunded=-net("refunds"),
        charged_back=-net("charge_backs"),
        closing=opening - net("prepaid", "lapsed", "not_started", "overdraft"),
    )
