"""The servers' keys: all servers of a cluster have the same, so that a client that has pinned one finds it everywhere.

They are in the store, sealed. The first server puts its own there; every other one takes what it finds.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Union

from ...errors import BadProof, StartupError
from ...net.reactor import Reactor
from ...wire.crypto import KEY_SIZE, KeyPair, load_key
from ...wire.noise import KeyPair as ChannelKey
from ..redis.link import Link
from ..redis.resp import Kind, Reply, Trouble
from ..redis.script import Script
from .secret import Sealer

FORMAT = b"\x01"
PURPOSE = "server keys"
START_SECS = 10.0
"""How long a server that begins waits for them."""
EXIT_NO_STORE = 4

ADOPT = Script("""\
-- KEYS: keys. ARGV: the sealed keys of one more server. Gives the sealed keys of all.
local there = redis.call('GET', KEYS[1])
if there then
  return there
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
""")


class ServerKeys(NamedTuple):
    """The secrets of both, 32 bytes each."""

    key: bytes
    """Of version 2."""
    channel_key: bytes
    """Of version 3."""

    @classmethod
    def of(cls, key: KeyPair, channel_key: ChannelKey) -> ServerKeys:
        """Those of a server that has some."""
        return cls(key.secret, channel_key.secret)

    def load(self) -> tuple[KeyPair, ChannelKey]:
        """The keys themselves. Raises ValueError where the first is none."""
        return load_key(self.key), ChannelKey(self.channel_key)

    def __repr__(self) -> str:
        return f"ServerKeys({ChannelKey(self.channel_key).public.hex()})"


class WrongSecret(NamedTuple):
    """There are keys in the store that do not open: they were sealed with another secret, or are damaged."""

    text: str


Found = Union[ServerKeys, WrongSecret, Trouble]


def ask_for_keys(link: Link, sealer: Sealer, own: ServerKeys, then: Callable[[Found], None]) -> None:
    """Have `then` get the keys of all; `own`, if there are none yet. May be asked again."""
    sealed = sealer.seal(PURPOSE, b"", FORMAT + own.key + own.channel_key)
    link.run(ADOPT, [link.key("keys")], [sealed], lambda reply: then(_found(link, sealer, reply)))


def _found(link: Link, sealer: Sealer, reply: Reply) -> Found:
    if isinstance(reply, Trouble):
        return reply
    name = link.key("keys")
    try:
        plaintext = sealer.open(PURPOSE, b"", reply if isinstance(reply, bytes) else b"")
    except BadProof:
        return WrongSecret(f"{name} in the store was sealed with another cluster.secret, or is damaged")
    keys = ServerKeys(plaintext[1 : 1 + KEY_SIZE], plaintext[1 + KEY_SIZE : 1 + 2 * KEY_SIZE])
    try:
        if plaintext[:1] != FORMAT or len(plaintext) != 1 + 2 * KEY_SIZE:
            raise ValueError
        keys.load()
    except ValueError:
        return WrongSecret(f"{name} in the store is of another version of voltlane")
    return keys


def keys_at_start(
    reactor: Reactor, link: Link, sealer: Sealer, own: ServerKeys, patience: float = START_SECS
) -> ServerKeys:
    """The same for a server that begins, whose link is started already: waits for them, which nobody else does, since
    nobody is there yet. Raises StartupError."""
    found: list[Found] = []
    deadline = reactor.refresh() + patience
    asked = False

    def answered(keys: Found) -> None:
        nonlocal asked
        asked = False
        if not isinstance(keys, Trouble) or keys.kind is Kind.REFUSED:
            found.append(keys)

    while not found and reactor.now < deadline:
        if link.up and not asked:
            asked = True
            ask_for_keys(link, sealer, own, answered)
        reactor.turn(min(0.1, deadline - reactor.now))
    if not found:
        raise StartupError(f"no keys from the store within {patience:g} s: it {link.text}", EXIT_NO_STORE)
    if not isinstance(found[0], ServerKeys):
        raise StartupError(f"the keys of the cluster cannot be had: {found[0].text}", 2)
    return found[0]
