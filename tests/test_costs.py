"""What packets and connections cost, in things to count: system calls, calls of functions, memory. Nothing is timed.

The bounds for packets are about a third above what was counted when they were set. Those for connections are a
twentieth above: what a turn does once a second, and a turn more or less, are within that. They catch work per packet
where there was work per batch; how fast it all is, a benchmark tells.
"""

from __future__ import annotations

import platform
import random
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any, Callable

import pytest
from kit.frames import data, join
from kit.lanes import tcp, websocket
from kit.websocket_speaker import BINARY, client_frame
from kit.world import Client, World

from voltlane.lanes.fairness.turns import SMOOTH
from voltlane.lanes.lane import Lane
from voltlane.net.poller import READ
from voltlane.wire import batch
from voltlane.wire.batch import plain, runs

CLIENTS, PACKETS = 40, 250
TOTAL = CLIENTS * PACKETS
ROOM = 1 << 20
"""Bytes of every send buffer here: there is to be no pressure."""

on_cpython = pytest.mark.skipif(
    platform.python_implementation() == "PyPy", reason="PyPy's compiler does away with most of what is counted"
)


SYSTEM_CALLS = {
    "recv": "read",
    "recv_into": "read",
    "send": "write",
    "sendmsg": "write",
    "setsockopt": "tune",
    "shutdown": "shut",
    "close": "close",
}


class Counted:
    """A socket that counts what the system is asked for."""

    def __init__(self, sock: Any, count: Counter[str]) -> None:
        self._sock, self._count = sock, count

    def __getattr__(self, name: str) -> Any:
        if name in SYSTEM_CALLS:
            self._count[SYSTEM_CALLS[name]] += 1
        return getattr(self._sock, name)


class Road:
    """A server with clients and a master that say nothing by themselves."""

    def __init__(self, lane: ModuleType = tcp) -> None:
        self.world = World()
        self.world.connect_master(send_buffer=ROOM)
        self.clients = [self.world.new(send_buffer=ROOM, lane=lane) for _ in range(CLIENTS)]
        self.calls: Counter[str] = Counter()
        for stream in [*self.world.server.clients.connections, self.world.server.trunk.connection]:
            assert stream is not None
            stream.sock = Counted(stream.sock, self.calls)  # type: ignore[assignment]

    def pump(self, done: Callable[[], bool], around: Callable[[Callable[[], object]], object]) -> None:
        """Turn the loop, and only that under `around`, until everything has arrived."""
        for _ in range(2000):
            around(lambda: self.world.loop.turn(0))
            self.world.pump()
            if done():
                return
        raise AssertionError("not everything arrived")

    def up(self, chunks: list[bytes], around: Callable[[Callable[[], object]], object]) -> None:
        """One chunk of frames from each client."""
        self.world.settle()
        for client, chunk in zip(self.clients, chunks):
            client.sock.setsockopt(1, 7, ROOM)  # SOL_SOCKET, SO_SNDBUF
            client.write(chunk)
        log = self.world.master.log
        log.clear()
        self.pump(lambda: len(log) == TOTAL, around)

    def down(self, payloads: list[bytes], around: Callable[[Callable[[], object]], object]) -> None:
        """The payloads to the clients in turn, from the master."""
        self.world.settle()
        ids = [client.id for client in self.clients]
        self.world.master.sock.setsockopt(1, 7, 4 * ROOM)
        chunk = join(data(ids[i % CLIENTS], payload) for i, payload in enumerate(payloads))
        for client in self.clients:
            client.got.clear()
        self.world.master.write(chunk)
        self.pump(lambda: sum(len(client.got) for client in self.clients) == TOTAL, around)


@pytest.fixture
def road() -> Iterator[Road]:
    made = Road()
    yield made
    made.world.abandon()


@pytest.fixture
def masked_road() -> Iterator[Road]:
    """Its clients come over WebSocket, and have shown that they send whole messages."""
    made = Road(websocket)
    for connection in made.world.server.clients.connections:
        connection.flags |= SMOOTH
    yield made
    made.world.abandon()


@pytest.fixture(params=["runs", "chosen"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The loops in pure Python, and those this installation has chosen."""
    if request.param == "runs":
        monkeypatch.setattr("voltlane.lanes.websocket_path.retag_masked", runs.retag_masked)
        monkeypatch.setattr("voltlane.lanes.quiet_websockets.retag_masked", runs.retag_masked)
        monkeypatch.setattr("voltlane.lanes.websocket.frame", runs.frame)
        monkeypatch.setattr("voltlane.lanes.prefix.retag", runs.retag)
        monkeypatch.setattr("voltlane.trunk.connection.group", runs.group)
        return "pure Python"
    return batch.BACKEND


def sizes(kind: str) -> list[int]:
    chance = random.Random(5)
    return [64 if kind == "same" else chance.randint(16, 112) for _ in range(TOTAL)]


def client_chunks(kind: str) -> list[bytes]:
    return [join(bytes(size) for size in sizes(kind)[:PACKETS]) for _ in range(CLIENTS)]


def masked_chunks(kind: str) -> list[bytes]:
    """The same over WebSocket, each packet with another key."""
    chance = random.Random(6455)
    return [
        b"".join(client_frame(BINARY, bytes(size), chance.randbytes(4)) for size in sizes(kind)[:PACKETS])
        for _ in range(CLIENTS)
    ]


def without_counting(turn: Callable[[], object]) -> None:
    turn()


def test_system_calls_up(road: Road) -> None:
    """A read a client and a write for a quarter of a megabyte, whatever the packets' number."""
    road.up(client_chunks("same"), without_counting)
    assert sum(road.calls.values()) / TOTAL * 1000 < 6


def test_system_calls_down(road: Road) -> None:
    """A write a client for all that one read from the master brings."""
    road.down([bytes(64)] * TOTAL, without_counting)
    assert sum(road.calls.values()) / TOTAL * 1000 < 6


@pytest.mark.parametrize("way", ["up", "down"])
def test_system_calls_over_websocket(masked_road: Road, way: str) -> None:
    """As many as without."""
    if way == "up":
        masked_road.up(masked_chunks("same"), without_counting)
    else:
        masked_road.down([bytes(64)] * TOTAL, without_counting)
    assert sum(masked_road.calls.values()) / TOTAL * 1000 < 6


class Torrent(Counted):
    """A socket that has as much to read as is asked for, until all of it was read."""

    def __init__(self, sock: Any, count: Counter[str], stream: bytes) -> None:
        super().__init__(sock, count)
        self._rest = memoryview(stream)
        self.taken = 0

    def recv_into(self, space: Any, most: int = 0) -> int:
        """See socket.recv_into."""
        self._count["read"] += 1
        if not self._rest:
            raise BlockingIOError
        size = min(most or len(space), len(space), len(self._rest))
        space[:size], self._rest = self._rest[:size], self._rest[size:]
        self.taken += size
        return size


@pytest.mark.parametrize("settings", [{}, {"clients.idle_secs": 60}], ids=["as it is", "watched for silence"])
@pytest.mark.parametrize(("size", "extra"), [(1000, 1), (7_000_000, 5)], ids=["small", "large"])
def test_reads_of_a_loud_client(size: int, extra: int, settings: dict[str, object]) -> None:
    """A whole quantum each, but for the first one and, in a large packet, as long as that has little memory."""
    world = World(settings)
    world.connect_master(send_buffer=ROOM)
    client = world.new()
    payloads = [bytes(size)] * (7_000_000 // size)
    stream, count = join(payloads), Counter[str]()
    (connection,) = world.server.clients.connections
    connection.sock = Torrent(connection.sock, count, stream)  # type: ignore[assignment]
    world.loop.call_soon(lambda: connection.on_event(READ), connection)
    world.settle()
    assert world.master.data[client.id] == payloads
    assert count["read"] <= len(stream) // (1 << 18) + 1 + extra
    world.abandon()


@pytest.mark.parametrize("size", [16_000, 800_000])
def test_what_is_read_in_one_turn(road: Road, size: int) -> None:
    """However many begin to be loud: a little from each of them, and from then on no more than a few megabytes."""
    stream, torrents = join([bytes(size)] * (1_600_000 // size)), []
    for connection in road.world.server.clients.connections:
        torrents.append(Torrent(connection.sock, road.calls, stream))
        connection.sock = torrents[-1]  # type: ignore[assignment]
        road.world.loop.call_soon(partial(connection.on_event, READ), connection)
    turns = []
    while sum(turns) < CLIENTS * len(stream):
        road.world.loop.turn(0)
        road.world.pump()
        turns.append(sum(torrent.taken for torrent in torrents) - sum(turns))
    assert turns[0] == CLIENTS << 16 and max(turns[1:]) < (1 << 21) + (1 << 18)


class Calls:
    """Counts calls of functions, in Python and in C, while a turn runs."""

    def __init__(self) -> None:
        self.count = 0

    def _event(self, frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1

    def __call__(self, turn: Callable[[], object]) -> None:
        before = sys.getprofile()
        sys.setprofile(self._event)
        try:
            turn()
        finally:
            sys.setprofile(before)


def calls_a_packet(road: Road, way: str, kind: str, chunks: Callable[[str], list[bytes]]) -> float:
    calls = Calls()
    if way == "up":
        road.up(chunks(kind), calls)
    else:
        road.down([bytes(size) for size in sizes(kind)], calls)
    return calls.count / TOTAL


BOUNDS = {
    # loops, direction, sizes: calls a packet
    ("pure Python", "up", "same"): 0.2,
    ("pure Python", "up", "mixed"): 6.5,
    ("pure Python", "down", "same"): 1.4,
    ("pure Python", "down", "mixed"): 6.5,
    ("native", "up", "same"): 0.1,
    ("native", "up", "mixed"): 0.1,
    ("native", "down", "same"): 0.1,
    ("native", "down", "mixed"): 0.1,
}


@on_cpython
@pytest.mark.parametrize("kind", ["same", "mixed"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_calls_of_functions(road: Road, loops: str, way: str, kind: str) -> None:
    """Few for each packet in pure Python, and next to none with the accelerator."""
    assert calls_a_packet(road, way, kind, client_chunks) < BOUNDS[loops, way, kind]


MASKED_BOUNDS = {
    # as above
    ("pure Python", "up", "same"): 0.3,
    ("pure Python", "up", "mixed"): 8.2,
    ("pure Python", "down", "same"): 1.6,
    ("pure Python", "down", "mixed"): 8.1,
    ("native", "up", "same"): 0.1,
    ("native", "up", "mixed"): 0.1,
    ("native", "down", "same"): 0.1,
    ("native", "down", "mixed"): 0.1,
}


@on_cpython
@pytest.mark.parametrize("kind", ["same", "mixed"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_calls_of_functions_over_websocket(masked_road: Road, loops: str, way: str, kind: str) -> None:
    """The same where clients come over WebSocket."""
    assert calls_a_packet(masked_road, way, kind, masked_chunks) < MASKED_BOUNDS[loops, way, kind]


@on_cpython
@pytest.mark.parametrize("way", ["up", "down"])
def test_calls_for_a_quiet_client_over_websocket(masked_road: Road, loops: str, way: str) -> None:
    """A packet that comes alone, to or from one of many."""
    most = {("native", "up"): 11, ("native", "down"): 13}.get((loops, way), 16)
    road, calls = masked_road, Calls()
    log = road.world.master.log
    road.world.settle()
    log.clear()
    if way == "up":
        for client in road.clients:
            client.write(client_frame(BINARY, bytes(64), b"\x9d\x5c\x00\xe1"))
        road.pump(lambda: len(log) == CLIENTS, calls)
    else:
        road.world.master.write(join(data(client.id, bytes(64)) for client in road.clients))
        road.pump(lambda: all(client.got for client in road.clients), calls)
    assert calls.count / CLIENTS < most


@on_cpython
@pytest.mark.parametrize(("way", "most"), [("up", 11), ("down", 9)])
def test_calls_for_a_quiet_client(road: Road, way: str, most: int) -> None:
    """A packet that comes alone, to or from one of many: each is an event, or a write, of its own."""
    calls = Calls()
    log = road.world.master.log
    road.world.settle()
    log.clear()
    if way == "up":
        for client in road.clients:
            client.write(join([bytes(64)]))
        road.pump(lambda: len(log) == CLIENTS, calls)
    else:
        road.world.master.write(join(data(client.id, bytes(64)) for client in road.clients))
        road.pump(lambda: all(client.got for client in road.clients), calls)
    assert calls.count / CLIENTS < most


@on_cpython
@pytest.mark.parametrize("way", ["up", "down"])
def test_memory(road: Road, loops: str, way: str) -> None:
    """A few times what is under way at the most, and nothing that stays."""
    import tracemalloc  # PyPy has none

    chunks, payloads = client_chunks("mixed"), [bytes(size) for size in sizes("mixed")]
    under_way = sum(sizes("mixed")) + 13 * TOTAL
    run = (lambda: road.up(chunks, measured)) if way == "up" else (lambda: road.down(payloads, measured))
    peaks, kept = [], []

    def measured(turn: Callable[[], object]) -> None:
        tracemalloc.start()
        turn()
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        peaks.append(peak)
        kept.append(now)

    run()
    run()
    assert max(peaks) < 4 * under_way
    # What a turn leaves behind is what its peers have not read yet, and they read everything here.
    assert kept[-1] < under_way // 10
    assert not any(stream.outbox for stream in road.world.server.clients.connections)


def test_idle_clients_cost_an_active_one_nothing() -> None:
    """The calls that a packet costs are the same beside a hundred clients that say nothing."""
    costs = []
    for idle in (0, 100):
        world = World()
        world.connect_master(send_buffer=ROOM)
        client: Client = world.new(send_buffer=ROOM)
        for _ in range(idle):
            world.new()
        world.settle()
        client.write(join([bytes(64)] * PACKETS))
        calls = Calls()
        for _ in range(20):
            calls(lambda: world.loop.turn(0))  # noqa: B023
        world.settle()
        assert len(world.master.data[client.id]) == PACKETS
        costs.append(calls.count)
        world.abandon()
    assert costs[1] <= costs[0] + 5


class Door:
    """A server whose clients come and go, all at once."""

    def __init__(self) -> None:
        self.world = World()
        self.world.connect_master(send_buffer=ROOM)
        self.system: Counter[str] = Counter()
        self.calls = Calls()
        gate, poller = self.world.server.gate, self.world.loop.poller
        accept = gate.accept

        def counted_accept(sock: Any, address: object, lane: Lane) -> None:
            self.calls(lambda: accept(Counted(sock, self.system), address, lane))  # type: ignore[arg-type]

        gate.accept = counted_accept  # type: ignore[method-assign]
        for name in ("add", "remove"):
            setattr(poller, name, self._counted(name, getattr(poller, name)))

    def _counted(self, name: str, function: Callable[[int], None]) -> Callable[[int], None]:
        def call(fd: int) -> None:
            self.system[name] += 1
            function(fd)

        return call

    def pump(self) -> None:
        """Turn the loop until whatever they do is done."""
        quiet = 0
        while quiet < 3:
            self.calls(lambda: self.world.loop.turn(0))
            quiet = 0 if self.world.pump() or self.world.loop._tasks else quiet + 1

    def greet(self, clients: list[Client]) -> list[Client]:
        """They have connected, and say something only now."""
        self.pump()
        for client in clients:
            client.greet()
        self.pump()
        assert all(client.ready for client in clients)
        return clients

    def new(self) -> list[Client]:
        """Clients that were never here."""
        return self.greet([Client(self.world) for _ in range(CLIENTS)])

    def resume(self, clients: list[Client]) -> list[Client]:
        """The same clients on new connections."""
        return self.greet([Client(self.world, client) for client in clients])

    def cut(self, clients: list[Client]) -> None:
        """They are gone."""
        for client in clients:
            client.cut()
        self.pump()

    def expect(self, system: Counter[str], calls: int) -> None:
        """For each client no more of anything than this since the last time."""
        most = Counter({name: count * CLIENTS for name, count in system.items()})
        assert not self.system - most, {name: count / CLIENTS for name, count in self.system.items()}
        if platform.python_implementation() != "PyPy":
            assert self.calls.count / CLIENTS < calls
        self.forget()

    def forget(self) -> None:
        """Count from zero."""
        self.system.clear()
        self.calls.count = 0


COME = Counter(add=1, read=1, write=1)
PROVE = Counter(read=1, write=1, tune=2)
"""What a resume takes besides: the answer to the proof goes out with what was missed. While there is no answer, the
socket's end is a reset."""
GO = Counter(read=1, remove=1, close=1)
SEND_AWAY = Counter(shut=1, read=1)
"""What it takes besides to close a connection that its client has left open."""


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr("voltlane.core.protocols.v2.check_point", lambda point: None)  # some libraries are in Python
    made = Door()
    yield made
    made.world.abandon()


def test_a_new_connection(door: Door) -> None:
    clients = door.new()
    door.expect(COME, 124)
    door.cut(clients)
    door.expect(GO, 50)


def test_a_resume(door: Door) -> None:
    """Of a session whose key was agreed on before, with something that was missed."""
    clients = door.resume(door.new())
    door.cut(clients)
    for client in clients:
        door.world.master.send(client.id, b"missed")
    door.pump()
    door.forget()
    clients = door.resume(clients)
    assert all(client.got == [b"missed"] for client in clients)
    door.expect(COME + PROVE, 325)
    door.cut(clients)
    door.expect(GO, 50)


def test_a_takeover(door: Door) -> None:
    """The client is back before the end of its old connection is."""
    clients = door.resume(door.new())
    door.forget()
    door.resume(clients)
    door.expect(COME + PROVE + GO + SEND_AWAY, 309 + 6)  # 6: those two calls to tune, as they are counted here


def test_the_reference_is_the_reference() -> None:
    """What `chosen` above means on this installation, so that a run says what it has counted."""
    assert batch.BACKEND in ("native", "pure Python", "plain Python")
    assert plain.retag is not runs.retag
