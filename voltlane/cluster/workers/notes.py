"""What a parent and a worker say to each other. Bytes ↔ values.

    parent                                      worker
      HELLO, PORT … ───────────────────────▶
      ◀──────────────────── READY, STATUS …
      CONNECTION … ────────────────────────▶
      ◀───────────── GREETED, LEFT, CLAIMED …

Pieces and notes are those of `handover.notes`, with kinds of their own. A connection has a number, which the parent
gives it, and keeps it over all workers that have it.
"""

from __future__ import annotations

import enum
import json
from array import array
from collections.abc import Iterable
from struct import Struct
from typing import Any, NamedTuple

from ...core.readiness import State
from ...reasons import CloseReason, Hold
from ...store.keys import Keys
from ...store.records import Damaged
from ...wire.crypto import load_key
from ...wire.noise import KeyPair as ChannelKey
from ..handover.fields import FLAG, Reader, Writer

FORMAT = 2
"""Of all that is said. Whatever changes in a note, or in what its fields mean, makes it another one."""


class Kind(enum.IntEnum):
    """What a note says. "With a descriptor": the next one that came over the socket is its."""

    # of the parent
    HELLO = 1  # u64 FORMAT: what a worker has to know
    CONNECTION = 2  # u64 number; with a descriptor
    CLOSE = 3  # u64 number: close it, for this reason
    STOP = 4  # u64 0: in order, 1: at once
    RELOAD = 5
    LOG_STATE = 6
    ASK = 7  # u64 which question
    PASSED = 8  # u64 which status: all that was passed on before that was known has been said
    HAND_OVER = 9  # u64 the process that is to follow; with a descriptor, the way to it
    PING = 10
    THEIRS = 11  # u64 which question: whose openings these are, the index of a worker for each, in a byte
    DRAIN = 12  # how: see encode_json
    TAKE_BACK = 13
    PORT = 14  # with a descriptor: a socket for datagrams; behind HELLO, as many as that says
    # of a worker
    READY = 16  # u64 how many connections it has room for
    STATUS = 17  # u64 which it is, counted
    GREETED = 18  # u64 number
    LEFT = 19  # u64 number
    CLAIMED = 20  # u64 number: its address, as a proxy has it
    ANSWER = 21  # u64 which question
    HAPPENED = 22  # what watchers are told
    TOTALS = 23  # what the last quarter of an hour is made of
    PONG = 24
    WHOSE = 25  # u64 which question: handles of openings, as they stand behind each other; the worker's, if nobody's
    HELD = 26  # u64 0: handles that it has
    DONE = 27  # u64 0: handles that need not be known much longer
    COUNTS = 28  # what it has counted
    KEPT = 29  # u64 0: the numbers of all connections that it has from the process that it follows
    # of both
    ARRIVAL = 32  # u64 number; with a descriptor: a connection whose session is elsewhere


KINDS = {int(kind): kind for kind in Kind}

_HELLO = Struct("<HHBBHB")
_CONNECTION = Struct("<BH")
_LEFT = Struct("<Bd")
_ARRIVAL = Struct("<BHd")


class Hello(NamedTuple):
    """What a worker has to know."""

    which: int
    """The worker's index."""
    workers: int
    watched: bool
    """Whether somebody wants to hear of clients that come and go."""
    keys: Keys
    first_node: int
    state_dir: str
    """As they are for the parent, whatever the settings say by the time that a worker is started again."""
    datagrams: str = ""
    """The same of `udp.mode`; "" where there are none."""
    ports: int = 0
    """How many sockets for them come behind this."""


def encode_hello(hello: Hello) -> bytes:
    """Its fields."""
    writer, keys = Writer(), hello.keys
    writer.put(_HELLO, hello.which, hello.workers, hello.watched, len(keys.next_keys), hello.first_node, hello.ports)
    writer.text(hello.state_dir)
    writer.text(hello.datagrams)
    for data in (keys.key.secret, keys.channel_key.secret, *keys.next_keys):
        writer.blob(data)
    return writer.done()


def decode_hello(data: bytes) -> Hello:
    """What `encode_hello` gave. Raises Damaged."""
    reader = Reader(data)
    index, workers, watched, count, first_node, ports = reader.take(_HELLO)
    state_dir, datagrams = reader.text(), reader.text()
    key, channel_key, *next_keys = [reader.blob() for _ in range(2 + count)]
    reader.end()
    try:
        keys = Keys(load_key(key), ChannelKey(channel_key), tuple(next_keys))
    except ValueError:
        raise Damaged("a key that is none") from None
    return Hello(index, workers, bool(watched), keys, first_node, state_dir, datagrams, ports)


class Comer(NamedTuple):
    """A connection that is passed on: all but its socket."""

    lane: str
    peer: str
    has_header: bool
    """Whether a PROXY header has to come first."""
    family: int


def encode_comer(comer: Comer) -> bytes:
    """Its fields."""
    lane = comer.lane.encode()
    return _CONNECTION.pack(comer.has_header << 7 | len(lane), comer.family) + lane + comer.peer.encode()


def decode_comer(data: bytes) -> Comer:
    """What `encode_comer` gave. Raises Damaged."""
    if len(data) < _CONNECTION.size:
        raise Damaged("a note that is cut")
    head, family = _CONNECTION.unpack_from(data)
    lane_end = _CONNECTION.size + (head & 0x7F)
    try:
        lane, peer = str(data[_CONNECTION.size : lane_end], "utf-8"), str(data[lane_end:], "utf-8")
    except UnicodeDecodeError:
        raise Damaged("a text that is none") from None
    return Comer(lane, peer, bool(head & 0x80), family)


class Status(NamedTuple):
    """Whether a worker takes connections, and whether it is of use to them."""

    state: State
    holds: frozenset[Hold]


def encode_status(status: Status) -> bytes:
    """Its fields."""
    writer = Writer()
    writer.text(status.state.name)
    writer.put(FLAG, len(status.holds))
    for hold in status.holds:
        writer.text(hold.name)
    return writer.done()


def decode_status(data: bytes) -> Status:
    """What `encode_status` gave. Raises Damaged."""
    reader = Reader(data)
    state, holds = reader.text(), [reader.text() for _ in range(reader.flag(len(Hold)))]
    reader.end()
    if state not in State.__members__ or any(hold not in Hold.__members__ for hold in holds):
        raise Damaged("a status that is none")
    return Status(State[state], frozenset([Hold[hold] for hold in holds]))


class Leave(NamedTuple):
    """How a connection has ended."""

    reason: CloseReason
    greeted: bool
    lifetime: float


def encode_leave(leave: Leave) -> bytes:
    """Its fields."""
    return _LEFT.pack(leave.greeted, leave.lifetime) + leave.reason.name.encode()


def decode_leave(data: bytes) -> Leave:
    """What `encode_leave` gave. Raises Damaged."""
    if len(data) < _LEFT.size:
        raise Damaged("a note that is cut")
    greeted, lifetime = _LEFT.unpack_from(data)
    return Leave(decode_reason(data[_LEFT.size :]), bool(greeted), lifetime)


def decode_reason(data: bytes) -> CloseReason:
    """A close reason by its name. Raises Damaged."""
    reason = _REASONS.get(data)
    if reason is None:
        raise Damaged("a reason that is none")
    return reason


_REASONS = {reason.name.encode(): reason for reason in CloseReason}


class Crossing(NamedTuple):
    """A connection in its handshake that goes to another worker: all but its socket."""

    home: int
    """The index of the worker that has what it wants."""
    family: int
    deadline: float
    """Of its handshake, by the monotonic clock."""
    data: bytes
    """What the other worker goes on with."""


def encode_crossing(crossing: Crossing) -> bytes:
    """Its fields."""
    return _ARRIVAL.pack(crossing.home, crossing.family, crossing.deadline) + crossing.data


def decode_crossing(data: bytes) -> Crossing:
    """What `encode_crossing` gave. Raises Damaged."""
    if len(data) < _ARRIVAL.size:
        raise Damaged("a note that is cut")
    home, family, deadline = _ARRIVAL.unpack_from(data)
    return Crossing(home, family, deadline, data[_ARRIVAL.size :])


def encode_numbers(numbers: Iterable[int]) -> bytes:
    """Of connections."""
    return array("Q", numbers).tobytes()


def decode_numbers(data: bytes) -> list[int]:
    """What `encode_numbers` gave, on the same machine. Raises Damaged."""
    numbers = array("Q")
    try:
        numbers.frombytes(data)
    except ValueError:
        raise Damaged("a number that is cut") from None
    return list(numbers)


def encode_json(value: Any) -> bytes:
    """Of what is asked and answered."""
    return json.dumps(value, separators=(",", ":")).encode()


def decode_json(data: bytes) -> Any:
    """What `encode_json` gave. Raises Damaged."""
    try:
        return json.loads(data)
    except ValueError:
        raise Damaged("no JSON") from None
