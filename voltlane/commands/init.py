"""`voltlane init`: a configuration file to begin with, for one use or with all the defaults."""

from __future__ import annotations

import os
from contextlib import suppress

from .. import config
from ..errors import ConfigError, StartupError
from .console import command_line, reason, say
from .serve import DEFAULT_FILE


def init(profile: str | None, file: str | None, force: bool) -> int:
    """Write it; over one that is there only by `force`. The exit code. Raises ConfigError, StartupError."""
    path = file or DEFAULT_FILE
    if profile is not None and profile not in config.PROFILES:
        raise ConfigError(f"--profile: unknown profile {profile}{config.nearest(profile, config.PROFILES)}")
    text = config.to_toml(config.defaults()) if profile is None else config.profile_to_toml(profile)
    if os.path.lexists(path) and not force:
        raise ConfigError(f"{path} is there already; --force puts the new one in its place")
    try:
        _write(path, text)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {reason(error)}") from None
    if profile is None:
        say(f"wrote {path} with the defaults; with --profile it is for one use:")
        for name, row in config.PROFILES.items():
            say(f"  {name:8} {row.summary}")
    else:
        say(f"wrote {path}, profile {profile}: {config.PROFILES[profile].summary}")
    where = [] if path == DEFAULT_FILE else ["--config", path]
    say(f"change it, and then:  {command_line('serve', *where)}")
    return 0


def _write(path: str, text: str) -> None:
    """All of it, or nothing: what is there stays until the new one is whole. Raises OSError."""
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with open(beside, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(beside)
        raise
