"""The opening handshake of a WebSocket, the server's side: RFC 6455, section 4.2."""

from __future__ import annotations

import binascii
from base64 import b64decode
from http import HTTPStatus
from typing import NamedTuple

from ..websocket import accept_key
from .answers import Refusal
from .conversation import Request

VERSION = "13"
_KEY_SIZE = 16


class Opening(NamedTuple):
    """What a client asks for."""

    accept: str
    """What `Sec-WebSocket-Accept` has to say."""
    protocols: tuple[str, ...]
    """The subprotocols that it offers, the one that it likes best first."""


def asks_for_websocket(request: Request) -> bool:
    """Whether a request is for a WebSocket, right or wrong."""
    return "websocket" in _words(request, "upgrade", lower=True)


def read_opening(request: Request) -> Opening:
    """What a request that asks for a WebSocket asks for. Raises Refusal."""
    if request.method != "GET":
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "a WebSocket begins with GET", ("Allow", "GET"))
    if "upgrade" not in _words(request, "connection", lower=True):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the header Connection does not name Upgrade")
    if request.headers.get("sec-websocket-version") != VERSION:
        message = f"version {VERSION} of WebSocket is spoken here"
        raise Refusal(HTTPStatus.UPGRADE_REQUIRED, message, ("Sec-WebSocket-Version", VERSION))
    if request.body:
        raise Refusal(HTTPStatus.BAD_REQUEST, "a request for a WebSocket has no body")
    key = request.headers.get("sec-websocket-key", "")
    try:
        right = len(b64decode(key, validate=True)) == _KEY_SIZE
    except (binascii.Error, ValueError):
        right = False
    if not right:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"Sec-WebSocket-Key is not {_KEY_SIZE} bytes in base64")
    return Opening(accept_key(key.encode()).decode(), tuple(_words(request, "sec-websocket-protocol")))


def _words(request: Request, header: str, lower: bool = False) -> list[str]:
    """What a header lists."""
    value = request.headers.get(header, "")
    return [word for part in (value.lower() if lower else value).split(",") if (word := part.strip())]
