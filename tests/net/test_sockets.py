"""Addresses ↔ sockets: listening on every kind, abandoned and busy files, and closing so that everything arrives."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from kit.handlers import tcp_pair

from voltlane.address import Address, parse_address
from voltlane.errors import StartupError
from voltlane.net.sockets import (
    EXIT_CANNOT_LISTEN,
    SocketOptions,
    accept,
    close_gently,
    half_close,
    listening_socket,
    local_address,
    resolve,
    set_keepalive,
    set_low_delay,
    socket_file,
)

TCP_NOTSENT_LOWAT = 25
"""Linux's, where Python has no name for it."""
IPV6 = socket.has_dualstack_ipv6()


def connect(address: Address) -> None:
    """Somebody can, and is accepted."""
    family, where = resolve(address)[0]
    with socket.socket(family) as client:
        client.settimeout(5.0)
        client.connect(where)


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:0",
        "localhost:0",
        pytest.param("[::1]:0", marks=pytest.mark.skipif(not IPV6, reason="needs IPv6")),
    ],
)
def test_listening_on_tcp(text: str):
    with listening_socket(parse_address(text)) as sock:
        assert sock.gettimeout() == 0.0
        address = local_address(sock)
        assert address.kind == "tcp" and address.port
        connect(address)


def test_listening_on_every_interface():
    with listening_socket(parse_address("*:0")) as sock:
        port = local_address(sock).port
        connect(Address("tcp", "127.0.0.1", port, ""))
        if IPV6:
            connect(Address("tcp", "::1", port, ""))


def test_a_port_in_use():
    with listening_socket(parse_address("127.0.0.1:0")) as sock, pytest.raises(StartupError, match="in use") as caught:
        listening_socket(local_address(sock))
    assert caught.value.exit_code == EXIT_CANNOT_LISTEN == 3


def test_a_unix_socket_and_its_file(tmp_path: Path):
    address = parse_address(f"unix:{tmp_path / 'listen'}")
    with listening_socket(address) as sock:
        assert local_address(sock) == address
        connect(address)
        with pytest.raises(StartupError, match="in use"):
            listening_socket(address)
        connect(address)
    # Its process is gone, its file is still there.
    with listening_socket(address) as sock:
        file = socket_file(sock)
        assert file is not None and file.path == address.path
        connect(address)
        file.remove()
        file.remove()
        assert not Path(address.path).exists()


@pytest.mark.parametrize("what", ["a successor's socket", "a file", "a directory", "a link to it"])
def test_a_file_that_has_got_the_name_is_left_alone(tmp_path: Path, what: str):
    path = tmp_path / "listen"
    with listening_socket(parse_address(f"unix:{path}")) as sock, socket.socket(socket.AF_UNIX) as successor:
        file = socket_file(sock)
        if what == "a link to it":
            path.rename(tmp_path / "moved")
            path.symlink_to(tmp_path / "moved")
        else:
            path.unlink()
        if what == "a successor's socket":
            successor.bind(str(path))
        elif what == "a file":
            path.write_text("data")
        elif what == "a directory":
            path.mkdir()
        assert file is not None
        file.remove()
        assert os.path.lexists(path)


def test_a_socket_that_cannot_be_made_ready_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(StartupError, match="Operation not permitted"):
        listening_socket(parse_address(f"unix:{tmp_path}/listen"), 0o600)
    assert list(tmp_path.iterdir()) == []


def test_there_is_no_file_for_tcp_and_for_abstract_names():
    with listening_socket(parse_address("127.0.0.1:0")) as sock:
        assert socket_file(sock) is None
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(b"\0voltlane test %d" % os.getpid())
        assert socket_file(sock) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"voltlane %d", "@voltlane %d"), (b"a\0b %d", "@a@b %d"), (b"\xff %d", "@\\xff %d"), ("é %d".encode(), "@é %d")],
)
def test_an_abstract_name_is_shown_as_everybody_does(name: bytes, shown: str):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(b"\0" + name % os.getpid())
        assert str(local_address(sock)) == f"unix:{shown % os.getpid()}"


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartupError, match="precious"):
        listening_socket(parse_address(f"unix:{path}"))
    assert path.read_text() == "data"


def test_the_hint_is_for_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Only what is in use may be running already."""
    file = tmp_path / "file"
    file.write_text("")

    def hint(text: str) -> str:
        with pytest.raises(StartupError) as caught:
            listening_socket(parse_address(text))
        return caught.value.hint

    with listening_socket(parse_address("127.0.0.1:0")) as sock:
        assert "running already" in hint(str(local_address(sock)))
    with listening_socket(parse_address(f"unix:{tmp_path}/socket")):
        assert "running already" in hint(f"unix:{tmp_path}/socket")
    assert "no such address" in hint("192.0.2.1:1")
    assert "is no socket" in hint(f"unix:{file}")
    assert "no directory" in hint(f"unix:{file}/socket")
    assert "has to be there" in hint(f"unix:{tmp_path}/none/socket")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("voltlane.net.sockets._listen", refuse)
    assert "CAP_NET_BIND_SERVICE" in hint("127.0.0.1:80")
    assert "in that directory" in hint(f"unix:{tmp_path}/other")


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example", "bücher..example"])
def test_a_name_that_cannot_be_one_is_an_error_like_every_other(host: str):
    """Python says UnicodeError; who dials again and again must not fall over it."""
    with pytest.raises(OSError, match="no host name"):
        resolve(Address("tcp", host, 80, ""))
    with pytest.raises(StartupError, match="no host name"):
        listening_socket(Address("tcp", host, 80, ""))


def test_options_of_connections():
    ours, theirs = tcp_pair()
    with ours, theirs:
        set_low_delay(ours)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        set_keepalive(ours, 0)
        assert not ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        for seconds in (1, 60, 32767):
            set_keepalive(ours, seconds)
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def option(sock: socket.socket, level: str, name: str) -> int:
    return sock.getsockopt(getattr(socket, level), getattr(socket, name))


def test_accepted_connections_have_the_options_of_the_listening_socket():
    address = parse_address("127.0.0.1:0")
    wanted = SocketOptions(True, ttl=33, linger_secs=7, receive_buffer=30_000, send_buffer=40_000, unsent_bytes=50_000)
    with listening_socket(address) as listening:
        wanted.apply(listening)
        set_keepalive(listening, 15, 30)
        with socket.create_connection(listening.getsockname()):
            listening.settimeout(5)
            accepted, _ = listening.accept()
            with accepted:
                assert option(accepted, "IPPROTO_TCP", "TCP_NODELAY")
                assert option(accepted, "IPPROTO_IP", "IP_TTL") == 33
                assert option(accepted, "IPPROTO_TCP", "TCP_LINGER2") == 7
                assert option(accepted, "SOL_SOCKET", "SO_RCVBUF") == 60_000  # the kernel doubles them
                assert option(accepted, "SOL_SOCKET", "SO_SNDBUF") == 80_000
                assert accepted.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 50_000
                assert option(accepted, "SOL_SOCKET", "SO_KEEPALIVE")
                assert option(accepted, "IPPROTO_TCP", "TCP_KEEPIDLE") == 15
                assert option(accepted, "IPPROTO_TCP", "TCP_USER_TIMEOUT") == 30_000


def test_a_system_that_cannot_bound_what_is_unsent_does_without(monkeypatch: pytest.MonkeyPatch):
    ours, theirs = tcp_pair()
    with ours, theirs:
        for number in (None, 999):
            monkeypatch.setattr("voltlane.net.sockets._UNSENT_LOWAT", number)
            SocketOptions(unsent_bytes=5000).apply(ours)


def test_accepted_connections_have_the_family_of_the_listening_socket(tmp_path: Path):
    with listening_socket(parse_address(f"unix:{tmp_path}/s")) as listening, socket.socket(socket.AF_UNIX) as client:
        client.connect(listening.getsockname())
        accepted, _ = accept(listening, listening.family)
        with accepted:
            assert (accepted.family, accepted.type) == (socket.AF_UNIX, socket.SOCK_STREAM)


def test_the_time_to_live_is_for_both_families():
    with listening_socket(parse_address("[::1]:0")) as sock:
        SocketOptions(ttl=9).apply(sock)
        assert option(sock, "IPPROTO_IPV6", "IPV6_UNICAST_HOPS") == 9


def test_no_lingering_resets_the_connection():
    ours, theirs = tcp_pair()
    with theirs:
        SocketOptions(linger_secs=0).apply(ours)
        ours.close()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


def test_what_is_not_set_stays_the_systems():
    ours, theirs = tcp_pair()
    with ours, theirs:
        SocketOptions(nodelay=False).apply(ours)
        set_keepalive(ours, 0, 0)
        for level, name in [
            ("IPPROTO_TCP", "TCP_NODELAY"),
            ("IPPROTO_IP", "IP_TTL"),
            ("IPPROTO_TCP", "TCP_LINGER2"),
            ("IPPROTO_TCP", "TCP_USER_TIMEOUT"),
            ("SOL_SOCKET", "SO_LINGER"),
            ("SOL_SOCKET", "SO_KEEPALIVE"),
        ]:
            assert option(ours, level, name) == option(theirs, level, name), name


def test_options_are_for_tcp(tmp_path: Path):
    with listening_socket(parse_address(f"unix:{tmp_path / 'listen'}")) as sock:
        set_low_delay(sock)
        set_keepalive(sock, 60, 30)
        SocketOptions(ttl=3, linger_secs=0, receive_buffer=5000, send_buffer=5000, unsent_bytes=5000).apply(sock)


def test_closing_gently_lets_everything_arrive():
    """Closed with bytes unread, a connection is reset, and the reset overtakes what was sent."""
    ours, theirs = tcp_pair()
    with theirs:
        theirs.send(b"unread" * 1000)
        ours.send(b"last words")
        close_gently(ours)
        assert ours.fileno() == -1
        received = b""
        while data := theirs.recv(100):
            received += data
        assert received == b"last words"


def test_half_closing_what_is_gone_does_nothing():
    ours, theirs = tcp_pair()
    theirs.close()
    half_close(ours)
    half_close(ours)
    ours.close()
    half_close(ours)
