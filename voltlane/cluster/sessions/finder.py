"""Sessions that are not here: looked up for whoever says that one is its own, and got for who has proven it.

A *candidate* is what the store knows of one: enough to prove to whom it belongs. Nothing is done to the session itself,
and its owner hears nothing, before that is proven.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from math import inf
from typing import Any, Callable

from ...core.counters import Counters
from ...core.hub import Hub
from ...core.session import Session
from ...core.timers import Timer
from ...core.whereabouts import Elsewhere, Seeker, Wanted, Whereabouts
from ...errors import SessionAway
from ...net.reactor import Reactor
from ...ops.log import log
from ...reasons import CloseReason
from ..redis.link import Link
from ..redis.resp import Argument, Reply, Trouble
from .journal import ClusterJournal
from .moved import MovedClients
from .rows import RowError, Rows, Taken, delivery_of, joined
from .scripts import LOOK, TAKE
from .search import OVER, Event, Search, State

ANSWER_SECS = 2.0
"""For so long what the store has said of a session is good enough to prove whose it is, or that there is none."""
FORGETFUL_SECS = 15.0
"""A store that was away may have forgotten sessions, and for so long it takes the other servers to tell it of them
again: that it knows none says nothing."""
FOLLOW_SECS = 2.0
"""For so long it may take a process that follows another one to have the store."""
MOST_ANSWERS = 4096
ASK_AGAIN_SECS = 0.5
"""The owner may not have heard that it is wanted, nor we that it is free."""


class Candidate(Session):
    """A session that is elsewhere, as the store had it when it was looked up."""

    __slots__ = ("base",)

    def __init__(self, client_id: int, credential: bytes) -> None:
        super().__init__(client_id, credential, None)
        self.base = credential
        """What its credential was then: a proof may renew it."""


class _Answer:
    """What was found out, until when that is good."""

    __slots__ = ("failed", "session", "until")

    def __init__(self, session: Candidate | None, until: float, failed: bool = False) -> None:
        self.session = session
        self.until = until
        self.failed = failed


Waiting = Callable[[State], bool]
"""Told how a search has ended. Asked before, with one that is not over, whether anybody still waits."""


class _Getting:
    """A session that is being got, for whom."""

    __slots__ = ("candidate", "late", "poll", "search", "waiting")

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.search = Search()
        self.waiting: list[Waiting] = []
        self.late: Timer | None = None
        self.poll: Timer | None = None


class Finder(Whereabouts):
    """One server's. `me()` is what it is called in the store, `number()` its number."""

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        rows: Rows,
        journal: ClusterJournal,
        hub: Hub,
        counters: Counters,
        moved: MovedClients,
        me: Callable[[], str],
        patience: float,
        fence: Callable[[Session], None],
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._rows = rows
        self._journal = journal
        self._hub = hub
        self._counters = counters
        self._registry = hub.registry
        self.moved = moved
        self.me = me
        self.patience = patience
        """Seconds that an owner has to give a session up."""
        self._fence = fence
        self.giving: Callable[[int], bool] = lambda client_id: False
        """Whether a session is just being given up by this server."""
        self.trusted_at = reactor.now
        """From when on that the store knows no session says that there is none."""
        self._follows_until = -inf  # see `go_on`
        link.watchers.append(self._on_link)
        self._answers: OrderedDict[Wanted, _Answer] = OrderedDict()
        self._sought: dict[Wanted, list[Seeker]] = {}
        self._getting: dict[int, _Getting] = {}

    def _on_link(self) -> None:
        if self._link.up and self._reactor.now >= self._follows_until:
            self.distrust()

    def distrust(self) -> None:
        """The store may have forgotten what it had."""
        self.trusted_at = self._reactor.now + FORGETFUL_SECS

    def go_on(self, trusted_at: float) -> None:
        """The store was trusted from then on, and is about to be there again: it was not away, but left alone, while
        one process was to follow another."""
        self.trusted_at, self._follows_until = trusted_at, self._reactor.now + FOLLOW_SECS

    @property
    def _is_trusted(self) -> bool:
        return self._reactor.now >= self.trusted_at

    # ---- looking one up: see Whereabouts

    def candidate(self, wanted: Wanted) -> Session | None:
        """See Whereabouts."""
        answer = self._answer(wanted)
        return answer.session if answer is not None else None

    def check(self, wanted: Wanted) -> None:
        """See Whereabouts. Raises SessionAway where nobody can be asked."""
        answer = self._answer(wanted)
        if answer is not None and not answer.failed:
            return
        if answer is not None or not self._link.up:
            if wanted.handle:
                return  # mostly it is a new one; if not, its client loses nothing but the packets of a first moment
            raise SessionAway(f"client {wanted.client_id} may be elsewhere: the store {self._link.text or 'is away'}")
        raise Elsewhere(wanted)

    def doubt(self, session: Session, ahead: bool) -> None:
        """See Whereabouts. A server that was without the store has yet to tell it of the secrets that it has given."""
        if not isinstance(session, Candidate):
            self.check(Wanted(session.id))
        elif ahead:
            raise SessionAway(f"client {session.id} has a later secret than the store: its server has yet to tell it")

    def seek(self, wanted: Wanted, seeker: Seeker) -> None:
        """See Whereabouts."""
        seekers = self._sought.setdefault(wanted, [])
        seekers.append(seeker)
        if len(seekers) == 1:
            if wanted.handle:
                key = self._link.key("opening", wanted.handle.hex())
                self._link.call(("GET", key), partial(self._found_opening, wanted))
            else:
                self._look(wanted, wanted.client_id)

    def _look(self, wanted: Wanted, client_id: int) -> None:
        keys = [self._link.key("session", client_id), self._link.key("node", "")]
        self._link.run(LOOK, keys, [self.me()], partial(self._looked, wanted, client_id))

    def _found_opening(self, wanted: Wanted, reply: Reply) -> None:
        if isinstance(reply, bytes) and reply.isdigit():
            self._look(wanted, int(reply))
        else:
            self._tell(wanted, None, isinstance(reply, Trouble))

    def _looked(self, wanted: Wanted, client_id: int, reply: Reply) -> None:
        session: Candidate | None = None
        failed = isinstance(reply, (Trouble, int)) or (reply is None and not self._is_trusted)
        if isinstance(reply, list):
            try:
                seen = self._rows.seen(client_id, reply)
            except RowError as error:
                log.error("session %d in the store %s", client_id, error)
                failed = True
            else:
                here = self._registry.sessions.get(client_id)
                is_ours = _token(seen.owner) == _token(self.me()) or seen.term < self._journal.terms.get(client_id, 0)
                if here is not None and not is_ours:
                    self._fence(here)  # somebody doubts it, and is right
                if client_id not in self._registry.sessions:
                    session = Candidate(client_id, seen.row.credential)
                    session.delivery = delivery_of(seen.row, seen.term, True)
        self._tell(wanted, session, failed)

    def _tell(self, wanted: Wanted, session: Candidate | None, failed: bool) -> None:
        answers = self._answers
        answers.pop(wanted, None)
        answers[wanted] = _Answer(session, self._reactor.now + ANSWER_SECS, failed)
        if len(answers) > MOST_ANSWERS:
            answers.popitem(last=False)
        for seeker in self._sought.pop(wanted, []):
            seeker.found()

    def _answer(self, wanted: Wanted) -> _Answer | None:
        answer = self._answers.get(wanted)
        if answer is not None and answer.until <= self._reactor.now:
            del self._answers[wanted]
            return None
        return answer

    # ---- getting it

    def get(self, candidate: Candidate, waiting: Waiting) -> None:
        """It is proven: get it, and tell how that has ended. With GOT it is in the registry, stale."""
        getting = self._getting.get(candidate.id)
        if getting is None:
            getting = self._getting[candidate.id] = _Getting(candidate)
            getting.waiting.append(waiting)
            self._ask(getting)
        else:
            getting.waiting.append(waiting)
            getting.candidate = candidate  # the later proof wins

    def is_getting(self, client_id: int) -> bool:
        """Whether it is being got."""
        return client_id in self._getting

    def told(self, client_id: int) -> None:
        """Somebody has given a session up."""
        getting = self._getting.get(client_id)
        if getting is not None:
            self._move(getting, Event.AGAIN)

    def _ask(self, getting: _Getting) -> None:
        link, client_id = self._link, getting.candidate.id
        if self.giving(client_id):  # by us: it is asked for when that is done
            getting.search.state = State.WAITING
            self._wait(getting)
            return
        me = self.me()
        keys = [link.key("session", client_id), link.key("node", ""), link.key("ask", "")]
        arguments: list[Argument] = [
            me,
            self._journal.milliseconds(),
            client_id,
            getting.search.force,
            me.partition(":")[0],
        ]
        link.run(TAKE, keys, arguments, partial(self._answered, getting))

    def _answered(self, getting: _Getting, reply: Reply) -> None:
        if isinstance(reply, list) and reply[0] == 1:
            self._got(getting, reply)
        elif isinstance(reply, list):
            self._move(getting, Event.ASKED, reply[1].decode())
        else:
            self._move(getting, Event.NONE if reply is None and self._is_trusted else Event.TROUBLE)

    def _got(self, getting: _Getting, reply: list[Any]) -> None:
        forced = getting.search.state is State.FORCING
        try:
            self._restore(getting.candidate, self._rows.taken(getting.candidate.id, reply), forced)
        except RowError as error:
            log.error("session %d in the store %s", getting.candidate.id, error)
            self._move(getting, Event.TROUBLE)
        else:
            self._move(getting, Event.GOT)

    def _move(self, getting: _Getting, event: Event, term: str = "") -> None:
        search = getting.search
        before = search.state
        if search.move(event, term):
            if not any([waiting(search.state) for waiting in getting.waiting]):
                self._finish(getting)  # nobody waits any more
            else:
                self._ask(getting)
        elif search.state is State.WAITING and before is not State.WAITING:
            self._wait(getting)
        if search.state in OVER:
            self._finish(getting)

    def _wait(self, getting: _Getting) -> None:
        if getting.late is None:
            getting.late = self._reactor.call_later(self.patience, partial(self._late, getting))
        if getting.poll is not None:
            self._reactor.cancel(getting.poll)
        getting.poll = self._reactor.call_later(ASK_AGAIN_SECS, partial(self._poll, getting))

    def _poll(self, getting: _Getting, now: float) -> None:
        getting.poll = None
        self._move(getting, Event.AGAIN)

    def _late(self, getting: _Getting, now: float) -> None:
        getting.late = None
        if getting.search.state is State.TAKING and getting.search.term:  # just asking again
            getting.late = self._reactor.call_later(ASK_AGAIN_SECS / 2, partial(self._late, getting))
        else:
            self._move(getting, Event.LATE)

    def _finish(self, getting: _Getting) -> None:
        if self._getting.pop(getting.candidate.id, None) is not getting:
            return
        for timer in (getting.late, getting.poll):
            if timer is not None:
                self._reactor.cancel(timer)
        getting.late = getting.poll = None
        for waiting in getting.waiting:
            waiting(getting.search.state)

    def _restore(self, candidate: Candidate, taken: Taken, forced: bool) -> None:
        """It is ours: as one of an earlier process, exactly or not. What the proof has renewed stays renewed."""
        client_id, row, counters = candidate.id, taken.row, self._counters
        if client_id in self._registry.sessions:
            return
        known = delivery_of(row, taken.term, taken.exact)
        renewed = candidate.credential if row.credential == candidate.base else None
        credential = renewed or joined(candidate.credential, row.credential) or row.credential
        self._journal.terms[client_id] = taken.term
        self._journal.silent.discard(client_id)
        self.moved.discard(client_id)
        counters.taken += 1
        counters.forced += forced
        left = self._journal.milliseconds() / 1000
        self._registry.restore(client_id, credential, left, self._reactor.now, known)
        session = self._registry.sessions.get(client_id)
        if session is not None:
            session.secret = candidate.secret
        if row.retained and taken.exact:
            self._hub.restore(client_id, row.retained)

    def forget(self, client_id: int) -> None:
        """It has changed hands: what was looked up of it is old."""
        for wanted in (Wanted(client_id), Wanted(client_id, beside=True)):
            self._answers.pop(wanted, None)


CLOSES = {
    State.NONE: CloseReason.SESSION_ENDED,
    State.ELSEWHERE: CloseReason.MOVED,
    State.FAILED: CloseReason.STORE_AWAY,
}
"""Why a connection is closed whose session was not got."""


def _token(owner: str) -> str:
    return owner.partition(":")[2]
