"""The fixtures that several files share, and how Hypothesis runs.

Random for people, derandomized where CI is set, and exploring on request.

With a profile named on the command line (`--hypothesis-profile=explore --hypothesis-seed=…`) that one is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from office import KINDS, Hire, Office, hiring
from postgres_server import NoServerError, PostgresServer, Schemas, ServerFailedError

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
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None, max_examples=50)
# The same examples at every run find nothing new: .ci/run runs this one, with a seed of each change's own.
settings.register_profile("explore", settings.get_profile("ci"), derandomize=False)
# For the runs that look for differences between interpreters or dependencies, not for new examples.
settings.register_profile("brief", settings.get_profile("ci"), max_examples=20)

settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    # Registered here, because pytest reads the conftest of a folder below only after the command line.
    parser.addoption("--fire-seed", type=int, default=0, help="the first seed of the proofs by fire")


@pytest.fixture(params=KINDS)
def hire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hire]:
    """Opens offices, of both kinds in turn."""
    with hiring(request.param, monkeypatch) as hire:
        yield hire


@pytest.fixture
def desk(hire: Hire) -> Office:
    """A ledger of 100 dollars."""
    return hire(funds=100)


# What there is to say about servers: a line for each, and the processes that say it.
SERVERS = pytest.StashKey[dict[str, list[str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SERVERS] = {}


def say_of_servers(config: pytest.Config, line: str) -> None:
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    config.stash[SERVERS].setdefault(line, []).append(worker)
    if worker:
        # Only the main process has a summary; this is sent there when the worker ends.
        config.__dict__["workeroutput"]["servers"] = config.stash[SERVERS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collects what a worker of pytest-xdist had to say; one that crashed says nothing."""
    for line, workers in getattr(node, "workeroutput", {}).get("servers", {}).items():
        node.config.stash[SERVERS].setdefault(line, []).extend(workers)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line, workers in sorted(config.stash[SERVERS].items()):
        terminalreporter.write_line(f"{line} [{' '.join(sorted(workers))}]" if any(workers) else line)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL server, started by the first test that asks; with pytest-xdist, one for each worker that needs it.

    Without a server the tests that need one fail: a rule that nobody checked is not a rule.
    """
    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer())
        except (NoServerError, ServerFailedError) as error:
            line, _, _ = str(error).partition("\n")
            say_of_servers(request.config, f"The tests that need PostgreSQL failed: {line}")
            pytest.fail(str(error), pytrace=False)
        say_of_servers(request.config, str(server.installation))
        yield server


@pytest.fixture(scope="session")
def postgres_schemas(postgres_server: PostgresServer) -> Schemas:
    return Schemas(postgres_server)


@pytest.fixture
def postgres_dsn(postgres_schemas: Schemas) -> Iterator[str]:
    """The address of an empty PostgreSQL schema of this test's own; when the test ends, so do its connections."""
    with postgres_schemas.fresh() as dsn:
        yield dsn
