"""`python -m bench.cluster.store`: what each script of a cluster costs a redis, where many are asked at once."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable

from voltlane.cluster.redis.link import Link
from voltlane.cluster.redis.options import options_of
from voltlane.cluster.redis.resp import Argument, Reply
from voltlane.cluster.redis.script import Script
from voltlane.cluster.sessions.scripts import END, LOOK, REFRESH, RELEASE, SCRIPTS, TAKE, WRITE
from voltlane.config import Cluster
from voltlane.core.delivery import DELIVERY_SIZE
from voltlane.net.reactor import Reactor

from ..wires import Fault
from .nodes import SECRET, Program, program, wait_for

SESSIONS = 20_000
AT_ONCE = 500
SLICE = 256
FIRST = 457_680_538_484
"""An id; others follow."""
ONE, TWO = "3:" + "a" * 32, "4:" + "b" * 32
CREDENTIALS = {2: bytes(73), 3: bytes(86)}
"""Sealed, by protocol."""
NUMBERS = bytes(DELIVERY_SIZE)
RETAINED = bytes(1024 + 40)
KEEP_MS = 600_000

Words = tuple[list[str], list[Argument]]
"""Keys and arguments of a script."""


class Store:
    """A redis, and a link to it."""

    def __init__(self, socket: Path) -> None:
        self.reactor = Reactor()
        self.link = Link(self.reactor, options_of(Cluster(url=f"unix:{socket}", secret=SECRET)), SCRIPTS)
        self.link.start()
        self.until(lambda: self.link.up)
        for owner in (ONE, TWO):
            number, _, token = owner.partition(":")
            self.ask("SET", self.link.key("node", number), token)

    def until(self, holds: Callable[[], object]) -> None:
        """Raises Fault."""
        deadline = time.monotonic() + 30
        while not holds():
            if time.monotonic() > deadline:
                raise Fault(f"the store does not answer: {self.link.text}")
            self.reactor.turn(0.01)

    def ask(self, *words: Argument) -> Any:
        """An answer."""
        got: list[Reply] = []
        self.link.call(words, got.append)
        self.until(lambda: got)
        return got[0]

    def session(self, index: int) -> str:
        """The name of one."""
        return self.link.key("session", FIRST + index)

    def figures(self) -> list[float]:
        """Seconds of processor time, bytes of memory, bytes in and out, so far."""
        lines = self.ask("INFO", "everything").decode().splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        seconds = float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
        names = ("used_memory", "total_net_input_bytes", "total_net_output_bytes")
        return [seconds, *[float(found[name]) for name in names]]

    def measure(self, name: str, script: Script, words: Callable[[int], Words], count: int, each: int = 1) -> None:
        """Ask for it so often, and print what one of it costs, or what one of `each` sessions in it does."""
        before, got = self.figures(), list[Reply]()
        for index in range(count):
            self.link.run(script, *words(index), got.append)
            if index % AT_ONCE == AT_ONCE - 1:
                self.until(lambda: len(got) == index + 1)  # noqa: B023 - it is asked before the next one
        self.until(lambda: len(got) == count)
        seconds, memory, came, went = [(now - then) / count / each for now, then in zip(self.figures(), before)]
        print(f"{name:36} {seconds * 1e6:6.1f} us {came:6.0f} B in {went:5.0f} B out {memory:6.0f} B of memory")


def run(store: Store) -> None:
    """All of them, each on what the one before has left."""
    key, session = store.link.key, store.session

    def written(protocol: int, opening: bool = False, first: int = 0) -> Callable[[int], Words]:
        numbers = NUMBERS if protocol == 3 else b""

        def words(index: int) -> Words:
            handle = key("opening", f"{index:032x}") if opening else ""
            rest: list[Argument] = [CREDENTIALS[protocol], numbers, KEEP_MS, FIRST + first + index]
            return [session(first + index), handle], [ONE, 1, "live", *rest]

        return words

    def taken(index: int) -> Words:
        keys = [session(index), key("node", ""), key("ask", "")]
        return keys, [TWO, KEEP_MS, FIRST + index, "", "4"]

    def looked(first: int) -> Callable[[int], Words]:
        return lambda index: ([session(first + index), key("node", "")], [TWO])

    def released(first: int = 0, retained: bytes = b"") -> Callable[[int], Words]:
        def words(index: int) -> Words:
            rest: list[Argument] = [CREDENTIALS[3], NUMBERS, retained, KEEP_MS, FIRST + first + index, 1, 0]
            return [session(first + index), key("told", 4)], [ONE, 1, *rest]

        return words

    names = [session(index) for index in range(SLICE)]
    store.measure("written first, version 3", WRITE, written(3, opening=True), SESSIONS)
    store.measure("written again", WRITE, written(3), SESSIONS)
    store.measure(
        f"refreshed, {SLICE} at once", REFRESH, lambda index: (names, [ONE, KEEP_MS, *[1] * SLICE]), 100, SLICE
    )
    store.measure("looked up", LOOK, looked(0), SESSIONS)
    store.measure("asked for", TAKE, taken, SESSIONS)
    store.measure("released", RELEASE, released(), SESSIONS)
    store.measure("taken", TAKE, taken, SESSIONS)
    store.measure("ended", END, lambda index: ([session(index)], [TWO, 2, KEEP_MS]), SESSIONS)
    store.measure("looked up, and there is none", LOOK, looked(2 * SESSIONS), SESSIONS)
    store.measure("written first, version 2", WRITE, written(2, first=SESSIONS), SESSIONS)
    store.measure("released with 1 KiB that is retained", RELEASE, released(SESSIONS, RETAINED), SESSIONS)


def main() -> int:
    """The exit code."""
    try:
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="voltlane-store-")))
            socket = directory / "redis.sock"
            words = [program("redis-server"), "--port", "0", "--unixsocket", str(socket), "--save", ""]
            redis = Program("redis", words, directory / "log")
            stack.callback(redis.kill)
            redis.start()
            wait_for("redis listens", socket.exists)
            run(Store(socket))
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
