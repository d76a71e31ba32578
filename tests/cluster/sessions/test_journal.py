"""The store is told of every session, the last of each, whatever becomes of the store meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from kit.recorders import RecorderLink
from kit.redis_server import RedisServer
from kit.store_world import SECRET, StoreWorld

from voltlane.cluster.keys.secret import Sealer
from voltlane.cluster.moved import MovedEnd
from voltlane.cluster.sessions.giver import Giver
from voltlane.cluster.sessions.journal import ClusterJournal
from voltlane.cluster.sessions.moved import MovedClients
from voltlane.cluster.sessions.rows import Rows
from voltlane.cluster.sessions.scripts import SCRIPTS
from voltlane.core.counters import Counters
from voltlane.core.registry import Registry
from voltlane.core.session import Session
from voltlane.reasons import EndReason

ME = "3:token"
POINT = b"\x02" * 33


class Home:
    """A registry whose journal is in a store."""

    def __init__(self, url: str, up: bool = True) -> None:
        self.world = StoreWorld(url, *SCRIPTS)
        loop = self.world.loop
        self.fenced: list[Session] = []
        self.journal = ClusterJournal(
            loop, self.world.link, Rows(Sealer(SECRET), 1 << 20), lambda: ME, 60.0, self.fenced.append
        )
        self.registry = Registry(
            stale_timeout=60.0,
            reap_interval=1.0,
            max_stale=10_000,
            on_end=lambda session, reason: None,
            on_stale=lambda: None,
            now=loop.now,
        )
        self.journal.registry, self.registry.journal = self.registry, self.journal
        if up:
            self.world.until_up()

    def giver(self) -> Giver:
        """What gives sessions up, with a hub that hears of it and does nothing."""
        finder: Any = SimpleNamespace(me=lambda: ME, forget=lambda _: None, told=lambda _: None, moved=MovedClients())
        hub: Any = SimpleNamespace(registry=self.registry, give_away=lambda *_: None)
        world, rows = self.world, Rows(Sealer(SECRET), 1 << 20)
        return Giver(world.loop, world.link, rows, self.journal, finder, hub, hub, Counters(), lambda client_id: True)

    def close(self) -> None:
        self.world.link.stop()
        self.world.loop.close()

    def open(self, credential: bytes = POINT) -> Session:
        return self.registry.open(credential, RecorderLink())

    def settle(self) -> None:
        self.world.until(lambda: not self.journal.pending, "everything to be written")

    def rows(self) -> dict[int, dict[str, str]]:
        found = {}
        for key in self.world.ask("KEYS", "voltlane:session:*"):  # type: ignore[union-attr]
            words = self.world.ask("HMGET", key, "state", "owner", "term")
            found[int(key.rpartition(b":")[2])] = dict(
                zip(("state", "owner", "term"), [word.decode() for word in words])  # type: ignore[union-attr]
            )
        return found


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def home(server: RedisServer) -> Iterator[Home]:
    home = Home(server.url)
    yield home
    home.close()


def states(home: Home) -> dict[int, str]:
    return {client_id: row["state"] for client_id, row in home.rows().items()}


def test_a_life(home: Home):
    session = home.open()
    home.settle()
    assert home.rows() == {session.id: {"state": "live", "owner": ME, "term": "1"}}
    home.registry.lose(session, home.world.loop.now)
    home.settle()
    assert states(home) == {session.id: "stale"}
    home.registry.resume(session, RecorderLink())
    home.settle()
    assert states(home) == {session.id: "live"}
    home.registry.end(session)
    home.settle()
    assert states(home) == {session.id: "ended"}


def test_what_nobody_can_resume_is_not_written(home: Home):
    session = home.open(b"")
    home.registry.end(session)
    home.settle()
    assert home.rows() == {}


def test_the_last_state_of_each_is_written_when_the_store_is_back(home: Home, server: RedisServer):
    """Though it has forgotten everything. What is pending is never more than there are sessions."""
    sessions = [home.open() for _ in range(3000)]
    home.settle()
    server.kill()
    home.world.until_down()
    for _ in range(5):
        for session in sessions[:1000]:
            home.registry.lose(session, home.world.loop.now)
            home.registry.resume(session, RecorderLink())
    for session in sessions[1000:2000]:
        home.registry.lose(session, home.world.loop.now)
    for session in sessions[2000:2500]:
        home.registry.end(session)
    assert home.journal.pending <= 3000
    server.start()
    home.world.until_up()
    home.settle()
    found = states(home)
    assert [found.get(session.id) for session in sessions[:1000]] == ["live"] * 1000
    assert [found.get(session.id) for session in sessions[1000:2000]] == ["stale"] * 1000
    assert not {found.get(session.id) for session in sessions[2000:2500]} & {"live", "stale"}
    assert [found.get(session.id) for session in sessions[2500:]] == ["live"] * 500


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("away", [False, True])
def test_an_end_is_news_if_it_was_ours_to_the_end(home: Home, server: RedisServer, ours: bool, away: bool):
    """Another server may have had it since: then nobody hears of an end. Without the store that waits for it."""
    session = home.open()
    home.settle()
    told: list[tuple[int, EndReason]] = []
    home.journal.on_agreed = lambda client_id, reason, stone: told.append((client_id, reason))
    if not ours:
        home.world.ask("HSET", f"voltlane:session:{session.id}", "owner", "4:another", "term", "2")
    if away:
        server.pause()
        home.world.until(lambda: home.world.ask("PING") != b"PONG", "the link to notice")
    home.registry.end(session)
    home.journal.settle_end(session.id, EndReason.EXPIRED, None)
    assert not told and home.journal.unsaid == [MovedEnd(session.id, 1, EndReason.EXPIRED)]
    if away:
        server.go_on()
        home.world.until_up()
    home.settle()
    home.world.until(lambda: not home.journal._ended and home.world.ask("PING") == b"PONG", "an answer")
    assert told == ([(session.id, EndReason.EXPIRED)] if ours else [])


def test_a_session_that_is_anothers_is_told(home: Home):
    session, other = home.open(), home.open()
    home.settle()
    home.world.ask("HSET", f"voltlane:session:{session.id}", "owner", "4:another", "term", "2")
    home.registry.lose(session, home.world.loop.now)
    home.world.until(lambda: home.fenced, "it to be told")
    assert home.fenced == [session] and states(home)[other.id] == "live"


@pytest.mark.parametrize("stale", [False, True])
def test_a_round_finds_out_whose_it_is(home: Home, stale: bool):
    """Without anything to be written."""
    session = home.open()
    if stale:
        home.registry.lose(session, home.world.loop.now)
    home.settle()
    home.journal.start()
    home.world.ask("HSET", f"voltlane:session:{session.id}", "owner", "4:another", "term", "2")
    home.journal.look_again()
    home.world.until(lambda: home.fenced, "it to be told")
    home.journal.stop()


def test_a_round_writes_what_the_store_has_lost(home: Home):
    session = home.open()
    home.settle()
    home.journal.start()
    home.world.ask("FLUSHALL")
    home.journal.look_again()
    home.world.until(lambda: home.rows(), "it to be there again")
    assert states(home) == {session.id: "live"}
    home.journal.stop()


class TestAnotherProcess:
    """It follows in place: what this one has not said to the store, that one says."""

    def test_ends_and_whose_sessions_are(self, home: Home, server: RedisServer):
        kept, ended, silent = [home.open() for _ in range(3)]
        home.settle()
        home.world.link.rest(lambda: None)
        for session in (ended, silent):
            home.registry.end(session)
        home.journal.settle_end(ended.id, EndReason.EXPIRED, None)
        told: list[tuple[int, EndReason]] = []
        heir = Home(server.url)
        try:
            heir.world.ask("HSET", f"voltlane:session:{kept.id}", "state", "out of date")
            heir.journal.on_agreed = lambda client_id, reason, stone: told.append((client_id, reason))
            heir.registry.take_over(kept)
            heir.journal.move_in(dict(home.journal.terms), home.journal.unsaid)
            heir.journal.write_all()  # as when it has the store
            heir.settle()
            heir.world.until(lambda: told, "it to be told")
            assert told == [(ended.id, EndReason.EXPIRED)] and not heir.fenced
            assert states(heir) == {kept.id: "live", ended.id: "ended", silent.id: "ended"}
        finally:
            heir.close()

    def test_what_is_given_up(self, home: Home, server: RedisServer):
        session = home.open()
        home.registry.lose(session, home.world.loop.now)
        home.settle()
        home.world.link.rest(lambda: None)
        giver = home.giver()
        giver.release(session, 5)
        home.world.loop.spin(3)
        assert giver.unreleased == 1 and states_of(server, session) == b"stale"
        heir = Home(server.url, up=False)
        try:
            following = heir.giver()
            following.move_in(giver.moved)
            heir.world.until(lambda: not following.unreleased, "the store to be told")
            assert states_of(server, session) == b"free"
        finally:
            heir.close()


def states_of(server: RedisServer, session: Session) -> object:
    return server.ask("HGET", f"voltlane:session:{session.id}", "state")
