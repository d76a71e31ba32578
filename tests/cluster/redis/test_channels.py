"""Messages by way of a real store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from kit.fault_proxy import FaultProxy
from kit.redis_server import RedisServer
from kit.store_world import StoreWorld, options

from voltlane.cluster.redis.channels import PING_SECS, Channels
from voltlane.reasons import StoreEnd


class ChannelWorld(StoreWorld):
    """One that listens as well."""

    def __init__(self, url: str, *, fake: bool = False) -> None:
        super().__init__(url, fake=fake)
        self.ends: Counter[StoreEnd] = Counter()
        self.channels = Channels(self.loop, options(url), self.ends)
        self.heard: list[bytes] = []
        self.ready: list[bool] = []
        self.channels.watchers.append(lambda: self.ready.append(self.channels.ready))
        self.channels.listen("voltlane:ask:1", self.heard.append)
        self.channels.start()

    def until_ready(self) -> ChannelWorld:
        self.until(lambda: self.channels.ready and self.link.up, "to be subscribed")
        return self

    @property
    def answered(self) -> bool:
        """Whether the next thing to happen is another ping."""
        timer = self.channels._timer
        return timer is not None and timer.action == self.channels._ping

    def until_answered(self) -> None:
        self.until(lambda: self.answered, "the ping to be answered")

    def hears(self, *messages: bytes) -> None:
        self.until(lambda: len(self.heard) >= len(messages), f"{messages}")
        assert self.heard == list(messages)
        self.heard.clear()

    def close(self) -> None:
        self.channels.stop()
        super().close()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture
def world(server: RedisServer) -> Iterator[ChannelWorld]:
    with ChannelWorld(server.url) as made:
        yield made.until_ready()


def test_what_is_published_is_heard(world: ChannelWorld):
    assert world.ask("PUBLISH", "voltlane:ask:1", b"\x00one") == 1
    assert world.ask("PUBLISH", "voltlane:ask:2", b"not for us") == 0
    assert world.ask("PUBLISH", "voltlane:ask:1", b"x" * 100_000) == 1
    world.hears(b"\x00one", b"x" * 100_000)


def test_another_channel_comes_and_goes(world: ChannelWorld):
    others: list[bytes] = []
    world.channels.listen("voltlane:told:ü", others.append)
    assert not world.channels.ready
    world.until_ready()
    world.ask("PUBLISH", "voltlane:told:ü", b"a")
    world.until(lambda: others, "the message")
    world.channels.leave("voltlane:told:ü")
    world.channels.leave("voltlane:told:ü")
    world.until(lambda: world.ask("PUBLISH", "voltlane:told:ü", b"b") == 0, "to be left")
    assert others == [b"a"] and world.heard == [] and world.channels.ready


def test_who_raises_hurts_nobody_else(world: ChannelWorld):
    def broken(message: bytes) -> None:
        raise ZeroDivisionError

    world.channels.listen("voltlane:broken", broken)
    world.until_ready()
    world.ask("PUBLISH", "voltlane:broken", b"a")
    world.ask("PUBLISH", "voltlane:ask:1", b"b")
    world.hears(b"b")
    assert [type(bug) for bug in world.loop.bugs] == [ZeroDivisionError]
    world.loop.bugs.clear()


def test_it_listens_again_after_a_restart():
    with RedisServer() as server, ChannelWorld(server.url) as world:
        world.until_ready()
        server.restart()
        world.until(lambda: not world.channels.ready, "it to be noticed")
        world.until(lambda: world.channels._line.connection is not None, "another connection")
        assert not world.channels.ready, "nothing is heard yet"
        world.until_ready()
        world.ask("PUBLISH", "voltlane:ask:1", b"again")
        world.hears(b"again")
        assert world.ready == [True, False, True] and world.ends == {StoreEnd.CLOSED: 1}


def test_a_store_that_hangs_is_noticed_though_nothing_is_said():
    with RedisServer() as server, ChannelWorld(server.url, fake=True) as world:
        world.until_ready()
        world.until_answered()
        server.pause()
        world.loop.pass_(PING_SECS)
        assert world.channels.ready
        world.loop.pass_(2.2)
        assert not world.channels.ready and world.ends == {StoreEnd.SILENT: 1}
        server.go_on()


def test_one_that_lives_is_left_alone():
    with RedisServer() as server, ChannelWorld(server.url, fake=True) as world:
        world.until_ready()
        for _ in range(3):
            world.until_answered()
            world.loop.pass_(PING_SECS + 0.1)
        world.until_answered()
        (pings,) = re.findall(rb"cmdstat_ping:calls=(\d+)", server.ask("INFO", "commandstats"))  # type: ignore[call-overload]
        assert int(pings) >= 4
        assert world.channels.ready and not world.ends


def test_cut_off_and_back(server: RedisServer):
    with FaultProxy(server.address) as proxy, ChannelWorld(f"redis://{proxy.address}") as world:
        world.until_ready()
        for link in proxy.links:
            link.cut()
        world.until(lambda: not world.channels.ready, "it to be noticed")
        world.until_ready()
        world.ask("PUBLISH", "voltlane:ask:1", b"again")
        world.hears(b"again")


def test_a_user_that_may_not_listen(server: RedisServer):
    server.ask("ACL", "SETUSER", "deaf", "on", ">p", "~*", "resetchannels", "+@all")
    try:
        with ChannelWorld(server.url.replace("//", "//deaf:p@")) as world:
            world.until(lambda: world.ends[StoreEnd.REFUSED], "it to be refused")
            assert not world.channels.ready
    finally:
        server.ask("ACL", "DELUSER", "deaf")


def test_without_a_channel_it_is_connected_all_the_same(server: RedisServer):
    with StoreWorld(server.url, fake=True) as world:
        channels = Channels(world.loop, world.options)
        channels.start()
        world.until(lambda: channels.ready, "a connection")
        channels.stop()
