"""Good clients that send datagrams: sealed ones beside a connection of version 3, or plain ones to the relay.

Each sends a numbered one at its pace. What does not come back is lost, which datagrams may be: it is counted. What
comes back twice, or was never sent, is a fault.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Any

from bench.records import RETAINED, WINDOW, Greeting
from bench.wires import Fault
from voltlane.wire import datagram as wire
from voltlane.wire import v3
from voltlane.wire.datagram import Kind

from .good import CONNECT_SECS, SOURCES, Population
from .lanes import Lane

_BODY = struct.Struct("<Qd16x")
_HELLO = b"hello, relay"
AGAIN_SECS = 0.1
CAUGHT = 8
"""Datagrams of each sealed client that the attackers are given, as if they had been listening."""


def source_of(number: int) -> tuple[str, int]:
    """Where the good client of that number comes from."""
    return f"127.0.3.{1 + number % SOURCES}", 0


class PlainClient:
    """One of the relay's: nothing but an address."""

    id = 0

    def __init__(self, stream: int, place: tuple[str, int], number: int) -> None:
        """`stream`: the port for connections, if there is one."""
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(source_of(number))
        self.sock.connect(place)
        self.sent = self.returned = 0
        self.caught: list[bytes] = []
        """What others may have heard of it, and have no right to."""
        self._missing: set[int] = set()
        self.enter(stream, number)
        self.sock.setblocking(False)

    def enter(self, stream: int, number: int) -> None:
        """Become a client. Raises Fault, OSError."""
        self.sock.settimeout(AGAIN_SECS)
        words = _HELLO
        for _ in range(int(CONNECT_SECS / AGAIN_SECS)):  # there may be no master yet
            self.sock.send(words)
            try:
                answer = self.sock.recv(2048)
            except socket.timeout:
                continue
            if answer == _HELLO:
                return
            words = answer + _HELLO  # a cookie
        raise Fault("a good client was not let in")

    def send(self) -> None:
        """The next number."""
        self._missing.add(self.sent)
        try:
            self.sock.send(self.seal(_BODY.pack(self.sent, time.perf_counter())))
        except OSError as error:
            raise Fault(f"a good client cannot send: {error}") from None
        self.sent += 1

    def receive(self, trips: list[float]) -> None:
        """What came back. Raises Fault when it is not what may come."""
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                raise Fault(f"a good client was lost: {error}") from None
            body = self.open(data)
            if body is None:
                continue
            number, sent_at = _BODY.unpack(body)
            if number not in self._missing:
                raise Fault(f"datagram {number} came back twice, or was never sent")
            self._missing.discard(number)
            self.returned += 1
            trips.append(time.perf_counter() - sent_at)

    def give_up(self) -> None:
        """Wait no longer for what has not come back."""
        self._missing.clear()
        self.returned = self.sent

    def seal(self, body: bytes) -> bytes:
        """What to send for that."""
        return body

    def open(self, data: bytes) -> bytes | None:
        """What is in it; None where that is nothing for the application."""
        return None if data == _HELLO else data

    def close(self) -> None:
        """Leave."""
        self.sock.close()


class SealedClient(PlainClient):
    """One with a session of version 3."""

    def enter(self, stream: int, number: int) -> None:
        """See PlainClient: the handshake, the ask, and an answer to the challenge."""
        self._stream = socket.create_connection(("127.0.0.1", stream), CONNECT_SECS, source_of(number))
        self._raw = b""
        greeting = Greeting(v3.Suite.CLEAR)
        self._write(greeting.hello.encode())
        self._channel, _, _ = greeting.meet(self._read(), b"")
        secret = os.urandom(v3.SECRET_SIZE)
        self._say(v3.Kind.OPEN, v3.Open(os.urandom(v3.HANDLE_SIZE), secret, RETAINED).encode())
        welcome = v3.decode_welcome(self._hear(v3.Kind.WELCOME))
        self.id = welcome.id
        seed = os.urandom(wire.SEED_SIZE)
        self._say(v3.Kind.ACK)
        self._say(v3.Kind.ASK, seed)
        offer = v3.decode_datagrams(self._hear(v3.Kind.DATAGRAMS))
        if not offer.port:
            raise Fault("the server has no datagrams")
        self._keys = wire.client_keys(wire.derive(welcome.secret, seed, offer.seed))
        self._number = 0
        self._answered = False
        self.sock.settimeout(1.0)
        for _ in range(10):
            self.sock.send(self._sealed(Kind.PING))
            while not self._answered:
                try:
                    self.open(self.sock.recv(2048))
                except socket.timeout:
                    break
        if not self._answered:
            raise Fault("a good client was not challenged")
        self.caught = [self._sealed(Kind.DATA, b"caught %d" % place) for place in range(CAUGHT)]
        for datagram in self.caught[CAUGHT // 2 :]:  # the others have never come: only what is made of them will
            self.sock.send(datagram)

    def seal(self, body: bytes) -> bytes:
        """See PlainClient."""
        return self._sealed(Kind.DATA, body)

    def open(self, data: bytes) -> bytes | None:
        """See PlainClient."""
        try:
            found = wire.open_datagram(self._keys, data)
        except ValueError as error:
            raise Fault(f"a good client was sent what does not open: {error}") from None
        if found.kind == Kind.CHALLENGE:
            self._answered = True
            self.sock.send(self._sealed(Kind.RESPONSE, found.body))
        if found.kind != Kind.DATA or found.body.startswith(b"caught "):
            return None
        return found.body

    def _sealed(self, kind: int, body: bytes = b"") -> bytes:
        self._number += 1
        return wire.seal_datagram(self._keys, self._number - 1, kind, wire.clock(time.monotonic()), 0, body)

    # ---- the stream, which says nothing more

    def _say(self, kind: int, body: bytes = b"") -> None:
        self._write(bytes(self._channel.seal(v3.record(kind, 0, WINDOW, body))))

    def _hear(self, wanted: int) -> bytes:
        while True:
            plaintext = bytes(self._channel.open(self._read()))
            kind = v3.head_of(plaintext)[0]
            if kind == wanted:
                return plaintext[v3.HEAD_SIZE :]
            if kind == v3.Kind.CLOSE:
                raise Fault(f"a good client was closed: {v3.decode_close(plaintext[v3.HEAD_SIZE :])}")

    def _write(self, message: bytes) -> None:
        self._stream.sendall(len(message).to_bytes(4, "little") + message)

    def _read(self) -> bytes:
        while len(self._raw) < 4 or len(self._raw) < 4 + int.from_bytes(self._raw[:4], "little"):
            data = self._stream.recv(1 << 16)
            if not data:
                raise Fault("the server closed the connection of a good client")
            self._raw += data
        end = 4 + int.from_bytes(self._raw[:4], "little")
        message, self._raw = self._raw[4:end], self._raw[end:]
        return message

    def close(self) -> None:
        """See PlainClient."""
        super().close()
        self._stream.close()


CLIENTS: dict[str, type[PlainClient]] = {"sessions": SealedClient, "open": PlainClient}
"""By `udp.mode`."""


class DatagramPopulation(Population):
    """All of them."""

    may_lose = True
    last_secs = 2.0

    def __init__(self, server: Any, count: int, pace: float, lane: Lane) -> None:
        make = CLIENTS[lane.mode]
        self.begin([make(server.port, server.datagrams, number) for number in range(count)], pace)
