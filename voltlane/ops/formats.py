"""What a line of the log looks like: text for people, or JSON for programs.

A line never spans two, whatever is in it, except for the traceback of a bug in the text form.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import lru_cache

from ..colour import painted

_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[-#0 +]*[\d.]*[a-z]")
_CONTROL = {number: f"\\x{number:02x}" for number in (*range(32), *range(127, 160))}
_CONTROL.update({0x2028: "\\u2028", 0x2029: "\\u2029"})
_CONTROL.update({ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"})


class TextLines(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO  message`, in local time. With colour the time is dim and the level has its own.
    In front of the message of a worker stands which one it is."""

    def __init__(self, colour: bool = False, worker: int | None = None) -> None:
        super().__init__("%(asctime)s %(levelname)-5s %(message)s")
        self._colour = colour
        self._who = "" if worker is None else f"worker {worker}: "

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message, in which nothing can look like the beginning of another line."""
        message = record.message = self._who + record.message.translate(_CONTROL)
        if not self._colour:
            return super().formatMessage(record)
        level = painted(f"{record.levelname:<5}", _tone(record.levelno))
        return f"{painted(record.asctime, 'quiet')} {level} {message}"


class JsonLines(logging.Formatter):
    """One object a line: ts (UTC), level, event, message, and the fields of the message by their names.

    `event` is the same for all lines of a kind: the message with names where its values stand. `worker`: which of
    several processes says it, where there are several.
    """

    def __init__(self, worker: int | None = None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        entry: dict[str, object] = {
            "ts": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": event_of(str(record.msg)),
            "message": record.getMessage(),
        }
        if self._worker is not None:
            entry["worker"] = self._worker
        if isinstance(record.args, Mapping):
            entry.update({name: value for name, value in record.args.items() if name not in entry})
        if record.exc_info:
            record.exc_text = record.exc_text or self.formatException(record.exc_info)
            entry["traceback"] = record.exc_text
        return json.dumps(entry, default=str)


def _tone(level: int) -> str:
    if level >= logging.WARNING:
        return "error" if level >= logging.ERROR else "warning"
    return "good" if level >= logging.INFO else "quiet"


@lru_cache(maxsize=256)
def event_of(template: str) -> str:
    """`client %(client)d is here` → `client CLIENT is here`; values without a name are `…`."""
    return _PLACEHOLDER.sub(lambda found: (found.group(1) or "…").upper(), template).replace("%%", "%")
