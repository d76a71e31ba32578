"""What openings are known by: until they are confirmed, and a bounded number of them behind that."""

from __future__ import annotations

import pytest
from kit.recorders import RecorderLink

from voltlane.core.openings import MOST, Openings
from voltlane.core.session import Session
from voltlane.errors import Superseded


def session(number: int = 1) -> Session:
    return Session(number, b"", RecorderLink())


def test_one_that_is_not_known():
    assert Openings().find(b"handle") is None


def test_until_it_is_confirmed():
    openings, opened = Openings(), session()
    openings.add(b"handle", opened)
    assert openings.find(b"handle") is opened and len(openings) == 1
    openings.confirm(b"handle")
    assert len(openings) == 0
    with pytest.raises(Superseded):
        openings.find(b"handle")
    openings.end(b"handle")
    with pytest.raises(Superseded):
        openings.find(b"handle")


def test_until_its_session_is_over():
    openings = Openings()
    openings.add(b"handle", session())
    openings.end(b"handle")
    assert openings.find(b"handle") is None and len(openings) == 0
    openings.confirm(b"handle")
    assert openings.find(b"handle") is None, "nobody was told of it"


def test_the_latest_are_remembered():
    openings = Openings()
    for number in range(MOST + 5):
        handle = number.to_bytes(16, "little")
        openings.add(handle, session(number))
        openings.confirm(handle)
    assert len(openings) == 0 and len(openings._confirmed) == MOST
    assert openings.find((4).to_bytes(16, "little")) is None
    with pytest.raises(Superseded):
        openings.find((5).to_bytes(16, "little"))


def test_who_wants_to_know_hears_of_each_that_is_done_once():
    openings, done = Openings(), []
    openings.on_done = done.append
    for handle in (b"confirmed", b"ended", b"open"):
        openings.add(handle, session())
    openings.confirm(b"confirmed")
    openings.confirm(b"confirmed")
    openings.end(b"confirmed")
    openings.end(b"ended")
    openings.end(b"unknown")
    assert done == [b"confirmed", b"ended"] and openings.unconfirmed() == [b"open"]
