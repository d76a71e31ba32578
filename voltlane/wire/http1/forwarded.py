"""Headers in which proxies say whose request they hand on: X-Forwarded-For, and Forwarded (RFC 7239).

Each proxy adds, behind what came with the request, whom it got that from. So what stands last was said by the nearest
proxy, and what stands first perhaps by the client itself, who may write there whatever it likes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Callable, NamedTuple

from .answers import Refusal

_NODE = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9.]+)(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PAIR = re.compile(rf'({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")')
_QUOTED = re.compile(r'(?:[^"]|"(?:[^"\\]|\\.)*")*')
"""A text in which every quote ends."""


class Hop(NamedTuple):
    """From whom one proxy got a request."""

    address: bytes
    """Packed: 4 bytes, 16, or none where it does not say."""
    port: int = 0
    """0 where it does not say."""
    encrypted: bool = False
    """Whether that came to the proxy over TLS."""


Reader = Callable[[Mapping[str, str]], "list[Hop]"]
"""Takes the headers, by lower-case name."""


def x_forwarded_for(headers: Mapping[str, str]) -> list[Hop]:
    """As X-Forwarded-For has them, the first proxy's first. Of TLS X-Forwarded-Proto knows, which has one word for all
    of them."""
    encrypted = headers.get("x-forwarded-proto", "").lower() == "https"
    texts = headers.get("x-forwarded-for", "")
    return [_node(text.strip())._replace(encrypted=encrypted) for text in texts.split(",")] if texts else []


def forwarded(headers: Mapping[str, str]) -> list[Hop]:
    """The same of Forwarded. Raises Refusal (400): where one quote does not end, others may see other proxies."""
    text = headers.get("forwarded", "")
    return [_element(element) for element in _split(text, ",")] if text else []


READERS: dict[str, Reader] = {"x-forwarded-for": x_forwarded_for, "forwarded": forwarded}
"""By the name of the header, which is what the setting `web.forwarded` has."""


def client_of(hops: list[Hop], is_proxy: Callable[[bytes], bool]) -> Hop | None:
    """The client, for a request that came from a proxy that is believed: the last that is none of these proxies, as who
    is none has written all that stands before it. Where all are, the first. None where nothing is known of it."""
    client = None
    for hop in reversed(hops):
        if not hop.address:
            return None
        client = hop
        if not is_proxy(hop.address):
            break
    return client


def _element(text: str) -> Hop:
    pairs: dict[str, str] = {}
    for part in _split(text, ";"):
        found = _PAIR.fullmatch(part)
        if not found:
            raise _malformed()
        name, token, quoted = found[1].lower(), found[2], found[3]
        if name in pairs:  # RFC 7239, section 4
            raise _malformed()
        pairs[name] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return _node(pairs.get("for", ""))._replace(encrypted=pairs.get("proto", "").lower() == "https")


def _split(text: str, mark: str) -> list[str]:
    """What stands between such marks, but for those in quotes."""
    if not _QUOTED.fullmatch(text):  # looked at first: a quote without an end would be looked for again and again
        raise _malformed()
    parts = re.findall(rf'(?:[^{mark}"]|"(?:[^"\\]|\\.)*")+', text)
    return [part.strip() for part in parts if part.strip()]


def _malformed() -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "the header Forwarded is not as it is written (RFC 7239)")


def _node(text: str) -> Hop:
    """Who is named: an address with or without its port; "unknown" and names that proxies make up are nobody."""
    found = _NODE.fullmatch(text)
    if not found:
        return Hop(b"")
    address, port = found[1] or found[3] or found[5], found[2] or found[4] or "0"
    try:
        if re.search(r"(^|\.)0\d", address):  # some Pythons take it, as decimal; some other programs, as octal
            raise ValueError
        packed = ip_address(address).packed
    except ValueError:
        return Hop(b"")
    return Hop(packed, int(port)) if int(port) <= 65535 else Hop(packed)
