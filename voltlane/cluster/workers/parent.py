"""The parent, as a worker sees it: it says which connections there are, and hears what becomes of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from typing import Any, Callable, Protocol

from ...errors import StartupError
from ...net.reactor import Reactor
from ...numerals import parse_count
from ...reasons import CloseReason
from ...store.records import Damaged
from ..handover.notes import Note, note
from ..handover.wire import Ended, Wire
from .channel import Channel
from .notes import (
    FORMAT,
    KINDS,
    Comer,
    Crossing,
    Hello,
    Kind,
    Status,
    decode_comer,
    decode_crossing,
    decode_hello,
    decode_json,
    decode_reason,
    encode_crossing,
    encode_json,
    encode_numbers,
    encode_status,
)

VARIABLE = "_VOLTLANE_WORKER"
"""The environment's variable with the number of the socket that a worker inherits."""
ANSWER_SECS = 30.0
"""For the first word."""


class Host(Protocol):
    """The worker whose parent it is."""

    def take_in(self, number: int, comer: Comer, sock: socket.socket) -> None:
        """A connection, with the number that the parent knows it by."""

    def receive(self, number: int, crossing: Crossing, sock: socket.socket) -> None:
        """A connection in its handshake, whose session is here."""

    def refuse(self, number: int, reason: CloseReason) -> None:
        """One may not stay."""

    def stop_as_told(self, at_once: bool) -> None:
        """End, in order or at once."""

    def reload(self) -> None:
        """Read the settings again."""

    def log_state(self) -> None:
        """Write to the log how it is."""

    def have_clients_leave(self, rate: float, notice: float) -> None:
        """Its clients are to go elsewhere: see Drain."""

    def keep_clients(self) -> None:
        """Or not."""

    def answer(self, question: Any, then: Callable[[Any], None]) -> None:
        """Call `then` with the answer, now or later."""

    def hand_over(self, pid: int, descriptor: int) -> None:
        """Hand over to that process, to which this is the way."""

    def on_theirs(self, number: int, homes: bytes) -> None:
        """Whose the openings of a question are: see Elsewheres."""


class Parent:
    """One worker's."""

    def __init__(self, wire: Wire, hello: Hello, ports: list[socket.socket]) -> None:
        self._wire = wire
        self.hello = hello
        self.ports = ports
        """Bound, for datagrams; whoever takes them owns them."""
        self._channel: Channel | None = None
        self._host: Host
        self._statuses = 0
        self.heeded = 0
        """The last status of which the parent has said that it knows."""

    def attach(self, reactor: Reactor, host: Host) -> None:
        """Listen to it from now on."""
        self._host = host
        self._channel = Channel(reactor, self._wire, self._on_note, self._on_end)
        reactor.call_soon(self._channel.deliver)  # what came behind the first word

    @property
    def is_attached(self) -> bool:
        """Whether it is listened to, and can be told something."""
        return self._channel is not None

    def say(self, words: bytes, sock: socket.socket | None = None) -> None:
        """Tell it something at the end of the turn."""
        if self._channel is not None:
            self._channel.say(words, sock)

    def mention(self, words: bytes) -> None:
        """Tell it something that it can do without, unless it is behind with what it was told: it may stand still, and
        what is kept for it is not to grow for as long as that."""
        if self._channel is not None and not self._channel.crowded:
            self._channel.say(words)

    def flush(self) -> None:
        """Tell it now, behind the last turn, what was said."""
        if self._channel is not None and self._channel.open:
            self._channel.on_flush()

    def ready(self, room: int) -> None:
        """So many connections may come."""
        self.say(note(Kind.READY, min(room, 1 << 40)))

    def status(self, status: Status) -> int:
        """It is so now. Which status that is: see `heeded`."""
        self._statuses += 1
        self.say(note(Kind.STATUS, self._statuses, encode_status(status)))
        return self._statuses

    def close(self) -> None:
        """Say no more."""
        if self._channel is not None:
            self._channel.end()
        else:
            self._wire.close()

    # ---- sessions that are elsewhere

    def pass_on(self, number: int, crossing: Crossing, sock: socket.socket) -> None:
        """Hand a connection in its handshake to the worker that has its session. The socket is the parent's then."""
        self.say(note(Kind.ARRIVAL, number, encode_crossing(crossing)), sock)

    def ask_whose(self, number: int, handles: bytes) -> None:
        """Ask whose these openings are: see Host.on_theirs."""
        self.say(note(Kind.WHOSE, number, handles))

    def say_kept(self, numbers: Iterable[int]) -> None:
        """Connections that this worker has from the one that it follows."""
        self.say(note(Kind.KEPT, 0, encode_numbers(numbers)))

    def say_held(self, handles: bytes) -> None:
        """Openings that this worker has."""
        self.say(note(Kind.HELD, 0, handles))

    def say_done(self, handles: bytes) -> None:
        """Openings that need not be known much longer."""
        self.say(note(Kind.DONE, 0, handles))

    # ---- what it says

    def _on_note(self, found: Note) -> None:
        kind, host, channel = found.kind, self._host, self._channel
        assert channel is not None
        if kind is Kind.CONNECTION:
            comer = decode_comer(found.data)
            host.take_in(found.number, comer, channel.socket(comer.family))
        elif kind is Kind.ARRIVAL:
            crossing = decode_crossing(found.data)
            host.receive(found.number, crossing, channel.socket(crossing.family))
        elif kind is Kind.CLOSE:
            host.refuse(found.number, decode_reason(found.data))
        elif kind is Kind.STOP:
            host.stop_as_told(bool(found.number))
        elif kind is Kind.RELOAD:
            host.reload()
        elif kind is Kind.LOG_STATE:
            host.log_state()
        elif kind is Kind.DRAIN:
            host.have_clients_leave(*decode_json(found.data))
        elif kind is Kind.TAKE_BACK:
            host.keep_clients()
        elif kind is Kind.ASK:
            number = found.number
            host.answer(decode_json(found.data), lambda answer: self._answer(number, answer))
        elif kind is Kind.PASSED:
            self.heeded = found.number
        elif kind is Kind.PING:
            self.say(note(Kind.PONG, found.number))
        elif kind is Kind.THEIRS:
            host.on_theirs(found.number, found.data)
        elif kind is Kind.HAND_OVER:
            host.hand_over(found.number, self._wire.descriptor())
        else:
            raise Damaged(f"a note {kind.name}, which is not for a worker")

    def _answer(self, number: int, answer: Any) -> None:
        self.say(note(Kind.ANSWER, number, encode_json(answer)))

    def _on_end(self, why: str) -> None:
        """Nothing would ever come again, and nobody would know of this process."""
        self._host.stop_as_told(False)


def parent_of(environ: MutableMapping[str, str]) -> Parent | None:
    """The parent, where this process is a worker, with its first word. The variable is taken away. Raises
    StartupError."""
    number = parse_count(environ.pop(VARIABLE, ""))
    if number is None:
        return None
    try:
        sock = socket.socket(fileno=number)
        sock.set_inheritable(False)
    except OSError as error:
        raise StartupError(f"{VARIABLE}={number} is no socket: {error.strerror}") from None
    wire = Wire(sock, KINDS)
    wire.allow(ANSWER_SECS)
    try:
        found = wire.note()
        if found.kind is not Kind.HELLO or found.number != FORMAT:
            raise Damaged(f"it speaks format {found.number}, and this version {FORMAT}")
        hello, ports = decode_hello(found.data), list[socket.socket]()
        for _ in range(hello.ports):
            found = wire.note()
            if found.kind is not Kind.PORT:
                raise Damaged(f"a note {found.kind.name} where a socket was to come")
            ports.append(_port(wire.descriptor()))
        return Parent(wire, hello, ports)
    except (Ended, Damaged) as error:
        wire.close()
        raise StartupError(f"process {os.getppid()} has no use for a worker: {error}") from None


def _port(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)
        raise Damaged(f"a descriptor that is no socket: {error.strerror}") from None
    sock.setblocking(False)
    return sock
