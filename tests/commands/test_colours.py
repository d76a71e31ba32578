"""Colour on a terminal: of the log and of messages alike, and none of it with NO_COLOR."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from kit.fake_server import FakeServer
from kit.terminal import Terminal

BOTH = pytest.mark.parametrize("no_color, painted", [("", True), ("1", False)])


@BOTH
def test_the_log(no_color: str, painted: bool, tmp_path: Path) -> None:
    flags = ["--listen", "127.0.0.1:0", "--master", f"unix:{tmp_path}/none"]
    with Terminal("serve", *flags, cwd=tmp_path, columns=200, NO_COLOR=no_color) as terminal:
        terminal.wait_for("no master at")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.finish() == 0
    assert ("\x1b[32mINFO \x1b[0m clients connect to 127.0.0.1:" in terminal.shown) is painted
    assert ("\x1b[33mWARN \x1b[0m no master at" in terminal.shown) is painted
    assert ("\x1b[36mvoltlane:\x1b[0m wrote connserver.toml" in terminal.shown) is painted
    assert ("\x1b" in terminal.shown) is painted


@BOTH
def test_connect(no_color: str, painted: bool, tmp_path: Path) -> None:
    with (
        FakeServer() as server,
        Terminal("connect", "--protocol", "2", server.address, cwd=tmp_path, NO_COLOR=no_color) as terminal,
    ):
        peer = server.accept()
        peer.cut()
        terminal.wait_for("resumed as")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 130
    for code, message in ((36, "connected to"), (33, "the server closed"), (32, "resumed as client 7")):
        assert (f"\x1b[{code}mvoltlane:\x1b[0m {message}" in terminal.shown) is painted
    assert ("\x1b[36m" in terminal.shown) is painted


@BOTH
def test_what_went_wrong(no_color: str, painted: bool, tmp_path: Path) -> None:
    with Terminal("config", "xyzzy", cwd=tmp_path, NO_COLOR=no_color) as terminal:
        assert terminal.finish() == 2
    assert ("\x1b[1;31mvoltlane:\x1b[0m unknown setting" in terminal.shown) is painted
