"""Whose openings of version 3 are: one that is said again has to come to the worker where it was said first (SPEC 13).

Whoever asks first has it from then on, so there is no time in which two workers could have the same one. It is known
until its worker says that the client has its session, or that the session is over; for a while after that, in a bounded
number, since what was under way meanwhile is not to become a second session.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from ...wire.v3 import HANDLE_SIZE

MOST_OPEN = 1 << 17
MOST_DONE = 1 << 13


class Handles:
    """Those of all workers of one server. A worker is its index."""

    def __init__(self, most_open: int = MOST_OPEN, most_done: int = MOST_DONE) -> None:
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._done: OrderedDict[bytes, int] = OrderedDict()
        self._most_open, self._most_done = most_open, most_done

    def __len__(self) -> int:
        """How many are known."""
        return len(self._open) + len(self._done)

    def claim(self, handle: bytes, index: int) -> int:
        """A client of this worker has said it: whose it is; this one's, where nobody has it yet."""
        home = self._open.get(handle)
        if home is None:
            home = self._done.get(handle)
        if home is None:
            home = index
            self.have(handle, index)
        return home

    def have(self, handle: bytes, index: int) -> None:
        """This worker has it; the oldest that is known makes room."""
        self._open[handle] = index
        if len(self._open) > self._most_open:
            self._open.popitem(last=False)

    def done(self, handle: bytes) -> None:
        """Its client knows its session, or that is over."""
        home = self._open.pop(handle, None)
        if home is not None:
            self._done[handle] = home
            if len(self._done) > self._most_done:
                self._done.popitem(last=False)


def join_handles(handles: Iterable[bytes]) -> bytes:
    """Several, as they are said."""
    return b"".join(handles)


def split_handles(data: bytes) -> Iterator[bytes]:
    """What `join_handles` gave; what is behind the last whole one is nothing."""
    for at in range(0, len(data) - HANDLE_SIZE + 1, HANDLE_SIZE):
        yield data[at : at + HANDLE_SIZE]
