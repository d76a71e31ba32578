"""A bad way for datagrams, behind a NAT: loses, repeats and delays them, puts them in another order, drops large ones,
and gives the senders other addresses. By the same seed the n-th datagram of a direction has the same fate in every run.

with DatagramWire(place, Faults(loss=0.1), seed=1) as wire:
    sock.sendto(b"up", wire.address)
    wire.step()                           # takes what is there, passes on what is due; or, for clients that block:
    with wire.running(): ...              # a thread does
    wire.rebind()                         # from now on everybody is at another address, as the server sees it
"""

from __future__ import annotations

import contextlib
import heapq
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Callable, NamedTuple

UP, DOWN = "up", "down"
HEADS = 28
"""Bytes of the heads of IP and UDP, which count for an MTU."""
SOURCES = 200


class Faults(NamedTuple):
    """What happens to datagrams, of either direction."""

    loss: float = 0.0
    """The share that is lost."""
    twice: float = 0.0
    """The share that comes twice."""
    reorder: float = 0.0
    """The share that is not delayed, and so overtakes what was sent before."""
    delay: float = 0.0
    """Seconds under way, by the wire's clock."""
    jitter: float = 0.0
    """More or less than that."""
    mtu: int = 65535
    """Bytes of the largest packet, with the heads; what is larger vanishes."""


NONE = Faults()


class Passed(NamedTuple):
    """One that has come to the wire."""

    way: str
    size: int
    copies: int
    """How often it goes on: 0 where it is lost."""
    binding: int
    """How often its client had got another address by then."""


class _Binding:
    """Where one client is, as the server sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.passed = 0


class DatagramWire:
    """To the server at `target`, from whoever sends to `address`."""

    def __init__(
        self,
        target: tuple[str, int] = ("127.0.0.1", 0),
        faults: Faults = NONE,
        seed: int = 0,
        *,
        rebind_every: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`rebind_every`: a client gets another address behind so many datagrams of its own; 0 for never."""
        self.target = target
        self.faults = faults
        self.seed = seed
        self.rebind_every = rebind_every
        self.log: list[Passed] = []
        self.rebound = 0
        """How often anybody got another address."""
        self._clock = clock
        self._inner = self._bound("127.0.0.1")
        self.address: tuple[str, int] = self._inner.getsockname()
        self._bindings: dict[tuple[str, int], _Binding] = {}
        self._counts = {UP: 0, DOWN: 0}
        self._held: list[tuple[float, int, str, bytes, tuple[str, int]]] = []
        self._lock = threading.Lock()
        self._stopping = False

    @staticmethod
    def _bound(host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        return sock

    # ---- what a test does

    def rebind(self) -> None:
        """All clients get other addresses with their next datagrams; what comes to the old ones is lost."""
        with self._lock:
            for binding in self._bindings.values():
                binding.sock.close()
            self._bindings.clear()
            self.rebound += 1

    def step(self, timeout: float = 0.0) -> int:
        """Take what has come, after at most so many seconds, and pass on what is due. How many of these there were."""
        with self._lock:
            socks = [self._inner, *(binding.sock for binding in self._bindings.values())]
            if self._held:
                timeout = max(0.0, min(timeout, self._held[0][0] - self._clock()))
        ready = select.select(socks, [], [], timeout)[0]
        with self._lock:
            moved = self._take_up() if self._inner in ready else 0
            for client, binding in list(self._bindings.items()):
                moved += self._take_down(client, binding)
            return moved + self._release()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """While the block lasts a thread steps."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping = True
            thread.join(10.0)
            self._stopping = False

    def _run(self) -> None:
        while not self._stopping:
            with contextlib.suppress(OSError, ValueError):  # a socket of them was closed by `rebind`
                self.step(0.02)

    def passed(self, way: str, size: int | None = None) -> int:
        """How many have gone on so far, copies and all; of one size, or of any."""
        with self._lock:
            return sum(one.copies for one in self.log if one.way == way and size in (None, one.size))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way in it."""
        return not self._held

    # ---- the way

    def _take_up(self) -> int:
        taken = 0
        while True:
            try:
                data, client = self._inner.recvfrom(1 << 16)
            except BlockingIOError:
                return taken
            taken += 1
            binding = self._bindings.get(client)
            if binding is not None and self.rebind_every and binding.passed >= self.rebind_every:
                binding.sock.close()
                binding = None
                self.rebound += 1
            if binding is None:
                host = f"127.0.2.{1 + self.rebound % SOURCES}"
                binding = self._bindings[client] = _Binding(self._bound(host))
            binding.passed += 1
            self._pass(UP, data, client)

    def _take_down(self, client: tuple[str, int], binding: _Binding) -> int:
        taken = 0
        while True:
            try:
                data = binding.sock.recv(1 << 16)
            except (BlockingIOError, ConnectionRefusedError):
                return taken
            taken += 1
            self._pass(DOWN, data, client)

    def _pass(self, way: str, data: bytes, client: tuple[str, int]) -> None:
        number, faults = self._counts[way], self.faults
        self._counts[way] = number + 1
        dice = random.Random(f"{self.seed} {way} {number}")
        lost, twice, ahead = (dice.random() < share for share in (faults.loss, faults.twice, faults.reorder))
        copies = 0 if lost or len(data) + HEADS > faults.mtu else 2 if twice else 1
        self.log.append(Passed(way, len(data), copies, self.rebound))
        for _ in range(copies):
            delay = 0.0 if ahead else max(0.0, faults.delay + dice.uniform(-faults.jitter, faults.jitter))
            heapq.heappush(self._held, (self._clock() + delay, len(self.log), way, data, client))

    def _release(self) -> int:
        released, now = 0, self._clock()
        while self._held and self._held[0][0] <= now:
            _, _, way, data, client = heapq.heappop(self._held)
            binding = self._bindings.get(client)
            with contextlib.suppress(OSError):  # full, or the client is gone: a network would lose it as well
                if way == DOWN:
                    self._inner.sendto(data, client)
                elif binding is not None:
                    binding.sock.sendto(data, self.target)
            released += 1
        return released

    # ---- the end

    def close(self) -> None:
        for sock in (self._inner, *(binding.sock for binding in self._bindings.values())):
            sock.close()

    def __enter__(self) -> DatagramWire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
