"""The strategies: what they give is valid and within its bounds, all of it can come, and bad arguments are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from build import usd
from commcredits import (
    AlertRaised,
    BalanceDepleted,
    BalanceRestored,
    ChargeDeclined,
    ChargeRequested,
    ConsumptionReversed,
    CurrencyMismatchError,
    Event,
    FundsAdded,
    FundsClawedBack,
    FundsConsumed,
    FundsGranted,
    FundsHeld,
    FundsReinstated,
    InvalidValueError,
    Ledger,
    LedgerOpened,
    Money,
    RechargeLimit,
    RechargePolicy,
    Terms,
    Threshold,
    UnknownCurrencyError,
    WrongTypeError,
)
from commcredits.codec import event_from_json, event_to_json
from commcredits.currencies import MINOR_DIGITS
from commcredits.telephony import CallRecord
from commcredits.testing import strategies
from commcredits.testing.strategies import (
    call_records,
    currencies,
    events,
    histories,
    ledgers,
    monies,
    recharge_limits,
    recharge_policies,
    terms,
    thresholds,
)

ONE, TEN = usd(1), usd(10)
KINDS: list[Any] = Event.__subclasses__()
SEARCH = settings(
    max_examples=1500,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def billionths(money: Money) -> int:
    numerator, denominator = money.amount.as_integer_ratio()
    return numerator * 10**9 // denominator


class AllSeenError(Exception):
    """What ends a search early."""


def can_give(strategy: st.SearchStrategy[Any], *wanted: Callable[[Any], bool]) -> None:
    """Draw until everything wanted was seen."""
    missing = list(wanted)

    @SEARCH
    @given(strategy)
    def look(drawn: Any) -> None:
        missing[:] = [one for one in missing if not one(drawn)]
        if not missing:
            raise AllSeenError

    with pytest.raises(AllSeenError):
        look()


# Currencies


def currency_of(drawn: Any) -> str:
    match drawn:
        case Money() | RechargePolicy() | Terms() | Ledger():
            return drawn.currency
        case Threshold():
            return drawn.amount.currency
        case CallRecord():
            return drawn.charge.currency
        case (LedgerOpened(), *_):
            return drawn[0].terms.currency
        case RechargeLimit():
            return drawn.amount.currency if drawn.amount is not None else "JPY"
    raise TypeError(drawn)


OF_A_CURRENCY: list[Any] = [
    monies,
    thresholds,
    recharge_limits,
    recharge_policies,
    terms,
    histories,
    ledgers,
    call_records,
    lambda currency=None: events(FundsAdded, currency=currency).map(lambda event: event.amount),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("strategy", OF_A_CURRENCY)
def test_a_currency_is_the_one_asked_for_or_any_number_of_decimals(strategy: Any) -> None:
    codes = ("USD", "JPY", "KWD", "CLF")
    can_give(strategy(), *(lambda drawn, code=code: currency_of(drawn) == code for code in codes))

    @settings(max_examples=10)
    @given(strategy(currency="JPY"))
    def look(drawn: Any) -> None:
        assert currency_of(drawn) == "JPY"

    look()


@pytest.mark.parametrize("strategy", OF_A_CURRENCY)
def test_a_currency_that_is_none_is_refused_at_once(strategy: Any) -> None:
    with pytest.raises(UnknownCurrencyError):
        strategy(currency="usd")
    with pytest.raises(WrongTypeError):
        strategy(currency=840)


@given(currencies())
def test_currencies_are_those_that_are_known(code: str) -> None:
    assert code in MINOR_DIGITS


def test_currencies_shrink_to_the_usual_one() -> None:
    assert find(currencies(), lambda _: True) == "USD"
    assert MINOR_DIGITS[find(currencies(), lambda code: code != "USD")] != 2


# Bounds

BOUNDED: list[Any] = [monies, thresholds, recharge_limits, recharge_policies, call_records]


@given(low=st.integers(-(10**10), 10**10), more=st.integers(0, 10**10), data=st.data())
def test_amounts_lie_between_their_bounds(low: int, more: int, data: st.DataObject) -> None:
    unit = usd("0.000000001")
    drawn = data.draw(monies(unit * low, unit * (low + more)))
    assert low <= billionths(drawn) <= low + more


@pytest.mark.parametrize("places", range(10))
def test_amounts_have_no_more_decimals_than_asked_for(places: int) -> None:
    strategy = monies(usd("-1.000000001"), usd("1.000000001"), places=places)

    @settings(max_examples=10)
    @given(strategy)
    def look(money: Money) -> None:
        assert billionths(money) % 10 ** (9 - places) == 0

    look()
    least, most = ("-1", "1") if places < 9 else ("-1.000000001", "1.000000001")
    can_give(strategy, lambda money: money == usd(least), lambda money: money == usd(most))


def test_without_bounds_amounts_are_all_that_money_takes() -> None:
    dollars = monies(currency="USD")
    can_give(dollars, lambda money: money > usd(10**23), lambda money: money < usd(-(10**23)))
    assert find(dollars, lambda _: True) == usd(0)


@pytest.mark.parametrize("bounds", [{"min_value": ONE}, {"max_value": ONE}])
def test_one_bound_is_enough_and_says_the_currency(bounds: Any) -> None:
    @settings(max_examples=20)
    @given(monies(**bounds))
    def look(money: Money) -> None:
        assert money >= ONE if "min_value" in bounds else money <= ONE

    look()


@given(thresholds(usd(3), usd("4.5"), places=1))
def test_thresholds_lie_between_their_bounds(threshold: Threshold) -> None:
    assert usd(3) <= threshold.amount <= usd("4.5")
    assert billionths(threshold.amount) % 10**8 == 0


@given(recharge_limits(ONE, TEN))
def test_limits_have_an_amount_between_the_bounds_or_a_count(limit: RechargeLimit) -> None:
    assert limit.amount is None or ONE <= limit.amount <= TEN
    assert limit.amount is not None or limit.count is not None


@given(recharge_policies(ONE, TEN))
def test_policies_recharge_by_amounts_between_the_bounds(policy: RechargePolicy) -> None:
    size = policy.recharge_to if policy.amount is None else policy.amount
    assert size is not None
    assert ONE <= size <= TEN
    assert policy.threshold.amount <= TEN


@given(call_records(usd(-1), ONE))
def test_calls_are_charged_between_the_bounds(record: CallRecord) -> None:
    assert usd(-1) <= record.charge <= ONE


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        (thresholds, "amount"),
        (recharge_limits, "amount"),
        (recharge_policies, "amount"),
        (recharge_policies, "recharge_to"),
        (call_records, "charge"),
    ],
)
def test_both_bounds_can_come(strategy: Any, name: str) -> None:
    bounds = usd("0.01"), usd("0.03")
    can_give(strategy(*bounds), *(lambda drawn, bound=bound: getattr(drawn, name) == bound for bound in bounds))


@pytest.mark.parametrize(
    ("bounds", "error"),
    [
        ({"min_value": "1"}, WrongTypeError),
        ({"max_value": 1.5}, WrongTypeError),
        ({"min_value": TEN, "max_value": ONE}, InvalidValueError),
        ({"min_value": ONE, "max_value": Money(2, "EUR")}, CurrencyMismatchError),
        ({"min_value": ONE, "currency": "EUR"}, CurrencyMismatchError),
        ({"max_value": ONE, "currency": "EUR"}, CurrencyMismatchError),
    ],
)
@pytest.mark.parametrize("strategy", BOUNDED)
def test_bad_bounds_are_refused_at_once(strategy: Any, bounds: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        strategy(**bounds)


@pytest.mark.parametrize(
    ("refused", "parameter"),
    [
        (lambda: thresholds(usd("-0.01")), "min_value"),
        (lambda: thresholds(max_value=usd("-0.01")), "min_value"),
        (lambda: recharge_limits(usd(0)), "min_value"),
        (lambda: recharge_policies(usd(0)), "min_value"),
        (lambda: recharge_policies(usd("0.001"), usd("0.009")), "min_value"),
        (lambda: recharge_limits(max_value=usd("0.009")), "min_value"),
        (lambda: monies(usd("0.01"), usd("0.09"), places=1), "min_value"),
        (lambda: monies(places=10), "places"),
        (lambda: monies(places=-1), "places"),
        (lambda: monies(places=True), "places"),
        (lambda: thresholds(places="2"), "places"),  # type: ignore[arg-type]
        (lambda: events(Money), "kind"),  # type: ignore[type-var]
        (lambda: events("FundsAdded"), "kind"),  # type: ignore[arg-type]
        (lambda: histories(commands=["consume", "spend"]), "commands"),
        (lambda: histories(max_commands=-1), "max_commands"),
        (lambda: histories(max_commands=1.5), "max_commands"),  # type: ignore[arg-type]
        (lambda: histories(max_commands=True), "max_commands"),
        (lambda: histories(ledger_id=""), "ledger_id"),
        (lambda: histories(terms=Terms("USD")), "terms"),  # type: ignore[arg-type]
        (lambda: ledgers(policies=[]), "policies"),  # type: ignore[arg-type]
        (lambda: ledgers(terms=terms(), currency="USD"), "currency"),
    ],
)
def test_what_no_strategy_could_be_made_of_is_refused_at_once(refused: Callable[[], Any], parameter: str) -> None:
    with pytest.raises((InvalidValueError, WrongTypeError)) as caught:
        refused()
    assert caught.value.parameter == parameter  # type: ignore[union-attr]


# Policies and terms


def test_policies_are_of_all_kinds() -> None:
    can_give(
        recharge_policies(currency="USD"),
        lambda policy: policy.amount is not None and not policy.in_multiples,
        lambda policy: policy.in_multiples,
        lambda policy: policy.recharge_to is not None and policy.threshold.inclusive,
        lambda policy: policy.recharge_to is not None and not policy.threshold.inclusive,
        lambda policy: len(policy.limits) == 2,
        lambda policy: not policy.retry.delays,
        lambda policy: len(policy.retry.delays) == 3,
        lambda policy: policy.recharge_when_refused,
    )


def test_terms_are_with_and_without_each_bound() -> None:
    bounds = (
        "funds_valid_for minimum_purchase purchase_step overdraft_limit hold_valid_for key_valid_for processing_for"
    )
    can_give(
        terms(currency="USD"),
        *(lambda terms, name=name: getattr(terms, name) is None for name in bounds.split()),
        *(lambda terms, name=name: getattr(terms, name) is not None for name in bounds.split()),
        lambda terms: terms == Terms.microsoft_teams("USD"),
        lambda terms: terms.minimum_purchase is not None and terms.purchase_step is not None,
        lambda terms: len(terms.alert_thresholds) > 1,
        lambda terms: terms.time_zone != "UTC",
        lambda terms: isinstance(terms.funds_valid_for, timedelta),
        lambda terms: isinstance(terms.funds_valid_for, relativedelta),
    )


# Events


@given(events())
def test_an_event_is_one_that_can_be_kept(event: Event) -> None:
    record = json.loads(json.dumps(event_to_json(event)))
    assert event_from_json(record) == event
    assert event.idempotency_key is not None or event.digest is None


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_of_the_kind_asked_for(kind: type[Event]) -> None:
    @settings(max_examples=5)
    @given(events(kind, currency="USD"))
    def look(event: Event) -> None:
        assert type(event) is kind

    look()


def test_events_are_of_all_kinds() -> None:
    can_give(events(currency="USD"), *(lambda event, kind=kind: type(event) is kind for kind in KINDS))


@pytest.mark.parametrize(
    ("kind", "name"),
    [(FundsAdded, "charge_id"), (FundsAdded, "expires_at"), (FundsConsumed, "hold_id"), (ChargeDeclined, "retry_at")],
)
def test_of_what_may_be_none_some_is(kind: type[Event], name: str) -> None:
    can_give(
        events(kind, currency="USD"),
        lambda event: getattr(event, name) is None,
        lambda event: getattr(event, name) is not None,
    )


@given(st.one_of(*map(events, (FundsConsumed, FundsHeld, ConsumptionReversed))))
def test_draws_and_what_was_overdrawn_add_up_to_the_amount(event: Any) -> None:
    parts = [billionths(draw.amount) for draw in event.draws]
    overdrawn = billionths(getattr(event, "overdrawn", Money.zero(event.amount.currency)))
    assert sum(parts) + overdrawn == billionths(event.amount)
    assert len({draw.lot_id for draw in event.draws}) == len(parts)
    if isinstance(event, ConsumptionReversed):
        assert overdrawn >= sum(billionths(draw.amount) for draw in event.unrepaid)
    if isinstance(event, FundsHeld):
        assert event.amount.is_positive


@given(events(FundsClawedBack) | events(FundsReinstated))
def test_a_shortfall_is_part_of_the_amount(event: Any) -> None:
    assert event.shortfall < event.amount
    assert event.shortfall >= Money.total(
        (amount for _, amount in getattr(event, "unrepaid", ())), event.amount.currency
    )


@given(events(FundsAdded) | events(FundsGranted))
def test_a_lot_is_named_by_its_event_and_starts_before_it_ends(event: Any) -> None:
    assert event.lot_id == event.version
    assert event.at <= event.starts_at
    assert event.expires_at is None or event.starts_at < event.expires_at
    assert isinstance(event, FundsGranted) or event.at == event.starts_at


@given(events())
def test_times_are_in_utc_and_usage_comes_before_its_record(event: Any) -> None:
    assert event.at.tzinfo is UTC
    if isinstance(event, FundsConsumed):
        assert event.occurred_at <= event.at
    for name in ("retry_at", "until", "expires_at"):
        assert getattr(event, name, None) is None or getattr(event, name) >= event.at


@given(events(ChargeRequested) | events(ChargeDeclined))
def test_charges_are_retried_only_where_that_can_be(event: Any) -> None:
    if isinstance(event, ChargeDeclined):
        assert event.retry_at is None or (event.retryable and not event.given_up)
    elif event.purpose == "purchase":
        assert (event.attempt, event.refused) == (1, None)


@given(events(BalanceDepleted) | events(BalanceRestored) | events(AlertRaised))
def test_balances_have_crossed_what_they_are_said_to_have_crossed(event: Any) -> None:
    if isinstance(event, AlertRaised):
        assert event.available < event.threshold.amount
    else:
        assert event.balance.is_positive is isinstance(event, BalanceRestored)


# Histories and ledgers


@given(histories(max_commands=10))
def test_a_history_is_that_of_one_ledger_whole(events: tuple[Event, ...]) -> None:
    assert isinstance(events[0], LedgerOpened)
    assert events[0].ledger_id == "history"
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    Ledger.replay(events).check()


@given(histories(terms=st.just(Terms("EUR")), policies=st.just(RechargePolicy(Money(1, "EUR"), Money(7, "EUR")))))
def test_a_history_goes_by_the_terms_and_policies_given(events: tuple[Event, ...]) -> None:
    assert events[0].terms == Terms("EUR")  # type: ignore[attr-defined]
    assert {event.policy.amount for event in events if type(event).__name__ == "AutoRechargeConfigured"} == {
        Money(7, "EUR")
    }


@given(histories(commands=["grant"], max_commands=3, ledger_id="acme"))
def test_a_history_is_of_the_commands_asked_for(events: tuple[Event, ...]) -> None:
    asked_for = {"FundsGranted", "LedgerOpened", "FundsAdded", "AutoRechargeConfigured"}
    by_commands = [type(event).__name__ for event in events if not hasattr(event, "charge_id") or event.version < 4]
    assert asked_for >= {name for name in by_commands if name.startswith("FundsG") or name in asked_for}
    assert sum(name == "FundsGranted" for name in by_commands) <= 3
    assert events[0].ledger_id == "acme"  # type: ignore[attr-defined]


@pytest.mark.parametrize("nothing", [{"commands": []}, {"max_commands": 0}])
def test_a_history_of_no_commands_is_that_of_an_ordinary_beginning(nothing: Any) -> None:
    @settings(max_examples=10)
    @given(histories(**nothing))
    def look(events: tuple[Event, ...]) -> None:
        assert [type(event).__name__ for event in events][:3] == [
            "LedgerOpened",
            "FundsAdded",
            "AutoRechargeConfigured",
        ]

    look()


def test_long_histories_come_too() -> None:
    can_give(histories(currency="USD"), lambda events: len(events) > 30)


@given(ledgers(max_commands=10))
def test_a_ledger_keeps_the_rules_of_money(ledger: Ledger) -> None:
    ledger.check()


# Calls


@given(call_records())
def test_a_call_is_named_and_ends_after_it_starts(record: CallRecord) -> None:
    assert record.record_id
    assert record.ended_at in (None, record.started_at + timedelta(seconds=record.duration_seconds))
    assert record.connection_fee >= Money.zero(record.charge.currency)


def test_calls_are_of_all_kinds() -> None:
    can_give(
        call_records(currency="USD"),
        lambda record: record.uses_credits,
        lambda record: not record.uses_credits,
        lambda record: record.charge.is_negative,
        lambda record: record.connection_fee.is_positive,
        lambda record: record.ended_at is None,
        lambda record: bool(record.extra),
        lambda record: record.callee_number.endswith("***"),
    )


def test_each_is_a_strategy_of_its_own_name() -> None:
    named = "monies thresholds recharge_policies terms events histories ledgers call_records".split()
    assert all(isinstance(getattr(strategies, name)(), st.SearchStrategy) for name in named)
