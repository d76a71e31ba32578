"""One non-blocking socket with its outbox.

Its face: `try_send`, `try_send_views`, `try_send_many`, `try_flush`, `close`, `closed`. None of them blocks, and none
raises for a dead peer: that closes the stream. Each `try_` answers whether the socket took everything; what it did not
take is in the outbox, and goes out when there is room.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from ..core.outbox import MOST_VIEWS, Chunk, Outbox
from ..reasons import BY_PEER, CloseReason
from .poller import WRITE
from .reactor import Handler, Reactor
from .sockets import half_close

WRITE_QUANTUM = 1 << 20
"""Bytes written to one stream before the others have their turn."""


class Stream(Handler):
    """A connected socket in a reactor. Subclasses say what to read and what to do about pressure and closing."""

    __slots__ = ("outbox", "reactor", "sock")

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.reactor = reactor
        self.sock: socket.socket | None = sock
        self.outbox: Outbox | None = None
        reactor.add(sock.fileno(), self)

    @property
    def closed(self) -> bool:
        """Whether the stream was given up, by either side."""
        return self.sock is None

    # ---- for subclasses to fill in

    def on_readable(self) -> None:
        """There is something to read, or an end to be told of. Read all of it, or remember that there is more."""
        raise NotImplementedError

    def new_outbox(self) -> Outbox:
        """An outbox for this stream, whose socket would not take everything."""
        return Outbox()

    def on_pressure(self) -> None:
        """The outbox holds something after an attempt to send: the moment to judge it."""

    def on_relief(self) -> None:
        """A flush made room in the outbox."""

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """The stream is closed; its socket stays open until the turn ends, the outbox is as it was."""

    def say_end(self, sock: socket.socket, reason: CloseReason) -> None:
        """The stream is closed, and not by its peer: tell it that nothing more comes."""
        half_close(sock)

    # ---- called by the reactor

    def on_event(self, mask: int) -> None:
        """Write first: what is on its way out makes room for what comes in."""
        if self.outbox is not None and mask & WRITE:
            self.try_flush()
        if mask & ~WRITE and self.sock is not None:
            self.on_readable()

    def on_flush(self) -> None:
        """See `Handler`."""
        self.try_flush()

    # ---- sending

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """Send a chunk of whole frames, which must not change afterwards."""
        sock, sent = self.sock, 0
        if sock is None:
            return False
        if self.outbox is None:
            try:
                sent = sock.send(chunk)
                if sent == len(chunk):
                    return True
            except BlockingIOError:
                pass
            except OSError as error:
                self._queue(chunk, packets, 0)
                self.close(CloseReason.PEER_LOST, str(error))
                return False
        self._queue(chunk, packets, sent)
        self.on_pressure()
        return False

    def try_send_views(self, views: Sequence[Chunk | memoryview], packets: int) -> bool:
        """Send whole frames out of borrowed memory: what the socket does not take is copied before this returns."""
        sock, sent = self.sock, 0
        if sock is None:
            return False
        if len(views) > MOST_VIEWS:
            return self.try_send(b"".join(views), packets)
        if self.outbox is None:
            try:
                sent = _send_views(sock, views)
                if sent == sum(map(len, views)):
                    return True
            except BlockingIOError:
                pass
            except OSError as error:
                self._queue(b"".join(views), packets, 0)
                self.close(CloseReason.PEER_LOST, str(error))
                return False
        self._queue(b"".join(views), packets, sent)
        self.on_pressure()
        return False

    def try_send_many(self, chunks: list[tuple[Chunk, int]]) -> bool:
        """Queue (chunk, packets) pairs behind whatever is queued, and send what goes."""
        for chunk, packets in chunks:
            self._queue(chunk, packets, 0)
        return self.try_flush()

    def try_flush(self) -> bool:
        """Send what is queued, as far as the socket takes it and a quantum allows."""
        sock, outbox = self.sock, self.outbox
        if sock is None or outbox is None:
            return sock is not None
        budget = WRITE_QUANTUM
        try:
            while outbox.size:
                if budget <= 0:
                    if not outbox.scheduled:
                        outbox.scheduled = True
                        self.reactor.call_soon(self._go_on, self)
                    break
                sent = _send_views(sock, outbox.views())
                outbox.advance(sent)
                budget -= sent
        except BlockingIOError:
            self.reactor.filled(sock)
        except OSError as error:
            self.close(CloseReason.PEER_LOST, str(error))
            return False
        if budget < WRITE_QUANTUM:
            outbox.touched = self.reactor.now
        if outbox.size:
            self.on_pressure()
        else:
            self.outbox = None
        if self.sock is not None:
            self.on_relief()
        return self.sock is not None and self.outbox is None

    def _go_on(self) -> None:
        if self.outbox is not None:
            self.outbox.scheduled = False
            self.try_flush()

    def _queue(self, chunk: Chunk, packets: int, sent: int) -> None:
        outbox = self.open_outbox() if self.outbox is None else self.outbox
        outbox.append(chunk, packets, sent)

    def open_outbox(self) -> Outbox:
        """The outbox of a stream that has none yet."""
        self.outbox = outbox = self.new_outbox()
        outbox.touched = self.reactor.now
        self.reactor.filled(self.sock)
        return outbox

    # ---- closing

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give the stream up; its socket closes at the end of the turn. Closing it again does nothing."""
        sock, self.sock = self.sock, None
        if sock is not None:
            self.reactor.remove(sock)
            self.on_closed(sock, reason, detail)
            if reason not in BY_PEER:
                self.say_end(sock, reason)


def _send_views(sock: socket.socket, views: Sequence[Chunk | memoryview]) -> int:
    if len(views) == 1:
        return sock.send(views[0])
    try:
        return sock.sendmsg(views)
    except (AttributeError, NotImplementedError):  # not on every system, and not on sockets with something in between
        return sock.send(b"".join(views))
