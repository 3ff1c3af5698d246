"""Steps: the statements of a storage, without a database."""

from __future__ import annotations

import pytest

from commcredits import VersionConflictError
from commcredits.storages import sqlite
from commcredits.storages.steps import Fetched


def test_a_generator_asks_for_one_statement_after_the_other_and_returns_what_came_of_them() -> None:
    steps = sqlite._due(  # noqa: SLF001
        sqlite.rows.read_time("2026-01-01T00:00:00+00:00"), 3
    )
    _, values = next(steps)
    assert values == ("2026-01-01T00:00:00.000000+00:00", 3)
    with pytest.raises(StopIteration) as done:
        steps.send(Fetched([("a",), ("b",)], -1))
    assert done.value.value == ["a", "b"]


def test_what_the_database_answers_may_be_an_error() -> None:
    steps = sqlite._refusal(  # noqa: SLF001
        "acme", 3, [], []
    )
    next(steps)
    with pytest.raises(VersionConflictError):
        steps.send(Fetched([(4,)], -1))
