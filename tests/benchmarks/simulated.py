"""What simulations and statements are measured against: the same balances and sums, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import Ratios, paired, statement
from samples import OPENED_AT

from commcredits import Event, Ledger, Money, RechargePolicy, Statement, Terms
from commcredits.simulation import simulate, simulate_many

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from commcredits.simulation import Trajectories

PATHS, DAYS = 10_000, 730
USAGES = 5_000
EVENTS = 100_000

TERMS = Terms("USD", overdraft_limit=None)  # funds last twelve calendar months
POLICY = RechargePolicy(Money(50, "USD"), Money(100, "USD"))
OPENING, THRESHOLD, AMOUNT = 100 * 10**9, 50 * 10**9, 100 * 10**9
DAY = timedelta(days=1)


@cache
def demand() -> NDArray[np.int64]:
    """What usage costs on each path and day: ten dollars on average."""
    return (np.random.default_rng(1).gamma(2, 5, (PATHS, DAYS)) * 10**9).astype(np.int64)


def many() -> Trajectories:
    """All paths, recharged a day after the balance fell below the threshold."""
    opening = Money(100, "USD")
    return simulate_many(demand(), [POLICY], PATHS, DAYS, terms=TERMS, opening=opening, charge_delay=DAY)


def bare_balances() -> NDArray[np.int64]:
    """The lowest balances where a recharge comes at once and nothing expires; no other figure."""
    balance = np.full(PATHS, OPENING)
    lowest = balance.copy()
    for costs in np.ascontiguousarray(demand().T):
        balance -= costs
        np.minimum(lowest, balance, out=lowest)
        balance[balance < THRESHOLD] += AMOUNT
    return lowest


def balances_without_lots() -> dict[str, Any]:
    """The same figures as of `many`, where nothing expires, and recharges come a day late too."""
    balance = np.full(PATHS, OPENING)
    lowest = balance.copy()
    due = np.zeros(PATHS, bool)
    recharges, without, idle = (np.zeros(PATHS, np.int64) for _ in range(3))
    for costs in np.ascontiguousarray(demand().T):
        recharges += due
        balance[due] += AMOUNT
        balance -= costs
        np.minimum(lowest, balance, out=lowest)
        due = balance < THRESHOLD
        without += balance <= 0
        idle += np.maximum(balance, 0)
    return {
        "recharges": recharges + due,
        "lowest_balance": lowest,
        "time_without_credit": without,
        "idle_average": idle,
    }


def check_without_lots() -> None:
    """Raise unless both sides come to the same, as they must where all is used up before it expires."""
    ours, bare = many(), balances_without_lots()
    bare["time_without_credit"] *= DAY // timedelta(microseconds=1)
    bare["idle_average"] = np.rint(bare["idle_average"] / DAYS).astype(np.int64)
    for name, found in bare.items():
        if not np.array_equal(getattr(ours, name)[0], found):
            raise AssertionError(name)


def beside_bare_balances() -> Ratios:
    """`simulate_many` and a bare running balance."""
    return paired(statement("f()", f=many), statement("f()", f=bare_balances), pairs=15)


def beside_balances_without_lots() -> Ratios:
    """`simulate_many` and all of its figures without lots."""
    check_without_lots()
    return paired(statement("f()", f=many), statement("f()", f=balances_without_lots), pairs=15)


@cache
def usage() -> list[tuple[datetime, Money]]:
    """Usage of five cents every ten minutes."""
    cost = Money("0.05", "USD")
    return [(OPENED_AT + number * timedelta(minutes=10), cost) for number in range(USAGES)]


def simulated() -> object:
    """All of it under a policy that recharges once or twice."""
    return simulate(usage(), POLICY, terms=Terms("USD"), opening=Money(100, "USD"))


def consumed() -> object:
    """The same on a ledger that has enough to begin with."""
    ledger = Ledger.open("benchmark", Terms("USD"), at=OPENED_AT)
    ledger.add_funds(Money(1000, "USD"), at=OPENED_AT)
    ledger.configure_auto_recharge(POLICY, at=OPENED_AT)
    for at, cost in usage():
        ledger.consume(cost, at=at)
    return ledger


def beside_ledger() -> Ratios:
    """`simulate` and the same usage on a bare ledger."""
    return paired(statement("f()", f=simulated), statement("f()", f=consumed))


@cache
def history() -> list[Event]:
    """Usage and what it is paid from."""
    ledger = Ledger.open("benchmark", Terms("USD"), at=OPENED_AT)
    events: list[Event] = [ledger.opened, *ledger.add_funds(Money(10**6, "USD"), at=OPENED_AT)]
    cost = Money("0.03", "USD")
    for number in range(EVENTS - 2):
        events += ledger.consume(cost, at=OPENED_AT + timedelta(seconds=number), kind="call")
    return events


def stated() -> object:
    """The statement of all of it."""
    return Statement.of(history(), OPENED_AT, OPENED_AT + timedelta(days=99))


def summed() -> dict[type, Money]:
    """What the amounts of each kind of event come to."""
    sums: dict[type, Money] = {}
    zero = Money.zero("USD")
    for event in history():
        amount = getattr(event, "amount", None)
        if amount is not None:
            kind = type(event)
            sums[kind] = sums.get(kind, zero) + amount
    return sums


def beside_sums() -> Ratios:
    """A statement and one pass that only sums."""
    return paired(statement("f()", f=stated), statement("f()", f=summed))
