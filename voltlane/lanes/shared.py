"""What all clients' connections share: where they read into, whose policies they go by, whom they pass things on to."""

from __future__ import annotations

from typing import Callable

from ..core.budget import Budget
from ..core.counters import Counters
from ..core.history import Histories
from ..core.hub import Hub
from ..core.meter import MeterLimits
from ..core.trunk import Trunk
from ..net.memory import receive_buffer
from ..net.reactor import Reactor
from ..reasons import CloseReason
from ..wire.aead import workspace
from ..wire.batch.views import LARGE
from ..wire.noise import MESSAGE_MAX
from ..wire.tagged import TAG_SIZE
from .connection_log import ConnectionLog
from .fairness.client import Client
from .fairness.meter import Meters
from .fairness.pressure import Pressure, PressureLimits
from .fairness.turns import QUANTUM, Turns
from .partial import SMALL
from .receipts import ReceiptLimits, Receipts
from .web.heartbeat import Heartbeat
from .windows import Windows

QUIET = 1024
"""Payload bytes up to which a packet that comes alone is tagged where it was received: see `quiet`."""


class Shared:
    """One server's. `resets`: whether every connection is reset when it is closed. `on_crowd` as for Turns."""

    def __init__(
        self,
        reactor: Reactor,
        hub: Hub,
        trunk: Trunk,
        counters: Counters,
        log: ConnectionLog,
        packet_size_limit: int,
        pressure: PressureLimits,
        meter: MeterLimits,
        budget: Budget,
        receipts: ReceiptLimits,
        resets: bool,
        on_crowd: Callable[[bool], None],
    ) -> None:
        self.reactor = reactor
        self.hub = hub
        self.trunk = trunk
        self.counters = counters
        self.log = log
        self.budget = budget
        self.resets = resets
        # Room for a tag, the kept part of a small frame, and a quantum read behind it.
        self.scratch = receive_buffer(TAG_SIZE + SMALL + QUANTUM)
        self.view = memoryview(self.scratch)
        self.behind_tag = self.view[TAG_SIZE:]
        self.space = workspace(MESSAGE_MAX, len(self.scratch), self.scratch)
        self.turns = Turns(reactor, on_crowd)
        self.heartbeat = Heartbeat(reactor, self.turns)
        self.pressure = Pressure(reactor, hub, trunk, self.turns, pressure)
        self.meters = Meters(reactor, trunk, self.turns, counters, meter)
        self.receipts = Receipts(reactor, trunk, receipts.secs)
        self.histories = Histories(budget)
        self.windows = Windows(budget, receipts.window)
        self.on_records: Callable[[bool], None] = lambda any_: None
        """Called when the first client of version 3 comes, with True, and when the last one has left, with False."""
        self.websockets = 0
        """How many connections have a WebSocket's data path."""
        self.on_websockets: Callable[[bool], None] = lambda any_: None
        """The same as `on_records`, of these."""
        self.retired: dict[int, tuple[Client, CloseReason]] = {}
        """By the ids of their sessions, which have been left to wait: who is still read to the end, and why it ends."""
        self.limit_packets(packet_size_limit)

    def configure_receipts(self, limits: ReceiptLimits) -> None:
        """Go by these limits from now on."""
        self.receipts.secs, self.windows.most = limits.secs, limits.window

    def limit_packets(self, size: int) -> None:
        """Let packets have so many bytes at most, from now on."""
        self.packet_size_limit = size
        self.small = min(LARGE, size)
        self.quiet = min(QUIET, size)
