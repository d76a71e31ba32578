"""The server's side of datagrams as SPEC 22 to 28 say it, in as few lines as that takes, for tests of the client.

    server = ModelDatagrams()
    body = server.answer(secret, seed)                # to an ask
    answers = server.receive(datagram, source)        # datagrams, and where each goes
    server.taken                                      # packets
    datagram, where = server.send(b"packet")          # where None: there is no path yet

Its clock is a callable; nothing here is fast, or bounded.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Hashable
from typing import Callable

from voltlane.wire import datagram as wire
from voltlane.wire.datagram import DatagramKeys, Kind
from voltlane.wire.v3 import DatagramsOffer

MTU, KEEPALIVE = 1200, 15


class Keyed:
    """What is known under one pair of keys."""

    def __init__(self, keys: DatagramKeys) -> None:
        self.keys = keys
        self.numbers = itertools.count()
        self.seen: set[int] = set()
        self.kinds: list[int] = []
        self.path: Hashable = None
        self.candidate: Hashable = None
        self.words = b""
        self.time, self.heard = 0, None  # type: tuple[int, float | None]


class ModelDatagrams:
    """Of one session. `port`, `host`: what it tells."""

    def __init__(self, clock: Callable[[], float], port: int = 42000, host: str = "") -> None:
        self.clock = clock
        self.port, self.host, self.mtu = port, host, MTU
        self.words = (bytes((number,)) * 8 for number in itertools.count(1))
        self.all: list[Keyed] = []
        """Under the keys of each ask."""
        self.taken: list[bytes] = []
        self.counts = True
        """Whether pongs say what came."""

    @property
    def keyed(self) -> Keyed:
        """Under the newest keys."""
        return self.all[-1]

    def answer(self, secret: bytes, seed: bytes) -> bytes:
        own = bytes((len(self.all),)) * 32
        self.all.append(Keyed(wire.server_keys(wire.derive(secret, seed, own))))
        return DatagramsOffer(self.port, self.mtu, KEEPALIVE, own, self.host).encode()

    def seal(self, kind: int, body: bytes = b"", *, keyed: Keyed | None = None, number: int | None = None) -> bytes:
        keyed, now = keyed or self.keyed, self.clock()
        number = next(keyed.numbers) if number is None else number
        echo = wire.held_echo(keyed.time, keyed.heard, now)
        return wire.seal_datagram(keyed.keys, number, kind, wire.clock(now), echo, body)

    def send(self, packet: bytes) -> tuple[bytes, Hashable]:
        return self.seal(Kind.DATA, packet), self.keyed.path

    def receive(self, datagram: bytes, source: Hashable) -> list[tuple[bytes, Hashable]]:
        """Answers. Assertion errors are the client's faults."""
        keyed = next((each for each in self.all if each.keys.id_in == datagram[:8]), None)
        assert keyed is not None and len(datagram) <= self.mtu
        opened = wire.open_datagram(keyed.keys, datagram)
        assert opened.number not in keyed.seen, f"number {opened.number} was used twice"
        newest = opened.number > max(keyed.seen, default=-1)
        keyed.seen.add(opened.number)
        keyed.kinds.append(opened.kind)
        if newest:
            keyed.time, keyed.heard = opened.time, self.clock()
        out: list[tuple[bytes, Hashable]] = []
        if opened.kind == Kind.DATA:
            self.taken.append(opened.body)
        elif opened.kind == Kind.PING:
            counts = struct.pack("<QQ", max(keyed.seen) + 1, len(keyed.seen)) if self.counts else b""
            out.append((self.seal(Kind.PONG, counts, keyed=keyed), source))
        elif opened.kind == Kind.RESPONSE and source == keyed.candidate and opened.body == keyed.words:
            keyed.path, keyed.candidate = source, None
        if newest and source != keyed.path:
            if source != keyed.candidate:
                keyed.candidate, keyed.words = source, next(self.words)
            out.append((self.seal(Kind.CHALLENGE, keyed.words, keyed=keyed), source))
        return out
