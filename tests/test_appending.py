from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from build import T0, day, hour, kinds, usd
from commcredits import (
    DuplicateKeyError,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    LedgerNotFoundError,
    LedgerService,
    Receipt,
    RechargePolicy,
    Terms,
    UnknownChargeError,
    Usage,
    VersionConflictError,
    appending,
    gathering,
)
from commcredits.appending import Appender, Command, Request
from commcredits.digest import digest_of
from commcredits.gathering import AsyncGate, ThreadGate
from commcredits.stepping import stepped
from commcredits.storage import SteppedStorage
from commcredits.testing.faults import InjectedFault
from faults import AFTER, BEFORE, OK, FaultyPaymentMethod, FaultyStorage, Plan, Provider
from office import Clock, Hire, Office

# Two who write


def test_usage_that_lost_the_race_is_decided_again_on_what_is_there_now(desk: Office) -> None:
    desk.plan.set(append=[lambda: desk.rival().consume("acme", usd(30)) and None])
    assert desk.do("consume", usd(60)).balance == usd(10)
    desk.plan.set(append=[lambda: desk.rival().consume("acme", usd(5)) and None])
    error = desk.refusal(InsufficientFundsError, "consume", usd(10))
    assert error.shortfall == usd(5)
    assert desk.costs == [30, 60, 5]


def test_what_another_did_since_is_found_at_the_append(desk: Office) -> None:
    desk.rival().consume("acme", usd(30))
    appends = desk.plan.calls["append"]
    assert desk.do("consume", usd(1)).balance == usd(69)
    assert desk.plan.calls["append"] == appends + 2


def test_a_refusal_stands_only_on_what_is_there_now(desk: Office) -> None:
    desk.rival().add_funds("acme", usd(50), reference="")
    assert desk.do("consume", usd(140), idempotency_key="k").balance == usd(10)
    desk.rival().add_funds("acme", usd(50), reference="")
    assert desk.do("consume_many", [Usage(usd(50)), Usage(usd(10))])[1].balance == usd(0)
    desk.rival().close("acme")
    desk.do("get")
    assert desk.do("consume", usd(0), occurred_at=T0 - timedelta(days=1)).balance == usd(0)


def test_that_there_is_nothing_to_record_stands_only_on_what_is_there_now(desk: Office) -> None:
    policy = RechargePolicy(usd(10), usd(50))
    desk.rival().configure_auto_recharge("acme", policy)
    assert kinds(desk.do("disable_auto_recharge").events) == ["AutoRechargeDisabled"]
    desk.do("configure_auto_recharge", policy)
    desk.rival(settles_inline=False).consume("acme", usd(95))
    assert desk.do("settle").balance == usd(55)


def test_a_refusal_costs_one_look_at_the_storage_and_no_append(desk: Office) -> None:
    loads, appends = desk.plan.calls["load"], desk.plan.calls["append"]
    desk.refusal(InsufficientFundsError, "consume", usd(101))
    assert (desk.plan.calls["load"] - loads, desk.plan.calls["append"] - appends) == (1, 0)


def test_a_ledger_that_somebody_else_always_writes_first_is_given_up_in_the_end(desk: Office) -> None:
    rival = desk.rival()
    desk.plan.set(append=[lambda: rival.consume("acme", usd(0)) and None] * 1000)
    appends = desk.plan.calls["append"]
    error = desk.refusal(VersionConflictError, "consume", usd(1), idempotency_key="k")
    assert error.ledger_id == "acme"
    assert 10 <= desk.plan.calls["append"] - appends <= 50
    desk.plan.set()
    assert not desk.do("consume", usd(1), idempotency_key="k").replayed
    assert desk.costs == [1]


@pytest.mark.parametrize(("microsecond", "share"), [(0, 0), (7_500, 0.5), (999, 0.999)])
def test_each_lost_race_is_followed_by_a_longer_pause_whose_length_is_told_by_the_clock(
    desk: Office, monkeypatch: pytest.MonkeyPatch, microsecond: int, share: float
) -> None:
    pauses: list[float] = []

    async def noted(self: object, seconds: float) -> None:
        pauses.append(seconds)

    for gate in (ThreadGate, AsyncGate):
        monkeypatch.setattr(gate, "pause", noted)
    rival = desk.rival()
    desk.clock.now += timedelta(microseconds=microsecond)
    desk.plan.set(append=[lambda: rival.consume("acme", usd(0)) and None] * 9)
    desk.do("consume", usd(1))
    longest = [0, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.1, 0.1]
    assert pauses == pytest.approx([share * pause for pause in longest])


def test_a_pause_is_waited_out_by_threads_and_by_coroutines(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[str, float]] = []

    async def asleep(seconds: float) -> None:
        waited.append(("coroutine", seconds))

    monkeypatch.setattr(gathering, "time", SimpleNamespace(sleep=lambda seconds: waited.append(("thread", seconds))))
    monkeypatch.setattr(asyncio, "sleep", asleep)
    stepped(ThreadGate().pause(0.25))
    asyncio.run(AsyncGate().pause(0.5))
    assert waited == [("thread", 0.25), ("coroutine", 0.5)]


def test_two_who_use_one_key_at_once_record_it_once(desk: Office) -> None:
    desk.plan.set(append=[lambda: desk.rival().consume("acme", usd(5), idempotency_key="k") and None])
    receipt = desk.do("consume", usd(5), idempotency_key="k")
    assert (receipt.replayed, receipt.balance, desk.costs) == (True, usd(95), [5])


# What is kept in mind


def test_a_ledger_just_written_is_not_loaded_again(desk: Office) -> None:
    desk.do("consume", usd(1))
    loads = desk.plan.calls["load"]
    for _ in range(5):
        desk.do("consume", usd(1))
    assert desk.plan.calls["load"] == loads


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_ledger_whose_append_failed_is_thrown_away(desk: Office, when: str) -> None:
    desk.do("consume", usd(1))
    loads = desk.plan.calls["load"]
    desk.plan.set(append=[when])
    desk.refusal(InjectedFault, "consume", usd(5))
    assert desk.do("consume", usd(10)).balance == usd(89 if when == BEFORE else 84)
    assert desk.plan.calls["load"] == loads + 1
    assert desk.costs == ([1, 10] if when == BEFORE else [1, 5, 10])


def test_what_a_failed_append_left_in_mind_does_not_meet_a_version_that_fits_it(desk: Office) -> None:
    desk.plan.set(append=[BEFORE])
    desk.refusal(InjectedFault, "add_funds", usd(50), reference="")
    desk.rival().consume("acme", usd(30))
    desk.refusal(InsufficientFundsError, "consume", usd(100))
    assert desk.ledger.balance == usd(70)


def test_no_more_ledgers_are_kept_in_mind_than_the_limit(desk: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appending, "_CACHE_MAX", 2)
    for ledger_id in "abc":
        desk.open_another(ledger_id, overdraft_limit=None)
        desk.run(desk.service.consume(ledger_id, usd(1)))
    loads = []
    for ledger_id in "cba":
        before = desk.plan.calls["load"]
        desk.run(desk.service.consume(ledger_id, usd(1)))
        loads.append(desk.plan.calls["load"] - before)
    assert loads == [0, 0, 1]


def test_snapshots_change_nothing(desk: Office) -> None:
    for _ in range(120):
        desk.do("consume", usd("0.50"))
    stored = desk.inner.load("acme")
    assert stored is not None
    assert stored.state is not None
    assert desk.run(desk.another_service().consume("acme", usd(1))).balance == usd(39)
    assert desk.ledger.balance == usd(39)


# Outcomes that are not known


def test_what_was_stored_though_the_storage_failed_is_answered_by_its_key(desk: Office) -> None:
    desk.plan.set(append=[AFTER])
    receipt = desk.do("consume", usd(5), idempotency_key="k")
    assert (receipt.replayed, receipt.balance, kinds(receipt.events)) == (True, usd(95), ["FundsConsumed"])
    assert desk.costs == [5]


def test_what_was_not_stored_raises_what_failed_and_may_come_again(desk: Office) -> None:
    desk.plan.set(append=[BEFORE])
    desk.refusal(InjectedFault, "consume", usd(5), idempotency_key="k")
    assert not desk.do("consume", usd(5), idempotency_key="k").replayed
    assert desk.costs == [5]


def test_when_the_key_of_an_unknown_outcome_cannot_be_looked_up_what_failed_first_is_raised(desk: Office) -> None:
    desk.plan.set(append=[AFTER], find=[BEFORE])
    assert desk.refusal(InjectedFault, "consume", usd(5), idempotency_key="k").call == "append"
    assert desk.do("consume", usd(5), idempotency_key="k").replayed


def test_no_refusal_stands_while_its_key_cannot_be_looked_up(desk: Office) -> None:
    desk.do("consume", usd(60), idempotency_key="k")
    desk.plan.set(find=[BEFORE])
    assert desk.refusal(InjectedFault, "consume", usd(60), idempotency_key="k").call == "find"
    desk.do("add_funds", usd(60), reference="")
    desk.plan.set(find=[OK, BEFORE])
    assert desk.refusal(InjectedFault, "consume", usd(60), idempotency_key="k").call == "find"
    desk.plan.set(load=[OK, BEFORE])
    desk.refusal(InjectedFault, "consume", usd(60), idempotency_key="k")
    assert desk.do("consume", usd(60), idempotency_key="k").replayed
    assert desk.costs == [60]


def test_a_batch_of_unknown_outcome_is_answered_by_its_keys_if_all_have_one(desk: Office) -> None:
    keyed = [Usage(usd(5), idempotency_key="a"), Usage(usd(6), idempotency_key="b")]
    desk.plan.set(append=[AFTER])
    receipts = desk.do("consume_many", keyed)
    assert [(receipt.replayed, receipt.balance) for receipt in receipts] == [(True, usd(89))] * 2
    desk.plan.set(append=[AFTER])
    desk.refusal(InjectedFault, "consume_many", [Usage(usd(7)), Usage(usd(8), idempotency_key="c")])
    assert desk.costs == [5, 6, 7, 8]
    desk.plan.set(append=[AFTER])
    some = [Usage(usd(9), idempotency_key="d"), Usage(usd(900), idempotency_key="refused")]
    desk.refusal(InjectedFault, "consume_many", some, refused="collect")
    again = desk.do("consume_many", some, refused="collect")
    assert (again[0].replayed, type(again[1])) == (True, InsufficientFundsError)
    assert desk.costs == [5, 6, 7, 8, 9]


def test_a_key_that_the_storage_takes_for_known_and_cannot_find_is_an_error(desk: Office) -> None:
    def taken() -> None:
        raise DuplicateKeyError("acme", "k")

    desk.plan.set(append=[taken])
    assert desk.refusal(DuplicateKeyError, "consume", usd(5), idempotency_key="k").key == "k"
    desk.plan.set(append=[taken])
    assert desk.do("consume", usd(5)).balance == usd(95)
    desk.plan.set(append=[taken] * 100)
    desk.refusal(DuplicateKeyError, "consume_many", [Usage(usd(5), idempotency_key="k")])
    assert desk.costs == [5]


# Clocks that differ


def test_services_whose_clocks_differ_a_little_record_times_that_never_run_back(desk: Office) -> None:
    ahead = desk.another_service(clock=lambda: T0 + timedelta(minutes=4))
    desk.run(ahead.consume("acme", usd(1)))
    receipt = desk.do("consume", usd(2))
    assert receipt.events[0].at == T0 + timedelta(minutes=4)
    assert receipt.events[0].occurred_at == T0
    assert desk.do("get").balance == usd(97)
    assert desk.do("consume", usd(2), idempotency_key="k").balance == usd(95)
    assert desk.do("consume", usd(2), idempotency_key="k").balance == usd(95)


def test_what_fell_due_is_recorded_with_the_command_in_one_append(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=timedelta(days=1))
    desk.do("hold", "session", usd(10), expires_at=hour(5))
    desk.do("grant", usd(7))
    desk.clock.now = day(2)
    receipt = desk.do("consume", usd(7), idempotency_key="k")
    assert kinds(receipt.events) == ["HoldReleased", "FundsExpired", "FundsConsumed", "BalanceDepleted"]
    assert [event.at for event in receipt.events] == [hour(5), day(1), day(2), day(2)]
    assert [event.idempotency_key for event in receipt.events] == [None, None, "k", None]
    assert desk.storage.appended[-1] == receipt.events


# Commands, requests and the appender alone


def test_a_command_has_the_digest_that_the_ledger_writes_on_its_event() -> None:
    account = Ledger.open("acme", Terms("USD"), at=T0)
    command = Command("add_funds", {"amount": usd(5), "reference": "wire"}, "k")
    (event,) = command.carry_out(account, T0, ())
    assert (event.idempotency_key, event.digest) == ("k", command.digest())
    usage = Command("consume", {"amount": usd(1), "occurred_at": None, "kind": "", "description": ""})
    (consumed,) = usage.carry_out(account, T0, ())
    reverse = Command("reverse_consumption", {"consumption": consumed, "amount": None}, "r", consumed.version)
    assert reverse.digest() == digest_of(("reverse_consumption", consumed.version, None))
    assert reverse.carry_out(account, T0, ())[0].digest == reverse.digest()


def test_a_request_knows_its_keys_and_its_last_receipt() -> None:
    request = Request([Command("advance", {}), Command("advance", {}, "a"), Command("advance", {}, "b")], several=True)
    assert request.keys == {"a", "b"}
    assert request.last_receipt is None
    first, second, third = (Receipt((), usd(n), usd(n), ()) for n in (1, 2, 3))
    request.answers = [first, second, InvalidValueError("amount", 1, "refused")]
    assert request.last_receipt is second
    request.replace_last_receipt(third)
    assert request.answers[:2] == [first, third]
    request.clear()
    assert (request.answers, request.recorded, request.due_charge, request.refused) == ([], [], None, None)


def test_an_appender_settles_every_request_and_raises_its_error() -> None:
    plan, clock = Plan(), Clock()
    desk = Office("blocking", funds=10)
    storage = FaultyStorage(desk.inner, plan)
    appender = Appender(SteppedStorage(storage), ThreadGate(), clock)
    usage: dict[str, Any] = {"amount": usd(4), "occurred_at": None, "kind": "", "description": ""}
    done = stepped(appender.carry_out("acme", Request([Command("consume", usage)])))
    assert (done.is_settled, done.error, len(done.answers)) == (True, None, 1)
    refused = Request([Command("consume", {**usage, "amount": usd(40)})])
    with pytest.raises(InsufficientFundsError):
        stepped(appender.carry_out("acme", refused))
    assert (refused.is_settled, type(refused.error)) == (True, InsufficientFundsError)
    with pytest.raises(LedgerNotFoundError):
        stepped(appender.load("nobody"))
    with pytest.raises(UnknownChargeError):
        stepped(appender.carry_out("acme", Request([Command("try_charge", {"charge_id": "unheard of"})])))
    assert appender.in_caller_transaction is False
    desk.inner.in_caller_transaction = True
    assert appender.in_caller_transaction is True
    assert appender.now(desk.ledger) == T0
    clock.now = T0 - timedelta(days=1)
    assert appender.now(desk.ledger) == T0
    desk.close()


def test_a_receipt_shows_where_the_ledger_stands() -> None:
    account = Ledger.open("acme", Terms("USD"), at=T0)
    account.add_funds(usd(10), at=T0)
    account.hold("session", usd(4), at=T0, expires_at=hour(1))
    events = account.purchase(usd(5), at=T0)
    receipt = Receipt.of(account, events)
    assert receipt == Receipt(events, usd(10), usd(6), account.pending_charges, replayed=False, charge_error=None)


def test_threads_with_one_service_lose_nothing() -> None:
    desk = Office("blocking", funds=1000)
    service = LedgerService(desk.inner, FaultyPaymentMethod(Provider(desk.clock), Plan()), clock=desk.clock)
    calls = 8 * 25

    def work(worker: int) -> None:
        for number in range(25):
            service.consume("acme", usd(1), idempotency_key=f"{worker % 4}:{number}")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert desk.costs == [1] * (calls // 2)
    assert desk.ledger.balance == usd(900)
    desk.close()
