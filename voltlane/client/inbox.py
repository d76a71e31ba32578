"""What a client has received, until its application has it (SPEC 15 to 17): numbers, acks that are owed, room."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Union

from ..errors import BadNumbers, Gap, Uncertain
from ..wire.framing import PREFIX_SIZE, FrameBuffer

LAST_NUMBER = (1 << 63) - 1
"""The highest that a packet can have."""

Item = Union[bytes, Gap, Uncertain]


class Numbered(NamedTuple):
    """What `recv` gives out next. `number` is that of the packet, or the last of the gap; of what has none, the one
    in front of it."""

    number: int
    item: Item

    @property
    def size(self) -> int:
        """Bytes that it took in the stream."""
        return PREFIX_SIZE + len(self.item) if isinstance(self.item, bytes) else 0


class Inbox:
    """One session's, over all of its connections."""

    __slots__ = (
        "_items",
        "_manual",
        "_stream",
        "_unsafe",
        "bytes",
        "handed",
        "handed_bytes",
        "received",
        "safe",
    )

    def __init__(self, packet_limit: int, manual: bool) -> None:
        self._stream = FrameBuffer(packet_limit)
        self._manual = manual
        self._items: deque[Numbered] = deque()
        self._unsafe: deque[Numbered] = deque()
        """Given out, and not acknowledged by the application: for states."""
        self.handed = 0
        """The last that the application was given."""
        self.safe = 0
        self.bytes = 0
        """Of the stream, in packets that wait for the application."""
        self.handed_bytes = 0
        """Of the stream, in packets that became safe, all in all."""
        self.received = 0
        """Bytes of this connection's stream."""

    def __len__(self) -> int:
        return len(self._items)

    @property
    def taken(self) -> int:
        """The last that has come, or is in a gap."""
        return self._items[-1].number if self._items else self.handed

    # ---- the connection's side

    def begin(self) -> None:
        """A new connection: the part of a packet that had come comes again."""
        self._stream.clear()
        self.received = 0

    @property
    def partial(self) -> bool:
        """Whether a packet has come in part."""
        return len(self._stream) > 0

    def feed(self, data: bytes | memoryview) -> None:
        """More of the stream. Raises FrameTooLarge."""
        self.received += len(data)
        self._stream.feed(data)
        for packet in self._stream:
            self._append(Numbered(self.taken + 1, packet))

    def skip(self, first: int, last: int, why: int) -> None:
        """A gap. Raises BadNumbers."""
        if self.partial:
            raise BadNumbers("a gap came within a packet")
        if first > self.taken + 1 or last < first or last > LAST_NUMBER:
            raise BadNumbers(f"a gap from {first} to {last} came behind packet {self.taken}")
        if last > self.taken:
            self._append(Numbered(last, Gap(self.taken + 1, last, why)))

    def tell(self, uncertain: Uncertain | None) -> None:
        """The application will hear of it when it has got this far."""
        if uncertain is not None:
            self._items.append(Numbered(self.taken, uncertain))

    def _append(self, numbered: Numbered) -> None:
        self._items.append(numbered)
        self.bytes += numbered.size

    # ---- the application's side

    def take(self) -> Item | None:
        """What comes next, or None."""
        if not self._items:
            return None
        # In this order: a signal's handler may raise between any two, and then it comes next time.
        numbered = self._items[0]
        self.handed = numbered.number
        self.bytes -= numbered.size
        self._items.popleft()
        if self._manual:
            self._unsafe.append(numbered)
        else:
            self._make_safe(numbered)
        return numbered.item

    def acknowledge(self) -> None:
        """The application has all that it was given, and will not need it again."""
        while self._unsafe:
            self._make_safe(self._unsafe.popleft())

    def _make_safe(self, numbered: Numbered) -> None:
        self.safe = numbered.number
        self.handed_bytes += numbered.size

    # ---- states

    def unsafe(self) -> list[Numbered]:
        """What would have to come again, if the application forgot all that is not acknowledged."""
        return [*self._unsafe, *self._items]

    def restore(self, items: list[Numbered], safe: int) -> None:
        """As it was: what was not acknowledged is given out again."""
        self._items.extend(items)
        self.bytes = sum(numbered.size for numbered in items)
        self.safe = self.handed = safe
