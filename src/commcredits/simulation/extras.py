"""Packages of the extra `simulation`, loaded only when what needs them is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOW = "pip install 'commcredits[simulation]'"


def numpy() -> Any:
    """The module numpy.

    Raises: ImportError that says how to install it.
    """
    return optional("numpy", "this simulation")


def optional(name: str, used_by: str) -> Any:
    """The module `name`.

    Raises: ImportError that says how to install it.
    """
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(f"{used_by} needs {name}: {_HOW}", name=name) from None
