"""All clients of the soak in one loop, with their habits on one clock."""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import time
from typing import Callable

from bench.wires import Fault

from .people import KINDS, Kind, Person

SOURCES = 16
LAST_SECS = 60.0
"""How long the last packets, and the last leaving, may take."""
OPENING = 100
"""Newcomers at once while the town fills."""
_NO_PORT_YET = 24  # IP_BIND_ADDRESS_NO_PORT: a name for it came with Python 3.12 only
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Totals:
    """What became of the packets of those who have left."""

    def __init__(self) -> None:
        self.clients = self.sent = self.returned = self.lost = self.resumes = 0

    def add(self, person: Person) -> None:
        """Close an account. Raises Fault when it does not balance."""
        if person.returned + person.lost != person.sent:
            raise Fault(
                f"client {person.id}: {person.sent} sent, {person.returned} back and {person.lost} lost by resets"
            )
        self.clients += 1
        self.sent += person.sent
        self.returned += person.returned
        self.lost += person.lost
        self.resumes += person.resumes


class Town:
    """So many clients, of all kinds."""

    def __init__(self, port: int, clients: int, seed: int) -> None:
        self.totals = Totals()
        self._port = port
        self._clients = clients
        self._random = random.Random(seed)
        self._poller = select.epoll()
        self._by_fd: dict[int, Person] = {}
        self._people: set[Person] = set()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._closing = False
        self._arrived = self._known = 0  # clients so far, and those of them that have an id

    # ---- what people ask of it

    def open(self, person: Person) -> socket.socket:
        """A connection under way."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_IP, _NO_PORT_YET, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((f"127.0.2.{1 + next(self._order) % SOURCES}", 0))
        sock.connect_ex(("127.0.0.1", self._port))
        self._by_fd[sock.fileno()] = person
        self._poller.register(sock.fileno(), _IN | _OUT)
        return sock

    def forget(self, person: Person) -> socket.socket:
        """The connection is no more the town's affair."""
        sock = person.sock
        assert sock is not None
        self._poller.unregister(sock.fileno())
        del self._by_fd[sock.fileno()]
        return sock

    def watch(self, person: Person) -> None:
        """It has, or has no more, something to write."""
        if person.sock is not None and person.sock.fileno() in self._by_fd:
            self._poller.modify(person.sock.fileno(), _IN | _OUT if person.has_to_write else _IN)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do it after about so long."""
        due = time.monotonic() + seconds * self._random.uniform(0.5, 1.5)
        heapq.heappush(self._due, (due, next(self._order), action))

    def arrive(self, kind: Kind) -> None:
        """A new client."""
        if not self._closing:
            person = Person(self, kind)
            self._people.add(person)
            self._arrived += 1
            person.connect()
            self.later(self._random.random() * kind.every, lambda: self._act(person))

    def left(self, person: Person) -> None:
        """It will not come back."""
        self._people.discard(person)
        self.totals.add(person)

    def settled(self, person: Person) -> None:
        """It has a session on this connection."""
        self._known += not person.resumes
        if person.kind.stay:
            self.later(person.kind.stay, person.end)

    def _act(self, person: Person) -> None:
        if person in self._people and not person.finished:
            person.say(person.kind.burst)
            self.later(person.kind.every, lambda: self._act(person))

    # ---- its life

    def live(self, seconds: float) -> Totals:
        """Fill it, let everybody live, and empty it again. Raises Fault."""
        waiting = [kind for kind in KINDS.values() for _ in range(max(1, int(kind.share * self._clients)))]
        self._random.shuffle(waiting)
        end = time.monotonic() + seconds
        while time.monotonic() < end or waiting:
            for _ in range(min(len(waiting), OPENING - self._opening())):
                self.arrive(waiting.pop())
            self._turn()
        self._closing = True
        end = time.monotonic() + LAST_SECS
        while self._people:
            for person in list(self._people):
                if person.done:
                    person.leave()
                else:
                    person.finish()
            self._turn()
            if time.monotonic() > end:
                raise Fault(f"{len(self._people)} clients do not get their last packets")
        return self.totals

    def _opening(self) -> int:
        return self._arrived - self._known

    def _turn(self) -> None:
        for fd, mask in self._poller.poll(0.01):
            person = self._by_fd.get(fd)
            if person is not None:
                if mask & _OUT:
                    person.write()
                if mask & ~_OUT:
                    person.read()
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def close(self) -> None:
        """Give every descriptor back."""
        for person in self._by_fd.values():
            if person.sock is not None:
                person.sock.close()
        self._poller.close()
