"""Every session: ids, look-ups, and the stale ones on a timer wheel whose tick is the reaping interval."""

from __future__ import annotations

from functools import partial
from typing import Callable

from ..reasons import EndReason
from .session import Event, Link, Session, State
from .timers import Timer, TimerWheel


class Registry:
    """Sessions by client id. Ids count up from 1 and are never reused in a process's life.

    `on_end(session, reason)` is called for each session that the registry itself ends: expired or evicted. `on_stale()`
    is called when one more session is stale, so that somebody calls `reap` at `next_reap`.
    """

    def __init__(
        self,
        *,
        stale_timeout: float,
        reap_interval: float,
        max_stale: int,
        on_end: Callable[[Session, EndReason], None],
        on_stale: Callable[[], None],
        now: float,
    ) -> None:
        self.sessions: dict[int, Session] = {}
        self._next_id = 1
        self._stale: dict[int, Timer] = {}  # in the order in which they became stale
        self._wheel = TimerWheel(reap_interval, now)
        self._stale_timeout = stale_timeout
        self._max_stale = max_stale
        self._on_end = on_end
        self._on_stale = on_stale

    def configure(self, *, stale_timeout: float, reap_interval: float, max_stale: int, now: float) -> None:
        """Go by these limits from now on. Who is stale already keeps its time, but `next_reap` may be another."""
        self._stale_timeout = stale_timeout
        self._max_stale = max_stale
        if reap_interval != self._wheel.tick:
            self._wheel = TimerWheel(reap_interval, now)
            for client_id in self._stale:
                session = self.sessions[client_id]
                self._stale[client_id] = self._wheel.start(session.expiry, partial(self._expire, session))
        self._evict()

    def open(self, point: bytes, link: Link) -> Session:
        """A new live session."""
        session = Session(self._next_id, point, link)
        self._next_id += 1
        self.sessions[session.id] = session
        return session

    def lose(self, session: Session, now: float) -> None:
        """A live session lost its connection: it is stale from now on, for a while."""
        session.move(Event.LOST)
        session.link = None
        if self._stale_timeout <= 0:
            self._end(session, EndReason.EXPIRED)
            return
        session.expiry = now + self._stale_timeout
        self._stale[session.id] = self._wheel.start(session.expiry, partial(self._expire, session))
        self._evict()
        self._on_stale()

    def resume(self, session: Session, link: Link) -> None:
        """A stale session, or a live one being taken over, has a connection again."""
        session.move(Event.RESUMED)
        session.link = link
        self._forget_stale(session)

    def end(self, session: Session) -> None:
        """The session is over; its id will not be seen again. `on_end` is not called."""
        session.move(Event.ENDED)
        session.link = None
        session.backlog = None
        session.key = None
        self._forget_stale(session)
        del self.sessions[session.id]

    def live(self) -> list[Session]:
        """The sessions that have a connection, by id."""
        return [session for session in self.sessions.values() if session.state is State.LIVE]

    def stale(self) -> list[Session]:
        """The sessions that have none, who has been away the longest first."""
        return [self.sessions[client_id] for client_id in self._stale]

    @property
    def stale_count(self) -> int:
        """How many sessions are stale."""
        return len(self._stale)

    def next_reap(self) -> float | None:
        """When `reap` has something to do next; None while no session is stale."""
        return self._wheel.next_deadline()

    def reap(self, now: float) -> None:
        """End the sessions that have been stale for too long."""
        for timer in self._wheel.advance(now):
            self._wheel.fire(timer, now)

    def _expire(self, session: Session, now: float) -> None:
        self._end(session, EndReason.EXPIRED)

    def _end(self, session: Session, reason: EndReason) -> None:
        self.end(session)
        self._on_end(session, reason)

    def _evict(self) -> None:
        while len(self._stale) > self._max_stale:
            self._end(self.sessions[next(iter(self._stale))], EndReason.EVICTED)

    def _forget_stale(self, session: Session) -> None:
        timer = self._stale.pop(session.id, None)
        if timer is not None:
            self._wheel.stop(timer)
