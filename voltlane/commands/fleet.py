"""`voltlane top` of several servers: what they do together, a line for each, and the clients of all in one order."""

from __future__ import annotations

import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from ..errors import ConnectionLost
from .inquiry import Inquiry
from .report import LABEL, Figures, folded, volume
from .top import COLUMNS, MOST_ROWS, Column, View, Watched, columns_for, known, table

SLOW_SECS, PAUSE_SECS = 0.5, 10.0
"""Who takes longer than the first to fail holds up the whole screen, and is asked again after the second."""
_SHORT = {"no connection to the master": "no master"}
"""States that are long."""

_number = known(lambda value: f"{value:.0f}")

NODES = (
    Column(0, "", "NODE", "node", 4, str),
    Column(1, "", "STATE", "state", 9, str),
    Column(2, "", "LIVE", "live", 7, _number),
    Column(4, "", "STALE", "stale", 6, _number),
    Column(6, "", "UP/s", "up", 7, _number),
    Column(7, "", "DOWN/s", "down", 7, _number),
    Column(8, "", "WAITING", "waiting", 8, known(volume)),
    Column(5, "", "BUSY", "busy", 5, known(lambda value: f"{value:.0f}%")),
    Column(3, "", "ADMIN", "address", 15, str),
)
"""Of a server's line. UP and DOWN are packets to and from the master; WAITING is the memory of all queues."""


class Node(Watched):
    """One of them."""

    def __init__(self, number: int, inquiry: Inquiry) -> None:
        super().__init__(inquiry)
        self.number = number
        self.page: Figures = {"total": 0, "clients": []}
        self.trouble = ""
        """Why it does not answer."""
        self._again_at = 0.0

    def try_to_look(self, ask: Callable[[Inquiry], Figures]) -> None:
        """Ask for its figures, and for clients by `ask`. What it does not answer is its trouble."""
        began = time.monotonic()
        if began < self._again_at:
            return
        try:
            self.look()
            self.page = ask(self.inquiry)
            self.trouble = ""
        except ConnectionLost as error:
            self.now, self.page, self.trouble = None, {"total": 0, "clients": []}, str(error)
            if time.monotonic() - began > SLOW_SECS:
                self._again_at = time.monotonic() + PAUSE_SECS

    def flow(self, *path: str) -> float | None:
        """What a figure grows by in a second; None where that is not known."""
        if self.now is None or self.before is None:
            return None
        later: Any = self.now
        earlier: Any = self.before
        seconds = later["uptime"] - earlier["uptime"]
        for name in path:
            later, earlier = later[name], earlier[name]
        return float(later - earlier) / float(seconds)

    @property
    def row(self) -> Figures:
        """Its line."""
        row: Figures = {"node": self.number, "address": str(self.inquiry.address), "state": "no answer"}
        if self.now is None:
            return row
        busy = self.flow("loop", "busy_secs")
        return {
            **row,
            "state": _SHORT.get(self.now["state"], self.now["state"]),
            "live": self.now["clients"]["live"],
            "stale": self.now["clients"]["stale"],
            "up": self.flow("counts", "packets_up"),
            "down": self.flow("counts", "packets_down"),
            "waiting": self.now["queues"]["memory_bytes"],
            "busy": None if busy is None else 100 * busy,
        }


class FleetView(View):
    """What is shown of several servers."""

    columns: Sequence[Column] = (*COLUMNS[:1], Column(1, "", "NODE", "node", 4, str), *COLUMNS[1:])

    def __init__(self, inquiries: Sequence[Inquiry]) -> None:
        super().__init__(inquiries[0])
        self._nodes = [Node(number, inquiry) for number, inquiry in enumerate(inquiries, 1)]

    def look(self) -> None:
        """Ask all of them. Raises ConnectionLost where none has answered yet."""
        # Whoever is on the page asked for is among so many of each.
        wanted = self._offset + self._rows
        for node in self._nodes:
            node.try_to_look(lambda inquiry: self._ask(inquiry, 0, wanted))
        there = [node for node in self._nodes if node.now is not None]
        if not there:
            raise ConnectionLost(self._nodes[0].trouble)
        clients = [{**client, "node": node.number} for node in there for client in node.page["clients"]]
        rows = sorted(clients, key=self._place)[self._offset : wanted]
        self._page = {"total": sum([node.page["total"] for node in there]), "clients": rows}

    def close(self) -> None:
        """Ask no more."""
        for node in self._nodes:
            node.inquiry.close()

    def _place(self, client: Figures) -> tuple[bool, float, int]:
        """As a server has it: what is not known comes last, and of equals the lower id first."""
        (field,) = [column.field for column in COLUMNS if column.sort == self._sort]
        value = client.get(field)
        return value is None, 0.0 if value is None else -value if self._descending else value, client["id"]

    @property
    def _columns(self) -> Sequence[Column]:
        """See View."""
        return columns_for(self.columns, [node.now for node in self._nodes])

    @property
    def _reach(self) -> int:
        """A page of each server ends somewhere."""
        return min(super()._reach, MOST_ROWS)

    def _figures(self, width: int) -> tuple[list[tuple[str, str]], list[str]]:
        (heading, *lines), missing = table([node.row for node in self._nodes], width, "", False, NODES)
        troubles = [line for node in self._nodes if node.trouble for line in textwrap.wrap(node.trouble, max(1, width))]
        above = [(line, "tinted") for line in self._totals(width)]
        plain = [(line, "") for line in (*lines, *troubles)]
        return [*above, ("", ""), (heading, "bold"), *plain], [f"{title} of nodes" for title in missing]

    def _totals(self, width: int) -> Iterator[str]:
        there = [node for node in self._nodes if node.now is not None]
        states = Counter([node.row["state"] for node in self._nodes])
        yield from folded(f"{'nodes':<{LABEL}}", [f"{count} {state}" for state, count in states.items()], width)
        figures = [node.now for node in there if node.now is not None]
        clients = {name: sum([each["clients"][name] for each in figures]) for name in ("live", "stale", "handshaking")}
        yield from folded(
            f"{'clients':<{LABEL}}",
            [
                f"{clients['live']} live",
                f"{clients['stale']} stale",
                f"{clients['handshaking']} in the handshake",
            ],
            width,
        )
        for way, what in (("up", "taken for the masters"), ("down", "from the masters")):
            packets, size = _sum(there, f"packets_{way}"), _sum(there, f"bytes_{way}")
            yield from folded(f"{way:<{LABEL}}", [f"{packets:.0f} packets/s {what}", f"{volume(size)}/s"], width)


def _sum(nodes: Sequence[Node], count: str) -> float:
    return sum([node.flow("counts", count) or 0.0 for node in nodes])
