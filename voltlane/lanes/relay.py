"""Connections whose sessions are in other processes, and which cannot go there: a part of what they are is in the
memory of a library (TLS). They stay here, and what is in them goes through a joint (`net.joint`) to whoever goes on
with them.

    client ═ socket ─ End ⇄ End ─ inner ═ outer, in another process

Each end is read in turns like every client, no more than the other end has taken; so either side waits for the other,
and what is held in between is one read each way. An end of one side is told to the other behind all that came before
it. A client's reset is an end to the other process; of that one's end the joint says whether it is a reset.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Callable

from ..core.timers import Timer
from ..net.joint import Inner, Outer, joint
from ..net.poller import HANGUP, WRITE
from ..net.reactor import Handler, Reactor
from ..net.sockets import half_close, reset_on_close
from ..reasons import CloseReason
from .fairness.turns import ENDING, LOUD, UNPAUSED, Turns

READ = 1 << 15
"""Bytes read at once, and held while the other end does not take them."""
LAST_SECS = 60.0
"""For a client to take what was left for it by a process that has closed the connection."""
LOOK_SECS = 2.0


class Relays:
    """Those of one server."""

    def __init__(self, reactor: Reactor, turns: Turns) -> None:
        self.reactor = reactor
        self.turns = turns
        self.all: dict[Relay, None] = {}
        self._timer: Timer | None = None
        self.on_count: Callable[[], None] = lambda: None
        """Called when there is one more, or one less."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.all)

    def begin(self, sock: socket.socket, unsent: bytes, resets: bool) -> Outer:
        """Relay this connection, which is watched, from now on: the end for whoever goes on with it. `unsent`: bytes
        that have to go out first; `resets`: see `net.joint`. Raises OSError, and nothing has changed then."""
        inner, outer = joint(resets)
        relay = Relay(self, sock, inner)
        self.all[relay] = None
        if self._timer is None:
            self._timer = self.reactor.call_later(LOOK_SECS, self._look_again)
        relay.client.unsent = unsent
        for end in (relay.client, relay.home):
            self.turns.enqueue(end, False)  # there may be something of which nobody will tell
        self.on_count()
        return outer

    def end(self, relay: Relay) -> None:
        """It is closed."""
        del self.all[relay]
        self.on_count()
        if not self.all and self._timer is not None:
            self.reactor.cancel(self._timer)
            self._timer = None

    def _look_again(self, now: float) -> None:
        self._timer = self.reactor.call_later(LOOK_SECS, self._look_again)
        for relay in list(self.all):
            relay.look_again(now)

    def close(self) -> None:
        """Give all of them up."""
        for relay in list(self.all):
            relay.close()


class Relay:
    """One connection."""

    __slots__ = ("_joint", "_left_since", "_relays", "client", "home")

    def __init__(self, relays: Relays, sock: socket.socket, inner: Inner) -> None:
        self._relays = relays
        self._joint = inner
        self._left_since: float | None = None  # seen, by whoever had the other end of the joint
        self.client, self.home = End(self, relays, sock), End(self, relays, inner)

    def other(self, end: End) -> End:
        """The one at the other side."""
        return self.home if end is self.client else self.client

    def look(self) -> None:
        """An end has come, or what was in front of one is written: pass it on."""
        client, home = self.client, self.home
        if client.sock is None:
            return
        if home.ended and not client.unsent and self._is_left():
            self.close()
            return
        for end in (client, home):
            if self.other(end).ended and not end.unsent:
                end.say_end()

    def _is_left(self) -> bool:
        """Whether nobody reads at the other end of the joint any more."""
        try:
            self._joint.send(b"")
        except OSError:
            return True
        return False

    def look_again(self, now: float) -> None:
        """Not everywhere does the system tell that who has said an end has closed it, too; and nowhere while there is
        something to read."""
        if not (self.home.ended or self.client.unsent) or not self._is_left():
            return
        if self._left_since is None:
            self._left_since = now
        if (self.home.ended and not self.client.unsent) or now - self._left_since >= LAST_SECS:
            self.close()

    def close(self) -> None:
        """Give it up: both ends close at the end of the turn. Closing it again does nothing."""
        relays, client, home = self._relays, self.client.sock, self.home.sock
        if client is None or home is None:
            return
        self.client.sock = self.home.sock = None
        relays.end(self)
        for sock in (client, home):
            relays.reactor.remove(sock)
        if self._joint.resets:
            reset_on_close(client)
        else:
            half_close(client)


class End(Handler):
    """One side of it."""

    __slots__ = ("_is_deaf", "_reactor", "_relay", "_turns", "_was_told", "ended", "flags", "sock", "unsent")

    def __init__(self, relay: Relay, relays: Relays, sock: socket.socket) -> None:
        self._relay = relay
        self._reactor, self._turns = relays.reactor, relays.turns
        self.flags = UNPAUSED  # no packet of it is for this server's master
        self.sock: socket.socket | None = sock
        self.unsent = b""
        """What the other end has brought, and this one has not taken."""
        self.ended = False
        """Whether no more comes from here."""
        self._is_deaf = False  # nobody takes anything there; what comes from there goes on
        self._was_told = False  # that no more goes there
        relays.reactor.add(sock.fileno(), self)

    # ---- called by the reactor and the turns

    def on_event(self, mask: int) -> None:
        """Write at once, read when it is its turn."""
        if mask & WRITE and self.unsent:
            self._flush()
            if not self.unsent:
                self._turns.enqueue(self._relay.other(self), False)
        if mask & HANGUP:
            self.flags |= ENDING
        if mask != WRITE and self.sock is not None:
            self._turns.enqueue(self, False)

    def on_readable(self) -> None:
        """Read once, and give it to the other end."""
        sock, other = self.sock, self._relay.other(self)
        if sock is None:
            return
        if self.ended:
            self._relay.look()
        if self.ended or other.unsent:  # with room there comes another turn
            return
        try:
            data = sock.recv(READ)
        except BlockingIOError:
            self._reactor.drained(sock)
            return
        except OSError:
            data = b""
        self._turns.spend(len(data))
        if not data:
            self.ended = True
            self._relay.look()
            return
        self.flags = self.flags | LOUD if len(data) == READ else self.flags & ~LOUD
        other.give(data)
        if self.flags & (LOUD | ENDING):
            self._turns.enqueue(self, False)
        else:
            self._reactor.drained(sock)

    def give(self, data: bytes) -> None:
        """Bytes from the other end, which has nothing waiting here."""
        self.unsent = data
        self._flush()

    def _flush(self) -> None:
        sock = self.sock
        if sock is None:
            return
        try:
            while self.unsent and not self._is_deaf:
                self.unsent = self.unsent[sock.send(self.unsent) :]
        except BlockingIOError:
            self._reactor.filled(sock)
            return
        except OSError:
            self._is_deaf = True
        self.unsent = b""
        if self._relay.other(self).ended:
            self._relay.look()

    # ---- the end

    def say_end(self) -> None:
        """No more goes there."""
        if self.sock is not None and not self._was_told:
            self._was_told = True
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """After an error of ours."""
        self._relay.close()
