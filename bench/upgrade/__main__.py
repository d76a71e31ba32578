"""`python -m bench.upgrade`: thousands of clients exchange numbered packets while the server is upgraded, again and
again. Every packet is accounted for, and the pause is measured."""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from ..echo import backend
from ..machine import raise_descriptor_limit
from ..options import at_least
from ..servers import ROOT
from ..wires import Fault
from .clients import KINDS, Client, Crowd

HELD = 10
"""One of so many does not read while it is upgraded, and has half a frame on its way."""
_START_SECS = 20.0
_UPGRADE_SECS = 60.0
_LOOK_SECS = 0.05
_OUTBOXES = re.compile(r"state: clients: .* outboxes=(\d+) ")


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a connection was cut, or a packet is missing, doubled or out of place."""
    parser = argparse.ArgumentParser(prog="python -m bench.upgrade", description=__doc__)
    parser.add_argument("--clients", type=at_least(len(KINDS), int), default=10_000, help="(%(default)s)")
    parser.add_argument("--times", type=at_least(1, int), default=10, help="upgrades (%(default)s)")
    parser.add_argument("--rate", type=at_least(1, float), default=2000, help="packets a second (%(default)g)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="what clients speak (%(default)s)")
    parser.add_argument("--most", type=at_least(1, float), help="milliseconds that a pause may take")
    given = parser.parse_args(argv)
    kinds = given.kinds.split(",")
    if wrong := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"{wrong[0]!r} is none of {', '.join(KINDS)}")
    limit = raise_descriptor_limit()
    print(f"{given.clients} clients of {given.kinds}; {limit} descriptors a process may have")
    try:
        pause = run(given.clients, given.times, given.rate, kinds)
        if given.most is not None and pause > given.most:
            raise Fault(f"a pause of {pause:.0f} ms, where {given.most:g} are allowed")
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    return 0


def run(count: int, times: int, rate: float, kinds: Sequence[str]) -> float:
    """The longest pause, in milliseconds. Raises Fault."""
    with backend() as master, tempfile.TemporaryDirectory() as directory, _serving(Path(directory), master) as server:
        began = time.monotonic()
        clients: list[Client] = []
        crowd = Crowd((), rate)
        while len(clients) < count:
            some = range(len(clients), min(count, len(clients) + 200))
            batch = [
                Client(kinds[number % len(kinds)], server.ports, number, number // len(kinds) % HELD != 0)
                for number in some
            ]
            crowd.greet(batch)
            clients += batch
        crowd.close()
        crowd = Crowd(clients, rate)
        print(f"all are there after {time.monotonic() - began:.1f} s, {len(crowd.held)} of them do not read each time")
        gc.collect()
        gc.freeze()
        gc.disable()
        crowd.drive(_later(2.0))
        print("upgrade   in half a frame   outboxes   server's pause   nobody got anything   a packet took, at most")
        for number in range(times):
            crowd.turn_away()
            crowd.drive(_later(1.0))
            crowd.hold()
            crowd.drive(_later(1.0))
            for client in clients:
                client.longest = 0.0
            crowd.silence = 0.0
            halves = sum(client.sock.keeps for client in crowd.held)
            outboxes = server.outboxes(crowd)
            if min(halves, outboxes) < len(crowd.held):
                raise Fault(f"{halves} are in half a frame and {outboxes} have an outbox, of {len(crowd.held)}")
            server.ask()
            crowd.drive(lambda: server.upgraded, _UPGRADE_SECS)
            crowd.drive(_later(1.0))
            longest = max(client.longest for client in clients if client.reads)
            print(
                f"{number + 1:7}   {halves:15}   {outboxes:8}   {server.pauses[-1]:11.0f} ms   "
                f"{1000 * crowd.silence:16.0f} ms   {longest:19.2f} s"
            )
            crowd.let_go()
            crowd.drive(_later(1.0))
            crowd.drive(lambda: not any(client.sent - client.received for client in crowd.held))
        crowd.finish()
        server.check()
        packets = sum(client.sent for client in clients)
        print(f"{packets} packets there and back, each once and in order; no connection was cut")
        print(f"the longest pause was {max(server.pauses):.0f} ms")
        crowd.close()
        return max(server.pauses)


def _later(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


class Server:
    """The server, whichever process it is at the moment."""

    def __init__(self, log: Path, process: subprocess.Popen[bytes]) -> None:
        self._log = log
        self._process = process
        self.pid = process.pid
        self._look_at = 0.0
        self.pauses: list[float] = []
        """Milliseconds, as the processes have told them."""

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def ports(self) -> tuple[int, int]:
        """For TCP, and for WebSockets."""
        deadline = time.monotonic() + _START_SECS
        while len(found := re.findall(r"clients connect to (?:ws://)?127.0.0.1:(\d+)", self.text)) < 2:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise Fault(f"the server does not listen: {self.text[-400:]}")
            time.sleep(0.01)
        return int(found[0]), int(found[1])

    def ask(self) -> None:
        os.kill(self.pid, signal.SIGUSR2)

    def outboxes(self, crowd: Crowd) -> int:
        """For how many clients something waits there, as the server says of itself."""
        before = len(_OUTBOXES.findall(self.text))
        os.kill(self.pid, signal.SIGUSR1)
        crowd.drive(lambda: len(_OUTBOXES.findall(self.text)) > before, _START_SECS)
        return int(_OUTBOXES.findall(self.text)[-1])

    @property
    def upgraded(self) -> bool:
        """Whether another process serves than when it was asked. Looks now and then."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + _LOOK_SECS
        text = self.text
        if "has failed" in text:
            raise Fault(f"an upgrade has failed: {text[-600:]}")
        found = re.findall(r"process (\d+) goes on, after a pause of (\d+) ms", text)
        if len(found) == len(self.pauses):
            return False
        self.pid = int(found[-1][0])
        self.pauses.append(float(found[-1][1]))
        return True

    def check(self) -> None:
        """Nobody was cut, and nothing went wrong."""
        text = "\n".join([line for line in self.text.splitlines() if " state: " not in line])
        for word in ("internal error", "Traceback", "master is gone", "closed"):
            if word in text:
                raise Fault(f"{word!r} in the log: {text[-600:]}")


@contextmanager
def _serving(directory: Path, master: str) -> Iterator[Server]:
    log = directory / "log"
    settings = {
        "LISTENER_ADDRESS": "127.0.0.1:0, ws://127.0.0.1:0",
        "MASTER_ADDRESS": master,
        "SOCKET_SEND_BUFFER": "8192",
        "LIMITS_ADDRESS_CONNECTIONS": "0",
        "LIMITS_ADDRESS_RATE": "0",
        "CLIENTS_WRITE_STALL_SECS": "0",  # some do not read for seconds, again and again
        "CLIENTS_USER_TIMEOUT_SECS": "0",
        "WEB_PING_SECS": "0",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VOLTLANE_")}
    environment = {**clean, **{f"VOLTLANE_{name}": value for name, value in settings.items()}}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "voltlane.py"), "serve"],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(log, process)
    try:
        yield server
    except Fault as fault:
        raise Fault(f"{fault}; the log ends with:\n{server.text[-2000:]}") from None
    finally:
        for pid in {server.pid, process.pid}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
