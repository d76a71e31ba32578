"""A session: an identity, how it is proven, and its backlog. It outlives its connections.

LIVE ──lost──▶ STALE ──resumed──▶ LIVE
  │              │
  └──── ended ───┴──▶ ENDED
"""

from __future__ import annotations

from ..reasons import Symbol
from .backlog import Backlog
from .delivery import Delivery
from .link import Link
from .meter import Meter


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
    """One client's identity. `id` is the client id of the firehose."""

    __slots__ = ("allowance", "backlog", "credential", "delivery", "expiry", "id", "link", "lost", "secret", "state")

    def __init__(self, client_id: int, credential: bytes, link: Link | None) -> None:
        """Live with a link, stale without one."""
        self.id = client_id
        self.credential = credential
        """What its protocol recognises the client by: in version 2, its public key; in version 3, its secrets. b"":
        nothing does, and the session ends with its connection."""
        self.delivery: Delivery | None = None
        """What is known of its packets by number, in a protocol that has numbers."""
        self.secret: bytes | None = None
        """What its protocol derives from that when a resume first needs it, kept for the next one."""
        self.state = State.STALE if link is None else State.LIVE
        self.link = link
        """Set exactly while LIVE."""
        self.backlog: Backlog | None = None
        self.allowance: Meter | None = None
        """What its lost connection might still have sent, where that was not all that a new one may."""
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
