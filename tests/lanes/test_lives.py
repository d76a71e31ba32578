"""Sessions against a simple model, with every fault at every byte: a state machine that hypothesis drives.

`test_sim.py` is about pressure and time, with cuts that lose nothing. Here nobody is slow, and connections die as on
bad networks: at any byte, in either direction, with whatever the kernel holds. The model is exact: what the kernel had
of the server's, and nobody read, may be lost (README), and the test looks at that, too. So each client's packets, read
or lost that way, must be all that the master sent it, once, in order, over all its connections.
"""

from __future__ import annotations

import itertools
import socket

import pytest
from kit.frames import data, join
from kit.world import CLIENT_KEY, Client, Master, World

pytest.importorskip("hypothesis")
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voltlane.core.session import State
from voltlane.wire.crypto import open_sealed, seal
from voltlane.wire.framing import frame
from voltlane.wire.tagged import Flag, Tagged
from voltlane.wire.v2 import (
    ChallengeResponse,
    ClientId,
    Packet,
    Ping,
    ProtocolVersion,
    PubKey,
    encode,
)

STALE, REAP, HANDSHAKE = 20.0, 3.0, 5.0
MOST_CLIENTS = 5
SIZES = [0, 1, 40, 700, 5000]

picks = st.integers(0, MOST_CLIENTS * 4)
counts = st.integers(1, 6)
sizes = st.sampled_from(SIZES)
bytes_ = st.one_of(st.integers(0, 120), st.integers(0, 12_000))


class Mortal(Client):
    """A client's connection that can die at a byte."""

    def die(self, more: int = 0) -> list[bytes]:
        """Read `more` bytes of what is there and close. What the kernel had besides: the packets nobody will read."""
        self._take(more)
        before = len(self.got)
        self._take(1 << 30)
        lost = self.got[before:]
        del self.got[before:]
        self.closed = True
        self.sock.close()
        return lost

    def _take(self, most: int) -> None:
        while most and not self.ended:
            try:
                received = self.sock.recv(min(most, 1 << 16))
            except (BlockingIOError, ConnectionResetError):
                break
            if not received:
                self.ended = True
            most -= len(received)
            for payload in self.decode(received):
                self.on_frame(payload)

    def on_challenge(self) -> None:
        """The test answers."""

    def say_part(self, stop: int, *packets: Packet) -> bool:
        """Send only the first bytes of these packets. Whether that was all of them."""
        whole = b"".join(frame(encode(packet)) for packet in packets)
        self.write(whole[:stop])
        return stop >= len(whole)

    @property
    def proof(self) -> tuple[Packet, Packet]:
        key = self.world.key
        return ChallengeResponse(seal(key, open_sealed(key, self.challenge))), Ping()


class Life:
    """What must be true of one session."""

    def __init__(self, client: Mortal) -> None:
        self.connections = [client]
        self.down: list[bytes] = []
        self.lost_at: float | None = None
        """Set exactly while it is stale."""
        self.ended = False
        self.reconnections = self.farewells = self.unknown = 0
        """What the master must have heard."""
        self.upward: list[tuple[list[bytes], bool]] = []
        """Of each connection that is over: what was sent, and whether all of it must have arrived."""

    @property
    def client(self) -> Mortal:
        return self.connections[-1]

    @property
    def id(self) -> int:
        return self.client.id

    @property
    def live(self) -> bool:
        return not self.ended and self.lost_at is None

    def __repr__(self) -> str:
        return f"<session {self.id}>"


class Lives(RuleBasedStateMachine):
    """Rules are what may happen; the invariant is what must be true afterwards, when everybody has been served."""

    @initialize()
    def begin(self) -> None:
        # Some do not read for long: that is not what this is about.
        self.world = World({"clients.handshake_secs": HANDSHAKE, "clients.write_stall_secs": 0})
        self.master: Master | None = self.world.connect_master(send_buffer=4096)
        self.firehose: list[Tagged] = []
        """All that the server has written for masters that are gone, read or not."""
        self.lives: list[Life] = []
        self.strangers: list[tuple[Mortal, float]] = []
        self.numbers = itertools.count()
        for _ in range(2):
            self.connect()

    @property
    def now(self) -> float:
        return self.world.clock.now

    def payloads(self, count: int, size: int) -> list[bytes]:
        return [next(self.numbers).to_bytes(4, "big") + b"." * size for _ in range(count)]

    def pick(self, number: int, *, live: bool | None = None) -> Life | None:
        """One of the sessions that have not ended."""
        found = [life for life in self.lives if not self.gone(life) and live in (None, life.live)]
        return found[number % len(found)] if found else None

    def gone(self, life: Life) -> bool:
        """Whether it has ended, by a kick or, within its limits, by time."""
        if not life.ended and life.lost_at is not None:
            stale = self.now - life.lost_at
            there = life.id in self.world.server.registry.sessions
            assert there or stale >= STALE, f"{life} ended early"
            assert not there or stale <= STALE + REAP + 0.5, f"{life} is still there"
            if not there:
                life.ended, life.farewells = True, 1
        return life.ended

    def close(self, life: Life, more: int) -> None:
        """The connection of the moment dies at a byte, and the session goes on."""
        client = life.client
        client.got += client.die(more)  # read or lost: it counts as delivered, once
        life.upward.append((client.sent, False))
        self.world.settle()
        life.lost_at = self.now

    # ---- clients come, go and come back

    @precondition(lambda self: len(self.lives) < MOST_CLIENTS)
    @rule()
    def connect(self) -> None:
        client = Mortal(self.world)
        client.greet()
        self.world.settle()
        assert client.ready and not client.ended
        assert client.id > max((life.id for life in self.lives), default=0), "ids count up"
        self.lives.append(Life(client))

    @rule(number=picks, count=st.integers(0, 6), size=sizes, more=bytes_)
    def die(self, number: int, count: int, size: int, more: int) -> None:
        """Cut on the way down, `more` bytes into what has just been sent."""
        life = self.pick(number, live=True)
        if life:
            self.send_unread(life, count, size)
            self.close(life, more)

    def send_unread(self, life: Life, count: int, size: int) -> None:
        """Packets that the client does not read: part of them fills the kernel, the rest is the server's."""
        if self.master is not None:
            life.client.reading = False
            for _ in range(2):
                payloads = self.payloads(count, size)
                life.down += payloads
                self.master.send(life.id, *payloads)
                self.world.settle()

    @rule(number=picks, size=sizes, at=bytes_)
    def die_while_sending(self, number: int, size: int, at: int) -> None:
        """Cut on the way up, inside a packet or just behind it."""
        life = self.pick(number, live=True)
        if life:
            (payload,) = self.payloads(1, size)
            whole = frame(payload)
            life.client.write(whole[:at])
            if at >= len(whole):
                life.client.sent.append(payload)
            self.world.settle()
            self.close(life, 0)

    @rule(number=picks, count=st.integers(0, 6), size=sizes)
    def half_close(self, number: int, count: int, size: int) -> None:
        """The client ends its half, and reads to the end: nothing may be lost, in either direction."""
        life = self.pick(number, live=True)
        if life:
            client = life.client
            self.send_unread(life, count, size)
            client.send(*self.payloads(count, size))
            client.sock.shutdown(socket.SHUT_WR)
            self.world.settle()
            client.reading = True
            self.world.settle()
            assert client.ended, "the server closes its half, too"
            client.cut()  # a part of a packet comes again, whole
            life.upward.append((client.sent, True))
            life.lost_at = self.now

    @rule(number=picks, reading=st.booleans())
    def read_or_not(self, number: int, reading: bool) -> None:
        life = self.pick(number, live=True)
        if life:
            life.client.reading = reading

    @rule(number=picks, cut=st.one_of(st.none(), bytes_), size=sizes, count=st.integers(0, 6))
    def come_back(self, number: int, cut: int | None, size: int, count: int = 0) -> None:
        """A resume, or a takeover; cut on the way up at a byte, or done with data right behind it."""
        life = self.pick(number)
        if not life:
            return
        old, was_live = life.client, life.live
        if was_live:
            self.send_unread(life, count, size)
        before = self.look(life)
        client = Mortal(self.world, resumes=old)
        (behind,) = self.payloads(1, size)
        hello = (ProtocolVersion(2), ClientId(life.id))
        done = client.say_part(1 << 20 if cut is None else cut, *hello)
        left = cut - sum(len(frame(encode(packet))) for packet in hello) if cut is not None else 1 << 20
        self.world.settle()
        if done and left > 0:
            assert client.challenge, "there is a challenge for everybody"
            done = client.say_part(left, *client.proof)
        if not (done and left > 0):
            client.cut()
            self.world.settle()
            assert self.look(life) == before, "an attempt that came to nothing changes nothing"
            return
        client.send(behind)
        position = len(client.got)
        self.world.settle()
        assert client.ready and not client.ended
        if was_live:
            # Old and new share what was got; what the old one had in its kernel comes before.
            fresh = client.got[position:]
            del client.got[position:]
            client.got += old.die() + fresh
            assert old.ended, "the old connection was closed"
            life.upward.append((old.sent, True))
        life.connections.append(client)
        life.lost_at = None
        life.reconnections += 1

    @rule(number=picks, more=bytes_)
    def come_back_and_die(self, number: int, more: int) -> None:
        """Proven, and cut on the way down: in the answers, in what was missed, or behind it."""
        life = self.pick(number, live=False)
        if not life:
            return
        client = Mortal(self.world, resumes=life.client)
        client.say(ProtocolVersion(2), ClientId(life.id))
        self.world.settle()
        client.reading = False
        client.say(*client.proof)
        self.world.settle()
        life.connections.append(client)
        life.reconnections += 1
        self.close(life, more)

    def look(self, life: Life) -> object:
        """All of a session that an attempt on it could change."""
        session = self.world.server.registry.sessions[life.id]
        backlog = session.backlog
        return session.state, session.link, session.expiry, backlog and (backlog.packets, backlog.size)

    # ---- thieves

    @rule(number=picks, way=st.sampled_from(["reflect", "noise", "short", "other key", "other text", "early", "begin"]))
    def steal(self, number: int, way: str) -> None:
        """Somebody without the key, or with it and no answer."""
        life = self.pick(number)
        if not life:
            return
        before = self.look(life)
        thief = Mortal(self.world, resumes=life.client)
        thief.got = []
        thief.say(ProtocolVersion(2), ClientId(life.id))
        if way == "early":
            thief.say(Ping())
        self.world.settle()
        key = self.world.key
        blob = {
            "reflect": lambda: thief.challenge,
            "noise": lambda: b"?" * 72,
            "short": lambda: b"?" * 39,
            "other key": lambda: seal(b"k" * 32, open_sealed(key, thief.challenge)),
            "other text": lambda: seal(key, b"t" * 32),
        }.get(way)
        if blob:
            thief.say(ChallengeResponse(blob()), Ping())
            self.world.settle()
        if way == "begin":
            self.strangers.append((thief, self.now))
        else:
            assert thief.ended, f"{way} was taken for a proof"
            thief.cut()
        assert not thief.ready and thief.got == []
        assert self.look(life) == before

    @rule(step=st.integers(0, 3))
    def linger(self, step: int) -> None:
        """A handshake that does not go on."""
        stranger = Mortal(self.world)
        whole = frame(encode(ProtocolVersion(2))) + frame(encode(PubKey(CLIENT_KEY.public)))
        stranger.write(whole[: [0, 3, 6, len(whole) - 1][step]])
        self.strangers.append((stranger, self.now))

    @rule()
    def ask_for_nobody(self) -> None:
        """An id that has ended, or never was."""
        ended = [life.id for life in self.lives if self.gone(life)]
        stranger = Mortal(self.world)
        stranger.say(ProtocolVersion(2), ClientId(ended[0] if ended else 10**6))
        self.world.settle()
        assert stranger.ended and not stranger.challenge
        stranger.cut()

    # ---- another process

    @precondition(lambda self: not self.strangers)
    @rule(number=picks, size=sizes, at=bytes_)
    def follow(self, number: int, size: int, at: int) -> None:
        """Another server takes the place of this one, while a packet has come in part."""
        life = self.pick(number, live=True)
        whole = b""
        if life:
            (payload,) = self.payloads(1, size)
            whole = frame(payload)
            life.client.write(whole[:at])
            self.world.settle()
        self.world.follow()
        if life:
            life.client.write(whole[at:])
            life.client.sent.append(payload)
        self.world.settle()

    # ---- packets

    @rule(number=picks, count=counts, size=sizes)
    def send_up(self, number: int, count: int, size: int) -> None:
        life = self.pick(number, live=True)
        if life:
            life.client.send(*self.payloads(count, size))

    @precondition(lambda self: self.master is not None)
    @rule(number=picks, count=counts, size=sizes)
    def send_down(self, number: int, count: int, size: int) -> None:
        if self.lives:
            life = self.lives[number % len(self.lives)]
            payloads = self.payloads(count, size)
            if self.gone(life):
                life.unknown += count
            else:
                life.down += payloads
            assert self.master
            self.master.send(life.id, *payloads)

    # ---- the master

    @precondition(lambda self: self.master is not None)
    @rule(number=picks)
    def kick(self, number: int) -> None:
        life = self.pick(number)
        if life:
            assert self.master
            self.master.kick(life.id)
            self.world.settle()
            life.client.reading = True
            self.world.settle()
            assert life.client.ended or life.client.closed
            life.ended = True

    @precondition(lambda self: self.master is not None)
    @rule(number=picks, at=st.integers(0, 60), unread=st.booleans(), count=counts, size=sizes, back=st.booleans())
    def lose_master(self, number: int, at: int, unread: bool, count: int, size: int, back: bool) -> None:
        """Cut on the way down in the middle of a packet, and on the way up with packets that it has not read."""
        master, self.master = self.master, None
        assert master
        if unread:
            master.reading = False
            life = self.pick(number, live=True)
            if life:
                life.client.send(*self.payloads(count, size))
            self.world.settle()
        if self.lives:
            cut = join([data(self.lives[number % len(self.lives)].id, b"!" * 50)])
            master.write(cut[: min(at, len(cut) - 1)])
            self.world.settle()
        master.cut()  # reads what the kernel had: this master's, and never the next one's
        self.firehose += master.log
        self.world.settle()
        if back:
            self.master_is_back()

    @precondition(lambda self: self.master is None)
    @rule()
    def master_is_back(self) -> None:
        for life in self.lives:
            if not self.gone(life) and life.live:
                life.reconnections += 1
        self.master = self.world.connect_master(send_buffer=4096)

    @rule(seconds=st.sampled_from([0.2, 2.0, 6.0, 12.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_(seconds)

    # ---- what must be true

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.settle()
        assert self.world.loop.bugs == []
        for stranger, since in list(self.strangers):
            if self.now > since + HANDSHAKE + 0.5:
                assert stranger.ended, "a handshake has its time"
                stranger.cut()
                self.strangers.remove((stranger, since))
        registry = self.world.server.registry
        for life in self.lives:
            got = life.client.got
            assert got == life.down[: len(got)], f"{life}: lost, twice or out of order"
            if not self.gone(life):
                assert registry.sessions[life.id].state is (State.LIVE if life.live else State.STALE)
                if life.live and life.client.reading:
                    assert len(got) == len(life.down), f"{life}: {len(life.down) - len(got)} packets are missing"
        if self.master is not None:
            self.upward_holds(self.firehose + self.master.log)

    def upward_holds(self, firehose: list[Tagged]) -> None:
        """What masters have got, by client: data connection by connection, and the notices."""
        known = {life.id for life in self.lives}
        assert {tagged.client_id for tagged in firehose} <= known, "of nobody"
        for life in self.lives:
            mine = [tagged for tagged in firehose if tagged.client_id == life.id]
            arrived = [tagged.data for tagged in mine if tagged.flag is Flag.DATA]
            open_ = [(life.client.sent, not life.ended)] if life.live or life.ended else []
            for sent, all_of_it in [*life.upward, *open_]:
                here = 0
                while here < min(len(sent), len(arrived)) and arrived[here] == sent[here]:
                    here += 1
                assert here == len(sent) or not all_of_it, f"{life}: {len(sent) - here} packets did not arrive"
                del arrived[:here]
            assert arrived == [], f"{life}: twice, or out of order, on the way up"
            assert sum(tagged.flag is Flag.RECONNECTION for tagged in mine) == life.reconnections
            failures = [tagged.data for tagged in mine if tagged.flag is Flag.FAILURE]
            assert failures.count(b"Client disconnected") == life.farewells
            assert failures.count(b"Client not found") == life.unknown
            assert len(failures) == life.farewells + life.unknown

    def teardown(self) -> None:
        """The master comes back, everybody comes back, and everything is there; then everybody leaves."""
        if not hasattr(self, "world"):
            return
        try:
            if self.master is None:
                self.master_is_back()
            for number, life in enumerate(self.lives):
                life.client.reading = True
                if not self.gone(life) and not life.live:
                    self.come_back([it for it in self.lives if not self.gone(it)].index(life), None, number)
            self.holds()
        except BaseException:
            self.world.abandon()
            raise
        self.world.end()


Lives.TestCase.settings = settings(max_examples=80, stateful_step_count=50)
test_lives = Lives.TestCase
