"""The fingerprint of a command as given: the same for a repetition, another for anything else, and for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import combinations
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import hypothesis.strategies as st
import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given

from commcredits import (
    Declined,
    Ledger,
    Money,
    Paid,
    Processing,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
    WrongTypeError,
)
from commcredits.digest import _flat, _parts, digest_of
from commcredits.testing.strategies import monies, recharge_limits, recharge_policies, terms, thresholds
from desk import DAY, HOUR, MINUTE, OPENED, Desk, topping_up, usd

DIFFERENT: list[tuple[Any, ...]] = [
    (),
    ("",),
    ("consume",),
    ("hold",),
    ("consume", None),
    ("consume", "None"),
    ("consume", ""),
    ("consume", "", ""),
    ("consume", "ab", "c"),
    ("consume", "a", "bc"),
    ("consume", "a\x1fb"),
    ("consume", "a", "b"),
    ("consume", "a\x1ftext:1:b"),
    ("consume", ("a", "b")),
    ("consume", ("a",), "b"),
    ("consume", ("a",), ("b",)),
    ("consume", ()),
    ("consume", 1),
    ("consume", 10),
    ("consume", -1),
    ("consume", "1"),
    ("consume", True),
    ("consume", False),
    ("consume", 0),
    ("consume", usd(1)),
    ("consume", usd(0)),
    ("consume", usd(-1)),
    ("consume", usd("0.000000001")),
    ("consume", Money(1, "EUR")),
    ("consume", Money(1, "JPY")),
    ("consume", timedelta(0)),
    ("consume", timedelta(seconds=1)),
    ("consume", timedelta(microseconds=1)),
    ("consume", DAY),
    ("consume", relativedelta(days=1)),
    ("consume", relativedelta(months=1)),
    ("consume", relativedelta(years=1)),
    ("consume", OPENED),
    ("consume", OPENED + timedelta(microseconds=1)),
    ("consume", OPENED.isoformat()),
    ("consume", Paid()),
    ("consume", Paid("x")),
    ("consume", Processing()),
    ("consume", Processing("x")),
    ("consume", Declined("")),
    ("consume", Declined("x")),
    ("consume", Declined("x", retryable=False)),
    ("consume", Threshold(usd(1))),
    ("consume", Threshold(usd(1), inclusive=True)),
    ("consume", RechargeLimit(amount=usd(1))),
    ("consume", RechargeLimit(count=1)),
    ("consume", RechargeLimit(count=1, per="day")),
    ("consume", topping_up(10, 20)),
    ("consume", topping_up(10, 30)),
    ("consume", RechargePolicy(usd(10), recharge_to=usd(20))),
    ("consume", topping_up(10, 20, in_multiples=True)),
    ("consume", topping_up(10, 20, recharge_when_refused=True)),
    ("consume", topping_up(10, 20, retry=RetryPolicy(()))),
    ("consume", topping_up(10, 20, retry=RetryPolicy((HOUR,)))),
    ("consume", topping_up(10, 20, limits=[RechargeLimit(count=1)])),
    ("consume", Terms("USD")),
    ("consume", Terms("EUR")),
    ("consume", Terms("USD", overdraft_limit=None)),
    ("consume", Terms("USD", overdraft_limit=usd(1))),
    ("consume", Terms("USD", funds_valid_for=None)),
    ("consume", Terms("USD", funds_valid_for=timedelta(days=365))),
    ("consume", Terms("USD", time_zone="Europe/Berlin")),
    ("consume", Terms("USD", alert_thresholds=[usd(1)])),
    ("consume", Terms("USD", alert_thresholds=[usd(1), usd(2)])),
]


@pytest.mark.parametrize("request_", DIFFERENT)
def test_a_value_is_written_alike_whether_it_stands_alone_or_within_another(request_: tuple[Any, ...]) -> None:
    assert _flat(request_) == list(_parts(request_))


def test_different_arguments_have_different_digests() -> None:
    digests = {digest_of(request): request for request in DIFFERENT}
    assert len(digests) == len(DIFFERENT)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (usd("10"), usd("10.00")),
        (usd("10"), Money(Decimal("1E+1"), "USD")),
        (usd("0"), usd("-0")),
        (OPENED, OPENED.astimezone(timezone(timedelta(hours=5, minutes=30)))),
        (OPENED, OPENED.astimezone(ZoneInfo("America/New_York"))),
        (
            datetime(2024, 11, 3, 6, 30, tzinfo=UTC),
            datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
        ),
        (timedelta(days=1), timedelta(hours=24)),
        (relativedelta(months=12), relativedelta(years=1)),
        (topping_up("10", "20"), topping_up("10.0", "20.00", limits=[], retry=RetryPolicy([HOUR, 6 * HOUR, DAY]))),
        (Terms("USD"), Terms("USD", overdraft_limit=usd("0.00"), expiry_notices=[7 * DAY, 30 * DAY])),
        (Paid(), Paid("")),
    ],
)
def test_arguments_equal_by_value_have_equal_digests(one: Any, two: Any) -> None:
    assert digest_of(("command", one)) == digest_of(("command", two))


def test_the_two_passes_through_a_repeated_hour_are_two_instants() -> None:
    first = datetime(2024, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York"))
    assert digest_of(("command", first)) != digest_of(("command", first.replace(fold=1)))


@pytest.mark.parametrize("value", [1.5, Decimal(1), b"x", object(), ["x"], {"x": 1}, {1}, int])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(WrongTypeError) as caught:
        digest_of(("command", value))
    assert caught.value.value is value


def test_text_that_is_no_unicode_has_a_digest_all_the_same() -> None:
    assert digest_of(("command", "\ud800")) != digest_of(("command", "\ud801"))


def arguments() -> st.SearchStrategy[Any]:
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 12),
        st.text("a:\x1f01", max_size=4),
        monies(usd(-2), usd(2), places=1),
        st.sampled_from([OPENED, OPENED + DAY]),
        st.sampled_from([timedelta(0), DAY, HOUR]),
        thresholds(max_value=usd(3), places=2),
        recharge_limits(),
    )
    return plain | st.lists(plain, max_size=3).map(tuple) | recharge_policies() | terms()


def same(one: Any, two: Any) -> bool:
    """Equal, and of one type all the way down: to Python, 1 is True and 0 is False."""
    if isinstance(one, tuple) and isinstance(two, tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and bool(one == two)


@given(one=st.lists(arguments(), max_size=4).map(tuple), two=st.lists(arguments(), max_size=4).map(tuple))
def test_digests_are_equal_exactly_when_the_arguments_are(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    assert (digest_of(one) == digest_of(two)) is same(one, two)


@given(value=arguments())
def test_a_digest_is_thirty_two_hexadecimal_digits(value: Any) -> None:
    digest = digest_of(("command", value))
    assert len(digest) == 32
    assert set(digest) <= set("0123456789abcdef")


# What each command is compared by. The values are stored: a change of one of them would break what is stored already.

LATER = OPENED + HOUR


def scene() -> Desk:
    desk = Desk(funds=100, overdraft_limit=usd(10))
    desk.do("consume", usd(5))
    desk.do("purchase", usd(30))
    desk.do("hold", "call", usd(5), expires_at=OPENED + 20 * HOUR)
    desk.do("claw_back", 2, usd(3))
    return desk


COMMANDS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "add_funds": ((usd(20),), {"reference": "wire"}),
    "purchase": ((usd(20),), {"payment_method": "bank", "reference": "order"}),
    "grant": (
        (usd(20),),
        {"starts_at": OPENED + 10 * HOUR, "expires_at": OPENED + DAY, "priority": 3},
    ),
    "consume": ((usd(20),), {"occurred_at": OPENED, "kind": "call", "description": "to Berlin"}),
    "hold": (("call 2", usd(20)), {"expires_at": OPENED + 20 * HOUR}),
    "extend_hold": (("call",), {"add": usd(1), "expires_at": OPENED + 21 * HOUR}),
    "capture": (("call", usd(2)), {"final": False, "occurred_at": OPENED, "kind": "call", "description": "x"}),
    "release": (("call",), {}),
    "configure_auto_recharge": ((topping_up(90, 20, limits=[RechargeLimit(count=3, per="week")]),), {}),
    "change_payment_methods": (("bank", "cash"), {}),
    "try_charge": (("desk:4:20240301T120000000000Z",), {}),
    "record_outcome": (("desk:4:20240301T120000000000Z", Paid("stripe 1")), {}),
    "reverse_consumption": (("the usage", usd(1)), {}),
    "refund": ((2, usd(1)), {}),
    "claw_back": ((2, usd(1)), {}),
    "reinstate": ((2, usd(1)), {}),
    "change_terms": ((Terms("USD", alert_thresholds=[usd(5)]),), {}),
    "close": ((), {}),
}


def given_command(name: str, desk: Desk, at: datetime, **changes: Any) -> str:
    arguments, named = COMMANDS[name]
    if name == "close":
        desk.do("release", "call")
    values = [desk.events[2] if value == "the usage" else value for value in arguments]
    events = getattr(desk.ledger, name)(*values, at=at, idempotency_key="k", **{**named, **changes})
    (digest,) = [event.digest for event in events if event.digest is not None]
    return digest


DIGESTS = {
    "add_funds": "2722466897f71fe3109116dcf95ed965",
    "purchase": "470dbab748550b614400096ed5d4e95c",
    "grant": "01973491a6b4316ae6a8313e55e5e348",
    "consume": "c87aefd18324347ea0d2e47d25ea6983",
    "hold": "b733754341eb1bb2307e7e0a56254c2a",
    "extend_hold": "c956e8be59389034ba7f67324aff68e0",
    "capture": "e0287e199d0b9a893ce1f4096e9f4ba5",
    "release": "bbf4c6358435978d1e40e84585736fb6",
    "configure_auto_recharge": "ad559e337570dc1e8ffa897aa04d0a42",
    "change_payment_methods": "8cfc117f93e2723c5b27fa87fdf29df3",
    "try_charge": "4ff759beed0fd0412dfd1cd49ec609ea",
    "record_outcome": "e298dc938e67e1eeedbbeeb679585150",
    "reverse_consumption": "5bc2d1a6479943be2725f107e9220733",
    "refund": "231524a50bce8716d81a7b38e00c0b24",
    "claw_back": "6b3527aa6776e8c21b76dd6e5f621a15",
    "reinstate": "eafafa5d11772559ed932ef001db0537",
    "change_terms": "a1814297d940b5fbc3fdd8f6ca301a90",
    "close": "6aaeee4c019b94c98ae6e51680c29cc3",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_digest_of_a_command_is_what_it_always_was(name: str) -> None:
    assert given_command(name, scene(), LATER) == DIGESTS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_when_a_command_is_given_is_no_part_of_it(name: str) -> None:
    digests = {given_command(name, scene(), OPENED + later) for later in (MINUTE, HOUR, 9 * HOUR)}
    assert len(digests) == 1


def test_nor_are_the_ledger_its_state_or_the_key() -> None:
    one, two = Desk(funds=100), Desk(funds=70, overdraft_limit=None)
    two.ledger = Ledger.open("other", Terms("USD", overdraft_limit=None), at=OPENED)
    first = one.do("consume", usd(5), idempotency_key="a")[0]
    second = two.do("consume", usd(5), idempotency_key="b")[0]
    assert first.digest == second.digest


@pytest.mark.parametrize(("one", "two"), [*combinations(["refund", "claw_back", "reinstate"], 2)])
def test_two_commands_of_the_same_arguments_are_two_commands(one: str, two: str) -> None:
    assert given_command(one, scene(), LATER) != given_command(two, scene(), LATER)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("add_funds", {"reference": "cheque"}),
        ("purchase", {"payment_method": "card"}),
        ("purchase", {"payment_method": None}),
        ("purchase", {"reference": ""}),
        ("grant", {"starts_at": OPENED + 11 * HOUR}),
        ("grant", {"starts_at": None}),
        ("grant", {"expires_at": None}),
        ("grant", {"priority": 0}),
        ("consume", {"occurred_at": None}),
        ("consume", {"occurred_at": OPENED + MINUTE}),
        ("consume", {"kind": ""}),
        ("consume", {"description": ""}),
        ("hold", {"expires_at": OPENED + 19 * HOUR}),
        ("extend_hold", {"add": usd(2)}),
        ("extend_hold", {"add": None}),
        ("extend_hold", {"expires_at": None}),
        ("capture", {"final": True}),
        ("capture", {"kind": "sms"}),
        ("capture", {"description": ""}),
        ("capture", {"occurred_at": None}),
    ],
)
def test_every_argument_of_a_command_is_part_of_it(name: str, changes: dict[str, Any]) -> None:
    assert given_command(name, scene(), LATER, **changes) != given_command(name, scene(), LATER)


def test_a_time_given_in_another_zone_is_the_same_command() -> None:
    berlin = OPENED.astimezone(ZoneInfo("Europe/Berlin"))
    assert given_command("consume", scene(), LATER, occurred_at=berlin) == given_command("consume", scene(), LATER)


def test_what_the_ledger_needs_to_know_of_earlier_events_is_no_part_of_a_command() -> None:
    with_earlier, without = scene(), scene()
    digest = given_command("refund", with_earlier, LATER, earlier=tuple(with_earlier.events))
    assert digest == given_command("refund", without, LATER)


def test_a_field_added_to_a_rule_would_leave_old_digests_as_they_are() -> None:
    """Fields at their default are left out, so that what a newer version adds with a default changes nothing."""

    @attrs.frozen
    class Rule:
        amount: int
        limit: int | None = None

    @attrs.frozen
    class OldRule:
        amount: int

    OldRule.__name__ = "Rule"
    assert digest_of(("command", Rule(1))) == digest_of(("command", OldRule(1)))
    assert digest_of(("command", Rule(1, 2))) != digest_of(("command", OldRule(1)))
