"""The soak of version 3: nothing is lost, doubled or out of order either way, whatever becomes of connections.

With kills the server itself dies now and then, and starts again with its state directory: then what is missing must
have been told, as a gap or as uncertain.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

from bench.observed import Observed, observed
from bench.wires import Fault

from .master import Master
from .run import AT_REST, GROWTH_BYTES, GROWTH_SHARE, WARM_SHARE
from .storm import Storm, Totals

STALE_SECS = 10.0
"""Nobody is away for so long; what is left of a client that never got its welcome is over then."""
LIFE_SECS = 5.0, 12.0
DEAD_SECS = 0.3
SETTINGS: dict[str, object] = {
    "clients.stale_reap_interval_secs": 0.5,
    "clients.missed_packets_buffer_size": 100_000,
}
GONE = ("open_sessions", "connections", "timers")
NEVER = ("internal_errors", "backlog_dropped", "notices_dropped")


class Found(NamedTuple):
    """What came of it."""

    totals: Totals
    kills: int
    resident: tuple[int, int, int]
    """Bytes before, after, at most; the server's that came last."""
    descriptors: tuple[int, int]
    rest: tuple[dict[str, Any], dict[str, Any]]
    """What there was in the server before and after, when everybody had left."""

    @property
    def faults(self) -> list[str]:
        """What is not as it should be."""
        before, after, _ = self.resident
        most, (rest_before, rest_after), found = int(before * (1 + GROWTH_SHARE)) + GROWTH_BYTES, self.rest, []
        if not self.kills and after > most:
            found.append(f"memory grew from {before} to {after} bytes, {most} are allowed")
        if not self.kills and self.descriptors[0] != self.descriptors[1]:
            found.append(f"{self.descriptors[0]} descriptors were open, {self.descriptors[1]} are now")
        for name in AT_REST:
            if rest_after[name] != rest_before[name]:
                found.append(f"{name}: {rest_before[name]} before, {rest_after[name]} now")
        for name in NEVER:
            if rest_after[name]:
                found.append(f"{name}: {rest_after[name]}")
        if not self.kills and (rest_after["gaps"] or rest_after["uncertain"]):
            found.append(f"gaps: {rest_after['gaps']}, uncertain: {rest_after['uncertain']}")
        return found


class _Server:
    """The one that runs at present, always on the same port."""

    def __init__(self, master: str, pure: bool, state: str, stale_secs: float) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._master = master
        self._pure = pure
        self._settings = {
            **SETTINGS,
            "listener.address": f"127.0.0.1:{self.port}",
            "clients.stale_timeout_secs": stale_secs,
        }
        if state:
            self._settings["general.state_dir"] = state
        self._stack = ExitStack()
        self.now: Observed
        self.start()

    def start(self) -> None:
        self.now = self._stack.enter_context(observed(self._settings, self._master, pure=self._pure))

    def kill(self) -> None:
        os.kill(self.now.pid, signal.SIGKILL)
        with suppress(RuntimeError):  # it has not ended in order
            self._stack.close()

    def close(self) -> None:
        self._stack.close()


def lossless(
    seconds: float,
    clients: int,
    *,
    pure: bool = False,
    seed: int = 1,
    killing: bool = False,
    lives: tuple[float, float] = LIFE_SECS,
    stale_secs: float = STALE_SECS,
) -> Found:
    """Raises Fault when a packet is lost, repeated or out of order, and that was not told. `lives`: how many seconds a
    server has that is killed, at least and at most."""
    dice = random.Random(seed)
    master = Master(dice, killing)
    with ExitStack() as stack:
        stack.callback(master.close)
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="voltlane-soak-")) if killing else ""
        server = _Server(master.address, pure, state, stale_secs)
        stack.callback(server.close)
        with _storm(server, clients, seed, master, killing) as storm:
            storm.live(max(2.0, seconds * WARM_SHARE))
            storm.end()
            rest = _at_rest(server.now, storm, stale_secs)
            resident, descriptors = server.now.resident, server.now.descriptors
        kills = 0
        with _storm(server, clients, seed + 1, master, killing) as storm:
            until = time.monotonic() + seconds
            while killing and (left := until - time.monotonic()) > lives[1]:
                storm.live(min(left, dice.uniform(*lives)))
                storm.life = 0
                server.kill()
                kills += 1
                storm.live(DEAD_SECS)
                server.start()
                storm.life = kills + 1
            storm.live(until - time.monotonic())
            storm.end()
            rest_after = _at_rest(server.now, storm, stale_secs)
            now = server.now
            return Found(
                storm.totals, kills, (resident, now.resident, now.resident_peak), (descriptors, now.descriptors),
                (rest, rest_after),
            )  # fmt: skip


@contextmanager
def _storm(server: _Server, clients: int, seed: int, master: Master, killing: bool) -> Iterator[Storm]:
    storm = Storm(server.port, clients, seed, master, killing)
    try:
        yield storm
    except Fault as fault:
        raise Fault(f"{fault} [{_closes(server.now)}]") from None
    finally:
        storm.close()


def _closes(server: Observed) -> str:
    try:
        state = server.ask()
    except RuntimeError as error:
        return str(error)
    return ", ".join(f"{what}: {state[what]}" for what in ("closed", "ended", "internal_errors"))


def _at_rest(server: Observed, storm: Storm, stale_secs: float) -> dict[str, Any]:
    """The server's state when every session is over, and no timer of any runs any more."""
    deadline = time.monotonic() + 2 * stale_secs + 10
    while any((state := server.ask())[name] for name in GONE):
        if time.monotonic() > deadline:
            raise Fault(f"still there: {', '.join(f'{name} {state[name]}' for name in GONE)}")
        storm.turn()
        time.sleep(0.05)
    return state
