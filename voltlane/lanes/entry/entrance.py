"""Where clients come in: all the listening sockets as one thing, opened and closed together.

Connections are accepted while there is no reason not to (`Hold`). The reasons come and go independently of each other;
while there is one, connections wait in the kernel's queue, where they cost nothing here.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, MutableMapping, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Callable, NamedTuple

from ...address import Address
from ...core.bucket import TokenBucket
from ...core.counters import Counters
from ...core.timers import Timer
from ...errors import StartupError
from ...net.listener import NO_ROOM, Listener
from ...net.reactor import Reactor
from ...net.sockets import SocketFile, listening_socket, local_address, next_descriptor, socket_file
from ...ops.log import PauseLog, log
from ...reasons import CloseReason, Hold
from ..lane import Lane
from ..table import TCP, lane_of

DESCRIPTORS_SHARE = 0.9
"""Of the descriptors that the process may have, the part that clients get."""
RESERVE = 8
"""Descriptors that they never get: for the connection to the master, which must not wait for a client to leave."""
RELIEF_SHARE = 0.02
"""Of all descriptors, the part that has to come free until clients are accepted again ..."""
RELIEF_SECS = 5.0
"""... or any at all, after so long."""
LOOK_SECS = 0.25


class _Opened(NamedTuple):
    """A socket that listens."""

    scheme: str
    sock: socket.socket
    asked: str
    listener: Listener
    address: Address


class Entrance:
    """The listening sockets. `on_accept(sock, address, lane)` as for Listener, and the lane of the socket.

    Held for want of a master to begin with.
    """

    def __init__(
        self, reactor: Reactor, counters: Counters, on_accept: Callable[[socket.socket, object, Lane], None]
    ) -> None:
        self._reactor = reactor
        self._counters = counters
        self._on_accept = on_accept
        self._listeners: list[Listener] = []
        self._opened: list[_Opened] = []
        self._files: list[SocketFile] = []  # of unix sockets, that are ours to remove
        self._timers: dict[Hold, Timer] = {}  # when to look again at reasons that nobody else takes back
        self._bucket: TokenBucket | None = None
        self.rate = 0.0
        """Connections accepted a second, at most; 0: any number."""
        self._limit = self._below = sys.maxsize  # descriptors
        self._was_full = False  # they are not numbered in the order of their coming any more
        self._relief = 0  # descriptors watched: when there are no more than so many, or ...
        self._relief_at = 0.0  # ... at this time, accepting goes on
        self.holds: set[Hold] = set()
        """Why nobody is accepted; empty while everybody is."""
        self.addresses: list[Address] = []
        """Where clients connect to."""
        self.on_holds: Callable[[], None] = lambda: None
        """Called when there is another reason, or one less."""
        self.hold(Hold.MASTER)

    # ---- limits

    def limit_rate(self, rate: float) -> None:
        """Accept so many connections a second, and a second's worth at once after a quiet time; 0: any number."""
        if rate == self.rate:
            return
        self.rate = rate
        self._bucket = TokenBucket(rate, max(1.0, rate), self._reactor.now) if rate else None
        timer = self._timers.pop(Hold.RATE, None)
        if timer is not None:  # who waits does not wait for as long as the old rate was slow
            self._reactor.cancel(timer)
            self.release(Hold.RATE)

    def limit_descriptors(self, limit: int) -> None:
        """How many descriptors the process may have; 0: any number."""
        self._limit = limit or sys.maxsize
        self._below = min(int(self._limit * DESCRIPTORS_SHARE), self._limit - RESERVE)

    @property
    def room(self) -> int:
        """Descriptors that clients may have from now on."""
        return max(0, self._below - next_descriptor())

    # ---- open and closed

    def open(
        self,
        addresses: Sequence[Address],
        mode: int | None = None,
        kept: MutableMapping[str, socket.socket] | None = None,
    ) -> list[socket.socket]:
        """Listen on all of these, unix sockets' files with this mode. What of it listens already, by the text of its
        address, is taken out of `kept`. Raises StartupError, and then listens on none of those."""
        socks: list[socket.socket] = []
        try:
            for address in addresses:
                lane_of(address).check()
                sock = _still_there(None if kept is None else kept.pop(str(address), None))
                sock = listening_socket(address, mode) if sock is None else sock
                socks.append(sock)
        except StartupError:
            for sock in socks:
                file = socket_file(sock)
                if file is not None:
                    file.remove()
                sock.close()
            raise
        self.own_files(socks)
        self.adopt(zip([address.scheme for address in addresses], socks), map(str, addresses))
        return socks

    def own_files(self, socks: Iterable[socket.socket]) -> None:
        """Remove the files of these, which are unix sockets that were opened here or by the process that this one
        follows, with the listening."""
        self._files += [file for sock in socks if (file := socket_file(sock)) is not None]

    @property
    def listening(self) -> list[tuple[str, socket.socket, bool, str]]:
        """The sockets, each with the scheme of its lane, whether its file is to be removed with it, and the address
        that was asked for, or "" for one that others have opened."""
        return [(one.scheme, one.sock, socket_file(one.sock) in self._files, one.asked) for one in self._opened]

    @property
    def asked(self) -> list[str]:
        """The addresses that were asked for, of those that are open."""
        return [one.asked for one in self._opened if one.asked]

    @property
    def bound(self) -> list[tuple[str, socket.socket]]:
        """The same with their sockets."""
        return [(one.asked, one.sock) for one in self._opened if one.asked]

    def adopt(self, socks: Iterable[tuple[str, socket.socket]], asked: Iterable[str] = ()) -> None:
        """Accept from sockets that listen already, and are non-blocking, each for the lane of a scheme; they belong to
        the entrance from now on. `asked`: the address that each was opened for, where that was here or in the process
        that this one follows."""
        for (scheme, sock), text in zip(socks, chain(asked, repeat(""))):
            address = local_address(sock)._replace(scheme="" if scheme == TCP.name else scheme)
            self.addresses.append(address)
            pauses = partial(self._on_pause, PauseLog(str(address)))
            listener = Listener(self._reactor, sock, partial(self._let_in, lane_of(address)), pauses)
            listener.hold(bool(self.holds))
            self._listeners.append(listener)
            self._opened.append(_Opened(scheme, sock, text, listener, address))

    @property
    def is_open(self) -> bool:
        """Whether there is a socket that listens."""
        return bool(self._listeners)

    def drop(self, asked: str) -> None:
        """Listen no more where that was asked for, and everywhere else as before."""
        for one in [one for one in self._opened if one.asked == asked]:
            file = socket_file(one.sock)
            if file in self._files:
                self._files.remove(file)
                file.remove()
            self._opened.remove(one)
            self._listeners.remove(one.listener)
            self.addresses.remove(one.address)
            one.listener.close(CloseReason.SHUTDOWN)

    def close(self) -> None:
        """Listen no more."""
        self._remove_files()
        listeners, self._listeners, self._opened = self._listeners, [], []
        for listener in listeners:
            listener.close(CloseReason.SHUTDOWN)
        for timer in self._timers.values():
            self._reactor.cancel(timer)
        self._timers.clear()

    def _remove_files(self) -> None:
        files, self._files = self._files, []
        for file in files:
            file.remove()

    # ---- held

    def hold(self, reason: Hold) -> None:
        """Accept nobody until `release`."""
        if reason in self.holds:
            return
        self._counters.held[reason] += 1
        if not self.holds:
            for listener in self._listeners:
                listener.hold(True)
        self.holds.add(reason)
        self.on_holds()

    def release(self, reason: Hold) -> None:
        """This reason is gone. The socket that was first is the last this time: none starves another."""
        if reason not in self.holds:
            return
        self.holds.discard(reason)
        if self._listeners and not self.holds:
            self._listeners.append(self._listeners.pop(0))
            for listener in self._listeners:
                listener.hold(False)
        self.on_holds()

    def _let_in(self, lane: Lane, sock: socket.socket, address: object) -> None:
        if sock.fileno() >= self._below or (self._was_full and next_descriptor() >= self._below):
            self._hold_for_descriptors()
        if self._bucket is not None:
            self._count_down(self._bucket)
        self._on_accept(sock, address, lane)

    # ---- the rate

    def _count_down(self, bucket: TokenBucket) -> None:
        bucket.debit(1.0, self._reactor.now)
        missing = 1.0 - bucket.tokens(self._reactor.now)
        if missing > 0.0 and Hold.RATE not in self.holds:
            self.hold(Hold.RATE)
            self._later(Hold.RATE, missing / bucket.rate, self._look_at_rate)

    def _look_at_rate(self, now: float) -> None:
        self.release(Hold.RATE)

    # ---- descriptors

    def _hold_for_descriptors(self) -> None:
        if Hold.DESCRIPTORS in self.holds:
            return
        log.warning("nobody is accepted: %d of %d descriptors are in use", self._below, self._limit)
        self.hold(Hold.DESCRIPTORS)
        self._was_full = True
        self._relief = self._reactor.watched - int(self._limit * RELIEF_SHARE)
        self._relief_at = self._reactor.now + RELIEF_SECS
        self._later(Hold.DESCRIPTORS, LOOK_SECS, self._look_at_descriptors)

    def _look_at_descriptors(self, now: float) -> None:
        """The number that the next connection would get tells whether there is room, and `watched` whether much."""
        much = self._reactor.watched <= self._relief or now >= self._relief_at
        if much and next_descriptor() < self._below:
            log.info("clients are accepted again")
            self.release(Hold.DESCRIPTORS)
        else:
            self._later(Hold.DESCRIPTORS, LOOK_SECS, self._look_at_descriptors)

    def _later(self, reason: Hold, seconds: float, look: Callable[[float], None]) -> None:
        self._timers[reason] = self._reactor.call_later(seconds, look)

    def _on_pause(self, pauses: PauseLog, error: OSError, wait: float) -> None:
        """A listening socket has paused by itself."""
        self._counters.held[Hold.EXHAUSTED if error.errno in NO_ROOM else Hold.FAILING] += 1
        pauses.note(error, wait)


def _still_there(sock: socket.socket | None) -> socket.socket | None:
    """A socket that was kept; none, and it is closed, where nobody can connect to it any more: its file is gone."""
    if sock is not None and sock.family == socket.AF_UNIX and socket_file(sock) is None:
        sock.close()
        return None
    return sock
