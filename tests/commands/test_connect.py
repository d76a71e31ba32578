from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fake_server import FakeServer
from kit.program import Program, environment

from voltlane.address import Address, parse_address
from voltlane.commands import connect
from voltlane.errors import ConnectionLost, SessionLost
from voltlane.wire import crypto
from voltlane.wire.framing import GOODBYE


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def echoing(server: FakeServer) -> threading.Thread:
    """Accept one client and send all it sends back, until it goes."""

    def run() -> None:
        peer = server.accept()
        try:
            while True:
                peer.send(peer.recv())
        except (EOFError, OSError):
            return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


class TestPipe:
    def test_lines_become_packets_and_packets_lines(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            program.wait_err(r"^voltlane: connected to 127\.0\.0\.1:\d+ as client 7\n$")
            program.type(b"hello\npart")
            assert peer.recv() == b"hello"
            peer.send(b"world", b"")
            program.wait_out(b"world\n\n")
            program.type(b" of a line\n\n")
            assert [peer.recv(), peer.recv()] == [b"part of a line", b""]
            peer.send(b"third and last")
            program.end_input()
            assert program.finish() == 0
        assert program.out == b"world\n\nthird and last\n"

    def test_the_server_is_told_that_nobody_comes_back(self, server: FakeServer, tmp_path: Path) -> None:
        for end in (Program.end_input, lambda program: program.process.send_signal(signal.SIGINT)):
            with Program("connect", "--protocol", "2", "--wait", "0", server.address, cwd=tmp_path) as program:
                peer = server.accept()
                program.type(b"hello\n")
                assert peer.recv() == b"hello"
                peer.send(b"world")
                program.wait_out(b"world\n")  # it is within no send any more
                end(program)
                assert b"".join(iter(lambda: peer.socket.recv(100), b"")) == GOODBYE  # noqa: B023
                assert program.finish() in (0, 130)

    def test_ends_as_soon_as_every_line_has_its_answer(self, server: FakeServer, tmp_path: Path) -> None:
        echo = echoing(server)
        with Program("connect", "--protocol", "2", "--wait", "600", server.address, cwd=tmp_path) as program:
            program.type(b"a\nb\n\nlast without an end")
            program.end_input()
            assert program.finish() == 0
        assert program.out == b"a\nb\n\nlast without an end\n"
        echo.join(10.0)

    def test_does_not_wait_for_ever_for_answers(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", "--wait", "0.2", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            program.type(b"a\nb\n")
            assert [peer.recv(), peer.recv()] == [b"a", b"b"]
            peer.send(b"one")
            program.wait_out(b"one\n")
            program.end_input()
            assert program.finish() == 0
        assert "1 of 2 lines had no answer" in program.err

    def test_bytes_pass_unchanged(self, server: FakeServer, tmp_path: Path) -> None:
        everything = bytes(byte for byte in range(256) if byte != 10)
        echo = echoing(server)
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            program.type(everything + b"\r\n")
            program.end_input()
            assert program.finish() == 0
        assert program.out == everything + b"\r\n"
        echo.join(10.0)

    def test_sending_much_does_not_keep_it_from_reading(self, server: FakeServer, tmp_path: Path) -> None:
        """The server here writes each answer before it reads on: who only sends comes to a stop."""
        echo = echoing(server)
        lines = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(20000))
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            program.type(lines)
            program.end_input()
            assert program.finish(60.0) == 0
        assert program.out == lines
        echo.join(10.0)

    def test_a_line_as_long_as_a_packet_may_be_and_one_longer(self, server: FakeServer, tmp_path: Path) -> None:
        echo = echoing(server)
        with Program("connect", "--protocol", "2", "--wait", "60", server.address, cwd=tmp_path) as program:
            program.type(b"x" * 8388600 + b"\n" + b"y" * 8388599 + b"\n")
            program.end_input()
            assert program.finish(60.0) == 1
        assert "a line was not sent: a packet of 8388600 bytes, at most 8388599 are allowed" in program.err
        assert program.out == b"y" * 8388599 + b"\n"
        echo.join(10.0)

    def test_a_reader_that_has_had_enough_is_no_error(self, server: FakeServer, tmp_path: Path) -> None:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "voltlane", "connect", "--protocol", "2", server.address]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.PIPE
        )
        os.close(writing)
        peer = server.accept()
        os.close(reading)
        peer.send(b"x")
        _, err = process.communicate(timeout=30.0)
        assert process.returncode == 0
        assert err.count(b"\n") == 1

    def test_works_without_standard_input(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path, stdin=subprocess.DEVNULL) as program:
            assert program.finish() == 0


class TestLostConnection:
    def test_is_resumed(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            program.type(b"before\n")
            assert peer.recv() == b"before"
            server.missed[7] = [b"missed"]
            peer.cut()
            peer = server.accept()
            assert peer.resumed
            program.wait_err("the server closed the connection; reconnecting\nvoltlane: resumed as client 7\n")
            program.wait_out(b"missed\n")
            program.type(b"after\n")
            assert peer.recv() == b"after"
            peer.reset()
            assert server.accept().resumed

    def test_goes_on_with_a_new_session_when_the_old_one_is_gone(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            server.sessions.clear()
            peer.cut()
            peer = server.accept()
            program.wait_err("the session is gone: new session as client 8")
            program.type(b"x\n")
            assert peer.recv() == b"x"
            peer.cut()
            assert server.accept().client_id == 8

    def test_goes_on_with_a_new_session_when_the_server_has_a_new_key(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            server.key = crypto.generate_key()
            peer.cut()
            server.accept()
            program.wait_err("the session is gone: new session as client 8")

    def test_is_tried_again_until_the_server_is_back(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with (
            FakeServer(path=str(path)) as server,
            Program("connect", "--protocol", "2", f"unix:{path}", cwd=tmp_path) as program,
        ):
            peer = server.accept()
            server.stop_listening()
            path.unlink()
            peer.cut()
            program.wait_err("No such file or directory; trying again\n")
            program.type(b"typed meanwhile\n")
            with FakeServer(path=str(path)) as successor:
                assert successor.accept().recv() == b"typed meanwhile"
                program.wait_err("the session is gone: new session as client 7\n")

    def test_is_tried_again_after_the_input_only_as_long_as_answers_are_awaited(
        self, server: FakeServer, tmp_path: Path
    ) -> None:
        with Program("connect", "--protocol", "2", "--wait", "0.5", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            program.type(b"a\n")
            program.end_input()
            assert peer.recv() == b"a"
            server.stop_listening()
            peer.cut()
            assert program.finish() == 1
        assert "reconnecting\n" in program.err
        assert program.err.endswith("voltlane: 1 of 1 lines had no answer\n")

    def test_the_end_of_the_input_ends_the_trying(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", "--wait", "0.1", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            server.stop_listening()
            peer.cut()
            program.wait_err("trying again")
            program.end_input()
            assert program.finish() == 0
        assert "no answer" not in program.err

    def test_with_every_answer_there_is_the_end_as_well(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            peer = server.accept()
            program.type(b"a\n")
            assert peer.recv() == b"a"
            peer.send(b"b")
            program.wait_out(b"b\n")
            program.end_input()
            peer.cut()
            assert program.finish() == 0


class FailingConnection:
    """Its first send of "two" fails; the session is gone after that, with one packet received and not yet given out."""

    made: list[FailingConnection]

    protocol = 2
    wants_write = False

    def __init__(self, address: Address, timeout: float, protocol: int, **_: object) -> None:
        self.address = address
        self.made.append(self)
        self.client_id = len(self.made)
        self.sent: list[bytes] = []
        self.held: list[bytes] = []
        self._ends = socket.socketpair()

    def fileno(self) -> int:
        return self._ends[0].fileno()

    def send(self, data: bytes) -> None:
        if data == b"two" and self.client_id == 1:
            self.held.append(b"held")
            raise ConnectionLost("the connection is lost: Connection reset by peer")
        self.sent.append(data)

    def recv(self, timeout: float) -> bytes:
        if self.held:
            return self.held.pop()
        raise TimeoutError

    def reconnect(self, timeout: float) -> None:
        raise SessionLost("the server does not resume client 1")

    def close(self, goodbye: bool = True, timeout: float = 0.0) -> None:
        for end in self._ends:
            end.close()


def test_nothing_is_lost_or_doubled_where_a_send_fails(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    FailingConnection.made = []
    monkeypatch.setattr(connect, "Connection", FailingConnection)
    monkeypatch.setattr(connect, "FIRST_WAIT", 0.001)
    reading, writing = os.pipe()
    os.write(writing, b"one\ntwo\nthree\n")
    os.close(writing)
    with open(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert connect.connect(parse_address("127.0.0.1:1"), 0.2, 2) == 0
    assert [connection.sent for connection in FailingConnection.made] == [[b"one"], [b"two", b"three"]]
    assert capfdbinary.readouterr().out == b"held\n"


def test_a_terminal_gets_text_without_control_characters(server: FakeServer, tmp_path: Path) -> None:
    terminal, end = pty.openpty()
    tty.setraw(end)
    command = [sys.executable, "-m", "voltlane", "connect", "--protocol", "2", server.address]
    environ = environment(PYTHONIOENCODING="utf-8")
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdin=end, stdout=end, stderr=subprocess.PIPE)
    os.close(end)
    peer = server.accept()
    peer.send("é\t\x1b[2J\r\x7f\x9b".encode() + b"\xff", b"second")
    shown = b""
    while not shown.endswith(b"second\n"):
        shown += os.read(terminal, 1000)
    assert shown.decode() == "é\t\\x1b[2J\\x0d\\x7f\\x9b\ufffd\nsecond\n"
    os.write(terminal, b"typed\n")
    assert peer.recv() == b"typed"
    os.close(terminal)  # which ends standard input
    peer.send(b"answer")
    _, err = process.communicate(timeout=30.0)
    assert b"as client 7; Ctrl-D ends\n" in err
    assert b"Traceback" not in err
    assert process.returncode == 0


class TestEnd:
    def test_ctrl_c(self, server: FakeServer, tmp_path: Path) -> None:
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            program.wait_err("connected")
            program.signal(signal.SIGINT)
            assert program.finish() == 130
        assert program.err.count("\n") == 1

    def test_a_name_that_is_not_found_has_nothing_to_do_with_a_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*given: object, **options: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(ConnectionLost, match=r"^cannot look up nowhere\.example: Name or service not known$"):
            connect.connect(parse_address("nowhere.example:42000"), wait=1.0)

    def test_no_server_to_begin_with(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Program("connect", "--protocol", "2", address, cwd=tmp_path) as program:
            assert program.finish() == 1
        assert program.err.startswith(f"voltlane: cannot connect to {address}: Connection refused; is a server running")
        assert program.err.count("\n") == 1

    def test_a_server_of_another_kind(self, server: FakeServer, tmp_path: Path) -> None:
        server.before["key"] = lambda sock: sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        with Program("connect", "--protocol", "2", server.address, cwd=tmp_path) as program:
            assert program.finish() == 1
        assert program.err.startswith(
            f"voltlane: what answers at {server.address} is no connection server: a frame of "
        )
        assert program.err.count("\n") == 1
