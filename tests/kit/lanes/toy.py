"""A lane that has all that lanes may have, to prove the seam: a preamble to be awaited, a socket whose reads come
short, masked payloads, a ping that must be answered between packets, and a word to end with.

    client: "TOY/1\\n"   server: "OK\\n"   then both: kind, size (u32 big-endian), mask, payload XOR mask
    kinds: M message · P ping · O its answer · C the end
"""

from __future__ import annotations

from struct import Struct

from kit.sockets import ShortReads
from kit.speaker import Speaker as Base

from voltlane.errors import FrameTooLarge, MalformedPacket
from voltlane.lanes.entry.stage import Newcomer, Stage
from voltlane.lanes.framing import EVERY, Framing
from voltlane.lanes.lane import Lane
from voltlane.reasons import CloseReason
from voltlane.wire.framing import PREFIX, PREFIX_SIZE, Buffer

HEAD = Struct(">cIB")
WELCOME = b"TOY/1\n"
MOST_SAID = 125
"""Bytes of the largest ping."""
MASKS = [bytes(byte ^ mask for byte in range(256)) for mask in range(256)]


def pack(kind: bytes, payload: bytes, mask: int) -> bytes:
    return HEAD.pack(kind, len(payload), mask) + payload.translate(MASKS[mask])


class Preamble(Stage):
    """Waits for "TOY/1", and answers "OK"."""

    def __init__(self) -> None:
        self._received = b""

    @property
    def waits_for(self) -> str:
        return "the toy's preamble"

    def go_on(self, newcomer: Newcomer) -> bool:
        received = newcomer.read(16)
        if received is None:
            return False
        self._received += received
        if not WELCOME.startswith(self._received[: len(WELCOME)]):
            raise MalformedPacket("that is no toy")
        if len(self._received) < len(WELCOME):
            return False
        newcomer.give_back(self._received[len(WELCOME) :])
        assert newcomer.sock is not None
        newcomer.sock = ShortReads(newcomer.sock)  # type: ignore[assignment]
        newcomer.say(b"OK\n")
        return True


class ToyFraming(Framing):
    name = "toy"

    def __init__(self) -> None:
        self._reply = b""
        self._ended = False
        self._mask = 0

    @property
    def ended(self) -> bool:
        return self._ended

    def decode(self, data: Buffer, start: int, stop: int, limit: int, most: int = EVERY) -> tuple[bytes, int]:
        pieces: list[bytes] = []
        position = start
        while len(pieces) < 2 * most and not self._ended and stop - position >= HEAD.size:
            kind, size, mask = HEAD.unpack_from(data, position)
            begin = position + HEAD.size
            error = self._mistake(kind, size, limit)
            if error is not None:
                if pieces:
                    break
                raise error
            if begin + size > stop:
                break
            position = begin + size
            payload = bytes(data[begin:position]).translate(MASKS[mask])
            if kind == b"M":
                pieces += (PREFIX.pack(size), payload)
            elif kind == b"P":
                self._reply += pack(b"O", payload, self._next_mask())
            elif kind == b"C":
                self._ended = True
        return b"".join(pieces), position

    def _mistake(self, kind: bytes, size: int, limit: int) -> Exception | None:
        if kind not in (b"M", b"P", b"C"):
            return MalformedPacket(f"a toy's frame of kind {kind!r}")
        most = limit if kind == b"M" else MOST_SAID
        return FrameTooLarge(size, most) if size > most else None

    def encode(self, chunk: Buffer) -> bytes:
        pieces, position = [], 0
        while position < len(chunk):
            begin = position + PREFIX_SIZE
            position = begin + PREFIX.unpack_from(chunk, position)[0]
            pieces.append(pack(b"M", bytes(chunk[begin:position]), self._next_mask()))
        return b"".join(pieces)

    def whole(self, encoded: bytes, written: int) -> int:
        position = count = 0
        while position < len(encoded):
            position += HEAD.size + HEAD.unpack_from(encoded, position)[1]
            if position > written:
                break
            count += 1
        return count

    def take_reply(self) -> bytes:
        reply, self._reply = self._reply, b""
        return reply

    def farewell(self, reason: CloseReason) -> bytes:
        return pack(b"C", reason.name.encode(), self._next_mask())

    def _next_mask(self) -> int:
        self._mask = (self._mask + 1) % 256
        return self._mask


LANE = Lane("toy", ToyFraming, (Preamble,))


class Speaker(Base):
    """The client's side."""

    opening = WELCOME

    def __init__(self) -> None:
        self._received = b""
        self._welcomed = False
        self._mask = 100

    def encode(self, message: bytes) -> bytes:
        self._mask = (self._mask + 7) % 256
        return pack(b"M", message, self._mask)

    def decode(self, data: bytes) -> list[bytes]:
        self._received += data
        messages = []
        if not self._welcomed and len(self._received) >= 3:
            assert self._received.startswith(b"OK\n")
            self._received, self._welcomed = self._received[3:], True
        while self._welcomed and len(self._received) >= HEAD.size:
            kind, size, mask = HEAD.unpack_from(self._received)
            if len(self._received) < HEAD.size + size:
                break
            payload = self._received[HEAD.size : HEAD.size + size].translate(MASKS[mask])
            self._received = self._received[HEAD.size + size :]
            assert kind in (b"M", b"O", b"C"), "cut"
            if kind == b"M":
                messages.append(payload)
            elif kind == b"O":
                assert payload == b"are you there?"
                self.pongs += 1
            else:
                self.ended = True
        return messages

    def ping(self) -> bytes:
        return pack(b"P", b"are you there?", 3)

    def close(self) -> bytes:
        return pack(b"C", b"", 0)
