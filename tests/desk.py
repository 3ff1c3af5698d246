"""A ledger, a clock that only goes on, and all that was recorded: what the tests of charges work with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from commcredits import (
    ChargeDeclined,
    ChargePaid,
    ChargeProcessing,
    ChargeRequested,
    ChargeTried,
    ChargeUnresolved,
    ChargeWithdrawn,
    Event,
    FundsAdded,
    Ledger,
    Money,
    Outcome,
    RechargePolicy,
    Terms,
)

OPENED = datetime(2024, 3, 1, 12, tzinfo=UTC)
NOTHING = timedelta(0)
MOMENT = timedelta(microseconds=1)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

_STATUS = {
    ChargeRequested: "requested",
    ChargeTried: "tried",
    ChargeProcessing: "processing",
    ChargePaid: "paid",
    ChargeDeclined: "declined",
    ChargeUnresolved: "unresolved",
    ChargeWithdrawn: "withdrawn",
}


def usd(amount: str | int) -> Money:
    return Money(amount, "USD")


def topping_up(threshold: str | int = 10, amount: str | int = 20, **more: Any) -> RechargePolicy:
    return RechargePolicy(usd(threshold), usd(amount), **more)


class Desk:
    """A ledger of 100.00 USD, unless told otherwise, that remembers its events and passes the time on."""

    def __init__(
        self,
        *,
        funds: str | int = 100,
        methods: tuple[str, ...] = ("card", "bank"),
        at: datetime = OPENED,
        **terms: Any,
    ) -> None:
        self.now = at
        self.ledger = Ledger.open("desk", Terms("USD", **terms), at=at, payment_methods=methods)
        self.events: list[Event] = [self.ledger.opened]
        if usd(funds).is_positive:
            self.do("add_funds", usd(funds))

    def do(self, command: str, *arguments: Any, after: timedelta = NOTHING, **named: Any) -> tuple[Event, ...]:
        """Give a command `after` some time; what it recorded."""
        self.now += after
        events = getattr(self.ledger, command)(*arguments, at=self.now, **named)
        self.events += events
        return events

    def spend(self, amount: str | int, after: timedelta = NOTHING) -> tuple[Event, ...]:
        return self.do("consume", usd(amount), after=after)

    def outcome(self, charge_id: str, outcome: Outcome, after: timedelta = NOTHING) -> tuple[Event, ...]:
        return self.do("record_outcome", charge_id, outcome, after=after, earlier=self.events)

    def settle(self, outcome: Outcome, after: timedelta = NOTHING) -> str:
        """Try the oldest charge never tried, and record what became of it; its id."""
        self.do("advance", after=after)
        charge_id = next(charge.charge_id for charge in self.ledger.pending_charges if charge.status == "requested")
        self.do("try_charge", charge_id)
        self.outcome(charge_id, outcome)
        return charge_id

    def requests(self, purpose: str = "recharge") -> list[ChargeRequested]:
        return [event for event in self.events if isinstance(event, ChargeRequested) and event.purpose == purpose]

    def last(self, purpose: str = "recharge") -> str:
        """The id of the last charge requested."""
        return self.requests(purpose)[-1].charge_id

    def status(self, charge_id: str) -> str:
        """Where a charge is, told by nothing but its latest event."""
        told = [event for event in self.events if type(event) in _STATUS and event.charge_id == charge_id]
        return _STATUS[type(told[-1])]

    def paid_in(self, charge_id: str) -> list[Money]:
        """What a charge has brought."""
        return [event.amount for event in self.events if isinstance(event, FundsAdded) and event.charge_id == charge_id]

    def kinds(self, since: int = 0) -> list[str]:
        return names(self.events[since:])


def names(events: Any) -> list[str]:
    """What was recorded, by its kinds."""
    return [type(event).__name__ for event in events]


def only(events: Any, kind: type[Event]) -> Any:
    """The one event of a kind."""
    (event,) = [event for event in events if isinstance(event, kind)]
    return event
