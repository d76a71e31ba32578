"""Worlds that are the workers of one server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from kit.handlers import POLLERS
from kit.neighbours import MakeNeighbours, Neighbours
from kit.world import world


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def make(request: pytest.FixtureRequest) -> Iterator[MakeNeighbours]:
    """Makes some; each world is found empty at the end."""
    with ExitStack() as stack:

        def enter(count: int = 2, settings: dict[str, object] | None = None) -> Neighbours:
            worlds = [stack.enter_context(world(settings, request.param)) for _ in range(count)]
            neighbours = Neighbours(worlds)
            stack.callback(neighbours.leave)
            return neighbours

        yield enter
