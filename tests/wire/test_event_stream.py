"""Packets as events, and ids: what a reader written from the standard makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some
from kit.event_source import EventSource, packet_of

from voltlane.wire.event_stream import (
    END,
    Place,
    Token,
    decode_place,
    decode_token,
    encode_packets,
    is_line_text,
    named_event,
    retry_after,
)

TOKEN = Token(457273752115, bytes(range(16)))
TEXT = "457273752115.AAECAwQFBgcICQoLDA0ODw"


def read(data: bytes, size: int = 1 << 20) -> list[tuple[str, bytes, str]]:
    source = EventSource()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    return [(event.type, packet_of(event), event.last_id) for piece in pieces for event in source.feed(piece)]


def test_what_is_on_the_wire() -> None:
    assert encode_packets([b"a\n b", b"", b"\xff"], b"T.", 6) == (
        b"id: T.7\ndata: a\ndata:  b\n\nid: T.8\ndata: \n\nid: T.9\nevent: binary\ndata: /w==\n\n"
    )


PIECES = some.one_of(
    some.binary(max_size=40),
    some.text(max_size=20).map(str.encode),
    some.text("\n\r :ad\0\ufeff\u2028").map(str.encode),
)


@given(some.lists(PIECES), some.integers(0, 1 << 62), some.integers(1, 50))
def test_packets_come_back_as_they_were(packets: list[bytes], number: int, size: int):
    encoded = encode_packets(packets, b"T.", number)
    found = read(encoded, size)
    assert [packet for _, packet, _ in found] == packets
    assert [last_id for _, _, last_id in found] == [f"T.{number + at}" for at in range(1, len(packets) + 1)]
    assert encoded.count(END) == len(packets)
    for kind, packet, _ in found:
        try:
            text = "\r" not in packet.decode("utf-8")
        except UnicodeDecodeError:
            text = False
        assert (kind == "message") is text is is_line_text(packet)


@given(some.lists(PIECES, min_size=1, max_size=5), some.data())
def test_events_are_counted_by_their_ends(packets: list[bytes], data: some.DataObject):
    encoded = encode_packets(packets, b"T.", 0)
    cut = data.draw(some.integers(0, len(encoded)))
    assert encoded.count(END, 0, cut) == len(read(encoded[:cut]))


def test_events_of_the_servers_own() -> None:
    source = EventSource()
    (event,) = source.feed(retry_after(1234) + named_event("gap", {"first": 1, "last": 2}, b"T.2"))
    assert event.type == "gap" and event.value == {"first": 1, "last": 2} and event.last_id == "T.2"
    assert source.retry == 1234
    assert source.feed(named_event("end", {"reason": "a\r\nb\u2028"}))[0].value == {"reason": "a\r\nb\u2028"}
    assert source.last_id == "T.2"


def test_a_token_is_what_it_says() -> None:
    assert TOKEN.encode() == TEXT and decode_token(TEXT) == TOKEN
    assert decode_place(f"{TEXT}.17") == Place(TOKEN, 17) and decode_place(f"{TEXT}.0") == Place(TOKEN, 0)


@given(some.integers(1, 2**64 - 1), some.binary(min_size=16, max_size=16), some.integers(0, 2**63 - 1))
def test_tokens_and_places_there_and_back(client_id: int, secret: bytes, number: int):
    token = Token(client_id, secret)
    assert decode_token(token.encode()) == token
    assert decode_place(f"{token.encode()}.{number}") == Place(token, number)


@given(some.text(max_size=60))
def test_anything_else_is_none(text: str):
    for found in (decode_token(text), decode_place(text)):
        assert found is None


WRONG = [
    *(
        "",
        ".",
        "1",
        "1.",
        f"0{TEXT}",
        f"-{TEXT}",
        f"+{TEXT}",
        f" {TEXT}",
        f"{TEXT} ",
        f"{TEXT}\n",
        f"{TEXT}A",
        TEXT[:-1],
    ),
    *(f"{TEXT[:-1]}x", f"{TEXT[:-1]}=", TEXT.replace("A", "/"), f"{1 << 64}.{TEXT[13:]}", f"{'9' * 30}.{TEXT[13:]}"),
    f"\u0661.{TEXT[13:]}",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_token(text: str) -> None:
    assert decode_token(text) is None and decode_place(f"{text}.1") is None


@pytest.mark.parametrize(
    "number", ["", "-1", "+1", "01", " 1", "1 ", "1\n", "1.0", "x", str(1 << 63), "9" * 40, "\u0661"]
)
def test_what_is_no_place(number: str) -> None:
    assert decode_place(f"{TEXT}.{number}") is None


def test_a_secret_stands_in_no_repr() -> None:
    for value in (TOKEN, Place(TOKEN, 3), [TOKEN]):
        assert TEXT[13:] not in repr(value) and repr(TOKEN.secret) not in repr(value) and str(TOKEN) == repr(TOKEN)
