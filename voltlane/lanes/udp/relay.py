"""The plain relay: each address and port that sends something is a client, and each datagram a packet (SPEC 28).

Its sessions cannot be resumed: who is silent for `udp.idle_secs` is gone, and who comes then is new.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Callable, cast

from ...address import Address
from ...config import Config
from ...core.admission import Admission, Source
from ...core.protocols.open import OPEN
from ...core.session import Session, State
from ...core.timers import Timer
from ...net.udp.loops import Peers, name_of
from ...net.udp.names import Name, place_of
from ...net.udp.results import Sent
from ...quality import LinkQuality
from ...reasons import CloseReason, DatagramDrop
from ...wire.tagged import Flag, frame_tagged
from ..clients import Clients
from ..fairness.sampler import Sampler
from .gate import Cookie, StrangerGate
from .lane import BATCH, UdpLane
from .moved import Moved, MovedPeer
from .peer import OpenPeer
from .port import Port, Queue

ROUND_SECS = 2.0
"""In which everybody is looked at, whether it is silent and what it sends; a quarter of the idle time, if that is
less."""
SLICE = 512
"""Peers looked at in one go, at the least that many are there."""
DATA = int(Flag.DATA)


class OpenRelay(UdpLane):
    """One server's. `why_not`: why nobody may come in at the moment."""

    mode = "open"

    def __init__(
        self,
        clients: Clients,
        config: Config,
        admission: Admission,
        why_not: Callable[[], DatagramDrop | None],
        sampler: Sampler,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.table = Peers()
        self._admission = admission
        self._why_not = why_not
        self._sampler = sampler
        self._cursor = 0
        self._timer: Timer | None = None
        self._addresses: list[Address] = []
        self._gate = StrangerGate(admission, config, random, clients.reactor.now, self._addresses)
        super().__init__(clients, config)

    def configure(self, config: Config) -> None:
        """See UdpLane."""
        super().configure(config)
        clients = config.clients
        self.table.set_rates(clients.packet_rate, clients.byte_rate, clients.rate_burst_secs)
        self._gate.configure(config)
        self._most, self._idle_secs = config.udp.peers, config.udp.idle_secs

    @property
    def peers(self) -> int:
        """See UdpLane."""
        return len(self.table)

    # ---- down

    def send(self, session: Session, chunk: bytes) -> bool:
        """See Datagrams."""
        link = session.link
        if link is None or link.is_stream:
            return False
        return link.try_send(chunk)

    def transmit(self, port: Port, queue: Queue, offset: int) -> Sent:
        """See Owner."""
        assert port.sock is not None
        sent = self.table.send(port.sock, queue, 0, offset, self.mtu)
        self.count(self.table.take_drops())
        return sent

    def too_large(self, packets: int) -> None:
        """See Relay."""
        self.counters.datagrams_dropped[DatagramDrop.TOO_LARGE] += packets

    # ---- up

    def receive(self, port: Port) -> bool:
        """See Owner."""
        assert port.sock is not None
        came = self.table.receive(port.sock, self.reactor.now, BATCH, DATA, self.mtu)
        if came.packets:
            self.pass_on(came.chunk, came.packets, came.size)
        for name, data in came.strangers:
            self._on_stranger(port, name, data)
        self.count(self.table.take_drops())
        return came.more

    def _on_stranger(self, port: Port, name: Name, data: bytes) -> None:
        known = self.table.get(name)  # since another one of this batch
        if known is not None:
            self.pass_on(frame_tagged(known.client_id, DATA, data), 1, len(data))
            return
        why = self._no_room()
        if why is not None:
            self.drop_one(why)
            return
        verdict = self._gate.judge(name, data, self.reactor.now)
        if isinstance(verdict, DatagramDrop):
            self.drop_one(verdict)
        elif isinstance(verdict, Cookie):
            self.drop_one(DatagramDrop.NO_COOKIE)
            port.say(name, verdict.words)
        else:
            peer = self._let_in(port, name, verdict.source)
            self.pass_on(frame_tagged(peer.client_id, DATA, verdict.packet), 1, len(data))

    def _no_room(self) -> DatagramDrop | None:
        clients = self.clients
        if clients.trunk.full:
            return DatagramDrop.TRUNK_FULL
        if len(self.table) >= self._most or self.budget.is_near:
            return DatagramDrop.NOT_ADMITTED
        if not clients.hub.registry.ids.available(self.reactor.now):
            return DatagramDrop.NOT_ADMITTED
        return self._why_not()

    def _let_in(self, port: Port, name: Name, source: Source) -> OpenPeer:
        now, hub = self.reactor.now, self.clients.hub
        registry = hub.registry
        registry.promised = registry.promised or registry.ids.take()
        peer = OpenPeer(self, port, name, registry.promised, source, now)
        peer.session = session = hub.open(b"", peer)
        self.table.add(peer)
        source.greeted()
        self.counters.lanes[peer.lane] += 1
        self.counters.greeted[OPEN.name] += 1
        self.clients.log.here(session.id, peer.peer, False, peer.lane)
        self._look_later()
        return peer

    # ---- who is gone

    def leave(self, peer: OpenPeer, reason: CloseReason) -> None:
        """See Relay."""
        now, session = self.reactor.now, peer.session
        peer.session = None
        self.table.remove(peer)
        if reason in (CloseReason.KICKED, CloseReason.EXPELLED):
            self._gate.kicked(peer.name, now)
        self.clients.log.closed(reason, peer.client_id, peer.peer, "")
        peer.source.left(reason, True, now - peer.since, now)
        if session is not None and session.state is not State.ENDED:
            self.clients.hub.lost(session, [], now)

    def _look(self, now: float) -> None:
        """Look at the next ones."""
        self._timer = None
        peers, self._cursor = self.table.sweep(self._cursor, self._slice())
        for peer in peers:
            if now - peer.heard >= self._idle_secs:
                self.leave(peer, CloseReason.IDLE)
            else:
                self._sample(peer, now)
        if len(self.table):
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = self.reactor.call_later(self._pause(), self._look)

    def _sample(self, peer: OpenPeer, now: float) -> None:
        """What it sends and is sent is of interest while somebody looks, and costs memory."""
        if not self._sampler.is_looking:
            peer.quality = None
            return
        if peer.quality is None:
            peer.quality = LinkQuality(peer.since, self._idle_secs)
        peer.quality.heard(peer.heard)
        peer.quality.sample(peer.bytes_in, peer.bytes_out, now)

    def _slice(self) -> int:
        return max(SLICE, ceil(len(self.table) / 64))

    def _pause(self) -> float:
        rounds = ceil(len(self.table) / self._slice()) or 1
        return min(ROUND_SECS, self._idle_secs / 4) / rounds

    # ---- from one process to another

    def moved(self) -> Iterator[Moved]:
        """See UdpLane."""
        numbers = {port: number for number, port in enumerate(self.ports)}
        for peer in self._everybody():
            yield MovedPeer(
                peer.client_id,
                numbers[peer.port],
                place_of(peer.name),
                peer.since,
                peer.heard,
                peer.source.key,
                (peer.packets_in, peer.bytes_in, peer.packets_out, peer.bytes_out),
            )

    def move_in(self, moved: Moved, port: Port, session: Session) -> None:
        """See UdpLane."""
        if not isinstance(moved, MovedPeer):
            raise ValueError("no client that is an address, where there are no others")
        name, source = name_of(port.family, *moved.place), self._admission.readmit_own(moved.source)
        peer = OpenPeer(self, port, name, session.id, source, moved.since)
        peer.heard = moved.heard
        peer.packets_in, peer.bytes_in, peer.packets_out, peer.bytes_out = moved.counted
        self.table.add(peer)
        peer.session, session.link = session, peer
        self._look_later()

    def _everybody(self) -> list[OpenPeer]:
        found, at = self.table.sweep(0, SLICE)
        while at:
            more, at = self.table.sweep(at, SLICE)
            found += more
        return cast("list[OpenPeer]", found)

    # ---- the sockets

    def adopt(self, socks: Iterable[tuple[str, socket.socket]]) -> list[Port]:
        """See UdpLane."""
        ports = super().adopt(socks)
        self._addresses[:] = self.addresses
        return ports

    def leave_port(self, port: Port) -> None:
        """See UdpLane."""
        self._addresses[:] = self.addresses
        for peer in self._everybody():
            if peer.port is port:
                self.leave(peer, CloseReason.SHUTDOWN)

    def close(self) -> None:
        """See UdpLane."""
        super().close()
        if self._timer is not None:
            self.reactor.cancel(self._timer)
            self._timer = None
