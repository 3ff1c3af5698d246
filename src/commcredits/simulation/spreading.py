"""Spreading: independent tasks, done one after the other here or shared out by an executor."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, wait
from typing import TYPE_CHECKING, Any, TypeVar

from commcredits.errors import CommCreditsError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor, Future

    from commcredits.simulation.progress import Report

_T = TypeVar("_T")
_R = TypeVar("_R")

_ATTEMPTS_MAX = 3


def spread(
    function: Callable[..., _R],
    tasks: Sequence[_T],
    executor: Executor | None,
    report: Report,
    *,
    sizes: Sequence[int],
) -> list[_R]:
    """What the function returns for each task, in their order.

    Here it may tell its own progress through a task, to its second argument. A task that an executor lost, because a
    worker was killed for one, is submitted again, up to twice; the third time its error is raised. What this library
    raises on purpose is raised at once.
    """
    total = sum(sizes)
    if executor is None:
        results = []
        for number, task in enumerate(tasks):
            before = sum(sizes[:number])
            results.append(function(task, lambda done, _, before=before: report(before + done, total)))
        report(total, total)
        return results
    if not callable(getattr(executor, "submit", None)):
        raise WrongTypeError("executor", executor, "a concurrent.futures.Executor")
    return _submitted(function, tasks, executor, report, sizes)


def _submitted(
    function: Callable[..., _R], tasks: Sequence[_T], executor: Executor, report: Report, sizes: Sequence[int]
) -> list[_R]:
    results: dict[int, _R] = {}
    attempts = dict.fromkeys(range(len(tasks)), 1)
    pending: dict[Future[Any], int] = {executor.submit(function, task): number for number, task in enumerate(tasks)}
    try:
        while pending:
            ended, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in ended:
                number = pending.pop(future)
                try:
                    results[number] = future.result()
                except CommCreditsError:
                    raise
                except Exception:
                    if attempts[number] >= _ATTEMPTS_MAX:
                        raise
                    attempts[number] += 1
                    pending[executor.submit(function, tasks[number])] = number
                else:
                    report(sum(sizes[done] for done in results), sum(sizes))
    finally:
        for future in pending:
            future.cancel()
    return [results[number] for number in range(len(tasks))]
