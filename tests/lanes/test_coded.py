"""Clients behind a framing: what the contract of lanes does not ask, since it is of this one data path."""

from __future__ import annotations

import contextlib
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from kit.frames import data, join
from kit.lanes import toy
from kit.speaker import Speaker
from kit.world import CLIENT_KEY, SERVER_KEY, Client, MakeWorld, World, numbered

from voltlane.errors import FrameTooLarge
from voltlane.lanes.coded import CodedConnection
from voltlane.lanes.fairness.turns import FIRST_QUANTUM
from voltlane.lanes.framing import EVERY, Framing
from voltlane.lanes.lane import Lane
from voltlane.reasons import CloseReason
from voltlane.wire.framing import PREFIX, PREFIX_SIZE, Buffer, FrameBuffer, count_frames, frame
from voltlane.wire.tagged import Flag, Tagged
from voltlane.wire.v2 import ProtocolVersion, PubKey, encode


class Pieces(Framing):
    """Messages that may come in pieces, which are kept until the last of them: `+` more to come, `.` the last; and `!`,
    behind which nothing is to be looked at any more."""

    name = "pieces"
    lazy = False
    """Whether to use no more than one piece at once."""

    def __init__(self) -> None:
        self._kept = b""
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def held(self) -> int:
        return len(self._kept)

    def decode(self, data: Buffer, start: int, stop: int, limit: int, most: int = EVERY) -> tuple[bytes, int]:
        messages, position = b"", start
        while most and stop - position >= PREFIX_SIZE:
            (size,) = PREFIX.unpack_from(data, position)
            if len(self._kept) + size - 1 > limit:
                if messages:
                    break
                raise FrameTooLarge(size, limit)
            end = position + PREFIX_SIZE + size
            if end > stop:
                break
            piece = bytes(data[position + PREFIX_SIZE : end])
            position = end
            self._kept += piece[1:]
            if piece.startswith(b"."):
                messages, self._kept, most = messages + frame(self._kept), b"", most - 1
            self._ended = piece.startswith(b"!")
            if self.lazy or self._ended:
                break
        return messages, position

    def encode(self, chunk: Buffer) -> bytes:
        received = FrameBuffer(1 << 24)
        received.feed(chunk)
        return b"".join(frame(b"." + message) for message in received)

    def whole(self, encoded: bytes, written: int) -> int:
        return max(n for n in range(count_frames(encoded) + 1) if len(self._first(encoded, n)) <= written)

    def _first(self, encoded: bytes, count: int) -> bytes:
        received = FrameBuffer(1 << 24)
        received.feed(encoded)
        return b"".join(frame(received.pop() or b"") for _ in range(count))


class LazyPieces(Pieces):
    lazy = True


class PiecesSpeaker(Speaker):
    def __init__(self) -> None:
        self._received = FrameBuffer(1 << 24)

    def encode(self, message: bytes) -> bytes:
        return frame(b"." + message)

    def decode(self, data: bytes) -> list[bytes]:
        self._received.feed(data)
        return [message[1:] for message in self._received]


def pieces(framing: type[Pieces] = Pieces) -> Any:
    return SimpleNamespace(LANE=Lane("pieces", framing), Speaker=PiecesSpeaker)


def part(message: bytes) -> bytes:
    return frame(b"+" + message)


def hello(client: Client) -> bytes:
    """All that a new client of the toy's says until its session begins."""
    messages = encode(ProtocolVersion(2)), encode(PubKey(CLIENT_KEY.public))
    return client.speaker.opening + b"".join(map(client.speaker.encode, messages))


def deep(client: Client) -> Client:
    """A client whose side takes much at once."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    return client


def fill(sock: socket.socket) -> int:
    """Let a socket of the server's take no more; how many bytes it took."""
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += sock.send(b"x" * 1000)
    return size


def skip(client: Client, size: int) -> None:
    """Read what is no word of the server's."""
    while size:
        size -= len(client.sock.recv(size))


def connection_of(home: World) -> CodedConnection:
    (connection,) = home.server.clients.connections
    assert isinstance(connection, CodedConnection)
    return connection


# ---- what a framing keeps


@pytest.mark.parametrize("framing", [Pieces, LazyPieces])
def test_messages_in_pieces(make: MakeWorld, framing: type[Pieces]):
    """However many of them are used at once, and wherever a read ends."""
    home = make()
    client = home.new(lane=pieces(framing))
    messages = [b"one two three", b"", b"whole", b"abc"]
    stream = part(b"one ") + part(b"two ") + b"".join(map(client.speaker.encode, [b"three", b"", b"whole"]))
    stream += part(b"a") + part(b"") + part(b"b") + client.speaker.encode(b"c")
    for cut in range(len(stream) + 1):
        client.write(stream[:cut])
        home.settle()
        client.write(stream[cut:])
        home.settle()
        assert home.master.data.pop(client.id) == messages, cut
        assert home.server.budget.used == 0 and connection_of(home).partial is None


def test_what_the_framing_keeps_counts_as_memory(make: MakeWorld):
    """Beside a part of a piece, and without one; the world's audit looks at it to the byte."""
    home = make()
    client = home.new(lane=pieces())
    client.write(part(bytes(50_000)))
    home.settle()
    used = home.server.budget.used
    assert used >= 50_000
    client.write(part(bytes(1000)) + part(bytes(2000))[:-1])
    home.settle()
    assert home.server.budget.used >= used + 3000
    client.write(part(bytes(2000))[-1:])
    home.settle()
    assert used + 3000 <= home.server.budget.used < used + 3100
    client.cut()
    home.settle()
    assert home.server.budget.used == 0 and home.server.registry.stale_count == 1


def test_who_keeps_most_in_pieces_goes_first(make: MakeWorld):
    home = make({"limits.memory_bytes": 400_000, "master.outbox_bytes": 10_000, "clients.outbox_bytes": 10_000})
    clients = [home.new(lane=pieces()) for _ in range(2)]
    for client, size in zip(clients, [300_000, 200_000]):
        client.write(part(bytes(size)))
        home.settle()
    assert [client.ended for client in clients] == [True, False]
    assert home.server.counters.closed == {CloseReason.FRAME_SHED: 1}


def test_who_is_closed_while_it_is_read_leaves_nothing(make: MakeWorld):
    """By what it asked for itself: its answers are more than its outbox may hold. The world looks for what is left."""
    home = make({"clients.outbox_bytes": 50_000})
    client = deep(home.new(lane=toy))
    client.reading = False
    client.write(client.speaker.ping() * 3200 + client.speaker.encode(b"a part")[:-1])
    home.settle()
    assert home.server.counters.closed == {CloseReason.OUTBOX_FULL: 1} and home.server.budget.used == 0


def test_nothing_comes_behind_the_end_of_a_session(make: MakeWorld):
    home = make({"clients.outbox_bytes": 50_000})
    client = deep(home.new(lane=toy))
    client.reading = False
    client.write(client.speaker.encode(b"up") + client.speaker.ping() * 3200)
    home.settle()
    assert home.server.counters.closed == {CloseReason.OUTBOX_FULL: 1}
    assert home.master.log[-1].flag is Flag.FAILURE


@pytest.mark.parametrize("framing", [Pieces, LazyPieces])
def test_a_handshake_in_pieces(make: MakeWorld, framing: type[Pieces]):
    """All of it in one write, so that nothing else comes that it could go on with."""
    home = make()
    client = Client(home, lane=pieces(framing))
    version, key = encode(ProtocolVersion(2)), encode(PubKey(CLIENT_KEY.public))
    client.write(
        part(version) + part(b"") + client.speaker.encode(b"") + part(key[:9]) + client.speaker.encode(key[9:])
    )
    client.write(part(b"a") + client.speaker.encode(b"b"))
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"ab"]


@pytest.mark.parametrize("framing", [Pieces, LazyPieces])
def test_nothing_is_looked_at_behind_the_framings_end(make: MakeWorld, framing: type[Pieces]):
    """It may be anything: it is no mistake, and no message."""
    home = make()
    for behind in (b"", b"\xff" * 100, frame(b".never")):
        client = home.new(lane=pieces(framing))
        client.write(frame(b".last") + frame(b"!") + behind)
        home.settle()
        assert client.ended and home.master.data[client.id] == [b"last"]
    assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 3} and home.server.registry.stale_count == 3


@pytest.mark.parametrize("framing", [Pieces, LazyPieces])
def test_nothing_is_looked_at_behind_an_end_in_the_handshake(make: MakeWorld, framing: type[Pieces]):
    home = make()
    for behind in (b"", b"\xff" * 100, frame(b".never")):
        client = Client(home, lane=pieces(framing))
        client.write(client.speaker.encode(encode(ProtocolVersion(2))) + frame(b"!") + behind)
        home.settle()
        assert client.ended and client.server_key == SERVER_KEY.public
    assert home.server.counters.closed == {CloseReason.PEER_CLOSED: 3} and home.server.registry.sessions == {}


def test_a_mistake_in_a_framing_is_its_clients_alone(make: MakeWorld):
    """Though it is the master's connection that was read; and what it could not encode waits for the next lane."""

    class Mistaken(Pieces):
        def encode(self, chunk: Buffer) -> bytes:
            assert b"bad" not in bytes(chunk)
            return super().encode(chunk)

    home = make()
    bad, good = home.new(lane=pieces(Mistaken)), home.new(lane=pieces(Mistaken))
    home.master.write(join(data(client.id, payload) for client, payload in [(bad, b"bad"), (good, b"good")]))
    home.settle()
    assert bad.ended and home.server.counters.closed == {CloseReason.INTERNAL_ERROR: 1} and len(home.loop.bugs) == 1
    assert good.got == [b"good"] and not home.master.ended
    home.loop.bugs.clear()
    assert home.resume(bad, lane=toy).got == [b"bad"]


# ---- turns


def test_a_read_is_no_more_than_the_others_can_wait_for(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """Whoever is loud: a framing makes more work of it than the length prefix. And each read counts in its turn."""
    home = make()
    client = deep(home.new(lane=pieces()))
    turns, spent = home.server.clients.turns, []
    spend = turns.spend
    monkeypatch.setattr(turns, "spend", lambda size: (spent.append(size), spend(size)))
    stream = b"".join(map(client.speaker.encode, numbered(500, 700)))
    client.write(stream)
    assert not client.waiting
    home.settle()
    full, rest = divmod(len(stream), FIRST_QUANTUM)
    assert spent == [FIRST_QUANTUM] * full + [rest] and home.master.data[client.id] == numbered(500, 700)
    assert connection_of(home).flags == 0, "and it is not loud any more"


# ---- the handshake's last words


def test_the_handshake_ends_in_order(make: MakeWorld):
    """All of it in one write: what answers its first message comes before what answers the last."""
    home = make()
    client = Client(home, lane=toy)
    client.write(hello(client))
    home.settle()
    assert client.ready and client.server_key == SERVER_KEY.public and client.got == []


@pytest.mark.parametrize("pinged", [False, True])
def test_the_handshake_ends_in_order_where_there_is_no_room(make: MakeWorld, pinged: bool):
    home = make()
    client = Client(home, lane=toy)
    client.reading = False
    filler = fill(client.theirs)
    client.write(hello(client) + (client.speaker.ping() if pinged else b""))
    home.settle()
    home.master.send(1, b"down")
    home.settle()
    assert connection_of(home).outbox is not None
    skip(client, filler)
    client.reading = True
    home.settle()
    assert client.ready and client.server_key == SERVER_KEY.public and client.got == [b"down"]
    assert client.speaker.pongs == pinged


def test_the_handshakes_answer_is_for_nobody_else(make: MakeWorld):
    """It is left in the outbox of a connection that is lost: the next one gets the packets, and not that."""
    home = make()
    client = Client(home, lane=toy)
    client.reading = False
    fill(client.theirs)
    client.write(hello(client))
    home.settle()
    assert connection_of(home).outbox is not None and connection_of(home).outbox.packets == 0
    home.master.send(1, b"down", b"more")
    home.settle()
    client.closed, client.id = True, 1
    client.sock.close()
    home.settle()
    again = home.resume(client, lane=toy)
    assert again.got == [b"down", b"more"] and home.server.counters.replayed == 2


# ---- a word to end with


def slow_reader(home: World) -> tuple[Client, CodedConnection]:
    """One that a frame is on its way to, a part of it out; its socket has room now, which nobody knows yet."""
    client = home.new(lane=toy)
    client.reading = False
    home.master.send(client.id, *numbered(300, 1000))
    home.settle()
    connection = connection_of(home)
    assert connection.outbox is not None and connection.outbox.within_frame
    client.read()
    assert client.speaker._received, "a part of a frame"
    return client, connection


def expect_cut(home: World, client: Client, left: bytes) -> None:
    """Nothing came behind the part of a frame."""
    home.loop.turn(0)
    client.read()
    assert client.ended and not client.speaker.ended and client.speaker._received == left
    assert client.got == numbered(300, 1000)[: len(client.got)]


def test_no_farewell_within_a_frame(make: MakeWorld):
    home = make({"clients.channel_capacity": 100_000})
    client, connection = slow_reader(home)
    left = client.speaker._received
    connection.close(CloseReason.SHUTDOWN)
    expect_cut(home, client, left)


def test_no_farewell_within_a_frame_to_who_is_kicked(make: MakeWorld):
    home = make({"clients.channel_capacity": 100_000})
    client, _ = slow_reader(home)
    left = client.speaker._received
    home.server.hub.control(Tagged(client.id, Flag.KICK, b""))
    expect_cut(home, client, left)


def test_no_farewell_within_a_frame_to_who_is_taken_over(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """It would end the frame, and make a packet of it that nobody sent."""
    home = make({"clients.channel_capacity": 100_000})
    client, connection = slow_reader(home)
    left = client.speaker._received
    session = connection.session
    assert session is not None
    unwritten, _ = connection.hand_over()
    home.server.hub.lost(session, unwritten, home.loop.now)
    expect_cut(home, client, left)


@pytest.mark.parametrize("waits", [True, False])
def test_a_farewell_where_none_is_cut(make: MakeWorld, waits: bool):
    """Though packets wait, as long as nothing of them is out."""
    home = make()
    client = home.new(lane=toy)
    client.reading = False
    filler = fill(client.theirs)
    if waits:
        home.master.send(client.id, b"never begun")
        home.settle()
    connection = connection_of(home)
    assert (connection.outbox is not None) == waits
    skip(client, filler)
    connection.close(CloseReason.SHUTDOWN)
    home.loop.turn(0)
    client.read()
    assert client.ended and client.speaker.ended and client.got == [] and client.speaker._received == b""


def test_a_farewell_to_who_does_not_read(make: MakeWorld):
    home = make()
    client = home.new(lane=toy)
    client.reading = False
    filler = fill(client.theirs)
    connection_of(home).close(CloseReason.SHUTDOWN)
    home.loop.turn(0)
    skip(client, filler)
    client.read()
    assert client.ended and not client.speaker.ended and home.loop.bugs == []
