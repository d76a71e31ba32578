"""The state directory: one server's alone, and nobody else's to read."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from voltlane.config import General
from voltlane.core.counters import Counters
from voltlane.errors import StateError
from voltlane.net.reactor import Reactor
from voltlane.store.backlogs import read_backlogs
from voltlane.store.directory import DRAFT, Files, StateDirectory
from voltlane.store.keyfile import load_or_make
from voltlane.store.opening import open_store
from voltlane.store.session_store import SessionStore

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def refusal(path: Path) -> StateError:
    with pytest.raises(StateError) as caught:
        StateDirectory(str(path))
    return caught.value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_with_what_leads_there_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    directory = StateDirectory(str(path))
    directory.write("file", b"secret")
    directory.close()
    assert mode(path) == 0o700
    assert {name: mode(path / name) for name in os.listdir(path)} == {"lock": 0o600, "file": 0o600}


def test_a_second_server_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    first = StateDirectory(str(tmp_path))
    error = refusal(tmp_path)
    assert f"{tmp_path} is in use by another server (process {os.getpid()})" in str(error)
    assert error.exit_code == 3
    first.close()
    StateDirectory(str(tmp_path)).close()


def test_a_server_that_is_forgotten_does_not_keep_it(tmp_path: Path) -> None:
    StateDirectory(str(tmp_path))  # never closed
    import gc

    gc.collect()
    StateDirectory(str(tmp_path)).close()


def test_its_files_can_be_read_while_a_server_has_it(tmp_path: Path) -> None:
    first = StateDirectory(str(tmp_path))
    first.write("file", b"secret")
    descriptor = first.draft("other")
    assert Files(str(tmp_path)).read("file") == b"secret"
    assert (tmp_path / ("other" + DRAFT)).exists(), "which is none of a reader's business"
    os.close(descriptor)
    first.close()


def test_a_directory_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="state cannot be used: No such file"):
        Files(str(tmp_path / "state"))
    assert os.listdir(tmp_path) == []


def test_a_file_takes_the_place_of_another(tmp_path: Path) -> None:
    directory = StateDirectory(str(tmp_path))
    directory.write("file", b"old")
    directory.write("other", b"new")
    directory.rename("other", "file")
    assert directory.read("file") == b"new" and not directory.has("other")
    with pytest.raises(StateError, match="other cannot be used: No such file"):
        directory.rename("other", "file")
    directory.close()


@pytest.mark.parametrize("wrong", [0o722, 0o770, 0o777])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, wrong: int) -> None:
    tmp_path.chmod(wrong)
    error = refusal(tmp_path)
    assert f"{tmp_path} is writable for others (mode {wrong:o})" in str(error)
    assert f"chmod 700 {tmp_path}" in str(error) and error.exit_code == 2


def test_a_directory_that_others_may_list_is_not(tmp_path: Path) -> None:
    """As service managers make it; the files in it are closed to others."""
    tmp_path.chmod(0o755)
    StateDirectory(str(tmp_path)).close()


@pytest.mark.parametrize("wrong", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, wrong: int) -> None:
    directory = StateDirectory(str(tmp_path))
    directory.write("file", b"secret")
    (tmp_path / "file").chmod(wrong)
    with pytest.raises(StateError, match=f"file is accessible for others \\(mode {wrong:o}\\).*chmod 600 .*file"):
        directory.read("file")
    directory.close()


@as_root
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    directory = StateDirectory(str(tmp_path))
    directory.write("file", b"secret")
    os.chown(tmp_path / "file", 12345, -1)
    with pytest.raises(StateError, match="file belongs to user 12345"):
        directory.read("file")
    directory.close()
    os.chown(tmp_path, 12345, -1)
    assert "belongs to user 12345" in str(refusal(tmp_path))


def test_a_file_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    state, secret = tmp_path / "state", tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    directory = StateDirectory(str(state))
    os.symlink(secret, state / "file")
    with pytest.raises(StateError, match="file cannot be used"):
        directory.read("file")
    directory.close()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "file").chmod(0o600)
    assert f"{tmp_path}/file cannot be used: it is no directory" in str(refusal(tmp_path / "file"))
    assert "cannot be used: Not a directory" in str(refusal(tmp_path / "file" / "below"))
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert f"{tmp_path}/fifo cannot be used: it is no directory" in str(refusal(tmp_path / "fifo"))


MAKE = {
    "fifo": lambda path: os.mkfifo(path, 0o600),
    "directory": lambda path: os.mkdir(path, 0o700),
    "socket": lambda path: bind(path),
}


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    path.chmod(0o600)


@pytest.mark.parametrize("what", MAKE)
@pytest.mark.parametrize("file", ["lock", "server.key", "channel.key", "channel.next", "sessions.journal", "backlogs"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, file: str, what: str) -> None:
    """A FIFO above all, which would be waited for."""
    settings = General(state_dir=str(tmp_path))
    reactor = Reactor()
    if file != "server.key":
        StateDirectory(str(tmp_path)).close()
        (tmp_path / "lock").unlink()
        directory = StateDirectory(str(tmp_path))
        load_or_make(directory, False)
        directory.close()
    with contextlib.suppress(FileNotFoundError):
        (tmp_path / file).unlink()
    MAKE[what](tmp_path / file)

    def use() -> None:
        store = open_store(settings, reactor, Counters(), None)
        assert isinstance(store, SessionStore)
        list(read_backlogs(store._directory, store.key.public))

    with pytest.raises(StateError) as caught:
        use()
    assert f"{tmp_path}/{file} cannot be used: " in str(caught.value) and caught.value.exit_code == 2
    assert stat.S_IFMT(os.lstat(tmp_path / file).st_mode) != stat.S_IFREG
    reactor.close()


def test_a_draft_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.new").mkdir()
    assert f"{tmp_path}/file.new cannot be used: " in str(refusal(tmp_path))


def test_a_draft_is_no_file_until_it_is_published(tmp_path: Path) -> None:
    directory = StateDirectory(str(tmp_path))
    directory.write("file", b"old")
    descriptor = directory.draft("file")
    os.write(descriptor, b"new")
    assert directory.read("file") == b"old"
    directory.publish("file", descriptor)
    os.close(descriptor)
    assert directory.read("file") == b"new" and directory.read("none") is None
    directory.close()


def test_drafts_of_a_process_that_died_are_removed(tmp_path: Path) -> None:
    (tmp_path / ("file" + DRAFT)).write_bytes(b"half")
    StateDirectory(str(tmp_path)).close()
    assert os.listdir(tmp_path) == ["lock"]
