"""A fixture that makes worlds, for the tests of lanes, the trunk and the server.

With the poller that the system has; a module of what depends on which it is says `EACH_POLLER = True`, and is tested
with selectors as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from kit.handlers import POLLERS
from kit.world import MakeWorld, World, world


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A hook, for conftest files."""
    each = getattr(metafunc.module, "EACH_POLLER", False) and not metafunc.definition.get_closest_marker("one_poller")
    if "make" in metafunc.fixturenames and each:
        metafunc.parametrize("make", POLLERS, ids=lambda poller: poller.__name__, indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """Makes worlds; each is found empty at the end."""
    poller = getattr(request, "param", POLLERS[0])
    open_: list[AbstractContextManager[World]] = []

    def enter(settings: dict[str, object] | None = None, *, master: bool = True) -> World:
        context = world(settings, poller, master=master)
        open_.append(context)
        return context.__enter__()

    yield enter
    for context in open_:
        context.__exit__(None, None, None)
