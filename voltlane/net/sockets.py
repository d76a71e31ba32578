"""Addresses ↔ sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat

from ..address import Address

try:
    import resource
except ImportError:  # pragma: no cover (not a Unix)
    resource = None  # type: ignore[assignment]

BACKLOG = 4096
"""Connections the kernel may hold for us; it takes its own limit (somaxconn) if that is less."""


def resolve(address: Address) -> list[tuple[int, object]]:
    """(family, socket address) pairs to try in turn. Raises OSError when a name cannot be resolved."""
    if address.kind == "unix":
        return [(socket.AF_UNIX, address.path)]
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError:  # a label that is empty or too long
        raise OSError(errno.EINVAL, f"{address.host!r} is not a host name") from None
    return [(family, where) for family, _, _, _, where in found]


def listening_socket(address: Address) -> socket.socket:
    """A bound, non-blocking socket that listens. `*` means every interface, IPv6 and IPv4. Raises OSError."""
    if address.kind == "unix":
        return _listen_unix(address.path)
    if not address.host and socket.has_dualstack_ipv6():
        return _listen(socket.AF_INET6, ("::", address.port), dual_stack=True)
    family, where = resolve(address)[0]
    return _listen(family, where)


def _listen(family: int, where: object, dual_stack: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(where)  # type: ignore[arg-type]
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _listen_unix(path: str) -> socket.socket:
    """A socket file left by a process that is gone is replaced; one that somebody listens on is not."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
    except FileNotFoundError:
        pass
    return _listen(socket.AF_UNIX, path)


def local_address(sock: socket.socket) -> Address:
    """Where a socket is bound."""
    if sock.family == socket.AF_UNIX:
        return Address("unix", "", 0, str(sock.getsockname()))
    host, port = sock.getsockname()[:2]
    return Address("tcp", host, port, "")


def set_low_delay(sock: socket.socket) -> None:
    """Send small packets at once. On Linux what a listening socket has set, its accepted sockets have too."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def set_keepalive(sock: socket.socket, seconds: int) -> None:
    """Find out within about twice `seconds` that a silent peer is gone; 0 leaves it alone."""
    if not seconds or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", seconds), ("TCP_KEEPINTVL", max(1, seconds // 4)), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def remove_socket_file(path: str) -> None:
    """Take a unix socket's file away, if it is still there."""
    try:
        os.unlink(path)
    except OSError:
        pass


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as the system lets it have: each client needs one."""
    if resource is not None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        except (OSError, ValueError):
            pass
