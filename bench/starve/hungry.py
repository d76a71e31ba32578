"""The process of the hungry: `python -m bench.starve.hungry PORT READERS AWAY`, until its standard input ends.

When all of them have made their handshake they ask to be fed, and never read again; those who are away leave. Whom the
server closes comes again, as another reader, and asks at once.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.machine import raise_descriptor_limit
from bench.servers import ROOT
from bench.wires import Wire

from .feeder import FEED_ME

_WIRE = Wire()
NICE = 10
TICK_SECS = 0.02
PER_TICK = 20
"""Connections begun at once."""
RECEIVE_BUFFER = 4096


@contextmanager
def hungry(port: int, readers: int, away: int) -> Iterator[dict[str, int]]:
    """Such a process, while the block lasts; it begins when all have asked. At the end: what became of them."""
    command = [sys.executable, "-m", "bench.starve.hungry", str(port), str(readers), str(away)]
    report: dict[str, int] = {}
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield report
            told, _ = process.communicate("\n", 10)
            report.update(json.loads(told))
        finally:
            process.kill()


class Hungry:
    """All of them in one loop."""

    def __init__(self, port: int, readers: int, away: int) -> None:
        self._port = port
        self._missing = Counter(readers=readers, away=away)
        self._poller = select.epoll()
        self._opening: dict[int, tuple[socket.socket, str, bytes]] = {}
        self._readers: dict[int, socket.socket] = {}
        self._waiting: list[tuple[socket.socket, str]] | None = []
        """Who is there, until all of them are."""
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        """Until standard input has something."""
        self._poller.register(0, select.EPOLLIN)
        while True:
            for _ in range(PER_TICK - len(self._opening)):
                kind = max(self._missing, key=lambda kind: self._missing[kind])
                if self._missing[kind] > 0:
                    self._missing[kind] -= 1
                    self._connect(kind)
            if self._waiting is not None and not self._opening and not +self._missing:
                waiting, self._waiting = self._waiting, None
                for sock, kind in waiting:
                    self._ask(sock, kind)
                print("all have asked", flush=True)
            for fd, mask in self._poller.poll(TICK_SECS):
                if fd == 0:
                    return
                if fd in self._opening:
                    self._greet(fd)
                elif mask & (select.EPOLLHUP | select.EPOLLRDHUP | select.EPOLLERR):
                    self._gone(self._readers.pop(fd), "readers", "closed")

    def _connect(self, kind: str) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.connect(("127.0.0.1", self._port))
        sock.setblocking(False)
        sock.sendall(_WIRE.opening(0))
        self._opening[sock.fileno()] = sock, kind, b""
        self._poller.register(sock.fileno(), select.EPOLLIN)

    def _greet(self, fd: int) -> None:
        sock, kind, got = self._opening[fd]
        try:
            data = sock.recv(100)
        except ConnectionError:
            data = b""
        if not data:
            del self._opening[fd]
            self._gone(sock, kind, "refused")
        elif not _WIRE.opened(got + data):
            self._opening[fd] = sock, kind, got + data
        else:
            del self._opening[fd]
            self._poller.unregister(fd)
            self.done[kind] += 1
            if self._waiting is not None:
                self._waiting.append((sock, kind))
            else:
                self._ask(sock, kind)

    def _ask(self, sock: socket.socket, kind: str) -> None:
        sock.sendall(len(FEED_ME).to_bytes(4, "little") + FEED_ME)
        if kind == "away":
            sock.shutdown(socket.SHUT_WR)  # what was sent arrives; closed with bytes unread it might not
        self._readers[sock.fileno()] = sock
        self._poller.register(sock.fileno(), select.EPOLLHUP if kind == "away" else select.EPOLLRDHUP)

    def _gone(self, sock: socket.socket, kind: str, what: str) -> None:
        self._poller.unregister(sock.fileno())
        sock.close()
        self.done[what] += 1
        self._missing[kind] += 1


def main() -> None:
    """Be hungry."""
    os.nice(NICE)
    raise_descriptor_limit()
    port, readers, away = map(int, sys.argv[1:])
    everybody: Any = Hungry(port, readers, away)
    everybody.run()
    print(json.dumps(everybody.done))


if __name__ == "__main__":
    main()
