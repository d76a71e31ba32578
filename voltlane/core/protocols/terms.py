"""What this server tells clients of version 3, and allows them: from the settings, which may change while it runs."""

from __future__ import annotations

from ...config import Clients
from ...wire.v3 import Limits, Retained, Suite

_MOST = 0xFFFFFFFF


class Terms:
    """One server's. `keys`: what may take the place of its key."""

    def __init__(self, clients: Clients, keys: tuple[bytes, ...] = ()) -> None:
        self.keys = keys
        self.configure(clients)

    def configure(self, clients: Clients) -> None:
        """Go by these settings from now on."""
        retained = Retained(clients.channel_capacity, min(clients.outbox_bytes, _MOST))
        self.limits = Limits(clients.packet_size_limit, retained)
        self._unencrypted = clients.unencrypted

    def choose(self, suites: tuple[int, ...], local: bool) -> Suite | None:
        """The first of these suites that a client may have; `local`: nobody else can listen to it."""
        clear = self._unencrypted == "always" or (self._unencrypted == "local" and local)
        for suite in suites:
            if suite == Suite.NOISE or (suite == Suite.CLEAR and clear):
                return Suite(suite)
        return None
