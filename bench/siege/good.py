"""The good clients: each sends a numbered packet at its pace, and must have every one back, once and in order."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.wires import Fault, Wire

from .lanes import LANES, Lane, Passage

SIZE = 32
SOURCES = 100
"""Loopback addresses that they come from."""
_FRAME = struct.Struct("<IQd16x")
_WIRE = Wire()
CONNECT_SECS = 10.0
LAST_SECS = 15.0
"""How long the last packets may take after the last one was sent."""
Good = Any
"""A client: with sock, id, sent, returned, caught, send, receive, close; and give_up where it may lose some."""


class Trips(NamedTuple):
    """Round trips in milliseconds."""

    count: int
    median: float
    p99: float
    longest: float
    lost: int = 0
    """Datagrams that did not come back."""

    @classmethod
    def of(cls, seconds: Sequence[float], lost: int = 0) -> Trips:
        """Of so many measured ones."""
        ordered = sorted(seconds)
        if not ordered:
            return cls(0, 0.0, 0.0, 0.0, lost)
        median, p99, longest = (1e3 * ordered[int(q * (len(ordered) - 1))] for q in (0.5, 0.99, 1.0))
        return cls(len(ordered), median, p99, longest, lost)

    def __str__(self) -> str:
        lost = f"; {self.lost} were lost" if self.lost else ""
        times = f"median {self.median:.2f} ms, p99 {self.p99:.2f} ms, longest {self.longest:.2f} ms"
        return f"{times} ({self.count}){lost}"


class GoodClient:
    """One session, connected."""

    def __init__(self, port: int, number: int, lane: Lane) -> None:
        source = (f"127.0.3.{1 + number % SOURCES}", 0)
        self.sock = socket.create_connection(("127.0.0.1", port), CONNECT_SECS, source)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._passage, self._framing = Passage(lane, len(lane.stages)), lane.framing()
        self.sock.sendall(self._passage.begin())
        while not self._passage.stands:
            self._receive()
        self._say(self._framing.encode(_WIRE.opening(0)))
        got = b""
        while not (end := _WIRE.opened(got)):
            got += self._receive()
        field = got[got.index(b"\x03", 4 + 35 + 4) + 1 : end]  # behind the server's key
        self.id = field[0] if len(field) == 1 else int.from_bytes(field[1:], "little")
        self.sock.setblocking(False)
        self.sent = self.returned = 0
        self.caught: list[bytes] = []
        self._got = got[end:]

    def close(self) -> None:
        """Leave."""
        self.sock.close()

    def send(self) -> None:
        """The next number. It is far smaller than what a socket takes."""
        try:
            self._say(self._framing.encode(_FRAME.pack(SIZE, self.sent, time.perf_counter())))
        except OSError as error:
            raise Fault(f"good client {self.id} cannot send: {error}") from None
        self.sent += 1

    def _say(self, words: bytes) -> None:
        sealed = self._passage.seal(words)
        if self.sock.send(sealed) != len(sealed):
            raise Fault("a good client's connection took a part only")

    def _receive(self) -> bytes:
        """What has come, as packets; what has to be answered is. Raises Fault, OSError."""
        data = self.sock.recv(1 << 16)
        if not data:
            raise Fault("the server closed the connection")
        opened, answer = self._passage.open(data)
        packets = self._framing.decode(opened)
        if answer:
            self.sock.sendall(answer)
        reply = self._framing.take_reply()
        if reply:
            self._say(reply)
        return packets

    def receive(self, trips: list[float]) -> None:
        """What came back. Raises Fault when it is not what must come next."""
        try:
            self._got += self._receive()
        except BlockingIOError:
            return
        except (OSError, Fault) as error:
            raise Fault(f"good client {self.id} was lost after {self.returned} packets: {error}") from None
        now, position = time.perf_counter(), 0
        while position + _FRAME.size <= len(self._got):
            size, number, sent_at = _FRAME.unpack_from(self._got, position)
            if size != SIZE or number != self.returned:
                raise Fault(f"good client {self.id}: packet {number} of {size} bytes, expected {self.returned}")
            self.returned += 1
            position += _FRAME.size
            trips.append(now - sent_at)
        self._got = self._got[position:]


class Population:
    """All of them, in one loop."""

    may_lose = False
    """Whether what does not come back is only counted."""
    last_secs = LAST_SECS

    def __init__(self, port: int, count: int, pace: float, lane: Lane = LANES["tcp"]) -> None:
        """`pace`: seconds between two packets of one client."""
        self.begin([GoodClient(port, number, lane) for number in range(count)], pace)

    def begin(self, clients: Sequence[Good], pace: float) -> None:
        """With these."""
        self._pace = pace
        self._poller = select.epoll()
        self.clients = clients
        self._by_fd = {client.sock.fileno(): client for client in self.clients}
        for fd in self._by_fd:
            self._poller.register(fd, select.EPOLLIN)

    def exchange(self, seconds: float) -> Trips:
        """Send at the pace, for a while; return when all is back. Raises Fault."""
        trips: list[float] = []
        began = time.monotonic()
        step = self._pace / len(self.clients)
        turn, until = 0, int(seconds / step)
        while True:
            now = time.monotonic()
            while turn < until and began + turn * step <= now:
                self.clients[turn % len(self.clients)].send()
                turn += 1
            missing = sum(client.sent - client.returned for client in self.clients) if turn == until else 1
            if not missing:
                return Trips.of(trips)
            if now > began + seconds + self.last_secs:
                if not self.may_lose:
                    raise Fault(f"{missing} packets did not come back")
                for client in self.clients:
                    client.give_up()
                return Trips.of(trips, missing)
            for fd, _ in self._poller.poll(max(0.0, began + turn * step - now) if turn < until else 0.1):
                self._by_fd[fd].receive(trips)

    def close(self) -> None:
        """Leave."""
        self._poller.close()
        for client in self.clients:
            client.close()
