from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.stores import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "state")
    yield made
    for process in made.processes:
        process.die()
