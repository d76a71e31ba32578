"""`voltlane top`: a running server in a terminal, looked at again each second, or several (`fleet`). q quits."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .. import colour
from ..errors import ConfigError, ConnectionLost
from .inquiry import Inquiry
from .report import Figures, folded, span, summary, volume
from .tints import pieces

if TYPE_CHECKING:
    import curses

EVERY_MS = 1000
SHORTEST_SECS = 0.2
"""Less, as after a key was pressed, is too short a time to tell rates by."""
MOST_ROWS = 500
"""Of a page of clients, as a server has it."""
KEYS = ("q quits", "s next column", "r other way round", "space, b leaf through")


def top(view: View) -> int:
    """Show it until q or Ctrl-C. The exit code. Raises ConnectionLost when nobody is there to begin with."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("top needs a terminal; status says it once, to wherever you like")
    try:
        import curses
    except ImportError:
        raise ConfigError("this Python has no curses, which top needs; status does without") from None
    try:
        view.look()
        curses.wrapper(view.run)
    except KeyboardInterrupt:
        pass
    except curses.error as error:
        raise ConfigError(f"this terminal will not do for top: {error}") from None
    finally:
        view.close()
    return 0


# ---- columns


def known(form: Callable[[Any], str]) -> Callable[[Any], str]:
    """The same, and a dash for what is not known."""
    return lambda value: "–" if value is None else form(value)


_rate = known(lambda value: f"{volume(value)}/s")


class Column(NamedTuple):
    """One column of the table."""

    rank: int
    """Where there is no room for all, those of low rank are shown."""
    sort: str
    """What /clients calls it, to sort by it; "" where that cannot be."""
    title: str
    field: str
    width: int
    """At least; more where a value needs it."""
    form: Callable[[Any], str]
    of_datagrams: bool = False
    """Whether it is for servers that have an address for datagrams."""


COLUMNS = (
    Column(0, "id", "CLIENT", "id", 14, str),
    Column(1, "", "STATE", "state", 5, str),
    Column(6, "age", "SINCE", "age", 7, span),
    Column(2, "queue", "WAITING", "queue_bytes", 8, volume),
    Column(9, "in", "SENDS", "bytes_in", 9, _rate),
    Column(10, "out", "GETS", "bytes_out", 9, _rate),
    Column(5, "rtt", "RTT", "rtt", 7, known(span)),
    Column(11, "loss", "LOSS", "loss", 6, known(lambda value: f"{value / 10:.1f}%")),
    Column(12, "jitter", "JITTER", "jitter", 7, known(span), of_datagrams=True),
    Column(7, "score", "SCORE", "score", 6, known(lambda value: f"{value:.0f}")),
    Column(3, "", "LANE", "lane", 4, known(str)),
    Column(4, "", "PROTO", "protocol", 6, known(str)),
    Column(8, "", "ADDRESS", "peer", 21, known(str)),
)
SORTS = [column.sort for column in COLUMNS if column.sort]


def columns_for(columns: Sequence[Column], servers: Sequence[Figures | None]) -> Sequence[Column]:
    """Those that mean something for any of these servers, by their figures."""
    if any("datagrams" in figures for figures in servers if figures is not None):
        return columns
    return [column for column in columns if not column.of_datagrams]


def table(
    clients: list[Figures], width: int, sort: str, descending: bool, columns: Sequence[Column] = COLUMNS
) -> tuple[list[str], list[str]]:
    """Clients as lines of at most so many columns, with their heading in front: an arrow is at what they are sorted by,
    which is always among the columns. And the titles of those for which there is no room."""
    rows = [[column.form(client.get(column.field)) for column in columns] for client in clients]
    widths = [max([column.width, *map(len, cells)]) for column, *cells in zip(columns, *rows)]
    shown, left = set(), width + 1
    for at in sorted(range(len(columns)), key=lambda at: (columns[at].sort != sort or not sort, columns[at].rank)):
        if widths[at] < left:
            left -= widths[at] + 1
            shown.add(at)
    arrow = "▼" if descending else "▲"
    heading = [column.title + arrow * (column.sort == sort != "") for column in columns]
    lines = [" ".join([f"{row[at]:>{widths[at]}}" for at in sorted(shown)]) for row in (heading, *rows)]
    return lines, [column.title for at, column in enumerate(columns) if at not in shown]


def check_page(page: Figures) -> None:
    """See that a page of clients is one: it can be shown."""
    table(page["clients"], 120, SORTS[0], False)
    int(page["total"])


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


class Watched:
    """One server: its figures of now, and of a moment before."""

    def __init__(self, inquiry: Inquiry) -> None:
        self.inquiry = inquiry
        self.now: Figures | None = None
        self.before: Figures | None = None
        """None as long as there is no such moment of the same process."""

    def look(self) -> None:
        """Ask. Raises ConnectionLost."""
        before, now = self.now, self.inquiry.get("/stats", summary)
        if before is None or now["uptime"] < before["uptime"]:  # another process
            self.before, self.now = None, now
        elif now["uptime"] - before["uptime"] >= SHORTEST_SECS:
            self.before, self.now = before, now


class View:
    """What is shown of a server."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, inquiry: Inquiry) -> None:
        self._server = Watched(inquiry)
        self._page: Figures = {"total": 0, "clients": []}
        self._trouble = ""
        self._sort, self._descending, self._offset, self._rows = "score", True, 0, 50
        self._tones: dict[str, int] = {}
        """What the terminal has for the tones of `colour.TONES`."""

    def look(self) -> None:
        """Ask the server. Raises ConnectionLost."""
        self._server.look()
        self._page = self._ask(self._server.inquiry, self._offset, self._rows)

    def close(self) -> None:
        """Ask no more."""
        self._server.inquiry.close()

    def _ask(self, inquiry: Inquiry, offset: int, rows: int) -> Figures:
        """Some of the clients of a server, in the order that is asked for."""
        order = "desc" if self._descending else "asc"
        query = f"sort={self._sort}&order={order}&offset={offset}&limit={max(1, min(rows, MOST_ROWS))}"
        page: Figures = inquiry.get(f"/clients?{query}", check_page)
        return page

    @property
    def _columns(self) -> Sequence[Column]:
        """Those of the clients."""
        return columns_for(self.columns, [self._server.now])

    @property
    def _reach(self) -> int:
        """How many clients can be leafed through."""
        return int(self._page["total"])

    def _figures(self, width: int) -> tuple[list[tuple[str, str]], list[str]]:
        """What stands above the clients: lines, each "tinted", "bold" or ""; and for which columns of that there is no
        room."""
        server = self._server
        lines = [] if server.now is None else summary(server.now, server.before, width)
        return [(line, "tinted") for line in lines], []

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
            sorts = [column.sort for column in self._columns if column.sort]
            after = sorts.index(self._sort) + 1 if self._sort in sorts else 0  # another server is there by now
            self._sort, self._offset = sorts[after % len(sorts)], 0
        elif key == ord("r"):
            self._descending, self._offset = not self._descending, 0
        elif key == ord(" ") and self._offset + self._rows < self._reach:
            self._offset += self._rows
        elif key == ord("b"):
            self._offset = max(0, self._offset - self._rows)
        else:
            return False
        return True

    def _draw(self, screen: curses.window) -> None:
        import curses

        height, width = screen.getmaxyx()
        width -= 1  # what is written into the last place of all moves the screen
        screen.erase()
        trouble = [(text, curses.A_REVERSE) for text in textwrap.wrap(self._trouble, max(1, width))]
        lines: list[tuple[str, int]] = trouble or [(text, curses.A_DIM) for text in folded("", KEYS, width, " · ")]
        above, left_out = self._figures(width)
        looks = {"tinted": TINTED, "bold": curses.A_BOLD, "": 0}
        lines += [(text, looks[look]) for text, look in above]
        page = self._page["clients"]
        (heading, *clients), missing = table(page, width, self._sort, self._descending, self._columns)
        missing = [*left_out, *missing]
        self._rows = max(1, height - len(lines) - 2 - len(self._footer(len(clients), missing, width)))
        shown = clients[: self._rows]
        lines += [("", 0), (heading, curses.A_BOLD), *[(text, 0) for text in shown]]
        lines += [(text, curses.A_DIM) for text in self._footer(len(shown), missing, width)]
        for number, (text, attribute) in enumerate(lines[:height]):
            column = 0
            for part, tone in pieces(text) if attribute == TINTED else [(text, "")]:
                try:
                    painted = self._tones.get(tone, 0) if attribute == TINTED else attribute
                    screen.addnstr(number, column, part, max(0, width - column), painted)
                except curses.error:
                    pass  # the terminal has become smaller meanwhile
                column += len(part)
        screen.refresh()

    def _footer(self, shown: int, missing: list[str], width: int) -> list[str]:
        """Which rows of how many there are, and for which columns there is no room."""
        which = f"{self._offset + 1 if shown else 0} to {self._offset + shown} of {self._page['total']}"
        return folded(f"{which} · no room for ", missing, width) if missing else [which]
