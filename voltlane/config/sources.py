"""Where values come from: flags over `VOLTLANE_*` environment variables over the file over the defaults."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .sections import SECTIONS, SETTINGS, Config, check_together
from .setting import ENV_PREFIX, Value

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_RESERVED = ("VOLTLANE_PURE_PYTHON",)
# Kubernetes sets these for every service whose name begins with `voltlane`; they are nobody's typing mistake.
_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")

_Given = tuple[Value, str]
"""A value and where it was given."""


def load(
    path: Path | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """The settings from all sources: flags over environment over file over defaults.

    `path` None means no file; a file that is not there is an error. `flags` maps "section.key" to a value, or to its
    text. Raises ConfigError.
    """
    given: dict[str, _Given] = {}
    if path is not None:
        given.update(_from_file(path))
    given.update(_from_environment(environ or {}))
    given.update(_from_flags(flags or {}))
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, (value, _) in given.items():
        row = SETTINGS[name]
        values[row.section][row.key] = value
    sections: dict[str, Any] = {section: cls(**values[section]) for section, cls in SECTIONS.items()}
    check_together(sections, {name: origin for name, (_, origin) in given.items()})
    return Config(**sections)


def _from_file(path: Path) -> Iterator[tuple[str, _Given]]:
    text, document = _read(path)
    for section, table in document.items():
        origin = _origin(path, _line_of(text, section))
        if section not in SECTIONS:
            raise ConfigError(f"{origin}: {_unknown_section(section, table)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{origin}: {section} is a section: write [{section}], and its keys below")
        for key, value in table.items():
            origin = _origin(path, _line_of(text, section, key))
            row = SETTINGS.get(f"{section}.{key}")
            if row is None:
                raise ConfigError(f"{origin}: {_unknown_key(section, key)}")
            yield row.name, (row.check(value, origin), origin)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, _Given]]:
    variables = {row.env: row for row in SETTINGS.values()}
    variables.update((row.full_env, row) for row in SETTINGS.values())
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable not in variables and not _is_foreign(variable, environ):
            raise ConfigError(f"unknown environment variable {variable}{nearest(variable, variables)}")
    for variable, row in variables.items():
        text = environ.get(variable, "").strip()
        if text:  # compose files set a variable they have no value for to the empty string
            yield row.name, (row.check_text(text, variable), variable)


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, _Given]]:
    for name, value in flags.items():
        row = SETTINGS.get(name)
        if row is None:
            raise ConfigError(f"unknown setting {name}{nearest(name, SETTINGS)}")
        origin = row.flag or name
        check = row.check_text if isinstance(value, str) else row.check
        yield name, (check(value, origin), origin)  # type: ignore[arg-type]


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text and the document in it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = data.decode("utf-8-sig")  # Notepad writes a byte order mark, which TOML does not allow
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{_origin(path, line)}: not UTF-8 text, which TOML has to be") from None
    except ValueError as error:  # TOMLDecodeError, or an integer with thousands of digits
        message = str(error)
        place = re.search(r" \(at line (\d+), column \d+\)", message)
        line = int(place.group(1)) if place else 0
        what = message.replace(place.group(0), "") if place else message
        raise ConfigError(f"{_origin(path, line)}: not valid TOML: {what}") from None


def _origin(path: Path, line: int) -> str:
    return f"{path}:{line}" if line else str(path)


def _line_of(text: str, section: str, key: str = "") -> int:
    """The line that a section or one of its keys begins on; the section's where the key's is not found; 0 for neither.

    The TOML parser does not tell. This sees `[section]` with `key = …` below, `section.key = …` and `section = …`,
    each without regard to quotes; whoever writes it otherwise gets a message with less in it.
    """
    current, found = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"""["'\s]""", "", raw)
        if line.startswith("["):
            current = line.strip("[").partition("]")[0]
            name = current
        else:
            left, equals, _ = line.partition("=")
            name = ".".join(filter(None, (current, left))) if equals else ""
        if key and (name == f"{section}.{key}" or name.startswith(f"{section}.{key}.")):
            return number
        if not found and name.partition(".")[0] == section:
            found = number
    return found


def _is_foreign(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether a VOLTLANE_ variable is meant for something else than the settings."""
    if variable in _RESERVED or _KUBERNETES.fullmatch(variable):
        return True
    return variable.endswith("_PORT") and "://" in environ[variable]


def _unknown_section(section: str, value: object) -> str:
    if isinstance(value, dict):
        return f"unknown section [{section}]{nearest(f'[{section}]', [f'[{name}]' for name in SECTIONS])}"
    homes = [row.section for row in SETTINGS.values() if row.key == section]
    if homes:
        return f"{section} stands outside its section; write it below [{homes[0]}]"
    return f"unknown key {section} outside any section{nearest(section, [row.key for row in SETTINGS.values()])}"


def _unknown_key(section: str, key: str) -> str:
    own = [row.key for row in SETTINGS.values() if row.section == section]
    homes = [row.section for row in SETTINGS.values() if row.key == key]
    hint = f"; it belongs into [{homes[0]}]" if homes else nearest(key, own)
    return f"unknown key {key} in [{section}]{hint}"


def nearest(given: str, names: Iterable[str]) -> str:
    """What to end the message about an unknown name with: the name that was probably meant, or all there are."""
    from difflib import get_close_matches  # only ever needed for a message

    # The prefix that all variables share would make any two of them look alike.
    plain = {name.removeprefix(ENV_PREFIX).lower(): name for name in names}
    close = get_close_matches(given.removeprefix(ENV_PREFIX).lower(), plain, n=1)
    if close:
        return f"; did you mean {plain[close[0]]}?"
    return "; there are " + ", ".join(plain.values())
