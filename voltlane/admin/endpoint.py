"""The endpoint as a whole: where it listens, who is connected, and what it consists of."""

from __future__ import annotations

import socket
from collections import Counter
from functools import partial
from http import HTTPStatus

from ..address import Address
from ..errors import StartupError
from ..net.listener import Listener
from ..net.reactor import Reactor
from ..net.sockets import defer_accept, listening_socket, local_address, socket_file
from ..ops.log import PauseLog
from ..reasons import AdminEnd, CloseReason
from ..wire.http1.answers import RETRY, Refusal, Response
from ..wire.http1.conversation import AVAILABLE as HTTP1_AVAILABLE
from ..wire.http1.conversation import Request
from .connection import AdminConnection
from .events import Events
from .exposition import AVAILABLE as EXPOSITION_AVAILABLE
from .exposition import MISSING as EXPOSITION_MISSING
from .guard import Guard
from .handlers import METRICS, PROBES, Handlers, snapshot
from .places import MOST_CONNECTIONS, Places
from .recorder import Recorder
from .router import Work
from .subject import Subject


def require_extra() -> None:
    """Raises StartupError when the packages are missing, and says how to get them."""
    needed = {"h11": HTTP1_AVAILABLE, "prometheus-client": EXPOSITION_AVAILABLE}
    missing = [name for name, available in needed.items() if not available]
    if missing:
        if EXPOSITION_MISSING not in ("", "prometheus_client"):  # of the standard library, which may come in parts
            raise StartupError(
                f"admin.address is set, which needs {' and '.join(missing)}, which needs {EXPOSITION_MISSING}: "
                "this Python has no module of that name"
            )
        raise StartupError(
            f"admin.address is set, which needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )


class Endpoint:
    """Listens at `address` from the moment it is made, and counts in `ends`. Raises StartupError."""

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        token: str,
        subject: Subject,
        ends: Counter[AdminEnd],
        found: tuple[socket.socket, bool] | None = None,
    ) -> None:
        """`found`: a socket that listens there already, and whether its file is to be removed with it."""
        require_extra()
        self._reactor = reactor
        listening, own_file = found or (listening_socket(address, mode=0o600), True)
        defer_accept(listening)
        self._file = socket_file(listening) if own_file else None
        self.listening = listening, own_file
        """The socket that listens, and whether its file is removed with it."""
        self.address = local_address(listening)
        """Where it listens."""
        self.places: Places[AdminConnection] = Places()
        self.ends = ends
        self._events = Events(reactor, partial(snapshot, subject))
        self.recorder = Recorder(self._events)
        self._handlers = Handlers(subject, Guard(token, self.address), self._events, self.recorder)
        self._listener = Listener(reactor, listening, self._accept, PauseLog(str(self.address)).note)

    def close(self) -> None:
        """Listen no more, and close every connection."""
        if self._file is not None:
            self._file.remove()
        self._listener.close(CloseReason.SHUTDOWN)
        for connection in self.places:
            connection.close(CloseReason.SHUTDOWN)

    def respond(self, request: Request) -> Response | Work:
        """See Owner."""
        if request.segments not in PROBES and not self.places.admit_answer(request.segments == METRICS):
            message = "too many answers are under way"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, RETRY, reason=AdminEnd.TOO_MANY_ANSWERS)
        return self._handlers.respond(request)

    def forget(self, connection: AdminConnection) -> None:
        """See Owner."""
        self.places.leave(connection)
        self._events.remove(connection)

    def _accept(self, sock: socket.socket, address: object) -> None:
        while len(self.places) >= MOST_CONNECTIONS:
            one = self.places.next_to_go()
            self._reactor.guard(one, one.make_room)
        AdminConnection(self._reactor, sock, self)
