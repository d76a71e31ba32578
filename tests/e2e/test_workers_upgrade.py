"""Workers followed by others in place: no connection is cut, and nothing lost."""

from __future__ import annotations

import os
import re
import resource
import signal
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from kit.process import HAS_PROC, KIT, Process, environment, usual
from kit.program import Program
from kit.raw_client import RawClient
from kit.upgrades import OfVersion2, OfVersion3, Streamer, drive, finish
from kit.workers import EchoBackend, WorkersProcess, node_of, wait_for_end

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")


class Upgraded(WorkersProcess):
    """`voltlane serve` by way of `kit/heir.py`, for the faults of a successor."""

    def __init__(self, master: str, settings: dict[str, object] | None = None, fault: str = "") -> None:
        self.workers, self._address = 2, ""
        everything = usual(master, {"general.workers": 2, **(settings or {})})
        environ = {**environment(everything), "HEIR_FAULT": fault}
        Process.__init__(self, [str(KIT / "heir.py"), "serve"], environ)


def test_clients_under_load_do_not_notice() -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(EchoBackend())
        server = stack.enter_context(WorkersProcess(backend.address, {"limits.address_connections": 16}))
        server.wait_for_workers()
        kinds = (OfVersion2, OfVersion3, partial(OfVersion3, suite=0))
        clients: list[Streamer] = [kind(server.address) for kind in kinds for _ in range(4)]
        for client in clients:
            stack.callback(client.close)
        for times in (2, 3):
            before = server.pids
            drive(clients, lambda: all(client.received > 50 for client in clients))
            server.process.send_signal(signal.SIGUSR2)
            drive(clients, lambda times=times: server.log.count("all workers are new") == times - 1)  # type: ignore[misc]
            assert not set(before) & set(server.pids)
            for pid in before:
                wait_for_end(pid)
            server.wait_for_workers(times)
        others = [RawClient.new(server.address) for _ in range(4)]
        assert {node_of(client.client_id) for client in others} == {0, 1}
        with pytest.raises((EOFError, OSError)):
            RawClient.new(server.address)  # the limit still counts those from before
        finish(clients)
        assert "failed" not in server.log and "is gone" not in backend.log.replace("voltlane", "")
        for client in others:
            client.close()


def test_those_who_went_along_are_not_counted_twice_against_the_descriptors() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(120)]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (128, 128))  # and so for those that it starts
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("all workers are new")
        server.wait_for_workers(2)
        clients.append(RawClient.new(server.address))
        clients[-1].send(b"hello")
        assert clients[-1].recv() == b"hello"
        for client in clients:
            client.close()


def test_where_one_fails_all_go_on() -> None:
    with EchoBackend() as backend, Upgraded(backend.address, fault="dies_before_it_has_taken") as server:
        server.wait_for_workers()
        pids = server.pids
        clients = [RawClient.new(server.address) for _ in range(4)]
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("worker 0 could not be followed by another process")
        clients += [RawClient.new(server.address) for _ in range(2)]
        for client in clients:
            client.send(b"still here")
            assert client.recv() == b"still here"
            client.close()
        assert server.pids == pids and "worker 0: handing over has failed, everything goes on here" in server.log


def test_the_state_directories_go_along(tmp_path: Path) -> None:
    settings = {"general.state_dir": tmp_path / "state"}
    with EchoBackend() as backend, WorkersProcess(backend.address, settings) as server:
        server.wait_for_workers()
        clients = [RawClient.new(server.address) for _ in range(2)]
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("all workers are new")
        for index in range(2):
            lock = tmp_path / "state" / f"worker-{index}" / "lock"
            assert int(lock.read_text()) == server.pid_of(index, -1)
        for client in clients:
            client.send(b"hello")
            assert client.recv() == b"hello"
            client.close()


def test_a_server_that_is_asked_to_stop_meanwhile_stops() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("is starting")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0


def test_one_that_dies_meanwhile_is_started_again() -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        server.process.send_signal(signal.SIGUSR2)
        server.wait_for_log("worker 0: handing over: process ")
        os.kill(server.pid_of(0), signal.SIGKILL)
        server.wait_for_log("all workers are new")
        server.wait_for_log("worker 0 takes connections", 2)
        client = RawClient.new(server.address)
        client.send(b"hello")
        assert client.recv() == b"hello"
        client.close()


def test_the_command_waits_until_all_are_new(tmp_path: Path) -> None:
    with EchoBackend() as backend, WorkersProcess(backend.address) as server:
        server.wait_for_workers()
        with Program("upgrade", "--pid", str(server.pid), cwd=tmp_path) as command:
            assert command.finish(40) == 0
            assert command.out == b"the 2 workers of process %d have handed over\n" % server.pid
        assert server.log.count("all workers are new") == 1
        worker = server.pids[0]
        with Program("upgrade", "--pid", str(worker), cwd=tmp_path) as command:
            assert command.finish() == 1
            assert f"process {worker} is a worker: ask its parent, which is process {server.pid}" in command.err
    with EchoBackend() as backend, Upgraded(backend.address, fault="cannot_be_built") as server:
        server.wait_for_workers()
        with Program("upgrade", "--pid", str(server.pid), cwd=tmp_path) as command:
            assert command.finish(40) == 1
            assert "its log says why" in command.err


class Relative(WorkersProcess):
    """`voltlane serve`, its interpreter by a path from where it is."""

    def __init__(self, master: str) -> None:
        self.workers, self._address = 2, ""
        again = "os.execv(sys.executable, [os.path.relpath(sys.executable), '-m', 'voltlane', 'serve'])"
        environ = environment(usual(master, {"general.workers": 2}))
        Process.__init__(self, ["-c", f"import os, sys; {again}"], environ)


def test_the_command_knows_workers_whatever_their_parent_is_called(tmp_path: Path) -> None:
    """Theirs has the whole name of the interpreter."""
    with EchoBackend() as backend, Relative(backend.address) as server:
        server.wait_for_workers()
        with Program("upgrade", "--pid", str(server.pid), cwd=tmp_path) as command:
            assert command.finish(40) == 0
            assert command.out == b"the 2 workers of process %d have handed over\n" % server.pid


def test_one_that_is_drained_does_not_begin(tmp_path: Path) -> None:
    pytest.importorskip("h11"), pytest.importorskip("prometheus_client")
    settings = {"admin.address": "127.0.0.1:0"}
    with EchoBackend() as backend, WorkersProcess(backend.address, settings) as server:
        server.wait_for_workers()
        server.wait_for_log("the admin endpoint is at ")
        address = re.search(r"the admin endpoint is at (\S+)", server.log)[1]  # type: ignore[index]
        with Program("drain", "--notice", "0", address, cwd=tmp_path) as command:
            assert command.finish() == 0
        with Program("upgrade", "--pid", str(server.pid), cwd=tmp_path) as command:
            assert command.finish() == 1 and "its log says why" in command.err
        assert "nothing is handed over by a server that is drained" in server.log
        assert "worker 0: handing over" not in server.log
