"""The composition root: a server's life, its settings, and what it tells and is told."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Callable

from ..address import UDP, Address, parse_address, parse_listener
from ..cluster.handover.goods import Door
from ..cluster.handover.heritage import Heritage
from ..cluster.handover.taker import Taker
from ..config import Config
from ..core.readiness import Event
from ..errors import StartupError
from ..net.reactor import Reactor
from ..net.sockets import raise_descriptor_limit
from ..net.wakeup import Wakeup
from ..ops.log import log
from ..statistics import ClientRow, ClientsPage, Statistics
from ..wire.crypto import KeyPair
from .farewell import Farewell
from .introduction import page_url, say_admin, say_datagrams, say_keys, say_listening, say_program
from .listening import Kept, encrypts, listen, listen_at
from .minute import MinuteLog
from .observer import Observer
from .oversight import Oversight
from .parts import Part, Parts
from .pulse import Pulse
from .reload import reload
from .state import state_lines
from .upgrade import Launch, Upgrade, goods_of, heir_of

if TYPE_CHECKING:
    from ..admin.endpoint import Endpoint


class Server(Parts):
    """One connection server. `start` binds, `run` serves until `stop` or a signal, and returns the exit code."""

    def __init__(
        self,
        config: Config,
        *,
        key: KeyPair | None = None,
        reactor: Reactor | None = None,
        heritage: Heritage | None = None,
        part: Part | None = None,
    ) -> None:
        super().__init__(config, key, reactor, heritage, part)
        self.source: Callable[[], Config] | None = None
        """Where to load the settings from again (SIGHUP). Raises ConfigError."""
        self.on_apply: list[Callable[[Config], object]] = []
        """Who else goes by settings that may change. Whoever raises refuses them for everybody."""
        self.on_reload: list[Callable[[bool], None]] = []
        """Called with True before the settings are loaded again, and with False behind it, whatever came of that."""
        self.observer = Observer(self)
        self.minutes = MinuteLog(self)
        self.wakeup = Wakeup(self.reactor, self._on_stop)
        self.admin: Endpoint | None = None
        """Once `start` has opened it, if `admin.address` is set."""
        self.upgrade: Upgrade | None = None
        """How it is followed by another program in place, if it can be."""
        self.is_followed = False
        """Whether another process has everything by now."""
        self.unlisted: list[str] = []
        """Addresses on which a process before this one has listened, and that are not asked for any more."""
        self._listening_before = () if heritage is None else heritage.listening
        if heritage is not None and heritage.datagrams:
            self.have_datagrams(heritage.datagrams)  # be it that there is no address for them any more

    @staticmethod
    def heir(config: Config, taker: Taker) -> Server:
        """A server that is to `take_over` what another process has. Raises StartupError."""
        return heir_of(taker, config, lambda heritage: Server(config, heritage=heritage))

    # ---- life

    def start(
        self,
        listening: Iterable[tuple[str, socket.socket]] = (),
        kept: Kept | None = None,
    ) -> None:
        """Bind the listening addresses, or take over sockets that listen already, each for the lane of a scheme
        ("tcp"). `kept`: sockets that an earlier process has bound, by the addresses that it was asked for; those that
        are asked for go on, and the others are closed. Raises StartupError.

        Clients may connect from now on, but wait in the kernel's queue until there is a master.
        """
        listening = list(listening)
        if any(scheme == UDP for scheme, _ in listening):
            self.have_datagrams(self.config.udp.mode)
        if self.node is not None:
            self.node.start()
        try:
            self._open(listening, kept or {})
            self.store.begin()
        except StartupError:
            self.entrance.close()  # and remove the files of unix sockets
            if self.datagrams is not None:
                self.datagrams.close()
            if self.admin is not None:
                self.admin.close()
            raise

    def allow_upgrades(self, launch: Launch) -> None:
        """Hand over to the program that this starts, when SIGUSR2 asks for it."""
        self.upgrade = Upgrade(self, launch, self._admin_door)

    def take_over(self, taker: Taker) -> None:
        """In place of `start`: go on with all that another process has, once that says the word. Raises
        StartupError, and has changed nothing then."""
        self.entrance.limit_descriptors(raise_descriptor_limit())
        listed = [parse_listener(text) for text in self.config.listener.address]
        before = self._listening_before or tuple(map(str, listed))  # what others have opened is not asked for here
        more = [address for address in listed if str(address) not in before]
        try:
            listen_at(self.entrance, self.config, more, {}, self.datagrams)
            if encrypts(map(parse_listener, self.config.listener.address)):
                self.certificates.load()  # now, while everybody is served
            intake = taker.take(goods_of(self), self.reactor.refresh)
            if encrypts(self.listen_addresses) and not self.certificates.loaded:
                self.certificates.load()
            if self.config.admin.address:
                self.admin = self._open_admin(intake.admin)
            taker.go()
        except StartupError as error:
            taker.refuse(str(error))
            for address in more:
                self._drop(str(address))
            raise
        self.unlisted = [text for text in before if text not in map(str, listed)]
        for text in self.unlisted:
            log.info("clients connect to %s no more: it is not in listener.address", text)
            self.entrance.drop(text)  # and at the first turn what was for datagrams, of whose end clients are told
        self.reactor.refresh()
        self.store.begin()
        if self.node is not None:
            self.node.follow()
        self.reactor.call_soon(self.wake)
        if self.admin is None and intake.admin is not None:
            intake.admin.close()
        log.info("going on with %d sessions, %d of them connected", len(self.registry.sessions), intake.connections)

    def wake(self) -> None:
        """What was taken over is this server's from now on."""
        self.trunk.wake()
        self.clients.wake()
        self._on_stale()
        for text in self.unlisted:
            self._drop(text)

    def _drop(self, address: str) -> None:
        self.entrance.drop(address)
        if self.datagrams is not None:
            self.datagrams.drop(address)

    def _open(self, inherited: list[tuple[str, socket.socket]], kept: Kept) -> None:
        self.unlisted = listen(self.entrance, self.config, inherited, kept, self.datagrams)
        if encrypts(self.listen_addresses):
            self.certificates.load()
        if self.config.admin.address:
            self.admin = self._open_admin()

    @property
    def is_open(self) -> bool:
        """Whether `start` was called, and clients may come."""
        return self.entrance.is_open or (self.datagrams is not None and bool(self.datagrams.ports))

    @property
    def listen_addresses(self) -> list[Address]:
        """Where clients connect to, once `start` has bound it."""
        return [*self.entrance.addresses, *([] if self.datagrams is None else self.datagrams.addresses)]

    @property
    def bound(self) -> list[tuple[str, socket.socket]]:
        """See Served."""
        ports = [] if self.datagrams is None else self.datagrams.ports
        return [*self.entrance.bound, *((port.asked, port.sock) for port in ports if port.asked and port.sock)]

    @property
    def listen_address(self) -> Address | None:
        """The first of them."""
        return next(iter(self.listen_addresses), None)

    @property
    def page_url(self) -> str:
        """What a browser on this machine opens to see the live page, once `start` has bound it; "" where there is none
        that it could."""
        return "" if self.admin is None else page_url(self.config.admin.address, self.admin)

    def run(self) -> int:
        """Serve until `stop`, SIGTERM or SIGINT. The process's exit code."""
        if not self.is_open:
            self.start()
        with self.wakeup.on_signals(self._signals()):
            self.readiness.move(Event.LISTENING)
            self._introduce()
            if self.trunk.connection is not None:
                self.firehose.go_on()
            else:
                self.firehose.start()
            self.minutes.start()
            self.reactor.run()
            while self.upgrade is not None and self.upgrade.due and not self.stopping:
                if self.upgrade.give():
                    self.is_followed = True
                    self.upgrade.pass_on(self.wakeup.pending())
                    self.arrivals.close()
                    return 0
                self.reactor.run()
            self.close()
            self.minutes.stop()
        self.wakeup.close()
        self.reactor.close()
        return self.exit_code

    def _introduce(self) -> None:
        """Say what this is, and where."""
        say_program()
        log.info("memory for all that is queued: %d MiB", self.budget.limit >> 20)
        say_listening(self.listen_addresses)
        if self.datagrams is not None:
            say_datagrams(self.datagrams.backend)
        say_keys(self.store.channel_key.public, self.store.next_keys)
        say_admin(self.admin, self.page_url)

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
        if self.upgrade is not None:
            actions[signal.SIGUSR2] = self.upgrade.begin
        return actions

    def _on_stop(self) -> None:
        """Somebody asks us to stop; who asks twice does not want to wait."""
        if self.stopping:
            self.reactor.stop()
            return
        log.info("stopping")
        self.stopping = True
        if self.upgrade is not None:
            self.upgrade.end()
        self.drain.end()
        self.readiness.move(Event.STOP)
        self.store.hurry()
        self.firehose.stop()
        self.entrance.close()
        self.arrivals.close_unnamed()
        seconds = self.config.general.shutdown_secs
        relays = self.arrivals.relays
        Farewell(self.reactor, self.clients, self.trunk, seconds, self.seal, self.reactor.stop, relays)

    def log_state(self) -> None:
        """Write what the server is doing to the log."""
        for line in state_lines(self):
            log.info("state: %s", line)

    def close(self) -> None:
        """See Parts."""
        if self.upgrade is not None:
            self.upgrade.end()
        super().close()
        if self.admin is not None:
            self.admin.close()

    # ---- settings

    def reload(self) -> None:
        """Take the settings from their source again, those that a running server can change."""
        if self.source is None:
            return
        try:
            self._tell_of_reload(True)
            reload(self.config, self.source, self.configure)
        finally:
            self._tell_of_reload(False)

    def apply(self, config: Config) -> None:
        """See Parts."""
        super().apply(config)
        for follower in self.on_apply:
            follower(config)

    def _tell_of_reload(self, begins: bool) -> None:
        for watcher in self.on_reload:
            watcher(begins)

    # ---- the operator

    def expel(self, client_id: int) -> bool:
        """End a client's session, and tell the master; whether there was one."""
        session = self.registry.sessions.get(client_id)
        if session is not None:
            log.info("the operator kicks client %d", client_id)
            self.hub.expel(session)
        return session is not None

    def _admin_door(self) -> Door | None:
        return None if self.admin is None else Door("", *self.admin.listening)

    def _open_admin(self, door: Door | None = None) -> Endpoint:
        from ..admin.endpoint import Endpoint  # here, for it takes packages that not everybody has

        admin = self.config.admin
        timeline = Pulse(self, self.observer.since).timeline
        subject = Oversight(self.readiness, self.observer, timeline, self.expel, self.drain)
        address = parse_address(admin.address)
        found = None if door is None else (door.sock, door.own_file)
        endpoint = Endpoint(self.reactor, address, admin.token, subject, self.counters.admin, found)
        self.connection_log.watcher = endpoint.recorder
        return endpoint

    # ---- for a service manager: see Served

    @property
    def counted(self) -> tuple[int, int]:
        """See Served."""
        stale = self.registry.stale_count
        return len(self.registry.sessions) - stale, stale

    def announce_to(self, announce: Callable[[int], None]) -> None:
        """See Served."""
        if self.upgrade is not None:
            self.upgrade.announce = announce

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
