"""The last quarter of an hour as JSON: whole at /history, and its end in each snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core.timeline import Point, Timeline

LATEST = 5
"""Points that come with a snapshot: as many seconds may pass between two of these before one is missed."""


def history(timeline: Timeline) -> dict[str, Any]:
    """All of it, by columns: ten seconds each, and the last two minutes by the second."""
    return {
        "bounds": {"turn": timeline.turn_bounds, "round_trip": timeline.round_trip_bounds},
        "tens": columns(timeline.tens.points),
        "seconds": columns(timeline.seconds.points),
    }


def recent(timeline: Timeline) -> dict[str, Any]:
    """What has come to it, and what happened in the last minute by reason."""
    return {"seconds": columns(list(timeline.seconds.points)[-LATEST:]), "minute": timeline.last_minute()}


def columns(points: Iterable[Point]) -> dict[str, list[Any]]:
    """Points by the names of what is in them, which are those of `core.timeline.Point`."""
    whole = zip(*points)
    return dict(zip(Point._fields, map(list, whole))) or {name: [] for name in Point._fields}
