"""One workload on one server: starts the processes, leads them through the phases, measures, verifies the totals."""

from __future__ import annotations

import multiprocessing
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Callable, NamedTuple

from . import board
from .backend import Backend, accept
from .board import Board
from .clients import Clients
from .machine import cores, cpu_seconds, group, kernel_bytes, resident_bytes, slabs
from .publisher import Publisher
from .servers import Running, Server
from .wires import Fault
from .workloads import Job, Workload, job

_fork = multiprocessing.get_context("fork")
CONNECT_SECS = 60
SETTLE_SECS = 15
"""How long the last packets may take after the senders have stopped."""
BUSY = 0.9
"""A generator process that used this much of a core may have been what limited the wall-clock figure."""


class Timing(NamedTuple):
    """Seconds."""

    warm: float
    measured: float


class _Snapshot(NamedTuple):
    at: float
    server: float
    workers: list[float]
    packets: int


class Crew:
    """The generator's processes: number 0 is the backend, the others are the clients."""

    def __init__(self, work: Job, count: int) -> None:
        self.job = work
        self.board = Board(count + 1, work.clients)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port: int = self.listener.getsockname()[1]
        self.processes: list[Any] = []
        self._pipes: list[Connection] = []
        self.reports: list[dict[str, Any]] = []

    def start_backend(self, port: int) -> None:
        """It waits for the server's connection; or publishes to the server there."""
        if self.job.wire.publishes:
            self._start(partial(Publisher, self.job, port, self.board))
        else:
            self._start(partial(Backend, self.job, partial(accept, self.listener), self.board))

    def start_clients(self, port: int) -> None:
        """They connect to the server there, and wait for what is to be done."""
        for slot in range(1, len(self.board.workers)):
            self._start(partial(Clients, self.job, port, self.board, slot))

    def _start(self, make: Callable[[], Backend | Clients]) -> None:
        ours, theirs = _fork.Pipe(duplex=False)
        process = _fork.Process(target=_play, args=(make, theirs), daemon=True)
        process.start()
        theirs.close()
        self.processes.append(process)
        self._pipes.append(ours)

    def check(self) -> None:
        """Raise what a process failed with."""
        for process, pipe in zip(self.processes, self._pipes):
            if pipe.poll():
                kind, content = pipe.recv()
                raise Fault(content if kind == "fault" else "a process of the generator ended too early")
            if not process.is_alive():
                raise Fault("a process of the generator died")

    def collect(self) -> list[dict[str, Any]]:
        """Their reports, once they have been told to quit."""
        reports = []
        for pipe in self._pipes:
            if not pipe.poll(10):
                raise Fault("a process of the generator does not end")
            kind, content = pipe.recv()
            if kind == "fault":
                raise Fault(content)
            reports.append(content)
        return reports

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for process in self.processes:
            process.kill()
            process.join()
        for pipe in self._pipes:
            pipe.close()
        self.listener.close()


def _play(make: Callable[[], Backend | Clients], pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    try:
        player = make()
        pipe.send(("report", player.run()))
        signal.pause()  # until the parent ends us: a connection that is closed now would be a fault to somebody else
    except Fault as fault:
        pipe.send(("fault", str(fault)))
    except Exception as error:
        pipe.send(("fault", f"the generator failed: {type(error).__name__}: {error}"))
        raise


def run(server: Server, workload: Workload, clients: int, timing: Timing, **particulars: Any) -> dict[str, Any]:
    """Measure. Raises Fault when the server fails, or anything did not arrive as it should."""
    work = job(server.wire, workload, clients, **particulars)
    crew = Crew(work, min(clients, max(1, cores() - 2)))
    with _closing(crew), server.running(crew.port) as running, _blame(running):
        lead = _Lead(crew, running)
        running.wait_listening(crew.check)
        crew.start_backend(running.port)
        lead.until(lambda: crew.board.workers[0][board.READY] > 0, 20, "the server and its backend to connect")
        if server.head_start:
            lead.watch(server.head_start)
        before, kernel = sum(map(resident_bytes, group(running.pid))), slabs()
        began = time.monotonic()
        crew.start_clients(running.port)
        lead.until(lambda: all(w[board.PREPARED] for w in crew.board.workers), CONNECT_SECS, "all clients to connect")
        opened = time.monotonic() - began
        crew.board.phase[0] = board.WARM
        lead.watch(timing.warm)
        first = lead.snapshot()
        crew.board.phase[0] = board.RUN
        lead.watch(timing.measured)
        last = lead.snapshot()
        resident = sum(map(resident_bytes, group(running.pid)))
        kernel_added = kernel_bytes(kernel, slabs(), clients)
        crew.board.phase[0] = board.STOP
        settled = _SETTLED[workload.mode]
        lead.until(lambda: settled(crew), SETTLE_SECS, "the last packets", lambda: _progress(crew))
        crew.board.phase[0] = board.QUIT
        reports = crew.collect()
    _compare(workload.mode, reports)
    result = _figures(first, last)
    result.update(clients=clients, active=work.active, opened_secs=opened, resident=resident)
    if workload.mode == "idle":
        result["bytes_per_client"] = (resident - before) / clients
        result["kernel_per_end"] = kernel_added / clients / 2
    latencies = sorted(value for report in reports[1:] for value in report.get("latencies", ()))
    if latencies:
        for name, share in (("p50_us", 0.5), ("p99_us", 0.99)):
            result[name] = latencies[int(share * (len(latencies) - 1))] * 1e6
    return result


@contextmanager
def _closing(crew: Crew) -> Iterator[None]:
    try:
        yield
    finally:
        crew.close()


@contextmanager
def _blame(running: Running) -> Iterator[None]:
    """When a connection was lost because the server ended, say so."""
    try:
        yield
    except Fault as fault:
        time.sleep(0.05)
        running.check(f"{fault}; ")
        raise


class _Lead:
    """Waits, while everybody is alive."""

    def __init__(self, crew: Crew, running: Running) -> None:
        self.crew = crew
        self.running = running

    def until(self, what: Callable[[], bool], secs: float, name: str, progress: Callable[[], str] = str) -> None:
        deadline = time.monotonic() + secs
        while not what():
            self.crew.check()
            self.running.check()
            if time.monotonic() > deadline:
                raise Fault(f"waited {secs:g} s in vain for {name} {progress()}".rstrip())
            time.sleep(0.005)

    def watch(self, secs: float) -> None:
        deadline = time.monotonic() + secs
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))
            self.crew.check()
            self.running.check()

    def snapshot(self) -> _Snapshot:
        workers = self.crew.board.workers
        counting = workers[:1] if self.crew.job.mode == "ingest" else workers[1:]
        return _Snapshot(
            time.monotonic(),
            sum(map(cpu_seconds, group(self.running.pid))),
            [cpu_seconds(process.pid) for process in self.crew.processes],
            sum(worker[board.PACKETS] for worker in counting),
        )


def _figures(first: _Snapshot, last: _Snapshot) -> dict[str, Any]:
    secs, packets, cpu = last.at - first.at, last.packets - first.packets, last.server - first.server
    used = [(after - before) / secs for before, after in zip(first.workers, last.workers)]
    return {
        "seconds": secs,
        "packets": packets,
        "per_second": packets / secs,
        "server_cpu_secs": cpu,
        "server_cores": cpu / secs,
        "per_cpu_second": packets / cpu if cpu > 0 else 0.0,
        "backend_cores": used[0],
        "client_cores": used[1:],
        "generator_bound": max(used) > BUSY and cpu / secs < BUSY,
    }


# ---- the end of a run: everything sent has arrived


def _sum(crew: Crew, field: int) -> int:
    return sum(int(worker[field]) for worker in crew.board.workers[1:])


def _clients_done(crew: Crew) -> bool:
    return all(worker[board.DONE] for worker in crew.board.workers[1:])


def _got_all(crew: Crew) -> bool:
    backend = crew.board.workers[0]
    return bool(backend[board.DONE]) and _sum(crew, board.PACKETS) == backend[board.SENT]


_SETTLED: dict[str, Callable[[Crew], bool]] = {
    "ingest": lambda crew: _clients_done(crew) and crew.board.workers[0][board.PACKETS] == _sum(crew, board.SENT),
    "fanout": _got_all,
    "broadcast": _got_all,
    "echo": _clients_done,
    "paced": _clients_done,
    "connect": lambda crew: _clients_done(crew) and crew.board.workers[0][board.PACKETS] >= _sum(crew, board.SENT),
    "resume": lambda crew: _clients_done(crew) and crew.board.workers[0][board.PACKETS] >= _sum(crew, board.SENT),
    "idle": _clients_done,
}


def _progress(crew: Crew) -> str:
    backend = crew.board.workers[0]
    return (
        f"(clients: {_sum(crew, board.SENT)} sent, {_sum(crew, board.PACKETS)} received; "
        f"backend: {backend[board.SENT]} sent, {backend[board.PACKETS]} received)"
    )


def _compare(mode: str, reports: list[dict[str, Any]]) -> None:
    """Client by client: what one side sent, the other has got."""
    backend, clients = reports[0], reports[1:]
    if mode == "ingest":
        sent = {index: count for report in clients for index, count in report["sent"].items()}
        if sent != backend["received"]:
            wrong = sum(count != backend["received"].get(index) for index, count in sent.items())
            raise Fault(f"of {wrong} clients the backend has not got as many packets as they sent")
    elif mode in ("fanout", "broadcast"):
        wrong = sum(count != backend["rounds"] for report in clients for count in report["received"].values())
        if wrong:
            raise Fault(f"{wrong} clients have not got as many packets as the backend sent them")
    elif mode in ("connect", "resume"):
        for key in ("connects", "total"):
            if backend[key] != sum(report[key] for report in clients):
                raise Fault("the first packets that the backend got are not those of the clients that connected")
