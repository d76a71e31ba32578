"""The plain relay: each address and port that sends something is a client, and each datagram a packet (SPEC 28).

Its sessions cannot be resumed: who is silent for `udp.idle_secs` is gone, and who comes then is new.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from operator import attrgetter
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
from ...wire.framing import count_frames
from ...wire.tagged import Flag, frame_tagged
from ..clients import Clients
from ..fairness.sampler import Sampler
from .gate import Cookie, StrangerGate
from .lane import BATCH, UdpLane
from .moved import Moved, MovedPeer
from .peer import OpenPeer, ShownPeer
from .port import Port, Queue

ROUND_SECS = 2.0
"""In which everybody is looked at, whether it is silent and what it sends; a quarter of the idle time, if that is
less."""
SLICE = 512
"""Peers looked at in one go, at the least that many are there."""
DATA = int(Flag.DATA)
_link_of = attrgetter("link")


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
        self._at = 0
        self._timer: Timer | None = None
        self._addresses: list[Address] = []
        self._gate = StrangerGate(admission, config, random, clients.reactor.now, self._addresses)
        super().__init__(clients, config)
        clients.hub.take_all = self.take_all

    def configure(self, config: Config) -> None:
        """See UdpLane."""
        super().configure(config)
        clients = config.clients
        self.table.set_rates(clients.packet_rate, clients.byte_rate, clients.rate_burst_secs)
        self._gate.configure(config)
        self._most, self._idle_secs = config.udp.peers, config.udp.idle_secs
        self._factor = config.udp.amplification

    @property
    def peers(self) -> int:
        """See UdpLane."""
        return len(self.table)

    @property
    def takes_joined(self) -> bool:
        """See UdpLane."""
        return self.table.takes_apart

    # ---- down

    def send(self, session: Session, chunk: bytes) -> bool:
        """See Datagrams."""
        link = session.link
        if link is None or link.is_stream:
            return False
        return link.try_send(chunk)

    def take_all(self, chunks: dict[int, bytes]) -> bool:
        """See Hub: while there is nobody but peers of one socket, what is for them goes there without a call for
        each."""
        sessions = self.clients.hub.registry.sessions
        if len(self.ports) != 1 or len(sessions) != len(self.table):
            return False
        try:
            queue: Queue = list(zip(map(_link_of, map(sessions.__getitem__, chunks)), chunks.values()))
        except KeyError:  # somebody is not there any more, of which the master has to be told
            return False
        self.ports[0].send_all(queue)
        return True

    def transmit(self, port: Port, queue: Queue, offset: int) -> Sent:
        """See Owner."""
        assert port.sock is not None
        if self._factor:
            offset = self._bound(queue, offset)
        sent = self.table.send(port.sock, queue, 0, offset, self.mtu)
        self.count(self.table.take_drops())
        return sent

    def _bound(self, queue: Queue, offset: int) -> int:
        """Leave only what those may be sent whom it is for. Where the first chunk that is left goes on."""
        rooms: dict[OpenPeer, float] = {}
        kept: Queue = []
        for place, (peer, chunk) in enumerate(queue):
            if peer.shown:
                kept.append((peer, chunk))
                continue
            room = rooms.get(peer, self._factor * peer.bytes_in - peer.bytes_out)
            size = len(chunk) - (0 if place else offset)
            if size > room:
                self.counters.datagrams_dropped[DatagramDrop.UNVALIDATED] += count_frames(memoryview(chunk)[-size:])
                offset = 0 if not place else offset
                continue
            rooms[peer] = room - size
            kept.append((peer, chunk))
        queue[:] = kept
        return offset

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
            self.reactor.guard(None, self._on_stranger, port, name, data)  # an error is not to end the port
        self.count(self.table.take_drops())
        return came.more

    def _on_stranger(self, port: Port, name: Name, data: bytes) -> None:
        known = self.table.get(name)  # since another one of this batch
        if known is not None:
            self._first(cast(OpenPeer, known), data)
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
            self._first(self._let_in(port, name, verdict.source, verdict.shown), verdict.packet)

    def _first(self, peer: OpenPeer, packet: bytes) -> None:
        """One that came before the table knew of the peer."""
        peer.packets_in += 1
        peer.bytes_in += len(packet)
        self.pass_on(frame_tagged(peer.client_id, DATA, packet), 1, len(packet))

    def _no_room(self) -> DatagramDrop | None:
        clients = self.clients
        if clients.trunk.full:
            return DatagramDrop.TRUNK_FULL
        if len(self.table) >= self._most or self.budget.is_near:
            return DatagramDrop.NOT_ADMITTED
        if not clients.hub.registry.ids.available(self.reactor.now):
            return DatagramDrop.NOT_ADMITTED
        return self._why_not()

    def _let_in(self, port: Port, name: Name, source: Source, shown: bool) -> OpenPeer:
        now, hub = self.reactor.now, self.clients.hub
        registry = hub.registry
        registry.promised = registry.promised or registry.ids.take()
        peer = _kind_of(shown)(self, port, name, registry.promised, source, now)
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
        peers, self._at = self.table.sweep(self._at, self._slice())
        for peer in cast("list[OpenPeer]", peers):
            if now - peer.heard >= self._idle_secs:
                self.leave(peer, CloseReason.IDLE)
            elif not self._sampler.is_looking:
                peer.quality = None  # which nobody needs now, and is memory
        if len(self.table):
            self._look_later()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = self.reactor.call_later(self._pause(), self._look)

    def sweep(self, slot: int, slots: int) -> tuple[Sequence[object], int]:
        """See UdpLane."""
        return self.table.sweep(slot, slots)

    def look_at(self, session: Session) -> None:
        """See UdpLane."""
        if session.link is not None and not session.link.is_stream:
            self.measure(cast(OpenPeer, session.link), self.reactor.now)

    def measure(self, peer: OpenPeer, now: float) -> None:
        """See Owner."""
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
                peer.shown,
            )

    def move_in(self, moved: Moved, port: Port, session: Session) -> None:
        """See UdpLane."""
        if not isinstance(moved, MovedPeer):
            raise ValueError("no client that is an address, where there are no others")
        name, source = name_of(port.family, *moved.place), self._admission.readmit_own(moved.source)
        peer = _kind_of(moved.shown)(self, port, name, session.id, source, moved.since)
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


def _kind_of(shown: bool) -> type[OpenPeer]:
    """Of a client that has shown a cookie, or has not."""
    return ShownPeer if shown else OpenPeer
