"""SQLite and PostgreSQL behind one face, so that a rule that both must keep is tested once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from commcredits import Charge, LedgerService, Money, Outcome, Paid, RechargePolicy, Terms
from commcredits.storages.postgres import PostgresStorage
from commcredits.storages.sqlite import SQLiteStorage

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def usd(amount: str | int) -> Money:
    return Money(amount, "USD")


class Card:
    """Pays for everything, and remembers the keys."""

    def __init__(self) -> None:
        self.charged: list[str] = []
        self.during: Callable[[], object] | None = None

    def charge(self, charge: Charge) -> Outcome:
        self.charged.append(charge.charge_id)
        if self.during:
            self.during()
        return Paid(f"receipt-{len(self.charged)}")


class AsyncCard(Card):
    async def charge(self, charge: Charge) -> Outcome:  # type: ignore[override]
        return super().charge(charge)


class Database:
    """A database with our tables, and connections to it."""

    def __init__(self, kind: str, connect: Callable[[], Any]) -> None:
        self.kind = kind
        self.connect = connect
        self.connection = connect()
        self.now = T0
        self.card = Card()
        self.storage = self.storage_on(self.connection)

    def storage_on(self, connection: Any, **options: Any) -> Any:
        return (SQLiteStorage if self.kind == "sqlite" else PostgresStorage)(connection, **options)

    def service(self, storage: Any = None, **options: Any) -> LedgerService:
        return LedgerService(storage or self.storage, self.card, clock=lambda: self.now, **options)

    def opened(self, ledger_id: str = "acme", funds: int = 100) -> LedgerService:
        """A service, and a ledger that recharges itself."""
        service = self.service()
        service.open(ledger_id, Terms("USD"))
        if funds:
            service.add_funds(ledger_id, usd(funds), reference="wire")
        service.configure_auto_recharge(ledger_id, RechargePolicy(usd(10), usd(50)))
        return service

    def execute(self, sql: str, *values: Any, connection: Any = None) -> list[tuple[Any, ...]]:
        """The rows of a statement with ? for its values."""
        if self.kind == "postgres":
            sql = sql.replace("?", "%s")
        cursor = (connection or self.connection).execute(sql, *([values] if values else []))
        return cursor.fetchall() if cursor.description else []

    def pass_time(self, **length: float) -> None:
        self.now += timedelta(**length)


@contextmanager
def sqlite_database(folder: Path) -> Iterator[Database]:
    opened: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(folder / "ledgers.db", isolation_level=None, check_same_thread=False, timeout=30)
        opened.append(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        return connection

    try:
        yield Database("sqlite", connect)
    finally:
        for connection in opened:
            connection.close()


@contextmanager
def postgres_database(dsn: str) -> Iterator[Database]:
    opened: list[psycopg.Connection[Any]] = []

    def connect() -> psycopg.Connection[Any]:
        opened.append(psycopg.connect(dsn, autocommit=True))
        return opened[-1]

    try:
        yield Database("postgres", connect)
    finally:
        for connection in opened:
            connection.close()
