"""The live stream: server-sent events to whoever watches. One snapshot a second, and what happens as it happens.

Everybody gets the same bytes, made once, over as many turns as it takes. Nobody is waited for: a viewer that has not
taken what it was sent is dropped when `VIEWER_BYTES` wait for it. While nobody watches there is no timer, and nothing
is made.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any, Callable

from ..core.timers import Timer
from ..net.reactor import Reactor
from ..reasons import AdminEnd
from ..wire.http1.answers import RETRY, Refusal, Response, encode_json
from .steps import Steps
from .viewer import Viewer

MOST_VIEWERS = 16
VIEWER_BYTES = 1 << 18
"""Bytes that may wait for one viewer."""
SNAPSHOT_SECS = 1.0
GATHER_SECS = 0.1
"""What happens within this time goes out together."""
MOST_GATHERED = 100
"""Events that go out together; of what is more only the number is told."""
RETRY_MS = 1000
"""How long a browser waits before it connects again."""

Making = Steps[Any]


class Events:
    """The viewers. `snapshot()` makes what they are shown each second, a step a turn."""

    def __init__(self, reactor: Reactor, snapshot: Callable[[], Making]) -> None:
        self._reactor = reactor
        self._snapshot = snapshot
        self._making: Making | None = None
        self._latest = b""
        """The last snapshot, for who comes before the next one."""
        self._viewers: dict[Viewer, None] = {}
        self._gathered: list[Any] = []
        self._left_out = 0
        self._ticking: Timer | None = None
        self._gathering: Timer | None = None

    # ---- viewers

    def open(self) -> Response:
        """The answer to one that wants to watch. Raises Refusal."""
        if len(self._viewers) >= MOST_VIEWERS:
            message = f"{MOST_VIEWERS} are watching already"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, message, RETRY, reason=AdminEnd.TOO_MANY_VIEWERS)
        return Response(HTTPStatus.OK, b"", "text/event-stream", (), self._add)

    def remove(self, viewer: Viewer) -> None:
        """It is gone, or was none."""
        if viewer in self._viewers:
            del self._viewers[viewer]
            if not self._viewers:
                self._stop()

    @property
    def watched(self) -> bool:
        """Whether anybody watches."""
        return bool(self._viewers)

    def _add(self, viewer: Viewer) -> None:
        self._viewers[viewer] = None
        viewer.send_more(b"retry: %d\n\n%s" % (RETRY_MS, self._latest))
        if self._ticking is None and self._viewers:
            self._tick(self._reactor.now)

    # ---- what they are told

    def happened(self, event: Any) -> None:
        """Something to be told soon."""
        if not self._viewers:
            return
        if len(self._gathered) < MOST_GATHERED:
            self._gathered.append(event)
        else:
            self._left_out += 1
        if self._gathering is None:
            self._gathering = self._reactor.call_later(GATHER_SECS, self._tell)

    def _tell(self, now: float) -> None:
        self._gathering = None
        gathered, left_out = self._gathered, self._left_out
        self._gathered, self._left_out = [], 0
        self._send(_event("happened", {"events": gathered, "left_out": left_out}))

    def _tick(self, now: float) -> None:
        self._ticking = self._reactor.call_later(SNAPSHOT_SECS, self._tick)
        if self._making is None:
            self._making = self._snapshot()
            self._make(self._making)

    def _make(self, making: Making) -> None:
        """The next step of a snapshot, if it is still wanted."""
        if self._making is not making:
            return
        try:
            later = next(making)
        except StopIteration as made:
            self._making = None
            self._latest = _event("snapshot", made.value)
            self._send(self._latest)
        except Exception:
            self._making = None
            raise
        else:
            (later or self._reactor.call_soon)(partial(self._make, making))

    def _send(self, data: bytes) -> None:
        for viewer in list(self._viewers):
            viewer.send_more(data)
            if viewer.outbox is not None and viewer.outbox.size > VIEWER_BYTES:
                viewer.give_up(AdminEnd.VIEWER_BEHIND)

    def _stop(self) -> None:
        for timer in (self._ticking, self._gathering):
            if timer is not None:
                self._reactor.cancel(timer)
        self._ticking = self._gathering = None
        self._gathered, self._left_out = [], 0
        self._making, self._latest = None, b""


def _event(name: str, value: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), encode_json(value))
