"""Between the listening sockets and the clients: lets a connection in, or ends it before it has cost anything.

A connection that is refused is reset at once, and was never watched. Where proxies forward the connections, the header
that says whose connection it is comes first; what is behind it is left in the socket for the handshake.
"""

from __future__ import annotations

import socket
from typing import Callable

from ..config import Listener
from ..core.admission import Admission, Source
from ..core.networks import Networks, plain, shown
from ..net.peers import name_of, packed_of
from ..net.poller import WRITE
from ..net.reactor import Reactor
from ..net.sockets import reset_on_close
from ..reasons import CloseReason
from ..wire.proxy import MAX_HEADER, ProxyHeader, read_header
from .connection_log import ConnectionLog

TakeIn = Callable[[socket.socket, str, Source], None]


class Gate:
    """`on_client(sock, peer, source)` gets whoever may come in: the socket, its name, and whom to tell how it goes on.

    With `listener.proxy_protocol` "required" every connection has to come from one of the proxies' networks, or on a
    unix socket, and begins with a PROXY header; with "off" none does.
    """

    def __init__(
        self,
        reactor: Reactor,
        admission: Admission,
        log: ConnectionLog,
        on_client: TakeIn,
        listener: Listener,
    ) -> None:
        self.reactor = reactor
        self.admission = admission
        self.log = log
        self._on_client = on_client
        self.arrivals: dict[Arrival, None] = {}
        """Connections whose header has not come yet."""
        admission.on_ban = self._on_ban
        self.configure(listener)

    def configure(self, listener: Listener) -> None:
        """Go by these settings, from the next connection on."""
        self.proxy_secs = listener.proxy_secs
        self._proxies = Networks(listener.proxy_networks) if listener.proxy_protocol == "required" else None

    def accept(self, sock: socket.socket, address: object) -> None:
        """A new connection, with the address that `accept` gave."""
        admission, name = self.admission, name_of(address)
        if self._proxies is not None:
            packed = packed_of(address)
            if packed and plain(packed) not in self._proxies:
                self._refuse(sock, name, CloseReason.PROXY_UNTRUSTED)
                return
            answer = admission.admit(b"", self.reactor.now)
        else:
            answer = admission.admit(packed_of(address) if admission.wants_addresses else b"", self.reactor.now)
        if isinstance(answer, CloseReason):
            self._refuse(sock, name, answer)
        else:
            self._hand_over(self._on_client if self._proxies is None else self._await_header, sock, name, answer)

    def take_in(self, sock: socket.socket, name: str, source: Source) -> None:
        """Hand a connection over that is known to be a client's."""
        self._hand_over(self._on_client, sock, name, source)

    def _await_header(self, sock: socket.socket, name: str, source: Source) -> None:
        Arrival(self, sock, name, source)

    def _hand_over(self, receiver: TakeIn, sock: socket.socket, name: str, source: Source) -> None:
        """Whoever gets a connection tells its source of the end of it; if it cannot be taken, nobody else would."""
        try:
            receiver(sock, name, source)
        except Exception:
            source.left(CloseReason.INTERNAL_ERROR, False, 0.0, self.reactor.now)
            raise

    def close(self) -> None:
        """Wait for nobody's header any more."""
        for arrival in list(self.arrivals):
            arrival.close(CloseReason.SHUTDOWN)

    def _on_ban(self, network: str) -> None:
        self.log.banned(network, self.admission.limits.ban_secs)

    def _refuse(self, sock: socket.socket, name: str, reason: CloseReason) -> None:
        reset_on_close(sock)
        sock.close()
        self.log.refused(reason, name)


class Arrival:
    """A proxy's connection whose header has not come yet; as a handler of the reactor it reads that, and no more."""

    __slots__ = ("_gate", "_name", "_received", "_since", "_sock", "_source", "_timer")

    def __init__(self, gate: Gate, sock: socket.socket, name: str, source: Source) -> None:
        self._gate = gate
        self._sock: socket.socket | None = sock
        self._name = name
        self._source = source
        self._received = b""
        self._since = gate.reactor.now
        gate.reactor.add(sock.fileno(), self)
        self._timer = gate.reactor.call_later(gate.proxy_secs, self._expired)
        gate.arrivals[self] = None

    def on_event(self, mask: int) -> None:
        """Look at what is there before taking it: the bytes behind the header are the handshake's."""
        sock = self._sock
        while sock is not None and mask & ~WRITE:
            try:
                seen = sock.recv(MAX_HEADER - len(self._received), socket.MSG_PEEK)
            except BlockingIOError:
                self._gate.reactor.drained(sock)
                return
            header = read_header(self._received + seen) if seen else None
            if header is not None:
                sock.recv(header.size - len(self._received))
                self._come_in(sock, header)
                return
            if not seen:
                self.close(CloseReason.PEER_CLOSED)
                return
            self._received += sock.recv(len(seen))

    def on_flush(self) -> None:
        """Nothing is ever queued here."""

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """It does not get in."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        gate, now = self._gate, self._gate.reactor.now
        self._stop_waiting()
        reset_on_close(sock)
        gate.reactor.remove(sock)
        gate.log.closed(reason, 0, self._name, detail or "before its PROXY header")
        self._source.left(reason, False, now - self._since, now)

    def _come_in(self, sock: socket.socket, header: ProxyHeader) -> None:
        gate = self._gate
        if header.address:
            self._name = shown(header.address, header.port)
            if gate.admission.wants_addresses:
                answer = gate.admission.identify(header.address, gate.reactor.now)
                if isinstance(answer, CloseReason):
                    self.close(answer)
                    return
                self._source = answer
        self._stop_waiting()
        gate.reactor.release(sock)
        self._sock = None
        try:
            gate.take_in(sock, self._name, self._source)
        except Exception:
            sock.close()
            raise

    def _stop_waiting(self) -> None:
        self._gate.reactor.cancel(self._timer)
        del self._gate.arrivals[self]

    def _expired(self, now: float) -> None:
        self.close(CloseReason.PROXY_TIMEOUT)
