"""The comparison with the storage in memory lets a whole one pass, and finds what others do differently."""

from __future__ import annotations

from functools import partial

import broken_storages as broken
import pytest
from hypothesis import Phase, settings

from commcredits import InMemoryStorage
from commcredits.errors import CommCreditsError
from commcredits.testing import comparison
from commcredits.testing.comparison import compare_with_memory


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same examples at every run, and none made smaller."""
    quick = partial(settings, phases=[Phase.generate], derandomize=True, database=None, max_examples=200)
    monkeypatch.setattr(comparison, "settings", quick)


@pytest.mark.parametrize(
    "storage",
    [
        broken.LosesTheLatestEvent,
        broken.LoadsWhatTheSnapshotHas,
        broken.IgnoresTheVersion,
        broken.IgnoresGaps,
        broken.AddsBeforeItRefuses,
        broken.LetsTheLastWin,
        broken.ForgetsKeysWithTheSnapshot,
        broken.AddsUpToTheDuplicate,
        broken.NamesTheWrongNamespace,
        broken.ReadsFromTheBeginning,
        broken.ReadsTheLatestFirst,
        broken.FindsNoneForUnknownKeys,
        broken.ForgetsWhatBecameOfALot,
        broken.TakesNeverForAlways,
        broken.KeepsTheFirstDue,
    ],
)
def test_what_a_broken_storage_does_differently_is_found(storage: type[broken.Whole]) -> None:
    with pytest.raises((AssertionError, CommCreditsError)):
        compare_with_memory(storage())


def test_what_was_left_by_an_earlier_comparison_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "settings", partial(settings, database=None, max_examples=10))
    storage = InMemoryStorage()
    compare_with_memory(storage)
    compare_with_memory(storage)
