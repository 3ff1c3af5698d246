"""What every storage must do, rule by rule, and the storages in memory that must do it.

`StorageContract` is written for reuse: a storage of another kind overrides `make`, and inherits all rules.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import given

from commcredits import (
    AsyncInMemoryStorage,
    DuplicateKeyError,
    Event,
    FundsHeld,
    Head,
    InMemoryStorage,
    InvalidValueError,
    Ledger,
    LedgerState,
    Paid,
    Storage,
    Stored,
    Terms,
    VersionConflictError,
    WrongTypeError,
)
from commcredits.testing.strategies import histories
from desk import DAY, HOUR, MINUTE, MOMENT, OPENED, Desk, names, topping_up, usd


class Blocking:
    """A storage of coroutines, as one that blocks."""

    def __init__(self, storage: AsyncInMemoryStorage) -> None:
        self._storage = storage
        self.in_caller_transaction = storage.in_caller_transaction

    def load(self, ledger_id: str) -> Stored | None:
        return asyncio.run(self._storage.load(ledger_id))

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        asyncio.run(self._storage.append(ledger_id, events, **named))

    def history(self, ledger_id: str, **named: Any) -> Iterator[Event]:
        async def collected() -> list[Event]:
            return [event async for event in self._storage.history(ledger_id, **named)]

        return iter(asyncio.run(collected()))

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        return asyncio.run(self._storage.find(ledger_id, idempotency_keys))

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        return asyncio.run(self._storage.about(ledger_id, subject))

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        return asyncio.run(self._storage.due(before, limit=limit))


class Account:
    """One ledger whose every command is appended to a storage."""

    def __init__(self, storage: Storage, ledger_id: str = "acme", at: datetime = OPENED, **terms: Any) -> None:
        self.storage = storage
        self.ledger = Ledger.open(ledger_id, Terms("USD", **terms), at=at)
        self.now = at
        self.events: list[Event] = []
        self.append([self.ledger.opened], expected_version=0)

    def append(self, events: Sequence[Event], *, expected_version: int | None = None) -> None:
        expected = len(self.events) if expected_version is None else expected_version
        self.storage.append(
            self.ledger.ledger_id,
            events,
            expected_version=expected,
            head=Head.of(self.ledger),
            state=self.ledger.state,
        )
        self.events += events

    def do(self, command: str, *arguments: Any, **named: Any) -> tuple[Event, ...]:
        events = getattr(self.ledger, command)(*arguments, at=self.now, **named)
        self.append(events)
        return events

    def decided(self, command: str, *arguments: Any, **named: Any) -> tuple[Event, ...]:
        """What a command would record, on a copy of the ledger."""
        return getattr(Ledger.restore(self.ledger.state()), command)(*arguments, at=self.now, **named)


def everything_in(storage: Storage, ledger_id: str = "acme") -> tuple[Any, ...]:
    """All that can be seen of a ledger in a storage."""
    stored = storage.load(ledger_id)
    events = tuple(storage.history(ledger_id))
    keys = [event.idempotency_key for event in events if event.idempotency_key]
    return (
        None if stored is None else (stored.state, tuple(stored.events)),
        events,
        dict(storage.find(ledger_id, keys)),
        {version: tuple(storage.about(ledger_id, version)) for version in range(len(events) + 3)},
        tuple(storage.due(OPENED + 9999 * DAY, limit=99)),
    )


def no_state() -> LedgerState:
    raise AssertionError


class StorageContract:
    """The rules of `Storage`; override `make`."""

    def make(self) -> Storage:
        """A new, empty storage."""
        raise NotImplementedError

    # load

    def test_a_ledger_that_nobody_opened_is_none(self) -> None:
        storage = self.make()
        assert storage.load("acme") is None
        Account(storage, "other")
        assert storage.load("acme") is None

    def test_what_is_loaded_makes_the_ledger_that_was_appended(self) -> None:
        account = Account(self.make())
        for number in range(120):
            account.do("add_funds", usd(number + 1))
            assert restored(account.storage) == account.ledger

    def test_what_is_loaded_are_the_events_after_the_snapshot(self) -> None:
        account = Account(self.make())
        for _ in range(250):
            account.do("add_funds", usd(1))
            stored = account.storage.load("acme")
            assert stored is not None
            kept = 0 if stored.state is None else stored.state.version
            assert list(stored.events) == account.events[kept:]

    def test_what_was_loaded_does_not_change_by_later_appends(self) -> None:
        account = Account(self.make())
        stored = account.storage.load("acme")
        assert stored is not None
        before = (stored.state, tuple(stored.events))
        account.do("add_funds", usd(5))
        assert (stored.state, tuple(stored.events)) == before

    def test_an_id_is_taken_as_it_is(self) -> None:
        storage = self.make()
        for ledger_id in (
            "acme",
            "ACME",
            "acme ",
            "a" * 200,
            "ac\u0301me",
            "\u00e9",
            "%",
            "a_b",
            "'; --",
            "\U0001f4de",
        ):
            Account(storage, ledger_id)
            loaded = storage.load(ledger_id)
            assert loaded is not None
            assert restored(storage, ledger_id).ledger_id == ledger_id

    # append

    def test_a_new_ledger_is_expected_to_have_no_events(self) -> None:
        storage = self.make()
        account = Account(storage)
        with pytest.raises(VersionConflictError) as caught:
            account.append([account.ledger.opened], expected_version=0)
        assert (caught.value.ledger_id, caught.value.expected_version) == ("acme", 0)
        assert list(storage.history("acme")) == account.events

    @pytest.mark.parametrize("expected", [0, 1, 2, 4, 100])
    def test_an_append_onto_any_other_version_is_refused_and_nothing_is_added(self, expected: int) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(5))
        account.do("add_funds", usd(5), idempotency_key="first")
        before = everything_in(account.storage)
        events = account.decided("add_funds", usd(7), idempotency_key="second")
        with pytest.raises(VersionConflictError) as caught:
            account.append(events, expected_version=expected)
        assert (caught.value.ledger_id, caught.value.expected_version) == ("acme", expected)
        assert everything_in(account.storage) == before
        assert account.storage.find("acme", ["second"]) == {}
        account.append(events, expected_version=3)

    def test_a_ledger_that_is_not_there_has_no_version_but_zero(self) -> None:
        storage = self.make()
        ledger = Ledger.open("acme", Terms("USD"), at=OPENED)
        events = ledger.add_funds(usd(5), at=OPENED)
        with pytest.raises(VersionConflictError):
            storage.append("acme", events, expected_version=1, head=Head.of(ledger), state=ledger.state)
        assert storage.load("acme") is None
        assert list(storage.due(OPENED + 999 * DAY, limit=9)) == []

    def test_of_two_who_decided_on_the_same_version_the_first_wins(self) -> None:
        account = Account(self.make())
        one, two = account.decided("add_funds", usd(5)), account.decided("add_funds", usd(7))
        account.append(one)
        with pytest.raises(VersionConflictError):
            account.append(two, expected_version=1)
        assert list(account.storage.history("acme")) == [account.ledger.opened, *one]

    def test_an_idempotency_key_is_taken_once_on_a_ledger_for_ever(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(5), idempotency_key="order 7")
        for _ in range(220):
            account.do("add_funds", usd(1))
        before = everything_in(account.storage)
        with pytest.raises(DuplicateKeyError) as caught:
            account.append(account.decided("consume", usd(1), idempotency_key="order 7"))
        error = caught.value
        assert (error.ledger_id, error.key, error.namespace) == ("acme", "order 7", "idempotency_key")
        assert everything_in(account.storage) == before

    def test_a_key_taken_by_the_last_of_many_events_refuses_them_all(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(50), idempotency_key="taken")
        before = everything_in(account.storage)
        ledger = Ledger.restore(account.ledger.state())
        events = [
            *ledger.consume(usd(1), at=OPENED, idempotency_key="new 1"),
            *ledger.hold("call", usd(1), at=OPENED, expires_at=OPENED + HOUR),
            *ledger.consume(usd(1), at=OPENED, idempotency_key="taken"),
        ]
        with pytest.raises(DuplicateKeyError):
            account.append(events)
        assert everything_in(account.storage) == before
        assert account.storage.find("acme", ["new 1"]) == {}
        assert list(account.storage.about("acme", "call")) == []
        account.append(events[:2])

    def test_a_key_given_twice_in_one_append_is_refused(self) -> None:
        account = Account(self.make())
        before = everything_in(account.storage)
        ledger = Ledger.restore(account.ledger.state())
        events = [
            *ledger.add_funds(usd(1), at=OPENED, idempotency_key="k"),
            *ledger.add_funds(usd(1), at=OPENED, idempotency_key="k"),
        ]
        with pytest.raises(DuplicateKeyError) as caught:
            account.append(events)
        assert caught.value.key == "k"
        assert everything_in(account.storage) == before

    def test_a_refused_append_takes_no_key(self) -> None:
        account = Account(self.make())
        events = account.decided("add_funds", usd(5), idempotency_key="k")
        with pytest.raises(VersionConflictError):
            account.append(events, expected_version=9)
        account.append(events)
        assert account.storage.find("acme", ["k"]) == {"k": events[0]}

    def test_each_ledger_has_its_own_keys_and_hold_ids(self) -> None:
        storage = self.make()
        for ledger_id in ("acme", "other"):
            account = Account(storage, ledger_id)
            account.do("add_funds", usd(5), idempotency_key="k")
            account.do("hold", "call", usd(1), expires_at=OPENED + HOUR)
        assert [event.idempotency_key for event in storage.history("other")] == [None, "k", None]

    def test_a_hold_id_is_taken_once_on_a_ledger_for_ever(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(5))
        (first,) = account.do("hold", "call", usd(1), expires_at=OPENED + HOUR)
        account.do("release", "call")
        for _ in range(220):
            account.do("add_funds", usd(1))
        before = everything_in(account.storage)
        again = with_values(first, version=account.ledger.version + 1)
        with pytest.raises(DuplicateKeyError) as caught:
            account.append([again])
        error = caught.value
        assert (error.ledger_id, error.key, error.namespace) == ("acme", "call", "hold_id")
        assert everything_in(account.storage) == before

    def test_a_hold_id_given_twice_in_one_append_is_refused(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(5))
        (held,) = account.decided("hold", "call", usd(1), expires_at=OPENED + HOUR)
        before = everything_in(account.storage)
        with pytest.raises(DuplicateKeyError) as caught:
            account.append([held, with_values(held, version=4)])
        assert caught.value.namespace == "hold_id"
        assert everything_in(account.storage) == before

    def test_only_placing_a_hold_takes_its_id(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(5))
        account.do("hold", "call", usd(1), expires_at=OPENED + HOUR)
        account.do("extend_hold", "call", add=usd(1))
        account.do("capture", "call", usd(1), final=False)
        account.do("capture", "call")

    def test_keys_and_hold_ids_have_namespaces_of_their_own(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(5), idempotency_key="call")
        account.do("hold", "call", usd(1), expires_at=OPENED + HOUR, idempotency_key="hold")
        account.do("hold", "hold", usd(1), expires_at=OPENED + HOUR)
        assert set(account.storage.find("acme", ["call", "hold"])) == {"call", "hold"}

    def test_a_key_is_taken_as_it_is(self) -> None:
        account = Account(self.make())
        keys = ["k", "K", " k", "k ", "k\n", "\u00e9", "e\u0301", "%", "_", "'", "k" * 200, "\U0001f4de"]
        for key in keys:
            account.do("add_funds", usd(1), idempotency_key=key)
        assert set(account.storage.find("acme", keys)) == set(keys)
        assert all(event.idempotency_key == key for key, event in account.storage.find("acme", keys).items())

    def test_a_snapshot_is_made_at_most_once_an_append_and_never_for_a_refused_one(self) -> None:
        account = Account(self.make())
        for _ in range(250):
            made: list[int] = []
            ledger = account.ledger
            events = ledger.add_funds(usd(1), at=OPENED)
            account.storage.append(
                "acme",
                events,
                expected_version=len(account.events),
                head=Head.of(ledger),
                state=lambda made=made: (made.append(1), account.ledger.state())[1],
            )
            account.events += events
            assert len(made) <= 1
            with pytest.raises(VersionConflictError):
                account.storage.append("acme", events, expected_version=1, head=Head.of(ledger), state=no_state)

    def test_a_snapshot_that_cannot_be_made_adds_nothing_or_is_not_asked_for(self) -> None:
        account = Account(self.make())
        for _ in range(250):
            before = everything_in(account.storage) if len(account.events) % 50 > 45 else None
            ledger = Ledger.restore(account.ledger.state())
            events = ledger.add_funds(usd(1), at=OPENED)
            version = len(account.events)
            try:
                account.storage.append(
                    "acme", events, expected_version=version, head=Head.of(ledger), state=cannot_be_made
                )
            except OSError:
                assert before is None or everything_in(account.storage) == before
                account.storage.append(
                    "acme", events, expected_version=version, head=Head.of(ledger), state=ledger.state
                )
            account.ledger = ledger
            account.events += events
        assert list(account.storage.history("acme")) == account.events

    def test_the_sequence_that_was_appended_is_not_kept(self) -> None:
        account = Account(self.make())
        events = list(account.ledger.add_funds(usd(1), at=OPENED))
        account.append(events)
        given_up = list(events)
        events.clear()
        assert list(account.storage.history("acme")) == [account.ledger.opened, *given_up]

    # history

    def test_history_is_all_events_in_order_or_those_after_a_version(self) -> None:
        account = Account(self.make())
        for _ in range(130):
            account.do("add_funds", usd(1))
        for after in (0, 1, 64, 99, 100, 101, 130, 131, 500):
            assert list(account.storage.history("acme", after_version=after)) == account.events[after:]
        assert list(account.storage.history("acme")) == account.events

    def test_the_history_of_a_ledger_that_nobody_opened_is_empty(self) -> None:
        assert list(self.make().history("acme")) == []
        assert list(self.make().history("acme", after_version=5)) == []

    def test_history_gives_one_event_after_the_other(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(1))
        history = account.storage.history("acme")
        assert next(history) == account.events[0]
        assert next(history) == account.events[1]
        with pytest.raises(StopIteration):
            next(history)

    # find

    def test_find_gives_the_event_that_has_a_key_and_leaves_out_the_keys_nobody_used(self) -> None:
        account = Account(self.make())
        (one,) = account.do("add_funds", usd(1), idempotency_key="one")
        account.do("add_funds", usd(1))
        (two,) = account.do("consume", usd(1), idempotency_key="two")
        assert dict(account.storage.find("acme", ["two", "three", "one"])) == {"one": one, "two": two}
        assert dict(account.storage.find("acme", iter(["one", "one"]))) == {"one": one}
        assert dict(account.storage.find("acme", [])) == {}
        assert account.storage.find("acme", ["one"])["one"].digest == one.digest

    def test_find_gives_the_first_event_of_a_command_of_many(self) -> None:
        account = Account(self.make())
        account.do("configure_auto_recharge", topping_up(), idempotency_key="on")
        (found,) = account.storage.find("acme", ["on"]).values()
        assert names([found]) == ["AutoRechargeConfigured"]

    def test_nothing_is_found_on_another_ledger(self) -> None:
        storage = self.make()
        Account(storage).do("add_funds", usd(1), idempotency_key="one")
        Account(storage, "other")
        assert dict(storage.find("other", ["one"])) == dict(storage.find("nobody", ["one"])) == {}

    # about

    def test_about_a_charge_are_all_its_events_and_the_funds_it_brought(self) -> None:
        account = Account(self.make())
        (requested,) = account.do("purchase", usd(20))
        account.do("purchase", usd(30))
        account.do("try_charge", requested.charge_id)
        account.do("record_outcome", requested.charge_id, Paid("one"))
        told = names(account.storage.about("acme", requested.charge_id))
        assert told == ["ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]

    def test_about_a_lot_are_its_funding_and_what_became_of_it_as_a_whole(self) -> None:
        account = Account(self.make())
        (added,) = account.do("add_funds", usd(20))
        account.do("add_funds", usd(30))
        account.do("refund", added.lot_id, usd(1))
        account.do("claw_back", added.lot_id, usd(2))
        account.do("reinstate", added.lot_id, usd(2))
        account.now += 400 * DAY
        account.do("advance")
        told = names(account.storage.about("acme", added.lot_id))
        assert told == [
            *("FundsAdded", "FundsRefunded", "FundsClawedBack", "FundsReinstated"),
            *("FundsExpiring", "FundsExpiring", "FundsExpired"),
        ]

    def test_about_usage_are_its_cost_and_its_reversals(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(20))
        (usage,) = account.do("consume", usd(5))
        account.do("consume", usd(6))
        account.do("reverse_consumption", usage, usd(1))
        account.do("reverse_consumption", usage, usd(2))
        told = account.storage.about("acme", usage.version)
        assert names(told) == ["FundsConsumed", "ConsumptionReversed", "ConsumptionReversed"]

    def test_about_a_hold_are_all_its_events_and_the_usage_that_it_paid(self) -> None:
        account = Account(self.make())
        account.do("add_funds", usd(20))
        account.do("hold", "call 1", usd(5), expires_at=OPENED + HOUR)
        account.do("hold", "call 2", usd(5), expires_at=OPENED + HOUR)
        account.do("extend_hold", "call 1", add=usd(1))
        account.do("capture", "call 1", usd(2))
        told = names(account.storage.about("acme", "call 1"))
        assert told == ["FundsHeld", "HoldExtended", "FundsConsumed", "HoldReleased"]

    def test_about_what_nobody_knows_is_nothing(self) -> None:
        storage = self.make()
        assert list(storage.about("acme", 1)) == []
        Account(storage)
        for subject in (0, 1, 77, "call", ""):
            assert list(storage.about("acme", subject)) == []

    def test_about_tells_of_one_ledger_only(self) -> None:
        storage = self.make()
        Account(storage).do("add_funds", usd(1))
        other = Account(storage, "other")
        (granted,) = other.do("grant", usd(2))
        assert list(storage.about("other", 2)) == [granted]

    # due

    def test_a_ledger_is_due_from_the_very_instant_on(self) -> None:
        storage = self.make()
        Account(storage, expiry_notices=[]).do("add_funds", usd(1), reference="a year")
        due = Ledger.restore(restored(storage).state()).next_due
        assert due is not None
        assert list(storage.due(due - MOMENT, limit=9)) == []
        assert list(storage.due(due, limit=9)) == ["acme"]
        assert list(storage.due(due + 99 * DAY, limit=9)) == ["acme"]

    def test_the_most_overdue_come_first_and_no_more_than_asked_for(self) -> None:
        storage = self.make()
        for number in (3, 1, 4, 2):
            Account(storage, f"ledger {number}", OPENED + number * MINUTE).do("purchase", usd(20))
        everyone = [f"ledger {number}" for number in (1, 2, 3, 4)]
        for limit in (1, 2, 3, 4, 99):
            assert list(storage.due(OPENED + DAY, limit=limit)) == everyone[:limit]
        assert list(storage.due(OPENED + 2 * MINUTE, limit=99)) == everyone[:2]

    def test_a_ledger_with_nothing_to_do_is_never_due(self) -> None:
        storage = self.make()
        Account(storage, funds_valid_for=None).do("add_funds", usd(1))
        assert list(storage.due(OPENED + 99_999 * DAY, limit=9)) == []

    def test_the_latest_append_says_when_a_ledger_is_due(self) -> None:
        account = Account(self.make(), funds_valid_for=None)
        (requested,) = account.do("purchase", usd(20))
        assert list(account.storage.due(OPENED, limit=9)) == ["acme"]
        account.do("try_charge", requested.charge_id)
        assert list(account.storage.due(OPENED + 5 * MINUTE - MOMENT, limit=9)) == []
        assert list(account.storage.due(OPENED + 5 * MINUTE, limit=9)) == ["acme"]
        account.do("record_outcome", requested.charge_id, Paid())
        assert list(account.storage.due(OPENED + 9999 * DAY, limit=9)) == []


def restored(storage: Storage, ledger_id: str = "acme") -> Ledger:
    """The ledger that a storage has."""
    stored = storage.load(ledger_id)
    assert stored is not None
    if stored.state is None:
        return Ledger.replay(stored.events)
    return Ledger.restore(stored.state, stored.events)


def append_all(storage: Storage, events: Sequence[Event], cuts: Iterable[int]) -> None:
    """Append the events in pieces that end at the cuts."""
    done = 0
    for cut in cuts:
        if cut > done:
            ledger = Ledger.replay(events[:cut])
            storage.append(
                ledger.ledger_id,
                events[done:cut],
                expected_version=done,
                head=Head.of(ledger),
                state=ledger.state,
            )
            done = cut


def with_values(event: FundsHeld, **changes: Any) -> FundsHeld:
    """The same event with other values."""
    return FundsHeld(**{**{name: getattr(event, name) for name in event.fields}, **changes})


def cannot_be_made() -> LedgerState:
    raise OSError


class TestInMemoryStorage(StorageContract):
    def make(self) -> Storage:
        return InMemoryStorage()


class TestInMemoryStorageWithASnapshotAtEveryAppend(StorageContract):
    def make(self) -> Storage:
        return InMemoryStorage(snapshot_every=1)


class TestAsyncInMemoryStorage(StorageContract):
    def make(self) -> Storage:
        return Blocking(AsyncInMemoryStorage(snapshot_every=7))


@pytest.mark.parametrize("make", [InMemoryStorage, AsyncInMemoryStorage])
def test_in_memory_an_append_is_never_part_of_the_callers_transaction(make: Callable[[], Any]) -> None:
    assert make().in_caller_transaction is False


@pytest.mark.parametrize("every", [1, 2, 10, 100])
def test_in_memory_a_snapshot_is_kept_whenever_so_many_events_came(every: int) -> None:
    account = Account(InMemoryStorage(snapshot_every=every))
    for _ in range(205):
        account.do("add_funds", usd(1))
        stored = account.storage.load("acme")
        assert stored is not None
        assert len(stored.events) < every
        kept = 0 if stored.state is None else stored.state.version
        assert kept == len(account.events) // every * every


def test_in_memory_a_snapshot_is_kept_every_hundred_events_unless_said_otherwise() -> None:
    account = Account(InMemoryStorage())
    for _ in range(98):
        account.do("add_funds", usd(1))
    stored = account.storage.load("acme")
    assert stored is not None
    assert stored.state is None
    account.do("add_funds", usd(1))
    stored = account.storage.load("acme")
    assert stored is not None
    assert (stored.state, list(stored.events)) == (account.ledger.state(), [])


def test_in_memory_only_one_of_many_threads_wins_a_version() -> None:
    account = Account(InMemoryStorage())
    decided = [account.decided("add_funds", usd(number + 1), idempotency_key=f"k{number}") for number in range(16)]
    barrier = threading.Barrier(16)
    won: list[tuple[Event, ...]] = []
    lost: list[VersionConflictError] = []

    def race(events: tuple[Event, ...]) -> None:
        ledger = Ledger.restore(account.ledger.state(), events)
        barrier.wait()
        try:
            account.storage.append("acme", events, expected_version=1, head=Head.of(ledger), state=ledger.state)
            won.append(events)
        except VersionConflictError as error:
            lost.append(error)

    threads = [threading.Thread(target=race, args=(events,)) for events in decided]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 15)
    assert list(account.storage.history("acme")) == [account.ledger.opened, *won[0]]
    assert len(account.storage.find("acme", [f"k{number}" for number in range(16)])) == 1


def test_a_history_being_read_is_not_disturbed_by_appends() -> None:
    account = Account(InMemoryStorage())
    account.do("add_funds", usd(1))
    history = account.storage.history("acme")
    first = next(history)
    account.do("add_funds", usd(2))
    assert [first, *history] == account.events[:2]


def test_the_head_of_a_ledger_says_where_it_stands() -> None:
    desk = Desk(funds=50)
    desk.do("hold", "call", usd(20), expires_at=desk.now + HOUR)
    head = Head.of(desk.ledger)
    assert head == Head(3, OPENED, usd(50), usd(30), OPENED + HOUR)
    assert head == Head.of(desk.ledger.state())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        head.version = 4


def test_a_stored_ledger_is_a_plain_value() -> None:
    opened = Desk(funds=0).ledger.opened
    assert Stored(None, (opened,)) == Stored(state=None, events=(opened,))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Stored(None, ()).events = (opened,)


@pytest.mark.parametrize(("every", "error"), [(0, InvalidValueError), (-1, InvalidValueError), ("1", WrongTypeError)])
def test_in_memory_a_snapshot_every_nothing_is_refused(every: Any, error: type[Exception]) -> None:
    for make in (InMemoryStorage, AsyncInMemoryStorage):
        with pytest.raises(error, match="snapshot_every"):
            make(snapshot_every=every)


# Over random histories, in a storage of any kind.

MAKES: list[Callable[[], Storage]] = [
    InMemoryStorage,
    lambda: InMemoryStorage(snapshot_every=3),
    lambda: Blocking(AsyncInMemoryStorage(snapshot_every=7)),
]


@given(make=st.sampled_from(MAKES), events=histories())
def test_about_is_every_event_that_names_the_subject(make: Callable[[], Storage], events: tuple[Event, ...]) -> None:
    storage = make()
    append_all(storage, events, [len(events)])
    wanted: dict[Any, list[Event]] = {}
    for event in events:
        for name in ("lot_id", "consumption", "charge_id", "hold_id"):
            if getattr(event, name, None) is not None:
                wanted.setdefault(getattr(event, name), []).append(event)
        if type(event).__name__ == "FundsConsumed":
            wanted.setdefault(event.version, []).append(event)
    for subject, told in wanted.items():
        assert list(storage.about("history", subject)) == told


@given(make=st.sampled_from(MAKES), events=histories(), data=st.data())
def test_however_a_history_is_cut_into_appends_it_comes_back_whole(
    make: Callable[[], Storage], events: tuple[Event, ...], data: st.DataObject
) -> None:
    storage = make()
    cuts = data.draw(st.lists(st.integers(1, len(events)), max_size=6).map(sorted))
    append_all(storage, events, [*cuts, len(events)])
    assert tuple(storage.history("history")) == events
    assert restored(storage, "history") == Ledger.replay(events)
    keyed = {event.idempotency_key: event for event in events if event.idempotency_key is not None}
    assert dict(storage.find("history", keyed)) == keyed
    due = Ledger.replay(events).next_due
    assert list(storage.due(OPENED + 9999 * DAY, limit=9)) == ([] if due is None else ["history"])
