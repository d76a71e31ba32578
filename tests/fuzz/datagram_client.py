"""A fuzz target: what a client makes of the datagrams and the answers of a server that may say anything."""

from __future__ import annotations

from typing import Any

from fuzz.engine import Target
from kit.datagram_client import CHALLENGE, DATA, PING, PONG

from voltlane.client.datagrams import INBOX_PACKETS, Datagrams
from voltlane.errors import MalformedRecord
from voltlane.wire.datagram import SMALLEST, derive, open_datagram, seal_datagram, server_keys
from voltlane.wire.v3 import NO_DATAGRAMS, DatagramsOffer, decode_datagrams

SECRET, SEED = b"s" * 32, b"o" * 32
MOST = 1200
RAW, SEALED, OFFER, BEGIN, WAIT, SEND, END = range(7)
"""Steps: RAW, and OFFER with a size and bytes; SEALED with a kind, a jump of the number, a time, an echo, a size and a
body; SEND with a size."""


class _Server:
    """The keys that it has told, the numbers of the data that were taken under them, and what it hears."""

    def __init__(self) -> None:
        self.keys: Any = None
        self.number = 0
        self.used: set[int] = set()
        self._heard: dict[bytes, tuple[Any, set[int]]] = {}

    def tells(self, keys: Any) -> None:
        self.keys, self.number, self.used = keys, 0, set()
        self._heard.setdefault(keys.id_in, (keys, set()))

    def hears(self, datagram: bytes) -> None:
        keys, numbers = self._heard[datagram[:8]]
        number = open_datagram(keys, datagram).number
        assert number not in numbers and len(datagram) <= MOST
        numbers.add(number)


def answers(steps: bytes) -> None:
    """Nothing raises; each number counts once; what waits is bounded; and what is sent opens, each number once."""
    datagrams, server, now, position, taken = Datagrams(), _Server(), 100.0, 0, 0
    datagrams.want(now)
    seed = datagrams.ask(SECRET)

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        return steps[position - count : position]

    def number(size: int) -> int:
        return int.from_bytes(take(size), "little")

    def answer(offer: DatagramsOffer) -> None:
        nonlocal seed
        asked = datagrams.stage.name == "ASKED"
        datagrams.answered(offer, now)
        if asked and offer.port and offer.mtu >= SMALLEST:
            server.tells(server_keys(derive(SECRET, seed, offer.seed)))
        elif not offer.port or offer.mtu < SMALLEST:
            server.keys = None

    answer(DatagramsOffer(7000, 1200, 15, SEED, ""))
    while position < len(steps):
        step = take(1)[0] % 7
        if step == RAW:
            datagrams.receive(take(number(1)), now)
        elif step == SEALED and server.keys is not None:
            kind, jump, time, echo = number(1), number(2), number(2), number(2)
            server.number = (server.number + (jump if jump < 1 << 15 else jump - (1 << 16))) % (1 << 64)
            whole = seal_datagram(server.keys, server.number, kind, time, echo, take(number(1)))
            before = datagrams.link.received
            datagrams.receive(whole, now)
            if datagrams.link.received > before:
                assert kind == DATA and server.number not in server.used
                server.used.add(server.number)
                taken += 1
        elif step == OFFER:
            try:
                answer(decode_datagrams(take(number(1))))
            except MalformedRecord:
                pass
        elif step == BEGIN:
            datagrams.begin()
            if datagrams.stage.name == "WANTED":
                seed = datagrams.ask(SECRET)
        elif step == WAIT:
            now += number(1) / 10
            datagrams.tick(now)
        elif step == SEND:
            try:
                said = datagrams.seal(bytes(number(1)), now)
                if said is not None:
                    server.hears(said)
            except ValueError:
                assert datagrams.link.most < 255
        elif step == END:
            datagrams.end()
            server.keys = None
        assert len(datagrams.output) <= len(steps) + 1
        while datagrams.output:
            server.hears(datagrams.output.popleft())
    assert datagrams.link.received == taken and len(datagrams.inbox) <= INBOX_PACKETS and repr(datagrams.link)


def _sealed(kind: int, body: bytes = b"", jump: int = 1, time: int = 0, echo: int = 0) -> bytes:
    numbers = (kind, 1), (jump & 0xFFFF, 2), (time, 2), (echo, 2), (len(body), 1)
    return bytes((SEALED,)) + b"".join(value.to_bytes(size, "little") for value, size in numbers) + body


def _offer(body: bytes) -> bytes:
    return bytes((OFFER, len(body))) + body


_GOOD = DatagramsOffer(7000, 200, 1, SEED, "relay.example").encode()
TARGETS = [
    Target(
        "datagram_client",
        answers,
        [
            _sealed(CHALLENGE, bytes(8)) + _sealed(DATA, b"down") + _sealed(DATA, b"again", 0) + bytes((WAIT, 20)),
            _sealed(PING) + _sealed(PONG, bytes(16), 5, 9, 9) + _sealed(DATA, b"late", -3) + bytes((SEND, 9, WAIT, 3)),
            bytes((BEGIN,)) + _offer(_GOOD) + _sealed(DATA, b"x") + bytes((SEND, 250)) + _offer(NO_DATAGRAMS),
            _sealed(DATA, b"x", 0x7FFF) + _sealed(DATA, b"y", -1023) + bytes((END, BEGIN, RAW, 40)) + bytes(40),
        ],
        [bytes((step,)) for step in range(7)] + [_GOOD, NO_DATAGRAMS],
    )
]
