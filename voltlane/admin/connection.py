"""One HTTP connection. A step a turn: a read, a request, or a slice of the work for one."""

from __future__ import annotations

import socket
from email.utils import formatdate
from http import HTTPStatus
from typing import Callable

from ..core.timers import Timer
from ..net.reactor import Reactor
from ..net.stream import Stream
from ..reasons import CloseReason
from .answers import Refusal, Response
from .http1 import Conversation, Request
from .router import Work

READ = 16384
"""Bytes read at once."""
PATIENCE_SECS = 30.0
"""For a whole request, counted from the answer before it, and for the peer to take an answer."""


class AdminConnection(Stream):
    """One connection to the endpoint. Pipelined requests wait their turn; a peer that does not read is not answered.

    `respond` answers a request, or raises Refusal; `forget` is called once, when the connection is closed.
    """

    __slots__ = (
        "_conversation",
        "_ending",
        "_forget",
        "_readable",
        "_respond",
        "_scheduled",
        "_timer",
        "_work",
        "viewer",
    )

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        respond: Callable[[Request], Response | Work],
        forget: Callable[[AdminConnection], None],
    ) -> None:
        self._respond = respond
        self._forget = forget
        self._conversation = Conversation()
        self._work: Work | None = None
        self._readable = False  # there may be something to read
        self._scheduled = False  # a step is due
        self._ending = False  # it closes when everything is written
        self._timer: Timer | None = None
        self.viewer = False
        """Whether an answer without end is under way."""
        super().__init__(reactor, sock)
        self._be_patient()

    # ---- step by step

    def on_readable(self) -> None:
        """See Stream."""
        self._readable = True
        self._schedule()

    def on_relief(self) -> None:
        """See Stream."""
        if self.outbox is None:
            if self._ending:
                self.close(CloseReason.SHUTDOWN)
            else:
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
            self._answer(refusal.response, last=True)
            return
        if progress:
            self._schedule()

    def _proceed(self) -> bool:
        """Do what comes next; whether there may be more."""
        if self._work is not None:
            self._advance(self._work)
            return True
        request = None if self.viewer else self._conversation.next_request()
        if request is not None:
            self._handle(request)
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
        if not self.viewer:  # who watches has nothing to say
            self._conversation.receive(data)
        return True

    # ---- requests and answers

    def _handle(self, request: Request) -> None:
        self._be_patient()
        try:
            answer = self._respond(request)
        except Refusal as refusal:
            answer = refusal.response
        if isinstance(answer, Response):
            self._answer(answer)
        else:
            self._work = answer

    def _advance(self, work: Work) -> None:
        try:
            next(work)
        except StopIteration as done:
            self._work = None
            self._answer(done.value)
        except Refusal as refusal:
            self._work = None
            self._answer(refusal.response)

    def _answer(self, response: Response, last: bool = False) -> None:
        date = formatdate(usegmt=True)
        self.try_send(self._conversation.answer(response, date, last), 0)
        if self.sock is None:
            return
        self._be_patient()
        if response.follow is not None:
            self.viewer = True
            self._stop_timer()
            response.follow(self)
        elif self._conversation.over:
            self._ending = True
            if self.outbox is None:
                self.close(CloseReason.SHUTDOWN)

    def send_more(self, data: bytes) -> None:
        """The next part of an answer without end."""
        self.try_send(self._conversation.more(data), 0)

    # ---- patience

    def _be_patient(self) -> None:
        self._stop_timer()
        self._timer = self.reactor.call_later(PATIENCE_SECS, self._lose_patience)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self.reactor.cancel(self._timer)
            self._timer = None

    def _lose_patience(self, now: float) -> None:
        self._timer = None
        if self.outbox is None and not self._ending and self._work is None and self._conversation.begun:
            self._answer(Refusal(HTTPStatus.REQUEST_TIMEOUT, "the request was too long in coming").response, last=True)
        else:
            self.close(CloseReason.SHUTDOWN)

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self._stop_timer()
        self._work = None
        self.outbox = None
        self._forget(self)
