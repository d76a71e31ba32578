"""Charts as SVG, written by hand: readable in light and dark, nothing to install."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .report import Report, thousands
from .workloads import Workload

WIDTH = 980
_MARGIN = 24
_INK, _DIM, _PAPER, _EDGE, _GRID = "#1f2328", "#656d76", "#ffffff", "#d0d7de", "#d8dee4"
_COLOURS = {
    "native": "#1f6feb",
    "pure": "#58a6ff",
    "pypy": "#8957e5",
    "native-v3": "#0b8a6f",
    "native-v3-clear": "#57b894",
    "pure-v3": "#3fa98c",
    "pure-v3-clear": "#93d3bd",
    "pypy-v3": "#a97fd8",
    "pypy-v3-clear": "#cdb4ea",
    "native-v2-ws": "#0969a8",
    "native-open-ws": "#54a3d8",
    "pure-v2-ws": "#3d8fc7",
    "pure-open-ws": "#8cc5ea",
    "pypy-v2-ws": "#b65fa5",
    "pypy-open-ws": "#d9a5cf",
    "zeromq": "#d4772a",
    "asyncio": "#8b949e",
    "uvloop": "#6a8f5f",
    "picows": "#b08800",
    "websockets": "#c9b458",
    "nchan": "#a4553d",
}
# Light colours stand in the elements, for whatever shows SVG without style sheets; only the dark ones need one.
_STYLE = """
@media (prefers-color-scheme: dark) {
  .ink { fill: #e6edf3; } .dim { fill: #9198a1; } .grid { stroke: #262c36; }
  .page { fill: #0d1117; stroke: #30363d; }
}
"""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def _text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> str:
    """Kinds: title, head, dim, or just text."""
    size = {"title": 18, "dim": 11}.get(kind, 12)
    weight = ' font-weight="600"' if kind in ("title", "head") else ""
    shade, colour = ("dim", _DIM) if kind == "dim" else ("ink", _INK)
    return (
        f'<text class="{shade}" x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}"{weight} '
        f'text-anchor="{anchor}">{escape(content)}</text>'
    )


def _document(title: str, subtitle: str, body: Sequence[str], bottom: float, report: Report) -> str:
    machine = report.machine
    foot = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['kernel']}; {report.made[:10]}; "
        + ", ".join(f"{key} {value}" for key, value in report.options.items()),
        *(f"{server.label}: {server.detail}" for server in report.servers),
    ]
    height = bottom + 20 + 15 * len(foot) + _MARGIN / 2
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="{_FONT}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8" '
            f'fill="{_PAPER}" stroke="{_EDGE}"/>',
            _text(_MARGIN, 36, title, "title"),
            _text(_MARGIN, 56, subtitle, "dim"),
            *body,
            *(_text(_MARGIN, bottom + 24 + 15 * number, line, "dim") for number, line in enumerate(foot)),
            "</svg>\n",
        )
    )


# ---- bars

_MOST_COLUMNS = 3
_LEAST_LABEL, _VALUE = 126, 58
_SHORTEST = 80
"""Of the longest bar of a panel, so that the others can be told apart: else there are fewer panels side by side."""
_BAR, _BAR_STEP, _GAP = 13, 18, 18
_LETTER = 6.6
"""How wide a letter of a label is on the average, in the widest of the fonts (DejaVu Sans at 12): an SVG cannot ask."""


def bars(report: Report, workloads: Sequence[Workload]) -> str:
    """A panel for each workload, in it a bar for each server."""
    label = label_width([server.label for server in report.servers])
    columns = _MOST_COLUMNS
    while columns > 1 and _panel_width(columns) - label - _VALUE < _SHORTEST:
        columns -= 1
    wide = _panel_width(columns)
    high = 46 + _BAR_STEP * len(report.servers) + 18
    body = []
    for number, workload in enumerate(workloads):
        left, top = _MARGIN + number % columns * (wide + _GAP), 74 + number // columns * high
        body += _panel(report, workload, left, top, wide, label)
    bottom = 74 + math.ceil(len(workloads) / columns) * high
    title = "Thousands a second, for each second of the server’s CPU time"
    subtitle = "Longer is better, but for memory. Each panel has its own scale. Everything sent was verified."
    return _document(title, subtitle, body, bottom, report)


def label_width(labels: Sequence[str]) -> float:
    """Where the bars begin, so that no label runs under one."""
    return max([_LEAST_LABEL, *(_LETTER * len(label) + 8 for label in labels)])


def _panel_width(columns: int) -> float:
    return (WIDTH - 2 * _MARGIN) / columns - _GAP


_UNITS = {"echo": "k round trips", "connect": "k connections", "resume": "k resumes", "idle": "KiB; shorter is better"}


def _panel(report: Report, workload: Workload, left: float, top: float, wide: float, label: float) -> list[str]:
    servers = [server for server in report.servers if workload.mode in server.wire.modes]
    rows = [report.find(workload.name, server.key) for server in servers]
    idle = workload.mode == "idle"
    values = [(row["bytes_per_client"] if idle else row["per_cpu_second"]) if row else 0.0 for row in rows]
    most = max([*values, 1e-9])
    counts = {row["clients"] for row in rows if row}
    clients = f", {counts.pop():,} clients" if len(counts) == 1 and workload.mode != "connect" else ""
    out = [
        _text(left, top + 14, workload.title, "head"),
        _text(left, top + 30, _UNITS.get(workload.mode, "k packets") + clients, "dim"),
    ]
    for number, (server, row, value) in enumerate(zip(servers, rows, values)):
        y = top + 40 + number * _BAR_STEP
        length = max(1.0, (wide - label - _VALUE) * max(0.0, value) / most)
        shown = ("no figure" if row is None else f"{value / 1024:.2f}") if idle or row is None else thousands(value)
        out.append(_text(left, y + 11, server.label))
        if row is not None:
            out.append(
                f'<rect x="{left + label:.1f}" y="{y:.1f}" width="{length:.1f}" height="{_BAR}" rx="2" '
                f'fill="{_COLOURS[server.key]}"/>'
            )
        out.append(_text(left + label + (length + 6 if row else 0), y + 11, shown, "" if row else "dim"))
    return out


# ---- lines


class Line(NamedTuple):
    """Points of one server, in one style."""

    key: str
    label: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Plot(NamedTuple):
    """A panel with lines. The x axis is logarithmic, with a tick at each value that occurs, 0 at its left end."""

    title: str
    unit: str
    lines: Sequence[Line]
    logarithmic: bool
    """The y axis; otherwise it begins at 0."""
    name_of: dict[float, str]
    """The ticks of the x axis."""


_PLOT_HEIGHT = 250


def lines(report: Report, title: str, subtitle: str, plots: Sequence[Plot]) -> str:
    """The plots side by side, what the lines are below them."""
    wide = (WIDTH - 2 * _MARGIN) / len(plots)
    body: list[str] = []
    for number, plot in enumerate(plots):
        body += _plot(plot, _MARGIN + number * wide, 74, wide - 22)
    top = 74 + _PLOT_HEIGHT + 84
    names: dict[tuple[str, bool], str] = {}
    for plot in plots:
        names.update({(line.key, line.dashed): line.label for line in plot.lines})
    for number, ((key, dashed), label) in enumerate(names.items()):
        x, y = _MARGIN + number % 4 * 236, top + number // 4 * 18
        body += [_path(key, [(x, y - 4), (x + 26, y - 4)], dashed), _text(x + 32, y, label)]
    return _document(title, subtitle, body, top + math.ceil(len(names) / 4) * 18, report)


def _plot(plot: Plot, left: float, top: float, wide: float) -> list[str]:
    out = [_text(left, top + 14, plot.title, "head"), _text(left, top + 30, plot.unit, "dim")]
    values = [y for line in plot.lines for _, y in line.points if y > 0]
    if not values:
        return [*out, _text(left, top + 60, "no figures", "dim")]
    ticks = _ticks(min(values), max(values), plot.logarithmic)
    low, high = ticks[0], ticks[-1]
    begin, bottom, high_px = left + 46, top + 46 + _PLOT_HEIGHT - 20, _PLOT_HEIGHT - 20

    def height(value: float) -> float:
        if plot.logarithmic:
            return bottom - high_px * math.log(value / low) / math.log(high / low)
        return bottom - high_px * value / high

    places = sorted(plot.name_of)
    across = dict(zip(places, _spread(places, begin + 8, left + wide - 14)))
    for tick in ticks:
        y = height(tick)
        ends = f'x1="{begin:.1f}" x2="{left + wide:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
        out.append(f'<line class="grid" stroke="{_GRID}" {ends}/>')
        out.append(_text(begin - 6, y + 4, f"{tick:,.10g}", "dim", "end"))
    for number, place in enumerate(places):
        lower = 12 * (number % 2) if len(places) > 5 else 0
        out.append(_text(across[place], bottom + 18 + lower, plot.name_of[place], "dim", "middle"))
    for line in plot.lines:
        points = [(across[x], height(y)) for x, y in line.points if y > 0]
        out.append(_path(line.key, points, line.dashed))
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_COLOURS[line.key]}"/>' for x, y in points]
    return out


def _path(key: str, points: Sequence[tuple[float, float]], dashed: bool) -> str:
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline fill="none" stroke="{_COLOURS[key]}" stroke-width="2" points="{steps}"{dashes}/>'


def _spread(places: Sequence[float], begin: float, end: float) -> list[float]:
    """Where each value of a logarithmic axis stands; 0, which has no logarithm, a decade left of the next."""
    logs = [math.log10(place) if place else math.log10(places[1]) - 1 if len(places) > 1 else 0.0 for place in places]
    span = (logs[-1] - logs[0]) or 1.0
    return [begin + (end - begin) * (log - logs[0]) / span for log in logs]


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high * 1.0001))
        return [10.0**power for power in range(first, max(last, first + 1) + 1)]
    raw = high / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    return [step * number for number in range(math.ceil(high / step - 1e-9) + 1)]
