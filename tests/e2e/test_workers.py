"""Several processes that are one server: `general.workers`."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.process import HAS_PROC, Process, ServerProcess, environment, usual
from kit.raw_client import VERSION, RawClient
from kit.upgrades import OfVersion2, OfVersion3, Streamer, drive, finish
from kit.wait import wait_until
from kit.workers import EchoBackend, WorkersProcess, node_of, wait_for_end

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")


def echoed(client: RawClient, data: bytes = b"hello") -> None:
    """What it sends comes back."""
    client.send(data)
    assert client.recv() == data


# ---- all together


def test_clients_are_spread_and_served() -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(EchoBackend())
        server = stack.enter_context(WorkersProcess(backend.address, workers=3))
        server.wait_for_workers()
        clients: list[Streamer] = [kind(server.address) for kind in (OfVersion2, OfVersion3) for _ in range(6)]
        for client in clients:
            stack.callback(client.close)
        assert Counter(node_of(client.client_id) for client in clients) == {0: 4, 1: 4, 2: 4}
        drive(clients, lambda: all(client.received > 50 for client in clients))
        finish(clients)


def test_the_fewest_are_counted_and_not_those_who_ever_came() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(4)]
        ones = [client for client in clients if node_of(client.client_id) == 1]
        assert len(ones) == 2
        for client in ones:
            client.close()

        def next_node() -> int:
            with contextlib.closing(RawClient.new(server.address)) as client:
                return node_of(client.client_id)

        wait_until(lambda: next_node() == 1, "the parent to know")
        for client in clients:
            client.close()


def test_a_node_of_its_own_for_each() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address, {"general.node": 7}) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(2)]
        assert {node_of(client.client_id) for client in clients} == {7, 8}
        for client in clients:
            client.close()


def test_nodes_that_are_used_up() -> None:
    with Process(["-m", "voltlane"], environment({"general.node": 250, "general.workers": 7})) as process:
        assert process.wait() == 2
        assert "needs nodes up to 256, and 255 is the last" in process.log


# ---- one that dies


def test_a_worker_that_is_killed_is_started_again() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(4)]
        os.kill(server.pid_of(1), signal.SIGKILL)
        server.wait_for_log("worker 1 was killed by signal 9")
        server.wait_for(1, 2)
        for client in clients:
            if node_of(client.client_id) == 1:
                assert list(client.rest()) == []
            else:
                echoed(client)
        others = [RawClient.new(server.address) for _ in range(2)]
        assert {node_of(client.client_id) for client in others} == {1}, "it has the fewest"
        for client in (*clients, *others):
            client.close()


def test_sessions_of_one_that_was_killed_are_in_its_state_directory(tmp_path: Path) -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address, {"general.state_dir": tmp_path / "state"}) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(4)]
        for client in clients:
            echoed(client)
        os.kill(server.pid_of(1), signal.SIGKILL)
        server.wait_for(1, 2)
        for client in clients:
            if node_of(client.client_id) == 1:
                client.close()
                again = client.come_back()  # to the one that has the fewest
                assert again.client_id == client.client_id
                echoed(again)
                again.close()
            else:
                echoed(client)
                client.close()


def test_while_one_is_away_the_others_serve() -> None:
    """And nobody is passed on to it."""
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        os.kill(server.pid_of(1), signal.SIGSTOP)
        os.kill(server.pid_of(1), signal.SIGKILL)
        for number in range(2):  # the second pause is a second long, time enough
            server.wait_for_log("worker 1 was killed", number + 1)
            if number == 0:
                os.kill(server.pid_of(1, 1), signal.SIGKILL)
        clients = [RawClient.new(server.address) for _ in range(3)]
        for client in clients:
            echoed(client)
            assert node_of(client.client_id) == 0
            client.close()


def test_without_any_worker_clients_wait() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        for index in range(2):
            os.kill(server.pid_of(index), signal.SIGKILL)
        for index in range(2):
            server.wait_for_log(f"worker {index} was killed")
        client = RawClient.new(server.address)
        echoed(client)
        client.close()


def test_a_worker_whose_parent_is_killed_ends() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        pids = server.pids
        server.kill()
        for pid in pids:
            wait_for_end(pid)


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_end_in_order(number: int) -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(2)]
        for client in clients:
            echoed(client)
        for pid in (server.pid, *server.pids):  # as a terminal does
            os.kill(pid, number)
        assert server.wait() == 0
        for client in clients:
            assert list(client.rest()) == []
        for index in range(2):
            assert server.log.count(f"worker {index}: stopping") == 1
            assert f"worker {index}: client " in server.log


def test_the_worst_exit_code_is_that_of_all(tmp_path: Path) -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        os.kill(server.pid_of(1), signal.SIGSTOP)  # so that it does not end before it is killed
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("stopping")
        os.kill(server.pid_of(1), signal.SIGKILL)
        assert server.wait() == 128 + signal.SIGKILL


def test_all_write_down_how_they_are() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        server.process.send_signal(signal.SIGUSR1)
        server.wait_for_log("state: worker 1: serving")
        for index in range(2):
            server.wait_for_log(f"worker {index}: state: clients: ")


def test_settings_are_read_again_by_all(tmp_path: Path) -> None:
    config = tmp_path / "connserver.toml"
    config.write_text("[general]\nworkers = 2\n[clients]\npacket_size_limit = 10\n")
    with EchoBackend() as backend:
        environ = environment(usual(backend.address, {}))
        with Process(["-m", "voltlane", "serve", "--config", str(config)], environ) as server:
            for index in range(2):
                server.wait_for_log(f"worker {index} takes connections")
            config.write_text("[general]\nworkers = 2\n[clients]\npacket_size_limit = 'x'\n")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("the settings stay as they are: ")
            config.write_text("[general]\nworkers = 2\n[clients]\npacket_size_limit = 100\n")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("reloaded: clients.packet_size_limit", 3)
            assert server.log.count("the settings stay as they are") == 1, "no worker was asked"
            config.write_text("[general]\nworkers = 3\n")
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_log("changed, but needs a restart: general.workers")
            assert server.stop() == 0


# ---- the start


def test_a_worker_that_cannot_start_keeps_the_server_from_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "worker-1").mkdir(parents=True, mode=0o700)
    (state / "worker-1" / "lock").mkdir()
    with EchoBackend() as backend, WorkersProcess(backend.address, {"general.state_dir": state}) as server:
        assert server.wait() == 2
        assert "worker 1 does not start, so the server does not either" in server.log


def test_memory_that_is_too_little_for_each() -> None:
    settings = {"general.workers": 2, "limits.memory_bytes": 5 << 20}
    with Process(["-m", "voltlane"], environment(settings)) as process:
        assert process.wait() == 2
        assert "for each of 2 workers, which is less than master.outbox_bytes" in process.log


# ---- the state directory


def test_a_state_directory_is_divided(tmp_path: Path) -> None:
    """What a server without workers has left is the first one's; and there are never fewer workers than before."""
    state = tmp_path / "state"
    settings = {"general.state_dir": state}
    with EchoBackend() as backend:
        with ServerProcess(backend.address, settings) as server:
            client = RawClient.new(server.address)
            echoed(client)
            client.leave()
        with WorkersProcess(backend.address, settings) as server:
            server.wait_for_workers()
            client.address = server.address
            client = client.come_back()
            echoed(client)
            other = RawClient.new(server.address)
            assert node_of(other.client_id) == 1
            assert {path.name for path in state.iterdir()} >= {"worker-0", "worker-1", "server.key", "channel.key"}
            client.close(), other.close()
        with ServerProcess(backend.address, settings) as server:
            assert server.wait() == 2
            assert "has the sessions of 2 workers, and general.workers is 1: start with 2 or more" in server.log
        with WorkersProcess(backend.address, settings, workers=3) as server:
            server.wait_for_workers()


def test_all_have_the_same_keys(tmp_path: Path) -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        clients = [OfVersion3(server.address) for _ in range(2)]
        keys = {client._endpoint.server_key for client in clients}
        assert len(keys) == 1 and keys.pop().hex() in server.log
        for client in clients:
            client.close()


def test_the_kernel_keeps_nobody_waiting_for_a_master_that_is_there() -> None:
    """Clients wait until the first worker has a master, and no longer."""
    with EchoBackend() as backend:
        address = backend.address
        backend.kill()
        with WorkersProcess(address) as server:
            client = RawClient(server.address)
            client.sock.settimeout(0.3)
            client.send_raw(b"\x02\0\0\0\x01\x02")
            with pytest.raises(TimeoutError):
                client.recv()
            wait_until(lambda: "no master" in server.log, "the first attempt")
            client.close()


# ---- limits of all of them together


def refused(address: str) -> bool:
    """Whether a connection is not let in."""
    try:
        client = RawClient(address)
    except ConnectionResetError:
        return True
    try:
        client.send_raw(VERSION)
        client.recv()
    except (EOFError, OSError):
        return True
    finally:
        client.close()
    return False


def test_connections_from_one_address_are_counted_together() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address, {"limits.address_connections": 4}) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(4)]
        assert {node_of(client.client_id) for client in clients} == {0, 1}
        assert refused(server.address)
        clients[0].close()
        wait_until(lambda: not refused(server.address), "room for another one")
        for client in clients[1:]:
            echoed(client)
            client.close()


def test_an_address_that_flaps_is_banned_whoever_had_it() -> None:
    settings = {"limits.flap_count": 4, "limits.ban_secs": 60}
    with EchoBackend() as backend, WorkersProcess(backend.address, settings) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(4)]
        assert {node_of(client.client_id) for client in clients} == {0, 1}
        for client in clients:
            client.close()
        server.wait_for_log("is banned for 60 s")
        assert refused(server.address)


def test_handshakes_that_fail_are_counted_together() -> None:
    settings = {"limits.address_failures": 4}
    with EchoBackend() as backend, WorkersProcess(backend.address, settings) as server:
        server.wait_for_workers()
        held = RawClient.new(server.address)
        for _ in range(4):
            client = RawClient(server.address)
            client.send_raw(b"\x01\0\0\0\x07")
            assert list(client.rest()) == []
        server.wait_for_log("handshake packet", 4)
        wait_until(lambda: refused(server.address), "the limit")
        held.close()


def test_a_worker_that_dies_leaves_no_connection_counted() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address, {"limits.address_connections": 2}) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(2)]
        os.kill(server.pid_of(1), signal.SIGKILL)
        server.wait_for_log("worker 1 had 1 connections")
        again = RawClient.new(server.address)
        assert refused(server.address)
        for client in (*clients, again):
            client.close()


def test_what_proxies_say_counts_for_all() -> None:
    settings = {
        "listener.proxy_protocol": "required",
        "listener.proxy_networks": "127.0.0.0/8",
        "limits.address_connections": 2,
    }
    header = b"PROXY TCP4 192.0.2.%d 127.0.0.1 1000 2000\r\n"
    with EchoBackend() as backend, WorkersProcess(backend.address, settings) as server:
        server.wait_for_workers()
        clients = []
        for number in (1, 1, 2, 1):
            client = RawClient(server.address)
            client.send_raw(header % number + VERSION)
            client.recv()
            clients.append(client)
        server.wait_for_log("192.0.2.1:1000: too many connections from one address")
        with contextlib.suppress(ConnectionResetError):
            assert list(clients[3].rest()) == []
        assert server.log.count("too many connections") == 1
        for client in clients:
            client.close()


def test_all_that_may_be_there_at_once() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address, {"limits.connections": 3}) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(3)]
        assert refused(server.address)
        server.wait_for_log("too many connections")
        for client in clients:
            client.close()
