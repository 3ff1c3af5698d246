"""SQLite's and PostgreSQL's storages keep the rules of every storage."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiosqlite
import psycopg
import psycopg_pool
import pytest

from commcredits.storages.postgres import AsyncPostgresStorage, PostgresStorage
from commcredits.storages.sqlite import AsyncSQLiteStorage, SQLiteStorage
from commcredits.testing import AsyncStorageContract, StorageContract


class TestSQLiteStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[SQLiteStorage]:
        with closing(sqlite3.connect(tmp_path / "ledgers.db", isolation_level=None)) as connection:
            storage = SQLiteStorage(connection)
            storage.create_tables()
            yield storage


class TestSQLiteStorageWithASnapshotAtEveryAppend(StorageContract):
    @pytest.fixture
    def storage(self) -> Iterator[SQLiteStorage]:
        with closing(sqlite3.connect(":memory:")) as connection:
            storage = SQLiteStorage(connection, snapshot_every=1)
            storage.create_tables()
            yield storage


class TestAsyncSQLiteStorage(AsyncStorageContract):
    @pytest.fixture
    def storage(self, runner: asyncio.Runner) -> Iterator[AsyncSQLiteStorage]:
        async def connect() -> aiosqlite.Connection:
            return await aiosqlite.connect(":memory:", isolation_level=None)

        connection = runner.run(connect())
        storage = AsyncSQLiteStorage(connection, snapshot_every=7)
        runner.run(storage.create_tables())
        yield storage
        runner.run(connection.close())


class TestPostgresStorage(StorageContract):
    @pytest.fixture
    def storage(self, postgres_dsn: str) -> Iterator[PostgresStorage]:
        with psycopg.connect(postgres_dsn, autocommit=True) as connection:
            storage = PostgresStorage(connection)
            storage.create_tables()
            yield storage


class TestPostgresStorageOnAPoolWithASnapshotAtEveryAppend(StorageContract):
    @pytest.fixture
    def storage(self, postgres_dsn: str) -> Iterator[PostgresStorage]:
        with psycopg_pool.ConnectionPool(postgres_dsn, min_size=1, open=True) as pool:
            storage = PostgresStorage(pool, snapshot_every=1)
            storage.create_tables()
            yield storage


class TestAsyncPostgresStorage(AsyncStorageContract):
    @pytest.fixture
    def storage(self, postgres_dsn: str, runner: asyncio.Runner) -> Iterator[AsyncPostgresStorage]:
        connection = runner.run(psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True))
        storage = AsyncPostgresStorage(connection, snapshot_every=7)
        runner.run(storage.create_tables())
        yield storage
        runner.run(connection.close())
