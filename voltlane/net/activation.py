"""Sockets for clients that come from a service manager (man 3 sd_listen_fds): some were opened by it for us (socket
activation), some by an earlier process of this service, which has given them to it to keep (its descriptor store).

LISTEN_FDS says how many there are, from descriptor 3 on; LISTEN_PID says whom they are meant for; LISTEN_FDNAMES has
the name of each, with colons between them. A name that an earlier process has given says which address was asked for;
any other may be the lane, as the schemes of addresses are, and says nothing else. Those for datagrams are named udp.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from itertools import chain, repeat
from typing import NamedTuple

from ..address import SCHEMES, UDP
from ..errors import StartupError
from ..numerals import parse_count
from ..percent import decoded, encoded
from .sockets import EXIT_CANNOT_LISTEN

FIRST = 3
"""Behind standard input, output and error."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
_OURS = "listener-"
_MOST_NAME = 255
"""Characters of a descriptor's name, which has none of ":" and of control (man 3 sd_pid_notify_with_fds)."""


class Inherited(NamedTuple):
    """Non-blocking sockets that listen, or are bound for datagrams, of which child processes do not know."""

    opened: list[tuple[str, socket.socket]]
    """(scheme, socket) pairs: what the manager has opened for us."""
    kept: dict[str, socket.socket]
    """By the address that an earlier process was asked to listen on: what it has given to the manager to keep."""


def inherited_sockets(environ: MutableMapping[str, str], first: int = FIRST) -> Inherited:
    """All that came. The variables are taken away.

    Raises StartupError when a descriptor that the manager has opened is not what its lane needs. One that it has kept,
    and that is no such thing, is closed.
    """
    pid, count, names = [environ.pop(name, "") for name in _VARIABLES]
    found = Inherited([], {})
    if pid != str(os.getpid()):
        return found
    descriptors = range(first, first + (parse_count(count) or 0))
    for descriptor, name in zip(descriptors, chain(names.split(":"), repeat(""))):
        if not name.startswith(_OURS):
            scheme = name if name in (*SCHEMES, UDP) else "tcp"
            found.opened.append((scheme, _adopt(descriptor, scheme)))
            continue
        address = decoded(name[len(_OURS) :], "surrogateescape")
        try:
            sock = _adopt(descriptor, UDP if address.startswith(f"{UDP}://") else "tcp")
        except StartupError:
            with suppress(OSError):
                os.close(descriptor)
            continue
        found.kept.setdefault(address, sock)
        if found.kept[address] is not sock:
            sock.close()
    return found


def name_of(address: str) -> str:
    """By what name the manager is to keep the socket for this address; "" for one that has none: it is too long."""
    name = _OURS + encoded(address, b"/*[]")
    return name if len(name) <= _MOST_NAME else ""


def _adopt(descriptor: int, scheme: str) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        wrong = _no_datagrams(sock) if scheme == UDP else _no_streams(sock)
    except OSError as error:
        raise _refusal(descriptor, error.strerror or str(error)) from None
    if wrong:
        sock.detach()
        raise _refusal(descriptor, wrong)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _no_streams(sock: socket.socket) -> str:
    """What makes it none that connections come by, or ""."""
    if sock.type == socket.SOCK_DGRAM:
        return f"it is no stream socket that listens, but for datagrams, and those are to be named {UDP}"
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "it is no stream socket that listens"
    return ""


def _no_datagrams(sock: socket.socket) -> str:
    """The same for datagrams."""
    if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return f"it is named {UDP}, and no socket for datagrams over IP"
    if not sock.getsockname()[1]:
        return f"it is named {UDP}, and bound to no port"
    return ""


def _refusal(descriptor: int, why: str) -> StartupError:
    return StartupError(f"cannot listen on descriptor {descriptor}, which was passed: {why}", EXIT_CANNOT_LISTEN)
