"""Who does not read: slow clients by either policy, and a master that is slow."""

from __future__ import annotations

import pytest
from kit.world import Client, MakeWorld, World, numbered

from voltlane.reasons import CloseReason
from voltlane.wire.tagged import Flag

# ---- slow clients


SLOW = {
    "clients.channel_capacity": 50,
    "clients.slow_secs": 4,
    "clients.outbox_bytes": 1_000_000,
    "clients.write_stall_secs": 0,
}


def stuff(home: World, client: Client, packets: int, size: int = 50) -> None:
    """Stop reading, and let so many packets wait beyond what the kernel takes."""
    client.reading = False
    session = home.server.registry.sessions[client.id]
    link = session.link
    while link is not None and link.outbox is None:  # type: ignore[attr-defined]
        home.master.send(client.id, *numbered(50, 500))
        home.settle()
    while link is not None and link.outbox is not None and link.outbox.packets < packets:  # type: ignore[attr-defined]
        home.master.send(client.id, *numbered(1, size))
        home.settle()


def test_over_the_soft_limit_for_too_long(make: MakeWorld):
    home = make(SLOW)
    slow, other = home.new(), home.new()
    stuff(home, slow, 51)
    home.pass_(3.8)
    assert slow.id in home.server.registry.sessions
    home.pass_(0.3, step=0.05)
    assert slow.id not in home.server.registry.sessions
    slow.read()
    assert slow.ended and home.server.counters.closed == {CloseReason.TOO_SLOW: 1}
    assert home.master.notices(Flag.FAILURE) == [(slow.id, b"buffer overflow")]
    home.master.send(other.id, b"hello")
    home.settle()
    assert other.got == [b"hello"]


def test_at_the_soft_limit_for_ever(make: MakeWorld):
    home = make(SLOW)
    slow = home.new()
    stuff(home, slow, 50)
    home.pass_(30)
    assert not slow.ended and slow.id in home.server.registry.sessions and home.loop.timers == 0
    slow.reading = True
    home.settle()
    assert home.loop.timers == 0


@pytest.mark.parametrize("send_buffer", [1 << 17, 4096], ids=["all out at once", "bit by bit"])
def test_a_break_starts_the_count_again(make: MakeWorld, send_buffer: int):
    home = make(SLOW)
    slow = home.new(send_buffer=send_buffer)
    for _ in range(5):
        stuff(home, slow, 60)
        home.pass_(3.5)
        slow.reading = True
        home.settle()
        assert home.loop.timers == 0
    assert not slow.ended and home.server.counters.closed == {}


def test_over_the_hard_limit_at_once(make: MakeWorld):
    home = make({"clients.outbox_bytes": 50_000})
    slow, other = home.new(), home.new()
    slow.reading = False
    for _ in range(100):
        home.master.send(slow.id, b"x" * 5000)
        home.settle()
    slow.read()
    assert slow.ended and home.server.counters.closed == {CloseReason.OUTBOX_FULL: 1}
    failures = home.master.notices(Flag.FAILURE)
    assert failures[0] == (slow.id, b"buffer overflow")
    assert set(failures[1:]) == {(slow.id, b"Client not found")}
    assert not other.ended


def test_a_burst_to_a_client_that_reads_is_no_overflow(make: MakeWorld):
    home = make({"clients.outbox_bytes": 300_000, "clients.channel_capacity": 10, "clients.slow_secs": 1})
    client = home.new()
    payloads = numbered(2000, 100)
    home.master.send(client.id, *payloads)
    home.settle()
    assert client.got == payloads and not client.ended


def test_over_the_soft_limit_of_bytes_for_too_long(make: MakeWorld):
    home = make({**SLOW, "clients.channel_capacity": 10_000, "clients.outbox_soft_bytes": 40_000})
    slow, fine = home.new(), home.new()
    stuff(home, slow, 100, size=3000)
    stuff(home, fine, 1)
    home.pass_(5)
    slow.read()
    assert slow.ended and not fine.ended and home.server.counters.closed == {CloseReason.TOO_SLOW: 1}


def test_who_takes_nothing_is_closed_and_may_come_back_for_it(make: MakeWorld):
    home = make({"clients.write_stall_secs": 10})
    stalled, other = home.new(), home.new()
    stalled.reading = False
    payloads = numbered(300, 1000)
    home.master.send(stalled.id, *payloads)
    home.settle()
    home.pass_(9.5)
    assert home.connected() == 2
    home.pass_(1)
    assert home.connected() == 1 and home.server.counters.closed == {CloseReason.WRITE_STALLED: 1}
    assert home.master.notices(Flag.FAILURE) == [] and not other.ended
    stalled.read()
    assert home.resume(stalled).got == payloads


def test_who_takes_a_little_now_and_then_is_not_stalled(make: MakeWorld):
    home = make({"clients.write_stall_secs": 10})
    client = home.new()
    client.reading = False
    payloads = numbered(300, 1000)
    home.master.send(client.id, *payloads)
    for _ in range(8):
        home.pass_(8)
        client.read_some(16384)
    client.reading = True
    home.pass_(30)
    assert client.got == payloads and not client.ended and home.server.counters.closed == {}


def test_who_reads_slowly_is_not_stalled_though_the_socket_does_not_say_so(make: MakeWorld):
    """There is room to tell of only when much of the kernel's buffer is empty again."""
    home = make({"clients.write_stall_secs": 10})
    client = home.new(send_buffer=1 << 18)
    client.reading = False
    home.master.send(client.id, *numbered(2000, 1000))
    home.settle()
    outbox = home.server.clients.connections[0].outbox
    assert outbox is not None
    waiting = outbox.size
    for _ in range(6):
        home.pass_(8)
        client.read_some(40_000)
    assert outbox.size == waiting and home.connected() == 1
    home.pass_(25)
    assert home.connected() == 0 and home.server.counters.closed == {CloseReason.WRITE_STALLED: 1}


def test_a_stall_is_counted_from_when_something_waits(make: MakeWorld):
    """A timer that was left from another time does not end the next one early."""
    home = make({"clients.write_stall_secs": 10})
    client = home.new()
    client.reading = False
    home.master.send(client.id, *numbered(300, 1000))
    home.settle()
    home.pass_(1)
    client.reading = True
    home.pass_(6)
    client.reading = False
    home.master.send(client.id, *numbered(300, 1000))
    home.pass_(9)
    assert home.connected() == 1
    home.pass_(2)
    assert home.connected() == 0


def test_who_does_not_read_is_not_read_and_goes_on_when_it_does(make: MakeWorld):
    home = make({"clients.outbox_bytes": 50_000})
    client = home.new()
    client.reading = False
    while not home.server.clients.connections[0].outbox or home.server.clients.connections[0].outbox.size < 26_000:
        home.master.send(client.id, b"x" * 1000)
        home.settle()
    client.send(*numbered(50))
    home.settle()
    client.send(*numbered(50, start=50))
    home.settle()
    assert len(home.master.data[client.id]) < 100, "a part may have been read before"
    client.reading = True
    home.settle()
    assert home.master.data[client.id] == numbered(100)


def test_a_client_that_pipelines_against_an_echo_gets_everything_back(make: MakeWorld):
    home = make({"clients.outbox_bytes": 2_000_000, "master.outbox_bytes": 30_000, "master.channel_capacity": 100})
    client = home.new()
    echoed = 0
    payloads = numbered(20_000, 60)
    client.send(*payloads)
    for _ in range(5000):
        home.loop.turn(0)
        home.pump()
        new = home.master.data[client.id][echoed:]
        echoed += len(new)
        if new:
            home.master.send(client.id, *new)
        if len(client.got) == len(payloads):
            break
    assert client.got == payloads and not client.ended


BLOCK = {
    "clients.overflow_policy": "block",
    "clients.channel_capacity": 50,
    "clients.outbox_bytes": 100_000,
    "clients.slow_secs": 1,
}


def test_policy_block_waits_for_the_slow_and_loses_nothing(make: MakeWorld):
    home = make(BLOCK)
    slow, other = home.new(), home.new()
    slow.reading = False
    payloads = numbered(3000, 100)
    for payload in payloads:
        home.master.send(slow.id, payload)
    home.master.send(other.id, b"hello")
    home.settle()
    home.pass_(20)
    assert not slow.ended and other.got == [], "the danger that is documented"
    assert home.master.waiting or home.server.trunk.blocked
    slow.reading = True
    home.settle()
    assert slow.got == payloads and other.got == [b"hello"]


@pytest.mark.parametrize("how", ["cut", "resume"])
def test_policy_block_goes_on_when_the_slow_is_gone(make: MakeWorld, how: str):
    home = make(BLOCK)
    slow, other = home.new(), home.new()
    slow.reading = False
    home.master.send(slow.id, *numbered(3000, 100))
    home.master.send(other.id, b"hello")
    home.settle()
    assert other.got == []
    if how == "cut":
        slow.cut()
        home.settle()
    else:
        home.resume(slow)
    assert other.got == [b"hello"]


# ---- a slow master


FULL = {"master.channel_capacity": 100, "master.outbox_bytes": 50_000}


def test_a_slow_master_stops_the_reading_and_nothing_is_dropped(make: MakeWorld):
    home = make(FULL)
    clients = [home.new() for _ in range(5)]
    home.master.reading = False
    payloads = numbered(3000, 100)
    for client in clients:
        client.send(*payloads)
    home.settle()
    assert home.server.trunk.full and all(client.waiting for client in clients)
    outbox = home.server.trunk.outbox
    assert outbox is not None and outbox.size < 50_000 + 5 * 2 * 65536, "bounded by what was read at once"
    newcomer = home.new()
    assert newcomer.ready, "handshakes go on"
    home.pass_(30)
    home.master.reading = True
    home.settle()
    assert not home.server.trunk.full
    assert all(home.master.data[client.id] == payloads for client in clients)


def test_a_slow_master_does_not_keep_its_own_packets_from_the_clients(make: MakeWorld):
    """A full way up and a full way down must not wait for each other."""
    home = make(FULL)
    client, other = home.new(), home.new()
    home.master.reading = False
    client.send(*numbered(3000, 100))
    home.settle()
    assert home.server.trunk.full
    home.master.send(other.id, *numbered(1000, 100))
    home.settle()
    assert other.got == numbered(1000, 100)
