"""How much may be on its way, in each direction: credit up and down, what is retained, limits, pings, memory."""

from __future__ import annotations

from types import ModuleType

import pytest
from kit.lanes import toy
from kit.record_world import RecordClient, enter
from kit.records import framed
from kit.speaker import lanes
from kit.world import MakeWorld, World, numbered

from voltlane import config
from voltlane.config import changes
from voltlane.core.session import State
from voltlane.lanes.records import RecordConnection
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.framing import frame
from voltlane.wire.v3 import Code, Kind

WINDOW = 20_000
SMALL: dict[str, object] = {"clients.window_bytes": WINDOW, "clients.ack_secs": 50, "clients.stale_timeout_secs": 55}
LANES = pytest.mark.parametrize("lane", lanes(), ids=lambda lane: lane.__name__.rpartition(".")[2])


def connection_of(home: World, client: RecordClient) -> RecordConnection:
    found = home.server.registry.sessions[client.session.id].link
    assert isinstance(found, RecordConnection)
    return found


def closed_with(client: RecordClient) -> int:
    assert client.ended and client.endpoint.close is not None
    return client.endpoint.close.code


class TestUp:
    def test_it_begins_with_a_window(self, make: MakeWorld):
        home = make(SMALL)
        assert enter(home).endpoint.credit == WINDOW

    def test_more_when_half_of_it_is_used(self, make: MakeWorld):
        home = make(SMALL)
        client = enter(home)
        client.send(bytes(WINDOW // 2 - 5))
        home.settle()
        assert client.endpoint.credit == WINDOW and client.endpoint.alone == 0
        client.send(b"")
        client.send(b"")
        home.settle()
        assert client.endpoint.alone == 1
        assert client.endpoint.credit == client.endpoint.spent + WINDOW

    def test_with_data_that_goes_to_it_anyway(self, make: MakeWorld):
        home = make(SMALL)
        client = enter(home)
        client.send(bytes(WINDOW // 4))
        home.settle()
        home.master.send(client.session.id, b"down")
        home.settle()
        assert client.endpoint.credit == client.endpoint.spent + WINDOW and client.endpoint.alone == 0

    @LANES
    @pytest.mark.parametrize("suite", [0, 1])
    def test_a_packet_larger_than_the_window(self, make: MakeWorld, lane: ModuleType, suite: int):
        home = make({"clients.window_bytes": 4096})
        client = enter(home, lane=lane, suite=suite)
        packets = [b"first", bytes(200_000), b"between", bytes(70_000), b"last"]
        client.send(*packets)
        home.settle()
        assert home.master.data[client.session.id] == packets

    def test_what_is_past_it(self, make: MakeWorld):
        """The one is closed; its session waits for it, and it can come back."""
        home = make(SMALL)
        client, other = enter(home), enter(home)
        client.say(client.endpoint.record(Kind.DATA, frame(bytes(WINDOW - 4))))
        client.say(client.endpoint.record(Kind.DATA, frame(bytes(WINDOW))))
        home.settle()
        assert closed_with(client) == Code.PROTOCOL
        assert home.server.counters.closed == {CloseReason.CREDIT_EXCEEDED: 1}
        assert home.server.registry.sessions[client.session.id].state is State.STALE
        client.session.sent = 1
        client.session.packets = [bytes(WINDOW - 4)]
        enter(home, client.session)
        other.send(b"on we go")
        home.settle()
        assert home.master.data[other.session.id] == [b"on we go"]

    def test_every_byte_of_it_may_be_used(self, make: MakeWorld):
        home = make(SMALL)
        client = enter(home)
        client.session.sent = 1
        client.say(client.endpoint.record(Kind.DATA, frame(bytes(WINDOW - 4))))
        home.settle()
        assert not client.ended and home.master.data[client.session.id] == [bytes(WINDOW - 4)]

    def test_all_windows_together_have_a_part_of_the_memory(self, make: MakeWorld):
        """However many there are; and none is smaller than is of use."""
        home = make({"limits.memory_bytes": 1 << 20, "master.outbox_bytes": 1 << 18, "clients.outbox_bytes": 1 << 18})
        clients = [enter(home) for _ in range(8)]
        credits = [client.endpoint.credit for client in clients]
        assert credits[0] == (1 << 20) // 8 and set(credits[1:]) == {4096}
        for client in clients:
            client.cut()
        home.settle()
        assert home.server.clients.windows.promised == 0
        assert enter(home).endpoint.credit == (1 << 20) // 8


class TestOtherSettings:
    """They are gone by from the next word on."""

    def test_of_the_window(self, make: MakeWorld):
        home = make(SMALL)
        client = enter(home)
        reload(home, {"clients.window_bytes": 50_000})
        client.send(bytes(WINDOW // 2))
        home.settle()
        assert client.endpoint.credit == client.endpoint.spent + min(2 * WINDOW, 50_000)
        assert enter(home).endpoint.credit == 50_000
        reload(home, {"clients.window_bytes": 5000})
        before = client.endpoint.credit
        client.send(bytes(50_000 - 4))
        home.settle()
        assert client.endpoint.credit == max(before, client.endpoint.spent + 5000), "what was granted stays"
        assert home.master.data[client.session.id] == [bytes(WINDOW // 2), bytes(50_000 - 4)]

    def test_of_the_memory(self, make: MakeWorld):
        home = make()
        client = enter(home)
        reload(home, {"limits.memory_bytes": 1 << 20, "master.outbox_bytes": 1 << 18, "clients.outbox_bytes": 1 << 18})
        before = client.endpoint.credit
        for _ in range(3):
            client.send(bytes(400_000))
            home.settle()
        assert before < client.endpoint.credit <= client.endpoint.spent + (1 << 20)
        assert enter(home).endpoint.credit == 4096, "the first one may have all there is yet"

    def test_of_what_is_told(self, make: MakeWorld):
        home = make()
        reload(
            home, {"clients.packet_size_limit": 1234, "clients.channel_capacity": 56, "clients.unencrypted": "never"}
        )
        client = enter(home)
        assert client.endpoint.payload.limits.packet == 1234 and client.endpoint.payload.limits.retained.packets == 56
        clear = RecordClient(home, suite=0)
        home.settle()
        assert clear.endpoint.refusal is not None and clear.endpoint.refusal[0] == Code.NO_SUITE


def reload(home: World, settings: dict[str, object]) -> None:
    """As if these had been in its file from now on."""
    kept: dict[str, object] = {"clients.stale_timeout_secs": 20, "clients.stale_reap_interval_secs": 3}
    home.server.configure(changes(home.server.config, config.load(None, {}, {**kept, **settings})).config)
    home.settle()


class TestWhoIsBlockedFor:
    """The policy "block": the master waits for the slowest."""

    def test_everything_arrives(self, make: MakeWorld):
        home = make({"clients.overflow_policy": "block", "clients.channel_capacity": 20, "clients.write_stall_secs": 0})
        client, other = enter(home, window=3000), enter(home)
        client.auto = False
        packets = numbered(200, size=500)
        for packet in packets:
            home.master.send(client.session.id, packet)
        home.settle()
        assert home.server.trunk.blocked and not client.ended
        home.master.send(other.session.id, b"behind")
        home.settle()
        assert other.session.events == []
        client.auto = True
        client.tell()
        home.settle()
        assert client.session.events == packets and other.session.events == [b"behind"]
        assert not home.server.trunk.blocked

    def test_who_grants_nothing_is_given_up_in_the_end(self, make: MakeWorld):
        home = make({"clients.overflow_policy": "block", "clients.channel_capacity": 20, "clients.write_stall_secs": 2})
        client, other = enter(home, window=0), enter(home)
        home.master.send(client.session.id, *numbered(50))
        home.master.send(other.session.id, b"behind")
        home.settle()
        home.pass_(6)
        assert home.server.counters.closed == {CloseReason.WRITE_STALLED: 1}
        assert closed_with(client) == Code.DROPPED and other.session.events == [b"behind"]
        assert enter(home, client.session).session.events == numbered(50)

    def test_again_when_less_waits_for_it(self, make: MakeWorld):
        """Though some does yet, which is for the client to take."""
        home = make({**SMALL, "clients.outbox_bytes": 1 << 20, "clients.write_stall_secs": 0, "clients.slow_secs": 50})
        client = enter(home, window=0)
        client.auto = False
        home.master.send(client.session.id, *numbered(100, size=992))
        client.send(bytes(WINDOW - 4))
        home.settle()
        assert client.endpoint.credit == WINDOW, "so much waits for it that it is not to send"
        home.pass_(51)
        client.endpoint.window = 99_000
        client.tell()
        home.settle()
        outbox = connection_of(home, client).outbox
        assert outbox is not None and outbox.size == 1000
        assert client.endpoint.credit == 2 * WINDOW


class TestWhileTheMasterIsFull:
    def full(self, make: MakeWorld) -> tuple[World, RecordClient]:
        home = make({**SMALL, "master.channel_capacity": 20, "clients.ack_secs": 1})
        client = enter(home)
        home.master.reading = False
        client.send(*numbered(800, size=1000))
        home.settle()
        assert home.server.trunk.full
        return home, client

    def test_none_is_given_and_all_comes_when_there_is_room(self, make: MakeWorld):
        home, client = self.full(make)
        credit = client.endpoint.credit
        assert client.endpoint.spent <= credit < 800 * 1004
        home.pass_(5)
        assert client.endpoint.credit == credit
        home.master.reading = True
        home.settle()
        assert home.master.data[client.session.id] == numbered(800, size=1000)
        home.pass_(2)
        assert client.session.acked == 800

    def test_its_acks_get_through(self, make: MakeWorld):
        """What it says is safe need not be kept any more, and makes room for what comes next."""
        home, client = self.full(make)
        home.master.send(client.session.id, *numbered(50))
        home.settle()
        assert client.session.events == numbered(50)
        delivery = connection_of(home, client).delivery
        assert delivery.floor == 50

    def test_and_pings_and_goodbyes(self, make: MakeWorld):
        home, client = self.full(make)
        client.say(client.endpoint.record(Kind.PING, b"there?"))
        home.settle()
        assert client.endpoint.pongs == [b"there?"]
        other = enter(home)
        other.write(other.speaker.encode(other.endpoint.record(Kind.CLOSE, b"\xb6\x0d" + bytes(8))))
        home.settle()
        assert home.server.counters.ended[EndReason.LEFT] == 1

    def test_a_client_of_version_2_is_not_read(self, make: MakeWorld):
        home, _ = self.full(make)
        old = home.start_new()
        home.settle()
        assert old.ready
        old.send(b"up")
        home.pass_(2)
        connection = home.server.registry.sessions[old.id].link
        assert home.server.trunk.full and home.server.clients.turns.paused
        before = home.server.trunk.pushed
        home.pass_(2)
        assert home.server.trunk.pushed == before and connection is not None
        home.master.reading = True
        home.settle()
        assert home.master.data[old.id] == [b"up"]

    def test_who_has_part_of_a_window_may_use_it(self, make: MakeWorld):
        """What was granted stays granted; more is not, and it is told when there is room."""
        home = make({**SMALL, "master.channel_capacity": 20})
        first, other = enter(home), enter(home)
        home.master.reading = False
        first.send(*numbered(800, size=1000))
        home.settle()
        assert home.server.trunk.full
        other.send(*numbered(100, size=1000))
        home.pass_(2)
        assert other.endpoint.spent == other.endpoint.credit == WINDOW
        home.master.reading = True
        home.settle()
        assert home.master.data[other.session.id] == numbered(100, size=1000)

    def test_who_comes_has_none(self, make: MakeWorld):
        """Else the memory would be full of who comes again and again."""
        home, client = self.full(make)
        waiting = home.server.trunk.pushed
        again = client
        for _ in range(20):
            again = enter(home, client.session)
            assert again.endpoint.credit == 0
        again.send(b"up")
        home.settle()
        assert home.server.trunk.pushed - waiting == 20, "but for the notices"
        new = enter(home)
        assert new.endpoint.credit == 0
        home.master.reading = True
        new.send(b"new")
        home.settle()
        assert home.master.data[new.session.id] == [b"new"]
        assert home.master.data[client.session.id] == [*numbered(800, size=1000), b"up"]


class TestDown:
    def test_no_more_than_the_client_takes(self, make: MakeWorld):
        home = make()
        client = enter(home, window=5000, auto=True)
        client.auto = False
        home.master.send(client.session.id, *numbered(100, size=996))
        home.settle()
        assert client.endpoint.received == 5000
        client.endpoint.window = 7000
        client.tell()
        home.settle()
        assert client.endpoint.received == 12_000
        client.endpoint.window = 1 << 20
        client.tell()
        home.settle()
        assert client.session.events == numbered(100, size=996)

    def test_who_grants_none_overflows_by_the_limits(self, make: MakeWorld):
        home = make({"clients.channel_capacity": 10, "clients.slow_secs": 2, "clients.write_stall_secs": 0})
        client = enter(home, window=0)
        home.master.send(client.session.id, *numbered(11))
        home.pass_(1)
        assert client.endpoint.received == 0 and not client.ended
        home.pass_(2)
        assert closed_with(client) == Code.OVERFLOW
        assert home.server.counters.ended == {EndReason.OVERFLOW: 1}
        assert home.server.counters.closed == {CloseReason.TOO_SLOW: 1}

    def test_or_at_once_by_bytes(self, make: MakeWorld):
        home = make({"clients.outbox_bytes": 100_000})
        client = enter(home, window=0)
        home.master.send(client.session.id, *numbered(110, size=1000))
        home.settle()
        assert closed_with(client) == Code.OVERFLOW
        assert home.server.counters.closed == {CloseReason.OUTBOX_FULL: 1}

    @pytest.mark.parametrize(
        ("settings", "most"),
        [({"clients.channel_capacity": 10}, 10), ({"clients.outbox_bytes": 40_000}, 40)],
        ids=["packets", "bytes"],
    )
    def test_who_never_acks_is_sent_no_more_than_is_retained(
        self, make: MakeWorld, settings: dict[str, object], most: int
    ):
        home = make({"clients.slow_secs": 50, "clients.write_stall_secs": 0, **settings})
        client = enter(home)
        client.session.safe = 0
        client.auto = False
        for packet in numbered(most + 8, size=992):
            home.master.send(client.session.id, packet)
            home.settle()
        assert len(client.session.events) == most
        client.session.safe = 3
        client.tell()
        home.settle()
        assert most < len(client.session.events) <= most + 8
        client.session.safe = None
        client.tell()
        home.settle()
        assert client.session.events == numbered(most + 8, size=992)

    @pytest.mark.parametrize("before", [0, 1, 7, 10])
    def test_nor_many_at_once(self, make: MakeWorld, before: int):
        home = make({"clients.slow_secs": 50, "clients.write_stall_secs": 0, "clients.channel_capacity": 10})
        client = enter(home)
        client.session.safe, client.auto = 0, False
        packets = numbered(500)
        home.master.send(client.session.id, *packets[:before])
        home.settle()
        home.master.send(client.session.id, *packets[before:])
        home.settle()
        assert client.session.events == packets[:10] and client.endpoint.received == 10 * 28
        for safe in (1, 4, 10, 17):
            client.session.safe = safe
            client.tell()
            home.settle()
            assert client.session.events == packets[: safe + 10]
        client.session.safe, client.auto = None, True
        client.tell()
        home.settle()
        assert client.session.events == packets

    def test_and_ends_of_it(self, make: MakeWorld):
        home = make({"clients.channel_capacity": 10, "clients.slow_secs": 2, "clients.write_stall_secs": 0})
        client = enter(home)
        client.session.safe = 0
        for packet in numbered(30):
            home.master.send(client.session.id, packet)
            home.settle()
        home.pass_(5)
        assert closed_with(client) == Code.OVERFLOW and len(client.session.events) == 10

    def test_who_takes_nothing_at_all_is_away(self, make: MakeWorld):
        """Its session waits for it, with all that it has not taken."""
        home = make({"clients.write_stall_secs": 2})
        client = enter(home)
        client.reading = False
        home.master.send(client.session.id, *numbered(400, size=5000))
        home.pass_(6)
        assert home.server.counters.closed == {CloseReason.WRITE_STALLED: 1}
        client.lose()
        again = enter(home, client.session)
        assert again.session.events == numbered(400, size=5000)

    def test_also_where_all_of_it_is_sealed(self, make: MakeWorld):
        """Nothing waits but what the socket has not taken; that it was called safe unread makes no difference."""
        home = make({"clients.write_stall_secs": 2})
        client, reader = enter(home), enter(home)
        client.reading = False
        for one in (client, reader):
            home.master.send(one.session.id, bytes(60_000))
        home.settle()
        connection = connection_of(home, client)
        assert connection.outbox is None and connection.unsent is not None
        client.say(client.endpoint.record(Kind.ACK, ack=1))
        home.pass_(6)
        assert home.server.counters.closed == {CloseReason.WRITE_STALLED: 1} and not reader.ended

    def test_memory_for_what_is_sealed(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.reading = False
        home.master.send(client.session.id, bytes(60_000))
        home.settle()
        client.say(client.endpoint.record(Kind.ACK, ack=1))
        home.settle()
        home.server.budget.configure(10_000)
        home.settle()
        assert home.server.counters.closed == {CloseReason.OUTBOX_SHED: 1}
        assert home.server.registry.sessions[client.session.id].state is State.STALE

    def test_an_ack_ahead_or_back(self, make: MakeWorld):
        home = make()
        ahead, back, less = enter(home), enter(home), enter(home)
        for client in (ahead, back, less):
            home.master.send(client.session.id, b"one", b"two")
        home.settle()
        ahead.say(ahead.endpoint.record(Kind.ACK, ack=3))
        back.say(back.endpoint.record(Kind.ACK, ack=1))
        less.say(less.endpoint.record(Kind.ACK, credit=1))
        home.settle()
        assert [closed_with(client) for client in (ahead, back, less)] == [Code.PROTOCOL] * 3
        assert home.server.counters.closed == {CloseReason.BAD_NUMBERS: 3}
        for client in (ahead, back, less):
            assert home.server.registry.sessions[client.session.id].state is State.STALE
            home.master.send(client.session.id, b"three")
            home.settle()
            assert enter(home, client.session).session.events == [b"one", b"two", b"three"]


class TestPings:
    def test_they_come_back(self, make: MakeWorld):
        home = make()
        client = enter(home)
        for body in (b"", b"p", bytes(64)):
            client.say(client.endpoint.record(Kind.PING, body))
            home.settle()
        assert client.endpoint.pongs == [b"", b"p", bytes(64)]

    def test_of_several_at_once_the_last(self, make: MakeWorld):
        home = make()
        client = enter(home)
        pings = [client.endpoint.record(Kind.PING, b"%d" % number) for number in range(100)]
        client.write(framed(pings))
        home.settle()
        assert client.endpoint.pongs == [b"99"]

    def test_one_that_is_too_long(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.say(client.endpoint.record(Kind.PING, bytes(65)))
        home.settle()
        assert closed_with(client) == Code.PROTOCOL
        assert home.server.counters.closed == {CloseReason.MALFORMED_RECORD: 1}

    def test_a_flood_of_one_who_does_not_read(self, make: MakeWorld):
        """It is answered in the end, with the last; nothing grows meanwhile."""
        home = make()
        client = enter(home)
        client.reading = False
        used = []
        for number in range(3000):
            client.say(client.endpoint.record(Kind.PING, b"%064d" % number))
            if number % 300 == 0:
                home.settle()
                used.append(home.server.budget.used)
        home.settle()
        connection = connection_of(home, client)
        assert connection.unsent is not None, "it is full"
        assert max(used) < 2000 and len(connection.unsent.data) < 200
        client.reading = True
        home.settle()
        assert client.endpoint.pongs[-1] == b"%064d" % 2999 and len(client.endpoint.pongs) < 3000

    def test_a_flood_of_the_framing_s_own(self, make: MakeWorld):
        """Its answers are for the framing to give, each of them: so who does not read them is not read."""
        home = make({"clients.outbox_bytes": 1 << 20})
        client = enter(home, lane=toy)
        client.reading = False
        for _ in range(50):
            client.write(client.speaker.ping() * 1000)
            home.settle()
        connection = connection_of(home, client)
        assert connection.unsent is not None and connection.unsent.size < 400_000 < client.waiting
        client.reading = True
        client.send(b"up")
        home.settle()
        assert client.speaker.pongs == 50_000 and home.master.data[client.session.id] == [b"up"]

    def test_one_is_answered_though_packets_wait_for_credit(self, make: MakeWorld):
        """Once what was sealed before is out."""
        home = make({"clients.ack_secs": 1})
        client = enter(home, window=300_000)
        client.reading = False
        home.master.send(client.session.id, *numbered(600, size=1000))
        home.settle()
        connection = connection_of(home, client)
        client.send(b"up")
        client.say(client.endpoint.record(Kind.PING, b"there?"))
        home.settle()
        assert connection.unsent is not None
        client.auto, client.reading = False, True
        home.pass_(3)
        assert connection.unsent is None and connection.outbox is not None
        assert client.endpoint.pongs == [b"there?"] and client.session.acked == 1

    def test_a_pong_that_nobody_asked_for(self, make: MakeWorld):
        home = make()
        client = enter(home)
        client.say(client.endpoint.record(Kind.PONG, bytes(100)), client.endpoint.record(99, b"odd, and skipped"))
        client.send(b"up")
        home.settle()
        assert not client.ended and home.master.data[client.session.id] == [b"up"]
