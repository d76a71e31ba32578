"""What a client is promised, on every lane and in every protocol: one table, lane × protocol × promise.

What is not tested of it has its reason in `EXCEPTIONS`, and the run says how much that is. Each lane's own ways are in
test_contract.py and test_record*.py.
"""

from __future__ import annotations

from types import ModuleType
from typing import Callable

import pytest
from kit.parties import PARTIES, Party
from kit.speaker import lanes
from kit.world import World, numbered, world

from voltlane.core.session import State
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.tagged import Flag

LANES = {module.__name__.rpartition(".")[2]: module for module in lanes()}
PAYLOADS = [b"", b"\xff", *numbered(200), b"\xff" * 5000, b"\xfe" * 70_000, b"\xfd" * 300_000, b"", b"end"]


def order(home: World, client: Party, other: ModuleType) -> None:
    """Packets arrive once and in their order, both ways, whatever their sizes."""
    client.send(*PAYLOADS)
    home.master.send(client.id, *PAYLOADS)
    home.settle()
    assert home.master.data[client.id] == PAYLOADS == client.got


def limits(home: World, client: Party, other: ModuleType) -> None:
    """A packet of the largest size passes; one of a byte more ends its connection, and costs nobody else anything."""
    bystander = type(client)(home, client.lane)
    client.send(b"\xff" * LARGEST)
    home.settle()
    client.send(b"\xff" * (LARGEST + 1), b"never")
    home.settle()
    assert client.ended and home.master.data[client.id] == [b"\xff" * LARGEST]
    assert home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}
    bystander.send(b"here")
    home.settle()
    assert home.master.data[bystander.id] == [b"here"] and not bystander.ended


def slow_reader(home: World, client: Party, other: ModuleType) -> None:
    """Who does not read holds nobody up, and its session ends past the limit for what waits; whoever reads in time gets
    everything."""
    patient = type(client)(home, client.lane)
    client.read(False)
    patient.read(False)
    home.master.send(patient.id, *numbered(100, 1000))
    home.settle()
    patient.read(True)
    home.settle()
    assert patient.got == numbered(100, 1000)
    home.master.send(client.id, *numbered(2000, 1000))
    home.settle()
    assert home.server.counters.ended == {EndReason.OVERFLOW: 1} and client.id not in home.server.registry.sessions
    assert home.master.notices(Flag.FAILURE)[0] == (client.id, b"buffer overflow")
    assert patient.id in home.server.registry.sessions


def half_close(home: World, client: Party, other: ModuleType) -> None:
    """What was sent right before the end is passed on."""
    client.send(*numbered(50), b"last")
    client.cut()
    home.settle()
    assert home.master.data[client.id] == [*numbered(50), b"last"]


def cut_at_any_byte(home: World, client: Party, other: ModuleType) -> None:
    """However far a packet has come when the connection dies, the master gets whole packets, in order, and the server
    has nothing left of it."""
    for cut in (*range(0, 30), 60, 100, 127, 200):
        party = type(client)(home, client.lane)
        whole = party.wire_of(b"one", b"x" * 130)
        party.uplink.write(whole[:cut])
        party.cut()
        home.settle()
        got = home.master.data.pop(party.id, [])
        assert got == [b"one", b"x" * 130][: len(got)], cut
        assert cut < len(whole) or got == [b"one", b"x" * 130]


def resume(home: World, client: Party, other: ModuleType) -> None:
    """A session outlives its connection: over any other lane, with all that it missed, once and in order."""
    client.send(b"up")
    home.master.send(client.id, b"down")
    home.settle()
    client.cut()
    home.settle()
    assert home.server.registry.sessions[client.id].state is State.STALE
    home.master.send(client.id, *numbered(20))
    home.settle()
    before = client.id
    client.come_back(other)
    client.send(b"up again")
    home.master.send(client.id, b"down again")
    home.settle()
    assert client.id == before and home.master.data[client.id] == [b"up", b"up again"]
    assert client.got == [b"down", *numbered(20), b"down again"]


def takeover(home: World, client: Party, other: ModuleType) -> None:
    """A client that comes back while its old connection still counts as live is let in, and loses nothing."""
    home.master.send(client.id, *numbered(40))
    home.settle()
    client.send(*numbered(40))
    client.come_back(other)
    home.master.send(client.id, b"down")
    client.send(b"up")
    home.settle()
    assert home.server.counters.closed == {CloseReason.TAKEN_OVER: 1}
    assert home.master.data[client.id] == [*numbered(40), b"up"] and client.got == [*numbered(40), b"down"]


def drain(home: World, client: Party, other: ModuleType) -> None:
    """A server that ends writes what waits for a client first, and says that it goes."""
    home.master.send(client.id, *numbered(100, 100))
    home.settle()
    home.server.clients.retire()
    home.settle()
    assert client.got == numbered(100, 100)
    client.cut()
    home.settle()


PROMISES: dict[str, Callable[[World, Party, ModuleType], None]] = {
    promise.__name__: promise
    for promise in (order, limits, slow_reader, half_close, cut_at_any_byte, resume, takeover, drain)
}
LARGEST = 100_000
SETTINGS = {"clients.packet_size_limit": LARGEST, "clients.outbox_bytes": 1_000_000}

OVER_HTTP = ("ws", "wss")
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("open", "resume"): "an open session ends with its connection",
    ("open", "takeover"): "an open session ends with its connection",
    ("events", "half_close"): "a POST counts once it is answered (web/test_send.py)",
    ("events", "limits"): "a POST that is too large is refused, and the stream goes on (web/test_send.py)",
}
"""(protocol, promise): why it is not promised."""


def reason_to_skip(lane: str, protocol: str, promise: str) -> str | None:
    """Why this cell of the table has no test."""
    if protocol in ("open", "events") and lane not in OVER_HTTP:
        return f"{protocol}: asked for over HTTP"
    return EXCEPTIONS.get((protocol, promise))


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("protocol", PARTIES)
@pytest.mark.parametrize("lane", LANES)
def test_the_promise_is_kept(lane: str, protocol: str, promise: str) -> None:
    reason = reason_to_skip(lane, protocol, promise)
    if reason is not None:
        pytest.skip(reason)
    names = [name for name in LANES if reason_to_skip(name, protocol, promise) is None]
    other = LANES[names[(names.index(lane) + 1) % len(names)]]
    with world(SETTINGS if promise in ("limits", "slow_reader") else {}) as home:
        PROMISES[promise](home, PARTIES[protocol](home, LANES[lane]), other)


def test_every_exception_is_one() -> None:
    assert all(protocol in PARTIES and promise in PROMISES for protocol, promise in EXCEPTIONS)
