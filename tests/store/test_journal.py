"""The journal's file: what is in it after each step, while it is written anew, and after an error."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from voltlane.errors import StateError
from voltlane.store.directory import StateDirectory
from voltlane.store.journal import FILE, Journal, read_journal
from voltlane.store.ledger import LIVE, Entry
from voltlane.store.records import Kind, note, opened, stale

OWNER = b"\x03" + bytes(32)
POINT = b"\x02" + bytes(range(32))


class Home:
    def __init__(self, path: Path) -> None:
        self.directory = StateDirectory(str(path))
        self.journal = Journal(self.directory, OWNER)

    def make(self, *records: bytes) -> Journal:
        self.journal.begin(b"")
        self.journal.add(b"".join(records))
        self.journal.finish()
        return self.journal

    def sessions(self) -> dict[int, Entry]:
        """As whoever comes after a kill at this moment finds them."""
        ledger = read_journal(self.directory, OWNER)
        assert ledger is not None and ledger.lost_bytes == 0
        return ledger.sessions


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.journal.give_up()
    made.directory.close()


def test_there_is_none_before_the_first_is_made(home: Home) -> None:
    assert read_journal(home.directory, OWNER) is None and not home.journal.writable
    home.journal.begin(opened(1, POINT))
    assert read_journal(home.directory, OWNER) is None
    home.journal.finish()
    assert home.sessions() == {1: Entry(POINT, LIVE)} and home.journal.writable
    assert os.stat(home.directory.name(FILE)).st_mode & 0o777 == 0o600


def test_what_is_appended_is_there_at_once(home: Home) -> None:
    journal = home.make(opened(1, POINT))
    assert not journal.unsynced
    journal.append(opened(2, POINT) + stale(1, 5.0))
    assert home.sessions() == {1: Entry(POINT, 5.0), 2: Entry(POINT, LIVE)}
    assert journal.unsynced and journal.size == os.stat(home.directory.name(FILE)).st_size
    journal.sync()
    assert not journal.unsynced


def test_what_was_synced_may_not_be_damaged_later(home: Home) -> None:
    journal = home.make()
    journal.append(opened(1, POINT))
    journal.sync()
    position = journal.size - 1
    journal.append(opened(2, POINT))
    path = Path(home.directory.name(FILE))
    data = path.read_bytes()
    path.write_bytes(data[:position] + b"?" + data[position + 1 :])
    with pytest.raises(StateError, match=r"sessions\.journal is damaged: the checksum of the.*ids that nobody had"):
        read_journal(home.directory, OWNER)
    path.write_bytes(data[:-1] + b"?")
    ledger = read_journal(home.directory, OWNER)
    assert ledger is not None and list(ledger.sessions) == [1] and ledger.lost_bytes


def test_written_anew_the_old_one_holds_until_the_new_one_is_whole(home: Home) -> None:
    journal = home.make(*[opened(number, POINT) + stale(number, 1.0) for number in range(100)])
    before = journal.size
    journal.begin(opened(1, POINT))
    journal.append(stale(1, 7.0))
    assert home.sessions()[1] == Entry(POINT, 7.0) and len(home.sessions()) == 100
    journal.add(opened(2, POINT))
    journal.append(note(Kind.ENDED, 2) + opened(200, POINT))
    journal.finish()
    journal.append(stale(200, 8.0))
    assert home.sessions() == {1: Entry(POINT, 7.0), 200: Entry(POINT, 8.0)}
    assert journal.size < before and journal.size == os.stat(home.directory.name(FILE)).st_size


def test_begun_twice_only_the_second_counts(home: Home) -> None:
    home.journal.begin(opened(1, POINT))
    home.make(opened(2, POINT))
    assert list(home.sessions()) == [2]


def test_given_up_it_writes_nothing_until_it_is_made_anew(home: Home) -> None:
    journal = home.make(opened(1, POINT))
    journal.begin(b"")
    journal.give_up()
    journal.append(opened(2, POINT))
    journal.sync()
    assert list(home.sessions()) == [1] and not journal.writable
    assert sorted(os.listdir(home.directory.path)) == ["lock", FILE]
    home.make(opened(3, POINT))
    assert list(home.sessions()) == [3]


def test_descriptors_are_given_back(home: Home) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        home.make()
        home.journal.begin(b"")
    home.journal.give_up()
    assert len(os.listdir("/proc/self/fd")) == before
