"""A session is given up once, however often it is asked for, and all of them, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from kit.recorders import RecorderLink
from kit.redis_server import RedisServer
from kit.store_world import SECRET, StoreWorld

from voltlane.cluster.keys.secret import Sealer
from voltlane.cluster.sessions import giver as module
from voltlane.cluster.sessions.giver import Giver
from voltlane.cluster.sessions.journal import ClusterJournal
from voltlane.cluster.sessions.moved import MovedClients
from voltlane.cluster.sessions.rows import Rows
from voltlane.cluster.sessions.scripts import SCRIPTS
from voltlane.core.counters import Counters
from voltlane.core.registry import Registry
from voltlane.core.session import Session

ME = "3:token"
POINT = b"\x02" * 33


class House:
    """What a giver needs of a server, with a real store; how much its master has is up to the test."""

    def __init__(self, url: str) -> None:
        self.world = StoreWorld(url, *SCRIPTS)
        loop, link = self.world.loop, self.world.link
        rows = Rows(Sealer(SECRET), 1 << 20)
        self.fenced: list[Session] = []
        journal = self.journal = ClusterJournal(loop, link, rows, lambda: ME, 60.0, self.fenced.append)
        registry = self.registry = Registry(
            stale_timeout=60.0,
            reap_interval=1.0,
            max_stale=10_000,
            on_end=lambda session, reason: None,
            on_stale=lambda: None,
            now=loop.now,
        )
        journal.registry, registry.journal = registry, journal
        self.trunk = SimpleNamespace(pushed=5, written=5)
        self.set_aside: list[int] = []
        finder = SimpleNamespace(
            me=lambda: ME,
            patience=5.0,
            told=lambda client_id: None,
            forget=lambda client_id: None,
            is_getting=lambda client_id: False,
            moved=MovedClients(),
        )
        hub = SimpleNamespace(
            registry=registry,
            set_aside=self._set_aside,
            give_away=lambda session, undelivered: registry.give_away(session),
        )
        self.counters = Counters()
        self.giver = Giver(loop, link, rows, journal, finder, hub, self.trunk, self.counters, lambda client_id: True)  # type: ignore[arg-type]
        self.world.until_up()

    def _set_aside(self, session: Session, now: float) -> None:
        if session.link is not None:
            self.set_aside.append(session.id)
            self.registry.lose(session, now)

    def settle(self) -> None:
        self.world.until(lambda: not self.journal.pending and not self.giver.unreleased, "everything to be written")

    def state(self, session: Session) -> object:
        return self.world.ask("HGET", self.world.link.key("session", session.id), "state")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def house(server: RedisServer) -> Iterator[House]:
    house = House(server.url)
    yield house
    assert house.world.loop.bugs == []
    house.world.link.stop()
    house.world.loop.close()


def slow_link() -> RecorderLink:
    link = RecorderLink()
    link.can_hand_over = False
    return link


def test_it_is_asked_for_again_while_its_connection_cannot_be_closed_yet(house: House):
    link = slow_link()
    session = house.registry.open(POINT, link)
    house.settle()
    message = b"%d 1 4" % session.id
    for _ in range(3):
        house.giver.asked(message)
        house.world.loop.spin(2)
    assert not house.set_aside and session.id not in house.journal.silent
    link.can_hand_over = True
    house.world.until(lambda: session.id not in house.registry.sessions, "it to be given up")
    house.settle()
    for _ in range(5):
        house.world.loop.turn(0.03)
    assert house.set_aside == [session.id] and house.state(session) == b"free"
    assert house.counters.given == 1 and not house.giver.is_giving(session.id) and not house.journal.silent


def test_it_is_taken_by_force_meanwhile(house: House):
    """Its server hears that at once, and not only when it has had time enough."""
    session = house.registry.open(POINT, slow_link())
    house.settle()
    house.giver.asked(b"%d 1 4" % session.id)
    house.giver.asked(b"%d 2 4" % session.id)
    assert session.id not in house.registry.sessions and house.counters.fenced == 1
    house.world.until(lambda: not house.giver.is_giving(session.id), "it to be forgotten")


@pytest.mark.parametrize("size", [0, 1 << 16])
def test_very_many_at_once(house: House, monkeypatch: pytest.MonkeyPatch, size: int):
    """More than may be under way: the others wait for their answers, and none is left over."""
    monkeypatch.setattr("voltlane.cluster.redis.link.MOST_AWAITED", 100)
    monkeypatch.setattr("voltlane.cluster.redis.link.MOST_UNSENT", 1 << 20)
    monkeypatch.setattr(module, "MOST_UNDER_WAY", 50, raising=False)
    monkeypatch.setattr(module, "MOST_BYTES_UNDER_WAY", 1 << 19, raising=False)
    sessions = [house.registry.open(POINT, RecorderLink()) for _ in range(90)]
    house.settle()
    sessions += [house.registry.open(POINT, RecorderLink()) for _ in range(90)]
    house.settle()
    for session in sessions:
        house.registry.lose(session, house.world.loop.now)
    for session in sessions:
        house.giver.release(session, 4)
    house.settle()
    assert {house.state(session) for session in sessions} == {b"free"}
