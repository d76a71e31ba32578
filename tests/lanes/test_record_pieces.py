"""What comes in pieces: records and packets cut anywhere, limits of their sizes, and what a framing says in between."""

from __future__ import annotations

from types import ModuleType

import pytest
from kit.record_world import RecordClient, enter, told
from kit.records import Session, framed
from kit.speaker import lanes
from kit.world import MakeWorld, World, numbered

from voltlane.core.session import State
from voltlane.lanes.records import RecordConnection
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.framing import frame
from voltlane.wire.v3 import Close, Code, Gap, Kind

LANES = pytest.mark.parametrize("lane", lanes(), ids=lambda lane: lane.__name__.rpartition(".")[2])


def connection_of(home: World, client: RecordClient) -> RecordConnection:
    found = home.server.registry.sessions[client.session.id].link
    assert isinstance(found, RecordConnection)
    return found


class TestPieces:
    @LANES
    @pytest.mark.parametrize("suite", [0, 1])
    def test_byte_by_byte(self, make: MakeWorld, lane: ModuleType, suite: int):
        home = make()
        client = enter(home, lane=lane, suite=suite)
        packets = [b"", b"a", b"bc", bytes(30)]
        client.session.sent = len(packets)
        records = [client.endpoint.record(Kind.PING, b"p")]
        records += [client.endpoint.record(Kind.DATA, frame(packet)) for packet in packets]
        for byte in b"".join(client.speaker.encode(record) for record in records):
            client.write(bytes([byte]))
            home.loop.turn(0)
        home.settle()
        assert home.master.data[client.session.id] == packets

    @LANES
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100, 65_000])
    def test_packets_over_records_of_any_size(self, make: MakeWorld, lane: ModuleType, size: int):
        """The stream of packets knows nothing of the records that it comes in."""
        home = make()
        client = enter(home, lane=lane)
        packets = [b"", b"a", bytes(3), b"bc" * 500, b"", bytes(70_000) if size > 50 else b"x", b"last"]
        stream = framed(packets)
        for at in range(0, len(stream), size):
            client.say(client.endpoint.record(Kind.DATA, stream[at : at + size]))
        home.settle()
        assert home.master.data[client.session.id] == packets
        assert connection_of(home, client).packet is None

    @LANES
    @pytest.mark.parametrize("suite", [0, 1])
    def test_records_of_all_kinds_in_one_read(self, make: MakeWorld, lane: ModuleType, suite: int):
        """Each is taken in its place, however many come at once."""
        home = make({"clients.ack_secs": 1})
        client = enter(home, lane=lane, suite=suite)
        client.session.sent = 12
        stream = framed([b"one", b"two", b"three"])
        record = client.endpoint.record
        home.loop.turn(0)
        client.write(
            b"".join(
                map(
                    client.speaker.encode,
                    [
                        record(Kind.DATA, stream[:5]),
                        record(Kind.PING, b"p"),
                        record(Kind.DATA, stream[5:]),
                        record(Kind.DATA),
                        record(Kind.GAP, Gap(4, 10, 4).encode()),
                        record(Kind.ACK),
                        record(Kind.DATA, framed([b"eleven"])),
                        record(99, b"skipped"),
                        record(Kind.DATA, framed([b"twelve"])[:3]),
                        record(Kind.DATA, framed([b"twelve"])[3:]),
                    ],
                )
            )
        )
        home.pass_(2)
        assert home.master.data[client.session.id] == [b"one", b"two", b"three", b"eleven", b"twelve"]
        assert client.endpoint.pongs == [b"p"] and client.session.acked == 12

    @LANES
    @pytest.mark.parametrize("suite", [0, 1])
    def test_what_is_said_in_front_of_a_close_in_one_read(self, make: MakeWorld, lane: ModuleType, suite: int):
        home = make()
        client = enter(home, lane=lane, suite=suite)
        client.session.sent = 2
        record = client.endpoint.record
        words = [record(Kind.DATA, framed([b"one"])), record(Kind.DATA, framed([b"two"]))]
        words += [record(Kind.CLOSE, Close(Code.LEFT, 0, "").encode()), record(Kind.DATA, framed([b"three"]))]
        client.write(b"".join(map(client.speaker.encode, words)))
        home.settle()
        assert home.master.data[client.session.id] == [b"one", b"two"]
        assert home.server.counters.ended == {EndReason.LEFT: 1}

    @LANES
    @pytest.mark.parametrize("suite", [0, 1])
    def test_a_mistake_behind_data_in_one_read(self, make: MakeWorld, lane: ModuleType, suite: int):
        """What was in front of it is taken, or not: it is told which, and nothing comes twice."""
        home = make()
        client = enter(home, lane=lane, suite=suite)
        client.session.send(b"one", b"two")
        words = [*client.endpoint.flush(), client.endpoint.record(10)]
        client.write(b"".join(map(client.speaker.encode, words)))
        home.settle()
        taken = told(client).taken
        assert home.master.data[client.session.id] == [b"one", b"two"][:taken]
        enter(home, client.session, lane=lane, suite=suite)
        assert home.master.data[client.session.id] == [b"one", b"two"]

    @LANES
    @pytest.mark.parametrize("suite", [0, 1])
    @pytest.mark.parametrize("size", [0, 1, 30, 2000])
    def test_as_many_as_fit_in_a_read(self, make: MakeWorld, lane: ModuleType, suite: int, size: int):
        home = make({"clients.window_bytes": 1 << 22})
        client = enter(home, lane=lane, suite=suite)
        count = 400 if size > 100 else 6000
        packets = numbered(count, size=size)
        client.session.sent = count
        words = [client.endpoint.record(Kind.DATA, frame(packet)) for packet in packets]
        client.write(b"".join(map(client.speaker.encode, words)))
        home.settle()
        assert home.master.data[client.session.id] == packets

    def test_packets_over_the_limit(self, make: MakeWorld):
        home = make({"clients.packet_size_limit": 1000})
        client, parts = enter(home), enter(home)
        client.say(client.endpoint.record(Kind.DATA, frame(bytes(1000)) + (1001).to_bytes(4, "little")))
        for byte in (1001).to_bytes(4, "little"):
            parts.say(parts.endpoint.record(Kind.DATA, bytes([byte])))
        home.settle()
        assert told(client).code == told(parts).code == Code.TOO_LARGE
        assert home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 2}
        assert home.master.data == {client.session.id: [bytes(1000)]}
        assert home.server.registry.sessions[client.session.id].state is State.STALE

    def test_a_message_over_the_limit(self, make: MakeWorld):
        """Before any memory is taken for it."""
        home = make()
        client = enter(home)
        client.write((65_536).to_bytes(4, "little"))
        home.settle()
        assert client.ended and home.server.budget.used == 0
        assert home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}

    def test_the_largest_message(self, make: MakeWorld):
        home = make()
        client = enter(home, Session())
        client.send(bytes(65_519 - 17 - 4), b"behind")
        home.settle()
        assert home.master.data[client.session.id] == [bytes(65_519 - 17 - 4), b"behind"]


FRAMED = [lane for lane in lanes() if lane.Speaker().ping()]


@pytest.mark.parametrize("lane", FRAMED, ids=lambda lane: lane.__name__.rpartition(".")[2])
class TestTheFramingsWords:
    """A framing has pings and an end of its own, between the records."""

    def test_a_ping(self, make: MakeWorld, lane: ModuleType):
        home = make()
        client = enter(home, lane=lane)
        for packet in (b"a", b"b", b"c"):
            client.write(client.speaker.ping())
            client.send(packet)
        home.settle()
        assert client.speaker.pongs == 3 and home.master.data[client.session.id] == [b"a", b"b", b"c"]

    def test_pings_of_who_does_not_read_are_bounded(self, make: MakeWorld, lane: ModuleType):
        home = make({"clients.outbox_bytes": 320_000})
        client = enter(home, lane=lane)
        client.reading = False
        for _ in range(10):
            client.write(client.speaker.ping() * 2000)
            home.settle()
        assert home.server.budget.used < 100_000 and not client.ended
        client.reading = True
        home.settle()
        assert client.speaker.pongs == 20_000 and home.server.budget.used == 0
        client.send(b"up")
        home.settle()
        assert home.master.data[client.session.id] == [b"up"]

    def test_one_who_does_not_read_and_leaves(self, make: MakeWorld, lane: ModuleType):
        home = make({"clients.outbox_bytes": 320_000})
        client = enter(home, lane=lane)
        client.reading = False
        client.write(client.speaker.ping() * 20_000)
        home.settle()
        client.lose()
        home.settle()
        assert home.server.budget.used == 0 and home.server.registry.stale_count == 1

    def test_the_clients_end(self, make: MakeWorld, lane: ModuleType):
        home = make()
        client = enter(home, lane=lane)
        client.send(b"bye")
        client.write(client.speaker.close())
        home.settle()
        assert home.master.data[client.session.id] == [b"bye"] and client.ended and client.speaker.ended
        assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 1} and home.server.registry.stale_count == 1

    def test_the_servers_end(self, make: MakeWorld, lane: ModuleType):
        """Behind the record that says why."""
        home = make()
        client = enter(home, lane=lane)
        home.master.kick(client.session.id)
        home.settle()
        assert told(client).code == Code.KICKED and client.speaker.ended
