"""Progress: how far something is that may take more than two seconds, told to whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from commcredits.errors import WrongTypeError
from commcredits.simulation.extras import optional

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeVar

    _T = TypeVar("_T")

Report = Callable[[int, int], object]
"""Takes how much is done, and how much there is to do."""

_EVERY = 1000


@contextmanager
def reporting(progress: bool | Report, what: str) -> Iterator[Report]:  # noqa: FBT001  # the callers' own parameter
    """What to tell the progress of `what`: nobody (False), a bar (True), or the callback given.

    Raises: WrongTypeError for anything else; ImportError when a bar is wanted and neither tqdm nor rich is there.
    """
    if progress is False:
        yield nobody
    elif progress is True:
        bar, close = _bar(what)
        try:
            yield bar
        finally:
            close()
    elif callable(progress):
        yield progress
    else:
        raise WrongTypeError("progress", progress, "True, False, or a callback that takes (done, total)")


def nobody(_done: int, _total: int) -> None:
    """Takes progress that nobody wants to know."""


def counted(items: Iterable[_T], report: Report, total: int) -> Iterator[_T]:
    """The items, telling now and then how many of them were taken."""
    number = 0
    for number, item in enumerate(items, 1):
        yield item
        if not number % _EVERY:
            report(number, max(total, number))
    report(number, max(total, number))


def _bar(what: str) -> tuple[Report, Callable[[], None]]:
    """A bar of tqdm, else of rich."""
    try:
        tqdm = optional("tqdm", "a progress bar")
    except ImportError as missing:
        try:
            rich = optional("rich.progress", "a progress bar")
        except ImportError:
            raise missing from None
        return _rich_bar(rich, what)
    bar: Any = tqdm.tqdm(desc=what)

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show, bar.close


def _rich_bar(rich: Any, what: str) -> tuple[Report, Callable[[], None]]:
    bar = rich.Progress()
    task = bar.add_task(what, total=None)
    bar.start()
    return (lambda done, total: bar.update(task, completed=done, total=total)), bar.stop
