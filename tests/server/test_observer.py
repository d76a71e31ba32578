"""What a server tells about itself is what has happened to it."""

from __future__ import annotations

import socket
import time

import pytest
from kit.handlers import tcp_pair
from kit.lanes import tls, ws
from kit.parties import PARTIES
from kit.wait import wait_until
from kit.world import World, numbered, world

from voltlane.net.tcpinfo import AVAILABLE
from voltlane.quality import DatagramQuality
from voltlane.reasons import CloseReason, EndReason
from voltlane.statistics import SORT_KEYS


def test_a_server_that_has_just_begun():
    with world(master=False) as made:
        statistics = made.server.statistics()
        assert statistics.clients == (0, 0, 0)
        assert not statistics.master.connected and statistics.master.reconnects == 0
        assert set(statistics.counts.values()) == {0}
        assert statistics.reasons["closed"] == dict.fromkeys(CloseReason, 0)
        assert statistics.reasons["ended"] == dict.fromkeys(EndReason, 0)
        assert all(latency.observed == 0 for latency in statistics.latencies.values())


def test_it_counts_what_happens():
    with world() as made:
        one, two = made.new(), made.new()
        one.send(b"up", b"and up")
        made.master.send(two.id, b"down")
        made.settle()
        two.cut()
        made.settle()
        greeting = made.start_new()
        greeting.reading = False
        made.clock.pass_(2)
        statistics = made.server.statistics()
        assert statistics.uptime == pytest.approx(2)
        assert statistics.clients == (1, 1, 1)
        assert statistics.counts["accepted"] == 3 and statistics.counts["sessions"] == 2
        assert statistics.counts["packets_up"] == 2 and statistics.counts["packets_down"] == 1
        assert statistics.reasons["closed"][CloseReason.PEER_CLOSED] == 1
        assert statistics.master == ("unix:master", True, 1, False, None, 1)
        assert statistics.loop.turns == statistics.loop.lag.observed > 0


def test_a_snapshot_does_not_change():
    with world() as made:
        before = made.server.statistics()
        copy = {name: dict(counts) for name, counts in before.reasons.items()}, dict(before.counts)
        made.new().cut()
        made.settle()
        assert ({name: dict(counts) for name, counts in before.reasons.items()}, dict(before.counts)) == copy
        with pytest.raises(TypeError):
            before.counts["sessions"] = 7  # type: ignore[index]
        with pytest.raises(TypeError):
            before.reasons["closed"][CloseReason.KICKED] = 7  # type: ignore[index]
        with pytest.raises(AttributeError):
            before.uptime = 7.0  # type: ignore[misc]


def test_how_long_handshakes_take():
    with world() as made:
        client = made.start_new()
        made.clock.pass_(0.3)
        made.settle()
        client.cut()
        made.settle()
        back = made.start_resume(client)
        made.clock.pass_(1.2)
        made.settle()
        latencies = made.server.statistics().latencies
        assert back.ready
        assert latencies["handshake_secs"].observed == latencies["resume_secs"].observed == 1
        assert latencies["handshake_secs"].total == pytest.approx(0.3)
        assert latencies["resume_secs"].total == pytest.approx(1.2)


def test_queues():
    with world() as made:
        slow, away = made.new(), made.new()
        slow.reading = False
        away.cut()
        made.settle()
        made.master.send(slow.id, *numbered(2000))
        made.master.send(away.id, b"12345", b"678")
        made.settle()
        queues = made.server.statistics().queues
        row = made.server.client(slow.id)
        assert row is not None
        assert queues.memory_limit > queues.memory_bytes > queues.clients_bytes + queues.backlog_bytes
        assert queues.clients_waiting == 1 and queues.clients_bytes == row.queue_bytes > 0
        assert (queues.backlog_bytes, queues.backlog_packets) == (4 + 5 + 4 + 3, 2)
        assert queues.master_bytes == 0
        slow.reading = True
        made.settle()
        assert made.server.statistics().queues.clients_bytes == 0
        made.master.reading = False
        slow.send(*numbered(20000))
        made.settle()
        statistics = made.server.statistics()
        assert statistics.queues.master_bytes > 0 and statistics.queues.master_packets > 0
        before = statistics.master.stalled_secs
        made.pass_(7)
        after = made.server.statistics().master.stalled_secs
        assert before is not None and after == pytest.approx(before + 7)
        made.master.reading = True
        made.master.cut()
        made.settle()
        assert not made.server.statistics().master.connected
        assert made.server.statistics().master.stalled_secs is None, "nobody is there to take anything"
        made.connect_master()
        made.settle()
        master = made.server.statistics().master
        assert master.connected and (master.connections, master.reconnects) == (2, 1)


# ---- lanes, protocols, certificates


@pytest.mark.parametrize("protocol", PARTIES)
def test_clients_by_protocol(protocol: str):
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    with world() as made:
        nobody = dict.fromkeys(PARTIES, (0, 0, 0, 0))
        assert made.server.statistics().protocols == nobody
        party = PARTIES[protocol](made, ws)
        assert made.server.statistics().protocols == {**nobody, protocol: (1, 1, 0, 0)}
        row = made.server.client(party.id)
        assert row is not None and (row.protocol, row.lane) == (protocol, "ws")
        party.cut()
        made.settle()
        away = made.server.client(party.id)
        if protocol == "open":  # whose sessions end with their connections
            assert away is None and made.server.statistics().protocols == {**nobody, protocol: (1, 0, 0, 0)}
            return
        assert made.server.statistics().protocols == {**nobody, protocol: (1, 0, 1, 0)}
        assert away is not None and (away.protocol, away.lane) == (protocol, None)
        party.come_back(ws)
        made.settle()
        assert made.server.statistics().protocols == {**nobody, protocol: (2, 1, 0, 0)}


@pytest.mark.parametrize("protocol", ["v3", "events"])
def test_gaps_by_protocol(protocol: str):
    pytest.importorskip("h11", reason="the extra `web` is not installed")
    with world({"clients.missed_packets_policy": "drop-oldest", "clients.missed_packets_buffer_size": 5}) as made:
        party = PARTIES[protocol](made, ws)
        party.cut()
        made.settle()
        made.master.send(party.id, *numbered(8))
        made.settle()
        party.come_back(ws)
        made.settle()
        statistics = made.server.statistics()
        assert party.got[-5:] == numbered(8)[3:] and statistics.counts["gaps"] == 1
        assert {name: figures.gaps for name, figures in statistics.protocols.items() if figures.gaps} == {protocol: 1}


def test_certificates_are_told_where_there_is_tls():
    with world() as made:
        made.new()
        assert made.server.statistics().certificates == ()
        made.new(lane=tls)
        (certificate,) = made.server.statistics().certificates
        assert "localhost" in certificate.names
        assert certificate.days_left == pytest.approx((certificate.expires - time.time()) / 86400, abs=0.01)
        assert made.server.statistics().lanes["tls"] == (1, 1)


# ---- a client that has no connection


class AddressLink:
    """A client that is nothing but an address from which datagrams come."""

    is_stream = False
    lane, outbox, sock = "udp", None, None

    def __init__(self, peer: str, since: float) -> None:
        self.peer, self.since = peer, since
        self.quality: DatagramQuality | None = None

    def detach(self, reason: CloseReason) -> None: ...


def test_a_client_that_is_nothing_but_an_address():
    with world() as made:
        link = AddressLink("192.0.2.7:4000", made.clock.now)
        other = made.new()
        session = made.server.hub.open(b"", link)
        made.pass_(3)
        row = made.server.client(session.id)
        assert row is not None
        assert (row.state, row.peer, row.lane, row.protocol) == ("live", "192.0.2.7:4000", "udp", "open")
        assert (row.age, row.queue_bytes, row.score, row.jitter) == (pytest.approx(3), 0, None, None)
        link.quality = DatagramQuality(0.0)
        link.quality.count(99, 90, 9)
        link.quality.set_jitter(0.003)
        link.quality.set_latency(0.04)
        row = made.server.client(session.id)
        assert row is not None
        assert (row.loss, row.reordered, row.jitter, row.rtt) == (100, 100, 0.003, 0.04)
        assert row.score == link.quality.score
        statistics = made.server.statistics()
        assert statistics.lanes["udp"] == (0, 1) and statistics.protocols["open"].live == 1
        links = statistics.links
        assert (links.known, links.jitter.observed, links.loss.observed, links.latency.observed) == (1, 1, 1, 1)
        for key in SORT_KEYS:
            assert {row.id for row in made.server.clients_page(key).rows} == {session.id, other.id}
        assert made.server.clients_page("jitter").rows[0].id == session.id
        assert made.server.observer.is_called(session.id, "192.0.2")
        assert made.server.expel(session.id)


# ---- the list of clients


def ages(made: World) -> list[int]:
    """Three clients a second apart, the second of them away, by id."""
    clients = []
    for _ in range(3):
        clients.append(made.new())
        made.pass_(1)
    clients[1].cut()
    made.settle()
    made.pass_(4)
    return [client.id for client in clients]


def test_a_row():
    with world() as made:
        first, second, _ = ages(made)
        live, stale = made.server.client(first), made.server.client(second)
        assert live is not None and stale is not None
        assert (live.state, live.peer, live.age) == ("live", "a local client", pytest.approx(7))
        assert (stale.state, stale.peer, stale.age) == ("stale", None, pytest.approx(4))
        assert (live.rtt, live.loss, live.score, live.bytes_in) == (None,) * 4  # unknown, over a unix socket: not 0
        assert made.server.client(99) is None


def test_sorting_and_paging():
    with world() as made:
        first, second, third = ages(made)

        def ids(*arguments: object, **options: object) -> list[int]:
            return [row.id for row in made.server.clients_page(*arguments, **options).rows]

        assert ids("id") == [first, second, third]
        assert ids("id", descending=True) == [third, second, first]
        assert ids("age") == [second, third, first]
        assert ids("age", descending=True) == [first, third, second]
        assert ids("age", offset=1, limit=1) == [third]
        assert ids("age", limit=0) == ids("age", offset=3) == []
        page = made.server.clients_page("age", offset=2)
        assert (page.total, page.offset, len(page.rows)) == (3, 2, 1)
        for key in SORT_KEYS:
            assert len(ids(key)) == 3
        assert ids("rtt", descending=True) == [first, second, third]  # unknown to all: in the order of their ids
        with pytest.raises(ValueError, match="no such sort key: name; there are score,"):
            ids("name")


def test_pages_join_up():
    with world() as made:
        for _ in range(25):
            made.new()
        for key in ("queue", "score", "id"):
            whole = [row.id for row in made.server.clients_page(key, limit=99).rows]
            parts = [
                row.id
                for offset in range(0, 25, 2)
                for row in made.server.clients_page(key, offset=offset, limit=2).rows
            ]
            assert parts == whole and len(whole) == 25


def test_sessions_of_an_earlier_process_are_in_order_too():
    with world() as made:
        registry, now = made.server.registry, made.clock.now
        for client_id, left in ((7, 3), (2, 5), (4, 11)):  # as a store has them: who has least left comes first
            registry.restore(client_id, b"point", left, now)
        made.new()
        assert [row.id for row in made.server.clients_page("id").rows][:3] == sorted(registry.sessions)[:3]
        assert [row.id for row in made.server.clients_page("rtt").rows] == sorted(registry.sessions)
        row = made.server.client(4)
        assert row is not None and row.age == pytest.approx(20 - 11)  # World lets sessions be stale for 20 s


# ---- over TCP


@pytest.mark.skipif(not AVAILABLE, reason="no TCP_INFO here")
def test_over_tcp_the_kernel_tells(monkeypatch):
    with world({"quality.sample_secs": 1}) as made:
        monkeypatch.setattr("kit.world.socket.socketpair", tcp_pair)
        client = made.new(send_buffer=1 << 16)
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        arrived = made.master.data[client.id]
        made.server.statistics()
        for number in range(3):
            client.send(bytes(1000))
            wait_until(lambda: made.settle() or len(arrived) > number, "the packet")  # noqa: B023
            made.pass_(1.5)
        row = made.server.client(client.id)
        assert 0 < row.rtt < 1 and row.rttvar is not None and row.idle < 10
        assert (row.loss, row.retransmits) == (0, 0)
        assert row.bytes_in > 0 and row.bytes_out is not None and 0 <= row.score <= 1000
        links = made.server.statistics().links
        assert links.known == links.latency.observed == 1
        client.cut()
