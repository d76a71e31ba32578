"""The server's key: made once, the same ever after, and refused when it is not what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from voltlane.errors import StateError
from voltlane.store.directory import StateDirectory
from voltlane.store.keyfile import (
    CHANNEL,
    FILE,
    NEXT,
    load_channel_key,
    load_next_key,
    load_or_make,
    prepare_next,
    read_key,
    switch_to_next,
)
from voltlane.wire.crypto import generate_key
from voltlane.wire.noise import KeyPair


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StateDirectory]:
    made = StateDirectory(str(tmp_path))
    yield made
    made.close()


def test_it_is_made_once_and_stays_the_same(directory: StateDirectory) -> None:
    key, other = load_or_make(directory, False), generate_key()
    again = load_or_make(directory, True)
    assert key.public == again.public
    assert key.exchange(other.public) == again.exchange(other.public) == other.exchange(key.public)


def test_its_second_line_is_the_public_key(directory: StateDirectory) -> None:
    key = load_or_make(directory, False)
    assert Path(directory.name(FILE)).read_text().splitlines()[1] == key.public.hex()


def test_it_is_not_made_anew_where_sessions_need_it(directory: StateDirectory) -> None:
    with pytest.raises(StateError, match=r"server\.key is missing, and there are sessions that need it: put the file"):
        load_or_make(directory, True)
    assert not directory.has(FILE)


def test_every_damage_is_found(directory: StateDirectory) -> None:
    load_or_make(directory, False)
    path = Path(directory.name(FILE))
    whole = path.read_bytes()
    for position in range(len(whole) - 1):
        for changed in (whole[:position], whole[:position] + b"x" + whole[position + 1 :]):
            path.write_bytes(changed)
            with pytest.raises(StateError, match=r"server\.key is damaged.*move all of the directory away") as caught:
                load_or_make(directory, True)
            assert whole[:64].decode() not in str(caught.value)


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, bytes(31), bytes(33)])
def test_what_cannot_be_a_secret_is_damage(directory: StateDirectory, secret: bytes) -> None:
    directory.write(FILE, f"{secret.hex()}\n{generate_key().public.hex()}\n".encode())
    with pytest.raises(StateError, match="is damaged"):
        load_or_make(directory, False)


# ---- of version 3


def test_that_of_version_3_is_another_one_in_a_file_of_its_own(directory: StateDirectory) -> None:
    key, other = load_channel_key(directory, False), KeyPair()
    again = load_channel_key(directory, True)
    assert key.public == again.public and key.exchange(other.public) == other.exchange(again.public)
    path = Path(directory.name(CHANNEL))
    assert path.read_text().splitlines()[1] == key.public.hex() and path.stat().st_mode & 0o777 == 0o600
    assert load_or_make(directory, False).public != key.public
    assert load_next_key(directory) == ()


def test_it_is_not_made_anew_where_clients_expect_it(directory: StateDirectory) -> None:
    with pytest.raises(StateError, match=r"channel\.key is missing, and there are sessions that need it: put the file"):
        load_channel_key(directory, True)
    assert not directory.has(CHANNEL)


@pytest.mark.parametrize(
    ("file", "advice"), [(CHANNEL, "move all of the directory away"), (NEXT, "remove it: no key is prepared then")]
)
def test_every_damage_of_it_is_found(directory: StateDirectory, file: str, advice: str) -> None:
    load_channel_key(directory, False)
    prepare_next(directory)
    path = Path(directory.name(file))
    whole = path.read_bytes()
    for position in range(len(whole) - 1):
        for changed in (whole[:position], whole[:position] + b"x" + whole[position + 1 :]):
            path.write_bytes(changed)
            with pytest.raises(StateError, match=rf"{file} is damaged.*{advice}") as caught:
                read_key(directory, file)
            assert whole[:64].decode() not in str(caught.value)
    path.write_bytes(f"{bytes(32).hex()}\n{KeyPair().public.hex()}\n".encode())
    with pytest.raises(StateError, match="its two lines do not belong together"):
        read_key(directory, file)


def test_a_key_is_prepared_once_and_follows_once(directory: StateDirectory) -> None:
    first = load_channel_key(directory, False)
    assert switch_to_next(directory) is None
    following = prepare_next(directory)
    assert prepare_next(directory).public == following.public != first.public
    assert load_next_key(directory) == (following.public,)
    assert load_channel_key(directory, True).public == first.public
    switched = switch_to_next(directory)
    assert switched is not None and switched.public == following.public
    assert load_channel_key(directory, True).public == following.public and load_next_key(directory) == ()
    assert switch_to_next(directory) is None
