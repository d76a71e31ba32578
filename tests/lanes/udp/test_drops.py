"""A test for each reason why a datagram is dropped: it is counted under that, and the client beside it is served."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Callable, NamedTuple

import pytest
from kit.datagram_client import PING, Wire
from kit.frames import join
from kit.udp_world import UdpWorld, taken, udp_world

from voltlane.net.udp.loops import name_of
from voltlane.net.udp.results import Sent
from voltlane.reasons import DatagramDrop
from voltlane.wire.tagged import Flag

MTU = 1200


def datagram_for(world: UdpWorld, client_id: int, *bodies: bytes) -> None:
    """From the master, as it is marked."""
    head = client_id.to_bytes(8, "little") + bytes((Flag.DATAGRAM,))
    world.master.write(join([head + body for body in bodies]))


# ---- sealed


def short(world: UdpWorld, wire: Wire) -> None:
    wire.raw(wire.sealed.datagram(PING)[:36])


def too_large(world: UdpWorld, wire: Wire) -> None:
    wire.send(bytes(MTU - 36))


def unknown_id(world: UdpWorld, wire: Wire) -> None:
    wire.raw(bytes(50))


def unsealed(world: UdpWorld, wire: Wire) -> None:
    wire.raw(wire.sealed.data(b"x")[:-1] + b"?")


def replayed(world: UdpWorld, wire: Wire) -> None:
    datagram = wire.sealed.data(b"x")
    wire.raw(datagram)
    wire.raw(datagram)


def late(world: UdpWorld, wire: Wire) -> None:
    datagram = wire.sealed.data(b"x")
    wire.raw(wire.sealed.datagram(PING, number=wire.sealed.number + 1024))
    wire.sealed.number += 1025
    wire.raw(datagram)


def rate(world: UdpWorld, wire: Wire) -> None:
    wire.send(*[b"x"] * 200)


def not_wanted(world: UdpWorld, wire: Wire) -> None:
    wire.send(b"x")


def no_path(world: UdpWorld, wire: Wire) -> None:
    client, other = world.new_wire()
    other.close()
    channel = world.udp.channel_of(client.session.id)  # type: ignore[attr-defined]
    channel.path = None
    datagram_for(world, client.session.id, b"x")
    world.wires.remove(other)


def unvalidated(world: UdpWorld, wire: Wire) -> None:
    """An old ping from another address: it says nothing of where the client is, and an answer could hit anybody."""
    older = wire.sealed.datagram(PING)
    wire.ping()
    world.settle()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(older, world.place)
        world.settle()


def no_room(world: UdpWorld, wire: Wire) -> None:
    """Whatever comes while the system takes no more, what waits stays within its bound."""

    def blocked(port: object, queue: object, offset: int) -> Sent:
        return Sent(0, offset, 0, 0, True)

    transmit, world.udp.transmit = world.udp.transmit, blocked  # type: ignore[method-assign]
    client_id = next(iter(world.server.registry.sessions))
    for number in range(20):
        datagram_for(world, client_id, bytes(400))
        world.settle()
        assert sum(len(chunk) for _, chunk in world.udp.ports[0].queue) == 404 * min(number + 1, 2)
    world.udp.transmit = transmit  # type: ignore[method-assign]


def unsent(world: UdpWorld, wire: Wire) -> None:
    client, _ = world.new_wire()
    channel = world.udp.channel_of(client.session.id)  # type: ignore[attr-defined]
    channel.path = name_of(socket.AF_INET, "127.0.0.1", 0)  # where nothing can be
    datagram_for(world, client.session.id, b"x")


def trunk_full(world: UdpWorld, wire: Wire) -> None:
    world.master.reading = False
    for _ in range(5000):
        wire.send(bytes(1000))
        world.settle()
        if world.server.trunk.full:
            break
    wire.send(b"x")
    world.settle()
    world.master.reading = True


# ---- of the plain relay


def strangers(world: UdpWorld, good: socket.socket) -> None:
    for _ in range(80):
        world.socket().send(b"x")


def stranger_rate(world: UdpWorld, good: socket.socket) -> None:
    for _ in range(5):
        world.socket().send(b"x")


def prefix_rate(world: UdpWorld, good: socket.socket) -> None:
    for _ in range(5):
        world.socket("127.0.0.9").send(b"x")


def bad_address(world: UdpWorld, good: socket.socket) -> None:
    sock = world.udp.ports[0].sock
    assert sock is not None
    sock.sendto(b"hello, myself", world.place)


def not_admitted(world: UdpWorld, good: socket.socket) -> None:
    world.socket().send(b"x")


def no_cookie(world: UdpWorld, good: socket.socket) -> None:
    world.socket().send(b"let me in")


class Case(NamedTuple):
    """How it comes to that."""

    provoke: Callable[..., None]
    settings: Mapping[str, object] = MappingProxyType({})


SEALED: dict[DatagramDrop, Case] = {
    DatagramDrop.SHORT: Case(short),
    DatagramDrop.TOO_LARGE: Case(too_large),
    DatagramDrop.UNKNOWN_ID: Case(unknown_id),
    DatagramDrop.UNSEALED: Case(unsealed),
    DatagramDrop.REPLAYED: Case(replayed),
    DatagramDrop.LATE: Case(late),
    DatagramDrop.RATE: Case(rate, {"clients.packet_rate": 50}),
    DatagramDrop.NOT_WANTED: Case(not_wanted, {"master.datagrams": False}),
    DatagramDrop.TRUNK_FULL: Case(trunk_full, {"master.outbox_bytes": 1}),
    DatagramDrop.NO_PATH: Case(no_path),
    DatagramDrop.UNVALIDATED: Case(unvalidated),
    DatagramDrop.NO_ROOM: Case(no_room, {"udp.queue_bytes": 1000}),
    DatagramDrop.UNSENT: Case(unsent),
}
OPEN: dict[DatagramDrop, Case] = {
    DatagramDrop.STRANGERS: Case(strangers),
    DatagramDrop.STRANGER_RATE: Case(stranger_rate, {"udp.new_rate": 2}),
    DatagramDrop.PREFIX_RATE: Case(prefix_rate, {"udp.network_rate": 2}),
    DatagramDrop.BAD_ADDRESS: Case(bad_address),
    DatagramDrop.NOT_ADMITTED: Case(not_admitted, {"udp.peers": 1}),
    DatagramDrop.NO_COOKIE: Case(no_cookie, {"udp.cookie": True}),
}
ALONE = {DatagramDrop.NO_MASTER}
"""Which nobody beside it can be served in."""


def test_every_reason_has_a_test() -> None:
    assert {*SEALED, *OPEN, *ALONE} == set(DatagramDrop)


@pytest.mark.parametrize("reason", SEALED, ids=lambda reason: reason.name)
def test_a_sealed_datagram_dropped_for_this_reason(reason: DatagramDrop) -> None:
    case = SEALED[reason]
    with udp_world("sessions", {"master.datagrams": True, "udp.fallback": "drop", **case.settings}) as world:
        client, wire = world.new_wire()
        beside, other = world.new_wire()
        assert not world.dropped
        case.provoke(world, wire)
        world.settle()
        assert set(world.dropped) == {reason.name}
        world.pass_(2.0)
        if reason is not DatagramDrop.NOT_WANTED:
            other.send(b"still here")
            world.settle()
            assert world.master.notices(Flag.DATAGRAM)[-1] == (beside.session.id, b"still here")
        pongs = len(other.heard)
        other.ping()
        world.settle()
        assert len(other.heard) == pongs + 1 and not client.ended


@pytest.mark.parametrize("reason", OPEN, ids=lambda reason: reason.name)
def test_one_of_nobody_dropped_for_this_reason(reason: DatagramDrop) -> None:
    case = OPEN[reason]
    with udp_world("open", {"udp.new_rate": 0, "udp.network_rate": 0, **case.settings}) as world:
        good = world.socket()
        good.send(b"hello, relay")
        world.settle()
        if "udp.cookie" in case.settings:
            good.send(taken(good)[0] + b"hello, relay")
            world.settle()
        world.pass_(2.0)
        (client_id,) = world.master.data
        world.server.counters.datagrams_dropped.clear()
        case.provoke(world, good)
        world.settle()
        assert set(world.dropped) == {reason.name}
        good.send(b"still here")
        world.master.send(client_id, b"and you are")
        world.settle()
        assert world.master.data[client_id][-1] == b"still here" and taken(good) == [b"and you are"]


def test_one_that_comes_before_there_is_a_master() -> None:
    world = UdpWorld("open")
    try:
        sock = world.socket()
        sock.send(b"early")
        world.loop.turn(0)
        assert world.dropped == {DatagramDrop.NO_MASTER.name: 1}
    finally:
        sock.close()
        world.abandon()
