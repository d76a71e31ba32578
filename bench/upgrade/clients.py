"""Clients that send numbered packets to a backend that echoes, and take nothing else for an answer."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Callable

from voltlane.wire.framing import PREFIX, PREFIX_SIZE
from voltlane.wire.v3 import Suite

from ..records import V3
from ..wires import Fault, Wire
from .sockets import Dam, Tunnel

_NUMBER = struct.Struct("<QQd")
SIZES = (24, 40, 100, 300)
LARGE = 2500
"""Bytes of a packet of those who do not read."""
FIRST, BEHIND = 10, 4
"""Packets of theirs: as many as their sockets do not take, and then a few."""
UNDER_WAY = 16
"""Packets that a client has sent and not got back, at most."""


class _Patient(Wire):
    """Version 2, whose first packet waits for the end of the handshake: its echo is not to be a part of that."""

    pipelined = False


_V2, _V3 = _Patient(), V3(Suite.NOISE)
KINDS: dict[str, tuple[Wire, str]] = {
    "v2": (_V2, ""),
    "v3": (_V3, ""),
    "v2-ws": (_V2, "voltlane.v2"),
    "v3-ws": (_V3, "voltlane.v3"),
}
"""Protocol and lane: how records or packets look, and the subprotocol of a WebSocket."""


class Client:
    """One."""

    def __init__(self, kind: str, ports: tuple[int, int], index: int, reads: bool) -> None:
        self.kind = kind
        self.index = index
        self.reads = reads
        """False: one of those who do not read while it is upgraded."""
        wire, subprotocol = KINDS[kind]
        sock = socket.socket()
        if not reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", ports[bool(subprotocol)]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        self.sock: Dam = Tunnel(sock, subprotocol) if subprotocol else Dam(sock)
        self.sent = self.received = 0
        self._buffer = bytearray(1 << 18)
        self._stream = bytearray()
        self._unsent = b""
        self.line = wire.line(self.sock, index, self._packet())  # type: ignore[arg-type]
        self.longest = 0.0
        """Seconds that a packet took there and back, at most."""

    def greet(self) -> bool:
        """Go on with the handshake. Whether it is done."""
        return self.line.advance()

    def _packet(self) -> bytes:
        size = SIZES[self.sent % len(SIZES)] if self.reads else LARGE
        head = _NUMBER.pack(self.sent, self.index, time.monotonic())
        self.sent += 1
        return head + b"." * (size - len(head))

    # ---- going on

    @property
    def waits(self) -> bool:
        """Whether something of its own is on its way out."""
        return bool(self._unsent or self.sock.keeps)

    def send(self) -> None:
        """Another packet, unless enough are under way."""
        if self.sent - self.received < UNDER_WAY and len(self._unsent) < 1 << 16:
            packet = self._packet()
            self._unsent += PREFIX.pack(len(packet)) + packet
        self.push()

    def push(self) -> None:
        """What is not sent yet."""
        try:
            if self.sock.keeps and not self.sock.shut:
                self.sock.push()
            if self._unsent and self.line.room:
                self._unsent = self._unsent[self.line.send(self._unsent) :]
        except BlockingIOError:
            pass

    def fill(self, packets: int) -> None:
        """Send so many packets."""
        for _ in range(packets):
            self.send()

    def hold(self) -> None:
        """Send some, and leave the last in the middle."""
        self.fill(BEHIND)
        self.sock.shut = True
        self.send()

    def let_go(self) -> None:
        """Go on."""
        self.sock.shut = False
        self.push()

    def receive(self, now: float) -> int:
        """Take what is there. How many packets that are."""
        try:
            size = self.line.receive(self._buffer)
        except BlockingIOError:
            return 0
        stream, count, position = self._stream, 0, 0
        stream += memoryview(self._buffer)[:size]
        while len(stream) - position >= PREFIX_SIZE:
            end = position + PREFIX_SIZE + PREFIX.unpack_from(stream, position)[0]
            if end > len(stream):
                break
            number, index, at = _NUMBER.unpack_from(stream, position + PREFIX_SIZE)
            if (number, index) != (self.received, self.index):
                raise Fault(f"client {self.index} ({self.kind}) got packet {number} of {index}, not {self.received}")
            self.received += 1
            self.longest = max(self.longest, now - at)
            count += 1
            position = end
        del stream[:position]
        if count:
            self.line.took(self.received)
        return count


class Crowd:
    """All of them."""

    def __init__(self, clients: Sequence[Client], rate: float) -> None:
        """`rate`: packets a second of all together."""
        self.clients = clients
        self._readers = [client for client in clients if client.reads]
        self.held = [client for client in clients if not client.reads]
        self._by_fd = {client.sock.fileno(): client for client in clients}
        self._poll = select.epoll()
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._rate = rate
        self._next = 0
        self._due = time.monotonic()
        self._settled = self._due
        self.received = 0
        self.silence = 0.0
        """Seconds in which nobody got anything, at most, since it was set to 0."""
        self._heard = self._due
        self.reading = True

    def close(self) -> None:
        self._poll.close()
        for client in self.clients:
            client.sock.close()

    def greet(self, some: Sequence[Client]) -> None:
        """Let these have their sessions."""
        busy = {client.sock.fileno(): client for client in some}
        with select.epoll() as poll:
            for fd, client in busy.items():
                client.greet()
                poll.register(fd, select.EPOLLIN)
            while busy:
                events = poll.poll(20)
                if not events:
                    raise Fault(f"{len(busy)} handshakes do not go on")
                for fd, _ in events:
                    try:
                        if fd in busy and busy[fd].greet():
                            poll.unregister(fd)
                            del busy[fd]
                    except (BlockingIOError, Fault) as error:
                        if not isinstance(error, BlockingIOError) and "Resource temporarily" not in str(error):
                            raise

    def turn_away(self) -> None:
        """Those who do not read begin with that, though much is to come: more than their sockets take."""
        for client in self.held:
            self._poll.modify(client.sock.fileno(), 0)
            client.fill(FIRST)

    def hold(self) -> None:
        """More is to come, which is queued behind that; and half a packet of theirs is on its way."""
        for client in self.held:
            client.hold()

    def let_go(self) -> None:
        """They go on."""
        for client in self.held:
            client.let_go()
            self._poll.modify(client.sock.fileno(), select.EPOLLIN)

    def drive(self, until: Callable[[], bool], seconds: float = 60.0, sending: bool = True) -> None:
        """Go on until that holds."""
        end = time.monotonic() + seconds
        self._due = self._heard = time.monotonic()
        while not until():
            now = time.monotonic()
            if now > end:
                raise Fault(f"nothing came of it in {seconds:g} s")
            if sending:
                self._send(now)
            got = 0
            for fd, mask in self._poll.poll(0.002, 512):
                client = self._by_fd[fd]
                if mask & select.EPOLLIN:
                    got += client.receive(time.monotonic())
                    if client.waits:
                        client.push()
            now = time.monotonic()
            if got:
                self.received += got
                self.silence = max(self.silence, now - self._heard)
                self._heard = now
            if now - self._settled > 0.25:
                self._settled = now
                for client in self.clients:
                    client.line.settle()
                    if client.waits:
                        client.push()

    def _send(self, now: float) -> None:
        due = min(int((now - self._due) * self._rate), 2000)
        self._due += due / self._rate if due < 2000 else now - self._due
        for _ in range(due):
            self._readers[self._next % len(self._readers)].send()
            self._next += 1

    def finish(self) -> None:
        """Everybody gets everything back."""
        self.drive(lambda: all(client.received == client.sent for client in self.clients), sending=False)
