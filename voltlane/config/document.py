"""The settings as a file that explains itself: all of them, or those of a profile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from .profiles import OFFERED, PROFILES
from .sections import SETTINGS, Config
from .setting import Setting, Value

HIDDEN = "(it is set, and a secret)"
_WIDTH = 118
_PRECEDENCE = "# A command line flag is stronger than an environment variable, which is stronger than this file.\n"
_HEAD = f"""\
# Voltlane's settings. Every key may be left out: it then has its default.
{_PRECEDENCE}"""
_PROFILE_HEAD = """\
# Voltlane's settings for the profile "{name}": {summary}.
# They are a beginning, to be changed. What is not here has its default: `voltlane config` lists all there is, and
# `voltlane config KEY` explains one.
"""


def to_toml(config: Config, hide: bool = False) -> str:
    """The settings as a commented TOML file, which `load` reads back to an equal Config; unless secrets are hidden."""
    hidden = {row.name for row in SETTINGS.values() if hide and row.is_secret and config.value(row.name)}
    rows = [
        (row, HIDDEN if row.name in hidden else config.value(row.name), "", row.name not in hidden)
        for row in SETTINGS.values()
    ]
    return "\n".join([_HEAD, *_blocks(rows)])


def profile_to_toml(name: str) -> str:
    """What one of PROFILES chooses, as a commented TOML file that says why; what else there is to set, as a comment."""
    profile = PROFILES[name]
    written = {**OFFERED, **profile.choices}
    chosen = [(row, *written[key], key in profile.choices) for key, row in SETTINGS.items() if key in written]
    head = _PROFILE_HEAD.format(name=name, summary=profile.summary) + _PRECEDENCE
    return "\n".join([head, *_blocks(chosen)])


def _blocks(rows: Iterable[tuple[Setting, Value, str, bool]]) -> Iterator[str]:
    """One for each row: its section's heading where that begins, why, what it is, and its value; that as a comment, if
    it is only offered."""
    import tomli_w  # here, so that a server with a file of its own runs without it

    section = ""
    for row, value, why, holds in rows:
        heading = "" if row.section == section else f"[{row.section}]\n"
        section = row.section
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        plain: object = value[0] if isinstance(value, tuple) and len(value) == 1 else value
        comment = "".join([f"# {line}\n" for line in (*wrap(why, _WIDTH), *_comment(row))])
        yield heading + comment + ("" if holds else "# ") + tomli_w.dumps({row.key: plain})


def _comment(row: Setting) -> Iterator[str]:
    yield from wrap(row.help, _WIDTH)
    yield from wrap(f"Allowed: {row.allowed}. Default: {row.default_text}.", _WIDTH)
    yield "Overridden by " + " or ".join(filter(None, (row.flag, row.env))) + "."
