"""Chance: numbers that depend on a seed and a count alone, so that any of them can be had without those before it.

The mixing is that of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), which
can be worked out one by one or for a whole array at once, with the same result.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FRACTIONS = 2**53

_N = TypeVar("_N", int, "NDArray[np.uint64]")


def chance(seed: int, number: int) -> float:
    """The `number`-th fraction of a seed: at least 0, below 1."""
    return (mixed(mixed(seed) + number) >> 11) / _FRACTIONS


def chances_below(mixed_seeds: NDArray[np.uint64], numbers: NDArray[np.uint64], limit: int) -> NDArray[np.bool_]:
    """For each seed, once mixed, whether its `number`-th fraction lies below what `fractions_below` counted."""
    below: Any = (mixed(mixed_seeds + numbers) >> 11) < limit
    return below  # type: ignore[no-any-return]


def fractions_below(probability: Fraction | Decimal | float) -> int:
    """How many of the fractions that a chance can be lie below a probability."""
    return ceil(Fraction(probability) * _FRACTIONS)


def mixed(number: _N) -> _N:
    """The 64 bits that a number is mixed to; an array of uint64, each of its own."""
    z: Any = (number * _GOLDEN + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)  # type: ignore[no-any-return]
