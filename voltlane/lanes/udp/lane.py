"""All the UDP sockets of a server as one thing, and what both modes have in common."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from typing import Any

from ...address import Address
from ...config import Config
from ...core.counters import Counters
from ...core.datagrams.side import Datagrams
from ...core.session import Session
from ...errors import StartupError
from ...net.udp.loops import BACKEND
from ...net.udp.results import Sent
from ...net.udp.sockets import udp_socket
from ...quality import LinkQuality
from ...reasons import CloseReason, DatagramDrop
from ..clients import Clients
from .moved import Moved
from .port import Port, Queue

BATCH = 256
"""Datagrams taken from one socket before others have their turn."""
MEASURED = 512
"""Clients whose links are looked at in one go."""


class UdpLane(Datagrams):
    """One server's. Subclasses say what a datagram is."""

    backend = BACKEND
    """In which form datagrams are taken and sent."""
    mode = ""
    """As `udp.mode` has it."""
    share = (0, 1)
    """Which this process is, and of how many that have one address together."""

    def __init__(self, clients: Clients, config: Config) -> None:
        self.clients = clients
        self.reactor = clients.reactor
        self.counters: Counters = clients.counters
        self.budget = clients.budget
        self.mtu = config.udp.mtu
        self.ports: list[Port] = []
        self._cursor = 0
        self.queue_bytes = 0
        """See Owner."""
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        self.falls_back = config.udp.fallback == "stream"
        self.queue_bytes = config.udp.queue_bytes

    @property
    def channels(self) -> int:
        """How many sessions have datagrams beside their connection."""
        return 0

    @property
    def peers(self) -> int:
        """How many clients are nothing but an address."""
        return 0

    # ---- the sockets

    def open(self, addresses: Sequence[Address], kept: MutableMapping[str, socket.socket] | None = None) -> None:
        """Receive at all of these; what is bound already is taken out of `kept`, by the text of its address. Raises
        StartupError, and then receives at none of them."""
        socks: list[tuple[str, socket.socket]] = []
        try:
            for address in addresses:
                sock = None if kept is None else kept.pop(str(address), None)
                socks.append((str(address), udp_socket(address) if sock is None else sock))
        except StartupError:
            for _, sock in socks:
                sock.close()
            raise
        self.adopt(socks)

    def adopt(self, socks: Iterable[tuple[str, socket.socket]]) -> list[Port]:
        """Receive on sockets that are bound already, each with the address that it was bound for, or ""."""
        ports = [Port(self, sock, asked) for asked, sock in socks]
        self.ports += ports
        self.go_on()
        return ports

    def rest(self) -> None:
        """Another process may go on with the sockets, which may not be able to take apart what comes joined: nothing
        does from now on, and what has come so is taken."""
        if self.takes_joined:
            for port in self.ports:
                port.rest()

    def go_on(self) -> None:
        """None does, or we are that one."""
        for port in self.ports:
            port.receive_joined(self.takes_joined)

    def drop(self, asked: str) -> None:
        """Receive no more where that was asked for. Whose datagrams went that way is told, or gone."""
        for port in [port for port in self.ports if port.asked == asked]:
            self.ports.remove(port)
            self.leave_port(port)
            port.close(CloseReason.SHUTDOWN)

    def closed(self, port: Port) -> None:
        """See Owner. One that nobody has dropped was closed for an error of ours."""
        if port in self.ports:
            self.ports.remove(port)
            self.leave_port(port)

    @property
    def asked(self) -> list[str]:
        """The addresses that were asked for, of those where datagrams are received."""
        return [port.asked for port in self.ports if port.asked]

    @property
    def addresses(self) -> list[Address]:
        """Where datagrams are received."""
        return [port.address for port in self.ports]

    def close(self) -> None:
        """Receive and send no more."""
        ports, self.ports = self.ports, []
        for port in ports:
            port.on_flush()
            port.close(CloseReason.SHUTDOWN)

    # ---- for subclasses to fill in

    @property
    def takes_joined(self) -> bool:
        """Whether what one address sends at once may come in one piece."""
        raise NotImplementedError

    def receive(self, port: Port) -> bool:
        """See Owner."""
        raise NotImplementedError

    def transmit(self, port: Port, queue: Queue, offset: int) -> Sent:
        """See Owner."""
        raise NotImplementedError

    def sweep(self, slot: int, slots: int) -> tuple[Sequence[object], int]:
        """About so many clients from there on, and where to go on; 0 at the end."""
        raise NotImplementedError

    def measure(self, target: Any, now: float) -> None:
        """See Owner."""
        raise NotImplementedError

    def look_at(self, session: Session) -> None:
        """Somebody wants to know of this client's link now."""
        raise NotImplementedError

    def quality_beside(self, client_id: int) -> LinkQuality | None:
        """How good the way is that a client's datagrams go beside its connection, where they go one."""
        return None

    def leave_port(self, port: Port) -> None:
        """That one is closed."""
        raise NotImplementedError

    # ---- from one process to another

    def moved(self) -> Iterator[Moved]:
        """Everybody's, for the process that follows. What a socket has not taken yet does not go along."""
        raise NotImplementedError

    def move_in(self, moved: Moved, port: Port, session: Session) -> None:
        """Go on with what another process had, by that port, for a session that has come. Raises ValueError."""
        raise NotImplementedError

    # ---- for both

    def measure_some(self, now: float) -> None:
        """Look at the next ones' links, as somebody is interested in them."""
        targets, self._cursor = self.sweep(self._cursor, MEASURED)
        for target in targets:
            self.measure(target, now)

    def pass_on(self, chunk: bytes, packets: int, size: int) -> None:
        """Tagged packets have come, in datagrams of so many bytes."""
        counters, trunk = self.counters, self.clients.trunk
        counters.datagrams_up += packets
        counters.datagram_bytes_up += size
        if trunk.full:
            counters.datagrams_dropped[DatagramDrop.TRUNK_FULL] += packets
        elif chunk:
            trunk.push(chunk, packets)

    def count(self, drops: dict[DatagramDrop, int]) -> None:
        """These were dropped, if any were."""
        if drops:
            self.counters.datagrams_dropped.update(drops)

    def drop_one(self, reason: DatagramDrop) -> None:
        """One was dropped."""
        self.counters.datagrams_dropped[reason] += 1
