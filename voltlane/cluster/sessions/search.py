"""How a session is got that belongs to another server, or to nobody: what is asked next.

TAKING ──got──▶ GOT
   │ ▲  └─none──▶ NONE
 asked  told, or a while has passed
   ▼ │
WAITING ──no patience left──▶ FORCING ──got──▶ GOT

Whoever was asked once and finds it with yet another owner is let go (ELSEWHERE): else two connections of one client
could drive each other out without end. Nothing is asked any more when nobody waits.
"""

from __future__ import annotations

import enum


class State(enum.Enum):
    """Where a search is."""

    TAKING = "the store is asked for it"
    WAITING = "its owner is asked to give it up"
    FORCING = "it is taken from an owner that does not answer"
    GOT = "it is ours"
    NONE = "there is none"
    ELSEWHERE = "another one has got it"
    FAILED = "the store does not answer"


class Event(enum.Enum):
    """What the store or the clock says."""

    GOT = "it is ours now"
    NONE = "there is none"
    ASKED = "its owner was asked for it"
    AGAIN = "it was given up, or may have been"
    LATE = "its owner has had time enough"
    TROUBLE = "no answer"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.TAKING: {
        Event.GOT: State.GOT,
        Event.NONE: State.NONE,
        Event.ASKED: State.WAITING,
        Event.TROUBLE: State.FAILED,
    },
    State.WAITING: {Event.AGAIN: State.TAKING, Event.LATE: State.FORCING},
    State.FORCING: {
        Event.GOT: State.GOT,
        Event.NONE: State.NONE,
        Event.ASKED: State.ELSEWHERE,
        Event.TROUBLE: State.FAILED,
    },
    State.GOT: {},
    State.NONE: {},
    State.ELSEWHERE: {},
    State.FAILED: {},
}
"""An event that is missing changes nothing: it comes too late."""

OVER = {state for state, events in TRANSITIONS.items() if not events}
ASKS = {State.TAKING, State.FORCING}


class Search:
    """One session's."""

    __slots__ = ("forced", "state", "term")

    def __init__(self) -> None:
        self.state = State.TAKING
        self.term = ""
        """Of the owner that was asked."""
        self.forced = False
        """Whether it was taken by force."""

    def move(self, event: Event, term: str = "") -> bool:
        """Something has happened; `term`: of the owner that was asked. Whether the store is to be asked now."""
        before = self.state
        self.state = TRANSITIONS[before].get(event, before)
        if event is Event.ASKED and self.state is State.WAITING:
            if self.term not in ("", term):
                self.state = State.ELSEWHERE
            self.term = term
        self.forced = before is State.FORCING and self.state is State.GOT
        return self.state is not before and self.state in ASKS

    @property
    def force(self) -> str:
        """What TAKE is to be told: the term under which it is taken by force, or ""."""
        return self.term if self.state is State.FORCING else ""
