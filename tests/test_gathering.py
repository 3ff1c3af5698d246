from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from build import T0, day, hour, kinds, only, usd
from commcredits import (
    ChargeDeclined,
    ChargeRequested,
    Declined,
    DuplicateKeyError,
    ExceedsLotError,
    HoldEndedError,
    HoldExistsError,
    IdempotencyConflictError,
    InsufficientFundsError,
    InvalidValueError,
    LedgerNotFoundError,
    Paid,
    Receipt,
    RechargePolicy,
    UnknownOutcomeError,
    Usage,
    WrongTypeError,
    gathering,
)
from commcredits.gathering import AsyncGate, Member, ThreadGate
from commcredits.stepping import stepped
from commcredits.testing.faults import InjectedFault
from faults import AFTER, BEFORE, OK
from office import LONG, Hire, Office, Waiting, call

MINUTE = timedelta(minutes=1)


class GivenUp(BaseException):
    """As an interrupt is, but for one whom only the test interrupts."""


def give_up() -> None:
    raise GivenUp


class Named(Member):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


# A gate for threads


class Stage:
    """A gate for threads, and a commit that stops in its first batch until told to go on."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self.begun, self.go = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []
        self.ends: dict[str, Exception | str | None] = {}
        self.gate: ThreadGate
        self.after_first: Callable[[], None] = lambda: None

    async def commit(self, ledger_id: str, members: list[Any]) -> None:
        self.batches.append([member.name for member in members])
        if len(self.batches) == 1:
            self.begun.set()
            assert self.go.wait(LONG)
            self.after_first()
        for member in members:
            member.settle()

    def enter(self, name: str, ledger_id: str = "acme") -> threading.Thread:
        """Start a caller of that name."""

        def run() -> None:
            member = Named(name)
            try:
                stepped(self.gate.pass_through(ledger_id, member, self.commit))
                self.ends[name] = member.error
            except GivenUp:
                self.ends[name] = "given up"

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def lead(self) -> threading.Thread:
        """Start the first caller, who is now in the middle of its commit."""
        thread = self.enter("leader")
        assert self.begun.wait(LONG)
        return thread

    def wait(self, *names: str) -> list[threading.Thread]:
        """Start callers who wait by now, in that order."""
        threads = []
        for name in names:
            threads.append(self.enter(name))
            self.waiting.until_another()
        return threads

    def end(self, *threads: threading.Thread) -> None:
        self.go.set()
        for thread in threads:
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    opened = Stage()
    monkeypatch.setattr(gathering, "threading", SimpleNamespace(Lock=threading.Lock, Event=opened.waiting.event))
    opened.gate = ThreadGate()
    yield opened
    opened.go.set()


def test_a_thread_alone_commits_alone_and_at_once(stage: Stage) -> None:
    stage.go.set()
    for name in ("one", "two"):
        stage.enter(name).join(LONG)
    assert stage.batches == [["one"], ["two"]]
    assert stage.ends == {"one": None, "two": None}


def test_threads_that_come_during_a_commit_are_the_next_batch_in_their_order(stage: Stage) -> None:
    leader = stage.lead()
    stage.end(leader, *stage.wait("a", "b", "c"))
    assert stage.batches == [["leader"], ["a", "b", "c"]]
    assert stage.ends == dict.fromkeys(["leader", "a", "b", "c"])


def test_a_batch_of_threads_has_its_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_BATCH_MAX", 2)
    leader = stage.lead()
    stage.end(leader, *stage.wait("a", "b", "c", "d", "e"))
    assert stage.batches == [["leader"], ["a", "b"], ["c", "d"], ["e"]]


def test_threads_with_other_ledgers_do_not_wait(stage: Stage) -> None:
    leader = stage.lead()
    other = stage.enter("other", "zenith")
    other.join(LONG)
    assert stage.ends == {"other": None}
    stage.end(leader)


def test_a_leading_thread_that_is_interrupted_leaves_its_batch_not_knowing_and_hands_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "_BATCH_MAX", 2)
    commit = stage.commit

    async def interrupted(ledger_id: str, members: list[Any]) -> None:
        if members[0].name == "a":
            members[0].settle()
            raise GivenUp
        await commit(ledger_id, members)

    monkeypatch.setattr(stage, "commit", interrupted)
    leader = stage.lead()
    stage.end(leader, *stage.wait("a", "b", "c"))
    assert stage.ends.pop("a") == "given up"
    assert isinstance(unknown := stage.ends.pop("b"), UnknownOutcomeError)
    assert unknown.ledger_id == "acme"
    assert stage.ends == {"leader": None, "c": None}


def test_a_waiting_thread_that_is_interrupted_leaves_and_nobody_hangs(stage: Stage) -> None:
    leader = stage.lead()
    stage.waiting.first = [lambda: None, give_up]
    threads = stage.wait("a", "interrupted", "b")
    threads[1].join(LONG)
    assert stage.ends == {"interrupted": "given up"}
    stage.end(leader, *threads)
    assert stage.batches == [["leader"], ["a", "b"]]


@pytest.mark.parametrize("others", [(), ("b", "c")])
def test_a_thread_interrupted_when_it_was_just_to_lead_hands_over(stage: Stage, others: tuple[str, ...]) -> None:
    leader = stage.lead()

    def after_the_leader() -> None:
        leader.join(LONG)
        raise GivenUp

    stage.waiting.first = [after_the_leader]
    threads = stage.wait("interrupted", *others)
    stage.end(leader, *threads)
    assert stage.ends == {"leader": None, "interrupted": "given up", **dict.fromkeys(others)}
    assert stage.batches == [["leader"], list(others)][: 1 + bool(others)]
    stage.enter("later").join(LONG)
    assert stage.batches[-1] == ["later"]


def test_a_thread_interrupted_while_it_is_stored_by_another_does_no_harm(stage: Stage) -> None:
    leader = stage.lead()
    in_batch = threading.Event()
    commit = stage.commit

    async def told(ledger_id: str, members: list[Any]) -> None:
        in_batch.set()
        await commit(ledger_id, members)

    def while_stored() -> None:
        assert in_batch.wait(LONG)
        raise GivenUp

    stage.commit = told  # type: ignore[method-assign]
    stage.waiting.first = [lambda: None, while_stored]
    stage.end(leader, *stage.wait("a", "interrupted", "b"))
    assert stage.batches == [["leader"], ["a", "interrupted", "b"]]
    assert stage.ends == {"leader": None, "a": None, "interrupted": "given up", "b": None}


# A gate for coroutines


class Loop:
    """What the tests of the gate for coroutines share: its batches, and a commit that waits where it is told to."""

    def __init__(self) -> None:
        self.gate = AsyncGate()
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.begun = asyncio.Event()
        self.raises: BaseException | None = None

    async def commit(self, ledger_id: str, members: list[Any]) -> None:
        self.batches.append([member.name for member in members])
        self.begun.set()
        await self.go.wait()
        if self.raises is not None:
            raise self.raises
        for member in members:
            member.settle()

    async def enter(self, name: str, ledger_id: str = "acme") -> Exception | None:
        member = Named(name)
        await self.gate.pass_through(ledger_id, member, self.commit)
        assert member.is_settled
        return member.error

    async def stopped(self) -> None:
        """Stop in the next commit, and wait until it is reached."""
        await self.begun.wait()


async def settled() -> None:
    """Let all that can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_coroutines_that_come_at_once_are_one_batch_in_their_order() -> None:
    async def run() -> None:
        loop = Loop()
        assert await asyncio.gather(*(loop.enter(name) for name in "abc")) == [None] * 3
        await loop.enter("d")
        assert loop.batches == [["a", "b", "c"], ["d"]]
        await settled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_coroutines_that_come_during_a_commit_are_the_next_batch() -> None:
    async def run() -> None:
        loop = Loop()
        loop.go.clear()
        first = asyncio.create_task(loop.enter("first"))
        await loop.begun.wait()
        others = [asyncio.create_task(loop.enter(name)) for name in "ab"]
        await settled()
        assert loop.batches == [["first"]]
        loop.go.set()
        await asyncio.gather(first, *others)
        assert loop.batches == [["first"], ["a", "b"]]

    asyncio.run(run())


def test_a_batch_of_coroutines_has_its_limit() -> None:
    async def run() -> None:
        loop = Loop()
        await asyncio.gather(*(loop.enter(str(number)) for number in range(450)))
        assert [len(batch) for batch in loop.batches] == [200, 200, 50]
        assert [name for batch in loop.batches for name in batch] == [str(number) for number in range(450)]

    asyncio.run(run())


def test_coroutines_with_other_ledgers_do_not_wait() -> None:
    async def run() -> None:
        loop = Loop()
        loop.go.clear()
        first = asyncio.create_task(loop.enter("first"))
        await loop.begun.wait()
        other = asyncio.create_task(loop.enter("other", "zenith"))
        await settled()
        assert loop.batches == [["first"], ["other"]]
        loop.go.set()
        await asyncio.gather(first, other)

    asyncio.run(run())


def test_a_coroutine_cancelled_before_its_batch_began_is_left_out() -> None:
    async def run() -> None:
        loop = Loop()
        loop.go.clear()
        first = asyncio.create_task(loop.enter("first"))
        await loop.begun.wait()
        others = [asyncio.create_task(loop.enter(name)) for name in "abc"]
        await settled()
        others[1].cancel()
        loop.go.set()
        results = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), type(None), asyncio.CancelledError, type(None)]
        assert loop.batches == [["first"], ["a", "c"]]

    asyncio.run(run())


def test_a_batch_of_which_all_were_cancelled_is_not_committed() -> None:
    async def run() -> None:
        loop = Loop()
        task = asyncio.create_task(loop.enter("a"))
        await asyncio.sleep(0)
        task.cancel()
        await settled()
        assert task.cancelled()
        assert loop.batches == []
        assert await loop.enter("b") is None

    asyncio.run(run())


def test_a_coroutine_cancelled_while_it_is_stored_harms_nobody() -> None:
    async def run() -> None:
        loop = Loop()
        loop.go.clear()
        tasks = [asyncio.create_task(loop.enter(name)) for name in "abc"]
        await loop.begun.wait()
        tasks[0].cancel()
        await settled()
        loop.go.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError, type(None), type(None)]
        assert loop.batches == [["a", "b", "c"]]

    asyncio.run(run())


def test_a_commit_that_is_given_up_leaves_those_who_wait_not_knowing_and_the_next_go_on() -> None:
    async def run() -> None:
        loop = Loop()
        loop.go.clear()
        first = [asyncio.create_task(loop.enter(name)) for name in "ab"]
        await loop.begun.wait()
        waits = asyncio.create_task(loop.enter("c"))
        await settled()
        (storing,) = asyncio.all_tasks() - {asyncio.current_task(), *first, waits}
        storing.cancel()
        errors = await asyncio.gather(*first, waits)
        assert [type(error) for error in errors] == [UnknownOutcomeError] * 3
        loop.go.set()
        assert await loop.enter("d") is None
        assert loop.batches == [["a", "b"], ["d"]]

    asyncio.run(run())


def test_a_loop_closed_in_the_middle_of_a_commit_is_forgotten() -> None:
    gate = AsyncGate()
    batches = []

    def committed(*, hangs: bool) -> Callable[..., Any]:
        async def commit(ledger_id: str, members: list[Any]) -> None:
            batches.append([member.name for member in members])
            if hangs:
                await asyncio.get_running_loop().create_future()
            for member in members:
                member.settle()

        return commit

    closed = asyncio.new_event_loop()
    closed.set_exception_handler(lambda loop, told: None)  # it complains of what is left undone, which is the point
    left = [Named("a"), Named("b")]
    task = closed.create_task(gate.pass_through("acme", left[0], committed(hangs=True)))
    closed.run_until_complete(settled())
    waits = closed.create_task(gate.pass_through("acme", left[1], committed(hangs=True)))
    closed.run_until_complete(settled())
    closed.close()
    later = Named("c")
    asyncio.run(asyncio.wait_for(gate.pass_through("acme", later, committed(hangs=False)), LONG))
    assert (later.is_settled, later.error) == (True, None)
    del task, waits, gate  # with nobody left to wait for them, they end
    gc.collect()
    assert batches == [["a"], ["c"]]
    assert [type(member.error) for member in left] == [UnknownOutcomeError, UnknownOutcomeError]


# What is gathered by the services


def consume(dollars: int, key: str | None = None) -> Any:
    return call("consume", usd(dollars), idempotency_key=key)


def appended(desk: Office) -> list[list[str]]:
    """What was stored after the opening, batch by batch, what threads met behind left out."""
    batches = [
        [event for event in batch if getattr(event, "amount", None) != usd(0)] for batch in desk.storage.appended
    ]
    return [kinds(batch) for batch in batches if batch]


def balances(answers: list[Any]) -> list[Any]:
    """The balances of receipts, and the kinds of errors."""
    return [answer.balance if isinstance(answer, Receipt) else type(answer) for answer in answers]


def test_callers_who_meet_are_decided_in_turn_and_stored_in_one_append(desk: Office) -> None:
    answers = desk.together(consume(60), call("add_funds", usd(5), reference=""), consume(45, "k"), consume(0))
    assert balances(answers) == [usd(40), usd(45), usd(0), usd(0)]
    assert appended(desk)[1:] == [["FundsConsumed", "FundsAdded", "FundsConsumed", "BalanceDepleted"]]
    assert [kinds(answer.events) for answer in answers[:3]] == [
        ["FundsConsumed"],
        ["FundsAdded"],
        ["FundsConsumed", "BalanceDepleted"],
    ]
    assert [event.version for event in desk.events] == list(range(1, len(desk.events) + 1))


def test_a_refused_member_fails_alone(desk: Office) -> None:
    answers = desk.together(consume(60), consume(50), call("release", "nobody's"), consume(40))
    assert [type(answer).__name__ for answer in answers] == [
        "Receipt",
        "InsufficientFundsError",
        "UnknownHoldError",
        "Receipt",
    ]
    assert balances(answers)[::3] == [usd(40), usd(0)]
    assert len(appended(desk)) == 2
    assert answers[1].shortfall == usd(10)


def test_all_refused_append_nothing(desk: Office) -> None:
    stored = len(appended(desk))
    assert balances(desk.together(consume(101), consume(102))) == [InsufficientFundsError] * 2
    assert len(appended(desk)) == stored


@pytest.mark.parametrize("arguments", [{"kind": 5}, {"amount": 5}, {"amount": usd(-1)}, {"occurred_at": day(1)}])
def test_a_member_with_bad_arguments_fails_alone(desk: Office, arguments: dict[str, Any]) -> None:
    answers = desk.together(consume(1), call("consume", **({"amount": usd(1)} | arguments)), consume(2))
    assert balances(answers)[::2] == [usd(99), usd(97)]
    assert isinstance(answers[1], InvalidValueError | WrongTypeError)


@pytest.mark.parametrize("key", [[], "", 5, "k" * 201])
def test_what_is_no_key_is_refused_before_it_meets_anybody(desk: Office, key: Any) -> None:
    bad = call("consume", usd(1), idempotency_key=key)
    if desk.is_async:
        answers = desk.together(consume(1), bad, consume(2))
    else:
        with desk.storing():
            refused = desk.refusal((WrongTypeError, InvalidValueError), "consume", usd(1), idempotency_key=key)
        answers = [*desk.together(consume(1)), refused, *desk.together(consume(2))]
    assert balances(answers)[::2] == [usd(99), usd(97)]
    assert isinstance(answers[1], InvalidValueError | WrongTypeError)


def test_a_known_key_takes_out_its_member_and_the_rest_is_decided_again(desk: Office) -> None:
    desk.do("consume", usd(30), idempotency_key="known")
    answers = desk.together(consume(30, "known"), consume(50))
    assert [answer.replayed for answer in answers] == [True, False]
    assert answers[1].balance == usd(20)
    assert desk.costs == [30, 50]


def test_any_number_of_known_keys_is_taken_out_at_once(desk: Office) -> None:
    for number in range(30):
        desk.do("consume", usd(1), idempotency_key=f"k{number}")
    appends = desk.plan.calls["append"]
    answers = desk.together(*(consume(1, f"k{number}") for number in range(30)), consume(7, "new"))
    assert [answer.replayed for answer in answers] == [True] * 30 + [False]
    assert answers[-1].balance == usd(63)
    # One append tells of the first key that is taken, the next stores the rest; threads meet behind one more.
    assert desk.plan.calls["append"] - appends == (2 if desk.is_async else 3)


def test_known_keys_of_other_commands_are_conflicts_for_their_members_alone(desk: Office) -> None:
    desk.do("consume", usd(30), idempotency_key="known")
    answers = desk.together(consume(31, "known"), consume(1), call("close", idempotency_key="known"))
    assert balances(answers) == [IdempotencyConflictError, usd(69), IdempotencyConflictError]


@pytest.mark.parametrize("callers", [2, 40])
def test_one_new_key_given_by_many_at_once_is_recorded_once(desk: Office, callers: int) -> None:
    answers = desk.together(*[consume(1, "same")] * callers)
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * (callers - 1)
    assert len({answer.events for answer in answers}) == 1
    assert desk.costs == [1]


def test_what_fails_after_the_first_of_a_key_was_stored_fails_only_the_others(desk: Office) -> None:
    def fail() -> None:
        raise InjectedFault("append", "before")

    desk.plan.set(append=[OK, fail])
    answers = desk.together(consume(1, "same"), consume(2), consume(3, "same"))
    assert balances(answers) == [usd(99), usd(97), IdempotencyConflictError]
    desk.plan.set(append=[OK, fail])
    answers = desk.together(call("consume_many", [Usage(usd(1), idempotency_key="a")]), *[consume(1, "a")] * 2)
    assert [answers[0][0].replayed, answers[1].replayed, answers[2].replayed] == [False, True, True]
    many = call("consume_many", [Usage(usd(1), idempotency_key=key) for key in ("b", "c")])
    desk.plan.set(append=[OK, fail])
    assert balances(desk.together(consume(1, "b"), many)) == [usd(95), InjectedFault]
    assert desk.costs == [1, 2, 1, 1]


def test_one_new_key_given_for_two_commands_at_once_is_the_first_ones(desk: Office) -> None:
    answers = desk.together(consume(1, "same"), consume(2, "same"), consume(3))
    assert balances(answers) == [usd(99), IdempotencyConflictError, usd(96)]
    assert desk.costs == [1, 3]


def test_a_key_refused_with_one_caller_is_free_for_the_next_whose_it_then_is(desk: Office) -> None:
    answers = desk.together(consume(101, "same"), consume(2, "same"))
    assert balances(answers) == [IdempotencyConflictError, usd(98)]


def test_a_version_conflict_decides_again_for_all(desk: Office) -> None:
    desk.plan.set(append=[lambda: desk.rival().consume("acme", usd(50)) and None])
    answers = desk.together(consume(30), consume(40), consume(20))
    assert balances(answers) == [usd(20), InsufficientFundsError, usd(0)]
    assert desk.costs == [50, 30, 20]


def test_what_a_version_conflict_brought_saves_a_member_that_was_refused(desk: Office) -> None:
    desk.plan.set(append=[lambda: desk.rival().add_funds("acme", usd(50), reference="") and None])
    assert balances(desk.together(consume(30), consume(120))) == [usd(120), usd(0)]


def test_an_unknown_outcome_reaches_all_and_those_with_keys_are_answered_by_them(desk: Office) -> None:
    desk.plan.set(append=[AFTER])
    answers = desk.together(consume(10, "a"), consume(20), consume(500, "refused"), consume(30, "b"))
    assert balances(answers) == [usd(40), InjectedFault, InjectedFault, usd(40)]
    assert [answer.replayed for answer in answers[::3]] == [True, True]
    assert desk.costs == [10, 20, 30]
    assert balances(desk.together(consume(10, "a"), consume(500, "refused"))) == [usd(40), InsufficientFundsError]


def test_an_append_that_was_never_done_fails_all_and_each_may_come_again(desk: Office) -> None:
    desk.plan.set(append=[BEFORE])
    calls = [consume(10, "a"), consume(20), consume(30, "b")]
    assert balances(desk.together(*calls)) == [InjectedFault] * 3
    assert desk.costs == []
    assert balances(desk.together(*calls)) == [usd(90), usd(70), usd(40)]


def test_a_ledger_that_cannot_be_loaded_fails_all(hire: Hire) -> None:
    desk = hire(funds=100)
    desk.service = desk.another_service()
    if desk.is_async:
        desk.plan.set(load=[BEFORE])
        assert balances(desk.together(consume(1), consume(2))) == [InjectedFault] * 2
    else:
        desk.plan.set(append=[lambda: desk.rival().consume("acme", usd(1)) and None], load=[BEFORE])
        assert balances(desk.together(consume(1), consume(2))) == [InjectedFault] * 2
    assert balances(desk.together(consume(1))) == [usd(99) if desk.is_async else usd(98)]


def test_storing_given_up_in_the_middle_is_an_unknown_outcome_for_the_others(desk: Office) -> None:
    desk.plan.set(append=[give_up])
    if desk.is_async:
        desk.runner.get_loop().set_exception_handler(lambda loop, told: None)
    answers = desk.together(consume(1, "a"), consume(2, "b"), consume(3))
    assert [type(answer) for answer in answers[1:]] == [UnknownOutcomeError] * 2
    assert type(answers[0]) is (UnknownOutcomeError if desk.is_async else GivenUp)
    assert balances(desk.together(consume(1, "a"), consume(2, "b"))) == [usd(99), usd(97)]
    gc.collect()


def test_batches_of_usages_meet_others_whole(desk: Office) -> None:
    many = [Usage(usd(30), idempotency_key="a"), Usage(usd(30), idempotency_key="b")]
    other = [Usage(usd(30), idempotency_key="c")]
    answers = desk.together(consume(50), call("consume_many", many), call("consume_many", other), consume(20))
    assert balances([answers[0], answers[1], *answers[2], answers[3]]) == [
        usd(50),
        InsufficientFundsError,
        usd(20),
        usd(0),
    ]
    assert answers[1].index == 1
    assert desk.costs == [50, 30, 20]


def test_batches_of_usages_with_keys_in_common_are_recorded_once(desk: Office) -> None:
    desk.do("consume", usd(1), idempotency_key="known")
    many = [Usage(usd(1), idempotency_key=key) for key in ("known", "a", "b")]
    answers = desk.together(
        call("consume_many", many), consume(1, "a"), call("consume_many", many[::-1]), consume(1, "known"), consume(5)
    )
    assert [receipt.replayed for receipt in answers[0]] == [True, False, False]
    assert [receipt.replayed for receipt in answers[2]] == [True] * 3
    assert [answers[1].replayed, answers[3].replayed, answers[4].replayed] == [True, True, False]
    assert sorted(desk.costs) == [1, 1, 1, 5]


def test_a_batch_of_usages_of_which_another_recorded_some_in_between_is_decided_again(desk: Office) -> None:
    def recorded(key: str) -> None:
        desk.rival().consume("acme", usd(1), idempotency_key=key)

    def recorded_and_found_by_its_key() -> None:
        recorded("c")
        raise DuplicateKeyError("acme", "c")

    for keys, step in ((("a", "b"), lambda: recorded("a")), (("c", "d"), recorded_and_found_by_its_key)):
        desk.plan.set(append=[step])
        many = [Usage(usd(1), idempotency_key=key) for key in keys]
        answers = desk.together(call("consume_many", many), consume(5))
        assert [receipt.replayed for receipt in answers[0]] == [True, False]
        assert not answers[1].replayed
    assert desk.costs == [1, 1, 5, 1, 1, 5]


def test_purchases_that_meet_are_each_charged_by_their_own_call(hire: Hire) -> None:
    desk = hire()
    answers = desk.together(call("purchase", usd(10)), call("purchase", usd(20)))
    own = [only(answer.events, ChargeRequested) for answer in answers]
    assert [event.amount for event in own] == [usd(10), usd(20)]
    for answer, event in zip(answers, own, strict=True):
        assert event.charge_id not in {charge.charge_id for charge in answer.pending_charges}
    assert sorted(amount for _, amount in desk.provider.taken) == [usd(10), usd(20)]
    assert desk.ledger.balance == usd(30)


def test_usages_that_meet_below_the_threshold_are_recharged_once(desk: Office) -> None:
    desk.do("configure_auto_recharge", RechargePolicy(usd(50), usd(50)))
    desk.together(consume(60), consume(20), consume(10))
    assert len(desk.provider.taken) == 1
    assert desk.ledger.balance == usd(60)


def test_refused_usages_that_meet_cause_one_recharge(hire: Hire) -> None:
    desk = hire(funds=10)
    desk.do("configure_auto_recharge", RechargePolicy(usd(5), usd(100), recharge_when_refused=True))
    assert balances(desk.together(consume(20), consume(30))) == [InsufficientFundsError] * 2
    assert len(desk.provider.taken) == 1
    assert desk.ledger.balance == usd(110)


def test_outcomes_of_a_charge_long_past_that_meet_are_recorded_once(hire: Hire) -> None:
    desk = hire()
    desk.provider.answers = [Declined("no funds")]
    charge_id = only(desk.do("purchase", usd(50)).events, ChargeDeclined).charge_id
    desk.clock.now = day(40)
    desk.do("purchase", usd(10))
    paid = call("record_outcome", charge_id, Paid("receipt"))
    answers = desk.together(paid, paid)
    assert [kinds(answer.events) for answer in answers] == [["ChargePaid", "FundsAdded"], []]
    assert desk.ledger.balance == usd(60)


def test_claw_backs_of_a_lot_long_past_that_meet_do_not_exceed_it(hire: Hire) -> None:
    desk = hire(funds=50, funds_valid_for=timedelta(days=1))
    desk.do("consume", usd(50))
    desk.clock.now = day(40)
    desk.do("add_funds", usd(10), reference="")
    taken = call("claw_back", 2, usd(50))
    assert balances(desk.together(taken, taken)) == [usd(-40), ExceedsLotError]
    assert desk.ledger.balance == usd(-40)


def test_reversals_of_a_usage_that_meet_do_not_exceed_it(desk: Office) -> None:
    desk.do("consume", usd(50), idempotency_key="usage")
    desk.clock.now = day(300)
    back = call("reverse_consumption", "usage", usd(30))
    answers = desk.together(back, back)
    assert [type(answer).__name__ for answer in answers] == ["Receipt", "ReversalExceedsUsageError"]
    assert desk.ledger.balance == usd(80)


def hold(hold_id: str, key: str | None = None) -> Any:
    return call("hold", hold_id, usd(1), expires_at=hour(1), idempotency_key=key)


def test_a_hold_id_long_forgotten_takes_out_its_member_and_the_rest_is_decided_again(hire: Hire) -> None:
    desk = hire(funds=100, settles_inline=False)
    for number in range(102):
        desk.do("hold", f"hold {number}", usd(1), expires_at=hour(1), idempotency_key=f"k{number}")
        desk.do("release", f"hold {number}")
    answers = desk.together(hold("hold 0"), consume(1), hold("hold 0", "k0"), hold("new"))
    assert [type(answer) for answer in answers] == [HoldExistsError, Receipt, Receipt, Receipt]
    assert (answers[2].replayed, answers[3].available) == (True, usd(98))
    answers = desk.together(hold("hold 1"), call("capture", "hold 1"), call("release", "new"))
    assert [type(answer) for answer in answers] == [HoldExistsError, HoldEndedError, Receipt]
    assert desk.costs == [1]


def test_one_new_hold_id_given_twice_at_once_is_the_first_ones(desk: Office) -> None:
    answers = desk.together(hold("same"), hold("same"), call("release", "same"), hold("same"))
    assert [type(answer) for answer in answers] == [Receipt, HoldExistsError, Receipt, HoldExistsError]


def test_a_clock_that_fails_after_others_were_decided_fails_only_its_member(desk: Office) -> None:
    stored = len(desk.events)
    asked = iter([T0, None, T0, T0, T0, T0])
    leads = [] if desk.is_async else [T0]

    def clock() -> Any:
        if leads:
            return leads.pop()
        now = next(asked)
        if now is None:
            raise OSError("no clock")
        return now

    answers = desk.together(consume(1), consume(2), consume(3), service=desk.another_service(clock=clock))
    assert balances(answers) == [usd(99), OSError, usd(96)]
    assert [event.version for event in desk.events] == list(range(1, len(desk.events) + 1))
    assert len(desk.events) == stored + (2 if desk.is_async else 3)


def test_a_lookup_that_fails_when_something_fell_due_lets_nothing_half_done_be_stored(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=timedelta(days=1))
    again = call("configure_auto_recharge", RechargePolicy(usd(0), usd(50)), idempotency_key="k")
    desk.together(again, call("grant", usd(5)))
    desk.plan.set(find=[BEFORE])
    answers = desk.together(again, consume(0, "new"), at=day(1))
    assert balances(answers) == [usd(5), InjectedFault]
    assert answers[0].replayed
    assert "FundsExpired" not in kinds(desk.events)
    assert [event.version for event in desk.events] == list(range(1, len(desk.events) + 1))
    assert desk.do("consume", usd(0)).balance == usd(5)


def test_a_refusal_found_only_after_something_fell_due_fails_its_member_alone(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=timedelta(days=1))
    desk.do("grant", usd(5), idempotency_key="k")
    answers = desk.together(call("disable_auto_recharge", idempotency_key="k"), consume(1), at=day(1))
    assert balances(answers) == [IdempotencyConflictError, usd(4)]


def test_a_ledger_that_nobody_opened_fails_all_who_ask_for_it(hire: Hire) -> None:
    desk = hire()
    if desk.is_async:

        async def both() -> list[Any]:
            asked = [desk.service.consume("nobody", usd(1)) for _ in range(2)]
            return await asyncio.gather(*asked, return_exceptions=True)

        assert [type(answer) for answer in desk.run(both())] == [LedgerNotFoundError] * 2
    else:
        with pytest.raises(LedgerNotFoundError):
            desk.service.consume("nobody", usd(1))


def test_a_cancelled_caller_harms_nobody_and_its_key_tells(desk: Office) -> None:
    if not desk.is_async:
        return

    async def run() -> list[Any]:
        begun, go = asyncio.Event(), asyncio.Event()

        async def stop() -> None:
            begun.set()
            await go.wait()

        desk.plan.set(append=[stop])
        stored = [asyncio.create_task(desk.service.consume("acme", usd(n), idempotency_key=f"k{n}")) for n in (1, 2)]
        await begun.wait()
        waits = [asyncio.create_task(desk.service.consume("acme", usd(n), idempotency_key=f"k{n}")) for n in (3, 4)]
        await settled()
        stored[0].cancel()
        waits[0].cancel()
        await settled()
        go.set()
        return await asyncio.gather(*stored, *waits, return_exceptions=True)

    answers = desk.run(run())
    assert balances(answers) == [asyncio.CancelledError, usd(97), asyncio.CancelledError, usd(93)]
    assert [desk.do("consume", usd(n), idempotency_key=f"k{n}").replayed for n in (1, 3)] == [True, False]
