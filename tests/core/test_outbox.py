"""The outbox against a list of frames: what is written in part, what is left, what the limits say."""

from __future__ import annotations

import random

import pytest
from kit.frames import join, split

from voltlane.core.outbox import MOST_VIEWS, Outbox, Verdict


class Model:
    """The frames of an outbox as (frame, is it data), and how many bytes of the first are written."""

    def __init__(self) -> None:
        self.outbox = Outbox()
        self.frames: list[tuple[bytes, bool]] = []
        self.written = 0

    def append(self, payloads: list[bytes], *, data: bool = True, count: bool = True, written: int = 0) -> None:
        chunk = join(payloads)
        self.outbox.append(chunk, (len(payloads) if count else -1) if data else 0, written)
        self.frames += [(join([payload]), data) for payload in payloads]
        self._write(written)

    def advance(self, size: int) -> None:
        self.outbox.advance(size)
        self._write(size)

    def _write(self, size: int) -> None:
        self.written += size
        while self.frames and self.written >= len(self.frames[0][0]):
            self.written -= len(self.frames.pop(0)[0])

    @property
    def bytes_left(self) -> bytes:
        return b"".join(frame for frame, _ in self.frames)[self.written :]

    def check(self) -> None:
        outbox, left = self.outbox, self.bytes_left
        assert outbox.size == len(left)
        assert bool(outbox) == bool(left)
        views = outbox.views()
        assert len(views) <= MOST_VIEWS
        assert left.startswith(b"".join(views)) and (not left or b"".join(views))
        packets = sum(data for _, data in self.frames)
        assert outbox.packets == packets
        assert outbox.packets_at_most >= packets

    def expect_taken(self) -> None:
        """The frames not written in full, the first of them whole; conversation is left out."""
        taken = self.outbox.take()
        assert b"".join(chunk for chunk, _ in taken) == b"".join(frame for frame, data in self.frames if data)
        assert all(packets == len(split(bytes(chunk))) for chunk, packets in taken)
        assert not self.outbox and self.outbox.packets == 0 and self.outbox.take() == []


def payloads(random_: random.Random, most: int = 6) -> list[bytes]:
    return [random_.randbytes(random_.choice([0, 0, 1, 3, 40, 500])) for _ in range(random_.randint(1, most))]


@pytest.mark.parametrize("seed", range(40))
def test_random_operations(seed: int):
    random_ = random.Random(seed)
    model = Model()
    if random_.random() < 0.3:
        model.append([b"\x00"], data=False)
    elif random_.random() < 0.5:
        first = payloads(random_)
        model.append(first, written=random_.randrange(len(join(first))))
    for _ in range(120):
        if random_.random() < 0.4:
            model.append(payloads(random_), count=random_.random() < 0.5)
        elif model.outbox.size:
            most = random_.choice([1, 5, 100, model.outbox.size])
            model.advance(random_.randint(0, min(most, model.outbox.size)))
        model.check()
    model.expect_taken()


def test_cut_at_every_byte():
    """Wherever the peer was lost, what it had not taken whole is there whole, once and in order."""
    chunks = [[b"one", b"", b"three"], [b"four"], [b"", b"six"]]
    total = sum(len(join(chunk)) for chunk in chunks)
    for cut in range(total + 1):
        model = Model()
        for chunk in chunks:
            model.append(chunk)
        model.advance(cut)
        model.check()
        model.expect_taken()


def test_a_first_chunk_that_was_written_in_part():
    chunk = [b"abc", b"defg"]
    for written in range(len(join(chunk))):
        model = Model()
        model.append(chunk, written=written)
        model.check()
        model.expect_taken()


def test_conversation_is_written_but_never_taken():
    """A handshake's answer concerns one connection: the next one must not get it as data."""
    for cut in range(5):
        model = Model()
        model.append([b"\x00"], data=False)
        model.append([b"missed"])
        model.advance(cut)
        model.check()
        model.expect_taken()


@pytest.mark.parametrize("cut", range(6))
def test_prepend_after_rewind(cut: int):
    """The trunk's way: rewind when the master is lost, put the notices in front when it is back."""
    outbox = Outbox()
    outbox.append(join([b"a", b"bc"]), 2)
    outbox.advance(cut)
    outbox.rewind()
    outbox.prepend(join([b"notice"]), 1)
    left = [b"bc"] if cut >= 5 else [b"a", b"bc"]
    assert split(b"".join(map(bytes, outbox.views()))) == [b"notice", *left]
    assert outbox.packets == 1 + len(left) and outbox.size == len(join([b"notice", *left]))
    outbox.rewind()
    assert outbox.packets == 1 + len(left)


def test_more_chunks_than_one_gathering_write_takes():
    outbox = Outbox()
    for number in range(3 * MOST_VIEWS):
        outbox.append(join([number.to_bytes(4, "big")]), 1)
    received = b""
    outbox.advance(0)
    while outbox:
        sent = b"".join(map(bytes, outbox.views()))[:-1] or b"".join(map(bytes, outbox.views()))
        received += sent
        outbox.advance(len(sent))
    assert split(received) == [number.to_bytes(4, "big") for number in range(3 * MOST_VIEWS)]


# ---- limits


def test_the_byte_limit_is_hard_and_the_packet_limit_soft():
    outbox = Outbox()
    outbox.append(join([b"x" * 96] * 3), 3)
    assert outbox.judge(3, 0, 300) is Verdict.FINE
    assert outbox.judge(2, 0, 300) is Verdict.SLOW
    assert outbox.judge(3, 0, 299) is Verdict.FULL
    assert outbox.judge(2, 0, 299) is Verdict.FULL


def test_a_soft_limit_in_bytes():
    outbox = Outbox()
    outbox.append(join([b"x" * 96] * 3), 3)
    assert outbox.judge(9, 300, 400) is Verdict.FINE
    assert outbox.judge(9, 299, 400) is Verdict.SLOW
    assert outbox.judge(9, 299, 299) is Verdict.FULL
    outbox.exempt()
    assert outbox.judge(9, 1, 400) is Verdict.FINE, "a replay does not count"


def test_packets_written_in_full_do_not_count_though_their_chunk_is_still_there():
    outbox = Outbox()
    outbox.append(join([b"x"] * 10), 10)
    outbox.advance(5 * 5 - 1)
    assert outbox.packets == 6 and outbox.judge(6, 0, 1000) is Verdict.FINE
    assert outbox.judge(5, 0, 1000) is Verdict.SLOW
    outbox.advance(1)
    assert outbox.judge(5, 0, 1000) is Verdict.FINE


def test_a_replay_is_as_long_as_it_is():
    outbox = Outbox()
    outbox.append(join([b"x" * 96] * 50), 50)
    outbox.exempt()
    assert outbox.judge(10, 0, 300) is Verdict.FINE
    outbox.append(join([b"y" * 96] * 4), 4)
    assert outbox.judge(10, 0, 400) is Verdict.FINE
    assert outbox.judge(10, 0, 399) is Verdict.FULL, "what came behind the replay counts"
    outbox.advance(4999)
    assert outbox.judge(3, 0, 400) is Verdict.FINE, "the replay is not through yet"
    outbox.advance(1)
    assert outbox.judge(3, 0, 400) is Verdict.SLOW
    assert outbox.judge(4, 0, 399) is Verdict.FULL


def test_rewind_drops_what_was_for_this_peer_alone():
    """Notices that a master did not take are not kept for the next one, which gets its own."""
    outbox = Outbox()
    outbox.append(join([b"data"]), 1)
    outbox.prepend(join([b"notice", b"notice"]), 0)
    for written in (0, 3, 10, 17):
        outbox.advance(written)
        outbox.rewind()
        assert outbox.size == len(join([b"data"])) and outbox.packets == 1
        outbox.prepend(join([b"notice", b"notice"]), 0)
    outbox.rewind()
    outbox.prepend(b"", 0)
    assert outbox.take() == [(join([b"data"]), 1)]
