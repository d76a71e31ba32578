"""What listeners of ws:// and wss:// serve, and to whom: WebSockets to the pages that are allowed, and a page of their
own to everybody."""

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
from .origins import Origins
from .pages import load_pages

SUBPROTOCOLS: dict[str, WireProtocol] = {"voltlane.v3": V3, "voltlane.v2": V2}
"""By the name that a WebSocket asks for; one that asks for none is open."""
HEADERS = (("X-Content-Type-Options", "nosniff"),)
"""On every answer."""


def require_extra() -> None:
    """Raises StartupError when the packages are missing, and says how to get them."""
    if not AVAILABLE:
        raise StartupError("ws:// and wss:// need h11: pip install 'voltlane[web]', or pip install h11")


class Site:
    """One server's."""

    limits = Limits()

    def __init__(self, web: Web) -> None:
        """Raises StartupError."""
        self.origins = Origins(web.origins)
        self.pages = load_pages(web.page)

    def configure(self, web: Web) -> None:
        """Go by these settings, from the next request on."""
        self.origins.configure(web.origins)

    def check_origin(self, request: Request) -> None:
        """Raises Refusal (403), for a page that may not connect."""
        origin = request.headers.get("origin")
        if origin is not None and not self.origins.allows(origin, request.authority):
            self.origins.note_refused(origin)
            raise Refusal(HTTPStatus.FORBIDDEN, f"pages of {origin[:200]!r} may not connect")

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

    def respond(self, request: Request) -> Response:
        """Answer a request that asks for no WebSocket."""
        page = self.pages.get(request.segments)
        if page is not None:
            if request.method in ("GET", "HEAD"):
                return page
            return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "this is to be read", ("Allow", "GET, HEAD")).response
        return Refusal(HTTPStatus.UPGRADE_REQUIRED, "this is for WebSockets", ("Upgrade", "websocket")).response
