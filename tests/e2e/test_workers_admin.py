"""One admin endpoint that speaks for all workers."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kit.process import HAS_PROC
from kit.raw_client import RawClient
from kit.wait import wait_until
from kit.workers import EchoBackend, WorkersProcess, node_of, wait_for_end

pytest.importorskip("h11")
pytest.importorskip("prometheus_client")
pytestmark = pytest.mark.skipif(not HAS_PROC, reason="the system has no /proc")

TELLING_SECS = 2.0
"""A worker tells its parent each second what it has counted; and a little."""


class Admin:
    """Asks."""

    def __init__(self, server: WorkersProcess) -> None:
        server.wait_for_log("the admin endpoint is at ")
        address = re.search(r"the admin endpoint is at (\S+)", server.log)[1]  # type: ignore[index]
        self._connection = http.client.HTTPConnection(address, timeout=10)

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        self._connection.request(method, path)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def get(self, path: str) -> Any:
        status, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)

    def metrics(self) -> dict[str, float]:
        status, body = self.ask("/metrics")
        assert status == 200
        lines = [line.rpartition(" ") for line in body.decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def close(self) -> None:
        self._connection.close()


class Party:
    """Two workers with some clients, who have each sent something."""

    def __init__(self, stack: ExitStack, count: int = 6) -> None:
        self.backend = stack.enter_context(EchoBackend())
        self.server = stack.enter_context(WorkersProcess(self.backend.address, {"admin.address": "127.0.0.1:0"}))
        self.server.wait_for_workers()
        self.admin = Admin(self.server)
        stack.callback(self.admin.close)
        self.clients = [RawClient.new(self.server.address) for _ in range(count)]
        for client in self.clients:
            stack.callback(client.close)
            client.send(b"hello")
            assert client.recv() == b"hello"


@pytest.fixture
def party() -> Iterator[Party]:
    with ExitStack() as stack:
        yield Party(stack)


def test_sums_and_who_has_what(party: Party) -> None:
    stats = party.admin.get("/stats")
    assert stats["clients"] == {"live": 6, "stale": 0, "handshaking": 0}
    assert stats["counts"]["packets_up"] == stats["counts"]["packets_down"] == 6
    assert stats["counts"]["accepted"] == 6 and stats["lanes"]["tcp"] == {"accepted": 6, "live": 6}
    assert stats["master"]["connections"] == 2 and stats["master"]["reconnects"] == 0
    assert stats["ready"] and [worker["live"] for worker in stats["workers"]] == [3, 3]
    assert [worker["pid"] for worker in stats["workers"]] == party.server.pids
    metrics = party.admin.metrics()
    assert metrics['voltlane_clients{state="live"}'] == 6 and metrics["voltlane_workers"] == 2
    for total, each in (
        ("voltlane_packets_up_total", "voltlane_worker_packets_up_total"),
        ('voltlane_clients{state="live"}', "voltlane_worker_clients"),
    ):
        by_worker = [metrics[f'{each}{{worker="{index}"}}'] for index in range(2)]
        assert sum(by_worker) == metrics[total] and all(by_worker)
    assert party.admin.ask("/readyz")[0] == 200


def test_one_list_of_clients(party: Party) -> None:
    wanted = sorted(client.client_id for client in party.clients)
    for order, ids in (("asc", wanted), ("desc", wanted[::-1])):
        pages = [party.admin.get(f"/clients?sort=id&order={order}&offset={at}&limit=4") for at in (0, 4, 8)]
        assert [row["id"] for page in pages for row in page["clients"]] == ids
        assert {page["total"] for page in pages} == {6}
    one = party.clients[3]
    assert party.admin.get(f"/clients/{one.client_id}")["state"] == "live"
    found = party.admin.get(f"/clients?find={one.client_id}")
    assert [row["id"] for row in found["clients"]] == [one.client_id] and found["total"] == 1
    assert party.admin.ask("/clients/77")[0] == 404


def test_whoever_has_the_client_kicks_it(party: Party) -> None:
    for client in party.clients[:2]:
        status, body = party.admin.ask(f"/clients/{client.client_id}/kick", "POST")
        assert (status, json.loads(body)) == (200, {"kicked": client.client_id})
        assert list(client.rest()) == []
        assert party.admin.ask(f"/clients/{client.client_id}/kick", "POST")[0] == 404
    assert {node_of(client.client_id) for client in party.clients[:2]} == {0, 1}
    wait_until(lambda: len(party.admin.get("/closed")["closed"]) == 2, "their ends")
    assert {row["reason"] for row in party.admin.get("/closed")["closed"]} == {"kicked by the operator"}
    assert party.admin.get("/stats")["reasons"]["ended"] == {"kicked by the operator": 2}


def test_what_a_dead_worker_has_counted_stays(party: Party) -> None:
    node = node_of(party.clients[0].client_id)
    client, sent = party.clients[0], []

    def told() -> bool:  # it is told in the next second that has a turn
        client.send(b"more")
        client.recv()
        sent.append(time.monotonic())
        return sent[-1] - sent[0] > 2 * TELLING_SECS

    wait_until(told, "some seconds of packets")
    old = sum(moment < sent[-1] - TELLING_SECS for moment in sent)
    os.kill(party.server.pid_of(node), signal.SIGKILL)
    party.server.wait_for(node, 2)
    metrics = party.admin.metrics()
    assert old and metrics["voltlane_packets_up_total"] >= old, "but for the last second's, none is lost"
    assert metrics[f'voltlane_worker_starts_total{{worker="{node}"}}'] == 2
    assert metrics['voltlane_clients{state="live"}'] == 3


def counters(metrics: dict[str, float]) -> dict[str, float]:
    """Those of all processes together."""
    return {
        name: value
        for name, value in metrics.items()
        if name.partition("{")[0].endswith("_total") and not name.startswith("voltlane_worker_")
    }


@pytest.mark.parametrize("what", ["killed", "frozen", "followed"])
def test_no_counter_falls(party: Party, what: str) -> None:
    """What was shown last is newer than what workers tell each second."""
    for client in party.clients:
        for _ in range(50):
            client.send(b"more")
            client.recv()
    before, pid = party.admin.metrics(), party.server.pid_of(0)
    if what == "killed":
        os.kill(pid, signal.SIGKILL)
        party.server.wait_for(0, 2)
    elif what == "frozen":
        os.kill(pid, signal.SIGSTOP)
    else:
        party.server.process.send_signal(signal.SIGUSR2)
    seen, shown = [before], before
    try:
        for _ in range(2 if what == "frozen" else 1):
            seen.append(party.admin.metrics())
        while what == "followed" and party.server.log.count("all workers are new") == 0:
            seen.append(party.admin.metrics())
        if what == "followed":
            for pid in (party.server.pid_of(index) for index in range(2)):
                wait_for_end(pid)
            seen.append(party.admin.metrics())
    finally:
        if what == "frozen":
            os.kill(pid, signal.SIGCONT)
    for metrics in seen[1:]:
        fallen = {name: (value, metrics.get(name)) for name, value in counters(shown).items()}
        assert not {name: pair for name, pair in fallen.items() if pair[1] is None or pair[1] < pair[0]}
        shown = metrics
    if what == "followed":
        assert shown['voltlane_clients{state="live"}'] == len(party.clients)


def test_one_that_does_not_answer_is_left_out(party: Party) -> None:
    pid = party.server.pid_of(1)
    os.kill(pid, signal.SIGSTOP)
    try:
        stats = party.admin.get("/stats")
        assert stats["clients"]["live"] == 3
        assert [row["id"] >> 45 for row in party.admin.get("/clients")["clients"]] == [0, 0, 0]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert party.admin.get("/stats")["clients"]["live"] == 6


def refused(party: Party) -> bool:
    """Whether who comes is sent away."""
    try:
        with RawClient(party.server.address) as client:
            client.greet()
    except (ConnectionError, EOFError):
        return True
    return False


def test_they_drain_together(party: Party) -> None:
    """Who comes is reset by the parent, those who are here are told by their workers; and it can be taken back."""
    status, body = party.admin.ask("/drain?rate=0&notice=0", "POST")
    told = json.loads(body)
    assert (status, told["state"], told["draining"]["left"]) == (200, "draining", len(party.clients))
    wait_until(lambda: refused(party), "those who come to be sent away")
    for client in party.clients:
        client.send(b"still here")
        assert client.recv() == b"still here"
    assert party.admin.ask("/readyz")[0] == 503
    assert party.admin.ask("/drain", "DELETE")[0] == 200
    wait_until(lambda: party.admin.ask("/readyz")[0] == 200, "the server to be ready again")
    assert not refused(party)
    party.admin.ask("/drain?rate=1000&notice=0", "POST")
    for client in party.clients:
        assert list(client.rest()) == [], "version 2 is told by the end of its connection"
        client.close()
    wait_until(lambda: party.admin.get("/stats")["state"] == "drained", "nobody to be left")
    assert party.admin.get("/stats")["draining"]["told"] >= len(party.clients)


def test_the_live_stream_has_what_happens_at_all(party: Party) -> None:
    with ExitStack() as stack:
        watching = Admin(party.server)
        stack.callback(watching.close)
        watching._connection.request("GET", "/events")
        stream = watching._connection.getresponse()
        assert stream.readline().startswith(b"retry")
        seen = b""
        for client in party.clients[:2]:
            client.close()
        ids = [str(client.client_id).encode() for client in party.clients[:2]]
        while not (all(client_id in seen for client_id in ids) and b"event: snapshot" in seen):
            seen += stream.readline()
