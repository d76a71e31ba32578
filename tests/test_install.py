"""What `make run` shows while it installs: one line that changes on a terminal, and nothing in a log while all goes
well. Pip is played by a script."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIP = """#!/bin/sh
case "$*" in
    *"pip --version"*) exit 0 ;;
    -c*) exit 0 ;;
esac
echo "$@" >> "$(dirname "$0")/asked"
case "$*" in
    *--quiet*) ;;
    *)  echo "Collecting pynacl>=1.4"
        echo "  Downloading https://index.example/pynacl-1.5.0-cp311.whl (856 kB)"
        echo "Collecting ecdsa>=0.19"
        echo "  Using cached ecdsa-0.19.0-py2.py3-none-any.whl (149 kB)"
        echo "Building wheels for collected packages: voltlane"
        echo "  Building editable for voltlane (pyproject.toml): started"
        echo "Installing collected packages: pynacl, ecdsa, voltlane" ;;
esac
%s
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    return made(tmp_path, "exit 0")


def made(where: Path, end: str) -> Path:
    """A virtual environment with that pip in it."""
    python = where / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PIP % end)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return where / "venv"


def command(venv: Path) -> list[str]:
    return [str(ROOT / ".ci" / "install"), str(venv), sys.executable, ".[web]"]


def on_a_terminal(venv: Path, term: str = "xterm") -> tuple[str, int]:
    """What was shown, and the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(venv), stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": term}
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return shown.decode().replace("\r\n", "\n"), process.wait(20)


def test_a_terminal_is_told_what_goes_on_in_one_line(environment: Path) -> None:
    shown, code = on_a_terminal(environment)
    first, _, rest = shown.partition("\n")
    assert (first, code) == (f"installing .[web] into {environment}", 0)
    assert rest.split("\r\x1b[K") == [
        "",
        "  looking for pynacl>=1.4",
        "  downloading pynacl-1.5.0-cp311.whl",
        "  looking for ecdsa>=0.19",
        "  found ecdsa-0.19.0-py2.py3-none-any.whl",
        "  building voltlane",
        "  installing pynacl, ecdsa, voltlane",
        "",
    ]
    assert "--quiet" not in (environment / "bin" / "asked").read_text()


def test_a_log_stays_quiet(environment: Path) -> None:
    ran = subprocess.run(command(environment), capture_output=True, text=True, timeout=20)
    assert (ran.stdout, ran.stderr, ran.returncode) == (f"installing .[web] into {environment}\n", "", 0)
    assert "--quiet" in (environment / "bin" / "asked").read_text()


def test_so_does_a_terminal_that_cannot_rewrite(environment: Path) -> None:
    shown, code = on_a_terminal(environment, "dumb")
    assert (shown, code) == (f"installing .[web] into {environment}\n", 0)


def test_what_pip_complains_of_is_shown_and_its_end_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    venv = made(tmp_path, "echo 'ERROR: no such package' >&2; exit 3")
    shown, code = on_a_terminal(venv)
    assert code == 1 and shown.count("ERROR: no such package\n") == 3
    assert shown.endswith("pip could not install .[web]; its last message is above\n")
    assert (venv / "bin" / "asked").read_text().count("\n") == 3
