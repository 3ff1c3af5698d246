"""The table of currencies, against the published list and by examples."""

from __future__ import annotations

import pytest
from iso4217 import Currency

from commcredits.currencies import MINOR_DIGITS, known_currency, minor_digits
from commcredits.errors import UnknownCurrencyError, WrongTypeError

# Codes that ISO 4217 has withdrawn since they were listed here; they stay, for the ledgers kept in them.
WITHDRAWN: dict[str, int] = {}

# Metals, units of account, the code for tests and the one for no currency: the list gives their minor unit as "N.A.".
WITHOUT_MINOR_UNIT = {"XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT", "XSU", "XTS", "XUA", "XXX"}


def test_the_table_is_the_published_list_less_the_codes_without_a_minor_unit() -> None:
    published = {currency.code: currency.exponent for currency in Currency}
    assert {code for code, digits in published.items() if digits is None} == WITHOUT_MINOR_UNIT
    with_minor_unit = {code: digits for code, digits in published.items() if code not in WITHOUT_MINOR_UNIT}
    assert with_minor_unit | WITHDRAWN == MINOR_DIGITS


@pytest.mark.parametrize(("code", "digits"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("ISK", 0)])
def test_minor_digits_are_those_of_the_minor_unit(code: str, digits: int) -> None:
    assert minor_digits(code) == digits


@pytest.mark.parametrize("code", ["usd", "USDT", "US", "", " USD", "USD ", "\uff35SD", "XAU", "XXX", "XTS", "DEM"])
def test_a_code_that_is_not_listed_is_unknown(code: str) -> None:
    with pytest.raises(UnknownCurrencyError) as caught:
        minor_digits(code)
    assert repr(code) in str(caught.value)
    assert caught.value.value == code


@pytest.mark.parametrize("code", [None, 840, b"USD", ["USD"], {"USD"}, 1.5])
def test_a_code_that_is_no_text_is_of_the_wrong_type(code: object) -> None:
    with pytest.raises(WrongTypeError) as caught:
        minor_digits(code)
    assert repr(code) in str(caught.value)


def test_a_known_code_comes_back_as_a_plain_str() -> None:
    class Code(str):
        __slots__ = ()

    assert known_currency(Code("EUR")) == "EUR"
    assert type(known_currency(Code("EUR"))) is str
