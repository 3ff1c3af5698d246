"""A fingerprint of a command as given, which tells a repetition from another command under the same key.

Money counts by value, times as instants, `at` not at all.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any

import attrs
from dateutil.relativedelta import relativedelta

from commcredits.errors import WrongTypeError
from commcredits.money import Money
from commcredits.times import utc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from hashlib import blake2b


def digest_of(request: tuple[Any, ...]) -> str:
    """The fingerprint (32 hexadecimal digits) of a command's name followed by its arguments in their usual order.

    Raises: WrongTypeError for an argument that has no canonical form, InvalidValueError for a naive time.
    """
    return _hash()("\x1f".join(_flat(request)).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


@cache
def _hash() -> type[blake2b]:
    # Most commands are never compared, so the hash is loaded and taken only when one is stored or looked up.
    from hashlib import blake2b  # noqa: PLC0415

    return blake2b


_PLAIN: dict[type, Callable[[Any], str]] = {
    Money: lambda money: f"money:{money._billionths}:{money._currency}",
    bool: lambda flag: f"constant:{flag}",
    NoneType: lambda _: "constant:None",
    int: lambda number: f"int:{number}",
    str: lambda text: f"text:{len(text)}:{text}",
    datetime: lambda time: f"instant:{utc(time, 'argument').isoformat()}",
    timedelta: lambda length: f"seconds:{length.days}:{length.seconds}:{length.microseconds}",
    relativedelta: lambda period: f"period:{period!r}",
}
"""How a value that holds no others is written; a bool is an int too, and so comes first."""


def _flat(request: tuple[Any, ...]) -> list[str]:
    """`_parts` of a request, with the usual kinds of its values spelled out, because each stored usage passes here."""
    parts = [f"tuple:{len(request)}"]
    for value in request:
        kind = value.__class__
        if kind is str:
            parts.append(f"text:{len(value)}:{value}")
        elif value is None:
            parts.append("constant:None")
        elif kind is Money:
            parts.append(f"money:{value._billionths}:{value._currency}")
        elif kind in _PLAIN:
            parts.append(_PLAIN[kind](value))
        else:
            parts += _parts(value)
    return parts


def _parts(value: Any) -> Iterator[str]:
    """The value as a flat sequence of texts, each led by its kind so that no two values share a sequence."""
    text = _PLAIN.get(value.__class__) or next((text for kind, text in _PLAIN.items() if isinstance(value, kind)), None)
    if text is not None:
        yield text(value)
    elif isinstance(value, tuple):
        yield f"tuple:{len(value)}"
        for item in value:
            yield from _parts(item)
    elif attrs.has(type(value)):
        # Fields at their default are left out, so that a field added to a class leaves old fingerprints as they are.
        # Compared by ==, as != between a relativedelta and another type warns before dateutil 3.
        fields = attrs.fields(type(value))
        at_default = {field.name for field in fields if getattr(value, field.name) == _default(field, value)}
        given = [field.name for field in fields if field.name not in at_default]
        yield f"{type(value).__name__}:{len(given)}"
        for name in given:
            yield name
            yield from _parts(getattr(value, name))
    else:
        raise WrongTypeError("argument", value, "a value with a canonical form")


def _default(field: attrs.Attribute[Any], value: Any) -> Any:
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # typed as a function, made as a class
        factory: Any = default
        return factory.factory(value) if factory.takes_self else factory.factory()
    return default
