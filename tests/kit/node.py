"""Node, for the client in JavaScript (clients/js): where it is, and what it has to say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CLIENT = Path(__file__).resolve().parents[2] / "clients" / "js"
MODULES = CLIENT / "node_modules"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(not NODE, reason="there is no node")
needs_modules = pytest.mark.skipif(
    not (NODE and (MODULES / "ws").is_dir() and (MODULES / "esbuild").is_dir()),
    reason="there is no node, or `make test-js` has not installed what the client's tests need",
)


def run(*arguments: str) -> str:
    """What a program of Node's says, which must end well."""
    assert NODE
    done = subprocess.run([NODE, *arguments], cwd=CLIENT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
