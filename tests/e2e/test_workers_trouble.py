"""A server with workers among clients that mean it no good, and processes that die or stand still: whatever was counted
comes to nothing again when all have gone."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import struct
from pathlib import Path

import pytest
from kit.process import HAS_PROC, Process, environment, usual
from kit.raw_client import VERSION, RawClient, client_id, connect
from kit.wait import wait_until
from kit.workers import CLOCK_BITS, EchoBackend, WorkersProcess, node_of

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")

STATE = re.compile(r"state: (?:ready|no connection to the master); connections=(\d+) in_handshake=(\d+)")


def counted(server: Process) -> tuple[int, int]:
    """Connections in all, and those in their handshake, as the parent counts them."""
    before = len(STATE.findall(server.log))
    server.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(STATE.findall(server.log)) > before, "how it is")
    connections, handshakes = STATE.findall(server.log)[before]
    return int(connections), int(handshakes)


def test_resumes_with_ids_that_nobody_has_come_to_nothing() -> None:
    """Of every worker, and of other servers; whole, in part, and with silence behind them; some are reset."""
    choose = random.Random(7)
    with EchoBackend() as backend, WorkersProcess(backend.address, {"limits.address_connections": 5000}) as server:
        server.wait_for_workers()
        honest = [RawClient.new(server.address) for _ in range(4)]
        socks: list[socket.socket] = []
        for number in range(400):
            sock = connect(server.address)
            words = VERSION + client_id(choose.choice([0, 1, 2, 255]) << CLOCK_BITS | number)
            sock.sendall(words[: choose.randrange(len(words))] if number % 3 == 0 else words)
            if number % 7 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            else:
                socks.append(sock)
        for client in honest:
            client.send(b"still here")
            assert client.recv() == b"still here"
        for sock in socks:
            sock.close()
        wait_until(lambda: counted(server) == (4, 0), "only the honest ones to be counted")
        for client in honest:
            client.close()
        wait_until(lambda: counted(server) == (0, 0), "nobody to be counted")
        assert "internal error" not in server.log


def test_who_comes_while_processes_die_and_stand_still() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(4)]
        os.kill(server.pid_of(0), signal.SIGSTOP)
        server.process.send_signal(signal.SIGSTOP)
        waiting = [connect(server.address) for _ in range(50)]
        server.process.send_signal(signal.SIGCONT)
        there = [client for client in clients if node_of(client.client_id) == 1]
        for client in there:
            client.send(b"hello")
            assert client.recv() == b"hello"
        os.kill(server.pid_of(0), signal.SIGKILL)
        server.wait_for(0, 2)
        others = [RawClient.new(server.address) for _ in range(2)]
        for client in others:
            client.send(b"hello")
            assert client.recv() == b"hello"
        for client in (*clients, *others):
            client.close()
        for sock in waiting:
            sock.close()
        wait_until(lambda: counted(server) == (0, 0), "nobody to be counted")
        assert "internal error" not in server.log


def test_a_limit_on_handshakes_that_was_none_counts_those_under_way_only(tmp_path: Path) -> None:
    config = tmp_path / "connserver.toml"
    config.write_text("[general]\nworkers = 2\n[limits]\nhandshakes = 0\n")
    with EchoBackend() as backend:
        environ = environment(usual(backend.address, {}))
        with Process(["-m", "voltlane", "serve", "--config", str(config)], environ) as server:
            for index in range(2):
                server.wait_for_log(f"worker {index} takes connections")
            address = re.search(r"clients connect to (\S+)", server.log)[1]  # type: ignore[index]
            clients = [RawClient.new(address) for _ in range(4)]
            wait_until(lambda: counted(server) == (4, 0), "their handshakes to be done")
            config.write_text("[general]\nworkers = 2\n[limits]\nhandshakes = 2\n")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("reloaded: limits.handshakes", 3)
            clients.append(RawClient.new(address))
            for client in clients:
                client.close()


def test_a_worker_that_is_started_again_is_of_the_same_node(tmp_path: Path) -> None:
    """Whatever the settings say by then: what needs a restart is for all of them."""
    config = tmp_path / "connserver.toml"
    state = tmp_path / "state"
    config.write_text(f"[general]\nworkers = 2\nnode = 4\nstate_dir = '{state}'\n")
    with EchoBackend() as backend:
        environ = environment(usual(backend.address, {}))
        with Process(["-m", "voltlane", "serve", "--config", str(config)], environ) as server:
            for index in range(2):
                server.wait_for_log(f"worker {index} takes connections")
            address = re.search(r"clients connect to (\S+)", server.log)[1]  # type: ignore[index]
            clients = [RawClient.new(address) for _ in range(2)]
            config.write_text(f"[general]\nworkers = 3\nnode = 7\nstate_dir = '{tmp_path / 'other'}'\n")
            pid = int(re.search(r"worker 1: here as process (\d+)", server.log)[1])  # type: ignore[index]
            os.kill(pid, signal.SIGKILL)
            server.wait_for_log("worker 1 takes connections", 2)
            lost = next(client for client in clients if node_of(client.client_id) == 5)
            again = [lost.come_back(), RawClient.new(address)]
            assert "node 5" in server.log.rpartition("here as process")[2]
            for client in (*clients, *again):
                client.close()
