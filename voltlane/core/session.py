"""A session: an identity, its key and its backlog. It outlives its connections.

LIVE ──lost──▶ STALE ──resumed──▶ LIVE
  │              │
  └──── ended ───┴──▶ ENDED
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..reasons import CloseReason, Symbol
from .backlog import Backlog
from .outbox import Chunk


class Link(Protocol):
    """What the core needs of a client's connection. None of these blocks or raises for a dead peer."""

    def try_send(self, chunk: Chunk, packets: int = -1) -> bool:
        """Take a chunk of whole frames: to the socket (True), else to the outbox. 0 packets: it is no client's data."""

    def try_send_views(self, views: Sequence[memoryview], packets: int) -> bool:
        """The same for whole frames in borrowed memory, which is the caller's again on return."""

    def replay(self, chunks: list[tuple[Chunk, int]]) -> None:
        """Take what was missed, in order, whatever its size."""

    def drain(self) -> None:
        """Pass on what the socket has already received. Closes nothing."""

    def detach(self, reason: CloseReason) -> list[tuple[Chunk, int]]:
        """Leave the session and close. Returns what was not written in full."""


class State(Symbol):
    """Where a session is in its life."""

    LIVE = "live"
    STALE = "stale"
    ENDED = "ended"


class Event(Symbol):
    """What can happen to a session."""

    LOST = "connection lost"
    RESUMED = "proof accepted"
    ENDED = "ended"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.LIVE: {
        Event.LOST: State.STALE,
        Event.RESUMED: State.LIVE,  # takeover: the proof came while the old connection still counted as live
        Event.ENDED: State.ENDED,
    },
    State.STALE: {Event.RESUMED: State.LIVE, Event.ENDED: State.ENDED},
    State.ENDED: {},
}
"""A missing key is an event that cannot happen in that state."""


class IllegalTransition(AssertionError):
    """Our bug: an event in a state that has no such event."""


class Session:
    """One client's identity. `id` is the client id of the firehose; `point` its SEC1 public key."""

    __slots__ = ("backlog", "expiry", "id", "key", "link", "lost", "point", "state")

    def __init__(self, client_id: int, point: bytes, link: Link | None) -> None:
        """Live with a link, stale without one."""
        self.id = client_id
        self.point = point
        self.key: bytes | None = None  # derived when a resume first needs it, then kept
        self.state = State.STALE if link is None else State.LIVE
        self.link = link
        """Set exactly while LIVE."""
        self.backlog: Backlog | None = None
        self.lost = 0.0
        """When it became stale."""
        self.expiry = 0.0
        """When a stale session may be reaped."""

    def move(self, event: Event) -> None:
        """Step through the table. Raises IllegalTransition."""
        try:
            self.state = TRANSITIONS[self.state][event]
        except KeyError:
            raise IllegalTransition(f"session {self.id}: {event.value} while {self.state.value}") from None

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.state.value}>"
