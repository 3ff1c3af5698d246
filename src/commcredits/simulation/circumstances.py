"""Circumstances: what a simulation takes as given, beside usage and a policy."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.ledger import Ledger
from commcredits.policy import check_money

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.money import Money
    from commcredits.policy import Terms

CHARGES_AT_ONCE_MAX = 100
"""A policy that charges more often than that at one instant would do so for ever, or nearly."""


@attrs.frozen(order=False)
class Circumstances:
    """The terms of the ledger, what is on it at first, and how charges go.

    Raises: WrongTypeError, CurrencyMismatchError; InvalidValueError for a delay below zero or a probability outside of
        0 to 1.
    """

    terms: Terms
    opening: Money
    charge_delay: timedelta
    decline_probability: Fraction | Decimal | float
    seed: int

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.charge_delay, timedelta):
            raise WrongTypeError("charge_delay", self.charge_delay, "a timedelta")
        if self.charge_delay < timedelta(0):
            raise InvalidValueError("charge_delay", self.charge_delay, "must not be below zero")
        if not isinstance(self.decline_probability, int | float | Fraction | Decimal):
            raise WrongTypeError("decline_probability", self.decline_probability, "a number")
        if not 0 <= self.decline_probability <= 1:
            raise InvalidValueError("decline_probability", self.decline_probability, "must be from 0 to 1")
        if not isinstance(self.seed, int):
            raise WrongTypeError("seed", self.seed, "a whole number")

    def ledger(self, start: datetime) -> Ledger:
        """A new ledger that begins so.

        Raises: what `Ledger.open` and `add_funds` raise.
        """
        ledger = Ledger.open("simulation", self.terms, at=start)
        if not check_money("opening", self.opening, self.terms.currency).is_zero:
            ledger.add_funds(self.opening, at=start)
        return ledger
