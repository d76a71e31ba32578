"""Fuzz targets: the whole server on a fake clock, with an input as what a stranger, or the master, does to it."""

from __future__ import annotations

from fuzz.engine import Target
from kit.world import CLIENT_KEY, Client, World

from voltlane.core.session import State
from voltlane.wire.crypto import open_sealed, seal
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag, frame_tagged
from voltlane.wire.v2 import ChallengeResponse, ClientId, Packet, Ping, ProtocolVersion, PubKey, decode, encode

INPUTS_PER_WORLD = 100
ALONE: dict[str, object] = {"clients.handshake_secs": 5, "clients.stale_timeout_secs": 10_000}


def packet(*those: Packet) -> bytes:
    return b"".join(frame(encode(each)) for each in those)


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
            self._world = World(ALONE)
            self._world.connect_master()
            self.good = self._world.new()
            self.away = self._world.new()
            self.away.cut()
            self._world.settle()
            self._world.master.send(self.away.id, b"for the owner")
            self._world.settle()
        return self._world

    def drop(self) -> None:
        """Begin anew with the next input."""
        world, self._world = self._world, None
        if world is not None:
            world.abandon()

    def check(self, world: World) -> None:
        """The good client is served, and the absent one's session is as it was."""
        assert world.loop.bugs == [], world.loop.bugs
        number = len(self.good.got)
        self.good.send(b"up %d" % number)
        world.settle()
        assert world.master.data[self.good.id][-1] == b"up %d" % number
        world.master.send(self.good.id, b"down %d" % number)
        world.settle()
        assert self.good.got[number:] == [b"down %d" % number] and not self.good.ended
        session = world.server.registry.sessions[self.away.id]
        assert session.state is State.STALE and session.backlog is not None and session.backlog.packets == 1


# ---- a stranger: the handshake

RAW, FRAME, GREETING, KEY, CLAIM, REFLECT, NOISE, OWN_PROOF, PING, TURN, WAIT, END = range(12)
"""What a stranger does: an input is a list of steps, one byte each; RAW and FRAME are followed by a size and bytes."""


class Stranger(Client):
    """A connection that says anything."""

    def on_frame(self, payload: bytes) -> None:
        if payload[:1] == b"\x04" and not self.challenge:
            packet = decode(payload)
            self.challenge = packet.blob  # type: ignore[union-attr]

    def do(self, home: Home, steps: bytes) -> None:
        position = 0
        while position < len(steps) and not self.closed:
            step, position = steps[position] % 12, position + 1
            if step in (RAW, FRAME):
                size = steps[position] if position < len(steps) else 0
                data = steps[position + 1 : position + 1 + size]
                position += 1 + size
                self.write(data if step == RAW else frame(data))
            elif step == WAIT:
                self.world.pass_(1.0)
            elif step == TURN:
                self.world.settle()
            elif step == END:
                self.cut()
            else:
                self.write(self._said(home, step))

    def _said(self, home: Home, step: int) -> bytes:
        """A whole packet. The only proof that is right is one of a session of the stranger's own making."""
        if step == GREETING:
            return packet(ProtocolVersion(2))
        if step == KEY:
            return packet(PubKey(CLIENT_KEY.public))
        if step == CLAIM:
            return packet(ClientId(home.away.id))
        if step == REFLECT:
            return packet(ChallengeResponse(self.challenge))
        if step == NOISE:
            return packet(ChallengeResponse(b"n" * 72))
        if step == OWN_PROOF and self.challenge:  # the right bytes under a key that is not the owner's
            secret = open_sealed(self.world.key, self.challenge)
            return packet(ChallengeResponse(seal(b"k" * 32, secret)))
        return packet(Ping())


_home = Home()


def handshake(steps: bytes) -> None:
    """Nothing that a stranger says touches a session of others, or disturbs anybody."""
    world = _home.world()
    watched = world.loop.watched
    stranger = Stranger(world)
    try:
        stranger.do(_home, steps)
        world.settle()
        _home.check(world)
        stranger.cut()
        world.settle()
        world.pass_(0.5)
        world.clients.remove(stranger)
        assert world.loop.watched == watched, "something is left of the stranger"
        _end_strangers(world)
    except BaseException:
        _home.drop()
        raise


def _end_strangers(world: World) -> None:
    """Sessions that strangers have made are kicked, so that they do not add up."""
    for client_id in [number for number in world.server.registry.sessions if number > _home.away.id]:
        world.master.kick(client_id)
    world.settle()


# ---- the master

_masters = Home()


def firehose(data: bytes) -> None:
    """A master that sends anything loses its connection at most; the next one finds everybody."""
    world = _masters.world()
    for client_id in (_masters.good.id, _masters.away.id):  # a master may kick and feed them: that is not to be tried
        data = data.replace(client_id.to_bytes(8, "little"), b"\xff" * 8)
    try:
        cut = data[0] % (len(data) + 1) if data else 0
        world.master.write(data[:cut])
        world.settle()
        world.master.write(data[cut:])
        world.settle()
        world.master.cut()
        world.settle()
        world.connect_master()
        world.settle()
        _masters.check(world)
    except BaseException:
        _masters.drop()
        raise


_STEPS = [
    bytes([GREETING, TURN, KEY, TURN, FRAME, 3, 1, 2, 3]),
    bytes([GREETING, CLAIM, TURN, REFLECT, PING, TURN]),
    bytes([GREETING, CLAIM, TURN, NOISE, PING, TURN]),
    bytes([GREETING, CLAIM, TURN, OWN_PROOF, PING, TURN]),
    bytes([GREETING, CLAIM, TURN, PING, TURN]),
    bytes([RAW, 4, 255, 255, 255, 255, TURN]),
    bytes([GREETING, CLAIM, TURN, WAIT, WAIT, WAIT, WAIT, WAIT, WAIT, REFLECT, TURN]),
    bytes([GREETING, FRAME, 2, 3, 1, TURN, END]),
]
_FIREHOSE = [
    frame_tagged(77, Flag.DATA, b"to nobody") * 3,
    frame_tagged(77, Flag.KICK) + frame_tagged(78, Flag.FAILURE, b"\xff") + frame_tagged(79, Flag.RECONNECTION),
    frame_tagged(77, Flag.DATA, b"x" * 3000) + frame_tagged(77, 9),
    b"\x08\0\0\0" + bytes(8),
    b"\x01\0\x80\0" + bytes(20),
]

SERVERS = [
    Target("handshake", handshake, _STEPS, [bytes([n]) for n in range(12)] + [step[:3] for step in _STEPS]),
    Target("firehose", firehose, _FIREHOSE, [frame_tagged(77, flag, b"") for flag in range(5)]),
]


def close() -> None:
    """Give every descriptor back."""
    _home.drop()
    _masters.drop()
