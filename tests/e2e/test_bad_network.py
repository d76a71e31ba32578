"""The client library and the real server with a bad network between them, version 2: connections are cut, reset,
half-closed, dripped, delayed and stalled at random bytes, and the client comes back each time.

What must hold, however it goes (README, "What it guarantees"): the id stays; nothing comes twice, and nothing out of
order, in either direction; and only what was under way when a connection died may be missing. Version 3 has
test_lossless.py.
"""

from __future__ import annotations

import random
import time

import pytest
from kit.fault_proxy import End, FaultProxy, Faults, Link
from kit.process import BackendProcess, ServerProcess

from voltlane.client import Connection
from voltlane.errors import ConnectionLost

ROUNDS, BURST = 60, 8
SILENCE_SECS = 0.2
"""A connection that brings nothing for so long, although something must come, is given up."""
ATTEMPTS = 60
HANDSHAKE = 120
"""Bytes that a handshake is sure to take, either way."""


def faults(choose: random.Random) -> Faults:
    """Of one direction: most are cut, somewhere between the first byte and some thousands behind the handshake."""
    return Faults(
        delay=choose.choice([0.0, 0.0, 0.003]),
        piece=choose.choice([0, 0, 5, 40]),
        pause=0.0002,
        cut_at=choose.choice([-1, choose.randrange(HANDSHAKE), choose.randrange(4000), choose.randrange(4000)]),
        cut_by=choose.choice(list(End)),
        stall_at=choose.choice([-1, -1, -1, choose.randrange(3000)]),
    )


class Player:
    """Sends numbered packets that come back, over as many connections as it takes."""

    def __init__(self, address: str) -> None:
        self.connection = Connection(address, timeout=2.0, protocol=2)
        self.sent = 0
        self.got: list[int] = []
        self.may_miss: set[int] = set()
        self.losses = 0

    def send(self, count: int) -> None:
        for _ in range(count):
            payload = self.sent.to_bytes(4, "big") + b"." * (self.sent * 37 % 150)
            self.sent += 1
            try:
                self.connection.send(payload)
            except ConnectionLost:
                self.come_back()

    def receive(self) -> None:
        """Until the last one sent is back; a connection that falls silent before that is given up."""
        while not self.got or self.got[-1] != self.sent - 1:
            try:
                payload = self.connection.recv(SILENCE_SECS)
            except (ConnectionLost, TimeoutError):
                self.come_back()
                if self.sent - 1 in self.may_miss:
                    return
                continue
            number = int.from_bytes(payload[:4], "big")
            assert not self.got or number > self.got[-1], f"{number} behind {self.got[-1]}"
            assert len(payload) == 4 + number * 37 % 150
            self.got.append(number)

    def come_back(self) -> None:
        """Resume; what was sent and is not back may have been on the dead connection."""
        self.losses += 1
        self.may_miss.update(range(self.got[-1] + 1 if self.got else 0, self.sent))
        for _ in range(ATTEMPTS):
            try:
                self.connection.reconnect(timeout=0.4)
                return
            except ConnectionLost:
                time.sleep(0.005)
        raise AssertionError("the network never lets it through")


@pytest.mark.parametrize("seed", range(3))
def test_a_client_behind_a_bad_network_gets_everything_once_and_in_order(seed: int) -> None:
    choose = random.Random(seed)
    script = [Link()] + [Link(faults(choose), faults(choose)) for _ in range(12)] + [Link()]
    with (
        BackendProcess() as backend,
        ServerProcess(backend.address) as server,
        FaultProxy(server.address, script) as proxy,
    ):
        player = Player(proxy.address)
        client_id = player.connection.client_id
        with player.connection:
            proxy.links[0].cut(End.RESET)
            for _ in range(ROUNDS):
                player.send(BURST)
                player.receive()
            while len(proxy.links) < len(script):  # the last connection has no faults
                player.come_back()
            player.send(1)
            player.receive()
            assert player.got[-1] == player.sent - 1, "over a good connection everything arrives"
            assert set(range(player.sent)) - set(player.got) <= player.may_miss
            assert player.connection.client_id == client_id
            assert len(player.got) > player.sent // 3
            assert player.losses > 3
