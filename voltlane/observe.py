"""Looking at a running server: fills the values of `statistics`. Nothing here is on a packet's way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest
from math import inf
from types import MappingProxyType
from typing import Callable, Optional

from .config import Config
from .core.counters import Counters
from .core.histogram import Histogram
from .core.registry import Registry
from .core.session import Session, State
from .edges.master import Trunk
from .edges.tcp import ClientConnection, ClientEdge, peer_name
from .net.reactor import Reactor
from .reasons import CloseReason, EndReason, Hold
from .statistics import ClientRow, Clients, ClientsPage, MasterLink, Queues, Statistics
from .version import __version__

_EVERY_REASON = {"closed": CloseReason, "ended": EndReason, "held": Hold}


class Observer:
    """Sees everything and changes nothing."""

    def __init__(
        self,
        config: Config,
        reactor: Reactor,
        counters: Counters,
        registry: Registry,
        clients: ClientEdge,
        trunk: Trunk,
    ) -> None:
        self._config = config
        self._reactor = reactor
        self._counters = counters
        self._registry = registry
        self._clients = clients
        self._trunk = trunk
        self._since = reactor.now

    def statistics(self) -> Statistics:
        """The server at this moment."""
        counters = self._counters
        values = {name: getattr(counters, name) for name in Counters.__slots__}
        reasons = {
            name: MappingProxyType({**dict.fromkeys(_EVERY_REASON[name], 0), **value})
            for name, value in values.items()
            if isinstance(value, Counter)
        }
        latencies = {name: value.distribution() for name, value in values.items() if isinstance(value, Histogram)}
        connections = self._clients.connections
        live = len(self._registry.sessions) - self._registry.stale_count
        return Statistics(
            version=__version__,
            uptime=self._reactor.time() - self._since,
            counts=MappingProxyType({name: value for name, value in values.items() if isinstance(value, int)}),
            reasons=MappingProxyType(reasons),
            latencies=MappingProxyType(latencies),
            clients=Clients(live, self._registry.stale_count, len(connections) - live),
            queues=self._queues(connections),
            master=MasterLink(
                address=self._trunk.address or self._config.master.address[0],
                connected=self._trunk.connection is not None,
                connections=counters.master_connections,
                full=self._trunk.full,
            ),
            loop=self._reactor.pace.summary(),
        )

    def _queues(self, connections: Iterable[ClientConnection]) -> Queues:
        master = self._trunk.outbox
        waiting = [connection.outbox.size for connection in connections if connection.outbox is not None]
        backlogs = [session.backlog for session in self._registry.stale() if session.backlog is not None]
        return Queues(
            master_bytes=master.size if master is not None else 0,
            master_packets=master.packets if master is not None else 0,
            clients_bytes=sum(waiting),
            clients_waiting=len(waiting),
            backlog_bytes=sum([backlog.size for backlog in backlogs]),
            backlog_packets=sum([backlog.packets for backlog in backlogs]),
        )

    # ---- clients

    def client(self, client_id: int) -> ClientRow | None:
        """One client, or None where there is none with that id."""
        session = self._registry.sessions.get(client_id)
        return None if session is None else self._row(session)

    def sort_value(self, client_id: int, key: str) -> float | None:
        """What a client is sorted by, for whoever sorts them piece by piece; None when it is gone, or not known."""
        session = self._registry.sessions.get(client_id)
        return None if session is None else _KEYS[key](self, session, self._reactor.now)

    def page(self, sort: str, offset: int, limit: int, descending: bool) -> ClientsPage:
        """`limit` clients from `offset` on, by one of `statistics.SORT_KEYS`; of equals the lower id comes first.

        Those whose value is not known come last, whatever the direction. Raises ValueError for another key.
        """
        if sort not in _KEYS:
            raise ValueError(f"no such sort key: {sort}; there are {', '.join(_KEYS)}")
        offset, limit, now = max(0, offset), max(0, limit), self._reactor.now
        sessions, value_of, sign = self._registry.sessions.values(), _KEYS[sort], -1 if descending else 1

        def order(session: Session) -> float:
            value = value_of(self, session, now)
            return inf if value is None else sign * value

        # Sessions stand in the order of their ids, and sorting keeps the order of equals.
        wanted = offset + limit
        few = 4 * wanted < len(sessions)
        ordered = nsmallest(wanted, sessions, order) if few else sorted(sessions, key=order)
        rows = tuple([self._row(session) for session in ordered[offset : offset + limit]])
        return ClientsPage(len(sessions), offset, rows)

    def _row(self, session: Session) -> ClientRow:
        connection, now = session.link, self._reactor.now
        queue = connection.outbox if isinstance(connection, ClientConnection) else session.backlog
        return ClientRow(
            id=session.id,
            state=session.state.value,
            peer=_peer(session),
            age=self._age(session, now),
            queue_bytes=queue.size if queue is not None else 0,
            queue_packets=queue.packets if queue is not None else 0,
        )

    def _age(self, session: Session, now: float) -> float:
        if session.state is State.STALE:
            return now - (session.expiry - self._config.clients.stale_timeout_secs)
        return now - session.link.since if isinstance(session.link, ClientConnection) else 0.0

    def _queue(self, session: Session, now: float) -> float:
        link = session.link
        queue = link.outbox if isinstance(link, ClientConnection) else session.backlog
        return queue.size if queue is not None else 0


def _peer(session: Session) -> str | None:
    link = session.link
    if not isinstance(link, ClientConnection) or link.sock is None:
        return None
    return peer_name(link.sock)


def _unknown(observer: Observer, session: Session, now: float) -> float | None:
    return None


_Key = Callable[[Observer, Session, float], Optional[float]]

_KEYS: dict[str, _Key] = {
    "score": _unknown,
    "id": lambda observer, session, now: session.id,
    "age": Observer._age,
    "queue": Observer._queue,
    "in": _unknown,
    "out": _unknown,
    "rtt": _unknown,
    "loss": _unknown,
}
