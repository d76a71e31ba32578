"""Sampling clients' links: when, how many at once, how much of the loop's time, and what is made of it."""

from __future__ import annotations

import pytest
from kit.world import Client, World, numbered, world

from voltlane.lanes.fairness.sampler import LINGER, SHARE, SLICE, UNKNOWN, ClientQuality, rank
from voltlane.net.tcpinfo import TcpInfo

INFO = TcpInfo(
    rtt=0.08,
    rttvar=0.01,
    last_data_recv=2.0,
    retransmits=0,
    total_retrans=10,
    unacked=3,
    bytes_received=4000,
    bytes_acked=9000,
    segs_out=120,
    data_segs_out=110,
    delivery_rate=50_000,
)


class Kernel:
    """Answers for the kernel; every answer takes `cost` seconds of the loop's time."""

    def __init__(self, made: World, cost: float = 0.0) -> None:
        self.made = made
        self.cost = cost
        self.info: TcpInfo | None = INFO
        self.asked: list[float] = []
        made.server.sampler._read = self._read

    def _read(self, sock: object) -> TcpInfo | None:
        self.asked.append(self.made.clock.now)
        self.made.clock.now += self.cost
        return self.info


def clients(made: World, count: int) -> None:
    for _ in range(count):
        made.start_new()
    made.settle()


# ---- when


def test_nobody_is_asked_while_nobody_looks():
    with world() as made:
        kernel = Kernel(made)
        clients(made, 3)
        made.pass_(60)
        assert not kernel.asked and made.loop.timers == 0


def test_while_somebody_looks_and_a_little_longer():
    with world({"quality.sample_secs": 5}) as made:
        kernel = Kernel(made)
        clients(made, 3)
        made.server.statistics()
        made.pass_(20)
        assert 9 <= len(kernel.asked) <= 15
        made.server.statistics()
        made.pass_(LINGER + 6)
        assert made.loop.timers == 0
        asked = len(kernel.asked)
        made.pass_(60)
        assert len(kernel.asked) == asked
        made.server.clients_page("id", limit=0)  # somebody is back
        made.pass_(1)
        assert len(kernel.asked) == asked + 3


def test_off():
    with world({"quality.sample_secs": 0}) as made:
        kernel = Kernel(made)
        clients(made, 3)
        made.server.statistics()
        assert made.loop.timers == 0
        row = made.server.clients_page().rows[0]
        assert not kernel.asked and row.rtt is None and row.score is None


def test_handshakes_are_left_alone():
    with world() as made:
        kernel = Kernel(made)
        Client(made)
        made.server.statistics()
        made.pass_(0.5)
        assert not kernel.asked


def test_it_ends_with_the_server():
    made = World()
    made.server.statistics()
    made.abandon()
    assert made.loop.timers == 0


# ---- how many, and for how long


def test_a_slice_at_a_time():
    with world({"quality.sample_secs": 2}) as made:
        clients(made, 2 * SLICE + 20)
        kernel = Kernel(made)
        made.server.statistics()
        most, before = 0, 0
        for _ in range(60):
            made.pass_(0.05, 0.05)
            most, before = max(most, len(kernel.asked) - before), len(kernel.asked)
        assert 0 < most <= SLICE
        qualities = [connection.quality for connection in made.server.clients.connections]
        assert all(qualities) and len(qualities) == 2 * SLICE + 20


def test_a_share_of_the_time_and_no_more():
    """However slow the kernel answers: slices get shorter, and pauses longer."""
    with world({"quality.sample_secs": 1}) as made:
        clients(made, 100)
        kernel = Kernel(made, cost=0.0004)
        made.server.statistics()
        begin = made.clock.now
        made.pass_(LINGER - 1, 0.05)
        spent, passed = len(kernel.asked) * kernel.cost, made.clock.now - begin
        assert SHARE / 4 < spent / passed < SHARE * 1.1
        runs = [after - before > 0.01 for before, after in zip(kernel.asked, kernel.asked[1:])]
        assert runs.count(True) > len(runs) // 4  # three in a row are over a millisecond
        assert all(connection.quality for connection in made.server.clients.connections)  # and yet nobody is left out


# ---- what is made of it


def test_what_the_kernel_counts():
    quality = ClientQuality(100.0)
    quality.update(INFO, 110.0)
    assert quality.last_receive == 108.0
    assert (quality.latency, quality.loss) == (0.08, 90)  # 10 of 110 were sent again
    assert quality.bandwidth_in is None  # one reading is no rate
    quality.update(INFO._replace(bytes_received=5000, bytes_acked=9500, data_segs_out=310, rtt=0.1), 112.0)
    assert (quality.bandwidth_in, quality.bandwidth_out) == (500, 250)
    assert (quality.latency, quality.loss) == (0.1, 10 * 1000 // 310)


def test_an_old_kernel_tells_less():
    quality = ClientQuality(100.0)
    old = INFO._replace(bytes_received=None, bytes_acked=None, segs_out=None, data_segs_out=None, delivery_rate=None)
    quality.update(old, 110.0)
    quality.update(old, 120.0)
    assert (quality.bandwidth_in, quality.bandwidth_out, quality.loss) == (None, None, None)
    assert quality.score == 80


def test_a_row_has_what_is_known():
    with world() as made:
        kernel = Kernel(made)
        clients(made, 1)
        made.server.statistics()
        made.pass_(10)
        kernel.info = INFO._replace(bytes_received=14_000)
        made.clock.pass_(2)
        (row,) = made.server.clients_page().rows
        assert (row.rtt, row.rttvar, row.idle, row.unacked) == (0.08, 0.01, 2.0, 3)
        assert (row.loss, row.retransmits, row.delivery_rate) == (90, 10, 50_000)
        assert row.bytes_in and row.bytes_out == 0
        assert row.score == made.server.clients.connections[0].quality.score
        links = made.server.statistics().links
        assert links.known == links.latency.observed == links.loss.observed == 1
        kernel.info = None  # it does not tell any more
        (row,) = made.server.clients_page().rows
        assert (row.rtt, row.rttvar) == (0.08, None)


def test_pages_are_sorted_by_what_is_known():
    with world() as made:
        clients(made, 4)
        made.server.sampler.stop()
        one, two, three, four = made.server.clients.connections
        for connection, rtt in ((one, 0.3), (two, 0.1), (four, 0.2)):
            connection.quality = ClientQuality(0.0)
            connection.quality.set_latency(rtt)
        ids = [row.id for row in made.server.clients_page("score").rows]
        assert ids == [two.session.id, four.session.id, one.session.id, three.session.id]
        ids = [row.id for row in made.server.clients_page("rtt", descending=True).rows]
        assert ids == [one.session.id, four.session.id, two.session.id, three.session.id]


# ---- what it is used for


def test_the_rank_of_a_link():
    with world() as made:
        clients(made, 1)
        (connection,) = made.server.clients.connections
        assert rank(connection) == UNKNOWN
        connection.quality = ClientQuality(0.0)
        assert rank(connection) == UNKNOWN
        connection.quality.set_latency(0.02)
        assert rank(connection) == 20


@pytest.mark.parametrize("sampled", [True, False])
def test_the_best_links_are_read_first_when_there_is_room_again(sampled):
    with world({"master.channel_capacity": 200, "quality.sample_secs": 5 if sampled else 0}) as made:
        made.master.reading = False
        clients(made, 6)
        made.clients[0].send(*numbered(3000, 200))
        made.settle()
        assert made.server.trunk.full
        connections = {connection.session.id: connection for connection in made.server.clients.connections}
        rest = made.clients[1:]
        for place, client in enumerate(rest):
            quality = connections[client.id].quality = ClientQuality(0.0)
            quality.set_latency(0.5 - place / 10)
            client.send(b"%d" % place)
            made.settle()
        made.clients[0].cut()
        made.master.reading = True
        made.settle()
        order = [packet.client_id for packet in made.master.log if packet.client_id in {client.id for client in rest}]
        ids = [client.id for client in rest]
        assert order[-5:] == (ids[::-1] if sampled else ids)


def test_another_interval_while_it_runs():
    with world({"quality.sample_secs": 5}) as made:
        kernel = Kernel(made)
        clients(made, 1)
        made.server.statistics()
        made.pass_(1)
        made.server.sampler.configure(0)
        asked = len(kernel.asked)
        made.pass_(10)
        assert len(kernel.asked) == asked and made.loop.timers == 0
        made.server.sampler.configure(1)
        made.server.statistics()
        made.pass_(10)
        assert len(kernel.asked) >= asked + 6
