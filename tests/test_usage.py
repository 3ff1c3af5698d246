"""Consuming, late usage, overdraft, and holds."""

from __future__ import annotations

from copy import copy
from datetime import datetime, timedelta

import pytest
from hypothesis import given
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
    Event,
    FundsConsumed,
    FundsExpired,
    FundsHeld,
    FundsLapsed,
    Hold,
    HoldEndedError,
    HoldExistsError,
    HoldExtended,
    HoldReleased,
    InsufficientFundsError,
    InvalidValueError,
    Ledger,
    LedgerClosedError,
    Money,
    OverdraftRepaid,
    RechargePolicy,
    UnknownHoldError,
)

BILLIONTH = Money("0.000000001", "USD")
NOTHING = usd(0)


# Consuming


def test_usage_is_recorded_with_what_paid_for_it() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    (usage,) = account.consume(usd("2.50"), at=hour(2), occurred_at=hour(1), kind="pstn", description="a call")
    assert usage == FundsConsumed(
        version=3,
        at=hour(2),
        amount=usd("2.50"),
        draws=((bought, usd("2.50")),),
        overdrawn=NOTHING,
        occurred_at=hour(1),
        kind="pstn",
        description="a call",
        hold_id=None,
    )
    assert account.available == account.balance == usd("7.50")


def test_usage_of_zero_is_recorded_and_draws_on_nothing() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    (usage,) = account.consume(NOTHING, at=T0)
    assert (usage.amount, usage.draws, usage.overdrawn) == (NOTHING, (), NOTHING)
    assert account.available == usd(10)


def test_usage_of_zero_is_recorded_even_beyond_the_overdraft_limit() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    account.consume(usd(10), at=T0)
    account.claw_back(bought, usd(10), at=T0)
    assert kinds(account.consume(NOTHING, at=T0)) == ["FundsConsumed"]


def test_usage_happened_when_the_command_was_given_unless_it_says_otherwise() -> None:
    account = ledger()
    lot(account, 10, at=hour(1))
    forgiven = hour(1) - timedelta(minutes=3)
    (usage,) = account.consume(usd(1), at=forgiven)
    assert (usage.at, usage.occurred_at) == (hour(1), forgiven)


def test_usage_cannot_have_happened_later_than_it_is_told() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    assert only(account.consume(usd(1), at=hour(1), occurred_at=hour(1)), FundsConsumed).occurred_at == hour(1)
    with pytest.raises(InvalidValueError) as caught:
        account.consume(usd(1), at=hour(1), occurred_at=hour(1) + MOMENT)
    assert caught.value.value == hour(1) + MOMENT
    forgiven = hour(1) - timedelta(minutes=3)
    with pytest.raises(InvalidValueError):
        account.consume(usd(1), at=forgiven, occurred_at=forgiven + MOMENT)


# Overdraft


@pytest.mark.parametrize("limit", ["0", "5"])
def test_usage_may_overdraw_by_exactly_the_limit(limit: str) -> None:
    account = ledger(overdraft_limit=usd(limit))
    lot(account, 10, at=T0)
    before = copy(account)
    with pytest.raises(InsufficientFundsError) as caught:
        account.consume(usd(10) + usd(limit) + BILLIONTH, at=T0)
    assert caught.value.shortfall == BILLIONTH
    assert caught.value.amount == usd(10) + usd(limit) + BILLIONTH
    assert caught.value.decision.reason == "off"
    assert account == before
    (usage, *_) = account.consume(usd(10) + usd(limit), at=T0)
    assert usage.overdrawn == account.overdraft == usd(limit)
    assert account.available == -usd(limit)


def test_without_a_limit_any_usage_is_recorded() -> None:
    account = ledger(overdraft_limit=None)
    (usage,) = account.consume(usd(10**9), at=T0)
    assert (usage.draws, usage.overdrawn) == ((), usd(10**9))
    assert account.available == -usd(10**9)


def test_a_refusal_carries_the_decision_whether_to_recharge() -> None:
    account = ledger()
    lot(account, 30, at=T0)
    account.configure_auto_recharge(RechargePolicy(usd(20), usd(50), recharge_when_refused=True), at=T0)
    with pytest.raises(InsufficientFundsError) as caught:
        account.consume(usd(50), at=T0)
    assert caught.value.shortfall == usd(20)
    assert (caught.value.decision.due, caught.value.decision.amount) == (True, usd(50))
    account.configure_auto_recharge(RechargePolicy(usd(20), usd(50)), at=T0)
    with pytest.raises(InsufficientFundsError) as caught:
        account.consume(usd(50), at=T0)
    assert (caught.value.decision.due, caught.value.decision.reason) == (False, "above_threshold")


def test_funds_that_are_added_repay_the_overdraft_first() -> None:
    account = ledger(overdraft_limit=None)
    account.consume(usd(10), at=T0)
    added, repaid, *_ = account.add_funds(usd(15), at=T0)
    assert repaid == OverdraftRepaid(version=added.version + 1, at=T0, lot_id=added.version, amount=usd(10))
    assert (account.available, account.overdraft) == (usd(5), NOTHING)
    account.consume(usd(25), at=T0)
    account.grant(usd(20), at=T0)
    assert (account.available, account.overdraft) == (NOTHING, NOTHING)


def test_funds_that_start_repay_the_overdraft_at_that_instant_in_burn_order() -> None:
    account = ledger(overdraft_limit=None)
    later = lot(account, 10, at=T0, starts_at=day(1), expires_at=day(9))
    sooner = lot(account, 10, at=T0, starts_at=day(1), expires_at=day(8))
    account.consume(usd(15), at=T0)
    assert account.available_at(day(1) - MOMENT) == usd(-15)
    assert account.available_at(day(1)) == usd(5)
    events = account.advance(at=day(2))
    repaid = [event for event in events if isinstance(event, OverdraftRepaid)]
    assert [(event.at, event.lot_id, event.amount) for event in repaid] == [
        (day(1), sooner, usd(10)),
        (day(1), later, usd(5)),
    ]


def test_funds_that_are_released_or_captured_short_repay_the_overdraft() -> None:
    for end in ("release", "capture", "time-out"):
        account = ledger(overdraft_limit=None)
        lot(account, 10, at=T0)
        account.hold("call", usd(10), at=T0, expires_at=hour(1))
        account.consume(usd(4), at=T0)
        assert (account.available, account.held, account.balance) == (usd(-4), usd(10), usd(6))
        if end == "release":
            events = account.release("call", at=T0)
        elif end == "capture":
            events = account.capture("call", usd(3), at=T0)
        else:
            events = account.advance(at=hour(1))
        assert only(events, OverdraftRepaid).amount == usd(4)
        assert account.overdraft == NOTHING
        assert account.available == (usd(3) if end == "capture" else usd(6))


@given(history=histories(), terms=all_terms())
def test_there_are_never_an_overdraft_and_free_funds_at_once(history: list, terms: dict) -> None:
    account, events, at = play(ledger(**terms), history)
    account.check()
    for moment in (account.as_of, at, at + timedelta(hours=1), at + timedelta(days=2)):
        state = account.state().at(moment)
        state.check()
        free = state.available + state.overdraft
        assert free >= NOTHING
        assert NOTHING in {free, state.overdraft}
    assert sum(in_cents(event.amount) for event in events if isinstance(event, OverdraftRepaid)) >= in_cents(
        account.totals.repaid
    )


# Late usage


def late_ledger(**terms: object) -> tuple[Ledger, int, int]:
    """10 that expire after a day and 10 that never do, with two days of grace."""
    account = ledger(late_usage_grace=timedelta(days=2), **terms)
    old = lot(account, 10, at=T0, expires_at=day(1))
    new = lot(account, 10, at=T0, priority=0)
    return account, old, new


def test_at_its_expiry_a_lot_lapses_out_of_every_balance() -> None:
    account, old, _ = late_ledger()
    assert account.available_at(day(1) - MOMENT) == usd(20)
    (lapsed,) = account.advance(at=day(1))
    assert lapsed == FundsLapsed(version=4, at=day(1), lot_id=old, amount=usd(10))
    assert (account.available, account.balance, account.lapsed) == (usd(10), usd(10), usd(10))
    assert left(account)[old] == usd(10)


def test_usage_from_before_the_expiry_burns_lapsed_funds_first() -> None:
    account, old, new = late_ledger()
    usage = only(account.consume(usd(12), at=day(2), occurred_at=day(1) - MOMENT), FundsConsumed)
    assert drawn(usage) == [(old, usd(10)), (new, usd(2))]
    assert (account.available, account.lapsed) == (usd(8), NOTHING)


def test_usage_from_the_expiry_on_burns_no_lapsed_funds() -> None:
    account, _, new = late_ledger()
    usage = only(account.consume(usd(10), at=day(2), occurred_at=day(1)), FundsConsumed)
    assert drawn(usage) == [(new, usd(10))]
    with pytest.raises(InsufficientFundsError):
        account.consume(BILLIONTH, at=day(2), occurred_at=day(1))
    assert account.lapsed == usd(10)


def test_late_usage_may_take_what_is_available_the_limit_and_the_lapsed_funds_it_may_burn() -> None:
    account, old, new = late_ledger(overdraft_limit=usd(5))
    other = lot(account, 3, at=T0, expires_at=hour(12))
    occurred = hour(18)  # after the expiry of the second, so only the first is open to it
    with pytest.raises(InsufficientFundsError) as caught:
        account.consume(usd(25) + BILLIONTH, at=day(2), occurred_at=occurred)
    assert caught.value.shortfall == BILLIONTH
    usage = only(account.consume(usd(25), at=day(2), occurred_at=occurred), FundsConsumed)
    assert drawn(usage) == [(old, usd(10)), (new, usd(10))]
    assert usage.overdrawn == usd(5)
    assert left(account) == {other: usd(3)}


def test_beyond_the_limit_lapsed_funds_alone_do_not_pay_for_usage() -> None:
    account = ledger(late_usage_grace=timedelta(days=2))
    bought = lot(account, 100, at=T0)
    account.consume(usd(100), at=T0)
    lot(account, 50, at=T0, expires_at=day(1))
    account.advance(at=day(1))
    account.claw_back(bought, usd(20), at=day(1))
    assert (account.available, account.lapsed) == (usd(-20), usd(50))
    # 30 is what the overdraft leaves of the lapsed funds.
    with pytest.raises(InsufficientFundsError) as caught:
        account.consume(usd(30) + BILLIONTH, at=day(1), occurred_at=T0)
    assert caught.value.shortfall == BILLIONTH
    account.consume(usd(30), at=day(1), occurred_at=T0)


def test_the_end_of_the_grace_changes_no_balance() -> None:
    account, old, _ = late_ledger()
    account.advance(at=day(1))
    before = account.balance, account.available
    assert account.advance(at=day(3) - MOMENT) == ()
    (expired,) = account.advance(at=day(3))
    assert expired == FundsExpired(version=5, at=day(3), lot_id=old, amount=usd(10))
    assert (account.balance, account.available) == before
    assert account.lapsed == NOTHING
    with pytest.raises(InsufficientFundsError):
        account.consume(usd(11), at=day(3), occurred_at=T0)


def test_without_a_grace_a_lot_expires_at_once() -> None:
    account = ledger()
    old = lot(account, 10, at=T0, expires_at=day(1))
    expired = only(account.advance(at=day(4)), FundsExpired)
    assert expired == FundsExpired(version=3, at=day(1), lot_id=old, amount=usd(10))


@given(
    lots=st.lists(st.tuples(st.integers(1, 30), st.sampled_from([1, 2, 3, None]), st.integers(-1, 1)), max_size=6),
    occurred=st.sampled_from([0, 1, 2, 3, 4]),
    amount=st.integers(0, 90),
    limit=st.sampled_from([0, 10, None]),
)
def test_usage_is_paid_by_lapsed_lots_then_free_ones_then_overdraft(
    lots: list[tuple[int, int | None, int]], occurred: int, amount: int, limit: int | None
) -> None:
    account = ledger(late_usage_grace=timedelta(days=9), overdraft_limit=None if limit is None else cents(limit))
    funded: list[tuple[int, int | None, int, int]] = []
    for funds, expires, priority in lots:
        (event,) = account.grant(
            cents(funds), at=T0, expires_at=None if expires is None else day(expires), priority=priority
        )
        funded.append((priority, 99 if expires is None else expires, event.lot_id, funds))
    now = 2
    funded.sort()
    payers = [one for one in funded if occurred < one[1] <= now] + [one for one in funded if one[1] > now]
    expected, rest = [], amount
    for *_, lot_id, funds in payers:
        if min(rest, funds):
            expected.append((lot_id, cents(min(rest, funds))))
        rest -= min(rest, funds)
    account.advance(at=day(now))
    if occurred > now:
        with pytest.raises(InvalidValueError):
            account.consume(cents(amount), at=day(now), occurred_at=day(occurred))
    elif limit is not None and rest > limit:
        with pytest.raises(InsufficientFundsError) as caught:
            account.consume(cents(amount), at=day(now), occurred_at=day(occurred))
        assert caught.value.shortfall == cents(rest - limit)
    else:
        usage = only(account.consume(cents(amount), at=day(now), occurred_at=day(occurred)), FundsConsumed)
        assert drawn(usage) == expected
        assert usage.overdrawn == cents(rest)


# Holds


def test_a_hold_moves_free_funds_out_of_named_lots() -> None:
    account = ledger()
    first, second = (lot(account, 10, at=T0, expires_at=day(9)) for _ in range(2))
    (held,) = account.hold("call", usd(15), at=T0, expires_at=hour(1))
    draws = ((first, usd(10)), (second, usd(5)))
    assert held == FundsHeld(version=4, at=T0, hold_id="call", amount=usd(15), draws=draws, expires_at=hour(1))
    assert account.holds == (Hold("call", usd(15), draws, T0, hour(1)),)
    assert (account.available, account.held, account.balance) == (usd(5), usd(15), usd(20))
    assert [(one.remaining, one.held) for one in account.lots] == [(NOTHING, usd(10)), (usd(5), usd(5))]


@pytest.mark.parametrize("limit", [usd(0), usd(100), None])
def test_a_hold_never_overdraws(limit: Money | None) -> None:
    account = ledger(overdraft_limit=limit)
    lot(account, 10, at=T0)
    with pytest.raises(InsufficientFundsError) as caught:
        account.hold("call", usd(10) + BILLIONTH, at=T0, expires_at=hour(1))
    assert caught.value.shortfall == BILLIONTH
    account.hold("call", usd(10), at=T0, expires_at=hour(1))
    with pytest.raises(InsufficientFundsError):
        account.extend_hold("call", at=T0, add=BILLIONTH)
    assert account.extend_hold("call", at=T0, expires_at=hour(2))


def test_lapsed_funds_cannot_be_held() -> None:
    account, _, _ = late_ledger()
    with pytest.raises(InsufficientFundsError) as caught:
        account.hold("call", usd(11), at=day(1), expires_at=day(1.5))
    assert caught.value.shortfall == usd(1)


def test_held_funds_stay_usable_after_their_lots_expiry() -> None:
    account = ledger()
    old = lot(account, 10, at=T0, expires_at=hour(2))
    account.hold("call", usd(6), at=T0, expires_at=hour(4))
    expired, usage, released = account.capture("call", usd(6), at=hour(3))[:3]
    assert (type(expired), expired.amount) == (FundsExpired, usd(4))
    assert drawn(usage) == [(old, usd(6))]
    assert (released.amount, released.draws, released.reason) == (NOTHING, (), "captured")


def test_a_hold_lasts_at_most_as_long_as_the_terms_say_extensions_included() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    with pytest.raises(InvalidValueError) as caught:
        account.hold("call", usd(1), at=hour(1), expires_at=hour(25) + MOMENT)
    assert caught.value.value == hour(25) + MOMENT
    account.hold("call", usd(1), at=hour(1), expires_at=hour(24))
    with pytest.raises(InvalidValueError):
        account.extend_hold("call", at=hour(20), expires_at=hour(25) + MOMENT)
    (extended,) = account.extend_hold("call", at=hour(20), expires_at=hour(25))
    assert extended == HoldExtended(
        version=4, at=hour(20), hold_id="call", amount=NOTHING, draws=(), expires_at=hour(25)
    )
    assert account.holds[0].placed_at == hour(1)


def test_without_such_a_bound_a_hold_lasts_as_long_as_it_was_given() -> None:
    account = ledger(hold_valid_for=None)
    lot(account, 10, at=T0, expires_at=day(9999))
    account.hold("call", usd(1), at=T0, expires_at=day(5000))
    assert account.advance(at=day(5000) - MOMENT) == ()
    assert kinds(account.advance(at=day(5000))) == ["HoldReleased"]


def test_a_hold_ends_after_now_and_never_earlier_than_it_was_given() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    with pytest.raises(InvalidValueError):
        account.hold("call", usd(1), at=hour(1), expires_at=hour(1))
    account.hold("call", usd(1), at=hour(1), expires_at=hour(5))
    with pytest.raises(InvalidValueError):
        account.extend_hold("call", at=hour(2), expires_at=hour(5) - MOMENT)
    assert account.extend_hold("call", at=hour(2), expires_at=hour(5))
    with pytest.raises(InvalidValueError):
        account.extend_hold("call", at=hour(2))


def test_an_extension_adds_funds_in_the_burn_order_of_lots() -> None:
    account = ledger()
    later = lot(account, 10, at=T0, expires_at=day(9))
    account.hold("call", usd(4), at=T0, expires_at=hour(5))
    sooner = lot(account, 3, at=T0, expires_at=day(8))
    (extended,) = account.extend_hold("call", at=T0, add=usd(5))
    assert (extended.amount, drawn(extended)) == (usd(5), [(sooner, usd(3)), (later, usd(2))])
    assert account.holds[0].draws == ((sooner, usd(3)), (later, usd(6)))
    (usage,) = account.capture("call", usd(4), at=T0, final=False)
    assert drawn(usage) == [(sooner, usd(3)), (later, usd(1))]
    assert account.holds[0].draws == ((later, usd(5)),)


def test_a_release_goes_back_to_the_very_lots() -> None:
    account = ledger()
    first, second = (lot(account, 10, at=T0, expires_at=day(9)) for _ in range(2))
    account.hold("call", usd(15), at=T0, expires_at=hour(5))
    cheaper = lot(account, 10, at=T0, priority=-1, expires_at=day(9))
    (released,) = account.release("call", at=hour(1))
    assert released == HoldReleased(
        version=6,
        at=hour(1),
        hold_id="call",
        amount=usd(15),
        draws=((first, usd(10)), (second, usd(5))),
        reason="released",
    )
    assert left(account) == {cheaper: usd(10), first: usd(10), second: usd(10)}
    assert account.holds == ()


@pytest.mark.parametrize(("grace", "kind"), [(0, "FundsExpired"), (2, "FundsLapsed")])
def test_what_is_released_to_an_expired_lot_lapses_or_expires_at_once(grace: int, kind: str) -> None:
    account = ledger(late_usage_grace=timedelta(hours=grace))
    old = lot(account, 10, at=T0, expires_at=hour(2))
    account.hold("call", usd(10), at=T0, expires_at=hour(5))
    released, gone, *_ = account.release("call", at=hour(3))
    assert kinds((released, gone)) == ["HoldReleased", kind]
    assert (gone.at, gone.lot_id, gone.amount) == (hour(3), old, usd(10))
    assert account.available == NOTHING
    assert account.lapsed == (usd(10) if grace else NOTHING)


def test_what_is_released_to_a_lot_whose_grace_is_over_expires_at_once() -> None:
    account = ledger(late_usage_grace=timedelta(hours=1))
    lot(account, 10, at=T0, expires_at=hour(2))
    account.hold("call", usd(10), at=T0, expires_at=hour(5))
    assert kinds(account.release("call", at=hour(3)))[:2] == ["HoldReleased", "FundsExpired"]
    assert account.lapsed == NOTHING


def test_what_goes_back_to_an_expired_lot_repays_no_overdraft() -> None:
    for grace, lapsed in ((timedelta(0), NOTHING), (timedelta(days=1), usd(10))):
        account = ledger(overdraft_limit=None, late_usage_grace=grace)
        lot(account, 10, at=T0, expires_at=hour(2))
        account.hold("call", usd(10), at=T0, expires_at=hour(5))
        account.consume(usd(4), at=hour(2))
        account.release("call", at=hour(3))
        assert (account.overdraft, account.lapsed) == (usd(4), lapsed)


def test_a_hold_times_out_at_its_very_expiry() -> None:
    account = ledger()
    bought = lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    assert account.available_at(hour(1) - MOMENT) == usd(6)
    assert account.available_at(hour(1)) == usd(10)
    assert account.advance(at=hour(1) - MOMENT) == ()
    (released,) = account.advance(at=hour(9))
    assert released == HoldReleased(
        version=4, at=hour(1), hold_id="call", amount=usd(4), draws=((bought, usd(4)),), reason="timed_out"
    )


def test_a_capture_takes_held_funds_in_burn_order_and_gives_the_rest_back() -> None:
    account = ledger()
    first, second = (lot(account, 10, at=T0, expires_at=day(9)) for _ in range(2))
    account.hold("call", usd(15), at=T0, expires_at=hour(1))
    usage, released = account.capture("call", usd(12), at=T0, kind="pstn", description="a call")
    assert usage == FundsConsumed(
        version=5,
        at=T0,
        amount=usd(12),
        draws=((first, usd(10)), (second, usd(2))),
        overdrawn=NOTHING,
        occurred_at=T0,
        kind="pstn",
        description="a call",
        hold_id="call",
    )
    assert (released.amount, drawn(released), released.reason) == (usd(3), [(second, usd(3))], "captured")
    assert (account.available, account.held) == (usd(8), NOTHING)


def test_a_capture_of_no_amount_takes_all_that_is_held() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    usage, released = account.capture("call", at=T0)
    assert (usage.amount, released.amount) == (usd(4), NOTHING)


def test_what_exceeds_a_hold_is_drawn_as_usage_is_and_never_from_other_holds() -> None:
    account = ledger(overdraft_limit=usd(1))
    bought = lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    account.hold("other", usd(5), at=T0, expires_at=hour(1))
    with pytest.raises(InsufficientFundsError) as caught:
        account.capture("call", usd(6) + BILLIONTH, at=T0)
    assert caught.value.shortfall == BILLIONTH
    assert [hold.hold_id for hold in account.holds] == ["call", "other"]
    usage = only(account.capture("call", usd(6), at=T0), FundsConsumed)
    assert drawn(usage) == [(bought, usd(4)), (bought, usd(1))]
    assert usage.overdrawn == usd(1)
    assert account.held == usd(5)
    account.check()


def test_the_excess_of_a_late_capture_burns_lapsed_funds_first() -> None:
    account, old, new = late_ledger()
    account.hold("call", usd(4), at=day(0.9), expires_at=day(1.5))
    usage = only(account.capture("call", usd(11), at=day(1.2), occurred_at=day(0.95)), FundsConsumed)
    assert drawn(usage) == [(old, usd(4)), (old, usd(6)), (new, usd(1))]


def test_a_capture_that_is_not_final_keeps_the_rest_held() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    assert kinds(account.capture("call", usd(1), at=T0, final=False)) == ["FundsConsumed"]
    assert (account.held, account.available) == (usd(3), usd(6))
    assert kinds(account.capture("call", usd(3), at=T0, final=False)) == ["FundsConsumed"]
    assert account.holds[0].amount == NOTHING
    assert only(account.advance(at=hour(1)), HoldReleased).amount == NOTHING


def test_a_capture_of_zero_is_recorded() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    usage, released = account.capture("call", NOTHING, at=T0)
    assert (usage.amount, usage.draws, released.amount) == (NOTHING, (), usd(4))


@pytest.mark.parametrize("reason", ["released", "captured", "timed_out"])
def test_a_hold_ends_exactly_once(reason: str) -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(4), at=T0, expires_at=hour(1))
    if reason == "released":
        account.release("call", at=hour(1) - MOMENT)
    elif reason == "captured":
        account.capture("call", at=hour(1) - MOMENT)
    ended = hour(1) if reason == "timed_out" else hour(1) - MOMENT
    ends = (
        lambda: account.release("call", at=hour(1)),
        lambda: account.capture("call", at=hour(1)),
        lambda: account.extend_hold("call", at=hour(1), add=usd(1)),
    )
    for end in ends:
        before = copy(account)
        with pytest.raises(HoldEndedError) as caught:
            end()
        assert (caught.value.hold_id, caught.value.reason, caught.value.ended_at) == ("call", reason, ended)
        assert account == before
    with pytest.raises(HoldExistsError):
        account.hold("call", usd(1), at=hour(1), expires_at=hour(2))


def test_an_id_of_an_open_hold_is_not_taken_twice() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.hold("call", usd(1), at=T0, expires_at=hour(1))
    with pytest.raises(HoldExistsError) as caught:
        account.hold("call", usd(1), at=T0, expires_at=hour(1))
    assert caught.value.hold_id == "call"


def test_a_hold_that_the_ledger_forgot_has_ended_if_its_events_say_so() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    events: list[Event] = []
    for number in range(101):
        events += account.hold(f"call {number}", usd(1), at=T0, expires_at=hour(1))
        events += account.release(f"call {number}", at=T0)
    for end in (account.release, account.capture):
        with pytest.raises(HoldEndedError):
            end("call 1", at=T0)
        with pytest.raises(UnknownHoldError):
            end("call 0", at=T0)
        with pytest.raises(HoldEndedError) as caught:
            end("call 0", at=T0, earlier=events)
        assert (caught.value.reason, caught.value.ended_at) == ("released", T0)


def test_a_hold_that_is_not_known_is_refused() -> None:
    with pytest.raises(UnknownHoldError) as caught:
        ledger().release("call", at=T0)
    assert caught.value.hold_id == "call"


@given(history=histories(), terms=all_terms())
def test_a_hold_gives_out_what_it_was_given_once(history: list, terms: dict) -> None:
    account, events, _ = play(ledger(**terms), history)
    held: dict[str, int] = {}
    ended: list[str] = []
    placed: dict[str, datetime] = {}
    for event in events:
        match event:
            case FundsHeld() | HoldExtended():
                placed.setdefault(event.hold_id, event.at)
                held[event.hold_id] = held.get(event.hold_id, 0) + in_cents(event.amount)
                assert sum(in_cents(money) for _, money in event.draws) == in_cents(event.amount)
                assert event.expires_at <= placed[event.hold_id] + timedelta(hours=24)
            case FundsConsumed(hold_id=str()):
                held[event.hold_id] -= min(held[event.hold_id], in_cents(event.amount))
            case HoldReleased():
                assert in_cents(event.amount) == held.pop(event.hold_id)
                ended.append(event.hold_id)
    assert len(ended) == len(set(ended))
    assert {hold.hold_id: in_cents(hold.amount) for hold in account.holds} == held
    assert in_cents(account.held) == sum(held.values())
    by_lot = {one.lot_id: one.held for one in account.lots if one.held != NOTHING}
    draws: dict[int, Money] = {}
    for hold in account.holds:
        for lot_id, money in hold.draws:
            draws[lot_id] = draws.get(lot_id, NOTHING) + money
    assert by_lot == draws


# A closed ledger


def test_a_closed_ledger_takes_only_usage_from_before_its_closing() -> None:
    account = ledger()
    lot(account, 10, at=T0)
    account.close(at=hour(1))
    usage = only(account.consume(usd(1), at=hour(2), occurred_at=hour(1) - MOMENT), FundsConsumed)
    assert usage.occurred_at == hour(1) - MOMENT
    for occurred in (hour(1), hour(2), None):
        with pytest.raises(LedgerClosedError) as caught:
            account.consume(usd(1), at=hour(2), occurred_at=occurred)
        assert caught.value.closed_at == hour(1)
    with pytest.raises(LedgerClosedError):
        account.hold("call", usd(1), at=hour(2), expires_at=hour(3))
