"""The endpoint as a whole: where it listens, who is connected, and what it consists of."""

from __future__ import annotations

import socket
from functools import partial

from ..address import Address
from ..errors import StartupError
from ..net.listener import Listener
from ..net.reactor import Reactor
from ..net.sockets import close_gently, listening_socket, local_address, remove_socket_file
from ..ops.log import log
from ..reasons import CloseReason
from .connection import AdminConnection
from .events import Events
from .exposition import AVAILABLE as EXPOSITION_AVAILABLE
from .guard import Guard
from .handlers import Handlers, snapshot
from .http1 import AVAILABLE as HTTP1_AVAILABLE
from .recorder import Recorder
from .subject import Subject

MOST_CONNECTIONS = 64
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"


def require_extra() -> None:
    """Raises StartupError when the packages are missing, and says how to get them."""
    needed = {"h11": HTTP1_AVAILABLE, "prometheus-client": EXPOSITION_AVAILABLE}
    missing = [name for name, available in needed.items() if not available]
    if missing:
        raise StartupError(
            f"admin.address is set, which needs {' and '.join(missing)}: pip install 'voltlane[web]', "
            f"or pip install {' '.join(missing)}"
        )


class Endpoint:
    """Listens at `address` from the moment it is made. Raises StartupError."""

    def __init__(self, reactor: Reactor, address: Address, token: str, subject: Subject) -> None:
        require_extra()
        self._reactor = reactor
        listening = listening_socket(address, mode=0o600)
        self.address = local_address(listening)
        """Where it listens."""
        self._connections: dict[AdminConnection, None] = {}
        self._events = Events(reactor, partial(snapshot, subject))
        self.recorder = Recorder(self._events)
        self._handlers = Handlers(subject, Guard(token, self.address), self._events, self.recorder)
        self._listener = Listener(reactor, listening, self._accept, self._on_pause)

    def close(self) -> None:
        """Listen no more, and close every connection."""
        self._listener.close(CloseReason.SHUTDOWN)
        remove_socket_file(self.address)
        for connection in list(self._connections):
            connection.close(CloseReason.SHUTDOWN)

    def _accept(self, sock: socket.socket, address: object) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            try:
                sock.send(_TOO_MANY)
            finally:
                close_gently(sock)
            return
        connection = AdminConnection(self._reactor, sock, self._handlers.respond, self._forget)
        self._connections[connection] = None

    def _forget(self, connection: AdminConnection) -> None:
        self._connections.pop(connection, None)
        self._events.remove(connection)

    def _on_pause(self, error: OSError, wait: float) -> None:
        log.warning("cannot accept connections: %s; trying again in %.1f s", error.strerror, wait)
