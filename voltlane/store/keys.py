"""The keys of one server, where several processes are that server: all have the same."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..wire.crypto import KeyPair, generate_key
from ..wire.noise import KeyPair as ChannelKey
from .directory import StateDirectory
from .keyfile import load_channel_key, load_next_key, load_or_make


class Keys(NamedTuple):
    """What clients know a server by."""

    key: KeyPair
    """Of version 2, ..."""
    channel_key: ChannelKey
    """... and of version 3."""
    next_keys: tuple[bytes, ...] = ()
    """Public keys that it may have later."""

    def __repr__(self) -> str:
        return "<Keys>"


def new_keys() -> Keys:
    """Those of a server that keeps nothing."""
    return Keys(generate_key(), ChannelKey(os.urandom(32)))


def kept_keys(directory: StateDirectory, needed: bool) -> Keys:
    """Those in a directory, and new ones where there are none, unless sessions `need` them. Raises StateError."""
    return Keys(load_or_make(directory, needed), load_channel_key(directory, needed), load_next_key(directory))
