"""The open protocol: a message is a packet, both ways, and the session ends with its connection."""

from __future__ import annotations

import pytest
from kit.lanes import tcp
from kit.web_world import WebSocketPeer
from kit.world import Client, MakeWorld

from voltlane.reasons import CloseReason, EndReason
from voltlane.wire.tagged import Flag
from voltlane.wire.v3 import Code


def test_packets_both_ways(make: MakeWorld) -> None:
    home = make()
    client = WebSocketPeer(home)
    client.send(b"one", b"", bytes(70_000), b"\xff")
    home.settle()
    assert home.master.data[client.id] == [b"one", b"", bytes(70_000), b"\xff"]
    home.master.send(client.id, b"back", b"", bytes(70_000), b"text")
    home.settle()
    assert client.messages == [b"back", b"", bytes(70_000), b"text"]


def test_who_begins_with_text_gets_text_where_it_is_some(make: MakeWorld) -> None:
    home = make()
    client = WebSocketPeer(home)
    client.send("grüße", b"\xff")
    home.settle()
    home.master.send(client.id, "zurück".encode(), b"\xff", b"")
    home.settle()
    assert home.master.data[client.id] == ["grüße".encode(), b"\xff"] and client.messages == ["zurück", b"\xff", ""]


def test_who_has_said_nothing_gets_binary(make: MakeWorld) -> None:
    home = make()
    client = WebSocketPeer(home)
    home.master.send(client.id, b"early")
    home.settle()
    client.send("text")
    home.settle()
    home.master.send(client.id, b"late")
    home.settle()
    assert client.messages == [b"early", "late"]


@pytest.mark.parametrize("how", ["cut", "close"])
def test_its_session_ends_with_its_connection(make: MakeWorld, how: str) -> None:
    home = make()
    client = WebSocketPeer(home)
    client.send("hello")
    home.settle()
    if how == "close":
        client.write(b"\x88\x82\0\0\0\0\x03\xe8")
    else:
        client.cut()
    home.settle()
    assert home.server.counters.ended == {EndReason.NOT_RESUMABLE: 1} and not home.server.registry.sessions
    assert home.master.notices(Flag.FAILURE) == [(client.id, b"Client disconnected")]
    if how == "close":
        assert client.close_code == 1000 and client.ended


def test_a_kick_is_told_by_the_code(make: MakeWorld) -> None:
    home = make()
    client = WebSocketPeer(home)
    home.master.kick(client.id)
    home.settle()
    assert client.ended and client.close_code == 3506 and home.server.counters.closed == {CloseReason.KICKED: 1}


def test_nobody_else_can_resume_it(make: MakeWorld) -> None:
    """Version 2 asks for an id, and then for a proof: there is none for this one."""
    home = make()
    client = WebSocketPeer(home)
    thief = Client(home, lane=tcp)
    thief.resumes, thief.id = thief, client.id
    thief.greet()
    home.settle()
    assert thief.ended and home.server.counters.closed == {CloseReason.UNKNOWN_SESSION: 1}
    client.send("still mine")
    home.settle()
    assert home.master.data[client.id] == [b"still mine"] and home.loop.bugs == []


def test_a_message_over_the_limit(make: MakeWorld) -> None:
    home = make({"clients.packet_size_limit": 1000})
    client, good = WebSocketPeer(home), WebSocketPeer(home)
    client.send(bytes(1000), bytes(1001))
    good.send("x")
    home.settle()
    assert home.master.data[client.id] == [bytes(1000)] and client.close_code == 1009
    assert home.server.counters.closed == {CloseReason.FRAME_TOO_LARGE: 1} and home.master.data[good.id] == [b"x"]


def test_no_room_for_another(make: MakeWorld) -> None:
    home = make({"limits.memory_bytes": 5_000_000})
    slow = home.new()
    slow.reading = False
    home.master.send(slow.id, *[bytes(100_000)] * 45)
    home.settle()
    assert home.server.budget.is_near
    refused = WebSocketPeer(home)
    assert refused.ended and home.server.counters.closed == {CloseReason.MEMORY_REFUSED: 1}
    assert refused.close_code == Code.NO_ROOM
