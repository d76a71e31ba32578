from __future__ import annotations

import sys
from pathlib import Path

import pytest

from voltlane.commands.console import command_line


@pytest.fixture
def interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a `python3`, which is all that PATH leads to and what runs this."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.touch()
    python.chmod(0o755)
    monkeypatch.setenv("PATH", str(python.parent))
    monkeypatch.setattr(sys, "executable", str(python))
    return python.parent


def called_as(program: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [program, "demo"])
    return command_line("connect", "[::1]:1")


def test_says_what_to_type_for_the_way_it_was_called(interpreters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called_as("/usr/bin/voltlane", monkeypatch) == "voltlane connect '[::1]:1'"
    assert called_as("voltlane.py", monkeypatch) == "python3 voltlane.py connect '[::1]:1'"
    assert called_as("../my dir/voltlane.py", monkeypatch) == "python3 '../my dir/voltlane.py' connect '[::1]:1'"
    assert called_as("/x/voltlane/__main__.py", monkeypatch) == "python3 -m voltlane connect '[::1]:1'"
    monkeypatch.setattr(sys, "path", ["my/app.pyz", *sys.path])
    assert called_as("my/app.pyz", monkeypatch) == "python3 my/app.pyz connect '[::1]:1'"


def test_prefers_the_shortest_name(interpreters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (interpreters / "python").symlink_to("python3")
    monkeypatch.setattr(sys, "executable", str(interpreters / "python"))
    assert called_as("voltlane.py", monkeypatch).startswith("python voltlane.py")


def test_names_an_interpreter_that_is_not_in_the_path(interpreters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/python/bin/python3")
    assert called_as("/x/voltlane/__main__.py", monkeypatch).startswith("/opt/python/bin/python3 -m voltlane ")


def test_leaves_the_launcher_to_find_the_environment_beside_it(
    interpreters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.chdir(tmp_path)
    assert called_as("voltlane.py", monkeypatch).startswith("python3 voltlane.py ")
    monkeypatch.chdir("/")
    assert called_as("voltlane.py", monkeypatch).startswith(str(tmp_path / ".venv/bin/python"))
