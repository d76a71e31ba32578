"""`voltlane connect` with version 3, which is the default."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fake_server_v3 import FakeServerV3
from kit.program import Program
from kit.wait import wait_until

from voltlane.wire.noise import KeyPair
from voltlane.wire.v3 import Code


@pytest.fixture
def server() -> Iterator[FakeServerV3]:
    with FakeServerV3() as server:
        yield server


def said(server: FakeServerV3) -> int:
    wait_until(lambda: server.links[-1][0].close, "the client's close")
    close = server.links[-1][0].close
    assert close is not None
    return close.code


def test_lines_become_packets_and_packets_lines(server: FakeServerV3, tmp_path: Path) -> None:
    with Program("connect", server.address, cwd=tmp_path) as program:
        program.type(b"hello\n\nlast")
        program.wait_err("as client 7\n")
        server.wait_for(b"")
        server.push(b"world", b"")
        program.wait_out(b"world\n\n")
        wait_until(lambda: server.session.acked == 2, "the ack")
        program.end_input()
        server.wait_for(b"last")
        server.push(b"third")
        assert program.finish() == 0
    assert server.passed == [b"hello", b"", b"last"]
    assert said(server) == Code.LEFT
    key = server.model.key.public.hex()
    assert f"voltlane: the server's key, not known so far, is {key} (--server-key)\n" in program.err


def test_much_of_it_comes_back(server: FakeServerV3, tmp_path: Path) -> None:
    server.echoes = True
    lines = b"".join(b"%d %s\n" % (number, b"x" * 1000) for number in range(3000))
    with Program("connect", "--wait", "60", server.address, cwd=tmp_path) as program:
        program.type(lines)
        program.end_input()
        assert program.finish(60.0) == 0
    assert program.out == lines


def test_the_key_that_is_expected(server: FakeServerV3, tmp_path: Path) -> None:
    key = server.model.key.public.hex()
    with Program("connect", "--server-key", key, server.address, cwd=tmp_path) as program:
        program.wait_err("connected to")
        program.end_input()
        assert program.finish() == 0
    assert "not known" not in program.err


@pytest.mark.parametrize(
    "key, code, message",
    [
        (KeyPair(b"x" * 32).public.hex(), 1, "the server's key is"),
        ("ab" * 33, 2, "33 bytes were given"),
        ("xy", 2, "no key in hexadecimal digits"),
    ],
)
def test_another_key(server: FakeServerV3, tmp_path: Path, key: str, code: int, message: str) -> None:
    with Program("connect", "--server-key", key, server.address, cwd=tmp_path) as program:
        assert program.finish() == code
    assert message in program.err and "Traceback" not in program.err


def test_is_resumed_and_says_what_was_lost(server: FakeServerV3, tmp_path: Path) -> None:
    with Program("connect", server.address, cwd=tmp_path) as program:
        program.wait_err("as client 7\n")
        server.passes_on = False
        program.type(b"in doubt\n")
        wait_until(lambda: server.session.taken, "the packet")
        server.cut()
        server.do(server.model.crash)
        program.wait_err("reconnecting\nvoltlane: resumed as client 7\n")
        program.wait_err("whether packets 1 to 1 were passed on is not known")
        program.wait_err("will not come: the server has lost its memory")
        server.passes_on = True
        program.type(b"after\n")
        server.wait_for(b"after")


def test_a_new_session_where_the_old_one_is_not_known(server: FakeServerV3, tmp_path: Path) -> None:
    with Program("connect", server.address, cwd=tmp_path) as program:
        program.wait_err("as client 7\n")
        server.cut()
        server.do(lambda: server.model.sessions.update({99: server.model.sessions.pop(7)}))
        program.wait_err("the session is gone: new session as client 8")
        program.type(b"x\n")
        wait_until(lambda: server.model.sessions[8].passed == [b"x"], "the packet")


def test_a_kick_is_the_end(server: FakeServerV3, tmp_path: Path) -> None:
    with Program("connect", server.address, cwd=tmp_path) as program:
        program.wait_err("as client 7\n")
        server.end(Code.KICKED, "enough")
        assert program.finish() == 1
    assert "the session is over: enough (code 3506)" in program.err


def test_another_key_at_a_reconnect_is_the_end(server: FakeServerV3, tmp_path: Path) -> None:
    with Program("connect", server.address, cwd=tmp_path) as program:
        program.wait_err("as client 7\n")
        server.model.key = KeyPair()
        server.cut()
        assert program.finish() == 1
    assert "the server's key is" in program.err and len(server.model.opens) == 1


def test_what_did_not_arrive_at_the_end_is_said(server: FakeServerV3, tmp_path: Path) -> None:
    server.passes_on = False
    with Program("connect", "--wait", "0.1", server.address, cwd=tmp_path) as program:
        program.type(b"x\n")
        program.end_input()
        assert program.finish() == 1
    assert "what was sent last may not have arrived: 1 packets are not known to be safe" in program.err


def test_ctrl_c(server: FakeServerV3, tmp_path: Path) -> None:
    with Program("connect", server.address, cwd=tmp_path) as program:
        program.wait_err("not known so far")
        program.signal(signal.SIGINT)
        assert program.finish() == 130
    assert said(server) == Code.LEFT
