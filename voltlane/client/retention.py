"""What a client has sent, until it is safe (SPEC 15): the packets, their numbers, and where a connection stands in
them."""

from __future__ import annotations

from ..errors import BadNumbers, Uncertain
from ..wire.framing import PREFIX, PREFIX_SIZE, frame


class Retention:
    """Packets `base + 1` to `last`, of all connections together; the rest is over.

    `queued` and `sent` differ by what no connection has begun to send. A number is given out when a packet is queued,
    so it stays with the packet through a restore from a state.
    """

    __slots__ = (
        "_frame",
        "_most_bytes",
        "_most_packets",
        "_offset",
        "_packets",
        "acked",
        "base",
        "bytes",
        "last",
        "next",
        "sent",
        "settled",
    )  # fmt: skip

    def __init__(self, most_packets: int, most_bytes: int) -> None:
        self._most_packets = most_packets
        self._most_bytes = most_bytes
        self._packets: dict[int, bytes] = {}
        self.bytes = 0
        """Of the retained packets, with four each for its size."""
        self.base = self.last = 0
        self.sent = 0
        """The last that may have been sent, all connections together."""
        self.acked = 0
        """The highest ack there was."""
        self.settled = 0
        """The last whose fate is known: safe, or told as uncertain."""
        self.next = 1
        """The one that this connection sends next, or has begun to."""
        self._offset = 0
        self._frame = b""

    def __len__(self) -> int:
        return len(self._packets)

    # ---- the application's side

    def full(self, size: int) -> str:
        """What there is no room for another packet of so many bytes for; empty while there is. One always fits."""
        if not self._packets:
            return ""
        if len(self._packets) >= self._most_packets:
            return f"{len(self._packets)} packets are not known to be safe, at most {self._most_packets} are retained"
        if self.bytes + PREFIX_SIZE + size > self._most_bytes:
            return f"{self.bytes} bytes are not known to be safe, at most {self._most_bytes} are retained"
        return ""

    def add(self, packet: bytes) -> int:
        """Queue it; its number."""
        self.last = number = self.last + 1
        self._packets[number] = packet
        self.bytes += PREFIX_SIZE + len(packet)
        return number

    # ---- the connection's side

    @property
    def whole(self) -> int:
        """The last that this connection's server may have in whole."""
        return self.next - 1

    def acknowledge(self, number: int) -> None:
        """The server will not need them again up to this one. Raises BadNumbers for what it cannot have."""
        if number > self.whole:
            raise BadNumbers(f"packets up to {number} are acknowledged, and {self.whole} were sent")
        if number > self.acked:
            self.acked = number
            self.settled = max(self.settled, number)
            self._release(number)

    def resume(self, taken: int, ack: int, *, forgot: bool, restored: bool, again: bool) -> Uncertain | None:
        """A connection begins: the server has taken up to `taken`, and calls `ack` safe.

        `forgot`: it has lost its memory. `restored`: so may we have, and not know of what we sent. `again`: what is
        uncertain is sent anew, under new numbers. Returned is what the application must be told.
        Raises BadNumbers: then somebody else has sent under our numbers, or the server forgot and does not say so.
        """
        if taken > self.sent and not restored:
            raise BadNumbers(f"the server has taken packets up to {taken}, and {self.sent} were sent")
        if taken < self.acked and not forgot:
            raise BadNumbers(f"the server has taken packets up to {taken}, and had called {self.acked} safe")
        if ack > taken:
            raise BadNumbers(f"packets up to {ack} are acknowledged, and {taken} were taken")
        if taken > self.last:  # sent in a life that we do not know of
            self._release(self.last)
            self.base = self.last = taken
        self.sent = max(self.sent, taken)
        self.next, self._offset, self._frame = taken + 1, 0, b""
        self.acknowledge(ack)
        if not forgot or taken <= self.settled:
            return None
        if again:
            self._renumber(taken)
            return None
        return self.give_up(self.settled + 1, taken)

    def give_up(self, first: int, last: int) -> Uncertain | None:
        """The server cannot know whether it has passed these on. None if that was said before."""
        first = max(first, self.settled + 1)
        if last < first:
            return None
        packets = tuple(self._packets[number] for number in range(first, last + 1) if number in self._packets)
        self.settled = last
        self._release(last)
        return Uncertain(first, last, packets)

    @property
    def missing(self) -> int:
        """The last of the packets that the server asks for and that are not here any more, if there are any, else 0."""
        return self.base if self.next <= self.base else 0

    def skip(self) -> None:
        """Go on behind what is missing."""
        self.next, self._offset, self._frame = self.base + 1, 0, b""

    @property
    def unsent(self) -> bool:
        """Whether there is something for this connection to send."""
        return self.next <= self.last

    def read(self, room: int) -> list[bytes | memoryview]:
        """The next bytes of the stream of packets, at most `room` of them."""
        parts: list[bytes | memoryview] = []
        packets, last = self._packets, self.last
        while room > 0 and self.next <= last:
            packet = packets[self.next]
            whole = PREFIX_SIZE + len(packet)
            if not self._offset and whole <= room:
                parts += (PREFIX.pack(whole - PREFIX_SIZE), packet)
                room -= whole
                self.sent = max(self.sent, self.next)
                self.next += 1
                continue
            self._frame = self._frame or frame(packet)
            piece = memoryview(self._frame)[self._offset : self._offset + room]
            parts.append(piece)
            room -= len(piece)
            self._offset += len(piece)
            self.sent = max(self.sent, self.next)
            if self._offset == whole:
                self.next, self._offset, self._frame = self.next + 1, 0, b""
        return parts

    def _release(self, number: int) -> None:
        for gone in range(self.base + 1, min(number, self.last) + 1):
            self.bytes -= PREFIX_SIZE + len(self._packets.pop(gone))
        self.base = max(self.base, min(number, self.last))

    def _renumber(self, taken: int) -> None:
        """What is retained goes again, all of it behind `taken`, in its order."""
        packets = list(self._packets.values())
        self.base = self.settled = taken
        self.last = taken + len(packets)
        self._packets = dict(enumerate(packets, taken + 1))

    # ---- states

    def packets(self) -> list[bytes]:
        """All that is retained, in order."""
        return list(self._packets.values())

    def restore(self, packets: list[bytes], base: int, sent: int, acked: int, settled: int) -> None:
        """As it was."""
        self.base = self.last = base
        self.sent, self.acked, self.settled = sent, acked, settled
        self.next = base + 1
        for packet in packets:
            self.add(packet)
