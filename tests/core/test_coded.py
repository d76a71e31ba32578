"""The outbox that encodes: against a model that knows the frames, and reads on the wire what became of them."""

from __future__ import annotations

import random

import pytest
from kit.frames import join, split

from voltlane.core import coded
from voltlane.core.budget import CHUNK_COST, QUEUE_COST, Budget
from voltlane.core.coded import MOST_ENCODED, CodedOutbox
from voltlane.core.outbox import Chunk, Verdict

FEW = 300
"""Bytes of frames encoded at once in most tests here, so that there are many batches."""


class Netstrings:
    """Each frame as `5:hello,`; with a narrow head a small frame gets smaller than it was, with a wide one larger."""

    def __init__(self, width: int = 1, tail: bytes = b",") -> None:
        self._width = width
        self._tail = tail
        self.batches: list[list[bytes]] = []
        """The payloads of each call."""

    def one(self, payload: bytes) -> bytes:
        return b"%0*d:%b%b" % (self._width, len(payload), payload, self._tail)

    def encode(self, chunk: Chunk | memoryview) -> bytes:
        self.batches.append(split(bytes(chunk)))
        return b"".join(map(self.one, self.batches[-1]))

    def whole(self, encoded: bytes, written: int) -> int:
        position = count = 0
        while position < len(encoded):
            position = self._end(encoded, position)[1]
            count += position <= written
        return count

    def _end(self, wire: bytes, position: int) -> tuple[int, int]:
        """Where the payload begins and the netstring ends."""
        begin = wire.index(b":", position) + 1
        end = begin + int(wire[position : begin - 1]) + len(self._tail)
        return begin, end

    def read(self, wire: bytes) -> tuple[list[bytes], list[bytes]]:
        """The payloads on a wire, and what is said between them as `!words;`. Anything else is a mistake."""
        payloads, said, position = [], [], 0
        while position < len(wire):
            if wire.startswith(b"!", position):
                end = wire.index(b";", position) + 1
                said.append(wire[position:end])
            else:
                begin, end = self._end(wire, position)
                payloads.append(wire[begin : end - len(self._tail)])
                assert wire[position:end] == self.one(payloads[-1])
            position = end
        return payloads, said


CODERS = {"smaller": lambda: Netstrings(), "larger": lambda: Netstrings(20, b",\r\n\r\n")}
"""By what becomes of a small frame."""


def size_of(payloads: list[bytes]) -> int:
    return len(join(payloads))


class Model:
    """What was queued and is not gone, as (payload, is it data) and as chunks; what is under way; the wire so far."""

    def __init__(self, coder: Netstrings | None = None, most: int = FEW) -> None:
        self.coder = coder or Netstrings()
        self.most = most
        self.budget = Budget()
        self.outbox = CodedOutbox(self.coder, self.budget, self)
        self.frames: list[tuple[bytes, bool]] = []
        self.chunks: list[list[int]] = []  # bytes, and how many of its frames are not gone
        self.words = b""  # said and not begun
        self.under_way = b""  # all that `views` began to offer, and ...
        self.written = 0  # ... how much of it is out
        self.batch: list[bytes] = []  # the frames it is made of; none: it was said between frames
        self.wire = b""
        self.sent: list[bytes] = []
        self.said: list[bytes] = []

    # ---- what is done to it

    def append(self, payloads: list[bytes], *, data: bool = True, count: bool = True) -> None:
        chunk = join(payloads)
        self.outbox.append(chunk, (len(payloads) if count else -1) if data else 0)
        self.frames += [(payload, data) for payload in payloads]
        self.chunks.append([len(chunk), len(payloads)])
        self.sent += payloads

    def say(self) -> None:
        words = b"!%d;" % len(self.said)
        self.outbox.say(words)
        self.said.append(words)
        self.words += words

    def offered(self) -> bytes:
        """What `views` gives, encoded now or before."""
        calls = len(self.coder.batches)
        offered = b"".join(map(bytes, self.outbox.views()))
        fresh = self.coder.batches[calls:]
        if self.under_way:
            assert fresh == [], "the next is encoded when this is out"
        elif self.words:
            assert fresh == [], "what is said comes before it"
            self.under_way, self.words = self.words, b""
        else:
            (self.batch,) = fresh
            self._expect_batch()
            self.under_way = b"".join(map(self.coder.one, self.batch))
        assert offered == self.under_way[self.written :]
        return offered

    def _expect_batch(self) -> None:
        """The next frames, as many as there may be, and at least one."""
        count = len(self.batch)
        assert count and self.batch == [payload for payload, _ in self.frames[:count]]
        assert count == 1 or size_of(self.batch) <= self.most
        assert count == len(self.frames) or size_of([*self.batch, self.frames[count][0]]) > self.most

    def advance(self, size: int) -> None:
        """So much of what is offered goes out."""
        self.wire += self.offered()[:size]
        self.outbox.advance(size)
        self.written += size
        if self.written == len(self.under_way):
            self._gone(len(self.batch))
            self._nothing_under_way()

    def write_all(self) -> None:
        while self.outbox:
            self.advance(len(self.offered()))
            self.check()

    def _nothing_under_way(self) -> None:
        self.under_way, self.written, self.batch = b"", 0, []

    def _gone(self, count: int) -> None:
        del self.frames[:count]
        while self.chunks and count >= self.chunks[0][1]:
            count -= self.chunks.pop(0)[1]
        if count:
            self.chunks[0][1] -= count

    # ---- what must be so

    @property
    def whole(self) -> int:
        """Frames of the batch that are out in full."""
        return sum(size_on_wire <= self.written for size_on_wire in self._ends())

    def _ends(self) -> list[int]:
        return [len(b"".join(map(self.coder.one, self.batch[: number + 1]))) for number in range(len(self.batch))]

    def check(self) -> None:
        outbox = self.outbox
        assert outbox.within_frame == (self.written > 0)
        # Of what is under way, as large a part counts as there is of it on the wire.
        counted = size_of(self.batch) if self.batch else len(self.under_way)
        out = counted * self.written // max(1, len(self.under_way))
        said = len(self.words) + (0 if self.batch else counted)
        assert outbox.size == sum(len(payload) + 4 for payload, _ in self.frames) + said - out
        assert bool(outbox) == bool(self.frames or self.words or self.under_way)
        not_gone = sum(data for _, data in self.frames)
        not_whole = sum(data for _, data in self.frames[self.whole :])
        assert not_whole <= outbox.packets <= not_gone, "those of the batch count until all of it is out"
        assert outbox.packets_at_most >= outbox.packets
        said_under_way = b"" if self.batch else self.under_way
        queued = [size for size, _ in self.chunks] + [len(words) for words in (self.words, said_under_way) if words]
        assert outbox.held == self.budget.used == (QUEUE_COST + sum(queued) + len(queued) * CHUNK_COST if queued else 0)
        assert (self.budget.largest() is outbox) == bool(queued)

    def expect_written(self) -> None:
        """Everything is on the wire, once and in order, and nothing is left."""
        assert self.coder.read(self.wire) == (self.sent, self.said)
        assert [payload for batch in self.coder.batches for payload in batch] == self.sent
        self.expect_empty()

    def expect_taken(self) -> None:
        """The frames not written whole, without the conversation; what is on the wire are the others, and a part."""
        left, cut = self.frames[self.whole :], self.written > 0
        taken = self.outbox.take()
        assert self.outbox.within_frame == cut, "nothing may be said to this peer any more"
        assert split(b"".join(chunk for chunk, _ in taken)) == [payload for payload, data in left if data]
        assert all(packets == len(split(bytes(chunk))) for chunk, packets in taken)
        assert all(chunk for chunk, _ in taken)
        self.expect_empty()

    def expect_empty(self) -> None:
        outbox = self.outbox
        assert not outbox and outbox.size == outbox.packets == outbox.packets_at_most == 0
        assert outbox.held == self.budget.used == 0 and self.budget.largest() is None
        assert outbox.take() == []


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is encoded at once."""
    monkeypatch.setattr(coded, "MOST_ENCODED", FEW)


def payloads(chance: random.Random, most: int = 12) -> list[bytes]:
    sizes = [0, 0, 1, 3, 12, 40, 100, FEW - 4, FEW - 3, 1000]
    return [chance.randbytes(chance.choice(sizes)) for _ in range(chance.randint(1, most))]


# ---- anything in any order


@pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)
@pytest.mark.parametrize("seed", range(60))
def test_random_operations(few: None, seed: int, coder):
    chance = random.Random(seed)
    model = Model(coder())
    for _ in range(150):
        step = chance.random()
        if step < 0.3:
            model.append(payloads(chance), data=chance.random() < 0.8, count=chance.random() < 0.5)
        elif step < 0.4:
            model.say()
        elif step < 0.5 and model.outbox:
            model.offered()  # and the socket takes nothing
        elif model.outbox:
            most = chance.choice([0, 1, 7, 300, 100_000])
            model.advance(chance.randint(0, min(most, len(model.offered()))))
        model.check()
    if seed % 3:
        model.expect_taken()
    else:
        model.write_all()
        model.expect_written()


@pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)
def test_cut_at_every_byte(few: None, coder):
    """Wherever the peer was lost, what it had not taken whole is there whole, once and in order."""
    chunks = [[b"one", b"", b"three" * 30], [b"four", b""], [b"", b"x" * FEW, b"seven"], [b"eight"] * 9]
    total = len(b"".join(coder().one(payload) for chunk in chunks for payload in chunk))
    for cut in range(total + 1):
        model = Model(coder())
        for chunk in chunks:
            model.append(chunk, data=chunk[0] != b"four")
        while cut:
            size = min(cut, len(model.offered()))
            model.advance(size)
            model.check()
            cut -= size
        model.expect_taken()


# ---- when it is encoded


def test_nothing_is_encoded_before_it_is_asked_for():
    model = Model(most=MOST_ENCODED)
    for _ in range(30):
        model.append([bytes(1000)] * 100)
    assert model.coder.batches == [] and model.outbox.size == 30 * 100 * 1004
    seen = 0
    while model.outbox:
        model.offered()
        model.offered()
        assert len(model.coder.batches) == seen + 1, "once, however often it is offered"
        model.advance(len(model.offered()) - 1)
        model.offered()
        assert len(model.coder.batches) == seen + 1, "and no more while a byte of it is left"
        model.advance(1)
        seen += 1
        assert len(model.coder.batches) == seen, "nor because it is out"
        model.check()
    assert seen == 3_012_000 // MOST_ENCODED + 1
    model.expect_written()


def test_a_frame_that_is_larger_is_encoded_alone():
    model = Model(most=MOST_ENCODED)
    large = bytes(3 * MOST_ENCODED)
    model.append([b"before", large, b"behind"])
    model.append([large])
    model.append([large, b"end"])
    model.write_all()
    assert model.coder.batches == [[b"before"], [large], [b"behind"], [large], [large], [b"end"]]
    model.expect_written()


@pytest.mark.parametrize("size", [FEW - 10, FEW - 9, FEW - 8, FEW - 7])
def test_a_frame_that_just_fits(few: None, size: int):
    """In one chunk with the one before it, or in one of its own."""
    for chunks in ([[b"", bytes(size), b"behind"]], [[b""], [bytes(size)], [b"behind"]]):
        model = Model()
        for chunk in chunks:
            model.append(chunk)
        model.write_all()
        assert model.coder.batches[0] == ([b"", bytes(size)] if size <= FEW - 8 else [b""])
        model.expect_written()


def test_what_came_late_goes_with_what_waits(few: None):
    """A batch is of all chunks there are when it is begun, and of none that came since."""
    model = Model()
    model.append([b"a"])
    model.append([b"b"])
    model.offered()
    model.append([b"c"])
    model.append([b"d"])
    model.write_all()
    assert model.coder.batches == [[b"a", b"b"], [b"c", b"d"]]
    model.expect_written()


def test_chunks_that_may_change_are_encoded_as_they_are():
    """A chunk may be a bytearray, and the coder gets any buffer."""
    outbox = CodedOutbox(Netstrings())
    outbox.append(bytearray(join([b"a", b"bc"])))
    outbox.append(bytearray(join([b""])))
    assert b"".join(map(bytes, outbox.views())) == b"1:a,2:bc,0:,"


# ---- what is said between frames


def test_what_is_said_waits_for_no_more_than_the_batch(few: None):
    """At any byte of one: it comes behind that, before the frames that waited longer."""
    probe = Model()
    probe.append([b"first", b"", b"x" * 100])
    for cut in range(len(probe.offered())):
        model = Model()
        model.append([b"first", b"", b"x" * 100])
        model.advance(cut)
        model.append([b"y" * 250])
        model.say()
        model.say()
        model.check()
        model.write_all()
        assert model.wire == probe.offered() + b"!0;!1;" + Netstrings().one(b"y" * 250)
        model.expect_written()


def test_what_is_said_first_is_first():
    model = Model(most=MOST_ENCODED)
    model.append([b"it waits"])
    model.say()
    model.write_all()
    assert model.wire == b"!0;8:it waits,"
    model.expect_written()


def test_words_are_written_in_part_and_others_follow():
    model = Model(most=MOST_ENCODED)
    model.say()
    model.append([b"frame"])
    model.advance(2)
    model.say()
    model.check()
    assert model.outbox.within_frame
    model.advance(1)
    model.check()
    assert not model.outbox.within_frame
    model.say()
    model.write_all()
    assert model.wire == b"!0;!1;!2;5:frame,"
    model.expect_written()


def test_words_alone():
    """Of an outbox that never has a frame."""
    model = Model()
    for _ in range(3):
        model.say()
        model.say()
        model.advance(1)
        model.say()
        model.check()
        assert model.outbox.packets == 0
        model.write_all()
    model.expect_written()


def test_what_is_said_counts_and_is_for_this_peer_alone():
    model = Model()
    model.outbox.say(b"x" * 1000)
    assert model.outbox.size == 1000 and model.outbox.held == QUEUE_COST + CHUNK_COST + 1000
    assert model.outbox.judge(0, 0, 999) is Verdict.FULL
    model.outbox.say(b"y" * 1000)
    assert model.outbox.held == QUEUE_COST + CHUNK_COST + 2000
    model.outbox.views()
    model.outbox.advance(10)
    model.outbox.say(b"z" * 50)
    assert model.outbox.size == 2040 and model.outbox.held == QUEUE_COST + 2 * CHUNK_COST + 2050
    assert model.outbox.take() == []
    model.expect_empty()


# ---- limits


def test_limits_count_frames_whatever_they_are_on_the_wire():
    for coder in CODERS.values():
        outbox = CodedOutbox(coder())
        outbox.append(join([b"x" * 96] * 3), 3)
        for begun in (False, True):
            assert outbox.size == 300 and outbox.packets == 3
            assert outbox.judge(3, 0, 300) is Verdict.FINE and outbox.judge(3, 300, 300) is Verdict.FINE
            assert outbox.judge(2, 0, 300) is Verdict.SLOW and outbox.judge(3, 299, 300) is Verdict.SLOW
            assert outbox.judge(3, 0, 299) is Verdict.FULL
            if not begun:
                outbox.views()


def test_what_is_out_counts_no_more(few: None):
    """As a part of the batch that is under way."""
    for coder in CODERS.values():
        outbox = CodedOutbox(coder())
        outbox.append(join([b"x" * 96] * 4), 4)
        (view,) = outbox.views()
        outbox.advance(len(view) // 2)
        assert outbox.size == 250 and outbox.judge(4, 0, 250) is Verdict.FINE
        assert outbox.judge(4, 0, 249) is Verdict.FULL
        outbox.advance(len(view) // 2 - 1)
        assert 100 < outbox.size < 105
        outbox.advance(1 + len(view) % 2)
        assert outbox.size == 100 and outbox.packets == 1


def test_a_replay_is_as_long_as_it_is(few: None):
    model = Model()
    for _ in range(5):
        model.append([b"x" * 96] * 3)
    outbox = model.outbox
    outbox.exempt()
    assert outbox.judge(2, 1, 1) is Verdict.FINE
    model.append([b"y" * 96] * 3)
    for left in range(5, 0, -1):
        assert outbox.size == 300 * (left + 1)
        assert outbox.judge(0, 0, 300) is Verdict.FINE, "the replay is not through yet"
        assert outbox.judge(0, 299, 300) is Verdict.SLOW
        assert outbox.judge(0, 0, 299) is Verdict.FULL, "what came behind it counts"
        model.advance(100)
        assert outbox.judge(0, 0, 300) is Verdict.FINE, "nor may a part of it make things worse"
        model.advance(len(model.offered()))
    assert outbox.judge(3, 0, 300) is Verdict.FINE and outbox.judge(2, 0, 300) is Verdict.SLOW
    assert outbox.judge(3, 0, 299) is Verdict.FULL
    model.write_all()
    model.append([b"z"] * 3)
    assert outbox.judge(2, 0, 300) is Verdict.SLOW, "nothing is left of the exemption"


def test_a_replay_that_is_partly_out_hides_nothing(few: None):
    """As in an outbox that does not encode."""
    outbox = CodedOutbox(Netstrings())
    outbox.append(join([b"x" * 996]))
    outbox.exempt()
    (view,) = outbox.views()
    outbox.advance(len(view) - 100)
    outbox.append(join([b"y" * 96] * 3))
    assert outbox.judge(3, 0, 300) is Verdict.FINE and outbox.judge(3, 0, 299) is Verdict.FULL


def test_nothing_stays_exempt_when_a_replay_is_through():
    outbox = CodedOutbox(Netstrings())
    outbox.say(b"!words that were there first;")
    outbox.append(join([b"replay"]))
    outbox.exempt()
    while outbox:
        outbox.advance(len(b"".join(map(bytes, outbox.views()))))
    outbox.append(join([b"new"] * 3))
    assert outbox.judge(2, 0, 100) is Verdict.SLOW


# ---- the peer is gone


def test_rewind_goes_back_to_the_first_frame_that_is_not_whole(few: None):
    """And on from there, as for another peer: the words and the conversation were for the first one."""
    first = [b"one", b"", b"three"]
    sizes = [len(Netstrings().one(payload)) for payload in first]
    for cut in range(sum(sizes)):
        whole = sum(sum(sizes[: number + 1]) <= cut for number in range(3))
        coder = Netstrings()
        outbox = CodedOutbox(coder)
        outbox.append(join(first))
        outbox.append(join([b"conversation"]), 0)
        outbox.append(join([b"four"]))
        outbox.views()
        outbox.advance(cut)
        outbox.say(b"!never;")
        outbox.rewind()
        left = [*first[whole:], b"four"]
        assert outbox.size == size_of(left) and outbox.packets == len(left)
        outbox.prepend(join([b"notice"]), 1)
        assert outbox.size == size_of([b"notice", *left]) and outbox.packets == 1 + len(left)
        wire = b"".join(map(bytes, outbox.views()))
        assert coder.read(wire) == ([b"notice", *left], [])
        outbox.advance(len(wire))
        assert not outbox and outbox.held == 0


def test_rewind_of_what_was_offered_and_not_taken(few: None):
    """Nothing of it is out, so it is encoded again for the next peer."""
    outbox = CodedOutbox(Netstrings())
    outbox.append(join([b"a", b"b"]))
    outbox.views()
    outbox.rewind()
    outbox.rewind()
    assert b"".join(map(bytes, outbox.views())) == b"1:a,1:b,"
    assert [bytes(chunk) for chunk, _ in outbox.take()] == [join([b"a", b"b"])]


def test_conversation_is_written_but_never_taken(few: None):
    """Also where it is in one batch with data, before it or behind."""
    for cut in range(len(b"4:hi ,5:missd,4:more,")):
        model = Model()
        model.append([b"hi "], data=False)
        model.append([b"missd", b"more"])
        model.append([b"bye"], data=False)
        model.advance(cut)
        model.check()
        model.expect_taken()


@pytest.mark.parametrize("cut", [0, 1, 60, 200])
def test_clear_forgets_everything(few: None, cut: int):
    """What was begun, what was said, what it counted; what comes then stands on the wire as in a new one."""
    model = Model()
    model.append([b"x" * 50] * 9)
    model.outbox.exempt()
    model.advance(cut)
    model.say()
    outbox = model.outbox
    outbox.clear()
    assert not outbox and outbox.size == outbox.packets == outbox.held == model.budget.used == 0
    assert outbox.within_frame == (cut > 0), "but that a frame was cut"
    outbox.append(join([b"new"] * 3), 3)
    assert outbox.judge(2, 0, 99) is Verdict.SLOW and outbox.size == 21
    assert b"".join(map(bytes, outbox.views())) == b"3:new," * 3
    outbox.clear()
    model.expect_empty()


@pytest.mark.parametrize("name", CODERS)
def test_what_was_sent_in_part_before_there_was_an_outbox(name: str) -> None:
    """Whatever was out: the rest follows, or what was not out whole is given back."""
    coder, payloads = CODERS[name](), [b"one", b"", b"three" * 20]
    chunk, behind = join(payloads), join([b"behind"])
    encoded = coder.encode(chunk)
    for written in range(len(encoded)):
        budget = Budget()
        outbox = CodedOutbox(coder, budget)
        outbox.go_on(chunk, 3, encoded, written)
        assert 0 < outbox.size <= len(chunk) and outbox.within_frame is (written > 0)
        outbox.append(behind, 1)
        if written % 2:
            wire = encoded[:written]
            while outbox:
                view = bytes(outbox.views()[0])
                wire += view
                outbox.advance(len(view))
            assert coder.read(wire) == ([*payloads, b"behind"], []) and outbox.packets == 0 and not outbox.size
        else:
            kept = outbox.take()
            whole = coder.whole(encoded, written)
            assert b"".join(bytes(one) for one, _ in kept) == join([*payloads[whole:], b"behind"])
        assert budget.used == 0
