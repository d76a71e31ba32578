"""A server as one of several, as it goes from one process to another: to all the others it stays who it is."""

from __future__ import annotations

from typing import NamedTuple

from ..core.ids import Counting
from ..reasons import EndReason


class MovedLease(NamedTuple):
    """The number that it has, or had last."""

    number: int
    term: int
    used: int
    """See `lease.states.Taken`."""
    until: float
    """When it is not to be used any more, by the monotonic clock, which all processes of a machine share."""
    ids: Counting


class MovedEnd(NamedTuple):
    """A session that has ended, of which the store is not told yet."""

    client_id: int
    term: int
    reason: EndReason | None
    """What the master is to be told when the store has agreed; None for nothing."""


class MovedRelease(NamedTuple):
    """A session that is given up, of which the store is not told yet."""

    client_id: int
    keys: tuple[str, ...]
    """Of the script RELEASE, ..."""
    arguments: tuple[bytes, ...]
    """... and what it gets."""


class MovedNode(NamedTuple):
    """All of it, while nothing is under way to the store."""

    token: bytes
    """What stands in the store at its number, sealed: to be opened where `cluster.secret` is the same."""
    lease: MovedLease | None
    trusted_at: float
    """From when on a session is known not to be where the store has none; -1: the store is away."""
    terms: dict[int, int]
    """Under which term each session is its own."""
    ends: list[MovedEnd]
    releases: list[MovedRelease]
    clients: list[int]
    """Who has moved to other servers, the latest last."""

    def __repr__(self) -> str:
        return f"<MovedNode, {len(self.terms)} sessions>"  # with a credential, sealed as it is
