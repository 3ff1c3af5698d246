"""Demand: how usage comes, fitted to real usage, to sample as much more of it as a simulation needs.

Usages are counted hour by hour. How many to expect depends on the weekday and on the hour; how far the counts stray
from that is told by two numbers: the index of dispersion within a day, and how much busy and quiet days differ. Counts
are Poisson with a rate from a gamma distribution, that is, negative binomial with one index of dispersion whatever the
mean (NB1 of Cameron and Trivedi, "Regression Analysis of Count Data", 2013, ch. 3), so that hours add up to days of the
same kind. What a usage costs is drawn from the costs that there were.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.errors import InvalidValueError
from commcredits.money import Money, _of
from commcredits.policy import check_money
from commcredits.simulation.extras import numpy
from commcredits.tables import Table
from commcredits.times import utc, zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    import numpy as np
    from numpy.typing import NDArray

START = datetime(2029, 1, 1, tzinfo=UTC)
"""A Monday with which a year begins."""

DAYS_LEAST = 7

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_POOL_LEAST = 4096
_MOST = 2**59


@attrs.frozen(order=False)
class Demand:
    """How often usage comes, and what it costs.

    Attributes:
        rates: the usages to expect in an hour: seven weekdays from Monday, of 24 hours each, in `time_zone`.
        dispersion: the variance of an hour's count, over its mean; 1 is Poisson, more comes in bursts.
        day_variation: the variance of a factor of mean 1 that all hours of a day have in common.
        costs: of the usages that there were, in billionths.
        days: over how many days they came.

    Raises: InvalidValueError for rates that are not 7 times 24 numbers of zero or more, a dispersion below 1, a
        variation below zero, and no costs or any below zero.
    """

    currency: str
    time_zone: str
    rates: tuple[tuple[float, ...], ...]
    dispersion: float
    day_variation: float
    costs: tuple[int, ...] = attrs.field(repr=False)
    days: int

    def __attrs_post_init__(self) -> None:
        zone(self.time_zone)
        Money.zero(self.currency)
        if [len(hours) for hours in self.rates] != [24] * 7 or any(not rate >= 0 for day in self.rates for rate in day):
            raise InvalidValueError("rates", self.rates, "must be 7 times 24 numbers of zero or more")
        if not self.dispersion >= 1:
            raise InvalidValueError("dispersion", self.dispersion, "must be 1 or more")
        if not self.day_variation >= 0:
            raise InvalidValueError("day_variation", self.day_variation, "must be zero or more")
        if not self.costs or not 0 <= min(self.costs) <= max(self.costs) <= _MOST:
            raise InvalidValueError("costs", self.costs[:3], f"must be some, from 0 to {_MOST} billionths each")

    @property
    def usages_per_week(self) -> float:
        """How many usages to expect in a week."""
        return sum(map(sum, self.rates))

    @property
    def cost_per_day(self) -> Money:
        """What usage is expected to cost in a day, taken over a week."""
        mean = sum(self.costs) / len(self.costs)
        return _of(round(self.usages_per_week / 7 * mean), self.currency)

    def sample(
        self,
        paths: int,
        days: int,
        seed: int = 0,
        *,
        step: timedelta = _DAY,
        start: datetime = START,
        first: int = 0,
    ) -> NDArray[np.int64]:
        """Costs in billionths: a row for each path, from number `first` on, and a column for each step from `start`.

        A path depends on the seed and on its number alone, and on the version of numpy.

        Raises: InvalidValueError for a step that is neither whole hours nor a whole part of one, or of which the days
            are no whole number; ImportError without numpy.
        """
        np = numpy()
        unit = min(step, _HOUR)
        if step <= timedelta(0) or step % unit or _HOUR % unit or timedelta(days) % step:
            raise InvalidValueError(
                "step", step, "must be whole hours or a whole part of one, and the days whole steps"
            )
        rates, dates = self._rates_and_dates(utc(start, "start"), unit, timedelta(days) // unit)
        pools = _Pools(np, self.costs, seed)
        steps = timedelta(days) // step
        costs: Any = np.zeros((paths, steps), np.int64)
        bursts = self.dispersion - 1
        for number in range(paths):
            chance = np.random.default_rng([seed % 2**64, 1 + first + number])
            means = rates
            if self.day_variation:
                factors = chance.gamma(1 / self.day_variation, self.day_variation, dates[-1] + 1)
                means = rates * factors[dates]
            means = means.reshape(steps, -1).sum(axis=1)
            if bursts:
                means = chance.gamma(means / bursts) * bursts
            pools.draw(costs[number], chance.poisson(means), chance)
        return costs  # type: ignore[no-any-return]

    def table(self) -> Table:
        """The usages to expect, hour by hour and weekday by weekday."""
        rows = tuple(
            (f"{hour:02}:00", *(round(self.rates[weekday][hour], 2) for weekday in range(7))) for hour in range(24)
        )
        return Table(("hour", *_WEEKDAYS), rows, f"Usages to expect in an hour ({self.time_zone})")

    def __str__(self) -> str:
        return (
            f"Usage of {self.days} days: {self.usages_per_week:.1f} a week, {self.cost_per_day.rounded()} a day; "
            f"index of dispersion {self.dispersion:.2f}, days vary by {100 * self.day_variation**0.5:.0f} %"
        )

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def _rates_and_dates(self, start: datetime, unit: timedelta, units: int) -> tuple[Any, Any]:
        """The usages to expect in each unit of time, and the number of its day."""
        np = numpy()
        place = zone(self.time_zone)
        local = [(start + number * unit).astimezone(place) for number in range(units)]
        share = unit / _HOUR
        rates = np.array([self.rates[at.weekday()][at.hour] * share for at in local])
        first = local[0].toordinal()
        return rates, np.array([at.toordinal() - first for at in local])


class _Pools:
    """Costs of one usage, and sums of the costs of 2, 4, 8 … usages, to draw the sum of any number from few of them.

    Each sum is of two of the pool before, each of which is in two sums, so the mean cost stays exactly what it was.
    """

    def __init__(self, np: Any, costs: Sequence[int], seed: int) -> None:
        times = -(-_POOL_LEAST // len(costs))
        self._chance = np.random.default_rng([seed % 2**64])
        self._pools = [np.tile(np.array(costs, np.int64), times)]

    def draw(self, sums: NDArray[np.int64], numbers: NDArray[np.int64], chance: np.random.Generator) -> None:
        """Add to each of the sums the costs of so many usages."""
        bit = 0
        while (left := numbers >> bit).any():
            odd = (left & 1).nonzero()[0]
            pool = self._pool(bit)
            sums[odd] += pool[chance.integers(0, len(pool), odd.size)]
            bit += 1

    def _pool(self, bit: int) -> NDArray[np.int64]:
        while len(self._pools) <= bit:
            pool: NDArray[np.int64] = self._pools[-1]
            if int(pool.max()) > _MOST:
                raise InvalidValueError(
                    "demand", int(pool.max()), "a step's cost does not fit into 64 bits of billionths"
                )
            self._pools.append(self._chance.permutation(pool) + self._chance.permutation(pool))
        return self._pools[bit]  # type: ignore[no-any-return]


def fit_demand(usage: Iterable[tuple[datetime, Money]], *, time_zone: str = "UTC") -> Demand:
    """The demand that real usage shows: `usage` is pairs of a time and a cost, in any order.

    Weekdays and hours are those of `time_zone`; the days from the first usage to the last count as whole. Usage more
    regular than Poisson is taken for Poisson.

    Raises: InvalidValueError for usage of less than seven days; WrongTypeError, CurrencyMismatchError.
    """
    return demand_of_days(usage, time_zone)


def demand_of_days(
    usage: Iterable[tuple[datetime, Money]], time_zone: str, days: tuple[date, date] | None = None
) -> Demand:
    """As `fit_demand`; `days` are the first and the last of them, where usage need be on neither."""
    place = zone(time_zone)
    hours: Counter[tuple[date, int]] = Counter()
    costs: list[int] = []
    currency: str | None = None
    for given_at, cost in usage:
        at = utc(given_at, "usage").astimezone(place)
        costs.append(check_money("usage", cost, currency)._billionths)
        currency = cost.currency
        hours[at.date(), at.hour] += 1
    if currency is None:
        raise InvalidValueError("usage", (), "there is none")
    first, last = (min(hours)[0], max(hours)[0]) if days is None else days
    dates = [first + number * _DAY for number in range((last - first).days + 1)]
    if len(dates) < DAYS_LEAST:
        raise InvalidValueError(
            "usage", f"{len(dates)} days", f"at least {DAYS_LEAST} are needed to tell weekdays apart"
        )
    rates = _rates(hours, dates)
    dispersion, variation = _burstiness(hours, dates, rates)
    return Demand(currency, time_zone, rates, dispersion, variation, tuple(costs), len(dates))


def _rates(hours: Counter[tuple[date, int]], dates: Sequence[date]) -> tuple[tuple[float, ...], ...]:
    """What to expect on a weekday, times the share of the hour in a day."""
    by_weekday, by_hour = Counter[int](), Counter[int]()
    for (day, hour), number in hours.items():
        by_weekday[day.weekday()] += number
        by_hour[hour] += number
    days = Counter(day.weekday() for day in dates)
    return tuple(
        tuple(by_weekday[weekday] / days[weekday] * by_hour[hour] / hours.total() for hour in range(24))
        for weekday in range(7)
    )


def _burstiness(
    hours: Counter[tuple[date, int]], dates: Sequence[date], rates: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """The index of dispersion and the variation of days, by the method of moments.

    Pearson's sums of squares, of hours and of whole days, have each an expectation in which both numbers occur: the
    dispersion as often as there are counts, the variation as often as there are usages. Parameters that were fitted
    take up their degrees of freedom.
    """
    by_day = Counter[Any]()
    for (day, _), number in hours.items():
        by_day[day] += number
    of_hours = of_days = 0.0
    cells = busy_days = 0
    for day in dates:
        expected = rates[day.weekday()]
        total = sum(expected)
        if total:
            busy_days += 1
            of_days += (by_day[day] - total) ** 2 / total
        for hour, rate in enumerate(expected):
            if rate:
                cells += 1
                of_hours += (hours[day, hour] - rate) ** 2 / rate
    weekdays = sum(any(day) for day in rates)
    hours_used = sum(any(day[hour] for day in rates) for hour in range(24))
    if busy_days <= weekdays:
        return max(1.0, of_hours / max(cells - weekdays - hours_used + 1, 1)), 0.0
    of_hours *= cells / (cells - weekdays - hours_used + 1)
    of_days *= busy_days / (busy_days - weekdays)
    if cells == busy_days:  # all at one hour of the day: the two cannot be told apart
        return max(1.0, of_days / busy_days), 0.0
    dispersion = max(1.0, (of_hours - of_days) / (cells - busy_days))
    return dispersion, max(0.0, (of_days - dispersion * busy_days) / hours.total())
