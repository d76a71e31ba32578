"""The framing of event streams."""

from __future__ import annotations

import pytest
from kit.event_source import EventSource, packet_of
from kit.frames import join

from voltlane.lanes.web.event_stream import EventStream
from voltlane.reasons import CloseReason
from voltlane.wire.event_stream import Token

TOKEN = Token(7, bytes(16))
PACKETS = [b"", b"one", b"two\nlines", b"\xff\r\n\n", b"x" * 300]


def begun(number: int = 0) -> tuple[EventStream, EventSource]:
    framing, source = EventStream(), EventSource()
    (event,) = source.feed(framing.welcome(TOKEN, number, ""))
    assert event.last_id == f"{TOKEN.encode()}.{number}"
    return framing, source


def test_packets_are_numbered_over_all_chunks_and_gaps() -> None:
    framing, source = begun(4)
    chunks = [join(PACKETS), bytearray(join([b"more"])), memoryview(join([b"and", b"more"]))]
    events = [event for chunk in chunks for event in source.feed(framing.encode(chunk))]
    assert [packet_of(event) for event in events] == [*PACKETS, b"more", b"and", b"more"]
    assert [event.last_id for event in events] == [f"{TOKEN.encode()}.{number}" for number in range(5, 13)]
    (gap,) = source.feed(framing.gap(13, 20))
    assert gap.value == {"first": 13, "last": 20} and gap.last_id.endswith(".20")
    assert source.feed(framing.encode(join([b"behind"])))[0].last_id.endswith(".21")
    assert framing.encode(b"") == b""


def test_how_many_are_whole_when_it_is_cut_anywhere() -> None:
    framing, _ = begun()
    encoded = framing.encode(join(PACKETS))
    for cut in range(len(encoded) + 1):
        _, source = begun()
        assert framing.whole(encoded, cut) == len(source.feed(encoded[:cut])), cut


@pytest.mark.parametrize("start, stop", [(0, 0), (0, 5), (2, 9)])
def test_whatever_comes_up_is_used_and_is_nothing(start: int, stop: int) -> None:
    framing, _ = begun()
    assert framing.decode(b"GET / HTT", start, stop, 100) == (b"", stop)
    assert not framing.ended and framing.held == 0 and framing.heard


def test_a_ping_is_no_event() -> None:
    framing, source = begun()
    assert framing.pinged and source.feed(framing.ping()) == [] and source.comments == 1 and framing.heard


def test_the_end_is_told_once_and_only_to_who_did_not_end_it() -> None:
    for reason in (CloseReason.PEER_CLOSED, CloseReason.PEER_LOST):
        assert begun()[0].farewell(reason) == b""
    framing, source = begun()
    (event,) = source.feed(framing.farewell(CloseReason.KICKED))
    assert event.type == "end" and event.value == {"code": 3506, "reason": "kicked by the master"}
    assert framing.farewell(CloseReason.KICKED) == b""
    assert EventStream().farewell(CloseReason.NO_IDS) == b"", "nothing has begun"


def test_what_was_asked_for_and_is_not_there_is_said() -> None:
    source = EventSource()
    (event,) = source.feed(EventStream().welcome(TOKEN, 0, "over"))
    assert event.value == {"client_id": 7, "token": TOKEN.encode(), "lost": "over"}


def test_secrets_stand_in_no_repr() -> None:
    framing, _ = begun()
    assert TOKEN.encode() not in repr(framing)
