"""The fixtures that several files share, and how Hypothesis runs.

Random for people, derandomized where CI is set, and exploring on request.

With a profile named on the command line (`--hypothesis-profile=explore --hypothesis-seed=…`) that one is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from office import KINDS, Hire, Office, hiring

# No deadline and no health check on speed: a slow machine is not a wrong program.
# Nor are failures explained line by line: tracing the long runs of the machines takes minutes.
settings.register_profile(
    "dev",
    derandomize=False,
    deadline=None,
    print_blob=True,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None)
# The same examples at every run find nothing new: .ci/run adds a run of this one, with a seed of each change's own.
settings.register_profile("explore", settings.get_profile("dev"), derandomize=False, database=None, max_examples=100)
# For the runs that look for differences between interpreters or dependencies, not for new examples.
settings.register_profile("brief", settings.get_profile("ci"), max_examples=20)

settings.load_profile("ci" if os.environ.get("CI") else "dev")


@pytest.fixture(params=KINDS)
def hire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hire]:
    """Opens offices, of both kinds in turn."""
    with hiring(request.param, monkeypatch) as hire:
        yield hire


@pytest.fixture
def desk(hire: Hire) -> Office:
    """A ledger of 100 dollars."""
    return hire(funds=100)
