"""Rules of calling plans: what Microsoft's include, and which calls count."""

from __future__ import annotations

from typing import Any

import pytest

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony import CALL_TYPES, ZONE_A, CallingPlan, DialOutPlan
from commcredits.telephony.plans import is_domestic, pool_country

PLAN = CallingPlan("MCOPSTN2", 3_000, 600)
LONDON, BERLIN, SEATTLE = "+442079460123", "+493023125042", "+12065550188"


def never() -> str:
    raise AssertionError("the country was asked for")


def kind(plan: Any = PLAN, call_type: str = "user_out", number: str = BERLIN, **said: Any) -> str | None:
    return plan.kind_of(call_type, number, **{"home": "US", "context": "International", "country": never} | said)


def test_a_plan_says_what_a_licence_includes() -> None:
    assert dict(PLAN.minutes) == {"domestic": 3_000, "international": 600}
    assert dict(CallingPlan("MCOPSTN1", 1_200).minutes) == {"domestic": 1_200}
    assert dict(CallingPlan.pay_as_you_go().minutes) == {}
    assert dict(DialOutPlan().minutes) == {"dial_out": 60}
    assert dict(DialOutPlan(dial_out_minutes=0).minutes) == {}


@pytest.mark.parametrize(
    ("code", "country", "domestic", "international", "is_pooled"),
    [
        ("MCOPSTN1", "US", 3_000, 0, True),
        ("MCOPSTN1", "CA", 3_000, 0, True),
        ("MCOPSTN1", "GB", 1_200, 0, True),
        ("MCOPSTN1", "DE", 1_200, 0, True),
        ("MCOPSTN1", "BR", 1_200, 0, True),
        ("MCOPSTN2", "PR", 3_000, 600, True),
        ("MCOPSTN2", "GB", 3_000, 600, True),
        ("MCOPSTN2", "FR", 1_200, 600, True),
        ("MCOPSTN5", "US", 120, 0, True),
        ("MCOPSTN6", "GB", 240, 0, True),
        ("MCOPSTN8", "US", 120, 0, False),
    ],
)
def test_the_plans_of_microsoft_include_what_its_documents_say(
    code: str, country: str, domestic: int, international: int, is_pooled: bool
) -> None:
    plan = CallingPlan.microsoft_teams(code, country)
    assert plan == CallingPlan(code, domestic, international, is_pooled=is_pooled)
    assert CallingPlan.microsoft_teams(code, country, exhaustion="joint").exhaustion == "joint"


def test_zone_a_has_44_countries() -> None:
    assert len(ZONE_A) == 44
    assert {"US", "PR", "CA", "GB", "DE", "CN", "RU", "ZA"} < ZONE_A
    assert not {"AE", "IL", "ZW", "BS", "AR"} & ZONE_A


def test_calls_count_as_the_report_says() -> None:
    assert kind(context="Domestic") == "domestic"
    assert kind(context="domestic") == "domestic"
    assert kind(context="INTERNATIONAL", number=SEATTLE) == "international"


@pytest.mark.parametrize(
    ("home", "country", "expected"),
    [
        ("US", "US", "domestic"),
        ("US", "CA", "domestic"),
        ("CA", "US", "domestic"),
        ("PR", "US", "domestic"),
        ("US", "BS", "international"),
        ("US", "GB", "international"),
        ("GB", "GG", "domestic"),
        ("DE", "AT", "international"),
        ("DE", "", "international"),
        ("DE", "DE", "domestic"),
    ],
)
def test_where_the_report_does_not_say_the_countries_decide(home: str, country: str, expected: str) -> None:
    assert kind(context="", home=home, country=lambda: country) == expected
    assert is_domestic(home, country) == (expected == "domestic")


def test_a_short_code_is_dialled_at_home() -> None:
    assert kind(number="1177", context="", home="") == "domestic"


def test_without_any_word_of_where_the_user_is_nothing_is_guessed() -> None:
    with pytest.raises(InvalidValueError) as caught:
        kind(context="", home="", country=lambda: "US")
    assert (caught.value.parameter, caught.value.value) == ("usage_country", "")


def test_only_the_calls_out_of_users_and_bots_use_a_calling_plan() -> None:
    using = {code for code in CALL_TYPES if kind(call_type=code)}
    assert using == {
        *("user_out", "user_out_conf", "user_out_transfer", "user_out_forwarding", "fmc_out"),
        *("ucap_out", "ucap_out_conf"),
    }
    assert kind(call_type="USER_OUT")
    assert kind(call_type="fax_out") is None
    assert kind(call_type="") is None


def test_only_conferences_dial_out_of_their_pool() -> None:
    plan = DialOutPlan()
    assert {code for code in CALL_TYPES if kind(plan, code, country=lambda: "DE")} == {"conf_out"}


@pytest.mark.parametrize("country", ["US", "TW", "ZA"])
def test_a_pool_of_conferences_is_for_zone_a_wherever_the_organizer_is(country: str) -> None:
    assert kind(DialOutPlan(), "conf_out", home="ZW", country=lambda: country) == "dial_out"


def test_outside_its_countries_a_conference_has_no_pool() -> None:
    assert kind(DialOutPlan(), "conf_out", country=lambda: "ZW") is None
    assert kind(DialOutPlan(), "conf_out", country=lambda: "") is None
    assert kind(DialOutPlan(countries=["ZW"]), "conf_out", country=lambda: "ZW") == "dial_out"  # type: ignore[arg-type]
    assert kind(DialOutPlan(dial_out_minutes=0), "conf_out", country=lambda: "US") is None


def test_a_plan_without_minutes_of_a_kind_has_no_such_calls() -> None:
    assert kind(CallingPlan("MCOPSTN1", 3_000)) is None
    assert kind(CallingPlan.pay_as_you_go(), context="Domestic") is None


@pytest.mark.parametrize("number", ["+448441234567", "+448701234567", "+448721234***"])
def test_credits_pay_for_prefixes_of_shared_cost_though_domestic(number: str) -> None:
    assert kind(number=number, home="GB", context="Domestic") is None
    assert kind(DialOutPlan(), "conf_out", number, country=lambda: "GB") is None


def test_what_is_not_included_is_a_choice() -> None:
    plan = CallingPlan("X", 10, 10, not_included=["49", "331"])  # type: ignore[arg-type]
    assert kind(plan) is None
    assert kind(plan, number=LONDON) == "international"
    assert kind(plan, number="+448441234567") == "international"
    assert kind(plan, number="491", context="Domestic") == "domestic"
    assert kind(DialOutPlan(not_included=()), "conf_out", BERLIN, country=lambda: "DE") == "dial_out"
    for wrong, error in (
        ("49", WrongTypeError),
        ([49], WrongTypeError),
        (["+49"], InvalidValueError),
        (7, WrongTypeError),
    ):
        with pytest.raises(error, match="not_included"):
            CallingPlan("X", 10, not_included=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["+19002345678", "+33899701234"])
def test_conferences_do_not_dial_premium_numbers_out_of_their_pool(number: str) -> None:
    assert kind(DialOutPlan(), "conf_out", number, country=lambda: "US") is None


def test_emergency_numbers_use_no_minutes() -> None:
    assert kind(number="911", context="Domestic") is None


def test_puerto_rico_shares_the_pool_of_the_us() -> None:
    assert (pool_country("PR"), pool_country("US"), pool_country("CA")) == ("US", "US", "CA")


@pytest.mark.parametrize(
    ("arguments", "parameter", "value"),
    [
        (("", 1), "code", ""),
        (("X", -1), "domestic_minutes", -1),
        (("X", 1_000_001), "domestic_minutes", 1_000_001),
        (("X", 1, -1), "international_minutes", -1),
    ],
)
def test_what_no_plan_has_is_refused_by_name(arguments: tuple[Any, ...], parameter: str, value: object) -> None:
    with pytest.raises(InvalidValueError) as caught:
        CallingPlan(*arguments)
    assert (caught.value.parameter, caught.value.value) == (parameter, value)


@pytest.mark.parametrize("arguments", [(1, 1), ("X", 1.5), ("X", True), ("X", 1, "60")])
def test_what_is_of_another_type_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(WrongTypeError):
        CallingPlan(*arguments)


def test_choices_are_named() -> None:
    with pytest.raises(InvalidValueError, match="exhaustion 'both'"):
        CallingPlan("X", 1, exhaustion="both")  # type: ignore[arg-type]
    with pytest.raises(WrongTypeError):
        CallingPlan("X", 1, is_pooled=1)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="MCOPSTN9"):
        CallingPlan.microsoft_teams("MCOPSTN9", "US")


@pytest.mark.parametrize("country", ["us", "USA", "", "1A", "ÄÖ"])
def test_countries_are_two_capital_letters(country: str) -> None:
    with pytest.raises(InvalidValueError):
        CallingPlan.microsoft_teams("MCOPSTN1", country)
    with pytest.raises(InvalidValueError):
        DialOutPlan(countries=frozenset({"US", country}))


def test_what_is_no_country_at_all_is_refused() -> None:
    with pytest.raises(WrongTypeError):
        CallingPlan.microsoft_teams("MCOPSTN1", None)  # type: ignore[arg-type]
    with pytest.raises(WrongTypeError):
        DialOutPlan(countries=7)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError):
        DialOutPlan(countries="US")  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="code"):
        DialOutPlan("")
    with pytest.raises(InvalidValueError, match="dial_out_minutes"):
        DialOutPlan(dial_out_minutes=-1)
