"""The settings: one table, from which file, environment, flags, validation and documentation are made.

The table is the fields of the dataclasses below. `load` puts the sources together: flags over `VOLTLANE_*` environment
variables over the file over the defaults. `to_toml` writes the commented file. Every mistake is a ConfigError that says
where it stands (file and line, variable or flag), the key, what was given and what is allowed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap
from typing import Any

from .errors import ConfigError
from .setting import ENV_PREFIX, Section, Setting, Value, seconds, setting, settings_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LOG_LEVELS = ("Off", "Error", "Warn", "Info", "Debug", "Trace")
PACKET_SIZE_MAX = 8 * 1024 * 1024 - 9
"""Bytes of the largest client packet: with the tag's nine in front, backends take at most 8 MiB."""

_SHORTEST = 0.01
"""Seconds of the shortest interval or deadline: less would only keep the processor busy."""
_RESERVED = ("VOLTLANE_PURE_PYTHON",)
# Kubernetes sets these for every service whose name begins with `voltlane`; they are nobody's typing mistake.
_KUBERNETES = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_HEAD = """\
# Voltlane's settings. Every key may be left out: it then has its default.
# A command line flag is stronger than an environment variable, which is stronger than this file.
"""

_Given = tuple[Value, str]
"""A value and where it was given."""


@dataclass(frozen=True)
class General(Section):
    """What concerns the whole process."""

    log_level: str = setting("Info", "How much is logged, to standard error.", choices=LOG_LEVELS, flag="--log-level")


@dataclass(frozen=True)
class Listener(Section):
    """Where clients connect."""

    address: str = setting("127.0.0.1:42000", "Where clients connect to.", address="listen", flag="--listen")


@dataclass(frozen=True)
class Master(Section):
    """The connection to the backend."""

    address: str = setting(
        "127.0.0.1:42001",
        "Where the master (the backend) listens; the server connects to it.",
        address="dial",
        flag="--master",
    )
    channel_capacity: int = setting(
        32768,
        "Packets that may wait for the master; past that, clients are not read until it has caught up.",
        unit="packets",
        at_least=1,
    )
    outbox_bytes: int = setting(
        4 * 1024 * 1024, "The same limit in bytes; whichever is reached first counts.", unit="bytes", at_least=1
    )
    reconnect_min_secs: float = seconds(
        0.1,
        "Wait before the first attempt to reconnect to a lost master; doubled with each attempt, with jitter.",
        at_least=_SHORTEST,
    )
    reconnect_max_secs: float = seconds(5.0, "The longest wait between two attempts.", at_least=_SHORTEST)
    give_up_secs: float = seconds(
        0.0, "End the process (exit code 4) when the master could not be reached for this long. 0 = never."
    )


@dataclass(frozen=True)
class Clients(Section):
    """What one client may use, and how long it is remembered."""

    channel_capacity: int = setting(
        8192,
        "Packets that may wait for one client; past that for slow_secs without a break it counts as too slow.",
        unit="packets",
        at_least=1,
    )
    slow_secs: float = seconds(10.0, "How long a client may stay over channel_capacity.")
    outbox_bytes: int = setting(
        8 * 1024 * 1024,
        "Bytes that may wait for one client; past that it counts as too slow at once.",
        unit="bytes",
        at_least=1,
    )
    overflow_policy: str = setting(
        "disconnect",
        'What happens to a client that is too slow. "disconnect": it is closed and the master is told. "block": the '
        "master is not read until there is room; then one client that does not read can stall all others.",
        choices=("disconnect", "block"),
    )
    handshake_secs: float = seconds(
        5.0, "A client that has not finished its handshake by then is closed.", at_least=_SHORTEST
    )
    packet_size_limit: int = setting(
        PACKET_SIZE_MAX,
        "The largest packet a client may send; 8 MiB less the 9 bytes of the tag that the master gets.",
        unit="bytes",
        at_least=1,
        at_most=PACKET_SIZE_MAX,
    )
    stale_timeout_secs: float = seconds(
        300.0, "How long a client that lost its connection can come back. 0 = it is gone at once."
    )
    max_stale_clients: int = setting(
        65535, "How many lost clients are remembered; the oldest go first.", unit="clients", at_least=0
    )
    stale_reap_interval_secs: float = seconds(
        15.0, "How often clients that stayed away too long are removed.", at_least=_SHORTEST
    )
    missed_packets_buffer_size: int = setting(
        8192, "Packets kept for one lost client until it is back. 0 = none are kept.", unit="packets", at_least=0
    )
    missed_packets_buffer_bytes: int = setting(
        8 * 1024 * 1024, "The same limit in bytes; whichever is reached first counts.", unit="bytes", at_least=0
    )
    keepalive_secs: float = seconds(
        60.0,
        "A connection, of a client or to the master, whose other side has been silent for twice this long is lost. "
        "0 = as the system has it.",
        at_most=32767,
    )


_SECTIONS: dict[str, type[Section]] = {"general": General, "listener": Listener, "master": Master, "clients": Clients}


SETTINGS: dict[str, Setting] = {row.name: row for section in _SECTIONS.values() for row in settings_of(section)}
"""The table, by "section.key", in the file's order."""


@dataclass(frozen=True)
class Config:
    """All settings; immutable. Wrong values are refused with ConfigError however it is made."""

    general: General = field(default_factory=General)
    listener: Listener = field(default_factory=Listener)
    master: Master = field(default_factory=Master)
    clients: Clients = field(default_factory=Clients)

    def __post_init__(self) -> None:
        _check_together(self.master, {})


def defaults() -> Config:
    """Every setting at its default."""
    return Config()


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
    values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for name, (value, _) in given.items():
        row = SETTINGS[name]
        values[row.section][row.key] = value
    master = Master(**values["master"])
    _check_together(master, {name: origin for name, (_, origin) in given.items()})
    return Config(General(**values["general"]), Listener(**values["listener"]), master, Clients(**values["clients"]))


def _from_file(path: Path) -> Iterator[tuple[str, _Given]]:
    text, document = _read(path)
    for section, table in document.items():
        origin = _origin(path, _line_of(text, section))
        if section not in _SECTIONS:
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


def _check_together(master: Master, origins: Mapping[str, str]) -> None:
    """What no single key can tell. `origins`: where each key was given, of those that were."""
    least, most = "master.reconnect_min_secs", "master.reconnect_max_secs"
    if master.reconnect_min_secs > master.reconnect_max_secs:
        places = [origins[name] for name in (least, most) if name in origins]
        raise ConfigError(
            f"{', '.join(places)}{': ' if places else ''}{least} = {master.reconnect_min_secs:g} is more than "
            f"{most} = {master.reconnect_max_secs:g}{'' if most in origins else ' (default)'}"
        )


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
        return f"unknown section [{section}]{nearest(f'[{section}]', [f'[{name}]' for name in _SECTIONS])}"
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


def to_toml(config: Config) -> str:
    """The settings as a commented TOML file, which `load` reads back to an equal Config."""
    import tomli_w  # here, so that a server with a file of its own runs without it

    blocks = [_HEAD]
    for section, cls in _SECTIONS.items():
        heading = f"[{section}]\n"
        for row in settings_of(cls):
            value = getattr(getattr(config, section), row.key)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            comment = "".join(f"# {line}\n" for line in _comment(row))
            blocks.append(heading + comment + tomli_w.dumps({row.key: value}))
            heading = ""
    return "\n".join(blocks)


def _comment(row: Setting) -> Iterator[str]:
    default = f"{row.default:.12g}" if isinstance(row.default, float) else row.default
    yield from wrap(row.help, 118)
    yield from wrap(f"Allowed: {row.allowed}. Default: {default}.", 118)
    yield "Overridden by " + " or ".join(filter(None, (row.flag, row.env))) + "."
