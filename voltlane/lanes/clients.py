"""All clients that have a session: how they get from their handshake to it, and what is done to all of them."""

from __future__ import annotations

import socket
from typing import cast

from ..core.meter import MeterLimits
from ..core.protocols.handshake import Handshake
from ..core.session import Session, State
from ..reasons import CloseReason
from .connection import ClientConnection
from .entry.arrival import Arrival
from .fairness.pressure import PressureLimits
from .fairness.turns import ENDING, LOUD, UNANSWERED
from .framing import Framing
from .moved import Origin
from .present import Present
from .receipts import ReceiptLimits
from .shared import Shared
from .table import CODED, DATA_PATHS, FRAMINGS


class Clients(Shared):
    """One server's."""

    def configure(
        self, packet_size_limit: int, pressure: PressureLimits, meter: MeterLimits, receipts: ReceiptLimits
    ) -> None:
        """Go by these limits from now on."""
        self.configure_receipts(receipts)
        self.limit_packets(packet_size_limit)
        self.pressure.configure(pressure)
        self.meters.configure(meter, self.connections)

    def begin(self, arrival: Arrival, handshake: Handshake, protocol: str, framing: Framing, rest: bytes) -> None:
        """A handshake is done: go on with that connection, first with what was read behind the handshake."""
        registry = self.hub.registry
        if handshake.session is None and not registry.promised and not registry.ids.available(self.reactor.now):
            arrival.flush()
            arrival.close(CloseReason.NO_IDS)
            return
        if handshake.session is not None and not self.settle(handshake.session.id):
            arrival.close(CloseReason.TAKEOVER_EARLY)
            return
        if handshake.session is not None and handshake.session.state is State.ENDED:  # by what was read there
            arrival.flush()
            arrival.close(CloseReason.SESSION_ENDED)
            return
        old = None if handshake.session is None else handshake.session.link
        if old is not None and not old.can_hand_over:
            arrival.close(CloseReason.TAKEOVER_EARLY)
            return
        sock, since = arrival.hand_over()
        waited = self.reactor.now - since
        (self.counters.resume_secs if handshake.session else self.counters.handshake_secs).observe(waited)
        self.counters.greeted[protocol] += 1
        kind = DATA_PATHS.get((framing.name, protocol)) or CODED[protocol]
        connection = kind(self, sock, arrival.peer, arrival.source, since, framing)
        connection.lane, connection.subject = arrival.lane.name, arrival.subject
        if connection.pinged:
            self.heartbeat.begin()
        connection.flags |= arrival.flags & (LOUD | ENDING | UNANSWERED)
        self.reactor.guard(connection, connection.begin, handshake, arrival.unsent, rest)

    def expect(self, origin: Origin, sock: socket.socket) -> ClientConnection:
        """A connection that is still another process's: it is to `move_in` (and to `move_out`, if that was too early),
        to `join` and to `wake`, or to be dismissed. Raises LookupError for one that nobody here could go on with."""
        framing = FRAMINGS[origin.framing]()
        kind = DATA_PATHS.get((framing.name, origin.protocol)) or CODED[origin.protocol]
        connection = kind(self, sock, origin.peer, None, origin.since, framing)
        connection.client_id, connection.lane, connection.subject = origin.client_id, origin.lane, origin.subject
        return connection

    def dismiss(self, connection: ClientConnection) -> None:
        """It was expected, and is gone."""
        if connection.session is not None:
            connection.move_out()
        sock, connection.sock = connection.sock, None
        self.meters.forget(connection)
        if sock is not None:
            self.reactor.release(sock)
            sock.close()  # at once: nobody hears of its end before

    def wake(self) -> None:
        """All connections that have moved in are this process's from now on."""
        for connection in self.connections:
            self.reactor.guard(connection, connection.wake)

    def resume(self) -> None:
        """The master has room again: who was not read is, and who was allowed to send little may send more."""
        self.turns.resume()
        self.receipts.feed()

    @property
    def connections(self) -> list[ClientConnection]:
        """Everybody's connection."""
        return [connection for session in self.hub.registry.live() if (connection := self.connection_of(session))]

    def connection_of(self, session: Session) -> ClientConnection | None:
        """That of a session; None while it has none, and where its client is here without one."""
        link = session.link
        return cast(ClientConnection, link) if link is not None and link.is_stream else None

    def link_of(self, session: Session) -> Present | None:
        """How a client is here, with or without a connection; None while it is not."""
        return cast("Present | None", session.link)

    @property
    def unwritten(self) -> bool:
        """Whether some client has yet to take what is queued for it."""
        return any(connection.outbox for connection in self.connections)

    # ---- leaving, one by one or all of them

    def settle(self, client_id: int) -> bool:
        """Read what a retired connection of this session has sent, and close it, if there is one. False while there is
        no room for that."""
        found = self.retired.get(client_id)
        if found is None:
            return True
        connection = cast("ClientConnection", found[0])
        if not connection.can_hand_over:
            return False
        connection.read_out()
        connection.close(found[1])
        return True

    # ---- the server ends

    def retire(self) -> None:
        """Tell everybody that we send no more, and go on reading them; their sessions wait for them from now on."""
        for connection in self.connections:
            self.reactor.guard(connection, connection.retire, CloseReason.SHUTDOWN)

    def hear_out(self) -> None:
        """Read what the retired have sent and nobody has read yet, while the trunk has room, and close them."""
        for connection in self._retired():
            if self.trunk.congested:
                break
            connection.read_out()
            connection.close(CloseReason.SHUTDOWN)

    def farewell(self, kept: bool) -> None:
        """Close every connection. Where what the trunk is given is `kept`, all that was sent is read before, as far as
        there is memory for it."""
        for connection in [*self.connections, *self._retired()]:
            if kept and not self.budget.is_near:
                connection.read_out()
            connection.close(CloseReason.SHUTDOWN)

    def _retired(self) -> list[ClientConnection]:
        return [cast("ClientConnection", connection) for connection, _ in self.retired.values()]
