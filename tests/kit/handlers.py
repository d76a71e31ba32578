"""Handlers and loops for tests of what stands on the reactor."""

from __future__ import annotations

import socket
from typing import Any, Callable

import pytest
from kit.clock import FakeClock

from voltlane.net.poller import DefaultPoller, SelectorPoller
from voltlane.net.reactor import Reactor
from voltlane.reasons import CloseReason

POLLERS = list(dict.fromkeys([DefaultPoller, SelectorPoller]))
every_poller = pytest.mark.parametrize("poller", POLLERS, ids=lambda poller: poller.__name__)


class Loop(Reactor):
    """A reactor on a fake clock that keeps what its hooks hear, and never waits long."""

    def __init__(self, poller: Callable[[], Any] = DefaultPoller, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        super().__init__(poller(), self.clock)
        self.bugs: list[Exception] = []
        self.on_callback_error = lambda handler, error: self.bugs.append(error)

    def spin(self, turns: int = 5) -> None:
        """A few turns in which no time passes."""
        for _ in range(turns):
            self.turn(0)

    def until(self, predicate: Callable[[], object], what: str, turns: int = 2000) -> None:
        """Turn until the predicate holds."""
        for _ in range(turns):
            if predicate():
                return
            self.turn(0.005)
        raise AssertionError(f"in vain: {what}")

    def pass_(self, seconds: float, step: float = 0.05) -> None:
        """Let time pass, turning all the while."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + step)
            self.turn(0)

    def expect_clean(self) -> None:
        """Nothing is watched, no timer runs, and there were no bugs; closes the poller."""
        try:
            assert self.bugs == []
            assert self.watched == 0 and self.timers == 0
        finally:
            self.close()


class Recorder:
    """A handler that keeps what it is called with, and does what it is told to do then."""

    def __init__(self, loop: Reactor, sock: socket.socket, log: list[Any] | None = None, name: str = "") -> None:
        self.loop = loop
        self.sock: socket.socket | None = sock
        self.log = [] if log is None else log
        self.name = name
        self.closed_with: list[tuple[CloseReason, str]] = []
        self.then: Callable[[int], object] = lambda mask: None
        self.then_flush: Callable[[], object] = lambda: None
        loop.add(sock.fileno(), self)

    def on_event(self, mask: int) -> None:
        self.log.append((self.name, "event"))
        self.then(mask)

    def on_flush(self) -> None:
        self.log.append((self.name, "flush"))
        self.then_flush()

    def close(self, reason: CloseReason, detail: str = "") -> None:
        sock, self.sock = self.sock, None
        if sock is not None:
            self.closed_with.append((reason, detail))
            self.loop.remove(sock)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets; the first one is for the loop."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5.0)
    return ours, theirs


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """The same over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    theirs.settimeout(5.0)
    return ours, theirs
