"""The settings as a file that explains itself."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from .sections import SECTIONS, Config
from .setting import Setting, settings_of

_HEAD = """\
# Voltlane's settings. Every key may be left out: it then has its default.
# A command line flag is stronger than an environment variable, which is stronger than this file.
"""


def to_toml(config: Config) -> str:
    """The settings as a commented TOML file, which `load` reads back to an equal Config."""
    import tomli_w  # here, so that a server with a file of its own runs without it

    blocks = [_HEAD]
    for section, cls in SECTIONS.items():
        heading = f"[{section}]\n"
        for row in settings_of(cls):
            value = config.value(row.name)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, tuple) and len(value) == 1:
                value = value[0]
            comment = "".join(f"# {line}\n" for line in _comment(row))
            blocks.append(heading + comment + tomli_w.dumps({row.key: value}))
            heading = ""
    return "\n".join(blocks)


def _comment(row: Setting) -> Iterator[str]:
    yield from wrap(row.help, 118)
    yield from wrap(f"Allowed: {row.allowed}. Default: {row.default_text}.", 118)
    yield "Overridden by " + " or ".join(filter(None, (row.flag, row.env))) + "."
