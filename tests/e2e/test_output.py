"""What the server writes its log to may be slow, stopped, full or gone: nobody else notices."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.process import EXIT_TIMEOUT, environment, usual
from kit.raw_client import RawClient, frame
from kit.raw_master import RawMaster
from kit.wait import wait_until

from voltlane.address import parse_address
from voltlane.commands.inquiry import Inquiry

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (ERROR|WARN |INFO |DEBUG) \S.*")


class Server:
    """A server whose standard error is a descriptor of the test's, with a unix socket to connect to and a master."""

    def __init__(self, error: int, master: RawMaster, directory: str) -> None:
        self.address = f"unix:{directory}/door"
        self.admin = f"unix:{directory}/admin"
        settings = {"listener.address": self.address, "admin.address": self.admin}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "voltlane", "serve"],
            cwd=directory,
            env={**environment(usual(master.address, settings)), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=error,
        )
        master.accept()
        self.master = master

    def is_served(self) -> None:
        """A new client comes in, and is heard and answered."""
        with RawClient.new(self.address) as client:
            client.send(b"up")
            assert self.master.recv_data(client.client_id, 1) == [b"up"]
            self.master.send(client.client_id, b"down")
            assert client.recv() == b"down"

    def say_something(self, lines: int = 1) -> None:
        """Clients that do wrong, one after the other: each costs a line."""
        for _ in range(lines):
            with RawClient(self.address) as stranger:
                stranger.sock.sendall(frame(b"\xff"))
                assert list(stranger.rest()) == []

    def unwritten(self) -> int:
        inquiry = Inquiry(parse_address(self.admin), "")
        try:
            return int(inquiry.get("/stats", dict)["counts"]["log_unwritten"])
        finally:
            inquiry.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(EXIT_TIMEOUT)


@contextlib.contextmanager
def serving(error: int) -> Iterator[Server]:
    with RawMaster() as master, tempfile.TemporaryDirectory() as directory:
        server = Server(error, master, directory)
        try:
            yield server
        finally:
            server.process.kill()
            server.process.wait()


def nobody_reads(server: Server) -> int:
    """Until a line could not be written; everybody is served meanwhile, and after it."""
    for _ in range(1000):
        server.process.send_signal(signal.SIGUSR1)  # seven lines, some of them long
        if server.unwritten():
            break
    server.say_something(10)
    server.is_served()
    return server.unwritten()


def whole_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.startswith("voltlane: ")]
    assert lines
    for line in lines:
        assert LINE.fullmatch(line), line
    return lines


class Reader:
    """Reads a descriptor to which the server writes, when the test says so."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self.text = ""

    def read(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):
            while data := os.read(self._descriptor, 65536):
                self.text += data.decode()
        return self.text

    def wait_for(self, pattern: str) -> re.Match[str]:
        wait_until(lambda: re.search(pattern, self.read()), f"{pattern!r} in what was read")
        found = re.search(pattern, self.text)
        assert found
        return found


@pytest.fixture(params=["pipe", "socket", "terminal"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """The end that the test has and the one that the server gets, with little room between them."""
    if request.param == "pipe":
        ours, theirs = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    elif request.param == "socket":
        left, right = socket.socketpair()
        right.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours, theirs = left.detach(), right.detach()
    else:
        ours, theirs = pty.openpty()
        tty.setraw(theirs)
    yield ours, theirs
    for descriptor in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_nobody_reads_it_and_then_somebody_does(ends: tuple[int, int]) -> None:
    ours, theirs = ends
    with serving(theirs) as server:
        assert nobody_reads(server) > 0
        assert os.get_blocking(theirs), "the flags of the description are not the server's alone"
        reader = Reader(ours)
        told = r"WARN  (\d+) lines could not be written: whoever reads the log does not keep up\n"
        reader.wait_for(told)  # by itself, though there is no other line
        wait_until(
            lambda: sum(map(int, re.findall(told, reader.read()))) == server.unwritten(), "all of them to be told"
        )
        server.say_something()
        reader.wait_for(r"malformed handshake packet.*\n$")
        assert server.stop() == 0
        reader.wait_for("stopping")
        whole_lines(reader.text)


def test_it_ends_though_nobody_reads(ends: tuple[int, int]) -> None:
    _, theirs = ends
    with serving(theirs) as server:
        assert nobody_reads(server) > 0
        assert server.stop() == 0


def test_a_terminal_that_was_stopped() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    with serving(theirs) as server:
        reader = Reader(ours)
        reader.wait_for("connected to the master")
        termios.tcflow(theirs, termios.TCOOFF)
        server.say_something(3)
        server.is_served()
        assert server.unwritten() >= 3
        termios.tcflow(theirs, termios.TCOON)
        reader.wait_for("lines could not be written")
        assert server.stop() == 0
    os.close(ours)
    os.close(theirs)


def test_whoever_read_it_is_gone() -> None:
    ours, theirs = os.pipe()
    with serving(theirs) as server:
        Reader(ours).wait_for("connected to the master")
        os.close(ours)
        server.say_something(3)
        server.is_served()
        assert server.unwritten() >= 3
        assert server.stop() == 0
    os.close(theirs)


@pytest.mark.parametrize("ends_with", ["limit", "device"])
def test_the_disk_is_full(ends_with: str, tmp_path: Path) -> None:
    path = tmp_path / "log" if ends_with == "limit" else Path("/dev/full")
    with open(path, "ab") as file, serving(file.fileno()) as server:
        if ends_with == "limit":
            limits = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
            size = path.stat().st_size
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 30, limits[1]))
        server.say_something(3)
        server.is_served()
        assert server.unwritten() >= 3
        if ends_with == "limit":
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
            wait_until(lambda: "lines could not be written: File too large" in path.read_text(), "it to be told")
            whole_lines(path.read_text())
        assert server.stop() == 0
