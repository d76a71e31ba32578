"""Looking at a running server: fills the values of `statistics`. Nothing here is on a packet's way."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from math import inf
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Callable, Optional, cast

from ..admin.steps import Steps
from ..core.backlog import Backlog
from ..core.outbox import Outbox
from ..core.protocols.credentials import PROTOCOL_NAMES, kind_of
from ..core.session import Session, State
from ..lanes.fairness.sampler import Measured
from ..lanes.present import Present
from ..lanes.table import LANES
from ..statistics import ClientRow, ClientsPage, LaneFigures, MasterLink, ProtocolFigures, Statistics, in_order
from ..version import __version__
from .gauges import Survey, clients
from .parts import Parts
from .tallies import datagrams_of, dropped_by, tallies_of
from .ways import Way, joined


class Observer:
    """Sees everything and changes nothing."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._config = parts.config  # that of the start
        self._reactor = parts.reactor
        self._registry = parts.registry
        self._clients = parts.clients
        self._sampler = parts.sampler
        self.since = parts.reactor.now
        """When uptime began."""

    def statistics(self) -> Statistics:
        """The server at this moment."""
        self._sampler.look()
        return self._made_of(Survey(self._parts).take())

    def observing(self) -> Steps[Statistics]:
        """The same a step at a time, for whoever lets others have their turn in between: the sums over all clients are
        of some turns then, everything else of the last."""
        self._sampler.look()
        survey = Survey(self._parts)
        yield from survey.slices()
        return self._made_of(survey)

    def counted(self) -> Statistics:
        """The same without what takes a look at every client: what is in queues, and how links are."""
        return self._made_of(Survey(self._parts))

    def _made_of(self, survey: Survey) -> Statistics:
        counters, trunk, link = self._parts.counters, self._parts.trunk, self._parts.link
        tallies, datagrams = tallies_of(counters), self._parts.datagrams
        return Statistics(
            version=__version__,
            uptime=self._reactor.time() - self.since,
            counts=tallies.counts,
            reasons=tallies.reasons
            if datagrams is None
            else MappingProxyType({**tallies.reasons, "dropped_datagrams": dropped_by(counters)}),
            latencies=tallies.latencies,
            clients=clients(self._parts),
            queues=survey.queues,
            links=survey.links,
            master=MasterLink(
                address=trunk.address or self._config.master.address[0],
                connected=trunk.connection is not None,
                connections=counters.master_connections,
                full=trunk.full,
                stalled_secs=trunk.stalled_secs,
            ),
            loop=self._reactor.metrics.summary(),
            lanes=self._lanes(survey),
            protocols=self._protocols(survey),
            certificates=self._parts.certificates.summary(),
            draining=self._parts.drain.progress,
            store=None if link is None else link.figures(),
            datagrams=None if datagrams is None else datagrams_of(counters, datagrams.channels, datagrams.peers),
        )

    def _lanes(self, survey: Survey) -> Mapping[str, LaneFigures]:
        accepted = self._parts.counters.lanes
        names = dict.fromkeys([*LANES, *accepted, *survey.lanes])
        return MappingProxyType({name: LaneFigures(accepted[name], survey.lanes[name]) for name in names})

    def _protocols(self, survey: Survey) -> Mapping[str, ProtocolFigures]:
        live, stale = survey.live, survey.stale
        greeted, gaps = self._parts.counters.greeted, self._parts.counters.protocol_gaps
        return MappingProxyType(
            {
                name: ProtocolFigures(greeted[name], live[kind], stale[kind], gaps[name])
                for kind, name in PROTOCOL_NAMES.items()
            }
        )

    # ---- clients

    def client(self, client_id: int) -> ClientRow | None:
        """One client, or None where there is none with that id."""
        self._sampler.look()
        session = self._registry.sessions.get(client_id)
        return None if session is None else self._row(session)

    def ids(self) -> list[int]:
        """Every client, for whoever looks at them piece by piece."""
        self._sampler.look()
        return list(self._registry.sessions)

    def sort_value(self, client_id: int, key: str) -> float | None:
        """What a client is sorted by, for whoever sorts them piece by piece; None when it is gone, or not known."""
        session = self._registry.sessions.get(client_id)
        return None if session is None else _KEYS[key](self, session, self._reactor.now)

    def is_called(self, client_id: int, text: str) -> bool:
        """Whether a client's id or address has this in it; letters are taken as small ones, of the address."""
        session = self._registry.sessions.get(client_id)
        if session is None:
            return False
        link = self._clients.link_of(session)
        return text in str(client_id) or (link is not None and text in link.peer.lower())

    def page(self, sort: str, offset: int, limit: int, descending: bool) -> ClientsPage:
        """`limit` clients from `offset` on, by one of `statistics.SORT_KEYS`; of equals the lower id comes first.

        Those whose value is not known come last, whatever the direction. Raises ValueError for another key.
        """
        if sort not in _KEYS:
            raise ValueError(f"no such sort key: {sort}; there are {', '.join(_KEYS)}")
        self._sampler.look()
        offset, limit, now = max(0, offset), max(0, limit), self._reactor.now
        sessions = sorted(self._registry.sessions.values(), key=attrgetter("id"))  # nearly sorted already
        value_of, sign = _KEYS[sort], -1 if descending else 1

        def order(session: Session) -> float:
            value = value_of(self, session, now)
            return inf if value is None else sign * value

        wanted = offset + limit
        few = 4 * wanted < len(sessions)
        # Either keeps the order of equals.
        ordered = nsmallest(wanted, sessions, order) if few else sorted(sessions, key=order)
        rows = in_order([self._row(session) for session in ordered[offset : offset + limit]], sort, descending)
        return ClientsPage(len(sessions), offset, tuple(rows))

    def _row(self, session: Session) -> ClientRow:
        link, now = self._clients.link_of(session), self._reactor.now
        row = ClientRow(
            id=session.id,
            state=session.state.value,
            peer=None,
            age=self._age(session, now),
            queue_bytes=0,
            queue_packets=0,
            protocol=PROTOCOL_NAMES[kind_of(session.credential)],
        )
        queue = self._queue_of(session)
        if queue is not None:
            row = row._replace(queue_bytes=queue.size, queue_packets=queue.packets)
        if link is not None:
            row = row._replace(peer=link.peer, lane=link.lane, **self._link(session, link))
        return row

    def _link(self, session: Session, link: Present) -> dict[str, Any]:
        """What is known of it at this moment: first what clients are sorted by, and by the same words."""
        info, datagrams = self._sampler.sample(cast("Measured", link)), self._parts.datagrams
        if datagrams is not None:
            datagrams.look_at(session)
        quality = self._way(session)
        if quality is None:
            return {}
        known = {
            "bytes_in": quality.bandwidth_in,
            "bytes_out": quality.bandwidth_out,
            "rtt": quality.latency,
            "loss": quality.loss,
            "score": quality.score,
            "jitter": quality.jitter,
            "reordered": quality.reordered,
        }
        if info is None:
            return known
        return {
            **known,
            "idle": info.last_data_recv,
            "rttvar": info.rttvar,
            "unacked": info.unacked,
            "retransmits": info.total_retrans,
            "delivery_rate": info.delivery_rate,
        }

    def _way(self, session: Session) -> Way | None:
        """How good the way to a client is that is here."""
        link, datagrams = self._clients.link_of(session), self._parts.datagrams
        if link is None:
            return None
        return joined(link.quality, None if datagrams is None else datagrams.quality_beside(session.id))

    def _age(self, session: Session, now: float) -> float:
        if session.state is State.STALE:
            return now - session.lost
        link = self._clients.link_of(session)
        return 0.0 if link is None else now - link.since

    def _queue(self, session: Session, now: float) -> float:
        queue = self._queue_of(session)
        return queue.size if queue is not None else 0

    def _queue_of(self, session: Session) -> Outbox | Backlog | None:
        """What waits for a client: in its connection's outbox, or kept for when it is back."""
        link = self._clients.link_of(session)
        return session.backlog if link is None else link.outbox


def _of_link(attribute: str) -> _Key:
    """Sort by what is known of the link."""

    def value(observer: Observer, session: Session, now: float) -> float | None:
        quality = observer._way(session)
        return None if quality is None else getattr(quality, attribute)

    return value


def _bandwidth(observer: Observer, session: Session, now: float) -> float | None:
    ways = [_of_link(attribute)(observer, session, now) for attribute in ("bandwidth_in", "bandwidth_out")]
    known = [way for way in ways if way is not None]
    return sum(known) if known else None


_Key = Callable[[Observer, Session, float], Optional[float]]

_KEYS: dict[str, _Key] = {
    "score": _of_link("score"),
    "id": lambda observer, session, now: session.id,
    "age": Observer._age,
    "queue": Observer._queue,
    "in": _of_link("bandwidth_in"),
    "out": _of_link("bandwidth_out"),
    "bandwidth": _bandwidth,
    "rtt": _of_link("latency"),
    "loss": _of_link("loss"),
    "jitter": _of_link("jitter"),
}
