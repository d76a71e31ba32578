"""What is remembered of sessions that have ended: the latest, and no secret in anything that is printed."""

from __future__ import annotations

from voltlane.core.tombstones import MOST, Tombstone, Tombstones
from voltlane.reasons import EndReason


def stone(number: int) -> Tombstone:
    return Tombstone(b"SECRET", EndReason.KICKED, number, number + 1)


def test_the_latest_are_kept():
    stones = Tombstones(most=3)
    for number in range(10):
        stones.add(number, stone(number))
    assert len(stones) == 3
    assert [stones.get(number) for number in range(10)] == [None] * 7 + [stone(7), stone(8), stone(9)]


def test_there_is_an_end_to_them():
    stones = Tombstones()
    for number in range(MOST + 100):
        stones.add(number, stone(number))
    assert len(stones) == MOST


def test_no_secret_is_shown():
    assert repr(stone(1)) == "<Tombstone kicked by the master>" == str(stone(1))
