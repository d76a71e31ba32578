"""Commands to a real store, and their answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kit.redis_server import RedisServer
from kit.store_world import StoreWorld

from voltlane.cluster.redis import link as link_module
from voltlane.cluster.redis.link import Link
from voltlane.cluster.redis.resp import Kind, Trouble
from voltlane.cluster.redis.script import Script
from voltlane.core.budget import Budget

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture
def world(server: RedisServer) -> Iterator[StoreWorld]:
    server.ask("FLUSHALL")
    with StoreWorld(server.url) as made:
        yield made.until_up()


def test_commands_and_their_answers(world: StoreWorld):
    assert world.ask("SET", "a", b"\x00\r\n\xff") == b"OK"
    assert world.ask("GET", "a") == b"\x00\r\n\xff"
    assert world.ask("GET", "b") is None
    assert world.ask("MGET", "a", "b") == [b"\x00\r\n\xff", None]
    assert world.ask("INCRBY", "n", 5) == 5


def test_a_wrong_command_hurts_nobody_else(world: StoreWorld):
    before, wrong, after = world.later("SET", "a", 1), world.later("FOO"), world.later("GET", "a")
    assert (world.answer_of(before), world.answer_of(after)) == (b"OK", b"1")
    assert isinstance(wrong[0], Trouble) and wrong[0].kind is Kind.REFUSED and wrong[0].code == "ERR"
    assert world.link.up and world.link.figures().errors == 1


def test_what_a_turn_asks_for_is_written_at_once(world: StoreWorld):
    commands = world.link.figures().commands
    got = [world.later("INCR", "n") for _ in range(1000)]
    assert world.link.figures().pending == 1000
    world.loop.turn(0)
    assert len(world.link._batches) == 1
    world.until(lambda: got[-1], "the last answer")
    assert [number for (number,) in got] == list(range(1, 1001))
    figures = world.link.figures()
    assert (figures.commands - commands, figures.pending, figures.errors) == (1000, 0, 0)


def test_who_raises_hurts_nobody_else(world: StoreWorld):
    def broken(_: object) -> None:
        raise ZeroDivisionError

    world.link.call(("PING",), broken)
    assert world.ask("PING") == b"PONG"
    assert [type(bug) for bug in world.loop.bugs] == [ZeroDivisionError]
    world.loop.bugs.clear()


def test_who_gets_an_answer_may_ask_again_or_end_it_all(world: StoreWorld):
    got: list[object] = []
    world.link.call(("PING",), lambda _: world.link.call(("ECHO", "x"), got.append))
    world.until(lambda: got, "the second answer")
    assert got == [b"x"]
    world.link.call(("PING",), lambda _: world.link.stop())
    behind = world.later("PING")
    assert world.answer_of(behind).kind is Kind.UNKNOWN  # type: ignore[union-attr]


def test_a_script_is_sent_once(world: StoreWorld, server: RedisServer):
    assert world.run(ADD, ["n"], 2) == 2  # which the store had never heard of
    assert world.run(ADD, ["n"], 3) == 5
    server.ask("SCRIPT", "FLUSH")
    assert world.run(ADD, ["n"], 4) == 9
    assert server.ask("SCRIPT", "EXISTS", ADD.digest) == [1]


def test_scripts_that_are_known_before_are_there_with_each_connection(server: RedisServer):
    server.ask("SCRIPT", "FLUSH")
    with StoreWorld(server.url, ADD) as world:
        world.until_up()
        assert server.ask("SCRIPT", "EXISTS", ADD.digest) == [1]


def test_an_answer_of_many_megabytes(world: StoreWorld):
    large = bytes(range(256)) * (1 << 14)
    got = world.later("SET", "large", large)
    again = world.later("GET", "large")
    assert world.answer_of(got) == b"OK" and world.answer_of(again) == large


def test_there_is_a_limit_of_what_is_under_way(world: StoreWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(link_module, "MOST_AWAITED", 3)
    got = [world.later("PING") for _ in range(4)]
    world.until(lambda: all(got), "all answers")
    assert [answer for (answer,) in got[:3]] == [b"PONG"] * 3
    assert got[3][0].kind is Kind.UNSENT and "under way" in got[3][0].text  # type: ignore[union-attr]
    monkeypatch.setattr(link_module, "MOST_UNSENT", 1000)
    first, second = world.later("SET", "a", "x" * 1000), world.later("SET", "b", "x")
    assert world.answer_of(first) == b"OK"
    assert world.answer_of(second).kind is Kind.UNSENT  # type: ignore[union-attr]


def test_what_waits_for_the_store_is_in_the_budget(world: StoreWorld, server: RedisServer):
    budget = Budget()
    link = Link(world.loop, world.options, budget=budget)
    link.start()
    world.until(lambda: link.up, "a connection")
    server.pause()
    try:
        got: list[object] = []
        for _ in range(8):
            link.call(("SET", "a", b"x" * (1 << 20)), got.append)
        world.loop.spin()
        assert budget.used > 1 << 20
    finally:
        server.go_on()
    world.until(lambda: len(got) == 8, "all answers")
    assert budget.used == 0
    link.stop()


class TestRest:
    """While one process follows another, the store is as good as away."""

    def test_what_is_under_way_is_answered_first(self, world: StoreWorld):
        rested: list[object] = []
        got = world.later("SET", "a", "1")
        world.link.rest(lambda: rested.append(list(got)))
        late = world.later("SET", "a", "2")
        world.until(lambda: rested, "it to rest")
        assert rested[0] == [b"OK"] and world.changes[-1] is False and world.link.kept
        assert world.answer_of(late).kind is Kind.UNSENT  # type: ignore[union-attr]
        world.link.go_on()
        world.until_up()
        assert world.ask("GET", "a") == b"1" and not world.link.kept

    def test_at_once_where_nothing_is(self, world: StoreWorld):
        rested: list[bool] = []
        world.link.rest(lambda: rested.append(True))
        world.until(lambda: rested, "it to rest")

    def test_a_store_that_does_not_answer_holds_it_up_for_no_longer_than_that(
        self, world: StoreWorld, server: RedisServer
    ):
        rested: list[bool] = []
        server.pause()
        try:
            got = world.later("PING")
            world.link.rest(lambda: rested.append(True))
            world.until(lambda: rested, "it to rest")
            assert not world.link.kept and world.answer_of(got).kind is Kind.UNKNOWN  # type: ignore[union-attr]
        finally:
            server.go_on()
        world.loop.spin(3)
        assert not world.link.up
        world.link.go_on()
        world.until_up()


def test_an_idle_link_does_nothing(world: StoreWorld):
    world.ask("PING")
    assert world.loop.timers == 0


def test_without_a_connection_there_is_trouble_at_once():
    with StoreWorld("redis://127.0.0.1:1", start=False) as world:
        got = world.later("PING")
        assert got == []
        answer = world.answer_of(got)
        assert answer == Trouble(Kind.UNSENT, "the store not connected yet")


def test_a_unix_socket_and_a_database():
    with RedisServer(unix=True) as server, StoreWorld(f"{server.url}?db=3") as world:
        world.until_up()
        world.ask("SET", "a", 1)
        assert server.ask("DBSIZE") == 0 and b"db3" in server.ask("INFO", "keyspace")  # type: ignore[operator]


def test_a_password():
    with RedisServer(password="hunter2") as server, StoreWorld(server.url) as world:
        assert world.until_up().ask("PING") == b"PONG"
        assert "hunter2" not in repr(world.options)
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "lane", "on", ">p@ss", "~voltlane:*", "&*", "+@all")
        with StoreWorld(server.url.replace("//", "//lane:p%40ss@")) as world:
            world.until_up()
            assert world.ask("ACL", "WHOAMI") == b"lane"
            assert world.ask("SET", "elsewhere", 1).code == "NOPERM"  # type: ignore[union-attr]
