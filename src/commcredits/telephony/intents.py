"""CallIntent: a call that somebody wants to make, before it is known whether it may be."""

from __future__ import annotations

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony.codes import CallType, call_type_of
from commcredits.telephony.numbers import read_number
from commcredits.telephony.plans import check_country


@attrs.frozen(order=False)
class CallIntent:
    """A call that is to begin.

    - `call_type`: as reports will have it: `user_out`, `conf_in` and so on.
    - `number`: the number that is called; of a call in, the organization's own.
    - `is_toll_free`: of a call in: that number is toll-free, so the organization pays.
    - `destination_context`: `Domestic` or `International`, `destination_country`: two capital letters (ISO 3166-1).
      What is not told is worked out from the number, for which the extra `telephony` is needed.
    - `type`: what the call type says.

    Raises: WrongTypeError; InvalidValueError for a call type that is not documented, what is no number, and a call out
    that is toll-free. Nothing was made.
    """

    call_type: str
    number: str
    is_toll_free: bool = attrs.field(default=False, kw_only=True)
    destination_context: str = attrs.field(default="", kw_only=True)
    destination_country: str = attrs.field(default="", kw_only=True)
    type: CallType = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        for parameter in ("call_type", "destination_context", "destination_country"):
            if not isinstance(getattr(self, parameter), str):
                raise WrongTypeError(parameter, getattr(self, parameter), "text")
        known = call_type_of(self.call_type)
        if known is None:
            raise InvalidValueError("call_type", self.call_type, "not a call type of the reports")
        object.__setattr__(self, "type", known)
        read_number(self.number)
        if not isinstance(self.is_toll_free, bool):
            raise WrongTypeError("is_toll_free", self.is_toll_free, "a bool")
        if self.is_toll_free and known.direction == "outbound":
            raise InvalidValueError("is_toll_free", self.is_toll_free, "only a call in is toll-free to its caller")
        if self.destination_context.lower() not in ("", "domestic", "international"):
            raise InvalidValueError(
                "destination_context", self.destination_context, "neither Domestic nor International"
            )
        if self.destination_country:
            check_country("destination_country", self.destination_country)
