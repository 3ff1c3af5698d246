"""A service of either kind with its clock, storage and payment provider, called in the same way by every test.

Coroutines are run to their end on a loop of the office's own. `together` makes callers meet: what it is given is
decided in one batch, in that order.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from build import T0, usd
from commcredits import (
    AsyncLedgerService,
    Charge,
    Event,
    FundsAdded,
    FundsConsumed,
    InMemoryStorage,
    Ledger,
    LedgerService,
    Receipt,
    RechargePolicy,
    Terms,
    Usage,
    gathering,
)
from commcredits.storage import Head
from faults import (
    AsyncFaultyPaymentMethod,
    AsyncFaultyStorage,
    FaultyPaymentMethod,
    FaultyStorage,
    Plan,
    Provider,
)

KINDS = ("blocking", "asynchronous")
LONG = 30.0  # seconds; what takes longer hangs

MINUTE = timedelta(minutes=1)


class Clock:
    def __init__(self, now: datetime = T0) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Call(NamedTuple):
    """A call of a service's method on the ledger."""

    name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]


def call(name: str, *arguments: Any, **named: Any) -> Call:
    return Call(name, arguments, named)


class Waiting:
    """Lets a test know when a thread begins to wait in a gate."""

    def __init__(self) -> None:
        self._begun = threading.Semaphore(0)
        self.first: list[Callable[[], None]] = []  # what the next that wait do before, in turn

    def event(self) -> threading.Event:
        told = self

        class Bell(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                first = told.first.pop(0) if told.first else None
                told._begun.release()
                if first is not None:
                    first()
                if not super().wait(LONG if timeout is None else timeout):
                    raise TimeoutError("nobody woke the caller")
                return True

        return Bell()

    def until_another(self) -> None:
        """Wait until one more thread waits."""
        if not self._begun.acquire(timeout=LONG):
            raise TimeoutError("nobody waits")


class Office:
    """One ledger, "acme", with a service of the kind asked for, over a storage and a card that fail as `plan` says."""

    LEDGER = "acme"

    def __init__(
        self,
        kind: str,
        *,
        settles_inline: bool = True,
        funds: int = 0,
        provider: type[Provider] = Provider,
        **terms: Any,
    ) -> None:
        self.kind = kind
        self.is_async = kind == "asynchronous"
        self.clock = Clock()
        self.plan = Plan()
        self.inner = InMemoryStorage()
        self.provider = provider(self.clock)
        self.waiting = Waiting()
        self.storage: Any = (AsyncFaultyStorage if self.is_async else FaultyStorage)(self.inner, self.plan)
        self.card: Any = (AsyncFaultyPaymentMethod if self.is_async else FaultyPaymentMethod)(self.provider, self.plan)
        self.runner = asyncio.Runner()
        self.service = self.another_service(settles_inline=settles_inline)
        self.open_another(self.LEDGER, **terms)
        if funds:
            self.do("add_funds", usd(funds), reference="")

    def close(self) -> None:
        self.runner.close()

    def another_service(
        self, *, settles_inline: bool = True, clock: Callable[[], datetime] | None = None, storage: Any = None
    ) -> Any:
        """A service of the same kind on the same storage, with a cache of its own."""
        kind = AsyncLedgerService if self.is_async else LedgerService
        return kind(storage or self.storage, self.card, clock=clock or self.clock, settles_inline=settles_inline)

    def rival(self, *, settles_inline: bool = True) -> LedgerService:
        """A service elsewhere, whose calls never fail and are not counted."""
        card = FaultyPaymentMethod(self.provider, Plan())
        return LedgerService(self.inner, card, clock=self.clock, settles_inline=settles_inline)

    def open_another(self, ledger_id: str, **terms: Any) -> None:
        account = Ledger.open(ledger_id, Terms("USD", **({"expiry_notices": ()} | terms)), at=self.clock())
        self.inner.append(ledger_id, [account.opened], expected_version=0, head=Head.of(account), state=account.state)

    def run(self, answer: Any) -> Any:
        """The answer, waited for if it is to be waited for."""
        return self.runner.run(asyncio.wait_for(answer, LONG)) if inspect.iscoroutine(answer) else answer

    def do(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of the service about the ledger."""
        return self.run(getattr(self.service, name)(self.LEDGER, *arguments, **named))

    def refusal(self, kinds: type[BaseException] | tuple[type, ...], name: str, *arguments: Any, **named: Any) -> Any:
        """The error that a call raises, which must be of exactly one of these kinds."""
        with pytest.raises(kinds) as caught:
            self.do(name, *arguments, **named)
        assert type(caught.value) in (kinds if isinstance(kinds, tuple) else (kinds,))
        return caught.value

    def together(self, *calls: Call, service: Any = None, at: datetime | None = None) -> list[Any]:
        """What becomes of calls that meet in one batch: for each, its answer or what it raised.

        Threads meet behind one who is storing usage that costs nothing, before it is `at`.
        """
        service, at = service or self.service, at or self.clock.now
        if self.is_async:
            self.clock.now = at
            return self.runner.run(asyncio.wait_for(self._gathered(service, calls), LONG))
        answers: list[Any] = [None] * len(calls)
        with self.storing(service):
            self.clock.now = at
            threads = []
            for place, one in enumerate(calls):
                threads.append(threading.Thread(target=self._answer, args=(service, one, answers, place)))
                threads[-1].start()
                self.waiting.until_another()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()
        return answers

    @contextmanager
    def storing(self, service: Any = None) -> Iterator[None]:
        """While another thread is in the middle of storing usage that costs nothing; it is done at the end."""
        begun, go = threading.Event(), threading.Event()
        planned = dict(self.plan._steps)  # noqa: SLF001

        def stop() -> None:
            begun.set()
            self.plan.set(**planned)
            assert go.wait(LONG)

        self.plan.set(append=[stop])
        answers: list[Any] = [None]
        answer = (self.service if service is None else service, call("consume", usd(0)), answers, 0)
        leader = threading.Thread(target=self._answer, args=answer)
        leader.start()
        try:
            assert begun.wait(LONG)
            yield
        finally:
            go.set()
            leader.join(LONG)
        assert isinstance(answers[0], Receipt)

    def _answer(self, service: Any, one: Call, answers: list[Any], place: int) -> None:
        try:
            answers[place] = getattr(service, one.name)(self.LEDGER, *one.arguments, **one.named)
        except BaseException as error:  # noqa: BLE001  # an answer, too
            answers[place] = error

    async def _gathered(self, service: Any, calls: tuple[Call, ...]) -> list[Any]:
        coroutines = [getattr(service, one.name)(self.LEDGER, *one.arguments, **one.named) for one in calls]
        return await asyncio.gather(*coroutines, return_exceptions=True)

    # What is stored, read past the service.

    @property
    def events(self) -> list[Event]:
        return list(self.inner.history(self.LEDGER))

    @property
    def ledger(self) -> Ledger:
        return Ledger.replay(self.events)

    @property
    def costs(self) -> list[int]:
        """What was consumed, in whole dollars, free usage left out."""
        usages = [event.amount.minor_units // 100 for event in self.events if isinstance(event, FundsConsumed)]
        return [cost for cost in usages if cost]

    def paid_in(self) -> list[tuple[str | None, int]]:
        """The charges that brought funds, and how many dollars."""
        added = [event for event in self.events if isinstance(event, FundsAdded) and event.charge_id]
        return [(event.charge_id, event.amount.minor_units // 100) for event in added]

    @property
    def pending(self) -> list[Charge]:
        return list(self.ledger.pending_charges)

    def statuses(self) -> list[str]:
        return [charge.status for charge in self.pending]


Hire = Callable[..., Office]


@contextmanager
def hiring(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hire]:
    """Opens offices of a kind, whose gates tell when somebody waits; closes them at the end."""
    opened: list[Office] = []

    def hire(**given: Any) -> Office:
        opened.append(Office(kind, **given))
        told = SimpleNamespace(Lock=threading.Lock, Event=opened[-1].waiting.event)
        monkeypatch.setattr(gathering, "threading", told)
        return opened[-1]

    yield hire
    for one in opened:
        one.close()


def recharging(threshold: int = 10, amount: int = 50, **more: Any) -> RechargePolicy:
    return RechargePolicy(usd(threshold), usd(amount), **more)


def usages(*dollars: int, keyed: bool = False) -> list[Usage]:
    return [Usage(usd(cost), idempotency_key=f"u{n}" if keyed else None) for n, cost in enumerate(dollars)]


def due_ledgers(desk: Office, *ledger_ids: str) -> None:
    """Open ledgers of which each wants a charge, the first named first."""
    waits = desk.another_service(settles_inline=False)
    for ledger_id in ledger_ids:
        desk.open_another(ledger_id)
        desk.run(waits.purchase(ledger_id, usd(10)))
        desk.clock.now += MINUTE


def settled_due(desk: Office, **named: Any) -> dict[str, Any]:
    return desk.run(desk.service.settle_due(**named))
