"""What happened to a ledger, as facts: past tense, immutable, and never re-judged.

`_Fact` gives every event its fields, equality, hash and repr. The values of an event's own fields are kept in one
tuple, because a generated class that fills eleven attributes one by one takes longer than the rest of a consumption.
"""

from __future__ import annotations

from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, dataclass_transform

from commcredits.digest import digest_of
from commcredits.errors import WrongTypeError
from commcredits.lots import Draw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from commcredits.money import Money
    from commcredits.payment import Purpose
    from commcredits.policy import RechargeLimit, RechargePolicy, Terms, Threshold

HoldEnd = Literal["released", "captured", "timed_out"]

_SLOTS = ("_at", "_balance", "_key", "_request", "_values", "_version")


class Draft:
    """An event that is still being filled in; it has the same slots, so that it can become one."""

    __slots__ = _SLOTS


class _FactType(type):
    """Gives every class of events empty slots, so that no event has a dictionary of its own."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _FactType:
        return super().__new__(cls, name, bases, {"__slots__": (), **body})


@dataclass_transform(frozen_default=True, kw_only_default=True)
class _Fact(metaclass=_FactType):
    """The machinery of events: immutable, built from keywords, compared by type and all values."""

    __slots__ = _SLOTS
    _version: int
    _at: datetime
    _key: str | None
    _request: tuple[Any, ...] | str | None  # what the digest is made of when it is asked for, or the digest
    _values: tuple[Any, ...]  # of the fields of its own kind
    _balance: int  # right after it, in billionths; noted only when another event follows, or it is about to be stored

    if TYPE_CHECKING:
        fields: ClassVar[tuple[str, ...]]
        defaults: ClassVar[Mapping[str, Any]]
    else:
        fields = ()
        defaults = MappingProxyType({})

        def __init_subclass__(cls) -> None:
            own = tuple(cls.__annotations__)
            cls.defaults = {**cls.defaults, **{name: cls.__dict__[name] for name in own if name in cls.__dict__}}
            for place, name in enumerate(own, len(cls.fields) - len(_COMMON)):
                setattr(cls, name, property(_COMMON.get(name) or _getter(name, place)))
            cls.fields += own

        def __init__(self, **values: Any) -> None:
            filled = {**self.defaults, **values}
            if filled.keys() != set(self.fields):
                wanted = f"made of the keywords {', '.join(self.fields)}"
                raise WrongTypeError(type(self).__name__, sorted(values), wanted)
            common, own = self.fields[: len(_COMMON)], self.fields[len(_COMMON) :]
            for slot, name in zip(("_version", "_at", "_key", "_request"), common, strict=True):
                object.__setattr__(self, slot, filled[name])
            object.__setattr__(self, "_values", tuple([filled[name] for name in own]))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._named() == other._named()

    def __hash__(self) -> int:
        return hash((type(self), self._version, self._at))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._named().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self._named())

    def _named(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.fields}


# What is known only when it is an event, and immutable.
note_balance = _Fact._balance.__set__  # type: ignore[attr-defined]


def _rebuilt(kind: type[_Fact], values: dict[str, Any]) -> _Fact:
    return kind(**values)


def _getter(name: str, place: int) -> Callable[[Any], Any]:
    if name in ("draws", "unrepaid"):
        return lambda event: _draws(event._values[place])
    return lambda event: event._values[place]


def _draws(draws: tuple[Any, ...]) -> tuple[Any, ...]:
    """Draws, where the ledger may have written plain pairs: a named tuple takes five times as long to make."""
    return tuple([Draw(*pair) for pair in draws]) if draws and draws[0].__class__ is tuple else draws


def _digest(event: Any) -> str | None:
    request = event._request
    return digest_of(request) if request.__class__ is tuple else request


_COMMON: dict[str, Callable[[Any], Any]] = {
    "version": attrgetter("_version"),
    "at": attrgetter("_at"),
    "idempotency_key": attrgetter("_key"),
    "digest": _digest,
}


class Event(_Fact):
    """One thing that happened to a ledger.

    Attributes:
        version: its number on the ledger, from 1.
        at: when it happened, in UTC.
        idempotency_key: the caller's name for the command that made it; only on the first event of that command.
        digest: a fingerprint of that command as given, to tell a repetition from another command of the same key.
    """

    version: int
    at: datetime
    idempotency_key: str | None = None
    digest: str | None = None


def balance_after(event: Event) -> int | None:
    """The ledger's balance right after an event just recorded, in billionths; None: nobody noted it."""
    return getattr(event, "_balance", None)


def values_of(event: Event) -> dict[str, Any]:
    """All fields of an event by name, in their order."""
    return event._named()  # noqa: SLF001


class LedgerOpened(Event):
    """The ledger began."""

    ledger_id: str
    terms: Terms
    payment_methods: tuple[str, ...]


class TermsChanged(Event):
    """New terms hold from now on; expiries already given stay."""

    terms: Terms


class PaymentMethodsChanged(Event):
    """The first is the primary, the rest are backups."""

    payment_methods: tuple[str, ...]


class LedgerClosed(Event):
    """No new funds or usage from now on."""


class FundsAdded(Event):
    """Money was received: a new lot, whose id is this event's version.

    `charge_id` names the charge that brought it; None: it came by itself, and `reference` is the caller's.
    """

    lot_id: int
    amount: Money
    starts_at: datetime
    expires_at: datetime | None
    charge_id: str | None = None
    reference: str = ""


class FundsGranted(Event):
    """Funds nobody paid for: a new lot, whose id is this event's version."""

    lot_id: int
    amount: Money
    starts_at: datetime
    expires_at: datetime | None
    priority: int = 0


class FundsStarted(Event):
    """A lot granted for later became spendable."""

    lot_id: int
    amount: Money


class FundsLapsed(Event):
    """A lot reached its expiry; what is left pays only for usage that happened before it."""

    lot_id: int
    amount: Money


class FundsExpiring(Event):
    """Notice: this much of a lot is forfeited at `expires_at` unless it is used."""

    lot_id: int
    amount: Money
    expires_at: datetime


class FundsExpired(Event):
    """What was left of a lot is forfeited. `lot_id` 0: of lots long over, no longer told apart."""

    lot_id: int
    amount: Money


class OverdraftRepaid(Event):
    """A lot's funds repaid what was overdrawn before."""

    lot_id: int
    amount: Money


class FundsConsumed(Event):
    """Usage was paid for: by draws on lots, and beyond them by overdraft.

    `occurred_at` is when the usage happened; `hold_id` names the hold whose funds it captured.
    """

    amount: Money
    draws: tuple[Draw, ...]
    overdrawn: Money
    occurred_at: datetime
    kind: str = ""
    description: str = ""
    hold_id: str | None = None


class ConsumptionReversed(Event):
    """Usage was undone, all or in part.

    `consumption` is the version of its FundsConsumed; `draws` went back to the lots; by `overdrawn` less is
    overdrawn, of which `unrepaid` had been repaid since and went back to the lots that repaid it.
    """

    consumption: int
    amount: Money
    draws: tuple[Draw, ...]
    overdrawn: Money
    unrepaid: tuple[Draw, ...] = ()


class FundsRefunded(Event):
    """Money went back to the payer, out of a lot's free funds."""

    lot_id: int
    amount: Money


class FundsClawedBack(Event):
    """The bank took a payment back; `shortfall` is what the lot no longer had, and is overdrawn."""

    lot_id: int
    amount: Money
    shortfall: Money


class FundsReinstated(Event):
    """A claw-back was undone, its shortfall first; `unrepaid` went back to the lots that had repaid it."""

    lot_id: int
    amount: Money
    shortfall: Money
    unrepaid: tuple[Draw, ...] = ()


class FundsHeld(Event):
    """Free funds were set aside."""

    hold_id: str
    amount: Money
    draws: tuple[Draw, ...]
    expires_at: datetime


class HoldExtended(Event):
    """A hold got `amount` more (zero: only more time) and lasts until `expires_at`."""

    hold_id: str
    amount: Money
    draws: tuple[Draw, ...]
    expires_at: datetime


class HoldReleased(Event):
    """A hold ended; `amount`, which may be zero, went back to its lots."""

    hold_id: str
    amount: Money
    draws: tuple[Draw, ...]
    reason: HoldEnd


class ChargeRequested(Event):
    """The intent to charge, recorded before anything outside is touched."""

    charge_id: str
    amount: Money
    payment_method: str
    purpose: Purpose
    attempt: int
    reference: str = ""
    refused: Money | None = None


class ChargeTried(Event):
    """The payment method is about to be called; whoever appended this calls it."""

    charge_id: str


class ChargeProcessing(Event):
    """The payment provider will tell the outcome later."""

    charge_id: str
    reference: str = ""


class ChargePaid(Event):
    """The money was taken; FundsAdded follows. `reference` is the payment provider's."""

    charge_id: str
    amount: Money
    payment_method: str
    reference: str = ""


class ChargeDeclined(Event):
    """The money was not taken.

    `retry_at`: the method is asked again, under a new key, from then on; `given_up`: it is not asked again.
    """

    charge_id: str
    amount: Money
    payment_method: str
    reason: str
    retryable: bool
    retry_at: datetime | None = None
    given_up: bool = False


class ChargeWithdrawn(Event):
    """A charge never tried was no longer wanted.

    `reason`: no_longer_due, disabled, edited, suspended, method_removed, closed or paid_late.
    """

    charge_id: str
    reason: str


class ChargeUnresolved(Event):
    """Nobody told the outcome in time; from now on only `record_outcome` ends it."""

    charge_id: str
    amount: Money
    payment_method: str


class AutoRechargeConfigured(Event):
    """Automatic recharge is on, by this policy."""

    policy: RechargePolicy


class AutoRechargeDisabled(Event):
    """Automatic recharge is off."""


class AutoRechargeSuspended(Event):
    """Automatic recharge waits for a person. `reason`: declined, no_payment_method, refund, claw_back or closed."""

    reason: str


class AutoRechargeResumed(Event):
    """Automatic recharge goes on. `reason`: resumed, payment_methods_changed or paid."""

    reason: str


class RechargeLimitReached(Event):
    """A recharge was due and its limit forbids it until `until`; recorded once a window."""

    limit: RechargeLimit
    amount: Money
    until: datetime


class BalanceDepleted(Event):
    """The balance came to zero or below."""

    balance: Money


class BalanceRestored(Event):
    """The balance is above zero again."""

    balance: Money


class AlertRaised(Event):
    """What is available fell below an alert threshold."""

    threshold: Threshold
    available: Money
