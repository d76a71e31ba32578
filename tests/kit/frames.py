"""Frames and tagged packets, the slow and obvious way: what the fast ways are held to."""

from __future__ import annotations

from collections.abc import Iterable

from voltlane.wire.tagged import Flag, Tagged


def join(payloads: Iterable[bytes]) -> bytes:
    """One chunk of frames."""
    return b"".join(len(payload).to_bytes(4, "little") + payload for payload in payloads)


def split(chunk: bytes) -> list[bytes]:
    """The payloads of a chunk of whole frames; anything else is a mistake."""
    payloads = []
    while chunk:
        size = int.from_bytes(chunk[:4], "little")
        assert len(chunk) >= 4 + size, "the last frame is not whole"
        payloads.append(bytes(chunk[4 : 4 + size]))
        chunk = chunk[4 + size :]
    return payloads


def split_tagged(chunk: bytes) -> list[Tagged]:
    """The tagged packets of a chunk of whole frames."""
    return [Tagged(int.from_bytes(p[:8], "little"), Flag(p[8]), p[9:]) for p in split(chunk)]


def data(client_id: int, payload: bytes) -> bytes:
    """A data packet's payload on the firehose, to be framed."""
    return client_id.to_bytes(8, "little") + b"\0" + payload
