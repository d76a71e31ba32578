"""A connection whose session is at another worker goes there, as it is, and goes on: every lane and protocol."""

from __future__ import annotations

import random
import socket
from types import ModuleType
from typing import Any

import pytest
from kit.event_world import Caller, EventClient, post, stream
from kit.lanes import tcp, tls, ws, wss
from kit.neighbours import MakeNeighbours, Neighbours
from kit.record_world import RecordClient, told
from kit.records import Session
from kit.world import Client, World, numbered

from voltlane.core.ids import CLOCK_BITS
from voltlane.core.session import State
from voltlane.reasons import CloseReason
from voltlane.wire.v2 import ClientId, Ping, ProtocolVersion
from voltlane.wire.v3 import Code

LANES = pytest.mark.parametrize("lane", [tcp, ws, tls, wss], ids=lambda lane: lane.__name__.rpartition(".")[2])
PLAIN = (tcp, ws)


def relayed(neighbours: Neighbours) -> int:
    return sum(len(world.server.arrivals.relays) for world in neighbours.worlds)


def enter_at(neighbours: Neighbours, world: World, lane: ModuleType, **options: Any) -> RecordClient:
    """A new client of version 3."""
    client = RecordClient(world, lane=lane, **options)
    neighbours.settle()
    assert client.ready
    return client


@LANES
def test_version_2(make: MakeNeighbours, lane: ModuleType):
    neighbours = make()
    near, far = neighbours.worlds
    client = far.new(lane=lane)
    client.cut()
    neighbours.settle()
    far.master.send(client.id, b"while it was away")
    neighbours.settle()
    back = Client(near, client, lane=lane)
    back.greet()
    neighbours.settle()
    assert back.ready and back.got == [b"while it was away"]
    assert near.server.registry.sessions == {} and len(near.server.arrivals) == 0
    up, down = numbered(300, 900), numbered(300, 900, 1000)
    back.send(*up)
    far.master.send(client.id, *down)
    neighbours.settle()
    assert far.master.data[client.id] == up and back.got[1:] == down
    assert relayed(neighbours) == (lane not in PLAIN)
    counters, others = near.server.counters, far.server.counters
    assert (counters.accepted, counters.passed_on, counters.taken_in) == (1, 1, 0)
    assert (others.accepted, others.passed_on, others.taken_in) == (1, 0, 1)
    assert counters.relayed == (lane not in PLAIN) and counters.closed == {}
    back.cut()
    neighbours.settle()
    assert far.server.registry.sessions[client.id].state is State.STALE and relayed(neighbours) == 0
    assert others.closed[CloseReason.PEER_CLOSED] + others.closed[CloseReason.PEER_LOST] == 2


@LANES
@pytest.mark.parametrize("suite", [0, 1])
def test_version_3(make: MakeNeighbours, lane: ModuleType, suite: int):
    neighbours = make()
    near, far = neighbours.worlds
    client = enter_at(neighbours, far, lane, suite=suite)
    client.cut()
    neighbours.settle()
    far.master.send(client.session.id, b"while it was away")
    back = RecordClient(near, client.session, suite=suite, lane=lane)
    neighbours.settle()
    assert back.ready and back.session.events == [b"while it was away"]
    up, down = numbered(300, 900), numbered(300, 900, 1000)
    back.send(*up)
    far.master.send(client.session.id, *down)
    neighbours.settle()
    assert far.master.data[client.session.id] == up and back.session.events[1:] == down
    back.cut()
    neighbours.settle()
    again = RecordClient(far, client.session, suite=suite, lane=lane)
    neighbours.settle()
    assert again.ready and far.server.counters.resumed == 2 and near.server.counters.sessions == 0


@LANES
@pytest.mark.parametrize("seed", range(3))
def test_in_pieces(make: MakeNeighbours, lane: ModuleType, seed: int):
    """What a client sends is cut anywhere, and what is behind the resume is not lost."""
    dice = random.Random(seed)
    neighbours = make()
    near, far = neighbours.worlds
    client = far.new(lane=lane)
    client.cut()
    neighbours.settle()
    back = Client(near, client, lane=lane)
    words: list[bytes] = []
    write, back.write = back.write, lambda data, when_whole=None: words.append(data)  # type: ignore[method-assign]
    back.greet()
    back.write = write  # type: ignore[method-assign]
    whole = b"".join(words)
    while whole:
        size = dice.randint(1, 12)
        back.write(whole[:size])
        whole = whole[size:]
        if dice.random() < 0.7:
            neighbours.settle()
    neighbours.settle()
    back.send(b"here")
    neighbours.settle()
    assert back.ready and far.master.data[client.id] == [b"here"] and near.server.counters.passed_on == 1


@LANES
def test_what_came_behind_the_resume(make: MakeNeighbours, lane: ModuleType):
    """It is of the session's handshake, and is looked at there."""
    neighbours = make()
    near, far = neighbours.worlds
    client = far.new(lane=lane)
    client.cut()
    neighbours.settle()
    back = Client(near, client, lane=lane)
    if back.speaker.opening:
        back.write(back.speaker.opening)
    back.say(ProtocolVersion(2), ClientId(client.id), Ping())
    neighbours.settle()
    assert back.ended and not back.ready
    assert far.server.counters.closed[CloseReason.UNEXPECTED_PACKET] == 1
    assert far.server.registry.sessions[client.id].state is State.STALE


@LANES
@pytest.mark.parametrize("version", [2, 3])
def test_a_live_session_is_taken_over(make: MakeNeighbours, lane: ModuleType, version: int):
    neighbours = make()
    near, far = neighbours.worlds
    back: Any
    client: Any
    if version == 2:
        client = far.new(lane=lane)
        back = Client(near, client, lane=lane)
        back.greet()
        client_id = client.id
    else:
        client = enter_at(neighbours, far, lane)
        back = RecordClient(near, client.session, lane=lane)
        client_id = client.session.id
    neighbours.settle()
    back.send(b"here")
    neighbours.settle()
    assert client.ended and back.ready and far.master.data[client_id] == [b"here"]


@LANES
@pytest.mark.parametrize("version", [2, 3])
def test_there_is_none_there_either(make: MakeNeighbours, lane: ModuleType, version: int):
    """It is refused there, once, in the way of its protocol."""
    neighbours = make()
    near, far = neighbours.worlds
    unknown = (1 << CLOCK_BITS) + 77
    back: Any
    if version == 2:
        back = Client(near, far.new(lane=lane), lane=lane)
        back.id = unknown
        back.greet()
    else:
        client = enter_at(neighbours, far, lane)
        client.session.id = unknown
        back = RecordClient(near, client.session, lane=lane)
    neighbours.settle()
    neighbours.pass_(3.0)
    assert back.ended and not back.ready
    assert far.server.counters.closed[CloseReason.UNKNOWN_SESSION] == 1 and relayed(neighbours) == 0
    if version == 3:
        assert told(back).code == Code.UNKNOWN_SESSION


class TcpClient(Client):
    """Which can be told that it was reset."""

    def pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ours = socket.create_connection(listening.getsockname())
            theirs, _ = listening.accept()
        return theirs, ours


@pytest.mark.parametrize("lane", [tcp, tls], ids=["tcp", "tls"])
@pytest.mark.parametrize("end", ["refused", "late", "killed"])
def test_how_a_client_without_an_answer_is_told(make: MakeNeighbours, lane: ModuleType, end: str):
    """In order: there is no such session. Else it is reset, for it would give its session up (SPEC 5.3)."""
    neighbours = make(settings={"clients.handshake_secs": 3.0})
    near, far = neighbours.worlds
    client = far.new()
    client.cut()
    neighbours.settle()
    back = TcpClient(near, client, lane=lane)
    back.on_challenge = lambda: None  # type: ignore[method-assign]
    if end == "refused":
        back.id += 1
    back.greet()
    neighbours.settle()
    if end == "late":
        neighbours.pass_(4.0)
    elif end == "killed":
        (arrival,) = far.server.arrivals._all.items()
        arrival.close(CloseReason.INTERNAL_ERROR)
    neighbours.settle()
    assert back.ended and back.was_reset == (end != "refused")


@LANES
def test_its_time_goes_on(make: MakeNeighbours, lane: ModuleType):
    """From when it was accepted, wherever that was; and among those that came before and behind it."""
    neighbours = make(settings={"clients.handshake_secs": 3.0})
    near, far = neighbours.worlds
    client = far.new()
    client.cut()
    neighbours.settle()
    first = Client(far, lane=tcp)
    neighbours.pass_(1.0)
    back = Client(near, client, lane=lane)
    if back.speaker.opening:
        back.write(back.speaker.opening)
    neighbours.pass_(1.0)
    last = Client(far, lane=tcp)
    back.on_challenge = lambda: None  # type: ignore[method-assign]
    back.say(ProtocolVersion(2), ClientId(client.id))
    neighbours.pass_(0.5)
    assert far.server.counters.taken_in == 1
    neighbours.pass_(0.5)
    assert (first.ended, back.ended, last.ended) == (True, False, False)
    neighbours.pass_(1.0)
    assert (back.ended, last.ended) == (True, False)
    neighbours.pass_(1.0)
    assert back.ended and last.ended
    assert far.server.counters.closed[CloseReason.HANDSHAKE_TIMEOUT] == 3


@pytest.mark.parametrize("lane", [tcp, ws, tls], ids=["tcp", "ws", "tls"])
def test_a_note_that_is_damaged(make: MakeNeighbours, lane: ModuleType):
    """It hurts the connection that it is about; its client may come back."""
    neighbours = make()
    near, far = neighbours.worlds
    client, other = far.new(), far.new()
    client.cut()
    neighbours.settle()
    back = Client(near, client, lane=lane)
    neighbours.change = lambda data: data.replace(b"v2", b"v3")
    back.greet()
    neighbours.settle()
    assert back.ended and not back.ready and not other.ended
    assert far.server.counters.closed[CloseReason.MALFORMED_RECORD] == 1
    neighbours.change = lambda data: data
    again = Client(near, client, lane=lane)
    again.greet()
    neighbours.settle()
    assert again.ready


@pytest.mark.parametrize("kind", ["v2", "v3", "http"])
def test_notes_that_are_changed_anywhere(make: MakeNeighbours, kind: str):
    """Whatever comes of it, it is an end in a way that there is a name for, or the client is there."""
    dice = random.Random(5)
    neighbours = make()
    near, far = neighbours.worlds
    old: Any = far.new() if kind == "v2" else enter_at(neighbours, far, ws) if kind == "v3" else stream(far)

    def changed(data: bytes) -> bytes:
        words = bytearray(data)
        for _ in range(dice.randint(1, 3)):
            words[dice.randrange(len(words))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        return bytes(words)

    neighbours.change = changed
    for _ in range(60):
        if kind == "v2":
            Client(near, old, lane=ws).greet()
        elif kind == "v3":
            back = RecordClient(near, old.session.copy(), lane=ws)
            neighbours.worlds[0].settle()
            back.decode = lambda data: []  # type: ignore[method-assign] # with other keys it does not understand it
        else:
            Caller(near, post(old.token, b"x"))
        for world in neighbours.worlds:
            world.settle()
        neighbours.deliver()
    neighbours.settle()
    assert not far.loop.bugs and near.server.counters.passed_on == 60
    assert far.server.counters.taken_in + neighbours.damaged == 60


class TestOpenings:
    """Said again at another worker (SPEC 13)."""

    def deaf(self, neighbours: Neighbours) -> RecordClient:
        """A new client whose connection dies before its welcome has come."""
        deaf = RecordClient(neighbours.worlds[1], lane=tcp)
        deaf.reading = False
        neighbours.settle()
        deaf.read_some(200)  # the server's hello, and nothing of what is behind it
        neighbours.settle()
        deaf.lose()
        neighbours.settle()
        assert len(neighbours.worlds[1].server.registry.sessions) == 1
        return deaf

    @LANES
    def test_it_is_the_same_session(self, make: MakeNeighbours, lane: ModuleType):
        neighbours = make()
        near, far = neighbours.worlds
        deaf = self.deaf(neighbours)
        (session_id,) = far.server.registry.sessions
        far.master.send(session_id, b"one")
        again = RecordClient(near, deaf.session, lane=lane)
        neighbours.settle()
        assert again.ready and again.session.id == session_id and again.session.events == [b"one"]
        assert near.server.registry.sessions == {}

    def test_it_was_confirmed_meanwhile(self, make: MakeNeighbours):
        """What was under way is not to become a second session."""
        neighbours = make()
        near, far = neighbours.worlds
        first = RecordClient(far)
        neighbours.settle()
        first.send(b"one")  # which confirms it
        neighbours.settle()
        late = Session()
        late.handle, late.secret = first.session.handle, first.session.secret
        again = RecordClient(near, late)
        neighbours.settle()
        assert not again.ready and told(again).code == Code.SUPERSEDED
        assert first.ready and not first.ended and near.server.registry.sessions == {}

    def test_many_at_once_are_one_question(self, make: MakeNeighbours):
        neighbours = make()
        near, _ = neighbours.worlds
        many = [RecordClient(near) for _ in range(20)]
        neighbours.settle()
        assert all(client.ready for client in many) and neighbours.ways[0].asked == 1
        assert len(near.server.registry.sessions) == 20


class TestEvents:
    @pytest.mark.parametrize("lane", [ws, wss], ids=["http", "https"])
    def test_a_stream(self, make: MakeNeighbours, lane: ModuleType):
        neighbours = make()
        near, far = neighbours.worlds
        client = stream(far)
        far.master.send(client.id, b"one")
        neighbours.settle()
        client.cut()
        neighbours.settle()
        far.master.send(client.id, b"two")
        back = EventClient(near, client.source.last_id, lane=lane)
        neighbours.settle()
        assert back.id == client.id and back.got == [b"two"]
        assert relayed(neighbours) == (lane is wss)

    @pytest.mark.parametrize("lane", [ws, wss], ids=["http", "https"])
    @pytest.mark.parametrize("pieces", [1, 3])
    def test_a_packet(self, make: MakeNeighbours, lane: ModuleType, pieces: int):
        neighbours = make()
        near, far = neighbours.worlds
        client = stream(far)
        words = post(client.token, b"x" * 3000)
        caller = Caller(near, words[: len(words) // pieces], lane=lane)
        neighbours.settle()
        caller.write(words[len(words) // pieces :])
        neighbours.settle()
        assert caller.statuses == [202] and far.master.data[client.id] == [b"x" * 3000]

    @pytest.mark.parametrize("lane", [ws, wss], ids=["http", "https"])
    def test_requests_of_many_on_one_connection(self, make: MakeNeighbours, lane: ModuleType):
        """It goes from one worker to the next, and every request has its answer, in order."""
        neighbours = make(3)
        clients = [stream(world) for world in neighbours.worlds]
        order = [1, 2, 0, 0, 1, 1, 2]
        words = [post(clients[home].token, b"%d" % number) for number, home in enumerate(order)]
        caller = Caller(neighbours.worlds[0], b"".join(words), lane=lane)
        neighbours.settle()
        assert caller.statuses == [202] * len(order)
        for home, client in enumerate(clients):
            sent = [b"%d" % number for number, at in enumerate(order) if at == home]
            assert neighbours.worlds[home].master.data[client.id] == sent
        assert relayed(neighbours) == (lane is wss), "a joint goes on as it is"

    def test_whose_a_proxy_says_that_they_are(self, make: MakeNeighbours):
        """That goes along: the name by which the next request is judged, and the one that logs show."""
        neighbours = make(settings={"web.forwarded": "x-forwarded-for"})
        near, far = neighbours.worlds
        client = stream(far)
        back = EventClient(near, client.source.last_id, "X-Forwarded-For: 192.0.2.9")
        caller = Caller(near, post(client.token, b"x", "X-Forwarded-For: 192.0.2.8"))
        neighbours.settle()
        assert caller.statuses == [202] and back.id == client.id
        (connection,) = far.server.clients.connections
        assert connection.peer.startswith("192.0.2.9")
        assert [arrival.peer.startswith("192.0.2.8") for arrival in far.server.arrivals] == [True]

    def test_one_that_nobody_knows(self, make: MakeNeighbours):
        neighbours = make()
        near, far = neighbours.worlds
        client = stream(far)
        far.server.expel(client.id)
        neighbours.settle()
        caller = Caller(near, post(client.token, b"x"))
        neighbours.settle()
        assert caller.statuses == [410]
