"""Chance: numbers that depend on a seed and a count alone, so that any of them can be had without those before it.

The mixing is that of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), which
can be worked out one by one or for a whole array at once, with the same result.
"""

from __future__ import annotations

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15


def chance(seed: int, number: int) -> float:
    """The `number`-th fraction of a seed: at least 0, below 1."""
    return (mixed(mixed(seed) + number) >> 11) / 2**53


def mixed(number: int) -> int:
    """The 64 bits that a number is mixed to."""
    z = (number * _GOLDEN + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
