"""What a store is to the rest of the server; and the one that keeps nothing."""

from __future__ import annotations

from typing import IO, Callable, NamedTuple, Protocol

from ..core.hub import Hub
from ..core.outbox import Chunk
from ..core.registry import Registry, SessionJournal
from ..wire.crypto import KeyPair
from ..wire.noise import KeyPair as ChannelKey
from .journal import MovedJournal
from .spool import MovedSpool


class MovedStore(NamedTuple):
    """A store as it goes from one process to another."""

    journal: MovedJournal
    spool: MovedSpool


class Upwards(Protocol):
    """What waits for the master, as its trunk has it."""

    before_connecting: Callable[[], None]
    """Called before a master is given what waits."""

    def hold(self, chunk: Chunk, packets: int) -> None:
        """Take back what waited in an earlier process."""

    def release(self) -> list[tuple[Chunk, int]]:
        """Give everything up that no master has taken."""
        ...


class NoStore:
    """Nothing outlives this process."""

    keeps = False
    """Whether anything is kept of what waits at the end."""

    def __init__(self, key: KeyPair, channel_key: ChannelKey | None = None) -> None:
        self.key = key
        """The server's of version 2, ..."""
        self.channel_key = channel_key or ChannelKey()
        """... and that of version 3."""
        self.next_keys: tuple[bytes, ...] = ()
        """Public keys that it may have later: clients are told of them."""
        self.epoch = 1
        """Which process this is of those that have had the directory: no epoch (SPEC 17) comes twice."""
        self._registry: Registry

    def restore(self, registry: Registry, hub: Hub, trunk: Upwards) -> None:
        """Before anybody connects: sessions and what waits for them, as an earlier process has left them."""
        self._registry = registry

    def begin(self) -> None:
        """From here on this process is the one whose state is kept. Raises StateError."""

    @property
    def lock(self) -> int:
        """The descriptor of what keeps other processes away; -1 without."""
        return -1

    @property
    def moved(self) -> MovedStore | None:
        """What another process needs to go on with it, at the end of a turn; None for nothing. Nothing is changed by
        that."""
        return None

    def move_in(self, moved: MovedStore) -> None:
        """Go on with what was another process's, from `begin` on."""
        raise NotImplementedError

    def hurry(self) -> None:
        """The process was asked to end: for what cannot be written now there is one more attempt, at the end."""

    def seal(self) -> None:
        """The process ends: sessions are as they are now, but that one may end yet. Connections may be closed after
        this. Doing it again does nothing."""
        self._registry.leave_to_the_next(SessionJournal())

    def leave(self) -> bool:
        """Behind the last connection: keep what waits, and let another process have the directory. Whether everything
        is kept that is to outlive the process."""
        return True


class Inherited(Protocol):
    """What a process has of the one that it follows."""

    @property
    def epoch(self) -> int:
        """See NoStore."""
        ...

    @property
    def key(self) -> bytes:
        """The secret of version 2's key, ..."""
        ...

    @property
    def channel_key(self) -> bytes:
        """... and that of version 3's."""
        ...

    def lock_file(self) -> IO[bytes]:
        """The lock of its state directory."""
        ...
