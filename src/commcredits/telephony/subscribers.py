"""Subscriber: a user as calls see one: the usage location, the licences, and what may be dialled."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import attrs

from commcredits.command import check_name, check_text
from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony.plans import CallingPlan, DialOutPlan, check_country

if TYPE_CHECKING:
    from collections.abc import Mapping

ConferenceDialling = Literal["any", "zone_a", "domestic", "none"]
UserDialling = Literal["international", "domestic", "none"]


@attrs.frozen(order=False)
class DialOutPolicy:
    """What may be dialled: out of conferences that the user organizes, and by the user.

    - `conferences`: `any` destination, `zone_a`, `domestic` (the organizer's own country), or `none`.
    - `users`: `international` and domestic calls, `domestic` calls only, or `none`.

    Emergency numbers may always be dialled.

    Raises: InvalidValueError. Nothing was made.
    """

    conferences: ConferenceDialling = "any"
    users: UserDialling = "international"

    def __attrs_post_init__(self) -> None:
        for parameter, choices in (("conferences", ConferenceDialling), ("users", UserDialling)):
            if getattr(self, parameter) not in get_args(choices):
                wanted = ", ".join(get_args(choices))
                raise InvalidValueError(parameter, getattr(self, parameter), f"not one of {wanted}")

    @classmethod
    def named(cls, name: str) -> DialOutPolicy:
        """One of Microsoft's twelve policies, by its name, such as `DialoutCPCZoneAPSTNDomestic`.

        Raises: WrongTypeError; InvalidValueError when there is none of that name. Nothing was made.
        """
        found = _POLICIES.get(check_text("name", name))
        if found is None:
            raise InvalidValueError("name", name, "not the name of an outbound calling restriction policy")
        return cls(*found)


# "Outbound calling restriction policies for Audio Conferencing and user PSTN calls", November 2024.
_POLICIES: Mapping[str, tuple[ConferenceDialling, UserDialling]] = MappingProxyType(
    {
        "DialoutCPCandPSTNInternational": ("any", "international"),
        "DialoutCPCDomesticPSTNInternational": ("domestic", "international"),
        "DialoutCPCDisabledPSTNInternational": ("none", "international"),
        "DialoutCPCInternationalPSTNDomestic": ("any", "domestic"),
        "DialoutCPCInternationalPSTNDisabled": ("any", "none"),
        "DialoutCPCandPSTNDomestic": ("domestic", "domestic"),
        "DialoutCPCDomesticPSTNDisabled": ("domestic", "none"),
        "DialoutCPCDisabledPSTNDomestic": ("none", "domestic"),
        "DialoutCPCandPSTNDisabled": ("none", "none"),
        "DialoutCPCZoneAPSTNInternational": ("zone_a", "international"),
        "DialoutCPCZoneAPSTNDomestic": ("zone_a", "domestic"),
        "DialoutCPCZoneAPSTNDisabled": ("zone_a", "none"),
    }
)


@attrs.frozen(order=False, kw_only=True)
class Subscriber:
    """A user with licences; for the calls of a conference, its organizer.

    - `user_id`: as reports name the user.
    - `country`: the usage location of the licences, two capital letters (ISO 3166-1).
    - `calling_plan`: the Calling Plan licence; None: there is none. Pay as you go is a plan without minutes.
    - `audio_conferencing`: the Audio Conferencing licence, with what it includes; None: there is none with minutes.
    - `pay_per_minute_conferencing`: has the Audio Conferencing licence under which credits pay for all calls.
    - `communications_credits`: has the Communications Credits licence, without which credits pay for nothing but
      pay-per-minute conferencing.
    - `dial_out_policy`: what may be dialled.

    Raises: WrongTypeError, InvalidValueError (an empty id, what is no country, both kinds of conferencing). Nothing was
    made.
    """

    user_id: str
    country: str
    calling_plan: CallingPlan | None = None
    audio_conferencing: DialOutPlan | None = None
    pay_per_minute_conferencing: bool = False
    communications_credits: bool = False
    dial_out_policy: DialOutPolicy = DialOutPolicy()

    def __attrs_post_init__(self) -> None:
        check_name("user_id", self.user_id)
        check_country("country", self.country)
        for parameter, kind in (("calling_plan", CallingPlan), ("audio_conferencing", DialOutPlan)):
            if not isinstance(getattr(self, parameter), kind | None):
                raise WrongTypeError(parameter, getattr(self, parameter), f"a {kind.__name__} or None")
        for parameter in ("pay_per_minute_conferencing", "communications_credits"):
            if not isinstance(getattr(self, parameter), bool):
                raise WrongTypeError(parameter, getattr(self, parameter), "a bool")
        if not isinstance(self.dial_out_policy, DialOutPolicy):
            raise WrongTypeError("dial_out_policy", self.dial_out_policy, "a DialOutPolicy")
        if self.pay_per_minute_conferencing and self.audio_conferencing is not None:
            raise InvalidValueError("pay_per_minute_conferencing", True, "the user has a licence with minutes")  # noqa: FBT003
