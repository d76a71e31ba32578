"""Clients with datagrams of real servers, and a master that sends back what comes from them.

client, wire = sealed_client(server.address)
talk = Talk(master, wire); talk.some(20); talk.finish()
"""

from __future__ import annotations

import os
import select
import socket
from collections import defaultdict
from typing import Protocol

from kit.datagram_client import ASK, CHALLENGE, PONG, Offer, Sealed, Wire
from kit.raw_master import DATA, RawMaster, tagged
from kit.raw_records import RawRecordClient
from kit.wait import wait_until

DATAGRAM = 4


def ask(client: RawRecordClient, host: str = "127.0.0.1") -> Wire:
    """The datagrams of a client, from an address that the server has validated."""
    seed, before = os.urandom(32), len(client.endpoint.offers)
    client.record(ASK, seed)
    while len(client.endpoint.offers) == before:
        assert client.step(), "closed instead of an offer"
    offer = Offer.of(client.endpoint.offers[-1])
    assert offer.port, "no datagrams here"
    wire = Wire(Sealed(client.session.secret, seed, offer.seed), (host, offer.port))
    wire.ping()
    wait_until(lambda: bool(wire.pump()) and any(got.kind == CHALLENGE for got in wire.heard), "a challenge")
    pongs = sum(got.kind == PONG for got in wire.heard)
    wire.ping()  # which comes behind the response
    wait_until(lambda: bool(wire.pump()) and sum(got.kind == PONG for got in wire.heard) > pongs, "a pong")
    return wire


def sealed_client(address: str) -> tuple[RawRecordClient, Wire]:
    """A new client that has them."""
    client = RawRecordClient(address).enter()
    return client, ask(client)


class Plain:
    """A program that knows nothing of the server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition("//")[2].rpartition(":")
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((host, int(port)))
        self.sock.setblocking(False)
        self.got: list[bytes] = []

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self.sock.send(body)

    def pump(self) -> int:
        count = 0
        while True:
            try:
                self.got.append(self.sock.recv(2048))
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self.sock.close()


class Sender(Protocol):
    """A `Wire`, or a `Plain`."""

    sock: socket.socket
    got: list[bytes]

    def send(self, *bodies: bytes) -> None: ...

    def pump(self) -> int: ...


class Talk:
    """Numbered datagrams of some clients, each sent back by the master in the way in which it came."""

    def __init__(self, master: RawMaster, *senders: Sender) -> None:
        self._master = master
        self._senders = senders
        self.sent = 0
        self.came: defaultdict[int, list[bytes]] = defaultdict(list)
        """At the master, by client."""

    def some(self, count: int = 1) -> None:
        """One more of everybody, and what is there by then."""
        for _ in range(count):
            for sender in self._senders:
                sender.send(b"%d" % self.sent)
            self.sent += 1
            self.turn()

    def turn(self) -> None:
        master = self._master
        assert master.link is not None
        waiting = [master.link, *(sender.sock for sender in self._senders)]
        wait = 0.005
        while master.inbox or master.link in select.select(waiting, [], [], wait)[0]:
            wait, packet = 0.0, master.recv()
            assert packet.flag in (DATA, DATAGRAM), packet
            self.came[packet.client_id].append(packet.data)
            master.send_raw(tagged(packet.client_id, packet.data, packet.flag))
        for sender in self._senders:
            sender.pump()

    def finish(self) -> None:
        """Everything has come, there and back; each once."""
        expected = [b"%d" % number for number in range(self.sent)]

        def done() -> bool:
            self.turn()
            return all(len(sender.got) >= self.sent for sender in self._senders)

        wait_until(done, "everything back")
        assert len(self.came) == len(self._senders), "each is one client"
        for bodies in (*self.came.values(), *(sender.got for sender in self._senders)):
            assert sorted(bodies, key=int) == expected
