"""A fuzz target: what a listener of ws:// makes of the requests of one connection, up to its answers."""

from __future__ import annotations

from fuzz.engine import Target

from voltlane.config import Web
from voltlane.core.budget import Budget
from voltlane.core.session import Session
from voltlane.errors import SessionEnded, TokenRefused
from voltlane.lanes.web.site import HEADERS, Site
from voltlane.wire.event_stream import Token
from voltlane.wire.http1.answers import Refusal
from voltlane.wire.http1.conversation import Conversation
from voltlane.wire.http1.opening import asks_for_websocket, read_opening

TOKEN = "7.AAAAAAAAAAAAAAAAAAAAAA"


class Uplink:
    """One session, 7; another one has ended, and after three packets there is no room."""

    budget = Budget()
    packet_size_limit = 100

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    @property
    def has_room(self) -> bool:
        return len(self.packets) < 3

    def find(self, token: Token | None) -> Session:
        if token is not None and token.client_id == 8:
            raise SessionEnded("it has ended")
        if token is None or token.encode() != TOKEN:
            raise TokenRefused("the session is over, or of another server")
        return Session(7, b"", None)

    def look_for(self, token: Token) -> None:
        """It is here, if it is anywhere."""

    def send(self, session: Session, packet: bytes) -> float:
        assert len(packet) <= 50
        self.packets.append(packet)
        return 0.5 if packet.startswith(b"much") else 0.0


class Newcomer:
    framing = protocol = None


def requests(data: bytes) -> None:
    """They are answered until one is refused, or begins something else; nothing else is raised, and an origin is let in
    only where it is listed."""
    site = Site(Web(origins=("https://page.example",), body_bytes=50), Uplink())
    conversation = Conversation(site.limits, HEADERS, site.admit)
    conversation.receive(data)
    for _ in range(50):
        request = None
        try:
            request = conversation.next_request()
            if request is None:
                if conversation.unfinished:
                    continue
                return
            if asks_for_websocket(request):
                read_opening(request)
                return
            response = site.share(request, site.respond(request))
        except Refusal as refusal:
            answer = conversation.answer(site.share(request or conversation.head, refusal.response), "now", last=True)
            assert 400 <= refusal.status <= 505 and answer.startswith(b"HTTP/1.1 %d " % refusal.status)
            assert refusal.status != 403 or b"Access-Control" not in answer
            return
        if response.follow is not None:
            newcomer = Newcomer()
            assert conversation.stream(response, "now").endswith(b"\r\n\r\n")
            response.follow(newcomer)
            assert newcomer.framing is not None and newcomer.protocol is not None
            return
        answer = conversation.answer(response, "now")
        assert answer.startswith(b"HTTP/1.1 ")
        if conversation.over:
            return


_BEARER = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
_POST = b"POST /send HTTP/1.1\r\nHost: a\r\n" + _BEARER
_SEEDS = [
    (_POST + b"Content-Length: 5\r\n\r\nhello") * 4,
    _POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    _POST + b"Content-Length: 51\r\nOrigin: https://page.example\r\n\r\n",
    _POST.replace(b" 7.", b" 8.") + b"Content-Length: 0\r\n\r\n",
    b"GET /events?last_event_id=" + TOKEN.encode() + b".17 HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n\r\n",
    b"GET /events HTTP/1.0\r\nLast-Event-ID: " + TOKEN.encode() + b".0\r\n\r\n",
    b"OPTIONS /send HTTP/1.1\r\nHost: a\r\nOrigin: https://other.example\r\n\r\n",
]
_TOKENS = [
    b"GET ", b"POST ", b"OPTIONS ", b"HEAD ", b"/events", b"/send", b"?last_event_id=", b" HTTP/1.1\r\n", b"\r\n",
    b"Host: a\r\n",
    b"Origin: ", b"https://page.example", b"null", b"Last-Event-ID: ", _BEARER, TOKEN.encode(), b".0", b"\xff",
    b"\xc3\xa4",
    b"Content-Length: 3\r\n", b"Expect: 100-continue\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"much",
    b"Upgrade: websocket\r\n",
]  # fmt: skip

TARGETS = [Target("requests", requests, _SEEDS, _TOKENS)]
