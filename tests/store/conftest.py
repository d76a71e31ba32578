from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest
from kit.stores import Home
from kit.world import World


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "state")
    yield made
    for process in made.processes:
        process.die()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Servers, one after the other, of one state directory."""
    with ExitStack() as stack:

        def begin(**settings: object) -> World:
            named = {name.replace("__", "."): value for name, value in settings.items()}
            world = World({"general.state_dir": str(tmp_path / "state"), **named})
            stack.callback(world.abandon)
            world.server.store.begin()
            world.connect_master()
            return world

        yield begin
