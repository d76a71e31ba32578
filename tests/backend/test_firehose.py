from __future__ import annotations

import errno
import os
import select
import socket
import stat
import struct
import threading
import time

import pytest
from kit.sockets import end_hard
from kit.wait import wait_until

from voltlane.backend import CLIENT_MOVED, LINK_LOST, PACKET_LIMIT, Firehose, Flag, Handler
from voltlane.backend import firehose as firehose_module
from voltlane.backend import link as serverlink
from voltlane.errors import ConfigError, StartupError
from voltlane.net.sockets import local_address
from voltlane.wire.framing import FrameBuffer
from voltlane.wire.tagged import decode_tagged, frame_tagged

LIMIT = 8 * 1024 * 1024


class Server:
    """The connection server's end of a link, driven by the test."""

    def __init__(self, address):
        if address.kind == "unix":
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address.path)
        else:
            self.socket = socket.create_connection((address.host, address.port))
        self.socket.settimeout(10.0)
        self._received = FrameBuffer(LIMIT)

    def send(self, client_id, data=b"", flag=Flag.DATA):
        self.send_raw(frame_tagged(client_id, flag, data))

    def send_raw(self, data):
        self.socket.sendall(data)

    def recv(self):
        """The next packet: (client id, flag, data)."""
        while (payload := self._received.pop()) is None:
            if not (data := self.socket.recv(65536)):
                raise EOFError
            self._received.feed(data)
        return tuple(decode_tagged(payload))

    def close(self):
        self.socket.close()

    def reset(self):
        end_hard(self.socket)
        self.socket.close()


@pytest.fixture
def firehose():
    with Firehose("127.0.0.1:0") as listening:
        yield listening


@pytest.fixture
def connect(firehose):
    """Connects one more server, and returns its end and ours."""
    servers = []

    def connect_one():
        known = set(firehose.links)
        servers.append(Server(firehose.address))
        return servers[-1], turn_until(firehose, lambda: set(firehose.links) - known, "the link").pop()

    yield connect_one
    for server in servers:
        server.close()


@pytest.fixture
def server(connect):
    return connect()[0]


def turn_until(firehose, predicate, what):
    """Poll (for no packets) until the predicate gives something; that."""
    box = []

    def turned():
        assert firehose.poll(0) == []
        box[:] = [predicate()]
        return box[0]

    wait_until(turned, what)
    return box[0]


def take(firehose, count):
    """So many packets, as (client id, flag, data)."""
    taken = []
    deadline = time.monotonic() + 10
    while len(taken) < count and time.monotonic() < deadline:
        taken += [tuple(packet[:3]) for packet in firehose.poll(1.0)]
    return taken


def poll_for(firehose, count):
    """So many packets."""
    packets = []
    wait_until(lambda: packets.extend(firehose.poll(0.1)) or len(packets) >= count, "packets")
    return packets


def lost(client_id):
    """What is said of a client whose link is lost."""
    return client_id, Flag.FAILURE, LINK_LOST.encode()


def flags_of(packet):
    return packet.is_data, packet.is_failure, packet.is_reconnection


# Packets


def test_each_kind_of_packet(firehose, server):
    server.send(2**64 - 1, b"data")
    server.send(7, "gone – für immer".encode(), Flag.FAILURE)
    server.send(8, b"", Flag.RECONNECTION)
    server.send(9, b"", Flag.KICK)
    packets = []
    while len(packets) < 4:
        packets += firehose.poll(5)
    assert [packet[:3] for packet in packets] == [
        (2**64 - 1, Flag.DATA, b"data"),
        (7, Flag.FAILURE, "gone – für immer".encode()),
        (8, Flag.RECONNECTION, b""),
        (9, Flag.KICK, b""),
    ]
    assert [flags_of(packet) for packet in packets] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (False, False, False),
    ]
    assert packets[1].reason == "gone – für immer"
    assert packets[0].link is firehose.links[0]


def test_a_datagram_and_the_answer_to_it_go_as_such(firehose, server):
    server.send(7, b"where I am", Flag.DATAGRAM)
    (packet,) = firehose.poll(5)
    assert packet[:3] == (7, Flag.DATAGRAM, b"where I am") and packet.is_datagram and flags_of(packet) == (False,) * 3
    assert packet.reply(b"where you are")
    assert packet.link.send(7, memoryview(b"an event"))
    assert firehose.datagram(7, bytearray(b"where they are")) and firehose.datagram(7, b"", packet.link)
    firehose.flush()
    assert [server.recv() for _ in range(4)] == [
        (7, Flag.DATAGRAM, b"where you are"),
        (7, Flag.DATA, b"an event"),
        (7, Flag.DATAGRAM, b"where they are"),
        (7, Flag.DATAGRAM, b""),
    ]


def test_a_datagram_has_the_limits_of_other_packets(firehose, server):
    server.send(7, b"", Flag.DATAGRAM)
    (packet,) = firehose.poll(5)
    with pytest.raises(ValueError, match="at most"):
        packet.link.datagram(7, bytes(PACKET_LIMIT + 1))


def test_a_reason_that_is_no_text(firehose, server):
    server.send(1, b"\xff!", Flag.FAILURE)
    assert firehose.poll(5)[0].reason == "�!"


STREAM = [(1, Flag.DATA, b"one"), (2, Flag.DATA, b""), (1, Flag.FAILURE, b"x" * 300), (3, Flag.RECONNECTION, b"")]
RAW = b"".join(frame_tagged(*packet) for packet in STREAM)


def test_a_stream_fed_byte_by_byte(firehose, server):
    got = []
    for byte in RAW:
        server.send_raw(bytes((byte,)))
        got += [tuple(packet[:3]) for packet in firehose.poll(0)]
    got += take(firehose, len(STREAM) - len(got))
    assert got == STREAM


@pytest.mark.parametrize("cut", range(0, 60))
def test_a_stream_cut_anywhere_and_ended_there(firehose, server, cut):
    """Trailing bytes of a packet that never ends are nothing; what was whole is given out."""
    server.send_raw(RAW[: len(RAW) - cut])
    server.close()
    left, whole, known = len(RAW) - cut, [], {}
    for packet in STREAM:
        left -= len(frame_tagged(*packet))
        if left < 0:
            break
        whole.append(packet)
        if packet[1] is Flag.FAILURE:
            del known[packet[0]]
        else:
            known[packet[0]] = lost(packet[0])
    assert take(firehose, len(whole) + len(known)) == whole + list(known.values())
    turn_until(firehose, lambda: not firehose.links, "the loss")


def test_the_largest_packet_both_ways(firehose, connect):
    server, link = connect()
    data = os.urandom(1024) * (PACKET_LIMIT // 1024) + b"tail"
    data = data[:PACKET_LIMIT].ljust(PACKET_LIMIT, b"!")
    sending = threading.Thread(target=server.send, args=(5, data))
    sending.start()
    assert take(firehose, 1) == [(5, Flag.DATA, data)]
    sending.join()
    assert firehose.send(5, data)
    received = []
    receiving = threading.Thread(target=lambda: received.append(server.recv()))
    receiving.start()
    turn_until(firehose, lambda: received, "the packet")
    receiving.join()
    assert received == [(5, Flag.DATA, data)]
    with pytest.raises(ValueError, match="at most"):
        firehose.send(5, data + b"!")
    assert link.queued == 0


def test_what_is_sent(firehose, server):
    server.send(5, b"hello")
    (packet,) = firehose.poll(5)
    assert packet.reply(b"to you")
    assert firehose.send(5, bytearray(b"and again"))
    assert firehose.send(6, memoryview(b"a-n-y- -b-u-f-f-e-r-")[::2])
    assert packet.kick()
    assert firehose.kick(6)
    assert firehose.fail(7, "für immer")
    firehose.flush()
    assert [server.recv() for _ in range(6)] == [
        (5, Flag.DATA, b"to you"),
        (5, Flag.DATA, b"and again"),
        (6, Flag.DATA, b"any buffer"),
        (5, Flag.KICK, b""),
        (6, Flag.KICK, b""),
        (7, Flag.FAILURE, "für immer".encode()),
    ]


def test_text_is_no_data(firehose, server):
    with pytest.raises(TypeError):
        firehose.send(1, "text")


def test_an_echo_keeps_the_order(firehose, server):
    count = 20_000
    echoed = []

    def exchange():
        server.send_raw(b"".join(frame_tagged(number % 100, 0, b"%d" % number) for number in range(count)))
        echoed.extend(server.recv() for _ in range(count))
        firehose.stop()

    exchanging = threading.Thread(target=exchange)
    exchanging.start()
    for packet in firehose:
        packet.reply(packet.data)
    exchanging.join()
    assert echoed == [(number % 100, Flag.DATA, b"%d" % number) for number in range(count)]


class CountedSends:
    """A socket that counts its sends."""

    def __init__(self, sock):
        self.sock = sock
        self.sends = []

    def send(self, data, flags):
        self.sends.append(len(data))
        return self.sock.send(data, flags)

    def __getattr__(self, name):
        return getattr(self.sock, name)


def test_a_batch_goes_out_in_one_send(firehose, connect):
    server, link = connect()
    counted = link._socket = CountedSends(link._socket)
    server.send_raw(b"".join(frame_tagged(number, 0, b"12345678") for number in range(100)))
    taken = 0
    while taken < 100:
        batch = firehose.poll(5)
        for packet in batch:
            packet.reply(packet.data)
        taken += len(batch)
        assert counted.sends == []
    firehose.poll(0)
    assert counted.sends == [100 * 21]


def test_a_large_batch_does_not_wait_for_its_end(firehose, connect):
    _, link = connect()
    counted = link._socket = CountedSends(link._socket)
    while not counted.sends:
        firehose.send(1, bytes(10_000))
        assert link.queued < 2 * serverlink.FLUSH_SIZE


# Several servers


def test_the_same_id_on_two_servers_are_two_clients(firehose, connect):
    (one, _), (two, _) = connect(), connect()
    one.send(5, b"one")
    two.send(5, b"two")
    packets = []
    while len(packets) < 2:
        packets += firehose.poll(5)
    for packet in packets:
        packet.reply(b"to " + packet.data)
    firehose.flush()
    assert (one.recv(), two.recv()) == ((5, Flag.DATA, b"to one"), (5, Flag.DATA, b"to two"))


def test_without_a_link_it_goes_to_where_the_client_was_last_heard_of(firehose, connect):
    (one, _), (two, second) = connect(), connect()
    two.send(5, b"here")
    assert take(firehose, 1)
    assert firehose.send(5, b"for two")
    one.send(5, b"", Flag.RECONNECTION)
    assert take(firehose, 1)
    assert firehose.send(5, b"for one")
    assert firehose.send(5, b"asked for", link=second)
    firehose.flush()
    assert two.recv() == (5, Flag.DATA, b"for two")
    assert two.recv() == (5, Flag.DATA, b"asked for")
    assert one.recv() == (5, Flag.DATA, b"for one")


def test_a_late_datagram_does_not_say_where_a_client_is(firehose, connect):
    (one, _), (two, _) = connect(), connect()
    one.send(5, b"", Flag.DATAGRAM)
    assert take(firehose, 1)
    two.send(5, b"", Flag.RECONNECTION)
    assert take(firehose, 1)
    one.send(5, b"late", Flag.DATAGRAM)
    assert take(firehose, 1)
    assert firehose.datagram(5, b"for two")
    firehose.flush()
    assert two.recv() == (5, Flag.DATAGRAM, b"for two")


def test_a_client_that_no_one_knows(firehose, connect):
    """With one server it is that one's to say so; with several there is nowhere to ask."""
    server, _ = connect()
    assert firehose.send(5, b"")
    connect()
    assert not firehose.send(6, b"")
    server.send(5, b"here")
    server.send(5, b"gone", Flag.FAILURE)
    assert len(take(firehose, 2)) == 2
    assert not firehose.send(5, b"")
    server.send(7, b"here")
    assert take(firehose, 1)
    assert firehose.kick(7)
    assert not firehose.kick(7)


def test_with_no_server_it_goes_nowhere(firehose):
    assert not firehose.send(5, b"")
    assert not firehose.kick(5)
    assert not firehose.fail(5, "why")


def test_what_an_old_link_brings_late_says_nothing_of_where_a_client_is(firehose, connect):
    """It has resumed elsewhere: that is where answers go, and the end of the old link is not its end."""
    (one, _), (two, _) = connect(), connect()
    one.send(5, b"1")
    assert len(take(firehose, 1)) == 1
    two.send(5, b"", Flag.RECONNECTION)
    assert len(take(firehose, 1)) == 1
    one.send(5, b"late")
    assert take(firehose, 1) == [(5, Flag.DATA, b"late")]
    assert firehose.send(5, b"down")
    firehose.flush()
    assert two.recv() == (5, Flag.DATA, b"down")
    one.send(6, b"6")
    assert len(take(firehose, 1)) == 1
    one.close()
    assert take(firehose, 1) == [lost(6)]


def test_a_lost_link_leaves_the_rest_alone(firehose, connect):
    (one, first), (two, second) = connect(), connect()
    one.send(5, b"last words")
    one.close()
    words, end = poll_for(firehose, 2)
    turn_until(firehose, lambda: firehose.links == (second,), "the loss")
    assert words.data == b"last words" and end[:3] == lost(5) and words.link is end.link is first
    assert not first.open and not words.reply(b"too late") and not end.reply(b"too late")
    two.send(6, b"still here")
    assert take(firehose, 1) == [(6, Flag.DATA, b"still here")]
    assert firehose.send(5, b"5 is now unknown: for the only link"), "one link is left, so that one"
    firehose.flush()
    assert two.recv()[0] == 5


def test_a_reset_link_is_lost(firehose, connect):
    server, _ = connect()
    server.reset()
    turn_until(firehose, lambda: not firehose.links, "the loss")


def test_what_a_server_sent_before_it_went_is_read_although_it_takes_no_more(firehose, connect):
    server, link = connect()

    class Broken:
        def send(self, data, flags):
            raise OSError(errno.EPIPE, "Broken pipe")

        def __getattr__(self, name):
            return getattr(sock, name)

    sock, link._socket = link._socket, Broken()
    server.send(5, b"last words")
    firehose.send(5, b"")
    firehose.flush()
    assert link.queued == 0 and not firehose.send(5, b"")
    assert take(firehose, 1) == [(5, Flag.DATA, b"last words")]
    server.close()
    assert take(firehose, 1) == [lost(5)]
    turn_until(firehose, lambda: not firehose.links, "the loss")


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<I", 0),
        struct.pack("<IQ", 8, 1),
        struct.pack("<I", LIMIT + 1),
        frame_tagged(1, 5, b"data"),
        frame_tagged(1, 255),
    ],
    ids=["empty", "no flag", "too large", "flag 5", "flag 255"],
)
@pytest.mark.parametrize("step", [1, 1000], ids=["byte by byte", "whole"])
def test_a_server_that_breaks_the_protocol_is_dropped_alone(firehose, connect, raw, step):
    (bad, link), (good, _) = connect(), connect()
    bad.send(5, b"before")
    assert take(firehose, 1)
    bad.send(6, b"before")
    for at in range(0, len(raw), step):
        bad.send_raw(raw[at : at + step])
    assert take(firehose, 3) == [(6, Flag.DATA, b"before"), lost(5), lost(6)]
    turn_until(firehose, lambda: not link.open, "the loss")
    with pytest.raises((EOFError, ConnectionResetError)):
        bad.recv()
    good.send(7, b"unharmed")
    assert take(firehose, 1) == [(7, Flag.DATA, b"unharmed")]


def test_a_server_that_does_not_read_is_not_read_either_and_holds_nobody_up(firehose, connect):
    firehose.close()
    with Firehose("127.0.0.1:0", queue_limit=100_000) as small:
        lazy, good = Server(small.address), Server(small.address)
        turn_until(small, lambda: len(small.links) == 2, "the links")
        sent = received = 0
        link = None
        # Each packet is answered by a large one, which the server does not take.
        while link is None or not link._paused:
            lazy.send(5, b"%d" % sent)
            sent += 1
            for packet in small.poll(1.0):
                received += 1
                link = packet.link
                packet.reply(packet.data + bytes(50_000))
        for _ in range(10):
            lazy.send(5, b"%d" % sent)
            sent += 1
        good.send(6, b"hello")
        (packet,) = small.poll(5)
        assert packet[:3] == (6, Flag.DATA, b"hello"), "nothing was read of the one that does not read"
        packet.reply(b"welcome")
        small.flush()
        assert good.recv() == (6, Flag.DATA, b"welcome")
        assert small.poll(0.02) == []
        # It begins to read: all comes, in order.
        answers = []
        reading = threading.Thread(target=lambda: answers.extend(lazy.recv()[2].rstrip(b"\0") for _ in range(sent)))
        reading.start()
        while received < sent:
            for packet in small.poll(5):
                received += 1
                packet.reply(packet.data + bytes(50_000))
        turn_until(small, lambda: not reading.is_alive(), "the answers")
        assert answers == [b"%d" % number for number in range(sent)]
        assert not link._paused
        lazy.close()
        good.close()


def test_what_is_remembered_of_clients_is_bounded(firehose, server, monkeypatch):
    monkeypatch.setattr(firehose_module, "SEEN_LIMIT", 10)
    for client_id in range(100):
        server.send(client_id)
        assert take(firehose, 1)
    assert len(firehose._shared.seen) <= 10
    assert 99 in firehose._shared.seen
    server.close()
    while firehose.links:
        firehose.poll(1)
    assert 99 in firehose._shared.over
    firehose._shared.over.update(dict.fromkeys(range(100, 200)))
    firehose.poll(0)
    assert list(firehose._shared.over) == list(range(195, 200))


# Loops


def test_a_loop_left_early_loses_nothing(firehose, server):
    server.send_raw(b"".join(frame_tagged(number, 0) for number in range(10)))
    got = []
    for packet in firehose:
        got.append(packet.client_id)
        if len(got) == 3:
            break
    got += [packet.client_id for packet in firehose.poll(5)]
    while len(got) < 10:
        got += [packet.client_id for packet in firehose.poll(5)]
    assert got == list(range(10))


def test_poll_gives_up_in_time_and_0_does_not_wait(firehose, server):
    assert firehose.poll(0) == []
    assert firehose.poll(0.01) == []
    server.send(1)
    assert len(firehose.poll(5)) == 1


def test_it_can_be_waited_for_from_outside(firehose, server):
    if not hasattr(select, "epoll") and not hasattr(select, "kqueue"):
        pytest.skip("needs epoll or kqueue")
    assert not select.select([firehose], [], [], 0)[0]
    server.send(1, b"hi")
    assert select.select([firehose], [], [], 5)[0]
    assert len(firehose.poll(0)) == 1


def test_stop_ends_a_waiting_loop_from_another_thread(firehose):
    ended = threading.Event()

    def loop():
        assert list(firehose) == []
        ended.set()

    looping = threading.Thread(target=loop)
    looping.start()
    firehose.stop()
    looping.join(10)
    assert ended.is_set()


def test_stop_comes_behind_the_packets_received(firehose, server):
    server.send_raw(b"".join(frame_tagged(number, 0) for number in range(3)))
    select.select([firehose], [], [], 5)
    got = []
    for packet in firehose:
        got.append(packet.client_id)
        firehose.stop()
    assert got == [0, 1, 2]
    assert firehose.poll() == []


def test_close_within_the_loop_ends_it(firehose, server):
    server.send_raw(b"".join(frame_tagged(number, 0) for number in range(3)))
    got = []
    for packet in firehose:
        got.append(packet.client_id)
        firehose.close()
        assert not packet.reply(b"too late")
    assert got == [0]
    assert firehose.poll(0) == [] and firehose.links == ()


def test_close_within_a_hook_ends_it():
    with Firehose("127.0.0.1:0") as firehose:
        firehose.on_link = lambda link: firehose.close()
        one, two = Server(firehose.address), Server(firehose.address)
        assert list(firehose) == []
        one.close()
        two.close()


def test_close_sends_what_is_queued_though_packets_were_left_unread(firehose, connect):
    server, _ = connect()
    server.send(5, b"one")
    (packet,) = firehose.poll(5)
    server.send(5, b"never read")
    answer = bytes(1_000_000)
    packet.reply(answer)
    received = []
    receiving = threading.Thread(target=lambda: received.append(server.recv()))
    receiving.start()
    firehose.close(timeout=10)
    receiving.join(10)
    assert received == [(5, Flag.DATA, answer)]


def test_close_does_not_wait_for_ever(firehose, connect):
    _, link = connect()
    while not link.waiting:
        firehose.send(5, bytes(100_000))
    firehose.close(timeout=0.01)
    firehose.close()
    firehose.stop()


# Links coming and going


def test_hooks_frame_the_packets_of_a_link():
    said = []
    with Firehose(
        "127.0.0.1:0",
        on_link=lambda link: said.append(("link", link)),
        on_link_lost=lambda link: said.append(("lost", link)),
    ) as firehose:
        server = Server(firehose.address)
        server.send(1)
        server.send(2)
        server.close()
        for packet in firehose:
            said.append((packet.client_id, packet.link))
            if packet[:3] == lost(2):
                break
        wait_until(lambda: firehose.poll(0) or said[-1][0] == "lost", "the loss")
    assert [what for what, _ in said] == ["link", 1, 2, 1, 2, "lost"]
    assert len({link for _, link in said}) == 1


def test_a_lost_link_fails_the_clients_it_has_and_no_others(firehose, connect):
    (one, _), (two, _) = connect(), connect()
    for client_id in range(1, 7):
        one.send(client_id)
    assert len(take(firehose, 6)) == 6
    one.send(2, b"Client disconnected", Flag.FAILURE)
    assert len(take(firehose, 1)) == 1
    assert firehose.kick(3)
    two.send(4, b"", Flag.RECONNECTION)  # it has come back by another way, before anybody knows that this one is lost
    assert len(take(firehose, 1)) == 1
    one.close()
    assert take(firehose, 3) == [lost(1), lost(5), lost(6)]
    two.send(4, b"still here")
    assert take(firehose, 1) == [(4, Flag.DATA, b"still here")]


def test_who_comes_again_comes_behind_the_failure_however_much_is_read_at_once(firehose, connect):
    """All is there before the loop looks: the end of the old link, the new one, and what it has to say."""
    old, _ = connect()
    old.send(1)
    assert len(take(firehose, 1)) == 1
    new, _ = connect()
    old.close()
    new.send(1, b"", Flag.RECONNECTION)
    packets = take(firehose, 1)
    if packets != [(1, Flag.RECONNECTION, b"")]:  # heard of on the new link first: then the old one's end is not its
        packets += take(firehose, 1)
        assert packets == [lost(1), (1, Flag.RECONNECTION, b"")]
    new.send(2)
    assert take(firehose, 1) == [(2, Flag.DATA, b"")]


def test_who_has_failed_with_its_link_fails_no_second_time(firehose, connect):
    """It was stale when the link was lost, say, and its time is over now; or somebody has sent to it all the same."""
    old, _ = connect()
    for client_id in range(1, 4):
        old.send(client_id)
    assert len(take(firehose, 3)) == 3
    old.close()
    assert take(firehose, 3) == [lost(1), lost(2), lost(3)]
    new, _ = connect()
    new.send(1, b"Client disconnected", Flag.FAILURE)
    new.send(1, b"Client not found", Flag.FAILURE)
    new.send(2, b"", Flag.RECONNECTION)
    new.send(2, b"Client disconnected", Flag.FAILURE)
    new.send(2, b"Client not found", Flag.FAILURE)
    new.send(9, b"Client not found", Flag.FAILURE)
    assert take(firehose, 4) == [
        (2, Flag.RECONNECTION, b""),
        (2, Flag.FAILURE, b"Client disconnected"),
        (2, Flag.FAILURE, b"Client not found"),
        (9, Flag.FAILURE, b"Client not found"),
    ]
    assert firehose.kick(3)
    new.send(3, b"Client not found", Flag.FAILURE)
    assert take(firehose, 1) == [(3, Flag.FAILURE, b"Client not found")]


def test_a_dictionary_by_id_is_right(firehose, connect):
    """What a loop keeps until a failure is never another client's, and never too much."""
    there = {}

    def loop(count):
        for packet in poll_for(firehose, count):
            if packet.is_failure:
                del there[packet.client_id]
            else:
                there.setdefault(packet.client_id, packet.link)

    for first_id in (1, 1000, 1):  # the last one begins again with 1, as servers once did
        server, link = connect()
        for client_id in range(first_id, first_id + 5):
            server.send(client_id)
        loop(5)
        assert set(there) == set(range(first_id, first_id + 5)) and set(there.values()) == {link}
        server.reset()
        loop(5)
        assert there == {}


def test_no_descriptors_left_does_not_spin(firehose, monkeypatch):
    monkeypatch.setattr(firehose_module, "ACCEPT_PAUSE_SECS", 0.05)
    tries = []

    class Exhausted:
        def accept(self):
            tries.append(1)
            if len(tries) < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return listener.accept()

        def __getattr__(self, name):
            return getattr(listener, name)

    listener, firehose._listener = firehose._listener, Exhausted()
    server = Server(firehose.address)
    for _ in range(20):
        firehose.poll(0)
    assert len(tries) == 1
    server.send(1, b"hi")
    assert take(firehose, 1) == [(1, Flag.DATA, b"hi")]
    assert len(tries) == 3
    server.close()


def test_close_while_accepting_is_paused(firehose, monkeypatch):
    class Exhausted:
        def accept(self):
            raise OSError(errno.EMFILE, "Too many open files")

        def __getattr__(self, name):
            return getattr(listener, name)

    listener, firehose._listener = firehose._listener, Exhausted()
    server = Server(firehose.address)
    wait_until(lambda: firehose.poll(0) or firehose._accept_again, "the pause")
    firehose.close()
    server.close()


def test_a_listener_that_another_process_has_shut_down_does_not_spin(firehose, monkeypatch, caplog):
    """Accepting from it fails at once, and for ever; it is said once, until it is over."""
    monkeypatch.setattr(firehose_module, "ACCEPT_PAUSE_SECS", 0.05)
    shared, tries = firehose._listener.dup(), []

    class Counted:
        def accept(self):
            tries.append(1)
            return listener.accept()

        def __getattr__(self, name):
            return getattr(listener, name)

    listener, firehose._listener = firehose._listener, Counted()
    shared.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: firehose.poll(0.01) or len(tries) > 3, "some attempts")
    said = [message for message in caplog.messages if message.startswith("cannot accept a connection server")]
    assert said == ["cannot accept a connection server: [Errno 22] Invalid argument"]
    before = len(tries)
    for _ in range(50):
        firehose.poll(0)
    assert len(tries) <= before + 2
    shared.listen()
    server = Server(local_address(shared))
    server.send(1, b"hi")
    assert take(firehose, 1) == [(1, Flag.DATA, b"hi")]
    server.close()
    shared.close()


class Recorder(Handler):
    def __init__(self):
        self.said = []

    def on_link(self, link):
        self.said.append("link")

    def on_data(self, packet):
        self.said.append(("data", packet.client_id, packet.data))

    def on_datagram(self, packet):
        self.said.append(("datagram", packet.client_id, packet.data))

    def on_failure(self, packet):
        self.said.append(("failure", packet.client_id, packet.reason))

    def on_reconnection(self, packet):
        self.said.append(("reconnection", packet.client_id))

    def on_link_lost(self, link):
        self.said.append("lost")
        self.stop()


def test_a_handler_hears_of_everything(firehose):
    handler = Recorder()
    server = Server(firehose.address)
    server.send(1, b"hi")
    server.send(1, b"here", Flag.DATAGRAM)
    server.send(2, b"", Flag.RECONNECTION)
    server.send(3, b"", Flag.KICK)
    server.send(4, b"why", Flag.FAILURE)
    server.close()
    handler.run(firehose)
    assert handler.said == [
        "link",
        ("data", 1, b"hi"),
        ("datagram", 1, b"here"),
        ("reconnection", 2),
        ("failure", 4, "why"),
        ("failure", 1, LINK_LOST),
        ("failure", 2, LINK_LOST),
        ("failure", 3, LINK_LOST),
        "lost",
    ]


def test_a_handler_that_overrides_nothing_serves(tmp_path):
    handler = Handler()
    address = f"unix:{tmp_path}/s"
    serving = threading.Thread(target=handler.serve, args=(address,))
    serving.start()
    wait_until(lambda: hasattr(handler, "firehose"), "it to serve")
    server = Server(handler.firehose.address)
    for flag in Flag:
        server.send(1, b"", flag)
    server.close()
    handler.stop()
    serving.join(10)
    assert not serving.is_alive()


# Addresses


def test_the_bound_address(firehose):
    assert firehose.address.port != 0
    assert str(firehose.address) in repr(firehose)


def test_a_port_in_use(firehose):
    with pytest.raises(StartupError, match=str(firehose.address)) as caught:
        Firehose(firehose.address)
    assert caught.value.exit_code == 3


def test_a_wrong_address():
    with pytest.raises(ConfigError):
        Firehose("nothing")


@pytest.mark.parametrize("host", ["*", "localhost", "[::1]"])
def test_other_addresses(host):
    try:
        firehose = Firehose(f"{host}:0")
    except StartupError:
        if host == "[::1]":
            pytest.skip("no IPv6 here")
        raise
    with firehose, socket.create_connection((host.strip("[]*") or "127.0.0.1", firehose.address.port)) as sock:
        sock.sendall(RAW)
        assert take(firehose, len(STREAM)) == STREAM


def test_a_unix_socket_is_removed_at_the_end(tmp_path):
    path = tmp_path / "s"
    with Firehose(f"unix:{path}") as firehose:
        server = Server(firehose.address)
        server.send(1, b"hi")
        (packet,) = firehose.poll(5)
        assert packet.data == b"hi" and packet.link.peer == f"unix:{path}"
        server.close()
    assert not path.exists()


@pytest.mark.parametrize("successor", [True, False])
def test_what_has_got_the_name_of_a_unix_socket_meanwhile_is_not_removed(tmp_path, successor):
    path = tmp_path / "s"
    first = Firehose(f"unix:{path}")
    path.unlink()
    if successor:
        with Firehose(f"unix:{path}") as second:
            first.close()
            server = Server(second.address)
            server.send(1, b"hi")
            assert take(second, 1) == [(1, Flag.DATA, b"hi")]
            server.close()
    else:
        path.write_text("data")
        first.close()
        assert path.read_text() == "data"


def test_an_abandoned_unix_socket_is_replaced(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(path)
    Firehose(f"unix:{path}").close()


def test_a_unix_socket_in_use_is_not(tmp_path):
    with Firehose(f"unix:{tmp_path}/s") as firehose:
        with pytest.raises(StartupError, match="in use"):
            Firehose(firehose.address)
        server = Server(firehose.address)
        server.send(1, b"hi")
        assert take(firehose, 1) == [(1, Flag.DATA, b"hi")]
        server.close()


def test_a_file_is_not_removed_for_a_unix_socket(tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartupError):
        Firehose(f"unix:{path}")
    assert stat.S_ISREG(path.stat().st_mode) and path.read_text() == "data"


class TestMoved:
    """Of several servers another one has a client: a packet to it was lost by way of the one that it has left."""

    def test_it_is_no_end_of_a_client(self, firehose, connect):
        (old, old_link), (new, new_link) = connect(), connect()
        old.send(1, b"here")
        assert take(firehose, 1) == [(1, Flag.DATA, b"here")]
        new.send(1, b"", Flag.RECONNECTION)
        assert take(firehose, 1) == [(1, Flag.RECONNECTION, b"")]
        old.send(1, b"Client moved", Flag.FAILURE)
        (packet,) = poll_for(firehose, 1)
        assert packet.is_undelivered and not packet.is_failure and packet.link is old_link
        assert firehose.send(1, b"there")
        firehose.flush()
        assert new_link.open and new.recv() == (1, Flag.DATA, b"there")

    def test_nor_before_it_was_heard_of_elsewhere(self, firehose, server):
        server.send(1, b"here")
        server.send(1, b"Client moved", Flag.FAILURE)
        assert [packet.is_failure for packet in poll_for(firehose, 2)] == [False, False]
        assert firehose.send(1, b"still by the old one")

    def test_a_handler_hears_of_it_apart(self, firehose):
        class Undelivered(Recorder):
            def on_undelivered(self, packet):
                self.said.append(("undelivered", packet.client_id))

        handler = Undelivered()
        server = Server(firehose.address)
        server.send(4, CLIENT_MOVED.encode(), Flag.FAILURE)
        server.close()
        handler.run(firehose)
        assert handler.said == ["link", ("undelivered", 4), "lost"]
