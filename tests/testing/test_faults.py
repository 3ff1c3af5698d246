"""Storages and payment methods that fail by chance."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from build import T0, kinds, usd
from commcredits import (
    AsyncInMemoryStorage,
    AsyncLedgerService,
    Charge,
    CommCreditsError,
    Head,
    InMemoryStorage,
    InvalidValueError,
    Ledger,
    LedgerService,
    Outcome,
    Paid,
    Terms,
    WrongTypeError,
)
from commcredits.testing.faults import (
    AsyncFaultyPaymentMethod,
    AsyncFaultyStorage,
    FaultyPaymentMethod,
    FaultyStorage,
    InjectedFault,
)

CHARGE = Charge("acme:1", "acme", usd(50), "card", "purchase", 1, T0)


class Card:
    def __init__(self) -> None:
        self.taken: list[Charge] = []

    def charge(self, charge: Charge) -> Outcome:
        self.taken.append(charge)
        return Paid("receipt")


class AsyncCard(Card):
    async def charge(self, charge: Charge) -> Outcome:  # type: ignore[override]
        return super().charge(charge)


def answered(answer: Any) -> Any:
    """The answer, waited for if it is to be waited for."""

    async def listed() -> list[Any]:
        return [event async for event in answer]

    if inspect.isasyncgen(answer):
        return asyncio.run(listed())
    if inspect.isgenerator(answer):
        return list(answer)
    return asyncio.run(answer) if inspect.iscoroutine(answer) else answer


class Parts:
    """A storage with one ledger and a card, and both with faults around them; it always knows the truth."""

    def __init__(self, kind: str, **faults: Any) -> None:
        is_async = kind == "asynchronous"
        self.inner: Any = AsyncInMemoryStorage() if is_async else InMemoryStorage()
        self.storage: Any = (AsyncFaultyStorage if is_async else FaultyStorage)(self.inner, **faults)
        self.inner_card = AsyncCard() if is_async else Card()
        self.card: Any = (AsyncFaultyPaymentMethod if is_async else FaultyPaymentMethod)(self.inner_card, **faults)
        self.ledger = Ledger.open("acme", Terms("USD"), at=T0)
        self.append_to(self.inner, [self.ledger.opened], 0)

    def append_to(self, storage: Any, events: Any, version: int) -> None:
        head, state = Head.of(self.ledger), self.ledger.state
        answered(storage.append("acme", events, expected_version=version, head=head, state=state))

    def calls(self) -> dict[str, Callable[[], Any]]:
        def append() -> None:
            events = self.ledger.add_funds(usd(5), at=T0, idempotency_key=f"k{self.ledger.version}")
            self.append_to(self.storage, events, self.ledger.version - 1)

        return {
            "append": append,
            "load": lambda: answered(self.storage.load("acme")),
            "history": lambda: answered(self.storage.history("acme", after_version=1)),
            "find": lambda: answered(self.storage.find("acme", ["k1"])),
            "about": lambda: answered(self.storage.about("acme", 2)),
            "due": lambda: answered(self.storage.due(self.ledger.next_due or T0, limit=9)),
            "charge": lambda: answered(self.card.charge(CHARGE)),
        }

    @property
    def version(self) -> int:
        return len(answered(self.inner.history("acme")))


KINDS = pytest.mark.parametrize("kind", ["blocking", "asynchronous"])


@KINDS
def test_what_never_fails_is_what_is_underneath(kind: str) -> None:
    parts = Parts(kind, seed=1, failure_rate=0)
    calls = parts.calls()
    calls["append"]()
    answers = {name: call() for name, call in calls.items() if name != "append"}
    (added,) = answers["history"]
    assert kinds(answers["load"].events) == ["LedgerOpened", "FundsAdded"]
    assert answers["find"] == {"k1": added}
    assert list(answers["about"]) == [added]
    assert answers["due"] == ["acme"]
    assert answers["charge"] == Paid("receipt")
    assert parts.storage.in_caller_transaction is False


@pytest.mark.parametrize("faulty", [FaultyStorage, AsyncFaultyStorage])
def test_it_is_in_the_callers_transaction_when_the_storage_underneath_is(faulty: Any) -> None:
    inner = InMemoryStorage()
    inner.in_caller_transaction = True
    assert faulty(inner, seed=1).in_caller_transaction is True


@KINDS
@pytest.mark.parametrize("name", ["append", "load", "history", "find", "about", "due", "charge"])
def test_what_always_fails_fails_before_its_work_or_after_it(kind: str, name: str) -> None:
    seen = set()
    for seed in range(20):
        parts = Parts(kind, seed=seed, failure_rate=1)
        with pytest.raises(InjectedFault) as caught:
            parts.calls()[name]()
        fault = caught.value
        assert str(fault) == f"{name} failed {fault.when} it was done"
        assert fault.call == name
        seen.add(fault.when)
        done = fault.when == "after"
        assert parts.version == (2 if done and name == "append" else 1)
        assert len(parts.inner_card.taken) == (1 if done and name == "charge" else 0)
    assert seen == {"before", "after"}


def told(kind: str, seed: int, **faults: Any) -> list[str]:
    """What becomes of many calls of every name."""
    parts = Parts(kind, seed=seed, **faults)
    answers = []
    for _ in range(60):
        for call in parts.calls().values():
            parts.ledger = Ledger.replay(answered(parts.inner.history("acme")))
            try:
                call()
            except InjectedFault as fault:
                answers.append(str(fault))
            else:
                answers.append("well")
    return answers


@KINDS
def test_a_seed_makes_the_same_faults_again(kind: str) -> None:
    assert told(kind, 1) == told(kind, 1) != told(kind, 2)


def test_a_seed_makes_the_same_faults_for_both_kinds() -> None:
    assert told("blocking", 3) == told("asynchronous", 3)


@pytest.mark.parametrize(("faults", "share"), [({}, 0.1), ({"failure_rate": 0.5}, 0.5)])
def test_as_many_fail_as_was_asked_for_half_of_them_before(faults: Any, share: float) -> None:
    answers = [answer for seed in range(10) for answer in told("blocking", seed, **faults)]
    for when in ("before", "after"):
        part = sum(f"failed {when}" in answer for answer in answers) / len(answers)
        assert abs(part - share / 2) < 0.03


def test_what_the_storage_underneath_refuses_is_refused() -> None:
    parts = Parts("blocking", seed=1, failure_rate=0)
    with pytest.raises(CommCreditsError):
        parts.append_to(parts.storage, [parts.ledger.opened], 0)


def test_a_history_fails_before_its_first_event_or_after_its_last() -> None:
    seen = set()
    for seed in range(20):
        read = []
        with pytest.raises(InjectedFault) as caught:
            read.extend(Parts("blocking", seed=seed, failure_rate=1).storage.history("acme"))
        seen.add((caught.value.when, len(read)))
    assert seen == {("before", 0), ("after", 1)}


def test_before_each_call_of_a_coroutine_others_go_first() -> None:
    async def order() -> list[int]:
        done: list[int] = []

        async def load(storage: Any, number: int) -> None:
            await storage.load("acme")
            done.append(number)

        faulty = AsyncFaultyStorage(AsyncInMemoryStorage(), seed=1, failure_rate=0)
        await asyncio.gather(load(faulty, 1), load(AsyncInMemoryStorage(), 2))
        return done

    assert asyncio.run(order()) == [2, 1]


def test_a_fault_survives_pickling() -> None:
    fault = pickle.loads(pickle.dumps(InjectedFault("append", "after")))  # noqa: S301
    assert (fault.call, fault.when) == ("append", "after")
    assert not isinstance(fault, CommCreditsError)


@pytest.mark.parametrize(
    ("faults", "error", "parameter"),
    [
        ({"seed": "1"}, WrongTypeError, "seed"),
        ({"seed": True}, WrongTypeError, "seed"),
        ({"seed": None}, WrongTypeError, "seed"),
        ({"seed": 1, "failure_rate": "0.1"}, WrongTypeError, "failure_rate"),
        ({"seed": 1, "failure_rate": True}, WrongTypeError, "failure_rate"),
        ({"seed": 1, "failure_rate": -0.01}, InvalidValueError, "failure_rate"),
        ({"seed": 1, "failure_rate": 1.01}, InvalidValueError, "failure_rate"),
        ({"seed": 1, "failure_rate": float("nan")}, InvalidValueError, "failure_rate"),
    ],
)
def test_a_seed_or_a_rate_that_is_none_is_refused(faults: Any, error: type[Exception], parameter: str) -> None:
    for faulty in (FaultyStorage, AsyncFaultyStorage, FaultyPaymentMethod, AsyncFaultyPaymentMethod):
        with pytest.raises(error) as caught:
            faulty(Any, **faults)
        assert caught.value.parameter == parameter  # type: ignore[attr-defined]


def consumed(service: LedgerService, faults: list[InjectedFault]) -> None:
    for number in range(50):
        while True:
            try:
                service.consume("acme", usd(1), idempotency_key=f"call {number}")
                break
            except InjectedFault as fault:
                faults.append(fault)


def test_a_service_does_everything_once_though_its_storage_fails_again_and_again() -> None:
    inner, card, faults = InMemoryStorage(), Card(), list[InjectedFault]()
    LedgerService(inner, card).open("acme", Terms("USD", overdraft_limit=None))
    consumed(LedgerService(FaultyStorage(inner, seed=4, failure_rate=0.4), card), faults)
    assert LedgerService(inner, card).get("acme").balance == usd(-50)
    assert len(faults) > 10


def test_a_service_of_coroutines_takes_them_too() -> None:
    async def purchased() -> None:
        inner, card = AsyncInMemoryStorage(), AsyncCard()
        await AsyncLedgerService(inner, card).open("acme", Terms("USD"))
        faulty = AsyncFaultyPaymentMethod(card, seed=1, failure_rate=1)
        service = AsyncLedgerService(AsyncFaultyStorage(inner, seed=1, failure_rate=0), faulty)
        receipt = await service.purchase("acme", usd(50))
        assert isinstance(receipt.charge_error, InjectedFault)
        assert receipt.pending_charges

    asyncio.run(purchased())
