"""Numbers leased from a real store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kit.fault_proxy import FaultProxy
from kit.redis_server import RedisServer
from kit.store_world import StoreWorld

from voltlane.cluster.lease.keeper import LeaseKeeper
from voltlane.cluster.lease.states import State
from voltlane.core.ids import CLOCK_BITS, EPOCH, TICKS

NOW = EPOCH + 1e6
SECS = 15.0


class Node(StoreWorld):
    """A server, as far as leases go, with its own clocks."""

    def __init__(
        self, url: str, wanted: int = 0, token: str = "a", wall: float = NOW, secs: float = SECS, **options: Any
    ) -> None:
        super().__init__(url, start=False, lease_secs=secs, **options)
        self.keeper = LeaseKeeper(self.loop, self.link, wanted, secs, token, lambda: wall)
        self.seen: list[tuple[bool, int | None]] = []
        self.keeper.watchers.append(lambda: self.seen.append((self.keeper.usable, self.keeper.number)))
        self.keeper.start()
        self.link.start()

    def until_it_has_one(self) -> Node:
        self.until(lambda: self.keeper.usable, "a number")
        return self

    def pass_(self, seconds: float) -> None:
        """Fake time, with real answers in between."""
        for _ in range(int(seconds / 0.5)):
            self.loop.clock.now += 0.5
            self.loop.spin(2)
            self.until(lambda: not self.link.figures().pending, "the answers")

    def close(self) -> None:
        self.keeper.leave()
        self.loop.spin(5)
        super().close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(server: RedisServer) -> None:
    server.ask("FLUSHALL")


def test_the_number_that_is_wanted(server: RedisServer):
    with Node(server.url, 7) as node:
        node.until_it_has_one()
        assert (node.keeper.number, node.keeper.term, node.seen) == (7, 1, [(True, 7)])
        assert server.ask("GET", "voltlane:node:7") == b"a"
        assert 0 < server.ask("PTTL", "voltlane:node:7") <= SECS * 1000  # type: ignore[operator]
        assert node.keeper.ids is not None and node.keeper.ids.next == (7 << CLOCK_BITS) + int(1e6 * TICKS)
        assert server.ask("TTL", "voltlane:ids:7") == -1


def test_each_has_a_number_of_its_own(server: RedisServer):
    with Node(server.url, 255, "a") as first, Node(server.url, 255, "b") as second:
        first.until_it_has_one()
        second.until_it_has_one()
        assert (first.keeper.number, second.keeper.number) == (255, 0)
        assert second.keeper.term == first.keeper.term + 1


def test_it_is_given_back_at_the_end(server: RedisServer):
    with Node(server.url, 1) as node:
        node.until_it_has_one()
        done: list[bool] = []
        node.keeper.leave(lambda: done.append(True))
        node.until(lambda: done, "it to be given back")
        assert server.ask("EXISTS", "voltlane:node:1") == 0 and not node.keeper.usable
    with Node(server.url, 1, "b") as next_:
        assert next_.until_it_has_one().keeper.number == 1


def test_one_that_leaves_while_it_asks_keeps_nothing(server: RedisServer):
    with Node(server.url, 1) as node:
        node.until(lambda: node.link.up, "a connection")
        assert not node.keeper.usable and node.link.figures().pending == 1, "it has just asked"
        node.keeper.leave()
        node.until(lambda: not node.link.figures().pending, "the answers")
    assert server.ask("EXISTS", "voltlane:node:1") == 0


def test_it_is_renewed(server: RedisServer):
    with Node(server.url, fake=True) as node:
        node.until_it_has_one()
        server.ask("PEXPIRE", "voltlane:node:0", 60_000)
        before = node.keeper.lease.until
        node.pass_(SECS / 3 + 0.5)
        assert node.keeper.lease.until > before and server.ask("PTTL", "voltlane:node:0") <= SECS * 1000  # type: ignore[operator]
        assert node.seen == [(True, 0)], "nothing has changed"


def test_ids_are_written_down_before_they_are_given_out(server: RedisServer):
    with Node(server.url, fake=True) as node:
        node.until_it_has_one()
        for _ in range(20):
            node.pass_(2.0)
            ids = node.keeper.ids
            assert ids is not None and node.keeper.usable
            assert ids.past(node.keeper.lease.until) <= int(server.ask("GET", "voltlane:ids:0"))  # type: ignore[call-overload]
            assert ids.past(node.loop.now) > ids.next, "there are some"


def test_the_next_one_with_that_number_begins_behind_them_whatever_its_clock_says(server: RedisServer):
    with Node(server.url) as node:
        node.until_it_has_one()
        assert node.keeper.ids is not None
        last = node.keeper.ids.past(node.keeper.lease.until)
    for token, wall in (("b", NOW - 1e5), ("c", NOW), ("d", 0.0)):
        with Node(server.url, token=token, wall=wall) as node:
            ids = node.until_it_has_one().keeper.ids
            assert ids is not None and ids.next > last
            last = ids.past(node.keeper.lease.until)


def test_a_number_that_another_has_meanwhile(server: RedisServer, caplog: pytest.LogCaptureFixture):
    with Node(server.url, fake=True) as node:
        node.until_it_has_one()
        server.ask("SET", "voltlane:node:0", "somebody else")
        node.pass_(SECS / 3 + 1)
        assert node.until_it_has_one().keeper.number == 1
        assert node.seen == [(True, 0), (False, 0), (True, 1)]
        assert "the number 0 is ours no longer" in caplog.text
    assert server.ask("GET", "voltlane:node:0") == b"somebody else"


def test_a_store_that_has_forgotten_all_gives_the_same_number_again(server: RedisServer):
    with Node(server.url, 5, fake=True) as node:
        node.until_it_has_one()
        ids = node.keeper.ids
        server.ask("FLUSHALL")
        node.pass_(SECS / 3 + 1)
        assert node.until_it_has_one().keeper.number == 5 and server.ask("GET", "voltlane:node:5") == b"a"
        assert node.keeper.ids is not ids


def test_one_whose_time_is_over_is_not_used_before_anything_else_happens(server: RedisServer):
    with Node(server.url, fake=True) as node:
        node.until_it_has_one()
        node.loop.clock.now += SECS
        node.loop.refresh()
        assert node.keeper.lease.state is State.HELD and not node.keeper.usable


def test_without_the_store_it_ends_in_time_and_comes_back_with_it(
    server: RedisServer, caplog: pytest.LogCaptureFixture
):
    with Node(server.url, 2, fake=True) as node:
        node.until_it_has_one()
        server.pause()
        try:
            node.loop.pass_(SECS, 0.5)
            assert not node.keeper.usable and "the number 2 was not renewed in time" in caplog.text
        finally:
            server.go_on()
        node.until_back()
        assert node.until_it_has_one().keeper.number == 2
        assert node.seen == [(True, 2), (False, 2), (True, 2)]


def test_all_numbers_are_taken(server: RedisServer, caplog: pytest.LogCaptureFixture):
    server.ask("MSET", *(word for number in range(256) for word in (f"voltlane:node:{number}", "x")))
    with Node(server.url, 9, fake=True) as node:
        node.until(lambda: "all 256 numbers are in use" in caplog.text, "it to be said")
        assert not node.keeper.usable
        server.ask("DEL", "voltlane:node:200")
        node.pass_(2.0)
        assert node.until_it_has_one().keeper.number == 200
        assert caplog.text.count("all 256 numbers") == 1


def test_an_answer_that_was_lost_is_asked_for_again(server: RedisServer):
    """The same token gets the number that it has already."""
    with Node(server.url, 3, "a") as first, Node(server.url, 3, "a") as again:
        first.until_it_has_one()
        again.until_it_has_one()
        assert (first.keeper.number, again.keeper.number) == (3, 3)
        assert first.keeper.ids is not None and again.keeper.ids is not None
        assert again.keeper.ids.next > first.keeper.ids.past(first.keeper.lease.until)


def test_a_server_that_is_cut_off_and_one_that_gets_its_number(server: RedisServer):
    """In real time: never do both use it, and ids of the second are behind those that the first could give out."""
    server.ask("MSET", *(word for number in range(1, 256) for word in (f"voltlane:node:{number}", "x")))
    with FaultProxy(server.address) as proxy, Node(f"redis://{proxy.address}", 0, "a", secs=1.0) as first:
        first.until_it_has_one()
        with Node(server.url, 0, "b", secs=1.0) as second:
            ids = first.keeper.ids
            proxy.refusing = True
            proxy.links[0].stall()
            both = 0
            for _ in range(2000):
                first.loop.turn(0.001)
                second.loop.turn(0.001)
                second_has_it = second.keeper.lease.usable(second.loop.refresh())
                both += second_has_it and first.keeper.lease.usable(first.loop.refresh())
                if second_has_it and first.keeper.lease.state is State.LAPSED:
                    break
            assert second.keeper.usable and not first.keeper.usable and not both
            assert ids is not None and second.keeper.ids is not None
            assert second.keeper.ids.next > ids.past(first.keeper.lease.until)
            proxy.refusing = False
            first.until(lambda: first.link.up, "a connection")
            first.until(lambda: first.keeper.lease.state is State.SEEKING, "it to hear that the number is another's")
            assert second.keeper.usable
        first.until_it_has_one()


def test_another_process_goes_on_with_it(server: RedisServer):
    with Node(server.url, 3, "a") as first:
        first.until_it_has_one()
        moved, until = first.keeper.moved, first.keeper.lease.until
        assert moved is not None and first.keeper.ids is not None
        given = first.keeper.ids.take()
        with StoreWorld(server.url) as world:
            heir = LeaseKeeper(world.loop, world.until_up().link, 0, SECS, "another", lambda: NOW)
            heir.go_on("a", moved._replace(ids=first.keeper.ids.counting()))
            heir.start()
            assert heir.usable and heir.number == 3 and heir.ids is not None and heir.ids.next == given + 1
            world.until(lambda: heir.lease.until != until, "it to be renewed")
            heir.leave()
            world.loop.spin(3)
