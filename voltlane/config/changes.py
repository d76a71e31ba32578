"""What a running server takes over from settings that have changed: the live ones. The others need a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from .sections import SECTIONS, SETTINGS, Config


class Changes(NamedTuple):
    """The step from one configuration to another."""

    config: Config
    """What holds now: the new values of live settings, the old ones of all others."""
    applied: tuple[str, ...]
    """The names of the settings that are different in it."""
    pending: tuple[str, ...]
    """The names of those that were changed and need a restart."""


def changes(running: Config, wanted: Config) -> Changes:
    """Take over what a running server can. Raises ConfigError when that does not go with what it cannot."""
    different = [row for row in SETTINGS.values() if running.value(row.name) != wanted.value(row.name)]
    taken: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for row in different:
        if row.live:
            taken[row.section][row.key] = wanted.value(row.name)
    sections: dict[str, Any] = {name: replace(getattr(running, name), **values) for name, values in taken.items()}
    return Changes(
        replace(running, **sections),
        tuple([row.name for row in different if row.live]),
        tuple([row.name for row in different if not row.live]),
    )
