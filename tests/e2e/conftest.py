"""The real server over real sockets. Tests that leave it as they found it share one process a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.rig import Rig, running


@pytest.fixture(scope="module")
def _shared() -> Iterator[Rig]:
    with running() as rig:
        yield rig


@pytest.fixture
def rig(_shared: Rig) -> Iterator[Rig]:
    """A server process with the default limits and its master, whose inbox is empty."""
    _shared.master.fence()
    _shared.master.inbox.clear()
    yield _shared
    _shared.close_clients()
