"""Paths: many balances under one policy at once, step by step in numpy, each as `simulate` would have it.

Bought funds all last equally long, so they burn in the order in which they came, and two running sums stand for all
lots of a path: what was funded, and what is gone of it. When funds expire, all that was funded up to them is gone; what
of it was left is forfeited. That is exact, because everything happens at its own instant, expiries and charges between
two steps included. What happens to few paths is worked out for those few only.

Amounts are billionths in 64 bits, times are microseconds since 1970.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import attrs
import numpy as np

from commcredits.currencies import minor_digits
from commcredits.errors import InvalidValueError
from commcredits.money import BILLION, _of
from commcredits.simulation.chance import chances_below, fractions_below, mixed
from commcredits.simulation.circumstances import CHARGES_AT_ONCE_MAX
from commcredits.times import after, window

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from commcredits.policy import RechargeLimit, RechargePolicy, Terms
    from commcredits.simulation.circumstances import Circumstances
    from commcredits.simulation.demand import Demand
    from commcredits.simulation.progress import Report

    Ints = NDArray[np.int64]

MOST = 2**60
"""The most that an amount, or all usage of a path, may come to, so that no sum leaves its 64 bits."""

_MOMENT = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = 2**62
_STEPS_AT_ONCE = 64  # so much usage is turned round at a time, from path by path to step by step


class Calendar:
    """When steps begin, funds expire and the windows of limits end; the same for all paths, so worked out once."""

    def __init__(self, terms: Terms, start: datetime, step: timedelta, steps: int) -> None:
        self.start = (start - _EPOCH) // _MOMENT
        self.step = step // _MOMENT
        self.end = self.start + steps * self.step
        self._terms = terms
        self._expiries: dict[int, int] = {}
        self._window_ends: dict[str, list[int]] = {}
        self._first_expiry = self._expiry(self.start)

    def expiry(self, funded_at: int) -> int:
        """When funds bought at that time expire; anything after the end, if that is later."""
        if self._first_expiry > self.end:
            return self._first_expiry  # what is bought later never expires earlier
        expires_at = self._expiries.get(funded_at)
        if expires_at is None:
            expires_at = self._expiries[funded_at] = self._expiry(funded_at)
        return expires_at

    def _expiry(self, funded_at: int) -> int:
        if self._terms.funds_valid_for is None:
            return _NEVER
        ends = after(_EPOCH + funded_at * _MOMENT, self._terms.funds_valid_for, self._terms.time_zone)
        return (ends - _EPOCH) // _MOMENT

    def window(self, per: str, at: int) -> tuple[int, int]:
        """The number of the calendar window that holds `at`, and when it ends."""
        ends = self._window_ends.setdefault(per, [self.start])
        while ends[-1] <= max(at, self.start):
            ends.append((window(_EPOCH + ends[-1] * _MOMENT, per, self._terms.time_zone)[1] - _EPOCH) // _MOMENT)
        number = bisect_right(ends, at)
        return number, ends[number]


class _Due:
    """What happens at one instant, to which paths."""

    __slots__ = ("expiries", "outcomes", "wakes")

    def __init__(self) -> None:
        self.expiries: list[tuple[Ints, Ints]] = []  # and what was funded up to then
        self.outcomes: list[tuple[Ints, Ints, NDArray[np.bool_] | None]] = []  # of charges: amounts, whether declined
        self.wakes: list[Ints] = []  # a recharge is to be decided on, because time went by


class _Count:
    """What charges requested in a limit's present window come to, path by path."""

    def __init__(self, limit: RechargeLimit, paths: int) -> None:
        self.limit = limit
        self.most = _NEVER if limit.amount is None else min(limit.amount._billionths, _NEVER)
        self.times_most = _NEVER if limit.count is None else limit.count
        self.window = np.full(paths, -1)
        self.amount = np.zeros(paths, np.int64)
        self.times = np.zeros(paths, np.int64)


class Columns(NamedTuple):
    """What paths came to; a value for each path, or of `balances` a row for each that is kept."""

    lowest_balance: Ints
    time_without_credit: Ints
    recharges: Ints
    refused: Ints
    usage_refused: Ints
    forfeited: Ints
    idle_average: Ints
    balances: Ints


class Paths:
    """Balances under way.

    `advance` to the time of each step, `consume` its usage, `advance` to the end; then `figures`.
    """

    def __init__(
        self,
        policy: RechargePolicy | None,
        given: Circumstances,
        calendar: Calendar,
        mixed_seeds: NDArray[np.uint64],
        usage_most: int,
        keep: tuple[int, int],
    ) -> None:
        count, opening = len(mixed_seeds), given.opening._billionths
        terms, limit = given.terms, given.terms.overdraft_limit
        self._policy = policy
        self._terms = terms
        self._calendar = calendar
        self._delay = given.charge_delay // _MOMENT
        self._grace = terms.late_usage_grace // _MOMENT
        self._overdraft = None if limit is None else min(limit._billionths, _NEVER)
        self._clear = -_NEVER if policy is None else policy.threshold.clear_from
        self._watch = max(self._clear, 1)
        self._seeds = mixed_seeds
        self._declines = fractions_below(given.decline_probability)
        self._counts = [] if policy is None else [_Count(limit, count) for limit in policy.limits]
        self._retries = () if policy is None else tuple(delay // _MOMENT for delay in policy.retry.delays)
        self._instants: list[int] = []
        self._due: dict[int, _Due] = {}

        self._level = np.full(count, opening)
        self._funded = np.full(count, opening)
        self._peak = opening
        self._usage_most = usage_most
        self._busy = np.zeros(count, bool)  # a charge is going on
        self._charges = np.zeros(count, np.uint64)  # so many were made
        self._attempts = np.zeros(count, np.int64)  # declines since the last payment
        self._next_try = np.full(count, calendar.start)  # no charge before
        self._wakes_at = np.zeros(count, np.int64)

        self._lowest = self._level.copy()
        self._without = np.zeros(count, np.int64)
        self._idle = np.zeros(count, np.int64)  # balances above zero, times the steps that they lasted
        self._idle_more = np.zeros(count)  # the same, moved here before it overflows, and of parts of steps
        self._idle_most = 0
        self._recharges = np.zeros(count, np.int64)
        self._refused = np.zeros(count, np.int64)
        self._usage_refused = np.zeros(count, np.int64)
        self._forfeited = np.zeros(count, np.int64)
        self._kept = np.zeros(keep, np.int64)
        self._steps = 0

        everyone = np.arange(count)
        self._expire_later(everyone, self._funded.copy(), calendar.start)
        self._recharge(everyone, calendar.start, 0)

    def advance(self, until: int) -> None:
        """Let happen what falls due until then, which is the time of the next step or the end."""
        while self._instants and self._instants[0] <= until:
            at = heappop(self._instants)
            self._happen(at, self._due.pop(at), until - at)

    def consume(self, at: int, costs: Ints) -> None:
        """Let the usage of a step happen, and what it causes at once."""
        level = self._level
        level -= costs
        low = np.flatnonzero(level < self._watch)
        if low.size and self._overdraft is not None:
            beyond = low[level[low] < -self._overdraft]
            if beyond.size:
                self._refuse(beyond, costs[beyond], at)
        np.minimum(self._lowest, level, out=self._lowest)
        if low.size:
            self._recharge(low, at, 0)
            empty = low[level[low] <= 0]
            self._without[empty] += self._calendar.step
            self._idle[empty] -= level[empty]
        self._idle += level
        self._idle_most += max(self._peak, self._usage_most)
        if self._idle_most > _NEVER:
            self._idle_more += self._idle
            self._idle[:] = self._idle_most = 0
        keep = len(self._kept)
        if keep:
            self._kept[:, self._steps] = level[:keep]
        self._steps += 1

    def figures(self) -> Columns:
        """What it came to."""
        idle = np.rint((self._idle + self._idle_more) / self._steps).astype(np.int64)
        return Columns(
            self._lowest,
            self._without,
            self._recharges,
            self._refused,
            self._usage_refused,
            self._forfeited,
            idle,
            self._kept,
        )

    def _at(self, at: int) -> _Due:
        due = self._due.get(at)
        if due is None:
            due = self._due[at] = _Due()
            heappush(self._instants, at)
        return due

    def _happen(self, at: int, due: _Due, rest: int) -> None:
        """Let happen what falls due at one instant; `rest` of the step is left after it.

        Expiries come before payments, and whether to recharge is decided on what both have left.
        """
        hit = [self._expire(paths, funded, at, rest) for paths, funded in due.expiries]
        for paths, amounts, declined in due.outcomes:
            self._end_charges(paths, amounts, declined, at, rest)
        for paths in hit:
            self._lowest[paths] = np.minimum(self._lowest[paths], self._level[paths])
        for paths in (*hit, *(paths for paths, _, _ in due.outcomes), *due.wakes):
            self._recharge(paths, at, rest)

    def _expire(self, paths: Ints, funded: Ints, at: int, rest: int) -> Ints:
        """Forfeit what is left of all that had been funded up to some lots; the paths where that was anything."""
        left = funded - self._funded[paths] + self._level[paths]
        hit = left > 0
        paths, left = paths[hit], left[hit]
        if paths.size:
            self._move(paths, -left, rest)
            if at + self._grace <= self._calendar.end:  # until then late usage may still burn them
                self._forfeited[paths] += left
        return paths

    def _move(self, paths: Ints, amounts: Ints, rest: int) -> None:
        """Change balances, for the `rest` of the step too."""
        before = self._level[paths]
        now = before + amounts
        self._level[paths] = now
        if rest:
            self._idle_more[paths] += (np.maximum(now, 0) - np.maximum(before, 0)) * (rest / self._calendar.step)
            self._without[paths] += ((now <= 0).astype(np.int64) - (before <= 0)) * rest

    def _fund(self, paths: Ints, amounts: Ints, at: int, rest: int) -> None:
        funded = self._funded[paths] + amounts
        self._peak = max(self._peak, int(funded.max()))
        if self._peak > 2 * MOST:
            money = _of(self._peak, self._terms.currency)
            raise InvalidValueError("policies", self._policy, f"fund {money}, more than 64 bits of billionths can hold")
        self._funded[paths] = funded
        self._move(paths, amounts, rest)
        self._expire_later(paths, funded, at)

    def _expire_later(self, paths: Ints, funded: Ints, at: int) -> None:
        expires_at = self._calendar.expiry(at)
        if expires_at <= self._calendar.end:
            self._at(expires_at).expiries.append((paths, funded))

    def _refuse(self, paths: Ints, costs: Ints, at: int) -> None:
        """Undo usage that the funds do not cover."""
        self._level[paths] += costs
        self._refused[paths] += 1
        self._usage_refused[paths] += costs
        if self._policy is not None and self._policy.recharge_when_refused:
            self._recharge(paths, at, 0, refused=costs)

    def _recharge(self, paths: Ints, at: int, rest: int, refused: Ints | None = None) -> None:
        """Charge where a recharge is due, as if what was refused had been consumed."""
        if self._policy is None:
            return
        for _ in range(CHARGES_AT_ONCE_MAX + 1):
            balances = self._level[paths] if refused is None else self._level[paths] - refused
            due = (balances < self._clear) & ~self._busy[paths]
            if self._declines:
                due &= self._next_try[paths] <= at
            paths = paths[due]
            if not paths.size:
                return
            paths, amounts = self._within_limits(paths, self._sizes(self._policy, balances[due]), at)
            declined = self._declined(paths) if self._declines else None
            if self._delay:
                self._busy[paths] = True
                if at + self._delay <= self._calendar.end:
                    self._at(at + self._delay).outcomes.append((paths, amounts, declined))
                return
            self._end_charges(paths, amounts, declined, at, rest)
            refused = None
        raise InvalidValueError("policy", self._policy, f"asks for over {CHARGES_AT_ONCE_MAX} charges at once")

    def _sizes(self, policy: RechargePolicy, balances: Ints) -> Ints:
        """How much to charge at balances below the threshold, as `commcredits.recharge` has it."""
        if policy.amount is not None and not policy.in_multiples:
            return np.full(balances.size, policy.amount._billionths)
        if policy.amount is not None:
            sizes = _whole(self._clear - balances, policy.amount._billionths)
        else:
            sizes = policy.recharge_to._billionths - balances  # type: ignore[union-attr]  # one of the two is set
        least, step = self._terms.minimum_purchase, self._terms.purchase_step
        if least is not None:
            sizes = np.maximum(sizes, least._billionths)
        return _whole(sizes, 10 ** (9 - minor_digits(self._terms.currency)) if step is None else step._billionths)

    def _declined(self, paths: Ints) -> NDArray[np.bool_]:
        """Whether the next charge of each path is declined."""
        declined = chances_below(self._seeds[paths], self._charges[paths], self._declines)
        self._charges[paths] += np.uint64(1)
        return declined

    def _end_charges(self, paths: Ints, amounts: Ints, declined: NDArray[np.bool_] | None, at: int, rest: int) -> None:
        self._busy[paths] = False
        if declined is not None:
            if declined.any():
                self._decline(paths[declined], amounts[declined], at)
            paths, amounts = paths[~declined], amounts[~declined]
            self._attempts[paths] = 0
        if paths.size:
            self._recharges[paths] += 1
            self._fund(paths, amounts, at, rest)

    def _decline(self, paths: Ints, amounts: Ints, at: int) -> None:
        """Wait before the next attempt, or give up after the last; what was declined counts in no limit."""
        for count in self._counts:
            count.times[paths] -= 1
            count.amount[paths] -= amounts
        attempts = self._attempts[paths] + 1
        self._attempts[paths] = attempts
        self._next_try[paths] = _NEVER
        for number, delay in enumerate(self._retries, 1):
            again = paths[attempts == number]
            if again.size:
                self._next_try[again] = at + delay
                if at + delay <= self._calendar.end:
                    self._at(at + delay).wakes.append(again)

    def _within_limits(self, paths: Ints, amounts: Ints, at: int) -> tuple[Ints, Ints]:
        """The charges that no limit forbids, counted; the others are decided anew when the windows have ended."""
        if not self._counts:
            return paths, amounts
        until = np.zeros(paths.size, np.int64)
        windows = [self._calendar.window(count.limit.per, at) for count in self._counts]
        for count, (number, ends_at) in zip(self._counts, windows, strict=True):
            over = paths[count.window[paths] != number]
            count.window[over] = number
            count.times[over] = count.amount[over] = 0
            reached = (count.times[paths] >= count.times_most) | (count.amount[paths] + amounts > count.most)
            until[reached] = ends_at  # of one of them: another is met again then
        free = until == 0
        for ends_at in {ends_at for _, ends_at in windows if ends_at <= self._calendar.end}:
            waiting = paths[until == ends_at]
            waiting = waiting[self._wakes_at[waiting] != ends_at]
            if waiting.size:
                self._wakes_at[waiting] = ends_at
                self._at(ends_at).wakes.append(waiting)
        paths, amounts = paths[free], amounts[free]
        for count in self._counts:
            count.times[paths] += 1
            count.amount[paths] += amounts
        return paths, amounts


def _whole(sizes: Ints, step: int) -> Ints:
    """The sizes raised to whole steps."""
    whole: Any = -(-sizes // step) * step
    return whole  # type: ignore[no-any-return]


@attrs.frozen(order=False, eq=False)
class Block:
    """Some paths of a simulation, for one worker to work out.

    `demand` is a row of billionths for each of them, or what samples those of number `first` and after.
    """

    demand: Ints | Demand
    policies: tuple[RechargePolicy | None, ...]
    first: int
    paths: int
    days: int
    start: datetime
    step: timedelta
    given: Circumstances
    keep: int

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return timedelta(self.days) // self.step


def run(block: Block, report: Report | None = None) -> list[Columns]:
    """What the paths of a block come to, for each policy."""
    usage, most = _usage(block)
    given, steps = block.given, block.steps
    calendar = Calendar(given.terms, block.start, block.step, steps)
    firsts = np.uint64((given.seed + block.first) % 2**64)
    seeds = mixed(firsts + np.arange(block.paths, dtype=np.uint64))
    keep = (min(block.keep, block.paths), steps)
    under_way = [Paths(policy, given, calendar, seeds, most, keep) for policy in block.policies]
    for number in range(0, steps, _STEPS_AT_ONCE):
        rows = np.ascontiguousarray(usage[:, number : number + _STEPS_AT_ONCE].T)
        for paths in under_way:
            at = calendar.start + number * calendar.step
            for costs in rows:
                paths.advance(at)
                paths.consume(at, costs)
                at += calendar.step
        if report is not None:
            report(block.paths * (number + len(rows)), block.paths * steps)
    for paths in under_way:
        paths.advance(calendar.end)
    return [paths.figures() for paths in under_way]


def _usage(block: Block) -> tuple[Ints, int]:
    """The usage of a block's paths, and the most that one of them comes to."""
    usage: Any = block.demand
    if not isinstance(usage, np.ndarray):
        usage = usage.sample(
            block.paths, block.days, block.given.seed, step=block.step, start=block.start, first=block.first
        )
    if usage.min() < 0:
        raise InvalidValueError("demand", int(usage.min()), "a cost must not be below zero")
    # The bound in whole numbers first, which holds in nearly all cases and takes no sum.
    most = int(usage.max()) * block.steps
    if most > MOST:
        most = int(usage.sum(axis=1, dtype=np.float64).max())
    if most > MOST:
        money = _of(most, block.given.terms.currency)
        raise InvalidValueError("demand", money, f"usage of a path beyond {MOST // BILLION} does not fit into 64 bits")
    return usage, most
