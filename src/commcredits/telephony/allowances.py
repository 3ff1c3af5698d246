"""Allowances: the minutes that licences include in a calendar month, and how calls use them up.

An `Allowance` is one pool of minutes, an `AllowanceState` how far all pools of a customer are used. Both are values:
to use minutes makes a new state. Months are those of the allowance's time zone, and a call counts in the month in which
it began, however late it is reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import attrs

from commcredits.command import check_name, check_text
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony.calls import CallRecord
from commcredits.telephony.numbers import country_of
from commcredits.telephony.plans import PAY_PER_MINUTE, CallingPlan, DialOutPlan, MinuteKind, pool_country
from commcredits.telephony.rates import check_seconds
from commcredits.telephony.subscribers import Subscriber
from commcredits.times import utc, window, zone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Crossing = Literal["whole", "split"]

_SECOND = timedelta(seconds=1)
_LICENCES_MAX = 10_000_000
_INCREMENT_MAX = 3_600


def _names(values: Iterable[str] | None) -> frozenset[str] | None:
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise WrongTypeError("users", values, "users' ids, or None")
    return frozenset(check_name("users", value) for value in values)


def _percents(values: Iterable[int]) -> tuple[int, ...]:
    if not isinstance(values, Iterable):
        raise WrongTypeError("alerts_at_percent", values, "whole numbers")
    percents = tuple(values)
    for percent in percents:
        if not isinstance(percent, int) or isinstance(percent, bool):
            raise WrongTypeError("alerts_at_percent", percent, "a whole number")
        if not 0 < percent <= 100:
            raise InvalidValueError("alerts_at_percent", percent, "not from 1 to 100")
    return tuple(sorted(set(percents)))


def _licences(allowance: Allowance) -> int:
    return 1 if allowance.users is None else len(allowance.users)


def _name(allowance: Allowance) -> str:
    return getattr(allowance.plan, "code", "none")


@attrs.frozen(order=False, kw_only=True)
class Allowance:
    """One pool of included minutes, anew in every calendar month: a plan, and who has it.

    - `plan`: a `CallingPlan` or a `DialOutPlan`.
    - `users`: whose calls it covers; None: everybody's.
    - `licences`: how many add their minutes to the pool; by default one for each user. Where a plan is not pooled every
      user has the minutes of one licence.
    - `name`: of the pool, by which its used minutes are kept; by default the plan's code.
    - `time_zone`: whose months; an IANA name.
    - `crossing`: of a call that the minutes left do not cover, `whole` covers nothing (as in Microsoft's reports, whose
      rows have one capability each), and a call that goes on into the next month counts in the month in which it began.
      `split` covers as much as is left, and counts what lies in each month as a call of its own.
    - `increment_seconds`: calls use minutes in whole increments, begun ones included. 60: minutes, as Microsoft counts.
    - `alerts_at_percent`: at how much used there is an alert.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """

    plan: CallingPlan | DialOutPlan
    users: frozenset[str] | None = attrs.field(default=None, converter=_names)
    licences: int = attrs.field(default=attrs.Factory(_licences, takes_self=True))
    name: str = attrs.field(default=attrs.Factory(_name, takes_self=True))
    time_zone: str = "UTC"
    crossing: Crossing = "whole"
    increment_seconds: int = 60
    alerts_at_percent: tuple[int, ...] = attrs.field(default=(80, 100), converter=_percents)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.plan, CallingPlan | DialOutPlan):
            raise WrongTypeError("plan", self.plan, "a CallingPlan or a DialOutPlan")
        check_name("name", self.name)
        zone(self.time_zone)
        _check_count("licences", self.licences, _LICENCES_MAX, least=0)
        _check_count("increment_seconds", self.increment_seconds, _INCREMENT_MAX)
        if self.crossing not in get_args(Crossing):
            raise InvalidValueError("crossing", self.crossing, 'must be "whole" or "split"')
        if not self.plan.is_pooled and self.users is None:
            raise InvalidValueError("users", None, f"{self.plan.code} is not pooled, so it must be known whose it is")

    @classmethod
    def pools(
        cls,
        subscribers: Iterable[Subscriber],
        *,
        time_zone: str = "UTC",
        crossing: Crossing = "whole",
        increment_seconds: int = 60,
        alerts_at_percent: Iterable[int] = (80, 100),
    ) -> tuple[Allowance, ...]:
        """The pools that these users have: one for each country and identical Calling Plan, one for all conferences.

        The US and Puerto Rico are one country here. Pools are named by the plan's code and the country, such as
        `MCOPSTN1 US`; dial-out pools by the code alone. Plans without minutes have none.

        Raises: WrongTypeError; InvalidValueError for a user who comes twice, or two plans of the same code that differ
        in one country. Nothing was made.
        """
        if not isinstance(subscribers, Iterable):
            raise WrongTypeError("subscribers", subscribers, "Subscribers")
        members: dict[tuple[CallingPlan | DialOutPlan, str], set[str]] = defaultdict(set)
        seen: set[str] = set()
        for subscriber in subscribers:
            if not isinstance(subscriber, Subscriber):
                raise WrongTypeError("subscribers", subscriber, "Subscribers")
            if subscriber.user_id in seen:
                raise InvalidValueError("subscribers", subscriber.user_id, "comes twice")
            seen.add(subscriber.user_id)
            if subscriber.calling_plan is not None:
                members[subscriber.calling_plan, pool_country(subscriber.country)].add(subscriber.user_id)
            if subscriber.audio_conferencing is not None:
                members[subscriber.audio_conferencing, ""].add(subscriber.user_id)
        allowances = tuple(
            cls(
                plan=plan,
                users=users,
                name=f"{plan.code} {country}".rstrip(),
                time_zone=time_zone,
                crossing=crossing,
                increment_seconds=increment_seconds,
                alerts_at_percent=alerts_at_percent,
            )
            for (plan, country), users in members.items()
            if plan.minutes
        )
        _Index.of(allowances)
        return allowances

    def limit_seconds(self, kind: MinuteKind) -> int:
        """How many seconds of a kind there are in a month: in the pool, or where there is none, for each user.

        Raises: WrongTypeError.
        """
        check_text("kind", kind)
        minutes = self.plan.minutes.get(kind, 0)
        return minutes * 60 * (self.licences if self.plan.is_pooled else 1)


class Counter(NamedTuple):
    """What seconds are counted by: an allowance, a month such as "2026-03", the kind of minutes, and whose they are.

    `user_id` is empty where minutes are pooled.
    """

    allowance: str
    month: str
    kind: MinuteKind
    user_id: str = ""


class AllowanceUse(NamedTuple):
    """What a call used: the state after it, and how many seconds of the call are covered and how many are left."""

    state: AllowanceState
    seconds_covered: int
    seconds_left: int


class Coverage(NamedTuple):
    """What would cover a call: the allowance that is for it (None: there is none), and for how many seconds."""

    allowance: Allowance | None
    seconds: int


@attrs.frozen(order=False)
class AllowanceAlert:
    """So much of an allowance is used up: at least `percent` of what the counter may come to."""

    counter: Counter
    percent: int


@attrs.frozen(order=False)
class MinutesUsed:
    """A line of the minute pools' report: what a counter may come to, and what is used of it, in seconds."""

    counter: Counter
    total_seconds: int
    used_seconds: int

    @property
    def left_seconds(self) -> int:
        """What is not used; never below zero, though licences may have been taken away."""
        return max(0, self.total_seconds - self.used_seconds)


class AllowanceState:
    """How far the allowances of one customer are used: a value that never changes.

    A call is covered by the one allowance that is for its user and that kind of call. `used` are the seconds used so
    far, by `Counter`, as an earlier state had them; so a state can be stored, and put under next month's allowances.

    Raises: WrongTypeError; InvalidValueError for two allowances of one name, or for the same calls of one user, or
    seconds below zero. Nothing was made.
    """

    __slots__ = ("_index", "_used")

    def __init__(self, allowances: Iterable[Allowance] = (), used: Mapping[Counter, int] | None = None) -> None:
        if not isinstance(allowances, Iterable):
            raise WrongTypeError("allowances", allowances, "Allowances")
        if not isinstance(used, Mapping | None):
            raise WrongTypeError("used", used, "a mapping of Counters to seconds")
        self._index = _Index.of(tuple(allowances))
        self._used = dict(_checked_used(used or {}))

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """The pools."""
        return self._index.allowances

    @property
    def used(self) -> Mapping[Counter, int]:
        """The seconds used, by counter; read-only."""
        return MappingProxyType(self._used)

    def use(self, call: CallRecord) -> AllowanceUse:
        """Cover a call as far as an allowance covers it: the state after it, seconds covered, seconds left.

        The two add up to the call's length. A call of no length, one under pay-per-minute conferencing, and one that no
        allowance is for, change nothing.
        Where the report does not say Domestic or International the destination's country decides, which is that of the
        report, if it has one, else that of the number. The second, and a conference's pool, need the extra `telephony`.

        Raises: WrongTypeError; InvalidValueError for what is no number. The state is as it was.
        """
        if not isinstance(call, CallRecord):
            raise WrongTypeError("call", call, "a CallRecord")
        duration = call.duration_seconds
        if not duration or call.capability.upper().startswith(PAY_PER_MINUTE):
            return AllowanceUse(self, 0, duration)
        found = self._index.find(
            call.user_id,
            call.call_type,
            call.callee_number,
            home=call.usage_country,
            context=call.destination_context,
            country=partial(_destination_country, call),
        )
        if found is None:
            return AllowanceUse(self, 0, duration)
        allowance, kind, user_id = found
        used, covered = self._used, 0
        for month, seconds in _months(allowance, call.started_at, duration):
            counter = Counter(allowance.name, month, kind, user_id)
            payable = min(seconds, self._payable(allowance, counter, used))
            if payable < seconds and allowance.crossing == "whole":
                continue
            if payable:
                used = used | {counter: used.get(counter, 0) + _in_increments(payable, allowance.increment_seconds)}
                covered += payable
        return AllowanceUse(self._with(used), covered, duration - covered)

    def coverage(
        self,
        subscriber: Subscriber,
        call_type: str,
        number: str,
        *,
        at: datetime,
        context: str = "",
        country: str = "",
        at_most_seconds: int = 86_400,
    ) -> Coverage:
        """How long a call to a number that begins at `at` may last, up to `at_most_seconds`, and be covered whole.

        `context`, `Domestic` or `International`, and `country`, which is dialled, are worked out if they are not told.

        Raises: as `use`.
        """
        if not isinstance(subscriber, Subscriber):
            raise WrongTypeError("subscriber", subscriber, "a Subscriber")
        for parameter, text in (("call_type", call_type), ("context", context), ("country", country)):
            check_text(parameter, text)
        check_seconds("at_most_seconds", at_most_seconds)
        found = self._index.find(
            subscriber.user_id,
            call_type,
            number,
            home=subscriber.country,
            context=context,
            country=lambda: country or country_of(number),
        )
        if found is None:
            return Coverage(None, 0)
        allowance, kind, user_id = found
        longest = 0
        for month, seconds in _months(allowance, utc(at, "at"), at_most_seconds):
            payable = min(seconds, self._payable(allowance, Counter(allowance.name, month, kind, user_id), self._used))
            longest += payable
            if payable < seconds:
                break
        return Coverage(allowance, longest)

    def minutes(self, at: datetime) -> tuple[MinutesUsed, ...]:
        """What each counter may come to in the month of `at`, and what is used of it, in the allowances' order."""
        at = utc(at, "at")
        lines = []
        for allowance in self.allowances:
            month, _ = _month(at, allowance.time_zone)
            for kind in allowance.plan.minutes:
                total = allowance.limit_seconds(kind)
                users = [""] if allowance.plan.is_pooled else sorted(allowance.users or ())
                counters = [Counter(allowance.name, month, kind, user_id) for user_id in users]
                lines += [MinutesUsed(counter, total, self._used.get(counter, 0)) for counter in counters]
        return tuple(lines)

    @property
    def alerts(self) -> tuple[AllowanceAlert, ...]:
        """All alerts until now, of every month; the new ones are those that an earlier state does not have."""
        found = []
        for counter, used in self._used.items():
            allowance = self._index.by_name.get(counter.allowance)
            total = 0 if allowance is None else allowance.limit_seconds(counter.kind)
            if allowance is not None and total:
                reached = [percent for percent in allowance.alerts_at_percent if used * 100 >= total * percent]
                found += [AllowanceAlert(counter, percent) for percent in reached]
        return tuple(found)

    def _payable(self, allowance: Allowance, counter: Counter, used: Mapping[Counter, int]) -> int:
        """How many seconds of a call a counter still covers: what is left of it, in whole increments."""
        left = {
            kind: allowance.limit_seconds(kind) - used.get(counter._replace(kind=kind), 0)
            for kind in allowance.plan.minutes
        }
        if allowance.plan.exhaustion == "joint" and min(left.values()) <= 0:
            return 0
        return max(0, left[counter.kind]) // allowance.increment_seconds * allowance.increment_seconds

    def _with(self, used: dict[Counter, int]) -> AllowanceState:
        state = object.__new__(AllowanceState)
        state._index, state._used = self._index, used
        return state

    def __reduce__(self) -> tuple[object, ...]:
        return AllowanceState, (self.allowances, self._used)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AllowanceState):
            return NotImplemented
        return self.allowances == other.allowances and self._used == other._used

    def __hash__(self) -> int:
        return hash((self.allowances, frozenset(self._used.items())))

    def __repr__(self) -> str:
        return f"AllowanceState({self.allowances!r}, {self._used!r})"


_Found = tuple[Allowance, MinuteKind, str]


@attrs.frozen(eq=False)
class _Index:
    """Which allowances there are for whom; all states of one customer share it."""

    allowances: tuple[Allowance, ...]
    by_name: Mapping[str, Allowance]
    by_user: Mapping[str, tuple[Allowance, ...]]
    for_all: tuple[Allowance, ...]

    @classmethod
    def of(cls, allowances: tuple[Allowance, ...]) -> _Index:
        by_name: dict[str, Allowance] = {}
        by_user: dict[str, tuple[Allowance, ...]] = defaultdict(tuple)
        for_all: tuple[Allowance, ...] = ()
        for allowance in allowances:
            if not isinstance(allowance, Allowance):
                raise WrongTypeError("allowances", allowance, "Allowances")
            if allowance.name in by_name:
                raise InvalidValueError("allowances", allowance.name, "the name of two; each pool needs its own")
            by_name[allowance.name] = allowance
            if allowance.users is None:
                _check_apart(allowance, allowances)
                for_all += (allowance,)
            for user_id in allowance.users or ():
                _check_apart(allowance, by_user[user_id])
                by_user[user_id] += (allowance,)
        return cls(allowances, by_name, dict(by_user), for_all)

    def find(
        self, user_id: str, call_type: str, number: str, *, home: str, context: str, country: Callable[[], str]
    ) -> _Found | None:
        """The allowance for a call, the kind of its minutes, and whose they are (empty: the pool's)."""
        for allowance in (*self.by_user.get(user_id, ()), *self.for_all):
            kind = allowance.plan.kind_of(call_type, number, home=home, context=context, country=country)
            if kind is not None:
                return allowance, kind, "" if allowance.plan.is_pooled else user_id
        return None


def _check_apart(allowance: Allowance, others: Iterable[Allowance]) -> None:
    """Refuse two allowances for the same calls of one user: which one covers them would be a matter of chance."""
    for other in others:
        if other is not allowance and type(other.plan) is type(allowance.plan):
            raise InvalidValueError("allowances", allowance.name, f"for the same calls of a user as {other.name!r}")


def _checked_used(used: Mapping[Counter, int]) -> Iterator[tuple[Counter, int]]:
    for key, seconds in used.items():
        if not isinstance(key, tuple) or len(key) != len(Counter._fields):
            raise WrongTypeError("used", key, "a Counter")
        if not isinstance(seconds, int) or isinstance(seconds, bool):
            raise WrongTypeError("used", seconds, "a whole number of seconds")
        if seconds < 0:
            raise InvalidValueError("used", seconds, "below zero")
        yield Counter(*key), seconds


def _check_count(parameter: str, value: object, at_most: int, *, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongTypeError(parameter, value, "a whole number")
    if not least <= value <= at_most:
        raise InvalidValueError(parameter, value, f"not from {least} to {at_most}")


def _in_increments(seconds: int, increment: int) -> int:
    return -(-seconds // increment) * increment


def _destination_country(call: CallRecord) -> str:
    """The country that was dialled, as the report says or else as the number does."""
    for column in ("External Country", "otherPartyCountryCode"):
        told = call.extra.get(column)
        if isinstance(told, str) and len(told) == 2:
            return told.upper()
    return country_of(call.callee_number)


def _months(allowance: Allowance, started_at: datetime, duration: int) -> Iterator[tuple[str, int]]:
    """The months in which a call counts, and how many of its seconds in each.

    A second belongs to the month in which it begins.
    """
    month, ends_at = _month(started_at, allowance.time_zone)
    while allowance.crossing == "split" and started_at + timedelta(seconds=duration) > ends_at:
        seconds = -((started_at - ends_at) // _SECOND)
        yield month, min(seconds, duration)
        started_at += timedelta(seconds=seconds)
        duration -= min(seconds, duration)
        month, ends_at = _month(started_at, allowance.time_zone)
    if duration:
        yield month, duration


def _month(at: datetime, time_zone: str) -> tuple[str, datetime]:
    """The calendar month of an instant in a time zone, and when it ends."""
    local = at.astimezone(zone(time_zone))
    month, ends_at = _named_month(local.year, local.month, time_zone)
    # Where clocks go back over midnight on the first of a month, the wall shows the old month again.
    return (month, ends_at) if at < ends_at else _month(ends_at, time_zone)


@lru_cache(maxsize=256)
def _named_month(year: int, month: int, time_zone: str) -> tuple[str, datetime]:
    middle = datetime(year, month, 15, tzinfo=zone(time_zone))
    _, ends_at = window(middle, "month", time_zone)
    return f"{year:04}-{month:02}", ends_at
