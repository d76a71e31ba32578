"""The examples run as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("VOLTLANE_")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_each_says_what_it_is(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0 and "usage:" in done.stdout and not done.stderr


def test_the_resume_demo_loses_nothing() -> None:
    """It starts a server and a backend itself, cuts the connection, and ends with 1 if anything is missing."""
    done = run("resume_demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
