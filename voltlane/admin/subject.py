"""What the endpoint knows of the server it shows: one process, or several of which one has the endpoint."""

from __future__ import annotations

from typing import Protocol

from ..core.timeline import Timeline
from ..statistics import ClientRow, Draining, Statistics
from .choice import Choice, Chosen
from .steps import Steps


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

    def observing(self) -> Steps[Statistics]:
        """Everything that is counted and measured, of the server as a whole."""
        ...

    def choosing(self, choice: Choice) -> Steps[Chosen]:
        """Which clients stand on a page."""
        ...

    def rows(self, ids: list[int]) -> Steps[list[ClientRow]]:
        """These clients, but for those that are gone."""
        ...

    def expelling(self, client_id: int) -> Steps[bool]:
        """End a client's session; whether there was one."""
        ...

    @property
    def draining(self) -> Draining | None:
        """How far that is; None while it is not so."""
        ...

    def drain(self, rate: float, notice: float) -> None:
        """Be not ready, and after so many seconds of notice send everybody away who comes, and so many clients a second
        of those who are here; 0: these stay. Asked again, it goes by what was asked last."""

    def take_back(self) -> None:
        """Take everybody again."""
