"""Recharges that fire at or below a threshold, are sized in multiples or to a target, and back off after a decline.

A wallet's balance is settled, its ongoing balance has open usage taken off: that is a hold here, or usage where there
are no funds to hold. A top-up that is still to be paid is a purchase.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from vector_files import Facts, instant, run, usd

from commcredits import (
    ChargeRequested,
    Declined,
    Event,
    InvalidValueError,
    Ledger,
    Money,
    Paid,
    RechargeLimit,
    RechargeLimitReached,
    RechargePolicy,
    Terms,
    Threshold,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = "lago_threshold_topup"

_NO_FREE_RECHARGE = "a recharge takes money: nothing is granted automatically, an application grants when it wants to"
NOT_RUN = {
    "lago-tt-target-granted": _NO_FREE_RECHARGE,
    "lago-tt-declined-grant-only-rule": _NO_FREE_RECHARGE,
    "lago-scn-target-free": _NO_FREE_RECHARGE,
}
_PAID_PART = "only what is paid is compared: what is granted with it is the application's"
_LIMIT = (
    "; what is reported there is refused by a limit here, which counts calendar days: a day begins as long ago as the"
    " window is long, so that both count the same recharges"
)
ADAPTED = {
    "lago-tt-fixed-fires": _PAID_PART,
    "lago-tt-several-short": _PAID_PART,
    "lago-tt-target-min": _PAID_PART,
    "lago-tt-declined-old": _PAID_PART,
    "lago-tt-declined-then-granted-only": "the size of the grant is ours: one cent, which leaves the trigger as it is",
    "lago-tt-state-unchanged": (
        "the trigger is a level, so the rule fires when it is first evaluated; a second evaluation buys nothing,"
        " because the charge that is pending counts"
    ),
    "lago-tt-burst-3-old": _PAID_PART + _LIMIT,
    "lago-tt-burst-2-plus-granted": _PAID_PART + _LIMIT,
    "lago-size-granted": "what is granted with a recharge is on the ledger before it is sized",
    "lago-min-raise": "the amount is the gap between an empty ledger and what it is recharged to; there is no maximum",
    "lago-min-none": "the amount is the gap between an empty ledger and what it is recharged to; there is no maximum",
    "lago-target-validation": (
        "a target at the threshold is refused if the threshold is inclusive, so that pair is tried with one that is"
        " not; there is no trigger other than the balance"
    ),
    "lago-target-already-above": "the gap is charged, not granted; the threshold, which is not told, is the target",
}
RESULTS = {"decline_backoff": "backing_off", "no state change": "above_threshold"}

DAY = datetime(2024, 6, 6, tzinfo=UTC)


class Wallet:
    """A ledger set up as the vector says, and the evaluation of its rule at `now`."""

    def __init__(self, setup: Facts) -> None:
        wallet, rule = setup["wallet"], setup["rule"]
        # A credit is a dollar, no charge is too large, and nothing is granted by a rule.
        for facts, name in ((wallet, "rate"), (wallet, "max_top_up"), (rule, "grant_gap")):
            if name in facts:
                facts.set_aside(name)
        burst = setup.get("burst")
        limits: Iterable[RechargeLimit] = ()
        self.now = DAY + timedelta(hours=12)
        if burst is not None:
            limits = [RechargeLimit(count=burst["count"], per="day")]
            self.now = DAY + timedelta(minutes=burst["window_minutes"])
        self.ongoing = usd(wallet["ongoing_balance"])
        self.granted = usd(rule.get("granted", "0"))
        self.policy = policy_of(rule, limits)
        # Limits are ignored for a fixed amount only: a gap is raised to the minimum in any case.
        ignored = rule.get("ignore_limits", False) and self.policy.amount is not None
        minimum = wallet.get("min_top_up")
        opened = self.now - timedelta(hours=6)
        self.ledger = Ledger.open(
            "customer",
            Terms(
                "USD",
                overdraft_limit=None,
                minimum_purchase=None if minimum is None or ignored else usd(minimum),
            ),
            at=opened,
        )
        zero = Money.zero("USD")
        settled = usd(wallet["balance"]) if "balance" in wallet else max(self.ongoing, zero)
        if settled > zero:
            self.ledger.add_funds(settled, at=opened)
        usage = settled - self.ongoing
        if zero < usage <= settled:
            self.ledger.hold("open usage", usage, at=opened, expires_at=opened + timedelta(hours=24))
        else:
            self.ledger.consume(usage, at=opened)
        if "pending" in wallet:
            self.ledger.purchase(usd(wallet["pending"]), at=opened)
        assert self.ledger.available == self.ongoing

    def evaluate(self, at: datetime) -> tuple[Event, ...]:
        """Bring what is available to the ongoing balance, and evaluate the rule."""
        events = self.ledger.consume(self.ledger.available - self.ongoing, at=at)
        return events + self.ledger.configure_auto_recharge(self.policy, at=at)

    def settle(self, outcome: Paid | Declined, at: datetime) -> None:
        """Make the recharge that is due at the ongoing balance."""
        (charge_id,) = [charge.charge_id for charge in requested(self.evaluate(at))]
        self.ledger.try_charge(charge_id, at=at)
        self.ledger.record_outcome(charge_id, outcome, at=at)

    def grant(self, amount: Money, at: datetime) -> None:
        """Give funds away, on top of the ongoing balance."""
        self.ledger.grant(amount, at=at)
        self.ongoing += amount


def policy_of(rule: Facts, limits: Iterable[RechargeLimit] = ()) -> RechargePolicy:
    method = rule["method"]
    # A rule of which no threshold is told is there to be sized: any threshold that its target allows will do.
    inclusive = rule.get("trigger", "strictly_below") == "at_or_below"
    threshold = Threshold(usd(rule["threshold"] if "threshold" in rule else rule["target"]), inclusive=inclusive)
    if method == "target":
        return RechargePolicy(threshold, recharge_to=usd(rule["target"]), limits=limits)
    assert method == "fixed"
    return RechargePolicy(threshold, usd(rule["paid"]), in_multiples=True, limits=limits)


def requested(events: Iterable[Event]) -> list[ChargeRequested]:
    return [event for event in events if isinstance(event, ChargeRequested)]


def minutes_before(now: datetime, command: Facts) -> datetime:
    return now - timedelta(minutes=command["minutes_ago"])


def carry_out(wallet: Wallet, commands: list[Facts]) -> tuple[Event, ...]:
    """Give the commands; what the last of them, the evaluation, recorded."""
    events: tuple[Event, ...] = ()
    for command in commands:
        match command["op"]:
            case "recharge_failed":
                assert command["source"] == "automatic"
                wallet.settle(Declined("no funds"), minutes_before(wallet.now, command))
            case "granted":
                wallet.grant(usd("0.01"), minutes_before(wallet.now, command))
            case "history":
                assert command["source"] == "automatic"
                at = minutes_before(wallet.now, command)
                if command["status"] == "purchased":
                    wallet.settle(Paid("receipt"), at)
                else:
                    assert command["status"] == "granted"
                    wallet.ledger.grant(wallet.granted, at=at)
            case "evaluate_recharge":
                events = wallet.evaluate(wallet.now)
                if not command.get("state_changed", True):
                    assert len(requested(events)) == 1
                    events = wallet.ledger.advance(at=wallet.now)
            case "size_recharge":
                if not wallet.granted.is_zero:
                    wallet.grant(wallet.granted, wallet.now)
                events = wallet.evaluate(wallet.now)
            case op:
                raise AssertionError(op)
    return events


@run(
    FILE,
    but=(*NOT_RUN, "lago-min-raise", "lago-min-none", "lago-target-validation", "lago-scn-pending-then-settled"),
)
def test_a_recharge_fires_at_the_threshold_once_for_all_that_is_short(vector: Facts) -> None:
    wallet = Wallet(vector["setup"])
    events = carry_out(wallet, vector["commands"])
    amounts = [event.amount for event in requested(events)]
    wallet.ledger.check()
    expected = vector["expected"]
    if "recharge" in expected:
        recharge = expected["recharge"]
        assert amounts == ([] if recharge is None else [usd(recharge["paid"])])
        if recharge is not None:
            recharge.set_aside("granted")
    elif "granted" in expected:
        assert sum(amounts, usd("0")) == usd(expected["granted"])
    else:
        assert amounts == [usd(expected["paid"])]
    if "charges" in expected:
        assert len(wallet.ledger.pending_charges) == expected["charges"]
    if "reason" in expected:
        assert wallet.ledger.recharge_decision(wallet.now).reason == RESULTS[expected["reason"]]
    if "burst_reported" in expected:
        assert any(isinstance(event, RechargeLimitReached) for event in events) == expected["burst_reported"]


@run(FILE, "lago-min-raise", "lago-min-none")
def test_a_computed_amount_is_raised_to_the_minimum(vector: Facts) -> None:
    wallet = vector["setup"]["wallet"]
    wallet.set_aside("max_top_up")
    assert vector["setup"]["rule"]["ignore_limits"] is False
    (command,) = vector["commands"]
    assert command["op"] == "apply_minimum"
    minimum = wallet["min_top_up"]
    ledger = Ledger.open("customer", Terms("USD", minimum_purchase=None if minimum is None else usd(minimum)), at=DAY)
    policy = RechargePolicy(Threshold(Money.zero("USD"), inclusive=True), recharge_to=usd(command["amount"]))
    events = ledger.configure_auto_recharge(policy, at=DAY)
    assert [event.amount for event in requested(events)] == [usd(vector["expected"]["amount"])]


@run(FILE, "lago-target-validation")
def test_a_target_below_the_threshold_is_refused(vector: Facts) -> None:
    vector.set_aside("setup", "commands")
    for case in vector["expected"]["cases"]:
        threshold, target, valid = usd(case["threshold"]), usd(case["target"]), case["valid"]
        if case.get("trigger") == "interval":
            continue
        if valid:
            policy = RechargePolicy(Threshold(threshold, inclusive=threshold != target), recharge_to=target)
            assert policy.recharge_to == target
        if not valid or threshold == target:
            with pytest.raises(InvalidValueError, match="recharge_to"):
                RechargePolicy(Threshold(threshold, inclusive=True), recharge_to=target)


@run(FILE, "lago-scn-pending-then-settled")
def test_what_is_still_to_be_paid_is_not_there_to_be_spent(vector: Facts) -> None:
    (grant,) = vector["setup"]["grants"]
    grant.set_aside("id")
    assert (grant["kind"], grant["expires_at"]) == ("granted", None)
    at = instant(grant["effective_at"])
    ledger = Ledger.open("customer", Terms("USD"), at=at)
    ledger.grant(usd(grant["amount"]), at=at)
    found = []
    for command in vector["commands"]:
        match command["op"]:
            case "add_funds":
                assert command["require_payment"] is True
                ledger.purchase(usd(command["amount"]), at=at)
            case "payment_result":
                assert command["status"] == "succeeded"
                (charge,) = ledger.pending_charges
                ledger.try_charge(charge.charge_id, at=at)
                ledger.record_outcome(charge.charge_id, Paid("receipt"), at=at)
            case op:
                assert op == "query_balance"
                status = "pending" if ledger.pending_charges else "settled"
                found.append((ledger.available_at(instant(command["at"])), status))
    steps = ("after_request", "after_payment")
    assert found == [(usd(step["balance"]), step["status"]) for step in (vector["expected"][name] for name in steps)]
    ledger.check()
