"""The whole server against a model: random lives of clients and masters, on a fake clock.

What must hold, whatever happens: each client gets what the master sent it, once and in order, over all its connections;
the master gets what each client sent, once and in order, connection by connection; sessions end when they must, not
before, and the master is told once; a proof that proves nothing changes nothing; nothing is left at the end.
"""

from __future__ import annotations

import itertools
import random
from typing import Any, Callable

import pytest
from kit.handlers import POLLERS
from kit.world import Client, World, world

from voltlane.core.session import State
from voltlane.wire.tagged import Flag
from voltlane.wire.v2 import ChallengeResponse, Ping, ProtocolVersion

STALE_SECS, REAP_SECS, SLOW_SECS, HANDSHAKE_SECS, SOFT_PACKETS = 12.0, 3.0, 2.0, 5.0, 40
SETTINGS: dict[str, object] = {
    "clients.stale_timeout_secs": STALE_SECS,
    "clients.stale_reap_interval_secs": REAP_SECS,
    "clients.slow_secs": SLOW_SECS,
    "clients.write_stall_secs": 0,
    "clients.handshake_secs": HANDSHAKE_SECS,
    "clients.channel_capacity": SOFT_PACKETS,
    "master.channel_capacity": 150,
    "master.outbox_bytes": 100_000,
}
SIZES = [0, 1, 40, 40, 40, 300, 5000, 70_000]


class Twin:
    """What should be true of one client."""

    def __init__(self, client: Client) -> None:
        self.connections = [client]
        self.down: list[bytes] = []
        self.ended = ""
        """How the session ended, "" while it lives."""
        self.lost_at: float | None = None
        self.resumes = 0
        self.announced = 0
        self.behind = False
        """It did not read for a while, and has not caught up since."""
        self.unknown = 0
        """Packets that the master sent after the end."""

    @property
    def client(self) -> Client:
        """The connection of the moment, or the last one."""
        return self.connections[-1]

    @property
    def id(self) -> int:
        return self.client.id

    @property
    def live(self) -> bool:
        return not self.ended and not self.client.closed

    def __repr__(self) -> str:
        return f"<client {self.id}{' ' + self.ended if self.ended else ''}>"


class Simulation:
    """Does random things, and keeps the model."""

    def __init__(self, home: World, seed: int) -> None:
        self.home = home
        self.random = random.Random(seed)
        self.twins: list[Twin] = []
        self.strangers: list[tuple[Client, float]] = []
        self.upward: list[Any] = []
        self.numbers = itertools.count()
        self.seen = 0
        self.deaf = 0
        """Steps for which the master does not read yet."""

    def payloads(self) -> list[bytes]:
        """New ones: each begins with a number of its own."""
        count = self.random.choice([1, 1, 3, 20, 60])
        sizes = [self.random.choice(SIZES if count < 20 else SIZES[:5]) for _ in range(count)]
        return [next(self.numbers).to_bytes(4, "big") + b"." * size for size in sizes]

    def pick(self, wanted: Callable[[Twin], bool]) -> Twin | None:
        found = [twin for twin in self.twins if wanted(twin)]
        return self.random.choice(found) if found else None

    def gone(self, twin: Twin) -> bool:
        """Whether the session has ended, be it that the master has not heard of it yet."""
        return bool(twin.ended) or twin.id not in self.home.server.registry.sessions

    # ---- what may happen

    def join(self) -> None:
        if sum(twin.live for twin in self.twins) < 8:
            self.twins.append(Twin(self.home.new()))

    def send_up(self) -> None:
        twin = self.pick(lambda twin: twin.live)
        if twin and twin.client.waiting < 500_000:
            twin.client.send(*self.payloads())

    def send_down(self) -> None:
        twin = self.pick(lambda twin: True)
        if self.random.random() < 0.5:
            twin = self.pick(lambda twin: twin.live and not twin.client.reading) or twin
        if not twin:
            return
        payloads = self.payloads()
        if self.gone(twin):
            twin.unknown += len(payloads)
        else:
            twin.down += payloads
        self.home.master.send(twin.id, *payloads)

    def lose(self) -> None:
        twin = self.pick(lambda twin: twin.live)
        if twin:
            twin.client.cut()
            self.home.settle()
            twin.lost_at = self.home.clock.now

    def come_back(self) -> None:
        """After a loss, or while the old connection still counts as live."""
        twin = self.pick(lambda twin: not self.gone(twin))
        if not twin:
            return
        old = twin.client
        hurry = self.random.random() < 0.3 and old.closed
        if hurry:  # lost again at some moment of the resume
            again = self.home.start_resume(old)
            for _ in range(self.random.randrange(6)):
                self.home.loop.turn(0)
                again.pump()
            again.cut()
            self.home.settle()
            if again.ready or self.home.server.registry.sessions[twin.id].expiry > (twin.lost_at or 0) + STALE_SECS:
                twin.lost_at = self.home.clock.now
            twin.connections.append(again)
            self._count_resume(twin)
            return
        old.reading = True
        again = self.home.resume(old)
        assert old.closed or old.ended, "the old connection was closed at the takeover"
        twin.connections.append(again)
        twin.lost_at = None
        self._count_resume(twin)

    def _count_resume(self, twin: Twin) -> None:
        twin.resumes = self.home.server.counters.resumed - sum(t.resumes for t in self.twins if t is not twin)

    def steal(self) -> None:
        """Somebody without the key."""
        twin = self.pick(lambda twin: not self.gone(twin))
        if not twin:
            return
        thief = self.home.start_resume(twin.client)
        thief.got = []
        blob = self.random.choice([lambda: thief.challenge, lambda: b"?" * 72, lambda: b""])
        thief.on_challenge = lambda: thief.say(ChallengeResponse(blob()), Ping())  # type: ignore[method-assign]
        self.home.settle()
        assert thief.ended and not thief.ready and thief.got == []
        thief.cut()

    def linger(self) -> None:
        """A connection whose handshake does not go on."""
        stranger = Client(self.home)
        if self.random.random() < 0.5:
            stranger.say(ProtocolVersion(2))
        self.strangers.append((stranger, self.home.clock.now))

    def kick(self) -> None:
        twin = self.pick(lambda twin: not self.gone(twin))
        if twin:
            twin.client.reading = True
            self.home.settle()
            if not self.gone(twin):
                twin.ended = "kicked"
                self.home.master.kick(twin.id)
                self.home.settle()

    def stop_reading(self) -> None:
        twin = self.pick(lambda twin: twin.live)
        if twin:
            twin.client.reading = False
            twin.behind = True

    def drown(self) -> None:
        """More than the soft limit for somebody who does not read, for about as long as it may be."""
        twin = self.pick(lambda twin: twin.live and not self.gone(twin))
        if twin:
            twin.client.reading = False
            twin.behind = True
            for _ in range(5):
                if not self.gone(twin):
                    payloads = [next(self.numbers).to_bytes(4, "big") + b"." * 300 for _ in range(30)]
                    twin.down += payloads
                    self.home.master.send(twin.id, *payloads)
                    self.home.settle()
            self.home.pass_(self.random.uniform(0.5, 1.2) * SLOW_SECS, step=0.25)

    def go_on_reading(self) -> None:
        twin = self.pick(lambda twin: not twin.client.reading)
        if twin:
            twin.client.reading = True

    def stop_master_reading(self) -> None:
        self.home.master.reading = False
        self.deaf = self.random.randrange(30)
        for _ in range(self.deaf // 3):
            self.send_up()

    def lose_master(self) -> None:
        self.home.settle()
        self.home.master.reading = self.random.random() < 0.5
        self.home.master.cut()
        self.home.settle()
        self.hear()
        if self.random.random() < 0.5:
            for _ in range(self.random.randrange(4)):
                self.random.choice([self.send_up, self.lose, self.come_back, self.linger])()
            self.home.pass_(self.random.random() * 3)
        self.upward += self.home.master.log
        self.seen = 0
        for session in self.home.server.registry.live():
            self._twin(session.id).announced += 1
        self.home.connect_master(send_buffer=4096)
        self.home.settle()

    def wait(self) -> None:
        self.home.settle()
        self.hear()
        self.home.pass_(self.random.choice([0.1, 1.0, 3.0, 8.0]) * self.random.random(), step=0.25)

    def step(self) -> None:
        actions: list[tuple[Callable[[], None], float]] = [
            (self.join, 3),
            (self.send_up, 12),
            (self.send_down, 14),
            (self.lose, 3),
            (self.come_back, 5),
            (self.steal, 2),
            (self.linger, 1),
            (self.kick, 0.4),
            (self.stop_reading, 3),
            (self.drown, 1.5),
            (self.go_on_reading, 2),
            (self.stop_master_reading, 1.5),
            (self.lose_master, 1),
            (self.wait, 8),
        ]
        functions, weights = zip(*actions)
        self.random.choices(functions, weights)[0]()
        if self.random.random() < 0.6:
            self.settle()
        else:
            for _ in range(self.random.randrange(3)):
                self.home.loop.turn(0)
                self.home.pump()

    # ---- what must be true

    def settle(self) -> None:
        self.deaf -= 1
        if self.deaf <= 0:
            self.home.master.reading = True
        self.home.settle()
        self.hear()
        self.check()

    def _twin(self, client_id: int) -> Twin:
        return next(twin for twin in self.twins if twin.id == client_id)

    def hear(self) -> None:
        """Sessions that the server ended: it must have had a reason."""
        log = self.home.master.log
        for tagged in log[self.seen :]:
            if tagged.flag is not Flag.FAILURE or tagged.data == b"Client not found":
                continue
            twin = self._twin(tagged.client_id)
            assert not twin.ended, f"{twin}: {tagged.data!r}"
            if tagged.data == b"buffer overflow":
                assert twin.behind, f"{twin} reads, and was called slow"
                twin.client.reading = True
                self.home.settle()
                twin.ended = "slow"
            else:
                assert tagged.data == b"Client disconnected"
                assert twin.lost_at is not None and self.home.clock.now >= twin.lost_at + STALE_SECS, f"{twin}: early"
                twin.ended = "expired"
        self.seen = len(log)

    def check(self) -> None:
        now, registry = self.home.clock.now, self.home.server.registry
        for stranger, since in list(self.strangers):
            if now > since + HANDSHAKE_SECS + 0.3:
                assert stranger.ended, "a handshake has its time"
                stranger.cut()
                self.strangers.remove((stranger, since))
        heard = self.home.master.reading and not self.home.server.trunk.full
        for twin in self.twins:
            session = registry.sessions.get(twin.id)
            if twin.ended:
                assert session is None, f"{twin} is still there"
                assert twin.client.ended or twin.client.closed
            elif session is None:
                assert not heard, f"{twin} is gone and nobody was told"
            elif session.state is State.LIVE and not twin.live:
                # Nobody is read while the master does not: the loss is seen when it does.
                assert self.home.server.trunk.full, f"{twin} is not known to be lost"
                twin.lost_at = now
            else:
                assert session.state is (State.LIVE if twin.live else State.STALE), f"{twin}: {session}"
                if twin.lost_at is not None:
                    assert session.expiry >= twin.lost_at + STALE_SECS - 1e-6, f"{twin}: too short a time"
                    assert now <= session.expiry + REAP_SECS + 0.5, f"{twin} should be gone"
            got = twin.client.got
            assert got == twin.down[: len(got)], f"{twin}: order"
            if twin.live and twin.client.reading and session is not None:
                assert len(got) == len(twin.down), f"{twin}: {len(twin.down) - len(got)} missing"
                twin.behind = False
        if heard:
            self.check_upward()

    def check_upward(self) -> None:
        log, counters, total = self.upward + self.home.master.log, self.home.server.counters, 0
        for twin in self.twins:
            mine = [tagged for tagged in log if tagged.client_id == twin.id]
            data = [tagged.data for tagged in mine if tagged.flag is Flag.DATA]
            for connection in twin.connections:
                arrived = data[: len(connection.sent)]
                while arrived and arrived != connection.sent[: len(arrived)]:
                    arrived.pop()
                del data[: len(arrived)]
                if not connection.closed and not (twin.ended and connection.ended):
                    assert len(arrived) == len(connection.sent), f"{twin}: missing on the way up"
            assert data == [], f"{twin}: out of order, or twice"
            assert sum(tagged.flag is Flag.RECONNECTION for tagged in mine) == twin.resumes + twin.announced
            unknown = sum(tagged.data == b"Client not found" for tagged in mine if tagged.flag is Flag.FAILURE)
            total += unknown
            if (
                twin.ended != "slow" and not counters.notices_dropped
            ):  # what was on its way to the slow is reported, too
                assert unknown == twin.unknown, f"{twin}: reports of an unknown client"
        assert total == counters.unknown_client - counters.notices_dropped

    def finish(self) -> None:
        """Everybody reads, comes back and gets everything."""
        self.deaf = 0
        for twin in self.twins:
            twin.client.reading = True
        self.settle()
        for twin in self.twins:
            if not twin.ended and twin.client.closed:
                twin.connections.append(self.home.resume(twin.client))
                twin.lost_at = None
                self._count_resume(twin)
        self.home.settle()
        self.home.master.reading = True
        self.settle()
        for twin in self.twins:
            if not twin.ended:
                assert twin.client.got == twin.down


@pytest.mark.parametrize("poller", POLLERS, ids=lambda poller: poller.__name__)
@pytest.mark.parametrize("seed", range(8))
def test_random_lives(seed: int, poller: type):
    with world(SETTINGS, poller, master=False) as home:
        home.connect_master(send_buffer=4096)
        simulation = Simulation(home, seed)
        for _ in range(250):
            simulation.step()
            assert home.loop.bugs == []
        simulation.finish()
