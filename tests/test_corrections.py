"""Undoing: reversals of usage, refunds, claw-backs and reinstatements."""

from __future__ import annotations

from copy import copy
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from build import (
    MOMENT,
    T0,
    all_terms,
    cents,
    day,
    drawn,
    histories,
    hour,
    in_cents,
    kinds,
    ledger,
    left,
    lot,
    only,
    play,
    usd,
)
from commcredits import (
    AutoRechargeSuspended,
    ConsumptionReversed,
    Event,
    ExceedsLotError,
    FundsAdded,
    FundsClawedBack,
    FundsConsumed,
    FundsExpired,
    FundsGranted,
    FundsRefunded,
    FundsReinstated,
    InvalidValueError,
    Ledger,
    Money,
    OverdraftRepaid,
    RechargePolicy,
    ReversalExceedsUsageError,
    Terms,
    UnknownLotError,
)

BILLIONTH = Money("0.000000001", "USD")
NOTHING = usd(0)


def consume(account: Ledger, amount: str | int) -> FundsConsumed:
    return only(account.consume(usd(amount), at=max(T0, account.as_of)), FundsConsumed)


# Reversal of usage


def test_a_reversal_gives_the_draws_back_in_reverse_order() -> None:
    account = ledger()
    first, second, third = (lot(account, 10, at=T0, expires_at=day(9)) for _ in range(3))
    usage = consume(account, 25)
    (reversal, *_) = account.reverse_consumption(usage, usd(12), at=hour(1))
    assert reversal == ConsumptionReversed(
        version=usage.version + 1,
        at=hour(1),
        consumption=usage.version,
        amount=usd(12),
        draws=((third, usd(5)), (second, usd(7))),
        overdrawn=NOTHING,
        unrepaid=(),
    )
    assert left(account) == {second: usd(7), third: usd(10)}
    (rest, *_) = account.reverse_consumption(usage, at=hour(1))
    assert drawn(rest) == [(second, usd(3)), (first, usd(10))]
    assert account.available == usd(30)
    assert account.totals.consumed == NOTHING


def test_a_reversal_undoes_what_was_overdrawn_before_the_draws() -> None:
    account = ledger(overdraft_limit=None)
    bought = lot(account, 10, at=T0)
    usage = consume(account, 25)
    (reversal, *_) = account.reverse_consumption(usage, usd(15), at=T0)
    assert (reversal.overdrawn, reversal.draws) == (usd(15), ())
    assert (account.available, account.overdraft) == (NOTHING, NOTHING)
    (reversal, *_) = account.reverse_consumption(usage, usd(1), at=T0)
    assert (reversal.overdrawn, drawn(reversal)) == (NOTHING, [(bought, usd(1))])


def test_what_was_repaid_since_goes_back_to_the_lots_that_repaid_it_the_latest_first() -> None:
    account = ledger(overdraft_limit=None)
    usage = consume(account, 25)
    first = lot(account, 10, at=T0)
    second = lot(account, 10, at=T0)
    assert account.overdraft == usd(5)
    reversal = only(account.reverse_consumption(usage, usd(18), at=T0), ConsumptionReversed)
    assert (reversal.overdrawn, reversal.unrepaid) == (usd(18), ((second, usd(10)), (first, usd(3))))
    assert left(account) == {second: usd(10), first: usd(3)}
    account.check()


def test_funds_given_back_by_a_reversal_repay_another_overdraft() -> None:
    account = ledger(overdraft_limit=None)
    lot(account, 10, at=T0)
    usage = consume(account, 10)
    consume(account, 4)
    events = account.reverse_consumption(usage, at=T0)
    assert only(events, OverdraftRepaid).amount == usd(4)
    assert (account.available, account.overdraft) == (usd(6), NOTHING)


@pytest.mark.parametrize(("grace", "kind"), [(0, "FundsExpired"), (1, "FundsExpired"), (5, "FundsLapsed")])
def test_what_is_given_back_to_an_expired_lot_lapses_or_expires_at_once(grace: int, kind: str) -> None:
    account = ledger(late_usage_grace=timedelta(hours=grace))
    old = lot(account, 10, at=T0, expires_at=hour(2))
    usage = consume(account, 10)
    _, gone = account.reverse_consumption(usage, at=hour(3))[:2]
    assert kinds([gone]) == [kind]
    assert (gone.at, gone.lot_id, gone.amount) == (hour(3), old, usd(10))
    assert account.available == NOTHING
    account.check()


def test_what_is_given_back_to_a_lot_long_over_expires_at_once() -> None:
    account = ledger()
    old = lot(account, 10, at=T0, expires_at=hour(2))
    usage = consume(account, 10)
    lot(account, 10, at=day(1))
    events = account.reverse_consumption(usage, usd(4), at=day(2))
    assert only(events, FundsExpired).lot_id == old
    assert only(events, FundsExpired).amount == usd(4)
    assert account.available == usd(10)
    account.check()


def test_where_repaid_funds_go_back_to_does_not_depend_on_what_was_recorded_in_between() -> None:
    balances = set()
    for between in (False, True):
        account = ledger(overdraft_limit=None)
        usage = consume(account, 15)
        lot(account, 10, at=T0, expires_at=day(99))
        lot(account, 5, at=T0, expires_at=hour(1))
        if between:
            account.consume(NOTHING, at=hour(2))
        account.reverse_consumption(usage, usd(5), at=hour(3))
        balances.add((account.available, account.totals.expired))
        account.check()
    assert balances == {(NOTHING, usd(5))}


def test_no_more_is_reversed_than_is_left_of_the_usage() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    usage = consume(account, 8)
    with pytest.raises(ReversalExceedsUsageError):
        account.reverse_consumption(usage, usd(8) + BILLIONTH, at=T0)
    account.reverse_consumption(usage, usd(3), at=T0)
    before = copy(account)
    with pytest.raises(ReversalExceedsUsageError) as caught:
        account.reverse_consumption(usage, usd(5) + BILLIONTH, at=T0)
    assert (caught.value.consumption, caught.value.left) == (usage.version, usd(5))
    assert account == before
    account.reverse_consumption(usage, usd(5), at=T0)
    for amount in (None, BILLIONTH):
        with pytest.raises(ReversalExceedsUsageError):
            account.reverse_consumption(usage, amount, at=T0)


def test_usage_that_the_ledger_does_not_know_cannot_be_reversed() -> None:
    other = ledger()
    lot(other, 10, at=T0)
    usage = consume(other, 8)
    account = ledger()
    with pytest.raises(ReversalExceedsUsageError):
        account.reverse_consumption(usage, at=T0)
    assert account == ledger()


@pytest.mark.parametrize("overdrawn", [0, 5])
def test_usage_of_another_ledger_that_cannot_be_of_this_one_is_refused(overdrawn: int) -> None:
    """Its version is one of this ledger too, but no lot here gave so much, or nothing was overdrawn."""
    other = ledger(overdraft_limit=None)
    lot(other, 50, at=T0)
    usage = consume(other, 50 + overdrawn)
    account = ledger()
    lot(account, 10, at=T0)
    lot(account, 100, at=T0)
    consume(account, 60)
    before = copy(account)
    with pytest.raises(InvalidValueError, match="no usage of this ledger"):
        account.reverse_consumption(usage, at=T0)
    assert account == before
    account.check()


def test_a_captured_hold_is_reversed_as_any_usage() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    usage = only(account.capture("call", usd(6), at=T0), FundsConsumed)
    reversal = only(account.reverse_consumption(usage, usd(3), at=T0), ConsumptionReversed)
    assert drawn(reversal) == [(bought, usd(2)), (bought, usd(1))]
    assert account.available == usd(7)
    account.check()


def test_reversals_that_the_ledger_forgot_count_if_its_events_are_told() -> None:
    account = ledger(funds_valid_for=None, overdraft_limit=None)
    lot(account, 100, at=T0)
    usage = consume(account, 8)
    told = account.reverse_consumption(usage, usd(5), at=T0)
    other = only(account.consume(usd(1), at=day(401)), FundsConsumed)
    account.reverse_consumption(other, at=day(401))
    with pytest.raises(ReversalExceedsUsageError):
        account.reverse_consumption(usage, usd(4), at=day(401), earlier=told)
    account.reverse_consumption(usage, usd(3), at=day(401), earlier=told)
    assert account.available == usd(100)


@given(
    lots=st.lists(st.integers(1, 30), max_size=4),
    parts=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    more=st.integers(0, 5),
)
@example([10, 10], [5, 10], 0)
def test_usage_reversed_in_parts_ends_where_usage_reversed_at_once_does(
    lots: list[int], parts: list[int], more: int
) -> None:
    accounts = []
    for step in (parts, [sum(parts)]):
        account = ledger(overdraft_limit=None)
        funded = [(lot(account, amount, at=T0, expires_at=day(9)), amount) for amount in lots]
        usage = consume(account, sum(parts) + more)
        for part in step:
            account.reverse_consumption(usage, usd(part), at=T0)
        accounts.append(account)
        rest, expected = more, {}
        for lot_id, amount in funded:
            if amount > min(rest, amount):
                expected[lot_id] = usd(amount - min(rest, amount))
            rest -= min(rest, amount)
        assert left(account) == expected
        assert account.overdraft == usd(rest)
        account.check()
    assert accounts[0].totals == accounts[1].totals


@given(history=histories(), terms=all_terms(), data=st.data())
def test_what_is_left_of_all_usage_can_be_reversed_and_then_nothing_was_consumed(
    history: list, terms: dict, data: st.DataObject
) -> None:
    account, events, at = play(ledger(**terms), history)
    usages = [event for event in events if isinstance(event, FundsConsumed)]
    for usage in data.draw(st.permutations(usages)):
        undone = [event for event in events if isinstance(event, ConsumptionReversed)]
        rest = in_cents(usage.amount) - sum(in_cents(e.amount) for e in undone if e.consumption == usage.version)
        if not rest:
            continue
        reversal = only(account.reverse_consumption(usage, at=at), ConsumptionReversed)
        events.append(reversal)
        assert in_cents(reversal.amount) == rest
        assert in_cents(reversal.overdrawn) + sum(in_cents(money) for _, money in reversal.draws) == rest
        account.check()
    assert account.totals.consumed == account.totals.drawn == account.totals.overdrawn == NOTHING


# Refund


def test_a_refund_takes_free_bought_funds_in_whole_minor_units() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    (refunded, *_) = account.refund(bought, usd("4.01"), at=hour(1))
    assert refunded == FundsRefunded(version=3, at=hour(1), lot_id=bought, amount=usd("4.01"))
    assert (account.available, account.totals.refunded) == (usd("5.99"), usd("4.01"))
    with pytest.raises(InvalidValueError) as caught:
        account.refund(bought, usd("1.001"), at=hour(1))
    assert caught.value.value == usd("1.001")


def test_a_grant_is_neither_refunded_nor_clawed_back() -> None:
    account = ledger()
    granted = lot(account, 10, at=T0, priority=0)
    for command in (account.refund, account.claw_back, account.reinstate):
        with pytest.raises(InvalidValueError) as caught:
            command(granted, usd(1), at=T0)
        assert caught.value.value == granted


def test_held_drawn_and_other_lots_funds_are_not_refunded() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    lot(account, 10, at=T0)
    account.hold("call", usd(3), at=T0, expires_at=hour(1))
    consume(account, 2)
    with pytest.raises(ExceedsLotError) as caught:
        account.refund(bought, usd("5.01"), at=T0)
    assert (caught.value.lot_id, caught.value.at_most) == (bought, usd(5))
    account.refund(bought, usd(5), at=T0)


def test_expired_and_lapsed_funds_are_not_refunded() -> None:
    for grace in (timedelta(0), timedelta(days=1)):
        account = ledger(funds_valid_for=timedelta(hours=1), late_usage_grace=grace)
        added = account.add_funds(usd(10), at=T0)
        account.refund(added[0].version, usd(1), at=hour(1) - MOMENT)
        with pytest.raises(ExceedsLotError) as caught:
            account.refund(added[0].version, usd(1), at=hour(1), earlier=added)
        assert caught.value.at_most == NOTHING


def test_a_refund_or_claw_back_suspends_automatic_recharge_in_the_same_append() -> None:
    for command, why in (("refund", "refund"), ("claw_back", "claw_back")):
        account = ledger()
        bought = lot(account, 30, at=T0)
        account.configure_auto_recharge(RechargePolicy(usd(20), usd(50)), at=T0)
        events = getattr(account, command)(bought, usd(30), at=hour(1))
        assert only(events, AutoRechargeSuspended).reason == why
        assert "ChargeRequested" not in kinds(events)
        assert account.auto_recharge_status == "suspended"
        assert account.pending_charges == ()


def test_a_refund_without_a_policy_suspends_nothing() -> None:
    account = ledger()
    bought = lot(account, 30, at=T0)
    assert kinds(account.refund(bought, usd(1), at=hour(1))) == ["FundsRefunded"]


# Claw-back and reinstatement


def test_a_claw_back_takes_the_lots_free_funds_and_overdraws_the_shortfall() -> None:
    account = ledger(overdraft_limit=usd(0))
    bought = lot(account, 10, at=T0)
    consume(account, 6)
    (event, *_) = account.claw_back(bought, usd(10), at=hour(1))
    assert event == FundsClawedBack(version=4, at=hour(1), lot_id=bought, amount=usd(10), shortfall=usd(6))
    assert (account.available, account.overdraft) == (usd(-6), usd(6))
    assert (account.totals.clawed_back, account.totals.shortfall) == (usd(4), usd(6))


def test_other_lots_repay_the_shortfall_at_once_in_burn_order() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    consume(account, 10)
    later = lot(account, 5, at=T0, expires_at=day(9))
    sooner = lot(account, 5, at=T0, expires_at=day(8))
    events = account.claw_back(bought, usd(7), at=T0)
    repaid = [(event.lot_id, event.amount) for event in events if isinstance(event, OverdraftRepaid)]
    assert repaid == [(sooner, usd(5)), (later, usd(2))]
    assert account.available == usd(3)


def test_no_more_than_the_lot_is_refunded_and_clawed_back_shortfall_included() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    account.refund(bought, usd(2), at=T0)
    consume(account, 5)
    account.claw_back(bought, usd(4), at=T0)
    assert account.overdraft == usd(1)
    with pytest.raises(ExceedsLotError) as caught:
        account.claw_back(bought, usd(4) + BILLIONTH, at=T0)
    assert caught.value.at_most == usd(4)
    account.claw_back(bought, usd(4), at=T0)
    with pytest.raises(ExceedsLotError):
        account.claw_back(bought, BILLIONTH, at=T0)
    account.reinstate(bought, usd(1), at=T0)
    account.claw_back(bought, usd(1), at=T0)
    account.check()


def test_what_came_free_after_a_claw_back_of_the_whole_lot_is_not_refunded_as_well() -> None:
    account = ledger()
    bought = lot(account, 100, at=T0)
    lot(account, 100, at=hour(1))
    account.hold("call", usd(60), at=hour(1), expires_at=hour(5))
    account.claw_back(bought, usd(100), at=hour(1))
    account.release("call", at=hour(2))
    assert left(account)[bought] == usd(60)
    with pytest.raises(ExceedsLotError) as caught:
        account.refund(bought, usd("0.01"), at=hour(2))
    assert caught.value.at_most == NOTHING


def test_a_reinstatement_undoes_a_claw_back_its_shortfall_first() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    consume(account, 6)
    before = account.available
    account.claw_back(bought, usd(10), at=T0)
    (event, *_) = account.reinstate(bought, usd(7), at=T0)
    assert isinstance(event, FundsReinstated)
    assert (event.amount, event.shortfall, event.unrepaid) == (usd(7), usd(6), ())
    assert (account.available, account.overdraft) == (usd(1), NOTHING)
    with pytest.raises(ExceedsLotError) as caught:
        account.reinstate(bought, usd(3) + BILLIONTH, at=T0)
    assert caught.value.at_most == usd(3)
    account.reinstate(bought, usd(3), at=T0)
    assert account.available == before
    with pytest.raises(ExceedsLotError):
        account.reinstate(bought, BILLIONTH, at=T0)
    account.check()


def test_what_others_repaid_of_a_shortfall_goes_back_to_them() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    consume(account, 10)
    other = lot(account, 15, at=T0)
    account.claw_back(bought, usd(10), at=T0)
    assert left(account) == {other: usd(5)}
    event = only(account.reinstate(bought, usd(10), at=T0), FundsReinstated)
    assert (event.shortfall, event.unrepaid) == (usd(10), ((other, usd(10)),))
    assert left(account) == {other: usd(15)}


def test_what_is_reinstated_to_an_expired_lot_expires_at_once() -> None:
    account = ledger(funds_valid_for=timedelta(hours=1))
    bought = lot(account, 10, at=T0)
    account.claw_back(bought, usd(10), at=T0)
    events = account.reinstate(bought, usd(10), at=hour(2))
    assert only(events, FundsExpired).amount == usd(10)
    assert account.available == NOTHING


def test_corrections_of_a_lot_that_is_not_known_are_refused() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    for command in (account.refund, account.claw_back, account.reinstate):
        for lot_id in (0, 1, bought + 1, -1):
            with pytest.raises(UnknownLotError) as caught:
                command(lot_id, usd(1), at=T0)
            assert caught.value.lot_id == lot_id


def test_a_lot_that_the_ledger_forgot_is_corrected_by_its_events() -> None:
    account = ledger(funds_valid_for=timedelta(hours=1))
    events: list[Event] = list(account.add_funds(usd(10), at=T0))
    bought = events[0].version
    events += account.refund(bought, usd(1), at=T0)
    events += account.claw_back(bought, usd(2), at=T0)
    events += account.consume(usd(7), at=T0)
    account.grant(usd(20), at=hour(3))
    for command in (account.refund, account.claw_back, account.reinstate):
        with pytest.raises(UnknownLotError):
            command(bought, usd(1), at=hour(3))
    with pytest.raises(ExceedsLotError):
        account.refund(bought, usd(1), at=hour(3), earlier=events)
    with pytest.raises(ExceedsLotError) as caught:
        account.claw_back(bought, usd(8), at=hour(3), earlier=events)
    assert caught.value.at_most == usd(7)
    events += account.claw_back(bought, usd(7), at=hour(3), earlier=events)
    assert account.available == usd(13)
    with pytest.raises(ExceedsLotError):
        account.claw_back(bought, usd(1), at=hour(3), earlier=events)
    events += account.reinstate(bought, usd(8), at=hour(3), earlier=events)
    assert account.available == usd(20)  # and 1 went back to the lot that is over
    assert only(events, FundsExpired).amount == usd(1)
    with pytest.raises(ExceedsLotError) as caught:
        account.reinstate(bought, usd(2), at=hour(3), earlier=events)
    assert caught.value.at_most == usd(1)
    account.check()


@given(history=histories(40), terms=all_terms())
def test_refunds_and_claw_backs_never_exceed_their_lot(history: list, terms: dict) -> None:
    _, events, _ = play(ledger(**terms), history)
    funded: dict[int, int] = {}
    refunded: dict[int, int] = {}
    taken: dict[int, int] = {}
    for event in events:
        match event:
            case FundsAdded():
                funded[event.lot_id] = in_cents(event.amount)
            case FundsGranted():
                funded[event.lot_id] = 0
            case FundsRefunded():
                refunded[event.lot_id] = refunded.get(event.lot_id, 0) + in_cents(event.amount)
            case FundsClawedBack():
                taken[event.lot_id] = taken.get(event.lot_id, 0) + in_cents(event.amount)
                assert NOTHING <= event.shortfall <= event.amount
            case FundsReinstated():
                taken[event.lot_id] -= in_cents(event.amount)
                assert NOTHING <= event.shortfall <= event.amount
        for lot_id, amount in funded.items():
            assert taken.get(lot_id, 0) >= 0
            assert refunded.get(lot_id, 0) + taken.get(lot_id, 0) <= amount


@given(
    parts=st.lists(
        st.tuples(st.sampled_from(["refund", "claw_back", "reinstate", "use", "undo"]), st.integers(1, 60)), max_size=20
    )
)
@example([("use", 60), ("claw_back", 100), ("undo", 60), ("refund", 60)])
def test_a_correction_is_refused_exactly_beyond_what_the_lot_allows(parts: list[tuple[str, int]]) -> None:
    """One lot of 100, and other funds that repay at once, so that nothing stays overdrawn."""
    account = ledger()
    bought = lot(account, 1, at=T0)
    lot(account, 1_000, at=T0, priority=1)
    used: list[FundsConsumed] = []
    free, drawn_from, refunded, taken, shortfall = 100, 0, 0, 0, 0
    for command, amount in parts:
        before = copy(account)
        if command == "use":
            used += [only(account.consume(cents(min(amount, free)), at=T0), FundsConsumed)]
            drawn_from += min(amount, free)
            free -= min(amount, free)
        elif command == "undo" and used:
            usage = used.pop()
            if usage.amount != NOTHING:
                account.reverse_consumption(usage, at=T0)
            free += in_cents(usage.amount)
            drawn_from -= in_cents(usage.amount)
        elif command != "undo":
            at_most = {
                "refund": min(free, 100 - refunded - taken - shortfall),
                "claw_back": 100 - refunded - taken - shortfall,
                "reinstate": taken + shortfall,
            }[command]
            if amount > at_most:
                with pytest.raises(ExceedsLotError) as caught:
                    getattr(account, command)(bought, cents(amount), at=T0)
                assert in_cents(caught.value.at_most) == at_most
                assert account == before
                continue
            getattr(account, command)(bought, cents(amount), at=T0)
            if command == "refund":
                refunded, free = refunded + amount, free - amount
            elif command == "claw_back":
                taken, shortfall = taken + min(amount, free), shortfall + max(0, amount - free)
                free -= min(amount, free)
            else:
                free += max(0, amount - shortfall)
                taken, shortfall = taken - max(0, amount - shortfall), max(0, shortfall - amount)
        account.check()
        (*_, one) = [NOTHING, *(one.remaining for one in account.lots if one.lot_id == bought)]
        assert in_cents(one) == free
        assert account.overdraft == NOTHING


def test_corrections_remain_after_the_closing() -> None:
    account = ledger(overdraft_limit=None)
    bought = lot(account, 10, at=T0)
    usage = consume(account, 4)
    account.close(at=T0)
    account.reverse_consumption(usage, usd(1), at=T0)
    account.refund(bought, usd(1), at=T0)
    account.claw_back(bought, usd(1), at=T0)
    account.reinstate(bought, usd(1), at=T0)
    assert account.available == usd(6)


def test_refunds_are_whole_in_the_minor_units_of_the_currency() -> None:
    account = Ledger.open("ledger", Terms("JPY"), at=T0)
    bought = account.add_funds(Money(100, "JPY"), at=T0)[0].version
    with pytest.raises(InvalidValueError):
        account.refund(bought, Money("0.5", "JPY"), at=T0)
    account.refund(bought, Money(1, "JPY"), at=T0)
