"""The demo's backend: what is echoed and what is said in the room, who hears it, and what is told again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voltlane.backend import LINK_LOST, Flag, Packet
from voltlane.commands import chat
from voltlane.commands.chat import Author, Chat


class Link:
    """A connection server, as far as the backend sends to it."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []

    def send(self, client_id: int, data: bytes) -> bool:
        self.sent.append((client_id, data))
        return True

    def taken(self, client_id: int) -> list[Any]:
        """What has been sent to a client since the last time."""
        taken = [json.loads(data) for other, data in self.sent if other == client_id]
        self.sent = [(other, data) for other, data in self.sent if other != client_id]
        return taken


class Room:
    """The backend, with one connection server."""

    def __init__(self) -> None:
        self.chat, self.link = Chat(), Link()

    def hear(self, client_id: int, said: Any, flag: Flag = Flag.DATA) -> None:
        data = said if isinstance(said, bytes) else json.dumps(said, separators=(",", ":")).encode()
        self.chat.handle(Packet(client_id, flag, data, self.link))  # type: ignore[arg-type]

    def join(self, client_id: int, after: int = 0) -> list[Any]:
        """What is answered."""
        self.hear(client_id, {"chat": after, "ask": 1})
        return self.link.taken(client_id)

    def say(self, client_id: int, own: int, text: str = "x", by: str = "a") -> None:
        self.hear(client_id, {"say": text, "by": by, "name": "Ada", "own": own})

    def numbers(self, client_id: int) -> list[int]:
        """Of the messages that a client was sent."""
        return [message["n"] for message in self.link.taken(client_id) if "n" in message]


@pytest.fixture
def room() -> Room:
    return Room()


def test_everything_else_is_echoed(room: Room) -> None:
    said = [b"one", b"", b'{"by":"x"}', b'{"chat":', b'{"chat":"x","ask":1}', b'{"say":"x"}', b"\xff\x00"]
    for data in said:
        room.hear(1, data)
    assert room.link.sent == [(1, data) for data in said]


def test_members_hear_each_other_and_nobody_else_does(room: Room) -> None:
    (answer, here) = room.join(1)
    assert answer == {"room": answer["room"], "ask": 1, "from": 0, "again": []} and here == {"here": 1}
    room.join(2)
    assert room.link.taken(1) == [{"here": 2}]
    room.hear(3, b"echo")
    room.say(1, 1, "hello")
    message = {"n": 1, "by": "a", "name": "Ada", "own": 1, "text": "hello"}
    assert room.link.taken(1) == room.link.taken(2) == [message]
    assert room.link.sent == [(3, b"echo")]


def test_who_comes_later_is_told_what_was_said_and_who_asks_what_he_misses(room: Room) -> None:
    room.join(1)
    for own in range(1, 6):
        room.say(1, own)
    assert [message["n"] for message in room.join(2)[0]["again"]] == [1, 2, 3, 4, 5]
    (answer,) = room.join(2, after=3)
    assert [message["n"] for message in answer["again"]] == [4, 5] and answer["from"] == 3


def test_it_does_not_keep_them_for_ever(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "KEPT", 3)
    room = Room()
    room.join(1)
    for own in range(1, 6):
        room.say(1, own)
    answer = room.join(2)[0]
    assert [message["n"] for message in answer["again"]] == [3, 4, 5] and answer["from"] == 2


def test_what_comes_a_second_time_is_dropped_also_out_of_order(room: Room) -> None:
    room.join(1)
    for own in (1, 2, 5, 6, 3, 4, 3, 5, 1, 7):
        room.say(1, own, str(own))
    room.say(1, 1, by="another author")
    said = [message["own"] for message in room.link.taken(1) if "n" in message]
    assert said == [1, 2, 5, 6, 3, 4, 7, 1]


def test_who_is_gone_hears_no_more(room: Room) -> None:
    room.join(1)
    room.join(2)
    room.hear(2, b"Client disconnected", Flag.FAILURE)
    assert room.link.taken(1)[-1] == {"here": 1}
    room.say(1, 1)
    assert room.numbers(1) == [1] and room.numbers(2) == []
    room.hear(2, b"", Flag.RECONNECTION)
    assert room.link.sent == []


def test_a_page_that_goes_does_not_count_but_is_sent_what_it_can_come_back_to(room: Room) -> None:
    room.join(1)
    room.join(2)
    room.link.sent.clear()
    room.hear(2, {"here": False})
    assert room.link.taken(1) == room.link.taken(2) == [{"here": 1}]
    room.say(1, 1)
    assert room.numbers(1) == room.numbers(2) == [1]
    room.hear(2, {"here": False})
    assert room.link.sent == []
    room.hear(2, {"here": True})
    assert room.link.taken(1) == room.link.taken(2) == [{"here": 2}]
    room.hear(2, {"here": True})  # another page of the same client, which saw nothing of it
    assert room.link.sent == [(2, b'{"here":2}')]
    room.link.sent.clear()
    room.hear(2, {"here": False})
    room.join(2, after=1)
    assert room.link.taken(1)[-1] == {"here": 2}


def test_who_is_no_member_does_not_count(room: Room) -> None:
    room.join(1)
    room.link.sent.clear()
    room.hear(2, {"here": False})
    assert room.link.sent == []
    room.hear(2, {"here": True})
    assert room.link.sent == [(2, b'{"here":1}')]


def test_members_whose_server_was_lost_are_asked_how_much_they_have(room: Room) -> None:
    room.join(1)
    room.join(2)
    room.hear(3, b"x")
    old = room.link
    for client_id in (1, 2, 3):
        room.hear(client_id, LINK_LOST.encode(), Flag.FAILURE)
    room.link = Link()
    for client_id in (1, 3):
        room.hear(client_id, b"", Flag.RECONNECTION)
    assert room.link.sent == [(1, b'{"where":true}')]
    old.sent.clear()
    room.link.sent.clear()
    room.say(1, 1)  # it was sent before
    assert room.numbers(1) == []
    answer, here = room.join(1)
    assert [message["n"] for message in answer["again"]] == [1] and here == {"here": 1}
    room.say(1, 2)
    assert room.numbers(1) == [2] and old.sent == []


@pytest.mark.parametrize(
    "wrong",
    [
        b"[]",
        b"\xff",
        b'{"say":"x"}',
        b'{"say":"x","by":"a","name":"b","own":"c"}',
        b'{"say":' + b"[" * 100_000,
        b'{"say":"\xff"}',
        b'{"chat":{}}',
        b'{"here":"x"}',
        b'{"chat":1e999,"ask":1}',
        b'{"chat":1,"ask":1}x',
    ],
)
def test_a_member_who_says_something_else_hurts_nobody(room: Room, wrong: bytes) -> None:
    room.join(1)
    room.join(2)
    room.link.sent.clear()
    room.hear(2, wrong)
    assert room.link.sent == [(2, wrong)]
    room.link.sent.clear()
    room.say(1, 1)
    assert room.numbers(2) == [1]


def test_texts_and_names_have_a_limit(room: Room) -> None:
    room.join(1)
    room.hear(1, {"say": "t" * 9999, "by": "b" * 9999, "name": "n" * 9999, "own": 1})
    message = room.link.taken(1)[-1]
    assert [len(message[key]) for key in ("text", "by", "name")] == [500, 40, 40]


def test_what_is_remembered_has_a_limit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MOST_AUTHORS", 10)
    monkeypatch.setattr(chat, "MOST_AWAY", 10)
    for client_id in range(100):
        room.join(client_id)
        room.say(client_id, 1, by=str(client_id))
    for client_id in range(100):
        room.hear(client_id, LINK_LOST.encode(), Flag.FAILURE)
    room.link.sent.clear()
    for client_id in range(100):
        room.hear(client_id, b"", Flag.RECONNECTION)
    assert [client_id for client_id, _ in room.link.sent] == list(range(90, 100))
    assert len(room.chat._authors) == 10


def test_an_author_may_leave_out_some_but_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MOST_AHEAD", 4)
    author = Author()
    assert [author.is_new(number) for number in (3, 5, 7, 9)] == [True] * 4
    assert author.is_new(1) and not author.is_new(1)
    assert author.is_new(11) and not author.is_new(2), "too far back to be remembered"
    assert [author.is_new(number) for number in (4, 3, 5, 12)] == [True, False, False, True]
