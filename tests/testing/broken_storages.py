"""A storage that is whole, made of small steps; and storages that break one rule each, by a step that is wrong.

`BROKEN` says by which tests of the contract each of them is caught.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from commcredits import (
    AsyncInMemoryStorage,
    DuplicateKeyError,
    Event,
    FundsAdded,
    FundsConsumed,
    FundsHeld,
    Head,
    Money,
    Stored,
    VersionConflictError,
)
from commcredits.events import values_of
from commcredits.storage import subjects


class Book:
    """What is kept of one ledger."""

    def __init__(self) -> None:
        self.events: Any = []
        self.state: Any = None
        self.names: dict[tuple[str, str], Event] = {}
        self.head: Head | None = None


class Whole:
    """Breaks no rule."""

    in_caller_transaction = False

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}

    # What the rest is made of.

    def book(self, ledger_id: str) -> Book:
        return self.books.get(self.id(ledger_id)) or Book()

    def id(self, ledger_id: str) -> str:
        return ledger_id

    def key(self, name: str) -> str:
        return name

    def names(self, event: Event) -> Iterator[tuple[str, str]]:
        """The names that an event takes, each in its namespace."""
        if event.idempotency_key is not None:
            yield "idempotency_key", self.key(event.idempotency_key)
        if isinstance(event, FundsHeld):
            yield "hold_id", event.hold_id

    def is_expected(self, book: Book, expected_version: int) -> bool:
        return len(book.events) == expected_version

    def taken(self, ledger_id: str, book: Book, name: tuple[str, str]) -> bool:
        return name in book.names

    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        if not self.is_expected(book, expected_version):
            raise VersionConflictError(ledger_id, expected_version)
        given: set[tuple[str, str]] = set()
        for event in events:
            for name in self.names(event):
                if self.taken(ledger_id, book, name) or name in given:
                    raise DuplicateKeyError(ledger_id, name[1], name[0])
                given.add(name)

    def snapshot(self, book: Book, head: Head, state: Callable[[], Any]) -> Any:
        kept = 0 if book.state is None else book.state.version
        return state() if head.version - kept >= 10 else book.state

    def add(self, book: Book, events: Sequence[Event]) -> None:
        book.events = [*book.events, *events]
        for event in events:
            book.names |= dict.fromkeys(self.names(event), event)

    def subjects(self, event: Event) -> tuple[int | str, ...]:
        return subjects(event)

    # What is asked of every storage.

    def load(self, ledger_id: str) -> Stored | None:
        book = self.book(ledger_id)
        if not book.events:
            return None
        return Stored(book.state, book.events[0 if book.state is None else book.state.version :])

    def append(
        self, ledger_id: str, events: Sequence[Event], *, expected_version: int, head: Head, state: Callable[[], Any]
    ) -> None:
        book = self.book(ledger_id)
        self.check(ledger_id, book, events, expected_version)
        book.state = self.snapshot(book, head, state)
        self.add(book, events)
        book.head = head
        self.books[self.id(ledger_id)] = book

    def history(self, ledger_id: str, *, after_version: int = 0) -> Any:
        return iter(self.book(ledger_id).events[after_version:])

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Any]:
        names = self.book(ledger_id).names
        found = {key: names.get(("idempotency_key", self.key(key))) for key in idempotency_keys}
        return {key: event for key, event in found.items() if event is not None}

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        return [event for event in self.book(ledger_id).events if subject in self.subjects(event)]

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        dues = sorted(
            (book.head.next_due, name) for name, book in self.books.items() if book.head and book.head.next_due
        )
        return [name for due, name in dues if due <= before][:limit]


# What is wrong with loading


class LoadsNothingAsEmpty(Whole):
    def load(self, ledger_id: str) -> Stored | None:
        return super().load(ledger_id) or Stored(None, ())


class LosesTheLatestEvent(Whole):
    def load(self, ledger_id: str) -> Stored | None:
        stored = super().load(ledger_id)
        return stored and Stored(stored.state, stored.events[:-1] or stored.events)


class LoadsWhatTheSnapshotHas(Whole):
    def load(self, ledger_id: str) -> Stored | None:
        stored = super().load(ledger_id)
        return stored and Stored(stored.state, self.book(ledger_id).events)


class LoadsWhatGoesOnChanging(Whole):
    def load(self, ledger_id: str) -> Stored | None:
        stored = super().load(ledger_id)
        return stored and Stored(stored.state, self.book(ledger_id).events if stored.state is None else stored.events)

    def add(self, book: Book, events: Sequence[Event]) -> None:
        before = book.events
        super().add(book, events)
        before[:] = book.events
        book.events = before


class FoldsIds(Whole):
    def id(self, ledger_id: str) -> str:
        return ledger_id.casefold().strip()


class RoundsAmounts(Whole):
    def add(self, book: Book, events: Sequence[Event]) -> None:
        super().add(book, [self.rounded(event) for event in events])

    def rounded(self, event: Event) -> Event:
        if not isinstance(event, FundsAdded):
            return event
        rounded = Money(f"{float(event.amount.amount):.9f}", event.amount.currency)
        return FundsAdded(**{**values_of(event), "amount": rounded})


class EndsTextsAtNul(Whole):
    def add(self, book: Book, events: Sequence[Event]) -> None:
        super().add(book, [self.cut(event) for event in events])

    def cut(self, event: Event) -> Event:
        if not isinstance(event, FundsConsumed):
            return event
        return FundsConsumed(**{**values_of(event), "description": event.description.partition("\0")[0]})


# What is wrong with appending


class OpensAgain(Whole):
    def is_expected(self, book: Book, expected_version: int) -> bool:
        return super().is_expected(book, expected_version) or (expected_version == 0 and len(book.events) == 1)


class IgnoresTheVersion(Whole):
    def is_expected(self, book: Book, expected_version: int) -> bool:
        return expected_version > 0 or not book.events


class IgnoresGaps(Whole):
    def is_expected(self, book: Book, expected_version: int) -> bool:
        return expected_version >= len(book.events)


class AddsBeforeItRefuses(Whole):
    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        if book.events and not self.is_expected(book, expected_version):
            self.add(book, events)
        super().check(ledger_id, book, events, expected_version)


class OpensAtAnyVersion(Whole):
    def is_expected(self, book: Book, expected_version: int) -> bool:
        return not book.events or super().is_expected(book, expected_version)


class LetsTheLastWin(Whole):
    def is_expected(self, book: Book, expected_version: int) -> bool:
        if 0 < expected_version < len(book.events):
            book.events = book.events[:expected_version]
        return super().is_expected(book, expected_version)


class ForgetsKeysWithTheSnapshot(Whole):
    def snapshot(self, book: Book, head: Head, state: Callable[[], Any]) -> Any:
        made = super().snapshot(book, head, state)
        if made is not book.state:
            book.names = {name: event for name, event in book.names.items() if name[0] != "idempotency_key"}
        return made


class ForgetsHoldsWithTheSnapshot(Whole):
    def snapshot(self, book: Book, head: Head, state: Callable[[], Any]) -> Any:
        made = super().snapshot(book, head, state)
        if made is not book.state:
            book.names = {name: event for name, event in book.names.items() if name[0] != "hold_id"}
        return made


class AddsUpToTheDuplicate(Whole):
    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        try:
            super().check(ledger_id, book, events, expected_version)
        except DuplicateKeyError as error:
            named = [any(name[1] == error.key for name in self.names(event)) for event in events]
            self.add(book, events[: named.index(True)])
            raise


class OverlooksKeysGivenTwice(Whole):
    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        for event in events:
            super().check(ledger_id, book, [event], expected_version)
        super().check(ledger_id, book, [e for e in events if e.idempotency_key is None], expected_version)


class OverlooksHoldsGivenTwice(Whole):
    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        for event in events:
            super().check(ledger_id, book, [event], expected_version)
        super().check(ledger_id, book, [e for e in events if not isinstance(e, FundsHeld)], expected_version)


class KeepsTheKeysOfRefused(Whole):
    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        try:
            super().check(ledger_id, book, events, expected_version)
        except VersionConflictError:
            self.books.setdefault(self.id(ledger_id), book).names |= {
                name: event for event in events for name in self.names(event)
            }
            raise


class SharesKeysAmongLedgers(Whole):
    def taken(self, ledger_id: str, book: Book, name: tuple[str, str]) -> bool:
        return any(name in other.names for other in self.books.values())


class TakesAHoldIdAtEveryEvent(Whole):
    def names(self, event: Event) -> Iterator[tuple[str, str]]:
        yield from super().names(event)
        if type(event).__name__ == "HoldExtended":
            yield "hold_id", event.hold_id  # type: ignore[attr-defined]


class HasOneNamespace(Whole):
    def taken(self, ledger_id: str, book: Book, name: tuple[str, str]) -> bool:
        return any(name[1] == other for _, other in book.names)


class FoldsKeys(Whole):
    def key(self, name: str) -> str:
        return name.strip()


class NamesTheWrongNamespace(Whole):
    def check(self, ledger_id: str, book: Book, events: Sequence[Event], expected_version: int) -> None:
        try:
            super().check(ledger_id, book, events, expected_version)
        except DuplicateKeyError as error:
            raise DuplicateKeyError(ledger_id, error.key) from None


class AsksTwiceForTheState(Whole):
    def snapshot(self, book: Book, head: Head, state: Callable[[], Any]) -> Any:
        made = super().snapshot(book, head, state)
        return made if made is book.state else state()


class KeepsTheStateOfRefused(Whole):
    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        book = self.book(ledger_id)
        book.state = self.snapshot(book, named["head"], named["state"])
        super().append(ledger_id, events, **named)


class AddsBeforeTheStateIsMade(Whole):
    def snapshot(self, book: Book, head: Head, state: Callable[[], Any]) -> Any:
        try:
            return super().snapshot(book, head, state)
        except OSError:
            book.events = [*book.events, *book.events[-1:]]
            raise


class KeepsTheSequence(Whole):
    def add(self, book: Book, events: Sequence[Event]) -> None:
        before = book.events
        super().add(book, events)
        book.events = _Joined(before, events) if isinstance(events, list) and before else book.events


class _Joined(Sequence[Event]):
    """Two sequences as one, as they are now."""

    def __init__(self, one: Sequence[Event], other: Sequence[Event]) -> None:
        self.one, self.other = one, other

    def __getitem__(self, place: Any) -> Any:
        return [*self.one, *self.other][place]

    def __len__(self) -> int:
        return len(self.one) + len(self.other)


class SaysNothingOfTransactions(Whole):
    in_caller_transaction = None  # type: ignore[assignment]


# What is wrong with reading


class ReadsFromTheBeginning(Whole):
    def history(self, ledger_id: str, *, after_version: int = 0) -> Any:  # that is what is wrong
        return super().history(ledger_id)


class ReadsTheLatestFirst(Whole):
    def history(self, ledger_id: str, *, after_version: int = 0) -> Any:
        return reversed(list(super().history(ledger_id, after_version=after_version)))


class FailsForUnknownLedgers(Whole):
    def history(self, ledger_id: str, *, after_version: int = 0) -> Any:
        return iter(self.books[ledger_id].events[after_version:])


class GivesAListOfEvents(Whole):
    def history(self, ledger_id: str, *, after_version: int = 0) -> Any:
        return list(super().history(ledger_id, after_version=after_version))


class FindsNoneForUnknownKeys(Whole):
    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Any]:
        keys = list(idempotency_keys)
        return dict.fromkeys(keys) | dict(super().find(ledger_id, keys))


class FindsTheLastEventOfACommand(Whole):
    def add(self, book: Book, events: Sequence[Event]) -> None:
        super().add(book, events)
        for event in events:
            book.names |= dict.fromkeys(self.names(event), events[-1])


class FindsOnAnyLedger(Whole):
    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Any]:
        keys = list(idempotency_keys)
        found: dict[str, Any] = {}
        for one in [*self.books, ledger_id]:
            found |= super().find(one, keys)
        return found


class ForgetsTheFundsOfACharge(Whole):
    def subjects(self, event: Event) -> tuple[int | str, ...]:
        return super().subjects(event)[:1] if isinstance(event, FundsAdded) else super().subjects(event)


class ForgetsWhatBecameOfALot(Whole):
    def subjects(self, event: Event) -> tuple[int | str, ...]:
        return () if type(event).__name__ == "FundsExpiring" else super().subjects(event)


class ForgetsReversals(Whole):
    def subjects(self, event: Event) -> tuple[int | str, ...]:
        return () if type(event).__name__ == "ConsumptionReversed" else super().subjects(event)


class ForgetsTheUsageOfAHold(Whole):
    def subjects(self, event: Event) -> tuple[int | str, ...]:
        return (event.version,) if isinstance(event, FundsConsumed) else super().subjects(event)


class ComparesSubjectsAsTexts(Whole):
    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        return [event for event in self.book(ledger_id).events if str(subject) in map(str, self.subjects(event))]


class FailsForUnknownSubjects(Whole):
    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        told = super().about(ledger_id, subject)
        if subject == "":
            raise LookupError(subject)
        return told


class TellsOfAllLedgers(Whole):
    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        told: list[Event] = []
        for one in sorted({ledger_id, *self.books}):
            told += super().about(one, subject)
        return told


# What is wrong with the dues


class IsDueOnlyAfterwards(Whole):
    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        return [one for one in super().due(before, limit=limit) if self.books[one].head.next_due < before]  # type: ignore[union-attr,operator]


class GivesDuesByTheirIds(Whole):
    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        return sorted(super().due(before, limit=10**6))[::-1][:limit]


class IgnoresTheLimit(Whole):
    def due(self, before: datetime, *, limit: int) -> Sequence[str]:  # that is what is wrong
        return super().due(before, limit=10**6)


class TakesNeverForAlways(Whole):
    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        never = [name for name, book in self.books.items() if book.head and book.head.next_due is None]
        return [*super().due(before, limit=limit), *never][:limit]


class KeepsTheFirstDue(Whole):
    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        before = self.book(ledger_id).head
        super().append(ledger_id, events, **named)
        if before is not None and before.next_due is not None:
            self.book(ledger_id).head = before


class AwaitsBeforeItWrites(AsyncInMemoryStorage):
    """Checks, lets others go first, and writes what it checked before."""

    async def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        stored = self._storage.load(ledger_id)
        version = 0 if stored is None else len(list(self._storage.history(ledger_id)))
        if version != named["expected_version"]:
            raise VersionConflictError(ledger_id, named["expected_version"])
        await asyncio.sleep(0)
        named["expected_version"] = len(list(self._storage.history(ledger_id)))
        await super().append(ledger_id, events, **named)


BROKEN: dict[type[Whole], str] = {
    LoadsNothingAsEmpty: (
        "a_ledger_that_is_not_there_has_no_version_but_zero a_ledger_that_nobody_opened_is_none an_id_is_taken_as_it_is"
    ),
    LosesTheLatestEvent: (
        "amounts_come_back_to_the_last_billionth_whatever_their_size "
        "an_append_whose_state_cannot_be_made_adds_nothing_or_does_not_ask_for_it "
        "what_is_loaded_are_the_events_after_the_snapshot "
        "what_is_loaded_makes_the_ledger_that_was_appended"
    ),
    LoadsWhatTheSnapshotHas: (
        "an_append_whose_state_cannot_be_made_adds_nothing_or_does_not_ask_for_it "
        "the_state_of_a_refused_append_is_not_kept "
        "what_is_loaded_are_the_events_after_the_snapshot "
        "what_is_loaded_makes_the_ledger_that_was_appended"
    ),
    LoadsWhatGoesOnChanging: "what_was_loaded_does_not_change_by_later_appends",
    FoldsIds: "an_id_is_taken_as_it_is",
    RoundsAmounts: "amounts_come_back_to_the_last_billionth_whatever_their_size",
    EndsTextsAtNul: "events_come_back_as_they_were",
    OpensAgain: "a_new_ledger_is_expected_to_have_no_events",
    IgnoresTheVersion: (
        "a_ledger_that_is_not_there_has_no_version_but_zero "
        "a_refused_append_takes_no_key "
        "an_append_onto_any_other_version_is_refused_and_nothing_is_added "
        "of_two_who_decided_on_the_same_version_the_first_wins "
        "the_state_of_a_refused_append_is_not_kept"
    ),
    IgnoresGaps: (
        "a_ledger_that_is_not_there_has_no_version_but_zero "
        "a_refused_append_takes_no_key "
        "an_append_onto_any_other_version_is_refused_and_nothing_is_added "
        "the_state_of_a_refused_append_is_not_kept"
    ),
    AddsBeforeItRefuses: (
        "a_new_ledger_is_expected_to_have_no_events "
        "a_refused_append_takes_no_key "
        "an_append_onto_any_other_version_is_refused_and_nothing_is_added "
        "of_two_who_decided_on_the_same_version_the_first_wins "
        "the_state_of_a_refused_append_is_not_kept"
    ),
    OpensAtAnyVersion: "a_ledger_that_is_not_there_has_no_version_but_zero",
    LetsTheLastWin: (
        "an_append_onto_any_other_version_is_refused_and_nothing_is_added "
        "of_two_who_decided_on_the_same_version_the_first_wins"
    ),
    ForgetsKeysWithTheSnapshot: ("a_key_is_taken_as_it_is an_idempotency_key_is_taken_once_on_a_ledger_for_ever"),
    ForgetsHoldsWithTheSnapshot: "a_hold_id_is_taken_once_on_a_ledger_for_ever",
    AddsUpToTheDuplicate: "a_key_taken_by_the_last_of_many_events_refuses_them_all",
    OverlooksKeysGivenTwice: "a_key_given_twice_in_one_append_is_refused",
    OverlooksHoldsGivenTwice: "a_hold_id_given_twice_in_one_append_is_refused",
    KeepsTheKeysOfRefused: (
        "a_refused_append_takes_no_key an_append_onto_any_other_version_is_refused_and_nothing_is_added"
    ),
    SharesKeysAmongLedgers: "each_ledger_has_its_own_keys_and_hold_ids",
    TakesAHoldIdAtEveryEvent: (
        "about_a_hold_are_all_its_events_and_the_usage_that_it_paid only_placing_a_hold_takes_its_id"
    ),
    HasOneNamespace: "keys_and_hold_ids_have_namespaces_of_their_own",
    FoldsKeys: "a_key_is_taken_as_it_is",
    NamesTheWrongNamespace: (
        "a_hold_id_given_twice_in_one_append_is_refused a_hold_id_is_taken_once_on_a_ledger_for_ever"
    ),
    AsksTwiceForTheState: "the_state_is_asked_for_at_most_once_an_append",
    KeepsTheStateOfRefused: "the_state_of_a_refused_append_is_not_kept",
    AddsBeforeTheStateIsMade: "an_append_whose_state_cannot_be_made_adds_nothing_or_does_not_ask_for_it",
    KeepsTheSequence: "the_sequence_that_was_appended_is_not_kept",
    SaysNothingOfTransactions: "it_says_whether_appends_wait_for_a_commit_of_the_callers",
    ReadsFromTheBeginning: "history_is_all_events_in_order_or_those_after_a_version",
    ReadsTheLatestFirst: (
        "amounts_come_back_to_the_last_billionth_whatever_their_size "
        "an_append_whose_state_cannot_be_made_adds_nothing_or_does_not_ask_for_it "
        "events_come_back_as_they_were "
        "history_gives_one_event_after_the_other "
        "history_is_all_events_in_order_or_those_after_a_version "
        "of_two_who_decided_on_the_same_version_the_first_wins "
        "only_placing_a_hold_takes_its_id "
        "the_sequence_that_was_appended_is_not_kept"
    ),
    FailsForUnknownLedgers: "the_history_of_a_ledger_that_nobody_opened_is_empty",
    GivesAListOfEvents: "history_gives_one_event_after_the_other",
    FindsNoneForUnknownKeys: (
        "a_key_taken_by_the_last_of_many_events_refuses_them_all "
        "an_append_onto_any_other_version_is_refused_and_nothing_is_added "
        "find_gives_the_event_that_has_a_key_and_leaves_out_the_keys_nobody_used "
        "nothing_is_found_on_another_ledger"
    ),
    FindsTheLastEventOfACommand: "find_gives_the_first_event_of_a_command_of_many",
    FindsOnAnyLedger: "nothing_is_found_on_another_ledger",
    ForgetsTheFundsOfACharge: "about_a_charge_are_all_its_events_and_the_funds_it_brought",
    ForgetsWhatBecameOfALot: "about_a_lot_are_its_funding_and_what_became_of_it_as_a_whole",
    ForgetsReversals: "about_usage_are_its_cost_and_its_reversals",
    ForgetsTheUsageOfAHold: "about_a_hold_are_all_its_events_and_the_usage_that_it_paid",
    ComparesSubjectsAsTexts: "a_number_and_a_text_of_the_same_digits_are_two_subjects",
    FailsForUnknownSubjects: "about_what_nobody_knows_is_nothing",
    TellsOfAllLedgers: "about_tells_of_one_ledger_only",
    IsDueOnlyAfterwards: (
        "a_ledger_is_due_from_the_very_instant_on "
        "the_latest_append_says_when_a_ledger_is_due "
        "the_most_overdue_come_first_and_no_more_than_asked_for"
    ),
    GivesDuesByTheirIds: "the_most_overdue_come_first_and_no_more_than_asked_for",
    IgnoresTheLimit: "the_most_overdue_come_first_and_no_more_than_asked_for",
    TakesNeverForAlways: ("a_ledger_with_nothing_to_do_is_never_due the_latest_append_says_when_a_ledger_is_due"),
    KeepsTheFirstDue: "the_latest_append_says_when_a_ledger_is_due",
}
"""The tests, without "test_", that catch each; the comparison is left out."""
