"""What waited: written as a whole on a clean stop, read as a whole at the next start, or refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from voltlane.errors import StateError
from voltlane.store.backlogs import FILE, new_number, read_backlogs, write_backlogs
from voltlane.store.directory import StateDirectory
from voltlane.store.records import Kind

POINT = b"\x02" + bytes(32)
WAITING = [(Kind.UPWARDS, 3, b"tagged"), (Kind.MISSED, 7, b"frames" * 1000), (Kind.MISSED, 7, b"more")]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(str(tmp_path))
    yield made
    made.close()


def test_what_was_written_comes_back_in_order(directory: StateDirectory) -> None:
    assert read_backlogs(directory, POINT) is None
    write_backlogs(directory, POINT, new_number(), WAITING)
    found = read_backlogs(directory, POINT)
    assert found is not None and found.notes == WAITING
    assert os.stat(directory.name(FILE)).st_mode & 0o777 == 0o600


def test_each_file_is_another(directory: StateDirectory) -> None:
    numbers = set()
    for _ in range(20):
        write_backlogs(directory, POINT, new_number(), WAITING)
        found = read_backlogs(directory, POINT)
        assert found is not None
        numbers.add(found.number)
    assert len(numbers) == 20


def test_cut_or_changed_anywhere_it_is_refused(directory: StateDirectory) -> None:
    write_backlogs(directory, POINT, new_number(), [(Kind.UPWARDS, 3, b"tagged"), (Kind.MISSED, 7, b"frames")])
    path = Path(directory.name(FILE))
    whole = path.read_bytes()
    for position in range(len(whole)):
        for changed in (whole[:position], whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :]):
            path.write_bytes(changed)
            with pytest.raises(StateError, match=r"backlogs is damaged.*Move it away: what waited .* is lost"):
                read_backlogs(directory, POINT)


def test_of_another_key_it_is_refused(directory: StateDirectory) -> None:
    write_backlogs(directory, POINT, new_number(), WAITING)
    with pytest.raises(StateError, match=r"another server\.key"):
        read_backlogs(directory, b"\x03" + bytes(32))


def test_a_disk_that_fails_leaves_no_half_of_it(directory: StateDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space left"):
        write_backlogs(directory, POINT, new_number(), WAITING)
    assert os.listdir(directory.path) == ["lock"]
