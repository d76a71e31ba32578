"""Keeping a master at the other end of the firehose: connecting, connecting again when it is lost, giving up."""

from __future__ import annotations

import socket
from math import ceil
from typing import Callable

from ..address import Address, parse_address
from ..config import Master
from ..core.readiness import Event, Readiness
from ..core.timers import Timer
from ..net.dialer import Backoff, Dialer
from ..net.reactor import Reactor
from ..net.sockets import set_keepalive, set_low_delay
from ..ops.log import log
from ..reasons import BY_PEER, CloseReason
from .trunk import Trunk


class Firehose:
    """The trunk's connections, one after the other. `on_connected()` is called for each, `on_give_up()` once there was
    none for `master.give_up_secs`. `settings` may be replaced."""

    def __init__(
        self,
        reactor: Reactor,
        trunk: Trunk,
        readiness: Readiness,
        settings: Master,
        *,
        on_connected: Callable[[], None],
        on_give_up: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._trunk = trunk
        self._readiness = readiness
        self._settings = settings
        self._on_connected = on_connected
        self._on_give_up = on_give_up
        self._giving_up: Timer | None = None
        self._stopped = False
        self.dialer = Dialer(
            reactor,
            [parse_address(text) for text in settings.address],
            Backoff(settings.reconnect_min_secs, settings.reconnect_max_secs),
            self.connected,
            self._failed,
        )

    def configure(self, settings: Master) -> None:
        """Go by these settings from now on."""
        self._settings = settings
        self.dialer.backoff = Backoff(settings.reconnect_min_secs, settings.reconnect_max_secs)

    def start(self, distrust: bool = False) -> None:
        """Connect. The master that was lost is tried last if there is reason to `distrust` it."""
        if self._settings.give_up_secs:
            self._giving_up = self._reactor.call_later(self._settings.give_up_secs, self._give_up)
        self.dialer.start(distrust)

    def stop(self) -> None:
        """Connect no more. A connection that is there stays."""
        self._stopped = True
        self.dialer.stop()
        self._stop_giving_up()

    def connected(self, sock: socket.socket, address: Address) -> None:
        """There is a master. Raises OSError for a socket that has failed already: it was no connection."""
        log.info("connected to the master at %s", address)
        set_low_delay(sock)
        set_keepalive(sock, ceil(self._settings.keepalive_secs))
        self._stop_giving_up()
        self._readiness.move(Event.MASTER_UP)
        self._trunk.connect(sock, str(address))
        self._on_connected()

    def go_on(self) -> None:
        """Keep the connection that another process had: the trunk has it."""
        log.info("going on with the master at %s", self._trunk.address)
        self._readiness.move(Event.MASTER_UP)
        self._on_connected()

    def lost(self, reason: CloseReason, detail: str) -> None:
        """The trunk's connection is gone."""
        if self._stopped or reason is CloseReason.SHUTDOWN:
            return
        self._readiness.move(Event.MASTER_LOST)
        log.warning("the master is gone: %s%s", reason.value, f": {detail}" if detail else "")
        # If we gave it up, something does answer at its address, but not as it should.
        self.start(distrust=reason not in BY_PEER)

    def _failed(self, address: Address, why: str, wait: float) -> None:
        then = f"trying again in {wait:.1f} s" if wait else "trying the next"
        log.warning("no master at %s: %s; %s", address, why, then)

    def _give_up(self, now: float) -> None:
        self._giving_up = None
        log.error("no master for %g s: giving up", self._settings.give_up_secs)
        self._on_give_up()

    def _stop_giving_up(self) -> None:
        if self._giving_up is not None:
            self._reactor.cancel(self._giving_up)
            self._giving_up = None
