"""A process that writes to ledgers, and says which of its commands were acknowledged; started and killed by tests.

Its commands are numbered, and each number stands for the same command in every process: whoever reads the ledgers can
tell what must be there. Its first argument is a `Job` in JSON.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import psycopg
import psycopg_pool
from bank_on_file import BankOnFile

from commcredits import (
    CommCreditsError,
    Ledger,
    LedgerService,
    Money,
    RechargePolicy,
    Terms,
    Usage,
    VersionConflictError,
)
from commcredits.service import utc_now
from commcredits.storages.postgres import PostgresStorage
from commcredits.storages.sqlite import SQLiteStorage

T0 = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = RechargePolicy(Money(20, "USD"), Money(50, "USD"))
TERMS = Terms("USD", overdraft_limit=None, expiry_notices=())
SNAPSHOT_EVERY = 20


@attrs.frozen
class Job:
    """What a writer is to do.

    Attributes:
        name: the writer's; its keys begin with it.
        database: the address of a PostgreSQL, or the path of an SQLite file.
        bank: the file of the payment provider.
        ledgers: shared with other writers, who take turns with them.
        first, end: the numbers of the commands, `end` left out; no end: until killed.
        waits_at: before this command it waits for the end of its standard input.
        minutes: where its clock begins, from `T0`; None: it is the machine's.
        dies: see `BankOnFile`.
        in_transactions: every sixth command is part of a transaction of the writer's own, on its own ledger, which is
            its name; it is committed after the next five.
    """

    name: str
    database: str
    bank: str
    ledgers: list[str]
    first: int = 0
    end: int | None = None
    waits_at: int | None = None
    minutes: float | None = None
    dies: str = ""
    in_transactions: bool = False

    def ledger_of(self, number: int) -> str:
        return self.ledgers[number % len(self.ledgers)]


def costs(number: int) -> list[Money]:
    """What the usage of a command costs; no two sums are alike, so that nothing lost makes up for something doubled."""
    if number % 10 == 7:
        return []
    return [
        Money(f"{1 + number % 3}.{number:09}", "USD") * (1 + place) for place in range(3 if number % 10 == 3 else 1)
    ]


def keys(name: str, number: int) -> list[str]:
    """The idempotency keys of a command; each of them is on one event."""
    return [f"{name} {number} {place}" for place in range(max(1, len(costs(number))))]


def carry_out(service: LedgerService, ledger_id: str, name: str, number: int) -> None:
    """Give one command: usage, several usages at once, usage under a hold, or a purchase."""
    amounts, key = costs(number), keys(name, number)
    match number % 10:
        case 3:
            service.consume_many(
                ledger_id, [Usage(amount, idempotency_key=one) for amount, one in zip(amounts, key, strict=True)]
            )
        case 7:
            service.purchase(ledger_id, Money(20, "USD"), reference=key[0], idempotency_key=key[0])
        case _:
            service.consume(ledger_id, amounts[0], idempotency_key=key[0])


def is_sqlite(database: str) -> bool:
    return "://" not in database


def connected_to_sqlite(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    # Processes die here, and the machine does not: what the system was given outlives them, on the disk or not yet.
    connection.execute("PRAGMA synchronous=OFF")
    return connection


@contextmanager
def storage_at(database: str, *, name: str = "") -> Iterator[Any]:
    """The storage as an application of that name would have it; a pool replaces the connections that break."""
    if is_sqlite(database):
        with closing(connected_to_sqlite(database)) as connection:
            yield SQLiteStorage(connection, snapshot_every=SNAPSHOT_EVERY)
    else:
        options = {"min_size": 1, "max_size": 2, "kwargs": {"autocommit": True, "application_name": name}}
        with psycopg_pool.ConnectionPool(database, open=True, **options) as pool:
            yield PostgresStorage(pool, snapshot_every=SNAPSHOT_EVERY)


def loaded(storage: Any, ledger_id: str) -> Ledger:
    """The ledger, from its snapshot if there is one."""
    stored = storage.load(ledger_id)
    return Ledger.replay(stored.events) if stored.state is None else Ledger.restore(stored.state, stored.events)


class Writer:
    def __init__(self, job: Job, storage: Any) -> None:
        self.job = job
        self.storage = storage
        self.bank = BankOnFile(Path(job.bank), dies=job.dies)
        self.clock: Callable[[], datetime] = utc_now if job.minutes is None else self.tick
        self.now = T0 + timedelta(minutes=job.minutes or 0)
        self.service = self.service_on(storage)
        self.done: set[int] = set()
        self.failures: dict[str, int] = {}

    def tick(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def service_on(self, storage: Any) -> LedgerService:
        return LedgerService(storage, self.bank, clock=self.clock)

    def write(self) -> None:
        """Settle what is left of a life before, then give all commands."""
        while self.service.settle_due():
            pass
        number = self.job.first
        while self.job.end is None or number < self.job.end:
            if self.job.in_transactions and number % 6 == 0:
                self.give_in_transaction(number)
            if number not in self.done:
                self.insist(number)
            number += 1

    def insist(self, number: int) -> None:
        """Give a command until it is acknowledged, under the same keys."""
        if number == self.job.waits_at:
            sys.stdin.read()
        own = self.job.in_transactions and number % 6 == 0
        while number not in self.done:
            try:
                carry_out(self.service, self.job.name if own else self.job.ledger_of(number), self.job.name, number)
            except (psycopg.OperationalError, VersionConflictError) as error:
                self.note(error)
            else:
                self.acknowledge(number)

    def give_in_transaction(self, number: int) -> None:
        """Give a command in a transaction of ours, and meanwhile the next five, which are then committed before it."""
        meanwhile = range(number + 1, min(number + 6, self.job.end or number + 6))
        try:
            with self.transaction() as service:
                carry_out(service, self.job.name, self.job.name, number)
                if not is_sqlite(self.job.database):  # where nobody else writes meanwhile
                    for other in meanwhile:
                        self.insist(other)
        except psycopg.OperationalError as error:
            self.note(error)
        else:
            self.acknowledge(number)

    @contextmanager
    def transaction(self) -> Iterator[LedgerService]:
        if is_sqlite(self.job.database):
            connection = self.storage._connection  # noqa: SLF001  # it is ours: we made it
            connection.execute("BEGIN IMMEDIATE")
            yield self.service
            connection.execute("COMMIT")
        else:
            with self.storage._source.connection() as connection, connection.transaction():  # noqa: SLF001
                yield self.service_on(PostgresStorage(connection, snapshot_every=SNAPSHOT_EVERY))

    def note(self, error: psycopg.Error | CommCreditsError) -> None:
        self.failures[type(error).__name__] = self.failures.get(type(error).__name__, 0) + 1

    def acknowledge(self, number: int) -> None:
        self.done.add(number)
        os.write(1, b"%d\n" % number)


if __name__ == "__main__":
    job = Job(**json.loads(sys.argv[1]))
    with storage_at(job.database, name=job.name) as storage:
        writer = Writer(job, storage)
        writer.write()
        writer.bank.close()
        os.write(1, json.dumps(writer.failures).encode() + b"\n")
