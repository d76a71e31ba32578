"""Nobody is told of a session before the store has it: what it is recognised by, whose it is and under which term.

A connection whose handshake is done waits here for that, and then goes on to where it would have gone. Without the
store it goes on at once: who is here stays here.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, cast

from ...core.protocols.handshake import Handshake
from ...core.registry import Registry
from ...core.session import Session
from ...core.session import State as SessionState
from ...lanes.entry.arrival import Arrival, OnSession
from ...lanes.entry.stage import Newcomer, Stage
from ...lanes.fairness.turns import LOUD
from ...lanes.framing import Framing
from ...net.reactor import Reactor
from ...reasons import CloseReason
from ..redis.link import Link
from ..redis.resp import Reply, Trouble
from .finder import CLOSES, Candidate, Finder
from .journal import ClusterJournal
from .rows import joined
from .search import OVER, State


class Written(Stage):
    """What a connection passes while the store is told of it: nothing is read, and what ends it ends it as before."""

    __slots__ = ("_stage",)

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    @property
    def late(self) -> CloseReason:
        """See Stage."""
        return self._stage.late

    @property
    def waits_for(self) -> str:
        """See Stage."""
        return "nothing: the store is told of its session"

    def go_on(self, newcomer: Newcomer) -> bool:
        """See Stage."""
        return False

    def in_order(self, reason: CloseReason) -> bool:
        """See Stage."""
        return self._stage.in_order(reason)

    def ended(self, reason: CloseReason) -> CloseReason:
        """See Stage."""
        return self._stage.ended(reason)

    def farewell(self, reason: CloseReason) -> bytes:
        """See Stage."""
        return self._stage.farewell(reason)


class _Waiting:
    """A connection that waits, and with what it goes on."""

    __slots__ = ("arrival", "framing", "handshake", "protocol", "rest")

    def __init__(self, arrival: Arrival, handshake: Handshake, protocol: str, framing: Framing, rest: bytes) -> None:
        self.arrival = arrival
        self.handshake = handshake
        self.protocol = protocol
        self.framing = framing
        self.rest = rest
        arrival.stage = Written(arrival.stage)

    @property
    def gone(self) -> bool:
        """Whether it was closed meanwhile."""
        return self.arrival.sock is None

    def close(self, reason: CloseReason) -> None:
        """It cannot go on."""
        self.arrival.close(reason)


class Entry:
    """One server's: `begin` stands where connections get their sessions, `on_session` is what stands behind it."""

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        registry: Registry,
        journal: ClusterJournal,
        finder: Finder,
        on_session: OnSession,
        fence: Callable[[Session], None],
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._registry = registry
        self._journal = journal
        self._finder = finder
        self._on_session = on_session
        self._fence = fence

    def begin(self, arrival: Arrival, handshake: Handshake, protocol: str, framing: Framing, rest: bytes) -> None:
        """See OnSession."""
        session = handshake.session
        if session is None and (not handshake.credential or not self._link.up):
            self._on_session(arrival, handshake, protocol, framing, rest)
            return
        waiting = _Waiting(arrival, handshake, protocol, framing, rest)
        if session is None:
            self._open(waiting)
        elif isinstance(session, Candidate):
            self._finder.get(session, partial(self._got, waiting, session))
        else:
            self._resume(waiting, session)

    # ---- a new one

    def _open(self, waiting: _Waiting) -> None:
        ids = self._registry.ids
        if not ids.available(self._reactor.now):
            self._go_on(waiting)  # which says so
            return
        credential = waiting.handshake.credential
        assert credential
        session = Session(ids.take(), credential, None)
        session.expiry = self._reactor.now
        self._journal.write(session, partial(self._opened, waiting, session), SessionState.LIVE.value)

    def _opened(self, waiting: _Waiting, session: Session, reply: Reply) -> None:
        if waiting.gone:
            self._journal.terms[session.id] = self._registry.epoch
            self._journal.ended(session)
        elif isinstance(reply, list) or reply == 0:  # it was opened elsewhere at the same moment
            waiting.close(CloseReason.MOVED)
        else:
            if not isinstance(reply, Trouble):
                self._journal.told.add(session.id)
            self._registry.promised = session.id
            self._go_on(waiting)
            self._registry.promised = 0
            self._journal.told.discard(session.id)

    # ---- one that is here

    def _resume(self, waiting: _Waiting, session: Session) -> None:
        claims = getattr(waiting.handshake, "claims", None)
        delivery = session.delivery
        if claims is not None and delivery is not None and claims.epoch > delivery.epoch:
            self._fence(session)  # its client has been at another server since
            waiting.close(CloseReason.MOVED)
        elif session.id in self._journal.silent:
            waiting.close(CloseReason.MOVED)
        elif self._link.up and session.id in self._journal.terms:
            self._journal.write(session, partial(self._resumed, waiting, session), SessionState.LIVE.value)
        else:
            self._go_on(waiting)

    def _resumed(self, waiting: _Waiting, session: Session, reply: Reply) -> None:
        here = self._registry.sessions.get(session.id) is session
        if not isinstance(reply, Trouble) and reply != 1 and here:
            self._fence(session)
            here = False
        if waiting.gone:
            if here:
                self._journal.lost(session)  # it is as it was
        elif not here or session.id in self._journal.silent:
            moved = here or session.id in self._finder.moved
            waiting.close(CloseReason.MOVED if moved else CloseReason.SESSION_ENDED)
        else:
            if not isinstance(reply, Trouble):
                self._journal.told.add(session.id)
            self._go_on(waiting)
            self._journal.told.discard(session.id)

    # ---- one that is not

    def _got(self, waiting: _Waiting, candidate: Candidate, state: State) -> bool:
        """See `finder.Waiting`."""
        if state not in OVER or waiting.gone:
            return not waiting.gone
        session = self._registry.sessions.get(candidate.id)
        credential = None if session is None else joined(candidate.credential, session.credential)
        if state is not State.GOT or session is None:
            waiting.close(CLOSES.get(state, CloseReason.SESSION_ENDED))
        elif credential is None:
            waiting.close(CloseReason.MOVED)  # its owner has renewed it since it was looked up
        else:
            session.credential = credential
            waiting.handshake.session = session
            self._resume(waiting, session)
        return True

    def _go_on(self, waiting: _Waiting) -> None:
        """To where it would have gone. What has come meanwhile nobody has read, and nobody tells of it again."""
        arrival = waiting.arrival
        arrival.stage = cast(Written, arrival.stage)._stage
        arrival.flags |= LOUD
        self._on_session(arrival, waiting.handshake, waiting.protocol, waiting.framing, waiting.rest)
