"""Commands to a Redis server and its answers (RESP2, redis.io/docs/reference/protocol-spec). hiredis reads these."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

try:
    import hiredis
except ImportError:
    hiredis = None

AVAILABLE = hiredis is not None
"""Whether answers can be read: the extra `cluster`."""
MOST = 1 << 28
"""Bytes of an answer that is not whole: of more the other side is no store, or not ours."""

_MORE = object()

Argument = Union[bytes, str, int]


class Kind(enum.Enum):
    """What is known of a command that has no answer."""

    REFUSED = "not done: the command is wrong"
    UNABLE = "not done: the store cannot, for now"
    UNSENT = "not done: it was not sent"
    UNKNOWN = "done or not: no answer has come"


class Trouble(NamedTuple):
    """In the place of an answer."""

    kind: Kind
    text: str

    @property
    def code(self) -> str:
        """The word in front, of what the store says: OOM, READONLY; ERR for most."""
        return self.text.partition(" ")[0]


Reply = Union[bytes, int, None, "list[Any]", Trouble]

_UNABLE = "LOADING|OOM|READONLY|MISCONF|BUSY|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|NOAUTH|NOPERM"
_INSIDE = re.compile(rf"-(({_UNABLE}) .*)", re.DOTALL)
"""In what a script says: until Redis 7 its own words come first."""


def trouble(text: str) -> Trouble:
    """What an error of the store's says: "OOM command not allowed …"."""
    found = _INSIDE.search(text)
    if found:
        return Trouble(Kind.UNABLE, found.group(1))
    return Trouble(Kind.UNABLE if re.match(rf"({_UNABLE})\b", text) else Kind.REFUSED, text)


def encode(arguments: Sequence[Argument]) -> bytes:
    """A command: an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        if not isinstance(argument, bytes):
            argument = str(argument).encode("utf-8")
        parts.append(b"$%d\r\n%b\r\n" % (len(argument), argument))
    return b"".join(parts)


class Answers:
    """Reads the answers of one connection, in pieces of any size."""

    __slots__ = ("_held", "_reader")

    def __init__(self) -> None:
        self._reader = hiredis.Reader(replyError=trouble, notEnoughData=_MORE)
        self._held = 0  # bytes since the last whole answer, about

    def feed(self, data: bytes) -> list[Reply]:
        """The answers that are whole now. Raises ValueError for bytes that are none."""
        reader, found = self._reader, []
        reader.feed(data)
        self._held += len(data)
        try:
            while (answer := reader.gets()) is not _MORE:
                found.append(answer)
        except hiredis.HiredisError as error:
            raise ValueError(str(error)) from None
        if found:
            self._held = 0
        elif self._held > MOST:
            raise ValueError(f"an answer of more than {MOST} bytes")
        return found
