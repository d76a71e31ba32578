from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest
from kit.program import Program
from kit.wait import wait_until

from voltlane.client import Connection


def addresses(program: Program) -> tuple[str, str]:
    """Where clients connect, and where the echo backend listens, from what is printed."""
    wait_until(lambda: program.out.count(b"\n") == 3, f"three lines of {program.out!r}")
    clients, backend, _ = program.out.decode().splitlines()
    return clients.rpartition(" ")[2], backend.rpartition(" ")[2]


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
        first, second, third = program.out.decode().splitlines()
        assert first == f"voltlane: clients connect to {clients}"
        assert second == f"voltlane: echo backend at {backend}"
        assert third.startswith("voltlane: try it in a second terminal:  ")
        assert third.endswith(f" -m voltlane connect {clients}")
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


def test_the_backend_dies_with_a_server_that_is_killed(tmp_path: Path) -> None:
    with Program("demo", "--listen", "127.0.0.1:0", cwd=tmp_path) as program:
        _, backend = addresses(program)
        assert is_listening(backend)
        program.signal(signal.SIGKILL)
        program.process.wait(10.0)
        wait_until(lambda: not is_listening(backend), "the echo backend ends")


def test_the_backend_ends_when_the_server_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Program("demo", "--listen", address, cwd=tmp_path) as program:
            assert program.finish() == 3  # which waits for the end of standard error, that the child has as well
    assert program.out == b""
    assert "Address already in use" in program.err


@pytest.mark.parametrize(
    ("listen", "shown"), [("*:0", "127.0.0.1:"), ("0.0.0.0:0", "127.0.0.1:"), ("unix:sock", "unix:sock")]
)
def test_what_to_type_can_be_connected_to(tmp_path: Path, listen: str, shown: str) -> None:
    with Program("demo", "--listen", listen, cwd=tmp_path) as program:
        addresses(program)
        target = program.out.decode().splitlines()[2].rpartition(" ")[2]
        assert target.startswith(shown)
        program.signal(signal.SIGINT)
        assert program.finish() == 0


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
