"""The ways to be a nuisance. Each keeps to a pace and a number of connections, and comes back when it is closed."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
import struct
from collections import deque
from typing import Callable

from bench.wires import Fault, Wire
from voltlane.wire.websocket import Opcode

from . import nonsense
from .lanes import Lane, Passage, Prefix, Upgrade, client_frame
from .nobody import BY_MODE
from .nonsense import VERSION

IN, OUT, ENDED = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR
_WIRE = Wire()
PING = _WIRE.frame(b"\x00")
OPENING = _WIRE.opening(0)
CHALLENGE = 4
_RESET = struct.pack("ii", 1, 0)


class Peer:
    """One connection of an attack."""

    __slots__ = ("attack", "depth", "due", "events", "framing", "got", "passage", "sock", "step")

    def __init__(self, attack: Attack, sock: socket.socket) -> None:
        self.attack = attack
        self.sock = sock
        self.events = IN
        """What it waits for, once it is connected."""
        self.depth = attack.depth()
        """How many of the lane's stages it goes through as one should."""
        self.passage: Passage | None = None
        """These, once it is connected."""
        self.framing: Prefix = attack.lane.framing()
        self.step = -1
        """-1 until it is connected; what it means then is the attack's affair."""
        self.due = 0.0
        self.got = b""

    def say(self, words: bytes) -> None:
        """Send something small, through the stages that stand."""
        if words and self.passage is not None:
            self.sock.send(self.passage.seal(words))


class Attack:
    """`most` connections at once, of which `rate` are begun a second; each gives up after `patience` seconds."""

    most = 500
    rate = 200.0
    patience = 8.0
    events = IN
    """What its connections wait for once they stand."""
    receive_buffer = 0

    def __init__(self, connect: Callable[[Attack], Peer | None], share: float, lane: Lane) -> None:
        """`share` of the usual numbers."""
        self.lane = lane
        self._connect = connect
        self.most = max(1, int(self.most * share))
        self.rate = max(1.0, self.rate * share)
        self.begun = self.ended = self.connected = self.stood = 0
        self.peers: dict[int, Peer] = {}
        self._by_age: deque[tuple[float, Peer]] = deque()
        self._allowance = 0.0
        self._before = 0.0

    def depth(self) -> int:
        """How many of the lane's stages the next connection goes through: usually all."""
        return len(self.lane.stages)

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

    def told(self) -> dict[str, int]:
        """What was done."""
        return {"connected": self.connected, "as far as it goes": self.stood, "ended": self.ended,
                "at the end": len(self.peers)}  # fmt: skip

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
                data = peer.sock.recv(1 << 16) if peer.events & IN else b""
                if not data:
                    self.leave(peer)
                else:
                    self._receive(peer, data, now)
            elif mask & OUT:
                self.on_room(peer)
        except BlockingIOError:
            pass
        except (OSError, Fault):
            self.leave(peer)

    def on_connected(self, peer: Peer, now: float) -> None:
        """Go through the stages, as far as this one goes."""
        peer.passage = Passage(self.lane, peer.depth)
        words = peer.passage.begin()
        if words:
            peer.sock.send(words)
        else:
            self._stands(peer, now)

    def _receive(self, peer: Peer, data: bytes, now: float) -> None:
        passage = peer.passage
        assert passage is not None
        stood = passage.stands
        opened, answer = passage.open(data)
        if answer:
            peer.sock.send(answer)
        if passage.stands and not stood:
            self._stands(peer, now)
        if opened:
            self.on_data(peer, opened)

    def _stands(self, peer: Peer, now: float) -> None:
        self.stood += 1
        peer.events = self.events
        self.on_stands(peer, now)

    def on_stands(self, peer: Peer, now: float) -> None:
        """The stages stand: say what is to be said first."""

    def on_data(self, peer: Peer, data: bytes) -> None:
        """The server said something, behind the stages."""

    def on_room(self, peer: Peer) -> None:
        """There is room to send."""


class Slowloris(Attack):
    """Thousands of openings that go on, a byte a second, and never end: each of the lane's stages, and the handshake
    behind them."""

    most = 5000
    rate = 1500.0
    patience = 600.0
    pace = 1.0

    def __init__(self, connect: Callable[[Attack], Peer | None], share: float, lane: Lane) -> None:
        super().__init__(connect, share, lane)
        self._next: deque[tuple[float, Peer]] = deque()
        self._words = [lane.words_at(depth, OPENING) for depth in range(len(lane.stages) + 1)]

    def depth(self) -> int:
        return random.randrange(len(self._words))

    def on_stands(self, peer: Peer, now: float) -> None:
        peer.step = 0
        self._next.append((now, peer))

    def tick(self, now: float) -> None:
        super().tick(now)
        while self._next and self._next[0][0] <= now:
            _, peer = self._next.popleft()
            if peer.sock.fileno() < 0:
                continue
            words = self._words[peer.depth]
            try:
                peer.say(words[peer.step : peer.step + 1])
            except OSError:
                self.leave(peer)
                continue
            peer.step = min(peer.step + 1, len(words) - 2)
            self._next.append((now + self.pace, peer))


class ConnectFlood(Attack):
    """Connections that are left as soon as they stand, with the first word said; every second one is reset."""

    most = 500
    rate = 800.0
    patience = 2.0

    def __init__(self, connect: Callable[[Attack], Peer | None], share: float, lane: Lane) -> None:
        super().__init__(connect, share, lane)
        self._word = lane.words_at(0, OPENING) if lane.stages else b""

    def depth(self) -> int:
        return 0

    def on_stands(self, peer: Peer, now: float) -> None:
        peer.say(self._word)
        self.leave(peer, reset=self.connected % 2 == 0)


class Garbage(Attack):
    """What is wrong at one place or another: at once, or behind a good beginning."""

    rate = 300.0

    def depth(self) -> int:
        return self.begun % (len(self.lane.stages) + 1)

    def on_stands(self, peer: Peer, now: float) -> None:
        peer.say(nonsense.at(self.lane, peer.depth))


class HalfResume(Attack):
    """Resumes on ids of the good, broken off or ended with what proves nothing."""

    rate = 200.0
    victims: tuple[int, ...] = (1,)
    _stood = 0

    def on_stands(self, peer: Peer, now: float) -> None:
        victim = random.choice(self.victims)
        field = bytes((victim,)) if victim < 251 else b"\xfd" + victim.to_bytes(8, "little")
        self._stood += 1
        peer.step = self._stood % 3
        peer.say(peer.framing.encode(VERSION + _WIRE.frame(b"\x03" + field)))

    def on_data(self, peer: Peer, data: bytes) -> None:
        peer.got += peer.framing.decode(data)
        key = 4 + int.from_bytes(peer.got[:4], "little")
        if len(peer.got) < key + 6 + 72 or peer.got[key + 4] != CHALLENGE:
            return
        blob = peer.got[key + 6 : key + 6 + 72]
        if peer.step == 0:  # the challenge sent back
            peer.say(peer.framing.encode(_WIRE.frame(b"\x05\x48" + blob) + PING))
        elif peer.step == 1:
            peer.say(peer.framing.encode(_WIRE.frame(b"\x05\x48" + os.urandom(72)) + PING))
        peer.got = b""


class Flood(Attack):
    """Whole clients that send without a pause."""

    most = 100
    rate = 50.0
    patience = 600.0
    events = IN | OUT
    receive_buffer = 4096

    def __init__(self, connect: Callable[[Attack], Peer | None], share: float, lane: Lane) -> None:
        super().__init__(connect, share, lane)
        self._chunk = self.chunk(lane.framing())

    def chunk(self, framing: Prefix) -> bytes:
        """What is sent again and again."""
        raise NotImplementedError

    def on_stands(self, peer: Peer, now: float) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        peer.say(peer.framing.encode(OPENING))
        self.on_room(peer)

    def on_room(self, peer: Peer) -> None:
        assert peer.passage is not None
        for _ in range(8):  # the rest when there is room again: the others want to go on, too
            if not peer.got:
                peer.got = peer.passage.seal(self._chunk)
            peer.got = peer.got[peer.sock.send(peer.got) :]


class NeverReading(Flood):
    """They do not read the echo, and not what their pings are answered with."""

    events = OUT

    def chunk(self, framing: Prefix) -> bytes:
        return framing.encode(_WIRE.frame(b"n" * 1000) * 16) + framing.ping() * 16


class Pings(Flood):
    """Pings, whose answers are read."""

    def chunk(self, framing: Prefix) -> bytes:
        return framing.ping() * 120


class Fragments(Flood):
    """Messages in thousands of parts, most of them empty, which end when they are about to be too large."""

    def chunk(self, framing: Prefix) -> bytes:
        parts = (client_frame(Opcode.CONTINUATION, b"f" * (number % 8 == 0), first=0) for number in range(4000))
        return b"".join([client_frame(Opcode.BINARY, first=0), *parts, client_frame(Opcode.CONTINUATION)])


class WrongOrigins(Attack):
    """Pages that may not connect."""

    rate = 300.0

    def depth(self) -> int:
        return self.lane.stages.index(Upgrade)

    def on_stands(self, peer: Peer, now: float) -> None:
        peer.say(Upgrade.request(b"Origin: https://page-%d.example" % (self.connected % 8)))


_EVERYWHERE: dict[str, type[Attack]] = {
    "slowloris": Slowloris,
    "connects": ConnectFlood,
    "garbage": Garbage,
    "resumes": HalfResume,
    "unread": NeverReading,
}
_ON_WEBSOCKETS: dict[str, type[Attack]] = {"pings": Pings, "fragments": Fragments, "origins": WrongOrigins}
ATTACKS: dict[str, type[Attack]] = {**_EVERYWHERE, **_ON_WEBSOCKETS}
NOT_NOW = {errno.EMFILE, errno.EADDRNOTAVAIL, errno.EAGAIN, errno.ENFILE, errno.ENOBUFS}


def attacks_on(lane: Lane) -> list[str]:
    """The names of those that make sense there."""
    if lane.mode == "open":
        return list(BY_MODE[lane.mode])
    return [*(ATTACKS if Upgrade in lane.stages else _EVERYWHERE), *BY_MODE[lane.mode]]
