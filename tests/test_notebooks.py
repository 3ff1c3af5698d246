from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks import METADATA, NOTEBOOKS, executed

PNG = b"\x89PNG\r\n\x1a\n"


def told(cells: list[Any]) -> list[Any]:
    """What each cell shows, its pictures looked at for nothing but being there: fonts differ between machines."""
    shown = []
    for cell in cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text": output.get("text")})
            shown.append({kind: kind if kind == "image/png" else text for kind, text in data.items()})
    return shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_shows_what_is_stored(path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    assert told(executed(path).cells) == told(stored.cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_was_run_in_order_and_tells_nothing_of_the_machine(path: Path) -> None:
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}  # no warnings
    assert stored.metadata == METADATA
    assert all(cell.metadata == {} for cell in stored.cells)
    assert str(Path.home()) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "pictures"), [("a-month-of-calls", 3), ("choosing-a-threshold", 2)])
def test_pictures_are_stored(name: str, pictures: int) -> None:
    (path,) = (path for path in NOTEBOOKS if path.stem == name)
    cells = nbformat.read(path, as_version=4).cells
    found = [
        b64decode(output.data["image/png"])
        for cell in cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(found) == pictures
    assert all(picture.startswith(PNG) for picture in found)


def test_the_notebooks_lead_from_one_to_the_next() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "a-month-of-calls",
        "breaking-it-with-hypothesis",
        "choosing-a-threshold",
    ]
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            assert link.startswith("https://") or (path.parent / link).is_file(), link


def test_a_cell_that_fails_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "failing.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), path)
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        executed(path)


def test_what_a_cell_no_longer_shows_is_caught(tmp_path: Path) -> None:
    path = tmp_path / "stale.ipynb"
    shown = nbformat.v4.new_output("stream", name="stdout", text="3\n")
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print(1 + 1)", outputs=[shown])]), path)
    assert told(executed(path).cells) == [{"text": "2\n"}] != told(nbformat.read(path, as_version=4).cells)
