"""Sealed datagrams beside a stream of version 3: `8 bytes id ‖ u64 number ‖ sealed`.

Sealed is `u8 kind ‖ u16 time ‖ u16 echo ‖ body` by ChaCha20-Poly1305, under the sender's key and the number.
"""

from __future__ import annotations

from typing import NamedTuple


class DatagramKeys(NamedTuple):
    """One end's, of one session's datagrams. Secret, but for the ids."""

    id_in: bytes
    """8 bytes: what the datagrams that come begin with."""
    key_in: bytes
    id_out: bytes
    key_out: bytes
