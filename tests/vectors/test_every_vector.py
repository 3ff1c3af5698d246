"""No vector is forgotten: each is run, or listed with the reason why not, and what is read differently is said."""

from __future__ import annotations

import importlib
from collections import Counter
from typing import Any

import pytest
from vector_files import FILES, Facts, read


def names_run(tests: dict[str, Any]) -> list[str]:
    """The names of the vectors that the tests of a module are given."""
    marks = [mark for test in tests.values() for mark in getattr(test, "pytestmark", ()) if mark.args[0] == "vector"]
    return [str(case.id) for mark in marks for case in mark.args[1]]


@pytest.mark.parametrize("file", FILES)
def test_every_vector_is_either_run_or_listed_with_the_reason_why_not(file: str) -> None:
    module = importlib.import_module(f"test_{file}")
    told_of = Counter([*set(names_run(vars(module))), *module.NOT_RUN])
    assert told_of == Counter(vector["name"] for vector in read(file))
    assert all(len(reason.split()) > 3 for reason in [*module.NOT_RUN.values(), *module.ADAPTED.values()])


@pytest.mark.parametrize("file", FILES)
def test_a_vector_that_is_not_fit_as_it_is_is_adapted_in_words_or_not_run(file: str) -> None:
    module = importlib.import_module(f"test_{file}")
    unfit = {vector["name"] for vector in read(file) if vector["portable"] != "yes"}
    assert unfit <= {*module.NOT_RUN, *module.ADAPTED}
    assert set(module.ADAPTED) <= set(names_run(vars(module)))


def test_there_are_vectors_and_each_has_a_name_of_its_own() -> None:
    names = Counter(vector["name"] for file in FILES for vector in read(file))
    assert len(FILES) == 7
    assert set(names.values()) == {1}


def test_what_was_not_read_of_a_vector_is_told() -> None:
    facts = Facts({"setup": {"balance": "1", "rule": {"amount": "2"}}, "commands": [{"op": "hold", "id": "T1"}]})
    assert facts["setup"]["rule"].unread() == ["amount"]
    assert facts["commands"][0]["op"] == "hold"
    assert facts.unread() == ["setup.balance", "setup.rule.amount", "commands.0.id"]
    facts["setup"].set_aside("balance", "rule")
    assert facts.unread() == ["commands.0.id"]
