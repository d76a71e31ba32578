"""One connection to the store. SECURING (TLS, where the URL says so) → GREETING (who we are) → OPEN.

What it is for is its owner's: the connection makes answers of bytes, and says why it ended.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Sequence
from typing import Protocol, cast

from ...core.budget import Budget
from ...core.outbox import Outbox
from ...core.timers import Timer
from ...net.openssl import ssl
from ...net.poller import HANGUP
from ...net.reactor import Reactor
from ...net.stream import Stream
from ...net.tls import Handshake, reason_of
from ...reasons import CloseReason, StoreEnd
from .options import Options
from .resp import Answers, Argument, Reply, Trouble, encode

READ = 1 << 16
"""Bytes read at once."""


class Stage(enum.Enum):
    """How far it is."""

    SECURING = "TLS"
    GREETING = "the greeting"
    OPEN = "open"


class Owner(Protocol):
    """Whose it is."""

    def opened(self, connection: StoreConnection) -> None:
        """Commands may be sent."""

    def received(self, connection: StoreConnection, replies: list[Reply]) -> None:
        """Answers have come."""

    def lost(self, connection: StoreConnection, end: StoreEnd | None, text: str) -> None:
        """It has ended. Without a reason: we wanted that."""


class StoreConnection(Stream):
    """A connected socket, on its way to be open, or open."""

    __slots__ = (
        "_answers",
        "_awaited",
        "_budget",
        "_deadline",
        "_end",
        "_ending",
        "_greeting",
        "_handshake",
        "_owner",
        "_pending",
        "stage",
    )

    def __init__(
        self, reactor: Reactor, sock: socket.socket, options: Options, owner: Owner, budget: Budget | None = None
    ) -> None:
        self._owner = owner
        self._budget = budget
        self._answers = Answers()
        self._end: StoreEnd | None = None
        self._ending = False  # an end was announced behind what there is to read, and will not be again
        self._pending = False  # there may be something to read
        words = greeting(options)
        self._greeting = b"".join(map(encode, words))
        self._awaited = len(words)  # answers to it
        context, host = options.context, options.url.address.host
        self._handshake = None if context is None else Handshake(context, host, is_server=False)
        self.stage = Stage.SECURING
        super().__init__(reactor, sock)
        self._deadline: Timer | None = reactor.call_later(options.answer_secs, self._expire)
        if self._handshake is None:
            self._greet()
        else:
            self._secure(b"")

    def send(self, commands: bytes) -> None:
        """Send encoded commands, once it is open."""
        self.try_send(commands, 0)

    def give_up(self, end: StoreEnd, text: str) -> None:
        """End it, and say why."""
        self._end = self._end or end
        self.close(CloseReason.PEER_LOST, text)

    def new_outbox(self) -> Outbox:
        """See Stream. Nobody is made to give it up: the store's deadlines do that."""
        return Outbox(self._budget)

    # ---- reading

    def on_event(self, mask: int) -> None:
        """See Stream."""
        if mask & HANGUP:
            self._ending = True
        super().on_event(mask)

    def on_readable(self) -> None:
        """See Stream."""
        sock, self._pending = self.sock, False
        if sock is None:
            return
        try:
            data = sock.recv(READ)
        except BlockingIOError:
            self.reactor.drained(sock)
            return
        if not data:
            self.close(CloseReason.PEER_CLOSED)
            return
        if len(data) == READ or self._ending:
            self._pending = True
            self.reactor.call_soon(self._go_on, self)
        else:
            self.reactor.drained(sock)
        if self._handshake is not None:
            self._secure(data)
        else:
            self._take(data)

    def _go_on(self) -> None:
        if self._pending:
            self.on_readable()

    def _take(self, data: bytes) -> None:
        try:
            replies = self._answers.feed(data)
        except ValueError as error:
            self.give_up(StoreEnd.GARBLED, str(error))
            return
        if self.stage is Stage.GREETING:
            replies = self._take_greeting(replies)
        if replies and self.sock is not None:
            self._owner.received(self, replies)

    # ---- on its way

    def _secure(self, data: bytes) -> None:
        handshake, sock = self._handshake, self.sock
        if handshake is None or sock is None:
            return
        try:
            said = handshake.receive(data)
        except ssl.SSLError as error:
            self.try_send(handshake.farewell(), 0)
            self.give_up(StoreEnd.UNTRUSTED, reason_of(error))
            return
        if said:
            self.try_send(said, 0)
        if handshake.done:
            self.on_relief()

    def on_relief(self) -> None:
        """See Stream: nothing of the handshake may wait when the socket is replaced."""
        handshake = self._handshake
        if handshake is not None and handshake.done and self.outbox is None and self.sock is not None:
            self._handshake = None
            self.sock = cast(socket.socket, handshake.bind(self.sock))
            self._greet()
            self.reactor.call_soon(self.on_readable, self)  # what has come with the end of it

    def _greet(self) -> None:
        self.stage = Stage.GREETING
        self.try_send(self._greeting, 0)

    def _take_greeting(self, replies: list[Reply]) -> list[Reply]:
        for index, reply in enumerate(replies):
            if isinstance(reply, Trouble):
                self.give_up(StoreEnd.REFUSED, reply.text)
                return []
            self._awaited -= 1
            if not self._awaited:
                self._stop_waiting()
                self.stage = Stage.OPEN
                self._owner.opened(self)
                return replies[index + 1 :]
        return []

    def _expire(self, now: float) -> None:
        self._deadline = None
        self.give_up(StoreEnd.SILENT, f"while it was to come to {self.stage.value}")

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self.reactor.cancel(self._deadline)
            self._deadline = None

    # ---- the end

    def on_closed(self, sock: socket.socket, reason: CloseReason, detail: str) -> None:
        """See Stream."""
        self._stop_waiting()
        self._owner.lost(self, self._end or _ENDS.get(reason, StoreEnd.LOST), detail)


_ENDS = {CloseReason.PEER_CLOSED: StoreEnd.CLOSED, CloseReason.SHUTDOWN: None}


def greeting(options: Options) -> Sequence[Sequence[Argument]]:
    """The commands that say who we are, and in which database to look."""
    url, select = options.url, ("SELECT", options.url.database)
    if not url.password:
        return [select]
    return [("AUTH", *filter(None, (url.user, url.password))), select]
