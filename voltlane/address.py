"""Addresses as people write them: `host:port`, `[::1]:port`, `*:port`, `unix:/path`. Pure: nothing is looked up.

Where clients come in an address may name the lane: `scheme://` and the address behind it. What a client connects to is
the same, and over HTTP a URL.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from .errors import ConfigError
from .numerals import parse_count

FORMS = "127.0.0.1:42000, [::1]:42000 (or ::1:42000), host.name:42000, *:42000 (every interface) or unix:/path"

SCHEMES = ["tcp", "tls", "ws", "wss"]
"""The lanes of streams that a listener's address may name; the table of lanes (`lanes/table.py`) has a row for each.
Where none is named it is tcp, or on unix sockets the same by the name of unix."""
UDP = "udp"
"""The lane that is no stream: what comes there are datagrams."""
ENCRYPTED = ("tls", "wss")
"""Lanes that need a certificate, and on which nobody on the way can listen."""
DIALLED = ("tcp", "tls", "ws", "wss")
"""Lanes by which the client library connects."""
WEB_PORTS = {"ws": 80, "wss": 443}
"""Of those, the ones whose addresses are URLs for a client, and their ports where none is named."""
SERVER_FORMS = f"{FORMS}, or with tls://, ws:// or wss:// in front, as in wss://example.com/path"

_UNIX = "unix:"
_TARGET = re.compile(r"(?:[/?][!-\"$-~]*)?")
_NO_PORT = re.compile(r"\[[^]]*\]|[^:]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_UNIX_PATH_MAX = 107
"""Bytes of the longest path that Linux binds, its closing NUL not counted."""
_HOST_NAME = re.compile(r"[^\s\x00-\x1f\x7f:/\[\]*@]{1,253}")
_LIKE_IPV4 = re.compile(r"((0[xX][0-9a-fA-F]*|[0-9]+)(\.|$))+")
"""What the resolver takes for an IPv4 address, or for nothing: it knows octal and hexadecimal, and fewer than four."""
_INTERFACE = re.compile(r"[!-.0-~]{1,15}")
_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""What stands for every interface, and the one of them that is always here."""
_BROADCAST = IPv4Address("255.255.255.255")


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
    """The lane that clients come in by, one of `SCHEMES`, or UDP; "" for tcp."""
    target: str = ""
    """Of what a client connects to over HTTP: the path that it asks for, and the query; "" for the path /."""

    def __str__(self) -> str:
        lane = f"{self.scheme}://" if self.scheme else ""
        if self.kind == "unix":
            return lane + _UNIX + self.path
        host = f"[{self.host}]" if ":" in self.host else self.host or "*"
        return f"{lane}{host}:{self.port}{self.target}"

    @property
    def is_private(self) -> bool:
        """Whether nobody else can listen on the way there, as far as its client can know."""
        here = self.kind == "unix" or not self.host or is_loopback(self.host)
        return here or self.scheme in ENCRYPTED


def nearby(asked: Address, bound: Address) -> Address:
    """What to connect to from this machine, where somebody was to listen at `asked`, and does at `bound`."""
    return bound._replace(host=_LOOPBACK.get(asked.host, bound.host))


def parse_address(text: str) -> Address:
    """The address that a text names. Raises ConfigError: what was given, what is wrong, and the forms there are."""
    try:
        return _parse(text)
    except ValueError as error:
        raise _wrong(text, str(error)) from None


def parse_listener(text: str) -> Address:
    """The same for an address that clients connect to, which may name a lane."""
    found = _SCHEME.fullmatch(text)
    if not found:
        return parse_address(text)
    scheme, rest = found.group(1).lower(), found.group(2)
    lanes = [*SCHEMES, UDP]
    if scheme not in lanes:
        known = ", ".join(f"{name}://" for name in lanes)
        raise _wrong(text, f"there is no lane {_short(scheme)}; there are {known}")
    try:
        address = _parse(rest)
        if scheme == UDP and address.kind == "unix":
            raise ValueError("datagrams come over IP, not on a unix socket")
        return address._replace(scheme="" if scheme == "tcp" else scheme)
    except ValueError as error:
        raise _wrong(text, str(error)) from None


def parse_server(text: str) -> Address:
    """The same for a server that a client connects to: a listener's address, and what is behind ws:// and wss:// is a
    URL."""
    found = _SCHEME.fullmatch(text)
    if not found:
        return parse_address(text)
    scheme, rest = found.group(1).lower(), found.group(2)
    if scheme not in DIALLED:
        known = ", ".join(f"{name}://" for name in DIALLED)
        raise _wrong(text, f"there is no {_short(scheme)}; there are {known}", SERVER_FORMS)
    try:
        if scheme in WEB_PORTS:
            return _parse_url(scheme, rest)
        return _parse(rest)._replace(scheme="" if scheme == "tcp" else scheme)
    except ValueError as error:
        raise _wrong(text, str(error), SERVER_FORMS) from None


def _parse_url(scheme: str, rest: str) -> Address:
    if rest.startswith(_UNIX):
        return _parse(rest)._replace(scheme=scheme)
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    target = rest[len(authority) :]
    if "@" in authority:
        raise ValueError("a user has no place in it")
    if not _TARGET.fullmatch(target):
        raise ValueError("behind the port there is a path, in printable ASCII without blanks and #")
    if authority == "unix":
        raise ValueError("unix is no host, but what stands before the path of a socket")
    if _NO_PORT.fullmatch(authority):
        authority = f"{authority}:{WEB_PORTS[scheme]}"
    if target.startswith("?"):
        target = "/" + target
    return _parse(authority)._replace(scheme=scheme, target="" if target == "/" else target)


def _parse(text: str) -> Address:
    """Raises ValueError, which says what is wrong."""
    if _SCHEME.fullmatch(text):
        raise ValueError("a scheme has its place in listener.address only")
    if text.startswith(_UNIX):
        return Address("unix", "", 0, _path(text[len(_UNIX) :]))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("it has no port" if text else "it has neither host nor port")
    return Address("tcp", _host(host), _port(port), "")


_NO_TABLES = "this Python lacks unicodedata; where that is a package of its own, it is called like python3-codecs"


def host_in_ascii(host: str) -> str:
    """A host name as the DNS and HTTP have it (IDNA). "" for one that can be none: a part of it is empty or longer than
    63 bytes, or has characters that do not belong into names. Raises ValueError where Python has no Unicode tables."""
    if host.isascii():  # the codec does the same, but is not there without the tables
        *parts, last = host.split(".")
        return host if all(0 < len(part) < 64 for part in parts) and len(last) < 64 else ""
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    except LookupError:
        raise ValueError(f"{_short(host)} has to be written in ASCII (xn--…); {_NO_TABLES}") from None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nobody else can reach it: localhost, 127.x.x.x or ::1. No other name is."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _path(path: str) -> str:
    if not path:
        raise ValueError("the path is empty")
    if path.endswith("/"):
        raise ValueError("the path is that of a directory")
    if "\0" in path:
        raise ValueError("the path holds a NUL character")
    if len(path.encode("utf-8", "surrogateescape")) > _UNIX_PATH_MAX:
        raise ValueError(f"the path is longer than {_UNIX_PATH_MAX} bytes, the most that a unix socket can have")
    return path


def _host(host: str) -> str:
    if host == "*":
        return ""
    if not host.isprintable():
        raise ValueError(f"{_short(host)} is no host name")
    if not host:
        raise ValueError("the host is empty; write * for every interface")
    # The last colon is the port's, so `::1:42000` needs no brackets. It is an IPv6 address of its own, too, but one
    # without a port, which would be of no use here.
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in host or bare != host:
        return _ipv6(bare)
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(f"{_short(host)} is no host name")
    name = host_in_ascii(host)  # as the resolver gets it
    if not name:
        raise ValueError(f"{_short(host)} is no host name: a part of it is empty, too long or not allowed")
    return _ipv4(name) if _LIKE_IPV4.fullmatch(name) else host


def _ipv4(text: str) -> str:
    try:
        if re.search(r"(^|\.)0[0-9]", text):  # some Pythons take it, as decimal; the resolver as octal
            raise ValueError
        address = IPv4Address(text)
    except ValueError:
        raise ValueError(f"{_short(text)} is no IPv4 address") from None
    _check_usable(address)
    return str(address)


def _ipv6(text: str) -> str:
    bare, percent, interface = text.partition("%")
    try:
        address = IPv6Address(bare)
    except ValueError:
        raise ValueError(f"{_short(text)} is no IPv6 address") from None
    if address.ipv4_mapped:
        raise ValueError(f"{_short(text)} is an IPv4 address in disguise; write {address.ipv4_mapped}")
    _check_usable(address)
    if address.is_link_local and not _INTERFACE.fullmatch(interface):
        raise ValueError(f"{_short(text)} needs its interface behind it, as in [{address}%eth0]")
    if percent and not address.is_link_local:
        raise ValueError(f"{_short(text)} names an interface, which only addresses of fe80::/10 have")
    return f"{address}{percent}{interface}"


def _check_usable(address: IPv4Address | IPv6Address) -> None:
    if address.is_multicast or address == _BROADCAST:
        raise ValueError(f"{address} is an address of many, which no connection can have")


def _port(port: str) -> int:
    number = parse_count(port)
    if number is None and not (port.isascii() and port.isdigit()):
        raise ValueError(f"the port is {_short(port)}, not a number" if port else "it has no port")
    if number is None or len(port) > 5 or number > 65535:
        raise ValueError("the port may be at most 65535")
    return number


def _wrong(text: str, why: str, forms: str = FORMS) -> ConfigError:
    return ConfigError(f"{_short(text)} is no address: {why}. Write {forms}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else text[:120] + "…")
