"""The rules a customer or an administrator sets, and what of them is refused when they are built."""

from __future__ import annotations

import copy
import datetime as dt
import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
from dateutil.relativedelta import MO, relativedelta
from hypothesis import given

from commcredits import (
    CurrencyMismatchError,
    InvalidValueError,
    Money,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
    UnknownCurrencyError,
    WrongTypeError,
)
from commcredits.testing.strategies import currencies, monies, recharge_limits, recharge_policies, terms, thresholds

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MOMENT = timedelta(microseconds=1)
NO_MONEY = [5, 5.0, "5 USD", None, True, ["5"]]


def usd(amount: str | int) -> Money:
    return Money(amount, "USD")


def eur(amount: str | int) -> Money:
    return Money(amount, "EUR")


def units(amount: Money) -> int:
    return int(amount.amount.scaleb(9))


# Thresholds.


@pytest.mark.parametrize(
    ("balance", "below", "at_or_below"),
    [("9.999999999", True, True), ("10", False, True), ("10.000000001", False, False), ("-3", True, True)],
)
def test_a_threshold_is_crossed_strictly_below_and_if_inclusive_at_or_below(
    balance: str, below: bool, at_or_below: bool
) -> None:
    assert Threshold(usd(10)).is_crossed_by(usd(balance)) is below
    assert Threshold(usd(10), inclusive=True).is_crossed_by(usd(balance)) is at_or_below


@given(threshold=thresholds(max_value=usd(100), places=2), balance=monies(usd(-200), usd(200)))
def test_a_threshold_compares_integers(threshold: Threshold, balance: Money) -> None:
    mark, value = units(threshold.amount), units(balance)
    assert threshold.is_crossed_by(balance) == (value <= mark if threshold.inclusive else value < mark)


@given(threshold=thresholds(currency="USD"))
def test_the_balance_that_is_just_clear_is_the_first_that_does_not_cross(threshold: Threshold) -> None:
    clear = usd(0) + Money.zero("USD")
    clear = clear if threshold.clear_from == 0 else Money("0.000000001", "USD") * threshold.clear_from
    assert not threshold.is_crossed_by(clear)
    assert threshold.is_crossed_by(clear - usd("0.000000001"))


def test_zero_is_a_threshold_and_less_is_not() -> None:
    assert Threshold(usd(0)).amount == usd(0)
    with pytest.raises(InvalidValueError, match=r"-0\.01") as caught:
        Threshold(usd("-0.01"))
    assert caught.value.parameter == "threshold"


def test_a_threshold_is_of_one_currency() -> None:
    with pytest.raises(CurrencyMismatchError):
        Threshold(usd(10)).is_crossed_by(eur(1))
    with pytest.raises(WrongTypeError):
        Threshold(usd(10)).is_crossed_by(10)


@pytest.mark.parametrize("amount", NO_MONEY)
def test_a_threshold_is_money(amount: Any) -> None:
    with pytest.raises(WrongTypeError):
        Threshold(amount)
    with pytest.raises(WrongTypeError):
        RechargePolicy(amount, usd(10))


def test_inclusive_is_a_bool() -> None:
    with pytest.raises(WrongTypeError, match="inclusive"):
        Threshold(usd(10), inclusive=1)


def test_a_threshold_reads_as_a_sentence() -> None:
    assert str(Threshold(usd(10))) == "below 10.00 USD"
    assert str(Threshold(usd(10), inclusive=True)) == "at or below 10.00 USD"


# Policies.


def test_a_bare_money_is_a_threshold_strictly_below() -> None:
    assert RechargePolicy(usd(10), usd(20)).threshold == Threshold(usd(10), inclusive=False)


@pytest.mark.parametrize("sizes", [{}, {"amount": usd(20), "recharge_to": usd(20)}])
def test_a_policy_has_exactly_one_size(sizes: dict[str, Money]) -> None:
    with pytest.raises(InvalidValueError, match="either"):
        RechargePolicy(usd(10), **sizes)


@pytest.mark.parametrize("amount", [usd("0.01"), usd(1), usd(10**9)])
def test_any_amount_above_zero_will_do_whatever_the_threshold(amount: Money) -> None:
    assert RechargePolicy(usd(1000), amount).amount == amount
    assert RechargePolicy(usd(0), amount).amount == amount


@pytest.mark.parametrize("amount", [usd(0), usd(-5), usd("0.005"), usd("20.000000001"), Money("0.5", "JPY")])
def test_an_amount_that_no_payment_method_takes_is_refused(amount: Money) -> None:
    with pytest.raises(InvalidValueError, match=str(amount.amount).rstrip("0").rstrip(".")) as caught:
        RechargePolicy(Money(0, amount.currency), amount)
    assert caught.value.value == amount


@pytest.mark.parametrize(
    ("recharge_to", "inclusive", "works"),
    [("9.99", False, False), ("10", False, True), ("10", True, False), ("10.01", True, True), ("-1", False, False)],
)
def test_recharge_to_must_leave_the_threshold_behind(recharge_to: str, inclusive: bool, works: bool) -> None:
    threshold = Threshold(usd(10), inclusive=inclusive)
    if works:
        assert RechargePolicy(threshold, recharge_to=usd(recharge_to)).recharge_to == usd(recharge_to)
        return
    with pytest.raises(InvalidValueError) as caught:
        RechargePolicy(threshold, recharge_to=usd(recharge_to))
    assert caught.value.parameter == "recharge_to"


@pytest.mark.parametrize(
    "arguments",
    [
        {"amount": eur(20)},
        {"recharge_to": eur(20)},
        {"amount": usd(20), "limits": [RechargeLimit(amount=eur(100))]},
    ],
)
def test_a_policy_is_of_one_currency(arguments: dict[str, Any]) -> None:
    with pytest.raises(CurrencyMismatchError) as caught:
        RechargePolicy(usd(10), **arguments)
    assert (caught.value.expected, caught.value.actual) == ("USD", "EUR")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        *[("amount", value) for value in NO_MONEY if value is not None],
        *[("recharge_to", value) for value in NO_MONEY if value is not None],
        ("in_multiples", 1),
        ("in_multiples", None),
        ("recharge_when_refused", "yes"),
        ("limits", RechargeLimit(count=1)),
        ("limits", [5]),
        ("limits", "day"),
        ("limits", None),
        ("retry", None),
        ("retry", (HOUR,)),
    ],
)
def test_a_policy_refuses_the_wrong_type(parameter: str, value: Any) -> None:
    arguments = {"amount": usd(20), parameter: value}
    if parameter == "recharge_to":
        del arguments["amount"]
    with pytest.raises(WrongTypeError):
        RechargePolicy(usd(10), **arguments)


def test_multiples_need_an_amount() -> None:
    with pytest.raises(InvalidValueError, match="in_multiples"):
        RechargePolicy(usd(10), recharge_to=usd(20), in_multiples=True)


def test_iterables_are_kept_as_tuples() -> None:
    day, week = RechargeLimit(count=1, per="day"), RechargeLimit(count=2, per="week")
    policy = RechargePolicy(
        usd(10), usd(20), limits=iter([day, week]), retry=RetryPolicy(delay for delay in (HOUR, DAY))
    )
    assert policy.limits == (day, week)
    assert policy.retry.delays == (HOUR, DAY)


def test_the_defaults_of_a_policy() -> None:
    policy = RechargePolicy(usd(10), usd(20))
    assert (policy.recharge_to, policy.in_multiples, policy.limits, policy.recharge_when_refused) == (
        None,
        False,
        (),
        False,
    )
    assert policy.retry == RetryPolicy() == RetryPolicy((HOUR, 6 * HOUR, 24 * HOUR))
    assert policy.currency == "USD"


def test_only_threshold_and_amount_are_given_by_place() -> None:
    with pytest.raises(TypeError):
        RechargePolicy(usd(10), None, usd(20))


# Retries and limits.


@pytest.mark.parametrize("delays", [(), (MOMENT,), (HOUR, HOUR), (DAY, HOUR)])
def test_retries_may_come_after_any_lengths_of_time_or_never(delays: tuple[timedelta, ...]) -> None:
    assert RetryPolicy(delays).delays == delays


@pytest.mark.parametrize("delays", [(timedelta(0),), (HOUR, -HOUR), (timedelta.max,)])
def test_a_retry_at_once_or_never_reached_is_refused(delays: tuple[timedelta, ...]) -> None:
    with pytest.raises(InvalidValueError):
        RetryPolicy(delays)


@pytest.mark.parametrize("delays", [3600, None, HOUR, (3600,), ("1 h",), (None,), (relativedelta(hours=1),)])
def test_delays_are_timedeltas(delays: Any) -> None:
    with pytest.raises(WrongTypeError):
        RetryPolicy(delays)


def test_a_limit_is_by_amount_or_count_or_both_and_by_month_unless_said_otherwise() -> None:
    assert RechargeLimit(amount=usd("0.01")).per == "month"
    assert RechargeLimit(count=1).amount is None
    assert RechargeLimit(amount=usd(5), count=1, per="day").count == 1
    with pytest.raises(InvalidValueError, match="amount or a count"):
        RechargeLimit()


@pytest.mark.parametrize(
    "arguments",
    [
        {"amount": usd(0)},
        {"amount": usd(-1)},
        {"count": 0},
        {"count": -1},
        {"count": 1, "per": "year"},
        {"count": 1, "per": "Day"},
        {"count": 1, "per": ""},
    ],
)
def test_a_limit_that_allows_nothing_or_has_no_such_window_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError):
        RechargeLimit(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [*[{"amount": value} for value in NO_MONEY if value is not None], {"count": True}, {"count": 1.0}, {"count": "1"}],
)
def test_a_limit_refuses_the_wrong_type(arguments: dict[str, Any]) -> None:
    with pytest.raises(WrongTypeError):
        RechargeLimit(**arguments)


@pytest.mark.parametrize("per", [None, 1, ["day"], {"day"}])
def test_a_window_that_is_no_text_is_refused(per: Any) -> None:
    with pytest.raises((InvalidValueError, WrongTypeError)):
        RechargeLimit(count=1, per=per)


def test_a_limit_takes_its_arguments_by_name() -> None:
    with pytest.raises(TypeError):
        RechargeLimit(usd(5))


# Terms.


def test_the_defaults_of_the_terms() -> None:
    terms = Terms("USD")
    assert terms.funds_valid_for == relativedelta(months=12)
    assert (terms.minimum_purchase, terms.purchase_step) == (None, None)
    assert terms.overdraft_limit == usd(0)
    assert terms.late_usage_grace == timedelta(0)
    assert terms.hold_valid_for == 24 * HOUR
    assert terms.time_zone == "UTC"
    assert terms.alert_thresholds == ()
    assert terms.expiry_notices == (30 * DAY, 7 * DAY)
    assert (terms.clock_skew, terms.unknown_delay) == (timedelta(minutes=5), timedelta(minutes=5))
    assert (terms.key_valid_for, terms.processing_for) == (24 * HOUR, 72 * HOUR)


@given(currency=currencies())
def test_the_overdraft_limit_is_zero_of_the_currency(currency: str) -> None:
    assert Terms(currency).overdraft_limit == Money.zero(currency)


def test_the_rules_of_microsoft_teams() -> None:
    terms = Terms.microsoft_teams()
    assert terms == attrs.evolve(Terms("USD"), minimum_purchase=usd(50), purchase_step=usd(1), overdraft_limit=None)
    assert Terms.microsoft_teams("EUR").minimum_purchase == eur(50)


@pytest.mark.parametrize(
    "name",
    [
        "funds_valid_for",
        "minimum_purchase",
        "purchase_step",
        "overdraft_limit",
        "hold_valid_for",
        "key_valid_for",
        "processing_for",
    ],
)
def test_none_means_that_there_is_no_such_bound(name: str) -> None:
    assert getattr(Terms("USD", **{name: None}), name) is None


@pytest.mark.parametrize("name", ["late_usage_grace", "clock_skew", "unknown_delay"])
def test_what_is_no_bound_cannot_be_none(name: str) -> None:
    with pytest.raises(WrongTypeError, match=name):
        Terms("USD", **{name: None})


@pytest.mark.parametrize("name", ["late_usage_grace", "clock_skew"])
def test_grace_and_skew_may_be_nothing_but_not_less(name: str) -> None:
    assert getattr(Terms("USD", **{name: timedelta(0)}), name) == timedelta(0)
    with pytest.raises(InvalidValueError, match=name):
        Terms("USD", **{name: -MOMENT})


@pytest.mark.parametrize("name", ["hold_valid_for", "unknown_delay", "key_valid_for", "processing_for"])
def test_every_other_length_is_longer_than_nothing(name: str) -> None:
    assert getattr(Terms("USD", **{name: MOMENT}), name) == MOMENT
    with pytest.raises(InvalidValueError, match=name):
        Terms("USD", **{name: timedelta(0)})


@pytest.mark.parametrize(
    "name", ["late_usage_grace", "clock_skew", "hold_valid_for", "unknown_delay", "key_valid_for", "processing_for"]
)
@pytest.mark.parametrize("value", [300, 5.0, "PT5M", relativedelta(minutes=5)])
def test_a_length_is_a_timedelta(name: str, value: Any) -> None:
    with pytest.raises(WrongTypeError, match=name):
        Terms("USD", **{name: value})


@pytest.mark.parametrize(
    "name", ["late_usage_grace", "hold_valid_for", "unknown_delay", "key_valid_for", "processing_for"]
)
def test_a_length_that_would_leave_the_calendar_is_refused(name: str) -> None:
    with pytest.raises(InvalidValueError, match=name):
        Terms("USD", **{name: timedelta.max})


@pytest.mark.parametrize(
    "period", [relativedelta(months=1), relativedelta(years=2, days=3), timedelta(hours=36), relativedelta(hours=1)]
)
def test_funds_may_be_valid_for_calendar_months_or_a_plain_length(period: Any) -> None:
    assert Terms("USD", funds_valid_for=period).funds_valid_for == period


@pytest.mark.parametrize(
    "period",
    [
        relativedelta(),
        relativedelta(months=-1),
        relativedelta(months=2, days=-1),
        relativedelta(day=31),
        relativedelta(year=2030),
        relativedelta(weekday=MO),
        relativedelta(months=1, leapdays=1),
        relativedelta(days=1.5),
        relativedelta(years=5000),
        timedelta(0),
        -DAY,
        timedelta.max,
    ],
)
def test_funds_valid_for_is_a_positive_plain_length(period: Any) -> None:
    with pytest.raises(InvalidValueError, match="funds_valid_for"):
        Terms("USD", funds_valid_for=period)


@pytest.mark.parametrize("period", [12, "12 months", 1.0, usd(1)])
def test_funds_valid_for_is_a_length_of_time(period: Any) -> None:
    with pytest.raises(WrongTypeError, match="funds_valid_for"):
        Terms("USD", funds_valid_for=period)


@pytest.mark.parametrize("name", ["minimum_purchase", "purchase_step"])
@pytest.mark.parametrize("amount", [usd(0), usd(-1), usd("0.001")])
def test_a_purchase_bound_is_chargeable_itself(name: str, amount: Money) -> None:
    with pytest.raises(InvalidValueError, match=name):
        Terms("USD", **{name: amount})


@pytest.mark.parametrize("name", ["minimum_purchase", "purchase_step", "overdraft_limit"])
def test_an_amount_in_the_terms_is_money_of_their_currency(name: str) -> None:
    with pytest.raises(CurrencyMismatchError):
        Terms("USD", **{name: eur(10)})
    with pytest.raises(WrongTypeError, match=name):
        Terms("USD", **{name: 10})


def test_the_overdraft_limit_may_be_as_fine_as_money_but_not_below_zero() -> None:
    assert Terms("USD", overdraft_limit=usd("0.000000001")).overdraft_limit == usd("0.000000001")
    with pytest.raises(InvalidValueError, match="overdraft_limit"):
        Terms("USD", overdraft_limit=usd("-0.000000001"))


@pytest.mark.parametrize("currency", ["usd", "", "XXX", "DOLLARS"])
def test_terms_need_a_known_currency(currency: str) -> None:
    with pytest.raises(UnknownCurrencyError):
        Terms(currency)
    with pytest.raises(UnknownCurrencyError):
        Terms(currency, overdraft_limit=None)


@pytest.mark.parametrize("currency", [None, 840, b"USD"])
def test_the_currency_is_text(currency: Any) -> None:
    with pytest.raises(WrongTypeError):
        Terms(currency)


@pytest.mark.parametrize(
    "name", ["Europe/Nowhere", "", "../../etc/passwd", "/etc/localtime", "UTC\0", "x" * 5000, "Europe"]
)
def test_terms_need_a_known_time_zone(name: str) -> None:
    with pytest.raises(InvalidValueError, match="time_zone"):
        Terms("USD", time_zone=name)


@pytest.mark.parametrize("zone", [None, UTC, 5])
def test_the_time_zone_is_the_name_of_one(zone: Any) -> None:
    with pytest.raises(WrongTypeError, match="time_zone"):
        Terms("USD", time_zone=zone)


def test_alert_thresholds_may_be_bare_money_and_are_kept_as_a_tuple() -> None:
    terms = Terms("USD", alert_thresholds=[usd(10), Threshold(usd(5), inclusive=True)])
    assert terms.alert_thresholds == (Threshold(usd(10)), Threshold(usd(5), inclusive=True))


@pytest.mark.parametrize("thresholds", [usd(10), 10, None, "10 USD", [10], ["10 USD"]])
def test_alert_thresholds_are_a_collection_of_money(thresholds: Any) -> None:
    with pytest.raises(WrongTypeError):
        Terms("USD", alert_thresholds=thresholds)


def test_alert_thresholds_are_of_the_currency() -> None:
    with pytest.raises(CurrencyMismatchError):
        Terms("USD", alert_thresholds=[eur(10)])


def test_alert_thresholds_given_as_a_set_are_in_the_same_order_in_every_process() -> None:
    program = (
        "from commcredits import Money, Terms\n"
        "print(Terms('USD', alert_thresholds={Money(n, 'USD') for n in range(1, 20)}).alert_thresholds)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_expiry_notices_are_the_longest_first_and_each_once() -> None:
    assert Terms("USD", expiry_notices=[DAY, 30 * DAY, DAY]).expiry_notices == (30 * DAY, DAY)
    assert Terms("USD", expiry_notices=()).expiry_notices == ()


@pytest.mark.parametrize("notices", [(timedelta(0),), (-DAY,), (timedelta.max,)])
def test_an_expiry_notice_is_a_positive_length(notices: tuple[timedelta, ...]) -> None:
    with pytest.raises(InvalidValueError, match="expiry_notices"):
        Terms("USD", expiry_notices=notices)


@pytest.mark.parametrize("notices", [30, DAY, (30,), None, ("30 days",)])
def test_expiry_notices_are_timedeltas(notices: Any) -> None:
    with pytest.raises(WrongTypeError):
        Terms("USD", expiry_notices=notices)


# All of them.


def values() -> st.SearchStrategy[Any]:
    return st.one_of(thresholds(), recharge_limits(), recharge_policies(), terms())


@given(value=values())
def test_a_rule_survives_pickling_and_copying(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - written one call before
    assert copy.copy(value) == copy.deepcopy(value) == value
    assert hash(copy.deepcopy(value)) == hash(value)


@given(value=values())
def test_a_rule_is_immutable(value: Any) -> None:
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)


@given(value=values())
def test_the_repr_of_a_rule_is_code(value: Any) -> None:
    names = {kind.__name__: kind for kind in (Money, RechargeLimit, RechargePolicy, RetryPolicy, Terms, Threshold)}
    assert eval(repr(value), {**names, "datetime": dt, "relativedelta": relativedelta}) == value  # noqa: S307


@given(one=values(), two=values())
def test_rules_are_equal_when_all_their_parts_are(one: Any, two: Any) -> None:
    same = type(one) is type(two) and attrs.asdict(one, recurse=False) == attrs.asdict(two, recurse=False)
    assert (one == two) is same


def test_rules_have_no_order() -> None:
    with pytest.raises(TypeError):
        _ = Threshold(usd(1)) < Threshold(usd(2))
    with pytest.raises(TypeError):
        _ = RechargePolicy(usd(1), usd(2)) < RechargePolicy(usd(1), usd(3))


def test_checks_hold_even_when_attrs_validators_are_switched_off() -> None:
    attrs.validators.set_disabled(True)
    try:
        with pytest.raises(InvalidValueError):
            Threshold(usd(-1))
        with pytest.raises(InvalidValueError):
            RechargePolicy(usd(10), usd(0))
        with pytest.raises(InvalidValueError):
            Terms("USD", overdraft_limit=usd(-1))
    finally:
        attrs.validators.set_disabled(False)


def test_a_time_is_no_length() -> None:
    with pytest.raises(WrongTypeError):
        Terms("USD", hold_valid_for=datetime(2024, 1, 1, tzinfo=UTC))
