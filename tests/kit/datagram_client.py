"""A client's datagrams, written from SPEC 22 to 26 alone: with PyNaCl, hmac and struct, and nothing of the package.

offer = Offer.of(body)                                       # of the record that answers an ask
sealed = Sealed(secret, client_seed, offer.seed)
sock.sendto(sealed.data(b"here"), (host, offer.port))
kind, body = sealed.open(sock.recv(2048))
"""

from __future__ import annotations

import hmac
import socket
import struct
from typing import NamedTuple

from nacl.bindings import crypto_aead_chacha20poly1305_ietf_decrypt as decrypt
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt as encrypt

ASK, DATAGRAMS = 19, 21
DATA, PING, PONG, CHALLENGE, RESPONSE = range(5)


class Offer(NamedTuple):
    """What the server says of datagrams."""

    port: int
    mtu: int
    keepalive: int
    seed: bytes
    host: str

    @classmethod
    def of(cls, body: bytes) -> Offer:
        port, mtu, keepalive = struct.unpack_from("<HHH", body)
        size = body[38]
        return cls(port, mtu, keepalive, body[6:38], body[39 : 39 + size].decode())


def _hmac(key: bytes, words: bytes) -> bytes:
    return hmac.new(key, words, "sha256").digest()


class Got(NamedTuple):
    """One that has opened."""

    number: int
    kind: int
    time: int
    echo: int
    body: bytes


class Sealed:
    """Both directions. `roles`: of this side and the other."""

    def __init__(
        self, secret: bytes, client_seed: bytes, server_seed: bytes, roles: tuple[str, str] = ("client", "server")
    ) -> None:
        root = _hmac(secret, b"VOLTLANE 3 datagrams" + client_seed + server_seed)
        ours, theirs = [role.encode() for role in roles]
        self.key_out, self.id_out = _hmac(root, b"key " + ours), _hmac(root, b"id " + ours)[:8]
        self.key_in, self.id_in = _hmac(root, b"key " + theirs), _hmac(root, b"id " + theirs)[:8]
        self.number = 0

    def datagram(
        self, kind: int, body: bytes = b"", *, number: int | None = None, time: int = 7, echo: int = 0
    ) -> bytes:
        if number is None:
            number, self.number = self.number, self.number + 1
        head = self.id_out + number.to_bytes(8, "little")
        plain = struct.pack("<BHH", kind, time, echo) + body
        return head + encrypt(plain, head, bytes(4) + head[8:], self.key_out)

    def data(self, body: bytes) -> bytes:
        return self.datagram(DATA, body)

    def open(self, datagram: bytes) -> Got:
        head = datagram[:16]
        assert head[:8] == self.id_in, "for somebody else"
        plain = decrypt(datagram[16:], head, bytes(4) + head[8:], self.key_in)
        return Got(int.from_bytes(head[8:], "little"), *struct.unpack_from("<BHH", plain), plain[5:])


class Wire:
    """A client's socket, and what comes there; by itself it answers challenges."""

    def __init__(self, sealed: Sealed, server: tuple[str, int], source: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.sealed = sealed
        self.server = server
        self.answers = True
        self.got: list[bytes] = []
        """Bodies of data."""
        self.heard: list[Got] = []
        self.received = self.sent = 0
        """Bytes."""
        self.socks: list[socket.socket] = []
        """That of now is the last."""
        self.move(source)

    def move(self, source: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        """From now on at another address."""
        self.sock = socket.socket(socket.AF_INET6 if ":" in source[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(source)
        self.sock.setblocking(False)
        self.socks.append(self.sock)

    def close(self) -> None:
        for sock in self.socks:
            sock.close()

    def raw(self, datagram: bytes) -> None:
        self.sent += len(datagram)
        self.sock.sendto(datagram, self.server)

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self.raw(self.sealed.data(body))

    def ping(self) -> None:
        self.raw(self.sealed.datagram(PING))

    def pump(self) -> int:
        """Take what is there. How many."""
        count = 0
        while True:
            try:
                datagram = self.sock.recv(1 << 16)
            except BlockingIOError:
                return count
            count += 1
            self.received += len(datagram)
            got = self.sealed.open(datagram)
            self.heard.append(got)
            if got.kind == DATA:
                self.got.append(got.body)
            elif got.kind == CHALLENGE and self.answers:
                self.raw(self.sealed.datagram(RESPONSE, got.body))
            elif got.kind == PING:
                self.raw(self.sealed.datagram(PONG))
