"""What a running server consists of, and how its parts are joined.

clients ⇄ lanes ⇄ Hub ⇄ Trunk ⇄ MasterConnection ⇄ master
                   │
                Registry (sessions)                           all of it on one Reactor
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from ..cluster.handover.heritage import Heritage
from ..config import Config
from ..core.admission import Admission
from ..core.budget import Budget
from ..core.counters import Counters
from ..core.hub import BacklogLimits, Hub
from ..core.ids import clock_ids
from ..core.meter import MeterLimits
from ..core.protocols.handshake import HandshakeContext
from ..core.protocols.table import revive
from ..core.protocols.terms import Terms
from ..core.readiness import Event, Readiness
from ..core.registry import Registry
from ..core.timers import Timer
from ..lanes.clients import Clients
from ..lanes.connection_log import ConnectionLog
from ..lanes.entry.arrival import Arrivals
from ..lanes.entry.doors import Doors
from ..lanes.entry.entrance import Entrance
from ..lanes.entry.gate import Gate
from ..lanes.entry.proxies import Proxies
from ..lanes.fairness.pressure import PressureLimits
from ..lanes.fairness.sampler import Sampler
from ..lanes.fairness.shed import Shedder
from ..lanes.posts import Posts
from ..lanes.quiet import QuietReads
from ..lanes.quiet_records import QuietRecords
from ..lanes.quiet_websockets import QuietWebSockets
from ..lanes.receipts import ReceiptLimits
from ..lanes.web.site import Site
from ..net.certificates import Certificates, TlsOptions
from ..net.machine import available_memory
from ..net.reactor import Reactor
from ..ops.certificate_log import CertificateLog
from ..ops.log import log
from ..ops.slow_log import SlowLog
from ..reasons import CloseReason, DatagramDrop, Hold
from ..store.keys import Keys
from ..store.no_store import NoStore
from ..store.opening import open_store
from ..trunk.firehose import Firehose
from ..trunk.trunk import Trunk, TrunkLimits
from ..wire.crypto import KeyPair
from .drain import Drain
from .listening import listens_for_datagrams

if TYPE_CHECKING:
    from ..cluster.node import Node
    from ..cluster.redis.link import Link
    from ..lanes.udp.lane import UdpLane

EXIT_NO_MASTER = 4
EXIT_NOT_KEPT = 5


class Part(NamedTuple):
    """Of a server that is several processes: what all of them have, for one of them."""

    keys: Keys
    admission: Admission


class Parts:
    """One server's. Nothing is bound and nobody is dialled yet."""

    def __init__(
        self,
        config: Config,
        key: KeyPair | None,
        reactor: Reactor | None,
        heritage: Heritage | None = None,
        part: Part | None = None,
    ) -> None:
        """`heritage`: of the process that this one is to follow, if there is one."""
        master, clients = config.master, config.clients
        self.config = config
        self.exit_code = 0
        self.stopping = False
        self.counters = Counters()
        self.readiness = Readiness()
        self._slow = SlowLog()
        self.reactor = reactor or Reactor()
        self.reactor.on_callback_error = self._on_bug
        self.reactor.on_slow = self._on_slow
        self.budget = Budget(memory_for_queues(config))
        self.node = self._open_node()
        self.link: Link | None = None if self.node is None else self.node.link
        """To the store that several servers have in common, if this is one of several."""
        if self.node is None:
            keys = None if part is None else part.keys
            self.store = open_store(config.general, self.reactor, self.counters, key, heritage, keys)
        else:
            self.store = NoStore(*self.node.keys(key, heritage))
        self.trunk = Trunk(
            self.reactor,
            self.counters,
            TrunkLimits.of(master),
            self.budget,
            on_full=self._on_trunk_full,
            on_room=self._on_trunk_room,
            on_lost=self._on_master_lost,
            datagrams=master.datagrams,
        )
        self.hub = Hub(self.trunk, self.counters, BacklogLimits.of(clients), self.budget)
        self.registry = Registry(
            stale_timeout=clients.stale_timeout_secs,
            reap_interval=clients.stale_reap_interval_secs,
            max_stale=clients.max_stale_clients,
            on_end=self.hub.ended,
            on_stale=self._on_stale,
            now=self.reactor.now,
            ids=clock_ids(config.general.node, time.time(), self.reactor.now),
            epoch=self.store.epoch,
            revive=revive,
        )
        self.trunk.hub = self.hub
        self.hub.registry = self.registry
        self.connection_log = ConnectionLog(self.reactor, self.counters)
        self.clients = Clients(
            self.reactor,
            self.hub,
            self.trunk,
            self.counters,
            self.connection_log,
            clients.packet_size_limit,
            PressureLimits.of(clients),
            MeterLimits.of(clients),
            self.budget,
            ReceiptLimits.of(clients),
            config.socket.linger_secs == 0,
            self._on_crowd,
        )
        self.clients.heartbeat.secs = config.web.ping_secs
        self.trunk.on_written = self.clients.receipts.look
        QuietReads(self.clients)
        QuietRecords(self.clients)
        QuietWebSockets(self.clients)
        self.certificates = Certificates(TlsOptions.of(config.tls), CertificateLog())
        self.terms = Terms(clients, self.store.next_keys)
        self.admission = Admission(config.limits) if part is None else part.admission
        self.proxies = Proxies(self.reactor, self.admission, config.listener, config.web)
        self.doors = Doors(self.certificates, Site(config.web, Posts(self.clients)), self.proxies)
        self.arrivals = Arrivals(
            self.reactor,
            HandshakeContext(
                self.store.key, self.store.channel_key, self.registry, self.budget, self.terms, os.urandom
            ),
            self.counters,
            self.connection_log,
            self.clients.turns,
            clients.handshake_secs,
            config.listener.proxy_secs,
            self.doors,
            self.clients.begin,
        )
        if self.node is not None:
            self.node.join(self.hub, self.trunk, self.clients.begin, self.clients.settle)
            self.arrivals.on_session = self.node.entry.begin
            self.node.link.watchers.append(self._on_store)
        self.sampler = Sampler(self.reactor, self.clients.turns, config.quality.sample_secs)
        self.shedder = Shedder(self.reactor, self.hub, self.budget, self.sampler)
        self.gate = Gate(self.reactor, self.admission, self.connection_log, self.arrivals.accept, self.proxies)
        self.entrance = Entrance(self.reactor, self.counters, self.gate.accept)
        self.entrance.limit_rate(config.limits.accept_rate)
        self.datagrams: UdpLane | None = None
        """What comes and goes in datagrams, if there is an address for that."""
        if listens_for_datagrams(config):
            self.have_datagrams(config.udp.mode)
        self.firehose = Firehose(
            self.reactor,
            self.trunk,
            self.readiness,
            master,
            on_connected=self._on_master,
            on_give_up=self._on_no_master,
        )
        self.drain = Drain(self.reactor, self.readiness, self.clients, self.arrivals, self.gate, self.trunk)
        self._reaping: Timer | None = None
        self.store.restore(self.registry, self.hub, self.trunk)

    def configure(self, config: Config) -> None:
        """Go by these settings from now on; only the live ones may differ from what `config` was.

        When a part cannot, all go by what was before, and its error is raised.
        """
        before = self.config
        try:
            self.apply(config)
        except Exception:
            self.reactor.guard(None, self.apply, before)
            raise
        self.config = config
        for part in (self.clients.pressure, self.registry, self.admission):
            self.reactor.guard(None, part.catch_up)  # what cannot be undone, once nothing has to be

    def apply(self, config: Config) -> None:
        """Tell each part the settings that it goes by. Told others next, it is as if it had never heard of these."""
        master, clients = config.master, config.clients
        self.budget.configure(memory_for_queues(config))  # of which the clients have a share
        self.clients.configure(
            clients.packet_size_limit, PressureLimits.of(clients), MeterLimits.of(clients), ReceiptLimits.of(clients)
        )
        self.terms.configure(clients)
        self.certificates.configure(TlsOptions.of(config.tls))
        self.arrivals.configure(clients.handshake_secs, config.listener.proxy_secs)
        self.trunk.configure(TrunkLimits.of(master))
        self.hub.configure(BacklogLimits.of(clients))
        self.registry.configure(
            stale_timeout=clients.stale_timeout_secs,
            reap_interval=clients.stale_reap_interval_secs,
            max_stale=clients.max_stale_clients,
            now=self.reactor.now,
        )
        self._rearm_reaping()
        if self.node is not None:
            self.node.configure(config)
        self.admission.configure(config.limits)
        self.proxies.configure(config.listener, config.web)
        self.doors.site.configure(config.web)
        self.clients.heartbeat.configure(config.web.ping_secs)
        self.entrance.limit_rate(config.limits.accept_rate)
        self.firehose.configure(master)
        self.sampler.configure(config.quality.sample_secs)
        if self.datagrams is not None:
            self.datagrams.configure(config)

    def seal(self) -> None:
        """Nobody comes any more, and sessions are as they are now: what becomes of connections is no news of them."""
        self.arrivals.close()
        self.store.seal()
        if self.node is not None:
            self.node.seal()

    def close(self) -> None:
        """Close everything that is open; what has to outlive the process is written down."""
        self.entrance.close()
        self.firehose.stop()
        if self.datagrams is not None:
            self.datagrams.close()
        self.sampler.stop()
        self.clients.heartbeat.stop()
        self.arrivals.relays.close()
        self.seal()
        self.trunk.close(CloseReason.SHUTDOWN)
        self.clients.farewell(self.store.keeps)
        self.connection_log.sum_up()
        if self.node is not None:
            self.clients.receipts.on_flush()
            self.node.leave()
        if not self.store.leave():
            self.exit_code = EXIT_NOT_KEPT
        if self._reaping is not None:
            self.reactor.cancel(self._reaping)

    def _open_node(self) -> Node | None:
        if not self.config.cluster.url:
            return None
        from ..cluster.node import Node  # here, for a server that is alone does without all of that

        return Node(self.reactor, self.config, self.counters, self.budget)

    def have_datagrams(self, mode: str) -> None:
        """Be ready for datagrams, in this mode, unless that is so already."""
        if self.datagrams is not None:
            return
        from ..lanes.udp.relay import OpenRelay  # here: without such an address nothing of it is loaded
        from ..lanes.udp.sessions import SessionDatagrams

        lane: UdpLane
        if mode == "open":
            lane = OpenRelay(self.clients, self.config, self.admission, self._why_no_strangers, self.sampler)
        else:
            lane = SessionDatagrams(self.clients, self.config)
        self.sampler.also = lane.measure_some
        self.datagrams = self.hub.datagrams = lane

    def _why_no_strangers(self) -> DatagramDrop | None:
        if Hold.MASTER in self.entrance.holds:
            return DatagramDrop.NO_MASTER
        holds = self.entrance.holds - {Hold.UPGRADE}  # there are no handshakes to wait for
        ends = self.readiness.leaving and self.drain.progress is None
        shut = self.gate.shut is not None or ends
        return DatagramDrop.NOT_ADMITTED if holds or shut else None

    def _on_store(self) -> None:
        if self.link is not None and not self.readiness.leaving:  # then it has other things to say
            self.readiness.note("" if self.link.up else f"without the store: it {self.link.text}")

    # ---- the master

    def _on_master(self) -> None:
        self.entrance.release(Hold.MASTER)

    def _on_master_lost(self, reason: CloseReason, detail: str) -> None:
        self.firehose.lost(reason, detail)

    def _on_no_master(self) -> None:
        self.exit_code = EXIT_NO_MASTER
        self.readiness.move(Event.STOP)
        self.reactor.stop()

    def _on_trunk_full(self) -> None:
        log.debug("the master's outbox is full: clients are not read")
        self.clients.turns.pause()
        self.sampler.look()  # whose link is best is read first when there is room

    def _on_trunk_room(self) -> None:
        self.clients.resume()

    # ---- sessions

    def _on_stale(self) -> None:
        if self._reaping is None:
            deadline = self.registry.next_reap()
            if deadline is not None:
                self._reaping = self.reactor.call_at(deadline, self._reap)

    def _rearm_reaping(self) -> None:
        if self._reaping is not None:
            self.reactor.cancel(self._reaping)
            self._reaping = None
        self._on_stale()

    def _reap(self, now: float) -> None:
        self._reaping = None
        try:
            self.registry.reap(now)
        finally:
            self._on_stale()

    # ---- trouble

    def _on_crowd(self, crowded: bool) -> None:
        if crowded:
            self.entrance.hold(Hold.CROWD)
        else:
            self.entrance.release(Hold.CROWD)

    def _on_slow(self, name: str, seconds: float) -> None:
        self._slow.note(name, seconds, self.reactor.now)

    def on_unwritten(self, lines: int) -> None:
        """So many lines of the log could not be written."""
        self.counters.log_unwritten += lines

    def _on_bug(self, handler: object, error: Exception) -> None:
        self.counters.internal_errors += 1
        log.error("internal error, please report it", exc_info=error)


def memory_for_queues(config: Config) -> int:
    """Bytes for everything that is queued."""
    return config.limits.memory_bytes or available_memory() // 2
