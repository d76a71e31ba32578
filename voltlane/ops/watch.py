"""Who watches clients come and go. One call for a connection, none for a packet; nobody watches by default."""

from __future__ import annotations

from typing import Protocol

from ..reasons import CloseReason


class Watcher(Protocol):
    """Is told of each client's connection. Must not raise, and must not take long."""

    def here(self, client_id: int, peer: str, resumed: bool) -> None:
        """A client is through with its handshake."""

    def banned(self, network: str, seconds: float) -> None:
        """An address, or a network that counts as one, is not let in for so long."""

    def gone(self, client_id: int, peer: str, reason: CloseReason, detail: str) -> None:
        """A connection was closed; id 0 when it had no session yet."""
