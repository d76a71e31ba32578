"""A master that goes, comes back, or makes mistakes."""

from __future__ import annotations

import pytest
from kit.frames import join
from kit.world import MakeWorld, numbered

from voltlane.reasons import CloseReason
from voltlane.wire.tagged import Flag

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
