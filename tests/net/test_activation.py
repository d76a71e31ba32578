"""Sockets that somebody else opened: which are taken, and which are refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from voltlane.errors import StartupError
from voltlane.net.activation import inherited_sockets, name_of


@pytest.fixture
def passed() -> Iterator[tuple[socket.socket, int]]:
    """A listening socket, and the number of a descriptor of it that is nobody's yet."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = os.dup(sock.fileno())
        os.set_inheritable(number, True)
        yield sock, number
        try:
            os.close(number)
        except OSError:
            pass


def environment(count: int, pid: int | None = None) -> dict[str, str]:
    return {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "x", "OTHER": "y"}


def test_a_listening_socket_is_taken(passed: tuple[socket.socket, int]) -> None:
    listening, number = passed
    environ = environment(1)
    ((scheme, sock),), _ = inherited_sockets(environ, number)
    assert scheme == "tcp"
    assert environ == {"OTHER": "y"}
    assert sock.fileno() == number and sock.getsockname() == listening.getsockname()
    assert not sock.getblocking() and not sock.get_inheritable()
    sock.close()


@pytest.mark.parametrize("environ", [{}, environment(0), environment(1, pid=1), {"LISTEN_PID": "x", "LISTEN_FDS": "1"}])
def test_nothing_for_us(environ: dict[str, str]) -> None:
    environ = dict(environ)
    assert inherited_sockets(environ) == ([], {})
    assert set(environ) <= {"OTHER"}


@pytest.mark.parametrize("count", ["many", "\u0661", "\u00b2", "1_0", "+1", " 1", "-1", "9" * 5000])
def test_a_number_that_is_none(passed: tuple[socket.socket, int], count: str) -> None:
    assert inherited_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count}, passed[1]) == ([], {})


def test_more_than_there_are(passed: tuple[socket.socket, int]) -> None:
    with pytest.raises(StartupError, match="cannot listen on descriptor"):
        inherited_sockets(environment(10**15), passed[1])


@pytest.mark.parametrize(("names", "scheme"), [("tcp", "tcp"), ("other:tcp", "tcp"), ("", "tcp"), ("toy", "toy")])
def test_a_name_may_say_the_lane(
    passed: tuple[socket.socket, int], monkeypatch: pytest.MonkeyPatch, names: str, scheme: str
) -> None:
    monkeypatch.setattr("voltlane.net.activation.SCHEMES", ["tcp", "toy"])
    ((found, sock),), _ = inherited_sockets({**environment(1), "LISTEN_FDNAMES": names}, passed[1])
    assert found == scheme
    sock.close()


NAMED_UDP = {**environment(1), "LISTEN_FDNAMES": "udp"}


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_one_for_datagrams_is_taken_where_it_is_named_so(family: int) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        ((scheme, sock),), _ = inherited_sockets(dict(NAMED_UDP), os.dup(bound.fileno()))
        assert scheme == "udp" and sock.getsockname() == bound.getsockname()
        assert not sock.getblocking() and not sock.get_inheritable()
        sock.close()
        ((address, sock),) = inherited_sockets(
            {**NAMED_UDP, "LISTEN_FDNAMES": name_of("udp://*:1")}, os.dup(bound.fileno())
        ).kept.items()
        assert address == "udp://*:1" and sock.getsockname() == bound.getsockname()
        sock.close()
        for text in ("other", name_of("*:1")):
            number = os.dup(bound.fileno())
            try:
                assert inherited_sockets({**NAMED_UDP, "LISTEN_FDNAMES": text}, number) == ([], {}), text
            except StartupError as error:
                assert text == "other" and str(error).endswith("but for datagrams, and those are to be named udp")
                os.close(number)


@pytest.mark.parametrize(
    ("family", "kind", "why"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "and no socket for datagrams over IP"),
        (socket.AF_UNIX, socket.SOCK_DGRAM, "and no socket for datagrams over IP"),
        (socket.AF_INET, socket.SOCK_DGRAM, "and bound to no port"),
    ],
)
def test_one_that_is_for_no_datagrams_is_refused(family: int, kind: int, why: str) -> None:
    with socket.socket(family, kind) as sock:
        number = os.dup(sock.fileno())
        with pytest.raises(StartupError, match=f"it is named udp, {why}"):
            inherited_sockets(dict(NAMED_UDP), number)
        os.close(number)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:42000", "wss://[::1]:443", "*:1", "unix:/run/a b%3A\u00e4/clients", "host.name:5"]
)
def test_one_that_an_earlier_process_has_had_kept(passed: tuple[socket.socket, int], address: str) -> None:
    name = name_of(address)
    assert name.isascii() and name.isprintable() and ":" not in name
    opened, kept = inherited_sockets({**environment(1), "LISTEN_FDNAMES": name}, passed[1])
    assert opened == [] and list(kept) == [address]
    kept[address].close()


def test_a_path_that_is_too_long_for_a_name_has_none() -> None:
    assert name_of(f"unix:/{'a' * 100}") and not name_of("unix:/" + "\u00e4" * 50)


def test_what_was_kept_and_is_no_socket_that_listens_is_closed() -> None:
    with socket.socket() as sock:
        number = os.dup(sock.fileno())
        assert inherited_sockets({**environment(1), "LISTEN_FDNAMES": name_of("*:1")}, number) == ([], {})
        with pytest.raises(OSError):
            os.fstat(number)


@pytest.mark.parametrize("kind", ["datagrams", "not listening", "file", "closed"])
def test_anything_else_is_refused(kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if kind == "datagrams" else socket.SOCK_STREAM) as sock:
        number = os.open(os.devnull, os.O_RDONLY) if kind == "file" else os.dup(sock.fileno())
        if kind == "closed":
            os.close(number)
        with pytest.raises(StartupError) as caught:
            inherited_sockets(environment(1), number)
        assert caught.value.exit_code == 3
        assert str(caught.value).startswith(f"cannot listen on descriptor {number}, which was passed: ")
        if kind != "closed":
            os.close(number)
