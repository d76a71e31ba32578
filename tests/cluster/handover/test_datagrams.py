"""Datagrams go along: clients send on without asking anew, no number is used twice, and no id changes."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Callable, Union

import pytest
from kit.datagram_client import DATA, PONG, Offer
from kit.frames import join
from kit.handovers import CHANNELS, PEERS, SESSIONS
from kit.record_world import RecordClient, enter
from kit.udp_world import UdpWorld, taken, udp_world
from kit.world import Parcel, World

from voltlane.address import parse_listener
from voltlane.cluster.handover.datagrams import encode_channel, encode_peer
from voltlane.cluster.handover.goods import Door, Intake
from voltlane.cluster.handover.notes import Kind, note
from voltlane.cluster.handover.offer import Offer as Offered
from voltlane.cluster.handover.offer import _encode_door
from voltlane.cluster.handover.sessions import encode_numbers, encode_session
from voltlane.lanes.udp.moved import Moved, MovedChannel, MovedPeer
from voltlane.net.udp.loops import Channel
from voltlane.net.udp.names import Name, Place, place_of, raw_name, tuple_name
from voltlane.reasons import CloseReason
from voltlane.server.upgrade import goods_of
from voltlane.store.records import Damaged
from voltlane.wire.datagram import OLD_KEYS_SECS, server_keys
from voltlane.wire.tagged import Flag

MARKED = {"master.datagrams": True}


@pytest.fixture
def home() -> Iterator[UdpWorld]:
    with udp_world("sessions", MARKED) as made:
        yield made


@pytest.fixture
def open_home() -> Iterator[UdpWorld]:
    with udp_world("open") as made:
        yield made


def came(world: UdpWorld) -> list[bytes]:
    return [data for _, data in world.master.notices(Flag.DATAGRAM)]


def down(world: UdpWorld, client_id: int, *bodies: bytes) -> None:
    world.master.write(join(client_id.to_bytes(8, "little") + bytes((Flag.DATAGRAM,)) + body for body in bodies))
    world.settle()


class TestSessions:
    def test_they_go_on_both_ways_without_being_asked_for(self, home: UdpWorld):
        client, wire = home.new_wire()
        for round_ in range(3):
            up, back = b"up %d" % round_, b"down %d" % round_
            wire.send(up)
            down(home, client.session.id, back)
            home.follow()
            home.settle()
        wire.send(b"last")
        down(home, client.session.id, b"last")
        home.settle()
        assert came(home) == [b"up 0", b"up 1", b"up 2", b"last"]
        assert wire.got == [b"down 0", b"down 1", b"down 2", b"last"]
        assert len(client.endpoint.offers) == 1 and home.dropped == {}
        channel = home.udp.channel_of(client.session.id)  # type: ignore[attr-defined]
        assert (channel.packets_in, channel.packets_out) == (4, 4)

    def test_no_number_of_ours_is_used_twice(self, home: UdpWorld):
        client, wire = home.new_wire()
        for _ in range(3):
            wire.ping()
            down(home, client.session.id, b"one", b"two")
            home.follow()
            home.settle()
        wire.ping()
        home.settle()
        numbers = [got.number for got in wire.heard]
        assert sum(got.kind == PONG for got in wire.heard) >= 4 and sum(got.kind == DATA for got in wire.heard) == 6
        assert sorted(numbers) == sorted(set(numbers))

    def test_what_came_before_is_still_known(self, home: UdpWorld):
        _, wire = home.new_wire()
        old = wire.sealed.data(b"once")
        skipped = wire.sealed.data(b"late")
        wire.raw(old)
        wire.send(b"ahead")
        home.settle()
        home.follow()
        wire.raw(old)
        wire.raw(skipped)
        home.settle()
        assert came(home) == [b"once", b"ahead", b"late"] and home.dropped == {"REPLAYED": 1}

    def test_what_comes_in_the_pause_waits(self, home: UdpWorld):
        _, wire = home.new_wire()
        wire.send(*[b"%d" % number for number in range(50)])
        home.follow()
        home.settle()
        assert came(home) == [b"%d" % number for number in range(50)]

    def test_without_a_path_and_without_a_connection(self, home: UdpWorld):
        nowhere, away = enter(home), enter(home)
        first, second = home.wire(nowhere), home.settled_wire(away)
        away.cut()
        home.settle()
        home.follow()
        first.send(b"first")
        second.send(b"second")
        down(home, away.session.id, b"still here")
        home.settle()
        assert sorted(came(home)) == [b"first", b"second"] and second.got == [b"still here"]
        assert home.udp.channel_of(nowhere.session.id).path is not None  # type: ignore[attr-defined]

    def test_a_client_moves_on_behind_it(self, home: UdpWorld):
        client, wire = home.new_wire()
        wire.answers = False
        wire.move()
        wire.ping()
        home.settle()
        home.follow()
        wire.answers = True
        wire.ping()
        home.settle()
        down(home, client.session.id, b"there")
        assert wire.got == [b"there"] and home.server.counters.roamed == 1

    def test_old_keys_for_as_long_as_they_were_good_for(self, home: UdpWorld):
        client, old = home.new_wire()
        new = home.settled_wire(client)
        home.pass_(OLD_KEYS_SECS / 2)
        home.follow()
        old.send(b"old")
        new.send(b"new")
        home.settle()
        assert came(home) == [b"old", b"new"]
        home.pass_(OLD_KEYS_SECS / 2 + 1)
        old.send(b"too old")
        new.send(b"new again")
        home.settle()
        assert came(home)[2:] == [b"new again"] and home.dropped == {"UNKNOWN_ID": 1}

    def test_keys_of_a_connection_before(self, home: UdpWorld):
        client, wire = home.new_wire()
        client.cut()
        home.settle()
        RecordClient(home, client.session)
        home.settle()
        home.pass_(OLD_KEYS_SECS / 2)
        home.follow()
        wire.send(b"yet")
        home.pass_(OLD_KEYS_SECS / 2 + 1)
        wire.send(b"no more")
        home.settle()
        assert came(home) == [b"yet"] and home.udp.channels == 0

    def test_a_socket_that_is_listed_no_more(self, home: UdpWorld):
        client, wire = home.new_wire()
        other = enter(home)
        home.udp.open([parse_listener("udp://[::1]:0")] if socket.has_ipv6 else [])
        home.follow()
        home.server.unlisted = home.udp.asked[:1]
        home.server.wake()
        home.settle()
        assert Offer.of(client.endpoint.offers[-1]).port == 0 and len(client.endpoint.offers) == 2
        assert other.endpoint.offers == [] and home.udp.channels == 0 and len(home.udp.ports) == int(socket.has_ipv6)
        wire.send(b"nobody hears that")
        home.follow()


class TestOpen:
    def test_clients_keep_their_ids(self, open_home: UdpWorld):
        home = open_home
        one, other = home.socket(), home.socket()
        for round_ in range(3):
            one.send(b"one %d" % round_)
            home.settle()
            other.send(b"other %d" % round_)
            home.follow()
            home.settle()
        first, second = home.master.data
        assert home.master.data == {first: [b"one 0", b"one 1", b"one 2"], second: [b"other 0", b"other 1", b"other 2"]}
        home.master.send(first, b"to one")
        home.master.send(second, b"to other")
        home.settle()
        assert (taken(one), taken(other)) == ([b"to one"], [b"to other"])
        peer = home.server.registry.sessions[first].link
        assert (peer.packets_in, peer.bytes_in, peer.packets_out) == (3, 15, 1)  # type: ignore[union-attr]
        assert home.server.admission.connections == 2 and home.master.notices(Flag.FAILURE) == []

    def test_who_comes_and_goes_when_that_was_said_already(self, open_home: UdpWorld):
        home = open_home
        stays, kicked, new = home.socket(), home.socket(), home.socket()
        stays.send(b"here")
        home.settle()
        kicked.send(b"here")
        home.settle()
        before, gone = home.master.data

        def meanwhile() -> None:
            home.master.kick(gone)
            new.send(b"new")
            home.settle()

        home.follow(meanwhile)
        stays.send(b"again")
        new.send(b"again")
        home.settle()
        assert home.master.data[before] == [b"here", b"again"]
        (came_meanwhile,) = set(home.master.data) - {before, gone}
        assert home.master.data[came_meanwhile] == [b"new", b"again"]
        assert list(home.server.registry.sessions) == [before, came_meanwhile]

    def test_they_are_said_ahead_once(self, open_home: UdpWorld):
        home = open_home
        sock = home.socket()
        sock.send(b"here")
        home.settle()
        parcel, made = Parcel(), Offered(goods_of(home.server))
        assert parcel.add(made.ahead(5, home.clock.now))
        home.clock.now += 1.0
        assert not parcel.add(made.ahead(5, home.clock.now))

    def test_silence_goes_on(self, open_home: UdpWorld):
        home = open_home
        sock = home.socket()
        sock.send(b"here")
        home.settle()
        idle = home.server.config.udp.idle_secs
        home.pass_(idle / 2)
        home.follow()
        home.settle()
        home.pass_(idle / 2 + 5)
        assert home.udp.peers == 0 and home.server.counters.closed[CloseReason.IDLE] == 1
        assert home.server.registry.sessions == {} and home.server.admission.connections == 0

    def test_a_socket_that_is_listed_no_more(self, open_home: UdpWorld):
        home = open_home
        sock = home.socket()
        sock.send(b"here")
        home.settle()
        home.follow()
        home.server.unlisted = home.udp.asked
        home.server.wake()
        home.settle()
        assert home.udp.peers == 0 and home.server.registry.sessions == {} and home.udp.ports == []
        assert [client_id for client_id, _ in home.master.notices(Flag.FAILURE)] == list(home.master.data)


KEYS = server_keys(bytes(32))
CHANNEL = CHANNELS[0]._replace(root=bytes(32), state=Channel(KEYS, 7, 0.0).export())
PEER = PEERS[0]
Word = Union[Moved, socket.SocketKind, None]


def taken_in(mode: str, *words: Word) -> str:
    """What a server finds wrong that is told of session 7 and then of these: a socket of that kind, its session again
    (None), or what is to be gone on with."""
    udp = {"listener.address": ["127.0.0.1:0", "udp://127.0.0.1:0"], "udp.mode": mode} if mode else {}
    home, parcel = World({"listener.address": ["127.0.0.1:0"], **udp}), Parcel()
    try:
        for word in (None, *words):
            say(parcel, word)
        parcel.add(iter([(note(Kind.ORDER, 1, encode_numbers([7])), -1), (note(Kind.END, len(words) + 2), -1)]))
        while Intake(goods_of(home.server), 0.0).take(parcel):  # type: ignore[arg-type]
            pass
    except Damaged as error:
        return str(error)
    finally:
        while parcel._descriptors:
            os.close(parcel.descriptor())
        home.abandon()
    return ""


def say(parcel: Parcel, word: Word) -> None:
    kind, data, number, descriptor, sock = Kind.SESSION, b"", 7, -1, None
    if word is None:
        data = encode_session(SESSIONS[0], 0.0)
    elif isinstance(word, MovedChannel):
        kind, number, data = Kind.CHANNEL, word.client_id, encode_channel(word)
    elif isinstance(word, MovedPeer):
        kind, number, data = Kind.PEER, word.client_id, encode_peer(word)
    else:
        sock = socket.socket(socket.AF_INET, word)
        kind, descriptor, data = Kind.LISTENER, sock.fileno(), _encode_door(Door("udp", sock, False, ""))
        sock.bind(("127.0.0.1", 0))
    parcel.add(iter([(note(kind, number, data), descriptor)]))
    if sock is not None:
        sock.close()


UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
ENDING = CHANNEL._replace(ending=1.0)


def other(number: int) -> MovedChannel:
    return ENDING._replace(root=bytes([number]) * 32)


@pytest.mark.parametrize(
    ("mode", "words", "why"),
    [
        ("sessions", (UDP, CHANNEL), ""),
        ("sessions", (UDP, other(1), CHANNEL), ""),
        ("sessions", (UDP, other(1), other(2), CHANNEL), "more datagrams than a client has"),
        ("sessions", (UDP, CHANNEL._replace(root=bytes([1]) * 32), CHANNEL), "more datagrams than a client has"),
        ("sessions", (UDP, ENDING, CHANNEL), "there is a channel of that id"),
        ("sessions", (UDP, PEER), "no sealed datagrams"),
        ("sessions", (CHANNEL,), "by a socket that did not come"),
        ("sessions", (UDP, CHANNEL._replace(port=1)), "by a socket that did not come"),
        ("sessions", (UDP, CHANNEL._replace(client_id=8)), "whose session did not come"),
        ("sessions", (UDP, CHANNEL._replace(state=b"short")), "the state of a channel has"),
        ("sessions", (UDP, CHANNEL._replace(path=Place("nowhere", 1))), "datagrams of client 7"),
        ("sessions", (UDP, CHANNEL._replace(path=Place("a\0b", 1))), "datagrams of client 7"),
        ("sessions", (TCP,), "a socket for datagrams that is none"),
        ("open", (UDP, PEER), "session 7 is stale, and its connection says otherwise"),
        ("open", (UDP, PEER, PEER), "or has others"),
        ("open", (UDP, PEER, None, PEER), "there is a peer of that name"),
        ("open", (UDP, PEER._replace(place=Place("2001:db8::1", 1))), "datagrams of client 7"),
        ("open", (UDP, CHANNEL), "no client that is an address"),
        ("", (UDP,), "nothing here listens for udp"),
        ("", (CHANNEL,), "by a socket that did not come"),
    ],
)
def test_what_cannot_be(mode: str, words: tuple[Word, ...], why: str) -> None:
    found = taken_in(mode, *words)
    assert why in found if why else not found


@pytest.mark.parametrize(
    ("family", "place"),
    [
        (socket.AF_INET, Place("192.0.2.1", 65535)),
        (socket.AF_INET6, Place("192.0.2.1", 5)),
        (socket.AF_INET6, Place("2001:db8::1", 5)),
        (socket.AF_INET6, Place("fe80::1", 5, 3)),
    ],
)
@pytest.mark.parametrize("make", [tuple_name, raw_name])
def test_names_in_a_process_of_the_other_form(make: Callable[..., Name], family: int, place: Place) -> None:
    assert place_of(make(family, *place)) == place
