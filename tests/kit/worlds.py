"""A fixture that makes worlds, for the tests of lanes, the trunk and the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from kit.handlers import POLLERS
from kit.world import MakeWorld, World, world


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def make(request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """Makes worlds; each is found empty at the end."""
    open_: list[AbstractContextManager[World]] = []

    def enter(settings: dict[str, object] | None = None, *, master: bool = True) -> World:
        context = world(settings, request.param, master=master)
        open_.append(context)
        return context.__enter__()

    yield enter
    for context in open_:
        context.__exit__(None, None, None)
