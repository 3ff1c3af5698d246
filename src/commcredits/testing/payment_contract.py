"""The rules of `PaymentMethod` and `AsyncPaymentMethod`, a short test for each, for whoever writes one."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from commcredits.money import Money
from commcredits.payment import Charge, Declined, Outcome, Paid, Processing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from commcredits.payment import AsyncPaymentMethod, PaymentMethod

_REQUESTED_AT = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen(order=False, kw_only=True)
class PaymentTrial:
    """A payment method, and what its contract must know to try it.

    Attributes:
        payment_method: the one that is tried, blocking or asynchronous.
        taken: tells what was taken so far: an amount for each payment, in order.
        pays: the name of an instrument that pays at once.
        declines: the name of one that declines.
        currencies: those to try it with.
        outage: while it is entered the provider does what it is asked, and its answers are lost. Where nobody can break
            the line leave it out.
    """

    payment_method: PaymentMethod | AsyncPaymentMethod
    taken: Callable[[], Iterable[Money]]
    pays: str
    declines: str
    currencies: tuple[str, ...] = ("USD", "JPY", "KWD")
    outage: Callable[[], AbstractContextManager[Any]] = nullcontext


class TriedPaymentMethod:
    """A payment method on trial, as the tests call it."""

    def __init__(self, trial: PaymentTrial, runner: asyncio.Runner) -> None:
        self._trial = trial
        self._runner = runner

    def charge(self, charge: Charge) -> Outcome:
        """The outcome of a charge, waited for if it is to be waited for."""
        answer: Any = self._trial.payment_method.charge(charge)

        async def awaited() -> Outcome:
            return await answer  # type: ignore[no-any-return]

        return self._runner.run(awaited()) if inspect.isawaitable(answer) else answer

    @property
    def taken(self) -> list[Money]:
        """What was taken so far."""
        return list(self._trial.taken())

    def request(self, version: int = 7, *, amount: Money | None = None, declines: bool = False, **more: Any) -> Charge:
        """A charge as a ledger asks for it."""
        values: dict[str, Any] = {
            "charge_id": f"contoso:{version}:20260101T000000000000Z",
            "ledger_id": "contoso",
            "amount": Money(20, self._trial.currencies[0]) if amount is None else amount,
            "payment_method": self._trial.declines if declines else self._trial.pays,
            "purpose": "purchase",
            "attempt": 1,
            "requested_at": _REQUESTED_AT,
            "status": "tried",
            "tried_at": _REQUESTED_AT,
            "last_tried_at": _REQUESTED_AT,
        }
        return Charge(**values | more)


def _again(charge: Charge) -> Charge:
    """The same charge, made once more because its outcome is not known."""
    return attrs.evolve(charge, last_tried_at=_REQUESTED_AT + timedelta(minutes=5))


class PaymentMethodContract:
    """What every payment method must do. Derive from it, and override the fixture `trial`; pytest does the rest.

    ```python
    class TestMyCard(PaymentMethodContract):
        @pytest.fixture
        def trial(self):
            provider = FakeProvider()
            return PaymentTrial(
                payment_method=MyCard(provider),
                taken=lambda: provider.payments,
                pays="visa-4242",
                declines="stolen",
            )
    ```
    """

    @pytest.fixture
    def trial(self) -> PaymentTrial:
        """A payment method with which nothing was paid yet, new for each test. Override it."""
        raise NotImplementedError

    @pytest.fixture
    def runner(self) -> Iterator[asyncio.Runner]:
        """The loop of a test, for asynchronous ones."""
        with asyncio.Runner() as runner:
            yield runner

    @pytest.fixture
    def tried(self, trial: PaymentTrial, runner: asyncio.Runner) -> TriedPaymentMethod:
        """The payment method as the tests call it."""
        return TriedPaymentMethod(trial, runner)

    def test_the_outcome_is_paid_declined_or_processing(self, tried: TriedPaymentMethod) -> None:
        for version, declines in ((1, False), (2, True)):
            assert isinstance(tried.charge(tried.request(version, declines=declines)), Paid | Declined | Processing)

    def test_what_is_paid_is_the_amount_to_the_last_minor_unit(
        self, tried: TriedPaymentMethod, trial: PaymentTrial
    ) -> None:
        taken: list[Money] = []
        for currency in trial.currencies:
            for number, minor_units in enumerate((12345, 1999, 100_000_000)):
                taken.append(Money.from_minor(minor_units, currency))
                charge_id = f"contoso:{number}:{currency}"
                assert isinstance(tried.charge(tried.request(amount=taken[-1], charge_id=charge_id)), Paid)
                assert tried.taken == taken

    def test_a_charge_made_again_takes_nothing_more(self, tried: TriedPaymentMethod) -> None:
        charge = tried.request()
        for _ in range(3):
            tried.charge(charge)
            charge = _again(charge)
        assert tried.taken == [charge.amount]

    def test_a_charge_made_again_has_the_same_outcome(self, tried: TriedPaymentMethod) -> None:
        charge = tried.request()
        outcome = tried.charge(charge)
        assert tried.charge(_again(charge)) == outcome
        assert tried.charge(_again(_again(charge))) == outcome

    def test_a_charge_is_still_known_when_others_were_made(self, tried: TriedPaymentMethod) -> None:
        charges = [tried.request(version) for version in range(1, 6)]
        outcomes = [tried.charge(charge) for charge in charges]
        assert [tried.charge(_again(charge)) for charge in charges] == outcomes
        assert tried.taken == [charge.amount for charge in charges]

    def test_charges_that_differ_in_their_ids_only_are_all_paid(self, tried: TriedPaymentMethod) -> None:
        charges = [tried.request(version) for version in (1, 2, 3)]
        outcomes = [tried.charge(charge) for charge in charges]
        assert tried.taken == [charge.amount for charge in charges]
        references = [outcome.reference for outcome in outcomes if isinstance(outcome, Paid) and outcome.reference]
        assert len(set(references)) == len(references)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("contoso:7:20260101T000000000000Z", "contoso:7:20260101T000000000001Z"),
            ("contoso:7:20260101T000000000000Z", "Contoso:7:20260101T000000000000Z"),
            (f"{'a' * 199}a:7:20260101T000000000000Z", f"{'a' * 199}b:7:20260101T000000000000Z"),
            (f"{'a' * 200}:7:20260101T000000000000Z", f"{'a' * 200}:8:20260101T000000000000Z"),
        ],
    )
    def test_the_whole_id_counts(self, tried: TriedPaymentMethod, one: str, other: str) -> None:
        for charge_id in (one, other, one):
            tried.charge(tried.request(charge_id=charge_id))
        assert len(tried.taken) == 2

    def test_purchases_and_recharges_are_made_alike(self, tried: TriedPaymentMethod) -> None:
        assert isinstance(tried.charge(tried.request(1, purpose="purchase")), Paid)
        assert isinstance(tried.charge(tried.request(2, purpose="recharge", attempt=3)), Paid)
        assert len(tried.taken) == 2

    def test_the_instrument_that_is_named_is_charged_and_one_that_declines_takes_nothing(
        self, tried: TriedPaymentMethod
    ) -> None:
        assert isinstance(tried.charge(tried.request(1, declines=True)), Declined)
        assert tried.taken == []
        assert isinstance(tried.charge(tried.request(2)), Paid)
        assert isinstance(tried.charge(tried.request(3, declines=True)), Declined)
        assert len(tried.taken) == 1

    def test_a_declined_charge_made_again_is_still_declined(self, tried: TriedPaymentMethod) -> None:
        charge = tried.request(declines=True)
        for _ in range(3):
            assert isinstance(tried.charge(charge), Declined)
            charge = _again(charge)
        assert tried.taken == []

    def test_an_outage_is_not_a_decline(self, tried: TriedPaymentMethod, trial: PaymentTrial) -> None:
        with trial.outage():
            try:
                outcome = tried.charge(tried.request())
            except Exception:  # noqa: BLE001  # whatever it is, the outcome is unknown, as it is
                return
        assert isinstance(outcome, Paid | Processing)

    def test_a_charge_whose_outcome_was_lost_is_paid_once(self, tried: TriedPaymentMethod, trial: PaymentTrial) -> None:
        charge = tried.request()
        with trial.outage(), suppress(Exception):
            tried.charge(charge)
        assert isinstance(tried.charge(_again(charge)), Paid)
        assert tried.taken == [charge.amount]
