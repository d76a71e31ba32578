"""What openings of version 3 are known by, so that one which is said again is the same (SPEC 13).

Each is known until its client has confirmed it. From then on it is remembered for a while, in a bounded number: what
was under way meanwhile is not to become a second session.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Callable

from ..errors import Superseded
from .session import Session

MOST = 1024


class Openings:
    """Those of one server, by handle."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._open: dict[bytes, Session] = {}
        self._confirmed: OrderedDict[bytes, None] = OrderedDict()
        self.on_done: Callable[[bytes], None] = _ignore
        """Called with each that is confirmed, or whose session is over: it may be said again, but only by mistake."""

    def __len__(self) -> int:
        """How many are not confirmed."""
        return len(self._open)

    def add(self, handle: bytes, session: Session) -> None:
        """A session that was opened with this."""
        self._open[handle] = session

    def find(self, handle: bytes) -> Session | None:
        """Whose it is. Raises Superseded where its client has gone on."""
        if handle in self._confirmed:
            raise Superseded("the session that was opened with that handle has gone on since")
        return self._open.get(handle)

    def confirm(self, handle: bytes) -> None:
        """Its client knows its session."""
        if self._open.pop(handle, None) is not None:
            self._confirmed[handle] = None
            if len(self._confirmed) > self._most:
                self._confirmed.popitem(last=False)
            self.on_done(handle)

    def unconfirmed(self) -> list[bytes]:
        """Those whose clients may not know their sessions yet."""
        return list(self._open)

    def confirmed(self) -> list[bytes]:
        """Those that are remembered, the oldest first."""
        return list(self._confirmed)

    def remember(self, handles: Iterable[bytes]) -> None:
        """Those that another process remembers."""
        self._confirmed.update(dict.fromkeys(handles))

    def end(self, handle: bytes) -> None:
        """Its session is over."""
        if self._open.pop(handle, None) is not None:
            self.on_done(handle)


def _ignore(handle: bytes) -> None:
    """Nobody wants to know."""
