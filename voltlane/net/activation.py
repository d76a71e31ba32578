"""Listening sockets that were opened for us, by a service manager or by the process that we replace (systemd's socket
activation, man 3 sd_listen_fds).

LISTEN_FDS says how many there are, from descriptor 3 on; LISTEN_PID says whom they are meant for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from ..errors import StartupError
from .sockets import EXIT_CANNOT_LISTEN

FIRST = 3
"""Behind standard input, output and error."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets(environ: MutableMapping[str, str], first: int = FIRST) -> list[socket.socket]:
    """The sockets, non-blocking, of which child processes do not know. The variables are taken away.

    Raises StartupError when a descriptor is no stream socket that listens.
    """
    pid, count, _ = [environ.pop(name, "") for name in _VARIABLES]
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    return [_adopt(descriptor) for descriptor in range(first, first + int(count))]


def _adopt(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        kind = sock.type
        listens = bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        raise _refusal(descriptor, error.strerror or str(error)) from None
    if kind != socket.SOCK_STREAM or not listens:
        sock.detach()
        raise _refusal(descriptor, "it is no stream socket that listens")
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _refusal(descriptor: int, why: str) -> StartupError:
    return StartupError(f"cannot listen on descriptor {descriptor}, which was passed: {why}", EXIT_CANNOT_LISTEN)
