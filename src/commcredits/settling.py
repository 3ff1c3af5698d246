"""Settling: the one charge that is due is claimed, made, and its outcome recorded."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.appending import Command, Receipt, Request
from commcredits.errors import ChargeNotDueError, CommCreditsError
from commcredits.events import ChargeTried

if TYPE_CHECKING:
    from commcredits.appending import Appender
    from commcredits.payment import AsyncPaymentMethod, Charge


class Settler:
    """Makes the charges that ledgers ask for, through a payment method."""

    def __init__(self, appender: Appender, payment_method: AsyncPaymentMethod) -> None:
        self._appender = appender
        self._payment_method = payment_method

    async def make_due_charge(self, ledger_id: str, request: Request) -> None:
        """Make the charge that is due after a request, if any, and bring its last receipt up to date.

        In a caller's transaction no charge is made.
        """
        receipt, charge = request.last_receipt, request.due_charge
        if receipt is not None and charge is not None and not self._appender.in_caller_transaction:
            request.replace_last_receipt(await self._make(ledger_id, receipt, charge))

    async def request_refused(self, ledger_id: str, request: Request) -> Request | None:
        """Ask for the recharge that usage refused in a request would have caused; None: asking failed.

        Whatever fails here, the refusal stays the answer.
        """
        asked = Request([Command("request_recharge", {"refused": request.refused})])
        try:
            return await self._appender.carry_out(ledger_id, asked)
        except Exception:  # noqa: BLE001
            return None

    async def _make(self, ledger_id: str, receipt: Receipt, charge: Charge) -> Receipt:
        """The receipt after the charge was made, or as far as it came.

        No lock is held while the payment method works. If the charge cannot be claimed, or its outcome recorded, it
        stays pending: what was recorded before stands.
        """
        charge_id = charge.charge_id
        try:
            receipt = await self._step(ledger_id, receipt, Command("try_charge", {"charge_id": charge_id}))
            if any(isinstance(event, ChargeTried) and event.charge_id == charge_id for event in receipt.events):
                tried = next(charge for charge in receipt.pending_charges if charge.charge_id == charge_id)
                answer: Any = self._payment_method.charge(tried)
                # One that does not wait has made the charge by now, so its answer must not be lost.
                outcome = await answer if isinstance(answer, Awaitable) else answer
                record = Command("record_outcome", {"charge_id": charge_id, "outcome": outcome}, subject=charge_id)
                receipt = await self._step(ledger_id, receipt, record)
        except ChargeNotDueError:  # somebody else makes it, or has made it
            with suppress(Exception):
                receipt = await self._appender.refreshed(ledger_id, receipt)
        except Exception as error:  # noqa: BLE001  # whatever a payment method raises leaves the outcome unknown
            receipt = attrs.evolve(receipt, charge_error=error)
        return receipt

    async def _step(self, ledger_id: str, receipt: Receipt, command: Command) -> Receipt:
        """The receipt after one more command of its charge."""
        request = await self._appender.carry_out(ledger_id, Request([command]))
        (answer,) = request.answers
        if isinstance(answer, CommCreditsError):
            raise answer
        return attrs.evolve(answer, events=receipt.events + answer.events, replayed=receipt.replayed)
