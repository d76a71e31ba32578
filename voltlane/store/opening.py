"""Which store the settings ask for."""

from __future__ import annotations

from ..config import General
from ..core.counters import Counters
from ..net.reactor import Reactor
from ..wire.crypto import KeyPair, generate_key, load_key
from ..wire.noise import KeyPair as ChannelKey
from .directory import SharedDirectory, StateDirectory
from .heir_store import HeirStore
from .keys import Keys
from .no_store import Inherited, NoStore
from .session_store import SessionStore


def open_store(
    general: General,
    reactor: Reactor,
    counters: Counters,
    key: KeyPair | None,
    inherited: Inherited | None = None,
    keys: Keys | None = None,
) -> NoStore:
    """The store that the settings ask for. Without a `key` it is that of the process that this one follows, if it
    follows one, else the directory's, or a new one, as that of version 3 is. `keys`: those of a server of which this
    process is a part. Raises StateError."""
    if general.state_dir and inherited is None:
        sync_secs = general.state_sync_secs
        return SessionStore(StateDirectory(general.state_dir), reactor, counters, sync_secs, key, keys=keys)
    if general.state_dir and inherited is not None:
        directory = SharedDirectory(general.state_dir, inherited.lock_file())
        return HeirStore(inherited.epoch, directory, reactor, counters, general.state_sync_secs, key, keys=keys)
    if keys is not None:
        shared = NoStore(keys.key, keys.channel_key)
        shared.next_keys = keys.next_keys
        shared.epoch = 1 if inherited is None else inherited.epoch
        return shared
    if inherited is None:
        return NoStore(key or generate_key())
    store = NoStore(key or load_key(inherited.key), ChannelKey(inherited.channel_key))
    store.epoch = inherited.epoch
    return store
