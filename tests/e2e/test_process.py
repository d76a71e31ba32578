"""The process as the system sees it: signals, exit codes, addresses, descriptors, and quiet when nothing is to do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest
from kit.process import HAS_PROC, ROOT, BackendProcess, ServerProcess, environment
from kit.raw_client import RawClient, frame
from kit.raw_master import DATA, RawMaster, Tagged
from kit.rig import running
from kit.wait import wait_until

# ---- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_both_ways_and_ends_with_0(number: int) -> None:
    with running({"clients.outbox_bytes": 1 << 26}, master_receive_buffer=1 << 16) as rig:
        assert isinstance(rig.server, ServerProcess)
        listening, talking = rig.new(receive_buffer=1 << 16), rig.new()
        down = [b"%08d" % number + bytes(50_000) for number in range(200)]
        rig.master.send(listening.client_id, *down)
        rig.master.fence()
        up = [b"%08d" % number + bytes(50_000) for number in range(60)]
        talking.send(*up)
        talking.leave()  # the server has read it all
        rig.server.process.send_signal(number)
        rig.server.wait_for_log("stopping")
        assert rig.master.recv_data(talking.client_id, len(up)) == up
        assert list(listening.rest()) == down
        assert rig.server.wait() == 0


def test_a_second_signal_ends_at_once_and_with_0_whenever_it_comes() -> None:
    with running({"clients.outbox_bytes": 1 << 26}) as rig:
        assert isinstance(rig.server, ServerProcess)
        client = rig.new(receive_buffer=8192)
        rig.master.send(client.client_id, *[bytes(50_000)] * 400)
        rig.master.fence()
        rig.server.process.send_signal(signal.SIGTERM)
        rig.server.wait_for_log("stopping")
        assert rig.server.stop() == 0


def test_a_peer_that_does_not_read_does_not_keep_the_server_from_ending() -> None:
    with running({"clients.outbox_bytes": 1 << 26, "general.shutdown_secs": 0.5}) as rig:
        assert isinstance(rig.server, ServerProcess)
        client = rig.new(receive_buffer=8192)
        rig.master.send(client.client_id, *[bytes(50_000)] * 400)
        rig.master.fence()
        assert rig.server.stop() == 0


def test_a_server_that_waits_for_its_master_ends_on_a_signal() -> None:
    with RawMaster() as master:
        master.stop_listening()
        with ServerProcess(master.address) as server:
            server.wait_for_log("trying again")
            assert server.stop() == 0


def test_a_signal_is_heeded_as_soon_as_the_server_says_that_it_is_there() -> None:
    with RawMaster() as master:
        master.stop_listening()
        for _ in range(3):
            with ServerProcess(master.address) as server:
                assert server.address
                assert server.stop() == 0


def test_a_signal_writes_the_state_to_the_log_and_changes_nothing() -> None:
    with running() as rig:
        assert isinstance(rig.server, ServerProcess)
        client, gone = rig.new(), rig.stale()
        for times in (1, 2):
            rig.server.process.send_signal(signal.SIGUSR1)
            rig.server.wait_for_log("state: sessions ended: none", times)
        assert "state: ready; descriptors=" in rig.server.log
        assert "live=1 stale=1" in rig.server.log
        client.send(b"still here")
        assert rig.master.recv_data(client.client_id, 1) == [b"still here"]
        assert gone.client_id == client.client_id + 1


def test_no_more_clients_are_taken_while_it_ends() -> None:
    with running({"clients.outbox_bytes": 1 << 26}) as rig:
        client = rig.new(receive_buffer=8192)
        rig.master.send(client.client_id, *[bytes(50_000)] * 400)
        rig.master.fence()
        rig.server.process.send_signal(signal.SIGTERM)  # type: ignore[union-attr]
        rig.server.wait_for_log("stopping")
        with pytest.raises(ConnectionRefusedError):
            rig.stranger()
        assert len(list(client.rest())) == 400
        assert rig.server.wait() == 0  # type: ignore[union-attr]


def test_a_killed_server_leaves_its_clients_and_its_master_to_the_kernel() -> None:
    with running() as rig:
        client = rig.new()
        rig.server.kill()  # type: ignore[union-attr]
        assert list(client.rest()) == []
        with pytest.raises(EOFError):
            rig.master.recv()


# ---- addresses


def test_a_port_in_use_ends_with_3_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with ServerProcess("127.0.0.1:1", {"listener.address": address}) as server:
            assert server.wait() == 3
            assert f"cannot listen on {address}" in server.log
            assert "Address already in use" in server.log
            assert "Traceback" not in server.log


def test_two_servers_do_not_share_a_port() -> None:
    with RawMaster() as master, ServerProcess(master.address) as first:
        address = first.address
        master.stop_listening()
        with ServerProcess(master.address, {"listener.address": address}) as second:
            assert second.wait() == 3


def test_the_port_is_free_again_at_once() -> None:
    with RawMaster() as master:
        with ServerProcess(master.address) as server:
            master.accept()
            address = server.address
            with RawClient.new(address) as client:
                before = client.client_id
                master.drop()
                assert server.stop() == 0
        with ServerProcess(master.address, {"listener.address": address}) as server:
            master.accept()
            with RawClient.new(server.address) as client:
                assert client.client_id > before


def test_clients_and_master_over_unix_sockets() -> None:
    with tempfile.TemporaryDirectory() as directory, RawMaster(unix=True) as master:
        path = os.path.join(directory, "clients")
        with ServerProcess(master.address, {"listener.address": f"unix:{path}"}) as server:
            master.accept()
            assert server.address == f"unix:{path}"
            big = os.urandom(1 << 20)
            with RawClient.new(server.address, behind=frame(b"first")) as client:
                client.send(big)
                assert master.recv_data(client.client_id, 2) == [b"first", big]
                client.leave()
            master.send(client.client_id, b"missed")
            master.fence()
            with client.come_back() as again:
                assert again.recv() == b"missed"
                again.send(b"again")
                assert master.recv_for(client.client_id).flag == 3
                assert master.recv_for(client.client_id) == Tagged(client.client_id, DATA, b"again")
            assert server.stop() == 0
            assert not os.path.exists(path)


def test_a_socket_file_left_behind_is_replaced_and_one_in_use_is_not() -> None:
    with tempfile.TemporaryDirectory() as directory, RawMaster() as master:
        address = f"unix:{directory}/clients"
        master.stop_listening()
        with ServerProcess(master.address, {"listener.address": address}) as killed:
            assert killed.address == address
            killed.kill()
        assert os.path.exists(f"{directory}/clients")
        with ServerProcess(master.address, {"listener.address": address}) as server:
            assert server.address == address
            with ServerProcess(master.address, {"listener.address": address}) as second:
                assert second.wait() == 3
            # The first one's file is still there and still its own.
            RawClient(address).close()


def test_clients_over_ipv6_and_ipv4_on_every_interface() -> None:
    with RawMaster() as master, ServerProcess(master.address, {"listener.address": "*:0"}) as server:
        master.accept()
        port = server.address.rpartition(":")[2]
        hosts = ["127.0.0.1", "[::1]"] if has_ipv6() else ["127.0.0.1"]
        for host in hosts:
            with RawClient.new(f"{host}:{port}", behind=frame(host.encode())) as client:
                assert master.recv_data(client.client_id, 1) == [host.encode()]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


# ---- nothing to do, nothing done


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
@pytest.mark.parametrize("settings", [{}, {"admin.address": "127.0.0.1:0"}], ids=["alone", "with the admin endpoint"])
def test_an_idle_server_makes_no_wake_ups(settings: dict[str, object]) -> None:
    if settings:
        pytest.importorskip("h11", reason="the extra `web` is not installed")
        pytest.importorskip("prometheus_client", reason="the extra `web` is not installed")
    with running(settings) as rig:
        assert isinstance(rig.server, ServerProcess)
        clients = [rig.new() for _ in range(100)]
        for client in clients:
            client.send(b"and now silence")
        rig.master.fence()
        before = settled(rig.server)
        time.sleep(1)  # what is tested is that nothing happens in it
        assert rig.server.context_switches() == before


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
def test_a_server_that_does_not_read_its_clients_does_not_spin() -> None:
    """Everybody has something to say, the master does not read: it must wait, not ask again and again."""
    with running({"master.outbox_bytes": 100_000}, master_receive_buffer=1 << 16) as rig:
        assert isinstance(rig.server, ServerProcess)
        clients = [rig.new() for _ in range(10)]
        for client in clients:
            client.sock.settimeout(0.05)
            with pytest.raises((TimeoutError, socket.timeout)):
                while True:
                    client.send(bytes(50_000))
        before, used = settled(rig.server), cpu_seconds(rig.server)
        time.sleep(0.5)
        assert cpu_seconds(rig.server) - used <= 0.02
        assert rig.server.context_switches() - before <= 2
        rig.master.stop_listening()
        rig.master.drop()


def settled(server: ServerProcess) -> int:
    """The number of context switches once it has stayed the same for a moment."""
    seen = [-1]

    def quiet() -> bool:
        seen.append(server.context_switches())
        time.sleep(0.05)
        return len(seen) > 4 and seen[-1] == seen[-4]

    wait_until(quiet, "the server to be idle")
    return seen[-1]


def cpu_seconds(server: ServerProcess) -> float:
    with open(f"/proc/{server.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- clients that are processes

CLIENT = """
import sys
from kit.raw_client import RawClient
client = RawClient.new(sys.argv[1])
print(client.client_id, flush=True)
for number in range(10**9):
    client.send(b"%d" % number)
    client.recv()
    if number == 100:
        print("talking", flush=True)
"""


def test_clients_killed_without_warning_become_stale_and_others_go_on() -> None:
    settings = {"clients.stale_timeout_secs": 0.2, "clients.stale_reap_interval_secs": 0.05}
    environ = {**environment({}), "PYTHONPATH": str(ROOT / "tests")}
    with BackendProcess() as backend, ServerProcess(backend.address, settings) as server:
        arguments = [sys.executable, "-c", CLIENT, server.address]
        processes = [subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        numbers = []
        for process in processes:
            assert process.stdout
            numbers.append(int(process.stdout.readline()))
            assert process.stdout.readline() == "talking\n"
        with RawClient.new(server.address) as other:
            for process in processes:
                process.kill()
                process.wait()
                process.stdout.close()  # type: ignore[union-attr]
            for number in numbers:
                backend.wait_for_log(f"failure {number} b'Client disconnected'")
            other.send(b"still here")
            assert other.recv() == b"still here"


def test_a_clock_that_was_never_set_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voltlane.server.introduction.RELEASED", "2999-01-01")
    with running(embedded=True) as rig:
        wait_until(lambda: "this version is of 2999-01-01" in rig.server.log, "the warning")
    monkeypatch.undo()
    with running(embedded=True) as rig:
        rig.new()
        assert "the clock says" not in rig.server.log
