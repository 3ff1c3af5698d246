"""Load, decide, append: how commands reach a storage, each once, however many callers and writers there are.

Ledgers are kept in a bounded cache and verified by the append's version check; what an append does not verify (a
refusal, or nothing to record) is decided again on a ledger freshly loaded.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.command import check_name
from commcredits.digest import digest_of
from commcredits.errors import (
    CommCreditsError,
    DuplicateKeyError,
    HoldExistsError,
    IdempotencyConflictError,
    InsufficientFundsError,
    InvalidValueError,
    LedgerNotFoundError,
    UnknownChargeError,
    UnknownHoldError,
    UnknownLotError,
    VersionConflictError,
    WrongTypeError,
)
from commcredits.events import ChargeRequested, Event, FundsConsumed, FundsHeld, note_balance
from commcredits.gathering import Member
from commcredits.ledger import Ledger
from commcredits.money import Money
from commcredits.storage import Head, subjects
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from commcredits.gathering import Gate
    from commcredits.payment import Charge
    from commcredits.state import LedgerReads
    from commcredits.storage import AsyncStorage

_ATTEMPTS_MAX = 20
_CACHE_MAX = 1000
_PAUSE_MAX = 0.1


@attrs.frozen(order=False)
class Receipt:
    """What a command of a service came to.

    Attributes:
        events: what was recorded, what fell due before it and a charge made with it included; of a replay, the event
            that the first call recorded.
        balance, available: as of the return; of a command stored together with others, right after it.
        pending_charges: the charges not yet known to be paid or declined.
        replayed: whether the idempotency key was known, so that nothing was done again.
        charge_error: what the payment method raised, or what kept its outcome from being recorded; the charge is
            pending then, and is made again with the same key when it is due.
    """

    events: tuple[Event, ...]
    balance: Money
    available: Money
    pending_charges: tuple[Charge, ...]
    replayed: bool = False
    charge_error: Exception | None = None

    @classmethod
    def of(cls, ledger: LedgerReads, events: tuple[Event, ...]) -> Receipt:
        """The receipt of events just recorded on a ledger."""
        return cls(events, ledger.balance, ledger.available, ledger.pending_charges)


@attrs.define(eq=False)
class Command:
    """A command of the ledger, by name, with its arguments in the order that its digest counts them, and a checked key.

    `subject` is the id of the charge, usage, lot or hold that may be long past, whose events the ledger may need;
    `refusal` is why it can be none, known before any ledger is asked.
    """

    name: str
    arguments: Mapping[str, Any]
    idempotency_key: str | None = None
    subject: int | str | None = None
    refusal: CommCreditsError | None = None

    def digest(self) -> str:
        """What a repetition of it has in common with it."""
        values = self.arguments.values()
        return digest_of((self.name, *(value.version if isinstance(value, Event) else value for value in values)))

    def carry_out(self, ledger: Ledger, at: datetime, earlier: Sequence[Event] = ()) -> tuple[Event, ...]:
        """Run it on a ledger."""
        key = self.idempotency_key
        if self.name == "change_payment_methods":
            return ledger.change_payment_methods(*self.arguments.values(), at=at, idempotency_key=key)
        about = {} if self.subject is None else {"earlier": earlier}
        events: tuple[Event, ...] = getattr(ledger, self.name)(**self.arguments, **about, at=at, idempotency_key=key)
        return events


class Request(Member):
    """One caller's command, or several to be recorded together, and what they came to.

    `collects`: of several, refused ones fail alone; else the first refusal fails them all. `looks_up`: of the
    keys of several one was taken when an append was refused, so all are looked up before they are decided again.
    """

    __slots__ = (
        "answers",
        "collects",
        "commands",
        "due_charge",
        "failure",
        "looks_up",
        "recorded",
        "refused",
        "several",
    )

    def __init__(self, commands: Sequence[Command], *, several: bool = False, collects: bool = False) -> None:
        super().__init__()
        self.commands = commands
        self.several = several
        self.collects = collects
        self.looks_up = False
        self.clear()

    def clear(self) -> None:
        """Forget what an earlier decision came to."""
        self.answers: list[Receipt | CommCreditsError] = []
        self.recorded: list[Event] = []
        self.due_charge: Charge | None = None
        self.refused: Money | None = None  # usage refused for lack of funds, whose recharge is to be asked for
        self.failure: Exception | None = None  # why none of it is to be recorded

    @property
    def is_refused(self) -> bool:
        """Whether a rule refused any of its commands."""
        return isinstance(self.failure, CommCreditsError) or (
            self.collects and any(isinstance(answer, CommCreditsError) for answer in self.answers)
        )

    @property
    def last_receipt(self) -> Receipt | None:
        """The last answer that is no refusal, which tells of a charge made at the end; None: all are refusals."""
        return next((answer for answer in reversed(self.answers) if isinstance(answer, Receipt)), None)

    def replace_last_receipt(self, receipt: Receipt) -> None:
        """Bring the last receipt up to date."""
        place = max(place for place, answer in enumerate(self.answers) if isinstance(answer, Receipt))
        self.answers[place] = receipt

    @property
    def keys(self) -> set[str]:
        """The idempotency keys of its commands."""
        return {command.idempotency_key for command in self.commands if command.idempotency_key is not None}


class Appender:
    """Carries requests out on the ledgers of a storage."""

    def __init__(self, storage: AsyncStorage, gate: Gate, clock: Callable[[], datetime]) -> None:
        self._storage = storage
        self._gate = gate
        self._clock = clock
        self._cache: dict[str, Ledger] = {}
        self._lock = threading.Lock()

    @property
    def in_caller_transaction(self) -> bool:
        """Whether what is appended now becomes durable only with a commit of the caller's."""
        return self._storage.in_caller_transaction

    async def carry_out(self, ledger_id: str, request: Request) -> Request:
        """Decide a request and append what it records; its answers are filled in.

        Raises: what refused it, or kept it from being stored, unless its idempotency key tells that it was recorded.
        """
        check_name("ledger_id", ledger_id)
        if self.in_caller_transaction:
            self._take(ledger_id)  # nothing is cached there, not from before either
            await self._commit(ledger_id, [request])
        else:
            await self._gate.pass_through(ledger_id, request, self._commit)
        if request.error is not None:
            await self._replay(ledger_id, request, request.error)
        return request

    async def load(self, ledger_id: str) -> Ledger:
        """The ledger as it is stored.

        Raises: LedgerNotFoundError; WrongTypeError, InvalidValueError for what is no id.
        """
        check_name("ledger_id", ledger_id)
        stored = await self._storage.load(ledger_id)
        if stored is None:
            raise LedgerNotFoundError(ledger_id)
        if stored.state is None:
            return Ledger.replay(stored.events)
        return Ledger.restore(stored.state, stored.events)

    async def refreshed(self, ledger_id: str, receipt: Receipt) -> Receipt:
        """The receipt with the balances and pending charges of now."""
        ledger = await self.load(ledger_id)
        state = ledger.state().at(self.now(ledger))
        return attrs.evolve(
            receipt, balance=state.balance, available=state.available, pending_charges=state.pending_charges
        )

    def now(self, ledger: Ledger) -> datetime:
        """The clock's time, or the ledger's if this machine's clock is behind."""
        return max(utc(self._clock(), "clock"), ledger.as_of)

    async def _commit(self, ledger_id: str, members: list[Request]) -> None:
        try:
            await self._store(ledger_id, members)
        except Exception as error:  # noqa: BLE001
            # Whether the append was stored is not known: the keys will tell, or the callers must ask.
            for member in members:
                if not member.is_settled:
                    member.settle(error)

    async def _store(self, ledger_id: str, members: list[Request]) -> None:
        going, later = _with_keys_once(members)
        cached = self._take(ledger_id)
        lost: CommCreditsError | None = None
        for attempt in range(_ATTEMPTS_MAX):
            if attempt:
                for member in going:
                    member.clear()
            ledger = cached or await self.load(ledger_id)
            version = ledger._books.version
            batch = _Batch(ledger_id, ledger, self._storage)
            await batch.decide(going, self._clock)
            if cached is not None and not batch.events:
                cached = None  # nothing to append, so nothing verifies that the cached ledger is up to date
                continue
            cached = None
            try:
                if batch.events:
                    await self._storage.append(
                        ledger_id, batch.events, expected_version=version, head=Head.of(ledger), state=ledger.state
                    )
            except VersionConflictError as error:
                lost = error
                await self._gate.pause(_pause_after(attempt, self._clock()))
            except DuplicateKeyError as error:
                lost = error
                going = await self._without_known(ledger_id, going, error)
            else:
                self._keep(ledger_id, ledger)
                for member in going:
                    member.settle(member.failure)
                break
        else:
            raise lost or VersionConflictError(ledger_id, 0)
        if later:
            await self._store(ledger_id, later)

    async def _without_known(self, ledger_id: str, members: list[Request], error: DuplicateKeyError) -> list[Request]:
        """The members that can be decided again, after those whose keys or hold ids are taken were settled with that.

        Several commands with keys are always decided again: those known are then answered as replays.
        """
        known = await self._storage.find(ledger_id, {key for member in members for key in member.keys})
        left = []
        for member in members:
            holds = {event.hold_id for event in member.recorded if isinstance(event, FundsHeld)}
            taken = member.keys if error.namespace == "idempotency_key" else holds
            if not member.several and (member.keys & known.keys() or error.key in taken):
                member.settle(error)
            else:
                member.looks_up = bool(member.keys & known.keys())
                left.append(member)
        return left

    async def _replay(self, ledger_id: str, request: Request, error: Exception) -> None:
        """Answer a failed request from what its keys recorded before, or raise."""
        found: Mapping[str, Event] = {}
        if request.commands and all(command.idempotency_key is not None for command in request.commands):
            try:
                found = await self._storage.find(ledger_id, request.keys)
            except Exception as unknown:  # noqa: BLE001
                # A refusal must not stand where the key may tell that the command was recorded.
                first, second = (unknown, error) if isinstance(error, CommCreditsError) else (error, unknown)
                raise first from second
        if not found or found.keys() != request.keys:
            if isinstance(error, DuplicateKeyError) and error.namespace == "hold_id":
                raise HoldExistsError(ledger_id, error.key)
            raise error
        ledger = await self.load(ledger_id)
        now = self.now(ledger)
        request.clear()
        for index, command in enumerate(request.commands):
            event = found[str(command.idempotency_key)]
            try:
                request.answers.append(_repeated(ledger, command, event, now))
            except CommCreditsError as refusal:
                _collect(request, index, refusal)

    def _take(self, ledger_id: str) -> Ledger | None:
        """Out of the cache, so that a ledger whose append fails is thrown away."""
        with self._lock:
            return self._cache.pop(ledger_id, None)

    def _keep(self, ledger_id: str, ledger: Ledger) -> None:
        if self.in_caller_transaction:
            return
        with self._lock:
            self._cache[ledger_id] = ledger
            if len(self._cache) > _CACHE_MAX:
                del self._cache[next(iter(self._cache))]


class _Batch:
    """Requests decided in turn on one ledger, and the events to append for them."""

    def __init__(self, ledger_id: str, ledger: Ledger, storage: AsyncStorage) -> None:
        self._ledger_id = ledger_id
        self._ledger = ledger
        self._storage = storage
        self.events: list[Event] = []

    async def decide(self, members: list[Request], clock: Callable[[], datetime]) -> None:
        """Let each member fail or have its answers, whose events are in `events` then."""
        for member in members:
            if member.several:
                await self._decide_several(member, clock)
                continue
            before = len(self.events)
            try:
                await self._decide_all(member, clock(), {})
            except Exception as error:
                if len(self.events) > before:
                    raise  # it failed after it was decided, so the ledger tells of what will not be stored
                member.failure = error

    async def _decide_several(self, member: Request, clock: Callable[[], datetime]) -> None:
        """Decide several commands; where one fails for all, the ledger is as it was.

        Most keys are new, and if not, the append is refused. But what a rule refuses may have been recorded before.
        """
        before, books = len(self.events), self._ledger._books
        for looks_up in (member.looks_up, True):
            self._ledger._books = books.copy()
            try:
                known = dict(await self._storage.find(self._ledger_id, member.keys)) if looks_up else {}
                await self._decide_all(member, clock(), known)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is the member's
                member.failure = error
            decides_again = member.is_refused and not looks_up and member.keys
            if member.failure is not None or decides_again:
                self._ledger._books = books
                del self.events[before:]
            if not decides_again:
                break
            member.clear()

    async def _decide_all(self, member: Request, at: datetime, known: dict[str, Event]) -> None:
        """Decide a member's commands; `known` are the events that have keys of theirs, as far as is known."""
        for index, command in enumerate(member.commands):
            try:
                await self._decide_next(member, command, at, known)
            except CommCreditsError as error:
                _collect(member, index, error)
        if self._ledger._books.charges:
            member.due_charge = self._due_charge(member, at)

    def _due_charge(self, member: Request, at: datetime) -> Charge | None:
        """The charge to be made after a member's commands: their own purchase, else the oldest due."""
        recorded = (event for event in member.recorded if isinstance(event, ChargeRequested))
        own = next((event.charge_id for event in recorded if event.purpose == "purchase"), None)
        return self._ledger.due_charge(max(at, self._ledger.as_of), first=own)

    async def _decide_next(self, member: Request, command: Command, at: datetime, known: dict[str, Event]) -> None:
        """Decide one command; the event that it records under its key is `known` then."""
        if command.refusal is not None:
            raise command.refusal
        key = command.idempotency_key
        if key in known:
            member.answers.append(_repeated(self._ledger, command, known[key], max(at, self._ledger.as_of)))
            return
        try:
            # Most commands need nothing that the ledger does not know.
            events = command.carry_out(self._ledger, at) if command.subject is None else await self._run(command, at)
        except InsufficientFundsError as error:
            _note_refusal(member, self._ledger, error)
            raise
        self.events += events
        member.recorded += events
        receipt = Receipt.of(self._ledger, events)
        if events:
            note_balance(events[-1], receipt.balance._billionths)
        if key is not None:
            for event in events:
                if event._key == key:
                    known[key] = event
                    break
            else:
                # Nothing took the key, as when settings are saved again; an earlier call may have.
                stored = await self._storage.find(self._ledger_id, [key])
                if key in stored:
                    try:
                        receipt = _repeated(self._ledger, command, stored[key], self._ledger.as_of)
                    except IdempotencyConflictError as error:
                        if member.several:
                            raise
                        member.answers.append(error)  # not raised: what fell due before is recorded all the same
                        return
        member.answers.append(receipt)

    async def _run(self, command: Command, at: datetime) -> tuple[Event, ...]:
        """Run a command about what may be long past, so that the ledger need not keep what the storage can tell."""
        if command.name != "reverse_consumption":
            with suppress(UnknownChargeError, UnknownHoldError, UnknownLotError):
                return command.carry_out(self._ledger, at)
        return command.carry_out(self._ledger, at, await self._about(command.subject))

    async def _about(self, subject: int | str | None) -> list[Event]:
        """All events of a lot, usage, charge or hold: those stored, and those of this batch."""
        if subject is None:
            return []
        stored = await self._storage.about(self._ledger_id, subject)
        return [*stored, *(event for event in self.events if subject in subjects(event))]


def _pause_after(attempt: int, now: datetime) -> float:
    """How many seconds to let other writers go first after a version conflict: none at first, then up to 0.1.

    How much of the longest pause is told by the clock's microseconds, in which no two writers are alike for long.
    """
    longest = min(0.001 * 2**attempt, _PAUSE_MAX) if attempt else 0.0
    return longest * (now.microsecond % 1000) / 1000


def _note_refusal(member: Request, ledger: Ledger, error: InsufficientFundsError) -> None:
    """Note the usage whose recharge the policy wants asked for; of several that fail together, all of it until here."""
    policy = ledger.recharge_policy
    if policy is None or not policy.recharge_when_refused or not error.decision.due or member.refused is not None:
        return
    together = [] if member.collects else [e.amount for e in member.recorded if isinstance(e, FundsConsumed)]
    member.refused = Money.total([*together, error.amount], ledger.currency)


def _collect(member: Request, index: int, error: CommCreditsError) -> None:
    """Of several commands, tell an error its place, and collect it if the member does; else raise it."""
    if member.several:
        error.index = index
    if not member.collects:
        raise error
    member.answers.append(error)


def _repeated(ledger: Ledger, command: Command, event: Event, now: datetime) -> Receipt:
    """The answer to a command whose key an event has, with the balances of now.

    Raises: IdempotencyConflictError.
    """
    try:
        same = command.digest() == event.digest
    except (WrongTypeError, InvalidValueError):  # what cannot have been recorded is another command
        same = False
    if not same:
        raise IdempotencyConflictError(ledger.ledger_id, str(command.idempotency_key), event.version)
    balance, available = ledger.balance_at(now), ledger.available_at(now)
    return Receipt((event,), balance, available, ledger.pending_charges, replayed=True)


def _with_keys_once(members: list[Request]) -> tuple[list[Request], list[Request]]:
    """The members of which no two have a key in common, and the rest, to be stored after them."""
    if len(members) == 1:
        return members, []
    once: list[Request] = []
    later: list[Request] = []
    taken: set[str] = set()
    for member in members:
        keys = member.keys
        (later if keys & taken else once).append(member)
        taken |= keys
    return once, later
