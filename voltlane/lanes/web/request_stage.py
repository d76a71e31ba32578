"""The stage in which a connection speaks HTTP: requests are answered one by one, until one asks for a WebSocket or for
events."""

from __future__ import annotations

import time
from http import HTTPStatus

from ...core.budget import Holding
from ...core.protocols.open import OPEN
from ...core.whereabouts import Elsewhere
from ...errors import BadRequest, OriginRefused, ProtocolError
from ...reasons import BY_PEER, CloseReason
from ...wire.http1.answers import Refusal, Response
from ...wire.http1.conversation import Conversation, Request
from ...wire.http1.dates import http_date
from ...wire.http1.opening import asks_for_websocket, read_opening
from ..entry.moved import MovedRequests
from ..entry.proxies import Hearing
from ..entry.stage import Newcomer, Stage
from ..websocket import WebSocket
from .event_routes import ERRORS
from .site import HEADERS, Site

READ = 4096
"""Bytes read at once, ..."""
READ_BODY = 1 << 16
"""... and of a body that may be large."""
_ERRORS: dict[int, type[ProtocolError]] = {HTTPStatus.FORBIDDEN: OriginRefused, **ERRORS}
_STATUS = {CloseReason.ADDRESS_DENIED: HTTPStatus.FORBIDDEN, CloseReason.ADDRESS_BANNED: HTTPStatus.FORBIDDEN}
"""What clients are told that a proxy names and that may not come in; all others come too often."""


class RequestStage(Stage):
    """One connection's. One request a turn, or a few parts of one, however many came at once; a peer that does not take
    its answer is not read."""

    __slots__ = ("_answered", "_conversation", "_hearing", "_held", "_newcomer", "_seeks")

    def __init__(self) -> None:
        self._conversation: Conversation | None = None
        self._hearing: Hearing | None = None  # of a proxy
        self._answered = False
        self._held: Holding | None = None  # memory of a large body that is not whole
        self._newcomer: Newcomer | None = None  # whose that is
        self._seeks = False  # the session that a request wants

    @property
    def waits_for(self) -> str:
        """See Stage."""
        return "a request"

    @property
    def _is_done(self) -> bool:
        """Whether all that was asked is answered."""
        conversation = self._conversation
        return self._answered and conversation is not None and not conversation.begun

    @property
    def late(self) -> CloseReason:
        """See Stage: who has had an answer may have nothing more to ask."""
        return CloseReason.ANSWERED if self._is_done else CloseReason.HANDSHAKE_TIMEOUT

    def go_on(self, newcomer: Newcomer) -> bool:
        """See Stage."""
        conversation = self._conversation
        if conversation is None:
            conversation = self._begin(newcomer)
        elif self._seeks or newcomer.unsent:
            return False
        elif conversation.over:
            newcomer.close(CloseReason.ANSWERED)
            return False
        went_on = conversation.unfinished
        if not went_on:
            data = newcomer.read(READ if self._held is None else READ_BODY)
            if data is None:
                return False
            conversation.receive(data)
        try:
            request = self._next(newcomer, conversation)
        except Elsewhere as elsewhere:
            self._seeks = True
            newcomer.seek(elsewhere.wanted)
            return False
        if request is not None:
            self._hold(newcomer, 0)
            if self._serve(newcomer, conversation, request):
                return True
        if newcomer.sock is not None:
            interim = conversation.take_interim()
            if interim:
                newcomer.say(interim)
            self._hold(newcomer, conversation.held)
            if went_on or conversation.unfinished:
                newcomer.stand_in_line()
        return False

    def _begin(self, newcomer: Newcomer) -> Conversation:
        self._hearing = newcomer.doors.proxies.hearing(newcomer)
        conversation = self._conversation = self._converse(newcomer)
        return conversation

    def _converse(self, newcomer: Newcomer) -> Conversation:
        site = newcomer.doors.site
        return Conversation(site.limits, HEADERS, site.admit)

    def found(self, newcomer: Newcomer) -> None:
        """See Stage: the request is read once more, from its head on, which nothing has come of yet."""
        self._seeks = False
        assert self._conversation is not None
        pending = self._conversation.pending
        self._conversation = self._converse(newcomer)
        self._conversation.receive(pending)
        self._conversation.unfinished = True

    # ---- from one process to another

    def move_out(self) -> MovedRequests:
        """See Stage."""
        assert self._conversation is not None
        proxy, client = ("", "") if self._hearing is None else self._hearing.names
        return MovedRequests(self._conversation.pending, self._answered, proxy, client)

    def move_in(self, newcomer: Newcomer, moved: MovedRequests) -> None:
        """See Stage."""
        if moved.proxy:
            self._hearing = Hearing(newcomer.doors.proxies, moved.proxy, moved.client)
        self._conversation = self._converse(newcomer)
        self._conversation.pending = moved.pending
        self._answered, self._seeks = moved.answered, True

    # ---- requests

    def _next(self, newcomer: Newcomer, conversation: Conversation) -> Request | None:
        """The next request that is whole, of a client that may come in. Raises ProtocolError: it was refused."""
        try:
            request = conversation.next_request()
            if request is None or self._may_come_in(newcomer, conversation, request):
                return request
        except Refusal as refusal:
            raise self._refuse(newcomer, conversation, conversation.head, refusal) from None
        return None

    def _serve(self, newcomer: Newcomer, conversation: Conversation, request: Request) -> bool:
        """Answer a request. Whether the connection is none of HTTP any more. Raises ProtocolError: it was refused."""
        site = newcomer.doors.site
        try:
            if asks_for_websocket(request):
                self._open(newcomer, conversation, site, request)
                return True
            response = site.share(request, site.respond(request))
        except Refusal as refusal:
            raise self._refuse(newcomer, conversation, request, refusal) from None
        if response.follow is not None:
            newcomer.say(conversation.stream(response, _date()))
            response.follow(newcomer)
            return True
        self._answer(newcomer, conversation, response)
        return False

    def _refuse(
        self, newcomer: Newcomer, conversation: Conversation, request: Request | None, refusal: Refusal
    ) -> ProtocolError:
        """The last answer: nothing behind this request can be understood any more, or is wanted. What to raise."""
        self._hold(newcomer, 0)
        response = newcomer.doors.site.share(request, refusal.response)
        newcomer.say(conversation.answer(response, _date(), last=True))
        return _ERRORS.get(refusal.status, BadRequest)(str(refusal))

    def _may_come_in(self, newcomer: Newcomer, conversation: Conversation, request: Request) -> bool:
        """Whether the client may whom a proxy names; where not, the connection is closed. Raises Refusal."""
        reason = None if self._hearing is None else self._hearing.on_request(newcomer, request.headers)
        if reason is not None:
            refusal = Refusal(_STATUS.get(reason, HTTPStatus.TOO_MANY_REQUESTS), reason.value)
            newcomer.say(conversation.answer(refusal.response, _date(), last=True))
            newcomer.close(reason)
        return reason is None

    def _open(self, newcomer: Newcomer, conversation: Conversation, site: Site, request: Request) -> None:
        """Go on as a WebSocket. Raises Refusal."""
        opening = read_opening(request)
        site.check_origin(request)
        name, protocol = site.agree(opening.protocols)
        headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", opening.accept)]
        if name:
            headers.append(("Sec-WebSocket-Protocol", name))
        words, behind = conversation.switch(headers)
        newcomer.framing, newcomer.protocol = WebSocket(text=protocol is OPEN), protocol
        newcomer.give_back(behind)
        newcomer.say(words)

    def _answer(self, newcomer: Newcomer, conversation: Conversation, response: Response) -> None:
        self._answered = True
        newcomer.say(conversation.answer(response, _date()))
        newcomer.renew()
        if conversation.over and not newcomer.unsent:
            newcomer.close(CloseReason.ANSWERED)

    # ---- a large body

    def _hold(self, newcomer: Newcomer, size: int) -> None:
        """So many bytes are here of what is not whole. Each time that much more has come its time begins again: only
        who has shown a token may say as much."""
        held = self._held
        if size > READ:
            if held is None:
                held, self._newcomer = Holding(newcomer.doors.site.budget, self), newcomer
                self._held = held
            if size // READ_BODY > held.held // READ_BODY:
                newcomer.renew()
            held.hold(size)
        elif held is not None:
            held.hold(0)
            self._held = self._newcomer = None

    def shed(self, holding: Holding) -> None:
        """See Owner."""
        assert self._newcomer is not None
        self._newcomer.close(CloseReason.FRAME_SHED, f"{holding.held} bytes of memory")

    # ---- the end

    def ended(self, reason: CloseReason) -> CloseReason:
        """See Stage: who leaves when all that it asked is answered has done nothing wrong."""
        if self._held is not None:
            self._held.hold(0)
            self._held = self._newcomer = None
        return CloseReason.ANSWERED if reason in BY_PEER and self._is_done else reason

    def farewell(self, reason: CloseReason) -> bytes:
        """See Stage."""
        conversation = self._conversation
        if conversation is None or not conversation.begun or not conversation.answerable:
            return b""  # behind an answer that was not taken there may be more requests
        if reason is CloseReason.HANDSHAKE_TIMEOUT:
            late = Refusal(HTTPStatus.REQUEST_TIMEOUT, "the request was too long in coming")
            return conversation.answer(late.response, _date(), last=True)
        return b""


def _date() -> str:
    return http_date(time.time())
