"""A WebSocket, the client's side (RFC 6455): the upgrade, and what looks like a socket behind it.

To its owner it is a stream of messages with their length in front, as over TCP; on the wire each is a binary message
of the WebSocket's. Pings, pongs and closes are seen to here.
"""

from __future__ import annotations

import errno
import os
import socket
from base64 import b64encode
from contextlib import suppress
from threading import Lock
from zlib import crc32

from ..address import WEB_PORTS, Address, host_in_ascii
from ..errors import BadText, ConnectionLost, FrameTooLarge, MalformedFrame, ProtocolError, SessionLost, TextRefused
from ..net.sockets import NO_SIGNAL, close_gently
from ..wire.batch import mask
from ..wire.framing import PREFIX, PREFIX_SIZE
from ..wire.http1.upgrade import ask, read_answer
from ..wire.v3 import may_return
from ..wire.websocket import (
    CONTROL,
    FIN,
    KEY_SIZE,
    MASKED,
    NO_CODE,
    OPCODE,
    WHOLE_BINARY,
    CloseCode,
    Opcode,
    Parts,
    check_size,
    close_payload,
    decode_close,
    read_head,
    write_head,
)

SUBPROTOCOLS = {2: "voltlane.v2", 3: "voltlane.v3"}
RECEIVED = 256 << 10
"""Bytes read at once."""
SLICE = 256 << 10
"""Bytes of messages that are masked before the system is asked to take them; one that is larger goes alone."""

_TOLD: dict[type[ProtocolError], int] = {
    FrameTooLarge: CloseCode.TOO_BIG,
    TextRefused: CloseCode.UNSUPPORTED,
    BadText: CloseCode.BAD_DATA,
}
"""What a server is told of its mistakes; of all others that it broke the protocol."""
_ENDS = {CloseCode.NORMAL, NO_CODE}
"""Codes of closes that say nothing but that it is the end."""


class Upgrade:
    """The opening of a WebSocket: see Opening."""

    __slots__ = ("_address", "_asked", "_key", "_limit", "_protocol", "_received", "done")

    def __init__(self, address: Address, protocol: int, limit: int) -> None:
        """`protocol`: its version; `limit`: bytes of the largest message that is taken."""
        self._address = address
        self._protocol = protocol
        self._limit = limit
        self._key = b64encode(os.urandom(16))
        self._asked = self.done = False
        self._received = b""

    def receive(self, data: bytes = b"") -> bytes:
        """See Opening. Raises Refused, MalformedPacket."""
        subprotocol = SUBPROTOCOLS[self._protocol]
        if not self._asked:
            self._asked = True
            return ask(host_header(self._address), self._address.target, self._key, subprotocol)
        self._received += data
        end = read_answer(self._received, self._key, subprotocol)
        if end is not None:
            self.done, self._received = True, self._received[end:]
        return b""

    def bind(self, sock: socket.socket) -> socket.socket:
        """See Opening."""
        return WebSocket(sock, self._received, self._limit, ends_sessions=self._protocol == 2)  # type: ignore[return-value]


def host_header(address: Address) -> str:
    """What a request says of whom it is for."""
    if address.kind == "unix":
        return "localhost"
    host = f"[{address.host.partition('%')[0]}]" if ":" in address.host else host_in_ascii(address.host) or "localhost"
    return host if address.port == WEB_PORTS[address.scheme] else f"{host}:{address.port}"


class WebSocket:
    """A non-blocking socket with a WebSocket in between: of one, what the library calls, with the same meaning.

    One thread may be in `recv` while another is in `send`: an answer to a ping must not get into a frame.

    `ends_sessions`: whether the server's close may say that the session is over. Version 3 has a record for that, which
    nobody on the way can make; version 2 has nothing else.
    """

    __slots__ = (
        "_checksum",
        "_closed",
        "_ended",
        "_ends_sessions",
        "_kept",
        "_left",
        "_limit",
        "_lock",
        "_parts",
        "_received",
        "_refused",
        "_sock",
        "_unsent",
        "_words",
        "family",
    )

    def __init__(self, sock: socket.socket, received: bytes, limit: int, *, ends_sessions: bool = False) -> None:
        self._sock = sock
        self._limit = limit
        self._ends_sessions = ends_sessions
        self._received = bytearray(received)  # frames, the first of them not whole
        self._kept = bytearray()  # messages with their length, not given out
        self._parts: Parts | None = None  # a message of which not all has come
        self._ended: tuple[int, str] | None = None  # the server's close
        self._lock = Lock()  # for all that is below
        self._unsent = b""  # of the wire: frames, the first of them perhaps in part
        self._refused = self._checksum = 0  # bytes of the caller's that are in there, and of these
        self._words = b""  # control frames that go out behind it
        self._left = False  # our close is said
        self._closed = False
        self.family = sock.family

    @property
    def wants_write(self) -> bool:
        """Whether something of its own waits for room."""
        return bool(self._words) or (bool(self._unsent) and not self._refused)

    # ---- reading

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See socket.socket. b"" behind a close that says no more than that; ConnectionLost, SessionLost behind another
        one, or none. Raises ProtocolError: what was received before comes first."""
        while True:
            if self._received and self._ended is None and not self._kept:
                self._decode()
            self._answer()
            if self._kept:
                break
            if self._ended is not None:
                return self._end(*self._ended)
            data = self._sock.recv(RECEIVED)
            if not data:
                raise ConnectionLost("the connection was cut: the WebSocket was not closed")
            self._received += data
        data = bytes(self._kept[:size])
        del self._kept[:size]
        return data

    def _decode(self) -> None:
        """Use the frames that are whole. A mistake is raised once nothing is left to be given out before it."""
        data = self._received
        position, stop = 0, len(data)
        try:
            while self._ended is None:
                before = position
                position = self._frame(data, position, stop)
                if position == before:
                    break
        except ProtocolError as error:
            if self._kept:
                return
            if self._left:  # nobody is to be told any more
                self._ended = NO_CODE, ""
                return
            self._leave(_TOLD.get(type(error), CloseCode.PROTOCOL))
            self._answer()
            raise
        finally:
            del data[:position]

    def _frame(self, data: bytearray, start: int, stop: int) -> int:
        """Use the frame at `start`, if it is whole: the position behind it."""
        head = read_head(data, start, stop, 0)
        if head is None:
            return start
        first, size, begin = head
        opcode, end, parts = first & OPCODE, begin + size, self._parts
        if not opcode & CONTROL:
            if opcode == Opcode.TEXT:
                raise TextRefused("a text message; the protocol that was agreed on has binary ones only")
            if (opcode == Opcode.CONTINUATION) != (parts is not None):
                raise MalformedFrame("a message that begins inside of another, or goes on without a beginning")
            check_size(size, 0 if parts is None else len(parts.data), self._limit)
        if end > stop:
            return start
        payload = bytes(data[begin:end])
        if opcode & CONTROL:
            self._control(opcode, payload)
        elif parts is None and first & FIN:
            self._kept += PREFIX.pack(size) + payload
        else:
            parts = self._parts = parts or Parts(text=False)
            parts.add(payload, bool(first & FIN))
            if first & FIN:
                self._parts = None
                self._kept += PREFIX.pack(len(parts.data)) + parts.data
        return end

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.PING:
            with self._lock:
                if not self._left:
                    self._words = _frame(FIN | Opcode.PONG, payload)  # an older ping need not be answered (5.5.3)
        elif opcode == Opcode.CLOSE:
            self._ended = decode_close(payload)
            self._leave(self._ended[0])

    def _end(self, code: int, text: str) -> bytes:
        if code in _ENDS:
            return b""
        said = f"{text} (code {code})" if text else f"code {code}"
        if self._ends_sessions and not may_return(code):
            raise SessionLost(f"the session is over: {said}", code=code, text=text)
        raise ConnectionLost(f"the server closed the connection: {said}", code=code, text=text)

    # ---- writing

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """See socket.socket. It takes whole messages, each with its length, and counts those that are written; the same
        have to come first the next time, if any do. OSError for others, and BlockingIOError for a part of one."""
        view = memoryview(data)
        with self._lock:
            if not self._refused:
                self._unsent += self._encode(view)
            elif crc32(view[: self._refused]) != self._checksum:
                raise OSError(errno.EPROTO, "other bytes than those that were refused")
            try:
                self._flush()
            finally:
                sent, left = self._refused, bool(self._unsent)
                if left:
                    self._checksum = crc32(view[:sent])
                else:
                    self._refused = 0
            return sent

    def _encode(self, view: memoryview) -> bytes:
        """Frames of the first messages."""
        sizes, position = [], 0
        while position + PREFIX_SIZE <= len(view):
            (size,) = PREFIX.unpack_from(view, position)
            end = position + PREFIX_SIZE + size
            if end > len(view) or (position and end > SLICE):
                break
            sizes.append(size)
            position = end
        if self._left:
            raise BrokenPipeError(errno.EPIPE, "the WebSocket is closed")
        if not sizes:  # version 2 says goodbye with one; a WebSocket has its close
            raise BlockingIOError(errno.EAGAIN, "no message is whole")
        keys = os.urandom(KEY_SIZE * len(sizes))
        pieces: list[bytes] = []
        self._refused, position = position, 0
        for index, size in enumerate(sizes):
            begin, key = position + PREFIX_SIZE, keys[KEY_SIZE * index : KEY_SIZE * (index + 1)]
            position = begin + size
            pieces += (write_head(WHOLE_BINARY, size, MASKED), key, mask(view[begin:position], key))
        return b"".join(pieces)

    def _answer(self) -> None:
        """Send what is to be said between messages, as far as there is room. An error is the reader's to find."""
        if not self._words and not self._unsent:
            return
        with self._lock, suppress(OSError):
            self._flush()

    def _flush(self) -> None:
        """Write frames. Raises BlockingIOError when not all of them are out."""
        while self._unsent or self._words:
            if not self._unsent:
                self._unsent, self._words = self._words, b""
            self._unsent = self._unsent[self._sock.send(self._unsent, NO_SIGNAL) :]

    # ---- the end

    def _leave(self, code: int) -> None:
        """Say our close, once."""
        with self._lock:
            if not self._left:
                self._left = True
                self._words += _frame(FIN | Opcode.CLOSE, close_payload(code))

    def shutdown(self, how: int) -> None:
        """See socket.socket. That no more is sent is said with a close; the connection itself ends from the server
        (RFC 6455, 7.1.1)."""
        if how != socket.SHUT_RD:
            self._leave(CloseCode.NORMAL)
            self._answer()
        if how == socket.SHUT_RDWR:
            self._sock.shutdown(how)

    def close(self) -> None:
        """See socket.socket."""
        if not self._closed:
            self._closed = True
            close_gently(self._sock)

    # ---- what has nothing to do with WebSockets

    def fileno(self) -> int:
        """See socket.socket."""
        return self._sock.fileno()

    def getsockopt(self, level: int, name: int) -> int:
        """See socket.socket."""
        return self._sock.getsockopt(level, name)

    def setsockopt(self, level: int, name: int, value: int) -> None:
        """See socket.socket."""
        self._sock.setsockopt(level, name, value)


def _frame(first: int, payload: bytes) -> bytes:
    """A control frame, with its mask."""
    key = os.urandom(KEY_SIZE)
    return write_head(first, len(payload), MASKED) + key + mask(payload, key)
