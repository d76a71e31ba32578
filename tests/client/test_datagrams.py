"""Datagrams without a socket, on a clock of the test's: asking, paths, pings, figures, and everything that may come."""

from __future__ import annotations

import random

import pytest
from kit.clock import FakeClock
from kit.model_datagrams import KEEPALIVE, ModelDatagrams
from kit.vectors import cuts

from voltlane.client.datagrams import AGAIN_SECS, INBOX_PACKETS, MEASURE_SECS, PROBE_SECS, Datagrams, Stage
from voltlane.wire import v3
from voltlane.wire.datagram import OLD_KEYS_SECS, SMALLEST, WINDOW, Kind
from voltlane.wire.v3 import NO_DATAGRAMS, decode_datagrams

SECRET = b"s" * 32
HERE, THERE = ("192.0.2.1", 1), ("192.0.2.9", 7)


class Pair:
    """A client's datagrams and the model of a server's, with a way of a length between them."""

    def __init__(self, keyed: bool = True) -> None:
        self.clock = FakeClock()
        self.server = ModelDatagrams(self.clock)
        self.client = Datagrams()
        self.way = 0.0
        self.source = HERE
        if keyed:
            self.ask()

    def ask(self) -> None:
        self.client.want(self.clock())
        assert self.client.stage is Stage.WANTED
        body = self.server.answer(SECRET, self.client.ask(SECRET))
        self.client.answered(decode_datagrams(body), self.clock())

    def up(self, datagram: bytes) -> None:
        """To the server, and what it says to that back."""
        self.clock.pass_(self.way)
        answers = self.server.receive(datagram, self.source)
        self.clock.pass_(self.way)
        for answer, where in answers:
            assert where == self.source
            self.client.receive(answer, self.clock())

    def exchange(self) -> None:
        while self.client.output:
            self.up(self.client.output.popleft())

    def settle(self) -> None:
        self.exchange()
        for _ in range(5):
            self.pass_to_due()
            self.exchange()

    def pass_to_due(self) -> float:
        """To when something is to be done; how long that is."""
        due = self.client.due()
        assert due is not None
        waited = due - self.clock()
        self.clock.pass_(max(0.0, waited))
        self.client.tick(self.clock())
        return waited

    def down(self, *packets: bytes) -> None:
        for packet in packets:
            self.client.receive(self.server.send(packet)[0], self.clock())

    def send(self, packet: bytes) -> bytes:
        datagram = self.client.seal(packet, self.clock())
        assert datagram is not None
        return datagram

    @property
    def received(self) -> list[bytes]:
        found = list(self.client.inbox)
        self.client.inbox.clear()
        return found


class TestAsking:
    def test_nothing_is_asked_or_sent_unasked(self):
        client = Datagrams()
        client.begin()
        assert client.stage is Stage.UNUSED and client.due() is None and client.seal(b"x", 1.0) is None
        client.receive(b"x" * 60, 1.0)
        assert not client.inbox and not client.output

    def test_keys_and_a_ping_at_once(self):
        pair = Pair()
        assert pair.client.stage is Stage.KEYED and len(pair.client.output) == 1
        assert not pair.client.began and not pair.client.link.working
        pair.exchange()
        assert pair.server.keyed.kinds == [Kind.PING, Kind.RESPONSE]
        assert pair.server.keyed.path == HERE and pair.client.began and pair.client.link.working

    def test_both_ways(self):
        pair = Pair()
        pair.exchange()
        pair.up(pair.send(b"up"))
        pair.down(b"down", b"")
        assert pair.server.taken == [b"up"] and pair.received == [b"down", b""]
        assert pair.client.link.received == 2

    def test_no_datagrams_there(self):
        pair = Pair(keyed=False)
        pair.client.want(pair.clock())
        pair.client.ask(SECRET)
        pair.client.answered(decode_datagrams(NO_DATAGRAMS), pair.clock())
        assert pair.client.stage is Stage.REFUSED and pair.client.seal(b"x", pair.clock()) is None
        pair.client.want(pair.clock())
        assert pair.client.stage is Stage.REFUSED, "it was just told"
        pair.clock.pass_(AGAIN_SECS)
        pair.ask()
        assert pair.client.stage is Stage.KEYED

    def test_no_datagrams_any_longer(self):
        pair = Pair()
        pair.settle()
        pair.client.answered(decode_datagrams(NO_DATAGRAMS), pair.clock())
        assert pair.client.seal(b"x", pair.clock()) is None and pair.client.due() is None
        assert not pair.client.link.working and pair.client.began

    def test_an_answer_that_nobody_asked_for(self):
        pair = Pair()
        pair.settle()
        body = v3.DatagramsOffer(1, 1200, 15, bytes(32), "").encode()
        pair.client.answered(decode_datagrams(body), pair.clock())
        pair.up(pair.send(b"as before"))
        assert pair.server.taken == [b"as before"]

    def test_an_mtu_without_room_is_none(self):
        pair = Pair(keyed=False)
        pair.server.mtu = SMALLEST - 1
        pair.ask()
        assert pair.client.stage is Stage.REFUSED

    def test_the_next_connection_asks_anew_and_the_old_keys_receive_for_a_while(self):
        pair = Pair()
        pair.settle()
        old = pair.server.keyed
        pair.client.begin()
        assert pair.client.stage is Stage.WANTED
        pair.up(pair.send(b"by the old keys, meanwhile"))
        pair.ask()
        late = [pair.server.seal(Kind.DATA, b"%d" % n, keyed=old) for n in range(2)]
        pair.client.receive(late[0], pair.clock())
        pair.settle()
        pair.up(pair.send(b"by the new ones"))
        assert pair.server.taken == [b"by the old keys, meanwhile", b"by the new ones"]
        assert pair.received == [b"0"]
        pair.clock.pass_(OLD_KEYS_SECS)
        pair.client.receive(late[1], pair.clock())
        assert pair.received == [] and pair.client.link.dropped == 1

    def test_an_answer_that_was_lost_with_its_connection(self):
        pair = Pair(keyed=False)
        pair.client.want(pair.clock())
        lost = pair.server.answer(SECRET, pair.client.ask(SECRET))
        pair.client.begin()
        pair.client.answered(decode_datagrams(lost), pair.clock())
        assert pair.client.stage is Stage.WANTED
        pair.ask()
        pair.exchange()
        assert pair.client.link.working

    def test_the_end(self):
        pair = Pair()
        pair.settle()
        pair.down(b"before it")
        pair.client.end()
        pair.down(b"behind it")
        assert pair.client.seal(b"x", 1.0) is None and pair.client.due() is None and not pair.client.output
        assert pair.received == [b"before it"]


class TestSizes:
    def test_the_largest(self):
        pair = Pair()
        pair.exchange()
        most = pair.client.link.most
        assert most == pair.server.mtu - SMALLEST
        pair.up(pair.send(bytes(most)))
        with pytest.raises(ValueError, match=f"{most + 1} bytes, at most {most}"):
            pair.send(bytes(most + 1))
        pair.down(bytes(most), bytes(most + 1))
        assert pair.received == [bytes(most)] and pair.client.link.dropped == 1

    def test_the_inbox_is_bounded_and_the_oldest_goes(self):
        pair = Pair()
        pair.exchange()
        pair.down(*(b"%d" % number for number in range(INBOX_PACKETS + 3)))
        assert pair.client.link.overflowed == 3
        assert pair.received == [b"%d" % number for number in range(3, INBOX_PACKETS + 3)]


class TestPings:
    def test_without_an_answer_they_go_on_ever_more_slowly(self):
        pair = Pair()
        pair.client.output.clear()
        pauses = [pair.pass_to_due() for _ in range(10)]
        assert pauses[:4] == pytest.approx([PROBE_SECS, 2 * PROBE_SECS, 4 * PROBE_SECS, 8 * PROBE_SECS])
        assert max(pauses) == KEEPALIVE and len(pair.client.output) == 10

    def test_a_response_that_was_lost_is_asked_for_again(self):
        pair = Pair()
        pair.up(pair.client.output.popleft())
        pair.client.output.clear()  # the response
        assert pair.server.keyed.path is None
        assert pair.pass_to_due() < 3 * PROBE_SECS
        pair.exchange()
        assert pair.server.keyed.path == HERE

    def test_in_silence_as_often_as_the_server_said(self):
        pair = Pair()
        pair.settle()
        assert pair.pass_to_due() == pytest.approx(KEEPALIVE)
        assert len(pair.client.output) == 1

    def test_while_packets_are_sent_each_second(self):
        pair = Pair()
        pair.settle()
        before = pair.server.keyed.kinds.count(Kind.PING)
        for _ in range(100):
            pair.clock.pass_(MEASURE_SECS / 10)
            pair.client.tick(pair.clock())
            pair.up(pair.send(b"x"))
            pair.exchange()
        assert 9 <= pair.server.keyed.kinds.count(Kind.PING) - before <= 11

    def test_a_ping_is_answered(self):
        pair = Pair()
        pair.settle()
        pair.client.receive(pair.server.seal(Kind.PING), pair.clock())
        pair.exchange()
        assert pair.server.keyed.kinds[-1] == Kind.PONG

    def test_another_address_is_challenged_and_answered_from_there(self):
        pair = Pair()
        pair.settle()
        for source in (THERE, HERE, THERE):
            pair.source = source
            pair.up(pair.send(b"from there"))
            pair.exchange()
            assert pair.server.keyed.path == source
        assert len(pair.server.taken) == 3

    @pytest.mark.parametrize("body", [b"", b"x" * 7])
    def test_a_challenge_without_words(self, body: bytes):
        pair = Pair()
        pair.settle()
        pair.client.receive(pair.server.seal(Kind.CHALLENGE, body), pair.clock())
        assert not pair.client.output

    def test_a_kind_that_nobody_knows_counts_as_received(self):
        pair = Pair()
        pair.settle()
        pair.client.receive(pair.server.seal(9, b"news"), pair.clock())
        assert not pair.client.output and not pair.received and not pair.client.link.dropped


class TestFigures:
    def test_round_trip(self):
        pair = Pair()
        pair.way = 0.05
        pair.settle()
        assert pair.client.link.round_trip == pytest.approx(0.1, abs=0.002)

    def test_jitter(self):
        pair, numbers = Pair(), random.Random(1)
        pair.settle()
        for _ in range(200):
            pair.clock.pass_(0.02)
            datagram = pair.server.send(b"x")[0]
            pair.clock.pass_(numbers.choice([0.01, 0.02]))
            pair.client.receive(datagram, pair.clock())
        assert pair.client.link.jitter == pytest.approx(0.005, abs=0.003)

    def test_losses_both_ways(self):
        pair = Pair()
        pair.settle()
        assert pair.client.link.loss_in == 0
        for number in range(400):
            pair.clock.pass_(0.02)
            pair.client.tick(pair.clock())
            datagram = pair.send(b"x")
            if number % 4:
                pair.up(datagram)
            pair.exchange()
            datagram = pair.server.send(b"y")[0]
            if number % 10:
                pair.client.receive(datagram, pair.clock())
        assert pair.client.link.loss_out == pytest.approx(250, abs=30)
        assert pair.client.link.loss_in == pytest.approx(100, abs=30)

    def test_what_comes_late_is_not_lost(self):
        pair = Pair()
        pair.settle()
        for _ in range(200):
            pair.clock.pass_(0.02)
            first, second = (pair.server.send(b"x")[0] for _ in range(2))
            pair.client.receive(second, pair.clock())
            pair.clock.pass_(MEASURE_SECS)
            pair.client.receive(first, pair.clock())
        assert pair.client.link.late == 200 and (pair.client.link.loss_in or 0) < 10

    @pytest.mark.parametrize(
        "counts", [b"", b"x" * 15, (5).to_bytes(8, "little") + (6).to_bytes(8, "little"), b"\xff" * 16]
    )
    def test_a_pong_that_says_nothing_or_what_cannot_be(self, counts: bytes):
        pair = Pair()
        pair.server.counts = False
        pair.settle()
        pair.client.receive(pair.server.seal(Kind.PONG, counts), pair.clock())
        assert pair.client.link.loss_out is None and "lost out" not in repr(pair.client.link)


class TestWhateverComes:
    def test_cut_anywhere_flipped_anywhere_and_with_more_behind(self):
        pair = Pair()
        pair.settle()
        datagram = pair.server.send(b"packet")[0]
        bad = [*cuts(datagram), datagram + b"x"]
        for bit in range(8 * len(datagram)):
            altered = bytearray(datagram)
            altered[bit // 8] ^= 1 << bit % 8
            bad.append(bytes(altered))
        for each in bad:
            pair.client.receive(each, pair.clock())
        assert not pair.client.inbox and not pair.client.output and pair.client.link.dropped == len(bad)
        pair.client.receive(datagram, pair.clock())
        assert pair.received == [b"packet"], "nothing of that has moved the window"

    def test_a_number_far_ahead_that_does_not_open_moves_nothing(self):
        pair = Pair()
        pair.settle()
        forged = pair.server.keyed.keys.id_out + (2**63).to_bytes(8, "little") + bytes(40)
        pair.client.receive(forged, pair.clock())
        pair.down(b"still here")
        assert pair.received == [b"still here"]

    def test_again_and_too_late(self):
        pair = Pair()
        pair.settle()
        kept = [pair.server.send(b"%d" % number)[0] for number in range(WINDOW + 1)]
        for datagram in (kept[1], kept[1], kept[-1], kept[0], kept[2], kept[2]):
            pair.client.receive(datagram, pair.clock())
        assert pair.received == [b"1", b"%d" % WINDOW, b"2"]
        assert pair.client.link.dropped == 3

    def test_every_order_of_a_few_and_each_again(self):
        """Each packet once, whatever the order: what opens is judged by its number alone."""
        numbers = random.Random(7)
        for _ in range(50):
            pair = Pair()
            pair.settle()
            datagrams = [pair.server.send(b"%d" % number)[0] for number in range(20)] * 3
            numbers.shuffle(datagrams)
            for datagram in datagrams:
                pair.client.receive(datagram, pair.clock())
            assert sorted(pair.received, key=int) == [b"%d" % number for number in range(20)]

    def test_ones_own(self):
        pair = Pair()
        pair.settle()
        pair.client.receive(pair.send(b"x"), pair.clock())
        assert not pair.received

    def test_anything_from_anybody(self):
        pair, numbers = Pair(), random.Random(3)
        pair.settle()
        for _ in range(2000):
            size = numbers.choice([0, 1, 15, 16, 36, 37, 60, 1200, 1201])
            pair.client.receive(numbers.randbytes(size), pair.clock())
        assert not pair.client.inbox and not pair.client.output and pair.client.link.dropped == 2000


def test_no_key_is_shown() -> None:
    pair = Pair()
    assert SECRET.decode() not in repr(pair.client._keyed) + repr(pair.client.link) + repr(pair.client.offer)
