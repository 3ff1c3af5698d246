"""The life of one charge: its states, what moves it from one to the next, and when.

| from | to | by |
|---|---|---|
| – | requested | ChargeRequested: the intent, before anything outside is touched |
| requested, tried | tried | ChargeTried: whoever appends it calls the payment method |
| requested | withdrawn | ChargeWithdrawn: never tried, and no longer wanted |
| requested, tried, processing | paid, declined, processing | the outcome |
| tried, processing | unresolved | ChargeUnresolved: nobody told in time |
| unresolved | paid, declined | the outcome, at last |
| declined, withdrawn | paid | late: the money was taken all the same |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from commcredits.errors import OutcomeConflictError
from commcredits.events import (
    ChargeDeclined,
    ChargePaid,
    ChargeProcessing,
    ChargeRequested,
    ChargeTried,
    ChargeUnresolved,
    ChargeWithdrawn,
)
from commcredits.payment import Charge, Declined, Paid, Processing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from commcredits.events import Event
    from commcredits.payment import Outcome
    from commcredits.policy import Terms

ChargeEvent = (
    ChargeRequested | ChargeTried | ChargeProcessing | ChargePaid | ChargeDeclined | ChargeWithdrawn | ChargeUnresolved
)


def charge_id(ledger_id: str, version: int, requested_at: datetime) -> str:
    """The charge's id, which is the payment method's idempotency key: computed, and never the same twice."""
    return f"{ledger_id}:{version}:{requested_at:%Y%m%dT%H%M%S%fZ}"


def requested(ledger_id: str, event: ChargeRequested) -> Charge:
    """The charge that an event began."""
    return Charge(
        charge_id=event.charge_id,
        ledger_id=ledger_id,
        amount=event.amount,
        payment_method=event.payment_method,
        purpose=event.purpose,
        attempt=event.attempt,
        requested_at=event.at,
        reference=event.reference,
        refused=event.refused,
    )


def moved(charge: Charge, event: Event) -> Charge:
    """The charge after one more of its events; any other event leaves it as it is."""
    match event:
        case ChargeTried():
            return attrs.evolve(charge, status="tried", tried_at=charge.tried_at or event.at, last_tried_at=event.at)
        case ChargeProcessing():
            return attrs.evolve(
                charge, status="processing", processing_at=event.at, outcome=Processing(event.reference)
            )
        case ChargePaid():
            return attrs.evolve(charge, status="paid", outcome=Paid(event.reference))
        case ChargeDeclined():
            return attrs.evolve(charge, status="declined", outcome=Declined(event.reason, event.retryable))
        case ChargeWithdrawn():
            return attrs.evolve(charge, status="withdrawn")
        case ChargeUnresolved():
            return attrs.evolve(charge, status="unresolved")
        case _:
            return charge


def rebuilt(ledger_id: str, wanted: str, events: Iterable[Event]) -> Charge | None:
    """The charge of id `wanted` as its events tell it, or None when its ChargeRequested is not among them."""
    charge = None
    for event in events:
        if isinstance(event, ChargeRequested) and event.charge_id == wanted:
            charge = requested(ledger_id, event)
        elif charge is not None and getattr(event, "charge_id", None) == wanted:
            charge = moved(charge, event)
    return charge


def due_at(charge: Charge, terms: Terms) -> datetime | None:
    """From when the payment method is to be called for it; None: no longer, or the outcome is awaited."""
    if charge.status == "requested":
        return charge.requested_at
    if charge.status == "tried" and charge.last_tried_at is not None:
        retry_at = charge.last_tried_at + terms.unknown_delay
        key_ends_at = unresolved_at(charge, terms)
        if key_ends_at is None or retry_at < key_ends_at:
            return retry_at
    return None


def unresolved_at(charge: Charge, terms: Terms) -> datetime | None:
    """When a charge of unknown outcome counts as unresolved; None: never, or not as it stands."""
    since, length = None, None
    if charge.status == "tried":
        since, length = charge.tried_at, terms.key_valid_for
    elif charge.status == "processing":
        since, length = charge.processing_at, terms.processing_for
    return None if since is None or length is None else since + length


def is_news(charge: Charge, outcome: Outcome) -> bool:
    """Whether an outcome changes what is recorded of the charge (compare-and-set).

    The same outcome again is no news, an empty reference being equal to any; nor is Declined or Processing once the
    charge ended without a payment.

    Raises: OutcomeConflictError when it was paid, and is now declined or paid under another reference.
    """
    if isinstance(charge.outcome, Paid):
        paid = charge.outcome
        same = isinstance(outcome, Paid) and (not outcome.reference or paid.reference in ("", outcome.reference))
        if same or isinstance(outcome, Processing):
            return False
        raise OutcomeConflictError(charge.ledger_id, charge.charge_id, paid, outcome)
    if isinstance(outcome, Paid):
        return True
    if isinstance(outcome, Declined):
        return charge.is_pending
    return charge.status in ("requested", "tried")
