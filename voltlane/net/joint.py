"""A pair of sockets in the place of one connection: one process has the connection, and another one its joint.

    client ═══ the one that has it ─── inner ═══ outer ─── whoever goes on with the connection

A unix socket knows no reset. But whether the connection is to be reset when it ends, the process that goes on with it
killed included, makes a difference to clients; so the outer end tells the inner one, by a byte that a descriptor comes
with. None of the bytes of the connection has one.
"""

from __future__ import annotations

import array
import os
import socket
from typing import Any

_KEPT, _RESET = b"\0", b"\1"
_SIZE = array.array("i").itemsize
_ROOM = socket.CMSG_SPACE(4 * _SIZE)
_CLOSED = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Outer(socket.socket):
    """The end for who goes on with the connection. To that it is the connection's socket."""

    def setsockopt(self, level: int, option: int, value: Any, *size: int) -> None:
        """See socket.socket. What closing it is to do (SO_LINGER) is told: see `net.sockets.reset_on_close`."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            word = _RESET if any(value[:_SIZE]) else _KEPT
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.fileno()]))
            self.sendmsg([word], [rights])
        else:
            super().setsockopt(level, option, value, *size)


class Inner(socket.socket):
    """The end for who has the connection."""

    resets = False
    """Whether it is to be reset when the outer end is closed."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """See socket.socket."""
        received = b""
        while True:
            try:
                data, messages, said, _ = self.recvmsg(size - len(received), _ROOM, flags | _CLOSED)
            except BlockingIOError:
                if received:
                    return received
                raise
            if not messages and not said & socket.MSG_CTRUNC:  # no descriptor may be left for the word's
                return received + data
            # The system reads to the end of what descriptors come with, and no further: the word is what stands last.
            self.resets = data[-1:] == _RESET
            received += data[:-1]
            for _, _, rights in messages:
                numbers = array.array("i")
                numbers.frombytes(rights[: len(rights) - len(rights) % _SIZE])
                for number in numbers:
                    os.close(number)


def joint(resets: bool) -> tuple[Inner, Outer]:
    """Both ends, non-blocking. `resets`: whether the connection is to be reset as it is now. Raises OSError."""
    inner, outer = socket.socketpair()
    ends = Inner(fileno=inner.detach()), Outer(fileno=outer.detach())
    for end in ends:
        end.setblocking(False)
    ends[0].resets = resets
    return ends


def outer_end(sock: socket.socket) -> Outer:
    """A socket that is an outer end, but does not know it, since it has come from another process."""
    outer = Outer(sock.family, sock.type, sock.proto, sock.detach())
    outer.setblocking(False)
    return outer


def is_whole(sock: object) -> bool:
    """Whether all of this connection's state is in the system, so that another process can go on with it."""
    return type(sock) in (socket.socket, Outer)
