"""Several sockets on one port, and which of them a datagram comes to."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from voltlane.address import Address
from voltlane.errors import StartupError
from voltlane.net.udp import groups
from voltlane.net.udp.groups import socket_group
from voltlane.net.udp.sockets import udp_socket

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="that is for Linux only")


def udp(host: str = "127.0.0.1", port: int = 0) -> Address:
    return Address("tcp", host, port, "", "udp")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def made(stack: ExitStack, *how: object, count: int = 3, by_first_byte: bool = True) -> list[socket.socket]:
    group = socket_group(*(how or (udp(),))[:1], count, by_first_byte, *how[1:])  # type: ignore[arg-type]
    for sock in group:
        stack.callback(sock.close)
    return group


def came(sock: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(sock.recv(100))
        except BlockingIOError:
            return found


def sender(stack: ExitStack, family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    stack.callback(sock.close)
    return sock


def test_the_first_byte_says_which(stack: ExitStack):
    group = made(stack)
    (place,) = {sock.getsockname() for sock in group}
    for number in range(256):
        sender(stack).sendto(bytes([number]) + b"behind", place)
    sender(stack).sendto(b"", place)
    for index, sock in enumerate(group):
        expected = [bytes([number]) + b"behind" for number in range(index, 256, 3)]
        assert came(sock) == expected + [b""] * (index == 0)


def test_of_both_families(stack: ExitStack):
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no socket for both")
    group = made(stack, udp(""))
    port = group[0].getsockname()[1]
    for number in range(6):
        sender(stack).sendto(bytes([number]), ("127.0.0.1", port))
        sender(stack, socket.AF_INET6).sendto(bytes([number]), ("::1", port))
    assert [came(sock) for sock in group] == [
        [bytes([n]), bytes([n]), bytes([n + 3]), bytes([n + 3])] for n in range(3)
    ]


def test_without_that_a_sender_comes_to_the_same_one_each_time(stack: ExitStack):
    group = made(stack, by_first_byte=False)
    for number in range(30):
        sock = sender(stack)
        for again in range(3):
            sock.sendto(bytes([number, again]), group[0].getsockname())
    everything = [came(sock) for sock in group]
    assert sum(map(len, everything)) == 90
    for found in everything:
        heads = [datagram[0] for datagram in found]
        assert all(heads.count(head) == 3 for head in heads)


def test_one_that_is_bound_already_is_the_first(stack: ExitStack):
    first = udp_socket(udp())
    group = made(stack, udp(), first)
    assert group[0] is first and len(group) == 3
    again = made(stack, udp(), first, count=2)  # a parent that has been started again, with what was kept of it
    assert again[0] is first


def test_nobody_comes_into_it(stack: ExitStack):
    group = made(stack)
    with pytest.raises(StartupError, match="Address already in use"):
        socket_group(udp(port=group[0].getsockname()[1]), 2, True)


@pytest.mark.parametrize(
    ("option", "why"), [(0, "that is for Linux only"), (9999, "SO_ATTACH_REUSEPORT_CBPF is refused")]
)
def test_where_the_system_does_not_have_it(option: int, why: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(groups, "_ATTACH_CBPF", option)
    with pytest.raises(StartupError, match=r"set general\.workers = 1") as caught:
        socket_group(udp(), 2, True)
    assert caught.value.exit_code == 3 and why in str(caught.value)
