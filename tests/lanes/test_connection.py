"""Clients with a session, on a fake clock: ends, sizes, fairness."""

from __future__ import annotations

import socket

import pytest
from kit.frames import join
from kit.world import SERVER_KEY, MakeWorld, numbered

from voltlane.lanes.fairness.turns import QUANTUM
from voltlane.reasons import CloseReason
from voltlane.wire.tagged import Flag

EACH_POLLER = True


def test_up_and_down(make: MakeWorld):
    home = make()
    clients = [home.new() for _ in range(3)]
    assert [client.id for client in clients] == [1, 2, 3] and clients[0].server_key == SERVER_KEY.public
    for client in clients:
        client.send(b"", b"up", bytes([client.id]))
    home.settle()
    assert home.master.data == {client.id: [b"", b"up", bytes([client.id])] for client in clients}
    for client in clients:
        home.master.send(client.id, b"down", b"", bytes([client.id]))
    home.settle()
    assert all(client.got == [b"down", b"", bytes([client.id])] for client in clients)


# ---- ends


@pytest.mark.parametrize("together", [False, True], ids=["end alone", "end behind data"])
def test_a_client_that_leaves_is_noticed(make: MakeWorld, together: bool):
    """epoll tells of the data and of the end behind it with one event: both must be read."""
    home = make()
    client = home.new()
    if together:
        client.send(b"bye")
    client.cut()
    home.settle()
    assert home.connected() == 0 and home.server.registry.stale_count == 1
    assert home.master.data == ({client.id: [b"bye"]} if together else {})
    assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}


def test_a_client_that_leaves_behind_much_data_is_noticed(make: MakeWorld):
    home = make()
    client = home.new()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    payloads = numbered(300, 500)
    client.send(*payloads)
    client.cut()
    home.settle()
    whole = home.master.data[client.id]
    assert whole == payloads[: len(whole)] and len(whole) >= len(client.sent)
    assert home.connected() == 0


def test_a_frame_over_the_limit_closes_but_the_session_can_come_back(make: MakeWorld):
    home = make({"clients.packet_size_limit": 100})
    client = home.new()
    client.send(b"x" * 100, b"x" * 101, b"never")
    home.settle()
    assert client.ended and home.master.data[client.id] == [b"x" * 100]
    assert home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}
    home.resume(client).send(b"sorry")
    home.settle()
    assert home.master.data[client.id] == [b"x" * 100, b"sorry"]


@pytest.mark.parametrize("size", [101, 1000, 5000])
def test_a_frame_over_the_limit_that_comes_alone(make: MakeWorld, size: int):
    home = make({"clients.packet_size_limit": 100})
    client = home.new()
    client.send(b"x" * size)
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}
    assert home.master.data == {}


# ---- sizes


@pytest.mark.parametrize("size", [4095, 4096, 4097, 65_531, 65_532, 65_533, 131_072, 1_000_000])
def test_packets_of_every_kind_of_size(make: MakeWorld, size: int):
    home = make()
    client = home.new()
    payloads = [b"small", bytes([7]) * size, b"", bytes([8]) * size, b"last"]
    client.send(*payloads)
    home.settle()
    assert home.master.data[client.id] == payloads
    home.master.send(client.id, *payloads)
    home.settle()
    assert client.got == payloads


def test_the_largest_packets(make: MakeWorld):
    home = make()
    client = home.new()
    largest = bytes(range(256)) * 32768
    payload = largest[: 8 * 1024 * 1024 - 9]
    client.send(payload, b"behind")
    home.settle()
    assert home.master.data[client.id] == [payload, b"behind"]
    home.master.send(client.id, payload, b"behind")
    home.settle()
    assert client.got == [payload, b"behind"]


def test_an_announced_size_takes_no_memory(make: MakeWorld):
    home = make()
    clients = [home.new() for _ in range(20)]
    for client in clients:
        client.write((8_000_000).to_bytes(4, "little") + b"a little")
    home.settle()
    for connection in home.server.clients.connections:
        assert connection.partial is not None and len(connection.partial._buffer) < 100  # type: ignore[union-attr]


# ---- fairness


def test_the_quiet_are_heard_among_the_loud(make: MakeWorld):
    home = make()
    loud = [home.new() for _ in range(4)]
    quiet = home.new()
    for client in loud:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        client.write(join([b"x" * 1000] * 3000))
    quiet.send(b"psst")
    home.settle()
    before = sum(
        len(tagged.data) for tagged in home.master.log[: home.master.log.index((quiet.id, Flag.DATA, b"psst"))]
    )
    assert before <= len(loud) * QUANTUM
    assert all(len(home.master.data[client.id]) == 3000 for client in loud)
