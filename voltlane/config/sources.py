"""Where values come from: flags over `VOLTLANE_*` environment variables over the file over the defaults."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from typing import Any, Callable, TypeVar, Union

from ..errors import ConfigError
from .mistakes import Mistakes
from .rules import check_together
from .sections import SECTIONS, SETTINGS, Config
from .setting import ENV_PREFIX, Section, Setting, Value, settings_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_BYTES = 1 << 20
"""Of a file. There is room for fifty thousand networks; and /dev/zero ends."""

_RESERVED = ("VOLTLANE_PURE_PYTHON",)
_VARIABLES = f"; each is {ENV_PREFIX}<SECTION>_<KEY>, after a setting"
# Kubernetes sets these for every service whose name begins with `voltlane`; they are nobody's typing mistake.
_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")

StrPath = Union[str, "os.PathLike[str]"]

_S = TypeVar("_S", bound=Section)
_Given = tuple[Setting, str, Callable[[], Value]]
"""A setting, where it was given, and its value, which is found out by checking what was given."""


def load(
    path: StrPath | None = None, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None
) -> Config:
    """The settings from all sources: flags over environment over file over defaults.

    `path` None means no file; a file that is not there is an error. `flags` maps "section.key" to a value, or to its
    text. Raises ConfigError, which has every mistake in every source.
    """
    values, mistakes = _gather(path, environ, flags)
    mistakes.tell()
    sections: dict[str, Any] = {name: section(**_of_section(section, values)) for name, section in SECTIONS.items()}
    return Config(**sections)


def load_section(
    section: type[_S],
    path: StrPath | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> _S | None:
    """One section, as `load` gives it, whatever is wrong with others; None where one of its own values is."""
    try:
        values, mistakes = _gather(path, environ, flags)
    except ConfigError:  # more than are told
        return None
    if not mistakes.about.isdisjoint([row.name for row in settings_of(section)]):
        return None
    return section(**_of_section(section, values))


def _of_section(section: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    return {row.key: values[row.name] for row in settings_of(section)}


def _gather(
    path: StrPath | None, environ: Mapping[str, str] | None, flags: Mapping[str, object] | None
) -> tuple[dict[str, Any], Mistakes]:
    """The value of every setting, by its name, and what is wrong. Raises ConfigError when that is too much to go on."""
    mistakes = Mistakes()
    values: dict[str, Any] = {name: row.default for name, row in SETTINGS.items()}
    origins: dict[str, str] = {}
    given = (_from_file(path, mistakes), _from_environment(environ or {}, mistakes), _from_flags(flags or {}, mistakes))
    for row, origin, value in chain(*given):
        with mistakes.gathered(row.name):
            values[row.name] = value()
            origins[row.name] = origin
    check_together(values, origins, mistakes)
    return values, mistakes


def _from_file(path: StrPath | None, mistakes: Mistakes) -> Iterator[_Given]:
    text = ""
    document: dict[str, Any] = {}
    if path is not None:
        with mistakes.gathered(*SETTINGS):
            text, document = _read(path)
    lines = _lines(text)
    for section, table in document.items():
        origin = _origin(path, lines.get(section))
        if section not in SECTIONS:
            mistakes.add(f"{origin}: {_unknown_section(section, table)}")
        elif not isinstance(table, dict):
            mistakes.add(f"{origin}: {section} is a section: write [{section}], and its keys below")
        else:
            for key, value in table.items():
                row, place = SETTINGS.get(f"{section}.{key}"), _origin(path, lines.get(f"{section}.{key}"), origin)
                if row is None:
                    mistakes.add(f"{place}: {_unknown_key(section, key)}")
                else:
                    yield row, place, partial(row.check, value, place)


def _from_environment(environ: Mapping[str, str], mistakes: Mistakes) -> Iterator[_Given]:
    variables = {row.env: row for row in SETTINGS.values()}
    variables.update((row.full_env, row) for row in SETTINGS.values())
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable not in variables and not _is_foreign(variable, environ):
            mistakes.add(f"unknown environment variable {variable}{nearest(variable, variables, _VARIABLES)}")
    for variable, row in variables.items():
        text = environ.get(variable, "").strip()
        if text:  # compose files set a variable they have no value for to the empty string
            yield row, variable, partial(row.check_text, text, variable)


def _from_flags(flags: Mapping[str, object], mistakes: Mistakes) -> Iterator[_Given]:
    for name, value in flags.items():
        row = SETTINGS.get(name)
        if row is None:
            mistakes.add(f"unknown setting {name}{nearest(name, SETTINGS)}")
            continue
        origin = row.flag or name
        if isinstance(value, str):
            yield row, origin, partial(row.check_text, value, origin)
        else:
            yield row, origin, partial(row.check, value, origin)


def _read(path: StrPath) -> tuple[str, dict[str, Any]]:
    """The file's text and the document in it."""
    try:
        pipe, data = stat.S_ISFIFO(os.stat(path).st_mode), b""
        if not pipe:  # opening that would wait for its other end
            with open(path, "rb") as file:
                data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{str(path)!r}: cannot be read: there is a NUL in the name") from None
    if pipe:
        raise ConfigError(f"{path}: cannot be read: it is a pipe, and what comes of one cannot be read again")
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: cannot be read: it is larger than {MOST_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")  # Notepad writes a byte order mark, which TOML does not allow
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{_origin(path, line)}: not UTF-8 text, which TOML has to be") from None
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: brackets in brackets, too many to read") from None
    except (ValueError, OverflowError) as error:  # TOMLDecodeError, or an integer with thousands of digits
        message = str(error)
        place = re.search(r" \(at line ([0-9]+), column [0-9]+\)", message)
        what = message.replace(place.group(0), "") if place else message
        raise ConfigError(f"{_origin(path, int(place.group(1)) if place else None)}: not valid TOML: {what}") from None


def _origin(path: StrPath | None, line: int | None, otherwise: str = "") -> str:
    return f"{path}:{line}" if line else otherwise or str(path)


def _lines(text: str) -> dict[str, int]:
    """The lines that sections and "section.key"s begin on, as far as they are found.

    The TOML parser does not tell. This sees `[section]` with `key = …` below, `section.key = …` and `section = …`,
    each without regard to quotes; whoever writes it otherwise gets a message with less in it.
    """
    current = ""
    found: dict[str, int] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"""["'\s]""", "", raw)
        if line.startswith("["):
            name = current = line.strip("[").partition("]")[0]
        else:
            left, equals, _ = line.partition("=")
            name = ".".join(filter(None, (current, left))) if equals else ""
        section, *keys = name.split(".")[:2]
        found.setdefault(section, number)
        for key in keys:
            found.setdefault(f"{section}.{key}", number)
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
    keys, sections = [row.key for row in SETTINGS.values()], ", ".join(f"[{name}]" for name in SECTIONS)
    return f"unknown key {section} outside any section{nearest(section, keys, f'; there are {sections}')}"


def _unknown_key(section: str, key: str) -> str:
    own = [row.key for row in SETTINGS.values() if row.section == section]
    homes = [row.section for row in SETTINGS.values() if row.key == key]
    hint = f"; it belongs into [{homes[0]}]" if homes else nearest(key, own)
    return f"unknown key {key} in [{section}]{hint}"


def nearest(given: str, names: Iterable[str], otherwise: str = "") -> str:
    """What to end the message about an unknown name with: the name that was probably meant, or all there are.

    `otherwise`: what to say where these are too many.
    """
    from difflib import get_close_matches  # only ever needed for a message

    # The prefix that all variables share would make any two of them look alike.
    plain = {name.removeprefix(ENV_PREFIX).lower(): name for name in names}
    close = get_close_matches(given.removeprefix(ENV_PREFIX).lower(), plain, n=1)
    if close:
        return f"; did you mean {plain[close[0]]}?"
    return otherwise or "; there are " + ", ".join(plain.values())
