"""Histories: what commands given by numbers come to."""

from __future__ import annotations

import inspect

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build import usd
from commcredits import Event, Ledger, RechargePolicy, Terms
from commcredits.testing.histories import CHARGE_COMMANDS, COMMANDS, FUNDS_COMMANDS, History
from commcredits.testing.strategies import histories


def history(**terms: object) -> History:
    return History("acme", Terms("USD", **terms), [RechargePolicy(usd(10), usd(50))])  # type: ignore[arg-type]


def test_a_history_begins_with_the_opening_of_its_ledger() -> None:
    new = history()
    assert (new.ledger.ledger_id, new.events) == ("acme", [new.ledger.opened])
    assert new.ledger.payment_methods == ("card", "bank")


def test_a_command_that_is_refused_leaves_no_trace() -> None:
    told = history()
    for command in ("release", "refund", "claw_back", "reinstate", "reverse_consumption", "try_charge", "capture"):
        told.give(command, 0, 1)
    assert told.events == [told.ledger.opened]


def test_the_numbers_say_when_how_much_and_under_which_key() -> None:
    told = history()
    told.give("add_funds", 7, 1)
    told.give("add_funds", 0, 2)
    one, two = told.events[1:]
    assert (one.idempotency_key, two.idempotency_key) == ("key 1", None)
    assert one.at - History.OPENED == two.at - History.OPENED
    assert one.amount == usd("20.000000001")  # type: ignore[attr-defined]
    assert two.amount == usd("20.000000002")  # type: ignore[attr-defined]


def test_a_ledger_is_closed_only_after_many_commands() -> None:
    told = history()
    for _ in range(20):
        told.give("close", 0, 0)
    assert told.ledger.closed_at is None
    told.give("close", 0, 0)
    assert told.ledger.closed_at is not None


def test_commands_are_all_those_of_the_ledger_and_settle() -> None:
    def is_command(name: str) -> bool:
        member = getattr(Ledger, name)
        at = inspect.signature(member).parameters.get("at") if inspect.isfunction(member) else None
        return name[0] != "_" and at is not None and at.kind is inspect.Parameter.KEYWORD_ONLY

    assert set(COMMANDS) == {name for name in dir(Ledger) if is_command(name)} | {"settle"}
    assert {*FUNDS_COMMANDS, *CHARGE_COMMANDS} < set(COMMANDS)


def test_every_kind_of_event_happens_in_some_history() -> None:
    seen: set[type[Event]] = set()

    @settings(max_examples=150, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(histories(max_commands=60))
    def look(events: tuple[Event, ...]) -> None:
        seen.update(map(type, events))

    look()
    assert seen == set(Event.__subclasses__())


@given(st.lists(st.tuples(st.sampled_from(COMMANDS), st.integers(0, 99), st.integers(0, 9999)), max_size=30))
def test_a_history_is_all_that_its_ledger_recorded(commands: list[tuple[str, int, int]]) -> None:
    told = history(overdraft_limit=None)
    for command in commands:
        told.give(*command)
    assert [event.version for event in told.events] == list(range(1, len(told.events) + 1))
    assert Ledger.replay(told.events) == told.ledger
    told.ledger.check()
