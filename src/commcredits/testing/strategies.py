"""Hypothesis strategies for the values of this library; each is named in the plural, and gives valid ones only.

Bounds are Money, both included. Without a `currency` it is that of the bounds; without them it is USD, or one of each
number of decimals that there is. Bad arguments are refused when a strategy is asked for, not when it is drawn from, by
the library's own errors: WrongTypeError, InvalidValueError, UnknownCurrencyError, CurrencyMismatchError.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from dateutil.relativedelta import relativedelta
from hypothesis import strategies as st

from commcredits.command import check_name
from commcredits.currencies import MINOR_DIGITS, known_currency
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.events import Event, HoldEnd
from commcredits.ledger import Ledger
from commcredits.lots import Draw
from commcredits.money import Money, _of
from commcredits.payment import Purpose
from commcredits.policy import Per, RechargeLimit, RechargePolicy, RetryPolicy, Terms, Threshold, check_money
from commcredits.telephony.calls import CallRecord
from commcredits.testing.histories import COMMANDS, History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hypothesis.strategies import DrawFn, SearchStrategy

_HOUR = timedelta(hours=1)
_CURRENCIES = ("USD", "JPY", "KWD", "CLF")  # of 2, 0, 3 and 4 decimals


def currencies() -> SearchStrategy[str]:
    """Known ISO 4217 codes; shrinks to USD, then to those that are not of two decimals."""
    return st.sampled_from(sorted(MINOR_DIGITS, key=lambda code: (code != "USD", MINOR_DIGITS[code] == 2, code)))


def monies(
    min_value: Money | None = None, max_value: Money | None = None, *, currency: str | None = None, places: int = 9
) -> SearchStrategy[Money]:
    """Amounts with at most `places` decimals, 0 to 9; without bounds, all that Money takes, below zero too."""
    if isinstance(places, bool) or not isinstance(places, int):
        raise WrongTypeError("places", places, "an int from 0 to 9")
    if not 0 <= places <= 9:
        raise InvalidValueError("places", places, "not from 0 to 9")
    return _in(_one_currency(currency, min_value, max_value), lambda code: _monies(min_value, max_value, code, places))


def _monies(min_value: Money | None, max_value: Money | None, currency: str, places: int) -> SearchStrategy[Money]:
    unit = 10 ** (9 - places)
    limit = Money(10**24, currency)
    low = -limit if min_value is None else min_value
    high = limit if max_value is None else max_value
    first, last = -(-low._billionths // unit), high._billionths // unit
    if first > last:
        raise InvalidValueError("min_value", low, f"nothing of {places} decimals lies between it and max_value {high}")
    return st.integers(first, last).map(lambda units: _of(units * unit, currency))


def _one_currency(currency: str | None, *bounds: Money | None) -> str | None:
    """The currency of some bounds, which must be the one given; None: any."""
    if currency is not None:
        currency = known_currency(currency)
    for name, bound in zip(("min_value", "max_value"), bounds, strict=False):
        if bound is not None:
            currency = check_money(name, bound, currency).currency
    return currency


def _in(currency: str | None, strategy: Callable[[str], SearchStrategy[Any]]) -> SearchStrategy[Any]:
    """What a strategy gives in a currency; None: in one of a few."""
    return st.one_of(*map(strategy, _CURRENCIES)) if currency is None else strategy(currency)


def _at_least(parameter: str, bound: Money | None, billionths: int, why: str) -> None:
    if bound is not None and bound._billionths < billionths:
        raise InvalidValueError(parameter, bound, why)


def thresholds(
    min_value: Money | None = None, max_value: Money | None = None, *, currency: str | None = None, places: int = 9
) -> SearchStrategy[Threshold]:
    """Thresholds whose amounts, zero or more, have at most `places` decimals; both comparisons."""
    code = _one_currency(currency, min_value, max_value)
    _at_least("min_value", min_value, 0, "must be zero or more")

    def thresholds_in(code: str) -> SearchStrategy[Threshold]:
        low = Money.zero(code) if min_value is None else min_value
        return st.builds(Threshold, monies(low, max_value, places=places), inclusive=st.booleans())

    return _in(code, thresholds_in)


def _chargeables(min_value: Money | None, max_value: Money | None, currency: str) -> SearchStrategy[Money]:
    """What payment methods take: whole minor units above zero."""
    low = Money.from_minor(1, currency) if min_value is None else min_value
    return monies(low, max_value, places=MINOR_DIGITS[currency])


def recharge_limits(
    min_value: Money | None = None, max_value: Money | None = None, *, currency: str | None = None
) -> SearchStrategy[RechargeLimit]:
    """Limits by an amount within the bounds, by count, or both."""
    code = _one_currency(currency, min_value, max_value)
    _at_least("min_value", min_value, 1, "must be above zero")
    return _in(code, lambda code: _limits(_chargeables(min_value, max_value, code), st.integers(1, 10**6)))


def _limits(amounts: SearchStrategy[Money], counts: SearchStrategy[int]) -> SearchStrategy[RechargeLimit]:
    per = st.sampled_from(get_args(Per))
    return (
        st.builds(RechargeLimit, amount=amounts, per=per)
        | st.builds(RechargeLimit, count=counts, per=per)
        | st.builds(RechargeLimit, amount=amounts, count=counts, per=per)
    )


def recharge_policies(
    min_value: Money | None = None, max_value: Money | None = None, *, currency: str | None = None
) -> SearchStrategy[RechargePolicy]:
    """Policies of all three kinds; what they add, or recharge to, is within the bounds, and no threshold above them."""
    code = _one_currency(currency, min_value, max_value)
    _at_least("min_value", min_value, 1, "must be above zero")

    def policies_in(code: str) -> SearchStrategy[RechargePolicy]:
        highest = Money(10**24, code) if max_value is None else max_value
        amounts = _chargeables(min_value, max_value, code)
        return _policies(amounts, recharge_limits(currency=code), highest, places=9)

    return _in(code, policies_in)


def _policies(
    amounts: SearchStrategy[Money], limits: SearchStrategy[RechargeLimit], highest: Money, *, places: int
) -> SearchStrategy[RechargePolicy]:
    """Policies whose thresholds have that many decimals and are not above `highest`."""
    delays = st.lists(st.sampled_from([_HOUR, 6 * _HOUR, 24 * _HOUR]), max_size=3)
    more: dict[str, SearchStrategy[Any]] = {
        "limits": st.lists(limits, max_size=2),
        "retry": st.builds(RetryPolicy, delays),
        "recharge_when_refused": st.booleans(),
    }

    def recharging_to(amount: Money) -> SearchStrategy[RechargePolicy]:
        below = thresholds(max_value=min(amount, highest), places=places).filter(
            lambda threshold: not threshold.is_crossed_by(amount)
        )
        return st.builds(RechargePolicy, below, recharge_to=st.just(amount), **more)

    threshold = thresholds(max_value=highest, places=places)
    return (
        st.builds(RechargePolicy, threshold, amounts, **more)
        | st.builds(RechargePolicy, threshold, amounts, in_multiples=st.just(True), **more)  # noqa: FBT003  # what it always is
        | amounts.flatmap(recharging_to)
    )


def terms(*, currency: str | None = None) -> SearchStrategy[Terms]:
    """Terms with and without each of their bounds, none of them longer than 400 days, and those of Microsoft Teams."""
    return _in(_one_currency(currency), _terms)


@cache
def _terms(currency: str) -> SearchStrategy[Terms]:
    lengths = st.timedeltas(timedelta(microseconds=1), timedelta(days=400))
    lengths_or_none = st.timedeltas(timedelta(0), timedelta(days=400))
    months = st.builds(relativedelta, months=st.integers(1, 13), days=st.integers(0, 31))
    purchases = _chargeables(None, None, currency)
    return st.just(Terms.microsoft_teams(currency)) | st.builds(
        _terms_of,
        st.just(currency),
        st.none() | purchases,
        st.none() | st.integers(1, 100),
        funds_valid_for=st.none() | lengths | months,
        overdraft_limit=st.none() | monies(Money.zero(currency)),
        late_usage_grace=lengths_or_none,
        hold_valid_for=st.none() | lengths,
        time_zone=st.sampled_from(["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]),
        alert_thresholds=st.lists(thresholds(currency=currency), max_size=3, unique=True),
        expiry_notices=st.lists(lengths, max_size=3),
        clock_skew=lengths_or_none,
        unknown_delay=lengths,
        key_valid_for=st.none() | lengths,
        processing_for=st.none() | lengths,
    )


def _terms_of(currency: str, step: Money | None, minimum: int | None, **rest: Any) -> Terms:
    """Terms whose minimum purchase is so many steps, or minor units."""
    unit = Money.from_minor(1, currency) if step is None else step
    least = None if minimum is None else unit * minimum
    return Terms(currency, purchase_step=step, minimum_purchase=least, **rest)


def histories(
    *,
    currency: str | None = None,
    terms: SearchStrategy[Terms] | None = None,
    policies: SearchStrategy[RechargePolicy] | None = None,
    commands: Iterable[str] = COMMANDS,
    max_commands: int = 40,
    ledger_id: str = "history",
) -> SearchStrategy[tuple[Event, ...]]:
    """All the events of one ledger, to which commands of every kind were given over some months.

    It begins with funds, and automatic recharge configured; commands that the ledger refuses leave no trace. Amounts,
    terms and policies are of few sizes, so that they often meet exactly.

    Arguments:
        currency: of terms that are drawn; those that are given have theirs.
        terms: what the ledger is opened under.
        policies: those it is given, in the currency of its terms.
        commands: what it is told, out of `commcredits.testing.histories.COMMANDS`; repeated ones are told more often.
        max_commands: how many it is told at most.
        ledger_id: its id.
    """
    if terms is None:
        terms = _in(_one_currency(currency), _busy_terms)
    elif currency is not None:
        raise InvalidValueError("currency", currency, "that of the terms counts; give one or the other")
    for name, strategy in (("terms", terms), ("policies", policies)):
        if strategy is not None and not isinstance(strategy, st.SearchStrategy):
            raise WrongTypeError(name, strategy, "a strategy")
    chosen = tuple(commands)
    for command in chosen:
        if command not in COMMANDS:
            raise InvalidValueError("commands", command, f"not one of {', '.join(sorted(set(COMMANDS)))}")
    if isinstance(max_commands, bool) or not isinstance(max_commands, int):
        raise WrongTypeError("max_commands", max_commands, "an int")
    if max_commands < 0:
        raise InvalidValueError("max_commands", max_commands, "must be zero or more")
    return _histories(check_name("ledger_id", ledger_id), terms, policies, _command_lists(chosen, max_commands))


@st.composite
def _histories(
    draw: DrawFn,
    ledger_id: str,
    terms: SearchStrategy[Terms],
    policies: SearchStrategy[RechargePolicy] | None,
    commands: SearchStrategy[list[tuple[str, int, int]]],
) -> tuple[Event, ...]:
    opened_under = draw(terms)
    policies = _busy_policies(opened_under.currency) if policies is None else policies
    history = History(ledger_id, opened_under, [draw(policies), draw(policies)])
    history.give("add_funds", 0, draw(st.integers(0, 99)))
    history.give("configure_auto_recharge", 0, 0)
    for command, step, number in draw(commands):
        history.give(command, step, number)
    return tuple(history.events)


# Strategies that take long to build are built once.


@cache
def _command_lists(commands: tuple[str, ...], max_size: int) -> SearchStrategy[list[tuple[str, int, int]]]:
    """Lists of commands and two numbers for each; left alone, lists stay short however long they may be."""
    if not commands:
        return st.just([])
    one = st.tuples(st.sampled_from(commands), st.integers(0, 99), st.integers(0, 9999))
    return st.one_of(*(st.lists(one, min_size=share * max_size // 3, max_size=max_size) for share in range(3)))


def _units(currency: str, at_least: int, at_most: int) -> SearchStrategy[Money]:
    return st.integers(at_least, at_most).map(lambda number: Money(number, currency))


@cache
def _busy_policies(currency: str) -> SearchStrategy[RechargePolicy]:
    """Policies by which usage of some units soon causes a recharge."""
    limits = _limits(_units(currency, 1, 300), st.integers(1, 6))
    return _policies(_units(currency, 10, 120), limits, Money(60, currency), places=2)


@cache
def _busy_terms(currency: str) -> SearchStrategy[Terms]:
    """Terms whose times run out within some months, and whose bounds are met by some units."""
    lengths = st.sampled_from([_HOUR, 24 * _HOUR, 72 * _HOUR])
    hundred = Money(100, currency)
    return st.builds(
        Terms,
        st.just(currency),
        funds_valid_for=st.sampled_from(
            [relativedelta(months=12), relativedelta(months=1, days=1), timedelta(days=20), None]
        ),
        overdraft_limit=st.none() | _units(currency, 0, 50),
        late_usage_grace=st.sampled_from([timedelta(0), 48 * _HOUR]),
        hold_valid_for=st.none() | lengths,
        time_zone=st.sampled_from(["UTC", "America/New_York", "Pacific/Apia"]),
        alert_thresholds=st.lists(thresholds(max_value=hundred, places=2), max_size=2, unique=True),
        expiry_notices=st.lists(lengths, max_size=2),
        unknown_delay=st.sampled_from([timedelta(minutes=5), _HOUR]),
        key_valid_for=st.none() | lengths,
        processing_for=st.none() | lengths,
    )


def events(kind: type[Event] = Event, *, currency: str | None = None) -> SearchStrategy[Event]:
    """Single events of a kind, each consistent in itself and part of no history; `Event`: of every kind."""
    if not (isinstance(kind, type) and issubclass(kind, Event)):
        raise WrongTypeError("kind", kind, "a class of events")
    kinds = Event.__subclasses__() if kind is Event else [kind]
    return _in(_one_currency(currency), lambda code: st.one_of(*(_events(kind, code) for kind in kinds)))


@st.composite
def _events(draw: DrawFn, kind: type[Event], currency: str) -> Event:
    values = {name: draw(strategy) for name, strategy in _fields(kind, currency).items()}
    return kind(**_consistent(kind.__name__, values, currency))


@cache
def _fields(kind: type[Event], currency: str) -> dict[str, SearchStrategy[Any]]:
    """What draws each field of a kind of events, whatever the others are; times are lengths after `at`."""
    billionth = _of(1, currency)
    above_zero, any_amount, texts = monies(billionth), monies(currency=currency), st.text(max_size=50)
    names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50)
    numbers, lengths = st.integers(1, 10**6), st.timedeltas(timedelta(0), timedelta(days=400))
    draws = st.lists(st.builds(Draw, numbers, above_zero), max_size=3, unique_by=lambda draw: draw.lot_id).map(tuple)
    charge_ids = st.builds("{}:{}:{:%Y%m%dT%H%M%S%fZ}".format, names, numbers, _times())
    strategies: dict[str, SearchStrategy[Any]] = {
        **dict.fromkeys(("version", "lot_id", "consumption", "attempt"), numbers),
        **dict.fromkeys(("starts_at", "expires_at", "occurred_at", "until"), lengths),
        **dict.fromkeys(("amount", "shortfall", "balance"), above_zero),
        **dict.fromkeys(("draws", "unrepaid"), draws),
        **dict.fromkeys(("ledger_id", "hold_id", "payment_method"), names),
        **dict.fromkeys(("reference", "kind", "description", "reason"), texts),
        **dict.fromkeys(("retryable", "given_up"), st.booleans()),
        "at": _times(),
        "idempotency_key": st.none() | names,
        "digest": st.binary(min_size=16, max_size=16).map(bytes.hex),
        "terms": terms(currency=currency),
        "payment_methods": st.lists(names, max_size=3, unique=True).map(tuple),
        "charge_id": charge_ids,
        "priority": st.integers(-10, 10),
        "overdrawn": monies(Money.zero(currency)),
        "purpose": st.sampled_from(get_args(Purpose)),
        "refused": st.none() | above_zero,
        "retry_at": st.none() | lengths,
        "policy": recharge_policies(currency=currency),
        "limit": recharge_limits(currency=currency),
        "threshold": thresholds(currency=currency),
        "available": any_amount,
    }
    special: dict[tuple[str, str], SearchStrategy[Any]] = {
        ("FundsAdded", "charge_id"): st.none() | charge_ids,
        ("FundsAdded", "expires_at"): st.none() | lengths,
        ("FundsGranted", "expires_at"): st.none() | lengths,
        ("FundsHeld", "draws"): draws.filter(len),
        ("FundsConsumed", "hold_id"): st.none() | names,
        ("HoldReleased", "reason"): st.sampled_from(get_args(HoldEnd)),
    }
    return {name: special.get((kind.__name__, name), strategies[name]) for name in kind.fields}


def _consistent(kind: str, values: dict[str, Any], currency: str) -> dict[str, Any]:
    """The fields of an event, so changed that they agree with each other."""
    at, nothing = values["at"], Money.zero(currency)
    fitting = dict(values)
    if values["idempotency_key"] is None:
        fitting["digest"] = None
    for name in ("starts_at", "expires_at", "until", "retry_at"):
        if values.get(name) is not None:
            fitting[name] = at + values[name]
    if kind in ("FundsAdded", "FundsGranted"):
        fitting["lot_id"] = values["version"]
        fitting["starts_at"] = at if kind == "FundsAdded" else fitting["starts_at"]
        if values["expires_at"] is not None:
            fitting["expires_at"] = fitting["starts_at"] + values["expires_at"] + timedelta(microseconds=1)
    unrepaid = Money.total((amount for _, amount in values.get("unrepaid", ())), currency)
    for name in ("overdrawn", "shortfall"):
        if name in values:
            fitting[name] = values[name] + unrepaid
    if "draws" in values:
        fitting["amount"] = Money.total((amount for _, amount in values["draws"]), currency)
        fitting["amount"] += fitting.get("overdrawn", nothing)
    elif "shortfall" in values:
        fitting["amount"] += fitting["shortfall"]
    if kind == "FundsConsumed":
        fitting["occurred_at"] = at - values["occurred_at"]
    elif kind == "ChargeRequested" and values["purpose"] == "purchase":
        fitting |= {"attempt": 1, "refused": None}
    elif kind == "ChargeDeclined":
        fitting["retry_at"] = fitting["retry_at"] if values["retryable"] and not values["given_up"] else None
    elif kind == "BalanceDepleted":
        fitting["balance"] = -values["balance"]
    elif kind == "AlertRaised":
        fitting["available"] = min(values["available"], values["threshold"].amount - _of(1, currency))
    return fitting


def ledgers(
    *,
    currency: str | None = None,
    terms: SearchStrategy[Terms] | None = None,
    policies: SearchStrategy[RechargePolicy] | None = None,
    max_commands: int = 40,
) -> SearchStrategy[Ledger]:
    """Ledgers with a history; see `histories`."""
    past = histories(currency=currency, terms=terms, policies=policies, max_commands=max_commands, ledger_id="ledger")
    return past.map(Ledger.replay)


def call_records(
    min_value: Money | None = None, max_value: Money | None = None, *, currency: str | None = None
) -> SearchStrategy[CallRecord]:
    """Calls of any kind, on credits or not, whose `charge` is within the bounds; reports give back, too."""
    code = _one_currency(currency, min_value, max_value)
    return _in(code, lambda code: _call_records(monies(min_value, max_value, currency=code)))


@st.composite
def _call_records(draw: DrawFn, charges: SearchStrategy[Money]) -> CallRecord:
    charge, started_at = draw(charges), draw(_times())
    duration_seconds = draw(st.integers(0, 24 * 3600))
    return CallRecord(
        record_id=draw(st.uuids().map(str)),
        started_at=started_at,
        duration_seconds=duration_seconds,
        charge=charge,
        connection_fee=draw(st.just(Money.zero(charge.currency)) | monies(Money.zero(charge.currency))),
        ended_at=draw(st.sampled_from([None, started_at + timedelta(seconds=duration_seconds)])),
        **{name: draw(strategy) for name, strategy in _CALL_FACTS.items()},
    )


_NUMBERS = st.integers(10**6, 10**14).map("+{}".format)
_CALL_FACTS: dict[str, SearchStrategy[Any]] = {
    "call_id": st.uuids().map(str),
    "call_type": st.sampled_from(["user_in", "user_out", "conf_in", "conf_out", "ucap_in", "ucap_out"]),
    "capability": st.sampled_from(["MCOPSTNPP", "MCOMEETACPEA", "MCOMEETACPEA_GOV", "MCOPSTN1", "MCOPSTNC", ""]),
    "caller_number": _NUMBERS,
    "callee_number": _NUMBERS | _NUMBERS.map(lambda number: number[:-3] + "***"),
    "destination_context": st.sampled_from(["Domestic", "International", ""]),
    "call_direction": st.sampled_from(["Inbound", "Outbound", ""]),
    "extra": st.dictionaries(st.text(), st.text(), max_size=2),
}


def _times() -> SearchStrategy[datetime]:
    return st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # see timezones
