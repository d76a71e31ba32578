"""Sockets for datagrams: where they are bound, and what is said where they cannot be."""

from __future__ import annotations

import socket

import pytest
from kit.datagrams import bound, readable

from voltlane.address import Address
from voltlane.errors import StartupError
from voltlane.net.udp.sockets import BUFFER, udp_socket


def udp(host: str, port: int = 0) -> Address:
    return Address("tcp", host, port, "", "udp")


def test_every_interface():
    with udp_socket(udp("")) as sock, bound() as (client,):
        assert sock.gettimeout() == 0.0 and sock.type == socket.SOCK_DGRAM
        client.sendto(b"x", ("127.0.0.1", sock.getsockname()[1]))
        readable(sock)
        if socket.has_dualstack_ipv6():
            with bound("::1") as (other,):
                other.sendto(b"y", ("::1", sock.getsockname()[1]))
            assert [sock.recv(10), (readable(sock), sock.recv(10))[1]] == [b"x", b"y"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_one_of_them(host: str):
    with udp_socket(udp(host)) as sock, bound(sock.getsockname()[0]) as (client,):
        client.sendto(b"x", sock.getsockname())
        readable(sock)


def test_its_buffers_are_larger_than_usual():
    with udp_socket(udp("127.0.0.1")) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
        usual.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # as far as this system lets anybody
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            most = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            assert sock.getsockopt(socket.SOL_SOCKET, buffer) >= min(most, BUFFER)


def test_a_port_in_use():
    with (
        udp_socket(udp("127.0.0.1")) as sock,
        pytest.raises(StartupError, match=r"udp://127.0.0.1:[0-9]+: .*in use") as caught,
    ):
        udp_socket(udp("127.0.0.1", sock.getsockname()[1]))
    assert caught.value.exit_code == 3 and "ss -uanp" in caught.value.hint


def test_no_such_address_here():
    with pytest.raises(StartupError) as caught:
        udp_socket(udp("192.0.2.1", 4242))
    assert "no such address" in caught.value.hint
