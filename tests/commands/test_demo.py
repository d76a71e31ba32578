from __future__ import annotations

import os
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from kit.process import HAS_PROC
from kit.program import ROOT, Program
from kit.proxies import make_certificate
from kit.wait import wait_until

from voltlane.address import ENCRYPTED
from voltlane.client import Connection
from voltlane.commands import demo
from voltlane.wire.http1.conversation import AVAILABLE

needs_web = pytest.mark.skipif(not AVAILABLE, reason="the extra `web` is not installed")


def addresses(program: Program) -> tuple[str, str]:
    """Where clients connect, and where the backend listens, from what is printed."""
    program.wait_out(b"try it in a second terminal:  ")
    wait_until(lambda: program.out.count(b"browser:") == AVAILABLE and program.out.endswith(b"\n"), "the last line")
    return said(program, "clients connect to (.*)"), said(program, "the backend, an echo and a chat, is at (.*)")


def said(program: Program, pattern: str) -> str:
    """What the first line printed that fits has in its group."""
    found = re.search(f"^voltlane: {pattern}$", program.out.decode(), re.MULTILINE)
    assert found, program.out
    return found[1]


def is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5.0).close()
    except OSError:
        return False
    return True


def test_prints_what_to_type_and_that_works(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        clients, backend = addresses(program)
        assert is_listening(backend)
        assert said(program, "try it in a second terminal:  (.*)").endswith(f" -m voltlane connect {clients}")
        with Program("connect", clients, cwd=tmp_path) as user:
            user.type(b"one\n\ntwo")
            user.end_input()
            assert user.finish() == 0
        assert user.out == b"one\n\ntwo\n"
        program.signal(signal.SIGTERM)
        assert program.finish() == 0
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_both_quietly(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        clients, backend = addresses(program)
        with Connection(clients) as connection:
            connection.send(b"x")
            assert connection.recv(10.0) == b"x"
        program.signal(signal.SIGINT)
        assert program.finish() == 0
    assert "Traceback" not in program.err
    assert not is_listening(backend)


@pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")
def test_an_upgrade_is_refused_and_does_no_harm(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        clients, _ = addresses(program)
        pid = program.process.pid
        with Program("upgrade", "--pid", str(pid), cwd=tmp_path) as command:
            assert command.finish() == 1 and f"process {pid} hands nothing over" in command.err
        program.signal(signal.SIGUSR2)  # and nor does the signal alone
        with Connection(clients) as connection:
            connection.send(b"x")
            assert connection.recv(10.0) == b"x"
        program.signal(signal.SIGTERM)
        assert program.finish() == 0


def test_the_backend_dies_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        _, backend = addresses(program)
        assert is_listening(backend)
        program.signal(signal.SIGKILL)
        program.process.wait(10.0)
        wait_until(lambda: not is_listening(backend), "the backend ends")


def test_a_backend_that_dies_is_told_of_and_ends_it(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        clients, _ = addresses(program)
        with Connection(clients) as connection:
            connection.send(b"x")
            assert connection.recv(10.0) == b"x"
        own = program.process.pid
        (child,) = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert program.finish() == 1
    assert program.err.count("voltlane: the demo's backend has ended\n") == 1


def test_the_backend_ends_when_the_server_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Program("demo", "--listen", address, cwd=tmp_path) as program:
            assert program.finish() == 3  # which waits for the end of standard error, that the child has as well
    assert b"connect" not in program.out
    assert "Address already in use" in program.err


@pytest.mark.parametrize(
    ("listen", "shown"), [("*:0", "127.0.0.1:"), ("0.0.0.0:0", "127.0.0.1:"), ("unix:sock", "unix:sock")]
)
def test_what_to_type_can_be_connected_to(tmp_path: Path, listen: str, shown: str) -> None:
    with Program("demo", "--listen", listen, cwd=tmp_path) as program:
        addresses(program)
        target = said(program, "try it in a second terminal:  (.*)").rpartition(" ")[2]
        assert target.startswith(shown)
        program.signal(signal.SIGINT)
        assert program.finish() == 0


@needs_web
@pytest.mark.parametrize("lane", ["ws", "tls", "wss"])
def test_where_there_is_no_tcp_the_lane_that_there_is_can_be_tried(tmp_path: Path, lane: str) -> None:
    environ = {}
    if lane in ENCRYPTED:
        certificate, key = make_certificate(tmp_path)
        environ = {"VOLTLANE_TLS_CERTIFICATE": str(certificate), "VOLTLANE_TLS_KEY": str(key)}
    with Program("demo", "--listen", f"{lane}://127.0.0.1:0", cwd=tmp_path, environ=environ) as program:
        addresses(program)
        words = said(program, "try it in a second terminal:  (.*)").partition(" connect ")[2].split()
        assert words[0].startswith(f"{lane}://127.0.0.1:")
        with Program("connect", *words, cwd=tmp_path) as user:
            user.type(b"one\n")
            user.end_input()
            assert user.finish() == 0, user.err
        assert user.out == b"one\n"


def test_settings_come_from_the_file_and_the_environment_too(tmp_path: Path) -> None:
    (tmp_path / "connserver.toml").write_text("[general]\nlog_level = 'off'\n[master]\naddress = '127.0.0.1:1'\n")
    with Program("demo", cwd=tmp_path, environ={"VOLTLANE_LISTENER_ADDRESS": "127.0.0.1:0"}) as program:
        clients, _ = addresses(program)
        assert not clients.endswith(":42000")
        with Connection(clients) as connection:
            connection.send(b"x")
            assert connection.recv(10.0) == b"x"
        program.signal(signal.SIGINT)
        assert program.finish() == 0
    assert program.err == ""


# ---- the page


def page_of(program: Program) -> str:
    addresses(program)
    return said(program, "or in two windows of a browser:  (.*)")


def read(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10.0) as answer:
        return bytes(answer.read())


@needs_web
def test_a_page_is_served_beside_and_the_terminal_has_its_echo(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        url = page_of(program)
        assert b"<title>Voltlane chat</title>" in read(url) and b"connect = (" in read(url + "voltlane.js")
        clients, _ = addresses(program)
        with Connection(clients) as one, Connection(clients) as other:
            for connection in (one, other):
                connection.send(b"x")
                assert connection.recv(10.0) == b"x"
            one.send(b'{"chat":0,"ask":1}')
            assert (one.recv(10.0) or b"").startswith(b'{"room":') and one.recv(10.0) == b'{"here":1}'


@needs_web
def test_a_port_that_is_taken_is_no_reason_not_to_start(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as first:
        page_of(first)  # it has the port, or found it taken itself
        with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as second:
            url = page_of(second)
            assert f"port {demo._PAGE_AT.port} is taken, so the page gets another one" in second.out.decode()
            assert f":{demo._PAGE_AT.port}/" not in url and b"<title>" in read(url)


@needs_web
def test_a_listener_of_ws_that_there_is_serves_the_page(tmp_path: Path) -> None:
    environ = {"VOLTLANE_LISTENER_ADDRESS": "ws://*:0, 127.0.0.1:0"}
    with Program("demo", cwd=tmp_path, environ=environ) as program:
        url = page_of(program)
        assert program.out.count(b"clients connect to") == 2
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url) and b"<title>" in read(url)


def test_where_the_extra_is_missing_there_is_no_page_and_all_else_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "h11.py").write_text("raise ImportError")
    (tmp_path / "here").mkdir()
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path / "here", environ=environ) as program:
        program.wait_out(b"try it in a second terminal:  ")
        why = said(program, "without the page for browsers: (.*)")
        assert "pip install h11" in why and b"browser:" not in program.out
        with Connection(said(program, "clients connect to (.*)")) as connection:
            connection.send(b"x")
            assert connection.recv(10.0) == b"x"
