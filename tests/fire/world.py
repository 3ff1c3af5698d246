"""A world to run services in: its time is simulated, calls are slow or lost, and machines die in the middle of them.

Everything is told by one seed. Coroutines sleep simulated seconds, which cost nothing, so a run of days takes
milliseconds, and the same seed is the same run to the last call.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from commcredits import (
    AsyncLedgerService,
    Charge,
    CommCreditsError,
    Event,
    InsufficientFundsError,
    Outcome,
    ReversalExceedsUsageError,
    Storage,
    Stored,
    VersionConflictError,
)
from commcredits.testing.faults import InjectedFault

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MOST_SKEW = 150  # seconds; two clocks are then never further apart than `Terms.clock_skew` forgives

_T = TypeVar("_T")


# What a caller may be told in a world where calls are lost.
EXPECTED = (InjectedFault, InsufficientFundsError, ReversalExceedsUsageError, VersionConflictError)


class StandstillError(Exception):
    """Everybody waits for somebody."""


class _Leaping(selectors.SelectSelector):
    """Where an event loop would wait, its time leaps to the next thing that is to happen."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise StandstillError
        self.now += max(timeout, 0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in which time passes only when everybody waits for it."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


class Machine:
    """A computer with a service of its own: its own cache, its own clock, and its own wires to the rest of the world.

    When it dies, whatever it was doing is not heard of again.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.skew = timedelta(seconds=world.random.uniform(-MOST_SKEW, MOST_SKEW) if world.random.random() < 0.8 else 0)
        self.death: asyncio.Future[None] = world.loop.create_future()
        self.service = world.service_type(
            WiredStorage(self),
            WiredPaymentMethod(self),
            clock=lambda: world.now + self.skew,
            settles_inline=world.random.random() < 0.8,
        )

    def die(self) -> None:
        self.world.tell(f"{self.name} dies")
        self.death.set_result(None)
        self.world.replace(self)

    async def ends(self, call: asyncio.Task[Any], *, patience: float | None = None) -> bool:
        """Wait until a call of its service has ended, or it died of it, or patience is lost; whether it has ended."""
        await asyncio.wait((call, self.death), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        return call.done()

    async def wait(self, seconds: float) -> None:
        """Wait; on a dead machine, for ever."""
        await asyncio.sleep(seconds)
        if self.death.done():
            await self.world.for_ever()

    async def call(self, name: str, work: Callable[[], _T]) -> _T:
        """Have `work` done elsewhere: slowly, perhaps in vain, perhaps without learning of it; perhaps we die of it."""
        world = self.world
        fate, there, back = world.fate(), world.latency(), world.latency()
        await self.wait(there)
        if fate != "well":
            world.tell(f"{self.name} {name}: {fate}")
        if fate in ("dies before", "dies under way"):
            if fate == "dies under way":
                world.spawn(world.later(work))
            self.die()
        elif fate == "lost on the way there":
            raise InjectedFault(name, "before")
        else:
            try:
                return work()
            finally:
                if fate == "dies after":
                    self.die()
                await self.wait(back)
                if fate == "lost on the way back":
                    raise InjectedFault(name, "after")
        return await world.for_ever()


class WiredStorage:
    """The storage as a machine reaches it."""

    in_caller_transaction = False

    def __init__(self, machine: Machine) -> None:
        self._call = machine.call
        self._storage = machine.world.storage

    async def load(self, ledger_id: str) -> Stored | None:
        return await self._call("load", lambda: self._storage.load(ledger_id))

    async def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        await self._call("append", lambda: self._storage.append(ledger_id, events, **named))

    async def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        events = await self._call(
            "history", lambda: list(self._storage.history(ledger_id, after_version=after_version))
        )
        for event in events:
            yield event

    async def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        keys = list(idempotency_keys)
        return await self._call("find", lambda: self._storage.find(ledger_id, keys))

    async def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        return await self._call("about", lambda: self._storage.about(ledger_id, subject))

    async def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        return await self._call("due", lambda: self._storage.due(before, limit=limit))


class WiredPaymentMethod:
    """The payment provider as a machine reaches it."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def charge(self, charge: Charge) -> Outcome:
        return await self._machine.call("charge", lambda: self._machine.world.charge(charge))


class World:
    """Machines on one storage, and what befalls them."""

    service_type: type[AsyncLedgerService] = AsyncLedgerService

    def __init__(self, seed: int, storage: Storage) -> None:
        self.random = Random(seed)  # noqa: S311  # chance that can be repeated is what is wanted
        self.storage = storage
        self.story: list[str] = []
        self.wrongs: list[str] = []
        self.is_calm = True
        choice = self.random.choice
        self._lost = choice((0, 0.02, 0.1, 0.2))
        self._deadly = choice((0, 0.01, 0.05))
        self._latencies = choice(((0,), (0, 0, 0.01), (0, 0.001, 0.02, 0.3, 8), (0.1, 0.1, 0.1, 90, 400)))
        self._machines: list[Machine] = []
        self._born = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._never: list[asyncio.Future[None]] = []

    # Time, and telling

    @property
    def now(self) -> datetime:
        return T0 + timedelta(seconds=round(self.loop.time(), 6))

    def tell(self, line: str) -> None:
        self.story.append(f"{self.now:%d %H:%M:%S.%f} {line}")

    def wrong(self, line: str) -> None:
        self.tell(f"WRONG: {line}")
        self.wrongs.append(line)

    def run(self, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Live a life from its beginning to its end; what is still going on then is not."""
        self.loop = SimulatedLoop()
        self.loop.set_exception_handler(lambda _, told: self.wrong(f"{told['message']}: {told.get('exception')!r}"))
        try:
            self.loop.run_until_complete(life())
        except StandstillError:
            self.wrong("everybody waits for somebody")
        except Exception as error:  # noqa: BLE001  # what a life is not to end with, whatever it is
            self.wrong(f"it ended with {error!r}")
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left) if left else asyncio.sleep(0))
            self.loop.close()

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Let something happen meanwhile."""
        task = self.loop.create_task(coroutine)
        self._tasks.append(task)
        return task

    async def for_ever(self) -> Any:
        """Wait, and never come back."""
        self._never.append(self.loop.create_future())  # what nobody knows of any more, Python would complain about
        await self._never[-1]

    async def all_has_happened(self) -> None:
        """Wait for what was spawned, for what that spawned, and for calls whose callers lost their patience."""
        while self._tasks:
            await self._tasks.pop()

    # Machines, and what befalls them

    def start_machines(self, count: int) -> None:
        self._machines = [self._new_machine() for _ in range(count)]

    def _new_machine(self) -> Machine:
        self._born += 1
        return Machine(self, f"machine {self._born}")

    def replace(self, machine: Machine) -> None:
        self._machines[self._machines.index(machine)] = self._new_machine()

    def any_machine(self) -> Machine:
        return self.random.choice(self._machines)

    def fate(self) -> str:
        """What becomes of a call."""
        chance = self.random.random()
        if self.is_calm or chance >= self._lost + self._deadly:
            return "well"
        if chance < self._deadly:
            return self.random.choice(("dies before", "dies under way", "dies after"))
        return self.random.choice(("lost on the way there", "lost on the way back"))

    def latency(self) -> float:
        return 0 if self.is_calm else self.random.choice(self._latencies)

    async def later(self, work: Callable[[], Any]) -> None:
        """What a dead machine had sent off arrives all the same."""
        await asyncio.sleep(self.random.choice((0, 0.5, 30)))
        try:
            work()
        except CommCreditsError as error:
            self.tell(f"too late: {type(error).__name__}")

    def charge(self, charge: Charge) -> Outcome:
        """Whoever takes the money."""
        raise NotImplementedError

    async def ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        """The answer of any machine's service, which may be an error; None: nobody knows.

        Nobody knows, because the machine died or because the caller lost its patience while the machine went on.
        """
        machine = self.any_machine()
        call = self.loop.create_task(getattr(machine.service, name)(*arguments, **named))
        call.add_done_callback(self._check)
        patience = None if self.is_calm else self.random.choice((None, None, 5, 60))
        if not await machine.ends(call, patience=patience):
            self.tell(f"{machine.name} {name}: no answer")
            self.spawn(machine.ends(call))
            return None
        error = call.exception()
        self.tell(f"{machine.name} {name}: {'done' if error is None else type(error).__name__}")
        return call.result() if error is None else error

    def _check(self, call: asyncio.Task[Any]) -> None:
        error = None if call.cancelled() else call.exception()
        if error is not None and not isinstance(error, EXPECTED):
            self.wrong(f"a caller was told {error!r}")
