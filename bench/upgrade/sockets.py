"""What stands between a client and its socket. To the client both are sockets whose stream has messages with their
sizes in front."""

from __future__ import annotations

import socket

from voltlane.wire.framing import PREFIX, PREFIX_SIZE
from voltlane.wire.websocket import FIN, MASKED, OPCODE, WHOLE_BINARY, Opcode, read_head, write_head

from ..wires import Fault

_REQUEST = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: {}\r\n\r\n"
)
_NO_MASK = bytes(4)
"""A key that changes nothing: the generator has better things to do."""


class Dam:
    """Lets everything through, or half of what is sent, and keeps the rest until it is opened."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._kept = b""
        self.shut = False
        """Whether the next words are cut in the middle, and none are let through behind that."""

    def fileno(self) -> int:
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        self._sock.setblocking(flag)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def recv_into(self, buffer: bytearray) -> int:
        return self._sock.recv_into(buffer)

    def sendmsg(self, pieces: tuple[bytes, ...]) -> int:
        return self.send(b"".join(pieces))

    def send(self, words: bytes | memoryview) -> int:
        if self._kept:
            if not self.shut:
                self.push()
            if self._kept:
                raise BlockingIOError
        if not self.shut:
            return self._sock.send(words)
        half = max(1, len(words) // 2)
        sent = self._sock.send(words[:half])
        self._kept = bytes(words[sent:])
        return len(words)

    def push(self) -> None:
        """Send what was kept, as far as it goes."""
        try:
            self._kept = self._kept[self._sock.send(self._kept) :]
        except BlockingIOError:
            pass

    @property
    def keeps(self) -> bool:
        """Whether something is not sent yet."""
        return bool(self._kept)

    def close(self) -> None:
        self._sock.close()


class Tunnel(Dam):
    """A WebSocket: the same, whose words are messages with their sizes in front on this side of it."""

    def __init__(self, sock: socket.socket, subprotocol: str) -> None:
        super().__init__(sock)
        sock.settimeout(20)
        sock.sendall(_REQUEST.format(subprotocol).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            more = sock.recv(1)
            if not more:
                raise Fault("a WebSocket was refused")
            answer += more
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Fault(f"a WebSocket was refused: {answer[:60]!r}")
        sock.setblocking(False)
        self._got = b""
        self._unsent = b""

    def send(self, words: bytes | memoryview) -> int:
        if self._unsent:
            self._unsent = self._unsent[super().send(self._unsent) :]
            if self._unsent:
                raise BlockingIOError
        view, position, frames = bytes(words), 0, []
        while position < len(view):
            begin = position + PREFIX_SIZE
            position = begin + PREFIX.unpack_from(view, position)[0]
            payload = view[begin:position]
            frames.append(write_head(WHOLE_BINARY, len(payload), MASKED) + _NO_MASK + payload)
        self._unsent = b"".join(frames)
        try:
            self._unsent = self._unsent[super().send(self._unsent) :]
        except BlockingIOError:
            pass
        return len(words)

    def push(self) -> None:
        super().push()
        if self._unsent and not self._kept:
            try:
                self._unsent = self._unsent[super().send(self._unsent) :]
            except BlockingIOError:
                pass

    @property
    def keeps(self) -> bool:
        return bool(self._kept or self._unsent)

    def recv(self, size: int) -> bytes:
        data = self._sock.recv(size)
        if not data:
            return data
        got, position, messages = self._got + data, 0, []
        while (head := read_head(got, position, len(got), 0)) is not None:
            first, length, begin = head
            end = begin + length
            if end > len(got):
                break
            position = end
            if first & OPCODE == Opcode.PING:
                super().send(write_head(FIN | Opcode.PONG, length, MASKED) + _NO_MASK + got[begin:end])
            elif first != WHOLE_BINARY:
                raise Fault(f"a frame that begins with {first:#x}: {got[begin:end][:60]!r}")
            else:
                messages.append(PREFIX.pack(length) + got[begin:end])
        self._got = got[position:]
        if not messages:
            raise BlockingIOError
        return b"".join(messages)

    def recv_into(self, buffer: bytearray) -> int:
        data = self.recv(1 << 16)
        buffer[: len(data)] = data
        return len(data)
