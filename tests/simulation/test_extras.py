from __future__ import annotations

import subprocess
import sys

import pytest

from commcredits.simulation.extras import numpy, optional


def test_what_is_there_is_handed_out() -> None:
    assert numpy().__name__ == "numpy"


def test_what_is_missing_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"needs numpy: pip install 'commcredits\[simulation\]'"):
        numpy()
    with pytest.raises(ImportError, match="a bar needs nothing_of_that_name"):
        optional("nothing_of_that_name", "a bar")


def test_the_room_can_be_entered_without_the_extra() -> None:
    code = "import sys, commcredits.simulation; print({'numpy', 'tqdm', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
