"""What the services charge: inline, when settling, and when an outcome is unknown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from build import T0, day, hour, kinds, usd
from commcredits import (
    Declined,
    InvalidValueError,
    Paid,
    PaymentMethods,
    Processing,
    Receipt,
    RechargeLimit,
    RechargePolicy,
    UnknownChargeError,
    UnknownPaymentMethodError,
    Usage,
    WrongTypeError,
)
from commcredits.testing.faults import InjectedFault
from faults import AFTER, BEFORE, OK, FaultyPaymentMethod, Plan, Provider
from office import MINUTE, Hire, Office, due_ledgers, recharging, settled_due, usages

# Charges made inline


def test_a_purchase_is_charged_at_once_and_its_receipt_tells_the_end(hire: Hire) -> None:
    desk = hire()
    receipt = desk.do("purchase", usd(50))
    assert kinds(receipt.events) == ["ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]
    charge_id = receipt.events[0].charge_id
    assert receipt == Receipt(tuple(desk.events[1:]), usd(50), usd(50), ())
    assert desk.provider.taken == [(charge_id, usd(50))]
    assert desk.paid_in() == [(charge_id, 50)]


def test_usage_that_falls_below_the_threshold_is_recharged_in_the_same_call(desk: Office) -> None:
    desk.do("configure_auto_recharge", recharging())
    assert desk.do("consume", usd(90)).balance == usd(10)
    assert desk.provider.asked == []
    receipt = desk.do("consume", usd(1))
    assert kinds(receipt.events) == ["FundsConsumed", "ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]
    assert (receipt.balance, receipt.available, receipt.pending_charges) == (usd(59), usd(59), ())


def test_the_payment_method_is_handed_a_tried_charge_that_is_stored_so(desk: Office) -> None:
    seen = []
    desk.plan.set(charge=[lambda: seen.append([*desk.statuses(), kinds(desk.events)[-1]])])
    desk.do("purchase", usd(50), reference="order 7")
    (charge,) = desk.provider.asked
    assert seen == [["tried", "ChargeTried"]]
    assert (charge.status, charge.amount, charge.purpose, charge.reference) == ("tried", usd(50), "purchase", "order 7")


def test_without_inline_settling_the_charge_waits_for_a_settle(hire: Hire) -> None:
    desk = hire(settles_inline=False, funds=100)
    receipt = desk.do("purchase", usd(50))
    assert kinds(receipt.events) == ["ChargeRequested"]
    assert (receipt.balance, [charge.status for charge in receipt.pending_charges]) == (usd(100), ["requested"])
    desk.do("configure_auto_recharge", recharging(10))
    desk.do("consume", usd(99))
    assert desk.provider.asked == []
    settled = desk.do("settle")
    assert kinds(settled.events) == ["ChargeTried", "ChargePaid", "FundsAdded"]
    assert (settled.balance, settled.pending_charges, settled.replayed) == (usd(51), (), False)


def test_inline_its_own_purchase_comes_first_then_the_oldest_and_one_charge_a_call(desk: Office) -> None:
    waits = desk.another_service(settles_inline=False)
    for dollars in (10, 20):
        desk.run(waits.purchase("acme", usd(dollars)))
    desk.do("purchase", usd(30))
    assert [charge.amount for charge in desk.provider.asked] == [usd(30)]
    desk.do("consume", usd(0))
    assert [charge.amount for charge in desk.provider.asked] == [usd(30), usd(10)]
    desk.do("settle")
    desk.do("settle")
    assert [charge.amount for charge in desk.provider.asked] == [usd(30), usd(10), usd(20)]


def test_a_batch_of_usages_makes_one_charge_at_its_end_told_in_its_last_receipt(desk: Office) -> None:
    desk.do("configure_auto_recharge", recharging())
    receipts = desk.do("consume_many", [*usages(50, 45), Usage("5"), Usage(usd(1)), Usage(usd(60))], refused="collect")
    assert [getattr(receipt, "balance", None) for receipt in receipts] == [usd(50), usd(5), None, usd(54), None]
    assert kinds(receipts[3].events) == ["FundsConsumed", "ChargeTried", "ChargePaid", "FundsAdded"]
    assert len(desk.provider.taken) == 1


def test_a_charge_told_in_the_receipt_of_a_known_usage_leaves_it_a_replay(desk: Office) -> None:
    desk.do("consume", usd(1), idempotency_key="known")
    desk.do("configure_auto_recharge", recharging())
    receipts = desk.do("consume_many", [Usage(usd(95)), Usage(usd(1), idempotency_key="known")])
    assert [receipt.replayed for receipt in receipts] == [False, True]
    assert kinds(receipts[1].events) == ["FundsConsumed", "ChargeTried", "ChargePaid", "FundsAdded"]


@pytest.mark.parametrize("name", ["advance", "disable_auto_recharge"])
def test_a_command_that_records_nothing_makes_the_due_charge_too(hire: Hire, name: str) -> None:
    desk = hire()
    desk.run(desk.another_service(settles_inline=False).purchase("acme", usd(50)))
    receipt = desk.do(name)
    assert (kinds(receipt.events), receipt.balance) == (["ChargeTried", "ChargePaid", "FundsAdded"], usd(50))


def test_a_replay_does_nothing_again_and_makes_no_charge(desk: Office) -> None:
    desk.do("consume", usd(1), idempotency_key="known")
    desk.run(desk.another_service(settles_inline=False).purchase("acme", usd(50)))
    desk.do("consume", usd(1), idempotency_key="known")
    desk.do("consume_many", [])
    assert (desk.provider.asked, desk.statuses()) == ([], ["requested"])


def test_a_declined_charge_never_fails_the_usage(desk: Office) -> None:
    desk.provider.answers = [Declined("no funds")]
    desk.do("configure_auto_recharge", recharging())
    receipt = desk.do("consume", usd(95))
    assert kinds(receipt.events)[-1] == "ChargeDeclined"
    assert (receipt.balance, receipt.pending_charges, receipt.charge_error) == (usd(5), (), None)


def test_a_processing_charge_is_pending_until_its_outcome_is_recorded(hire: Hire) -> None:
    desk = hire()
    desk.provider.answers = [Processing("soon")]
    receipt = desk.do("purchase", usd(50))
    assert [charge.status for charge in receipt.pending_charges] == ["processing"]
    charge_id = receipt.pending_charges[0].charge_id
    desk.do("settle")
    assert len(desk.provider.asked) == 1
    outcome = desk.provider.finish(charge_id, Paid())
    assert desk.do("record_outcome", charge_id, outcome).balance == usd(50)
    again = desk.do("record_outcome", charge_id, outcome)
    assert (again.events, again.balance) == ((), usd(50))
    desk.refusal(UnknownChargeError, "record_outcome", "unheard of", outcome)


def test_no_lock_is_held_while_the_payment_method_works(desk: Office) -> None:
    meanwhile = []
    desk.plan.set(charge=[lambda: desk.service.consume("acme", usd(7))])
    receipt = desk.do("purchase", usd(50))
    meanwhile = kinds(desk.events)[-5:]
    assert meanwhile == ["ChargeRequested", "ChargeTried", "FundsConsumed", "ChargePaid", "FundsAdded"]
    assert receipt.balance == usd(143)


def test_payment_methods_dispatch_each_charge_by_its_name(hire: Hire) -> None:
    desk = hire()
    card, bank = Provider(desk.clock), Provider(desk.clock)
    kind = type(desk.card)
    desk.card = PaymentMethods({"card": kind(card, Plan()), "bank": kind(bank, Plan())})
    desk.service = desk.another_service()
    desk.do("change_payment_methods", "card", "bank", "cash")
    desk.do("purchase", usd(10))
    desk.do("purchase", usd(20), payment_method="bank")
    assert ([c.amount for c in card.asked], [c.amount for c in bank.asked]) == ([usd(10)], [usd(20)])
    receipt = desk.do("purchase", usd(30), payment_method="cash")
    assert isinstance(receipt.charge_error, UnknownPaymentMethodError)
    assert desk.statuses() == ["tried"]
    desk.refusal(UnknownPaymentMethodError, "purchase", usd(30), payment_method="gold")


# Settling


def test_settling_advances_evaluates_and_makes_the_charge_that_it_asked_for(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=timedelta(days=2))
    desk.do("configure_auto_recharge", recharging())
    desk.clock.now = day(3)
    receipt = desk.do("settle")
    assert kinds(receipt.events) == [
        "FundsExpired",
        "BalanceDepleted",
        "ChargeRequested",
        "ChargeTried",
        "ChargePaid",
        "FundsAdded",
        "BalanceRestored",
    ]
    assert (receipt.balance, receipt.replayed) == (usd(50), False)


def test_settling_makes_one_charge_at_a_time_until_the_zone_is_left(hire: Hire) -> None:
    desk = hire(funds=100)
    desk.do("configure_auto_recharge", recharging(50, 20))
    desk.do("consume", usd(95))
    balances = [desk.do("settle").balance for _ in range(3)]
    assert balances == [usd(45), usd(65), usd(65)]
    assert len(desk.provider.taken) == 3


def test_settling_with_nothing_due_records_nothing(desk: Office) -> None:
    stored = desk.events
    assert desk.do("settle") == Receipt((), usd(100), usd(100), ())
    assert desk.events == stored


def test_settling_retries_a_decline_under_a_new_key_when_its_delay_is_over(desk: Office) -> None:
    desk.provider.answers = [Declined("no funds"), Declined("no funds")]
    desk.do("configure_auto_recharge", recharging())
    desk.do("consume", usd(95))
    for now, asked in ((hour(1) - MINUTE, 1), (hour(1), 2), (hour(7) - MINUTE, 2), (hour(7), 3), (day(9), 3)):
        desk.clock.now = now
        desk.do("settle")
        assert len(desk.provider.asked) == asked
    assert len({charge.charge_id for charge in desk.provider.asked}) == 3
    assert [charge.attempt for charge in desk.provider.asked] == [1, 2, 3]
    assert desk.ledger.balance == usd(55)


def test_a_charge_withdrawn_while_it_is_claimed_is_not_made(hire: Hire) -> None:
    desk = hire(settles_inline=False, funds=100)
    desk.do("configure_auto_recharge", recharging())
    desk.do("consume", usd(95))
    desk.plan.set(append=[lambda: desk.rival().disable_auto_recharge("acme") and None])
    assert desk.do("settle").charge_error is None
    assert desk.provider.asked == []
    assert kinds(desk.events)[-2:] == ["AutoRechargeDisabled", "ChargeWithdrawn"]


def test_a_charge_no_longer_wanted_by_the_time_of_its_claim_is_withdrawn(hire: Hire) -> None:
    desk = hire(settles_inline=False, funds=100)
    desk.do("grant", usd(80), starts_at=day(1))
    desk.do("configure_auto_recharge", recharging())
    desk.do("consume", usd(95))
    times = iter([day(1) - MINUTE, day(1)])
    desk.service = desk.another_service(clock=lambda: next(times))
    receipt = desk.do("settle")
    assert kinds(receipt.events)[-2:] == ["FundsStarted", "ChargeWithdrawn"]
    assert (receipt.balance, receipt.pending_charges, desk.provider.asked) == (usd(85), (), [])


def test_two_who_settle_at_once_make_the_charge_once(hire: Hire) -> None:
    desk = hire(settles_inline=False)
    desk.do("purchase", usd(50))
    desk.plan.set(append=[lambda: desk.rival().settle("acme") and None])
    receipt = desk.do("settle")
    assert receipt.charge_error is None
    assert len(desk.provider.asked) == 1
    assert desk.ledger.balance == usd(50)


def test_a_claimed_charge_is_not_made_by_another_while_its_outcome_is_awaited(hire: Hire) -> None:
    desk = hire(settles_inline=False)
    desk.do("purchase", usd(50))
    rival = desk.rival()
    receipts = []
    desk.plan.set(charge=[lambda: receipts.append(rival.settle("acme"))])
    desk.do("settle")
    assert [charge.status for charge in receipts[0].pending_charges] == ["tried"]
    assert len(desk.provider.asked) == 1


def test_settling_what_is_due_settles_every_due_ledger_once(desk: Office) -> None:
    due_ledgers(desk, "b", "a", "c")
    answers = settled_due(desk)
    assert list(answers) == ["b", "a", "c"]
    assert {receipt.balance for receipt in answers.values()} == {usd(10)}
    assert settled_due(desk) == {}
    assert len(desk.provider.taken) == 3


def test_settling_what_is_due_takes_the_most_overdue_up_to_its_limit(desk: Office) -> None:
    due_ledgers(desk, "b", "a", "c")
    assert [list(settled_due(desk, limit=2)) for _ in range(3)] == [["b", "a"], ["c"], []]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1"])
def test_a_limit_that_is_none_is_refused(desk: Office, limit: Any) -> None:
    with pytest.raises(InvalidValueError, match="limit"):
        settled_due(desk, limit=limit)


def test_settling_what_is_due_goes_on_after_a_ledger_that_fails(desk: Office) -> None:
    due_ledgers(desk, "a", "b", "c")
    desk.plan.set(load=[OK, BEFORE], append=[OK, BEFORE], charge=[])
    answers = settled_due(desk)
    assert [type(answer) for answer in answers.values()] == [Receipt, InjectedFault, Receipt]
    assert isinstance(answers["a"].charge_error, InjectedFault)
    desk.plan.set()
    desk.clock.now += timedelta(minutes=5)
    assert list(settled_due(desk)) == ["a", "b"]
    assert sorted(key[0] for key, _ in desk.provider.taken) == ["a", "b", "c"]


def test_a_ledger_that_could_not_be_settled_lets_the_others_go_first(desk: Office) -> None:
    due_ledgers(desk, "a", "b", "c")
    desk.plan.set(load=[BEFORE])
    assert [list(settled_due(desk, limit=1)) for _ in range(3)] == [["a"], ["b"], ["c"]]
    assert list(settled_due(desk, limit=1)) == ["a"]
    assert list(settled_due(desk, limit=1)) == []


def test_settling_what_is_due_fails_itself_if_nobody_can_say_what_is_due(desk: Office) -> None:
    desk.plan.set(due=[BEFORE])
    with pytest.raises(InjectedFault, match="due"):
        settled_due(desk)


def test_a_ledger_whose_retry_would_meet_a_limit_is_due_when_the_limit_ends_and_not_all_the_time(hire: Hire) -> None:
    desk = hire(funds=19)
    limited = RechargePolicy(usd(30), usd(10), limits=[RechargeLimit(count=1, per="day")])
    desk.do("configure_auto_recharge", limited)
    desk.do("consume", usd(4))
    desk.provider.answers = [Declined("no funds")]
    desk.do("configure_auto_recharge", recharging(30))
    desk.do("configure_auto_recharge", limited)
    settled = []
    for number in range(24):
        desk.clock.now = hour(number)
        settled += [kinds(receipt.events) for receipt in settled_due(desk).values()]
    assert [] not in settled
    desk.clock.now = day(1)
    assert settled_due(desk)["acme"].balance == usd(35)


# Charges of unknown outcome


def test_a_payment_method_that_raises_leaves_the_usage_stored_and_the_charge_tried(desk: Office) -> None:
    desk.do("configure_auto_recharge", recharging())
    desk.plan.set(charge=[BEFORE])
    receipt = desk.do("consume", usd(95), idempotency_key="k")
    assert kinds(receipt.events) == ["FundsConsumed", "ChargeRequested", "ChargeTried"]
    assert (receipt.balance, [charge.status for charge in receipt.pending_charges]) == (usd(5), ["tried"])
    assert isinstance(receipt.charge_error, InjectedFault)
    assert desk.costs == [95]


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_an_unknown_outcome_is_asked_for_again_with_the_same_key_after_its_delay(hire: Hire, when: str) -> None:
    desk = hire()
    desk.plan.set(charge=[when])
    desk.do("purchase", usd(50))
    for now in (T0, T0 + 5 * MINUTE - timedelta(microseconds=1)):
        desk.clock.now = now
        assert desk.do("settle").pending_charges[0].status == "tried"
    assert desk.plan.calls["charge"] == 1
    desk.clock.now = T0 + 5 * MINUTE
    receipt = desk.do("settle")
    assert desk.plan.calls["charge"] == 2
    assert kinds(receipt.events) == ["ChargeTried", "ChargePaid", "FundsAdded"]
    assert len(desk.provider.taken) == 1
    assert desk.paid_in() == [(desk.provider.taken[0][0], 50)]


def test_a_key_is_used_no_more_when_its_time_is_over_and_the_charge_is_unresolved(hire: Hire) -> None:
    desk = hire()
    desk.plan.set(charge=[AFTER, BEFORE])
    charge_id = desk.do("purchase", usd(50)).pending_charges[0].charge_id
    desk.clock.now = hour(23)
    desk.do("settle")
    desk.clock.now = hour(24)
    receipt = desk.do("settle")
    assert kinds(receipt.events) == ["ChargeUnresolved"]
    assert (len(desk.provider.asked), desk.plan.calls["charge"], desk.statuses()) == (1, 2, ["unresolved"])
    assert desk.do("record_outcome", charge_id, desk.provider.looked_up(charge_id)).balance == usd(50)
    assert desk.statuses() == []


def test_an_answer_that_comes_when_the_ledger_has_forgotten_the_charge_is_still_recorded(hire: Hire) -> None:
    desk = hire()
    rival = desk.rival()

    def meanwhile() -> None:
        charge_id = desk.pending[0].charge_id
        rival.record_outcome("acme", charge_id, Declined("a mistake"))
        desk.clock.now = day(40)
        rival.purchase("acme", usd(1))
        with pytest.raises(UnknownChargeError):
            desk.ledger.record_outcome(charge_id, Paid(), at=day(40))

    desk.plan.set(charge=[meanwhile])
    receipt = desk.do("purchase", usd(50))
    assert (receipt.charge_error, receipt.balance) == (None, usd(51))


def test_an_answer_that_is_no_outcome_is_an_unknown_one(desk: Office) -> None:
    desk.provider.answers = ["yes"]  # type: ignore[list-item]
    receipt = desk.do("purchase", usd(50))
    assert (type(receipt.charge_error), desk.statuses()) == (WrongTypeError, ["tried"])


def test_a_payment_method_without_coroutines_may_serve_them_too(hire: Hire) -> None:
    desk = hire()
    desk.card = FaultyPaymentMethod(desk.provider, desk.plan)
    desk.service = desk.another_service()
    assert desk.do("purchase", usd(50)).balance == usd(50)


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_an_outcome_that_cannot_be_stored_leaves_the_receipt_with_the_charge_pending(desk: Office, when: str) -> None:
    desk.do("configure_auto_recharge", recharging())
    desk.plan.set(append=[OK, OK, when])
    receipt = desk.do("consume", usd(95), idempotency_key="k")
    assert (receipt.balance, [charge.status for charge in receipt.pending_charges]) == (usd(5), ["tried"])
    assert isinstance(receipt.charge_error, InjectedFault)
    desk.clock.now = T0 + 5 * MINUTE
    assert desk.do("settle").balance == usd(55)
    assert (len(desk.provider.taken), len(desk.paid_in()), desk.costs) == (1, 1, [95])


@pytest.mark.parametrize("when", [BEFORE, AFTER])
def test_a_claim_that_cannot_be_stored_makes_no_charge(desk: Office, when: str) -> None:
    desk.plan.set(append=[OK, when])
    receipt = desk.do("purchase", usd(50))
    assert isinstance(receipt.charge_error, InjectedFault)
    assert (desk.provider.asked, desk.statuses()) == ([], ["requested" if when == BEFORE else "tried"])
    desk.clock.now = T0 + 5 * MINUTE
    assert desk.do("settle").balance == usd(150)
    assert len(desk.provider.taken) == 1


def test_a_repeated_purchase_of_unknown_fate_is_charged_once(hire: Hire) -> None:
    desk = hire()
    desk.plan.set(append=[AFTER], find=[BEFORE])
    desk.refusal(InjectedFault, "purchase", usd(50), idempotency_key="k")
    again = desk.do("purchase", usd(50), idempotency_key="k")
    assert (again.replayed, [charge.status for charge in again.pending_charges]) == (True, ["requested"])
    desk.do("settle")
    assert desk.do("purchase", usd(50), idempotency_key="k") == Receipt(
        again.events, usd(50), usd(50), (), replayed=True
    )
    assert len(desk.provider.taken) == 1


class GivenUp(BaseException):
    """As an interrupt is, but for one whom only the test interrupts."""


@pytest.mark.parametrize("given_up", [GivenUp, asyncio.CancelledError])
def test_what_is_no_exception_passes_and_the_charge_stays_tried(desk: Office, given_up: type[BaseException]) -> None:
    def stop() -> None:
        raise given_up

    desk.plan.set(charge=[stop])
    desk.refusal(given_up, "purchase", usd(50))
    assert desk.statuses() == ["tried"]
    desk.clock.now = T0 + 5 * MINUTE
    assert desk.do("settle").balance == usd(150)
