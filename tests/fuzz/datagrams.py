"""Fuzz targets: datagrams, and the records that ask for them; both modes of the whole server with strangers who send
whatever they like, and some of it under keys that are good."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from fuzz.engine import Target
from kit.datagram_client import ASK, CHALLENGE, PING, RESPONSE, Wire
from kit.datagrams import ID_IN, KEY_IN, KEYS, datagram_forms, sealed
from kit.frames import join
from kit.record_world import RecordClient, enter
from kit.udp_world import UdpWorld, taken
from nacl.bindings import crypto_aead_chacha20poly1305_ietf_encrypt as encrypt

from voltlane.core.datagrams.cookies import Cookies
from voltlane.errors import MalformedRecord
from voltlane.wire.datagram import SMALLEST, open_datagram, seal_datagram, server_keys, split_cookie, with_cookie
from voltlane.wire.tagged import Flag
from voltlane.wire.v3 import NO_DATAGRAMS, DatagramsOffer, decode_ask, decode_datagrams

LIMIT = 200
INPUTS_PER_WORLD = 50
OPENING_KEYS = KEYS._replace(id_out=ID_IN, key_out=KEY_IN)
"""What seals what `KEYS` open."""


def datagram(data: bytes) -> None:
    """As it comes it is refused; and what is sealed with good keys is what went in, or too short to be one."""
    try:
        open_datagram(KEYS, data)
    except ValueError:
        pass
    else:
        assert data in _OPENS, "nobody seals by chance"
    head = ID_IN + data[:8].ljust(8, b"\0")
    inner = data[8:]
    whole = head + encrypt(inner, head, bytes(4) + head[8:], KEY_IN)
    try:
        found = open_datagram(KEYS, whole)
    except ValueError:
        assert len(whole) < SMALLEST
        return
    again = seal_datagram(OPENING_KEYS, found.number, found.kind, found.time, found.echo, found.body)
    assert again == whole


def offer(data: bytes) -> None:
    """Both records are refused, or what their fields say."""
    try:
        assert decode_ask(data) == data[:32]
    except MalformedRecord:
        assert len(data) < 32
    try:
        found = decode_datagrams(data)
    except MalformedRecord:
        return
    assert data.startswith(found.encode())


def cookie(data: bytes) -> None:
    """Nobody has one but by being told; and a packet behind one is that packet."""
    jar = Cookies(random.Random(1).randbytes, 0.0)
    found = split_cookie(data)
    if found is not None:
        shown, packet = found
        assert with_cookie(shown, packet) == data
        assert not jar.good(shown, b"\x7f\0\0\1", 5, 1.0)
    baked = jar.bake(data[:4].ljust(4, b"\0"), len(data), 1.0)
    assert split_cookie(with_cookie(baked, data)) == (baked, data)
    assert jar.good(baked, data[:4].ljust(4, b"\0"), len(data), 59.0)
    assert not jar.good(baked, data[:4].ljust(4, b"\1"), len(data) + 1, 59.0)


# ---- a batch of sealed ones, by every form of the loops

RAW, SEALED, CUT, FLIPPED, AGAIN = range(5)
"""What stands in a batch: a byte of these, and what belongs to it."""


def _batch(data: bytes) -> Iterator[tuple[bytes, int | None]]:
    """Datagrams, each with its number where it is good."""
    position, number, last = 0, 0, b""

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        return data[position - count : position]

    while position < len(data):
        step = take(1)[0] % 5
        if step == RAW:
            yield take(1 + int.from_bytes(take(1), "little")), None
            continue
        if step == AGAIN:
            yield last, number if last else None
            continue
        jump = int.from_bytes(take(2), "little", signed=True)
        number = max(0, min(number + (jump if abs(jump) < 4000 else jump << 48), (1 << 64) - 1))
        kind, time, echo = (int.from_bytes(take(size), "little") for size in (1, 2, 2))
        body = take(int.from_bytes(take(1), "little") % 180)
        last = sealed(number, body, kind, time, echo)
        if step == SEALED:
            yield last, number
        elif step == CUT:
            yield last[: len(last) - 1 - kind % len(last)], None
        else:
            place = echo % len(last)
            yield last[:place] + bytes((last[place] ^ (1 << time % 8),)) + last[place + 1 :], None


class _Table:
    """One form's channel, and what it has taken."""

    def __init__(self, form: ModuleType, sender: socket.socket) -> None:
        self.form = form
        self.channels: Any = form.Channels()
        self.channel: Any = form.Channel(KEYS, 7, 0.0)
        self.channel.path = form.name_of(socket.AF_INET, *sender.getsockname())
        self.channels.add(self.channel)

    def receive(self, sock: socket.socket) -> list[Any]:
        opened = self.channels.receive(sock, 1.0, 1, Flag.DATAGRAM, LIMIT)
        events = [(kind, body, newest, size) for _, kind, _, body, newest, size in opened.events]
        known = [self.channel.highest, self.channel.received, self.channel.late, self.channel.repeated]
        return [opened[:3], events, self.channels.take_drops(), known, self.channel.export()]


def batch(data: bytes) -> None:
    """Each number is taken at most once, and only what was sealed; all forms say the same; and it goes on."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        for sock in (server, client):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        tables = [_Table(form, client) for form in datagram_forms()]
        had: set[int] = set()
        highest = -1
        for whole, number in _batch(data):
            found = []
            for table in tables:
                client.sendto(whole, server.getsockname())
                found.append(table.receive(server))
            assert all(each == found[0] for each in found), found
            channel = tables[0].channel
            good = number is not None and len(whole) <= LIMIT and number not in had and number > highest - 1024
            assert channel.received == len(had) + good, (number, had)
            if good:
                assert number is not None
                had.add(number)
                highest = max(highest, number)
            assert channel.highest == highest
        if highest < (1 << 64) - 1:
            for table in tables:
                client.sendto(sealed(highest + 1, b"on we go"), server.getsockname())
                table.receive(server)
                assert table.channel.received == len(had) + 1


# ---- the whole server

SEND, OTHER, SEAL, ELSEWHERE, ASKS, ANSWER, MASTER, WAIT, TURN, KICK = range(10)
"""What a stranger does. SEND and OTHER are followed by a size and bytes, as they are, from one address or another; SEAL
and ELSEWHERE by a kind, a jump of the number, a size and a body; ASKS by a size and the body of the record."""


class _Home:
    """A world of one mode that serves many inputs, with a good client in it."""

    def __init__(self, mode: str, settings: dict[str, object]) -> None:
        self._mode, self._settings = mode, settings
        self._world: UdpWorld | None = None
        self._served = 0

    def world(self) -> UdpWorld:
        self._served += 1
        if self._world is None or self._served % INPUTS_PER_WORLD == 0:
            self.drop()
            world = self._world = UdpWorld(self._mode, self._settings)
            world.connect_master()
            world.settle()
            self.begin(world)
        return self._world

    def begin(self, world: UdpWorld) -> None:
        """Let the good one in."""

    def drop(self) -> None:
        """Begin anew with the next input."""
        world, self._world = self._world, None
        if world is not None:
            for one in [*world.wires, *world.strangers]:
                one.close()
            world.udp.close()
            world.abandon()


class _Sessions(_Home):
    good: RecordClient
    wire: Wire

    def begin(self, world: UdpWorld) -> None:
        self.good, self.wire = world.new_wire()
        self.others = [world.socket(), world.socket("127.0.0.9")]

    def check(self, world: UdpWorld) -> None:
        assert world.loop.bugs == [], world.loop.bugs
        client_id, number = self.good.session.id, len(world.master.log)
        self.wire.send(b"up %d" % number)
        world.settle()
        assert world.master.notices(Flag.DATAGRAM)[-1] == (client_id, b"up %d" % number)
        world.master.write(join([client_id.to_bytes(8, "little") + bytes((Flag.DATAGRAM,)) + b"down %d" % number]))
        world.settle()
        assert self.wire.got[-1] == b"down %d" % number and not self.good.ended


_sessions = _Sessions(
    "sessions", {"master.datagrams": True, "clients.stale_timeout_secs": 10_000, "clients.unencrypted": "always"}
)


def session_datagrams(steps: bytes) -> None:
    """Whatever a client says and sends under its own keys, or others without any, the others have theirs."""
    world = _sessions.world()
    wire: Wire | None = None
    try:
        stranger = enter(world, suite=0)
        wire = world.wire(stranger)
        position = 0

        def take(count: int) -> bytes:
            nonlocal position
            position += count
            return steps[position - count : position]

        while position < len(steps) and not stranger.ended:
            step = take(1)[0] % 10
            if step in (SEND, OTHER):
                _sessions.others[step == OTHER].send(take(int.from_bytes(take(1), "little")))
            elif step in (SEAL, ELSEWHERE):
                kind, jump = (int.from_bytes(take(1), "little") for _ in range(2))
                wire.sealed.number += jump
                number = (1 << 64) - 1 - kind if jump == 255 else None  # those at the end, too
                whole = wire.sealed.datagram(kind, take(int.from_bytes(take(1), "little")), number=number)
                (wire.sock if step == SEAL else _sessions.others[0]).sendto(whole, world.place)
            elif step == ASKS:
                stranger.say(stranger.endpoint.record(ASK, take(int.from_bytes(take(1), "little"))))
            elif step == ANSWER:
                wire.answers = not wire.answers
            elif step == MASTER:
                head = stranger.session.id.to_bytes(8, "little") + bytes((Flag.DATAGRAM,))
                world.master.write(join([head + b"down", head + bytes(1300), head]))
            elif step == WAIT:
                world.pass_(1.0)
            elif step == TURN:
                world.settle()
            elif step == KICK:
                world.master.kick(stranger.session.id)
        world.settle()
        _sessions.check(world)
        world.master.kick(stranger.session.id)
        world.settle()
        assert world.udp.channels == 1 and len(world.udp.table) == 1  # type: ignore[attr-defined]
        world.clients.remove(stranger)  # type: ignore[arg-type]
        stranger.cut()
        world.wires.remove(wire)
        world.settle()
    except BaseException:
        _sessions.drop()
        raise
    finally:
        if wire is not None:
            wire.close()


class _Relay(_Home):
    good: socket.socket

    def begin(self, world: UdpWorld) -> None:
        self.good, *self.others = [world.socket(f"127.0.0.{1 + number}") for number in range(6)]
        self.good.send(b"hello, relay")
        world.settle()
        if self._settings.get("udp.cookie"):
            self.good.send(self.good.recv(100) + b"hello")
            world.settle()
        (self.id,) = world.master.data

    def check(self, world: UdpWorld) -> None:
        assert world.loop.bugs == [], world.loop.bugs
        number = len(world.master.log)
        self.good.send(b"up %d" % number)
        world.settle()
        assert world.master.data[self.id][-1] == b"up %d" % number
        world.master.send(self.id, b"down %d" % number)
        world.settle()
        assert self.good.recv(100) == b"down %d" % number
        assert world.udp.peers == len(world.server.registry.sessions) <= 4


_RELAY: dict[str, object] = {"udp.peers": 4, "udp.idle_secs": 100_000}
_relay, _with_cookies = _Relay("open", _RELAY), _Relay("open", {**_RELAY, "udp.cookie": True})


def relay(steps: bytes) -> None:
    """Whoever sends whatever, to a relay as it comes and to one that asks for cookies."""
    for home in (_relay, _with_cookies):
        world = home.world()
        try:
            _strangers(world, home, steps)
        except BaseException:
            home.drop()
            raise


def _strangers(world: UdpWorld, home: _Relay, steps: bytes) -> None:
    position = 0

    def take(count: int) -> bytes:
        nonlocal position
        position += count
        return steps[position - count : position]

    answers = {sock: b"" for sock in home.others}
    while position < len(steps):
        step = take(1)[0]
        sock = home.others[step // 10 % 5]
        step %= 10
        if step in (SEND, OTHER):
            sock.send((answers[sock] if step == OTHER else b"") + take(int.from_bytes(take(1), "little")))
        elif step == MASTER:
            world.master.send(max(world.master.data), b"down", bytes(1300), b"")
        elif step == WAIT:
            world.pass_(1.0)
        elif step == KICK and max(world.master.data) != home.id:
            world.master.kick(max(world.master.data))
        elif step == TURN:
            world.settle()
            answers.update((each, found[-1]) for each in home.others if (found := taken(each)))
    world.settle()
    for each in [home.good, *home.others]:
        taken(each)
    home.check(world)
    for client_id in [number for number in world.server.registry.sessions if number != home.id]:
        world.master.kick(client_id)
    world.settle()
    assert world.udp.peers == 1


def _sent(step: int, body: bytes, kind: int = 0, jump: int = 0) -> bytes:
    head = bytes((step, kind, jump)) if step in (SEAL, ELSEWHERE) else bytes((step,))
    return head + bytes((len(body),)) + body


def _in_batch(step: int, jump: int, body: bytes = b"", kind: int = 0) -> bytes:
    return bytes((step,)) + (jump & 0xFFFF).to_bytes(2, "little") + bytes((kind, 1, 0, 2, 0, len(body))) + body


_OPENS = [sealed(5, b"body", 0, 1, 2), sealed(0), sealed((1 << 64) - 1, b"", RESPONSE)]
_SHOWN = server_keys(bytes(32)).key_in
TARGETS = [
    Target("datagram", datagram, [*_OPENS, bytes(8) + b"\0\1\0\2\0body", b""], [ID_IN, bytes(8)]),
    Target(
        "offer",
        offer,
        [bytes(32), NO_DATAGRAMS, DatagramsOffer(7000, 1200, 15, _SHOWN, "relay.example").encode()],
        [b"\xc3\xa9", b"\xff"],
    ),
    Target("cookie", cookie, [b"VLCK" + bytes(16) + b"packet", b"VLCK", b"hello"], [b"VLCK"]),
    Target(
        "batch",
        batch,
        [
            b"".join(_in_batch(SEALED, 1, b"x") for _ in range(5)) + bytes((AGAIN,)),
            _in_batch(SEALED, 2000) + _in_batch(SEALED, -1023) + _in_batch(SEALED, -1) + _in_batch(SEALED, 1024),
            _in_batch(SEALED, 0x7FFF) + _in_batch(SEALED, 0x7FFF) + _in_batch(SEALED, 1) + _in_batch(FLIPPED, 1),
            _in_batch(SEALED, 1, b"", PING) + _in_batch(CUT, 1, b"abc", 3) + bytes((RAW, 40)) + ID_IN + bytes(33),
        ],
        [bytes((step,)) for step in range(5)] + [ID_IN],
    ),
    Target(
        "sessions",
        session_datagrams,
        [
            _sent(SEAL, b"hello") + bytes((TURN, MASTER, TURN)) + _sent(ELSEWHERE, b"from afar") + bytes((TURN,)),
            _sent(SEAL, b"", PING) + _sent(ASKS, bytes(32)) + bytes((TURN, WAIT)) + _sent(SEAL, b"old", 0, 9),
            _sent(ASKS, bytes(31)) + bytes((TURN,)),
            b"".join(_sent(SEAL, b"", kind, 255) for kind in (4, 1, 0, 1)) + bytes((TURN,)) + _sent(SEAL, b"x"),
            bytes((ANSWER,)) + _sent(SEAL, b"x") + bytes((TURN,)) + _sent(SEAL, bytes(8), RESPONSE) + bytes((TURN,)),
            _sent(ELSEWHERE, bytes(8), CHALLENGE) + _sent(SEND, bytes(60)) + _sent(OTHER, b"") + bytes((KICK, TURN)),
        ],
        [bytes((step,)) for step in range(10)],
    ),
    Target(
        "relay",
        relay,
        [
            _sent(SEND, b"hello, relay") + bytes((TURN,)) + _sent(OTHER, b"and more") + bytes((TURN, MASTER, TURN)),
            b"".join(_sent(SEND + 10 * who, b"x" * who) for who in range(5)) + bytes((TURN, KICK, TURN, WAIT)),
            _sent(SEND, b"") + bytes((TURN,)) + _sent(SEND + 10, b"VLCK" + bytes(17)) + bytes((MASTER, TURN)),
        ],
        [bytes((step,)) for step in range(20)] + [b"VLCK"],
    ),
]


def close() -> None:
    """Give every descriptor back."""
    for home in (_sessions, _relay, _with_cookies):
        home.drop()
