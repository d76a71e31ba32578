"""Making sockets for the two libraries: connect and listen. The server does not use this (it has `net/`).

Deadlines are values of `time.monotonic()`; None waits for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from typing import Optional

from .address import Address
from .errors import ConnectionLost, StartupError

Deadline = Optional[float]

EXIT_CANNOT_BIND = 3
RECEIVE_SIZE = 65536
LONGEST_POLL = 3600.0
"""Seconds: the milliseconds that a poll is given have 32 bits, so longer waits are repeated ones."""
NO_SIGNAL: int = getattr(socket, "MSG_NOSIGNAL", 0)
"""For send: a program that embeds us may have given SIGPIPE its deadly default back."""
_FAREWELL_READS = 256
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def deadline_after(timeout: float | None) -> Deadline:
    """The deadline that lies `timeout` seconds ahead."""
    return None if timeout is None else time.monotonic() + timeout


def remaining(deadline: Deadline) -> float | None:
    """Seconds left, never below 0."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def tune(sock: socket.socket) -> None:
    """Non-blocking; TCP without Nagle's delay, and with keepalive, so that who only reads notices a dead network."""
    sock.setblocking(False)
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def connect(address: Address, deadline: Deadline) -> socket.socket:
    """A connected, tuned socket: the first that answers of the addresses a name has; "*" is this machine.

    The deadline holds for all of them together, though not for the look-up of the name. Raises ConnectionLost.
    """
    if address.kind == "unix":
        return _connect_one(address, socket.AF_UNIX, address.path, deadline)
    try:
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(f"cannot look up {address.host}: {error.strerror or error}") from error
    lost = ConnectionLost(f"{address.host} has no address")
    for family, _, _, _, name in found:
        try:
            return _connect_one(address, family, name, deadline)
        except ConnectionLost as error:
            lost = error
    raise lost


def _connect_one(address: Address, family: int, name: object, deadline: Deadline) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(f"cannot connect to {address}: {error.strerror or error}") from error
    try:
        left = remaining(deadline)
        # 0 seconds would mean non-blocking here, not "now or never".
        sock.settimeout(left if left is None or left > 0 else 1e-6)
        sock.connect(name)  # type: ignore[arg-type]
        if family != socket.AF_UNIX and sock.getsockname() == sock.getpeername():
            # A port of the ephemeral range with nobody listening: TCP has connected the socket to itself.
            raise ConnectionRefusedError(None, "Connection refused")
        tune(sock)
    except socket.timeout:
        sock.close()
        raise ConnectionLost(f"cannot connect to {address}: no answer in time") from None
    except OSError as error:
        sock.close()
        raise ConnectionLost(f"cannot connect to {address}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def listen(address: Address, backlog: int = 128) -> socket.socket:
    """A non-blocking listening socket. A unix socket's file that no one listens on any more is replaced.

    Raises StartupError with exit code 3.
    """
    sock: socket.socket | None = None
    try:
        if address.kind == "unix":
            _remove_abandoned(address.path)
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.bind(address.path)
        else:
            sock = _bind_tcp(address)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise StartupError(f"cannot listen on {address}: {error.strerror or error}", EXIT_CANNOT_BIND) from error
    return sock


def _bind_tcp(address: Address) -> socket.socket:
    if address.host or not socket.has_dualstack_ipv6():
        found = socket.getaddrinfo(address.host or "0.0.0.0", address.port, type=socket.SOCK_STREAM)
        family, _, _, _, name = found[0]
    else:
        family, name = socket.AF_INET6, ("::", address.port)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not address.host and family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(name)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_abandoned(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            except BlockingIOError:
                return  # its owner is busy, so it has one


def bound_address(sock: socket.socket, address: Address) -> Address:
    """Where a socket listens that was made for `address`: the port that the system chose, when it was 0."""
    return address if address.kind == "unix" else address._replace(port=sock.getsockname()[1])


def close_gently(sock: socket.socket) -> None:
    """Close a non-blocking socket so that what was sent still arrives.

    Closed with bytes unread, TCP would reset the connection and throw away what the other side has not got yet.
    """
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        for _ in range(_FAREWELL_READS):
            if not sock.recv(RECEIVE_SIZE):
                break
    sock.close()


def unlink_socket(address: Address) -> None:
    """Remove the file of a unix socket that listened there; nothing for TCP."""
    if address.kind == "unix":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(address.path)
