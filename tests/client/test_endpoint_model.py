"""The endpoint and a model of the server with everything in between that can go wrong: cuts at any byte, welcomes and
confirmations that are lost, crashes of either side, states of any age, copies.

The application sees every packet once, in order; or it is told where some are missing, and nothing of that kind while
neither side has crashed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.model_v3 import ModelServer, ServerLink, Session

from voltlane.client.endpoint import ACK_SECS, Endpoint, Phase
from voltlane.client.memory import Memory
from voltlane.client.options import Options
from voltlane.client.pinning import Pins
from voltlane.client.state import decode, encode
from voltlane.errors import Gap, SessionLost, Uncertain
from voltlane.wire.v3 import may_return

LIMIT = 1 << 20
OPTIONS = Options(retained_packets=32, retained_bytes=1 << 20, window_bytes=1000)


@dataclass
class Application:
    """What a program has, and writes to its disk together with the library's state."""

    sent: list[bytes] = field(default_factory=list)
    got: list[bytes] = field(default_factory=list)
    gaps: list[tuple[int, Gap]] = field(default_factory=list)
    """With how many packets had come before."""
    uncertain: list[Uncertain] = field(default_factory=list)
    forgot: set[int] = field(default_factory=set)
    """Places behind which a restored program does not know what it had been given."""

    def copy(self) -> Application:
        return Application(
            list(self.sent), list(self.got), list(self.gaps), list(self.uncertain), self.forgot | {len(self.got)}
        )


class World:
    """One client, one server, one connection at a time, and bytes under way."""

    def __init__(self, options: Options = OPTIONS) -> None:
        self.options = options
        self.server = ModelServer()
        self.server.window, self.server.piece = 700, 300
        self.now = 1000.0
        self.app = Application()
        self.endpoint = Endpoint(Memory(options, LIMIT, Pins()), options)
        self.link: ServerLink | None = None
        self.up, self.down = bytearray(), bytearray()
        self.count_up = self.count_down = 0
        self.saved: list[tuple[bytes, Application]] = []
        self.sent_down: list[bytes] = []
        self.crashes = self.restores = self.lives = 0
        self.over: SessionLost | None = None

    @property
    def session(self) -> Session | None:
        return self.server.sessions.get(self.endpoint.memory.client_id or 0)

    # ---- what may happen

    def connect(self, _: int) -> None:
        if self.endpoint.phase is Phase.OFFLINE and self.over is None:
            self.link = self.server.accept()
            self.endpoint.connect(self.now)

    def deliver_up(self, count: int) -> None:
        self.up += self.endpoint.output
        self.endpoint.output.clear()
        if self.link is not None:
            self.link.receive(bytes(self.up[:count]))
            del self.up[:count]

    def deliver_down(self, count: int) -> None:
        if self.link is None:
            return
        self.down += self.link.output
        self.link.output.clear()
        data = bytes(self.down[:count])
        del self.down[:count]
        if data and self.endpoint.phase is not Phase.OFFLINE:
            self.endpoint.receive(data, self.now)
            if self.endpoint.phase is Phase.WELCOMED:
                self.keep(0)
                self.endpoint.confirm(self.now)
            if self.endpoint.closed is not None:
                close = self.endpoint.closed
                if not may_return(close.code):
                    self.over = SessionLost("", code=close.code)
                self.cut(0)

    def cut(self, count: int) -> None:
        """Some more bytes get up; the rest is lost. The server does not notice."""
        if self.link is not None:
            self.deliver_up(count)
        self.up.clear()
        self.down.clear()
        self.link = None
        self.endpoint.lost()

    def send_up(self, size: int) -> None:
        if not self.endpoint.memory.retention.full(size + 10):
            self.count_up += 1
            packet = b"%09d." % self.count_up + bytes(size)
            self.app.sent.append(packet)
            self.endpoint.send(packet)
            self.endpoint.pump(self.now)

    def send_down(self, size: int) -> None:
        if self.session is not None and self.session.last_down - self.session.acked < 60:
            self.count_down += 1
            packet = b"%09d." % self.count_down + bytes(size)
            self.sent_down.append(packet)
            self.session.send(packet)

    def take(self, count: int) -> None:
        for _ in range(count):
            item = self.endpoint.take(self.now)
            if item is None:
                return
            if isinstance(item, Gap):
                self.app.gaps.append((len(self.app.got), item))
            elif isinstance(item, Uncertain):
                self.app.uncertain.append(item)
            else:
                self.app.got.append(item)

    def pass_on(self, count: int) -> None:
        for session in self.server.sessions.values():
            session.pass_on(count)

    def wait(self, _: int) -> None:
        self.now += ACK_SECS
        self.endpoint.tick(self.now)

    def crash_server(self, _: int) -> None:
        self.cut(0)
        self.server.crash()
        self.crashes += 1

    def keep(self, _: int) -> None:
        """Both states, written together."""
        self.saved.append((encode(self.endpoint.memory, "x:1"), self.app.copy()))

    def restore(self, age: int) -> None:
        """The program is killed, and goes on from a state; the newest for age 0."""
        if len(self.saved) <= age:
            return
        self.cut(0)
        state, app = self.saved[-1 - age]
        self.lives += 1
        memory, _ = decode(state, self.options, LIMIT, self.lives << 20)
        self.endpoint, self.app = Endpoint(memory, self.options), app.copy()
        self.over = None
        self.restores += 1

    # ---- at the end

    def settle(self) -> None:
        """Everything gets through."""
        for _ in range(2000):
            self.connect(0)
            before = (len(self.app.got), self.endpoint.phase, len(self.endpoint.memory.retention))
            self.deliver_up(1 << 20)
            self.deliver_down(1 << 20)
            self.pass_on(1 << 20)
            self.take(1 << 20)
            self.wait(0)
            if self.over is not None:
                return
            idle = not (self.endpoint.output or self.up or self.down or (self.link and self.link.output))
            after = (len(self.app.got), self.endpoint.phase, len(self.endpoint.memory.retention))
            if idle and before == after and self.endpoint.phase is Phase.LIVE:
                return
        raise AssertionError("it never comes to an end")

    def check(self) -> None:
        passed = self.session.passed if self.session else []
        assert passed == sorted(set(passed)), "twice, or out of order, to the master"
        told = {packet for uncertain in self.app.uncertain for packet in uncertain.packets}
        missing = [packet for packet in self.app.sent if packet not in set(passed)]
        assert set(missing) <= told, "lost, and nobody was told"
        assert self.app.got == sorted(set(self.app.got)), "twice, or out of order, to the application"
        expected = [packet for packet in self.sent_down]
        if not self.crashes and not self.restores:
            assert not self.app.uncertain and not self.app.gaps
            assert passed == self.app.sent and self.app.got == expected
            return
        if not self.crashes:
            assert not self.app.uncertain
        gap_places = {place for place, _ in self.app.gaps}
        place, index = 0, {packet: number for number, packet in enumerate(expected)}
        before = -1
        for place, packet in enumerate(self.app.got):
            if index[packet] != before + 1:
                assert place in gap_places, "missing, and not told"
            before = index[packet]
        if before + 1 != len(expected):
            assert len(self.app.got) in gap_places


STEPS: dict[str, Callable[[World, int], None]] = {
    name: getattr(World, name)
    for name in (
        [
            "connect",
            "deliver_up",
            "deliver_down",
            "cut",
            "send_up",
            "send_down",
            "take",
            "pass_on",
            "wait",
            "crash_server",
            "keep",
            "restore",
        ]
    )
}
CALM = ["connect", "deliver_up", "deliver_down", "send_up", "send_down", "take", "pass_on", "wait"]
sizes = st.one_of(st.just(5000), st.integers(0, 400), st.just(1))


def steps(*names: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    return st.lists(st.tuples(st.sampled_from(names), sizes), min_size=10, max_size=120)


def play(script: list[tuple[str, int]], world: World) -> World:
    for name, argument in script:
        STEPS[name](world, argument % 4 if name in ("take", "pass_on", "restore") else argument)
    world.settle()
    world.check()
    return world


RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@RELAXED
@given(steps(*CALM, "cut"))
def test_cuts_cost_nothing(script: list[tuple[str, int]]) -> None:
    world = play(script, World())
    assert world.over is None


@RELAXED
@given(steps(*CALM, "cut", "keep"))
def test_a_program_that_goes_on_from_its_newest_state_loses_nothing(script: list[tuple[str, int]]) -> None:
    """Killed at any moment behind the one at which it was written."""
    world = World()
    for name, argument in script:
        if name == "keep":
            world.keep(0)
            world.restore(0)
            world.app.forgot.clear()
        else:
            STEPS[name](world, argument % 4 if name in ("take", "pass_on") else argument)
    world.settle()
    world.restores = 0
    world.check()
    assert world.over is None


@RELAXED
@given(steps(*CALM, "cut", "crash_server"))
def test_a_server_that_loses_its_memory(script: list[tuple[str, int]]) -> None:
    world = play(script, World())
    assert world.over is None


@RELAXED
@given(steps(*CALM, "cut", "keep", "restore"))
def test_states_of_any_age(script: list[tuple[str, int]]) -> None:
    world = World()
    for name, argument in script:
        STEPS[name](world, argument % 4 if name in ("take", "pass_on", "restore") else argument)
    world.settle()
    if world.over is None:
        world.check()
    else:
        assert world.over.code in (3502, 3503)


@RELAXED
@given(steps(*CALM, "cut", "keep", "restore", "crash_server"))
def test_all_of_it(script: list[tuple[str, int]]) -> None:
    world = World()
    for name, argument in script:
        STEPS[name](world, argument % 4 if name in ("take", "pass_on", "restore") else argument)
    world.settle()
    if world.over is None:
        world.check()


@RELAXED
@given(steps(*CALM, "cut", "crash_server"))
def test_what_is_uncertain_may_be_sent_again(script: list[tuple[str, int]]) -> None:
    """At least once, and what is new in its order; nothing is told."""
    world = World(OPTIONS._replace(uncertain="resend"))
    for name, argument in script:
        STEPS[name](world, argument % 4 if name in ("take", "pass_on") else argument)
    world.settle()
    assert not world.app.uncertain and world.over is None
    passed = world.session.passed if world.session else []
    assert list(dict.fromkeys(passed)) == world.app.sent
    assert world.crashes or passed == world.app.sent


@pytest.mark.parametrize("seed", range(8))
def test_with_acks_by_hand_the_newest_state_loses_nothing(seed: int) -> None:
    """The program acknowledges what it has kept. Whatever it got behind that, it forgets when it is killed: by the
    state that was kept last, be it its own or that of a welcome, it is given that again."""
    choose = random.Random(seed)
    world = World(OPTIONS._replace(acks="manual"))
    has: list[bytes] = []
    for _ in range(1500):
        name = (
            choose.choice(["cut", "cut", "restore", "ack", "ack"]) if not choose.randrange(30) else choose.choice(CALM)
        )
        argument = choose.choice([1, 20, 400, 5000])
        if name == "ack":
            has = list(world.app.got)
            world.endpoint.memory.inbox.acknowledge()
            world.keep(0)
            world.endpoint.acknowledge(world.now)
        elif name == "restore":
            world.restore(0)
            world.app.got = list(has)
        else:
            STEPS[name](world, argument % 4 if name in ("take", "pass_on") else argument)
    world.settle()
    assert world.over is None and not world.app.gaps
    assert world.app.got == world.sent_down and len(world.sent_down) > 20 and world.restores > 3


@pytest.mark.parametrize("seed", range(18))
def test_long_runs(seed: int) -> None:
    """Without a crash, with crashes of the server, with those and a program that goes on from its newest state."""
    choose = random.Random(seed)
    world = World()
    rare = [[], ["crash_server"], ["crash_server", "keep", "restore"]][seed % 3]
    for _ in range(1500):
        name = choose.choice(["cut", "cut", *rare]) if not choose.randrange(60) else choose.choice(CALM)
        argument = choose.choice([1, 20, 400, 5000])
        if name in ("keep", "restore"):
            world.keep(0)
            world.restore(0)
            continue
        STEPS[name](world, argument % 4 if name in ("take", "pass_on") else argument)
    world.settle()
    world.check()
    assert world.over is None and len(world.sent_down) > 20 and len(world.app.sent) > 20
