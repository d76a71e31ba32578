"""Figures of several processes: as they go from one to another, and added up."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Callable, TypeVar

from ...core.timeline import Counts, Totals
from ...reasons import AdminEnd, CloseReason, DatagramDrop, EndReason, Hold, StoreEnd
from ...statistics import (
    CertificateFigures,
    Clients,
    DatagramFigures,
    Distribution,
    Draining,
    LaneFigures,
    Links,
    Loop,
    MasterLink,
    ProtocolFigures,
    Queues,
    Statistics,
    StoreFigures,
)

_REASONS: dict[str, type[enum.Enum]] = {
    "closed": CloseReason,
    "ended": EndReason,
    "held": Hold,
    "admin": AdminEnd,
    "store": StoreEnd,
}
_REASONS_OF_SOME: dict[str, type[enum.Enum]] = {"dropped_datagrams": DatagramDrop}
"""That not every process has."""
_OF_THE_PARENT = ("held", "admin")
"""Reasons that only the process counts which accepts, and has the admin endpoint."""
T = TypeVar("T")


# ---- there and back


def plain(statistics: Statistics) -> dict[str, Any]:
    """As values that JSON has."""
    return {
        **statistics._asdict(),
        "counts": dict(statistics.counts),
        "reasons": {
            name: {reason.name: count for reason, count in counts.items() if count}
            for name, counts in statistics.reasons.items()
        },
        "latencies": dict(statistics.latencies),
        "loop": [*statistics.loop[:3], dict(statistics.loop.phases)],
        "lanes": dict(statistics.lanes),
        "protocols": dict(statistics.protocols),
        "workers": (),
    }


def from_plain(data: Mapping[str, Any]) -> Statistics:
    """What `plain` gave."""
    turns, busy, lag, phases = data["loop"]
    known, *spreads = data["links"]
    reasons = {**_REASONS, **{name: kind for name, kind in _REASONS_OF_SOME.items() if name in data["reasons"]}}
    return Statistics(
        version=data["version"],
        uptime=data["uptime"],
        counts=data["counts"],
        reasons={
            name: {reason: data["reasons"].get(name, {}).get(reason.name, 0) for reason in kind}
            for name, kind in reasons.items()
        },
        latencies={name: _distribution(value) for name, value in data["latencies"].items()},
        clients=Clients(*data["clients"]),
        queues=Queues(*data["queues"]),
        links=Links(known, *map(_distribution, spreads)),
        master=MasterLink(*data["master"]),
        loop=Loop(turns, busy, _distribution(lag), {name: _distribution(value) for name, value in phases.items()}),
        lanes={name: LaneFigures(*value) for name, value in data["lanes"].items()},
        protocols={name: ProtocolFigures(*value) for name, value in data["protocols"].items()},
        certificates=tuple([CertificateFigures(tuple(value[0]), *value[1:]) for value in data["certificates"]]),
        draining=None if data["draining"] is None else Draining(*data["draining"]),
        store=None if data["store"] is None else StoreFigures(*data["store"]),
        datagrams=None if data["datagrams"] is None else DatagramFigures(*data["datagrams"]),
    )


def _distribution(value: list[Any]) -> Distribution:
    bounds, counts, total = value
    return Distribution(tuple(bounds), tuple(counts), total)


def totals_from(data: list[Any]) -> Totals:
    """Totals that came as JSON."""
    totals = Totals(*data)
    return totals._replace(turns=tuple(totals.turns), round_trips=tuple(totals.round_trips))


# ---- together


def counted(statistics: Statistics) -> Statistics:
    """What was counted by a process that is gone: nothing of it is there any more."""
    links, datagrams = statistics.links, statistics.datagrams
    return statistics._replace(
        clients=Clients(0, 0, 0),
        queues=Queues(0, 0, 0, 0, 0, 0, 0, 0),
        links=Links(0, *map(_nothing, links[1:])),
        master=statistics.master._replace(connected=False, full=False, stalled_secs=None, processes=0),
        lanes={name: value._replace(live=0) for name, value in statistics.lanes.items()},
        protocols={name: value._replace(live=0, stale=0) for name, value in statistics.protocols.items()},
        datagrams=None if datagrams is None else datagrams._replace(channels=0, peers=0),
    )


def together(parent: Statistics, parts: list[Statistics]) -> Statistics:
    """All of them as one server's. The parent's uptime is that of all; what only it counts is its alone."""
    everything = [parent, *parts]
    datagrams = [one.datagrams for one in everything if one.datagrams is not None]
    certificates = {one.names: one for part in parts for one in part.certificates}
    return parent._replace(
        counts=_sums([one.counts for one in everything]),
        reasons={
            **_by_name([one.reasons for one in everything], _sums),
            **{name: parent.reasons[name] for name in _OF_THE_PARENT},
        },
        latencies=_by_name([one.latencies for one in everything], _spread),
        clients=Clients(*_columns([one.clients for one in everything])),
        queues=Queues(*_columns([one.queues for one in everything])),
        links=Links(
            sum(one.links.known for one in everything),
            _spread([one.links.latency for one in everything]),
            _spread([one.links.loss for one in everything]),
            _spread([one.links.jitter for one in everything]),
        ),
        master=_master([one.master for one in parts]) if parts else parent.master,
        loop=Loop(
            sum(one.loop.turns for one in everything),
            sum(one.loop.busy_secs for one in everything),
            _spread([one.loop.lag for one in everything]),
            _by_name([one.loop.phases for one in everything], _spread),
        ),
        lanes=_by_name([one.lanes for one in everything], lambda values: LaneFigures(*_columns(values))),
        protocols=_by_name([one.protocols for one in everything], lambda values: ProtocolFigures(*_columns(values))),
        certificates=tuple(certificates.values()),
        datagrams=DatagramFigures(*_columns(datagrams)) if datagrams else None,
    )


def _master(masters: list[MasterLink]) -> MasterLink:
    """Each process's own. The address is that of one that is connected, if any is."""
    first = next((master for master in masters if master.connected), masters[0])
    stalled = [master.stalled_secs for master in masters if master.stalled_secs is not None]
    return first._replace(
        connections=sum(master.connections for master in masters),
        full=any(master.full for master in masters),
        stalled_secs=max(stalled, default=None),
        processes=sum(master.processes for master in masters),
    )


def add_totals(parent: Totals, parts: list[Totals]) -> Totals:
    """All of them as one server's."""
    everything = [parent, *parts]
    sums = {
        name: sum(getattr(one, name) for one in everything)
        for name in Totals._fields
        if name not in ("turns", "round_trips", "reasons")
    }
    return Totals(
        **sums,
        turns=_add([one.turns for one in everything]),
        round_trips=_add([one.round_trips for one in everything]),
        reasons={
            **_by_name([one.reasons for one in everything], _sums),
            **{name: counts for name, counts in parent.reasons.items() if name in _OF_THE_PARENT},
        },
    )


def past_totals(totals: Totals) -> Totals:
    """Those of a process that is gone."""
    return totals._replace(clients=0, stale=0, master_bytes=0, client_bytes=0)


def _nothing(distribution: Distribution) -> Distribution:
    return Distribution(distribution.bounds, (0,) * len(distribution.counts), 0.0)


def _sums(parts: Iterable[Mapping[Any, int]]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for part in parts:
        for name, count in part.items():
            found[name] = found.get(name, 0) + count
    return found


def _by_name(parts: list[Mapping[str, T]], add: Callable[[list[T]], T]) -> dict[str, T]:
    names = dict.fromkeys([name for part in parts for name in part])
    return {name: add([part[name] for part in parts if name in part]) for name in names}


def _columns(rows: Iterable[Iterable[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows)]


def _spread(parts: list[Distribution]) -> Distribution:
    """Of the same bounds."""
    return Distribution(parts[0].bounds, _add([part.counts for part in parts]), sum(part.total for part in parts))


def _add(parts: Iterable[Counts]) -> Counts:
    return tuple([sum(column) for column in zip(*parts)])
