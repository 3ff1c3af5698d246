"""Steps: what a storage does, written once as generators, for a blocking driver and one for coroutines to carry out.

A generator yields a `Step` for each statement and is sent an `Answer`, such as the cursor that executed it; it returns
what the method of the storage returns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")

Step: TypeAlias = "tuple[str, Sequence[Any]]"
"""A statement and its values: a tuple; or a list of tuples, to execute it once for each."""


class Answer(Protocol):
    """What a cursor tells of a statement, as PEP 249 has it, until the next one is executed."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchall(self) -> Sequence[Any]:
        """The rows that it gives."""
        ...


class Fetched:
    """The answer of a driver for coroutines, whose cursor would have to be waited for."""

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self.rowcount = rowcount
        self._rows = rows

    def fetchall(self) -> Sequence[Any]:
        """See `Answer`."""
        return self._rows


Steps: TypeAlias = Generator[Step, Answer, _T]
