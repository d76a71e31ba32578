"""Which words of the figures stand out; in `status` on a terminal, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kit.process import ServerProcess
from kit.rig import running
from kit.terminal import SEQUENCE, Terminal

from voltlane.commands.tints import pieces, tinted


@pytest.mark.parametrize(
    "line, found",
    [
        ("voltlane 0.1.0, ready, up 3 s", [("ready", "good")]),
        ("voltlane 0.1.0, no connection to the master, up 3 s", [("no connection to the master", "error")]),
        ("voltlane 0.1.0, draining, up 3 s", [("draining", "warning")]),
        ("master    127.0.0.1:1: connected", [("master    ", "quiet"), ("connected", "good")]),
        ("master    ready.example:1: not connected", [("master    ", "quiet"), ("not connected", "error")]),
        ("clients   1 live, 0 stale", [("clients   ", "quiet")]),
        ("TLS       localhost: 61 days left", [("TLS       ", "quiet")]),
        ("closed           3  server shutting down", [("closed    ", "quiet")]),
        ("ended            3  connected", [("ended     ", "quiet")]),
        ("", [("", "quiet")]),
    ],
)
def test_what_stands_out(line: str, found: list[tuple[str, str]]) -> None:
    assert [(text, tone) for text, tone in pieces(line) if tone] == found
    assert "".join(text for text, _ in pieces(line)) == line == SEQUENCE.sub("", tinted(line))


def test_status_on_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running({"admin.address": f"unix:{tmp_path}/admin"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        assert "the live page" not in rig.server.log, "a browser cannot open a unix socket"
        for variable, painted in (("", True), ("1", False)):
            with Terminal("status", f"unix:{tmp_path}/admin", cwd=tmp_path, NO_COLOR=variable) as terminal:
                assert terminal.finish() == 0
                assert ("\x1b[32mready\x1b[0m" in terminal.shown) is painted
                assert painted or not re.search("\x1b", terminal.shown)


def test_top_on_a_terminal(tmp_path: Path) -> None:
    pytest.importorskip("curses", reason="this Python has no curses")
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running({"admin.address": f"unix:{tmp_path}/admin"}) as rig:
        assert isinstance(rig.server, ServerProcess)
        rig.server.wait_for_log("the admin endpoint is at ")
        for variable, painted in (("", True), ("1", False)):
            with Terminal("top", f"unix:{tmp_path}/admin", cwd=tmp_path, columns=70, NO_COLOR=variable) as terminal:
                terminal.wait_for("ready")
                terminal.type("q")
                assert terminal.finish() == 0
                assert bool(re.search("\x1b\\[32m", terminal.shown)) is painted
