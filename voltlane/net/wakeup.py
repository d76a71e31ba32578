"""Waking the reactor from outside: signals, and other threads of a program that embeds the server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from ..reasons import CloseReason
from .reactor import Reactor

_WAKE = 0
"""No signal has this number."""


class Wakeup:
    """A socket pair of which the reactor watches one end. `on_wake()` is called in the loop, once for many wakes."""

    def __init__(self, reactor: Reactor, on_wake: Callable[[], None]) -> None:
        self._reactor = reactor
        self._on_wake = on_wake
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._open = True
        self._meant = {_WAKE}
        reactor.add(self._ours.fileno(), self)

    def wake(self) -> None:
        """Wake the loop; from any thread, and from a signal handler."""
        try:
            self._theirs.send(bytes((_WAKE,)))
        except OSError:
            pass  # full: it will wake anyway; closed: there is no loop left to wake

    @contextmanager
    def on_signals(self, *signals: int) -> Iterator[None]:
        """Wake on these signals instead of what they did before. Only a main thread can have signals."""
        try:
            # Python writes each signal's number there, at once; a handler of its own would only run behind the poll,
            # which a signal that comes just before it does not interrupt.
            descriptor = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        except ValueError:
            yield
            return
        self._meant = {_WAKE, *signals}
        before = {number: signal.signal(number, lambda *_: None) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor)

    def on_event(self, mask: int) -> None:
        """Somebody woke us, or a signal came, which need not be one of ours."""
        received = b""
        try:
            while data := self._ours.recv(4096):
                received += data
        except BlockingIOError:
            pass
        rearm = self._reactor.poller.rearm_read
        if rearm is not None:
            rearm(self._ours.fileno())
        if not self._meant.isdisjoint(received):
            self._on_wake()

    def on_flush(self) -> None:
        """Nothing is queued here."""

    def close(self, reason: CloseReason = CloseReason.SHUTDOWN, detail: str = "") -> None:
        """Give both ends back."""
        if self._open:
            self._open = False
            self._reactor.remove(self._ours)
            self._theirs.close()
