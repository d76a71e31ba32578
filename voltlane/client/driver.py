"""Moves an endpoint of version 3: the line that carries it at present, and the threads that wait for something.

One lock guards both. A call handles what comes until it has what it wants; of several threads one waits at the socket,
reads, and tells the others when something has changed. There is no thread of the library's own, so between calls
nothing is done.
"""

from __future__ import annotations

import contextlib
import math
import socket
import time
from threading import Condition
from typing import Callable, NoReturn, TypeVar

from ..address import Address
from ..errors import BadRecord, ConnectionLost, ProtocolError, ServerKeyChanged, SessionLost
from ..net.deadlines import Deadline, deadline_after, remaining
from ..wire.v3 import DatagramsOffer, may_return
from .backoff import Backoff
from .datagram_socket import DatagramSocket
from .endpoint import Endpoint, Phase
from .line import Line
from .link import look_up
from .secure import Trust

FAREWELL_SECS = 0.5
"""How long, behind our close, the server's end is waited for."""
ALONE_SECS = 0.25
"""Without a connection, how long datagrams are waited for until it is looked whether another thread has made one."""
DATAGRAM_BATCH = 256
"""Datagrams taken at once."""
AIM_SECS = 1.0
"""Until it is looked up again where datagrams go, if nobody knew."""

_T = TypeVar("_T")


class Driver:
    """One session's. Everything but the constructor is to be called under `lock`."""

    def __init__(
        self,
        endpoint: Endpoint,
        address: Address,
        timeout: float | None,
        welcomed: Callable[[], object],
        trust: Trust | None = None,
        on_reached: Callable[[], object] | None = None,
    ) -> None:
        """`timeout`: seconds for a connection with its handshake. `welcomed` keeps what a welcome brought: it is called
        before that is confirmed, and when it raises, that is not. `on_reached`: see Connection."""
        self.lock = Condition()
        self.endpoint = endpoint
        self.heals = False
        """Whether a lost connection is replaced without being asked to."""
        self.closed = False
        self.loss: ConnectionLost | ProtocolError | None = None
        """Why there is no connection."""
        self.over: SessionLost | None = None
        """Why there will be none."""
        self._address = address
        self._trust = trust
        self._on_reached = on_reached
        self._timeout = timeout
        self._welcomed = welcomed
        self._line: Line | None = None
        self._socket = DatagramSocket()
        self._offer: DatagramsOffer | None = None
        """Where the socket sends to."""
        self._aims_at = 0.0
        """When that may be looked up again."""
        self._waiting = False
        """Whether a thread waits at the socket: it alone reads."""
        self._alone = False
        """Whether a thread waits for datagrams alone."""
        self._looking = False
        """Whether a thread looks up the address."""
        self._live_by: Deadline = None
        self._backoff = Backoff()

    # ---- what callers ask

    @property
    def connected(self) -> bool:
        """Whether there is a connection, or one is being made."""
        return self._line is not None or self._looking

    @property
    def pause(self) -> float:
        """Seconds until the next attempt should be made."""
        return max(0.0, self._backoff.at - time.monotonic())

    def fileno(self) -> int:
        """The descriptor, or -1."""
        line = self._line
        return -1 if line is None else line.fileno()

    def datagram_fileno(self) -> int:
        """The descriptor for datagrams, or -1."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something waits for room in the network."""
        line = self._line
        if line is None:
            return False
        return line.wants_write or (line.connected and bool(self.endpoint.output))

    def refuse_lost(self) -> None:
        """Raises why nothing can go on: closed, over, or (unless that is healed here) not connected."""
        if self.closed:
            raise ConnectionLost("not connected: closed by this side")
        if self.over is not None:
            raise self.over.with_traceback(None)
        if self.connected or self.loss is None:
            return
        if not self.heals:
            raise self.loss.with_traceback(None)
        if not isinstance(self.loss, ConnectionLost) or isinstance(self.loss, ServerKeyChanged):
            loss, self.loss = self.loss, ConnectionLost("not connected")  # said once; then it is tried again
            raise loss

    def until(self, done: Callable[[], _T | None], deadline: Deadline, why: Callable[[], str]) -> _T:
        """Handle what comes until `done` has something. Raises TimeoutError, what `done` does, and what `welcomed`
        does."""
        while True:
            self._go_on()
            result = done()
            if result is not None:
                return result
            left = remaining(deadline)
            if left == 0.0:
                raise TimeoutError(why())
            self._wait(left)

    def write_out(self, deadline: Deadline) -> None:
        """Hand what may go out to the system. A loss is no failure here: what is queued goes out later."""
        self._go_on()
        while self.endpoint.output and self.endpoint.phase is Phase.LIVE and remaining(deadline) != 0.0:
            self._wait(remaining(deadline))
            self._go_on()

    def send_datagram(self, packet: bytes) -> bool:
        """Whether it is on its way. Raises ValueError when it is too large for a datagram."""
        datagrams = self.endpoint.datagrams
        self._go_on()  # else a program that only sends these would never hear that it has to ask for them anew
        datagram = datagrams.seal(packet, time.monotonic())
        sent = datagram is not None and self._socket.send(datagram)
        if sent:
            datagrams.link.sent += 1
        else:
            datagrams.link.unsent += 1
        return sent

    # ---- connections

    def connect(self, deadline: Deadline) -> None:
        """Begin a new connection, to be live by then, or earlier. Raises ConnectionLost. The lock is open while the
        name is looked up."""
        limit = deadline_after(self._timeout)
        self._looking = True
        self.lock.release()
        try:
            targets = look_up(self._address)
        finally:
            self.lock.acquire()
            self._looking = False
            self.lock.notify_all()
        if self.closed:
            raise SessionLost("the connection was closed by this side")
        if self._line is not None:  # another thread was faster: its connection is as good
            self._live_by = _soonest(self._live_by, limit, deadline)
            return
        self._line = Line(self._address, targets, self._trust, self._on_reached)
        self.loss = None
        self._live_by = _soonest(limit, deadline)
        self.endpoint.connect(time.monotonic())

    def hang_up(self, code: int, wait: float = 0.0) -> None:
        """Our close, if the connection is well, and its end. `wait`: seconds for the server's."""
        line = self._line
        if line is not None and self.endpoint.phase is Phase.LIVE:
            self.endpoint.close(code)
            with contextlib.suppress(ConnectionLost):
                line.write(self.endpoint.output)
            if wait and not self.endpoint.output:
                line.finish(wait)
        self._drop()

    def lose(self, error: ConnectionLost | ProtocolError) -> None:
        """There is no connection any more."""
        self.loss = error
        if isinstance(error, SessionLost):
            self.over = error
            self.end_datagrams()
        self._backoff.lost(time.monotonic())
        self._drop()

    def end_datagrams(self) -> None:
        """There will be no more."""
        self.endpoint.datagrams.end()
        self._socket.forget()

    def _drop(self) -> None:
        line, self._line = self._line, None
        self.endpoint.lost()
        if line is not None:
            line.close()
        self.lock.notify_all()

    # ---- what goes on meanwhile

    def _go_on(self) -> None:
        """Do what can be done at once. What ends the connection is kept in `loss`, since what has come before that
        comes first."""
        try:
            if self.heals and not (self.connected or self.closed or self.over or self.pause):
                self.connect(None)
            if self._line is not None:
                self._turn(self._line)
        except (ConnectionLost, ProtocolError) as error:
            self.lose(error)
        except BaseException:
            # Whatever was half done is done again over the next connection.
            self.lose(ConnectionLost("the connection was given up: a call was interrupted"))
            raise
        self._turn_datagrams()

    def _turn(self, line: Line) -> None:
        """Read, if nobody else is to, what is there; write what there is room for. Raises what ends the connection."""
        endpoint, before = self.endpoint, self.endpoint.phase
        try:
            if self._waiting:
                endpoint.pump(time.monotonic())
            elif line.connect():
                self._read(line)
            while endpoint.output and line.connected:
                self._write(line)
                if endpoint.output or not endpoint.sendable:
                    break
                endpoint.pump(time.monotonic())
        except BadRecord as error:
            raise ConnectionLost(f"the connection is lost: {error}") from error
        except ProtocolError as error:
            with contextlib.suppress(ConnectionLost):
                line.write(endpoint.output)  # which says what was wrong
            if self.heals and before is Phase.HELLO:  # anybody can say that
                raise ConnectionLost(f"what answers at {self._address} is no connection server: {error}") from error
            raise
        if endpoint.phase is not Phase.LIVE and remaining(self._live_by) == 0.0:
            what = "did not finish the handshake in time" if line.connected else "does not answer in time"
            raise ConnectionLost(f"{self._address} {what}")

    def _write(self, line: Line) -> None:
        """What there is room for. What the server said before it went comes before the news that it is gone."""
        try:
            line.write(self.endpoint.output)
        except ConnectionLost:
            self.endpoint.output.clear()
            if self._waiting:
                return  # who waits at the socket reads it
            while self._read(line):
                pass
            raise

    def _read(self, line: Line) -> bool:
        """Take what is there, and do what is due. Whether there was anything."""
        endpoint, before = self.endpoint, self.endpoint.phase
        try:
            data = line.read()
        except ConnectionLost as error:
            if before is Phase.LIVE:
                raise
            raise ConnectionLost(f"{error}, during the handshake with {self._address}") from error
        if data is None:
            endpoint.tick(time.monotonic())
            return False
        self.lock.notify_all()
        endpoint.receive(data, time.monotonic())
        if endpoint.phase is Phase.WELCOMED:
            self._welcomed()
            endpoint.confirm(time.monotonic())
        if before is not Phase.LIVE and endpoint.phase is Phase.LIVE:
            self._backoff.connected(time.monotonic())
        if endpoint.closed is not None:
            self._closed_by_server()
        return True

    def _closed_by_server(self) -> NoReturn:
        close = self.endpoint.closed
        assert close is not None
        said = f"{close.text} (code {close.code})" if close.text else f"code {close.code}"
        if may_return(close.code):
            raise ConnectionLost(f"the server closed the connection: {said}", code=close.code, text=close.text)
        raise SessionLost(
            f"the session is over: {said}",
            code=close.code,
            text=close.text,
            taken=close.taken,
            safe=close.safe,
            unsent=tuple(packet for _, packet in self.endpoint.memory.retention.packets()),
        )

    def _turn_datagrams(self) -> None:
        """Take what is there, do what is due, and send what comes of both."""
        datagrams, now = self.endpoint.datagrams, time.monotonic()
        if datagrams.offer is None:
            if self._offer is not None:  # whatever comes there now is nothing of ours, and nobody would read it
                self._offer = None
                self._socket.forget()
            return
        if datagrams.offer is not self._offer and now >= self._aims_at:
            self._aim(datagrams.offer)
            now = time.monotonic()
        for _ in range(DATAGRAM_BATCH):
            datagram = self._socket.receive()
            if datagram is None:
                break
            datagrams.receive(datagram, now)
            self.lock.notify_all()
        unheard = datagrams.unheard
        datagrams.tick(now)
        if datagrams.unheard > max(unheard, 1):  # nobody may be at this address of the server's
            self._socket.try_next()
        while datagrams.output:
            self._socket.send(datagrams.output.popleft())

    def _aim(self, offer: DatagramsOffer) -> None:
        """Send to where the server has said; where that is not known now, to where it was before, and look again
        later. The lock is open while a name is looked up."""
        self._aims_at = math.inf  # nobody else does meanwhile
        if offer.host:
            self.lock.release()
            try:
                targets = look_up(Address("tcp", offer.host, offer.port, ""))
            except ConnectionLost:
                targets = []
            finally:
                self.lock.acquire()
        else:
            peer = None if self._line is None else self._line.peer
            targets = [] if peer is None else [_with_port(*peer, offer.port)]
        self._aims_at = 0.0 if targets else time.monotonic() + AIM_SECS
        if targets and self.endpoint.datagrams.offer is offer and not self.closed:
            self._offer = offer
            self._socket.aim(targets)

    def _wait(self, left: float | None) -> None:
        """Until something has changed, or may have; at most so many seconds. The lock is open meanwhile."""
        line, endpoint, now = self._line, self.endpoint, time.monotonic()
        live = endpoint.phase is Phase.LIVE
        reading, writing = not self._waiting, bool(endpoint.output) and (live or not self._waiting)
        pings_at = endpoint.datagrams.due()
        if line is None and self._socket.fileno() >= 0 and not self._alone:
            self._wait_alone(_soonest(left, None if pings_at is None else pings_at - now))
            return
        if line is None or not (reading or writing):
            pause = None if self.connected or not self.heals else self.pause
            self.lock.wait(_soonest(left, pause))
            return
        times = [endpoint.due(now), None if live else self._live_by, pings_at]
        waits = [left, *(None if at is None else max(0.0, at - now) for at in times)]
        self._waiting = self._waiting or reading
        self.lock.release()
        try:
            line.wait(
                reading,
                writing,
                min((secs for secs in waits if secs is not None), default=None),
                self._socket if reading else None,
            )
        finally:
            self.lock.acquire()
            if reading:
                self._waiting = False
                self.lock.notify_all()

    def _wait_alone(self, left: float | None) -> None:
        """For datagrams, while there is no connection."""
        pause = self.pause if self.heals else None
        self._alone = True
        self.lock.release()
        try:
            self._socket.wait(max(0.0, _soonest(left, pause, ALONE_SECS) or 0.0))
        finally:
            self.lock.acquire()
            self._alone = False


def _with_port(family: int, name: object, port: int) -> tuple[int, object]:
    """The same host, with another port; of a unix socket it is this machine."""
    if isinstance(name, tuple):
        return family, (name[0], port, *name[2:])
    return socket.AF_INET, ("127.0.0.1", port)


def _soonest(*times: float | None) -> float | None:
    """Of those that there are."""
    return min((at for at in times if at is not None), default=None)
