"""What each worker has of the settings: its own node, its own part of the state directory, and its share of what is
limited for all of them together."""

from __future__ import annotations

import os
from dataclasses import replace

from ...config import Config
from ...errors import ConfigError
from .directories import directory_of


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count_of(config: Config) -> int:
    """How many workers these settings ask for; 1: none, but one process. Raises ConfigError."""
    general = config.general
    if general.workers:
        return general.workers
    count = min(cores(), 64)
    replace(config, general=replace(general, workers=count))  # which is judged like one that was given
    return count


def share_of(config: Config, index: int, workers: int, memory: int) -> Config:
    """The settings of one worker of so many. `memory`: bytes for everything that is queued, in all of them. Raises
    ConfigError."""
    general, limits, clients, udp = config.general, config.limits, config.clients, config.udp
    state_dir = directory_of(general.state_dir, index) if general.state_dir else ""
    part = memory // workers
    if part < config.master.outbox_bytes:
        raise ConfigError(
            f"limits.memory_bytes = {memory} is {part} for each of {workers} workers, which is less than "
            f"master.outbox_bytes = {config.master.outbox_bytes}"
        )
    return replace(
        config,
        general=replace(general, node=general.node + index, state_dir=state_dir, workers=1, stay=False),
        limits=replace(limits, memory_bytes=part, accept_rate=0.0),
        clients=replace(clients, max_stale_clients=-(-clients.max_stale_clients // workers)),
        admin=replace(config.admin, address=""),
        udp=replace(
            udp,
            peers=-(-udp.peers // workers),
            new_rate=udp.new_rate / workers,
            network_rate=udp.network_rate / workers,
        ),
    )
