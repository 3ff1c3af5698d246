"""Billing: calls are rated, covered by allowances, and what is left is consumed from credits, each call once.

A run may be repeated, and may end in the middle: run again, with the same calls and the allowances as they were before,
it bills what was not billed, and nothing twice. The storage's idempotency keys are all that it remembers by: a call is
consumed under its `record_id`. Where a later run comes to another cost, the first is reversed under `id#1-reversed` and
the new one consumed under `id#2`, that one reversed under `id#2-reversed`, and so on.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs

from commcredits.command import NAME_LENGTH_MAX, check_name
from commcredits.errors import (
    CommCreditsError,
    CurrencyMismatchError,
    IdempotencyConflictError,
    InvalidValueError,
    ReversalExceedsUsageError,
    WrongTypeError,
)
from commcredits.events import FundsConsumed
from commcredits.money import Money
from commcredits.service import AsyncLedgerService, LedgerService, Usage
from commcredits.stepping import stepped
from commcredits.telephony.allowances import AllowanceState
from commcredits.telephony.bills import Bill, BilledCall, CallRefusedError, Outcome, Tally
from commcredits.telephony.calls import CallRecord
from commcredits.telephony.codes import call_type_of
from commcredits.telephony.plans import PAY_PER_MINUTE
from commcredits.telephony.rating import RateCard, RatedCall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from commcredits.events import Event

_BATCH_SIZE_MAX = 10_000
_FREE = "FREECALL"
_LIKE_A_KEY = re.compile(r"#[0-9]+(-reversed)?\Z")
# Short enough for the keys of its corrections, too.
_ID_LENGTH_MAX = NAME_LENGTH_MAX - len("#9999-reversed")


def bill(
    service: LedgerService,
    ledger_id: str,
    calls: Iterable[CallRecord],
    card: RateCard,
    allowances: AllowanceState,
    *,
    batch_size: int = 500,
    on_billed: Callable[[BilledCall], object] | None = None,
    on_refused: Callable[[CallRefusedError], object] | None = None,
) -> Bill:
    """Bill calls: what the allowances do not cover is rated by the card and consumed from the ledger.

    Calls are taken in the order given, that of their starts for a report; what the allowances cover depends on the
    calls and their order alone, never on the ledger, so that a run that is repeated decides the same. Costs and plans
    are not those that the records tell. Nobody pays for calls to and from emergency numbers, calls over Direct Routing
    or of another operator, calls given free (`FREECALL`), and calls in, but those to toll-free numbers and into
    pay-per-minute conferences; allowances cover none of these two, nor calls out of such a conference.

    Each batch of `batch_size` calls is one append. What costs nothing is not recorded. A call is consumed at the time
    it started, its type being the usage's kind and its destination the description. Usage that has happened must be
    recorded whatever the balance: let the ledger's `overdraft_limit` be None.

    - Corrections: a call that an earlier run billed otherwise (its record, the card or the allowances were others) is
      reversed and billed anew. To correct a month, bill all of it again, from the allowances it began with.
    - A call whose id comes a second time in one run is left aside; `Bill.repeated` counts those. If it is unlike the
      first, it is refused.
    - Refused calls (no rate, an unknown direction, not enough funds under an overdraft limit): the rest of the batch is
      recorded, then CallRefusedError is raised; or each is handed to `on_refused`, and billing goes on. The minutes
      that a refused call used stay used: it has happened.

    `on_billed` is handed each call that is billed, when it is. Memory grows by the calls' ids, not by the calls.

    Raises: CallRefusedError; CurrencyMismatchError for a card in another currency than the ledger's;
    LedgerNotFoundError, WrongTypeError, InvalidValueError; whatever the storage raises. What was billed before stays:
    run it again.
    """
    run = _Run(ledger_id, card, allowances, batch_size, on_billed, on_refused)
    if not isinstance(service, LedgerService):
        raise WrongTypeError("service", service, "a LedgerService; async_bill takes an AsyncLedgerService")
    if not isinstance(calls, Iterable):
        raise WrongTypeError("calls", calls, "an iterable of CallRecords")
    return stepped(run.of(service._stepped, calls))


async def async_bill(
    service: AsyncLedgerService,
    ledger_id: str,
    calls: Iterable[CallRecord] | AsyncIterable[CallRecord],
    card: RateCard,
    allowances: AllowanceState,
    *,
    batch_size: int = 500,
    on_billed: Callable[[BilledCall], object] | None = None,
    on_refused: Callable[[CallRefusedError], object] | None = None,
) -> Bill:
    """`bill` for coroutines; the calls may come from an asynchronous iterable."""
    run = _Run(ledger_id, card, allowances, batch_size, on_billed, on_refused)
    if not isinstance(service, AsyncLedgerService):
        raise WrongTypeError("service", service, "an AsyncLedgerService; bill takes a LedgerService")
    if not isinstance(calls, Iterable | AsyncIterable):
        raise WrongTypeError("calls", calls, "an iterable of CallRecords")
    return await run.of(service, calls)


@attrs.define(eq=False)
class _Item:
    """A call of a batch, what it comes to, and how it stands on the ledger.

    `number` is that of its rating, from 1; `undoes`: the rating before is to be reversed first; `is_known`: the ledger
    has this rating already.
    """

    call: CallRecord
    cost: Money
    seconds_covered: int = 0
    rated: RatedCall | None = None
    number: int = 1
    undoes: bool = False
    is_known: bool = False
    refusal: CommCreditsError | None = None

    @property
    def usage(self) -> Usage:
        call = self.call
        return Usage(self.cost, call.started_at, call.call_type, call.destination_name, _key(call, self.number))

    @property
    def outcome(self) -> Outcome:
        if self.is_known:
            return "known"
        if self.undoes or (self.cost.is_positive and self.number > 1):
            return "corrected"
        return "recorded" if self.cost.is_positive else "not_recorded"


class _Run:
    """One run of billing."""

    def __init__(
        self,
        ledger_id: str,
        card: RateCard,
        allowances: AllowanceState,
        batch_size: int,
        on_billed: Callable[[BilledCall], object] | None,
        on_refused: Callable[[CallRefusedError], object] | None,
    ) -> None:
        if not isinstance(card, RateCard):
            raise WrongTypeError("card", card, "a RateCard")
        if not isinstance(allowances, AllowanceState):
            raise WrongTypeError("allowances", allowances, "an AllowanceState")
        if not isinstance(batch_size, int) or isinstance(batch_size, bool):
            raise WrongTypeError("batch_size", batch_size, "a whole number")
        if not 1 <= batch_size <= _BATCH_SIZE_MAX:
            raise InvalidValueError("batch_size", batch_size, f"not from 1 to {_BATCH_SIZE_MAX:,}")
        for parameter, callback in (("on_billed", on_billed), ("on_refused", on_refused)):
            if callback is not None and not callable(callback):
                raise WrongTypeError(parameter, callback, "a callable or None")
        self._ledger_id = ledger_id
        self._card = card
        self._zero = Money.zero(card.currency)
        self._allowances = allowances
        self._batch_size = batch_size
        self._on_billed = on_billed
        self._on_refused = on_refused
        self._seen: dict[str, int] = {}
        self._tally = Tally(card.currency)

    async def of(self, service: AsyncLedgerService, calls: Iterable[CallRecord] | AsyncIterable[CallRecord]) -> Bill:
        """Bill the calls."""
        currency = (await service.get(self._ledger_id)).currency
        if currency != self._card.currency:
            raise CurrencyMismatchError(currency, self._card.currency)
        batch: list[_Item] = []
        async for call in _each(calls):
            item = self._decided(call)
            if item is not None:
                batch.append(item)
            if len(batch) == self._batch_size:
                await self._record(service, batch)
                batch = []
        await self._record(service, batch)
        return self._tally.bill(self._ledger_id, self._allowances)

    # What a call comes to: decided by the call, the card and the allowances alone.

    def _decided(self, call: CallRecord) -> _Item | None:
        """What is to become of a call; None: it came before."""
        if not isinstance(call, CallRecord):
            raise WrongTypeError("calls", call, "CallRecords")
        item = _Item(call, self._zero)
        facts = hash(call)
        if call.record_id in self._seen:
            if self._seen[call.record_id] == facts:
                self._tally.repeated += 1
                return None
            item.refusal = InvalidValueError("record_id", call.record_id, "came before in this run, unlike this time")
            return item
        self._seen[call.record_id] = facts
        try:
            _check_id(call.record_id)
            self._rate(item)
        except CommCreditsError as error:
            item.refusal = error
        return item

    def _rate(self, item: _Item) -> None:
        call = item.call
        if not _may_cost(call):
            return
        self._allowances, item.seconds_covered, left = self._allowances.use(call)
        if left:
            item.rated = self._card.rate_call(call if left == call.duration_seconds else _end_of(call, left))
            item.cost = item.rated.cost

    # What is recorded of it.

    async def _record(self, service: AsyncLedgerService, batch: list[_Item]) -> None:
        """Bring the ledger to what the calls of a batch come to, and tell of each."""
        going = [item for item in batch if item.refusal is None]
        await self._find_out(service, going)
        for item in going:
            if item.undoes:
                await self._undo(service, item)
        new = [item for item in going if item.cost.is_positive and not item.is_known and item.refusal is None]
        if new:
            usages = [item.usage for item in new]
            answers = await service.consume_many(self._ledger_id, usages, refused="collect")
            for item, answer in zip(new, answers, strict=True):
                if isinstance(answer, CommCreditsError):
                    item.refusal = answer
        self._tell(batch)

    async def _find_out(self, service: AsyncLedgerService, items: list[_Item]) -> None:
        """Find the last rating of each call that the ledger has, and whether it stands."""
        while items:
            keys = [key(item.call, item.number) for item in items for key in (_key, _key_of_undoing)]
            found = await service._storage.find(self._ledger_id, keys)
            items = [item for item in items if self._goes_on(item, found)]

    def _goes_on(self, item: _Item, found: Mapping[str, Event]) -> bool:
        """Whether the rating of the item's number was undone, so that the next is to be looked for."""
        event = found.get(_key(item.call, item.number))
        if event is None:
            return False
        if not isinstance(event, FundsConsumed):
            item.refusal = IdempotencyConflictError(self._ledger_id, str(event.idempotency_key), event.version)
            return False
        is_undone = event.amount.is_zero or _key_of_undoing(item.call, item.number) in found
        if not is_undone and (event.amount, event.occurred_at) == (item.cost, item.call.started_at):
            item.is_known = True
            return False
        item.number += 1
        item.undoes = not is_undone
        return is_undone

    async def _undo(self, service: AsyncLedgerService, item: _Item) -> None:
        number = item.number - 1
        key = _key_of_undoing(item.call, number)
        try:
            await service.reverse_consumption(self._ledger_id, _key(item.call, number), idempotency_key=key)
        except (ReversalExceedsUsageError, IdempotencyConflictError) as error:
            item.refusal = error

    def _tell(self, batch: list[_Item]) -> None:
        first: CallRefusedError | None = None
        for item in batch:
            if item.refusal is None:
                billed = BilledCall(item.call, item.seconds_covered, item.rated, item.cost, item.outcome)
                self._tally.add(billed)
                if self._on_billed is not None:
                    self._on_billed(billed)
                continue
            error = CallRefusedError(item.call, item.refusal)
            self._tally.refused += 1
            if self._on_refused is not None:
                self._on_refused(error)
            else:
                first = first or error
        if first is not None:
            raise first from first.why


async def _each(calls: Iterable[CallRecord] | AsyncIterable[CallRecord]) -> AsyncIterator[CallRecord]:
    if isinstance(calls, AsyncIterable):
        async for call in calls:
            yield call
    else:
        for call in calls:
            yield call


def _may_cost(call: CallRecord) -> bool:
    """Whether anybody pays for calls of this kind at all."""
    known = call_type_of(call.call_type)
    if call.is_emergency or call.capability.upper() == _FREE or (known and known.party == "direct_routing"):
        return False
    if call.operator.lower() not in ("", "microsoft"):
        return False
    if call.direction != "inbound" or call.is_toll_free:
        return True
    return call.capability.upper().startswith(PAY_PER_MINUTE)


def _end_of(call: CallRecord, seconds: int) -> CallRecord:
    """The last seconds of a call whose beginning is covered, as a call of its own."""
    covered = timedelta(seconds=call.duration_seconds - seconds)
    return attrs.evolve(call, started_at=call.started_at + covered, duration_seconds=seconds)


def _check_id(record_id: str) -> None:
    """Refuse an id that no key can be made of, or that is one of another call's keys."""
    check_name("record_id", record_id)
    if len(record_id) > _ID_LENGTH_MAX:
        raise InvalidValueError("record_id", record_id, f"more than {_ID_LENGTH_MAX} characters")
    if _LIKE_A_KEY.search(record_id):
        raise InvalidValueError("record_id", record_id, "ends like the key of another call's correction")


def _key(call: CallRecord, number: int) -> str:
    """The key under which a call is consumed by its rating of that number."""
    return call.record_id if number == 1 else f"{call.record_id}#{number}"


def _key_of_undoing(call: CallRecord, number: int) -> str:
    """The key under which the rating of that number is reversed."""
    return f"{call.record_id}#{number}-reversed"
