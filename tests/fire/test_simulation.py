"""Lives of ledgers, told by seeds, in which everything fails that can; and proof that a life in which we fail shows it.

A seed that fails is printed with all that was wrong; `python tests/fire/simulation.py SEED` tells its story.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
from bank import Bank
from world import Machine

from commcredits import (
    AsyncLedgerService,
    Charge,
    Declined,
    DuplicateKeyError,
    Event,
    InMemoryStorage,
    Outcome,
    Receipt,
    Terms,
    charges,
)
from commcredits.appending import Command
from commcredits.settling import Settler
from simulation import Simulation, lived

SHORT = 120
LONG = 2000
PARTS = 20  # so that several processes can share the work
CAUGHT_WITHIN = 200  # seeds


@cache
def short_lives() -> tuple[Simulation, ...]:
    return tuple(map(lived, range(SHORT)))


def failures(lives: Iterable[Simulation]) -> str:
    """What was wrong in these lives, and how to see them alone; empty: nothing."""
    told = []
    for life in lives:
        if life.wrongs:
            told += [f"python tests/fire/simulation.py {life.seed}", *life.wrongs]
    return "\n".join(told)


def test_what_is_taken_is_given_and_what_is_acknowledged_is_there_once_whatever_fails() -> None:
    assert not failures(short_lives())


@pytest.mark.fire
@pytest.mark.parametrize("part", range(PARTS))
def test_so_it_is_in_many_lives(part: int, fire_seed: int) -> None:
    size = LONG // PARTS
    first = fire_seed + SHORT + part * size
    assert not failures(map(lived, range(first, first + size)))


def test_a_seed_that_fails_is_named_with_what_was_wrong() -> None:
    life = lived(0, PLANTED["a storage that forgets"][0])
    assert failures([life, lived(1)]).splitlines() == ["python tests/fire/simulation.py 0", *life.wrongs]
    assert life.wrongs


def test_a_seed_tells_the_same_story_in_every_process() -> None:
    script = Path(__file__).parent / "simulation.py"
    told = []
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, script, "7"], check=True, capture_output=True, env=environment)
        told.append(done.stdout)
    assert told[0] == told[1] == "".join(f"{line}\n" for line in lived(7).story).encode()


def test_much_goes_wrong_in_these_lives() -> None:
    told = "\n".join("\n".join(life.story) for life in short_lives())
    for trouble in (
        "append: dies before",
        "append: dies under way",
        "append: dies after",
        "append: lost on the way there",
        "append: lost on the way back",
        "charge: dies under way",
        "charge: dies after",
        "charge: lost on the way there",
        "charge: lost on the way back",
        "too late: VersionConflictError",
        "no answer",
        "says Declined(reason='stolen', retryable=False)",
        "says Processing",
    ):
        assert trouble in told


# Faults of ours, planted


class IgnoresVersions(InMemoryStorage):
    """Appends to whatever is there."""

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        there = len(list(self.history(ledger_id)))
        super().append(ledger_id, events, **named | {"expected_version": there})


class ForgetsKeys(InMemoryStorage):
    """Takes a key twice."""

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        try:
            super().append(ledger_id, events, **named)
        except DuplicateKeyError as error:
            del self._records[ledger_id].keys[error.key]
            super().append(ledger_id, events, **named)


class StoresHalf(InMemoryStorage):
    """Stores the first of several events."""

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        super().append(ledger_id, events[:1], **named)


class ForgetsAppends(InMemoryStorage):
    """Says that it stored what it did not."""

    appends = 0

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        self.appends += 1
        if self.appends % 13:
            super().append(ledger_id, events, **named)


class TakesTwice(Bank):
    """Does not look at the key."""

    def knows(self, key: str) -> bool:
        return False


class NoClaim(Settler):
    """Makes a charge without saying so first."""

    async def _make(self, ledger_id: str, receipt: Receipt, charge: Charge) -> Receipt:
        try:
            outcome = await self._payment_method.charge(charge)
            record = Command(
                "record_outcome", {"charge_id": charge.charge_id, "outcome": outcome}, subject=charge.charge_id
            )
            return await self._step(ledger_id, receipt, record)
        except Exception as error:  # noqa: BLE001  # as the real one
            return attrs.evolve(receipt, charge_error=error)


class TakesOutagesForDeclines:
    """Says that a charge was declined of which it knows nothing."""

    def __init__(self, payment_method: Any) -> None:
        self._payment_method = payment_method

    async def charge(self, charge: Charge) -> Outcome:
        try:
            return await self._payment_method.charge(charge)  # type: ignore[no-any-return]
        except ConnectionError:
            return Declined("no answer")


class ServiceWithoutClaim(AsyncLedgerService):
    def __init__(self, storage: Any, payment_method: Any, **named: Any) -> None:
        super().__init__(storage, payment_method, **named)
        self._settler = NoClaim(self._appender, payment_method)


class ServiceOfDeclines(AsyncLedgerService):
    def __init__(self, storage: Any, payment_method: Any, **named: Any) -> None:
        super().__init__(storage, TakesOutagesForDeclines(payment_method), **named)


class WithNewKeys(Simulation):
    """Hands the payment provider a new key at each attempt."""

    def charge(self, charge: Charge) -> Outcome:
        return super().charge(attrs.evolve(charge, charge_id=f"{charge.charge_id} {self.random.random()}"))


class WithWildClocks(Simulation):
    def _new_machine(self) -> Machine:
        machine = super()._new_machine()
        machine.skew *= 10
        return machine


def with_storage(kind: type[InMemoryStorage]) -> type[Simulation]:
    return type(kind.__name__, (Simulation,), {"memory_type": kind})


PLANTED: dict[str, tuple[Callable[[int], Simulation], str]] = {
    "a storage that ignores versions": (with_storage(IgnoresVersions), "comes next, not"),
    "a storage that takes a key twice": (with_storage(ForgetsKeys), "was asked for"),
    "a storage that stores half": (with_storage(StoresHalf), "is not there"),
    "a storage that forgets": (with_storage(ForgetsAppends), "is not there"),
    "a payment provider that takes the money twice": (
        type("T", (Simulation,), {"bank_type": TakesTwice}),
        "the bank took",
    ),
    "a service that claims no charge": (
        type("S", (Simulation,), {"service_type": ServiceWithoutClaim}),
        "and claimed 0",
    ),
    "a service to which an outage is a decline": (
        type("D", (Simulation,), {"service_type": ServiceOfDeclines}),
        "said to be declined",
    ),
    "a key for each attempt": (WithNewKeys, "the bank took"),
    "clocks that are far apart": (WithWildClocks, "TimeRunsBackError"),
}


def caught(kind: Callable[[int], Simulation], wrong: str) -> bool:
    """Whether a life of that kind soon shows what is wrong."""
    return any(wrong in told for seed in range(CAUGHT_WITHIN) for told in lived(seed, kind).wrongs)


@pytest.mark.parametrize("planted", PLANTED)
def test_the_simulation_catches(planted: str) -> None:
    assert caught(*PLANTED[planted])


def test_the_simulation_catches_outcomes_that_are_recorded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charges, "is_news", lambda charge, outcome: True)
    assert caught(Simulation, "the bank took")


def test_the_simulation_catches_charges_made_again_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    due_at = charges.due_at

    def early(charge: Charge, terms: Terms) -> Any:
        return due_at(charge, attrs.evolve(terms, unknown_delay=timedelta(microseconds=1)))

    monkeypatch.setattr(charges, "due_at", early)
    assert caught(Simulation, "too early")
