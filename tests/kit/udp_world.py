"""A world with a UDP port on loopback: the clock is the test's, the datagrams are real."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kit.datagram_client import ASK, Offer, Sealed, Wire
from kit.record_world import RecordClient, enter
from kit.world import World

from voltlane.address import parse_listener
from voltlane.lanes.udp.lane import UdpLane

HOST = "127.0.0.1"


class UdpWorld(World):
    """Its port is open; `plain` sockets and `wires` are pumped like all else."""

    def __init__(self, mode: str = "sessions", settings: Mapping[str, object] | None = None) -> None:
        listening = ["udp://127.0.0.1:0"] if mode == "open" else ["127.0.0.1:0", "udp://127.0.0.1:0"]
        self.wires: list[Wire] = []
        self.strangers: list[socket.socket] = []
        super().__init__({"listener.address": listening, "udp.mode": mode, **(settings or {})})
        self.udp.open([parse_listener("udp://127.0.0.1:0")])

    @property
    def udp(self) -> UdpLane:
        found = self.server.datagrams
        assert found is not None
        return found

    @property
    def place(self) -> tuple[str, int]:
        """Where datagrams go."""
        return HOST, self.udp.addresses[0].port

    @property
    def dropped(self) -> dict[str, int]:
        """By the names of their reasons."""
        return {reason.name: count for reason, count in self.server.counters.datagrams_dropped.items() if count}

    def socket(self, host: str = HOST) -> socket.socket:
        """Somebody's who knows nothing of us."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.connect(self.place)
        sock.setblocking(False)
        self.strangers.append(sock)
        return sock

    def ask(self, client: RecordClient) -> Sealed:
        """A client of version 3 asks for datagrams."""
        seed, before = os.urandom(32), len(client.endpoint.offers)
        client.say(client.endpoint.record(ASK, seed))
        self.settle()
        assert len(client.endpoint.offers) == before + 1
        return Sealed(client.session.secret, seed, Offer.of(client.endpoint.offers[-1]).seed)

    def wire(self, client: RecordClient) -> Wire:
        """Its datagrams, from an address of which nobody has heard."""
        wire = Wire(self.ask(client), self.place)
        self.wires.append(wire)
        return wire

    def settled_wire(self, client: RecordClient) -> Wire:
        """The same, once its address is validated."""
        wire = self.wire(client)
        wire.ping()
        self.settle()
        assert self.udp.channel_of(client.session.id).path is not None  # type: ignore[attr-defined]
        return wire

    def new_wire(self) -> tuple[RecordClient, Wire]:
        """A new client with datagrams."""
        client = enter(self)
        return client, self.settled_wire(client)

    def pump(self) -> int:
        return super().pump() + sum(wire.pump() for wire in self.wires)


@contextmanager
def udp_world(mode: str = "sessions", settings: Mapping[str, object] | None = None) -> Iterator[UdpWorld]:
    """One with a master, of which nothing is left at the end."""
    made = UdpWorld(mode, settings)
    made.connect_master()
    made.settle()
    try:
        yield made
        made.master.reading = True
        made.settle()
        if made.udp.peers:
            made.pass_(made.server.config.udp.idle_secs + 5)
        made.udp.close()
        made.end()
    except BaseException:
        made.abandon()
        raise
    finally:
        for one in [*made.wires, *made.strangers]:
            one.close()


def taken(sock: socket.socket) -> list[bytes]:
    """Everything that has come there."""
    found = []
    while True:
        try:
            found.append(sock.recv(1 << 16))
        except BlockingIOError:
            return found
