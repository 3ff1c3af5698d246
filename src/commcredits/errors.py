"""Everything this library raises on purpose: one root, few leaves.

Each error carries the parts at fault as attributes, and each docstring ends with the state you are left in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.money import Money
    from commcredits.payment import Outcome
    from commcredits.recharge import RechargeDecision


class CommCreditsError(Exception):
    """The root of all errors of this library.

    Attributes: `index`, the place of the refused usage in `consume_many`; None elsewhere. Nothing was recorded, unless
    the leaf says otherwise.
    """

    index: int | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # Leaves take their parts as arguments, so the default (type, self.args) could not rebuild them.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[CommCreditsError], args: tuple[object, ...], parts: dict[str, object]) -> CommCreditsError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(parts)
    return error


class WrongTypeError(CommCreditsError, TypeError):
    """An argument is of a type that is not taken, such as a float where money is wanted.

    Attributes: `parameter` (its name), `value`. Nothing was recorded.
    """

    def __init__(self, parameter: str, value: object, wanted: str) -> None:
        super().__init__(f"{parameter} must be {wanted}, not {shown(value)} ({type(value).__name__})")
        self.parameter = parameter
        self.value = value


class InvalidValueError(CommCreditsError, ValueError):
    """An argument has the right type and a value that is refused.

    Attributes: `parameter` (its name), `value`, `why`. Nothing was recorded.
    """

    def __init__(self, parameter: str, value: object, why: str) -> None:
        super().__init__(f"{parameter} {shown(value)}: {why}")
        self.parameter = parameter
        self.value = value
        self.why = why


class UnknownCurrencyError(InvalidValueError):
    """A currency code that ISO 4217 does not list.

    Nothing was recorded.
    """

    def __init__(self, value: object) -> None:
        super().__init__("currency", value, "not an ISO 4217 currency code")


class CurrencyMismatchError(CommCreditsError, ValueError):
    """Two currencies met where there can be only one.

    Attributes: `expected`, `actual`, both currency codes. Nothing was recorded.
    """

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, not {actual}")
        self.expected = expected
        self.actual = actual


class TimeRunsBackError(CommCreditsError, ValueError):
    """An `at` lies further before the ledger's last event than `Terms.clock_skew` forgives.

    Attributes: `at`, `as_of` (the last event's time). Nothing was recorded.
    """

    def __init__(self, at: datetime, as_of: datetime) -> None:
        super().__init__(f"{at.isoformat()} is before {as_of.isoformat()}, the time of the ledger's last event")
        self.at = at
        self.as_of = as_of


class InsufficientFundsError(CommCreditsError):
    """The funds, and the overdraft allowed, do not cover the amount.

    Attributes: `ledger_id`, `amount` (of a capture: what exceeds its hold), `shortfall` (how much is missing),
    `decision` (the `RechargeDecision` as of the refusal). Nothing was recorded.
    """

    def __init__(self, ledger_id: str, amount: Money, shortfall: Money, decision: RechargeDecision) -> None:
        super().__init__(f"ledger {ledger_id!r}: {amount} is {shortfall} more than there is; recharge: {decision}")
        self.ledger_id = ledger_id
        self.amount = amount
        self.shortfall = shortfall
        self.decision = decision


class UnknownHoldError(CommCreditsError, LookupError):
    """No hold of that id is known to the ledger.

    Attributes: `ledger_id`, `hold_id`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, hold_id: str) -> None:
        super().__init__(f"ledger {ledger_id!r} knows no hold {hold_id!r}")
        self.ledger_id = ledger_id
        self.hold_id = hold_id


class HoldExistsError(CommCreditsError):
    """The hold id was used before on this ledger; hold ids are unique for ever.

    Attributes: `ledger_id`, `hold_id`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, hold_id: str) -> None:
        super().__init__(f"ledger {ledger_id!r} had a hold {hold_id!r} already")
        self.ledger_id = ledger_id
        self.hold_id = hold_id


class HoldEndedError(CommCreditsError):
    """The hold ended before; a hold ends exactly once.

    Attributes: `ledger_id`, `hold_id`, `reason` ("released", "captured" or "timed_out"), `ended_at`. Nothing was
    recorded.
    """

    def __init__(self, ledger_id: str, hold_id: str, reason: str, ended_at: datetime) -> None:
        super().__init__(f"ledger {ledger_id!r}: hold {hold_id!r} was {reason} at {ended_at.isoformat()}")
        self.ledger_id = ledger_id
        self.hold_id = hold_id
        self.reason = reason
        self.ended_at = ended_at


class OpenHoldsError(CommCreditsError):
    """A ledger with open holds cannot be closed.

    Attributes: `ledger_id`, `hold_ids`. Nothing was recorded; release or capture the holds first.
    """

    def __init__(self, ledger_id: str, hold_ids: tuple[str, ...]) -> None:
        super().__init__(f"ledger {ledger_id!r} has open holds: {', '.join(map(repr, hold_ids))}")
        self.ledger_id = ledger_id
        self.hold_ids = hold_ids


class UnknownLotError(CommCreditsError, LookupError):
    """No lot of that id is known to the ledger.

    Attributes: `ledger_id`, `lot_id`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, lot_id: int) -> None:
        super().__init__(f"ledger {ledger_id!r} knows no lot {shown(lot_id)}")
        self.ledger_id = ledger_id
        self.lot_id = lot_id


class ExceedsLotError(CommCreditsError):
    """A refund, claw-back or reinstatement asks for more than the lot allows.

    Attributes: `ledger_id`, `lot_id`, `amount`, `at_most`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, lot_id: int, amount: Money, at_most: Money) -> None:
        super().__init__(f"ledger {ledger_id!r}: {amount} of lot {shown(lot_id)} is more than the {at_most} possible")
        self.ledger_id = ledger_id
        self.lot_id = lot_id
        self.amount = amount
        self.at_most = at_most


class UnknownChargeError(CommCreditsError, LookupError):
    """No charge of that id is known to the ledger.

    Attributes: `ledger_id`, `charge_id`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, charge_id: str) -> None:
        super().__init__(f"ledger {ledger_id!r} knows no charge {charge_id!r}")
        self.ledger_id = ledger_id
        self.charge_id = charge_id


class ChargeNotDueError(CommCreditsError):
    """The charge may not be tried now: its outcome is awaited or known, or its key's time is over.

    Attributes: `ledger_id`, `charge_id`, `status`, `due_at` (when it may be tried again; None: not at all).
    Nothing was recorded.
    """

    def __init__(self, ledger_id: str, charge_id: str, status: str, due_at: datetime | None) -> None:
        when = "no longer to be tried" if due_at is None else f"not to be tried again before {due_at.isoformat()}"
        super().__init__(f"ledger {ledger_id!r}: charge {charge_id!r} is {status}, {when}")
        self.ledger_id = ledger_id
        self.charge_id = charge_id
        self.status = status
        self.due_at = due_at


class OutcomeConflictError(CommCreditsError):
    """A charge turned out two ways: paid twice with two references, or declined after it was paid.

    Attributes: `ledger_id`, `charge_id`, `recorded`, `outcome` (the one refused). Nothing was recorded; the
    first outcome stands. If the bank took the money back, `claw_back` is the command.
    """

    def __init__(self, ledger_id: str, charge_id: str, recorded: Outcome, outcome: Outcome) -> None:
        super().__init__(
            f"ledger {ledger_id!r}: charge {charge_id!r} was recorded as {recorded}, and now as {outcome};"
            " a payment that the bank took back is a claw_back"
        )
        self.ledger_id = ledger_id
        self.charge_id = charge_id
        self.recorded = recorded
        self.outcome = outcome


class UnknownPaymentMethodError(CommCreditsError, LookupError):
    """The payment method named is not one of those known.

    Attributes: `payment_method`, `known`. Nothing was recorded and nothing was charged.
    """

    def __init__(self, payment_method: str, known: tuple[str, ...]) -> None:
        super().__init__(f"payment method {payment_method!r} is not one of {list(known)}")
        self.payment_method = payment_method
        self.known = known


class ReversalExceedsUsageError(CommCreditsError):
    """More is to be reversed than is left of the usage.

    Attributes: `ledger_id`, `consumption` (the usage's version), `amount`, `left`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, consumption: int, amount: Money, left: Money) -> None:
        super().__init__(f"ledger {ledger_id!r}: of usage {consumption} only {left} is left to reverse, not {amount}")
        self.ledger_id = ledger_id
        self.consumption = consumption
        self.amount = amount
        self.left = left


class ConservationError(CommCreditsError):
    """The parts of a ledger do not add up; this is a bug or a tampered record, never a rule.

    Attributes: `terms`, a mapping of each name in the broken equation to its Money. The ledger is left as it was.
    """

    def __init__(self, equation: str, terms: dict[str, Money]) -> None:
        super().__init__(f"{equation} does not hold: " + ", ".join(f"{name} {money}" for name, money in terms.items()))
        self.terms = terms


class LedgerNotFoundError(CommCreditsError, LookupError):
    """The storage has no ledger of that id.

    Attributes: `ledger_id`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str) -> None:
        super().__init__(f"no ledger {ledger_id!r}")
        self.ledger_id = ledger_id


class LedgerExistsError(CommCreditsError):
    """A ledger of that id was opened before.

    Attributes: `ledger_id`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str) -> None:
        super().__init__(f"ledger {ledger_id!r} exists already")
        self.ledger_id = ledger_id


class LedgerClosedError(CommCreditsError):
    """The ledger is closed to this command.

    Attributes: `ledger_id`, `closed_at`. Nothing was recorded.
    """

    def __init__(self, ledger_id: str, closed_at: datetime) -> None:
        super().__init__(f"ledger {ledger_id!r} was closed at {closed_at.isoformat()}")
        self.ledger_id = ledger_id
        self.closed_at = closed_at


class VersionConflictError(CommCreditsError):
    """Somebody appended to the ledger first.

    Attributes: `ledger_id`, `expected_version`. Nothing was recorded; load the ledger again and decide again.
    """

    def __init__(self, ledger_id: str, expected_version: int) -> None:
        super().__init__(f"ledger {ledger_id!r} is no longer at version {expected_version}")
        self.ledger_id = ledger_id
        self.expected_version = expected_version


class DuplicateKeyError(CommCreditsError):
    """An idempotency key, or a hold id, was used before on this ledger.

    Attributes: `ledger_id`, `key`, `namespace` ("idempotency_key" or "hold_id"). Nothing was recorded.
    """

    def __init__(self, ledger_id: str, key: str, namespace: str = "idempotency_key") -> None:
        super().__init__(f"ledger {ledger_id!r} knows the {namespace} {key!r} already")
        self.ledger_id = ledger_id
        self.key = key
        self.namespace = namespace


class IdempotencyConflictError(CommCreditsError):
    """An idempotency key was used before, for another command.

    Attributes: `ledger_id`, `idempotency_key`, `recorded` (the version of the event that has it). Nothing was
    recorded; the first command stands.
    """

    def __init__(self, ledger_id: str, idempotency_key: str, recorded: int) -> None:
        super().__init__(
            f"ledger {ledger_id!r}: key {idempotency_key!r} was used for another command (event {recorded})"
        )
        self.ledger_id = ledger_id
        self.idempotency_key = idempotency_key
        self.recorded = recorded


class UnknownOutcomeError(CommCreditsError):
    """A command was given up in the middle of storing it, by whoever was storing it for several callers.

    Attributes: `ledger_id`. Whether it was recorded is not known; repeat it with the same idempotency key.
    """

    def __init__(self, ledger_id: str) -> None:
        super().__init__(f"ledger {ledger_id!r}: storing was interrupted; repeat the command with its idempotency key")
        self.ledger_id = ledger_id


class UnreadableRecordError(CommCreditsError, ValueError):
    """A stored event or state cannot be read: tampered with, or written by a newer version of this library.

    Attributes: `record` (as stored). Nothing was recorded.
    """

    def __init__(self, record: object, why: str) -> None:
        super().__init__(f"cannot read {shown(record)}: {why}")
        self.record = record


def shown(value: object) -> str:
    """`repr(value)`, cut to 80 characters, so that a huge argument does not make a huge message."""
    try:
        # Slicing before repr keeps a megabyte of text from being copied only to be cut; very long integers
        # have no repr at all (sys.set_int_max_str_digits).
        text = repr(value[:100] if isinstance(value, str) else value)
    except Exception:  # noqa: BLE001  # a repr that fails must not hide the error being raised
        return f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."
