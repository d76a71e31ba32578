"""Every session: ids, look-ups, and the stale ones on a timer wheel whose tick is the reaping interval."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import Callable

from ..reasons import EndReason
from .delivery import Delivery, forgotten
from .ids import Ids
from .link import Link
from .openings import Openings
from .session import Event, Session, State
from .timers import Timer, TimerWheel
from .tombstones import Tombstones
from .whereabouts import Wanted, Whereabouts

LAST_SECS = 20.0
"""For so long at least is a session there whose connection ends with the process, though it could not be resumed: its
client is still read."""


class SessionJournal:
    """Hears of everything that has to outlive the process, as it happens. This one keeps nothing of it."""

    def opened(self, session: Session) -> None:
        """A session is new, and nobody knows its id yet. One that nobody can resume is of this process alone, but its
        id is given out all the same."""

    def renewed(self, session: Session, told: bool) -> None:
        """It is recognised by another credential from now on. `told`: its client is told of that next."""

    def lost(self, session: Session) -> None:
        """It has become stale."""

    def resumed(self, session: Session) -> None:
        """It was stale and is live again."""

    def ended(self, session: Session) -> None:
        """It is over."""


Revive = Callable[[bytes], "tuple[bool, bytes]"]
"""Of a session's credential: whether its packets have numbers, and what its opening is known by, or b""."""


def _without_numbers(credential: bytes) -> tuple[bool, bytes]:
    return False, b""


class Registry:
    """Sessions by client id.

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
        ids: Ids | None = None,
        epoch: int = 1,
        revive: Revive = _without_numbers,
    ) -> None:
        self.sessions: dict[int, Session] = {}
        self.openings = Openings()
        self.tombstones = Tombstones()
        self.epoch = epoch
        """That of every memory that begins with this process, counted over the processes: see Delivery."""
        self._revive = revive
        self.journal = SessionJournal()
        self.whereabouts = Whereabouts()
        self.ids = ids or Ids()
        self.promised = 0
        """The id that the next new session gets, where it was taken before; 0: the next one."""
        # In the order in which they became stale. A plain dictionary looks at the places of all who are gone for its
        # first entry: with 65,535 of them, over 100 µs for each that is evicted.
        self._stale: OrderedDict[int, Timer] = OrderedDict()
        self._wheel = TimerWheel(reap_interval, now)
        self._stale_timeout = stale_timeout
        self._max_stale = max_stale
        self._max_lowered = False
        self._is_left = False
        self.on_end = on_end
        self.on_gone: Callable[[Session], None] = lambda session: None
        """Called for each session that is this server's no more, however that came."""
        self._on_stale = on_stale

    def configure(self, *, stale_timeout: float, reap_interval: float, max_stale: int, now: float) -> None:
        """Go by these limits from now on. Who is stale already keeps its time, but `next_reap` may be another."""
        self._stale_timeout = stale_timeout
        self._max_lowered, self._max_stale = max_stale < self._max_stale and not self._is_left, max_stale
        if reap_interval != self._wheel.tick:
            self._wheel = TimerWheel(reap_interval, now)
            for client_id in self._stale:
                session = self.sessions[client_id]
                self._stale[client_id] = self._wheel.start(session.expiry, partial(self._expire, session))

    def catch_up(self) -> None:
        """The limits were others: those who are too many now are evicted, if it was that limit which became lower."""
        while self._max_lowered and len(self._stale) > self._max_stale:
            self._evict()
        self._max_lowered = False

    def find(self, client_id: int, beside: bool = False) -> Session | None:
        """The session that a client says is its own; `beside`: for a request beside its connection. Raises Elsewhere
        where it is worth asking others."""
        session = self.sessions.get(client_id)
        if session is not None or client_id in self.tombstones:
            return session
        return self._look_elsewhere(Wanted(client_id, beside=beside))

    def find_opened(self, handle: bytes) -> Session | None:
        """The one that was opened with this handle, if its client may not know that yet. Raises Superseded where it
        does; Elsewhere."""
        return self.openings.find(handle) or self._look_elsewhere(Wanted(handle=handle))

    def _look_elsewhere(self, wanted: Wanted) -> Session | None:
        candidate = self.whereabouts.candidate(wanted)
        if candidate is None:
            self.whereabouts.check(wanted)
        return candidate

    def open(self, credential: bytes, link: Link) -> Session:
        """A new live session. Only while an id is available."""
        session = Session(self.promised or self.ids.take(), credential, link)
        self.promised = 0
        self.sessions[session.id] = session
        self.journal.opened(session)
        return session

    def restore(
        self, client_id: int, credential: bytes, left: float, now: float, known: Delivery | None = None
    ) -> None:
        """A session of an earlier process: stale, for `left` seconds yet; who has least left comes first. `known`: what
        there is to know yet of its packets by number.

        However many there are, none is evicted for it: those who were connected cannot help it that all are stale now.
        """
        session = self.sessions[client_id] = Session(client_id, credential, None)
        numbered, handle = self._revive(credential)
        if handle:
            self.openings.add(handle, session)
        if numbered:
            session.delivery = known or forgotten(self.epoch)
        left = min(left, self._stale_timeout)
        if left <= 0 or not self._max_stale:
            self._end(session, EndReason.EXPIRED)
        else:
            self._set_aside(session, now + left)
            self._on_stale()

    def take_over(self, session: Session) -> None:
        """A session of the process that this one follows, as it is. No journal hears of it."""
        self.sessions[session.id] = session
        handle = self._revive(session.credential)[1]
        if handle:
            self.openings.add(handle, session)

    def take_over_stale(self, ids: Iterable[int]) -> None:
        """Which of them are stale, in the order in which they became so."""
        for client_id in ids:
            session = self.sessions[client_id]
            self._stale[client_id] = self._wheel.start(session.expiry, partial(self._expire, session))

    def lose(self, session: Session, now: float) -> None:
        """A live session lost its connection: it is stale from now on, for a while."""
        session.move(Event.LOST)
        session.link = None
        if self._is_left:
            self._set_aside(session, now + max(self._stale_timeout, LAST_SECS))
            self._on_stale()
            return
        if not session.credential or self._stale_timeout <= 0:
            self._end(session, EndReason.EXPIRED if session.credential else EndReason.NOT_RESUMABLE)
            return
        self._set_aside(session, now + self._stale_timeout)
        self.journal.lost(session)
        if len(self._stale) > self._max_stale:  # one for one: there may be more of an earlier process, which stay
            self._evict()
        self._on_stale()

    def resume(self, session: Session, link: Link) -> None:
        """A stale session, or a live one being taken over, has a connection again."""
        if session.state is State.STALE:
            self.journal.resumed(session)
        session.move(Event.RESUMED)
        session.link = link
        self._forget_stale(session)

    def end(self, session: Session) -> None:
        """The session is over; its id will not be seen again. `on_end` is not called."""
        self.give_away(session)
        self.journal.ended(session)

    def give_away(self, session: Session) -> None:
        """It is not this server's any more: nobody is told, and nothing is remembered of it."""
        session.move(Event.ENDED)
        session.link = None
        if session.backlog is not None:
            session.backlog.clear()
            session.backlog = None
        session.secret = None
        if session.delivery is not None:
            self._forget_opening(session)
        self._forget_stale(session)
        del self.sessions[session.id]
        self.on_gone(session)

    def _forget_opening(self, session: Session) -> None:
        handle = self._revive(session.credential)[1]
        if handle:
            self.openings.end(handle)

    def leave_to_the_next(self, journal: SessionJournal) -> None:
        """The process ends, its sessions do not: whatever becomes of connections now is no news of them, but for who
        keeps this journal, and no limit of stale sessions is for those who become stale of it."""
        self.journal = journal
        self._is_left = True

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
        self.on_end(session, reason)

    def _evict(self) -> None:
        self._end(self.sessions[next(iter(self._stale))], EndReason.EVICTED)

    def _set_aside(self, session: Session, expiry: float) -> None:
        session.lost, session.expiry = expiry - self._stale_timeout, expiry
        self._stale[session.id] = self._wheel.start(expiry, partial(self._expire, session))

    def _forget_stale(self, session: Session) -> None:
        timer = self._stale.pop(session.id, None)
        if timer is not None:
            self._wheel.stop(timer)
