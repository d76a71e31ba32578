"""What the loops give back."""

from __future__ import annotations

from typing import Any, NamedTuple

from .names import Name


class Received(NamedTuple):
    """A batch of datagrams of peers."""

    chunk: bytes
    """Tagged frames, in the order in which they came."""
    packets: int
    """How many."""
    size: int
    """Bytes of their data."""
    strangers: list[tuple[Name, bytes]]
    """Who is no peer, and what came."""
    more: bool
    """Whether the socket may have more."""


class Opened(NamedTuple):
    """A batch of sealed datagrams."""

    chunk: bytes
    """Tagged frames of the data, in the order in which they came."""
    packets: int
    """How many."""
    size: int
    """Bytes of the data."""
    events: list[tuple[Any, int, Name, bytes, bool, int]]
    """Whatever opened and is no data, or came from elsewhere than the channel's path: the channel, the kind, where it
    came from, the body, whether its number is the highest so far, the bytes of the whole datagram."""
    more: bool
    """Whether the socket may have more."""


class Sent(NamedTuple):
    """How far a queue was sent."""

    index: int  # type: ignore[assignment]
    """In the queue: where to go on."""
    offset: int
    """In the chunk there."""
    datagrams: int
    """How many the socket took."""
    size: int
    """Bytes of their data."""
    blocked: bool
    """Whether the socket takes no more for now."""
