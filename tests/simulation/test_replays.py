from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from build import T0, day, usd
from commcredits import Event, InvalidValueError, Ledger, Terms, UnreadableRecordError, WrongTypeError
from commcredits.simulation import replay_many

IDS = [f"ledger {number}" for number in range(200)]


def load(ledger_id: str) -> list[Event]:
    """Ledger number n was given n + 1 dollars, of which it used one a day later."""
    ledger = Ledger.open(ledger_id, Terms("USD"), at=T0)
    funds = usd(int(ledger_id.split()[1]) + 1)
    return [ledger.opened, *ledger.add_funds(funds, at=T0), *ledger.consume(usd(1), at=day(1))]


def load_with_gaps(ledger_id: str) -> list[Event]:
    return load(ledger_id)[1 if ledger_id == "ledger 7" else 0 :]


def test_every_ledger_is_made_of_its_history_in_the_order_given() -> None:
    replayed = replay_many(IDS, load)
    assert list(replayed) == IDS
    assert [one.balance for one in replayed.values()] == [usd(number) for number in range(200)]
    one = replayed["ledger 4"]
    assert (one.version, one.as_of, one.available, one.error) == (3, day(1), usd(4), None)
    assert one.totals is not None
    assert (one.totals.funded, one.totals.consumed) == (usd(5), usd(1))


def test_it_is_the_same_on_an_executor_and_what_goes_there_can_be_pickled() -> None:
    told: list[tuple[int, int]] = []
    with ThreadPoolExecutor(2) as executor:
        spread_out = replay_many(IDS, load, executor=executor, progress=lambda done, all_: told.append((done, all_)))
    assert spread_out == replay_many(iter(IDS), load)
    assert told[-1] == (200, 200)
    assert pickle.loads(pickle.dumps(spread_out)) == spread_out  # noqa: S301


def test_a_ledger_can_be_seen_as_it_was() -> None:
    assert replay_many(["ledger 4"], load, until=T0)["ledger 4"].balance == usd(5)


def test_one_broken_history_is_told_and_stops_no_other() -> None:
    told: list[tuple[int, int]] = []
    replayed = replay_many(IDS, load_with_gaps, progress=lambda done, all_: told.append((done, all_)))
    broken = [one for one in replayed.values() if one.error is not None]
    assert [(one.ledger_id, one.balance) for one in broken] == [("ledger 7", None)]
    assert isinstance(broken[0].error, UnreadableRecordError)
    assert told[-1] == (200, 200)


def test_no_ledgers_are_no_ledgers() -> None:
    assert replay_many([], load) == {}


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(WrongTypeError, match="load"):
        replay_many(IDS, {})  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="naive"):
        replay_many(IDS, load, until=datetime(2026, 1, 1))  # noqa: DTZ001
