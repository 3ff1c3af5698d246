"""Storages and payment methods that fail by chance, before or after doing their work; the same seed, the same faults.

That is how networks fail: whoever called cannot tell whether it was done.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import TYPE_CHECKING, Literal

from commcredits.errors import InvalidValueError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from commcredits.events import Event
    from commcredits.payment import AsyncPaymentMethod, Charge, Outcome, PaymentMethod
    from commcredits.state import LedgerState
    from commcredits.storage import AsyncStorage, Head, Storage, Stored


class InjectedFault(ConnectionError):  # noqa: N818  # to the library it is no error, but what may happen
    """A call failed because a test wanted it to.

    It is none of the library's errors, as those of a driver are none.

    Attributes:
        call: the name of the method, such as "append" or "charge".
        when: "before" or "after" the work was done.
    """

    def __init__(self, call: str, when: Literal["before", "after"]) -> None:
        super().__init__(call, when)
        self.call = call
        self.when = when

    def __str__(self) -> str:
        return f"{self.call} failed {self.when} it was done"


class _Faults:
    """Which calls fail, in the order in which they are made."""

    def __init__(self, seed: int, failure_rate: float) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise WrongTypeError("seed", seed, "an int")
        if isinstance(failure_rate, bool) or not isinstance(failure_rate, int | float):
            raise WrongTypeError("failure_rate", failure_rate, "a number")
        if not 0 <= failure_rate <= 1:
            raise InvalidValueError("failure_rate", failure_rate, "must be from 0 to 1")
        self._random = Random(seed)  # noqa: S311  # chance that can be repeated is what is wanted
        self._failure_rate = failure_rate

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        """Do the work inside, or fail before or after it."""
        chance = self._random.random()
        if chance < self._failure_rate / 2:
            raise InjectedFault(call, "before")
        yield
        if chance < self._failure_rate:
            raise InjectedFault(call, "after")

    @asynccontextmanager
    async def around_awaited(self, call: str) -> AsyncIterator[None]:
        """`around` for coroutines, which lets others go first."""
        await asyncio.sleep(0)
        with self.around(call):
            yield


class FaultyStorage:
    """A storage whose calls fail by chance: before their work, and nothing was done, or after it, and all was.

    `failure_rate` is the share of the calls that fail, from 0 to 1; half of them before and half after. Calls that are
    made in the same order fail in the same places; threads make theirs in no order.
    """

    def __init__(self, storage: Storage, *, seed: int, failure_rate: float = 0.1) -> None:
        self._storage = storage
        self._faults = _Faults(seed, failure_rate)

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._storage.in_caller_transaction

    def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`."""
        with self._faults.around("load"):
            return self._storage.load(ledger_id)

    def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `Storage.append`."""
        with self._faults.around("append"):
            self._storage.append(ledger_id, events, expected_version=expected_version, head=head, state=state)

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """See `Storage.history`."""
        with self._faults.around("history"):
            yield from self._storage.history(ledger_id, after_version=after_version)

    def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`."""
        with self._faults.around("find"):
            return self._storage.find(ledger_id, idempotency_keys)

    def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`."""
        with self._faults.around("about"):
            return self._storage.about(ledger_id, subject)

    def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        with self._faults.around("due"):
            return self._storage.due(before, limit=limit)


class AsyncFaultyStorage:
    """`FaultyStorage` for coroutines; before each call others go first, so that callers meet."""

    def __init__(self, storage: AsyncStorage, *, seed: int, failure_rate: float = 0.1) -> None:
        self._storage = storage
        self._faults = _Faults(seed, failure_rate)

    @property
    def in_caller_transaction(self) -> bool:
        """See `Storage`."""
        return self._storage.in_caller_transaction

    async def load(self, ledger_id: str) -> Stored | None:
        """See `Storage.load`."""
        async with self._faults.around_awaited("load"):
            return await self._storage.load(ledger_id)

    async def append(
        self,
        ledger_id: str,
        events: Sequence[Event],
        *,
        expected_version: int,
        head: Head,
        state: Callable[[], LedgerState],
    ) -> None:
        """See `Storage.append`."""
        async with self._faults.around_awaited("append"):
            await self._storage.append(ledger_id, events, expected_version=expected_version, head=head, state=state)

    async def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        """See `Storage.history`."""
        async with self._faults.around_awaited("history"):
            async for event in self._storage.history(ledger_id, after_version=after_version):
                yield event

    async def find(self, ledger_id: str, idempotency_keys: Iterable[str]) -> Mapping[str, Event]:
        """See `Storage.find`."""
        async with self._faults.around_awaited("find"):
            return await self._storage.find(ledger_id, idempotency_keys)

    async def about(self, ledger_id: str, subject: int | str) -> Sequence[Event]:
        """See `Storage.about`."""
        async with self._faults.around_awaited("about"):
            return await self._storage.about(ledger_id, subject)

    async def due(self, before: datetime, *, limit: int) -> Sequence[str]:
        """See `Storage.due`."""
        async with self._faults.around_awaited("due"):
            return await self._storage.due(before, limit=limit)


class FaultyPaymentMethod:
    """A payment method that fails by chance: before, no money was taken; after, it was and nobody was told.

    `seed` and `failure_rate` are those of `FaultyStorage`.
    """

    def __init__(self, payment_method: PaymentMethod, *, seed: int, failure_rate: float = 0.1) -> None:
        self._payment_method = payment_method
        self._faults = _Faults(seed, failure_rate)

    def charge(self, charge: Charge) -> Outcome:
        """See `PaymentMethod.charge`."""
        with self._faults.around("charge"):
            return self._payment_method.charge(charge)


class AsyncFaultyPaymentMethod:
    """`FaultyPaymentMethod` for coroutines; before each call others go first."""

    def __init__(self, payment_method: AsyncPaymentMethod, *, seed: int, failure_rate: float = 0.1) -> None:
        self._payment_method = payment_method
        self._faults = _Faults(seed, failure_rate)

    async def charge(self, charge: Charge) -> Outcome:
        """See `PaymentMethod.charge`."""
        async with self._faults.around_awaited("charge"):
            return await self._payment_method.charge(charge)
