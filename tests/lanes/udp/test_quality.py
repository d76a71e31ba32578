"""How good the ways of datagrams are: what clients' rows say of it, and who is served first."""

from __future__ import annotations

import pytest
from kit.datagram_client import PING
from kit.udp_world import UdpWorld, taken, udp_world

from voltlane.lanes.udp.port import Port
from voltlane.net.udp.results import Sent
from voltlane.quality import LinkQuality
from voltlane.server.ways import joined

MARKED = {"master.datagrams": True}


def row(world: UdpWorld, client_id: int):
    found = world.server.client(client_id)
    assert found is not None
    return found


class TestRows:
    def test_loss_reordering_jitter_and_round_trips_are_those_of_the_datagrams(self):
        with udp_world("sessions", MARKED) as world:
            client, wire = world.new_wire()
            world.server.statistics()
            start = wire.sealed.number
            order = [number for number in range(start, start + 100) if number % 10]  # a tenth is lost
            order[20], order[21] = order[21], order[20]
            for number in order:
                time, echo = int(world.clock.now * 8000) & 0xFFFF, 0
                wire.raw(wire.sealed.datagram(0, b"x", number=number, time=time, echo=echo))
                world.settle()
                world.clock.now += 0.01
            wire.sealed.number = start + 100
            wire.ping()
            world.settle()
            sent = wire.heard[-1].time
            world.clock.now += 0.05
            wire.raw(wire.sealed.datagram(PING, echo=sent))
            world.settle()
            world.pass_(3)
            found = row(world, client.session.id)
            assert found.loss == pytest.approx(97, abs=4) and found.reordered == pytest.approx(11, abs=2)
            assert found.rtt == pytest.approx(0.05, abs=0.01) and found.jitter is not None
            assert found.lane == "tcp" and found.score is not None

    def test_bandwidth_is_that_of_both_ways_over_the_last_time(self):
        with udp_world("sessions", MARKED) as world:
            client, wire = world.new_wire()
            world.server.statistics()
            for _ in range(40):
                wire.send(*[b"x" * 1000] * 5)
                world.pass_(0.5)
                world.server.statistics()
            busy = row(world, client.session.id).bytes_in
            assert busy == pytest.approx(10_000, rel=0.2)
            for _ in range(200):
                world.pass_(0.5)
                world.server.statistics()
            idle = row(world, client.session.id).bytes_in
            assert idle is not None and idle < 100, "it is no average over its lifetime"

    def test_a_client_that_is_an_address_has_a_row_like_all(self):
        with udp_world("open") as world:
            sock = world.socket()
            world.server.statistics()
            for _ in range(10):
                sock.send(b"x" * 500)
                world.pass_(1)
                world.server.statistics()
            (client_id,) = world.master.data
            found = row(world, client_id)
            assert (found.lane, found.protocol, found.state) == ("udp", "open", "live")
            assert found.peer == "{}:{}".format(*sock.getsockname()) and found.bytes_in == pytest.approx(500, rel=0.2)
            statistics = world.server.statistics()
            assert statistics.lanes["udp"].live == 1 and statistics.datagrams is not None
            assert (statistics.datagrams.peers, statistics.datagrams.packets_up) == (1, 10)

    def test_while_nobody_looks_nothing_is_kept_for_it(self):
        with udp_world("open") as world:
            sock = world.socket()
            world.server.statistics()
            sock.send(b"x")
            world.pass_(3)
            (peer,) = world.udp.table.sweep(0, 1 << 16)[0]  # type: ignore[attr-defined]
            assert peer.quality is not None
            for _ in range(20):
                sock.send(b"x")
                world.pass_(3)
            assert peer.quality is None


def quality(**figures: object) -> LinkQuality:
    made = LinkQuality(0.0)
    for name, value in figures.items():
        setattr(made, name, value)
    return made


def test_of_two_ways_bandwidth_is_the_sum_and_all_else_the_datagrams_as_far_as_it_is_known():
    stream = quality(bandwidth_in=1.0, bandwidth_out=None, latency=0.5)
    beside = quality(bandwidth_in=2.0, bandwidth_out=3.0, latency=None, jitter=0.1)
    both = joined(stream, beside)
    assert both is not None
    assert (both.bandwidth_in, both.bandwidth_out, both.latency, both.jitter) == (3.0, 3.0, 0.5, 0.1)
    assert joined(stream, None) is stream and joined(None, beside) is beside and joined(None, None) is None


class TestWhoIsServedFirst:
    @pytest.fixture
    def world(self):
        with udp_world("open", {"udp.queue_bytes": 1000}) as made:
            yield made

    def test_while_the_socket_takes_no_more_the_worst_are_dropped_and_the_best_go_first(self, world: UdpWorld):
        socks = [world.socket() for _ in range(6)]
        for sock in socks:
            sock.send(b"hello")
            world.settle()
        ids = list(world.master.data)
        peers = [world.server.registry.sessions[client_id].link for client_id in ids]
        for place, peer in enumerate(peers):
            peer.quality = quality()  # type: ignore[union-attr]
            peer.quality.set_latency(0.9 - place / 10)  # type: ignore[union-attr] # the last is best
        lane, port = world.udp, world.udp.ports[0]
        send, order = lane.transmit, []

        def blocked(port: Port, queue: object, offset: int) -> Sent:
            return Sent(0, offset, 0, 0, True)

        def watched(port: Port, queue, offset: int) -> Sent:
            order.extend(peer for peer, _ in queue)
            return send(port, queue, offset)

        lane.transmit = blocked  # type: ignore[method-assign]
        for client_id in ids:
            world.master.send(client_id, b"x" * 300)
        world.settle()
        assert world.dropped == {"NO_ROOM": 3}
        lane.transmit = watched  # type: ignore[method-assign]
        port.on_event(4)
        world.settle()
        # The one that may be out in part keeps its place; of the others the best two are left, the best first.
        assert order == [peers[0], peers[5], peers[4]]
        assert [len(taken(sock)) for sock in socks] == [1, 0, 0, 0, 1, 1]
