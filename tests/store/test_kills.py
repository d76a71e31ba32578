"""SIGKILL at every system call that the store makes, at the start, while it runs and at the stop: none of them costs
anything of what waited before, and none lets anybody get it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.clock import FakeClock
from kit.frames import join
from kit.kills import CALLS, Killed, System, copied, under
from kit.stores import Home, Process, delivered

UP = [b"up 1", b"up 2", b"up 3"]


class Life:
    """One process: it starts, its master and client 1 come, more comes for clients 1 and 2, client 3 ends, client 2 may
    come as well, it stops."""

    def __init__(self, path: Path, everybody: bool) -> None:
        self.path = path
        self.everybody = everybody
        self.process: Process | None = None
        self.got: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
        self.up: list[bytes] = []
        self.step = "start"

    def live(self) -> None:
        self.process = process = Process(self.path, FakeClock(1_700_000_000.0))
        if self.everybody:
            self.step = "master"
            process.trunk.before_connecting()
            self.up += [chunk for chunk, _ in process.trunk.held]
            process.trunk.held.clear()
        self.step = "resume"
        self.got[1] += delivered(process, 1)
        self.step = "run"
        process.turn(2)
        process.hub.deliver({2: join([b"new for 2"])})
        process.registry.end(process.registry.sessions[3])
        process.turn(2)
        if self.everybody:
            self.step = "last"
            self.got[2] += delivered(process, 2)
            process.turn(2)
        self.step = "stop"
        process.store.seal()
        for session in process.registry.live():
            process.hub.lost(session, [(join([b"unread by %d" % session.id]), 1)], process.loop.now)
        process.store.leave()
        self.step = "over"


@pytest.fixture
def filled(home: Home) -> Iterator[Home]:
    """A directory in which something waits for clients 1 to 3 and the master."""
    first = home.start()
    first.lose(*[first.open() for _ in range(3)])
    for client_id in (1, 2, 3):
        first.hub.deliver({client_id: join([b"%d for %d" % (number, client_id) for number in range(2)])})
    for packet in UP:
        first.trunk.hold(packet, 1)
    assert first.stop()
    yield home


def lived(path: Path, system: System, monkeypatch: pytest.MonkeyPatch, everybody: bool) -> Life:
    life = Life(path, everybody)
    with monkeypatch.context() as patch:
        under(system, patch)
        try:
            life.live()
        except Killed:
            pass
    system.end(life.process)
    return life


@pytest.mark.parametrize("everybody", [True, False])
@pytest.mark.parametrize("when", ["before", "in the middle", "behind"])
def test_killed_at_each_system_call(
    filled: Home, when: str, everybody: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = System(0, when)
    assert lived(copied(filled.path, tmp_path / "whole"), whole, monkeypatch, everybody).step == "over"
    assert len(whole.calls) > 40 and set(whole.calls) >= {*CALLS} - ({"unlink"} - {everybody and "unlink"})
    steps = set()
    for last in range(1, len(whole.calls) + 1):
        path = copied(filled.path, tmp_path / f"killed at {last}")
        life = lived(path, System(last, when), monkeypatch, everybody)
        steps.add(life.step)
        where = f"killed at call {last}, {whole.calls[last - 1]}, in step {life.step!r}"
        with monkeypatch.context() as patch:
            under(System(0, when), patch)
            after = Process(path, FakeClock(1_700_000_000.0))
            check(life, after, where)
            after.die()
    assert steps >= {"start", "resume", "run", "stop"}


def check(life: Life, after: Process, where: str) -> None:
    """What waited was delivered before the kill, or is after it; in order, and nothing twice."""
    up = life.up + [chunk for chunk, _ in after.trunk.held]
    # What was on its way to a connection when it was killed is lost, like anything else that is on its way.
    assert up == UP or (life.step == "master" and up == []), where
    for client_id in (1, 2, 3):
        if client_id not in after.registry.sessions:
            assert client_id == 3 and life.step != "start", where
            continue
        got = life.got[client_id] + delivered(after, client_id)
        waited = [b"%d for %d" % (number, client_id) for number in range(2)]
        new = {1: [b"unread by 1"], 2: [b"new for 2"] + [b"unread by 2"] * life.everybody, 3: []}[client_id]
        on_its_way = life.step == {1: "resume", 2: "last"}.get(client_id) and got == []
        assert got == (waited + new)[: max(len(waited), len(got))] or on_its_way, where
        if life.step == "over":
            assert got == waited + new, where


def test_a_first_start_that_is_killed_leaves_a_directory_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(path: Path, system: System) -> None:
        made: list[Process] = []
        with monkeypatch.context() as patch:
            under(system, patch)
            try:
                made.append(Process(path, FakeClock(1_700_000_000.0), key=None))
                made[0].open()
            except Killed:
                pass
        system.end(made[0] if made else None)

    whole = System(0, "before")
    first(tmp_path / "whole", whole)
    for when in ("before", "in the middle", "behind"):
        for last in range(1, len(whole.calls) + 1):
            path = tmp_path / f"{when} {last}"
            first(path, System(last, when))
            under(System(0, when), monkeypatch)
            after = Process(path, FakeClock(1_700_000_000.0), key=None)
            assert len(after.registry.sessions) <= 1
            assert after.open().id not in [session.id for session in after.registry.stale()]
            after.die()
