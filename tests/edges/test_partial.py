"""The part of a frame: bytes where one read completes it; a larger one arrives whole, and takes memory as it comes."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from kit.frames import join
from kit.handlers import pair

from voltlane.core.budget import Budget
from voltlane.edges.partial import LargeFrame, Rest, keep

QUANTUM = 1024


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def begin(received: bytes) -> LargeFrame | None:
    kept = keep(memoryview(received), QUANTUM, Budget(), None)
    if isinstance(kept, LargeFrame):
        return kept
    assert isinstance(kept, Rest) and kept.data == received
    return None


@pytest.mark.parametrize("size", range(4))
def test_nothing_is_known_before_the_prefix_is_whole(size: int):
    assert begin((10**6).to_bytes(4, "little")[:size]) is None


def test_only_frames_that_do_not_fit_into_one_read_are_large():
    assert begin((QUANTUM - 4).to_bytes(4, "little")) is None
    assert begin((QUANTUM - 3).to_bytes(4, "little")) is not None


@pytest.mark.parametrize("seed", range(20))
def test_it_arrives_whole_and_no_byte_behind_it_is_read(sockets: tuple[socket.socket, socket.socket], seed: int):
    ours, theirs = sockets
    random_ = random.Random(seed)
    payload = random_.randbytes(random_.choice([QUANTUM - 3, 1500, 5000, 40_000]))
    stream = join([payload]) + b"behind"
    first = random_.randint(4, min(len(stream) - 7, QUANTUM))
    large = begin(stream[:first])
    assert large is not None
    rest = stream[first:]
    while not large.complete:
        size = random_.choice([1, 10, 700, QUANTUM, 5000]) if len(payload) < 10_000 else 5000
        piece, rest = rest[:size], rest[size:]
        theirs.send(piece)
        while True:
            try:
                received = large.receive(ours, QUANTUM)
            except BlockingIOError:
                break
            assert 0 < received <= QUANTUM
            if large.complete:
                break
    with large.payload() as view:
        assert view == payload
    theirs.send(rest + b".")
    assert ours.recv(100) == b"behind."


def test_memory_grows_with_what_arrives_not_with_what_was_announced(sockets: tuple[socket.socket, socket.socket]):
    ours, theirs = sockets
    large = begin((2**31).to_bytes(4, "little") + b"x" * 10)
    assert large is not None
    arrived = 14
    for _ in range(20):
        theirs.send(b"y" * 1000)
        arrived += large.receive(ours, QUANTUM)
        assert large.held <= 2.3 * (arrived + QUANTUM)
        if hasattr(large._buffer, "__sizeof__"):  # PyPy does not say
            assert large.held >= large._buffer.__sizeof__(), "what an array holds in reserve counts"


def test_the_end_of_the_stream(sockets: tuple[socket.socket, socket.socket]):
    ours, theirs = sockets
    large = begin((5000).to_bytes(4, "little"))
    assert large is not None
    with pytest.raises(BlockingIOError):
        large.receive(ours, QUANTUM)
    theirs.send(b"x" * 5000)
    theirs.shutdown(socket.SHUT_WR)
    total = 0
    while received := large.receive(ours, QUANTUM):
        total += received
        if large.complete:
            break
    assert total == 5000
    cut = begin((6000).to_bytes(4, "little"))
    assert cut is not None and cut.receive(ours, QUANTUM) == 0 and not cut.complete
