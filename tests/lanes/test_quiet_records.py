"""The clients of version 3 that say little, read all at once: what is taken, what is left; each fails alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kit.record_world import RecordClient, enter, told
from kit.sockets import Broken
from kit.world import MakeWorld, World, numbered

from voltlane.lanes.quiet_records import QuietRecords
from voltlane.lanes.records import READER, RecordConnection
from voltlane.lanes.shared import QUIET
from voltlane.reasons import CloseReason
from voltlane.wire.framing import frame
from voltlane.wire.v3 import Code, Kind

EACH_POLLER = True

SUITES = pytest.mark.parametrize("suite", [1, 0], ids=["sealed", "clear"])


class Batches:
    """What was left to the handlers, by client id."""

    def __init__(self, home: World) -> None:
        self.left: list[int] = []
        self.read = 0
        reads = QuietRecords(home.server.clients)

        def read(events: list[tuple[int, int]], handlers: list[Any]) -> list[tuple[int, int]]:
            left = reads.read(events, handlers)
            self.read += len(events) - len(left)
            clients = [handlers[fd] for fd, _ in left]
            self.left += [client.client_id for client in clients if isinstance(client, RecordConnection)]
            return left

        home.loop.batch_readers[READER] = read


def connection_of(home: World, client: RecordClient) -> RecordConnection:
    found = home.server.registry.sessions[client.session.id].link
    assert isinstance(found, RecordConnection)
    return found


@SUITES
@pytest.mark.parametrize("size", [0, 1, 64, QUIET])
def test_a_packet_alone_needs_no_handler(make: MakeWorld, size: int, suite: int):
    home = make({"clients.ack_secs": 1})
    clients = [enter(home, suite=suite) for _ in range(5)]
    batches = Batches(home)
    for round_ in range(3):
        for client in clients:
            client.send(bytes([round_]) * size)
        home.settle()
    expected = [bytes([round_]) * size for round_ in range(3)]
    assert all(home.master.data[client.session.id] == expected for client in clients)
    assert batches.left == [] and batches.read
    home.pass_(2)
    assert all(client.session.acked == 3 for client in clients)


@SUITES
def test_the_memory_that_it_is_read_into_is_used_again(make: MakeWorld, suite: int):
    """Before anything is written to the master: each packet must have been taken out of it."""
    home = make()
    clients = [enter(home, suite=suite) for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(b"%d:" % number + bytes([number]) * 50)
    home.settle()
    for number, client in enumerate(clients):
        assert home.master.data[client.session.id] == [b"%d:" % number + bytes([number]) * 50]


@SUITES
@pytest.mark.parametrize(
    "packets", [[b"a", b"b"], [bytes(QUIET + 1)], [bytes(70_000)], [b""] * 5], ids=["two", "large", "huge", "empty"]
)
def test_what_else_one_may_send(make: MakeWorld, packets: list[bytes], suite: int):
    home = make()
    other, client = enter(home, suite=suite), enter(home, suite=suite)
    client.send(*packets)
    other.send(b"quiet")
    home.settle()
    client.send(b"end")
    home.settle()
    assert home.master.data[client.session.id] == [*packets, b"end"]
    assert home.master.data[other.session.id] == [b"quiet"]


@SUITES
@pytest.mark.parametrize("cut", [1, 3, 4, 5, 20, 30])
def test_a_record_that_is_cut(make: MakeWorld, cut: int, suite: int):
    home = make()
    client = enter(home, suite=suite)
    client.session.sent = 2
    stream = b"".join(frame(client.endpoint.record(Kind.DATA, frame(packet))) for packet in (b"one", b"two"))
    client.write(stream[:cut])
    home.settle()
    client.write(stream[cut:])
    home.settle()
    assert home.master.data[client.session.id] == [b"one", b"two"]


@SUITES
def test_a_packet_that_is_cut(make: MakeWorld, suite: int):
    """A record alone, with a part of a packet; and one that looks like a whole packet, in the middle of another."""
    home = make()
    client = enter(home, suite=suite)
    client.session.sent = 2
    within = frame(b"a frame")
    for body in (frame(bytes(3 + len(within) + 1))[:7], within, b".", frame(b"next")):
        client.say(client.endpoint.record(Kind.DATA, body))
        home.settle()
    assert home.master.data[client.session.id] == [bytes(3) + within + b".", b"next"]


@SUITES
def test_what_is_no_data(make: MakeWorld, suite: int):
    home = make()
    client = enter(home, suite=suite)
    batches = Batches(home)
    home.master.send(client.session.id, b"one", b"two")
    home.settle()
    assert connection_of(home, client).delivery.floor == 2, "an ack"
    for body in (b"", b"there?"):
        client.say(client.endpoint.record(Kind.PING, body))
        home.settle()
    assert client.endpoint.pongs == [b"", b"there?"]
    client.say(client.endpoint.record(99))
    client.say(client.endpoint.record(Kind.DATA))
    home.settle()
    assert not client.ended and batches.read and home.master.data == {}
    client.say(client.endpoint.record(Kind.CLOSE, b"\xbd\x0b" + bytes(8)))
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}


MISTAKES = {
    "ack": (CloseReason.BAD_NUMBERS, lambda c: c.endpoint.record(Kind.DATA, frame(b"x"), ack=1)),
    "credit": (CloseReason.BAD_NUMBERS, lambda c: c.endpoint.record(Kind.DATA, frame(b"x"), credit=1)),
    "kind": (CloseReason.MALFORMED_RECORD, lambda c: c.endpoint.record(10, frame(b"x"))),
    "size": (CloseReason.FRAME_TOO_LARGE, lambda c: c.endpoint.record(Kind.DATA, (1 << 30).to_bytes(4, "little"))),
    "spent": (CloseReason.CREDIT_EXCEEDED, lambda c: c.endpoint.record(Kind.DATA, frame(bytes(900)))),
}


@SUITES
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_hits_who_made_it(make: MakeWorld, name: str, suite: int):
    home = make({"clients.window_bytes": 4096, "clients.packet_size_limit": 2000})
    clients = [enter(home, suite=suite) for _ in range(3)]
    reason, wrong = MISTAKES[name]
    if reason is CloseReason.CREDIT_EXCEEDED:
        connection_of(home, clients[1]).flow.granted = 800
    clients[0].send(b"here")
    clients[1].say(wrong(clients[1]))
    clients[2].send(b"here")
    home.settle()
    assert [home.master.data[client.session.id] for client in clients] == [[b"here"], [], [b"here"]]
    assert told(clients[1]).code in (Code.PROTOCOL, Code.TOO_LARGE)
    assert home.server.counters.closed == {reason: 1} and home.loop.bugs == []


def test_a_record_that_does_not_open(make: MakeWorld):
    home = make()
    clients = [enter(home) for _ in range(3)]
    clients[0].send(b"here")
    clients[1].say(bytes(40))
    clients[2].send(b"here")
    home.settle()
    assert [home.master.data[client.session.id] for client in clients] == [[b"here"], [], [b"here"]]
    assert home.server.counters.closed == {CloseReason.BAD_RECORD: 1}


@SUITES
def test_who_has_something_else_going_on_is_left(make: MakeWorld, suite: int):
    home = make({"clients.idle_secs": 100})
    client = enter(home, suite=suite)
    batches = Batches(home)
    client.send(b"counted")
    home.settle()
    assert set(batches.left) == {client.session.id} and home.master.data[client.session.id] == [b"counted"]


@SUITES
def test_who_waits_for_room_and_says_something_gets_what_waits(make: MakeWorld, suite: int):
    """One event tells of both: that there is room, and that there is something to read."""
    home = make()
    client = enter(home, suite=suite)
    client.reading = False
    packets = numbered(300, size=1000)
    home.master.send(client.session.id, *packets)
    home.settle()
    connection = connection_of(home, client)
    while connection.outbox is not None:  # what is sealed remains
        client.read_some(1000)
        home.loop.turn(0)
    assert connection.unsent is not None
    client.auto = False
    client.read()
    client.say(client.endpoint.tell())
    for _ in range(20):
        home.loop.turn(0)
        client.read()
    assert client.session.events == packets and connection.unsent is None


@pytest.fixture(params=[ConnectionResetError("reset"), BlockingIOError()], ids=["reset", "nothing there"])
def error(request: pytest.FixtureRequest) -> Iterator[Exception]:
    yield request.param


def test_one_that_fails_fails_alone(make: MakeWorld, error: Exception):
    home = make()
    clients = [enter(home) for _ in range(3)]
    connection = connection_of(home, clients[1])
    connection.sock = Broken(connection.sock, error)  # type: ignore[arg-type, assignment]
    for client in clients:
        client.send(b"here")
    home.loop.turn(0)
    home.loop.turn(0)
    home.pump()
    assert [home.master.data[client.session.id] for client in clients] == [[b"here"], [], [b"here"]]
    lost = isinstance(error, ConnectionResetError)
    assert home.server.counters.closed == ({CloseReason.PEER_LOST: 1} if lost else {}) and home.loop.bugs == []
    for client in clients:
        client.lose()
    connection.close(CloseReason.SHUTDOWN)
