"""`voltlane config`: what settings there are, and what one of them is. All of it from the settings' one table."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from textwrap import wrap

from .. import colour
from ..config import SETTINGS, Setting
from ..errors import ConfigError
from .console import show

_LABEL = 13
_MOST_COLUMNS = 100
_FEWEST_COLUMNS = 100
"""With fewer there is no room for what a setting is beside its name."""


def explain(name: str | None) -> int:
    """Print one setting; those of one section; or all of them, a line each. The exit code. Raises ConfigError."""
    rows = list(SETTINGS.values()) if name is None else named(name)
    if len(rows) == 1:
        show("\n".join(explanation(rows[0], _columns())))
    else:
        show("\n".join(overview(rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else 0)))
    return 0


def named(name: str) -> list[Setting]:
    """Which settings that is: of a section.key, a key, a section, a variable, or a flag. Raises ConfigError."""
    wanted = name.strip().strip("[]")
    rows = [row for row in SETTINGS.values() if wanted.lower() in _names(row) or wanted in (row.env, row.full_env)]
    if rows:
        return rows
    known = dict.fromkeys([word for row in SETTINGS.values() for word in (row.name, row.key, row.section)])
    close = [word for word in get_close_matches(wanted.lower(), known, n=6) if word]
    meant = list(dict.fromkeys([row.name for word in close for row in SETTINGS.values() if word in _names(row)]))[:4]
    hint = f"did you mean {', '.join(meant)}?" if meant else "voltlane config lists all of them"
    raise ConfigError(f"there is no setting {name}; {hint}")


def _names(row: Setting) -> tuple[str, ...]:
    return (row.name, row.key, row.section, *filter(None, (row.flag, row.flag.lstrip("-"))))


def explanation(row: Setting, columns: int) -> Iterator[str]:
    """Everything that the table says of one setting."""
    yield _painted(row.name, "strong")
    yield from wrap(row.help, columns)
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
        first, *rest = wrap(text, columns - _LABEL) or [""]
        yield _painted(f"{label:<{_LABEL}}", "quiet") + first
        yield from [" " * _LABEL + line for line in rest]


def overview(rows: list[Setting], columns: int) -> Iterator[str]:
    """A line for each: name, default, and what it is, as far as there are columns (0: any number)."""
    name = max([len(row.name) for row in rows])
    default = min(18, max([len(row.default_text) for row in rows]))
    for row in rows:
        line = f"{row.name:<{name}}  {row.default_text:<{default}}"
        if not columns or columns >= _FEWEST_COLUMNS:
            line += f"  {row.help}"
        yield line if not columns or len(line) <= columns else line[: columns - 1] + "…"


def _columns() -> int:
    columns = shutil.get_terminal_size().columns
    return min(columns, _MOST_COLUMNS) if sys.stdout.isatty() else _MOST_COLUMNS


def _painted(text: str, tone: str) -> str:
    return colour.painted(text, tone) if colour.is_wanted(sys.stdout) else text
