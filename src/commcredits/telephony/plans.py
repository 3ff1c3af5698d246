"""CallingPlan and DialOutPlan: which calls a licence includes, and how many minutes of them in a calendar month.

Microsoft's own plans are data here, each number with the document that has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony.codes import call_type_of
from commcredits.telephony.numbers import SHARED_COST_PREFIXES, number_type, read_number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MinuteKind = Literal["domestic", "international", "dial_out"]
Exhaustion = Literal["separate", "joint"]

MINUTES_MAX = 1_000_000
"""The most minutes that one licence can include; a month has some 44,640."""

PAY_PER_MINUTE = "MCOMEETACPEA"
"""What the capabilities of pay-per-minute conferencing begin with, whose calls no pool covers."""

# fmt: off
ZONE_A = frozenset({
    "AT", "AU", "BE", "BG", "BR", "CA", "CH", "CN", "CZ", "DE", "DK", "EE", "ES", "FI", "FR",
    "GB", "GR", "HK", "HR", "HU", "IE", "IN", "IT", "JP", "KR", "LU", "MX", "MY", "NL", "NO",
    "NZ", "PL", "PR", "PT", "RO", "RU", "SE", "SG", "SI", "SK", "TH", "TW", "US", "ZA",
})
# fmt: on
"""The countries of Zone A, which conferences may dial within their pool ("Audio Conferencing zones", February 2025)."""

# Countries between which calls are domestic. The US, Puerto Rico and Canada: "Country and region availability" of each.
# The United Kingdom's islands have country codes of their own (ISO 3166-1) and numbers that begin with 44; that calls
# to them are domestic is assumed.
_DOMESTIC = (frozenset({"US", "PR", "CA"}), frozenset({"GB", "GG", "IM", "JE"}))

# Usage locations whose users share one pool: "the United States and Puerto Rico".
_ONE_POOL = frozenset({"US", "PR"})


def is_domestic(home: str, destination: str) -> bool:
    """Whether a call from one country to another counts as domestic; both are of two letters (ISO 3166-1)."""
    return home == destination or any(home in area and destination in area for area in _DOMESTIC)


def pool_country(home: str) -> str:
    """The country whose pool a user of `home` shares: Puerto Rico's is that of the US."""
    return "US" if home in _ONE_POOL else home


def check_country(parameter: str, value: object) -> str:
    """`value`, if it is two capital letters, as a country's code is.

    Raises: WrongTypeError, InvalidValueError.
    """
    if not isinstance(value, str):
        raise WrongTypeError(parameter, value, "a country's code")
    if not (len(value) == 2 and value.isascii() and value.isalpha() and value.isupper()):
        raise InvalidValueError(parameter, value, "not two capital letters, such as US")
    return value


def _check_code(value: object) -> None:
    if not isinstance(value, str):
        raise WrongTypeError("code", value, "text")
    if not value:
        raise InvalidValueError("code", value, "a plan needs one")


def _check_minutes(parameter: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise WrongTypeError(parameter, value, "a whole number of minutes")
    if not 0 <= value <= MINUTES_MAX:
        raise InvalidValueError(parameter, value, f"not from 0 to {MINUTES_MAX}")


def check_prefixes(parameter: str, values: object) -> tuple[str, ...]:
    """`values` as a tuple, if they are prefixes.

    Raises: WrongTypeError, InvalidValueError.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise WrongTypeError(parameter, values, "prefixes")
    prefixes = tuple(values)
    for prefix in prefixes:
        if not isinstance(prefix, str):
            raise WrongTypeError(parameter, prefix, "a prefix")
        if not (prefix.isascii() and prefix.isdigit()):
            raise InvalidValueError(parameter, prefix, "not digits alone")
    return prefixes


def _not_included(values: Iterable[str]) -> tuple[str, ...]:
    return check_prefixes("not_included", values)


@attrs.frozen(order=False)
class CallingPlan:
    """The calls of users that one licence includes in a calendar month: so many domestic and international minutes.

    Included are calls out, but not those to emergency numbers, which are free. Calls in use no minutes.

    - `code`: the report's capability for calls under it, such as `MCOPSTN1`.
    - `domestic_minutes`, `international_minutes`: of one licence. Zero of both: pay as you go.
    - `exhaustion`: what "3,000 domestic or 600 international minutes, whichever is reached first" means. `separate`:
      each has its own limit, and once it is reached only calls of that kind are not covered any more. `joint`: once one
      limit is reached, nothing is. The documents leave it open.
    - `is_pooled`: the minutes of users of the same country and plan are in one pool; else each user has their own.
    - `not_included`: prefixes that credits pay for though the call be domestic; by default those of shared cost.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """

    code: str
    domestic_minutes: int
    international_minutes: int = 0
    exhaustion: Exhaustion = attrs.field(default="separate", kw_only=True)
    is_pooled: bool = attrs.field(default=True, kw_only=True)
    not_included: tuple[str, ...] = attrs.field(default=SHARED_COST_PREFIXES, kw_only=True, converter=_not_included)

    def __attrs_post_init__(self) -> None:
        _check_code(self.code)
        _check_minutes("domestic_minutes", self.domestic_minutes)
        _check_minutes("international_minutes", self.international_minutes)
        if self.exhaustion not in get_args(Exhaustion):
            raise InvalidValueError("exhaustion", self.exhaustion, 'must be "separate" or "joint"')
        if not isinstance(self.is_pooled, bool):
            raise WrongTypeError("is_pooled", self.is_pooled, "a bool")

    @property
    def minutes(self) -> Mapping[MinuteKind, int]:
        """What one licence includes, by kind; kinds that it does not include are left out."""
        both: dict[MinuteKind, int] = {
            "domestic": self.domestic_minutes,
            "international": self.international_minutes,
        }
        return {kind: minutes for kind, minutes in both.items() if minutes}

    @classmethod
    def microsoft_teams(cls, code: str, country: str, *, exhaustion: Exhaustion = "separate") -> CallingPlan:
        """One of Microsoft's Calling Plans, by its code in usage reports, for users of a country.

        `MCOPSTN1` (Domestic), `MCOPSTN2` (Domestic and International), `MCOPSTN5` (Domestic, 120 minutes), `MCOPSTN6`
        (Domestic, 240 minutes), `MCOPSTN8` (Domestic, 120 minutes for each user, not pooled).

        Raises: InvalidValueError for a code that is none of these; WrongTypeError. Nothing was made.
        """
        _check_code(code)
        check_country("country", country)
        if code not in _TEAMS_PLANS:
            raise InvalidValueError("code", code, f"not one of {', '.join(_TEAMS_PLANS)}")
        elsewhere, by_country, international, is_pooled = _TEAMS_PLANS[code]
        domestic = by_country.get(country, elsewhere)
        return cls(code, domestic, international, exhaustion=exhaustion, is_pooled=is_pooled)

    @classmethod
    def pay_as_you_go(cls, code: str = "MCOPSTNPP") -> CallingPlan:
        """A Calling Plan that includes no minutes: credits pay for all calls out."""
        return cls(code, 0)

    def kind_of(
        self, call_type: str, number: str, *, home: str, context: str, country: Callable[[], str]
    ) -> MinuteKind | None:
        """The minutes that a call uses, if the plan includes such calls; None: it does not.

        `context` is the report's word, `Domestic` or `International`; without it the countries decide: the user's,
        `home`, and that of the number, which `country` is asked for only then.

        Raises: InvalidValueError for what is no number; and what `country` raises.
        """
        known = call_type_of(call_type)
        if known is None or known.direction != "outbound" or known.party not in ("user", "bot"):
            return None
        if known.is_emergency or not _may_include(number, self.not_included):
            return None
        kind: MinuteKind = (
            "domestic" if is_domestic_call(number, home=home, context=context, country=country) else ("international")
        )
        return kind if kind in self.minutes else None


@attrs.frozen(order=False)
class DialOutPlan:
    """The calls out of conferences that one Audio Conferencing licence includes, to the countries of a zone.

    The pool is the whole tenant's, wherever its organizers are; what counts is the country that is dialled. Premium
    numbers are not included; to know them the extra `telephony` is needed.

    - `code`: the report's capability for calls under it.
    - `dial_out_minutes`: of one licence.
    - `countries`: which may be dialled.
    - `not_included`: prefixes that credits pay for; by default those of shared cost.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """

    code: str = "MCOMEETADD"
    # "Audio Conferencing subscription dial-out": 60 minutes × user licences × calendar month, since December 2019.
    dial_out_minutes: int = 60
    countries: frozenset[str] = attrs.field(default=ZONE_A, kw_only=True)
    not_included: tuple[str, ...] = attrs.field(default=SHARED_COST_PREFIXES, kw_only=True, converter=_not_included)

    exhaustion = "separate"
    is_pooled = True

    def __attrs_post_init__(self) -> None:
        _check_code(self.code)
        _check_minutes("dial_out_minutes", self.dial_out_minutes)
        if not isinstance(self.countries, Iterable):
            raise WrongTypeError("countries", self.countries, "countries' codes")
        countries = frozenset(check_country("countries", country) for country in self.countries)
        object.__setattr__(self, "countries", countries)

    @property
    def minutes(self) -> Mapping[MinuteKind, int]:
        """What one licence includes, by kind; kinds that it does not include are left out."""
        return {"dial_out": self.dial_out_minutes} if self.dial_out_minutes else {}

    def kind_of(
        self,
        call_type: str,
        number: str,
        *,
        home: str,  # noqa: ARG002  # the destination alone counts
        context: str,  # noqa: ARG002
        country: Callable[[], str],
    ) -> MinuteKind | None:
        """The minutes that a call uses, if the plan includes such calls; as `CallingPlan.kind_of`."""
        known = call_type_of(call_type)
        if known is None or known.direction != "outbound" or known.party != "conference":
            return None
        if not self.dial_out_minutes or not _may_include(number, self.not_included):
            return None
        return "dial_out" if country() in self.countries and not _is_premium(number) else None


def is_domestic_call(number: str, *, home: str, context: str, country: Callable[[], str]) -> bool:
    """Whether a call is domestic: by the report's word for it, else by the countries; short codes are.

    Raises: InvalidValueError for what is no number, and where nothing tells the user's country; what `country` raises.
    """
    told = context.lower()
    if told in ("domestic", "international"):
        return told == "domestic"
    if read_number(number).kind == "short_code":
        return True
    if not home:
        raise InvalidValueError("usage_country", home, "needed, as nothing says whether the call is domestic")
    return is_domestic(home, country())


def _may_include(number: str, not_included: tuple[str, ...]) -> bool:
    """Whether a plan may include a call to a number."""
    read = read_number(number)
    return read.kind != "emergency" and not (read.kind == "international" and read.digits.startswith(not_included))


@lru_cache(maxsize=4096)
def _is_premium(number: str) -> bool:
    return number_type(number) == "premium_rate"


# Of each plan: its domestic minutes, those of some countries, its international minutes, and whether they are pooled.
# From the documents "Country and region availability" (US, Canada, United Kingdom, Germany, France) and "Calling Plans
# for Teams"; the report's list of capabilities (January 2025) says 3,000 minutes in the US and 1,200 in Europe, Brazil
# and Mexico of MCOPSTN1, and 3,000 in the US, United Kingdom, Canada and Puerto Rico of MCOPSTN2. For the United
# Kingdom's MCOPSTN2 the country's own page has 1,200; the later list counts.
_TEAMS_PLANS: Mapping[str, tuple[int, Mapping[str, int], int, bool]] = MappingProxyType(
    {
        "MCOPSTN1": (1_200, {"US": 3_000, "PR": 3_000, "CA": 3_000}, 0, True),
        "MCOPSTN2": (1_200, {"US": 3_000, "PR": 3_000, "CA": 3_000, "GB": 3_000}, 600, True),
        "MCOPSTN5": (120, {}, 0, True),
        "MCOPSTN6": (240, {}, 0, True),
        "MCOPSTN8": (120, {}, 0, False),
    }
)
