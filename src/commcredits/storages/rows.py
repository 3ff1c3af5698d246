"""Events and states as the rows of a table: what SQL storages have in common beyond their SQL.

The payload is the event as `commcredits.codec` writes it; the other columns repeat of it what people query. A checksum
over both tells a row that was changed since.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache, total_ordering
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from commcredits.codec import STATE_FORMAT, event_from_json, event_to_text, state_from_json, state_to_json, to_text
from commcredits.errors import InvalidValueError, UnreadableRecordError, WrongTypeError
from commcredits.events import FundsConsumed, FundsHeld, balance_after, note_balance
from commcredits.money import _digits
from commcredits.storage import Stored, subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from commcredits.events import Event
    from commcredits.money import Money
    from commcredits.state import LedgerState
    from commcredits.storage import Head

PAGE = 1000
"""How many events a history is read at a time."""


class Snapshots:
    """When a storage keeps a snapshot.

    One is kept whenever the version passes a multiple of `every`, or of the power of two times `every` that exceeds the
    number of lots: writing the lots out then costs each append no more, however many there are. Where one was found
    that this version of the library does not read, the next append keeps another.
    """

    def __init__(self, every: int) -> None:
        self._every = check_count("snapshot_every", every)
        self._outdated: set[str] = set()

    def loaded(self, ledger_id: str, stored: Stored, is_outdated: bool) -> Stored:  # noqa: FBT001
        """What was loaded; noted if its snapshot is of another format."""
        if is_outdated:
            self._outdated.add(ledger_id)
        return stored

    def due(
        self, ledger_id: str, expected_version: int, version: int, state: Callable[[], LedgerState]
    ) -> LedgerState | None:
        """The state to keep with an append, if one is due."""
        if ledger_id in self._outdated:
            self._outdated.discard(ledger_id)
            return state()
        if expected_version // self._every == version // self._every:
            return None
        made = state()
        span = self._every
        while span < len(made._books.lots):
            span *= 2
        return None if expected_version // span == version // span else made


class EventRow(NamedTuple):
    """The columns of an event, as they are read back."""

    version: int
    type: str
    at: str
    amount: str | None
    balance_after: str | None
    idempotency_key: str | None
    hold_id: str | None
    subject: str | None
    payload: str
    checksum: str


@total_ordering
@attrs.frozen(order=False)
class Position:
    """A place in the feed of all ledgers: that of one event.

    `str` gives a text that `parse` reads, to be kept by who follows the feed.
    """

    number: int
    ledger_id: str
    version: int

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Position):
            return NotImplemented
        return attrs.astuple(self) < attrs.astuple(other)

    def __str__(self) -> str:
        return f"{self.number}:{self.version}:{self.ledger_id}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `str` wrote.

        Raises: WrongTypeError, InvalidValueError for anything else.
        """
        if not isinstance(text, str):
            raise WrongTypeError("text", text, "a string")
        number, _, rest = text.partition(":")
        version, _, ledger_id = rest.partition(":")
        if not (number.isascii() and number.isdigit() and version.isascii() and version.isdigit() and ledger_id):
            raise InvalidValueError("text", text, "no position of a feed")
        return cls(int(number), ledger_id, int(version))


def rows_of(ledger_id: str, events: Sequence[Event], head: Head) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
    """For an append: the head's time, currency, balance, what is available and `next_due`; and the rows of events."""
    last, balance, next_due = events[-1], head.balance, head.next_due
    currency = balance.currency
    note_balance(last, balance._billionths)
    added, at, text = [], None, ""
    for event in events:
        if event._at is not at:  # those of one command, or of many at once, share it
            at, text = event._at, event._at.isoformat()
        added.append(event_row(ledger_id, currency, event, text))
    # The last row has the head's balance, noted above, and mostly its time.
    _, _, last_at, _, last_balance, *_ = added[-1]
    stands = (
        last_at if head.as_of is at else stored_time(head.as_of),
        currency,
        last_balance,
        last_balance if head.available is balance else decimal(head.available),
        None if next_due is None else stored_time(next_due),
    )
    return stands, added


def event_row(ledger_id: str, currency: str, event: Event, at: str) -> tuple[Any, ...]:
    """The values of an `EventRow` for an event; `at` is what `isoformat` gives of its time.

    They have no names here, because to give them some takes longer.
    """
    version = event._version
    payload = event_to_text(event, at)
    billionths = balance_after(event)
    balance = None if billionths is None else _digits(billionths, currency)
    is_usual = event.__class__ is FundsConsumed and event._values[6] is None  # usage of no hold
    hold_id, subject = (None, None) if is_usual else _names(event)
    return (
        version,
        event.__class__.__name__,
        at if event._at.microsecond else stored_time(event._at),
        decimal(event._values[0]) if is_usual else _amount(event),
        balance,
        event._key,
        hold_id,
        subject,
        payload,
        checksum(ledger_id, version, balance, payload),
    )


def _amount(event: Event) -> str | None:
    amount = getattr(event, "amount", None)
    return None if amount is None else decimal(amount)


def _names(event: Event) -> tuple[str | None, str | None]:
    """The hold's id that the event takes for ever, and what it is about beside itself, which is never more than one."""
    about = [subject for subject in subjects(event) if subject != event._version]
    hold_id = event.hold_id if isinstance(event, FundsHeld) else None
    return hold_id, subject_text(about[0]) if about else None


def read_event(ledger_id: str, row: EventRow) -> Event:
    """The event that a row was made of.

    Raises: UnreadableRecordError when the row was changed, or written by a newer version of this library.
    """
    if checksum(ledger_id, row.version, row.balance_after, row.payload) != row.checksum:
        raise UnreadableRecordError(row, f"event {row.version} of {ledger_id!r} was changed after it was recorded")
    event = event_from_json(_loaded(row.payload))
    told = (type(event).__name__, event.version, event.idempotency_key, *_names(event))
    columns = (row.type, row.version, row.idempotency_key, row.hold_id, row.subject)
    if told != columns or event.at != read_time(row.at) or _amount(event) != row.amount:
        raise UnreadableRecordError(row, f"the columns of event {row.version} of {ledger_id!r} differ from its payload")
    return event


def read_events(ledger_id: str, rows: Iterable[EventRow], *, after: int) -> list[Event]:
    """The events of rows in the order of their versions, of which none after `after` may be missing.

    Raises: UnreadableRecordError.
    """
    events = [read_event(ledger_id, row) for row in rows]
    for expected, event in enumerate(events, after + 1):
        if event.version != expected:
            raise UnreadableRecordError(event, f"event {expected} of {ledger_id!r} is missing")
    return events


def state_row(ledger_id: str, state: LedgerState) -> tuple[int, str, str]:
    """The format, the text and the checksum of a snapshot."""
    text = to_text(state_to_json(state))
    return STATE_FORMAT, text, checksum(ledger_id, state.version, None, text)


def read_state(ledger_id: str, version: int, text: str, kept_checksum: str) -> LedgerState:
    """The state that a snapshot was made of.

    Raises: UnreadableRecordError.
    """
    if checksum(ledger_id, version, None, text) != kept_checksum:
        raise UnreadableRecordError(text, f"the snapshot of {ledger_id!r} was changed after it was kept")
    state = state_from_json(_loaded(text))
    if (state.ledger_id, state.version) != (ledger_id, version):
        raise UnreadableRecordError(text, f"the snapshot of {ledger_id!r} is that of {state.ledger_id!r}")
    return state


def check_whole(ledger_id: str, read_version: int, head_version: int) -> None:
    """Refuse a ledger whose last events are missing; those appended since its head was read are none too many.

    Raises: UnreadableRecordError.
    """
    if read_version < head_version:
        raise UnreadableRecordError(ledger_id, f"its last {head_version - read_version} events are missing")


def subject_text(subject: int | str) -> str:
    """A subject as a column keeps it: names apart from numbers."""
    return str(subject) if isinstance(subject, int) else f":{subject}"


def events_about(events: Iterable[Event], subject: int | str) -> list[Event]:
    """Those of the events that are about a subject."""
    return [event for event in events if subject in subjects(event)]


def read_time(text: object) -> datetime:
    """The time that `stored_time` wrote.

    Raises: UnreadableRecordError.
    """
    try:
        return datetime.fromisoformat(text)  # type: ignore[arg-type]  # whatever stands there
    except (TypeError, ValueError) as error:
        raise UnreadableRecordError(text, str(error)) from error


@lru_cache(maxsize=100)  # the next append writes some of them again
def stored_time(at: datetime) -> str:
    """A time in UTC as text that sorts in time order."""
    text = at.isoformat()
    return text if at.microsecond else f"{text[:19]}.000000{text[19:]}"


def check_count(parameter: str, value: object) -> int:
    """`value`, if it is a whole number above zero.

    Raises: WrongTypeError, InvalidValueError.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongTypeError(parameter, value, "a whole number")
    if value < 1:
        raise InvalidValueError(parameter, value, "must be one or more")
    return value


def check_schema(found: Sequence[int], known: int) -> int:
    """The version of the tables that are there; 0: there are none.

    Raises: UnreadableRecordError when they were made by a newer version of this library.
    """
    version = max(found, default=0)
    if version > known:
        raise UnreadableRecordError(
            {"schema_version": version}, f"tables of version {version}; this library knows them up to version {known}"
        )
    return version


def decimal(money: Money) -> str:
    """The amount as text, without the currency."""
    return str(money)[:-4]  # a space and the three letters of the currency


def checksum(ledger_id: str, version: int, balance: str | None, payload: str) -> str:
    """A fingerprint of what a row of a ledger says."""
    words = f"{ledger_id}\n{version}\n{balance}\n{payload}"
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableRecordError(text, f"no JSON: {error}") from error
