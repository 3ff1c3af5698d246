"""The codes of PSTN usage reports as data: the call types, and the capabilities a call was made under.

The lists are Microsoft's documented ones; a report may have codes that they lack, and those are read all the same.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(order=False)
class CallType:
    """What a report's call type says of a call.

    Attributes:
        code: as reports write it.
        direction: "inbound" or "outbound", seen from the organization.
        party: who calls or is called: a "user", a "conference" (its bridge; the user named is the organizer), a "bot"
            (an auto attendant or a call queue), or somebody on a line of "direct_routing", which never uses credits.
        meaning: in words.
        is_emergency: whether it is a call to or from an emergency number.
    """

    code: str
    direction: Literal["inbound", "outbound"]
    party: Literal["user", "conference", "bot", "direct_routing"]
    meaning: str
    is_emergency: bool = False


@attrs.frozen(order=False)
class Capability:
    """What a report's capability, the licence a call was made under, says of a call.

    Attributes:
        code: as reports write it; the code of the licence in an order may be another.
        payer: who pays for the call: "credits", the "allowance" (what the licence includes), or "nobody".
        meaning: in words.
    """

    code: str
    payer: Literal["credits", "allowance", "nobody"]
    meaning: str


CALL_TYPES: Mapping[str, CallType] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            CallType("user_in", "inbound", "user", "a call to a user"),
            CallType("user_out", "outbound", "user", "a call by a user"),
            CallType("user_out_conf", "outbound", "user", "a user added two or more people by telephone"),
            CallType("user_out_transfer", "outbound", "user", "a call that was transferred to a telephone"),
            CallType("user_out_forwarding", "outbound", "user", "a call that was forwarded to a telephone"),
            CallType("unassigned_in", "inbound", "user", "a call to a number that nobody has"),
            CallType("emergency_in", "inbound", "user", "a call back from an emergency number", is_emergency=True),
            CallType("emergency_out", "outbound", "user", "a call to an emergency number", is_emergency=True),
            CallType("fmc_in", "inbound", "user", "a call to a user's own mobile dialer"),
            CallType("fmc_out", "outbound", "user", "a call from a user's own mobile dialer"),
            CallType("conf_in", "inbound", "conference", "somebody dialled into a conference"),
            CallType("conf_out", "outbound", "conference", "a conference dialled somebody"),
            CallType("ucap_in", "inbound", "bot", "a call to an auto attendant or a call queue"),
            CallType("ucap_out", "outbound", "bot", "a call by an auto attendant or a call queue"),
            CallType("ucap_out_conf", "outbound", "bot", "a bot added two or more people by telephone"),
            CallType("dr_in", "inbound", "direct_routing", "a call to a user"),
            CallType("dr_out", "outbound", "direct_routing", "a call by a user"),
            CallType("dr_out_user_conf", "outbound", "direct_routing", "a user added people by telephone"),
            CallType("dr_out_user_forwarding", "outbound", "direct_routing", "a call that was forwarded"),
            CallType("dr_out_user_transfer", "outbound", "direct_routing", "a call that was transferred"),
            CallType(
                "dr_emergency_out", "outbound", "direct_routing", "a call to an emergency number", is_emergency=True
            ),
            CallType("dr_unassigned_in", "inbound", "direct_routing", "a call to a number that nobody has"),
            CallType("dr_in_bot", "inbound", "direct_routing", "a call to a bot"),
            CallType("dr_out_bot", "outbound", "direct_routing", "a call by a bot"),
            CallType("dr_in_ucap", "inbound", "direct_routing", "a call to an auto attendant or a call queue"),
            CallType("dr_out_ucap", "outbound", "direct_routing", "a call by an auto attendant or a call queue"),
            CallType("ByotIn", "inbound", "direct_routing", "a call to a user"),
            CallType("ByotOut", "outbound", "direct_routing", "a call by a user"),
            CallType("ByotOutUserConf", "outbound", "direct_routing", "a user added people by telephone"),
            CallType("ByotOutUserForwarding", "outbound", "direct_routing", "a call that was forwarded"),
            CallType("ByotOutUserTransfer", "outbound", "direct_routing", "a call that was transferred"),
            CallType(
                "ByotOutEmergency", "outbound", "direct_routing", "a call to an emergency number", is_emergency=True
            ),
        )
    }
)
"""The documented call types, by code."""

CAPABILITIES: Mapping[str, Capability] = MappingProxyType(
    {
        capability.code: capability
        for capability in (
            Capability("MCOPSTNPP", "credits", "Communications Credits"),
            Capability("MCOMEETACPEA", "credits", "Audio Conferencing, pay per minute"),
            Capability("MCOMEETACPEA_TATA", "credits", "Audio Conferencing by Tata, pay per minute"),
            Capability("MCOMEETACPEA_GOV", "credits", "Audio Conferencing for governments, pay per minute"),
            Capability("MCOPSTN1", "allowance", "Domestic Calling Plan: 3,000 minutes in the US, 1,200 elsewhere"),
            Capability("MCOPSTN1BR", "allowance", "Domestic Calling Plan of Brazil"),
            Capability("MCOPSTN1MX", "allowance", "Domestic Calling Plan of Mexico"),
            Capability("MCOPSTN2", "allowance", "Domestic and International Calling Plan"),
            Capability("MCOPSTN2BR", "allowance", "Domestic and International Calling Plan of Brazil"),
            Capability("MCOPSTN2MX", "allowance", "Domestic and International Calling Plan of Mexico"),
            Capability("MCOPSTN5", "allowance", "Domestic Calling Plan: 120 minutes"),
            Capability("MCOPSTN6", "allowance", "Domestic Calling Plan: 240 minutes"),
            Capability("MCOPSTN8", "allowance", "Domestic Calling Plan: 120 minutes for each user, not pooled"),
            Capability("MCOPSTN9", "allowance", "International Calling Plan"),
            Capability("MCOPSTNCAP", "allowance", "Common Area Phone"),
            Capability("MCOMEETADD", "allowance", "Audio Conferencing"),
            Capability("MCOMEETADD_DIALOUT_US", "allowance", "Audio Conferencing, dial-out to the US and Canada"),
            Capability("MCOMEETADD_CN_GLOBAL", "allowance", "Audio Conferencing for users outside China"),
            Capability("MCOMEETADD_TATA", "allowance", "Audio Conferencing by Tata"),
            Capability("MCOEV", "allowance", "Phone System: an auto attendant or a call queue"),
            Capability("MCOEV_VIRTUALUSER", "allowance", "Phone System: an auto attendant or a call queue"),
            Capability("MCOEV_VIRTUALUSER_GOV", "allowance", "Phone System for governments"),
            Capability("FREECALL", "nobody", "given free, because a fault kept the call from being priced"),
            Capability("MCOPSTNU", "allowance", "seen in one of Microsoft's own samples; documented nowhere"),
        )
    }
)
"""The known capabilities, by code."""

_TYPES_BY_LOWER_CASE = {code.lower(): kind for code, kind in CALL_TYPES.items()}


def call_type_of(code: str) -> CallType | None:
    """What is known of a call type's code, in upper or lower case; None: it is not documented."""
    return _TYPES_BY_LOWER_CASE.get(code.lower())
