"""Usage days: real usage cut into its days, to hold some of them out and to draw them over and over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.policy import check_money
from commcredits.simulation.demand import START
from commcredits.simulation.extras import numpy
from commcredits.times import utc, zone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    import numpy as np
    from numpy.typing import NDArray

    from commcredits.money import Money

_DAY = timedelta(days=1)


@attrs.frozen(order=False)
class UsageDays:
    """The usage of successive days of a time zone; `pairs` are in time order."""

    pairs: Sequence[tuple[datetime, Money]]
    time_zone: str
    step: timedelta
    first: date
    last: date

    @classmethod
    def of(cls, pairs: Sequence[tuple[datetime, Money]], time_zone: str, step: timedelta) -> UsageDays:
        """The days from the first usage to the last."""
        place = zone(time_zone)
        first, last = (utc(pairs[place_of][0], "usage").astimezone(place).date() for place_of in (0, -1))
        for _, cost in pairs:
            check_money("usage", cost, pairs[0][1].currency)
        return cls(pairs, time_zone, step, first, last)

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def split(self) -> tuple[UsageDays, UsageDays]:
        """The first two thirds, and the last third in whole weeks."""
        held_out = max(len(self) // 3 // 7, 1) * 7
        begins = self.last - (held_out - 1) * _DAY
        place = zone(self.time_zone)
        number = sum(1 for at, _ in self.pairs if at.astimezone(place).date() < begins)
        return (
            attrs.evolve(self, pairs=self.pairs[:number], last=begins - _DAY),
            attrs.evolve(self, pairs=self.pairs[number:], first=begins),
        )

    def resampled(self, pools: int, paths: int, days: int, seed: int) -> NDArray[np.int64]:
        """Paths made of these days, in billionths: `pools` times `paths` rows, a column for each step.

        For each pool as many days are drawn as there are, with replacement, and its paths are drawn from those: so the
        pools differ as much as such days do by chance. Working days are drawn for working days, weekends for weekends.
        """
        np = numpy()
        by_day = self._by_day()
        chance = np.random.default_rng([seed % 2**64, 2**32])
        weekend = np.array([(self.first + number * _DAY).weekday() >= 5 for number in range(len(self))])
        wanted = np.array([(START + number * _DAY).weekday() >= 5 for number in range(days)])
        costs = np.empty((pools * paths, days, by_day.shape[1]), np.int64)
        for pool in range(pools):
            rows = slice(pool * paths, (pool + 1) * paths)
            for kind in (False, True):
                drawn = chance.choice(np.flatnonzero(weekend == kind), int((weekend == kind).sum()))
                costs[rows, wanted == kind] = by_day[chance.choice(drawn, (paths, int((wanted == kind).sum())))]
        return costs.reshape(pools * paths, -1)  # type: ignore[no-any-return]

    def _by_day(self) -> Any:
        """A row for each day, a column for each of its steps; an hour that the clock repeats counts once more."""
        np = numpy()
        place = zone(self.time_zone)
        by_day = np.zeros((len(self), max(_DAY // self.step, 1)), np.int64)
        for at, cost in self.pairs:
            local = at.astimezone(place)
            since = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second)
            by_day[(local.date() - self.first).days, since // self.step] += cost._billionths
        return by_day
