"""One client of the lossless soak: a session of version 3 over any number of connections, and its account of packets.

What it sends it keeps until the server calls it safe; what it gets must be the next packet, by the number that the
master gave it, whatever became of the connections in between. Only a server that was killed may tell gaps and
uncertainty, and then they must cover what is missing.
"""

from __future__ import annotations

import os
import random
from collections import deque
from typing import NamedTuple, Protocol

from bench.wires import Fault
from voltlane.wire import v3
from voltlane.wire.framing import frame
from voltlane.wire.noise import Channel
from voltlane.wire.v3 import Kind, Retained, Suite, Why

from .cuts import Cut
from .packets import ECHO, LAST, PLAIN, TOTAL, Up, decode_down
from .passage import Passage


class Habits(NamedTuple):
    """What a client does, and what its limits are."""

    suite: Suite
    burst: int
    every: float
    """Seconds between bursts, on average."""
    stay: float
    """Seconds until it leaves for good, and another one comes; 0: it stays."""
    retained: Retained
    """What it says that it keeps."""
    window: int
    """Bytes that the server may send ahead."""


class Sea(Protocol):
    """What a client asks of the loop that it lives in."""

    dice: random.Random
    killing: bool
    """Whether the server may lose its memory."""
    life: int
    """Which one of the server's it is; 0 while it is dead."""

    def sail(self, voyager: Voyager) -> Passage:
        """A new connection, under way."""
        ...

    def later(self, voyager: Voyager, seconds: float) -> None:
        """Have it connect after a while."""

    def ashore(self, voyager: Voyager) -> None:
        """It has left for good."""


class Voyager:
    """A client."""

    def __init__(self, sea: Sea, habits: Habits) -> None:
        self.sea = sea
        self.habits = habits
        self.handle, self.secret = os.urandom(v3.HANDLE_SIZE), os.urandom(v3.SECRET_SIZE)
        self.id = self.generation = self.branch = self.epoch = 0
        self.server = b""
        self.passage: Passage | None = None
        self.kept: deque[bytes] = deque()
        """The frames of packets that are neither safe nor uncertain, ..."""
        self.first = 1
        """... and the number of the first of them."""
        self.acked = self.sent = 0
        """Packets that the server called safe; packets that may have been on their way."""
        self.taken = self.safe = 0
        """The same the other way; safe is what was told last."""
        self.echoed = 0
        """The number of the last of ours that came back."""
        self.got = 0
        """The number, by the master, of the last packet."""
        self.packets = 0
        """So many came."""
        self.total = 0
        """How many the master has sent, once it said so."""
        self.gap = False
        """Whether a gap was told since the last packet."""
        self.gaps = self.resumes = self.cuts = 0
        self.uncertain: list[tuple[int, int]] = []
        self.finished = False
        self._life = 0  # that of the server when the connection was begun

    # ---- what it does

    @property
    def said(self) -> int:
        """The number of its last packet."""
        return self.first + len(self.kept) - 1

    def say(self, count: int) -> None:
        """Have so many packets more to send."""
        if not self.finished:
            self._add(count, PLAIN)

    def finish(self) -> None:
        """Say that nothing more comes."""
        if not self.finished:
            self._add(1, LAST)
            self.finished = True

    def _add(self, count: int, kind: int) -> None:
        for _ in range(count):
            self.kept.append(frame(Up(self.said + 1, kind).encode()))
        if self.passage is not None:
            self.passage.write()

    @property
    def done(self) -> bool:
        """Whether everything is safe, both ways."""
        return self.finished and not self.kept and self.got == self.total > 0

    # ---- what its connections say

    def connect(self) -> None:
        """A connection for its session."""
        self._life = self.sea.life
        self.passage = self.sea.sail(self)

    def entry(self, channel: Channel) -> tuple[int, bytes]:
        """The record that asks for a session, kind and body."""
        if not self.id:
            return Kind.OPEN, v3.Open(self.handle, self.secret, self.habits.retained).encode()
        shown = v3.proof(self.secret, "client", channel.hash)
        numbers = self.taken, self.sent, self.acked
        secret = self.generation, self.branch, shown
        return Kind.RESUME, v3.Resume(self.id, *secret, self.epoch, *numbers, self.habits.retained).encode()

    def enter(self, welcome: v3.Welcome, transcript: bytes, ack: int) -> None:
        """The session is there; what the welcome says holds from now on."""
        if welcome.proof != v3.proof(self.secret, "server", transcript):
            raise Fault(f"{self}: the server's proof is wrong")
        if self.id and welcome.id != self.id:
            raise Fault(f"{self} was resumed as {welcome.id}")
        if not self.acked <= welcome.taken <= self.sent:
            raise Fault(f"{self}: {welcome.taken} taken, where {self.acked} are safe and {self.sent} were sent")
        new = self.id > 0 and welcome.epoch != self.epoch
        self.resumes += self.id > 0
        self.id, self.epoch, self.secret = welcome.id, welcome.epoch, welcome.secret
        self.generation, self.branch = welcome.generation, welcome.branch
        self.on_ack(ack)
        if new:
            self._renewed(welcome.taken)

    def _renewed(self, taken: int) -> None:
        """The server has lost its memory: what was sent and is not safe is uncertain."""
        if not self.sea.killing:
            raise Fault(f"{self}: the server says that it has lost its memory")
        if taken != self.sent:
            raise Fault(f"{self}: the server has forgotten all, and has taken {taken} of {self.sent} packets")
        if taken > self.acked:
            self.uncertain.append((self.acked + 1, taken))
        self._forget(taken)

    def leave(self) -> None:
        """For good."""
        if self.passage is not None:
            self.passage.leave()

    def on_ack(self, acked: int) -> None:
        """What is safe is forgotten. A server that has lost its memory knows of less, at first."""
        if acked > self.sent or (acked < self.acked and not self.sea.killing):
            raise Fault(f"{self}: an ack of {acked} behind {self.acked}, where {self.sent} were sent")
        self.acked = max(self.acked, acked)
        self._forget(self.acked)

    def _forget(self, number: int) -> None:
        while self.first <= number:
            self.kept.popleft()
            self.first += 1

    def on_packet(self, payload: bytes) -> None:
        """The next one."""
        down = decode_down(payload)
        self.taken += 1
        if down.number != self.got + 1:
            if down.number <= self.got:
                raise Fault(f"{self}: packet {down.number} of the master came behind {self.got}")
            if not self.gap:
                raise Fault(f"{self}: packets {self.got + 1} to {down.number - 1} of the master are missing, not told")
        elif not self.gaps and down.number != self.taken:
            raise Fault(f"{self}: packet {down.number} of the master has number {self.taken}")
        self.got, self.gap = down.number, False
        self.packets += 1
        if down.kind == ECHO:
            if down.value <= self.echoed or (down.value != self.echoed + 1 and not self.gaps and not self.uncertain):
                raise Fault(f"{self}: packet {down.value} came back behind {self.echoed}")
            self.echoed = down.value
        elif down.kind == TOTAL:
            if down.value != down.number:
                raise Fault(f"{self}: the master's last packet is {down.number}, and it says {down.value}")
            self.total = down.value

    def on_gap(self, gap: v3.Gap) -> None:
        """Packets of the master that will not come."""
        if not self.sea.killing or gap.why != Why.RESTART:
            raise Fault(f"{self}: a gap from {gap.first} to {gap.last}, why {gap.why}, behind {self.taken}")
        if gap.last <= self.taken:
            return
        if gap.first > self.taken + 1:
            raise Fault(f"{self}: a gap from {gap.first} on, behind {self.taken}")
        self.taken, self.gap = gap.last, True
        self.gaps += 1
        if self.finished and not self.total:  # that, or the answer, may be what is lost
            self._add(1, LAST)

    def on_end(self, cut: Cut | None, left: bool) -> None:
        """The connection is over: cut, or left for good, or ended by the server, which only one that died may do."""
        self.passage = None
        if left:
            self.sea.ashore(self)
        elif cut is not None:
            self.cuts += 1
            self.sea.later(self, cut.away_secs)
        elif self._life and self._life == self.sea.life:
            raise Fault(f"{self}: the server has closed its connection")
        else:
            self.sea.later(self, self.sea.dice.uniform(0.02, 0.3))

    def on_close(self, close: v3.Close) -> None:
        """The server says why it ends the connection."""
        raise Fault(f"{self} was closed, {close.code}: {close.text}")

    def __repr__(self) -> str:
        return f"client {self.id} ({self.habits.suite.name.lower()}, {self.resumes} resumes)"
