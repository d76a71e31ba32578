"""Who may ask.

- With a token: whoever has it, in `Authorization: Bearer`, or a browser by the cookie that `POST /login` gives for it.
- Without one: whoever can reach the address, which is then a unix socket or loopback. A browser on the same machine
  can, for any page of any site, so the request must be for this host by name (a page whose name was pointed at
  127.0.0.1 sends its own) and must not come from another site's page.
"""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie

from ..address import Address, is_loopback
from ..wire.http1.answers import Refusal
from ..wire.http1.conversation import Request
from ..wire.http1.target import host_of

COOKIE = "voltlane"
_BEARER = "bearer "
_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="voltlane"')


class Guard:
    """Checks each request before it is handled. `address` is where the endpoint listens."""

    def __init__(self, token: str, address: Address) -> None:
        self._token = token.encode()
        self._address = address

    def check(self, request: Request) -> None:
        """Raises Refusal."""
        self.check_site(request)
        if self._token:
            if not self._has_token(request):
                raise Refusal(HTTPStatus.UNAUTHORIZED, "the token is needed, as Authorization: Bearer", _CHALLENGE)
        elif self._address.kind == "tcp" and not _names_this_machine(request.authority):
            raise Refusal(HTTPStatus.MISDIRECTED_REQUEST, "this host goes by localhost or its loopback address")

    def cookie_for(self, token: str) -> str:
        """The Set-Cookie header of a browser that gave this token. Raises Refusal."""
        if not self._token:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no token here, and none is needed")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            raise Refusal(HTTPStatus.UNAUTHORIZED, "that is not the token", _CHALLENGE)
        return f"{COOKIE}={self._badge}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"

    @property
    def _badge(self) -> str:
        """What a browser keeps: made of the token, which does not follow from it."""
        return hmac.new(self._token, b"voltlane admin cookie", hashlib.sha256).hexdigest()

    def _has_token(self, request: Request) -> bool:
        authorization = request.headers.get("authorization", "")
        if authorization.lower().startswith(_BEARER):
            given = authorization[len(_BEARER) :].strip()
            return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode("utf-8", "replace"), self._badge.encode())

    def check_site(self, request: Request) -> None:
        """No page of another site makes a browser ask. Browsers say so; other programs have no such headers."""
        headers = request.headers
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != (request.authority or "").lower():
            raise Refusal(HTTPStatus.FORBIDDEN, "not for pages of another site")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and (
            request.method != "GET" or headers.get("sec-fetch-mode") != "navigate"
        ):
            raise Refusal(HTTPStatus.FORBIDDEN, "not for pages of another site")


def _names_this_machine(authority: str | None) -> bool:
    """Whether a request is for this machine by name; one that names no host at all is no browser's."""
    return authority is None or is_loopback(host_of(authority))
