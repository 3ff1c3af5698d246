from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timedelta
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

from build import T0, cents, day, usd
from commcredits import (
    CommCreditsError,
    CurrencyMismatchError,
    InvalidValueError,
    Money,
    RechargeLimit,
    RechargePolicy,
    Terms,
    WrongTypeError,
)
from commcredits.simulation import Demand, Trajectories, simulate_many, trajectories
from commcredits.simulation.demand import START

BILLION = 10**9
TERMS = Terms("USD")
POLICY = RechargePolicy(usd(50), usd(70))
DEMAND = Demand("USD", "UTC", ((0.5,) * 24,) * 7, 2.0, 0.1, (BILLION, 3 * BILLION), 30)
FIGURES = (
    *("lowest_balance", "time_without_credit", "recharges", "refused", "usage_refused", "forfeited"),
    *("idle_average", "balances"),
)


def run(demand: Any, policies: Any = (POLICY,), **given: Any) -> Trajectories:
    """From 100 dollars on day 0, a step a day, unless told otherwise."""
    costs = demand if isinstance(demand, Demand) else np.array(demand)
    size = (given.pop("paths", 20), given.pop("days", 30)) if isinstance(demand, Demand) else costs.shape
    return simulate_many(costs, policies, *size, **({"terms": TERMS, "opening": usd(100), "start": T0} | given))


def same(one: Trajectories, other: Trajectories) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIGURES)


def test_each_policy_meets_the_same_usage_and_what_comes_of_it_stands_side_by_side() -> None:
    many = run([[60 * BILLION, 0, 45 * BILLION], [0, 0, 10 * BILLION]], [POLICY, None], keep_balances=2)
    assert (many.balances // BILLION).tolist() == [[[110, 110, 65], [100, 100, 90]], [[40, 40, 40], [100, 100, 90]]]
    assert (many.lowest_balance // BILLION).tolist() == [[40, 90], [40, 90]]
    assert many.recharges.tolist() == [[1, 0], [0, 0]]
    assert many.refused.tolist() == [[0, 0], [1, 0]]
    assert (many.usage_refused // BILLION).tolist() == [[0, 0], [45, 0]]
    assert many.idle_average.tolist() == [[95 * BILLION, 96_666_666_667], [40 * BILLION, 96_666_666_667]]
    assert (many.start, many.end) == (T0, day(3))


def test_money_is_taken_as_billionths_are() -> None:
    costs = [[6000, 1, 4500]]
    money = [[cents(cost) for cost in row] for row in costs]
    assert same(run(money), run([[cost * BILLION // 100 for cost in row] for row in costs]))
    small = np.array([[60, 0, 45]], dtype=np.uint8)
    assert run(small).lowest_balance.tolist() == [[100 * BILLION - 105]]


def test_funds_expire_after_twelve_calendar_months() -> None:
    # From a leap day the calendar has no twelfth month that long, so it is the day after.
    start = datetime(2028, 2, 29, 12, tzinfo=T0.tzinfo)
    many = run([[0] * 368], [None], start=start, keep_balances=1)
    assert many.forfeited.tolist() == [[100 * BILLION]]
    assert np.flatnonzero(many.balances[0, 0] == 0).tolist() == [366, 367]
    assert many.time_without_credit.tolist() == [[timedelta(days=2, hours=-12 + 24) // timedelta(microseconds=1)]]


def test_the_same_seed_gives_the_same_and_paths_have_chances_of_their_own() -> None:
    given: dict[str, Any] = {"decline_probability": 0.5, "charge_delay": timedelta(hours=5)}
    one = run(DEMAND, seed=3, **given)
    assert same(one, run(DEMAND, seed=3, **given))
    assert not same(one, run(DEMAND, seed=4, **given))
    alike = run([[20 * BILLION] * 20] * 40, seed=3, **given)
    assert len(set(alike.recharges[0].tolist())) > 1


def test_it_is_the_same_in_blocks_and_on_executors(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"decline_probability": 0.3, "keep_balances": 15, "seed": -2}
    policies = [POLICY, RechargePolicy(usd(20), usd(30), limits=(RechargeLimit(count=9),))]
    whole = run(DEMAND, policies, **given)
    told: list[tuple[int, int]] = []
    with ThreadPoolExecutor(3) as executor:
        threads = run(DEMAND, policies, executor=executor, progress=lambda *done: told.append(done), **given)
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        processes = run(DEMAND, policies, executor=executor, **given)
    monkeypatch.setattr(trajectories, "_CELLS_AT_ONCE", 7 * 30)
    blocks = run(DEMAND, policies, **given)
    for other in (threads, processes, blocks, pickle.loads(pickle.dumps(whole))):  # noqa: S301
        assert same(whole, other)
    assert len(told) > 2
    assert told[-1] == (600, 600)


def test_progress_is_told_on_the_way() -> None:
    told: list[tuple[int, int]] = []
    run(DEMAND, days=150, progress=lambda *done: told.append(done))
    assert told == [(1280, 3000), (2560, 3000), (3000, 3000), (3000, 3000)]


def test_it_can_be_looked_at() -> None:
    policies = [POLICY, RechargePolicy(usd(50), recharge_to=usd(120)), None]
    lines = str(run([[30 * BILLION] * 4, [0] * 4], policies)).splitlines()
    assert lines[0] == "2 paths of 4 days"
    assert lines[2].split() == ["policy", "figure", "mean", "5%", "50%", "95%"]
    assert lines[3:9] == [
        "70.00 USD, below 50.00 USD      Lowest balance         70.00 USD  40.00 USD  40.00 USD  100.00 USD",
        "70.00 USD, below 50.00 USD      Time without credit    0:00:00    0:00:00    0:00:00    0:00:00",
        "70.00 USD, below 50.00 USD      Recharges              0.5        0.0        0.0        1.0",
        "70.00 USD, below 50.00 USD      Usages refused         0.0        0.0        0.0        0.0",
        "70.00 USD, below 50.00 USD      Idle funds on average  88.75 USD  77.50 USD  77.50 USD  100.00 USD",
        "70.00 USD, below 50.00 USD      Forfeited              0.00 USD   0.00 USD   0.00 USD   0.00 USD",
    ]
    assert [line.partition("  ")[0] for line in lines[9::6]] == ["To 120.00 USD, below 50.00 USD", "No recharge"]
    assert "<td" in run([[0]])._repr_html_()


# What 64 bits cannot hold


@pytest.mark.parametrize(
    ("demand", "policy", "given"),
    [
        ([[2**60, 2**60]], None, {}),
        ([[2**62, 2**62]], None, {}),
        (np.array([[2**63]], dtype=np.uint64), None, {}),
        ([[Money(10**10, "USD")]], None, {}),
        ([[0]], None, {"opening": Money(10**10, "USD")}),
        ([[0]], RechargePolicy(Money(10**10, "USD"), usd(1)), {}),
        ([[0]], RechargePolicy(usd(1), recharge_to=Money(10**10, "USD")), {}),
        ([[0]], None, {"terms": Terms("USD", purchase_step=Money(10**10, "USD"))}),
        ([[0]], None, {"terms": Terms("USD", minimum_purchase=Money(10**10, "USD"))}),
        (
            [[0] * 9],
            RechargePolicy(Money(10**9, "USD"), Money(10**9, "USD")),
            {"terms": Terms("USD", funds_valid_for=timedelta(1))},
        ),
    ],
)
def test_sums_beyond_64_bits_are_refused_by_name(demand: Any, policy: RechargePolicy | None, given: Any) -> None:
    with pytest.raises(InvalidValueError, match="64 bits"):
        run(demand, [policy], **given)


def test_large_sums_that_fit_are_exact() -> None:
    most = 2**60
    many = run([[most // 800 - 1] * 800], [None], terms=Terms("USD", overdraft_limit=None), opening=usd(0))
    assert many.lowest_balance.tolist() == [[-(most // 800 - 1) * 800]]
    rich = run([[0] * 800], [None], opening=Money(10**9, "USD"), terms=Terms("USD", funds_valid_for=None))
    assert rich.idle_average.tolist() == [[10**18]]


# Bad input


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"demand": [[1.5]]}, WrongTypeError, "demand"),
        ({"demand": [[True]]}, WrongTypeError, "demand"),
        ({"demand": [["1"]]}, WrongTypeError, "demand"),
        ({"demand": [[-1]]}, InvalidValueError, "demand"),
        ({"demand": [[1, 2]]}, InvalidValueError, "shape"),
        ({"demand": [1]}, InvalidValueError, "shape"),
        ({"demand": [[Money(1, "EUR")]]}, CurrencyMismatchError, "EUR"),
        ({"demand": Demand("EUR", "UTC", ((1.0,) * 24,) * 7, 1.0, 0.0, (1,), 7)}, CurrencyMismatchError, "EUR"),
        ({"policies": []}, InvalidValueError, "policies"),
        ({"policies": None}, WrongTypeError, "policies"),
        ({"policies": ["always"]}, WrongTypeError, "policy"),
        ({"policies": [RechargePolicy(Money(1, "EUR"), Money(1, "EUR"))]}, CurrencyMismatchError, "EUR"),
        ({"policies": [RechargePolicy(Money(10**6, "USD"), usd(1))]}, InvalidValueError, "100 charges at once"),
        ({"paths": 0}, InvalidValueError, "paths"),
        ({"paths": 1.0}, WrongTypeError, "paths"),
        ({"days": 0}, InvalidValueError, "days"),
        ({"days": True}, WrongTypeError, "days"),
        ({"step": 1}, WrongTypeError, "step"),
        ({"step": timedelta(0)}, InvalidValueError, "step"),
        ({"step": timedelta(hours=7)}, InvalidValueError, "step"),
        ({"start": datetime(2026, 1, 1)}, InvalidValueError, "naive"),  # noqa: DTZ001
        ({"opening": 100}, WrongTypeError, "opening"),
        ({"charge_delay": 5}, WrongTypeError, "charge_delay"),
        ({"decline_probability": 2}, InvalidValueError, "decline_probability"),
        ({"seed": "x"}, WrongTypeError, "seed"),
        ({"keep_balances": -1}, InvalidValueError, "keep_balances"),
        ({"executor": 4}, WrongTypeError, "executor"),
        ({"progress": "loudly"}, WrongTypeError, "progress"),
    ],
)
def test_bad_input_is_refused_by_name(wrong: dict[str, Any], error: type[CommCreditsError], named: str) -> None:
    given: dict[str, Any] = {
        "demand": [[0]],
        "policies": [None],
        "paths": 1,
        "days": 1,
        "terms": TERMS,
        "opening": usd(100),
        "start": START,
        **wrong,
    }
    with pytest.raises(error, match=named):
        simulate_many(**given)


def test_without_numpy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'commcredits\[simulation\]'"):
        simulate_many([[0]], [None], 1, 1, terms=TERMS, opening=usd(1))
