"""The contract of storages lets a whole one pass, and catches each that breaks a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from broken_storages import BROKEN, Whole

from commcredits import InMemoryStorage
from commcredits.errors import CommCreditsError
from commcredits.testing import StorageContract, storage_contract

COMPARISON = "test_it_does_whatever_the_storage_in_memory_does"
RULES = sorted(name for name in dir(StorageContract) if name.startswith("test_") and name != COMPARISON)


class TestWhole(StorageContract):
    @pytest.fixture
    def storage(self) -> Whole:
        return Whole()


@pytest.fixture(autouse=True)
def _short(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken ones keep a snapshot every ten events, so that a few are many."""
    monkeypatch.setattr(storage_contract, "_MANY", 25)


def runs_of(name: str) -> Iterator[Callable[[Any], None]]:
    """A test of the contract, once for each of its parameters."""
    test = getattr(StorageContract(), name)
    (mark,) = getattr(test, "pytestmark", [None])
    if mark is None:
        yield test
    else:
        for value in mark.args[1]:
            yield lambda tested, value=value: test(tested, **{mark.args[0]: value})


def catches(name: str, storage: type[Whole]) -> bool:
    for run in runs_of(name):
        try:
            run(storage())
        except (AssertionError, pytest.fail.Exception, CommCreditsError, LookupError, TypeError):
            return True
    return False


@pytest.mark.parametrize("storage", BROKEN, ids=lambda storage: storage.__name__)
def test_a_broken_storage_is_caught_by_the_rules_that_it_breaks_and_no_others(storage: type[Whole]) -> None:
    caught = [name.removeprefix("test_") for name in RULES if catches(name, storage)]
    assert caught == sorted(BROKEN[storage].split())


def test_every_rule_catches_a_broken_storage() -> None:
    caught = {f"test_{name}" for names in BROKEN.values() for name in names.split()}
    assert caught == set(RULES)


def test_a_contract_without_a_storage_says_so() -> None:
    fixture: Any = StorageContract.__dict__["storage"]
    with pytest.raises(NotImplementedError):
        fixture.__wrapped__(StorageContract())


def test_the_storage_is_tested_as_it_is() -> None:
    fixture: Any = StorageContract.__dict__["tested"]
    storage = InMemoryStorage()
    assert fixture.__wrapped__(StorageContract(), storage) is storage
