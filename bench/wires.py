"""The protocols of the servers under test, as far as a load generator needs them: bytes to send, bytes to expect."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from voltlane.wire import crypto
from voltlane.wire import v2 as packets
from voltlane.wire.framing import next_frame

if TYPE_CHECKING:
    from .traffic import Cycle

Piece = Union[bytes, memoryview]


class Fault(Exception):
    """Something arrived that should not have, or did not arrive: the run's figures are worth nothing."""


class Tagged(NamedTuple):
    """A packet on the backend's stream, and where it ends there."""

    client_id: int
    kind: int
    data: bytes
    end: int


class Line:
    """One client's connection: a handshake, then a stream of packets each way, which here is on the wire as it is."""

    __slots__ = ("_first", "_got", "_index", "_said", "done", "session", "sock", "wire")

    room = 1 << 62
    """Bytes of the stream that may be sent now."""

    def __init__(self, wire: Wire, sock: socket.socket, index: int, first: bytes, session: Any = None) -> None:
        """`first` is the payload of the client's first packet; a session that an earlier line left is resumed."""
        self.wire = wire
        self.sock = sock
        self.session = session
        """What a later line needs to resume this one's, where the protocol has that."""
        self.done = False
        """Whether the handshake is over, and the first packet sent."""
        self._index = index
        self._first = wire.frame(first)
        self._said = False
        self._got = b""

    def advance(self) -> bool:
        """Go on with the handshake: say what comes first, else take what has come. Whether it is done now."""
        if not self._said:
            self._said = True
            self._say(self._begin())
            return False
        try:
            received = self.sock.recv(4096)
        except OSError as error:
            raise Fault(f"a client's connection was lost in its handshake: {error.strerror}") from None
        if not received:
            raise Fault("the server closed a connection in its handshake")
        self._got += received
        self.done = self._go_on()
        return self.done

    def prepare(self, cycle: Cycle) -> None:
        """This is what will be sent, over and over."""

    def send(self, first: Piece, second: Piece = b"") -> int:
        """The next bytes of the stream, in two pieces. How many were taken; raises BlockingIOError for none."""
        return self.sock.sendmsg((first, second))

    def receive(self, buffer: bytearray) -> int:
        """Put the next bytes of the stream at the beginning of the buffer. How many these are."""
        try:
            received = self.sock.recv_into(buffer)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise lost(error) from None
        if not received:
            raise Fault("the server closed a client's connection")
        return received

    def took(self, packets: int) -> None:
        """The client has so many packets now."""

    def settle(self) -> None:
        """Say what may wait a little. Called every `SETTLE_SECS`."""

    def finish(self, rest: Piece, secs: float) -> None:
        """Send that, and whatever is still to be sent, within so many seconds."""
        self.sock.settimeout(secs)
        self.sock.sendall(rest)

    # ---- the handshake

    def _begin(self) -> bytes:
        opening = self.wire.opening(self._index)
        return opening + self._first if self.wire.pipelined else opening

    def _go_on(self) -> bool:
        size = self.wire.opened(self._got)
        if not size:
            return False
        if size != len(self._got):
            raise Fault(f"behind the handshake came {self._got[size:][:40]!r}")
        self.session = self.wire.session(self._got)
        if not self.wire.pipelined:
            self._say(self._first)
        return True

    def _say(self, words: bytes) -> None:
        try:
            sent = self.sock.send(words)
        except OSError as error:
            raise Fault(f"a client's connection was lost in its handshake: {error.strerror}") from None
        if sent != len(words):
            raise Fault("a new connection takes less than a handshake")

    def _messages(self) -> list[bytes]:
        """The whole frames that have come, out of what was received."""
        found, position, got = [], 0, self._got
        while end := next_frame(got, position, len(got), 1 << 16):
            found.append(got[position + 4 : end])
            position = end
        self._got = got[position:]
        return found


class Wire:
    """Voltlane's protocol v2 (SPEC.txt). The others below differ in what they override."""

    name = "voltlane"
    scheme = ""
    """What Voltlane's listener is for it."""
    id_at = 4
    """Where in a tagged packet its eight bytes of client id stand."""
    pipelined = True
    """Whether a client's first packet may follow its side of the handshake at once."""
    modes = frozenset(("ingest", "fanout", "echo", "paced", "connect", "resume", "idle"))
    """Of the workloads those that it carries."""
    publishes = False
    """Whether the backend has no stream with a packet for each client, but tells the server once what is for all."""
    backend_opening = b""
    """What the backend says first."""

    # The generator's public key is the curve's generator point: valid, and no arithmetic is needed here.
    _POINT = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")

    def opening(self, index: int) -> bytes:
        """A client's side of the handshake."""
        return self.frame(b"\x01\x02") + self.frame(b"\x02\x21" + self._POINT)

    def opened(self, data: bytes) -> int:
        """The size of the server's side of the handshake at the beginning of `data`, 0 while it is incomplete."""
        end = 0
        for variant in (2, 3):  # PubKey, ClientId
            if len(data) < end + 5:
                return 0
            if data[end + 4] != variant:
                raise Fault(f"handshake packet {data[end + 4]} instead of {variant}")
            end += 4 + int.from_bytes(data[end : end + 4], "little")
        return end if len(data) >= end else 0

    def session(self, data: bytes) -> Any:
        """What there is to know of a session from that side of its handshake."""
        return V2Session(int.from_bytes(data[45:], "little"), data[6:39])

    def line(self, sock: socket.socket, index: int, first: bytes, session: Any = None) -> Line:
        """A client's connection, with that socket."""
        return Line(self, sock, index, first) if session is None else ResumedLine(self, sock, index, first, session)

    def backend_opened(self, data: bytes) -> int:
        """The same for the backend's connection; -1 where there is nothing to wait for."""
        return -1

    def frame(self, payload: bytes) -> bytes:
        """A packet as it stands in a client's stream."""
        return len(payload).to_bytes(4, "little") + payload

    def tagged(self, client_id: bytes, payload: bytes) -> bytes:
        """A packet as it stands in the backend's stream."""
        return struct.pack("<I8sB", len(payload) + 9, client_id, 0) + payload

    def published(self, payload: bytes) -> bytes:
        """A message for all as it stands in the backend's stream, where the backend publishes."""
        raise NotImplementedError

    def untag(self, buffer: bytearray, start: int, stop: int) -> Tagged | None:
        """The packet at `start`, if all of it is there. Off the hot path."""
        if stop - start < 13:
            return None
        size, client_id, kind = struct.unpack_from("<IQB", buffer, start)
        end = start + 4 + size
        return Tagged(client_id, kind, bytes(buffer[start + 13 : end]), end) if end <= stop else None


def lost(error: OSError) -> Fault:
    """What to raise when a connection is gone that should be there."""
    return Fault(f"a client's connection was lost: {error.strerror}")


class V2Session(NamedTuple):
    """What a client of version 2 knows of its session."""

    id: int
    server: bytes
    """The server's public key."""


_KEY = crypto.load_key((1).to_bytes(32, "big"))  # whose public key `Wire.opening` sends
_shared: dict[bytes, bytes] = {}
"""Session keys by the server's public key."""


class ResumedLine(Line):
    """A connection of version 2 that resumes a session."""

    __slots__ = ()

    def _begin(self) -> bytes:
        return self.wire.frame(b"\x01\x02") + self.wire.frame(packets.encode(packets.ClientId(self.session.id)))

    def _go_on(self) -> bool:
        for message in self._messages():
            packet = packets.decode(message)
            if isinstance(packet, packets.PubKey):
                if packet.point != self.session.server:
                    raise Fault("the server has another key")
            elif isinstance(packet, packets.Challenge):
                self._say(self._answer(packet.blob) + self.wire.frame(packets.encode(packets.Ping())))
            elif isinstance(packet, packets.Ping):
                self._say(self._first)
                return True
            else:
                raise Fault(f"in a resume came {packet!r}")
        return False

    def _answer(self, challenge: bytes) -> bytes:
        server = self.session.server
        if server not in _shared:
            _shared[server] = crypto.session_key(_KEY, server)
        opened = crypto.open_sealed(_shared[server], challenge)
        return self.wire.frame(packets.encode(packets.ChallengeResponse(crypto.seal(_shared[server], opened))))


class Plain(Wire):
    """Voltlane's framing without its handshake: the server hands out an id and that is it."""

    name = "plain"
    modes = Wire.modes - {"resume"}

    def opening(self, index: int) -> bytes:
        return b""

    def opened(self, data: bytes) -> int:
        return 12 if len(data) >= 12 else 0

    def session(self, data: bytes) -> Any:
        return None


class Zmtp(Wire):
    """ZMTP 3.0 with the NULL mechanism: clients are DEALERs with an identity of eight bytes, so is the backend."""

    name = "zmtp"
    id_at = 2
    modes = Wire.modes - {"resume"}
    pipelined = False  # libzmq drops a connection whose greeting, READY and first message come in one piece

    _GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    _SOCKET_TYPE = b"\x0bSocket-Type\0\0\0\x06DEALER"

    @staticmethod
    def _command(body: bytes) -> bytes:
        return struct.pack("BB", 4, len(body)) + body

    @property
    def backend_opening(self) -> bytes:  # type: ignore[override]
        return self._GREETING + self._command(b"\x05READY" + self._SOCKET_TYPE)

    def opening(self, index: int) -> bytes:
        identity = struct.pack(">I8s", 8, struct.pack(">Q", 1 << 63 | index))  # must not begin with a zero byte
        return self._GREETING + self._command(b"\x05READY" + self._SOCKET_TYPE + b"\x08Identity" + identity)

    def opened(self, data: bytes) -> int:
        if len(data) < 66 or len(data) < 66 + data[65]:
            return 0
        if data[64] != 4 or data[66:72] != b"\x05READY":
            raise Fault(f"a ZMTP peer answered {bytes(data[64:100])!r}")
        return 66 + data[65]

    def session(self, data: bytes) -> Any:
        return None

    backend_opened = opened

    def frame(self, payload: bytes) -> bytes:
        size = len(payload)
        return (struct.pack("BB", 0, size) if size < 256 else struct.pack(">BQ", 2, size)) + payload

    def tagged(self, client_id: bytes, payload: bytes) -> bytes:
        return b"\x01\x08" + client_id + self.frame(payload)

    def untag(self, buffer: bytearray, start: int, stop: int) -> Tagged | None:
        head = bytes(buffer[start : min(start + 19, stop)])
        if len(head) < 12 or (head[10] == 2 and len(head) < 19):
            return None
        begin, size = (start + 19, int.from_bytes(head[11:19], "big")) if head[10] == 2 else (start + 12, head[11])
        if head[:2] != b"\x01\x08" or head[10] not in (0, 2):
            raise Fault(f"the backend got {head!r}")
        end = begin + size
        client_id = int.from_bytes(head[2:10], "little")
        return Tagged(client_id, 0, bytes(buffer[begin:end]), end) if end <= stop else None
