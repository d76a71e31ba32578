"""One server follows another in place: what a `Server` is to `cluster.handover`, on both sides."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Callable, TypeVar

from ..cluster.handover.giver import Child, Giver, Step, launched
from ..cluster.handover.goods import Door, Goods
from ..cluster.handover.heritage import Heritage
from ..cluster.handover.offer import Offer
from ..cluster.handover.taker import Taker
from ..config import Config, parse_redis_url
from ..core.meter import MeterLimits
from ..core.registry import SessionJournal
from ..errors import StartupError
from ..ops.log import log
from ..reasons import CloseReason, Hold
from .listening import listens_for_datagrams
from .parts import Parts

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
S = TypeVar("S")
Launch = Callable[[socket.socket], Child]
"""Starts the program that is to follow, which gets this socket. Raises OSError."""


class Upgrade:
    """One server's, as whoever hands over."""

    def __init__(self, parts: Parts, launch: Launch, admin_door: Callable[[], Door | None]) -> None:
        self.reactor = parts.reactor
        self._admin_door = admin_door
        self._parts = parts
        self._launch = launch
        self._giver: Giver | None = None
        self._offer = Offer(goods_of(parts))
        self.announce: Callable[[int], None] = lambda pid: None
        """Called with the process that serves from then on, before it does."""

    # ---- the operator

    def begin(self) -> None:
        """Start the program that is to follow. What comes of it stands in the log."""
        parts = self._parts
        if self._giver is not None and self._giver.under_way:
            log.warning("handing over: process %d is under way already", self._giver.child.pid)
        elif parts.readiness.leaving:
            log.error("nothing is handed over by a server that is %s", parts.readiness.text)
        else:
            self._offer = Offer(goods_of(parts))
            try:
                self.give_to(*launched(self._launch))
            except OSError as error:
                log.error("the program that is to follow cannot be started: %s", error.strerror or error)

    def give_to(self, ours: socket.socket, child: Child) -> None:
        """That process has been started to follow, and this is the way to it."""
        self._giver = Giver(self, ours, child)

    @property
    def due(self) -> bool:
        """Whether the loop has ended for `give` to be called."""
        return self._giver is not None and self._giver.step is Step.DUE

    def give(self) -> bool:
        """Hand everything over. Whether that was it."""
        assert self._giver is not None
        given = self._giver.give()
        if given:
            self._parts.registry.journal = SessionJournal()  # what becomes of handshakes here is no news of sessions
        return given

    def pass_on(self, signals: list[int]) -> None:
        """These came during the pause, and are for the process that goes on."""
        assert self._giver is not None
        for number in signals:
            if number in _PASSED_ON:
                with suppress(ProcessLookupError):
                    os.kill(self._giver.child.pid, number)

    def end(self) -> None:
        """The server ends: there is nothing to be handed over any more."""
        if self._giver is not None and self._giver.step is not Step.GIVEN:
            self._giver.end()

    # ---- for the giver: see Host

    @property
    def heritage(self) -> Heritage:
        """See Host."""
        parts = self._parts
        store, general = parts.store, parts.config.general
        state_dir = os.path.abspath(general.state_dir) if general.state_dir else ""
        keys = store.key.secret, store.channel_key.secret
        asked, datagrams = list(parts.entrance.asked), parts.datagrams
        if datagrams is not None:
            asked += datagrams.asked
        return Heritage(
            os.getpid(),
            general.node,
            parts.registry.epoch,
            state_dir,
            *keys,
            tuple(asked),
            cluster_of(parts.config),
            "" if datagrams is None else datagrams.mode,
            0 if datagrams is None else datagrams.mtu,
            store.lock,
        )

    @property
    def settled(self) -> bool:
        """See Host. Nor is a session being given up, which its client waits for."""
        node = self._parts.node
        return not len(self._parts.arrivals) and (node is None or not node.giver.is_at_it)

    def hold(self) -> None:
        """See Host."""
        self._parts.entrance.hold(Hold.UPGRADE)
        if self._parts.datagrams is not None:
            self._parts.datagrams.rest()

    def pause(self) -> None:
        """See Host. The store's answers come before that."""
        if self._parts.node is None:
            self.reactor.stop()
        else:
            self._parts.node.rest(self.reactor.stop)

    def cut(self) -> None:
        """See Host. Their sessions wait for them, and go along."""
        for connection in self._parts.clients.connections:
            if not connection.moves:
                connection.read_out()
                connection.close(CloseReason.UPGRADE)
        self._parts.arrivals.relays.close()

    def ahead(self, most: int) -> Iterator[tuple[bytes, int]]:
        """See Host."""
        return self._offer.ahead(most, self.reactor.now)

    def offer(self) -> Iterator[tuple[bytes, int]]:
        """See Host."""
        parts = self._parts
        if parts.readiness.leaving:
            raise RuntimeError(f"it is {parts.readiness.text} by now")
        parts.trunk.flush()
        return self._offer.rest(self._admin_door(), parts.reactor.time())

    def hand_on(self, pid: int) -> None:
        """See Host."""
        self.announce(pid)

    def go_on(self) -> None:
        """See Host."""
        self._offer = Offer(goods_of(self._parts))  # for that one nobody takes any more
        self._parts.entrance.release(Hold.UPGRADE)
        if self._parts.datagrams is not None:
            self._parts.datagrams.go_on()
        if self._parts.node is not None:
            self._parts.node.go_on()


def goods_of(parts: Parts) -> Goods:
    """What of a server is handed over."""
    return Goods(
        parts.registry,
        parts.clients,
        parts.trunk,
        parts.admission,
        parts.entrance,
        parts.store,
        parts.budget,
        MeterLimits.of(parts.config.clients),
        parts.node,
        parts.datagrams,
    )


def cluster_of(config: Config) -> str:
    """Which servers this is one of, by the store that they have in common; "" where it is alone."""
    cluster = config.cluster
    return f"{parse_redis_url(cluster.url)} {cluster.prefix}" if cluster.url else ""


def check_heritage(heritage: Heritage, config: Config) -> None:
    """Raises StartupError where these settings are not those of a process that can follow that one."""
    general = config.general
    state_dir = os.path.abspath(general.state_dir) if general.state_dir else ""
    both = heritage.datagrams and listens_for_datagrams(config)
    mode = config.udp.mode if both else heritage.datagrams
    mtu = config.udp.mtu if both else heritage.mtu
    for name, now, before in (
        ("general.state_dir", state_dir, heritage.state_dir),
        ("general.node", general.node, heritage.node),
        ("udp.mode", mode, heritage.datagrams),
        ("udp.mtu", mtu, heritage.mtu),
        ("the store of cluster.url and cluster.prefix", cluster_of(config), heritage.cluster),
    ):
        if now != before:
            raise StartupError(
                f"{name} is {now or 'not set'}, and was {before or 'not set'}: to change it, stop the server and start "
                "it again"
            )


def heir_of(taker: Taker, config: Config, make: Callable[[Heritage], S]) -> S:
    """The server that `make` gives, which is to take over what another process has. Raises StartupError, of which that
    process hears."""
    heritage = taker.greet()
    try:
        check_heritage(heritage, config)
        return make(heritage)
    except StartupError as error:
        taker.refuse(str(error))
        raise
