"""Messages by way of the store (Redis calls it pub/sub): a connection of its own, on which nothing else may be asked.

What is published while there is no connection is lost: who waits for an answer by message has a deadline. `PING` tells
whether the other end is there, since a subscriber may hear nothing for hours.
"""

from __future__ import annotations

from collections import Counter
from typing import Callable

from ...core.timers import Timer
from ...net.reactor import Reactor
from ...reasons import StoreEnd
from .line import Line
from .options import Options
from .resp import Reply, Trouble, encode

PING_SECS = 5.0
"""How often it is asked."""

Listener = Callable[[bytes], None]


class Channels:
    """Who listens to which channel; subscribed to with each connection anew."""

    def __init__(self, reactor: Reactor, options: Options, ends: Counter[StoreEnd] | None = None) -> None:
        self._reactor = reactor
        self._line = Line(reactor, options, "the store's channels", Counter() if ends is None else ends, self)
        self._patience = options.answer_secs
        self._listeners: dict[str, Listener] = {}
        self._confirmed: set[str] = set()
        self._timer: Timer | None = None  # for the next ping, or the answer to the last
        self.watchers: list[Callable[[], None]] = []
        """Called whenever `ready` may have changed."""

    @property
    def ready(self) -> bool:
        """Whether everything that is published is heard."""
        return self._line.connection is not None and self._confirmed.issuperset(self._listeners)

    def start(self) -> None:
        """Connect, and stay connected."""
        self._line.start()

    def stop(self) -> None:
        """Be connected no more."""
        self._line.stop()

    def listen(self, channel: str, listener: Listener) -> None:
        """Have `listener(message)` called for each message on it, from soon on."""
        self._listeners[channel] = listener
        self._say("SUBSCRIBE", channel)

    def leave(self, channel: str) -> None:
        """Listen to it no more."""
        if self._listeners.pop(channel, None) is not None:
            self._confirmed.discard(channel)
            self._say("UNSUBSCRIBE", channel)

    def _say(self, *words: str) -> None:
        connection = self._line.connection
        if connection is not None:
            connection.send(encode(words))

    # ---- for the line

    def opened(self) -> None:
        """See User."""
        if self._listeners:
            self._say("SUBSCRIBE", *self._listeners)
        self._ping()

    def received(self, replies: list[Reply]) -> None:
        """See User."""
        for reply in replies:
            parts = tuple(reply) if isinstance(reply, list) else (reply,)
            kind = parts[0]
            if kind == b"message" and len(parts) == 3:
                listener = self._listeners.get(parts[1].decode("utf-8", "replace"))
                if listener is not None:
                    self._reactor.guard(None, listener, parts[2])
            elif kind == b"subscribe":
                self._confirmed.add(parts[1].decode("utf-8", "replace"))
                self._changed()
            elif kind in (b"pong", b"PONG"):  # the second where there is no channel yet
                self._line.settled()
                self._stop_timer()
                self._timer = self._reactor.call_later(PING_SECS, self._ping)
            elif isinstance(kind, Trouble):
                self._line.give_up(StoreEnd.REFUSED, kind.text)
                return
            elif kind != b"unsubscribe":
                self._line.give_up(StoreEnd.GARBLED, "an answer that no subscriber gets")
                return

    def lost(self, text: str) -> None:
        """See User."""
        self._stop_timer()
        self._confirmed.clear()
        self._changed()

    def _ping(self, now: float = 0.0) -> None:
        self._say("PING")
        self._stop_timer()
        self._timer = self._reactor.call_later(self._patience, self._expire)

    def _expire(self, now: float) -> None:
        self._timer = None
        self._line.give_up(StoreEnd.SILENT, "a ping was not answered")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._reactor.cancel(self._timer)
            self._timer = None

    def _changed(self) -> None:
        for watcher in list(self.watchers):
            self._reactor.guard(None, watcher)
