"""Fuzz target: a client's datagrams, with whatever a server, or anybody, sends it."""

from __future__ import annotations

from fuzz.engine import Target
from kit.clock import FakeClock
from kit.model_datagrams import ModelDatagrams

from voltlane.client.datagrams import INBOX_PACKETS, Datagrams
from voltlane.errors import MalformedRecord
from voltlane.wire.datagram import (
    Kind,
    client_keys,
    derive,
    seal_datagram,
    server_keys,
)
from voltlane.wire.v3 import NO_DATAGRAMS, DatagramsOffer, decode_datagrams

SECRET = b"s" * 32
_ROOT = derive(SECRET, SECRET, SECRET)
CLIENT, SERVER = client_keys(_ROOT), server_keys(_ROOT)
_GOOD = seal_datagram(CLIENT, 1, Kind.DATA, 2, 3, b"body")

RAW, SEALED, TICK, ANSWER, CONNECTION, SEND = range(6)
"""What happens: an input is a list of steps, one byte each. RAW, SEALED and ANSWER are followed by a size and bytes:
a datagram; kind, number and body of one that the server seals; a body of datagrams."""


def datagrams(data: bytes) -> None:
    """Whatever comes, what the client says opens at the server, under numbers of its own, and nothing grows."""
    clock = FakeClock()
    client, server = Datagrams(), ModelDatagrams(clock)
    client.want(clock())
    client.answered(decode_datagrams(server.answer(SECRET, client.ask(SECRET))), clock())
    position = 0
    while position < len(data):
        step, position = data[position] % 6, position + 1
        body = b""
        if step in (RAW, SEALED, ANSWER) and position < len(data):
            body = data[position + 1 : position + 1 + data[position]]
            position += 1 + data[position]
        if step == RAW:
            client.receive(body, clock())
        elif step == SEALED and len(body) >= 2:
            client.receive(server.seal(body[0] % 6, body[2:], number=body[1] * body[1]), clock())
        elif step == TICK:
            clock.pass_(0.3)
            client.tick(clock())
        elif step == ANSWER:
            try:
                client.answered(decode_datagrams(body), clock())
            except MalformedRecord:
                pass
        elif step == CONNECTION:
            client.begin()
            client.answered(decode_datagrams(server.answer(SECRET, client.ask(SECRET))), clock())
        elif step == SEND:
            said = client.seal(b"packet", clock())
            if said is not None:
                server.receive(said, 0)
        while client.output:
            server.receive(client.output.popleft(), 0)  # which asserts that it opens, and that its number is new
    assert len(client.inbox) <= INBOX_PACKETS and repr(client.link)


TARGETS = [
    Target(
        "datagrams",
        datagrams,
        [
            bytes((SEALED, 3, Kind.DATA, 1, 9, SEALED, 10, Kind.CHALLENGE, 2)) + b"12345678" + bytes((TICK, SEND)),
            bytes((RAW, 40)) + bytes(40) + bytes((SEALED, 18, Kind.PONG, 3)) + b"\1" * 16 + bytes((CONNECTION, TICK)),
            bytes((ANSWER, len(NO_DATAGRAMS))) + NO_DATAGRAMS + bytes((TICK, SEND)),
            bytes((ANSWER, 40)) + DatagramsOffer(1, 100, 1, SECRET, "h").encode() + bytes((SEND,)),
        ],
    ),
]
