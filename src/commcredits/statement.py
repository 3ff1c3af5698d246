"""Statement: what happened to a ledger's balance in a period."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import attrs

from commcredits import events as e
from commcredits.changes import apply
from commcredits.errors import InvalidValueError
from commcredits.ledger import books_of, in_order
from commcredits.money import Money, _of
from commcredits.schedule import advanced
from commcredits.tables import Table
from commcredits.times import utc, zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

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
TotalKind = Literal["funded", "granted", "consumed", "reversed", "expired", "refunded", "clawed_back"]

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

_TOTALS: dict[TotalKind, tuple[MovementKind, ...]] = {
    "funded": ("recharged", "purchased", "added"),
    "granted": ("granted",),
    "consumed": ("consumed",),
    "reversed": ("reversed",),
    "expired": ("lapsed", "expired"),
    "refunded": ("refunded",),
    "clawed_back": ("clawed_back", "reinstated"),
}


class Movement(NamedTuple):
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


class Movements(Sequence[Movement]):
    """The movements of a period, in order; each is made when it is looked at, because most never are.

    Equal to another sequence of the same movements.
    """

    __slots__ = ("_currency", "_events", "_kinds", "_levels")

    def __init__(
        self, kinds: Sequence[MovementKind], events: Sequence[Event], levels: Sequence[int], currency: str
    ) -> None:
        self._kinds = kinds
        self._events = events
        self._levels = levels  # before the first, and after each
        self._currency = currency

    def __len__(self) -> int:
        return len(self._kinds)

    @overload
    def __getitem__(self, place: int) -> Movement: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Movement]: ...

    def __getitem__(self, place: int | slice) -> Movement | Sequence[Movement]:
        if isinstance(place, slice):
            return tuple(self)[place]
        kind, event = self._kinds[place], self._events[place]
        place %= len(self._kinds)
        before, after = (_of(level, self._currency) for level in self._levels[place : place + 2])
        return Movement(kind, event, before, after)

    def __iter__(self) -> Iterator[Movement]:
        currency = self._currency
        before = _of(self._levels[0], currency)
        for kind, event, level in zip(self._kinds, self._events, self._levels[1:], strict=True):
            after = _of(level, currency)
            yield Movement(kind, event, before, after)
            before = after

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash((len(self), self._levels[-1]))

    def __repr__(self) -> str:
        return f"<{len(self)} movements>"


@attrs.frozen(order=False)
class Statement:
    """What happened to the balance (available plus held) from `start` up to, not including, `end`.

    `str` and notebooks show a summary of it; `table` has every movement.

    Attributes:
        opening_balance, closing_balance: at the start and the end; what closes one period opens the next.
        movements: every event between that concerns the balance, in order.
        charges: those requested, paid, declined or otherwise moved in the period, as they stood at its end.
        lots_left: what was left at the end, by expiry (None: never).
        time_zone: where the times are shown.
    """

    ledger_id: str
    start: datetime
    end: datetime
    opening_balance: Money
    closing_balance: Money
    movements: Sequence[Movement]
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
        draft = StatementDraft(start, end, time_zone, now=now)
        draft.take_all(in_order(events))
        return draft.finished()

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
    def totals(self) -> Mapping[TotalKind, Money]:
        """`changes`, summed up: funded (recharged, purchased, added), granted, consumed, reversed, expired, and so on.

        What came is above zero and what went below; all kinds are there, and with the opening balance they make the
        closing one.
        """
        changes, zero = self.changes, Money.zero(self.currency)
        return {
            total: Money.total([changes.get(kind, zero) for kind in kinds], self.currency)
            for total, kinds in _TOTALS.items()
        }

    @property
    def usage(self) -> Mapping[str, tuple[int, Money]]:
        """What usage cost, by the `kind` that `consume` was given: how often, and how much; reversals not taken off."""
        usage: dict[str, tuple[int, Money]] = {}
        for movement in self.movements:
            if isinstance(movement.event, e.FundsConsumed):
                times, cost = usage.get(movement.event.kind, (0, Money.zero(self.currency)))
                usage[movement.event.kind] = (times + 1, cost + movement.event.amount)
        return dict(sorted(usage.items()))

    @property
    def recharges(self) -> tuple[Charge, ...]:
        """The automatic ones of `charges`; the outcome of each is its `status`."""
        return tuple(charge for charge in self.charges if charge.purpose == "recharge")

    def expiring(self, before: datetime) -> tuple[tuple[datetime, Money], ...]:
        """What of the funds left at the end expires not after `before`, the soonest first.

        Raises: WrongTypeError, InvalidValueError for what is no aware datetime.
        """
        until = utc(before, "before")
        dated = [(expires_at, amount) for expires_at, amount in self.lots_left if expires_at is not None]
        return tuple((expires_at, amount) for expires_at, amount in sorted(dated) if expires_at <= until)

    def table(self) -> Table:
        """Every movement, a row for each: when, what, for which usage, and the balance before and after."""
        place = zone(self.time_zone)
        return Table(
            ("at", "kind", "usage", "description", "change", "before", "after", "version", "idempotency_key"),
            tuple(
                (
                    event.at.astimezone(place),
                    kind,
                    getattr(event, "kind", ""),
                    getattr(event, "description", ""),
                    after - before,
                    before,
                    after,
                    event.version,
                    event.idempotency_key,
                )
                for kind, event, before, after in self.movements
            ),
        )

    def _summary(self) -> Iterator[Table]:
        place = zone(self.time_zone)
        times = Counter(movement.kind for movement in self.movements)
        yield Table(
            ("", "times", "amount"),
            (
                ("Opening balance", None, self.opening_balance),
                *((f"  {kind.replace('_', ' ')}", times[kind], change) for kind, change in self.changes.items()),
                ("Closing balance", None, self.closing_balance),
            ),
            f"Statement of {self.ledger_id}, "
            f"{self.start.astimezone(place):%Y-%m-%d %H:%M} to {self.end.astimezone(place):%Y-%m-%d %H:%M}"
            f" ({self.time_zone})",
        )
        yield Table(
            ("kind", "times", "cost"),
            tuple((kind or "(none)", times, cost) for kind, (times, cost) in self.usage.items()),
            "Usage by kind",
        )
        yield Table(
            ("requested", "purpose", "payment method", "outcome", "amount"),
            tuple(
                (c.requested_at.astimezone(place), c.purpose, c.payment_method, c.status, c.amount)
                for c in self.charges
            ),
            "Charges",
        )
        yield Table(
            ("expires", "amount"),
            tuple(
                ("never" if expires_at is None else expires_at.astimezone(place), amount)
                for expires_at, amount in self.lots_left
            ),
            "Left at the end",
        )

    def __str__(self) -> str:
        return "\n\n".join(str(table) for table in self._summary() if table.rows)

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self._summary() if table.rows)


class StatementDraft:
    """A statement that is being drawn up, one event after the other, so that no history need be in memory.

    The events are those of one history, in order.
    """

    def __init__(self, start: datetime, end: datetime, time_zone: str = "UTC", *, now: datetime | None = None) -> None:
        self._start, self._end = utc(start, "start"), utc(end, "end")
        if self._end <= self._start:
            raise InvalidValueError("end", end, f"not after the start, {self._start.isoformat()}")
        zone(time_zone)
        self._time_zone = time_zone
        self._now = None if now is None else utc(now, "now")
        self._books: Books | None = None
        self._level = 0  # the balance after the latest event
        self._levels: list[int] = []  # of the period: the opening balance, and the balance after each movement
        self._kinds: list[MovementKind] = []
        self._moving: list[Event] = []
        self._charges: dict[str, Charge] = {}

    def take(self, event: Event) -> bool:
        """Take the next event of the history; whether the one after it is wanted.

        Raises: UnreadableRecordError when the first is no LedgerOpened.
        """
        return self.take_all((event,))

    def take_all(self, events: Iterable[Event]) -> bool:
        """Take the next events of the history, as `take` does one, until no more are wanted."""
        rest = iter(events)
        if self._books is None:
            first = next(rest, None)
            self._books = books_of(first)
            if first is not None and first.at >= self._end:
                return False
        books, level, start, end = self._books, self._level, self._start, self._end
        kinds, moving, levels = self._kinds, self._moving, self._levels
        for event in rest:
            at = event._at
            if at >= end:
                self._now = None  # what falls due unrecorded comes later still
                return False
            if not levels and at >= start:
                levels.append(level)
            apply(books, event)
            self._level = level = books.free - books.overdraft + books.held
            if levels:
                # All that costs is done later, if somebody looks: see `Movements`.
                kind = _KINDS.get(event.__class__)
                if kind is None:
                    kind = _kind_of_funds(books, event)
                    self._note_charge(books, event)
                if kind is not None:
                    kinds.append(kind)
                    moving.append(event)
                    levels.append(level)
        return True

    def finished(self) -> Statement:
        """The statement of the events taken.

        Raises: UnreadableRecordError when there were none.
        """
        books = books_of(None) if self._books is None else self._books
        if self._now is not None and self._now > books.as_of:
            self.take_all(advanced(books, self._now).recorded)
        levels = tuple(self._levels) or (self._level,)
        left = sorted((lot for lot in books.lots.values() if lot.free or lot.held), key=lambda lot: lot.order[1:])
        return Statement(
            books.ledger_id,
            self._start,
            self._end,
            _of(levels[0], books.currency),
            _of(self._level, books.currency),
            Movements(tuple(self._kinds), tuple(self._moving), levels, books.currency),
            tuple(self._charges.values()),
            tuple((lot.expires_at, _of(lot.free + lot.held, books.currency)) for lot in left),
            self._time_zone,
        )

    def _note_charge(self, books: Books, event: Event) -> None:
        charge = books.charge(getattr(event, "charge_id", None) or "")
        if charge is not None:
            self._charges[charge.charge_id] = charge


def _kind_of_funds(books: Books, event: Event) -> MovementKind | None:
    if not isinstance(event, e.FundsAdded):
        return None
    if event.charge_id is None:
        return "added"
    charge = books.charge(event.charge_id)
    # A charge paid so late that the ledger no longer keeps it counts as bought by a person.
    return "recharged" if charge is not None and charge.purpose == "recharge" else "purchased"
