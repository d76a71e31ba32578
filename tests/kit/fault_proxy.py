"""A TCP proxy that does what bad networks do: delays, drips, stalls, cuts at byte k, half-closes, resets.

with FaultProxy(server.address, [Link(down=Faults(cut_at=100)), Link()]) as proxy:
    client = RawClient.new(proxy.address)           # its connection is cut once 100 bytes went down
    client.come_back()                              # the second connection is left alone, and all that follow

Bytes are never changed, lost or put in another order before the cut. A script is one `Link` a connection, in the order
in which they come; the last one goes for all that follow. `proxy.links[n]` can be told to do things at any time, too.
"""

from __future__ import annotations

import enum
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Callable, NamedTuple

from kit.sockets import end_hard

HELD_MOST = 1 << 18
"""Bytes that one direction holds before it stops reading, as a network's buffers would."""


class End(enum.Enum):
    """How a connection ends at its cut."""

    CLOSE = "both sides are closed"
    RESET = "both sides get a reset"
    HALF = "the receiver is told that nothing more comes; the other direction goes on"


class Faults(NamedTuple):
    """What happens to the bytes of one direction."""

    delay: float = 0.0
    """Seconds that everything is under way."""
    piece: int = 0
    """Bytes that are passed on at once (a drip); 0 as they come."""
    pause: float = 0.0
    """Seconds between two pieces."""
    cut_at: int = -1
    """Bytes that get through before the cut; -1 for no cut."""
    cut_by: End = End.CLOSE
    stall_at: int = -1
    """Bytes read before nothing more is read, until `go_on`; -1 for no stall."""


NONE = Faults()


class Direction:
    """One way of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, faults: Faults) -> None:
        self.source = source
        self.sink = sink
        self.faults = faults
        self.read = 0
        self.passed = 0
        """Bytes that got through."""
        self.ended = False
        """The source has said all it had to say."""
        self.finished = False
        """The sink knows that."""
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._next_piece = 0.0
        self._full = False  # the sink's buffer is

    @property
    def wants_read(self) -> bool:
        return not self.ended and self._held_bytes < HELD_MOST and self._room() > 0

    def _room(self) -> int:
        """Bytes that may be read before it stalls."""
        return HELD_MOST if self.faults.stall_at < 0 else self.faults.stall_at - self.read

    @property
    def wants_write(self) -> bool:
        return self._full

    @property
    def due(self) -> float | None:
        """When something can be passed on; None while there is nothing, or the sink takes nothing."""
        if self._full or not self._held:
            return None
        return max(self._held[0][0], self._next_piece)

    def fill(self, now: float) -> None:
        """Read what there is."""
        try:
            data = self.source.recv(min(1 << 16, self._room()))
        except BlockingIOError:
            return
        if data:
            self.read += len(data)
            self._held.append((now + self.faults.delay, data))
            self._held_bytes += len(data)
        else:
            self.ended = True

    def drain(self, now: float) -> bool:
        """Pass on what is due. Whether the cut is reached."""
        faults, self._full = self.faults, False
        while faults.cut_at < 0 or self.passed < faults.cut_at:
            due = self.due
            if due is None or due > now:
                break
            chunk = self._held[0][1]
            most = min(faults.piece or len(chunk), len(chunk))
            if faults.cut_at >= 0:
                most = min(most, faults.cut_at - self.passed)
            try:
                sent = self.sink.send(chunk[:most])
            except BlockingIOError:
                self._full = True
                break
            self.passed += sent
            self._held_bytes -= sent
            self._held[0] = (self._held[0][0], chunk[sent:])
            if sent == len(chunk):
                self._held.popleft()
            if faults.pause:
                self._next_piece = now + faults.pause
        return 0 <= faults.cut_at <= self.passed and not self.finished

    @property
    def is_done(self) -> bool:
        """Everything of a source that has ended got through."""
        return self.ended and not self._held

    def finish(self) -> None:
        """Tell the sink that nothing more comes."""
        if not self.finished:
            self.ended = self.finished = True
            self._held.clear()
            self._held_bytes, self._full = 0, False
            self.sink.shutdown(socket.SHUT_WR)


class Link(NamedTuple):
    """The script of one connection: `up` is from who connected, `down` to it."""

    up: Faults = NONE
    down: Faults = NONE


class Connection:
    """One proxied connection. What it is told takes effect at once."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket, script: Link) -> None:
        self._proxy = proxy
        self.client, self.server = client, server
        self.up = Direction(client, server, script.up)
        self.down = Direction(server, client, script.down)
        self.closed = False

    def cut(self, by: End = End.CLOSE) -> None:
        """End it now. `HALF` ends the way up only."""
        self._proxy.tell(lambda: self.end(by, self.up))

    def stall(self) -> None:
        """Read nothing more, in both directions."""
        self._proxy.tell(lambda: self._set(stall_at=0))

    def go_on(self) -> None:
        """Read again."""
        self._proxy.tell(lambda: self._set(stall_at=-1))

    def _set(self, **changes: int) -> None:
        for way in (self.up, self.down):
            way.faults = way.faults._replace(**changes)

    def end(self, by: End, way: Direction) -> None:
        if self.closed:
            return
        if by is End.HALF:
            way.finish()
            return
        self.closed = True
        for sock in (self.client, self.server):
            if by is End.RESET:
                end_hard(sock)
            sock.close()

    def step(self, ready: dict[int, int], now: float) -> None:
        """One turn of both directions."""
        for way in (self.up, self.down):
            if self.closed:
                return
            try:
                if way.wants_read and ready.get(way.source.fileno(), 0) & ~select.POLLOUT:
                    way.fill(now)
                if way.drain(now):
                    self.end(way.faults.cut_by, way)
                elif way.is_done:
                    way.finish()
            except OSError:  # one side is gone: the other one is told as it was
                self.end(End.RESET, way)
        if not self.closed and self.up.finished and self.down.finished:
            self.end(End.CLOSE, self.up)


class FaultProxy:
    """Listens on `address` and connects to `target`, both "host:port", in a thread of its own."""

    def __init__(self, target: str, script: Sequence[Link] = ()) -> None:
        self.point_to(target)
        self._script = list(script) or [Link()]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.links: list[Connection] = []
        """Every connection so far."""
        self.refusing = False
        """Whether whoever connects is reset at once."""
        self._told: deque[Callable[[], None]] = deque()
        self._ours, self._theirs = socket.socketpair()
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def point_to(self, target: str) -> None:
        """Whoever connects from now on gets there."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def cut_all(self) -> None:
        """Cut every connection that there is."""

        def cut() -> None:
            for link in self.links:
                link.end(End.CLOSE, link.up)

        self.tell(cut)

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset everything that is still there."""
        self.tell(self._stop)
        self._thread.join(10)
        for sock in (self._ours, self._theirs):
            sock.close()

    def tell(self, what: Callable[[], None]) -> None:
        """Have the proxy's thread do this; returns when it was done."""
        done = threading.Event()
        self._told.append(what)
        self._told.append(done.set)
        self._ours.send(b"!")
        done.wait(10)

    def _stop(self) -> None:
        self._open = False
        for link in self.links:
            link.end(End.RESET, link.up)
        self._listener.close()

    def _run(self) -> None:
        while self._open:
            ready = self._poll()
            if ready.get(self._theirs.fileno()):
                self._theirs.recv(4096)
                while self._told:
                    self._told.popleft()()
            if not self._open:
                return
            if ready.get(self._listener.fileno()):
                self._accept()
            now = time.monotonic()
            for link in self.links:
                link.step(ready, now)

    def _poll(self) -> dict[int, int]:
        """Wait until there is something to do. Descriptors, and what happened to them."""
        poll, wait = select.poll(), None
        poll.register(self._theirs, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        now = time.monotonic()
        for link in self.links:
            if link.closed:
                continue
            for way, back in ((link.up, link.down), (link.down, link.up)):
                events = (select.POLLIN if way.wants_read else 0) | (select.POLLOUT if back.wants_write else 0)
                if events:
                    poll.register(way.source, events)
                if way.due is not None:
                    left = max(0.0, way.due - now)
                    wait = left if wait is None else min(wait, left)
        return dict(poll.poll(None if wait is None else wait * 1000 + 0.5))

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        try:
            if self.refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(self._target, 5)
        except OSError:
            end_hard(client)
            client.close()
            return
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        self.links.append(Connection(self, client, server, self._script[min(len(self.links), len(self._script) - 1)]))
