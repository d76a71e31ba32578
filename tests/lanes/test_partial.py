"""The part of a frame: bytes of a small one; a large one arrives whole, and takes memory as it comes."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest
from kit.frames import join
from kit.handlers import pair

from voltlane.core.budget import Budget
from voltlane.lanes.partial import SMALL, LargeFrame, Rest, keep

MOST = 2 * SMALL
"""Bytes that are received at once."""


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def begin(received: bytes) -> LargeFrame | None:
    kept = keep(memoryview(received), Budget(), None)
    if isinstance(kept, LargeFrame):
        return kept
    assert isinstance(kept, Rest) and kept.data == received
    return None


@pytest.mark.parametrize("size", range(4))
def test_nothing_is_known_before_the_prefix_is_whole(size: int):
    assert begin((10**6).to_bytes(4, "little")[:size]) is None


def test_how_large_is_large():
    assert begin((SMALL - 4).to_bytes(4, "little")) is None
    assert begin((SMALL - 3).to_bytes(4, "little")) is not None


def receive(large: LargeFrame, sock: socket.socket) -> int:
    with large.space(MOST) as space:
        assert min(SMALL, large._total - large._filled) <= len(space) <= MOST, "few reads, and none past the frame"
        received = sock.recv_into(space)
    large.advance(received)
    return received


@pytest.mark.parametrize("seed", range(20))
def test_it_arrives_whole_and_no_byte_behind_it_is_read(sockets: tuple[socket.socket, socket.socket], seed: int):
    ours, theirs = sockets
    random_ = random.Random(seed)
    payload = random_.randbytes(random_.choice([SMALL - 3, SMALL + 1500, 2 * SMALL + 5, 400_000]))
    stream = join([payload]) + b"behind"
    first = random_.choice([4, 5000, SMALL])
    large = begin(stream[:first])
    assert large is not None
    rest = stream[first:]
    while not large.complete:
        size = random_.choice([1, 10, 700, SMALL]) if len(rest) < 10_000 else 50_000
        piece, rest = rest[:size], rest[size:]
        theirs.send(piece)
        while True:
            try:
                assert receive(large, ours) > 0
            except BlockingIOError:
                break
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
    for size in [1] * 5 + [1000, 40_000, 90_000] * 5:
        theirs.send(b"y" * size)
        with contextlib.suppress(BlockingIOError):
            while True:
                arrived += receive(large, ours)
        assert large.held <= 2.3 * (arrived + SMALL)
        if hasattr(large._buffer, "__sizeof__"):  # PyPy does not say
            assert large.held >= large._buffer.__sizeof__(), "what an array holds in reserve counts"


def test_the_end_of_the_stream(sockets: tuple[socket.socket, socket.socket]):
    ours, theirs = sockets
    large = begin((100_000).to_bytes(4, "little"))
    assert large is not None
    with pytest.raises(BlockingIOError):
        receive(large, ours)
    theirs.send(b"x" * 100_000)
    theirs.shutdown(socket.SHUT_WR)
    total = 0
    while not large.complete:
        total += receive(large, ours)
    assert total == 100_000
    cut = begin((100_001).to_bytes(4, "little"))
    assert cut is not None and receive(cut, ours) == 0 and not cut.complete
