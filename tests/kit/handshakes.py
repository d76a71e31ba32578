"""What all handshakes of a server share, for tests that have no server."""

from __future__ import annotations

import os
from typing import Callable

from voltlane import config
from voltlane.core.budget import Budget
from voltlane.core.protocols.handshake import HandshakeContext
from voltlane.core.protocols.terms import Terms
from voltlane.core.registry import Registry
from voltlane.wire.crypto import KeyPair
from voltlane.wire.noise import KeyPair as ChannelKey

CHANNEL_KEY = ChannelKey()


class Peer:
    """Whose handshake it is."""

    def __init__(self, local: bool = True) -> None:
        self.local = local


def context(
    key: KeyPair,
    registry: Registry,
    budget: Budget | None = None,
    random: Callable[[int], bytes] = os.urandom,
    keys: tuple[bytes, ...] = (),
    **clients: object,
) -> HandshakeContext:
    """With these settings of `clients`."""
    flags = {f"clients.{name}": value for name, value in clients.items()}
    terms = Terms(config.load(None, {}, flags).clients, keys)
    return HandshakeContext(key, CHANNEL_KEY, registry, budget or Budget(), terms, random)
