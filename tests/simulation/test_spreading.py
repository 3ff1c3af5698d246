from __future__ import annotations

from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest

from commcredits import InvalidValueError, WrongTypeError
from commcredits.simulation.progress import nobody
from commcredits.simulation.spreading import spread


class Losing(Executor):
    """Loses the first tasks that it is given, as if their workers had been killed."""

    def __init__(self, *losses: BaseException) -> None:
        self.losses = list(losses)
        self.submitted: list[Any] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted.append(args[0])
        future: Future[Any] = Future()
        if self.losses:
            future.set_exception(self.losses.pop(0))
        else:
            try:
                future.set_result(function(*args))
            except Exception as error:  # noqa: BLE001
                future.set_exception(error)
        return future


def double(number: int, report: Any = None) -> int:
    if report is not None:
        report(1, 2)
    return 2 * number


def refuse(number: int) -> int:
    raise InvalidValueError("number", number, "never")


def test_results_come_in_the_order_of_the_tasks_here_and_elsewhere() -> None:
    tasks = list(range(20))
    assert spread(double, tasks, None, nobody, sizes=[1] * 20) == [2 * number for number in tasks]
    with ThreadPoolExecutor(3) as executor:
        assert spread(double, tasks, executor, nobody, sizes=[1] * 20) == [2 * number for number in tasks]


def test_progress_is_told_within_tasks_here_and_task_by_task_elsewhere() -> None:
    told: list[tuple[int, int]] = []
    spread(double, [1, 2], None, lambda done, total: told.append((done, total)), sizes=[4, 6])
    assert told == [(1, 10), (5, 10), (10, 10)]
    told.clear()
    spread(double, [1, 2], Losing(), lambda done, total: told.append((done, total)), sizes=[5, 5])
    assert told == [(5, 10), (10, 10)]


def test_a_lost_task_is_submitted_again_twice_and_then_its_error_is_raised() -> None:
    executor = Losing(BrokenProcessPool("killed"), CancelledError())
    assert spread(double, [7], executor, nobody, sizes=[1]) == [14]
    assert executor.submitted == [7, 7, 7]
    with pytest.raises(BrokenProcessPool, match="thrice"):
        spread(double, [7], Losing(OSError(), OSError(), BrokenProcessPool("thrice")), nobody, sizes=[1])


def test_what_is_refused_on_purpose_is_refused_once() -> None:
    executor = Losing()
    with pytest.raises(InvalidValueError, match="never"):
        spread(refuse, [1], executor, nobody, sizes=[1])
    assert executor.submitted == [1]


def test_tasks_still_waiting_are_cancelled_when_one_fails() -> None:
    waiting: Future[Any] = Future()

    class Slow(Losing):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return waiting if args[0] == 2 else super().submit(function, *args)

    with pytest.raises(InvalidValueError):
        spread(refuse, [1, 2], Slow(), nobody, sizes=[1, 1])
    assert waiting.cancelled()


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(WrongTypeError, match="executor"):
        spread(double, [1], 4, nobody, sizes=[1])  # type: ignore[arg-type]
