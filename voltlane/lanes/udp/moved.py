"""Clients' datagrams as they go from one process to another: all but the sockets.

Candidates do not go along: who is at another address by now is challenged anew.
"""

from __future__ import annotations

from typing import NamedTuple, Union

from ...net.udp.names import Place


class MovedChannel(NamedTuple):
    """One client's sealed datagrams. Where a client has two of them, the former is said first."""

    client_id: int
    port: int
    """By which socket, in the order of those that go along."""
    root: bytes
    """What its keys come of."""
    path: Place | None
    since: float
    heard: float
    """Both by the monotonic clock, which all processes of a machine share, ..."""
    ending: float | None
    """... as when it ends, if it does."""
    keepalive: int
    """That the client was told, in seconds, ..."""
    refused: bool
    """... and whether it was told since that there are none."""
    state: bytes
    """As `Channel.export` has it."""

    def __repr__(self) -> str:
        return f"<MovedChannel of client {self.client_id}>"


class MovedPeer(NamedTuple):
    """A client that is an address."""

    client_id: int
    port: int
    place: Place
    since: float
    heard: float
    source: bytes
    """The key of its address among those that are counted; b"" for one that is not."""
    counted: tuple[int, int, int, int]
    """Packets and bytes in, packets and bytes out."""
    shown: bool
    """Whether it has shown a cookie."""


Moved = Union[MovedChannel, MovedPeer]
