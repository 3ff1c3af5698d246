"""The notebooks of the docs, executed; as a script, `python tests/notebooks.py`, what they show is stored anew."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# No names and versions of the machine on which they happened to be executed.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook with what it shows when it is executed from top to bottom, as from a fresh checkout.

    Raises: nbclient's CellExecutionError for a cell that fails.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # that it talks to us unencrypted is no news
        timeout=120,
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )
    # Hypothesis would leave a folder beside the notebooks.
    with tempfile.TemporaryDirectory() as elsewhere, patch.dict(os.environ, HYPOTHESIS_STORAGE_DIRECTORY=elsewhere):
        client.execute()
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        for output in cell.get("outputs", ()):
            if "metadata" in output:  # such as that a picture needs a light page, which ours do not
                output.metadata = nbformat.from_dict({})
    return notebook


if __name__ == "__main__":
    for path in NOTEBOOKS:
        nbformat.write(executed(path), path)
