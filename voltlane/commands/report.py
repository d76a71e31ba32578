"""A server's figures as lines of text: what `status` prints, and what stands at the top of `top`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Figures = dict[str, Any]
"""As /stats answers them."""

_LABEL = 10
"""Columns of what stands in front of each line."""


def summary(now: Figures, before: Figures | None = None) -> list[str]:
    """The server in a few lines. With the figures of a moment before, what happened between them; else in all."""
    clients, master, queues, counts, loop = (now[name] for name in ("clients", "master", "queues", "counts", "loop"))
    lines = [
        f"voltlane {now['version']}, {now['state']}, up {span(now['uptime'])}",
        _line(
            "clients", f"{clients['live']} live, {clients['stale']} stale, {clients['handshaking']} in the handshake"
        ),
        _line("master", f"{master['address']}: {_master(master)}"),
        _line("waiting", ", ".join(_waiting(queues))),
    ]
    seconds = now["uptime"] - before["uptime"] if before is not None else 0.0
    for way, label in (("up", "to it"), ("down", "from it")):
        packets, size = counts[f"packets_{way}"], counts[f"bytes_{way}"]
        if before is not None and seconds > 0:
            packets -= before["counts"][f"packets_{way}"]
            size -= before["counts"][f"bytes_{way}"]
            lines.append(_line(label, f"{packets / seconds:.0f} packets/s, {volume(size / seconds)}/s"))
        else:
            lines.append(_line(label, f"{packets} packets, {volume(size)}"))
    busy, over = loop["busy_secs"], now["uptime"]
    if before is not None and seconds > 0:
        busy, over = busy - before["loop"]["busy_secs"], seconds
    lines.append(_line("loop", f"{100 * busy / over if over else 0:.1f} % busy, 99 of 100 turns within {_p99(loop)}"))
    return lines


def reasons(now: Figures) -> Iterator[str]:
    """Why connections were closed and sessions ended, the most frequent first."""
    for title, name in (("closed", "closed"), ("ended", "ended")):
        by_reason = now["reasons"].get(name, {})
        for reason, count in sorted(by_reason.items(), key=lambda item: -item[1]):
            yield _line(title, f"{count:>8}  {reason}")


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


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def _master(master: Figures) -> str:
    words = ["connected" if master["connected"] else "not connected"]
    if master["reconnects"]:
        words.append(f"reconnected {master['reconnects']} times")
    if master["full"]:
        words.append("so much waits for it that clients are not read")
    return ", ".join(words)


def _waiting(queues: Figures) -> Iterator[str]:
    yield f"{volume(queues['master_bytes'])} for the master"
    yield f"{volume(queues['clients_bytes'])} for {queues['clients_waiting']} clients"
    yield f"{volume(queues['backlog_bytes'])} in backlogs"
    yield f"{volume(queues['memory_bytes'])} of {volume(queues['memory_limit'])} of memory"


def _p99(loop: Figures) -> str:
    value = loop["lag"]["p99"]
    return "–" if value is None else span(value)
