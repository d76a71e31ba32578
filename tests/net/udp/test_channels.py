"""Channels: sealed datagrams in and out, over real sockets, by every form; the other end is PyNaCl alone."""

from __future__ import annotations

import socket
import struct
import sys
from types import ModuleType
from typing import Any

import pytest
from kit.datagrams import (
    CHALLENGE,
    DATA,
    ID_IN,
    KEYS,
    PING,
    RESPONSE,
    bound,
    every_datagram_form,
    opened,
    readable,
    sealed,
    send_at_once,
    take,
)
from kit.frames import join

from voltlane.net.udp.sockets import receive_joined
from voltlane.reasons import DatagramDrop
from voltlane.wire.datagram import DatagramKeys

LIMIT = 1200


def tagged(client_id: int, data: bytes, flag: int = 4) -> bytes:
    return join([client_id.to_bytes(8, "little") + bytes([flag]) + data])


class Place:
    """A server's socket with one channel, client 9, whose path is the first of two clients' sockets."""

    def __init__(self, form: ModuleType, socks: list[socket.socket]) -> None:
        self.server, self.client, self.elsewhere = socks
        self.here, self.there = (form.name_of(sock.family, *sock.getsockname()) for sock in socks[1:])
        self.channels = form.Channels()
        receive_joined(self.server, self.channels.takes_apart)
        self.channel = form.Channel(KEYS, 9, 1.0)
        self.channel.path = self.here
        self.channels.add(self.channel)

    def come(self, *datagrams: bytes, elsewhere: bool = False) -> None:
        for datagram in datagrams:
            (self.elsewhere if elsewhere else self.client).sendto(datagram, self.server.getsockname())

    def receive(self, now: float = 2.0, most: int = 64, flag: int = 4, limit: int = LIMIT) -> Any:
        readable(self.server)
        return self.channels.receive(self.server, now, most, flag, limit)

    def send(self, *payloads: bytes, now: float = 2.0, limit: int = LIMIT) -> Any:
        return self.channels.send(self.server, [(self.channel, join(payloads))], 0, 0, limit, now)


@pytest.fixture
def place(form: ModuleType) -> Any:
    with bound(count=3) as socks:
        yield Place(form, socks)


@every_datagram_form
def test_data_become_packets(place: Place):
    most = LIMIT - 37
    place.come(sealed(0, b"one"), sealed(1, b""), sealed(2, b"x" * most))
    got = place.receive()
    assert got == (tagged(9, b"one") + tagged(9, b"") + tagged(9, b"x" * most), 3, most + 3, [], False)
    channel = place.channel
    assert (channel.packets_in, channel.bytes_in, channel.heard) == (3, most + 3, 2.0)
    assert (channel.received, channel.highest, channel.late, channel.repeated) == (3, 2, 0, 0)
    assert place.channels.take_drops() == {}


@every_datagram_form
def test_a_channel_as_it_begins(place: Place):
    channel = place.channel
    assert (channel.id, channel.client_id, channel.heard, channel.highest) == (ID_IN, 9, 1.0, -1)
    assert (channel.next_number, channel.received, channel.late, channel.repeated) == (0, 0, 0, 0)
    assert (channel.rtt, channel.jitter) == (None, None)
    assert place.channels.get(ID_IN) is channel and place.channels.get(b"another.") is None
    assert len(place.channels) == 1


@every_datagram_form
@pytest.mark.parametrize(
    ("datagram", "why"),
    [
        (b"", DatagramDrop.SHORT),
        (sealed(0)[:36], DatagramDrop.SHORT),
        (sealed(0, b"x" * (LIMIT - 36)), DatagramDrop.TOO_LARGE),
        (sealed(0, b"x", id=b"nobody's"), DatagramDrop.UNKNOWN_ID),
        (sealed(0, b"x", key=b"?" * 32), DatagramDrop.UNSEALED),
        (sealed(0, b"x")[:-1], DatagramDrop.UNSEALED),
        (sealed(0, b"x") + b"!", DatagramDrop.UNSEALED),
        (sealed(7, b"x")[:8] + struct.pack("<Q", 1 << 60) + sealed(7, b"x")[16:], DatagramDrop.UNSEALED),
    ],
)
def test_what_does_not_open_changes_nothing(place: Place, datagram: bytes, why: DatagramDrop):
    place.come(sealed(5, b"before"))
    place.receive()
    before = place.channel.export(), place.channel.heard
    place.come(datagram, elsewhere=True)
    assert place.receive(now=3.0) == (b"", 0, 0, [], False)
    assert (place.channel.export(), place.channel.heard) == before
    assert place.channels.take_drops() == {why: 1}
    place.come(sealed(6, b"behind"))
    assert place.receive().chunk == tagged(9, b"behind")


@every_datagram_form
def test_flipped_bits(place: Place):
    whole = sealed(3, b"abc")
    for at in range(len(whole)):
        place.come(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
    assert place.receive().packets == 0
    assert place.channels.take_drops() == {DatagramDrop.UNKNOWN_ID: 8, DatagramDrop.UNSEALED: len(whole) - 8}
    place.come(whole)
    assert place.receive().chunk == tagged(9, b"abc")


@every_datagram_form
def test_what_was_sent_at_once_comes_apart(place: Place):
    whole = [sealed(n, b"%03d" % n) for n in range(30)]
    whole[7] = whole[7][:-1] + b"?"
    send_at_once(place.client, b"".join(whole), 40, place.server.getsockname())
    place.come(sealed(30, b"030"))
    assert place.receive().chunk == b"".join(tagged(9, b"%03d" % n) for n in range(31) if n != 7)
    assert place.channels.take_drops() == {DatagramDrop.UNSEALED: 1}


@every_datagram_form
def test_nothing_comes_twice(place: Place):
    place.come(sealed(0, b"a"), sealed(0, b"a"), sealed(1, b"b"), sealed(0, b"a"))
    assert place.receive().chunk == tagged(9, b"a") + tagged(9, b"b")
    assert place.channels.take_drops() == {DatagramDrop.REPLAYED: 2}
    assert (place.channel.repeated, place.channel.received) == (2, 2)


@every_datagram_form
def test_the_window(place: Place):
    numbers = [0, 5, 3, 1, 2000, 1999, 977, 976, 1, 2000, 977, 978, 2001, 3024, 2001, 2000, 5000, 3976, 3977, 10000]
    good = [True] * 7 + [False] * 4 + [True, True, True, False, False, True, False, True, True]
    place.come(*[sealed(number, struct.pack("<Q", number)) for number in numbers])
    expected = [tagged(9, struct.pack("<Q", number)) for number, one in zip(numbers, good) if one]
    assert place.receive().chunk == b"".join(expected)
    channel = place.channel
    assert (channel.received, channel.late, channel.highest) == (len(expected), 6, 10000)
    drops = place.channels.take_drops()
    assert drops == {DatagramDrop.LATE: 4, DatagramDrop.REPLAYED: 3}


@every_datagram_form
def test_the_highest_number_there_is(place: Place):
    last = 2**64 - 1
    place.come(sealed(last, b"a"), sealed(last, b"a"), sealed(last - 1023, b"b"), sealed(last - 1024, b"c"))
    assert place.receive().chunk == tagged(9, b"a") + tagged(9, b"b")
    assert place.channel.highest == last


@every_datagram_form
def test_controls_are_events_and_in_order(place: Place):
    place.come(
        sealed(1, b"8 bytes!", kind=CHALLENGE),
        sealed(2, b"data"),
        sealed(0, kind=PING),
        sealed(3, b"?", kind=200),
    )
    got = place.receive()
    channel = place.channel
    assert got.events == [
        (channel, CHALLENGE, place.here, b"8 bytes!", True, 45),
        (channel, PING, place.here, b"", False, 37),
        (channel, 200, place.here, b"?", True, 38),
    ]
    assert [type(newest) for *_, newest, _ in got.events] == [bool] * 3
    assert got.chunk == tagged(9, b"data")
    assert (channel.received, channel.packets_in, channel.bytes_in) == (4, 1, 4)


@every_datagram_form
def test_from_elsewhere(place: Place):
    place.come(sealed(5, b"new"), sealed(4, b"old"), elsewhere=True)
    place.come(sealed(6, b"here"))
    got = place.receive()
    channel = place.channel
    assert got.events == [
        (channel, DATA, place.there, b"new", True, 40),
        (channel, DATA, place.there, b"old", False, 40),
    ]
    assert got.chunk == tagged(9, b"new") + tagged(9, b"old") + tagged(9, b"here")
    assert channel.path == place.here, "it is moved by somebody else"
    channel.path = place.there
    place.come(sealed(7, b"there"), elsewhere=True)
    assert place.receive().events == []
    channel.path = None
    place.come(sealed(8, b"anywhere"))
    assert [event[2] for event in place.receive().events] == [place.here]


@every_datagram_form
def test_data_that_nobody_wants(place: Place):
    place.come(sealed(0, b"abc"), sealed(1, kind=PING), sealed(2, b"d"))
    place.come(sealed(3, b"e"), elsewhere=True)
    got = place.receive(flag=-1)
    assert (got.chunk, got.packets, got.size) == (b"", 0, 0)
    assert [event[1] for event in got.events] == [PING, DATA]
    assert place.channels.take_drops() == {DatagramDrop.NOT_WANTED: 3}
    assert (place.channel.packets_in, place.channel.bytes_in, place.channel.received) == (3, 5, 4)


@every_datagram_form
def test_rates(place: Place):
    """Only what opened is held against them."""
    place.channels.set_rates(3, 0, 1)
    for number in range(10):
        place.come(sealed(number, b"x", key=b"?" * 32))
    place.come(*[sealed(number, b"%d" % number) for number in range(5)])
    got = place.receive()
    assert got.chunk == tagged(9, b"0") + tagged(9, b"1") + tagged(9, b"2")
    assert place.channels.take_drops() == {DatagramDrop.UNSEALED: 10, DatagramDrop.RATE: 2}
    assert (place.channel.packets_in, place.channel.received, place.channel.highest) == (3, 5, 4)


@every_datagram_form
def test_round_trips_and_jitter(place: Place):
    """Times are in 1/8000 s, modulo 65536."""
    now = 10.0  # 80000 ticks, of which 14464 are left
    place.come(sealed(0, time=14464 - 400))
    place.receive(now=now)
    assert place.channel.rtt is None and place.channel.jitter is None
    place.come(sealed(1, time=14464 - 400 - 160, echo=14464 - 800))
    place.receive(now=now)
    assert place.channel.rtt == pytest.approx(0.1)
    assert place.channel.jitter == pytest.approx(0.02 / 16)
    place.come(sealed(2, time=14464 - 400, echo=14464 - 1600))
    place.receive(now=now)
    assert place.channel.rtt == pytest.approx(0.1 + 0.1 / 8)
    assert place.channel.jitter == pytest.approx(0.02 / 16 + (0.02 - 0.02 / 16) / 16)


@every_datagram_form
def test_a_clock_that_goes_round(place: Place):
    now = 65536 / 8000 + 0.01  # 80 ticks
    place.come(sealed(0, time=65500), sealed(1, time=60, echo=65536 - 80))
    place.receive(now=now)
    assert place.channel.rtt == pytest.approx(0.02)
    assert place.channel.jitter == pytest.approx((96 / 8000) / 16)


@every_datagram_form
def test_sealing(place: Place):
    assert opened(place.channel.seal(CHALLENGE, b"8 bytes!", 3.0)) == (0, CHALLENGE, 24000, 0, b"8 bytes!")
    place.come(sealed(4, time=1000), sealed(3, time=999))
    place.receive(now=3.0)
    assert opened(place.channel.seal(RESPONSE, bytearray(b"abc"), 3.5)) == (1, RESPONSE, 28000, 5000, b"abc")
    assert opened(place.channel.seal(PING, b"", 4.0)) == (2, PING, 32000, 9000, b"")
    assert opened(place.channel.seal(PING, b"", 4.001)).echo == 0, "too old to be of use"
    assert place.channel.next_number == 4
    place.come(sealed(5, time=65536 - 1000))
    place.receive(now=5.0)
    assert opened(place.channel.seal(PING, b"", 5.125)).echo == 1, "0 would be none"


@every_datagram_form
def test_sending(place: Place):
    place.come(sealed(0, time=500))
    place.receive(now=2.0)
    payloads = [b"one", b"", b"x" * (LIMIT - 37)]
    assert place.send(*payloads, now=2.5) == (1, 0, 3, LIMIT - 37 + 3, False)
    came = take(place.client, 3)
    assert [opened(one) for one in came] == [(n, DATA, 20000, 4500, data) for n, data in enumerate(payloads)]
    assert len(came[2]) == LIMIT
    channel = place.channel
    assert (channel.next_number, channel.packets_out, channel.bytes_out) == (3, 3, LIMIT - 37 + 3)
    channel.path = place.there
    assert place.send(b"on").datagrams == 1
    assert opened(take(place.elsewhere, 1)[0]).number == 3


@every_datagram_form
def test_sending_many_of_a_size(place: Place):
    payloads = [b"%03d" % n * 20 for n in range(150)]
    for at in range(0, 150, 50):
        assert place.send(*payloads[at : at + 50]).datagrams == 50
        assert [opened(one).body for one in take(place.client, 50)] == payloads[at : at + 50]


@every_datagram_form
def test_what_cannot_be_sent(place: Place):
    place.channel.path = None
    assert place.send(b"a", b"b") == (1, 0, 0, 0, False)
    place.channel.path = place.here
    assert place.send(b"a", b"x" * (LIMIT - 36), b"b") == (1, 0, 2, 2, False)
    assert [opened(one)[0::4] for one in take(place.client, 2)] == [(0, b"a"), (1, b"b")]
    assert place.channels.take_drops() == {DatagramDrop.NO_PATH: 2, DatagramDrop.TOO_LARGE: 1}


@every_datagram_form
@pytest.mark.skipif(sys.platform != "linux", reason="needs unix sockets without files")
def test_a_socket_that_takes_no_more(form: ModuleType):
    """Nothing is lost and no number is used twice."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        server.setblocking(False)
        client.bind(b"")
        name = client.getsockname()
        if form.name_of(socket.AF_INET, "127.0.0.1", 1)[0] != "127.0.0.1":
            name = struct.pack("=H", socket.AF_UNIX) + name
        channels, channel = form.Channels(), form.Channel(KEYS, 9, 1.0)
        channel.path = name
        payloads = [b"%04d" % n * (1 + n % 3) for n in range(500)]
        queue = [(channel, join([*payloads[at : at + 50], bytes(LIMIT)])) for at in range(0, 500, 50)]
        found: list[bytes] = []
        index = offset = total = 0
        while True:
            sent = channels.send(server, queue, index, offset, LIMIT, 2.0)
            index, offset, total = sent.index, sent.offset, total + sent.datagrams
            if not sent.blocked:
                break
            readable(client)
            found.append(client.recv(LIMIT))
        client.setblocking(False)
        while len(found) < total:
            found.append(client.recv(LIMIT))
        inside = [opened(one) for one in found]
        assert [one.body for one in inside] == payloads
        assert [one.number for one in inside] == list(range(len(payloads))), "what was not sent has no number"
        assert channels.take_drops() == {DatagramDrop.TOO_LARGE: 10}, "once each, however often it was tried"


@every_datagram_form
def test_another_process_takes_over(form: ModuleType, place: Place):
    place.come(sealed(0, b"a", time=1, echo=15000), sealed(3000, b"b", time=2), sealed(2995, b"c"))
    place.receive()
    place.send(b"d")
    state = place.channel.export()
    assert type(state) is bytes
    heir = form.Channel(KEYS, 9, 1.0)
    heir.restore(state)
    for what in ("next_number", "highest", "received", "late", "repeated", "rtt", "jitter"):
        assert getattr(heir, what) == getattr(place.channel, what), what
    for what in ("packets_in", "bytes_in", "packets_out", "bytes_out"):
        assert getattr(heir, what) == getattr(place.channel, what), what
    assert heir.export() == state
    place.channels.remove(place.channel)
    heir.path = place.here
    place.channels.add(heir)
    place.come(sealed(3000, b"b"), sealed(2995, b"c"), sealed(2996, b"e"), sealed(1900, b"f"))
    assert place.receive().chunk == tagged(9, b"e")
    take(place.client, 1)


@every_datagram_form
def test_the_state_of_a_new_channel(form: ModuleType):
    heir = form.Channel(KEYS, 9, 1.0)
    heir.restore(form.Channel(KEYS, 9, 1.0).export())
    assert (heir.highest, heir.received, heir.rtt, heir.jitter) == (-1, 0, None, None)


@every_datagram_form
@pytest.mark.parametrize("state", [b"", b"x" * 7, b"x" * 400])
def test_no_state(form: ModuleType, state: bytes):
    with pytest.raises(ValueError, match="the state of a channel has"):
        form.Channel(KEYS, 9, 1.0).restore(state)


@every_datagram_form
def test_add_get_remove_sweep(form: ModuleType):
    channels = form.Channels()
    ids = [struct.pack("<Q", n * 2**32) for n in range(1000)]
    made = [form.Channel(DatagramKeys(id, b"1" * 32, id, b"2" * 32), n, 1.0) for n, id in enumerate(ids)]
    for channel in made:
        channels.add(channel)
    with pytest.raises(ValueError):
        channels.add(form.Channel(DatagramKeys(ids[3], b"1" * 32, ids[3], b"2" * 32), 5, 1.0))
    for channel in made[::3]:
        channels.remove(channel)
        channels.remove(channel)
    assert [channels.get(id) for id in ids] == [channel if n % 3 else None for n, channel in enumerate(made)]
    found: list[Any] = []
    slot = 0
    while True:
        part, slot = channels.sweep(slot, 100)
        found += part
        if not slot:
            break
    assert len(found) == len(channels) == 666 and len(set(map(id, found))) == 666
