"""The server in a process of its own, which says at any time what it counts: a line in, a line of JSON out.

with observed({"clients.handshake_secs": 3}, master="127.0.0.1:42001") as server:
    server.port, server.ask()["sessions"]

Settings are those of the configuration. Nothing is asked of the server that a client or a master could notice.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from voltlane.address import UDP
from voltlane.net.reactor import Handler
from voltlane.reasons import Symbol

from .machine import cpu_seconds, resident_bytes
from .servers import ROOT

EXIT_SECS = 15


class Observed:
    """One such process, seen from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        begun = self._line()
        self.address: str = begun["address"]
        self.port = int(self.address.rpartition(":")[2])
        self.datagrams: tuple[str, int] | None = tuple(begun["datagrams"]) if begun["datagrams"] else None
        """Where it receives datagrams, if anywhere."""

    def ask(self) -> dict[str, Any]:
        """Its counters and what is in it at present. Raises RuntimeError when it has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError("the server has ended") from None
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server has ended, exit code {self._process.wait(EXIT_SECS)}")
        found: dict[str, Any] = json.loads(line)
        return found

    @property
    def resident(self) -> int:
        """Bytes of memory at present."""
        return resident_bytes(self.pid)

    @property
    def resident_peak(self) -> int:
        """The most it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    @property
    def descriptors(self) -> int:
        """How many are open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def cpu(self) -> float:
        """Seconds of CPU time so far."""
        return cpu_seconds(self.pid)


@contextmanager
def observed(settings: Mapping[str, object], master: str, *, pure: bool = False) -> Iterator[Observed]:
    """Start one. `pure`: without its optional parts. Raises RuntimeError when it does not start or end in order."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VOLTLANE_")}
    if pure:
        clean["VOLTLANE_PURE_PYTHON"] = "1"
    given = {"listener.address": "127.0.0.1:0", **settings, "master.address": master}
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.observed", json.dumps(given)],
        cwd=ROOT, env=clean, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Observed(process)
        process.terminate()
        code = process.wait(EXIT_SECS)
        if code:
            raise RuntimeError(f"the server ended with exit code {code}")
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass


# ---- inside that process


def main() -> int:
    """Serve, with the settings of the first argument. The exit code."""
    from voltlane import config
    from voltlane.server import Server

    logging.basicConfig(level=logging.WARNING)
    server = Server(config.load(None, {}, json.loads(sys.argv[1])))
    server.start()
    _Answering(server)
    places = [(address.host, address.port) for address in server.listen_addresses if address.scheme == UDP]
    begun = {"address": str(server.listen_address), "datagrams": places[0] if places else None}
    print(json.dumps(begun), flush=True)
    return server.run()


class _Answering(Handler):
    """A handler in the server's own loop, on standard input."""

    def __init__(self, server: Any) -> None:
        self._server = server
        os.set_blocking(0, False)
        server.reactor.add(0, self)

    def on_event(self, mask: int) -> None:
        try:
            asked = os.read(0, 4096)
        except BlockingIOError:
            return
        _trim()
        for _ in range(asked.count(b"\n")):
            print(json.dumps(state_of(self._server)), flush=True)


def _trim() -> None:
    """Have the C library give back what is free, where it can: what is left is what the server needs."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass  # another C library


def _word(key: Symbol | str) -> str:
    return key if isinstance(key, str) else str(key.value)


def state_of(server: Any) -> dict[str, Any]:
    """Every counter by its name, and what there is at present."""
    plain: dict[str, Any] = {}
    for name in type(server.counters).__slots__:
        value = getattr(server.counters, name)
        if isinstance(value, Counter):
            plain[name] = {_word(key): count for key, count in value.items()}
        elif isinstance(value, (int, float)):
            plain[name] = value
    return {
        **plain,
        "open_sessions": len(server.registry.sessions),
        "stale_sessions": server.registry.stale_count,
        "connections": len(server.clients.connections),
        "peers": 0 if server.datagrams is None else server.datagrams.peers,
        "timers": server.reactor.timers,
        "watched": server.reactor.watched,
    }


if __name__ == "__main__":
    sys.exit(main())
