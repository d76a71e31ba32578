"""Rates and silence: who sends more than it may, and who sends nothing."""

from __future__ import annotations

import pytest
from kit.world import Client, MakeWorld, World, numbered

from voltlane.reasons import CloseReason
from voltlane.wire.tagged import Flag


def rate_of(home: World, client: Client, seconds: float) -> float:
    """Packets a second that arrive, once the burst is over."""
    before = len(home.master.data[client.id])
    home.pass_(seconds, step=0.05)
    return (len(home.master.data[client.id]) - before) / seconds


def test_packets_a_second(make: MakeWorld):
    home = make({"clients.packet_rate": 100, "clients.rate_burst_secs": 2})
    loud, other = home.new(), home.new()
    payloads = numbered(20_000, 40)
    loud.send(*payloads)
    home.settle()
    first = len(home.master.data[loud.id])
    assert 200 <= first < 200 + 2 * 65536 / 48, "the burst, and what was read with it"
    home.pass_(first / 100 - 2 - 0.1)
    assert 85 < rate_of(home, loud, 80) < 115 + 65536 / 48 / 80
    assert home.server.counters.throttled > 3 and home.server.counters.closed == {}
    other.send(b"not me")
    home.settle()
    assert home.master.data[other.id] == [b"not me"]
    home.pass_(200)
    assert home.master.data[loud.id] == payloads, "late, and nothing was lost"


@pytest.mark.parametrize("policy", ["throttle", "disconnect"])
def test_what_is_behind_the_handshake_is_charged(make: MakeWorld, policy: str):
    """Else whoever comes anew each time pays for nothing."""
    home = make({"clients.packet_rate": 10, "clients.rate_burst_secs": 1, "clients.rate_policy": policy})
    client = Client(home)
    client.greet()
    client.send(*[b""] * 50)
    home.settle()
    throttles = policy == "throttle"
    assert home.server.counters.throttled == throttles and client.ended != throttles
    assert home.server.counters.closed == ({} if throttles else {CloseReason.RATE_EXCEEDED: 1})
    client.send(b"more")
    home.pass_(3, step=0.05)
    assert len(home.master.data[client.id]) == 50
    home.pass_(2)
    assert len(home.master.data[client.id]) == 50 + throttles


@pytest.mark.parametrize("settings", [{"clients.packet_rate": 10}, {"clients.byte_rate": 140}])
def test_a_takeover_takes_the_debts_over(make: MakeWorld, settings: dict[str, object]):
    """What an old connection had received is not lost, and has to be paid."""
    home = make({**settings, "clients.rate_burst_secs": 1})
    client = home.new()
    for _ in range(5):
        client.send(*numbered(10, 6))
        home.settle()
        client = home.resume(client)
    assert len(home.master.data[client.id]) == 50
    client.send(*numbered(10, 6))
    home.pass_(3.8, step=0.05)
    assert len(home.master.data[client.id]) == 50
    home.pass_(0.5)
    assert len(home.master.data[client.id]) == 60


@pytest.mark.parametrize("settings", [{"clients.packet_rate": 10}, {"clients.byte_rate": 140}])
def test_a_lost_connection_leaves_its_debts_to_the_next(make: MakeWorld, settings: dict[str, object]):
    """Else whoever loses its own connection again and again has a burst each time."""
    home = make({**settings, "clients.rate_burst_secs": 1})
    client = home.new()
    for _ in range(5):
        client.send(*numbered(10, 6))
        home.settle()
        home.server.clients.connections[0].close(CloseReason.PEER_LOST)
        client = home.resume(client)
    assert len(home.master.data[client.id]) == 50
    client.send(*numbered(10, 6))
    home.pass_(3.8, step=0.05)
    assert len(home.master.data[client.id]) == 50
    home.pass_(0.5)
    assert len(home.master.data[client.id]) == 60


@pytest.mark.parametrize("settings", [{"clients.packet_rate": 10}, {"clients.byte_rate": 140}])
def test_who_owes_too_much_is_not_taken_over(make: MakeWorld, settings: dict[str, object]):
    """Else whoever takes its own session over again and again is read to the end each time, and never pays."""
    home = make({**settings, "clients.rate_burst_secs": 1})
    client = home.new()
    takeovers = 0
    while True:
        client.send(*numbered(10, 6))
        again = home.start_resume(client)
        home.settle()
        if not again.ready:
            break
        client, takeovers = again, takeovers + 1
    assert 60 <= takeovers <= 62 and again.ended and not client.ended
    assert home.server.counters.closed == {CloseReason.TAKEN_OVER: takeovers, CloseReason.TAKEOVER_EARLY: 1}
    assert len(home.master.data[client.id]) == 10 * takeovers
    home.pass_(2)
    client = home.resume(client)
    assert len(home.master.data[client.id]) == 10 * takeovers + 10, "nothing of it is lost"
    home.pass_(70)


def test_bytes_a_second(make: MakeWorld):
    home = make({"clients.byte_rate": 10_000, "clients.rate_burst_secs": 0.5})
    client = home.new()
    client.send(*numbered(400, 996))
    home.settle()
    owed = len(home.master.data[client.id]) * 1004
    assert owed < 5000 + 65536 * 1.1
    home.pass_(owed / 10_000)
    assert 8 < rate_of(home, client, 20) < 15
    home.pass_(60)
    assert home.master.data[client.id] == numbered(400, 996)


def test_a_large_packet_is_charged_as_it_arrives(make: MakeWorld):
    home = make({"clients.byte_rate": 100_000})
    client = home.new()
    client.send(bytes(1_000_000))
    home.pass_(8)
    assert home.master.data[client.id] == []
    home.pass_(4)
    assert home.master.data[client.id] == [bytes(1_000_000)]


def test_who_keeps_to_its_rate_is_never_throttled(make: MakeWorld):
    home = make({"clients.packet_rate": 100, "clients.byte_rate": 10_000})
    client = home.new()
    for _ in range(200):
        client.send(*numbered(4, 60))
        home.pass_(0.05, step=0.05)
    assert len(home.master.data[client.id]) == 800 and home.server.counters.throttled == 0


def test_the_end_of_a_throttled_client_is_seen_behind_what_it_sent(make: MakeWorld):
    home = make({"clients.packet_rate": 100})
    client = home.new()
    client.send(*numbered(1000, 10))
    home.settle()
    client.cut()
    home.pass_(30)
    assert home.connected() == 0 and home.master.data[client.id] == numbered(1000, 10)


def test_a_throttled_client_that_does_not_read_is_parked_all_the_same(make: MakeWorld):
    home = make({"clients.packet_rate": 100, "clients.outbox_bytes": 200_000})
    client = home.new()
    client.reading = False
    client.send(*numbered(3000, 100))
    home.settle()
    home.master.send(client.id, *numbered(100, 1000))
    home.pass_(10)
    client.reading = True
    home.pass_(60)
    assert home.master.data[client.id] == numbered(3000, 100) and client.got == numbered(100, 1000)


def test_the_policy_disconnect(make: MakeWorld):
    home = make({"clients.packet_rate": 100, "clients.rate_policy": "disconnect"})
    loud, fine = home.new(), home.new()
    fine.send(*numbered(100))
    loud.send(*numbered(101))
    home.settle()
    loud.read()
    assert loud.ended and not fine.ended
    assert home.server.counters.closed == {CloseReason.RATE_EXCEEDED: 1}
    assert home.master.notices(Flag.FAILURE) == [] and home.master.data[loud.id] == numbered(101)
    home.master.send(loud.id, b"missed")
    home.settle()
    assert home.resume(loud).got == [b"missed"]


def test_who_is_silent_is_closed_and_may_come_back(make: MakeWorld):
    home = make({"clients.idle_secs": 10})
    silent, other = home.new(), home.new()
    for _ in range(4):
        home.pass_(4)
        other.send(b"here")
        home.master.send(silent.id, b"and you?")
    home.settle()
    assert silent.ended and not other.ended and home.server.counters.closed == {CloseReason.IDLE: 1}
    assert home.master.notices(Flag.FAILURE) == []
    assert home.resume(silent).got == [b"and you?"] * 4


def test_who_is_not_read_is_not_silent(make: MakeWorld):
    """Because the master does not read, because of its own rate, or because it does not read itself."""
    home = make({"clients.idle_secs": 20, "clients.packet_rate": 1000, "master.channel_capacity": 100})
    waiting, throttled = home.new(), home.new()
    throttled.send(*numbered(20_000, 10))
    home.pass_(8)
    assert home.server.counters.throttled
    home.master.reading = False
    while not home.server.trunk.full:
        throttled.send(*numbered(1000, 200))
        home.pass_(0.5)
    waiting.send(b"patient")
    home.pass_(50)
    assert home.connected() == 2
    home.master.reading = True
    home.settle()
    assert home.master.data[waiting.id] == [b"patient"]
    home.pass_(45)
    assert waiting.ended


@pytest.mark.parametrize("setting", ["clients.packet_rate", "clients.byte_rate", "clients.idle_secs"])
def test_who_is_metered_resumes_and_is_taken_over_as_ever(make: MakeWorld, setting: str):
    home = make({setting: 1000})
    client = home.new()
    again = home.resume(client)
    again.send(b"one")
    again.cut()
    home.settle()
    third = home.resume(again)
    third.send(b"two")
    home.settle()
    assert home.master.data[client.id] == [b"one", b"two"]


def test_without_limits_nobody_has_a_meter(make: MakeWorld):
    home = make()
    home.new()
    connection = home.server.clients.connections[0]
    assert connection.meter is None and connection.flags == 0
