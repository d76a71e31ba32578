"""What a request is for: a request target in its forms, and the host that it names. RFC 9112 section 3.2, RFC 3986."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

from ...percent import decoded
from .answers import Refusal

_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?")


class Target(NamedTuple):
    """A request target, taken apart."""

    authority: str | None
    """Host and port, where the target itself names them."""
    segments: tuple[str, ...]
    """Of the path, split first and percent-decoded then, so that a "%2F" is no slash; () for the whole server, "*"."""
    query: str
    """As it came."""


def parse_target(method: str, text: str) -> Target:
    """The target of a request. Raises Refusal."""
    if method == "CONNECT":
        raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "this is not a proxy")
    if text == "*":
        if method != "OPTIONS":
            raise Refusal(HTTPStatus.BAD_REQUEST, "the target * is for OPTIONS alone")
        return Target(None, (), "")
    authority, rest = None, text
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute:
        authority, rest = check_authority(absolute[1]), absolute[2]
        if not authority:
            raise Refusal(HTTPStatus.BAD_REQUEST, "the target names no host")
        if not rest and method == "OPTIONS":
            return Target(authority, (), "")
        if not rest.startswith("/"):
            rest = "/" + rest
    path, _, query = rest.partition("?")
    if not path.startswith("/") or "#" in rest:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the target is neither a path nor an address of http")
    return Target(authority, split_path(path), query)


def split_path(path: str) -> tuple[str, ...]:
    """What stands behind each slash, percent-decoded."""
    return tuple([decoded(segment) for segment in path[1:].split("/")])


def check_authority(text: str) -> str:
    """A host with a port or without, as it came: of a target, or of the header Host. Raises Refusal."""
    if not _AUTHORITY.fullmatch(text):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the host is none")
    return text


def host_of(authority: str) -> str:
    """The host alone: no port, no brackets, and not the dot that says that a name is whole."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    host = authority.partition(":")[0]
    return host[:-1] if host.endswith(".") else host
