from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from build import T0, day, hour, usd
from commcredits import (
    CommCreditsError,
    CurrencyMismatchError,
    InvalidValueError,
    Money,
    RechargePolicy,
    Terms,
    WrongTypeError,
)
from commcredits.simulation import Demand, Suggestion, suggest_policy
from commcredits.simulation.demand import START
from commcredits.simulation.suggestion import _smallest

BILLION = 10**9
Usage = list[tuple[datetime, Money]]

SMALL: dict[str, Any] = {"paths": 60, "days": 28, "step": timedelta(hours=3)}
"""Simulations so small that they take no time."""


def usage_of(days: int, dollars: int = 1) -> Usage:
    """About 120 usages of so many dollars a week, bursty, most of them on working days."""
    working, weekend = (1.0,) * 24, (0.2,) * 24
    demand = Demand("USD", "UTC", (*[working] * 5, *[weekend] * 2), 2.0, 0.02, (BILLION,), days)
    (costs,) = demand.sample(1, days, 5, step=timedelta(hours=1))
    return [
        (START + number * timedelta(hours=1), usd(dollars * cost // BILLION))
        for number, cost in enumerate(costs.tolist())
        if cost
    ]


USAGE = usage_of(63)


def suggest(usage: Usage = USAGE, **given: Any) -> Suggestion:
    return suggest_policy(usage, **({"charge_delay": timedelta(hours=6)} | SMALL | given))


def test_the_promise_is_kept_and_nothing_smaller_keeps_it() -> None:
    for delay in (timedelta(hours=1), timedelta(days=3)):
        suggestion = suggest(charge_delay=delay, out_of_credit_at_most=0.005)
        assert suggestion.in_sample.out_of_credit <= 0.005
        assert suggestion.in_sample.recharges_per_month <= 4
        assert (suggestion.threshold, suggestion.amount) == (
            suggestion.policy.threshold.amount,
            suggestion.policy.amount,
        )
        if suggestion.threshold > usd(1):
            (before,) = [one for one in suggestion.curve if one.threshold == suggestion.threshold]
            assert before == suggestion.in_sample
            assert any(one.out_of_credit > 0.005 for one in suggestion.curve if one.threshold < suggestion.threshold)
        assert all(one.recharges_per_month > 4 for one in suggestion.amount_curve if one.amount < suggestion.amount)


def test_the_amount_is_about_a_month_of_usage_over_the_recharges_allowed() -> None:
    month = 365.25 / 12 / 7 * 120 * 9 / 10  # not far from 120 a week, whatever chance made of it
    for recharges in (2, 4, 8):
        amount = float(suggest(recharges_per_month_at_most=recharges).amount.amount)
        assert 0.8 < amount / (month / recharges) < 1.4


def test_the_longer_a_charge_takes_the_higher_the_threshold() -> None:
    found = [suggest(charge_delay=timedelta(hours=hours)).threshold for hours in (1, 12, 72)]
    assert found == sorted(found)
    assert found[2] > found[0] + usd(20)


def test_a_stricter_promise_needs_a_higher_threshold() -> None:
    assert suggest(out_of_credit_at_most=0.0005).threshold > suggest(out_of_credit_at_most=0.05).threshold


def test_the_trade_off_is_a_curve_that_only_falls() -> None:
    suggestion = suggest(charge_delay=timedelta(days=2))
    thresholds = [one.threshold for one in suggestion.curve]
    shares = [one.out_of_credit for one in suggestion.curve]
    idle = [one.idle_average for one in suggestion.curve]
    assert thresholds == sorted(set(thresholds))
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.001 >= shares[-1]
    assert idle == sorted(idle)
    assert {one.amount for one in suggestion.curve} == {suggestion.amount}
    recharges = [one.recharges_per_month for one in suggestion.amount_curve]
    assert recharges == sorted(recharges, reverse=True)
    assert {one.threshold for one in suggestion.amount_curve} == {suggestion.threshold}


def test_it_is_the_same_for_the_same_seed_whatever_the_order_of_the_usage() -> None:
    one = suggest(seed=3)
    assert suggest(list(reversed(USAGE)), seed=3) == one
    assert suggest(seed=4) != one


def test_terms_hold_for_what_is_suggested() -> None:
    teams = suggest(terms=Terms.microsoft_teams(), recharges_per_month_at_most=30)
    assert teams.amount == usd(50)
    stepped = suggest(terms=Terms("USD", purchase_step=usd("7.5")))
    assert stepped.amount.amount % 15 == 0
    assert stepped.policy == RechargePolicy(stepped.threshold, stepped.amount)


def test_large_sums_have_three_digits() -> None:
    large = suggest(usage_of(63, dollars=1000), charge_delay=timedelta(days=2))
    assert large.amount.amount % 1000 == 0
    assert large.threshold.amount % 100 == 0
    assert large.amount > usd(10_000)


def test_declined_cards_need_more_or_are_refused() -> None:
    assert suggest(decline_probability=0.2).threshold > suggest().threshold
    with pytest.raises(InvalidValueError, match=r"out_of_credit_at_most 0\.001: no threshold keeps this promise"):
        suggest(decline_probability=1)


def test_recharges_that_no_amount_keeps_so_few_are_refused() -> None:
    # All that is bought expires within the hour, so there is something to buy all the time.
    fleeting = Terms("USD", funds_valid_for=timedelta(hours=1))
    with pytest.raises(InvalidValueError, match="recharges_per_month_at_most 4: no amount keeps this promise"):
        suggest(terms=fleeting)


def test_usage_that_changes_is_found_out_on_the_days_held_out() -> None:
    calm = suggest()
    assert calm.is_kept
    assert calm.confidence > 0.5
    doubled = [(at, cost * (4 if at >= START + timedelta(days=42) else 1)) for at, cost in USAGE]
    changed = suggest(doubled)
    assert not changed.is_kept
    assert changed.confidence == 0
    assert changed.in_sample == calm.in_sample
    assert "The promises are not kept on the days held out, and both in 0 of 100" in str(changed)


def test_the_bound_lies_above_what_was_found_and_days_are_told() -> None:
    suggestion = suggest(charge_delay=timedelta(days=3))
    assert suggestion.out_of_credit_bound is not None
    assert suggestion.out_of_credit_bound > suggestion.out_of_sample.out_of_credit > 0
    assert (suggestion.days, suggestion.held_out) == (63, 21)
    assert 0 <= suggestion.confidence <= 1


def test_what_was_never_seen_has_no_bound() -> None:
    vanished = [(at, cost if at < START + timedelta(days=42) else usd(0)) for at, cost in USAGE]
    suggestion = suggest(vanished)
    assert (suggestion.out_of_sample.out_of_credit, suggestion.out_of_credit_bound) == (0, None)
    assert str(suggestion).splitlines()[4].split() == ["at", "most,", "95", "%", "sure", "never", "seen"]


def test_it_can_be_looked_at() -> None:
    suggestion = suggest()
    seen, unseen = suggestion.in_sample, suggestion.out_of_sample
    lines = str(suggestion).splitlines()
    assert lines[0] == f"Recharge {suggestion.amount} below {suggestion.threshold}"
    assert lines[2].split() == ["promised", "fitted", "held", "out"]
    assert lines[3].split() == [
        *("Out of credit ≤ 0.1 %".split()),
        *(f"{100 * seen.out_of_credit:.3g} % {100 * unseen.out_of_credit:.3g} %".split()),
    ]
    assert lines[5].split() == [
        *("Recharges a month ≤ 4".split()),
        *(f"{seen.recharges_per_month:.2f} {unseen.recharges_per_month:.2f}".split()),
    ]
    assert lines[7].split() == ["Days", "of", "usage", "42", "21"]
    assert lines[-1].endswith("What is rarer than once in 21 days cannot be seen in them.")
    assert "<td" in suggestion._repr_html_()
    assert "Both promises are kept" in suggestion._repr_html_()


def test_progress_is_told_simulation_by_simulation() -> None:
    told: list[tuple[int, int]] = []
    suggest(progress=lambda *done: told.append(done))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert all(done <= total for done, total in told)


def test_the_smallest_is_found_from_wherever_the_search_begins() -> None:
    for smallest in (1, 2, 17, 100, 1000):
        for guess in (1, 2, 16, 40, 1000, 5000):
            assert _smallest(lambda number, least=smallest: number >= least, guess, 1, 5000) == smallest
            assert _smallest(lambda number, least=smallest: number >= least, guess, 1, smallest) == smallest
            assert _smallest(lambda number, least=smallest: number > least, guess, 1, smallest) is None


# Bad input


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"usage": []}, InvalidValueError, "there is none"),
        ({"usage": usage_of(20)}, InvalidValueError, r"20 days.*at least 21"),
        ({"usage": [(T0, usd(0)), (day(30), usd(0))]}, InvalidValueError, "costs nothing"),
        ({"usage": [(T0, usd(1)), (day(30), Money(1, "EUR"))]}, CurrencyMismatchError, "EUR"),
        ({"usage": [(T0, usd(1)), (hour(1), 1)]}, WrongTypeError, "usage"),
        ({"out_of_credit_at_most": 0}, InvalidValueError, "out_of_credit_at_most"),
        ({"out_of_credit_at_most": 1}, InvalidValueError, "out_of_credit_at_most"),
        ({"recharges_per_month_at_most": 0}, InvalidValueError, "recharges_per_month_at_most"),
        ({"terms": "usual"}, WrongTypeError, "terms"),
        ({"terms": Terms("EUR")}, CurrencyMismatchError, "EUR"),
        ({"charge_delay": 5}, WrongTypeError, "charge_delay"),
        ({"time_zone": "Mars"}, InvalidValueError, "time_zone"),
        ({"step": timedelta(hours=5)}, InvalidValueError, "step"),
        ({"step": timedelta(0)}, InvalidValueError, "step"),
        ({"step": 1}, WrongTypeError, "step"),
    ],
)
def test_bad_input_is_refused_by_name(wrong: dict[str, Any], error: type[CommCreditsError], named: str) -> None:
    with pytest.raises(error, match=named):
        suggest(**wrong)
