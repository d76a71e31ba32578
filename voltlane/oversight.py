"""The server as its operator sees it and gives it orders: what the admin endpoint is given (`admin.subject`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .statistics import ClientRow, Statistics

if TYPE_CHECKING:
    from .server import Server


class Oversight:
    """One server's."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def ready(self) -> bool:
        """See Subject."""
        return self._server.readiness.ready

    @property
    def state(self) -> str:
        """See Subject."""
        return self._server.readiness.text

    def statistics(self) -> Statistics:
        """See Subject."""
        return self._server.statistics()

    def ids(self) -> list[int]:
        """See Subject."""
        return self._server.observer.ids()

    def sort_value(self, client_id: int, key: str) -> float | None:
        """See Subject."""
        return self._server.observer.sort_value(client_id, key)

    def client(self, client_id: int) -> ClientRow | None:
        """See Subject."""
        return self._server.client(client_id)

    def expel(self, client_id: int) -> bool:
        """See Subject."""
        return self._server.expel(client_id)

    def drain(self) -> None:
        """See Subject."""
        self._server.drain()
