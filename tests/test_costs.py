"""What a packet costs, in things that can be counted: system calls, calls of functions, memory. Nothing is timed.

The bounds are about a third above what was counted when they were set. They catch work per packet where there was work
per batch; how fast it all is, a benchmark tells.
"""

from __future__ import annotations

import platform
import random
import sys
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from kit.frames import data, join
from kit.world import Client, World

from voltlane.wire import batch
from voltlane.wire.batch import plain, runs

CLIENTS, PACKETS = 40, 250
TOTAL = CLIENTS * PACKETS
ROOM = 1 << 20
"""Bytes of every send buffer here: there is to be no pressure."""

on_cpython = pytest.mark.skipif(
    platform.python_implementation() == "PyPy", reason="PyPy's compiler does away with most of what is counted"
)


class Counted:
    """A socket that counts how often it is read and written."""

    def __init__(self, sock: Any, count: list[int]) -> None:
        self._sock, self._count = sock, count

    def __getattr__(self, name: str) -> Any:
        if name in ("send", "sendmsg", "recv_into"):
            self._count[0] += 1
        return getattr(self._sock, name)


class Road:
    """A server with clients and a master that say nothing by themselves."""

    def __init__(self) -> None:
        self.world = World()
        self.world.connect_master(send_buffer=ROOM)
        self.clients = [self.world.new(send_buffer=ROOM) for _ in range(CLIENTS)]
        self.calls = [0]
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


@pytest.fixture(params=["runs", "chosen"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The loops in pure Python, and those this installation has chosen."""
    if request.param == "runs":
        monkeypatch.setattr("voltlane.edges.tcp.retag", runs.retag)
        monkeypatch.setattr("voltlane.edges.master.group", runs.group)
        return "pure Python"
    return batch.BACKEND


def sizes(kind: str) -> list[int]:
    chance = random.Random(5)
    return [64 if kind == "same" else chance.randint(16, 112) for _ in range(TOTAL)]


def client_chunks(kind: str) -> list[bytes]:
    return [join(bytes(size) for size in sizes(kind)[:PACKETS]) for _ in range(CLIENTS)]


def without_counting(turn: Callable[[], object]) -> None:
    turn()


def test_system_calls_up(road: Road) -> None:
    """A read a client and a write for a quarter of a megabyte, whatever the packets' number."""
    road.up(client_chunks("same"), without_counting)
    assert road.calls[0] / TOTAL * 1000 < 6


def test_system_calls_down(road: Road) -> None:
    """A write a client for all that one read from the master brings."""
    road.down([bytes(64)] * TOTAL, without_counting)
    assert road.calls[0] / TOTAL * 1000 < 6


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
    calls = Calls()
    if way == "up":
        road.up(client_chunks(kind), calls)
    else:
        road.down([bytes(size) for size in sizes(kind)], calls)
    assert calls.count / TOTAL < BOUNDS[loops, way, kind]


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


def test_the_reference_is_the_reference() -> None:
    """What `chosen` above means on this installation, so that a run says what it has counted."""
    assert batch.BACKEND in ("native", "pure Python", "plain Python")
    assert plain.retag is not runs.retag
