"""Handshakes on a fake clock: how they arrive, how long they may take, what ends them, and what is behind them."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
from kit.frames import join
from kit.record_world import RecordClient
from kit.world import CLIENT_KEY, SERVER_KEY, Client, MakeWorld, World, numbered, world

from voltlane.lanes.fairness.turns import HANDSHAKE_BUDGET, KEY_AGREEMENT_COST, LOUD, QUANTUM
from voltlane.lanes.table import TCP
from voltlane.net.poller import READ, SelectorPoller
from voltlane.reasons import CloseReason
from voltlane.wire.framing import FrameBuffer, frame
from voltlane.wire.v2 import Challenge, ChallengeResponse, ClientId, Ping, ProtocolVersion, PubKey, decode, encode

HELLO = b"".join(frame(encode(packet)) for packet in (ProtocolVersion(2), PubKey(CLIENT_KEY.public)))


def test_bytes_behind_the_handshake_are_data(make: MakeWorld):
    home = make()
    client = Client(home)
    client.write(
        b"".join(frame(encode(packet)) for packet in (ProtocolVersion(2), PubKey(CLIENT_KEY.public)))
        + join([b"a", b"bb"])
        + frame(b"ccc")[:5]
    )
    home.settle()
    assert client.ready and home.master.data[client.id] == [b"a", b"bb"]
    client.write(frame(b"ccc")[5:])
    home.settle()
    assert home.master.data[client.id] == [b"a", b"bb", b"ccc"]


def test_one_byte_at_a_time(make: MakeWorld):
    home = make()
    client = Client(home)
    packets = (ProtocolVersion(2), PubKey(CLIENT_KEY.public))
    stream = b"".join(frame(encode(packet)) for packet in packets) + join([b"one", b"", b"three"])
    for byte in stream:
        client.write(bytes([byte]))
        home.loop.turn(0)
        client.pump()
    home.settle()
    assert home.master.data[client.id] == [b"one", b"", b"three"]


def test_a_client_that_leaves_in_its_handshake_is_noticed(make: MakeWorld):
    home = make()
    client = Client(home)
    client.say(ProtocolVersion(2))
    client.cut()
    home.settle()
    assert home.connected() == 0 and home.loop.timers == 0 and home.server.registry.sessions == {}


def test_a_client_that_leaves_behind_a_part_of_its_handshake_is_noticed(make: MakeWorld):
    """There is one event for both, and no answer whose sending would tell."""
    home = make()
    client = Client(home)
    client.write(HELLO[:3])
    client.cut()
    home.settle()
    assert home.connected() == 0 and home.server.counters.closed == {CloseReason.PEER_CLOSED: 1}


def test_a_handshake_has_its_time(make: MakeWorld):
    home = make({"clients.handshake_secs": 5})
    silent, slow, done = Client(home), Client(home), home.new()
    slow.say(ProtocolVersion(2))
    home.pass_(4.5)
    assert not silent.ended and not slow.ended
    slow.write(b"\x01")  # a byte now and then buys nothing
    home.pass_(0.6, step=0.05)
    assert silent.ended and slow.ended and not done.ended
    assert home.server.counters.closed == {CloseReason.HANDSHAKE_TIMEOUT: 2}
    home.pass_(100)
    assert not done.ended, "who has a session has all the time"


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (frame(b"x" * 129), CloseReason.FRAME_TOO_LARGE),
        (b"\xff\xff\xff\xff", CloseReason.FRAME_TOO_LARGE),
        (frame(b"\x09"), CloseReason.MALFORMED_PACKET),
        (frame(bytes(128)), CloseReason.MALFORMED_PACKET),
        (frame(encode(Ping())), CloseReason.UNEXPECTED_PACKET),
        (frame(encode(ProtocolVersion(3))), CloseReason.UNSUPPORTED_VERSION),
        (frame(encode(ProtocolVersion(2))) + frame(encode(PubKey(b"\x02" + bytes(32)))), CloseReason.BAD_PUBLIC_KEY),
        (frame(encode(ProtocolVersion(2))) + frame(encode(ClientId(99))), CloseReason.UNKNOWN_SESSION),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, CloseReason) else "",
)
def test_each_mistake_has_its_reason_and_closes_one_connection(make: MakeWorld, chunk: bytes, reason: CloseReason):
    home = make()
    other, bad = home.new(), Client(home)
    bad.write(chunk)
    home.settle()
    assert bad.ended and not other.ended and home.server.counters.closed == {reason: 1}
    assert set(home.server.registry.sessions) == {other.id}


def test_a_mistake_behind_the_handshake_is_one_of_the_session(make: MakeWorld):
    home = make()
    client = Client(home)
    client.write(HELLO + join([b"data"]) + b"\xff\xff\xff\xff")
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1}
    assert home.master.data[client.id] == [b"data"]
    home.resume(client)


def test_a_flood_of_handshakes_is_worked_off_in_turns(make: MakeWorld):
    home = make()
    client = home.new()
    crowd = [home.start_new() for _ in range(200)]
    client.send(b"me too")
    home.loop.turn(0)
    home.loop.turn(0)
    home.pump()
    assert home.master.data[client.id] == [b"me too"] and not all(one.ready for one in crowd)
    home.settle()
    assert all(one.ready for one in crowd)
    assert sorted(one.id for one in crowd) == list(range(2, 202))


def test_a_flood_of_hellos_of_version_3_is_worked_off_in_turns(make: MakeWorld):
    """Each costs the server a key agreement, and whoever sends it nothing."""
    home = make()
    client = home.new()
    crowd = [RecordClient(home, auto=False) for _ in range(200)]
    client.send(b"me too")
    home.loop.turn(0)
    home.loop.turn(0)
    home.pump()
    answered = sum(one.endpoint.server_key != b"" for one in crowd)
    assert home.master.data[client.id] == [b"me too"]
    assert answered <= 2 * (HANDSHAKE_BUDGET // KEY_AGREEMENT_COST + 1)
    home.settle()
    assert all(one.endpoint.server_key for one in crowd)


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("size", [300, 448 - len(HELLO), 449 - len(HELLO), 20_000, 300_000])
def test_much_behind_the_handshake(make: MakeWorld, size: int, leaves: bool):
    """However it falls into reads, and even if there will be no other event: not because the client reads either."""
    home = make()
    client = Client(home)
    client.reading = False
    payloads = [*numbered(size // 100, 96), b"x" * (size % 100)]
    client.write(HELLO + join(payloads)[:-4][:size])
    if leaves:
        while client.waiting:
            home.loop.turn(0)
            client.pump()
        client.sock.shutdown(socket.SHUT_WR)
    home.settle()
    received = join(home.master.data[1])
    assert received == join(payloads)[: len(received)] and len(received) > size - 200
    assert home.connected() == (0 if leaves else 1)


def full_connection(home: World) -> tuple[socket.socket, int]:
    """A client's end of a connection whose other end takes nothing more, and how much is in it."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    filler = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filler += theirs.send(b"x" * 1000)
    home.server.arrivals.accept(theirs, "", None, TCP, None)
    return ours, filler


def read_all(home: World, sock: socket.socket) -> bytes:
    """All that there is, as it comes."""
    received = b""
    for _ in range(1000):
        home.settle()
        with contextlib.suppress(BlockingIOError):
            received += sock.recv(1 << 20)
    return received


def test_answers_wait_for_room_in_the_socket(make: MakeWorld):
    home = make()
    ours, filler = full_connection(home)
    ours.send(HELLO + frame(b"data"))
    home.settle()
    home.master.send(1, b"an answer")
    home.settle()
    frames = FrameBuffer(1000)
    frames.feed(read_all(home, ours)[filler:])
    assert [decode(frames.pop() or b"") for _ in range(2)] == [PubKey(SERVER_KEY.public), ClientId(1)]
    assert list(frames) == [b"an answer"] and home.master.data[1] == [b"data"]
    ours.close()
    home.settle()


def test_answers_wait_for_room_in_the_middle_of_a_handshake(make: MakeWorld):
    home = make()
    owner = home.new()
    ours, filler = full_connection(home)
    for packet in (ProtocolVersion(2), ClientId(owner.id)):
        ours.send(frame(encode(packet)))
        home.settle()
    frames = FrameBuffer(1000)
    frames.feed(read_all(home, ours)[filler:])
    assert [type(decode(payload)) for payload in frames] == [PubKey, Challenge]
    ours.close()
    home.settle()


def test_another_time_limit_holds_for_those_under_way(make: MakeWorld):
    home = make({"clients.handshake_secs": 100})
    early = Client(home)
    home.pass_(5)
    late = Client(home)
    home.server.arrivals.configure(7, 3)
    home.pass_(3, step=0.05)
    assert early.ended and not late.ended
    home.pass_(5, step=0.05)
    assert late.ended and home.loop.timers == 0 and len(home.server.arrivals) == 0


def test_nothing_runs_when_no_handshake_is_under_way(make: MakeWorld):
    home = make()
    before = home.loop.timers
    clients = [Client(home) for _ in range(3)]
    assert home.loop.timers == before + 1, "one timer for all of them"
    for client in clients:
        client.greet()
    home.settle()
    assert home.loop.timers == before


def test_an_event_that_brings_nothing_changes_nothing(make: MakeWorld):
    home = make()
    client = Client(home)
    home.settle()
    (greeting,) = home.server.arrivals._all.items()
    greeting.on_event(READ)
    home.settle()
    client.greet()
    home.settle()
    assert client.ready and home.server.counters.closed == {}


def test_the_end_of_the_server_is_that_of_handshakes(make: MakeWorld):
    home = make()
    client = home.new()
    strangers = [Client(home), Client(home)]
    home.server.arrivals.close()
    home.settle()
    assert all(stranger.ended for stranger in strangers) and not client.ended
    assert home.server.counters.closed == {CloseReason.SHUTDOWN: 2} and home.connected() == 1


def test_a_client_without_an_id_to_have_leaves_nothing_behind(make: MakeWorld):
    home = make()
    home.server.registry.ids.last = 0
    client = home.start_new()
    home.settle()
    assert client.ended and home.server.counters.closed == {CloseReason.NO_IDS: 1} and home.connected() == 0


def test_who_has_an_id_comes_back_when_there_is_none_left(make: MakeWorld):
    home = make()
    client = home.new()
    home.server.registry.ids.last = client.id
    refused = home.start_new()
    home.resume(client)
    assert refused.ended and home.server.counters.closed == {CloseReason.NO_IDS: 1, CloseReason.TAKEN_OVER: 1}


def test_a_mistake_does_not_take_back_what_was_right_before_it(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """All of it in one read: the answers go out, and the key agreement counts."""
    home = make()
    owner = home.new()
    owner.cut()
    home.settle()
    agreements: list[None] = []
    monkeypatch.setattr(home.server.clients.turns, "key_agreed", lambda: agreements.append(None))

    class Guesser(Client):
        def on_challenge(self) -> None:
            """It has answered already."""

    for _ in range(2):
        guesser = Guesser(home, resumes=owner)
        guesser.say(ProtocolVersion(2), ClientId(owner.id), ChallengeResponse(bytes(72)))
        home.settle()
        assert guesser.ended and guesser.server_key == SERVER_KEY.public and len(guesser.challenge) == 72
    assert home.server.counters.closed[CloseReason.BAD_PROOF] == 2 and len(agreements) == 1
    home.resume(owner)
    home.resume(home.new())
    assert len(agreements) == 2, "once, though this handshake came in two reads"


@pytest.mark.parametrize("count", [5, 30, 500])
def test_a_client_that_says_all_it_has_to_say_and_leaves(make: MakeWorld, count: int):
    """What we write first makes its system reset the connection, and what we write then fails; so it is one write."""
    home = make()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client:
            theirs, _ = listener.accept()
            client.sendall(HELLO + join(numbered(count, 36)))
        theirs.setblocking(False)
        home.server.arrivals.accept(theirs, "", None, TCP, None)
        home.settle()
    assert home.master.data[1] == numbered(count, 36) and home.connected() == 0


def test_an_answer_that_is_written_in_part_is_written_whole():
    class Stingy(socket.socket):
        def send(self, data: Any, *_: Any) -> int:
            return super().send(data[:5])

    with world(poller=SelectorPoller) as home:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        stingy = Stingy(fileno=theirs.detach())
        stingy.setblocking(False)
        home.server.arrivals.accept(stingy, "", None, TCP, None)
        ours.send(frame(encode(ProtocolVersion(2))))
        for _ in range(20):
            home.loop.turn(0)
        received = ours.recv(1000)
        ours.close()
        home.settle()
    assert received == frame(encode(PubKey(SERVER_KEY.public)))


def test_who_says_more_than_a_handshake_is_not_yet_loud(make: MakeWorld):
    """It does not have to wait for a round of those who are."""
    home = make()
    turns, heard = home.server.clients.turns, []

    class Loud:
        flags = LOUD

        def on_readable(self) -> None:
            heard.append(len(home.master.data[1]))
            turns.spend(QUANTUM)

        def on_event(self, mask: int) -> None: ...
        def on_flush(self) -> None: ...
        def close(self, reason: CloseReason, detail: str = "") -> None: ...

    for _ in range(100):
        turns.enqueue(Loud(), False)
    client = Client(home)
    client.write(HELLO + join(numbered(20, 36)))
    home.settle()
    assert home.master.data[1] == numbered(20, 36) and heard.count(20) > 50
