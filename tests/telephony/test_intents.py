"""Rules of CallIntent."""

from __future__ import annotations

from typing import Any

import pytest

from commcredits.errors import InvalidValueError, WrongTypeError
from commcredits.telephony import CALL_TYPES, CallIntent


def test_an_intent_needs_a_call_type_and_a_number() -> None:
    intent = CallIntent("USER_OUT", "+14255550123")
    assert intent.type is CALL_TYPES["user_out"]
    assert (intent.is_toll_free, intent.destination_context, intent.destination_country) == (False, "", "")
    assert CallIntent("conf_in", "+18005550199", is_toll_free=True).is_toll_free


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("call_type", "user_in_conf", InvalidValueError),
        ("call_type", 7, WrongTypeError),
        ("number", "+0123456789", InvalidValueError),
        ("number", None, WrongTypeError),
        ("is_toll_free", True, InvalidValueError),
        ("is_toll_free", 0, WrongTypeError),
        ("destination_context", "Abroad", InvalidValueError),
        ("destination_context", None, WrongTypeError),
        ("destination_country", "de", InvalidValueError),
    ],
)
def test_what_no_call_is_is_refused_by_name(field: str, value: object, error: type[Any]) -> None:
    with pytest.raises(error) as caught:
        CallIntent(**{"call_type": "user_out", "number": "+14255550123"} | {field: value})  # type: ignore[arg-type]
    assert (caught.value.parameter, caught.value.value) == (field, value)
