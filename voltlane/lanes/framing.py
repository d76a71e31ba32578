"""What a framing is: how messages stand in the bytes of a lane.

Between a lane and everything else there is one form, a chunk: whole messages, each with its size in front (u32
little-endian), as the length prefix has them on the wire (SPEC 2). A framing turns the wire's bytes into chunks and
chunks into the wire's bytes.
"""

from __future__ import annotations

import sys
from typing import ClassVar

from ..reasons import CloseReason
from ..wire.framing import Buffer

PLAIN = "length prefix"
"""The name of the framing whose bytes are chunks as they are."""
EVERY = sys.maxsize
"""As many messages as there are."""


class Framing:
    """One connection's. Subclasses say `decode`, `encode`, `whole`; the rest is for framings that have more to say."""

    __slots__ = ()

    name: ClassVar[str]
    plain: ClassVar[bool] = False
    """Whether what is on the wire is a chunk already, both ways: a handshake neither decodes nor encodes then."""

    @property
    def held(self) -> int:
        """Bytes of memory kept here of a message that is not whole yet, what `decode` has left to its caller aside."""
        return 0

    @property
    def ended(self) -> bool:
        """Whether the peer has said, within the framing, that it will say no more."""
        return False

    laborious: ClassVar[bool] = False
    """Whether bytes can be such that it has to look at every few of them: see `take_labour`."""

    def take_labour(self) -> int:
        """How many pieces `decode` had to look at one by one since this was asked last."""
        return 0

    pinged: ClassVar[bool] = False
    """Whether it has pings, and wants them sent."""

    heard: bool = True
    """Whether anything whole, an answer at least, has come since the last `ping`, if there was one."""

    def ping(self) -> bytes:
        """Bytes of the wire that the peer has to answer."""
        raise NotImplementedError

    def decode(self, data: Buffer, start: int, stop: int, limit: int, most: int = EVERY) -> tuple[bytes, int]:
        """The whole messages at the beginning of `data[start:stop]`, at most `most` of them, and the position behind
        the last byte used.

        `data` is borrowed: what is kept is copied. What is left is the beginning of a message, and comes again with
        more behind it. What may be used without a message coming of it (words of the framing's own, a part of a message
        that is kept here) need not be left, but nothing behind the last of `most` messages is used. It is called again
        until nothing is used any more, or the peer has `ended`.

        Raises FrameTooLarge for a message over `limit` bytes as soon as it is announced, and another ProtocolError for
        what is none; but the messages before a mistake are returned before it is raised. Words of the framing's own
        need a limit of its own: the part of one that has come is kept by the caller, whatever its size.
        """
        raise NotImplementedError

    def encode(self, chunk: Buffer) -> bytes:
        """A chunk as it goes on the wire. Called in the order of writing, once for each."""
        raise NotImplementedError

    def whole(self, encoded: bytes, written: int) -> int:
        """How many messages the first `written` bytes of what `encode` returned hold whole."""
        raise NotImplementedError

    def take_reply(self) -> bytes:
        """Bytes of the wire that the peer has to be answered with between messages, each of them once."""
        return b""

    def state(self) -> bytes:
        """What another process needs to know to go on with it."""
        return b""

    def restore(self, state: bytes) -> None:
        """Go on where another one was, which is new. Raises MalformedFrame for what no `state` is."""

    def farewell(self, reason: CloseReason) -> bytes:
        """Bytes of the wire to end with, for whatever reason; left out where they would cut a message."""
        return b""
