"""SIGKILL at every system call of the store, with clients of version 3: nothing is lost that nobody is told of, at its
place, and nothing comes twice or out of order, in either direction, over four processes and whoever of them is killed,
whatever is lost of what a client is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.clock import FakeClock
from kit.frames import join
from kit.kills import Killed, System, copied, under
from kit.numbered import CONFIRMATION, WELCOME, Client, Master
from kit.stores import Process

from voltlane.core.delivery import EPOCH_SPAN

WALL = 1_700_000_000.0


class Life:
    """Two processes over a directory. In the first, clients 1 to 3 begin, and something waits for each of them and for
    the master. In the second, client 1 and the master come back, in this or the other `order`, and clients 2 and 3 are
    sent more while they are away; then client 2 comes back as well, and it stops. Each system call of either may be the
    last."""

    def __init__(self, path: Path, order: str) -> None:
        self.path = path
        self.order = order
        self.master = Master()
        self.clients: dict[int, Client] = {}
        self.process: Process | None = None
        self.step = "nothing"
        self.stopped = 0

    def first(self) -> None:
        self.step = "first run"
        process = self.process = Process(self.path, FakeClock(WALL))
        self.master.connect(process)
        for _ in range(3):
            client = Client(process.open_v3(), self.master)
            self.clients[client.id] = client
            process.turn(2)
            client.send(process, b"%d up 1" % client.id)
            self.master.send(process, client.id, b"for %d" % client.id)
            client.receive(b"for %d" % client.id)  # and has not said so yet
        self.master.disconnect()
        for client in self.clients.values():
            client.send(process, b"%d up 2" % client.id)
        for client in self.clients.values():
            session = process.registry.sessions[client.id]
            process.hub.lost(session, [(join([b"for %d" % client.id]), 1)], process.loop.now)
            self.master.send(process, client.id, b"more for %d" % client.id)
        process.turn(2)
        self.stop(process)

    def second(self) -> None:
        self.step = "start"
        process = self.process = Process(self.path, FakeClock(WALL))
        for who in self.order.split():
            self.step = who
            if who == "master":
                self.master.connect(process)
            else:
                client = self.clients[1]
                client.resume(process)
                client.send(process, b"1 up 3")
                self.master.send(process, 1, b"new for 1")
                client.receive(b"new for 1")
        process.turn(2)
        self.step = "run"
        for client_id in (2, 3):
            self.master.send(process, client_id, b"new for %d" % client_id)
        process.turn(2)
        self.clients[2].resume(process)
        process.turn(2)
        process.hub.lost(process.registry.sessions[1], [(join([b"new for 1"]), 1)], process.loop.now)
        process.turn(2)
        self.stop(process)

    def stop(self, process: Process) -> None:
        self.step = "stop"
        process.store.seal()
        for session in process.registry.live():
            process.hub.lost(session, [], process.loop.now)
        process.store.leave()
        process.loop.close()
        self.process = None
        self.stopped += 1


def lived(path: Path, order: str, system: System, monkeypatch: pytest.MonkeyPatch) -> Life:
    life = Life(path, order)
    with monkeypatch.context() as patch:
        under(system, patch)
        try:
            life.first()
            life.second()
        except Killed:
            pass
    system.end(life.process)
    return life


def check(life: Life, path: Path, end: str, where: str) -> None:
    """What is so behind it. Of what the third process tells client 2 it hears nothing, and client 3 cannot say that it
    has heard it; so the fourth has to know of that, after this `end` of the third."""
    third = Process(path, FakeClock(WALL))
    life.master.connect(third)
    for client_id, client in life.clients.items():
        if client_id not in third.registry.sessions:
            assert life.stopped == 0, where
            continue
        client.resume(third, {2: WELCOME, 3: CONFIRMATION}.get(client_id, ""))
        if client_id == 1:
            client.check(f"{where}, client 1")
            client.send(third, b"1 to the third")
            life.master.send(third, 1, b"for 1 of the third")
            client.receive(b"for 1 of the third")
            third.hub.lost(third.registry.sessions[1], [(join([b"for 1 of the third"]), 1)], third.loop.now)
        life.master.send(third, client_id, b"new of the third for %d" % client_id)
    third.turn(2)
    if end == "killed":
        third.die()
    else:
        third.stop()
    fourth = Process(path, FakeClock(WALL))
    life.master.connect(fourth)
    for client_id, client in life.clients.items():
        if client_id in fourth.registry.sessions:
            for loses in (WELCOME, CONFIRMATION, ""):
                client.resume(fourth, loses)
            client.check(f"{where}, client {client_id}, the third {end}")
            delivery = fourth.registry.sessions[client_id].delivery
            assert delivery is not None and delivery.safe == delivery.taken == len(client.sent), where
    fourth.die()


@pytest.mark.parametrize("order", ["master client", "client master"])
@pytest.mark.parametrize("when", ["before", "in the middle", "behind"])
def test_killed_at_each_system_call(when: str, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = System(0, when)
    life = lived(tmp_path / "whole", order, whole, monkeypatch)
    assert life.stopped == 2
    check(life, tmp_path / "whole", "stopped", "not killed")
    clients = life.clients.values()
    assert [client.gaps for client in clients] == [[]] * 3, "in order nobody is told of anything"
    assert [client.unsure for client in clients] == [set()] * 3
    for client in clients:
        assert client.got == life.master.sent[client.id] and client.sent == life.master.got[client.id]
    steps, unsure = set(), 0
    for end in ("stopped", "killed"):
        for last in range(1, len(whole.calls) + 1):
            path = tmp_path / f"killed at {last}, {end}"
            life = lived(path, order, System(last, when), monkeypatch)
            steps.add(life.step)
            check(life, path, end, f"killed at call {last}, {whole.calls[last - 1]}, in step {life.step!r}")
            unsure += sum(len(client.unsure) for client in life.clients.values())
    assert steps == {"first run", "start", "client", "master", "run", "stop"} and unsure


def test_the_third_process_may_be_killed_at_any_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its start on: until a client has come back it finds the same once more."""
    life = Life(tmp_path / "first", "client master")
    life.first()
    whole, in_order = System(0, "behind"), list[bool]()
    for last in range(200):
        path = copied(tmp_path / "first", tmp_path / f"killed at {last}")
        system, process = System(last, "behind") if last else whole, None
        with monkeypatch.context() as patch:
            under(system, patch)
            try:
                process = Process(path, FakeClock(WALL))
                process.die()
            except Killed:
                pass
        system.end(process)
        after = Process(path, FakeClock(WALL))
        for session in after.registry.sessions.values():
            delivery = session.delivery
            assert delivery is not None
            assert (delivery.taken, delivery.safe) == (2, 1)
            if last:
                in_order.append(delivery.epoch == 1)
            assert (delivery.epoch, delivery.floor) in ((1, 0), (3, 3 * EPOCH_SPAN)), last
            assert (session.backlog is not None) == (delivery.epoch == 1)
        assert len(after.registry.sessions) == 3
        after.die()
        if last == len(whole.calls):
            break
    assert in_order[0] and not in_order[-1] and in_order == sorted(in_order, reverse=True)
