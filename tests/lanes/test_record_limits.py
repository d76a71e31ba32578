"""What is more than the limits of a client of version 3 allow: packets that wait, memory, rates, ids."""

from __future__ import annotations

import pytest
from kit.record_world import RecordClient, enter, refused, told
from kit.records import Session
from kit.world import MakeWorld, World, numbered

from voltlane.core.session import State
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.framing import frame
from voltlane.wire.v3 import Code, Gap, Kind, Why


def state(home: World, client: RecordClient) -> State | None:
    session = home.server.registry.sessions.get(client.session.id)
    return session.state if session is not None else None


class TestLimits:
    def test_the_oldest_goes_and_is_told(self, make: MakeWorld):
        home = make({"clients.missed_packets_policy": "drop-oldest", "clients.missed_packets_buffer_size": 5})
        client = enter(home)
        home.master.send(client.session.id, b"here")
        home.settle()
        client.cut()
        home.settle()
        home.master.send(client.session.id, *numbered(8))
        home.settle()
        again = enter(home, client.session)
        assert again.session.events == [b"here", Gap(2, 4, Why.LIMIT), *numbered(8)[3:]]
        assert home.server.counters.gaps == 1 and home.server.counters.backlog_dropped == 3
        home.master.send(client.session.id, b"on")
        home.settle()
        assert again.session.events[-1] == b"on" and again.session.taken == 10

    def test_what_goes_is_what_it_has_where_it_has_that(self, make: MakeWorld):
        """It had not said that they were safe: they were kept, and went first."""
        home = make({"clients.missed_packets_policy": "drop-oldest", "clients.missed_packets_buffer_size": 5})
        client = enter(home)
        client.session.safe = 0
        home.master.send(client.session.id, *numbered(4))
        home.settle()
        client.cut()
        home.settle()
        home.master.send(client.session.id, *numbered(5, start=4))
        home.settle()
        again = enter(home, client.session)
        assert again.session.events == numbered(9) and home.server.counters.gaps == 0

    @pytest.mark.parametrize("safe", [0, 1])
    def test_what_was_on_its_way_is_kept_too(self, make: MakeWorld, safe: int):
        """And so it counts: a loss alone may be too much."""
        home = make({"clients.missed_packets_buffer_size": 5})
        client = enter(home)
        client.session.safe = 0
        home.master.send(client.session.id, *numbered(6))
        home.settle()
        client.session.safe = safe
        client.tell()
        home.settle()
        client.cut()
        home.settle()
        assert client.session.events == numbered(6)
        assert state(home, client) is (State.STALE if safe else None)
        assert home.server.counters.ended == ({} if safe else {EndReason.BACKLOG_FULL: 1})

    def test_none_is_kept_at_all(self, make: MakeWorld):
        home = make({"clients.missed_packets_policy": "drop-oldest", "clients.missed_packets_buffer_size": 0})
        client = enter(home)
        client.cut()
        home.settle()
        home.master.send(client.session.id, *numbered(3))
        home.settle()
        assert enter(home, client.session).session.events == [Gap(1, 3, Why.LIMIT)]

    def test_a_gap_is_told_until_it_is_heard(self, make: MakeWorld):
        home = make({"clients.missed_packets_policy": "drop-oldest", "clients.missed_packets_buffer_size": 2})
        client = enter(home)
        client.cut()
        home.settle()
        home.master.send(client.session.id, *numbered(3))
        home.settle()
        deaf = RecordClient(home, client.session.copy(), auto=True)
        deaf.auto = False
        home.settle()
        deaf.lose()
        assert enter(home, client.session).session.events == [Gap(1, 1, Why.LIMIT), *numbered(3)[1:]]

    def test_memory_for_what_is_retained(self, make: MakeWorld):
        """It was sent, and nobody has said that it is safe: that is memory, too."""
        home = make()
        client = enter(home)
        client.session.safe = 0
        home.master.send(client.session.id, *numbered(10, size=3000))
        home.settle()
        home.server.budget.configure(10_000)
        home.settle()
        assert told(client).code == Code.OVERFLOW and home.server.counters.closed == {CloseReason.OUTBOX_SHED: 1}
        assert home.server.counters.ended == {EndReason.MEMORY: 1}

    def test_memory_for_a_part_of_a_packet(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.say(client.endpoint.record(Kind.DATA, frame(bytes(40_000))[:20_000]))
        home.settle()
        home.server.budget.configure(10_000)
        home.settle()
        assert told(client).code == Code.DROPPED and state(home, client) is State.STALE
        assert home.server.counters.closed == {CloseReason.FRAME_SHED: 1}

    def test_memory_for_a_part_of_a_record(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.write((40_000).to_bytes(4, "little") + bytes(20_000))
        home.settle()
        home.server.budget.configure(10_000)
        home.settle()
        assert told(client).code == Code.DROPPED and state(home, client) is State.STALE

    def test_no_memory_for_somebody_new(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.session.safe = 0
        home.master.send(client.session.id, bytes(9000))
        home.settle()
        home.server.budget.configure(home.server.budget.used + 500)
        assert told(refused(home, Session())).code == Code.NO_ROOM
        assert home.server.counters.closed == {CloseReason.MEMORY_REFUSED: 1}
        assert enter(home, client.session).ready, "who has a session is let in"

    def test_no_id_for_somebody_new(self, make: MakeWorld):
        home = make()
        ids = home.server.registry.ids
        ids.last = ids.next - 1
        assert told(refused(home, Session())).code == Code.NO_ROOM
        assert home.server.counters.closed == {CloseReason.NO_IDS: 1}

    def test_too_many_packets_a_second(self, make: MakeWorld):
        """A client that is throttled is read later; nothing of it is lost."""
        home = make({"clients.packet_rate": 10, "clients.rate_burst_secs": 1})
        client = enter(home)
        client.send(*numbered(30))
        home.settle()
        client.send(*numbered(30, start=30))
        home.settle()
        assert home.server.counters.throttled and len(home.master.data[client.session.id]) == 30
        home.pass_(8)
        assert home.master.data[client.session.id] == numbered(60)

    def test_they_are_paid_for_by_the_next_connection_too(self, make: MakeWorld):
        home = make({"clients.packet_rate": 10, "clients.rate_burst_secs": 1})
        session = Session()
        session.send(*numbered(200, size=5000))
        for _ in range(20):
            RecordClient(home, session)
            home.settle()
        taken = len(home.master.data[session.id])
        assert 0 < taken < 40
        home.pass_(8)
        assert taken < len(home.master.data[session.id]) < 140

    def test_or_it_is_closed(self, make: MakeWorld):
        home = make({"clients.byte_rate": 1000, "clients.rate_policy": "disconnect"})
        client = enter(home)
        client.send(bytes(60_000))
        home.settle()
        assert told(client).code == Code.RATE and state(home, client) is State.STALE

    def test_nothing_for_too_long(self, make: MakeWorld):
        home = make({"clients.idle_secs": 3})
        client = enter(home)
        home.pass_(2)
        client.say(client.endpoint.record(Kind.PING))
        home.pass_(2)
        assert not client.ended
        home.pass_(3)
        assert told(client).code == Code.DROPPED and home.server.counters.closed == {CloseReason.IDLE: 1}
