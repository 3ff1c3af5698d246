"""Several workers on one database at once."""

from __future__ import annotations

import threading

import pytest
from databases import Database, usd

from commcredits import LedgerService, Receipt

WORKERS = 4
LEDGERS = [f"ledger {number}" for number in range(6)]


def with_charges_due(database: Database, ledger_ids: list[str]) -> None:
    for ledger_id in ledger_ids:
        database.opened(ledger_id)
        database.service(settles_inline=False).consume(ledger_id, usd(95))
    assert database.card.charged == []


def worker(database: Database) -> LedgerService:
    return database.service(database.storage_on(database.connect()))


def test_workers_who_start_at_once_make_every_charge_once(database: Database) -> None:
    with_charges_due(database, LEDGERS)
    workers = [worker(database) for _ in range(WORKERS)]
    ready = threading.Barrier(WORKERS)
    answers: list[Receipt | Exception] = []

    def work(service: LedgerService) -> None:
        ready.wait(30)
        while settled := service.settle_due():
            answers.extend(settled.values())

    threads = [threading.Thread(target=work, args=[service]) for service in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert sorted(key.partition(":")[0] for key in database.card.charged) == LEDGERS
    for ledger_id in LEDGERS:
        assert database.service().get(ledger_id).balance == usd(55)


def test_a_worker_that_dies_before_its_claim_is_stored_delays_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*arguments: object, **named: object) -> None:
        raise SystemExit

    with_charges_due(database, ["acme"])
    with monkeypatch.context() as patch:
        patch.setattr(type(database.storage), "append", dies)
        with pytest.raises(SystemExit):
            worker(database).settle_due()
    assert worker(database).settle_due()["acme"].balance == usd(55)
    assert len(database.card.charged) == 1
