"""Waking the reactor from outside: signals, and other threads of a program that embeds the server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Callable

from ..reasons import CloseReason
from ..signals import block, unblock
from .reactor import Handler, Reactor

_WAKE = 0
"""No signal has this number."""


class Wakeup(Handler):
    """A socket pair of which the reactor watches one end. `on_wake()` is called in the loop, once for many wakes."""

    def __init__(self, reactor: Reactor, on_wake: Callable[[], None]) -> None:
        self._reactor = reactor
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._open = True
        self._actions: Mapping[int, Callable[[], None]] = {_WAKE: on_wake}
        reactor.add(self._ours.fileno(), self)

    def wake(self) -> None:
        """Wake the loop; from any thread, and from a signal handler."""
        try:
            self._theirs.send(bytes((_WAKE,)))
        except OSError:
            pass  # full: it will wake anyway; closed: there is no loop left to wake

    @contextmanager
    def on_signals(self, actions: Mapping[int, Callable[[], None]]) -> Iterator[None]:
        """Call these in the loop when their signals come, instead of what those did before.

        A signal that comes several times in one turn is one. Only a main thread can have signals; in another thread
        this does nothing. Those that were blocked wait for their handlers, and are blocked again when these go.
        """
        try:
            # Python writes each signal's number there, at once; a handler of its own would only run behind the poll,
            # which a signal that comes just before it does not interrupt.
            descriptor = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        except ValueError:
            yield
            return
        woken = self._actions
        self._actions = {**woken, **actions}
        before = {number: signal.signal(number, lambda *_: None) for number in actions}
        blocked = unblock(actions)
        try:
            yield
        finally:
            block(blocked)
            self._actions = woken
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor)

    def pending(self) -> list[int]:
        """The signals that have come and were not acted on; they are not any more."""
        received = b""
        try:
            while data := self._ours.recv(4096):
                received += data
        except BlockingIOError:
            pass
        return list(dict.fromkeys(received))

    def on_event(self, mask: int) -> None:
        """Somebody woke us, or a signal came, which need not be one of ours."""
        numbers = self.pending()
        self._reactor.drained(self._ours)
        for number in numbers:
            action = self._actions.get(number)
            if action is not None:
                # Not as this handler's own: an error must not cost the server its ear for signals.
                self._reactor.guard(None, action)

    def close(self, reason: CloseReason = CloseReason.SHUTDOWN, detail: str = "") -> None:
        """Give both ends back."""
        if self._open:
            self._open = False
            self._reactor.remove(self._ours)
            self._theirs.close()
