"""What is said, as bytes and back; and where it is cut."""

from __future__ import annotations

import math
from typing import Any, Callable

import pytest

from voltlane.cluster.workers import notes
from voltlane.cluster.workers.home import home_of, node_of
from voltlane.cluster.workers.notes import Comer, Crossing, Hello, Leave, Status
from voltlane.core.ids import CLOCK_BITS
from voltlane.core.readiness import State
from voltlane.reasons import CloseReason, Hold
from voltlane.store.keys import Keys, new_keys
from voltlane.store.records import Damaged

SAID: list[tuple[Callable[[Any], bytes], Callable[[bytes], Any], Any]] = [
    (notes.encode_comer, notes.decode_comer, Comer("wss", "[2001:db8::1]:99", True, 10)),
    (notes.encode_comer, notes.decode_comer, Comer("tcp", "", False, 2)),
    (notes.encode_status, notes.decode_status, Status(State.NO_MASTER, frozenset([Hold.MASTER, Hold.CROWD]))),
    (notes.encode_leave, notes.decode_leave, Leave(CloseReason.TAKEN_OVER, True, math.inf)),
    (notes.encode_crossing, notes.decode_crossing, Crossing(63, 2, 17.5, b"bytes")),
]


@pytest.mark.parametrize("encode, decode, value", SAID)
def test_there_and_back(encode: Callable[[Any], bytes], decode: Callable[[bytes], Any], value: Any) -> None:
    data = encode(value)
    assert decode(data) == value
    for end in range(len(data)):
        try:
            decode(data[:end])
        except Damaged:
            pass


def test_a_hello() -> None:
    keys = Keys(*new_keys()[:2], (bytes(range(32)), bytes(32)))
    data = notes.encode_hello(Hello(3, 4, True, keys, 9, "state", "open", 2))
    found = notes.decode_hello(data)
    assert (found.state_dir, found.datagrams, found.ports) == ("state", "open", 2)
    assert (found.which, found.workers, found.watched) == (3, 4, True)
    assert found.keys.key.public == keys.key.public and found.keys.channel_key.public == keys.channel_key.public
    assert found.keys.next_keys == keys.next_keys
    for end in range(len(data)):
        with pytest.raises(Damaged):
            notes.decode_hello(data[:end])
    with pytest.raises(Damaged):
        notes.decode_hello(data + b"x")


def test_words_that_are_none() -> None:
    for wrong in (b"", b"\xff", b"PEER", b"\xe9"):
        with pytest.raises(Damaged):
            notes.decode_reason(wrong)
    with pytest.raises(Damaged):
        notes.decode_json(b"{")
    with pytest.raises(Damaged):
        notes.decode_comer(b"\x03\x02\0\xff\xff\xff")


def test_whose_an_id_is() -> None:
    assert node_of((7 << CLOCK_BITS) + 5) == 7
    assert [home_of(node << CLOCK_BITS, 5, 3) for node in (5, 6, 7, 8, 4)] == [0, 1, 2, 0, 2]
    assert home_of(2**64 - 1, 0, 4) in range(4)
