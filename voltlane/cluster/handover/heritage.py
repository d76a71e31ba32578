"""What a process has to be in order to go on with what another one has: said first, while that one still serves."""

from __future__ import annotations

import os
from struct import Struct
from typing import IO, NamedTuple

from ...store.records import Damaged
from .fields import Reader, Writer

_NUMBERS = Struct("<QQQHB")
_KEY_SIZE = 32
_MODES = ("", "sessions", "open")


class Heritage(NamedTuple):
    """Of the process that hands over."""

    pid: int
    node: int
    epoch: int
    state_dir: str
    """Absolute; "" for none."""
    key: bytes
    """The secret of version 2's key, ..."""
    channel_key: bytes
    """... and of version 3's."""
    listening: tuple[str, ...] = ()
    """The addresses that it was asked to listen on, and does; not those of sockets that others have opened for it."""
    cluster: str = ""
    """Which store it has in common with other servers, and the prefix there; "" where it is alone."""
    datagrams: str = ""
    """What datagrams are there, as `udp.mode` has it; "" where there are none."""
    mtu: int = 0
    """How large they may be, which clients were told."""
    lock: int = -1
    """The descriptor of the state directory's lock, if there is one."""

    def encode(self) -> bytes:
        """Its fields."""
        writer = Writer()
        writer.put(_NUMBERS, self.pid, self.node, self.epoch, self.mtu, self.lock >= 0)
        writer.text(self.state_dir)
        writer.blob(self.key)
        writer.blob(self.channel_key)
        writer.text("\n".join(self.listening))
        writer.text(self.cluster)
        writer.text(self.datagrams)
        return writer.done()

    def lock_file(self) -> IO[bytes]:
        """The lock, whose descriptor belongs to the file from then on."""
        return os.fdopen(self.lock, "rb")

    def __repr__(self) -> str:
        return f"<Heritage of process {self.pid}>"


def decode_heritage(data: bytes) -> tuple[Heritage, bool]:
    """What `encode` gave, and whether a descriptor came with it. Raises Damaged."""
    reader = Reader(data)
    pid, node, epoch, mtu, locked = reader.take(_NUMBERS)
    state_dir, key, channel_key, listening = reader.text(), reader.blob(), reader.blob(), reader.text()
    cluster, datagrams = reader.text(), reader.text()
    reader.end()
    if len(key) != _KEY_SIZE or len(channel_key) != _KEY_SIZE:
        raise Damaged("a key that is none")
    if datagrams not in _MODES:
        raise Damaged(f"nothing here has datagrams of mode {datagrams}")
    addresses = tuple(listening.split("\n")) if listening else ()
    return Heritage(pid, node, epoch, state_dir, key, channel_key, addresses, cluster, datagrams, mtu), bool(locked)
