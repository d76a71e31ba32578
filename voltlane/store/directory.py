"""The state directory: one server's alone, readable by nobody else, its files replaced as a whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ..errors import StateError

try:
    import fcntl
except ImportError:  # pragma: no cover (not a Unix)
    fcntl = None  # type: ignore[assignment]

EXIT_IN_USE = 3
LOCK = "lock"
DRAFT = ".new"
"""What the name of a file ends with until the file is whole."""

_EXTRA = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""The last for what is no file at all: opening a FIFO would wait for its other end."""


class Files:
    """The files of an existing directory, to be read by anybody who may, also while a server has it. Raises StateError:
    it, or a file in it, cannot be used."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        with self.refusing(self.path):
            status = os.stat(self.path)
            if not stat.S_ISDIR(status.st_mode):
                raise StateError(f"{self.path} cannot be used: it is no directory, and general.state_dir needs one")
            self._check(self.path, status, stat.S_IWGRP | stat.S_IWOTH, "writable", "700")

    def name(self, file: str) -> str:
        """A file's path."""
        return os.path.join(self.path, file)

    def has(self, file: str) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self.name(file))

    def read(self, file: str) -> bytes | None:
        """A file's contents; None if it does not exist. Refuses one that others could have read or written."""
        descriptor = self.open(file)
        if descriptor is None:
            return None
        with self.refusing(self.name(file)), os.fdopen(descriptor, "rb") as opened:
            return opened.read()

    def open(self, file: str) -> int | None:
        """A descriptor to read a file, under the same conditions."""
        path = self.name(file)
        try:
            with self.refusing(path, FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | _EXTRA)
        except FileNotFoundError:
            return None
        status = self._take_file(path, descriptor)
        try:
            self._check(path, status, 0o077, "accessible", "600")
        except StateError:
            os.close(descriptor)
            raise
        return descriptor

    def _take_file(self, path: str, descriptor: int) -> os.stat_result:
        """What was opened, if it is a file; else it is refused, and closed."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise StateError(f"{path} cannot be used: it is no regular file; move it away")
        return status

    def _check(self, path: str, status: os.stat_result, forbidden: int, word: str, wanted: str) -> None:
        if status.st_uid != os.geteuid():
            raise StateError(f"{path} belongs to user {status.st_uid}, not to this server's user {os.geteuid()}")
        if status.st_mode & forbidden:
            raise StateError(
                f"{path} is {word} for others (mode {stat.S_IMODE(status.st_mode):o}), and what it holds is secret: "
                f"if nobody can have used that, chmod {wanted} {path}"
            )

    @contextmanager
    def refusing(self, path: str, *but: type[OSError]) -> Iterator[None]:
        """Let an OSError of the block say what cannot be used, as a StateError; `but` pass as they are."""
        try:
            yield
        except but:
            raise
        except OSError as error:
            raise StateError(f"{path} cannot be used: {error.strerror or error}") from None


class StateDirectory(Files):
    """The same, made if it is not there, and locked by this process, which may write to it."""

    def __init__(self, path: str, otherwise: str = "each server needs a general.state_dir of its own") -> None:
        """`otherwise`: what to tell whoever finds it in use."""
        self.path = os.path.abspath(path)
        with self.refusing(self.path):
            try:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                os.mkdir(self.path, 0o700)
            except FileExistsError:
                pass
        super().__init__(path)
        self._lock = self._take_lock(otherwise)
        with self.refusing(self.name(LOCK)):
            self.sign()
        self._remove_drafts()

    def _take_lock(self, otherwise: str) -> IO[bytes]:
        if fcntl is None:  # pragma: no cover (not a Unix)
            raise StateError("general.state_dir needs a system that can lock files")
        path = self.name(LOCK)
        with self.refusing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _EXTRA, 0o600)
        self._take_file(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StateError(
                f"{self.path} is in use by another server (process {holder or 'unknown'}); {otherwise}",
                EXIT_IN_USE,
            ) from None
        return os.fdopen(descriptor, "rb")  # closed with the last reference, at the latest

    @property
    def lock(self) -> int:
        """The descriptor of the lock: whoever has it, or a copy of it, holds the directory."""
        return self._lock.fileno()

    def sign(self) -> None:
        """Say in the lock that it is this process's. Raises OSError."""
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, b"%d\n" % os.getpid(), 0)

    def draft(self, file: str) -> int:
        """A descriptor to write what is to become a file. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | _EXTRA
        return os.open(self.name(file + DRAFT), flags, 0o600)

    def publish(self, file: str, descriptor: int) -> None:
        """Let the draft, synced, take the file's place: after a crash there is the one or the other. Raises OSError."""
        os.fsync(descriptor)
        os.replace(self.name(file + DRAFT), self.name(file))
        self.sync()

    def write(self, file: str, data: bytes) -> None:
        """A small file, as a whole. Raises StateError."""
        with self.refusing(self.name(file)):
            descriptor = self.draft(file)
            try:
                write_all(descriptor, data)
                self.publish(file, descriptor)
            finally:
                os.close(descriptor)

    def rename(self, file: str, name: str) -> None:
        """Let a file take the place of another, as a whole and for good. Raises StateError."""
        with self.refusing(self.name(file)):
            os.replace(self.name(file), self.name(name))
            self.sync()

    def remove(self, file: str) -> None:
        """Remove a file for good. Raises OSError."""
        os.unlink(self.name(file))
        self.sync()

    def discard(self, file: str) -> None:
        """Remove a draft, if there is one."""
        try:
            os.unlink(self.name(file + DRAFT))
        except OSError:
            pass

    def sync(self) -> None:
        """Make names that were given or taken away outlast a loss of power. Raises OSError."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let another server have it."""
        self._lock.close()

    def _remove_drafts(self) -> None:
        with self.refusing(self.path):
            drafts = [self.name(name) for name in os.listdir(self.path) if name.endswith(DRAFT)]
        for draft in drafts:
            with self.refusing(draft):
                os.unlink(draft)


class SharedDirectory(StateDirectory):
    """One that another process has locked, which has passed that lock on: nothing is changed before that has left."""

    def __init__(self, path: str, lock: IO[bytes]) -> None:
        Files.__init__(self, path)
        self._lock = lock


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises OSError, with a part of it written."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
