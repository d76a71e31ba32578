"""Version 3, from the wire to the master and back, over every lane: packets by number, acks, credit, resumes."""

from __future__ import annotations

import random
from types import ModuleType

import pytest
from kit.record_world import RecordClient, enter
from kit.records import Session, framed
from kit.speaker import lanes
from kit.world import MakeWorld, numbered

from voltlane.lanes.records import RECORD_COST
from voltlane.wire.v3 import Kind

LANES = pytest.mark.parametrize("lane", lanes(), ids=lambda lane: lane.__name__.rpartition(".")[2])
SUITES = pytest.mark.parametrize("suite", [1, 0])


def some(dice: random.Random, start: int) -> list[bytes]:
    """A few packets that can be told apart, of all sizes."""
    return [b"%d:" % (start + n) + bytes(dice.choice([0, 3, 900, 9000])) for n in range(dice.randrange(9))]


@LANES
@SUITES
def test_there_and_back(make: MakeWorld, lane: ModuleType, suite: int):
    home = make()
    client = enter(home, lane=lane, suite=suite)
    payloads = [*numbered(200), b"", bytes(70_000), bytes(300_000), *numbered(50)]
    client.send(*payloads)
    home.settle()
    assert home.master.data == {client.session.id: payloads}
    home.master.send(client.session.id, *payloads)
    home.settle()
    assert client.session.events == payloads
    home.pass_(1)
    assert client.session.acked == len(payloads) == client.session.taken


@LANES
def test_every_cut_loses_nothing_either_way(make: MakeWorld, lane: ModuleType):
    """At random places, with whatever is on its way, in the middle of records, by takeovers as well."""
    home, dice = make(), random.Random(7)
    session, up, down = Session(), [], []
    for _ in range(150):
        client = RecordClient(home, session, lane=lane, window=dice.choice([100, 5000, 1 << 20]))
        for _ in range(dice.randrange(12)):
            home.loop.turn(0)
            if dice.random() < 0.5 and client.ready:
                more = [
                    b"%d:" % (len(up) + n) + bytes(dice.choice([0, 3, 900, 9000])) for n in range(dice.randrange(9))
                ]
                up += more
                client.send(*more)
            if dice.random() < 0.5 and session.id:
                more = [
                    b"%d:" % (len(down) + n) + bytes(dice.choice([0, 3, 900, 9000])) for n in range(dice.randrange(9))
                ]
                down += more
                home.master.send(session.id, *more)
            home.pump()
        if dice.random() < 0.7:
            client.lose()
        if dice.random() < 0.3:
            home.settle()
        client.reading = False
    for client in home.clients:
        client.lose()  # type: ignore[attr-defined]
    last = enter(home, session, lane=lane)
    home.pass_(1)
    assert session.events == down
    assert home.master.data[session.id] == up
    assert last.session.acked == len(up)
    assert home.server.counters.gaps == home.server.counters.uncertain == 0


def test_a_record_counts_in_its_client_s_turn(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """A flood of them without anything in them holds the others up, and not by its bytes."""
    home = make()
    client = enter(home)
    turns, spent = home.server.clients.turns, []
    spend = turns.spend
    monkeypatch.setattr(turns, "spend", lambda size: (spent.append(size), spend(size)))
    acks = framed([client.endpoint.record(Kind.ACK) for _ in range(100)])
    client.write(acks)
    home.settle()
    assert sum(spent) == len(acks) + 100 * RECORD_COST
