"""Sessions at other workers, as a worker looks for them.

The id of a session says at which worker it is. A connection that wants one which is not here goes there, as it is, and
that is all that is done about it here: it is proven there. Whose an opening is that may have been said before, the
parent knows: those of a turn are asked about together, at its end.
"""

from __future__ import annotations

import socket
from typing import Callable, Protocol, cast

from ...core.openings import Openings
from ...core.session import Session
from ...core.whereabouts import Elsewhere, Seeker, Wanted, Whereabouts
from ...lanes.entry.arrival import Arrival
from ...lanes.entry.moved import MovedArrival
from ...net.reactor import Handler, Reactor
from .handles import join_handles

MOST_UNTOLD = 64
"""Openings that are done, of which the parent is told at once; fewer can wait until something else is said."""


class Way(Protocol):
    """To the parent."""

    def pass_on(self, home: int, moved: MovedArrival, sock: socket.socket) -> None:
        """Hand a connection to that worker. The socket is not this process's any more."""

    def ask_whose(self, number: int, handles: bytes) -> None:
        """Ask whose these openings are, which are this worker's if nobody has them: `Elsewheres.told` is called."""

    def say_done(self, handles: bytes) -> None:
        """These need not be known much longer."""


class Elsewheres(Whereabouts, Handler):
    """Those of the worker with this index. `home_of(client_id)`: the index of a session's."""

    def __init__(
        self, reactor: Reactor, index: int, home_of: Callable[[int], int], way: Way, openings: Openings
    ) -> None:
        self._reactor = reactor
        self._index = index
        self._home_of = home_of
        self._way = way
        self._asking: list[tuple[bytes, Seeker]] = []  # in this turn
        self._asked: dict[int, list[tuple[bytes, Seeker]]] = {}  # by question
        self._questions = 0
        self._ours = b""  # an opening that is known to be
        self._done: list[bytes] = []
        openings.on_done = self._on_done

    def candidate(self, wanted: Wanted) -> Session | None:
        """See Whereabouts: nothing is known here."""
        return None

    def check(self, wanted: Wanted) -> None:
        """See Whereabouts."""
        if wanted.handle:
            if wanted.handle != self._ours:
                raise Elsewhere(wanted)
        elif self._home_of(wanted.client_id) != self._index:
            raise Elsewhere(wanted)

    def seek(self, wanted: Wanted, seeker: Seeker) -> None:
        """See Whereabouts."""
        if not wanted.handle:
            self._pass_on(seeker, self._home_of(wanted.client_id))
            return
        self._asking.append((wanted.handle, seeker))
        self._reactor.mark_dirty(self)

    def on_flush(self) -> None:
        """Ask what is to be asked."""
        if self._asking:
            self._questions += 1
            asking, self._asking = self._asking, []
            self._asked[self._questions] = asking
            self._way.ask_whose(self._questions, join_handles([handle for handle, _ in asking]))
        if self._done:
            done, self._done = self._done, []
            self._way.say_done(join_handles(done))

    def told(self, number: int, homes: bytes) -> None:
        """The answer: the indices of their workers, a byte each."""
        for (handle, seeker), home in zip(self._asked.pop(number, ()), homes):
            if home == self._index:
                self._ours = handle
                try:
                    seeker.found()
                finally:
                    self._ours = b""
            else:
                self._reactor.guard(cast(Arrival, seeker), self._pass_on, seeker, home)

    def _pass_on(self, seeker: Seeker, home: int) -> None:
        arrival = cast(Arrival, seeker)
        if arrival.sock is not None:
            self._way.pass_on(home, *arrival.move_out())

    def _on_done(self, handle: bytes) -> None:
        self._done.append(handle)
        if len(self._done) >= MOST_UNTOLD:
            self._reactor.mark_dirty(self)
