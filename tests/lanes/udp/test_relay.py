"""The plain relay: each address and port is a client, for programs that know nothing of this server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from kit.frames import join
from kit.udp_world import UdpWorld, taken, udp_world

from voltlane.address import UDP, Address
from voltlane.config import Config
from voltlane.lanes.udp.gate import KICKED_SECS, MOST_KICKED
from voltlane.reasons import CloseReason, EndReason
from voltlane.server.drain import Step
from voltlane.wire.tagged import Flag


@pytest.fixture
def world() -> Iterator[UdpWorld]:
    with udp_world("open") as made:
        yield made


def with_udp(config: Config, **settings: object) -> Config:
    return replace(config, udp=replace(config.udp, **settings))


def ids(world: UdpWorld) -> list[int]:
    return list(world.master.data)


class TestPackets:
    def test_an_echo_goes_through(self, world: UdpWorld):
        one, other = world.socket(), world.socket()
        one.send(b"from one")
        world.settle()
        other.send(b"from other")
        one.send(b"")
        world.settle()
        first, second = ids(world)
        assert world.master.data == {first: [b"from one", b""], second: [b"from other"]}
        world.master.send(first, b"to one", b"")
        world.master.send(second, b"to other")
        world.settle()
        assert taken(one) == [b"to one", b""] and taken(other) == [b"to other"]

    def test_several_first_ones_at_once_are_one_client(self, world: UdpWorld):
        sock = world.socket()
        for number in range(10):
            sock.send(b"%d" % number)
        world.settle()
        (client_id,) = ids(world)
        assert world.master.data[client_id] == [b"%d" % number for number in range(10)]

    def test_what_is_larger_than_allowed_is_dropped_both_ways(self, world: UdpWorld):
        sock = world.socket()
        sock.send(b"x" * 1200)
        world.settle()
        sock.send(b"x" * 1201)
        (client_id,) = ids(world)
        world.master.send(client_id, b"y" * 1201, b"y" * 1200, b"y" * 100_000)
        world.settle()
        assert [len(body) for body in world.master.data[client_id]] == [1200]
        assert taken(sock) == [b"y" * 1200] and world.dropped == {"TOO_LARGE": 3}

    def test_a_datagram_of_the_masters_is_one_too(self):
        with udp_world("open", {"master.datagrams": True}) as world:
            sock = world.socket()
            sock.send(b"hello")
            world.settle()
            (client_id,) = ids(world)
            world.master.write(join([client_id.to_bytes(8, "little") + bytes((Flag.DATAGRAM,)) + b"hi"]))
            world.settle()
            assert taken(sock) == [b"hi"]

    def test_more_than_its_rate_is_dropped(self):
        with udp_world("open", {"clients.packet_rate": 10}) as world:
            sock = world.socket()
            sock.send(b"first")
            world.settle()
            for _ in range(30):
                sock.send(b"x")
            world.settle()
            (client_id,) = ids(world)
            assert 8 <= len(world.master.data[client_id]) <= 12
            assert world.dropped == {"RATE": 31 - len(world.master.data[client_id])}


class TestEnds:
    def test_who_is_silent_is_gone_and_new_when_it_comes_again(self, world: UdpWorld):
        sock, other = world.socket(), world.socket()
        sock.send(b"one")
        world.settle()
        (client_id,) = ids(world)
        for _ in range(4):
            other.send(b"still here")
            world.pass_(20)
        assert (client_id, b"Client disconnected") in world.master.notices(Flag.FAILURE)
        assert world.server.counters.closed[CloseReason.IDLE] == 1 == world.udp.peers
        assert world.server.counters.ended[EndReason.NOT_RESUMABLE] == 1
        sock.send(b"again")
        world.settle()
        assert world.master.data[ids(world)[-1]] == [b"again"] and ids(world)[-1] != client_id

    def test_one_that_is_kicked_is_gone_for_a_while(self, world: UdpWorld):
        sock = world.socket()
        sock.send(b"one")
        world.settle()
        (client_id,) = ids(world)
        world.master.kick(client_id)
        world.settle()
        sock.send(b"two")
        world.settle()
        assert ids(world) == [client_id] and world.master.data[client_id] == [b"one"]
        assert world.dropped == {"NOT_ADMITTED": 1} and world.udp.peers == 0
        assert world.server.counters.closed[CloseReason.KICKED] == 1
        world.pass_(KICKED_SECS + 1)
        sock.send(b"three")
        world.settle()
        assert len(ids(world)) == 2

    def test_of_those_who_were_kicked_not_too_many_are_remembered(self, world: UdpWorld):
        gate = world.udp._gate  # type: ignore[attr-defined]
        for number in range(3 * MOST_KICKED):
            gate.kicked(("192.0.2.1", number), 5.0)
        assert len(gate._kicked) == MOST_KICKED

    def test_an_operator_may_do_that_too(self, world: UdpWorld):
        sock = world.socket()
        sock.send(b"one")
        world.settle()
        (client_id,) = ids(world)
        assert world.server.expel(client_id)
        world.settle()
        assert world.udp.peers == 0 and world.master.notices(Flag.FAILURE) == [(client_id, b"Client disconnected")]


class TestStrangers:
    def test_so_many_clients_and_no_more(self):
        with udp_world("open", {"udp.peers": 3}) as world:
            for _ in range(5):
                world.socket().send(b"x")
                world.settle()
            assert len(ids(world)) == 3 == world.udp.peers and world.dropped == {"NOT_ADMITTED": 2}

    def test_so_many_new_ones_a_second(self):
        with udp_world("open", {"udp.new_rate": 2, "udp.network_rate": 0}) as world:
            for _ in range(5):
                world.socket().send(b"x")
                world.settle()
            assert len(ids(world)) == 2 and world.dropped == {"STRANGER_RATE": 3}
            world.pass_(1)
            world.socket().send(b"x")
            world.settle()
            assert len(ids(world)) == 3

    def test_so_many_of_one_network(self):
        with udp_world("open", {"udp.network_rate": 2}) as world:
            for host in ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.2"):
                world.socket(host).send(b"x")
                world.settle()
            assert len(ids(world)) == 3 and world.dropped == {"PREFIX_RATE": 1}

    @pytest.mark.parametrize(
        ("settings", "most"),
        [({"limits.connections": 2}, 2), ({"limits.address_connections": 2}, 2), ({"limits.deny": ["127.0.0.0/8"]}, 0)],
    )
    def test_the_limits_on_connections_hold_for_them(self, settings: dict[str, object], most: int):
        with udp_world("open", settings) as world:
            for _ in range(4):
                world.socket().send(b"x")
                world.settle()
            assert len(ids(world)) == most and world.dropped == {"NOT_ADMITTED": 4 - most}
            assert world.server.admission.connections == most and world.server.admission.handshakes == 0

    def test_nobody_is_let_in_before_there_is_a_master(self):
        world = UdpWorld("open")
        try:
            sock = world.socket()
            sock.send(b"early")
            world.loop.turn(0)
            assert world.dropped == {"NO_MASTER": 1} and world.udp.peers == 0
        finally:
            sock.close()
            world.abandon()

    def test_nor_while_too_much_waits_for_it(self):
        with udp_world("open", {"master.outbox_bytes": 1}) as world:
            first = world.socket()
            first.send(b"x")
            world.settle()
            world.master.reading = False
            for _ in range(1500):
                first.send(b"x" * 1000)
                world.settle()
            assert world.server.trunk.full
            before = world.udp.peers
            world.socket().send(b"y")
            world.settle()
            assert world.udp.peers == before and world.dropped["TRUNK_FULL"] > 0
            world.master.reading = True
            world.settle()

    def test_what_comes_from_ourselves_is_nobodys(self, world: UdpWorld):
        port = world.udp.ports[0]
        assert port.sock is not None
        port.sock.sendto(b"hello, myself", world.place)
        world.settle()
        assert ids(world) == [] and world.dropped == {"BAD_ADDRESS": 1}

    def test_nor_where_every_interface_is_ours(self, world: UdpWorld):
        world.udp.open([Address(UDP, "", 0, "")])
        port = world.udp.ports[-1]
        assert port.sock is not None
        host = "::ffff:127.0.0.1" if port.sock.family == socket.AF_INET6 else "127.0.0.1"
        port.sock.sendto(b"hello, myself", (host, port.address.port))
        world.settle()
        assert ids(world) == [] and world.dropped == {"BAD_ADDRESS": 1}


class TestCookies:
    @pytest.fixture
    def world(self) -> Iterator[UdpWorld]:
        with udp_world("open", {"udp.cookie": True}) as made:
            yield made

    def test_who_sends_it_back_is_let_in(self, world: UdpWorld):
        sock = world.socket()
        sock.send(b"hello, relay")
        world.settle()
        (answer,) = taken(sock)
        assert answer[:4] == b"VLCK" and len(answer) == 20 and ids(world) == []
        sock.send(answer + b"hello")
        world.settle()
        sock.send(b"and more")
        world.settle()
        (client_id,) = ids(world)
        assert world.master.data[client_id] == [b"hello", b"and more"]
        assert world.dropped == {"NO_COOKIE": 1}

    def test_one_of_another_address_is_not_good(self, world: UdpWorld):
        one, other = world.socket(), world.socket()
        one.send(b"hello, relay")
        world.settle()
        other.send(taken(one)[0] + b"hello")
        world.settle()
        assert ids(world) == [] and taken(other)[0][:4] == b"VLCK"

    def test_nobody_is_answered_more_than_three_times_what_came(self, world: UdpWorld):
        for size in range(40):
            sock = world.socket()
            sock.send(bytes(size))
            world.settle()
            assert len(b"".join(taken(sock))) <= 3 * size
        assert world.udp.peers == 0

    def test_nothing_is_kept_of_a_flood(self, world: UdpWorld):
        for _ in range(300):
            world.socket(f"127.0.{_ % 250}.1").send(b"x" * 20)
            world.settle()
        assert world.udp.peers == 0 and len(world.server.admission.sources) == 0
        assert world.server.registry.sessions == {}


def test_nobody_is_sent_more_than_so_many_times_what_came():
    with udp_world("open", {"udp.amplification": 3}) as world:
        sock, other = world.socket(), world.socket()
        sock.send(b"x" * 100)
        world.settle()
        other.send(b"x" * 100)
        world.settle()
        first, second = ids(world)
        # With its size a packet of 86 bytes is 90.
        world.master.send(first, *[bytes(86)] * 3)
        world.master.send(second, bytes(20))
        world.settle()
        world.master.send(first, bytes(86))
        world.settle()
        assert [len(body) for body in taken(sock)] == [86, 86, 86] and len(taken(other)) == 1
        assert world.dropped == {"UNVALIDATED": 1}
        sock.send(b"x" * 30)
        world.settle()
        world.master.send(first, bytes(86))
        world.settle()
        assert len(taken(sock)) == 1


def test_a_rate_limit_lets_existing_clients_alone():
    with udp_world("open", {"udp.new_rate": 1, "udp.network_rate": 0}) as world:
        sock = world.socket()
        sock.send(b"0")
        world.settle()
        for number in range(1, 50):
            world.socket().send(b"flood")
            sock.send(b"%d" % number)
            world.settle()
        assert world.master.data[ids(world)[0]] == [b"%d" % number for number in range(50)]


def test_over_ipv6_as_well():
    from voltlane.address import parse_listener

    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with udp_world("open") as world:
        world.udp.open([parse_listener("udp://*:0")])
        port = world.udp.addresses[1].port
        for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
            sock = socket.socket(family, socket.SOCK_DGRAM)
            world.strangers.append(sock)
            sock.connect((host, port))
            sock.setblocking(False)
            sock.send(b"hello")
            world.settle()
            world.master.send(ids(world)[-1], b"hi")
            world.settle()
            assert taken(sock) == [b"hi"]


def test_beside_streams_and_for_who_is_gone_each_packet_goes_its_own_way():
    with udp_world("open", {"listener.address": ["127.0.0.1:0", "udp://127.0.0.1:0"]}) as world:
        sock = world.socket()
        sock.send(b"hello")
        world.settle()
        (client_id,) = ids(world)
        world.master.write(join([client_id.to_bytes(8, "little") + b"\0one", (77).to_bytes(8, "little") + b"\0?"]))
        world.settle()
        assert taken(sock) == [b"one"] and world.master.notices(Flag.FAILURE) == [(77, b"Client not found")]
        stream = world.new()
        tag = stream.id.to_bytes(8, "little") + b"\0"
        world.master.write(join([client_id.to_bytes(8, "little") + b"\0two", tag + b"by the stream"]))
        world.settle()
        assert taken(sock) == [b"two"] and stream.got == [b"by the stream"]


class TestTheServer:
    def test_a_drain_ends_though_they_go_on(self, world: UdpWorld):
        """They have no words for it: whoever is sent away is nobody from then on."""
        socks = [world.socket() for _ in range(30)]
        for sock in socks:
            sock.send(b"hello")
        world.settle()
        world.server.drain.begin(10.0, 0.0)
        for _ in range(40):
            socks[0].send(b"more")
            world.pass_(0.1)
        assert world.server.drain.step is Step.EMPTY and world.udp.peers == 0
        assert world.server.counters.closed == {CloseReason.DRAINED: 30}

    def test_who_ends_takes_nobody_any_more(self):
        with udp_world("open", {"general.shutdown_secs": 5}) as world:
            world.socket().send(b"before")
            world.settle()
            world.server._on_stop()
            world.socket().send(b"behind")
            world.settle()
            assert len(ids(world)) == 1 and world.dropped == {"NOT_ADMITTED": 1}

    def test_cookies_that_are_asked_for_later_free_nobody_who_has_shown_none(self):
        with udp_world("open", {"udp.amplification": 3}) as world:
            sock = world.socket()
            sock.send(b"x" * 100)
            world.settle()
            (client_id,) = ids(world)
            world.udp.configure(with_udp(world.server.config, cookie=True))
            for _ in range(5):
                world.master.send(client_id, b"y" * 90)
                world.settle()
            assert len(taken(sock)) == 3 and world.dropped["UNVALIDATED"] == 2
            world.follow()
            world.master.send(client_id, b"y" * 90)
            world.settle()
            assert taken(sock) == []
