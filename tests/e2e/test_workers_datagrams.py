"""Datagrams of a server with workers: each comes to the worker that has its client, wherever it comes from."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from kit.datagram_client import Wire
from kit.datagram_parties import Plain, ask, sealed_client
from kit.process import HAS_PROC
from kit.raw_records import RawRecordClient
from kit.wait import wait_until
from kit.workers import EchoBackend, WorkersProcess, node_of, wait_for_end

pytestmark = pytest.mark.skipif(not HAS_PROC or sys.platform != "linux", reason="the system cannot do that")

SEALED = {"listener.address": "127.0.0.1:0, udp://127.0.0.1:0", "udp.as_data": "true"}
OPEN = {"listener.address": "udp://127.0.0.1:0", "udp.mode": "open"}


@contextmanager
def serving(settings: dict[str, object], workers: int = 2) -> Iterator[WorkersProcess]:
    with EchoBackend() as backend, WorkersProcess(backend.address, settings, workers) as server:
        server.wait_for_workers()
        yield server


def place_of(server: WorkersProcess) -> str:
    return re.findall(r"clients connect to (udp://[^\s\"]+)", server.log)[0]


def upgrade(server: WorkersProcess) -> None:
    before = server.pids
    server.process.send_signal(signal.SIGUSR2)
    server.wait_for_log("all workers are new")
    for pid in before:
        wait_for_end(pid)
    server.wait_for_workers(2)


def sealed_ones(server: WorkersProcess, stack: ExitStack, count: int) -> list[tuple[RawRecordClient, Wire]]:
    found = [sealed_client(server.address) for _ in range(count)]
    for client, wire in found:
        stack.callback(client.close)
        stack.callback(wire.close)
    return found


def echoed(client: RawRecordClient, wire: Wire, body: bytes) -> None:
    """A datagram is there, and comes back over the stream."""
    wire.send(body)
    assert client.recv() == body


def test_sealed_ones_come_to_the_worker_of_their_session() -> None:
    with serving(SEALED, 3) as server, ExitStack() as stack:
        clients = sealed_ones(server, stack, 9)
        assert Counter(node_of(client.client_id) for client, _ in clients) == {0: 3, 1: 3, 2: 3}
        for number in range(5):
            for client, wire in clients:
                wire.move()
                echoed(client, wire, b"%d" % number)
        again = [client.come_back() for client, _ in clients]
        for client, (_, wire) in zip(again, clients):
            stack.callback(client.close)
            assert node_of(client.client_id) == wire.sealed.id_out[0] % 3
            new = ask(client)
            stack.callback(new.close)
            echoed(client, new, b"under new keys")


def test_they_go_on_over_an_upgrade() -> None:
    with serving(SEALED) as server, ExitStack() as stack:
        clients = sealed_ones(server, stack, 4)
        for client, wire in clients:
            echoed(client, wire, b"before")
        upgrade(server)
        for client, wire in clients:
            wire.move()
            echoed(client, wire, b"behind")
            assert len(client.endpoint.offers) == 1
            new = ask(client)
            stack.callback(new.close)
            echoed(client, new, b"under new keys")


def test_a_worker_that_is_killed_leaves_those_of_the_others_alone() -> None:
    with serving(SEALED) as server, ExitStack() as stack:
        clients = sealed_ones(server, stack, 4)
        os.kill(server.pid_of(0), signal.SIGKILL)
        server.wait_for(0, 2)
        for client, wire in clients:
            if node_of(client.client_id) == 1:
                wire.move()
                echoed(client, wire, b"still here")
        for client, wire in sealed_ones(server, stack, 4):
            echoed(client, wire, b"new")


def answered(client: Plain, body: bytes) -> bool:
    client.send(body)
    wait_until(lambda: client.pump() or body in client.got, "an answer")
    return client.got[-1] == body


def test_clients_that_are_addresses_stay_with_their_worker() -> None:
    with serving(OPEN) as server, ExitStack() as stack:
        clients = [Plain(place_of(server)) for _ in range(16)]
        for client in clients:
            stack.callback(client.close)
            assert answered(client, b"first")
        server.wait_for_log(" by udp", 16)
        homes = Counter(re.findall(r"worker (\d+): client \d+ .* by udp", server.log))
        assert sum(homes.values()) == 16 and len(homes) == 2, server.log[-3000:]
        for number in range(5):
            for client in clients:
                assert answered(client, b"%d" % number)
        upgrade(server)
        for client in clients:
            assert answered(client, b"behind the upgrade")
        assert server.log.count(" by udp") == 16, "nobody is new"


def test_those_of_a_worker_that_is_killed_are_new_at_the_next_one() -> None:
    with serving(OPEN) as server, ExitStack() as stack:
        clients = [Plain(place_of(server)) for _ in range(16)]
        for client in clients:
            stack.callback(client.close)
            assert answered(client, b"first")
        os.kill(server.pid_of(0), signal.SIGKILL)
        wait_for_end(server.pid_of(0))
        server.wait_for(0, 2)
        for client in clients:
            assert answered(client, b"again")
        wait_until(lambda: 16 < server.log.count(" by udp") < 32, "those of one worker to be new, and no others")


def test_two_servers_do_not_share_a_port() -> None:
    with serving(OPEN) as server:
        with WorkersProcess("127.0.0.1:1", {**OPEN, "listener.address": place_of(server)}) as other:
            assert other.wait() == 3
            assert "Address already in use" in other.log
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            sock.bind(("127.0.0.1", int(place_of(server).rpartition(":")[2])))
