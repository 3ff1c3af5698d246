"""Rules of admission: which calls may begin, who pays, and for how long."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import T0, ledger, usd
from commcredits import Ledger
from commcredits.errors import CurrencyMismatchError, InvalidValueError, TimeRunsBackError, WrongTypeError
from commcredits.telephony import (
    CALL_TYPES,
    Admission,
    Allowance,
    AllowanceState,
    CallingPlan,
    CallIntent,
    DialOutPlan,
    DialOutPolicy,
    Rate,
    RateCard,
    Subscriber,
    TimeBand,
    admit,
)

SEATTLE, BERLIN, PARIS, HARARE = "+12065550188", "+493023125042", "+33142685300", "+263242700123"
TOLL_FREE = "+18005550199"

CARD = RateCard(
    [
        Rate("1", usd("0.01")),
        Rate("49", usd("0.02")),
        Rate("33", usd("0.03"), connection_fee=usd("0.05")),
        Rate("44", usd("0.05")),
        Rate("263", usd("0.50")),
        Rate("1800", usd("0.02"), direction="inbound"),
        Rate("1206", usd("0.01"), direction="inbound"),
    ],
    currency="USD",
)
EVERYTHING: dict[str, Any] = {
    "calling_plan": CallingPlan("MCOPSTN1", 10),
    "audio_conferencing": DialOutPlan(),
    "communications_credits": True,
}
NO_MINUTES = AllowanceState()


def amy(**licences: Any) -> Subscriber:
    return Subscriber(user_id="amy", country="US", **EVERYTHING | licences)


def funded(amount: str = "1.00", **terms: Any) -> Ledger:
    account = ledger(**terms)
    account.add_funds(usd(amount), at=T0)
    return account


def ask(
    number: str = BERLIN,
    call_type: str = "user_out",
    *,
    subscriber: Subscriber | None = None,
    allowances: AllowanceState = NO_MINUTES,
    account: Any = None,
    card: RateCard = CARD,
    more: dict[str, Any] | None = None,
    **intent: Any,
) -> Admission:
    return admit(
        CallIntent(call_type, number, **intent),
        subscriber or amy(),
        allowances,
        funded() if account is None else account,
        card,
        T0,
        **more or {},
    )


def minutes(plan: CallingPlan | DialOutPlan, crossing: Any = "whole") -> AllowanceState:
    return AllowanceState([Allowance(plan=plan, users=["amy"], crossing=crossing)])


FREE = Admission(paid_by="nobody")


def refused(reason: Any) -> Admission:
    return Admission(reason=reason)


def by_credits(seconds: int) -> Admission:
    return Admission(paid_by="credits", max_seconds=seconds)


def by_allowance(longest: int, covered: int) -> Admission:
    return Admission(paid_by="allowance", max_seconds=longest, covered_seconds=covered)


NOBODY = Subscriber(user_id="amy", country="US", dial_out_policy=DialOutPolicy("none", "none"))


# --- what is free


@pytest.mark.parametrize("code", [code for code, kind in CALL_TYPES.items() if kind.is_emergency])
def test_emergency_calls_are_always_admitted_and_free(code: str) -> None:
    assert ask("911", code, subscriber=NOBODY, account=ledger()) == FREE


def test_a_call_to_an_emergency_number_is_one_whatever_its_type() -> None:
    assert ask("112", subscriber=NOBODY, account=ledger()) == FREE
    other = RateCard([], currency="USD", emergency_numbers=frozenset({"1122"}))
    assert ask("1122", subscriber=NOBODY, account=ledger(), card=other) == FREE


def test_short_codes_that_have_no_price_are_admitted_and_free() -> None:
    assert ask("211", subscriber=NOBODY, account=ledger()) == FREE
    assert ask("211", card=attrs.evolve(CARD, short_codes="refused")) == refused("no_rate")
    priced = RateCard([Rate("211", usd("0.10"))], currency="USD")
    assert ask("211", card=priced) == by_credits(600)


@pytest.mark.parametrize("code", [code for code, kind in CALL_TYPES.items() if kind.direction == "inbound"])
def test_calls_in_are_free(code: str) -> None:
    assert ask(SEATTLE, code, subscriber=NOBODY, account=ledger()) == FREE


@pytest.mark.parametrize("code", [code for code, kind in CALL_TYPES.items() if kind.party == "direct_routing"])
def test_direct_routing_never_uses_credits(code: str) -> None:
    assert ask(HARARE, code, subscriber=NOBODY, account=ledger()) == FREE


@pytest.mark.parametrize("code", ["conf_in", "ucap_in"])
def test_calls_to_toll_free_numbers_are_paid_by_credits_and_rated_by_the_number_called(code: str) -> None:
    assert ask(TOLL_FREE, code, is_toll_free=True) == by_credits(50 * 60)


def test_toll_free_needs_a_positive_balance() -> None:
    assert ask(TOLL_FREE, "ucap_in", is_toll_free=True, account=ledger()) == refused("no_credit")
    overdrawn = funded(overdraft_limit=None)
    overdrawn.consume(usd("1.00"), at=T0)
    assert ask(TOLL_FREE, "ucap_in", is_toll_free=True, account=overdrawn) == refused("no_credit")
    free = RateCard([Rate("1800", usd(0), direction="inbound")], currency="USD")
    assert ask(TOLL_FREE, "ucap_in", is_toll_free=True, card=free, account=ledger()) == refused("no_credit")
    assert ask(TOLL_FREE, "ucap_in", is_toll_free=True, card=free) == by_credits(86_400)


# --- who may dial what


@pytest.mark.parametrize("number", ["+449098790123", "anonymous", ""])
def test_what_nobody_may_dial_is_refused(number: str) -> None:
    assert ask(number, subscriber=amy(calling_plan=None)) == refused("destination_not_allowed")


def test_what_nobody_may_dial_is_a_choice() -> None:
    assert ask(BERLIN, more={"not_dialled": ("49",)}) == refused("destination_not_allowed")
    assert ask("+449098790123", more={"not_dialled": ()}) == by_credits(20 * 60)
    assert ask("449", more={"not_dialled": ("449",)}) == FREE


USER_CASES = [(BERLIN, "international"), (SEATTLE, "international"), (SEATTLE, "domestic")]
CONFERENCE_CASES = [(HARARE, "any"), (PARIS, "any"), (SEATTLE, "any"), (PARIS, "zone_a"), (SEATTLE, "zone_a")]
CONFERENCE_CASES += [(SEATTLE, "domestic")]


@pytest.mark.parametrize("number", [SEATTLE, PARIS, BERLIN, HARARE])
@pytest.mark.parametrize("users", ["international", "domestic", "none"])
def test_a_policy_restricts_what_users_dial(number: str, users: Any) -> None:
    allowed = users == "international" or (users == "domestic" and number == SEATTLE)
    policy = DialOutPolicy("none", users)
    assert ask(number, subscriber=amy(dial_out_policy=policy)).reason == (None if allowed else "restricted_by_policy")


@pytest.mark.parametrize("number", [SEATTLE, PARIS, BERLIN, HARARE])
@pytest.mark.parametrize("conferences", ["any", "zone_a", "domestic", "none"])
def test_a_policy_restricts_what_conferences_dial(number: str, conferences: Any) -> None:
    allowed = {"any": {SEATTLE, PARIS, BERLIN, HARARE}, "zone_a": {SEATTLE, PARIS, BERLIN}, "domestic": {SEATTLE}}
    policy = DialOutPolicy(conferences, "none")
    reason = None if number in allowed.get(conferences, set()) else "restricted_by_policy"
    assert ask(number, "conf_out", subscriber=amy(dial_out_policy=policy)).reason == reason


def test_what_the_intent_says_of_its_destination_counts() -> None:
    policy = DialOutPolicy("zone_a", "domestic")
    restricted = amy(dial_out_policy=policy)
    assert ask(BERLIN, subscriber=restricted, destination_context="Domestic").admitted
    assert ask(BERLIN, subscriber=restricted, destination_country="CA").admitted
    assert not ask(BERLIN, "conf_out", subscriber=restricted, destination_country="ZW").admitted


def test_bots_have_no_policy_and_need_only_credits() -> None:
    bot = Subscriber(user_id="bot", country="US", dial_out_policy=DialOutPolicy("none", "none"))
    assert ask(BERLIN, "ucap_out", subscriber=bot) == refused("no_licence")
    assert ask(BERLIN, "ucap_out", subscriber=attrs.evolve(bot, communications_credits=True)) == by_credits(50 * 60)


# --- licences


@pytest.mark.parametrize(
    ("call_type", "licences", "reason"),
    [
        ("user_out", {"calling_plan": None}, "no_licence"),
        ("user_out", {"audio_conferencing": None}, None),
        ("user_out", {"communications_credits": False}, "no_licence"),
        ("user_out", {"calling_plan": CallingPlan.pay_as_you_go()}, None),
        ("conf_out", {"audio_conferencing": None}, "no_licence"),
        ("conf_out", {"calling_plan": None}, None),
        ("conf_out", {"communications_credits": False}, "no_licence"),
        ("conf_in", {"audio_conferencing": None}, "no_licence"),
        ("conf_in", {"calling_plan": None}, None),
        ("conf_in", {"communications_credits": False}, "no_licence"),
    ],
)
def test_credits_pay_for_those_who_have_a_licence_for_the_call_and_one_for_credits(
    call_type: str, licences: dict[str, Any], reason: str | None
) -> None:
    number, toll_free = (TOLL_FREE, True) if call_type == "conf_in" else (BERLIN, False)
    assert ask(number, call_type, subscriber=amy(**licences), is_toll_free=toll_free).reason == reason


def test_pay_per_minute_conferencing_is_all_on_credits_and_needs_no_licence_for_them() -> None:
    organizer = Subscriber(user_id="amy", country="US", pay_per_minute_conferencing=True)
    everybodys = AllowanceState([Allowance(plan=DialOutPlan(), licences=9)])
    assert ask(BERLIN, "conf_out", subscriber=organizer, allowances=everybodys) == by_credits(50 * 60)
    assert ask(SEATTLE, "conf_in", subscriber=organizer) == by_credits(100 * 60)
    assert ask(SEATTLE, "conf_in", subscriber=organizer, account=ledger()) == refused("no_credit")
    assert ask(SEATTLE, "user_in", subscriber=organizer) == FREE
    assert ask(BERLIN, "user_out", subscriber=organizer) == refused("no_licence")


# --- who pays, and for how long


def test_without_minutes_credits_pay_as_long_as_they_last() -> None:
    assert ask(BERLIN) == by_credits(50 * 60)
    assert ask(PARIS) == by_credits(31 * 60)  # 0.05 to connect, and 0.95 for the minutes
    assert ask(BERLIN, more={"at_most_seconds": 70}) == by_credits(70)


def test_an_allowance_pays_first() -> None:
    allowances = minutes(CallingPlan("MCOPSTN1", 10))
    assert ask(SEATTLE, allowances=allowances, account=ledger()) == by_allowance(600, 600)
    assert ask(SEATTLE, allowances=allowances, more={"at_most_seconds": 600}) == by_allowance(600, 600)
    assert ask(SEATTLE, allowances=allowances, subscriber=amy(communications_credits=False)) == by_allowance(600, 600)
    assert ask(SEATTLE, allowances=allowances, card=RateCard([], currency="USD")) == by_allowance(600, 600)


def test_a_longer_call_is_all_on_credits_unless_it_may_be_split() -> None:
    plan = CallingPlan("MCOPSTN1", 10)
    assert ask(SEATTLE, allowances=minutes(plan)) == by_allowance(100 * 60, 600)
    assert ask(SEATTLE, allowances=minutes(plan), account=funded("0.05")) == by_allowance(600, 600)
    assert ask(SEATTLE, allowances=minutes(plan, "split")) == by_allowance(110 * 60, 600)
    assert ask(SEATTLE, allowances=minutes(plan, "split"), account=ledger()) == by_allowance(600, 600)
    capped = {"at_most_seconds": 1_000}
    assert ask(SEATTLE, allowances=minutes(plan, "split"), more=capped) == by_allowance(1_000, 600)


def test_the_rest_of_a_split_call_is_rated_by_when_it_begins() -> None:
    from_five_past = TimeBand(usd("0.10"), start=time(0, 5), end=time(12))
    card = RateCard([Rate("1", usd("0.01"), time_bands=(from_five_past,))], currency="USD")
    allowances = minutes(CallingPlan("MCOPSTN1", 10), "split")
    assert ask(SEATTLE, allowances=allowances, card=card) == by_allowance(600 + 10 * 60, 600)


def test_what_no_allowance_covers_is_on_credits() -> None:
    allowances = minutes(CallingPlan("MCOPSTN1", 10))
    assert ask(BERLIN, allowances=allowances) == by_credits(50 * 60)
    used_up = AllowanceState(allowances.allowances, {("MCOPSTN1", "2026-01", "domestic", ""): 600})  # type: ignore[dict-item]
    assert ask(SEATTLE, allowances=used_up) == by_credits(100 * 60)
    assert ask(SEATTLE, allowances=used_up, account=ledger()) == refused("no_credit")


def test_conferences_dial_within_their_pool_and_then_on_credits() -> None:
    allowances = minutes(DialOutPlan(dial_out_minutes=2))
    assert ask(BERLIN, "conf_out", allowances=allowances, account=ledger()) == by_allowance(120, 120)
    assert ask(HARARE, "conf_out", allowances=allowances, account=ledger()) == refused("no_credit")
    assert ask(HARARE, "conf_out", allowances=allowances) == by_credits(120)


def test_without_a_rate_or_enough_for_the_first_increment_there_is_no_call() -> None:
    assert ask("+79161234567") == refused("no_rate")
    assert ask("+79161234567", account=ledger()) == refused("no_credit")
    assert ask(HARARE, account=funded("0.49")) == refused("no_credit")
    assert ask(HARARE, account=funded("0.50")) == by_credits(60)


@given(st.integers(1, 500), st.integers(0, 5), st.sampled_from(["whole", "split"]))
def test_the_longest_call_is_paid_and_a_longer_one_is_not(cents: int, included: int, crossing: Any) -> None:
    allowances = minutes(CallingPlan("MCOPSTN1", included), crossing)
    price, at_most = 3, 3_600
    card = RateCard([Rate("1", usd("0.03"))], currency="USD")
    answer = ask(
        SEATTLE,
        allowances=allowances,
        account=funded(f"{cents / 100:.2f}"),
        card=card,
        more={"at_most_seconds": at_most},
    )

    def paid(seconds: int) -> bool:
        begun = -(-seconds // 60)
        left = max(0, begun - included) if crossing == "split" else begun * (begun > included)
        return left * price <= cents

    assert paid(answer.max_seconds or 0)
    assert answer.max_seconds == at_most or not paid((answer.max_seconds or 0) + 1)
    assert answer.admitted == (included > 0 or cents >= price)
    assert answer.covered_seconds == included * 60


# --- the ledger


def test_a_ledger_and_its_state_answer_alike_and_what_expired_does_not_count() -> None:
    account = ledger(funds_valid_for=timedelta(days=1))
    account.add_funds(usd(1), at=T0)
    intent = CallIntent("user_out", BERLIN)
    for each in (account, account.state()):
        assert admit(intent, amy(), NO_MINUTES, each, CARD, T0) == by_credits(50 * 60)
        later = T0 + timedelta(days=1)
        assert admit(intent, amy(), NO_MINUTES, each, CARD, later) == refused("no_credit")
    assert account.version == 2


def test_a_closed_ledger_admits_nothing_that_costs() -> None:
    account = funded()
    account.close(at=T0)
    assert ask(BERLIN, account=account) == refused("no_credit")


def test_an_admission_says_yes_or_no() -> None:
    assert FREE.admitted
    assert by_credits(1).admitted
    assert not refused("no_rate").admitted


def test_bad_input_is_refused_by_name() -> None:
    good: list[Any] = [CallIntent("user_out", BERLIN), amy(), NO_MINUTES, ledger(), CARD]
    names = ["call_intent", "subscriber", "allowances", "ledger", "card"]
    for place, name in enumerate(names):
        bad = [*good]
        bad[place] = "something else"
        with pytest.raises(WrongTypeError, match=name):
            admit(*bad, T0)
    with pytest.raises(InvalidValueError, match="naive"):
        admit(*good, T0.replace(tzinfo=None))
    with pytest.raises(TimeRunsBackError):
        admit(*good, T0 - timedelta(hours=1))
    with pytest.raises(WrongTypeError, match="at_most_seconds"):
        admit(*good, T0, at_most_seconds=1.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match="at_most_seconds"):
        admit(*good, T0, at_most_seconds=0)


def test_a_card_in_another_currency_is_refused() -> None:
    euros = RateCard([], currency="EUR")
    with pytest.raises(CurrencyMismatchError):
        ask(BERLIN, card=euros)
    with pytest.raises(CurrencyMismatchError):
        ask("911", card=euros)
