"""The forms that this interpreter has of the loops in `voltlane.wire.batch`."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from voltlane.wire.batch import plain, runs


def forms() -> list[ModuleType]:
    """Every form that this interpreter has."""
    try:
        return [plain, runs, importlib.import_module("voltlane.wire.batch._native")]
    except ImportError:
        return [plain, runs]


every_form = pytest.mark.parametrize("form", forms(), ids=lambda form: form.__name__.rpartition(".")[2])
