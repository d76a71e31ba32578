"""A master that goes, comes back, or makes mistakes."""

from __future__ import annotations

import pytest
from kit.frames import data, join
from kit.world import MakeWorld, numbered

from voltlane.reasons import CloseReason
from voltlane.trunk import connection as master
from voltlane.wire.batch import plain
from voltlane.wire.tagged import Flag

EACH_POLLER = True

FULL = {"master.channel_capacity": 100, "master.outbox_bytes": 50_000}


@pytest.mark.parametrize("together", [False, True], ids=["end alone", "end behind data"])
def test_a_master_that_leaves_is_noticed(make: MakeWorld, together: bool):
    home = make()
    client = home.new()
    if together:
        home.master.send(client.id, b"bye")
    home.master.cut()
    home.settle()
    assert home.dialer.dials == 1 and home.server.trunk.connection is None
    assert client.got == ([b"bye"] if together else []) and not client.ended
    home.connect_master()


def test_a_master_that_comes_back_gets_everything_once_and_is_told_who_is_here(make: MakeWorld):
    home = make()
    live, stale, other = home.new(), home.new(), home.new()
    stale.cut()
    home.settle()
    first = home.master
    first.reading = False
    payloads = numbered(5000, 100)
    live.send(*payloads)
    home.settle()
    first.cut()
    home.settle()
    got = len(first.data[live.id])
    assert 0 < got < 5000
    other.send(b"while you were away")
    home.settle()
    home.connect_master()
    home.settle()
    second = home.master
    assert second.log[:2] == [(live.id, Flag.RECONNECTION, b""), (other.id, Flag.RECONNECTION, b"")]
    assert first.data[live.id] + second.data[live.id] == payloads
    assert second.data[other.id] == [b"while you were away"]
    home.master.send(live.id, b"welcome back")
    home.settle()
    assert live.got == [b"welcome back"] and not live.ended


def test_without_a_master_clients_are_kept_and_read_until_the_queue_is_full(make: MakeWorld):
    home = make(FULL)
    client = home.new()
    home.master.cut()
    home.settle()
    payloads = numbered(5000, 100)
    client.send(*payloads)
    home.pass_(100)
    assert home.server.trunk.full and client.waiting and not client.ended
    home.connect_master()
    home.settle()
    assert home.master.data[client.id] == payloads


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (join([bytes(8)]), CloseReason.MALFORMED_TAG),
        (join([b""]), CloseReason.MALFORMED_TAG),
        (join([bytes(8) + b"\x04"]), CloseReason.UNKNOWN_FLAG),
        ((8 * 1024 * 1024 + 1).to_bytes(4, "little"), CloseReason.FRAME_TOO_LARGE),
    ],
    ids=["short", "empty", "flag", "large"],
)
def test_a_master_that_makes_mistakes_is_dropped_alone(make: MakeWorld, chunk: bytes, reason: CloseReason):
    home = make()
    client = home.new()
    home.master.send(client.id, b"good")
    home.master.write(chunk)
    home.settle()
    assert home.master.ended and home.server.counters.closed == {reason: 1} and home.dialer.dials == 1
    assert client.got == [b"good"] and not client.ended
    home.connect_master()
    home.settle()
    assert home.master.notices(Flag.RECONNECTION) == [(client.id, b"")]


def test_a_master_that_takes_nothing_is_given_up(make: MakeWorld):
    home = make({"master.stall_secs": 5, **FULL})
    client = home.new()
    stalled = home.master
    stalled.reading = False
    payloads = numbered(3000, 100)
    client.send(*payloads)
    home.pass_(4)
    assert home.server.trunk.full and home.dialer.dials == 0
    home.pass_(2)
    counters = home.server.counters
    assert counters.closed == {CloseReason.MASTER_STALLED: 1}
    assert home.dialer.dials == 1 and home.dialer.distrusted == 1
    assert counters.master_bytes_unconfirmed > 0, "what the kernel had of it"
    stalled.read()
    assert stalled.ended
    home.connect_master()
    home.settle()
    assert stalled.data[client.id] + home.master.data[client.id] == payloads
    assert not client.ended


def test_a_master_that_takes_a_little_is_not_given_up(make: MakeWorld):
    home = make({"master.stall_secs": 5, **FULL})
    client = home.new()
    home.master.reading = False
    payloads = numbered(3000, 100)
    client.send(*payloads)
    taken = 0
    for _ in range(4):
        home.pass_(4)
        taken += home.master.read_some(36_000)
    home.pass_(4)
    assert taken > 100_000 and home.dialer.dials == 0
    home.master.reading = True
    home.settle()
    home.pass_(20)
    assert home.master.data[client.id] == payloads and home.dialer.dials == 0


def test_a_master_may_take_its_time_unless_told_otherwise(make: MakeWorld):
    home = make(FULL)
    client = home.new()
    home.master.reading = False
    client.send(*numbered(3000, 100))
    home.pass_(1000, step=50)
    assert home.dialer.dials == 0 and home.server.trunk.full and not client.ended


def test_reports_do_not_pile_up_for_a_master_that_does_not_read(make: MakeWorld):
    home = make({"master.outbox_bytes": 20_000})
    home.master.reading = False
    for _ in range(40):
        home.master.send(77, *[b""] * 200)
        home.settle()
    outbox = home.server.trunk.outbox
    assert outbox is not None and outbox.size < 60_000
    counters = home.server.counters
    assert counters.unknown_client == 8000 and counters.notices_dropped > 0
    home.master.reading = True
    home.settle()
    assert len(home.master.notices(Flag.FAILURE)) == 8000 - counters.notices_dropped


def test_small_packets_between_others_are_not_looked_for_everywhere(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """A form of `group` may copy what it is shown: all of a bite for each packet of it would take seconds."""
    shown: list[int] = []

    def group(buffer: bytearray, start: int, stop: int, most: int) -> tuple[dict[int, bytes], int, int]:
        shown.append(stop - start)
        return plain.group(buffer, start, stop, most)

    monkeypatch.setattr(master, "group", group)
    home = make()
    client = home.new()
    other = (99).to_bytes(8, "little") + bytes([Flag.RECONNECTION])
    payloads, stream, size = numbered(3000, 10), [], 0
    for number, payload in enumerate(payloads):
        stream += [data(client.id, payload), other if number % 3 else data(client.id, b"L" * 5000)]
        size += 5000 if number % 3 == 0 else 0
    home.master.write(join(stream))
    home.settle()
    assert [got for got in client.got if got[:1] != b"L"] == payloads and len(client.got) == 4000
    assert sum(shown) < len(payloads) * 3 * master.LARGE + 10 * size


@pytest.mark.parametrize("count", [10, 400, 3000])
def test_a_run_of_small_packets_behind_another_is_found_whole(make: MakeWorld, count: int):
    home = make({"clients.outbox_bytes": 1 << 26})
    client = home.new()
    other = (99).to_bytes(8, "little") + bytes([Flag.RECONNECTION])
    for sizes in ((30,), (0, 1, 700, 4087, 5), (4086, 4087)):
        before = len(client.got)
        payloads = [b"s" * sizes[number % len(sizes)] for number in range(count)]
        home.master.write(join([other, *(data(client.id, payload) for payload in payloads)]))
        home.settle()
        assert client.got[before:] == payloads
