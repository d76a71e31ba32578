"""A batch reader that is asked only while there is somebody whom it reads: it has to look at every event."""

from __future__ import annotations

from ..net.reactor import Events, Handler
from .shared import Shared


class OccasionalReader:
    """Reads those connections whose `batch_reader` is `name`."""

    name: str

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def come_and_go(self, there: bool) -> None:
        """The first of them comes, or the last one has left."""
        readers = self._shared.reactor.batch_readers
        if there:
            readers[self.name] = self.read
        else:
            readers.pop(self.name, None)

    def read(self, events: Events, handlers: list[Handler | None]) -> Events:
        """Read every client of these that has nothing else going on. The events that are left."""
        raise NotImplementedError
