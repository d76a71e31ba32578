"""The backlog against a plain list of packets."""

from __future__ import annotations

import random

import pytest
from kit.frames import join, split

from voltlane.core.backlog import Backlog


def kept(backlog: Backlog) -> list[bytes]:
    return [payload for chunk, _ in backlog.take() for payload in split(bytes(chunk))]


@pytest.mark.parametrize("seed", range(60))
def test_the_oldest_go_first_and_no_more_of_them_than_must(seed: int):
    random_ = random.Random(seed)
    most_packets = random_.choice([1, 2, 7, 50, 1000])
    most_bytes = random_.choice([0, 4, 100, 1500, 10**6])
    backlog, model, lost = Backlog(), [], 0
    for _ in range(random_.randint(1, 60)):
        payloads = [random_.randbytes(random_.choice([0, 1, 5, 60, 300])) for _ in range(random_.randint(1, 9))]
        chunk = join(payloads)
        if random_.random() < 0.3:
            chunk = bytearray(chunk)
        dropped = backlog.append(chunk, random_.choice([-1, len(payloads)]), most_packets, most_bytes)
        model += payloads
        before = len(model)
        while len(model) > most_packets or len(join(model)) > most_bytes:
            del model[0]
        lost += before - len(model)
        assert dropped == before - len(model) and backlog.dropped == lost
        assert backlog.packets == len(model) and backlog.size == len(join(model))
    chunks = backlog.take()
    assert [payload for chunk, _ in chunks for payload in split(bytes(chunk))] == model
    assert all(count == len(split(bytes(chunk))) for chunk, count in chunks)
    assert backlog.packets == backlog.size == 0 and backlog.take() == []


def test_a_packet_larger_than_the_byte_limit_takes_everything_with_it():
    backlog = Backlog()
    backlog.append(join([b"old"]), 1, 10, 100)
    assert backlog.append(join([b"x" * 97]), 1, 10, 100) == 2
    assert kept(backlog) == []


def test_it_goes_on_after_having_been_taken():
    backlog = Backlog()
    backlog.append(join([b"a", b"b"]), 2, 10, 100)
    assert kept(backlog) == [b"a", b"b"]
    backlog.append(join([b"c"]), 1, 10, 100)
    assert kept(backlog) == [b"c"]


def test_dropping_one_by_one_copies_next_to_nothing(monkeypatch):
    """One large chunk, then many small ones, each of which pushes one packet out."""

    class Chunk(bytes):
        copied = 0

        def __getitem__(self, key):
            found = super().__getitem__(key)
            if isinstance(key, slice):
                Chunk.copied += len(found)
                return Chunk(found)
            return found

    backlog = Backlog()
    payloads = [bytes([n % 256]) * 20 for n in range(3000)]
    backlog.append(Chunk(join(payloads[:2000])), 2000, 2000, 1 << 20)
    for payload in payloads[2000:]:
        assert backlog.append(join([payload]), 1, 2000, 1 << 20) == 1
    assert Chunk.copied < 2 * 24 * 2000
    assert split(b"".join(bytes(chunk) for chunk, _ in backlog.take())) == payloads[1000:]
