"""Bad input, to all of telephony: it is taken, or it raises an error of this library, and then nothing has changed.

Which error it is stands in the file of each module; here is that no way in was forgotten.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import commcredits as cc
from build import T0, hour, usd
from commcredits import telephony as tel

BERLIN, SHORT = "+4930123456", "123"
OBJECT = object()
HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**5000, -(10**30), 2**31, 2**31 - 1]),
    st.floats(),
    st.complex_numbers(),
    st.fractions(),
    st.decimals(),
    st.text(max_size=3),
    st.sampled_from(["x" * 201, "a\0b", "\ud800", "1e5", "٣", "+1**", "EUR", "US", "Europe/Berlin", "joint", "1#2"]),
    st.binary(max_size=3),
    st.datetimes(),  # naive
    st.sampled_from(
        [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), T0, hour(9), date(2026, 1, 1)]
    ),
    st.timedeltas(),
    st.sampled_from([time(1), time(1, tzinfo=UTC)]),
    st.sampled_from([OBJECT, repr, type]),  # what a callback raises passes through, so these raise nothing
    st.sampled_from([usd(-1), usd(0), usd("0.001"), cc.Money(1, "EUR"), usd(1) * 10**30]),
    st.lists(st.none() | st.integers() | st.text(max_size=1), max_size=2),
    st.tuples(st.text(max_size=1), st.text(max_size=1)),
    st.dictionaries(st.text(max_size=1), st.none() | st.integers() | st.text(max_size=1), max_size=1),
    st.dictionaries(st.none() | st.integers(), st.lists(st.integers()), min_size=1, max_size=1),
)


class Card:
    def charge(self, charge: cc.Charge) -> cc.Outcome:
        return cc.Paid()


class AsyncCard:
    async def charge(self, charge: cc.Charge) -> cc.Outcome:
        return cc.Paid()


@dataclass
class House:
    """A ledger kept by services of both kinds and one that is bare, and all that calls are decided by."""

    def __post_init__(self) -> None:
        self.storage = cc.InMemoryStorage()
        self.service = cc.LedgerService(self.storage, Card(), clock=lambda: T0)
        self.service.open("acme", cc.Terms("USD"))
        self.service.add_funds("acme", usd(100), reference="", idempotency_key="funds")
        self.async_storage = cc.AsyncInMemoryStorage()
        self.async_service = cc.AsyncLedgerService(self.async_storage, AsyncCard(), clock=lambda: T0)
        asyncio.run(self.async_service.open("acme", cc.Terms("USD")))
        asyncio.run(self.async_service.add_funds("acme", usd(100), reference="", idempotency_key="funds"))
        self.ledger = cc.Ledger.replay(self.storage.history("acme"))
        self.rate = tel.Rate("49", usd("0.1"), time_bands=[tel.TimeBand(usd(1), start=time(8), end=time(9))])
        self.card = tel.RateCard([self.rate], currency="USD")
        self.plan = tel.CallingPlan("PLAN", 100, 10)
        self.allowance = tel.Allowance(plan=self.plan)
        self.state = tel.AllowanceState([self.allowance])
        self.record = tel.CallRecord(
            record_id="1",
            started_at=T0,
            duration_seconds=61,
            charge=usd("0.2"),
            call_type="user_out",
            callee_number=BERLIN,
            usage_country="DE",
        )
        self.call = tel.MeteredCall("call", BERLIN, card=self.card, started_at=T0)
        self.on_ledger = tel.CallSession.start(self.ledger, self.call, at=T0)
        self.on_service = tel.CallSession.start(self.service, self.call, ledger_id="acme")
        self.on_async_service: tel.AsyncCallSession = asyncio.run(
            tel.AsyncCallSession.start(self.async_service, self.call, ledger_id="acme")
        )

    def looked_at(self) -> tuple[object, ...]:
        """All that may change."""
        return (
            self.ledger.state(),
            tuple(self.storage.history("acme")),
            asyncio.run(self.async_service.get("acme")),
            self.on_ledger.answer,
            self.on_service.answer,
            self.on_async_service.answer,
        )


def fields(kind: Callable[..., Any], **given: Any) -> dict[str, Any]:
    """All arguments of a constructor, those that are not given being its defaults."""
    found = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not parameter.empty
    }
    return {name: value for name, value in found.items() if "NOTHING" not in repr(value)} | given


def ways_in(house: House) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Every public function and method that takes arguments, with arguments that it takes."""
    number = {"number": BERLIN, "at": T0, "direction": "outbound"}
    row = dict.fromkeys(tel.PSTN_COLUMNS) | {"UsageId": "1", "Start Time": "2026-01-01T00:00Z", "Charge": "1"}
    row |= {"Duration Seconds": 1, "Currency": "USD"}
    subscriber = tel.Subscriber(user_id="u", country="DE", calling_plan=house.plan, communications_credits=True)
    new_call = tel.MeteredCall("new", BERLIN, card=house.card, started_at=T0)
    billing = fields(tel.bill, ledger_id="acme", calls=[house.record], card=house.card, allowances=house.state)
    a_rate = {"prefix": "49", "price_per_minute": usd(1), "connection_fee": usd(0), "minimum_cost": usd(0)}
    a_call = {"session_id": "new", "number": BERLIN, "card": house.card, "started_at": T0}
    asked = {"call_intent": tel.CallIntent("user_out", BERLIN), "subscriber": subscriber, "ledger": house.ledger}
    return {
        "Allowance": (tel.Allowance, fields(tel.Allowance, plan=house.plan, licences=1, name="pool")),
        "Allowance.pools": (tel.Allowance.pools, fields(tel.Allowance.pools, subscribers=[subscriber])),
        "Allowance.limit_seconds": (house.allowance.limit_seconds, {"kind": "domestic"}),
        "AllowanceState": (
            tel.AllowanceState,
            {"allowances": [house.allowance], "used": {tel.Counter("PLAN", "2026-01", "domestic"): 60}},
        ),
        "AllowanceState.use": (house.state.use, {"call": house.record}),
        "AllowanceState.minutes": (house.state.minutes, {"at": T0}),
        "AllowanceState.coverage": (
            house.state.coverage,
            {"subscriber": subscriber, "call_type": "user_out", "number": BERLIN, "at": T0}
            | {"context": "Domestic", "country": "DE", "at_most_seconds": 60},
        ),
        "AsyncCallSession.start": (
            waited_for(tel.AsyncCallSession.start),
            {"service": house.async_service, "call": new_call, "ledger_id": "acme"},
        ),
        "AsyncCallSession.update": (
            waited_for(house.on_async_service.update),
            {"used_seconds": 1, "request_number": 1},
        ),
        "AsyncCallSession.end": (waited_for(house.on_async_service.end), {"used_seconds": 1, "request_number": 1}),
        "Bill.by": (lambda part: tel.bill(house.service, **billing | {"calls": []}).by(part), {"part": "country"}),
        "CallIntent": (tel.CallIntent, fields(tel.CallIntent, call_type="user_out", number=BERLIN)),
        "CallRecord": (tel.CallRecord, fields(tel.CallRecord, **record_fields(house.record))),
        "CallSession.start": (tel.CallSession.start, {"ledger": house.service, "call": new_call, "ledger_id": "acme"}),
        "CallSession.start, bare": (
            tel.CallSession.start,
            {"ledger": house.ledger, "call": new_call, "ledger_id": "acme", "at": T0, "earlier": ()},
        ),
        "CallSession.update": (house.on_service.update, {"used_seconds": 1, "request_number": 1, "at": None}),
        "CallSession.update, bare": (house.on_ledger.update, {"used_seconds": 1, "request_number": 1, "at": T0}),
        "CallSession.end": (house.on_service.end, {"used_seconds": 1, "request_number": 1, "at": None}),
        "CallSession.end, bare": (house.on_ledger.end, {"used_seconds": 1, "request_number": 1, "at": T0}),
        "CallingPlan": (tel.CallingPlan, fields(tel.CallingPlan, code="PLAN", domestic_minutes=1)),
        "CallingPlan.microsoft_teams": (
            tel.CallingPlan.microsoft_teams,
            {"code": "MCOPSTN1", "country": "US", "exhaustion": "joint"},
        ),
        "CallingPlan.pay_as_you_go": (tel.CallingPlan.pay_as_you_go, {"code": "PAYG"}),
        "DialOutPlan": (tel.DialOutPlan, fields(tel.DialOutPlan)),
        "DialOutPolicy": (tel.DialOutPolicy, fields(tel.DialOutPolicy)),
        "DialOutPolicy.named": (tel.DialOutPolicy.named, {"name": "DialoutCPCandPSTNDomestic"}),
        "MeteredCall": (tel.MeteredCall, fields(tel.MeteredCall, **a_call)),
        "MeteredCall.longest": (house.call.longest, {"funds": usd(1), "at_most_seconds": 60}),
        "MeteredCall.rated": (house.call.rated, {"seconds": 60}),
        "Rate": (tel.Rate, fields(tel.Rate, **a_rate)),
        "RateCard": (tel.RateCard, fields(tel.RateCard, rates=[house.rate], currency="USD")),
        "RateCard.longest_affordable": (
            house.card.longest_affordable,
            number | {"available": usd(1), "at_most_seconds": 60},
        ),
        "RateCard.rate": (house.card.rate, number | {"seconds": 60}),
        "RateCard.rate_call": (house.card.rate_call, {"call_record": house.record}),
        "RateCard.rate_for": (house.card.rate_for, number),
        "RateCard.read_rows": (
            tel.RateCard.read_rows,
            fields(tel.RateCard.read_rows, rows=[{"prefix": "49", "price": "1"}], currency="USD")
            | {"rounding_digits": 2, "rounding": "ROUND_UP", "increments": "offset", "bands": "start", "name": ""}
            | {"short_codes": "free", "emergency_numbers": ["112"]},
        ),
        "RateCard.read_rows, a cell": (
            lambda **cells: tel.RateCard.read_rows([cells], currency="USD"),
            {"prefix": "49", "price": "1", "connection_fee": "0", "increment": "1", "initial_increment": 1}
            | {"free_seconds": "0", "minimum_cost": None, "direction": "outbound", "name": "", "currency": "USD"}
            | {"effective_from": "2026-01-01", "effective_until": None},
        ),
        "RateCard.read_rows, a default": (
            lambda **defaults: tel.RateCard.read_rows(
                [{"prefix": "49", "price": "1"}], currency="USD", defaults=defaults
            ),
            fields(tel.Rate, connection_fee=usd(0), minimum_cost=usd(0)),
        ),
        "Subscriber": (tel.Subscriber, fields(tel.Subscriber, user_id="u", country="DE")),
        "TimeBand": (tel.TimeBand, fields(tel.TimeBand, price_per_minute=usd(1))),
        "admit": (tel.admit, fields(tel.admit, **asked, allowances=house.state, card=house.card, at=T0)),
        "async_bill": (waited_for(tel.async_bill), billing | {"service": house.async_service}),
        "bill": (tel.bill, billing | {"service": house.service}),
        "bill, a record": (
            lambda **record: tel.bill(house.service, **billing | {"calls": [tel.CallRecord(**record)]}),
            record_fields(house.record),
        ),
        "country_of": (tel.country_of, {"number": BERLIN}),
        "is_shared_cost": (tel.is_shared_cost, {"number": BERLIN}),
        "number_type": (tel.number_type, {"number": BERLIN}),
        "read_number": (tel.read_number, {"number": SHORT, "emergency_numbers": frozenset({"112"})}),
        "read_pstn_rows": (tel.read_pstn_rows, fields(tel.read_pstn_rows, rows=[row])),
        "read_pstn_rows, a cell": (lambda **cells: tel.read_pstn_rows([cells]), row),
        "reconcile": (
            tel.reconcile,
            fields(tel.reconcile, reported=[house.record], rated=[house.card.rate_call(house.record)]),
        ),
        "to_e164": (tel.to_e164, {"text": "030 123456", "country": "DE"}),
        "write_pstn_rows": (tel.write_pstn_rows, {"records": [house.record]}),
    }


def record_fields(record: tel.CallRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in inspect.signature(tel.CallRecord).parameters}


def waited_for(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: asyncio.run(function(**arguments))


NAMES = sorted(ways_in(House()))
# What the library makes, and what it alone asks.
MADE_BY_US = {
    *{"Admission", "AllowanceAlert", "AllowanceUse", "Bill", "BillLine", "BillTotal", "BilledCall", "CallType"},
    *{"Capability", "CostPart", "Counter", "Coverage", "Discrepancy", "MinutesUsed", "Number", "RatedCall"},
    *{"Reconciliation", "SessionAnswer", "CallSession", "AsyncCallSession"},
    *{"CallingPlan.kind_of", "DialOutPlan.kind_of", "TimeBand.holds"},
    *{"Rate.costs_as", "Rate.in_force", "Rate.lasts_as", "Rate.overlaps"},
    *{"MeteredCall.hold_id", "MeteredCall.key", "MeteredCall.open_hold"},
}


def refusal(function: Callable[..., Any], arguments: dict[str, Any]) -> cc.CommCreditsError | None:
    try:
        answer = function(**arguments)
        if isinstance(answer, Iterator):
            list(answer)
    except cc.CommCreditsError as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
def test_what_is_to_be_spoiled_is_taken(name: str) -> None:
    function, arguments = ways_in(House())[name]
    assert refusal(function, arguments) is None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(data=st.data())
def test_what_is_not_taken_is_refused_by_name_and_changes_nothing(name: str, data: st.DataObject) -> None:
    house = House()
    before = house.looked_at()
    function, arguments = ways_in(house)[name]
    for parameter in tuple(arguments):
        error = refusal(function, arguments | {parameter: data.draw(HOSTILE, label=parameter)})
        if error is None:
            house = House()
            before = house.looked_at()
            function, arguments = ways_in(house)[name]
        assert house.looked_at() == before


def test_nothing_public_is_forgotten() -> None:
    public = set()
    for name in tel.__all__:
        thing = getattr(tel, name)
        if inspect.isfunction(thing):
            public.add(name)
        elif isinstance(thing, type) and not issubclass(thing, cc.CommCreditsError):
            methods = [method for method, _ in inspect.getmembers(thing, inspect.isroutine) if method[0] != "_"]
            public |= {name, *(f"{name}.{method}" for method in methods if method not in ("count", "index"))}
    assert public - {name.partition(",")[0] for name in NAMES} == MADE_BY_US
