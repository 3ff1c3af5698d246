"""A storage beside `InMemoryStorage`: both are told the same, in any order, and must answer the same."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from commcredits.errors import DuplicateKeyError, VersionConflictError
from commcredits.events import FundsHeld, values_of
from commcredits.ledger import Ledger
from commcredits.storage import Head, InMemoryStorage, subjects
from commcredits.testing.accounts import restored
from commcredits.testing.histories import History
from commcredits.testing.strategies import histories

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from commcredits.events import Event
    from commcredits.storage import Storage

_LEDGERS_MAX = 3
_numbers = count(1)


def compare_with_memory(storage: Storage) -> None:
    """Compare a storage with `InMemoryStorage`, as often as the current profile of Hypothesis says."""

    class Comparison(_Comparison):
        def __init__(self) -> None:
            super().__init__(storage)

    unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=20)
    run_state_machine_as_test(Comparison, settings=unhurried)


class _Script:
    """The events of a ledger that was lived through before, to be appended piece by piece."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.version = 0

    @property
    def ledger_id(self) -> str:
        opened: Any = self.events[0]
        return str(opened.ledger_id)

    @property
    def stored(self) -> Sequence[Event]:
        return self.events[: self.version]

    def next(self, size: int) -> Sequence[Event]:
        return self.events[self.version : self.version + size]


_SCRIPTS = st.integers(0, _LEDGERS_MAX - 1)
_SIZES = st.integers(1, 8)


class _Comparison(RuleBasedStateMachine):
    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self.storage = storage
        self.memory = InMemoryStorage()
        self.scripts: list[_Script] = []

    def script(self, number: int) -> _Script:
        return self.scripts[number % len(self.scripts)]

    def both(self, call: Callable[[Storage], Any]) -> Any:
        """What both answer, or which of the errors of a storage they raise."""

        def answer(storage: Storage) -> Any:
            try:
                return call(storage)
            except (VersionConflictError, DuplicateKeyError) as error:
                return type(error), vars(error)

        expected = answer(self.memory)
        assert answer(self.storage) == expected
        return expected

    def append(self, script: _Script, events: Sequence[Event], expected_version: int) -> None:
        ledger = Ledger.replay([*script.stored, *script.next(len(events))])
        refused = self.both(
            lambda storage: storage.append(
                script.ledger_id, events, expected_version=expected_version, head=Head.of(ledger), state=ledger.state
            )
        )
        if refused is None:
            script.version += len(events)

    @precondition(lambda self: len(self.scripts) < _LEDGERS_MAX)
    @rule(data=st.data(), size=_SIZES)
    def open(self, data: st.DataObject, size: int) -> None:
        # Ids are never used again, so that what earlier runs left in the storage does not matter.
        script = _Script(data.draw(histories(max_commands=20, ledger_id=f"ledger {next(_numbers)}")))
        self.scripts.append(script)
        self.append(script, script.next(size), 0)

    @precondition(lambda self: self.scripts)
    @rule(number=_SCRIPTS, size=_SIZES)
    def append_what_comes_next(self, number: int, size: int) -> None:
        script = self.script(number)
        if script.next(size):
            self.append(script, script.next(size), script.version)

    @precondition(lambda self: self.scripts)
    @rule(number=_SCRIPTS, size=_SIZES, off=st.integers(-3, 3).filter(bool))
    def append_onto_another_version(self, number: int, size: int, off: int) -> None:
        script = self.script(number)
        if script.next(size) and script.version + off >= 0:
            self.append(script, script.next(size), script.version + off)

    @precondition(lambda self: self.scripts)
    @rule(number=_SCRIPTS, size=_SIZES, place=st.integers(0, 99), chosen=st.integers(0, 99))
    def append_with_a_key_that_is_taken(self, number: int, size: int, place: int, chosen: int) -> None:
        script = self.script(number)
        keys = [event.idempotency_key for event in script.stored if event.idempotency_key is not None]
        events = list(script.next(size))
        if keys and events:
            place %= len(events)
            key = keys[chosen % len(keys)]
            events[place] = type(events[place])(**{**values_of(events[place]), "idempotency_key": key})
            self.append(script, events, script.version)

    @precondition(lambda self: self.scripts)
    @rule(number=_SCRIPTS, chosen=st.integers(0, 99))
    def append_with_a_hold_id_that_is_taken(self, number: int, chosen: int) -> None:
        script = self.script(number)
        held = [event for event in script.stored if isinstance(event, FundsHeld)]
        if held:
            again = {**values_of(held[chosen % len(held)]), "version": script.version + 1, "idempotency_key": None}
            self.append(script, [FundsHeld(**again)], script.version)

    @precondition(lambda self: self.scripts)
    @rule(number=_SCRIPTS, after=st.integers(0, 99))
    def read_everything(self, number: int, after: int) -> None:
        script = self.script(number)
        ledger_id, events = script.ledger_id, script.events
        keys = [event.idempotency_key for event in events if event.idempotency_key is not None]
        known = {subject: None for event in events for subject in subjects(event)}
        assert restored(self.storage, ledger_id) == restored(self.memory, ledger_id)
        self.both(lambda storage: list(storage.history(ledger_id, after_version=after)))
        self.both(lambda storage: dict(storage.find(ledger_id, [*keys, "unknown"])))
        self.both(lambda storage: {subject: list(storage.about(ledger_id, subject)) for subject in known})

    @precondition(lambda self: self.scripts)
    @rule(days=st.integers(0, 500))
    def ask_what_is_due(self, days: int) -> None:
        before = History.OPENED + timedelta(days=days)
        dues = {script.ledger_id: Ledger.replay(script.stored).next_due for script in self.scripts if script.version}
        expected = self.memory.due(before, limit=_LEDGERS_MAX)
        told = [ledger_id for ledger_id in self.storage.due(before, limit=10**6) if ledger_id in dues]
        assert sorted(told) == sorted(expected)
        # Those that are due at the same time may come in any order.
        assert [dues[ledger_id] for ledger_id in told] == [dues[ledger_id] for ledger_id in expected]
