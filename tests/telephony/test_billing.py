"""Rules of billing: against models in integers, and through storages that fail."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import T0, usd
from commcredits import (
    ConsumptionReversed,
    CurrencyMismatchError,
    FundsConsumed,
    IdempotencyConflictError,
    InsufficientFundsError,
    InvalidValueError,
    LedgerNotFoundError,
    Money,
    ReversalExceedsUsageError,
    WrongTypeError,
)
from commcredits.telephony import (
    Allowance,
    AllowanceState,
    Bill,
    BilledCall,
    CallingPlan,
    CallRecord,
    CallRefusedError,
    NoRateError,
    Rate,
    RateCard,
    async_bill,
    bill,
)
from faults import InjectedFault, plans
from office import KINDS, Hire, Office

US, GERMANY, TOLL_FREE = "+12065550123", "+493023125042", "+18005550199"
PRICES = {US: 130, GERMANY: 150, TOLL_FREE: 220}  # in ten-thousandths of a dollar, for each minute begun
CARD = RateCard(
    [
        Rate("1", Money("0.013", "USD")),
        Rate("49", Money("0.015", "USD")),
        Rate("1800", Money("0.022", "USD"), direction="inbound"),
    ],
    currency="USD",
)
NO_ALLOWANCES = AllowanceState()


def minutes(number: int, **options: Any) -> AllowanceState:
    """So many domestic minutes, for everybody."""
    return AllowanceState([Allowance(plan=CallingPlan("MCOPSTN1", number), **options)])


def call(record_id: str = "a", seconds: int = 60, number: str = US, **changes: Any) -> CallRecord:
    fields: dict[str, Any] = {
        "record_id": record_id,
        "started_at": T0 - timedelta(days=1),
        "duration_seconds": seconds,
        "charge": usd(0),
        "call_type": "user_out",
        "callee_number": number,
        "user_id": "amy",
        "usage_country": "US",
        "destination_context": "Domestic" if number == US else "International",
        "destination_name": {US: "United States", GERMANY: "Germany"}.get(number, ""),
        "capability": "MCOPSTNPP",
    }
    return CallRecord(**fields | changes)


def billed(
    office: Office, calls: Any, allowances: AllowanceState = NO_ALLOWANCES, *, card: RateCard = CARD, **options: Any
) -> Bill:
    bills: Any = async_bill if office.is_async else bill
    result: Bill = office.run(bills(office.service, office.LEDGER, calls, card, allowances, **options))
    return result


@pytest.fixture
def office(hire: Hire) -> Office:
    return hire(overdraft_limit=None)


def consumed(office: Office) -> dict[str, int]:
    """What stands on the ledger for each call, in ten-thousandths, by the events alone."""
    sums: dict[str, int] = {}
    usages: dict[int, FundsConsumed] = {}
    for event in office.events:
        if isinstance(event, FundsConsumed):
            usages[event.version] = event
        elif not isinstance(event, ConsumptionReversed):
            continue
        usage = usages[event.consumption] if isinstance(event, ConsumptionReversed) else event
        sign = -1 if isinstance(event, ConsumptionReversed) else 1
        call_id = str(usage.idempotency_key).partition("#")[0]
        sums[call_id] = sums.get(call_id, 0) + sign * int(event.amount.amount * 10_000)
    return {call_id: cost for call_id, cost in sums.items() if cost}


def keys(office: Office) -> list[str]:
    return [str(event.idempotency_key) for event in office.events if event.idempotency_key]


# --- one run


def test_each_call_is_consumed_once_under_its_id_with_its_start_its_type_and_its_destination(office: Office) -> None:
    start = T0 - timedelta(hours=3)
    result = billed(office, [call("a", 61, GERMANY, started_at=start), call("b", 60, US)])
    first, second = [event for event in office.events if isinstance(event, FundsConsumed)]
    assert (first.idempotency_key, first.amount, first.occurred_at) == ("a", usd("0.03"), start)
    assert (first.kind, first.description) == ("user_out", "Germany")
    assert (second.idempotency_key, second.amount) == ("b", usd("0.013"))
    assert (result.calls, result.recorded, result.known, result.corrected) == (2, 2, 0, 0)
    assert result.cost == usd("0.043") == office.ledger.overdraft


def test_what_allowances_cover_costs_nothing_and_their_state_goes_in_and_out(office: Office) -> None:
    start = minutes(3)
    result = billed(office, [call("a", 61), call("b", 61), call("c", 60), call("d", 61, GERMANY)], start)
    assert consumed(office) == {"b": 260, "d": 300}
    assert list(result.allowances.used.values()) == [180]
    assert result.allowances.allowances == start.allowances
    assert not start.used
    again = billed(office, [call("e", 60)], result.allowances)
    assert consumed(office) == {"b": 260, "d": 300, "e": 130}
    assert again.allowances == result.allowances


def test_a_call_that_is_covered_in_part_is_paid_by_both(office: Office) -> None:
    told: list[BilledCall] = []
    result = billed(office, [call("a", 200)], minutes(2, crossing="split"), on_billed=told.append)
    (one,) = told
    assert (one.seconds_covered, one.cost, one.outcome) == (120, usd("0.026"), "recorded")
    assert one.rated is not None
    assert (one.rated.seconds, one.rated.at) == (80, one.call.started_at + timedelta(seconds=120))
    assert list(one.shares) == [("allowance", 120, usd(0)), ("credits", 80, usd("0.026"))]
    assert {line.payer: total for line, total in result.lines.items()} == {
        "allowance": (1, 120, usd(0)),
        "credits": (1, 80, usd("0.026")),
    }
    assert result.calls == 1
    (event,) = [event for event in office.events if isinstance(event, FundsConsumed)]
    assert event.occurred_at == one.call.started_at


@pytest.mark.parametrize(
    "changes",
    [
        {"call_type": "emergency_out", "callee_number": "911"},
        {"call_type": "emergency_in"},
        {"call_type": "dr_out"},
        {"call_type": "ByotOutUserConf"},
        {"call_type": "user_in"},
        {"call_type": "unassigned_in"},
        {"call_type": "conf_in"},
        {"call_type": "ucap_in"},
        {"call_type": "user_in_conf", "call_direction": "Inbound"},
        {"capability": "freecall"},
        {"operator": "Fabrikam Telecom"},
        {"duration_seconds": 0},
        {"duration_seconds": 0, "callee_number": "+99912345"},
    ],
)
def test_calls_that_nobody_pays_for_use_neither_minutes_nor_credits(office: Office, changes: dict[str, Any]) -> None:
    told: list[BilledCall] = []
    result = billed(office, [attrs.evolve(call(), **changes)], minutes(9), on_billed=told.append)
    assert [line.payer for line in result.lines] == ["nobody"]
    assert (told[0].rated, told[0].outcome, result.cost) == (None, "not_recorded", usd(0))
    assert not result.allowances.used
    assert not consumed(office)


def test_toll_free_calls_in_are_rated_by_the_number_called_and_no_allowance_covers_them(office: Office) -> None:
    calls = [call(kind, 61, TOLL_FREE, call_type=kind, number_type="TollFree") for kind in ("conf_in", "ucap_in")]
    result = billed(office, calls, minutes(9))
    assert consumed(office) == {"conf_in": 440, "ucap_in": 440}
    assert not result.allowances.used


def test_pay_per_minute_conferences_are_paid_by_credits_in_and_out(office: Office) -> None:
    card = RateCard([*CARD.rates, Rate("1206", Money("0.008", "USD"), direction="inbound")], currency="USD")
    plain = {"capability": "MCOMEETACPEA_GOV"}
    calls = [call("in", 60, US, call_type="conf_in", **plain), call("out", 60, US, call_type="user_out", **plain)]
    result = billed(office, calls, minutes(9), card=card)
    assert consumed(office) == {"in": 80, "out": 130}
    assert not result.allowances.used


def test_a_free_rate_is_paid_by_nobody_and_not_recorded(office: Office) -> None:
    card = RateCard([Rate("1", usd(0))], currency="USD")
    result = billed(office, [call()], card=card)
    assert [line.payer for line in result.lines] == ["nobody"]
    assert not keys(office)


def test_nothing_to_bill_is_an_empty_bill(office: Office) -> None:
    result = billed(office, [])
    assert (result.calls, result.cost, dict(result.lines), result.by("payer")) == (0, usd(0), {}, {})
    assert result.allowances is NO_ALLOWANCES
    assert (result.ledger_id, result.currency) == ("acme", "USD")


def test_the_bill_adds_up_by_kind_country_user_and_payer(office: Office) -> None:
    calls = [
        call("a", 61),
        call("b", 60, GERMANY, user_id="raj"),
        call("c", 60, GERMANY, call_type="conf_out"),
        call("d", 10),
        call("e", 5, call_type="user_in"),
    ]
    result = billed(office, calls, minutes(2))
    assert result.by("kind") == {
        ("conf_out",): (1, 60, usd("0.015")),
        ("user_in",): (1, 5, usd(0)),
        ("user_out",): (3, 131, usd("0.028")),
    }
    assert result.by("country") == {
        ("Germany",): (2, 120, usd("0.030")),
        ("United States",): (3, 76, usd("0.013")),
    }
    assert list(result.by("payer")) == [("allowance",), ("credits",), ("nobody",)]
    assert result.by("user_id", "payer")["amy", "credits"] == (2, 70, usd("0.028"))
    assert result.by() == {(): (5, 196, usd("0.043"))}
    assert sum(total.calls for total in result.lines.values()) == result.calls
    with pytest.raises(InvalidValueError) as caught:
        result.by("colour")  # type: ignore[arg-type]
    assert (caught.value.parameter, caught.value.value) == ("parts", "colour")


def test_calls_are_recorded_in_batches_and_told_of_when_they_are(office: Office) -> None:
    told: list[tuple[str, int]] = []

    def note(one: BilledCall) -> None:
        told.append((one.call.record_id, len(keys(office))))

    calls = [call(str(number)) for number in range(7)]
    office.storage.appended.clear()
    billed(office, iter(calls), batch_size=3, on_billed=note)
    assert [len([event for event in batch if event.idempotency_key]) for batch in office.storage.appended] == [3, 3, 1]
    assert told == [("0", 3), ("1", 3), ("2", 3), ("3", 6), ("4", 6), ("5", 6), ("6", 7)]


def test_calls_are_taken_a_batch_at_a_time(office: Office) -> None:
    taken: list[int] = []

    def source() -> Iterator[CallRecord]:
        for number in range(10):
            taken.append(number)
            yield call(str(number))

    most: list[int] = []
    billed(office, source(), batch_size=2, on_billed=lambda one: most.append(len(taken) - int(one.call.record_id)))
    assert max(most) == 2


def test_coroutines_may_take_the_calls_from_an_asynchronous_iterable(hire: Hire) -> None:
    office = hire(overdraft_limit=None)

    async def source() -> AsyncIterator[CallRecord]:
        yield call("a")
        yield call("b")

    if office.is_async:
        assert billed(office, source()).calls == 2
    else:
        with pytest.raises(WrongTypeError) as caught:
            billed(office, source())
        assert caught.value.parameter == "calls"


# --- runs repeated, and corrections


def test_a_run_repeated_records_nothing_and_tells_the_same(office: Office) -> None:
    calls = [call("a", 61), call("b", 61, GERMANY), call("c", 500), call("d", 5, call_type="user_in")]
    first = billed(office, calls, minutes(3))
    events = office.events
    second = billed(office, calls, minutes(3))
    assert office.events == events
    assert (second.lines, second.allowances, second.cost) == (first.lines, first.allowances, first.cost)
    assert (first.recorded, first.known, second.recorded, second.known) == (2, 0, 0, 2)


def test_corrections_are_undone_and_billed_anew_under_keys_that_count(office: Office) -> None:
    told: list[str] = []
    for seconds in (60, 120, 60, 60, 0, 0, 180):
        billed(office, [call("a", seconds)], on_billed=lambda one: told.append(one.outcome))
        assert consumed(office) == ({"a": seconds // 60 * 130} if seconds else {})
    assert told == ["recorded", "corrected", "corrected", "known", "corrected", "not_recorded", "corrected"]
    assert keys(office) == ["a", "a#1-reversed", "a#2", "a#2-reversed", "a#3", "a#3-reversed", "a#4"]


def test_what_first_cost_nothing_is_recorded_under_the_id_when_it_costs_something(office: Office) -> None:
    billed(office, [call("a")], minutes(1))
    assert keys(office) == []
    result = billed(office, [call("a")])
    assert (keys(office), result.recorded, result.corrected) == (["a"], 1, 0)


def test_another_card_and_another_start_are_corrections(office: Office) -> None:
    billed(office, [call("a")])
    dearer = RateCard([Rate("1", usd("0.02"))], currency="USD")
    assert billed(office, [call("a")], card=dearer).corrected == 1
    assert consumed(office) == {"a": 200}
    later = call("a", started_at=T0 - timedelta(hours=1))
    assert billed(office, [later], card=dearer).corrected == 1
    assert [event.occurred_at for event in office.events if isinstance(event, FundsConsumed)][-1] == later.started_at
    assert consumed(office) == {"a": 200}


def test_other_words_for_the_same_cost_change_nothing(office: Office) -> None:
    billed(office, [call("a")])
    result = billed(office, [call("a", call_type="user_out_transfer", destination_name="USA")])
    assert (keys(office), result.known) == (["a"], 1)


def test_a_call_is_taken_back_by_billing_it_as_given_free(office: Office) -> None:
    billed(office, [call("a"), call("b")])
    result = billed(office, [call("a", capability="FREECALL"), call("b")])
    assert consumed(office) == {"b": 130}
    assert (result.corrected, result.known, result.cost) == (1, 1, usd("0.013"))


def test_a_late_call_in_a_month_that_is_billed_again_changes_what_is_covered_after_it(office: Office) -> None:
    billed(office, [call("b", 120), call("c", 60)], minutes(2))
    assert consumed(office) == {"c": 130}
    result = billed(office, [call("a", 60), call("b", 120), call("c", 60)], minutes(2))
    assert consumed(office) == {"b": 260}
    assert (result.recorded, result.corrected, result.cost) == (1, 1, usd("0.026"))


def test_free_usage_that_took_the_id_is_left_and_the_next_key_taken(office: Office) -> None:
    office.do("consume", usd(0), occurred_at=call().started_at, idempotency_key="a")
    for _ in range(2):
        billed(office, [call("a")])
        assert keys(office) == ["a", "a#2"]
    billed(office, [call("a", 0)])
    assert keys(office) == ["a", "a#2", "a#2-reversed"]


# --- what is left aside or refused


def test_a_call_that_comes_twice_is_billed_and_covered_once(office: Office) -> None:
    calls = [call("a", 60), call("b", 120), call("a", 60), call("b", 120)]
    result = billed(office, calls, minutes(2), batch_size=1)
    assert consumed(office) == {"b": 260}
    assert list(result.allowances.used.values()) == [60]
    assert (result.calls, result.repeated, result.refused) == (2, 2, 0)
    assert result.by("payer") == {("allowance",): (1, 60, usd(0)), ("credits",): (1, 120, usd("0.026"))}


def test_a_second_call_of_an_id_that_is_unlike_the_first_is_refused(office: Office) -> None:
    errors: list[CallRefusedError] = []
    result = billed(office, [call("a", 60), call("a", 61)], on_refused=errors.append)
    assert (consumed(office), result.calls, result.refused) == ({"a": 130}, 1, 1)
    assert (errors[0].call.duration_seconds, type(errors[0].why)) == (61, InvalidValueError)


def test_a_call_without_a_rate_is_raised_by_name_after_the_rest_of_its_batch_was_recorded(office: Office) -> None:
    calls = [call("a"), call("b", number="+99912345"), call("c"), call("d", call_type="?"), call("e")]
    with pytest.raises(CallRefusedError, match="call 'b': ") as caught:
        billed(office, calls, batch_size=4)
    assert (caught.value.call, type(caught.value.why)) == (calls[1], NoRateError)
    assert caught.value.__cause__ is caught.value.why
    assert consumed(office) == {"a": 130, "c": 130}


def test_refused_calls_are_handed_over_and_the_rest_is_billed(office: Office) -> None:
    errors: list[CallRefusedError] = []
    calls = [call("a"), call("b", number="+99912345"), call("c", call_type="?"), call("d", number="nobody")]
    result = billed(office, calls, on_refused=errors.append)
    assert [error.call.record_id for error in errors] == ["b", "c", "d"]
    assert (result.calls, result.refused, result.cost) == (1, 3, usd("0.013"))


def test_a_refused_call_has_used_its_minutes(office: Office) -> None:
    errors: list[CallRefusedError] = []
    calls = [call("a", 200, "+99912345", destination_context="Domestic"), call("b", 60)]
    result = billed(office, calls, minutes(2, crossing="split"), on_refused=errors.append)
    assert consumed(office) == {"b": 130}
    assert list(result.allowances.used.values()) == [120]
    assert not result.by("payer").get(("allowance",))


@pytest.mark.parametrize("record_id", ["a#2", "a#1-reversed", "#10", "x" * 187, "a\0b"])
def test_an_id_that_cannot_be_told_from_a_key_of_corrections_is_refused(office: Office, record_id: str) -> None:
    with pytest.raises(CallRefusedError) as caught:
        billed(office, [call(record_id)])
    assert isinstance(caught.value.why, InvalidValueError)
    assert (caught.value.why.parameter, caught.value.why.value) == ("record_id", record_id)
    assert not keys(office)


@pytest.mark.parametrize("record_id", ["a#b", "#", "a#2x", "a#-reversed", "x" * 186])
def test_other_ids_are_taken(office: Office, record_id: str) -> None:
    for seconds in (60, 120):
        billed(office, [call(record_id, seconds)])
    assert keys(office) == [record_id, f"{record_id}#1-reversed", f"{record_id}#2"]


def test_a_key_that_another_command_took_is_refused(office: Office) -> None:
    office.do("add_funds", usd(5), reference="", idempotency_key="a")
    with pytest.raises(CallRefusedError) as caught:
        billed(office, [call("a")])
    assert isinstance(caught.value.why, IdempotencyConflictError)
    assert (caught.value.why.idempotency_key, caught.value.why.recorded) == ("a", 2)


def test_what_was_undone_by_hand_is_refused_when_it_is_to_be_undone(office: Office) -> None:
    billed(office, [call("a")])
    office.do("reverse_consumption", "a", idempotency_key="by hand")
    with pytest.raises(CallRefusedError) as caught:
        billed(office, [call("a", 120), call("b")])
    assert isinstance(caught.value.why, ReversalExceedsUsageError)
    assert consumed(office) == {"b": 130}


def test_without_funds_and_under_a_limit_calls_are_refused_each_for_itself(hire: Hire) -> None:
    office = hire(overdraft_limit=usd("0.02"))
    errors: list[CallRefusedError] = []
    calls = [call("a"), call("b"), call("c", number=GERMANY)]
    result = billed(office, calls, on_refused=errors.append)
    assert consumed(office) == {"a": 130}
    assert [type(error.why) for error in errors] == [InsufficientFundsError] * 2
    assert (result.recorded, result.refused) == (1, 2)
    office.do("add_funds", usd(1), reference="")
    assert billed(office, calls).recorded == 2
    assert consumed(office) == {"a": 130, "b": 130, "c": 150}


def test_a_call_that_has_not_begun_is_refused(office: Office) -> None:
    with pytest.raises(CallRefusedError) as caught:
        billed(office, [call("a", started_at=office.clock.now + timedelta(hours=1))])
    assert isinstance(caught.value.why, InvalidValueError)


def test_a_card_in_another_currency_is_refused_before_anything_is_billed(office: Office) -> None:
    card = RateCard([Rate("1", Money("0.01", "EUR"))], currency="EUR")
    taken: list[CallRecord] = []
    with pytest.raises(CurrencyMismatchError):
        billed(office, (taken.append(one) or one for one in [call()]), card=card)  # type: ignore[func-returns-value]
    assert not taken


def test_a_ledger_that_there_is_not_is_told_before_anything_is_billed(office: Office) -> None:
    bills: Any = async_bill if office.is_async else bill
    with pytest.raises(LedgerNotFoundError):
        office.run(bills(office.service, "nobody", [call()], CARD, NO_ALLOWANCES))


@pytest.mark.parametrize(
    ("parameter", "value", "kind"),
    [
        ("service", None, WrongTypeError),
        ("calls", 7, WrongTypeError),
        ("calls", [7], WrongTypeError),
        ("card", CARD.rates, WrongTypeError),
        ("allowances", [], WrongTypeError),
        ("batch_size", 2.5, WrongTypeError),
        ("batch_size", True, WrongTypeError),
        ("batch_size", 0, InvalidValueError),
        ("batch_size", 10_001, InvalidValueError),
        ("on_billed", "print", WrongTypeError),
        ("on_refused", 7, WrongTypeError),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_by_name(
    office: Office, parameter: str, value: object, kind: type[Exception]
) -> None:
    arguments = {"service": office.service, "calls": [], "card": CARD, "allowances": NO_ALLOWANCES}
    bills: Any = async_bill if office.is_async else bill
    with pytest.raises(kind) as caught:
        office.run(bills(ledger_id="acme", **arguments | {parameter: value}))
    assert type(caught.value) is kind
    assert caught.value.parameter == parameter  # type: ignore[attr-defined]


def test_the_other_kind_of_service_is_refused(office: Office) -> None:
    other: Any = bill if office.is_async else async_bill
    with pytest.raises(WrongTypeError) as caught:
        office.run(other(office.service, "acme", [], CARD, NO_ALLOWANCES))
    assert caught.value.parameter == "service"


def test_both_kinds_take_the_same() -> None:
    ours, theirs = inspect.signature(bill).parameters, inspect.signature(async_bill).parameters
    assert [(one.name, one.kind, one.default) for one in ours.values()] == [
        (one.name, one.kind, one.default) for one in theirs.values()
    ]


def test_a_refusal_survives_pickling() -> None:
    error = CallRefusedError(call("a"), InvalidValueError("record_id", "a", "odd"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (again.call, str(again.why), str(again)) == (error.call, str(error.why), str(error))


# --- two runs at once


def test_two_runs_of_the_same_calls_at_once_bill_each_call_once(office: Office) -> None:
    calls = [call(str(number)) for number in range(6)]
    rival = office.rival()
    office.plan.set(append=["ok", lambda: bill(rival, "acme", calls, CARD, NO_ALLOWANCES, batch_size=4)])
    result = billed(office, calls, batch_size=2)
    assert office.plan.is_over
    assert consumed(office) == {str(number): 130 for number in range(6)}
    assert sorted(keys(office)) == [str(number) for number in range(6)]
    assert result.cost == usd("0.078")


def test_a_run_that_another_one_overtakes_with_another_cost_is_refused_and_then_corrects(office: Office) -> None:
    rival = office.rival()
    office.plan.set(append=[lambda: bill(rival, "acme", [call("a", 120)], CARD, NO_ALLOWANCES)])
    with pytest.raises(CallRefusedError) as caught:
        billed(office, [call("a"), call("b")])
    assert isinstance(caught.value.why, IdempotencyConflictError)
    assert consumed(office) == {"a": 260, "b": 130}
    assert billed(office, [call("a"), call("b")]).corrected == 1
    assert consumed(office) == {"a": 130, "b": 130}


# --- through storages that fail


class Told(NamedTuple):
    """A call, in as few words as a model needs."""

    name: str
    minutes: int
    number: str

    def record(self) -> CallRecord:
        return call(self.name, self.minutes * 60, self.number)


def decided(calls: list[Told], included: int) -> tuple[dict[str, int], int]:
    """What each call costs, in ten-thousandths, and how many minutes are used, when so many are included."""
    costs, used = {}, 0
    for one in calls:
        if one.number == US and used + one.minutes <= included:
            used += one.minutes
        elif one.minutes:
            costs[one.name] = one.minutes * PRICES[one.number]
    return costs, used


@st.composite
def reports(draw: st.DrawFn) -> list[list[Told]]:
    """What is told of the same few calls, in one report after the other: as before, otherwise, or not at all."""
    names = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)
    told = st.tuples(st.integers(0, 4), st.sampled_from([US, GERMANY]))
    found = [[Told(name, *draw(told)) for name in draw(names)] for _ in range(draw(st.integers(1, 3)))]
    return [one for one in found for _ in range(draw(st.integers(1, 2)))]


@pytest.mark.parametrize("kind", KINDS)
@given(reports(), st.integers(0, 8), st.integers(1, 4), plans("load", "append", "append", "find", "find", "about"))
def test_whatever_fails_a_run_that_is_run_again_bills_each_call_once(
    kind: str, runs: list[list[Told]], included: int, batch_size: int, faults: dict[str, Any]
) -> None:
    office = Office(kind, overdraft_limit=None)
    try:
        office.plan.set(**faults)
        expected: dict[str, int] = {}
        for calls in runs:
            costs, used = decided(calls, included)
            expected |= {one.name: costs.get(one.name, 0) for one in calls}
            result = None
            while result is None:
                office.service = office.another_service()  # the one before died
                try:
                    records = [one.record() for one in calls]
                    result = billed(office, records, minutes(included), batch_size=batch_size)
                except InjectedFault:
                    # Nothing is half billed: each call stands as before, as it is to be, or was just undone.
                    check_keys(office)
            assert consumed(office) == {name: cost for name, cost in expected.items() if cost}
            assert int(result.cost.amount * 10_000) == sum(costs.values())
            assert sum(result.allowances.used.values()) == used * 60
            assert result.by("payer").get(("credits",), (0,))[0] == len(costs)
        assert int(office.ledger.totals.consumed.amount * 10_000) == sum(expected.values())
        office.ledger.check()
        check_keys(office)
    finally:
        office.close()


def check_keys(office: Office) -> None:
    """The keys of each call are those of its ratings in turn, each undone before the next."""
    by_call: dict[str, list[str]] = {}
    for key in keys(office):
        by_call.setdefault(key.partition("#")[0], []).append(key)
    for name, found in by_call.items():
        ratings = [name, f"{name}#1-reversed"]
        for number in range(2, len(found)):
            ratings += [f"{name}#{number}", f"{name}#{number}-reversed"]
        assert found == ratings[: len(found)]
