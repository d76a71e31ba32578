"""A client that says that it will not come back (SPEC 5.4), and everything that is no goodbye."""

from __future__ import annotations

import random
import socket

import pytest
from kit.sockets import end_hard
from kit.world import CLIENT_KEY, Client, MakeWorld, World

from voltlane.config import SETTINGS
from voltlane.core.session import State
from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.framing import GOODBYE, frame
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import Ping, ProtocolVersion, PubKey, encode


class Tcp(Client):
    def pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ours = socket.create_connection(listening.getsockname())
            theirs, _ = listening.accept()
        return theirs, ours

    def reset(self) -> None:
        end_hard(self.sock)
        self.cut()


def end(client: Client) -> None:
    """Nothing more comes from it."""
    client.sock.shutdown(socket.SHUT_WR)


def assert_gone(home: World, reason: CloseReason = CloseReason.PEER_CLOSED) -> None:
    """Its session has ended, and the master knows, behind all that it said."""
    home.settle()
    assert home.server.registry.sessions == {} and home.server.registry.stale_count == 0
    assert home.server.counters.ended == {EndReason.LEFT: 1} and home.server.counters.closed == {reason: 1}
    assert [text for _, text in home.master.notices(Flag.FAILURE)] == [b"Client disconnected"]
    assert home.master.log[-1].flag is Flag.FAILURE


def assert_stale(home: World, reason: CloseReason = CloseReason.PEER_CLOSED) -> None:
    """Its session waits for it."""
    home.settle()
    assert [session.state for session in home.server.registry.sessions.values()] == [State.STALE]
    assert not home.server.counters.ended and home.server.counters.closed == {reason: 1}
    assert not home.master.notices(Flag.FAILURE)


# ---- a goodbye


@pytest.mark.parametrize("cuts", [(), (1,), (2,), (1, 2)])
@pytest.mark.parametrize("behind", [b"", frame(b"last words"), frame(bytes(100_000))], ids=["alone", "small", "large"])
def test_however_it_comes(make: MakeWorld, cuts: tuple[int, ...], behind: bytes):
    home = make()
    client = home.new()
    for start, stop in zip((0, *cuts), (*cuts, 3)):
        client.write(GOODBYE[start:stop] if start else behind + GOODBYE[:stop])
        home.settle()
    assert home.server.registry.sessions, "only the end of the stream ends it"
    end(client)
    assert_gone(home)
    assert home.master.data[client.id] == ([behind[4:]] if behind else [])
    assert client.ended


def test_all_at_once_with_the_handshake(make: MakeWorld):
    home = make()
    client = Client(home)
    hello = b"".join(frame(encode(packet)) for packet in (ProtocolVersion(2), PubKey(CLIENT_KEY.public)))
    client.write(hello + frame(b"hello and") + GOODBYE)
    end(client)
    assert_gone(home)
    assert client.ready and home.master.data[client.id] == [b"hello and"]


def test_with_the_last_packet_of_a_resume(make: MakeWorld):
    home = make()
    first = home.new()
    end(first)
    home.settle()
    client = Client(home, resumes=first)
    client.on_challenge = lambda: None  # type: ignore[method-assign]
    client.greet()
    home.settle()
    client.write(frame(encode(client.proof())) + frame(encode(Ping())) + GOODBYE)
    end(client)
    home.settle()
    assert client.ready and home.server.counters.ended == {EndReason.LEFT: 1} and not home.server.registry.sessions


def test_with_a_reset_behind_it(make: MakeWorld):
    """As of a client that had something unread when it closed."""
    home = make()
    client = Tcp(home)
    client.greet()
    home.settle()
    client.write(GOODBYE)
    home.settle()
    client.reset()
    assert_gone(home, CloseReason.PEER_LOST)


def test_while_the_master_does_not_read(make: MakeWorld):
    """It is heard when it is its turn, behind what it said before."""
    home = make({"master.channel_capacity": 4})
    client = home.new()
    home.master.reading = False
    client.send(*[b"x" * 50_000] * 40)
    client.write(GOODBYE)
    home.settle()
    assert home.server.clients.turns.paused
    home.master.reading = True
    home.settle()
    end(client)
    assert_gone(home)
    assert len(home.master.data[client.id]) == 40


def test_what_waited_for_it_is_dropped(make: MakeWorld):
    home = make()
    client = home.new()
    client.reading = False
    home.master.send(client.id, *[bytes(1000)] * 100)
    home.settle()
    assert home.server.budget.used
    client.write(GOODBYE)
    end(client)
    home.settle()
    assert not home.server.registry.sessions and not home.server.budget.used


def test_where_sessions_are_not_kept_at_all(make: MakeWorld):
    home = make({"clients.stale_timeout_secs": 0})
    client = home.new()
    client.write(GOODBYE)
    end(client)
    assert_gone(home)


# ---- none


@pytest.mark.parametrize(
    "words",
    [
        b"",
        GOODBYE[:1],
        GOODBYE[:2],
        GOODBYE[:2] + b"\xfe",
        frame(GOODBYE),
        frame(GOODBYE * 2)[:-3],
        frame(GOODBYE * 30_000)[:-3],
        frame(b"x") + frame(GOODBYE)[:-1],
    ],
    ids=["nothing", "one", "two", "another", "a packet", "within a packet", "within a large one", "the end of one"],
)
def test_what_is_none(make: MakeWorld, words: bytes):
    home = make()
    client = home.new()
    client.write(words)
    home.settle()
    end(client)
    assert_stale(home)


def test_a_size_is_none(make: MakeWorld):
    home = make()
    client = home.new()
    client.write(GOODBYE + b"\xff")
    assert_stale(home, CloseReason.FRAME_TOO_LARGE)


def test_without_an_end_nothing_happens(make: MakeWorld):
    home = make({"clients.idle_secs": 30})
    client = home.new()
    client.write(GOODBYE)
    home.pass_(29)
    assert home.server.registry.live()
    home.pass_(2)
    assert_stale(home, CloseReason.IDLE)  # which is our end, and not the client's


def test_no_stream_that_is_cut_anywhere_ends_with_one(make: MakeWorld):
    """The first three bytes of a size are never those, whatever the packets are."""
    assert SETTINGS["clients.packet_size_limit"].default < 0xFFFFFF and frame(bytes(8388599))[2] < 0x80
    home, chance = make(), random.Random(15)
    client = home.new()
    for _ in range(150):
        stream = b"".join(frame(b"\xff" * chance.choice([0, 1, 3, 254, 255, 256, 65535])) for _ in range(3))
        client.write(stream[: chance.randrange(len(stream) + 1)])
        home.settle()
        if chance.random() < 0.5:
            end(client)
        else:
            client.cut()
        home.settle()
        assert home.server.registry.stale_count == 1
        client = home.resume(client)
    assert not home.server.counters.ended


def test_on_a_connection_that_was_taken_over(make: MakeWorld):
    """Who has come back has not left, in whatever order that is heard."""
    home = make()
    old = home.new()
    old.write(frame(b"before") + GOODBYE)
    home.settle()
    new = home.resume(old)
    end(old)
    home.settle()
    assert not home.server.counters.ended and not new.ended
    home.master.send(new.id, b"still here")
    home.settle()
    assert new.got == [b"still here"] and home.master.data[new.id] == [b"before"]


def test_on_a_connection_that_is_taken_over_before_it_is_read(make: MakeWorld):
    home = make()
    old = home.new()
    proven = Client(home, resumes=old)
    proven.on_challenge = lambda: None  # type: ignore[method-assign]
    proven.greet()
    home.settle()
    proven.say(proven.proof(), Ping())
    old.write(frame(b"before") + GOODBYE)
    end(old)
    home.settle()
    # Whichever of the two was read first: the client is told that it is back, or that its session is gone.
    assert proven.ready != (home.server.counters.ended == {EndReason.LEFT: 1})
    assert proven.ready != proven.ended
    assert home.master.data[old.id] == [b"before"]


def test_a_kick_comes_first(make: MakeWorld):
    home = make()
    client = home.new()
    client.write(GOODBYE)
    home.settle()
    home.master.kick(client.id)
    home.settle()
    assert home.server.counters.ended == {EndReason.KICKED: 1} and home.master.notices(Flag.FAILURE) == []
