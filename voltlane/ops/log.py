"""Logging: the standard library's, under the name "voltlane", one line an event to standard error.

Failing peers are cheap to make and lines about them are not: `PeerLog` writes at most so many a second of each kind,
and says how many it left out; the handler bounds the lines of all kinds together (`bounds`).

A line whose values programs may want takes them as one mapping, by name: `log.info("client %(client)d …", {"client":
1})`. In JSON they are fields then (`formats`).
"""

from __future__ import annotations

import logging
import sys
from collections import Counter

from .. import colour
from ..config import General
from ..net.listener import LONGEST_BACKOFF
from ..reasons import CloseReason
from .bounds import BoundedHandler
from .formats import JsonLines, TextLines
from .outlet import Outlet

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


def setup(general: General, worker: int | None = None) -> BoundedHandler:
    """Log to standard error as these settings say. May be called again; the handler stays the same. `worker`: which of
    several processes says it, that share the standard error."""
    handler = next((earlier for earlier in log.handlers if isinstance(earlier, BoundedHandler)), None)
    if handler is None:
        handler = BoundedHandler(Outlet(sys.stderr), general.log_lines_per_minute)
    else:
        handler.sum_up()
        handler.limit(general.log_lines_per_minute)
    handler.setFormatter(_formatter(general, worker))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(LEVELS[general.log_level])
    return handler


def _formatter(general: General, worker: int | None) -> logging.Formatter:
    if general.log_format == "json":
        return JsonLines(worker)
    return TextLines(colour.is_wanted(sys.stderr), worker)


def say_unraisable(what: sys.UnraisableHookArgs) -> None:
    """For sys.unraisablehook: an error where Python has nobody to raise it to. It would write that past the log.

    Of a server name (SNI) that is none, the standard library's `ssl` raises one that no code of ours can catch. Its
    handshake fails, which is told as any other.
    """
    if isinstance(what.exc_value, UnicodeDecodeError) and what.exc_value.object == what.object:
        return
    error = what.exc_value or what.exc_type()
    log.error("internal error, please report it", exc_info=(what.exc_type, error, what.exc_traceback))


def say_closed(level: int, reason: CloseReason, client_id: int, peer: str, detail: str) -> None:
    """The line about a client's connection that was closed. Id 0: it had none."""
    fields = {
        "who": f"client {client_id} ({peer})" if client_id else peer,
        "client": client_id or None,
        "peer": peer,
        "reason": reason.value,
        "detail": detail,
        "why": f"{reason.value}: {detail}" if detail else reason.value,
    }
    log.log(level, "%(who)s: %(why)s", fields)


class PauseLog:
    """Lines about one address where accepting fails: while the pauses until the next attempt grow, and then no more,
    so that what does not pass is not said for ever."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._said = 0.0

    def note(self, error: OSError, wait: float) -> None:
        """It is tried again after so many seconds."""
        told, self._said = self._said, wait
        if wait < LONGEST_BACKOFF or told != wait:
            why = error.strerror or str(error)
            log.warning("cannot accept connections at %s: %s; trying again in %.1f s", self._address, why, wait)


class PeerLog:
    """Lines about peers that failed, at most `most` of each reason in a second; the others are told as a number."""

    def __init__(self, most: int = 20) -> None:
        self._most = most
        self._second = -1
        self._seen: Counter[CloseReason] = Counter()

    def write(self, reason: CloseReason, client_id: int, peer: str, detail: str, now: float) -> None:
        """One line at level Info, unless there were enough of this reason in this second. Id 0: it had none."""
        if int(now) != self._second:
            self.sum_up()
            self._second = int(now)
        self._seen[reason] += 1
        if self._seen[reason] <= self._most:
            say_closed(logging.INFO, reason, client_id, peer, detail)

    def sum_up(self) -> None:
        """One line for each reason of which there were too many."""
        for reason, count in self._seen.items():
            if count > self._most:
                log.info("%(lines)d more: %(reason)s", {"lines": count - self._most, "reason": reason.value})
        self._seen.clear()
