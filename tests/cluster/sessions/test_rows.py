"""A session as the store has it."""

from __future__ import annotations

import os

import pytest

from voltlane.cluster.keys.secret import Sealer
from voltlane.cluster.sessions.moved import MovedClients
from voltlane.cluster.sessions.rows import Row, RowError, Rows, delivery_of, joined, latest
from voltlane.core.backlog import Backlog
from voltlane.core.delivery import EPOCH_SPAN, Delivery, decode_delivery
from voltlane.core.protocols.secrets import first_secrets
from voltlane.core.session import Session
from voltlane.wire.framing import frame as framed

SECRETS = first_secrets(1, bytes(16), bytes(32), os.urandom).encode()
POINT = b"\x02" * 33


def session(credential: bytes = SECRETS, *packets: bytes, taken: int = 0) -> Session:
    made = Session(5, credential, None)
    made.delivery = Delivery(3, 10, taken) if credential == SECRETS else None
    if packets:
        made.backlog = Backlog()
        for packet in packets:
            made.backlog.append(framed(packet), 1, 100, 1 << 20)
    return made


def rows(most: int = 1 << 20, secret: str = "x" * 32) -> Rows:
    return Rows(Sealer(secret), most)


def test_there_and_back():
    row, dropped = rows().row(session(SECRETS, b"a", b"b", taken=7))
    assert not dropped and SECRETS not in row.credential and framed(b"a") not in row.retained
    taken = rows().taken(5, [1, b"4", b"1", row.credential, row.numbers, row.retained])
    assert taken.term == 4 and taken.exact and taken.row == (SECRETS, row.numbers, framed(b"a") + framed(b"b"))
    known = delivery_of(taken.row, 4, True)
    assert known is not None and (known.epoch, known.floor, known.taken) == (3, 10, 7)


def test_another_epoch_where_it_is_not_exact():
    row, _ = rows().row(session(taken=7))
    known = delivery_of(row._replace(credential=SECRETS), 4, False)
    assert known is not None and (known.epoch, known.floor, known.taken) == (4, 4 * EPOCH_SPAN, 7)


def test_version_2_has_no_numbers():
    row, _ = rows().row(session(POINT, b"a"))
    assert row.numbers == b"" and delivery_of(row._replace(credential=POINT), 4, False) is None


@pytest.mark.parametrize("secret, client_id", [("y" * 32, 5), ("x" * 32, 6)])
def test_sealed_with_another_secret_or_for_another_session(secret: str, client_id: int):
    row, _ = rows().row(session())
    with pytest.raises(RowError, match=r"another cluster\.secret"):
        rows(secret=secret).seen(client_id, [b"1:a", b"1", row.credential, row.numbers])


def test_of_another_version():
    row, _ = rows().row(session())
    with pytest.raises(RowError, match="another version"):
        rows().seen(5, [b"1:a", b"1", row.credential, b"short"])


def test_what_has_no_room_is_told_by_the_numbers():
    row, dropped = rows(most=2 * 5).row(session(SECRETS, b"a", b"b", b"c"))
    taken = rows().taken(5, [1, b"4", b"1", row.credential, row.numbers, row.retained])
    assert dropped == 1 and taken.row.retained == framed(b"b") + framed(b"c")
    assert decode_delivery(row.numbers).floor == 11


def test_what_was_proven_and_what_its_owner_has_renewed_since():
    """The present secret is the same, or the proof is good no more; what was told of the next one stays."""
    base = first_secrets(1, bytes(16), bytes(32), os.urandom)
    proven = base.offered(1, 7, os.urandom)  # by the branch that a welcome told
    confirmed = base.confirmed(7)  # by what its old connection brought meanwhile
    offered = confirmed.offered(1, 7, os.urandom)
    assert joined(proven.encode(), confirmed.encode()) == proven.encode()
    assert joined(proven.encode(), offered.encode()) == offered.encode()
    assert joined(base.encode(), confirmed.encode()) is None
    assert joined(base.confirmed(8).encode(), confirmed.encode()) is None
    assert joined(POINT, POINT) == POINT and joined(POINT, b"\x03" * 33) is None


def test_latest():
    frames = framed(b"a") + framed(b"bb") + framed(b"")
    assert [latest(frames, most) for most in (100, 14, 10, 4, 3)] == [
        (frames, 0),
        (framed(b"bb") + framed(b""), 1),
        (framed(b"bb") + framed(b""), 1),
        (framed(b""), 2),
        (b"", 3),
    ]


def test_who_has_moved_is_remembered_for_a_while():
    moved = MovedClients(2)
    for client_id in (1, 2, 3):
        moved.add(client_id)
    assert 1 not in moved and 2 in moved and 3 in moved and len(moved) == 2
    moved.discard(3)
    assert 3 not in moved


def test_a_row_has_no_secret_in_its_text():
    assert "Secrets" not in repr(Row(b"", b"", b""))
