"""A client that loses its connection and comes back: what it missed, once, in order, before anything new."""

from __future__ import annotations

import socket
from types import ModuleType
from typing import Any

import pytest
from kit.lanes import tcp, toy
from kit.world import MakeWorld, numbered

from voltlane.lanes.connection import MOST_READ_OUT, ClientConnection
from voltlane.lanes.fairness.turns import FIRST_QUANTUM, PARKED, QUANTUM
from voltlane.lanes.prefix import PrefixConnection
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.crypto import seal
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import ChallengeResponse, Ping


def test_everything_missed_once_in_order(make: MakeWorld):
    home = make()
    client = home.new()
    payloads = numbered(400)
    home.master.send(client.id, *payloads[:100])
    home.settle()
    client.cut()
    home.settle()
    home.master.send(client.id, *payloads[100:300])
    home.settle()
    again = home.resume(client)
    home.master.send(client.id, *payloads[300:])
    home.settle()
    assert again.id == client.id and again.got == payloads
    assert home.master.notices(Flag.RECONNECTION) == [(client.id, b"")]


def test_what_was_queued_when_the_connection_died_is_not_lost(make: MakeWorld):
    home = make()
    client = home.new()
    client.reading = False
    payloads = numbered(300, 300)
    home.master.send(client.id, *payloads)
    home.settle()
    client.cut()
    home.settle()
    home.master.send(client.id, *numbered(5, start=300))
    home.settle()
    home.resume(client)
    assert client.got == payloads + numbered(5, start=300)


def test_lost_in_the_middle_of_the_replay_again_and_again(make: MakeWorld):
    home = make()
    client = home.new()
    client.cut()
    home.settle()
    payloads = numbered(500, 200)
    home.master.send(client.id, *payloads)
    home.settle()
    current = client
    for _ in range(100):
        current = home.start_resume(current)
        for _ in range(3):
            home.loop.turn(0)
            current.pump()
        current.cut()
        home.settle()
        if current.got == payloads:
            break
    home.resume(current)
    assert client.got == payloads


def test_lost_before_the_last_word_of_the_handshake_was_written(make: MakeWorld):
    """That word is the connection's, not the session's: it must not come again as data."""
    home = make()
    client = home.new()
    client.cut()
    home.settle()
    home.master.send(client.id, b"missed")
    for _ in range(3):
        client = home.start_resume(client)
        while not client.challenge:
            home.loop.turn(0)
            client.on_challenge = lambda: None  # type: ignore[method-assign]
            client.pump()
        client.prove()
        client.cut()  # the proof is there, and nobody to answer to
        home.settle()
    assert home.resume(client).got == [b"missed"]


def test_last_words_behind_the_proof_of_a_client_that_is_gone_by_then(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    home = make()
    client = home.new()
    client.cut()
    home.settle()
    again = home.start_resume(client)
    again.on_challenge = lambda: None  # type: ignore[method-assign]
    home.settle()
    monkeypatch.setattr(home.server.connection_log, "here", lambda *_: pytest.fail("it is not here"))
    again.prove()
    again.send(b"last words")
    again.write(frame(b"cut")[:5])  # nobody is left to keep this for
    again.cut()
    home.settle()
    assert home.master.data[client.id] == [b"last words"]
    monkeypatch.undo()
    home.resume(client)


def test_nothing_comes_behind_the_end_of_a_session(make: MakeWorld):
    """It ends with its connection, which is lost in the middle of a resume that brought data, too."""
    home = make({"clients.max_stale_clients": 0})
    client = home.new()
    again = home.start_resume(client)
    again.on_challenge = lambda: None  # type: ignore[method-assign]
    home.settle()
    again.prove()
    again.send(b"too late")
    again.cut()
    home.settle()
    assert home.server.registry.sessions == {} and [tagged.flag for tagged in home.master.log][-1] is Flag.FAILURE


def test_a_replay_larger_than_every_limit_of_an_outbox(make: MakeWorld):
    home = make({"clients.outbox_bytes": 20_000, "clients.channel_capacity": 10, "clients.slow_secs": 1})
    client = home.new()
    client.cut()
    home.settle()
    payloads = numbered(1000, 200)
    home.master.send(client.id, *payloads)
    home.settle()
    again = home.start_resume(client)
    again.reading = False
    for _ in range(20):
        home.loop.turn(0)
        if not again.challenge:
            again.read()
    home.pass_(5)
    assert not again.ended, "a replay is no overflow, however slowly it is read"
    again.reading = True
    home.settle()
    assert client.got == payloads


def test_what_comes_behind_a_replay_counts(make: MakeWorld):
    home = make({"clients.outbox_bytes": 20_000})
    client = home.new()
    client.cut()
    home.settle()
    home.master.send(client.id, *numbered(1000, 200))
    home.settle()
    again = home.start_resume(client)
    while not again.ready:
        home.loop.turn(0)
        again.pump()
    again.reading = False
    home.master.send(client.id, *numbered(200, 200))
    home.settle()
    again.reading = True
    home.settle()
    assert again.ended and home.master.notices(Flag.FAILURE) == [(client.id, b"buffer overflow")]


def test_takeover(make: MakeWorld):
    """Half-open: the old connection still counts as live when its client is back."""
    home = make()
    client = home.new()
    client.reading = False
    payloads = numbered(300, 300)
    home.master.send(client.id, *payloads)
    home.settle()
    client.send(b"old words")
    client.write(frame(b"cut in the middle")[:9])
    again = home.start_resume(client)
    again.on_challenge = lambda: None  # type: ignore[method-assign]
    home.settle()
    assert again.challenge and not client.ended
    again.prove()
    again.send(b"new words")
    home.loop.spin()
    client.read()  # what the old connection had taken; a part of a frame is left in it
    assert client.ended and client.got == payloads[: len(client.got)]
    home.settle()
    assert client.got == payloads and home.connected() == 1
    assert home.server.counters.closed == {CloseReason.TAKEN_OVER: 1}
    said = [(tagged.flag, tagged.data) for tagged in home.master.log]
    assert said == [(Flag.DATA, b"old words"), (Flag.RECONNECTION, b""), (Flag.DATA, b"new words")]


def test_a_mistake_on_the_old_connection_is_not_the_new_ones(make: MakeWorld):
    home = make()
    client = home.new()
    home.server.clients.connections[0].flags |= PARKED  # nobody has read this when the client is back
    client.send(b"before it")
    client.write(b"\xff\xff\xff\xff")
    home.resume(client)
    assert home.master.data[client.id] == [b"before it"] and home.connected() == 1
    assert home.server.counters.closed == {CloseReason.TAKEN_OVER: 1}


@pytest.mark.parametrize("stale", [False, True], ids=["live", "stale"])
@pytest.mark.parametrize("how", ["reflected", "wrong", "short", "nothing"])
def test_a_failed_proof_changes_nothing(make: MakeWorld, stale: bool, how: str):
    home = make()
    client = home.new()
    if stale:
        client.cut()
        home.settle()
        home.master.send(client.id, b"missed")
        home.settle()
    thief = home.start_resume(client)
    thief.got = []

    def answer() -> None:
        blob = {"reflected": thief.challenge, "wrong": seal(bytes(32), bytes(32)), "short": b"x", "nothing": b""}[how]
        thief.say(ChallengeResponse(blob), Ping())

    thief.on_challenge = answer  # type: ignore[method-assign]
    home.settle()
    reason = CloseReason.REFLECTED_PROOF if how == "reflected" else CloseReason.BAD_PROOF
    assert thief.ended and thief.got == [] and home.server.counters.closed[reason] == 1
    if stale:
        assert home.resume(client).got == [b"missed"]
    else:
        home.master.send(client.id, b"still here")
        home.settle()
        assert client.got == [b"still here"] and not client.ended


@pytest.mark.parametrize("size", [1, QUANTUM])
def test_a_takeover_reads_only_so_much(make: MakeWorld, monkeypatch: pytest.MonkeyPatch, size: int):
    """Of an old connection to which more and more is sent."""
    home = make()
    client = home.new()
    reads = []

    def receive(connection: PrefixConnection, most: int) -> int:
        reads.append(size)
        return size

    monkeypatch.setattr(PrefixConnection, "receive", receive)
    new = home.start_resume(client)
    while not new.ready:
        home.loop.turn(0)
        new.pump()
    monkeypatch.undo()
    assert len(reads) == MOST_READ_OUT // max(size, FIRST_QUANTUM)
    home.settle()


def test_no_takeover_while_what_the_old_connection_has_sent_cannot_be_passed_on(make: MakeWorld):
    """One client that takes its session over again and again must not get in what others wait with, nor lose it."""
    home = make({"master.outbox_bytes": 500_000})
    home.master.reading = False
    client, sent = home.new(), []
    for _ in range(20):
        sent.append(numbered(1000, 1000, start=1000 * len(sent)))
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 << 20)
        client.send(*sent[-1])
        again = home.start_resume(client)
        home.settle()
        if not again.ready:
            break
        client = again
    assert again.ended and not client.ended and 1 < len(sent) < 20
    assert home.server.counters.closed == {CloseReason.TAKEN_OVER: len(sent) - 1, CloseReason.TAKEOVER_EARLY: 1}
    home.master.reading = True
    home.settle()
    again = home.resume(client)
    again.send(b"the end")
    home.settle()
    assert home.master.data[client.id] == [*numbered(1000 * len(sent), 1000), b"the end"]


@pytest.mark.parametrize("lane", [tcp, toy])
def test_what_comes_because_of_our_own_end_is_passed_on(make: MakeWorld, lane: ModuleType):
    """The other side's system may keep a small packet back until it hears from us (RFC 896), our FIN included."""
    home = make()
    client = home.new(lane=lane)
    sock = home.server.clients.connections[0].sock
    assert sock is not None
    end_sending = ClientConnection.end_sending

    def and_hear(connection: ClientConnection, *arguments: Any) -> None:
        end_sending(connection, *arguments)
        client.send(b"kept back until now")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClientConnection, "end_sending", and_hear)
        again = home.start_resume(client, lane=lane)
        again.on_challenge = lambda: (again.prove(), again.send(b"new words"))  # type: ignore[method-assign, assignment]
        home.settle()
    assert again.ready
    said = [(tagged.flag, tagged.data) for tagged in home.master.log]
    assert said == [(Flag.DATA, b"kept back until now"), (Flag.RECONNECTION, b""), (Flag.DATA, b"new words")]


def test_what_is_read_behind_the_end_is_dropped_and_counted(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    home = make()
    client = home.new()
    hand_over = ClientConnection.leave_session

    def and_more(connection: ClientConnection) -> Any:
        client.write(frame(b"too late"))
        return hand_over(connection)

    monkeypatch.setattr(ClientConnection, "leave_session", and_more)
    home.resume(client)
    assert home.server.counters.bytes_discarded == len(frame(b"too late")) and home.master.data == {}


@pytest.mark.parametrize("throttled", [False, True])
def test_who_cannot_be_written_to_any_more_may_have_said_something(make: MakeWorld, throttled: bool):
    """A send that fails says nothing about what is there to be read, nor does a rate that is owed."""
    home = make({"clients.packet_rate": 1, "clients.rate_burst_secs": 1} if throttled else {})
    client, connection = home.new(), home.server.clients.connections[0]
    if throttled:
        client.send(b"1", b"2", b"3")
        home.settle()
        client.send(b"4")
        home.settle()
    before = len(home.master.data.get(client.id, ()))
    connection.flags |= PARKED  # it is not read for the moment
    client.send(b"last words")
    connection.close(CloseReason.PEER_LOST)
    home.settle()
    assert home.master.data.get(client.id, [])[before:] == [b"4"] * throttled + [b"last words"]


@pytest.mark.parametrize("counted", [0, 1])
def test_a_replay_is_one_on_the_next_connection_too(make: MakeWorld, counted: int):
    """What limits did not count there, they do not count here; what came behind it they do, as they did."""
    home = make({"clients.outbox_bytes": 20_000})
    client = home.new()
    client.cut()
    home.settle()
    home.master.send(client.id, *numbered(60, 1000))
    home.settle()
    for _ in range(3):
        client = home.start_resume(client)
        while not client.ready:
            home.loop.turn(0)
            client.pump()
        client.reading = False
        home.settle()
    if counted:
        home.master.send(client.id, *numbered(15, 1000, start=60))
        home.settle()
        again = home.start_resume(client)
        while not again.ready:
            home.loop.turn(0)
            again.pump()
        again.reading = False
        client.read()
        client = again
        home.master.send(client.id, *numbered(10, 1000, start=75))
        home.settle()
        assert home.server.counters.ended == {EndReason.OVERFLOW: 1}
    else:
        client.reading = True
        home.settle()
        assert client.got[-1] == numbered(60, 1000)[-1] and home.server.counters.ended == {}


def test_a_session_has_its_time(make: MakeWorld):
    home = make()
    client, other = home.new(), home.new()
    client.cut()
    home.pass_(19)
    assert client.id in home.server.registry.sessions
    home.pass_(5)
    assert home.master.notices(Flag.FAILURE) == [(client.id, b"Client disconnected")]
    late = home.start_resume(client)
    home.settle()
    assert late.ended and home.server.counters.closed[CloseReason.UNKNOWN_SESSION] == 1
    assert not other.ended and home.loop.timers == 0


def test_a_session_that_ends_under_its_resume(make: MakeWorld):
    home = make()
    client = home.new()
    client.cut()
    home.settle()
    again = home.start_resume(client)
    again.on_challenge = lambda: None  # type: ignore[method-assign]
    home.settle()
    home.master.kick(client.id)
    home.settle()
    again.prove()
    home.settle()
    assert again.ended and home.server.counters.closed[CloseReason.SESSION_ENDED] == 1


def test_kick(make: MakeWorld):
    home = make()
    live, stale, other = home.new(), home.new(), home.new()
    stale.cut()
    home.settle()
    live.reading = False
    home.master.send(live.id, *numbered(500, 300))
    for client in (live, stale):
        home.master.kick(client.id)
    home.settle()
    live.read()
    assert live.ended, "at once, flushed or not"
    assert set(home.server.registry.sessions) == {other.id} and not other.ended
    assert home.server.counters.ended == {EndReason.KICKED: 2}
    assert home.master.notices(Flag.FAILURE) == []
    home.master.send(live.id, b"late", b"later")
    home.settle()
    assert home.master.notices(Flag.FAILURE) == [(live.id, b"Client not found")] * 2
    home.pass_(30)
    assert len(home.master.notices(Flag.FAILURE)) == 2
