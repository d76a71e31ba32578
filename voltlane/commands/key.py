"""`voltlane key`: the public key of protocol version 3 in a state directory, and its replacement by another one.

A key is replaced in two steps, so that clients hear of the new one from the old one: it is prepared, and some time
later it takes the old one's place. Nothing of it touches sessions, or the key of version 2.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .. import config
from ..errors import ConfigError, StateError
from ..store.directory import Files, StateDirectory
from ..store.keyfile import CHANNEL, prepare_next, read_key, switch_to_next
from .console import command_line, say, show
from .serve import find_file


def key(flags: Mapping[str, str], file: str | None, directory: str | None, change: str) -> int:
    """Print the key; or, with a `change`, prepare the one that is to follow ("next"), or let it follow ("switch"), and
    print that one. The exit code. Raises ConfigError, StateError."""
    if directory is None:
        directory = config.load(file or find_file(), os.environ, flags).general.state_dir
    if not directory:
        raise ConfigError("no state directory: set general.state_dir, or give one with --state-dir")
    show(_CHANGES[change](directory))
    return 0


def _present(path: str) -> str:
    return _public(Files(path))


def _next(path: str) -> str:
    with _locked(path) as directory:
        _public(directory)  # without one there is nothing to follow
        public = prepare_next(directory).public
    say("clients are told of this key from the server's next start on; voltlane key --switch puts it into use")
    return public.hex()


def _switch(path: str) -> str:
    with _locked(path) as directory:
        following = switch_to_next(directory)
        if following is None:
            raise StateError(f"{directory.path} has no key that is prepared: {command_line('key', '--next')} makes one")
    say("this is the server's key from its next start on; clients that have not met it as the next one refuse it")
    return following.public.hex()


_CHANGES = {"": _present, "next": _next, "switch": _switch}


def _public(directory: Files) -> str:
    found = read_key(directory, CHANNEL)
    if found is None:
        raise StateError(f"{directory.path} has no {CHANNEL} yet: a server makes it when it first starts there")
    return found.public.hex()


@contextmanager
def _locked(path: str) -> Iterator[StateDirectory]:
    """A directory that is there, and that no server has meanwhile."""
    Files(path)
    directory = StateDirectory(path, "stop it to change its keys; without a flag this command works meanwhile")
    try:
        yield directory
    finally:
        directory.close()
