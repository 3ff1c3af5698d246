"""The commands of charges and automatic recharge: purchase, configure, try, and record what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commcredits import charges, recharge, schedule
from commcredits.command import Commands, check_events, check_name, check_text, request_charge, request_if_due
from commcredits.errors import (
    ChargeNotDueError,
    InvalidValueError,
    UnknownChargeError,
    UnknownPaymentMethodError,
    WrongTypeError,
)
from commcredits.events import (
    AutoRechargeConfigured,
    AutoRechargeDisabled,
    AutoRechargeResumed,
    ChargeDeclined,
    ChargePaid,
    ChargeProcessing,
    ChargeTried,
    ChargeWithdrawn,
    FundsAdded,
    PaymentMethodsChanged,
)
from commcredits.payment import Declined, Paid, Processing
from commcredits.policy import RechargePolicy, check_chargeable, check_money
from commcredits.times import after

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from commcredits.books import Books
    from commcredits.events import Event
    from commcredits.money import Money
    from commcredits.payment import Charge, Outcome


class ChargeCommands(Commands):
    """Purchase, automatic recharge and its settings, and the outcomes of charges."""

    __slots__ = ()

    def purchase(
        self,
        amount: Money,
        *,
        at: datetime,
        payment_method: str | None = None,
        reference: str = "",
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Ask for a charge that a person wants: ChargeRequested; the funds land when it is paid.

        No payment method means the primary one.

        Raises: UnknownPaymentMethodError; InvalidValueError for an amount not above zero, below the minimum purchase,
            finer than the minor unit or no multiple of the purchase step; LedgerClosedError, CurrencyMismatchError,
            WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("purchase", amount, payment_method, reference))
        check_chargeable("amount", check_money("amount", amount, self.currency), books.terms.purchase_step)
        least = books.terms.minimum_purchase
        if least is not None and amount < least:
            raise InvalidValueError("amount", amount, f"below the minimum purchase of {least}")
        method = payment_method
        if method is not None:
            check_text("payment_method", method)
        elif books.payment_methods:
            method = books.payment_methods[0]
        if method not in books.payment_methods:
            raise UnknownPaymentMethodError(str(method), books.payment_methods)
        request_charge(books, amount, method, "purchase", 1, check_text("reference", reference), None)
        return self._end(books)

    def configure_auto_recharge(
        self, policy: RechargePolicy, *, at: datetime, idempotency_key: str | None = None
    ) -> tuple[Event, ...]:
        """Recharge by `policy` from now on: AutoRechargeConfigured, and a charge at once if it is due.

        The same policy again records nothing. An automatic charge not yet tried is withdrawn and decided anew.

        Raises: InvalidValueError for an amount that these terms do not allow; CurrencyMismatchError, WrongTypeError,
            LedgerClosedError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("configure_auto_recharge", policy))
        if not isinstance(policy, RechargePolicy):
            raise WrongTypeError("policy", policy, "a RechargePolicy")
        check_money("threshold", policy.threshold.amount, self.currency)
        recharge.check_fits(policy, books.terms)
        if policy != books.policy:
            books.record(AutoRechargeConfigured, policy)
            withdraw_edited(books)
        return self._end(books)

    def disable_auto_recharge(self, *, at: datetime, idempotency_key: str | None = None) -> tuple[Event, ...]:
        """Recharge no more: AutoRechargeDisabled; nothing, if it was off or the ledger is closed.

        An automatic charge not yet tried is withdrawn; one that was tried still adds its funds when it is paid.

        Raises: WrongTypeError, InvalidValueError, TimeRunsBackError for the time. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("disable_auto_recharge",), closed=True)
        if books.policy is not None and books.closed_at is None:
            books.record(AutoRechargeDisabled)
        return self._end(books)

    def resume_auto_recharge(self, *, at: datetime, idempotency_key: str | None = None) -> tuple[Event, ...]:
        """Forget suspension and declines: AutoRechargeResumed, and a charge at once if it is due.

        Records nothing when there is neither.

        Raises: LedgerClosedError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("resume_auto_recharge",))
        if books.suspended is not None or books.failures:
            books.record(AutoRechargeResumed, "resumed")
        return self._end(books)

    def change_payment_methods(
        self, *payment_methods: str, at: datetime, idempotency_key: str | None = None
    ) -> tuple[Event, ...]:
        """Charge these from now on, the first as the primary, the rest as backups: PaymentMethodsChanged.

        Declines and a suspension are forgotten; charges not yet tried whose method is gone are withdrawn. None at all
        is allowed: nothing can be charged then. The same methods again record nothing.

        Raises: InvalidValueError for a name that is empty, too long or given twice; WrongTypeError, LedgerClosedError,
            TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("change_payment_methods", *payment_methods))
        check_payment_methods(payment_methods)
        if payment_methods != books.payment_methods:
            books.record(PaymentMethodsChanged, payment_methods)
            withdraw_untried(books, "method_removed", keeping=payment_methods)
            if books.suspended is not None:
                books.record(AutoRechargeResumed, "payment_methods_changed")
        return self._end(books)

    def try_charge(self, charge_id: str, *, at: datetime, idempotency_key: str | None = None) -> tuple[Event, ...]:
        """Claim a pending charge: ChargeTried; whoever stores it calls the payment method.

        An automatic charge that is no longer due is withdrawn instead.

        Raises: UnknownChargeError; ChargeNotDueError when its outcome is awaited or known; TimeRunsBackError. The
            ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("try_charge", charge_id), closed=True)
        charge = books.charge(check_name("charge_id", charge_id))
        if charge is None:
            raise UnknownChargeError(books.ledger_id, charge_id)
        due_at = charges.due_at(charge, books.terms)
        if due_at is None or due_at > books.at:
            raise ChargeNotDueError(books.ledger_id, charge_id, charge.status, due_at)
        if recharge.unwanted_reason(books, charge, books.at) is None:
            books.record(ChargeTried, charge_id)
        return self._end(books)

    def record_outcome(
        self,
        charge_id: str,
        outcome: Outcome,
        *,
        at: datetime,
        earlier: Iterable[Event] = (),
        idempotency_key: str | None = None,
    ) -> tuple[Event, ...]:
        """Record what became of a charge: ChargePaid and FundsAdded, ChargeDeclined, or ChargeProcessing.

        The same outcome again records nothing, whoever brings it. A payment that comes after a decline or a
        withdrawal still adds its funds. `earlier` are the events of a charge that the ledger no longer keeps.

        Raises: UnknownChargeError; OutcomeConflictError for a second payment or a decline after a payment;
            WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("record_outcome", charge_id, outcome), closed=True)
        check_name("charge_id", charge_id)
        if not isinstance(outcome, Paid | Declined | Processing):
            raise WrongTypeError("outcome", outcome, "Paid, Declined or Processing")
        events = check_events(earlier)
        charge = books.charge(charge_id) or charges.rebuilt(books.ledger_id, charge_id, events)
        if charge is None:
            raise UnknownChargeError(books.ledger_id, charge_id)
        if charges.is_news(charge, outcome):
            if isinstance(outcome, Paid):
                _record_paid(books, charge, outcome)
            elif isinstance(outcome, Declined):
                _record_declined(books, charge, outcome)
            else:
                books.record(ChargeProcessing, charge_id, outcome.reference)
        return self._end(books)

    def request_recharge(
        self, refused: Money, *, at: datetime, idempotency_key: str | None = None
    ) -> tuple[Event, ...]:
        """Ask for the recharge that usage of `refused` would have caused, had it not been refused.

        For a policy with `recharge_when_refused`; records nothing under any other, or when the funds suffice by now.

        Raises: InvalidValueError for an amount not above zero; LedgerClosedError, CurrencyMismatchError,
            WrongTypeError, TimeRunsBackError. The ledger is as it was.
        """
        books = self._begin(at, idempotency_key, ("request_recharge", refused))
        need = self._above_zero("refused", refused)
        if books.policy is not None and books.policy.recharge_when_refused and need > books.available:
            request_if_due(books, recharge.decide(books, books.at, refused=need), refused)
        return self._end(books)


def check_payment_methods(payment_methods: tuple[str, ...]) -> None:
    """Refuse names of payment methods that are no names, or given twice.

    Raises: WrongTypeError, InvalidValueError.
    """
    for method in payment_methods:
        check_name("payment_methods", method)
    if len(set(payment_methods)) < len(payment_methods):
        raise InvalidValueError("payment_methods", payment_methods, "the same one twice")


def withdraw_edited(books: Books) -> None:
    """Withdraw an automatic charge not yet tried, so that it is decided anew under the rules of now."""
    if books.automatic is not None and books.automatic.status == "requested":
        books.record(ChargeWithdrawn, books.automatic.charge_id, "edited")


def withdraw_untried(books: Books, reason: str, *, keeping: tuple[str, ...] = ()) -> None:
    """Withdraw the charges that were never tried, but those of the payment methods in `keeping`."""
    for charge in list(books.charges.values()):
        if charge.status == "requested" and charge.payment_method not in keeping:
            books.record(ChargeWithdrawn, charge.charge_id, reason)


def _record_paid(books: Books, charge: Charge, paid: Paid) -> None:
    books.record(ChargePaid, charge.charge_id, charge.amount, charge.payment_method, paid.reference)
    record_funds(books, charge.amount, charge_id=charge.charge_id, reference=paid.reference)
    successor = books.automatic
    late = charge.purpose == "recharge" and charge.status in ("declined", "withdrawn")
    if late and successor is not None and successor.status == "requested":
        books.record(ChargeWithdrawn, successor.charge_id, "paid_late")
    if books.suspended is not None and books.closed_at is None:
        books.record(AutoRechargeResumed, "paid")
    schedule.settle_returned(books)


def record_funds(books: Books, amount: Money, *, charge_id: str | None, reference: str) -> None:
    """Record bought funds, spendable now and for as long as the terms say."""
    terms = books.terms
    expires_at = None if terms.funds_valid_for is None else after(books.at, terms.funds_valid_for, terms.time_zone)
    books.record(FundsAdded, books.version + 1, amount, books.at, expires_at, charge_id, reference)


def _record_declined(books: Books, charge: Charge, declined: Declined) -> None:
    retry_at, given_up = None, False
    if charge.purpose == "recharge" and books.policy is not None and books.closed_at is None:
        delays = books.policy.retry.delays
        given_up = not declined.retryable or charge.attempt > len(delays)
        if not given_up:
            retry_at = books.at + delays[charge.attempt - 1]
    named = (charge.charge_id, charge.amount, charge.payment_method)
    books.record(ChargeDeclined, *named, declined.reason, declined.retryable, retry_at, given_up)
