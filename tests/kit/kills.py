"""A process of the store that is killed at one of the system calls that it makes.

The system calls are counted where the store makes them; the one that is to be the last is not made, or made in part, or
made and not returned from, and no other after it.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import pytest
from kit.stores import Process

from voltlane.store import backlogs, directory, journal

CALLS = ("open", "write", "pwrite", "fsync", "fdatasync", "replace", "unlink", "ftruncate", "mkdir", "listdir")


class Killed(BaseException):
    """The process is no more."""


class System:
    """The module `os` of a process that is killed at its `last` call: `when` is before it, in the middle, or behind."""

    def __init__(self, last: int, when: str) -> None:
        self.last = last
        self.when = when
        self.calls: list[str] = []
        self.dead = False
        self._open: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name in ("fsync", "fdatasync"):
            real = int  # of what is not the machine's end nothing is seen but that it was asked for
        return self._counted(name, real) if name in CALLS else real

    def fdopen(self, descriptor: int, *arguments: Any, **options: Any) -> Any:
        self._open.discard(descriptor)  # the file closes it
        return os.fdopen(descriptor, *arguments, **options)

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def end(self, process: Process | None) -> None:
        """What the kernel does for a process that is gone."""
        if process is not None:
            process.store._directory.close()
            process.loop.close()
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.dead:
                raise Killed
            self.calls.append(name)
            self.dead = len(self.calls) == self.last
            if self.dead and self.when == "before":
                raise Killed
            if self.dead and self.when == "in the middle" and name in ("write", "pwrite"):
                descriptor, data, *rest = arguments
                real(descriptor, bytes(data)[: len(data) // 2], *rest)
                raise Killed
            answer = real(*arguments, **options)
            if name == "open":
                self._open.add(answer)
            if self.dead:
                raise Killed
            return answer

        return call


def under(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store make its calls there."""
    modules: tuple[ModuleType, ...] = (directory, journal, backlogs)
    for module in modules:
        monkeypatch.setattr(module, "os", system)
    monkeypatch.setattr(journal, "_sync", lambda descriptor: system.fdatasync(descriptor))


def copied(path: Path, to: Path) -> Path:
    to.mkdir(mode=0o700)
    for file in path.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
        (to / file.name).chmod(0o600)
    return to
