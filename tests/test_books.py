"""The working state: what is derived agrees with what is kept, and copies share nothing that changes."""

from __future__ import annotations

from copy import copy
from typing import Any

from hypothesis import given

from build import Step, all_terms, histories, ledger, play
from commcredits import Ledger
from commcredits.books import Books

DERIVED = ("not_started", "free", "held", "lapsed", "pending", "automatic", "unresolved_recharge", "watch_level")


def derived(books: Books) -> dict[str, Any]:
    burn = [(one.lot_id, one.free) for one in books.burn.lots]
    return {name: getattr(books, name) for name in DERIVED} | {"burn": burn}


@given(history=histories(40), terms=all_terms())
def test_what_is_derived_step_by_step_is_what_is_derived_anew(history: list[Step], terms: dict[str, Any]) -> None:
    account, _, _ = play(ledger(**terms), history)
    assert derived(account._books) == derived(account._books.copy())
    assert account._books.kept() == account._books.copy().kept()


@given(history=histories(40), terms=all_terms())
def test_what_falls_due_next_is_never_missed(history: list[Step], terms: dict[str, Any]) -> None:
    account, _, _ = play(ledger(**terms), history)
    fresh = Ledger(account._books.copy())
    assert account.next_due == fresh.next_due
    books = account._books
    ends = [books.over_at(one) for one in books.lots.values() if one.is_empty]
    assert all(books.empty_until <= end for end in ends)
    assert all(end > books.as_of for end in ends)


@given(history=histories(), terms=all_terms())
def test_copies_are_equal_and_share_nothing_that_changes(history: list[Step], terms: dict[str, Any]) -> None:
    account, _, at = play(ledger(**terms), history)
    twin = copy(account)
    assert twin == account
    before = account.state()
    play(twin, history, at)
    assert account.state() == before
