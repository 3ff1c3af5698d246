"""A life of a few ledgers, told by a seed: customers who insist, workers, webhooks; then calm, and a verdict.

What customers asked for and were told is kept in plain records, and what was taken of them in the books of the bank;
the ledgers must agree with both. To live one life alone, and read its story:

    python tests/fire/simulation.py SEED
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from typing import Any

import attrs
from bank import Bank
from world import MOST_SKEW, World

from commcredits import (
    Charge,
    ChargeDeclined,
    ChargePaid,
    ChargeRequested,
    ChargeTried,
    ChargeWithdrawn,
    CommCreditsError,
    ConsumptionReversed,
    Declined,
    Event,
    FundsAdded,
    FundsConsumed,
    FundsExpired,
    InMemoryStorage,
    InsufficientFundsError,
    Ledger,
    Money,
    Outcome,
    Receipt,
    RechargeLimit,
    RechargePolicy,
    ReversalExceedsUsageError,
    Storage,
    Terms,
    Usage,
)
from commcredits.storages.sqlite import SQLiteStorage

ROUNDS_MAX = 100  # settling takes no longer once nothing fails any more
WEBHOOKS_MAX = 60  # how often a bank tells of a charge to whom it cannot reach
HOUR = 3600.0

NOTHING = Money(0, "USD")
COSTS = tuple(Money(text, "USD") for text in ("0.000000001", "0.333333333", "1", "4.99", "10", "25.5", "60"))
DOLLARS = tuple(Money(dollars, "USD") for dollars in (1, 10, 50))
PAUSES = (0, 0, 0, 0.005, 1, 20, 240, HOUR, 7 * HOUR, 30 * HOUR)
POLICIES = (
    None,
    RechargePolicy(Money(20, "USD"), Money(50, "USD")),
    RechargePolicy(Money(20, "USD"), Money(10, "USD")),
    RechargePolicy(Money(40, "USD"), recharge_to=Money(60, "USD"), recharge_when_refused=True),
    RechargePolicy(Money(30, "USD"), Money(10, "USD"), in_multiples=True, limits=[RechargeLimit(count=2, per="day")]),
)
# The bank forgets a key after 24 hours; the skew of two clocks and the slowest call are to be kept away from that.
KEY_VALID_FOR = timedelta(hours=23)


@attrs.define
class Order:
    """What a customer asks for under a key: "asked", then "acknowledged", "refused", or "doubtful" while nobody knows.

    `usage` is the key of the usage to reverse.
    """

    key: str
    ledger_id: str
    command: str
    amount: Money
    usage: str = ""
    status: str = "asked"

    @property
    def call(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        named: dict[str, Any] = {"idempotency_key": self.key}
        match self.command:
            case "consume":
                return self.command, (self.ledger_id, self.amount), named | {"description": self.key}
            case "reverse_consumption":
                return self.command, (self.ledger_id, self.usage, self.amount), named
            case _:
                return self.command, (self.ledger_id, self.amount), named | {"reference": self.key}


class Simulation(World):
    """One life."""

    bank_type: type[Bank] = Bank
    memory_type: type[InMemoryStorage] = InMemoryStorage

    def __init__(self, seed: int) -> None:
        super().__init__(seed, self._storage(seed))
        self.seed = seed
        self.terms: dict[str, Terms] = {}
        self.orders: list[Order] = []
        self.calls: Counter[str] = Counter()  # how often the payment provider was called, by charge
        self.bank = self.bank_type(self.random, lambda: self.now, self._finish_later, self._send_webhooks)
        self.policies = {f"ledger {n}": self.random.choice(POLICIES) for n in range(self.random.randint(1, 3))}

    def _storage(self, seed: int) -> Storage:
        """Where the ledgers are kept: in memory, or now and then in SQLite."""
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        if seed % 10 == 9 and self.memory_type is InMemoryStorage:
            storage = SQLiteStorage(self._connection, snapshot_every=4)
            storage.create_tables()
            return storage
        return self.memory_type(snapshot_every=1 + seed % 5)

    def close(self) -> None:
        self._connection.close()

    async def live(self) -> None:
        self.start_machines(self.random.randint(2, 4))
        for ledger_id, policy in self.policies.items():
            await self._open(ledger_id, policy)
        self.is_calm = False
        workers = [self.spawn(self._work()) for _ in range(2)]
        customers = [self.spawn(self._ask_for_things()) for _ in range(self.random.randint(1, 3))]
        await asyncio.wait(customers)
        await asyncio.wait(workers)
        self.tell("calm")
        self.is_calm = self.bank.pays_always = True
        await self._settle()
        self.judge()

    async def _open(self, ledger_id: str, policy: RechargePolicy | None) -> None:
        limit = self.random.choice((NOTHING, NOTHING, Money(30, "USD"), None))
        valid_for = self.random.choice((None, None, timedelta(days=2)))
        self.terms[ledger_id] = Terms(
            "USD", expiry_notices=(), overdraft_limit=limit, funds_valid_for=valid_for, key_valid_for=KEY_VALID_FOR
        )
        await self.ask("open", ledger_id, self.terms[ledger_id], payment_methods=("card", "bank"))
        if policy is not None:
            await self.ask("configure_auto_recharge", ledger_id, policy)

    # Customers, workers, webhooks

    async def _ask_for_things(self) -> None:
        for _ in range(self.random.randint(2, 6)):
            await asyncio.sleep(self.random.choice(PAUSES))
            if self.random.random() < 0.15:
                await self._ask_for_many()
            elif self.random.random() < 0.1:
                await self._change_settings()
            else:
                await self._insist(self._order(), attempts=self.random.randint(1, 4))

    def _order(self, command: str = "") -> Order:
        key = f"key {len(self.orders)}"
        ledger_id = self.random.choice(tuple(self.policies))
        command = command or self.random.choice(
            ("consume", "consume", "consume", "consume", "purchase", "add_funds", "reverse_consumption")
        )
        usages = [order for order in self.orders if (order.command, order.status) == ("consume", "acknowledged")]
        if command == "reverse_consumption" and usages:
            usage = self.random.choice(usages)
            order = Order(key, usage.ledger_id, command, self.random.choice((usage.amount, COSTS[0])), usage.key)
        elif command in ("purchase", "add_funds"):
            order = Order(key, ledger_id, command, self.random.choice(DOLLARS))
        else:
            order = Order(key, ledger_id, "consume", self.random.choice(COSTS))
        self.orders.append(order)
        return order

    async def _insist(self, order: Order, *, attempts: int) -> None:
        """Ask, on any machine, until the answer is definite."""
        name, arguments, named = order.call
        for _ in range(attempts):
            self.note(order, await self.ask(name, *arguments, **named))
            if order.status != "doubtful":
                break
            await asyncio.sleep(0 if self.is_calm else self.random.choice(PAUSES[:-2]))

    async def _ask_for_many(self) -> None:
        orders = [self._order("consume") for _ in range(self.random.randint(2, 4))]
        ledger_id = orders[0].ledger_id
        for order in orders:
            order.ledger_id = ledger_id
        usages = [Usage(order.amount, description=order.key, idempotency_key=order.key) for order in orders]
        refused = self.random.choice(("raise", "collect"))
        answer = await self.ask("consume_many", ledger_id, usages, refused=refused)
        answers = answer if isinstance(answer, tuple) else [answer] * len(orders)
        for order, one in zip(orders, answers, strict=True):
            self.note(order, one)

    async def _change_settings(self) -> None:
        ledger_id = self.random.choice(tuple(self.policies))
        match self.random.choice(("policy", "off", "resume", "methods")):
            case "policy":
                await self.ask("configure_auto_recharge", ledger_id, self.random.choice(POLICIES[1:]))
            case "off":
                await self.ask("disable_auto_recharge", ledger_id)
            case "resume":
                await self.ask("resume_auto_recharge", ledger_id)
            case _:
                methods = self.random.choice((("card",), ("bank", "card"), ("card", "bank")))
                await self.ask("change_payment_methods", ledger_id, *methods)

    def note(self, order: Order, answer: Any) -> None:
        """Note what a customer was told about an order."""
        if isinstance(answer, Receipt):
            order.status = "acknowledged"
            own = [event for event in answer.events if event.idempotency_key == order.key]
            if own != list(self.storage.find(order.ledger_id, [order.key]).values()) or not own:
                self.wrong(f"{order.key} was acknowledged, and is not there")
        elif (order.status == "asked" and isinstance(answer, InsufficientFundsError | ReversalExceedsUsageError)) or (
            self.is_calm and isinstance(answer, CommCreditsError)
        ):
            order.status = "refused"
        else:
            order.status = "doubtful"  # for good, while what was sent earlier may still arrive

    async def _work(self) -> None:
        for _ in range(self.random.randint(2, 6)):
            await asyncio.sleep(self.random.choice(PAUSES))
            await self.ask("settle_due")

    def charge(self, charge: Charge) -> Outcome:
        self.calls[charge.charge_id] += 1
        events = self.storage.about(charge.ledger_id, charge.charge_id)
        tried = sum(isinstance(event, ChargeTried) for event in events)
        if self.calls[charge.charge_id] > tried:
            self.wrong(f"charge {charge.charge_id} was made {self.calls[charge.charge_id]} times, and claimed {tried}")
        outcome = self.bank.charge(charge)
        self.tell(f"the bank says {outcome} to {charge.charge_id}")
        return outcome

    def _finish_later(self, charge: Charge) -> None:
        async def finish() -> None:
            await asyncio.sleep(self.random.choice((1, 60, HOUR, 50 * HOUR, 80 * HOUR)))
            self.bank.finish(charge)

        self.spawn(finish())

    def _send_webhooks(self, charge: Charge, outcome: Outcome) -> None:
        for _ in range(self.random.choice((0, 0, 1, 2))):
            self.spawn(self._send_webhook(charge, outcome))

    async def _send_webhook(self, charge: Charge, outcome: Outcome) -> None:
        """Tell of a charge, again and again until somebody listens."""
        for _ in range(WEBHOOKS_MAX):
            await asyncio.sleep(self.random.choice((0, 0.5, 60, HOUR, 20 * HOUR)))
            answer = await self.ask("record_outcome", charge.ledger_id, charge.charge_id, outcome)
            if isinstance(answer, Receipt):
                return
        self.wrong(f"nobody wants to know of {charge.charge_id}")

    # Once nothing fails any more

    async def _settle(self) -> None:
        for _ in range(ROUNDS_MAX):
            await self.all_has_happened()
            for order in self.orders:
                if order.status == "doubtful":
                    await self._insist(order, attempts=1)
            answers = await self.ask("settle_due")
            if not all(isinstance(answer, Receipt) for answer in answers.values()):
                self.wrong(f"settling failed: {answers}")
            for ledger_id in self.policies:
                for charge in self.ledger(ledger_id).pending_charges:
                    if charge.status == "unresolved":
                        outcome = self.bank.looked_up(charge.charge_id)
                        await self.ask("record_outcome", ledger_id, charge.charge_id, outcome)
            due = [due for ledger_id in self.policies if (due := self.next_due(ledger_id)) is not None]
            doubts = [order for order in self.orders if order.status == "doubtful"]
            # A charge may end at the bank, with no webhook, after it was looked up and before its tasks were counted.
            pending = any(self.ledger(ledger_id).pending_charges for ledger_id in self.policies)
            if not due and not doubts and not pending and not self._tasks:
                return
            # The clocks of the machines may be behind.
            await asyncio.sleep(max(MOST_SKEW, (min(due) - self.now).total_seconds()) if due else 1)
        self.wrong(f"not settled after {ROUNDS_MAX} rounds")

    def ledger(self, ledger_id: str) -> Ledger:
        stored = self.storage.load(ledger_id)
        assert stored is not None
        return Ledger.replay(stored.events) if stored.state is None else Ledger.restore(stored.state, stored.events)

    def next_due(self, ledger_id: str) -> Any:
        """When the ledger is due; None: never, or for no more than an expiry some time."""
        ledger = self.ledger(ledger_id)
        due = ledger.next_due
        expires = self.terms[ledger_id].funds_valid_for is not None
        return None if expires and not ledger.pending_charges and due is not None and due > self.now else due

    # The verdict

    def judge(self) -> None:
        for order in self.orders:
            if order.status not in ("acknowledged", "refused"):
                self.wrong(f"{order} has no definite answer")
        paid: list[tuple[str, Money]] = []
        for ledger_id in self.policies:
            events = list(self.storage.history(ledger_id))
            self._judge_record(ledger_id, events)
            self._judge_orders(ledger_id, events)
            self._judge_charges(events)
            added = [event for event in events if isinstance(event, FundsAdded) and event.charge_id is not None]
            paid += [(str(event.charge_id), event.amount) for event in added]
            self._judge_balance(ledger_id, events, Money.total([event.amount for event in added], "USD"))
        if sorted(paid, key=str) != sorted(self.bank.taken, key=str):
            self.wrong(
                f"the bank took {sorted(self.bank.taken, key=str)}, the ledgers were given {sorted(paid, key=str)}"
            )

    def _judge_record(self, ledger_id: str, events: list[Event]) -> None:
        if [event.version for event in events] != list(range(1, len(events) + 1)):
            self.wrong(f"{ledger_id} has the versions {[event.version for event in events]}")
            return
        try:
            replayed = Ledger.replay(events)
            replayed.check()
        except CommCreditsError as error:
            self.wrong(f"{ledger_id} does not add up: {error!r}")
        else:
            if replayed.state() != self.ledger(ledger_id).state():
                self.wrong(f"the snapshot of {ledger_id} differs from its events")

    def _judge_orders(self, ledger_id: str, events: list[Event]) -> None:
        keys = {event.version: event.idempotency_key for event in events}
        found = []
        for event in events:
            match event:
                case FundsConsumed():
                    found.append(("consume", event.description, event.amount, ""))
                case FundsAdded() if event.charge_id is None:
                    found.append(("add_funds", event.reference, event.amount, ""))
                case ChargeRequested() if event.purpose == "purchase":
                    found.append(("purchase", event.reference, event.amount, ""))
                case ConsumptionReversed():
                    found.append(("reverse_consumption", event.idempotency_key, event.amount, keys[event.consumption]))
        wanted = [
            (order.command, order.key, order.amount, order.usage)
            for order in self.orders
            if order.ledger_id == ledger_id and order.status == "acknowledged"
        ]
        if sorted(found, key=str) != sorted(wanted, key=str):
            self.wrong(f"{ledger_id} was asked for {sorted(wanted, key=str)} and has {sorted(found, key=str)}")

    def _judge_charges(self, events: list[Event]) -> None:
        terms = next(iter(self.terms.values()))
        tried: dict[str, list[Any]] = {}
        for event in events:
            said = self.bank.latest.get(getattr(event, "charge_id", None) or "")
            match event:
                case ChargeTried():
                    tried.setdefault(event.charge_id, []).append(event.at)
                case ChargeDeclined() if not isinstance(said, Declined) and event.reason != "never arrived":
                    self.wrong(f"{event.charge_id} is said to be declined; the bank says {said}")
                case ChargePaid() if said is None or getattr(said, "reference", None) != event.reference:
                    self.wrong(f"{event.charge_id} is said to be paid as {event.reference}; the bank says {said}")
                case ChargeWithdrawn() if self.calls[event.charge_id]:
                    self.wrong(f"{event.charge_id} was made and withdrawn")
        for charge_id, times in tried.items():
            if any(later - earlier < terms.unknown_delay for earlier, later in pairwise(times)):
                self.wrong(f"{charge_id} was made again too early: {times}")
            if times[-1] - times[0] >= KEY_VALID_FOR:
                self.wrong(f"{charge_id} was made again after its key's time")

    def _judge_balance(self, ledger_id: str, events: list[Event], paid: Money) -> None:
        sums = dict.fromkeys(("add_funds", "consume", "reverse_consumption", "purchase"), NOTHING)
        for order in self.orders:
            if order.ledger_id == ledger_id and order.status == "acknowledged":
                sums[order.command] += order.amount
        expired = Money.total([event.amount for event in events if isinstance(event, FundsExpired)], "USD")
        expected = sums["add_funds"] + paid + sums["reverse_consumption"] - sums["consume"] - expired
        balance = self.ledger(ledger_id).balance
        if balance != expected:
            self.wrong(f"the balance of {ledger_id} is {balance}, and should be {expected}")


def lived(seed: int, kind: Callable[[int], Simulation] = Simulation) -> Simulation:
    """The life of a seed, at its end."""
    simulation = kind(seed)
    with closing(simulation):
        simulation.run(simulation.live)
    return simulation


if __name__ == "__main__":
    life = lived(int(sys.argv[1]))
    print(*life.story, sep="\n")  # noqa: T201  # a story is to be read
    sys.exit(bool(life.wrongs))
