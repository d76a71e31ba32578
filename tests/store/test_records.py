"""Records and heads: what was written comes back, and nothing else does."""

from __future__ import annotations

import pytest

from voltlane.core.delivery import Delivery
from voltlane.core.protocols.secrets import CREDENTIAL_SIZES
from voltlane.store.records import (
    BACKLOGS_MAGIC,
    FRAME_SIZE,
    HEAD_SIZE,
    JOURNAL_MAGIC,
    Damaged,
    Head,
    Kind,
    decode,
    head,
    note,
    opened,
    payload_at,
    read_head,
    record,
    stale,
)

POINT = b"\x02" + bytes(range(32))


def read(data: bytes) -> object:
    payload = payload_at(data, 0)
    assert payload is not None
    return decode(payload)


def test_records_come_back_as_they_were() -> None:
    for credential in (POINT, b"\x04" + bytes(64), *[b"V" + bytes(size - 1) for size in CREDENTIAL_SIZES]):
        assert read(opened(7, credential)) == (Kind.OPENED, 7, credential)
    numbers = Delivery(2**64 - 1, 5, 9).encode()
    assert read(note(Kind.NUMBERS, 7, numbers)) == (Kind.NUMBERS, 7, numbers)
    found = decode(stale(2**64 - 1, 1234.5)[FRAME_SIZE:])
    assert (found.kind, found.number, found.until) == (Kind.STALE, 2**64 - 1, 1234.5)
    for kind in (Kind.RESUMED, Kind.ENDED, Kind.RESERVED, Kind.SYNCED, Kind.END, Kind.SPENT, Kind.SEALED, Kind.EPOCH):
        assert read(note(kind, 3)) == (kind, 3, b"")
    assert read(note(Kind.SPENDING, 3, bytes(range(16)))) == (Kind.SPENDING, 3, bytes(range(16)))
    assert read(note(Kind.MISSED, 3, b"frames")) == (Kind.MISSED, 3, b"frames")


def test_a_record_that_is_cut_or_changed_anywhere_is_none() -> None:
    whole = opened(7, POINT)
    for length in range(len(whole)):
        assert payload_at(whole[:length], 0) is None
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        assert payload_at(bytes(changed), 0) is None


def test_zeros_are_no_record() -> None:
    """A file system that lost its data may leave a file as long as it was, and empty."""
    assert payload_at(bytes(4096), 0) is None
    assert payload_at(record(b"")[:FRAME_SIZE], 0) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"\0" * 9,
        b"\x63" + bytes(8),
        bytes([Kind.ENDED]),
        bytes([Kind.ENDED]) + bytes(9),
        bytes([Kind.OPENED]) + bytes(8) + b"V" + bytes(CREDENTIAL_SIZES[0]),
        bytes([Kind.NUMBERS]) + bytes(8),
    ],
)
def test_a_payload_that_nobody_writes_is_damage(payload: bytes) -> None:
    with pytest.raises(Damaged):
        decode(payload)


def test_a_head_comes_back_and_every_changed_bit_of_it_is_found() -> None:
    whole = head(JOURNAL_MAGIC, POINT, 99)
    assert len(whole) == HEAD_SIZE
    assert read_head(whole + b"behind", JOURNAL_MAGIC) == Head(POINT, 99)
    for bit in range(8 * HEAD_SIZE):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            read_head(bytes(changed), JOURNAL_MAGIC)
    with pytest.raises(Damaged, match="does not begin like"):
        read_head(whole, BACKLOGS_MAGIC)
    with pytest.raises(Damaged, match="it has 3 bytes"):
        read_head(b"VLT", JOURNAL_MAGIC)


def test_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voltlane.store.records.VERSION", 2)
    newer = head(JOURNAL_MAGIC, POINT, 0)
    monkeypatch.undo()
    with pytest.raises(Damaged, match="version 2 of the format, this program reads version 1"):
        read_head(newer, JOURNAL_MAGIC)
