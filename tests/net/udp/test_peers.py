"""Peers: datagrams of known addresses in and out, over real sockets, by every form."""

from __future__ import annotations

import socket
import struct
import sys
from types import ModuleType
from typing import Any

import pytest
from kit.datagrams import bound, datagram_forms, every_datagram_form, readable, send_at_once, take
from kit.frames import join

from voltlane.net.udp.sockets import receive_joined
from voltlane.reasons import DatagramDrop

LIMIT = 1500
LOCAL = ["127.0.0.1", pytest.param("::1", marks=pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6"))]


def name(form: ModuleType, sock: socket.socket) -> Any:
    return form.name_of(sock.family, *sock.getsockname()[:2])


def tagged(client_id: int, data: bytes, flag: int = 0) -> bytes:
    return join([client_id.to_bytes(8, "little") + bytes([flag]) + data])


class Place:
    """A server's socket, its table, and clients, of whom the first `known` are peers, with ids from 100 on."""

    def __init__(self, form: ModuleType, socks: list[socket.socket], known: int = 0) -> None:
        self.server, *self.clients = socks
        self.where = self.server.getsockname()
        self.peers = form.Peers()
        receive_joined(self.server, self.peers.takes_apart)
        self.known = [form.Peer(name(form, sock), 100 + n, 1.0) for n, sock in enumerate(self.clients[:known])]
        for peer in self.known:
            self.peers.add(peer)

    def come(self, client: int, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.clients[client].sendto(datagram, self.where)

    def receive(self, now: float = 2.0, most: int = 64, flag: int = 0, limit: int = LIMIT) -> Any:
        readable(self.server)
        return self.peers.receive(self.server, now, most, flag, limit)

    def send(self, queue: list[Any], first: int = 0, offset: int = 0, limit: int = LIMIT) -> Any:
        return self.peers.send(self.server, queue, first, offset, limit)


@every_datagram_form
@pytest.mark.parametrize("host", LOCAL)
def test_datagrams_become_packets_in_their_order(form: ModuleType, host: str):
    with bound(host, 3) as socks:
        place = Place(form, socks, known=2)
        sent = [(0, b"one"), (1, b""), (0, b"x" * LIMIT), (1, b"four"), (1, b"five")]
        for client, datagram in sent:
            place.come(client, datagram)
        got = place.receive()
        assert got.chunk == b"".join(tagged(100 + client, datagram) for client, datagram in sent)
        assert type(got.chunk) is bytes
        assert (got.packets, got.size) == (5, LIMIT + 11)
        assert got.strangers == [] and got.more is False
        first, second = place.known
        assert (first.packets_in, first.bytes_in, first.heard) == (2, LIMIT + 3, 2.0)
        assert (second.packets_in, second.bytes_in, second.heard) == (3, 8, 2.0)
        assert place.peers.take_drops() == {}


@every_datagram_form
def test_the_flag_of_the_packets(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        place.come(0, b"a", b"b")
        assert place.receive(flag=4).chunk == tagged(100, b"a", 4) + tagged(100, b"b", 4)


@every_datagram_form
@pytest.mark.parametrize("client_id", [0, 1, 2**32, 2**63, 2**64 - 1])
def test_every_id_there_is(form: ModuleType, client_id: int):
    with bound(count=2) as socks:
        place = Place(form, socks)
        peer = form.Peer(name(form, socks[1]), client_id, 1.0)
        place.peers.add(peer)
        place.come(0, b"a")
        assert place.receive().chunk == tagged(client_id, b"a")
        assert peer.client_id == client_id


@every_datagram_form
@pytest.mark.parametrize("client_id", [-1, 2**64])
def test_no_id(form: ModuleType, client_id: int):
    with bound() as (sock,), pytest.raises((OverflowError, struct.error)):
        form.Peer(name(form, sock), client_id, 1.0)


@every_datagram_form
def test_nothing_there(form: ModuleType):
    with bound(count=1) as socks:
        place = Place(form, socks)
        assert place.peers.receive(place.server, 2.0, 64, 0, LIMIT) == (b"", 0, 0, [], False)


@every_datagram_form
def test_at_most_so_many_at_once(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        place.come(0, *[bytes([n]) for n in range(150)])
        got = place.receive(most=70)
        assert (got.packets, got.more) == (70, True)
        assert got.chunk == b"".join(tagged(100, bytes([n])) for n in range(70))
        got = place.receive(most=100)
        assert (got.packets, got.more) == (80, False)
        assert got.chunk == b"".join(tagged(100, bytes([n])) for n in range(70, 150))


@every_datagram_form
@pytest.mark.parametrize("size", [1, 8, 100, LIMIT])
def test_what_was_sent_at_once_comes_apart(form: ModuleType, size: int):
    """The kernel may give it in one piece to who can take it apart."""
    with bound(count=3) as socks:
        place = Place(form, socks, known=1)
        pieces = [bytes([65 + n]) * size for n in range(20)] + [b"!" * (size // 2)] * (size > 1)
        for client in (0, 1):
            send_at_once(socks[1 + client], b"".join(pieces), size, place.where)
            place.come(client, b"one")
        place.come(0, b"", b"x" * (LIMIT + 1))
        chunk, strangers = b"", []
        while not chunk.endswith(tagged(100, b"")):
            got = place.receive(most=7)
            chunk, strangers = chunk + got.chunk, strangers + got.strangers
        assert chunk == b"".join(tagged(100, piece) for piece in [*pieces, b"one", b""])
        assert [data for _, data in strangers] == [*pieces, b"one"]
        assert place.known[0].packets_in == len(pieces) + 2
        place.peers.receive(place.server, 1.0, 9, 0, LIMIT)
        assert place.peers.take_drops() == {DatagramDrop.TOO_LARGE: 1}


@every_datagram_form
@pytest.mark.skipif(sys.platform != "linux", reason="Linux has numbers for these")
def test_what_the_system_says_besides_is_no_size(form: ModuleType):
    """Whoever made the socket may want to know when a datagram came, and how many were lost before it."""
    with bound(count=2) as socks:
        for option in (29, 35, 40):  # SO_TIMESTAMP, SO_TIMESTAMPNS, SO_RXQ_OVFL
            socks[0].setsockopt(socket.SOL_SOCKET, option, 1)
        socks[0].setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        place = Place(form, socks, known=1)
        send_at_once(socks[1], b"onetwosix", 3, place.where)
        assert place.receive().chunk == tagged(100, b"one") + tagged(100, b"two") + tagged(100, b"six")


@every_datagram_form
def test_as_many_as_were_asked_for_though_they_come_joined(form: ModuleType):
    """But for the first time: then nobody can know."""
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        send_at_once(socks[1], bytes(4 * 64), 4, place.where)
        place.receive()
        for _ in range(3):
            send_at_once(socks[1], bytes(4 * 64), 4, place.where)
        total, packets = 0, 0
        while total < 3 * 64:
            packets = place.receive(most=128).packets
            assert packets <= 128
            total += packets


@pytest.mark.parametrize("before", datagram_forms())
@every_datagram_form
def test_one_form_goes_on_with_the_socket_of_another(form: ModuleType, before: ModuleType):
    with bound(count=2) as socks:
        receive_joined(socks[0], before.Peers().takes_apart)
        place = Place(form, socks, known=1)
        send_at_once(socks[1], b"onetwosix", 3, place.where)
        assert place.receive().chunk == tagged(100, b"one") + tagged(100, b"two") + tagged(100, b"six")


@every_datagram_form
def test_too_large_ones_sent_at_once(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        send_at_once(socks[1], b"x" * 101 * 5 + b"y" * 100, 101, place.where)
        place.come(0, b"z")
        got = place.receive(limit=100)
        assert got.chunk == tagged(100, b"y" * 100) + tagged(100, b"z")
        assert place.peers.take_drops() == {DatagramDrop.TOO_LARGE: 5}


@every_datagram_form
def test_strangers_are_told_apart_and_kept_nowhere(form: ModuleType):
    with bound(count=3) as socks:
        place = Place(form, socks, known=1)
        place.come(1, b"who", b"")
        place.come(0, b"me")
        got = place.receive()
        stranger = name(form, socks[2])
        assert got.strangers == [(stranger, b"who"), (stranger, b"")]
        assert form.host_port(got.strangers[0][0]) == socks[2].getsockname()
        assert got.chunk == tagged(100, b"me") and (got.packets, got.size) == (1, 2)
        assert len(place.peers) == 1 and place.peers.get(stranger) is None


@every_datagram_form
def test_too_many_strangers_are_counted(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks)
        place.come(0, *[b"%d" % n for n in range(100)])
        got = place.receive(most=200)
        assert [data for _, data in got.strangers] == [b"%d" % n for n in range(64)]
        assert place.peers.take_drops() == {DatagramDrop.STRANGERS: 36}
        assert place.peers.take_drops() == {}


@every_datagram_form
def test_one_too_large_hurts_no_other(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        place.come(0, b"a", b"x" * 101, b"x" * 9000, b"y" * 100)
        got = place.receive(limit=100)
        assert got.chunk == tagged(100, b"a") + tagged(100, b"y" * 100)
        assert place.peers.take_drops() == {DatagramDrop.TOO_LARGE: 2}
        assert place.known[0].packets_in == 2


@every_datagram_form
@pytest.mark.parametrize(
    ("rates", "passes"),
    [((10, 0, 2), 20), ((0, 100, 1), 25), ((3, 1000, 1), 3), ((1000, 10, 1), 3), ((0, 0, 5), 60)],
)
def test_each_may_send_so_much(form: ModuleType, rates: tuple[float, float, float], passes: int):
    """Of datagrams of 4 bytes; the last may overdraw."""
    with bound(count=3) as socks:
        place = Place(form, socks, known=2)
        place.peers.set_rates(*rates)
        place.come(0, *[b"four"] * 60)
        place.come(1, b"other")
        got = place.receive(now=5.0)
        assert got.chunk == tagged(100, b"four") * passes + tagged(101, b"other")
        assert place.peers.take_drops() == ({DatagramDrop.RATE: 60 - passes} if passes < 60 else {})
        assert place.known[0].packets_in == passes and place.known[0].heard == 5.0


@every_datagram_form
def test_a_rate_fills_up_again(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        place.peers.set_rates(4, 0, 1)
        counts = []
        for now in (5.0, 5.0, 5.5, 100.0):
            place.come(0, *[b"x"] * 10)
            counts.append(place.receive(now=now).packets)
        assert counts == [4, 0, 2, 4]


@every_datagram_form
def test_add_get_remove(form: ModuleType):
    with bound(count=1) as socks:
        peers = form.Peers()
        names = [form.name_of(socks[0].family, "127.0.0.1", port) for port in range(1, 3001)]
        made = [form.Peer(each, n, 1.0) for n, each in enumerate(names)]
        for peer in made:
            peers.add(peer)
        assert len(peers) == 3000
        assert all(peers.get(each) is peer for each, peer in zip(names, made))
        with pytest.raises(ValueError):
            peers.add(form.Peer(names[5], 5, 1.0))
        peers.remove(form.Peer(names[5], 5, 1.0))  # another of that name
        for peer in made[::2]:
            peers.remove(peer)
            peers.remove(peer)
        assert len(peers) == 1500
        assert [peers.get(each) for each in names] == [peer if n % 2 else None for n, peer in enumerate(made)]
        for peer in made[::2]:
            peers.add(peer)
        assert all(peers.get(each) is peer for each, peer in zip(names, made))


@every_datagram_form
def test_sweeping(form: ModuleType):
    with bound(count=1) as socks:
        peers = form.Peers()
        assert peers.sweep(0, 10) == ([], 0)
        made = [form.Peer(form.name_of(socks[0].family, "127.0.0.1", port), port, 1.0) for port in range(1, 501)]
        for peer in made:
            peers.add(peer)
        found: list[Any] = []
        slot, parts = 0, 0
        while True:
            part, slot = peers.sweep(slot, 64)
            assert len(part) == 64 or not slot
            found += part
            parts += 1
            if not slot:
                break
        assert len(found) == 500 and set(map(id, found)) == set(map(id, made))
        assert parts == 8
        assert peers.sweep(10**6, 64) == ([], 0)


@every_datagram_form
@pytest.mark.parametrize("host", LOCAL)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_each_frame_becomes_a_datagram(form: ModuleType, host: str, kind: Any):
    with bound(host, 3) as socks:
        place = Place(form, socks, known=2)
        first, second = place.known
        a, b = [b"one", b"", b"x" * LIMIT], [b"2"]
        sent = place.send(
            [(first, kind(join(a))), (second, kind(join(b))), (first, kind(b"")), (first, kind(join([b"z"])))]
        )
        assert sent == (4, 0, 5, LIMIT + 5, False)
        assert take(socks[1], 4) == [*a, b"z"]
        assert take(socks[2], 1) == b
        assert (first.packets_out, first.bytes_out) == (4, LIMIT + 4)
        assert (second.packets_out, second.bytes_out) == (1, 1)
        assert place.peers.take_drops() == {}


@every_datagram_form
@pytest.mark.parametrize(
    "sizes",
    [
        [100] * 50,
        [100] * 200,
        [1200] * 130,
        [100] * 5 + [40],
        [100] * 5 + [101],
        [7, 7, 9, 9, 3, 3, 3, 2, 0, 0],
        [0] * 9,
        [1] * 70,
    ],
    ids=str,
)
def test_runs_of_a_size(form: ModuleType, sizes: list[int]):
    """What segmentation offload takes in one message comes out as it went in."""
    with bound(count=2) as socks:
        socks[1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        place = Place(form, socks, known=1)
        for round_ in range(2):  # the first finds out what the kernel can do
            payloads = [bytes([65 + (n + round_) % 26]) * size for n, size in enumerate(sizes)]
            chunk, at = join(payloads), 0
            while at < len(payloads):  # a receive buffer has room for so many
                part = payloads[at : at + 40]
                assert place.send([(place.known[0], join(part))]) == (1, 0, len(part), sum(map(len, part)), False)
                assert take(socks[1], len(part)) == part
                at += 40
        assert place.known[0].packets_out == 2 * len(sizes) and chunk


@every_datagram_form
def test_going_on_where_it_stopped(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        peer = place.known[0]
        chunk = join([b"one", b"two", b"three"])
        assert place.send([(peer, b"never"), (peer, chunk), (peer, join([b"four"]))], first=1, offset=7) == (
            3,
            0,
            3,
            12,
            False,
        )
        assert take(socks[1], 3) == [b"two", b"three", b"four"]
        assert place.send([(peer, chunk)], offset=len(chunk)) == (1, 0, 0, 0, False)
        assert place.send([(peer, chunk)], first=1) == (1, 0, 0, 0, False)
        assert place.send([]) == (0, 0, 0, 0, False)


@every_datagram_form
@pytest.mark.skipif(sys.platform != "linux", reason="needs unix sockets without files")
def test_a_socket_that_takes_no_more(form: ModuleType):
    """One for UDP is so where a network is slow, so never here; a unix socket is where its reader is behind."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        server.setblocking(False)
        client.bind(b"")  # the system finds a name that is free
        name = client.getsockname()
        if form.name_of(socket.AF_INET, "127.0.0.1", 1)[0] != "127.0.0.1":
            name = struct.pack("=H", socket.AF_UNIX) + name
        peers, peer = form.Peers(), form.Peer(name, 1, 1.0)
        payloads = [b"%04d" % n * (1 + n % 3) for n in range(2000)]
        queue = [(peer, join([*payloads[at : at + 100], bytes(LIMIT + 1)])) for at in range(0, 2000, 100)]
        found: list[bytes] = []
        index = offset = total = 0
        while True:
            sent = peers.send(server, queue, index, offset, LIMIT)
            index, offset, total = sent.index, sent.offset, total + sent.datagrams
            assert peer.packets_out == total
            if not sent.blocked:
                break
            readable(client)
            found.append(client.recv(100))
        client.setblocking(False)
        while len(found) < total:
            found.append(client.recv(100))
        assert found == payloads and (index, offset) == (20, 0)
        assert peers.take_drops() == {DatagramDrop.TOO_LARGE: 20}, "once each, however often it was tried"


@every_datagram_form
def test_what_the_system_refuses_is_counted_and_skipped(form: ModuleType):
    with bound(count=3) as socks:
        place = Place(form, socks, known=2)
        nowhere = form.Peer(form.name_of(socket.AF_INET, "127.0.0.1", 0), 7, 1.0)
        first, second = place.known
        sent = place.send([(first, join([b"a"])), (nowhere, join([b"b", b"cc"])), (second, join([b"d"]))])
        assert sent == (3, 0, 2, 2, False)
        assert take(socks[1], 1) == [b"a"] and take(socks[2], 1) == [b"d"]
        assert place.peers.take_drops() == {DatagramDrop.UNSENT: 2}
        assert (nowhere.packets_out, nowhere.bytes_out) == (0, 0)


@every_datagram_form
def test_over_the_limit_is_not_sent(form: ModuleType):
    with bound(count=2) as socks:
        place = Place(form, socks, known=1)
        sent = place.send([(place.known[0], join([b"a" * 10, b"b" * 11, b"c" * 10]))], limit=10)
        assert sent == (1, 0, 2, 20, False)
        assert take(socks[1], 2) == [b"a" * 10, b"c" * 10]
        assert place.peers.take_drops() == {DatagramDrop.TOO_LARGE: 1}


@every_datagram_form
def test_a_peer_is_derived_from_and_goes_away(form: ModuleType):
    class Link(form.Peer):  # type: ignore[name-defined,misc]
        __slots__ = ("__weakref__", "other", "table")

    import gc
    import weakref

    with bound(count=1) as socks:
        peers = form.Peers()
        link = Link(name(form, socks[0]), 5, 1.0)
        link.other, link.table = link, peers  # circles, through the table too
        peers.add(link)
        assert peers.get(link.name) is link
        link.heard, link.packets_in, link.bytes_in, link.packets_out, link.bytes_out = 3.5, 1, 2, 3, 2**40
        assert (link.heard, link.packets_in, link.bytes_in, link.packets_out, link.bytes_out) == (3.5, 1, 2, 3, 2**40)
        gone = weakref.ref(link)
        del link, peers
        gc.collect()
        assert gone() is None


@every_datagram_form
@pytest.mark.parametrize(
    ("family", "host", "shown", "packed"),
    [
        (socket.AF_INET, "192.0.2.1", "192.0.2.1", bytes([192, 0, 2, 1])),
        (socket.AF_INET6, "192.0.2.1", "192.0.2.1", bytes([192, 0, 2, 1])),
        (socket.AF_INET6, "2001:db8::1", "2001:db8::1", bytes.fromhex("20010db8") + bytes(11) + b"\1"),
        (socket.AF_INET6, "::1", "::1", bytes(15) + b"\1"),
    ],
)
def test_names(form: ModuleType, family: int, host: str, shown: str, packed: bytes):
    made = form.name_of(family, host, 4242)
    assert form.host_port(made) == (shown, 4242)
    assert form.packed(made) == packed
    assert made == form.name_of(family, host, 4242) and hash(made) == hash(form.name_of(family, host, 4242))
    assert made != form.name_of(family, host, 4243)


@every_datagram_form
def test_a_name_of_ipv4_on_a_socket_for_both(form: ModuleType):
    if not socket.has_dualstack_ipv6():
        pytest.skip("needs IPv6")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server, bound() as (client,):
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.setblocking(False)
        client.sendto(b"hello", ("127.0.0.1", server.getsockname()[1]))
        readable(server)
        ((stranger, data),) = form.Peers().receive(server, 1.0, 10, 0, LIMIT).strangers
        assert data == b"hello" and form.host_port(stranger) == client.getsockname()
        assert stranger == form.name_of(socket.AF_INET6, *client.getsockname())
        peers, peer = form.Peers(), form.Peer(stranger, 1, 1.0)
        peers.add(peer)
        peers.send(server, [(peer, join([b"back"]))], 0, 0, LIMIT)
        assert take(client, 1) == [b"back"]
