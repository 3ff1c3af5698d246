"""Rules of numbers: what kind a number is, and whose country it is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commcredits import InvalidValueError, WrongTypeError
from commcredits.telephony import (
    SHARED_COST_PREFIXES,
    Number,
    country_of,
    is_shared_cost,
    number_type,
    read_number,
    to_e164,
)


@pytest.mark.parametrize(
    ("text", "kind", "digits", "length"),
    [
        ("+14255550123", "international", "14255550123", 11),
        ("14255550123", "international", "14255550123", 11),
        (" +1 (425) 555-0123 ", "international", "14255550123", 11),
        ("+44 20.7946.0123", "international", "442079460123", 12),
        ("+4930/123456", "international", "4930123456", 10),
        ("+4930123456***", "international", "4930123456", 13),
        ("+49301***34**", "international", "49301", 12),
        ("+44", "international", "44", 2),
        ("1234567", "international", "1234567", 7),
        ("911", "emergency", "911", 3),
        ("112", "emergency", "112", 3),
        ("000", "emergency", "000", 3),
        ("9-1-1", "emergency", "911", 3),
        ("411", "short_code", "411", 3),
        ("118500", "short_code", "118500", 6),
        ("11*", "short_code", "11", 3),
        ("+911", "international", "911", 3),
        ("anonymous", "anonymous", "", 0),
        ("ANONYMOUS", "anonymous", "", 0),
        (" Restricted ", "anonymous", "", 0),
        ("", "anonymous", "", 0),
    ],
)
def test_a_number_is_known_by_its_digits(text: str, kind: str, digits: str, length: int) -> None:
    read = read_number(text)
    assert read == Number(kind, digits, length)  # type: ignore[arg-type]
    assert read.masked == ("*" in text)


@pytest.mark.parametrize(
    "text",
    [
        *("+", "*", "****", "+*", "Tom Hughes", "tel:+1425", "+1425x", "++1425", "1+425", "+0123456789", "00441234567"),
        *("+1234567890123456", "+123456789012345*", "\uff11\uff12\uff13\uff14\uff15\uff16\uff17", "+1425\n5550123"),
        *("+44 (0)7911 123456", "+39(0)6 698 12345"),
    ],
)
def test_what_names_no_telephone_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        read_number(text)
    assert (caught.value.parameter, caught.value.value) == ("number", text)


@pytest.mark.parametrize("text", [None, 911, b"911", ["911"]])
def test_a_number_is_text(text: Any) -> None:
    for ask in (read_number, country_of, number_type, is_shared_cost):
        with pytest.raises(WrongTypeError) as caught:
            ask(text)
        assert caught.value.parameter == "number"


@given(st.text("+0123456789* -.()abc", max_size=20))
def test_whatever_the_text_it_is_read_or_refused_and_nothing_else(text: str) -> None:
    try:
        read = read_number(text)
    except InvalidValueError:
        return
    assert "".join(sign for sign in text.partition("*")[0] if sign.isdigit()) == read.digits
    assert sum(sign.isdigit() or sign == "*" for sign in text) == read.length


@pytest.mark.parametrize("prefix", SHARED_COST_PREFIXES)
def test_credits_pay_for_british_numbers_of_shared_cost(prefix: str) -> None:
    number = f"+{prefix}1234567"[:13]
    assert is_shared_cost(number)
    assert is_shared_cost(number[:-3] + "***")
    assert number_type(number) == "shared_cost"
    assert number_type(number[:-4] + "****") == "shared_cost"
    assert country_of(number) == "GB"


@pytest.mark.parametrize("number", ["+442079460123", "+448081570123", "+449011234567", "+14484312345", "911", ""])
def test_other_numbers_are_of_no_shared_cost(number: str) -> None:
    assert not is_shared_cost(number)


# --- with the numbering plans of the world


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+14255550100", "US"),
        ("+14165550123", "CA"),
        ("+17875550123", "PR"),
        ("+12425550123", "BS"),
        ("+442079460123", "GB"),
        ("+447911123456", "GB"),
        ("+441534123456", "GB"),
        ("+4930123456", "DE"),
        ("+77011234567", "KZ"),
        ("+74951234567", "RU"),
        ("+390669812345", "IT"),
        ("+4779021234", "NO"),
        ("+3581812345", "FI"),
        ("+61891621234", "AU"),
        ("+68241234", "CK"),
        ("4930123456", "DE"),
        # A number that there cannot be still belongs to the country of its code, if the code is of one country.
        ("+4412", "GB"),
        ("+1234567890", ""),
        # Networks and freephone of no country, codes that nobody has, and what is no international number.
        ("+80012345678", ""),
        ("+883510012345", ""),
        ("+999123456789", ""),
        ("911", ""),
        ("411", ""),
        ("anonymous", ""),
        ("", ""),
    ],
)
def test_a_number_belongs_to_a_country(number: str, country: str) -> None:
    assert country_of(number) == country


@pytest.mark.parametrize(
    ("number", "country"),
    [
        ("+4930123456***", "DE"),
        ("+447911******", "GB"),
        ("+1425*******", "US"),
        ("+1416555****", "CA"),
        ("+1242*******", "BS"),
        ("+7701*******", "KZ"),
        ("+7495123****", "RU"),
        ("+14*********", ""),
        ("+1**********", ""),
        ("+7**********", ""),
        ("+4***********", ""),
    ],
)
def test_masked_digits_are_no_hindrance_where_the_others_tell_the_country(number: str, country: str) -> None:
    assert country_of(number) == country


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        ("+14255550100", "fixed_line_or_mobile"),
        ("+18005550100", "toll_free"),
        ("+19005550100", "premium_rate"),
        ("+442079460123", "fixed_line"),
        ("+447911123456", "mobile"),
        ("+449011234567", "premium_rate"),
        ("+448081570000", "toll_free"),
        ("+4930123456", "fixed_line"),
        ("+80012345678", "toll_free"),
        ("+883510012345", "voip"),
        ("+1234567890", "unknown"),
        ("+1800555****", "toll_free"),
        ("+4930123456***", "fixed_line"),
        ("+180055*****", "unknown"),
        ("+4420*******", "unknown"),
        ("911", "unknown"),
        ("anonymous", "unknown"),
    ],
)
def test_a_number_is_of_a_kind(number: str, kind: str) -> None:
    assert number_type(number) == kind


@pytest.mark.parametrize(
    ("text", "country", "number"),
    [
        ("020 7946 0123", "GB", "+442079460123"),
        ("(425) 555-0123", "US", "+14255550123"),
        ("011 44 20 7946 0123", "US", "+442079460123"),
        ("00 1 425 555 0123", "DE", "+14255550123"),
        ("+49 30 123456", "US", "+4930123456"),
        ("tel:+49-30-123456", "US", "+4930123456"),
    ],
)
def test_what_is_dialled_in_a_country_is_one_number_of_the_world(text: str, country: str, number: str) -> None:
    assert to_e164(text, country) == number


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("+4930123456***", "DE"),
        ("+1234567890", "US"),
        ("911", "US"),
        ("anonymous", "GB"),
        ("Tom Hughes", "GB"),
        ("+0123456789", "GB"),
        ("020 7946 0123", "XX"),
        ("", "GB"),
    ],
)
def test_what_is_no_whole_number_is_refused(text: str, country: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        to_e164(text, country)
    assert (caught.value.parameter, caught.value.value) == ("text", text)


def test_what_is_dialled_is_text() -> None:
    with pytest.raises(WrongTypeError) as caught:
        to_e164(911, "US")  # type: ignore[arg-type]
    assert caught.value.parameter == "text"


def test_rating_by_prefix_needs_no_extra() -> None:
    program = """
import sys
sys.modules["phonenumbers"] = None  # as if it were not installed
from datetime import UTC, datetime
from commcredits import Money
from commcredits.telephony import Rate, RateCard, country_of, is_shared_cost
card = RateCard([Rate("1", Money("0.02", "USD"))], currency="USD")
print(card.rate("+1425555****", 61, at=datetime(2025, 1, 1, tzinfo=UTC)).cost, is_shared_cost("+448431234567"))
try:
    country_of("+14255550123")
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["0.04", "USD", "True", "phonenumbers"]
