"""A connection in its handshake as it goes from one process to another, where its session is: all but its socket.

It has asked for something that is not here, and nothing has come of that yet. What it has said since is not looked at.
"""

from __future__ import annotations

from typing import NamedTuple


class MovedHandshake(NamedTuple):
    """One in the handshake of a protocol."""

    protocol: str
    state: bytes
    """See `core.protocols.handshake.Handshake.state`."""
    framing: str
    framing_state: bytes
    received: bytes
    """What has come behind what is to be taken again."""

    def __repr__(self) -> str:
        return f"<MovedHandshake of {self.protocol}>"  # the state has keys


class MovedRequests(NamedTuple):
    """One that speaks HTTP."""

    pending: bytes
    """The request that is not admitted, from its head on, and all behind it."""
    answered: bool
    """Whether one before it has had an answer."""
    proxy: str
    """The name of the proxy that says in its requests whose they are; "" where none does."""
    client: str
    """Whose they were so far."""

    def __repr__(self) -> str:
        return f"<MovedRequests, {len(self.pending)} bytes>"  # with a token


class MovedArrival(NamedTuple):
    """One connection."""

    lane: str
    peer: str
    subject: str
    since: float
    """When its time began, by the monotonic clock, which all processes of a machine share."""
    source: bytes
    """The key of its address among those that are counted; b"" for one that is not."""
    hearsay: bool
    private: bool
    unanswered: bool
    """Whether it is to be reset if it is closed now."""
    jointed: bool
    """Whether its socket is the outer end of a joint: see `net.joint`."""
    passed: int
    """How many stages of the lane it has begun."""
    unsent: bytes
    stage: MovedHandshake | MovedRequests
