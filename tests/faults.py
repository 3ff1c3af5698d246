"""Fakes that fail: a storage and a payment method that fail before or after doing their work, and a payment provider.

What fails is told by a plan: by name of the call, one step for each call in turn. Nothing here decides by itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any

from hypothesis import strategies as st

from commcredits import Charge, Declined, Event, InMemoryStorage, Money, Outcome, Paid, Processing
from commcredits.stepping import SteppedPaymentMethod
from commcredits.storage import SteppedStorage
from commcredits.testing import faults
from commcredits.testing.faults import InjectedFault

OK, BEFORE, AFTER = "ok", "before", "after"
CALLS = ("load", "append", "find", "about", "due", "history", "charge")

Step = str | Callable[[], Any]


class Plan:
    """What is to happen at each call, by its name and in turn: "ok", "before", "after", or something to do first.

    After its last step a call is well for ever. `calls` counts them all.
    """

    def __init__(self, **steps: Iterable[Step]) -> None:
        self.calls: Counter[str] = Counter()
        self.set(**steps)

    def set(self, **steps: Iterable[Step]) -> None:
        """Plan anew; calls that are not named are well."""
        self._steps = {call: list(planned) for call, planned in steps.items()}
        if not self._steps.keys() <= set(CALLS):
            raise LookupError(self._steps.keys() - set(CALLS))

    @property
    def is_over(self) -> bool:
        """Whether everything planned has happened."""
        return not any(self._steps.values())

    def _next(self, call: str) -> Step:
        self.calls[call] += 1
        planned = self._steps.get(call)
        return planned.pop(0) if planned else OK

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        """Do the work inside, and fail as planned."""
        step = self._next(call)
        if callable(step):
            step()
        if step == BEFORE:
            raise InjectedFault(call, step)
        yield
        if step == AFTER:
            raise InjectedFault(call, step)

    @asynccontextmanager
    async def around_awaited(self, call: str) -> AsyncIterator[None]:
        """`around` for coroutines: it always gives way to others first, and waits for what is to be done first."""
        step = self._next(call)
        await asyncio.sleep(0)
        if callable(step):
            done = step()
            if isinstance(done, Awaitable):
                await done
        if step == BEFORE:
            raise InjectedFault(call, step)
        yield
        if step == AFTER:
            raise InjectedFault(call, step)


def plans(*calls: str) -> st.SearchStrategy[dict[str, list[Step]]]:
    """Steps for `Plan.set`: nothing fails, or one call does, or many do by chance; a call named twice fails more."""
    places = st.tuples(st.sampled_from(calls), st.sampled_from([0, 0, 1, 2, 3]), st.sampled_from([AFTER, BEFORE]))
    one = places.map(lambda fault: {fault[0]: [*[OK] * fault[1], fault[2]]})
    return st.just({}) | one | one | st.integers(1, 2**32).map(lambda seed: _by_chance(Random(seed), calls))  # noqa: S311


def _by_chance(random: Random, calls: Iterable[str]) -> dict[str, list[Step]]:
    weights = {call: [random.choice([1, 4, 8]), count, count] for call, count in Counter(calls).items()}
    return {call: random.choices([OK, BEFORE, AFTER], weights[call], k=6) for call in weights}


class FaultyStorage(faults.FaultyStorage):
    """A storage whose calls fail as planned. `appended`: the batches that were stored, whatever the caller was told."""

    def __init__(self, storage: InMemoryStorage, plan: Plan) -> None:
        self._storage = storage
        self._faults = plan
        self.appended: list[tuple[Event, ...]] = []

    def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        with self._faults.around("append"):
            self._storage.append(ledger_id, events, **named)
            self.appended.append(tuple(events))


class AsyncFaultyStorage(faults.AsyncFaultyStorage):
    """`FaultyStorage` for coroutines, on a blocking storage; every call gives way to others."""

    def __init__(self, storage: InMemoryStorage, plan: Plan) -> None:
        self._storage = SteppedStorage(storage)
        self._faults = plan
        self.appended: list[tuple[Event, ...]] = []

    async def append(self, ledger_id: str, events: Sequence[Event], **named: Any) -> None:
        async with self._faults.around_awaited("append"):
            await self._storage.append(ledger_id, events, **named)
            self.appended.append(tuple(events))


class Provider:
    """A payment provider: under one key it answers once, and repeats that answer for as long as it keeps keys.

    `answers` are what it says to new keys, in turn; after the last it is always Paid. `taken` is every amount that it
    really took, with its key; nothing is ever removed from it.
    """

    KEYS_KEPT_FOR = timedelta(hours=24)

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._known: dict[str, tuple[datetime, Charge, Outcome]] = {}
        self._latest: dict[str, Outcome] = {}
        self.answers: list[Outcome] = []
        self.taken: list[tuple[str, Money]] = []
        self.asked: list[Charge] = []

    def charge(self, charge: Charge) -> Outcome:
        """Take the money, or repeat what was said under this key."""
        self.asked.append(charge)
        key, now = charge.charge_id, self._clock()
        if key in self._known and now - self._known[key][0] < self.KEYS_KEPT_FOR:
            _, first, outcome = self._known[key]
            if (first.amount, first.payment_method) != (charge.amount, charge.payment_method):
                raise LookupError(f"key {key} was used for another charge")
            return outcome
        outcome = self._done(charge, self.answers.pop(0) if self.answers else Paid())
        self._known[key] = (now, charge, outcome)
        return outcome

    @property
    def processing(self) -> list[str]:
        """The keys of which it has said neither Paid nor Declined yet."""
        return [key for key, outcome in self._latest.items() if isinstance(outcome, Processing)]

    def finish(self, charge_id: str, outcome: Outcome) -> Outcome:
        """The end of a charge that is Processing, as a webhook tells it; its key goes on being answered Processing."""
        if charge_id not in self.processing:
            raise LookupError(f"{charge_id} is not processing but {self.looked_up(charge_id)}")
        return self._done(self._known[charge_id][1], outcome)

    def looked_up(self, charge_id: str) -> Outcome:
        """What a person finds who asks what became of a key; Declined where it never arrived."""
        return self._latest.get(charge_id, Declined("never arrived"))

    def _done(self, charge: Charge, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Paid):
            self.taken.append((charge.charge_id, charge.amount))
            outcome = Paid(f"receipt {len(self.taken)}")
        self._latest[charge.charge_id] = outcome
        return outcome


class FaultyPaymentMethod(faults.FaultyPaymentMethod):
    """Hands charges to a provider, and fails as planned: before, no money was taken; after, it was and nobody knows."""

    def __init__(self, provider: Provider, plan: Plan) -> None:
        self._payment_method = provider
        self._faults = plan


class AsyncFaultyPaymentMethod(faults.AsyncFaultyPaymentMethod):
    """`FaultyPaymentMethod` for coroutines."""

    def __init__(self, provider: Provider, plan: Plan) -> None:
        self._payment_method = SteppedPaymentMethod(provider)
        self._faults = plan
