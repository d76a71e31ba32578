"""Datagrams beside clients' connections: sealed with keys of their sessions, bound to no address (SPEC 22 to 28).

A client asks for them over its connection, and is told keys and a port. They go on when that connection is lost, while
the session is there, and get other keys with each connection that asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Callable

from ...address import parse_address
from ...config import Config
from ...core.datagrams.path import answers, challenge, heard
from ...core.protocols.secrets import decode_secrets
from ...core.session import Session
from ...net.udp.loops import Channels, name_of
from ...net.udp.names import Name, place_of
from ...net.udp.results import Sent
from ...quality import DatagramQuality, LinkQuality
from ...reasons import DatagramDrop
from ...wire import datagram
from ...wire.datagram import OLD_KEYS_SECS, SMALLEST, WORDS_SIZE, Kind, counts
from ...wire.tagged import Flag
from ...wire.v3 import DatagramsOffer, decode_ask
from ..clients import Clients
from .channel import ClientChannel
from .lane import BATCH, UdpLane
from .moved import Moved, MovedChannel
from .port import Port, Queue

_CHALLENGE_SIZE = SMALLEST + WORDS_SIZE
NOT_WANTED = -1
ASKS = 16
"""Asks of one client that are answered with keys at once; in the long run it is one every ASK_SECS."""
ASK_SECS = 1.0
SILENT = 3
"""Keepalives that may be missing until an address is no path any more."""


class SessionDatagrams(UdpLane):
    """One server's."""

    mode = "sessions"

    def __init__(self, clients: Clients, config: Config, random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self.table = Channels()
        self._current: dict[int, ClientChannel] = {}  # by client
        self._marked = config.master.datagrams
        self._host, self._port = _advertised(config.udp.advertise)
        super().__init__(clients, config)
        clients.hub.registry.on_gone = self._on_gone

    def configure(self, config: Config) -> None:
        """See UdpLane."""
        super().configure(config)
        clients = config.clients
        self.table.set_rates(clients.packet_rate, clients.byte_rate, clients.rate_burst_secs)
        self._keepalive = round(config.udp.keepalive_secs)
        self._flag = int(Flag.DATAGRAM) if self._marked else int(Flag.DATA) if config.udp.as_data else NOT_WANTED

    @property
    def channels(self) -> int:
        """See UdpLane."""
        return len(self._current)

    def channel_of(self, client_id: int) -> ClientChannel | None:
        """That of a client."""
        return self._current.get(client_id)

    # ---- how good their ways are

    def sweep(self, slot: int, slots: int) -> tuple[Sequence[object], int]:
        """See UdpLane."""
        return self.table.sweep(slot, slots)

    def measure(self, channel: ClientChannel, now: float) -> None:
        """See Owner."""
        quality = channel.quality
        if quality is None:
            quality = channel.quality = DatagramQuality(channel.since)
        quality.heard(channel.heard)
        quality.count(channel.highest, channel.received, channel.late)
        quality.set_latency(channel.rtt)
        quality.set_jitter(channel.jitter)
        quality.sample(channel.bytes_in, channel.bytes_out, now)

    @property
    def takes_joined(self) -> bool:
        """See UdpLane. Among several processes the kernel says by a datagram's first byte whose it is, and would look
        only at the first of those that come joined; one address may be many clients."""
        return self.table.takes_apart and self.share[1] == 1

    def look_at(self, session: Session) -> None:
        """See UdpLane."""
        channel = self._current.get(session.id)
        if channel is not None:
            self.measure(channel, self.reactor.now)

    def quality_beside(self, client_id: int) -> LinkQuality | None:
        """See UdpLane."""
        channel = self._current.get(client_id)
        return None if channel is None or not channel.received else channel.quality

    # ---- keys

    def answer(self, session: Session, body: bytes) -> bytes:
        """See Datagrams."""
        asked, now, before = decode_ask(body), self.reactor.now, self._current.get(session.id)
        due = now if before is None else max(now, before.asks_due)
        if not self.ports or self.budget.is_near or due > now + (ASKS - 1) * ASK_SECS:
            if before is not None:
                self._give_up(before)
            return super().answer(session, body)
        secret, port = decode_secrets(session.credential).present, self.ports[0]
        which, processes = self.share
        while True:  # no other channel may have its id, by which the kernel finds this process
            seed = self._random(datagram.SEED_SIZE)
            root = datagram.derive(secret, asked, seed)
            identity = datagram.client_id(root)
            if identity[0] % processes == which and self.table.get(identity) is None:
                break
        channel = ClientChannel(root, session.id, port, now, self._keepalive)
        channel.asks_due = due + ASK_SECS
        if before is not None:
            self._end_at(before, now + OLD_KEYS_SECS)
            if before.former is not None:
                self._end(before.former)
                before.former = None
            channel.former = before
        self._current[session.id] = channel
        self.table.add(channel)
        offer = DatagramsOffer(self._port or port.address.port, self.mtu, self._keepalive, seed, self._host)
        return offer.encode()

    def _give_up(self, channel: ClientChannel) -> None:
        """Its client is told that there are none, and may forget its keys: nothing is sent to it there any more."""
        channel.refused = True
        channel.path = channel.candidate = None
        self._end_soon(channel)

    def resumed(self, session: Session) -> None:
        """See Datagrams: its keys are those of the connection before."""
        channel = self._current.get(session.id)
        if channel is not None:
            self._end_soon(channel)

    def _on_gone(self, session: Session) -> None:
        channel = self._current.pop(session.id, None)
        if channel is not None:
            if channel.former is not None:
                self._end(channel.former)
            self._end(channel)

    def _end_soon(self, channel: ClientChannel) -> None:
        if channel.ending is None:
            self._end_at(channel, self.reactor.now + OLD_KEYS_SECS)

    def _end_at(self, channel: ClientChannel, deadline: float) -> None:
        if channel.ending is not None:
            self.reactor.cancel(channel.ending)
        channel.ending = self.reactor.call_at(deadline, lambda now: self._time_out(channel))

    def _time_out(self, channel: ClientChannel) -> None:
        channel.ending = None
        current = self._current.get(channel.client_id)
        if current is channel:
            del self._current[channel.client_id]
        elif current is not None and current.former is channel:
            current.former = None
        self._end(channel)

    def _end(self, channel: ClientChannel) -> None:
        if channel.ending is not None:
            self.reactor.cancel(channel.ending)
            channel.ending = None
        channel.path = channel.candidate = None
        self.table.remove(channel)

    def leave_port(self, port: Port) -> None:
        """See UdpLane: their clients may ask again."""
        for channel in list(self._current.values()):
            if channel.former is not None and channel.former.port is port:
                self._end(channel.former)
                channel.former = None
            if channel.port is port:
                session = self.clients.hub.registry.sessions[channel.client_id]
                self._on_gone(session)
                connection = self.clients.connection_of(session)
                if connection is not None:
                    self.reactor.guard(connection, connection.end_datagrams)

    # ---- from one process to another

    def moved(self) -> Iterator[Moved]:
        """See UdpLane."""
        numbers = {port: number for number, port in enumerate(self.ports)}
        for current in self._current.values():
            for channel in (current.former, current):
                if channel is not None:
                    yield MovedChannel(
                        channel.client_id,
                        numbers[channel.port],
                        channel.root,
                        None if channel.path is None else place_of(channel.path),
                        channel.since,
                        channel.heard,
                        None if channel.ending is None else channel.ending.deadline,
                        channel.keepalive,
                        channel.refused,
                        channel.export(),
                    )

    def move_in(self, moved: Moved, port: Port, session: Session) -> None:
        """See UdpLane."""
        if not isinstance(moved, MovedChannel):
            raise ValueError("no sealed datagrams, where there are no others")
        channel = ClientChannel(moved.root, session.id, port, moved.heard, moved.keepalive)
        channel.refused = moved.refused
        channel.restore(moved.state)
        channel.since = moved.since
        if moved.path is not None:
            channel.path = name_of(port.family, *moved.path)
        former = self._current.get(session.id)
        if former is not None and (former.former is not None or former.ending is None):
            raise ValueError("more datagrams than a client has")
        self.table.add(channel)
        self._current[session.id] = channel
        channel.former = former
        if moved.ending is not None:
            self._end_at(channel, moved.ending)

    # ---- down

    def send(self, session: Session, chunk: bytes) -> bool:
        """See Datagrams."""
        channel = self._current.get(session.id)
        if channel is None or channel.path is None:
            return False
        if self.reactor.now - channel.heard > SILENT * channel.keepalive:
            channel.path = None  # until it is heard again: the way may be gone, and its connection is not
            return False
        channel.port.send(channel, chunk)
        return True

    def transmit(self, port: Port, queue: Queue, offset: int) -> Sent:
        """See Owner."""
        assert port.sock is not None
        sent = self.table.send(port.sock, queue, 0, offset, self.mtu, self.reactor.now)
        self.count(self.table.take_drops())
        return sent

    # ---- up

    def receive(self, port: Port) -> bool:
        """See Owner."""
        assert port.sock is not None
        opened = self.table.receive(port.sock, self.reactor.now, BATCH, self._flag, self.mtu)
        if opened.packets:
            self.pass_on(opened.chunk, opened.packets, opened.size)
        for event in opened.events:
            # An error is not to end the port, which is everybody's.
            self.reactor.guard(None, self._on_event, port, *event)
        self.count(self.table.take_drops())
        return opened.more

    def _on_event(
        self, port: Port, channel: ClientChannel, kind: int, name: Name, body: bytes, newest: bool, size: int
    ) -> None:
        """One that has opened, and is no data or came from elsewhere than its client's path."""
        if channel.refused or self._current.get(channel.client_id) is not channel:
            return  # its client has no others, or these tell where it is
        if name != channel.path:
            channel.candidate = heard(channel.candidate, name, newest, channel.highest, size, self._random)
        if kind == Kind.RESPONSE and answers(channel.candidate, name, body[:WORDS_SIZE], channel.highest):
            self._move(channel, port, name)
        elif kind == Kind.PING:
            self._reply(port, channel, Kind.PONG, name, counts(channel.highest, channel.received))
        elif kind == Kind.CHALLENGE and len(body) >= WORDS_SIZE:
            self._reply(port, channel, Kind.RESPONSE, name, body[:WORDS_SIZE])
        candidate, now = channel.candidate, self.reactor.now
        if candidate is not None and candidate.name == name and challenge(candidate, _CHALLENGE_SIZE, now):
            self.counters.challenged += 1
            port.say(name, channel.seal(Kind.CHALLENGE, candidate.words, now))

    def _move(self, channel: ClientChannel, port: Port, name: Name) -> None:
        if channel.path is not None:
            self.counters.roamed += 1
        channel.path, channel.port, channel.candidate = name, port, None

    def _reply(self, port: Port, channel: ClientChannel, kind: int, name: Name, body: bytes) -> None:
        if name != channel.path:
            candidate = channel.candidate
            if candidate is None or candidate.name != name or not candidate.spend(SMALLEST + len(body)):
                self.drop_one(DatagramDrop.UNVALIDATED)
                return
        port.say(name, channel.seal(kind, body, self.reactor.now))


def _advertised(text: str) -> tuple[str, int]:
    if not text:
        return "", 0
    address = parse_address(text)
    return address.host, address.port
