"""CallSession: a call in progress, whose cost is consumed as it goes, out of a hold.

Reserve, use, release, as credit control has it (RFC 8506): a slice of the call is held, what was used of it is captured
and the next slice held, and at the end the rest goes back. What is consumed is always what the call so far costs, rated
as one call, less what was consumed before; so however it was sliced, the call costs what it costs rated once.

Nothing need be kept of a session to survive a crash. Its captures have idempotency keys numbered in turn, and a session
that is started again, or repeats a request, finds those that are taken and goes on from there.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import attrs

from commcredits.command import check_events, check_name
from commcredits.errors import (
    CommCreditsError,
    CurrencyMismatchError,
    HoldEndedError,
    HoldExistsError,
    IdempotencyConflictError,
    InsufficientFundsError,
    InvalidValueError,
    UnknownHoldError,
    WrongTypeError,
)
from commcredits.events import Event, FundsConsumed
from commcredits.ledger import Ledger
from commcredits.money import Money
from commcredits.service import AsyncLedgerService, LedgerService
from commcredits.stepping import stepped
from commcredits.telephony.metered_call import FinalUnitAction, MeteredCall
from commcredits.telephony.rates import check_seconds
from commcredits.telephony.session_ledger import OnLedger, OnService
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from commcredits.lots import Hold
    from commcredits.state import LedgerState
    from commcredits.telephony.session_ledger import SessionLedger

_REFUSALS_MAX = 5
_NONE_YET = -1


class SessionEndedError(CommCreditsError):
    """A request for a session whose call is over.

    Attributes: `session_id`, `request_number`. Nothing was recorded.
    """

    def __init__(self, session_id: str, request_number: int) -> None:
        super().__init__(f"session {session_id!r} is over: request {request_number} comes after its end")
        self.session_id = session_id
        self.request_number = request_number


@attrs.frozen(order=False, kw_only=True)
class SessionAnswer:
    """What a session answers to a request; in RFC 8506 a Credit-Control-Answer.

    Attributes:
        request_number: of the request (CC-Request-Number); the start is 0.
        used_seconds: how long the call had lasted then.
        consumed: what it had cost by then, all of it taken off the ledger.
        granted_seconds: for how long it may go on from there, funds for which are held (Granted-Service-Unit).
        valid_until: when the hold times out, unless another request comes before (Validity-Time); None: the call is
            over, or the seconds granted cost nothing.
        final_unit: what is to happen when they are used, if nothing more can be paid (Final-Unit-Indication):
            "terminate", "redirect" or "restrict"; None: ask for more then.
        redirect_to: where to, if it is to be redirected.
        events: what was recorded; none for a request that was answered before.
    """

    request_number: int
    used_seconds: int
    consumed: Money
    granted_seconds: int
    valid_until: datetime | None
    final_unit: FinalUnitAction | None
    redirect_to: str = ""
    events: tuple[Event, ...] = ()


class _Reserved(NamedTuple):
    """What is available and held after reserving, and until when."""

    available: Money
    held: Money
    valid_until: datetime | None


class _Session:
    """A session, as coroutines that wait for nothing but the ledger."""

    def __init__(self, ledger: SessionLedger, call: MeteredCall) -> None:
        self.ledger = ledger
        self.call = call
        self.consumed = Money.zero(call.card.currency)
        # Before the start, which is request 0, there is an answer to none.
        self.answer = SessionAnswer(
            request_number=_NONE_YET,
            used_seconds=0,
            consumed=self.consumed,
            granted_seconds=0,
            valid_until=None,
            final_unit=None,
        )
        self.is_over = False
        self._captures = 0
        self._holds = 0
        self._hold_id: str | None = None

    @property
    def _is_starting(self) -> bool:
        return self.answer.request_number == _NONE_YET

    async def start(self) -> SessionAnswer:
        await self._catch_up()
        self.answer = await self._reserve(0, 0)
        return self.answer

    async def update(self, used_seconds: int, request_number: int) -> SessionAnswer:
        answered = self._answered(used_seconds, request_number)
        if answered is not None:
            return answered
        await self._consume(used_seconds, final=False)
        self.answer = await self._reserve(request_number, used_seconds)
        return self.answer

    async def end(self, used_seconds: int, request_number: int) -> SessionAnswer:
        answered = self._answered(used_seconds, request_number)
        if answered is not None:
            return answered
        await self._consume(used_seconds, final=True)
        self.is_over = True
        self.answer = self._made(request_number, used_seconds, used_seconds, None, is_final=False)
        return self.answer

    def _answered(self, used_seconds: int, request_number: int) -> SessionAnswer | None:
        """The answer to a request that is not new; None: it is.

        Seconds are counted from the start of the call, so those of a request that was overtaken are in the later one's.
        """
        check_seconds("used_seconds", used_seconds)
        if not isinstance(request_number, int) or isinstance(request_number, bool):
            raise WrongTypeError("request_number", request_number, "a whole number")
        if request_number < 1:
            raise InvalidValueError("request_number", request_number, "below 1; the start is 0")
        last = self.answer
        if request_number > last.request_number:
            if self.is_over:
                raise SessionEndedError(self.call.session_id, request_number)
            if used_seconds < last.used_seconds:
                why = f"fewer than the {last.used_seconds} reported before; they count from the start of the call"
                raise InvalidValueError("used_seconds", used_seconds, why)
            return None
        if request_number == last.request_number and used_seconds != last.used_seconds:
            why = f"request {request_number} reported {last.used_seconds}"
            raise InvalidValueError("used_seconds", used_seconds, why)
        return attrs.evolve(last, events=())

    async def _consume(self, used_seconds: int, *, final: bool) -> None:
        """Take what the call costs so far, less what was consumed, out of the hold; if `final`, give the rest back."""
        cost = self.call.rated(used_seconds).cost
        while cost > self.consumed:
            amount = cost - self.consumed
            try:
                await self._take(amount, final=final)
            except IdempotencyConflictError:
                # An earlier life of this session has consumed more than this one knows of.
                if not await self._catch_up():
                    raise
            else:
                self.consumed += amount
                self._captures += 1
        if final:
            await self._release()

    async def _take(self, amount: Money, *, final: bool) -> None:
        key = self.call.key(self._captures + 1)
        more = {"kind": self.call.kind, "description": self.call.description}
        if self._hold_id is not None:
            try:
                await self.ledger.do("capture", self._hold_id, amount, final=final, key=key, **more)
            except (HoldEndedError, UnknownHoldError):
                self._hold_id = None
            else:
                self._hold_id = None if final else self._hold_id
                return
        # The hold timed out, and its funds went back: they are used as any others are.
        await self.ledger.do("consume", amount, key=key, **more)

    async def _catch_up(self) -> bool:
        """Take note of what was consumed under the next keys; whether there was any."""
        before = self._captures
        while isinstance(event := await self.ledger.find(self.call.key(self._captures + 1)), FundsConsumed):
            self.consumed += event.amount
            self._captures += 1
        return self._captures > before

    async def _release(self) -> None:
        if self._hold_id is not None:
            with suppress(HoldEndedError, UnknownHoldError):
                await self.ledger.do("release", self._hold_id)
            self._hold_id = None

    async def _reserve(self, request_number: int, used_seconds: int) -> SessionAnswer:
        """Hold the funds for the next slice, or for as much of it as can be paid."""
        until = wanted = used_seconds + self.call.slice_seconds
        refusals = 0
        while True:
            state = await self.ledger.state()
            hold = self._adopted(state)
            try:
                spare, held, valid_until = await self._hold_until(until, hold, state)
            except (HoldEndedError, InsufficientFundsError):
                # The whole slice was asked for at first, because a refusal may bring a recharge. If others take what is
                # available each time, what is held must do. A hold that timed out just now is looked for no more.
                refusals += 1
                state = await self.ledger.state()
                held = self._held(self._adopted(state))
                until = self._payable(held, state.available if refusals < _REFUSALS_MAX else held * 0, wanted)
                if refusals > _REFUSALS_MAX or (not until and self._is_starting):
                    raise
            else:
                is_final = self._payable(held, spare, wanted + 1) <= until
                return self._made(request_number, used_seconds, until, valid_until, is_final=is_final)

    async def _hold_until(self, until: int, hold: Hold | None, state: LedgerState) -> _Reserved:
        """Have what the call costs until then on hold, less what was consumed."""
        if state.currency != self.consumed.currency:
            raise CurrencyMismatchError(state.currency, self.consumed.currency)
        need = self.call.rated(until).cost - self.consumed
        lasts = timedelta(seconds=self.call.slice_seconds + self.call.grace_seconds)
        longest = state.terms.hold_valid_for
        ends_at = state.as_of + (lasts if longest is None else min(lasts, longest))
        if hold is not None and longest is not None and hold.placed_at + longest < ends_at:
            # It cannot be extended so far: another one takes its place.
            await self._release()
            hold = None
        if hold is None:
            if not need.is_positive:
                return _Reserved(state.available, need * 0, None)
            return _Reserved(await self._place(need, ends_at), need, ends_at)
        ends_at = max(ends_at, hold.expires_at)
        add = need - hold.amount if need > hold.amount else None
        available = state.available
        if add is not None or ends_at > hold.expires_at:
            available = await self.ledger.do("extend_hold", hold.hold_id, add=add, expires_at=ends_at)
        return _Reserved(available, max(hold.amount, need), ends_at)

    async def _place(self, amount: Money, ends_at: datetime) -> Money:
        """Place the session's next hold; what is available then."""
        while True:
            hold_id = self.call.hold_id(self._holds + 1)
            try:
                available = await self.ledger.do("hold", hold_id, amount, expires_at=ends_at)
            except HoldExistsError:
                # An earlier life of this session placed it.
                self._refuse_unknown_past(hold_id)
                self._holds += 1
            else:
                self._holds += 1
                self._hold_id = hold_id
                return available

    def _adopted(self, state: LedgerState) -> Hold | None:
        """The session's hold, if one is open."""
        hold = self.call.open_hold(state)
        self._hold_id = None if hold is None else hold.hold_id
        if hold is not None:
            self._refuse_unknown_past(hold.hold_id)
        return hold

    def _refuse_unknown_past(self, hold_id: str) -> None:
        """Refuse to go on with a session that a bare ledger had before, when nobody told what was consumed for it."""
        if self._is_starting and not self.ledger.remembers:
            raise HoldExistsError(self.ledger.ledger_id, hold_id)

    def _held(self, hold: Hold | None) -> Money:
        return Money.zero(self.consumed.currency) if hold is None else hold.amount

    def _payable(self, held: Money, available: Money, at_most_seconds: int) -> int:
        """How long the call can last in all, on what was consumed for it, is held for it, and is available."""
        funds = self.consumed + held
        return self.call.longest(funds + available if available.is_positive else funds, at_most_seconds)

    def _made(
        self, request_number: int, used_seconds: int, until: int, valid_until: datetime | None, *, is_final: bool
    ) -> SessionAnswer:
        events, self.ledger.events = tuple(self.ledger.events), []
        return SessionAnswer(
            request_number=request_number,
            used_seconds=used_seconds,
            consumed=self.consumed,
            granted_seconds=until - used_seconds,
            valid_until=valid_until,
            final_unit=self.call.final_unit_action if is_final else None,
            redirect_to=self.call.redirect_to if is_final else "",
            events=events,
        )


class AsyncCallSession:
    """A call in progress on a ledger that an `AsyncLedgerService` keeps; as `CallSession`, to be awaited."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    @classmethod
    async def start(cls, service: AsyncLedgerService, call: MeteredCall, *, ledger_id: str) -> AsyncCallSession:
        """Hold the first slice; see `CallSession.start`."""
        if not isinstance(service, AsyncLedgerService):
            raise WrongTypeError("service", service, "an AsyncLedgerService; CallSession takes a blocking one")
        session = _Session(OnService(service, check_name("ledger_id", ledger_id)), _checked(call))
        await session.start()
        return cls(session)

    @property
    def answer(self) -> SessionAnswer:
        """The last answer."""
        return self._session.answer

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self._session.is_over

    async def update(self, used_seconds: int, *, request_number: int) -> SessionAnswer:
        """Consume what was used, and hold the next slice; see `CallSession.update`."""
        return await self._session.update(used_seconds, request_number)

    async def end(self, used_seconds: int, *, request_number: int) -> SessionAnswer:
        """Consume the last of it, and give the rest back; see `CallSession.end`."""
        return await self._session.end(used_seconds, request_number)


class CallSession:
    """A call in progress, on a bare `Ledger` or on one that a `LedgerService` keeps.

    Made by `start`. Its requests come one after the other. One that raises may be repeated, and so may all of them by a
    session that is started again after a crash: nothing is consumed twice.
    """

    def __init__(self, session: _Session) -> None:
        self._session = session

    @classmethod
    def start(
        cls,
        ledger: Ledger | LedgerService,
        call: MeteredCall,
        *,
        ledger_id: str | None = None,
        at: datetime | None = None,
        earlier: Iterable[Event] = (),
    ) -> CallSession:
        """Hold the first slice of a call, or as much of it as can be paid; `answer` has what is granted.

        A service is told the `ledger_id` once and knows the time; a bare ledger wants to be told the time at each
        request (`at`). Started again under the same id, a session goes on where it was; on a bare ledger only with
        `earlier`, the events that were recorded for it before.

        Raises: InsufficientFundsError when not even the first second can be paid; HoldExistsError for a session that a
            bare ledger has had, without `earlier`; CurrencyMismatchError, WrongTypeError, InvalidValueError; and what
            the service raises. There is no session; what was recorded of it, if anything, is a hold that times out.
        """
        session = _Session(_session_ledger(ledger, ledger_id, at, check_events(earlier)), _checked(call))
        stepped(session.start())
        return cls(session)

    @property
    def answer(self) -> SessionAnswer:
        """The last answer."""
        return self._session.answer

    @property
    def is_over(self) -> bool:
        """Whether the call has ended."""
        return self._session.is_over

    def update(self, used_seconds: int, *, request_number: int, at: datetime | None = None) -> SessionAnswer:
        """Consume what the call cost until now, and hold the next slice.

        `used_seconds` count from the start of the call. Requests are numbered from 1; the same number again gets the
        same answer, and one that a later request has overtaken gets the later's. After its hold timed out, what was
        used is consumed all the same, out of what is available, and a new hold is placed.

        Raises: InsufficientFundsError when the call went on for longer than was granted, and the ledger's terms allow
            no such overdraft; InvalidValueError for fewer seconds than before, or others under the same number;
            SessionEndedError, WrongTypeError; and what the service raises. What was recorded, if anything, will not be
            recorded again.
        """
        self._tell_time(at)
        return stepped(self._session.update(used_seconds, request_number))

    def end(self, used_seconds: int, *, request_number: int, at: datetime | None = None) -> SessionAnswer:
        """Consume what the whole call cost, less what was consumed, and give the rest of the hold back.

        Raises: as `update`.
        """
        self._tell_time(at)
        return stepped(self._session.end(used_seconds, request_number))

    def _tell_time(self, at: datetime | None) -> None:
        ledger = self._session.ledger
        if isinstance(ledger, OnLedger):
            ledger.at = _told(at)
        elif at is not None:
            raise InvalidValueError("at", at, "a service has a clock of its own")


def _checked(call: MeteredCall) -> MeteredCall:
    if not isinstance(call, MeteredCall):
        raise WrongTypeError("call", call, "a MeteredCall")
    return call


def _session_ledger(
    ledger: Ledger | LedgerService, ledger_id: str | None, at: datetime | None, earlier: Iterable[Event]
) -> OnLedger | OnService:
    if isinstance(ledger, Ledger):
        if ledger_id not in (None, ledger.ledger_id):
            raise InvalidValueError("ledger_id", ledger_id, f"the ledger is {ledger.ledger_id!r}")
        return OnLedger(ledger, _told(at), earlier)
    if not isinstance(ledger, LedgerService):
        raise WrongTypeError("ledger", ledger, "a Ledger or a LedgerService; AsyncCallSession takes those that wait")
    if at is not None:
        raise InvalidValueError("at", at, "a service has a clock of its own")
    return OnService(ledger._stepped, check_name("ledger_id", ledger_id))


def _told(at: datetime | None) -> datetime:
    if at is None:
        raise InvalidValueError("at", at, "a bare ledger has to be told the time")
    return utc(at, "at")
