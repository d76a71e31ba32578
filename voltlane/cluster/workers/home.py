"""Whose worker a client is: its id says so, by the node that gave it out."""

from __future__ import annotations

from ...core.ids import CLOCK_BITS, NODES


def node_of(client_id: int) -> int:
    """The node that has given an id out."""
    return (client_id >> CLOCK_BITS) % NODES


def home_of(client_id: int, first_node: int, workers: int) -> int:
    """The index of the worker that a client's session is at, if there is one: of so many, of which the first one's node
    is `first_node`. Ids of other servers have one too, which will not know them."""
    return (node_of(client_id) - first_node) % workers
