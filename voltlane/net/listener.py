"""Accepting connections: a few each turn, and none for a while when descriptors run out or nothing else comes of it."""

from __future__ import annotations

import errno
import socket
from typing import Callable

from ..core.timers import Timer
from ..reasons import CloseReason
from .poller import WRITE
from .reactor import Handler, Reactor
from .sockets import accept

ACCEPTS_PER_TURN = 64
FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 2.0
NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""The system has no descriptor or memory for another connection."""
_OF_ONE = "ECONNABORTED EPROTO EPERM ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH"
_ITS_OWN = {getattr(errno, name) for name in _OF_ONE.split() if hasattr(errno, name)}
"""Errors of one connection, which was gone before we came to it (man 2 accept)."""


class Listener(Handler):
    """A listening socket in a reactor. `on_accept(sock, address)` gets each connection, non-blocking, and where it
    comes from; it owns it from then on.

    `on_pause(error, seconds)` is called when the system has no descriptors or memory for another one, and when
    accepting fails otherwise, as for a socket that another process has shut down: connections then wait in the kernel's
    queue and are tried again after that many seconds.
    """

    __slots__ = ("_backoff", "_family", "_going_on", "_held", "_on_accept", "_on_pause", "_reactor", "_sock", "_timer")

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        on_accept: Callable[[socket.socket, object], None],
        on_pause: Callable[[OSError, float], None],
    ) -> None:
        self._reactor = reactor
        self._sock: socket.socket | None = sock
        self._family = sock.family
        self._on_accept = on_accept
        self._on_pause = on_pause
        self._backoff = FIRST_BACKOFF
        self._timer: Timer | None = None
        self._going_on = False  # more will be accepted as a task
        self._held = False
        reactor.add(sock.fileno(), self)

    def on_event(self, mask: int) -> None:
        """Connections are waiting."""
        if mask & ~WRITE and self._timer is None and not self._going_on:
            self._accept()

    def hold(self, held: bool) -> None:
        """Leave connections where they are, in the kernel's queue; or accept again."""
        self._held = held
        if not held and self._timer is None and not self._going_on:
            self._accept_soon()

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Listen no more."""
        sock, self._sock = self._sock, None
        if self._timer is not None:
            self._reactor.cancel(self._timer)
        if sock is not None:
            self._reactor.remove(sock)

    def _accept(self) -> None:
        self._going_on = False
        failures = 0
        for _ in range(ACCEPTS_PER_TURN):
            if self._sock is None or self._held:
                return
            try:
                sock, address = accept(self._sock, self._family)
            except BlockingIOError:
                self._reactor.drained(self._sock)
                return
            except OSError as error:
                failures += 1
                if error.errno in _ITS_OWN and failures < ACCEPTS_PER_TURN:
                    continue
                self._pause(error)
                return
            self._backoff = FIRST_BACKOFF
            try:
                sock.setblocking(False)
                self._on_accept(sock, address)
            except Exception as error:  # a connection that cannot be taken in must not end the listening
                sock.close()
                self._reactor.on_callback_error(self, error)
        self._accept_soon()

    def _accept_soon(self) -> None:
        self._going_on = True
        self._reactor.call_soon(self._accept)

    def _pause(self, error: OSError) -> None:
        self._on_pause(error, self._backoff)
        self._timer = self._reactor.call_later(self._backoff, self._resume)
        self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)

    def _resume(self, now: float) -> None:
        self._timer = None
        self._accept()
