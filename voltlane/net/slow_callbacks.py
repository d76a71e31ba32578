"""Which callback held the loop up.

Looking at the clock before and after every event would cost the data path too much. So tasks and timers are timed each,
of which there are few; events and flushes only for a minute after a turn that took too long for no reason found, in
which whatever is slow again is named. Of such a turn itself the candidates are named, if it had few events.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

SLOW = 0.05
"""Seconds from which on a callback is worth a word."""
ATTENTION_SECS = 60.0
"""How long each event is timed after a turn that was slow."""
FEW_EVENTS = 8
"""In a turn of more events, it may well be their number that took the time."""


def name_of(function: object) -> str:
    """What a person would look for in the source: `Dialer._try`."""
    while isinstance(function, partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__name__", None)
    if owner is not None and name is not None:
        return f"{type(owner).__name__}.{name}"
    return str(getattr(function, "__qualname__", type(function).__name__))


def one_of(handlers: Sequence[object]) -> str:
    """The candidates, where it is not known which it was."""
    names = sorted({f"{type(handler).__name__}.on_event" for handler in handlers if handler is not None})
    return " or ".join(names) or "a handler that is gone"
