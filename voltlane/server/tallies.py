"""What was counted, as values that do not change again."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..core.counters import Counters
from ..core.histogram import Histogram
from ..reasons import AdminEnd, CloseReason, EndReason, Hold, StoreEnd
from ..statistics import Distribution

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
    """Those of one process."""
    values = {name: getattr(counters, name) for name in Counters.__slots__}
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
