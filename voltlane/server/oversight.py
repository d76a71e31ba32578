"""The server as its operator sees it and gives it orders: what the admin endpoint is given (`admin.subject`)."""

from __future__ import annotations

from typing import Callable

from ..core.readiness import Readiness
from ..core.timeline import Timeline
from ..statistics import Draining
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
        self.timeline = timeline
        self.observing = observer.observing
        self.ids = observer.ids
        self.sort_value = observer.sort_value
        self.client = observer.client
        self.is_called = observer.is_called
        self.expel = expel
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
