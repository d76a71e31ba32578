"""The opening handshake of a WebSocket, the client's side: RFC 6455, section 4.1. What is asked, and the answer."""

from __future__ import annotations

import json
import re
from typing import Any

from ...errors import MalformedPacket, Refused
from ..websocket import accept_key
from .opening import VERSION

MAX_HEAD = 16 << 10
"""Bytes of the largest head of an answer: proxies add to it."""
MAX_SAID = 1024
"""Bytes of the words behind a refusal that are waited for."""

_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n]*?)[ \t]*")

_GONE = "it sends to another address, which is not followed"
_BEHIND = "what stands in front of the server cannot reach it, or not in time"
_WORDS = {
    200: "a web server is there, but none that knows of WebSockets at this path",
    301: _GONE,
    302: _GONE,
    307: _GONE,
    308: _GONE,
    400: "the request was not understood",
    401: "a user name and password are wanted",
    403: "nobody is let in from here, or not with what was said of the origin",
    404: "there is nothing at this path",
    407: "a proxy on the way wants a user name and password",
    426: "the request for a WebSocket has not arrived as one; a proxy on the way may not hand on the header Upgrade",
    429: "there were too many requests from here",
    502: _BEHIND,
    503: _BEHIND,
    504: _BEHIND,
}
"""What the answers mean that are most likely."""


def ask(host: str, target: str, key: bytes, protocol: str) -> bytes:
    """The request. `host`: with its port, where that is not the scheme's own; `key`: 16 random bytes in base64."""
    lines = (
        f"GET {target or '/'} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key.decode()}",
        f"Sec-WebSocket-Version: {VERSION}",
        f"Sec-WebSocket-Protocol: {protocol}",
        "",
        "",
    )
    return "\r\n".join(lines).encode()


def read_answer(data: bytes, key: bytes, protocol: str) -> int | None:
    """Where the frames behind the answer begin; None while not all of it is here.

    Raises Refused (another status than 101, in words), MalformedPacket (it is no answer to this).
    """
    begin = 0
    while True:
        end = data.find(b"\r\n\r\n", begin, begin + MAX_HEAD)
        head = data[begin : end if end >= 0 else None]
        if not b"HTTP/1.".startswith(head[:7]):
            raise MalformedPacket("what answers does not speak HTTP")
        if end < 0:
            if len(head) >= MAX_HEAD:
                raise MalformedPacket(f"an answer whose head has more than {MAX_HEAD} bytes")
            return None
        status, headers = _parse(head)
        begin = end + 4
        if status == 101:
            _check(headers, key, protocol)
            return begin
        if status >= 200:
            _refuse(status, headers, data[begin:])
            return None
        # One that comes before the answer (RFC 9110, 15.2).


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.split(b"\r\n")
    status = _LINE.fullmatch(first)
    if not status:
        raise MalformedPacket("an answer that is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if not found:
            raise MalformedPacket("an answer with a header that is none")
        name, value = found[1].decode().lower(), found[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(status[1]), headers


def _check(headers: dict[str, str], key: bytes, protocol: str) -> None:
    """Whether the server has agreed to what was asked. Raises MalformedPacket."""
    words = [word.strip() for word in headers.get("connection", "").lower().split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in words:
        raise MalformedPacket("an answer that goes on with another protocol than WebSocket")
    if headers.get("sec-websocket-accept", "") != accept_key(key).decode():
        raise MalformedPacket("the answer does not fit the question (Sec-WebSocket-Accept)")
    agreed = headers.get("sec-websocket-protocol", "")
    if agreed != protocol:
        spoken = f"agreed on {agreed[:80]!r}" if agreed else "agreed on none"
        raise MalformedPacket(f"the subprotocol {protocol} was asked for, and the server {spoken}")
    if "sec-websocket-extensions" in headers:
        raise MalformedPacket("the server goes on with an extension that nobody has asked for")


def _refuse(status: int, headers: dict[str, str], body: bytes) -> None:
    """Raises Refused, once all of the server's own words are here."""
    size = headers.get("content-length", "")
    wanted = min(int(size), MAX_SAID) if re.fullmatch("[0-9]{1,9}", size) else 0
    if len(body) < wanted:
        return
    words = _said(body[:wanted]) or _WORDS.get(status, "")
    where = f" ({headers['location'][:200]!r})" if status in (301, 302, 307, 308) and "location" in headers else ""
    raise Refused(f"refused with HTTP {status}{': ' if words else ''}{words}{where}", code=status)


def _said(body: bytes) -> str:
    """What a server of ours says; "" for a page of somebody else's."""
    try:
        value: Any = json.loads(body)
        words = str(value["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return words[:200] if words.isprintable() else ""
