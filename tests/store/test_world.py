"""The whole server twice over one directory, on a clock that only the test moves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable

import pytest
from kit.recorders import RecorderLink
from kit.world import World, numbered

from voltlane.core.delivery import EPOCH_SPAN, Delivery
from voltlane.core.protocols.secrets import first_secrets
from voltlane.core.registry import SessionJournal
from voltlane.store.directory import StateDirectory
from voltlane.store.keyfile import prepare_next

Start = Callable[..., World]


def stop(world: World) -> None:
    world.server.close()


def kill(world: World) -> None:
    """As far as the directory sees it."""
    world.server.registry.journal = SessionJournal()
    world.server.store.leave()


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


def test_numbers_of_version_3_are_the_same_over_a_stop_and_others_after_a_kill(start: Start) -> None:
    first = start()
    handle = bytes(range(16))
    session = first.server.registry.open(first_secrets(1, handle, bytes(32), os.urandom).encode(), RecorderLink())
    session.delivery = Delivery(first.server.registry.epoch)
    session.delivery.floor, session.delivery.taken, session.delivery.safe = 5, 9, 8
    first.server.registry.lose(session, first.server.reactor.now)
    stop(first)
    second = start()
    assert (first.server.registry.epoch, second.server.registry.epoch) == (1, 2)
    back = second.server.registry.sessions[session.id].delivery
    assert back is not None and (back.epoch, back.floor, back.taken, back.safe) == (1, 5, 9, 8)
    assert second.server.registry.openings.find(handle) is second.server.registry.sessions[session.id]
    kill(second)
    third = start()
    back = third.server.registry.sessions[session.id].delivery
    assert back is not None and (back.epoch, back.floor, back.taken) == (3, 3 * EPOCH_SPAN, 9)


def test_clients_are_told_of_the_key_that_is_to_follow(start: Start, tmp_path: Path) -> None:
    first = start()
    assert first.server.terms.keys == ()
    stop(first)
    directory = StateDirectory(str(tmp_path / "state"))
    following = prepare_next(directory).public
    directory.close()
    second = start()
    assert second.server.terms.keys == (following,)
    assert second.server.store.channel_key.public == first.server.store.channel_key.public


def test_a_vault_with_nothing_to_do_has_no_timer(start: Start) -> None:
    world = start()
    world.new()
    world.pass_(3)
    assert world.loop.timers == 0
