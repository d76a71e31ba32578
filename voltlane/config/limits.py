"""The section [limits]: how much of everything there may be, for all clients together."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import Section, setting


@dataclass(frozen=True)
class Limits(Section):
    """How much of everything there may be, for all clients together."""

    memory_bytes: int = setting(
        0,
        "Memory for everything that is queued, for all clients and the master together. Past four fifths of it no new "
        "clients are let in, past all of it the largest queues are given up. 0 = half of what the machine, or the "
        "control group that the server runs in, has.",
        unit="bytes",
        at_least=0,
        live=True,
    )
