"""Bytes of which a framing has to look at every few: they cost their sender turns, and nobody else."""

from __future__ import annotations

import pytest
from kit.lanes import websocket as lane
from kit.websocket_speaker import BINARY, CONTINUATION, PING, client_frame
from kit.world import MakeWorld

from voltlane.lanes.fairness.turns import CAREFUL_QUANTUM, FIRST_QUANTUM, LABOUR_COST, READ_BUDGET, SMOOTH
from voltlane.lanes.websocket import WebSocket

PART = client_frame(CONTINUATION, fin=False)
PARTS = client_frame(BINARY, b"x", fin=False) + PART * 10_000 + client_frame(CONTINUATION, b"y")
PINGS = client_frame(PING, b"are you there?") * 6_000
MESSAGES = client_frame(BINARY, bytes(1000)) * 100


@pytest.mark.parametrize(
    ("stream", "labour"),
    [(client_frame(BINARY, b"x") * 50, 1), (client_frame(BINARY, fin=False) + PART * 9, 10), (PINGS, 6_000)],
)
def test_labour_is_frames_that_are_looked_at_one_by_one(stream: bytes, labour: int):
    """The first message is one: it may decide what goes out."""
    framing = WebSocket(text=True)
    framing.decode(stream, 0, len(stream), 1000)
    assert framing.take_labour() == labour
    assert framing.take_labour() == 0


@pytest.mark.parametrize("stream", [PARTS, PINGS], ids=["parts", "pings"])
def test_it_is_read_with_care_and_counts_in_its_turn(make: MakeWorld, monkeypatch: pytest.MonkeyPatch, stream: bytes):
    home = make()
    client = home.new(lane=lane)
    turns, shares = home.server.clients.turns, []
    read, spend = turns._read_sessions, turns.spend
    most: list[int] = []
    monkeypatch.setattr(turns, "spend", lambda size: (most.append(size), spend(size)))
    monkeypatch.setattr(turns, "_read_sessions", lambda: (read(), shares.append(turns._budget)))
    client.write(stream)
    home.settle()
    assert not client.waiting and not client.ended
    assert most and max(most) <= CAREFUL_QUANTUM
    assert turns.toiled > 6_000 * LABOUR_COST, "the frames count besides"
    dearest = CAREFUL_QUANTUM // len(PART) * LABOUR_COST
    assert min(shares) > -2 * dearest, "a turn ends when its budget is used up"
    assert len([share for share in shares if share < READ_BUDGET // 2]) > 1, "and so it takes more than one"


def test_who_sends_whole_messages_is_read_as_much_as_others(make: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    home = make()
    client = home.new(lane=lane)
    (connection,) = home.server.clients.connections
    turns, spent = home.server.clients.turns, []
    spend = turns.spend
    monkeypatch.setattr(turns, "spend", lambda size: (spent.append(size), spend(size)))
    client.write(MESSAGES)
    home.settle()
    assert len(home.master.data[client.id]) == 100
    assert CAREFUL_QUANTUM in spent and max(spent) == FIRST_QUANTUM
    assert connection.flags & SMOOTH
    client.write(PARTS)
    home.settle()
    assert not connection.flags & SMOOTH, "until it makes work again"


def test_what_is_read_of_a_connection_that_ends_is_bounded_by_its_work(
    make: MakeWorld, monkeypatch: pytest.MonkeyPatch
):
    home = make()
    client = home.new(lane=lane)
    (connection,) = home.server.clients.connections
    turns, spent = home.server.clients.turns, []
    monkeypatch.setattr(turns, "spend", lambda size, spend=turns.spend: (spent.append(size), spend(size)))
    client.write(PARTS)
    connection.read_out()
    assert 0 < sum(spent) < 2 * READ_BUDGET


def test_the_work_is_charged_to_its_sender(make: MakeWorld):
    home = make({"clients.byte_rate": 1 << 20, "clients.rate_burst_secs": 0.1})
    client = home.new(lane=lane)
    client.write(client_frame(PING, b"are you there?") * 500)
    home.settle()
    assert home.server.counters.throttled == 1, "10,000 bytes, which by themselves are far from too much"
