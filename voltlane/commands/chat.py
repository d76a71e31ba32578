"""The backend of `voltlane demo`: a chat room for the page that a listener of ws:// serves, an echo for everybody else.

The page's messages are JSON, and begin so; the first kind makes its client a member of the room:

    {"chat": number, "ask": n}                        here I am, and I have the room's messages up to this number
    {"say": text, "by": key, "name": text, "own": n}  say this, the author's nth message
    {"here": true or false}                           a member's page is there again, or is going

Answers, to the first kind: `{"room": key, "ask": n, "from": number, "again": [message, …]}`, with what came behind that
number, as far as it is kept (behind `from`). To all: `{"n": number, "by": …, "name": …, "own": …, "text": …}`, a
message of the room, and `{"here": count}`: of members, but for those whose page went and said so. Whoever lost the
connection without a word counts until the server gives the session up, as a backend hears nothing of that. To one whose
connection server was lost: `{"where": true}`, upon which it says again how much it has: what was on its way then may be
lost, and nobody else would notice.

An author's message that comes a second time is dropped, so those that became uncertain can be sent again. Nobody proves
who he is.
"""

from __future__ import annotations

import json
import os
from collections import deque
from operator import index
from typing import Any

from ..backend import LINK_LOST, Handler, Packet, ServerLink

KEPT = 500
"""Messages of the room that can be asked for again."""
MOST_TEXT = 500
MOST_NAME = 40
"""Characters."""
MOST_AUTHORS = 4096
MOST_AWAY = 4096
MOST_AHEAD = 1024
"""Messages of an author behind one that has not come."""
_BEGINNINGS = (b'{"chat":', b'{"say":', b'{"here":')


class Chat(Handler):
    """One room, and an echo."""

    def __init__(self) -> None:
        self._key = os.urandom(8).hex()
        self._count = 0
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._members: dict[tuple[ServerLink, int], bool] = {}
        """And whether their pages are there; where not, they may come back, and are sent everything."""
        self._away: dict[int, None] = {}
        """Members whose connection server was lost."""
        self._authors: dict[str, Author] = {}

    def on_data(self, packet: Packet) -> None:
        """See Handler."""
        if packet.data.startswith(_BEGINNINGS):
            try:
                self._hear(packet, json.loads(packet.data))
                return
            except (ValueError, TypeError, KeyError, RecursionError):  # not the page's
                pass
        packet.reply(packet.data)

    def on_failure(self, packet: Packet) -> None:
        """See Handler."""
        if (packet.link, packet.client_id) in self._members:
            del self._members[packet.link, packet.client_id]
            if packet.reason == LINK_LOST:
                self._away[packet.client_id] = None
                if len(self._away) > MOST_AWAY:
                    del self._away[next(iter(self._away))]
            self._tell_all(self._here())
        elif packet.reason != LINK_LOST:
            self._away.pop(packet.client_id, None)

    def on_reconnection(self, packet: Packet) -> None:
        """See Handler."""
        if packet.client_id in self._away:
            del self._away[packet.client_id]
            packet.reply(_encode({"where": True}))

    def _hear(self, packet: Packet, said: dict[str, Any]) -> None:
        """What a page says; behind the loss of its server it may be no member again yet. Raises ValueError, TypeError,
        KeyError, RecursionError for what is no message of the page's."""
        if "chat" in said:
            self._join(packet, index(said["chat"]), index(said["ask"]))
            return
        if "here" in said:
            self._see(packet, bool(index(said["here"])))
            return
        key, name, text, own = str(said["by"]), str(said["name"]), str(said["say"]), index(said["own"])
        if self._author(key[:MOST_NAME]).is_new(own):
            self._count += 1
            message = {"n": self._count, "by": key[:MOST_NAME], "name": name[:MOST_NAME], "own": own}
            message["text"] = text[:MOST_TEXT]
            self._kept.append(message)
            self._tell_all(message)

    def _join(self, packet: Packet, after: int, ask: int) -> None:
        member = (packet.link, packet.client_id)
        is_new = not self._members.get(member)
        self._members[member] = True
        again = [message for message in self._kept if message["n"] > after]
        packet.reply(_encode({"room": self._key, "ask": ask, "from": self._count - len(again), "again": again}))
        if is_new:
            self._tell_all(self._here())

    def _see(self, packet: Packet, is_here: bool) -> None:
        """That a member's page is there, or is not. It may be another one than before, and not know the count."""
        member = (packet.link, packet.client_id)
        if self._members.get(member, is_here) != is_here:
            self._members[member] = is_here
            self._tell_all(self._here())
        elif is_here:
            packet.reply(_encode(self._here()))

    def _here(self) -> dict[str, Any]:
        return {"here": sum(self._members.values())}

    def _author(self, key: str) -> Author:
        author = self._authors.get(key)
        if author is None:
            if len(self._authors) >= MOST_AUTHORS:
                del self._authors[next(iter(self._authors))]
            author = self._authors[key] = Author()
        return author

    def _tell_all(self, message: dict[str, Any]) -> None:
        data = _encode(message)
        for link, client_id in self._members:
            link.send(client_id, data)


class Author:
    """Which messages of one author have come: what became uncertain comes behind what was sent later."""

    def __init__(self) -> None:
        self._upto = 0
        self._ahead: set[int] = set()

    def is_new(self, number: int) -> bool:
        """Whether this one comes for the first time; from now on it does not."""
        if number <= self._upto or number in self._ahead:
            return False
        self._ahead.add(number)
        if len(self._ahead) > MOST_AHEAD:
            self._upto = min(self._ahead) - 1
        while self._upto + 1 in self._ahead:
            self._upto += 1
            self._ahead.discard(self._upto)
        return True


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii")
