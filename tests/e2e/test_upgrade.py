"""One program follows another in place: no connection is cut, no packet lost or doubled; or nothing has happened."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Callable

import pytest
from kit.heir import FAULTS
from kit.process import HAS_PROC, BackendProcess
from kit.raw_client import RawClient
from kit.raw_master import DATA, FAILURE, RawMaster, Tagged
from kit.upgrades import OfVersion2, OfVersion3, Streamer, UpgradingServer, drive, finish
from kit.wait import wait_until

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")

KINDS: dict[str, Callable[..., Streamer]] = {
    "v2": OfVersion2,
    "v3": OfVersion3,
    "v3-clear": partial(OfVersion3, suite=0),
}
ROUNDS = 2
SETTINGS = {"clients.outbox_bytes": 1 << 26, "socket.send_buffer": 8192}


def more_of(clients: list[Streamer]) -> Callable[[], bool]:
    """That each of them has some more back."""
    goals = [(client, client.received + 50) for client in clients]
    return lambda: all(client.received >= goal for client, goal in goals)


@pytest.mark.parametrize("kind", KINDS)
def test_clients_under_load_do_not_notice(kind: str) -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(BackendProcess())
        server = stack.enter_context(UpgradingServer(backend.address, SETTINGS))
        clients = [KINDS[kind](server.address) for _ in range(20)]
        slow = [KINDS[kind](server.address, 4096, 20_000) for _ in range(3)]
        for client in (*clients, *slow):
            stack.callback(client.close)
        for _ in range(ROUNDS):
            drive([*clients, *slow], lambda: all(client.received > 20 for client in clients))
            for client in slow:
                client.pause()
            server.ask()
            drive([*clients, *slow], lambda: server.upgraded or "has failed" in server.log)
            assert "has failed" not in server.log, server.log[-3000:]
            for client in slow:
                client.paused = False
            drive([*clients, *slow], more_of(clients))
        finish([*clients, *slow])
        assert "failure" not in backend.log and "reconnection" not in backend.log and "gone" not in backend.log
        assert len(server.pauses) == ROUNDS


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_the_old_process_goes_on(fault: str) -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(BackendProcess())
        server = stack.enter_context(UpgradingServer(backend.address, fault=fault))
        clients = [KINDS[kind](server.address) for kind in KINDS for _ in range(2)]
        for client in clients:
            stack.callback(client.close)
        drive(clients, lambda: all(client.received > 20 for client in clients))
        server.ask()
        drive(clients, lambda: "handing over has failed" in server.log)
        drive(clients, more_of(clients))
        clients.append(OfVersion2(server.address))
        stack.callback(clients[-1].close)
        finish(clients)
        assert "failure" not in backend.log and "gone" not in backend.log
        assert server.process.poll() is None
        if "raises" in fault:
            server.expect_traceback()


def test_what_waits_goes_along() -> None:
    """For a master that is not there, for a client that is away, and for one that does not read."""
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        here, away = RawClient.new(server.address), RawClient.new(server.address)
        here.send(b"hello"), away.send(b"hello")
        assert {master.recv().client_id for _ in range(2)} == {here.client_id, away.client_id}
        away.close()
        server.wait_for_log(f"client {away.client_id} ")
        wait_until(lambda: server.log.count(f"client {away.client_id}") > 1, "its end")
        master.send(away.client_id, b"missed")
        master.fence()
        master.stop_listening()
        master.drop()
        server.wait_for_log("the master is gone")
        here.send(b"waits")
        server.wait_for_log("trying again")
        server.upgrade()
        master.listen_again()
        master.accept()
        assert master.recv_for(here.client_id).flag == 3, "the master is told who is here"
        assert master.recv_for(here.client_id) == Tagged(here.client_id, DATA, b"waits")
        again = away.come_back()
        assert again.recv() == b"missed"
        again.close(), here.close()


def test_a_packet_of_the_masters_that_is_cut() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        client = RawClient.new(server.address)
        client.send(b"hello")
        master.recv()
        whole = b"".join(
            len(data).__add__(9).to_bytes(4, "little") + client.client_id.to_bytes(8, "little") + b"\0" + data
            for data in (b"first", b"x" * 100_000)
        )
        for end in (3, 30, len(whole)):
            master.send_raw(whole[:end])
            whole = whole[end:]
            if end == 30:
                assert client.recv() == b"first"
            server.upgrade()
        assert client.recv() == b"x" * 100_000
        client.close()


def test_ids_and_refusals_go_on() -> None:
    with RawMaster() as master, UpgradingServer(master.address) as server:
        master.accept()
        first = RawClient.new(server.address)
        server.upgrade()
        second = RawClient.new(server.address)
        assert second.client_id == first.client_id + 1
        master.send(first.client_id + 7, b"for nobody")
        assert master.recv() == Tagged(first.client_id + 7, FAILURE, b"Client not found")
        first.close(), second.close()
