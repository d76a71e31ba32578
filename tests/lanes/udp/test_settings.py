"""The live settings of [udp] are what both modes go by, from a reload on (see also server/test_reload)."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from kit.udp_world import udp_world

from voltlane import config
from voltlane.config import SETTINGS

SEALED: dict[str, tuple[object, Callable[[Any], object]]] = {
    "udp.as_data": (True, lambda lane: lane._flag == 0),
    "udp.fallback": ("drop", lambda lane: "stream" if lane.falls_back else "drop"),
    "udp.keepalive_secs": (7.0, lambda lane: lane._keepalive),
    "udp.queue_bytes": (7, lambda lane: lane.queue_bytes),
}
OPEN: dict[str, tuple[object, Callable[[Any], object]]] = {
    "udp.new_rate": (7.0, lambda lane: lane._gate._strangers._rate),
    "udp.network_rate": (7.0, lambda lane: lane._gate._strangers._network_rate),
    "udp.peers": (7, lambda lane: lane._most),
    "udp.idle_secs": (7.0, lambda lane: lane._idle_secs),
    "udp.amplification": (7.0, lambda lane: lane._factor),
    "udp.cookie": (True, lambda lane: lane._gate._asks),
}


def test_each_live_setting_is_one_of_them():
    assert {*SEALED, *OPEN} == {row.name for row in SETTINGS.values() if row.live and row.section == "udp"}


@pytest.mark.parametrize(
    ("mode", "name"), [*(("sessions", name) for name in SEALED), *(("open", name) for name in OPEN)]
)
def test_it_is_used_from_then_on(mode: str, name: str):
    value, where = (SEALED if mode == "sessions" else OPEN)[name]
    with udp_world(mode) as world:
        before = where(world.udp)
        assert before != value
        world.server.source = lambda: config.load(None, {}, {**listening(world.server.config), name: value})
        world.server.reload()
        assert where(world.udp) == value
        world.server.source = lambda: config.load(None, {}, listening(world.server.config))
        world.server.reload()
        assert where(world.udp) == before


def listening(running: config.Config) -> dict[str, object]:
    return {"listener.address": running.listener.address, "udp.mode": running.udp.mode}
