from __future__ import annotations

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import T0, cents, day, hour, usd
from commcredits import (
    CommCreditsError,
    CurrencyMismatchError,
    InvalidValueError,
    Money,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    TimeRunsBackError,
    WrongTypeError,
)
from commcredits.simulation import Trajectory, simulate
from commcredits.testing.strategies import recharge_policies

TERMS = Terms("USD")


def run(costs: list[tuple[float, str]], policy: RechargePolicy | None = None, **given: Any) -> Trajectory:
    """The trajectory of usage at hours, from 100 dollars."""
    usage = [(hour(at), usd(cost)) for at, cost in costs]
    return simulate(usage, policy, **({"terms": TERMS, "opening": usd(100)} | given))


def test_without_a_policy_the_balance_burns_down_and_what_it_does_not_cover_is_refused() -> None:
    trajectory = run([(0, "60"), (1, "50"), (2, "40"), (3, "1")])
    assert trajectory.balances[-3:] == ((T0, usd(100)), (hour(0), usd(40)), (hour(2), usd(0)))
    assert trajectory.refused == ((hour(1), usd(50)), (hour(3), usd(1)))
    assert trajectory.usage_refused == usd(51)
    assert trajectory.lowest_balance == usd(0)
    assert (trajectory.start, trajectory.end) == (T0, hour(2))
    assert trajectory.recharges == ()


def test_a_recharge_is_paid_at_once_unless_there_is_a_delay() -> None:
    policy = RechargePolicy(usd(50), usd(70))
    trajectory = run([(0, "60"), (5, "10")], policy)
    assert [at for at, level in trajectory.balances if level == usd(110)] == [T0]
    assert trajectory.lowest_balance == usd(40)
    late = run([(0, "60"), (1, "10"), (5, "10")], policy, charge_delay=timedelta(hours=2))
    assert [(at, level) for at, level in late.balances if at == hour(2)][-1] == (hour(2), usd(100))
    assert late.lowest_balance == usd(30)
    assert [charge.at for charge in late.recharges] == [hour(2)]


def test_what_arrives_at_the_time_of_a_usage_comes_before_it() -> None:
    policy = RechargePolicy(usd(50), usd(70))
    trajectory = run([(0, "100"), (2, "70")], policy, charge_delay=timedelta(hours=2))
    assert trajectory.refused == ()
    early = run([(0, "100"), (1.999, "70"), (2, "1")], policy, charge_delay=timedelta(hours=2))
    assert early.refused == ((hour(1.999), usd(70)),)


def test_one_recharge_too_small_is_followed_by_others_until_the_balance_is_out_of_the_zone() -> None:
    trajectory = run([(0, "99")], RechargePolicy(usd(50), usd(20)))
    assert len(trajectory.recharges) == 3
    assert trajectory.balances[-1] == (T0, usd(61))


def test_a_declined_card_is_asked_again_when_the_policy_says_and_then_no_more() -> None:
    policy = RechargePolicy(usd(50), usd(70), retry=RetryPolicy((timedelta(hours=1), timedelta(hours=6))))
    trajectory = run([(0, "60"), (20, "1")], policy, decline_probability=1)
    declined = [event for event in trajectory.events if type(event).__name__ == "ChargeDeclined"]
    assert [event.at for event in declined] == [hour(0), hour(1), hour(7)]
    assert [type(event).__name__ for event in trajectory.events][-1] == "AutoRechargeSuspended"
    assert trajectory.recharges == ()


def test_funds_that_expire_are_forfeited_when_they_do() -> None:
    trajectory = run([(0, "10"), (48, "0")], terms=Terms("USD", funds_valid_for=timedelta(days=1)))
    assert trajectory.forfeited == usd(90)
    assert (hour(24), usd(0)) in trajectory.balances


def test_a_delay_longer_than_a_provider_takes_is_still_paid_in_the_end() -> None:
    policy = RechargePolicy(usd(50), usd(70))
    trajectory = run([(0, "60"), (120, "1")], policy, charge_delay=timedelta(hours=100))
    assert [charge.at for charge in trajectory.recharges] == [hour(100)]


def test_refused_usage_asks_for_the_recharge_it_would_have_caused_if_the_policy_does() -> None:
    asking = RechargePolicy(usd(10), usd(200), recharge_when_refused=True)
    trajectory = run([(0, "150"), (1, "150")], asking)
    assert trajectory.refused == ((T0, usd(150)),)
    assert trajectory.balances[-1] == (hour(1), usd(150))
    assert run([(0, "150"), (1, "150")], attrs.evolve(asking, recharge_when_refused=False)).recharges == ()


def test_the_time_without_credit_is_all_the_time_at_zero_and_below() -> None:
    policy = RechargePolicy(usd(50), usd(70))
    owing = Terms("USD", overdraft_limit=None)
    trajectory = run([(0, "100"), (1, "5"), (9, "1")], policy, terms=owing, charge_delay=timedelta(hours=3))
    assert trajectory.time_without_credit == timedelta(hours=3)
    assert trajectory.lowest_balance == usd(-5)


def test_idle_funds_are_averaged_over_time_and_cost_interest() -> None:
    trajectory = run([(0, "0"), (10, "60"), (40, "40"), (100, "0")])
    assert trajectory.idle_average == usd("22")  # (10 h of 100 + 30 h of 40 + 60 h of 0) / 100 h
    year = run([(0, "0"), (24 * 365.25, "100")])
    assert year.idle_average == usd(100)
    assert year.idle_cost(Decimal("0.05"), ROUND_HALF_EVEN) == usd(5)
    assert year.idle_cost(Fraction(1, 30_000), ROUND_HALF_EVEN) == usd("0.00")
    assert run([(0, "40")]).idle_average == usd(60)
    owing = run([(0, "140"), (1, "0")], terms=Terms("USD", overdraft_limit=None))
    assert owing.idle_average == usd(0)


def test_it_can_be_looked_at() -> None:
    trajectory = run([(0, "60"), (36, "50")], RechargePolicy(usd(50), usd(70)))
    assert str(trajectory).splitlines() == [
        "Recharge below 50.00 USD",
        "",
        "                       figure",
        "From                   2026-01-01 00:00",
        "To                     2026-01-02 12:00",
        "Recharges              1",
        "Lowest balance         40.00 USD",
        "Time without credit    0:00:00",
        "Usage refused          0",
        "Its cost               0.00 USD",
        "Idle funds on average  110.00 USD",
        "Forfeited              0.00 USD",
    ]
    assert "<td" in trajectory._repr_html_()
    assert str(run([(0, "60")])).startswith("No recharge")


def test_progress_is_told_as_usage_passes_whether_its_number_is_known_or_not() -> None:
    usage = [(hour(number), usd(0)) for number in range(1500)]
    given: dict[str, Any] = {"terms": TERMS, "opening": usd(1)}
    told: list[tuple[int, int]] = []
    whole = simulate(usage, None, progress=lambda *done: told.append(done), **given)
    assert told == [(1000, 1500), (1500, 1500)]
    assert whole == simulate(usage, None, **given)
    told.clear()
    assert simulate((pair for pair in usage), None, progress=lambda *done: told.append(done), **given) == whole
    assert told == [(1000, 1000), (1500, 1500)]


# Laws

DELAYS = st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(hours=5), timedelta(days=4)])
POLICIES = recharge_policies(usd(10), usd(120))
USAGE = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9000)), min_size=1, max_size=40)


@given(
    USAGE, st.none() | recharge_policies(usd(10), usd(120)), DELAYS, st.sampled_from([0, 0.3, 1]), st.integers(0, 99)
)
def test_what_came_in_is_what_was_used_what_expired_and_what_is_left(
    steps: list[tuple[int, int]], policy: RechargePolicy | None, delay: timedelta, declines: float, seed: int
) -> None:
    at, usage = T0, []
    for hours, cost in steps:
        at += timedelta(hours=hours)
        usage.append((at, cents(cost)))
    given: dict[str, Any] = {
        "terms": Terms("USD", funds_valid_for=timedelta(days=20)),
        "opening": usd(100),
        "charge_delay": delay,
        "decline_probability": declines,
        "seed": seed,
    }
    one = simulate(usage, policy, **given)
    assert one == simulate(iter(usage), policy, **given)
    used = sum(cost.amount for _, cost in usage) - one.usage_refused.amount
    paid = sum(charge.amount.amount for charge in one.recharges)
    assert 100 + paid - used - one.forfeited.amount == one.balances[-1][1].amount
    assert list(one.times) == sorted(one.times)
    assert one.lowest_balance.amount == min(money.amount for _, money in one.balances)
    # Hour by hour: nothing happens between.
    hours = int((one.end - one.start) / timedelta(hours=1))
    levels = {at: money.amount for at, money in one.balances}  # the last of each time
    level, without, idle = Decimal(0), 0, Decimal(0)
    for number in range(hours):
        level = levels.get(one.start + timedelta(hours=number), level)
        without += level <= 0
        idle += max(level, Decimal(0))
    assert one.time_without_credit == timedelta(hours=without)
    if hours:
        assert abs(one.idle_average.amount - idle / hours) <= Decimal("1e-9")


# Bad input


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"usage": []}, InvalidValueError, "usage"),
        ({"usage": [("now", usd(1))]}, WrongTypeError, "usage"),
        ({"usage": [(datetime(2026, 1, 1), usd(1))]}, InvalidValueError, "naive"),  # noqa: DTZ001
        ({"usage": [(day(1), usd(1)), (day(0), usd(1))]}, TimeRunsBackError, "before"),
        ({"usage": [(day(1), usd(-1))]}, InvalidValueError, "amount"),
        ({"usage": [(day(1), Money(1, "EUR"))]}, CurrencyMismatchError, "EUR"),
        ({"opening": 100}, WrongTypeError, "opening"),
        ({"opening": usd(-1)}, InvalidValueError, "amount"),
        ({"charge_delay": 5}, WrongTypeError, "charge_delay"),
        ({"charge_delay": timedelta(-1)}, InvalidValueError, "charge_delay"),
        ({"decline_probability": 1.5}, InvalidValueError, "decline_probability"),
        ({"decline_probability": -0.1}, InvalidValueError, "decline_probability"),
        ({"decline_probability": "often"}, WrongTypeError, "decline_probability"),
        ({"seed": "x"}, WrongTypeError, "seed"),
        ({"policy": "always"}, WrongTypeError, "policy"),
        ({"policy": RechargePolicy(Money(10**9, "USD"), usd(1))}, InvalidValueError, "100 charges at once"),
    ],
)
def test_bad_input_is_refused_by_name(wrong: dict[str, Any], error: type[CommCreditsError], named: str) -> None:
    given = {"usage": [(T0, usd(1))], "policy": None, "terms": TERMS, "opening": usd(100)} | wrong
    usage, policy = given.pop("usage"), given.pop("policy")
    with pytest.raises(error, match=named):
        simulate(usage, policy, **given)


def test_limits_hold_in_a_simulation_as_they_do_on_a_ledger() -> None:
    policy = RechargePolicy(usd(50), usd(20), limits=(RechargeLimit(count=2, per="day"),))
    trajectory = run([(0, "99"), (23, "1"), (25, "1")], policy)
    assert [charge.at for charge in trajectory.recharges] == [T0, T0, day(1)]
