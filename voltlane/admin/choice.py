"""Which clients stand on a page: the first of all of them, by one of their values. A slice of them is looked at in a
turn, and sorted into a run; then the runs are merged, no further than to the end of the page."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import merge
from itertools import islice
from typing import NamedTuple, Protocol

from ..statistics import ClientRow
from .steps import Steps

SLICE = 256
"""Clients looked at for their place in one turn."""

Entry = tuple[bool, float, int]
"""A client's place: whether its value is not known, the value as it is sorted by, its id."""


class Choice(NamedTuple):
    """What is asked for."""

    key: str
    """One of `statistics.SORT_KEYS`."""
    descending: bool
    text: str
    """Only those whose id or address has this in it, in small letters; "" for all."""
    most: int
    """So many, the first ones."""


class Chosen(NamedTuple):
    """What was found."""

    total: int
    """All that were asked for, on other pages too."""
    entries: list[Entry]
    """In order."""


class Clients(Protocol):
    """Those of one process."""

    def ids(self) -> list[int]:
        """The clients there are, live and stale."""
        ...

    def sort_value(self, client_id: int, key: str) -> float | None:
        """What a client is sorted by: one of `statistics.SORT_KEYS`. None when it is gone, or not known."""

    def is_called(self, client_id: int, text: str) -> bool:
        """Whether a client's id or address has this in it; in small letters."""
        ...

    def client(self, client_id: int) -> ClientRow | None:
        """One client; None when it is gone."""


def choose(clients: Clients, choice: Choice) -> Steps[Chosen]:
    """Of one process's clients."""
    ids, key, text = clients.ids(), choice.key, choice.text
    runs: list[list[Entry]] = []
    for start in range(0, len(ids), SLICE):
        run: list[Entry] = []
        for client_id in ids[start : start + SLICE]:
            if text and not clients.is_called(client_id, text):
                continue
            value = clients.sort_value(client_id, key)
            # Who has no such value comes last, whatever the direction.
            run.append(
                (value is None, (-value if choice.descending else value) if value is not None else 0.0, client_id)
            )
        runs.append(sorted(run))
        yield None
    return Chosen(sum(map(len, runs)), (yield from first_of(runs, choice.most)))


def first_of(runs: Iterable[list[Entry]], most: int) -> Steps[list[Entry]]:
    """So many of those that stand in several runs."""
    merged, found = merge(*runs), list[Entry]()
    while len(found) < most:
        some = list(islice(merged, min(SLICE, most - len(found))))
        if not some:
            break
        found += some
        yield None
    return found
