"""Descriptors and notes over a real socket pair."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from voltlane.cluster.handover.notes import Kind, head_of, note
from voltlane.cluster.handover.wire import Ended, Wire
from voltlane.store.records import Damaged


@pytest.fixture
def ends() -> Iterator[tuple[Wire, Wire]]:
    one, two = map(Wire, socket.socketpair())
    one.allow(10)
    two.allow(10)
    yield one, two
    one.close()
    two.close()


def test_many_descriptors_come_in_order_each_with_its_note(ends: tuple[Wire, Wire]) -> None:
    giver, taker = ends
    pairs = [os.pipe() for _ in range(700)]

    def say() -> None:
        for number, (_, end) in enumerate(pairs):
            giver.say(note(Kind.SESSION, number, bytes(number * 7)))
            giver.say(note(Kind.CONNECTION, number), end)
        giver.say(note(Kind.END, 2 * len(pairs)))
        giver.flush()

    thread = threading.Thread(target=say)
    thread.start()
    try:
        for number, (begin, _) in enumerate(pairs):
            assert taker.note().data == bytes(number * 7)
            assert taker.note() == (Kind.CONNECTION, number, b"")
            with os.fdopen(taker.descriptor(), "wb", 0) as file:
                assert not os.get_inheritable(file.fileno())
                file.write(b"%d" % number)
            assert os.read(begin, 100) == b"%d" % number
        assert taker.note().kind is Kind.END
        with pytest.raises(Damaged, match="missing"):
            taker.descriptor()
    finally:
        thread.join()
        for pair in pairs:
            for descriptor in pair:
                os.close(descriptor)


def test_descriptors_that_nobody_took_are_closed(ends: tuple[Wire, Wire]) -> None:
    giver, taker = ends
    begin, end = os.pipe()
    giver.say(note(Kind.CONNECTION, 1), end)
    giver.flush()
    os.close(end)
    assert taker.note().number == 1
    taker.close()
    assert os.read(begin, 1) == b"", "the copy is closed as well"
    os.close(begin)


def test_who_is_gone_or_silent_is_told_apart(ends: tuple[Wire, Wire]) -> None:
    giver, taker = ends
    taker.allow(0.01)
    with pytest.raises(Ended, match="in time"):
        taker.note()
    giver.word(head_of(note(Kind.READY))[:5])
    with pytest.raises(Ended, match="in time"):
        taker.note()
    giver.close()
    with pytest.raises(Ended, match="has ended"):
        taker.note()
    with pytest.raises(Ended):
        for _ in range(100):
            taker.say(bytes(1 << 18))


def test_who_takes_nothing_is_not_waited_for_without_end(ends: tuple[Wire, Wire]) -> None:
    giver, _ = ends
    giver.allow(0.05)
    with pytest.raises(Ended, match="in time"):
        for _ in range(100):
            giver.say(bytes(1 << 18))


def test_without_waiting(ends: tuple[Wire, Wire]) -> None:
    giver, taker = ends
    assert taker.receive_now()
    assert taker.note_now() is None and taker.greeting_now() is None
    notes = note(Kind.READY) + note(Kind.REFUSED, 0, b"why")
    whole = head_of(notes) + notes
    for byte in whole[:-1]:
        giver.word(bytes((byte,)))
        assert taker.receive_now()
        assert taker.note_now() is None
    giver.word(whole[-1:])
    giver.close()
    assert not taker.receive_now(), "that was all"
    assert taker.note_now() == (Kind.READY, 0, b"")
    assert taker.note_now() == (Kind.REFUSED, 0, b"why")
    assert taker.note_now() is None
