"""What was counted, as values that do not change again."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..core.counters import OF_DATAGRAMS, Counters
from ..core.histogram import Histogram
from ..reasons import AdminEnd, CloseReason, DatagramDrop, EndReason, Hold, StoreEnd
from ..statistics import DatagramFigures, Distribution

_EVERY_REASON: dict[str, type[enum.Enum]] = {
    "closed": CloseReason,
    "ended": EndReason,
    "held": Hold,
    "admin": AdminEnd,
    "store": StoreEnd,
}


class Tallies(NamedTuple):
    """See Statistics."""

    counts: Mapping[str, int]
    reasons: Mapping[str, Mapping[enum.Enum, int]]
    latencies: Mapping[str, Distribution]


def tallies_of(counters: Counters) -> Tallies:
    """Those of one process, but for what becomes of datagrams."""
    values = {name: getattr(counters, name) for name in Counters.__slots__ if name not in OF_DATAGRAMS}
    reasons = {
        name: MappingProxyType({**dict.fromkeys(_EVERY_REASON[name], 0), **value})
        for name, value in values.items()
        if isinstance(value, Counter) and name in _EVERY_REASON
    }
    latencies = {name: value.distribution() for name, value in values.items() if isinstance(value, Histogram)}
    return Tallies(
        MappingProxyType({name: value for name, value in values.items() if isinstance(value, int)}),
        MappingProxyType(reasons),
        MappingProxyType(latencies),
    )


def dropped_by(counters: Counters) -> Mapping[enum.Enum, int]:
    """Datagrams that were dropped, by reason: none is left out."""
    return MappingProxyType({reason: counters.datagrams_dropped[reason] for reason in DatagramDrop})


def datagrams_of(counters: Counters, channels: int, peers: int) -> DatagramFigures:
    """The others, with how many clients have them at this moment."""
    return DatagramFigures(
        packets_up=counters.datagrams_up,
        packets_down=counters.datagrams_down,
        bytes_up=counters.datagram_bytes_up,
        bytes_down=counters.datagram_bytes_down,
        channels=channels,
        peers=peers,
        roamed=counters.roamed,
        challenges=counters.challenged,
    )
