"""The loops in C, with what they need of Python; importing it raises ImportError where they are not there.

Sealed datagrams are opened there by libsodium, as PyNaCl brings it, whose functions are called by their addresses:
`SODIUM` says whether that works here. Where it does not, channels are those of the plain form.
"""

from __future__ import annotations

import os
from typing import Any

from ...reasons import DatagramDrop
from ...wire.datagram import DatagramKeys
from ._native import Channel as NativeChannel  # type: ignore[import-not-found]
from ._native import Channels as NativeChannels
from ._native import Peer, Peers, begin
from .names import host_port, packed
from .names import raw_name as name_of
from .results import Opened, Received, Sent
from .sealed import Channel as PlainChannel
from .sealed import Channels as PlainChannels

__all__ = ["SODIUM", "Channel", "Channels", "Peer", "Peers", "host_port", "name_of", "packed"]

_REASONS = (
    DatagramDrop.SHORT,
    DatagramDrop.TOO_LARGE,
    DatagramDrop.UNKNOWN_ID,
    DatagramDrop.UNSEALED,
    DatagramDrop.REPLAYED,
    DatagramDrop.LATE,
    DatagramDrop.RATE,
    DatagramDrop.NOT_WANTED,
    DatagramDrop.NO_PATH,
    DatagramDrop.UNSENT,
    DatagramDrop.STRANGERS,
)
"""In the order of `enum drop`."""


def _sodium() -> tuple[int, int]:
    """Where libsodium's functions are that seal and open. Raises ImportError or AttributeError where nobody can say."""
    from nacl._sodium import ffi, lib

    seal, open_sealed = (
        int(ffi.cast("uintptr_t", ffi.addressof(lib, f"crypto_aead_chacha20poly1305_ietf_{what}")))
        for what in ("encrypt", "decrypt")
    )
    return seal, open_sealed


def _agrees() -> bool:
    """Whether a channel of this form seals as the plain one does."""
    keys = DatagramKeys(b"id in...", bytes(range(32)), b"id out..", bytes(range(32, 64)))
    ours, plain = NativeChannel(keys, 1, 0.0), PlainChannel(keys, 1, 0.0)
    return bool(ours.seal(3, b"known answer", 1.5) == plain.seal(3, b"known answer", 1.5))


def _begin(seal: int, open_sealed: int) -> None:
    begin((Received, Opened, Sent), _REASONS, os.urandom(16), seal, open_sealed)


Channel: Any = PlainChannel
Channels: Any = PlainChannels
SODIUM = False
try:
    _begin(*_sodium())
    SODIUM = _agrees()
except (ImportError, AttributeError, TypeError, ValueError):  # PyNaCl as it may be one day
    _begin(0, 0)
if SODIUM:
    Channel, Channels = NativeChannel, NativeChannels
