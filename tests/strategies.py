"""Hypothesis strategies for the tests: domains of valid values, named in the plural."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import attrs
from dateutil.relativedelta import relativedelta
from hypothesis import strategies as st

from commcredits import (
    ChargeRequested,
    ChargeTried,
    CommCreditsError,
    Declined,
    Event,
    FundsAdded,
    FundsClawedBack,
    FundsConsumed,
    FundsHeld,
    Ledger,
    Outcome,
    Paid,
    Processing,
    RechargeLimit,
    RechargePolicy,
    RetryPolicy,
    Terms,
    Threshold,
)
from commcredits.currencies import MINOR_DIGITS
from commcredits.money import Money, _of

HOUR = timedelta(hours=1)


def currencies() -> st.SearchStrategy[str]:
    """Known ISO 4217 codes; shrinks to USD, then to those that are not of two decimals."""
    return st.sampled_from(sorted(MINOR_DIGITS, key=lambda code: (code != "USD", MINOR_DIGITS[code] == 2, code)))


def monies(
    currency: str = "USD",
    min_value: Money | None = None,
    max_value: Money | None = None,
    places: int = 9,
) -> st.SearchStrategy[Money]:
    """Amounts with at most `places` decimals, 0 to 9, both bounds included; without bounds, all that Money takes."""
    if not 0 <= places <= 9:
        raise ValueError(places)
    unit = 10 ** (9 - places)
    limit = Money(10**24, currency)
    low = -limit if min_value is None else min_value
    high = limit if max_value is None else max_value
    if low > high:
        raise ValueError((low, high))
    return st.integers(-(-low._billionths // unit), high._billionths // unit).map(lambda n: _of(n * unit, currency))


# Strategies that take long to build are built once.


@cache
def units(at_least: int, at_most: int, currency: str = "USD") -> st.SearchStrategy[Money]:
    """Whole major units, both bounds included."""
    return st.integers(at_least, at_most).map(lambda number: Money(number, currency))


@cache
def thresholds(currency: str = "USD", max_value: int = 100) -> st.SearchStrategy[Threshold]:
    """Thresholds of zero to `max_value` major units, both comparisons."""
    amounts = monies(currency, Money.zero(currency), Money(max_value, currency), places=2)
    return st.builds(Threshold, amounts, inclusive=st.booleans())


@cache
def recharge_limits(currency: str = "USD") -> st.SearchStrategy[RechargeLimit]:
    """Limits by amount, by count, or both."""
    amounts, counts, per = units(1, 300, currency), st.integers(1, 6), st.sampled_from(["day", "week", "month"])
    return (
        st.builds(RechargeLimit, amount=amounts, per=per)
        | st.builds(RechargeLimit, count=counts, per=per)
        | st.builds(RechargeLimit, amount=amounts, count=counts, per=per)
    )


@cache
def recharge_policies(currency: str = "USD") -> st.SearchStrategy[RechargePolicy]:
    """Policies of all three kinds, with thresholds up to 60 and amounts from 10 to 120 major units."""
    delays = st.lists(st.sampled_from([HOUR, 6 * HOUR, 24 * HOUR]), max_size=3)
    more = {
        "limits": st.lists(recharge_limits(currency), max_size=2),
        "retry": st.builds(RetryPolicy, delays),
        "recharge_when_refused": st.booleans(),
    }
    threshold = thresholds(currency, max_value=60)

    def recharging_to(threshold: Threshold, above: Money, **rest: Any) -> RechargePolicy:
        return RechargePolicy(threshold, recharge_to=threshold.amount + above, **rest)

    return (
        st.builds(RechargePolicy, threshold, units(10, 120, currency), **more)
        | st.builds(RechargePolicy, threshold, units(10, 40, currency), in_multiples=st.just(True), **more)
        | st.builds(recharging_to, threshold, units(1, 60, currency), **more)
    )


@cache
def all_terms(currency: str = "USD") -> st.SearchStrategy[Terms]:
    """Terms in which no bound or length of time is out of the ordinary."""
    periods = [relativedelta(months=12), relativedelta(months=1, days=1), timedelta(days=20), None]
    lengths = st.sampled_from([HOUR, 24 * HOUR, 72 * HOUR])
    return st.builds(
        Terms,
        st.just(currency),
        funds_valid_for=st.sampled_from(periods),
        overdraft_limit=st.none() | units(0, 50, currency),
        late_usage_grace=st.sampled_from([timedelta(0), 48 * HOUR]),
        hold_valid_for=st.none() | lengths,
        time_zone=st.sampled_from(["UTC", "America/New_York", "Pacific/Apia"]),
        alert_thresholds=st.lists(thresholds(currency), max_size=2, unique=True),
        expiry_notices=st.lists(lengths, max_size=2),
        unknown_delay=st.sampled_from([timedelta(minutes=5), HOUR]),
        key_valid_for=st.none() | lengths,
        processing_for=st.none() | lengths,
    )


class _History:
    """A ledger to which commands are given by number, so that a plain list of integers makes and shrinks a history."""

    OPENED = datetime(2024, 2, 20, 23, 30, tzinfo=UTC)
    STEPS = (
        *[timedelta(0)] * 6,
        timedelta(minutes=5),
        *[timedelta(hours=1)] * 3,
        timedelta(hours=6),
        timedelta(days=1),
        timedelta(days=8),
        timedelta(days=33),
    )

    def __init__(self, terms: Terms, policies: list[RechargePolicy]) -> None:
        self.ledger = Ledger.open("history", terms, at=self.OPENED, payment_methods=("card", "bank"))
        self.events: list[Event] = [self.ledger.opened]
        self.terms = terms
        self.policies = policies
        self.at = self.OPENED
        self.commands = 0

    def give(self, command: str, step: int, number: int) -> None:
        """Give one command; one that is refused leaves the history as it is."""
        self.at += self.STEPS[step % len(self.STEPS)]
        self.commands += 1
        key = f"key {self.commands}" if number % 2 else None
        with suppress(CommCreditsError):
            self.events += getattr(self, f"_{command}")(number, at=self.at, idempotency_key=key)

    def _money(self, number: int) -> Money:
        units = (5, 20, 20, 50, 100, 1, 33)[number % 7]
        return Money(units, "USD") + _of(1, "USD") * (number % 3)

    def _subject(self, number: int, kind: type[Event], name: str) -> Any:
        found = [event for event in self.events if isinstance(event, kind)]
        return getattr(found[number % len(found)], name) if found else "none"

    def _hold_id(self, number: int) -> str:
        """An open hold, if there is one, in most cases."""
        if self.ledger.holds and number % 5:
            return self.ledger.holds[number % len(self.ledger.holds)].hold_id
        return str(self._subject(number, FundsHeld, "hold_id"))

    def _add_funds(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.add_funds(self._money(number), reference="wire", **named)

    def _grant(self, number: int, **named: Any) -> tuple[Event, ...]:
        starts_at = self.at + timedelta(days=1) if number % 3 else None
        expires_at = self.at + timedelta(days=3) if number % 4 else None
        return self.ledger.grant(
            self._money(number), starts_at=starts_at, expires_at=expires_at, priority=number % 3 - 1, **named
        )

    def _consume(self, number: int, **named: Any) -> tuple[Event, ...]:
        occurred_at = self.at - timedelta(hours=number % 30)
        return self.ledger.consume(self._money(number), occurred_at=occurred_at, kind="call", **named)

    def _hold(self, number: int, **named: Any) -> tuple[Event, ...]:
        amount = Money(number % 30 + 1, "USD")
        return self.ledger.hold(f"hold {number % 99}", amount, expires_at=self.at + 5 * HOUR, **named)

    def _extend_hold(self, number: int, **named: Any) -> tuple[Event, ...]:
        expires_at = self.at + timedelta(hours=number % 5) if number % 3 else None
        add = Money(1, "USD") if number % 4 else None
        if not self.ledger.holds:
            self.events += self._hold(number, at=self.at)
        hold_id = self._hold_id(number)
        return self.ledger.extend_hold(hold_id, add=add, expires_at=expires_at, earlier=self.events, **named)

    def _capture(self, number: int, **named: Any) -> tuple[Event, ...]:
        hold_id, amount = self._hold_id(number), Money(number % 8, "USD")
        return self.ledger.capture(hold_id, amount, final=number % 3 > 0, earlier=self.events, **named)

    def _release(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.release(self._hold_id(number), earlier=self.events, **named)

    def _reverse_consumption(self, number: int, **named: Any) -> tuple[Event, ...]:
        found = [event for event in self.events if isinstance(event, FundsConsumed)] or [None]
        amount = Money(1, "USD") if number % 2 else None
        return self.ledger.reverse_consumption(found[number % len(found)], amount, earlier=self.events, **named)

    def _give_back(self, number: int, **named: Any) -> tuple[Event, ...]:
        name = ("refund", "claw_back", "reinstate")[number % 3]
        lot_id = self._subject(number, FundsClawedBack if name == "reinstate" else FundsAdded, "lot_id")
        command = getattr(self.ledger, name)
        return command(lot_id, Money(number % 7, "USD"), earlier=self.events, **named)

    def _purchase(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.purchase(Money(number % 5 * 10, "USD"), payment_method=("card", "bank")[number % 2], **named)

    def _configure(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.configure_auto_recharge(self.policies[number % len(self.policies)], **named)

    def _disable(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.disable_auto_recharge(**named)

    def _resume(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.resume_auto_recharge(**named)

    def _request_recharge(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.request_recharge(self._money(number), **named)

    def _change_payment_methods(self, number: int, **named: Any) -> tuple[Event, ...]:
        choices = [("card", "bank"), ("card",), ("bank", "card"), ()]
        return self.ledger.change_payment_methods(*choices[number % len(choices)], **named)

    def _try_charge(self, number: int, **named: Any) -> tuple[Event, ...]:
        pending = self.ledger.pending_charges
        return self.ledger.try_charge(pending[number % len(pending)].charge_id if pending else "none", **named)

    def _record_outcome(self, number: int, **named: Any) -> tuple[Event, ...]:
        pending = self.ledger.pending_charges if number % 7 else ()
        some = pending[number % len(pending)].charge_id if pending else None
        charge_id = some or self._subject(number, ChargeRequested, "charge_id")
        return self.ledger.record_outcome(charge_id, self._outcome(number), earlier=self.events, **named)

    def _settle(self, number: int, **named: Any) -> tuple[Event, ...]:
        self.events += (events := self._try_charge(number, **named))
        tried = [event.charge_id for event in events if isinstance(event, ChargeTried)]
        return self.ledger.record_outcome(tried[0], self._outcome(number), at=self.at) if tried else ()

    def _outcome(self, number: int) -> Outcome:
        choices = [Declined("no funds"), Paid("one"), Declined("stolen", retryable=False), Processing(), Paid("two")]
        return choices[number % len(choices)]

    def _change_terms(self, number: int, **named: Any) -> tuple[Event, ...]:
        alert = Money(number % 40, "USD")
        return self.ledger.change_terms(attrs.evolve(self.terms, alert_thresholds=(alert,)), **named)

    def _advance(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.advance(**named)

    def _close(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.close(**named) if self.commands > 20 else ()


FUNDS_COMMANDS = (
    "add_funds",
    "grant",
    "hold",
    "extend_hold",
    "extend_hold",
    "capture",
    "release",
    "reverse_consumption",
    "give_back",
)
CHARGE_COMMANDS = (
    *("purchase", "configure", "disable", "resume", "request_recharge", "change_payment_methods"),
    *("try_charge", "record_outcome", "settle", "settle", "settle"),
)
ALL_COMMANDS = (*FUNDS_COMMANDS, *CHARGE_COMMANDS, "consume", "consume", "consume", "change_terms", "advance", "close")


@cache
def _command_lists(commands: tuple[str, ...], max_size: int) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    """Lists of commands and two numbers for each; left alone, lists stay short however long they may be."""
    one = st.tuples(st.sampled_from(commands), st.integers(0, 99), st.integers(0, 9999))
    return st.one_of(*(st.lists(one, min_size=share * max_size // 3, max_size=max_size) for share in range(3)))


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    commands: tuple[str, ...] = ALL_COMMANDS,
    terms: st.SearchStrategy[Terms] | None = None,
    policies: st.SearchStrategy[RechargePolicy] | None = None,
    max_commands: int = 40,
) -> tuple[Event, ...]:
    """All the events of one ledger, to which commands of every kind were given over some months.

    It begins with funds, and automatic recharge configured; commands that the ledger refuses leave no trace.
    """
    policies = recharge_policies() if policies is None else policies
    choices = [draw(policies), draw(policies)]
    history = _History(draw(all_terms() if terms is None else terms), choices)
    history.give("add_funds", 0, draw(st.integers(0, 99)))
    history.give("configure", 0, 0)
    for command, step, number in draw(_command_lists(commands, max_commands)):
        history.give(command, step, number)
    return tuple(history.events)
