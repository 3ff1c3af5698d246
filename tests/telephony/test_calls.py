"""Rules of CallRecord."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits.errors import CurrencyMismatchError, InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.telephony import CallRecord

START = datetime(2024, 1, 16, 9, 30, 0, 258993, tzinfo=UTC)


def call(**changes: object) -> CallRecord:
    fields: dict[str, Any] = {
        "record_id": "65c77c93-cdb8-527d-8b7f-bd8a0304a8f7",
        "started_at": START,
        "duration_seconds": 61,
        "charge": Money("0.03", "USD"),
    }
    return CallRecord(**fields | changes)


def test_a_call_needs_only_its_id_start_duration_and_charge() -> None:
    record = call()
    assert record.connection_fee == Money(0, "USD")
    assert record.ended_at is None
    assert record.call_id == record.user_id == record.capability == record.conference_id == ""
    assert dict(record.extra) == {}


def test_the_fee_that_is_not_given_is_zero_in_the_currency_of_the_charge() -> None:
    assert call(charge=Money(37, "JPY")).connection_fee == Money(0, "JPY")


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**9))
def test_the_cost_is_charge_and_fee_to_the_last_cent(charge: int, fee: int) -> None:
    record = call(charge=Money.from_minor(charge, "USD"), connection_fee=Money.from_minor(fee, "USD"))
    assert record.cost.amount * 100 == charge + fee
    assert record.cost.currency == "USD"


@pytest.mark.parametrize(
    "capability",
    ["MCOPSTNPP", "MCOMEETACPEA", "MCOMEETACPEA_TATA", "MCOMEETACPEA_GOV", "mcopstnpp", "McoMeetAcpea_Gov"],
)
def test_calls_of_the_credits_capabilities_use_credits_whatever_they_cost(capability: str) -> None:
    assert call(capability=capability).uses_credits
    assert call(capability=capability, charge=Money(0, "USD")).uses_credits


@pytest.mark.parametrize(
    "capability",
    [
        "",
        "MCOPSTN1",
        "MCOPSTN1BR",
        "MCOPSTN2",
        "MCOPSTN2MX",
        "MCOPSTN5",
        "MCOPSTN6",
        "MCOPSTN8",
        "MCOPSTN9",
        "MCOPSTNCAP",
        "MCOPSTNU",
        "MCOPSTNPP_GOV",
        "MCOPSTNPPX",
        "MCOPSTNC",
        "MCOMEETACPEAX",
        "MCOMEETADD",
        "MCOMEETADD_DIALOUT_US",
        "MCOMEETADD_TATA",
        "MCOEV",
        "MCOEV_VIRTUALUSER_GOV",
        "FREECALL",
    ],
)
def test_calls_of_every_other_capability_use_none_whatever_they_cost(capability: str) -> None:
    assert not call(capability=capability).uses_credits


def test_times_are_kept_in_utc() -> None:
    local = datetime(2024, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    record = call(started_at=local, ended_at=local)
    assert (record.started_at, record.started_at.tzinfo) == (datetime(2023, 12, 31, 23, 30, tzinfo=UTC), UTC)
    assert record.ended_at is not None
    assert (record.ended_at, record.ended_at.tzinfo) == (datetime(2023, 12, 31, 23, 30, tzinfo=UTC), UTC)


def test_a_call_may_be_reported_to_end_at_any_time() -> None:
    assert call(ended_at=START - timedelta(seconds=1)).ended_at == START - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record_id", ""),
        ("duration_seconds", -1),
        ("started_at", START.replace(tzinfo=None)),
        ("ended_at", START.replace(tzinfo=None)),
    ],
)
def test_what_no_call_has_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidValueError) as caught:
        call(**{field: value})
    assert (caught.value.parameter, caught.value.value) == (field, value)


TEXT_FIELDS = [
    "record_id",
    "call_id",
    "call_type",
    "capability",
    "user_id",
    "user_principal_name",
    "user_display_name",
    "caller_number",
    "callee_number",
    "destination_name",
    "destination_context",
    "number_type",
    "usage_country",
    "operator",
    "conference_id",
    "call_direction",
]


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in TEXT_FIELDS for value in (None, 7, b"x")]
    + [
        ("started_at", "2024-01-16T09:30:00Z"),
        ("started_at", None),
        ("ended_at", 1705397400),
        ("duration_seconds", 61.0),
        ("duration_seconds", True),
        ("duration_seconds", "61"),
        ("charge", Decimal("0.03")),
        ("charge", None),
        ("connection_fee", 0),
        ("connection_fee", None),
        ("extra", [("Operator", "Microsoft")]),
        ("extra", None),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(WrongTypeError) as caught:
        call(**{field: value})
    assert (caught.value.parameter, caught.value.value) == (field, value)


def test_a_fee_in_another_currency_than_the_charge_is_refused() -> None:
    with pytest.raises(CurrencyMismatchError) as caught:
        call(connection_fee=Money("0.05", "GBP"))
    assert (caught.value.expected, caught.value.actual) == ("USD", "GBP")


def test_a_record_cannot_be_changed_nor_can_its_extra() -> None:
    given_extra: dict[str, object] = {"External Country": "DE"}
    record = call(extra=given_extra)
    given_extra["External Country"] = "FR"
    assert record.extra["External Country"] == "DE"
    with pytest.raises(TypeError):
        record.extra["External Country"] = "FR"  # type: ignore[index]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        record.duration_seconds = 1  # type: ignore[misc]


def test_records_of_the_same_facts_are_equal_and_hash_alike_even_with_lists_in_extra() -> None:
    units = [{"id": "639b616c-f164-4a6f-a933-24936b8eb210"}]
    one, same = call(extra={"administrativeUnitInfos": units}), call(extra={"administrativeUnitInfos": list(units)})
    assert one == same
    assert hash(one) == hash(same)
    assert one != call()
    assert one != call(extra={"administrativeUnitInfos": units}, call_type="user_in")


def test_a_record_survives_pickling_copying_evolving_and_its_own_repr() -> None:
    record = call(ended_at=START, call_type="user_out", extra={"Administrative Units": ["a"]})
    others = [
        pickle.loads(pickle.dumps(record)),  # noqa: S301
        copy.copy(record),
        copy.deepcopy(record),
        attrs.evolve(record),
        eval(repr(record), {"CallRecord": CallRecord, "Money": Money, "datetime": __import__("datetime")}),  # noqa: S307
    ]
    for other in others:
        assert other == record
        assert other.cost == record.cost
