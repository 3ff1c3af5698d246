"""Rules of sessions: a call in progress is paid as it goes, each second once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from build import T0, kinds, ledger, usd
from commcredits import (
    CurrencyMismatchError,
    Event,
    FundsConsumed,
    FundsHeld,
    HoldExistsError,
    HoldReleased,
    IdempotencyConflictError,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    Money,
    RechargePolicy,
    WrongTypeError,
)
from commcredits.telephony import (
    AsyncCallSession,
    CallSession,
    MeteredCall,
    Rate,
    RateCard,
    SessionAnswer,
    SessionEndedError,
)
from commcredits.telephony.session_ledger import OnLedger
from faults import InjectedFault, plans
from office import KINDS, Office

MINUTE = timedelta(minutes=1)
BERLIN = "+493023125042"
CARD = RateCard([Rate("49", usd("0.10"), initial_increment_seconds=1, increment_seconds=1)], currency="USD")
BY_MINUTE = RateCard([Rate("49", usd("0.10"))], currency="USD")

ALL_KINDS = ("bare", *KINDS)


def metered(session_id: str = "s", *, card: RateCard = BY_MINUTE, **more: Any) -> MeteredCall:
    return MeteredCall(session_id, BERLIN, **{"card": card, "started_at": T0, "slice_seconds": 120} | more)


class Line:
    """A ledger of one of the kinds, and one session on it, called in the same way whatever the kind."""

    def __init__(self, kind: str, *, funds: str = "10", **terms: Any) -> None:
        self.office = None if kind == "bare" else Office(kind, **terms)
        self.account = ledger(**terms) if self.office is None else None
        self.now = T0
        self.recorded: list[Event] = []
        if usd(funds).is_positive:
            self.do("add_funds", usd(funds), **({} if self.office is None else {"reference": ""}))
        self.session: Any = None

    def close(self) -> None:
        if self.office is not None:
            self.office.close()

    def do(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Give a command to the ledger itself, past the session."""
        if self.account is not None:
            return getattr(self.account, name)(*arguments, at=self.now, **named)
        assert self.office is not None
        return self.office.do(name, *arguments, **named)

    def turn_into(self, kind: type[OnLedger]) -> None:
        """Let the session see its bare ledger through another pair of eyes."""
        self.session._session.ledger.__class__ = kind  # noqa: SLF001

    def wait(self, length: timedelta) -> None:
        self.now += length
        if self.office is not None:
            self.office.clock.now = self.now

    def start(self, call: MeteredCall) -> SessionAnswer:
        if self.office is None:
            assert self.account is not None
            own = [event for event in self.recorded if getattr(event, "hold_id", "") or event.idempotency_key]
            self.session = CallSession.start(self.account, call, at=self.now, earlier=own)
            return self._noted(self.session.answer)
        kind: Any = AsyncCallSession if self.office.is_async else CallSession
        self.session = self.office.run(kind.start(self.office.service, call, ledger_id=Office.LEDGER))
        return self._noted(self.session.answer)

    def update(self, used_seconds: int, number: int) -> SessionAnswer:
        return self._ask(self.session.update, used_seconds, number)

    def end(self, used_seconds: int, number: int) -> SessionAnswer:
        return self._ask(self.session.end, used_seconds, number)

    def _ask(self, method: Any, used_seconds: int, number: int) -> SessionAnswer:
        if self.office is None:
            return self._noted(method(used_seconds, request_number=number, at=self.now))
        return self._noted(self.office.run(method(used_seconds, request_number=number)))

    def _noted(self, answer: SessionAnswer) -> SessionAnswer:
        self.recorded += answer.events
        return answer

    @property
    def state(self) -> Any:
        if self.account is not None:
            return self.account.state().at(max(self.now, self.account.as_of))
        assert self.office is not None
        return self.office.ledger.state().at(max(self.now, self.office.ledger.as_of))

    @property
    def consumed(self) -> Money:
        return self.state.totals.consumed

    @property
    def held(self) -> Money:
        return self.state.held


@pytest.fixture(params=ALL_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def line(kind: str) -> Iterator[Line]:
    """A ledger of 10 dollars, which allows no overdraft."""
    with closing(Line(kind)) as line:
        yield line


def poor(kind: str, funds: str, **terms: Any) -> Any:
    return closing(Line(kind, funds=funds, **terms))


# --- reserve, use, release


def test_a_call_is_reserved_used_and_released_slice_by_slice(line: Line) -> None:
    answer = line.start(metered())
    assert (answer.request_number, answer.used_seconds, answer.granted_seconds) == (0, 0, 120)
    assert (answer.consumed, answer.final_unit, answer.valid_until) == (usd(0), None, T0 + 3 * MINUTE)
    assert (line.held, line.consumed) == (usd("0.20"), usd(0))

    line.wait(2 * MINUTE)
    answer = line.update(120, 1)
    assert (answer.granted_seconds, answer.consumed, answer.valid_until) == (120, usd("0.20"), T0 + 5 * MINUTE)
    assert (line.held, line.consumed) == (usd("0.20"), usd("0.20"))

    line.wait(MINUTE)
    answer = line.end(150, 2)
    assert (answer.granted_seconds, answer.consumed, answer.final_unit, answer.valid_until) == (
        *(0, usd("0.30")),
        *(None, None),
    )
    assert (line.held, line.consumed, line.state.available) == (usd(0), usd("0.30"), usd("9.70"))
    assert line.session.is_over
    assert line.session.answer == answer


def test_what_is_recorded_is_told_once(line: Line) -> None:
    events = [line.start(metered(kind="pstn", description="to Berlin")).events]
    events += [line.update(30, 1).events, line.update(90, 2).events, line.update(90, 2).events, line.end(90, 3).events]
    assert [kinds(each) for each in events] == [
        ["FundsHeld"],
        ["FundsConsumed", "HoldExtended"],
        ["FundsConsumed", "HoldExtended"],
        [],
        ["HoldReleased"],
    ]
    usage = events[1][0]
    assert isinstance(usage, FundsConsumed)
    assert (usage.hold_id, usage.idempotency_key, usage.kind, usage.description) == (
        *("s/hold-1", "s/use-1"),
        *("pstn", "to Berlin"),
    )


def test_within_a_minute_that_is_paid_nothing_more_is_consumed(line: Line) -> None:
    line.start(metered())
    line.update(1, 1)
    assert line.update(60, 2).consumed == usd("0.10")
    assert [type(event) for event in line.recorded].count(FundsConsumed) == 1
    assert line.update(61, 3).consumed == usd("0.20")


def test_a_call_that_is_never_connected_costs_nothing(line: Line) -> None:
    line.start(metered())
    assert line.end(0, 1).consumed == usd(0)
    assert (line.held, line.consumed) == (usd(0), usd(0))


def test_a_call_that_costs_nothing_holds_nothing(line: Line) -> None:
    free = RateCard([Rate("49", usd(0))], currency="USD")
    answer = line.start(metered(card=free))
    assert (answer.granted_seconds, answer.valid_until, answer.final_unit) == (120, None, None)
    line.update(120, 1)
    line.end(200, 2)
    assert line.recorded == []


def test_an_empty_ledger_still_carries_a_call_that_costs_nothing(kind: str) -> None:
    free = RateCard([Rate("49", usd(0))], currency="USD")
    with poor(kind, "0") as line:
        assert line.start(metered(card=free)).granted_seconds == 120


def test_what_an_allowance_covers_is_not_paid(line: Line) -> None:
    line.start(metered(covered_seconds=180))
    assert (line.held, line.update(120, 1).granted_seconds, line.held) == (usd(0), 120, usd("0.10"))
    assert line.end(241, 2).consumed == usd("0.20")


def test_the_card_may_rate_a_call_in(line: Line) -> None:
    card = RateCard([Rate("49", usd("0.50"), direction="inbound")], currency="USD")
    line.start(metered(card=card, direction="inbound"))
    assert line.end(60, 1).consumed == usd("0.50")


def test_several_calls_share_a_ledger(line: Line) -> None:
    line.start(metered("a"))
    first = line.session
    line.start(metered("a/hold-1"))
    second = line.session
    assert line.held == usd("0.40")
    line.end(60, 1)
    line.session = first
    line.end(120, 1)
    assert second is not first
    assert (line.held, line.consumed) == (usd(0), usd("0.30"))


# --- when the funds run out


def test_the_last_that_can_be_paid_is_the_final_unit(kind: str) -> None:
    with poor(kind, "0.50") as line:
        assert line.start(metered()).final_unit is None
        answer = line.update(120, 1)
        assert (answer.granted_seconds, answer.final_unit) == (120, None)
        answer = line.update(240, 2)
        assert (answer.granted_seconds, answer.final_unit) == (60, "terminate")
        answer = line.update(300, 3)
        assert (answer.granted_seconds, answer.final_unit) == (0, "terminate")
        assert line.end(300, 4).consumed == usd("0.50")


def test_a_whole_slice_may_be_the_final_unit(kind: str) -> None:
    with poor(kind, "0.20") as line:
        answer = line.start(metered())
        assert (answer.granted_seconds, answer.final_unit) == (120, "terminate")
    with poor(kind, "0.21") as line:
        assert line.start(metered(card=CARD)).final_unit is None
    with poor(kind, "0.20") as line:
        assert line.start(metered(slice_seconds=100)).final_unit is None  # the second minute is paid to its end


def test_the_action_is_the_callers_choice(kind: str) -> None:
    with poor(kind, "0.10") as line:
        answer = line.start(metered(final_unit_action="redirect", redirect_to="sip:funds@contoso.com"))
        assert (answer.final_unit, answer.redirect_to) == ("redirect", "sip:funds@contoso.com")
        line.do("add_funds", usd(1), **({} if line.office is None else {"reference": ""}))
        answer = line.update(60, 1)
        assert (answer.granted_seconds, answer.final_unit, answer.redirect_to) == (120, None, "")
    with poor(kind, "0.10") as line:
        assert line.start(metered(final_unit_action="restrict")).final_unit == "restrict"


def test_a_call_of_which_not_even_the_first_second_can_be_paid_does_not_start(kind: str) -> None:
    with poor(kind, "0.09") as line:
        with pytest.raises(InsufficientFundsError):
            line.start(metered())
        assert line.held == usd(0)
        line.do("add_funds", usd("0.01"), **({} if line.office is None else {"reference": ""}))
        assert line.start(metered()).granted_seconds == 60


def test_what_others_use_meanwhile_is_not_there(line: Line) -> None:
    line.start(metered())
    line.do("consume", usd("9.75"))
    answer = line.update(60, 1)
    assert (answer.granted_seconds, answer.final_unit) == (60, "terminate")
    assert line.end(120, 2).consumed == usd("0.20")
    assert line.state.available == usd("0.05")


def test_a_refusal_may_bring_a_recharge() -> None:
    for kind in KINDS:
        with poor(kind, "0.30") as line:
            policy = RechargePolicy(usd(0), usd(50), recharge_when_refused=True)
            line.do("configure_auto_recharge", policy)
            line.start(metered())
            answer = line.update(120, 1)
            assert (answer.granted_seconds, answer.final_unit) == (120, None)
            assert line.state.balance == usd("50.10")


def test_a_call_that_goes_on_beyond_what_was_granted_is_refused_where_there_is_no_overdraft(kind: str) -> None:
    with poor(kind, "0.20") as line:
        line.start(metered())
        with pytest.raises(InsufficientFundsError):
            line.update(121, 1)
        with pytest.raises(InsufficientFundsError):
            line.end(121, 1)
        assert (line.consumed, line.held) == (usd(0), usd("0.20"))
        line.do("add_funds", usd("0.10"), **({} if line.office is None else {"reference": ""}))
        assert line.end(121, 1).consumed == usd("0.30")


def test_where_there_is_it_is_recorded(kind: str) -> None:
    with poor(kind, "0.20", overdraft_limit=None) as line:
        line.start(metered())
        answer = line.update(200, 1)
        assert (answer.granted_seconds, answer.final_unit) == (40, "terminate")
        assert line.end(300, 2).consumed == usd("0.50")
        assert line.state.overdraft == usd("0.30")


class Rival(OnLedger):
    """A ledger on which somebody else takes all that is available just before anything is held."""

    async def do(self, command: str, *arguments: Any, key: str | None = None, **named: Any) -> Money:
        if command in ("hold", "extend_hold"):
            self._ledger.add_funds(usd("0.01"), at=self.at)
            self._ledger.consume(self._ledger.available, at=self.at)
        return await super().do(command, *arguments, key=key, **named)

    async def state(self) -> Any:
        self._ledger.add_funds(usd("1.00"), at=self.at)
        return await super().state()


def test_where_others_are_always_quicker_what_is_held_must_do() -> None:
    line = Line("bare")
    line.start(metered())
    line.turn_into(Rival)
    answer = line.update(61, 1)
    assert (answer.granted_seconds, answer.consumed, line.held) == (59, usd("0.20"), usd(0))
    assert line.end(120, 2).consumed == usd("0.20")


class Refusing(OnLedger):
    """A ledger that extends no hold, whatever it said before."""

    async def do(self, command: str, *arguments: Any, key: str | None = None, **named: Any) -> Money:
        if command == "extend_hold":
            self.asked = getattr(self, "asked", 0) + 1
            command, arguments, named = "consume", (usd(1_000),), {}
        return await super().do(command, *arguments, key=key, **named)


def test_a_refusal_without_end_is_not_waited_out() -> None:
    line = Line("bare")
    line.start(metered())
    line.wait(MINUTE)  # so that the hold is to last longer, if not to be more
    line.turn_into(Refusing)
    with pytest.raises(InsufficientFundsError):
        line.update(60, 1)
    assert line.session._session.ledger.asked == 6  # noqa: SLF001
    line.turn_into(OnLedger)
    assert line.update(60, 1).consumed == line.consumed == usd("0.10")


class Slow(OnLedger):
    """A ledger on which three minutes pass between a look and whatever follows from it, once."""

    async def state(self) -> Any:
        seen = await super().state()
        self.at += 3 * MINUTE
        self.__class__ = OnLedger
        return seen


# --- time-outs


def test_a_hold_may_time_out_while_its_extension_is_decided() -> None:
    line = Line("bare")
    line.start(metered())
    line.wait(MINUTE)
    line.turn_into(Slow)
    answer = line.update(60, 1)
    assert (answer.granted_seconds, answer.valid_until, line.held) == (120, T0 + 7 * MINUTE, usd("0.20"))
    assert [event.hold_id for event in answer.events if isinstance(event, FundsHeld)] == ["s/hold-2"]


def test_a_hold_that_nobody_reports_on_times_out(line: Line) -> None:
    answer = line.start(metered())
    assert answer.valid_until is not None
    line.wait(3 * MINUTE)
    assert (line.held, line.state.available) == (usd(0), usd(10))


def test_after_a_time_out_what_was_used_is_consumed_and_the_next_slice_held(line: Line) -> None:
    line.start(metered())
    line.wait(4 * MINUTE)
    answer = line.update(180, 1)
    assert (answer.consumed, answer.granted_seconds, line.held) == (usd("0.30"), 120, usd("0.20"))
    held = [event.hold_id for event in line.recorded if isinstance(event, FundsHeld)]
    assert held == ["s/hold-1", "s/hold-2"]
    line.wait(10 * MINUTE)
    assert line.end(600, 2).consumed == usd("1.00")
    assert (line.held, line.consumed) == (usd(0), usd("1.00"))


def test_a_hold_that_timed_out_needs_no_release(line: Line) -> None:
    line.start(metered())
    line.wait(4 * MINUTE)
    assert line.end(0, 1).consumed == usd(0)


def test_after_a_time_out_the_funds_may_be_gone(line: Line) -> None:
    line.start(metered())
    line.wait(4 * MINUTE)
    line.do("consume", usd("9.75"))
    with pytest.raises(InsufficientFundsError):
        line.update(180, 1)
    assert line.update(120, 1).granted_seconds == 0
    assert line.consumed == usd("9.95")


@pytest.mark.parametrize("longest", [timedelta(minutes=2), timedelta(minutes=10), None])
def test_a_call_may_last_longer_than_any_hold(kind: str, longest: timedelta | None) -> None:
    with poor(kind, "10", hold_valid_for=longest) as line:
        line.start(metered())
        for minute in range(1, 40):
            line.wait(MINUTE)
            answer = line.update(minute * 60, minute)
            assert (answer.granted_seconds, answer.consumed) == (120, usd("0.10") * minute)
            assert len(line.state.holds) == 1
        assert line.end(2_400, 40).consumed == usd("4.00")
        assert (line.held, line.consumed) == (usd(0), usd("4.00"))
        released = [event.reason for event in line.recorded if isinstance(event, HoldReleased)]
        assert (len(released) == 1) == (longest is None)
        assert "timed_out" not in released


# --- requests that come twice, late or never


def test_a_request_that_comes_again_gets_the_same_answer(line: Line) -> None:
    line.start(metered())
    first = line.update(60, 1)
    line.do("consume", usd(9))
    again = line.update(60, 1)
    assert (again.granted_seconds, again.valid_until, again.consumed) == (
        *(first.granted_seconds, first.valid_until),
        first.consumed,
    )
    assert again.events == ()
    last = line.end(61, 2)
    assert line.end(61, 2) == line.update(61, 2)
    assert line.end(61, 2).consumed == last.consumed == usd("0.20")
    assert line.consumed == usd("9.20")


def test_a_request_that_was_overtaken_changes_nothing(line: Line) -> None:
    line.start(metered())
    line.update(180, 3)
    late = line.update(60, 1)
    assert (late.request_number, late.used_seconds, late.consumed, late.events) == (3, 180, usd("0.30"), ())
    line.end(200, 4)
    assert line.update(120, 2).granted_seconds == 0
    assert line.consumed == usd("0.40")


def test_requests_may_get_lost(line: Line) -> None:
    line.start(metered())
    assert line.end(600, 9).consumed == usd("1.00")


def test_a_request_number_stands_for_one_request(line: Line) -> None:
    line.start(metered())
    line.update(60, 1)
    with pytest.raises(InvalidValueError, match="request 1 reported 60"):
        line.update(61, 1)
    with pytest.raises(InvalidValueError, match="fewer than the 60"):
        line.update(59, 2)
    assert line.update(60, 2).consumed == usd("0.10")


def test_after_the_end_there_is_nothing_to_ask(line: Line) -> None:
    line.start(metered())
    line.end(60, 1)
    for ask in (line.update, line.end):
        with pytest.raises(SessionEndedError) as caught:
            ask(61, 2)
        assert (caught.value.session_id, caught.value.request_number) == ("s", 2)
    assert line.consumed == usd("0.10")


# --- crashes


def test_a_session_that_is_started_again_goes_on_where_it_was(line: Line) -> None:
    call = metered()
    line.start(call)
    line.update(60, 1)
    line.update(120, 2)
    answer = line.start(call)
    assert answer.consumed == usd("0.20")
    assert len(line.state.holds) == 1
    assert line.update(180, 3).consumed == usd("0.30")
    assert line.end(200, 4).consumed == usd("0.40")
    assert (line.held, line.consumed) == (usd(0), usd("0.40"))


def test_so_does_one_whose_hold_timed_out_or_whose_call_ended(line: Line) -> None:
    call = metered()
    line.start(call)
    line.update(60, 1)
    line.wait(5 * MINUTE)
    line.start(call)
    assert line.update(90, 2).consumed == usd("0.20")
    line.end(120, 3)
    line.start(call)
    assert line.end(120, 3).consumed == usd("0.20")
    assert (line.held, line.consumed) == (usd(0), usd("0.20"))


@pytest.mark.parametrize("asked", ["update", "end"])
def test_a_session_that_missed_what_was_consumed_finds_it(line: Line, asked: str) -> None:
    call = metered()
    line.start(call)
    stale = line.session
    line.start(call)
    for minute in range(1, 4):
        line.update(minute * 60, minute)
    line.session = stale
    if line.office is None:
        # A bare ledger knows no keys: who has several sessions of one call on it must start them with what is earlier.
        line.start(call)
    answer = getattr(line, asked)(200, 4)
    assert (answer.consumed, line.consumed) == (usd("0.40"), usd("0.40"))
    assert line.end(200, 5 if asked == "update" else 4).consumed == usd("0.40")
    assert line.held == usd(0)


def test_keys_that_others_took_are_not_taken_for_the_sessions_own() -> None:
    for kind in KINDS:
        with closing(Line(kind)) as line:
            line.do("grant", usd(1), idempotency_key="s/use-1")
            line.start(metered())
            with pytest.raises(IdempotencyConflictError, match="s/use-1"):
                line.update(60, 1)
            assert line.consumed == usd(0)


def test_a_bare_ledger_that_had_the_session_must_be_told_what_was_recorded() -> None:
    line = Line("bare")
    account: Any = line.account
    line.start(metered())
    with pytest.raises(HoldExistsError, match="s/hold-1"):
        CallSession.start(account, metered(), at=T0)
    line.end(60, 1)
    with pytest.raises(HoldExistsError, match="s/hold-1"):
        CallSession.start(account, metered(), at=T0)
    assert line.consumed == usd("0.10")


@settings(max_examples=60)
@given(
    plans("append", "append", "load", "find", "about"),
    st.lists(st.integers(0, 400), min_size=1, max_size=5).map(sorted),
    st.lists(st.booleans(), min_size=40, max_size=40),
    st.sampled_from(KINDS),
)
def test_whatever_fails_and_is_repeated_or_started_again_each_second_is_paid_once(
    faults: dict[str, list[Any]], reports: list[int], restarts: list[bool], kind: str
) -> None:
    """Every request is repeated until it is answered, by the same session or by one that is started again."""
    call, choices = metered(card=CARD), iter(restarts)
    with closing(Line(kind)) as line:
        office: Any = line.office
        office.plan.set(**faults)
        requests = [None, *enumerate(reports, start=1)]
        for request in requests:
            answered = False
            while not answered:
                line.wait(timedelta(seconds=1))
                with suppress(InjectedFault):
                    if line.session is None or request is None or next(choices, False):
                        line.start(call)
                    if request is not None:
                        number, used = request
                        (line.end if number == len(reports) else line.update)(used, number)
                    answered = True
        costs = [event.amount for event in office.events if isinstance(event, FundsConsumed)]
        assert Money.total(costs, "USD") == CARD.rate(BERLIN, reports[-1], at=T0).cost
        assert line.held == usd(0) or line.state.holds[0].expires_at <= line.now + 3 * MINUTE
        line.state.check()


# --- the laws


def cards() -> st.SearchStrategy[RateCard]:
    cents = st.integers(0, 50).map(lambda number: usd(f"{number / 1000:.3f}"))
    rates = st.builds(
        Rate,
        st.just("49"),
        cents,
        connection_fee=cents,
        initial_increment_seconds=st.sampled_from([1, 6, 30, 60]),
        increment_seconds=st.sampled_from([1, 6, 60]),
        free_seconds=st.sampled_from([0, 0, 10, 90]),
        minimum_cost=cents,
    )
    return rates.map(lambda rate: RateCard([rate], currency="USD"))


@given(
    cards(),
    st.lists(st.integers(0, 1_000), min_size=1, max_size=8).map(sorted),
    st.sampled_from(ALL_KINDS),
    st.integers(1, 400),
    st.sampled_from([0, 0, 45, 200]),
    st.lists(st.sampled_from([0, 1, 10]), min_size=8, max_size=8),
)
def test_a_call_costs_the_same_however_it_is_sliced(
    card: RateCard, reports: list[int], kind: str, slice_seconds: int, covered: int, waits: list[int]
) -> None:
    whole = card.rate(BERLIN, max(0, reports[-1] - covered), at=T0 + timedelta(seconds=covered)).cost
    with closing(Line(kind)) as line:
        line.start(metered(card=card, slice_seconds=slice_seconds, covered_seconds=covered))
        for number, (used, wait) in enumerate(zip(reports, waits, strict=False), start=1):
            line.wait(wait * MINUTE)
            line.update(used, number)
        assert line.end(reports[-1], len(reports) + 1).consumed == whole
        assert (line.consumed, line.held) == (whole, usd(0))
        line.state.check()


@given(cards(), st.integers(0, 300), st.integers(1, 200), st.lists(st.floats(0, 1), max_size=8))
def test_what_is_granted_can_be_paid_whatever_others_do(
    card: RateCard, funds: int, slice_seconds: int, shares: list[float]
) -> None:
    line = Line("bare", funds=f"{funds / 100:.2f}")
    try:
        answer = line.start(metered(card=card, slice_seconds=slice_seconds))
    except InsufficientFundsError:
        assert card.rate(BERLIN, 1, at=T0).cost > usd(f"{funds / 100:.2f}")
        return
    for number, share in enumerate(shares, start=1):
        available = line.state.available
        line.do("consume", available if number % 3 == 0 else usd(0))
        answer = line.update(answer.used_seconds + int(answer.granted_seconds * share), number)
    answer = line.end(answer.used_seconds + answer.granted_seconds, len(shares) + 1)
    assert answer.consumed == card.rate(BERLIN, answer.used_seconds, at=T0).cost
    assert not line.state.overdraft.is_positive
    line.state.check()


@given(cards(), st.integers(0, 60), st.integers(1, 300))
def test_a_final_unit_is_one_and_a_second_more_cannot_be_paid(card: RateCard, funds: int, slice_seconds: int) -> None:
    money = usd(f"{funds / 100:.2f}")
    line = Line("bare", funds=f"{funds / 100:.2f}")
    with suppress(InsufficientFundsError):
        answer = line.start(metered(card=card, slice_seconds=slice_seconds))
        last_second = answer.granted_seconds + 1
        cost = card.rate(BERLIN, last_second, at=T0).cost
        assert (answer.final_unit is not None) == (cost > money)
        assert answer.granted_seconds == slice_seconds or cost > money


class SessionMachine(RuleBasedStateMachine):
    """One call on a ledger that others use too, with reports in any order, time-outs and crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.line: Any = None

    @initialize(kind=st.sampled_from(KINDS), card=cards(), overdraft=st.sampled_from([usd(0), None]))
    def open(self, kind: str, card: RateCard, overdraft: Money | None) -> None:
        self.card = card
        self.call = metered(card=card, slice_seconds=60)
        self.line = Line(kind, funds="0.60", overdraft_limit=overdraft)
        self.others = usd(0)
        self.reported = self.number = 0
        self.ended = False
        self.answer: SessionAnswer | None = None

    def teardown(self) -> None:
        if self.line is not None:
            self.line.close()

    @rule()
    def start(self) -> None:
        """The first time, or again after a crash, which loses the session but not the reports."""
        with suppress(InsufficientFundsError):
            self.answer = self.line.start(self.call)
            self.ended = False

    @precondition(lambda self: self.answer is not None)
    @rule(
        seconds=st.sampled_from([0, 1, 30, 59, 60, 61, 300]), skipped=st.integers(1, 3), last=st.sampled_from([0, 0, 1])
    )
    def report(self, seconds: int, skipped: int, last: int) -> None:
        number, used = self.number + skipped, self.reported + seconds
        if self.ended:
            with pytest.raises(SessionEndedError):
                self.line.update(used, number)
            return
        before = self.line.consumed
        try:
            self.answer = (self.line.end if last else self.line.update)(used, number)
        except InsufficientFundsError:
            assert self.line.consumed == before
        else:
            self.number, self.reported, self.ended = number, used, bool(last)

    @precondition(lambda self: self.answer is not None and self.answer.request_number > 0)
    @rule(back=st.integers(0, 3))
    def repeat(self, back: int) -> None:
        number = max(1, self.number - back)
        before = len(self.line.office.events)
        used = self.reported if number == self.number else 0
        again = self.line.update(used, number)
        assert again.request_number == self.number
        assert len(self.line.office.events) == before

    @rule(minutes=st.sampled_from([0, 1, 1, 5]))
    def wait(self, minutes: int) -> None:
        self.line.wait(minutes * MINUTE)

    @rule(share=st.sampled_from([3, 1]))
    def others_use(self, share: int) -> None:
        available = self.line.state.available
        if available.is_positive:
            part = available.allocate([1, share - 1])[0]
            self.line.do("consume", part)
            self.others += part

    @rule()
    def add_funds(self) -> None:
        self.line.do("add_funds", usd("0.25"), reference="")

    @invariant()
    def each_second_is_paid_once(self) -> None:
        if self.line is not None:
            cost = self.card.rate(BERLIN, self.reported, at=T0).cost
            assert self.line.consumed - self.others == cost
            assert len(self.line.state.holds) <= 1
            self.line.state.check()


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=50, stateful_step_count=25)


# --- bad input


def test_bad_input_is_refused_by_name(line: Line) -> None:
    line.start(metered())
    for used, number, error in (
        (-1, 1, InvalidValueError),
        (1.5, 1, WrongTypeError),
        (1, 0, InvalidValueError),
        (1, True, WrongTypeError),
        (1, "1", WrongTypeError),
    ):
        for ask in (line.update, line.end):
            with pytest.raises(error):
                ask(used, number)  # type: ignore[arg-type]
    assert line.consumed == usd(0)


def test_a_card_in_another_currency_is_refused(line: Line) -> None:
    euros = RateCard([Rate("49", Money(0, "EUR"))], currency="EUR")
    with pytest.raises(CurrencyMismatchError):
        line.start(metered(card=euros))


def start(*arguments: Any, **named: Any) -> CallSession:
    return CallSession.start(*arguments, **named)


def test_a_session_is_told_what_it_needs_of_its_ledger_and_no_more() -> None:
    account: Ledger = ledger()
    with closing(Office("blocking")) as office:
        for bad, error in (
            ({"ledger_id": "acme", "at": T0}, InvalidValueError),
            ({}, WrongTypeError),
            ({"ledger_id": ""}, InvalidValueError),
        ):
            with pytest.raises(error):
                start(office.service, metered(), **bad)
        office.do("add_funds", usd(1), reference="")
        session = start(office.service, metered(), ledger_id="acme")
        with pytest.raises(InvalidValueError, match="clock of its own"):
            session.update(1, request_number=1, at=T0)
    for bad, error in (
        ({}, InvalidValueError),
        ({"at": datetime(2026, 1, 1)}, InvalidValueError),  # noqa: DTZ001
        ({"at": T0, "ledger_id": "other"}, InvalidValueError),
        ({"at": T0, "earlier": 7}, WrongTypeError),
        ({"at": T0, "earlier": ["event"]}, WrongTypeError),
    ):
        with pytest.raises(error):
            start(account, metered(), **bad)
    for what in ("ledger", account.state()):
        with pytest.raises(WrongTypeError, match="ledger"):
            start(what, metered(), at=T0)
    with pytest.raises(WrongTypeError, match="call"):
        start(account, "call", at=T0)
    account.add_funds(usd(1), at=T0)
    with pytest.raises(InvalidValueError, match="told the time"):
        start(account, metered(), at=T0, ledger_id="ledger").update(1, request_number=1)


def test_each_kind_of_session_wants_its_kind_of_service() -> None:
    with closing(Office("asynchronous")) as office, pytest.raises(WrongTypeError, match="AsyncCallSession"):
        start(office.service, metered(), ledger_id="acme")
    with closing(Office("blocking")) as blocking, closing(Office("asynchronous")) as office:
        with pytest.raises(WrongTypeError, match="CallSession"):
            office.run(AsyncCallSession.start(blocking.service, metered(), ledger_id="acme"))
        with pytest.raises(WrongTypeError, match="call"):
            office.run(AsyncCallSession.start(office.service, "call", ledger_id="acme"))  # type: ignore[arg-type]
        with pytest.raises(InvalidValueError, match="ledger_id"):
            office.run(AsyncCallSession.start(office.service, metered(), ledger_id=""))
