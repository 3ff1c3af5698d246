"""Steps: what a storage does, written once as generators, for a blocking driver and one for coroutines to carry out.

A generator yields a `Step` for each statement and is sent the `Answer` of the database; it returns what the method of
the storage returns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_T = TypeVar("_T")


class Step(NamedTuple):
    """One statement; with `many`, its values are those of many executions."""

    sql: str
    values: Sequence[Any] = ()
    many: bool = False


class Answer(NamedTuple):
    """The rows of a statement, and how many it changed."""

    rows: Sequence[Any]
    changed: int


Steps: TypeAlias = Generator[Step, Answer, _T]
