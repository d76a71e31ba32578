"""Addresses as people write them: `host:port`, `[::1]:port`, `*:port`, `unix:/path`. Pure: nothing is looked up.

Where clients come in an address may name the lane: `scheme://` and the address behind it.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from .errors import ConfigError

FORMS = "127.0.0.1:42000, [::1]:42000 (or ::1:42000), host.name:42000, *:42000 (every interface) or unix:/path"

SCHEMES = ["tcp"]
"""The lanes that a listener's address may name; the table of lanes (`lanes/table.py`) has a row for each. tcp, on unix
sockets too, is meant where none is named."""
PLANNED = ("tls", "ws", "wss", "udp")
"""Lanes that are not built yet."""

_UNIX = "unix:"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_UNIX_PATH_MAX = 107
"""Bytes of the longest path that Linux binds, its closing NUL not counted."""
_HOST_NAME = re.compile(r"[^\s:/\[\]*@]{1,253}")
_LIKE_IPV4 = re.compile(r"[0-9.]+")


class Address(NamedTuple):
    """Where to listen, or to connect to. `str()` gives the canonical form, which parses back to an equal address."""

    kind: str
    """"tcp" or "unix"."""
    host: str
    """Name or IP address, without brackets; "" stands for every interface. "" for unix."""
    port: int
    """0 to 65535; 0 lets the system choose. 0 for unix."""
    path: str
    """The socket's path; "" for tcp."""
    scheme: str = ""
    """Of a listener: the lane that clients come in by, one of `SCHEMES`; "" for tcp."""

    def __str__(self) -> str:
        lane = f"{self.scheme}://" if self.scheme else ""
        if self.kind == "unix":
            return lane + _UNIX + self.path
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{lane}{host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that a text names. Raises ConfigError: what was given, what is wrong, and the forms there are."""
    found = _SCHEME.fullmatch(text)
    if found:
        raise _wrong(text, "a scheme has its place in listener.address only")
    if text.startswith(_UNIX):
        return Address("unix", "", 0, _path(text, text[len(_UNIX) :]))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise _wrong(text, "it has no port")
    return Address("tcp", _host(text, host), _port(text, port), "")


def parse_listener(text: str) -> Address:
    """The same for an address that clients connect to, which may name a lane."""
    found = _SCHEME.fullmatch(text)
    if not found:
        return parse_address(text)
    scheme, rest = found.group(1).lower(), found.group(2)
    if scheme not in SCHEMES:
        raise _wrong(text, f"{_no_lane(scheme)}; there are {', '.join(f'{name}://' for name in SCHEMES)}")
    return parse_address(rest)._replace(scheme="" if scheme == "tcp" else scheme)


def _no_lane(scheme: str) -> str:
    return f"the lane {scheme}:// is not built yet" if scheme in PLANNED else f"there is no lane {_short(scheme)}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nobody else can reach it: localhost, 127.x.x.x or ::1. No other name is."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _path(text: str, path: str) -> str:
    if not path:
        raise _wrong(text, "the path is empty")
    if "\0" in path:
        raise _wrong(text, "the path holds a NUL character")
    if len(path.encode("utf-8", "surrogateescape")) > _UNIX_PATH_MAX:
        raise _wrong(text, f"the path is longer than {_UNIX_PATH_MAX} bytes, the most that a unix socket can have")
    return path


def _host(text: str, host: str) -> str:
    if host == "*":
        return ""
    if not host:
        raise _wrong(text, "the host is empty; write * for every interface")
    # The last colon is the port's, so `::1:42000` needs no brackets. It is an IPv6 address of its own, too, but one
    # without a port, which would be of no use here.
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in host or bare != host:
        try:
            return str(IPv6Address(bare))
        except ValueError:
            raise _wrong(text, f"{_short(bare)} is no IPv6 address") from None
    if _LIKE_IPV4.fullmatch(host):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise _wrong(text, f"{_short(host)} is no IPv4 address") from None
    if not _HOST_NAME.fullmatch(host):
        raise _wrong(text, f"{_short(host)} is no host name")
    return host


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit()):
        raise _wrong(text, f"the port is {_short(port)}, not a number" if port else "it has no port")
    if len(port) > 5 or int(port) > 65535:
        raise _wrong(text, "the port may be at most 65535")
    return int(port)


def _wrong(text: str, why: str) -> ConfigError:
    return ConfigError(f"{_short(text)} is no address: {why}. Write {FORMS}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:120] + "…")
