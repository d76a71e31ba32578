"""Tests of the admin endpoint need the packages of the extra `web`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("h11", reason="the extra `web` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")

from kit.admin import TOKEN, Asker, watched_world
from kit.world import World


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[World]:
    """A world whose server has an admin endpoint on a unix socket."""
    with watched_world({"admin.address": f"unix:{tmp_path}/admin"}) as made:
        yield made


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[World]:
    """One that asks for a token."""
    with watched_world({"admin.address": f"unix:{tmp_path}/admin", "admin.token": TOKEN}) as made:
        yield made


@pytest.fixture
def asker(watched: World) -> Iterator[Asker]:
    made = Asker(watched)
    yield made
    made.close()
