"""Overdraft, holds, and the fingerprint of a request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from vector_files import START, Facts, funded, run, usd, when

from commcredits import FundsConsumed, HoldReleased, InsufficientFundsError, Ledger, Terms

FILE = "formance_overdraft_holds"

NOT_RUN = {
    "fl-sources-in-order": "a ledger has one overdraft: no lot has one of its own, and no caller scripts the order",
    "fl-complex-failure": "no caller splits usage over lots by percentages; what is refused records nothing anyway",
}
ADAPTED = {
    "fl-overdraft-short": "the overdraft is a limit in the terms",
    "fl-overdraft-unbounded": "the overdraft is a limit in the terms; none is without limit",
    "fw-hold-too-high": "there is nothing but the hold: an excess is drawn as usage is, and only refused as usage is",
    "fw-hold-partial-final": "the rest goes back to the very lot that it came from, which keeps its expiry",
    "fw-only-expired": "usage names no lots: the expired one is the only one there is",
    "fw-fingerprint": (
        "no command takes a mapping: the name is that of a hold, and what belongs to it, in the order of its keys, is"
        " cut in two for the kind and the description of its capture; also with each other control character for NUL"
    ),
}


@run(FILE, "fl-overdraft-short", "fl-overdraft-unbounded")
def test_usage_may_overdraw_up_to_the_limit_and_not_beyond(vector: Facts) -> None:
    setup, expected = vector["setup"], vector["expected"]
    ledger = funded(usd(setup["balance"]), overdraft=setup["overdraft"])
    before = ledger.state()
    (command,) = vector["commands"]
    assert command["op"] == "consume"
    if "error" in expected:
        assert expected["error"] == "insufficient"
        with pytest.raises(InsufficientFundsError):
            ledger.consume(usd(command["amount"]), at=when(command))
        assert ledger.state() == before
    else:
        ledger.consume(usd(command["amount"]), at=when(command))
        assert ledger.totals.consumed == usd(expected["consumed"])
    ledger.check()


@run(FILE, "fw-hold-confirm-default", "fw-hold-too-high", "fw-hold-partial-final")
def test_a_capture_takes_what_is_held_and_gives_the_rest_back_to_its_lot(vector: Facts) -> None:
    held, expected = usd(vector["setup"]["hold"]), vector["expected"]
    ledger = Ledger.open("customer", Terms("USD"), at=START)
    ledger.grant(held, at=START, expires_at=START + timedelta(days=1))
    ledger.hold("call", held, at=START, expires_at=START + timedelta(hours=1))
    before = ledger.state()
    (command,) = vector["commands"]
    assert command["op"] == "capture"
    amount = command["amount"]
    capture = {"amount": None if amount is None else usd(amount), "final": command.get("final", True), "at": START}
    if "error" in expected:
        assert expected["error"] == "insufficient"
        with pytest.raises(InsufficientFundsError):
            ledger.capture("call", **capture)
        assert ledger.state() == before
        assert [hold.amount for hold in ledger.holds] == [held]
        return
    consumed, released = ledger.capture("call", **capture)[:2]
    assert isinstance(consumed, FundsConsumed)
    assert isinstance(released, HoldReleased)
    assert consumed.amount == usd(expected["captured"])
    assert released.amount == usd(expected.get("returned", "0"))
    assert ledger.holds == ()
    assert [lot.remaining for lot in ledger.lots] == ([released.amount] if "returned" in expected else [])
    assert ledger.balance_at(START + timedelta(days=1)).is_zero
    ledger.check()


@run(FILE, "fw-only-expired")
def test_expired_funds_are_insufficient_funds(vector: Facts) -> None:
    ((lot,), (command,)) = vector["setup"]["lots"], vector["commands"]
    assert (command["op"], lot["expires"]) == ("consume", "1 minute ago")
    assert command["lots"] == [lot["id"]]
    at, amount = when(command), usd(command["amount"])
    ledger = Ledger.open("customer", Terms("USD"), at=at - timedelta(hours=1))
    ledger.grant(amount, at=at - timedelta(hours=1), expires_at=at - timedelta(minutes=1))
    assert vector["expected"]["error"] == "insufficient"
    with pytest.raises(InsufficientFundsError) as refusal:
        ledger.consume(amount, at=at)
    assert refusal.value.shortfall == amount
    assert ledger.balance_at(at).is_zero


def fingerprint(request: Facts, separator: str) -> str | None:
    """The digest of a capture that says what the request says."""
    texts = [text.replace("\0", separator) for pair in sorted((request["meta"] or {}).items()) for text in pair]
    kind, description = (separator.join(half) for half in (texts[: len(texts) // 2], texts[len(texts) // 2 :]))
    ledger = funded(usd("1"))
    ledger.hold(request["name"], usd("1"), at=START, expires_at=START + timedelta(hours=1))
    events = ledger.capture(request["name"], at=START, kind=kind, description=description, idempotency_key="request")
    assert events[0].idempotency_key == "request"
    return events[0].digest


@run(FILE, "fw-fingerprint")
def test_requests_have_the_same_fingerprint_exactly_if_they_say_the_same(vector: Facts) -> None:
    vector.set_aside("setup", "commands")
    for case in vector["expected"]["cases"]:
        for separator in map(chr, range(32)):
            same = fingerprint(case["a"], separator) == fingerprint(case["b"], separator)
            assert same == case["equal"], (case, separator)
