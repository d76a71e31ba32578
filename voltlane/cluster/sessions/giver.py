"""Sessions of this server that are wanted elsewhere: given up with all that is known of them, or found to be lost.

asked ─▶ closed (as by a takeover) ─▶ the master has all that its client sent ─▶ released ─▶ forgotten here

Up to the release it is ours: if the master does not take what waits for it in time, nothing has happened but that its
client was cut, and whoever wants it takes it by force.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from ...core.counters import Counters
from ...core.hub import Hub
from ...core.session import Session, State
from ...core.trunk import Trunk
from ...net.reactor import Reactor
from ..moved import MovedRelease
from ..redis.link import Link
from ..redis.resp import Argument, Kind, Reply, Trouble
from .finder import Finder
from .journal import ClusterJournal
from .rows import Rows
from .scripts import RELEASE

LOOK_SECS = 0.02
"""How often to look whether the master has taken all."""


class _Giving(NamedTuple):
    """A session that is being given up, to the server with this number."""

    session: Session
    term: int
    asker: int
    mark: int
    """With so many packets written to the master, it has all of this client's."""
    deadline: float


class _Release(NamedTuple):
    """One that is given up, as the store is told of it."""

    keys: list[str]
    arguments: list[Argument]


class Giver:
    """One server's."""

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        rows: Rows,
        journal: ClusterJournal,
        finder: Finder,
        hub: Hub,
        trunk: Trunk,
        counters: Counters,
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._rows = rows
        self._journal = journal
        self._finder = finder
        self._hub = hub
        self._registry = hub.registry
        self._trunk = trunk
        self._counters = counters
        self._giving: dict[int, _Giving] = {}
        self._releases: dict[int, _Release] = {}
        finder.giving = self.is_giving
        link.watchers.append(self._on_link)

    def is_giving(self, client_id: int) -> bool:
        """Whether it is, or may be, not ours in a moment."""
        return client_id in self._giving or client_id in self._releases

    @property
    def is_at_it(self) -> bool:
        """Whether a session is being given up of which the master has not got everything yet."""
        return bool(self._giving)

    @property
    def unreleased(self) -> int:
        """How many sessions are given up of which the store has not said that it knows."""
        return len(self._releases)

    def asked(self, message: bytes) -> None:
        """Somebody wants a session: its id, the term under which it is ours in the store, the number of who asks.
        With a later term it was taken from us."""
        try:
            client_id, term, asker = map(int, message.split())
        except ValueError:
            return
        session, ours = self._registry.sessions.get(client_id), self._journal.terms.get(client_id, 0)
        if self.is_giving(client_id):
            return
        if session is None or not ours:
            if not self._finder.is_getting(client_id):  # a take of our own that we know nothing of
                self._disown(client_id, term, asker)
        elif term > ours:
            self.fence(session)
        elif term == ours:
            self._begin(session, term, asker, self._reactor.now + self._finder.patience)

    # ---- step by step

    def _begin(self, session: Session, term: int, asker: int, deadline: float) -> None:
        link, now = session.link, self._reactor.now
        if self._journal.terms.get(session.id) != term:  # it has ended, say
            return
        if link is not None and not link.can_hand_over:
            if now < deadline:
                self._reactor.call_later(LOOK_SECS, lambda now: self._begin(session, term, asker, deadline))
            return
        self._journal.silent.add(session.id)
        self._hub.set_aside(session, now)
        if session.state is State.ENDED:
            self._journal.silent.discard(session.id)
            return
        self._giving[session.id] = _Giving(session, term, asker, self._trunk.pushed, deadline)
        self._trunk.flush()
        self._look(session.id, now)

    def _look(self, client_id: int, now: float) -> None:
        giving = self._giving[client_id]
        session = giving.session
        if session.state is not State.STALE or self._registry.sessions.get(client_id) is not session:
            self._keep(giving)
        elif self._trunk.written >= giving.mark:
            del self._giving[client_id]
            self._journal.silent.discard(client_id)
            self.release(session, giving.asker)
        elif now >= giving.deadline:
            self._keep(giving)
        else:
            self._reactor.call_later(LOOK_SECS, partial(self._look, client_id))

    def _keep(self, giving: _Giving) -> None:
        """It stays ours, for now."""
        del self._giving[giving.session.id]
        self._journal.silent.discard(giving.session.id)
        if self._registry.sessions.get(giving.session.id) is giving.session:
            self._journal.lost(giving.session)

    def release(self, session: Session, asker: int) -> None:
        """Give up a stale session, of which the master has everything."""
        row, dropped = self._rows.row(session)
        client_id = session.id
        arguments: list[Argument] = [
            self._finder.me(),
            self._journal.terms[client_id],
            row.credential,
            row.numbers,
            row.retained,
            self._journal.milliseconds(session),
            client_id,
            1,
        ]
        keys = [self._link.key("session", client_id), self._link.key("told", asker)]
        self._releases[client_id] = _Release(keys, arguments)
        self._forget(session, dropped if session.delivery is None else 0)
        self._counters.given += 1
        self._send(client_id)

    def _send(self, client_id: int) -> None:
        keys, arguments = self._releases[client_id]
        self._link.run(RELEASE, keys, arguments, partial(self._released, client_id))

    def _released(self, client_id: int, reply: Reply) -> None:
        if isinstance(reply, Trouble) and reply.kind is not Kind.REFUSED:
            return  # once more when the store is there again
        self._releases.pop(client_id, None)
        self._finder.told(client_id)  # should its client be here again already

    def _on_link(self) -> None:
        if self._link.up:
            for client_id in list(self._releases):
                self._send(client_id)

    # ---- from one process to another

    @property
    def moved(self) -> list[MovedRelease]:
        """What is given up of which the store does not know yet. Who is being given up is still ours, and is asked for
        again there."""
        return [
            MovedRelease(client_id, tuple(keys), tuple(map(_in_bytes, arguments)))
            for client_id, (keys, arguments) in self._releases.items()
        ]

    def move_in(self, moved: list[MovedRelease]) -> None:
        """Go on with another process's: the store is told when it is there."""
        for client_id, keys, arguments in moved:
            self._releases[client_id] = _Release(list(keys), list(arguments))

    def _disown(self, client_id: int, term: int, asker: int) -> None:
        arguments: list[Argument] = [self._finder.me(), term, "", "", "", 0, client_id, 0]
        keys = [self._link.key("session", client_id), self._link.key("told", asker)]
        self._link.run(RELEASE, keys, arguments, lambda reply: None)

    # ---- another one's

    def fence(self, session: Session) -> None:
        """A session of ours is another server's: its connection is closed, so that its client goes there, and the
        master is told of what it has not got by way of us."""
        undelivered, link = 0, session.link
        self._journal.silent.add(session.id)
        if link is not None:
            missed, _ = link.hand_over()
            undelivered = sum([packets for _, packets in missed])
        if session.state is not State.ENDED:
            if session.backlog is not None:
                undelivered += session.backlog.packets
            self._forget(session, undelivered)
        self._journal.silent.discard(session.id)
        self._counters.fenced += 1

    def _forget(self, session: Session, undelivered: int) -> None:
        self._journal.forget(session.id)
        self._finder.forget(session.id)
        self._finder.moved.add(session.id)
        self._hub.give_away(session, undelivered)


def _in_bytes(argument: Argument) -> bytes:
    """As the store gets it."""
    return bytes(argument) if isinstance(argument, (bytes, bytearray)) else str(argument).encode()
