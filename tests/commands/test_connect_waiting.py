"""`voltlane connect` where nothing goes on: at a server that has no backend yet, and while it tries again."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from kit.fake_server import FakeServer
from kit.process import ServerProcess
from kit.program import Program
from kit.terminal import SEQUENCE, Terminal
from kit.threads import in_thread
from kit.wait import wait_until

from voltlane import cli
from voltlane.client import Connection
from voltlane.commands import connect
from voltlane.commands.suspense import Suspense
from voltlane.wire.http1.conversation import AVAILABLE

WAYS = {
    "version 2": ("127.0.0.1:0", ["--protocol", "2"]),
    "version 3": ("127.0.0.1:0", []),
    "a unix socket": ("unix:{}/clients", []),
    "WebSocket": ("ws://127.0.0.1:0", []),
    "version 2 over WebSocket": ("ws://127.0.0.1:0", ["--protocol", "2"]),
}


@pytest.fixture
def nowhere(tmp_path: Path) -> str:
    """Where a backend would listen, and none does."""
    return f"unix:{tmp_path}/master"


@pytest.mark.parametrize("way", WAYS)
def test_the_first_line_says_that_there_is_no_backend(way: str, nowhere: str, tmp_path: Path) -> None:
    listen, flags = WAYS[way]
    if "ws://" in listen and not AVAILABLE:
        pytest.skip("the extra `web` is not installed")
    with ServerProcess(nowhere, {"listener.address": listen.format(tmp_path)}) as server:
        address = server.address
        with Program("connect", *flags, address, cwd=tmp_path) as program:
            program.wait_err(rf"^voltlane: the server at {re.escape(address)} has no backend yet; waiting\n")
            program.signal(signal.SIGINT)
            assert program.finish() == 130
            assert program.err.count("\n") == 1


def test_a_backend_that_comes_ends_the_waiting(nowhere: str, tmp_path: Path) -> None:
    with ServerProcess(nowhere) as server, Program("connect", server.address, cwd=tmp_path) as program:
        program.type(b"typed meanwhile\n")
        program.wait_err("has no backend yet; waiting\n")
        with Program("echo", "--listen", nowhere, cwd=tmp_path):
            program.wait_out(b"typed meanwhile\n")
            program.end_input()
            assert program.finish() == 0
        assert program.err.splitlines()[1].startswith(f"voltlane: connected to {server.address} as client ")


def test_a_program_is_told_when_none_comes(
    monkeypatch: pytest.MonkeyPatch, nowhere: str, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connect, "CONNECT_TIMEOUT", 1.0)
    with ServerProcess(nowhere) as server:
        assert cli.main(["connect", server.address]) == 1
    assert capfd.readouterr().err == (
        f"voltlane: the server at {server.address} has no backend yet; waiting\n"
        f"voltlane: {server.address} did not finish the handshake in time: it has no backend (master) yet, or is no "
        "connection server\n"
    )


def test_a_person_waits_in_one_line_until_it_is_there(nowhere: str, tmp_path: Path) -> None:
    with ServerProcess(nowhere) as server:
        with Terminal("connect", server.address, cwd=tmp_path, columns=120) as terminal:
            terminal.wait_for("no backend yet; waiting")
            with Program("echo", "--listen", nowhere, cwd=tmp_path):
                terminal.wait_for("--server-key")
                terminal.type("hello\n")
                terminal.wait_for("hello\n.*hello\n")
                terminal.type("\x04")
                assert terminal.finish() == 0
        rewritten = SEQUENCE.sub("", terminal.shown).partition("\n")[0].split("\r")
        assert rewritten[:-1] == ["", f"voltlane: the server at {server.address} has no backend yet; waiting"]
        assert rewritten[-1].startswith("voltlane: connected to ")


def test_ctrl_c_leaves_the_line_and_ends(nowhere: str, tmp_path: Path) -> None:
    with ServerProcess(nowhere) as server, Terminal("connect", server.address, cwd=tmp_path) as terminal:
        terminal.wait_for("waiting")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 130
        assert terminal.shown.endswith("has no backend yet; waiting\n")


def test_a_server_with_a_backend_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("voltlane.commands.suspense.LEAST_SECS", 60.0)  # however busy this machine is
    with FakeServer() as server, open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        accepted = in_thread(server.accept)
        assert cli.main(["connect", "--protocol", "2", server.address, "--wait", "0"]) == 0
        accepted()
    assert re.fullmatch("voltlane: connected to .*\n", capfd.readouterr().err)


# ---- trying again


def test_attempts_are_one_line_on_a_terminal(tmp_path: Path) -> None:
    with (
        FakeServer() as server,
        Terminal("connect", "--protocol", "2", server.address, cwd=tmp_path, columns=70) as terminal,
    ):
        peer = server.accept()
        server.stop_listening()
        peer.cut()
        terminal.wait_for(r"\(3\)")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.finish() == 130
    lines = SEQUENCE.sub("", terminal.shown).splitlines()
    shown = [line for line in terminal.shown.split("\n") if "(3)" in line]
    assert len(shown) == 1 and shown[0].count("\r\x1b[K") == 3, "rewritten, each time"
    assert [line.count("(3)") for line in lines if "(3)" in line] == [1]
    for part in SEQUENCE.sub("", shown[0]).split("\r"):
        assert len(part) <= 69


def test_elsewhere_they_are_said_once(tmp_path: Path) -> None:
    with FakeServer() as server, Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
        peer = server.accept()
        address = server.address
        server.stop_listening()
        peer.cut()
        program.wait_err("trying again\n")
        # Attempts go on, at 0.2, 0.4, … s: three of them, by what the socket's queue would have got.
        with listening_again(address) as calls:
            wait_until(lambda: len(calls()) >= 2, "two attempts more")
        program.signal(signal.SIGINT)
        assert program.finish() == 130
    assert program.err.count("Connection refused; trying again\n") == 1


class listening_again:
    """Accepts whoever comes, and resets him at once."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_server((host, int(port)))
        self._socket.setblocking(False)
        self._calls: list[object] = []

    def __enter__(self) -> listening_again:
        return self

    def __call__(self) -> list[object]:
        try:
            sock, peer = self._socket.accept()
        except BlockingIOError:
            return self._calls
        sock.close()
        self._calls.append(peer)
        return self._calls

    def __exit__(self, *_: object) -> None:
        self._socket.close()


# ---- what it stands on


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_library_tells_when_a_server_is_reached(protocol: int) -> None:
    reached: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OSError, match="in time"):
            Connection(address, protocol=protocol, timeout=0.1, on_reached=lambda: reached.append("reached"))
    assert reached == ["reached"]


def test_who_is_not_reached_is_not_told() -> None:
    reached: list[str] = []
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="refused"):
            Connection(f"127.0.0.1:{sock.getsockname()[1]}", on_reached=lambda: reached.append("reached"))
    assert reached == []


def test_the_alarm_is_given_back() -> None:
    before, told = signal.getsignal(signal.SIGALRM), []
    suspense = Suspense(lambda: told.append("told"))
    with suspense:
        suspense.reached()
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getsignal(signal.SIGALRM) == before and signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert told == [] and not suspense.told
    with suspense:
        signal.raise_signal(signal.SIGALRM)
    assert told == ["told"] and suspense.told
