"""What is kept until it is safe, against a plain list of frames: what is sent, what is safe, memory to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from kit.frames import join, split

from voltlane.core.budget import CHUNK_COST, QUEUE_COST, Budget
from voltlane.core.retention import Retention

payloads = some.lists(some.binary(max_size=12), min_size=1, max_size=5)


class Model(RuleBasedStateMachine):
    """Chunks as lists of frames, and two positions among all the frames that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget()
        self.kept = Retention(self.budget, "owner")
        self.chunks: list[list[bytes]] = []
        self.sent = 0
        """Bytes of them that were sent."""
        self.safe = 0
        """Frames of the first chunk that are safe."""

    def frames(self) -> list[bytes]:
        return [frame for chunk in self.chunks for frame in chunk]

    def whole(self) -> int:
        """Frames that were sent in whole."""
        left, count = self.sent, 0
        for frame in self.frames():
            left -= len(frame)
            if left < 0:
                break
            count += 1
        return count

    def unsent(self) -> bytes:
        return b"".join(self.frames())[self.sent :]

    def at_a_beginning(self) -> bool:
        return sum(map(len, self.frames()[: self.whole()])) == self.sent

    # ---- what may happen

    @rule(payloads=payloads, counted=some.booleans())
    def append(self, payloads: list[bytes], counted: bool) -> None:
        self.kept.append(join(payloads), len(payloads) if counted else -1)
        self.chunks.append([join([payload]) for payload in payloads])

    @precondition(lambda self: not self.unsent())
    @rule(payloads=payloads)
    def add_sent(self, payloads: list[bytes]) -> None:
        self.kept.add_sent(join(payloads), len(payloads))
        self.chunks.append([join([payload]) for payload in payloads])
        self.sent += len(join(payloads))

    @precondition(lambda self: self.unsent())
    @rule(data=some.data())
    def advance(self, data: some.DataObject) -> None:
        size = data.draw(some.integers(0, len(self.unsent())))
        self.kept.advance(size)
        self.sent += size

    @precondition(lambda self: self.whole() > self.safe)
    @rule(data=some.data())
    def forget(self, data: some.DataObject) -> None:
        count = data.draw(some.integers(1, self.whole() - self.safe))
        self.kept.forget(count)
        self.safe += count
        while self.chunks and self.safe >= len(self.chunks[0]):
            gone = self.chunks.pop(0)
            self.safe -= len(gone)
            self.sent -= sum(map(len, gone))

    @precondition(lambda self: self.at_a_beginning())
    @rule(data=some.data())
    def skip(self, data: some.DataObject) -> None:
        """As at the beginning of a connection, where nothing is sent in part."""
        if self.sent:
            self.start_again()
        count = data.draw(some.integers(0, len(self.frames()) - self.whole()))
        self.kept.skip(count)
        self.sent += sum(map(len, self.frames()[:count]))

    def start_again(self) -> None:
        """What is kept goes to another connection."""
        chunks = self.kept.take()
        assert self.budget.used == 0
        self.kept = Retention(self.budget, "owner")
        for chunk, packets in chunks:
            self.kept.append(chunk, packets)
        if self.safe:
            del self.chunks[0][: self.safe]
        self.sent = self.safe = 0

    @precondition(lambda self: len(self.frames()) > self.whole())
    @rule(data=some.data())
    def span(self, data: some.DataObject) -> None:
        left = self.frames()[self.whole() :]
        count = data.draw(some.integers(0, len(left)))
        begun = self.sent - sum(map(len, self.frames()[: self.whole()]))
        assert self.kept.span(count) == sum(map(len, left[:count])) - begun

    @rule()
    def take(self) -> None:
        chunks = self.kept.take()
        assert b"".join(chunk for chunk, _ in chunks) == b"".join(self.frames()[self.safe :])
        assert [packets for _, packets in chunks] == [len(split(bytes(chunk))) for chunk, _ in chunks]
        assert self.kept.kept == self.kept.unacked == self.kept.unacked_bytes == self.kept.size == 0
        assert self.kept.take() == []
        self.chunks, self.sent, self.safe = [], 0, 0

    # ---- what must be true

    @invariant()
    def it_says_what_is_there(self) -> None:
        kept, frames = self.kept, self.frames()
        assert kept.kept == len(frames) - self.safe
        assert kept.unacked == self.whole() - self.safe
        assert kept.unacked_bytes == self.sent
        assert kept.size == len(self.unsent())
        assert bool(kept) == bool(self.unsent())
        assert kept.packets == len(frames) - self.whole()
        assert self.unsent().startswith(b"".join(kept.views()))

    @invariant()
    def memory_is_held_for_all_of_it(self) -> None:
        held = QUEUE_COST + sum(sum(map(len, chunk)) + CHUNK_COST for chunk in self.chunks) if self.chunks else 0
        assert self.kept.held == self.kept.memory == self.budget.used == held


TestModel = Model.TestCase


def filled(*chunks: list[bytes]) -> Retention:
    kept = Retention()
    for payloads in chunks:
        kept.append(join(payloads), len(payloads))
    return kept


def test_what_was_cut_goes_out_again_whole():
    kept = filled([b"one", b"two"], [b"three"])
    kept.advance(9)
    assert kept.unacked == 1 and kept.unacked_bytes == 9
    assert kept.take() == [(join([b"one", b"two"]), 2), (join([b"three"]), 1)]


def test_what_is_safe_of_the_first_chunk_is_left_out():
    kept = filled([b"one", b"two", b"three"], [b"four"])
    kept.advance(16)
    kept.forget(2)
    assert kept.kept == 2 and kept.unacked == 0
    assert kept.take() == [(join([b"three"]), 1), (join([b"four"]), 1)]


def test_all_of_a_chunk_that_is_partly_safe_is_held():
    kept = filled([bytes(1000), bytes(1000)])
    kept.advance(kept.size)
    held = kept.held
    kept.forget(1)
    assert kept.held == held
    kept.forget(1)
    assert kept.held == 0


def test_limits_count_what_is_unsent_only():
    kept = filled([bytes(1000)] * 5)
    kept.exempt(1004)
    assert kept.counted == 1004
    kept.advance(1004)
    assert kept.size == 4016 and kept.counted == 1004, "of the replay less is left"
    kept.advance(4016)
    assert kept.counted == 0 and kept.kept == 5


def test_what_is_sent_at_once_stands_behind_what_was_sent():
    kept = filled([b"one"])
    kept.advance(7)
    kept.add_sent(join([b"two", b"three"]), 2)
    assert kept.unacked == 3 and not kept.size
    kept.forget(2)
    kept.append(join([b"four"]), 1)
    assert kept.take() == [(join([b"three"]), 1), (join([b"four"]), 1)]


@given(some.lists(payloads, max_size=6), some.data())
def test_skipping_is_sending(chunks: list[list[bytes]], data: some.DataObject):
    frames = [payload for chunk in chunks for payload in chunk]
    count = data.draw(some.integers(0, len(frames)))
    kept = filled(*chunks)
    kept.skip(count)
    assert kept.unacked == count and kept.kept == len(frames)
    rest = b""
    while kept.size:
        view = b"".join(kept.views())
        rest += view
        kept.advance(len(view))
    assert rest == join(frames[count:])
    assert kept.unacked == len(frames)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5])
def test_an_empty_packet_counts(size: int):
    kept = filled([b"", b"x", b""])
    kept.advance(size)
    assert kept.unacked == (size >= 4)


@given(some.lists(payloads, min_size=1, max_size=5), some.data())
def test_the_first_bytes_of_what_is_unsent(chunks: list[list[bytes]], data: some.DataObject):
    """In one piece, and no more of it is copied than was asked for."""
    kept = Retention()
    for chunk in chunks:
        kept.append(join(chunk), len(chunk))
    rest = b"".join(map(join, chunks))
    while rest:
        most = data.draw(some.integers(1, len(rest) + 3))
        first = kept.first(most)
        assert first == rest[:most]
        assert first.obj in kept._chunks[0] or len(first.obj) == len(first)
        kept.advance(len(first))
        rest = rest[most:]
