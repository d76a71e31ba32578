"""Event streams (text/event-stream; WHATWG HTML, section 9.2): how packets are events, and what the ids of events say.

A packet that is UTF-8 is an event without a name, and each of its lines a line of data. What a reader would make
something else of, a carriage return, goes in base64 like all that is no text, as an event `binary`.

    id: CLIENT.SECRET.NUMBER     the session's token, and the number of its packet that the event is
    data: …
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import NamedTuple

COMMENT = b":\n\n"
"""What nobody is told of."""
END = b"\n\n"
"""Behind each event, and nowhere in one."""
SECRET_SIZE = 16
LAST_NUMBER = (1 << 63) - 1
LAST_ID = (1 << 64) - 1
_TOKEN = re.compile(r"([1-9][0-9]{0,19})\.([A-Za-z0-9_-]{21}[AQgw])")
_PLACE = re.compile(r"(.+)\.(0|[1-9][0-9]{0,18})")


class Token(NamedTuple):
    """By what a client shows that a session is its own."""

    client_id: int
    secret: bytes

    def encode(self) -> str:
        """As the client is told it."""
        return f"{self.client_id}.{urlsafe_b64encode(self.secret)[:-2].decode()}"

    def __repr__(self) -> str:
        return f"<Token of {self.client_id}>"


class Place(NamedTuple):
    """How far a client has got."""

    token: Token
    number: int
    """Of the last packet that it has; 0 for none."""


def decode_token(text: str) -> Token | None:
    """None: that is none."""
    found = _TOKEN.fullmatch(text)
    if found is None or int(found[1]) > LAST_ID:
        return None
    return Token(int(found[1]), urlsafe_b64decode(found[2] + "=="))


def decode_place(text: str) -> Place | None:
    """What the id of an event says; None for one that is not of this server's kind."""
    found = _PLACE.fullmatch(text)
    token = decode_token(found[1]) if found is not None else None
    if found is None or token is None or int(found[2]) > LAST_NUMBER:
        return None
    return Place(token, int(found[2]))


def named_event(name: str, value: Mapping[str, object], place: bytes = b"") -> bytes:
    """An event of the server's own, with its data in JSON."""
    data = json.dumps(value, separators=(", ", ": ")).encode()
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), b"id: %s\n" % place if place else b"", data)


def retry_after(milliseconds: int) -> bytes:
    """When the client is to come back, once its connection is lost."""
    return b"retry: %d\n\n" % milliseconds


def encode_packets(packets: list[bytes], prefix: bytes, number: int) -> bytes:
    """Packets as events, whose ids begin with `prefix`; the first of them has the number behind `number`."""
    numbered, everything = enumerate(packets, number + 1), b"".join(packets)
    if everything.isascii() and b"\n" not in everything and b"\r" not in everything:
        return b"".join([b"id: %s%d\ndata: %s\n\n" % (prefix, at, packet) for at, packet in numbered])
    return b"".join([b"id: %s%d\n%s" % (prefix, at, _data(packet)) for at, packet in numbered])


def _data(packet: bytes) -> bytes:
    if is_line_text(packet):
        # One blank behind the colon is the reader's, so all others are the packet's.
        return b"data: %s\n\n" % packet.replace(b"\n", b"\ndata: ")
    return b"event: binary\ndata: %s\n\n" % b64encode(packet)


def is_line_text(packet: bytes) -> bool:
    """Whether a reader of events makes the same of it again."""
    if b"\r" in packet:
        return False
    if packet.isascii():
        return True
    try:
        packet.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
