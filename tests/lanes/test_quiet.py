"""The clients that say little, read all at once: what is taken, what is left, and that each fails alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from kit.frames import join
from kit.sockets import Broken
from kit.world import MakeWorld, World, numbered

from voltlane.lanes.fairness.turns import QUEUED
from voltlane.lanes.prefix import READER, PrefixConnection
from voltlane.lanes.quiet import QuietReads
from voltlane.lanes.shared import QUIET
from voltlane.reasons import CloseReason

EACH_POLLER = True


class Batches:
    """What was left to the handlers, by client id."""

    def __init__(self, home: World) -> None:
        self.left: list[int] = []
        reads = QuietReads(home.server.clients)

        def read(events: list[tuple[int, int]], handlers: list[Any]) -> list[tuple[int, int]]:
            left = reads.read(events, handlers)
            clients = [handlers[fd] for fd, _ in left]
            self.left += [client.client_id for client in clients if isinstance(client, PrefixConnection)]
            return left

        home.loop.batch_readers[READER] = read


@pytest.mark.parametrize("size", [0, 1, 64, QUIET])
def test_a_packet_alone_needs_no_handler(make: MakeWorld, size: int):
    home = make()
    clients = [home.new() for _ in range(5)]
    batches = Batches(home)
    for client in clients:
        client.send(bytes(size))
    home.settle()
    assert all(home.master.data[client.id] == [bytes(size)] for client in clients) and batches.left == []


@pytest.mark.parametrize(
    ("payloads", "cut"),
    [([b"a", b"b"], 10), ([bytes(QUIET + 1)], 9999), ([b"abc"], 6), ([b"abc"], 1), ([b""], 3)],
    ids=["two", "large", "a part", "a byte", "no whole prefix"],
)
def test_what_else_one_may_send(make: MakeWorld, payloads: list[bytes], cut: int):
    home = make()
    other, client = home.new(), home.new()
    batches = Batches(home)
    stream = join(payloads)
    client.write(stream[:cut])
    other.send(b"quiet")
    home.settle()
    client.write(stream[cut:] + join([b"end"]))
    home.settle()
    assert home.master.data[client.id] == [*payloads, b"end"] and home.master.data[other.id] == [b"quiet"]
    assert set(batches.left) <= {client.id}, "the other one was read without its handler"


def test_who_has_something_else_going_on_is_left(make: MakeWorld):
    home = make({"clients.idle_secs": 100})
    client = home.new()
    batches = Batches(home)
    client.send(b"counted")
    home.settle()
    assert batches.left == [client.id] and home.master.data[client.id] == [b"counted"]


@pytest.fixture(params=[ConnectionResetError("reset"), BlockingIOError()], ids=["reset", "nothing there"])
def error(request: pytest.FixtureRequest) -> Iterator[Exception]:
    yield request.param


def test_one_that_fails_fails_alone(make: MakeWorld, error: Exception):
    home = make()
    clients = [home.new() for _ in range(3)]
    connection = home.server.clients.connections[1]
    connection.sock = Broken(connection.sock, error)  # type: ignore[arg-type, assignment]
    for client in clients:
        client.send(b"here")
    home.loop.turn(0)
    home.loop.turn(0)
    home.pump()
    assert [home.master.data[client.id] for client in clients] == [[b"here"], [], [b"here"]]
    lost = isinstance(error, ConnectionResetError)
    assert home.server.counters.closed == ({CloseReason.PEER_LOST: 1} if lost else {}) and home.loop.bugs == []
    for client in clients:
        client.cut()
    connection.close(CloseReason.SHUTDOWN)


def test_a_full_trunk_ends_a_batch_and_nothing_is_lost(make: MakeWorld):
    home = make({"master.channel_capacity": 10})
    loud = [home.new() for _ in range(6)]
    quiet = home.new()
    home.master.reading = False
    payloads = numbered(200, 996)
    for client in loud:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client.write(join(payloads))
    quiet.send(b"psst")
    home.loop.turn(0)
    connection = home.server.clients.connections[-1]
    assert home.server.trunk.full and connection.client_id == quiet.id and connection.flags & QUEUED
    home.master.reading = True
    home.settle()
    assert home.master.data[quiet.id] == [b"psst"]
    assert all(home.master.data[client.id] == payloads for client in loud)
