"""MeteredCall: the facts of a call that is paid as it goes, and what they come to after so many seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args

import attrs

from commcredits.command import check_name, check_text
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.policy import check_money
from commcredits.telephony.rates import Direction, check_direction, check_seconds
from commcredits.telephony.rating import RateCard, RatedCall
from commcredits.times import utc

if TYPE_CHECKING:
    from commcredits.lots import Hold
    from commcredits.money import Money
    from commcredits.state import LedgerState

FinalUnitAction = Literal["terminate", "redirect", "restrict"]

SESSION_ID_LENGTH_MAX = 180
"""Hold ids and idempotency keys, of at most 200 characters, are made of a session's id."""

_DAY_SECONDS = 86_400


@attrs.frozen(order=False)
class MeteredCall:
    """A call that is paid as it goes: what it is rated by, and in which slices it is granted.

    - `session_id`: unique on its ledger for ever, at most 180 characters; hold ids and idempotency keys are made of it.
    - `number`: the number that is called.
    - `card`: rates it; `started_at`: when it began, by which it is rated.
    - `direction`: `inbound` for a call to a number of the organization's own.
    - `covered_seconds`: what an allowance pays from the beginning on, where calls may be split
      (`Admission.covered_seconds`). Only what comes after is rated, from when it begins.
    - `slice_seconds`: how much is granted at a time. `grace_seconds`: how much longer the hold for it lasts.
    - `final_unit_action`: what is to happen when nothing more can be paid: `terminate`, `redirect` (to `redirect_to`)
      or `restrict`.
    - `kind`, `description`: of what is consumed.

    Raises: WrongTypeError, InvalidValueError; NoRateError for a number that the card has no rate for. Nothing was made.
    """

    session_id: str
    number: str
    card: RateCard = attrs.field(kw_only=True)
    started_at: datetime = attrs.field(kw_only=True)
    direction: Direction = attrs.field(default="outbound", kw_only=True)
    covered_seconds: int = attrs.field(default=0, kw_only=True)
    slice_seconds: int = attrs.field(default=300, kw_only=True)
    grace_seconds: int = attrs.field(default=60, kw_only=True)
    final_unit_action: FinalUnitAction = attrs.field(default="terminate", kw_only=True)
    redirect_to: str = attrs.field(default="", kw_only=True)
    kind: str = attrs.field(default="call", kw_only=True)
    description: str = attrs.field(default="", kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_name("session_id", self.session_id)
        if len(self.session_id) > SESSION_ID_LENGTH_MAX:
            raise InvalidValueError("session_id", self.session_id, f"longer than {SESSION_ID_LENGTH_MAX} characters")
        if not isinstance(self.card, RateCard):
            raise WrongTypeError("card", self.card, "a RateCard")
        utc(self.started_at, "started_at")
        check_direction(self.direction)
        check_seconds("covered_seconds", self.covered_seconds)
        check_seconds("slice_seconds", self.slice_seconds, least=1)
        check_seconds("grace_seconds", self.grace_seconds)
        for parameter in ("covered_seconds", "slice_seconds", "grace_seconds"):
            if getattr(self, parameter) > _DAY_SECONDS:
                raise InvalidValueError(parameter, getattr(self, parameter), "more than a day")
        if self.final_unit_action not in get_args(FinalUnitAction):
            wanted = ", ".join(get_args(FinalUnitAction))
            raise InvalidValueError("final_unit_action", self.final_unit_action, f"not one of {wanted}")
        for parameter in ("redirect_to", "kind", "description"):
            check_text(parameter, getattr(self, parameter))
        self.card.rate_for(self.number, at=self.started_at, direction=self.direction)

    @property
    def paid_from(self) -> datetime:
        """When what is to be paid begins: after what an allowance covers."""
        return self.started_at + timedelta(seconds=self.covered_seconds)

    def rated(self, seconds: int) -> RatedCall:
        """What the call comes to if it lasts so long.

        Raises: WrongTypeError, InvalidValueError.
        """
        check_seconds("seconds", seconds)
        paid = max(0, seconds - self.covered_seconds)
        return self.card.rate(self.number, paid, at=self.paid_from, direction=self.direction)

    def longest(self, funds: Money, at_most_seconds: int) -> int:
        """How long the call can last on these funds, all that it costs from its start on counted.

        Raises: WrongTypeError, InvalidValueError, CurrencyMismatchError.
        """
        check_money("funds", funds, self.card.currency)
        check_seconds("at_most_seconds", at_most_seconds)
        if at_most_seconds <= self.covered_seconds:
            return at_most_seconds
        return self.covered_seconds + self.card.longest_affordable(
            self.number,
            funds,
            at=self.paid_from,
            direction=self.direction,
            at_most_seconds=at_most_seconds - self.covered_seconds,
        )

    def key(self, place: int) -> str:
        """The idempotency key of a capture, counted from 1."""
        return f"{self.session_id}/use-{place}"

    def hold_id(self, place: int) -> str:
        """The id of a hold, counted from 1; a session has a second only after the first ended."""
        return f"{self.session_id}/hold-{place}"

    def open_hold(self, state: LedgerState) -> Hold | None:
        """The session's hold, if one is open."""
        stem = self.hold_id(0)[:-1]
        own = [hold for hold in state.holds if hold.hold_id.startswith(stem) and hold.hold_id[len(stem) :].isdecimal()]
        return own[-1] if own else None
