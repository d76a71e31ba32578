"""The whole server twice over one directory, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

import pytest
from kit.world import World, numbered

Start = Callable[..., World]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(**settings: object) -> World:
            named = {name.replace("__", "."): value for name, value in settings.items()}
            world = World({"general.state_dir": str(tmp_path / "state"), **named})
            stack.callback(world.abandon)
            world.server.store.begin()
            world.connect_master()
            return world

        yield begin


def stop(world: World) -> None:
    world.server.close()


def test_what_is_given_back_counts_in_the_memory_of_all_queues(start: Start) -> None:
    first = start()
    client = first.new()
    client.cut()
    first.settle()
    missed = numbered(50)
    first.master.send(client.id, *missed)
    first.settle()
    used = first.server.budget.used
    assert used > 0
    stop(first)
    second = start()
    assert second.server.budget.used == pytest.approx(used, rel=0.2)
    back = second.resume(client)
    assert back.got == missed and second.server.budget.used == 0


def test_more_than_that_memory_is_given_up_as_at_any_time(start: Start) -> None:
    first = start()
    clients = [first.new() for _ in range(4)]
    for client in clients:
        client.cut()
    first.settle()
    for client in clients:
        first.master.send(client.id, *numbered(300, size=4000))
    first.settle()
    stop(first)
    second = start(limits__memory_bytes=3 << 20, master__outbox_bytes=1 << 20)
    second.settle()
    assert 0 < second.server.budget.used <= 3 << 20
    assert second.loop.bugs == []


def test_what_the_master_had_not_taken_comes_before_what_is_new(start: Start) -> None:
    first = start(clients__stale_timeout_secs=300)
    first.master.reading = False
    client = first.new()
    sent = numbered(300, size=1000)
    client.send(*sent)
    first.settle()
    client.cut()
    first.settle()
    stop(first)
    first.master.read()
    before = list(first.master.data[client.id])
    assert len(before) < len(sent)
    second = start(clients__stale_timeout_secs=300)
    again = second.resume(client)
    again.send(b"new")
    second.settle()
    assert before + second.master.data[client.id] == [*sent, b"new"]
    kinds = [tagged.flag for tagged in second.master.log if tagged.client_id == client.id]
    assert kinds[-2:] == [3, 0], "the reconnection stands between the two"


def test_a_vault_with_nothing_to_do_has_no_timer(start: Start) -> None:
    world = start()
    world.new()
    world.pass_(3)
    assert world.loop.timers == 0
