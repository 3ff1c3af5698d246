"""Hypothesis draws our types in a program that imports nothing of `commcredits.testing`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import _commcredits_hypothesis
import commcredits
from commcredits import Event, Ledger, Money, RechargeLimit, RechargePolicy, Terms, Threshold
from commcredits.telephony import CallRecord

TYPES: list[Any] = [Money, Threshold, RechargeLimit, RechargePolicy, Terms, Ledger, CallRecord, Event]


def output_of(code: str, folder: Path) -> list[str]:
    """What a fresh interpreter prints that sees only what is installed."""
    command = [sys.executable, "-I", "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("first", ["hypothesis", "commcredits"])
def test_what_is_installed_draws_our_types_whichever_is_imported_first(first: str, tmp_path: Path) -> None:
    imports = ["from hypothesis import given, settings, strategies as st", "import commcredits"]
    if first == "commcredits":
        imports.reverse()
    names = [thing.__name__ for thing in TYPES if thing is not CallRecord]
    code = f"""
{"; ".join(imports)}
from commcredits.telephony import CallRecord
for thing in [CallRecord, commcredits.FundsConsumed, *(getattr(commcredits, name) for name in {names})]:
    @settings(max_examples=1, database=None, deadline=None)
    @given(st.from_type(thing))
    def look(drawn):
        print(isinstance(drawn, thing))
    look()
"""
    assert output_of(code, tmp_path) == ["True"] * (len(TYPES) + 1)


def test_hypothesis_alone_loads_nothing_of_ours_and_no_strategy_before_it_is_asked_for(tmp_path: Path) -> None:
    code = """
import hypothesis, sys
print("commcredits" in sys.modules)
import commcredits
print("commcredits.testing" in sys.modules)
hypothesis.strategies.from_type(commcredits.Money).validate()
print("commcredits.testing" in sys.modules)
"""
    assert output_of(code, tmp_path) == ["False", "False", "True"]


def test_commcredits_alone_loads_no_hypothesis(tmp_path: Path) -> None:
    assert output_of("import commcredits, sys; print('hypothesis' in sys.modules)", tmp_path) == ["False"]


def test_hypothesis_is_told_by_its_entry_point() -> None:
    (entry,) = entry_points(group="hypothesis", name="commcredits")
    assert entry.load() is _commcredits_hypothesis.hypothesis_is_here


@pytest.mark.parametrize("thing", [*TYPES, *Event.__subclasses__()], ids=lambda thing: thing.__name__)
def test_each_type_is_drawn(thing: Any) -> None:
    @settings(max_examples=3)
    @given(st.from_type(thing))
    def look(drawn: Any) -> None:
        assert isinstance(drawn, thing)

    look()


def test_telling_twice_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(_commcredits_hypothesis, "register", lambda: told.append("told"))
    _commcredits_hypothesis.hypothesis_is_here()
    monkeypatch.delitem(sys.modules, "commcredits")
    _commcredits_hypothesis.hypothesis_is_here()
    assert told == ["told"]
    monkeypatch.undo()
    _commcredits_hypothesis.register()
    assert isinstance(st.from_type(commcredits.Money), st.SearchStrategy)
