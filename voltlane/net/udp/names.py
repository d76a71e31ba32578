"""What an address is called: by the socket module a tuple, by the native loops the bytes of the system's structure.

A `Name` is hashable, and equal to another of its form where both are one address and port; nobody else looks into it.
"""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Any, NamedTuple, Union

Name = Union[tuple[Any, ...], bytes]


class Place(NamedTuple):
    """The same for a process that may have the other form."""

    host: str
    port: int
    scope: int = 0
    """The interface that an address of IPv6 is at which is good there only; 0 for all others."""


_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address has in front of it, on a socket that takes both."""
_PORT = Struct("!H")
_FAMILY = Struct("=H" if sys.platform == "linux" else "=xB")
_IPV4, _IPV6 = 16, 28
"""Sizes of struct sockaddr_in and sockaddr_in6."""
_FLOW = bytes(4)


def host_port(name: Name) -> tuple[str, int]:
    """The address in the usual writing, and the port. An IPv4 address on a socket for both is shown as IPv4."""
    address = packed(name)
    port: int = _PORT.unpack_from(name, 2)[0] if isinstance(name, bytes) else name[1]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address), port


def packed(name: Name) -> bytes:
    """The address in 4 or 16 bytes; in 4 an IPv4 address on a socket for both, too."""
    if not isinstance(name, bytes):
        host = name[0].partition("%")[0]
        address = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    elif len(name) == _IPV4:
        return name[4:8]
    else:
        address = name[8:24]
    return address[12:] if address.startswith(_MAPPED) and len(address) == 16 else address


def address_of(name: Name) -> tuple[Any, ...]:
    """What a socket's `sendto` takes."""
    if not isinstance(name, bytes):
        return name
    (port,) = _PORT.unpack_from(name, 2)
    if len(name) == _IPV4:
        return socket.inet_ntop(socket.AF_INET, name[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, name[8:24]), port, 0, _scope_of(name)


def place_of(name: Name) -> Place:
    """What `tuple_name` and `raw_name` make a name of again."""
    return Place(*host_port(name), _scope_of(name))


def _scope_of(name: Name) -> int:
    if isinstance(name, bytes):
        return int.from_bytes(name[24:28], sys.byteorder)
    return int(name[3]) if len(name) > 2 else 0


def tuple_name(family: int, host: str, port: int, scope: int = 0) -> Name:
    """What the socket module calls this IP address and port on a socket of this family. Raises OSError for another."""
    if family == socket.AF_INET:
        return socket.inet_ntop(family, socket.inet_pton(family, host)), port
    return socket.inet_ntop(socket.AF_INET6, _in_ipv6(host)), port, 0, scope


def raw_name(family: int, host: str, port: int, scope: int = 0) -> Name:
    """The same as the native loops call it."""
    head = _FAMILY.pack(family) + _PORT.pack(port)
    if family == socket.AF_INET:
        return head + socket.inet_pton(family, host) + bytes(8)
    return head + _FLOW + _in_ipv6(host) + scope.to_bytes(4, sys.byteorder)


def _in_ipv6(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, host) if ":" in host else _MAPPED + socket.inet_pton(socket.AF_INET, host)
