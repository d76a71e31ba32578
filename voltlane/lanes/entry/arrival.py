"""Connections without a session, from accepting them to the end of their handshake.

Each is a handler of its own, and a small one: it reads a little when its turn comes, and lets its stage see to it. All
have the same time for all stages together, so one timer does for all of them; where a proxy has to say whose connection
it is, that has a shorter one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Callable

from ...core.admission import Source
from ...core.counters import Counters
from ...core.protocols.handshake import Handshake, HandshakeContext, WireProtocol
from ...core.timeouts import Timeouts
from ...core.timers import Timer
from ...core.whereabouts import Wanted
from ...net.joint import Outer, is_whole, outer_end
from ...net.peers import is_local
from ...net.poller import HANGUP, READ, WRITE
from ...net.reactor import Handler, Reactor
from ...net.sockets import half_close, reset_on_close
from ...reasons import BY_PEER, CloseReason
from ..connection_log import ConnectionLog
from ..fairness.turns import ENDING, LOUD, UNANSWERED, Turns
from ..framing import Framing
from ..lane import Lane
from ..relay import Relays
from .doors import Doors
from .handshake import HandshakeStage
from .moved import MovedArrival, MovedHandshake
from .stage import Stage

OnSession = Callable[["Arrival", Handshake, str, Framing, bytes], None]
"""Gets whose handshake is done: the reactor still calls the arrival for its socket, which is to be handed over. Then
the handshake, the protocol's name, the framing, and what was read behind the handshake."""

_UNREAD = {*BY_PEER, CloseReason.HANDSHAKE_TIMEOUT, CloseReason.SHUTDOWN}
"""Ends behind which nobody reads what has come: if there is something, the system resets the connection, and nobody
takes that for an answer to it."""
HELD_BACK = 1 << 19
"""Bytes of a turn's share that a socket costs which holds something back: it has made much of few."""
_NOWHERE = Stage()
"""Where a connection is before its first stage."""


class _OnItsWay(Stage):
    """Where one is that has come from another process, until it is known what it wants: nothing was refused to it."""

    __slots__ = ()

    def in_order(self, reason: CloseReason) -> bool:
        """See Stage."""
        return False


_ON_ITS_WAY = _OnItsWay()


class Arrivals:
    """All of them."""

    def __init__(
        self,
        reactor: Reactor,
        context: HandshakeContext,
        counters: Counters,
        log: ConnectionLog,
        turns: Turns,
        secs: float,
        header_secs: float,
        doors: Doors,
        on_session: OnSession,
    ) -> None:
        self.reactor = reactor
        self.context = context
        self.counters = counters
        self.log = log
        self.turns = turns
        self.doors = doors
        self.on_session = on_session
        self.relays = Relays(reactor, turns)
        self.report = self._on_report  # made once: it is kept by each socket that may call it
        self._all: Timeouts[Arrival] = Timeouts(secs)
        self._unnamed: Timeouts[Arrival] = Timeouts(header_secs)  # of all, those whose proxy has not said who they are
        self._timer: Timer | None = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self._all)

    def __iter__(self) -> Iterator[Arrival]:
        """All of them; they may be closed meanwhile."""
        return iter(self._all.items())

    def configure(self, secs: float, header_secs: float) -> None:
        """Each may take so many seconds from now on, also those that have begun."""
        self._all.secs, self._unnamed.secs = secs, header_secs
        self._rearm()

    def accept(self, sock: socket.socket, peer: str, source: Source | None, lane: Lane, first: Stage | None) -> None:
        """A new connection: its socket, what to call it, whom to tell how it goes on, and how it came; `first`: the
        stage in which a proxy says whose it is, and before which it does not count as accepted."""
        arrival = Arrival(self, sock, peer, source, lane)
        now = self.reactor.now
        self._all.begin(arrival, now)
        if first is not None:
            arrival.stage, arrival.named = first, False
            self._unnamed.begin(arrival, now)
            self._rearm()
        else:
            self.counters.accepted += 1
            self.counters.lanes[lane.name] += 1
            if self._timer is None:
                self._rearm()
            self.reactor.guard(arrival, arrival.next_stage)

    def take_in(self, moved: MovedArrival, sock: socket.socket, source: Source | None, lane: Lane) -> None:
        """A connection that another process has accepted, and which waits for something that is to be here: it looks
        again. What is wrong with it hurts it alone."""
        if moved.jointed:
            sock = outer_end(sock)
        arrival = Arrival(self, sock, moved.peer, source, lane)
        self._all.join(arrival, moved.since if moved.since <= self.reactor.now else self.reactor.now)
        self._rearm()
        self.counters.taken_in += 1
        self.reactor.guard(arrival, arrival.move_in, moved)

    def let_go(self, arrival: Arrival, sock: socket.socket) -> tuple[socket.socket, float]:
        """It goes on in another process: a socket for that, and when its time began. Raises OSError, and has changed
        nothing then."""
        if is_whole(sock):
            self.reactor.release(sock)
        else:
            sock = self.relays.begin(sock, arrival.unsent, bool(arrival.flags & UNANSWERED))
            self.counters.relayed += 1
            arrival.unsent = b""
        self.counters.passed_on += 1
        return sock, self.end(arrival)

    def on_named(self, arrival: Arrival) -> None:
        """Its proxy has said whose it is."""
        self._unnamed.end(arrival)
        self.counters.accepted += 1
        self.counters.lanes[arrival.lane.name] += 1

    def renew(self, arrival: Arrival) -> None:
        """Its time begins again. No timer is moved for that: the one there is is too early for it, and looks."""
        self._all.end(arrival)
        self._all.begin(arrival, self.reactor.now)

    def end(self, arrival: Arrival) -> float:
        """It has a session, or is closed. When it began."""
        if not arrival.named:
            self._unnamed.end(arrival)
        began = self._all.end(arrival)
        if not self._all:
            self._rearm()
        return began

    def close_unnamed(self) -> None:
        """Wait for no more proxies: nobody is let in any more."""
        for arrival in self._unnamed.items():
            arrival.close(CloseReason.SHUTDOWN)

    def close(self) -> None:
        """Close every connection: the server ends."""
        for arrival in self._all.items():
            arrival.close(CloseReason.SHUTDOWN)

    # ---- for the handshake

    def key_agreed(self) -> None:
        """A key agreement was made."""
        self.turns.key_agreed()

    # ---- sockets that hold something back

    def _on_report(self, sock: Any) -> None:
        """See Newcomer: `report`. An end that was announced is behind that, and is announced again."""
        reader = self._reader_of(sock)
        if reader is not None:
            self.turns.spend(HELD_BACK)  # now, while it is its turn
            ended = reader.flags & ENDING
            reader.flags &= ~ENDING
            self.reactor.call_soon(partial(self._go_on, sock, HANGUP if ended else 0))

    def _go_on(self, sock: Any, mask: int) -> None:
        """Who has such a socket waits in line with those who have much to say."""
        reader = self._reader_of(sock)
        if reader is not None:
            reader.flags |= LOUD
            self.reactor.guard(reader, reader.on_event, READ | mask)

    def _reader_of(self, sock: Any) -> Any:
        """Whoever has this socket now; None once it is given up."""
        fd = sock.fileno()
        readers: list[Any] = self.reactor.handlers_at(fd, 1) if fd >= 0 else []
        return readers[0] if readers and getattr(readers[0], "sock", None) is sock else None

    # ---- deadlines

    def _rearm(self) -> None:
        if self._timer is not None:
            self.reactor.cancel(self._timer)
        deadlines = [timeouts.next_deadline() for timeouts in (self._all, self._unnamed)]
        deadline = min([deadline for deadline in deadlines if deadline is not None], default=None)
        self._timer = None if deadline is None else self.reactor.call_at(deadline, self._expire)

    def _expire(self, now: float) -> None:
        self._timer = None
        for arrival in {**dict.fromkeys(self._unnamed.due(now)), **dict.fromkeys(self._all.due(now))}:
            self.reactor.guard(arrival, arrival.expire)
        self._rearm()


class Arrival(Handler):
    """One connection without a session. What stages know of it: see Newcomer."""

    __slots__ = (
        "_arrivals",
        "_given_back",
        "_passed",
        "flags",
        "framing",
        "hearsay",
        "lane",
        "named",
        "peer",
        "private",
        "protocol",
        "sock",
        "source",
        "stage",
        "subject",
        "unsent",
    )

    def __init__(self, arrivals: Arrivals, sock: socket.socket, peer: str, source: Source | None, lane: Lane) -> None:
        self._arrivals = arrivals
        self._given_back = b""
        self._passed = 0  # stages of the lane
        self.unsent = b""
        """Of our side of the handshake, the bytes of the wire that are not written yet."""
        self.flags = 0
        self.framing: Framing | None = None
        self.protocol: WireProtocol | None = None
        self.hearsay = self.private = False
        self.subject = ""
        self.lane = lane
        self.named = True
        """False while a proxy has yet to say whose it is."""
        self.peer = peer
        self.source = source
        self.stage = _NOWHERE
        """What it has to pass now."""
        self.sock: socket.socket | None = sock
        arrivals.reactor.add(sock.fileno(), self)

    @property
    def local(self) -> bool:
        """See Newcomer."""
        return self.private or (not self.hearsay and is_local(self.peer))

    @property
    def now(self) -> float:
        """See Newcomer."""
        return self._arrivals.reactor.now

    @property
    def report(self) -> Callable[[Any], None]:
        """See Newcomer. It belongs to all, so that a socket does not keep the arrival alive."""
        return self._arrivals.report

    @property
    def doors(self) -> Doors:
        """See Newcomer."""
        return self._arrivals.doors

    # ---- called by the reactor and the turns

    def on_event(self, mask: int) -> None:
        """Handshakes are expensive: it is read when its turn comes."""
        if mask & WRITE and self.unsent:
            self.flush()
            if not self.unsent:  # for which a stage may have waited
                self._arrivals.turns.enqueue(self, True)
        if mask & HANGUP:
            self.flags |= ENDING
        if mask != WRITE:
            self._arrivals.turns.enqueue(self, True)

    def on_readable(self) -> None:
        """Let the stage read once; what is behind it goes to the next one."""
        while self.sock is not None and self.stage.go_on(self):
            if not self.named:
                self._arrivals.on_named(self)
                self.named = True
            self.next_stage()

    def next_stage(self) -> None:
        """Go on to the next of the lane's stages, and behind them to the handshake."""
        stages, passed = self.lane.stages, self._passed
        if stages and passed < len(stages):
            self._passed += 1
            self.stage = stages[passed]()
            self.stage.begin(self)
        else:
            self.stage = HandshakeStage(self._arrivals, self.framing or self.lane.framing(), self.protocol)
            if self.protocol is not None:
                self.stage.begin(self)

    # ---- for the stages

    def read(self, most: int) -> bytes | None:
        """See Newcomer."""
        sock, arrivals = self.sock, self._arrivals
        assert sock is not None
        if self._given_back:
            arrivals.turns.enqueue(self, True)
            return self.take_back()
        try:
            data = sock.recv(most)
        except BlockingIOError:
            arrivals.reactor.drained(sock)
            return None
        if not data:
            self.close(CloseReason.PEER_CLOSED)
            return None
        self.flags = self.flags | LOUD if len(data) == most else self.flags & ~LOUD
        if self.flags & (LOUD | ENDING):  # there is more, or an end that will not be announced again
            arrivals.turns.enqueue(self, True)
        else:
            arrivals.reactor.drained(sock)
        return data

    def stand_in_line(self) -> None:
        """See Newcomer."""
        self._arrivals.turns.enqueue(self, True)

    def give_back(self, data: bytes) -> None:
        """See Newcomer."""
        self._given_back = data

    def take_back(self) -> bytes:
        """See Newcomer."""
        data, self._given_back = self._given_back, b""
        return data

    def peek(self, most: int) -> bytes | None:
        """See Newcomer."""
        assert self.sock is not None
        try:
            seen = self.sock.recv(most, socket.MSG_PEEK)
        except BlockingIOError:
            self._arrivals.reactor.drained(self.sock)
            return None
        if not seen:
            self.close(CloseReason.PEER_CLOSED)
            return None
        return seen

    def skip(self, size: int) -> None:
        """See Newcomer."""
        assert self.sock is not None
        self.sock.recv(size)

    def reset_unanswered(self) -> None:
        """See Newcomer."""
        if not self.flags & UNANSWERED:
            assert self.sock is not None
            self.flags |= UNANSWERED
            reset_on_close(self.sock)

    def say(self, words: bytes) -> None:
        """See Newcomer."""
        self.unsent += words
        self.flush()

    def renew(self) -> None:
        """See Newcomer."""
        self._arrivals.renew(self)

    def key_agreed(self) -> None:
        """See Newcomer."""
        self._arrivals.key_agreed()

    def seek(self, wanted: Wanted) -> None:
        """See Newcomer."""
        self._arrivals.context.registry.whereabouts.seek(wanted, self)

    def found(self) -> None:
        """See core.whereabouts.Seeker."""
        if self.sock is not None:
            self._arrivals.reactor.guard(self, self.stage.found, self)
        if self.sock is not None:
            self._arrivals.turns.enqueue(self, True)

    def flush(self) -> None:
        """Write what is unsent, as far as the socket takes it."""
        if not self.unsent or self.sock is None:
            return
        with suppress(BlockingIOError):
            self.unsent = self.unsent[self.sock.send(self.unsent) :]
        if self.unsent:
            self._arrivals.reactor.filled(self.sock)

    # ---- from one process to another

    def move_out(self) -> tuple[MovedArrival, socket.socket]:
        """While something is sought: what another process needs to go on with it, and its socket for that. It is gone
        here. Raises OSError, and is as it was then."""
        sock = self.sock
        assert sock is not None and self.named and not self._given_back
        sock, since = self._arrivals.let_go(self, sock)
        self.sock = None
        moved = MovedArrival(
            self.lane.name,
            self.peer,
            self.subject,
            since,
            b"" if self.source is None else self.source.key,
            self.hearsay,
            self.private,
            bool(self.flags & UNANSWERED),
            isinstance(sock, Outer),
            self._passed,
            self.unsent,
            self.stage.move_out(),
        )
        return moved, sock

    def move_in(self, moved: MovedArrival) -> None:
        """Go on with what was another process's, and is new here. Raises LookupError for what nobody here speaks,
        ProtocolError."""
        self.subject, self.hearsay, self.private = moved.subject, moved.hearsay, moved.private
        self.unsent, self._passed = moved.unsent, moved.passed
        self.flags = UNANSWERED if moved.unanswered else 0
        self.stage = _ON_ITS_WAY
        if isinstance(moved.stage, MovedHandshake):
            self.stage = HandshakeStage.moved_in(self._arrivals, moved.stage)
        else:
            stage = self.lane.stages[moved.passed - 1]()
            stage.move_in(self, moved.stage)
            self.stage = stage
        self.found()

    # ---- the end, or the beginning

    def hand_over(self) -> tuple[socket.socket, float]:
        """It is through: its socket for whoever goes on with it, and when it was accepted."""
        sock, self.sock = self.sock, None
        assert sock is not None
        if self.source is not None:
            self.source.greeted()
        return sock, self._arrivals.end(self)

    def expire(self) -> None:
        """Its time is over."""
        self.close(self.stage.late, f"waited for {self.stage.waits_for}")

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give it up. What session it wanted is as it was."""
        sock, self.sock = self.sock, None
        if sock is None:
            return
        arrivals, now = self._arrivals, self._arrivals.reactor.now
        arrivals.reactor.remove(sock)
        reason = self.stage.ended(reason)
        lifetime = now - arrivals.end(self)
        arrivals.log.closed(reason, 0, self.peer, detail or ("" if self.named else "before its PROXY header"))
        if self.source is not None:
            self.source.left(reason, False, lifetime, now)
        unanswered = bool(self.flags & UNANSWERED)
        if not self.named or (unanswered and not self.stage.in_order(reason)):
            reset_on_close(sock)
            return
        if unanswered:
            reset_on_close(sock, False)
        words = self.stage.farewell(reason)
        if words and not self.unsent:
            with suppress(OSError):  # it does not read, or is gone
                sock.send(words)
        if reason not in _UNREAD:
            half_close(sock)
