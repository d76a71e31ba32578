"""Clients over WebSocket that say little, read all at once: what is taken, what is left, and that each fails alone."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from kit.lanes import websocket
from kit.sockets import Broken
from kit.websocket_speaker import BINARY, CONTINUATION, PING, TEXT, client_frame
from kit.world import Client, MakeWorld, World, numbered

from voltlane.lanes.fairness.turns import QUEUED, SMOOTH
from voltlane.lanes.quiet_websockets import QuietWebSockets
from voltlane.lanes.shared import QUIET
from voltlane.lanes.websocket_path import READER, WebSocketConnection
from voltlane.reasons import CloseReason

EACH_POLLER = True

KEY = b"\x9d\x5c\x00\xe1"


class Batches:
    """Whose events were left to the handlers, and who was read in full."""

    def __init__(self, home: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: list[int] = []
        reads = QuietWebSockets(home.server.clients)

        def read(events: list[tuple[int, int]], handlers: list[Any]) -> list[tuple[int, int]]:
            left = reads.read(events, handlers)
            clients = [handlers[fd] for fd, _ in left]
            self.left += [client.client_id for client in clients if isinstance(client, WebSocketConnection)]
            return left

        take = WebSocketConnection.take

        def noted(client: WebSocketConnection, received: int, most: int) -> None:
            self.left.append(client.client_id)
            take(client, received, most)

        monkeypatch.setattr(WebSocketConnection, "take", noted)
        home.loop.batch_readers[READER] = read


def new(home: World) -> Client:
    return home.new(lane=websocket)


@pytest.mark.parametrize("size", [0, 1, 64, 125, 126, QUIET])
def test_a_packet_alone_needs_no_handler(make: MakeWorld, size: int, monkeypatch: pytest.MonkeyPatch):
    home = make()
    clients = [new(home) for _ in range(5)]
    batches = Batches(home, monkeypatch)
    for client in clients:
        client.write(client_frame(BINARY, b"x" * size, KEY))
    home.settle()
    assert all(home.master.data[client.id] == [b"x" * size] for client in clients) and batches.left == []
    assert home.server.counters.packets_up == 5


@pytest.mark.parametrize(
    ("stream", "payloads", "cut"),
    [
        (client_frame(BINARY, b"a", KEY) + client_frame(BINARY, b"b", KEY), [b"a", b"b"], 99),
        (client_frame(BINARY, bytes(QUIET + 1), KEY), [bytes(QUIET + 1)], 9999),
        (client_frame(BINARY, bytes(70_000), KEY), [bytes(70_000)], 1000),
        (client_frame(BINARY, b"abc", KEY), [b"abc"], 8),
        (client_frame(BINARY, b"abc", KEY), [b"abc"], 1),
        (client_frame(BINARY, b"", KEY), [b""], 5),
        (client_frame(PING, b"are you there?", KEY), [], 99),
        (client_frame(BINARY, b"a", KEY, fin=False) + client_frame(CONTINUATION, b"b", KEY), [b"ab"], 99),
        (client_frame(BINARY, b"a", KEY, fin=False) + client_frame(CONTINUATION, b"b", KEY), [b"ab"], 7),
    ],
    ids=["two", "large", "very large", "a part", "a byte", "a part of a head", "a ping", "in parts", "parts apart"],
)
def test_what_else_one_may_send(
    make: MakeWorld, stream: bytes, payloads: list[bytes], cut: int, monkeypatch: pytest.MonkeyPatch
):
    home = make()
    other, client = new(home), new(home)
    batches = Batches(home, monkeypatch)
    client.write(stream[:cut])
    other.write(client_frame(BINARY, b"quiet", KEY))
    home.settle()
    client.write(stream[cut:] + client_frame(BINARY, b"end", KEY))
    home.settle()
    assert home.master.data[client.id] == [*payloads, b"end"] and home.master.data[other.id] == [b"quiet"]
    assert set(batches.left) == {client.id}
    home.audit()


def test_a_mistake_ends_who_made_it(make: MakeWorld):
    home = make()
    clients = [new(home) for _ in range(3)]
    clients[1].write(client_frame(TEXT, b"text", KEY))
    for client in clients[::2]:
        client.write(client_frame(BINARY, b"here", KEY))
    home.settle()
    assert [home.master.data[client.id] for client in clients] == [[b"here"], [], [b"here"]]
    assert home.server.counters.closed == {CloseReason.TEXT_REFUSED: 1}


def test_who_has_something_else_going_on_is_left(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    home = make({"clients.idle_secs": 100})
    client = new(home)
    batches = Batches(home, monkeypatch)
    client.write(client_frame(BINARY, b"counted", KEY))
    home.settle()
    assert batches.left == [client.id] and home.master.data[client.id] == [b"counted"]


def test_it_is_there_while_there_is_anybody_to_read(make: MakeWorld):
    home = make()
    home.new()
    assert READER not in home.loop.batch_readers
    clients = [new(home), new(home)]
    assert READER in home.loop.batch_readers
    clients[0].cut()
    home.settle()
    assert READER in home.loop.batch_readers
    clients[1].cut()
    home.settle()
    assert READER not in home.loop.batch_readers


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), BlockingIOError()], ids=["reset", "nothing there"])
def test_one_that_fails_fails_alone(make: MakeWorld, error: Exception):
    home = make()
    clients = [new(home) for _ in range(3)]
    connection = home.server.clients.connections[1]
    connection.sock = Broken(connection.sock, error)  # type: ignore[arg-type, assignment]
    for client in clients:
        client.write(client_frame(BINARY, b"here", KEY))
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
    loud = [new(home) for _ in range(6)]
    quiet = new(home)
    for connection in home.server.clients.connections[:-1]:
        connection.flags |= SMOOTH  # they are known to send whole messages, and read as much at once as others
    home.master.reading = False
    payloads = numbered(200, 996)
    for client in loud:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        client.write(b"".join(client_frame(BINARY, payload, KEY) for payload in payloads))
    quiet.write(client_frame(BINARY, b"psst", KEY))
    home.loop.turn(0)
    connection = home.server.clients.connections[-1]
    assert home.server.trunk.full and connection.client_id == quiet.id and connection.flags & QUEUED
    home.master.reading = True
    home.settle()
    assert home.master.data[quiet.id] == [b"psst"]
    assert all(home.master.data[client.id] == payloads for client in loud)
