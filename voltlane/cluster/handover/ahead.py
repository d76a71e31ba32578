"""What is said of sessions and their connections: most of it ahead, while everything goes on, with the sockets, which
take the longest; and in the pause what has changed since.

Nothing tells of changes: everybody is looked at again, and told of anew where something is not as it was. What waits
is compared as the same objects, not byte by byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...core.link import Link
from ...core.registry import Registry
from ...core.session import Session, State
from ...lanes.clients import Clients
from ...lanes.connection import ClientConnection
from ...lanes.moved import Moved
from .notes import Kind
from .sessions import encode_session
from .states import NOTHING, encode_origin, encode_state

LOOK_SECS = 0.02
"""Who is gone is looked for every so often."""
MOST_SAID = 1 << 18
"""Bytes that are said in one turn, and what comes on top of that with the last session."""


class Words(NamedTuple):
    """A note, and what goes with it."""

    kind: Kind
    number: int
    data: bytes
    descriptor: int = -1


class ImmovableError(RuntimeError):
    """A connection that cannot be handed over is still there."""


class Told(NamedTuple):
    """What was said of a session."""

    session: Session
    link: Link | None
    connection: ClientConnection | None
    known: tuple[object, ...]
    """What the session was, ..."""
    moved: Moved | None
    """... and what the connection was at."""


class Ahead:
    """The giver's account of it."""

    def __init__(self, registry: Registry, clients: Clients) -> None:
        self._registry = registry
        self._clients = clients
        self._told: dict[int, Told] = {}
        self._next: list[Session] = []  # who is told of next, the last one first
        self._look_at = 0.0

    def some(self, most: int, now: float) -> Iterator[Words]:
        """What of so many sessions can be said ahead and was not yet; nothing where that is all there is."""
        sessions, told = self._registry.sessions, self._told
        if now >= self._look_at:
            self._look_at = now + LOOK_SECS
            yield from self.gone()
        if not self._next:
            self._next = [one for one in sessions.values() if one.id not in told and self._can_move(one)][::-1]
        said = 0
        for _ in range(min(most, len(self._next))):
            session = self._next.pop()
            if sessions.get(session.id) is session and session.id not in told and self._can_move(session):
                for words in self._first(session, now):
                    said += len(words.data)
                    yield words
            if said > MOST_SAID:
                break

    def gone(self) -> Iterator[Words]:
        """Of whom that was said is no more, or has another connection. To be said soon: only when the other process
        has closed the socket too, its client hears of the end."""
        sessions, told = self._registry.sessions, self._told
        for client_id, (session, link, _, _, _) in list(told.items()):
            if session.link is not link or sessions.get(client_id) is not session:
                del told[client_id]
                yield Words(Kind.GONE, client_id, b"")

    def rest(self, now: float) -> Iterator[Words]:
        """All that is still to be said. Raises ImmovableError."""
        yield from self.gone()
        told = self._told
        for session in self._registry.sessions.values():
            before = told.get(session.id)
            if before is None:
                if not self._can_move(session):
                    raise ImmovableError(f"the connection of client {session.id} cannot move")
                yield from self._first(session, now)
                continue
            if _known(session, now) != before.known:
                yield Words(Kind.SESSION, session.id, encode_session(session, now))
            if before.connection is not None:
                moved = before.connection.moved
                if moved != before.moved:
                    yield Words(Kind.STATE, session.id, encode_state(moved))

    def _can_move(self, session: Session) -> bool:
        connection = self._clients.connection_of(session)
        return connection is None or (connection.moves and connection.sock is not None)

    def _first(self, session: Session, now: float) -> Iterator[Words]:
        connection, known, moved = self._clients.connection_of(session), _known(session, now), None
        yield Words(Kind.SESSION, session.id, encode_session(session, now))
        if connection is not None and connection.sock is not None:
            yield Words(Kind.CONNECTION, session.id, encode_origin(connection.origin), connection.sock.fileno())
            moved = connection.moved
            state = encode_state(moved)
            if state != NOTHING:
                yield Words(Kind.STATE, session.id, state)
        self._told[session.id] = Told(session, session.link, connection, known, moved)


def _known(session: Session, now: float) -> tuple[object, ...]:
    """What `encode_session` says, to be compared."""
    backlog, allowance, delivery = session.backlog, session.allowance, session.delivery
    return (
        session.credential,
        session.secret,
        session.state,
        session.lost,
        session.expiry,
        None if delivery is None or session.state is not State.STALE else delivery.encode(),
        None if backlog is None else backlog.kept(),
        None if allowance is None else allowance.levels(now),
    )
