"""What is measured of work that is shared out: on two workers of a cluster beside one of them, on this machine.

A time is the CPU time of the busiest worker and of this process, which hands out and collects: how long it would take
if each of them had a processor to itself, whatever else the machine does.
"""

from __future__ import annotations

import json
import logging
import tempfile
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import process_time_ns
from typing import TYPE_CHECKING

from distributed import Client, LocalCluster
from measuring import Ratios
from samples import COST, OPENED_AT, PLENTY

from commcredits import Ledger, Terms
from commcredits.codec import event_from_json, event_to_text
from commcredits.simulation import replay_many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from commcredits import Event

LEDGERS = 64
EVENTS = 500
"""Of each ledger."""

PAIRS = 9


def replay() -> Ratios:
    """The replay of many ledgers from files, on two workers and on one."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        write(folder)
        both = client.get_executor(pure=False)
        one = client.get_executor(pure=False, workers=[min(client.scheduler_info()["workers"])])
        for executor in (both, one):
            replayed(client, executor, folder)  # so that the workers have imported what they need
        ratios = []
        for pair in range(PAIRS):
            first, second = (both, one) if pair % 2 else (one, both)
            times = {executor: replayed(client, executor, folder) for executor in (first, second)}
            ratios.append(times[both] / times[one])
    return Ratios.of(ratios)


def write(folder: str) -> None:
    """The same history for each ledger, a line for each event."""
    ledger = Ledger.open("benchmark", Terms("USD"), at=OPENED_AT)
    events: list[Event] = [ledger.opened, *ledger.add_funds(PLENTY, at=OPENED_AT)]
    while len(events) < EVENTS:
        events += ledger.consume(COST, at=OPENED_AT + timedelta(seconds=len(events)))
    text = "\n".join(event_to_text(event) for event in events)
    for number in range(LEDGERS):
        (Path(folder) / str(number)).write_text(text, encoding="utf-8")


def load(folder: str, ledger_id: str) -> Iterator[Event]:
    """The history of a ledger."""
    with (Path(folder) / ledger_id).open(encoding="utf-8") as lines:
        yield from (event_from_json(json.loads(line)) for line in lines)


def replayed(client: Client, executor: Executor, folder: str) -> int:
    """How many nanoseconds the replay took."""
    before, here = client.run(process_time_ns), process_time_ns()
    replay_many(map(str, range(LEDGERS)), partial(load, folder), executor=executor)
    here, after = process_time_ns() - here, client.run(process_time_ns)
    return here + max(after[worker] - before[worker] for worker in after)
