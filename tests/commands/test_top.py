"""`voltlane top` in a terminal of its own."""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.program import environment
from kit.rig import Rig, running

pytest.importorskip("curses", reason="this Python has no curses")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")


class Terminal:
    """A program in a terminal of 30 lines."""

    def __init__(self, *arguments: str, cwd: Path, columns: int = 120) -> None:
        self.master, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voltlane", *arguments],
            cwd=cwd,
            env=environment(TERM="xterm", LC_ALL="C.UTF-8"),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.seen = ""

    def wait_for(self, pattern: str, timeout: float = 20.0) -> None:
        """Wait for something in what was written since the last time."""
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.seen):
            assert time.monotonic() < deadline, f"{pattern!r} in vain: {self.seen[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.master, 65536).decode("utf-8", "replace")
                except OSError:  # the program has ended
                    time.sleep(0.05)
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)


@contextmanager
def terminal(*arguments: str, cwd: Path, columns: int = 120) -> Iterator[Terminal]:
    made = Terminal(*arguments, cwd=cwd, columns=columns)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def watched(path: Path) -> Iterator[tuple[Rig, str]]:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running({"admin.address": f"unix:{path}/admin"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        yield rig, f"unix:{path}/admin"


def test_shows_who_is_there_until_q(tmp_path: Path) -> None:
    with watched(tmp_path) as (rig, address):
        rig.new()
        with terminal("top", address, cwd=tmp_path) as top:
            top.wait_for(r"1 live, 0 stale")
            rig.new()
            top.wait_for("127.0.0.1:")
            top.type("q")
            assert top.process.wait(10) == 0


def test_sorts_and_turns_round(tmp_path: Path) -> None:
    with watched(tmp_path) as (rig, address):
        rig.new()
        with terminal("top", address, cwd=tmp_path) as top:
            top.wait_for("SCORE▼")
            top.type("s")
            top.wait_for("CLIENT▼")
            top.type("r")
            top.wait_for("▲")
            top.type("q")
            assert top.process.wait(10) == 0


def test_a_narrow_terminal_has_fewer_columns_and_says_which(tmp_path: Path) -> None:
    with watched(tmp_path) as (rig, address):
        rig.new()
        with terminal("top", address, cwd=tmp_path, columns=70) as top:
            top.wait_for("1 to 1 of 1 · no room for SENDS, GETS, LOSS, ADDRESS")
            top.type("sssss")  # on to a column that was not there
            top.wait_for("SENDS▼")
            top.type("q")
            assert top.process.wait(10) == 0


@pytest.mark.parametrize("columns", [70, 120])
def test_status_breaks_its_lines_where_a_terminal_would(tmp_path: Path, columns: int) -> None:
    with watched(tmp_path) as (_, address), terminal("status", address, cwd=tmp_path, columns=columns) as status:
        whole = "backlogs, 0 B of" if columns == 120 else r"backlogs,\r?\n\x1b\[2m {10}\x1b\[0m0 B of"
        status.wait_for(whole)
        assert status.process.wait(10) == 0


def test_says_when_the_server_is_gone_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with watched(tmp_path) as (_, address):
        top = Terminal("top", address, cwd=tmp_path)
        top.wait_for("0 live")
    try:
        top.wait_for("refused|directory")  # in whichever line of the message that is
        with watched(tmp_path) as (rig, _):
            rig.new()
            top.wait_for("q quits")
            top.type("q")
            assert top.process.wait(10) == 0
    finally:
        top.close()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["😀.invalid:1"], 1, "does not answer"),
        (["a..b:1"], 2, "'a..b' is no host name"),
        (["127.0.0.1:1", "--token", "a\nb"], 2, "--token: admin.token: 16 to 256 printable characters"),
    ],
)
def test_odd_names_and_tokens(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    with terminal("top", *arguments, cwd=tmp_path) as top:
        top.wait_for(re.escape(message))
        assert top.process.wait(10) == code


def test_nobody_there(tmp_path: Path) -> None:
    with terminal("top", "127.0.0.1:1", cwd=tmp_path) as top:
        top.wait_for("does not answer: Connection refused")
        assert top.process.wait(10) == 1


def test_without_a_terminal(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "voltlane", "top", "127.0.0.1:1"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 2 and "top needs a terminal" in ran.stderr
