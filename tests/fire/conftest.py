"""What the proofs by fire have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def fire_seed(request: pytest.FixtureRequest) -> int:
    """The first seed; the same seed, the same proof, as far as processes and their deaths can be told."""
    seed: int = request.config.getoption("--fire-seed")
    return seed
