"""The parent of a server that is several processes: it accepts for all of them, starts them, and speaks for them.

listening sockets ▶ Entrance ▶ Gate (Admission) ▶ Crew ▶ workers, each a `WorkerServer` with its own master's connection
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Callable

from ..address import Address, parse_address
from ..cluster.handover.notes import Note
from ..cluster.workers.crew import MOST_WAITING, Crew, Launch
from ..cluster.workers.datagrams import Groups
from ..cluster.workers.directories import divide
from ..cluster.workers.notes import Kind
from ..cluster.workers.worker import Step, Worker
from ..config import Config
from ..core.admission import Admission
from ..core.counters import Counters
from ..core.readiness import Event, Readiness, State
from ..errors import StartupError
from ..lanes.connection_log import ConnectionLog
from ..lanes.entry.entrance import Entrance
from ..lanes.entry.gate import Gate
from ..lanes.entry.proxies import Proxies
from ..net.reactor import Reactor
from ..net.sockets import raise_descriptor_limit
from ..net.wakeup import Wakeup
from ..ops.log import log
from ..ops.slow_log import SlowLog
from ..reasons import Hold
from ..store.directory import StateDirectory
from ..store.keys import kept_keys, new_keys
from .drain_all import DrainOfAll
from .introduction import page_url, say_admin, say_keys, say_listening, say_program
from .listening import Kept, listen
from .parts import EXIT_NO_MASTER
from .reload import reload

if TYPE_CHECKING:
    from ..admin.endpoint import Endpoint
    from .whole import Whole

OURS = (Hold.MASTER, Hold.CROWD, Hold.DESCRIPTORS, Hold.UPGRADE, Hold.WORKERS)
"""Reasons of workers that are, if all have one, the parent's too."""


class Supervisor:
    """One server's. `launch` starts a worker."""

    def __init__(self, config: Config, workers: int, launch: Launch) -> None:
        self.config = config
        self.exit_code = 0
        self.stopping = False
        self.source: Callable[[], Config] | None = None
        """Where to load the settings from again (SIGHUP). Raises ConfigError."""
        self.on_apply: list[Callable[[Config], object]] = []
        """Who else goes by settings that may change."""
        self.on_reload: list[Callable[[bool], None]] = []
        """See Server."""
        self.counters = Counters()
        self.readiness = Readiness()
        self.reactor = Reactor()
        self.reactor.on_callback_error = self._on_bug
        self._slow = SlowLog()
        self.reactor.on_slow = self._on_slow
        general, limits = config.general, config.limits
        self._directory = StateDirectory(general.state_dir) if general.state_dir else None
        self.keys = (
            new_keys() if self._directory is None else kept_keys(self._directory, divide(self._directory, workers))
        )
        self.connection_log = ConnectionLog(self.reactor, self.counters)
        self.admission = Admission(limits)
        self.proxies = Proxies(self.reactor, self.admission, config.listener, config.web)
        self.crew = Crew(
            self.reactor,
            self,
            launch,
            self.connection_log,
            self.keys,
            workers,
            general.node,
            bool(config.admin.address),
            config.clients.handshake_secs,
            general.state_dir,
        )
        self.gate = Gate(self.reactor, self.admission, self.connection_log, self.crew.take_in, self.proxies)
        self.drain = DrainOfAll(self.reactor, self.readiness, self.gate, self.crew)
        self.entrance = Entrance(self.reactor, self.counters, self.gate.accept)
        self.entrance.limit_rate(limits.accept_rate)
        self._groups = Groups(workers, config.udp.mode)
        self.unlisted: list[str] = []
        """See Server."""
        self.wakeup = Wakeup(self.reactor, self._on_stop)
        self.admin: Endpoint | None = None
        """Once `start` has opened it, if `admin.address` is set."""
        self._whole: Whole | None = None

    # ---- life

    def start(self, listening: Iterable[tuple[str, socket.socket]] = (), kept: Kept | None = None) -> None:
        """See Server."""
        try:
            self.unlisted = listen(self.entrance, self.config, list(listening), kept or {}, self._groups)
            self.unlisted += self._groups.not_to_be_kept
            self.crew.groups = self._groups
            self.crew.most_waiting = min(MOST_WAITING, raise_descriptor_limit() // 4 or MOST_WAITING)
            if self.config.admin.address:
                self._open_admin()
        except StartupError:
            self.entrance.close()
            self._groups.close()
            raise

    def _open_admin(self) -> None:
        from ..admin.endpoint import Endpoint  # here, for it takes packages that not everybody has
        from .whole import Whole

        admin = self.config.admin
        self._whole = whole = Whole(self)
        address = parse_address(admin.address)
        self.admin = Endpoint(self.reactor, address, admin.token, whole, self.counters.admin)
        self.connection_log.watcher = whole.recorder = self.admin.recorder

    @property
    def bound(self) -> list[tuple[str, socket.socket]]:
        """See Served."""
        return self.entrance.bound

    @property
    def listen_addresses(self) -> list[Address]:
        """Where clients connect to."""
        return [*self.entrance.addresses, *self._groups.addresses]

    def run(self) -> int:
        """Serve until `stop`, SIGTERM or SIGINT. The process's exit code: the worst of all of them."""
        with self.wakeup.on_signals(self._signals()):
            say_program()
            log.info("workers: %d, of nodes %d to %d", len(self.crew.workers), *self._nodes())
            say_listening(self.listen_addresses)
            say_keys(self.keys.channel_key.public, self.keys.next_keys)
            say_admin(self.admin, "" if self.admin is None else page_url(self.config.admin.address, self.admin))
            self.crew.start()
            self.reactor.run()
            self.close()
        self.wakeup.close()
        self.reactor.close()
        return max([self.exit_code, *[worker.code for worker in self.crew.workers]])

    def _nodes(self) -> tuple[int, int]:
        first = self.config.general.node
        return first, first + len(self.crew.workers) - 1

    def stop(self) -> None:
        """Let `run` finish. May be called from another thread or a signal handler."""
        self.wakeup.wake()

    def close(self) -> None:
        """Close everything that is open."""
        self.entrance.close()
        self._groups.close()
        if self.admin is not None:
            self.admin.close()
        self.connection_log.sum_up()
        if self._directory is not None:
            self._directory.close()

    def _signals(self) -> dict[int, Callable[[], None]]:
        actions: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self._on_stop,
            signal.SIGINT: self._on_stop,
            signal.SIGUSR1: self.log_state,
        }
        if self.source is not None:
            actions[signal.SIGHUP] = self.reload
            actions[signal.SIGUSR2] = self.upgrade
        return actions

    def _on_stop(self) -> None:
        """Somebody asks us to stop; who asks twice does not want to wait."""
        if self.stopping:
            self.crew.stop(at_once=True)
            return
        log.info("stopping")
        self._end()

    def _end(self) -> None:
        self.stopping = True
        self.drain.end()
        self.readiness.move(Event.STOP)
        self.entrance.close()
        self.crew.stop(at_once=False)

    # ---- the workers: see cluster.workers.crew.Host

    def on_workers(self) -> None:
        """See Host."""
        if self.stopping:
            if self.crew.over:
                self.reactor.stop()
            return
        self._hold_for_workers()
        states = [worker.status.state for worker in self.crew.workers if worker.step is Step.SERVING]
        if self.readiness.state is State.STARTING:
            if not self.crew.serving:
                return
            self.readiness.move(Event.LISTENING)
        self.readiness.move(Event.MASTER_UP if State.READY in states else Event.MASTER_LOST)
        self.drain.remind()

    def _hold_for_workers(self) -> None:
        holds = self.crew.holds
        for reason in OURS:
            if reason in holds:
                self.entrance.hold(reason)
        for reason in OURS:  # behind that: there is always one left while there is one
            if reason not in holds:
                self.entrance.release(reason)

    def on_gone(self, worker: Worker) -> None:
        """See Host."""
        if self._whole is not None:
            self._whole.gone(worker)
        if self.stopping:
            return
        if self.readiness.state is State.STARTING and worker.starts == 1:
            log.error("worker %d does not start, so the server does not either", worker.index)
            self.exit_code = worker.code
            self._end()
        elif worker.code == EXIT_NO_MASTER and self.readiness.state is not State.READY:
            self.exit_code = EXIT_NO_MASTER
            self._end()

    def on_told(self, worker: Worker, found: Note) -> None:
        """See Host."""
        if self._whole is not None:
            self._whole.told(worker, found)

    # ---- the operator: see whole.Host

    @property
    def master_address(self) -> str:
        """See Host."""
        return self.config.master.address[0]

    # ---- orders to all

    def log_state(self) -> None:
        """Write to the log how it is, here and at each worker."""
        for line in self._state_lines():
            log.info("state: %s", line)
        self.crew.tell(Kind.LOG_STATE)

    def _state_lines(self) -> Iterator[str]:
        admission = self.admission
        yield f"{self.readiness.text}; connections={admission.connections} in_handshake={admission.handshakes}"
        yield (
            f"addresses={len(admission.sources)} addresses_banned={admission.banned_now(self.reactor.now)} "
            f"addresses_untracked={admission.untracked}"
        )
        yield f"not accepting: {', '.join([hold.value for hold in self.entrance.holds]) or 'nothing is in the way'}"
        for worker in self.crew.workers:
            pid = worker.process.pid if worker.process is not None else 0
            yield (
                f"worker {worker.index}: {worker.step.value}, process={pid} connections={len(worker.places)} "
                f"starts={worker.starts}"
            )

    def upgrade(self) -> None:
        """Let each worker be followed by the program as it is now. This process stays."""
        if self.readiness.state in (State.STARTING, State.DRAINING, State.DRAINED, State.STOPPING):
            log.error("nothing is handed over by a server that is %s", self.readiness.text)
        else:
            self.crew.upgrade()

    def reload(self) -> None:
        """Take the settings from their source again, those that a running server can change: here, and then each
        worker. Where they cannot be used here, no worker hears of it."""
        if self.source is None:
            return
        for watcher in self.on_reload:
            watcher(True)
        try:
            if reload(self.config, self.source, self.configure):
                self.crew.tell(Kind.RELOAD)
        finally:
            for watcher in self.on_reload:
                watcher(False)

    def configure(self, config: Config) -> None:
        """Go by these settings from now on, or, where something cannot, by what was before; then that is raised."""
        before = self.config
        try:
            self._apply(config)
        except Exception:
            self.reactor.guard(None, self._apply, before)
            raise
        self.config = config
        self.reactor.guard(None, self.admission.catch_up)

    def _apply(self, config: Config) -> None:
        self.admission.configure(config.limits)
        self.proxies.configure(config.listener, config.web)
        self.entrance.limit_rate(config.limits.accept_rate)
        self.crew.handshake_secs = config.clients.handshake_secs
        for follower in self.on_apply:
            follower(config)

    # ---- trouble

    def on_unwritten(self, lines: int) -> None:
        """So many lines of the log could not be written."""
        self.counters.log_unwritten += lines

    def _on_slow(self, name: str, seconds: float) -> None:
        self._slow.note(name, seconds, self.reactor.now)

    def _on_bug(self, handler: object, error: Exception) -> None:
        self.counters.internal_errors += 1
        log.error("internal error, please report it", exc_info=error)

    # ---- for a service manager: see service.Served

    @property
    def counted(self) -> tuple[int, int]:
        """See Served."""
        return sum(len(worker.places) for worker in self.crew.workers), 0

    def announce_to(self, announce: Callable[[int], None]) -> None:
        """See Served: it is always this process."""
