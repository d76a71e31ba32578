"""`voltlane top` in a terminal of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.program import environment
from kit.rig import Rig, running
from kit.terminal import Terminal

pytest.importorskip("curses", reason="this Python has no curses")


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
        with Terminal("top", address, cwd=tmp_path, columns=120) as top:
            top.wait_for(r"1 live, 0 stale")
            rig.new()
            top.wait_for("127.0.0.1:")
            top.type("q")
            assert top.finish() == 0


def test_sorts_and_turns_round(tmp_path: Path) -> None:
    with watched(tmp_path) as (rig, address):
        rig.new()
        with Terminal("top", address, cwd=tmp_path, columns=120) as top:
            top.wait_for("SCORE▼")
            top.type("s")
            top.wait_for("CLIENT▼")
            top.type("r")
            top.wait_for("▲")
            top.type("q")
            assert top.finish() == 0


def test_a_narrow_terminal_has_fewer_columns_and_says_which(tmp_path: Path) -> None:
    with watched(tmp_path) as (rig, address):
        rig.new()
        with Terminal("top", address, cwd=tmp_path, columns=70) as top:
            top.wait_for("1 to 1 of 1 · no room for SENDS, GETS, LOSS, ADDRESS")
            top.type("sssss")  # on to a column that was not there
            top.wait_for("SENDS▼")
            top.type("q")
            assert top.finish() == 0


@pytest.mark.parametrize("columns", [70, 120])
def test_status_breaks_its_lines_where_a_terminal_would(tmp_path: Path, columns: int) -> None:
    with watched(tmp_path) as (_, address), Terminal("status", address, cwd=tmp_path, columns=columns) as status:
        whole = "backlogs, 0 B of" if columns == 120 else r"backlogs,\n\x1b\[2m {10}\x1b\[0m0 B of"
        status.wait_for(whole)
        assert status.finish() == 0


def test_says_when_the_server_is_gone_and_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with watched(tmp_path) as (_, address):
            top = stack.enter_context(Terminal("top", address, cwd=tmp_path, columns=120))
            top.wait_for("0 live")
        top.wait_for("refused|directory")  # in whichever line of the message that is
        with watched(tmp_path) as (rig, _):
            rig.new()
            top.wait_for("q quits")
            top.type("q")
            assert top.finish() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["😀.invalid:1"], 1, "does not answer"),
        (["a..b:1"], 2, "'a..b' is no host name"),
        (["127.0.0.1:1", "--token", "a\nb"], 2, "--token: admin.token: 16 to 256 printable characters"),
    ],
)
def test_odd_names_and_tokens(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    with Terminal("top", *arguments, cwd=tmp_path, columns=120) as top:
        top.wait_for(re.escape(message))
        assert top.finish() == code


def test_nobody_there(tmp_path: Path) -> None:
    with Terminal("top", "127.0.0.1:1", cwd=tmp_path, columns=120) as top:
        top.wait_for("does not answer: Connection refused")
        assert top.finish() == 1


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


@pytest.mark.parametrize("columns", [70, 120])
def test_two_servers(tmp_path: Path, columns: int) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    with watched(tmp_path / "a") as (rig, one), watched(tmp_path / "b") as (other, two):
        rig.new(), other.new(), other.new()
        with Terminal("top", one, two, cwd=tmp_path, columns=columns) as top:
            top.wait_for("2 ready")
            top.wait_for("3 live, 0 stale")
            top.wait_for("1 to 3 of 3")
            top.type("q")
            assert top.finish() == 0
