"""Rules of allowances: whose minutes cover a call, how many, and in which month."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.telephony import (
    Allowance,
    AllowanceAlert,
    AllowanceState,
    CallingPlan,
    CallRecord,
    Counter,
    DialOutPlan,
    MinutesUsed,
    Subscriber,
)

MARCH = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
END_OF_MARCH = datetime(2026, 4, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TEN = CallingPlan("TEN", 10, 5)


def call(
    seconds: int, *, at: datetime = MARCH, user: str = "amy", context: str = "Domestic", **more: Any
) -> CallRecord:
    fields: dict[str, Any] = {"call_type": "user_out", "callee_number": "+12065550188", "usage_country": "US"}
    return CallRecord(
        record_id="1",
        started_at=at,
        duration_seconds=seconds,
        charge=Money.zero("USD"),
        user_id=user,
        destination_context=context,
        **fields | more,
    )


def dial_out(seconds: int, *, country: str = "FR", **more: Any) -> CallRecord:
    extra = {"External Country": country}
    return call(seconds, context="", call_type="conf_out", callee_number="+33199001234", extra=extra, **more)


def one(plan: CallingPlan | DialOutPlan = TEN, users: Any = ("amy", "ben"), **choices: Any) -> AllowanceState:
    return AllowanceState([Allowance(plan=plan, users=users, **choices)])


def after(state: AllowanceState, *calls: CallRecord) -> tuple[AllowanceState, list[tuple[int, int]]]:
    """The state after all these calls, and what was covered and left of each."""
    came_to = []
    for record in calls:
        state, covered, left = state.use(record)
        came_to.append((covered, left))
    return state, came_to


def used(state: AllowanceState) -> list[int]:
    return list(state.used.values())


# --- who shares what


def test_users_of_one_plan_share_the_minutes_of_all_their_licences() -> None:
    state, came_to = after(one(), call(900), call(300, user="ben"), call(60))
    assert came_to == [(900, 0), (300, 0), (0, 60)]
    assert dict(state.used) == {Counter("TEN", "2026-03", "domestic"): 1_200}


def test_minutes_that_are_not_pooled_are_each_users_own() -> None:
    state, came_to = after(one(CallingPlan("OWN", 2, is_pooled=False)), call(120), call(1), call(60, user="ben"))
    assert came_to == [(120, 0), (0, 1), (60, 0)]
    assert dict(state.used) == {
        Counter("OWN", "2026-03", "domestic", "amy"): 120,
        Counter("OWN", "2026-03", "domestic", "ben"): 60,
    }


def test_users_of_other_plans_and_calls_in_are_not_covered() -> None:
    assert after(one(), call(60, user="cat"), call(60, call_type="user_in"), call(60, user=""))[1] == [(0, 60)] * 3


def test_an_allowance_may_be_for_everybody() -> None:
    state = one(users=None, licences=3)
    assert after(state, call(1_800, user="anyone"))[1] == [(1_800, 0)]
    assert state.allowances[0].limit_seconds("domestic") == 1_800


def test_the_pool_of_conferences_is_sixty_minutes_for_each_licence() -> None:
    state = one(DialOutPlan(), None, licences=115)
    assert state.minutes(MARCH)[0].total_seconds == 6_900 * 60
    state, came_to = after(state, dial_out(6_899 * 60), dial_out(61), dial_out(60, user="ben"))
    assert came_to == [(6_899 * 60, 0), (0, 61), (60, 0)]


def test_the_pool_of_conferences_is_for_its_zone() -> None:
    state = one(DialOutPlan())
    assert after(state, dial_out(60, country="ZW"), dial_out(60, country="fr"))[1] == [(0, 60), (60, 0)]
    told_by_graph = dial_out(60, country="no country")
    told_by_graph = attrs.evolve(told_by_graph, extra={"otherPartyCountryCode": "FR"})
    assert state.use(told_by_graph)[1:] == (60, 0)


def test_without_a_word_of_the_report_the_number_tells_the_country() -> None:
    state = one(DialOutPlan())
    in_france, in_zimbabwe = (
        attrs.evolve(dial_out(60), extra={}, callee_number=number) for number in ("+33142685300", "+263242700123")
    )
    assert after(state, in_france, in_zimbabwe)[1] == [(60, 0), (0, 60)]


def test_a_user_may_have_a_calling_plan_and_conferences() -> None:
    state = AllowanceState([Allowance(plan=TEN, users=["amy"]), Allowance(plan=DialOutPlan(), users=["amy"])])
    state, came_to = after(state, call(60), dial_out(120))
    assert came_to == [(60, 0), (120, 0)]
    assert dict(state.used) == {
        Counter("TEN", "2026-03", "domestic"): 60,
        Counter("MCOMEETADD", "2026-03", "dial_out"): 120,
    }


@pytest.mark.parametrize("capability", ["MCOMEETACPEA", "mcomeetacpea_gov"])
def test_no_pool_covers_pay_per_minute_conferencing(capability: str) -> None:
    assert one(DialOutPlan(), None).use(dial_out(60, capability=capability))[1:] == (0, 60)


def subscriber(user_id: str, country: str, **licences: Any) -> Subscriber:
    return Subscriber(user_id=user_id, country=country, **licences)


def test_users_of_the_same_country_and_plan_are_in_one_pool() -> None:
    us, gb = CallingPlan.microsoft_teams("MCOPSTN1", "US"), CallingPlan.microsoft_teams("MCOPSTN1", "GB")
    pools = Allowance.pools(
        [
            subscriber("amy", "US", calling_plan=us, audio_conferencing=DialOutPlan()),
            subscriber("ben", "PR", calling_plan=us),
            subscriber("cat", "GB", calling_plan=gb, audio_conferencing=DialOutPlan()),
            subscriber("dan", "US", calling_plan=CallingPlan.microsoft_teams("MCOPSTN2", "US")),
            subscriber("eve", "US", calling_plan=CallingPlan.pay_as_you_go()),
            subscriber("fay", "US"),
        ],
        time_zone="Europe/Berlin",
        crossing="split",
        increment_seconds=6,
        alerts_at_percent=[50],
    )
    assert {pool.name: (pool.users, pool.licences) for pool in pools} == {
        "MCOPSTN1 US": ({"amy", "ben"}, 2),
        "MCOMEETADD": ({"amy", "cat"}, 2),
        "MCOPSTN1 GB": ({"cat"}, 1),
        "MCOPSTN2 US": ({"dan"}, 1),
    }
    assert {(p.time_zone, p.crossing, p.increment_seconds, p.alerts_at_percent) for p in pools} == {
        ("Europe/Berlin", "split", 6, (50,))
    }
    assert pools[0].limit_seconds("domestic") == 2 * 3_000 * 60


def test_a_hundred_users_have_a_hundred_times_the_minutes() -> None:
    plan = CallingPlan.microsoft_teams("MCOPSTN1", "US")
    (pool,) = Allowance.pools(subscriber(f"user {n}", "US", calling_plan=plan) for n in range(100))
    assert pool.limit_seconds("domestic") == 300_000 * 60


def test_pools_that_cannot_be_told_apart_are_refused() -> None:
    amy = subscriber("amy", "US", calling_plan=TEN)
    with pytest.raises(InvalidValueError, match="comes twice"):
        Allowance.pools([amy, amy])
    with pytest.raises(InvalidValueError, match="'TEN US'"):
        Allowance.pools([amy, subscriber("ben", "US", calling_plan=CallingPlan("TEN", 20))])
    with pytest.raises(WrongTypeError):
        Allowance.pools(["amy"])  # type: ignore[list-item]
    with pytest.raises(WrongTypeError):
        Allowance.pools(amy)  # type: ignore[arg-type]


# --- how many minutes


@pytest.mark.parametrize(("seconds", "counted"), [(0, []), (1, [60]), (59, [60]), (60, [60]), (61, [120])])
def test_minutes_begun_are_used_whole(seconds: int, counted: list[int]) -> None:
    state, covered, left = one().use(call(seconds))
    assert (used(state), covered, left) == (counted, seconds, 0)


def test_other_increments_can_be_named() -> None:
    assert used(one(increment_seconds=1).use(call(61)).state) == [61]
    assert used(one(increment_seconds=6).use(call(61)).state) == [66]


def test_by_default_a_call_that_the_pool_does_not_cover_whole_is_not_covered_at_all() -> None:
    state, came_to = after(one(users=["amy"]), call(541), call(60), call(1))
    assert came_to == [(541, 0), (0, 60), (0, 1)]
    assert used(state) == [600]


def test_a_shorter_call_may_still_be_covered() -> None:
    assert after(one(users=["amy"]), call(500), call(61), call(60))[1] == [(500, 0), (0, 61), (60, 0)]


def test_split_covers_as_much_as_is_left() -> None:
    state, came_to = after(one(users=["amy"], crossing="split"), call(541), call(30), call(500), call(9))
    assert came_to == [(541, 0), (0, 30), (0, 500), (0, 9)]
    assert after(one(users=["amy"], crossing="split"), call(500), call(61))[1] == [(500, 0), (60, 1)]
    assert used(state) == [600]


def test_a_rest_that_is_no_whole_increment_covers_nothing() -> None:
    state = AllowanceState(
        [Allowance(plan=TEN, users=["amy"], crossing="split")], {Counter("TEN", "2026-03", "domestic"): 590}
    )
    assert state.use(call(5)) == (state, 0, 5)


def test_each_kind_has_its_own_limit() -> None:
    state = one(users=["amy"])
    calls = [call(600), call(1), call(300, context="International"), call(1, context="International")]
    assert after(state, *calls)[1] == [(600, 0), (0, 1), (300, 0), (0, 1)]


def test_joint_limits_end_together_whichever_is_reached_first() -> None:
    joint = CallingPlan("JOINT", 10, 5, exhaustion="joint")
    international = call(300, context="International")
    assert after(one(joint, ["amy"]), call(60), international, call(60))[1] == [(60, 0), (300, 0), (0, 60)]
    assert after(one(joint, ["amy"]), call(600), international)[1] == [(600, 0), (0, 300)]
    # One minute is left of each.
    almost = [call(540), call(240, context="International")]
    assert after(one(joint, ["amy"]), *almost, call(60), call(60, context="International"))[1][2:] == [(60, 0), (0, 60)]


def test_fewer_licences_than_minutes_used_leave_nothing_and_owe_nothing() -> None:
    state = one().use(call(900)).state
    fewer = AllowanceState([Allowance(plan=TEN, users=["amy"])], state.used)
    assert fewer.use(call(1))[1:] == (0, 1)
    assert fewer.minutes(MARCH)[0].left_seconds == 0


# --- in which month


def test_every_month_begins_anew() -> None:
    state, came_to = after(one(users=["amy"]), call(600, at=END_OF_MARCH - SECOND), call(600, at=END_OF_MARCH))
    assert came_to == [(600, 0), (600, 0)]
    assert [counter.month for counter in state.used] == ["2026-03", "2026-04"]


def test_a_late_call_counts_in_the_month_in_which_it_began() -> None:
    calls = [call(600, at=END_OF_MARCH), call(540, at=MARCH), call(60, at=MARCH), call(1, at=MARCH)]
    assert after(one(users=["amy"]), *calls)[1] == [(600, 0), (540, 0), (60, 0), (0, 1)]


@pytest.mark.parametrize(
    ("time_zone", "ends_at"),
    [
        ("UTC", "2026-04-01T00:00Z"),
        ("Europe/Berlin", "2026-03-31T22:00Z"),
        ("America/New_York", "2026-04-01T04:00Z"),
        ("Pacific/Apia", "2026-03-31T11:00Z"),
    ],
)
def test_months_are_those_of_the_time_zone(time_zone: str, ends_at: str) -> None:
    end = datetime.fromisoformat(ends_at)
    state = one(time_zone=time_zone).use(call(60, at=end - SECOND)).state.use(call(60, at=end)).state
    assert [counter.month for counter in state.used] == ["2026-03", "2026-04"]


def test_where_the_clock_goes_back_over_midnight_the_month_begins_only_once() -> None:
    # In St. John's the clock went from 00:01 on 1 November 2009 back to 23:01 on 31 October.
    first_midnight = datetime(2009, 11, 1, tzinfo=ZoneInfo("America/St_Johns")).astimezone(UTC)
    moments = [first_midnight + timedelta(minutes=minutes) for minutes in (-1, 0, 2, 59, 70)]
    walls = [moment.astimezone(ZoneInfo("America/St_Johns")).month for moment in moments]
    assert walls == [10, 11, 10, 10, 11]
    state = one(time_zone="America/St_Johns", crossing="split")
    for moment in moments:
        state = state.use(call(60, at=moment)).state
    assert {counter.month: seconds for counter, seconds in state.used.items()} == {"2009-10": 60, "2009-11": 240}


def test_by_default_a_call_over_the_end_of_a_month_counts_where_it_began() -> None:
    state, covered, left = one().use(call(600, at=END_OF_MARCH - SECOND))
    assert (dict(state.used), covered, left) == ({Counter("TEN", "2026-03", "domestic"): 600}, 600, 0)


def test_split_at_the_end_of_a_month_makes_two_calls_of_one() -> None:
    state, covered, left = one(crossing="split").use(call(75, at=END_OF_MARCH - 30 * SECOND))
    assert [(counter.month, seconds) for counter, seconds in state.used.items()] == [("2026-03", 60), ("2026-04", 60)]
    assert (covered, left) == (75, 0)


def test_a_second_belongs_to_the_month_in_which_it_begins() -> None:
    start = END_OF_MARCH - timedelta(milliseconds=1_500)
    state = one(crossing="split", increment_seconds=1).use(call(5, at=start)).state
    assert used(state) == [2, 3]
    assert used(one(crossing="split", increment_seconds=1).use(call(2, at=start)).state) == [2]


def test_what_one_month_does_not_cover_the_next_may() -> None:
    state = one(users=["amy"], crossing="split").use(call(600)).state
    assert state.use(call(100, at=END_OF_MARCH - 40 * SECOND))[1:] == (60, 40)


def test_months_are_counted_and_never_drift() -> None:
    days = (END_OF_MARCH - datetime(2026, 1, 31, tzinfo=UTC)).days
    state = one(users=["amy"], crossing="split").use(call(days * 86_400, at=datetime(2026, 1, 31, tzinfo=UTC))).state
    assert {counter.month: seconds for counter, seconds in state.used.items()} == dict.fromkeys(
        ["2026-01", "2026-02", "2026-03"], 600
    )


# --- the laws


def calls() -> st.SearchStrategy[CallRecord]:
    minutes = st.integers(-90_000, 90_000).map(lambda number: END_OF_MARCH + timedelta(minutes=number))
    near = st.integers(-200, 200).map(lambda number: END_OF_MARCH + number * SECOND)
    return st.builds(
        call,
        st.sampled_from([0, 1, 59, 60, 61, 120, 300, 301, 600, 1_201]),
        at=near | minutes,
        user=st.sampled_from(["amy", "ben", "cat"]),
        context=st.sampled_from(["Domestic", "International"]),
    )


def plans() -> st.SearchStrategy[CallingPlan]:
    return st.builds(
        CallingPlan,
        st.just("PLAN"),
        st.integers(0, 20),
        st.integers(0, 10),
        exhaustion=st.sampled_from(["separate", "joint"]),
        is_pooled=st.booleans(),
    )


@given(
    st.lists(calls(), max_size=12),
    plans(),
    st.sampled_from(["whole", "split"]),
    st.sampled_from([1, 6, 60]),
    st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]),
)
def test_calls_are_covered_as_a_stop_watch_and_a_tally_would_have_it(
    records: list[CallRecord], plan: CallingPlan, crossing: Any, increment: int, time_zone: str
) -> None:
    users = {"amy", "ben"}
    state = one(plan, users, crossing=crossing, increment_seconds=increment, time_zone=time_zone)
    tally: dict[tuple[str, str, str], int] = {}

    def count(record: CallRecord, month: str, seconds: int) -> int:
        """How many of the seconds in one month are covered."""
        context = record.destination_context
        included = {"Domestic": plan.domestic_minutes, "International": plan.international_minutes}
        whose = "all" if plan.is_pooled else record.user_id
        licences = len(users) if plan.is_pooled else 1
        full = {kind: minutes * 60 * licences for kind, minutes in included.items() if minutes}
        if record.user_id not in users or context not in full:
            return 0
        left = {kind: full[kind] - tally.get((whose, month, kind), 0) for kind in full}
        if plan.exhaustion == "joint" and 0 in left.values():
            return 0
        covered = 0
        while covered < seconds and increment <= left[context]:
            covered += increment
            left[context] -= increment
        covered = min(covered, seconds)
        if covered < seconds and crossing == "whole":
            return 0
        tally[whose, month, context] = full[context] - left[context]
        return covered

    for record in records:
        zone, start = ZoneInfo(time_zone), record.started_at
        months = [f"{(start + n * SECOND).astimezone(zone):%Y-%m}" for n in range(record.duration_seconds)]
        if crossing == "whole":
            months = months[:1] * len(months)
        expected = sum(count(record, month, months.count(month)) for month in dict.fromkeys(months))
        before = dict(state.used)
        new_state, covered, left = state.use(record)
        assert (covered, covered + left) == (expected, record.duration_seconds)
        assert state.used == before
        state = new_state
    assert sorted(used(state)) == sorted(seconds for seconds in tally.values() if seconds)


@given(st.lists(calls(), max_size=6), plans(), st.sampled_from(["whole", "split"]), calls())
def test_the_longest_covered_call_is_covered_whole_and_a_longer_one_is_not(
    records: list[CallRecord], plan: CallingPlan, crossing: Any, record: CallRecord
) -> None:
    state, _ = after(one(plan, crossing=crossing), *records)
    asked = Subscriber(user_id=record.user_id, country="US")
    allowance, longest = state.coverage(
        asked,
        record.call_type,
        record.callee_number,
        at=record.started_at,
        context=record.destination_context,
        at_most_seconds=1_000,
    )
    assert allowance in (None, *state.allowances)
    assert state.use(attrs.evolve(record, duration_seconds=longest))[1:] == (longest, 0)
    if longest < 1_000:
        assert state.use(attrs.evolve(record, duration_seconds=longest + 1)).seconds_left > 0


def test_what_is_covered_is_asked_by_the_countries_where_nothing_else_is_said() -> None:
    state, amy = one(users=["amy"]), Subscriber(user_id="amy", country="US")
    assert state.coverage(amy, "user_out", "+493023125042", at=MARCH) == (state.allowances[0], 300)
    assert state.coverage(amy, "user_out", "+12065550188", at=MARCH) == (state.allowances[0], 600)
    assert state.coverage(amy, "user_out", "+12065550188", at=MARCH, country="DE") == (state.allowances[0], 300)
    assert state.coverage(amy, "conf_out", "+12065550188", at=MARCH) == (None, 0)
    assert one(DialOutPlan(), None).coverage(amy, "conf_out", "+12065550188", at=MARCH).seconds == 3_600


def test_what_would_be_covered_ends_where_the_first_second_is_not() -> None:
    state = one(users=["amy"], crossing="split").use(call(540)).state
    amy = Subscriber(user_id="amy", country="US")
    asked = {"at": END_OF_MARCH - 100 * SECOND, "context": "Domestic"}
    assert state.coverage(amy, "user_out", "+12065550188", **asked).seconds == 60  # type: ignore[arg-type]
    fresh = one(users=["amy"], crossing="split")
    assert fresh.coverage(amy, "user_out", "+12065550188", **asked).seconds == 100 + 600  # type: ignore[arg-type]


# --- alerts and reports


def test_alerts_tell_of_eighty_and_of_a_hundred_percent() -> None:
    state, counter = one(users=["amy"]), Counter("TEN", "2026-03", "domestic")
    told = []
    for seconds in (420, 60, 60, 60):
        after_it = state.use(call(seconds)).state
        told.append([alert for alert in after_it.alerts if alert not in state.alerts])
        state = after_it
    assert told == [[], [AllowanceAlert(counter, 80)], [], [AllowanceAlert(counter, 100)]]


def test_one_call_may_raise_all_alerts_and_they_stay_those_of_their_month() -> None:
    state = one(users=["amy"], alerts_at_percent=[100, 50, 50]).use(call(600)).state
    assert [alert.percent for alert in state.alerts] == [50, 100]
    assert state.use(call(60, at=END_OF_MARCH)).state.alerts == state.alerts


def test_alerts_are_those_of_allowances_that_there_are() -> None:
    state = one(users=["amy"]).use(call(600)).state
    assert AllowanceState([], state.used).alerts == ()
    assert AllowanceState([Allowance(plan=TEN, licences=0)], state.used).alerts == ()


def test_the_report_of_minutes_has_a_line_for_each_pool_and_kind() -> None:
    own = Allowance(plan=CallingPlan("OWN", 2, is_pooled=False), users=["cat", "bob"])
    state = AllowanceState([Allowance(plan=TEN, users=["amy"]), own]).use(call(61)).state
    assert state.minutes(MARCH) == (
        MinutesUsed(Counter("TEN", "2026-03", "domestic"), 600, 120),
        MinutesUsed(Counter("TEN", "2026-03", "international"), 300, 0),
        MinutesUsed(Counter("OWN", "2026-03", "domestic", "bob"), 120, 0),
        MinutesUsed(Counter("OWN", "2026-03", "domestic", "cat"), 120, 0),
    )
    assert state.minutes(MARCH)[0].left_seconds == 480
    assert state.minutes(END_OF_MARCH)[0] == MinutesUsed(Counter("TEN", "2026-04", "domestic"), 600, 0)


# --- a value


def test_a_state_is_a_value() -> None:
    state, again = one(), one()
    used_once = state.use(call(60)).state
    assert state == again != used_once
    assert hash(state) == hash(again)
    assert used_once == again.use(call(60)).state
    assert state != "state"
    for same in (copy.deepcopy(used_once), pickle.loads(pickle.dumps(used_once)), eval(repr(used_once))):  # noqa: S301, S307
        assert same == used_once
    with pytest.raises(TypeError):
        state.used[Counter("TEN", "2026-03", "domestic")] = 0  # type: ignore[index]


def test_a_state_can_be_stored_and_taken_up_under_other_allowances() -> None:
    state = one(users=["amy"]).use(call(540)).state
    stored = [[*counter, seconds] for counter, seconds in state.used.items()]
    assert stored == [["TEN", "2026-03", "domestic", "", 540]]
    restored = {Counter(*rest): seconds for *rest, seconds in stored}  # type: ignore[arg-type]
    assert AllowanceState(state.allowances, restored) == state
    more = AllowanceState([Allowance(plan=TEN, users=["amy", "ben"])], restored)
    assert more.use(call(660)) == (more.use(call(660)).state, 660, 0)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("plan", "MCOPSTN1", WrongTypeError),
        ("plan", None, WrongTypeError),
        ("users", "amy", WrongTypeError),
        ("users", 7, WrongTypeError),
        ("licences", True, WrongTypeError),
        ("licences", -1, InvalidValueError),
        ("name", "", InvalidValueError),
        ("time_zone", "Berlin", InvalidValueError),
        ("crossing", "half", InvalidValueError),
        ("increment_seconds", 0, InvalidValueError),
        ("increment_seconds", 1.5, WrongTypeError),
        ("alerts_at_percent", 80, WrongTypeError),
    ],
)
def test_what_no_allowance_has_is_refused_by_name(field: str, value: object, error: type[Any]) -> None:
    with pytest.raises(error) as caught:
        Allowance(**{"plan": TEN, "users": ["amy"]} | {field: value})
    assert (caught.value.parameter, caught.value.value) == (field, value)


@pytest.mark.parametrize(
    ("percent", "error"), [(0, InvalidValueError), (101, InvalidValueError), ("80", WrongTypeError)]
)
def test_alerts_are_from_1_to_100_percent(percent: Any, error: type[Any]) -> None:
    with pytest.raises(error, match="alerts_at_percent"):
        Allowance(plan=TEN, alerts_at_percent=[percent])


def test_minutes_of_ones_own_must_be_somebodys() -> None:
    with pytest.raises(InvalidValueError, match="users None"):
        Allowance(plan=CallingPlan("OWN", 2, is_pooled=False))
    with pytest.raises(InvalidValueError, match="users ''"):
        Allowance(plan=TEN, users=[""])


def test_allowances_for_the_same_calls_are_refused() -> None:
    ten, other = Allowance(plan=TEN, users=["amy"]), Allowance(plan=CallingPlan("OTHER", 1), users=["ben", "amy"])
    for both in ([ten, other], [ten, attrs.evolve(other, users=None)], [attrs.evolve(ten, users=None), other]):
        with pytest.raises(InvalidValueError, match="same calls"):
            AllowanceState(both)
    with pytest.raises(InvalidValueError, match="needs its own"):
        AllowanceState([ten, attrs.evolve(ten, users=["ben"])])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((7,), WrongTypeError),
        ((["TEN"],), WrongTypeError),
        (([], 7), WrongTypeError),
        (([], {"TEN": 1}), WrongTypeError),
        (([], {("TEN", "2026-03", "domestic", ""): "1"}), WrongTypeError),
        (([], {("TEN", "2026-03", "domestic", ""): -1}), InvalidValueError),
    ],
)
def test_what_is_no_state_is_refused(arguments: tuple[Any, ...], error: type[Any]) -> None:
    with pytest.raises(error):
        AllowanceState(*arguments)


def test_only_calls_are_used() -> None:
    with pytest.raises(WrongTypeError):
        one().use("call")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="not a telephone number"):
        one().use(call(60, callee_number="+1 (call me)"))
