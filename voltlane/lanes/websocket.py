"""WebSocket (RFC 6455), behind its upgrade: a message of it is a message, and its pings, pongs and closes are the
framing's own.

Whole messages go through the loops of `wire.batch`, as many at once as there are. What these stop at, a control frame,
a message in parts or a mistake, is looked at here, one frame at a time.
"""

from __future__ import annotations

from ..core.protocols import ends
from ..errors import MalformedFrame, ProtocolError, TextRefused
from ..reasons import CloseReason
from ..wire.batch import frame, mask, unmask
from ..wire.framing import PREFIX, PREFIX_SIZE, Buffer
from ..wire.v3 import Code
from ..wire.websocket import (
    CONTROL,
    FIN,
    KEY_SIZE,
    OPCODE,
    PING,
    WHOLE_BINARY,
    WHOLE_TEXT,
    CloseCode,
    Opcode,
    Parts,
    check_size,
    check_text,
    client_head,
    decode_close,
    encode_close,
    is_text,
    server_frame,
    server_head,
    whole_frames,
)
from .framing import EVERY, Framing

CODES: dict[CloseReason, int] = {
    CloseReason.PEER_CLOSED: CloseCode.NORMAL,
    CloseReason.SHUTDOWN: CloseCode.GOING_AWAY,
    CloseReason.UPGRADE: CloseCode.GOING_AWAY,
    CloseReason.DRAINED: CloseCode.GOING_AWAY,
    CloseReason.MALFORMED_FRAME: CloseCode.PROTOCOL,
    CloseReason.TEXT_REFUSED: CloseCode.UNSUPPORTED,
    CloseReason.BAD_TEXT: CloseCode.BAD_DATA,
    CloseReason.FRAME_TOO_LARGE: CloseCode.TOO_BIG,
}
"""Where the RFC has a code of its own. All others have those of version 3, whatever is spoken (SPEC 18)."""


def code_for(reason: CloseReason) -> int:
    """The code that a WebSocket is closed with."""
    return CODES.get(reason) or ends.CODES.get(reason, Code.DROPPED)


# What is known of a connection, in one small number.
TEXT_TAKEN = 1  # text may come
DECIDED = 2  # a first message has come
TEXT_SAID = 4  # it was text, and so is what goes out
LEFT = 8  # our close is said

_STATE_SIZE = 3
_PARTS_COST = 320
"""Bytes of a message in parts, besides those of its parts."""


class WebSocket(Framing):
    """One connection's. With `text`, messages may be text, and when the first one is, those that go out are text too,
    as far as they are UTF-8; without, a text message is refused."""

    __slots__ = ("_close", "_flags", "_labour", "_parts", "_pongs", "heard")

    name = "websocket"
    pinged = True
    laborious = True

    def __init__(self, text: bool = False) -> None:
        self._flags = TEXT_TAKEN if text else DECIDED
        self.heard = True
        """See Framing. Whoever takes something past `decode` says so here."""
        self._parts: Parts | None = None  # a message of which not all has come
        self._pongs = b""  # what is to be answered
        self._close = 0  # the code of the peer's close
        self._labour = 0  # frames looked at one by one

    @property
    def held(self) -> int:
        """See Framing."""
        parts = self._parts
        return 0 if parts is None else len(parts.data) + len(parts.data) // 8 + _PARTS_COST

    @property
    def ended(self) -> bool:
        """See Framing."""
        return self._close != 0

    @property
    def plain_binary(self) -> bool:
        """Whether the next message, if it is binary and whole, may be taken past `decode`, by `retag_masked`: no other
        is under way, and it would decide nothing. What is taken so is `heard`."""
        return self._parts is None and not self._close and self._flags & DECIDED != 0

    def take_labour(self) -> int:
        """See Framing: frames that are no whole messages, or that the batch loops leave for another reason."""
        labour, self._labour = self._labour, 0
        return labour

    def ping(self) -> bytes:
        """Bytes of the wire to be said between messages, which the peer has to answer: see `heard`."""
        self.heard = False
        return PING

    # ---- from one process to another

    def state(self) -> bytes:
        """See Framing: flags, whether it was heard, and the message in parts: 0 none, 1 binary, 2 text, then its
        bytes."""
        parts = self._parts
        kind = 0 if parts is None else 1 + parts.text
        return bytes((self._flags, self.heard, kind)) + (b"" if parts is None else bytes(parts.data))

    def restore(self, state: bytes) -> None:
        """See Framing."""
        if len(state) < _STATE_SIZE or state[2] > 2:
            raise MalformedFrame("that is no state of a WebSocket")
        self._flags, self.heard, kind = state[0], bool(state[1]), state[2]
        self._parts = None
        if kind:
            self._parts = Parts(kind == 2)
            self._parts.add(state[_STATE_SIZE:], False)

    # ---- upwards

    def decode(self, data: Buffer, start: int, stop: int, limit: int, most: int = EVERY) -> tuple[bytes, int]:
        """See Framing. Raises MalformedFrame, TextRefused, BadText, FrameTooLarge."""
        if isinstance(data, memoryview):  # the loops take what can be compared by slices
            chunk, used = self.decode(bytes(data[start:stop]), 0, stop - start, limit, most)
            return chunk, start + used
        pieces: list[bytes] = []
        position, in_batches = start, most == EVERY
        try:
            while most and position < stop and not self._close:
                if in_batches and self._parts is None and self._flags & DECIDED:
                    chunk, position, in_batches = self._batch(data, position, stop, limit)
                    pieces.append(chunk)
                before = position
                message, position = self._frame(data, position, stop, limit)
                if message is not None:
                    pieces += (PREFIX.pack(len(message)), message)
                    most -= 1
                elif position == before:
                    break
                self._labour += 1
        except ProtocolError:
            if position == start:
                raise
        if position != start:
            self.heard = True
        return b"".join(pieces), position

    def _batch(self, data: bytes | bytearray, start: int, stop: int, limit: int) -> tuple[bytes, int, bool]:
        """The whole messages at the beginning, of the kind that the first one was, as a chunk; the position behind
        them; and whether that worked: where one is no text, somebody has to find out which."""
        text = self._flags & TEXT_SAID
        chunk, position, _ = unmask(data, start, stop, WHOLE_TEXT if text else WHOLE_BINARY, limit)
        if text and not chunk.isascii() and not all(map(is_text, _messages(chunk))):
            return b"", start, False
        return chunk, position, True

    def _frame(self, data: bytes | bytearray, start: int, stop: int, limit: int) -> tuple[bytes | None, int]:
        """Use the frame at `start`, if it is whole: the message that is whole with it, and the position behind it."""
        head = client_head(data, start, stop)
        if head is None:
            return None, start
        first, size, begin = head
        opcode, end = first & OPCODE, begin + size
        if not opcode & CONTROL:
            self._admit(opcode, size, limit)
        if end > stop:
            return None, start
        payload = mask(data[begin:end], bytes(data[begin - KEY_SIZE : begin]))
        if opcode & CONTROL:
            self._control(opcode, payload)
            return None, end
        return self._part(opcode, payload, first & FIN != 0), end

    def _admit(self, opcode: int, size: int, limit: int) -> None:
        """A part of a message is announced: may it be?"""
        parts = self._parts
        if opcode == Opcode.CONTINUATION:
            if parts is None:
                raise MalformedFrame("a continuation of no message")
        elif parts is not None:
            raise MalformedFrame("a message that begins inside of another")
        elif opcode == Opcode.TEXT and not self._flags & TEXT_TAKEN:
            raise TextRefused("a text message; the protocol that was agreed on has binary ones only")
        check_size(size, 0 if parts is None else len(parts.data), limit)

    def _part(self, opcode: int, payload: bytes, last: bool) -> bytes | None:
        """A part of a message, or all of it. A mistake changes nothing: it is asked for again."""
        parts = self._parts
        if parts is None and last:
            if opcode == Opcode.TEXT:
                check_text(payload)
            self._decide(opcode == Opcode.TEXT)
            return payload
        if parts is None:
            parts = Parts(opcode == Opcode.TEXT)
        parts.add(payload, last)
        self._parts = None if last else parts
        if not last:
            return None
        self._decide(parts.text)
        return bytes(parts.data)

    def _decide(self, text: bool) -> None:
        if not self._flags & DECIDED:
            self._flags |= DECIDED | TEXT_SAID if text else DECIDED

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PING:
            self._pongs += server_frame(Opcode.PONG, payload)  # never more bytes than came
        elif opcode == Opcode.CLOSE:
            self._close, _ = decode_close(payload)

    # ---- downwards

    def encode(self, chunk: Buffer) -> bytes:
        """See Framing."""
        if not self._flags & TEXT_SAID:
            return frame(chunk, WHOLE_BINARY)
        chunk = bytes(chunk)
        if chunk.isascii():
            return frame(chunk, WHOLE_TEXT)
        pieces: list[bytes] = []
        for message in _messages(chunk):
            pieces += (server_head(WHOLE_TEXT if is_text(message) else WHOLE_BINARY, len(message)), message)
        return b"".join(pieces)

    def whole(self, encoded: bytes, written: int) -> int:
        """See Framing."""
        return whole_frames(encoded, written)

    def take_reply(self) -> bytes:
        """See Framing."""
        pongs, self._pongs = self._pongs, b""
        return pongs

    def farewell(self, reason: CloseReason) -> bytes:
        """See Framing: a close, once. Who has closed gets its own code back."""
        if self._flags & LEFT:
            return b""
        self._flags |= LEFT
        if self._close:
            return encode_close(self._close)
        return encode_close(code_for(reason), reason.value)


def _messages(chunk: bytes) -> list[bytes]:
    messages, position, end = [], 0, len(chunk)
    while position < end:
        begin = position + PREFIX_SIZE
        position = begin + PREFIX.unpack_from(chunk, position)[0]
        messages.append(chunk[begin:position])
    return messages
