"""Eight processes write at once while somebody follows the feed, and the server goes down in the middle.

Sums are exact, nothing is lost, nothing is there twice, nobody waits for ever, and whoever follows the feed sees every
event once.
"""

from __future__ import annotations

import json
import re
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import attrs
import psycopg
import pytest
import writer
from bank_on_file import BankOnFile
from writer import POLICY, TERMS, Job, Writer, costs, keys, loaded, storage_at

from commcredits import Event, FundsAdded, FundsConsumed, Ledger, LedgerService, Money
from commcredits.service import utc_now
from commcredits.storages.postgres import PostgresStorage
from postgres_server import PostgresServer

EXPECTED_FAILURES = {"VersionConflictError"}  # a writer found others too quick twenty times in a row, and asked again
LATER = timedelta(minutes=10)  # by then, what nobody knows of is due again


class Follower:
    """Reads on in the feed from where it was, some events at a time."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.position: Any = None
        self.seen: dict[str, list[Event]] = {}
        self.random = Random(0)  # noqa: S311  # only to read pages of all sizes

    def read(self) -> bool:
        """Whether there was anything to read."""
        try:
            page = self.storage.feed(self.position, self.random.choice((1, 10, 200)))
        except psycopg.OperationalError:  # the server is down
            return False
        for position, event in page:
            assert self.position is None or position > self.position
            self.position = position
            self.seen.setdefault(position.ledger_id, []).append(event)
        return bool(page)

    def judge(self, ledger_ids: list[str]) -> None:
        while self.read():
            pass
        assert self.seen == {ledger_id: list(self.storage.history(ledger_id)) for ledger_id in ledger_ids}


class Crowd:
    """Writers at work, each a process."""

    def __init__(self, jobs: list[Job]) -> None:
        self.jobs = jobs
        self.bank = BankOnFile(Path(jobs[0].bank))
        self.acknowledged: dict[str, set[int]] = {job.name: set() for job in jobs}
        self.failures: list[Counter[str]] = []  # of each writer
        self.ledgers = list(dict.fromkeys(ledger_id for job in jobs for ledger_id in (*job.ledgers, job.name)))

    def open(self, storage: Any) -> None:
        storage.create_tables()
        service = LedgerService(storage, self.bank)
        for ledger_id in self.ledgers:
            service.open(ledger_id, TERMS)
            service.configure_auto_recharge(ledger_id, POLICY)

    def work(self, follower: Follower, at_half: Callable[[], None]) -> None:
        """Let all work to their end, of which none comes near before something has happened when half is done."""
        left = sum(job.end or 0 for job in self.jobs) // 2
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            processes = [stack.enter_context(started(job)) for job in self.jobs]
            for job, process in zip(self.jobs, processes, strict=True):
                selector.register(process.stdout, selectors.EVENT_READ, (job, process))  # type: ignore[arg-type]
            while selector.get_map():
                for key, _ in selector.select(timeout=0 if follower.read() else 0.05):
                    job, process = key.data
                    line = process.stdout.readline()
                    if not line:
                        selector.unregister(process.stdout)
                        assert process.wait() == 0
                    elif line.startswith(b"{"):
                        self.failures.append(Counter(json.loads(line)))
                    else:
                        self.acknowledged[job.name].add(int(line))
                        left -= 1
                        if left == 0:
                            at_half()
                            for one in processes:
                                one.stdin.close()  # type: ignore[union-attr]

    def judge(self, storage: Any) -> None:
        service = LedgerService(storage, self.bank, clock=lambda: utc_now() + LATER)
        while answers := service.settle_due():
            assert not [answer for answer in answers.values() if isinstance(answer, Exception)]
        assert self.acknowledged == {job.name: set(range(job.end or 0)) for job in self.jobs}
        events = {ledger_id: list(storage.history(ledger_id)) for ledger_id in self.ledgers}
        flat = [event for history in events.values() for event in history]
        usages = {event.idempotency_key: event.amount for event in flat if isinstance(event, FundsConsumed)}
        wanted = {
            key: cost
            for job in self.jobs
            for number in range(job.end or 0)
            for key, cost in zip(keys(job.name, number), costs(number), strict=False)
        }
        assert usages == wanted
        assert max(Counter(event.idempotency_key for event in flat if event.idempotency_key).values()) == 1
        added = [event for event in flat if isinstance(event, FundsAdded)]
        assert Counter(event.charge_id for event in added) == Counter(self.bank.taken.keys())
        assert {event.charge_id: event.amount for event in added} == self.bank.taken
        for ledger_id, history in events.items():
            ledger = Ledger.replay(history)
            ledger.check()
            assert ledger.pending_charges == ()
            assert ledger.state() == loaded(storage, ledger_id).state()
        left = Money.total([loaded(storage, ledger_id).balance for ledger_id in self.ledgers], "USD")
        assert left == Money.total(self.bank.taken.values(), "USD") - Money.total(wanted.values(), "USD")


def started(job: Job) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", writer.__file__, json.dumps(attrs.asdict(job))]
    return subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def jobs(address: str, folder: Path, *, writers: int, ledgers: int, each: int, in_transactions: bool) -> list[Job]:
    names = [f"ledger {number}" for number in range(ledgers)]
    bank = str(folder / "bank.db")
    waits_at = each - 5 if writers > 1 else None  # the first after one in a transaction, which is open then
    return [
        Job(f"writer {number}", address, bank, names, end=each, waits_at=waits_at, in_transactions=in_transactions)
        for number in range(writers)
    ]


def nothing() -> None:
    pass


# Faults of ours, planted


def use_twice(crowd: Crowd, storage: Any) -> None:
    """Usage is recorded under another key."""
    LedgerService(storage, crowd.bank).consume("ledger 0", costs(0)[0], idempotency_key="again")


def miscount(crowd: Crowd, storage: Any) -> None:
    """A writer did not come to its end."""
    crowd.acknowledged["writer 0"].remove(5)


def take_without_giving(crowd: Crowd, storage: Any) -> None:
    """The bank took money that no ledger was given."""
    crowd.bank.take("ledger 0:0", Money(50, "USD"))


@pytest.mark.parametrize("planted", [use_twice, miscount, take_without_giving], ids=lambda planted: planted.__name__)
def test_the_verdict_on_a_crowd_sees(planted: Callable[[Crowd, Any], None], tmp_path: Path) -> None:
    address = str(tmp_path / "ledgers.db")
    crowd = Crowd(jobs(address, tmp_path, writers=1, ledgers=1, each=18, in_transactions=True))
    with storage_at(address) as storage:
        crowd.open(storage)
        one = Writer(crowd.jobs[0], storage)
        one.write()
        one.bank.close()
        crowd.acknowledged["writer 0"] |= one.done
        crowd.judge(storage)
        planted(crowd, storage)
        with pytest.raises(AssertionError):
            crowd.judge(storage)
    crowd.bank.close()


def test_a_follower_sees_that_a_feed_skips_what_is_committed_late(postgres_dsn: str, tmp_path: Path) -> None:
    with storage_at(postgres_dsn) as storage, psycopg.connect(postgres_dsn, autocommit=True) as connection:
        crowd = Crowd(jobs(postgres_dsn, tmp_path, writers=1, ledgers=1, each=0, in_transactions=False))
        crowd.open(storage)
        # A feed that does not wait for transactions under way.
        connection.execute(
            "CREATE OR REPLACE FUNCTION commcredits_horizon() RETURNS bigint LANGUAGE sql STABLE"
            " AS 'SELECT 9223372036854775807'"
        )
        follower = Follower(storage)
        with connection.transaction():
            LedgerService(PostgresStorage(connection), crowd.bank).consume("ledger 0", costs(0)[0])
            LedgerService(storage, crowd.bank).consume("writer 0", costs(0)[0])
            while follower.read():
                pass
        with pytest.raises(AssertionError):
            follower.judge(crowd.ledgers)
        crowd.bank.close()


# Crowds


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may go down without harm to other tests.

    It does not wait for the disk, and need not: what it gave to the machine's cache outlives it, if not the machine.
    """
    with PostgresServer() as server:
        yield server


def prove(address: str, folder: Path, at_half: Callable[[], None] = nothing, **sizes: Any) -> Crowd:
    crowd = Crowd(jobs(address, folder, **sizes))
    with storage_at(address) as storage:
        crowd.open(storage)
        follower = Follower(storage)
        crowd.work(follower, at_half)
    with storage_at(address) as storage:
        crowd.judge(storage)
        follower.storage = storage
        follower.judge(crowd.ledgers)
    crowd.bank.close()
    return crowd


def prove_with_restart(server: PostgresServer, folder: Path, **sizes: Any) -> None:
    crowd = prove(server.dsn(), folder, lambda: server.restart("immediate"), in_transactions=True, **sizes)
    for failures in crowd.failures:
        for name in EXPECTED_FAILURES:
            del failures[name]
        # Its connection broke; and whatever a database may say of that, it was not that somebody waited in a circle.
        assert failures
        assert not re.search("Deadlock|Serialization", " ".join(failures))
    assert "deadlock" not in (server.folder / "log").read_text(encoding="utf-8")


def test_many_writers_and_a_follower_outlive_a_server_that_crashes(own_server: PostgresServer, tmp_path: Path) -> None:
    prove_with_restart(own_server, tmp_path, writers=3, ledgers=2, each=18)


@pytest.mark.fire
@pytest.mark.parametrize("ledgers", [1, 50])
def test_so_it_is_with_eight_of_them(own_server: PostgresServer, tmp_path: Path, ledgers: int) -> None:
    prove_with_restart(own_server, tmp_path, writers=8, ledgers=ledgers, each=150)


def test_writers_who_share_a_file_lose_nothing(tmp_path: Path) -> None:
    crowd = prove(str(tmp_path / "ledgers.db"), tmp_path, writers=3, ledgers=2, each=18, in_transactions=True)
    assert all(failures.keys() <= EXPECTED_FAILURES for failures in crowd.failures)


@pytest.mark.fire
def test_so_it_is_with_eight_who_share_a_file(tmp_path: Path) -> None:
    crowd = prove(str(tmp_path / "ledgers.db"), tmp_path, writers=8, ledgers=3, each=60, in_transactions=True)
    assert all(failures.keys() <= EXPECTED_FAILURES for failures in crowd.failures)
