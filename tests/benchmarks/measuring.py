"""How a ratio is measured: both sides in turn, in one run, and the median of many such pairs.

Times are CPU times of the process: on a machine that does other work too, a long sample is interrupted more often than
a short one, and by the clock on the wall that would count against the slower side. The garbage collector is off in a
sample, as `timeit` has it, because when it strikes is chance.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tempfile
from statistics import median
from time import process_time_ns
from timeit import Timer
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    # Does something so many times, and answers the nanoseconds of CPU time that it took.
    Sample = Callable[[int], int]

SAMPLE_NS = 5_000_000
"""The least that a sample takes on the faster side; interruptions and the clock's own steps are small beside it."""


class Ratios(NamedTuple):
    """What came out of a number of pairs."""

    median: float
    lowest: float
    highest: float
    pairs: int

    @classmethod
    def of(cls, ratios: list[float]) -> Ratios:
        """The summary of single ratios."""
        return cls(median(ratios), min(ratios), max(ratios), len(ratios))


def paired(ours: Sample, other: Sample, *, pairs: int = 25, same_work: bool = False) -> Ratios:
    """Our time for one repetition as a multiple of the other's.

    `same_work`: both repeat equally often, because what is repeated uses something up.
    """
    our_times, other_times = _repetitions(ours), _repetitions(other)
    if same_work:
        our_times = other_times = max(our_times, other_times)
    ratios = []
    for pair in range(pairs):
        # Who comes first changes, so that neither always finds the caches as the other left them.
        if pair % 2:
            our_ns, other_ns = _taken(ours, our_times), _taken(other, other_times)
        else:
            other_ns, our_ns = _taken(other, other_times), _taken(ours, our_times)
        ratios.append((our_ns / our_times) / (other_ns / other_times))
    return Ratios.of(ratios)


def _repetitions(sample: Sample) -> int:
    """How often to repeat so that a sample takes `SAMPLE_NS`."""
    times = 1
    while True:
        taken = _taken(sample, times)
        if taken >= SAMPLE_NS:
            return times
        times = min(times * 10, times * SAMPLE_NS // max(taken, 1) + 1)


def _taken(sample: Sample, times: int) -> int:
    gc.disable()
    try:
        return sample(times)
    finally:
        gc.enable()


def statement(source: str, **names: Any) -> Sample:
    """A sample that executes a line of Python."""
    timer = Timer(source, timer=process_time_ns, globals=names)
    return lambda times: int(timer.timeit(times))


def process(code: str) -> Sample:
    """A sample that runs a line of Python in fresh interpreters, from start to end."""

    def run(times: int) -> int:
        start = _of_children()
        with tempfile.TemporaryDirectory() as elsewhere:  # where nothing lies about that could be imported instead
            for _ in range(times):
                subprocess.run([sys.executable, "-c", code], check=True, cwd=elsewhere, env=_environment())
        return _of_children() - start

    return run


def _of_children() -> int:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((usage.ru_utime + usage.ru_stime) * 1_000_000_000)


def _environment() -> dict[str, str]:
    """This process' environment, with modules compiled but once, and paths that hold from any folder."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if "PYTHONPATH" in environment:
        paths = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths)  # noqa: PTH100
    return environment
