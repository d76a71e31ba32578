"""The process of the attackers: `python -m bench.siege.attackers`. What to do stands in a line of JSON on its standard
input, until the end of which it goes on.

They come from 250 loopback addresses of their own, and at a low priority: elsewhere they would have machines of their
own, and here the server's processor is what they want.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from typing import Any

from bench.machine import raise_descriptor_limit

from .attacks import ATTACKS, IN, NOT_NOW, OUT, Attack, HalfResume, Peer
from .lanes import LANES
from .nobody import DATAGRAM_ATTACKS, DatagramAttack

SOURCES = 250
TICK_SECS = 0.01
NICE = 10
_NO_PORT_YET = 24  # IP_BIND_ADDRESS_NO_PORT: a name for it came with Python 3.12 only


class Attackers:
    """All attacks in one loop."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._port = given["port"]
        self._poller = select.epoll()
        self._count = 0
        self._peers: dict[int, Peer] = {}
        HalfResume.victims = tuple(given["victims"])
        lane, share, caught = LANES[given["lane"]], given["share"], [bytes.fromhex(text) for text in given["caught"]]
        self.attacks: dict[str, Attack | DatagramAttack] = {
            name: ATTACKS[name](self._connect, share, lane) if name in ATTACKS
            else DATAGRAM_ATTACKS[name](tuple(given["place"]), share, caught)
            for name in given["attacks"]
        }  # fmt: skip

    def _connect(self, attack: Attack) -> Peer | None:
        sock = socket.socket()
        sock.setblocking(False)
        self._count += 1
        try:
            sock.setsockopt(socket.SOL_IP, _NO_PORT_YET, 1)
            if attack.receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, attack.receive_buffer)
            sock.bind((f"127.0.1.{1 + self._count % SOURCES}", 0))
            error = sock.connect_ex(("127.0.0.1", self._port))
        except OSError as failure:
            error = failure.errno or 0
        if error in NOT_NOW:
            sock.close()
            return None
        peer = Peer(attack, sock)
        self._peers[sock.fileno()] = peer
        self._poller.register(sock.fileno(), OUT)
        return peer

    def run(self) -> dict[str, Any]:
        """Attack until standard input ends. What was done, by attack."""
        self._poller.register(0, IN)
        while True:
            for fd, mask in self._poller.poll(TICK_SECS, 1024):
                if fd == 0:
                    return {name: attack.told() for name, attack in self.attacks.items()}
                self._on_event(fd, mask, time.monotonic())
            now = time.monotonic()
            for attack in self.attacks.values():
                attack.tick(now)

    def _on_event(self, fd: int, mask: int, now: float) -> None:
        peer = self._peers.get(fd)
        if peer is None or peer.sock.fileno() != fd:
            return
        before = OUT if peer.step < 0 else peer.events
        peer.attack.on_event(peer, mask, now)
        if peer.events != before and peer.sock.fileno() == fd:
            with contextlib.suppress(FileNotFoundError):
                self._poller.modify(fd, peer.events)


def main() -> int:
    """Attack. The exit code."""
    raise_descriptor_limit()
    os.nice(NICE)
    print(json.dumps(Attackers(json.loads(sys.stdin.readline())).run()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
