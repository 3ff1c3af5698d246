"""The service: load a ledger, decide, append, settle. Here the library meets a clock, a storage and a payment method.

Written once, as coroutines; the blocking service steps the same coroutines, which never wait when what they call
blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import update_wrapper
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

import attrs

from commcredits.appending import Appender, Command, Receipt, Request
from commcredits.command import check_name
from commcredits.errors import (
    CommCreditsError,
    IdempotencyConflictError,
    InsufficientFundsError,
    InvalidValueError,
    LedgerExistsError,
    VersionConflictError,
    WrongTypeError,
)
from commcredits.events import FundsConsumed
from commcredits.gathering import AsyncGate, ThreadGate
from commcredits.ledger import Ledger
from commcredits.settling import Settler
from commcredits.statement import StatementDraft
from commcredits.stepping import SteppedPaymentMethod, stepped
from commcredits.storage import Head, SteppedStorage
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

    from commcredits.events import Event
    from commcredits.gathering import Gate
    from commcredits.money import Money
    from commcredits.payment import AsyncPaymentMethod, Outcome, PaymentMethod
    from commcredits.policy import RechargePolicy, Terms
    from commcredits.state import LedgerState
    from commcredits.statement import Statement
    from commcredits.storage import AsyncStorage, Storage

_P = ParamSpec("_P")
_R = TypeVar("_R")


def utc_now() -> datetime:
    """The system's clock, in UTC."""
    return datetime.now(UTC)


@attrs.frozen(order=False)
class Usage:
    """One item of `consume_many`: what `consume` takes."""

    amount: Money
    occurred_at: datetime | None = None
    kind: str = ""
    description: str = ""
    idempotency_key: str | None = None


class AsyncLedgerService:
    """The commands and reads of ledgers kept in a storage, with charges made through a payment method; for coroutines.

    Every command answers with a `Receipt`, takes an `idempotency_key`, and raises what the ledger's command of that
    name raises, LedgerNotFoundError, and whatever the storage raises; nothing was recorded then, or the key tells.
    A known key answers before rules, time and closing: the same command with a replay, another one with
    IdempotencyConflictError. A command that has nothing of its own to record leaves its key free. Concurrent calls for
    one ledger are stored together. One service serves one event loop.

    Args:
        storage: keeps the events; the caller opens and closes it.
        payment_method: makes the charges; `PaymentMethods` makes one of several.
        clock: the time, timezone-aware.
        settles_inline: every command ends by making at most one charge: its own purchase, else the oldest due. When
            false, charges wait for `settle` or `settle_due`.
    """

    _gate: type[Gate] = AsyncGate

    def __init__(
        self,
        storage: AsyncStorage,
        payment_method: AsyncPaymentMethod,
        *,
        clock: Callable[[], datetime] = utc_now,
        settles_inline: bool = True,
    ) -> None:
        if not iscoroutinefunction(getattr(storage, "load", None)):
            raise WrongTypeError("storage", storage, "an AsyncStorage; LedgerService takes a blocking one")
        if not callable(getattr(payment_method, "charge", None)):
            raise WrongTypeError("payment_method", payment_method, "a payment method")
        if not callable(clock):
            raise WrongTypeError("clock", clock, "a function that tells the time")
        if not isinstance(settles_inline, bool):
            raise WrongTypeError("settles_inline", settles_inline, "a bool")
        self._storage = storage
        self._clock = clock
        self._settles_inline = settles_inline
        self._failed: set[str] = set()  # due ledgers that could not be settled, lest they take everybody's turn
        self._appender = Appender(storage, self._gate(), clock)
        self._settler = Settler(self._appender, payment_method)

    async def open(self, ledger_id: str, terms: Terms, *, payment_methods: Iterable[str] = ("default",)) -> Receipt:
        """Open a ledger; see `Ledger.open`.

        Raises: LedgerExistsError; what is there is left as it was.
        """
        ledger = Ledger.open(ledger_id, terms, at=self._clock(), payment_methods=payment_methods)
        try:
            await self._storage.append(
                ledger_id, [ledger.opened], expected_version=0, head=Head.of(ledger), state=ledger.state
            )
        except VersionConflictError:
            raise LedgerExistsError(ledger_id) from None
        return Receipt.of(ledger, (ledger.opened,))

    async def get(self, ledger_id: str) -> LedgerState:
        """The ledger as of now: what fell due is applied, nothing is recorded; `version` is the stored one.

        Raises: LedgerNotFoundError.
        """
        ledger = await self._appender.load(ledger_id)
        return ledger.state().at(self._appender.now(ledger))

    async def add_funds(
        self, ledger_id: str, amount: Money, *, reference: str, idempotency_key: str | None = None
    ) -> Receipt:
        """Put money on the ledger that was already received; see `Ledger.add_funds`."""
        return await self._do(ledger_id, "add_funds", idempotency_key, amount=amount, reference=reference)

    async def purchase(
        self,
        ledger_id: str,
        amount: Money,
        *,
        payment_method: str | None = None,
        reference: str = "",
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Charge a payment method as a person asked, at once if settling inline; see `Ledger.purchase`."""
        return await self._do(
            ledger_id, "purchase", idempotency_key, amount=amount, payment_method=payment_method, reference=reference
        )

    async def grant(
        self,
        ledger_id: str,
        amount: Money,
        *,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Give funds nobody paid for; see `Ledger.grant`."""
        return await self._do(
            ledger_id,
            "grant",
            idempotency_key,
            amount=amount,
            starts_at=starts_at,
            expires_at=expires_at,
            priority=priority,
        )

    async def consume(
        self,
        ledger_id: str,
        amount: Money,
        *,
        occurred_at: datetime | None = None,
        kind: str = "",
        description: str = "",
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Take the cost of usage off the ledger; see `Ledger.consume`.

        Refused under a policy with `recharge_when_refused`, it has asked for the recharge when InsufficientFundsError
        arrives.
        """
        return await self._do(
            ledger_id,
            "consume",
            idempotency_key,
            amount=amount,
            occurred_at=occurred_at,
            kind=kind,
            description=description,
        )

    async def consume_many(
        self, ledger_id: str, usages: Iterable[Usage], *, refused: Literal["raise", "collect"] = "raise"
    ) -> tuple[Receipt | CommCreditsError, ...]:
        """Take the costs of many usages off the ledger in one append; the answers are in the order of `usages`.

        Usages recorded before, by their keys, are answered as replays. The new ones are recorded all or none; with
        refused="collect" those that can be, and in the place of the others is their refusal.

        Raises: as `consume`, the error's `index` being the usage's place; nothing was recorded then.
        """
        if refused not in ("raise", "collect"):
            raise InvalidValueError("refused", refused, 'must be "raise" or "collect"')
        if not isinstance(usages, Iterable):
            raise WrongTypeError("usages", usages, "an iterable of Usages")
        request = Request([_consumption(usage) for usage in usages], several=True, collects=refused == "collect")
        await self._carry_out(ledger_id, request)
        return tuple(request.answers)

    async def hold(
        self, ledger_id: str, hold_id: str, amount: Money, *, expires_at: datetime, idempotency_key: str | None = None
    ) -> Receipt:
        """Set free funds aside; see `Ledger.hold`."""
        return await self._do(ledger_id, "hold", idempotency_key, hold_id=hold_id, amount=amount, expires_at=expires_at)

    async def extend_hold(
        self,
        ledger_id: str,
        hold_id: str,
        *,
        add: Money | None = None,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Hold more, or longer; see `Ledger.extend_hold`."""
        return await self._do(
            ledger_id, "extend_hold", idempotency_key, hold_id, hold_id=hold_id, add=add, expires_at=expires_at
        )

    async def capture(
        self,
        ledger_id: str,
        hold_id: str,
        amount: Money | None = None,
        *,
        final: bool = True,
        occurred_at: datetime | None = None,
        kind: str = "",
        description: str = "",
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Consume what a hold set aside; see `Ledger.capture`."""
        return await self._do(
            ledger_id,
            "capture",
            idempotency_key,
            hold_id,
            hold_id=hold_id,
            amount=amount,
            final=final,
            occurred_at=occurred_at,
            kind=kind,
            description=description,
        )

    async def release(self, ledger_id: str, hold_id: str, *, idempotency_key: str | None = None) -> Receipt:
        """Give a hold's funds back; see `Ledger.release`."""
        return await self._do(ledger_id, "release", idempotency_key, hold_id, hold_id=hold_id)

    async def configure_auto_recharge(
        self, ledger_id: str, policy: RechargePolicy, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Recharge by a policy from now on; see `Ledger.configure_auto_recharge`."""
        return await self._do(ledger_id, "configure_auto_recharge", idempotency_key, policy=policy)

    async def disable_auto_recharge(self, ledger_id: str, *, idempotency_key: str | None = None) -> Receipt:
        """Recharge no more; see `Ledger.disable_auto_recharge`."""
        return await self._do(ledger_id, "disable_auto_recharge", idempotency_key)

    async def resume_auto_recharge(self, ledger_id: str, *, idempotency_key: str | None = None) -> Receipt:
        """Forget suspension and declines; see `Ledger.resume_auto_recharge`."""
        return await self._do(ledger_id, "resume_auto_recharge", idempotency_key)

    async def change_payment_methods(
        self, ledger_id: str, *payment_methods: str, idempotency_key: str | None = None
    ) -> Receipt:
        """Charge these from now on; see `Ledger.change_payment_methods`."""
        methods = {str(place): method for place, method in enumerate(payment_methods)}
        return await self._do(ledger_id, "change_payment_methods", idempotency_key, **methods)

    async def record_outcome(
        self, ledger_id: str, charge_id: str, outcome: Outcome, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Record what became of a charge, as a webhook tells it; see `Ledger.record_outcome`."""
        return await self._do(
            ledger_id, "record_outcome", idempotency_key, charge_id, charge_id=charge_id, outcome=outcome
        )

    async def reverse_consumption(
        self,
        ledger_id: str,
        idempotency_key_of_the_usage: str,
        amount: Money | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Undo the usage that was recorded under a key; see `Ledger.reverse_consumption`.

        Raises: InvalidValueError when no usage has that key; nothing was recorded.
        """
        check_name("ledger_id", ledger_id)
        check_name("idempotency_key_of_the_usage", idempotency_key_of_the_usage)
        if idempotency_key is not None:
            check_name("idempotency_key", idempotency_key)
        found = await self._storage.find(ledger_id, [idempotency_key_of_the_usage])
        usage = found.get(idempotency_key_of_the_usage)
        if not isinstance(usage, FundsConsumed):
            await self._appender.load(ledger_id)
            known = await self._storage.find(ledger_id, [idempotency_key] if idempotency_key is not None else [])
            for event in known.values():
                raise IdempotencyConflictError(ledger_id, str(idempotency_key), event.version)
            raise InvalidValueError("idempotency_key_of_the_usage", idempotency_key_of_the_usage, "no usage has it")
        return await self._do(
            ledger_id, "reverse_consumption", idempotency_key, usage.version, consumption=usage, amount=amount
        )

    async def refund(
        self, ledger_id: str, lot_id: int, amount: Money, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Take money out of a bought lot to give it back to the payer; see `Ledger.refund`."""
        return await self._do(ledger_id, "refund", idempotency_key, lot_id, lot_id=lot_id, amount=amount)

    async def claw_back(
        self, ledger_id: str, lot_id: int, amount: Money, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Record that the bank took a payment back; see `Ledger.claw_back`."""
        return await self._do(ledger_id, "claw_back", idempotency_key, lot_id, lot_id=lot_id, amount=amount)

    async def reinstate(
        self, ledger_id: str, lot_id: int, amount: Money, *, idempotency_key: str | None = None
    ) -> Receipt:
        """Undo a claw-back; see `Ledger.reinstate`."""
        return await self._do(ledger_id, "reinstate", idempotency_key, lot_id, lot_id=lot_id, amount=amount)

    async def change_terms(self, ledger_id: str, terms: Terms, *, idempotency_key: str | None = None) -> Receipt:
        """Keep the ledger under other terms; see `Ledger.change_terms`."""
        return await self._do(ledger_id, "change_terms", idempotency_key, terms=terms)

    async def advance(self, ledger_id: str, *, idempotency_key: str | None = None) -> Receipt:
        """Record what fell due; see `Ledger.advance`."""
        return await self._do(ledger_id, "advance", idempotency_key)

    async def close(self, ledger_id: str, *, idempotency_key: str | None = None) -> Receipt:
        """Take no new funds and usage from now on; see `Ledger.close`."""
        return await self._do(ledger_id, "close", idempotency_key)

    async def settle(self, ledger_id: str) -> Receipt:
        """Advance to now, which may request a charge, then make the one charge that is due, if any.

        A payment method that raises leaves the charge pending, and the receipt tells what it raised.
        """
        request = await self._appender.carry_out(ledger_id, Request([Command("advance", {})]))
        await self._settler.make_due_charge(ledger_id, request)
        return _only(request)

    async def settle_due(self, *, limit: int = 100) -> Mapping[str, Receipt | Exception]:
        """Settle each of at most `limit` due ledgers once; what came of each, by ledger id.

        The failure of one does not stop the others; it is the answer in its place. Those that failed the last time
        come after the others.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise InvalidValueError("limit", limit, "must be a whole number above zero")
        answers: dict[str, Receipt | Exception] = {}
        due = await self._storage.due(utc(self._clock(), "clock"), limit=limit + len(self._failed))
        for ledger_id in sorted(due, key=self._failed.__contains__)[:limit]:
            try:
                answers[ledger_id] = await self.settle(ledger_id)
            except Exception as error:  # noqa: BLE001  # one ledger's failure, whatever it is, is that ledger's answer
                answers[ledger_id] = error
        failed = {ledger_id for ledger_id, answer in answers.items() if isinstance(answer, Exception)}
        self._failed = failed | (self._failed.intersection(due) - answers.keys())
        return answers

    def history(self, ledger_id: str, *, after_version: int = 0) -> AsyncIterator[Event]:
        """The ledger's events after a version, in order; none for a ledger that does not exist.

        Raises: WrongTypeError, InvalidValueError for what is no id or no version.
        """
        _check_history(ledger_id, after_version)
        return self._storage.history(ledger_id, after_version=after_version)

    async def statement(
        self, ledger_id: str, start: datetime, end: datetime, *, time_zone: str | None = None
    ) -> Statement:
        """What happened from `start` up to, not including, `end`; see `Statement.of`. No time zone: the ledger's.

        Raises: LedgerNotFoundError, InvalidValueError.
        """
        ledger = await self._appender.load(ledger_id)
        place = ledger.terms.time_zone if time_zone is None else time_zone
        draft = StatementDraft(start, end, place, now=self._appender.now(ledger))
        async for event in self._storage.history(ledger_id):
            if not draft.take(event):
                break
        return draft.finished()

    async def _do(
        self,
        ledger_id: str,
        name: str,
        idempotency_key: str | None,
        subject: int | str | None = None,
        /,
        **arguments: Any,
    ) -> Receipt:
        key = None if idempotency_key is None else check_name("idempotency_key", idempotency_key)
        request = Request([Command(name, arguments, key, subject)])
        await self._carry_out(ledger_id, request)
        return _only(request)

    async def _carry_out(self, ledger_id: str, request: Request) -> None:
        """Carry a request out, then make at most one charge if settling inline; its last receipt tells of it."""
        try:
            await self._appender.carry_out(ledger_id, request)
        except InsufficientFundsError:
            await self._recharge_refused(ledger_id, request)
            raise
        if request.refused is not None:
            await self._recharge_refused(ledger_id, request)
        elif self._settles_inline and request.due_charge is not None:
            await self._settler.make_due_charge(ledger_id, request)

    async def _recharge_refused(self, ledger_id: str, request: Request) -> None:
        """Ask for the recharge that refused usage would have caused, where the policy wants it, and tell of it."""
        if request.refused is None:
            return
        asked = await self._settler.request_refused(ledger_id, request)
        if asked is not None and self._settles_inline:
            await self._settler.make_due_charge(ledger_id, asked)
        told = request.last_receipt
        if asked is not None and asked.last_receipt is not None and told is not None:
            later = asked.last_receipt
            request.replace_last_receipt(attrs.evolve(later, events=told.events + later.events, replayed=told.replayed))


def _consumption(usage: Usage) -> Command:
    """The command of an item of `consume_many`, or the refusal of what is none."""
    try:
        if not isinstance(usage, Usage):
            raise WrongTypeError("usages", usage, "Usages, each of them")
        arguments = {
            "amount": usage.amount,
            "occurred_at": usage.occurred_at,
            "kind": usage.kind,
            "description": usage.description,
        }
        key = usage.idempotency_key
        return Command("consume", arguments, None if key is None else check_name("idempotency_key", key))
    except CommCreditsError as error:
        return Command("consume", {}, refusal=error)


def _check_history(ledger_id: str, after_version: int) -> None:
    check_name("ledger_id", ledger_id)
    if not isinstance(after_version, int) or isinstance(after_version, bool):
        raise WrongTypeError("after_version", after_version, "a whole number")
    if after_version < 0:
        raise InvalidValueError("after_version", after_version, "must not be below zero")


def _only(request: Request) -> Receipt:
    """The answer to the one command of a request that was not refused."""
    (answer,) = request.answers
    if isinstance(answer, CommCreditsError):
        raise answer
    return answer


class _SteppedService(AsyncLedgerService):
    """The service on stepped parts, its callers being threads."""

    _gate = ThreadGate


def _blocking(
    method: Callable[Concatenate[AsyncLedgerService, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate[LedgerService, _P], _R]:
    """The coroutine method as a blocking one, stepped to its end."""

    def step(self: LedgerService, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return stepped(method(self._stepped, *args, **kwargs))

    update_wrapper(step, method)
    return step


class LedgerService:
    """The commands and reads of ledgers kept in a storage, with charges made through a payment method; blocking.

    Safe among threads if the storage and the payment method are. The rest is as in `AsyncLedgerService`.
    """

    def __init__(
        self,
        storage: Storage,
        payment_method: PaymentMethod,
        *,
        clock: Callable[[], datetime] = utc_now,
        settles_inline: bool = True,
    ) -> None:
        for parameter, part, name in (("storage", storage, "load"), ("payment_method", payment_method, "charge")):
            method = getattr(part, name, None)
            if not callable(method) or iscoroutinefunction(method):
                raise WrongTypeError(parameter, part, "a blocking one; AsyncLedgerService takes those that wait")
        self._storage = storage
        self._stepped = _SteppedService(
            SteppedStorage(storage), SteppedPaymentMethod(payment_method), clock=clock, settles_inline=settles_inline
        )

    open = _blocking(AsyncLedgerService.open)
    get = _blocking(AsyncLedgerService.get)
    add_funds = _blocking(AsyncLedgerService.add_funds)
    purchase = _blocking(AsyncLedgerService.purchase)
    grant = _blocking(AsyncLedgerService.grant)
    consume = _blocking(AsyncLedgerService.consume)
    consume_many = _blocking(AsyncLedgerService.consume_many)
    hold = _blocking(AsyncLedgerService.hold)
    extend_hold = _blocking(AsyncLedgerService.extend_hold)
    capture = _blocking(AsyncLedgerService.capture)
    release = _blocking(AsyncLedgerService.release)
    configure_auto_recharge = _blocking(AsyncLedgerService.configure_auto_recharge)
    disable_auto_recharge = _blocking(AsyncLedgerService.disable_auto_recharge)
    resume_auto_recharge = _blocking(AsyncLedgerService.resume_auto_recharge)
    change_payment_methods = _blocking(AsyncLedgerService.change_payment_methods)
    record_outcome = _blocking(AsyncLedgerService.record_outcome)
    reverse_consumption = _blocking(AsyncLedgerService.reverse_consumption)
    refund = _blocking(AsyncLedgerService.refund)
    claw_back = _blocking(AsyncLedgerService.claw_back)
    reinstate = _blocking(AsyncLedgerService.reinstate)
    change_terms = _blocking(AsyncLedgerService.change_terms)
    advance = _blocking(AsyncLedgerService.advance)
    close = _blocking(AsyncLedgerService.close)
    settle = _blocking(AsyncLedgerService.settle)
    settle_due = _blocking(AsyncLedgerService.settle_due)
    statement = _blocking(AsyncLedgerService.statement)

    def history(self, ledger_id: str, *, after_version: int = 0) -> Iterator[Event]:
        """The ledger's events after a version, in order; none for a ledger that does not exist.

        Raises: WrongTypeError, InvalidValueError for what is no id or no version.
        """
        _check_history(ledger_id, after_version)
        return self._storage.history(ledger_id, after_version=after_version)
