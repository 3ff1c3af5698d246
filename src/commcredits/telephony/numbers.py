"""Numbers as calls have them: what kind of number it is, and which of its digits can be seen.

Nothing here needs an extra but `country_of` and `number_type`, which ask the package phonenumbers.
"""

from __future__ import annotations

import re
from typing import Literal

import attrs

from commcredits.errors import InvalidValueError, WrongTypeError

EMERGENCY_NUMBERS = frozenset({"000", "110", "112", "119", "911", "999"})
"""What is dialled for help in most countries, as it is dialled; a card may be given others."""

SHARED_COST_PREFIXES = ("44843", "44844", "44845", "44870", "44871", "44872")
"""Numbers whose called party shares the cost: credits pay for them, although a call to them may be domestic."""

SHORT_CODE_DIGITS_MAX = 6
"""No number of E.164 is as short as this, so such a number is dialled within one country only."""

_ANONYMOUS = frozenset({"", "anonymous", "private", "restricted", "unavailable", "unknown", "withheld"})
_SEPARATORS = str.maketrans("", "", " \t\u00a0-.()/")
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


def read_number(number: str, emergency_numbers: frozenset[str] = EMERGENCY_NUMBERS) -> Number:
    """What a number is, by its digits alone.

    A plus may be missing, and spaces and hyphens be there. Up to six digits without a plus are a short code, or an
    emergency number. Digits that are masked show as `*`. No text, and words such as `anonymous`, say that the number is
    withheld.

    Raises: WrongTypeError; InvalidValueError for what is no number, for one that begins with 0 (dialled within a
    country, it names none), and for one of more than 15 digits. Nothing was made.
    """
    if not isinstance(number, str):
        raise WrongTypeError("number", number, "text, such as '+14255550123'")
    if number.strip().lower() in _ANONYMOUS:
        return Number("anonymous", "", 0)
    parts = _NUMBER.fullmatch(number.translate(_SEPARATORS))
    if parts is None:
        raise InvalidValueError("number", number, "not a telephone number")
    plus, seen, rest = parts.groups()
    length = len(seen) + len(rest)
    if not plus and length <= SHORT_CODE_DIGITS_MAX:
        return Number("emergency" if seen in emergency_numbers and not rest else "short_code", seen, length)
    if not seen or length > 15:
        raise InvalidValueError("number", number, "not a telephone number")
    if seen.startswith("0"):
        raise InvalidValueError("number", number, "begins with 0, so its country is not known")
    return Number("international", seen, length)


def is_shared_cost(number: str) -> bool:
    """Whether credits pay for calls to a number although they may be domestic: its prefix is of shared cost.

    Raises: WrongTypeError, InvalidValueError. Nothing was made.
    """
    read = read_number(number)
    return read.kind == "international" and read.digits.startswith(SHARED_COST_PREFIXES)
