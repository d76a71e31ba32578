"""One HTTP connection. A step a turn: a read, a request, or a slice of the work for one."""

from __future__ import annotations

import socket
import time
from collections import Counter
from http import HTTPStatus
from typing import Protocol

from ..core.timers import Timer
from ..net.reactor import Reactor
from ..net.stream import Stream
from ..reasons import AdminEnd, CloseReason
from ..wire.http1.answers import Refusal, Response
from ..wire.http1.conversation import Conversation, Limits, Request
from ..wire.http1.dates import http_date
from .places import Places, Stage
from .router import Work

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer. None of them lets another site's page read anything (there is no CORS)."""
READ = 16384
"""Bytes read at once."""
PATIENCE_SECS = 30.0
"""For a whole request, counted from the answer before it, and for the peer to take an answer."""
LINGER_SECS = 2.0
"""For a peer to close its side after the last answer."""
_NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"
"""Made beforehand, since there may be thousands a second to tell."""


class Owner(Protocol):
    """What a connection needs of the endpoint."""

    places: Places[AdminConnection]
    ends: Counter[AdminEnd]

    def respond(self, request: Request) -> Response | Work:
        """Answer a request. Raises Refusal."""

    def forget(self, connection: AdminConnection) -> None:
        """Is called once, when the connection is closed."""


class AdminConnection(Stream):
    """One connection to the endpoint. Pipelined requests wait their turn; a peer that does not read is not answered."""

    __slots__ = (
        "_conversation",
        "_ending",
        "_making_room",
        "_owner",
        "_readable",
        "_scheduled",
        "_timer",
        "_work",
        "stage",
    )

    def __init__(self, reactor: Reactor, sock: socket.socket, owner: Owner) -> None:
        self._owner = owner
        self._conversation = Conversation(Limits(), HEADERS.items())
        self._work: Work | None = None
        self._readable = False  # there may be something to read
        self._scheduled = False  # a step is due
        self._making_room = False  # the next answer is the last
        self._ending = False  # it ends when everything is written
        self._timer: Timer | None = None
        self.stage = Stage.WAITING
        super().__init__(reactor, sock)
        owner.places.move(self, Stage.WAITING)
        self._be_patient()

    @property
    def viewer(self) -> bool:
        """Whether an answer without end is under way."""
        return self.stage is Stage.WATCHING

    @property
    def _listens(self) -> bool:
        """Whether what comes in means anything."""
        return self.stage is not Stage.WATCHING and self.stage is not Stage.LEAVING

    @property
    def stalled(self) -> bool:
        """See Occupant."""
        return self.outbox is not None and not self.viewer

    # ---- step by step

    def on_readable(self) -> None:
        """See Stream."""
        self._readable = True
        self._schedule()

    def on_relief(self) -> None:
        """See Stream."""
        if self.outbox is None:
            if self._ending:
                self._end()
            elif not self.viewer:
                self._owner.places.move(self, Stage.WAITING)
                self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.reactor.call_soon(self._step, self)

    def _step(self) -> None:
        self._scheduled = False
        if self.sock is None or self._ending or (self.outbox is not None and not self.viewer):
            return
        try:
            progress = self._proceed()
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if progress:
            self._schedule()

    def _proceed(self) -> bool:
        """Do what comes next; whether there may be more."""
        if self._work is not None:
            return self._advance(self._work)
        if self._listens and (self._take_request() or self._conversation.unfinished):
            return True
        interim = self._conversation.take_interim()
        if interim:
            self.try_send(interim, 0)
        return self._readable and self._read()

    def _read(self) -> bool:
        assert self.sock is not None
        try:
            data = self.sock.recv(READ)
        except BlockingIOError:
            self._readable = False
            self.reactor.drained(self.sock)
            return False
        if not data:
            self.close(CloseReason.PEER_CLOSED)
            return False
        if self._listens:
            self._conversation.receive(data)
        return True

    # ---- requests and answers

    def _take_request(self) -> bool:
        """Answer the next request, or begin to; whether there was one. Raises Refusal."""
        request = self._conversation.next_request()
        if request is None:
            return False
        self._be_patient()
        try:
            answer = self._owner.respond(request)
        except Refusal as refusal:
            self._count(refusal.reason)
            answer = refusal.response
        if isinstance(answer, Response):
            self._answer(answer)
        else:
            self._work = answer
            self._owner.places.move(self, Stage.ANSWERING)
        return True

    def _advance(self, work: Work) -> bool:
        try:
            later = next(work)
            if later is not None:
                later(self._schedule)
                return False
        except StopIteration as done:
            self._work = None
            self._answer(done.value)
        except Refusal as refusal:
            self._work = None
            self._answer(refusal.response)
        return True

    def _answer(self, response: Response, last: bool = False) -> None:
        date = http_date(time.time())
        self.try_send(self._conversation.answer(response, date, last or self._making_room), 0)
        if self.sock is None:
            return
        self._be_patient()
        if response.follow is not None and self._conversation.endless:
            self._stop_timer()
            self._owner.places.move(self, Stage.WATCHING)
            response.follow(self)
            return
        self._ending = self._conversation.over
        if self.outbox is not None:
            self._owner.places.move(self, Stage.ANSWERING)
        elif self._ending:
            self._end()
        else:
            self._owner.places.move(self, Stage.WAITING)

    def _refuse(self, refusal: Refusal) -> None:
        """Nothing that comes behind this can be understood any more, or is wanted."""
        self._count(refusal.reason or AdminEnd.BAD_REQUEST)
        self._answer(refusal.response, last=True)

    def _end(self) -> None:
        """The last answer is written. A peer that is still sending would be reset by a close, and lose the answer: so
        what it sends is thrown away for a while (RFC 9112 section 9.6)."""
        assert self.sock is not None
        self._ending = False
        self._owner.places.move(self, Stage.LEAVING)
        self._be_patient(LINGER_SECS)
        self._schedule()
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:  # it is gone meanwhile
            self.close(CloseReason.PEER_LOST, str(error))

    def send_more(self, data: bytes) -> None:
        """The next part of an answer without end."""
        self.try_send(self._conversation.more(data), 0)

    # ---- giving up

    def make_room(self) -> None:
        """Another one needs the place. A request that is here already is answered first, and nothing behind it."""
        if self.stage is Stage.LEAVING:
            self.close(CloseReason.SHUTDOWN)
            return
        self._making_room = True
        try:
            if self._take_request() or (self._read() and self._take_request()) or self.sock is None:
                return
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if self._conversation.begun:
            self.try_send(_NO_ROOM, 0)
        self.give_up(AdminEnd.CROWDED_OUT)

    def give_up(self, reason: AdminEnd) -> None:
        """See Occupant."""
        if self.sock is not None:
            self._count(reason)
            self.close(CloseReason.SHUTDOWN)

    def _count(self, reason: AdminEnd | None) -> None:
        if reason is not None:
            self._owner.ends[reason] += 1

    def _be_patient(self, seconds: float = PATIENCE_SECS) -> None:
        self._stop_timer()
        self._timer = self.reactor.call_later(seconds, self._lose_patience)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self.reactor.cancel(self._timer)
            self._timer = None

    def _lose_patience(self, now: float) -> None:
        self._timer = None
        if self._work is not None:  # which is ours to end
            self._be_patient()
        elif self.outbox is not None:
            self.give_up(AdminEnd.ANSWER_UNREAD)
        elif self._listens and self._conversation.begun:
            message = "the request was too long in coming"
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, message, reason=AdminEnd.REQUEST_LATE))
        else:
            self.close(CloseReason.SHUTDOWN)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self._stop_timer()
        self._work = None
        self.outbox = None
        self._owner.forget(self)
