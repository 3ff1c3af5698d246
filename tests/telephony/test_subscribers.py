"""Rules of subscribers and of what they may dial."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony import CallingPlan, DialOutPlan, DialOutPolicy, Subscriber

CONFERENCES = {"International": "any", "ZoneA": "zone_a", "Domestic": "domestic", "Disabled": "none"}
USERS = {"International": "international", "Domestic": "domestic", "Disabled": "none"}


def test_a_subscriber_needs_only_an_id_and_a_country() -> None:
    amy = Subscriber(user_id="amy", country="US")
    assert (amy.calling_plan, amy.audio_conferencing, amy.communications_credits) == (None, None, False)
    assert amy.dial_out_policy == DialOutPolicy("any", "international")


@pytest.mark.parametrize(("conferences", "users"), list(product(CONFERENCES, USERS)))
def test_the_twelve_policies_of_microsoft_are_known_by_name(conferences: str, users: str) -> None:
    # Where both are the same word it is written once, behind "and".
    name = f"DialoutCPC{conferences}PSTN{users}" if conferences != users else f"DialoutCPCandPSTN{users}"
    assert DialOutPolicy.named(name) == DialOutPolicy(CONFERENCES[conferences], USERS[users])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["DialoutCPCDomesticPSTNDomestic", "dialoutcpcandpstndomestic", "", "Global"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        DialOutPolicy.named(name)
    assert caught.value.value == name


def test_choices_that_no_policy_has_are_refused_by_name() -> None:
    with pytest.raises(InvalidValueError, match="conferences 'all'"):
        DialOutPolicy("all")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="users 'zone_a'"):
        DialOutPolicy("any", "zone_a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("user_id", "", InvalidValueError),
        ("user_id", 7, WrongTypeError),
        ("country", "us", InvalidValueError),
        ("country", None, WrongTypeError),
        ("calling_plan", "MCOPSTN1", WrongTypeError),
        ("calling_plan", DialOutPlan(), WrongTypeError),
        ("audio_conferencing", CallingPlan("X", 1), WrongTypeError),
        ("audio_conferencing", True, WrongTypeError),
        ("pay_per_minute_conferencing", 1, WrongTypeError),
        ("communications_credits", None, WrongTypeError),
        ("dial_out_policy", "none", WrongTypeError),
    ],
)
def test_what_no_subscriber_has_is_refused_by_name(field: str, value: object, error: type[Any]) -> None:
    with pytest.raises(error) as caught:
        Subscriber(**{"user_id": "amy", "country": "US"} | {field: value})
    assert (caught.value.parameter, caught.value.value) == (field, value)


def test_nobody_has_both_kinds_of_conferencing() -> None:
    with pytest.raises(InvalidValueError, match="pay_per_minute_conferencing"):
        Subscriber(user_id="amy", country="US", audio_conferencing=DialOutPlan(), pay_per_minute_conferencing=True)
