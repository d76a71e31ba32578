"""The files of the server's keys: two lines of hex each, the secret and the public key that belongs to it.

The second makes damage evident, and can be read out for clients that are to be given the server's key.
"""

from __future__ import annotations

import os
from typing import Callable, TypeVar

from ..errors import StateError
from ..wire.crypto import KEY_SIZE, KeyPair, generate_secret, load_key
from ..wire.noise import KeyPair as ChannelKey
from .directory import Files, StateDirectory

FILE = "server.key"
"""The key of version 2, to which everything else in the directory belongs."""
CHANNEL = "channel.key"
"""The key of version 3."""
NEXT = "channel.next"
"""The one that is to take its place. Clients that come meanwhile hear of it."""

_BACKUP = "put the file back from a backup, or "
_EVERYTHING = "move all of the directory away: the server then begins with a new key and no sessions"
_ADVICE = {
    FILE: _BACKUP + _EVERYTHING,
    CHANNEL: _BACKUP + _EVERYTHING,
    NEXT: _BACKUP + "remove it: no key is prepared then",
}


Key = TypeVar("Key", KeyPair, ChannelKey)


def load_or_make(directory: StateDirectory, needed: bool) -> KeyPair:
    """The key of version 2 in the directory; a new one where there is none, unless it is `needed` for what else is
    there. Raises StateError."""
    return _read(directory, FILE, load_key) or _make(directory, FILE, load_key, generate_secret(), needed)


def load_channel_key(directory: StateDirectory, needed: bool) -> ChannelKey:
    """The same for version 3, whose sessions do not depend on the key, but whose clients expect it."""
    return read_key(directory, CHANNEL) or _make(directory, CHANNEL, ChannelKey, os.urandom(KEY_SIZE), needed)


def load_next_key(directory: Files) -> tuple[bytes, ...]:
    """The public key that is prepared, if there is one. Raises StateError."""
    key = read_key(directory, NEXT)
    return (key.public,) if key is not None else ()


def read_key(directory: Files, file: str) -> ChannelKey | None:
    """The key in CHANNEL or NEXT; None if there is none. Raises StateError."""
    return _read(directory, file, ChannelKey)


def prepare_next(directory: StateDirectory) -> ChannelKey:
    """The key that is prepared already, or a new one that is from now on. Raises StateError."""
    return read_key(directory, NEXT) or _make(directory, NEXT, ChannelKey, os.urandom(KEY_SIZE), False)


def switch_to_next(directory: StateDirectory) -> ChannelKey | None:
    """Let the key that is prepared be that of version 3; None if there is none. Raises StateError."""
    key = read_key(directory, NEXT)
    if key is not None:
        directory.rename(NEXT, CHANNEL)
    return key


def _make(directory: StateDirectory, file: str, load: Callable[[bytes], Key], secret: bytes, needed: bool) -> Key:
    if needed:
        raise StateError(f"{directory.name(file)} is missing, and there are sessions that need it: {_ADVICE[file]}")
    key = load(secret)
    directory.write(file, f"{secret.hex()}\n{key.public.hex()}\n".encode("ascii"))
    return key


def _read(directory: Files, file: str, load: Callable[[bytes], Key]) -> Key | None:
    data = directory.read(file)
    if data is None:
        return None
    try:
        secret, public = (bytes.fromhex(line) for line in data.decode("ascii").splitlines())
        if len(secret) != KEY_SIZE:
            raise ValueError
        key = load(secret)
    except ValueError:  # UnicodeError is one, too
        raise StateError(f"{directory.name(file)} is damaged: {_ADVICE[file]}") from None
    if key.public != public:
        raise StateError(f"{directory.name(file)} is damaged, its two lines do not belong together: {_ADVICE[file]}")
    return key
