"""Lines about callbacks that held the loop up: one for each callback in a while, with how often it was meanwhile."""

from __future__ import annotations

from .log import log

PAUSE_SECS = 10.0
_MOST_NAMES = 100


class SlowLog:
    """Remembers what it has said."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, int]] = {}  # when, and how often it was slow since

    def note(self, name: str, seconds: float, now: float) -> None:
        """This callback took so long."""
        when, more = self._said.get(name, (now - PAUSE_SECS, 0))
        if now - when < PAUSE_SECS:
            self._said[name] = (when, more + 1)
            return
        if len(self._said) >= _MOST_NAMES:
            self._said.clear()
        self._said[name] = (now, 0)
        values = {"callback": name, "milliseconds": round(seconds * 1000), "more": more}
        if more:
            log.warning("%(callback)s held the loop up for %(milliseconds)d ms, and %(more)d times before", values)
        else:
            log.warning("%(callback)s held the loop up for %(milliseconds)d ms", values)
