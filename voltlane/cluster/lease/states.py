"""The number of a server among 256, as a lease (Gray and Cheriton, "Leases", SOSP 1989), and what to do next for it.

SEEKING ──taken──▶ HELD ──time over──▶ LAPSED ──renewed──▶ HELD
   ▲                 └───── gone ────────┴──▶ SEEKING
   └── none free, or no answer                                   leave, from any of them ──▶ LEFT

The holder counts the time of a lease from before it asked for it, the store from when it was asked, and the holder ends
a margin earlier: so it has always stopped before anybody else can have the number. That is looked at by the clock when
the number is used, not by a timer, which may be late.
"""

from __future__ import annotations

import enum
from math import inf
from typing import NamedTuple

MARGIN = 0.1
"""The part of a lease at its end that is not used: for clocks that run at different speeds."""
RENEW = 1 / 3
"""The part of it after which it is renewed."""
RETRY = 1 / 15
"""The part of it after which to ask again, where there was no answer or no number."""


class State(enum.Enum):
    """What is known of the number."""

    SEEKING = "it has no number"
    HELD = "it has a number"
    LAPSED = "its number was not renewed in time"
    LEFT = "it has given its number back"


class Event(enum.Enum):
    """What the store or the clock says."""

    TAKEN = "a number was taken"
    NONE_FREE = "others have all numbers"
    RENEWED = "it was renewed"
    GONE = "it is nobody's, or another server's"
    FAILED = "no answer"
    TIME_OVER = "it was not renewed in time"
    LEAVE = "we need it no longer"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.SEEKING: {
        Event.TAKEN: State.HELD,
        Event.NONE_FREE: State.SEEKING,
        Event.FAILED: State.SEEKING,
        Event.LEAVE: State.LEFT,
    },
    State.HELD: {
        Event.RENEWED: State.HELD,
        Event.GONE: State.SEEKING,
        Event.FAILED: State.HELD,
        Event.TIME_OVER: State.LAPSED,
        Event.LEAVE: State.LEFT,
    },
    State.LAPSED: {
        Event.RENEWED: State.HELD,
        Event.GONE: State.SEEKING,
        Event.FAILED: State.LAPSED,
        Event.LEAVE: State.LEFT,
    },
    State.LEFT: {},
}
"""An event that is missing changes nothing: what is answered to a server that has left comes too late."""


class Ask(enum.Enum):
    """What to ask the store for."""

    TAKE = "a number"
    RENEW = "more time for the one we have"


_ASKS = {State.SEEKING: Ask.TAKE, State.HELD: Ask.RENEW, State.LAPSED: Ask.RENEW, State.LEFT: None}


class Taken(NamedTuple):
    """What the store gives with a number."""

    number: int
    """0 to 255."""
    term: int
    """Of the lease: above that of every lease before it, of any number."""
    used: int
    """Sixteenths of a millisecond since `core.ids.EPOCH`: up to here ids of this number may have been given out."""


class Lease:
    """One server's. Times are seconds of a monotonic clock; `secs` is how long a lease is."""

    __slots__ = ("_asked", "_next", "secs", "state", "taken", "until")

    def __init__(self, secs: float, now: float) -> None:
        self.secs = secs
        self.state = State.SEEKING
        self.taken: Taken | None = None
        """What the store gave last; it may be another's by now."""
        self.until = -inf
        """When it is not to be used any more."""
        self._next = now  # when to ask
        self._asked: float | None = None  # when it was asked, while there is no answer

    def usable(self, now: float) -> bool:
        """Whether the number may be used at this moment."""
        return self.state is State.HELD and now < self.until

    @property
    def look(self) -> float:
        """When something is due next: to `ask`, or that its time is over."""
        return min(self._next if self._asked is None else inf, self.until if self.state is State.HELD else inf)

    def ask(self, now: float) -> Ask | None:
        """What to ask the store for at this moment, if anything. Its answer is awaited from now on."""
        if self.state is State.HELD and now >= self.until:
            self._move(Event.TIME_OVER)
        asks = _ASKS[self.state]
        if asks is None or self._asked is not None or now < self._next:
            return None
        self._asked = now
        return asks

    def answered(self, event: Event, now: float, taken: Taken | None = None) -> None:
        """The answer has come: `taken` with TAKEN."""
        asked, self._asked = self._asked, None
        if event in (Event.TAKEN, Event.RENEWED) and asked is not None and self.state is not State.LEFT:
            until = asked + self.secs * (1 - MARGIN)
            if until <= now:  # it took too long: it may be another's in a moment
                event = Event.FAILED
            else:
                self.until, self.taken = until, taken or self.taken
        again = {Event.TAKEN: RENEW, Event.RENEWED: RENEW, Event.GONE: 0.0}.get(event, RETRY)
        self._next = (asked if asked is not None and again == RENEW else now) + self.secs * again
        self._move(event)

    def hurry(self, now: float) -> None:
        """The store is there again: ask at once. It may have forgotten who has the number; until it knows again, all
        that is ours is nobody's to the others."""
        self._next = min(self._next, now)

    def leave(self) -> None:
        """It is not used any more."""
        self._move(Event.LEAVE)
        self._next = inf

    def go_on(self, taken: Taken, until: float) -> None:
        """Have what another process on this machine had, whose place this one takes."""
        self.taken, self.until, self.state = taken, until, State.HELD

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state].get(event, self.state)
