"""Accounts: what the contracts of storages stand on."""

from __future__ import annotations

import itertools

import pytest

from build import kinds, usd
from commcredits import InMemoryStorage, Ledger, VersionConflictError
from commcredits.testing.accounts import OPENED, Account, everything_in, restored


def test_what_an_account_does_is_appended_and_remembered() -> None:
    storage = InMemoryStorage()
    account = Account(storage, funds_valid_for=None)
    added = account.do("add_funds", usd(5), idempotency_key="k")
    assert list(storage.history("acme")) == account.events == [account.ledger.opened, *added]
    assert account.ledger.terms.funds_valid_for is None
    assert account.ledger == Ledger.replay(account.events)


def test_what_is_decided_is_not_yet_done() -> None:
    account = Account(InMemoryStorage())
    events = account.decide("add_funds", usd(5))
    assert kinds(events) == ["FundsAdded"]
    assert (account.ledger.version, len(account.events)) == (1, 1)
    account.append(events)
    assert account.ledger.balance == usd(5)
    assert restored(account.storage) == account.ledger == Ledger.replay(account.events)


def test_what_is_tried_is_not_remembered() -> None:
    account = Account(InMemoryStorage())
    events = account.decide("add_funds", usd(5))
    with pytest.raises(VersionConflictError):
        account.try_append(events, expected_version=7)
    account.try_append(events)
    assert len(account.events) == 1
    assert len(list(account.storage.history("acme"))) == 2


def test_nothing_is_restored_where_there_is_no_ledger() -> None:
    assert restored(InMemoryStorage()) is None
    storage = InMemoryStorage(snapshot_every=1)
    account = Account(storage, "other")
    assert restored(storage, "other") == account.ledger


def test_everything_in_a_storage_changes_with_anything_in_it() -> None:
    storage = InMemoryStorage()
    assert everything_in(storage) == (None, (), {}, {0: (), 1: (), 2: ()}, ())
    account = Account(storage)
    seen = [everything_in(storage)]
    for command in ("add_funds", "consume", "purchase"):
        account.do(command, usd(5), idempotency_key=command)
        seen.append(everything_in(storage))
    assert all(one != other for one, other in itertools.pairwise(seen))
    assert seen[-1][-1] == ("acme",)
    assert account.now == OPENED
