"""Commands at random to two services on one storage, while storage and payment method fail and charges are declined.

What is expected is kept in plain dicts of dollars: what every key was given for, and what the callers were told. The
books of the payment provider are the other side: whatever it took must be on the ledger, once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from build import usd
from commcredits import (
    Charge,
    ChargeRequested,
    ChargeTried,
    ConsumptionReversed,
    Declined,
    Event,
    FundsAdded,
    FundsConsumed,
    IdempotencyConflictError,
    InsufficientFundsError,
    Ledger,
    Outcome,
    Paid,
    Processing,
    Receipt,
    RechargeLimit,
    RechargePolicy,
    ReversalExceedsUsageError,
    Usage,
)
from commcredits.testing.faults import InjectedFault
from faults import Provider, plans
from office import Office

ROUNDS_MAX = 60  # settling takes no longer than this once nothing fails any more

FAULTS = plans("append", "append", "charge", "charge", "charge", "load", "find", "about", "due")
DOLLARS = st.sampled_from([1, 5, 10, 10, 30, 60])
COMMANDS = st.sampled_from(["consume", "consume", "purchase", "add_funds"])
WHO = st.integers(0, 1)
PICK = st.integers(0, 99)
WAITS = st.sampled_from(
    [timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=1), timedelta(hours=6), timedelta(hours=25)]
)
OUTCOMES = st.sampled_from([Paid(), Declined("no funds"), Declined("stolen", retryable=False), Processing("soon")])
POLICIES = (
    RechargePolicy(usd(20), usd(50)),
    RechargePolicy(usd(20), usd(10)),
    RechargePolicy(usd(40), recharge_to=usd(60), recharge_when_refused=True),
    RechargePolicy(usd(30), usd(10), in_multiples=True, limits=[RechargeLimit(count=2, per="day")]),
)
SETTINGS = st.sampled_from(
    [
        *(("configure_auto_recharge", (policy,), {}) for policy in POLICIES),
        *(("change_payment_methods", methods, {}) for methods in (("default",), ("card", "bank"))),
        *((command, (), {}) for command in ("disable_auto_recharge", "resume_auto_recharge", "advance")),
    ]
)


class Given(NamedTuple):
    """What a key was given for: a command and its dollars; of a reversal, the key of the usage."""

    command: str
    dollars: int
    usage: str | None = None


class WatchingProvider(Provider):
    """Notes every charge that it is asked for before the ledger says that it is being tried, or by two at once."""

    office: Office
    untold: list[Charge]

    def charge(self, charge: Charge) -> Outcome:
        told = [event for event in self.office.events if getattr(event, "charge_id", None) == charge.charge_id]
        requested = [event.amount for event in told if isinstance(event, ChargeRequested)]
        if requested != [charge.amount] or not told or not isinstance(told[-1], ChargeTried):
            self.untold.append(charge)
        return super().charge(charge)


def dollars_of(event: Any) -> int:
    assert event.amount.minor_units % 100 == 0
    return event.amount.minor_units // 100


class BlockingServiceMachine(RuleBasedStateMachine):
    KIND = "blocking"

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Given] = {}
        self.acknowledged: set[str] = set()
        self.doubtful: set[str] = set()  # the call failed, and whether it was recorded is not known
        self.webhooks: dict[str, Outcome] = {}

    @initialize(
        funds=st.sampled_from([0, 20, 100]),
        limit=st.sampled_from([0, 30]),
        policy=st.none() | st.sampled_from(POLICIES),
        outcomes=st.lists(OUTCOMES, max_size=5),
    )
    def open(self, funds: int, limit: int, policy: RechargePolicy | None, outcomes: list[Outcome]) -> None:
        self.limit = limit
        terms = {"funds_valid_for": None, "overdraft_limit": usd(limit)}
        self.office = Office(self.KIND, provider=WatchingProvider, **terms)
        self.provider: Any = self.office.provider
        self.provider.office, self.provider.untold = self.office, []
        self.services = [self.office.service, self.office.another_service()]
        if funds:
            self.ask(self.key_for("add_funds", funds), 0, {})
        self.provider.answers = outcomes
        if policy is not None:
            self.office.do("configure_auto_recharge", policy)

    # What the callers do

    @rule(command=COMMANDS, dollars=DOLLARS, who=WHO, faults=FAULTS)
    def give(self, command: str, dollars: int, who: int, faults: Any) -> None:
        self.ask(self.key_for(command, dollars), who, faults)

    @precondition(lambda self: self.usages())
    @rule(pick=PICK, dollars=DOLLARS, who=WHO, faults=FAULTS)
    def reverse_consumption(self, pick: int, dollars: int, who: int, faults: Any) -> None:
        usage = self.picked(self.usages(), pick)
        self.ask(self.key_for("reverse_consumption", dollars, usage), who, faults)

    @precondition(lambda self: self.given)
    @rule(pick=PICK, who=WHO, faults=FAULTS)
    def ask_again(self, pick: int, who: int, faults: Any) -> None:
        self.ask(self.picked(self.doubtful or self.given, pick), who, faults)

    @precondition(lambda self: self.usages())
    @rule(pick=PICK, who=WHO, faults=FAULTS)
    def use_a_key_for_something_else(self, pick: int, who: int, faults: Any) -> None:
        key = self.picked(self.usages(), pick)
        (answer,) = self.answers(who, faults, self.call(key, more=1))
        assert isinstance(answer, IdempotencyConflictError | InjectedFault)

    @rule(costs=st.lists(DOLLARS, min_size=1, max_size=4), pick=PICK, collect=st.booleans(), who=WHO, faults=FAULTS)
    def consume_many(self, costs: list[int], pick: int, collect: bool, who: int, faults: Any) -> None:
        keys = [self.key_for("consume", cost) for cost in costs]
        if self.usages():
            keys.insert(pick % len(keys), self.picked(self.usages(), pick))
        funds = self.funds() + self.limit
        usages = [Usage(usd(self.given[key].dollars), idempotency_key=key) for key in keys]
        refused = "collect" if collect else "raise"
        (answer,) = self.answers(who, faults, ("consume_many", (usages,), {"refused": refused}))
        if isinstance(answer, InjectedFault):
            self.doubtful.update(set(keys) - self.acknowledged)
        elif isinstance(answer, Exception):
            assert isinstance(answer, InsufficientFundsError)
            costs = [0 if key in self.acknowledged else self.given[key].dollars for key in keys[: answer.index + 1]]
            assert sum(costs[:-1]) <= funds < sum(costs)
        else:
            for key, one in zip(keys, answer, strict=True):
                cost = 0 if key in self.acknowledged else self.given[key].dollars
                if isinstance(one, Exception):
                    assert isinstance(one, InsufficientFundsError)
                    assert cost > funds
                else:
                    assert cost <= funds or one.replayed
                    self.acknowledge(key, one)
                    funds -= cost

    @rule(
        commands=st.lists(st.tuples(st.sampled_from(["consume", "purchase", "again"]), DOLLARS), max_size=5),
        faults=FAULTS,
    )
    def many_at_once(self, commands: list[tuple[str, int]], faults: Any) -> None:
        keys = []
        for command, dollars in commands:
            known = command == "again" and self.given
            keys.append(self.picked(self.given, dollars) if known else self.key_for(command, dollars))
        for key, answer in zip(keys, self.answers(0, faults, *map(self.call, keys)), strict=True):
            self.told(key, answer)

    # What else happens

    @rule(call=SETTINGS, who=WHO, faults=FAULTS)
    def change_settings(self, call: Any, who: int, faults: Any) -> None:
        (answer,) = self.answers(who, faults, call)
        assert isinstance(answer, Receipt | InjectedFault)

    @rule(outcomes=st.lists(OUTCOMES, min_size=1, max_size=3))
    def the_provider_will_answer(self, outcomes: list[Outcome]) -> None:
        self.provider.answers = outcomes

    @rule(wait=WAITS, who=WHO, faults=FAULTS)
    def time_passes_and_the_ledger_is_settled(self, wait: timedelta, who: int, faults: Any) -> None:
        self.office.clock.now += wait
        (answer,) = self.answers(who, faults, ("settle", (), {}))
        assert isinstance(answer, Receipt | InjectedFault)

    @rule(wait=WAITS, who=WHO, faults=FAULTS)
    def time_passes_and_what_is_due_is_settled(self, wait: timedelta, who: int, faults: Any) -> None:
        self.office.clock.now += wait
        self.office.plan.set(**faults)
        try:
            answers = self.office.run(self.services[who].settle_due())
        except InjectedFault:
            answers = {}
        self.office.plan.set()
        assert all(isinstance(answer, Receipt | InjectedFault) for answer in answers.values())

    @precondition(lambda self: self.provider.processing)
    @rule(pick=PICK, outcome=st.sampled_from([Paid(), Declined("after all")]))
    def the_provider_makes_up_its_mind(self, pick: int, outcome: Outcome) -> None:
        charge_id = self.picked(self.provider.processing, pick)
        self.webhooks[charge_id] = self.provider.finish(charge_id, outcome)

    @precondition(lambda self: self.webhooks)
    @rule(pick=PICK, who=WHO, faults=FAULTS)
    def a_webhook_tells(self, pick: int, who: int, faults: Any) -> None:
        charge_id = self.picked(self.webhooks, pick)
        (answer,) = self.answers(who, faults, ("record_outcome", (charge_id, self.webhooks[charge_id]), {}))
        assert isinstance(answer, Receipt | InjectedFault)

    # What holds at any time

    @invariant()
    def the_record_adds_up(self) -> None:
        events = self.office.events
        assert [event.version for event in events] == list(range(1, len(events) + 1))
        Ledger.replay(events).check()
        keys = [event.idempotency_key for event in events if event.idempotency_key]
        assert len(keys) == len(set(keys))

    @invariant()
    def what_was_acknowledged_is_recorded_and_nothing_that_nobody_asked_for(self) -> None:
        recorded = self.recorded()
        assert self.acknowledged <= recorded.keys() <= self.acknowledged | self.doubtful
        assert recorded == {key: self.given[key] for key in recorded}

    @invariant()
    def only_money_that_was_taken_is_on_the_ledger_and_none_is_taken_twice(self) -> None:
        taken = self.taken()
        assert len(taken) == len(self.provider.taken)
        paid = self.office.paid_in()
        assert len(paid) == len(dict(paid))
        assert set(paid) <= set(taken.items())

    @invariant()
    def every_charge_was_told_before_it_was_made(self) -> None:
        assert self.provider.untold == []

    @invariant()
    def at_most_one_automatic_charge_is_under_way(self) -> None:
        automatic = [charge for charge in self.office.pending if charge.purpose == "recharge"]
        assert len([charge for charge in automatic if charge.status != "unresolved"]) <= 1

    # Once nothing fails any more

    def teardown(self) -> None:
        if not hasattr(self, "services"):
            return
        try:
            self.all_is_settled()
        finally:
            self.office.close()

    def all_is_settled(self) -> None:
        self.provider.answers = []
        for _ in range(ROUNDS_MAX):
            for key in sorted(self.doubtful):
                self.ask(key, 0, {})
            for charge_id in list(self.provider.processing):
                self.webhooks[charge_id] = self.provider.finish(charge_id, Paid())
            for charge_id, outcome in self.webhooks.items():
                self.office.do("record_outcome", charge_id, outcome)
            for charge in self.office.pending:
                if charge.status == "unresolved":
                    self.office.do("record_outcome", charge.charge_id, self.provider.looked_up(charge.charge_id))
            answers = self.office.run(self.services[1].settle_due())
            assert all(isinstance(answer, Receipt) for answer in answers.values())
            due = self.office.ledger.next_due
            if due is None and not self.office.pending and not self.doubtful:
                break
            self.office.clock.now = max(self.office.clock.now, due or self.office.clock.now)
        assert (self.office.pending, self.doubtful, self.office.ledger.next_due) == ([], set(), None)
        self.the_record_adds_up()
        self.what_was_acknowledged_is_recorded_and_nothing_that_nobody_asked_for()
        self.every_charge_was_told_before_it_was_made()
        taken = self.taken()
        assert len(taken) == len(self.provider.taken)
        assert sorted(self.office.paid_in()) == sorted(taken.items())
        sums = dict.fromkeys(("consume", "add_funds", "reverse_consumption", "purchase"), 0)
        for key in self.acknowledged:
            sums[self.given[key].command] += self.given[key].dollars
        balance = sums["add_funds"] + sum(taken.values()) - sums["consume"] + sums["reverse_consumption"]
        assert self.office.run(self.services[0].get("acme")).balance == usd(balance)

    # The model

    def key_for(self, command: str, dollars: int, usage: str | None = None) -> str:
        """A new key for a command."""
        key = f"key {len(self.given)}"
        self.given[key] = Given("consume" if command == "again" else command, dollars, usage)
        return key

    @staticmethod
    def picked(choices: Any, pick: int) -> Any:
        ordered = sorted(choices)
        return ordered[pick % len(ordered)]

    def usages(self) -> list[str]:
        return [key for key in self.acknowledged if self.given[key].command == "consume"]

    def call(self, key: str, *, more: int = 0) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """The call that a key was given for."""
        given = self.given[key]
        amount = usd(given.dollars + more)
        arguments = (amount,) if given.usage is None else (given.usage, amount)
        named = {"reference": "wire"} if given.command == "add_funds" else {}
        return given.command, arguments, {"idempotency_key": key, **named}

    def answers(self, who: int, faults: Any, *calls: tuple[str, tuple[Any, ...], dict[str, Any]]) -> list[Any]:
        """What calls return or raise, given at once where callers can be; each makes one charge at most."""
        asked = self.office.plan.calls["charge"]
        self.office.plan.set(**faults)
        service = self.services[who]
        answers: list[Any]
        if self.office.is_async:

            async def gathered() -> list[Any]:
                methods = (getattr(service, name)("acme", *arguments, **named) for name, arguments, named in calls)
                return await asyncio.gather(*methods, return_exceptions=True)

            answers = self.office.runner.run(gathered())
        else:
            answers = []
            for name, arguments, named in calls:
                try:
                    answers.append(getattr(service, name)("acme", *arguments, **named))
                except Exception as error:  # noqa: BLE001  # an answer, too
                    answers.append(error)
        self.office.plan.set()
        assert self.office.plan.calls["charge"] - asked <= len(calls)
        return answers

    def ask(self, key: str, who: int, faults: Any) -> None:
        """Give a key's command, alone, so that a refusal can be judged."""
        given = self.given[key]
        left = self.funds() + self.limit if given.command == "consume" else self.left_of(given.usage)
        (answer,) = self.answers(who, faults, self.call(key))
        if isinstance(answer, InsufficientFundsError | ReversalExceedsUsageError):
            assert given.dollars > left
        elif isinstance(answer, Receipt) and not answer.replayed:
            assert given.dollars <= left
        self.told(key, answer)

    def told(self, key: str, answer: Any) -> None:
        """Note what the caller was told about a key."""
        if isinstance(answer, InjectedFault):
            self.doubtful |= {key} - self.acknowledged
        elif isinstance(answer, InsufficientFundsError | ReversalExceedsUsageError):
            assert key not in self.acknowledged
            self.doubtful.discard(key)
        else:
            self.acknowledge(key, answer)

    def acknowledge(self, key: str, answer: Any) -> None:
        assert isinstance(answer, Receipt)
        assert [event.idempotency_key for event in answer.events].count(key) == 1
        assert answer.replayed or key not in self.acknowledged
        self.acknowledged.add(key)
        self.doubtful.discard(key)

    # What is stored, read past the service, in dollars

    def recorded(self) -> dict[str, Given]:
        """What is recorded under each key."""
        events = self.office.events
        keys = {event.version: event.idempotency_key for event in events}
        commands = {FundsConsumed: "consume", FundsAdded: "add_funds", ChargeRequested: "purchase"}
        found = {}
        for event in events:
            if event.idempotency_key and isinstance(event, ConsumptionReversed):
                usage = keys[event.consumption]
                found[event.idempotency_key] = Given("reverse_consumption", dollars_of(event), usage)
            elif event.idempotency_key:
                found[event.idempotency_key] = Given(commands[type(event)], dollars_of(event))
        return found

    def funds(self) -> int:
        """What is available: what came in and what was reversed, less what was consumed."""
        signs: dict[type[Event], int] = {FundsAdded: 1, ConsumptionReversed: 1, FundsConsumed: -1}
        return sum(signs[type(event)] * dollars_of(event) for event in self.office.events if type(event) in signs)

    def left_of(self, usage: str | None) -> int:
        """What is left to reverse of the usage of a key; where there is none, more than anybody asks for."""
        if usage is None:
            return 1000
        undone = [given.dollars for given in self.recorded().values() if given.usage == usage]
        return self.given[usage].dollars - sum(undone)

    def taken(self) -> dict[str, int]:
        """The provider's books: the dollars that it took, by charge."""
        return {charge_id: amount.minor_units // 100 for charge_id, amount in self.provider.taken}


class AsyncServiceMachine(BlockingServiceMachine):
    KIND = "asynchronous"


TestBlockingService = BlockingServiceMachine.TestCase
TestAsyncService = AsyncServiceMachine.TestCase
TestBlockingService.settings = TestAsyncService.settings = settings(
    max_examples=2 * settings.default.max_examples, stateful_step_count=25
)
