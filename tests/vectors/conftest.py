"""How a test gets its vector, and what is asserted of every one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from vector_files import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def vector(request: pytest.FixtureRequest) -> Iterator[Facts]:
    """One vector; at the end of the test all of its setup, commands and expectations must have been read."""
    facts = Facts({part: request.param[part] for part in ("name", "setup", "commands", "expected")})
    facts.set_aside("name")
    yield facts
    assert facts.unread() == []
