from __future__ import annotations

import pickle
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import numpy as np
import pytest

from build import T0, day, usd
from commcredits import CurrencyMismatchError, InvalidValueError, Money, WrongTypeError
from commcredits.simulation import Demand, fit_demand
from commcredits.simulation.demand import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BILLION = 10**9

# Four usages in an hour of the working day, fewer in the evening, and little at weekends.
DAYTIME = tuple(4.0 if 8 <= hour < 18 else 1.0 if 18 <= hour < 22 else 0.0 for hour in range(24))
RATES = (*[DAYTIME] * 5, *[tuple(rate / 4 for rate in DAYTIME)] * 2)


def demand(**changes: Any) -> Demand:
    """Usages that cost a dollar each, unless told otherwise."""
    given = {"dispersion": 1.0, "day_variation": 0.0, "costs": (BILLION,), "days": 30} | changes
    return Demand("USD", given.pop("time_zone", "UTC"), given.pop("rates", RATES), **given)


def usage_of(costs: np.ndarray, start: datetime = START) -> list[tuple[datetime, Money]]:
    """Usages of a dollar each, as many in an hour as there are dollars in a path of hourly costs."""
    counts = costs // BILLION
    return [(start + hour * HOUR, usd(1)) for hour, count in enumerate(counts.tolist()) for _ in range(count)]


# Sampling


def test_paths_have_the_rates_of_weekdays_and_hours() -> None:
    costs = demand().sample(200, 28, 3, step=HOUR).reshape(200, 4, 7, 24)
    found = costs.mean(axis=(0, 1)) / BILLION
    # Of 800 Poisson counts: five standard deviations of what is expected.
    assert (abs(found - np.array(RATES)) <= 5 * np.sqrt(np.array(RATES) / 800)).all()


def test_steps_of_other_lengths_are_sums_of_hours_or_parts_of_one() -> None:
    for step in (timedelta(minutes=20), 6 * HOUR, DAY, 7 * DAY):
        costs = demand().sample(100, 28, 5, step=step)
        assert costs.shape == (100, timedelta(28) // step)
        assert abs(costs.sum() / BILLION / 400 - sum(map(sum, RATES))) < 5 * (sum(map(sum, RATES)) / 400) ** 0.5


def test_counts_are_dispersed_as_told_within_days_and_between_them() -> None:
    for dispersion, variation in ((1.0, 0.0), (5.0, 0.0), (1.0, 0.2), (3.0, 0.1)):
        mondays = demand(dispersion=dispersion, day_variation=variation).sample(20, 1400, 11)[:, ::7] / BILLION
        mean = sum(DAYTIME)
        expected = dispersion * mean + variation * mean**2
        assert abs(mondays.mean() - mean) < 5 * (expected / 4000) ** 0.5
        assert 0.85 < mondays.var() / expected < 1.15


def test_hours_are_those_of_the_time_zone() -> None:
    costs = demand(time_zone="Asia/Tokyo").sample(20, 7, step=HOUR).sum(axis=0)
    busy = set((np.flatnonzero(costs) % 24).tolist())
    assert busy == {(hour - 9) % 24 for hour in range(8, 22)}


def test_costs_are_those_that_there_were_and_their_mean_stays_exactly_what_it_was() -> None:
    costs = (1 * BILLION, 2 * BILLION, 30 * BILLION)
    one_an_hour = demand(rates=(tuple([0.05] * 24),) * 7, costs=costs).sample(50, 28, 2, step=HOUR)
    assert set(one_an_hour[one_an_hour > 0].tolist()) & set(costs) == set(costs)
    many = demand(rates=(tuple([1000.0] * 24),) * 7, costs=costs).sample(20, 28, 2)
    assert abs(many.mean() / BILLION / (24_000 * 11) - 1) < 0.002
    spread = (24_000 * (np.var([1, 2, 30]) + 11**2)) ** 0.5
    assert 0.8 < many.std() / BILLION / spread < 1.25


def test_a_path_depends_on_the_seed_and_its_number_alone() -> None:
    bursty = demand(dispersion=3.0, day_variation=0.1, costs=(BILLION, 5 * BILLION))
    whole = bursty.sample(9, 7, 4)
    assert (bursty.sample(4, 7, 4, first=5) == whole[5:]).all()
    assert (pickle.loads(pickle.dumps(bursty)).sample(9, 7, 4) == whole).all()  # noqa: S301
    assert (bursty.sample(9, 7, 5) != whole).any()
    assert (bursty.sample(9, 7, 4 - 2**64) == whole).all()


def test_a_step_must_fit_and_sums_too() -> None:
    for step in (timedelta(0), -HOUR, timedelta(minutes=90), timedelta(minutes=7), 5 * HOUR, 2 * DAY):
        with pytest.raises(InvalidValueError, match="step"):
            demand().sample(1, 7, step=step)
    with pytest.raises(InvalidValueError, match="64 bits"):
        demand(rates=(tuple([1000.0] * 24),) * 7, costs=(2**59,)).sample(1, 7)


# Fitting


def test_what_was_sampled_is_fitted_again() -> None:
    true = demand(dispersion=3.0, day_variation=0.06)
    fitted = fit_demand(usage_of(true.sample(1, 700, 8, step=HOUR)[0]))
    assert fitted.days == 700
    assert abs(fitted.usages_per_week / true.usages_per_week - 1) < 0.06
    assert abs(np.array(fitted.rates) - np.array(RATES)).max() < 0.8
    assert abs(fitted.dispersion - 3) < 0.4
    assert abs(fitted.day_variation - 0.06) < 0.03


def test_regular_usage_is_taken_for_poisson() -> None:
    regular = [(T0 + number * HOUR, usd(1)) for number in range(24 * 28)]
    fitted = fit_demand(regular)
    assert (fitted.dispersion, fitted.day_variation) == (1, 0)
    assert fitted.rates == (tuple([pytest.approx(1)] * 24),) * 7


def test_one_report_a_day_is_a_demand_too() -> None:
    fitted = fit_demand([(day(number), usd(5)) for number in range(30)])
    assert fitted.usages_per_week == pytest.approx(7)
    assert fitted.cost_per_day == usd(5)
    assert fitted.dispersion == 1


def test_seven_days_are_enough_and_tell_nothing_of_how_days_vary() -> None:
    true = demand(dispersion=4.0, day_variation=0.3)
    fitted = fit_demand(usage_of(true.sample(1, 7, 1, step=HOUR)[0]))
    assert fitted.day_variation == 0
    assert fitted.dispersion > 1
    with pytest.raises(InvalidValueError, match=r"6 days.*at least 7"):
        fit_demand([(T0, usd(1)), (day(5), usd(1))])


def test_a_weekday_without_usage_has_none_to_expect() -> None:
    workdays = [(day(number), usd(1)) for number in range(28) if day(number).weekday() < 5]
    assert [sum(rates) for rates in fit_demand([*workdays, (day(28), usd(1))]).rates][5:] == [0, 0]


def test_weekdays_and_hours_are_those_of_the_time_zone_and_the_order_does_not_matter() -> None:
    late = [(day(number) + 23 * HOUR, usd(1)) for number in range(14)]
    fitted = fit_demand(reversed(late), time_zone="Asia/Tokyo")
    assert {hour for rates in fitted.rates for hour in range(24) if rates[hour]} == {8}
    assert fitted == fit_demand(late, time_zone="Asia/Tokyo")
    assert attrs.evolve(fitted, costs=()[:0] or fitted.costs) == fitted


def test_the_costs_are_kept() -> None:
    costs = [usd(number % 3) for number in range(30)]
    fitted = fit_demand([(day(number), cost) for number, cost in enumerate(costs)])
    assert Counter(fitted.costs) == {0: 10, BILLION: 10, 2 * BILLION: 10}
    assert fitted.cost_per_day == usd(1)


# What it shows


def test_it_can_be_looked_at() -> None:
    shown = str(demand(dispersion=2.0, day_variation=0.04))
    assert shown == ("Usage of 30 days: 242.0 a week, 34.57 USD a day; index of dispersion 2.00, days vary by 20 %")
    lines = str(demand().table()).splitlines()
    assert lines[0] == "Usages to expect in an hour (UTC)"
    assert lines[2].split() == ["hour", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    assert lines[3 + 9].split() == ["09:00", *["4.0"] * 5, "1.0", "1.0"]
    assert "<td" in demand()._repr_html_()


# Bad input


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rates": RATES[:6]}, "rates"),
        ({"rates": (*RATES[:6], (-1.0,) * 24)}, "rates"),
        ({"rates": (*RATES[:6], (float("nan"),) * 24)}, "rates"),
        ({"dispersion": 0.5}, "dispersion"),
        ({"day_variation": -1.0}, "day_variation"),
        ({"costs": ()}, "costs"),
        ({"costs": (-1,)}, "costs"),
        ({"costs": (2**60,)}, "costs"),
        ({"time_zone": "Mars"}, "time_zone"),
    ],
)
def test_a_demand_that_cannot_be_is_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidValueError, match=named):
        demand(**wrong)


def test_usage_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="there is none"):
        fit_demand([])
    with pytest.raises(WrongTypeError):
        fit_demand([(T0, 1)])  # type: ignore[list-item]
    with pytest.raises(WrongTypeError):
        fit_demand([("now", usd(1))])  # type: ignore[list-item]
    with pytest.raises(InvalidValueError, match="naive"):
        fit_demand([(datetime(2026, 1, 1), usd(1))])  # noqa: DTZ001
    with pytest.raises(CurrencyMismatchError):
        fit_demand([(T0, usd(1)), (datetime(2026, 1, 9, tzinfo=UTC), Money(1, "EUR"))])
