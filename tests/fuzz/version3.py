"""Fuzz targets: what version 3 reads, and the whole server with a stranger who speaks it, unencrypted."""

from __future__ import annotations

from fuzz.engine import Target
from kit.record_world import RecordClient
from kit.records import Session
from kit.world import World

from voltlane.core.session import State
from voltlane.errors import MalformedPacket, MalformedRecord, UnsupportedVersion
from voltlane.wire.framing import frame
from voltlane.wire.v3 import (
    Close,
    DatagramsOffer,
    Gap,
    Hello,
    Kind,
    Limits,
    Open,
    Resume,
    Retained,
    ServerPayload,
    Welcome,
    decode_close,
    decode_datagrams,
    decode_gap,
    decode_hello,
    decode_open,
    decode_resume,
    decode_server_payload,
    decode_welcome,
    head_of,
    record,
)

INPUTS_PER_WORLD = 50
SETTINGS: dict[str, object] = {
    "clients.handshake_secs": 5,
    "clients.stale_timeout_secs": 10_000,
    "clients.window_bytes": 4096,
    "clients.packet_size_limit": 3000,
    "clients.unencrypted": "always",
}
HANDLE, SECRET, RETAINED = b"h" * 16, b"s" * 32, Retained(5, 600)
_BODIES = [
    Open(HANDLE, SECRET, RETAINED).encode(),
    Resume(1, 2, 3, SECRET, 4, 5, 6, 7, RETAINED).encode(),
    Welcome(1, SECRET, 2, 3, 4, SECRET, 5).encode(),
    Gap(1, 2, 3).encode(),
    Close(3510, 2, "text").encode(),
    DatagramsOffer(1, 1200, 15, SECRET, "host").encode(),
]


def hello(data: bytes) -> None:
    """It is refused, or it is the same when it is encoded again."""
    try:
        found = decode_hello(data)
    except (MalformedPacket, UnsupportedVersion):
        return
    assert found.encode() == data and found.prologue.endswith(found.head)


def bodies(data: bytes) -> None:
    """Whatever stands there: too short, or what its fields say."""
    for decode in (decode_open, decode_resume, decode_welcome, decode_gap, decode_datagrams):
        try:
            found = decode(data)
        except MalformedRecord:
            continue
        assert data.startswith(found.encode())
    for cut in (decode_close, head_of, decode_server_payload):
        try:
            cut(data)
        except (MalformedRecord, MalformedPacket):
            continue


# ---- a stranger

OPEN, RESUME, CLAIM, RECORD, PART, RAW, TURN, WAIT, MASTER, END = range(10)
"""What it does: an input is a list of steps, one byte each. RECORD, PART and RAW are followed by a size and bytes:
kind, ack, credit and body of a record; a part of a stream of packets; and what is no record."""


class Stranger(RecordClient):
    """Says anything, and believes everything."""

    def on_frame(self, payload: bytes) -> None:
        if not self.ready:
            super().on_frame(payload)

    def do(self, steps: bytes, away: int) -> None:
        position, own = 0, self.session
        while position < len(steps) and not self.closed:
            step, position = steps[position] % 10, position + 1
            if step in (RECORD, PART, RAW):
                size = steps[position] if position < len(steps) else 0
                data = steps[position + 1 : position + 1 + size]
                position += 1 + size
                self.say({RECORD: self._record, PART: self._part, RAW: bytes}[step](data))
            elif step == OPEN:
                self.say(record(Kind.OPEN, 0, 3000, Open(own.handle, own.secret, RETAINED).encode()))
            elif step in (RESUME, CLAIM):
                claimed = Resume(away if step == CLAIM else 3, 1, 1, SECRET, 1, 0, 0, 0, RETAINED)
                self.say(record(Kind.RESUME, 0, 3000, claimed.encode()))
            elif step == MASTER and self.session.id:
                self.world.master.send(self.session.id, b"down", bytes(700), b"")
            elif step == WAIT:
                self.world.pass_(1.0)
            elif step == TURN:
                self.world.settle()
            elif step == END:
                self.lose()

    def _record(self, data: bytes) -> bytes:
        """The first byte is the kind; the next two are a small ack and credit, or all of what is left is the record."""
        if len(data) < 3:
            return data
        return record(data[0] % 20, data[1] % 5, 3000 + 100 * data[2], data[3:])

    def _part(self, data: bytes) -> bytes:
        return record(Kind.DATA, 0, 3000, data)


class Home:
    """A world that serves many inputs: a good client, and a stale session with a packet waiting for its owner."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._served = 0

    def world(self) -> World:
        """One in which nothing has gone wrong so far."""
        self._served += 1
        if self._world is None or self._served % INPUTS_PER_WORLD == 0:
            self.drop()
            world = self._world = World(SETTINGS)
            world.connect_master()
            self.good, self.away = RecordClient(world), RecordClient(world)
            world.settle()
            self.away.cut()
            world.settle()
            world.master.send(self.away.session.id, b"for the owner")
            world.settle()
        return self._world

    def drop(self) -> None:
        """Begin anew with the next input."""
        world, self._world = self._world, None
        if world is not None:
            world.abandon()

    def check(self, world: World) -> None:
        """The good client is served, and the absent one's session is as it was."""
        assert world.loop.bugs == [], world.loop.bugs
        session, number = self.good.session, len(self.good.session.events)
        self.good.send(b"up %d" % number)
        world.settle()
        assert world.master.data[session.id][-1] == b"up %d" % number
        world.master.send(session.id, b"down %d" % number)
        world.settle()
        assert session.events[number:] == [b"down %d" % number] and not self.good.ended
        away = world.server.registry.sessions[self.away.session.id]
        assert away.state is State.STALE and away.backlog is not None and away.backlog.packets == 1
        assert away.delivery is not None and (away.delivery.taken, away.delivery.floor) == (0, 0)


_home = Home()


def records(steps: bytes) -> None:
    """Nothing that a stranger says touches a session of others, or disturbs anybody."""
    world = _home.world()
    watched = world.loop.watched
    stranger = Stranger(world, Session(), suite=0, auto=False)
    try:
        world.settle()
        stranger.do(steps, _home.away.session.id)
        world.settle()
        _home.check(world)
        stranger.lose()
        world.settle()
        world.pass_(0.5)
        world.clients.remove(stranger)  # type: ignore[arg-type]
        assert world.loop.watched == watched, "something is left of the stranger"
        for client_id in [number for number in world.server.registry.sessions if number > _home.away.session.id]:
            world.master.kick(client_id)
        world.settle()
    except BaseException:
        _home.drop()
        raise


def _step(kind: int, body: bytes = b"", ack: int = 0) -> bytes:
    data = bytes((kind, ack, 0)) + body
    return bytes((RECORD, len(data))) + data


_ENTER = bytes([OPEN, TURN]) + _step(Kind.ACK)
_STEPS = [
    _ENTER + bytes([PART, 7]) + frame(b"abc") + bytes([TURN, END]),
    _ENTER + bytes([MASTER, TURN]) + _step(Kind.ACK, ack=2) + bytes([TURN, END, OPEN, TURN]),
    _ENTER + bytes([PART, 5]) + frame(b"abc")[:5] + bytes([TURN, PART, 2]) + b"bc" + _step(Kind.PING, b"p"),
    _ENTER + _step(Kind.GAP, Gap(1, 4, 2).encode()) + _step(Kind.CLOSE, Close(3510, 0, "").encode()) + bytes([TURN]),
    _ENTER + bytes([PART, 4]) + b"\xff\xff\xff\x7f" + bytes([TURN]),
    bytes([CLAIM, TURN, RESUME, TURN]),
    bytes([RESUME, TURN]),
    bytes([RAW, 3, 1, 2, 3, TURN]),
    bytes([OPEN, OPEN, TURN]),
    bytes([TURN, WAIT, WAIT, WAIT, WAIT, WAIT, WAIT, OPEN, TURN]),
    _ENTER + bytes([PART, 255]) + frame(bytes(2900))[:255] + bytes([TURN, WAIT, END]),
]
_PAYLOAD = ServerPayload(1, Limits(1, RETAINED), (SECRET,)).encode()

TARGETS = [
    Target(
        "hello", hello, [Hello((1,), SECRET).encode(), Hello((1, 0, 9), SECRET).encode(), b"\x56\x02"], [b"\x56\x03"]
    ),
    Target("bodies", bodies, [*_BODIES, _PAYLOAD, record(Kind.ACK, 1, 2)]),
    Target("records", records, _STEPS, [bytes([n]) for n in range(10)] + [_step(kind) for kind in Kind] + [_ENTER]),
]


def close() -> None:
    """Give every descriptor back."""
    _home.drop()
