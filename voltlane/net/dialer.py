"""Connecting to an address, again and again with jittered exponential backoff, until it succeeds or is stopped."""

from __future__ import annotations

import errno
import math
import os
import random
import socket
from typing import Callable, NamedTuple

from ..address import Address
from ..core.timers import Timer
from ..reasons import CloseReason
from .poller import WRITE
from .reactor import Reactor
from .sockets import resolve

ATTEMPT_SECS = 5.0
"""How long one attempt may take."""


class Backoff(NamedTuple):
    """Seconds between attempts: from `shortest`, doubling up to `longest`, each shortened by up to half at random."""

    shortest: float
    longest: float

    def wait(self, failures: int, fraction: Callable[[], float] = random.random) -> float:
        """How long to wait after so many failures in a row (1 or more)."""
        wait = min(self.longest, self.shortest * 2.0 ** min(failures - 1, 32))
        return wait * (1 - fraction() / 2)


class Dialer:
    """Keeps trying to connect. `on_connect(sock)` gets the socket, non-blocking; `on_failure(text, seconds)` hears of
    each failed attempt and of the wait before the next."""

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        backoff: Backoff,
        on_connect: Callable[[socket.socket], None],
        on_failure: Callable[[str, float], None],
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._backoff = backoff
        self._on_connect = on_connect
        self._on_failure = on_failure
        self._attempt: _Attempt | None = None
        self._timer: Timer | None = None
        self._failures = 0
        self._connected = -math.inf  # when the last connection was made
        self._brief = 0  # connections in a row that did not last

    def start(self) -> None:
        """Try now; after a wait, if the last connection did not last for as long as the longest wait."""
        if self._reactor.now - self._connected < self._backoff.longest:
            self._failures = self._brief
            self._brief += 1
            self._failed("the connection did not last")
        else:
            self._failures = self._brief = 0
            self._try(self._reactor.now)

    def stop(self) -> None:
        """Try no more."""
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        if self._attempt is not None:
            self._attempt.close(CloseReason.SHUTDOWN)
            self._attempt = None

    def _try(self, now: float) -> None:
        self._timer = None
        try:
            sock = self._begin()
        except OSError as error:
            self._failed(error.strerror or str(error))
        else:
            self._attempt = _Attempt(self._reactor, sock, self._settled)

    def _begin(self) -> socket.socket:
        """A socket that is connecting. Raises OSError."""
        candidates = resolve(self._address)
        # Names with several addresses are tried one address an attempt, in the resolver's order.
        family, where = candidates[self._failures % len(candidates)]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            code = sock.connect_ex(where)  # type: ignore[arg-type]
            if code not in (0, errno.EINPROGRESS):  # EAGAIN: a unix socket's queue is full; nothing is under way
                raise OSError(code, os.strerror(code))
        except OSError:
            sock.close()
            raise
        return sock

    def _settled(self, sock: socket.socket | None, why: str) -> None:
        self._attempt = None
        if sock is None:
            self._failed(why)
        else:
            self._connected = self._reactor.now
            try:
                self._on_connect(sock)
            except OSError as error:
                sock.close()
                self._failed(error.strerror or str(error))

    def _failed(self, why: str) -> None:
        self._failures += 1
        wait = self._backoff.wait(self._failures)
        self._timer = self._reactor.call_later(wait, self._try)
        self._on_failure(why, wait)


class _Attempt:
    """One socket on its way to being connected."""

    __slots__ = ("_reactor", "_settled", "_sock", "_timer")

    def __init__(
        self, reactor: Reactor, sock: socket.socket, settled: Callable[[socket.socket | None, str], None]
    ) -> None:
        self._reactor = reactor
        self._sock: socket.socket | None = sock
        self._settled = settled
        self._timer = reactor.call_later(ATTEMPT_SECS, self._expire)
        reactor.add(sock.fileno(), self)

    def on_event(self, mask: int) -> None:
        """Connected, or refused."""
        sock = self._sock
        assert sock is not None
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(os.strerror(code))
        elif mask & WRITE and _answers_itself(sock):
            self._fail("nobody listens there but ourselves")
        elif mask & WRITE:
            self._reactor.cancel(self._timer)
            self._reactor.release(sock)
            self._sock = None
            self._settled(sock, "")

    def on_flush(self) -> None:
        """Nothing is queued here."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Give the attempt up."""
        sock, self._sock = self._sock, None
        if sock is not None:
            self._reactor.cancel(self._timer)
            self._reactor.remove(sock)

    def _expire(self, now: float) -> None:
        self._fail(f"no answer within {ATTEMPT_SECS:g} s")

    def _fail(self, why: str) -> None:
        self.close(CloseReason.PEER_LOST)
        self._settled(None, why)


def _answers_itself(sock: socket.socket) -> bool:
    """Whether the system gave us the very port we dial: TCP then connects a socket to itself, which echoes."""
    try:
        return sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername()
    except OSError:  # it is gone already, which its owner will notice
        return False
