"""Clients who are at another server now: what the master still sends them by way of this one is told, not lost in
silence. A bounded number of them, the latest."""

from __future__ import annotations

from collections import OrderedDict

MOST = 1 << 16


class MovedClients:
    """Those of one server."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._ids: OrderedDict[int, None] = OrderedDict()

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, client_id: int) -> None:
        """It has moved; the oldest that is remembered makes room."""
        self._ids[client_id] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    @property
    def ids(self) -> list[int]:
        """All that are remembered, the latest last."""
        return list(self._ids)

    def discard(self, client_id: int) -> None:
        """It is here again."""
        self._ids.pop(client_id, None)
