"""What the store does for sessions, with a real one: who may write, who gets it, and what is said twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kit.redis_server import RedisServer

from voltlane.cluster.redis.script import Script
from voltlane.cluster.sessions.scripts import END, LOOK, REFRESH, RELEASE, TAKE, WRITE

ONE, TWO = "1:aaaa", "2:bbbb"
ID = 77
KEY = f"session:{ID}"


class Store:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        for owner in (ONE, TWO):
            self.lease(owner)

    def run(self, script: Script, keys: list[str], *arguments: object) -> Any:
        return self.server.ask("EVAL", script.source, len(keys), *keys, *arguments)

    def lease(self, owner: str) -> None:
        number, token = owner.split(":")
        self.server.ask("SET", f"node:{number}", token)

    def lapse(self, owner: str) -> None:
        self.server.ask("DEL", "node:" + owner.split(":")[0])

    def write(self, me: str, term: int, state: str = "live", opening: str = "", client_id: int = ID) -> Any:
        keys = [f"session:{client_id}", opening]
        return self.run(WRITE, keys, me, term, state, "cred", "numbers", 60_000, client_id)

    def take(self, me: str, force: object = "") -> Any:
        return self.run(TAKE, [KEY, "node:", "ask:"], me, 60_000, ID, force, me.split(":")[0])

    def release(self, me: str, term: int, exact: int = 1, again: int = 0) -> Any:
        return self.run(RELEASE, [KEY, "told:2"], me, term, "cred2", "exactly", "rest", 60_000, ID, exact, again)

    def look(self, me: str = ONE) -> Any:
        return self.run(LOOK, [KEY, "node:"], me)

    def end(self, me: str, term: int) -> Any:
        return self.run(END, [KEY], me, term, 60_000)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    server = RedisServer(unix=True)
    yield server
    server.close()


@pytest.fixture
def store(server: RedisServer) -> Store:
    server.ask("FLUSHALL")
    return Store(server)


def test_an_owner_writes_and_nobody_else_does(store: Store):
    assert store.write(ONE, 1) == 1 and store.write(ONE, 1, "stale") == 1
    assert store.write(TWO, 1) == 0 and store.release(TWO, 1) == 0
    assert store.look() == [b"1:aaaa", b"1", b"cred", b"numbers"]
    assert store.server.ask("PTTL", KEY) > 50_000  # type: ignore[operator]


def test_an_owner_with_another_number_is_the_same(store: Store):
    store.write(ONE, 1)
    assert store.write("9:aaaa", 1) == 1 and store.look()[0] == b"9:aaaa"


def test_one_that_was_given_up_is_taken_exactly_and_once(store: Store):
    store.write(ONE, 1)
    assert store.release(ONE, 1) == 1 and store.release(ONE, 1) == 0
    assert store.write(ONE, 1) == 0, "it is nobody's, and not ours"
    got = [1, b"2", b"1", b"cred2", b"exactly", b"rest"]
    assert store.take(TWO) == got and store.take(TWO) == got, "the answer may have been lost"
    assert store.take(ONE) == [0, b"2"]
    assert store.write(TWO, 2) == 1
    assert store.take(TWO)[2:] == [b"0", b"cred", b"numbers", b""], "what it has written since is not what was given up"


def test_one_given_up_to_a_store_that_has_lost_it_since_is_not_exact(store: Store):
    """Said again: it may have been taken meanwhile, and what was kept for its client may be with that."""
    store.write(ONE, 1)
    assert store.release(ONE, 1, again=1) == 1
    assert store.take(TWO) == [1, b"2", b"1", b"cred2", b"exactly", b"rest"], "it was not lost"
    store.server.ask("FLUSHALL")
    store.lease(ONE)
    store.lease(TWO)
    assert store.release(ONE, 1, again=1) == 1
    assert store.take(TWO) == [1, b"2", b"0", b"cred2", b"exactly", b""]


def test_one_whose_owner_is_dead_is_taken_and_not_exactly(store: Store):
    store.write(ONE, 1)
    assert store.take(TWO) == [0, b"1"]
    store.lapse(ONE)
    assert store.take(TWO) == [1, b"2", b"0", b"cred", b"numbers", b""]
    store.lease(ONE)
    assert store.write(ONE, 1) == 0 and store.release(ONE, 1) == 0 and store.end(ONE, 1) == 0


def test_another_instance_at_the_same_number_is_not_the_owner(store: Store):
    store.write(ONE, 1)
    store.lease("1:cccc")
    assert store.take(TWO)[:3] == [1, b"2", b"0"]


def test_one_given_up_and_taken_by_who_died_is_not_exact(store: Store):
    store.write(ONE, 1)
    store.release(ONE, 1)
    store.take(TWO)
    store.lapse(TWO)
    assert store.take(ONE)[:3] == [1, b"3", b"0"]


def test_by_force_under_the_term_that_was_seen_only(store: Store):
    store.write(ONE, 1)
    assert store.take(TWO, force=2) == [0, b"1"]
    assert store.take(TWO, force=1)[:3] == [1, b"2", b"0"]
    assert store.take(TWO, force=1)[:3] == [1, b"2", b"0"]
    assert store.take(ONE, force=1) == [0, b"2"], "that was another owner"


def test_one_that_its_owner_knows_nothing_of(store: Store):
    store.write(ONE, 1)
    assert store.release(ONE, 1, exact=0) == 1
    assert store.take(TWO) == [1, b"2", b"0", b"cred", b"numbers", b""]


def test_the_end(store: Store):
    store.write(ONE, 1)
    assert store.end(TWO, 1) == 0 and store.end(ONE, 1) == 1
    assert store.end(ONE, 1) == 1, "the answer may have been lost"
    assert store.look() is None and store.take(TWO) is None
    assert store.write(ONE, 1) == 0, "it does not come back"
    assert store.take(TWO, force=1) is None


def test_the_end_of_one_that_the_store_has_forgotten(store: Store):
    assert store.end(ONE, 1) == 1 and store.write(ONE, 1) == 0


def test_there_is_none(store: Store):
    assert store.look() is None and store.take(TWO) is None
    assert store.release(ONE, 1, exact=0) == 0


class TestAStoreThatHasForgotten:
    """It was started anew from what it had saved, or with nothing."""

    def test_everything(self, store: Store):
        """Who does not know the one who asks says nothing by not knowing a session."""
        store.lapse(ONE)
        assert store.look() == 0 and store.take(ONE) == 0
        assert store.look(TWO) is None and store.take(TWO) is None

    def test_one_that_was_given_up(self, store: Store):
        """Its old owner says so once more: nobody else has it."""
        assert store.release(ONE, 3) == 1
        assert store.take(TWO) == [1, b"4", b"1", b"cred2", b"exactly", b"rest"]

    @pytest.mark.parametrize("released", [False, True])
    def test_that_it_was_taken(self, store: Store, released: bool):
        """The later term is right, whatever stands there."""
        store.write(ONE, 1)
        if released:
            store.release(ONE, 1)
        assert store.write(TWO, 2) == 1
        assert store.write(ONE, 1) == 0 and store.end(ONE, 1) == 0 and store.release(ONE, 1) == 0
        assert store.look()[:2] == [TWO.encode(), b"2"]

    def test_that_it_was_taken_and_given_up(self, store: Store):
        store.write(ONE, 1)
        assert store.release(TWO, 2) == 1 and store.take(ONE)[:3] == [1, b"3", b"1"]

    def test_that_it_was_taken_and_has_ended(self, store: Store):
        store.write(ONE, 1)
        assert store.end(TWO, 2) == 1 and store.look() is None and store.write(ONE, 1) == 0


def test_openings(store: Store):
    assert store.write(ONE, 1, opening="opening:h") == 1
    assert store.write(ONE, 1, opening="opening:h") == 1
    assert store.write(TWO, 1, opening="opening:h", client_id=78) == [b"77"]
    assert store.server.ask("EXISTS", "session:78") == 0
    assert store.end(ONE, 1) == 1
    assert store.write(TWO, 1, opening="opening:h", client_id=78) == 1, "nobody is at the one before"
    assert store.server.ask("GET", "opening:h") == b"78"


def test_refreshing(store: Store):
    store.write(ONE, 1)
    store.write(TWO, 1, client_id=78)
    store.server.ask("PEXPIRE", KEY, 1000)
    found = store.run(REFRESH, [KEY, "session:78", "session:79"], ONE, 60_000, 1, 1, 1)
    assert found == [1, 0, 2] and store.server.ask("PTTL", KEY) > 50_000  # type: ignore[operator]
