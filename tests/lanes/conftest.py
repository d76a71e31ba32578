"""Worlds."""

from __future__ import annotations

from kit.worlds import make, pytest_generate_tests

__all__ = ["make", "pytest_generate_tests"]
