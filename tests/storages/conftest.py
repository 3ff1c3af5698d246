"""The databases that the tests of durable storages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import Database, postgres_database, sqlite_database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with our tables."""
    if request.param == "sqlite":
        opened = sqlite_database(tmp_path)
    else:
        opened = postgres_database(request.getfixturevalue("postgres_dsn"))
    with opened as database:
        database.storage.create_tables()
        yield database
