"""Path by path, `simulate_many` is `simulate` on the real ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from build import usd
from commcredits import Money, RechargePolicy, Terms
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
# A step, and of how many days; together at most a hundred steps.
STEPS_AND_DAYS = st.one_of(
    st.tuples(st.just(HOUR), st.integers(1, 3)),
    st.tuples(st.just(8 * HOUR), st.integers(1, 20)),
    st.tuples(st.just(DAY), st.integers(1, 60)),
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
        [row[number % len(row)] for number in range(steps)] for row in data.draw(st.lists(few, min_size=1, max_size=3))
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
