"""Five ways to be a nuisance. Each keeps to a pace and a number of connections, and comes back when it is closed."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import struct
from collections import deque
from typing import Callable

from bench.wires import Wire

IN, OUT, ENDED = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
_WIRE = Wire()
VERSION = _WIRE.frame(b"\x01\x02")
PING = _WIRE.frame(b"\x00")
OPENING = _WIRE.opening(0)
CHALLENGE = 4
_RESET = struct.pack("ii", 1, 0)


class Peer:
    """One connection of an attack."""

    __slots__ = ("attack", "due", "got", "sock", "step")

    def __init__(self, attack: Attack, sock: socket.socket) -> None:
        self.attack = attack
        self.sock = sock
        self.step = -1
        """-1 until it is connected; what it means then is the attack's affair."""
        self.due = 0.0
        self.got = b""


class Attack:
    """`most` connections at once, of which `rate` are begun a second; each gives up after `patience` seconds."""

    most = 500
    rate = 200.0
    patience = 8.0
    events = IN
    receive_buffer = 0

    def __init__(self, connect: Callable[[Attack], Peer | None], share: float) -> None:
        """`share` of the usual numbers."""
        self._connect = connect
        self.most = max(1, int(self.most * share))
        self.rate = max(1.0, self.rate * share)
        self.begun = self.ended = self.connected = 0
        self.peers: dict[int, Peer] = {}
        self._by_age: deque[tuple[float, Peer]] = deque()
        self._allowance = 0.0
        self._before = 0.0

    def tick(self, now: float) -> None:
        """Begin new connections as the pace allows, and leave the oldest ones."""
        elapsed = min(0.1, now - self._before) if self._before else 0.0
        self._before = now
        self._allowance = min(self._allowance + elapsed * self.rate, self.rate / 10 + 1)
        while self._allowance >= 1 and len(self.peers) < self.most:
            self._allowance -= 1
            peer = self._connect(self)
            if peer is None:
                return
            self.begun += 1
            self.peers[peer.sock.fileno()] = peer
            self._by_age.append((now + self.patience, peer))
        while self._by_age and self._by_age[0][0] <= now:
            self.leave(self._by_age.popleft()[1])

    def leave(self, peer: Peer, *, reset: bool = False) -> None:
        """Close a connection, if it is still there."""
        fd = peer.sock.fileno()
        if fd >= 0:
            self.peers.pop(fd, None)
            if reset:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            peer.sock.close()
            self.ended += 1

    def on_event(self, peer: Peer, mask: int, now: float) -> None:
        """Something happened to a connection."""
        try:
            if peer.step < 0:
                error = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error:
                    raise OSError(error, "not connected")
                peer.step = 0
                self.connected += 1
                self.on_connected(peer, now)
            elif mask & (IN | ENDED):
                data = peer.sock.recv(1 << 16) if self.events & IN else b""
                if not data:
                    self.leave(peer)
                else:
                    self.on_data(peer, data)
            elif mask & OUT:
                self.on_room(peer)
        except BlockingIOError:
            pass
        except OSError:
            self.leave(peer)

    def on_connected(self, peer: Peer, now: float) -> None:
        """Say what is to be said first."""

    def on_data(self, peer: Peer, data: bytes) -> None:
        """The server said something."""

    def on_room(self, peer: Peer) -> None:
        """There is room to send."""


class Slowloris(Attack):
    """Thousands of handshakes that go on, a byte a second, and never end."""

    most = 5000
    rate = 1500.0
    patience = 600.0
    pace = 1.0

    def __init__(self, connect: Callable[[Attack], Peer | None], share: float) -> None:
        super().__init__(connect, share)
        self._next: deque[tuple[float, Peer]] = deque()

    def on_connected(self, peer: Peer, now: float) -> None:
        self._next.append((now, peer))

    def tick(self, now: float) -> None:
        super().tick(now)
        while self._next and self._next[0][0] <= now:
            _, peer = self._next.popleft()
            if peer.sock.fileno() < 0:
                continue
            try:
                peer.sock.send(OPENING[peer.step % len(OPENING) :][:1])
            except OSError:
                self.leave(peer)
                continue
            peer.step = min(peer.step + 1, len(OPENING) - 2)
            self._next.append((now + self.pace, peer))


class ConnectFlood(Attack):
    """Connections that are reset as soon as they stand."""

    most = 500
    rate = 800.0
    patience = 2.0

    def on_connected(self, peer: Peer, now: float) -> None:
        self.leave(peer, reset=self.connected % 2 == 0)


class Garbage(Attack):
    """Random bytes, at once or behind a good beginning."""

    rate = 300.0
    beginnings = (b"", VERSION, VERSION + _WIRE.frame(b"\x03\x01"), b"GET / HTTP/1.1\r\n", b"\xff\xff\xff\xff")

    def on_connected(self, peer: Peer, now: float) -> None:
        noise = os.urandom(random.randrange(1, 128))
        peer.sock.send(random.choice(self.beginnings) + random.choice((noise, _WIRE.frame(noise))))


class HalfResume(Attack):
    """Resumes on ids of the good, broken off or ended with what proves nothing."""

    rate = 200.0
    victims: tuple[int, ...] = (1,)

    def on_connected(self, peer: Peer, now: float) -> None:
        victim = random.choice(self.victims)
        field = bytes((victim,)) if victim < 251 else b"\xfd" + victim.to_bytes(8, "little")
        peer.step = random.randrange(3)
        peer.sock.send(VERSION + _WIRE.frame(b"\x03" + field))

    def on_data(self, peer: Peer, data: bytes) -> None:
        peer.got += data
        key = 4 + int.from_bytes(peer.got[:4], "little")
        if len(peer.got) < key + 6 + 72 or peer.got[key + 4] != CHALLENGE:
            return
        blob = peer.got[key + 6 : key + 6 + 72]
        if peer.step == 0:  # the challenge sent back
            peer.sock.send(_WIRE.frame(b"\x05\x48" + blob) + PING)
        elif peer.step == 1:
            peer.sock.send(_WIRE.frame(b"\x05\x48" + os.urandom(72)) + PING)
        peer.got = b""


class NeverReading(Attack):
    """Whole clients that send without a pause, and do not read the echo."""

    most = 100
    rate = 50.0
    patience = 600.0
    events = OUT
    receive_buffer = 4096
    chunk = _WIRE.frame(b"n" * 1000) * 16

    def on_connected(self, peer: Peer, now: float) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        peer.got = OPENING + self.chunk
        self.on_room(peer)

    def on_room(self, peer: Peer) -> None:
        for _ in range(8):  # the rest when there is room again: the others want to go on, too
            sent = peer.sock.send(peer.got)
            peer.got = peer.got[sent:] or self.chunk


ATTACKS: dict[str, type[Attack]] = {
    "slowloris": Slowloris,
    "connects": ConnectFlood,
    "garbage": Garbage,
    "resumes": HalfResume,
    "unread": NeverReading,
}
NOT_NOW = {errno.EMFILE, errno.EADDRNOTAVAIL, errno.EAGAIN, errno.ENFILE, errno.ENOBUFS}
