"""History: a ledger that is given commands of every kind, by numbers, so that plain integers make and shrink one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from commcredits.errors import CommCreditsError
from commcredits.events import ChargeRequested, ChargeTried, FundsAdded, FundsClawedBack, FundsConsumed, FundsHeld
from commcredits.ledger import Ledger
from commcredits.money import Money, _of
from commcredits.payment import Declined, Paid, Processing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from commcredits.events import Event
    from commcredits.payment import Outcome
    from commcredits.policy import RechargePolicy, Terms

FUNDS_COMMANDS = (
    *("add_funds", "grant", "hold", "extend_hold", "extend_hold", "capture", "release", "reverse_consumption"),
    *("refund", "claw_back", "reinstate"),
)
CHARGE_COMMANDS = (
    *("purchase", "configure_auto_recharge", "disable_auto_recharge", "resume_auto_recharge", "request_recharge"),
    *("change_payment_methods", "try_charge", "record_outcome", "settle", "settle", "settle"),
)
COMMANDS = (*FUNDS_COMMANDS, *CHARGE_COMMANDS, "consume", "consume", "consume", "change_terms", "advance", "close")
"""What a ledger may be told: its commands, and "settle", which tries a charge and records what became of it.

What stands here several times is told more often.
"""

_HOUR = timedelta(hours=1)
_STEPS = (
    *[timedelta(0)] * 6,
    timedelta(minutes=5),
    *[_HOUR] * 3,
    6 * _HOUR,
    24 * _HOUR,
    timedelta(days=8),
    timedelta(days=33),
)


class History:
    """A ledger, and all its events since it was opened.

    Amounts are of a few sizes, so that they often meet exactly, and some have billionths. `policies` are those that
    "configure_auto_recharge" chooses from.
    """

    OPENED = datetime(2024, 2, 20, 23, 30, tzinfo=UTC)

    def __init__(self, ledger_id: str, terms: Terms, policies: Sequence[RechargePolicy]) -> None:
        self.ledger = Ledger.open(ledger_id, terms, at=self.OPENED, payment_methods=("card", "bank"))
        self.events: list[Event] = [self.ledger.opened]
        self._terms = terms
        self._policies = policies
        self._at = self.OPENED
        self._commands = 0

    def give(self, command: str, step: int, number: int) -> None:
        """Give one command, some time after the one before; one that is refused leaves the history as it is."""
        self._at += _STEPS[step % len(_STEPS)]
        self._commands += 1
        key = f"key {self._commands}" if number % 2 else None
        with suppress(CommCreditsError):
            self.events += getattr(self, f"_{command}")(number, at=self._at, idempotency_key=key)

    def _units(self, units: int) -> Money:
        return Money(units, self._terms.currency)

    def _money(self, number: int) -> Money:
        units = (5, 20, 20, 50, 100, 1, 33)[number % 7]
        return self._units(units) + _of(1, self._terms.currency) * (number % 3)

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
        starts_at = self._at + timedelta(days=1) if number % 3 else None
        expires_at = self._at + timedelta(days=3) if number % 4 else None
        return self.ledger.grant(
            self._money(number), starts_at=starts_at, expires_at=expires_at, priority=number % 3 - 1, **named
        )

    def _consume(self, number: int, **named: Any) -> tuple[Event, ...]:
        occurred_at = self._at - timedelta(hours=number % 30)
        return self.ledger.consume(self._money(number), occurred_at=occurred_at, kind="call", **named)

    def _hold(self, number: int, **named: Any) -> tuple[Event, ...]:
        amount = self._units(number % 30 + 1)
        return self.ledger.hold(f"hold {number % 99}", amount, expires_at=self._at + 5 * _HOUR, **named)

    def _extend_hold(self, number: int, **named: Any) -> tuple[Event, ...]:
        expires_at = self._at + timedelta(hours=number % 5) if number % 3 else None
        add = self._units(1) if number % 4 else None
        if not self.ledger.holds:
            self.events += self._hold(number, at=self._at)
        hold_id = self._hold_id(number)
        return self.ledger.extend_hold(hold_id, add=add, expires_at=expires_at, earlier=self.events, **named)

    def _capture(self, number: int, **named: Any) -> tuple[Event, ...]:
        hold_id, amount = self._hold_id(number), self._units(number % 8)
        return self.ledger.capture(hold_id, amount, final=number % 3 > 0, earlier=self.events, **named)

    def _release(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.release(self._hold_id(number), earlier=self.events, **named)

    def _reverse_consumption(self, number: int, **named: Any) -> tuple[Event, ...]:
        found: list[Any] = [event for event in self.events if isinstance(event, FundsConsumed)] or [None]
        amount = self._units(1) if number % 2 else None
        return self.ledger.reverse_consumption(found[number % len(found)], amount, earlier=self.events, **named)

    def _refund(self, number: int, **named: Any) -> tuple[Event, ...]:
        lot_id = self._subject(number, FundsAdded, "lot_id")
        return self.ledger.refund(lot_id, self._units(number % 7), earlier=self.events, **named)

    def _claw_back(self, number: int, **named: Any) -> tuple[Event, ...]:
        lot_id = self._subject(number, FundsAdded, "lot_id")
        return self.ledger.claw_back(lot_id, self._units(number % 7), earlier=self.events, **named)

    def _reinstate(self, number: int, **named: Any) -> tuple[Event, ...]:
        lot_id = self._subject(number, FundsClawedBack, "lot_id")
        return self.ledger.reinstate(lot_id, self._units(number % 7), earlier=self.events, **named)

    def _purchase(self, number: int, **named: Any) -> tuple[Event, ...]:
        method = ("card", "bank")[number % 2]
        return self.ledger.purchase(self._units(number % 5 * 10), payment_method=method, **named)

    def _configure_auto_recharge(self, number: int, **named: Any) -> tuple[Event, ...]:
        return self.ledger.configure_auto_recharge(self._policies[number % len(self._policies)], **named)

    def _disable_auto_recharge(self, number: int, **named: Any) -> tuple[Event, ...]:  # noqa: ARG002  # needs none
        return self.ledger.disable_auto_recharge(**named)

    def _resume_auto_recharge(self, number: int, **named: Any) -> tuple[Event, ...]:  # noqa: ARG002  # needs none
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
        return self.ledger.record_outcome(charge_id, _outcome(number), earlier=self.events, **named)

    def _settle(self, number: int, **named: Any) -> tuple[Event, ...]:
        self.events += (events := self._try_charge(number, **named))
        tried = [event.charge_id for event in events if isinstance(event, ChargeTried)]
        return self.ledger.record_outcome(tried[0], _outcome(number), at=self._at) if tried else ()

    def _change_terms(self, number: int, **named: Any) -> tuple[Event, ...]:
        alert = self._units(number % 40)
        return self.ledger.change_terms(attrs.evolve(self._terms, alert_thresholds=(alert,)), **named)

    def _advance(self, number: int, **named: Any) -> tuple[Event, ...]:  # noqa: ARG002  # needs none
        return self.ledger.advance(**named)

    def _close(self, number: int, **named: Any) -> tuple[Event, ...]:  # noqa: ARG002  # needs none
        return self.ledger.close(**named) if self._commands > 20 else ()


def _outcome(number: int) -> Outcome:
    choices: list[Outcome] = [
        Declined("no funds"),
        Paid("one"),
        Declined("stolen", retryable=False),
        Processing(),
        Paid("two"),
    ]
    return choices[number % len(choices)]
