from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from commcredits.simulation.chance import chance, mixed


def test_the_mixing_is_that_of_the_published_generator() -> None:
    # The first outputs of SplitMix64 from the state 0, as several implementations publish them.
    assert mixed(0) == 0xE220A8397B1DCDAF
    assert mixed(1) == 0x6E789E6AA1B965F4
    assert mixed(2) == 0x06C45D188009454F


@given(st.integers(0, 2**63), st.integers(0, 10**6))
def test_a_chance_is_a_fraction_and_the_same_every_time(seed: int, number: int) -> None:
    assert 0 <= chance(seed, number) < 1
    assert chance(seed, number) == chance(seed, number)


def test_chances_are_spread_evenly_and_seeds_side_by_side_have_nothing_in_common() -> None:
    for seed in (0, 1, 12345):
        found = [chance(seed, number) for number in range(10_000)]
        # 10,000 fair ones lie within five standard deviations of what is expected.
        assert abs(sum(found) / 10_000 - 0.5) < 5 * (1 / 12 / 10_000) ** 0.5
        for tenth in range(10):
            assert abs(sum(tenth <= 10 * x < tenth + 1 for x in found) - 1000) < 5 * 30
    ones, others = ([chance(seed, number) for number in range(10_000)] for seed in (7, 8))
    together = sum((x - 0.5) * (y - 0.5) for x, y in zip(ones, others, strict=True)) / 10_000
    assert abs(together) < 5 / 12 / 100
