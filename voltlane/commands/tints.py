"""Which words of a server's figures stand out, in `status` and in `top` alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..colour import painted
from .report import LABEL

_TONES = {
    "ready": "good",
    "no connection to the master": "error",
    "starting": "warning",
    "draining": "warning",
    "drained": "warning",
    "stopping": "warning",
    "not connected": "error",
    "connected": "good",
    "so much waits for it that clients are not read": "warning",
}
_WORDS = re.compile("|".join([rf"(?<=[,:] ){re.escape(words)}(?=,|$)" for words in _TONES]))
_ABOUT = ("voltlane ", "master ")
"""The beginnings of the lines in which they are looked for."""


def pieces(line: str) -> Iterator[tuple[str, str]]:
    """The line in pieces, each with its tone (`colour.TONES`), or "" for none."""
    start = 0
    if not line.startswith("voltlane "):
        yield line[:LABEL], "quiet"
        start = LABEL
    for found in _WORDS.finditer(line, start) if line.startswith(_ABOUT) else ():
        yield line[start : found.start()], ""
        yield found[0], _TONES[found[0]]
        start = found.end()
    yield line[start:], ""


def tinted(line: str) -> str:
    """The same for a terminal."""
    return "".join([painted(text, tone) for text, tone in pieces(line)])
