"""Reading a journal: what its records add up to, what a crash may have left, and what is damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltlane.core.delivery import Delivery
from voltlane.core.protocols.secrets import CREDENTIAL_SIZES
from voltlane.store.ledger import LIVE, Entry, Ledger, read_ledger
from voltlane.store.records import HEAD_SIZE, JOURNAL_MAGIC, Damaged, Kind, head, note, opened, stale

OWNER = b"\x03" + bytes(32)
POINT = b"\x02" + bytes(range(32))
LONG_POINT = b"\x04" + bytes(64)
SECRETS = b"V" + bytes(CREDENTIAL_SIZES[0] - 1)


def file_of(*records: bytes, whole: int = 0) -> bytes:
    """A journal; `whole` of its records were there when it was made."""
    return head(JOURNAL_MAGIC, OWNER, HEAD_SIZE + len(b"".join(records[:whole]))) + b"".join(records)


def test_what_records_add_up_to() -> None:
    ledger = read_ledger(
        file_of(
            note(Kind.RESERVED, 100),
            opened(1, POINT),
            opened(2, LONG_POINT),
            stale(1, 50.0),
            stale(2, 60.0),
            note(Kind.RESUMED, 1),
            opened(3, POINT),
            note(Kind.ENDED, 3),
        ),
        OWNER,
    )
    assert ledger.sessions == {1: Entry(POINT, LIVE), 2: Entry(LONG_POINT, 60.0)}
    assert ledger.reserved == 100 and ledger.lost_bytes == 0


def test_an_id_is_used_even_where_its_reservation_is_not_said() -> None:
    assert read_ledger(file_of(opened(7, POINT)), OWNER).reserved == 7


def test_who_was_given_what_waited_counts_for_the_backlogs_that_are_named_last() -> None:
    boots = [bytes([number] * 16) for number in range(3)]
    records = [
        note(Kind.SPENDING, 5, boots[0]),
        note(Kind.SPENT, 1),
        note(Kind.SPENT, 0),
        note(Kind.SPENDING, 5, boots[1]),  # the same ones, after another start of the process
        note(Kind.SPENT, 2),
    ]
    ledger = read_ledger(file_of(*records), OWNER)
    assert ledger.spending is not None and ledger.spending.data == boots[1]
    assert ledger.spent == {0, 1, 2} and ledger.sessions == {}
    ledger = read_ledger(file_of(*records, note(Kind.SPENDING, 6, boots[2]), note(Kind.SPENT, 3)), OWNER)
    assert ledger.spending is not None and ledger.spending.number == 6
    assert ledger.spent == {3}


def test_the_latest_credential_of_a_session_counts() -> None:
    """Written again it makes the session live, unless what is behind it says otherwise."""
    ledger = read_ledger(file_of(opened(1, POINT), stale(1, 5.0), opened(1, SECRETS)), OWNER)
    assert ledger.sessions == {1: Entry(SECRETS, LIVE)}
    ledger = read_ledger(file_of(opened(1, POINT), opened(1, SECRETS), stale(1, 5.0)), OWNER)
    assert ledger.sessions == {1: Entry(SECRETS, 5.0)} and list(ledger.credentials()) == [SECRETS]


def test_what_it_was_sealed_with_is_told_whatever_happened_behind_the_seal() -> None:
    assert read_ledger(file_of(opened(1, POINT)), OWNER).sealed is None
    records = [opened(1, POINT), note(Kind.SEALED, 77), note(Kind.ENDED, 1)]
    ledger = read_ledger(file_of(*records), OWNER)
    assert ledger.sealed == 77 and ledger.sessions == {}


EVENTS = [note(Kind.RESERVED, 9), opened(1, POINT), stale(1, 5.0), opened(2, LONG_POINT), note(Kind.ENDED, 1)]


def state(ledger: Ledger) -> tuple[dict[int, Entry], int]:
    return ledger.sessions, ledger.reserved


@pytest.mark.parametrize("rest", [b"", b"\x55" * 100, b"\xff" * 90, opened(5, POINT)[:-1]], ids=len)
def test_cut_at_any_byte_it_says_what_the_whole_records_say(rest: bytes) -> None:
    """And whatever a crash has put in the place of the others."""
    data = file_of(*EVENTS)
    ends = [HEAD_SIZE + len(b"".join(EVENTS[:count])) for count in range(len(EVENTS) + 1)]
    for cut in range(HEAD_SIZE, len(data) + 1):
        count = sum(end <= cut for end in ends) - 1
        ledger = read_ledger(data[:cut] + rest, OWNER)
        assert state(ledger) == state(read_ledger(file_of(*EVENTS[:count]), OWNER)), cut
        assert ledger.lost_bytes == cut - ends[count] + len(rest)


def test_zeros_behind_the_last_record_are_what_a_crash_leaves() -> None:
    ledger = read_ledger(file_of(*EVENTS) + bytes(5000), OWNER)
    assert ledger.lost_bytes == 5000 and state(ledger) == state(read_ledger(file_of(*EVENTS), OWNER))


def test_damage_before_what_was_synced_is_refused_and_behind_it_is_a_crash() -> None:
    start = len(file_of(*EVENTS[:2]))
    data = file_of(*EVENTS[:2], note(Kind.SYNCED, start), *EVENTS[2:])
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        if position < start:
            with pytest.raises(Damaged):
                read_ledger(changed, OWNER)
        else:
            assert read_ledger(changed, OWNER).lost_bytes > 0


def test_what_was_there_when_the_file_was_made_must_all_be_there() -> None:
    data = file_of(*EVENTS, whole=len(EVENTS))
    assert state(read_ledger(data, OWNER)) == state(read_ledger(file_of(*EVENTS), OWNER))
    for cut in range(len(data)):
        with pytest.raises(Damaged):
            read_ledger(data[:cut], OWNER)
    for position in range(len(data)):
        with pytest.raises(Damaged):
            read_ledger(data[:position] + bytes([data[position] ^ 0x80]) + data[position + 1 :], OWNER)


def test_the_journal_of_another_key_is_refused() -> None:
    with pytest.raises(Damaged, match=r"another server\.key"):
        read_ledger(file_of(), POINT)


def test_a_record_out_of_place_is_damage() -> None:
    for kind, data in ((Kind.MISSED, b"x"), (Kind.NUMBERS, Delivery(1).encode())):
        with pytest.raises(Damaged, match=f"{kind.name} has no place there"):
            read_ledger(file_of(note(kind, 1, data)), OWNER)


IDS = st.integers(1, 4)
HAPPENINGS = st.lists(st.tuples(st.sampled_from("osre"), IDS), max_size=40)


def told(happening: tuple[str, int], time: int) -> bytes:
    what, client_id = happening
    return {
        "o": opened(client_id, POINT),
        "s": stale(client_id, float(time)),
        "r": note(Kind.RESUMED, client_id),
        "e": note(Kind.ENDED, client_id),
    }[what]


def described(ledger: Ledger, client_id: int) -> bytes:
    entry = ledger.sessions.get(client_id)
    if entry is None:
        return b""
    return opened(client_id, entry.credential) + (stale(client_id, entry.until) if entry.until != LIVE else b"")


@given(HAPPENINGS, HAPPENINGS, st.lists(st.integers(0, 40), min_size=4, max_size=4))
def test_written_anew_while_things_happen_it_says_the_same(before: list, during: list, moments: list[int]) -> None:
    """Each session is described at some moment of the writing; what happens then goes into both files."""
    old = [told(happening, time) for time, happening in enumerate(before)]
    draft: list[bytes] = []
    for time in range(41):
        for client_id in range(1, 5):
            if moments[client_id - 1] == time:
                draft.append(described(read_ledger(file_of(*old), OWNER), client_id))
        if time < len(during):
            record = told(during[time], 100 + time)
            old.append(record)
            draft.append(record)
    assert read_ledger(file_of(*draft), OWNER).sessions == read_ledger(file_of(*old), OWNER).sessions
