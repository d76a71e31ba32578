"""Pings: to whom, when, and what becomes of who does not answer."""

from __future__ import annotations

import pytest
from kit.web_world import WebSocketPeer
from kit.world import MakeWorld

from voltlane import config
from voltlane.reasons import CloseReason

PONG = b"\x8a\x80\0\0\0\0"


def test_each_is_asked_once_an_interval_while_it_answers(make: MakeWorld) -> None:
    home = make({"web.ping_secs": 25})
    clients = [WebSocketPeer(home) for _ in range(3)]
    for asked in range(1, 5):
        home.pass_(25.1)
        assert [client.pings for client in clients] == [asked] * 3
        for client in clients:
            client.write(PONG)
        home.settle()
    assert not home.server.counters.closed


@pytest.mark.parametrize("said", ["text", b"binary"], ids=["text", "binary"])
@pytest.mark.parametrize("count", [1, 100], ids=["alone", "many"])
def test_a_message_is_an_answer(make: MakeWorld, said: str | bytes, count: int) -> None:
    home = make({"web.ping_secs": 25})
    client = WebSocketPeer(home)
    client.send(said)
    home.settle()
    for asked in range(1, 4):
        home.pass_(25.1)
        assert client.pings == asked
        client.send(*[said] * count)
        home.settle()


def test_who_does_not_answer_has_lost_its_connection(make: MakeWorld) -> None:
    home = make({"web.ping_secs": 25})
    quiet, lively = WebSocketPeer(home), WebSocketPeer(home)
    home.pass_(25.1)
    lively.write(PONG)
    home.settle()
    home.pass_(25.1)
    assert quiet.ended and not lively.ended and lively.pings == 2
    assert home.server.counters.closed == {CloseReason.PING_UNANSWERED: 1}


def test_an_answer_that_nobody_has_read_yet_is_one(make: MakeWorld) -> None:
    """While the master takes nothing, clients are not read."""
    home = make({"web.ping_secs": 25, "clients.write_stall_secs": 0})
    client = WebSocketPeer(home)
    home.server.clients.turns.pause()
    home.pass_(25.1)
    client.write(PONG)
    home.pass_(60.0)
    assert not client.ended
    home.server.clients.turns.resume()
    home.settle()
    home.pass_(25.1)
    assert not client.ended


def test_without_websockets_nothing_wakes_up(make: MakeWorld) -> None:
    home = make({"web.ping_secs": 25})
    timers = home.loop.timers
    client = WebSocketPeer(home)
    assert home.loop.timers > timers
    client.cut()
    home.settle()
    home.pass_(60.0)
    assert home.loop.timers == timers


def test_another_interval_and_none(make: MakeWorld) -> None:
    home = make({"web.ping_secs": 25})
    client = WebSocketPeer(home)
    home.server.configure(config.load(None, {}, {"web.ping_secs": 3}))
    home.pass_(3.1)
    assert client.pings == 1
    client.write(PONG)
    home.settle()
    home.server.configure(config.load(None, {}, {"web.ping_secs": 0}))
    home.pass_(600)
    assert client.pings == 1 and not client.ended
