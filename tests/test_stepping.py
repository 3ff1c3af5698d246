from __future__ import annotations

import asyncio

import pytest

from build import T0, usd
from commcredits import Charge, InMemoryStorage, Ledger, Paid, Terms, WrongTypeError
from commcredits.stepping import SteppedPaymentMethod, stepped
from commcredits.storage import Head, SteppedStorage


def test_a_coroutine_that_never_waits_is_run_to_its_end() -> None:
    async def answer() -> int:
        return 42

    assert stepped(answer()) == 42


def test_what_a_stepped_coroutine_raises_passes() -> None:
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        stepped(fail())


def test_a_coroutine_that_waits_is_refused_by_name_and_closed() -> None:
    closed = []

    async def wait() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(WrongTypeError, match="AsyncLedgerService"):
        stepped(wait())
    assert closed == [True]


def test_a_stepped_storage_hands_every_call_on() -> None:
    inner = InMemoryStorage()
    storage = SteppedStorage(inner)
    account = Ledger.open("acme", Terms("USD"), at=T0)
    funded = account.add_funds(usd(5), at=T0, idempotency_key="key")
    events = [account.opened, *funded]
    stepped(storage.append("acme", events, expected_version=0, head=Head.of(account), state=account.state))

    async def history() -> list:
        return [event async for event in storage.history("acme", after_version=1)]

    stored = stepped(storage.load("acme"))
    assert stored is not None
    assert list(stored.events) == events
    assert stepped(history()) == list(funded)
    assert stepped(storage.find("acme", ["key", "other"])) == {"key": funded[0]}
    assert list(stepped(storage.about("acme", 2))) == list(funded)
    assert list(stepped(storage.due(account.next_due, limit=5))) == ["acme"]
    assert storage.in_caller_transaction is False
    inner.in_caller_transaction = True
    assert storage.in_caller_transaction is True


def test_a_stepped_payment_method_hands_the_charge_on() -> None:
    made: list[Charge] = []

    class Card:
        def charge(self, charge: Charge) -> Paid:
            made.append(charge)
            return Paid("receipt")

    charge = Charge("id", "acme", usd(5), "default", "purchase", 1, T0)
    assert stepped(SteppedPaymentMethod(Card()).charge(charge)) == Paid("receipt")
    assert made == [charge]
