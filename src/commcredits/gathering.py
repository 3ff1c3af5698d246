"""Gathering: callers of one ledger who come while an append is under way are stored together in the next one.

A gate takes members and hands them to `commit` in batches, one batch of a ledger at a time, in the order in which they
came. `commit` settles every member; the gates differ only in how a caller waits.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from commcredits.errors import UnknownOutcomeError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

_BATCH_MAX = 200


class Member:
    """One caller's part of a batch: what it wants, and what became of it."""

    __slots__ = ("error", "is_settled")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_settled = False

    def settle(self, error: Exception | None = None) -> None:
        """Say that the member was stored, or why it was not."""
        self.error = error
        self.is_settled = True


class Gate(Protocol):
    """Where callers of the same ledger meet."""

    async def pass_through(
        self, ledger_id: str, member: Any, commit: Callable[[str, list[Any]], Awaitable[None]]
    ) -> None:
        """Come back when `commit` has settled the member, in a batch of this or another caller."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait; nothing else of this ledger goes on meanwhile."""
        ...


class _Waiting:
    __slots__ = ("leads", "member", "woken")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.leads = False
        self.woken = threading.Event()


class ThreadGate:
    """A gate for threads: the first caller stores for all who wait, then hands over to the next of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, list[_Waiting]] = {}

    async def pass_through(
        self, ledger_id: str, member: Member, commit: Callable[[str, list[Member]], Awaitable[None]]
    ) -> None:
        """See `Gate.pass_through`; it blocks, and never suspends."""
        waiting = None
        with self._lock:
            queue = self._queues.get(ledger_id)
            if queue is None:
                self._queues[ledger_id] = []
            else:
                waiting = _Waiting(member)
                queue.append(waiting)
        batch: list[_Waiting] = []
        try:
            if waiting is None:
                await commit(ledger_id, [member])
            elif waiting.woken.wait() and waiting.leads:
                with self._lock:
                    queue = self._queues[ledger_id]
                    batch, queue[:] = queue[:_BATCH_MAX], queue[_BATCH_MAX:]
                await commit(ledger_id, [other.member for other in batch])
        finally:
            # Also when this thread was interrupted while it waited: it may have been made the leader meanwhile.
            if waiting is None or self._leave(ledger_id, waiting):
                self._hand_over(ledger_id, batch)

    async def pause(self, seconds: float) -> None:
        """See `Gate.pause`."""
        time.sleep(seconds)  # noqa: ASYNC251  # a coroutine only in form: it is stepped by a thread that may block

    def _leave(self, ledger_id: str, waiting: _Waiting) -> bool:
        """Wait no longer; whether this one was to lead."""
        with self._lock:
            queue = self._queues.get(ledger_id, [])
            if waiting in queue:
                queue.remove(waiting)
            return waiting.leads

    def _hand_over(self, ledger_id: str, batch: list[_Waiting]) -> None:
        with self._lock:
            queue = self._queues[ledger_id]
            if queue:
                queue[0].leads = True
                queue[0].woken.set()
            else:
                del self._queues[ledger_id]
        for other in batch:
            if not other.member.is_settled:  # the leader was interrupted
                other.member.settle(UnknownOutcomeError(ledger_id))
            other.woken.set()


class AsyncGate:
    """A gate for coroutines of one event loop: a task of its own stores, so that no cancelled caller harms another."""

    def __init__(self) -> None:
        self._queues: dict[str, list[tuple[Member, asyncio.Future[None]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Importing this library must not cost those who block an event loop.
        import asyncio  # noqa: PLC0415

        self._running_loop, self._sleep = asyncio.get_running_loop, asyncio.sleep

    async def pass_through(
        self, ledger_id: str, member: Member, commit: Callable[[str, list[Member]], Awaitable[None]]
    ) -> None:
        """See `Gate.pass_through`; a caller cancelled while it waits is left out if its batch has not begun."""
        loop = self._running_loop()
        if loop is not self._loop:
            # What waits on a loop that was closed in the middle waits for ever, and nobody may wait behind it.
            self._loop, self._queues = loop, {}
        future: asyncio.Future[None] = loop.create_future()
        queue = self._queues.get(ledger_id)
        if queue is None:
            queue = self._queues[ledger_id] = []
            task = loop.create_task(self._drain(ledger_id, queue, commit))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append((member, future))
        await future

    async def pause(self, seconds: float) -> None:
        """See `Gate.pause`."""
        await self._sleep(seconds)

    async def _drain(
        self,
        ledger_id: str,
        queue: list[tuple[Member, asyncio.Future[None]]],
        commit: Callable[[str, list[Member]], Awaitable[None]],
    ) -> None:
        try:
            while queue:
                batch, queue[:] = queue[:_BATCH_MAX], queue[_BATCH_MAX:]
                await self._store(ledger_id, batch, commit)
        finally:
            if self._queues.get(ledger_id) is queue:
                del self._queues[ledger_id]
            _wake(ledger_id, queue)

    async def _store(
        self,
        ledger_id: str,
        batch: list[tuple[Member, asyncio.Future[None]]],
        commit: Callable[[str, list[Member]], Awaitable[None]],
    ) -> None:
        members = [member for member, future in batch if not future.done()]
        try:
            if members:
                await commit(ledger_id, members)
        finally:
            _wake(ledger_id, batch)


def _wake(ledger_id: str, batch: list[tuple[Member, asyncio.Future[None]]]) -> None:
    for member, future in batch:
        if not member.is_settled:  # the event loop is being shut down
            member.settle(UnknownOutcomeError(ledger_id))
        if not future.done() and not future.get_loop().is_closed():
            future.set_result(None)
