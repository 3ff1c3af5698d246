"""Whether, how much and when to charge automatically: the decision and its reason.

The balance that triggers is what is available plus what pending charges will bring, the unresolved left out: pending
funds count for the trigger, never for spending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import attrs

from commcredits.currencies import minor_digits
from commcredits.errors import InvalidValueError
from commcredits.money import _of
from commcredits.policy import Per, check_chargeable
from commcredits.times import window

if TYPE_CHECKING:
    from datetime import datetime

    from commcredits.books import Books
    from commcredits.money import Money
    from commcredits.payment import Charge
    from commcredits.policy import RechargeLimit, RechargePolicy, Terms

Reason = Literal[
    "closed",
    "off",
    "above_threshold",
    "charge_unresolved",
    "in_flight",
    "suspended",
    "backing_off",
    "limit_reached",
]


@attrs.frozen(order=False, kw_only=True)
class RechargeDecision:
    """Whether a recharge is due, and if not, why not.

    Attributes:
        due: whether a charge is to be requested now.
        amount: what is, or would have been, charged; None where it did not come to that.
        payment_method, attempt: with which method, and for the how manieth time; None where it did not come to that.
        reason: why none is due; None when one is. In order of precedence: closed, off, above_threshold,
            charge_unresolved, in_flight, suspended, backing_off, limit_reached.
        until: when "backing_off" or "limit_reached" ends.
        why: of "suspended": declined, no_payment_method, refund, claw_back or closed.
        limit: of "limit_reached": which.
    """

    due: bool
    amount: Money | None = None
    payment_method: str | None = None
    attempt: int | None = None
    reason: Reason | None = None
    until: datetime | None = None
    why: str | None = None
    limit: RechargeLimit | None = None

    def __str__(self) -> str:
        if self.due:
            return f"due: {self.amount} from {self.payment_method}, attempt {self.attempt}"
        words = [f"not due: {str(self.reason).replace('_', ' ')}"]
        if self.why is not None:
            words.append(f"({self.why.replace('_', ' ')})")
        if self.until is not None:
            words.append(f"until {self.until.isoformat()}")
        return " ".join(words)


_BY_LENGTH = get_args(Per)
"""Of two windows that end together, the longer one was there first, and may be told of already."""


def decide(books: Books, at: datetime, *, refused: int = 0, ignoring: Charge | None = None) -> RechargeDecision:
    """The decision at `at`, had `refused` billionths more been consumed and the charge `ignoring` not requested."""
    policy = books.policy
    if books.closed_at is not None:
        return RechargeDecision(due=False, reason="closed")
    if policy is None:
        return RechargeDecision(due=False, reason="off")
    balance = books.free - books.overdraft + books.pending - refused
    if ignoring is not None:
        balance -= ignoring.amount._billionths
    if balance >= policy.threshold.clear_from:
        return RechargeDecision(due=False, reason="above_threshold")
    if books.unresolved_recharge:
        return RechargeDecision(due=False, reason="charge_unresolved")
    if books.automatic is not None and books.automatic is not ignoring:
        return RechargeDecision(due=False, reason="in_flight")
    amount = _of(_size(policy, books.terms, balance), books.terms.currency)
    if books.suspended is not None:
        return RechargeDecision(due=False, amount=amount, reason="suspended", why=books.suspended)
    return _decide_method(books, policy, at, amount)


def next_change(books: Books) -> datetime | None:
    """When, with time alone, a charge will be requested or a limit told of that is not told of yet; None: never."""
    at = books.as_of
    decision = decide(books, at)
    while not decision.due and decision.until is not None:
        at = min([decision.until, *_window_ends(books, at)]) if decision.limit else decision.until
        decision = decide(books, at)
        if decision.limit is not None and (decision.limit, decision.until) not in books.limits_reached:
            return at
    return at if decision.due else None


def _window_ends(books: Books, at: datetime) -> list[datetime]:
    """When the windows of the limits end: in one told of, the next one of another limit may begin that ends later."""
    limits = () if books.policy is None else books.policy.limits
    return [window(at, limit.per, books.terms.time_zone)[1] for limit in limits]


def unwanted_reason(books: Books, charge: Charge, at: datetime) -> str | None:
    """Why an automatic charge is to be withdrawn; None: it is still due, or it was tried and must run its course."""
    if charge.purpose != "recharge" or charge.status != "requested":
        return None
    refused = 0 if charge.refused is None else charge.refused._billionths
    reason = decide(books, at, refused=refused, ignoring=charge).reason
    names = {"closed": "closed", "off": "disabled", "suspended": "suspended", "above_threshold": "no_longer_due"}
    return None if reason is None else names.get(reason)


def _decide_method(books: Books, policy: RechargePolicy, at: datetime, amount: Money) -> RechargeDecision:
    for method in books.payment_methods:
        attempts, retry_at = books.failures.get(method, (0, at))
        if retry_at is not None and attempts <= len(policy.retry.delays):
            break
    else:
        why = "declined" if books.payment_methods else "no_payment_method"
        return RechargeDecision(due=False, amount=amount, reason="suspended", why=why)
    attempt = attempts + 1
    if retry_at > at:
        return RechargeDecision(
            due=False, amount=amount, payment_method=method, attempt=attempt, reason="backing_off", until=retry_at
        )
    reached = [(until, limit) for limit in policy.limits if (until := _reached_until(books, limit, amount, at))]
    if reached:
        until, limit = max(reached, key=lambda pair: (pair[0], _BY_LENGTH.index(pair[1].per)))
        return RechargeDecision(
            due=False,
            amount=amount,
            payment_method=method,
            attempt=attempt,
            reason="limit_reached",
            until=until,
            limit=limit,
        )
    return RechargeDecision(due=True, amount=amount, payment_method=method, attempt=attempt)


def _size(policy: RechargePolicy, terms: Terms, balance: int) -> int:
    """How much to charge at a balance below the threshold, in billionths; computed ones are raised to whole steps."""
    if policy.amount is not None and not policy.in_multiples:
        return policy.amount._billionths
    if policy.amount is not None:
        each = policy.amount._billionths
        size = -(-(policy.threshold.clear_from - balance) // each) * each
    else:
        size = policy.recharge_to._billionths - balance  # type: ignore[union-attr]  # one of the two is set
    if terms.minimum_purchase is not None:
        size = max(size, terms.minimum_purchase._billionths)
    step = 10 ** (9 - minor_digits(terms.currency)) if terms.purchase_step is None else terms.purchase_step._billionths
    return -(-size // step) * step


def _reached_until(books: Books, limit: RechargeLimit, amount: Money, at: datetime) -> datetime | None:
    """When the limit's window ends, if the recharge would exceed what is left of it."""
    start, end = window(at, limit.per, books.terms.time_zone)
    counted = [
        charge.amount._billionths
        for charge in (*books.ended_charges.values(), *books.charges.values())
        if charge.purpose == "recharge"
        and (charge.is_pending or charge.status == "paid")
        and start <= charge.requested_at < end
    ]
    too_many = limit.count is not None and len(counted) + 1 > limit.count
    too_much = limit.amount is not None and sum(counted) + amount._billionths > limit.amount._billionths
    return end if too_many or too_much else None


def check_fits(policy: RechargePolicy, terms: Terms) -> None:
    """Refuse a policy whose fixed amount a ledger of these terms could not charge.

    Raises: InvalidValueError.
    """
    if policy.amount is None or policy.in_multiples:
        return  # computed amounts are raised to the minimum and the step
    check_chargeable("amount", policy.amount, terms.purchase_step)
    if terms.minimum_purchase is not None and policy.amount._billionths < terms.minimum_purchase._billionths:
        raise InvalidValueError("amount", policy.amount, f"below the minimum purchase of {terms.minimum_purchase}")
