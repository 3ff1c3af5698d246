"""The rules a customer or an administrator sets: when to recharge and by how much, and the terms of a ledger.

All are immutable values that refuse, when built, what could never work.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs
from dateutil.relativedelta import relativedelta

from commcredits.currencies import minor_digits
from commcredits.errors import CurrencyMismatchError, InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.times import check_period, zone

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOMENT = timedelta(microseconds=1)
_LONGEST = timedelta(days=330_000)

Per = Literal["day", "week", "month"]


def check_money(parameter: str, value: object, currency: str | None = None) -> Money:
    """`value`, if it is Money, and of `currency` where one is given.

    Raises: WrongTypeError, CurrencyMismatchError.
    """
    if not isinstance(value, Money):
        raise WrongTypeError(parameter, value, 'Money, such as Money("10.50", "USD")')
    if currency is not None and value.currency != currency:
        raise CurrencyMismatchError(currency, value.currency)
    return value


def check_chargeable(parameter: str, amount: Money, step: Money | None = None) -> None:
    """Refuse an amount that no payment method takes.

    Raises: InvalidValueError when it is not above zero, not whole in minor units, or no multiple of `step`.
    """
    if amount._billionths <= 0:
        raise InvalidValueError(parameter, amount, "must be above zero")
    if amount._billionths % (10 ** (9 - minor_digits(amount.currency))):
        raise InvalidValueError(
            parameter, amount, "finer than the currency's minor unit, so no payment method takes it"
        )
    if step is not None and amount._billionths % step._billionths:
        raise InvalidValueError(parameter, amount, f"not a multiple of {step}, the purchase step")


def _check_flag(parameter: str, value: object) -> None:
    if not isinstance(value, bool):
        raise WrongTypeError(parameter, value, "a bool")


def _tuple_of(parameter: str, values: Iterable[Any], kind: type, wanted: str) -> tuple[Any, ...]:
    try:
        kept = tuple(values)
    except TypeError:
        raise WrongTypeError(parameter, values, f"an iterable of {wanted}") from None
    for value in kept:
        if not isinstance(value, kind):
            raise WrongTypeError(parameter, value, wanted)
    return kept


@attrs.frozen(order=False)
class Threshold:
    """The balance below which something is to happen.

    Strictly below, as Microsoft's "falls below"; `inclusive` means at or below, as others have it. Zero or more.

    Raises: WrongTypeError, InvalidValueError.
    """

    amount: Money
    inclusive: bool = False

    def __attrs_post_init__(self) -> None:
        check_money("threshold", self.amount)
        _check_flag("inclusive", self.inclusive)
        if self.amount._billionths < 0:
            raise InvalidValueError("threshold", self.amount, "must be zero or more")

    @property
    def clear_from(self) -> int:
        """The smallest balance that does not cross the threshold, in billionths."""
        return self.amount._billionths + self.inclusive

    def is_crossed_by(self, balance: Money) -> bool:
        """Whether `balance` is below the threshold (at or below, if inclusive).

        Raises: CurrencyMismatchError.
        """
        check_money("balance", balance, self.amount.currency)
        return balance._billionths < self.clear_from

    def __str__(self) -> str:
        return f"{'at or below' if self.inclusive else 'below'} {self.amount}"


def _threshold(value: Money | Threshold) -> Threshold:
    return value if isinstance(value, Threshold) else Threshold(value)


def _delays(values: Iterable[timedelta]) -> tuple[timedelta, ...]:
    return _tuple_of("delays", values, timedelta, "timedeltas")


def _limits(values: Iterable[RechargeLimit]) -> tuple[RechargeLimit, ...]:
    return _tuple_of("limits", values, RechargeLimit, "RechargeLimits")


def _alert_thresholds(values: Iterable[Money | Threshold]) -> tuple[Threshold, ...]:
    thresholds = set(map(_threshold, _tuple_of("alert_thresholds", values, object, "Money or Thresholds")))
    return tuple(sorted(thresholds, key=lambda threshold: threshold.clear_from, reverse=True))


def _notices(values: Iterable[timedelta]) -> tuple[timedelta, ...]:
    return tuple(sorted(set(_tuple_of("expiry_notices", values, timedelta, "timedeltas")), reverse=True))


@attrs.frozen(order=False)
class RetryPolicy:
    """How often, and how far apart, a payment method is asked again after a soft decline.

    A method gets one attempt more than there are `delays`; card schemes punish more than a few.

    Raises: WrongTypeError, InvalidValueError (a delay of zero or less).
    """

    delays: tuple[timedelta, ...] = attrs.field(
        default=(timedelta(hours=1), timedelta(hours=6), timedelta(hours=24)), converter=_delays
    )

    def __attrs_post_init__(self) -> None:
        for delay in self.delays:
            check_period("delays", delay)


@attrs.frozen(order=False, kw_only=True)
class RechargeLimit:
    """The most that automatic recharges may come to in a calendar day, week (from Monday) or month.

    By `amount`, by `count`, or both; the windows are counted in the ledger's time zone. A recharge that would exceed
    the limit is not made at all; it is never made smaller.

    Raises: WrongTypeError, InvalidValueError.
    """

    amount: Money | None = None
    count: int | None = None
    per: Per = "month"

    def __attrs_post_init__(self) -> None:
        if self.amount is None and self.count is None:
            raise InvalidValueError("limit", None, "needs an amount or a count")
        if self.amount is not None and check_money("limit", self.amount)._billionths <= 0:
            raise InvalidValueError("limit", self.amount, "must be above zero")
        if self.count is not None:
            if not isinstance(self.count, int) or isinstance(self.count, bool):
                raise WrongTypeError("count", self.count, "a whole number")
            if self.count < 1:
                raise InvalidValueError("count", self.count, "must be one or more")
        if self.per not in get_args(Per):
            raise InvalidValueError("per", self.per, 'must be "day", "week" or "month"')


@attrs.frozen(order=False)
class RechargePolicy:
    """When a ledger recharges itself, and by how much.

    Either `amount` is added each time the balance falls below `threshold` (Microsoft Teams), or the balance is brought
    to `recharge_to` (Twilio, OpenAI); `in_multiples` charges as many amounts at once as leave the threshold behind
    (Lago). Iterables are kept as tuples, a bare Money as a `Threshold` strictly below it.

    Attributes:
        limits: what automatic recharges may come to in a calendar window.
        retry: how declines are retried.
        recharge_when_refused: usage refused for lack of funds causes the recharge that it would have caused.

    Raises: WrongTypeError, InvalidValueError (neither or both sizes, an amount that is not above zero or finer than the
        minor unit, a `recharge_to` that would leave the balance below the threshold), CurrencyMismatchError.
    """

    threshold: Threshold = attrs.field(converter=_threshold)
    amount: Money | None = None
    recharge_to: Money | None = attrs.field(default=None, kw_only=True)
    in_multiples: bool = attrs.field(default=False, kw_only=True)
    limits: tuple[RechargeLimit, ...] = attrs.field(default=(), kw_only=True, converter=_limits)
    retry: RetryPolicy = attrs.field(factory=RetryPolicy, kw_only=True)
    recharge_when_refused: bool = attrs.field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if (self.amount is None) == (self.recharge_to is None):
            raise InvalidValueError("amount", self.amount, "give either an amount or recharge_to")
        if self.amount is not None:
            check_chargeable("amount", check_money("amount", self.amount, self.currency))
        if self.recharge_to is not None:
            check_money("recharge_to", self.recharge_to, self.currency)
            if self.recharge_to._billionths <= 0:
                raise InvalidValueError("recharge_to", self.recharge_to, "must be above zero")
            if self.threshold.is_crossed_by(self.recharge_to):
                raise InvalidValueError("recharge_to", self.recharge_to, f"would leave the balance {self.threshold}")
        _check_flag("in_multiples", self.in_multiples)
        _check_flag("recharge_when_refused", self.recharge_when_refused)
        if self.in_multiples and self.amount is None:
            raise InvalidValueError("in_multiples", self.in_multiples, "needs an amount to multiply")
        if not isinstance(self.retry, RetryPolicy):
            raise WrongTypeError("retry", self.retry, "a RetryPolicy")
        for limit in self.limits:
            if limit.amount is not None:
                check_money("limits", limit.amount, self.currency)

    @property
    def currency(self) -> str:
        """The currency of all its amounts."""
        return self.threshold.amount.currency


def _check_length(name: str, value: timedelta, *, at_least: timedelta) -> None:
    if not isinstance(value, timedelta):
        raise WrongTypeError(name, value, "a timedelta")
    if not at_least <= value <= _LONGEST:
        raise InvalidValueError(name, value, f"must be at least {at_least} and not longer than 900 years")


def _zero(terms: Terms) -> Money:
    return Money.zero(terms.currency)


@attrs.frozen(order=False)
class Terms:
    """The rules that a ledger is opened under.

    `None` for a bound means that there is no such bound. Microsoft's rules are `Terms.microsoft_teams()`.

    Attributes:
        currency: ISO 4217 code; it never changes.
        funds_valid_for: how long bought funds last; months are calendar months in `time_zone`. None: for ever.
        minimum_purchase: the least that a purchase or recharge charges.
        purchase_step: charges are multiples of it.
        overdraft_limit: how far usage may take the balance below zero. None: without limit, for usage that has
            already happened and must be recorded.
        late_usage_grace: how long after its expiry a lot still pays for usage that happened before it.
        hold_valid_for: the longest life of a hold, extensions included.
        time_zone: IANA name; where calendar days, weeks and months are counted.
        alert_thresholds: an alert is raised when what is available falls below one of them; kept highest first.
        expiry_notices: how long before an expiry it is announced.
        clock_skew: how far before the ledger's last event an `at` is forgiven.
        unknown_delay: how long a charge without an outcome waits before it is made again.
        key_valid_for: how long after its first try the payment provider still knows a charge's key.
        processing_for: how long a charge may stay processing before it counts as unresolved.

    Raises: WrongTypeError, InvalidValueError, UnknownCurrencyError, CurrencyMismatchError.
    """

    currency: str
    funds_valid_for: relativedelta | timedelta | None = attrs.field(default=relativedelta(months=12), kw_only=True)
    minimum_purchase: Money | None = attrs.field(default=None, kw_only=True)
    purchase_step: Money | None = attrs.field(default=None, kw_only=True)
    overdraft_limit: Money | None = attrs.field(default=attrs.Factory(_zero, takes_self=True), kw_only=True)
    late_usage_grace: timedelta = attrs.field(default=timedelta(0), kw_only=True)
    hold_valid_for: timedelta | None = attrs.field(default=timedelta(hours=24), kw_only=True)
    time_zone: str = attrs.field(default="UTC", kw_only=True)
    alert_thresholds: tuple[Threshold, ...] = attrs.field(default=(), kw_only=True, converter=_alert_thresholds)
    expiry_notices: tuple[timedelta, ...] = attrs.field(
        default=(timedelta(days=30), timedelta(days=7)), kw_only=True, converter=_notices
    )
    clock_skew: timedelta = attrs.field(default=timedelta(minutes=5), kw_only=True)
    unknown_delay: timedelta = attrs.field(default=timedelta(minutes=5), kw_only=True)
    key_valid_for: timedelta | None = attrs.field(default=timedelta(hours=24), kw_only=True)
    processing_for: timedelta | None = attrs.field(default=timedelta(hours=72), kw_only=True)

    def __attrs_post_init__(self) -> None:
        minor_digits(self.currency)
        zone(self.time_zone)
        if self.funds_valid_for is not None:
            check_period("funds_valid_for", self.funds_valid_for)
        for name in ("purchase_step", "minimum_purchase"):
            amount = getattr(self, name)
            if amount is not None:
                check_chargeable(name, check_money(name, amount, self.currency))
        if self.minimum_purchase is not None and self.purchase_step is not None:
            check_chargeable("minimum_purchase", self.minimum_purchase, self.purchase_step)
        limit = self.overdraft_limit
        if limit is not None and check_money("overdraft_limit", limit, self.currency)._billionths < 0:
            raise InvalidValueError("overdraft_limit", limit, "must be zero or more")
        for name in ("late_usage_grace", "clock_skew"):
            _check_length(name, getattr(self, name), at_least=timedelta(0))
        for name in ("hold_valid_for", "unknown_delay", "key_valid_for", "processing_for"):
            if name == "unknown_delay" or getattr(self, name) is not None:
                _check_length(name, getattr(self, name), at_least=_MOMENT)
        for threshold in self.alert_thresholds:
            check_money("alert_thresholds", threshold.amount, self.currency)
        for notice in self.expiry_notices:
            _check_length("expiry_notices", notice, at_least=_MOMENT)

    @classmethod
    def microsoft_teams(cls, currency: str = "USD") -> Terms:
        """The rules of Microsoft's Communications Credits.

        Whole units, at least 50 (the admin centre: "a whole number greater than or equal to 50"); funds last 12
        calendar months; and calls in progress may take the balance below zero, without a limit.
        """
        return cls(
            currency,
            minimum_purchase=Money(50, currency),
            purchase_step=Money(1, currency),
            overdraft_limit=None,
        )
