"""`voltlane top`: a running server in a terminal, looked at again each second. q quits."""

from __future__ import annotations

import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any, Callable

from .. import colour
from ..errors import ConfigError, ConnectionLost
from .inquiry import Inquiry
from .report import Figures, span, summary, volume
from .tints import pieces

if TYPE_CHECKING:
    import curses

EVERY_MS = 1000
SHORTEST_SECS = 0.2
"""Less, as after a key was pressed, is too short a time to tell rates by."""
KEYS = "q quits · s sorts by the next column · r turns the order round · space and b leaf through"


def top(inquiry: Inquiry) -> int:
    """Show it until q or Ctrl-C. The exit code. Raises ConnectionLost when it is not there to begin with."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("top needs a terminal; status says it once, to wherever you like")
    try:
        import curses
    except ImportError:
        raise ConfigError("this Python has no curses, which top needs; status does without") from None
    view = View(inquiry)
    try:
        view.look()
        curses.wrapper(view.run)
    except KeyboardInterrupt:
        pass
    except curses.error as error:
        raise ConfigError(f"this terminal will not do for top: {error}") from None
    finally:
        inquiry.close()
    return 0


# ---- columns


def _known(form: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "–" if value is None else form(value)


_rate = _known(lambda value: f"{volume(value)}/s")
COLUMNS: tuple[tuple[str, str, str, int, Callable[[Any], str]], ...] = (
    # sort key, title, field, width, form
    ("id", "CLIENT", "id", 12, str),
    ("", "STATE", "state", 6, str),
    ("age", "SINCE", "age", 8, span),
    ("queue", "WAITING", "queue_bytes", 10, volume),
    ("in", "SENDS", "bytes_in", 12, _rate),
    ("out", "GETS", "bytes_out", 12, _rate),
    ("rtt", "RTT", "rtt", 8, _known(span)),
    ("loss", "LOSS", "loss", 7, _known(lambda value: f"{value / 10:.1f}%")),
    ("score", "SCORE", "score", 7, _known(lambda value: f"{value:.0f}")),
    ("", "LANE", "lane", 5, _known(str)),
    ("", "ADDRESS", "peer", 22, _known(str)),
)
SORTS = [key for key, *_ in COLUMNS if key]


def heading(sort: str, descending: bool) -> str:
    """The table's first line, with an arrow at what it is sorted by."""
    arrow = "▼" if descending else "▲"
    return " ".join([f"{title + (arrow if key == sort else ''):>{width}}" for key, title, _, width, _ in COLUMNS])


def line(client: Figures) -> str:
    """One client."""
    return " ".join([f"{form(client[field]):>{width}}" for _, _, field, width, form in COLUMNS])


def table(page: Figures) -> list[str]:
    """A page of clients, and what it is of."""
    return [*map(line, page["clients"]), f"{page['total']:d}"]


# ---- the terminal

TINTED = -1
"""In the place of a line's attribute: its words have theirs."""


def _tones() -> dict[str, int]:
    """By tone, the attribute of curses; none where there is to be no colour."""
    import curses

    if not (colour.is_wanted(sys.stdout) and curses.has_colors()):
        return {}
    curses.use_default_colors()
    found = {"quiet": curses.A_DIM}
    for number, (tone, shade) in enumerate(
        (("good", curses.COLOR_GREEN), ("warning", curses.COLOR_YELLOW), ("error", curses.COLOR_RED)), 1
    ):
        curses.init_pair(number, shade, -1)
        found[tone] = curses.color_pair(number)
    return found


class View:
    """What is shown, and of which moment."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._now: Figures | None = None
        self._before: Figures | None = None
        self._page: Figures = {"total": 0, "clients": []}
        self._trouble = ""
        self._sort, self._descending, self._offset, self._rows = "score", True, 0, 50
        self._tones: dict[str, int] = {}
        """What the terminal has for the tones of `colour.TONES`."""

    def look(self) -> None:
        """Ask the server. Raises ConnectionLost."""
        order = "desc" if self._descending else "asc"
        before, now = self._now, self._inquiry.get("/stats", summary)
        if before is None or now["uptime"] < before["uptime"]:  # another process
            self._before, self._now = None, now
        elif now["uptime"] - before["uptime"] >= SHORTEST_SECS:
            self._before, self._now = before, now
        rows = max(1, min(self._rows, 500))
        query = f"sort={self._sort}&order={order}&offset={self._offset}&limit={rows}"
        self._page = self._inquiry.get(f"/clients?{query}", table)

    def run(self, screen: curses.window) -> None:
        """Draw and obey until q."""
        import curses

        try:
            curses.curs_set(0)
        except curses.error:
            pass  # a terminal that cannot hide its cursor
        self._tones = _tones()
        due = time.monotonic()
        while True:
            self._draw(screen)
            screen.timeout(max(0, int(1000 * (due - time.monotonic()))))
            key = screen.getch()
            if key in (ord("q"), 27):
                return
            if key == -1 or self._obey(key):
                due = time.monotonic() + EVERY_MS / 1000
                try:
                    self.look()
                    self._trouble = ""
                except ConnectionLost as error:
                    self._trouble = str(error)

    def _obey(self, key: int) -> bool:
        """Whether the key means that there is something else to see."""
        if key == ord("s"):
            self._sort, self._offset = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)], 0
        elif key == ord("r"):
            self._descending, self._offset = not self._descending, 0
        elif key == ord(" ") and self._offset + self._rows < self._page["total"]:
            self._offset += self._rows
        elif key == ord("b"):
            self._offset = max(0, self._offset - self._rows)
        else:
            return False
        return True

    def _draw(self, screen: curses.window) -> None:
        import curses

        height, width = screen.getmaxyx()
        screen.erase()
        trouble = [(text, curses.A_REVERSE) for text in textwrap.wrap(self._trouble, max(1, width - 1))]
        lines: list[tuple[str, int]] = trouble or [(KEYS, curses.A_DIM)]
        if self._now is not None:
            lines += [(text, TINTED) for text in summary(self._now, self._before)]
        lines.append(("", 0))
        lines.append((heading(self._sort, self._descending), curses.A_BOLD))
        self._rows = max(1, height - len(lines) - 1)
        shown = self._page["clients"][: self._rows]
        lines += [(line(client), 0) for client in shown]
        first = self._offset + 1 if shown else 0
        lines.append((f"{first} to {self._offset + len(shown)} of {self._page['total']}", curses.A_DIM))
        for number, (text, attribute) in enumerate(lines[:height]):
            column = 0
            for part, tone in pieces(text) if attribute == TINTED else [(text, "")]:
                try:
                    shown = self._tones.get(tone, 0) if attribute == TINTED else attribute
                    screen.addnstr(number, column, part, max(0, width - 1 - column), shown)
                except curses.error:
                    pass  # the terminal has become smaller meanwhile
                column += len(part)
        screen.refresh()
