"""What is measured: the same work done by commcredits and by its peers.

A sample does the work a number of times, and answers the nanoseconds that it took; what it needs is made before the
clock starts.
"""

from __future__ import annotations

import sys
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from time import process_time_ns
from typing import TYPE_CHECKING

from floor import FloorLedger, FloorLot
from measuring import statement
from moneyed import Money as PyMoneyed
from peers import Balance
from stockholm import Money as Stockholm

from commcredits import FundsConsumed, InMemoryStorage, Ledger, LedgerService, Money, Paid, RechargePolicy, Terms, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from measuring import Sample
    from peers import Balances

    from commcredits import Charge, Event, Outcome

    Usages: TypeAlias = Iterable[tuple[datetime, str]]

COST = Money("0.05", "USD")
POLICY = RechargePolicy(Money(1, "USD"), Money(10, "USD"))
PLENTY = Money(10**9, "USD")
OPENED_AT = datetime(2025, 1, 1, tzinfo=UTC)
USAGE_FROM = OPENED_AT + timedelta(days=1)
LOTS = 12
MANY_LOTS = 1000
FEW_EVENTS, MANY_EVENTS = 100, 1_000_000
HISTORY = 100_000

# --- Money


def money_samples(expression: str) -> tuple[Sample, Sample, Sample]:
    """An expression of `a` (10.50), `b` (3.25) and `c` (10.50): our Money's, py-moneyed's, stockholm's."""
    texts = {"a": "10.50", "b": "3.25", "c": "10.50"}
    return (
        statement(expression, **{name: Money(text, "USD") for name, text in texts.items()}),
        statement(expression, **{name: PyMoneyed(text, "USD") for name, text in texts.items()}),
        statement(expression, **{name: Stockholm(text, currency="USD") for name, text in texts.items()}),
    )


def construction_samples() -> tuple[Sample, Sample, Sample]:
    """An amount from text: our Money, py-moneyed's, stockholm's."""
    return (
        statement('Money("10.50", "USD")', Money=Money),
        statement('Money("10.50", "USD")', Money=PyMoneyed),
        statement('Money("10.50", currency="USD")', Money=Stockholm),
    )


# --- the ledger


@cache
def usages(count: int) -> list[tuple[datetime, str]]:
    """When, and under which key, so many usages happen."""
    return [(USAGE_FROM + timedelta(milliseconds=number), f"call-{number}") for number in range(count)]


def ledger_of(lots: int, usages_per_lot: int) -> Ledger:
    """A ledger with a threshold policy, and lots that are used up in the middle of a usage."""
    ledger = Ledger.open("benchmark", Terms("USD"), at=OPENED_AT)
    for number in range(lots):
        amount = COST * usages_per_lot + Money("0.02", "USD")
        ledger.add_funds(amount, at=OPENED_AT + timedelta(seconds=number))
    ledger.configure_auto_recharge(POLICY, at=OPENED_AT + timedelta(seconds=lots))
    return ledger


def ledger_for(count: int) -> Ledger:
    """A ledger of twelve lots that so many usages use up, all but a little more than the threshold."""
    return ledger_of(LOTS, count // LOTS + 5)


def floor_like(ledger: Ledger) -> FloorLedger:
    """The same lots and threshold, in the ledger's own units; its lots all expire."""
    lots = [
        FloorLot(lot.lot_id, lot.expires_at, lot.remaining._billionths)
        for lot in ledger.lots
        if lot.expires_at is not None
    ]
    return FloorLedger(lots, POLICY.threshold.amount._billionths)


def consumed(ledger: Ledger, wanted: Usages) -> tuple[int, list[Event]]:
    """The time that it takes, and the events, which are kept as the floor keeps its records."""
    events: list[Event] = []
    consume = ledger.consume
    start = process_time_ns()
    for at, key in wanted:
        events += consume(COST, at=at, idempotency_key=key)
    return process_time_ns() - start, events


def consumed_as_integers(consume: Callable[[int, datetime, str], object], wanted: Usages) -> int:
    """The time that it takes where an amount is an integer."""
    cost = COST._billionths
    start = process_time_ns()
    for at, key in wanted:
        consume(cost, at, key)
    return process_time_ns() - start


def by_ledger(times: int) -> int:
    """Consume from twelve lots."""
    return consumed(ledger_for(times), usages(times))[0]


def by_floor(times: int) -> int:
    """The same on the floor."""
    return consumed_as_integers(floor_like(ledger_for(times)).consume, usages(times))


def by_aggregate(times: int) -> int:
    """Take off an aggregate of the eventsourcing library, which keeps its new events."""
    return consumed_as_integers(Balance(PLENTY._billionths).consume, usages(times))


def check_floor() -> None:
    """Refuse to compare with a floor that records something else than the ledger does."""
    wanted = usages(1000)
    ledger = ledger_for(len(wanted))
    floor = floor_like(ledger)
    _, events = consumed(ledger, wanted)
    consumed_as_integers(floor.consume, wanted)
    ours = [
        (event.at, event.amount._billionths, [(lot_id, money._billionths) for lot_id, money in event.draws])
        for event in events
        if isinstance(event, FundsConsumed)
    ]
    if ours != [(at, amount, list(draws)) for _, at, amount, draws, _, _ in floor.records]:
        sys.exit("The floor does not record what the ledger records, so nothing can be compared with it.")


def on_copies_of(ledger: Ledger) -> Sample:
    """Consume on a ledger as it is now, again and again."""

    def run(times: int) -> int:
        fresh = copy(ledger)
        first, *rest = usages(times + 1)
        consumed(fresh, [first])  # what only a copy has to find out is not the matter here
        return consumed(fresh, rest)[0]

    return run


def with_lots(lots: int, usages_per_lot: int) -> Sample:
    """Consume from so many live lots."""
    return on_copies_of(ledger_of(lots, usages_per_lot))


def with_events(count: int) -> Sample:
    """Consume after so many events were really recorded, from twelve live lots."""
    ledger = ledger_of(LOTS, MANY_EVENTS)
    while ledger.version < count:
        ledger.consume(COST, at=USAGE_FROM, idempotency_key="call")
    return on_copies_of(ledger)


# --- the service


class PaysAtOnce:
    """A payment method; none of the benchmarks comes to it."""

    def charge(self, charge: Charge) -> Outcome:
        """See `PaymentMethod`."""
        return Paid()


@cache
def by_service() -> Sample:
    """Consume through a service on a storage in memory, with a long history."""
    now = OPENED_AT
    service = LedgerService(InMemoryStorage(), PaysAtOnce(), clock=lambda: now)
    service.open("benchmark", Terms("USD"))
    for number in range(LOTS):
        service.add_funds("benchmark", PLENTY, reference=f"payment {number}")
    service.configure_auto_recharge("benchmark", POLICY)
    for first in range(0, HISTORY, 1000):
        old = [Usage(COST, idempotency_key=f"old-{number}") for number in range(first, first + 1000)]
        service.consume_many("benchmark", old)
    made = 0

    def run(times: int) -> int:
        nonlocal now, made
        now += timedelta(seconds=1)
        keys = [f"new-{number}" for number in range(made, made + times)]
        made += times
        consume = service.consume
        start = process_time_ns()
        for key in keys:
            consume("benchmark", COST, idempotency_key=key)
        return process_time_ns() - start

    return run


def by_application(kind: type[Balances], **settings: str) -> Sample:
    """The same through an application of the eventsourcing library; `settings` are its environment variables."""
    application = kind(env=settings)
    old = [(COST._billionths, OPENED_AT, f"old-{number}") for number in range(HISTORY)]
    consume = partial(application.consume, application.open(PLENTY._billionths, old))
    made = 0

    def run(times: int) -> int:
        nonlocal made
        wanted = [(USAGE_FROM, f"new-{number}") for number in range(made, made + times)]
        made += times
        return consumed_as_integers(consume, wanted)

    return run
