"""Keeps the store up to date with the sessions of this server: the last state of each, in batches.

What is to be written is a set of sessions, and not a queue of commands: it never holds more than there are, however
long the store is away. When it is back every session is written once, for it may have forgotten all of them.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from math import ceil
from typing import Callable

from ...core.protocols.table import revive
from ...core.registry import Registry, SessionJournal
from ...core.session import Session, State
from ...core.timers import Timer
from ...core.tombstones import Tombstone
from ...net.reactor import Handler, Reactor
from ...ops.log import log
from ...reasons import CloseReason, EndReason
from ..moved import MovedEnd
from ..redis.link import Link
from ..redis.resp import Argument, Kind, Reply, Trouble
from .rows import Rows, numbers_of
from .scripts import END, REFRESH, WRITE

MOST_UNDER_WAY = 1024
"""Rows that are written at once; the others wait for their answers."""
SLICE = 256
"""Sessions whose time in the store is renewed at once, or more where a round would take longer than it may."""
STEP_SECS = 0.1
"""Between two of these, as timers go."""
LEAST_SECS = 10.0
"""For so long at least the store has a session."""
ENDED_SECS = 300.0
"""For so long it knows of one that has ended."""
MOST_ENDED = 1 << 16
"""Ended sessions that it has yet to be told of; of more the oldest run out by themselves there."""
RETRY_SECS = 1.0


class LastWords(SessionJournal):
    """When the server ends connections close, which says nothing; a session that ends then is over all the same."""

    def __init__(self, journal: ClusterJournal) -> None:
        self._journal = journal

    def ended(self, session: Session) -> None:
        """See SessionJournal."""
        self._journal.ended(session)


class ClusterJournal(SessionJournal, Handler):
    """One server's. `owner()` is what it is called in the store; `on_fenced(session)` is told that a session is another
    server's."""

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        rows: Rows,
        owner: Callable[[], str],
        stale_secs: float,
        on_fenced: Callable[[Session], None],
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._rows = rows
        self._owner = owner
        self._stale_secs = stale_secs
        self._on_fenced = on_fenced
        self.registry: Registry
        """Set once by whoever makes both."""
        self.terms: dict[int, int] = {}
        """Under which term each session is ours."""
        self.silent: set[int] = set()
        """Sessions of which nothing is written for now: they are being given up."""
        self.told: set[int] = set()
        """Those that are about to be opened or resumed, as the store knows already."""
        self._dirty: dict[int, None] = {}
        self._ended: dict[int, int] = {}  # and under which term
        self._ends: dict[int, tuple[EndReason, Tombstone | None]] = {}  # of those of whom somebody is told then
        self.on_agreed: Callable[[int, EndReason, Tombstone | None], None] = lambda client_id, reason, stone: None
        """Told when the store has agreed that a session was ours to the end; ..."""
        self.on_refused: Callable[[int, EndReason], None] = lambda client_id, reason: None
        """... or when it was another's."""
        self._under_way = 0
        self._refreshing: Timer | None = None
        self._left: list[int] = []  # whose time is to be renewed in this round
        self._retry: Timer | None = None
        link.watchers.append(self._on_link)

    def configure(self, stale_secs: float) -> None:
        """Sessions are kept for so long from now on."""
        self._stale_secs = stale_secs

    def start(self) -> None:
        """Renew in time what the store has."""
        self._refreshing = self._reactor.call_later(self._round_secs, self._begin_round)

    def stop(self) -> None:
        """Write nothing more by itself."""
        for timer in (self._refreshing, self._retry):
            if timer is not None:
                self._reactor.cancel(timer)
        self._refreshing = self._retry = None

    @property
    def pending(self) -> int:
        """How many sessions the store has yet to be told of."""
        return len(self._dirty) + len(self._ended) + self._under_way

    def milliseconds(self, session: Session | None = None) -> int:
        """How long the store keeps a session: a live one so that it outlasts its server by the stale time."""
        secs = self._stale_secs
        if session is not None and session.state is State.STALE:
            secs = session.expiry - self._reactor.now
        else:
            secs += self._round_secs * 2
        return int(max(secs, LEAST_SECS) * 1000)

    # ---- see SessionJournal

    def opened(self, session: Session) -> None:
        """See SessionJournal."""
        if session.credential:
            self.terms[session.id] = self.registry.epoch
            self._note_unless_told(session)

    def renewed(self, session: Session, told: bool) -> None:
        """See SessionJournal."""
        self._note(session)

    def lost(self, session: Session) -> None:
        """See SessionJournal."""
        self._note(session)

    def resumed(self, session: Session) -> None:
        """See SessionJournal."""
        self._note_unless_told(session)

    def ended(self, session: Session) -> None:
        """See SessionJournal."""
        self._dirty.pop(session.id, None)
        term = self.terms.pop(session.id, None)
        if term is not None:
            self._ended[session.id] = term
            if len(self._ended) > MOST_ENDED:
                oldest = next(iter(self._ended))
                del self._ended[oldest]
                self._is_ended(oldest)
            self._reactor.mark_dirty(self)

    def settle_end(self, client_id: int, reason: EndReason, stone: Tombstone | None) -> None:
        """See Hub: of one that the store knows nothing of at once."""
        if client_id in self._ended:
            self._ends[client_id] = reason, stone
        else:
            self.on_agreed(client_id, reason, stone)

    def is_ending(self, client_id: int) -> bool:
        """Whether it has ended here, and the store has not said that it knows."""
        return client_id in self._ended or client_id in self._ends

    def _is_ended(self, client_id: int) -> None:
        end = self._ends.pop(client_id, None)
        if end is not None:
            self.on_agreed(client_id, *end)

    # ---- from one process to another

    @property
    def unsaid(self) -> list[MovedEnd]:
        """Sessions that have ended, of which the store does not know yet, while nothing is under way."""
        reasons = {client_id: reason for client_id, (reason, _) in self._ends.items()}
        return [MovedEnd(client_id, term, reasons.get(client_id)) for client_id, term in self._ended.items()]

    def move_in(self, terms: dict[int, int], unsaid: list[MovedEnd]) -> None:
        """Go on with another process's, before `start`. What each session is, is written when the store is there."""
        self.terms.update(terms)
        self._ended.update((end.client_id, end.term) for end in unsaid)
        self._ends.update((end.client_id, (end.reason, None)) for end in unsaid if end.reason is not None)

    def forget(self, client_id: int) -> None:
        """It is not ours any more."""
        self.terms.pop(client_id, None)
        self._dirty.pop(client_id, None)

    def _note_unless_told(self, session: Session) -> None:
        if session.id in self.told:
            self.told.discard(session.id)
        else:
            self._note(session)

    def _note(self, session: Session) -> None:
        if session.id in self.terms and session.id not in self.silent:
            self._dirty[session.id] = None
            self._reactor.mark_dirty(self)

    # ---- writing

    def write(self, session: Session, then: Callable[[Reply], None], state: str = "") -> None:
        """Write how a session is, at once; `then` gets what WRITE answers, or a Trouble."""
        self._dirty.pop(session.id, None)
        handle = revive(session.credential)[1]
        arguments: list[Argument] = [
            self._owner(),
            self.terms.get(session.id, self.registry.epoch),
            state or session.state.value,
            self._rows.seal(session.id, session.credential),
            numbers_of(session),
            self.milliseconds(None if state == State.LIVE.value else session),
            session.id,
        ]
        opening = self._link.key("opening", handle.hex()) if handle else ""
        self._link.run(WRITE, [self._link.key("session", session.id), opening], arguments, then)

    def on_flush(self) -> None:
        """See Handler."""
        if not self._link.up:
            return
        ended, self._ended = self._ended, {}
        for client_id, term in ended.items():
            arguments: list[Argument] = [self._owner(), term, int(ENDED_SECS * 1000)]
            keys = [self._link.key("session", client_id)]
            self._link.run(END, keys, arguments, partial(self._end_written, client_id, term))
        sessions = self.registry.sessions
        for client_id in list(islice(self._dirty, max(0, MOST_UNDER_WAY - self._under_way))):
            session = sessions.get(client_id)
            if session is None:
                del self._dirty[client_id]
            else:
                self._under_way += 1
                self.write(session, partial(self._written, session))

    def _written(self, session: Session, reply: Reply) -> None:
        self._under_way -= 1
        if self._is_ours(session):
            if isinstance(reply, Trouble):
                self._again(session, reply)
            elif reply != 1:  # or it was opened elsewhere as well, which has then been told to its client
                self._on_fenced(session)
        if self._dirty and self._under_way < MOST_UNDER_WAY // 2:
            self._reactor.mark_dirty(self)

    def _end_written(self, client_id: int, term: int, reply: Reply) -> None:
        if isinstance(reply, Trouble) and reply.kind is not Kind.REFUSED and len(self._ended) < MOST_ENDED:
            self._ended[client_id] = term
            self._retry_later()
        elif reply == 0:
            end = self._ends.pop(client_id, None)
            if end is not None:
                self.on_refused(client_id, end[0])
        else:
            self._is_ended(client_id)

    def _is_ours(self, session: Session) -> bool:
        return self.registry.sessions.get(session.id) is session and session.id in self.terms

    def _again(self, session: Session, trouble: Trouble) -> None:
        if trouble.kind is Kind.REFUSED:
            log.error("session %d cannot be written to the store: %s", session.id, trouble.text)
            return
        self._dirty[session.id] = None
        self._retry_later()

    def _retry_later(self) -> None:
        if self._retry is None and self._link.up:  # else it is all written when the store is back
            self._retry = self._reactor.call_later(RETRY_SECS, self._retry_now)

    def _retry_now(self, now: float) -> None:
        self._retry = None
        self._reactor.mark_dirty(self)

    def _on_link(self) -> None:
        if self._link.up:
            self.write_all()

    def write_all(self) -> None:
        """The store may know none of our sessions, or not what we are called now."""
        self._dirty.update(dict.fromkeys(client_id for client_id in self.terms if client_id not in self.silent))
        self._reactor.mark_dirty(self)

    # ---- renewing

    @property
    def _round_secs(self) -> float:
        return max(self._stale_secs, LEAST_SECS) / 2

    def look_again(self) -> None:
        """Some of our sessions may be another server's by now, and we have not heard of it: look, before anything else
        is said of them."""
        if self._refreshing is not None:
            self._reactor.cancel(self._refreshing)
            self._begin_round(self._reactor.now)

    def _begin_round(self, now: float) -> None:
        self._left = list(self.terms)
        self._refresh(now)

    def _refresh(self, now: float) -> None:
        """Renew some; whoever is not ours any more is found by that."""
        many = max(SLICE, ceil(len(self.terms) * 2 * STEP_SECS / self._round_secs))
        some, self._left = self._left[:many], self._left[many:]
        sessions = self.registry.sessions
        for state, milliseconds in ((State.LIVE, self.milliseconds()), (State.STALE, 0)):
            ids = [one for one in some if one in self.terms and one in sessions and sessions[one].state is state]
            if ids and self._link.up:
                keys = [self._link.key("session", client_id) for client_id in ids]
                arguments: list[Argument] = [self._owner(), milliseconds, *[self.terms[one] for one in ids]]
                self._link.run(REFRESH, keys, arguments, partial(self._refreshed, ids))
        wait, step = (STEP_SECS / 2, self._refresh) if self._left else (self._round_secs, self._begin_round)
        self._refreshing = self._reactor.call_later(wait, step)

    def _refreshed(self, ids: list[int], reply: Reply) -> None:
        if not isinstance(reply, list):
            return
        for client_id, found in zip(ids, reply):
            session = self.registry.sessions.get(client_id)
            if session is not None and client_id in self.terms and client_id not in self.silent and found != 1:
                # Of one that is not there the store has lost track; else the write finds out whose it is.
                self._note(session)

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """See Handler: there is nothing to close."""

    def on_event(self, mask: int) -> None:
        """See Handler: there is nothing to read."""
