"""Event streams in random lives: cut at any byte, taken over, left, resumed from any event that its client had. What a
client has got is always what was sent, once and in order, but for what a gap has told."""

from __future__ import annotations

import random

import pytest
from kit.event_source import Event, packet_of
from kit.event_world import Caller, EventClient, number_of, post
from kit.world import MakeWorld, World

pytest.importorskip("h11", reason="the extra `web` is not installed")

TYPES = ("message", "binary")


class Life:
    """One session, and what its client knows of it."""

    def __init__(self, home: World, chance: random.Random) -> None:
        self.home, self.chance = home, chance
        self.sent: list[bytes] = []
        self.said: list[bytes] = []
        self.stream: EventClient | None = EventClient(home, send_buffer=1 << 13)
        home.settle()
        self.id, self.token = self.stream.id, self.stream.token
        self.last_id = self.stream.source.last_id
        self.got: dict[int, bytes] = {}
        self.told: set[int] = set()
        self.seen = 0

    def send(self) -> None:
        """The master sends something."""
        for _ in range(self.chance.randint(1, 6)):
            size = self.chance.choice((0, 1, 10, 100, 100, 3000))
            self.sent.append(b"%d\n" % len(self.sent) + self.chance.choice((b"a", b"\n", b"\r", b"\xff")) * size)
            self.home.master.send(self.id, self.sent[-1])

    def post(self) -> None:
        self.said.append(b"up %d" % len(self.said))
        caller = Caller(self.home, post(self.token, self.said[-1]))
        self.home.settle()
        assert caller.statuses == [202]

    def read(self) -> None:
        """A little, or all."""
        if self.stream is not None:
            self.stream.read_some(self.chance.choice((1, 37, 200, 5000, 1 << 20)))
            self.look()

    def look(self) -> None:
        """What has come, against what was sent."""
        assert self.stream is not None
        events = self.stream.events
        for at in range(self.seen, len(events)):
            self.check(events[at])
        self.seen = len(events)
        self.last_id = self.stream.source.last_id

    def check(self, event: Event) -> None:
        if event.type == "session":
            assert event.value == {"client_id": self.id, "token": self.token}
            self.number = number_of(event.last_id)
        elif event.type == "gap":
            assert event.value["first"] == self.number + 1 <= event.value["last"] == number_of(event.last_id)
            self.number = event.value["last"]
            self.told.update(range(event.value["first"], self.number + 1))
        elif event.type in TYPES:
            self.number += 1
            assert number_of(event.last_id) == self.number and packet_of(event) == self.sent[self.number - 1]
            self.got[self.number] = packet_of(event)

    def cut(self) -> None:
        """The connection is lost, with what is on its way."""
        if self.stream is not None:
            self.stream.closed = True
            self.stream.sock.close()
            self.stream = None

    def come_back(self) -> None:
        """With or without having noticed a loss; sometimes from an older event, as a page that was reloaded."""
        old, last_id = self.stream, self.last_id
        if old is not None and len(old.events) > 3 and self.chance.random() < 0.2:
            last_id = self.chance.choice(old.events).last_id
        self.stream, self.seen = EventClient(self.home, last_id, send_buffer=1 << 13), 0
        self.stream.reading = False

    def settle(self) -> None:
        self.home.settle()


@pytest.mark.parametrize("policy", ["fail", "drop-oldest"])
@pytest.mark.parametrize("kept", [3, 40, 8192])
@pytest.mark.parametrize("seed", range(6))
def test_random_lives(make: MakeWorld, policy: str, kept: int, seed: int):
    """With "fail" no more comes for who is away than is kept, so that no session ends."""
    home = make(
        {
            "clients.missed_packets_policy": policy,
            "clients.missed_packets_buffer_size": kept,
            "clients.missed_packets_buffer_bytes": 1 << 17,
            "clients.stale_timeout_secs": 20,
            "clients.channel_capacity": 100_000,
        }
    )
    chance = random.Random(f"{policy} {kept} {seed}")
    life = Life(home, chance)
    assert life.stream is not None
    life.look()
    life.stream.reading = False
    careful = policy == "fail"
    for _ in range(120):
        step = chance.choice(("send", "send", "send", "read", "read", "read", "post", "cut", "come_back", "settle"))
        if step == "send" and careful and life.stream is None:
            continue
        if step == "cut" and careful:  # what waits then may be more than is kept
            while life.stream is not None and life.stream.read_some(1 << 20):
                home.settle()
            if life.stream is not None:
                life.look()
        getattr(life, step)()
        home.loop.turn(0)
        home.pump()
    life.come_back()
    home.settle()
    assert life.stream is not None
    life.stream.reading = True
    home.settle()
    life.look()
    assert set(range(1, len(life.sent) + 1)) == set(life.got) | life.told
    assert home.master.data.get(life.id, []) == life.said
    if kept == 8192:
        assert len(life.got) == len(life.sent)
