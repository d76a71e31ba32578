"""The socket between parent and worker."""

from __future__ import annotations

import os
import socket

import pytest

from voltlane.cluster.handover.notes import Note, note
from voltlane.cluster.handover.wire import MOST_DESCRIPTORS, Wire
from voltlane.cluster.workers.channel import CROWDED, Channel
from voltlane.cluster.workers.notes import KINDS, Kind
from voltlane.net.reactor import Reactor


class Pair:
    """Two channels in one reactor."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.bugs: list[Exception] = []
        self.reactor.on_callback_error = lambda handler, error: self.bugs.append(error)
        self.notes: list[Note] = []
        self.ends: list[str] = []
        ours, theirs = socket.socketpair()
        self.here = Channel(self.reactor, Wire(ours, KINDS), self.notes.append, self.ends.append)
        self.there = Channel(self.reactor, Wire(theirs, KINDS), self.notes.append, self.ends.append)

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in (self.here, self.there):
            for _, sock in channel.unsent():
                if sock is not None:
                    sock.close()
            channel.end()
        self.reactor.turn(0)
        self.reactor.close()

    def turn(self, times: int = 5) -> None:
        for _ in range(times):
            self.reactor.turn(0)


def test_what_is_said_in_a_turn_comes_in_order() -> None:
    with Pair() as pair:
        for number in range(1000):
            pair.here.say(note(Kind.PING, number, b"x" * number))
        assert pair.notes == []
        for _ in range(50):
            pair.turn()
        assert [(found.kind, found.number, len(found.data)) for found in pair.notes] == [
            (Kind.PING, number, number) for number in range(1000)
        ]


def test_sockets_come_with_their_notes() -> None:
    with Pair() as pair:
        ends = []
        for number in range(MOST_DESCRIPTORS + 50):
            mine, passed = socket.socketpair()
            ends.append(mine)
            pair.here.say(note(Kind.PING, 0))
            pair.here.say(note(Kind.CONNECTION, number), passed)
            assert passed.fileno() >= 0
        pair.turn()
        found = [said for said in pair.notes if said.kind is Kind.CONNECTION]
        assert [said.number for said in found] == list(range(MOST_DESCRIPTORS + 50))
        for mine in ends:
            with pair.there.socket(socket.AF_UNIX) as theirs, mine:
                assert os.get_inheritable(theirs.fileno()) is False
                theirs.send(b"x")
                assert mine.recv(1) == b"x"


def test_nobody_waits_for_one_that_does_not_read() -> None:
    with Pair() as pair:
        pair.there._reactor.release(pair.there._wire.sock)
        _, passed = ends = socket.socketpair()
        while not pair.here.crowded:
            pair.here.say(note(Kind.PING, 0, bytes(1 << 18)))
            pair.turn(1)
        pair.here.say(note(Kind.CONNECTION, 7), passed)
        pair.turn(1)
        assert len(pair.here._pieces) > CROWDED
        pair.there.end()
        pair.turn()
        assert len(pair.ends) == 1
        unsent = pair.here.unsent()
        assert unsent[-1] == (note(Kind.CONNECTION, 7), passed) and passed.fileno() >= 0
        for sock in ends:
            sock.close()


def test_the_end_is_told_once() -> None:
    with Pair() as pair:
        pair.here.end()
        pair.turn()
        assert pair.ends == ["it has ended"]
        sock, other = socket.socketpair()
        pair.there.say(note(Kind.CONNECTION, 1), sock)
        assert sock.fileno() < 0, "nobody else has it"
        other.close()


@pytest.mark.parametrize("data", [b"\x05\0\0\0abcdefghi", b"\0\0\0\0\0\0\0\0"])
def test_what_is_not_understood_is_the_end(data: bytes) -> None:
    with Pair() as pair:
        pair.here._wire.sock.send(data)
        pair.turn()
        assert pair.ends and pair.ends[0].startswith("what it says is not understood")


def test_a_mistake_about_one_note_costs_no_other() -> None:
    with Pair() as pair:
        heard = []

        def fail(found: Note) -> None:
            heard.append(found.number)
            if found.number == 1:
                raise RuntimeError("a bug")

        pair.there._on_note = fail
        for number in range(3):
            pair.here.say(note(Kind.PING, number))
        pair.turn()
        assert heard == [0, 1, 2] and len(pair.bugs) == 1 and not pair.ends
