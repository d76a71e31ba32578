"""The socket between a parent and a worker. What is said in a turn goes out at its end, as one piece with all the
descriptors that belong to it; neither side waits for the other.
"""

from __future__ import annotations

import array
import errno
import socket
from collections import deque
from typing import Callable, NamedTuple, Optional

from ...core.timers import Timer
from ...net.poller import WRITE
from ...net.reactor import Handler, Reactor
from ...reasons import CloseReason
from ...store.records import Damaged
from ..handover.notes import Note, head_of
from ..handover.wire import MOST_DESCRIPTORS, PIECE, Wire

CROWDED = 4
"""So many pieces that the other side has not taken are enough."""
AGAIN_SECS = 0.02
"""Until the kernel is asked again where it has too many descriptors under way."""

_TOO_MANY = {getattr(errno, "ETOOMANYREFS", -1), errno.ENOBUFS, errno.ENOMEM}
Saying = tuple[bytes, Optional[socket.socket]]
"""A note, and the socket that goes with it."""


class _Piece(NamedTuple):
    sayings: list[Saying]
    data: bytes


class Channel(Handler):
    """One side's end. `on_note(note)` gets each note; `on_end(why)` is called once, when the other side is gone, or not
    understood. Sockets that are said belong to the channel from then on."""

    def __init__(
        self, reactor: Reactor, wire: Wire, on_note: Callable[[Note], None], on_end: Callable[[str], None]
    ) -> None:
        self._reactor = reactor
        self._wire = wire
        self._on_note = on_note
        self._on_end = on_end
        self._said: list[Saying] = []
        self._size = 0
        self._sockets = 0
        self._pieces: deque[_Piece] = deque()
        self._sent = 0  # bytes of the first of them
        self._again: Timer | None = None
        self.open = True
        self.on_room: Callable[[], None] = lambda: None
        """Called when the other side was behind with what it was told, and is no more."""
        wire.sock.setblocking(False)
        reactor.add(wire.sock.fileno(), self)

    # ---- there

    def say(self, words: bytes, sock: socket.socket | None = None) -> None:
        """Say this at the end of the turn. To one that is closed it is nothing, and the socket is closed."""
        if not self.open:
            if sock is not None:
                sock.close()
            return
        if not self._said:
            self._reactor.mark_dirty(self)
        self._said.append((words, sock))
        self._size += len(words)
        if sock is not None:
            self._sockets += 1
        if self._size >= PIECE or self._sockets >= MOST_DESCRIPTORS:
            self._wrap()

    @property
    def crowded(self) -> bool:
        """Whether the other side is behind with what it was told."""
        return len(self._pieces) >= CROWDED

    def on_flush(self) -> None:
        """Send what was said in this turn."""
        self._wrap()
        if len(self._pieces) and self._again is None:
            self._send()

    def _wrap(self) -> None:
        if self._said:
            data = b"".join([words for words, _ in self._said])
            self._pieces.append(_Piece(self._said, head_of(data) + data))
            self._said, self._size, self._sockets = [], 0, 0

    def _send(self) -> None:
        was_crowded = self.crowded
        self._send_on()
        if was_crowded and self.open and not self.crowded:
            self.on_room()

    def _send_on(self) -> None:
        pieces, sock = self._pieces, self._wire.sock
        try:
            while pieces:
                piece = pieces[0]
                passed = [given.fileno() for _, given in piece.sayings if given is not None] if not self._sent else []
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", passed))] if passed else []
                self._sent += sock.sendmsg([memoryview(piece.data)[self._sent :]], rights)
                for _, given in piece.sayings if passed else ():
                    if given is not None:
                        given.close()
                if self._sent == len(piece.data):
                    pieces.popleft()
                    self._sent = 0
        except BlockingIOError:
            self._reactor.filled(sock)
        except OSError as error:
            if error.errno in _TOO_MANY:
                self._again = self._reactor.call_later(AGAIN_SECS, self._on_again)
            else:
                self._finish(error.strerror or str(error))

    def _on_again(self, now: float) -> None:
        self._again = None
        self._send()

    def unsent(self) -> list[Saying]:
        """Behind the end: what the other side has not been told, with the sockets that it did not get."""
        pieces = list(self._pieces)[1 if self._sent else 0 :]
        found = [saying for piece in pieces for saying in piece.sayings] + self._said
        self._pieces.clear()
        self._said = []
        return found

    # ---- and back

    def on_event(self, mask: int) -> None:
        """The other side has said something, has room again, or is gone."""
        if mask & WRITE and self._pieces and self._again is None:
            self._send()
        if self.open and mask & ~WRITE:
            self._read()

    def _read(self) -> None:
        try:
            goes_on = self._wire.receive_now()
            self.deliver()
        except Damaged as error:
            self._finish(f"what it says is not understood: {error}")
            return
        if not goes_on:
            self._finish("it has ended")
        elif self.open:
            self._reactor.drained(self._wire.sock)

    def deliver(self) -> None:
        """Hand over the notes that are there. Raises Damaged."""
        while self.open and (found := self._wire.note_now()) is not None:
            try:
                self._on_note(found)
            except Damaged:
                raise
            except Exception as error:  # of ours, about one note: the others are no worse for it
                self._reactor.failed(None, error)

    def socket(self, family: int) -> socket.socket:
        """The stream socket of the next descriptor that came, of this family. Raises Damaged."""
        sock = socket.socket(family, socket.SOCK_STREAM, 0, self._wire.descriptor())
        sock.setblocking(False)
        return sock

    # ---- the end

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """After an error of ours."""
        self._finish(detail or reason.value)

    def end(self) -> None:
        """Say no more, and hear nothing."""
        if self.open:
            self.open = False
            if self._again is not None:
                self._reactor.cancel(self._again)
            self._reactor.release(self._wire.sock)
            self._wire.close()

    def _finish(self, why: str) -> None:
        if self.open:
            self.end()
            self._on_end(why)
