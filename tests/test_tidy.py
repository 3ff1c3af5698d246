"""The rules of the house, as tests; and for each of these nets a test that it catches what it is there for.

A net is a function that is given a house (a package, and the folder of the project around it) and returns one line
for each fault that it finds. To move or add a module, edit `FLOORS`.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import commcredits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A module imports only modules that stand before it: on a floor below, or on its own floor and listed before it.
# `__init__` stands on top of everything, and the `__init__` of a room on top of the room (it is listed as the room).
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "currencies", "times"),
    ("money",),
    ("policy", "payment", "lots", "digest"),
    ("events", "charges"),
    ("changes", "books", "recharge", "schedule", "state", "command", "usage", "charging", "corrections", "ledger"),
    ("codec", "storage", "tables", "statement", "accounting"),
    (
        "gathering",
        "appending",
        "settling",
        "stepping",
        "service",
        "simulation.chance",
        "simulation.extras",
        "simulation.progress",
        "simulation.circumstances",
        "simulation.trajectory",
        "simulation.spreading",
        "simulation.demand",
        "simulation.paths",
        "simulation.trajectories",
        "simulation.usage_days",
        "simulation.suggestion",
        "simulation.replays",
        "simulation",
    ),
    (
        "storages.steps",
        "storages.rows",
        "storages.sqlite",
        "storages.postgres_tables",
        "storages.postgres",
        "storages",
    ),
    (
        "telephony.codes",
        "telephony.calls",
        "telephony.pstn",
        "telephony.numbers",
        "telephony.timebands",
        "telephony.rates",
        "telephony.metering",
        "telephony.prefixes",
        "telephony.ratesheets",
        "telephony.rating",
        "telephony.plans",
        "telephony.subscribers",
        "telephony.allowances",
        "telephony.intents",
        "telephony.admission",
        "telephony.bills",
        "telephony.billing",
        "telephony.reconciliation",
        "telephony.metered_call",
        "telephony.session_ledger",
        "telephony.session",
        "telephony",
    ),
    (
        "testing.faults",
        "testing.histories",
        "testing.strategies",
        "testing.accounts",
        "testing.comparison",
        "testing.storage_contract",
        "testing.async_storage_contract",
        "testing.payment_contract",
        "testing",
    ),
    ("notebook",),
)

# The core: these floors, and the rooms that are as pure as they are.
CORE_FLOORS = 6
CORE_ROOMS = ("telephony",)

# A list of what the core may import finds an unforeseen way out into the world; a list of what it may not does not.
CORE_MAY_IMPORT = frozenset(
    "__future__ abc bisect calendar collections contextlib copy copyreg dataclasses datetime decimal enum fractions"
    " functools hashlib heapq html itertools json math numbers operator re string textwrap threading types typing"
    " weakref zoneinfo attr attrs dateutil commcredits".split()
)
WAYS_OUT = frozenset({"open", "print", "input", "breakpoint", "exec", "eval", "__import__"})
CLOCKS = frozenset({"now", "utcnow", "today"})

# Modules that ask a package of an extra, which only the functions that need it import.
EXTRAS = {"telephony.numbers": frozenset({"phonenumbers"})}

# `import commcredits` loads the library, its two dependencies (dateutil before 3.0 needs six), and of the standard
# library nothing that costs much or opens anything.
IMPORT_MAY_LOAD = frozenset({"commcredits", "attr", "attrs", "dateutil", "six", "tzdata"})
IMPORT_LOADS_NOT = frozenset({"asyncio", "socket", "sqlite3", "uuid"})

# Public classes that users neither make, nor catch, nor name in a type: module.Class, each with its reason.
INTERNAL = {
    "appending.Appender": "a part of the services",
    "appending.Command": "what a service asks of an Appender",
    "appending.Request": "what a service asks of an Appender",
    "books.Books": "what a ledger works on; users see LedgerState",
    "charging.ChargeCommands": "a part of Ledger",
    "command.Commands": "a part of Ledger",
    "corrections.CorrectionCommands": "a part of Ledger",
    "events.Draft": "an event that is being filled in",
    "gathering.AsyncGate": "a part of AsyncLedgerService",
    "gathering.Gate": "a part of the services",
    "gathering.Member": "what passes a Gate",
    "gathering.ThreadGate": "a part of LedgerService",
    "lots.BurnOrder": "what the books keep of lots; users see Lot",
    "lots.HoldAccount": "what the books keep of a hold; users see Hold",
    "lots.LotAccount": "what the books keep of a lot; users see Lot",
    "settling.Settler": "a part of the services",
    "simulation.circumstances.Circumstances": "what a simulation takes as given",
    "simulation.paths.Block": "what simulate_many hands out to workers",
    "simulation.paths.Calendar": "a part of Paths",
    "simulation.paths.Columns": "what Paths come to; users see Trajectories",
    "simulation.paths.Paths": "what simulate_many works on",
    "simulation.usage_days.UsageDays": "what suggest_policy works on",
    "storages.rows.EventRow": "a row as it is read",
    "storages.rows.Snapshots": "a part of the storages",
    "storages.steps.Answer": "what the steps of a storage are sent",
    "storages.steps.Fetched": "the same for coroutines",
    "stepping.SteppedPaymentMethod": "a part of LedgerService",
    "statement.Movements": "users see a sequence of Movement",
    "statement.StatementDraft": "what a service draws a statement up in",
    "storage.SteppedStorage": "a part of LedgerService and of AsyncInMemoryStorage",
    "state.LedgerReads": "what Ledger and LedgerState have in common",
    "telephony.bills.Tally": "a bill that is being added up",
    "telephony.calls.Draft": "a record that is being filled in",
    "telephony.metering.Meter": "a part of RateCard",
    "telephony.prefixes.PrefixTable": "a part of RateCard",
    "telephony.session_ledger.OnLedger": "a part of CallSession",
    "telephony.session_ledger.OnService": "a part of CallSession",
    "telephony.session_ledger.SessionLedger": "what CallSession asks of a ledger",
    "testing.accounts.Account": "a part of the contracts",
    "testing.async_storage_contract.BlockingStorage": "a part of AsyncStorageContract",
    "testing.histories.History": "a part of the strategies",
    "testing.payment_contract.TriedPaymentMethod": "a part of PaymentMethodContract",
    "usage.UsageCommands": "a part of Ledger",
}

# Modules that are tests, for others to run.
ASSERTING = {
    f"testing.{name}" for name in ("async_storage_contract", "comparison", "payment_contract", "storage_contract")
}

LINES_MAX = 600

# Words that have no business here, in halves so that this list does not find itself.
FORBIDDEN_WORDS = tuple(
    first + second
    for first, second in (
        ("anth", "ropic"),
        ("brief", ".md"),
        ("chat", "gpt"),
        ("clau", "de"),
        ("co-auth", "ored-by"),
        ("dependencies", ".md"),
        ("design", ".md"),
        ("iss", "ues show"),
        ("language", " model"),
        ("lessons", ".md"),
        ("models", ".md"),
        ("/ro", "ot/"),
        ("sha", "red/"),
        ("sub", "agent"),
        ("/t", "mp/"),
        ("/wo", "rk/"),
    )
)

STATE_LEFT = re.compile(r"\b(recorded|stored|charged|read|as it was)\b")


@dataclass(frozen=True)
class Module:
    """One source file; `name` is dotted from the package down, and "" for the package itself."""

    name: str
    path: Path
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def room(self) -> str:
        """The package that a user imports its names from: "" or the name of a room."""
        return self.name.partition(".")[0] if "." in self.name or self.path.name == "__init__.py" else ""

    @property
    def private(self) -> bool:
        return any(part.startswith("_") for part in self.name.split("."))

    def at(self, node: ast.stmt | ast.expr) -> str:
        return f"{self.name or '__init__'}:{node.lineno}"

    def running(self) -> Iterator[ast.AST]:
        """All nodes but those which only type checkers look at."""
        pending: list[ast.AST] = [self.tree]
        while pending:
            node = pending.pop()
            yield node
            if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
                pending += node.orelse
            else:
                pending += ast.iter_child_nodes(node)

    def imported(self) -> Iterator[tuple[ast.stmt, str]]:
        """What it imports, dotted and absolute; for `from a import b` that is a.b."""
        here = ["commcredits", *filter(None, self.name.split("."))]
        if self.path.name != "__init__.py":
            here.pop()
        for node in self.running():
            if isinstance(node, ast.Import):
                yield from ((node, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = here[: len(here) - node.level + 1] if node.level else []
                base = [*above, *filter(None, [node.module])]
                yield from ((node, ".".join([*base, alias.name])) for alias in node.names)

    def public_definitions(self) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                yield node


@dataclass(frozen=True)
class House:
    """A package, wherever it is installed, and the folder of the project with its tests and docs."""

    package: Path
    root: Path

    def modules(self) -> list[Module]:
        found = []
        for path in sorted(self.package.rglob("*.py")):
            parts = path.relative_to(self.package).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(name, path, path.read_text(encoding="utf-8")))
        return found

    def core(self) -> list[Module]:
        names = {name for floor in FLOORS[:CORE_FLOORS] for name in floor}
        return [module for module in self.modules() if module.name in names or module.room in CORE_ROOMS]

    def test_files(self) -> list[Path]:
        return sorted((self.root / "tests").rglob("*.py"))

    def texts(self) -> list[Path]:
        """Every file that is part of the project; in a checkout there are others: environments, caches, builds."""
        folders = [self.package, *(self.root / name for name in ("src", "tests", "docs", "scripts", ".ci"))]
        inside = {
            path
            for folder in folders
            for path in folder.rglob("*")
            if not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(folder).parts)
        }
        # In a worktree of git, .git is a file that tells where the repository is.
        paths = {
            path
            for path in {*inside, *self.root.glob("*")}
            if not path.name.startswith(".coverage") and path.name != ".git"
        }
        return sorted(path for path in paths if path.is_file())


def imports_only_go_down_the_floors(house: House) -> list[str]:
    rank = {name: place for place, name in enumerate(name for floor in FLOORS for name in floor)}
    faults = []
    for module in house.modules():
        if not module.name:
            continue
        if module.name not in rank:
            faults.append(f"{module.name} stands on no floor")
            continue
        for node, target in module.imported():
            package, *parts = target.split(".")
            if package != "commcredits":
                continue
            known = [name for end in (2, 1) if (name := ".".join(parts[:end])) in rank]
            if not known:
                faults.append(f"{module.at(node)} imports {target}, which is no module on a floor")
            elif rank[known[0]] >= rank[module.name]:
                faults.append(f"{module.at(node)} imports {known[0]}, which does not stand before it")
    return faults


def the_core_imports_no_way_out(house: House) -> list[str]:
    return [
        f"{module.at(node)} imports {target}"
        for module in house.core()
        for node, target in module.imported()
        if target.partition(".")[0] not in CORE_MAY_IMPORT | EXTRAS.get(module.name, frozenset())
    ]


def the_core_calls_no_way_out(house: House) -> list[str]:
    return [
        f"{module.at(node)} has {ast.unparse(node)}"
        for module in house.core()
        for node in module.running()
        if (isinstance(node, ast.Name) and node.id in WAYS_OUT and isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.Attribute) and node.attr in CLOCKS)
    ]


def output_of_python(house: House, code: str) -> list[str]:
    """What a fresh interpreter prints that finds this house's package first; its complaint, if it fails."""
    path = os.pathsep.join(filter(None, [str(house.package.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "error", "-B", "-c", code]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.splitlines() if done.returncode == 0 else [f"it ends with {done.returncode}: {done.stderr}"]


def importing_loads_nothing_needless(house: House) -> list[str]:
    rooms = [room for room in CORE_ROOMS if (house.package / room).is_dir()]
    code = "import sys; before = set(sys.modules)\n"
    code += "".join(f"import {'.'.join(['commcredits', *room])}\n" for room in ([], *([room] for room in rooms)))
    code += "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}), sep='\\n')"
    allowed = (sys.stdlib_module_names | IMPORT_MAY_LOAD) - IMPORT_LOADS_NOT
    return [f"import loads {name}" for name in output_of_python(house, code) if name not in allowed]


def every_public_name_can_be_imported_and_is_ours(house: House) -> list[str]:
    rooms = [room for room in CORE_ROOMS if (house.package / room).is_dir()]
    code = f"""
import importlib
for package in {["commcredits", *(f"commcredits.{room}" for room in rooms)]}:
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name, None)
        if thing is None:
            print(package, "has no", name)
        if name.startswith("_"):
            print(package, "exports the private", name)
        if callable(thing) and not getattr(thing, "__module__", "").startswith(package):
            print(package, "exports", name, "which is not its own")
    if len(set(module.__all__)) < len(module.__all__):
        print(package, "exports a name twice")
"""
    return output_of_python(house, code)


def every_public_class_is_exported(house: House) -> list[str]:
    exported: dict[str, set[str]] = {}
    defined: dict[str, str] = {}
    for module in house.modules():
        is_room = module.path.name == "__init__.py"
        # In a room that needs an extra each module lists its own names: the room could not import them all.
        exported.setdefault(module.name if is_room else module.room, set()).update(
            name
            for node in module.tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            for name in ast.literal_eval(node.value)
        )
        if not is_room and not module.private:
            classes = [node.name for node in module.public_definitions() if isinstance(node, ast.ClassDef)]
            defined |= {f"{module.name}.{name}": module.room for name in classes}
    forgotten = {name for name, room in defined.items() if name.rpartition(".")[2] not in exported.get(room, set())}
    return [f"{name} is public and not in __all__" for name in sorted(forgotten - set(INTERNAL))] + [
        f"{name} is said to be internal and is not" for name in INTERNAL if name in defined.keys() - forgotten
    ]


def no_module_is_too_long(house: House) -> list[str]:
    lengths = {module.name: len(module.text.splitlines()) for module in house.modules()}
    return [f"{name} has {lines} lines" for name, lines in lengths.items() if lines > LINES_MAX]


def every_module_has_its_test_file(house: House) -> list[str]:
    tested = set()
    for path in house.test_files():
        if re.search(r"^(async )?def test_|^class Test|^Test\w* = ", path.read_text(encoding="utf-8"), re.MULTILINE):
            tested.add(path.stem)
    return [
        f"{module.name} has no test_{module.path.stem}.py with a test in it"
        for module in house.modules()
        if module.path.name != "__init__.py" and f"test_{module.path.stem}" not in tested
    ]


def everything_public_has_a_docstring(house: House) -> list[str]:
    modules = house.modules()
    return [
        f"{module.name or '__init__'} has no docstring" for module in modules if not ast.get_docstring(module.tree)
    ] + [
        f"{module.at(node)} {node.name} has no docstring"
        for module in modules
        for node in module.public_definitions()
        if not ast.get_docstring(node)
    ]


def every_error_says_what_state_it_leaves(house: House) -> list[str]:
    faults = []
    for module in house.modules():
        for node in module.public_definitions():
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                # What to do about it may follow, in one sentence.
                ending = " ".join(re.split(r"(?<=\.)\s+", (ast.get_docstring(node) or "").strip())[-2:])
                if not STATE_LEFT.search(ending):
                    faults.append(f"{module.at(node)} {node.name} does not end with the state it leaves")
    return faults


def no_rule_is_an_assert(house: House) -> list[str]:
    return [
        f"{module.at(node)} asserts"
        for module in house.modules()
        if module.name not in ASSERTING
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert)
    ]


def the_project_speaks_of_itself_alone(house: House) -> list[str]:
    faults = []
    for path in house.texts():
        text = path.read_bytes().decode("utf-8", errors="ignore").lower()
        faults += [f"{path.name} says {word}" for word in FORBIDDEN_WORDS if word in text]
    return faults


def no_test_is_skipped_or_sleeps(house: House) -> list[str]:
    unwanted = re.compile(r"(\w+\.)*(skip|skipif|skipTest|xfail|importorskip)|time\.sleep")
    return [
        f"{path.name}:{node.lineno} has {ast.unparse(node)}"
        for path in house.test_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and unwanted.fullmatch(ast.unparse(node))
    ]


NETS: tuple[Callable[[House], list[str]], ...] = (
    imports_only_go_down_the_floors,
    the_core_imports_no_way_out,
    the_core_calls_no_way_out,
    importing_loads_nothing_needless,
    every_public_name_can_be_imported_and_is_ours,
    every_public_class_is_exported,
    no_module_is_too_long,
    every_module_has_its_test_file,
    everything_public_has_a_docstring,
    every_error_says_what_state_it_leaves,
    no_rule_is_an_assert,
    the_project_speaks_of_itself_alone,
    no_test_is_skipped_or_sleeps,
)

# A net, a file that it must object to (in the package, unless the path says where), its text, and part of the fault.
PLANTED = (
    (imports_only_go_down_the_floors, "money.py", "from commcredits.ledger import Ledger", "money:1 imports ledger"),
    (imports_only_go_down_the_floors, "money.py", "def f():\n    import commcredits.ledger", "money:2 imports ledger"),
    (imports_only_go_down_the_floors, "money.py", "from .ledger import Ledger", "money:1 imports ledger"),
    (imports_only_go_down_the_floors, "money.py", "from . import ledger", "money:1 imports ledger"),
    (imports_only_go_down_the_floors, "money.py", "from commcredits import ledger", "money:1 imports ledger"),
    (imports_only_go_down_the_floors, "money.py", "from commcredits import Ledger", "no module on a floor"),
    (imports_only_go_down_the_floors, "money.py", "import commcredits", "no module on a floor"),
    (imports_only_go_down_the_floors, "errors.py", "from commcredits.currencies import X", "imports currencies"),
    (imports_only_go_down_the_floors, "ledger.py", "import commcredits.telephony.pstn", "imports telephony.pstn"),
    (imports_only_go_down_the_floors, "telephony/calls.py", "from .pstn import x", "imports telephony.pstn"),
    (imports_only_go_down_the_floors, "telephony/calls.py", "from ..telephony import x", "imports telephony,"),
    (imports_only_go_down_the_floors, "wallet.py", "", "wallet stands on no floor"),
    (imports_only_go_down_the_floors, "telephony/fax.py", "", "telephony.fax stands on no floor"),
    *(
        (the_core_imports_no_way_out, "telephony/pstn.py", f"import {name}", f"telephony.pstn:1 imports {name}")
        for name in "time random os socket sqlite3 logging pathlib subprocess io uuid secrets asyncio pandas".split()
    ),
    (the_core_imports_no_way_out, "statement.py", "from os.path import join", "imports os.path.join"),
    (the_core_imports_no_way_out, "telephony/calls.py", "import phonenumbers", "imports phonenumbers"),
    (importing_loads_nothing_needless, "telephony/__init__.py", "import phonenumbers", "loads phonenumbers"),
    (the_core_imports_no_way_out, "telephony/__init__.py", "import csv", "telephony:1 imports csv"),
    (the_core_imports_no_way_out, "money.py", "if True:\n    import moneyed", "money:2 imports moneyed"),
    (the_core_calls_no_way_out, "codec.py", "x = open('f')", "codec:1 has open"),
    (the_core_calls_no_way_out, "ledger.py", "def f():\n    list(map(print, 'ab'))", "ledger:2 has print"),
    (the_core_calls_no_way_out, "ledger.py", "x = input()", "has input"),
    (the_core_calls_no_way_out, "ledger.py", "def f(clock=datetime.now): ...", "has datetime.now"),
    (the_core_calls_no_way_out, "ledger.py", "x = dt.datetime.utcnow()", "utcnow"),
    (the_core_calls_no_way_out, "telephony/calls.py", "x = date.today()", "today"),
    (importing_loads_nothing_needless, "__init__.py", "import sqlite3", "import loads sqlite3"),
    (importing_loads_nothing_needless, "__init__.py", "import asyncio", "import loads socket"),
    (importing_loads_nothing_needless, "__init__.py", "import uuid", "import loads uuid"),
    (importing_loads_nothing_needless, "__init__.py", "import hypothesis", "import loads hypothesis"),
    (importing_loads_nothing_needless, "telephony/__init__.py", "import iso4217", "import loads iso4217"),
    (importing_loads_nothing_needless, "__init__.py", "import warnings; warnings.warn('old')", "UserWarning: old"),
    (every_public_name_can_be_imported_and_is_ours, "__init__.py", "__all__ = ['Gone']", "has no Gone"),
    (every_public_name_can_be_imported_and_is_ours, "__init__.py", "def _f(): ...\n__all__ = ['_f']", "private _f"),
    (
        every_public_name_can_be_imported_and_is_ours,
        "__init__.py",
        "from json import dumps\n__all__ = ['dumps']",
        "exports dumps",
    ),
    (every_public_name_can_be_imported_and_is_ours, "__init__.py", "a = 1\n__all__ = ['a', 'a']", "twice"),
    (every_public_name_can_be_imported_and_is_ours, "__init__.py", "", "AttributeError"),
    (every_public_class_is_exported, "events.py", "class FundsLost: ...", "events.FundsLost is public"),
    (every_public_class_is_exported, "telephony/pstn.py", "class Row: ...", "telephony.pstn.Row is public"),
    (no_module_is_too_long, "ledger.py", "\n" * (LINES_MAX + 1), f"ledger has {LINES_MAX + 1} lines"),
    (every_module_has_its_test_file, "ledger.py", "", "ledger has no test_ledger.py"),
    (every_module_has_its_test_file, "telephony/pstn.py", "", "telephony.pstn has no test_pstn.py"),
    (everything_public_has_a_docstring, "ledger.py", "", "ledger has no docstring"),
    (everything_public_has_a_docstring, "ledger.py", "'A.'\nclass Ledger: ...", "ledger:2 Ledger"),
    (everything_public_has_a_docstring, "ledger.py", "'A.'\nasync def settle(): ...", "ledger:2 settle"),
    (
        every_error_says_what_state_it_leaves,
        "errors.py",
        "class OddError(Exception):\n    '''Nothing was recorded. Odd. It is so. Really.'''",
        "errors:1 OddError",
    ),
    (every_error_says_what_state_it_leaves, "telephony/pstn.py", "class RowError(Exception): ...", "RowError"),
    (no_rule_is_an_assert, "ledger.py", "def f(x):\n    assert x", "ledger:2 asserts"),
    (no_rule_is_an_assert, "testing/faults.py", "def f(x):\n    assert x", "testing.faults:2 asserts"),
    *(
        (the_project_speaks_of_itself_alone, "money.py", f"# {word}", f"money.py says {word}")
        for word in FORBIDDEN_WORDS
    ),
    (the_project_speaks_of_itself_alone, "/README.md", FORBIDDEN_WORDS[0].upper(), "README.md says"),
    (the_project_speaks_of_itself_alone, "/docs/examples/a.csv", FORBIDDEN_WORDS[0], "a.csv says"),
    (the_project_speaks_of_itself_alone, "/.ci/run", FORBIDDEN_WORDS[0], "run says"),
    (no_test_is_skipped_or_sleeps, "/tests/test_a.py", "@pytest.mark.skipif(True)\ndef test_a(): ...", "skipif"),
    (no_test_is_skipped_or_sleeps, "/tests/test_a.py", "def test_a(): pytest.skip('later')", "pytest.skip"),
    (no_test_is_skipped_or_sleeps, "/tests/test_a.py", "@pytest.mark.xfail\ndef test_a(): ...", "xfail"),
    (no_test_is_skipped_or_sleeps, "/tests/test_a.py", "x = pytest.importorskip('rich')", "importorskip"),
    (no_test_is_skipped_or_sleeps, "/tests/test_a.py", "def test_a(): time.sleep(1)", "time.sleep"),
)

# What looks like a fault and is none.
INNOCENT = (
    (imports_only_go_down_the_floors, "money.py", "if TYPE_CHECKING:\n    from commcredits.ledger import Ledger"),
    (imports_only_go_down_the_floors, "telephony/pstn.py", "from .calls import CallRecord"),
    (imports_only_go_down_the_floors, "telephony/__init__.py", "from commcredits.telephony.pstn import x"),
    (imports_only_go_down_the_floors, "currencies.py", "from commcredits.errors import UnknownCurrencyError"),
    (imports_only_go_down_the_floors, "__init__.py", "from commcredits.service import LedgerService"),
    (the_core_imports_no_way_out, "service.py", "import asyncio"),
    (the_core_calls_no_way_out, "service.py", "x = datetime.now(UTC)"),
    (the_core_imports_no_way_out, "telephony/numbers.py", "def f():\n    import phonenumbers"),
    (the_core_calls_no_way_out, "ledger.py", "class Ledger:\n    def open(self): ...\nx = Ledger.open"),
    (importing_loads_nothing_needless, "__init__.py", "import attrs, decimal, dateutil.relativedelta"),
    (every_public_class_is_exported, "events.py", "class _Common: ..."),
    (
        every_error_says_what_state_it_leaves,
        "errors.py",
        "class OddError(Exception):\n    '''Odd. Nothing was\n recorded.'''",
    ),
    (no_rule_is_an_assert, "testing/storage_contract.py", "def f(x):\n    assert x"),
    (the_project_speaks_of_itself_alone, "/.git", f"gitdir: {FORBIDDEN_WORDS[-1]}"),
    (no_test_is_skipped_or_sleeps, "/tests/test_a.py", "async def test_a(): await asyncio.sleep(0)"),
)

HERE = House(package=Path(commcredits.__file__).parent, root=Path(__file__).parents[1])


def a_house_with(path: str, text: str, root: Path) -> House:
    """A house of one file, which is in the package unless its path begins with a slash."""
    package = root / "src" / "commcredits"
    file = root / path[1:] if path.startswith("/") else package / path
    for folder in {package, file.parent}:
        folder.mkdir(parents=True, exist_ok=True)
    if file.parent != package and file.is_relative_to(package):
        (package / "__init__.py").touch()
    file.write_text(text, encoding="utf-8")
    return House(package, root)


@pytest.mark.parametrize("net", NETS, ids=lambda net: net.__name__)
def test_the_house_keeps_its_rule(net: Callable[[House], list[str]]) -> None:
    faults = net(HERE)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("net", "path", "text", "fault"), PLANTED, ids=[f"{net.__name__}: {fault}" for net, _, _, fault in PLANTED]
)
def test_a_planted_fault_is_caught(
    net: Callable[[House], list[str]], path: str, text: str, fault: str, tmp_path: Path
) -> None:
    assert fault in "\n".join(net(a_house_with(path, text, tmp_path)))


@pytest.mark.parametrize(
    ("net", "path", "text"), INNOCENT, ids=[f"{net.__name__}: {text}" for net, _, text in INNOCENT]
)
def test_what_only_looks_like_a_fault_is_let_pass(
    net: Callable[[House], list[str]], path: str, text: str, tmp_path: Path
) -> None:
    assert net(a_house_with(path, text, tmp_path)) == []


def test_every_net_is_shown_to_catch_something() -> None:
    assert {net for net, *_ in PLANTED} == set(NETS)


def test_the_house_that_is_looked_at_is_not_empty() -> None:
    assert len(HERE.core()) > CORE_FLOORS
    assert len(HERE.test_files()) > CORE_FLOORS
    assert {"README.md", "run", "conftest.py", "money.py"} <= {path.name for path in HERE.texts()}
