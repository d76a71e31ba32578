"""When a client of version 3 is told that its packets are safe: when the master's socket has them, and not before."""

from __future__ import annotations

import pytest
from kit.record_world import RecordClient, enter
from kit.records import Session
from kit.world import MakeWorld, World, numbered

from voltlane.lanes.receipts import MOST_MARKS
from voltlane.wire.v3 import Gap, Kind, Retained

ACK_SECS = 2.0
SLOW: dict[str, object] = {"clients.ack_secs": ACK_SECS}


def timers(home: World) -> int:
    """Those that somebody waits for now."""
    return home.loop.timers


class TestWhoIsTalkedTo:
    def test_is_not_told_alone_what_the_next_answer_says(self, make: MakeWorld):
        """Each answer goes out before the packet that it answers is safe, and says that the one before is."""
        home = make(SLOW)
        client = enter(home)
        alone = client.endpoint.alone
        for number in range(40):
            client.send(b"%d" % number)
            home.settle()
            home.pass_(ACK_SECS / 8)
            home.master.send(client.session.id, b"answer")
            home.settle()
        assert client.endpoint.alone == alone

    def test_is_told_soon_when_the_answers_end(self, make: MakeWorld):
        home = make(SLOW)
        client = enter(home)
        client.send(b"one")
        home.settle()
        home.master.send(client.session.id, b"answer")
        client.send(b"two")
        home.settle()
        home.pass_(1.5 * ACK_SECS)
        assert client.session.acked == 2


class TestSafe:
    def test_what_no_master_takes_is_not(self, make: MakeWorld):
        home = make()
        home.master.cut()
        client = enter(home)
        client.send(*numbered(30))
        home.pass_(30)
        assert client.session.acked == 0
        home.connect_master()
        home.pass_(1)
        assert home.master.data == {client.session.id: numbered(30)}
        assert client.session.acked == 30

    def test_what_a_master_does_not_read_is_safe_as_its_socket_takes_it(self, make: MakeWorld):
        """Never ahead of what is written, and in order."""
        home = make()
        client = enter(home)
        home.master.reading = False
        client.send(*numbered(1000, size=2000))
        home.pass_(1)
        trunk = home.server.trunk
        assert trunk.outbox is not None and client.session.acked < 1000
        for _ in range(200):
            assert client.session.acked <= trunk.written, "told before it was written"
            home.master.read_some(20_000)
            home.pass_(0.5)
        assert client.session.acked == 1000
        assert client.endpoint.acks == sorted(client.endpoint.acks) and len(client.endpoint.acks) > 3
        home.master.reading = True
        home.settle()
        assert home.master.data[client.session.id] == numbered(1000, size=2000)

    def test_what_is_remembered_of_who_brings_a_little_each_turn_has_a_limit(self, make: MakeWorld):
        """And nobody is told too soon because of it."""
        home = make()
        client, other = enter(home), enter(home)
        home.master.reading = False
        client.send(*numbered(300, size=2000))
        home.settle()
        for _ in range(MOST_MARKS + 500):
            for one in (client, other):
                one.send(b"")
                home.loop.turn(0)
        assert len(home.server.clients.receipts._marks) == MOST_MARKS
        trunk = home.server.trunk
        while trunk.outbox is not None:
            assert client.session.acked + other.session.acked <= trunk.written
            home.master.read_some(20_000)
            home.pass_(0.5)
        home.pass_(1)
        assert (client.session.acked, other.session.acked) == (MOST_MARKS + 800, MOST_MARKS + 500)

    def test_each_of_several_is_told_of_its_own(self, make: MakeWorld):
        home = make()
        clients = [enter(home) for _ in range(4)]
        home.master.reading = False
        clients[0].send(*numbered(400, size=2000))
        home.settle()
        for count, client in enumerate(clients[1:]):
            client.send(*numbered(count + 1))
        home.pass_(1)
        assert [client.session.acked for client in clients[1:]] == [0, 0, 0]
        home.master.reading = True
        home.pass_(1)
        assert [client.session.acked for client in clients] == [400, 1, 2, 3]

    def test_a_packet_of_which_a_part_is_written_is_not(self, make: MakeWorld):
        home = make({"clients.packet_size_limit": 1 << 20})
        client = enter(home)
        home.master.reading = False
        client.send(b"small", bytes(600_000))
        home.pass_(1)
        assert home.server.trunk.outbox is not None
        assert client.session.acked == 1
        home.master.reading = True
        home.pass_(1)
        assert client.session.acked == 2

    def test_a_gap_is_told_of_like_a_packet(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.send(b"one")
        client.session.sent = 9
        client.say(client.endpoint.record(Kind.GAP, Gap(2, 9, 4).encode()))
        home.pass_(1)
        assert client.session.acked == 9 and home.server.counters.gaps == 1

    def test_what_a_lost_connection_brought_is_told_to_the_next(self, make: MakeWorld):
        """The master takes it when that is there already, and there is nothing else to say."""
        home = make()
        home.master.cut()
        client = enter(home)
        client.send(*numbered(30))
        home.settle()
        client.cut()
        home.settle()
        again = enter(home, client.session)
        assert again.session.sent == 30 and again.session.acked == 0
        home.connect_master()
        home.pass_(1)
        assert again.session.acked == 30

    def test_what_a_connection_brought_that_was_taken_over_is_told_to_the_next(self, make: MakeWorld):
        home = make()
        client = enter(home)
        home.master.reading = False
        client.send(*numbered(400, size=2000))
        home.settle()
        again = enter(home, client.session)
        assert client.endpoint.close is not None and again.session.acked < 400
        home.master.reading = True
        home.pass_(1)
        assert again.session.acked == again.session.sent == 400


class TestWhen:
    def test_alone_a_little_later(self, make: MakeWorld):
        home = make(SLOW)
        client = enter(home)
        client.send(b"up")
        home.pass_(ACK_SECS - 0.5, step=0.25)
        assert client.session.acked == 0 and client.endpoint.alone == 0
        home.pass_(1, step=0.25)
        assert client.session.acked == 1 and client.endpoint.alone == 1

    def test_each_in_its_own_time(self, make: MakeWorld):
        home = make(SLOW)
        first, second = enter(home), enter(home)
        first.send(b"up")
        home.pass_(ACK_SECS - 0.5, step=0.25)
        second.send(b"up")
        home.pass_(1, step=0.25)
        assert (first.session.acked, second.session.acked) == (1, 0)
        home.pass_(1.5, step=0.25)
        assert second.session.acked == 1

    def test_one_ack_for_all_that_came_meanwhile(self, make: MakeWorld):
        home = make(SLOW)
        client = enter(home)
        for _ in range(6):
            client.send(b"up")
            home.pass_(0.25, step=0.25)
        home.pass_(ACK_SECS)
        assert client.session.acked == 6 and client.endpoint.alone == 1

    def test_with_data_where_there_is_some(self, make: MakeWorld):
        home = make(SLOW)
        client = enter(home)
        client.send(b"up")
        home.settle()
        home.master.send(client.session.id, b"down")
        home.settle()
        assert client.session.events == [b"down"] and client.session.acked == 1
        home.pass_(2 * ACK_SECS)
        assert client.endpoint.alone == 0, "it had been told"

    def test_nothing_where_nothing_is_owed(self, make: MakeWorld):
        home = make(SLOW)
        client = enter(home)
        home.master.send(client.session.id, b"down")
        client.say(client.endpoint.record(Kind.DATA))
        home.pass_(3 * ACK_SECS)
        assert client.endpoint.alone == 0

    @pytest.mark.parametrize(
        ("retained", "packets"),
        [
            (Retained(40, 1 << 20), numbered(10)),
            (Retained(1 << 20, 40_000), [bytes(5000), bytes(5000)]),
            (Retained(1, 1 << 20), [b"one"]),
        ],
        ids=["packets", "bytes", "one"],
    )
    def test_at_once_when_a_quarter_of_what_the_client_retains_is_safe(
        self, make: MakeWorld, retained: Retained, packets: list[bytes]
    ):
        home = make(SLOW)
        client = RecordClient(home)
        client.endpoint.retained = retained
        home.settle()
        client.send(*packets[:-1])
        home.settle()
        assert client.session.acked == 0
        client.send(packets[-1])
        home.settle()
        assert client.session.acked == len(packets) == client.session.sent

    def test_a_client_that_does_not_say_what_it_retains_waits_its_time(self, make: MakeWorld):
        home = make(SLOW)
        client = RecordClient(home)
        client.endpoint.retained = Retained(0, 0)
        home.settle()
        client.send(*numbered(5000))
        home.settle()
        assert client.session.acked == 0
        home.pass_(2 * ACK_SECS)
        assert client.session.acked == 5000

    def test_who_is_idle_needs_no_timer(self, make: MakeWorld):
        home = make({**SLOW, "clients.write_stall_secs": 0})
        before = timers(home)
        clients = [enter(home) for _ in range(3)]
        for client in clients:
            client.send(b"up")
            home.master.send(client.session.id, b"down")
        home.settle()
        home.pass_(2 * ACK_SECS)
        assert [client.session.acked for client in clients] == [1, 1, 1]
        assert timers(home) == before
        clients[0].send(b"up")
        home.settle()
        clients[1].send(b"up")
        home.settle()
        assert timers(home) == before + 1, "one for all"

    def test_one_that_is_gone_by_then_is_told_nothing(self, make: MakeWorld):
        home = make(SLOW)
        client, other = enter(home), enter(home)
        client.send(b"up")
        other.send(b"up")
        home.settle()
        client.cut()
        home.pass_(2 * ACK_SECS)
        assert other.session.acked == 1


class TestMemory:
    def test_who_brings_nothing_leaves_nothing_behind(self, make: MakeWorld):
        """Records of data without a byte need no credit, and gaps none either: there may be any number."""
        home = make()
        empty, gaps, busy = enter(home), enter(home), enter(home)
        home.master.cut()
        empty.send(b"up")
        home.settle()
        for number in range(1, 100):
            empty.say(empty.endpoint.record(Kind.DATA))
            gaps.session.sent = number
            gaps.say(gaps.endpoint.record(Kind.GAP, Gap(number, number, 4).encode()))
            home.settle()
        receipts = home.server.clients.receipts
        assert sum(len(mark.numbers) for mark in receipts._marks) <= 4
        for _ in range(100):
            busy.send(b"up")
            empty.say(empty.endpoint.record(Kind.DATA))
            home.settle()
        assert sum(len(mark.numbers) for mark in receipts._marks) <= 104
        home.connect_master()
        home.pass_(1)
        assert (empty.session.acked, gaps.session.acked, busy.session.acked) == (1, 99, 100)
        assert not receipts._marks

    def test_nothing_is_kept_of_who_is_gone(self, make: MakeWorld):
        """One that waits for credit of its own gets none, and leaves."""
        home = make({"clients.outbox_bytes": 1 << 20, "clients.window_bytes": 4096})
        client = enter(home, Session(), window=100, auto=True)
        client.auto = False
        home.master.send(client.session.id, *numbered(700, size=1000))
        home.settle()
        client.send(bytes(4000))
        home.settle()
        receipts = home.server.clients.receipts
        assert receipts._starved
        client.cut()
        home.settle()
        assert not receipts._starved
