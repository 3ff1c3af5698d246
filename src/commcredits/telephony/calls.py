"""CallRecord: the facts of one call, as reported. It prices nothing; rating works from the names given here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.money import Money
from commcredits.policy import check_money
from commcredits.telephony.codes import call_type_of
from commcredits.times import utc

if TYPE_CHECKING:
    from datetime import datetime

# The report codes that draw on Communications Credits, and the stem of the regional and government forms.
_CREDITS_CAPABILITIES = frozenset({"MCOPSTNPP", "MCOMEETACPEA"})
_CREDITS_STEM = "MCOMEETACPEA_"

_BREAKS = re.compile(r"[\s_-]")


def _no_fee(record: CallRecord) -> Money:
    return Money.zero(check_money("charge", record.charge).currency)


# Without a slot for weak references, so that a draft can become one.
@attrs.frozen(kw_only=True, weakref_slot=False)
class CallRecord:
    """One call, or one leg of one, as a usage report tells it.

    Text that the report does not give is empty, and a time it does not give is None: nothing is worked out from
    other columns. Two records are equal if all fields are; `extra` has no part in the hash. Refused are an empty
    `record_id`, a duration below zero, a naive time, and a connection fee in another currency than the charge's.

    - `record_id`: the row's own id, unique: the idempotency key under which the call is consumed.
    - `call_id`: the call's id; several rows may share it (the legs of one conference do).
    - `call_type`: the report's code: `user_in`, `user_out`, `conf_in`, `ucap_out` and so on.
    - `started_at`, `ended_at`: kept in UTC, and not compared with the duration.
    - `duration_seconds`: how long the call was connected, in whole seconds, as reported (not rounded to minutes).
    - `charge`, `connection_fee`: the report's word for what the call cost, and the fee on top of it; `cost` adds them.
      A report may give back (below zero).
    - `capability`: the licence the call was made under, the report's code: `MCOPSTNPP`, `MCOPSTN1` and so on.
    - `user_id`, `user_principal_name`, `user_display_name`: the user; the organizer for a conference's calls; empty
      for bots.
    - `caller_number`, `callee_number`: who called, and who was called, whatever the direction. E.164 with a plus;
      some countries mask the other party's last digits with `*`, and emergency numbers are short.
    - `destination_name`: the country or region dialled; `destination_context`: `Domestic` or `International`.
    - `number_type`: the user's kind of number, such as `Subscriber` or `Service`.
    - `usage_country`: the user's country, two letters (ISO 3166-1).
    - `operator`: who carried the call; `conference_id`: the audio conference.
    - `call_direction`: `Inbound` or `Outbound`; only some reports have it.
    - `extra`: the row's other columns by name, their values untouched; read-only.

    Raises: WrongTypeError, InvalidValueError, CurrencyMismatchError. Nothing was made.
    """

    record_id: str
    started_at: datetime
    duration_seconds: int
    charge: Money
    connection_fee: Money = attrs.field(default=attrs.Factory(_no_fee, takes_self=True))
    ended_at: datetime | None = None
    call_id: str = ""
    call_type: str = ""
    capability: str = ""
    user_id: str = ""
    user_principal_name: str = ""
    user_display_name: str = ""
    caller_number: str = ""
    callee_number: str = ""
    destination_name: str = ""
    destination_context: str = ""
    number_type: str = ""
    usage_country: str = ""
    operator: str = ""
    conference_id: str = ""
    call_direction: str = ""
    extra: Mapping[str, object] = attrs.field(factory=dict, hash=False, repr=lambda extra: repr(dict(extra)))

    def __attrs_post_init__(self) -> None:
        for name in _TEXT_FIELDS:
            if not isinstance(getattr(self, name), str):
                raise WrongTypeError(name, getattr(self, name), "text")
        if not self.record_id:
            raise InvalidValueError("record_id", self.record_id, "a call needs an id")
        started_at = utc(self.started_at, "started_at")
        ended_at = None if self.ended_at is None else utc(self.ended_at, "ended_at")
        _check_seconds("duration_seconds", self.duration_seconds)
        charge = check_money("charge", self.charge)
        check_money("connection_fee", self.connection_fee, charge.currency)
        if not isinstance(self.extra, Mapping):
            raise WrongTypeError("extra", self.extra, "a mapping")
        object.__setattr__(self, "started_at", started_at)
        object.__setattr__(self, "ended_at", ended_at)
        # A copy, so that whoever passed the mapping cannot change the record afterwards.
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))

    def __reduce__(self) -> tuple[object, ...]:
        # A read-only view cannot be pickled or deep-copied: the record is built again from a plain dict.
        return _rebuild, (attrs.asdict(self, recurse=False) | {"extra": dict(self.extra)},)

    @property
    def cost(self) -> Money:
        """What the call came to: the charge and the connection fee.

        That the charge does not include the fee is read from Microsoft's dial-out report, which states a total
        "including call charges and connection fees"; the usage report itself does not say.
        """
        return self.charge + self.connection_fee

    @property
    def uses_credits(self) -> bool:
        """Whether the call draws on Communications Credits, which its capability alone decides.

        True for `MCOPSTNPP`, `MCOMEETACPEA` and `MCOMEETACPEA_` with any suffix, in upper or lower case, whatever
        the charge; a call that was covered by a plan, carried by Direct Routing or given free has another capability.
        """
        code = self.capability.upper()
        return code in _CREDITS_CAPABILITIES or code.startswith(_CREDITS_STEM)

    @property
    def direction(self) -> str:
        """`inbound` or `outbound`, by the call type if it is a known one, else by `call_direction`; empty: not told."""
        known = call_type_of(self.call_type)
        if known is not None:
            return known.direction
        told = self.call_direction.lower()
        return told if told in ("inbound", "outbound") else ""

    @property
    def is_conference(self) -> bool:
        """Whether it is a call to or from a conference, whose organizer is then the user."""
        known = call_type_of(self.call_type)
        return known is not None and known.party == "conference"

    @property
    def is_emergency(self) -> bool:
        """Whether it is a call to or from an emergency number, by its call type."""
        known = call_type_of(self.call_type)
        return known is not None and known.is_emergency

    @property
    def is_toll_free(self) -> bool:
        """Whether somebody called a toll-free number of the organization, which credits always pay for.

        What reports call such a number is documented nowhere: `TollFree`, `Toll-Free` and `toll free` are taken.
        """
        return self.direction == "inbound" and _BREAKS.sub("", self.number_type).lower() == "tollfree"


_TEXT_FIELDS = tuple(field.name for field in attrs.fields(CallRecord) if field.type in (str, "str"))


class Draft:
    """A CallRecord that is still being filled in; it has the same slots, so that it can become one.

    A report has many rows, and reading checks each cell: to check the record once more would double the time.
    """

    __slots__ = tuple(field.name for field in attrs.fields(CallRecord))


def _rebuild(fields: dict[str, object]) -> CallRecord:
    return CallRecord(**fields)  # type: ignore[arg-type]


def _check_seconds(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongTypeError(name, value, "a whole number of seconds")
    if value < 0:
        raise InvalidValueError(name, value, "below zero")
