"""A server as a service: its manager hears when it is ready, reloading and stopping, what it is doing, and, if it
watches us, that the loop still turns."""

from __future__ import annotations

import socket
from typing import Callable, Protocol

from ..core.readiness import Readiness, State
from ..net.activation import name_of
from ..net.reactor import Reactor
from ..ops.notify import Notifier


class Served(Protocol):
    """What a manager hears of: a server, or the parent of several processes that are one."""

    reactor: Reactor
    readiness: Readiness
    unlisted: list[str]
    """Addresses on which a process before this one has listened, and whose sockets are to be kept no more."""
    on_reload: list[Callable[[bool], None]]

    @property
    def bound(self) -> list[tuple[str, socket.socket]]:
        """The sockets that were bound, here or in a process before, for an address that was asked for, with that."""
        ...

    @property
    def counted(self) -> tuple[int, int]:
        """How many clients are live, and how many stale."""
        ...

    def announce_to(self, announce: Callable[[int], None]) -> None:
        """Call this with the process that follows it, before that serves."""


class Service:
    """What keeps one server's manager informed.

    READY does not wait for the master: it may be started after us, and clients can connect and wait without it.
    """

    def __init__(self, server: Served, manager: Notifier, watchdog: float) -> None:
        self._server = server
        self._manager = manager
        self._told = State.STARTING
        self._kept: list[str] = []
        if not manager:
            return
        self._keep()
        server.readiness.watchers.append(self._on_readiness)
        server.on_reload.append(self._on_reload)
        server.announce_to(self._on_followed)
        if watchdog:
            self._interval = watchdog / 2
            self._ping(server.reactor.now)

    def _on_readiness(self) -> None:
        state, lines = self._server.readiness.state, []
        if self._told is State.STARTING:
            lines.append("READY=1")
        if state is State.DRAINING:
            self._forget(self._kept)  # where nobody accepts any more, nobody is to wait
        if state is State.STOPPING:  # who only drains stays for as long as somebody is here: that is told as a status
            lines.append("STOPPING=1")
        self._told = state
        self._manager.send(*lines, self._status())

    def _keep(self) -> None:
        """Have it keep the sockets for clients that it has not opened itself, so that who connects between this process
        and the next one waits for that, and datagrams do."""
        self._forget([name for text in self._server.unlisted if (name := name_of(text))])
        for asked, sock in self._server.bound:
            name = name_of(asked)
            if name:
                self._manager.forget(name)  # one of an earlier process, whose file is gone, had the same
                self._manager.keep(name, sock.fileno())
                self._kept.append(name)

    def _forget(self, names: list[str]) -> None:
        for name in names:
            self._manager.forget(name)

    def _ping(self, now: float) -> None:
        # In the loop, so that one that is stuck is restarted.
        self._manager.send("WATCHDOG=1", self._status())
        self._server.reactor.call_later(self._interval, self._ping)

    def _on_reload(self, begins: bool) -> None:
        if begins:
            self._manager.reloading()
        else:
            self._manager.send("READY=1", self._status())

    def _on_followed(self, pid: int) -> None:
        self._manager.send(f"MAINPID={pid}", self._status())

    def _status(self) -> str:
        live, stale = self._server.counted
        return f"STATUS={self._server.readiness.text}; {live} clients, {stale} stale"
