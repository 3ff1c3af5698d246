"""Numbers as calls have them: what kind of number it is, which of its digits can be seen, and whose country it is.

What needs to know the numbering plans of the world (`country_of`, `number_type`, `to_e164`) asks the package
phonenumbers, of the extra `telephony`; the rest needs none.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phonenumbers import PhoneNumber

EMERGENCY_NUMBERS = frozenset({"000", "110", "112", "119", "911", "999"})
"""What is dialled for help in most countries, as it is dialled; a card may be given others."""

SHARED_COST_PREFIXES = ("44843", "44844", "44845", "44870", "44871", "44872")
"""Numbers whose called party shares the cost: credits pay for them, although a call to them may be domestic."""

NUMBER_DIGITS_MAX = 15
"""No number of E.164 is longer, the country code included."""

SHORT_CODE_DIGITS_MAX = 6
"""No number of E.164 is as short; without a plus, such a number is one that is dialled within its country."""

_ANONYMOUS = frozenset({"", "anonymous", "private", "restricted", "unavailable", "unknown", "withheld"})
_SEPARATORS = str.maketrans("", "", " \t\u00a0-.()/")
_TRUNK_DIGIT = "(0)"
_NUMBER = re.compile(r"(\+?)([0-9]*)([0-9*]*)")

Kind = Literal["international", "short_code", "emergency", "anonymous"]


@attrs.frozen
class Number:
    """A number as it was read.

    - `kind`: `international` (E.164), `short_code`, `emergency` or `anonymous`.
    - `digits`: those before the first masked one, from the country code on; none if it is anonymous.
    - `length`: how many digits there are, the masked ones included.
    """

    kind: Kind
    digits: str
    length: int

    @property
    def masked(self) -> bool:
        """Whether some of its digits are hidden."""
        return self.length > len(self.digits)


def read_number(number: str, emergency_numbers: AbstractSet[str] = EMERGENCY_NUMBERS) -> Number:
    """What a number is, by its digits alone.

    A plus may be missing, and spaces and hyphens be there. Up to six digits without a plus are a short code, or an
    emergency number. Digits that are masked show as `*`. No text, and words such as `anonymous`, say that the number is
    withheld.

    Raises: WrongTypeError; InvalidValueError for what is no number, for one that begins with 0 (dialled within a
    country, it names none) or has `(0)` in it, and for one of more than 15 digits. Nothing was made.
    """
    if not isinstance(number, str):
        raise WrongTypeError("number", number, "text, such as '+14255550123'")
    if not isinstance(emergency_numbers, AbstractSet):
        raise WrongTypeError("emergency_numbers", emergency_numbers, "a set of text")
    if number.strip().lower() in _ANONYMOUS:
        return Number("anonymous", "", 0)
    if _TRUNK_DIGIT in number:
        # Which is left out from abroad in most countries, and kept in some: with or without it, another prefix counts.
        raise InvalidValueError("number", number, f"{_TRUNK_DIGIT} is dialled within a country alone")
    parts = _NUMBER.fullmatch(number.translate(_SEPARATORS))
    if parts is None:
        raise InvalidValueError("number", number, "not a telephone number")
    plus, seen, rest = parts.groups()
    length = len(seen) + len(rest)
    if not seen or length > NUMBER_DIGITS_MAX:
        raise InvalidValueError("number", number, "not a telephone number")
    if not plus and length <= SHORT_CODE_DIGITS_MAX:
        return Number("emergency" if seen in emergency_numbers and not rest else "short_code", seen, length)
    if seen.startswith("0"):
        raise InvalidValueError("number", number, "begins with 0, so its country is not known")
    return Number("international", seen, length)


def is_shared_cost(number: str) -> bool:
    """Whether credits pay for calls to a number although they may be domestic: its prefix is of shared cost.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """
    read = read_number(number)
    return read.kind == "international" and read.digits.startswith(SHARED_COST_PREFIXES)


# Territories that share the numbering plan of a country, and that a call from there to is a domestic one.
_COUNTED_AS = {"GG": "GB", "JE": "GB", "IM": "GB", "AX": "FI", "SJ": "NO", "VA": "IT", "CC": "AU", "CX": "AU"}
_NO_COUNTRY = "001"
_MASKED_AT_MOST = 4  # by Microsoft's reports; what kind of number it is shows in the digits before
_NORTH_AMERICA = "1"
_AREA_CODE_END = len("1425")


def country_of(number: str) -> str:
    """The country that a number belongs to, two letters (ISO 3166-1); empty: none, or it cannot be told.

    Territories that share the plan of a country count as that country: Guernsey, Jersey and Man as GB, Åland as FI,
    Svalbard as NO, the Vatican as IT, the Cocos and Christmas Islands as AU. International freephone and networks
    (+800, +883) have none, nor have short codes, emergency numbers and withheld ones. Masked digits are no hindrance
    where those that can be seen tell.

    Needs the extra `telephony`. Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """
    read = read_number(number)
    return _country(read) if read.kind == "international" else ""


@lru_cache(maxsize=4096)  # looking a number up in the numbering plans takes a tenth of a millisecond
def _country(read: Number) -> str:
    import phonenumbers  # noqa: PLC0415  # of an extra

    regions_by_code = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    code = next((read.digits[:end] for end in (1, 2, 3) if int(read.digits[:end]) in regions_by_code), None)
    if code is None:
        return ""
    regions = {_COUNTED_AS.get(region, region) for region in regions_by_code[int(code)]}
    if len(regions) > 1:
        # Several countries share the code, and the digits after it tell which.
        if code == _NORTH_AMERICA and len(read.digits) < _AREA_CODE_END:
            return ""
        found = (phonenumbers.region_code_for_number(each) for each in _possible(read))
        regions = {_COUNTED_AS.get(region, region) for region in found if region is not None}
    return regions.pop() if len(regions) == 1 and _NO_COUNTRY not in regions else ""


def number_type(number: str) -> str:
    """What kind of line a number is, by the numbering plan of its country.

    `fixed_line`, `mobile`, `fixed_line_or_mobile` (in North America one cannot tell), `toll_free`, `premium_rate`,
    `shared_cost`, `voip`, `personal_number`, `pager`, `uan`, `voicemail`, or `unknown`: also for short codes, withheld
    numbers, and where masked digits would decide. The British numbers in `SHARED_COST_PREFIXES` are `shared_cost`,
    although the plan calls them premium.

    Needs the extra `telephony`. Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """
    import phonenumbers  # noqa: PLC0415  # of an extra

    read = read_number(number)
    if read.kind != "international" or read.length - len(read.digits) > _MASKED_AT_MOST:
        return "unknown"
    if read.digits.startswith(SHARED_COST_PREFIXES):
        return "shared_cost"
    kinds = {phonenumbers.number_type(each) for each in _possible(read)} - {phonenumbers.PhoneNumberType.UNKNOWN}
    return phonenumbers.PhoneNumberType.to_string(kinds.pop()).lower() if len(kinds) == 1 else "unknown"


def to_e164(text: str, country: str) -> str:
    """The number that `text` is when it is dialled in a country (two letters): a plus, the country code, the rest.

    Needs the extra `telephony`. Raises: WrongTypeError; InvalidValueError for what is no number that there may be,
    which a short code, a withheld number and one with masked digits are not. Nothing was made.
    """
    import phonenumbers  # noqa: PLC0415  # of an extra

    if not isinstance(text, str):
        raise WrongTypeError("text", text, "text, such as '020 7946 0123'")
    if not isinstance(country, str):
        raise WrongTypeError("country", country, "a country's code")
    if "*" in text:
        # phonenumbers would drop the stars, and take what is left for the whole number.
        raise InvalidValueError("text", text, "has masked digits")
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException as error:
        raise InvalidValueError("text", text, f"not a telephone number in {country}") from error
    if not phonenumbers.is_possible_number(number):
        raise InvalidValueError("text", text, f"too long or too short for a telephone number in {country}")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _possible(read: Number) -> Iterator[PhoneNumber]:
    """The number as phonenumbers has it; for one with masked digits, several that it may be."""
    import phonenumbers  # noqa: PLC0415  # of an extra

    for digit in "0123456789" if read.masked else "0":
        with suppress(phonenumbers.NumberParseException):
            yield phonenumbers.parse("+" + read.digits.ljust(read.length, digit))
