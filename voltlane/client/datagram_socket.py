"""A client's socket for datagrams, that never blocks and outlives its addresses."""

from __future__ import annotations

import contextlib
import errno
import math
import select
import socket

from ..net.deadlines import LONGEST_POLL
from ..net.sockets import send_in_fragments

RECEIVE_SIZE = 1 << 16
_LOST = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.EPERM)
"""That one could not be sent, and the next may be."""
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
"""There is no way to that address at the moment."""


class DatagramSocket:
    """To one place, which may have several addresses. It is not connected: the system chooses the source of each
    datagram, so that this machine may get another address. Where one comes from does not matter: it is sealed.

    As with a `Line`, the descriptor is closed by whoever is the last inside `wait`.
    """

    __slots__ = ("_retired", "_socket", "_targets", "_waiting")

    def __init__(self) -> None:
        self._targets: list[tuple[int, object]] = []
        self._socket: socket.socket | None = None
        self._waiting = 0
        self._retired: list[socket.socket] = []

    def aim(self, targets: list[tuple[int, object]]) -> None:
        """Send to the first of these from now on, or to the next where there is no way to it: families, addresses."""
        if targets != self._targets:
            self._targets = list(targets)
            if self._socket is not None and targets and self._socket.family != targets[0][0]:
                self.close()
        self._open()

    def fileno(self) -> int:
        """The descriptor, or -1."""
        return -1 if self._socket is None else self._socket.fileno()

    def send(self, datagram: bytes) -> bool:
        """Whether the system has taken it."""
        if not self._open():
            return False
        assert self._socket is not None
        try:
            self._socket.sendto(datagram, self._targets[0][1])  # type: ignore[call-overload]
            return True
        except OSError as error:
            if error.errno not in _LOST:
                self._try_another(error.errno)
            return False

    def receive(self) -> bytes | None:
        """What is there; None for nothing."""
        while self._socket is not None:
            try:
                return self._socket.recv(RECEIVE_SIZE)
            except BlockingIOError:
                return None
            except ConnectionError:  # some systems tell of an earlier one that nobody took
                continue
            except OSError as error:
                self._try_another(error.errno)
                return None
        return None

    def try_next(self) -> None:
        """Send to the next address, if there are several."""
        if len(self._targets) > 1:
            self._try_another(errno.EHOSTUNREACH)

    def _try_another(self, error: int | None) -> None:
        """The next address; and another socket, where it is not only that there is no way to this one."""
        self._targets.append(self._targets.pop(0))
        if error not in _NO_WAY or (self._socket is not None and self._socket.family != self._targets[0][0]):
            self.close()
            self._open()

    def _open(self) -> bool:
        if self._socket is None and self._targets:
            family = self._targets[0][0]
            try:
                self._socket = socket.socket(family, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
                send_in_fragments(self._socket, family)
            except OSError:
                self._targets.append(self._targets.pop(0))
                self.close()
        return self._socket is not None

    # ---- waiting, by one thread or several

    def enter(self, poll: select.poll) -> None:
        """Wait for what comes here too. To be followed by `leave`."""
        self._waiting += 1
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)

    def leave(self) -> None:
        """Not any more."""
        self._waiting -= 1
        self._release()

    def wait(self, seconds: float) -> None:
        """Until something is there, or it is closed, or the time is over."""
        poll = select.poll()
        self.enter(poll)
        try:
            poll.poll(math.ceil(1000 * min(seconds, LONGEST_POLL)))
        finally:
            self.leave()

    def close(self) -> None:
        """Idempotent; the next datagram opens another one. Whoever waits is woken."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is not connected; Linux wakes them nevertheless
                self._socket.shutdown(socket.SHUT_RDWR)
            self._retired.append(self._socket)
            self._socket = None
            self._release()

    def forget(self) -> None:
        """Close it, and send nowhere."""
        self._targets = []
        self.close()

    def _release(self) -> None:
        if not self._waiting:
            for sock in self._retired:
                sock.close()
            self._retired.clear()
