"""The protocols there are, and the one place that asks which of them a client, or a session, speaks."""

from __future__ import annotations

from ...wire.framing import Buffer
from ...wire.v3 import MAGIC
from .credentials import Kind, kind_of
from .handshake import WireProtocol
from .secrets import decode_secrets
from .v2 import V2
from .v3 import V3

PROTOCOLS: dict[int, WireProtocol] = {0x01: V2, MAGIC: V3}
"""By the first byte of a client's first message."""
BY_NAME: dict[str, WireProtocol] = {protocol.name: protocol for protocol in PROTOCOLS.values()}
LARGEST = max(protocol.first for protocol in PROTOCOLS.values())
"""Bytes of the largest first message that is accepted, when it is not known yet whose it is."""


def protocol_of(message: Buffer) -> WireProtocol:
    """The protocol of a connection that begins with this message. What begins no other is version 2's to refuse."""
    return PROTOCOLS.get(message[0], V2) if message else V2


def revive(credential: bytes) -> tuple[bool, bytes]:
    """Of a session of an earlier process: whether its packets have numbers, and what its opening is known by, if so."""
    kind = kind_of(credential)
    handle = decode_secrets(credential).handle if kind is Kind.SECRETS else b""
    return kind in (Kind.SECRETS, Kind.TOKEN), handle
