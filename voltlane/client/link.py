"""Connecting, and a blocking `Link` with deadlines, for the client library. Deadlines are `time.monotonic()`'s.

Its socket is non-blocking and waited for with poll, because a socket's own timeout is one for both directions: the
reader's would be the writer's as well.
"""

from __future__ import annotations

import contextlib
import errno
import math
import select
import socket
import time
from collections.abc import Iterable
from typing import Callable

from ..address import Address
from ..errors import ConnectionLost, FrameTooLarge
from ..net.deadlines import LONGEST_POLL, Deadline, remaining
from ..net.sockets import NO_SIGNAL, close_gently, resolve, set_keepalive, set_low_delay
from ..wire.framing import GOODBYE, FrameBuffer
from .openings import Opening, Openings

RECEIVE_SIZE = 65536
KEEPALIVE_SECS = 60
"""So that who only reads notices a dead network."""
FAREWELL_SECS = 0.5
"""How long a link that is given up waits for the server to close its side."""


def connect(
    address: Address,
    deadline: Deadline,
    openings: Iterable[Opening] = (),
    on_reached: Callable[[], object] | None = None,
) -> socket.socket:
    """A connected, tuned socket: the first that answers of the addresses a name has; "*" is this machine. Its openings
    are gone through, when `on_reached` has been called.

    The deadline holds for all of them together, though not for the look-up of the name. Raises ConnectionLost,
    ProtocolError, and TimeoutError for openings that take too long.
    """
    lost = ConnectionLost()
    for family, name in look_up(address):
        try:
            sock = _connect_one(address, family, name, deadline)
        except ConnectionLost as error:
            lost = error
        else:
            if on_reached is not None:
                on_reached()
            return _open(address, sock, openings, deadline)
    raise lost


def _open(address: Address, sock: socket.socket, those: Iterable[Opening], deadline: Deadline) -> socket.socket:
    openings = Openings(sock, those)
    try:
        while not openings.go_on():
            poll = select.poll()
            poll.register(sock, select.POLLOUT if openings.wants_write else select.POLLIN)
            if not _wait(poll, deadline):
                raise TimeoutError
        return openings.socket
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and not isinstance(error, (ConnectionLost, TimeoutError)):
            raise opening_failed(address, error) from error
        raise


def opening_failed(address: Address, error: OSError) -> ConnectionLost:
    """What an error becomes that ends a connection within an opening."""
    return ConnectionLost(f"cannot connect to {address}: {error.strerror or error}")


def look_up(address: Address) -> list[tuple[int, object]]:
    """The families and socket addresses that an address has, at least one. Raises ConnectionLost."""
    try:
        found = resolve(address)
    except OSError as error:
        raise ConnectionLost(f"cannot look up {address.host}: {error.strerror or error}") from error
    if not found:
        raise ConnectionLost(f"{address.host} has no address")
    return found


def refuse_itself(sock: socket.socket) -> None:
    """A port of the ephemeral range with nobody listening may have TCP connect the socket to itself."""
    if sock.family != socket.AF_UNIX and sock.getsockname() == sock.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


def tune(sock: socket.socket) -> None:
    """As clients' sockets are."""
    set_low_delay(sock)
    set_keepalive(sock, KEEPALIVE_SECS)


def _connect_one(address: Address, family: int, name: object, deadline: Deadline) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectionLost(f"cannot connect to {address}: {error.strerror or error}") from error
    try:
        left = remaining(deadline)
        # 0 seconds would mean non-blocking here, not "now or never".
        sock.settimeout(left if left is None or left > 0 else 1e-6)
        sock.connect(name)  # type: ignore[arg-type]
        refuse_itself(sock)
        sock.setblocking(False)
        tune(sock)
    except socket.timeout:
        sock.close()
        raise ConnectionLost(f"cannot connect to {address}: no answer in time") from None
    except OSError as error:
        sock.close()
        raise ConnectionLost(f"cannot connect to {address}: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    return sock


class Link:
    """One connection and what was received on it. One thread may read while another writes; neither needs a lock.

    The descriptor is closed by whoever is the last inside: closed under another thread's poll, it would leave that
    thread waiting on a number which the next socket of the program may get.
    """

    __slots__ = ("_closed", "_cut", "_readable", "_reading", "_received", "_socket", "_writable", "_writing")

    def __init__(self, sock: socket.socket, frame_limit: int) -> None:
        self._socket = sock
        self._received = FrameBuffer(frame_limit)
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(sock, select.POLLOUT)
        self._closed = False
        self._cut = False
        self._reading = False
        self._writing = False

    def fileno(self) -> int:
        """The descriptor, or -1 when it is closed."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Hand all of it to the kernel, however long that takes. Raises ConnectionLost."""
        self._writing = True
        try:
            if self._cut:
                raise ConnectionLost("an earlier send ended within a packet")
            rest = memoryview(data)
            while rest:
                if self._closed:
                    raise ConnectionLost("not connected")
                # Stays so when a signal's exception gets us out of here: behind half a packet nothing can be sent.
                self._cut = True
                try:
                    rest = rest[self._socket.send(rest, NO_SIGNAL) :]
                except BlockingIOError:
                    self._cut = len(rest) < len(data)
                    _wait(self._writable, None)
                except OSError as error:
                    raise _lost(error) from error
            self._cut = False
        finally:
            self._writing = False
            if self._closed:
                self._release()

    def recv_frame(self, deadline: Deadline) -> bytes:
        """The next whole frame's payload.

        Raises TimeoutError (what has come of a frame is kept for the next call), ConnectionLost (when every whole frame
        received was given out), FrameTooLarge (from then on, always).
        """
        if self._closed:
            raise ConnectionLost("not connected")
        payload = self._received.pop()
        while payload is None:
            data = self._recv(RECEIVE_SIZE, deadline)
            if not data:
                raise ConnectionLost("the server closed the connection")
            self._received.feed(data)
            payload = self._received.pop()
        return payload

    def recv_exactly(self, size: int, deadline: Deadline) -> bytes:
        """So many bytes and not one more, for the handshake: what stands behind it is left for recv_frame.

        Raises EOFError when the server closes its side before the first of them, TimeoutError (what was read is gone),
        ConnectionLost.
        """
        data = b""
        while len(data) < size:
            chunk = self._recv(size - len(data), deadline)
            if not chunk:
                raise ConnectionLost("the server closed the connection") if data else EOFError("nothing more comes")
            data += chunk
        return data

    def _recv(self, size: int, deadline: Deadline) -> bytes:
        """At least one byte, or b"" when the other side has closed. Raises TimeoutError, ConnectionLost."""
        self._reading = True
        try:
            while not self._closed:
                try:
                    data = self._socket.recv(size)
                except BlockingIOError:
                    if _wait(self._readable, deadline):
                        continue
                    raise TimeoutError("nothing whole was received in time") from None
                except ConnectionLost:  # a socket that knows more of the end
                    raise
                except OSError as error:  # the kernel's own ETIMEDOUT, a TimeoutError too, among them
                    raise _lost(error) from error
                if not self._closed:
                    return data
            raise ConnectionLost("not connected")
        finally:
            self._reading = False
            if self._closed:
                self._release()

    def give_up(self) -> list[bytes]:
        """Close, and return every whole frame not given out: received, or still on its way from a live server.

        We say that we send no more and read on until the server does the same, for at most half a second; so a
        connection given up while it is well loses nothing in either direction. One that is lost does not wait.
        """
        frames = []
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + FAREWELL_SECS
        with contextlib.suppress(FrameTooLarge):
            with contextlib.suppress(TimeoutError, ConnectionLost):
                while time.monotonic() < deadline:
                    frames.append(self.recv_frame(deadline))
            frames.extend(self._received)
        self.close()
        return frames

    def close(self, goodbye: bool = False) -> None:
        """Idempotent, from any thread: whoever is blocked in a call gets ConnectionLost.

        With a goodbye the server is told that nobody comes back (SPEC 5.4), if the connection is well and has room.
        """
        if self._closed:
            return
        self._closed = True
        # Within a packet it would be a part of that. Who begins to send one now finds the link closed before.
        if goodbye and not self._writing and not self._cut:
            with contextlib.suppress(OSError):
                self._socket.send(GOODBYE, NO_SIGNAL)
        # Wakes a poll in another thread, which closing the descriptor would not.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._release()

    def _release(self) -> None:
        if self._reading or self._writing:
            return
        close_gently(self._socket)


def _lost(error: OSError) -> ConnectionLost:
    return ConnectionLost(f"the connection is lost: {error.strerror or error}")


def _wait(poll: select.poll, deadline: Deadline) -> bool:
    """Whether to try again: something has come, or there is time left."""
    left = remaining(deadline)
    ready = poll.poll(math.ceil(1000 * (LONGEST_POLL if left is None else min(left, LONGEST_POLL))))
    return bool(ready) or left is None or left > LONGEST_POLL
