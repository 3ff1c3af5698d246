"""Holds: capture, release, time-out, the same request again, and taking as much as there is."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta
from typing import Any

import pytest
from vector_files import START, Facts, consumption, funded, run, usd

from commcredits import HoldEndedError, HoldReleased, InsufficientFundsError, Ledger, Money

FILE = "tigerbeetle_two_phase"

NOT_RUN = {
    "tb-failed-id": (
        "a refused command does not use up its key: it recorded nothing, so the same key may be used again, even for"
        " another command"
    ),
}
_FUNDED = "a hold never overdraws, so the ledger has funds for all of them"
_FOR_EVER = "; a hold that never times out is one for as long as the terms allow"
_UP_TO = "a refusal tells what is missing; the caller then takes what is left without it"
ADAPTED = {
    "tb-two-phase": (
        _FUNDED
        + _FOR_EVER
        + "; a release names no amount, so none can be wrong; what a capture needs beyond its hold is"
        " drawn as usage is, so too much for the hold is not too much"
    ),
    "tb-hold-replays": (
        "the same request has the same digest; all that is held is not the same request as so much, for arguments are"
        " compared as they were given"
    ),
    "tb-expiry-ladder": _FUNDED + _FOR_EVER,
    "tb-balancing-debit": _UP_TO,
    "tb-balancing-hold": _UP_TO + "; where nothing is left, nothing is held",
}
# Results that cannot come about, see ADAPTED: their commands are not given.
NO_COUNTERPART = ("exceeds_pending_amount", "different_amount")
ENDED = {"captured": "already_captured", "released": "already_released", "timed_out": "expired"}
LONGEST = timedelta(hours=24)


def after(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def held_at(ledger: Ledger, at: datetime) -> Money:
    """What is held at a time, holds that have timed out by then left out, without recording anything."""
    return ledger.balance_at(at) - ledger.available_at(at)


def amount_of(command: Facts) -> Money | None:
    """The amount of a capture; None: all that is held."""
    return None if command["amount"] == "max" else usd(command["amount"])


def end_hold(ledger: Ledger, command: Facts, at: datetime) -> tuple[str, Money | None]:
    """Capture or release a hold; what came of it, in the words of the vectors, and what was captured."""
    if "new_id" in command:
        command.set_aside("new_id")
    try:
        if command["op"] == "release":
            command.set_aside("amount")
            ledger.release(command["hold"], at=at)
            return "ok", None
        assert command["op"] == "capture"
        events = ledger.capture(command["hold"], amount_of(command), at=at)
    except HoldEndedError as error:
        return ENDED[error.reason], None
    ends = [event for event in events if isinstance(event, HoldReleased) and event.hold_id == command["hold"]]
    assert [event.reason for event in ends] == ["captured"]
    return "ok", consumption(events).amount


@run(FILE, "tb-two-phase", "tb-expiry-ladder")
def test_a_hold_is_captured_released_or_times_out_and_that_once(vector: Facts) -> None:
    expected = vector["expected"]
    assert vector["setup"]["unit"] == "integer"
    if "account" in vector["setup"]:
        assert vector["setup"]["account"] == "no limit flags"
    ends_at = max(command["t"] for command in vector["commands"])
    beginnings = [command for command in vector["commands"] if command["t"] == 0]
    ledger = funded(Money.total([usd(command["amount"]) for command in beginnings], "USD"))
    for command in beginnings:
        amount, name = usd(command["amount"]), command["id"]
        if command["op"] == "consume":
            ledger.consume(amount, at=START)
        else:
            assert command["op"] == "hold"
            timeout = command["timeout_s"]
            ledger.hold(name, amount, at=START, expires_at=after(timeout) if timeout else START + LONGEST)
    if "after_t0" in expected:
        assert ledger.held == usd(expected["after_t0"]["held"])
        assert ledger.totals.consumed == usd(expected["after_t0"]["consumed"])
    for seconds, held in expected.get("held_at", Facts({})).items():
        assert held_at(ledger, after(int(seconds))) == usd(held), seconds

    results = expected[f"results_t{ends_at}"]
    endings = [command for command in vector["commands"] if command["t"] == ends_at]
    for command, result in zip(endings, results, strict=True):
        if result in NO_COUNTERPART:
            command.set_aside("op", "hold", "amount")
        else:
            word, captured = end_hold(ledger, command, after(ends_at))
            expected_word, _, amount = result.partition(" ")
            assert word == expected_word, command
            assert captured is None or captured == usd(amount or command["amount"]), command
    assert ledger.held == usd(expected["final"]["held"])
    assert ledger.totals.consumed == usd(expected["final"]["consumed"])
    ledger.check()


@run(FILE, "tb-hold-replays")
def test_a_capture_under_the_same_key_is_the_same_request_if_it_asks_for_the_same_amount(vector: Facts) -> None:
    captured = vector["setup"]["captured"]
    held = usd(captured["hold_amount"])
    ledger = funded(held + held)
    ledger.hold(captured["hold"], held, at=START, expires_at=START + LONGEST)

    def digest(key: str, amount: Money | None) -> str | None:
        (event, *_) = copy(ledger).capture(captured["hold"], amount, at=START, idempotency_key=key)
        assert event.idempotency_key == key
        return event.digest

    recorded = digest(captured["id"], usd(captured["captured"]))
    assert recorded is not None
    for command, result in zip(vector["commands"], vector["expected"]["results"], strict=True):
        assert command["op"] == "capture"
        same = digest(command["id"], amount_of(command)) == recorded
        assert same == (result == "exists (same result)" and command["amount"] != "max"), command


def up_to(command: Any, ledger: Ledger, amount: Money) -> Money:
    """Give a command the amount, or as much of it as there is; how much that was."""
    before = ledger.state()
    try:
        command(amount)
    except InsufficientFundsError as error:
        assert ledger.state() == before
        amount -= error.shortfall
        if not amount.is_zero:
            command(amount)
    return amount


@run(FILE, "tb-balancing-debit")
def test_usage_takes_as_much_as_there_is_once_the_refusal_told_what_is_missing(vector: Facts) -> None:
    of, expected = vector["setup"]["of"], vector["expected"]
    ledger = funded(usd(of["credits"]))
    ledger.hold("other", usd(of["held"]), at=START, expires_at=START + LONGEST)
    assert ledger.available == usd(vector["setup"]["available"])
    taken = []
    for command in vector["commands"]:
        assert command["op"] == "consume_up_to"
        taken.append(up_to(lambda amount: ledger.consume(amount, at=START), ledger, usd(command["amount"])))
    assert taken == [usd(amount) for amount in expected["taken"]]
    assert ledger.held == usd(expected["final"]["held"])
    assert ledger.totals.consumed == usd(expected["final"]["consumed"])
    with pytest.raises(InsufficientFundsError):
        ledger.consume(usd("0.000000001"), at=START)


@run(FILE, "tb-balancing-hold")
def test_a_hold_takes_as_much_as_there_is_once_the_refusal_told_what_is_missing(vector: Facts) -> None:
    expected = vector["expected"]
    ledger = funded(usd(vector["setup"]["credits"]))
    held, captured = [], []
    for command in vector["commands"]:
        amount = usd(command["amount"])
        if command["op"] == "hold_up_to":
            name = command["id"]

            def hold(amount: Money, name: str = name) -> None:
                ledger.hold(name, amount, at=START, expires_at=START + LONGEST)

            held.append(up_to(hold, ledger, amount))
            continue
        if not captured:
            assert ledger.held == usd(expected["after_holds"]["held"])
        assert command["op"] == "capture"
        captured.append(consumption(ledger.capture(command["hold"], amount, at=START)).amount)
    assert held == [usd(amount) for amount in expected["held"]]
    assert captured == [usd(amount) for amount in expected["captured"]]
    final = expected["final"]
    assert (ledger.held, ledger.totals.consumed) == (usd(final["held"]), usd(final["consumed"]))
    assert ledger.available == usd(final["available"])
    ledger.check()
