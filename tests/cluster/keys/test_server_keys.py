"""All servers of a cluster have the keys of the first."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from kit.redis_server import RedisServer
from kit.store_world import SECRET, StoreWorld

from voltlane.cluster.keys.secret import Sealer
from voltlane.cluster.keys.server_keys import ServerKeys, ask_for_keys, keys_at_start
from voltlane.errors import StartupError
from voltlane.wire.crypto import generate_key
from voltlane.wire.noise import KeyPair as ChannelKey


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture
def world(server: RedisServer) -> Iterator[StoreWorld]:
    server.ask("FLUSHALL")
    with StoreWorld(server.url) as made:
        yield made


def new_keys() -> ServerKeys:
    return ServerKeys.of(generate_key(), ChannelKey())


def start(world: StoreWorld, own: ServerKeys, secret: str = SECRET, patience: float = 10.0) -> ServerKeys:
    return keys_at_start(world.loop, world.link, Sealer(secret), own, patience)


def test_the_first_ones_are_everybodys(world: StoreWorld, server: RedisServer):
    first, second = new_keys(), new_keys()
    assert start(world, first) == first
    assert start(world, second) == first
    key, channel_key = first.load()
    assert (key.secret, channel_key.secret) == first
    assert server.ask("TTL", "voltlane:keys") == -1


def test_the_store_does_not_know_them(world: StoreWorld, server: RedisServer):
    own = new_keys()
    start(world, own)
    sealed = server.ask("GET", "voltlane:keys")
    assert isinstance(sealed, bytes) and own.key not in sealed and own.channel_key not in sealed
    assert own.key.hex() not in repr(own) and own.channel_key.hex() not in repr(own)


def test_of_many_at_once_one_is_the_first(world: StoreWorld):
    world.until_up()
    found: list[object] = []
    offered = [new_keys() for _ in range(5)]
    for own in offered:
        ask_for_keys(world.link, Sealer(SECRET), own, found.append)
    world.until(lambda: len(found) == 5, "all answers")
    assert found == [offered[0]] * 5


def test_another_secret(world: StoreWorld):
    own = new_keys()
    start(world, own)
    with pytest.raises(StartupError, match=r"sealed with another cluster\.secret, or is damaged") as caught:
        start(world, own, "x" * 32)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("size", [0, 39, 40, 105, 200])
def test_bytes_that_are_none(world: StoreWorld, server: RedisServer, size: int):
    server.ask("SET", "voltlane:keys", os.urandom(size))
    with pytest.raises(StartupError, match="sealed with another"):
        start(world, new_keys())


@pytest.mark.parametrize("plaintext", [b"", b"\x02" + b"k" * 64, b"\x01" + b"k" * 65, b"\x01" + bytes(64)])
def test_keys_of_another_version(world: StoreWorld, server: RedisServer, plaintext: bytes):
    server.ask("SET", "voltlane:keys", Sealer(SECRET).seal("server keys", b"", plaintext))
    with pytest.raises(StartupError, match="another version"):
        start(world, new_keys())


def test_something_else_stands_there(world: StoreWorld, server: RedisServer):
    server.ask("LPUSH", "voltlane:keys", "x")
    with pytest.raises(StartupError, match="WRONGTYPE"):
        start(world, new_keys())


def test_without_a_store_a_server_does_not_wait_for_ever():
    refused = pytest.raises(StartupError, match="Connection refused")
    with StoreWorld("redis://127.0.0.1:1") as world, refused as caught:
        start(world, new_keys(), patience=0.3)
    assert caught.value.exit_code == 4


def test_a_store_that_comes_late(server: RedisServer):
    with RedisServer() as late, StoreWorld(late.url, start=False) as world:
        late.kill()
        world.link.start()
        world.until(lambda: "refused" in world.link.text, "an attempt in vain")
        late.start()
        own = new_keys()
        assert start(world, own) == own
