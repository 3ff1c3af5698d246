from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from build import T0, kinds, usd
from commcredits import (
    Charge,
    InMemoryStorage,
    InsufficientFundsError,
    Ledger,
    Paid,
    RechargePolicy,
    Terms,
)
from commcredits.appending import Appender, Command, Receipt, Request
from commcredits.gathering import ThreadGate
from commcredits.settling import Settler
from commcredits.stepping import SteppedPaymentMethod, stepped
from commcredits.storage import Head, SteppedStorage


class Card:
    """Pays, unless told to raise."""

    def __init__(self) -> None:
        self.charged: list[Charge] = []
        self.raises: Exception | None = None

    def charge(self, charge: Charge) -> Paid:
        self.charged.append(charge)
        if self.raises is not None:
            raise self.raises
        return Paid("receipt")


class Desk:
    """A storage with one open ledger, and two who settle on it."""

    def __init__(self) -> None:
        self.now = T0
        self.storage = InMemoryStorage()
        account = Ledger.open("acme", Terms("USD"), at=T0)
        self.storage.append("acme", [account.opened], expected_version=0, head=Head.of(account), state=account.state)
        self.card = Card()
        self.appender = Appender(SteppedStorage(self.storage), ThreadGate(), self.clock)
        self.settler = Settler(self.appender, SteppedPaymentMethod(self.card))

    def clock(self) -> datetime:
        return self.now

    def ask(self, name: str, **arguments: Any) -> Request:
        return stepped(self.appender.carry_out("acme", Request([Command(name, arguments)])))

    def settle(self, request: Request) -> Receipt:
        stepped(self.settler.make_due_charge("acme", request))
        assert request.last_receipt is not None
        return request.last_receipt

    def stored(self) -> list[str]:
        return kinds(list(self.storage.history("acme")))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def purchase(desk: Desk) -> Request:
    return desk.ask("purchase", amount=usd(50), payment_method=None, reference="")


def test_the_due_charge_is_claimed_before_it_is_made_and_recorded_after(desk: Desk) -> None:
    receipt = desk.settle(purchase(desk))
    assert [charge.status for charge in desk.card.charged] == ["tried"]
    assert kinds(receipt.events) == ["ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]
    assert desk.stored() == ["LedgerOpened", *kinds(receipt.events)]
    assert (receipt.balance, receipt.pending_charges, receipt.charge_error) == (usd(50), (), None)


def test_with_nothing_due_no_charge_is_made_and_the_receipt_stays(desk: Desk) -> None:
    request = desk.ask("advance")
    before = request.answers[0]
    assert desk.settle(request) is before
    assert desk.card.charged == []


def test_a_charge_that_somebody_else_claimed_is_not_made_again(desk: Desk) -> None:
    request = purchase(desk)
    desk.settle(request)
    first_events = desk.stored()
    late = Request(request.commands)
    late.answers, late.due_charge = list(request.answers), desk.card.charged[0]
    receipt = desk.settle(late)
    assert len(desk.card.charged) == 1
    assert desk.stored() == first_events
    assert receipt.charge_error is None


def test_the_receipt_tells_of_a_charge_that_somebody_else_made_just_before(desk: Desk) -> None:
    ours, theirs = purchase(desk), desk.ask("advance")
    theirs.due_charge = ours.due_charge
    desk.settle(theirs)
    receipt = desk.settle(ours)
    assert (receipt.balance, receipt.pending_charges, receipt.charge_error) == (usd(50), (), None)
    assert kinds(receipt.events) == ["ChargeRequested"]
    assert len(desk.card.charged) == 1


def test_a_payment_method_that_raises_leaves_the_charge_tried_and_tells(desk: Desk) -> None:
    desk.card.raises = ConnectionError("no answer")
    receipt = desk.settle(purchase(desk))
    assert receipt.charge_error is desk.card.raises
    assert [charge.status for charge in receipt.pending_charges] == ["tried"]
    assert kinds(receipt.events) == ["ChargeRequested", "ChargeTried"]


def test_an_answer_that_is_no_outcome_leaves_the_charge_tried_and_tells(desk: Desk) -> None:
    desk.card.charge = lambda charge: None  # type: ignore[method-assign]
    receipt = desk.settle(purchase(desk))
    assert "outcome" in str(receipt.charge_error)
    assert desk.stored()[-1] == "ChargeTried"


def test_cancellation_passes(desk: Desk) -> None:
    request = purchase(desk)
    desk.card.raises = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        desk.settle(request)
    assert desk.stored()[-1] == "ChargeTried"


def test_no_charge_is_made_in_a_callers_transaction(desk: Desk) -> None:
    desk.storage.in_caller_transaction = True
    receipt = desk.settle(purchase(desk))
    assert desk.card.charged == []
    assert [charge.status for charge in receipt.pending_charges] == ["requested"]


def refused_usage(desk: Desk) -> Request:
    usage = {"amount": usd(30), "occurred_at": None, "kind": "", "description": ""}
    request = Request([Command("consume", usage)])
    with pytest.raises(InsufficientFundsError):
        stepped(desk.appender.carry_out("acme", request))
    return request


def test_refused_usage_asks_for_its_recharge_only_if_the_decision_says_so(desk: Desk) -> None:
    desk.ask("add_funds", amount=usd(25), reference="")
    desk.ask("configure_auto_recharge", policy=RechargePolicy(usd(20), usd(50)))
    assert refused_usage(desk).refused is None
    desk.ask("configure_auto_recharge", policy=RechargePolicy(usd(20), usd(50), recharge_when_refused=True))
    request = stepped(desk.settler.request_refused("acme", refused_usage(desk)))
    assert request is not None
    assert desk.settle(request).balance == usd(75)


def test_whatever_keeps_a_recharge_from_being_asked_for_the_refusal_stays_the_answer(desk: Desk) -> None:
    desk.ask("configure_auto_recharge", policy=RechargePolicy(usd(0), usd(50), recharge_when_refused=True))
    request = refused_usage(desk)
    desk.now -= timedelta(hours=1)
    assert stepped(desk.settler.request_refused("acme", request)) is None
