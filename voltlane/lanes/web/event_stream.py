"""An event stream as a framing: one way only. What a client sends behind its request is read, and ignored."""

from __future__ import annotations

from ...core.protocols import ends
from ...reasons import BY_PEER, CloseReason
from ...wire.event_stream import COMMENT, END, Token, encode_packets, named_event
from ...wire.framing import PREFIX, PREFIX_SIZE, Buffer
from ...wire.v3 import Code
from ..framing import EVERY, Framing


class EventStream(Framing):
    """One connection's."""

    __slots__ = ("_left", "_number", "_prefix")

    name = "events"
    pinged = True

    def __init__(self) -> None:
        self._prefix = b""  # of the ids: the session's token
        self._number = 0  # of the packet that was encoded last
        self._left = False

    def decode(self, data: Buffer, start: int, stop: int, limit: int, most: int = EVERY) -> tuple[bytes, int]:
        """See Framing."""
        return b"", stop

    def encode(self, chunk: Buffer) -> bytes:
        """See Framing."""
        packets, position, end = [], 0, len(chunk)
        chunk = bytes(chunk)
        while position < end:
            begin = position + PREFIX_SIZE
            position = begin + PREFIX.unpack_from(chunk, position)[0]
            packets.append(chunk[begin:position])
        encoded = encode_packets(packets, self._prefix, self._number)
        self._number += len(packets)
        return encoded

    def whole(self, encoded: bytes, written: int) -> int:
        """See Framing."""
        return encoded.count(END, 0, written)

    def ping(self) -> bytes:
        """See Framing. Nobody answers it, and nobody has to."""
        return COMMENT

    def welcome(self, token: Token, number: int, lost: str) -> bytes:
        """The first event: whose stream it is, behind the packet of this number. `lost`: why it is not the session that
        was asked for."""
        told = {"client_id": token.client_id, "token": token.encode()}
        self._prefix, self._number = f"{token.encode()}.".encode(), number
        return named_event("session", {**told, "lost": lost} if lost else told, self._place())

    def gap(self, first: int, last: int) -> bytes:
        """These packets will not come."""
        self._number = last
        return named_event("gap", {"first": first, "last": last}, self._place())

    def farewell(self, reason: CloseReason) -> bytes:
        """See Framing. A browser's own reader comes back whatever it is told; the page can tell it not to."""
        if self._left or reason in BY_PEER or not self._prefix:
            return b""
        self._left = True
        return named_event("end", {"code": int(ends.CODES.get(reason, Code.DROPPED)), "reason": reason.value})

    def _place(self) -> bytes:
        return b"%s%d" % (self._prefix, self._number)
