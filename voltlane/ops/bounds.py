"""How fast the log may grow: whoever can cause lines must not be able to fill a disk with them. What it could not write
it says later."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Callable, Protocol

from ..core.bucket import TokenBucket
from .formats import event_of

RESERVED = 4
"""The part of a minute's lines that only warnings and errors may use."""


class Sink(Protocol):
    """Where lines go: see Outlet."""

    def write(self, line: str) -> None:
        """Write a line, or nothing of it. Raises OSError."""

    def flush(self) -> None:
        """Finish a line of which only the beginning was taken. Raises OSError."""

    @property
    def unfinished(self) -> bool:
        """Whether there is such a line."""
        ...


class BoundedHandler(logging.Handler):
    """Writes at most `per_minute` lines a minute in the long run, and as many at once after a quiet time; 0: all.

    A traceback counts by its lines. How many were left out, and how many the sink did not take, is told with the next
    line that is written, or at the end.
    """

    def __init__(self, sink: Sink, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._sink = sink
        self._clock = clock
        self._left_out: Counter[str] = Counter()
        self._unwritten = 0
        self._why = ""
        self.on_owing: Callable[[int], None] = _ignore
        """Called for each line that leaves something owed, with how many lines are lost by it: 1, or 0."""
        self.limit(per_minute)

    def limit(self, per_minute: int) -> None:
        """Go by this limit from now on."""
        self._bucket = TokenBucket(per_minute / 60, per_minute, self._clock()) if per_minute else None
        self._reserve = per_minute // RESERVED

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        if not self._admits(record.levelno):
            self._left_out[str(record.msg)] += 1
            return
        try:
            text = self.format(record)
        except Exception as error:  # a mistake of ours in a line that is seldom written, and no reason for another one
            text = f"a line of the log cannot be written as it is meant ({error!r}): {record.msg!r}"
        if record.exc_info and self._bucket is not None:  # in debt, if need be: who never fits would never be seen
            self._bucket.debit(str(record.exc_text).count("\n") + 1, self._clock())
        self.sum_up()
        lost = 0 if self._write(text) else 1
        self._unwritten += lost
        if self.owes:
            self.on_owing(lost)

    def _admits(self, level: int) -> bool:
        if self._bucket is None:
            return True
        now = self._clock()
        needed = 1 if level >= logging.WARNING else 1 + self._reserve
        return self._bucket.tokens(now) >= needed and self._bucket.take(1, now)

    def sum_up(self) -> None:
        """Finish what was begun; tell what was left out and what could not be written, if anything was."""
        try:
            self._sink.flush()
        except OSError:
            return
        if self._unwritten:
            values: dict[str, object] = {"lines": self._unwritten, "why": self._why}
            if self._write(self._warning(UNWRITTEN, values)):
                self._unwritten = 0
        if self._left_out and not self._unwritten:
            lines = sum(self._left_out.values())
            ((template, most),) = self._left_out.most_common(1)
            if self._write(self._warning(LEFT_OUT, {"lines": lines, "most": most, "line": event_of(template)})):
                self._left_out.clear()

    @property
    def owes(self) -> bool:
        """Whether there is something that could not be written so far, and should be when it can."""
        return self._unwritten > 0 or self._sink.unfinished

    def close(self) -> None:
        """Tell the rest."""
        self.sum_up()
        super().close()

    def _warning(self, template: str, values: dict[str, object]) -> str:
        return self.format(logging.LogRecord("voltlane", logging.WARNING, "", 0, template, (values,), None))

    def _write(self, text: str) -> bool:
        try:
            self._sink.write(text + "\n")
        except OSError as error:
            self._why = SLOW_READER if isinstance(error, BlockingIOError) else error.strerror or str(error)
            return False
        return True


LEFT_OUT = "%(lines)d lines were left out, %(most)d of them: %(line)s"
UNWRITTEN = "%(lines)d lines could not be written: %(why)s"
SLOW_READER = "whoever reads the log does not keep up"


def _ignore(lost: int) -> None:
    """Nobody counts them, and they are told with the next line."""
