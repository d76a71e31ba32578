"""A server as a service: its manager hears when it is ready, reloading and stopping, what it is doing, and, if it
watches us, that the loop still turns."""

from __future__ import annotations

from typing import Callable

from ..config import Config
from ..core.readiness import State
from ..ops.notify import Notifier
from .server import Server


class Service:
    """What keeps one server's manager informed.

    READY does not wait for the master: it may be started after us, and clients can connect and wait without it.
    """

    def __init__(self, server: Server, manager: Notifier, watchdog: float) -> None:
        self._server = server
        self._manager = manager
        self._told = State.STARTING
        if not manager:
            return
        server.readiness.watchers.append(self._on_readiness)
        server.on_configure.append(self._on_configured)
        if server.source is not None:
            server.source = self._announced(server.source)
        if watchdog:
            self._interval = watchdog / 2
            self._ping(server.reactor.now)

    def _on_readiness(self) -> None:
        state, lines = self._server.readiness.state, []
        if self._told is State.STARTING:
            lines.append("READY=1")
        if state is State.DRAINING:
            lines.append("STOPPING=1")
        self._told = state
        self._manager.send(*lines, self._status())

    def _ping(self, now: float) -> None:
        # In the loop, so that one that is stuck is restarted.
        self._manager.send("WATCHDOG=1", self._status())
        self._server.reactor.call_later(self._interval, self._ping)

    def _announced(self, source: Callable[[], Config]) -> Callable[[], Config]:
        def announce() -> Config:
            self._manager.reloading()
            return source()

        return announce

    def _on_configured(self, config: Config) -> None:
        """Also when nothing was changed, because of a mistake or otherwise: the reload is over."""
        self._manager.send("READY=1", self._status())

    def _status(self) -> str:
        registry = self._server.registry
        live = len(registry.sessions) - registry.stale_count
        return f"STATUS={self._server.readiness.text}; {live} clients, {registry.stale_count} stale"
