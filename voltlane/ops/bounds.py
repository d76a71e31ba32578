"""How fast the log may grow: whoever can cause lines must not be able to fill a disk with them."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Callable, TextIO

from ..core.bucket import TokenBucket
from .formats import event_of

RESERVED = 4
"""The part of a minute's lines that only warnings and errors may use."""

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # generic from Python 3.11 on


class BoundedHandler(_StreamHandler):
    """Writes at most `per_minute` lines a minute in the long run, and as many at once after a quiet time; 0: all.

    How many were left out is told with the next line that is written, or at the end.
    """

    def __init__(self, stream: TextIO, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._bucket = TokenBucket(per_minute / 60, per_minute, clock()) if per_minute else None
        self._reserve = per_minute // RESERVED
        self._left_out: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        if not self._admits(record.levelno):
            self._left_out[str(record.msg)] += 1
            return
        self.sum_up()
        super().emit(record)

    def _admits(self, level: int) -> bool:
        if self._bucket is None:
            return True
        now = self._clock()
        needed = 1 if level >= logging.WARNING else 1 + self._reserve
        return self._bucket.tokens(now) >= needed and self._bucket.take(1, now)

    def sum_up(self) -> None:
        """Tell what was left out, if anything was."""
        if self._left_out:
            lines = sum(self._left_out.values())
            ((template, most),) = self._left_out.most_common(1)
            self._left_out.clear()
            values = {"lines": lines, "most": most, "line": event_of(template)}
            super().emit(logging.LogRecord("voltlane", logging.WARNING, "", 0, LEFT_OUT, (values,), None))

    def close(self) -> None:
        """Tell the rest. The stream is not ours to close."""
        self.sum_up()
        super().close()


LEFT_OUT = "%(lines)d lines were left out, %(most)d of them: %(line)s"
