"""`voltlane config`: what settings there are, and what one of them is. All of it from the settings' one table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from textwrap import wrap

from .. import colour
from ..config import SETTINGS, Setting, nearest
from ..errors import ConfigError
from .console import columns, show

_LABEL = 13
_MOST_COLUMNS = 100
_FEWEST_COLUMNS = 100
"""With fewer there is no room for what a setting is beside its name."""


def explain(name: str | None) -> int:
    """Print one setting; those of one section; or all of them, a line each. The exit code. Raises ConfigError."""
    rows = list(SETTINGS.values()) if name is None else named(name)
    if len(rows) == 1:
        show("\n".join(explanation(rows[0], min(columns(sys.stdout), _MOST_COLUMNS))))
    else:
        show("\n".join(overview(rows, columns(sys.stdout))))
    return 0


def named(name: str) -> list[Setting]:
    """Which settings that is: of a section.key, a key, a section, a variable, or a flag. Raises ConfigError."""
    wanted = name.strip().strip("[]")
    rows = [row for row in SETTINGS.values() if wanted.lower() in _names(row) or wanted in (row.env, row.full_env)]
    if rows:
        return rows
    known = [word for row in SETTINGS.values() for word in _names(row)]
    raise ConfigError(f"unknown setting {name}{nearest(wanted, known, '; voltlane config lists all of them')}")


def _names(row: Setting) -> tuple[str, ...]:
    return (row.name, row.key, row.section, *filter(None, (row.flag, row.flag.lstrip("-"))))


def explanation(row: Setting, width: int) -> Iterator[str]:
    """Everything that the table says of one setting."""
    yield _painted(row.name, "strong")
    yield from wrap(row.help, width)
    yield ""
    change = "takes effect at a reload (SIGHUP)" if row.live else "needs a restart"
    facts: Mapping[str, str] = {
        "type": row.type_text,
        "allowed": row.allowed,
        "default": row.default_text,
        "in the file": f"[{row.section}], {row.key} = …",
        "environment": row.env if row.env == row.full_env else f"{row.env}, or {row.full_env}",
        "flag": row.flag or "none",
        "a change": change,
    }
    for label, text in facts.items():
        first, *rest = wrap(text, width - _LABEL) or [""]
        yield _painted(f"{label:<{_LABEL}}", "quiet") + first
        yield from [" " * _LABEL + line for line in rest]


def overview(rows: list[Setting], width: int) -> Iterator[str]:
    """A line for each: name, default, and what it is, as far as there is room."""
    name = max([len(row.name) for row in rows])
    default = min(18, max([len(row.default_text) for row in rows]))
    for row in rows:
        line = f"{row.name:<{name}}  {row.default_text:<{default}}"
        if width >= _FEWEST_COLUMNS:
            line += f"  {row.help}"
        yield line if len(line) <= width else line[: width - 1] + "…"


def _painted(text: str, tone: str) -> str:
    return colour.painted_for(sys.stdout, text, tone)
