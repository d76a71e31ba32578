"""Memory that the processes of one run share: what is to be done now, and how far everybody is."""

from __future__ import annotations

import mmap

OPEN, WARM, RUN, STOP, QUIT = range(5)
"""Phases: connect · send, not measured yet · measured · send nothing more, take what is still under way · end."""

READY, PREPARED, PACKETS, SENT, ROUNDS, DONE = range(6)
"""What a worker tells: connections that stand; 1 when it can begin; packets taken; packets sent; packets that each of
its clients has got at least; 1 when its part in the phase STOP is over."""
_FIELDS = 6


class Board:
    """Made before the workers are forked. Every word has one writer."""

    def __init__(self, workers: int, clients: int) -> None:
        words = memoryview(mmap.mmap(-1, 8 * (1 + workers * _FIELDS + clients))).cast("Q")
        self.phase = words[:1]
        self.workers = [words[1 + number * _FIELDS : 1 + (number + 1) * _FIELDS] for number in range(workers)]
        self.seen = words[1 + workers * _FIELDS :]
        """Bytes of each client's stream that the backend has got."""
