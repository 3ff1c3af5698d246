"""Replays: many ledgers made from their histories and checked, on one machine or on many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from commcredits.errors import CommCreditsError, WrongTypeError
from commcredits.ledger import Ledger
from commcredits.simulation.progress import reporting
from commcredits.simulation.spreading import spread
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor
    from datetime import datetime

    from commcredits.events import Event
    from commcredits.money import Money
    from commcredits.simulation.progress import Report
    from commcredits.state import Totals

_TASKS = 64
"""Ledgers are handed out in about so many portions: few enough to cost little, enough to keep all workers busy."""


@attrs.frozen(order=False)
class ReplayedLedger:
    """What a ledger's history comes to, or what is wrong with it.

    Attributes:
        error: of a history that cannot be read, or of a ledger that does not add up; all else but the id is None then.
    """

    ledger_id: str
    version: int | None = None
    as_of: datetime | None = None
    balance: Money | None = None
    available: Money | None = None
    totals: Totals | None = None
    error: CommCreditsError | None = None


@attrs.frozen(order=False)
class _Portion:
    """Some of the ledgers, for one worker."""

    ledger_ids: tuple[str, ...]
    load: Callable[[str], Iterable[Event]]
    until: datetime | None


def replay_many(
    ledger_ids: Iterable[str],
    load: Callable[[str], Iterable[Event]],
    *,
    until: datetime | None = None,
    executor: Executor | None = None,
    progress: bool | Report = False,
) -> dict[str, ReplayedLedger]:
    """Each ledger as its history makes it, checked to the last billionth, by its id, in the order given.

    `load` takes an id and returns its history from the first event on. With an `executor` that has other processes do
    it, `load` goes there, so it must be picklable and open what it reads from itself. `until`: as the ledgers were
    then. One ledger's error does not stop the others. `progress`: a bar (True), or what takes (done, total).

    Raises: WrongTypeError, InvalidValueError for what is no callable or no time; whatever `load` raises, unless it is
        an error of this library.
    """
    if not callable(load):
        raise WrongTypeError("load", load, "a callable that takes a ledger's id and returns its events")
    moment = None if until is None else utc(until, "until")
    wanted = tuple(ledger_ids)
    size = max(-(-len(wanted) // _TASKS), 1)
    portions = [_Portion(wanted[first : first + size], load, moment) for first in range(0, len(wanted), size)]
    with reporting(progress, "replay_many") as report:
        done = spread(_replay, portions, executor, report, sizes=[len(portion.ledger_ids) for portion in portions])
    return {ledger.ledger_id: ledger for portion in done for ledger in portion}


def _replay(portion: _Portion, report: Report | None = None) -> list[ReplayedLedger]:
    ledgers = []
    for ledger_id in portion.ledger_ids:
        ledgers.append(_replayed(ledger_id, portion))
        if report is not None:
            report(len(ledgers), len(portion.ledger_ids))
    return ledgers


def _replayed(ledger_id: str, portion: _Portion) -> ReplayedLedger:
    try:
        ledger = Ledger.replay(portion.load(ledger_id), portion.until)
        ledger.check()
    except CommCreditsError as error:
        return ReplayedLedger(ledger_id, error=error)
    return ReplayedLedger(ledger_id, ledger.version, ledger.as_of, ledger.balance, ledger.available, ledger.totals)
