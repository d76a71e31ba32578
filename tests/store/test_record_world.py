"""Clients of version 3, from the wire on, with the whole server twice over one directory."""

from __future__ import annotations

from typing import Callable

import pytest
from kit.record_world import RecordClient, enter
from kit.records import Session
from kit.world import World, numbered

from voltlane.core.delivery import EPOCH_SPAN
from voltlane.core.registry import SessionJournal
from voltlane.wire.v3 import Gap, Uncertain, Why

Start = Callable[..., World]


class Mute(RecordClient):
    """What it says behind the welcome is lost, and so it does not confirm it."""

    def say(self, *messages: bytes) -> None:
        if not self.endpoint.ready:
            super().say(*messages)


def mute(world: World, session: Session) -> Mute:
    client = Mute(world, session)
    world.settle()
    assert client.ready
    return client


def stop(world: World) -> None:
    """In order."""
    world.server.close()


def kill(world: World) -> None:
    """As far as the directory sees it."""
    world.server.store.on_flush()
    world.server.registry.journal = SessionJournal()
    world.server.store.leave()


def test_over_a_stop_in_order_nothing_is_lost_and_nobody_is_told_of_anything(start: Start) -> None:
    session, up, down = Session(), [], []
    for number in range(4):
        world = start()
        client = enter(world, session)
        more = [b"%d:%d" % (number, n) for n in range(20)]
        up += more
        client.send(*more)
        world.settle()
        down += more
        world.master.send(session.id, *more)
        world.settle()
        if number % 2:
            client.lose()
            world.settle()
            missed = [b"missed in %d" % number]
            down += missed
            world.master.send(session.id, *missed)
            world.settle()
        world.server.close()
    last = start()
    client = enter(last, session)
    last.pass_(1)
    assert session.events == down and session.epoch == 1
    assert client.session.acked == len(up)
    assert last.server.counters.gaps == last.server.counters.uncertain == 0


def test_what_the_master_had_not_taken_is_safe_when_it_has(start: Start) -> None:
    first = start()
    first.master.reading = False
    session = Session()
    client = enter(first, session, window=1 << 20)
    sent = numbered(300, size=1000)
    client.send(*sent)
    first.settle()
    client.lose()
    first.settle()
    first.server.close()
    first.master.read()
    before = list(first.master.data[session.id])
    assert session.acked <= len(before) < len(sent)
    second = start()
    enter(second, session)
    second.pass_(1)
    assert [*before, *second.master.data[session.id]][: len(sent)] == sent
    assert session.events == [] and session.acked == session.sent == len(session.packets)


def test_after_a_kill_what_nobody_knows_is_told(start: Start) -> None:
    first = start()
    session = Session()
    client = enter(first, session)
    client.send(b"1", b"2")
    first.settle()
    first.pass_(1)
    assert session.acked == 2
    first.master.reading = False
    sent = numbered(300, size=1000)
    client.send(*sent)
    first.settle()
    first.master.send(session.id, b"down")
    first.settle()
    known, events = session.acked, len(session.events)
    client.lose()
    kill(first)
    for _ in range(2):  # and once more, without anything between
        world = start()
        client = enter(world, session)
        world.settle()
        client.lose()
        world.settle()
        kill(world)
    last = start()
    client = enter(last, session)
    client.send(b"new")
    last.master.send(session.id, b"new")
    last.pass_(1)
    told = session.events[events:]
    gaps = [event for event in told if isinstance(event, Gap)]
    assert [gap.last // EPOCH_SPAN for gap in gaps] == [2, 3, 4] and {gap.why for gap in gaps} == {Why.RESTART}
    unsure = [event for event in told if isinstance(event, Uncertain)]
    assert unsure[0].first <= known + 1 and unsure[0].last == session.sent - 1
    assert told[-1] == b"new" and last.master.data[session.id] == [b"new"]


@pytest.mark.parametrize("end", [kill, stop])
def test_what_is_uncertain_is_told_until_it_is_heard(start: Start, end: Callable[[World], None]) -> None:
    """Who has not had the welcome is told by the next process, though this one has stopped in order, and the master has
    taken all that came; who had it, and could not say so, is not told again by the same process."""
    first = start()
    session = Session()
    client = enter(first, session)
    first.master.reading = False
    client.send(*numbered(300, size=1000))
    first.settle()
    known = session.acked
    client.lose()
    kill(first)
    for _ in range(2):
        world = start()
        unheard = session.copy()
        client = mute(world, unheard)
        assert [event for event in unheard.events if isinstance(event, Uncertain)]
        client.lose()
        world.settle()
        world.pass_(1)
        end(world)
    last = start()
    epoch = session.epoch
    for loses in (True, False):
        client = (mute if loses else enter)(last, session)
        if loses:
            client.lose()
        else:
            client.send(b"new")
        last.pass_(1)
    told = [event for event in session.events if isinstance(event, Uncertain)]
    assert told == [Uncertain(known + 1, session.sent - 1)] and session.epoch > epoch
    assert last.master.data[session.id] == [b"new"] and session.acked == session.sent


def test_who_confirms_what_is_uncertain_is_told_that_it_is_settled(start: Start) -> None:
    """By its first record alone: it need not send anything of its own."""
    first = start()
    first.master.reading = False
    session = Session()
    client = enter(first, session)
    client.send(*numbered(300, size=1000))
    first.settle()
    client.lose()
    kill(first)
    assert session.acked < session.sent
    second = start()
    enter(second, session)
    second.pass_(1)
    assert session.acked == session.sent and second.master.data.get(session.id, []) == []
    assert second.server.counters.uncertain == sum(
        event.last - event.first + 1 for event in session.events if isinstance(event, Uncertain)
    )


def test_and_so_it_is_for_who_comes_back_to_the_same_process(start: Start) -> None:
    first = start()
    first.master.reading = False
    session = Session()
    client = enter(first, session, window=1 << 20)
    sent = numbered(300, size=1000)
    client.send(*sent)
    first.settle()
    client.lose()
    first.settle()
    enter(first, session)
    first.master.reading = True
    first.pass_(1)
    assert first.master.data[session.id] == sent
    assert session.acked == session.sent == len(session.packets)
