"""Many usages at once, refusals, holds, corrections, callers' transactions, and bad parts."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from build import T0, cents, day, hour, kinds, only, usd
from commcredits import (
    AsyncInMemoryStorage,
    AsyncLedgerService,
    Charge,
    ChargeDeclined,
    ChargeRequested,
    Declined,
    ExceedsLotError,
    HoldEndedError,
    HoldExistsError,
    IdempotencyConflictError,
    InMemoryStorage,
    InsufficientFundsError,
    InvalidValueError,
    LedgerClosedError,
    LedgerService,
    OpenHoldsError,
    Outcome,
    Paid,
    Receipt,
    ReversalExceedsUsageError,
    Terms,
    TimeRunsBackError,
    UnknownChargeError,
    Usage,
    WrongTypeError,
    service,
)
from faults import BEFORE, OK, FaultyPaymentMethod, Plan, Provider
from office import MINUTE, Hire, Office, recharging, settled_due, usages

# Many usages


def test_many_usages_are_one_append_with_a_receipt_for_each_in_their_order(desk: Office) -> None:
    calls = desk.plan.calls["append"]
    receipts = desk.do("consume_many", (usage for usage in usages(1, 2, 3, 0)))
    assert desk.plan.calls["append"] == calls + 1
    assert isinstance(receipts, tuple)
    assert [receipt.events[0].amount for receipt in receipts] == [usd(1), usd(2), usd(3), usd(0)]
    assert [receipt.balance for receipt in receipts] == [usd(99), usd(97), usd(94), usd(94)]
    assert desk.costs == [1, 2, 3]


def test_usages_recorded_before_are_answered_as_replays_and_the_rest_is_recorded(desk: Office) -> None:
    desk.do("consume", usd(2), idempotency_key="u1")
    first = desk.do("consume_many", usages(1, 2, 3, keyed=True))
    assert [receipt.replayed for receipt in first] == [False, True, False]
    assert desk.costs == [2, 1, 3]
    appends = desk.plan.calls["append"]
    desk.clock.now = day(400)
    again = desk.do("consume_many", usages(1, 2, 3, keyed=True))
    assert [receipt.replayed for receipt in again] == [True] * 3
    assert [receipt.events for receipt in again] == [receipt.events for receipt in first]
    assert {(receipt.balance, receipt.available) for receipt in again} == {(usd(0), usd(0))}
    assert desk.plan.calls["append"] == appends


def test_the_same_usage_twice_in_one_call_is_recorded_once(desk: Office) -> None:
    twice = [Usage(usd(5), idempotency_key="k"), Usage(usd(1)), Usage(cents(500), idempotency_key="k")]
    receipts = desk.do("consume_many", twice)
    assert [receipt.replayed for receipt in receipts] == [False, False, True]
    assert receipts[2].events == receipts[0].events
    assert desk.costs == [5, 1]


def test_another_usage_under_the_same_key_in_one_call_refuses_all(desk: Office) -> None:
    mixed = [Usage(usd(5), idempotency_key="k"), Usage(usd(6), idempotency_key="k")]
    assert desk.refusal(IdempotencyConflictError, "consume_many", mixed).index == 1
    assert desk.costs == []
    receipt, error = desk.do("consume_many", mixed, refused="collect")
    assert (receipt.balance, type(error), error.index) == (usd(95), IdempotencyConflictError, 1)
    assert desk.costs == [5]


def test_one_refused_usage_refuses_all_and_tells_its_place(desk: Office) -> None:
    error = desk.refusal(InsufficientFundsError, "consume_many", usages(60, 10, 31, 1, keyed=True))
    assert (error.index, error.shortfall) == (2, usd(1))
    error = desk.refusal(WrongTypeError, "consume_many", [Usage(usd(1)), Usage(5)])
    assert (error.index, error.parameter) == (1, "amount")
    assert desk.costs == []
    assert [r.replayed for r in desk.do("consume_many", usages(60, 10, 30, keyed=True))] == [False] * 3


def test_collected_refusals_stand_in_their_places_and_the_rest_is_one_append(desk: Office) -> None:
    appends = desk.plan.calls["append"]
    answers = desk.do("consume_many", [*usages(60, 50, 30), Usage("5"), Usage(usd(10))], refused="collect")
    assert [type(answer) for answer in answers] == [Receipt, InsufficientFundsError, Receipt, WrongTypeError, Receipt]
    assert [answer.index for answer in answers if not isinstance(answer, Receipt)] == [1, 3]
    assert desk.costs == [60, 30, 10]
    assert desk.plan.calls["append"] == appends + 1


@pytest.mark.parametrize(
    ("item", "parameter"),
    [(Usage(usd(1), idempotency_key=key), "idempotency_key") for key in (5, "", [], "x" * 201, "\0")]
    + [(item, "usages") for item in (None, 5, "5", usd(5))],
)
def test_what_is_no_usage_or_no_key_is_refused_in_its_place(desk: Office, item: Any, parameter: str) -> None:
    items = [Usage(usd(1), idempotency_key="k"), item, Usage(usd(2))]
    error = desk.refusal((WrongTypeError, InvalidValueError), "consume_many", items)
    assert (error.index, error.parameter) == (1, parameter)
    assert desk.costs == []
    first, refusal, last = desk.do("consume_many", items, refused="collect")
    assert (first.balance, refusal.index, refusal.parameter, last.balance) == (usd(99), 1, parameter, usd(97))
    assert desk.costs == [1, 2]


def test_a_batch_of_which_all_are_refused_appends_nothing(desk: Office) -> None:
    stored = desk.events
    answers = desk.do("consume_many", usages(101, 102), refused="collect")
    assert [answer.index for answer in answers] == [0, 1]
    assert desk.events == stored


def test_a_conflict_within_a_known_batch_tells_its_place(desk: Office) -> None:
    desk.do("consume_many", usages(1, 2, keyed=True))
    assert desk.refusal(IdempotencyConflictError, "consume_many", usages(1, 3, keyed=True)).index == 1
    receipt, error = desk.do("consume_many", usages(1, 3, keyed=True), refused="collect")
    assert (receipt.replayed, error.index, error.recorded) == (True, 1, 4)
    assert desk.costs == [1, 2]


def test_a_refusal_comes_after_known_usages_were_recognised(desk: Office) -> None:
    desk.do("consume_many", usages(60, 30, keyed=True))
    more = [*usages(60, 30, keyed=True), Usage(usd(11), idempotency_key="new")]
    assert desk.refusal(InsufficientFundsError, "consume_many", more).index == 2
    receipts = desk.do("consume_many", more, refused="collect")
    assert [getattr(answer, "replayed", None) for answer in receipts] == [True, True, None]


def test_no_usages_at_all_are_answered_with_nothing(desk: Office) -> None:
    assert desk.do("consume_many", []) == ()
    desk.do("consume", usd(1))
    assert desk.do("consume_many", []) == ()
    assert desk.costs == [1]


@pytest.mark.parametrize("wrong", [5, None, [usd(5)], "usage"])
def test_what_are_no_usages_is_refused(desk: Office, wrong: Any) -> None:
    assert desk.refusal(WrongTypeError, "consume_many", wrong).parameter == "usages"
    assert desk.refusal(InvalidValueError, "consume_many", [], refused="ignore").parameter == "refused"


def test_the_storage_is_asked_for_keys_only_where_one_is_taken_and_then_for_all_at_once(desk: Office) -> None:
    batch = [Usage(usd(1), idempotency_key=f"k{n}") for n in range(50)]
    assert desk.do("consume_many", batch[:30])[-1].balance == usd(70)
    assert desk.plan.calls["find"] == 0
    answers = desk.do("consume_many", batch)
    assert [answer.replayed for answer in answers] == [True] * 30 + [False] * 20
    assert answers[-1].balance == usd(50)
    assert desk.plan.calls["find"] == 2


@pytest.mark.parametrize("refused", ["raise", "collect"])
def test_what_there_would_be_no_funds_for_may_have_been_recorded_before(desk: Office, refused: str) -> None:
    batch = [Usage(usd(30), idempotency_key=f"k{n}") for n in range(3)]
    desk.do("consume_many", batch[:2])
    answers = desk.do("consume_many", batch, refused=refused)
    assert [answer.replayed for answer in answers] == [True, True, False]
    assert answers[-1].balance == usd(10)
    more = [*batch, Usage(usd(20), idempotency_key="more")]
    if refused == "raise":
        error = desk.refusal(InsufficientFundsError, "consume_many", more)
        assert (error.index, error.shortfall) == (3, usd(10))
    else:
        answers = desk.do("consume_many", more, refused=refused)
        assert [getattr(answer, "replayed", None) for answer in answers] == [True, True, True, None]
    assert desk.do("get").balance == usd(10)


# Usage refused for lack of funds


def test_refused_usage_causes_the_recharge_that_it_would_have_caused(hire: Hire) -> None:
    desk = hire(funds=30)
    desk.do("configure_auto_recharge", recharging(20, recharge_when_refused=True))
    error = desk.refusal(InsufficientFundsError, "consume", usd(50), idempotency_key="k")
    assert error.decision.due
    assert kinds(desk.events)[3:] == ["ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]
    assert desk.do("consume", usd(50), idempotency_key="k").balance == usd(30)


@pytest.mark.parametrize(
    "refused", [("hold", "session", usd(50)), ("capture", "open", usd(55))], ids=["hold", "capture"]
)
def test_refused_holds_and_captures_cause_it_too(hire: Hire, refused: tuple[Any, ...]) -> None:
    desk = hire(funds=30)
    desk.do("hold", "open", usd(5), expires_at=hour(9))
    desk.do("configure_auto_recharge", recharging(20, recharge_when_refused=True))
    name, *arguments = refused
    desk.refusal(InsufficientFundsError, name, *arguments, **({"expires_at": hour(9)} if name == "hold" else {}))
    assert only(desk.events, ChargeRequested).refused == usd(50)
    assert [amount for _, amount in desk.provider.taken] == [usd(50)]


def test_without_inline_settling_the_recharge_of_refused_usage_waits(hire: Hire) -> None:
    desk = hire(funds=30, settles_inline=False)
    desk.do("configure_auto_recharge", recharging(20, recharge_when_refused=True))
    for _ in range(3):
        desk.refusal(InsufficientFundsError, "consume", usd(50))
    assert (desk.provider.asked, desk.statuses()) == ([], ["requested"])
    assert desk.do("settle").balance == usd(80)


@pytest.mark.parametrize("asks", [False, True])
def test_only_a_policy_that_says_so_recharges_for_refused_usage(hire: Hire, asks: bool) -> None:
    desk = hire(funds=30)
    stored = desk.events
    desk.refusal(InsufficientFundsError, "consume", usd(50))
    assert desk.events == stored
    desk.do("configure_auto_recharge", recharging(20, recharge_when_refused=asks))
    desk.refusal(InsufficientFundsError, "consume", usd(50))
    assert len(desk.provider.taken) == asks


def test_no_recharge_is_asked_for_refused_usage_when_none_is_due(hire: Hire) -> None:
    desk = hire(funds=30)
    desk.do("change_payment_methods")
    desk.do("configure_auto_recharge", recharging(20, recharge_when_refused=True))
    stored = desk.events
    error = desk.refusal(InsufficientFundsError, "consume", usd(50))
    assert (error.decision.due, error.decision.reason) == (False, "suspended")
    assert desk.events == stored


def test_a_refused_batch_asks_for_all_that_it_would_have_used_up_to_the_refusal(hire: Hire) -> None:
    desk = hire(funds=30)
    desk.do("configure_auto_recharge", recharging(5, recharge_when_refused=True))
    assert desk.refusal(InsufficientFundsError, "consume_many", usages(20, 20, 9)).index == 1
    assert only(desk.events, ChargeRequested).refused == usd(40)
    assert desk.ledger.balance == usd(80)
    assert [receipt.balance for receipt in desk.do("consume_many", usages(20, 20))] == [usd(60), usd(40)]


def test_usage_refused_and_collected_asks_for_its_own_recharge_told_in_the_last_receipt(hire: Hire) -> None:
    desk = hire(funds=10)
    desk.do("configure_auto_recharge", recharging(5, recharge_when_refused=True))
    answers = desk.do("consume_many", usages(2, 20, 1, 30), refused="collect")
    assert [getattr(answer, "balance", None) for answer in answers] == [usd(8), None, usd(57), None]
    told_in_it = ["FundsConsumed", "ChargeRequested", "ChargeTried", "ChargePaid", "FundsAdded"]
    assert kinds(answers[2].events) == told_in_it
    assert only(desk.events, ChargeRequested).refused == usd(20)
    assert len(desk.provider.taken) == 1


def test_a_batch_of_which_all_is_refused_and_collected_still_recharges(hire: Hire) -> None:
    desk = hire(funds=10)
    desk.do("configure_auto_recharge", recharging(5, recharge_when_refused=True))
    answers = desk.do("consume_many", usages(20), refused="collect")
    assert [type(answer) for answer in answers] == [InsufficientFundsError]
    assert desk.ledger.balance == usd(60)


@pytest.mark.parametrize("collect", [False, True])
def test_what_keeps_the_recharge_from_being_asked_for_leaves_the_refusal_as_the_answer(
    hire: Hire,
    collect: bool,
) -> None:
    desk = hire(funds=10)
    desk.do("configure_auto_recharge", recharging(5, recharge_when_refused=True))
    if collect:
        desk.plan.set(append=[OK, BEFORE])
        answers = desk.do("consume_many", usages(2, 20), refused="collect")
        assert (type(answers[1]), answers[0].balance) == (InsufficientFundsError, usd(8))
    else:
        desk.plan.set(append=[BEFORE])
        desk.refusal(InsufficientFundsError, "consume", usd(20))
    assert desk.plan.is_over
    assert desk.pending == []


# Holds


def test_a_hold_id_is_unique_for_ever_even_when_the_ledger_has_forgotten_it(hire: Hire) -> None:
    desk = hire(funds=100, settles_inline=False)
    for number in range(102):
        desk.do("hold", f"hold {number}", usd(1), expires_at=hour(1), idempotency_key=f"k {number}")
        desk.do("release", f"hold {number}")
    stored = desk.events
    for place in (0, 101):
        error = desk.refusal(
            HoldExistsError, "hold", f"hold {place}", usd(1), expires_at=hour(1), idempotency_key="new"
        )
        assert error.hold_id == f"hold {place}"
        assert desk.do("hold", f"hold {place}", usd(1), expires_at=hour(1), idempotency_key=f"k {place}").replayed
        assert desk.refusal(HoldEndedError, "release", f"hold {place}").reason == "released"
        desk.refusal(HoldEndedError, "capture", f"hold {place}")
        desk.refusal(HoldEndedError, "extend_hold", f"hold {place}", add=usd(1))
    assert desk.events == stored


def test_a_ledger_with_open_holds_is_not_closed(desk: Office) -> None:
    desk.do("hold", "session", usd(5), expires_at=hour(1))
    desk.refusal(OpenHoldsError, "close")
    desk.clock.now = hour(1)
    assert kinds(desk.do("close").events) == ["HoldReleased", "LedgerClosed"]
    desk.refusal(LedgerClosedError, "consume", usd(1))
    assert desk.do("consume", usd(1), occurred_at=T0).balance == usd(99)


# Corrections of what is long past


def test_usage_is_reversed_by_its_key_however_it_was_recorded(desk: Office) -> None:
    desk.do("hold", "session", usd(20), expires_at=hour(1))
    desk.do("consume", usd(5), idempotency_key="one")
    desk.do("consume_many", [Usage(usd(6), idempotency_key="two")])
    desk.do("capture", "session", usd(7), idempotency_key="three")
    balances = [desk.do("reverse_consumption", key).balance for key in ("one", "two", "three")]
    assert balances == [usd(87), usd(93), usd(100)]
    desk.refusal(ReversalExceedsUsageError, "reverse_consumption", "one")


def test_a_reversal_in_parts_counts_the_parts_before_it(desk: Office) -> None:
    desk.do("consume", usd(5), idempotency_key="usage")
    assert desk.do("reverse_consumption", "usage", usd(3), idempotency_key="k").balance == usd(98)
    assert desk.do("reverse_consumption", "usage", usd(3), idempotency_key="k").replayed
    error = desk.refusal(ReversalExceedsUsageError, "reverse_consumption", "usage", usd(3))
    assert error.left == usd(2)
    assert desk.do("reverse_consumption", "usage").balance == usd(100)


def test_a_reversal_long_after_the_usage_still_counts_the_parts_before_it(hire: Hire) -> None:
    desk = hire(funds=100, funds_valid_for=None)
    desk.do("consume", usd(5), idempotency_key="usage")
    desk.do("reverse_consumption", "usage", usd(3))
    desk.clock.now = day(500)
    desk.do("consume", usd(1), idempotency_key="other")
    desk.do("reverse_consumption", "other")
    assert desk.refusal(ReversalExceedsUsageError, "reverse_consumption", "usage", usd(3)).left == usd(2)


def test_what_is_no_usages_key_reverses_nothing(desk: Office) -> None:
    desk.do("add_funds", usd(5), reference="", idempotency_key="funds")
    stored = desk.events
    for key in ("unknown", "funds"):
        error = desk.refusal(InvalidValueError, "reverse_consumption", key)
        assert (error.parameter, error.value) == ("idempotency_key_of_the_usage", key)
        desk.refusal(InvalidValueError, "reverse_consumption", key, idempotency_key="new")
        desk.refusal(IdempotencyConflictError, "reverse_consumption", key, idempotency_key="funds")
    assert desk.events == stored


def test_lots_and_charges_that_the_ledger_no_longer_keeps_are_found_in_the_storage(hire: Hire) -> None:
    desk = hire(funds_valid_for=timedelta(days=1))
    desk.provider.answers = [Declined("no funds")]
    declined = only(desk.do("purchase", usd(40)).events, ChargeDeclined).charge_id
    lot_id = desk.do("add_funds", usd(50), reference="").events[0].version
    desk.do("consume", usd(50))
    desk.clock.now = day(40)
    desk.do("add_funds", usd(60), reference="")
    assert lot_id not in {lot.lot_id for lot in desk.ledger.lots}
    assert desk.do("claw_back", lot_id, usd(50)).balance == usd(10)
    desk.refusal(ExceedsLotError, "refund", lot_id, usd(1))
    assert desk.do("reinstate", lot_id, usd(20)).balance == usd(30)
    desk.do("claw_back", lot_id, usd(20))
    assert desk.do("record_outcome", declined, Paid("after all")).balance == usd(50)
    desk.refusal(UnknownChargeError, "record_outcome", "acme:99:20260101T000000000000Z", Paid())


# In the caller's transaction


def test_in_the_callers_transaction_no_charge_is_made_and_the_receipt_says_so(hire: Hire) -> None:
    desk = hire(funds=100)
    desk.do("configure_auto_recharge", recharging(recharge_when_refused=True))
    desk.inner.in_caller_transaction = True
    assert [charge.status for charge in desk.do("purchase", usd(50)).pending_charges] == ["requested"]
    assert len(desk.do("settle").pending_charges) == 1
    desk.refusal(InsufficientFundsError, "consume", usd(200))
    assert list(settled_due(desk)) == ["acme"]
    assert desk.provider.asked == []
    desk.inner.in_caller_transaction = False
    desk.do("settle")
    desk.do("settle")
    assert len(desk.provider.taken) == 2


def test_in_the_callers_transaction_no_ledger_is_kept_from_one_call_to_the_next(hire: Hire) -> None:
    desk = hire(funds=100)
    desk.do("consume", usd(1))
    loads = desk.plan.calls["load"]
    desk.do("consume", usd(1))
    assert desk.plan.calls["load"] == loads
    desk.inner.in_caller_transaction = True
    for more in (1, 2):
        desk.do("consume", usd(1))
        assert desk.plan.calls["load"] == loads + more


def test_what_a_callers_transaction_took_back_is_not_kept_in_mind(hire: Hire) -> None:
    desk = hire(funds=100)
    desk.service = desk.another_service()
    desk.inner.in_caller_transaction = True
    desk.do("consume", usd(1))
    desk.inner.in_caller_transaction = False
    loads = desk.plan.calls["load"]
    desk.do("consume", usd(1))
    assert desk.plan.calls["load"] == loads + 1


def test_in_the_callers_transaction_nobody_waits_for_anybody_and_nothing_is_gathered(hire: Hire) -> None:
    desk = hire(funds=100)
    desk.inner.in_caller_transaction = True
    if desk.is_async:

        async def both() -> None:
            await asyncio.gather(desk.service.consume("acme", usd(1)), desk.service.consume("acme", usd(2)))

        desk.run(both())
    else:
        with desk.storing():
            desk.do("consume", usd(1))
            desk.do("consume", usd(2))
    assert sorted(desk.costs) == [1, 2]
    assert [len(events) for events in desk.storage.appended if "FundsConsumed" in kinds(events)] == [1] * (
        2 if desk.is_async else 3
    )


# Time


def test_a_clock_far_behind_the_ledger_is_refused_and_one_a_little_behind_forgiven(desk: Office) -> None:
    desk.clock.now = T0 - 5 * MINUTE
    assert desk.do("consume", usd(1)).events[0].at == T0
    desk.clock.now -= timedelta(microseconds=1)
    desk.refusal(TimeRunsBackError, "consume", usd(1))
    assert desk.costs == [1]


def test_the_clock_is_the_systems_unless_another_is_given() -> None:
    before = service.utc_now()
    desk = LedgerService(InMemoryStorage(), FaultyPaymentMethod(Provider(lambda: T0), Plan()))
    opened = desk.open("acme", Terms("USD")).events[0]
    assert before <= opened.at <= service.utc_now()
    assert before.utcoffset() == timedelta(0)


def test_a_clock_that_fails_fails_only_the_calls_that_asked_it(desk: Office) -> None:
    broken = False

    def clock() -> Any:
        if broken:
            raise OSError("no clock")
        return T0

    desk.service = desk.another_service(clock=clock)
    desk.do("consume", usd(1))
    broken = True
    desk.refusal(OSError, "consume", usd(2))
    broken = False
    assert desk.do("consume", usd(3)).balance == usd(96)


# Parts that do not fit


class AsyncCard:
    async def charge(self, charge: Charge) -> Outcome:
        return Paid(charge.charge_id)


def test_parts_of_the_wrong_kind_are_refused_when_the_service_is_made() -> None:
    card = FaultyPaymentMethod(Provider(lambda: T0), Plan())
    wrong: list[tuple[Any, Any, Any, str]] = [
        (LedgerService, AsyncInMemoryStorage(), card, "storage"),
        (LedgerService, InMemoryStorage(), AsyncCard(), "payment_method"),
        (AsyncLedgerService, InMemoryStorage(), AsyncCard(), "storage"),
    ]
    for kind, storage, payment_method, parameter in wrong:
        with pytest.raises(WrongTypeError) as caught:
            kind(storage, payment_method)
        assert caught.value.parameter == parameter
