"""What listeners of ws:// and wss:// serve: WebSockets and events to the pages that may connect, and a page of its own
to everybody."""

from __future__ import annotations

from http import HTTPStatus

from ...config import Web
from ...core.protocols.handshake import WireProtocol
from ...core.protocols.open import OPEN
from ...core.protocols.v2 import V2
from ...core.protocols.v3 import V3
from ...errors import StartupError
from ...wire.http1.answers import Refusal, Response
from ...wire.http1.conversation import AVAILABLE, Limits, Request
from .event_routes import EVENTS, SEND, Route, Sending, begin_events, preflight, readable_by
from .origins import Origins
from .pages import load_pages
from .uplink import Uplink

SUBPROTOCOLS: dict[str, WireProtocol] = {"voltlane.v3": V3, "voltlane.v2": V2}
"""By the name that a WebSocket asks for; one that asks for none is open."""
HEADERS = (("X-Content-Type-Options", "nosniff"),)
"""On every answer."""


def require_extra() -> None:
    """Raises StartupError when the packages are missing, and says how to get them."""
    if not AVAILABLE:
        raise StartupError("ws:// and wss:// need h11: pip install h11")


class Site:
    """One server's."""

    limits = Limits()

    def __init__(self, web: Web, uplink: Uplink) -> None:
        """Raises StartupError."""
        self.origins = Origins(web.origins)
        self.budget = uplink.budget
        self.pages = load_pages(web.page)
        self._sending = Sending(uplink)
        self._routes: dict[tuple[str, ...], dict[str, Route]] = {
            EVENTS: {"GET": begin_events, "OPTIONS": preflight},
            SEND: {"POST": self._sending.send, "OPTIONS": preflight},
        }
        self.configure(web)

    def configure(self, web: Web) -> None:
        """Go by these settings, from the next request on."""
        self.origins.configure(web.origins)
        self._sending.body_bytes = web.body_bytes

    def check_origin(self, request: Request) -> None:
        """Raises Refusal (403), for a page that may not connect."""
        origin = request.headers.get("origin")
        if origin is not None and not self.origins.allows(origin, request.authority):
            self.origins.note_refused(origin)
            raise Refusal(HTTPStatus.FORBIDDEN, f"its origin, {origin[:200]!r}, is not allowed")

    def agree(self, offered: tuple[str, ...]) -> tuple[str, WireProtocol]:
        """The first of these subprotocols that is spoken here, by its name; "" and open where none is offered. Raises
        Refusal."""
        if not offered:
            return "", OPEN
        for name in offered:
            if name in SUBPROTOCOLS:
                return name, SUBPROTOCOLS[name]
        known = ", ".join(SUBPROTOCOLS)
        raise Refusal(HTTPStatus.BAD_REQUEST, f"none of the subprotocols is spoken here: there are {known}, or none")

    def admit(self, request: Request) -> int:
        """How many bytes the body of this request may have, of which only the head is here. Raises Refusal,
        Elsewhere."""
        if (request.segments, request.method) == (SEND, "POST"):
            self.check_origin(request)
            return self._sending.admit(request)
        if (request.segments, request.method) == (EVENTS, "GET"):
            self._sending.look_for(request)
        return self.limits.body

    def respond(self, request: Request) -> Response:
        """Answer a request that asks for no WebSocket. Raises Refusal."""
        page, routes = self.pages.get(request.segments), self._routes.get(request.segments)
        if page is not None:
            return page if request.method in ("GET", "HEAD") else _not_allowed("GET, HEAD")
        if routes is None:
            return Refusal(HTTPStatus.UPGRADE_REQUIRED, "this is for WebSockets", ("Upgrade", "websocket")).response
        self.check_origin(request)
        route = routes.get(request.method)
        return _not_allowed(", ".join(routes)) if route is None else route(request)

    def share(self, request: Request | None, response: Response) -> Response:
        """An answer, such that a page that may connect may also read it, be it of another origin."""
        if request is None or request.segments not in self._routes:
            return response
        origin = request.headers.get("origin", "")
        allowed = origin if origin and self.origins.allows(origin, request.authority) else ""
        return response._replace(headers=(*response.headers, *readable_by(allowed)))


def _not_allowed(methods: str) -> Response:
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"that takes {methods}", ("Allow", methods)).response
