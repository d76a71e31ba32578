"""Logging: the standard library's, under the name "voltlane", one line an event to standard error.

Failing peers are cheap to make and lines about them are not: `PeerLog` writes at most so many a second of each kind,
and says how many it left out.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter

from ..config import General
from ..reasons import CloseReason

TRACE = 5
LEVELS = {
    "Off": logging.CRITICAL + 10,
    "Error": logging.ERROR,
    "Warn": logging.WARNING,
    "Info": logging.INFO,
    "Debug": logging.DEBUG,
    "Trace": TRACE,
}
logging.addLevelName(TRACE, "TRACE")
logging.addLevelName(logging.WARNING, "WARN")

log = logging.getLogger("voltlane")
"""The package's logger. A program that embeds Voltlane configures it like any other."""


def setup(general: General) -> None:
    """Log to standard error as these settings say. May be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-5s %(message)s"))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(LEVELS[general.log_level])


class PeerLog:
    """Lines about peers that failed, at most `most` of each reason in a second; the others are told as a number."""

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._second = -1
        self._seen: Counter[CloseReason] = Counter()

    def write(self, reason: CloseReason, who: str, detail: str, now: float) -> None:
        """One line at level Info, unless there were enough of this reason in this second."""
        if int(now) != self._second:
            self.sum_up()
            self._second = int(now)
        self._seen[reason] += 1
        if self._seen[reason] <= self._most:
            log.info("%s: %s%s", who, reason.value, f": {detail}" if detail else "")

    def sum_up(self) -> None:
        """One line for each reason of which there were too many."""
        for reason, count in self._seen.items():
            if count > self._most:
                log.info("%d more: %s", count - self._most, reason.value)
        self._seen.clear()
