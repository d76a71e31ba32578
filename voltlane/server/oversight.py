"""The server as its operator sees it and gives it orders: what the admin endpoint is given (`admin.subject`)."""

from __future__ import annotations

from typing import Callable

from ..admin.choice import Choice, Chosen, choose
from ..admin.steps import Steps, at_once
from ..core.readiness import Readiness
from ..core.timeline import Timeline
from ..statistics import ClientRow, Draining
from .drain import Drain
from .observer import Observer


class Oversight:
    """One server's. See Subject."""

    def __init__(
        self,
        readiness: Readiness,
        observer: Observer,
        timeline: Timeline,
        expel: Callable[[int], bool],
        drain: Drain,
    ) -> None:
        self._readiness = readiness
        self._observer = observer
        self.timeline = timeline
        self.observing = observer.observing
        self._expel = expel
        self.drain = drain.begin
        self.take_back = drain.take_back
        self._drain = drain

    @property
    def ready(self) -> bool:
        """See Subject."""
        return self._readiness.ready

    @property
    def state(self) -> str:
        """See Subject."""
        return self._readiness.text

    @property
    def draining(self) -> Draining | None:
        """See Subject."""
        return self._drain.progress

    def choosing(self, choice: Choice) -> Steps[Chosen]:
        """See Subject."""
        return choose(self._observer, choice)

    def rows(self, ids: list[int]) -> Steps[list[ClientRow]]:
        """See Subject."""
        found = [self._observer.client(client_id) for client_id in ids]
        return at_once([row for row in found if row is not None])

    def expelling(self, client_id: int) -> Steps[bool]:
        """See Subject."""
        return at_once(self._expel(client_id))
