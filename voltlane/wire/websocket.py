"""Frames of WebSocket (RFC 6455), as both sides read and write them: heads, closes, and the message that is in parts.

    first byte   FIN · three reserved bits · opcode
    second       mask · seven bits of size; 126: u16 big-endian follows, 127: u64
    key          four bytes, which a client's payload is XORed with; a server's frames have none
    payload

Payloads are taken off their masks by `wire.batch`, whole batches of them where they are simple.
"""

from __future__ import annotations

import codecs
import enum
from base64 import b64encode
from hashlib import sha1
from struct import Struct

from ..errors import BadText, FrameTooLarge, MalformedFrame
from .framing import Buffer


class Opcode(enum.IntEnum):
    """What a frame is (RFC 6455, 5.2). From 8 on they are control frames, which may stand inside of a message."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(enum.IntEnum):
    """Those of the RFC (7.4.1) that a server says; 3000 to 4999 are for libraries and applications."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    UNSUPPORTED = 1003
    BAD_DATA = 1007
    TOO_BIG = 1009


FIN = 0x80
RESERVED = 0x70
OPCODE = 0x0F
MASKED = 0x80
CONTROL = 0x08
WHOLE_TEXT, WHOLE_BINARY = FIN | Opcode.TEXT, FIN | Opcode.BINARY
"""First bytes of messages in one frame."""

KEY_SIZE = 4
MOST_CONTROL = 125
"""Bytes of the largest payload of a control frame, and of the largest that the second byte says by itself."""
MOST_16 = 0xFFFF
SIZE_16, SIZE_64 = 126, 127
"""In the place of a size: it follows."""
_U16, _U64 = Struct(">H"), Struct(">Q")
_FIRST_BYTES = frozenset([*range(3), *(FIN | opcode for opcode in Opcode)])
"""Those that a client's frame may begin with."""

PING = bytes((FIN | Opcode.PING, 0))
"""The server's, empty."""


# ---- the opening handshake

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: bytes) -> bytes:
    """What a server answers a `Sec-WebSocket-Key` with, in `Sec-WebSocket-Accept` (RFC 6455, 4.2.2).

    >>> accept_key(b"dGhlIHNhbXBsZSBub25jZQ==")
    b's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


# ---- heads


def client_head(data: Buffer, start: int, stop: int) -> tuple[int, int, int] | None:
    """The head of the client's frame that begins at `start`: its first byte, the size of its payload, and where that
    begins, behind its key. None while `data[start:stop]` does not say the size yet; the key need not be there.

    Raises MalformedFrame as soon as what is there cannot be the head of a client's frame.
    """
    return read_head(data, start, stop, MASKED)


def read_head(data: Buffer, start: int, stop: int, masked: int) -> tuple[int, int, int] | None:
    """The same for either side: a client's frames are `masked`, MASKED, and a server's are not, 0."""
    if start == stop:
        return None
    first = data[start]
    if first not in _FIRST_BYTES:
        raise _refused(first)
    if stop - start < 2:
        return None
    second = data[start + 1]
    size = second & ~MASKED
    if second & MASKED != masked:
        raise MalformedFrame(
            "a frame without a mask, which only servers may send"
            if masked
            else "a frame with a mask, which only clients may send"
        )
    if first & CONTROL and size > MOST_CONTROL:
        raise MalformedFrame(f"a control frame of more than {MOST_CONTROL} bytes")
    begin = start + 2
    if size >= SIZE_16:
        form, least = (_U16, SIZE_16) if size == SIZE_16 else (_U64, MOST_16 + 1)
        begin += form.size
        if begin > stop:
            return None
        (size,) = form.unpack_from(data, start + 2)
        if size < least:
            raise MalformedFrame(f"a size of {size} bytes said in {form.size} bytes; it must be in the fewest possible")
        if size >> 63:
            raise MalformedFrame("a size whose highest bit is set")
    return first, size, begin + KEY_SIZE if masked else begin


def _refused(first: int) -> MalformedFrame:
    """Why a frame may not begin with this byte."""
    if first & RESERVED:
        return MalformedFrame(f"a frame with reserved bits set (0x{first:02x}); no extension was agreed on")
    opcode = first & OPCODE
    if opcode in list(Opcode):
        return MalformedFrame(f"a {Opcode(opcode).name.lower()} in parts; only messages may be")
    return MalformedFrame(f"opcode {opcode}; there are {', '.join(str(int(one)) for one in Opcode)}")


def server_head(first: int, size: int) -> bytes:
    """The head of a server's frame: without a key."""
    return write_head(first, size, 0)


def write_head(first: int, size: int, masked: int) -> bytes:
    """The head of a frame of either side, up to its key."""
    if size <= MOST_CONTROL:
        return bytes((first, masked | size))
    if size <= MOST_16:
        return bytes((first, masked | SIZE_16)) + _U16.pack(size)
    return bytes((first, masked | SIZE_64)) + _U64.pack(size)


def server_frame(opcode: Opcode, payload: bytes = b"") -> bytes:
    """A whole frame of the server's."""
    return server_head(FIN | opcode, len(payload)) + payload


def whole_frames(encoded: Buffer, written: int) -> int:
    """How many of the server's frames the first `written` bytes hold whole."""
    position = count = 0
    while position < written:
        size = encoded[position + 1]
        if size <= MOST_CONTROL:
            position += 2 + size
        elif size == SIZE_16:
            position += 4 + int(_U16.unpack_from(encoded, position + 2)[0])
        else:
            position += 10 + int(_U64.unpack_from(encoded, position + 2)[0])
        count += position <= written
    return count


# ---- messages


class Parts:
    """A message of which not all frames have come."""

    __slots__ = ("_check", "data", "text")

    def __init__(self, text: bool) -> None:
        self.text = text
        self.data = bytearray()
        self._check = codecs.getincrementaldecoder("utf-8")() if text else None

    def add(self, part: bytes, last: bool) -> None:
        """The next part, off its mask. Raises BadText, and has taken nothing then: text is looked at part by part."""
        if self._check is not None:
            try:
                self._check.decode(part, last)
            except UnicodeDecodeError as error:
                raise not_utf8(error) from None
        self.data += part


def check_size(size: int, before: int, limit: int) -> None:
    """Raises FrameTooLarge for a part of so many bytes behind others, if the message is over the limit with it."""
    if before + size > limit:
        raise FrameTooLarge(before + size, limit)


def check_text(message: Buffer) -> None:
    """Raises BadText."""
    try:
        str(message, "utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None


def is_text(message: Buffer) -> bool:
    """Whether it is UTF-8."""
    try:
        str(message, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def not_utf8(error: UnicodeDecodeError) -> BadText:
    """What is raised then. The text itself is the client's, and not for a log."""
    return BadText(f"text that is not UTF-8: {error.reason}")


# ---- closes

NO_CODE = 1005
"""What stands for the code of a close without one; never on the wire."""
_SAID_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
_MOST_REASON = MOST_CONTROL - _U16.size


def decode_close(payload: Buffer) -> tuple[int, str]:
    """A close's code and reason; NO_CODE and "" where it has none (RFC 6455, 5.5.1 and 7.4).

    Raises MalformedFrame for a payload of one byte, or a code that nobody may send, BadText for a reason that is none.
    """
    if not len(payload):
        return NO_CODE, ""
    if len(payload) < _U16.size:
        raise MalformedFrame("a close of one byte, which is half of a code")
    (code,) = _U16.unpack_from(payload)
    if code not in _SAID_CODES and not 3000 <= code <= 4999:
        raise MalformedFrame(f"a close with code {code}, which must not be sent")
    try:
        return code, str(payload[_U16.size :], "utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None


def encode_close(code: int, reason: str = "") -> bytes:
    """The server's close; with NO_CODE, one without a code. A reason that is too long is cut."""
    return server_frame(Opcode.CLOSE, close_payload(code, reason))


def close_payload(code: int, reason: str = "") -> bytes:
    """What is in a close; see `encode_close`."""
    if code == NO_CODE:
        return b""
    return _U16.pack(code) + reason.encode()[:_MOST_REASON].decode(errors="ignore").encode()
