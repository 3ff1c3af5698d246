"""Lots: the order in which they burn, their expiry, overdraft, and alerts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from vector_files import START, Facts, funded, instant, overdraft_limit, run, usd, when

from commcredits import (
    AlertRaised,
    CommCreditsError,
    Event,
    FundsConsumed,
    InsufficientFundsError,
    Ledger,
    Money,
    Terms,
)

FILE = "usage_credits_lots"

NOT_RUN: dict[str, str] = {}
ADAPTED = {
    "uc-negative": "the overdraft is a limit in the terms: allowed is without limit",
    "uc-validate-table": "whole credits are our billionths: half of one is finer than what is kept",
    "uc-failed-work-no-charge": "funds are held during the work, and released when it fails; no usage is recorded",
    "rw-negative-unbacked": "the overdraft is a limit in the terms: allowed is without limit",
    "rw-credit-snapshots": "before and after are read of the ledger; events carry no balances",
}
BURN_ORDER = ["expires_at asc (null last)", "id asc"]
FORMULAS = {"(i+1)*10": lambda i: (i + 1) * 10}


class Customer:
    """A ledger with the lots of a vector, the events since, and the vector's names for the lots."""

    def __init__(self, setup: Facts, *, backwards: bool = False) -> None:
        if "policy" in setup:
            assert setup["policy"]["order"] == BURN_ORDER
            assert setup["policy"]["active"] == "expires_at > now"
        alerts = (usd(setup["alert_threshold"]),) if "alert_threshold" in setup else ()
        terms = Terms("USD", overdraft_limit=overdraft_limit(setup.get("overdraft")), alert_thresholds=alerts)
        self.ledger = Ledger.open("customer", terms, at=START)
        self.events: list[Event] = []
        self.lot_ids: dict[str, int] = {}
        if "generate" in setup:
            formula = FORMULAS[setup["generate"]["amount_of_i"]]
            for i in range(setup["generate"]["count"]):
                self.ledger.grant(Money(formula(i), "USD"), at=START)
        grants = setup.get("grants", [])
        for grant in reversed(grants) if backwards else grants:
            expires_at = grant["expires_at"]
            events = self.ledger.grant(
                usd(grant["amount"]),
                at=instant(grant["effective_at"]),
                expires_at=None if expires_at is None else instant(expires_at),
            )
            self.events += events
            self.lot_ids[grant["id"]] = events[0].version

    def carry_out(self, command: Facts) -> Money | None:
        """Give a command; the balance it asks for, if it does."""
        match command["op"]:
            case "consume":
                for _ in range(command.get("repeat", 1)):
                    self.events += self.ledger.consume(usd(command["amount"]), at=when(command))
            case "query_balance":
                return self.ledger.balance_at(when(command))
            case "consume_with_work":
                assert command["work"] == "raises"
                self.ledger.hold("work", usd(command["amount"]), at=START, expires_at=START + timedelta(hours=1))
                self.events += self.ledger.release("work", at=START)
            case op:
                raise AssertionError(op)
        return None


@run(FILE, but=("uc-validate-table", "rw-credit-snapshots"))
def test_usage_burns_lots_in_order_and_leaves_the_balances_expected(vector: Facts) -> None:
    check(Customer(vector["setup"]), vector)


@run(FILE, "uc-expiring-first", "uc-non-expiring-last")
def test_lots_of_different_expiry_burn_in_its_order_whichever_came_first(vector: Facts) -> None:
    expiries = [grant["expires_at"] for grant in vector["setup"]["grants"]]
    assert len(set(expiries)) == len(expiries)
    check(Customer(vector["setup"], backwards=True), vector)


def check(customer: Customer, vector: Facts) -> None:
    """Give the commands, and compare with everything that is expected."""
    expected = vector["expected"]
    ledger, balance = customer.ledger, None
    before = ledger.state()
    for command in vector["commands"]:
        if "error" in expected:
            assert expected["error"] == "insufficient"
            with pytest.raises(InsufficientFundsError):
                customer.carry_out(command)
            assert ledger.state() == before
        else:
            balance = customer.carry_out(command)
    ledger.check()

    draws = [draw for event in customer.events if isinstance(event, FundsConsumed) for draw in event.draws]
    remaining = {lot.lot_id: lot.remaining for lot in ledger.lots}
    zero = Money.zero("USD")
    # One check for each thing that a vector can expect.
    for name, value in expected.items():
        match name:
            case "allocations":
                assert draws == [(customer.lot_ids[lot], usd(amount)) for lot, amount in value]
            case "allocation_count":
                assert len(draws) == value
            case "balances":
                left = {lot: remaining.get(lot_id, zero) for lot, lot_id in customer.lot_ids.items()}
                assert left == {lot: usd(amount) for lot, amount in value.items()}
            case "balance":
                assert (ledger.balance if balance is None else balance) == usd(value)
            case "balance_at_most":
                assert ledger.balance <= usd(value)
            case "unbacked":
                assert ledger.overdraft == usd(value)
            case "alerts":
                assert sum(isinstance(event, AlertRaised) for event in customer.events) == value
            case "rows_written":
                assert sum(isinstance(event, FundsConsumed) for event in customer.events) == value
            case _:
                assert name == "error"


@run(FILE, "uc-validate-table")
def test_funds_are_whole_billionths_above_zero_that_do_not_expire_in_the_past(vector: Facts) -> None:
    vector.set_aside("setup", "commands")
    ledger = Ledger.open("customer", Terms("USD"), at=START)
    before = ledger.state()

    def give(case: Facts) -> None:
        amount = case["amount"]
        money = None if amount is None else Money(Decimal(amount).scaleb(-9), "USD")
        past = START - timedelta(days=1) if case.get("expires") == "1 day ago" else None
        ledger.grant(money, at=START, expires_at=past)  # type: ignore[arg-type]

    for case in vector["expected"]["cases"]:
        assert case["ok"] is False
        if "why" in case:
            assert case["why"] == "whole number"
        with pytest.raises(CommCreditsError):
            give(case)
        assert ledger.state() == before
    give(Facts({"amount": "10"}))
    assert ledger.balance == Money("0.00000001", "USD")


@run(FILE, "rw-credit-snapshots")
def test_funds_added_change_the_balance_by_their_amount(vector: Facts) -> None:
    ledger = funded(usd(vector["setup"]["balance"]))
    (command,) = vector["commands"]
    assert command["op"] == "add_funds"
    assert ledger.balance == usd(vector["expected"]["before"])
    ledger.add_funds(usd(command["amount"]), at=START)
    assert ledger.balance == usd(vector["expected"]["after"])
