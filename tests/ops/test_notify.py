"""Messages to a service manager, which here is a socket of the test's."""

from __future__ import annotations

import logging
import os
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from voltlane.ops.log import log
from voltlane.ops.notify import Notifier, notifier, watchdog_secs


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    if request.param == "abstract" and not sys.platform.startswith("linux"):
        pytest.skip("abstract socket names are Linux's")
    address = str(tmp_path / "notify") if request.param == "file" else f"@voltlane-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.setblocking(False)
        yield sock, address


def test_a_message_is_a_datagram_of_lines(manager: tuple[socket.socket, str]) -> None:
    sock, address = manager
    told = Notifier(address)
    assert told
    told.send("READY=1", "STATUS=ready")
    told.reloading()
    assert sock.recv(4096) == b"READY=1\nSTATUS=ready"
    first, second = sock.recv(4096).decode().splitlines()
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=") and second[15:].isdecimal()
    told.close()
    told.close()
    told.send("READY=1")
    with pytest.raises(BlockingIOError):
        sock.recv(4096)


def test_a_descriptor_to_be_kept(manager: tuple[socket.socket, str]) -> None:
    sock, address = manager
    told = Notifier(address)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told.keep("name", listening.fileno())
        told.forget("name")
        data, (descriptor,), _, _ = socket.recv_fds(sock, 4096, 2)
        with socket.socket(fileno=descriptor) as kept:
            assert data == b"FDSTORE=1\nFDNAME=name" and kept.getsockname() == listening.getsockname()
    assert sock.recv(4096) == b"FDSTOREREMOVE=1\nFDNAME=name"
    told.close()
    told.keep("name", 0)


def test_without_a_manager_nothing_is_sent() -> None:
    told = notifier({})
    assert not told
    told.send("READY=1")
    told.reloading()


def test_the_variable_is_taken_away(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": f"{tmp_path}/notify", "OTHER": "x"}
    told = notifier(environ)
    assert told and environ == {"OTHER": "x"}
    told.send("READY=1")  # nobody is there: no error
    told.close()


def test_a_manager_that_reads_nothing_is_not_waited_for(manager: tuple[socket.socket, str]) -> None:
    told = Notifier(manager[1])
    for _ in range(10_000):
        told.send("STATUS=" + "x" * 1000)
    told.close()


def test_an_address_of_another_kind_is_said_and_ignored(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.INFO, "voltlane")
    assert not Notifier("vsock:2:1234")
    assert caplog.messages == ["NOTIFY_SOCKET=vsock:2:1234 is no unix socket: the service manager is told nothing"]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0),
        ({"WATCHDOG_USEC": "3000000"}, 3),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "-3"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({"WATCHDOG_USEC": "\u0663\u0660\u0660"}, 0),
        ({"WATCHDOG_USEC": "9" * 400}, 0),
        ({"WATCHDOG_USEC": "9" * 5000}, 0),
    ],
)
def test_how_long_the_watchdog_waits(environ: dict[str, str], seconds: float) -> None:
    assert watchdog_secs(environ) == seconds
    assert environ == {}
