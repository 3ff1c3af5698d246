"""Statement: what happened to a ledger's balance in a period."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Literal

import attrs

from commcredits import events as e
from commcredits.changes import apply
from commcredits.errors import InvalidValueError
from commcredits.ledger import books_of, in_order
from commcredits.money import Money, _of
from commcredits.schedule import advanced
from commcredits.times import utc, zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime, tzinfo

    from commcredits.books import Books
    from commcredits.events import Event
    from commcredits.payment import Charge

MovementKind = Literal[
    "recharged",
    "purchased",
    "added",
    "granted",
    "consumed",
    "reversed",
    "lapsed",
    "expired",
    "refunded",
    "clawed_back",
    "reinstated",
]

_KINDS: dict[type[Event], MovementKind] = {
    e.FundsGranted: "granted",
    e.FundsStarted: "granted",
    e.FundsConsumed: "consumed",
    e.ConsumptionReversed: "reversed",
    e.FundsLapsed: "lapsed",
    e.FundsExpired: "expired",
    e.FundsRefunded: "refunded",
    e.FundsClawedBack: "clawed_back",
    e.FundsReinstated: "reinstated",
}


@attrs.frozen(order=False)
class Movement:
    """One event that concerns the balance, and the balance before and after it.

    `change` is not always the event's amount: late usage paid by lapsed funds, for one, leaves the balance as it is.
    """

    kind: MovementKind
    event: Event
    before: Money
    after: Money

    @property
    def change(self) -> Money:
        """What the balance gained, or lost if negative."""
        return self.after - self.before


@attrs.frozen(order=False)
class Statement:
    """What happened to the balance (available plus held) from `start` up to, not including, `end`.

    Attributes:
        opening_balance, closing_balance: at the start and the end; what closes one period opens the next.
        movements: every event between that concerns the balance, in order.
        charges: those requested, paid, declined or otherwise moved in the period, as they stood at its end.
        lots_left: what was left at the end, by expiry (None: never).
        time_zone: where the text shows its times.
    """

    ledger_id: str
    start: datetime
    end: datetime
    opening_balance: Money
    closing_balance: Money
    movements: tuple[Movement, ...]
    charges: tuple[Charge, ...]
    lots_left: tuple[tuple[datetime | None, Money], ...]
    time_zone: str = "UTC"

    @classmethod
    def of(
        cls,
        events: Iterable[Event],
        start: datetime,
        end: datetime,
        time_zone: str = "UTC",
        *,
        now: datetime | None = None,
    ) -> Statement:
        """The statement of a history, which begins with the ledger's first event and may go on after `end`.

        With `now`, what fell due until then counts even where no command has recorded it yet.

        Raises: WrongTypeError; InvalidValueError when `end` is not after `start`, a time is naive or there is no such
            time zone; UnreadableRecordError when the history does not begin with LedgerOpened, or a version is missing.
        """
        start, end = utc(start, "start"), utc(end, "end")
        if end <= start:
            raise InvalidValueError("end", end, f"not after the start, {start.isoformat()}")
        zone(time_zone)
        history = in_order(events)
        books = books_of(next(history, None))
        opening: Money | None = None
        movements: list[Movement] = []
        touched: dict[str, Charge] = {}
        moment = None if now is None else utc(now, "now")
        for event in chain(history, _fell_due(books, moment)):
            if event.at >= end:
                break
            if opening is None and event.at >= start:
                opening = _balance(books)
            before = _balance(books)
            apply(books, event)
            if event.at < start:
                continue
            kind = _kind(books, event)
            if kind is not None:
                movements.append(Movement(kind, event, before, _balance(books)))
            charge = books.charge(getattr(event, "charge_id", None) or "")
            if charge is not None:
                touched[charge.charge_id] = charge
        closing = _balance(books)
        left = sorted((lot for lot in books.lots.values() if lot.free or lot.held), key=lambda lot: lot.order[1:])
        return cls(
            books.ledger_id,
            start,
            end,
            closing if opening is None else opening,
            closing,
            tuple(movements),
            tuple(touched.values()),
            tuple((lot.expires_at, _of(lot.free + lot.held, books.terms.currency)) for lot in left),
            time_zone,
        )

    @property
    def currency(self) -> str:
        """The one currency of all its amounts."""
        return self.opening_balance.currency

    @property
    def changes(self) -> Mapping[MovementKind, Money]:
        """What the balance gained or lost, by kind of movement; with the opening balance they make the closing one."""
        changes: dict[MovementKind, Money] = {}
        for movement in self.movements:
            changes[movement.kind] = changes.get(movement.kind, Money.zero(self.currency)) + movement.change
        return changes

    @property
    def usage(self) -> Mapping[str, tuple[int, Money]]:
        """What usage cost, by the `kind` that `consume` was given: how often, and how much; reversals not taken off."""
        usage: dict[str, tuple[int, Money]] = {}
        for movement in self.movements:
            if isinstance(movement.event, e.FundsConsumed):
                times, cost = usage.get(movement.event.kind, (0, Money.zero(self.currency)))
                usage[movement.event.kind] = (times + 1, cost + movement.event.amount)
        return dict(sorted(usage.items()))

    def __str__(self) -> str:
        place = zone(self.time_zone)
        lines = [
            f"Statement of {self.ledger_id}",
            f"{_day(self.start, place)} to {_day(self.end, place)} ({self.time_zone})",
            "",
        ]
        rows = [("Opening balance", "", self.opening_balance)]
        for kind, change in self.changes.items():
            times = sum(movement.kind == kind for movement in self.movements)
            rows.append((f"  {kind.replace('_', ' ')}", f"{times} x", change))
        rows.append(("Closing balance", "", self.closing_balance))
        lines += _table(rows)
        if self.usage:
            lines += ["", "Usage by kind"]
            lines += _table(
                [(f"  {kind or '(none)'}", f"{times} x", cost) for kind, (times, cost) in self.usage.items()]
            )
        if self.charges:
            lines += ["", "Charges"]
            lines += _table(
                [
                    (
                        f"  {_day(charge.requested_at, place)} {charge.purpose}",
                        f"{charge.payment_method}: {charge.status}",
                        charge.amount,
                    )
                    for charge in self.charges
                ]
            )
        if self.lots_left:
            lines += ["", "Left at the end"]
            lines += _table(
                [
                    ("  never expires" if expires_at is None else f"  expires {_day(expires_at, place)}", "", amount)
                    for expires_at, amount in self.lots_left
                ]
            )
        return "\n".join(lines)


def _fell_due(books: Books, now: datetime | None) -> Iterator[Event]:
    """What fell due until `now` after the last event; asked for only when the history is exhausted."""
    if now is not None and now > books.as_of:
        yield from advanced(books, now).recorded


def _balance(books: Books) -> Money:
    return _of(books.available + books.held, books.terms.currency)


def _kind(books: Books, event: Event) -> MovementKind | None:
    if isinstance(event, e.FundsAdded):
        if event.charge_id is None:
            return "added"
        charge = books.charge(event.charge_id)
        # A charge paid so late that the ledger no longer keeps it counts as bought by a person.
        return "recharged" if charge is not None and charge.purpose == "recharge" else "purchased"
    return _KINDS.get(type(event))


def _day(at: datetime, place: tzinfo) -> str:
    return f"{at.astimezone(place):%Y-%m-%d %H:%M}"


def _table(rows: list[tuple[str, str, Money]]) -> list[str]:
    """Rows of words, words, money, as lines with the columns aligned."""
    digits = max(_decimals(money) for _, _, money in rows)
    texts = [(left, middle, f"{money:,.{digits}f}") for left, middle, money in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(3)]
    currency = rows[0][2].currency
    return [
        f"{left:<{widths[0]}}  {middle:<{widths[1]}}  {money:>{widths[2]}} {currency}".rstrip()
        for left, middle, money in texts
    ]


def _decimals(money: Money) -> int:
    """How many decimals show the amount exactly, and at least the currency's minor units."""
    return len(str(money).partition(" ")[0].partition(".")[2])
