"""A server's figures as lines of text: what `status` prints, and what stands at the top of `top`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

Figures = dict[str, Any]
"""As /stats answers them."""

LABEL = 10
"""Columns of what stands in front of each line."""
STALLED_SECS = 3
"""That a master takes nothing is said from then on."""
_MOST_CERTIFICATES = 3
"""Said one by one: those that expire first."""


def summary(now: Figures, before: Figures | None = None, width: int = sys.maxsize) -> list[str]:
    """The server in a few lines, none of more than `width` columns if that can be. With the figures of a moment before,
    what happened between them; else in all."""
    lines = [f"voltlane {now['version']}, {now['state']}, up {span(now['uptime'])}"]
    for label, items in _subjects(now, before):
        lines += folded(f"{label:<{LABEL}}", items, width)
    return lines


def folded(label: str, items: Iterable[str], width: int, between: str = ", ") -> list[str]:
    """Items in a row behind a label, in more lines where one is not enough."""
    first, *others = [*items] or [""]
    lines, line, mark = [], label + first, between.rstrip()
    for left, item in zip(range(len(others) - 1, -1, -1), others):
        longer = line + between + item
        if len(longer) + (len(mark) if left else 0) <= width:
            line = longer
        else:
            lines.append(line + mark)
            line = " " * len(label) + item
    return [*lines, line]


def _subjects(now: Figures, before: Figures | None) -> Iterator[tuple[str, Iterable[str]]]:
    """What there is to be said, with its label."""
    clients, master, queues, counts, loop = (now[name] for name in ("clients", "master", "queues", "counts", "loop"))
    yield (
        "clients",
        [
            f"{clients['live']} live",
            f"{clients['stale']} stale",
            f"{clients['handshaking']} in the handshake",
        ],
    )
    if now.get("draining"):
        yield "draining", _draining(now["draining"])
    yield "lanes", _ways(now.get("lanes", {}), "by", "accepted")
    yield "protocols", _ways(now.get("protocols", {}), "of", "greeted")
    yield "told", [f"{counts['gaps']} gaps", f"{counts['uncertain']} packets uncertain"]
    if now.get("certificates"):
        yield "TLS", _certificates(now["certificates"])
    yield "master", _master(master)
    yield "waiting", _waiting(queues)
    seconds = now["uptime"] - before["uptime"] if before is not None else 0.0
    for way, what in (("up", "taken for the master"), ("down", "from the master")):
        packets, size = counts[f"packets_{way}"], counts[f"bytes_{way}"]
        if before is not None and seconds > 0:
            packets -= before["counts"][f"packets_{way}"]
            size -= before["counts"][f"bytes_{way}"]
            yield way, [f"{packets / seconds:.0f} packets/s {what}", f"{volume(size / seconds)}/s"]
        else:
            yield way, [f"{packets} packets {what}", volume(size)]
    if now.get("datagrams"):
        yield "datagrams", _datagrams(now["datagrams"], (before or {}).get("datagrams"), seconds)
    busy, over = loop["busy_secs"], now["uptime"]
    if before is not None and seconds > 0:
        busy, over = busy - before["loop"]["busy_secs"], seconds
    if now.get("workers"):
        yield "workers", _workers(now["workers"])
    yield "loop", [f"{100 * busy / over if over else 0:.1f} % busy", f"99 of 100 turns within {_p99(loop)}"]


def reasons(now: Figures) -> Iterator[str]:
    """Why connections were closed, sessions ended and datagrams dropped, the most frequent first."""
    for title, name in (("closed", "closed"), ("ended", "ended"), ("dropped", "dropped_datagrams")):
        by_reason = now["reasons"].get(name, {})
        for reason, count in sorted(by_reason.items(), key=lambda item: -item[1]):
            yield f"{title:<{LABEL}}{count:>8}  {reason}"


def volume(size: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def span(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 1:
        return f"{1000 * seconds:.1f} ms" if seconds < 0.01 else f"{1000 * seconds:.0f} ms"
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _ways(ways: Figures, by: str, came: str) -> list[str]:
    """How many are here, and have come, by each way that anybody has come by, to this process or one before it."""
    used = {name: figures for name, figures in ways.items() if figures[came] or figures["live"]}
    return [f"{each['live']} {by} {name} ({each[came]} came)" for name, each in used.items()] or ["nobody has come yet"]


def _certificates(certificates: list[Figures]) -> Iterator[str]:
    """How long they are good, those first that expire first."""
    by_date = sorted(certificates, key=lambda certificate: float(certificate["days_left"]))
    for certificate in by_date[:_MOST_CERTIFICATES]:
        name, days = certificate["names"][0], certificate["days_left"]
        left = f"{days:.0f} days" if days >= 2 else span(86400 * days)
        yield f"{name}: {f'{left} left' if days > 0 else 'expired'}"
    if len(by_date) > _MOST_CERTIFICATES:
        yield f"{len(by_date) - _MOST_CERTIFICATES} more"


def _datagrams(now: Figures, before: Figures | None, seconds: float) -> Iterator[str]:
    """What goes beside the streams: a second, where there was a moment before, else in all."""
    for way, what in (("up", "from clients"), ("down", "to clients")):
        packets, size = now[f"packets_{way}"], now[f"bytes_{way}"]
        if before is not None and seconds > 0:
            packets, size = packets - before[f"packets_{way}"], size - before[f"bytes_{way}"]
            yield f"{packets / seconds:.0f}/s {what} ({volume(size / seconds)}/s)"
        else:
            yield f"{packets} {what} ({volume(size)})"
    if now["channels"] or not now["peers"]:
        yield f"{now['channels']} beside a stream"
    if now["peers"]:
        yield f"{now['peers']} without one"
    if now["challenges"]:
        yield f"moved {now['roamed']} times of {now['challenges']} asked"


def _master(master: Figures) -> Iterator[str]:
    yield f"{master['address']}: {'connected' if master['connected'] else 'not connected'}"
    if master["reconnects"]:
        yield f"reconnected {master['reconnects']} times"
    if (master.get("stalled_secs") or 0) >= STALLED_SECS:
        yield f"takes nothing for {span(master['stalled_secs'])}"
    if master["full"]:
        yield "so much waits for it that clients are not read"


def _draining(draining: Figures) -> Iterator[str]:
    if draining["notice_secs"]:
        yield f"clients are taken for another {span(draining['notice_secs'])}"
    yield f"{draining['told']} clients were told to go elsewhere"
    yield f"{draining['left']} are left"
    yield f"{draining['rate']:g} a second" if draining["rate"] else "who stay until they leave"


def _workers(workers: list[Figures]) -> Iterator[str]:
    """Each: how many it has, or why it is of no use."""
    for worker in workers:
        well = "" if worker["state"] == "ready" else f" ({worker['state']})"
        again = f", started {worker['starts']} times" if worker["starts"] > 1 else ""
        yield f"{worker['worker']}: {worker['live']} live{well}{again}"


def _waiting(queues: Figures) -> Iterator[str]:
    yield f"{volume(queues['master_bytes'])} for the master"
    yield f"{volume(queues['clients_bytes'])} for {queues['clients_waiting']} clients"
    yield f"{volume(queues['backlog_bytes'])} in backlogs"
    yield f"{volume(queues['memory_bytes'])} of at most {volume(queues['memory_limit'])} for all queues"


def _p99(loop: Figures) -> str:
    value = loop["lag"]["p99"]
    return "–" if value is None else span(value)
