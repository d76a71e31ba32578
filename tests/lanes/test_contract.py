"""What every lane keeps, whatever is on its wire: the same tests over each that has a module in `kit/lanes`."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from types import ModuleType

import pytest
from kit.frames import join
from kit.speaker import lanes
from kit.world import CLIENT_KEY, Client, MakeWorld, World, numbered

from voltlane.core.session import State
from voltlane.lanes.fairness.turns import PARKED
from voltlane.net.poller import READ
from voltlane.reasons import BY_PEER, CloseReason, EndReason
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import ProtocolVersion, PubKey, encode

EACH_POLLER = True

LANES = {module.LANE.name: module for module in lanes()}


@pytest.fixture(params=LANES.values(), ids=LANES)
def lane(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    yield request.param


@pytest.fixture(params=LANES.values(), ids=[f"other-{name}" for name in LANES])
def other(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The lane that a client comes back by."""
    yield request.param


def wire_of(client: Client, *messages: bytes) -> bytes:
    return b"".join(client.speaker.encode(message) for message in messages)


def hello(client: Client) -> bytes:
    """All that a new client says until its session begins."""
    return client.speaker.opening + wire_of(client, encode(ProtocolVersion(2)), encode(PubKey(CLIENT_KEY.public)))


def deep(client: Client) -> Client:
    """A client whose side takes much at once."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    return client


# ---- order


def test_packets_arrive_once_and_in_order(make: MakeWorld, lane: ModuleType):
    home = make()
    clients = [home.new(lane=lane) for _ in range(3)]
    payloads = [b"", b"x", *numbered(300), bytes(5000), b"y" * 70_000, b"z" * 300_000, b"", b"end"]
    for client in clients:
        client.send(*payloads)
    home.settle()
    assert all(home.master.data[client.id] == payloads for client in clients)
    for client in clients:
        home.master.send(client.id, *payloads)
    home.settle()
    assert all(client.got == payloads for client in clients)


def test_one_byte_at_a_time(make: MakeWorld, lane: ModuleType):
    home = make()
    client = Client(home, lane=lane)
    for byte in hello(client) + wire_of(client, b"one", b"", b"three"):
        client.write(bytes([byte]))
        home.loop.turn(0)
        client.pump()
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"one", b"", b"three"]


@pytest.mark.parametrize("size", [0, 100, 448, 20_000, 300_000])
def test_what_is_behind_the_handshake_is_data(make: MakeWorld, lane: ModuleType, size: int):
    home = make()
    client = deep(Client(home, lane=lane))
    payloads = [*numbered(size // 100, 90), b"last"]
    client.write(hello(client) + wire_of(client, *payloads))
    home.settle()
    assert client.ready and home.master.data[client.id] == payloads


@pytest.mark.one_poller
@pytest.mark.parametrize("size", [1, 1000, 70_000, 8 * 1024 * 1024 - 9])
def test_the_sizes_of_packets(make: MakeWorld, lane: ModuleType, size: int):
    home = make()
    client = home.new(lane=lane)
    payload = bytes(range(256)) * (size // 256) + b"#" * (size % 256)
    client.send(payload, b"behind")
    home.settle()
    assert home.master.data[client.id] == [payload, b"behind"]
    home.master.send(client.id, payload, b"behind")
    home.settle()
    assert client.got == [payload, b"behind"]


def test_a_read_that_ends_anywhere(make: MakeWorld, lane: ModuleType):
    home = make()
    client = home.new(lane=lane)
    payloads = [b"a", b"bb" * 50, b"", b"c" * 5000]
    stream = wire_of(client, *payloads)
    for cut in (*range(0, 40), *range(100, len(stream), 997)):
        client.write(stream[:cut])
        home.settle()
        client.write(stream[cut:])
        home.settle()
        assert home.master.data.pop(client.id) == payloads, cut


# ---- before the session


def test_nobody_waits_for_a_client_that_says_nothing(make: MakeWorld, lane: ModuleType):
    """All stages together have one deadline, and a byte now and then moves it for none."""
    home = make({"clients.handshake_secs": 5})
    silent, slow = Client(home, lane=lane), Client(home, lane=lane)
    stream = hello(slow)
    for number in range(len(stream) - 1):
        slow.write(stream[number : number + 1])
        home.pass_(4.9 / len(stream), step=0.05)
    assert not silent.ended and not slow.ended
    home.pass_(0.4, step=0.05)
    assert silent.ended and slow.ended and home.server.counters.closed == {CloseReason.HANDSHAKE_TIMEOUT: 2}


def test_an_end_before_the_session(make: MakeWorld, lane: ModuleType):
    home = make()
    stream = hello(Client(home, lane=lane))
    for cut in range(0, len(stream), 5):
        client = Client(home, lane=lane)
        client.write(stream[:cut])
        client.cut()
        home.settle()
        # An answer to one that is gone finds that out as well.
        assert home.connected() == 1 and set(home.server.counters.closed) <= BY_PEER, cut
        assert sum(home.server.counters.closed.values()) == 1 + cut // 5


@pytest.mark.parametrize("stream", [b"\xff" * 200, b"GET / HTTP/1.1\r\n\r\n"], ids=["bits", "http"])
def test_what_is_no_client_of_this_lane(make: MakeWorld, lane: ModuleType, stream: bytes):
    home = make()
    bad, good = Client(home, lane=lane), home.new(lane=lane)
    bad.write(stream)
    home.settle()
    assert bad.ended and not good.ended and home.loop.bugs == []
    assert set(home.server.counters.closed) <= {
        CloseReason.MALFORMED_PACKET,
        CloseReason.MALFORMED_FRAME,
        CloseReason.FRAME_TOO_LARGE,
        CloseReason.BAD_REQUEST,
    }


def test_a_handshake_message_that_is_too_large(make: MakeWorld, lane: ModuleType):
    home = make()
    client = Client(home, lane=lane)
    client.write(client.speaker.opening + wire_of(client, bytes(129)))
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}


def test_behind_a_proxy(make: MakeWorld, lane: ModuleType):
    home = make({"listener.proxy_protocol": "required", "listener.proxy_networks": "10.0.0.0/8"})
    client = Client(home, lane=lane, address=("10.0.0.1", 7000))
    client.write_plain(b"PROXY TCP4 192.0.2.1 192.0.2.1 5000 1\r\n")
    client.write(hello(client) + wire_of(client, b"first"))
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"first"]
    assert [connection.peer for connection in home.server.clients.connections] == ["192.0.2.1:5000"]


# ---- limits


def test_a_packet_over_the_limit(make: MakeWorld, lane: ModuleType):
    """It ends the connection that sent it, behind what was right; the session can come back."""
    home = make({"clients.packet_size_limit": 100})
    client = home.new(lane=lane)
    client.send(b"x" * 100, b"x" * 101, b"never")
    home.settle()
    assert client.ended and home.master.data[client.id] == [b"x" * 100]
    assert home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}
    home.resume(client, lane=lane).send(b"sorry")
    home.settle()
    assert home.master.data[client.id] == [b"x" * 100, b"sorry"]


def test_a_part_of_a_packet_counts_in_the_memory_for_queues(make: MakeWorld, lane: ModuleType):
    home = make({"limits.memory_bytes": 400_000, "master.outbox_bytes": 10_000, "clients.outbox_bytes": 10_000})
    client, other = home.new(lane=lane), home.new(lane=lane)
    client.write(wire_of(client, bytes(300_000))[:-1])
    home.settle()  # which audits the account
    assert home.server.budget.used >= 299_000 and not client.ended
    other.write(wire_of(other, bytes(200_000))[:-1])
    home.settle()
    assert client.ended and not other.ended and home.server.counters.closed == {CloseReason.FRAME_SHED: 1}


@pytest.mark.parametrize("policy", ["throttle", "disconnect"])
def test_a_rate(make: MakeWorld, lane: ModuleType, policy: str):
    home = make({"clients.packet_rate": 10, "clients.rate_burst_secs": 1, "clients.rate_policy": policy})
    client = home.new(lane=lane)
    client.send(*numbered(30))
    home.settle()
    client.send(b"late")
    home.settle()
    assert home.master.data[client.id] == numbered(30)
    if policy == "disconnect":
        assert client.ended and home.server.counters.closed == {CloseReason.RATE_EXCEEDED: 1}
    else:
        home.pass_(5)
        assert home.master.data[client.id][30:] == [b"late"] and home.server.counters.throttled >= 1


def test_a_full_trunk_stops_reading_and_loses_nothing(make: MakeWorld, lane: ModuleType):
    home = make({"master.channel_capacity": 50})
    home.master.reading = False
    clients = [deep(home.new(lane=lane)) for _ in range(3)]
    payloads = numbered(2000, 500)
    for client in clients:
        client.send(*payloads)
    for _ in range(20):
        home.loop.turn(0)
    assert home.server.trunk.full
    home.master.reading = True
    home.settle()
    assert all(home.master.data[client.id] == payloads for client in clients)


# ---- slow readers


def test_a_slow_reader_gets_everything_in_order(make: MakeWorld, lane: ModuleType):
    home = make({"clients.channel_capacity": 100_000})
    client = home.new(lane=lane)
    client.reading = False
    payloads = [*numbered(3000, 300), b"x" * 400_000, *numbered(500, 300)]
    home.master.send(client.id, *payloads)
    for _ in range(3000):
        home.settle()
        if not client.read_some(777 if len(client.got) < 100 else 40_000) and client.got == payloads:
            break
    assert client.got == payloads


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"clients.outbox_bytes": 50_000}, CloseReason.OUTBOX_FULL),
        ({"clients.channel_capacity": 10, "clients.slow_secs": 2}, CloseReason.TOO_SLOW),
        ({"clients.write_stall_secs": 2}, CloseReason.WRITE_STALLED),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, CloseReason) else "",
)
def test_limits_for_who_does_not_read(
    make: MakeWorld, lane: ModuleType, settings: dict[str, object], reason: CloseReason
):
    home = make(settings)
    client = home.new(lane=lane)
    client.reading = False
    home.master.send(client.id, *numbered(400, 1000))
    home.settle()
    home.pass_(5)
    assert home.server.counters.closed == {reason: 1}
    stays = reason is CloseReason.WRITE_STALLED
    assert (client.id in home.server.registry.sessions) == stays
    assert home.server.counters.ended == ({} if stays else {EndReason.OVERFLOW: 1})


def test_limits_do_not_depend_on_the_lane(make: MakeWorld, lane: ModuleType):
    """What waits is counted as the core's frames: to the byte the same on every lane."""
    home = make({"clients.channel_capacity": 100_000})
    client = home.new(lane=lane)
    (connection,) = home.server.clients.connections
    client.reading = False
    payloads = numbered(2000, 500)
    home.master.send(client.id, *payloads)
    home.settle()
    assert connection.outbox is not None
    written = len(payloads) - connection.outbox.packets
    assert len(join(payloads[written:])) >= connection.outbox.size > len(join(payloads[written + 1 :])) - (1 << 18)
    client.reading = True
    home.settle()
    assert client.got == payloads


def test_who_does_not_read_is_not_read(make: MakeWorld, lane: ModuleType):
    home = make({"clients.outbox_bytes": 1_000_000})
    client = deep(home.new(lane=lane))
    (connection,) = home.server.clients.connections
    client.reading = False
    home.master.send(client.id, *numbered(300, 1000))
    home.settle()
    client.send(b"unheard")
    home.settle()
    assert connection.flags & PARKED and home.master.data[client.id] == []
    client.reading = True
    home.settle()
    assert client.got == numbered(300, 1000) and home.master.data[client.id] == [b"unheard"]


# ---- ends


def test_half_a_close(make: MakeWorld, lane: ModuleType):
    """A client that says no more is heard to its end, and gets what was on its way."""
    home = make()
    client = deep(home.new(lane=lane))
    payloads = numbered(2000, 300)
    client.send(*payloads)
    home.master.send(client.id, b"on its way")
    client.sock.shutdown(socket.SHUT_WR)
    home.settle()
    assert home.master.data[client.id] == payloads and client.got == [b"on its way"]
    assert client.ended and home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}
    assert home.server.registry.stale_count == 1


def test_a_client_that_is_cut_at_any_byte(make: MakeWorld, lane: ModuleType):
    """What was sent whole before has arrived, in order, and the session goes on with the next connection."""
    home = make()
    client = home.new(lane=lane)
    payloads = [b"one", b"", b"three" * 10]
    stream = wire_of(client, *payloads)
    for cut in range(len(stream) + 1):
        whole = max(count for count in range(4) if len(wire_of(client, *payloads[:count])) <= cut)
        client.write(stream[:cut])
        client.cut()
        home.settle()
        assert home.server.registry.stale_count == 1
        assert home.master.data.pop(client.id, []) == payloads[:whole], cut
        client = home.resume(client, lane=lane)


def test_a_slow_reader_that_is_cut_at_any_byte(make: MakeWorld, lane: ModuleType, other: ModuleType):
    """What its socket had not taken waits for it, from the first packet that was not written whole."""
    home = make({"clients.channel_capacity": 100_000})
    client = home.new(lane=lane)
    chance, sent = random.Random(4), []
    for number in range(15):
        client.reading = False
        payloads = numbered(chance.randrange(1, 400), chance.choice([3, 80, 900]), start=1000 * number)
        home.master.send(client.id, *payloads)
        sent += payloads
        home.settle()
        client.read_some(chance.randrange(20_000))
        for _ in range(3):
            home.loop.turn(0)
        client.cut()
        home.settle()
        client = home.resume(client, lane=other if number % 2 else lane)
    home.settle()
    assert client.got == sent


def test_a_kick_is_told_where_the_framing_can(make: MakeWorld, lane: ModuleType):
    home = make()
    client = home.new(lane=lane)
    home.master.kick(client.id)
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.KICKED: 1}
    assert client.speaker.ended == bool(client.speaker.close())


# ---- resume and takeover


def test_resume(make: MakeWorld, lane: ModuleType, other: ModuleType):
    home = make()
    client = home.new(lane=lane)
    client.send(b"before")
    home.settle()
    client.cut()
    home.settle()
    missed = [*numbered(200, 1000), b"x" * 100_000]
    home.master.send(client.id, *missed)
    home.settle()
    client = home.resume(client, lane=other)
    home.master.send(client.id, b"new")
    client.send(b"after")
    home.settle()
    assert client.got == [*missed, b"new"] and home.master.data[client.id] == [b"before", b"after"]
    assert home.master.notices(Flag.RECONNECTION) == [(client.id, b"")]


def test_takeover(make: MakeWorld, lane: ModuleType, other: ModuleType):
    """By the same lane or another: what the old connection had delivered is read, what it had not taken follows."""
    home = make({"clients.channel_capacity": 100_000})
    old = home.new(lane=lane)
    old.reading = False
    payloads = numbered(1500, 300)
    home.master.send(old.id, *payloads)
    home.settle()
    for number in range(3):
        home.loop.turn(0)
        old.send(b"last words %d" % number)
    new = home.start_resume(old, lane=other)
    old.reading = True
    while not new.ready:
        home.loop.turn(0)
        old.pump()  # first: it is the older end of one stream
        new.pump()
    new.send(b"first words")
    home.settle()
    assert old.ended and home.server.counters.closed == {CloseReason.TAKEN_OVER: 1}
    assert new.got == payloads
    assert home.master.data[new.id] == [b"last words 0", b"last words 1", b"last words 2", b"first words"]


def test_a_takeover_drains_what_nobody_was_told_of(make: MakeWorld, lane: ModuleType, other: ModuleType):
    """Also what was delivered and not read yet, behind what the framing keeps."""
    home = make()
    old = home.new(lane=lane)
    (connection,) = home.server.clients.connections
    stream = wire_of(old, b"cut in two" * 20, b"behind")
    old.write(stream[:50])
    home.settle()
    home.server.clients.turns.pause()
    old.write(stream[50:])
    home.settle()
    assert home.master.data[old.id] == []
    new = home.resume(old, lane=other)
    assert home.master.data[old.id] == [b"cut in two" * 20, b"behind"] and connection.closed
    home.server.clients.turns.resume()
    home.settle()
    assert not new.ended


@pytest.mark.one_poller
def test_lives(make: MakeWorld, lane: ModuleType, other: ModuleType):
    """Sessions that wander between two lanes: up, down, cut and taken over in any order."""
    for seed in range(8):
        home, chance = make({"clients.channel_capacity": 100_000}), random.Random(seed)
        client = home.new(lane=lane)
        session = home.server.registry.sessions[client.id]
        down: list[bytes] = []
        up: list[bytes] = []
        for number in range(60):
            step = chance.choice(["up", "down", "down", "read", "pause", "cut", "take over", "ping"])
            payloads = numbered(chance.randrange(1, 60), chance.choice([0, 50, 3000]), start=100 * number)
            if step == "up":
                client.send(*payloads)
                up += payloads
                home.settle()
            elif step == "down":
                home.master.send(client.id, *payloads)
                down += payloads
            elif step == "read":
                client.reading = True
            elif step == "pause":
                client.reading = False
            elif step == "ping":
                client.write(client.speaker.ping())
            else:
                home.settle()
                client.reading = True
                if step == "cut":
                    client.cut()
                home.settle()
                client = home.resume(client, lane=chance.choice([lane, other]))
            home.settle()
        client.reading = True
        home.settle()
        assert session.state is State.LIVE and home.loop.bugs == []
        assert client.got == down and home.master.data[client.id] == up


# ---- the framing's own words


def test_a_ping_is_answered_between_packets(make: MakeWorld, lane: ModuleType):
    home = make({"clients.channel_capacity": 100_000})
    client = home.new(lane=lane)
    if not client.speaker.ping():
        return
    client.write(client.speaker.ping())
    home.settle()
    assert client.speaker.pongs == 1
    client.reading = False
    payloads = numbered(600, 900)
    home.master.send(client.id, *payloads)
    home.settle()
    client.read_some(5000)
    stream = wire_of(client, b"a") + client.speaker.ping() + wire_of(client, b"b") + client.speaker.ping()
    client.write(stream)
    home.settle()
    client.reading = True
    home.settle()
    assert client.speaker.pongs == 3 and client.got == payloads and home.master.data[client.id] == [b"a", b"b"]


def test_pings_of_who_does_not_read_are_bounded(make: MakeWorld, lane: ModuleType):
    home = make({"clients.outbox_bytes": 320_000})
    client = deep(home.new(lane=lane))
    if not client.speaker.ping():
        return
    (connection,) = home.server.clients.connections
    client.reading = False
    client.write(client.speaker.ping() * 20_000)
    home.settle()
    assert connection.flags & PARKED and connection.outbox is not None and connection.outbox.size < 320_000
    client.reading = True
    home.settle()
    assert client.speaker.pongs == 20_000 and not client.ended


def test_a_ping_within_the_handshake(make: MakeWorld, lane: ModuleType):
    home = make()
    client = Client(home, lane=lane)
    if not client.speaker.ping():
        return
    first, second = wire_of(client, encode(ProtocolVersion(2))), wire_of(client, encode(PubKey(CLIENT_KEY.public)))
    client.write(client.speaker.opening + client.speaker.ping() + first + client.speaker.ping() + second)
    home.settle()
    assert client.ready and client.speaker.pongs == 2


def test_a_word_to_end_with(make: MakeWorld, lane: ModuleType):
    """What was said before it is heard, and it is answered."""
    home = make()
    client = home.new(lane=lane)
    if not client.speaker.close():
        return
    client.write(wire_of(client, b"bye") + client.speaker.close())
    home.settle()
    assert home.master.data[client.id] == [b"bye"] and client.ended and client.speaker.ended
    assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 1} and home.server.registry.stale_count == 1


# ---- leaving


def test_a_server_that_stops_writes_what_waits(lane: ModuleType):
    home = World({"clients.channel_capacity": 100_000})
    home.connect_master()
    client = home.new(lane=lane)
    client.reading = False
    payloads = numbered(1000, 300)
    home.master.send(client.id, *payloads)
    home.settle()
    home.server.stop()
    home.settle()
    client.reading = True
    home.pass_(1, step=0.1)
    home.server.clients.farewell(kept=False)
    home.loop.turn(0)
    client.read()
    home.abandon()
    assert client.got == payloads and client.ended and client.speaker.ended == bool(client.speaker.close())


def test_an_error_of_ours_costs_one_client(make: MakeWorld, lane: ModuleType, monkeypatch: pytest.MonkeyPatch):
    home = make()
    bad, good = home.new(lane=lane), home.new(lane=lane)
    first = home.server.clients.connections[0]
    home.loop.call_soon(lambda: first.on_event(READ), first)
    with monkeypatch.context() as patch:
        patch.setattr(type(first), "receive", lambda self, most: 1 / 0)
        home.loop.turn(0)
    home.settle()
    assert bad.ended and home.server.counters.closed == {CloseReason.INTERNAL_ERROR: 1}
    assert [type(bug) for bug in home.loop.bugs] == [ZeroDivisionError]
    home.loop.bugs.clear()
    good.send(b"still here")
    home.settle()
    assert home.master.data[good.id] == [b"still here"]


def test_nothing_is_left(make: MakeWorld, lane: ModuleType, other: ModuleType):
    """The world is found empty at the end of every test here; this one leaves in all ways at once."""
    home: World = make()
    clients = [home.new(lane=chosen) for chosen in (lane, other, lane, other)]
    clients[0].cut()
    clients[1].write(wire_of(clients[1], b"a part")[:-3])
    clients[2].reading = False
    home.master.send(clients[2].id, *numbered(500, 1000))
    home.settle()
    assert clients[3].ready
