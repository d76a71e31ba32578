"""Who is at the other end, made of what `accept` says: a name for logs and lists, and the packed address for limits."""

from __future__ import annotations

import socket

from ..address import is_loopback

LOCAL = "a local client"


def name_of(address: object) -> str:
    """host:port or [IPv6]:port; a peer on a unix socket has none of its own."""
    if not isinstance(address, tuple):
        return LOCAL
    host, port = address[:2]
    if ":" not in host:
        return f"{host}:{port}"
    if host.startswith("::ffff:") and "." in host:  # an IPv4 client, on a socket that takes both
        return f"{host[7:]}:{port}"
    return f"[{host}]:{port}"


def is_local(name: str) -> bool:
    """Whether a peer of this name is on this machine."""
    return name == LOCAL or is_loopback(name.rpartition(":")[0].strip("[]"))


def packed_of(address: object) -> bytes:
    """The IP address, 4 or 16 bytes; none for a unix socket."""
    if not isinstance(address, tuple):
        return b""
    host: str = address[0]
    if ":" not in host:
        return socket.inet_aton(host)
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])


def packed_in(name: str) -> bytes:
    """The same of a peer's name; none for one that is no address."""
    host = name.rpartition(":")[0].strip("[]")
    return packed_of((host,)) if host else b""
