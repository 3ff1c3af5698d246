"""Rows: what a column says of an event, and positions in the feed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from commcredits import Event, InvalidValueError, Ledger, Terms, UnreadableRecordError, WrongTypeError
from commcredits.storage import subjects
from commcredits.storages.rows import (
    EventRow,
    Position,
    checksum,
    event_row,
    read_event,
    read_state,
    read_time,
    state_row,
    stored_time,
)
from commcredits.testing.strategies import histories

positions = st.builds(Position, st.integers(0), st.text(min_size=1), st.integers(1))


@given(events=histories())
def test_every_event_comes_back_from_its_row(events: tuple[Event, ...]) -> None:
    for event in events:
        assert read_event("acme", EventRow._make(event_row("acme", "USD", event, event.at.isoformat()))) == event


@given(events=histories())
def test_an_event_is_about_itself_and_at_most_one_thing_more(events: tuple[Event, ...]) -> None:
    """One column is enough for what an event is about."""
    for event in events:
        assert len(set(subjects(event)) - {event.version}) <= 1


@given(position=positions)
def test_a_position_is_read_back_from_its_text(position: Position) -> None:
    assert Position.parse(str(position)) == position


@given(positions=st.lists(positions))
def test_positions_are_ordered_by_number_then_ledger_then_version(positions: list[Position]) -> None:
    ordered = sorted(positions)
    assert ordered == sorted(positions, key=lambda at: (at.number, at.ledger_id, at.version))
    for one, two in pairwise(ordered):
        assert one <= two


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:", "a:2:x", "1:b:x", "-1:2:x", ":2:x", "\u0661:2:x"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match="no position"):
        Position.parse(text)


def test_a_position_is_read_from_text_only() -> None:
    value: Any = 7
    with pytest.raises(WrongTypeError, match="text"):
        Position.parse(value)
    with pytest.raises(TypeError):
        assert Position(1, "a", 1) < value


@given(times=st.lists(st.datetimes(timezones=st.just(UTC)), min_size=2))
def test_times_sort_as_their_texts_and_come_back_from_them(times: list[datetime]) -> None:
    times += [at.replace(microsecond=0) for at in times]
    assert [read_time(text) for text in sorted(map(stored_time, times))] == sorted(times)
    assert {len(stored_time(at)) for at in times} == {32}


@pytest.mark.parametrize("text", ["no JSON", "[" * 100_000])
def test_what_is_no_json_is_unreadable_even_with_its_checksum(text: str) -> None:
    row = EventRow(1, "LedgerOpened", "", None, None, None, None, None, text, checksum("acme", 1, None, text))
    with pytest.raises(UnreadableRecordError, match="no JSON"):
        read_event("acme", row)


def test_a_snapshot_of_another_ledger_is_unreadable_even_with_its_checksum() -> None:
    state = Ledger.open("acme", Terms("USD"), at=datetime(2026, 1, 1, tzinfo=UTC)).state()
    _, text, _ = state_row("acme", state)
    with pytest.raises(UnreadableRecordError, match="'other' is that of 'acme'"):
        read_state("other", 1, text, checksum("other", 1, None, text))


@pytest.mark.parametrize("text", ["yesterday", None, 5])
def test_what_is_no_time_is_unreadable(text: object) -> None:
    with pytest.raises(UnreadableRecordError):
        read_time(text)
