"""Charges, what can become of them, and several payment methods as one."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import pickle
from typing import Any

import attrs
import pytest

from commcredits import (
    Charge,
    Declined,
    Money,
    Paid,
    PaymentMethods,
    Processing,
    UnknownPaymentMethodError,
    WrongTypeError,
)
from desk import OPENED, usd

CHARGE = Charge("desk:2:20240301T120000000000Z", "desk", usd(20), "card", "purchase", 1, OPENED)


class Card:
    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[Charge] = []

    def charge(self, charge: Charge) -> Any:
        self.seen.append(charge)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AsyncCard(Card):
    async def charge(self, charge: Charge) -> Any:
        await asyncio.sleep(0)
        return super().charge(charge)


def test_an_outcome_needs_no_reference_and_a_decline_may_be_retried_unless_said_otherwise() -> None:
    assert Paid() == Paid(reference="")
    assert Processing() == Processing(reference="")
    assert Declined("no funds") == Declined(reason="no funds", retryable=True)
    assert Declined("stolen", retryable=False) != Declined("stolen")


def test_a_decline_has_a_reason() -> None:
    with pytest.raises(TypeError):
        Declined()


@pytest.mark.parametrize("value", [None, 5, b"ref", ["ref"]])
def test_what_the_provider_says_is_text(value: Any) -> None:
    for kind in (Paid, Processing, Declined):
        with pytest.raises(WrongTypeError) as caught:
            kind(value)
        assert caught.value.value == value


@pytest.mark.parametrize("value", [None, 0, 1, "yes"])
def test_retryable_is_a_bool(value: Any) -> None:
    with pytest.raises(WrongTypeError, match="retryable"):
        Declined("no", retryable=value)


@pytest.mark.parametrize("value", [Paid("one"), Declined("no", retryable=False), Processing(), CHARGE])
def test_an_outcome_and_a_charge_are_plain_values(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value  # noqa: S301 - written one call before
    assert hash(copy.copy(value)) == hash(value)
    kinds = {"Charge": Charge, "Declined": Declined, "Money": Money, "Paid": Paid, "Processing": Processing}
    assert eval(repr(value), {**kinds, "datetime": dt}) == value  # noqa: S307
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        value.reference = "two"


def test_the_outcomes_are_three_different_things() -> None:
    assert Paid("x") != Processing("x")
    assert len({Paid(), Processing(), Declined("")}) == 3


@pytest.mark.parametrize(
    ("status", "pending"),
    [
        ("requested", True),
        ("tried", True),
        ("processing", True),
        ("unresolved", True),
        ("paid", False),
        ("declined", False),
        ("withdrawn", False),
    ],
)
def test_a_charge_is_pending_until_it_is_known_to_be_paid_or_declined(status: Any, pending: bool) -> None:
    assert attrs.evolve(CHARGE, status=status).is_pending is pending


def test_a_charge_begins_requested_and_untried() -> None:
    assert (CHARGE.status, CHARGE.reference, CHARGE.refused, CHARGE.outcome) == ("requested", "", None, None)
    assert (CHARGE.tried_at, CHARGE.last_tried_at, CHARGE.processing_at) == (None, None, None)


def test_each_charge_goes_to_the_method_of_its_name() -> None:
    card, bank = Card(Paid("card")), Card(Declined("bank"))
    methods = PaymentMethods({"card": card, "bank": bank})
    to_bank = attrs.evolve(CHARGE, payment_method="bank")
    assert methods.charge(CHARGE) == Paid("card")
    assert methods.charge(to_bank) == Declined("bank")
    assert (card.seen, bank.seen) == ([CHARGE], [to_bank])


def test_a_method_not_named_is_an_error_that_names_those_known_and_charges_nothing() -> None:
    card = Card(Paid())
    with pytest.raises(UnknownPaymentMethodError) as caught:
        PaymentMethods({"card": card}).charge(attrs.evolve(CHARGE, payment_method="cash"))
    assert (caught.value.payment_method, caught.value.known) == ("cash", ("card",))
    assert card.seen == []


def test_what_a_method_raises_comes_through() -> None:
    with pytest.raises(ConnectionError):
        PaymentMethods({"card": Card(ConnectionError())}).charge(CHARGE)


def test_methods_given_later_to_the_mapping_are_not_taken() -> None:
    given: dict[str, Any] = {"card": Card(Paid())}
    methods = PaymentMethods(given)
    given["bank"] = Card(Paid())
    with pytest.raises(UnknownPaymentMethodError):
        methods.charge(attrs.evolve(CHARGE, payment_method="bank"))


def test_asynchronous_methods_as_one_are_asynchronous() -> None:
    methods = PaymentMethods({"card": AsyncCard(Processing("later"))})
    assert asyncio.run(methods.charge(CHARGE)) == Processing("later")
    with pytest.raises(UnknownPaymentMethodError):
        methods.charge(attrs.evolve(CHARGE, payment_method="bank"))


@pytest.mark.parametrize("methods", [None, 5, ["card"], "card"])
def test_payment_methods_are_a_mapping(methods: Any) -> None:
    with pytest.raises(WrongTypeError):
        PaymentMethods(methods)


@pytest.mark.parametrize("methods", [{"card": None}, {"card": "card"}, {"card": Card(Paid()), "bank": 5}])
def test_a_method_that_cannot_charge_is_refused_before_it_is_charged(methods: Any) -> None:
    with pytest.raises(WrongTypeError, match="methods"):
        PaymentMethods(methods)


def test_the_name_of_a_method_is_text() -> None:
    with pytest.raises(WrongTypeError, match="methods"):
        PaymentMethods({5: Card(Paid())})  # type: ignore[dict-item]
