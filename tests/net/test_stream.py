"""The contract of every stream, over both pollers: nothing blocks, nothing raises for a dead peer, nothing is lost."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from kit.frames import join, split
from kit.handlers import POLLERS, Loop, pair, tcp_pair

from voltlane.net.stream import WRITE_QUANTUM, Stream
from voltlane.reasons import CloseReason


class Plain(Stream):
    """A stream that keeps what it reads and what it is told."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.received = b""
        self.closed_with: list[CloseReason] = []
        self.unwritten: list[bytes] = []
        self.relieved = self.pressed = 0
        self.close_under_pressure = False
        super().__init__(loop, sock)

    def on_readable(self) -> None:
        while self.sock is not None:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                if self.reactor.poller.rearm_read is not None:
                    self.reactor.poller.rearm_read(self.sock.fileno())
                return
            if not data:
                self.close(CloseReason.PEER_CLOSED)
                return
            self.received += data

    def on_pressure(self) -> None:
        self.pressed += 1
        assert self.outbox, "pressure without anything queued"
        if self.close_under_pressure:
            self.close(CloseReason.OUTBOX_FULL)

    def on_relief(self) -> None:
        self.relieved += 1
        assert self.sock is not None

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        assert sock.fileno() != -1
        self.closed_with.append(reason)
        if self.outbox is not None:
            self.unwritten = [frame for chunk, _ in self.outbox.take() for frame in split(bytes(chunk))]
        self.outbox = None


class Wire:
    """A stream and its peer."""

    def __init__(self, poller: type, make: object = pair) -> None:
        self.loop = Loop(poller)
        ours, self.peer = make()  # type: ignore[operator]
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.peer.setblocking(False)
        self.stream = Plain(self.loop, ours)
        self.got = b""
        self.sent: list[bytes] = []

    def frames(self, count: int, size: int = 1000) -> bytes:
        """The next numbered frames; `sent` keeps their payloads."""
        payloads = [(len(self.sent) + number).to_bytes(4, "big") + b"." * size for number in range(count)]
        self.sent += payloads
        return join(payloads)

    def fill(self) -> None:
        """Send until the socket takes no more."""
        while self.stream.outbox is None:
            self.stream.try_send(self.frames(20), 20)

    def read(self, most: int = 1 << 20) -> int:
        try:
            data = self.peer.recv(most)
        except BlockingIOError:
            return 0
        self.got += data
        return len(data)

    def read_all(self) -> None:
        """Everything sent arrives, once and in order."""

        def done() -> bool:
            self.read()
            return self.stream.outbox is None and len(self.got) >= sum(len(payload) + 4 for payload in self.sent)

        self.loop.until(done, "all of it arrives")
        assert split(self.got) == self.sent

    def close(self) -> None:
        self.stream.close(CloseReason.SHUTDOWN)
        self.loop.spin(1)
        self.loop.close()
        self.peer.close()


@pytest.fixture(params=POLLERS, ids=lambda poller: poller.__name__)
def poller(request: pytest.FixtureRequest) -> type:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[pair, tcp_pair], ids=["unix", "tcp"])
def wire(poller: type, request: pytest.FixtureRequest) -> Iterator[Wire]:
    made = Wire(poller, request.param)
    yield made
    made.close()
    assert made.loop.bugs == [] and made.loop.watched == 0


def test_what_the_socket_takes_is_gone_at_once(wire: Wire):
    assert wire.stream.try_send(wire.frames(3), 3) is True
    assert wire.stream.outbox is None and wire.stream.pressed == 0
    wire.read_all()


def test_what_it_does_not_take_is_queued_and_goes_out_when_there_is_room(wire: Wire):
    wire.fill()
    assert wire.stream.pressed == 1 and wire.stream.outbox
    before = wire.stream.outbox.size
    chunk = wire.frames(5)
    assert wire.stream.try_send(chunk, 5) is False
    assert wire.stream.outbox.size == before + len(chunk), "queued behind, not sent before"
    wire.read_all()
    assert wire.stream.relieved and wire.stream.outbox is None
    assert wire.stream.try_send(wire.frames(1), 1) is True
    wire.read_all()


def test_the_packets_of_a_chunk_are_counted_where_nobody_knows_them(wire: Wire):
    wire.fill()
    assert wire.stream.outbox is not None
    before = wire.stream.outbox.packets_at_most
    wire.stream.try_send(wire.frames(7))
    assert wire.stream.outbox.packets_at_most == before + 7
    wire.read_all()


def test_borrowed_memory_is_the_callers_again(wire: Wire):
    for full in (False, True):
        if full:
            wire.fill()
        for count in (1, 3, 100):
            borrowed = [bytearray(wire.frames(1)) for _ in range(count)]
            views = [memoryview(frame) for frame in borrowed]
            assert wire.stream.try_send_views(views, count) is (wire.stream.outbox is None)
            for view, frame in zip(views, borrowed):
                view.release()
                frame[:] = b"?" * len(frame)
                frame.append(0)  # no view of ours is left: it can be resized
    wire.read_all()


def test_many_chunks_with_few_writes(wire: Wire):
    chunks = [(wire.frames(2, size=5), 2) for _ in range(300)]
    wire.stream.try_send_many(chunks)
    wire.fill()
    wire.stream.try_send_many([(wire.frames(2, size=5), 2) for _ in range(300)])
    wire.read_all()


def test_flush_answers_whether_all_is_out(wire: Wire):
    assert wire.stream.try_flush() is True, "nothing to do"
    wire.fill()
    assert wire.stream.try_flush() is False
    wire.read_all()
    assert wire.stream.try_flush() is True


@pytest.mark.parametrize("seed", range(5))
def test_a_peer_that_reads_as_it_likes(wire: Wire, seed: int):
    """Random sends and random reads: in order, once, whole."""
    random_ = random.Random(seed)
    for _ in range(150):
        kind = random_.randrange(5)
        if kind == 0:
            wire.read(random_.choice([1, 100, 5000, 1 << 20]))
        elif kind == 1:
            count = random_.randint(1, 5)
            wire.stream.try_send(wire.frames(count, random_.choice([0, 10, 3000])), count)
        elif kind == 2:
            wire.stream.try_send_views([memoryview(wire.frames(1, random_.choice([0, 50, 20_000])))], 1)
        elif kind == 3:
            wire.stream.try_send_many([(wire.frames(2), 2) for _ in range(random_.randint(1, 8))])
        else:
            wire.loop.turn(0)
    wire.read_all()


def test_a_chunk_larger_than_any_quantum(wire: Wire):
    wire.stream.try_send(wire.frames(3 * WRITE_QUANTUM // 1000), -1)
    wire.read_all()


def test_reading_while_writing(wire: Wire):
    wire.fill()
    wire.peer.send(b"hello")
    wire.loop.until(lambda: wire.stream.received == b"hello", "the stream reads though it cannot write")
    wire.read_all()


# ---- the peer is gone


def test_the_end_of_the_stream(wire: Wire):
    wire.peer.send(b"last words")
    wire.peer.close()
    wire.loop.until(lambda: wire.stream.closed, "the end is noticed")
    assert wire.stream.received == b"last words" and wire.stream.closed_with == [CloseReason.PEER_CLOSED]


def dead(wire: Wire) -> None:
    """The peer is gone, and the system knows it; the loop does not yet."""
    wire.peer.close()
    if wire.stream.sock is not None and wire.stream.sock.family != socket.AF_UNIX:
        wire.stream.sock.send(b"?")  # answered with a reset
        wire.loop.poller.poll(0.2)


@pytest.mark.parametrize("how", ["send", "views", "many"])
def test_sending_to_a_dead_peer_closes_and_loses_nothing(wire: Wire, how: str):
    dead(wire)
    chunk = wire.frames(2)
    if how == "send":
        answer = wire.stream.try_send(chunk, 2)
    elif how == "views":
        answer = wire.stream.try_send_views([memoryview(chunk)], 2)
    else:
        answer = wire.stream.try_send_many([(chunk, 2)])
    assert answer is False and wire.stream.closed
    assert wire.stream.closed_with == [CloseReason.PEER_LOST]
    assert wire.stream.unwritten == wire.sent, "what was not taken is there for the next connection"


def test_a_peer_that_dies_while_much_is_queued(wire: Wire):
    wire.fill()
    wire.stream.try_send_many([(wire.frames(3), 3)])
    while wire.read(5000) == 5000 and len(wire.got) < 20_000:
        wire.loop.spin(1)
    wire.peer.close()
    wire.loop.until(lambda: wire.stream.closed, "the death is noticed")
    unwritten = wire.stream.unwritten
    assert unwritten and unwritten == wire.sent[-len(unwritten) :], "a tail, each frame whole"


def test_closing_is_final_and_answers_no(wire: Wire):
    wire.stream.close(CloseReason.KICKED)
    wire.stream.close(CloseReason.SHUTDOWN)
    assert wire.stream.closed and wire.stream.closed_with == [CloseReason.KICKED]
    assert wire.stream.try_send(join([b"x"]), 1) is False
    assert wire.stream.try_send_views([memoryview(join([b"x"]))], 1) is False
    assert wire.stream.try_flush() is False
    wire.stream.on_flush()
    wire.stream.on_event(0xFFFF)


def test_the_owner_may_close_under_pressure(wire: Wire):
    wire.stream.close_under_pressure = True
    answers = []
    while not wire.stream.closed:
        answers.append(wire.stream.try_send(wire.frames(20), 20))
    assert answers[-1] is False and all(answers[:-1])
    assert wire.stream.closed_with == [CloseReason.OUTBOX_FULL]


def test_the_owner_may_close_under_pressure_of_a_flush(wire: Wire):
    while not wire.stream.closed:
        wire.stream.close_under_pressure = False
        wire.fill()
        wire.stream.close_under_pressure = True
        assert wire.stream.try_flush() is not wire.stream.closed, "there may have been room again, for all of it"
    assert wire.stream.unwritten and wire.stream.unwritten == wire.sent[-len(wire.stream.unwritten) :]


# ---- fairness


class Sink:
    """A socket that always takes as much as a large socket buffer does, for counting."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.taken = 0

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def shutdown(self, how: int) -> None:
        self._sock.shutdown(how)

    def recv(self, size: int) -> bytes:
        return self._sock.recv(size)

    def send(self, data: bytes) -> int:
        size = min(len(data), WRITE_QUANTUM // 16)
        self.taken += size
        return size

    def sendmsg(self, views: list[bytes]) -> int:
        return self.send(b"".join(views))


def test_a_flush_stops_at_its_quantum_and_goes_on_in_the_next_turn(poller: type):
    """Who reads as fast as we write must not keep everybody else waiting."""
    loop = Loop(poller)
    ours, theirs = pair()
    sink = Sink(ours)
    stream = Plain(loop, sink)  # type: ignore[arg-type]
    chunk = join([b"x" * (WRITE_QUANTUM // 4)])
    stream.try_send_many([(chunk, 1)] * 64)
    assert stream.outbox is not None and stream.pressed
    turns, total = 0, 64 * len(chunk)
    while stream.outbox is not None and turns < 100:
        before = sink.taken
        loop.turn(0)
        turns += 1
        assert 0 < sink.taken - before <= 2 * (WRITE_QUANTUM + len(chunk)), (
            "one flush for an event, one for what was left"
        )
    stream.close(CloseReason.SHUTDOWN)
    loop.spin(1)
    loop.close()
    theirs.close()
    assert sink.taken == total and turns >= 8
