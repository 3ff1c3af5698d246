"""What a type checker must see from outside; never run, only checked.

A line with `type: ignore` is a mistake that must be found: an ignore that is not needed is an error too.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import assert_type

from hypothesis.strategies import SearchStrategy

from commcredits import (
    AsyncInMemoryStorage,
    AsyncLedgerService,
    AsyncPaymentMethod,
    AsyncStorage,
    Charge,
    CommCreditsError,
    CurrencyMismatchError,
    Declined,
    Event,
    InMemoryStorage,
    Ledger,
    LedgerService,
    LedgerState,
    Lot,
    Money,
    Paid,
    PaymentMethod,
    PaymentMethods,
    Processing,
    Receipt,
    RechargePolicy,
    Statement,
    Storage,
    Terms,
    Threshold,
    Usage,
)
from commcredits.telephony import (
    AllowanceState,
    Bill,
    BillTotal,
    CallRecord,
    RateCard,
    Reconciliation,
    async_bill,
    bill,
    read_pstn_rows,
    reconcile,
    write_pstn_rows,
)
from commcredits.testing import FaultyPaymentMethod, FaultyStorage, PaymentTrial, strategies


def money(ten: Money, five: Money) -> None:
    """Money computes with Money and whole numbers, and with nothing else."""
    assert_type(Money("10.50", "USD").amount, Decimal)
    assert_type(Money.parse("10.50 USD").currency, str)
    assert_type(ten + ten - ten, Money)
    assert_type(ten * 3, Money)
    assert_type(ten < five, bool)
    assert_type(ten.minor_units, int)
    assert_type(ten.allocate([1, 2]), tuple[Money, ...])
    Money(10.5, "USD")  # type: ignore[arg-type]
    ten + 1  # type: ignore[operator]
    ten * 1.5  # type: ignore[operator]
    ten / 2  # type: ignore[operator]
    ten.amount = Decimal(1)  # type: ignore[misc]


def ledger(at: datetime, ten: Money) -> None:
    """Commands take their time by name, and return events."""
    acme = Ledger.open("acme", Terms("USD"), at=at)
    assert_type(acme, Ledger)
    assert_type(acme.add_funds(ten, at=at), tuple[Event, ...])
    assert_type(acme.consume(ten, at=at, idempotency_key="call-1"), tuple[Event, ...])
    assert_type(acme.balance, Money)
    assert_type(acme.next_due, datetime | None)
    assert_type(acme.lots, tuple[Lot, ...])
    assert_type(acme.pending_charges, tuple[Charge, ...])
    assert_type(acme.state(), LedgerState)
    assert_type(acme.state().available_at(at), Money)
    acme.configure_auto_recharge(RechargePolicy(ten, ten), at=at)
    acme.configure_auto_recharge(RechargePolicy(Threshold(ten, inclusive=True), recharge_to=ten), at=at)
    acme.consume(ten)  # type: ignore[call-arg]
    acme.consume(ten, at)  # type: ignore[call-arg]
    acme.add_funds("10.00", at=at)  # type: ignore[arg-type]
    acme.balance = ten  # type: ignore[misc]


class Card:
    """A payment method needs no base class."""

    def charge(self, charge: Charge) -> Paid | Declined | Processing:
        """Pay."""
        return Paid(charge.charge_id)


class AsyncCard:
    """The same for asyncio."""

    async def charge(self, charge: Charge) -> Paid | Declined | Processing:
        """Pay."""
        return Paid(charge.charge_id)


card: PaymentMethod = Card()
async_card: AsyncPaymentMethod = AsyncCard()
cards = PaymentMethods({"default": Card()})
wrong: PaymentMethod = AsyncCard()  # type: ignore[assignment]


storage: Storage = InMemoryStorage()
async_storage: AsyncStorage = AsyncInMemoryStorage()
wrong_storage: Storage = AsyncInMemoryStorage()  # type: ignore[assignment]
of_many = LedgerService(storage, cards)


def blocking(service: LedgerService, ten: Money, at: datetime) -> None:
    """The blocking service has the signatures of the asynchronous one, and gives answers instead of coroutines."""
    assert_type(service.open("acme", Terms("USD")), Receipt)
    assert_type(service.consume("acme", ten, idempotency_key="call"), Receipt)
    assert_type(service.consume_many("acme", [Usage(ten)]), tuple[Receipt | CommCreditsError, ...])
    assert_type(service.get("acme"), LedgerState)
    assert_type(service.statement("acme", at, at), Statement)
    assert_type([event.version for event in service.history("acme")], list[int])
    service.consume("acme")  # type: ignore[call-arg]
    service.consume("acme", "10.00")  # type: ignore[arg-type]
    service.add_funds("acme", ten)  # type: ignore[call-arg]


async def waiting(service: AsyncLedgerService, ten: Money) -> None:
    """The asynchronous service is awaited."""
    assert_type(await service.consume("acme", ten), Receipt)
    assert_type(await service.get("acme"), LedgerState)
    assert_type([event.version async for event in service.history("acme")], list[int])
    LedgerService(async_storage, card)  # type: ignore[arg-type]
    AsyncLedgerService(async_storage, card)  # type: ignore[arg-type]


def errors(error: CurrencyMismatchError) -> tuple[CommCreditsError, ValueError]:
    """Errors have one root, and carry the parts at fault."""
    assert_type(error.expected, str)
    return error, error


def calls(row: dict[str, str]) -> None:
    """Rows are mappings, in any iterable."""
    for call in read_pstn_rows([row]):
        assert_type(call, CallRecord)
        assert_type(call.cost, Money)
        assert_type(call.uses_credits, bool)
        assert_type(call.started_at, datetime)
        assert_type(list(write_pstn_rows([call])), list[dict[str, object]])


async def bills(
    service: LedgerService, awaited: AsyncLedgerService, calls: list[CallRecord], card: RateCard, unused: AllowanceState
) -> None:
    """A service of each kind bills; the other kind is refused."""
    total = bill(service, "acme", calls, card, unused)
    assert_type(total, Bill)
    assert_type(total.by("kind", "payer")["user_out", "credits"], BillTotal)
    assert_type(await async_bill(awaited, "acme", calls, card, total.allowances), Bill)
    assert_type(reconcile(calls, map(card.rate_call, calls)), Reconciliation)
    bill(awaited, "acme", calls, card, unused)  # type: ignore[arg-type]
    total.by("colour")  # type: ignore[arg-type]


def for_tests(ten: Money) -> None:
    """Strategies say what they give, and what fails stands where what it fails for stood."""
    assert_type(strategies.monies(ten, currency="USD"), SearchStrategy[Money])
    assert_type(strategies.events(), SearchStrategy[Event])
    assert_type(strategies.call_records(), SearchStrategy[CallRecord])
    faulty: Storage = FaultyStorage(storage, seed=1)
    LedgerService(faulty, FaultyPaymentMethod(card, seed=1, failure_rate=0.5))
    FaultyStorage(async_storage, seed=1)  # type: ignore[arg-type]
    PaymentTrial(payment_method=card, taken=list, pays="visa", declines="stolen")
    strategies.monies("10.00")  # type: ignore[arg-type]
