"""Listening sockets that were opened for us, by a service manager or by the process that we replace (systemd's socket
activation, man 3 sd_listen_fds).

LISTEN_FDS says how many there are, from descriptor 3 on; LISTEN_PID says whom they are meant for; LISTEN_FDNAMES may
name the lane of each, as the schemes of addresses do, with colons between them. Any other name says nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from itertools import chain, repeat

from ..address import PLANNED, SCHEMES
from ..errors import StartupError
from ..numerals import parse_count
from .sockets import EXIT_CANNOT_LISTEN

FIRST = 3
"""Behind standard input, output and error."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def inherited_sockets(environ: MutableMapping[str, str], first: int = FIRST) -> list[tuple[str, socket.socket]]:
    """(scheme, socket) pairs: non-blocking sockets of which child processes do not know. The variables are taken away.

    Raises StartupError when a descriptor is no stream socket that listens, or is for a lane that is not built yet.
    """
    pid, count, names = [environ.pop(name, "") for name in _VARIABLES]
    if pid != str(os.getpid()):
        return []
    descriptors = range(first, first + (parse_count(count) or 0))
    schemes = chain(names.split(":"), repeat(""))
    return [(_scheme(descriptor, name), _adopt(descriptor)) for descriptor, name in zip(descriptors, schemes)]


def _scheme(descriptor: int, name: str) -> str:
    if name in PLANNED:
        raise _refusal(descriptor, f"it is named {name}, a lane that is not built yet")
    return name if name in SCHEMES else "tcp"


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
