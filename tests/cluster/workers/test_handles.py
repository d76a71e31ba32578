"""Whose openings of version 3 are: who asks first, until it need not be known any more."""

from __future__ import annotations

from voltlane.cluster.workers.handles import Handles, join_handles, split_handles


def handle(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_who_asks_first_has_it():
    handles = Handles()
    assert handles.claim(handle(1), 2) == 2
    assert handles.claim(handle(1), 0) == 2 == handles.claim(handle(1), 2)
    assert handles.claim(handle(2), 0) == 0 and len(handles) == 2


def test_what_is_done_is_known_for_a_while():
    handles = Handles(most_done=2)
    for number in range(4):
        handles.claim(handle(number), 1)
    for number in range(3):
        handles.done(handle(number))
        handles.done(handle(number))
    assert len(handles) == 3
    assert [handles.claim(handle(number), 0) for number in (3, 2, 1, 0)] == [1, 1, 1, 0], "the oldest made room"


def test_there_is_a_most_of_those_that_are_open():
    handles = Handles(most_open=3)
    for number in range(5):
        handles.claim(handle(number), 1)
    assert len(handles) == 3
    assert [handles.claim(handle(number), 0) for number in (4, 3, 2)] == [1, 1, 1]


def test_a_worker_says_which_it_has():
    """After a start of all of them, from what its state directory has."""
    handles = Handles()
    for one in split_handles(join_handles([handle(1), handle(2)]) + b"cut"):
        handles.have(one, 3)
    assert handles.claim(handle(1), 0) == 3 == handles.claim(handle(2), 0)
    handles.done(handle(9))
    assert len(handles) == 2
