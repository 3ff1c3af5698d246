"""README and docs: their Python runs and prints what they say, links lead somewhere, and no public name is missing.

What a block prints stands after its prints, as `print(balance)  # 37.50 USD`, or all of it in the block of plain text
that follows. The blocks of one page share their names.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import tokenize
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

import commcredits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Example

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
# The packages whose public names the reference lists, and modules with a public function or two.
PACKAGES = (
    *("commcredits", "commcredits.accounting", "commcredits.notebook", "commcredits.simulation"),
    *("commcredits.telephony", "commcredits.testing"),
    *("commcredits.storages.sqlite", "commcredits.storages.postgres"),
)
LANGUAGES = {"python", "text", "console", "sh"}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --- what Python blocks do


class Blocks:
    """Runs the blocks of one page, and compares what they print with what the page says."""

    def __init__(self) -> None:
        self._run = PythonEvaluator()
        self._printed = ""

    def evaluate_python(self, example: Example) -> None:
        self.check_nothing_unsaid()
        output = StringIO()
        with redirect_stdout(output):
            self._run(example)
        said = said_after_prints(str(example.parsed))
        if said:
            assert output.getvalue().splitlines() == said
        else:
            self._printed = output.getvalue()

    def evaluate_text(self, example: Example) -> None:
        printed, self._printed = self._printed, ""
        assert [line.rstrip() for line in printed.splitlines()] == str(example.parsed).splitlines()

    def check_nothing_unsaid(self) -> None:
        assert not self._printed, f"printed, and the page does not say so:\n{self._printed}"


def said_after_prints(source: str) -> list[str]:
    """The comments behind print statements."""
    ends = {
        node.end_lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and ast.unparse(node).startswith("print(")
    }
    return [
        token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT and token.start[0] in ends
    ]


def run_page(page: Path) -> int:
    """Run the blocks of a page; how many there are."""
    blocks = Blocks()
    parsers = [CodeBlockParser("python", blocks.evaluate_python), CodeBlockParser("text", blocks.evaluate_text)]
    examples = list(Sybil(parsers=parsers, path=str(page.parent)).parse(page).examples())
    for example in examples:
        example.evaluate()
    blocks.check_nothing_unsaid()
    return len(examples)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_blocks_run_and_print_what_the_page_says(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = page.read_text(encoding="utf-8")
    # Pages name the files of this project from its folder; those that make files make them elsewhere.
    monkeypatch.chdir(tmp_path if ".db" in text else ROOT)
    if "DATABASE_URL" in text:
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("postgres_dsn"))
    fences = re.findall(r"^```(\w+)$", text, re.MULTILINE)
    assert set(fences) <= LANGUAGES
    assert run_page(page) == fences.count("python") + fences.count("text")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("```python\nprint(1 + 1)  # 3\n```\n", r"\['2'\] == \['3'\]"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", r"\['1'\] == \['2'\]"),
        ("```python\nprint(1)\n```\n", "does not say so"),
        ("```python\nprint(1)\n```\n\n```python\nx = 2\n```\n", "does not say so"),
        ("```python\nassert 1 == 2\n```\n", None),
        ("```python\nprint(1)  # 1\nfor n in (2, 3): print(n)\n```\n", r"== \['1'\]"),
    ],
)
def test_a_page_that_does_not_tell_the_truth_is_caught(text: str, fault: str | None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=fault):
        run_page(page)


# --- contracts that pages derive from


@pytest.mark.parametrize("name", ["storage.md", "payment-method.md"])
def test_what_a_page_shows_keeps_the_contract_that_it_derives_from(name: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "how-to" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    contracts = sum(len(re.findall(r"^class Test\w+\(\w+Contract\):$", block, re.MULTILINE)) for block in blocks)
    assert contracts
    (tmp_path / "test_page.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path,
        # Options from outside may name what only the conftest of these tests knows.
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"^(\d+) passed", done.stdout, re.MULTILINE)[0]) > 10 * contracts


# --- links


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def dead_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_file() or (anchor and anchor not in anchors_of(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(dead_links(page))


def test_dead_links_are_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A b\n[1](page.md#a-b) [2](#c) [3](other.md) [4](page.md#a)\n", encoding="utf-8")
    assert list(dead_links(page)) == ["#c", "other.md", "page.md#a"]


def test_every_page_of_the_docs_can_be_reached_from_the_index() -> None:
    seen, pending = set[Path](), [ROOT / "docs" / "index.md"]
    while pending:
        page = pending.pop()
        if page not in seen:
            seen.add(page)
            links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
            pending += [(page.parent / link).resolve() for link in links if not link.startswith("https://")]
    assert {page for page in PAGES if page.is_relative_to(ROOT / "docs")} <= seen | {
        ROOT / "docs/examples/data/README.md"
    }


# --- the reference


def public_things() -> dict[str, Any]:
    return {name: getattr(module, name) for module in map(importlib.import_module, PACKAGES) for name in module.__all__}


def public_members(thing: Any) -> Iterator[str]:
    """What a class has that its plain ancestors, from outside this library, have not."""
    if isinstance(thing, type):
        foreign = [parent for parent in thing.__mro__ if not parent.__module__.startswith("commcredits")]
        plain = {name for parent in foreign for name in dir(parent)} - {"fields"}
        yield from (name for name in dir(thing) if not name.startswith("_") and name not in plain)


def test_the_reference_has_every_public_name_and_all_its_members() -> None:
    texts = [page.read_text(encoding="utf-8") for page in REFERENCE]
    missing = []
    for name, thing in public_things().items():
        pages = [text for text in texts if re.search(rf"`{name}\b", text)]
        missing += [] if pages else [name]
        for member in public_members(thing):
            if pages and not any(re.search(rf"[`.]{member}\b", text) for text in pages):
                missing.append(f"{name}.{member}")
    assert not missing


def signatures(text: str) -> Iterator[tuple[str, str]]:
    """The signatures that a page gives, at the beginning of a heading, a list item or a table row: path, parameters."""
    for line in without_code(text).splitlines():
        found = re.match(r"(?:#+|-|\|) `(?:async )?([\w.]+)\(([^`]*)\)`", line)
        if found:
            yield found[1], found[2]


def same_parameters(said: str, thing: Any) -> bool:
    """Whether `said` has the parameters of a callable: their names, order, kinds and defaults.

    `...` stands for any default; others than constants and tuples of them are not compared.
    """
    code = ast.parse(f"def f({said}): ...").body[0]
    assert isinstance(code, ast.FunctionDef)
    namespace: dict[str, Any] = {}
    placeholder = ast.Constant(...)
    plain = (ast.Constant, ast.Tuple, ast.UnaryOp)
    code.args.defaults = [node if isinstance(node, plain) else placeholder for node in code.args.defaults]
    code.args.kw_defaults = [
        node if node is None or isinstance(node, plain) else placeholder for node in code.args.kw_defaults
    ]
    exec(compile(ast.fix_missing_locations(ast.Module([code], [])), "said", "exec"), namespace)  # noqa: S102
    told = inspect.signature(namespace["f"]).parameters.values()
    real = [p for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    return [(p.name, p.kind, p.default is p.empty) for p in told] == [
        (p.name, p.kind, p.default is p.empty) for p in real
    ] and all(mine.default in (..., theirs.default) for mine, theirs in zip(told, real, strict=True))


def wrong_signatures(text: str) -> Iterator[str]:
    things = public_things()
    for path, parameters in signatures(text):
        name, _, member = path.partition(".")
        thing = getattr(things.get(name), member, None) if member else things.get(name)
        if thing is None or not same_parameters(parameters, thing):
            yield f"{path}({parameters})"


@pytest.mark.parametrize("page", REFERENCE, ids=name_of)
def test_signatures_of_the_reference_are_those_of_the_code(page: Path) -> None:
    assert not list(wrong_signatures(page.read_text(encoding="utf-8")))


def test_the_reference_has_the_signatures_of_all_commands_and_reads() -> None:
    told = {path for page in REFERENCE for path, _ in signatures(page.read_text(encoding="utf-8"))}
    reads = set(public_members(commcredits.LedgerState))
    for thing in (
        *(commcredits.Money, commcredits.Ledger, commcredits.LedgerState, commcredits.LedgerService),
        *(commcredits.Storage, commcredits.Statement, commcredits.Threshold, commcredits.Terms),
    ):
        members = {name for name in public_members(thing) if callable(getattr(thing, name))}
        if thing is commcredits.Ledger:
            members -= reads
        assert {f"{thing.__name__}.{name}" for name in members} <= told


@pytest.mark.parametrize(
    "said",
    [
        "- `Money(amount)`",
        "- `Money(currency, amount)`",
        '- `Money.rounded(digits=2, rounding="ROUND_HALF_EVEN")`',
        "| `Money.scaled(factor, *, rounding)` |",
        "## `Money.squared()`",
    ],
)
def test_a_signature_that_is_not_true_is_caught(said: str) -> None:
    assert list(wrong_signatures(said))


def rows_of(page: str) -> Iterator[tuple[str, set[str]]]:
    """The name in the first column of a table's rows, and the names in the last."""
    for line in (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8").splitlines():
        cells = line.strip("|").split("|")
        if len(cells) == 3 and "`" in cells[0]:
            yield cells[0].strip(" `"), set(re.findall(r"`(\w+)`", cells[2]))


def test_the_reference_has_the_fields_of_all_events() -> None:
    kinds = commcredits.Event.__subclasses__()
    real = {kind.__name__: set(kind.fields) - set(commcredits.Event.fields) for kind in kinds}
    assert dict(rows_of("events.md")) == real


def test_the_reference_has_the_attributes_of_all_errors() -> None:
    errors = {name: thing for name, thing in public_things().items() if name.endswith("Error")}
    told = dict(rows_of("errors.md"))
    assert told.keys() == errors.keys() - {"CommCreditsError", "RowError"}
    for name, attributes in told.items():
        code = "".join(inspect.getsource(parent) for parent in errors[name].__mro__ if parent.__name__ in told)
        assert attributes == set(re.findall(r"\bself\.(\w+) = ", code)), name


# --- the README's commands, which .ci/run takes from it


@pytest.mark.parametrize("name", ["example", "tests"])
def test_the_readme_has_the_command(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"^<!-- command: {name} -->\n```sh\n(.+)\n```$", readme, re.MULTILINE)
    assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")


def test_the_quickstart_is_quick() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## Quickstart\n\n```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len(block.splitlines()) <= 20
