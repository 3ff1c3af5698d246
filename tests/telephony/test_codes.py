"""Rules of the codes of PSTN usage reports, and of what a CallRecord tells by them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from commcredits.money import Money
from commcredits.telephony import CALL_TYPES, CAPABILITIES, CallRecord
from commcredits.telephony.codes import call_type_of

# The codes as Microsoft's documents list them.
USERS = "user_in user_out user_out_conf user_out_transfer user_out_forwarding unassigned_in fmc_in fmc_out".split()
EMERGENCIES = "emergency_in emergency_out".split()
CONFERENCES = "conf_in conf_out".split()
BOTS = "ucap_in ucap_out ucap_out_conf".split()
DIRECT_ROUTING = (
    "dr_in dr_out dr_out_user_conf dr_out_user_forwarding dr_out_user_transfer dr_emergency_out dr_unassigned_in"
    " dr_in_bot dr_out_bot dr_in_ucap dr_out_ucap"
    " ByotIn ByotOut ByotOutUserConf ByotOutUserForwarding ByotOutUserTransfer ByotOutEmergency"
).split()
CREDITS = "MCOPSTNPP MCOMEETACPEA MCOMEETACPEA_TATA MCOMEETACPEA_GOV".split()
OTHERS = (
    "MCOPSTN1 MCOPSTN1BR MCOPSTN1MX MCOPSTN2 MCOPSTN2BR MCOPSTN2MX MCOPSTN5 MCOPSTN6 MCOPSTN8 MCOPSTN9 MCOPSTNCAP"
    " MCOMEETADD MCOMEETADD_DIALOUT_US MCOMEETADD_CN_GLOBAL MCOMEETADD_TATA MCOEV MCOEV_VIRTUALUSER"
    " MCOEV_VIRTUALUSER_GOV FREECALL MCOPSTNU"
).split()


def call(**changes: object) -> CallRecord:
    fields: dict[str, Any] = {
        "record_id": "a",
        "started_at": datetime(2024, 1, 2, tzinfo=UTC),
        "duration_seconds": 60,
        "charge": Money(0, "USD"),
    }
    return CallRecord(**fields | changes)


def test_every_documented_call_type_is_known() -> None:
    parties = {
        kind.party: {code for code, other in CALL_TYPES.items() if other.party == kind.party}
        for kind in CALL_TYPES.values()
    }
    assert parties == {
        "user": {*USERS, *EMERGENCIES},
        "conference": set(CONFERENCES),
        "bot": set(BOTS),
        "direct_routing": set(DIRECT_ROUTING),
    }
    assert all(code == kind.code and kind.meaning for code, kind in CALL_TYPES.items())


def test_every_documented_capability_is_known_with_who_pays() -> None:
    assert CAPABILITIES.keys() == {*CREDITS, *OTHERS}
    assert {code for code, capability in CAPABILITIES.items() if capability.payer == "credits"} == set(CREDITS)
    assert CAPABILITIES["FREECALL"].payer == "nobody"
    assert all(code == capability.code and capability.meaning for code, capability in CAPABILITIES.items())


@pytest.mark.parametrize("code", CAPABILITIES)
def test_a_record_uses_credits_just_where_the_capability_says_so(code: str) -> None:
    assert call(capability=code).uses_credits == (CAPABILITIES[code].payer == "credits")


@pytest.mark.parametrize("code", CALL_TYPES)
def test_the_direction_is_the_one_in_the_code(code: str) -> None:
    words = code.lower().replace("byot", "byot_").split("_")
    expected = "inbound" if any(word.startswith("in") for word in words) else "outbound"
    assert call(call_type=code, call_direction="Sideways").direction == expected
    assert call(call_type=code.upper()).direction == expected


@pytest.mark.parametrize(
    ("told", "direction"),
    [("Inbound", "inbound"), ("OUTBOUND", "outbound"), ("", ""), ("both ways", "")],
)
def test_the_direction_of_an_unknown_call_type_is_the_reports_own(told: str, direction: str) -> None:
    assert call_type_of("user_in_conf") is None
    assert call(call_type="user_in_conf", call_direction=told).direction == direction
    assert not call(call_type="user_in_conf").is_conference
    assert not call(call_type="user_in_conf").is_emergency


def test_conferences_and_emergencies_are_told_by_the_call_type() -> None:
    assert {code for code in CALL_TYPES if call(call_type=code).is_conference} == set(CONFERENCES)
    urgent = {code for code in CALL_TYPES if call(call_type=code).is_emergency}
    assert urgent == {*EMERGENCIES, "dr_emergency_out", "ByotOutEmergency"}


@pytest.mark.parametrize("number_type", ["TollFree", "Toll-Free", "toll free", "TOLL_FREE"])
def test_a_call_to_a_toll_free_number_of_ours_is_told_by_the_kind_of_number(number_type: str) -> None:
    assert call(call_type="ucap_in", number_type=number_type).is_toll_free
    assert not call(call_type="ucap_out", number_type=number_type).is_toll_free


@pytest.mark.parametrize("number_type", ["", "Service", "Subscriber", "Toll", "NotTollFree"])
def test_other_kinds_of_number_are_not_toll_free(number_type: str) -> None:
    assert not call(call_type="conf_in", number_type=number_type).is_toll_free
