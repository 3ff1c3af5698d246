"""Money: its laws, what it refuses, and that nothing of it depends on the context of `decimal`."""

from __future__ import annotations

import copy
import decimal
import enum
import math
import operator
import pickle
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from unittest import mock

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from commcredits.currencies import MINOR_DIGITS
from commcredits.errors import CurrencyMismatchError, InvalidValueError, UnknownCurrencyError, WrongTypeError
from commcredits.money import BILLION, Money, _from_text, _of
from commcredits.testing.strategies import currencies, monies

ROUNDINGS = [
    decimal.ROUND_CEILING,
    decimal.ROUND_DOWN,
    decimal.ROUND_FLOOR,
    decimal.ROUND_HALF_DOWN,
    decimal.ROUND_HALF_EVEN,
    decimal.ROUND_HALF_UP,
    decimal.ROUND_UP,
    decimal.ROUND_05UP,
]
EVERY_SIGNAL = [
    decimal.Clamped,
    decimal.DivisionByZero,
    decimal.FloatOperation,
    decimal.Inexact,
    decimal.InvalidOperation,
    decimal.Overflow,
    decimal.Rounded,
    decimal.Subnormal,
    decimal.Underflow,
]

any_monies = currencies().flatmap(lambda currency: monies(currency=currency))
dollars = monies(currency="USD")


def usd(amount: str | int | Decimal) -> Money:
    return Money(amount, "USD")


def exact(money: Money) -> Fraction:
    """The number of major units, by the integer alone."""
    return Fraction(money._billionths, 10**9)


@pytest.fixture
def hostile_context() -> Iterator[None]:
    """A decimal context in which any operation that heeds it rounds to one digit, or raises."""
    context = decimal.Context(prec=1, rounding=decimal.ROUND_UP, Emin=-1, Emax=1, clamp=1, traps=EVERY_SIGNAL)
    with decimal.localcontext(context):
        yield


# What is taken


@pytest.mark.parametrize(
    ("amount", "billionths"),
    [
        ("10.50", 10_500_000_000),
        ("-10.5", -10_500_000_000),
        ("0", 0),
        ("-0.00", 0),
        ("007", 7_000_000_000),
        ("0.000000001", 1),
        ("-0.000000001", -1),
        ("1.23456789", 1_234_567_890),
        ("1.5000000000", 1_500_000_000),
        ("1." + "0" * 62, 1_000_000_000),
        ("1" + "0" * 24, 10**33),
        ("-1" + "0" * 24, -(10**33)),
        (7, 7_000_000_000),
        (-(10**24), -(10**33)),
        (Decimal("10.50"), 10_500_000_000),
        (Decimal("1E+3"), 1_000_000_000_000),
        (Decimal("1E-9"), 1),
        (Decimal("1E+24"), 10**33),
        (Decimal("1.50000000000000000000"), 1_500_000_000),
        (Decimal("-0"), 0),
        (Decimal("0E+999999"), 0),
        (Decimal("0E-999999"), 0),
    ],
)
def test_an_amount_is_taken_exactly(amount: str | int | Decimal, billionths: int) -> None:
    assert usd(amount)._billionths == billionths


@given(
    st.integers(0, 9).flatmap(lambda p: st.tuples(st.integers(-(10 ** (24 + p)), 10 ** (24 + p)), st.just(p))),
    currencies(),
)
def test_text_decimal_and_the_rational_number_that_they_write_agree(written_as: tuple[int, int], currency: str) -> None:
    number, places = written_as
    written = Decimal((int(number < 0), tuple(map(int, str(abs(number)))), -places))
    for amount in (f"{written:f}", written):
        money = Money(amount, currency)
        assert exact(money) == Fraction(number, 10**places)
        assert money.currency == currency


@given(st.text("0123456789.-", max_size=12) | st.text("0159.-+eE_, \n\t\u0663\u00b2\u00bd\uff11nai", max_size=8))
@example("1.")
@example(".5")
@example("--5")
@example("-")
@example("1-2")
@example("5-")
@example("\u0661.5")
@example("1.\u00b2")
def test_text_is_taken_if_and_only_if_it_is_a_plain_decimal_number(text: str) -> None:
    if re.fullmatch(r"-?[0-9]+(\.[0-9]{1,9}0*)?", text):
        assert exact(usd(text)) == Fraction(text)
    else:
        with pytest.raises(InvalidValueError) as caught:
            usd(text)
        assert repr(text) in str(caught.value)


def test_subclasses_of_the_types_taken_count_as_what_they_are() -> None:
    class Currency(enum.StrEnum):
        EUR = "EUR"

    class Amount(enum.IntEnum):
        FIVE = 5

    class Odd(int):
        def __mul__(self, other: object) -> int:
            return 99

    class Precise(Decimal):
        def as_integer_ratio(self) -> tuple[int, int]:
            return 99, 1

    class Text(str):
        __slots__ = ()

    for amount in (Amount.FIVE, Odd(5), Precise(5), Text("5")):
        money = Money(amount, Currency.EUR)
        assert repr(money) == "Money('5.00', 'EUR')"
        assert (type(money._billionths), type(money.currency)) == (int, str)
    assert Money.from_minor(Odd(500), "EUR") == Money(5, "EUR")
    assert Money(5, "EUR") * Amount.FIVE == Money(25, "EUR")


@given(st.integers(-(10**24), 10**24), currencies())
def test_minor_units_come_back_as_given_and_are_so_many_parts_of_the_major_unit(units: int, currency: str) -> None:
    money = Money.from_minor(units, currency)
    assert money.minor_units == units
    assert exact(money) == Fraction(units, 10 ** MINOR_DIGITS[currency])


@pytest.mark.parametrize(
    ("money", "digits"),
    [(usd("0.001"), 2), (Money("0.5", "JPY"), 0), (Money("-1.0005", "KWD"), 3), (_of(1, "CLF"), 4)],
)
def test_an_amount_finer_than_the_minor_unit_has_no_minor_units(money: Money, digits: int) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(f"{money!r}: finer than the {digits} decimals")):
        _ = money.minor_units


def test_zero_is_the_same_however_it_is_made() -> None:
    assert Money.zero("USD") == usd(0) == usd("-0") == Money.from_minor(0, "USD") == usd(5) - usd(5)
    assert str(Money.zero("JPY")) == "0 JPY"


# What is refused


@pytest.mark.parametrize("amount", [1.5, 0.0, float("nan"), True, False, None, b"1", (1,), Fraction(1, 2), 1j, usd(1)])
def test_an_amount_of_another_type_is_refused_and_the_error_names_the_fix(amount: object) -> None:
    with pytest.raises(WrongTypeError) as caught:
        usd(amount)
    message = str(caught.value)
    assert repr(amount) in message
    assert "write the number as text" in message
    assert caught.value.parameter == "amount"
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        (Decimal("NaN"), "not a finite number"),
        (Decimal("sNaN"), "not a finite number"),
        (Decimal("-Infinity"), "not a finite number"),
        (Decimal("1E-10"), "more than 9 decimals"),
        (Decimal("1.0000000001"), "more than 9 decimals"),
        (Decimal("-1E-100"), "more than 9 decimals"),
        (Decimal("1E+25"), "more than 10**24 major units"),
        (Decimal("1000000000000000000000000.000000001"), "more than 10**24 major units"),
        (Decimal("1E+101"), "places from the point"),
        (Decimal("-1E+999999999999999999"), "places from the point"),
        (Decimal("1E-999999999999999999"), "places from the point"),
        (10**24 + 1, "more than 10**24 major units"),
        (-(10**24) - 1, "more than 10**24 major units"),
        ("1000000000000000000000000.000000001", "more than 10**24 major units"),
        ("-1000000000000000000000001", "more than 10**24 major units"),
        ("0.0000000001", "more than 9 decimals"),
        ("1.0000000000001", "more than 9 decimals"),
        ("nan", "not a plain decimal number"),
        ("Infinity", "not a plain decimal number"),
        ("1e3", "not a plain decimal number"),
        ("1E-3", "not a plain decimal number"),
        ("1,000.00", "not a plain decimal number"),
        ("10,50", "not a plain decimal number"),
        ("1_000", "not a plain decimal number"),
        ("+1", "not a plain decimal number"),
        (" 1", "not a plain decimal number"),
        ("1 ", "not a plain decimal number"),
        ("1\n", "not a plain decimal number"),
        ("", "not a plain decimal number"),
        ("1.2.3", "not a plain decimal number"),
        ("\u0661\u0662", "not a plain decimal number"),
        ("$1", "not a plain decimal number"),
    ],
)
def test_a_value_that_money_cannot_be_is_refused_by_name(amount: object, why: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(why)) as caught:
        usd(amount)
    assert repr(amount) in str(caught.value)
    assert caught.value.parameter == "amount"
    assert isinstance(caught.value, ValueError)


def test_long_text_is_refused_before_it_is_read() -> None:
    assert usd("0" * 63 + "5") == usd(5)
    for text in ("0" * 64 + "5", "9" * 10**6, "x" * 10**6):
        with pytest.raises(InvalidValueError, match="longer than 64 characters") as caught:
            usd(text)
        assert repr(text)[:60] in str(caught.value)
        assert len(str(caught.value)) < 200


def test_a_number_too_large_to_be_shown_is_refused_all_the_same() -> None:
    with pytest.raises(InvalidValueError, match="more than 10"):
        usd(10**100_000)


def test_a_decimal_of_endless_digits_is_refused_before_it_is_worked_on() -> None:
    with pytest.raises(InvalidValueError, match="places from the point"):
        usd(Decimal("1." + "0" * 101))


@pytest.mark.parametrize(
    "make",
    [lambda code: Money("1", code), lambda code: Money.from_minor(1, code), Money.zero, lambda c: Money.total([], c)],
)
def test_an_unknown_currency_is_refused_wherever_one_is_given(make: Callable[[object], Money]) -> None:
    with pytest.raises(UnknownCurrencyError, match="'usd'"):
        make("usd")
    with pytest.raises(WrongTypeError, match="840"):
        make(840)


@pytest.mark.parametrize("units", [1.0, True, "1", Decimal(1), None])
def test_minor_units_are_a_whole_number(units: object) -> None:
    with pytest.raises(WrongTypeError, match="minor_units") as caught:
        Money.from_minor(units, "USD")
    assert repr(units) in str(caught.value)


def test_minor_units_have_the_bound_of_the_constructor() -> None:
    assert Money.from_minor(-(10**26), "USD") == usd(-(10**24))
    for units in (10**26 + 1, -(10**26) - 1):
        with pytest.raises(InvalidValueError, match=str(units)):
            Money.from_minor(units, "USD")


# Arithmetic


@given(dollars, dollars, dollars, st.integers(-(10**6), 10**6))
def test_sums_and_multiples_are_those_of_rational_numbers(a: Money, b: Money, c: Money, n: int) -> None:
    assert exact(a + b) == exact(a) + exact(b)
    assert exact(a - b) == exact(a) - exact(b)
    assert exact(-a) == -exact(a)
    assert exact(abs(a)) == abs(exact(a))
    assert exact(a * n) == exact(n * a) == exact(a) * n
    assert exact(Money.total([a, b, c], "USD")) == exact(a) + exact(b) + exact(c)
    assert {m.currency for m in (a + b, a - b, -a, abs(a), a * n, n * a, Money.total([], "USD"))} == {"USD"}


def test_results_may_go_beyond_the_bound_of_the_constructor() -> None:
    most = usd(10**24)
    assert exact(most + most) == 2 * 10**24
    assert exact(most * 10**30) == 10**54


@given(any_monies, any_monies)
def test_two_currencies_neither_add_nor_compare(a: Money, b: Money) -> None:
    assume(a.currency != b.currency)
    for operation in (operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises(CurrencyMismatchError) as caught:
            operation(a, b)
        assert (caught.value.expected, caught.value.actual) == (a.currency, b.currency)
    with pytest.raises(CurrencyMismatchError):
        Money.total([a, b], a.currency)
    assert a != b


@pytest.mark.parametrize("number", [1, 0, True, 1.5, Decimal(1), Fraction(1, 2)])
def test_a_number_is_no_money_to_add(number: object) -> None:
    for operation in (lambda: usd(1) + number, lambda: number + usd(1), lambda: usd(1) - number):
        with pytest.raises(WrongTypeError, match="Money") as caught:
            operation()
        assert repr(number) in str(caught.value)
    with pytest.raises(TypeError):
        number - usd(1)


@pytest.mark.parametrize("factor", [True, 1.5, Decimal(1), Fraction(1, 2)])
def test_only_whole_numbers_multiply_and_the_error_names_what_else_does(factor: object) -> None:
    for operation in (lambda: usd(1) * factor, lambda: factor * usd(1)):
        with pytest.raises(WrongTypeError, match=r"Money\.scaled") as caught:
            operation()
        assert repr(factor) in str(caught.value)


@pytest.mark.parametrize("other", ["1", None, [1]])
def test_what_is_no_number_is_no_operand(other: object) -> None:
    for operation in (operator.add, operator.sub, operator.mul, operator.truediv, operator.lt):
        with pytest.raises(TypeError):
            operation(usd(1), other)
    with pytest.raises(TypeError):
        usd(1) * usd(1)


def test_the_built_in_sum_points_to_total() -> None:
    with pytest.raises(WrongTypeError, match=r"use Money\.total"):
        sum([usd(1), usd(2)])
    assert Money.total(iter([usd(1), usd(2)]), "USD") == usd(3)
    assert Money.total([], "USD") == usd(0)


@pytest.mark.parametrize("items", [[usd(1), 1], [None], "12", 5, usd(1)])
def test_total_takes_money_alone(items: object) -> None:
    with pytest.raises(WrongTypeError, match="items must be"):
        Money.total(items, "USD")


# Order, equality, truth


@given(dollars, dollars)
def test_the_order_is_that_of_the_numbers(a: Money, b: Money) -> None:
    for operation in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        assert operation(a, b) is operation(exact(a), exact(b))
        assert operation(a, _of(a._billionths, "USD")) is operation(0, 0)


@given(any_monies, any_monies)
def test_equal_are_amount_and_currency_and_equals_have_one_hash(a: Money, b: Money) -> None:
    assert (a == b) is ((exact(a), a.currency) == (exact(b), b.currency))
    twin = _of(a._billionths, "".join(list(a.currency)))
    assert twin == a
    assert hash(twin) == hash(a)
    assert len({a, twin}) == 1


def test_the_hash_tells_amounts_and_currencies_apart() -> None:
    assert len({hash(Money(n, code)) for n in range(50) for code in ("USD", "EUR")}) > 90


@pytest.mark.parametrize("other", [10, Decimal(10), "10.00 USD", None, (10 * BILLION, "USD"), 10.0])
def test_money_equals_nothing_but_money(other: object) -> None:
    assert usd(10) != other
    assert not usd(10) == other  # noqa: SIM201 - the other operator has its own method
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        with pytest.raises(TypeError, match="Money"):
            compare(usd(10), other)


def test_another_type_may_know_how_to_deal_with_money() -> None:
    class Other:
        def __radd__(self, other: object) -> str:
            return "added"

        __rsub__ = __rmul__ = __gt__ = __ge__ = __lt__ = __le__ = __radd__

    for operation in (operator.add, operator.sub, operator.mul, operator.lt, operator.le, operator.gt, operator.ge):
        assert operation(usd(1), Other()) == "added"
    assert usd(1) == mock.ANY


def test_money_is_neither_true_nor_false() -> None:
    for money in (usd(0), usd(1)):
        with pytest.raises(WrongTypeError, match="is_zero"):
            bool(money)


@pytest.mark.parametrize(
    ("amount", "zero", "positive", "negative"),
    [("0", True, False, False), ("0.000000001", False, True, False), ("-0.000000001", False, False, True)],
)
def test_the_sign_can_be_asked(amount: str, zero: bool, positive: bool, negative: bool) -> None:
    money = usd(amount)
    assert (money.is_zero, money.is_positive, money.is_negative) == (zero, positive, negative)


# Scaling and rounding


def rounded_by_decimal(value: Decimal, places: int, rounding: str) -> Fraction:
    """The same rounding, done by the decimal module, with room for every digit."""
    return Fraction(value.quantize(Decimal(1).scaleb(-places), rounding, decimal.Context(prec=400)))


small_decimals = st.decimals(-1000, 1000, places=12)
# All of these lie on a tie or next to one.
ties = st.builds(
    lambda whole, part: whole + Decimal(part), st.integers(-300, 300), st.sampled_from(["0.49", "0.5", "0.51"])
)


@given(monies(max_value=usd(10**9), min_value=usd(-(10**9))), small_decimals, st.sampled_from(ROUNDINGS))
def test_scaling_by_a_decimal_rounds_the_exact_product_to_billionths(m: Money, factor: Decimal, rounding: str) -> None:
    product = decimal.Context(prec=400).multiply(m.amount, factor)
    assert exact(m.scaled(factor, rounding)) == rounded_by_decimal(product, 9, rounding)


@given(st.integers(-100, 100), st.integers(-20, 20), st.sampled_from(ROUNDINGS))
def test_scaling_rounds_ties_as_decimal_does(billionths: int, tenths: int, rounding: str) -> None:
    product = Decimal(billionths * tenths).scaleb(-10)
    scaled = _of(billionths, "USD").scaled(Decimal(tenths) / 10, rounding)
    assert exact(scaled) == rounded_by_decimal(product, 9, rounding)


@given(dollars, st.fractions(max_denominator=10**6))
def test_scaling_by_a_fraction_rounds_the_exact_product(money: Money, factor: Fraction) -> None:
    billionths = money._billionths * factor
    assert money.scaled(factor, decimal.ROUND_FLOOR)._billionths == math.floor(billionths)
    assert money.scaled(factor, decimal.ROUND_CEILING)._billionths == math.ceil(billionths)
    assert money.scaled(factor, decimal.ROUND_DOWN)._billionths == math.trunc(billionths)
    assert money.scaled(factor, decimal.ROUND_HALF_EVEN)._billionths == round(billionths)
    assert money.scaled(factor, decimal.ROUND_HALF_EVEN).currency == "USD"


@given(dollars, st.integers(-(10**9), 10**9), st.sampled_from(ROUNDINGS))
def test_scaling_by_a_whole_number_is_multiplying(money: Money, factor: int, rounding: str) -> None:
    assert money.scaled(factor, rounding) == money.scaled(Decimal(factor), rounding) == money * factor


@given(dollars, st.integers(0, 9), st.sampled_from(ROUNDINGS))
def test_rounding_is_that_of_decimal(money: Money, digits: int, rounding: str) -> None:
    assert exact(money.rounded(digits, rounding)) == rounded_by_decimal(money.amount, digits, rounding)


@given(ties, st.integers(0, 6), st.sampled_from(ROUNDINGS))
def test_rounding_breaks_ties_as_decimal_does(tie: Decimal, digits: int, rounding: str) -> None:
    number = tie.scaleb(-digits)
    assert exact(usd(number).rounded(digits, rounding)) == rounded_by_decimal(number, digits, rounding)


@given(any_monies)
def test_rounding_without_digits_is_to_whole_minor_units_half_to_even(money: Money) -> None:
    units = exact(money) * 10 ** MINOR_DIGITS[money.currency]
    assert money.rounded().minor_units == round(units)
    assert money.rounded(9) == money


@pytest.mark.parametrize("factor", [1.5, True, "1.5", None, usd(1)])
def test_a_factor_is_a_decimal_a_fraction_or_a_whole_number(factor: object) -> None:
    with pytest.raises(WrongTypeError, match=re.escape(repr(factor))):
        usd(1).scaled(factor, decimal.ROUND_UP)


@pytest.mark.parametrize("factor", ["NaN", "sNaN", "Infinity", "1E+101", "1E-101", "1E+999999999999999999"])
def test_a_factor_is_finite_and_within_reason(factor: str) -> None:
    with pytest.raises(InvalidValueError, match="factor") as caught:
        usd(1).scaled(Decimal(factor), decimal.ROUND_UP)
    assert factor in str(caught.value)
    assert usd(1).scaled(Decimal("1E-100"), decimal.ROUND_UP) == usd("0.000000001")
    assert usd(1).scaled(Decimal("1E+100"), decimal.ROUND_UP) == usd(1) * 10**100


def test_an_unknown_rounding_is_refused_even_where_nothing_is_to_be_rounded() -> None:
    for operation in (lambda: usd(1).scaled(1, "HALF_UP"), lambda: usd(1).rounded(2, "HALF_UP")):
        with pytest.raises(InvalidValueError, match="'HALF_UP'"):
            operation()


def test_digits_are_a_whole_number_from_zero_to_nine() -> None:
    for digits in (-1, 10):
        with pytest.raises(InvalidValueError, match=f"digits {digits}"):
            usd(1).rounded(digits)
    for wrong in (True, 2.0, "2"):
        with pytest.raises(WrongTypeError, match="digits"):
            usd(1).rounded(wrong)


# Allocating

weights_lists = st.lists(st.integers(0, 5) | st.integers(0, 10**12), min_size=1, max_size=12).filter(any)


@given(any_monies | monies(currency="USD", places=2) | monies(usd("-0.09"), usd("0.09"), places=2), weights_lists)
def test_allocating_loses_nothing_and_is_fair_to_the_last_unit(money: Money, weights: list[int]) -> None:
    parts = money.allocate(weights)
    minor = Fraction(1, 10 ** MINOR_DIGITS[money.currency])
    unit = minor if exact(money) % minor == 0 else Fraction(1, 10**9)
    assert sum(map(exact, parts)) == exact(money)
    assert {part.currency for part in parts} == {money.currency}
    # In units, and as if the amount were not negative.
    sign = -1 if money.is_negative else 1
    got = [sign * exact(part) / unit for part in parts]
    due = [sign * exact(money) / unit * weight / sum(weights) for weight in weights]
    assert all(share.denominator == 1 for share in got)
    assert all(share in (math.floor(d), math.ceil(d)) for share, d in zip(got, due, strict=True))
    # Whoever was rounded up had a larger remainder than whoever was rounded down, or the same and stood before.
    ups = [(-(d % 1), i) for i, (share, d) in enumerate(zip(got, due, strict=True)) if share > d]
    downs = [(-(d % 1), i) for i, (share, d) in enumerate(zip(got, due, strict=True)) if share < d]
    assert not ups or not downs or max(ups) < min(downs)


@pytest.mark.parametrize(
    ("amount", "currency", "weights", "parts"),
    [
        ("100.00", "USD", [1, 1, 1], ["33.34", "33.33", "33.33"]),
        ("0.05", "USD", [3, 7], ["0.02", "0.03"]),
        ("0.05", "USD", [7, 3], ["0.04", "0.01"]),
        ("0.03", "USD", [1, 2, 2], ["0.01", "0.01", "0.01"]),
        ("0.01", "USD", [1, 1], ["0.01", "0"]),
        ("-0.01", "USD", [1, 1], ["-0.01", "0"]),
        ("0.01", "USD", [0, 1, 0], ["0", "0.01", "0"]),
        ("0.001", "USD", [1, 2], ["0.000333333", "0.000666667"]),
        ("10", "JPY", [1, 1, 1], ["4", "3", "3"]),
        ("0.010", "KWD", [1, 2], ["0.003", "0.007"]),
        ("0", "USD", [1, 2], ["0", "0"]),
        ("5", "USD", [9], ["5"]),
    ],
)
def test_what_is_left_over_goes_to_the_largest_remainders_the_earliest_first(
    amount: str, currency: str, weights: list[int], parts: list[str]
) -> None:
    assert Money(amount, currency).allocate(iter(weights)) == tuple(Money(part, currency) for part in parts)


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [-1]])
def test_weights_are_not_negative_and_one_is_positive(weights: list[int]) -> None:
    with pytest.raises(InvalidValueError, match="weights"):
        usd(1).allocate(weights)


@pytest.mark.parametrize("weights", [3, None, [1.0], [True], ["1"], [Decimal(1)], "12"])
def test_weights_are_whole_numbers(weights: object) -> None:
    with pytest.raises(WrongTypeError, match="weights"):
        usd(1).allocate(weights)


# Text


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (usd("10.5"), "10.50 USD"),
        (usd("-0.05"), "-0.05 USD"),
        (usd("1234567"), "1234567.00 USD"),
        (usd("0.0125"), "0.0125 USD"),
        (_of(-1, "USD"), "-0.000000001 USD"),
        (Money("100", "JPY"), "100 JPY"),
        (Money("0.5", "JPY"), "0.5 JPY"),
        (Money("1", "KWD"), "1.000 KWD"),
        (Money("1", "CLF"), "1.0000 CLF"),
    ],
)
def test_the_text_has_the_decimals_of_the_minor_unit_and_more_if_need_be(money: Money, text: str) -> None:
    assert str(money) == format(money, "") == f"{money}" == text
    amount, currency = text.split()
    assert repr(money) == f"Money({amount!r}, {currency!r})"
    assert money.amount.as_tuple() == Decimal(amount).as_tuple()


@given(any_monies)
def test_what_is_written_is_read_back(money: Money) -> None:
    assert Money.parse(str(money)) == money
    assert _from_text(str(money)) == money
    assert eval(repr(money)) == money  # noqa: S307
    assert Money(money.amount, money.currency) == money
    assert Fraction(money.amount) == exact(money)


@given(st.integers(), currencies())
@example(10**33 + 1, "USD")
@example(-(10**2000), "JPY")
def test_the_record_reads_amounts_of_any_size(billionths: int, currency: str) -> None:
    money = _of(billionths, currency)
    assert _from_text(str(money)) == money
    if abs(billionths) > 10**33:
        with pytest.raises(InvalidValueError, match=r"major units|longer"):
            Money.parse(str(money))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("10.50", InvalidValueError),
        ("", InvalidValueError),
        ("USD 10.50", UnknownCurrencyError),
        ("10.50USD", InvalidValueError),
        ("10.50  USD", UnknownCurrencyError),
        ("10.50 USD ", UnknownCurrencyError),
        (" 10.50 USD", UnknownCurrencyError),
        ("10.50\u00a0USD", InvalidValueError),
        ("10.50\tUSD", InvalidValueError),
        ("10.50 usd", UnknownCurrencyError),
        ("1e3 USD", InvalidValueError),
        ("1,000 USD", InvalidValueError),
        ("\u0661 USD", InvalidValueError),
        (" USD", InvalidValueError),
    ],
)
@pytest.mark.parametrize("read", [Money.parse, _from_text])
def test_other_text_is_not_read(read: Callable[[object], Money], text: str, error: type[InvalidValueError]) -> None:
    with pytest.raises(error) as caught:
        read(text)
    assert repr(caught.value.value) in str(caught.value)
    assert str(caught.value.value) in text


@pytest.mark.parametrize("read", [Money.parse, _from_text])
def test_only_text_is_read(read: Callable[[object], Money]) -> None:
    for value in (None, 10, b"10.50 USD", usd(1)):
        with pytest.raises(WrongTypeError, match="text must be a str"):
            read(value)


def test_text_of_endless_digits_is_not_read() -> None:
    with pytest.raises(InvalidValueError, match="longer than 64"):
        Money.parse("1" * 65 + " USD")
    with pytest.raises(InvalidValueError, match="more digits"):
        _from_text("1" * 10**6 + " USD")


@pytest.mark.parametrize(
    ("amount", "spec", "text"),
    [
        ("1234.5", ",.2f", "1,234.50"),
        ("-1234567.891", ",.2f", "-1,234,567.89"),
        ("0.125", ".2f", "0.12"),
        ("0.135", ".2f", "0.14"),
        ("0.125000001", ".2f", "0.13"),
        ("10.5", ".4f", "10.5000"),
        ("10.5", ">10", "     10.50"),
        ("10.5", "+.1f", "+10.5"),
        ("999999999999999999999999.999999999", ",.9f", "999,999,999,999,999,999,999,999.999999999"),
        ("1234.5", ".2e", "1.23e+3"),
    ],
)
def test_a_format_of_decimal_lays_out_the_amount_alone(amount: str, spec: str, text: str) -> None:
    assert format(usd(amount), spec) == text


@pytest.mark.parametrize("spec", ["zz", "d", ".f", "s"])
def test_a_format_that_decimal_has_not_is_refused(spec: str) -> None:
    with pytest.raises(InvalidValueError, match=f"'{re.escape(spec)}'"):
        format(usd(1), spec)


# The context of decimal


@pytest.mark.usefixtures("hostile_context")
def test_no_result_depends_on_the_context_of_decimal() -> None:
    money = Money("-12345678.123456785", "USD")
    assert money == Money(Decimal("-12345678.123456785"), "USD") == Money.parse("-12345678.123456785 USD")
    assert str(money) == "-12345678.123456785 USD"
    assert money.amount.as_tuple() == (1, (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 5), -9)
    assert str(money + money) == "-24691356.24691357 USD"
    assert str(money.rounded(8)) == "-12345678.12345678 USD"
    assert str(money.rounded(8, decimal.ROUND_UP)) == "-12345678.12345679 USD"
    assert str(money.scaled(Decimal("1.23456789"), decimal.ROUND_HALF_EVEN)) == "-15241577.791495203 USD"
    assert str(money.scaled(Fraction(1, 3), decimal.ROUND_HALF_EVEN)) == "-4115226.041152262 USD"
    assert [str(part) for part in money.allocate([1, 1])] == ["-6172839.061728393 USD", "-6172839.061728392 USD"]
    assert f"{money:,.8f}" == "-12,345,678.12345678"
    assert f"{money:,.2f}" == "-12,345,678.12"
    assert str(Money(Decimal("1E+24"), "USD")) == "1000000000000000000000000.00 USD"
    assert eval(repr(money)) == money  # noqa: S307


def test_formatting_leaves_the_context_of_decimal_as_it_was() -> None:
    with decimal.localcontext(decimal.Context(prec=5)) as context:
        assert f"{usd('1.005'):.2f}" == "1.00"
        assert decimal.getcontext() is context
        assert context.prec == 5
        assert not any(context.flags.values())


# A value


@given(any_monies)
def test_copies_and_pickles_are_the_same_value(money: Money) -> None:
    for beyond in (money, money * 10**30):
        assert copy.copy(beyond) is beyond
        assert copy.deepcopy([beyond])[0] is beyond
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(beyond, protocol))  # noqa: S301
            assert again == beyond
            assert type(again) is Money


def test_money_cannot_be_changed() -> None:
    money = usd("10.50")
    for name in ("_billionths", "_currency", "amount", "currency", "note", "__class__"):
        with pytest.raises(AttributeError, match=f"immutable.*{name}"):
            setattr(money, name, 5)
        with pytest.raises(AttributeError, match=f"immutable.*{name}"):
            delattr(money, name)
    money.__init__("99", "EUR")
    assert not hasattr(money, "__dict__")
    assert repr(money) == "Money('10.50', 'USD')"
    assert type(money) is Money


@given(monies(Money("-0.005", "EUR"), Money("0.014", "EUR"), places=2))
def test_the_strategy_of_these_tests_keeps_to_its_bounds_and_places(money: Money) -> None:
    assert str(money) in {"0.00 EUR", "0.01 EUR"}
