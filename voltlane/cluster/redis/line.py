"""A line to the store: one connection after the other. It is dialled again by itself, after waits that double."""

from __future__ import annotations

import socket
from collections import Counter
from typing import Protocol

from ...address import Address
from ...core.budget import Budget
from ...net.dialer import BRIEF, Backoff, Dialer
from ...net.reactor import Reactor
from ...net.sockets import set_keepalive, set_low_delay
from ...ops.log import log
from ...reasons import CloseReason, StoreEnd
from .connection import StoreConnection
from .options import Options
from .resp import Reply

BACKOFF = Backoff(0.1, 5.0)
KEEPALIVE_SECS = 15


class User(Protocol):
    """Who speaks over it."""

    def opened(self) -> None:
        """There is a connection."""

    def received(self, replies: list[Reply]) -> None:
        """Answers have come."""

    def lost(self, text: str) -> None:
        """There is none any more, if there was one; or an attempt to get one has failed. The text says why."""


class Line:
    """`name` is what the log calls it. Each end is counted in `ends`, and what waits to be sent in the `budget`."""

    def __init__(
        self,
        reactor: Reactor,
        options: Options,
        name: str,
        ends: Counter[StoreEnd],
        user: User,
        budget: Budget | None = None,
    ) -> None:
        self._budget = budget
        self._reactor = reactor
        self._options = options
        self._name = name
        self._ends = ends
        self._user = user
        self._dialer = Dialer(reactor, [options.url.address], BACKOFF, self._connected, self._failed)
        self._attempt: StoreConnection | None = None  # connected, and not open yet; or open
        self._told = False  # the log knows that there is none
        self._settled = False  # there was one that was of use
        self._stopped = False
        self.connection: StoreConnection | None = None
        """The open one."""
        self.connections = 0
        """How many were open so far."""

    def start(self) -> None:
        """Connect, and stay connected."""
        self._dialer.start()

    def stop(self) -> None:
        """Be connected no more."""
        self._stopped = True
        self._dialer.stop()
        if self._attempt is not None:
            self._attempt.close(CloseReason.SHUTDOWN)

    def give_up(self, end: StoreEnd, text: str) -> None:
        """This connection is of no use: try another one."""
        if self.connection is not None:
            self.connection.give_up(end, text)

    def settled(self) -> None:
        """What is connected is of use."""
        if self._told or not self._settled:
            log.info("%s at %s is of use", self._name, self._options.url)
        self._told, self._settled = False, True

    def tell(self, why: str) -> None:
        """Say that it is not, in the log: once, until it is."""
        if self._told:
            log.debug("%s at %s %.300s, still", self._name, self._options.url, why)
        else:
            log.warning("%s at %s %.300s; trying again until it is of use", self._name, self._options.url, why)
        self._told = True

    # ---- for the dialer and the connection

    def _connected(self, sock: socket.socket, address: Address) -> None:
        if address.kind == "tcp":
            set_low_delay(sock)
            set_keepalive(sock, KEEPALIVE_SECS)
        self._attempt = StoreConnection(self._reactor, sock, self._options, self, self._budget)

    def _failed(self, address: Address, why: str, wait: float) -> None:
        if why != BRIEF:  # which is told already
            self._trouble(f"cannot be reached: {why}")

    def opened(self, connection: StoreConnection) -> None:
        """See Owner."""
        self.connection = connection
        self.connections += 1
        self._user.opened()

    def received(self, connection: StoreConnection, replies: list[Reply]) -> None:
        """See Owner."""
        self._user.received(replies)

    def lost(self, connection: StoreConnection, end: StoreEnd | None, text: str) -> None:
        """See Owner."""
        self._attempt = self.connection = None
        if end is not None:
            self._ends[end] += 1
            self._trouble(f"is gone: {end.value}{f': {text}' if text else ''}")
        else:
            self._user.lost("it is left")
        if not self._stopped:
            self._dialer.start()

    def _trouble(self, why: str) -> None:
        self.tell(why)
        self._user.lost(why)
