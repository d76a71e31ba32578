"""The whole server on a clock that only the test moves, with peers on socket pairs: nothing happens by itself.

world = World({"clients.slow_secs": 4})
world.connect_master()
client = world.new()
client.send(b"up")
world.settle()
world.master.data == {client.id: [b"up"]}
"""

from __future__ import annotations

import os
import socket
from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Callable, NamedTuple

import pytest
from kit.clock import FakeClock
from kit.frames import data, join
from kit.handlers import Loop
from kit.lanes import tcp
from kit.speaker import Speaker, Tunnel
from kit.vectors import CERTIFICATES

from voltlane import config
from voltlane.address import ENCRYPTED, parse_address
from voltlane.cluster.handover.goods import Intake
from voltlane.cluster.handover.heritage import Heritage
from voltlane.cluster.handover.notes import Note, note_at
from voltlane.cluster.handover.offer import Offer
from voltlane.core.budget import CHUNK_COST, QUEUE_COST, Holding
from voltlane.core.coded import CodedOutbox
from voltlane.core.ids import Ids
from voltlane.core.outbox import Chunk, Outbox
from voltlane.lanes.partial import Gathered, Rest
from voltlane.lanes.records import RecordConnection
from voltlane.lanes.web.event_connection import EventConnection
from voltlane.lanes.web.request_stage import RequestStage
from voltlane.net.certificates import TlsOptions
from voltlane.net.poller import DefaultPoller
from voltlane.server import Server
from voltlane.server.upgrade import Upgrade, goods_of
from voltlane.trunk.connection import BITE
from voltlane.wire.crypto import generate_key, open_sealed, seal, session_key
from voltlane.wire.framing import FrameBuffer
from voltlane.wire.tagged import Flag, Tagged, decode_tagged
from voltlane.wire.v2 import (
    Challenge,
    ChallengeResponse,
    ClientId,
    Packet,
    Ping,
    ProtocolVersion,
    PubKey,
    decode,
    encode,
)

SERVER_KEY, CLIENT_KEY = generate_key(), generate_key()
SEND_BUFFER = 4096
"""Bytes asked for the server's end of each pair (the system takes more): pressure comes soon."""


class Peer:
    """The other end of a connection of the server's."""

    def __init__(self, world: World, send_buffer: int = SEND_BUFFER) -> None:
        self.world = world
        self.theirs, self.sock = self.pair()
        self.theirs.setblocking(False)
        self.sock.setblocking(False)
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.reading = True
        self.ended = self.was_reset = False
        """The server has closed, and everything it had written is read; and whether that was a reset."""
        self._sending = b""
        self._boundaries: list[tuple[int, Callable[[], object]]] = []
        self._accepted = 0
        self.closed = False
        self.tunnel: Tunnel | None = None

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """The server's end and ours, connected."""
        return socket.socketpair()

    def write(self, chunk: bytes, when_whole: Callable[[], object] = lambda: None) -> None:
        """Send, as fast as the server reads; `when_whole` is called once the kernel has all of it."""
        self._sending += chunk if self.tunnel is None else self.tunnel.seal(chunk)
        self._boundaries.append((self._accepted + len(self._sending), when_whole))
        self.pump()

    def write_plain(self, chunk: bytes) -> None:
        """The same, in front of any tunnel."""
        self._sending += chunk
        self.pump()

    @property
    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return len(self._sending)

    def pump(self) -> int:
        """Write what goes and read what is there. Bytes moved."""
        moved = 0
        if self.closed:
            return 0
        while self._sending:
            try:
                sent = self.sock.send(self._sending)
            except BlockingIOError:
                break
            except OSError:
                self._sending = b""
                break
            self._sending = self._sending[sent:]
            self._accepted += sent
            moved += sent
        while self._boundaries and self._boundaries[0][0] <= self._accepted:
            self._boundaries.pop(0)[1]()
        if self.reading:
            moved += self.read()
        return moved

    def read(self) -> int:
        """Read everything that is there."""
        return self.read_some(1 << 30)

    def read_some(self, size: int) -> int:
        """Read so much, if it is there."""
        moved = 0
        while moved < size and not self.ended and not self.closed:
            try:
                received = self.sock.recv(min(1 << 16, size - moved))
            except BlockingIOError:
                break
            except ConnectionResetError:
                received, self.was_reset = b"", True
            if not received:
                self.ended = True
                break
            moved += len(received)
            if self.tunnel is not None:
                received, answer = self.tunnel.open(received)
                self._sending += answer
            for payload in self.decode(received):
                self.on_frame(payload)
        return moved

    def decode(self, data: bytes) -> list[bytes]:
        """The frames that are whole with these bytes."""
        raise NotImplementedError

    def on_frame(self, payload: bytes) -> None:
        raise NotImplementedError

    def cut(self) -> None:
        """The connection dies. What the kernel had of the server's is read before: nothing whole is lost on the way."""
        if not self.closed:
            self.read()
            self.closed = True
            self.sock.close()


class Client(Peer):
    """A client's connection."""

    def __init__(
        self,
        world: World,
        resumes: Client | None = None,
        send_buffer: int = SEND_BUFFER,
        address: object = "",
        lane: ModuleType = tcp,
    ) -> None:
        super().__init__(world, send_buffer)
        self.lane = lane
        self.speaker: Speaker = lane.Speaker()
        self.tunnel = self.speaker.tunnel
        self.resumes = resumes
        self.id = resumes.id if resumes else 0
        self.server_key = b""
        self.challenge = b""
        self.ready = False
        """The handshake is done."""
        self.got: list[bytes] = resumes.got if resumes else []
        """Data, in order, over all connections of the session."""
        self.sent: list[bytes] = []
        """Data that the kernel took whole, on this connection."""
        world.clients.append(self)
        world.let_in(self, address, lane)

    def say(self, *packets: Packet) -> None:
        self.write(b"".join(self.speaker.encode(encode(packet)) for packet in packets))

    def send(self, *payloads: bytes) -> None:
        """Data."""
        for payload in payloads:
            self.write(self.speaker.encode(payload), lambda payload=payload: self.sent.append(payload))

    def decode(self, data: bytes) -> list[bytes]:
        return self.speaker.decode(data)

    def greet(self) -> None:
        """The whole handshake, as fast as the server answers."""
        if self.speaker.opening:
            self.write(self.speaker.opening)
        self.say(ProtocolVersion(2), ClientId(self.id) if self.resumes else PubKey(CLIENT_KEY.public))

    def prove(self) -> None:
        self.say(self.proof(), Ping())

    def proof(self) -> ChallengeResponse:
        """The challenge, sealed anew."""
        key = self.world.key
        return ChallengeResponse(seal(key, open_sealed(key, self.challenge)))

    def on_frame(self, payload: bytes) -> None:
        if self.ready:
            self.got.append(payload)
            return
        packet = decode(payload)
        if isinstance(packet, PubKey):
            self.server_key = packet.point
        elif isinstance(packet, Challenge):
            self.challenge = packet.blob
            self.on_challenge()
        elif isinstance(packet, ClientId):
            self.id, self.ready = packet.client_id, True
        else:
            assert isinstance(packet, Ping) and self.resumes
            self.ready = True

    def on_challenge(self) -> None:
        """Answer it; a test may do something else."""
        self.prove()


class Master(Peer):
    """One connection of the master's."""

    def __init__(self, world: World, send_buffer: int = 1 << 16) -> None:
        super().__init__(world, send_buffer)
        self._received = FrameBuffer(1 << 24)
        self.log: list[Tagged] = []
        self.data: defaultdict[int, list[bytes]] = defaultdict(list)
        """Data by client, in order."""

    def decode(self, data: bytes) -> list[bytes]:
        self._received.feed(data)
        return list(self._received)

    def on_frame(self, payload: bytes) -> None:
        tagged = decode_tagged(payload)
        self.log.append(tagged)
        if tagged.flag is Flag.DATA:
            self.data[tagged.client_id].append(tagged.data)

    def notices(self, flag: Flag) -> list[tuple[int, bytes]]:
        """What is no data, as (client id, text)."""
        return [(tagged.client_id, tagged.data) for tagged in self.log if tagged.flag is flag]

    def send(self, client_id: int, *payloads: bytes) -> None:
        """Data for a client; the server reads it as it comes."""
        self.write(join(data(client_id, payload) for payload in payloads))

    def kick(self, client_id: int) -> None:
        self.write(join([client_id.to_bytes(8, "little") + bytes([Flag.KICK])]))


def _memory(chunks: Collection[tuple[Chunk, int]]) -> int:
    """What a queue of these holds."""
    return QUEUE_COST + sum(len(chunk) + CHUNK_COST for chunk, _ in chunks) if chunks else 0


def _said(outbox: Outbox) -> list[tuple[Chunk, int]]:
    """What waits there and is no frame."""
    if not isinstance(outbox, CodedOutbox):
        return []
    under_way = b"" if outbox._source else outbox._encoded
    return [(words, 0) for words in (outbox._between, under_way) if words]


def _of_records(connection: RecordConnection) -> dict[Holding, int]:
    """What a client of version 3 holds beyond a part of a record."""
    held: dict[Holding, int] = {}
    flow, unsent, packet = connection.flow, connection.unsent, connection.packet
    if flow.retention is not None:
        held[flow.retention] = flow.retention.memory
    if unsent is not None:
        held[unsent] = len(unsent.data) + CHUNK_COST
    if isinstance(packet, Rest):
        held[packet] = len(packet.data) + CHUNK_COST
    elif packet is not None:
        size = len(packet._buffer)  # type: ignore[union-attr]
        held[packet] = size + size // 8 + CHUNK_COST
    return held


class _Dialer:
    """Says when the server would dial; the test connects."""

    def __init__(self) -> None:
        self.dials = self.distrusted = 0

    def start(self, distrust: bool = False) -> None:
        self.dials += 1
        self.distrusted += distrust

    def stop(self) -> None:
        """Nothing is under way."""


class Parcel:
    """What is offered, for whoever takes it in this process."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque()
        self._descriptors: deque[int] = deque()

    def add(self, offered: Iterator[tuple[bytes, int]]) -> bool:
        """Take this too. Whether it was anything."""
        before = len(self._notes)
        for words, descriptor in offered:
            found = note_at(words, 0)
            assert found is not None and found[1] == len(words)
            self._notes.append(found[0])
            if descriptor >= 0:
                self._descriptors.append(os.dup(descriptor))
        return len(self._notes) > before

    def note(self) -> Note:
        return self._notes.popleft()

    def descriptor(self) -> int:
        return self._descriptors.popleft()


class World:
    """A server, its master and its clients."""

    def __init__(self, settings: Mapping[str, object] | None = None, poller: Callable[[], Any] = DefaultPoller) -> None:
        self.clock = FakeClock()
        flags: dict[str, object] = {"clients.stale_timeout_secs": 20, "clients.stale_reap_interval_secs": 3}
        self._settings = config.load(None, {}, {**flags, **(settings or {})})
        self._poller = poller
        self._begin(None)
        self.server.registry.ids = Ids()  # its clock does not go by itself
        self.key = session_key(CLIENT_KEY, SERVER_KEY.public)
        self.clients: list[Client] = []
        self.master: Master

    def _begin(self, heritage: Heritage | None) -> None:
        """A server that has nothing yet."""
        self.loop = Loop(self._poller, self.clock)
        self.server = Server(self._settings, key=SERVER_KEY, reactor=self.loop, heritage=heritage)
        self.server.clients.windows.first = 1 << 20  # where a test is about something else
        self.loop.on_callback_error = lambda handler, error: self.loop.bugs.append(error)
        self.dialer = self.server.firehose.dialer = _Dialer()  # type: ignore[assignment]
        self._plain = (self.loop.watched, self.loop.timers)

    def follow(self, meanwhile: Callable[[], object] | None = None) -> None:
        """Another server takes the place of this one, with all that it has; `meanwhile` is called when a part of that
        was said ahead."""
        before, loop = self.server, self.loop
        upgrade = Upgrade(before, lambda sock: pytest.fail("nothing is started"), lambda: None)
        parcel, offer = Parcel(), Offer(goods_of(before))
        while meanwhile is not None and parcel.add(offer.ahead(3, before.reactor.now)):
            pass
        if meanwhile is not None:
            meanwhile()
            parcel.add(offer.ahead(1, before.reactor.now))
        upgrade.cut()
        parcel.add(offer.rest(None, before.reactor.now))
        certificates = before.certificates
        self._begin(upgrade.heritage)
        intake = Intake(goods_of(self.server), self.clock.now)
        while intake.take(parcel):  # type: ignore[arg-type]
            pass
        before.arrivals.close()
        for handler in loop.handlers:
            if (sock := getattr(handler, "sock", None)) is not None:
                sock.close()
        assert not loop.bugs
        before.wakeup.close()
        loop.close()
        self.server.certificates = self.server.doors.certificates = certificates
        if self.server.trunk.connection is not None:
            self.server.firehose.go_on()
        self.server.wake()

    # ---- who comes and goes

    def let_in(self, peer: Peer, address: object, lane: ModuleType) -> None:
        """Accept a client's connection on a lane."""
        certificates = self.server.certificates
        if lane.LANE.name in ENCRYPTED and not certificates.loaded:
            certificates.load(TlsOptions((str(CERTIFICATES / "server.pem"),), (str(CERTIFICATES / "server.key"),)))
        self.server.gate.accept(peer.theirs, address, lane.LANE)

    def connect_master(self, send_buffer: int = 1 << 16) -> Master:
        self.master = Master(self, send_buffer)
        self.server.firehose.connected(self.master.theirs, parse_address("unix:master"))
        return self.master

    def start_new(self, **options: Any) -> Client:
        """A new client whose handshake is under way."""
        client = Client(self, **options)
        client.greet()
        return client

    def new(self, **options: Any) -> Client:
        """A new client that is there."""
        client = self.start_new(**options)
        self.settle()
        assert client.ready and not client.ended
        return client

    def start_resume(self, old: Client, **options: Any) -> Client:
        client = Client(self, resumes=old, **options)
        client.greet()
        return client

    def resume(self, old: Client, **options: Any) -> Client:
        """A second connection for a client. The first one, if it is still open, is read to its end before it."""
        client = self.start_resume(old, **options)
        self.settle()
        assert client.ready and not client.ended
        return client

    # ---- time

    def pump(self) -> int:
        moved = sum([client.pump() for client in self.clients])
        if hasattr(self, "master"):
            moved += self.master.pump()
        return moved

    def settle(self) -> None:
        """Turn until nobody has anything more to say. No time passes."""
        quiet = 0
        for _ in range(20_000):
            self.loop.turn(0)
            quiet = 0 if self.pump() or self.loop._tasks else quiet + 1
            if quiet > 2:
                self.audit()
                return
        raise AssertionError("the server spins")

    def pass_(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, with everybody going on."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + step)
            self.settle()

    # ---- what is inside

    def audit(self) -> None:
        """What is queued is what the memory budget says, to the byte; and nobody stands there who has nothing."""
        server, held = self.server, {}
        for session in server.registry.sessions.values():
            if session.backlog is not None:
                held[session.backlog] = _memory(session.backlog._chunks)
        for connection in [*server.clients.connections, *server.clients._retired()]:
            if isinstance(connection, RecordConnection):
                held.update(_of_records(connection))
            elif connection.outbox is not None:
                held[connection.outbox] = _memory([*connection.outbox._chunks, *_said(connection.outbox)])
            if isinstance(connection, EventConnection) and connection.history is not None:
                held[connection.history] = _memory(connection.history._chunks)
            if isinstance(connection.partial, Rest):
                held[connection.partial] = len(connection.partial.data) + CHUNK_COST
            elif isinstance(connection.partial, Gathered):
                size = len(connection.partial.data)
                more = connection.framing.held  # type: ignore[attr-defined]
                held[connection.partial] = size + size // 8 + more + CHUNK_COST
            elif connection.partial is not None:
                size = len(connection.partial._buffer)
                held[connection.partial] = size + size // 8 + CHUNK_COST
        for arrival in server.arrivals._all.items():
            stage = arrival.stage
            if isinstance(stage, RequestStage) and stage._held is not None and stage._conversation is not None:
                held[stage._held] = stage._conversation.held
        filed = {holding for shelf in server.budget._shelves for holding in shelf}
        assert filed == {holding for holding, size in held.items() if size and holding.owner is not None}
        if server.trunk.outbox is not None:
            held[server.trunk.outbox] = _memory(server.trunk.outbox._chunks)
        if server.trunk.connection is not None:
            held[server.trunk.connection._held] = len(server.trunk.connection._buffer) - BITE
        for port in getattr(server.datagrams, "ports", ()):
            held[port._held] = sum(len(chunk) + CHUNK_COST for _, chunk in port.queue)
        for holding, size in held.items():
            assert holding.held == size, holding
        assert server.budget.used == sum(held.values())

    def connected(self) -> int:
        return len(self.server.arrivals) + len(self.server.clients.connections)

    def end(self) -> None:
        """Everybody leaves, everything times out: nothing may be left."""
        try:
            for client in self.clients:
                client.cut()
            if hasattr(self, "master"):
                self.master.reading = True
            self.settle()
            self.pass_(60)
            assert self.loop.bugs == []
            assert self.server.registry.sessions == {} and self.server.registry.stale_count == 0
            assert self.connected() == 0
            assert (self.server.admission.connections, self.server.admission.handshakes) == (0, 0)
            if hasattr(self, "master"):
                self.master.cut()
            self.settle()
            self.audit()  # nobody is left, so that is what no master took
            assert (self.loop.watched, self.loop.timers) == self._plain
            assert not self.loop._tasks and not self.loop._closes and not self.loop._dirty
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Give every descriptor back."""
        for client in self.clients:
            client.cut()
        if hasattr(self, "master"):
            self.master.cut()
        self.server.close()
        self.server.wakeup.close()
        self.loop.close()


@contextmanager
def world(
    settings: Mapping[str, object] | None = None, poller: Callable[[], Any] = DefaultPoller, *, master: bool = True
) -> Iterator[World]:
    """A world that must be found empty when everybody has left."""
    made = World(settings, poller)
    try:
        if master:
            made.connect_master()
        yield made
    except BaseException:
        made.abandon()
        raise
    made.end()


class DatagramsThere(NamedTuple):
    """What a server that has an address for datagrams says of them."""

    channels: int = 2
    peers: int = 1

    def close(self) -> None:
        """There is nothing."""

    def look_at(self, session: object) -> None:
        """There is nothing to be seen."""

    def quality_beside(self, client_id: int) -> None:
        """Nobody has any beside a connection."""


def numbered(count: int, size: int = 20, start: int = 0) -> list[bytes]:
    """Payloads that can be told apart."""
    return [(start + number).to_bytes(4, "big") + b"." * size for number in range(count)]


MakeWorld = Callable[..., World]
