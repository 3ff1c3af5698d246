"""The contract of payment methods lets whole ones pass, and catches each that breaks a rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from commcredits import Charge, CommCreditsError, Declined, Money, Outcome, Paid, Processing
from commcredits.testing import PaymentMethodContract, PaymentTrial
from commcredits.testing.payment_contract import TriedPaymentMethod

RULES = sorted(name for name in dir(PaymentMethodContract) if name.startswith("test_"))


class Provider:
    """Does what payment providers do: the first result of a key is the result of that key."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.payments: list[Money] = []
        self.is_down = False

    def pay(self, amount: Money, card: str, key: str) -> str | None:
        """The reference of the payment; None: declined."""
        if key not in self.results:
            self.results[key] = None if card == "stolen" else f"pay-{len(self.payments) + 1}"
            if card != "stolen":
                self.payments.append(amount)
        if self.is_down:
            raise ConnectionError("no answer")
        return self.results[key]

    @contextmanager
    def outage(self) -> Iterator[None]:
        self.is_down = True
        yield
        self.is_down = False


class Card:
    """Breaks no rule."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def key(self, charge: Charge) -> str:
        return charge.charge_id

    def amount(self, charge: Charge) -> Money:
        return charge.amount

    def instrument(self, charge: Charge) -> str:
        return charge.payment_method

    def charge(self, charge: Charge) -> Any:
        reference = self.provider.pay(self.amount(charge), self.instrument(charge), self.key(charge))
        return Declined("stolen") if reference is None else Paid(reference)


class AsyncCard(Card):
    async def charge(self, charge: Charge) -> Outcome:
        await asyncio.sleep(0)
        outcome: Outcome = super().charge(charge)
        return outcome


class SaysYes(Card):
    def charge(self, charge: Charge) -> Any:
        return isinstance(super().charge(charge), Paid)


class SendsTwoDecimals(Card):
    def amount(self, charge: Charge) -> Money:
        return Money.from_minor(int(charge.amount.amount * 100), charge.amount.currency)


class CutsOffTheCents(Card):
    def amount(self, charge: Charge) -> Money:
        return charge.amount.rounded(0, "ROUND_DOWN")


class SendsNoKey(Card):
    def key(self, charge: Charge) -> str:  # that is what is wrong
        return str(len(self.provider.results))


class MakesAKeyOfTheTime(Card):
    def key(self, charge: Charge) -> str:
        return f"{charge.charge_id} {charge.last_tried_at}"


class MakesAKeyOfTheLedger(Card):
    def key(self, charge: Charge) -> str:
        return charge.ledger_id


class CutsKeysOff(Card):
    def key(self, charge: Charge) -> str:
        return charge.charge_id[:60]


class FoldsKeys(Card):
    def key(self, charge: Charge) -> str:
        return charge.charge_id.lower()


class MakesNewReferences(Card):
    count = 0

    def charge(self, charge: Charge) -> Any:
        self.count += 1
        outcome = super().charge(charge)
        return Paid(f"call {self.count}") if isinstance(outcome, Paid) else outcome


class GivesOneReference(Card):
    def charge(self, charge: Charge) -> Any:
        outcome = super().charge(charge)
        return Paid("ok") if isinstance(outcome, Paid) else outcome


class RemembersTheLatestOnly(Card):
    def charge(self, charge: Charge) -> Any:
        for key in self.provider.results.keys() - {charge.charge_id}:
            del self.provider.results[key]
        return super().charge(charge)


class DeclinesRepeats(Card):
    def charge(self, charge: Charge) -> Any:
        if charge.charge_id in self.provider.results:
            return Declined("duplicate")
        return super().charge(charge)


class ChargesTheFirstCard(Card):
    def instrument(self, charge: Charge) -> str:  # that is what is wrong
        return "visa-4242"


class PaysDeclinedOnesAtTheSecondTry(Card):
    def charge(self, charge: Charge) -> Any:
        if charge.charge_id in self.provider.results and charge.payment_method == "stolen":
            self.provider.payments.append(charge.amount)
            return Paid()
        return super().charge(charge)


class KnowsNoRecharges(Card):
    def charge(self, charge: Charge) -> Any:
        return super().charge(charge) if charge.purpose == "purchase" else Declined("unknown purpose")


class TakesOutagesForDeclines(Card):
    def charge(self, charge: Charge) -> Any:
        try:
            return super().charge(charge)
        except ConnectionError as error:
            return Declined(str(error))


class MakesAKeyAfterAnOutage(Card):
    tries = 0

    def key(self, charge: Charge) -> str:
        return f"{charge.charge_id} {self.tries}"

    def charge(self, charge: Charge) -> Any:
        try:
            return super().charge(charge)
        except ConnectionError:
            self.tries += 1
            raise


BROKEN: dict[type[Card], str] = {
    SaysYes: (
        "a_charge_whose_outcome_was_lost_is_paid_once "
        "a_declined_charge_made_again_is_still_declined "
        "purchases_and_recharges_are_made_alike "
        "the_instrument_that_is_named_is_charged_and_one_that_declines_takes_nothing "
        "the_outcome_is_paid_declined_or_processing "
        "what_is_paid_is_the_amount_to_the_last_minor_unit"
    ),
    SendsTwoDecimals: "what_is_paid_is_the_amount_to_the_last_minor_unit",
    CutsOffTheCents: "what_is_paid_is_the_amount_to_the_last_minor_unit",
    SendsNoKey: (
        "a_charge_is_still_known_when_others_were_made "
        "a_charge_made_again_has_the_same_outcome "
        "a_charge_made_again_takes_nothing_more "
        "a_charge_whose_outcome_was_lost_is_paid_once "
        "the_whole_id_counts"
    ),
    MakesAKeyOfTheTime: (
        "a_charge_is_still_known_when_others_were_made "
        "a_charge_made_again_has_the_same_outcome "
        "a_charge_made_again_takes_nothing_more "
        "a_charge_whose_outcome_was_lost_is_paid_once"
    ),
    MakesAKeyOfTheLedger: (
        "a_charge_is_still_known_when_others_were_made "
        "charges_that_differ_in_their_ids_only_are_all_paid "
        "purchases_and_recharges_are_made_alike "
        "the_instrument_that_is_named_is_charged_and_one_that_declines_takes_nothing "
        "the_whole_id_counts "
        "what_is_paid_is_the_amount_to_the_last_minor_unit"
    ),
    CutsKeysOff: "the_whole_id_counts",
    FoldsKeys: "the_whole_id_counts",
    MakesNewReferences: "a_charge_is_still_known_when_others_were_made a_charge_made_again_has_the_same_outcome",
    GivesOneReference: "charges_that_differ_in_their_ids_only_are_all_paid",
    RemembersTheLatestOnly: "a_charge_is_still_known_when_others_were_made the_whole_id_counts",
    DeclinesRepeats: (
        "a_charge_is_still_known_when_others_were_made "
        "a_charge_made_again_has_the_same_outcome "
        "a_charge_whose_outcome_was_lost_is_paid_once"
    ),
    ChargesTheFirstCard: (
        "a_declined_charge_made_again_is_still_declined "
        "the_instrument_that_is_named_is_charged_and_one_that_declines_takes_nothing"
    ),
    PaysDeclinedOnesAtTheSecondTry: "a_declined_charge_made_again_is_still_declined",
    KnowsNoRecharges: "purchases_and_recharges_are_made_alike",
    TakesOutagesForDeclines: "an_outage_is_not_a_decline",
    MakesAKeyAfterAnOutage: "a_charge_whose_outcome_was_lost_is_paid_once",
}
"""The tests, without "test_", that catch each."""


def trial_of(card: type[Card], **more: Any) -> PaymentTrial:
    provider = Provider()
    values: dict[str, Any] = {"pays": "visa-4242", "declines": "stolen", "outage": provider.outage, **more}
    return PaymentTrial(payment_method=card(provider), taken=lambda: provider.payments, **values)


class TestCard(PaymentMethodContract):
    @pytest.fixture
    def trial(self) -> PaymentTrial:
        return trial_of(Card)


class TestAsyncCard(PaymentMethodContract):
    @pytest.fixture
    def trial(self) -> PaymentTrial:
        return trial_of(AsyncCard)


class TestCardOnALineThatNobodyCanBreak(PaymentMethodContract):
    @pytest.fixture
    def trial(self) -> PaymentTrial:
        provider = Provider()
        return PaymentTrial(
            payment_method=Card(provider), taken=lambda: provider.payments, pays="visa-4242", declines="stolen"
        )


def runs_of(name: str) -> Iterator[Callable[..., None]]:
    """A test of the contract, once for each of its parameters."""
    test = getattr(PaymentMethodContract(), name)
    (mark,) = getattr(test, "pytestmark", [None])
    if mark is None:
        yield test
    else:
        for values in mark.args[1]:
            yield lambda values=values, **named: test(**named, **dict(zip(mark.args[0], values, strict=True)))


def catches(name: str, card: type[Card]) -> bool:
    for run in runs_of(name):
        trial = trial_of(card)
        named = {"trial": trial} if "trial" in getattr(PaymentMethodContract, name).__code__.co_varnames else {}
        with asyncio.Runner() as runner:
            try:
                run(tried=TriedPaymentMethod(trial, runner), **named)
            except (AssertionError, pytest.fail.Exception, CommCreditsError):
                return True
    return False


@pytest.mark.parametrize("card", BROKEN, ids=lambda card: card.__name__)
def test_a_broken_payment_method_is_caught_by_the_rules_that_it_breaks_and_no_others(card: type[Card]) -> None:
    caught = [name.removeprefix("test_") for name in RULES if catches(name, card)]
    assert caught == sorted(BROKEN[card].split())


def test_every_rule_catches_a_broken_payment_method() -> None:
    assert {f"test_{name}" for names in BROKEN.values() for name in names.split()} == set(RULES)


def test_a_contract_without_a_payment_method_says_so() -> None:
    fixture: Any = PaymentMethodContract.__dict__["trial"]
    with pytest.raises(NotImplementedError):
        fixture.__wrapped__(PaymentMethodContract())


def test_what_is_processing_at_once_is_an_outcome_too() -> None:
    class Slow(Card):
        def charge(self, charge: Charge) -> Any:
            return Processing(super().charge(charge).reference)

    with asyncio.Runner() as runner:
        tried = TriedPaymentMethod(trial_of(Slow), runner)
        assert tried.charge(tried.request()) == Processing("pay-1")
