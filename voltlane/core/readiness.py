"""Whether this server is of use to clients right now, as a probe or a service manager asks.

STARTING ──listening──▶ NO_MASTER ◀──master lost──┐
    │                       └────────master up──▶ READY
    ├─── draining, from any of them ──▶ DRAINING ──nobody is left──▶ DRAINED
    │                   NO_MASTER ◀──taken back──┴──────────────────────┘
    └─── stopping, from any of them ──▶ STOPPING
"""

from __future__ import annotations

import enum
from typing import Callable


class State(enum.Enum):
    """Where the server is in its life; the value is what a probe and the service manager show."""

    STARTING = "starting"
    NO_MASTER = "no connection to the master"
    READY = "ready"
    DRAINING = "draining"
    DRAINED = "drained"
    STOPPING = "stopping"


class Event(enum.Enum):
    """What changes it."""

    LISTENING = "clients can connect"
    MASTER_UP = "connected to the master"
    MASTER_LOST = "the master is gone"
    DRAIN = "asked to have its clients go elsewhere"
    EMPTY = "no client is left"
    RETURN = "the same was taken back"
    STOP = "asked to end"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STARTING: {
        Event.LISTENING: State.NO_MASTER,
        Event.MASTER_UP: State.READY,
        Event.DRAIN: State.DRAINING,
        Event.STOP: State.STOPPING,
    },
    State.NO_MASTER: {Event.MASTER_UP: State.READY, Event.DRAIN: State.DRAINING, Event.STOP: State.STOPPING},
    State.READY: {Event.MASTER_LOST: State.NO_MASTER, Event.DRAIN: State.DRAINING, Event.STOP: State.STOPPING},
    State.DRAINING: {Event.EMPTY: State.DRAINED, Event.RETURN: State.NO_MASTER, Event.STOP: State.STOPPING},
    State.DRAINED: {Event.RETURN: State.NO_MASTER, Event.STOP: State.STOPPING},
    State.STOPPING: {},
}
"""An event that is missing changes nothing: a server that is leaving stays so, whatever its master does."""


_LEAVING = {State.DRAINING, State.DRAINED, State.STOPPING}


class Readiness:
    """The state of one server. `watchers` are called after each change of it, or of what is said besides."""

    def __init__(self) -> None:
        self.state = State.STARTING
        self.remark = ""
        """What else there is to say; it does not change whether it is ready."""
        self.watchers: list[Callable[[], None]] = []

    @property
    def ready(self) -> bool:
        """Whether clients are accepted and what they send reaches a master."""
        return self.state is State.READY

    @property
    def leaving(self) -> bool:
        """Whether it is to be of no use any more, for a while or for good."""
        return self.state in _LEAVING

    @property
    def text(self) -> str:
        """The state in a few words."""
        return f"{self.state.value}, {self.remark}" if self.remark else self.state.value

    def note(self, remark: str) -> None:
        """Say this as well from now on; "" for nothing."""
        changed, self.remark = remark != self.remark, remark
        if changed and self.state is not State.STARTING:
            self._tell()

    def move(self, event: Event) -> None:
        """Step through the table."""
        state = TRANSITIONS[self.state].get(event, self.state)
        if state is not self.state:
            self.state = state
            self._tell()

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher()
