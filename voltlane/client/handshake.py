"""The two hellos (SPEC 11, 12): what a client says first, and the channel that comes of the answer. Bytes in, bytes
out."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import MalformedPacket, Refused
from ..wire.noise import Channel, Initiator, KeyPair
from ..wire.v3 import (
    MAGIC,
    MAX_SERVER_HELLO,
    RANDOM_SIZE,
    REFUSED,
    Hello,
    Limits,
    Suite,
    clear_channel,
    decode_refusal,
    decode_server_payload,
)
from .pinning import Pins


class Agreed(NamedTuple):
    """What both sides know behind the hellos."""

    channel: Channel
    limits: Limits
    """The server's."""


class Hellos:
    """One connection's. One suite is offered, so that nobody can talk a client into another one."""

    __slots__ = ("_initiator", "_pins", "_suite", "message")

    def __init__(self, suite: int, pins: Pins) -> None:
        self._suite = suite
        self._pins = pins
        self._initiator: Initiator | None = None
        random = os.urandom(RANDOM_SIZE)
        if suite == Suite.NOISE:
            ephemeral = KeyPair()
            random = ephemeral.public
            self._initiator = Initiator(Hello((suite,), random).prologue, ephemeral)
        self.message = Hello((suite,), random).encode()
        """The client's hello."""

    def answered(self, message: bytes) -> Agreed:
        """The server's first message.

        Raises Refused, ServerKeyChanged, MalformedPacket (who answers does not speak this protocol), BadRecord.
        """
        if len(message) > MAX_SERVER_HELLO or len(message) < 2 or message[0] != MAGIC:
            raise MalformedPacket("the answer is no server hello of version 3")
        suite, answer = message[1], message[2:]
        if suite == REFUSED:
            code, text = decode_refusal(message)
            raise Refused(f"refused: {text} (code {code})", code=code, text=text)
        if suite != self._suite:
            raise MalformedPacket(f"the server chose suite {suite}, which was not offered")
        if self._initiator is not None:
            channel, key, payload_bytes = self._initiator.finish(answer)
            payload = decode_server_payload(payload_bytes)
            self._pins.meet(key, payload.keys)
        else:
            channel = clear_channel(self.message, message)
            payload = decode_server_payload(answer[RANDOM_SIZE:])
        if payload.suite != suite:
            raise MalformedPacket(f"the server means suite {payload.suite}, and suite {suite} arrived")
        return Agreed(channel, payload.limits)
