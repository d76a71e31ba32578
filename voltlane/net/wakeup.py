"""Waking the reactor from outside: signals, and other threads of a program that embeds the server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

from ..reasons import CloseReason
from .reactor import Reactor


class Wakeup:
    """A socket pair of which the reactor watches one end. `on_wake()` is called in the loop, once for many wakes."""

    def __init__(self, reactor: Reactor, on_wake: Callable[[], None]) -> None:
        self._reactor = reactor
        self._on_wake = on_wake
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._open = True
        reactor.add(self._ours.fileno(), self)

    def wake(self) -> None:
        """Wake the loop; from any thread, and from a signal handler."""
        try:
            self._theirs.send(b"\0")
        except OSError:
            pass  # full: it will wake anyway; closed: there is no loop left to wake

    @contextmanager
    def on_signals(self, *signals: int) -> Iterator[None]:
        """Wake on these signals instead of what they did before. Only a main thread can have signals."""
        try:
            before = {number: signal.signal(number, lambda *_: None) for number in signals}
        except ValueError:
            yield
            return
        # Python writes the signal's number into the descriptor; without it a poll would simply be resumed.
        descriptor = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_event(self, mask: int) -> None:
        """Somebody woke us."""
        woken = False
        try:
            while self._ours.recv(4096):
                woken = True
        except BlockingIOError:
            pass
        rearm = self._reactor.poller.rearm_read
        if rearm is not None:
            rearm(self._ours.fileno())
        if woken:
            self._on_wake()

    def on_flush(self) -> None:
        """Nothing is queued here."""

    def close(self, reason: CloseReason = CloseReason.SHUTDOWN, detail: str = "") -> None:
        """Give both ends back."""
        if self._open:
            self._open = False
            self._reactor.remove(self._ours)
            self._theirs.close()
