"""The vectors: what the tests and documents of other systems assert, as plain facts (numbers and times) in JSON files.

Beside each file stands the test module of its name. It sets up a ledger as a vector says, gives the commands and
compares what is expected. It has two tables: `NOT_RUN` (a vector's name: why it says nothing about this library) and
`ADAPTED` (a vector's name: what the test reads differently). A vector remembers what was read of it, and one that was
not read whole fails, so that no fact is passed over in silence: a test says so when it sets one aside.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from commcredits import FundsConsumed, Ledger, Money, Terms

FOLDER = Path(__file__).parent
FILES = sorted(path.stem for path in FOLDER.glob("*.json"))

START = datetime(2024, 1, 1, tzinfo=UTC)
"""When things happen where a vector does not say."""


class Facts(dict[str, Any]):
    """A JSON object that remembers which of its values were read."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__({key: _watched(value) for key, value in values.items()})
        self._unread = set(self)
        self._aside: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._unread.discard(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._unread.discard(key)
        return super().get(key, default)

    def items(self) -> Any:
        self._unread.clear()
        return super().items()

    def set_aside(self, *keys: str) -> None:
        """Say that these say nothing about this library here."""
        missing = set(keys).difference(self)
        if missing:
            raise KeyError(*missing)
        self._unread.difference_update(keys)
        self._aside.update(keys)

    def unread(self) -> list[str]:
        """The paths of all that nobody read and nobody set aside."""
        below = [
            f"{key}.{path}"
            for key, value in super().items()
            if key not in self._unread and key not in self._aside
            for path in _unread(value)
        ]
        return [*sorted(self._unread), *below]


def _watched(value: Any) -> Any:
    if isinstance(value, dict):
        return Facts(value)
    return [_watched(item) for item in value] if isinstance(value, list) else value


def _unread(value: Any) -> list[str]:
    if isinstance(value, Facts):
        return value.unread()
    if isinstance(value, list):
        return [f"{place}.{path}" for place, item in enumerate(value) for path in _unread(item)]
    return []


def read(file: str) -> list[dict[str, Any]]:
    """The vectors of a file."""
    return json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))["vectors"]


def run(file: str, *names: str, but: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """Run a test with each vector of these names; without names, with all of the file but some."""
    wanted = [vector for vector in read(file) if (vector["name"] in names if names else vector["name"] not in but)]
    return pytest.mark.parametrize(
        "vector", [pytest.param(vector, id=vector["name"]) for vector in wanted], indirect=True
    )


def usd(amount: str) -> Money:
    """An amount; in vectors they have no currency."""
    return Money(amount, "USD")


def instant(text: str) -> datetime:
    """The time that a vector writes as text."""
    return datetime.fromisoformat(text)


def when(command: Facts) -> datetime:
    """When a command is given."""
    return instant(command["at"]) if "at" in command else START


def overdraft_limit(text: str | None) -> Money | None:
    """The limit that a vector calls by a number, "unbounded" or "allowed"; None: without limit."""
    if text in ("unbounded", "allowed"):
        return None
    return usd(text or "0")


def funded(amount: Money, *, overdraft: str | None = None) -> Ledger:
    """A ledger with these funds."""
    ledger = Ledger.open("customer", Terms("USD", overdraft_limit=overdraft_limit(overdraft)), at=START)
    if not amount.is_zero:
        ledger.add_funds(amount, at=START)
    return ledger


def consumption(events: tuple[Any, ...]) -> FundsConsumed:
    """The one usage among events."""
    (consumed,) = (event for event in events if isinstance(event, FundsConsumed))
    return consumed
