"""A client's connection as it goes from one process to another: all but its socket.

Timers and turns do not go along: what is due, and who has something to say, is found out anew.

What never changes stands by itself: it goes ahead, with the socket, while everything goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.coded import Coded
from ..core.meter import Levels
from ..core.outbox import Queued
from ..core.protocols.flow import Flowing
from ..wire.v3 import Uncertain


class Unconfirmed(NamedTuple):
    """A welcome of which nobody knows yet whether it has come."""

    branch: int
    """Of the secret that it tells."""
    uncertain: Uncertain | None
    """The packets that it tells of, whose fate nobody knows."""


class Recorded(NamedTuple):
    """What a connection of version 3 has besides."""

    flow: Flowing
    unsent: bytes
    """What is sealed, and was not written: bytes of the wire."""
    pong: bytes | None
    """What is to be answered to a ping."""
    unconfirmed: Unconfirmed | None
    """While its welcome is not."""
    packet: bytes
    """The part of a packet that has come, in records that have come whole."""
    delivery: bytes
    """What is known of its session's packets, as `Delivery.encode` has it."""


class Origin(NamedTuple):
    """How one connection came: what does not change any more."""

    client_id: int
    since: float
    """When it was accepted, by the monotonic clock, which all processes of a machine share."""
    protocol: str
    lane: str
    peer: str
    subject: str
    framing: str
    source: bytes
    """The key of its address among those that are counted; b"" for one that is not."""
    family: int
    """Of its socket's address."""


class Moved(NamedTuple):
    """What it is at."""

    framing_state: bytes
    received: bytes
    """The part of a message that has come."""
    levels: Levels | None
    """How its meter stands, if it has one."""
    queued: Queued | Coded | None
    """What waits for it, where that is not in `recorded`."""
    recorded: Recorded | None
