"""Path by path, `simulate_many` is `simulate` on the real ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from build import usd
from commcredits import InvalidValueError, Money, RechargeLimit, RechargePolicy, RetryPolicy, Terms
from commcredits.simulation import Trajectories, Trajectory, simulate, simulate_many
from commcredits.testing.strategies import monies, recharge_policies

BILLION = 10**9
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def assert_equal(many: Trajectories, costs: list[list[int]], step: timedelta, **given: Any) -> None:
    """Compare each path under each policy with the trajectory of its usage, seeds side by side."""
    seed = given.pop("seed", 0)
    for policy_number, policy in enumerate(many.policies):
        for path, row in enumerate(costs):
            times = [many.start + number * step for number in range(len(row))]
            pairs = [(at, _billionths(cost)) for at, cost in zip(times, row, strict=True)]
            one = simulate([*pairs, (many.end, usd(0))], policy, seed=seed + path, **given)
            of_path = {
                "balances": many.balances[policy_number, path].tolist(),
                "lowest_balance": int(many.lowest_balance[policy_number, path]),
                "time_without_credit": int(many.time_without_credit[policy_number, path]) * timedelta(microseconds=1),
                "recharges": int(many.recharges[policy_number, path]),
                "refused": int(many.refused[policy_number, path]),
                "usage_refused": int(many.usage_refused[policy_number, path]),
                "forfeited": int(many.forfeited[policy_number, path]),
            }
            assert of_path == told_by(one, times)
            assert abs(int(many.idle_average[policy_number, path]) - _in_billionths(one.idle_average)) <= 1


def told_by(one: Trajectory, times: list[datetime]) -> dict[str, Any]:
    """The same of a trajectory; the balance at a step's time is the last that there was by then."""
    levels = dict(zip(one.times, one.levels, strict=True))
    balances, level = [], 0
    places = sorted(levels)
    for at in times:
        while places and places[0] <= at:
            level = levels[places.pop(0)]
        balances.append(level)
    return {
        "balances": balances,
        "lowest_balance": _in_billionths(one.lowest_balance),
        "time_without_credit": one.time_without_credit,
        "recharges": len(one.recharges),
        "refused": len(one.refused),
        "usage_refused": _in_billionths(one.usage_refused),
        "forfeited": _in_billionths(one.forfeited),
    }


def _billionths(number: int) -> Money:
    return Money(f"{number // BILLION}.{number % BILLION:09}", "USD")


def _in_billionths(money: Money) -> int:
    return int(money.amount * BILLION)


COSTS = st.one_of(st.just(0), st.integers(0, 60).map(lambda units: units * BILLION), st.integers(0, 60 * BILLION))

TERMS = st.builds(
    Terms,
    st.just("USD"),
    funds_valid_for=st.sampled_from(
        [relativedelta(months=12), relativedelta(months=1, days=1), 3 * DAY, 5 * HOUR, timedelta(minutes=90), None]
    ),
    overdraft_limit=st.none() | monies(usd(0), usd(50), places=0),
    minimum_purchase=st.none() | monies(usd(1), usd(10), places=0),
    late_usage_grace=st.sampled_from([timedelta(0), 2 * DAY]),
    time_zone=st.sampled_from(["UTC", "America/New_York", "Pacific/Apia"]),
    processing_for=st.none() | st.just(3 * HOUR),
)
# A step, and of how many days; together at most 48 steps.
STEPS_AND_DAYS = st.one_of(
    st.tuples(st.just(HOUR), st.integers(1, 2)),
    st.tuples(st.just(8 * HOUR), st.integers(1, 16)),
    st.tuples(st.just(DAY), st.integers(1, 48)),
    st.tuples(st.just(20 * DAY), st.integers(1, 40).map(lambda number: 20 * number)),
)
DELAYS = st.sampled_from(
    [timedelta(0), timedelta(microseconds=1), timedelta(minutes=30), HOUR, 8 * HOUR, DAY, 2.5 * DAY]
)
PROBABILITIES = st.sampled_from([0, 0.3, Fraction(7, 10), 1])
STARTS = st.sampled_from(
    [
        datetime(2024, 2, 28, 22, tzinfo=UTC),
        datetime(2026, 10, 30, 12, 30, tzinfo=UTC),
        datetime(2026, 3, 7, tzinfo=UTC),
    ]
)


@settings(max_examples=50)  # each is many runs of the ledger
@given(
    st.lists(st.none() | recharge_policies(usd(10), usd(120)), min_size=1, max_size=2),
    TERMS,
    STEPS_AND_DAYS,
    STARTS,
    DELAYS,
    PROBABILITIES,
    st.integers(-5, 2**65),
    st.integers(0, 150),
    st.data(),
)
def test_each_path_is_the_trajectory_of_its_usage(
    policies: list[RechargePolicy | None],
    terms: Terms,
    step_and_days: tuple[timedelta, int],
    start: datetime,
    delay: timedelta,
    probability: Fraction | float,
    seed: int,
    opening: int,
    data: st.DataObject,
) -> None:
    step, days = step_and_days
    steps = timedelta(days) // step
    few = st.lists(COSTS, min_size=min(steps, 30), max_size=min(steps, 30))
    costs = [
        [row[number % len(row)] for number in range(steps)] for row in data.draw(st.lists(few, min_size=1, max_size=2))
    ]
    given: dict[str, Any] = {
        "terms": terms,
        "opening": usd(opening),
        "charge_delay": delay,
        "decline_probability": probability,
        "seed": seed,
    }
    many = simulate_many(
        np.array(costs), policies, len(costs), days, start=start, step=step, keep_balances=len(costs), **given
    )
    assert_equal(many, costs, step, **given)


# Examples, each of a rule that a random policy seldom meets.


START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def one_path(costs: list[int], policy: RechargePolicy | None, *, step: timedelta = DAY, **given: Any) -> Trajectories:
    """A path of whole dollars, which is compared with the trajectory, and the result."""
    given = {"terms": Terms("USD"), "opening": usd(100)} | given
    billionths = [[cost * BILLION for cost in costs]]
    days = len(costs) * step // DAY
    many = simulate_many(np.array(billionths), [policy], 1, days, start=START, step=step, keep_balances=1, **given)
    assert_equal(many, billionths, step, **given)
    return many


def test_what_expires_while_a_payment_lands_counts_before_it() -> None:
    policy = RechargePolicy(usd(50), usd(70))
    many = one_path([60, 0, 0, 0, 0], policy, charge_delay=2 * DAY, terms=Terms("USD", funds_valid_for=2 * DAY))
    assert (many.balances[0, 0] // BILLION).tolist() == [40, 40, 70, 70, 0]
    assert many.forfeited.tolist() == [[110 * BILLION]]


def test_an_expiry_causes_a_recharge_at_its_own_instant() -> None:
    policy = RechargePolicy(usd(50), usd(70))
    many = one_path([0, 0], policy, charge_delay=HOUR, terms=Terms("USD", funds_valid_for=timedelta(hours=13)))
    # From 13:00 to 14:00 of the first day, and after the second lot, which came at 14:00 and went 13 hours later.
    assert many.recharges.tolist() == [[3]]
    assert many.time_without_credit.tolist() == [[3 * HOUR // timedelta(microseconds=1)]]


def test_funds_of_the_same_instant_expire_together_and_a_later_one_does_not_go_with_them() -> None:
    policy = RechargePolicy(usd(50), usd(20))
    many = one_path([99, 0, 15, 0, 0], policy, terms=Terms("USD", funds_valid_for=timedelta(hours=60)))
    # Three at first, one on day 2, two when the rest of the first four lots goes, one and two when the others do.
    assert many.recharges.tolist() == [[9]]


def test_usage_beyond_the_overdraft_is_refused_and_asks_for_a_recharge_if_the_policy_does() -> None:
    asking = RechargePolicy(usd(5), recharge_to=usd(60), recharge_when_refused=True)
    many = one_path([90, 30, 30], asking, terms=Terms("USD", overdraft_limit=usd(10)), charge_delay=HOUR)
    assert (many.refused.tolist(), many.recharges.tolist()) == ([[1]], [[1]])
    assert (many.balances[0, 0] // BILLION).tolist() == [10, 10, 60]


def test_limits_free_a_decline_and_wake_when_their_windows_end() -> None:
    limits = (RechargeLimit(count=1, per="day"), RechargeLimit(amount=usd(100), per="month"))
    policy = RechargePolicy(usd(50), usd(40), limits=limits, retry=RetryPolicy((HOUR, 6 * HOUR)))
    for seed in range(8):
        one_path([90] + [5] * 40, policy, decline_probability=0.6, seed=seed, charge_delay=30 * HOUR)
    many = one_path([90] + [5] * 40, policy, step=8 * HOUR * 3)
    assert many.recharges[0, 0] > 3


def test_a_card_that_is_always_declined_is_given_up() -> None:
    many = one_path([60, 1, 1, 60, 1], RechargePolicy(usd(50), usd(70)), decline_probability=1)
    assert many.recharges.tolist() == [[0]]


def test_what_late_usage_could_still_burn_is_not_yet_forfeited() -> None:
    terms = Terms("USD", funds_valid_for=2 * DAY, late_usage_grace=2 * DAY)
    assert one_path([0] * 3, None, terms=terms).forfeited.tolist() == [[0]]
    many = one_path([0] * 4, None, terms=terms)
    assert many.forfeited.tolist() == [[100 * BILLION]]
    assert many.balances[0, 0].tolist() == [100 * BILLION] * 2 + [0] * 2


def test_a_hundred_charges_at_once_are_taken_for_many_and_one_more_for_endless() -> None:
    assert one_path([0], RechargePolicy(usd(101), Money("0.01", "USD"))).recharges.tolist() == [[100]]
    endless = RechargePolicy(usd("101.01"), Money("0.01", "USD"))
    with pytest.raises(InvalidValueError, match="over 100 charges at once"):
        one_path([0], endless)
    with pytest.raises(InvalidValueError, match="over 100 charges at once"):
        simulate([(START, usd(0))], endless, terms=Terms("USD"), opening=usd(100))


def test_many_charges_one_after_the_other_are_no_endless_ones() -> None:
    # Between two usages a year apart a recharge falls due each time that funds expire.
    hourly = RechargePolicy(usd(5), usd(10))
    many = one_path([0], hourly, step=20 * DAY, terms=Terms("USD", funds_valid_for=HOUR))
    assert many.recharges.tolist() == [[480]]
