"""One UDP socket in the reactor: a batch of datagrams in at a time, and all of a turn's out at its end."""

from __future__ import annotations

import socket
from typing import Any, Protocol

from ...address import UDP, Address
from ...core.budget import CHUNK_COST, Budget, Holding
from ...core.counters import Counters
from ...core.outbox import Chunk
from ...net.poller import WRITE
from ...net.reactor import Handler, Reactor
from ...net.sockets import local_address
from ...net.udp.names import Name, address_of
from ...net.udp.results import Sent
from ...net.udp.sockets import is_readable, receive_joined
from ...reasons import CloseReason, DatagramDrop
from ...wire.framing import count_frames
from ..fairness.sampler import rank

RESTS = 8
MOST_HELD = 64
"""Batches, at most, of what the system holds: its 4 MiB are 5,000 small datagrams."""
Queue = list[tuple[Any, Chunk]]
"""What is to be sent, each chunk of frames to whom: a peer or a channel, as its owner has them."""


class Owner(Protocol):
    """What a port belongs to."""

    reactor: Reactor
    counters: Counters
    budget: Budget
    queue_bytes: int
    """That may wait while the socket takes no more."""

    def receive(self, port: Port) -> bool:
        """Take a batch of what has come there; whether there may be more."""
        ...

    def transmit(self, port: Port, queue: Queue, offset: int) -> Sent:
        """Send what is in the queue, from this byte of its first chunk on, as far as the socket takes it."""
        ...

    def closed(self, port: Port) -> None:
        """Nothing is received there any more."""

    def measure(self, target: Any, now: float) -> None:
        """Look how good the way to somebody is who is in a queue."""


class Port(Handler):
    """A bound socket. `asked`: the address that it was opened for, or ""."""

    def __init__(self, owner: Owner, sock: socket.socket, asked: str) -> None:
        self.sock: socket.socket | None = sock
        self.asked = asked
        self.family = sock.family
        self.address: Address = local_address(sock)._replace(scheme=UDP)
        self._owner = owner
        self.reactor = owner.reactor
        self.queue: Queue = []
        """What goes out when the turn ends. Whoever adds to it says so before, with `wake`."""
        self._offset = 0  # bytes of the first chunk that are out
        self._held = Holding(owner.budget)
        self.blocked = False
        """Whether the socket takes no more."""
        self._going_on = False  # more will be read as a task
        owner.reactor.add(sock.fileno(), self)

    # ---- in

    def on_event(self, mask: int) -> None:
        """See Handler."""
        if mask & WRITE and self.blocked:
            self.blocked = False
            self.queue[1:] = self._ranked(self.queue[1:])  # the first may be out in part; then whose link is best
            self.reactor.mark_dirty(self)
        if mask & ~WRITE and not self._going_on:
            self._read()

    def _read(self) -> None:
        self._going_on = False
        if self.sock is None:
            return
        if self._owner.receive(self):
            self._going_on = True
            self.reactor.call_soon(self._read, self)
        else:
            self.reactor.drained(self.sock)

    def receive_joined(self, joined: bool) -> None:
        """See `sockets.receive_joined`."""
        if self.sock is not None:
            receive_joined(self.sock, joined)

    def rest(self) -> None:
        """Receive nothing joined any more, and take what has come so: what it is, is not told afterwards. So if there
        is something again by then, once more; in a flood not without end."""
        for _ in range(RESTS):
            for _ in range(MOST_HELD):
                if self.sock is None or not self._owner.receive(self):
                    break
            self.receive_joined(False)
            if self.sock is None or not is_readable(self.sock):
                break
            self.receive_joined(True)
        self.receive_joined(False)
        self._read()

    # ---- out

    def send(self, target: object, chunk: Chunk) -> None:
        """Send each frame of a chunk as a datagram, when the turn ends."""
        self.wake()
        self.queue.append((target, chunk))

    def send_all(self, queue: Queue) -> None:
        """The same for many."""
        self.wake()
        self.queue += queue

    def wake(self) -> None:
        """Something is about to be added to the queue."""
        if self.blocked or not self.queue:  # while it is blocked to keep what waits within its bound
            self.reactor.mark_dirty(self)

    def say(self, name: Name, datagram: bytes) -> None:
        """Send this one now, or not at all."""
        try:
            assert self.sock is not None
            self.sock.sendto(datagram, address_of(name))
        except OSError:
            self._owner.counters.datagrams_dropped[DatagramDrop.UNSENT] += 1

    def on_flush(self) -> None:
        """See Handler."""
        if self.sock is None:
            return
        if not self.blocked:
            sent = self._owner.transmit(self, self.queue, self._offset)
            counters = self._owner.counters
            counters.datagrams_down += sent.datagrams
            counters.datagram_bytes_down += sent.size
            del self.queue[: sent.index]
            self._offset = sent.offset
            if sent.blocked:
                self.blocked = True
                self.reactor.filled(self.sock)
        if self.queue:
            self._bound()
            self._held.hold(sum(len(chunk) + CHUNK_COST for _, chunk in self.queue))
        elif self._held.held:
            self._held.hold(0)

    def _bound(self) -> None:
        """Let no more wait than is allowed: those go whose links are worst."""
        waiting, most = sum(len(chunk) for _, chunk in self.queue) - self._offset, self._owner.queue_bytes
        if waiting <= most:
            return
        first, rest = self.queue[0], self._ranked(self.queue[1:])
        dropped = 0
        while rest and waiting > most:
            _, chunk = rest.pop()
            waiting -= len(chunk)
            dropped += count_frames(chunk)
        self.queue = [first, *rest]  # the first may be out in part
        self._owner.counters.datagrams_dropped[DatagramDrop.NO_ROOM] += dropped

    def _ranked(self, queue: Queue) -> Queue:
        now = self.reactor.now
        for target in {id(target): target for target, _ in queue}.values():
            self._owner.measure(target, now)
        return sorted(queue, key=_rank)

    # ---- the end

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """Receive no more there."""
        sock, self.sock = self.sock, None
        self.queue.clear()
        self._held.hold(0)
        if sock is not None:
            self.reactor.remove(sock)
            self._owner.closed(self)


def _rank(entry: tuple[object, Chunk]) -> int:
    return rank(entry[0])
