"""Several processes that are one server: whoever comes back is at the worker that has its session, whichever the parent
had given it to."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from kit.event_world import post, request
from kit.process import HAS_PROC
from kit.records import Endpoint, Session, framed
from kit.vectors import CERTIFICATES
from kit.wait import wait_until
from kit.workers import EchoBackend, WorkersProcess, node_of

from voltlane.client import Connection
from voltlane.errors import ConnectionLost, Gap
from voltlane.wire.framing import FrameBuffer

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")
CA = str(CERTIFICATES / "ca.pem")
LANES = ("tcp", "ws", "tls", "wss")
ENCRYPTED = ("tls", "wss")
FEW = 3
EVERYWHERE = {
    "listener.address": "127.0.0.1:0,ws://127.0.0.1:0,tls://127.0.0.1:0,wss://127.0.0.1:0",
    "tls.certificate": CERTIFICATES / "server.pem",
    "tls.key": CERTIFICATES / "server.key",
}


class Crossings(WorkersProcess):
    """Which listens on every lane."""

    def addresses(self) -> dict[str, str]:
        self.wait_for_log("clients connect to ", 4)
        found = re.findall(r"clients connect to ([^\s\"\\]+)", self.log)
        return {address.partition("://")[0] if "://" in address else "tcp": address for address in found}

    def count(self, name: str) -> int:
        """A counter, over all workers."""
        before = len(re.findall(r"state: counters: ", self.log))
        self.process.send_signal(signal.SIGUSR1)
        self.wait_for_log("state: counters: ", before + self.workers)
        latest = re.findall(rf"worker \d+: state: counters: .*?\b{name}=(\d+)", self.log)[-self.workers :]
        return sum(map(int, latest))

    def connections(self) -> list[int]:
        """Of each worker, as the parent has it."""
        pattern = r"state: worker \d+: serving, process=\d+ connections=(\d+)"
        before = len(re.findall(pattern, self.log))
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(re.findall(pattern, self.log)) >= before + self.workers, "the parent's state")
        return [int(found) for found in re.findall(pattern, self.log)[before : before + self.workers]]


@pytest.fixture(scope="module")
def server() -> Iterator[Crossings]:
    with EchoBackend() as backend, Crossings(backend.address, EVERYWHERE) as server:
        server.wait_for_workers()
        yield server


def crowd(server: Crossings, lane: str, protocol: int) -> list[Connection]:
    """Clients of the first worker, which has so many more than the other one that a few of them who come back are given
    to that."""
    wait_until(lambda: not any(server.connections()), "those of before to be gone")
    address, ca_file = server.addresses()[lane], CA if lane in ENCRYPTED else ""
    clients = [Connection(address, protocol=protocol, ca_file=ca_file) for _ in range(14)]
    here = [client for client in clients if node_of(client.client_id) == 0]
    for client in clients:
        if client not in here:
            client.close()

    def known() -> bool:
        first, second = server.connections()
        return first - second > FEW

    wait_until(known, "the parent to know that")
    return here


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("lane", LANES)
def test_a_session_by_another_worker(server: Crossings, lane: str, protocol: int) -> None:
    before, relayed = server.count("passed_on"), server.count("relayed")
    clients = crowd(server, lane, protocol)
    ids = [client.client_id for client in clients]
    for round_ in range(2):
        for client in clients[:FEW]:
            client.reconnect(10.0)
            packet = b"%d" % round_ * 100_000
            client.send(packet)
            assert client.recv(10.0) == packet
    assert [client.client_id for client in clients] == ids
    crossed = server.count("passed_on") - before
    assert crossed >= FEW and server.count("taken_in") == server.count("passed_on")
    assert (server.count("relayed") - relayed) == (crossed if lane in ENCRYPTED else 0)
    for client in clients:
        client.close()


def test_what_was_relayed_is_gone_with_its_clients(server: Crossings) -> None:
    clients = crowd(server, "tls", 3)
    for client in clients:
        client.reconnect(10.0)
    for client in clients:
        client.close()

    def descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.pids)

    quiet = descriptors()
    for _ in range(3):
        clients = crowd(server, "tls", 3)
        for client in clients:
            client.reconnect(10.0)
        for client in clients:
            client.close()
    wait_until(lambda: descriptors() <= quiet, "the descriptors of relays")


def test_events_and_packets_by_another_worker(server: Crossings) -> None:
    """The stream and the requests of a client come to where its session is, one connection for all of them."""
    where = server.addresses()["ws"].partition("://")[2]
    host, _, port = where.rpartition(":")
    wait_until(lambda: not any(server.connections()), "those of before to be gone")
    with ExitStack() as stack:
        streams = []
        for _ in range(4):
            sock = stack.enter_context(socket.create_connection((host, int(port)), 10))
            sock.sendall(request("GET /events", "Accept: text/event-stream"))
            streams.append(sock.makefile("rb"))
        told = [_first_event(stream) for stream in streams]
        assert {node_of(one["client_id"]) for one in told} == {0, 1}
        caller = stack.enter_context(socket.create_connection((host, int(port)), 10))
        answers = caller.makefile("rb")
        for number, (stream, one) in enumerate(zip(streams, told)):
            caller.sendall(post(one["token"], b"packet %d" % number))
            assert answers.readline().startswith(b"HTTP/1.1 202")
            while answers.readline().strip():
                pass
            assert _data(stream) == f"packet {number}"
        for stream in (*streams, answers):
            stream.close()


def _data(stream: object) -> str:
    while True:
        line = stream.readline().decode()  # type: ignore[attr-defined]
        assert line, "the stream has ended"
        if line.startswith("data: "):
            return line[len("data: ") :].rstrip("\n")


def _first_event(stream: object) -> dict[str, object]:
    return json.loads(_data(stream))  # type: ignore[no-any-return]


def opened(address: str, session: Session, deaf: bool) -> socket.socket:
    """A connection that has said that session's opening; a deaf one reads nothing of what is behind the server's
    hello."""
    host, _, port = address.rpartition(":")
    endpoint, received = Endpoint(session), FrameBuffer(1 << 20)
    sock = socket.create_connection((host, int(port)), 10)
    sock.sendall(framed([endpoint.hello()]))
    while not endpoint.ready:
        received.feed(sock.recv(1 if deaf else 4096))
        while (message := received.pop()) is not None:
            sock.sendall(framed(endpoint.receive(message)))
            if deaf:
                return sock
    return sock


def test_an_opening_that_is_said_again(server: Crossings) -> None:
    """At another worker, while its welcome is lost: it is the same session, each time."""
    before = server.count("sessions")
    sessions = [Session() for _ in range(6)]
    for number, session in enumerate(sessions, 1):
        with opened(server.addresses()["tcp"], session, True):
            wait_until(lambda: server.count("sessions") == before + number, "the session")  # noqa: B023
    for session in sessions:
        opened(server.addresses()["tcp"], session, False).close()
    assert server.count("sessions") == before + len(sessions)
    assert len({session.id for session in sessions}) == len(sessions)


def test_all_end_in_order_with_relays() -> None:
    """What a worker relays is another's client, which is told and read to its end like every other."""
    with EchoBackend() as backend, Crossings(backend.address, EVERYWHERE) as server:
        server.wait_for_workers()
        clients = crowd(server, "tls", 3)
        for client in clients:
            client.reconnect(10.0)
            client.send(b"last")
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        for client in clients:
            with pytest.raises(ConnectionLost, match="server shutting down"):
                while client.recv(1.0):
                    pass
            client.close(goodbye=False)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_worker_that_is_killed_has_its_sessions_again(tmp_path: Path, protocol: int) -> None:
    """Whoever comes back meanwhile, by any of them, waits until it is there."""
    with EchoBackend() as backend, Crossings(backend.address, {"general.state_dir": tmp_path / "state"}) as server:
        server.wait_for_workers()
        told = {"gaps": "return", "uncertain": "resend"} if protocol == 3 else {}
        clients = [Connection(server.address, protocol=protocol, **told) for _ in range(6)]  # type: ignore[arg-type]
        ids = [client.client_id for client in clients]
        for client in clients:
            client.send(b"before")
            assert client.recv(10.0) == b"before"
        os.kill(server.pid_of(1), signal.SIGKILL)
        server.wait_for_log("worker 1 was killed")
        for client in clients:
            if node_of(client.client_id) == 1:
                client.reconnect(20.0)
            client.send(b"behind")
            while isinstance(found := client.recv(10.0), Gap):
                pass
            assert found == b"behind"
        assert [client.client_id for client in clients] == ids
        for client in clients:
            client.close()


def test_openings_are_known_after_a_restart_of_all(tmp_path: Path) -> None:
    """A session whose client has not heard of it is in its worker's state directory, and nowhere else."""
    settings = {"general.state_dir": tmp_path / "state"}
    sessions = [Session() for _ in range(4)]
    with EchoBackend() as backend:
        with Crossings(backend.address, settings) as server:
            server.wait_for_workers()
            deaf = [opened(server.address, session, True) for session in sessions]
            wait_until(lambda: server.count("sessions") == len(sessions), "the sessions")
            for sock in deaf:
                sock.close()
        with Crossings(backend.address, settings) as server:
            server.wait_for_workers()
            for session in reversed(sessions):
                opened(server.address, session, False).close()
            assert server.count("sessions") == 0 and server.count("resumed") == len(sessions)
            assert {node_of(session.id) for session in sessions} == {0, 1}
