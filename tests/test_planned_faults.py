from __future__ import annotations

import asyncio
import inspect
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import find, given

from build import T0, hour, kinds, usd
from commcredits import Charge, Declined, Event, InMemoryStorage, Ledger, Paid, Processing, Terms
from commcredits.storage import Head
from commcredits.testing.faults import InjectedFault
from faults import (
    AFTER,
    BEFORE,
    CALLS,
    OK,
    AsyncFaultyPaymentMethod,
    AsyncFaultyStorage,
    FaultyPaymentMethod,
    FaultyStorage,
    Plan,
    Provider,
    plans,
)
from office import KINDS, Clock


def answered(answer: Any) -> Any:
    """The answer, waited for if it is to be waited for."""

    async def listed(events: Any) -> list[Event]:
        return [event async for event in events]

    if inspect.isasyncgen(answer):
        answer = listed(answer)
    return asyncio.run(answer) if inspect.iscoroutine(answer) else answer


def charge(number: int = 1, amount: int = 50, method: str = "card") -> Charge:
    return Charge(f"acme:{number}", "acme", usd(amount), method, "purchase", 1, T0)


class Parts:
    """A storage of one ledger and a card, both of a kind and with one plan."""

    def __init__(self, kind: str) -> None:
        is_async = kind == "asynchronous"
        self.clock = Clock()
        self.plan = Plan()
        self.inner = InMemoryStorage()
        self.provider = Provider(self.clock)
        self.storage: Any = (AsyncFaultyStorage if is_async else FaultyStorage)(self.inner, self.plan)
        self.card: Any = (AsyncFaultyPaymentMethod if is_async else FaultyPaymentMethod)(self.provider, self.plan)
        self.ledger = Ledger.open("acme", Terms("USD"), at=T0)
        self.append([self.ledger.opened], 0)

    def append(self, events: Any, expected_version: int) -> None:
        head = Head.of(self.ledger)
        call = self.storage.append(
            "acme", events, expected_version=expected_version, head=head, state=self.ledger.state
        )
        answered(call)

    def call(self, name: str) -> Any:
        if name == "append":
            return self.append(self.ledger.add_funds(usd(5), at=T0, idempotency_key="k"), 1)
        if name == "charge":
            return answered(self.card.charge(charge()))
        arguments: dict[str, tuple[Any, ...]] = {"find": (["k"],), "about": (2,)}
        if name == "due":
            return answered(self.storage.due(T0 + timedelta(days=400), limit=9))
        answer = answered(getattr(self.storage, name)("acme", *arguments.get(name, ())))
        return list(answer) if name == "history" else answer


@pytest.fixture(params=KINDS)
def parts(request: pytest.FixtureRequest) -> Parts:
    return Parts(request.param)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_fails_when_planned_before_or_after_its_work_and_then_no_more(parts: Parts, name: str) -> None:
    def did() -> tuple[int, int]:
        return len(list(parts.inner.history("acme"))), len(parts.provider.taken)

    idle, done = did(), {"append": (2, 0), "charge": (1, 1)}.get(name, (1, 0))
    parts.plan.set(**{name: [BEFORE]})
    with pytest.raises(InjectedFault, match=name):
        parts.call(name)
    assert did() == idle
    parts.ledger = Ledger.replay(parts.inner.history("acme"))
    parts.plan.set(**{name: [AFTER]})
    with pytest.raises(InjectedFault, match=name):
        parts.call(name)
    assert did() == done
    assert parts.plan.calls[name] == (3 if name == "append" else 2)


def test_what_is_well_is_what_the_storage_underneath_says(parts: Parts) -> None:
    parts.call("append")
    events = list(parts.inner.history("acme"))
    assert kinds(events) == ["LedgerOpened", "FundsAdded"]
    assert parts.call("load") == parts.inner.load("acme")
    assert parts.call("find") == {"k": events[1]}
    assert list(parts.call("about")) == events[1:]
    assert parts.call("due") == ["acme"]
    assert parts.call("history") == events
    assert parts.storage.appended == [(events[0],), (events[1],)]
    assert parts.storage.in_caller_transaction is False


def test_what_was_stored_is_remembered_though_the_caller_was_told_otherwise(parts: Parts) -> None:
    parts.plan.set(append=[BEFORE, AFTER])
    for _ in range(2):
        with pytest.raises(InjectedFault):
            parts.call("append")
        parts.ledger = Ledger.replay([parts.ledger.opened])
    assert [kinds(events) for events in parts.storage.appended] == [["LedgerOpened"], ["FundsAdded"]]


def test_a_plan_goes_step_by_step_for_each_call_by_its_name(parts: Parts) -> None:
    done: list[str] = []
    parts.plan.set(load=[OK, lambda: done.append("first"), BEFORE])
    parts.call("find")
    parts.call("load")
    assert done == []
    assert not parts.plan.is_over
    parts.call("load")
    assert done == ["first"]
    with pytest.raises(InjectedFault):
        parts.call("load")
    assert parts.plan.is_over
    parts.call("load")
    assert parts.plan.calls["load"] == 4


def test_what_is_to_be_done_first_may_take_its_time() -> None:
    parts = Parts("asynchronous")
    done: list[str] = []

    async def take_time() -> None:
        await asyncio.sleep(0)
        done.append("first")

    parts.plan.set(charge=[take_time])
    assert isinstance(parts.call("charge"), Paid)
    assert done == ["first"]


def test_a_plan_for_a_call_that_there_is_not_is_refused() -> None:
    with pytest.raises(LookupError, match="lode"):
        Plan(lode=[BEFORE])


@given(plans("load", "charge"))
def test_drawn_plans_let_the_first_few_calls_of_these_names_fail(steps: Any) -> None:
    assert steps.keys() <= {"load", "charge"}
    for planned in steps.values():
        assert 1 <= len(planned) <= 6
        assert set(planned) <= {OK, BEFORE, AFTER}


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_drawn_plans_are_not_all_well(when: str) -> None:
    assert find(plans("load", "charge"), lambda steps: steps.get("charge", [OK])[-1] == when)
    assert find(plans("load", "charge"), lambda steps: sum(planned.count(when) for planned in steps.values()) > 1)


def test_a_provider_answers_a_key_once_and_takes_its_money_once() -> None:
    provider = Provider(Clock())
    first = provider.charge(charge())
    assert provider.charge(charge()) == first == provider.looked_up("acme:1") == Paid("receipt 1")
    assert provider.charge(charge(2)) == Paid("receipt 2")
    assert provider.taken == [("acme:1", usd(50)), ("acme:2", usd(50))]
    assert len(provider.asked) == 3


def test_a_provider_says_what_it_is_told_to_to_new_keys_only() -> None:
    provider = Provider(Clock())
    provider.answers = [Declined("no funds"), Processing("soon")]
    said = [provider.charge(charge(number)) for number in (1, 1, 2, 2, 3)]
    assert said == [
        Declined("no funds"),
        Declined("no funds"),
        Processing("soon"),
        Processing("soon"),
        Paid("receipt 1"),
    ]
    assert provider.taken == [("acme:3", usd(50))]


def test_a_provider_takes_the_same_key_for_another_charge_as_a_mistake() -> None:
    provider = Provider(Clock())
    provider.charge(charge())
    for other in (charge(amount=51), charge(method="bank")):
        with pytest.raises(LookupError, match="another charge"):
            provider.charge(other)
    assert len(provider.taken) == 1


def test_a_provider_forgets_a_key_when_its_time_is_over_and_takes_the_money_again() -> None:
    clock = Clock()
    provider = Provider(clock)
    provider.charge(charge())
    clock.now = hour(24) - timedelta(microseconds=1)
    provider.charge(charge())
    assert len(provider.taken) == 1
    clock.now = hour(24)
    provider.charge(charge())
    assert len(provider.taken) == 2


def test_a_provider_ends_a_charge_that_is_processing_once() -> None:
    provider = Provider(Clock())
    provider.answers = [Processing(), Processing(), Declined("no")]
    for number in (1, 2, 3):
        provider.charge(charge(number))
    assert provider.processing == ["acme:1", "acme:2"]
    assert provider.finish("acme:1", Paid()) == provider.looked_up("acme:1") == Paid("receipt 1")
    assert provider.finish("acme:2", Declined("late")) == provider.looked_up("acme:2") == Declined("late")
    assert provider.charge(charge(1)) == Processing()
    assert (provider.taken, provider.processing) == ([("acme:1", usd(50))], [])
    for number in (1, 2, 3):
        with pytest.raises(LookupError, match="not processing"):
            provider.finish(f"acme:{number}", Paid())
    assert provider.looked_up("acme:4") == Declined("never arrived")
