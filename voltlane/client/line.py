"""One connection of version 3, as a socket that never blocks, and what it is waited for with."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import time
from typing import Callable

from ..address import Address
from ..errors import ConnectionLost
from ..net.deadlines import LONGEST_POLL
from ..net.sockets import NO_SIGNAL, close_gently
from ..wire.noise import MESSAGE_MAX
from .approach import openings_for
from .datagram_socket import DatagramSocket
from .link import opening_failed, refuse_itself, tune
from .openings import Openings
from .secure import Trust

READ_BYTES = 256 << 10


class Line:
    """Connecting, reading and writing are done under its owner's lock, waiting is not.

    The descriptor is closed by whoever is the last inside `wait`: closed under another thread's poll, it would leave
    that thread waiting on a number which the next socket of the program may get.
    """

    __slots__ = (
        "_address",
        "_closed",
        "_on_reached",
        "_openings",
        "_socket",
        "_targets",
        "_trust",
        "_waiting",
        "connected",
        "peer",
    )

    def __init__(
        self,
        address: Address,
        targets: list[tuple[int, object]],
        trust: Trust | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> None:
        """Begin to connect, to the first that answers. `targets`: the addresses that the address's name has, at least
        one; `trust`: with TLS; `on_reached`: see Connection. Raises ConnectionLost."""
        self._address = address
        self._trust = trust
        self._on_reached = on_reached
        self._targets = list(targets)
        self._waiting = 0
        self._closed = False
        self.connected = False
        """Whether it is, and through with what comes before the protocol."""
        self.peer: tuple[int, object] | None = None
        """Family and address of who has answered."""
        self._openings: Openings | None = None
        self._socket: socket.socket | None = None
        self._try_next(0)

    def _try_next(self, error: int) -> None:
        """To the next target; behind the last one the error is raised."""
        while self._targets:
            family, name = self._targets.pop(0)
            if self._socket is not None:
                self._socket.close()
            try:
                self._socket = socket.socket(family, socket.SOCK_STREAM)
                self._socket.setblocking(False)
                error = self._socket.connect_ex(name)  # type: ignore[arg-type]
            except OSError as failed:
                error = failed.errno or errno.EINVAL
            if error in (0, errno.EINPROGRESS):
                return
        if self._socket is not None:
            self._socket.close()
        why = os.strerror(error)
        raise ConnectionLost(f"cannot connect to {self._address}: {why}") from OSError(error, why)

    def connect(self) -> bool:
        """Whether it is connected by now. Raises ConnectionLost when nobody answers, and what openings do."""
        if self.connected:
            return True
        if self._openings is None and not self._answered():
            return False
        assert self._openings is not None
        try:
            self.connected = self._openings.go_on()
        except ConnectionLost:
            raise
        except OSError as error:
            raise opening_failed(self._address, error) from error
        self._socket = self._openings.socket
        return self.connected

    def _answered(self) -> bool:
        """Whether there is a connection, over which the openings begin. Raises ConnectionLost when there will be
        none."""
        assert self._socket is not None
        while True:
            poll = select.poll()
            poll.register(self._socket, select.POLLOUT)
            if not poll.poll(0):
                return False
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            try:
                if not error:
                    refuse_itself(self._socket)
                    tune(self._socket)
                    self.peer = self._socket.family, self._socket.getpeername()
                    self._openings = Openings(self._socket, openings_for(self._address, 3, MESSAGE_MAX, self._trust))
                    if self._on_reached is not None:
                        self._on_reached()
                    return True
            except OSError as failed:
                error = failed.errno or errno.ECONNREFUSED
            self._try_next(error)

    def fileno(self) -> int:
        """The descriptor, or -1 when it is closed."""
        assert self._socket is not None
        return self._socket.fileno()

    def read(self) -> bytes | None:
        """What is there; None for nothing now. Raises ConnectionLost, at the server's end as well."""
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except ConnectionLost:  # a socket that knows more of the end
            raise
        except OSError as error:
            raise _lost(error) from error
        if not data:
            raise ConnectionLost("the server closed the connection")
        return data

    def write(self, output: bytearray) -> None:
        """As much of it as there is room for, which is deleted there. Raises ConnectionLost."""
        assert self._socket is not None
        while output:
            try:
                with memoryview(output) as view:
                    sent = self._socket.send(view, NO_SIGNAL)
            except BlockingIOError:
                return
            except OSError as error:
                raise _lost(error) from error
            del output[:sent]

    @property
    def wants_write(self) -> bool:
        """Whether something of its own waits for room."""
        if not self.connected:
            return self._openings is None or self._openings.wants_write
        return bool(getattr(self._socket, "wants_write", False))

    def wait(self, reading: bool, writing: bool, seconds: float | None, beside: DatagramSocket | None = None) -> None:
        """Until there is something to read, or room to write, or the time is over, or it is closed. Who reads also
        waits for what is the connection's own, and for datagrams, if there is a socket for them."""
        assert self._socket is not None
        if not self.connected:
            writing, reading = self.wants_write, not self.wants_write
        elif reading:
            writing = writing or self.wants_write
        poll = select.poll()
        poll.register(self._socket, select.POLLIN * reading | select.POLLOUT * writing)
        self._waiting += 1
        if beside is not None:
            beside.enter(poll)
        try:
            poll.poll(math.ceil(1000 * (LONGEST_POLL if seconds is None else min(seconds, LONGEST_POLL))))
        finally:
            self._waiting -= 1
            if beside is not None:
                beside.leave()
            if self._closed:
                self._release()

    def finish(self, seconds: float) -> None:
        """Say that nothing more comes, and wait for the server's end: closing before it would make the system reset
        the connection when more arrives, and that overtakes what we said last."""
        assert self._socket is not None
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                if self.read() is None:
                    self.wait(True, False, left)

    def close(self) -> None:
        """Idempotent. Whoever is in `wait` is woken."""
        assert self._socket is not None
        if not self._closed:
            self._closed = True
            # Wakes a poll in another thread, which closing the descriptor would not.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._release()

    def _release(self) -> None:
        assert self._socket is not None
        if not self._waiting:
            close_gently(self._socket)


def _lost(error: OSError) -> ConnectionLost:
    return ConnectionLost(f"the connection is lost: {error.strerror or error}")
