"""What the endpoint knows of the server it shows."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from ..core.timeline import Timeline
from ..statistics import ClientRow, Draining, Statistics


class Subject(Protocol):
    """A server, as its operator sees it."""

    @property
    def ready(self) -> bool:
        """Whether clients are accepted and what they send reaches a master."""
        ...

    @property
    def state(self) -> str:
        """The same in a few words."""
        ...

    @property
    def timeline(self) -> Timeline:
        """The last quarter of an hour."""
        ...

    def observing(self) -> Generator[None, None, Statistics]:
        """Everything that is counted and measured, of the server as a whole; each step is for a turn of its own."""

    def ids(self) -> list[int]:
        """The clients there are, live and stale."""

    def sort_value(self, client_id: int, key: str) -> float | None:
        """What a client is sorted by: one of `statistics.SORT_KEYS`. None when it is gone, or not known."""

    def is_called(self, client_id: int, text: str) -> bool:
        """Whether a client's id or address has this in it; in small letters."""

    def client(self, client_id: int) -> ClientRow | None:
        """One client; None when it is gone."""

    def expel(self, client_id: int) -> bool:
        """End a client's session; whether there was one."""

    @property
    def draining(self) -> Draining | None:
        """How far that is; None while it is not so."""
        ...

    def drain(self, rate: float, notice: float) -> None:
        """Be not ready, and after so many seconds of notice send everybody away who comes, and so many clients a second
        of those who are here; 0: these stay. Asked again, it goes by what was asked last."""

    def take_back(self) -> None:
        """Take everybody again."""
