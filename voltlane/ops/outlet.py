"""Standard error, as the log writes to it: without ever waiting for whoever reads it.

A pipe that nobody reads, a terminal that was stopped, a service manager that hangs: what does not go at once does not
go, and the caller is told. The descriptor is shared with other processes, and O_NONBLOCK is a flag of what is shared;
so it is never set there:

    a pipe, a terminal    opened anew through /proc: that description is ours alone, and non-blocking
    a socket              each send says that it does not wait
    anything else         asked first whether it has room, and given no more at once than that vouches for (PIPE_BUF);
                          a file has room always, and a disk is waited for

No queue stands in front of it, since a pipe and a socket are one already (64 KiB and more), and a longer one would only
fill later. All that is kept is the rest of a line that was taken in part, so that no line is cut.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from functools import partial
from typing import Callable, TextIO

from ..net.sockets import NO_SIGNAL

_Send = Callable[[bytes], int]
"""Hands over what can be handed over at once, and says how many bytes that was. Raises OSError where it is none."""


class Outlet:
    """Takes lines, as long as whoever reads the stream keeps up."""

    def __init__(self, stream: TextIO) -> None:
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._own: int | socket.socket | None = None
        self._send = self._sender(stream)
        self._rest = b""

    def write(self, line: str) -> None:
        """Write a line, or nothing of it. Raises OSError: BlockingIOError where there is no room."""
        self.flush()
        data = line.encode(self._encoding, "backslashreplace")
        self._rest = data[self._send(data) :]
        try:
            self.flush()
        except OSError:
            pass  # it has begun, so it is ours to finish

    def flush(self) -> None:
        """Finish a line of which only the beginning was taken. Raises OSError."""
        while self._rest:
            self._rest = self._rest[self._send(self._rest) :]

    @property
    def unfinished(self) -> bool:
        """Whether there is such a line."""
        return bool(self._rest)

    def close(self) -> None:
        """Give back what was opened for it. The stream is not ours to close."""
        own, self._own = self._own, None
        if isinstance(own, int):
            os.close(own)
        elif own is not None:
            own.close()

    def _sender(self, stream: TextIO) -> _Send:
        try:
            descriptor = stream.fileno()
            mode = os.fstat(descriptor).st_mode
        except (OSError, ValueError):  # something of Python's in its place
            return partial(_hand_over, stream, self._encoding)
        if stat.S_ISSOCK(mode):
            self._own = sock = socket.socket(fileno=os.dup(descriptor))
            return lambda data: sock.send(data, socket.MSG_DONTWAIT | NO_SIGNAL)
        if stat.S_ISFIFO(mode) or os.isatty(descriptor):
            try:
                self._own = own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                return partial(os.write, own)
            except OSError:  # no /proc; somebody else's terminal; a pipe whose reader is gone
                pass
        return partial(_write_if_room, descriptor)


def _write_if_room(descriptor: int, data: bytes) -> int:
    room = select.poll()
    room.register(descriptor, select.POLLOUT)
    if not room.poll(0):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return os.write(descriptor, data[: select.PIPE_BUF])


def _hand_over(stream: TextIO, encoding: str, data: bytes) -> int:
    stream.write(data.decode(encoding))
    stream.flush()
    return len(data)
