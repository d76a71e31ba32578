"""Random lives of clients of version 3: cuts, takeovers, slow readers, a master that comes and goes, copies.

Each side's application sees every packet once and in order, or is told of a gap with exactly the numbers it does not
see; and where the server has lost no memory and gives nothing up, it is told of none.
"""

from __future__ import annotations

import random
from typing import Any, Callable

import pytest
from kit.handlers import POLLERS
from kit.record_world import RecordClient
from kit.records import Session
from kit.speaker import lanes
from kit.world import World, world

from voltlane.core.session import State
from voltlane.wire.framing import frame
from voltlane.wire.v3 import Code, Gap, Kind, Uncertain, Why

PATIENT: dict[str, object] = {
    "clients.stale_timeout_secs": 50,
    "clients.slow_secs": 100_000,
    "clients.write_stall_secs": 0,
    "clients.ack_secs": 1,
    "clients.channel_capacity": 300,
    "clients.window_bytes": 20_000,
    "clients.missed_packets_buffer_size": 1 << 20,
    "clients.missed_packets_buffer_bytes": 1 << 30,
    "clients.outbox_bytes": 1 << 24,
    "master.channel_capacity": 150,
    "master.outbox_bytes": 100_000,
}
FORGETFUL: dict[str, object] = {
    **PATIENT,
    "clients.missed_packets_policy": "drop-oldest",
    "clients.missed_packets_buffer_size": 20,
}
SIZES = [0, 1, 40, 40, 300, 5000, 30_000, 90_000]


class Twin:
    """What should be true of one client."""

    def __init__(self) -> None:
        self.session = Session()
        self.connections: list[RecordClient] = []
        self.up: list[bytes] = []
        self.down: list[bytes] = []

    @property
    def id(self) -> int:
        return self.session.id

    @property
    def client(self) -> RecordClient:
        return self.connections[-1]

    @property
    def live(self) -> bool:
        return bool(self.connections) and not self.client.closed


class Simulation:
    """Does random things, and keeps the model."""

    def __init__(self, home: World, seed: int) -> None:
        self.home = home
        self.random = random.Random(seed)
        self.twins = [Twin() for _ in range(4)]
        self.upward: dict[int, list[bytes]] = {}
        """What masters that are gone have read."""
        self.number = 0
        self.copies = 0
        self.dropped = self.told = self.unsure = 0
        """As servers that are gone have counted."""

    def payloads(self) -> list[bytes]:
        count = self.random.choice([1, 1, 3, 20])
        made = []
        for _ in range(count):
            self.number += 1
            made.append(b"%d:" % self.number + bytes(self.random.choice(SIZES if count < 20 else SIZES[:5])))
        return made

    # ---- what may happen

    def come(self, twin: Twin) -> None:
        """A first connection, or another: the one before is not read any more, and may still be there."""
        if twin.connections and not twin.client.closed:
            twin.client.reading = False
            if self.random.random() < 0.5:
                twin.client.lose()
        lane = self.random.choice(lanes())
        window = self.random.choice([100, 3000, 1 << 20])
        twin.connections.append(RecordClient(self.home, twin.session, lane=lane, window=window))

    def lose(self, twin: Twin) -> None:
        if twin.live:
            self.random.choice([twin.client.lose, twin.client.cut])()

    def send_up(self, twin: Twin) -> None:
        payloads = self.payloads()
        twin.up += payloads
        if twin.live and twin.client.ready:
            twin.client.send(*payloads)
        else:
            twin.session.send(*payloads)

    def send_down(self, twin: Twin) -> None:
        if twin.id:
            payloads = self.payloads()
            twin.down += payloads
            self.home.master.send(twin.id, *payloads)

    def pause(self, twin: Twin) -> None:
        if twin.live:
            twin.client.reading = not twin.client.reading

    def late(self, twin: Twin) -> None:
        """An old connection says something more when another has the session."""
        for old in twin.connections[:-1]:
            if twin.client.ready and not old.closed and old.ready:
                old.say(old.endpoint.record(Kind.DATA, frame(b"late")))

    def pause_master(self, twin: Twin) -> None:
        self.home.master.reading = not self.home.master.reading

    def lose_master(self, twin: Twin) -> None:
        self.home.settle()
        self.home.master.cut()
        self.home.settle()
        self.hear_out()
        for _ in range(self.random.randrange(4)):
            self.random.choice([self.send_up, self.come, self.lose])(self.random.choice(self.twins))
            self.home.settle()
        self.home.connect_master(send_buffer=4096)

    def follow(self, twin: Twin) -> None:
        """Another server takes the place of this one, in the middle of anything."""
        self.dropped += self.home.server.counters.backlog_dropped
        self.told += self.home.server.counters.gaps
        self.unsure += self.home.server.counters.uncertain
        self.home.follow()

    def hear_out(self) -> None:
        for client_id, packets in self.home.master.data.items():
            self.upward.setdefault(client_id, []).extend(packets)

    def wait(self, twin: Twin) -> None:
        self.home.pass_(self.random.choice([0.2, 2]))

    def copy(self, twin: Twin) -> None:
        """A copy comes when the client has gone on: it is told so, and changes nothing."""
        if not (twin.live and twin.client.ready and twin.client.reading):
            return
        copied = twin.session.copy()
        self.come(twin)
        self.home.master.reading = True
        self.home.settle()
        assert twin.client.ready
        copy = RecordClient(self.home, copied)
        before = len(twin.session.events)
        self.home.settle()
        close = copy.endpoint.close
        assert close is not None and close.code == Code.SUPERSEDED and not copy.ready
        assert len(twin.session.events) >= before and not twin.client.ended
        copy.lose()
        self.copies += 1

    def step(self) -> None:
        actions: list[tuple[Callable[[Twin], None], float]] = [
            (self.come, 6),
            (self.lose, 4),
            (self.send_up, 12),
            (self.send_down, 14),
            (self.pause, 3),
            (self.late, 2),
            (self.pause_master, 1.5),
            (self.lose_master, 1),
            (self.wait, 4),
            (self.copy, 2),
            (self.follow, 2),
        ]
        functions, weights = zip(*actions)
        self.random.choices(functions, weights)[0](self.random.choice(self.twins))
        if self.random.random() < 0.4:
            self.home.settle()
        else:
            for _ in range(self.random.randrange(4)):
                self.home.loop.turn(0)
                self.home.pump()
        assert self.home.loop.bugs == []

    def finish(self) -> None:
        """Everybody comes back, and reads."""
        self.home.master.reading = True
        for twin in self.twins:
            for client in twin.connections:
                client.lose()
            twin.connections.append(RecordClient(self.home, twin.session))
        self.home.settle()
        self.home.pass_(5)
        self.hear_out()

    # ---- what must be true

    def check_up(self, twin: Twin) -> None:
        assert self.upward.get(twin.id, []) == twin.up
        assert twin.session.acked == twin.session.sent == len(twin.up)


@pytest.mark.parametrize("poller", POLLERS, ids=lambda poller: poller.__name__)
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_lost(seed: int, poller: type):
    with world(PATIENT, poller, master=False) as home:
        home.connect_master(send_buffer=4096)
        simulation = Simulation(home, seed)
        for _ in range(250):
            simulation.step()
        simulation.finish()
        for twin in simulation.twins:
            simulation.check_up(twin)
            assert twin.session.events == twin.down
        simulation.follow(simulation.twins[0])
        assert simulation.told == simulation.unsure == 0
        assert simulation.copies or seed
        lose_all(home)


@pytest.mark.parametrize("poller", POLLERS, ids=lambda poller: poller.__name__)
@pytest.mark.parametrize("seed", range(8))
def test_what_is_given_up_is_told(seed: int, poller: type):
    """The oldest goes where too much waits: the client is told of as many as it does not get."""
    with world(FORGETFUL, poller, master=False) as home:
        home.connect_master(send_buffer=4096)
        simulation = Simulation(home, seed)
        for _ in range(250):
            simulation.step()
        simulation.finish()
        gaps = 0
        for twin in simulation.twins:
            simulation.check_up(twin)
            assert expanded(twin.session.events, twin.down) == twin.down
            gaps += sum(isinstance(event, Gap) for event in twin.session.events)
        simulation.follow(simulation.twins[0])
        assert simulation.unsure == 0
        assert bool(gaps) == bool(simulation.dropped)
        lose_all(home)


def expanded(events: list[Any], down: list[bytes]) -> list[bytes]:
    """What came, with what was sent in the place of each gap."""
    out: list[bytes] = []
    for event in events:
        if isinstance(event, Gap):
            assert event.why == Why.LIMIT and event.first == len(out) + 1
            out += down[event.first - 1 : event.last]
        else:
            out.append(event)
    return out


class Amnesiac(Simulation):
    """The server loses what it knows of somebody who is away, as a crash would have it: some of the end of it."""

    def __init__(self, home: World, seed: int) -> None:
        super().__init__(home, seed)
        self.forgotten = 0

    def copy(self, twin: Twin) -> None:
        """In its place."""
        for connection in twin.connections:
            connection.lose()
        self.home.master.reading = True
        self.home.settle()
        session = self.home.server.registry.sessions.get(twin.id)
        if session is None or session.state is not State.STALE or session.delivery is None:
            return
        registry, delivery = self.home.server.registry, session.delivery
        registry.epoch += 1
        if session.backlog is not None:
            session.backlog.clear()
            session.backlog = None
        delivery.taken = delivery.safe = self.random.randint(delivery.safe // 2, delivery.taken)
        delivery.forget(registry.epoch)
        self.forgotten += 1


@pytest.mark.parametrize("seed", range(12))
def test_what_is_not_known_is_told(seed: int):
    with world(PATIENT, master=False) as home:
        home.connect_master(send_buffer=4096)
        simulation = Amnesiac(home, seed)
        for _ in range(200):
            simulation.step()
        simulation.finish()
        for twin in simulation.twins:
            events = twin.session.events
            packets = [event for event in events if isinstance(event, bytes)]
            assert len(set(packets)) == len(packets), "one came twice"
            places = [twin.down.index(packet) for packet in packets]
            assert places == sorted(places), "out of order"
            told = any(isinstance(event, Gap) for event in events)
            assert told or packets == twin.down
            assert all(event.why == Why.RESTART for event in events if isinstance(event, Gap))
            uncertain = {
                number
                for event in events
                if isinstance(event, Uncertain)
                for number in range(event.first, event.last + 1)
            }
            up = simulation.upward.get(twin.id, [])
            assert len(set(up)) == len(up), "one was passed on twice"
            places = [twin.up.index(packet) for packet in up]
            assert places == sorted(places)
            missing = {number for number in range(1, len(twin.up) + 1) if number - 1 not in set(places)}
            assert missing <= uncertain, "lost, and not told"
            assert twin.session.acked == twin.session.sent or twin.session.sent in uncertain
        assert simulation.forgotten
        lose_all(home)


def lose_all(home: World) -> None:
    for client in home.clients:
        client.lose()  # type: ignore[attr-defined]
