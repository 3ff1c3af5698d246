"""Charges, what can become of them, and the protocol of whoever makes them.

A payment method is the caller's: it takes a `Charge` and says `Paid`, `Declined` or `Processing`. If it raises, the
outcome is unknown, and the same charge, with the same id, is made again later; so `Charge.charge_id` must reach the
payment provider as the idempotency key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

import attrs

from commcredits.errors import UnknownPaymentMethodError, WrongTypeError

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.money import Money

Purpose = Literal["purchase", "recharge"]
ChargeStatus = Literal["requested", "tried", "processing", "unresolved", "paid", "declined", "withdrawn"]


@attrs.frozen(order=False)
class Paid:
    """The money was taken. `reference` is the payment provider's; empty: unknown."""

    reference: str = ""

    def __attrs_post_init__(self) -> None:
        _check_text("reference", self.reference)


@attrs.frozen(order=False)
class Declined:
    """The money was not taken, and will not be under this charge's id.

    Attributes:
        reason: the payment provider's words.
        retryable: false for a hard decline (a stolen card), after which the method is not tried again.
    """

    reason: str
    retryable: bool = True

    def __attrs_post_init__(self) -> None:
        _check_text("reason", self.reason)
        if not isinstance(self.retryable, bool):
            raise WrongTypeError("retryable", self.retryable, "a bool")


@attrs.frozen(order=False)
class Processing:
    """The payment provider will tell later; `record_outcome` brings it in. `reference` is the provider's."""

    reference: str = ""

    def __attrs_post_init__(self) -> None:
        _check_text("reference", self.reference)


Outcome = Paid | Declined | Processing


def _check_text(parameter: str, value: object) -> None:
    if not isinstance(value, str):
        raise WrongTypeError(parameter, value, "a string")


@attrs.frozen(order=False)
class Charge:
    """Money asked of a payment method.

    Attributes:
        charge_id: the payment method's idempotency key, `ledger_id:version:requested_at`; new for every attempt.
        ledger_id: whose charge it is.
        amount: whole minor units.
        payment_method: the name under which the ledger knows the instrument.
        purpose: "purchase" (a person asked) or "recharge" (automatic).
        attempt: counts from 1 for each payment method; always 1 for a purchase.
        requested_at: when the intent was recorded.
        reference: the caller's, of a purchase.
        status: where it is in its life; see `commcredits.charges`.
        tried_at: the first time that the payment method was, or may have been, called; None: never.
        last_tried_at: the latest such time.
        processing_at: since when its outcome has been promised.
        refused: the usage that was refused for lack of funds and caused the recharge; None: the threshold did.
        outcome: what is recorded of it so far.
    """

    charge_id: str
    ledger_id: str
    amount: Money
    payment_method: str
    purpose: Purpose
    attempt: int
    requested_at: datetime
    reference: str = ""
    status: ChargeStatus = "requested"
    tried_at: datetime | None = None
    last_tried_at: datetime | None = None
    processing_at: datetime | None = None
    refused: Money | None = None
    outcome: Outcome | None = None

    @property
    def is_pending(self) -> bool:
        """Whether it is not yet known to be paid or declined."""
        return self.status in ("requested", "tried", "processing", "unresolved")


class PaymentMethod(Protocol):
    """Whoever takes the money."""

    def charge(self, charge: Charge) -> Outcome:
        """Take `charge.amount`, once for each `charge.charge_id` however often it is asked.

        An exception means that the outcome is unknown: the charge stays tried, and is made again with the same id.
        """
        ...


class AsyncPaymentMethod(Protocol):
    """`PaymentMethod` for coroutines."""

    async def charge(self, charge: Charge) -> Outcome:
        """See `PaymentMethod.charge`."""
        ...


_Answer_co = TypeVar("_Answer_co", covariant=True)  # an Outcome, or the coroutine of one


class _Charges(Protocol[_Answer_co]):
    def charge(self, charge: Charge) -> _Answer_co: ...


class PaymentMethods(Generic[_Answer_co]):
    """Several payment methods as one: each charge goes to the one named by `charge.payment_method`.

    Holds blocking ones or asynchronous ones, and is then of that kind itself.

    Raises: WrongTypeError for what is no mapping of names to payment methods.
    """

    def __init__(self, methods: Mapping[str, _Charges[_Answer_co]]) -> None:
        if not isinstance(methods, Mapping):
            raise WrongTypeError("methods", methods, "a mapping of names to payment methods")
        self._methods = dict(methods)
        for name, method in self._methods.items():
            # Found out when it is to be charged, it would pass for an outcome that is not known.
            _check_text("methods", name)
            if not callable(getattr(method, "charge", None)):
                raise WrongTypeError("methods", method, "payment methods, each of them")

    def charge(self, charge: Charge) -> _Answer_co:
        """Hand the charge to its method.

        Raises: UnknownPaymentMethodError; nothing was charged, and the ledger takes the outcome as unknown.
        """
        method = self._methods.get(charge.payment_method)
        if method is None:
            raise UnknownPaymentMethodError(charge.payment_method, tuple(self._methods))
        return method.charge(charge)
