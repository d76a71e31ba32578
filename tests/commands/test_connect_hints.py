"""What `connect` says where it reaches somebody, and there is no handshake."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Callable

import pytest
from kit.sockets import end_hard
from kit.vectors import CERTIFICATES

from voltlane import cli

Said = pytest.CaptureFixture[str]
Deed = Callable[[socket.socket], object]


@contextlib.contextmanager
def doing(deed: Deed) -> Iterator[str]:
    """A server that does this with its one connection; its address."""

    def run() -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(OSError):
            deed(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30.0)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(30.0)


def show_a_certificate(sock: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    context.wrap_socket(sock, server_side=True).close()


def listen_and_leave(sock: socket.socket) -> None:
    assert sock.recv(4096)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(4096):
        pass


@pytest.mark.parametrize("protocol", ["2", "3"])
@pytest.mark.parametrize(
    ("scheme", "deed", "hint"),
    [
        ("tls://", show_a_certificate, "; --ca names the file of who has signed it, --server-name the name that it is"),
        ("tls://", end_hard, "; does it speak TLS there? It may limit connections, too"),
        ("", listen_and_leave, "; if it speaks TLS there, the address begins with tls://; or it limits connections"),
        ("", end_hard, "; if it speaks TLS there, the address begins with tls://; or it limits connections"),
        ("ws://", end_hard, "; if it speaks TLS there, the address begins with wss://; or it limits connections"),
    ],
)
def test_a_hint_at_what_is_likely(scheme: str, deed: Deed, hint: str, protocol: str, capsys: Said) -> None:
    with doing(deed) as address:
        assert cli.main(["connect", "--protocol", protocol, scheme + address]) == 1
    err = capsys.readouterr().err
    assert hint in err and "is a server running" not in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["tls://127.0.0.1:1", "--ca", "/nope.pem"], "--ca: /nope.pem cannot be used: No such file or directory"),
        (["127.0.0.1:1", "--ca", "x"], "--ca: that is for tls:// and wss://, and 127.0.0.1:1 is without"),
        (
            ["127.0.0.1:1", "--server-name", "x"],
            "--server-name: that is for tls:// and wss://, and 127.0.0.1:1 is with",
        ),
        (["tls://unix:/x"], "--server-name: tls://unix:/x does not say what the server's certificate has to be for"),
    ],
)
def test_flags_have_their_names(arguments: list[str], why: str, capsys: Said) -> None:
    assert cli.main(["connect", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"voltlane: {why}")
