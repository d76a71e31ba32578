"""Worlds."""

from __future__ import annotations

from kit.worlds import make

__all__ = ["make"]
