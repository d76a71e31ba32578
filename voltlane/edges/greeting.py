"""Connections whose handshake is under way, from accepting them to the session.

A connection without a session is a handler of its own, and a small one: it reads a little at a time, when its turn
comes, and answers. Its session gets the socket, and whatever was read behind the last handshake packet.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Callable

from ..core.admission import Source
from ..core.counters import Counters
from ..core.handshake import Grounds, Handshake, Step
from ..core.timeouts import Timeouts
from ..core.timers import Timer
from ..net.peers import LOCAL
from ..net.poller import HANGUP, WRITE
from ..net.reactor import Reactor
from ..net.sockets import half_close
from ..reasons import BY_PEER, CloseReason
from ..wire.framing import PREFIX_SIZE, next_frame
from ..wire.packets import MAX_HANDSHAKE_FRAME
from .connection_log import ConnectionLog
from .turns import ENDING, LOUD, Turns

RECEIVED = 448
"""Bytes read at once: a whole handshake, and somewhat more."""


class Greetings:
    """What all of them share. `on_session(greeting, rest)` gets each whose handshake is done: the reactor still calls
    the greeting for its socket, which is to be handed over; `rest` is what was read behind the handshake."""

    def __init__(
        self,
        reactor: Reactor,
        grounds: Grounds,
        counters: Counters,
        connections: ConnectionLog,
        turns: Turns,
        secs: float,
        on_session: Callable[[Greeting, bytes], None],
    ) -> None:
        self.reactor = reactor
        self.grounds = grounds
        self.counters = counters
        self.connections = connections
        self.turns = turns
        self.timeouts: Timeouts[Greeting] = Timeouts(secs)
        self.on_session = on_session
        self._timer: Timer | None = None

    def __len__(self) -> int:
        """How many handshakes are under way."""
        return len(self.timeouts)

    def configure(self, secs: float) -> None:
        """Each may take so many seconds from now on, also those that have begun."""
        self.timeouts.secs = secs
        self._rearm()

    def accept(self, sock: socket.socket, peer: str = LOCAL, source: Source | None = None) -> None:
        """A new connection: its socket, what to call it, and whom to tell how it goes on."""
        self.counters.accepted += 1
        greeting = Greeting(self, sock, peer, source)
        self.timeouts.begin(greeting, self.reactor.now)
        if self._timer is None:
            self._rearm()

    def end(self, greeting: Greeting) -> float:
        """It is through, or closed. When it began."""
        began = self.timeouts.end(greeting)
        if not self.timeouts:
            self._rearm()
        return began

    def close(self) -> None:
        """Close every connection: the server ends."""
        for greeting in self.timeouts.items():
            greeting.close(CloseReason.SHUTDOWN)

    def _rearm(self) -> None:
        if self._timer is not None:
            self.reactor.cancel(self._timer)
        deadline = self.timeouts.next_deadline()
        self._timer = None if deadline is None else self.reactor.call_at(deadline, self._expire)

    def _expire(self, now: float) -> None:
        self._timer = None
        for greeting in self.timeouts.due(now):
            self.reactor.guard(greeting, greeting.expire)
        self._rearm()


class Greeting:
    """One connection without a session."""

    __slots__ = ("_greetings", "_received", "flags", "handshake", "peer", "sock", "source", "unsent")

    def __init__(self, greetings: Greetings, sock: socket.socket, peer: str, source: Source | None) -> None:
        self._greetings = greetings
        self._received = b""  # a part of a packet
        self.unsent = b""
        """Of our answers, what is not written yet."""
        self.flags = 0
        self.handshake = Handshake(greetings.grounds)
        self.peer = peer
        self.source = source
        self.sock: socket.socket | None = sock
        greetings.reactor.add(sock.fileno(), self)

    def on_event(self, mask: int) -> None:
        """Handshakes are dear: it is read when its turn comes."""
        if mask & WRITE:
            self.flush()
        if mask & HANGUP:
            self.flags |= ENDING
        if mask != WRITE:
            self._greetings.turns.enqueue(self, True)

    def on_flush(self) -> None:
        """It is never dirty."""

    def on_readable(self) -> None:
        """Read once, and answer."""
        sock = self.sock
        if sock is None:
            return
        try:
            data = sock.recv(RECEIVED)
        except BlockingIOError:
            self._greetings.reactor.drained(sock)
            return
        self.flags = self.flags | LOUD if len(data) == RECEIVED else self.flags & ~LOUD
        if data:
            self._take(self._received + data)
        if self.sock is None:
            return
        if self.flags & LOUD:
            self._greetings.turns.enqueue(self, True)
        elif data and not self.flags & ENDING:
            self._greetings.reactor.drained(sock)
        else:  # where an end was announced, less than was asked for was all
            self.close(CloseReason.PEER_CLOSED)

    def _take(self, data: bytes) -> None:
        """Handshake packets, and behind the last of them what is for the session already."""
        handshake, position, stop = self.handshake, 0, len(data)
        derived = handshake.derived
        try:
            while handshake.step is not Step.DONE:
                end = next_frame(data, position, stop, MAX_HANDSHAKE_FRAME)
                if not end:
                    break
                self.unsent += handshake.receive(data[position + PREFIX_SIZE : end])
                position = end
        finally:  # a mistake does not take back what was right before it, nor what that has cost
            if handshake.derived and not derived:
                self._greetings.turns.agreed()
            if handshake.step is not Step.DONE:  # where it is, they go out with the session's first packet
                self.flush()
        if handshake.step is Step.DONE:
            self._greetings.on_session(self, data[position:])
        else:
            self._received = data[position:]

    def flush(self) -> None:
        """Write our answers, as far as the socket takes them."""
        if not self.unsent or self.sock is None:
            return
        with suppress(BlockingIOError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]
        if self.unsent:
            self._greetings.reactor.filled(self.sock)

    # ---- the end, or the beginning

    def hand_over(self) -> tuple[socket.socket, float]:
        """It is through: its socket for whoever goes on with it, and when it was accepted."""
        sock, self.sock = self.sock, None
        assert sock is not None
        if self.source is not None:
            self.source.greeted()
        return sock, self._greetings.end(self)

    def expire(self) -> None:
        """Its time is over."""
        self.close(CloseReason.HANDSHAKE_TIMEOUT, f"waited for {self.handshake.step.value}")

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give it up. What session it wanted is as it was."""
        sock, self.sock = self.sock, None
        if sock is None:
            return
        greetings, now = self._greetings, self._greetings.reactor.now
        greetings.reactor.remove(sock)
        lifetime = now - greetings.end(self)
        greetings.connections.closed(reason, 0, self.peer, detail)
        if self.source is not None:
            self.source.left(reason, False, lifetime, now)
        if reason not in BY_PEER:
            half_close(sock)
