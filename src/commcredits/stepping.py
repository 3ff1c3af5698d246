"""Stepping: a coroutine that never waits, run to its end by a caller who cannot wait.

The service is written once, as coroutines. On these wrappers of a blocking storage and payment method its coroutines
never suspend, so one step runs them whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from commcredits.errors import WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from commcredits.payment import Charge, Outcome, PaymentMethod

_R = TypeVar("_R")


def stepped(coroutine: Coroutine[Any, Any, _R]) -> _R:
    """What the coroutine returns, or raises.

    Raises: WrongTypeError when it waits for something, because it was handed an asynchronous storage or payment method.
    """
    try:
        waits_for = coroutine.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    coroutine.close()
    raise WrongTypeError(
        "storage or payment_method", waits_for, "a blocking one; AsyncLedgerService takes those that wait"
    )


class SteppedPaymentMethod:
    """A blocking payment method that can be awaited."""

    def __init__(self, payment_method: PaymentMethod) -> None:
        self._payment_method = payment_method

    async def charge(self, charge: Charge) -> Outcome:
        """See `PaymentMethod.charge`."""
        return self._payment_method.charge(charge)
