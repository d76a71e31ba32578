"""The forms of the loops for datagrams, sockets to try them with, and another end of a channel, by PyNaCl alone."""

from __future__ import annotations

import contextlib
import importlib
import select
import socket
import struct
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import pytest
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_decrypt as decrypt,
)
from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_encrypt as encrypt,
)

from voltlane.net.udp import plain
from voltlane.wire.datagram import DatagramKeys

ID_IN, ID_OUT, KEY_IN, KEY_OUT = b"to-serve", b"to-clien", b"\x01" * 32, b"\x02" * 32
KEYS = DatagramKeys(ID_IN, KEY_IN, ID_OUT, KEY_OUT)
DATA, PING, PONG, CHALLENGE, RESPONSE = range(5)
PATIENCE = 5.0


def datagram_forms() -> list[ModuleType]:
    """Every form that this interpreter has."""
    try:
        return [plain, importlib.import_module("voltlane.net.udp.native")]
    except ImportError:
        return [plain]


every_datagram_form = pytest.mark.parametrize(
    "form", datagram_forms(), ids=lambda form: form.__name__.rpartition(".")[2]
)


@contextlib.contextmanager
def bound(host: str = "127.0.0.1", count: int = 1) -> Iterator[list[socket.socket]]:
    """Non-blocking sockets for datagrams, each at a port of its own."""
    with contextlib.ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(
                socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            )
            sock.bind((host, 0))
            sock.setblocking(False)
            socks.append(sock)
        yield socks


def readable(sock: socket.socket) -> None:
    """Wait until something has come."""
    assert select.select([sock], [], [], PATIENCE)[0], "nothing came"


def send_at_once(sock: socket.socket, whole: bytes, size: int, where: object) -> None:
    """All of that in one system call, as datagrams of so many bytes; skips where the kernel does not take it apart."""
    sizes = [(socket.IPPROTO_UDP, 103, struct.pack("=H", size))]
    try:
        sock.sendmsg([whole], sizes, 0, where)
    except OSError as error:
        pytest.skip(f"needs UDP_SEGMENT: {error}")


def take(sock: socket.socket, count: int) -> list[bytes]:
    """So many datagrams, and no more is there then."""
    found = []
    for _ in range(count):
        readable(sock)
        found.append(sock.recv(65536))
    assert not select.select([sock], [], [], 0)[0], "more came"
    return found


class Inside(NamedTuple):
    """What was in a sealed datagram."""

    number: int
    kind: int
    time: int
    echo: int
    body: bytes


def sealed(
    number: int,
    body: bytes = b"",
    kind: int = DATA,
    time: int = 0,
    echo: int = 0,
    id: bytes = ID_IN,
    key: bytes = KEY_IN,
) -> bytes:
    """What a client sends."""
    head = id + struct.pack("<Q", number)
    return head + encrypt(struct.pack("<BHH", kind, time, echo) + body, head, bytes(4) + head[8:], key)


def opened(datagram: bytes, id: bytes = ID_OUT, key: bytes = KEY_OUT) -> Inside:
    """What a client gets; raises where it is not sealed for it."""
    head = datagram[:16]
    assert head[:8] == id
    plaintext = decrypt(datagram[16:], head, bytes(4) + head[8:], key)
    return Inside(struct.unpack("<Q", head[8:])[0], *struct.unpack_from("<BHH", plaintext), plaintext[5:])
