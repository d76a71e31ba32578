"""How good the way to a client is, where it has two: its connection, and its datagrams beside that."""

from __future__ import annotations

from typing import NamedTuple, Union

from ..quality import LinkQuality


class BothWays(NamedTuple):
    """What is said of them as of one. Names are those of LinkQuality."""

    bandwidth_in: float | None
    bandwidth_out: float | None
    latency: float | None
    loss: int | None
    score: int | None
    jitter: float | None
    reordered: int | None


Way = Union[LinkQuality, BothWays]


def joined(connection: LinkQuality | None, datagrams: LinkQuality | None) -> Way | None:
    """Bandwidth is the sum. All else is that of the datagrams, as far as it is known: who sends some wants to know of
    those, and what a connection loses is sent again."""
    if connection is None or datagrams is None:
        return datagrams if connection is None else connection
    return BothWays(
        _sum(connection.bandwidth_in, datagrams.bandwidth_in),
        _sum(connection.bandwidth_out, datagrams.bandwidth_out),
        connection.latency if datagrams.latency is None else datagrams.latency,
        connection.loss if datagrams.loss is None else datagrams.loss,
        connection.score if datagrams.score is None else datagrams.score,
        datagrams.jitter,
        datagrams.reordered,
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else one + other
