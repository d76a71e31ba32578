"""One client of the soak: it keeps to its kind's habits, and accounts for every packet, over all its connections.

A cut between two packets loses nothing: the client ends its half of the connection, reads to the end and resumes; or it
takes its own session over, and reads the old connection to its end. A reset may lose what was under way, which is
counted: numbers may be missing that were sent before the reset, and none may come twice or late.
"""

from __future__ import annotations

import socket
import struct
from typing import Callable, NamedTuple, Protocol

from bench.wires import Fault
from voltlane.wire import crypto
from voltlane.wire import v2 as packets
from voltlane.wire.framing import PREFIX, frame
from voltlane.wire.v2 import encode

WINDOW = 2000
"""Packets that one client has under way at most."""
OLD_SECS = 10.0
_RESET = struct.pack("ii", 1, 0)
_NUMBER = struct.Struct("<Q")
_KEY = crypto.generate_key()
_keys: dict[bytes, bytes] = {}


class Kind(NamedTuple):
    """Habits. Seconds are averages."""

    share: float
    """Of all clients."""
    burst: int
    every: float
    stay: float = 0.0
    """Seconds of one connection; 0 = until the end."""
    then: str = ""
    """How it ends: "back" (and resumes), "anew" (and is another client), "over" (takes over), "reset" (and resumes)."""


KINDS = {
    "idle": Kind(0.50, 1, 20.0),
    "steady": Kind(0.20, 1, 2.0),
    "restless": Kind(0.10, 5, 0.5, 2.0, "back"),
    "visitor": Kind(0.10, 5, 0.5, 1.5, "anew"),
    "jumper": Kind(0.04, 5, 0.5, 2.0, "over"),
    "rude": Kind(0.04, 5, 0.5, 2.0, "reset"),
    "flood": Kind(0.02, 200, 1.0),
}


class Home(Protocol):
    """Where they live: what they ask of the town."""

    def open(self, person: Person) -> socket.socket:
        """A connection under way."""
        ...

    def forget(self, person: Person) -> socket.socket:
        """The connection is no more the town's affair."""
        ...

    def watch(self, person: Person) -> None:
        """See to it that what waits goes out when it can."""

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call this after a while."""

    def settled(self, person: Person) -> None:
        """It has its id."""

    def left(self, person: Person) -> None:
        """It is gone for good."""

    def arrive(self, kind: Kind) -> None:
        """Somebody else of that kind comes."""


class Person:
    """One client, and the connection it has at present."""

    def __init__(self, town: Home, kind: Kind) -> None:
        self.town = town
        self.kind = kind
        self.sock: socket.socket | None = None
        self.waits_for: type | None = None
        """The handshake packet that must come next; None once the session is up."""
        self.id = 0
        self.sent = self.next = self.returned = self.lost = 0
        """`next`: the least number that may come."""
        self.resumes = 0
        self.leaving = False
        self.finished = False
        """It has said its last word, and will not act again."""
        self._old: socket.socket | None = None
        self._may_miss = 0  # numbers below this one may be missing: a reset has been
        self._old_got = b""
        self._got = b""
        self._unsent = b""
        self._point = b""

    # ---- connections

    def connect(self) -> None:
        """A new session, or the old one again."""
        self._got = b""
        self.sock = self.town.open(self)
        hello = frame(encode(packets.ProtocolVersion(2)))
        if self.id:
            hello += frame(encode(packets.ClientId(self.id)))
        else:
            hello += frame(encode(packets.PubKey(_KEY.public)))
        self._unsent, self.waits_for, self.leaving = hello, packets.PubKey, False

    @property
    def up(self) -> bool:
        """Whether it may send packets."""
        return self.sock is not None and self.waits_for is None and not self.leaving

    @property
    def done(self) -> bool:
        """Whether its last packet has come back."""
        return self.finished and self.next == self.sent and self.up

    @property
    def has_to_write(self) -> bool:
        return bool(self._unsent)

    def end(self) -> None:
        """The time of this connection is over."""
        if self.finished:
            return
        if not self.up or self._unsent:
            self.town.later(0.1, self.end)
            return
        assert self.sock is not None
        if self.kind.then == "over":
            self._old, self._old_got = self.town.forget(self), self._got
            self.connect()
        elif self.kind.then == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._may_miss = self.sent
            self.town.forget(self).close()
            self.sock = None
            self.town.later(0.3, self.connect)
        else:
            self.leave()

    def leave(self) -> None:
        """End this half; what is still under way comes before the other half's end, or is kept by the server."""
        assert self.sock is not None
        self.leaving = True
        self.sock.shutdown(socket.SHUT_WR)

    # ---- packets

    def say(self, count: int) -> None:
        """Send so many packets, as far as the window goes."""
        if self.up and not self.finished:
            until = min(self.sent + count, self.next + WINDOW)
            self._unsent += b"".join(frame(_NUMBER.pack(n) + b"x" * (n * 31 % 97)) for n in range(self.sent, until))
            self.sent = max(self.sent, until)
            self.write()

    def finish(self) -> None:
        """One packet more; when it is back, everything is."""
        if self.up and not self.finished:
            self.say(1)
            self.finished = True

    def write(self) -> None:
        """What goes; the rest when there is room."""
        if self.sock is not None and self._unsent:
            try:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
            except BlockingIOError:
                pass
            except OSError as error:
                raise Fault(f"client {self.id} cannot send: {error}") from None
        self.town.watch(self)

    def read(self) -> None:
        """What came."""
        assert self.sock is not None
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError as error:
            raise Fault(f"client {self.id} lost its connection: {error}") from None
        self._got += data
        self._take()
        if not data:
            self._closed()

    def _closed(self) -> None:
        if not self.leaving:
            raise Fault(f"client {self.id} was closed by the server")
        self.town.forget(self).close()
        self.sock = None
        if self.finished:
            self.town.left(self)
        elif self.kind.then == "anew":
            if self.next != self.sent:  # what was under way is kept for it: it has to fetch that first
                self.town.later(0.1, self.connect)
                return
            self.town.left(self)
            self.town.arrive(self.kind)
        else:
            self.town.later(0.3, self.connect)

    def _take(self) -> None:
        frames, self._got = _split(self._got)
        for payload in frames:
            if self.waits_for is None:
                self._count(payload)
            else:
                self._greet(packets.decode(payload))

    def _count(self, payload: bytes) -> None:
        (number,) = _NUMBER.unpack_from(payload)
        if number != self.next:
            if number < self.next:
                raise Fault(f"client {self.id}: packet {number} came twice, or behind {self.next - 1}")
            if number > self._may_miss:
                raise Fault(f"client {self.id}: packets {self.next} to {number - 1} are missing")
            self.lost += number - self.next
        if len(payload) != 8 + number * 31 % 97:
            raise Fault(f"client {self.id}: packet {number} has {len(payload)} bytes")
        self.next = number + 1
        self.returned += 1

    def _greet(self, packet: packets.Packet) -> None:
        if type(packet) is not self.waits_for:
            raise Fault(f"client {self.id}: {packet!r} where {self.waits_for} has its place")
        if isinstance(packet, packets.PubKey):
            self.waits_for = packets.Challenge if self.id else packets.ClientId
            if packet.point not in _keys:
                _keys[packet.point] = crypto.session_key(_KEY, packet.point)
            self._point = packet.point
        elif isinstance(packet, packets.Challenge):
            key = _keys[self._point]
            answer = packets.ChallengeResponse(crypto.seal(key, crypto.open_sealed(key, packet.blob)))
            self._unsent += frame(encode(answer)) + frame(encode(packets.Ping()))
            self.waits_for = packets.Ping
            self.write()
        else:
            if isinstance(packet, packets.ClientId):
                self.id = packet.client_id
            else:
                self.resumes += 1
                self._end_old()
            self.waits_for = None
            self.town.settled(self)

    def _end_old(self) -> None:
        """After a takeover: what the old connection brought comes before what the new one does."""
        old, self._old = self._old, None
        if old is None:
            return
        got = self._old_got
        old.settimeout(OLD_SECS)
        with old:
            while data := old.recv(1 << 16):
                got += data
        for payload in _split(got)[0]:
            self._count(payload)


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole frames' payloads, and the rest."""
    payloads, position = [], 0
    while position + 4 <= len(data):
        end = position + 4 + PREFIX.unpack_from(data, position)[0]
        if end > len(data):
            break
        payloads.append(data[position + 4 : end])
        position = end
    return payloads, data[position:]
