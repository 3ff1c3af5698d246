from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from commcredits import WrongTypeError
from commcredits.simulation.progress import counted, reporting


class Tqdm:
    """What is used of a bar of tqdm; tqdm itself need not be there."""

    made: list[Tqdm] = []  # noqa: RUF012  # emptied by the test that looks at it

    def __init__(self, desc: str) -> None:
        self.desc, self.n, self.total, self.closed = desc, 0, 0, False
        self.made.append(self)

    def update(self, more: int) -> None:
        self.n += more

    def close(self) -> None:
        self.closed = True


def test_nobody_is_told_unless_somebody_asks() -> None:
    with reporting(False, "work") as report:
        assert report(1, 2) is None


def test_a_callback_is_told_how_much_is_done_of_how_much() -> None:
    told: list[tuple[int, int]] = []
    with reporting(lambda done, total: told.append((done, total)), "work") as report:
        report(1, 2)
    assert told == [(1, 2)]


def test_a_bar_is_that_of_tqdm_and_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("tqdm")
    module.tqdm = Tqdm
    monkeypatch.setitem(sys.modules, "tqdm", module)
    Tqdm.made.clear()
    with reporting(True, "work") as report:
        report(3, 10)
        report(4, 10)
        assert not Tqdm.made[0].closed
    (bar,) = Tqdm.made
    assert (bar.desc, bar.n, bar.total, bar.closed) == ("work", 4, 10, True)


def test_without_tqdm_it_is_that_of_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with reporting(True, "work") as report:
        report(10, 10)
    assert "work" in capsys.readouterr().out


def test_without_both_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tqdm", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)
    needs = r"a progress bar needs tqdm: pip install 'commcredits\[simulation\]'"
    with pytest.raises(ImportError, match=needs), reporting(True, "work"):
        pass


def test_what_is_neither_yes_nor_no_nor_a_callback_is_refused() -> None:
    with pytest.raises(WrongTypeError, match="progress"), reporting("loudly", "work"):  # type: ignore[arg-type]
        pass


def test_items_are_counted_as_they_are_taken_and_the_total_is_never_less() -> None:
    told: list[tuple[int, int]] = []
    assert list(counted(range(2500), lambda done, total: told.append((done, total)), 2000)) == list(range(2500))
    assert told == [(1000, 2000), (2000, 2000), (2500, 2500)]
