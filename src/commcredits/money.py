"""Money: an exact integer of billionths of a currency's major unit, and the currency.

Rules: no float gets in, nothing is rounded unless a rounding is handed in, and no result
depends on the context of `decimal`.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from commcredits.currencies import MINOR_DIGITS, known_currency
from commcredits.errors import CurrencyMismatchError, InvalidValueError, WrongTypeError

if TYPE_CHECKING:
    from fractions import Fraction

BILLION: Final = 10**9

_DECIMALS: Final = 9
# How many billionths are one unit of the last of 0, 1, … 9 decimals.
_UNITS: Final[tuple[int, ...]] = tuple(10 ** (_DECIMALS - digits) for digits in range(_DECIMALS + 1))
_BILLIONTHS_MAX: Final = 10**24 * BILLION
_BILLIONTHS_MIN: Final = -_BILLIONTHS_MAX
_TEXT_LENGTH_MAX: Final = 64
_EXPONENT_MAX: Final = 100

# Wide enough for any amount to be laid out exactly; `format` must not see the caller's precision, rounding or traps.
_LAYOUT: Final = decimal.Context(
    prec=decimal.MAX_PREC,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=decimal.MIN_EMIN,
    Emax=decimal.MAX_EMAX,
    traps=[decimal.InvalidOperation],
)


class _Draft:
    """A Money that is still being filled in; it has the same slots, so that it can become one."""

    __slots__ = ("_billionths", "_currency")

    _billionths: int
    _currency: str


@final
class Money:
    """An exact amount of one currency: an integer of billionths of its major unit, and an ISO 4217 code.

    `Money("10.50", "USD")` is ten dollars and fifty cents, as is `Money.from_minor(1050, "USD")`. The finest amount
    is 10⁻⁹ of the major unit; an amount given has at most 10²⁴ major units, a result of arithmetic any number.
    Refused: floats, bools, NaN and infinities, unknown currencies, and text other than ASCII digits with an optional
    leading minus and an optional point between digits (no exponent, separator, plus sign or space). Zeros beyond the
    ninth decimal change nothing and are accepted. Immutable, and neither true nor false: ask `is_zero` or `is None`.
    """

    __slots__ = ("_billionths", "_currency")

    _billionths: int
    _currency: str

    def __new__(cls, amount: str | int | Decimal, currency: str) -> Money:
        """The Money of `amount` major units.

        Raises:
            WrongTypeError: the amount is no str, int or Decimal (floats and bools included), or the currency no str.
            InvalidValueError: the text is not a plain decimal number, or the amount too fine or too large.
            UnknownCurrencyError: ISO 4217 does not list the currency.
        """
        code = known_currency(currency)
        if isinstance(amount, str):
            if len(amount) > _TEXT_LENGTH_MAX:
                raise InvalidValueError("amount", amount, f"longer than {_TEXT_LENGTH_MAX} characters")
            billionths = _read(amount)
        elif isinstance(amount, Decimal):
            numerator, denominator = _ratio("amount", amount)
            billionths, finer = divmod(numerator * BILLION, denominator)
            if finer:
                raise InvalidValueError("amount", amount, f"more than {_DECIMALS} decimals; round it first")
        elif isinstance(amount, bool) or not isinstance(amount, int):
            raise WrongTypeError(
                "amount", amount, "a str, int or Decimal (never a float: write the number as text, '10.50')"
            )
        else:
            billionths = int.__mul__(amount, BILLION)  # not `amount * BILLION`: a subclass may multiply its own way
        if not _BILLIONTHS_MIN <= billionths <= _BILLIONTHS_MAX:
            raise InvalidValueError("amount", amount, "more than 10**24 major units")
        return _of(billionths, code)

    @classmethod
    def from_minor(cls, minor_units: int, currency: str) -> Money:
        """The Money of a whole number of minor units: 1050 of them are 10.50 USD, or 1050 JPY.

        Raises:
            WrongTypeError: `minor_units` is no int, or a bool.
            InvalidValueError: more than 10²⁴ major units.
            UnknownCurrencyError: ISO 4217 does not list the currency.
        """
        code = known_currency(currency)
        if isinstance(minor_units, bool) or not isinstance(minor_units, int):
            raise WrongTypeError("minor_units", minor_units, "an int, the whole number of minor units")
        billionths = int.__mul__(minor_units, _UNITS[MINOR_DIGITS[code]])
        if not _BILLIONTHS_MIN <= billionths <= _BILLIONTHS_MAX:
            raise InvalidValueError("minor_units", minor_units, "more than 10**24 major units")
        return _of(billionths, code)

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Nothing, in that currency.

        Raises:
            UnknownCurrencyError: ISO 4217 does not list the currency.
        """
        return _of(0, known_currency(currency))

    @classmethod
    def parse(cls, text: str) -> Money:
        """The Money that `str` wrote: an amount, one space, and the currency, such as "10.50 USD".

        Raises:
            WrongTypeError: `text` is no str.
            InvalidValueError: it is not of that form, or the amount is one that `Money(amount, currency)` refuses.
            UnknownCurrencyError: ISO 4217 does not list the currency.
        """
        return cls(*_split(text))

    @classmethod
    def total(cls, items: Iterable[Money], currency: str) -> Money:
        """The sum of the items; zero of `currency` when there are none.

        The built-in `sum` refuses Money, because it starts from a number.

        Raises:
            WrongTypeError: `items` cannot be iterated, or one of them is no Money.
            CurrencyMismatchError: one of them is of another currency.
            UnknownCurrencyError: ISO 4217 does not list the currency.
        """
        code = known_currency(currency)
        if not isinstance(items, Iterable):
            raise WrongTypeError("items", items, "an iterable of Money")
        billionths = 0
        for item in items:
            if not isinstance(item, Money):
                raise WrongTypeError("items", item, "Money, each of them")
            if item.currency != code:
                raise CurrencyMismatchError(code, item.currency)
            billionths += item._billionths
        return _of(billionths, code)

    @property
    def amount(self) -> Decimal:
        """The exact number of major units, with at least the decimals of the currency's minor unit."""
        return Decimal(_digits(self._billionths, self._currency))

    @property
    def currency(self) -> str:
        """The ISO 4217 code."""
        return self._currency

    @property
    def minor_units(self) -> int:
        """The number of minor units: 1050 for 10.50 USD.

        Raises:
            InvalidValueError: the amount is finer than a minor unit.
        """
        digits = MINOR_DIGITS[self._currency]
        whole, finer = divmod(self._billionths, _UNITS[digits])
        if finer:
            raise InvalidValueError("minor_units", self, f"finer than the {digits} decimals of {self._currency}")
        return whole

    @property
    def is_zero(self) -> bool:
        """Whether it is nothing."""
        return self._billionths == 0

    @property
    def is_positive(self) -> bool:
        """Whether it is more than nothing."""
        return self._billionths > 0

    @property
    def is_negative(self) -> bool:
        """Whether it is less than nothing."""
        return self._billionths < 0

    def scaled(self, factor: Decimal | Fraction | int, rounding: str) -> Money:
        """The amount times `factor`, rounded to billionths by `rounding`, one of the ROUND_… constants of `decimal`.

        Raises:
            WrongTypeError: the factor is a float, a bool or anything else.
            InvalidValueError: the factor is not finite or has digits beyond 10^±100, or the rounding is unknown.
        """
        if isinstance(factor, Decimal):
            numerator, denominator = _ratio("factor", factor)
        else:
            # Imported here because few programs need it, and importing it takes time.
            from fractions import Fraction  # noqa: PLC0415

            if isinstance(factor, bool) or not isinstance(factor, int | Fraction):
                raise WrongTypeError(
                    "factor", factor, "a Decimal, Fraction or int (never a float: write Decimal('1.5'))"
                )
            numerator, denominator = factor.as_integer_ratio()
        return _of(_divided(self._billionths * numerator, denominator, rounding), self._currency)

    def rounded(self, digits: int | None = None, rounding: str = decimal.ROUND_HALF_EVEN) -> Money:
        """The amount rounded to `digits` decimals, 0 to 9; None: those of the currency's minor unit.

        Raises:
            WrongTypeError: `digits` is no int.
            InvalidValueError: `digits` is not from 0 to 9, or the rounding is none of `decimal`'s.
        """
        if digits is None:
            digits = MINOR_DIGITS[self._currency]
        elif isinstance(digits, bool) or not isinstance(digits, int):
            raise WrongTypeError("digits", digits, "an int from 0 to 9, or None")
        elif not 0 <= digits <= _DECIMALS:
            raise InvalidValueError("digits", digits, "not from 0 to 9")
        unit = _UNITS[digits]
        return _of(_divided(self._billionths, unit, rounding) * unit, self._currency)

    def allocate(self, weights: Iterable[int]) -> tuple[Money, ...]:
        """The amount split in proportion to the weights, one part each; the parts add up to it.

        The parts are whole minor units if the amount is, else billionths. What the proportions leave over goes, a unit
        each, to the largest remainders, the earliest first among equals; a weight of zero gets nothing. A negative
        amount is split as its opposite is.

        Raises:
            WrongTypeError: `weights` cannot be iterated, or one of them is no int.
            InvalidValueError: a weight is negative, or none is positive.
        """
        if not isinstance(weights, Iterable):
            raise WrongTypeError("weights", weights, "an iterable of ints")
        weights = tuple(weights)
        for weight in weights:
            if isinstance(weight, bool) or not isinstance(weight, int):
                raise WrongTypeError("weights", weight, "ints, each of them")
            if weight < 0:
                raise InvalidValueError("weights", weight, "a weight cannot be negative")
        whole = sum(weights)
        if not whole:
            raise InvalidValueError("weights", weights, "at least one must be positive")
        unit = _UNITS[MINOR_DIGITS[self._currency]]
        if self._billionths % unit:
            unit = 1
        units = abs(self._billionths) // unit
        shares = [units * weight // whole for weight in weights]
        by_remainder = sorted(range(len(weights)), key=lambda i: -(units * weights[i] % whole))
        for i in by_remainder[: units - sum(shares)]:
            shares[i] += 1
        if self._billionths < 0:
            unit = -unit
        return tuple(_of(share * unit, self._currency) for share in shares)

    # Sums and comparisons try first and ask afterwards: `isinstance` would take as long as the comparison itself.

    def __add__(self, other: Money) -> Money:
        try:
            if self._currency == other._currency:
                return _of(self._billionths + other._billionths, self._currency)
        except AttributeError:
            _refuse_number(other)
        _refuse_other_currency(self, other)
        return NotImplemented

    def __radd__(self, other: object) -> NoReturn:
        # Reached by `sum(items)`, whose start is the int 0.
        raise WrongTypeError("operand", other, "a Money; to add up many, use Money.total(items, currency)")

    def __sub__(self, other: Money) -> Money:
        try:
            if self._currency == other._currency:
                return _of(self._billionths - other._billionths, self._currency)
        except AttributeError:
            _refuse_number(other)
        _refuse_other_currency(self, other)
        return NotImplemented

    def __mul__(self, times: int) -> Money:
        if not isinstance(times, bool) and isinstance(times, int):
            return _of(int.__mul__(self._billionths, times), self._currency)
        if hasattr(times, "as_integer_ratio"):
            raise WrongTypeError("operand", times, "an int; for other factors use Money.scaled(factor, rounding)")
        return NotImplemented

    __rmul__ = __mul__

    def __neg__(self) -> Money:
        return _of(-self._billionths, self._currency)

    def __abs__(self) -> Money:
        return _of(abs(self._billionths), self._currency)

    def __bool__(self) -> NoReturn:
        # Numbers are false when zero, yet `if limit:` nearly always means `is not None`; where None stands for "no
        # limit", to take a limit of zero for None is costly. So neither reading is guessed.
        raise WrongTypeError("condition", self, "a bool; ask money.is_zero, is_positive, is_negative or `is not None`")

    def __eq__(self, other: object) -> bool:
        money: Any = other
        try:
            if self._currency == money._currency:
                return self._billionths == money._billionths  # type: ignore[no-any-return]
        except AttributeError:
            return NotImplemented
        return False

    def __lt__(self, other: Money) -> bool:
        try:
            if self._currency == other._currency:
                return self._billionths < other._billionths
        except AttributeError:
            pass
        _refuse_other_currency(self, other)
        return NotImplemented

    def __le__(self, other: Money) -> bool:
        try:
            if self._currency == other._currency:
                return self._billionths <= other._billionths
        except AttributeError:
            pass
        _refuse_other_currency(self, other)
        return NotImplemented

    def __gt__(self, other: Money) -> bool:
        try:
            if self._currency == other._currency:
                return self._billionths > other._billionths
        except AttributeError:
            pass
        _refuse_other_currency(self, other)
        return NotImplemented

    def __ge__(self, other: Money) -> bool:
        try:
            if self._currency == other._currency:
                return self._billionths >= other._billionths
        except AttributeError:
            pass
        _refuse_other_currency(self, other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._billionths, self._currency))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Money is immutable; cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Money is immutable; cannot delete {name!r}")

    def __copy__(self) -> Money:
        return self

    def __deepcopy__(self, memo: object) -> Money:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        # Not through the constructor, whose bound a result of arithmetic may exceed. Pickles kept hold the name `_of`.
        return _of, (self._billionths, self._currency)

    def __repr__(self) -> str:
        return f"Money('{_digits(self._billionths, self._currency)}', '{self._currency}')"

    def __str__(self) -> str:
        return _text(self._billionths, self._currency)

    def __format__(self, format_spec: str) -> str:
        """The amount alone, without its currency, laid out by a format of Decimal: `f"{money:,.2f}"` is "1,234.50".

        Decimals that the format has no room for are rounded half to even. An empty format gives `str(money)`.

        Raises:
            InvalidValueError: Decimal has no such format.
        """
        if not format_spec:
            return str(self)
        with decimal.localcontext(_LAYOUT):
            try:
                return format(self.amount, format_spec)
            except ValueError:
                raise InvalidValueError("format_spec", format_spec, "not a format of Decimal") from None


def _of(billionths: int, currency: str) -> Money:
    """The Money of so many billionths, unchecked; the currency must be a known code, as a plain str."""
    # To fill in a sibling with the same slots and turn it into a Money takes two thirds of the time of writing past
    # Money.__setattr__.
    draft: Any = _Draft()
    draft._billionths = billionths
    draft._currency = currency
    draft.__class__ = Money
    return draft  # type: ignore[no-any-return]


def _from_text(text: str) -> Money:
    """The Money that `str` wrote, beyond the constructor's bound too.

    Raises:
        WrongTypeError, InvalidValueError, UnknownCurrencyError: as `Money.parse`.
    """
    amount, code = _split(text)
    return _of(_read(amount), code)


def _split(text: str) -> tuple[str, str]:
    """The amount, still to be read, and the currency of what `str` wrote."""
    if not isinstance(text, str):
        raise WrongTypeError("text", text, "a str such as '10.50 USD'")
    amount, space, code = text.partition(" ")
    if not space:
        raise InvalidValueError("text", text, "not an amount, a space and a currency, such as '10.50 USD'")
    return amount, known_currency(code)


def _read(text: str) -> int:
    """The billionths that a plain decimal number comes to."""
    unsigned = text.removeprefix("-") if "-" in text else text
    whole, point, fraction = unsigned.partition(".")
    digits = whole + fraction
    if not (digits.isdigit() and digits.isascii() and whole and (fraction or not point)):
        raise InvalidValueError("amount", text, "not a plain decimal number such as '-1234.50'")
    if len(fraction) > _DECIMALS:
        if fraction[_DECIMALS:].strip("0"):
            raise InvalidValueError("amount", text, f"more than {_DECIMALS} decimals; round it first")
        fraction = fraction[:_DECIMALS]
        digits = whole + fraction
    try:
        billionths = int(digits) * _UNITS[len(fraction)]
    except ValueError:  # beyond sys.set_int_max_str_digits
        raise InvalidValueError("amount", text, "more digits than this interpreter reads") from None
    return billionths if unsigned is text else -billionths


def _ratio(parameter: str, number: Decimal) -> tuple[int, int]:
    """The number as numerator and denominator; refused before anything is built that would not fit into memory."""
    number = Decimal(number)  # a subclass may answer the questions below its own way
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise InvalidValueError(parameter, number, "not a finite number")
    if number and (number.adjusted() > _EXPONENT_MAX or exponent < -_EXPONENT_MAX):
        raise InvalidValueError(parameter, number, f"it has digits more than {_EXPONENT_MAX} places from the point")
    return number.as_integer_ratio() if number else (0, 1)


def _divided(numerator: int, denominator: int, rounding: str) -> int:
    """The quotient, rounded as `decimal` would."""
    quotient, rest = divmod(abs(numerator), denominator)
    beyond_half = 2 * rest - denominator
    match rounding:
        case decimal.ROUND_HALF_EVEN:
            away = beyond_half > 0 or (beyond_half == 0 and quotient % 2 == 1)
        case decimal.ROUND_HALF_UP:
            away = beyond_half >= 0
        case decimal.ROUND_HALF_DOWN:
            away = beyond_half > 0
        case decimal.ROUND_UP:
            away = rest > 0
        case decimal.ROUND_DOWN:
            away = False
        case decimal.ROUND_CEILING:
            away = rest > 0 and numerator > 0
        case decimal.ROUND_FLOOR:
            away = rest > 0 and numerator < 0
        case decimal.ROUND_05UP:
            away = rest > 0 and quotient % 5 == 0
        case _:
            raise InvalidValueError("rounding", rounding, "not a rounding of the decimal module")
    magnitude = quotient + away
    return magnitude if numerator >= 0 else -magnitude


@lru_cache(maxsize=256)  # an event that is stored tells the same few amounts several times
def _text(billionths: int, currency: str) -> str:
    """What `str` gives of an amount."""
    return f"{_digits(billionths, currency)} {currency}"


def _digits(billionths: int, currency: str) -> str:
    """The amount in plain decimal notation, with at least the decimals of the currency's minor unit."""
    digits = f"{abs(billionths):010}"
    fraction = digits[-9:].rstrip("0").ljust(MINOR_DIGITS[currency], "0")
    sign = "-" if billionths < 0 else ""
    return f"{sign}{digits[:-9]}.{fraction}" if fraction else f"{sign}{digits[:-9]}"


def _refuse_number(operand: object) -> None:
    """Refuse to add a number to Money; anything else may know how to add itself."""
    if hasattr(operand, "as_integer_ratio"):
        raise WrongTypeError("operand", operand, "a Money, such as Money('10.50', 'USD')")


def _refuse_other_currency(money: Money, other: object) -> None:
    if isinstance(other, Money):
        raise CurrencyMismatchError(money.currency, other.currency)
