"""Admission: whether a call may begin, who pays for it, and for how long it can be paid.

A decision on values as they are: it reserves neither minutes nor money. A `CallSession` holds funds for a call.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import attrs

from commcredits.errors import CurrencyMismatchError, WrongTypeError
from commcredits.state import LedgerReads
from commcredits.telephony.allowances import AllowanceState, Coverage
from commcredits.telephony.intents import CallIntent
from commcredits.telephony.numbers import country_of, read_number
from commcredits.telephony.plans import ZONE_A, check_prefixes, is_domestic_call
from commcredits.telephony.rates import check_seconds
from commcredits.telephony.rating import NoRateError, RateCard
from commcredits.telephony.subscribers import Subscriber
from commcredits.times import utc

PaidBy = Literal["nobody", "allowance", "credits"]
Refusal = Literal["destination_not_allowed", "restricted_by_policy", "no_licence", "no_credit", "no_rate"]

NOT_DIALLED = ("449",)
"""Prefixes that nobody can dial: "449XX numbers are not supported" (country page of the United Kingdom)."""


@attrs.frozen(order=False, kw_only=True)
class Admission:
    """Whether a call may begin.

    Attributes:
        paid_by: "nobody" (the call is free), "allowance", whose minutes come first, or "credits"; None: refused.
        max_seconds: for how long the call can be paid, by the allowance, then by credits; None: without limit, or
            refused.
        covered_seconds: for how long the allowance alone pays.
        reason: why it was refused: "destination_not_allowed" (nobody may dial it), "restricted_by_policy",
            "no_licence", "no_credit", "no_rate"; None: admitted.
    """

    paid_by: PaidBy | None = None
    max_seconds: int | None = None
    covered_seconds: int = 0
    reason: Refusal | None = None

    @property
    def admitted(self) -> bool:
        """Whether the call may begin."""
        return self.paid_by is not None


_FREE = Admission(paid_by="nobody")


def admit(
    call_intent: CallIntent,
    subscriber: Subscriber,
    allowances: AllowanceState,
    ledger: LedgerReads,
    card: RateCard,
    at: datetime,
    *,
    not_dialled: tuple[str, ...] = NOT_DIALLED,
    at_most_seconds: int = 86_400,
) -> Admission:
    """Whether a call may begin at `at`, on what is left of the minutes and what is available on the ledger.

    The subscriber is the user or bot that calls or is called; for a conference, its organizer. The first that applies
    decides:

    1. Emergency calls are admitted and free, whatever else. So are calls over Direct Routing, and short codes that the
       card has no price for.
    2. Calls in are free, but those to toll-free numbers and into pay-per-minute conferences, which credits pay for.
    3. What nobody may dial (`not_dialled`, prefixes; a withheld number) is refused, then what the subscriber's policy
       forbids. Bots have no policy.
    4. Licences: a conference needs one of Audio Conferencing, a user a Calling Plan.
    5. The allowance pays as far as it covers. Credits pay the rest if the subscriber has their licence (pay-per-minute
       conferencing needs none), the ledger's available balance is positive, and the card has a rate.

    Raises: WrongTypeError; CurrencyMismatchError for a card in another currency than the ledger's; TimeRunsBackError
    for an `at` before the ledger's last event; InvalidValueError. Nothing was recorded.
    """
    for parameter, value, kind in (
        ("call_intent", call_intent, CallIntent),
        ("subscriber", subscriber, Subscriber),
        ("allowances", allowances, AllowanceState),
        ("ledger", ledger, LedgerReads),
        ("card", card, RateCard),
    ):
        if not isinstance(value, kind):
            raise WrongTypeError(
                parameter, value, "a Ledger or a LedgerState" if kind is LedgerReads else kind.__name__
            )
    if card.currency != ledger.currency:
        raise CurrencyMismatchError(ledger.currency, card.currency)
    check_seconds("at_most_seconds", at_most_seconds, least=1)
    not_dialled = check_prefixes("not_dialled", not_dialled)
    return _Question(
        call_intent, subscriber, allowances, ledger, card, utc(at, "at"), not_dialled, at_most_seconds
    ).answer()


@attrs.frozen(eq=False)
class _Question:
    """All that an admission is decided by."""

    intent: CallIntent
    subscriber: Subscriber
    allowances: AllowanceState
    ledger: LedgerReads
    card: RateCard
    at: datetime
    not_dialled: tuple[str, ...]
    at_most_seconds: int

    def answer(self) -> Admission:
        if self._is_free():
            return _FREE
        reason = self._forbidden() or self._unlicensed()
        if reason is not None:
            return Admission(reason=reason)
        allowance, covered = self._coverage()
        splits = allowance is not None and allowance.crossing == "split"
        bought = self._affordable(from_second=covered if splits else 0)
        if covered:
            # A call that is longer than what covers it whole is all paid by credits, unless it may be split.
            more = 0 if isinstance(bought, str) else bought
            longest = covered + more if splits else max(covered, more)
            return Admission(paid_by="allowance", max_seconds=longest, covered_seconds=covered)
        if isinstance(bought, str):
            return Admission(reason=bought)
        return Admission(paid_by="credits", max_seconds=bought)

    @property
    def _pays_per_minute(self) -> bool:
        return self.intent.type.party == "conference" and self.subscriber.pay_per_minute_conferencing

    def _is_free(self) -> bool:
        known, number = self.intent.type, self.intent.number
        if known.is_emergency or known.party == "direct_routing":
            return True
        if known.direction == "inbound":
            return not (self.intent.is_toll_free or self._pays_per_minute)
        kind = read_number(number).kind
        # The card has the last word on short codes, and may know more emergency numbers among them.
        return kind == "emergency" or (kind == "short_code" and self._costs_nothing())

    def _costs_nothing(self) -> bool:
        try:
            return self.card.rate(self.intent.number, self.at_most_seconds, at=self.at).cost.is_zero
        except NoRateError:
            return False

    def _forbidden(self) -> Refusal | None:
        if self.intent.type.direction == "inbound":
            return None
        read = read_number(self.intent.number)
        if read.kind == "anonymous" or (read.kind == "international" and read.digits.startswith(self.not_dialled)):
            return "destination_not_allowed"
        policy = self.subscriber.dial_out_policy
        if self.intent.type.party == "bot":
            allowed = True
        elif self.intent.type.party == "user":
            allowed = policy.users == "international" or (policy.users == "domestic" and self._is_domestic())
        else:
            allowed = (
                policy.conferences == "any"
                or (policy.conferences == "zone_a" and self._country() in ZONE_A)
                or (policy.conferences == "domestic" and self._is_domestic())
            )
        return None if allowed else "restricted_by_policy"

    def _is_domestic(self) -> bool:
        return is_domestic_call(
            self.intent.number,
            home=self.subscriber.country,
            context=self.intent.destination_context,
            country=self._country,
        )

    def _country(self) -> str:
        return self.intent.destination_country or country_of(self.intent.number)

    def _unlicensed(self) -> Refusal | None:
        party, subscriber = self.intent.type.party, self.subscriber
        if party == "conference":
            licensed = self._pays_per_minute or subscriber.audio_conferencing is not None
        else:
            licensed = party == "bot" or subscriber.calling_plan is not None
        return None if licensed else "no_licence"

    def _coverage(self) -> Coverage:
        if self._pays_per_minute:
            return Coverage(None, 0)
        return self.allowances.coverage(
            self.subscriber,
            self.intent.call_type,
            self.intent.number,
            at=self.at,
            context=self.intent.destination_context,
            country=self.intent.destination_country,
            at_most_seconds=self.at_most_seconds,
        )

    def _affordable(self, *, from_second: int) -> int | Refusal:
        """How many seconds of the call credits pay for, from one of them on, or why they pay for none."""
        if not (self.subscriber.communications_credits or self._pays_per_minute):
            return "no_licence"
        if not self.ledger.admits_new_usage(self.at):
            return "no_credit"
        try:
            seconds = self.card.longest_affordable(
                self.intent.number,
                self.ledger.available_at(self.at),
                at=self.at + timedelta(seconds=from_second),
                direction=self.intent.type.direction,
                at_most_seconds=self.at_most_seconds - from_second,
            )
        except NoRateError:
            return "no_rate"
        return seconds or "no_credit"
