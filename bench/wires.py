"""The protocols of the servers under test, as far as a load generator needs them: bytes to send, bytes to expect."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Fault(Exception):
    """Something arrived that should not have, or did not arrive: the run's figures are worth nothing."""


class Tagged(NamedTuple):
    """A packet on the backend's stream, and where it ends there."""

    client_id: int
    kind: int
    data: bytes
    end: int


class Wire:
    """Voltlane's protocol v2 (SPEC.txt). The others below differ in what they override."""

    name = "voltlane"
    id_at = 4
    """Where in a tagged packet its eight bytes of client id stand."""
    pipelined = True
    """Whether a client's first packet may follow its side of the handshake at once."""
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

    def backend_opened(self, data: bytes) -> int:
        """The same for the backend's connection; -1 where there is nothing to wait for."""
        return -1

    def frame(self, payload: bytes) -> bytes:
        """A packet as it stands in a client's stream."""
        return len(payload).to_bytes(4, "little") + payload

    def tagged(self, client_id: bytes, payload: bytes) -> bytes:
        """A packet as it stands in the backend's stream."""
        return struct.pack("<I8sB", len(payload) + 9, client_id, 0) + payload

    def untag(self, buffer: bytearray, start: int, stop: int) -> Tagged | None:
        """The packet at `start`, if all of it is there. Off the hot path."""
        if stop - start < 13:
            return None
        size, client_id, kind = struct.unpack_from("<IQB", buffer, start)
        end = start + 4 + size
        return Tagged(client_id, kind, bytes(buffer[start + 13 : end]), end) if end <= stop else None


class Plain(Wire):
    """Voltlane's framing without its handshake: the server hands out an id and that is it."""

    name = "plain"

    def opening(self, index: int) -> bytes:
        return b""

    def opened(self, data: bytes) -> int:
        return 12 if len(data) >= 12 else 0


class Zmtp(Wire):
    """ZMTP 3.0 with the NULL mechanism: clients are DEALERs with an identity of eight bytes, so is the backend."""

    name = "zmtp"
    id_at = 2
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
