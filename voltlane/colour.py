"""Whether a stream gets colour, and what each tone of a message looks like: the one place that decides.

A terminal gets it, unless NO_COLOR says otherwise (https://no-color.org: set, to anything but nothing) or the terminal
is one that cannot (TERM=dumb). Files, pipes and service managers get plain text. Colour never says anything that the
words do not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Protocol

TONES = {"good": "32", "warning": "33", "error": "1;31", "quiet": "2", "strong": "1", "name": "36"}
"""By what they mean: the parameters of the escape sequence (ECMA-48, SGR)."""


class _Stream(Protocol):
    def isatty(self) -> bool:
        """Whether it is a terminal."""
        ...


def is_plain_terminal(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a terminal here has to do without escape sequences, whatever they are for."""
    return (os.environ if environ is None else environ).get("TERM", "") in ("", "dumb")


def is_wanted(stream: _Stream | None, environ: Mapping[str, str] | None = None) -> bool:
    """Whether what is written to this stream may have colour."""
    known = os.environ if environ is None else environ
    if known.get("NO_COLOR") or is_plain_terminal(known) or stream is None:
        return False
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def painted(text: str, tone: str) -> str:
    """The text in one of `TONES`; "" is none."""
    return f"\x1b[{TONES[tone]}m{text}\x1b[0m" if tone and text else text


def painted_for(stream: _Stream | None, text: str, tone: str) -> str:
    """The same, if what is written to this stream may have colour."""
    return painted(text, tone) if is_wanted(stream) else text
