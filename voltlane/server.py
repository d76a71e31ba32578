"""The composition root: what a running Voltlane consists of, and how its parts are joined.

clients ⇄ ClientEdge ⇄ Hub ⇄ Trunk ⇄ MasterConnection ⇄ master
                        │
                     Registry (sessions)                       all of it on one Reactor
"""

from __future__ import annotations

import platform
import signal
import socket
from collections.abc import Iterable
from dataclasses import astuple
from math import ceil
from typing import TYPE_CHECKING, Callable

from .address import Address, parse_address
from .config import Config
from .core.admission import Admission
from .core.budget import Budget
from .core.counters import Counters
from .core.handshake import Grounds
from .core.hub import BacklogLimits, Hub
from .core.registry import Registry
from .core.timers import Timer
from .edges.connection_log import ConnectionLog
from .edges.entrance import Entrance
from .edges.gate import Gate
from .edges.greeting import Greetings
from .edges.master import Trunk, TrunkLimits
from .edges.meter import MeterLimits
from .edges.pressure import PressureLimits
from .edges.quiet import QuietReads
from .edges.sampler import Sampler
from .edges.shed import Shedder
from .edges.tcp import ClientEdge
from .farewell import Farewell
from .firehose import Firehose
from .net.machine import available_memory
from .net.reactor import Reactor
from .net.sockets import SocketOptions, raise_descriptor_limit, set_keepalive
from .net.wakeup import Wakeup
from .observe import Observer
from .ops.log import log
from .ops.slow import SlowLog
from .oversight import Oversight
from .readiness import Event, Readiness, State
from .reasons import CloseReason, Hold
from .reload import reload
from .state import state_lines
from .statistics import ClientRow, ClientsPage, Statistics
from .store.vault import open_vault
from .version import __version__
from .wire import batch, curve
from .wire.crypto import KeyPair

if TYPE_CHECKING:
    from .admin.endpoint import Endpoint

EXIT_NO_MASTER = 4


class Server:
    """One connection server. `start` binds, `run` serves until `stop` or a signal, and returns the exit code."""

    def __init__(self, config: Config, *, key: KeyPair | None = None, reactor: Reactor | None = None) -> None:
        self.config = config
        self.counters = Counters()
        self.readiness = Readiness()
        self.source: Callable[[], Config] | None = None
        """Where to load the settings from again (SIGHUP). Raises ConfigError."""
        self.on_configure: list[Callable[[Config], None]] = []
        """Who else wants to hear of settings that have changed."""
        self.exit_code = 0
        self._slow = SlowLog()
        self.reactor = reactor or Reactor()
        self.reactor.on_callback_error = self._on_bug
        self.reactor.on_slow = self._on_slow
        self.budget = Budget(_memory(config))
        master, clients = config.master, config.clients
        self.vault = open_vault(config.general, self.reactor, self.counters, key)
        self.trunk = Trunk(
            self.reactor,
            self.counters,
            TrunkLimits.of(master),
            self.budget,
            on_full=self._on_trunk_full,
            on_room=self._on_trunk_room,
            on_lost=self._on_master_lost,
        )
        self.hub = Hub(
            self.trunk,
            self.counters,
            BacklogLimits.of(clients),
            self.budget,
        )
        self.registry = Registry(
            stale_timeout=clients.stale_timeout_secs,
            reap_interval=clients.stale_reap_interval_secs,
            max_stale=clients.max_stale_clients,
            on_end=self.hub.ended,
            on_stale=self._on_stale,
            now=self.reactor.now,
        )
        self.trunk.hub = self.hub
        self.hub.registry = self.registry
        self.connection_log = ConnectionLog(self.reactor, self.counters)
        self.clients = ClientEdge(
            self.reactor,
            self.hub,
            self.trunk,
            self.counters,
            self.connection_log,
            clients.packet_size_limit,
            PressureLimits.of(clients),
            MeterLimits.of(clients),
            self.budget,
            self._on_crowd,
        )
        QuietReads(self.reactor, self.clients)
        self.greetings = Greetings(
            self.reactor,
            Grounds.of(self.vault.key, self.registry, self.budget),
            self.counters,
            self.connection_log,
            self.clients.turns,
            clients.handshake_secs,
            self.clients.begin,
        )
        self.sampler = Sampler(self.reactor, self.clients.turns, config.quality.sample_secs)
        self.shedder = Shedder(self.reactor, self.hub, self.budget, self.sampler)
        self.admission = Admission(config.limits)
        self.gate = Gate(self.reactor, self.admission, self.connection_log, self.greetings.accept, config.listener)
        self.entrance = Entrance(self.reactor, self.counters, self.gate.accept)
        self.entrance.limit_rate(config.limits.accept_rate)
        self.firehose = Firehose(
            self.reactor,
            self.trunk,
            self.readiness,
            master,
            on_connected=self._on_master,
            on_give_up=self._on_no_master,
        )
        self.observer = Observer(
            config, self.reactor, self.counters, self.registry, self.greetings, self.clients, self.trunk, self.sampler
        )
        self.wakeup = Wakeup(self.reactor, self._on_stop)
        self._stopping = False
        self._reaping: Timer | None = None
        self.admin: Endpoint | None = None
        """Once `start` has opened it, if `admin.address` is set."""
        self.vault.restore(self.registry, self.hub, self.trunk)

    # ---- life

    def start(self, listening: Iterable[socket.socket] = ()) -> None:
        """Bind the listening addresses, or take over sockets that listen already. Raises StartupError.

        Clients may connect from now on, but wait in the kernel's queue until there is a master.
        """
        self.entrance.limit_descriptors(raise_descriptor_limit())
        clients, socks = self.config.clients, list(listening)
        if socks:
            self.entrance.adopt(socks)
        else:
            listener = self.config.listener
            mode = int(listener.unix_mode, 8) if listener.unix_mode else None
            socks = self.entrance.open(map(parse_address, listener.address), mode)
        for sock in socks:
            SocketOptions(*astuple(self.config.socket)).apply(sock)
            set_keepalive(sock, ceil(clients.keepalive_secs), ceil(clients.user_timeout_secs))
        if self.config.admin.address:
            self.admin = self._open_admin()
        self.vault.begin()

    @property
    def listen_addresses(self) -> list[Address]:
        """Where clients connect to, once `start` has bound it."""
        return self.entrance.addresses

    @property
    def listen_address(self) -> Address | None:
        """The first of them."""
        return self.entrance.addresses[0] if self.entrance.addresses else None

    def run(self) -> int:
        """Serve until `stop`, SIGTERM or SIGINT. The process's exit code."""
        if not self.entrance.is_open:
            self.start()
        with self.wakeup.on_signals(self._signals()):
            self.readiness.move(Event.LISTENING)
            log.info(
                "voltlane %s, %s %s, wire loops: %s, curve: %s",
                __version__,
                platform.python_implementation(),
                platform.python_version(),
                batch.BACKEND,
                curve.BACKEND,
            )
            log.info("memory for all that is queued: %d MiB", self.budget.limit >> 20)
            for address in self.listen_addresses:
                log.info("clients connect to %s", address)
            self.firehose.start()
            self.reactor.run()
            self._close()
        self.wakeup.close()
        self.reactor.close()
        return self.exit_code

    def stop(self) -> None:
        """Let `run` finish. May be called from another thread or a signal handler."""
        self.wakeup.wake()

    def _signals(self) -> dict[int, Callable[[], None]]:
        actions: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGUSR1: self.log_state,
        }
        if self.source is not None:
            actions[signal.SIGHUP] = self.reload
        return actions

    def _on_stop(self) -> None:
        """Somebody asks us to stop; who asks twice does not want to wait."""
        if self._stopping:
            self.reactor.stop()
            return
        log.info("stopping")
        self._stopping = True
        self.readiness.move(Event.LEAVING)
        self.firehose.stop()
        self.entrance.close()
        self.gate.close()
        self.clients.turns.pause()
        Farewell(self.reactor, self.clients, self.trunk, self.config.general.shutdown_secs, self.reactor.stop)

    def log_state(self) -> None:
        """Write what the server is doing to the log."""
        for line in state_lines(self):
            log.info("state: %s", line)

    def _close(self) -> None:
        self.entrance.close()
        self.gate.close()
        self.firehose.stop()
        self.vault.seal()
        self.sampler.stop()
        self.greetings.close()
        self.clients.farewell()
        self.connection_log.sum_up()
        self.trunk.close(CloseReason.SHUTDOWN)
        if self.admin is not None:
            self.admin.close()
        self.vault.leave()
        if self._reaping is not None:
            self.reactor.cancel(self._reaping)

    # ---- settings

    def reload(self) -> None:
        """Take the settings from their source again, those that a running server can change."""
        if self.source is not None:
            reload(self.config, self.source, self.configure)

    def configure(self, config: Config) -> None:
        """Go by these settings from now on; only the live ones may differ from what `config` was."""
        self.config = config
        master, clients = config.master, config.clients
        self.clients.configure(clients.packet_size_limit, PressureLimits.of(clients), MeterLimits.of(clients))
        self.greetings.configure(clients.handshake_secs)
        self.trunk.configure(TrunkLimits.of(master))
        self.hub.configure(BacklogLimits.of(clients))
        self.budget.configure(_memory(config))
        self.registry.configure(
            stale_timeout=clients.stale_timeout_secs,
            reap_interval=clients.stale_reap_interval_secs,
            max_stale=clients.max_stale_clients,
            now=self.reactor.now,
        )
        self._rearm_reaping()
        self.admission.configure(config.limits)
        self.gate.configure(config.listener)
        self.entrance.limit_rate(config.limits.accept_rate)
        self.firehose.configure(master)
        self.sampler.configure(config.quality.sample_secs)
        for watcher in self.on_configure:
            watcher(config)

    # ---- the master

    def _on_master(self) -> None:
        self.entrance.release(Hold.MASTER)

    def _on_master_lost(self, reason: CloseReason, detail: str) -> None:
        self.firehose.lost(reason, detail)

    def _on_no_master(self) -> None:
        self.exit_code = EXIT_NO_MASTER
        self.reactor.stop()

    def _on_trunk_full(self) -> None:
        log.debug("the master's outbox is full: clients are not read")
        self.clients.turns.pause()
        self.sampler.look()  # whose link is best is read first when there is room

    def _on_trunk_room(self) -> None:
        if not self._stopping:  # it reads nobody any more
            self.clients.turns.resume()

    # ---- the operator

    def expel(self, client_id: int) -> bool:
        """End a client's session, and tell the master; whether there was one."""
        session = self.registry.sessions.get(client_id)
        if session is not None:
            log.info("the operator kicks client %d", client_id)
            self.hub.expel(session)
        return session is not None

    def drain(self) -> None:
        """Accept nobody any more, for good; who is here stays until they leave, or until `stop`."""
        if self.readiness.state is not State.DRAINING:
            log.info("draining: nobody is accepted any more")
            self.readiness.move(Event.LEAVING)
            self.entrance.close()

    def _open_admin(self) -> Endpoint:
        from .admin.endpoint import Endpoint  # here, for it takes packages that not everybody has

        admin = self.config.admin
        endpoint = Endpoint(self.reactor, parse_address(admin.address), admin.token, Oversight(self))
        log.info("the admin endpoint is at %s", endpoint.address)
        self.connection_log.watcher = endpoint.recorder
        return endpoint

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

    # ---- looking at it

    def statistics(self) -> Statistics:
        """Everything that is counted and measured, as one moment that does not change again."""
        return self.observer.statistics()

    def clients_page(
        self, sort: str = "score", *, offset: int = 0, limit: int = 100, descending: bool = False
    ) -> ClientsPage:
        """Some of the clients, live and stale, in order (`statistics.SORT_KEYS`). Raises ValueError for another key."""
        return self.observer.page(sort, offset, limit, descending)

    def client(self, client_id: int) -> ClientRow | None:
        """One client, or None."""
        return self.observer.client(client_id)

    # ---- trouble

    def _on_crowd(self, crowded: bool) -> None:
        if crowded:
            self.entrance.hold(Hold.CROWD)
        else:
            self.entrance.release(Hold.CROWD)

    def _on_slow(self, name: str, seconds: float) -> None:
        self._slow.note(name, seconds, self.reactor.now)

    def _on_bug(self, handler: object, error: Exception) -> None:
        self.counters.internal_errors += 1
        log.error("internal error, please report it", exc_info=error)


def _memory(config: Config) -> int:
    """Bytes for everything that is queued."""
    return config.limits.memory_bytes or available_memory() // 2
