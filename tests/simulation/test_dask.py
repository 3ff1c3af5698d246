"""Work shared out on a real cluster: two processes of this machine, of which one is killed in the middle."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from build import T0, day, usd
from commcredits import Event, Ledger, RechargePolicy, Terms
from commcredits.simulation import Demand, replay_many, simulate_many

IDS = [f"ledger {number}" for number in range(300)]
DEMAND = Demand("USD", "UTC", ((0.3,) * 24,) * 7, 1.5, 0.2, tuple(range(10**8, 10**10, 10**8)), 28)
SECONDS_MOST = 120


def load(ledger_id: str) -> list[Event]:
    """Ledger number n was given n + 1 dollars, of which it used a cent on each of twenty days."""
    account = Ledger.open(ledger_id, Terms("USD"), at=T0)
    events = [account.opened, *account.add_funds(usd(int(ledger_id.split()[1]) + 1), at=T0)]
    for number in range(20):
        events += account.consume(usd("0.01"), at=day(number))
    return events


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    # It is to talk to this machine alone, to serve no pages, and to keep to itself that a worker died.
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "30s"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
    assert not multiprocessing.active_children()


class Killer:
    """Kills a worker as soon as a part of the work is done, and remembers how much."""

    def __init__(self, client: Client) -> None:
        self.victim = min(client.run(os.getpid).values())
        self.killed_at: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        if not self.killed_at:
            self.killed_at.append((done, total))
            os.kill(self.victim, signal.SIGKILL)


def in_time(work: Callable[[], Any]) -> Any:
    """What the work comes to; a cluster that hangs fails the test instead of stopping all others."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(SECONDS_MOST)
    assert results, f"failed, or not done in {SECONDS_MOST} seconds"
    return results[0]


def replays(**how: Any) -> Any:
    return replay_many(IDS, load, **how)


def simulations(**how: Any) -> Any:
    policies = [RechargePolicy(usd(30), usd(80)), None]
    terms = Terms("USD", overdraft_limit=None)
    return simulate_many(
        DEMAND, policies, 200, 30, terms=terms, opening=usd(50), charge_delay=timedelta(hours=5), keep_balances=3, **how
    )


def plain(many: Any) -> Any:
    """Something that compares by value."""
    if isinstance(many, dict):
        return many
    names = ("lowest_balance", "time_without_credit", "recharges", "forfeited", "idle_average", "balances")
    return str(many), [getattr(many, name).tolist() for name in names]


@pytest.mark.parametrize("work", [replays, simulations])
def test_a_worker_that_is_killed_in_the_middle_changes_nothing(client: Client, work: Callable[..., Any]) -> None:
    client.wait_for_workers(2, timeout=SECONDS_MOST)
    killer = Killer(client)
    spread_out = in_time(lambda: work(executor=client.get_executor(pure=False), progress=killer))
    ((done, total),) = killer.killed_at
    assert 0 < done < total
    assert plain(spread_out) == plain(work())
