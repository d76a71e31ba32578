"""Clients on a fake clock: handshakes, ends, mistakes, sizes, fairness."""

from __future__ import annotations

import socket

import pytest
from kit.frames import join
from kit.world import CLIENT_KEY, SERVER_KEY, Client, MakeWorld, numbered

from voltlane.edges.turns import QUANTUM
from voltlane.reasons import CloseReason
from voltlane.wire.framing import frame
from voltlane.wire.packets import ClientId, Ping, ProtocolVersion, PubKey, encode
from voltlane.wire.tagged import Flag


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


def test_bytes_behind_the_handshake_are_data(make: MakeWorld):
    home = make()
    client = Client(home)
    client.write(
        b"".join(frame(encode(packet)) for packet in (ProtocolVersion(2), PubKey(CLIENT_KEY.public)))
        + join([b"a", b"bb"])
        + frame(b"ccc")[:5]
    )
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"a", b"bb"]
    client.write(frame(b"ccc")[5:])
    home.settle()
    assert home.master.data[client.id] == [b"a", b"bb", b"ccc"]


def test_one_byte_at_a_time(make: MakeWorld):
    home = make()
    client = Client(home)
    packets = (ProtocolVersion(2), PubKey(CLIENT_KEY.public))
    stream = b"".join(frame(encode(packet)) for packet in packets) + join([b"one", b"", b"three"])
    for byte in stream:
        client.write(bytes([byte]))
        home.loop.turn(0)
        client.pump()
    home.settle()
    assert home.master.data[client.id] == [b"one", b"", b"three"]


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


def test_a_client_that_leaves_in_its_handshake_is_noticed(make: MakeWorld):
    home = make()
    client = Client(home)
    client.say(ProtocolVersion(2))
    client.cut()
    home.settle()
    assert home.connected() == 0 and home.loop.timers == 0 and home.server.registry.sessions == {}


def test_a_handshake_has_its_time(make: MakeWorld):
    home = make({"clients.handshake_secs": 5})
    silent, slow, done = Client(home), Client(home), home.new()
    slow.say(ProtocolVersion(2))
    home.pass_(4.5)
    assert not silent.ended and not slow.ended
    slow.write(b"\x01")  # a byte now and then buys nothing
    home.pass_(0.6, step=0.05)
    assert silent.ended and slow.ended and not done.ended
    assert home.server.counters.closed == {CloseReason.HANDSHAKE_TIMEOUT: 2}
    home.pass_(100)
    assert not done.ended, "who has a session has all the time"


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (frame(b"x" * 129), CloseReason.FRAME_TOO_LARGE),
        (b"\xff\xff\xff\xff", CloseReason.FRAME_TOO_LARGE),
        (frame(b"\x09"), CloseReason.MALFORMED_PACKET),
        (frame(encode(Ping())), CloseReason.UNEXPECTED_PACKET),
        (frame(encode(ProtocolVersion(3))), CloseReason.UNSUPPORTED_VERSION),
        (frame(encode(ProtocolVersion(2))) + frame(encode(PubKey(b"\x02" + bytes(32)))), CloseReason.BAD_PUBLIC_KEY),
        (frame(encode(ProtocolVersion(2))) + frame(encode(ClientId(99))), CloseReason.UNKNOWN_SESSION),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, CloseReason) else "",
)
def test_each_mistake_has_its_reason_and_closes_one_connection(make: MakeWorld, chunk: bytes, reason: CloseReason):
    home = make()
    other, bad = home.new(), Client(home)
    bad.write(chunk)
    home.settle()
    assert bad.ended and not other.ended and home.server.counters.closed == {reason: 1}
    assert set(home.server.registry.sessions) == {other.id}


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


def test_a_flood_of_handshakes_is_worked_off_in_turns(make: MakeWorld):
    home = make()
    client = home.new()
    crowd = [home.start_new() for _ in range(200)]
    client.send(b"me too")
    home.loop.turn(0)
    home.loop.turn(0)
    home.pump()
    assert home.master.data[client.id] == [b"me too"] and not all(one.ready for one in crowd)
    home.settle()
    assert all(one.ready for one in crowd)
    assert sorted(one.id for one in crowd) == list(range(2, 202))
