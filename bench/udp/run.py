"""One workload on one server: starts both, leads the load through its commands, measures."""

from __future__ import annotations

import json
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..machine import cpu_seconds, group, resident_bytes
from ..servers import Running, Server
from ..wires import Fault
from .servers import BY_UDP, Programs
from .workloads import Workload

WARM_SECS = 0.3
MEET_SECS = 90
ANSWER_SECS = 20


class Load:
    """The process that plays the clients and the backend."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line(ANSWER_SECS) or 0)

    def say(self, word: str, running: Running, secs: float = ANSWER_SECS) -> dict[str, Any]:
        """A command, and its answer. Raises Fault: what it found wrong, or that the server ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._line(secs)
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        running.check()
        assert self._process.stderr is not None
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            raise Fault(f"waited {secs:g} s in vain for an answer to {word!r}") from None
        raise Fault(self._process.stderr.read().strip() or "the load ended without a word")

    def _line(self, secs: float) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], secs)[0]:
            return ""
        return self._process.stdout.readline()


@contextmanager
def _load(programs: Programs, server: Server, workload: Workload, clients: int) -> Iterator[Load]:
    sizes = (clients, workload.size, workload.depth, workload.window(clients), workload.burst)
    command = [str(programs.load), workload.mode, *map(str, sizes), "udp" if server.key in BY_UDP else "tcp"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Load(process)
        finally:
            process.kill()


def measure(programs: Programs, server: Server, workload: Workload, clients: int, secs: float) -> dict[str, Any]:
    """Raises Fault when the server fails, or anything came that was not sent."""
    with _load(programs, server, workload, clients) as load, server.running(load.port) as running:
        _settle(running, server)
        before = _resident(running)
        load.say(f"meet {running.port}", running, MEET_SECS)
        if workload.mode == "idle":
            time.sleep(0.2)
            return {"clients": clients, "bytes_per_client": (_resident(running) - before) / clients}
        load.say("go", running)
        time.sleep(WARM_SECS + server.warm)
        first = _snapshot(load, running)
        time.sleep(secs)
        last = _snapshot(load, running)
        end = load.say("stop", running)
    elapsed, cpu = last["at"] - first["at"], last["server"] - first["server"]
    count = last["arrived"] - first["arrived"]
    return {
        "clients": clients,
        "packets": count,
        "per_second": count / elapsed,
        "per_cpu_second": count / cpu if cpu > 0 else 0.0,
        "server_cores": cpu / elapsed,
        "load_cores": (last["cpu"] - first["cpu"]) / elapsed,
        "lost": end["lost"] / end["sent"] if end["sent"] else 0.0,
    }


def _settle(running: Running, server: Server) -> None:
    """Until it has nothing more to do, so that its memory is that of a server without clients."""
    time.sleep(0.3 + server.head_start)
    running.check()


def _resident(running: Running) -> int:
    return sum(map(resident_bytes, group(running.pid)))


def _snapshot(load: Load, running: Running) -> dict[str, Any]:
    found = load.say("count", running)
    return {**found, "at": time.monotonic(), "server": sum(map(cpu_seconds, group(running.pid)))}
