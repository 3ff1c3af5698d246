"""When a recharge fires and how much it charges, by the documents of vendors."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from vector_files import START, Facts, funded, run, usd, when

from commcredits import (
    ChargeRequested,
    Event,
    InvalidValueError,
    Ledger,
    Money,
    Paid,
    RechargeLimit,
    RechargePolicy,
    Terms,
    Threshold,
)

FILE = "documented_examples"

NOT_RUN = {
    "doc-x-api-edge-not-armed": (
        "the trigger is a level, not an edge: a policy that is enabled while the balance is already below its"
        " threshold requests a charge at once"
    ),
}
ADAPTED = {
    "doc-telnyx-threshold-plus": "threshold plus amount less balance is a recharge to threshold plus amount",
    "doc-x-api-edge": "the trigger is a level: armed by the balance being at the threshold when the policy is enabled",
    "doc-kazoo-strict-and-daily": (
        "the limit counts calendar days, not trailing ones: the first recharge is made at midnight, so that both agree"
    ),
    "doc-kazoo-both-positive": "a threshold of zero is allowed: recharge once the balance is below zero",
}
INCLUSIVE = {
    "below": False,
    "strictly_below": False,
    "at threshold": True,
    "edge: first time below after having been at or above": False,
}
REASONS = {"above_threshold": "balance_above_threshold", "limit_reached": "topup_daily_limit"}


def policy_of(rule: Facts) -> RechargePolicy:
    threshold = Threshold(usd(rule["threshold"]), inclusive=INCLUSIVE[rule["trigger"]])
    method = rule["method"]
    if method == "target":
        return RechargePolicy(threshold, recharge_to=usd(rule["target"]))
    amount = usd(rule["amount"])
    if method == "threshold_plus":
        return RechargePolicy(threshold, recharge_to=threshold.amount + amount)
    assert method == "fixed"
    limits = [RechargeLimit(count=rule["max_per_trailing_24h"], per="day")] if "max_per_trailing_24h" in rule else ()
    return RechargePolicy(threshold, amount, limits=limits)


def pay(ledger: Ledger, events: tuple[Event, ...], at: datetime) -> list[Money]:
    """Make the charges that were requested, and say what they come to."""
    requested = [event for event in events if isinstance(event, ChargeRequested)]
    for event in requested:
        ledger.try_charge(event.charge_id, at=at)
        ledger.record_outcome(event.charge_id, Paid("receipt"), at=at)
    return [event.amount for event in requested]


@run(FILE, but=(*NOT_RUN, "doc-kazoo-strict-and-daily", "doc-kazoo-both-positive"))
def test_a_recharge_fires_and_charges_as_documented(vector: Facts) -> None:
    balance = vector["setup"]["balance"]
    policy = policy_of(vector["setup"]["rule"])
    ledger = funded(usd(balance))
    (command,) = vector["commands"]
    events = ledger.configure_auto_recharge(policy, at=when(command))
    if command["op"] == "consume":
        assert ledger.pending_charges == ()
        events = ledger.consume(usd(command["amount"]), at=when(command))
    else:
        assert command["op"] == "evaluate_recharge"
    charged = pay(ledger, events, when(command))
    ledger.check()
    expected = vector["expected"]
    if "fires" in expected:
        assert bool(charged) == expected["fires"]
        return
    assert charged == [usd(amount) for amount in expected.get("charges", [expected.get("recharge")])]
    assert ledger.balance == usd(expected["balance"])


@run(FILE, "doc-kazoo-strict-and-daily")
def test_a_recharge_is_refused_at_the_threshold_and_once_the_days_limit_is_reached(vector: Facts) -> None:
    policy = policy_of(vector["setup"]["rule"])
    ledger = Ledger.open("customer", Terms("USD"), at=START)
    ledger.add_funds(usd("20"), at=START)
    results = []
    for command in vector["commands"]:
        assert command["op"] == "evaluate_recharge"
        at = START + timedelta(hours=command.get("hours_later", 0))
        events = ledger.consume(ledger.available - usd(command["balance"]), at=at)
        events += ledger.configure_auto_recharge(policy, at=at)
        charged = pay(ledger, events, at)
        reason = ledger.recharge_decision(at).reason
        results.append(("recharge", *charged) if charged else (REASONS[str(reason)],))
    told = [result.split() for result in vector["expected"]["results"]]
    assert results == [(word, *map(usd, amounts)) for word, *amounts in told]


@run(FILE, "doc-kazoo-both-positive")
def test_a_recharge_policy_needs_an_amount_above_zero(vector: Facts) -> None:
    vector.set_aside("setup", "commands")
    for case in vector["expected"]["cases"]:
        threshold, amount = usd(case["threshold"]), usd(case["amount"])
        if case["ok"] or threshold.is_zero:
            assert RechargePolicy(threshold, amount).amount == amount
        else:
            with pytest.raises(InvalidValueError, match="amount"):
                RechargePolicy(threshold, amount)
