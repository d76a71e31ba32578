"""A fuzz target: what the admin endpoint makes of the bytes of one connection, up to its answers."""

from __future__ import annotations

from fuzz.engine import Target

from voltlane.address import parse_address
from voltlane.admin.events import Events
from voltlane.admin.guard import Guard
from voltlane.admin.handlers import Handlers
from voltlane.admin.recorder import Recorder
from voltlane.config import load
from voltlane.net.reactor import Reactor
from voltlane.server import Server
from voltlane.server.oversight import Oversight
from voltlane.server.pulse import Pulse
from voltlane.wire.http1.answers import Refusal, Response
from voltlane.wire.http1.conversation import Conversation, Limits

TOKEN = "a-token-of-16-or-more"
_made: list[Handlers] = []
_opened: list[Reactor | Server] = []


def _handlers() -> Handlers:
    """Of a server that was never started, and answers all the same."""
    if not _made:
        reactor = Reactor()
        server = Server(load(flags={"master.address": "127.0.0.1:1"}), reactor=reactor)
        _opened.extend([server, reactor])
        timeline = Pulse(server, server.observer.since).timeline
        oversight = Oversight(server.readiness, server.observer, timeline, server.expel, server.drain)
        events = Events(reactor, lambda: iter(()))  # type: ignore[arg-type,return-value]
        guard = Guard(TOKEN, parse_address("127.0.0.1:42002"))
        _made.append(Handlers(oversight, guard, events, Recorder(events)))
    return _made[0]


def close() -> None:
    """Give back what it took."""
    for opened in _opened:
        (opened.wakeup if isinstance(opened, Server) else opened).close()
    _opened.clear()
    _made.clear()


def respond(data: bytes) -> None:
    """Requests are answered until one is refused; nothing else is raised, and every answer is HTTP."""
    conversation = Conversation(Limits(), ())
    conversation.receive(data)
    for _ in range(50):
        try:
            request = conversation.next_request()
            if request is None:
                if conversation.unfinished:
                    continue
                return
            answer = _answer(request)
            written = conversation.answer(answer, "now")
        except Refusal as refusal:
            written = conversation.answer(refusal.response, "now", last=True)
            assert 400 <= refusal.status <= 505 and written.startswith(b"HTTP/1.1 %d " % refusal.status)
            return
        assert written.startswith(b"HTTP/1.1 ")
        if conversation.over or conversation.endless:
            return


def _answer(request: object) -> Response:
    try:
        answer = _handlers().respond(request)  # type: ignore[arg-type]
        while not isinstance(answer, Response):
            try:
                next(answer)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
        return answer
    except Refusal as refusal:
        return refusal.response


_KNOWN = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
_SEEDS = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2,
    *[
        b"GET %s HTTP/1.1\r\nHost: localhost\r\n" % path + _KNOWN
        for path in (
            b"/clients?sort=score&limit=5&offset=1",
            b"/clients/1",
            b"/stats",
            b"/history",
            b"/metrics",
            b"/events",
        )
    ],
    b"POST /clients/1/kick HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + _KNOWN + b"{}",
    b"HEAD /events HTTP/1.1\r\nHost: localhost\r\n" + _KNOWN + b"\r\nOPTIONS * HTTP/1.1\r\nHost:\r\n" + _KNOWN,
    b"GET http://localhost:1/clients%2F1 HTTP/1.0\r\n" + _KNOWN,
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;version=1.0.0;q=1,*/*\r\n" + _KNOWN,
    b"POST /login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b'GET /stats HTTP/1.1\r\nHost: a\r\nCookie: voltlane=abc; b="c\r\nOrigin: http://b\r\n\r\n',
]
_TOKENS = [
    b"GET ", b"POST ", b"HEAD ", b"CONNECT ", b"OPTIONS ", b"/clients", b"?sort=", b"&", b"=", b"%", b"%ff", b"*",
    b"http://a:1", b"%2f", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n", b"\n", b"Host: a\r\n", b"Connection: close\r\n",
    b"Upgrade: h2c\r\n",
    b"Connection: Upgrade\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n",
    b"Expect: 100-continue\r\n", b"Cookie: voltlane=", b'"', b";", b"Accept: text/plain\r\n", _KNOWN,
    b"Sec-Fetch-Site: cross-site\r\n", b"Origin: null\r\n",
]  # fmt: skip

TARGETS = [Target("http", respond, _SEEDS, _TOKENS)]
