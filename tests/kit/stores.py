"""The store of one process after the other, on a fake clock, each ending in its own way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from kit.clock import FakeClock
from kit.frames import join
from kit.handlers import Loop
from kit.recorders import RecorderLink, RecorderTrunk

from voltlane.core.counters import Counters
from voltlane.core.delivery import Delivery
from voltlane.core.hub import BacklogLimits, Hub
from voltlane.core.outbox import Chunk
from voltlane.core.protocols.secrets import first_secrets
from voltlane.core.protocols.table import revive
from voltlane.core.registry import Registry
from voltlane.core.session import Session
from voltlane.store.directory import StateDirectory
from voltlane.store.journal import FILE as JOURNAL
from voltlane.store.session_store import SessionStore
from voltlane.wire.crypto import generate_key

KEY = generate_key()
POINT = b"\x02" + bytes(range(32))
TIMEOUT = 300.0


class Trunk(RecorderTrunk):
    """The master's side, which keeps what waited in an earlier process."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[tuple[Chunk, int]] = []

    def hold(self, chunk: Chunk, packets: int) -> None:
        self.held.append((chunk, packets))

    def release(self) -> list[tuple[Chunk, int]]:
        return self.held


class Process:
    """What of a server the store has to do with. `clock`: monotonic, this process's; `wall` goes on between them."""

    def __init__(self, path: Path, wall: FakeClock, *, sync: float = 1.0, most: int = 100, **options: Any) -> None:
        self.loop = Loop(clock=FakeClock(50.0))
        self.wall = wall
        self.counters = Counters()
        self.trunk = Trunk()
        self.hub = Hub(
            self.trunk,
            self.counters,
            BacklogLimits(options.get("packets", 100), 10_000, options.get("drop_oldest", False)),
        )
        self.store = SessionStore(
            StateDirectory(str(path)),
            self.loop,
            self.counters,
            sync,
            options.get("key", KEY),
            wall,
            options.get("boot", b"this boot" + bytes(7)),
        )
        self.registry = Registry(
            stale_timeout=options.get("timeout", TIMEOUT),
            reap_interval=1.0,
            max_stale=most,
            on_end=self.hub.ended,
            on_stale=lambda: None,
            now=self.loop.now,
            ids=options.get("ids"),
            epoch=self.store.epoch,
            revive=revive,
        )
        self.hub.registry = self.registry
        self.store.restore(self.registry, self.hub, self.trunk)
        if options.get("begin", True):
            self.store.begin()

    def open(self, credential: bytes = POINT) -> Session:
        return self.registry.open(credential, RecorderLink())

    def open_v3(self) -> Session:
        """One with secrets and numbers."""
        handle = os.urandom(16)
        session = self.open(first_secrets(1, handle, os.urandom(32), os.urandom).encode())
        session.delivery = Delivery(self.registry.epoch)
        self.registry.openings.add(handle, session)
        return session

    def lose(self, *sessions: Session) -> None:
        for session in sessions:
            self.registry.lose(session, self.loop.now)

    def resume(self, session: Session) -> None:
        self.registry.resume(session, RecorderLink())

    def turn(self, seconds: float = 0.0) -> None:
        """End this turn, and let time pass."""
        self.loop.spin(2)
        if seconds:
            self.wall.pass_(seconds)
            self.loop.pass_(seconds)
        assert self.loop.bugs == []

    def die(self) -> None:
        """kill -9 between two turns."""
        self.store._journal.give_up()
        self.store._directory.close()
        self.loop.close()

    def stop(self) -> bool:
        """Whether everything was kept."""
        self.store.seal()
        for session in self.registry.live():
            self.hub.lost(session, [(join([b"unread"]), 1)], self.loop.now)
        kept = self.store.leave()
        self.loop.close()
        return kept


class Home:
    """A directory that process after process uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = FakeClock(1_700_000_000.0)
        self.processes: list[Process] = []

    def start(self, **options: Any) -> Process:
        self.processes.append(Process(self.path, self.wall, **options))
        return self.processes[-1]

    @property
    def journal(self) -> Path:
        return self.path / JOURNAL


def left(process: Process) -> dict[int, float]:
    """How long each stale session has yet."""
    return {session.id: session.expiry - process.loop.now for session in process.registry.stale()}


def delivered(process: Process, client_id: int) -> list[bytes]:
    """What a client gets that comes back."""
    link = RecorderLink()
    process.hub.resume(process.registry.sessions[client_id], link, b"")
    return link.sent


def full(*arguments: object) -> None:
    raise OSError(28, "No space left on device")


class Disk:
    """Lets writing fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.calls = 0
        self._write, self._sync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor: int, data: Any) -> int:
        self.calls += 1
        if self.full:
            raise OSError(28, "No space left on device")
        return self._write(descriptor, data)
