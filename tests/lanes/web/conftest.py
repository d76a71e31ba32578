"""Worlds, where there is what it takes."""

from __future__ import annotations

import pytest
from kit.worlds import make

pytest.importorskip("h11", reason="the extra `web` is not installed")

__all__ = ["make"]
