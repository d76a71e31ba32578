"""Where clients come in: all the listening sockets as one thing, opened and closed together.

Connections are accepted while there is no reason not to. The reasons come and go independently of each other; while
there is one, connections wait in the kernel's queue, where they cost nothing here.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Iterable
from typing import Callable

from ..address import Address
from ..errors import StartupError
from ..net.listener import Listener
from ..net.reactor import Reactor
from ..net.sockets import listening_socket, local_address, remove_socket_file
from ..reasons import CloseReason


class Hold(enum.Enum):
    """Why nobody is accepted at the moment."""

    MASTER = "there was no master yet"
    CROWD = "too many handshakes are waiting"


class Entrance:
    """The listening sockets. `on_accept` and `on_pause` as for Listener. Held for want of a master to begin with."""

    def __init__(
        self,
        reactor: Reactor,
        on_accept: Callable[[socket.socket], None],
        on_pause: Callable[[OSError, float], None],
    ) -> None:
        self._reactor = reactor
        self._on_accept = on_accept
        self._on_pause = on_pause
        self._listeners: list[Listener] = []
        self._files: list[Address] = []  # addresses of unix sockets, among others, that are ours to remove
        self.holds: set[Hold] = {Hold.MASTER}
        """Why nobody is accepted; empty while everybody is."""
        self.addresses: list[Address] = []
        """Where clients connect to."""

    def open(self, addresses: Iterable[Address]) -> list[socket.socket]:
        """Listen on all of these. Raises StartupError, and then listens on none."""
        socks: list[socket.socket] = []
        try:
            for address in addresses:
                socks.append(listening_socket(address))
        except StartupError:
            for sock in socks:
                remove_socket_file(local_address(sock))
                sock.close()
            raise
        self.adopt(socks)
        self._files = [local_address(sock) for sock in socks]
        return socks

    def adopt(self, socks: Iterable[socket.socket]) -> None:
        """Accept from sockets that listen already, and are non-blocking; they belong to the entrance from now on."""
        for sock in socks:
            self.addresses.append(local_address(sock))
            listener = Listener(self._reactor, sock, self._on_accept, self._on_pause)
            listener.hold(bool(self.holds))
            self._listeners.append(listener)

    @property
    def is_open(self) -> bool:
        """Whether there is a socket that listens."""
        return bool(self._listeners)

    def hold(self, reason: Hold) -> None:
        """Accept nobody until `release`."""
        if not self.holds:
            for listener in self._listeners:
                listener.hold(True)
        self.holds.add(reason)

    def release(self, reason: Hold) -> None:
        """This reason is gone. Whoever was last to be accepted from is first to wait: no socket starves another."""
        if reason not in self.holds:
            return
        self.holds.discard(reason)
        if self._listeners and not self.holds:
            self._listeners.append(self._listeners.pop(0))
            for listener in self._listeners:
                listener.hold(False)

    def close(self) -> None:
        """Listen no more."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close(CloseReason.SHUTDOWN)
        files, self._files = self._files, []
        for address in files:
            remove_socket_file(address)
