"""Connecting to the first of some addresses that answers, again and again with jittered exponential backoff."""

from __future__ import annotations

import errno
import math
import os
import random
import socket
from collections import deque
from collections.abc import Sequence
from typing import Callable, NamedTuple

from ..address import Address
from ..core.timers import Timer
from ..reasons import CloseReason
from .poller import WRITE
from .reactor import Handler, Reactor
from .sockets import resolve

ATTEMPT_SECS = 5.0
"""How long one attempt may take."""
BRIEF = "the connection did not last"
"""The failure of one that was connected, and needed again soon."""


class Backoff(NamedTuple):
    """Seconds between rounds: from `shortest`, doubling up to `longest`, each shortened by up to half at random."""

    shortest: float
    longest: float

    def wait(self, failures: int, fraction: Callable[[], float] = random.random) -> float:
        """How long to wait after so many failures in a row (1 or more)."""
        wait = min(self.longest, self.shortest * 2.0 ** min(failures - 1, 32))
        return wait * (1 - fraction() / 2)


class Dialer:
    """Keeps trying to connect, in rounds: to each address in order, then a wait.

    `on_connect(sock, address)` gets the socket, non-blocking. `on_failure(address, text, seconds)` hears of each failed
    attempt, and of the wait before the next; 0: there is none, another address is tried at once.
    """

    def __init__(
        self,
        reactor: Reactor,
        addresses: Sequence[Address],
        backoff: Backoff,
        on_connect: Callable[[socket.socket, Address], None],
        on_failure: Callable[[Address, str, float], None],
    ) -> None:
        self._reactor = reactor
        self._addresses = list(addresses)
        self._order = self._addresses  # of the rounds to come
        self._left: deque[Address] = deque()  # of this round
        self.backoff = backoff
        """May be changed at any time; counts from the next wait on."""
        self._on_connect = on_connect
        self._on_failure = on_failure
        self._attempt: _Attempt | None = None
        self._timer: Timer | None = None
        self._failures = 0  # rounds, in a row
        self._last = self._addresses[0]  # that was connected to
        self._connected = -math.inf  # when that was
        self._brief = 0  # connections in a row that did not last

    def start(self, distrust: bool = False) -> None:
        """Try now; after a wait, if the last connection did not last for as long as the longest wait.

        Rounds begin with the first address. One that did not last, or that the caller has reason to distrust, is tried
        last: it may go on accepting connections without being of any use.
        """
        brief = self._reactor.now - self._connected < self.backoff.longest
        behind = self._addresses.index(self._last) + 1 if brief or distrust else 0
        self._order = self._addresses[behind:] + self._addresses[:behind]
        if brief:
            self._failures = self._brief
            self._brief += 1
            self._failed(self._last, BRIEF)
        else:
            self._failures = self._brief = 0
            self._begin_round(self._reactor.now)

    def stop(self) -> None:
        """Try no more."""
        self._left.clear()
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None
        if self._attempt is not None:
            self._attempt.close(CloseReason.SHUTDOWN)
            self._attempt = None

    def _begin_round(self, now: float) -> None:
        self._timer = None
        self._left = deque(self._order)
        self._try_next()

    def _try_next(self) -> None:
        while self._left and self._attempt is None:
            address = self._left.popleft()
            try:
                sock = self._begin(address)
            except OSError as error:
                self._failed(address, error.strerror or str(error))
            else:
                self._attempt = _Attempt(self._reactor, sock, address, self._settled)

    def _begin(self, address: Address) -> socket.socket:
        """A socket that is connecting. Raises OSError."""
        candidates = resolve(address)
        # Names with several addresses are tried one address a round, in the resolver's order.
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

    def _settled(self, sock: socket.socket | None, address: Address, why: str) -> None:
        self._attempt = None
        if sock is not None:
            self._last, self._connected = address, self._reactor.now
            left, self._left = self._left, deque()
            try:
                self._on_connect(sock, address)
                return
            except OSError as error:
                sock.close()
                self._left, why = left, error.strerror or str(error)
        self._failed(address, why)
        self._try_next()

    def _failed(self, address: Address, why: str) -> None:
        wait = 0.0
        if not self._left:
            self._failures += 1
            wait = self.backoff.wait(self._failures)
            self._timer = self._reactor.call_later(wait, self._begin_round)
        self._on_failure(address, why, wait)


class _Attempt(Handler):
    """One socket on its way to being connected."""

    __slots__ = ("_address", "_reactor", "_settled", "_sock", "_timer")

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        address: Address,
        settled: Callable[[socket.socket | None, Address, str], None],
    ) -> None:
        self._reactor = reactor
        self._address = address
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
            self._settled(sock, self._address, "")

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
        self._settled(None, self._address, why)


def _answers_itself(sock: socket.socket) -> bool:
    """Whether the system gave us the very port we dial: TCP then connects a socket to itself, which echoes."""
    try:
        return sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername()
    except OSError:  # it is gone already, which its owner will notice
        return False
