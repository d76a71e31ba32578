"""The requests of clients that are sent events: `GET /events` is their stream down, `POST /send` their way up.

What a page of another origin may see of the answers is said here too (CORS; WHATWG Fetch, section 3.2).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from math import ceil
from typing import Callable, Protocol

from ...core.protocols.events import events_for
from ...core.protocols.handshake import WireProtocol
from ...core.session import Session
from ...errors import ProtocolError, SessionEnded, TokenRefused
from ...wire.event_stream import Place, Token, decode_place, decode_token
from ...wire.http1.answers import Refusal, Response
from ...wire.http1.conversation import Request
from ..framing import Framing
from .event_stream import EventStream
from .uplink import Uplink

EVENTS, SEND = ("events",), ("send",)
RETRY_SECS = 1
"""After how long a client may ask again, while the master has no room."""
_STREAM = (("Cache-Control", "no-store, no-transform"), ("X-Accel-Buffering", "no"))
"""So that no proxy keeps an event until there are more, or another client gets it."""
_PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET, POST"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID"),
    ("Access-Control-Max-Age", "600"),
)
_EXPOSED = ("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
_ORIGIN = re.compile(r"[!-~]{1,300}")
_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="voltlane", error="invalid_token"')


class Follower(Protocol):
    """The connection that a stream goes out on: the newcomer of the stage."""

    framing: Framing | None
    protocol: WireProtocol | None


def begin_events(request: Request) -> Response:
    """Answer with a stream: of the session that the last id of the request names, or of a new one."""
    place = _place_of(request)
    protocol = events_for("that id is none of an event" if place is None else place)

    def follow(newcomer: Follower) -> None:
        newcomer.framing, newcomer.protocol = EventStream(), protocol

    return Response(HTTPStatus.OK, b"", "text/event-stream", _STREAM, follow)


def _place_of(request: Request) -> Place | str | None:
    """How far a client has got that comes back; "" for a new one, None for what is no id of an event."""
    text = request.headers.get("last-event-id") or request.query.get("last_event_id", "")
    return decode_place(text) if text else ""


def preflight(request: Request) -> Response:
    """A browser asks what a page may do."""
    return Response(HTTPStatus.OK, b"", "", _PREFLIGHT)


class Sending:
    """`POST /send`, of one server."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self.body_bytes = 0
        """The largest body that is taken, whatever packets may have."""

    def admit(self, request: Request) -> int:
        """How many bytes of a body who sends this may say. Raises Refusal."""
        self._session(request)
        return min(self.body_bytes, self._uplink.packet_size_limit)

    def look_for(self, request: Request) -> None:
        """A stream is asked for. Raises Elsewhere."""
        place = _place_of(request)
        if isinstance(place, Place):
            self._uplink.look_for(place.token)

    def send(self, request: Request) -> Response:
        """The body is a packet. Raises Refusal."""
        session = self._session(request)
        if not self._uplink.has_room:
            return _later(HTTPStatus.SERVICE_UNAVAILABLE, "the master takes no more at the moment", RETRY_SECS)
        wait = self._uplink.send(session, request.body)
        if wait:
            return _later(HTTPStatus.TOO_MANY_REQUESTS, "that is more than one client may send", wait)
        return Response(HTTPStatus.ACCEPTED, b"", "")

    def _session(self, request: Request) -> Session:
        if "authorization" not in request.headers:
            raise Refusal(HTTPStatus.UNAUTHORIZED, _NO_TOKEN, _CHALLENGE)
        try:
            return self._uplink.find(_token(request))
        except SessionEnded as error:
            raise Refusal(HTTPStatus.GONE, str(error)) from None
        except TokenRefused as error:
            raise Refusal(HTTPStatus.UNAUTHORIZED, str(error), _CHALLENGE) from None


_NO_TOKEN = "there is no token: the header Authorization has to be Bearer, and the token"
ERRORS: dict[int, type[ProtocolError]] = {HTTPStatus.GONE: SessionEnded, HTTPStatus.UNAUTHORIZED: TokenRefused}
"""By the status of a refusal, what its connection is closed for."""


def _token(request: Request) -> Token | None:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return decode_token(text.strip()) if scheme.lower() == "bearer" else None


def _later(status: HTTPStatus, message: str, wait: float) -> Response:
    return Refusal(status, message, ("Retry-After", str(ceil(wait)))).response


def readable_by(origin: str) -> tuple[tuple[str, str], ...]:
    """Headers with which a page of this origin may see the answer; "" for none, as for what browsers do not say. That
    it depends on the origin is said in any case."""
    vary = ("Vary", "Origin")
    return (vary, ("Access-Control-Allow-Origin", origin), _EXPOSED) if _ORIGIN.fullmatch(origin) else (vary,)


Route = Callable[[Request], Response]
