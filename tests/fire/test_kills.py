"""A writer is killed again and again: what it was told is there, once, and what it was charging is charged once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import psycopg
import pytest
import writer
from bank_on_file import BankOnFile
from writer import POLICY, T0, TERMS, Job, carry_out, costs, is_sqlite, keys, loaded, storage_at

from commcredits import Event, FundsAdded, FundsConsumed, Ledger, LedgerService, Money

SHORT = 4
LONG = 100
MINUTES = 10  # between a death and the next life: what nobody knows of is then due again
LEDGERS = ("acme", "globex")
DATABASES = ("sqlite", "postgres")


@pytest.fixture(params=DATABASES)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a database may be."""
    if request.param == "sqlite":
        return str(tmp_path / "ledgers.db")
    dsn: str = request.getfixturevalue("postgres_dsn")
    return dsn


class Witness:
    """Who reads the ledgers after each death, and knows what the writers were told."""

    def __init__(self, address: str, storage: Any, folder: Path) -> None:
        self.address = address
        self.storage = storage
        self.bank = BankOnFile(folder / "bank.db")
        self.job = Job("writer", address, str(folder / "bank.db"), list(LEDGERS))
        self.acknowledged = 0  # how many commands, from the first on
        self.deaths = 0
        self.seen: dict[str, list[Event]] = {ledger_id: [] for ledger_id in LEDGERS}

    def open(self) -> None:
        self.storage.create_tables()
        service = LedgerService(self.storage, self.bank, clock=lambda: T0)
        for ledger_id in LEDGERS:
            service.open(ledger_id, TERMS)
            service.configure_auto_recharge(ledger_id, POLICY)

    def life(self, *, until: int, seconds: float, dies: str = "") -> None:
        """Let a writer live, until so many commands and seconds later it is killed, or until it dies of a charge."""
        self.deaths += 1
        job = attrs.evolve(self.job, first=self.acknowledged, minutes=MINUTES * self.deaths, dies=dies)
        with subprocess.Popen(
            [sys.executable, "-W", "error", writer.__file__, json.dumps(attrs.asdict(job))], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            for _ in range(until):
                self.hear(process.stdout.readline())
            if not dies:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(seconds)
                process.kill()
            for line in process.stdout:
                self.hear(line)
        assert process.returncode == -signal.SIGKILL
        if not is_sqlite(self.address):
            # What a server was told before its client died, it still does.
            with psycopg.connect(self.address, autocommit=True) as connection:
                while connection.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'writer'").fetchone():
                    pass

    def hear(self, line: bytes) -> None:
        assert int(line) == self.acknowledged
        self.acknowledged += 1

    def look(self) -> None:
        """Look at what is there: all that was acknowledged, once, and of the next command all or nothing."""
        for ledger_id, seen in self.seen.items():
            seen.extend(self.storage.history(ledger_id, after_version=len(seen)))
            loaded(self.storage, ledger_id).check()
        must = Counter(key for number in range(self.acknowledged) for key in keys("writer", number))
        may = must + Counter(keys("writer", self.acknowledged))
        assert self.given() in (must, may)
        self.look_at_amounts()
        charged = self.charged()
        pending = {
            charge.charge_id for ledger_id in LEDGERS for charge in loaded(self.storage, ledger_id).pending_charges
        }
        assert charged.items() <= self.bank.taken.items()
        assert self.bank.taken.keys() - charged.keys() <= pending

    def given(self) -> Counter[str]:
        """The keys that are there."""
        return Counter(event.idempotency_key for seen in self.seen.values() for event in seen if event.idempotency_key)

    def look_at_amounts(self) -> None:
        for seen in self.seen.values():
            for event in seen:
                if isinstance(event, FundsConsumed):
                    assert event.idempotency_key is not None
                    _, number, place = event.idempotency_key.split()
                    assert event.amount == costs(int(number))[int(place)]

    def charged(self) -> dict[str, Money]:
        """What the ledgers were given by charge, none of them twice."""
        added = [event for seen in self.seen.values() for event in seen if isinstance(event, FundsAdded)]
        charged = {str(event.charge_id): event.amount for event in added}
        assert len(charged) == len(added)
        return charged

    def settle(self) -> None:
        """Long after the last death: all that is left is done."""
        minutes = MINUTES * (self.deaths + 1)
        service = LedgerService(self.storage, self.bank, clock=lambda: T0 + minutes * writer.MINUTE)
        carry_out(service, self.job.ledger_of(self.acknowledged), "writer", self.acknowledged)
        self.acknowledged += 1
        while answers := service.settle_due():
            assert not [answer for answer in answers.values() if isinstance(answer, Exception)]

    def judge(self) -> None:
        self.look()
        assert self.charged() == self.bank.taken
        for ledger_id, seen in self.seen.items():
            assert list(self.storage.history(ledger_id)) == seen
            replayed = Ledger.replay(seen)
            assert replayed.state() == loaded(self.storage, ledger_id).state()
            assert replayed.pending_charges == ()
        spent = Money.total([cost for number in range(self.acknowledged) for cost in costs(number)], "USD")
        left = Money.total([loaded(self.storage, ledger_id).balance for ledger_id in LEDGERS], "USD")
        assert left == Money.total(self.bank.taken.values(), "USD") - spent


@pytest.fixture
def witness(address: str, tmp_path: Path) -> Iterator[Witness]:
    with storage_at(address) as storage:
        witness = Witness(address, storage, tmp_path)
        witness.open()
        yield witness
        witness.bank.close()


def kill(witness: Witness, seed: int, times: int) -> None:
    """Kill writers at random, and half as many in the hands of the payment provider."""
    random = Random(seed)  # noqa: S311  # chance that can be repeated is what is wanted
    for place in range(times):
        witness.life(until=random.randrange(12), seconds=random.uniform(0, 0.02))
        witness.look()
        dies = {0: "after", 2: "before"}.get(place % 4)
        if dies:
            witness.life(until=0, seconds=0, dies=dies)
            witness.look()
    witness.settle()
    witness.judge()
    # What was taken, and not recorded when the writer died, was asked for again under its first key.
    assert max(witness.bank.asked.values()) > 1


def test_what_a_killed_writer_was_told_is_there_once_and_its_charges_settle(witness: Witness, fire_seed: int) -> None:
    kill(witness, fire_seed, SHORT)


def miscount(witness: Witness) -> None:
    """A writer says that it gave a command that it did not give."""
    witness.acknowledged += 2


def use_twice(witness: Witness) -> None:
    """Usage is recorded under another key."""
    LedgerService(witness.storage, witness.bank, clock=lambda: T0).consume("acme", costs(0)[0], idempotency_key="again")


def forget_usage(witness: Witness) -> None:
    """Usage is lost, and something else stands in its place."""
    seen = witness.seen["acme"]
    place = next(place for place, event in enumerate(seen) if isinstance(event, FundsConsumed))
    seen[place] = seen[0]


def change_usage(witness: Witness) -> None:
    """A command is recorded with the cost of another."""
    ledger = loaded(witness.storage, "acme")
    witness.seen["acme"] += ledger.consume(costs(9)[0], at=ledger.as_of, idempotency_key=keys("writer", 6)[0])


def take_without_giving(witness: Witness) -> None:
    """The bank took money that no ledger has asked for."""
    witness.bank.take("acme:0", Money(50, "USD"))


def give_twice(witness: Witness) -> None:
    """A ledger was given the money of a charge twice."""
    witness.seen["acme"] += [event for event in witness.seen["acme"] if isinstance(event, FundsAdded)]


@pytest.mark.parametrize(
    "planted",
    [miscount, use_twice, forget_usage, change_usage, take_without_giving, give_twice],
    ids=lambda f: f.__name__,
)
def test_the_witness_sees(planted: Callable[[Witness], None], witness: Witness) -> None:
    service = LedgerService(witness.storage, witness.bank, clock=lambda: T0)
    for number in range(6):
        carry_out(service, witness.job.ledger_of(number), "writer", number)
        witness.acknowledged += 1
    witness.look()
    planted(witness)
    with pytest.raises(AssertionError):
        witness.look()


@pytest.mark.fire
def test_so_it_is_however_often_it_is_killed(witness: Witness, fire_seed: int) -> None:
    kill(witness, fire_seed, LONG)
