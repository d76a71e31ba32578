"""The socket between the two processes, and the descriptors that go over it (SCM_RIGHTS, man 7 unix).

Both sides wait for each other, each with a deadline: what is on its way is all that there is to do.
"""

from __future__ import annotations

import array
import os
import socket
import time
from collections import deque

from ...store.records import Damaged
from .notes import Greeting, Kinds, Note, greeting_in, head_of, note_at, piece_in

MOST_DESCRIPTORS = 200
"""With one message; the kernel allows for 253."""
PIECE = 1 << 15
"""Bytes of notes that are sent at once, about: the other side begins with them while more are being made."""
_MOST_READ = 1 << 18
_SIZE = array.array("i").itemsize
_ROOM = socket.CMSG_SPACE(253 * _SIZE)
_CLOSED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Ended(OSError):
    """The other side is gone, or does not answer in time."""


class Wire:
    """One side's end. `deadline`: of all that is waited for, on the monotonic clock."""

    def __init__(self, sock: socket.socket, kinds: Kinds | None = None) -> None:
        """`kinds`: as for `note_at`."""
        self.sock = sock
        self._kinds = kinds
        self.deadline = time.monotonic()
        self._parts: list[bytes] = []  # what is to be sent
        self._size = 0
        self._passed: list[int] = []
        self._pending: list[memoryview] = []  # of that, what is being sent, ...
        self._rights: list[tuple[int, int, array.array[int]]] = []  # ... and what goes with its first byte
        self._data = bytearray()  # what was received
        self._position = 0
        self._piece = b""  # what of that is looked at, ...
        self._at = 0  # ... and how far
        self._descriptors: deque[int] = deque()

    def allow(self, seconds: float) -> None:
        """All that is waited for from now on may take so long together."""
        self.deadline = time.monotonic() + seconds

    # ---- there

    def say(self, words: bytes, descriptor: int = -1) -> None:
        """Say this, with a descriptor if there is one, which stays open here. Raises Ended."""
        self.add(words, descriptor)
        if self.is_full:
            self.flush()

    def add(self, words: bytes, descriptor: int = -1) -> None:
        """The same, to be sent by `push`."""
        self._parts.append(words)
        self._size += len(words)
        if descriptor >= 0:
            self._passed.append(descriptor)

    @property
    def is_full(self) -> bool:
        """Whether enough was said for it to be sent."""
        return self._size >= PIECE or len(self._passed) >= MOST_DESCRIPTORS

    def push(self) -> bool:
        """Send all that was said, as far as it goes without waiting. Whether that was all. Raises Ended."""
        try:
            self.sock.setblocking(False)
            self._begin()
            while self._pending:
                self._send_once()
                self._begin()
        except BlockingIOError:
            return False
        except OSError as error:
            raise _ended(error) from None
        return True

    def greet(self, greeting: Greeting) -> None:
        """Say this first. Raises Ended."""
        self.word(greeting.encode())

    def word(self, word: bytes) -> None:
        """Say this, which is no note, behind all that was flushed. Raises Ended."""
        self._pending.append(memoryview(word))
        self._send()

    def flush(self) -> None:
        """Send all that was said. Raises Ended."""
        self._send()
        self._begin()
        self._send()

    def _begin(self) -> None:
        """The next piece, once there is nothing in front of it."""
        if self._parts and not self._pending:
            piece = b"".join(self._parts)
            self._pending = [memoryview(head_of(piece)), memoryview(piece)]
            if self._passed:
                self._rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", self._passed))]
            self._parts, self._passed, self._size = [], [], 0

    def _send(self) -> None:
        try:
            while self._pending:
                self.sock.settimeout(self._left())
                self._send_once()
        except OSError as error:
            raise _ended(error) from None

    def _send_once(self) -> None:
        views = self._pending
        sent = self.sock.sendmsg(views, self._rights)
        self._rights = []
        while views and sent >= len(views[0]):
            sent -= len(views.pop(0))
        if sent:
            views[0] = views[0][sent:]

    # ---- and back

    def note(self) -> Note:
        """The next note. Raises Ended, Damaged."""
        while (found := self.note_now()) is None:
            self._receive()
        return found

    def greeting(self) -> Greeting:
        """The other side's. Raises Ended, Damaged."""
        while (found := greeting_in(self._data)) is None:
            self._receive()
        greeting, self._position = found
        return greeting

    def wait(self) -> None:
        """Until something has come. Raises Ended, Damaged."""
        while self._position == len(self._data):
            self._receive()

    def byte(self) -> bytes:
        """One byte. Raises Ended."""
        self.wait()
        self._position += 1
        return bytes(self._data[self._position - 1 : self._position])

    # ---- without waiting

    def receive_now(self) -> bool:
        """Receive what is there. Whether more may come. Raises Damaged."""
        if self.sock.gettimeout() != 0.0:
            self.sock.setblocking(False)
        try:
            while True:
                self._receive_once()
        except BlockingIOError:
            return True
        except OSError:
            return False

    def greeting_now(self) -> Greeting | None:
        """The other side's, if it is there. Raises Damaged."""
        found = greeting_in(self._data)
        if found is None:
            return None
        greeting, self._position = found
        return greeting

    def note_now(self) -> Note | None:
        """The next note, if it is there. Raises Damaged."""
        if self._at == len(self._piece):
            found = piece_in(self._data, self._position)
            if found is None:
                return None
            self._piece, self._position = found
            self._at = 0
        note, self._at = note_at(self._piece, self._at, self._kinds)
        return note

    # ---- descriptors

    def descriptor(self) -> int:
        """The next one that came; it is the caller's to close. Raises Damaged."""
        if not self._descriptors:
            raise Damaged("a descriptor is missing")
        return self._descriptors.popleft()

    def _receive(self) -> None:
        try:
            self.sock.settimeout(self._left())
            self._receive_once()
        except OSError as error:
            raise _ended(error) from None

    def _receive_once(self) -> None:
        if self._position:
            del self._data[: self._position]
            self._position = 0
        data, messages, flags, _ = self.sock.recvmsg(_MOST_READ, _ROOM, _CLOSED)
        for level, kind, rights in messages:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(rights[: len(rights) - len(rights) % _SIZE])
                self._descriptors += numbers
                for number in numbers if not _CLOSED else ():
                    os.set_inheritable(number, False)
        if flags & socket.MSG_CTRUNC:
            raise Damaged("there is no room for so many descriptors: is RLIMIT_NOFILE lower here?")
        if not data:
            raise Ended("it has ended")
        self._data += data

    def _left(self) -> float:
        return max(0.001, self.deadline - time.monotonic())

    def close(self) -> None:
        """Give back the socket, and every descriptor that came and nobody has."""
        self.sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())


def _ended(error: OSError) -> Ended:
    if isinstance(error, Ended):
        return error
    if isinstance(error, (socket.timeout, BlockingIOError)):
        return Ended("it does not answer in time")
    return Ended(error.strerror or str(error))
