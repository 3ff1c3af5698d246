"""The server that the tests start for themselves: found or missed aloud, and nothing left of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

import postgres_server as servers
from postgres_server import Installation, NoServerError, PostgresServer, Schemas, ServerFailedError

HERE = Path(__file__).parent

Fake = Callable[..., Path]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's user can get at, which pytest's own need not be."""
    folder = servers.new_folder(servers.account())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def fake(place: Path) -> Fake:
    """Puts programs that only look like PostgreSQL's into a folder."""

    def put(name: str = "bin", *, version: str = "17.1", **scripts: str) -> Path:
        programs = place / name
        programs.mkdir(parents=True)
        scripts = {
            "initdb": "exit 0",
            "pg_ctl": "exit 0",
            "postgres": f"echo 'postgres (PostgreSQL) {version} (Debian 1)'",
        } | scripts
        for program, script in scripts.items():
            (programs / program).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (programs / program).chmod(0o755)
        servers.give(place, servers.account())
        return programs

    return put


def answer(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
        return row and row[0]


def is_gone(connection: psycopg.Connection) -> bool:
    """Whether the server of an open connection is: without its socket's file it could live on unseen."""
    with connection, pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    return connection.closed


# --- the server


def test_the_server_has_the_version_that_was_found(postgres_server: PostgresServer) -> None:
    reported = answer(postgres_server.dsn(), "SHOW server_version")
    assert str(reported).split()[0] == postgres_server.installation.version


def test_a_database_is_made_under_its_name(postgres_server: PostgresServer) -> None:
    dsn = postgres_server.create_database("Odd; name")
    assert dsn == postgres_server.dsn("Odd; name")
    assert answer(dsn, "SELECT current_database()") == "Odd; name"


def test_what_was_committed_outlives_an_immediate_restart_and_connections_do_not() -> None:
    with PostgresServer() as server:
        before = psycopg.connect(server.dsn(), autocommit=True)
        before.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.restart("immediate")
        assert is_gone(before)
        assert answer(server.dsn(), "SELECT number FROM kept") == 7


def test_the_environment_of_the_user_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGPORT", "PGDATA", "PGHOST", "PGUSER", "PGDATABASE"):
        monkeypatch.setenv(name, "1")
    with PostgresServer() as server:
        assert answer(server.dsn(), "SELECT 1") == 1


def test_a_stopped_server_is_gone_with_its_files_and_may_be_stopped_again() -> None:
    with PostgresServer() as server:
        connection = psycopg.connect(server.dsn(), autocommit=True)
        server.stop()
        assert is_gone(connection)
        assert not server.folder.exists()
        server.stop()


def test_a_guard_that_does_not_do_its_work_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = PostgresServer()
    server.folder = tmp_path
    with subprocess.Popen(["/bin/sh", "-c", "exit 3"], stdin=subprocess.PIPE) as guard:
        monkeypatch.setattr(server, "_guard", guard)
        with pytest.raises(ServerFailedError, match=rf"ended with 3.*{tmp_path}"):
            server.stop()
    assert tmp_path.exists()


def test_every_place_that_has_a_server_has_one_that_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {programs: place for place, look in reversed(servers.PLACES.items()) for programs in look()}
    started = []
    for programs, place in found.items():
        if all((programs / name).is_file() for name in servers.PROGRAMS):
            monkeypatch.setattr(servers, "PLACES", {place: lambda programs=programs: [programs]})
            with PostgresServer(fsync=True) as server:
                started.append(answer(server.dsn(), "SHOW fsync"))
    assert set(started) == {"on"}


def test_durability_is_off_unless_asked_for(postgres_server: PostgresServer) -> None:
    assert answer(postgres_server.dsn(), "SHOW fsync") == "off"


def test_a_package_in_an_environment_that_is_roots_alone_works_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for programs in servers.in_the_package():
        private = tmp_path / "private"
        shutil.copytree(programs.parent, private / "pginstall", symlinks=True)
        private.chmod(0o700)
        there = [private / "pginstall" / "bin"]
        monkeypatch.setattr(servers, "PLACES", {f"the package {servers.PACKAGE}": there.copy})
        with PostgresServer() as server:
            assert answer(server.dsn(), "SELECT 1") == 1
            assert str(server.installation).endswith("(a copy)") == (os.geteuid() == 0)


def test_a_server_that_does_not_start_shows_its_log_and_leaves_nothing(
    fake: Fake, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = fake(initdb="echo the disk is full; exit 3")
    monkeypatch.setattr(servers, "PLACES", {"here": lambda: [programs]})
    monkeypatch.setattr(servers, "TEMPORARY_FOLDERS", (str(place),))
    with pytest.raises(ServerFailedError, match=r"(?s)initdb of PostgreSQL 17.1.*\(3\).*the disk is full"):
        PostgresServer().__enter__()
    assert list(place.iterdir()) == [programs]


# --- whom it runs as, and where


def test_root_becomes_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(servers, "UNPRIVILEGED_USERS", ("no-such-user", "nobody"))
    assert servers.account()["user"] not in {0, None}


def test_root_with_nobody_to_become_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(servers, "UNPRIVILEGED_USERS", ("no-such-user",))
    with pytest.raises(NoServerError, match="no user no-such-user"):
        servers.account()


def test_anybody_else_stays_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert servers.account() == {}


def test_a_folder_that_is_missing_or_too_long_is_passed_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = place / ("x" * 100)
    long.mkdir()
    servers.give(place, servers.account())
    monkeypatch.setattr(servers, "TEMPORARY_FOLDERS", ("/missing", str(long), str(place)))
    assert servers.new_folder(servers.account()).parent == place
    monkeypatch.setattr(servers, "TEMPORARY_FOLDERS", ("/missing", str(long)))
    with pytest.raises(NoServerError, match=r"/missing, .*xxx"):
        servers.new_folder(servers.account())


# --- the search


def found(folder: Path) -> Installation:
    return servers.find(servers.account(), folder)


def test_the_first_place_with_a_usable_server_is_taken(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, newer = fake("old", version="9.6.24"), fake("new", version="16.3"), fake("newer", version="18beta1")
    monkeypatch.setattr(servers, "PLACES", {"a": list, "b": lambda: [old, new], "c": lambda: [newer]})
    assert found(tmp_path) == Installation(new, "16.3", "b")
    monkeypatch.setattr(servers, "PLACES", {"c": lambda: [newer], "b": lambda: [old, new]})
    assert found(tmp_path) == Installation(newer, "18beta1", "c")


def test_what_was_looked_at_in_vain_is_told_in_one_line(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, broken, alien = fake("old", version="9.6.24"), fake("broken", postgres="echo no\nlibpq >&2"), fake("alien")
    (alien / "pg_ctl").unlink()
    (fake("locked") / "postgres").chmod(0o600)
    monkeypatch.setattr(
        servers,
        "PLACES",
        {"a": list, "b": lambda: [old, broken], "c": lambda: [alien], "d": lambda: [alien.parent / "locked"]},
    )
    with pytest.raises(NoServerError) as caught:
        found(tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "a: none",
        f"b: {old} has 9.6.24, older than {servers.OLDEST_MAJOR}",
        f"b: cannot run {broken / 'postgres'}",
        f"c: no pg_ctl in {alien}",
        "d: cannot run",
    ):
        assert part in message


def test_links_on_the_path_are_followed(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = fake()
    (tmp_path / "pg_ctl").symlink_to(programs / "pg_ctl")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert servers.on_the_path() == [programs.resolve()]


def test_pg_config_is_asked_for_its_folder(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake(pg_config='[ "$1" = --bindir ] && echo /opt/somewhere')))
    assert servers.named_by_pg_config() == [Path("/opt/somewhere")]


def test_a_pg_config_without_an_answer_is_none(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake(pg_config="exit 1")))
    assert servers.named_by_pg_config() == []


def test_an_empty_path_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert servers.on_the_path() == []
    assert servers.named_by_pg_config() == []


def test_of_debians_folders_the_newest_comes_first(fake: Fake, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {number: fake(f"{number}/bin") for number in (15, 9, 17)}
    monkeypatch.setattr(servers, "DEBIANS_FOLDERS", f"{place}/*/bin")
    assert servers.in_debians_folders() == [folders[17], folders[15], folders[9]]


# --- one test's part of it


@pytest.mark.parametrize("time", ["first", "second"])
def test_each_test_begins_with_nothing(postgres_dsn: str, time: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE TABLE ledgers (id text)")


def test_what_a_test_forgot_to_close_is_closed_and_its_schema_is_gone(postgres_schemas: Schemas) -> None:
    with postgres_schemas.fresh() as dsn:
        forgotten = psycopg.connect(dsn)
        forgotten.execute("CREATE TABLE ledgers (id text)")
        assert answer(dsn, "SELECT current_schema()") is not None
    assert is_gone(forgotten)
    assert answer(dsn, "SELECT current_schema()") is None


# --- runs of pytest, and how they end


def output_of_pytest(test: str, folder: Path, *options: str) -> str:
    """All that a run of one test prints, with the fixtures of these tests and a plugin `rigged` if there is one.

    Without capture: the guard has our pipe as its stderr, so it is done when we have read the pipe to its end.
    """
    (folder / "test_inner.py").write_text(f"import os, signal\nfrom pathlib import Path\n\n{test}", encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    # What the outer run was told, such as to use many processes, is none of the inner one's business.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), str(folder), *filter(None, sys.path)])
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", "-p", "conftest", *options]
    done = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    assert done.returncode != 0
    return done.stdout


def folder_of_server(folder: Path) -> Path:
    path = Path((folder / "folder").read_text(encoding="utf-8"))
    assert path.name.startswith("pg-")
    return path


ONE_TEST = """
def test_a(postgres_dsn, postgres_server):
    Path("folder").write_text(str(postgres_server.folder))
    {}
"""


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_an_interrupted_run_leaves_nothing(options: tuple[str, ...], tmp_path: Path) -> None:
    # Ctrl-C is a signal to all processes of a terminal's job.
    output = output_of_pytest(ONE_TEST.format("os.killpg(0, signal.SIGINT)"), tmp_path, *options)
    assert "KeyboardInterrupt" in output
    assert not folder_of_server(tmp_path).exists(), output


def test_a_server_whose_owner_is_killed_stops(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from postgres_server import PostgresServer

with PostgresServer() as server:
    print(server.dsn(), flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)])},
    ) as owner:
        assert owner.stdout
        connection = psycopg.connect(owner.stdout.readline().strip(), autocommit=True)
        # The guard has the owner's stderr as its own, so it is done when that has been read to its end.
        owner.communicate()
        assert is_gone(connection)
        assert not Path(connection.info.host).exists()


@pytest.mark.parametrize(("options", "by"), [((), ""), (("-n", "1"), " [gw0]")], ids=["alone", "xdist"])
def test_a_failing_run_says_which_server_it_was_and_leaves_nothing(
    options: tuple[str, ...], by: str, tmp_path: Path, postgres_server: PostgresServer
) -> None:
    output = output_of_pytest(ONE_TEST.format("assert False"), tmp_path, *options)
    assert f"{postgres_server.installation}{by}" in output.splitlines()
    assert not folder_of_server(tmp_path).exists(), output


@pytest.mark.parametrize(("options", "by"), [((), ""), (("-n", "1"), " [gw0]")], ids=["alone", "xdist"])
def test_without_a_server_the_tests_that_need_one_fail_and_the_summary_says_so(
    options: tuple[str, ...], by: str, tmp_path: Path
) -> None:
    (tmp_path / "rigged.py").write_text(
        "import postgres_server\npostgres_server.PLACES = {'here': list, 'there': list}\n", encoding="utf-8"
    )
    test = "def test_a(postgres_dsn): ...\ndef test_b(postgres_server): ...\ndef test_c(): ...\n"
    output = output_of_pytest(test, tmp_path, "-p", "rigged", *options)
    said = "no PostgreSQL found (here: none; there: none)"
    assert f"The tests that need PostgreSQL failed: {said}{by}" in output.splitlines()
    assert "1 passed, 2 errors" in output
    assert "skipped" not in output


def test_the_run_that_decides_whether_a_change_may_land_stops_at_tests_that_fail(tmp_path: Path) -> None:
    run = (HERE.parent / ".ci" / "run").read_text(encoding="utf-8")
    for line in run.splitlines():
        assert "-m pytest" not in line or "summarised" in line
    options = re.search(r"^set -.*$", run, re.MULTILINE)
    summarised = re.search(r"^summarised\(\).*?^}$", run, re.MULTILINE | re.DOTALL)
    assert options
    assert summarised
    script = f"""{options[0]}
tmp={tmp_path}
mkdir "$tmp/summary"
{summarised[0]}
(summarised "tests" sh -c 'echo 1 passed; exit 0')
(summarised "tests" sh -c 'echo 1 passed, 2 errors; exit 1')
echo went on"""
    done = subprocess.run(["/usr/bin/env", "bash", "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["1 passed", "1 passed, 2 errors"]
