"""When the memory for all queues is used up: who goes, who is not let in, and who notices nothing of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from kit.world import Client, MakeWorld, World, numbered

from voltlane.config import Limits
from voltlane.lanes.fairness.sampler import ClientQuality
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import ProtocolVersion, PubKey

LIMIT = 400_000
TIGHT: dict[str, object] = {"limits.memory_bytes": LIMIT, "master.outbox_bytes": 50_000}


def flood(home: World, client: Client, size: int) -> None:
    """Let about so many bytes wait for a client that does not read."""
    client.reading = False
    home.master.send(client.id, *numbered(size // 1000, 996))
    home.settle()


def test_the_largest_outbox_goes_first(make: MakeWorld):
    home = make(TIGHT)
    small, large, other = home.new(), home.new(), home.new()
    flood(home, small, 60_000)
    flood(home, large, 300_000)
    assert home.server.counters.closed == {}
    flood(home, other, 80_000)
    assert home.server.budget.used <= LIMIT
    assert home.server.counters.closed == {CloseReason.OUTBOX_SHED: 1}
    assert home.server.counters.ended == {EndReason.MEMORY: 1}
    assert home.master.notices(Flag.FAILURE) == [(large.id, b"out of memory")]
    large.read()
    assert large.ended
    for client, count in ((small, 60), (other, 80)):
        client.reading = True
        home.settle()
        assert client.got == numbered(count, 996)


def test_the_largest_backlog_goes_first_with_its_session(make: MakeWorld):
    home = make(TIGHT)
    small, large, slow = home.new(), home.new(), home.new()
    for client, size in ((small, 60_000), (large, 300_000)):
        client.cut()
        home.settle()
        home.master.send(client.id, *numbered(size // 1000, 996))
        home.settle()
    flood(home, slow, 80_000)
    assert home.server.counters.ended == {EndReason.MEMORY: 1} and home.server.counters.closed.keys() == {
        CloseReason.PEER_CLOSED
    }
    assert home.master.notices(Flag.FAILURE) == [(large.id, b"out of memory")]
    assert home.resume(small).got == numbered(60, 996)
    slow.reading = True
    home.settle()
    assert slow.got == numbered(80, 996)


def test_a_packet_that_does_not_end_is_given_up_and_its_client_may_come_back(make: MakeWorld):
    home = make(TIGHT)
    endless, slow = home.new(), home.new()
    flood(home, slow, 60_000)
    endless.write((8_000_000).to_bytes(4, "little"))
    for _ in range(20):
        endless.write(bytes(50_000))
        home.settle()
        assert home.server.budget.used <= LIMIT
    assert home.server.counters.closed == {CloseReason.FRAME_SHED: 1} and home.server.counters.ended == {}
    endless.read()
    assert endless.ended
    again = home.resume(endless)
    again.send(b"a short one")
    home.settle()
    assert home.master.data[again.id] == [b"a short one"]


def test_many_packets_that_do_not_end(make: MakeWorld):
    """None of them is larger than a read: the sum is what counts."""
    home = make(TIGHT)
    clients = [home.new() for _ in range(20)]
    for client in clients:
        client.write((60_000).to_bytes(4, "little") + bytes(50_000))
        home.settle()
        assert home.server.budget.used <= LIMIT
    assert 10 < home.server.counters.closed[CloseReason.FRAME_SHED] < 16


def test_near_the_limit_no_new_clients_are_let_in_but_those_who_come_back(make: MakeWorld):
    home = make(TIGHT)
    away, slow = home.new(), home.new()
    away.cut()
    home.settle()
    home.master.send(away.id, *numbered(80, 996))
    flood(home, slow, 285_000)
    assert 0.8 * LIMIT < home.server.budget.used < LIMIT
    refused = home.start_new()
    home.settle()
    assert refused.ended and not refused.ready
    assert home.server.counters.closed[CloseReason.MEMORY_REFUSED] == 1
    assert home.resume(away).got == numbered(80, 996)
    slow.reading = True
    home.settle()
    assert home.new().ready, "there is room again"


def test_refusing_costs_no_look_at_the_key(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    home = make(TIGHT)
    slow = home.new()
    flood(home, slow, 380_000)
    monkeypatch.setattr("voltlane.core.protocols.v2.check_point", lambda point: pytest.fail("the key was checked"))
    refused = Client(home)
    refused.say(ProtocolVersion(2), PubKey(b"\x02" + bytes(32)))
    home.settle()
    assert refused.ended and home.server.counters.closed == {CloseReason.MEMORY_REFUSED: 1}


def test_what_waits_for_the_master_counts_and_is_never_given_up(make: MakeWorld):
    home = make({**TIGHT, "limits.memory_bytes": 51_000})
    client = home.new()
    home.master.reading = False
    payloads = numbered(200, 996)
    for payload in payloads:
        client.send(payload)
        home.settle()
    assert home.server.budget.is_over and home.server.counters.closed == {}
    home.master.reading = True
    home.settle()
    assert home.master.data[client.id] == payloads and home.server.budget.used == 0


@pytest.mark.parametrize("stale", [False, True], ids=["outboxes", "backlogs"])
def test_it_is_never_exceeded_by_more_than_a_read(make: MakeWorld, stale: bool):
    """Twenty who do not read, or are not there, and a master that sends flat out; a good client beside them."""
    home = make(TIGHT)
    good = home.new(send_buffer=1 << 17)
    bad = [home.new() for _ in range(20)]
    for client in bad:
        client.reading = False
        if stale:
            client.cut()
    home.settle()
    budget, over = home.server.budget, []
    told = budget.on_over
    budget.on_over = lambda: (over.append(budget.used), told())  # type: ignore[assignment, func-returns-value]
    sent = []
    for round_ in range(40):
        for client in bad:
            home.master.send(client.id, *numbered(20, 996))
        sent += numbered(5, start=5 * round_)
        home.master.send(good.id, *numbered(5, start=5 * round_))
        home.settle()
        assert budget.used <= LIMIT
    assert good.got == sent
    assert over and max(over) <= LIMIT + 20 * (1000 + 128) * 20, "one bite of the firehose"
    assert home.server.counters.ended[EndReason.MEMORY] > 5


def test_a_large_packet_of_the_masters_counts_while_it_arrives(make: MakeWorld):
    home = make()
    client = home.new(send_buffer=1 << 20)
    size = 6_000_000
    packet = frame(client.id.to_bytes(8, "little") + bytes(1) + bytes(size))
    home.master.write(packet[:5_000_000])
    home.settle()
    assert home.server.budget.used > 0
    home.master.write(packet[5_000_000:])
    home.settle()
    assert home.server.budget.used == 0 and client.got == [bytes(size)]


def test_it_is_said_once_in_a_while(make: MakeWorld, caplog: pytest.LogCaptureFixture):
    home = make(TIGHT)
    for _ in range(5):
        flood(home, home.new(), 500_000)
    lines = [record.message for record in caplog.records if "memory for queues" in record.message]
    assert len(lines) == 1 and lines[0].startswith("the memory for queues is used up: 1 given up, ")


def test_a_limit_that_is_lowered_while_the_server_runs_takes_effect_at_once(make: MakeWorld):
    home = make(TIGHT)
    clients = [home.new() for _ in range(4)]
    for client in clients:
        flood(home, client, 80_000)
    lower = replace(home.server.config, limits=Limits(memory_bytes=200_000))
    home.server.configure(lower)
    home.settle()
    assert home.server.budget.used <= 200_000 and home.server.counters.ended == {EndReason.MEMORY: 2}


@pytest.mark.parametrize("seed", range(6))
def test_random_lives_in_want_of_memory(make: MakeWorld, seed: int):
    """Nobody gets what is not his, twice or out of order; the limit holds; nothing fails inside."""
    home, random_ = make(TIGHT), random.Random(seed)
    clients = [home.new() for _ in range(8)]
    sent: dict[int, int] = {client.id: 0 for client in clients}
    for _ in range(120):
        index = random_.randrange(len(clients))
        client, act = clients[index], random_.randrange(10)
        if client.id not in home.server.registry.sessions:
            clients[index] = fresh = home.start_new()
            home.settle()
            if fresh.ready:
                sent[fresh.id] = 0
            else:
                assert fresh.ended, "it was refused"
                fresh.cut()
                clients[index] = client
        elif client.closed or client.ended:
            client.cut()
            home.settle()
            if client.id in home.server.registry.sessions:
                clients[index] = home.resume(client)
        elif act == 0:
            client.cut()
        elif act == 1:
            client.reading = False
        elif act == 2:
            client.reading = True
        elif act == 3:
            client.write((200_000).to_bytes(4, "little") + bytes(random_.randrange(150_000)))
        for client in clients:
            if random_.random() < 0.4 and client.id in home.server.registry.sessions:
                payloads = numbered(random_.choice([1, 20, 60]), random_.choice([10, 996]), start=sent[client.id])
                sent[client.id] += len(payloads)
                home.master.send(client.id, *payloads)
        home.settle()
        assert home.server.budget.used <= LIMIT and home.loop.bugs == []
    for client in clients:
        numbers = [int.from_bytes(payload[:4], "big") for payload in client.got]
        assert numbers == sorted(set(numbers)) and len(numbers) <= sent[client.id]
        if client.id in home.server.registry.sessions and not client.closed and not client.ended and client.reading:
            assert numbers == list(range(sent[client.id]))
    assert home.server.counters.ended[EndReason.MEMORY] and home.server.counters.closed[CloseReason.FRAME_SHED]


@pytest.mark.parametrize("worst", [0, 1, 2])
def test_of_queues_that_are_alike_that_of_the_worst_link_goes(make: MakeWorld, worst: int):
    home = make(TIGHT)
    clients = [home.new() for _ in range(4)]
    connections = {connection.session.id: connection for connection in home.server.clients.connections}  # type: ignore[union-attr]
    for place, client in enumerate(clients[:3]):
        quality = connections[client.id].quality = ClientQuality(0.0)
        quality.set_latency(0.9 if place == worst else 0.6)
        flood(home, client, 110_000)
    assert home.server.counters.closed == {}
    flood(home, clients[3], 90_000)
    assert home.server.counters.closed == {CloseReason.OUTBOX_SHED: 1}
    assert home.master.notices(Flag.FAILURE) == [(clients[worst].id, b"out of memory")]


def test_a_bad_link_is_no_reason_to_go_before_a_larger_queue(make: MakeWorld):
    home = make(TIGHT)
    bad, large, other = home.new(), home.new(), home.new()
    for connection in home.server.clients.connections:
        if connection.session is not None and connection.session.id == bad.id:
            connection.quality = ClientQuality(0.0)
            connection.quality.record(0, 1000)
    flood(home, bad, 60_000)
    flood(home, large, 300_000)
    flood(home, other, 60_000)
    assert home.master.notices(Flag.FAILURE) == [(large.id, b"out of memory")]
