"""Sessions of this server that are wanted elsewhere: given up with all that is known of them, or found to be lost.

asked ─▶ closed (as by a takeover) ─▶ the master has all that its client sent ─▶ released ─▶ forgotten here

Up to the release it is ours: if the master does not take what waits for it in time, nothing has happened but that its
client was cut, and whoever wants it takes it by force.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, NamedTuple

from ...core.counters import Counters
from ...core.hub import Hub
from ...core.session import Session, State
from ...core.timers import Timer
from ...core.trunk import Trunk
from ...net.reactor import Reactor
from ...reasons import EndReason
from ..moved import MovedRelease
from ..redis.link import Link
from ..redis.resp import Argument, Kind, Reply, Trouble
from .finder import Finder
from .journal import ClusterJournal
from .rows import Rows
from .scripts import RELEASE

LOOK_SECS = 0.02
"""How often to look whether the master has taken all."""
MOST_UNDER_WAY = 1024
MOST_BYTES_UNDER_WAY = 1 << 24
"""Releases that are sent at once, and what they retain; the others wait for their answers."""
RETRY_SECS = 1.0
_RETAINED, _AGAIN = 4, 8  # which of a release's arguments that is


class _Giving:
    """A session that is being given up, under this term, to the server with this number."""

    __slots__ = ("asker", "deadline", "mark", "session", "term")

    def __init__(self, session: Session, term: int, asker: int, deadline: float) -> None:
        self.session = session
        self.term = term
        self.asker = asker
        self.deadline = deadline
        self.mark = -1
        """With so many packets written to the master, it has all of this client's; -1 while it is not closed."""


class _Release(NamedTuple):
    """One that is given up, as the store is told of it."""

    keys: list[str]
    arguments: list[Argument]
    size: int
    """Bytes that are retained."""


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
        settle: Callable[[int], bool],
    ) -> None:
        """`settle`: see Clients."""
        self._settle = settle
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
        self._unsent: dict[int, None] = {}  # those of them that the store has yet to be told of
        self._bytes_under_way = 0
        self._retry: Timer | None = None
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
        if client_id in self._releases:
            return
        if session is None or not ours:
            if self._journal.is_ending(client_id):
                return  # the store is about to hear of that, and who has asked with it
            if not self._finder.is_getting(client_id):  # a take of our own that we know nothing of
                self._disown(client_id, term, asker)
        elif term > ours:
            self.fence(session)
        elif term == ours and client_id not in self._giving:
            self._giving[client_id] = _Giving(session, term, asker, self._reactor.now + self._finder.patience)
            self._look(client_id, self._reactor.now)

    # ---- step by step

    def _look(self, client_id: int, now: float) -> None:
        """How far is it?"""
        giving = self._giving[client_id]
        if giving.mark < 0:
            self._close(giving, now)
        session = giving.session
        if self._registry.sessions.get(client_id) is not session or self._journal.terms.get(client_id) != giving.term:
            self._keep(giving)  # it has ended, say
        elif giving.mark >= 0 and session.state is not State.STALE:
            self._keep(giving)
        elif 0 <= giving.mark <= self._trunk.written:
            del self._giving[client_id]
            self._journal.silent.discard(client_id)
            self.release(session, giving.asker)
        elif now >= giving.deadline:
            self._keep(giving)
        else:
            self._reactor.call_later(LOOK_SECS, partial(self._look, client_id))

    def _close(self, giving: _Giving, now: float) -> None:
        """Its connection, if there is one, and if what it has brought may be passed on now."""
        session = giving.session
        if session.state is State.ENDED or (session.link is not None and not session.link.can_hand_over):
            return
        if not self._settle(session.id):  # what a connection has brought that was told to go elsewhere
            return
        self._journal.silent.add(session.id)
        self._hub.set_aside(session, now)
        giving.mark = self._trunk.pushed

    def _keep(self, giving: _Giving) -> None:
        """It stays ours, for now."""
        del self._giving[giving.session.id]
        self._journal.silent.discard(giving.session.id)
        if self._registry.sessions.get(giving.session.id) is giving.session:
            self._journal.lost(giving.session)

    def release(self, session: Session, asker: int, exact: bool = True) -> None:
        """Give up a stale session, of which the master has everything; or not, where it is not `exact`."""
        row, dropped = self._rows.row(session)
        client_id = session.id
        if dropped and session.delivery is None and not self._hub.limits.drop_oldest:
            self._hub.overflow(session, EndReason.BACKLOG_FULL)  # nobody could tell it of the hole
            return
        arguments: list[Argument] = [
            self._finder.me(),
            self._journal.terms[client_id],
            row.credential,
            row.numbers,
            row.retained,
            self._journal.milliseconds(session),
            client_id,
            int(exact),
            0,
        ]
        keys = [self._link.key("session", client_id), self._link.key("told", asker)]
        self._releases[client_id] = _Release(keys, arguments, len(row.retained))
        self._forget(session, dropped if session.delivery is None else 0)
        self._counters.given += 1
        self._unsent[client_id] = None
        self._send()

    def _send(self) -> None:
        """Tell the store of as many as may be under way."""
        releases, unsent = self._releases, self._unsent
        while unsent and self._link.up:
            if len(releases) - len(unsent) >= MOST_UNDER_WAY or self._bytes_under_way >= MOST_BYTES_UNDER_WAY:
                return
            client_id = next(iter(unsent))
            del unsent[client_id]
            release = releases[client_id]
            self._bytes_under_way += release.size
            self._link.run(RELEASE, release.keys, release.arguments, partial(self._released, client_id))

    def _released(self, client_id: int, reply: Reply) -> None:
        self._bytes_under_way -= self._releases[client_id].size
        if isinstance(reply, Trouble) and reply.kind is not Kind.REFUSED:
            self._releases[client_id].arguments[_AGAIN] = 1
            self._unsent[client_id] = None
            if self._retry is None:
                self._retry = self._reactor.call_later(RETRY_SECS, self._retry_now)
            return
        del self._releases[client_id]
        self._finder.told(client_id)  # should its client be here again already
        self._send()

    def _retry_now(self, now: float) -> None:
        self._retry = None
        self._send()

    def _on_link(self) -> None:
        self._send()

    # ---- from one process to another

    @property
    def moved(self) -> list[MovedRelease]:
        """What is given up of which the store does not know yet. Who is being given up is still ours, and is asked for
        again there."""
        return [
            MovedRelease(client_id, tuple(keys), tuple(map(_in_bytes, arguments)))
            for client_id, (keys, arguments, _) in self._releases.items()
        ]

    def move_in(self, moved: list[MovedRelease]) -> None:
        """Go on with another process's: the store is told when it is there."""
        for client_id, keys, arguments in moved:
            said: list[Argument] = [*arguments[:_AGAIN], 1]  # it may have been, by that process
            self._releases[client_id] = _Release(list(keys), said, len(arguments[_RETAINED]))
            self._unsent[client_id] = None

    def _disown(self, client_id: int, term: int, asker: int) -> None:
        arguments: list[Argument] = [self._finder.me(), term, "", "", "", 0, client_id, 0, 0]
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
