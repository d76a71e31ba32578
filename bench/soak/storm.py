"""All clients of the lossless soak and their master in one loop, and the habits of both."""

from __future__ import annotations

import errno
import heapq
import itertools
import random
import select
import socket
import time
from typing import Callable, NamedTuple

from bench.wires import Fault
from voltlane.wire.v3 import MAX_BODY, Retained, Suite

from .cuts import UNCUT, draw
from .master import Master
from .passage import Passage
from .voyager import Habits, Voyager

SOURCES = 16
SETTLE_SECS = 0.05
GHOST_SECS = 1.5
"""How long a connection stays open whose session has gone on elsewhere."""
LAST_SECS = 90.0
"""How long everybody may take to leave."""
MOST_UNDER_WAY = 500
"""Packets that are not there yet, past which nobody says more: a client that is cut all the time takes little."""
NEWCOMERS = 50
"""Clients that may be without a session at once, while they come."""
_NO_PORT_YET = 24  # IP_BIND_ADDRESS_NO_PORT: a name for it came with Python 3.12 only
_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Totals(NamedTuple):
    """What all clients of a life together came to."""

    clients: int = 0
    cuts: int = 0
    resumes: int = 0
    sent: int = 0
    """Packets to the master, all numbered."""
    came: int = 0
    """Packets from the master, the answers among them."""
    own: int = 0
    """Those that nobody had asked for."""
    gaps: int = 0
    holes: int = 0
    """Packets either way that are missing, and told."""
    uncertain: int = 0

    def plus(self, other: Totals) -> Totals:
        """The sums."""
        return Totals(*map(sum, zip(self, other)))


class Storm:
    """So many clients at `port`. With `killing` the server may lose its memory, and gaps may be told."""

    def __init__(self, port: int, clients: int, seed: int, master: Master, killing: bool) -> None:
        self.dice = random.Random(seed)
        self.killing = killing
        self.life = 1
        self.totals = Totals()
        self._port = port
        self._clients = clients
        self._master = master
        self._poller = select.epoll()
        self._by_fd: dict[int, Passage] = {}
        self._ghosts: list[tuple[float, socket.socket]] = []
        self._people: dict[Voyager, None] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._closing = False
        self._settles = 0.0
        self._poller.register(master.fileno(), _IN)
        self._link = master.link
        if self._link is not None:
            self._poller.register(self._link.fileno(), _IN | _OUT)

    # ---- what clients ask of it

    def sail(self, voyager: Voyager) -> Passage:
        """See Sea."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_IP, _NO_PORT_YET, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind((f"127.0.3.{1 + next(self._order) % SOURCES}", 0))
        failure = sock.connect_ex(("127.0.0.1", self._port))
        if failure not in (0, errno.EINPROGRESS):
            raise Fault(f"cannot connect: {failure}")
        cut, habits = UNCUT if self._closing else draw(self.dice), voyager.habits
        most = self.dice.choice((60, 3000, MAX_BODY))
        passage = Passage(
            voyager, sock, cut, time.monotonic() + cut.after_secs, habits.suite, habits.window,
            habits.retained.packets, most, self._drop,
        )  # fmt: skip
        self._by_fd[sock.fileno()] = passage
        self._poller.register(sock.fileno(), _IN | _OUT)
        return passage

    def later(self, voyager: Voyager, seconds: float) -> None:
        """See Sea."""
        self._at(seconds, voyager.connect)

    def ashore(self, voyager: Voyager) -> None:
        """See Sea."""
        del self._people[voyager]
        account = self._master.accounts[voyager.id]
        lost = _uncovered(account.missing, voyager.uncertain)
        if lost:
            raise Fault(f"{voyager}: the master lacks {lost[0]} to {lost[1]}; uncertain are {voyager.uncertain}")
        if account.got != voyager.sent and not _covers(voyager.uncertain, account.got + 1, voyager.sent):
            raise Fault(f"{voyager}: {voyager.sent} packets were sent, the master has {account.got}")
        if account.ended not in ("", "Client disconnected") and not self.killing:
            raise Fault(f"{voyager}: the master was told {account.ended!r}")
        holes = sum(last - first + 1 for first, last in account.missing) + account.sent - voyager.packets
        if not self.killing and holes:
            raise Fault(f"{voyager}: {voyager.packets} packets came, the master sent {account.sent}")
        told = sum(last - first + 1 for first, last in voyager.uncertain)
        self.totals = self.totals.plus(
            Totals(
                1, voyager.cuts, voyager.resumes, voyager.sent, voyager.packets, account.own, voyager.gaps, holes, told
            )
        )
        if not self._closing:
            self._arrive()

    def _drop(self, passage: Passage, ghost: bool) -> None:
        fd = passage.sock.fileno()
        self._poller.unregister(fd)
        del self._by_fd[fd]
        if ghost:
            self._ghosts.append((time.monotonic() + self.dice.uniform(0, GHOST_SECS), passage.sock))

    # ---- its life

    def live(self, seconds: float) -> None:
        """Let everybody come who is missing, and all live for so long."""
        missing = self._clients - len(self._people)
        while missing:
            newcomers = sum(not voyager.id for voyager in self._people)
            for _ in range(min(missing, NEWCOMERS - newcomers)):
                self._arrive()
                missing -= 1
            self.turn()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def end(self) -> None:
        """No more cuts; everybody sends a last packet, and leaves when everything is safe both ways."""
        self._closing = True
        until = time.monotonic() + LAST_SECS
        while self._people:
            for voyager in list(self._people):
                if not voyager.finished:
                    voyager.finish()
            self.turn()
            if time.monotonic() > until:
                late = next(iter(self._people))
                raise Fault(
                    f"{len(self._people)} clients do not get their last packets, one of them {late}: "
                    f"{late.acked} of {late.said} are safe, {late.got} of {late.total or 'more'} came, {late.passage}"
                )

    def _arrive(self) -> None:
        dice = self.dice
        voyager = Voyager(
            self,
            Habits(
                suite=dice.choice((Suite.NOISE, Suite.CLEAR)),
                burst=dice.choice((1, 1, 5, 5, 60)),
                every=dice.choice((0.3, 1.0, 3.0)),
                stay=dice.uniform(3, 20) if dice.random() < 0.25 else 0.0,
                retained=Retained(dice.choice((0, 20, 2000)), dice.choice((0, 8 << 20))),
                window=dice.choice((1000, 50_000, 1 << 18)),
            ),
        )
        self._people[voyager] = None
        voyager.connect()
        self._at(dice.random(), lambda: self._act(voyager))
        if voyager.habits.stay:
            self._at(voyager.habits.stay, voyager.finish)

    def _act(self, voyager: Voyager) -> None:
        """It says something, and so does the master to it."""
        if voyager in self._people and not voyager.finished:
            habits, dice = voyager.habits, self.dice
            if voyager.said - voyager.first < MOST_UNDER_WAY:
                voyager.say(dice.randint(0, 2 * habits.burst))
            account = self._master.accounts.get(voyager.id)
            if account is not None and account.sent - voyager.got < MOST_UNDER_WAY:
                self._master.say(voyager.id, dice.randint(0, 2 * habits.burst))
            self._at(habits.every * dice.uniform(0.5, 1.5), lambda: self._act(voyager))

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._order), action))

    def turn(self) -> None:
        """Do what is due, and what can be done."""
        for fd, mask in self._poller.poll(0.01):
            passage = self._by_fd.get(fd)
            if passage is not None:
                if mask & _OUT:
                    passage.write()
                if mask & ~_OUT:
                    passage.read()
                self._watch(passage)
            elif fd == self._master.fileno():
                self._link = self._master.accept()
                self._poller.register(self._link.fileno(), _IN)
            elif self._link is not None and fd == self._link.fileno():
                self._serve(mask)
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        if now >= self._settles:
            self._settles = now + SETTLE_SECS
            self._settle(now)

    def _serve(self, mask: int) -> None:
        assert self._link is not None
        fd = self._link.fileno()
        if mask & _OUT:
            self._master.write()
        if mask & ~_OUT and not self._master.read():
            self._link = None
            return
        self._poller.modify(fd, _IN | _OUT if self._master.has_to_write else _IN)

    def _settle(self, now: float) -> None:
        for passage in list(self._by_fd.values()):
            if now >= passage.until:
                passage.cut()
            else:
                passage.settle()
            self._watch(passage)
        for voyager in list(self._people):
            if voyager.done and voyager.passage is not None:
                voyager.leave()
        while self._ghosts and self._ghosts[0][0] <= now:
            self._ghosts.pop(0)[1].close()
        if self._link is not None:
            self._poller.modify(self._link.fileno(), _IN | _OUT if self._master.has_to_write else _IN)

    def _watch(self, passage: Passage) -> None:
        fd = passage.sock.fileno()
        if fd in self._by_fd:
            self._poller.modify(fd, _IN | _OUT if passage.has_to_write else _IN)

    def close(self) -> None:
        """Give every descriptor back."""
        for passage in self._by_fd.values():
            passage.sock.close()
        for _, sock in self._ghosts:
            sock.close()
        self._poller.close()


def _covers(told: list[tuple[int, int]], first: int, last: int) -> bool:
    """Whether every number from first to last is in one of these."""
    return all(any(low <= number <= high for low, high in told) for number in range(first, last + 1))


def _uncovered(missing: list[tuple[int, int]], told: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The first of the missing that nobody was told of."""
    return next((hole for hole in missing if not _covers(told, *hole)), None)
